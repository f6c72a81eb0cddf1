"""Planning ahead in a thread: the next block of a mux is planned while the last one is read and learned from.

Only NumPy work on a mux's own state runs there, never a user's code, and never two blocks of one mux at a time: the items are
the same with and without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_executor: ThreadPoolExecutor | None = None


class Ahead:
    """Calls a function ahead of time, one call at a time.

    Parameters
    ----------
    after : int
        Number of calls that are made when they are asked for: a short run does not pay for a thread.
    """

    def __init__(self, after: int) -> None:
        self._countdown = after
        self._future: Future | None = None
        self._pid = 0

    def next(self, function: Callable[[], Any]) -> Any:
        """Return the next result of ``function``, None being its last, and begin the one after that."""
        if self._future is None:
            result = function()
        else:
            if self._pid != os.getpid():
                raise RuntimeError(
                    "this process was forked while a mux was planning ahead: start a new pass in the child process."
                )
            result, self._future = self._future.result(), None
        self._countdown -= 1
        if result is not None and self._countdown < 0:
            self._pid = os.getpid()
            self._future = _threads().submit(function)
        return result

    def close(self) -> None:
        """Wait for a call that is under way, so that nothing runs on."""
        future, self._future = self._future, None
        if future is not None and self._pid == os.getpid() and not future.cancel():
            future.exception()


def _threads() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="streamlearn-ahead")
    return _executor


def _forget() -> None:
    global _executor
    _executor = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child process has no threads of its parent
