"""Streams that fail: generators, blocks, and muxes over both."""

import contextlib
import warnings
from collections import Counter

import numpy as np
import pytest

from streamlearn import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    StreamPool,
    _read_ahead,
)
from streamlearn._ahead import Ahead
from streamlearn._blocks import BlockSource, BlockStream


def items(name, n, at=None, error=OSError):
    """Items of a stream, which fails at the item ``at``."""
    for i in range(n):
        if i == at:
            raise error(f"disk of {name}")
        yield name, i


def batches(i, n=6, at=None, what=None):
    rng = np.random.default_rng(i)
    for k in range(n):
        y = rng.integers(0, 2, 5)
        X = rng.normal(y[:, None], 1.0, (5, 3))
        if k == at:
            if what is None:
                raise OSError(f"disk {i}")
            yield what
        else:
            yield {"X": X, "y": y}


def never(name):
    raise KeyError(name)


class Flaky:
    """A stream that fails so many times before each item."""

    def __init__(self, n_times, n=10):
        self.n_times, self.n, self.failed = n_times, n, Counter()

    def __call__(self, rng):
        for i in range(self.n):
            noise = rng.random()
            if self.failed[i] < self.n_times:
                self.failed[i] += 1
                raise OSError(f"not yet {i}")
            yield i, noise


class Numbers(BlockSource):
    """Rows ``(number of the stream, place)``; some blocks cannot be read, or not even counted."""

    parts = ("X", "y")

    def __init__(self, i, sizes, bad=(), counted=True, width=0):
        self.name = f"s{i}"
        self.i, self.sizes, self.bad, self.counted, self.width = i, np.array(sizes), bad, counted, width

    def rows(self):
        if not self.counted:
            raise OSError(f"{self.name} has no footer")
        return self.sizes

    def read(self, block):
        if block in self.bad:
            raise OSError(f"block {block} is damaged")
        start = self.sizes[:block].sum()
        y = np.arange(start, start + self.sizes[block])
        return {"X": np.stack([np.full(len(y), self.i), y, *[y] * self.width], axis=1).astype(float), "y": y}


def good_rows(source):
    """Rows before the first bad block."""
    if not source.counted:
        return set()
    n = source.sizes[: min(source.bad, default=len(source.sizes))].sum()
    return {(float(source.i), float(j)) for j in range(n)}


def block_pool(sources, prefetch=0, shuffle=False, **options):
    streams = [BlockStream(source, prefetch=prefetch, shuffle=shuffle, **options) for source in sources]
    return StreamPool(streams, names=[source.name for source in sources])


def four():
    """Two streams that are good, one that fails at its item 7, and one that cannot be started."""
    streams = [Streamer(items, "a", 20), Streamer(items, "b", 20, 7), Streamer(never, "c"), Streamer(items, "d", 10)]
    return StreamPool(streams, names=list("abcd"))


MUXES = {
    "exhaustive": lambda pool, **s: StochasticMux(pool, 2, 4, mode="exhaustive", random_state=0, **s),
    "exhaustive, weights": lambda pool, **s: StochasticMux(
        pool, 2, 4, mode="exhaustive", pool_weights=np.arange(1, len(pool) + 1), random_state=0, **s
    ),
    "once": lambda pool, **s: StochasticMux(pool, 2, 4, mode="once", random_state=0, **s),
    "single active": lambda pool, **s: StochasticMux(pool, 2, 4, mode="single_active", random_state=0, **s),
    "with replacement": lambda pool, **s: StochasticMux(pool, 2, 4, random_state=0, **s),
    "until exhausted": lambda pool, **s: StochasticMux(pool, 2, None, random_state=0, **s),
    "shuffled": lambda pool, **s: ShuffledMux(pool, random_state=0, **s),
    "round robin": lambda pool, **s: RoundRobinMux(pool, random_state=0, **s),
    "cycle": lambda pool, **s: RoundRobinMux(pool, mode="cycle", random_state=0, **s),
    "permuted": lambda pool, **s: RoundRobinMux(pool, mode="permuted_cycle", random_state=0, **s),
    "chain": lambda pool, **s: ChainMux(pool, random_state=0, **s),
    "chain cycle": lambda pool, **s: ChainMux(pool, mode="cycle", random_state=0, **s),
}


@contextlib.contextmanager
def reading_together():
    """Blocks of Numbers are read two at a time, as where nothing else is done."""

    class AsIfWaitedFor(Ahead):
        is_waited_for = property(lambda self: True, lambda self, value: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Numbers, "reads_together", True)
        patch.setattr(_read_ahead, "Ahead", AsIfWaitedFor)
        yield


PASSES_ONCE = ("exhaustive", "exhaustive, weights", "round robin", "chain")


def quietly(iterator):
    """All items, and texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return list(iterator), [str(warning.message) for warning in caught]
