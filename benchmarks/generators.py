"""Generators that yield batches: the time of mixing and joining them against draining them in plain round-robin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamlearn import StochasticMux, Streamer

from ._harness import Row, compare
from .mixing import BATCH, N_STREAMS, data

ITEM = 16


def slices(X: np.ndarray, y: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield views of rows, without end: the cheapest generator there is."""
    for start in itertools.cycle(range(0, len(X) - ITEM, ITEM)):
        yield {"X": X[start : start + ITEM], "y": y[start : start + ITEM]}


def noisy(X: np.ndarray, y: np.ndarray, rng: Any = 0) -> Iterator[dict[str, np.ndarray]]:
    """Yield rows with noise, without end, as in the README."""
    rng = np.random.default_rng(rng)
    while True:
        rows = rng.integers(0, len(X), ITEM)
        yield {"X": X[rows] + rng.normal(0.0, 0.1, (ITEM, X.shape[1])), "y": y[rows]}


def seeds(function: Any, i: int) -> dict[str, int]:
    """Return arguments for a stream that draws: with one seed for all the processor foresees what the others draw, too."""
    return {"rng": i} if function is noisy else {}


def round_robin(generators: list[Iterator], n_batches: int) -> Any:
    turns = itertools.cycle(generators)

    def run() -> None:
        for _ in range(n_batches):
            items = [next(generator) for generator in itertools.islice(turns, BATCH // ITEM)]
            np.concatenate([item["X"] for item in items])
            np.concatenate([item["y"] for item in items])

    return run


def in_random_order(generators: list[Iterator], n_batches: int) -> Any:
    """The same as round-robin, but for the order."""
    drawn = np.random.default_rng(0).integers(0, len(generators), (n_batches, BATCH // ITEM)).tolist()

    def run() -> None:
        for turns in drawn:
            items = [next(generators[i]) for i in turns]
            np.concatenate([item["X"] for item in items])
            np.concatenate([item["y"] for item in items])

    return run


def mixed(streams: list[Streamer], n_batches: int) -> Any:
    from streamlearn._batches import Batches

    mux = StochasticMux(streams, 8, 16, random_state=0)
    joined = iter(Batches(mux._start(None, (0,)), BATCH))

    def run() -> None:
        for _ in range(n_batches):
            next(joined)

    return run


def pescador_mixed(function: Any, arrays: list[tuple], n_batches: int) -> Any:
    import pescador

    streams = [pescador.Streamer(function, *pair, **seeds(function, i)) for i, pair in enumerate(arrays)]
    items = pescador.StochasticMux(streams, 8, rate=16, random_state=0).iterate()

    def run() -> None:
        for _ in range(n_batches):
            taken = [next(items) for _ in range(BATCH // ITEM)]
            np.concatenate([item["X"] for item in taken])
            np.concatenate([item["y"] for item in taken])

    return run


def rows(quick: bool) -> Iterator[Row]:
    n_batches = 300 if quick else 1000
    X, y = data(5000)
    arrays = [(X[i * 5000 : (i + 1) * 5000], y[i * 5000 : (i + 1) * 5000]) for i in range(N_STREAMS)]

    def started(function: Any) -> list[Iterator]:
        return [function(*pair, **seeds(function, i)) for i, pair in enumerate(arrays)]

    work = "Items of 16 rows from the same generators, joined to batches of 256. Round-robin goes over all 64, which stay open."
    for function in (noisy, slices):
        ours = mixed([Streamer(function, *pair) for pair in arrays], n_batches)
        plain = round_robin(started(function), n_batches)
        bar = "<=1.15" if function is noisy else "(hardest)"
        shared = {"n_ours": n_batches * BATCH, "work": work}
        row = compare(f"generators / round-robin: {function.__name__}", ours, plain, bar=bar, **shared)
        yield row
        yield compare(
            f"in random order / round-robin: {function.__name__}",
            in_random_order(started(function), n_batches),
            plain,
            bar="(limit)",
            n_ours=n_batches * BATCH,
            work="The same generators in a bare loop, resumed in a random order: what a random order alone costs.",
        )
        peer = compare(
            f"pescador / round-robin: {function.__name__}",
            pescador_mixed(function, arrays, n_batches // 10),
            plain,
            bar="(5x ours)",
            n_ours=n_batches // 10 * BATCH,
            n_theirs=n_batches * BATCH,
            work=work + " pescador deep-copies the arguments of a stream at each activation.",
        )
        yield peer
