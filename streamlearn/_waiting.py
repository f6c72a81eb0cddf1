"""Streams that wait for a slot, each with a key; the smallest comes next."""

from __future__ import annotations

import heapq
from collections.abc import Set

import numpy as np

from . import _compiled


class Waiting:
    """Streams that wait, in Python.

    Parameters
    ----------
    keys : ndarray of shape (n_waiting,), float64
    streams : ndarray of shape (n_waiting,), int64
        Together a heap, sorted ones are.
    room : int
        How many can wait at most.
    """

    def __init__(self, keys: np.ndarray, streams: np.ndarray, room: int) -> None:
        self._heap = list(zip(keys.tolist(), streams.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self._heap)

    def __copy__(self) -> Waiting:
        other = Waiting.__new__(Waiting)
        other._heap = self._heap.copy()
        return other

    def pop(self) -> tuple[float, int]:
        """Take out the smallest key and its stream."""
        return heapq.heappop(self._heap)

    def push(self, key: float, stream: int) -> None:
        heapq.heappush(self._heap, (key, stream))

    def swap(self, key: float, stream: int) -> tuple[float, int]:
        """Push a stream, then pop one."""
        return heapq.heappushpop(self._heap, (key, stream))

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of keys and streams, as a heap."""
        keys, streams = zip(*self._heap, strict=True) if self._heap else ((), ())
        return np.array(keys, np.float64), np.array(streams, np.int64)


def waiting(keys: np.ndarray, streams: np.ndarray, room: int) -> Waiting:
    """Return streams that wait, compiled where that is to be had."""
    kind = Waiting if _compiled.native is None else _compiled.native.Waiting
    return kind(keys, streams, room)


def without(others: Waiting, dropped: Set[int], room: int) -> Waiting:
    """Return the same streams without some of them."""
    keys, streams = others.columns()
    stay = ~np.isin(streams, list(dropped))
    keys, streams = keys[stay], streams[stay]
    order = np.lexsort((streams, keys))
    return waiting(keys[order], streams[order], room)
