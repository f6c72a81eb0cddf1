"""from_parquet against what pyarrow reads, and what it says to bad input."""

import itertools
import mmap
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold

import streamlearn
from streamlearn import StochasticMux, StreamingEstimator, from_parquet
from streamlearn._blocks import BlockStream
from tests.sourcechecks import check_source, drained, in_order


def table(n, start=0, **more):
    i = np.arange(start, start + n)
    return pa.table({"a": i.astype(float), "b": i * 0.5, "label": i % 3, **more})


@pytest.fixture
def directory(tmp_path):
    for i, n in enumerate([23, 40, 7]):
        pq.write_table(table(n, 100 * i), tmp_path / f"f{i}.parquet", row_group_size=10)
    return tmp_path


def whole(directory, columns=("a", "b")):
    everything = pq.read_table(directory).to_pandas()
    return everything[list(columns)].to_numpy(float), everything["label"].to_numpy()


def test_by_file(directory):
    names = ["f0.parquet", "f1.parquet", "f2.parquet"]
    check_source(lambda **options: from_parquet(directory, target="label", **options), *whole(directory), names)


def test_by_row_group(directory):
    names = [f"f{i}.parquet#{j}" for i, n in enumerate([3, 4, 1]) for j in range(n)]
    check_source(
        lambda **options: from_parquet(f"{directory}/*.parquet", target="label", group_by="row_group", **options),
        *whole(directory),
        names,
    )


def test_by_a_column(directory):
    X, y = whole(directory, ["b"])
    check_source(
        lambda **options: from_parquet(directory, target="label", features=["b"], group_by="label", **options),
        X,
        y,
        ["0", "1", "2"],
    )


def test_by_a_partition(tmp_path):
    data = table(60).append_column("day", pa.array(["mo", "tu", "we"] * 20)).append_column("h", pa.array([1, 2] * 30))
    pq.write_to_dataset(data, tmp_path, partition_cols=["day", "h"])
    everything = pq.read_table(tmp_path).to_pandas()
    X, y = everything[["a", "h"]].to_numpy(float), everything["label"].to_numpy()
    check_source(
        lambda **options: from_parquet(tmp_path, target="label", features=["a", "h"], group_by="day", **options),
        X,
        y,
        ["mo", "tu", "we"],
    )
    pool = from_parquet(tmp_path, target="day", group_by="h", filters=[("day", "!=", "mo")])
    assert pool.names == ("1", "2")
    assert np.unique(pool[0]._column("y")).tolist() == ["tu", "we"]
    assert drained(pool)[0].shape == (40, 3)  # no partition among the features unless it is named


def test_filters(directory):
    X, y = whole(directory)
    kept = (X[:, 0] > 5) & (y != 1)
    for filters in ([("a", ">", 5), ("label", "!=", 1)], (pc.field("a") > 5) & (pc.field("label") != 1)):
        pool = from_parquet(directory, target="label", filters=filters)
        assert sum(stream._n_samples for stream in pool) == kept.sum()
        np.testing.assert_array_equal(in_order(drained(pool)[0]), in_order(X[kept]))
    by_value = from_parquet(directory, target="label", filters=[("a", ">", 5)], group_by="label", features=["a"])
    np.testing.assert_array_equal(in_order(drained(by_value)[0]), in_order(X[X[:, 0] > 5][:, :1]))


def test_url():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for i in range(2):
        with memory.open(f"/trips/f{i}.parquet", "wb") as file:
            pq.write_table(table(20, 100 * i), file)
    for paths in (
        "memory://trips",
        "memory://trips/*.parquet",
        ["memory://trips/f0.parquet", "memory://trips/f1.parquet"],
    ):
        pool = from_parquet(paths, target="label")
        assert pool.names == ("f0.parquet", "f1.parquet")
        assert sorted(drained(pool)[0][:, 0]) == [*range(20), *range(100, 120)]
    assert len(drained(from_parquet("memory://trips", target="label", filters=[("a", ">=", 100)]))[0]) == 20
    with pytest.raises(FileNotFoundError, match="no file matches"):
        from_parquet("memory://trips/*.pq", target="label")
    with pytest.raises(FileNotFoundError, match="no such file"):
        from_parquet("memory://nowhere/x.parquet", target="label")
    memory.rm("/trips", recursive=True)


def columns_of(tmp_path, columns, **options):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=2)
    return from_parquet(tmp_path, **{"target": None, "shuffle": False, **options})[0]


def test_numbers_become_one_array(tmp_path):
    stream = columns_of(
        tmp_path,
        {
            "int": [1, None, 3],
            "bool": [True, False, None],
            "float": [0.5, None, 1.5],
            "decimal": pa.array([1, 2, 3], pa.decimal128(5, 1)),
            "null": pa.nulls(3),
        },
    )
    X = stream._column("X")
    assert X.dtype == np.float64
    nan = np.nan
    np.testing.assert_array_equal(X, [[1, 1, 0.5, 1, nan], [nan, 0, nan, 2, nan], [3, nan, 1.5, 3, nan]])
    assert stream._column("y") is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shuffle", [False, True])
