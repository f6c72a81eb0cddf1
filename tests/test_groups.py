"""Streams of the values of a column, whose row groups are read and sorted once for all of them."""

import datetime
import os
import pickle
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from streamlearn import StochasticMux, StreamingEstimator, from_parquet
from streamlearn._groups import NAN, Groups, group_of, sorted_by
from streamlearn._parquet_files import ParquetFiles
from tests.sourcechecks import drained, in_order

RNG = np.random.default_rng(0)
N = 3000
FRAME = pd.DataFrame(
    {"a": np.arange(float(N)), "user": RNG.integers(0, 40, N), "y": RNG.integers(0, 2, N)}
)  # a row is known by a


def written(directory, frame=FRAME, row_group_size=250):
    directory.mkdir(exist_ok=True)
    for i in range(2):
        frame[i::2].to_parquet(directory / f"{i}.parquet", row_group_size=row_group_size, index=False)
    return str(directory)


VALUES = {
    "ints": st.integers(-3, 3),
    "texts": st.text("ab", max_size=2),
    "floats": st.sampled_from([0.5, -1.0, float("nan"), float("inf")]),
    "bools": st.booleans(),
    "days": st.dates(datetime.date(2020, 1, 1), datetime.date(2020, 1, 4)),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_rows_are_sorted_by_value_and_otherwise_as_they_lie(kind, as_dictionary):
    @given(st.lists(st.one_of(st.none(), VALUES[kind]), max_size=30), st.integers(0, 30))
    def check(values, cut):
        column = (
            pa.array(values, from_pandas=False)
            if any(v is not None for v in values)
            else pa.nulls(len(values), pa.int64())
        )
        if as_dictionary:
            column = column.dictionary_encode()
        chunks = pa.chunked_array([column.slice(0, cut), column.slice(cut)])
        table, places = sorted_by(pa.table({"g": chunks, "row": np.arange(len(values))}), "g")
        for value, (start, n) in places.items():
            expected = [i for i, other in enumerate(values) if group_of(other) == value]
            assert table["row"].to_pylist()[start : start + n] == expected
        assert {value for value, (_, n) in places.items() if n} == {group_of(value) for value in values}

    check()


def test_nan_is_one_group():
    assert group_of(float("nan")) == group_of(np.float64("nan")) == NAN
    assert group_of(1.5) == 1.5
    assert group_of(None) is None


@pytest.mark.parametrize("prefetch", [0, 2])
def test_each_row_group_is_read_once_for_all_streams(prefetch, tmp_path):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user", prefetch=prefetch)
    assert pool.names == tuple(map(str, range(40)))
    for i, stream in enumerate(pool):
        rows = np.array([item["X"][0] for item in stream.generate()])
        np.testing.assert_array_equal(np.sort(rows), FRAME["a"][FRAME["user"] == i])
    model = StreamingEstimator(SGDClassifier(), mode="exhaustive", lam=2, n_active=8, random_state=0)
    model.fit(from_parquet(written(tmp_path / "d"), target="y", group_by="user", prefetch=prefetch))
    assert model.blocks_needed_ == 12
    assert model.blocks_read_ == 12
    assert model.n_samples_seen_ == N
    assert model.score(pool) > 0.3


def test_streams_are_those_of_the_same_rows_sorted_before(tmp_path):
    by_user = from_parquet(written(tmp_path / "mixed"), target="y", group_by="user", shuffle=False)
    X, y, who = drained(by_user)
    parts = [drained(by_user[[i]])[0] for i in range(40)]
    for i, part in enumerate(parts):
        expected = pd.concat([FRAME[0::2], FRAME[1::2]])  # file after file
        np.testing.assert_array_equal(part[:, 0], expected["a"][expected["user"] == i])
    np.testing.assert_array_equal(in_order(X), FRAME[["a"]])
    np.testing.assert_array_equal(FRAME["user"][X[:, 0].astype(int)], who)
    np.testing.assert_array_equal(FRAME["y"][X[:, 0].astype(int)], y)


def test_with_filters(tmp_path):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user", filters=[("a", "<", 1000)])
    X, _, who = drained(pool)
    np.testing.assert_array_equal(np.sort(X[:, 0]), np.arange(1000.0))
    names = np.array(pool.names)[who]
    np.testing.assert_array_equal(names.astype(int), FRAME["user"][X[:, 0].astype(int)])


def test_missing_values_are_groups(tmp_path):
    frame = FRAME.assign(user=np.where(FRAME["user"] < 5, np.nan, FRAME["user"] * 1.0))
    table = pa.table({"a": frame["a"], "y": frame["y"], "user": pa.array(frame["user"].to_numpy(), from_pandas=False)})
    pq.write_table(table, tmp_path / "nan.parquet", row_group_size=100)
    pool = from_parquet(str(tmp_path / "nan.parquet"), target="y", group_by="user")
    assert pool.names[-2:] == ("39.0", "nan")
    np.testing.assert_array_equal(np.sort(drained(pool[[-1]])[0][:, 0]), FRAME["a"][FRAME["user"] < 5])
    table = table.set_column(2, "user", pa.array(frame["user"].to_numpy(), from_pandas=True))
    pq.write_table(table, tmp_path / "null.parquet", row_group_size=100)
    pool = from_parquet(str(tmp_path / "null.parquet"), target="y", group_by="user")
    assert pool.names[-2:] == ("39.0", "None")
    np.testing.assert_array_equal(np.sort(drained(pool[[-1]])[0][:, 0]), FRAME["a"][FRAME["user"] < 5])


def test_a_cache_that_is_too_small_reads_again_and_warns(tmp_path):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user", cache_bytes=1)
    with pytest.warns(UserWarning, match="are read again and again: .* sort or partition the files by group_by"):
        X = drained(pool, mode="exhaustive", lam=1, n_active=40)[0]
    np.testing.assert_array_equal(np.sort(X[:, 0]), np.arange(float(N)))


@pytest.mark.parametrize("how", ["written again", "gone"])
def test_a_file_that_changes_is_not_read_from_what_was_kept(how, tmp_path):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user")
    drained(pool)
    path = tmp_path / "d" / "1.parquet"
    if how == "gone":
        os.remove(path)
        with pytest.raises(FileNotFoundError, match=r"1\.parquet"):
            drained(pool)
    else:
        (FRAME[1::2].assign(a=-1.0)).to_parquet(path, row_group_size=250, index=False)
        assert (drained(pool)[0] == -1).sum() == N // 2


def test_what_is_kept_is_not_pickled_and_bounded():
    table = pa.table({"g": np.arange(100) % 3, "a": np.arange(100.0)})
    groups, reads = Groups("g", 3 * 800), []

    def read(names):
        reads.append(names)
        return table.select(names)

    for name in [0, 1, 0, 1, 2, 3, 0]:
        found = groups.rows(name, None, 1, ["a"], read)
        np.testing.assert_array_equal(found["a"], np.arange(1.0, 100, 3))
    assert groups.n_read == len(reads) == 5  # 0, 1, 2, 3 and 0 again
    assert reads[0] == ["a", "g"]
    copied = pickle.loads(pickle.dumps(groups))
    assert copied.n_read == 0
    assert len(pickle.dumps(groups)) < 500
    assert groups.rows(0, None, 99, ["a"], read).num_rows == 0


def test_threads_share_what_is_read(tmp_path, monkeypatch):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user")
    pool[0]._source.keeper.expect(1)  # else what is kept is given back when the first one has done
    found, reads, read = [], [], ParquetFiles.read
    monkeypatch.setattr(ParquetFiles, "read", lambda self, *args: reads.append(args) or read(self, *args))
    threads = [threading.Thread(target=lambda: found.append(drained(pool)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for rows in found[1:]:
        np.testing.assert_array_equal(rows, found[0])
    assert len(reads) == 12


def test_directories_that_tell_the_value_are_read_as_files(tmp_path):
    for user in range(4):
        written(tmp_path / f"user={user}", FRAME.loc[FRAME["user"] == user, ["a", "y"]], row_group_size=10)
    model = StreamingEstimator(SGDClassifier(), mode="exhaustive", lam=None, classes=[0, 1], random_state=0)
    model.fit(from_parquet(str(tmp_path), target="y", group_by="user"))
    assert model.stream_names_ == ("0", "1", "2", "3")
    assert model.blocks_read_ == model.blocks_needed_ > 12


def held(pool):
    return len(pool[0]._source._files.groups._kept)


def test_what_was_read_is_given_back_when_nobody_reads_on(tmp_path):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user")
    model = StreamingEstimator(SGDClassifier(), classes="scan", random_state=0, validation=pool[:3]).fit(pool)
    assert held(pool) == 0
    model.score(pool)
    assert held(pool) == 0
    iterators = [StochasticMux(pool, 2, 8, random_state=0).generate() for _ in range(2)]
    for iterator in iterators:
        next(iterator)
    iterators[0].close()
    assert held(pool) > 0  # the other one reads on
    iterators[1].close()
    assert held(pool) == 0


def test_scoring_reads_each_row_group_once_for_all_streams(tmp_path, monkeypatch):
    pool = from_parquet(written(tmp_path / "d"), target="y", group_by="user")
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0).fit(pool)
    reads, read = [], ParquetFiles.read
    monkeypatch.setattr(ParquetFiles, "read", lambda self, *args: reads.append(args) or read(self, *args))
    for use in (model.score, model.predict, lambda pool: model.set_params(classes="scan").fit(pool)):
        reads.clear()
        use(pool)
        assert len(reads) <= 2 * 24  # 24 row groups; a fit scans the labels before


def test_blocks_that_others_read_are_not_counted(tmp_path):
    frame = FRAME.assign(user=np.arange(N) // 250)  # each of a row group alone: what others read changes nothing
    pool = from_parquet(written(tmp_path / "d", frame), target="y", group_by="user", cache_bytes=1)
    settings = {"n_active": 2, "lam": None, "batch_size": 50, "classes": [0, 1], "random_state": 0}
    alone = StreamingEstimator(SGDClassifier(), **settings).fit(pool[:9])
    watched = StreamingEstimator(SGDClassifier(), validation=pool[9:], validation_every=1, **settings).fit(pool[:9])
    assert watched.blocks_read_ == alone.blocks_read_
    assert watched.blocks_needed_ == alone.blocks_needed_


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8()])
def test_indices_may_use_all_of_their_type(kind, tmp_path):
    n = 128 if kind == pa.int8() else 256
    column = pa.DictionaryArray.from_arrays(pa.array(range(n), kind), pa.array([f"x{i:03}" for i in range(n)]))
    pq.write_table(pa.table({"g": column, "x": np.arange(float(n))}), tmp_path / "a.parquet")
    pool = from_parquet(tmp_path / "a.parquet", target=None, group_by="g")
    assert pool.names == tuple(f"x{i:03}" for i in range(n))
