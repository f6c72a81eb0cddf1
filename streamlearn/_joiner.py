"""Batches are joined and cut to a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _compiled
from ._batch import Batch
from ._rows import concat_rows, copy_rows, limit_of, sum_of_squares
from ._state import pack, unpack


class Joiner:
    """Joins and cuts batches to a size.

    What has to wait for more rows is copied when it comes, so that a generator may use its buffer again.

    Parameters
    ----------
    size : int or None
        Rows of a joined batch; None: each batch as it comes.
    first : int, default=1
        The least number of rows of the first one.

    Attributes
    ----------
    X_limit, y_limit : float or None
        An item is kept as it came only if the sum of the squares of its float64 values is below; None: they are not looked at.
    """

    def __init__(self, size: int | None, first: int = 1) -> None:
        self._later = size
        self.size = (first if first > 1 else None) if size is None else max(size, first)
        self.X_limit: float | None = None
        self.y_limit: float | None = None
        self._usual: tuple[np.dtype, int, np.dtype] | None = None  # of items that were kept as they came
        self._begin()

    def _begin(self) -> None:
        self._n = 0
        self._counts: list[tuple[int, int]] = []
        self._columns: list[_Column | None] = []
        self._plain: tuple[np.ndarray, np.ndarray, float | None, float | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the rows that wait, as a JSON-able dict."""
        columns = self._columns if self._n else []
        columns = [None if column is None else pack(column.so_far(self._n)) for column in columns]
        return {"size": self.size, "n": self._n, "counts": pack(self._counts), "columns": columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._begin()
        self._usual = None
        self.size = state["size"]
        counts = [(position, n) for position, n in unpack(state["counts"])]
        if state["n"]:
            pieces = [[] if column is None else unpack(column) for column in state["columns"]]
            X, y, weight = (concat_rows(column) if len(column) else None for column in pieces)
            self._keep(Batch(X, y, weight, state["n"]), counts[0][0])
            self._counts = counts

    def keep_plain(self, item: Any, position: int) -> bool:
        """Keep an item as it came, at a fraction of the cost of reading it first; False: it must be read and fed.

        It is kept if it is what most generators yield, and like the one before: a dict of arrays X, of two dimensions, and y, of
        one. It may complete a batch (see :attr:`is_full`), but is not cut.
        """
        start = self._n
        if self._plain is None:
            if start:
                return False
            self._renew()
            if self._plain is None:
                return False
        X_room, y_room, X_limit, y_limit = self._plain
        most = len(X_room) - (not start or self.size != self._later)
        n = keep(item, X_room, y_room, start, most, X_limit, y_limit)
        if not n:
            return False
        self._n = start + n
        self._counts.append((position, n))
        return True

    @property
    def is_full(self) -> bool:
        """Whether the rows that wait are a batch, which is to be flushed."""
        return self._n == self.size

    def _renew(self) -> None:
        """Make room for a batch of such items as were kept for the last one."""
        if self._usual is None or self.size is None:
            return
        dtype, width, y_dtype = self._usual
        X, y = np.empty((self.size, width), dtype), np.empty(self.size, y_dtype)
        self._columns = [_Column(self.size, X), _Column(self.size, y), None]
        self._plain = X, y, limit_of(dtype, self.X_limit), limit_of(y_dtype, self.y_limit)

    def feed(self, batch: Batch, position: int) -> Sequence[tuple[Batch, list[tuple[int, int]]]]:
        """Return the batches that a new one completes, each with ``(position, rows)`` pairs: where its rows came from."""
        if not batch.n:
            return ()
        if self.size is not None and self._n + batch.n < self.size:
            self._keep(batch, position)
            return ()
        if self._later is None and self.size is not None:
            # the first batch is of whole items, as many as it needs
            self._keep(batch, position)
            self.size = None
            return self.flush()
        done: list[tuple[Batch, list[tuple[int, int]]]] = []
        start = 0
        while self.size is not None and self._n + batch.n - start >= self.size:
            stop = start + self.size - self._n
            part = batch.rows(start, stop)
            if self._n:
                self._keep(part, position)
                done.extend(self.flush())
            else:
                done.append((part, [(position, part.n)]))
            start, self.size = stop, self._later
        if start < batch.n:
            rest = batch.rows(start, batch.n)
            if self.size is None:
                done.append((rest, [(position, rest.n)]))
            else:
                self._keep(rest, position)
        return done

    def cuts(self, batch: Batch) -> bool:
        """Whether rows of a batch will be given at different times."""
        return self.size is not None and self._n + batch.n > self.size

    def flush(self) -> Sequence[tuple[Batch, list[tuple[int, int]]]]:
        """Return what is left, if anything."""
        if not self._n:
            return ()
        X, y, weight = (None if column is None else column.joined(self._n) for column in self._columns)
        done = [(Batch(X, y, weight, self._n), self._counts)]
        self._usual = None
        if self._plain is not None:
            X_buffer, y_buffer, *_ = self._plain
            self._usual = X_buffer.dtype, X_buffer.shape[1], y_buffer.dtype
        self._begin()
        return done

    def _keep(self, part: Batch, position: int) -> None:
        parts = (part.X, part.y, part.sample_weight)
        if not self._n:
            assert self.size is not None
            self._columns = [None if values is None else _Column(self.size) for values in parts]
        n = self._n
        for column, values in zip(self._columns, parts, strict=True):
            if column is not None and values is not None:
                column.add(values, n, part.n)
            elif column is not values:
                raise ValueError(
                    "some items have y or sample_weight and others have not: streams that are mixed must yield the same parts."
                )
        self._n = n + part.n
        self._counts.append((position, part.n))
        X, y, _ = (None if column is None else column.buffer for column in self._columns)
        self._plain = None
        if X is None or y is None or self._columns[2] is not None:
            return
        # objects are looked at one by one
        if X.ndim == 2 and y.ndim == 1 and not X.dtype.hasobject and not y.dtype.hasobject:
            self._plain = X, y, limit_of(X.dtype, self.X_limit), limit_of(y.dtype, self.y_limit)


def keep(
    item: Any,
    X_room: np.ndarray,
    y_room: np.ndarray,
    start: int,
    most: int,
    X_limit: float | None,
    y_limit: float | None,
) -> int:
    """Copy the rows of an item to rooms of rows like them, if it is a dict of arrays X and y, and all fit.

    Parameters
    ----------
    item : object
    X_room, y_room : ndarrays of two dimensions and of one
    start, most : int
        Where its first row comes, and where the last one ends at most.
    X_limit, y_limit : float or None
        What the sums of the squares must be below; None: any will do.

    Returns
    -------
    n_rows : int
        0: it is not like that, and what the rooms hold from ``start`` on does not count.
    """
    if _compiled.native is not None:
        n = _compiled.native.keep(item, X_room, y_room, start, most, X_limit, y_limit)
        if n >= 0:
            return n
    if type(item) is not dict or len(item) != 2:
        return 0
    X, y = item.get("X"), item.get("y")
    if type(X) is not np.ndarray or type(y) is not np.ndarray:
        return 0
    if X.dtype is not X_room.dtype or y.dtype is not y_room.dtype or X.ndim != 2:
        return 0
    n, width = X.shape
    if not n or y.shape != (n,) or width != X_room.shape[1] or n > most - start:
        return 0
    if X_limit is not None and not sum_of_squares(X) < X_limit:
        return 0
    if y_limit is not None and not sum_of_squares(y) < y_limit:
        return 0
    X_room[start : start + n] = X
    y_room[start : start + n] = y
    return n


class _Column:
    """One of the parts of a batch that is being joined: in a buffer while all rows fit it, else piece by piece."""

    __slots__ = ("_pieces", "_size", "buffer")

    def __init__(self, size: int, buffer: np.ndarray | None = None) -> None:
        self._size = size
        self.buffer = buffer
        self._pieces: list[Any] = []

    def add(self, values: Any, at: int, n: int) -> None:
        buffer = self.buffer
        if buffer is None and not at and isinstance(values, np.ndarray):
            buffer = self.buffer = np.empty((self._size, *values.shape[1:]), values.dtype)
        if buffer is not None:
            fits = isinstance(values, np.ndarray) and at + n <= len(buffer)
            if fits and values.dtype == buffer.dtype and values.shape[1:] == buffer.shape[1:]:
                buffer[at : at + n] = values
                return
            self._pieces, self.buffer = [buffer[:at]], None
        self._pieces.append(copy_rows(values))

    def so_far(self, n: int) -> list[Any]:
        return self._pieces if self.buffer is None else [self.buffer[:n]]

    def joined(self, n: int) -> Any:
        if self.buffer is not None:
            return self.buffer[:n]
        shapes = sorted({piece.shape[1:] for piece in self._pieces if hasattr(piece, "shape")})
        if len(shapes) > 1:
            raise ValueError(
                f"items differ in their number of features or outputs: their rows have the shapes {shapes}."
            )
        return concat_rows(self._pieces)
