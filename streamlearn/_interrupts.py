"""Interrupts (Ctrl-C), which may come between any two instructions of training, and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from sklearn import get_config, set_config

# A wait that a signal ends is begun again by the system where a library (Polars) asks for that: Python sees the signal only
# when the wait is over, so that none may be long.
LONGEST_WAIT = 0.5


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait for an event, at most so many seconds, in a way that can be interrupted on every system."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, LONGEST_WAIT)):
        pass


def get_from(queue: SimpleQueue) -> Any:
    """Return what comes next from a queue, in a way that can be interrupted."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=LONGEST_WAIT)


def wait_for(future: Future) -> None:
    """Wait until a future is done, in a way that can be interrupted."""
    while not future.done():
        with suppress(TimeoutError, CancelledError):
            future.exception(LONGEST_WAIT)


def refuse_forked(pid: int) -> None:
    """Refuse to wait for threads of the process ``pid`` in a child of it, which has none of them."""
    if pid != os.getpid():
        raise RuntimeError(
            "this process was forked while a mux was working ahead: start a new pass in the child process."
        )


@contextmanager
def usable_when_interrupted(conclude: Callable[[], None]) -> Iterator[None]:
    """Leave a usable model when an interrupt ends what is done within, and scikit-learn's configuration as it was.

    Parameters
    ----------
    conclude : callable
        Closes what is open and makes a model of what was trained. It may be called twice: an interrupt may come while it
        is called at the end of training.
    """
    config = get_config()
    try:
        yield
    except KeyboardInterrupt:
        set_config(**config)  # the interrupt may have come when it was about to be put back
        conclude()
        raise