def test_floats_of_one_kind_keep_it_and_nulls_are_nan(tmp_path, dtype, shuffle):
    columns = {
        name: pa.array([start, None, start + 2, start + 3], pa.from_numpy_dtype(dtype))
        for name, start in (("a", 0.5), ("b", 10))
    }
    X = np.array([item["X"] for item in columns_of(tmp_path, columns, shuffle=shuffle)])
    assert X.dtype == dtype
    np.testing.assert_array_equal(X[X[:, 0].argsort()], [[0.5, 10], [2.5, 12], [3.5, 13], [np.nan, np.nan]])


def test_float32_is_kept(tmp_path):
    columns = {"a": pa.array([1, 2, 3], pa.float32()), "b": pa.array([1, 2, None], pa.float32())}
    assert columns_of(tmp_path, columns)._column("X").dtype == np.float32


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())])
def test_lists_are_rows(tmp_path, kind):
    columns = {"v": pa.array([[1, 2], [3, 4], [5, 6]], kind), "y": [0, 1, 0]}
    stream = columns_of(tmp_path, columns, target="y")
    np.testing.assert_array_equal(stream._column("X"), [[1, 2], [3, 4], [5, 6]])
    assert stream._column("X").dtype == np.float32
    both = columns_of(tmp_path, columns, features=["y", "v"])
    np.testing.assert_array_equal(both._column("X"), [[0, 1, 2], [1, 3, 4], [0, 5, 6]])


def test_lists_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="lists of lengths 1 to 2") as caught:
        list(columns_of(tmp_path, {"v": [[1.0, 2.0], [3.0]]}))
    assert "row group 0" in caught.value.__notes__[0]


def test_texts_and_categories_become_frames(tmp_path):
    stream = columns_of(
        tmp_path,
        {"colour": pa.array(["red", None, "blue"]).dictionary_encode(), "name": ["x", "y", "z"], "n": [1, 2, None]},
        target="name",
    )
    X = stream._column("X")
    assert isinstance(X, pd.DataFrame)
    assert X.columns.tolist() == ["colour", "n"]
    assert X["colour"].isna().tolist() == [False, True, False]
    assert X["n"].dtype == np.float64
    assert stream._column("y").tolist() == ["x", "y", "z"]
    items = list(stream)
    assert len(items) == 3
    assert isinstance(items[0]["X"], pd.DataFrame)


def test_frames_train_what_takes_frames(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        frame = pd.DataFrame({"kind": rng.choice(["u", "v"], 50), "x": rng.normal(size=50)})
        frame["label"] = (frame["kind"] == "u").astype(int)
        frame.to_parquet(tmp_path / f"{i}.parquet")

    class OnFrames(ClassifierMixin, BaseEstimator):
        def partial_fit(self, X, y, classes=None):
            assert X.columns.tolist() == ["kind", "x"]
            self.inner_ = getattr(self, "inner_", SGDClassifier(random_state=0)).partial_fit(
                self.encode(X), y, classes=classes
            )
            self.classes_ = self.inner_.classes_
            return self

        def predict(self, X):
            return self.inner_.predict(self.encode(X))

        @staticmethod
        def encode(X):
            return np.column_stack([X["x"], X["kind"] == "u"])

    model = StreamingEstimator(OnFrames(), random_state=0, n_passes=10).fit(from_parquet(tmp_path, target="label"))
    assert model.score(from_parquet(tmp_path, target="label")) > 0.9


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_texts_that_an_estimator_cannot_take_are_named(tmp_path, kind):
    frame = pd.DataFrame({"x": [1.0, 2.0], "kind": ["u", "v"], "day": ["mo", "tu"], "label": [0, 1]})
    getattr(frame, f"to_{kind}")(tmp_path / f"f.{kind}", index=False)
    pool = getattr(streamlearn, f"from_{kind}")(tmp_path, target="label")
    told = rf"stream 'f\.{kind}' at position 0 gives DataFrames, since \['kind', 'day'\] hold no numbers, and SGDClassifier fails"
    with pytest.raises(ValueError, match=told) as caught:
        fit(pool)
    assert "could not convert string to float" in str(caught.value)
    assert "features=" in str(caught.value)


def test_an_index_of_pandas_is_no_feature(tmp_path):
    pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 9]).to_parquet(tmp_path / "t.parquet")
    assert from_parquet(tmp_path, target=None)[0]._column("X").tolist() == [[1.0], [2.0]]


