"""Muxes in a mux: their visits and samples are planned together, as if they were slots and streams of one mux.

A mux starts each of its streams anew at each visit. Done one by one, that costs a mux within it hundreds of small steps for a
few samples. Here a plan of the outer mux is refined instead, for all inner ones at once: each of its visits is a pass of an
inner mux, slots and visits within are drawn for all passes in one go, and the result is a plan of the streams one level below,
until these are arrays.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import ArrayReader, ArrayStream
from ._plan import lay_out
from ._random import generator, mix, mix_array
from ._reader import Plan, Reader
from ._state import check_state, pack, pack_numbers, unpack, unpack_numbers
from ._visits import VisitLength


def nested_reader(muxes: Sequence[Any], seed: int) -> NestedReader | None:
    """Return a reader of muxes that can be planned together, down to arrays, or None: they cannot."""
    layers = [muxes]
    while (kinds := {type(stream) for stream in layers[-1]}) != {ArrayStream}:
        if len(kinds) > 1 or not hasattr(kinds.pop(), "_level"):
            return None
        layers.append([stream for mux in layers[-1] for stream in mux._streams])
    levels = []
    for layer in layers[:-1]:
        level = type(layer[0])._level(layer)
        if level is None:
            return None
        levels.append(level)
    try:
        leaf = ArrayStream._joint_reader(layers[-1], 0)
    except ValueError:  # rows that do not fit each other are given as they are, one by one
        return None
    return NestedReader(levels, leaf, seed)


def odds_of(muxes: Sequence[Any]) -> list[np.ndarray] | None:
    """Return the odds of the streams of each mux, in proportion to weight; None if one of the muxes must be started by itself.

    One has a seed of its own, which its passes follow, or nothing to give, which only its start will tell.
    """
    odds = [np.where(mux._sizes() == 0, 0.0, mux._weights) for mux in muxes]
    by_itself = (mux._own_seed is not None or not of_mux.any() for mux, of_mux in zip(muxes, odds, strict=True))
    return None if any(by_itself) else odds


class Passes:
    """The passes of muxes of which a plan takes samples, sorted by their seats, those of a seat by time.

    Attributes
    ----------
    of_runs : ndarray of shape (n_runs,)
        The pass of each run of the plan.
    seats, streams, fresh : ndarrays of shape (n_passes,)
        As in :class:`Plan`.
    last : ndarray of shape (n_passes,)
        Whether it is the last one of its seat, and may go on in the next plan.
    """

    def __init__(self, plan: Plan) -> None:
        assert plan.seats is not None
        assert plan.fresh is not None
        by_seat = np.argsort(plan.seats, kind="stable")
        seats, fresh = plan.seats[by_seat], plan.fresh[by_seat]
        begins = fresh | (np.diff(seats, prepend=-1) != 0)
        self.of_runs = np.empty(len(begins), np.int64)
        self.of_runs[by_seat] = np.cumsum(begins) - 1
        self.seats, self.streams, self.fresh = seats[begins], plan.streams[by_seat[begins]], fresh[begins]
        self.last = np.diff(self.seats, append=-1) != 0


class Odds:
    """The odds of the streams of muxes: streams are numbered through all of them.

    Parameters
    ----------
    odds : sequence of ndarrays
        Of each mux; not all zero.
    """

    def __init__(self, odds: Sequence[np.ndarray]) -> None:
        self.n_streams = np.array([len(of_mux) for of_mux in odds])
        self._first = np.cumsum(self.n_streams) - self.n_streams
        self._line: np.ndarray | None = None
        if any(np.ptp(of_mux) for of_mux in odds):
            # one unit of the line for each mux
            self._line = np.concatenate([i + np.cumsum(of_mux) / of_mux.sum() for i, of_mux in enumerate(odds)])
            self._most = self._first + [np.flatnonzero(of_mux)[-1] for of_mux in odds]

    def draw(self, rng: np.random.Generator, muxes: np.ndarray) -> np.ndarray:
        """Draw a stream of each of these muxes."""
        drawn = rng.random(len(muxes))
        if self._line is None:
            return self._first[muxes] + (drawn * self.n_streams[muxes]).astype(np.int64)
        drawn += muxes
        # a sum may have been rounded up to the next mux
        return np.minimum(np.searchsorted(self._line, drawn, side="right"), self._most[muxes])


class Level:
    """Muxes of one depth.

    Parameters
    ----------
    odds : sequence of ndarrays
        Of each mux those of its streams.
    """

    def __init__(self, odds: Sequence[np.ndarray]) -> None:
        self.odds = Odds(odds)
        self.rewind(0)

    def rewind(self, seed: int) -> None:
        """Go back to where no pass is under way."""
        self._rng = generator(seed)

    def refine(self, plan: Plan, passes: Passes) -> tuple[Plan, np.ndarray]:
        """Return a plan of the streams of the muxes of a plan, and the pass of a mux of which each run is."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """Return what changes, which :meth:`pack` makes a state of while the level goes on."""
        return {"rng": self._rng.bit_generator.state}

    @staticmethod
    def pack(snapshot: dict[str, Any]) -> dict[str, Any]:
        return {name: pack_numbers(value) if name == "rng" else pack(value) for name, value in snapshot.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`pack` gave."""
        self._rng.bit_generator.state = unpack_numbers(state["rng"])


