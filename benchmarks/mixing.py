"""Mixed rows per second through a learner that does nothing, against a random gather: the limit of per-row mixing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from streamlearn import StochasticMux, StreamPool, from_arrays

from ._harness import Row, compare

N_STREAMS, N_FEATURES, BATCH = 64, 20, 256
WORK = (
    "Batches of 256 rows of X and y. The gather takes rows that were drawn before, with ndarray.take (three times as fast as "
    "X[rows]); the mux also draws its streams, visits and rows."
)


def data(rows_per_stream: int, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n = N_STREAMS * rows_per_stream
    return rng.random((n, N_FEATURES)).astype(dtype, copy=False), rng.integers(0, 2, n)


def separate(X: Any, y: np.ndarray) -> StreamPool:
    size = X.shape[0] // N_STREAMS
    streams = []
    for i in range(N_STREAMS):
        rows = slice(i * size, (i + 1) * size)
        streams.extend(from_arrays(X[rows].copy(), y[rows].copy()))
    return StreamPool(streams)


def draining(mux: StochasticMux, n_batches: int, batch: int = BATCH) -> Any:
    """Return a run that takes batches from one pass, and goes on with it the next time."""
    iterator: Iterator | None = None

    def run() -> None:
        nonlocal iterator
        for _ in range(n_batches):
            taken = None if iterator is None else iterator.take(batch)  # type: ignore[attr-defined]
            if taken is None:
                iterator = mux._start(None, mux._next_pass())
                iterator.take(batch)

    return run


def gathering(X: Any, y: np.ndarray, n_batches: int, batch: int = BATCH) -> Any:
    rng = np.random.default_rng(1)
    indices = [rng.integers(0, X.shape[0], (n_batches, batch)) for _ in range(8)]
    turn = 0

    def run() -> None:
        nonlocal turn
        turn += 1
        for rows in indices[turn % len(indices)]:
            if isinstance(X, np.ndarray):
                X.take(rows, axis=0), y.take(rows)
            else:
                X[rows], y.take(rows)

    return run


def rows(quick: bool) -> Iterator[Row]:
    n_batches = 800 if quick else 4000
    n = n_batches * BATCH
    X, y = data(20_000)
    views, apart = from_arrays(X, y, n_streams=N_STREAMS), separate(X, y)
    weights = np.arange(1, N_STREAMS + 1)
    cases: list[tuple[str, Any, dict[str, Any], str]] = [
        ("views of one array", views, {}, "0.8"),
        ("separate arrays", apart, {}, "0.7"),
        ("non-uniform weights, views", views, {"pool_weights": weights}, "0.5"),
        ("non-uniform weights, separate", apart, {"pool_weights": weights}, "0.5"),
        ("single_active, views", views, {"mode": "single_active"}, "0.5"),
        ("single_active, separate", apart, {"mode": "single_active"}, "0.5"),
        ("lam=4, views", views, {"lam": 4}, "0.5"),
        ("lam=4, separate", apart, {"lam": 4}, "0.5"),
        ("exhaustive, views", views, {"mode": "exhaustive"}, "0.4"),
        ("exhaustive, separate", apart, {"mode": "exhaustive"}, "0.4"),
    ]
    for name, pool, settings, bar in cases:
        mux = StochasticMux(pool, **{"n_active": 8, "lam": 16, "random_state": 0, **settings})
        yield compare(
            f"mixing / gather: {name}",
            draining(mux, n_batches),
            gathering(X, y, n_batches),
            bar=f">={bar}",
            work=WORK,
            n_ours=n,
            speed=True,
        )
    X32 = X.astype(np.float32)
    mux = StochasticMux(from_arrays(X32, y, n_streams=N_STREAMS), 8, 16, random_state=0)
    yield compare(
        "mixing / gather: float32, views",
        draining(mux, n_batches),
        gathering(X32, y, n_batches),
        bar=">=0.5",
        work=WORK,
        n_ours=n,
        speed=True,
    )
    csr = sparse.random(N_STREAMS * 5000, 200, density=0.1, format="csr", random_state=0)
    y = y[: csr.shape[0]]
    mux = StochasticMux(from_arrays(csr, y, n_streams=N_STREAMS), 8, 16, random_state=0)
    yield compare(
        "mixing / gather: CSR, views",
        draining(mux, n_batches // 4),
        gathering(csr, y, n_batches // 4),
        bar=">=0.5",
        work="The same with sparse rows of 20 values; both index a CSR matrix.",
        n_ours=n // 4,
        speed=True,
    )
