"""Which slot gives the next item, and which stream takes a slot that has become free.

A mux is one loop (``_mux_iterator``) over slots. A policy decides two things for it: the order in which slots are drawn
(``slots``), planned ahead by the block, and what a free slot visits next and for how long (``activate``). The loop tells
it how a visit ended (``release``).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ._state import check_whole, pack, pack_numbers, unpack, unpack_numbers
from ._visits import UNTIL_EXHAUSTED, VisitLength


class Policy:
    """Base of the policies: slots that live and die.

    Attributes
    ----------
    n_slots : int
        Number of slots.
    rates : ndarray
        Weights of the streams, by which slots are drawn; of policies that draw by weight.
    rng : Generator
        Source of all draws.
    lam : float or None
        Mean length of a visit; None: as long as its stream, or not known.
    assigns : bool
        True when slots and lengths of visits are drawn without regard to streams, so that a block of visits can be laid out
        first (by ``length``) and be given streams afterwards (``assign``).
    plans_itself : bool
        True when a block of visits can be given to it at once (``plan``).
    restarts : bool
        Whether each visit of a stream starts it anew; False: it goes on where the last one stopped, or has but one.
    filled : bool
        True when every slot must hold a stream before slots are drawn; else a slot is filled when it is first drawn.
    by_weight : bool
        True when slots are drawn in proportion to the ``rates`` of the streams that they hold.
    stale : bool
        Set when the slots drawn last no longer follow the law of the next draw, because it depends on what they hold: the
        loop then drops the rest of them and draws anew. (A slot that dies needs no new draws: its own are passed over.)
    """

    assigns = False
    plans_itself = False
    restarts = False
    filled = False
    by_weight = False
    rates: np.ndarray
    rng: Any = None
    lam: float | None = None
    length: VisitLength
    _changing: ClassVar[tuple[str, ...]] = ("alive", "stale")
    # Arrays as long as the pool, which change much less often than blocks are planned.
    _long: ClassVar[tuple[str, ...]] = ()

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self.alive = dict.fromkeys(range(n_slots))
        self.stale = False

    def slots(self, k: int) -> np.ndarray:
        """Return about ``k`` slots for the next draws, all alive now; none when the mux has ended."""
        raise NotImplementedError

    def activate(self, slot: int) -> tuple[int, int] | None:
        """Return the stream that takes a free slot and the number of items of its visit, or None: the slot dies."""
        raise NotImplementedError

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        """Note the end of a visit, and return whether the stream may go on later where it stopped."""
        return False

    def turn_over(self, slot: int, stream: int, n_items: int) -> tuple[int, int] | None:
        """Release a stream that is not exhausted by a visit, or is known to be, and activate the next one."""
        self.release(slot, stream, n_items, False)
        return self.activate(slot)

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        """Note that streams must not be started again: running generators at their end, and streams that fail.

        Parameters
        ----------
        streams : sequence of int
        planned : sequence of int, optional
            Lengths of the visits in all slots, where visits go on to their end although the stream has failed (nothing of
            it comes through); None: they are ended, as of exhausted streams.
        """

    def nothing_left(self) -> bool:
        """Whether it is known that no stream can give an item."""
        return False

    def assign(self, slots: np.ndarray, times: np.ndarray) -> np.ndarray | list[int]:
        """Return streams for visits that begin in these slots at these times; of policies that assign."""
        raise NotImplementedError

    def plan(self, order: np.ndarray, slots: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Give draws to visits, and return what they give; of policies that plan themselves."""
        raise NotImplementedError

    def bury(self, slot: int) -> None:
        self.alive.pop(slot, None)

    def snapshot(self) -> dict[str, Any]:
        """Return copies of all that changes, which :meth:`pack` makes a state of while the policy goes on."""
        copies = {}
        for name in self._changing:
            value = getattr(self, name)
            if name in self._long:  # shared, not copied: whoever changes it later copies it
                value.flags.writeable = False
            copies[name] = value if name in self._long else copy.copy(value)
        copies["alive"] = list(self.alive)
        copies["rng"] = None if self.rng is None else self.rng.bit_generator.state
        return copies

    def pack(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot as a JSON-able dict."""
        rng = pack_numbers(snapshot["rng"])
        return {**{name: pack(snapshot[name]) for name in self._changing}, "rng": rng, "n_slots": self.n_slots}

    def refuse_another(self, state: dict[str, Any]) -> None:
        """Refuse what another kind of policy gave, or one of another size."""
        if set(state) != {*self._changing, "rng", "n_slots"} or state["n_slots"] != self.n_slots:
            raise ValueError(
                "state was saved of a mux of another kind or mode, or with another n_active: load it into one that is made in "
                "the same way."
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`pack` gave.

        Raises
        ------
        ValueError
            If it was given by another kind of policy, or one of another size, or is damaged.
        """
        self.refuse_another(state)
        for name in self._changing:
            value, current = unpack(state[name]), getattr(self, name)
            if isinstance(current, np.ndarray) and current.dtype.kind == "f":
                self._check_floats(name, value, current)
            setattr(self, name, value)
        check_whole("slots that live", self.alive, 0, self.n_slots, distinct=True)
        self.alive = dict.fromkeys(self.alive)
        if self.rng is not None:
            self.rng.bit_generator.state = unpack_numbers(state["rng"])

    @staticmethod
    def _check_floats(name: str, value: Any, current: np.ndarray) -> None:
        if not isinstance(value, np.ndarray) or (value.dtype, value.shape) != (current.dtype, current.shape):
            raise ValueError(
                f"state is damaged, or of another pool: {name} must be an array of {len(current)} floats, got {value!r:.100}. "
                "Begin anew, or from another state."
            )


class Shuffled(Policy):
    """Every stream in a slot of its own, drawn in proportion to weight, restarted when exhausted."""

    rng: np.random.Generator
    _changing = (*Policy._changing, "weights")

    def __init__(self, weights: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> None:
        super().__init__(len(weights))
        self.rng = rng
        self.weights = np.where(sizes == 0, 0.0, weights)
        self.alive = dict.fromkeys(np.flatnonzero(self.weights > 0).tolist())
        self._cumulative = np.empty(0)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._cumulative = np.empty(0)
        if not (self.weights >= 0).all() or not (self.weights[list(self.alive)] > 0).all():
            raise ValueError(
                "state is damaged: streams that live must have weights above zero. Begin anew, or from another state."
            )

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        self.weights[streams] = 0.0
        self._cumulative = np.empty(0)
        for slot in streams:
            self.alive.pop(slot, None)

    def slots(self, k: int) -> np.ndarray:
        if not self.alive:
            return np.empty(0, np.intp)
        if not self._cumulative.size:
            self._cumulative = np.cumsum(self.weights)
        return draw(self.rng, self._cumulative, k)

    def activate(self, slot: int) -> tuple[int, int] | None:
        return (slot, UNTIL_EXHAUSTED) if self.weights[slot] > 0 else None

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        if n_items == 0:
            self.weights[stream] = 0.0
            self._cumulative = np.empty(0)
        return False


class RoundRobin(Policy):
    """One item of each stream in turn; in the cycling modes all start again when all are exhausted."""

    rng: np.random.Generator
    _changing = (*Policy._changing, "_order", "_visited", "_gave")

    def __init__(self, sizes: np.ndarray, mode: str, rng: np.random.Generator) -> None:
        super().__init__(len(sizes))
        self.rng = rng
        self.mode = mode
        self.sizes = sizes
        self._order = np.flatnonzero(sizes != 0)
        self._begin()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        check_whole("streams in turn", self._order, 0, self.n_slots, distinct=True)
        check_whole("streams that were visited", self._visited, 0, self.n_slots)

    def _begin(self) -> None:
        if self.mode == "permuted_cycle":
            self._order = self.rng.permutation(self._order)
        self.alive = dict.fromkeys(self._order.tolist())
        self._visited: set[int] = set()
        self._gave = False

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        self._order = self._order[~np.isin(self._order, streams)]
        for slot in streams:
            self.alive.pop(slot, None)

    def slots(self, k: int) -> np.ndarray:
        if not self.alive:
            if self.mode == "exhaustive" or not self._gave:
                return np.empty(0, np.intp)
            self._begin()
        # whole rounds, so that the next call begins with the first again
        alive = np.fromiter(self.alive, np.intp, len(self.alive))
        return np.tile(alive, max(k // max(len(alive), 1), 1))

    def activate(self, slot: int) -> tuple[int, int] | None:
        if slot in self._visited:
            return None
        self._visited.add(slot)
        return slot, int(self.sizes[slot]) if self.sizes[slot] > 0 else UNTIL_EXHAUSTED

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        self._gave |= n_items > 0
        return False


class Chain(Policy):
    """One stream after the other.

    Parameters
    ----------
    streams : callable
        Called with the number of a cycle, returns an iterator over the ``(position, size)`` of its streams.
    cycle : bool
        Whether to start again after the last.
    """

    _changing = (*Policy._changing, "_number", "_n_asked", "_gave", "_dropped")

    def __init__(self, streams: Callable[[int], Iterator[tuple[int, int]]], cycle: bool) -> None:
        super().__init__(1)
        self.cycle = cycle
        self._streams = streams
        self._number = 0
        self._dropped: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        self._iterator = self._streams(self._number)
        self._n_asked = 0
        self._gave = False

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        check_whole("the cycle and the streams in it", [self._number, self._n_asked], 0, 2**63)
        self._iterator = self._streams(self._number)
        if sum(1 for _ in itertools.islice(self._iterator, self._n_asked)) < self._n_asked:
            raise ValueError(
                f"there were {self._n_asked} streams in a cycle when the state was saved, and there are fewer now."
            )

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        self._dropped.update(streams)

    def slots(self, k: int) -> np.ndarray:
        return np.zeros(k if self.alive else 0, np.intp)

    def activate(self, slot: int) -> tuple[int, int] | None:
        while True:
            for stream, size in self._iterator:
                self._n_asked += 1
                if size != 0 and stream not in self._dropped:
                    return stream, size if size > 0 else UNTIL_EXHAUSTED
            if not (self.cycle and self._gave):
                return None
            self._number += 1
            self._begin()

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        self._gave |= n_items > 0
        return False


def draw(rng: np.random.Generator, cumulative: np.ndarray, k: int) -> np.ndarray:
    """Draw ``k`` positions in proportion to the steps of ``cumulative``; steps of zero never come."""
    return np.searchsorted(cumulative, rng.random(k) * cumulative[-1], side="right")