def test_several_targets_and_weights(tmp_path):
    columns = {"x": [1, 2, 3], "u": [4, 5, 6], "v": [7, 8, 9], "w": [1, 0, 2]}
    stream = columns_of(tmp_path, columns, target=["v", "u"], sample_weight="w")
    np.testing.assert_array_equal(stream._column("y"), [[7, 4], [8, 5], [9, 6]])
    np.testing.assert_array_equal(stream._column("sample_weight"), [1.0, 0.0, 2.0])
    np.testing.assert_array_equal(stream._column("X"), [[1], [2], [3]])


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": [1], "day": pa.array([0], pa.date32())}, {}, "'day' is a date or a time.*Derive numbers"),
        ({"x": [1], "day": pa.array([0], pa.timestamp("s"))}, {"target": "day"}, "'day' is a date or a time"),
        ({"x": [{"a": 1}]}, {}, "struct.*cannot be a feature"),
        ({"x": [[1.0]], "t": ["a"]}, {}, "lists and texts"),
        ({"x": [1.0], "t": [[1.0]]}, {"target": "t"}, "cannot be a target"),
        ({"x": [1.0], "t": ["a"]}, {"sample_weight": "t"}, "cannot be a target or a weight"),
        ({"x": [1.0]}, {"target": "x"}, "has no features"),
        ({"x": [1.0], "y": [1]}, {"target": "y", "features": ["x", "y"]}, r"\['y'\] are among features"),
        ({"x": [1.0], "y": [1]}, {"features": ["x", "x"]}, "names a column twice"),
        ({"distance": [1.0], "late": [1]}, {"target": "lote"}, "no column 'lote'. Did you mean 'late'[?]"),
        ({"distance": [1.0]}, {"features": ["distanse"]}, "Did you mean 'distance'[?]"),
        ({"distance": [1.0]}, {"group_by": "distanse"}, "Did you mean 'distance'[?]"),
        ({"distance": [1.0]}, {"filters": [("distanse", ">", 1)]}, "filters: .*Did you mean 'distance'[?]"),
        ({"distance": [1.0]}, {"filters": [[("distanse", ">", 1)]]}, "filters: .*Did you mean 'distance'[?]"),
        (
            {"x": [1.0]},
            {"filters": pc.field("y") > 1},
            r"filters \(y > 1\) cannot be applied .*No match.*It has 'x' \(double\)",
        ),
        ({"x": [1.0]}, {"filters": pc.field("x") > "a"}, "cannot be applied .*double, string"),
    ],
)
def test_refused(tmp_path, columns, options, message):
    with pytest.raises(ValueError, match=message):
        columns_of(tmp_path, columns, **options)


def test_null_targets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the target 'y' has 1 nulls: leave such rows out with filters="):
        columns_of(tmp_path, {"x": [1.0, 2.0], "y": [1, None]}, target="y")._column("y")
    stream = columns_of(tmp_path, {"x": [1.0, 2.0], "y": [1, None]}, target="y", filters=pc.field("y").is_valid())
    assert stream._column("y").tolist() == [1]


def test_bad_files(directory, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r"no such file.*Did you mean 'f[0-2].parquet'"):
        from_parquet(directory / "f9.parquet", target="label")
    with pytest.raises(FileNotFoundError, match="no file matches the pattern"):
        from_parquet(f"{directory}/*.pq", target="label")
    with pytest.raises(FileNotFoundError, match=r"holds no file that ends with \.parquet"):
        from_parquet(tmp_path_factory.mktemp("empty"), target="label")
    with pytest.raises(ValueError, match="paths is empty"):
        from_parquet([], target="label")
    with pytest.raises(TypeError, match="paths must be"):
        from_parquet([3], target="label")
    (directory / "f0.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"f0.parquet' is no Parquet file.*it is empty"):
        from_parquet(directory, target="label")


def fit(pool):
    return StreamingEstimator(SGDClassifier(), random_state=0).fit(pool)


def test_a_file_that_was_cut_short_is_named_before_training(directory):
    path = directory / "f1.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    pool = from_parquet(directory, target="label")
    with pytest.raises(
        ValueError, match=r"f1.parquet' is no Parquet file that can be read: it may have been cut short"
    ):
        fit(pool)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0], "bb": [1.0], "label": [1]}, r"f2.parquet' has no column 'b'. Did you mean 'bb'\?"),
        ({"a": ["x"], "b": [1.0], "label": [1]}, "f2.parquet': column 'a' is string, but double in the first file"),
    ],
)
def test_another_schema_is_named_before_training(directory, columns, message):
    pq.write_table(pa.table(columns), directory / "f2.parquet")
    with pytest.raises(ValueError, match=message):
        fit(from_parquet(directory, target="label"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [("more", ">", 3)]}, r"cannot be applied to .*f2.parquet'.*No match"),
        ({"group_by": "more"}, r"f2.parquet' has no column 'more'"),
    ],
)
def test_files_without_what_filters_and_groups_need_are_named(directory, options, message):
    for i in range(2):
        pq.write_table(table(5, more=[1] * 5), directory / f"f{i}.parquet")
    with pytest.raises(ValueError, match=message):
        fit(from_parquet(directory, target="label", features=["a", "b"], **options))


