"""Reads samples of many block streams: which windows they lie in, which of these are held, and which are read ahead."""

from __future__ import annotations

import functools
import threading
import warnings
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ._block_source import BlockSource, Note, read_block
from ._cursors import CursorReader, Runs, pass_key
from ._interrupts import wait_for
from ._memory import Memory
from ._permute import counted_from, permutation
from ._pieces import Pieces
from ._prefetch import Prefetcher
from ._random import mix32
from ._rows import is_frame, n_rows, row_bytes, take_into_rows
from ._together import Together
from ._windows import Layout, Window

# A mux plans as many samples at once as have 12 MB: here at most 16384, since the windows that they lie in are held meanwhile;
# half as many more where threads read ahead, which hold more anyway.
_LEAST_ROW_BYTES, _LEAST_AHEAD = 768, 512
_BLOCKS_AHEAD = 4
_SOON = 8192  # samples
_READ_TOO_OFTEN = 4
_FEW_READS = 32


class BlockReader(CursorReader):
    """Reads samples from many block streams.

    Windows are decoded when a sample of theirs is due, or before, in threads. One whose samples are all given is dropped at
    once; others are kept for as long as the cache has room, the longest unused one leaving first.

    Threads hand the interpreter over to each other at every step, and reading is limited by memory as well: so locating has none
    of its own, and gathering none where nothing else is done. There a thread reads some of the windows that are missing, of
    sources that leave the interpreter alone. Threads that prefetch know some blocks before what is due.

    Attributes
    ----------
    blocks_needed : int
        Blocks of which a sample was due, once for each pass over their stream.
    blocks_read : int
        Blocks that were read: more, if blocks left the cache before they were given out.
    """

    blocks_alone = 8
    least_read_ahead = 0.25  # a thread asks for the interpreter at every step
    most_read_ahead = 0.8
    caller_plans = False
    many_visits = 16

    def __init__(self, streams: Sequence[Any], seed: int, sizes: np.ndarray | None = None) -> None:
        n = len(streams)
        if sizes is None:
            sizes = np.fromiter((stream._n_samples for stream in streams), np.int64, n)
        super().__init__(sizes, np.fromiter((stream._shuffle for stream in streams), bool, n), seed)
        self._streams = streams
        self._parts = streams[0]._source.parts if n else ()
        self._cache_bytes = max((stream._cache_bytes for stream in streams), default=0)
        n_threads = max((stream._prefetch for stream in streams), default=0)
        self._prefetcher = Prefetcher(n_threads) if n_threads else None
        self.n_ahead = _BLOCKS_AHEAD if n_threads else 1
        self._can_share = not n_threads and all(stream._source.reads_together for stream in streams)
        self._shared_calls: Together | None = None
        self._layouts: dict[int, Layout] = {}
        self._windows: dict[tuple[int, int, int], Window] = {}  # those that have more to give
        self._cached: OrderedDict[int, Window] = OrderedDict()
        self._n_bytes = 0
        self._n_pinned = 0  # about how many bytes those have that were located and not gathered yet
        self._lock = threading.Lock()
        self._memory = Memory()  # of windows: it is used again without being given back
        self._shared: dict[int, set[Hashable]] = {}  # per pass, blocks that several streams read
        self._first: tuple[dict[str, Any], str] | None = None  # the first block's kinds of rows, and where it lies
        self._lost: set[int] = set()  # streams that have failed
        self._keepers: dict[int, Any] = {}  # of what was read
        self.blocks_needed = self.blocks_read = 0
        self._warned = False
        least = _LEAST_AHEAD if n_threads else _LEAST_ROW_BYTES
        self.row_bytes = max([least, *{stream._source.row_bytes for stream in streams}])

    def close(self) -> None:
        """Forget what was read or is still to be read ahead, and close what was kept open for it."""
        if self._prefetcher is not None:
            self._prefetcher.close()
        if self._shared_calls is not None:  # an interrupt came before that was done
            self._shared_calls.close()
        for keeper in self._keepers.values():
            keeper.close()
        self._keepers.clear()
        with self._lock:
            self._windows.clear()
            self._cached.clear()
            self._layouts.clear()
            self._n_bytes = self._n_pinned = 0
            self._lost.clear()
            self._memory = Memory()

    def move_back(self, moved: Any) -> None:
        super().move_back(moved)
        with self._lock:  # what was given of windows that are at hand; of others it is found out anew
            for (stream, number, w), window in self._windows.items():
                layout = self._layout(stream, number)
                is_under_way = number == self._passes[stream]
                window.given = max(int(self._places[stream] - layout.starts[w]), 0) if is_under_way else 0

    def _find(self, runs: Runs, order: np.ndarray) -> tuple[list[Window], Pieces]:
        """Return windows, and what is due of them."""
        # all places of all streams on one line, so that runs are cut where windows end without a look at each stream
        room = int(runs.ends.max()) + int(self._sizes[runs.present].max())
        windows, begins, ends = self._due(runs, room)
        at = runs.places + room * np.searchsorted(runs.present, runs.streams)
        first, last = (np.searchsorted(begins, edge, side="right") - 1 for edge in (at, at + runs.lengths - 1))
        n_pieces = last - first + 1
        run, which = np.repeat(np.arange(len(at)), n_pieces), counted_from(first, n_pieces)
        start = np.maximum(at[run], begins[which])
        lengths = np.minimum((at + runs.lengths)[run], ends[which]) - start
        return windows, Pieces(which, start - begins[which], lengths, order)

    def _due(self, runs: Runs, room: int) -> tuple[list[Window], np.ndarray, np.ndarray]:
        """Return the windows of which samples are due, and where each begins and ends, with so much room for each stream."""
        windows: list[Window] = []
        edges: list[tuple[int, int]] = []
        of_streams = zip(runs.present.tolist(), runs.begins.tolist(), runs.ends.tolist(), strict=True)
        for i, (stream, at, end) in enumerate(of_streams):
            size, number = int(self._sizes[stream]), int(self._passes[stream])
            while at < end:
                later, place = divmod(at, size)
                layout = self._layout(stream, number + later)
                w = layout.at(place)
                begin, stop = (later * size + edge for edge in layout.starts[w : w + 2].tolist())
                edges.append((i * room + begin, i * room + stop))
                windows.append(self._pin(stream, layout, w, min(stop, end) - at))
                at = stop
        begins, ends = np.array(edges).T
        return windows, begins, ends

    def _layout(self, stream: int, number: int) -> Layout:
        layout = self._layouts.get(stream)
        if layout is None or layout.number != number:
            streamer = self._streams[stream]
            key = int(mix32(self._keys[stream : stream + 1] ^ pass_key(np.array([number])))[0])
            layout = Layout(streamer._source.rows(), streamer._window or 1, key, streamer._shuffle, number)
            self._layouts[stream] = layout
        return layout

    def _pin(self, stream: int, layout: Layout, w: int, count: int) -> Window:
        """Return a window of which ``count`` samples are due, and have it read."""
        with self._lock:
            window = self._window(stream, layout, w)
            if not window.given:
                self._count(window, layout.number)
            self._n_pinned += 0 if window.n_pins else _bytes_of(window)
            window.n_pins += 1
            window.given += count
            if window.given == window.size:
                del self._windows[stream, layout.number, w]
                if layout.starts[-1] == layout.starts[w + 1]:
                    self._layouts.pop(stream, None)
            self._submit(window)
        return window

    def expect(self, streams: Sequence[int], left: Sequence[int]) -> None:
        if self._prefetcher is None:
            return
        with self._lock:
            for stream, n in zip(streams, left, strict=True):
                if stream < 0 or n <= 0:
                    continue
                place = int(self._places[stream])
                layout = self._layout(stream, int(self._passes[stream]))
                w = layout.at(place)
                window = self._window(stream, layout, w)
                self._submit(window)
                # Streams that begin together end their windows together: what begins early is spread over the time between.
                rest = int(layout.starts[w + 1]) - place
                if rest < n and rest <= max(window.size // 2, _SOON) and w + 2 < len(layout.starts):
                    self._submit(self._window(stream, layout, w + 1))

    def has_room(self) -> bool:
        return self._n_pinned <= self._cache_bytes

    def _window(self, stream: int, layout: Layout, w: int) -> Window:
        name = (stream, layout.number, w)
        window = self._windows.get(name)
        if window is None:
            blocks = layout.order[layout.cuts[w] : layout.cuts[w + 1]].tolist()
            size = int(layout.starts[w + 1] - layout.starts[w])
            key = layout.key(w) if self._shuffled[stream] else None
            begin = int(layout.number * self._sizes[stream] + layout.starts[w])
            window = Window(stream, self._streams[stream]._source, begin, blocks, size, key)
            self._windows[name] = window
            if layout.number == self._passes[stream]:  # a pass that goes on from a state may begin within a window
                window.given = max(int(self._places[stream] - layout.starts[w]), 0)
        return window

    def _submit(self, window: Window) -> None:
        if self._prefetcher is None or window.stream in self._lost:
            return
        if window.columns is None and window.future is None:
            window.future = self._prefetcher.submit(lambda: self._read(window))

    def _count(self, window: Window, number: int) -> None:
        for block in window.blocks:
            identity = window.source.identity(block)
            if identity is None:
                self.blocks_needed += 1
                continue
            if number not in self._shared:
                self._shared[number] = set()
                if len(self._shared) > 2:
                    del self._shared[min(other for other in self._shared if other != number)]
            if identity not in self._shared[number]:
                self._shared[number].add(identity)
                self.blocks_needed += 1

    def _read(self, window: Window) -> dict[str, Any]:
        """Return the rows of a window in the order in which they are given: passes then go through memory step by step."""
        n = window.size
        places = np.arange(n, dtype=np.int64) if window.key is None else permutation(n, window.key)
        alone = places if len(window.blocks) == 1 else None
        keeper = window.source.keeper
        if keeper is not None:
            with self._lock:
                is_new = id(keeper) not in self._keepers
                self._keepers[id(keeper)] = keeper
            if is_new:
                keeper.expect(self.n_active)
        n_before = window.source.n_read()
        parts: dict[str, list[Any]] = {name: [] for name in self._parts}
        for block in window.blocks:
            with self._memory:
                columns = read_block(window.source, block, alone)
            kinds = {name: _kind(columns[name]) for name in self._parts}
            # the first block of a window is compared with other windows when it is due, in an order that no thread changes
            first = kinds, f"stream {window.source.name!r}, {window.source.where(block)}"
            window.first = first if window.first is None else window.first
            _refuse_other_kinds(kinds, window.first, window.source, block)
            for name in self._parts:
                parts[name].append(columns[name])
            del columns  # each part is given back as soon as it is mixed
        with self._lock:
            self.blocks_read += len(window.blocks) if n_before is None else window.source.n_read() - n_before
        if alone is not None:
            return {name: values for name, (values,) in parts.items()}
        with self._memory:
            sizes = window.source.rows()[window.blocks]
            pieces = Pieces(np.arange(len(sizes)), np.zeros_like(sizes), sizes, places)
            return {name: pieces.gather(parts.pop(name)) for name in self._parts}

    def gather(self, where: Any) -> dict[str, Any]:
        batch, _ = self.gather_good(where, None)
        assert batch is not None  # without a guard an error is raised
        return batch

    def gather_good(self, where: Any, guard: Any) -> tuple[dict[str, Any] | None, np.ndarray | None]:
        windows, pieces = where
        if self._prefetcher is not None and any(window.future is not None for window in windows):
            self._prefetcher.refuse_forked()  # it is no error of a stream, which a guard would handle
        tables, skipped = self._tables(windows, pieces.counts(len(windows)), guard)
        pieces, kept = Pieces(pieces.which, pieces.starts - skipped[pieces.which], pieces.lengths, pieces.order), None
        if None in tables:
            pieces, kept = pieces.of(np.array([columns is not None for columns in tables]))
        good = [columns for columns in tables if columns is not None]
        batch = {name: pieces.gather([columns[name] for columns in good]) for name in self._parts} if good else None
        with self._lock:
            for window in list(self._cached.values()):
                if self._n_bytes <= self._cache_bytes:
                    break
                if not window.n_pins:
                    self._drop(window)
        self._warn_if_read_too_often()
        return batch, kept

    def _tables(
        self, windows: list[Window], counts: list[int], guard: Any
    ) -> tuple[list[dict[str, Any] | None], np.ndarray]:
        """Return the rows of windows, None of what cannot be read, and how many of their first rows are left out."""
        tables: list[dict[str, Any] | None] = [None] * len(windows)
        skipped = np.zeros(len(windows), np.int64)
        missing = [i for i, window in enumerate(windows) if window.columns is None]

        def read(i: int) -> None:
            window, n = windows[i], counts[i]
            if guard is None:
                columns = self._columns(window)
            else:
                columns = guard.read(window.stream, window.begin, functools.partial(self._columns, window))
            if columns is None:
                self._lose(window.stream)
            elif missing and window.n_pins == 1 and window.given == window.size > n:
                skipped[i] = window.size - n
                rest = np.arange(window.size - n, window.size)
                columns = {name: take_into_rows(values, rest) for name, values in columns.items()}
            tables[i] = columns
            self._unpin(window)

        # What is at hand comes first: the rest of a window that ends is copied, to make room before others are read. Once all of
        # a window is located, and nothing before it waits, what is due are its last rows.
        for i in sorted(set(range(len(windows))).difference(missing)):
            read(i)
        with self._sharing([windows[i] for i in missing]):
            for i in missing:
                read(i)
        return tables, skipped

    @contextmanager
    def _sharing(self, windows: list[Window]) -> Iterator[None]:
        """Have a thread read some of these windows, which are asked for meanwhile, if nobody else wants the core."""
        others = [window for window in windows[1:] if window.stream not in self._lost]
        if not (self._can_share and self.is_waited_for and others):
            yield
            return
        self._shared_calls = calls = Together(self._read, others)
        try:
            calls.begin()
            yield
        finally:
            calls.close()
            self._shared_calls = None

    def _unpin(self, window: Window) -> None:
        with self._lock:
            window.n_pins -= 1
            self._n_pinned -= 0 if window.n_pins else _bytes_of(window)
            if not window.n_pins and window.given == window.size:
                self._drop(window)

    def _lose(self, stream: int) -> None:
        """Keep nothing that was read ahead of a stream of which no more is wanted, and read no more of it ahead."""
        if stream in self._lost:
            return
        with self._lock:
            self._lost.add(stream)
            for window in self._windows.values():
                if window.stream == stream:
                    window.future = None

    def _columns(self, window: Window) -> dict[str, Any]:
        columns = window.columns
        if columns is None:
            try:
                if (future := window.future) is not None:
                    wait_for(future)
                    columns = future.result()
                elif self._shared_calls is not None:
                    columns = self._shared_calls.result(window)
                else:
                    columns = self._read(window)
                # what lies there may have changed since the pool was made
                self._first = window.first if self._first is None else self._first
                _refuse_other_kinds(window.first[0], self._first, window.source, window.blocks[0])  # type: ignore[index]
            except Exception:
                window.future = None  # it is read anew if it is asked for again
                raise
        with self._lock:
            if window.columns is None:
                window.columns, window.future = columns, None
                window.n_bytes = sum(map(_size, columns.values()))
                self._n_bytes += window.n_bytes
                self._cached[id(window)] = window
            else:
                self._cached.move_to_end(id(window))
        return columns

    def _drop(self, window: Window) -> None:
        if window.columns is not None:
            window.columns = None
            self._n_bytes -= window.n_bytes
            del self._cached[id(window)]

    def _warn_if_read_too_often(self) -> None:
        if self._warned or self.blocks_read < max(_FEW_READS, _READ_TOO_OFTEN * self.blocks_needed):
            return
        self._warned = True
        if self._shared:
            advice = (
                "the rows of a stream lie in blocks that other streams share: sort or partition the files by group_by"
            )
        else:
            advice = (
                "visits end long before blocks are used up, and more blocks wait than the cache holds: a larger lam "
                f"(lam=None reads each block once), smaller blocks, or a larger cache_bytes (now {self._cache_bytes}) avoid that"
            )
        warnings.warn(
            f"blocks are read again and again: {self.blocks_read} reads of {self.blocks_needed} blocks; {advice}.",
            UserWarning,
            stacklevel=2,
        )


def _bytes_of(window: Window) -> int:
    """About how many bytes a window has, also before it is read."""
    return window.size * window.source.row_bytes


def _refuse_other_kinds(kinds: dict[str, str], first: Any, source: BlockSource, block: int) -> None:
    """Refuse a block that cannot be joined with the first one."""
    if kinds == first[0]:
        return
    name = next(name for name in kinds if kinds[name] != first[0][name])
    with Note(source, block):
        raise ValueError(
            f"{name} has rows of {kinds[name]}, but of {first[0][name]} in {first[1]}: they cannot be mixed into one batch."
        )


def _kind(values: Any) -> str:
    """Say of what shape rows are, and whether they are numbers: only rows that are alike can be joined."""
    if is_frame(values):
        return f"a DataFrame with the columns {list(values.columns)}"
    dtype = getattr(values, "dtype", None)
    number = getattr(dtype, "kind", "O") in "fiub"
    return f"shape {getattr(values, 'shape', (0,))[1:]} and {'numbers' if number else 'what is no number'}"


def _size(values: Any) -> int:
    """Bytes that decoded values hold."""
    if isinstance(values, np.ndarray):
        return values.nbytes
    if is_frame(values) and hasattr(values, "memory_usage"):
        return int(values.memory_usage(deep=True).sum())
    return row_bytes(values) * n_rows(values)
