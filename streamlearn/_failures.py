"""Streams that fail: what is done about them, and what is told of them."""

from __future__ import annotations

import math
import numbers
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._interrupts import pause
from ._visits import check_count, check_option

ON_ERROR = ("raise", "skip", "retry")
_LONGEST_DELAY = 60.0
_FEW = 5
_LONGEST_TEXT = 300
# From so many blocks on after the one in which a stream failed it is not planned: a mux plans that many ahead of what it reads.
LAG = 5
_BEFORE_ALL = -LAG  # number of the block in which a stream failed that was set aside before the first one


class TooManyStreamErrors(RuntimeError):
    """More streams have failed than ``max_errors`` allows."""


@dataclass(frozen=True)
class OnError:
    """What is done when reading a stream fails.

    Parameters
    ----------
    on_error : {"raise", "skip", "retry"}
    max_retries : int
        Of one item, or one block of a file.
    retry_delay : float
        Seconds before the first retry; each further one waits twice as long, a minute at most.
    max_errors : int, float or None
        The most streams that may be set aside, or their share.
    """

    on_error: str = "raise"
    max_retries: int = 3
    retry_delay: float = 0.1
    max_errors: float | None = None

    def __post_init__(self) -> None:
        check_option("on_error", self.on_error, ON_ERROR)
        check_count("max_retries", self.max_retries, minimum=0)
        delay = self.retry_delay
        if not isinstance(delay, numbers.Real) or isinstance(delay, bool) or not 0 <= float(delay) < math.inf:
            raise ValueError(f"retry_delay must be a number of seconds that is not negative, got {delay!r}.")
        most = self.max_errors
        if most is None:
            return
        fraction = isinstance(most, numbers.Real) and not isinstance(most, numbers.Integral)
        if isinstance(most, bool) or not isinstance(most, numbers.Real) or not most >= 0 or (fraction and most >= 1):
            raise ValueError(
                "max_errors must be the most streams that may fail, an int that is not negative, or their share, a float of at "
                f"least 0 and below 1, or None, got {most!r}."
            )

    @property
    def handles(self) -> bool:
        """Whether errors are handled at all."""
        return self.on_error != "raise"

    @property
    def n_retries(self) -> int:
        return int(self.max_retries) if self.on_error == "retry" else 0

    def delay(self, n: int) -> float:
        """Seconds to wait before the ``n``-th retry, from 1."""
        return min(float(self.retry_delay) * 2.0 ** (n - 1), _LONGEST_DELAY)

    def attempt(self, function: Callable[[], Any], note: Callable[[Exception], None], stop: threading.Event) -> Any:
        """Call a function until it does not raise, as often as is allowed.

        An event is waited for, since that can be interrupted, and be ended from another thread.
        """
        n = 0
        while True:
            try:
                return function()
            except CancelledError:  # the run is ending
                raise
            except Exception as error:
                n += 1
                if n > self.n_retries or stop.is_set():
                    raise
                note(error)
            pause(stop, self.delay(n))


RAISE = OnError()


def known_sizes(streams: Sequence[Any], rules: OnError) -> tuple[np.ndarray, dict[int, Exception]]:
    """Return the number of samples of each stream, -1 where it is not known, and why some could not be asked for it (0)."""
    sizes, unsized = np.zeros(len(streams), np.int64), {}
    for i, stream in enumerate(streams):
        n = 0
        while True:
            try:
                sizes[i] = stream._n_samples
                break
            except Exception as error:
                n += 1
                if n > rules.n_retries:
                    unsized[i] = error
                    break
                pause(threading.Event(), rules.delay(n))
    return sizes, unsized


class Failed:
    """What is known of a stream that has failed.

    Attributes
    ----------
    name : str
    n_errors : int
    error : str
        The last one.
    n_items : int
        Items that it had given before: in the visit that failed; of streams that are read by the block, samples of all its
        passes.
    aside : bool
        Whether it is not visited again; else a retry was successful.
    visit : tuple of int
        Pass of the mux in which it was set aside.
    block : int
        Block of that pass in which it was.
    """

    __slots__ = ("aside", "block", "error", "n_errors", "n_items", "name", "visit")

    def __init__(self, name: str) -> None:
        self.name = name
        self.n_errors = self.n_items = 0
        self.error = ""
        self.aside = False
        self.visit: tuple[int, ...] = ()
        self.block = _BEFORE_ALL

    def note(self, error: Exception, n_items: int) -> None:
        self.n_errors += 1
        self.error = f"{type(error).__name__}: {error}"[:_LONGEST_TEXT]
        self.n_items = n_items


