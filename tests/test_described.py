"""A fit or search that is resumed knows data of other values or columns from its own, without reading it."""

import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import SGDClassifier

from streamlearn import (
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    SuccessiveHalvingSearchCV,
    from_arrays,
    from_csv,
    from_npy,
    from_parquet,
    from_sql,
)
from streamlearn._described import changes, described_streams, text_of

X = np.random.default_rng(0).random((240, 3))
Y = (X.sum(axis=1) > 1.5).astype(int)


@dataclass
class Config:
    level: int


def noisy(level, rng):
    level = getattr(level, "level", 1)
    for i in range(0, 240, 8):
        yield {"X": X[i : i + 8] + rng.normal(0, level, (8, 3)), "y": Y[i : i + 8]}


def flat(level, rng):
    yield from noisy(level, rng)


def model(path, **settings):
    return StreamingEstimator(
        SGDClassifier(), batch_size=8, n_active=2, classes=[0, 1], checkpoint=path, random_state=0, **settings
    )


def search(path, **settings):
    inner = StreamingEstimator(SGDClassifier(), batch_size=8, classes=[0, 1])
    return SuccessiveHalvingSearchCV(
        inner, {"lam": [2, 4]}, max_resources=4, cv=2, random_state=0, checkpoint=path, refit=False, **settings
    )


def generators(function, *arguments, **names):
    return StreamPool([Streamer(function, *arguments, **names) for _ in range(4)], names=list("ABCD"))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "checkpoint")


@pytest.fixture
def files(tmp_path):
    """Two directories of files of the same names and numbers of rows."""
    for where, scale in (("here", 1), ("there", 100)):
        (tmp_path / where).mkdir()
        for i in range(4):
            rows = slice(60 * i, 60 * i + 60)
            frame = pd.DataFrame(np.round(X[rows] * scale, 2), columns=list("abc")).assign(y=Y[rows], z=1 - Y[rows])
            frame.to_csv(tmp_path / where / f"{i}.csv", index=False)
            frame.to_parquet(tmp_path / where / f"{i}.parquet")
            np.save(tmp_path / where / f"X{i}.npy", (X[rows] * scale).astype(np.float32 if scale == 1 else np.float64))
            np.save(tmp_path / where / f"y{i}.npy", Y[rows])
    return tmp_path


def is_same(pool, other):
    return changes(described_streams(pool), described_streams(other)) is None


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (generators(noisy, 1), generators(noisy, 100)),
        (generators(noisy, 1), generators(flat, 1)),
        (generators(noisy, level=Config(1)), generators(noisy, level=Config(2))),
    ],
)
def test_generators_of_other_arguments_are_refused(first, other, path):
    model(path, max_batches=5).fit(first)
    with pytest.raises(ValueError, match=r"streams have changed .*made in another way, or of other arguments .*: 'A'"):
        model(path, resume=True, max_batches=9).fit(other)
    assert model(path, resume=True, max_batches=9).fit(first).n_batches_ == 9
    assert model(path, resume="allow-changes", max_batches=12).fit(other).n_batches_ == 12


def test_a_search_refuses_generators_of_other_arguments(path):
    search(path).fit(generators(noisy, 1))
    with pytest.raises(ValueError, match=r"the data has changed .*made in another way, or of other arguments"):
        search(path, resume=True).fit(generators(noisy, 100))
    search(path, resume=True).fit(generators(noisy, 1))


