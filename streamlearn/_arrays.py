"""Streams of samples from arrays that are in memory or mapped into it.

The unit is one sample. Streams are views of a table of aligned arrays: a range of its rows, or of an order of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ._array_reader import ArrayReader, Table
from ._failures import RAISE, Failures, GuardOfOne
from ._passes import close
from ._random import fresh_seed, mix
from ._reader import in_turn
from ._rows import n_rows, slice_rows, take_rows
from ._state import check_state
from ._streamer import Streamer

_SAMPLES_AHEAD = 256
_ROWS_SEARCHED = 4096


class SampleStream(Streamer):
    """A stream whose unit is one sample, of a known number of them, that can give many at once."""

    _one_cursor = True

    def _column(self, name: str) -> Any:
        """Values of one column, in the order in which they lie, or None."""
        raise NotImplementedError

    def _column_parts(self, name: str) -> Iterator[Any]:
        """Yield the values of one column piece by piece, in the order in which they lie, or None."""
        yield self._column(name)

    def _in_order(self, n: int) -> Iterator[dict[str, Any]]:
        """Yield batches of at most ``n`` samples, in the order in which they lie."""
        raise NotImplementedError

    def _where(self, row: int) -> str:
        """Say where a row lies, of those in order, for errors."""
        return f"row {row}"

    def _find(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[str, dict[str, Any]] | None:
        """Return where the first row lies that is wanted, and the row; ``wanted`` says it of a batch if it holds one."""
        start = 0
        for columns in self._in_order(_ROWS_SEARCHED):
            n = n_rows(columns["X"])
            if wanted(columns):
                for i in range(n):
                    row = {name: slice_rows(values, i, i + 1) for name, values in columns.items()}
                    if wanted(row):
                        return self._where(start + i), row
            start += n
        return None

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        return SampleIterator(self, fresh_seed() if seed is None else mix(seed, *visit), self._n_samples)

    def _start_endless(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        return SampleIterator(self, fresh_seed() if seed is None else mix(seed, *visit), None)


class SampleIterator(Iterator):
    """A running pass over one stream of samples, or all its passes, sample by sample.

    Parameters
    ----------
    stream : SampleStream
    seed : int
    n_samples : int or None
        None: without end.
    """

    _VERSION = 1

    def __init__(self, stream: SampleStream, seed: int, n_samples: int | None) -> None:
        self._reader = stream._joint_reader([stream], seed)
        self._left = (-1 if n_samples is None else n_samples) if stream._n_samples else 0
        self._chunk: Any = None
        self._n = self._at = self._n_asked = 0
        self._rules = RAISE
        self._error: Exception | None = None

    def __next__(self) -> Any:
        if self._at == self._n:
            if self._error is not None:
                raise self._error
            self._read(_SAMPLES_AHEAD if self._left < 0 else min(self._left, _SAMPLES_AHEAD))
        i, self._at = self._at, self._at + 1
        self._left -= 1
        return self._reader.sample(self._chunk, i)

    def _read(self, n: int) -> None:
        if not n:
            raise StopIteration
        self._n = self._at = 0  # if reading fails, nothing is at hand
        where, _ = self._reader.locate(in_turn(np.zeros(n, np.intp)))
        guard = GuardOfOne(self._rules)
        self._chunk, kept = self._reader.gather_good(where, guard if self._rules.handles else None)
        self._n, self._n_asked, self._error = n if kept is None else int(kept.sum()), n, guard.error
        if not self._n and self._error is not None:
            raise self._error

    def adopt_failures(self, parent: Failures, stream: int) -> None:
        """Retry to read what fails as the mux does, and give what can be read before the error is raised."""
        self._rules = parent.rules

    def close(self) -> None:
        """Forget what was read."""
        self._left = self._n = self._at = 0
        self._chunk = self._error = None
        close(self._reader)

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass stands."""
        # a chunk that is not used up, or is followed by an error, is read again
        ahead = self._at < self._n or self._error is not None
        return {
            "kind": "samples",
            "version": self._VERSION,
            "left": None if self._left < 0 else self._left,
            "reader": self._reader.state_dict([self._reader.moved] if ahead else []),
            "n_read": self._n_asked if ahead else 0,
            "at": self._at if ahead else 0,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was saved."""
        check_state(state, "samples", self._VERSION, ("left", "reader", "n_read", "at"))
        self._reader.load_state_dict(state["reader"])
        self._left = -1 if state["left"] is None else state["left"]
        self._n = self._at = 0
        if state["n_read"]:
            self._read(state["n_read"])
            self._at = state["at"]


class ArrayStream(SampleStream):
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

    @property
    def _feature_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._table.feature_names

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

    def _in_order(self, n: int) -> Iterator[dict[str, Any]]:
        columns = {name: self._column(name) for name in self._table.columns}
        for start in range(0, self._n_samples, n):
            stop = min(start + n, self._n_samples)
            yield {name: slice_rows(values, start, stop) for name, values in columns.items()}

    def _where(self, row: int) -> str:
        rows = self._rows()
        return f"row {rows.start + row if isinstance(rows, slice) else rows[row]} of the arrays"

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int, sizes: np.ndarray | None = None) -> Any:
        tables = list({id(stream._table): stream._table for stream in streams}.values())  # type: ignore[attr-defined]
        check_parts([table.columns for table in tables])
        _check_kinds(streams, tables)
        return ArrayReader(streams, tables, seed)

    def __repr__(self) -> str:
        parts = ", ".join(self._table.columns)
        return f"<{type(self).__name__}: {self._n_samples} samples ({parts})>"


def _check_kinds(streams: Sequence[Any], tables: Sequence[Table]) -> None:
    """Refuse arrays of several tables that cannot be rows of one batch: joined, labels would turn into text, say."""
    first = tables[0].columns
    for table in tables[1:]:
        for name, values in table.columns.items():
            if not (hasattr(values, "dtype") and hasattr(first[name], "dtype")):
                continue
            texts = [part.dtype.kind in "OUS" for part in (first[name], values)]
            if first[name].shape[1:] != values.shape[1:] or texts[0] != texts[1]:
                position = next(i for i, stream in enumerate(streams) if stream._table is table)
                raise ValueError(
                    f"the stream at position {position} has {name} with rows of shape {values.shape[1:]} and dtype "
                    f"{values.dtype}, the first one of shape {first[name].shape[1:]} and dtype {first[name].dtype}: they "
                    "cannot be mixed into one batch."
                )


def check_parts(columns: Sequence[Any]) -> None:
    """Refuse streams of which some have ``y`` or ``sample_weight`` and others have not."""
    shared = set.intersection(*map(set, columns))
    if any(set(names) != shared for names in columns):
        raise ValueError(
            "the streams of a pool must have the same parts: some have "
            f"{sorted(set.union(*map(set, columns)) - shared)} and others have not."
        )
