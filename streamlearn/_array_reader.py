"""Where the samples of array streams lie, and blocks of them."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _compiled
from ._cursors import CursorReader, Moved, Runs, by_table, keys_of, pass_key
from ._permute import counted_from, permute
from ._random import mix32
from ._reader import Added, Plan
from ._rows import concat_rows, n_rows, row_bytes, take_rows
from ._span import Span

_TABLES = 3  # of X, y and sample_weight
# What is known of a stream, in one line of a cache: sl_stream of _locate.h.
_KNOWN = np.dtype(
    [
        ("pass", np.int64),
        ("place", np.uint32),
        ("size", np.uint32),
        ("starts", np.int64, _TABLES),
        ("order", np.uint64),
        ("key", np.uint32),
        ("block", np.uint32),
        ("is_shuffled", np.uint8),
        ("states", np.uint8, 7),
    ]
)
_ADDED = (np.dtype(np.float64), np.dtype(np.float32))  # in the order of bytes of this machine


def _in_lines(known: np.ndarray) -> np.ndarray:
    """Return a copy in which no stream lies in two lines of a cache."""
    room = np.empty(known.nbytes + _KNOWN.itemsize, np.uint8)
    start = -room.__array_interface__["data"][0] % _KNOWN.itemsize
    copied = room[start : start + known.nbytes].view(_KNOWN)
    copied[:] = known
    return copied


class Table:
    """Aligned arrays, of one length: ``X`` and perhaps ``y`` and ``sample_weight``."""

    feature_names: tuple[str, ...] | None = None  # of the columns of X, if it is an array and they have names

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns
        self.n_rows = n_rows(columns["X"])

    def gather(self, rows: np.ndarray) -> dict[str, Any]:
        return {name: take_rows(values, rows) for name, values in self.columns.items()}


class Sought(NamedTuple):
    """Samples whose rows are not known yet: those of runs, each in a pass, and their places in time."""

    runs: Runs
    passes: np.ndarray
    order: np.ndarray


class Found(NamedTuple):
    """Samples in time: their rows, of each span or in the one or several tables, and their streams."""

    rows: np.ndarray
    who: np.ndarray


class Column(NamedTuple):
    """Values that can be taken by their addresses."""

    name: str
    rows: int  # which of the rows that were found are its own
    base: int
    unit: int
    dtype: np.dtype
    shape: tuple[int, ...]


class ArrayReader(CursorReader):
    """Reads blocks of samples from many array streams."""

    can_restart = gathers_again = True

    def __init__(self, streams: Sequence[Any], tables: list[Table], seed: int) -> None:
        n = len(streams)
        self._tables = tables
        self._table_of = np.zeros(n, np.int16 if len(tables) < 2**15 else np.int32)
        if len(tables) > 1:
            number = {id(table): i for i, table in enumerate(tables)}
            self._table_of[:] = [number[id(stream._table)] for stream in streams]
        ranges = np.array([stream._range for stream in streams], np.int64).reshape(n, 2)
        shuffled = np.fromiter((stream._shuffle for stream in streams), bool, n)
        first = ranges[:, 0]
        self._orders: list[np.ndarray | None] = [None] * len(tables)
        for i, stream in zip(self._table_of.tolist(), streams, strict=True):
            self._orders[i] = stream._order
        columns = [table.columns for table in tables]
        self._spans: dict[str, tuple[Span, np.ndarray]] = {}
        if len(tables) > 1 and not any(order is not None for order in self._orders):
            values = {name: [part[name] for part in columns] for name in columns[0]}
            if all(map(Span.fits, values.values())):
                for name, arrays in values.items():
                    span = Span(arrays)
                    self._spans[name] = span, span.bases[self._table_of] + span.step * first
        self._known = np.zeros(n, _KNOWN)
        sizes = ranges[:, 1] - ranges[:, 0]
        self._known["size"], self._known["is_shuffled"] = sizes, shuffled
        starts = [starts for _, starts in self._spans.values()] or [first]
        self._row_starts = self._known["starts"].T[: len(starts)]
        self._row_starts[:] = starts
        self._row_steps = np.array([span.step for span, _ in self._spans.values()] or [1], np.int64)
        super().__init__(sizes, shuffled, seed)
        self._lookup = self._orders[0] if len(tables) == 1 else None
        self._columns = self._plain_columns()
        if _compiled.native is None:  # then a thread asks for the interpreter at every step
            self.least_read_ahead = 0.25
        self._sliceable = all(isinstance(values, np.ndarray) for table in tables for values in table.columns.values())
        self.row_bytes = max((sum(map(row_bytes, table.columns.values())) for table in tables), default=1)

    def restarted(self, seed: int) -> ArrayReader:
        new = copy.copy(self)
        new.adds_squares = False
        new._rewind(seed)
        return new

    def _rewind(self, seed: int) -> None:
        self._pool = _in_lines(self._known)
        self._pool["key"] = keys_of(seed, len(self._pool))
        self._n_blocks = 0
        self._seed = seed
        self._keys, self._places, self._passes = self._pool["key"], self._pool["place"], self._pool["pass"]

    def move_back(self, moved: Moved) -> None:
        super().move_back(moved)
        self._pool["order"][moved[0]] = 0

    def locate(self, plan: Plan) -> tuple[Any, np.ndarray]:
        if _compiled.native is None:
            return super().locate(plan)
        order, streams, lengths = (np.ascontiguousarray(part, np.int64) for part in plan[:3])
        n = len(order)
        rows, who = np.empty((len(self._row_steps), n), np.int64), np.empty(n, np.int32)
        moved = np.empty((3, len(streams)), np.int64)
        batch = Added({column.name: np.empty((n, *column.shape), column.dtype) for column in self._columns})
        columns, squares = np.empty((len(batch), 6), np.int64), np.zeros(len(batch))
        added = {}
        for i, (column, out) in enumerate(zip(self._columns, batch.values(), strict=True)):
            row = out.itemsize * math.prod(column.shape)
            size = out.itemsize if self.adds_squares and column.dtype in _ADDED else 0
            columns[i] = column.rows, column.base, column.unit, row, out.__array_interface__["data"][0], size
            if size:
                added[column.name] = i
        moved[0], before = -1, self.moved
        self._n_blocks += 1
        if self._n_blocks == 2**32:  # streams may know these numbers from long ago
            self._pool["block"] = 0
            self._n_blocks = 1
        try:
            n_moved = _compiled.native.locate(
                streams, lengths, order, self._pool.view(np.uint8), self._n_blocks, self._row_steps, self._lookup, rows, who,
                moved, columns, squares,
            )  # fmt: skip
            batch.squares = {name: float(squares[i]) for name, i in added.items()}
            now = moved[:, :n_moved]
            self.moved = now[0], now[1], now[2]
        except BaseException:  # an interrupt right after it: all is left as it was
            if self.moved is before:  # else whoever sees that it has changed does it
                self.move_back(moved[:, moved[0] >= 0])  # type: ignore[arg-type]
            raise
        return batch or Found(rows, who), who

    def _plain_columns(self) -> list[Column]:
        """Return how all values are taken by their addresses, nothing where some cannot be."""
        if self._spans:
            return [
                Column(name, i, *span.address, *span.kind) for i, (name, (span, _)) in enumerate(self._spans.items())
            ]
        columns = self._tables[0].columns if len(self._tables) == 1 else {}
        if not all(Span.fits([values]) for values in columns.values()):
            return []
        spans = {name: Span([values]) for name, values in columns.items()}
        return [Column(name, 0, *span.address, *span.kind) for name, span in spans.items()]

    def _find(self, runs: Runs, order: np.ndarray) -> Sought:
        number: Any = 0
        if (runs.ends > self._sizes[runs.present]).any():
            runs, number = runs.cut(self._sizes)
        return Sought(runs, self._passes[runs.streams] + number, order)

    def _rows_of(self, where: Found | Sought) -> Any:
        """Return the rows in time, those of each span, or the samples' places in time and ``(table, rows, start, stop)``."""
        if isinstance(where, Found):
            return self._lying(where.rows, where.who, None)
        runs, passes, order = where
        elements = self._shuffle(runs, passes)
        who = np.repeat(runs.streams, runs.lengths)
        starts = zip(self._row_starts, self._row_steps, strict=True)
        return self._lying([elements * step + start[who] for start, step in starts], who, order)

    def _lying(self, rows: Any, who: np.ndarray, order: np.ndarray | None) -> Any:
        """Return rows as :meth:`gather` takes them.

        Parameters
        ----------
        rows : sequence of ndarray
            Of each span, or in the tables.
        who : ndarray
            Their streams.
        order : ndarray or None
            The place in time of each; None: they are in time, and looked up in the order of the table already.
        """
        if len(self._tables) > 1 and not self._spans:
            order = np.arange(len(who)) if order is None else order
            return self._by_table(rows[0], self._table_of[who], order)
        if order is not None:
            in_time = np.empty((len(rows), len(order)), np.int64)
            in_time[:, order] = rows
            rows = in_time
        if self._spans:
            return dict(zip(self._spans, rows, strict=True))
        return rows[0] if self._lookup is None or order is None else self._lookup.take(rows[0])

    def _by_table(self, rows: np.ndarray, tables: np.ndarray, order: np.ndarray) -> Any:
        rows, back, cuts = by_table(tables, len(self._tables), rows, order)
        parts = []
        for i, (start, stop) in enumerate(itertools.pairwise(cuts)):
            if stop > start:
                lying, part = self._orders[i], rows[start:stop]
                parts.append((self._tables[i].columns, part if lying is None else lying[part], start, stop))
        return back, parts

    def _shuffle(self, runs: Runs, passes: np.ndarray) -> np.ndarray:
        """Return the rows, within each stream, that stand at the places of runs, each in the pass of this number."""
        place, streams = counted_from(runs.places, runs.lengths), runs.streams
        shuffled = self._shuffled[streams]
        if not shuffled.any():
            return place
        key = mix32(self._keys[streams] ^ pass_key(passes))
        moved = permute(place, self._sizes[streams], key, runs.lengths)
        return moved if shuffled.all() else np.where(np.repeat(shuffled, runs.lengths), moved, place)

    def gather(self, where: Any) -> dict[str, Any]:
        if isinstance(where, dict):  # found and taken in one step
            return where
        where = self._rows_of(where)
        if isinstance(where, np.ndarray):
            return self._tables[0].gather(where)
        if self._spans:
            return {name: span.take(where[name]) for name, (span, _) in self._spans.items()}
        back, parts = where
        return {name: _gather_column(name, parts, back) for name in self._tables[0].columns}

    def slice(self, batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
        if self._sliceable:
            return {name: values[start:stop] for name, values in batch.items()}
        return super().slice(batch, start, stop)


def _gather_column(name: str, parts: list[tuple[Any, np.ndarray, int, int]], back: np.ndarray) -> Any:
    """Gather one column from ``(columns, rows, start, stop)`` of each table, and bring the rows into their order in time.

    Row ``i`` in time is the one at ``back[i]`` of them all, of which those of a table are from ``start`` to ``stop``. They do not
    follow each other, as those of ``Pieces`` do.
    """
    values = [columns[name] for columns, *_ in parts]
    if not Span.fits(values):
        taken = [take_rows(value, rows) for value, (_, rows, _, _) in zip(values, parts, strict=True)]
        return take_rows(concat_rows(taken), back)
    span = Span(values)
    index = np.empty(len(back), np.int64)
    for base, (_, rows, start, stop) in zip(span.bases.tolist(), parts, strict=True):
        np.multiply(rows, span.step, out=index[start:stop])
        index[start:stop] += base
    return span.take(index.take(back))
