"""What every source must do, run on each by its own test module, and one small data set written for each of them."""

import pickle
import sqlite3
from contextlib import closing

import h5py
import numpy as np
import pandas as pd
import zarr
from sklearn.base import clone
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV

import streamlearn
from streamlearn import StochasticMux, StreamingEstimator, StreamPool

SIZES = [23, 40, 7]
I = np.arange(sum(SIZES))  # noqa: E741
X, Y = np.column_stack([I + 1.0, I * 0.5]), I % 3
PARTS = np.split(I, np.cumsum(SIZES)[:-1])
ALL = object()
FILE_SOURCES = ["parquet", "csv", "npy", "npz", "hdf5", "zarr", "svmlight", "sql"]
SUFFIXES = {"hdf5": "h5", "svmlight": "svm", "sql": "db"}


def path_of(kind, directory, i=0):
    """Path of a file of the data set; SQL has one for all."""
    return directory / f"f{0 if kind == 'sql' else i}.{SUFFIXES.get(kind, kind)}"


def write(kind, directory):
    """Write ``X`` and ``Y`` as three files, or one database."""
    for i, part in enumerate(PARTS):
        path, x, y = path_of(kind, directory, i), X[part], Y[part]
        frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "label": y})
        if kind == "parquet":
            frame.to_parquet(path, row_group_size=10, index=False)
        elif kind == "csv":
            frame.to_csv(path, index=False)
        elif kind == "npy":
            np.save(path, x)
            np.save(directory / f"y{i}.npy", y)
        elif kind == "npz":
            np.savez(path, X=x, y=y)
        elif kind == "hdf5":
            with h5py.File(path, "w") as file:
                file["X"], file["y"] = x, y
        elif kind == "zarr":
            group = zarr.open_group(path, mode="w")
            group["X"], group["y"] = x, y
        elif kind == "svmlight":
            dump_svmlight_file(x, y, str(path), zero_based=False)
        else:
            with closing(sqlite3.connect(path)) as database:
                frame.assign(part=i).to_sql("rows", database, index=False, if_exists="append")


def make(kind, directory, paths=ALL, **options):
    """Make a pool of all that was written, or of ``paths``, with the function of this kind."""
    if paths is ALL:
        paths = f"{directory}/f*.{SUFFIXES.get(kind, kind)}" if kind != "sql" else path_of(kind, directory)
    if kind in ("parquet", "csv"):
        return getattr(streamlearn, f"from_{kind}")(paths, **{"target": "label", **options})
    if kind == "npy":
        return streamlearn.from_npy(paths, **{"y": f"{directory}/y*.npy", **options})
    if kind == "npz":
        return streamlearn.from_npy(paths, **options)
    if kind in ("hdf5", "zarr"):
        return getattr(streamlearn, f"from_{kind}")(paths, **{"y": "y", **options})
    if kind == "svmlight":
        return streamlearn.from_svmlight(paths, **{"n_features": 2, **options})
    return streamlearn.from_sql(
        **{"query": "rows", "connection": paths, "target": "label", "partition": "part", **options}
    )


def drained(pool, seed=0, lam=16, n_active=3, mode="exhaustive", batch=7, limit=None):
    """All samples of one pass of a mux: X, y, and which stream gave each."""
    mux = StochasticMux(pool, n_active, lam, mode=mode, random_state=seed)
    iterator = mux._start(None, mux._next_pass())
    taken, n = [], 0
    while (block := iterator.take(batch)) is not None:
        taken.append(block)
        n += len(block[1])
        if limit is not None and n >= limit:
            break
    iterator.close()
    X = np.concatenate([dense(parts["X"]) for parts, _ in taken])
    y = np.concatenate([parts["y"] for parts, _ in taken]) if "y" in taken[0][0] else None
    return X, y, np.concatenate([who for _, who in taken])


def dense(X):
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)


def in_order(rows):
    return rows[np.lexsort(rows.T)]


