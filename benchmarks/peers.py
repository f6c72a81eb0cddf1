"""Mixing samples of in-memory arrays into batches: the peers on the same arrays, with the same settings where they have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from streamlearn import StochasticMux, from_arrays

from ._harness import Row, compare
from .mixing import BATCH, N_STREAMS, data, draining


def pescador_mix(X: np.ndarray, y: np.ndarray, n_batches: int) -> Callable[[], Any]:
    import pescador

    def samples(first: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(first)
        while True:
            for i in rng.permutation(5000):
                yield {"X": X[first + i], "y": y[first + i]}

    streams = [pescador.Streamer(samples, i * 5000) for i in range(N_STREAMS)]
    mux = pescador.StochasticMux(streams, 8, rate=16, random_state=0)
    batches = pescador.maps.buffer_stream(mux.iterate(), BATCH)
    return lambda: [next(batches) for _ in range(n_batches)]


def grain_mix(X: np.ndarray, y: np.ndarray, n_batches: int) -> Callable[[], Any]:
    import grain

    def source(i: int) -> Any:
        rows = list(zip(X[i * 5000 : (i + 1) * 5000], y[i * 5000 : (i + 1) * 5000], strict=True))
        return grain.MapDataset.source(rows).shuffle(seed=i).repeat()

    mixed = grain.MapDataset.mix([source(i) for i in range(N_STREAMS)], weights=[1 / N_STREAMS] * N_STREAMS)
    batches = iter(mixed.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)).batch(BATCH))
    return lambda: [next(batches) for _ in range(n_batches)]


def huggingface_mix(X: np.ndarray, y: np.ndarray, n_batches: int) -> Callable[[], Any]:
    import datasets

    def part(i: int) -> Any:
        rows = slice(i * 5000, (i + 1) * 5000)
        table = datasets.Dataset.from_dict({"X": X[rows], "y": y[rows]}).with_format("numpy")
        return table.to_iterable_dataset().repeat(None)

    mixed = datasets.interleave_datasets(
        [part(i) for i in range(N_STREAMS)], probabilities=[1 / N_STREAMS] * N_STREAMS, seed=0
    )
    batches = iter(mixed.batch(BATCH))
    return lambda: [next(batches) for _ in range(n_batches)]


def river_like(X: np.ndarray, y: np.ndarray, n_batches: int) -> Callable[[], Any]:
    from river import stream

    def endless() -> Iterator[Any]:
        while True:
            yield from stream.iter_array(X, y)

    samples = stream.shuffle(endless(), buffer_size=1000, seed=0)
    return lambda: [[next(samples) for _ in range(BATCH)] for _ in range(n_batches)]


PEERS: list[tuple[str, Callable, str, str]] = [
    (
        "pescador StochasticMux + buffer_stream",
        pescador_mix,
        ">=200",
        "8 active of 64, rate 16, samples in random order.",
    ),
    ("grain mix", grain_mix, ">=100", "All 64 sources active, each shuffled; in-process reading."),
    ("HF interleave_datasets", huggingface_mix, ">=100", "All 64 sources active, read in order, NumPy format."),
    ("river shuffle", river_like, "-", "One stream and a shuffle buffer of 1000: river has no mux."),
]


def rows(quick: bool) -> Iterator[Row]:
    X, y = data(5000)
    mux = StochasticMux(from_arrays(X, y, n_streams=N_STREAMS), 8, 16, random_state=0)
    n_ours, n_theirs = 400, 4 if quick else 20
    for name, make, bar, note in PEERS:
        try:
            theirs = make(X, y, n_theirs)
        except ImportError as error:
            print(f"{name}: not installed ({error.name}); pip install '.[bench]'")
            continue
        yield compare(
            f"speed against {name}",
            draining(mux, n_ours),
            theirs,
            bar=bar,
            work="Batches of 256 samples of 20 features and a label from 64 in-memory sources. " + note,
            n_ours=n_ours * BATCH,
            n_theirs=n_theirs * BATCH,
            speed=True,
            repeats=5,
        )