class EachSample(Level):
    """Muxes that draw the stream of each sample by itself; their streams are arrays."""

    def refine(self, plan: Plan, passes: Passes) -> tuple[Plan, np.ndarray]:
        n = int(self.odds.n_streams.sum())
        within = np.repeat(passes.of_runs, plan.lengths)
        names = within * n + self.odds.draw(self._rng, passes.streams[within])
        in_time = np.empty_like(names)
        in_time[plan.order] = names
        order = np.argsort(in_time, kind="stable")
        names, lengths = np.unique(names, return_counts=True)
        within, streams = np.divmod(names, n)
        return Plan(order, streams, lengths), within


class InVisits(Level):
    """Muxes with slots, whose streams are drawn anew after visits of random lengths.

    Parameters
    ----------
    odds : sequence of ndarrays
    n_slots : int
        Slots of each mux.
    length : VisitLength
    """

    def __init__(self, odds: Sequence[np.ndarray], n_slots: int, length: VisitLength) -> None:
        self._n_slots = n_slots
        self._length = length
        super().__init__(odds)

    def rewind(self, seed: int) -> None:
        super().rewind(seed)
        self._holder = np.empty((0, self._n_slots), np.int64)  # of each seat the streams in the slots of its pass,
        self._left = np.empty((0, self._n_slots), np.int64)  # and what their visits have left

    def refine(self, plan: Plan, passes: Passes) -> tuple[Plan, np.ndarray]:
        k = self._n_slots
        slots = np.repeat(passes.of_runs, plan.lengths)
        slots *= k
        slots += self._rng.integers(0, k, len(slots))
        counts = np.bincount(slots, minlength=len(passes.seats) * k)
        in_time = np.empty(len(slots), np.int16 if len(counts) < 2**15 else np.int64)  # sorted by radix, much faster
        in_time[plan.order] = slots
        left, holder = self._at_seats(passes)
        drawn = np.flatnonzero(counts)
        visits = lay_out(left[drawn], counts[drawn], self._length, self._rng)
        slots, fresh = drawn[visits.slots], visits.fresh
        streams = holder[slots]
        streams[fresh] = self.odds.draw(self._rng, passes.streams[slots[fresh] // k])
        holder[drawn], left[drawn] = streams[visits.last], visits.left
        self._keep(passes, left, holder)
        there = fresh | (visits.lengths > 0)  # no visit was under way where a pass begins
        slots = slots[there]
        within, slot = np.divmod(slots, k)
        order = np.argsort(in_time, kind="stable")
        return Plan(order, streams[there], visits.lengths[there], passes.seats[within] * k + slot, fresh[there]), within

    def _at_seats(self, passes: Passes) -> tuple[np.ndarray, np.ndarray]:
        """Return what the visits in all slots of all passes have left, and their streams; of fresh passes nothing."""
        missing = max(int(passes.seats[-1]) + 1 - len(self._left), 0), self._n_slots
        self._left = np.vstack([self._left, np.zeros(missing, np.int64)])
        self._holder = np.vstack([self._holder, np.zeros(missing, np.int64)])
        left = np.where(passes.fresh[:, None], 0, self._left[passes.seats])
        return left.ravel(), self._holder[passes.seats].ravel()

    def _keep(self, passes: Passes, left: np.ndarray, holder: np.ndarray) -> None:
        # arrays of their own since the last plan: a snapshot may hold older ones
        seats = passes.seats[passes.last]
        self._left[seats] = left.reshape(-1, self._n_slots)[passes.last]
        self._holder[seats] = holder.reshape(-1, self._n_slots)[passes.last]

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "left": self._left, "holder": self._holder}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._left, self._holder = unpack(state["left"]), unpack(state["holder"])


class PassCursors:
    """Where arrays stand in the passes of the muxes that hold them: each pass has a cursor of its own for each array.

    Those of passes that may go on are kept, by the seat of the pass and the number of the array.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._n_passes = 0
        self._numbers = np.empty(0, np.int64)  # of the passes in the seats
        self._names = np.empty(0, np.int64)  # seat * n_streams + stream, sorted
        self._places = np.empty(0, np.int64)
        self._rounds = np.empty(0, np.int64)

    def locate(self, leaf: ArrayReader, plan: Plan, passes: Passes, within: np.ndarray) -> tuple[ArrayReader, Any]:
        """Move the cursors by a plan, and return a reader and what it gathers."""
        n = leaf.n_streams
        some = plan.lengths > 0
        names, which = np.unique(within[some] * n + plan.streams[some], return_inverse=True)
        of, streams = np.divmod(names, n)
        keys = mix_array(self._seed, self._number(passes)[of] * n + streams)
        names = passes.seats[of] * n + streams
        at = np.minimum(np.searchsorted(self._names, names), max(len(self._names) - 1, 0))
        places, rounds = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
        stays = np.ones(len(self._names), bool)
        if len(self._names):
            known = ~passes.fresh[of] & (self._names[at] == names)
            places[known], rounds[known] = self._places[at[known]], self._rounds[at[known]]
            stays[at[known]] = False
            ended = np.zeros(len(self._numbers), bool)
            ended[passes.seats[passes.fresh]] = True
            stays &= ~ended[self._names // n]
        reader = leaf.of(streams, keys, places, rounds)
        where, _ = reader.locate(Plan(plan.order, which.ravel(), plan.lengths[some]))
        last = passes.last[of]
        joined = np.concatenate([self._names[stays], names[last]])
        by_name = np.argsort(joined, kind="stable")
        self._names = joined[by_name]
        places, rounds = reader.cursors
        self._places = np.concatenate([self._places[stays], places[last]])[by_name]
        self._rounds = np.concatenate([self._rounds[stays], rounds[last]])[by_name]
        return reader, where

    def _number(self, passes: Passes) -> np.ndarray:
        """Return the numbers of passes, new ones for those that begin."""
        missing = max(int(passes.seats[-1]) + 1 - len(self._numbers), 0)
        self._numbers = np.append(self._numbers, np.full(missing, -1))
        numbers = np.where(passes.fresh, -1, self._numbers[passes.seats])
        begins = np.flatnonzero(numbers < 0)
        numbers[begins] = self._n_passes + np.arange(len(begins))
        self._n_passes += len(begins)
        self._numbers[passes.seats[passes.last]] = numbers[passes.last]
        return numbers

    def snapshot(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @staticmethod
    def pack(snapshot: dict[str, Any]) -> dict[str, Any]:
        return {name.lstrip("_"): pack(value) for name, value in snapshot.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update({f"_{name}": unpack(value) for name, value in state.items()})


class NestedReader(Reader):
    """Reads blocks of samples from muxes.

    Parameters
    ----------
    levels : list of Level
        The muxes, the muxes in them, and so on.
    leaf : ArrayReader
        Of all arrays in the innermost muxes.
    seed : int
    """

    _VERSION = 1

    def __init__(self, levels: list[Level], leaf: ArrayReader, seed: int) -> None:
        self._levels = levels
        self._leaf = leaf
        self.row_bytes = leaf.row_bytes
        self._rewind(seed)

    def _rewind(self, seed: int) -> None:
        for i, level in enumerate(self._levels):
            level.rewind(mix(seed, i))
        self._cursors = PassCursors(mix(seed, len(self._levels)))

    def restarted(self, seed: int) -> NestedReader:
        """Return a reader of the same streams at their beginning, without looking at each of them again."""
        return NestedReader([copy.copy(level) for level in self._levels], self._leaf, seed)

    def locate(self, plan: Plan) -> tuple[Any, np.ndarray]:
        self.moved = [level.snapshot() for level in self._levels], self._cursors.snapshot()
        who = np.empty(len(plan.order), np.int32)
        who[plan.order] = np.repeat(plan.streams, plan.lengths)
        for level in self._levels:
            passes = Passes(plan)
            plan, within = level.refine(plan, passes)
        return self._cursors.locate(self._leaf, plan, passes, within), who

    def gather(self, where: Any) -> dict[str, Any]:
        reader, rows = where
        return reader.gather(rows)

    def slice(self, batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
        return self._leaf.slice(batch, start, stop)

    def state_dict(self, moves: Sequence[Any] = ()) -> dict[str, Any]:
        levels, cursors = (
            moves[0] if moves else ([level.snapshot() for level in self._levels], self._cursors.snapshot())
        )
        return {
            "kind": "nested reader",
            "version": self._VERSION,
            "sizes": self._sizes(),
            "levels": [Level.pack(level) for level in levels],
            "cursors": PassCursors.pack(cursors),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring the streams where a state says.

        Raises
        ------
        ValueError
            If the streams had other lengths, or were in other muxes.
        """
        check_state(state, "nested reader", self._VERSION, ("sizes", "levels", "cursors"))
        if state["sizes"] != self._sizes():
            raise ValueError("state was saved of streams of other lengths: the data has changed since. Begin anew.")
        for level, of_level in zip(self._levels, state["levels"], strict=True):
            level.load_state_dict(of_level)
        self._cursors.load_state_dict(state["cursors"])

    def _sizes(self) -> list[int]:
        return [zlib.crc32(level.odds.n_streams.tobytes()) for level in self._levels] + [self._leaf.check_sum()]