def check_source(make, X, y, names, reads=True):
    """Check a pool against the rows that the library itself reads.

    Parameters
    ----------
    make : callable
        ``make(**options)`` returns the pool.
    X, y : ndarrays
        All rows, in any order; ``y`` may be None.
    names : sequence of str
        Of the streams.
    reads : bool, default=True
        Whether blocks are read, and so the options are those of reading.
    """
    pool = make()
    assert isinstance(pool, StreamPool)
    assert list(pool.names) == list(names)
    together = X if y is None else np.column_stack([X, y])

    # every row exactly once, whatever the visits
    for lam in (None, 1, 5):
        got_X, got_y, who = drained(pool, lam=lam)
        got = got_X if y is None else np.column_stack([got_X, got_y])
        np.testing.assert_array_equal(in_order(got), in_order(together))
        assert np.bincount(who, minlength=len(pool)).tolist() == [stream._n_samples for stream in pool]

    # the same samples for the same seed and any number of threads; others for another seed or another pass
    first = drained(pool)
    options = [{"prefetch": 1}, {"prefetch": 2}, {"cache_bytes": 0}] if reads else []
    for other in (make(), *[make(**option) for option in options], pickle.loads(pickle.dumps(pool)), clone(pool)):
        for a, b in zip(first, drained(other), strict=True):
            np.testing.assert_array_equal(a, b)
    if len(X) > 20:
        assert not np.array_equal(first[0], drained(pool, seed=1)[0])
    mux = StochasticMux(pool, 2, mode="exhaustive", random_state=0)
    passes = [np.array([dense(item["X"]) for item in mux]).reshape(len(X), -1) for _ in range(2)]
    assert len(X) <= 20 or not np.array_equal(*passes)
    np.testing.assert_array_equal(in_order(passes[0]), in_order(passes[1]))

    # with replacement no sample comes twice before all have come once
    one = pool[[0]]
    size = one[0]._n_samples
    twice = drained(one, mode="with_replacement", n_active=2, lam=3, batch=1, limit=2 * size)[0]
    np.testing.assert_array_equal(in_order(twice[:size]), in_order(twice[size:]))

    # restart, clone, columns in the order in which they lie
    stream = pool[0]
    assert clone(stream) is stream
    assert len(list(stream)) == len(list(stream)) == size
    lying = list(stream._in_order(3))
    assert max(len(dense(batch["X"])) for batch in lying) <= 3
    np.testing.assert_array_equal(np.concatenate([dense(batch["X"]) for batch in lying]), dense(stream._column("X")))
    if y is not None:
        np.testing.assert_array_equal(np.concatenate([batch["y"] for batch in lying]), stream._column("y"))
    assert stream._column("sample_weight") is None or "sample_weight" in lying[0]


def check_items(make, X, y, prefetch):
    """Check a pool of streams of batches: their order is their own, and they are pulled one by one."""

    def read(pool, seed=0):
        batches = list(StochasticMux(pool, 2, 3, mode="exhaustive", random_state=seed))
        return np.concatenate([np.column_stack([batch["X"], batch["y"]]) for batch in batches])

    pool = make()
    first = read(pool)
    np.testing.assert_array_equal(in_order(first), in_order(np.column_stack([X, y])))
    others = [make(prefetch=1), make(prefetch=2)] if prefetch else []
    for other in (make(), *others, pickle.loads(pickle.dumps(pool)), clone(pool)):
        np.testing.assert_array_equal(read(other), first)
    assert not np.array_equal(read(pool, seed=1), first)
    for stream in pool:
        assert clone(stream) is stream
        assert len(list(stream)) == len(list(stream)) > 0


def check_search(make, y):
    """Search with two processes and with none: the same scores, of all rows that were held out."""
    model = StreamingEstimator(SGDClassifier(), n_active=2, classes=np.unique(y), random_state=0)
    searches = [GridSearchCV(model, {"lam": [2, None]}, cv=2, n_jobs=n_jobs).fit(make()) for n_jobs in (None, 2)]
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(*[search.cv_results_[key] for search in searches])
        assert np.isfinite(searches[0].cv_results_[key]).all()
    assert searches[1].best_estimator_.n_samples_seen_ == len(y)
