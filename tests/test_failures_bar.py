"""A third of many files broken in ten ways: the run ends, learns from all that is good, and names every broken file once."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from streamlearn import StreamingEstimator, from_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N_FILES = int(os.environ.get("STREAMLEARN_BAR_FILES", "200"))
N_ROWS, N_GROUPS = 60, 3
BY_GROUP = N_ROWS // N_GROUPS


def table(i, **changes):
    rng = np.random.default_rng(i)
    y = rng.integers(0, 2, N_ROWS)
    X = rng.normal(y[:, None] * 2.0, 1.0 + i % 3, (N_ROWS, 3))
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": y, **changes}
    return pa.table({name: values for name, values in columns.items() if values is not None})


def write(path, table):
    pq.write_table(table, path, row_group_size=BY_GROUP, compression="none", use_dictionary=False)


def rewrite(path, change):
    with open(path, "rb") as file:
        data = bytearray(file.read())
    with open(path, "wb") as file:
        file.write(change(data))


def damage(path, group):
    """Overwrite the pages of a row group, headers and all; the file says of itself what it did before."""
    columns = [pq.ParquetFile(path).metadata.row_group(group).column(i) for i in range(4)]

    def change(data):
        for column in columns:
            start = column.data_page_offset
            data[start : start + 24] = b"\xff" * 24
        return data

    rewrite(path, change)


def into_a_directory(path):
    os.remove(path)
    os.mkdir(path)


def footer_lies(data):
    data[-8:-4] = (2**31 - 1).to_bytes(4, "little")
    return data


# what is done to a file, and how many of its row groups are good
WAYS = {
    "gone": (lambda path, i: os.remove(path), 0),
    "empty": (lambda path, i: rewrite(path, lambda data: b""), 0),
    "cut short": (lambda path, i: rewrite(path, lambda data: data[: len(data) // 2]), 0),
    "of another kind": (lambda path, i: rewrite(path, lambda data: b"a,b,c,y\n1,2,3,0\n" * 50), 0),
    "a footer that lies": (lambda path, i: rewrite(path, footer_lies), 0),
    "a directory": (lambda path, i: into_a_directory(path), 0),
    "a column is missing": (lambda path, i: write(path, table(i, b=None)), 0),
    "a column of texts": (lambda path, i: write(path, table(i, b=["x"] * N_ROWS)), 0),
    "broken at its beginning": (lambda path, i: damage(path, 0), 0),
    "broken in its middle": (lambda path, i: damage(path, 1), 1),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A pool of files that are broken after they were found, the names of those, and all rows that are good."""
    directory = tmp_path_factory.mktemp("files")
    paths = [os.path.join(directory, f"{i:04}.parquet") for i in range(N_FILES)]
    for i, path in enumerate(paths):
        write(path, table(i))
    pools = [from_parquet(os.fspath(directory), target="y", shuffle=False, prefetch=prefetch) for prefetch in (0, 2)]
    which = np.random.default_rng(0).choice(N_FILES, 3 * N_FILES // 10, replace=False)
    n_good = np.full(N_FILES, N_ROWS)
    ways = list(WAYS.values())
    for k, i in enumerate(which.tolist()):
        break_it, groups = ways[k % len(ways)]
        break_it(paths[i], i)
        n_good[i] = groups * BY_GROUP
    tables = [table(i) for i in range(N_FILES)]
    X = np.concatenate([np.c_[t["a"], t["b"], t["c"]][:n] for t, n in zip(tables, n_good, strict=True)])
    y = np.concatenate([np.asarray(t["y"])[:n] for t, n in zip(tables, n_good, strict=True)])
    return pools, [f"{i:04}.parquet" for i in sorted(which)], n_good, X, y


def fitted(model, pool, n_broken):
    with pytest.warns(
        UserWarning, match=rf"^{n_broken} streams failed and were set aside: '\d+.parquet' after"
    ) as caught:
        model.fit(pool)
    assert len(caught) == 1
    return model


@pytest.mark.parametrize("prefetch", [0, 2])
def test_naive_bayes_is_that_of_all_that_is_good(broken, prefetch):
    pools, names, n_good, X, y = broken
    model = StreamingEstimator(GaussianNB(), on_error="skip", random_state=0)
    fitted(model, pools[prefetch > 0], len(names))
    expected = GaussianNB().fit(X, y)
    np.testing.assert_allclose(model.theta_, expected.theta_, rtol=1e-9)
    np.testing.assert_allclose(model.var_, expected.var_, rtol=1e-9)
    np.testing.assert_array_equal(model.class_count_, expected.class_count_)
    np.testing.assert_array_equal(model.stream_counts_, n_good)
    assert sorted(model.stream_errors_["name"]) == names
    assert all(model.stream_errors_["set_aside"])
    by_name = dict(zip(model.stream_errors_["name"], model.stream_errors_["n_items"], strict=True))
    assert [by_name[name] for name in names] == [n_good[int(name[:4])] for name in names]


def test_sgd_scores_as_on_all_that_is_good(broken):
    pools, names, _, X, y = broken
    # averaged, since the last step alone moves the score of an SGDClassifier by more than that
    sgd, settings = SGDClassifier(average=True, random_state=0), {"batch_size": 16, "n_passes": 3, "random_state": 0}
    model = StreamingEstimator(sgd, on_error="skip", **settings)
    fitted(model, pools[0], len(names))
    good = StreamingEstimator(sgd, **settings).fit(X, y)
    named = pd.DataFrame(X, columns=model.feature_names_in_)  # as in the files
    assert abs(model.score(named, y) - good.score(X, y)) <= 0.01
    assert sorted(model.stream_errors_["name"]) == names  # once, although there were three passes


def test_without_it_the_first_error_ends_the_run_before_training(broken):
    pools, names, *_ = broken
    model = StreamingEstimator(GaussianNB(), random_state=0, classes=[0, 1])
    with pytest.raises((ValueError, OSError), match="|".join(names)):
        model.fit(pools[0])


@pytest.mark.parametrize("share", [True, False])
def test_more_than_a_budget_of_failures_ends_the_run_and_names_them(broken, share):
    pools, names, *_ = broken
    most = 0.1 if share else 5
    allowed = N_FILES // 10 if share else 5
    model = StreamingEstimator(GaussianNB(), on_error="skip", max_errors=most, random_state=0)
    with pytest.raises(
        RuntimeError, match=rf"{allowed + 1} streams have failed, and max_errors={most} allows {allowed}: '"
    ):
        model.fit(pools[0])
    assert not hasattr(model, "n_batches_")
    allowing = StreamingEstimator(GaussianNB(), on_error="skip", max_errors=len(names), random_state=0)
    fitted(allowing, pools[0], len(names))
