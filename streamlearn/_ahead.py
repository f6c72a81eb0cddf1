"""Working ahead in a thread: the next block of a mux is read while the last one is learned from.

Only work on a mux's own state runs there, never a user's code, and never two calls at a time: the items are the same with and
without it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ._interrupts import refuse_forked, wait_for

_executors: list[ThreadPoolExecutor] = []
_CALLS = 8  # so many of the last ones decide
_LEAST_IDLE = 0.5  # of a core: a thread that takes it from the learner delays him
_WAITED_FOR = 0.5  # of all the time; what the calls take when they use another core
_UNASKED = 1  # most results that wait when the thread goes on by itself


class Ahead:
    """Calls a function ahead of time, one call at a time.

    Parameters
    ----------
    after : int
        Number of calls that are made only when they are asked for, since a short run does not pay for threads; from then on
        calls that take a good part of all the time are made ahead. 0: all are.
    least, most : float
        Part of all the time that calls must take to be made ahead: below, a thread costs more than it saves; above, there is
        too little besides that could be done meanwhile. Nor are they where the learner uses all cores.

    Attributes
    ----------
    is_waited_for : bool
        Whether nearly nothing is done but to wait for results, while a core is idle: calls may use it, and are not made ahead.
    """

    def __init__(self, after: int, least: float = 0.0, most: float = 1.0) -> None:
        self._bounds = least, most
        self._countdown = after
        self._always = not after
        self.is_waited_for = False
        self._n_calls = 0
        self._share = self._busy = 0.0  # of all the time; cores, between the calls
        self._ended, self._used = time.perf_counter(), time.process_time()
        self._futures: deque[Future] = deque()  # of calls whose results were not fetched
        self._pid = 0

    def next(
        self,
        function: Callable[[], Any],
        meanwhile: Callable[[], Any] | None = None,
        goes_on: Callable[[], bool] | None = None,
        at_once: bool = False,
        wanted: Callable[[], bool] | None = None,
        assist: Callable[[Callable[[], bool]], None] | None = None,
    ) -> Any:
        """Return the next result of ``function``, None being its last, and begin the one after that.

        Parameters
        ----------
        function : callable
        meanwhile : callable, optional
            Called while calls are made ahead: before each is begun, and while they are under way.
        goes_on : callable, optional
            Whether the thread may call the function once more before the last result was fetched, without asking.
        at_once : bool, default=False
            Whether nobody could do anything since the last result was returned: such a call does not count.
        wanted : callable, optional
            Whether one more result is likely to be asked for.
        assist : callable, optional
            Does some of what calls in the thread will do, until they are over, as it is told: called before they are waited for.
        """
        if not self._futures:
            began, used = time.perf_counter(), time.process_time()
            result = function()
            ended = time.perf_counter()
            if self._n_calls and not at_once:  # the first one finds cold caches
                # each counts as much, however long it took: a single one may have waited for another thread, or for a user
                share = (ended - began) / max(ended - self._ended, 1e-9)
                busy = (used - self._used) / max(began - self._ended, 1e-9)
                self._share += (share - self._share) / min(self._n_calls, _CALLS)
                self._busy += (busy - self._busy) / min(self._n_calls, _CALLS)
                if self.is_waited_for:  # that other core was busy with the calls
                    self.is_waited_for = self._share > _WAITED_FOR
                else:
                    self.is_waited_for = self._share > self._bounds[1] and self._leaves_a_core()
            self._n_calls += not at_once
            self._ended, self._used = ended, time.process_time()
        else:
            refuse_forked(self._pid)
            future = self._futures[0]
            if meanwhile is not None:
                meanwhile()
            if assist is not None:
                assist(future.done)
            try:
                wait_for(future)
                result = future.result()
            finally:
                if future.done():  # after an interrupt it runs on, and close waits for it
                    self._futures.popleft()
        self._countdown -= not at_once
        if result is not None and not self._futures and self._countdown < 0 and self._pays():
            if meanwhile is not None:
                meanwhile()
            if wanted is None or wanted():
                self._begin(function, goes_on)
        return result

    def _begin(self, function: Callable[[], Any], goes_on: Callable[[], bool] | None) -> None:
        future: Future = Future()
        self._pid = os.getpid()
        self._futures.append(future)  # at first: an interrupt that comes in between must not lose what is under way
        try:
            _threads().submit(self._run, future, function, goes_on)
        except BaseException as error:
            if future.cancel():
                self._futures.clear()
            if not isinstance(error, RuntimeError):
                raise
            self._countdown = 2**62  # the interpreter is ending, and other threads with it: this one goes on alone

    def _run(self, future: Future, function: Callable[[], Any], goes_on: Callable[[], bool] | None) -> None:
        following: Future | None = future
        try:
            while following is not None and following.set_running_or_notify_cancel():
                future, following = following, None
                result = function()
                if goes_on is not None and len(self._futures) <= _UNASKED and goes_on():
                    following = Future()
                    self._futures.append(following)  # before the caller sees that this one is done
                future.set_result(result)
        except BaseException as error:
            future.set_exception(error)

    def _pays(self) -> bool:
        least, most = self._bounds
        return self._always or (least <= self._share <= most and not self.is_waited_for and self._leaves_a_core())

    def _leaves_a_core(self) -> bool:
        return n_cores() - self._busy >= _LEAST_IDLE

    def settle(self) -> None:
        """Wait until nothing is under way; its results stay to be fetched."""
        if self._pid == os.getpid():
            while self._futures and not self._futures[-1].done():
                wait_for(self._futures[-1])

    def close(self) -> None:
        """Wait for what is under way, so that nothing runs on; after an interrupt, it may be called again."""
        while self._futures:
            future = self._futures[0]
            if self._pid == os.getpid() and not future.cancel():
                wait_for(future)
            self._futures.popleft()


def n_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> ThreadPoolExecutor:
    if not _executors:  # several callers may come here at once: the first one's stays, others never start a thread
        _executors.append(ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="streamlearn-read"))
    return _executors[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)  # a child process has no threads of its parent
