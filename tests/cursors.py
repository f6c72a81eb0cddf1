"""Cursors over streams that are moved one sample at a time, and plans to move them by."""

from collections import defaultdict

import numpy as np
from hypothesis import strategies as st

N_BLOCKS = 3


class Cursors:
    """The same, sample by sample."""

    def __init__(self, sizes, shuffled):
        self._sizes = sizes
        self._shuffled = shuffled
        self._at = [0] * len(sizes)

    def locate(self, order, streams, lengths):
        runs = defaultdict(list)  # of each stream, times run after run
        start = 0
        for stream, length in zip(streams.tolist(), lengths.tolist(), strict=True):
            if length:
                runs[stream].append(order[start : start + length].tolist())
            start += length
        told = {}
        for stream, times in runs.items():
            size, at = self._sizes[stream], self._at[stream]
            times = [time for run in times for time in run]
            if not self._shuffled[stream] or at % size + len(times) > size:
                times = sorted(times)
            for i, time in enumerate(times):
                told[time] = [stream, *divmod(at + i, size)]
            self._at[stream] += len(times)
        return [told[time] for time in sorted(told)]


@st.composite
def readings(draw):
    """Sizes of streams, which of them are shuffled, and plans: some runs are empty, some longer than their stream."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    shuffled = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    plans = []
    for _ in range(N_BLOCKS):
        runs = draw(st.lists(st.tuples(st.integers(0, len(sizes) - 1), st.integers(0, 12)), min_size=1, max_size=8))
        runs.append((draw(st.integers(0, len(sizes) - 1)), 1))
        n = sum(length for _, length in runs)
        lengths = np.array([length for _, length in runs])
        parts = np.split(np.array(draw(st.permutations(range(n))), np.int64), np.cumsum(lengths)[:-1])
        order = np.concatenate([np.sort(part) for part in parts])  # the draws of a visit follow each other
        plans.append((order, np.array([stream for stream, _ in runs]), lengths))
    return sizes, shuffled, plans
