"""What the slots of a mux hold, and plans of the next draws by the block.

Every mux notes the visits in its slots here. One that pulls items ends and begins them one by one; one whose streams give many
samples at once has a block of draws planned: the same slots and the same visits, worked out together.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _compiled
from ._permute import counted_from
from ._policies import Policy
from ._reader import Plan
from ._state import pack, unpack
from ._visits import VisitLength

_FIRST_BLOCK = 512
_RACE_EVENTS = 512
_SPARE = 2
_MOST_SHORT = 2**16  # slots whose numbers have 16 bits, which are sorted much faster


class Planner:
    """The visits under way in the slots of a mux.

    Parameters
    ----------
    policy : Policy
    largest_block : int
        The most draws that are planned at once; 0: none are.

    Attributes
    ----------
    holder, left, planned : lists of length n_slots
        For each slot the stream that it holds (-1: none), the items that its visit has left, and those that it had. They are
        changed in place.
    drawn : int
        Draws that were planned.
    """

    def __init__(self, policy: Policy, largest_block: int) -> None:
        self.policy = policy
        self.holder = [-1] * policy.n_slots
        self.left = [0] * policy.n_slots
        self.planned = [0] * policy.n_slots
        self.largest_block = largest_block
        self.drawn = 0

    def end(self, slot: int, exhausted: bool) -> bool:
        """End the visit in a slot, and return whether its stream may go on later where it stopped."""
        stream, self.holder[slot] = self.holder[slot], -1
        return self.policy.release(slot, stream, self.planned[slot] - self.left[slot], exhausted)

    def begin(self, slot: int) -> bool:
        """Begin a visit in a free slot; False: the slot has died."""
        if slot not in self.policy.alive:
            return False
        visit = self.policy.activate(slot)
        if visit is None:
            self.policy.bury(slot)
            return False
        self.holder[slot], n = visit
        self.planned[slot] = self.left[slot] = n
        return True

    def _replace(self, slot: int) -> bool:
        if self.holder[slot] >= 0:
            self.end(slot, exhausted=False)
        return self.begin(slot)

    def drop(self, streams: Sequence[int]) -> None:
        """Begin no more visits of streams that give samples by the block."""
        self.policy.drop(streams, self.planned)

    def snapshot(self) -> dict[str, Any]:
        """Return copies of all that a plan changes, which :meth:`pack` makes a state of."""
        return {
            "policy": self.policy.snapshot(),
            "holder": self.holder.copy(),
            "left": self.left.copy(),
            "planned": self.planned.copy(),
            "drawn": self.drawn,
        }

    def pack(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot as a JSON-able dict."""
        numbers = {name: pack(value) for name, value in snapshot.items() if name != "policy"}
        return {"policy": self.policy.pack(snapshot["policy"]), **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`pack` gave, among other things."""
        self.policy.load_state_dict(state["policy"])
        for name in ("holder", "left", "planned"):
            getattr(self, name)[:] = unpack(state[name])
        self.drawn = state["drawn"]

    def plan(self) -> Plan | None:
        """Plan the next draws; None when the mux has ended."""
        policy = self.policy
        while True:
            if policy.nothing_left():
                return None
            # A short fit plans little. As much as ever before at once: after each plan a power of 2 is drawn, so that batches of
            # such a size lie in one block.
            size = min(max(self.drawn, _FIRST_BLOCK), self.largest_block)
            self.drawn += size
            if policy.by_weight:
                return self._plan_race(size)
            slots = policy.slots(size)
            if not slots.size:
                return None
            order, counts = sorted_by_slot(slots, policy.n_slots)
            if policy.assigns:
                return self._plan_assigned(order, counts)
            plan = self._plan_at_once(order, counts) if policy.plans_itself else self._plan_visits(order, counts)
            if len(plan.order):
                return plan

    def _plan_assigned(self, order: np.ndarray, counts: np.ndarray) -> Plan:
        """Lay out all visits first, since their lengths do not depend on their streams, then give them streams."""
        policy = self.policy
        visits = lay_out(np.array(self.left, np.int64), counts, policy.length, policy.rng)
        slots, fresh = visits.slots, visits.fresh
        offsets = np.cumsum(counts) - counts
        streams = np.array(self.holder)[slots]
        streams[fresh] = policy.assign(slots[fresh], order[(offsets[slots] + visits.starts)[fresh] - 1])
        self.holder[:] = streams[visits.last].tolist()
        self.left[:] = visits.left.tolist()
        return Plan(order, streams, visits.lengths, slots, fresh)

    def _plan_race(self, size: int) -> Plan | None:
        """Plan with slots drawn by the weight of what they hold: each gives items at the times of a Poisson process.

        Of independent Poisson processes each next event is from one of them with probability proportional to its rate. They
        have no memory, so that events drawn beyond the end of a block may be forgotten.
        """
        policy, holder, left = self.policy, self.holder, self.left
        rng, rates = policy.rng, policy.rates
        seats: list[int] = []
        streams: list[int] = []
        fresh: list[bool] = []
        times: list[np.ndarray] = []
        race: list[tuple[float, int, np.ndarray]] = []

        def enter(slot: int, clock: float) -> None:
            gaps = rng.standard_exponential(min(left[slot], _RACE_EVENTS))
            events = clock + np.cumsum(gaps, out=gaps) / rates[holder[slot]]
            heapq.heappush(race, (float(events[-1]), slot, events))

        def give(slot: int, events: np.ndarray) -> None:
            seats.append(slot if policy.restarts else holder[slot])
            streams.append(holder[slot])
            fresh.append(policy.restarts and left[slot] == self.planned[slot])
            times.append(events)
            left[slot] -= len(events)

        for slot in policy.alive:
            enter(slot, 0.0)
        n, clock = 0, 0.0
        while race and n < size:
            clock, slot, events = heapq.heappop(race)
            give(slot, events)
            n += len(events)
            if left[slot] or self._replace(slot):
                enter(slot, clock)
        for _, slot, events in race:
            give(slot, events[: int(np.searchsorted(events, clock))])
        if not n:
            return None
        order = np.empty(sum(map(len, times)), np.intp)
        order[np.argsort(np.concatenate(times), kind="stable")] = np.arange(len(order))
        lengths = np.array([len(events) for events in times])
        return Plan(order, np.array(streams), lengths, np.array(seats), np.array(fresh))

    def _plan_at_once(self, order: np.ndarray, counts: np.ndarray) -> Plan:
        """Let the policy do what :meth:`_plan_visits` does."""
        policy = self.policy
        slots = np.array([self.holder, self.left, self.planned])
        runs = policy.plan(order, slots, np.cumsum(counts))
        self.holder[:], self.left[:], self.planned[:] = slots.tolist()
        for slot in np.flatnonzero((slots[0] < 0) & (counts > 0)).tolist():
            policy.bury(slot)
        by_slot = np.argsort(runs[0].astype(np.uint16) if policy.n_slots <= _MOST_SHORT else runs[0], kind="stable")
        seats, streams, lengths = runs[:, by_slot]
        used = np.bincount(seats, lengths, policy.n_slots).astype(np.int64)
        if (used < counts).any():  # draws of slots that died on the way
            order = _closed_up(order[counted_from(np.cumsum(counts) - counts, used)], len(order))
        return Plan(order, streams, lengths, streams, np.zeros(len(streams), bool))

    def _plan_visits(self, order: np.ndarray, counts: np.ndarray) -> Plan:
        """Plan visit by visit, in the order in which visits end, since one end decides what the next may take."""
        holder, left, planned = self.holder, self.left, self.planned
        n_draws, ends_of = len(order), np.cumsum(counts).tolist()
        turns = {
            slot: order[start:stop]
            for slot, (start, stop) in enumerate(itertools.pairwise([0, *ends_of]))
            if stop > start
        }
        used = dict.fromkeys(turns, 0)
        runs: dict[int, tuple[list[int], list[int]]] = {slot: ([], []) for slot in turns}
        turn_over = self.policy.turn_over
        ends: list[tuple[int, int]] = []
        going_on = set()
        for slot, turn in turns.items():
            if holder[slot] < 0 and not self._replace(slot):
                continue
            if left[slot] < planned[slot]:
                going_on.add(slot)
            if left[slot] <= len(turn):
                ends.append((turn.item(left[slot] - 1), slot))
        heapq.heapify(ends)
        heapreplace = heapq.heapreplace
        while ends:
            slot = ends[0][1]
            stream, n = holder[slot], left[slot]
            streams, lengths = runs[slot]
            streams.append(stream)
            lengths.append(n)
            place = used[slot] = used[slot] + n
            # what _replace does, in fewer steps: this loop runs once for each visit
            visit = turn_over(slot, stream, planned[slot])
            if visit is None:
                self.policy.bury(slot)
                holder[slot], left[slot] = -1, 0
                heapq.heappop(ends)
                continue
            holder[slot], n = visit
            planned[slot] = left[slot] = n
            turn = turns[slot]
            place += n - 1
            if place < len(turn):
                heapreplace(ends, (turn.item(place), slot))
            else:
                heapq.heappop(ends)
        kept = []
        for slot, turn in turns.items():
            unfinished = len(turn) - used[slot]
            if holder[slot] >= 0 and unfinished > 0:
                runs[slot][0].append(holder[slot])
                runs[slot][1].append(unfinished)
                left[slot] -= unfinished
                used[slot] += unfinished
            kept.append(turn[: used[slot]])
        order = np.concatenate(kept)
        if len(order) < n_draws:  # draws of slots that died on the way
            order = _closed_up(order, n_draws)
        visited = np.array([stream for run in runs.values() for stream in run[0]], np.int64)
        n_given = np.array([length for run in runs.values() for length in run[1]], np.int64)
        if not self.policy.restarts:
            return Plan(order, visited, n_given, visited, np.zeros(len(visited), bool))
        seats = np.repeat(list(runs), [len(run[0]) for run in runs.values()])
        fresh = [i > 0 or slot not in going_on for slot, run in runs.items() for i in range(len(run[0]))]
        return Plan(order, visited, n_given, seats, np.array(fresh, bool))


def sorted_by_slot(slots: np.ndarray, n_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of draws, slot by slot and as they come, and the number of draws of each slot."""
    if _compiled.native is not None and n_slots <= _MOST_SHORT:
        order, ends = np.empty(len(slots), np.int64), np.empty(n_slots, np.int64)
        _compiled.native.sort_slots(slots.astype(np.uint16, copy=False), order, ends)
        ends[1:] -= ends[:-1].copy()
        return order, ends
    if n_slots <= _MOST_SHORT:
        slots = slots.astype(np.uint8 if n_slots <= 2**8 else np.uint16)  # by radix
    return np.argsort(slots, kind="stable"), np.bincount(slots, minlength=n_slots)


def _closed_up(order: np.ndarray, n_draws: int) -> np.ndarray:
    """Return the places of draws of which some are left out."""
    there = np.zeros(n_draws, bool)
    there[order] = True
    return (np.cumsum(there) - 1)[order]


class Visits(NamedTuple):
    """Visits that follow each other in slots.

    Attributes
    ----------
    slots : ndarray of shape (n_visits,)
        Sorted; the visits of a slot are in the order of time.
    starts, lengths : ndarrays of shape (n_visits,)
        The first of its slot's draws that each has, and how many.
    fresh : ndarray of shape (n_visits,)
        False: it was under way before, and is the first of its slot.
    last : ndarray of shape (n_slots,)
        The last visit of each slot.
    left : ndarray of shape (n_slots,)
        How many draws more this will have.
    """

    slots: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    fresh: np.ndarray
    last: np.ndarray
    left: np.ndarray


def lay_out(left: np.ndarray, counts: np.ndarray, length: VisitLength, rng: np.random.Generator) -> Visits:
    """Lay out visits for so many draws of each slot, of which the one under way has ``left`` draws more."""
    some = np.flatnonzero(left <= counts)
    reached = left[some]
    parts = [(np.empty(0, np.int64),) * 3]
    while len(some):  # the next visit begins when the last has given its last item
        lam = length.lam or 1.0
        short = counts[some] - reached + 1
        # what suffices for each slot, unless some need so much more than others that most would be drawn in vain
        n_visits = length.visits_for(int(short.max()))
        if n_visits * len(some) > _SPARE * (short.sum() / lam + len(some)):
            n_visits = max(int(short.mean() / lam), 1)
        drawn = length.sample(rng, len(some) * n_visits)
        begin_some = _begin_some if _compiled.native is None else _compiled.native.begin_some
        some, reached, *begun = begin_some(some, reached, counts, drawn, n_visits)
        parts.append(tuple(begun))
    put_together = _put_together if _compiled.native is None else _compiled.native.put_together
    return Visits(*put_together(left, counts, *map(np.concatenate, zip(*parts, strict=True))))


def _begin_some(
    some: np.ndarray, reached: np.ndarray, counts: np.ndarray, lengths: np.ndarray, n_visits: int
) -> tuple[np.ndarray, ...]:
    """Begin visits in some slots, and return those that may have more, what they have reached, and the visits as columns."""
    most = counts[some]
    ends = reached[:, None] + np.cumsum(lengths.reshape(-1, n_visits), 1)
    starts = np.hstack([reached[:, None], ends[:, :-1]])
    begun = starts <= most[:, None]
    goes_on = ends[:, -1] <= most
    return some[goes_on], ends[goes_on, -1], np.repeat(some, begun.sum(axis=1)), starts[begun], ends[begun]


def _put_together(
    left: np.ndarray, counts: np.ndarray, slots: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Put visits together by slot, after those under way, and return them as :class:`Visits` has them."""
    n_slots = len(counts)
    slots, starts, ends = (
        np.concatenate([np.arange(n_slots), slots]),
        np.concatenate([np.zeros(n_slots, np.int64), starts]),
        np.concatenate([left, ends]),
    )
    by_slot, n_visits_of = sorted_by_slot(slots, n_slots)
    slots, starts, ends = slots[by_slot], starts[by_slot], ends[by_slot]
    last = np.cumsum(n_visits_of) - 1
    lengths = np.minimum(ends, counts[slots]) - starts
    return slots, starts, lengths, by_slot >= n_slots, last, ends[last] - counts
