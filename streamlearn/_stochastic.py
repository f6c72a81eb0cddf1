"""Policies of the stochastic mux: slots that are drawn at random, each with a stream for a visit of random length."""

from __future__ import annotations

from array import array
from collections.abc import Sequence, Set
from typing import Any, ClassVar

import numpy as np

from . import _compiled
from ._policies import Policy, draw
from ._state import check_whole, unpack
from ._visits import UNTIL_EXHAUSTED, VisitLength, conditional_poisson_odds, inclusion_probabilities
from ._waiting import waiting, without

_BUFFER = 256
_TRIES = 32
_FEW_SLOTS = 64  # that are looked through one by one faster than a table of all streams is looked up
_NONE: frozenset[int] = frozenset()


class _Stochastic(Policy):
    """Slots drawn at random: evenly, or in proportion to the weight of what they hold."""

    filled = True
    rng: np.random.Generator
    _changing = (*Policy._changing, "holder", "_lengths")
    _positions: ClassVar[tuple[str, ...]] = ()  # of what changes, what tells streams

    def __init__(
        self,
        weights: np.ndarray,
        sizes: np.ndarray,
        n_slots: int,
        length: VisitLength,
        by_weight: bool,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(n_slots)
        self.rng = rng
        self.length = length
        self.lam = length.lam
        self.sizes = sizes
        # A stream that is known to be empty can never yield.
        self.weights = np.where(sizes == 0, 0.0, weights)
        positive = self.weights[self.weights > 0]
        self.by_weight = by_weight and positive.size > 0 and np.ptp(positive) > 1e-12 * positive.max()
        self.rates = self.weights.copy()  # a stream that is pruned goes on in the slots that hold it
        self.holder = [-1] * n_slots
        self._lengths: list[int] = []

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        check_whole("streams in slots", self.holder, -1, len(self.weights), self.n_slots)
        check_whole("lengths of visits", self._lengths, 1, UNTIL_EXHAUSTED + 1)
        for name in self._positions:
            check_whole(f"streams in {name}", getattr(self, name), 0, len(self.weights))

    def slots(self, k: int) -> np.ndarray:
        self.stale = False
        if not self.alive:
            return np.empty(0, np.intp)
        alive = np.fromiter(self.alive, np.intp, len(self.alive))
        if self.by_weight:
            rates = np.cumsum(self.rates[[self.holder[slot] for slot in self.alive]])
            # Rates change with the next visit: few draws will be used.
            return alive[draw(self.rng, rates, min(k, 256))]
        drawn = self.rng.integers(0, len(alive), k, dtype=np.uint16 if len(alive) <= 2**16 else np.int64)
        return drawn if len(alive) == self.n_slots else alive[drawn]

    def hold(self, slot: int, stream: int) -> None:
        self.holder[slot] = stream
        if self.by_weight:
            self.stale = True

    def next_length(self) -> int:
        if not self._lengths:
            self._lengths = self._draw_lengths().tolist()
        return self._lengths.pop()

    def _draw_lengths(self) -> np.ndarray:
        return self.length.sample(self.rng, _BUFFER)


class _Restarting(_Stochastic):
    """What the two modes without end share: the mean length of each stream's visits, and streams that yield nothing.

    A choice in proportion to weight divided by the mean length of a visit gives shares in proportion to weight. The mean is
    ``lam`` until a visit of the stream ends early; from then on it is what its visits have been.
    """

    _changing = (
        *_Stochastic._changing,
        "pruned",
        "barren",
        "_odds",
        "_choices",
        "_means",
        "_visits",
        "_observed",
        "_n_changes",
    )
    _positions: ClassVar[tuple[str, ...]] = ("pruned", "barren", "_choices", "_observed", "_visits")
    _long: ClassVar[tuple[str, ...]] = ("_odds", "_means")
    restarts = True

    def __init__(self, *args: Any, prune: bool) -> None:
        super().__init__(*args)
        self.prune = prune
        self.pruned: set[int] = set()
        self.barren: set[int] = set()  # not pruned, but empty since the last visit that was not
        self.n_candidates = int((self.weights > 0).sum())
        lam = self.length.lam
        known = self.sizes > 0
        self._prior = 1.0 if lam is None else lam
        self.assigns = lam is not None
        self._odds = self._cumulative = np.empty(0)
        self._choices: list[int] = []
        self._means = np.where(known, self.sizes, np.nan) if lam is None else np.full(len(self.weights), np.nan)
        self._visits: dict[int, list[int]] = {}
        self._observed: set[int] = set()
        self._n_changes = 0

    def mean_lengths(self) -> np.ndarray:
        if self.length.lam is None and not np.isnan(self._means).all():
            prior = float(np.nanmean(self._means))  # nothing is known of the others: as long as those that are known
        else:
            prior = self._prior
        return np.where(np.isnan(self._means), prior, self._means)

    def refresh(self) -> None:
        """Compute the odds again, which depend on weights and mean lengths."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.weights = self.rates.copy()  # others may have been pruned since
        self.weights[list(self.pruned)] = 0.0
        self._add_up()

    def _set_odds(self, odds: np.ndarray) -> None:
        self._odds = odds
        self._choices = []
        self._add_up()

    def _add_up(self) -> None:
        self._cumulative = np.cumsum(self._odds)
        # in a large pool, to look up what was drawn takes longer than all else of a visit
        self._is_even = bool(self._odds[0] > 0 and np.ptp(self._odds) == 0)

    def _draw(self, k: int) -> np.ndarray:
        """Draw streams in proportion to their odds."""
        return self.rng.integers(0, len(self._odds), k) if self._is_even else draw(self.rng, self._cumulative, k)

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        if n_items == 0:
            self._note_empty(stream, self.prune)
            return False
        if self.barren:
            self.barren.clear()
            if len(self.alive) < self.n_slots:  # slots that died because nothing else was left to try
                self.alive = dict.fromkeys(range(self.n_slots))
                self.stale = True
        if self.sizes[stream] >= 0:
            return False
        seen = self._visits.setdefault(stream, [0, 0])
        seen[0] += 1
        seen[1] += n_items
        if exhausted:
            self._observed.add(stream)
        if stream in self._observed:
            mean = seen[1] / seen[0]
            used = self._means[stream]
            if not abs(mean - used) <= 1e-3 * used:
                if not self._means.flags.writeable:  # a snapshot holds it
                    self._means = self._means.copy()
                self._means[stream] = mean
                self._changed()
        return False

    def _changed(self) -> None:
        # Refreshing costs a pass over the pool: with many streams it waits for a share of them to change.
        self._n_changes += 1
        if self._n_changes > self.n_candidates // 64:
            self._n_changes = 0
            self.refresh()

    def _note_empty(self, stream: int, prune: bool) -> None:
        if prune:
            if stream not in self.pruned:
                self.pruned.add(stream)
                self.barren.discard(stream)
                self.weights[stream] = 0.0
                self._changed()
        else:
            self.barren.add(stream)

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        for stream in streams:
            if self.weights[stream] > 0:
                self._note_empty(stream, prune=True)
        if planned is not None:
            self.refresh()

    def nothing_left(self) -> bool:
        return len(self.pruned) + len(self.barren) >= self.n_candidates

    def choose(self, excluded: Set[int]) -> int | None:
        """Draw a stream in proportion to its odds among those that are not excluded, None if there is none."""
        if self._cumulative[-1] > 0:
            for _ in range(_TRIES):
                if not self._choices:
                    self._choices = self._draw(_BUFFER).tolist()
                stream = self._choices.pop()
                if stream not in excluded:
                    return stream
        odds = self._odds.copy()
        odds[list(excluded)] = 0.0
        cumulative = np.cumsum(odds)
        return int(draw(self.rng, cumulative, 1)[0]) if cumulative[-1] > 0 else None

    def begin_visit(self, slot: int, stream: int) -> tuple[int, int]:
        self.hold(slot, stream)
        n = self.next_length()
        return stream, int(self.sizes[stream]) if n == UNTIL_EXHAUSTED and self.sizes[stream] > 0 else n


class WithReplacement(_Restarting):
    """A stream may be active several times at once, for ever."""

    def __init__(self, *args: Any, prune: bool) -> None:
        super().__init__(*args, prune=prune)
        self.refresh()

    def refresh(self) -> None:
        self._set_odds(self.weights / self.mean_lengths())

    def assign(self, slots: np.ndarray, times: np.ndarray) -> np.ndarray:
        return self._draw(len(slots))

    def activate(self, slot: int) -> tuple[int, int] | None:
        if self.nothing_left():
            return None
        stream = self.choose(self.barren | self.pruned if self.barren or self.pruned else _NONE)
        return None if stream is None else self.begin_visit(slot, stream)


class SingleActive(_Restarting):
    """Distinct streams, which may return: conditional Poisson sampling as a heat bath.

    A free slot takes an inactive stream with probability proportional to its odds. Slots become free independently of what
    they hold, and each such step keeps the design whose odds these are, so that the share of stream i is its inclusion
    probability divided by ``n_active``. Capped streams have infinite odds: they come back first.
    """

    _changing = (*_Restarting._changing, "active", "_solved_for", "_design", "_capped")
    _positions = (*_Restarting._positions, "active", "_capped")
    _long = (*_Restarting._long, "_design")

    def __init__(self, *args: Any, prune: bool) -> None:
        super().__init__(*args, prune=prune)
        self.active: set[int] = set()
        self._solved_for = -1
        self._design = np.empty(0)
        self._capped: list[int] = []
        self.refresh()

    def _note_empty(self, stream: int, prune: bool) -> None:
        super()._note_empty(stream, prune)
        self._see_if_it_assigns()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._see_if_it_assigns()

    def _see_if_it_assigns(self) -> None:
        # with fewer streams than slots, slots die
        self.assigns = self.length.lam is not None and self.n_candidates - len(self.pruned) >= self.n_slots

    def refresh(self) -> None:
        if self.length.lam is None:
            # Items are drawn by weight: shares hold if all are active as often, for a time of length / weight each.
            self._set_odds(self.weights / self.mean_lengths())
            return
        if self._solved_for != len(self.pruned):  # the design depends on weights alone, and only pruning changes them
            self._solved_for = len(self.pruned)
            inclusion = inclusion_probabilities(self.weights, self.n_slots)
            free = (inclusion > 0) & (inclusion < 1)
            self._design = np.zeros(len(inclusion))
            if free.any():
                self._design[free] = conditional_poisson_odds(inclusion[free])
                self._design /= self._design.max()
            self._capped = np.flatnonzero(inclusion >= 1).tolist()
        self._set_odds(self._design / self.mean_lengths())

    def activate(self, slot: int) -> tuple[int, int] | None:
        if self.nothing_left():
            return None
        excluded = self.active | self.barren | self.pruned
        stream = next((s for s in self._capped if s not in excluded), None)
        if stream is None:
            stream = self.choose(excluded)
        if stream is None:
            return None
        self.active.add(stream)
        return self.begin_visit(slot, stream)

    def assign(self, slots: np.ndarray, times: np.ndarray) -> np.ndarray:
        streams = np.empty(len(slots), np.int64)
        in_time = np.argsort(times)
        if _compiled.native is not None and self.n_slots <= _FEW_SLOTS and self._holds_what_is_active():
            streams[in_time] = self._assign_compiled(slots[in_time])
            return streams
        active, holder = self.active, self.holder
        choices: list[int] = []
        assigned = []
        for slot in slots[in_time].tolist():
            active.discard(holder[slot])
            stream: int | None = -1
            for stream in self._capped:
                if stream not in active:
                    break
            else:
                for _ in range(_TRIES):
                    if not choices:
                        choices = self._draw(len(slots)).tolist()
                    stream = choices.pop()
                    if stream not in active:
                        break
                else:
                    stream = self.choose(active)
            assert stream is not None  # there are more streams than slots, or all are capped
            active.add(stream)
            holder[slot] = stream
            assigned.append(stream)
        streams[in_time] = assigned
        return streams

    def _holds_what_is_active(self) -> bool:
        held = [stream for stream in self.holder if stream >= 0]
        return len(held) == len(self.active) and self.active.issuperset(held)

    def _assign_compiled(self, slots: np.ndarray) -> np.ndarray:
        """Do what :meth:`assign` does for slots in the order of time."""
        holder = np.array(self.holder, np.int64)

        def choose() -> int | None:
            return self.choose({*holder[holder >= 0].tolist()})

        streams = _compiled.native.assign(  # type: ignore[union-attr]
            holder, np.array(self._capped, np.int64), np.ascontiguousarray(slots, np.int64), _TRIES,
            lambda: self._draw(len(slots)), choose,
        )  # fmt: skip
        self.holder[:] = holder.tolist()
        self.active = {*self.holder} - {-1}
        return streams

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        self.active.discard(stream)
        return super().release(slot, stream, n_items, exhausted)


class Ending(_Stochastic):
    """Each stream once ("once"), or in visits until exhausted ("exhaustive"); then the mux ends.

    Waiting streams have exponential keys, of rate equal to their weight, and the smallest comes next: that is sampling in
    proportion to weight (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). A stream that returns
    to the pool gets a new key that starts at the last one taken, which is exact because the exponential has no memory.
    """

    _changing = (*_Stochastic._changing, "_remaining", "_heap", "_now", "_gaps")

    def __init__(self, *args: Any, again: bool) -> None:
        super().__init__(*args)
        self.again = again
        # a visit looks up single elements, which is slow in arrays of NumPy
        self._weight = array("d", self.weights.tolist())
        self._remaining = array("q", self.sizes.tolist())  # -1: not known
        waits = np.flatnonzero(self.weights > 0)
        keys = self.rng.standard_exponential(len(waits)) / self.weights[waits]
        order = np.argsort(keys, kind="stable")
        self._heap = waiting(keys[order], waits[order], len(self.weights))  # sorted, so a heap
        self._now = 0.0
        self._gaps: list[float] = []
        self.plans_itself = _compiled.native is not None and not self.by_weight and bool((self.sizes >= 0).all())

    def activate(self, slot: int) -> tuple[int, int] | None:
        if not len(self._heap):
            return None
        self._now, stream = self._heap.pop()
        self.hold(slot, stream)
        n, remaining = self.next_length(), self._remaining[stream]
        return stream, n if n < remaining or remaining < 0 else remaining

    def release(self, slot: int, stream: int, n_items: int, exhausted: bool) -> bool:
        if not self.again or exhausted:
            return False
        remaining = self._remaining[stream]
        if remaining >= 0:
            self._remaining[stream] = remaining - n_items
            if remaining == n_items:
                return False
        self._heap.push(self._now + self._gap() / self._weight[stream], stream)
        return True

    def _gap(self) -> float:
        if not self._gaps:
            self._gaps = self._draw_gaps().tolist()
        return self._gaps.pop()

    def _draw_gaps(self) -> np.ndarray:
        return self.rng.standard_exponential(_BUFFER)

    def drop(self, streams: Sequence[int], planned: Sequence[int] | None = None) -> None:
        if planned is None:  # a stream that fails is in a slot, and is released as exhausted
            return
        dropped = set(streams)
        self._heap = without(self._heap, dropped, len(self.weights))
        for stream, n in zip(self.holder, planned, strict=True):
            if stream in dropped:
                self._remaining[stream] = n

    def pack(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        columns = [column.tolist() for column in snapshot["_heap"].columns()]
        return super().pack({**snapshot, "_heap": columns, "_remaining": snapshot["_remaining"].tolist()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        keys, streams = unpack(state["_heap"])
        remaining, n = np.array(self._remaining, np.int64), len(self.weights)
        if (
            len(remaining) != n
            or len({*streams}) != len(streams)
            or not all(0 <= i < n and remaining[i] for i in streams)
        ):
            raise ValueError("state was saved of other streams: the pool has changed since. Begin anew.")
        self._heap = waiting(np.array(keys, np.float64), np.array(streams, np.int64), len(self.weights))
        self._remaining = array("q", remaining.tolist())

    def turn_over(self, slot: int, stream: int, n_items: int) -> tuple[int, int] | None:
        remaining = self._remaining[stream]
        if not self.again or remaining < 0 or self.by_weight:
            return super().turn_over(slot, stream, n_items)
        # the same draws in the same order, in less time: exhaustive passes make one call for each visit
        remaining = self._remaining[stream] = remaining - n_items
        if remaining:
            self._now, stream = self._heap.swap(self._now + self._gap() / self._weight[stream], stream)
        elif len(self._heap):
            self._now, stream = self._heap.pop()
        else:
            return None
        self.holder[slot] = stream
        n, remaining = self.next_length(), self._remaining[stream]
        return stream, n if n < remaining or remaining < 0 else remaining

    def plan(self, order: np.ndarray, slots: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Give draws to visits, as :meth:`turn_over` does visit by visit, in one compiled call.

        Parameters
        ----------
        order : ndarray of shape (n_draws,)
            Times of draws, slot by slot, those of a slot as they come.
        slots : ndarray of shape (3, n_slots)
            Of each slot the stream that it holds (-1: none), what its visit has left, and what it had. It is changed.
        stops : ndarray of shape (n_slots,)
            Where the draws of each slot end.

        Returns
        -------
        runs : ndarray of shape (3, n_runs)
            The slots, streams and lengths of what is given, those of a slot as they come.
        """
        runs = np.empty((3, len(order) + self.n_slots), np.int64)
        room = np.empty((5, self.n_slots), np.int64)
        room[:3] = slots
        n, self._now, lengths, gaps = _compiled.native.end_visits(  # type: ignore[union-attr]
            self._heap, self.again, self._now, self._remaining, self._weight, np.array(self._lengths, np.int64),
            np.array(self._gaps), self._draw_lengths, self._draw_gaps, order, stops, room, runs,
        )  # fmt: skip
        self._lengths, self._gaps = lengths.tolist(), gaps.tolist()
        slots[:] = room[:3]
        died = slots[0] < -1
        held = np.where(died, -2 - slots[0], slots[0])
        self.holder[:] = np.where(held < 0, self.holder, held).tolist()
        slots[0, died] = -1
        return runs[:, :n]
