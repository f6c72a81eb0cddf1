"""from_dataframe: a pool of streams from a DataFrame in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._columns import Chosen
from ._files import refuse_missing
from ._pool import StreamPool, from_arrays
from ._rows import is_frame, not_numbers
from ._streamer import short_repr


def from_dataframe(
    frame: Any,
    *,
    target: Any,
    features: Any = None,
    sample_weight: str | None = None,
    by: str | None = None,
    n_streams: int | None = None,
    shuffle: bool = True,
) -> StreamPool:
    """Make a pool of streams of samples from a DataFrame of pandas or polars.

    Parameters
    ----------
    frame : DataFrame
    target : str, list of str or None
        Column of targets; several make ``y`` two-dimensional.
    features : sequence of str, optional
        Columns of ``X``. None (default): all others.
    sample_weight : str, optional
        Column of weights.
    by : str, optional
        Column of which each value is a stream, named by it; rows without a value are one, named "None".
    n_streams : int, optional
        Number of blocks of rows, without ``by``; one by default.
    shuffle : bool, default=True
        Whether each pass over a stream has an order of its own.

    Returns
    -------
    pool : StreamPool
        Numbers make one float array (float32 if all features are), nulls are NaN. If a feature is text or a category, ``X``
        is a DataFrame.

    Raises
    ------
    ValueError
        If a column is missing (the nearest name is offered) or holds dates.

    See Also
    --------
    from_arrays : A pool from arrays.
    from_parquet : A pool from files that need not fit in memory.

    Examples
    --------
    >>> import pandas as pd
    >>> from streamlearn import from_dataframe
    >>> frame = pd.DataFrame({"distance": [1.0, 2.5, 4.0], "late": [0, 1, 1], "carrier": ["UA", "AA", "UA"]})
    >>> from_dataframe(frame, target="late", by="carrier")
    StreamPool(2 streams: 'AA', 'UA')
    """
    if not is_frame(frame):
        raise TypeError(f"frame must be a DataFrame of pandas or polars, got {type(frame).__name__}.")
    if by is not None:
        if not isinstance(by, str):
            raise TypeError(
                f"by must be the name of a column, got {short_repr(by)}: for streams by several columns, or by values beside the "
                "frame, add a column of them."
            )
        refuse_missing([by], list(map(str, frame.columns)), "the frame")
    parts, feature_names = frame_parts(frame, target, features, sample_weight, () if by is None else (by,))
    values = None if by is None else _values_of(frame[by])
    pool = from_arrays(**parts, by=values, n_streams=n_streams, shuffle=shuffle)
    pool[0]._table.feature_names = feature_names  # type: ignore[attr-defined]  # all streams share one
    return pool


def frame_parts(
    frame: Any, target: Any, features: Any, sample_weight: str | None, without: tuple[str, ...] = ()
) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Return ``X``, ``y`` and ``sample_weight`` of a frame, those that there are, and how the columns of ``X`` are called.

    Names are None where ``X`` is a frame, which knows them.
    """
    if others := [name for name in frame.columns if not isinstance(name, str)]:
        raise TypeError(
            f"the frame has columns whose names are no texts ({', '.join(map(repr, others[:5]))}): rename them, as by "
            "frame.columns = frame.columns.astype(str)."
        )
    chosen = Chosen(list(frame.columns), target, features, sample_weight, "the frame", without)
    for name in chosen.names:
        if _is_date(frame[name]):
            raise ValueError(
                f"column {name!r} holds dates: derive numbers from it (hour, weekday) before, or leave it out with features=."
            )
    parts = {"X": _numbers(frame, chosen.features)}
    if chosen.targets:
        columns = [frame[name].to_numpy() for name in chosen.targets]
        parts["y"] = np.column_stack(columns) if chosen.target_is_list else columns[0]
    if chosen.weight is not None:
        parts["sample_weight"] = frame[chosen.weight].to_numpy()
    return parts, None if is_frame(parts["X"]) else chosen.feature_names


def _values_of(column: Any) -> np.ndarray:
    """Return the values of a column, None where there is none."""
    is_pandas = hasattr(column, "iloc")
    missing = (column.isna() if is_pandas else column.is_null()).to_numpy()
    if not missing.any():
        return column.to_numpy()
    values = np.empty(len(missing), object)
    values[:] = column.tolist() if is_pandas else column.to_list()
    values[missing] = None
    return values


def _is_date(column: Any) -> bool:
    kind = str(column.dtype).lower()
    return kind.startswith(("date", "time", "duration", "period"))


def _numbers(frame: Any, names: list[str]) -> Any:
    """Return an array of floats, or the frame if some of it is no number."""
    frame = frame[names]
    if not_numbers(frame):
        return frame
    dtype = np.float32 if {str(frame[name].dtype).lower() for name in names} == {"float32"} else np.float64
    if hasattr(frame, "iloc"):
        return np.ascontiguousarray(frame.to_numpy(dtype, na_value=np.nan))
    return np.column_stack([frame[name].to_numpy().astype(dtype) for name in names])
