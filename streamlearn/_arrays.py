"""Streams of samples from arrays that are in memory or mapped into it.

The unit is one sample. Streams are views of a table of aligned arrays: a range of its rows, or of an order of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from ._random import fresh_seed, mix, mix32, mix_array, permute
from ._rows import concat_rows, is_frame, n_rows, row_bytes, slice_rows, take_rows
from ._streamer import Streamer

_SAMPLES_AHEAD = 256


class Table:
    """Aligned arrays, of one length: ``X`` and perhaps ``y`` and ``sample_weight``."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns
        self.n_rows = n_rows(columns["X"])

    def gather(self, rows: np.ndarray) -> dict[str, Any]:
        return {name: take_rows(values, rows) for name, values in self.columns.items()}


class ArrayStream(Streamer):
    """A stream of the samples in a range of the rows of a table.

    Parameters
    ----------
    table : Table
    start, stop : int
        Range of rows, or of ``order`` where there is one.
    order : ndarray of shape (n_rows,), optional
        Order of the table's rows, shared by all its streams.
    shuffle : bool, default=True
        Whether each pass has an order of its own.
    """

    _one_cursor = True

    def __init__(
        self, table: Table, start: int, stop: int, order: np.ndarray | None = None, shuffle: bool = True
    ) -> None:
        super().__init__(table.columns)
        self._table = table
        self._range = (start, stop)
        self._order = order
        self._shuffle = shuffle

    @property
    def _n_samples(self) -> int:  # type: ignore[override]
        return self._range[1] - self._range[0]

    def _rows(self) -> np.ndarray | slice:
        start, stop = self._range
        return slice(start, stop) if self._order is None else self._order[start:stop]

    def _column(self, name: str) -> Any:
        """Values of one column, in the order in which they lie, or None."""
        values = self._table.columns.get(name)
        if values is None:
            return None
        rows = self._rows()
        return slice_rows(values, rows.start, rows.stop) if isinstance(rows, slice) else take_rows(values, rows)

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        return self._samples(seed, visit, self._n_samples)

    def _start_endless(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        return self._samples(seed, visit, None)

    def _samples(self, seed: int | None, visit: tuple[int, ...], n_samples: int | None) -> Iterator:
        reader = self._joint_reader([self], fresh_seed() if seed is None else mix(seed, *visit))
        left = n_samples
        while left != 0 and self._n_samples:
            n = _SAMPLES_AHEAD if left is None else min(left, _SAMPLES_AHEAD)
            chunk = reader.read(np.zeros(n, np.intp))
            for i in range(n):
                yield reader.sample(reader.rows(chunk, i, i + 1))
            left = None if left is None else left - n

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int) -> Any:
        tables = list({id(stream._table): stream._table for stream in streams}.values())  # type: ignore[attr-defined]
        shared = set.intersection(*(set(table.columns) for table in tables))
        if any(set(table.columns) != shared for table in tables):
            raise ValueError(
                "the streams of a pool must have the same parts: some have "
                f"{sorted(set.union(*(set(table.columns) for table in tables)) - shared)} and others have not."
            )
        return ArrayReader(streams, tables, seed)

    def __repr__(self) -> str:
        parts = ", ".join(self._table.columns)
        return f"<{type(self).__name__}: {self._n_samples} samples ({parts})>"


class ArrayReader:
    """Reads blocks of samples from many array streams, each with one cursor over an order shuffled for each of its passes.

    No order is kept: the row at a place of a pass is computed (:func:`permute`), so that an idle stream costs its cursor.
    """

    def __init__(self, streams: Sequence[Any], tables: list[Table], seed: int) -> None:
        n = len(streams)
        number = {id(table): i for i, table in enumerate(tables)}
        self._tables = tables
        self._table_of = np.fromiter((number[id(stream._table)] for stream in streams), np.int32, n)
        ranges = np.array([stream._range for stream in streams], np.int64).reshape(n, 2)
        self._starts, self._sizes = ranges[:, 0], ranges[:, 1] - ranges[:, 0]
        if self._sizes.max(initial=0) >= 2**32:
            raise ValueError(f"a stream may hold at most 2**32 - 1 samples, got {self._sizes.max()}.")
        self._orders = [None] * len(tables)
        for stream in streams:
            self._orders[number[id(stream._table)]] = stream._order
        self._shuffled = np.fromiter((stream._shuffle for stream in streams), bool, n)
        self._keys = mix_array(seed, np.arange(n))
        self._places = np.zeros(n, np.int64)  # in the pass under way
        self._passes = np.zeros(n, np.int64)
        self.row_bytes = max((sum(map(row_bytes, table.columns.values())) for table in tables), default=1)

    def read(self, who: np.ndarray) -> dict[str, Any]:
        """Return a batch with the next sample of each of the streams in ``who``, in this order."""
        streams, inverse, counts = np.unique(who, return_inverse=True, return_counts=True)
        narrow = inverse.astype(np.int16) if len(streams) < 2**15 else inverse  # int16 is sorted by radix
        order = np.argsort(narrow, kind="stable")
        sorted_rows = self._advance(streams, counts)
        if len(self._tables) == 1:
            rows = np.empty(len(who), np.int64)
            rows[order] = sorted_rows
            return self._tables[0].gather(rows if self._orders[0] is None else self._orders[0][rows])
        parts = []
        back = np.empty(len(who), np.intp)
        back[order] = np.arange(len(who))
        ends = np.cumsum(counts)
        tables = self._table_of[streams]
        cuts = np.flatnonzero(np.diff(tables)) + 1  # neighbours of one table share a gather
        for first, last in zip([0, *cuts], [*cuts, len(streams)], strict=True):
            rows = sorted_rows[ends[first] - counts[first] : ends[last - 1]]
            lying = self._orders[tables[first]]
            parts.append(self._tables[tables[first]].gather(rows if lying is None else lying[rows]))
        return {name: take_rows(concat_rows([part[name] for part in parts]), back) for name in parts[0]}

    def _advance(self, streams: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Move the cursors by ``counts`` and return the rows passed over, stream after stream."""
        n = int(counts.sum())
        sizes, places, passes = self._sizes[streams], self._places[streams], self._passes[streams]
        repeated = np.repeat(np.arange(len(streams)), counts)
        place = np.arange(n) - np.repeat(np.cumsum(counts) - counts - places, counts)
        number = passes[repeated]
        size = sizes[repeated]
        if (places + counts > sizes).any():
            number += place // size
            place %= size
        total = places + counts
        self._passes[streams] = passes + total // sizes
        self._places[streams] = total % sizes
        shuffled = self._shuffled[streams]
        if shuffled.any():
            key = mix32(self._keys[streams][repeated] ^ (number.astype(np.uint32) * np.uint32(0x9E3779B1)))
            moved = permute(place, size, key)
            place = moved if shuffled.all() else np.where(shuffled[repeated], moved, place)
        return place + self._starts[streams][repeated]

    def rows(self, batch: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
        return {name: slice_rows(values, start, stop) for name, values in batch.items()}

    def join(self, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
        return {name: concat_rows([values, second[name]]) for name, values in first.items()}

    def sample(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch of one row as one sample: arrays lose their first axis, other kinds keep it."""
        X = batch["X"]
        if sparse.issparse(X) or is_frame(X) or not isinstance(X, np.ndarray) or X.ndim < 2:
            return batch
        return {name: values[0] if isinstance(values, np.ndarray) else values for name, values in batch.items()}
