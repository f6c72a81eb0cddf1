"""Muxes in a mux: their visits and samples are planned together, as if they were slots and streams of one mux.

A mux starts each of its streams anew at each visit. Done one by one, that costs a mux within it hundreds of small steps for a
few samples, and one of files a block for each of its slots. Here a plan of the outer mux is refined instead, for all inner ones
at once: each of its visits is a pass of an inner mux, slots and visits within are drawn for all passes in one go, and the result
is a plan of the streams one level below, until these are arrays or files. So what muxes hold in their slots starts anew at each
visit, and arrays and files do not: they go on where they stand, as in a mux that is not nested, so that none of their samples
comes again before all have come.
"""

from __future__ import annotations

import copy
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _compiled
from ._arrays import ArrayStream, SampleStream
from ._blocks import BlockStream
from ._passes import close
from ._plan import Visits, lay_out, sorted_by_slot
from ._random import generator, mix
from ._reader import Plan, Reader
from ._state import check_same, check_state, check_whole, pack, pack_numbers, unpack, unpack_numbers
from ._visits import UNTIL_EXHAUSTED, VisitLength

_MANY, _OFTEN = 2**16, 16


def nested_reader(muxes: Sequence[Any], seed: int) -> NestedReader | None:
    """Return a reader of muxes that can be planned together, down to arrays or files, or None: they cannot."""
    layers = [muxes]
    while True:
        kinds = {type(stream) for stream in layers[-1]}
        if len(kinds) > 1:
            return None
        if issubclass(kind := kinds.pop(), SampleStream):
            break
        if not hasattr(kind, "_level"):
            return None
        n = sum(len(mux._streams) for mux in layers[-1])
        if n > _MANY and n > _OFTEN * sum(len(mux._streams) for mux in {id(mux): mux for mux in layers[-1]}.values()):
            return None  # one mux in many places is not worth as much room as all of them would take
        layers.append([stream for mux in layers[-1] for stream in mux._streams])
    levels = []
    in_memory = kind is ArrayStream
    for layer in layers[:-1]:
        if not in_memory and any(mux._rules.handles for mux in layer):  # it notes by itself which of its streams fail
            return None
        level = type(layer[0])._level(layer)
        if level is None:
            return None
        levels.append(level)
    try:
        leaf = kind._joint_reader(layers[-1], mix(seed, 0), np.concatenate([mux._sizes() for mux in layers[-2]]))
    except ValueError:  # rows that do not fit each other are given as they are, one by one
        return None
    return NestedReader(levels, leaf, seed, in_memory)


def warn_of_restarts(streams: Sequence[Any], lam: float) -> None:
    """Warn if one of the streams, which are started one by one for visits of ``lam`` samples, is a mux of files."""
    for i, stream in enumerate(streams):
        within = getattr(stream, "_streams", ())
        if isinstance(within, list) and any(isinstance(file, BlockStream) for file in within):
            warnings.warn(
                f"the stream at position {i} is a mux of files that starts anew at each visit: for a few of lam={lam:g} samples "
                "it reads a block of each file that it comes to. Put the files of all muxes into one pool, with pool_weights; or "
                "let the muxes be planned together: StochasticMuxes with replacement, of one n_active, lam and dist, without a "
                "random_state of their own, and with on_error='raise'.",
                UserWarning,
                stacklevel=2,
            )
            return


