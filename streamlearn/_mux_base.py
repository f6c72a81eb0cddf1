"""What all muxes share: their streams, seeds and passes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from ._failures import OnError, known_sizes
from ._mux_iterator import MuxIterator
from ._policies import Policy
from ._random import fresh_seed, generator, mix, seed_from
from ._streamer import Streamer, as_streamer
from ._visits import check_weights


class BaseMux(Streamer):
    """What all muxes share: streams, seeds and passes. A subclass gives a policy."""

    def __init__(self, streams: Any, random_state: Any, rules: OnError) -> None:
        super().__init__(streams)
        self._rules = rules
        self._streams: Any = streams
        self._names: Sequence[str] | None = None
        self._random_state = random_state
        self._own_seed = seed_from(random_state)
        self._n_passes = 0
        # what a pass over the streams finds out, for the passes to come: a nested mux is started at each visit
        self._known_sizes: np.ndarray | None = None
        self._unsized: dict[int, Exception] = {}
        self._reader: Any = None
        self._is_pulled = False

    def _policy(self, rng: np.random.Generator) -> Policy:
        raise NotImplementedError

    def _holds_endless(self) -> bool:
        return isinstance(self._streams, list) and any(stream._never_ends for stream in self._streams)

    def _next_pass(self, last: tuple[int, ...] | None = None) -> tuple[int, ...]:
        number = self._n_passes if last is None else last[0] + 1
        self._n_passes = max(self._n_passes, number + 1)
        return (number,)

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> MuxIterator:
        parent = self._own_seed if self._own_seed is not None else seed
        own = fresh_seed() if parent is None else mix(parent, *visit)
        reader = self._new_reader(mix(own, 1))
        policy = self._policy(generator(own))
        unsized = self._unsized
        if unsized:
            self._forget()  # the next pass asks again
        return MuxIterator(self._streams, policy, mix(own, 2), visit, self._names, reader, self._rules, unsized)

    def _forget(self) -> None:
        self._known_sizes, self._unsized, self._reader, self._is_pulled = None, {}, None, False

    def _know_sizes(self, sizes: np.ndarray, unsized: dict[int, Exception]) -> None:
        """Take note of the lengths of the streams, so that they are not asked for again."""
        self._known_sizes, self._unsized = sizes, unsized

    def _new_reader(self, seed: int) -> Any:
        """Return an object that reads blocks from all streams at once, or None: they are pulled."""
        if self._reader is not None:
            return self._reader.restarted(seed)
        if self._is_pulled:
            return None
        kinds = {type(stream) for stream in self._streams}
        reader = kinds.pop()._joint_reader(self._streams, seed, self._sizes()) if len(kinds) == 1 else None
        if reader is not None and reader.can_restart:
            self._reader = reader
        if reader is not None and self._rules.handles and not reader.names_failures:
            reader = None
        # what could not be asked for its length is asked again by the next pass
        self._is_pulled = reader is None and not any(getattr(stream, "_unsized", None) for stream in self._streams)
        return reader

    def _sizes(self) -> np.ndarray:
        """Number of samples of each stream, -1 where it is not known."""
        if self._known_sizes is None:
            self._known_sizes, self._unsized = known_sizes(self._streams, self._rules)
        return self._known_sizes

    def __copy__(self) -> BaseMux:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__getstate__())
        return new

    def __deepcopy__(self, memo: dict) -> BaseMux:
        return copy.copy(self)

    def __sklearn_clone__(self) -> BaseMux:
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_n_passes": 0,
            "_known_sizes": None,
            "_unsized": {},
            "_reader": None,
            "_is_pulled": False,
        }

    def _settings(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        n = len(self._streams)
        streams = f"<{n} stream{'' if n == 1 else 's'}>"
        settings = {**self._settings(), "random_state": self._random_state}
        shown = [f"{name}={value!r}" for name, value in settings.items() if value is not None]
        return f"{type(self).__name__}({', '.join([streams, *shown])})"


def listed(streams: Any) -> Sequence:
    if isinstance(streams, (Iterator, Mapping, Set, str, bytes, Streamer)) or not isinstance(streams, Iterable):
        raise TypeError(
            "streams must be a list of streams (Streamers or iterable containers) or a StreamPool, "
            f"got {type(streams).__name__}. One stream goes into a list; a mapping, a set or an iterator has no fixed order or "
            "length: pass list(...)."
        )
    listed = list(streams)
    if not listed:
        raise ValueError("streams is empty: a mux needs at least one stream.")
    return listed


def as_streams(streams: Any) -> list[Streamer]:
    """Return a list of Streamers, with errors that name the position of what cannot be one."""
    return [as_streamer(stream, f"stream at position {i}") for i, stream in enumerate(listed(streams))]


def pool_shares(streams: Any, pool_weights: Any, n_streams: int) -> np.ndarray:
    """Weights as shares: those given, else those of the pool, else equal ones."""
    return check_weights(getattr(streams, "weights", None) if pool_weights is None else pool_weights, n_streams)
