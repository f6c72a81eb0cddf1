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

from ._policies import Policy
from ._random import mix
from ._streamer import Streamer, close

_SLOTS_PULLED = 1024
_BLOCK = 4096
_BLOCK_LIMIT = 65536
_AHEAD_BYTES = 2**22


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
        self._who = np.empty(0, np.intp)
        self._chunk: Any = None
        self._chunk_who = np.empty(0, np.intp)
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
                            self._annotate(error, slot)
                            raise
                        else:
                            self.position = holder[slot]
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
        opened = [*self._iterators, *self._paused.values(), *self._shared.values()]
        self._iterators = [None] * len(self._iterators)
        self._paused, self._shared = {}, {}
        for iterator in opened:
            close(iterator)

    def _replace(self, slot: int, exhausted: bool) -> bool:
        """End the visit in a slot and begin another; False if the slot has died."""
        stream = self._holder[slot]
        if stream >= 0:
            goes_on = self._policy.release(slot, stream, self._planned[slot] - self._left[slot], exhausted)
            iterator = self._iterators[slot]
            if iterator is not None and stream not in self._shared:
                if goes_on:
                    self._paused[stream] = iterator
                else:
                    close(iterator)
            if exhausted and self._streams[stream]._single_pass:
                self._policy.drop(stream)
            self._iterators[slot] = None
            self._holder[slot] = -1
            self._nexts[slot] = _nothing
        if slot not in self._policy.alive:
            return False
        visit = self._policy.activate(slot)
        if visit is None:
            self._policy.bury(slot)
            return False
        self._holder[slot], self._planned[slot] = visit
        self._left[slot] = self._planned[slot]
        self._nexts[slot] = partial(self._first, slot)
        return True

    def _first(self, slot: int) -> Any:
        """Open the stream of a visit as late as possible: when its first item is due."""
        stream = self._holder[slot]
        iterator = self._paused.pop(stream, None) or self._shared.get(stream)
        if iterator is None:
            streamer = self._streams[stream]
            visit = self._visits[stream] = self._visits.get(stream, -1) + 1
            start = streamer._start_endless if streamer._one_cursor else streamer._start
            iterator = start(mix(self._seed, stream), (*self._path, visit))
            if streamer._one_cursor:
                self._shared[stream] = iterator
        self._iterators[slot] = iterator
        self._nexts[slot] = iterator.__next__
        return next(iterator)

    def _annotate(self, error: Exception, slot: int) -> None:
        stream = self._holder[slot]
        name = "" if self._names is None else f" {self._names[stream]!r}"
        visit, item = self._visits.get(stream, 0), self._planned[slot] - self._left[slot]
        error.add_note(f"raised by stream{name} at position {stream}, visit {visit}, item {item} of the visit")

    # -- read ahead by the block --------------------------------------------------------------------------------------

    def take(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return the next ``n`` samples, fewer at the end, as a batch and the positions of the streams that gave them.

        None when the mux has ended.
        """
        if self._chunk_at >= len(self._chunk_who):
            # whole batches in one read, so that each is a view
            ahead = max(min(_BLOCK, _AHEAD_BYTES // max(self._reader.row_bytes, 1)) // n, 1) * n
            self._read(ahead)
            if not len(self._chunk_who):
                return None
        start = self._chunk_at
        stop = min(start + n, len(self._chunk_who))
        who = self._chunk_who[start:stop]
        batch = self._reader.rows(self._chunk, start, stop)
        self._chunk_at = stop
        self.position = int(who[-1])
        if len(who) == n:
            return batch, who
        rest = self.take(n - len(who))
        if rest is None:
            return batch, who
        return self._reader.join(batch, rest[0]), np.concatenate([who, rest[1]])

    def _samples(self) -> Generator:
        while (taken := self.take(1)) is not None:
            yield self._reader.sample(taken[0])

    def _read(self, n: int) -> None:
        parts, n_planned = [self._who], len(self._who)
        while n_planned < n:
            part = self._plan()
            if not part.size:
                break
            parts.append(part)
            n_planned += part.size
        who = np.concatenate(parts)
        self._who, who = who[n:], who[:n]
        self._chunk = self._reader.read(who) if who.size else None
        self._chunk_who, self._chunk_at = who, 0

    def _plan(self) -> np.ndarray:
        """Return the positions of the streams that give the next items, in order; none when the mux has ended."""
        policy = self._policy
        while True:
            size = min(max(_BLOCK, 64 * policy.n_slots), _BLOCK_LIMIT)
            slots = policy.slots(size)
            if not slots.size:
                return slots
            # int16 is sorted by radix, several times as fast
            keys = slots.astype(np.int16) if policy.n_slots <= 2**15 else slots
            order = np.argsort(keys, kind="stable")
            present, starts = np.unique(slots[order], return_index=True)
            turns = dict(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
            who = np.full(len(slots), -1, np.intp)
            n = self._plan_independent(turns, who) if policy.independent else self._plan_visits(turns, who)
            who = who[:n]
            who = who[who >= 0]  # draws of slots that died on the way
            if who.size:
                return who

    def _plan_visits(self, turns: dict[int, np.ndarray], who: np.ndarray) -> int:
        """Fill ``who`` visit by visit, in the order in which visits end, since one end decides what the next may take."""
        policy, holder, left = self._policy, self._holder, self._left
        used = dict.fromkeys(turns, 0)
        runs: dict[int, tuple[list[int], list[int]]] = {slot: ([], []) for slot in turns}
        ends: list[tuple[int, int]] = []
        for slot, turn in turns.items():
            if holder[slot] < 0 and not self._replace(slot, exhausted=False):
                continue
            if left[slot] <= len(turn):
                ends.append((int(turn[left[slot] - 1]), slot))
        heapq.heapify(ends)
        n = len(who)
        while ends:
            end, slot = heapq.heappop(ends)
            run = runs[slot]
            run[0].append(holder[slot])
            run[1].append(left[slot])
            used[slot] += left[slot]
            left[slot] = 0
            alive = self._replace(slot, exhausted=False)
            if policy.stale:
                n = end + 1
                break
            turn = turns[slot]
            if alive and used[slot] + left[slot] <= len(turn):
                heapq.heappush(ends, (int(turn[used[slot] + left[slot] - 1]), slot))
        for slot, turn in turns.items():
            in_block = len(turn) if n == len(who) else int(np.searchsorted(turn, n))
            streams, lengths = runs[slot]
            unfinished = in_block - used[slot]
            if holder[slot] >= 0 and unfinished > 0:
                streams.append(holder[slot])
                lengths.append(unfinished)
                left[slot] -= unfinished
                used[slot] += unfinished
            if streams:
                who[turn[: used[slot]]] = np.repeat(streams, lengths)
        return n

    def _plan_independent(self, turns: dict[int, np.ndarray], who: np.ndarray) -> int:
        """Fill ``who`` with visits drawn all at once, slot after slot."""
        holder, left = self._holder, self._left
        fresh = sum(max(len(turn) - left[slot], 0) for slot, turn in turns.items())
        streams, ends = self._draw_enough(fresh, len(turns))
        at = 0  # visits used
        for slot, turn in turns.items():
            old = min(left[slot], len(turn))
            who[turn[:old]] = holder[slot]
            left[slot] -= old
            need = len(turn) - old
            if not need:
                continue
            start = int(ends[at - 1]) if at else 0
            last = int(np.searchsorted(ends, start + need))
            lengths = np.diff(ends[at : last + 1], prepend=start)
            lengths[-1] -= ends[last] - (start + need)
            who[turn[old:]] = np.repeat(streams[at : last + 1], lengths)
            holder[slot] = int(streams[last])
            left[slot] = int(ends[last]) - (start + need)
            at = last + 1
        return len(who)

    def _draw_enough(self, n_items: int, n_slots: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw visits for ``n_items`` items in ``n_slots`` slots, whose last visits overlap the block."""
        streams, lengths = self._policy.draw_visits(64)
        total = int(lengths.sum())
        parts = [(streams, lengths)]
        longest = int(lengths.max())
        # Each slot may leave a part of its last visit unused.
        while total < n_items + n_slots * longest:
            missing = n_items + n_slots * longest - total
            streams, lengths = self._policy.draw_visits(int(missing * len(lengths) / max(int(lengths.sum()), 1)) + 16)
            parts.append((streams, lengths))
            total += int(lengths.sum())
            longest = max(longest, int(lengths.max()))
        return np.concatenate([part[0] for part in parts]), np.cumsum(np.concatenate([part[1] for part in parts]))


def _nothing() -> Any:
    raise StopIteration