class Failures:
    """The streams of a mux, and of those within it, that have failed.

    Parameters
    ----------
    rules : OnError
    names : sequence of str or None
    n_streams : int or None
        None: not known.
    """

    def __init__(self, rules: OnError, names: Sequence[str] | None, n_streams: int | None) -> None:
        self.rules = rules
        self.visit: tuple[int, ...] = ()
        self._names = names
        self._n_streams = n_streams
        self._parent: Failures | None = None
        self._path: tuple[int, ...] = ()
        self._prefix = ""
        self._all: dict[tuple[int, ...], Failed] = {}  # by the positions of the stream and of the muxes that hold it
        self._aside: dict[int, Failed] = {}  # of this mux itself

    # -- which they are -----------------------------------------------------------------------------------------------

    def within(self, parent: Failures, stream: int) -> None:
        """Note failures in the mux that holds this one at a position, and handle them as it does, unless told otherwise."""
        self._parent = parent
        self._path = (*parent._path, stream)
        self._prefix = f"{parent.name(stream)}/"
        self.rules = self.rules if self.rules.handles else parent.rules
        self._join(parent._all)

    def same_as(self, other: Failures) -> None:
        """Go on with what earlier passes of the same mux have noted."""
        self._parent, self._path, self._prefix = other._parent, other._path, other._prefix
        self.rules = other.rules
        self._join(other._all)

    def _join(self, noted: dict[tuple[int, ...], Failed]) -> None:
        self._all = noted
        depth = len(self._path)
        self._aside = {
            path[-1]: failed
            for path, failed in noted.items()
            if failed.aside and len(path) == depth + 1 and path[:depth] == self._path
        }

    def name(self, stream: int) -> str:
        own = f"stream {stream}" if self._names is None else str(self._names[stream])
        return self._prefix + own

    def is_aside(self, stream: int) -> bool:
        """Whether a stream must not be visited again."""
        return stream in self._aside

    def cut(self, stream: int) -> int | None:
        """The number of its samples in this pass, read by the block, after which nothing of a stream counts; None: all do."""
        failed = self._aside.get(stream)
        if failed is None:
            return None
        return failed.n_items if failed.visit == self.visit and failed.block >= 0 else 0

    def set_aside_in(self, block: int) -> list[int]:
        """Return the streams that were set aside in a block of this pass, or before all."""
        return [
            stream
            for stream, failed in self._aside.items()
            if (failed.block if failed.visit == self.visit else _BEFORE_ALL) == block
        ]

    def note(self, stream: int, error: Exception, n_items: int) -> Failed:
        """Count an error of a stream."""
        path = (*self._path, stream)
        if path not in self._all:
            self._all[path] = Failed(self.name(stream))
        self._all[path].note(error, n_items)
        return self._all[path]

    def set_aside(self, stream: int, error: Exception, n_items: int, block: int = _BEFORE_ALL) -> None:
        """Count the last error of a stream.

        Raises
        ------
        TooManyStreamErrors
            If that is one more than is allowed.
        """
        failed = self.note(stream, error, n_items)
        failed.visit, failed.block, failed.aside = self.visit, block, True
        self._aside[stream] = failed
        mux: Failures | None = self
        while mux is not None:
            mux._check_budget(error)
            mux = mux._parent

    def _check_budget(self, error: Exception) -> None:
        most = self.rules.max_errors
        if most is None or not self.rules.handles:
            return
        depth = len(self._path)
        failed = [f for path, f in self._all.items() if f.aside and path[:depth] == self._path]
        allowed = most if isinstance(most, numbers.Integral) else int(most * (self._n_streams or 0) + 1e-9)
        if len(failed) > allowed:
            raise TooManyStreamErrors(
                f"{len(failed)} streams have failed, and max_errors={most!r} allows {allowed}: {_listed(failed)}."
            ) from error

    # -- what is told of them -----------------------------------------------------------------------------------------

    def table(self) -> dict[str, list[Any]]:
        """Return columns for a DataFrame with a row for each stream that has failed, in the order in which they did."""
        rows = list(self._all.values())
        return {
            "name": [failed.name for failed in rows],
            "n_errors": [failed.n_errors for failed in rows],
            "error": [failed.error for failed in rows],
            "n_items": [failed.n_items for failed in rows],
            "set_aside": [failed.aside for failed in rows],
        }

    def summary(self) -> str:
        """Name the streams that were set aside, a few of many; empty if there are none."""
        failed = [failed for failed in self._all.values() if failed.aside]
        if not failed:
            return ""
        n = len(failed)
        return f"{n} stream{'s' if n > 1 else ''} failed and {'were' if n > 1 else 'was'} set aside: {_listed(failed)}"

    def warn(self, where: str, stacklevel: int = 3) -> None:
        """Warn of the streams that were set aside, if any; ``where`` says where all are told."""
        if text := self.summary():
            warnings.warn(f"{text}. {where}", UserWarning, stacklevel=stacklevel)

    def state_dict(self) -> list[Any]:
        """Return all that is known, of the muxes within as well; JSON-able.

        A mux within another says itself only which streams it leaves aside: not those that another visit of the same mux, in
        another slot, has set aside since it began.
        """
        if self._parent is not None:
            return list(self._aside)
        return [
            [list(path), f.name, f.n_errors, f.error, f.n_items, f.aside, list(f.visit), f.block]
            for path, f in self._all.items()
        ]

    def load_state_dict(self, state: Iterable[Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        if self._parent is not None:
            own = set(state)
            self._aside = {stream: failed for stream, failed in self._aside.items() if stream in own}
            return
        self._all.clear()
        for path, name, n_errors, error, n_items, aside, visit, block in state:
            failed = self._all[tuple(path)] = Failed(name)
            failed.n_errors, failed.error, failed.n_items, failed.aside = n_errors, error, n_items, aside
            failed.visit, failed.block = tuple(visit), block
        self._join(self._all)


class Guard:
    """Reads blocks of streams for a mux, of which some may fail.

    Parameters
    ----------
    failures : Failures
    stop : threading.Event
        Ends waiting for a retry.
    block : int
        Number of the block of the mux.
    """

    def __init__(self, failures: Failures, stop: threading.Event, block: int) -> None:
        self._failures = failures
        self._stop = stop
        self._block = block

    def read(self, stream: int, n_before: int, function: Callable[[], Any]) -> Any:
        """Return what ``function`` reads of a stream, behind its first ``n_before`` samples; None: that is lost."""
        failures = self._failures
        cut = failures.cut(stream)
        if cut is not None and n_before >= cut:
            return None
        try:
            return failures.rules.attempt(function, lambda error: self._note(stream, error, n_before), self._stop)
        except (CancelledError, TooManyStreamErrors):
            raise
        except Exception as error:
            if self._stop.is_set():
                raise
            failures.set_aside(stream, error, n_before, self._block)
            return None

    def _note(self, stream: int, error: Exception, n_before: int) -> None:
        self._failures.note(stream, error, n_before)


class GuardOfOne:
    """Reads blocks of one stream until one fails.

    Attributes
    ----------
    error : Exception or None
        Why it failed.
    """

    def __init__(self, rules: OnError) -> None:
        self.error: Exception | None = None
        self._rules = rules

    def read(self, stream: int, n_before: int, function: Callable[[], Any]) -> Any:
        if self.error is not None:
            return None
        try:
            return self._rules.attempt(function, lambda error: None, threading.Event())
        except Exception as error:
            self.error = error
            return None


def _listed(failed: Sequence[Failed]) -> str:
    shown = "; ".join(f"{f.name!r} after {f.n_items} items ({f.error})" for f in failed[:_FEW])
    return shown if len(failed) <= _FEW else f"{shown}; and {len(failed) - _FEW} others"