def test_the_streams_that_have_changed_are_named(path):
    streams = [Streamer(noisy, i) for i in range(4)]
    model(path, max_batches=5).fit(StreamPool(streams))
    with pytest.raises(ValueError, match=r"files: '2'\)"):
        model(path, resume=True).fit(StreamPool([*streams[:2], Streamer(noisy, 7), streams[3]]))


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (X, X[::-1]),
        (sparse.csr_array(X), sparse.csr_array(X[::-1])),
        (pd.DataFrame(X), pd.DataFrame(X[::-1])),
        (np.array(["a", None, "b"], object), np.array(["a", None, "c"], object)),
        ({"a": [X]}, {"a": [X + 1]}),
        (Path("a"), Path("b")),
        ({1, 2}, {1, 3}),
        (np.sin, len),
        (functools.partial(len, 1), functools.partial(len, 2)),
        (from_arrays(X, by=Y), from_arrays(X, by=Y[::-1])),
        (Streamer([X]), Streamer([X + 1])),
        (StochasticMux([[1], [2]], n_active=1, lam=2), StochasticMux([[1], [2]], n_active=1, lam=3)),
        (np.zeros((2000, 2000)), np.ones((2000, 2000))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_are_told_apart(first, other):
    assert is_same(generators(noisy, first), generators(noisy, first))
    assert not is_same(generators(noisy, first), generators(noisy, other))


def test_odd_arguments_are_taken_by_their_type():
    class Odd:
        def __repr__(self):
            raise RuntimeError

        def __getattr__(self, name):
            raise RuntimeError

    within = []
    within.append(within)

    def odd():
        return generators(noisy, [Odd(), threading.Lock(), lambda: 0, within, np.ma.masked_array([1], [True])])

    assert is_same(odd(), odd())


def test_groups_of_rows_are_compared():
    assert not is_same(from_arrays(X, by=Y), from_arrays(X, by=np.roll(Y, 1)))
    assert not is_same(from_arrays(X), from_arrays(X, shuffle=False))


def test_other_columns_of_files_are_refused(files, path):
    def pool(target, features):
        return from_parquet(f"{files}/here/*.parquet", target=target, features=features)

    model(path, max_batches=5).fit(pool("y", ["a", "b"]))
    for target, features in (("z", ["a", "b"]), ("y", ["b", "c"])):
        with pytest.raises(ValueError, match=r"of other arguments or files: '0\.parquet'"):
            model(path, resume=True).fit(pool(target, features))
    assert model(path, resume=True).fit(pool("y", ["a", "b"])).n_batches_ == 30


@pytest.mark.parametrize(
    "pool",
    [
        lambda path, **settings: from_csv(f"{path}/*.csv", target="y", **settings),
        lambda path, **settings: from_parquet(f"{path}/*.parquet", target="y", **settings),
        lambda path, **settings: from_npy(f"{path}/X*.npy", f"{path}/y*.npy", **settings),
    ],
    ids=["csv", "parquet", "npy"],
)
def test_other_files_of_the_same_names_are_told_apart_and_copies_are_not(files, pool):
    shutil.copytree(files / "here", files / "copy")
    first = pool(files / "here")
    list(first[0])  # what reading finds out is no change
    assert is_same(first, pool(files / "copy"))
    assert is_same(first, pool(files / "here", prefetch=1))
    assert not is_same(first, pool(files / "there"))
    assert not is_same(first, pool(files / "here", shuffle=False))


def test_filters_and_queries_are_compared(files):
    here = f"{files}/here/*.parquet"
    assert not is_same(
        from_parquet(here, target="y", filters=[("a", ">=", 0.0)]),
        from_parquet(here, target="y", filters=[("b", ">=", 0.0)]),
    )
    database = f"{files}/t.db"
    with sqlite3.connect(database) as opened:
        pd.DataFrame(X, columns=list("abc")).assign(y=Y).to_sql("t", opened)
    opened.close()
    queries = [f"SELECT {column}, y FROM t" for column in "ab"]
    pools = [from_sql(query, database, target="y") for query in (queries[0], *queries)]
    assert is_same(*pools[:2])
    assert not is_same(*pools[1:])


def test_streams_in_processes_are_those_without():
    assert is_same(generators(noisy, 1), StreamPool(generators(noisy, 1), prefetch=1))


def test_arrays_within_muxes_are_compared():
    def pool(values):
        return StreamPool([StochasticMux(from_arrays(values, Y, n_streams=3), n_active=2, lam=2, random_state=0)])

    assert is_same(pool(X), pool(X))
    assert not is_same(pool(X), pool(X[::-1]))


def test_a_checkpoint_without_what_streams_are_is_taken():
    before = described_streams(generators(noisy, 1))
    del before["made"]
    assert changes(before, described_streams(generators(noisy, 1))) is None


def test_of_many_streams_there_is_one_digest():
    began = time.perf_counter()
    streams = [Streamer(noisy, i, rng=X) for i in range(100_000)]
    made = time.perf_counter() - began
    pool, other = StreamPool(streams), StreamPool([*streams[:-1], Streamer(noisy, -1, rng=X)])
    began = time.perf_counter()
    described = described_streams(pool)
    assert time.perf_counter() - began < max(10, 5 * made)
    assert len(described["made"]["data"]) < 50
    assert "made in another way" in changes(described, described_streams(other))


def test_sets_within_parameters_are_the_same_in_another_process():
    value = [{"a": {"x", "y", "z"}}, [frozenset("abcdef")], ({"k": ({"p", "q", "r"},)},)]
    code = f"from streamlearn._described import text_of; print(text_of({value!r}))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert told.stdout.strip() == text_of(value)


def test_arrays_within_parameters_are_told_apart():
    first, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1
    assert text_of({"a": [first]}) != text_of({"a": [other]})
    assert text_of([1, (2,), {"a": "b"}]) == "[1, (2,), {'a': 'b'}]"
