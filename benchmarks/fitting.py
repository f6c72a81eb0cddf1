"""StreamingEstimator.fit on a pool against a bare loop of partial_fit, and against dask-ml's Incremental."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from streamlearn import StochasticMux, StreamingEstimator, StreamPool, from_arrays

from ._harness import Row, compare
from .mixing import N_STREAMS, data

ESTIMATORS = [
    SGDClassifier(random_state=0),
    GaussianNB(),
    MiniBatchKMeans(random_state=0),
    StandardScaler(),
    SGDRegressor(random_state=0),
]
READY = (
    "The bare loop calls partial_fit on the same batches, which lie ready in memory; ours draws and mixes them as well."
)
GATHERS = "The bare loop gathers its batches with ndarray.take from rows that were drawn before; ours draws and mixes."


def fitting(estimator: Any, pool: StreamPool, n_batches: int, batch: int) -> Any:
    def run() -> None:
        StreamingEstimator(
            estimator,
            n_active=8,
            lam=16,
            mode="with_replacement",
            batch_size=batch,
            max_batches=n_batches,
            random_state=0,
        ).fit(pool)

    return run


def bare(estimator: Any, pool: StreamPool, n_batches: int, batch: int) -> Any:
    iterator = StochasticMux(pool, 8, 16, random_state=0)._start(None, (0,))
    ready = [iterator.take(batch)[0] for _ in range(n_batches)]
    iterator.close()
    classes = {"classes": [0, 1]} if is_classifier(estimator) else {}

    def run() -> None:
        model = clone(estimator)
        for taken in ready:
            model.partial_fit(taken["X"], taken["y"], **classes)

    return run


def gathering(estimator: Any, X: np.ndarray, y: np.ndarray, n_batches: int, batch: int) -> Any:
    drawn = np.random.default_rng(0).integers(0, len(X), (n_batches, batch))
    classes = {"classes": [0, 1]} if is_classifier(estimator) else {}

    def run() -> None:
        model = clone(estimator)
        for rows in drawn:
            model.partial_fit(X.take(rows, axis=0), y.take(rows), **classes)

    return run


def incremental(estimator: Any, X: np.ndarray, y: np.ndarray, n_batches: int, batch: int) -> Any:
    import dask
    import dask.array
    from dask_ml.wrappers import Incremental

    n = n_batches * batch
    blocks, targets = (dask.array.from_array(part[:n], chunks=(batch, *part.shape[1:])) for part in (X, y))

    def run() -> None:
        with dask.config.set(scheduler="threads"):
            Incremental(clone(estimator), shuffle_blocks=True, random_state=0).fit(blocks, targets, classes=[0, 1])

    return run


def rows(quick: bool) -> Iterator[Row]:
    X, y = data(5000)
    pool = from_arrays(X, y, n_streams=N_STREAMS)
    repeats = 5 if quick else 7
    for batch, n_batches in ((256, 1200), (16, 1200), (4096, 240)):
        n_batches = n_batches // 4 if quick else n_batches
        for estimator in ESTIMATORS:
            bar = "<=1.3" if batch == 4096 else "<=1.0" if isinstance(estimator, SGDClassifier) else "<=1.05"
            yield compare(
                f"fit / bare loop: {type(estimator).__name__}, batch {batch}",
                fitting(estimator, pool, n_batches, batch),
                bare(estimator, pool, n_batches, batch),
                bar=bar,
                work=READY,
                n_ours=n_batches * batch,
                repeats=repeats,
            )
    n_batches = 60 if quick else 240
    for estimator in ESTIMATORS:
        yield compare(
            f"fit / gathering loop: {type(estimator).__name__}, batch 4096",
            fitting(estimator, pool, n_batches, 4096),
            gathering(estimator, X, y, n_batches, 4096),
            bar="<=1.0",
            work=GATHERS,
            n_ours=n_batches * 4096,
            repeats=repeats,
        )
    n_batches = 300 if quick else 1200
    yield compare(
        "fit / dask-ml Incremental: SGDClassifier",
        fitting(ESTIMATORS[0], pool, n_batches, 256),
        incremental(ESTIMATORS[0], X, y, n_batches, 256),
        bar="<=0.6",
        work="As many rows in batches of 256; Incremental takes blocks of one array as they lie, in a random order of blocks.",
        n_ours=n_batches * 256,
        repeats=3,
    )
