"""Threads that are kept for the package's own work, and long loops that are split among them."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ._interrupts import wait_for

_LEAST_PART = 2**19  # bytes: to have another thread begin takes as long as to copy a third of them
_MOST_PARTS = 4  # memory does not serve many more at once

_executors: list[ThreadPoolExecutor] = []


class _Waits(threading.local):
    """Whether nothing but the work of this thread is under way, as far as is known."""

    alone = False


_waits = _Waits()


class Alone:
    """A statement in which other cores are idle while this thread works, so that loops are split among them."""

    def __enter__(self) -> None:
        _waits.alone = True

    def __exit__(self, *_: object) -> None:
        _waits.alone = False


def in_parts(function: Callable[[int, int], None], n: int, n_bytes: int) -> None:
    """Call a function for all of ``range(n)``, in parts at the same time where cores are idle.

    Parameters
    ----------
    function : callable
        ``function(start, stop)`` does a part, in any thread, without the interpreter.
    n : int
    n_bytes : int
        How much it copies in all.

    Examples
    --------
    >>> from streamlearn._threads import in_parts
    >>> in_parts(lambda start, stop: print(start, stop), 10, 80)
    0 10
    """
    n_parts = n_parts_of(n_bytes)
    if n_parts < 2:
        function(0, n)
        return
    cuts = [n * i // n_parts for i in range(n_parts + 1)]
    parts = [(submitted(function, start, stop), start, stop) for start, stop in itertools.pairwise(cuts[1:])]
    try:
        function(0, cuts[1])
    finally:  # nothing writes to memory any more that is given back
        for future, start, stop in parts:
            if future is None or future.cancel():  # all threads had other work
                function(start, stop)
            else:
                wait_for(future)
    for future, _, _ in parts:
        if future is not None and not future.cancelled():
            future.result()


def n_parts_of(n_bytes: int) -> int:
    """Return into how many parts a loop that copies so much is split here."""
    return max(min(n_cores(), _MOST_PARTS, n_bytes // _LEAST_PART), 1) if _waits.alone else 1


def submitted(function: Callable[..., None], *args: Any) -> Future | None:
    """Return the future of a call in another thread; None where the interpreter is ending, and other threads with it."""
    try:
        return threads().submit(function, *args)
    except RuntimeError:
        return None


def n_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> ThreadPoolExecutor:
    """Return the threads, which are started when there is work for them."""
    if not _executors:  # several callers may come here at once: the first one's stays, others never start a thread
        _executors.append(ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="streamlearn-work"))
    return _executors[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)  # a child process has no threads of its parent
