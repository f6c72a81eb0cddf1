"""The loop of every mux: draw a slot, pull an item from the stream that it holds, replace the stream when its visit ends.

Streams that can give many samples at once (``Streamer._joint_reader``) are planned ahead: the same slots and the same
visits, worked out for a block of draws, and one read for all of it. Others are pulled one item at a time, when it is due.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ._ahead import Ahead
from ._policies import Policy
from ._random import mix
from ._state import check_same, check_state, pack, restore_iterator, save_iterator, unpack
from ._streamer import Streamer, close

_SLOTS_PULLED = 1024
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

    _VERSION = 1

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
        self._n_streams = None if isinstance(streams, dict) else len(streams)
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
        self._opened = [(0, 0)] * n_slots  # number of the visit that opened the iterator, items given before this visit
        self._paused: dict[int, tuple[Iterator, int, int]] = {}  # and the same two numbers
        self._shared: dict[int, Iterator] = {}  # one cursor for all visits of a stream of samples
        self._visits: dict[int, int] = {}
        self._slots: list[int] = []  # drawn for the next items, and how many of them are used up
        self._at = 0
        self._due = -1  # the slot that gave the last item, until its visit was looked after
        self._largest_block = 0 if reader is None else max(min(_BLOCK, _BLOCK_BYTES // max(reader.row_bytes, 1)), 64)
        self._block = min(_FIRST_BLOCK, self._largest_block)
        alone = getattr(reader, "blocks_alone", _BLOCKS_ALONE)
        self._planning, self._reading = Ahead("plan", alone), Ahead("read", alone)
        self._chunk: Any = None  # the block that was read last
        self._chunk_who = np.empty(0, np.int32)
        self._chunk_at = 0
        self._planned_from: deque[tuple[dict[str, Any], Any]] = (
            deque()
        )  # what was before each block that is not used up
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
        slots, at, slot = self._slots, self._at, self._due
        try:
            while True:
                if slot >= 0 and left[slot] <= 0:
                    self._replace(slot, exhausted=False)
                if policy.stale or at == len(slots):
                    slots = self._slots = policy.slots(_SLOTS_PULLED).tolist()
                    if not slots:
                        return
                    at = 0
                slot = slots[at]
                at += 1
                while True:
                    try:
                        item = nexts[slot]()
                    except StopIteration:
                        # An item is still due: from what takes the slot, unless the slot has to be drawn anew.
                        if self._replace(slot, exhausted=True) and not policy.stale:
                            continue
                        slot = -1
                    except Exception as error:
                        error.add_note(f"raised by {self._where(slot, self._planned[slot] - left[slot])}")
                        raise
                    else:
                        self.position, self._slot = holder[slot], slot
                        self._at, self._due = at, slot
                        left[slot] -= 1
                        yield item
                    break
        finally:
            self._close_streams()

    def _close_streams(self) -> None:
        self._reading.close()  # it waits for the other
        self._planning.close()
        close(self._reader)
        opened = [*self._iterators, *(iterator for iterator, _, _ in self._paused.values()), *self._shared.values()]
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
                visit, n_before = self._opened[slot]
                self._paused[stream] = iterator, visit, n_before + self._planned[slot] - self._left[slot]
            else:
                close(iterator)
        if exhausted and self._streams[stream]._single_pass:
            self._policy.drop(stream)

    def _first(self, slot: int) -> Any:
        """Open the stream of a visit as late as possible: when its first item is due."""
        stream = self._holder[slot]
        iterator: Any
        visit, n_before = self._visits.get(stream, 0), 0
        if stream in self._paused:
            iterator, visit, n_before = self._paused.pop(stream)
        elif stream in self._shared:
            iterator = self._shared[stream]
        else:
            visit = self._visits[stream] = self._visits.get(stream, -1) + 1
            iterator = self._open(stream, visit)
            if self._is_shared(stream):
                self._shared[stream] = iterator
        self._opened[slot] = visit, n_before
        self._iterators[slot] = iterator
        self._nexts[slot] = iterator.__next__
        return next(iterator)

    def _is_shared(self, stream: int) -> bool:
        # a dict holds the stream that is due of a generator function, another one in each cycle
        return self._streams[stream]._one_cursor and not isinstance(self._streams, dict)

    def _open(self, stream: int, visit: int) -> Iterator:
        streamer = self._streams[stream]
        start = streamer._start_endless if self._is_shared(stream) else streamer._start
        try:
            return start(mix(self._seed, stream), (*self._path, visit))
        except StopIteration as error:  # it would be taken for the end of the stream
            raise RuntimeError("the function of the stream raised StopIteration") from error

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

    # -- saved and resumed --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass stands, as a JSON-able dict of fixed shape.

        Raises
        ------
        TypeError
            If a running generator is among the streams: it cannot be started again.
        """
        if not self.takes:
            self._refuse_running_generators()
        self._reading.settle()
        self._planning.settle()
        before, moves = self._snapshot(), []
        if self._planned_from:  # blocks that are not used up are planned again from what was before them
            before, moves = self._planned_from[0][0], [moved for _, moved in self._planned_from]
        slots = self._slots[self._at :]
        iterators: list[dict[str, Any] | None] = []
        for slot, iterator in enumerate(self._iterators):
            if iterator is None or self._holder[slot] in self._shared:
                iterators.append(None)
                continue
            visit, n_before = self._opened[slot]
            n_given = n_before + self._planned[slot] - self._left[slot]
            iterators.append({"visit": visit, **save_iterator(iterator, n_given)})
        return {
            "kind": "mux",
            "version": self._VERSION,
            "n_streams": self._n_streams,
            "takes": self.takes,
            "seed": self._seed,
            "policy": self._policy.pack(before["policy"]),
            **{name: pack(before[name]) for name in ("holder", "left", "planned", "block")},
            "visits": pack([list(self._visits), list(self._visits.values())]),
            "slots": pack(slots),
            "slot": self._slot,
            "due": self._due,
            "iterators": iterators,
            "paused": [
                [stream, {"visit": visit, **save_iterator(iterator, n_given)}]
                for stream, (iterator, visit, n_given) in self._paused.items()
            ],
            "shared": [[stream, {"visit": 0, **save_iterator(cursor, 0)}] for stream, cursor in self._shared.items()],
            "reader": None if self._reader is None else self._reader.state_dict(moves),
            "at": self._chunk_at,
            "position": self.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved, in an iterator of an equal mux.

        Raises
        ------
        ValueError
            If the state is of something else, or the streams have changed.
        """
        check_state(state, "mux", self._VERSION, self.state_dict().keys() - {"kind", "version"})
        check_same(state, "a mux", n_streams=self._n_streams, takes=self.takes)
        self._close_streams()
        self._seed = state["seed"]
        self._policy.load_state_dict(state["policy"])
        self._holder, self._left, self._planned = (unpack(state[name]) for name in ("holder", "left", "planned"))
        self._block, self._slot, self._due = state["block"], state["slot"], state["due"]
        self._visits = dict(zip(*unpack(state["visits"]), strict=True))
        self._slots, self._at = unpack(state["slots"]), 0
        self.position = state["position"]
        self._shared = {stream: self._restored(stream, saved)[0] for stream, saved in state["shared"]}
        self._paused = {stream: self._restored(stream, saved) for stream, saved in state["paused"]}
        for slot, saved in enumerate(state["iterators"]):
            stream = self._holder[slot]
            self._nexts[slot] = _nothing if stream < 0 else partial(self._first, slot)
            if saved is not None:
                iterator, visit, n_given = self._restored(stream, saved)
                self._opened[slot] = visit, n_given - (self._planned[slot] - self._left[slot])
                self._iterators[slot], self._nexts[slot] = iterator, iterator.__next__
        self._planned_from.clear()
        self._chunk, self._chunk_who, self._chunk_at = None, np.empty(0, np.int32), 0
        self._generator = self._samples() if self.takes else self._pull()
        if self._reader is not None:
            self._reader.load_state_dict(state["reader"])
            if state["at"] and not self._next_chunk():
                raise ValueError("the streams end before the place where the state was saved: their data has changed.")
            self._chunk_at = state["at"]

    def _snapshot(self) -> dict[str, Any]:
        """Return copies of what a plan changes, except the cursors of the reader."""
        return {
            "policy": self._policy.snapshot(),
            "holder": self._holder.copy(),
            "left": self._left.copy(),
            "planned": self._planned.copy(),
            "block": self._block,
        }

    def _refuse_running_generators(self) -> None:
        for stream in self._streams if isinstance(self._streams, dict) else range(len(self._streams)):
            if self._streams[stream]._single_pass:
                raise TypeError(
                    f"stream at position {stream} is a running generator, which has no state: make a Streamer of its function "
                    "to resume it."
                )

    def _restored(self, stream: int, saved: dict[str, Any]) -> tuple[Iterator, int, int]:
        visit, n_given = saved["visit"], saved["n_items"]
        name = f"stream {stream if self._names is None else self._names[stream]!r}"
        return restore_iterator(lambda: self._open(stream, visit), saved, name), visit, n_given

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
            if not missing or not self._next_chunk():
                break
        if len(batches) > 1:
            return self._reader.join(batches), np.concatenate(whos)
        return (batches[0], whos[0]) if batches else None

    def _samples(self) -> Generator:
        reader = self._reader
        while self._chunk_at < len(self._chunk_who) or self._next_chunk():
            at = self._chunk_at
            self._chunk_at = at + 1
            self.position = int(self._chunk_who[at])
            yield reader.sample(reader.slice(self._chunk, at, at + 1))

    def _next_chunk(self) -> bool:
        """Read the next block, now that the last one is used up; False if there is none."""
        if (block := self._reading.next(self._read)) is None:
            return False
        if self._chunk is not None:
            self._planned_from.popleft()
        self._chunk, self._chunk_who = block
        self._chunk_at = 0
        return True

    def _read(self) -> tuple[dict[str, Any], np.ndarray] | None:
        """Read the block that was planned."""
        located = self._planning.next(self._locate)
        return None if located is None else (self._reader.gather(located[0]), located[1])

    def _locate(self) -> tuple[Any, np.ndarray] | None:
        """Plan a block, and return where its samples lie and the positions of their streams."""
        before = self._snapshot()
        plan = self._plan()
        if plan is None:
            return None
        located = self._reader.locate(*plan)
        self._planned_from.append((before, self._reader.moved))
        return located

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
