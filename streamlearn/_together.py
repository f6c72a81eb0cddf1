"""Calls that are made by whoever wants their results, and by a thread beside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from ._ahead import threads
from ._interrupts import wait_for


class Together:
    """Calls functions, in their order, in a thread and in that of whoever waits for their results.

    Parameters
    ----------
    functions : iterable of callable

    Attributes
    ----------
    futures : list of Future
        Of their results.

    Examples
    --------
    >>> from streamlearn._together import Together
    >>> calls = Together([lambda i=i: i * i for i in range(3)])
    >>> calls.begin()
    >>> for future in calls.futures:
    ...     calls.wait(future)
    >>> calls.close()
    >>> [future.result() for future in calls.futures]
    [0, 1, 4]
    """

    def __init__(self, functions: Iterable[Callable[[], Any]]) -> None:
        self._waiting: deque[tuple[Future, Callable[[], Any]]] = deque((Future(), function) for function in functions)
        self.futures = [future for future, _ in self._waiting]
        self._thread: Future = Future()  # here at first: an interrupt must not lose it

    def begin(self) -> None:
        """Have the thread begin. Nothing runs on after :meth:`close`, which must be called then."""
        with suppress(RuntimeError):  # the interpreter is ending, and threads with it
            threads().submit(self._work)

    def wait(self, future: Future) -> None:
        """Wait until a call is over, and make others meanwhile."""
        while not future.done() and self._call_next():
            pass
        wait_for(future)

    def close(self) -> None:
        """Cancel what has not begun, and wait for what is under way."""
        with suppress(IndexError):
            while True:
                self._waiting.popleft()[0].cancel()
        if not self._thread.cancel():
            wait_for(self._thread)

    def _work(self) -> None:
        if not self._thread.set_running_or_notify_cancel():
            return
        try:
            while self._call_next():
                pass
        finally:
            self._thread.set_result(None)

    def _call_next(self) -> bool:
        try:
            future, function = self._waiting.popleft()
        except IndexError:
            return False
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        return True
