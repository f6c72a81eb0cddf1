"""Pools of 10 to 100 000 streams, deep nesting, and the cost of an idle stream."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np

from streamlearn import StochasticMux, from_arrays

from ._harness import Row, compare
from .mixing import BATCH, draining

WORK = "The same 1.2 million rows of 20 features, cut into more or fewer streams; batches of 256, n_active 8, lam 16."


def rows(quick: bool) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    X, y = rng.random((1_200_000, 20)), rng.integers(0, 2, 1_200_000)
    n_batches = 400 if quick else 2000
    pools = {n: from_arrays(X, y, n_streams=n) for n in (10, 1000, 100_000)}
    runs = {n: draining(StochasticMux(pool, 8, 16, random_state=0), n_batches) for n, pool in pools.items()}
    for n in (1000, 100_000):
        yield compare(
            f"{n} streams / 10 streams, time per row",
            runs[n],
            runs[10],
            bar="<=1.3",
            work=WORK,
            n_ours=n_batches * BATCH,
        )
    began = time.perf_counter()
    StochasticMux(pools[100_000], 8, 16, random_state=0)._start(None, (0,)).take(BATCH)
    seconds = time.perf_counter() - began
    yield Row(
        "first batch of 100000 streams", seconds, seconds, seconds, "<=0.5 s", seconds, 0.0, "s", "From the call."
    )
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    pool = from_arrays(X, y, n_streams=100_000)
    iterator = StochasticMux(pool, 8, 16, random_state=0)._start(None, (0,))
    iterator.take(BATCH)
    each = (tracemalloc.get_traced_memory()[0] - before) / 100_000
    tracemalloc.stop()
    yield Row(
        "bytes of an idle stream", each, each, each, "<=1000", each, 0.0, "bytes", "Pool and running mux of 100000."
    )
    parts = zip(np.split(X, 100), np.split(y, 100), strict=True)
    nested = [StochasticMux(from_arrays(*part, n_streams=1000), 8, 16) for part in parts]
    deep = StochasticMux(nested, 8, 16, random_state=0)
    flat = StochasticMux(pools[100_000], 8, 16, random_state=0)

    def one_by_one(mux: StochasticMux, n: int) -> Callable[[], None]:
        iterator = mux.generate()

        def run() -> None:
            for _ in range(n):
                next(iterator)

        return run

    yield compare(
        "nested 100 x 1000 / flat 100000, per sample",
        one_by_one(deep, 100_000),
        one_by_one(flat, 100_000),
        bar="<=1.3",
        work="The same rows, one by one; each visit of a nested mux starts it afresh.",
        n_ours=100_000,
        repeats=5,
    )
    yield compare(
        "nested 100 x 1000 / flat 100000, batches",
        draining(deep, n_batches),
        draining(flat, n_batches),
        bar="<=1.3",
        work="The same in batches of 256.",
        n_ours=n_batches * BATCH,
    )
    yield compare(
        "nested / flat with as many visits, batches",
        draining(deep, n_batches),
        draining(StochasticMux(pools[100_000], 8, 2.3, random_state=0), n_batches),
        bar="-",
        work="A visit of 16 rows to a nested mux begins seven visits within, of 2.3 rows each; so the flat one has lam=2.3.",
        n_ours=n_batches * BATCH,
    )
    names = "sklearn.base,sklearn.metrics,sklearn.neural_network,sklearn.decomposition,sklearn.model_selection"

    with tempfile.TemporaryDirectory() as cache:
        # compiled modules are kept for both, as an installed package has them
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def importing(modules: str) -> None:
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True, env=environment)

        importing(f"streamlearn,{names}")
        yield compare(
            "import streamlearn / import its scikit-learn modules",
            lambda: importing("streamlearn"),
            lambda: importing(names),
            bar="<=1.1",
            work="Whole processes, with compiled modules at hand.",
            unit="s",
            scale=1.0,
            repeats=9,
        )
