"""Memory of large arrays that come and go, taken over by the next ones."""

from __future__ import annotations

import mmap
import threading
import weakref
from typing import Any

import numpy as np

_LARGE = 2**18
_SIZES = 4  # powers of 2, from the one that is needed, that serve: what is at hand is better than more
_MOST_KEPT = 31 * 2**20  # the C library of Linux never keeps arrays that are larger
_PRIVATE: dict[str, Any] = {}
if hasattr(mmap, "MAP_PRIVATE"):  # by default, a forked child would share it
    _PRIVATE["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class _InUse(threading.local):
    """The memory whose ``with`` statement this thread has entered last; none, once it has left one."""

    memory: weakref.ref[Memory] | None = None


_in_use = _InUse()


class Memory:
    """Memory that a large array leaves when nothing refers to it any more, and that a later one of about its size takes over.

    The allocator of the C library keeps, for each thread, what large arrays leave, in pieces that later ones do not fit into: of
    tables that are read and dropped in turn it comes to hold half as much again. Memory that is taken from the system for each
    of them, and given back at once, costs as much time as to fill it. In a ``with`` statement of this object
    :func:`empty_bytes` uses its memory.

    Examples
    --------
    >>> from streamlearn._memory import Memory, empty_bytes
    >>> with Memory():
    ...     first = empty_bytes(1_000_000)
    ...     address = first.ctypes.data
    ...     del first
    ...     empty_bytes(999_000).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        # by powers of 2: pages of a larger one that are never touched cost nothing
        self.free: dict[int, list[mmap.mmap]] = {}

    def __enter__(self) -> None:
        _in_use.memory = weakref.ref(self)

    def __exit__(self, *_: object) -> None:
        _in_use.memory = None  # no stack: an interrupt in between would leave this on it for ever

    def empty(self, n_bytes: int) -> np.ndarray:
        least = max(n_bytes - 1, 1).bit_length()
        for size in range(least, least + _SIZES):
            try:
                mapped = self.free[size].pop()
            except (KeyError, IndexError):  # looking first would not do: another thread may take the last one
                continue
            return np.asarray(_Lent(mapped, n_bytes, self))
        for free in list(self.free.values()):  # more is held than ever before: what is of no use makes room
            free.clear()
        self.free.setdefault(least, [])
        try:
            mapped = mmap.mmap(-1, 2**least, **_PRIVATE)
        except OSError:
            return np.empty(n_bytes, np.uint8)  # which says how much was asked for, if it cannot be had
        return np.asarray(_Lent(mapped, n_bytes, self))


class _Lent:
    """What an array, and all views of it, refer to: once they are gone, so is this, and the memory is free."""

    def __init__(self, mapped: mmap.mmap, n_bytes: int, memory: Memory) -> None:
        self._mapped = mapped
        self._size = len(mapped).bit_length() - 1
        self._memory = weakref.ref(memory)
        address = np.frombuffer(mapped, np.uint8).__array_interface__["data"]
        self.__array_interface__ = {"shape": (n_bytes,), "typestr": "|u1", "data": address, "version": 3}

    def __del__(self) -> None:
        memory = self._memory()
        if memory is not None:
            memory.free[self._size].append(self._mapped)


def empty_bytes(n_bytes: int) -> np.ndarray:
    """Return bytes that are not filled, from the memory in use in this thread, if there is one and they are many."""
    memory = None if n_bytes < _LARGE or _in_use.memory is None else _in_use.memory()
    return np.empty(n_bytes, np.uint8) if memory is None else memory.empty(n_bytes)


def keep_freed(n_bytes: int) -> None:
    """Have the C library serve arrays of up to so many bytes from memory that it keeps, where that can be had.

    At first it takes memory for each large array from the system and gives it back at once, and the pages of such memory are
    cleared one by one when they are first written: that takes as long as to gather rows. It keeps what is freed in sizes
    that were freed before, as by this call, which touches no page.
    """
    np.empty(min(n_bytes, _MOST_KEPT), np.uint8)
