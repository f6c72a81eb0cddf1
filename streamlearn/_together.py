"""Calls that are made by whoever wants their results, and by a thread beside."""

from __future__ import annotations

import _thread
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from ._interrupts import LONGEST_WAIT, refuse_forked

_MANY = 8  # of those that wait for the thread: it has other work
_queues: dict[int, SimpleQueue] = {}  # of processes: what their threads are to do


class Together:
    """Calls a function for some things, in a thread and in that of whoever waits for the results.

    The thread stays for others, and takes nothing from who waits: locks of Python's own, such as those of futures, could stay
    locked when an interrupt comes while they are taken, and queues cannot.

    Parameters
    ----------
    function : callable
    things : iterable

    Examples
    --------
    >>> from streamlearn._together import Together
    >>> calls = Together(str.upper, ["a", "b", "c"])
    >>> calls.begin()
    >>> [calls.result(thing) for thing in ("a", "c")]
    ['A', 'C']
    >>> calls.close()
    """

    def __init__(self, function: Callable[[Any], Any], things: Iterable[Any]) -> None:
        self._function = function
        self._waiting = deque(things)
        self._expected = set(map(id, self._waiting))
        self._results: dict[int, tuple[BaseException | None, Any]] = {}
        self._bell: SimpleQueue = SimpleQueue()  # rung by the thread when there is something new
        self._thread_came = self._thread_left = False
        self._pid = os.getpid()

    def begin(self) -> None:
        """Have the thread begin. Nothing runs on after :meth:`close`, which must be called then."""
        queue = _queues.get(self._pid)
        if queue is None:
            own: SimpleQueue = SimpleQueue()
            try:
                _thread.start_new_thread(_serve, (own,))
            except RuntimeError:  # the interpreter is ending
                return
            queue = _queues.setdefault(self._pid, own)
            if queue is not own:  # another caller was first
                own.put(None)
        if queue.qsize() < _MANY:
            queue.put(self._work)

    def result(self, thing: Any) -> Any:
        """Return the result for one of the things, or raise its error, and make other calls until it is there.

        A result is given once; whoever asks again has the function called again.
        """
        refuse_forked(self._pid)
        key = id(thing)
        while key in self._expected and key not in self._results:
            try:
                next_one = self._waiting.popleft()
            except IndexError:  # the thread has it, unless an interrupt came when it was begun here
                if self._thread_came:
                    self._wait_while(lambda: key not in self._results)
                break
            if next_one is thing:
                break
            self._call(next_one)
        self._expected.discard(key)
        if key not in self._results:
            return self._function(thing)
        error, value = self._results.pop(key)
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Cancel what has not begun, and wait for what is under way."""
        self._waiting.clear()
        if self._thread_came and self._pid == os.getpid():
            self._wait_while(lambda: True)

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        while condition() and not self._thread_left:
            with suppress(Empty):
                self._bell.get(timeout=LONGEST_WAIT)

    def _call(self, thing: Any) -> None:
        try:
            outcome: tuple[BaseException | None, Any] = None, self._function(thing)
        except Exception as error:
            outcome = error, None
        self._results[id(thing)] = outcome

    def _work(self) -> None:
        self._thread_came = True  # before it takes something: whoever finds nothing that waits knows that it is here
        try:
            while True:
                try:
                    thing = self._waiting.popleft()
                except IndexError:
                    return
                self._call(thing)
                self._bell.put(None)
        finally:
            self._thread_left = True
            self._bell.put(None)


def _serve(queue: SimpleQueue) -> None:
    while (work := queue.get()) is not None:
        with suppress(BaseException):  # whoever waits for it calls the function again, and gets the error
            work()
        del work
