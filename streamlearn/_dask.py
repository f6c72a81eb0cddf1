"""from_dask: a pool of streams from the partitions of a dask collection."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._batch import as_batch
from ._blocks import CACHE_BYTES, BlockSource
from ._dataframe import frame_parts
from ._locks import lock_of
from ._optional import require
from ._pool import StreamPool
from ._sources import check_options, stream_pool


class Partitions:
    """What the streams of a pool share: their collections, and the number of rows of each partition."""

    def __init__(self, collections: dict[str, Any], columns: dict[str, Any] | None, counts: np.ndarray | None) -> None:
        self.collections = collections
        self.columns = columns
        self._counts = counts
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = lock_of(self)

    @property
    def counts(self) -> np.ndarray:
        """Rows of each partition; where dask does not know them, all partitions are computed once for it."""
        with self._lock:
            if self._counts is None:
                dask = require("dask", extra="dask", purpose="from_dask")
                delayed = self.collections["X"].to_delayed()
                lengths = [dask.delayed(len)(part) for part in np.ravel(delayed)]
                self._counts = np.array(dask.compute(*lengths), np.int64)
            return self._counts

    def compute(self, i: int, part: str | None) -> dict[str, Any]:
        dask = require("dask", extra="dask", purpose="from_dask")
        X = self.collections["X"]
        if self.columns is not None:
            frame = X.partitions[i].compute()
            return frame_parts(frame, **self.columns)[0]
        if hasattr(X, "to_dataframe"):  # a bag
            batches = [as_batch(item) for item in np.ravel(X.to_delayed())[i].compute()]
            found = {"X": np.concatenate([batch.X for batch in batches])}
            for name in ("y", "sample_weight"):
                if getattr(batches[0], name) is not None:
                    found[name] = np.concatenate([getattr(batch, name) for batch in batches])
            return found
        names = list(self.collections) if part is None else [part]
        return dict(zip(names, dask.compute(*(self.collections[name].blocks[i] for name in names)), strict=True))


class DaskSource(BlockSource):
    """One partition."""

    def __init__(self, partitions: Partitions, i: int, parts: tuple[str, ...], row_bytes: int) -> None:
        self.name = f"partition {i}"
        self.parts = parts
        self.row_bytes = row_bytes
        self._partitions = partitions
        self._i = i

    def rows(self) -> np.ndarray:
        return self._partitions.counts[self._i : self._i + 1]

    def read(self, block: int) -> dict[str, Any]:
        return self._partitions.compute(self._i, None)

    def read_part(self, block: int, name: str) -> Any:
        return self._partitions.compute(self._i, name)[name]


def from_dask(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    target: Any = None,
    features: Any = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams of samples from a dask collection, a stream for each partition.

    A partition is computed when a sample of it is due, by dask's scheduler: on a cluster, where it lies.

    Parameters
    ----------
    X : dask array, DataFrame or bag
        A partition should fit in memory ``n_active`` times. The items of a bag are samples or batches: a mapping with ``X``
        and perhaps ``y`` and ``sample_weight``, or a tuple of them.
    y, sample_weight : dask arrays, optional
        Beside an array, in the same chunks.
    target : str or list of str, optional
        Beside a DataFrame: column of targets.
    features : sequence of str, optional
        Beside a DataFrame: columns of ``X``; None (default): all others.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        Where dask does not know how many rows partitions have (DataFrames, bags), they are computed once to count them, when
        the first stream is asked for its length.

    Raises
    ------
    TypeError
        If ``X`` is no dask collection.
    ValueError
        If chunks do not fit each other or a column is missing.

    See Also
    --------
    from_parquet : Reads files without dask.

    Examples
    --------
    >>> import dask.array as da
    >>> from streamlearn import from_dask
    >>> pool = from_dask(da.ones((10, 3), chunks=(5, 3)), da.arange(10, chunks=5))
    >>> pool
    StreamPool(2 streams: 'partition 0', 'partition 1')
    >>> sorted(int(item["y"]) for item in pool[1])
    [5, 6, 7, 8, 9]
    """
    dask = require("dask", extra="dask", purpose="from_dask")
    options = check_options(window, shuffle, prefetch, cache_bytes)
    if not dask.is_dask_collection(X):
        raise TypeError(f"X must be a dask array, DataFrame or bag, got {type(X).__name__}.")
    if hasattr(X, "to_dataframe") or (hasattr(X, "partitions") and hasattr(X, "columns")):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "y and sample_weight go with arrays: name columns of a DataFrame, or put them into the items."
            )
        return _from_partitions(X, target, features, options)
    if target is not None or features is not None:
        raise ValueError("target and features go with a DataFrame: beside an array, pass y.")
    for name, array in (("y", y), ("sample_weight", sample_weight)):
        if array is not None and not dask.is_dask_collection(array):
            raise TypeError(f"{name} must be a dask array, got {type(array).__name__}.")
    if X.ndim > 1 and max(X.numblocks[1:]) > 1:
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    arrays = {part: array for part, array in given.items() if array is not None}
    for part, array in arrays.items():
        if str(array.chunks[0]) != str(X.chunks[0]):
            raise ValueError(f"{part} has the chunks {array.chunks[0]}, but X has {X.chunks[0]}: rechunk one of them.")
    known = not np.isnan(X.chunks[0]).any()
    partitions = Partitions(arrays, None, np.array(X.chunks[0], np.int64) if known else None)
    row_bytes = int(np.prod(X.shape[1:])) * X.dtype.itemsize + 16
    sources = [DaskSource(partitions, i, tuple(arrays), row_bytes) for i in range(X.numblocks[0])]
    return stream_pool(sources, options, "X")


def _from_partitions(X: Any, target: Any, features: Any, options: dict[str, Any]) -> StreamPool:
    columns = feature_names = None
    if hasattr(X, "columns"):
        columns = {"target": target, "features": features, "sample_weight": None}
        found, feature_names = frame_parts(X._meta, **columns)
        parts = tuple(found)
        row_bytes = 8 * len(X.columns)
    else:
        first = as_batch(X.take(1, warn=False)[0])
        parts = tuple(part for part in ("X", "y", "sample_weight") if getattr(first, part) is not None)
        row_bytes = 8 * int(np.prod(first.X.shape[1:]))
    partitions = Partitions({"X": X}, columns, None)
    sources = [DaskSource(partitions, i, parts, row_bytes) for i in range(X.npartitions)]
    for source in sources:
        source.feature_names = feature_names
    return stream_pool(sources, options, "X")
