"""The loop of every mux: draw a slot, pull an item from the stream that it holds, replace the stream when its visit ends.

Streams that can give many samples at once (``Streamer._joint_reader``) are planned and read by the block
(``_read_ahead``). Others are pulled one item at a time, when it is due.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ._failures import RAISE, Failures, OnError, TooManyStreamErrors
from ._interrupts import pause
from ._passes import close, close_quietly
from ._plan import Planner
from ._policies import Policy
from ._random import mix
from ._read_ahead import Blocks, largest_block
from ._state import check_same, check_state, check_whole, pack, restore_iterator, save_iterator, unpack
from ._streamer import Streamer
from ._visits import UNTIL_EXHAUSTED

_SLOTS_PULLED = 1024


class MuxIterator:
    """A running pass of a mux.

    Attributes
    ----------
    position : int
        Position in the pool of the stream that gave the last item.
    takes : bool
        Whether :meth:`take` may be called: every stream gives samples by the block.
    failures : Failures
        Streams that failed, also those of muxes within.
    """

    _VERSION = 4

    def __init__(
        self,
        streams: Sequence[Streamer] | dict[int, Streamer],
        policy: Policy,
        seed: int,
        path: tuple[int, ...],
        names: Sequence[str] | None,
        reader: Any = None,
        rules: OnError | None = None,
        unsized: dict[int, Exception] | None = None,
    ) -> None:
        self.position = -1
        self._slot = 0
        self._streams = streams
        self._n_streams = None if isinstance(streams, dict) else len(streams)
        self._policy = policy
        self._seed = seed
        self._path = path
        self._names = names
        self.failures = Failures(rules or RAISE, names, self._n_streams)
        self.failures.visit = path
        self.takes = reader is not None
        self._unsized = dict(unsized or {})  # streams whose length could not be asked for
        self._tries: dict[int, tuple[tuple[int, int, int], int]] = {}  # the item tried again in a slot, how often
        self._stop = threading.Event()
        self._reader = reader
        n_slots = policy.n_slots
        planner = self._planner = Planner(policy, 0 if reader is None else largest_block(reader, policy.lam))
        self._holder, self._left, self._planned = planner.holder, planner.left, planner.planned
        self._iterators: list[Iterator | None] = [None] * n_slots
        self._nexts: list[Callable[[], Any]] = [_nothing] * n_slots
        self._opened = [(0, 0)] * n_slots  # number of the visit that opened the iterator, items given before this visit
        self._paused: dict[int, tuple[Iterator, int, int]] = {}  # and the same two numbers
        self._shared: dict[int, Iterator] = {}  # one cursor for all visits of a stream of samples
        self._visits: dict[int, int] = {}
        self._closing: list[Iterator] = []  # what is still to be closed, if an interrupt came in between
        self._slots: list[int] = []  # drawn for the next items, and how many of them are used up
        self._at = 0
        self._due = -1  # the slot that gave the last item, until its visit was looked after
        self._blocks = None if reader is None else Blocks(planner, reader, self.failures)
        if policy.filled:
            for slot in range(n_slots):
                self._replace(slot, exhausted=False)
        self._generator = self._run()

    def adopt_failures(self, parent: Failures, stream: int) -> None:
        """Note failures in the mux that holds this one at a position, before the first item."""
        self.failures.within(parent, stream)
        if self._reader is not None and self.failures.rules.handles and not self._reader.names_failures:
            # its own streams may fail as well: it has to start them one by one
            self.takes, self._reader, self._blocks = False, None, None
            for slot, held in enumerate(self._holder):
                self._nexts[slot] = _nothing if held < 0 else partial(self._first, slot)
            self._generator = self._run()

    def go_on_with_failures(self, earlier: Failures) -> None:
        """Go on with what earlier passes have noted, before the first item."""
        self.failures.same_as(earlier)

    def _note_unsized(self) -> None:
        """Set aside streams whose length could not be asked for."""
        unsized, self._unsized = self._unsized, {}
        for stream, error in unsized.items():
            if self.failures.is_aside(stream):
                continue
            if not self.failures.rules.handles:
                raise error
            self.failures.set_aside(stream, error, 0)

    def _run(self) -> Generator:
        return self._pull() if self._blocks is None else self._samples(self._blocks)

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
        self._note_unsized()
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
                        if self._takes_over(slot):
                            continue
                        slot = -1
                    except Exception as error:
                        if not self._handled(slot, error):
                            raise
                        if nexts[slot] is not _nothing or self._takes_over(slot):
                            continue
                        slot = -1
                    else:
                        self.position, self._slot = holder[slot], slot
                        self._at, self._due = at, slot
                        left[slot] -= 1
                        yield item
                    break
        finally:
            self._close_streams()

    def _close_streams(self) -> None:
        self._stop.set()
        self._stop = threading.Event()
        close(self._blocks)
        opened = [*self._iterators, *(iterator for iterator, _, _ in self._paused.values()), *self._shared.values()]
        self._closing += [iterator for iterator in opened if iterator is not None]
        self._iterators = [None] * len(self._iterators)
        self._paused, self._shared = {}, {}
        errors = []
        while self._closing:
            try:
                close(self._closing[0])
            except Exception as error:  # the others must be closed as well
                errors.append(error)
            del self._closing[:1]
        if errors:
            raise errors[0]

    def _takes_over(self, slot: int) -> bool:
        """Whether another stream takes the slot of an exhausted one and gives the item that is due; else a slot is drawn anew.

        In the modes that end, what is drawn by the weight of one stream is not another's to give.
        """
        return self._replace(slot, exhausted=True) and (self._policy.restarts or not self._policy.stale)

    def _replace(self, slot: int, exhausted: bool) -> bool:
        """End the visit in a slot and begin another; False if the slot has died."""
        stream = self._holder[slot]
        if stream >= 0:
            goes_on = self._planner.end(slot, exhausted)
            if not self.takes:
                self._put_away(slot, stream, goes_on, exhausted)
        if not self._planner.begin(slot):
            return False
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
                self._end_visit(slot, stream, iterator)
        if exhausted and self._streams[stream]._single_pass:
            self._policy.drop([stream])

    def _end_visit(self, slot: int, stream: int, iterator: Iterator) -> None:
        """Close the iterator of a visit that is over; what that raises is an error of its stream."""
        try:
            close(iterator)
        except Exception as error:
            n_given = self._planned[slot] - self._left[slot]
            if not self.failures.rules.handles or isinstance(error, TooManyStreamErrors):
                error.add_note(f"raised by {self._where(slot, n_given, stream)}, when it was closed")
                raise
            self._set_aside(stream, error, self._opened[slot][1] + n_given)

    def _first(self, slot: int) -> Any:
        """Open the stream of a visit as late as possible: when its first item is due."""
        stream = self._holder[slot]
        iterator: Any
        if self.failures.is_aside(stream):
            raise StopIteration
        visit, n_before = self._visits.get(stream, 0), 0
        if stream in self._paused:
            iterator, visit, n_before = self._paused.pop(stream)
            self._opened[slot] = visit, n_before
        elif stream in self._shared:
            iterator = self._shared[stream]
            self._opened[slot] = visit, 0
        else:
            visit = self._visits[stream] = self._visits.get(stream, -1) + 1
            self._opened[slot] = visit, 0
            iterator = self._open(stream, visit)
            if self._is_shared(stream):
                self._shared[stream] = iterator
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
            iterator = start(mix(self._seed, stream), (*self._path, visit))
        except StopIteration as error:  # it would be taken for the end of the stream
            raise RuntimeError("the function of the stream raised StopIteration") from error
        if (adopt := getattr(iterator, "adopt_failures", None)) is not None:
            adopt(self.failures, stream)
        return iterator

    # -- streams that fail --------------------------------------------------------------------------------------------

    def _handled(self, slot: int, error: Exception) -> bool:
        """Try the item that is due again, or set its stream aside; False if the error is to be raised."""
        rules, stream = self.failures.rules, self._holder[slot]
        item = self._planned[slot] - self._left[slot]
        if not rules.handles or isinstance(error, TooManyStreamErrors):
            error.add_note(f"raised by {self._where(slot, item, stream)}")
            return False
        visit, n_before = self._opened[slot]
        n_given = n_before + item
        old = self._iterators[slot]
        # such iterators have tried again themselves, and a running generator is gone
        once = hasattr(old, "adopt_failures") or self._streams[stream]._single_pass
        close_quietly(old)
        self._iterators[slot] = None
        place = (stream, visit, n_given)
        tried, n = self._tries.get(slot, (place, 0))
        n = n if tried == place else 0
        while n < rules.n_retries and not once:
            n += 1
            self.failures.note(stream, error, n_given)
            self._tries[slot] = place, n
            pause(self._stop, rules.delay(n))
            try:
                iterator = self._open(stream, visit)
                for _ in range(n_given):
                    next(iterator)
            except StopIteration:
                error = ValueError(
                    f"it had given {n_given} items before it failed, and gives fewer when it is read again"
                )
                continue
            except Exception as again:
                error = again
                continue
            self._iterators[slot], self._nexts[slot] = iterator, iterator.__next__
            return True
        self._set_aside(stream, error, n_given)
        return True

    def _set_aside(self, stream: int, error: Exception, n_given: int) -> None:
        """End all visits of a stream, and begin no more."""
        self._policy.drop([stream])
        close_quietly(self._shared.pop(stream, None))
        for slot, held in enumerate(self._holder):
            if held == stream:
                close_quietly(self._iterators[slot])
                self._iterators[slot], self._nexts[slot] = None, _nothing
        self.failures.set_aside(stream, error, n_given)

    def refuse_last(self, error: Exception) -> bool:
        """Set aside the stream that gave the last item, which cannot be used; False if the error is to be raised."""
        slot, stream = self._slot, self.position
        if not self.failures.rules.handles or self.takes or self._holder[slot] != stream:
            return False
        refuse = getattr(self._iterators[slot], "refuse_last", None)
        if refuse is not None:
            return refuse(error)
        _, n_before = self._opened[slot]
        self._set_aside(stream, error, n_before + self._planned[slot] - self._left[slot] - 1)
        return True

    @property
    def blocks(self) -> tuple[int, int] | None:
        """Blocks of files read and needed so far; None if nothing is read from files by the block."""
        read = getattr(self._reader, "blocks_read", None)
        return None if read is None else (read, self._reader.blocks_needed)

    def where(self) -> str:
        """Say which stream gave the last item, in which visit, and as which item of the visit."""
        slot = self._slot
        return self._where(slot, self._planned[slot] - self._left[slot] - 1, self._holder[slot])

    def _where(self, slot: int, item: int, stream: int) -> str:
        # of a stream that was paused, all items count since the visit that opened it
        visit, n_before = (self._visits.get(stream, 0), 0) if self.takes else self._opened[slot]
        return f"{self.name_of(stream)}, visit {visit}, item {n_before + item} of the visit"

    def name_of(self, position: int) -> str:
        """Say which stream is at a position of the pool."""
        name = "" if self._names is None else f" {self._names[position]!r}"
        return f"stream{name} at position {position}"

    def stream_at(self, position: int) -> Streamer:
        """Return the stream at a position of the pool."""
        return self._streams[position]

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
        before, reader, number = self._planner.snapshot(), None, 0
        if self._blocks is not None:
            before, reader, number = self._blocks.snapshot()
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
            **self._planner.pack(before),
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
            "reader": reader,
            "block_number": number,
            "at": 0 if self._blocks is None else self._blocks.at,
            "position": self.position,
            "failures": self.failures.state_dict(),
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
        self._check_numbers(state)
        self._generator.close()  # which would else close what is opened now when it is freed
        self._close_streams()
        self._seed = state["seed"]
        self.failures.load_state_dict(state["failures"])
        self._planner.load_state_dict(state)
        self._slot, self._due = state["slot"], state["due"]
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
        if self._blocks is not None:
            self._blocks.load_state_dict(state["reader"], state["block_number"], state["at"])
        self._generator = self._run()

    def _check_numbers(self, state: dict[str, Any]) -> None:
        n_slots, n_streams = self._policy.n_slots, 2**63 if self._n_streams is None else self._n_streams
        self._policy.refuse_another(state["policy"])
        check_whole("streams in slots", unpack(state["holder"]), -1, n_streams, n_slots)
        for name in ("left", "planned"):
            check_whole(f"items of visits ({name})", unpack(state[name]), 0, UNTIL_EXHAUSTED + 1, n_slots)
        check_whole("slots that were drawn", unpack(state["slots"]), 0, n_slots)
        check_whole("slots that are due", [state["slot"], state["due"]], -1, n_slots)
        check_whole("counts", [state["drawn"], state["block_number"], state["at"]], 0, 2**63)
        if len(state["iterators"]) != n_slots:
            raise ValueError(
                f"state is damaged: it has {len(state['iterators'])} iterators in {n_slots} slots. Begin anew."
            )

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

    # -- read by the block --------------------------------------------------------------------------------------------

    def take(self, n: int) -> tuple[dict[str, Any], np.ndarray] | None:
        """Return the next ``n`` samples, fewer at the end, as a batch and the positions of the streams that gave them.

        None when the mux has ended. A batch is a view of a block, unless it spans several.
        """
        assert self._blocks is not None
        if self._unsized:
            self._note_unsized()
        return self._blocks.take(n)

    def expect(self, n: float) -> None:
        """Note how many samples more will be taken, as far as is known: beyond them nothing is read ahead."""
        if self._blocks is not None:
            self._blocks.expect(n)

    def add_squares(self) -> None:
        """Add up the squares of floats where blocks are read, for :attr:`squares`."""
        if self._blocks is not None:
            self._blocks.add_squares()

    @property
    def squares(self) -> dict[str, float]:
        """Upper bounds of the sums of the squares of the parts of the last batch, of those for which they are known."""
        return {} if self._blocks is None else self._blocks.squares

    def _samples(self, blocks: Blocks) -> Generator:
        self._note_unsized()
        while (sample := blocks.next_sample()) is not None:
            item, self.position = sample
            yield item


def _nothing() -> Any:
    raise StopIteration
