"""Working ahead in threads: the next block of a mux is planned, and read, while the last one is learned from.

Only NumPy work on a mux's own state runs there, never a user's code, and never two calls of one stage at a time: the items are
the same with and without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ._interrupts import refuse_forked, wait_for

_executors: dict[str, ThreadPoolExecutor] = {}
# A thread that works ahead disturbs the learner, whose every call hands the interpreter over: at a tenth of the time it costs
# more than it saves, from a third on it pays.
_WORTH_IT = 0.25
_CALLS = 8  # so many of the last ones decide


class Ahead:
    """Calls a function ahead of time, one call at a time.

    Parameters
    ----------
    stage : str
        Stages have threads of their own, so that one may wait for another.
    after : int
        Number of calls that are made only when they are asked for, since a short run does not pay for threads; from then on
        calls that take a good part of all the time are made ahead. 0: all are.
    most : float
        Part of all the time above which they are not made ahead: there is too little besides that could be done meanwhile.
    """

    def __init__(self, stage: str, after: int, most: float = 1.0) -> None:
        self._stage = stage
        self._most = most
        self._countdown = after
        self._always = not after
        self._n_calls = 0
        self._share = 0.0  # of all the time
        self._ended = time.perf_counter()
        self._future: Future | None = None
        self._pid = 0

    def next(self, function: Callable[[], Any]) -> Any:
        """Return the next result of ``function``, None being its last, and begin the one after that."""
        if self._future is None:
            began = time.perf_counter()
            result = function()
            ended = time.perf_counter()
            if self._n_calls:  # the first one finds cold caches
                # each counts as much, however long it took: a single one may have waited for another thread, or for a user
                share = (ended - began) / max(ended - self._ended, 1e-9)
                self._share += (share - self._share) / min(self._n_calls, _CALLS)
            self._n_calls += 1
            self._ended = ended
        else:
            refuse_forked(self._pid)
            try:
                wait_for(self._future)
                result = self._future.result()
            finally:
                if self._future.done():  # after an interrupt it runs on, and close waits for it
                    self._future = None
        self._countdown -= 1
        if result is not None and self._countdown < 0 and self._pays():
            self._begin(function)
        return result

    def _begin(self, function: Callable[[], Any]) -> None:
        future: Future = Future()
        self._pid = os.getpid()
        self._future = future  # at first: an interrupt that comes in between must not lose what is under way
        try:
            _threads(self._stage).submit(_run, future, function)
        except BaseException as error:
            if future.cancel():
                self._future = None
            if not isinstance(error, RuntimeError):
                raise
            self._countdown = 2**62  # the interpreter is ending, and other threads with it: this one goes on alone

    def _pays(self) -> bool:
        return self._always or _WORTH_IT <= self._share <= self._most

    def settle(self) -> None:
        """Wait until nothing is under way; its result stays to be fetched."""
        if self._future is not None and self._pid == os.getpid():
            wait_for(self._future)

    def close(self) -> None:
        """Wait for a call that is under way, so that nothing runs on; after an interrupt, it may be called again."""
        future = self._future
        if future is not None and self._pid == os.getpid() and not future.cancel():
            wait_for(future)
        self._future = None


def _run(future: Future, function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _threads(stage: str) -> ThreadPoolExecutor:
    if (
        stage not in _executors
    ):  # several threads may come here at once: the first one's stays, others never start a thread
        _executors.setdefault(stage, ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix=f"streamlearn-{stage}"))
    return _executors[stage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)  # a child process has no threads of its parent
