"""Batches: aligned rows of samples, targets and weights, and the items that can be read as such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ._labels import plain_numbers
from ._rows import copy_rows, is_frame, is_series, n_rows, slice_rows

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

    def copy(self) -> Batch:
        y, weight = (None if part is None else part.copy() for part in (self.y, self.sample_weight))
        return Batch(copy_rows(self.X), y, weight, self.n)


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
    if type(item) is dict and len(item) == 2:
        # the usual item, told apart at little cost
        X, y = item.get("X"), item.get("y", item.get("Y"))
        if type(X) is np.ndarray and type(y) is np.ndarray and X.ndim == 2 and y.ndim and len(y) == len(X):
            return Batch(X, plain_numbers(y) if y.dtype.hasobject else y, None, len(X))
    if isinstance(item, Mapping) and not sparse.issparse(item):  # one of SciPy's formats is a mapping
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
            y = None if y is None else np.asarray(y)
            y = y if y is None or y.shape == (1,) else y[None]
            weight = None if weight is None else np.asarray(weight, np.float64).reshape(1)
    elif is_series(X):
        return as_batch((X.to_numpy(), y, weight))
    elif sparse.issparse(X):
        X = X.tocsr()  # other formats cannot be cut by rows
    elif not is_frame(X):
        if not hasattr(X, "__array__"):
            raise TypeError(
                "an item must be a mapping with X, y and sample_weight, a tuple of them, or X alone (an array, a sparse matrix, "
                f"a DataFrame or a list of texts), got {type(X).__name__}."
            )
        return as_batch((np.asarray(X), y, weight))
    n = n_rows(X)
    if y is not None:
        y = _as_target(y)
        if y.ndim == 0 and n == 1:
            y = y[None]
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"an item has X with {n} rows, but y of shape {y.shape}.")
        if y.dtype.hasobject:
            y = plain_numbers(y)
    if weight is not None:
        weight = np.asarray(weight)
        if weight.ndim == 0 and n == 1:
            weight = weight[None]
        if weight.shape != (n,):
            raise ValueError(f"an item has X with {n} rows, but sample_weight of shape {weight.shape}.")
    return Batch(X, y, weight, n)


def _as_target(y: Any) -> np.ndarray:
    target = np.asarray(y)
    if target.dtype.kind == "U" and isinstance(y, (list, tuple)) and not all(isinstance(value, str) for value in y):
        return np.asarray(y, object)  # else None, NaN and numbers among texts would become texts
    return target


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
        if not len(X) or isinstance(X[0], str):
            return list(X), False
        X = np.asarray(X)
    if X.ndim == 0:
        raise ValueError(f"X of an item must have at least one dimension, got the scalar {X!r}.")
    if X.ndim == 1:
        if X.dtype.kind in "OUS":
            return X.tolist(), False
        return X[None, :], True
    return X, False
