"""Threads that work a queue off and end: nothing has to be shut down, and none is left behind."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ._interrupts import refuse_forked


class Prefetcher:
    """Calls functions in at most ``n_threads`` threads, in the order in which they were submitted.

    A thread ends as soon as nothing waits. That costs a tenth of a millisecond per start, which is little beside a block that
    is read from a file, and there is no pool that a pass could fail to shut down. The threads are no daemons: the interpreter
    waits for the blocks that are being read.

    Parameters
    ----------
    n_threads : int

    Examples
    --------
    >>> from streamlearn._prefetch import Prefetcher
    >>> futures = [Prefetcher(2).submit(lambda i=i: i * i) for i in range(3)]
    >>> [future.result() for future in futures]
    [0, 1, 4]
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._pid = os.getpid()
        self._waiting: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._n_running = 0
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Any]) -> Future:
        """Return the future of a call."""
        if not self._waiting and not self._n_running:
            self._pid = os.getpid()
        refuse_forked(self._pid)
        future: Future = Future()
        with self._lock:
            self._waiting.append((future, function))
            starts = self._n_running < self._n_threads
            self._n_running += starts
        if starts:
            thread = threading.Thread(target=self._work, name="streamlearn-prefetch")
            self._threads.add(thread)
            thread.start()
        return future

    def refuse_forked(self) -> None:
        """Refuse to go on in a child of the process whose threads work here."""
        refuse_forked(self._pid)

    def close(self) -> None:
        """Forget what has not begun, and wait for what is under way, so that nothing runs on."""
        self.clear()
        for thread in list(self._threads):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()

    def clear(self) -> None:
        """Forget what has not begun."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            future.cancel()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._n_running -= 1
                    self._threads.discard(threading.current_thread())
                    return
                future, function = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
            del future, function  # what they hold is not kept while the next one waits
