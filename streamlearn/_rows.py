"""Rows of whatever may hold samples: arrays, sparse matrices, pandas and polars objects, lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from . import _compiled
from ._memory import empty_bytes

_FEW_ROWS = 64
_VALUES_AT_ONCE = 2**13  # for more, BLAS would wake up its threads


def is_frame(values: Any) -> bool:
    """Whether ``values`` is a DataFrame of pandas or polars."""
    return hasattr(values, "columns") and hasattr(values, "shape") and not sparse.issparse(values)


def not_numbers(frame: Any) -> list[str]:
    """Columns of a DataFrame that hold no numbers: texts, categories, dates, objects."""
    numbers = ("int", "uint", "float", "double", "bool", "decimal")
    return [str(name) for name in frame.columns if not str(frame[name].dtype).lower().startswith(numbers)]


def has_texts(values: Any) -> bool:
    """Whether rows are texts, or a DataFrame has columns of texts or categories, as far as their first ones tell."""
    if is_frame(values):
        for i, dtype in enumerate(getattr(values, "dtypes", ())):
            kind = str(dtype).lower()
            if kind.startswith(("str", "large_str", "categor", "enum")):
                return True
            first = values.iloc[:_FEW_ROWS, i] if kind == "object" and hasattr(values, "iloc") else ()
            if any(isinstance(value, str) for value in first):
                return True
        return False
    is_flat = isinstance(values, (list, tuple)) or is_series(values)
    if isinstance(values, np.ndarray):
        is_flat = values.ndim == 1  # texts in rows may be numbers
    return is_flat and isinstance(next(iter(values), None), str)


def is_series(values: Any) -> bool:
    return not isinstance(values, np.ndarray) and hasattr(values, "to_numpy") and not hasattr(values, "columns")


def n_rows(values: Any) -> int:
    shape = getattr(values, "shape", None)
    return len(values) if shape is None else int(shape[0])


def take_rows(values: Any, index: np.ndarray) -> Any:
    """Return the rows at ``index``, a new object of the same kind."""
    if isinstance(values, np.ndarray):
        taken = _new_rows(values, index)
        return values.take(index, axis=0) if taken is None else _take(values, index, taken)
    if hasattr(values, "iloc"):
        return values.iloc[index]
    if isinstance(values, (list, tuple)):
        return [values[i] for i in index.tolist()]
    return values[index]  # sparse, polars, array-likes


def _new_rows(values: np.ndarray, index: np.ndarray) -> np.ndarray | None:
    """Return room for rows that the compiled loop can take, None where it cannot, or would not pay."""
    if _compiled.native is None or len(index) < _FEW_ROWS or type(values) not in (np.ndarray, np.memmap):
        return None
    if (
        values.dtype.hasobject
        or not values.flags.c_contiguous
        or index.dtype != np.int64
        or not index.flags.c_contiguous
    ):
        return None
    if index.min() < 0 or index.max() >= len(values):
        return None
    return np.empty((len(index), *values.shape[1:]), values.dtype)


def _take(values: np.ndarray, index: np.ndarray, out: np.ndarray) -> np.ndarray:
    row = out.nbytes // len(index)
    assert _compiled.native is not None  # else there is no room
    _compiled.native.take(values.__array_interface__["data"][0], row, index, row, out.reshape(-1).view(np.uint8))
    return out


def slice_rows(values: Any, start: int, stop: int) -> Any:
    """Return the rows from ``start`` to ``stop``, a view where there are views."""
    if hasattr(values, "iloc"):
        return values.iloc[start:stop]
    return values[start:stop]


def copy_rows(values: Any) -> Any:
    """Return a copy of the same kind."""
    return values.copy() if hasattr(values, "copy") else values.clone()


def empty_rows(n: int, width: int, dtype: np.dtype) -> np.ndarray:
    """Return a new array, not filled, whose address is a multiple of the size of a row.

    Rows of several such arrays lie at multiples of one distance: they are taken together (``Span``) as fast as from one array.
    """
    row = width * dtype.itemsize
    if not row:
        return np.empty((n, width), dtype)
    room = empty_bytes((n + 1) * row)
    start = -room.__array_interface__["data"][0] % row
    return room[start : start + n * row].view(dtype).reshape(n, width)


def take_into_rows(values: Any, index: np.ndarray) -> Any:
    """Return the rows at ``index`` as :func:`take_rows` does, of plain numbers at an address as in :func:`empty_rows`."""
    if type(values) is not np.ndarray or values.ndim != 2 or values.dtype.hasobject:
        return take_rows(values, index)
    return values.take(index, axis=0, out=empty_rows(len(index), values.shape[1], values.dtype), mode="clip")


def sum_of_squares(values: np.ndarray) -> float:
    """Return the sum of the squares of floats: the cheapest way to find out whether one of them is NaN or infinite."""
    if values.size <= _VALUES_AT_ONCE:
        return np.vdot(values, values)
    flat = values.ravel()
    dtype = flat.dtype
    is_usual = dtype.kind == "f" and dtype.itemsize in (4, 8) and dtype.isnative and flat.flags.aligned
    if _compiled.native is not None and is_usual:
        return _compiled.native.sum_of_squares(flat)
    parts = (flat[start : start + _VALUES_AT_ONCE] for start in range(0, len(flat), _VALUES_AT_ONCE))
    return sum(float(np.vdot(part, part)) for part in parts)


def limit_of(dtype: np.dtype, limit: float | None) -> float | None:
    """Return what :func:`sum_of_squares` is to be below for values of this kind, None if they cannot reach it."""
    if dtype.kind != "f" or limit is None:
        return None
    return limit if dtype.itemsize > 4 else math.inf  # which may be beyond what float32 can be compared with


def concat_rows(parts: Sequence[Any]) -> Any:
    """Join row by row; the kind of the first part decides."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if sparse.issparse(first):
        return sparse.vstack(
            [part if sparse.issparse(part) else sparse.csr_matrix(part) for part in parts], format="csr"
        )
    if is_frame(first) or is_series(first):
        library = type(first).__module__.split(".")[0]
        if library == "pandas":
            import pandas

            return pandas.concat(parts, ignore_index=True)
        import polars

        return polars.concat(parts)
    if isinstance(first, list):
        return [row for part in parts for row in part]
    return np.concatenate([part.toarray() if sparse.issparse(part) else np.asarray(part) for part in parts])


def row_bytes(values: Any) -> int:
    """About how many bytes a row has."""
    if sparse.issparse(values):
        return int(12 * values.nnz / max(values.shape[0], 1)) + 16
    shape = getattr(values, "shape", None)
    if shape is None:
        return 256
    width = 1 if len(shape) < 2 else int(np.prod(shape[1:]))
    return width * getattr(getattr(values, "dtype", None), "itemsize", 8)
