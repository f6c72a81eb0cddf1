"""The loop of every mux: draw a slot, pull an item from the stream that it holds, replace the stream when its visit ends.

Streams that can give many samples at once (``Streamer._joint_reader``) are planned ahead: the same slots and the same
visits, worked out for a block of draws, and one read for all of it. Others are pulled one item at a time, when it is due.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ._ahead import Ahead
from ._policies import Policy
from ._random import mix
from ._streamer import Streamer, close

_SLOTS_PULLED = 1024
_SAMPLES_TAKEN = 64
_FIRST_BLOCK = 512
_BLOCK = 32768
_BLOCKS_ALONE = 4
_RACE_EVENTS = 512
_BLOCK_BYTES = 2**23


class MuxIterator:
    """A running pass of a mux.

    Attributes
    ----------
    position : int
        Position in the pool of the stream that gave the last item.
    takes : bool
        Whether :meth:`take` may be called: every stream gives samples by the block.
    """

    def __init__(
        self,
        streams: Sequence[Streamer] | dict[int, Streamer],
        policy: Policy,
        seed: int,
        path: tuple[int, ...],
        names: Sequence[str] | None,
        reader: Any = None,
    ) -> None:
        self.position = -1
        self._slot = 0
        self.takes = reader is not None
        self._streams = streams
        self._policy = policy
        self._seed = seed
        self._path = path
        self._names = names
        self._reader = reader
        n_slots = policy.n_slots
        self._holder = [-1] * n_slots
        self._left = [0] * n_slots
        self._planned = [0] * n_slots
        self._iterators: list[Iterator | None] = [None] * n_slots
        self._nexts: list[Callable[[], Any]] = [_nothing] * n_slots
        self._paused: dict[int, Iterator] = {}
        self._shared: dict[int, Iterator] = {}  # one cursor for all visits of a stream of samples
        self._visits: dict[int, int] = {}
        self._largest_block = 0 if reader is None else max(min(_BLOCK, _BLOCK_BYTES // max(reader.row_bytes, 1)), 64)
        self._block = min(_FIRST_BLOCK, self._largest_block)
        alone = getattr(reader, "blocks_alone", _BLOCKS_ALONE)
        self._planning, self._reading = Ahead("plan", alone), Ahead("read", alone)
        self._chunk: Any = None  # the block that was read last
        self._chunk_who = np.empty(0, np.int32)
        self._chunk_at = 0
        if policy.filled:
            for slot in range(n_slots):
                self._replace(slot, exhausted=False)
        self._generator: Generator = self._samples() if self.takes else self._pull()

    def __iter__(self) -> MuxIterator:
        return self

    def __next__(self) -> Any:
        return next(self._generator)

    def close(self) -> None:
        """End the pass and close every open stream."""
        self._generator.close()
        self._close_streams()

    # -- pulled when due ----------------------------------------------------------------------------------------------

    def _pull(self) -> Generator:
        policy, holder, left, nexts = self._policy, self._holder, self._left, self._nexts
        try:
            while slots := policy.slots(_SLOTS_PULLED).tolist():
                for slot in slots:
                    while True:
                        try:
                            item = nexts[slot]()
                        except StopIteration:
                            # An item is still due: from what takes the slot, unless the slot has to be drawn anew.
                            if self._replace(slot, exhausted=True) and not policy.stale:
                                continue
                        except Exception as error:
                            error.add_note(f"raised by {self._where(slot, self._planned[slot] - self._left[slot])}")
                            raise
                        else:
                            self.position, self._slot = holder[slot], slot
                            left[slot] -= 1
                            yield item
                            if left[slot] <= 0:
                                self._replace(slot, exhausted=False)
                        break
                    if policy.stale:
                        break
        finally:
            self._close_streams()

    def _close_streams(self) -> None:
        self._reading.close()  # it waits for the other
        self._planning.close()
        close(self._reader)
        opened = [*self._iterators, *self._paused.values(), *self._shared.values()]
        self._iterators = [None] * len(self._iterators)
        self._paused, self._shared = {}, {}
        errors = []
        for iterator in opened:
            try:
                close(iterator)
            except Exception as error:  # the others must be closed as well
                errors.append(error)
        if errors:
            raise errors[0]

    def _replace(self, slot: int, exhausted: bool) -> bool:
        """End the visit in a slot and begin another; False if the slot has died."""
        stream = self._holder[slot]
        if stream >= 0:
            goes_on = self._policy.release(slot, stream, self._planned[slot] - self._left[slot], exhausted)
            self._holder[slot] = -1
            if not self.takes:
                self._put_away(slot, stream, goes_on, exhausted)
        if slot not in self._policy.alive:
            return False
        visit = self._policy.activate(slot)
        if visit is None:
            self._policy.bury(slot)
            return False
        self._holder[slot], n = visit
        self._planned[slot] = self._left[slot] = n
        if not self.takes:
            self._nexts[slot] = partial(self._first, slot)
        return True

    def _put_away(self, slot: int, stream: int, goes_on: bool, exhausted: bool) -> None:
        """Close the iterator of a visit, or pause it."""
        iterator = self._iterators[slot]
        self._iterators[slot] = None
        self._nexts[slot] = _nothing
        if iterator is not None and stream not in self._shared:
            if goes_on:
                self._paused[stream] = iterator
            else:
                close(iterator)
        if exhausted and self._streams[stream]._single_pass:
            self._policy.drop(stream)

    def _first(self, slot: int) -> Any:
        """Open the stream of a visit as late as possible: when its first item is due."""
        stream = self._holder[slot]
        iterator = self._paused.pop(stream, None)
        if iterator is None:
            iterator = self._shared.get(stream)
        if iterator is None:
            streamer = self._streams[stream]
            visit = self._visits[stream] = self._visits.get(stream, -1) + 1
            # a dict holds the stream that is due of a generator function, another one in each cycle
            one_cursor = streamer._one_cursor and not isinstance(self._streams, dict)
            start = streamer._start_endless if one_cursor else streamer._start
            try:
                iterator = start(mix(self._seed, stream), (*self._path, visit))
            except StopIteration as error:  # it would be taken for the end of the stream
                raise RuntimeError("the function of the stream raised StopIteration") from error
            if one_cursor:
                self._shared[stream] = iterator
        self._iterators[slot] = iterator
        self._nexts[slot] = iterator.__next__
        return next(iterator)

    @property
    def blocks(self) -> tuple[int, int] | None:
        """Blocks of files read and needed so far; None if nothing is read from files by the block."""
        read = getattr(self._reader, "blocks_read", None)
        return None if read is None else (read, self._reader.blocks_needed)

    def where(self) -> str:
        """Say which stream gave the last item, in which visit, and as which item of the visit."""
        return self._where(self._slot, self._planned[self._slot] - self._left[self._slot] - 1)

    def _where(self, slot: int, item: int) -> str:
        stream = self._holder[slot]
        name = "" if self._names is None else f" {self._names[stream]!r}"
        return f"stream{name} at position {stream}, visit {self._visits.get(stream, 0)}, item {item} of the visit"

    # -- read ahead by the block --------------------------------------------------------------------------------------

    def take(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return the next ``n`` samples, fewer at the end, as a batch and the positions of the streams that gave them.

        None when the mux has ended. A batch is a view of a block, unless it spans several.
        """
        start, stop = self._chunk_at, self._chunk_at + n
        who = self._chunk_who[start:stop]
        if len(who) == n:
            self._chunk_at = stop
            return self._reader.slice(self._chunk, start, stop), who
        batches, whos = [], []
        missing = n
        while True:
            start = self._chunk_at
            stop = self._chunk_at = min(start + missing, len(self._chunk_who))
            if stop > start:
                batches.append(self._reader.slice(self._chunk, start, stop))
                whos.append(self._chunk_who[start:stop])
                missing -= stop - start
            if not missing or (block := self._reading.next(self._read)) is None:
                break
            self._chunk, self._chunk_who = block
            self._chunk_at = 0
        if len(batches) > 1:
            return self._reader.join(batches), np.concatenate(whos)
        return (batches[0], whos[0]) if batches else None

    def _samples(self) -> Generator:
        reader = self._reader
        while (taken := self.take(_SAMPLES_TAKEN)) is not None:
            batch, who = taken
            for i, self.position in enumerate(who.tolist()):
                yield reader.sample(reader.slice(batch, i, i + 1))

    def _read(self) -> tuple[dict[str, Any], np.ndarray] | None:
        """Read the block that was planned."""
        located = self._planning.next(self._locate)
        return None if located is None else (self._reader.gather(located[0]), located[1])

    def _locate(self) -> tuple[Any, np.ndarray] | None:
        """Plan a block, and return where its samples lie and the positions of their streams."""
        plan = self._plan()
        return None if plan is None else self._reader.locate(*plan)

    def _plan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Plan the next draws; None when the mux has ended.

        Returns
        -------
        order : ndarray of shape (n_draws,)
            Places of the draws in time, slot after slot.
        streams, lengths : ndarrays of shape (n_runs,)
            Runs of draws, in the same order, that one stream gives: parts of visits.
        """
        policy = self._policy
        while True:
            size, self._block = self._block, min(2 * self._block, self._largest_block)  # a short fit plans little
            if policy.by_weight:
                return self._plan_race(size)
            slots = policy.slots(size)
            if not slots.size:
                return None
            if policy.n_slots <= 2**15:
                slots = slots.astype(np.int8 if policy.n_slots < 2**7 else np.int16)  # sorted by radix, much faster
            order = np.argsort(slots, kind="stable")
            if policy.assigns:
                return self._plan_assigned(order, np.bincount(slots, minlength=policy.n_slots))
            plan = self._plan_visits(slots, order)
            if len(plan[0]):
                return plan

    def _plan_assigned(self, order: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lay out all visits first, since their lengths do not depend on their streams, then give them streams."""
        policy = self._policy
        n_slots = len(counts)
        left = np.array(self._left)[:, None]
        counts = counts[:, None]
        ends = left
        while (short := int((counts - ends[:, -1:]).max())) >= 0:
            n_visits = policy.visits_for(short + 1)
            ends = np.hstack(
                [ends, ends[:, -1:] + np.cumsum(policy.lengths(n_slots * n_visits).reshape(n_slots, -1), 1)]
            )
        starts = np.hstack([np.zeros((n_slots, 1), ends.dtype), ends[:, :-1]])
        begun = starts <= counts  # the next visit begins when the last has given its last item
        last = begun.sum(axis=1) - 1
        lengths = (np.minimum(ends, counts) - starts)[begun]
        streams = np.empty(begun.shape, np.int64)
        streams[:, 0] = self._holder
        fresh = begun.copy()
        fresh[:, 0] = False
        slot, _ = np.nonzero(fresh)
        offsets = np.cumsum(counts) - counts[:, 0]
        streams[fresh] = policy.assign(slot, order[offsets[slot] + starts[fresh] - 1])
        everywhere = np.arange(n_slots)
        self._holder = streams[everywhere, last].tolist()
        self._left = (ends[everywhere, last] - counts[:, 0]).tolist()
        return order, streams[begun], lengths

    def _plan_race(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Plan with slots drawn by the weight of what they hold: each gives items at the times of a Poisson process.

        Of independent Poisson processes each next event is from one of them with probability proportional to its rate. They
        have no memory, so that events drawn beyond the end of a block may be forgotten.
        """
        policy, holder, left = self._policy, self._holder, self._left
        rng, rates = policy.rng, policy.rates
        streams: list[int] = []
        times: list[np.ndarray] = []
        race: list[tuple[float, int, np.ndarray]] = []

        def enter(slot: int, clock: float) -> None:
            gaps = rng.standard_exponential(min(left[slot], _RACE_EVENTS))
            events = clock + np.cumsum(gaps, out=gaps) / rates[holder[slot]]
            heapq.heappush(race, (float(events[-1]), slot, events))

        for slot in policy.alive:
            enter(slot, 0.0)
        n, clock = 0, 0.0
        while race and n < size:
            clock, slot, events = heapq.heappop(race)
            streams.append(holder[slot])
            times.append(events)
            n += len(events)
            left[slot] -= len(events)
            if left[slot] or self._replace(slot, exhausted=False):
                enter(slot, clock)
        for _, slot, events in race:
            events = events[: int(np.searchsorted(events, clock))]
            streams.append(holder[slot])
            times.append(events)
            left[slot] -= len(events)
        if not n:
            return None
        order = np.empty(sum(map(len, times)), np.intp)
        order[np.argsort(np.concatenate(times), kind="stable")] = np.arange(len(order))
        return order, np.array(streams), np.array([len(events) for events in times])

    def _plan_visits(self, slots: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Plan visit by visit, in the order in which visits end, since one end decides what the next may take."""
        holder, left, planned = self._holder, self._left, self._planned
        present, starts = np.unique(slots[order], return_index=True)
        turns = dict(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
        used = dict.fromkeys(turns, 0)
        runs: dict[int, tuple[list[int], list[int]]] = {slot: ([], []) for slot in turns}
        turn_over = self._policy.turn_over
        ends: list[tuple[int, int]] = []
        for slot, turn in turns.items():
            if holder[slot] < 0 and not self._replace(slot, exhausted=False):
                continue
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
            # what _replace does, without iterators to close: this loop runs once for each visit
            visit = turn_over(slot, stream, planned[slot])
            if visit is None:
                self._policy.bury(slot)
                holder[slot] = -1
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
        if len(order) < len(slots):  # draws of slots that died on the way
            there = np.zeros(len(slots), bool)
            there[order] = True
            order = (np.cumsum(there) - 1)[order]
        return (
            order,
            np.array([stream for run in runs.values() for stream in run[0]], np.int64),
            np.array([length for run in runs.values() for length in run[1]], np.int64),
        )


def _nothing() -> Any:
    raise StopIteration
