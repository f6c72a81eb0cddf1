"""Batches: reading items as batches, and joining or cutting them to size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ._rows import concat_rows, is_frame, is_series, n_rows, slice_rows

_KEYS = ("X", "y", "Y", "sample_weight")


class Batch:
    """Aligned rows: ``X``, and ``y`` and ``sample_weight`` or None."""

    __slots__ = ("X", "n", "sample_weight", "y")

    def __init__(self, X: Any, y: Any, sample_weight: Any, n: int) -> None:
        self.X = X
        self.y = y
        self.sample_weight = sample_weight
        self.n = n

    def rows(self, start: int, stop: int) -> Batch:
        if start == 0 and stop == self.n:
            return self
        y, weight = (None if part is None else slice_rows(part, start, stop) for part in (self.y, self.sample_weight))
        return Batch(slice_rows(self.X, start, stop), y, weight, stop - start)


def as_batch(item: Any) -> Batch:
    """Read an item as a batch.

    Parameters
    ----------
    item : mapping, tuple, or X
        A mapping with ``X`` and optionally ``y`` (or ``Y``) and ``sample_weight``; a tuple ``(X,)``, ``(X, y)`` or
        ``(X, y, sample_weight)``; or ``X`` alone. A one-dimensional numeric ``X`` is one sample.

    Returns
    -------
    batch : Batch

    Raises
    ------
    TypeError, ValueError
        If the item cannot be read so, or its parts differ in length.
    """
    if isinstance(item, Mapping):
        X, y, weight = _from_mapping(item)
    elif isinstance(item, tuple):
        if not 1 <= len(item) <= 3:
            raise ValueError(
                f"an item that is a tuple must be (X,), (X, y) or (X, y, sample_weight), got {len(item)} parts."
            )
        X, y, weight = (*item, None, None)[:3]
    else:
        X, y, weight = item, None, None
    if isinstance(X, np.ndarray) and X.ndim == 2:
        pass
    elif isinstance(X, (np.ndarray, list, tuple, str)):
        X, single = _read_X(X)
        if single:
            y = None if y is None else np.asarray(y)[None]
            weight = None if weight is None else np.asarray(weight, np.float64).reshape(1)
    elif is_series(X):
        return as_batch((X.to_numpy(), y, weight))
    elif not (sparse.issparse(X) or is_frame(X)):
        if not hasattr(X, "__array__"):
            raise TypeError(
                "an item must be a mapping with X, y and sample_weight, a tuple of them, or X alone (an array, a sparse matrix, "
                f"a DataFrame or a list of texts), got {type(X).__name__}."
            )
        return as_batch((np.asarray(X), y, weight))
    n = n_rows(X)
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 0 and n == 1:
            y = y[None]
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"an item has X with {n} rows, but y of shape {y.shape}.")
    if weight is not None:
        weight = np.asarray(weight)
        if weight.ndim == 0 and n == 1:
            weight = weight[None]
        if weight.shape != (n,):
            raise ValueError(f"an item has X with {n} rows, but sample_weight of shape {weight.shape}.")
    return Batch(X, y, weight, n)


def _from_mapping(item: Mapping) -> tuple[Any, Any, Any]:
    if "X" not in item:
        raise ValueError(
            f"an item that is a mapping must have 'X', and may have 'y' and 'sample_weight'; got {list(item)}."
        )
    if len(item) > 1:
        for key in item:
            if key not in _KEYS:
                raise ValueError(
                    f"an item has the key {key!r}, which is none of 'X', 'y', 'sample_weight': rename it, or leave it out."
                )
        if "y" in item and "Y" in item:
            raise ValueError("an item has both 'y' and 'Y': leave one out.")
    y = item.get("y")
    return item["X"], item.get("Y") if y is None else y, item.get("sample_weight")


def _read_X(X: Any) -> tuple[Any, bool]:
    """Return an array of at least two dimensions or a list of texts, and whether it was one sample."""
    if isinstance(X, str):
        return [X], True
    if isinstance(X, (list, tuple)):
        if len(X) and isinstance(X[0], str):
            return list(X), False
        X = np.asarray(X)
    if X.ndim == 0:
        raise ValueError(f"X of an item must have at least one dimension, got the scalar {X!r}.")
    if X.ndim == 1:
        if X.dtype.kind in "OUS":
            return X.tolist(), False
        return X[None, :], True
    return X, False


class Joiner:
    """Joins and cuts batches to a size.

    What has to wait for more rows is copied when it comes, so that a generator may use its buffer again.

    Parameters
    ----------
    size : int or None
        Rows of a joined batch; None: each batch as it comes. May be changed between batches.
    """

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._parts: list[Batch] = []
        self._buffer: np.ndarray | None = None
        self._n = 0
        self._counts: list[tuple[int, int]] = []

    def feed(self, batch: Batch, position: int) -> Iterator[tuple[Batch, list[tuple[int, int]]]]:
        """Yield the batches that a new one completes, each with ``(position, rows)`` pairs: where its rows came from."""
        if not batch.n:
            return
        if self.size is None:
            yield batch, [(position, batch.n)]
            return
        start = 0
        while self.size is not None and self._n + batch.n - start >= self.size:
            stop = start + self.size - self._n
            part = batch.rows(start, stop)
            if self._n:
                self._keep(part, position)
                yield self._emit()
            else:
                yield part, [(position, part.n)]
            start = stop
        if start == batch.n:
            return
        rest = batch.rows(start, batch.n)
        if self.size is None:
            yield rest, [(position, rest.n)]
        else:
            self._keep(rest, position)

    def flush(self) -> Iterator[tuple[Batch, list[tuple[int, int]]]]:
        """Yield what is left, if anything."""
        if self._n:
            yield self._emit()

    def _keep(self, part: Batch, position: int) -> None:
        if self._parts and (
            (part.y is None) != (self._parts[0].y is None)
            or (part.sample_weight is None) != (self._parts[0].sample_weight is None)
        ):
            raise ValueError(
                "some items have y or sample_weight and others have not: streams that are mixed must yield the same parts."
            )
        self._parts.append(Batch(self._copy_X(part.X), _copied(part.y), _copied(part.sample_weight), part.n))
        self._n += part.n
        self._counts.append((position, part.n))

    def _copy_X(self, X: Any) -> Any:
        """Copy into the buffer of the batch to come, where the rows fit it, else by themselves."""
        if isinstance(X, np.ndarray) and self.size is not None:
            if self._buffer is None and not self._parts:
                self._buffer = np.empty((self.size, *X.shape[1:]), X.dtype)
            buffer = self._buffer
            if buffer is not None:
                if buffer.dtype == X.dtype and buffer.shape[1:] == X.shape[1:] and self._n + len(X) <= len(buffer):
                    out = buffer[self._n : self._n + len(X)]
                    out[...] = X
                    return out
                self._buffer = None  # parts of several kinds: joined at the end
        return X.copy() if hasattr(X, "copy") else X.clone() if hasattr(X, "clone") else X

    def _emit(self) -> tuple[Batch, list[tuple[int, int]]]:
        parts, counts, n, buffer = self._parts, self._counts, self._n, self._buffer
        self._parts, self._counts, self._n, self._buffer = [], [], 0, None
        if buffer is not None:
            X = buffer[:n]
        else:
            shapes = {part.X.shape[1:] for part in parts if hasattr(part.X, "shape")}
            if len(shapes) > 1:
                raise ValueError(f"items differ in their number of features: {sorted(shapes)}.")
            X = concat_rows([part.X for part in parts])
        y = None if parts[0].y is None else np.concatenate([part.y for part in parts])
        weight = None if parts[0].sample_weight is None else np.concatenate([part.sample_weight for part in parts])
        return Batch(X, y, weight, n), counts


def _copied(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else values.copy()