def odds_of(muxes: Sequence[Any]) -> list[np.ndarray] | None:
    """Return the odds of the streams of each mux, in proportion to weight; None if one of the muxes must be started by itself.

    One has a seed of its own, which its passes follow, or streams that fail, or nothing to give, which its start will tell.
    """
    odds = [np.where(mux._sizes() == 0, 0.0, mux._weights) for mux in muxes]
    by_itself = (
        mux._own_seed is not None or mux._unsized or not of_mux.any() for mux, of_mux in zip(muxes, odds, strict=True)
    )
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
        if plan.fresh.any():
            by_seat = np.argsort(plan.seats, kind="stable")
        else:  # a stream that goes on may have moved from a later slot to an earlier one
            by_seat = np.lexsort((plan.order.take(np.cumsum(plan.lengths) - plan.lengths, mode="clip"), plan.seats))
        seats, fresh = plan.seats[by_seat], plan.fresh[by_seat]
        begins = fresh | (np.diff(seats, prepend=-1) != 0)
        self.of_runs = np.empty(len(begins), np.int64)
        self.of_runs[by_seat] = np.cumsum(begins) - 1
        self._by_seat = by_seat
        self.seats, self.streams, self.fresh = seats[begins], plan.streams[by_seat[begins]], fresh[begins]
        self.last = np.diff(self.seats, append=-1) != 0

    def deal(self, plan: Plan, draws: np.ndarray, n_slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sort samples by the slots that were drawn for them, those of a slot by time.

        Returns
        -------
        order : ndarray of shape (n_samples,)
            Their places in time.
        drawn, counts : ndarrays
            The slots that are drawn, ``pass * n_slots + slot``, and how often.
        """
        if _compiled.native is not None and draws.dtype == np.uint16:
            columns = (self._by_seat, plan.lengths, self.of_runs, plan.order)
            return _compiled.native.deal(*(np.ascontiguousarray(part, np.int64) for part in columns), draws, n_slots)
        in_time = np.empty(len(draws), np.int64)
        in_time[plan.order] = np.repeat(self.of_runs * n_slots, plan.lengths) + draws
        return _sorted(in_time, len(self.seats) * n_slots)


class Odds:
    """The odds of the streams of muxes: streams are numbered through all of them.

    Parameters
    ----------
    odds : sequence of ndarrays
        Of each mux; not all zero.

    Attributes
    ----------
    first, n_streams : ndarrays of shape (n_muxes,)
        The first stream of each mux, and how many it has.
    """

    def __init__(self, odds: Sequence[np.ndarray]) -> None:
        self.n_streams = np.array([len(of_mux) for of_mux in odds], np.int64)
        self.first = np.cumsum(self.n_streams) - self.n_streams
        self._line: np.ndarray | None = None
        if any(np.ptp(of_mux) for of_mux in odds):
            # one unit of the line for each mux
            self._line = np.concatenate([i + np.cumsum(of_mux) / of_mux.sum() for i, of_mux in enumerate(odds)])
            self._most = self.first + [np.flatnonzero(of_mux)[-1] for of_mux in odds]

    @property
    def are_even(self) -> bool:
        """Whether the streams of each mux have equal odds."""
        return self._line is None

    def draw(self, rng: np.random.Generator, muxes: np.ndarray) -> np.ndarray:
        """Draw a stream of each of these muxes."""
        drawn = rng.random(len(muxes))
        if self._line is None:
            return self.first[muxes] + (drawn * self.n_streams[muxes]).astype(np.int64)
        drawn += muxes
        # a sum may have been rounded up to the next mux
        return np.minimum(np.searchsorted(self._line, drawn, side="right"), self._most[muxes])


def _sorted(numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of numbers below ``n``, sorted by them, which of these there are, and how often."""
    if n <= len(numbers):
        order, counts = sorted_by_slot(numbers, n)
        there = np.flatnonzero(counts)
        return order, there, counts[there]
    # a table of all of them would be larger than what it tells
    order = np.argsort(numbers.astype(np.int16) if n <= 2**15 else numbers, kind="stable")  # short ones by radix
    in_order = numbers[order]
    first = np.flatnonzero(np.diff(in_order, prepend=-1))
    return order, in_order[first], np.diff(first, append=len(in_order))


class Level:
    """Muxes of one depth.

    Parameters
    ----------
    odds : sequence of ndarrays
        Of each mux those of its streams.
    """

    _n_slots = 0

    def __init__(self, odds: Sequence[np.ndarray]) -> None:
        self.odds = Odds(odds)
        self.rewind(0)

    def rewind(self, seed: int) -> None:
        """Go back to where no pass is under way."""
        self._rng = generator(seed)

    def refine(self, plan: Plan) -> Plan:
        """Return a plan of the streams of the muxes of a plan."""
        raise NotImplementedError

    def below(self, seats: np.ndarray) -> np.ndarray:
        """Return the seats one level below of the visits that are under way in the passes in these seats."""
        return np.empty(0, np.int64)

    def visits(self, seats: np.ndarray) -> tuple[list[int], list[int]]:
        """Return the streams of these visits, and how many samples more they are to give."""
        return [], []

    def told(self) -> list[Any]:
        """Return what must be the same where a state is taken back."""
        return [type(self).__name__, self._n_slots, zlib.crc32(self.odds.n_streams.astype(np.int64).tobytes())]

    def snapshot(self) -> dict[str, Any]:
        """Return what changes, which :meth:`pack` makes a state of while the level goes on."""
        return {"rng": self._rng.bit_generator.state}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to what :meth:`snapshot` gave."""
        self._rng.bit_generator.state = snapshot["rng"]

    @staticmethod
    def pack(snapshot: dict[str, Any]) -> dict[str, Any]:
        return {name: pack_numbers(value) if name == "rng" else pack(value) for name, value in snapshot.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`pack` gave."""
        self._rng.bit_generator.state = unpack_numbers(state["rng"])


class EachSample(Level):
    """Muxes that draw the stream of each sample by itself; their streams are no muxes."""

    def refine(self, plan: Plan) -> Plan:
        drawn = np.empty(len(plan.order), np.int64)
        drawn[plan.order] = self.odds.draw(self._rng, np.repeat(plan.streams, plan.lengths))
        return Plan(*_sorted(drawn, int(self.odds.n_streams.sum())))


class InVisits(Level):
    """Muxes with slots, whose streams are drawn anew after visits of random lengths.

    What the slots of a pass hold is kept by its seat. A slot that is not drawn keeps what an earlier pass had there, with nothing
    left, until a fresh visit begins in it.

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

    def refine(self, plan: Plan) -> Plan:
        k, passes = self._n_slots, Passes(plan)
        draws = self._rng.integers(0, k, len(plan.order), dtype=np.uint16 if k <= 2**16 else np.int64)
        order, drawn, counts = passes.deal(plan, draws, k)
        self._make_room(int(passes.seats[-1]) + 1)
        if _compiled.native is not None:
            return Plan(order, *self._visit_compiled(passes, drawn, counts))
        within, slot = np.divmod(drawn, k)  # of the slots that are drawn: those of some passes
        left = self._left[passes.seats[within], slot]
        left[passes.fresh[within]] = 0
        visits = lay_out(left, counts, self._length, self._rng)
        return Plan(order, *self._settle(passes, drawn, visits, self._drawn_streams(passes, drawn, visits)))

    def _drawn_streams(self, passes: Passes, drawn: np.ndarray, visits: Visits) -> np.ndarray:
        """Draw the streams of visits that begin."""
        return self.odds.draw(self._rng, passes.streams[drawn[visits.slots[visits.fresh]] // self._n_slots])

    def _visit_compiled(self, passes: Passes, drawn: np.ndarray, counts: np.ndarray) -> Sequence[np.ndarray]:
        """Do what :meth:`refine` does with what was dealt."""
        native: Any = _compiled.native
        fresh_passes, last_passes = (np.ascontiguousarray(mark.view(np.uint8)) for mark in (passes.fresh, passes.last))
        left = native.under_way(drawn, passes.seats, fresh_passes, self._left)
        visits = lay_out(left, counts, self._length, self._rng)
        fresh = visits.fresh.view(np.uint8)
        if self.odds.are_even:
            numbers = self._rng.random(np.count_nonzero(fresh))
            muxes, odds = np.ascontiguousarray(passes.streams, np.int64), self.odds
            new = native.choose(drawn, self._n_slots, visits.slots, fresh, muxes, odds.first, odds.n_streams, numbers)
        else:
            new = self._drawn_streams(passes, drawn, visits)
        return native.settle(
            drawn, visits.lengths, fresh, visits.last, visits.left, new, passes.seats, fresh_passes, last_passes,
            self._holder, self._left,
        )  # fmt: skip

    def _settle(
        self, passes: Passes, drawn: np.ndarray, visits: Visits, new_streams: np.ndarray
    ) -> Sequence[np.ndarray]:
        """Give visits their streams, new ones to those that are fresh, and note what slots then hold.

        Returns
        -------
        streams, lengths, seats, fresh : ndarrays
            As in :class:`Plan`.
        """
        within, slot = np.divmod(drawn, self._n_slots)
        seats = passes.seats[within]
        streams = self._holder[seats, slot][visits.slots]
        streams[visits.fresh] = new_streams
        self._left[passes.seats[passes.fresh]] = 0
        last = passes.last[within]
        self._left[seats[last], slot[last]] = visits.left[last]
        self._holder[seats[last], slot[last]] = streams[visits.last[last]]
        there = visits.fresh | (visits.lengths > 0)  # no visit was under way where a pass begins
        below = (seats * self._n_slots + slot)[visits.slots]
        return streams[there], visits.lengths[there], below[there], visits.fresh[there]

    def below(self, seats: np.ndarray) -> np.ndarray:
        slots = self._left[seats] > 0
        return (seats[:, None] * self._n_slots + np.arange(self._n_slots))[slots]

    def visits(self, seats: np.ndarray) -> tuple[list[int], list[int]]:
        slots = self._left[seats] > 0
        return self._holder[seats][slots].tolist(), self._left[seats][slots].tolist()

    def _make_room(self, n_seats: int) -> None:
        """Take arrays of their own, since a snapshot may hold the old ones, with room for so many seats."""
        missing = max(n_seats - len(self._left), 0), self._n_slots
        self._left = np.vstack([self._left, np.zeros(missing, np.int64)])
        self._holder = np.vstack([self._holder, np.zeros(missing, np.int64)])

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "left": self._left, "holder": self._holder}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self._left, self._holder = snapshot["left"], snapshot["holder"]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        left, holder = unpack(state["left"]), unpack(state["holder"])
        n = len(left) * self._n_slots
        check_whole("items that slots within muxes have left", left.ravel(), 0, UNTIL_EXHAUSTED + 1, n)
        check_whole("streams in slots within muxes", holder.ravel(), 0, int(self.odds.n_streams.sum()), n)
        left, holder = left.reshape(-1, self._n_slots), holder.reshape(-1, self._n_slots)
        super().load_state_dict(state)
        self._left, self._holder = left, holder


class NestedReader(Reader):
    """Reads blocks of samples from muxes.

    Parameters
    ----------
    levels : list of Level
        The muxes, the muxes in them, and so on.
    leaf : Reader
        Of all streams in the innermost muxes.
    seed : int
    in_memory : bool
        Whether no stream can fail.
    """

    _VERSION = 1

    def __init__(self, levels: list[Level], leaf: Any, seed: int, in_memory: bool) -> None:
        self.names_failures, self.can_restart = in_memory, leaf.can_restart
        self._levels = levels
        self._leaf = leaf
        self._n_seats = 0
        for i, level in enumerate(levels):
            level.rewind(mix(seed, i, 1))
        self.row_bytes, self.blocks_alone, self.n_ahead = leaf.row_bytes, leaf.blocks_alone, leaf.n_ahead
        self.least_read_ahead, self.most_read_ahead = leaf.least_read_ahead, leaf.most_read_ahead
        self.caller_plans, self.gathers_again = leaf.caller_plans, leaf.gathers_again
        self.many_visits = None if leaf.many_visits is None else 1  # each of the outer mux is many

    @property
    def blocks_read(self) -> int | None:
        return getattr(self._leaf, "blocks_read", None)

    @property
    def blocks_needed(self) -> int | None:
        return getattr(self._leaf, "blocks_needed", None)

    def restarted(self, seed: int) -> NestedReader:
        return NestedReader(
            [copy.copy(level) for level in self._levels], self._leaf.restarted(mix(seed, 0)), seed, self.names_failures
        )

    def add_squares(self) -> None:
        super().add_squares()
        self._leaf.add_squares()

    def refine(self, plan: Plan) -> Plan:
        who = np.empty(len(plan.order), np.int32)
        who[plan.order] = np.repeat(plan.streams, plan.lengths)
        assert plan.seats is not None
        self._n_seats = max(self._n_seats, int(plan.seats.max()) + 1)
        for level in self._levels:
            plan = level.refine(plan)
        return plan._replace(who=who)

    def before_refining(self) -> list[dict[str, Any]]:
        return [level.snapshot() for level in self._levels]

    def undo_refining(self, before: list[dict[str, Any]]) -> None:
        for level, snapshot in zip(self._levels, before, strict=True):
            level.restore(snapshot)

    def locate(self, plan: Plan) -> tuple[Any, np.ndarray]:
        where, _ = self._leaf.locate(plan)
        self.moved = self._leaf.moved
        assert plan.who is not None
        return where, plan.who

    def move_back(self, moved: Any) -> None:
        self._leaf.move_back(moved)

    def expect(self, streams: Sequence[int], left: Sequence[int]) -> None:
        # Where each stream has a seat, others have visits under way than those in the slots: they are not due before long.
        n_seats = self._n_seats
        seats = np.array([stream for stream in streams if 0 <= stream < n_seats], np.int64)
        if n_seats <= len(streams):
            seats = np.arange(n_seats)
        for level in self._levels[:-1]:
            seats = level.below(seats)
        self._leaf.expect(*self._levels[-1].visits(seats))

    def has_room(self) -> bool:
        return self._leaf.has_room()

    def gather(self, where: Any) -> dict[str, Any]:
        self._leaf.is_waited_for = self.is_waited_for
        return self._leaf.gather(where)

    def slice(self, batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
        return self._leaf.slice(batch, start, stop)

    def close(self) -> None:
        """Forget what was read or is still to be read ahead."""
        close(self._leaf)

    def state_dict(self, moves: Sequence[Any] = (), refined_from: Any = None) -> dict[str, Any]:
        levels = self.before_refining() if refined_from is None else refined_from
        return {
            "kind": "nested reader",
            "version": self._VERSION,
            "muxes": self._told(),
            "levels": [Level.pack(level) for level in levels],
            "leaf": self._leaf.state_dict(moves),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring the streams where a state says.

        Raises
        ------
        ValueError
            If the streams had other lengths, or were in other muxes.
        """
        check_state(state, "nested reader", self._VERSION, ("muxes", "levels", "leaf"))
        check_same(state, "nested muxes", muxes=self._told())
        self._leaf.load_state_dict(state["leaf"])
        for level, of_level in zip(self._levels, state["levels"], strict=True):
            level.load_state_dict(of_level)

    def _told(self) -> list[list[Any]]:
        return [level.told() for level in self._levels]
