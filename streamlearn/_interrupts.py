"""Interrupts (Ctrl-C), which may come between any two instructions of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sklearn import get_config, set_config


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
