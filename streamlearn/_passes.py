"""Running streams: the items of one pass, or of one after the other, with a state that they can go on from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

from ._random import fresh_seed, mix
from ._state import check_same, check_state, restore_iterator, save_iterator


class Passes(Generator):
    """A running stream: the items of one pass, or of one after the other.

    Parameters
    ----------
    stream : Streamer
    max_batches : int or None
        The most items.
    again : bool
        Whether to start anew when the stream is exhausted, until a pass yields nothing.

    See Also
    --------
    Streamer.generate, Streamer.cycle : What makes them.

    Notes
    -----
    ``state_dict()`` tells where the stream stands, and ``load_state_dict(state)`` brings an iterator of the same stream there.
    Samples of arrays and files are found again by their position; what a generator function yields is generated again up to
    there, from the same seed, so that its items must depend on nothing else. A running generator has no state. Copies and pickles
    go on where the stream stands, each by itself.

    As a generator, an iterator is for one thread at a time; each of several needs one of its own.

    Examples
    --------
    >>> from streamlearn import Streamer
    >>> stream = Streamer("abcd")
    >>> items = stream.generate()
    >>> next(items), next(items)
    ('a', 'b')
    >>> resumed = stream.generate()
    >>> resumed.load_state_dict(items.state_dict())
    >>> list(resumed)
    ['c', 'd']
    """

    _VERSION = 1
    _broken = False
    _iterator: Iterator | None = None
    _left = 0

    def __init__(self, stream: Any, max_batches: int | None, again: bool) -> None:
        self._stream = stream
        self._left = -1 if max_batches is None else int(max_batches)
        self._again = again
        self._seed = fresh_seed()  # of streams without a seed of their own
        self._n_passes = 0
        self._number: tuple[int, ...] = ()
        self._n_given = 0  # in the pass under way
        self._resumed = False
        self._failures: Any = None  # of a mux: its streams that have failed
        self._to_warn_of: Any = None
        self._held_by: tuple[Any, int] | None = None

    def send(self, value: Any) -> Any:
        """Return the next item; ``value`` goes nowhere."""
        while self._left:
            if self._iterator is None:
                if self._n_passes or not self._number:
                    self._number = self._stream._next_pass(self._number if self._resumed else None)
                self._iterator = self._start()
                self._n_passes += 1
                self._n_given = 0
            try:
                item = next(self._iterator)
            except StopIteration:
                gave = self._n_given > 0
                self._close()
                if self._again and gave:  # cycling a pass without an item would spin
                    continue
                break
            except BaseException:
                self._left, self._broken = 0, True
                self._close()
                raise
            self._n_given += 1
            if self._left > 0:  # in another thread an error may have ended the stream meanwhile
                self._left -= 1
            return item
        self.close()
        raise StopIteration

    def _start(self) -> Iterator:
        iterator: Any = self._stream._start(mix(self._seed, self._n_passes), self._number)
        if self._held_by is not None and hasattr(iterator, "adopt_failures"):
            iterator.adopt_failures(*self._held_by)
        elif self._failures is not None:
            iterator.go_on_with_failures(self._failures)
        self._failures = self._to_warn_of = getattr(iterator, "failures", None)
        return iterator

    def adopt_failures(self, parent: Any, stream: int) -> None:
        """Handle streams that fail as the mux does that holds this one, and tell it."""
        self._held_by = parent, stream

    @property
    def stream_errors(self) -> dict[str, list[Any]]:
        """Of a mux with ``on_error``: columns for a DataFrame with a row for each stream that has failed so far."""
        return {} if self._failures is None else self._failures.table()

    def _close(self) -> None:
        iterator, self._iterator = self._iterator, None
        close(iterator)

    def throw(self, *error: Any) -> Any:
        """End the stream with an error."""
        self.close()
        return super().throw(*error)

    def close(self) -> None:
        """End the stream, and close what it has open.

        Warns
        -----
        UserWarning
            Once, if streams of a mux were set aside since they failed.
        """
        self._left = 0
        self._close()
        failures, self._to_warn_of = self._to_warn_of, None
        if failures is not None and self._held_by is None:
            failures.warn("The iterator's stream_errors tells all of them.")

    def __del__(self) -> None:
        self._left = 0
        self._close()

    def __copy__(self) -> Passes:
        return _resumed(self._stream, self._again, self.state_dict())

    def __reduce__(self) -> Any:
        return _resumed, (self._stream, self._again, self.state_dict())

    def __deepcopy__(self, memo: dict) -> Passes:
        return self.__copy__()

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands, as a JSON-able dict of fixed shape.

        Returns
        -------
        state : dict

        Raises
        ------
        TypeError
            If a running generator is among the streams.
        RuntimeError
            If an error, or an interrupt, has ended the stream.
        """
        if self._broken:
            raise RuntimeError(
                "the stream was ended by an error, and no longer knows where it stood: take states before items."
            )
        if self._stream._single_pass:
            raise TypeError("a running generator has no state: make a Streamer of its function to resume it.")
        iterator = None if self._iterator is None else save_iterator(self._iterator, self._n_given)
        if not self._n_passes and not self._number and self._left:  # which pass is to come, so that it is the same one
            self._number = self._stream._next_pass(None)
        return {
            "kind": "stream",
            "version": self._VERSION,
            "left": self._left,
            "again": self._again,
            "seed": self._seed,
            "n_passes": self._n_passes,
            "number": list(self._number),
            "n_given": self._n_given,
            "iterator": iterator,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved.

        Parameters
        ----------
        state : dict
            From :meth:`state_dict` of an iterator of an equal stream.

        Raises
        ------
        ValueError
            If the state is of another kind or version, or of a stream that was made in another way.
        """
        parts = ("left", "again", "seed", "n_passes", "number", "n_given", "iterator")
        check_state(state, "stream", self._VERSION, parts)
        check_same(state, "a stream", again=self._again)
        self._close()
        self._broken = False
        self._left, self._seed, self._n_given = state["left"], state["seed"], state["n_given"]
        self._number = tuple(state["number"])
        self._resumed = bool(self._number)
        if state["iterator"] is not None:
            self._n_passes = state["n_passes"] - 1  # as it was when the pass was started
            self._iterator = restore_iterator(self._start, state["iterator"], repr(self._stream))
        self._n_passes = state["n_passes"]


def _resumed(stream: Any, again: bool, state: dict[str, Any]) -> Passes:
    passes = Passes(stream, None, again)
    passes.load_state_dict(state)
    return passes


def close(iterator: Any) -> None:
    """Close a running iterator, if it can be closed."""
    method = getattr(iterator, "close", None)
    if method is not None:
        method()


def close_quietly(iterator: Any) -> None:
    """Close a running iterator that has failed: what that raises tells nothing new."""
    with suppress(Exception):
        close(iterator)