def test_schemas_may_differ_in_what_is_not_used(directory):
    pq.write_table(table(5, 200, more=["x"] * 5).select(["more", "label", "b", "a"]), directory / "f2.parquet")
    assert len(drained(from_parquet(directory, target="label"))[0]) == 68


def test_a_file_that_is_deleted_while_training(directory):
    pool = from_parquet(directory, target="label")
    assert pool[0]._n_samples == 23
    os.remove(directory / "f2.parquet")
    with pytest.raises(FileNotFoundError, match=r"f2\.parquet' is gone") as caught:
        fit(pool)
    assert any("raised by stream 'f2.parquet', reading row group 0" in note for note in caught.value.__notes__)


def test_grid_search_in_two_processes(directory):
    pool = from_parquet(directory, target="label", group_by="row_group", prefetch=1)
    model = StreamingEstimator(SGDClassifier(), n_active=3, classes=[0, 1, 2], random_state=0)
    grid = {"lam": [2, None], "estimator__alpha": [1e-4, 1e-2]}
    groups = [0, 0, 1, 1, 2, 2, 3, 3]
    searches = [
        GridSearchCV(model, grid, cv=GroupKFold(2), n_jobs=n_jobs).fit(pool, groups=groups) for n_jobs in (1, 2)
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_array_equal(*scores)
    assert len(searches[0].best_estimator_.stream_counts_) == 8


def test_nothing_but_one_footer_is_read_until_needed(directory, monkeypatch):
    opened = []
    original = pa.OSFile

    def noting(path):
        opened.append(os.path.basename(path))
        return original(path)

    monkeypatch.setattr(pa, "OSFile", noting)
    pool = from_parquet(directory, target="label")
    assert opened == ["f0.parquet"]
    assert isinstance(pool[2], BlockStream)
    drained(pool, lam=None)
    assert sorted(set(opened)) == ["f0.parquet", "f1.parquet", "f2.parquet"]
    assert len(opened) == 3 + 3  # each once for its footer, and once for its row groups


def test_pickles_are_small(directory):
    import pickle

    assert len(pickle.dumps(from_parquet(directory, target="label", group_by="row_group"))) < 10_000


def test_a_fit_counts_the_blocks_that_it_read(directory):
    pool = from_parquet(directory, target="label")
    n_blocks = sum(pq.ParquetFile(path).num_row_groups for path in sorted(directory.glob("*.parquet")))
    model = StreamingEstimator(SGDClassifier(), lam=None, random_state=0).fit(pool)
    assert (model.blocks_read_, model.blocks_needed_) == (n_blocks, n_blocks)
    assert model.fit(pool).blocks_read_ == n_blocks, "a fit counts its own alone"


def test_a_row_group_takes_over_the_memory_of_one_that_is_used_up(tmp_path, monkeypatch):
    n_files, n_active, taken, real = 40, 4, [], mmap.mmap
    wide = {f"f{i}": np.arange(5000.0) for i in range(20)}
    for i in range(n_files):
        pq.write_table(pa.table({**wide, "label": np.arange(5000) % 2}), tmp_path / f"{i:02}.parquet")
    pool = from_parquet(tmp_path, target="label")

    def take(*args, **options):
        taken.append(args)
        return real(*args, **options)

    monkeypatch.setattr(mmap, "mmap", take)
    X, _, _ = drained(pool, n_active=n_active, lam=None)
    assert X.shape == (n_files * 5000, 20)
    np.testing.assert_array_equal(np.bincount(X[:, 7].astype(int)), n_files)
    assert 0 < len(taken) <= 3 * n_active


def test_streams_of_a_column_that_are_in_different_passes_count_their_blocks_each_in_its_own(tmp_path):
    """Streams of unequal length, which share row groups, so that one may be passes ahead of another."""
    for i in range(12):
        of_group = np.arange(50) // 25 if i % 2 else np.zeros(50, int)
        table = pa.table({"a": np.arange(50.0) + 50 * i, "g": of_group, "label": np.arange(50) % 2})
        pq.write_table(table, tmp_path / f"{i:02}.parquet", row_group_size=10)
    pool = from_parquet(tmp_path, target="label", group_by="g")
    for seed in range(3):
        iterator = StochasticMux(pool, 2, 3, random_state=seed).generate()
        assert len(list(itertools.islice(iterator, 3000))) == 3000
        iterator.close()
