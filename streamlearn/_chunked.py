"""from_hdf5 and from_zarr: pools of streams from arrays in chunked files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES
from ._files import as_paths, is_gone, is_url, list_files, nearest, short_names
from ._optional import require
from ._pool import StreamPool
from ._sources import Cutter, Piece, RangeSource, check_options, stream_pool


class ChunkedSource(RangeSource):
    """Rows of arrays in a file that is open only while a block is read."""

    def __init__(self, piece: Piece, opener: Callable, path: str, arrays: dict[str, str]) -> None:
        super().__init__(piece)
        self._open = opener
        self._path = path
        self._arrays = arrays

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        if not is_url(self._path) and not os.path.exists(self._path):
            raise is_gone(self._path)
        with self._open(self._path) as opened:
            array = _array(opened, self._arrays[name], self._path)
            try:
                return np.asarray(array[start:stop])
            except (OSError, ValueError, RuntimeError, KeyError) as error:  # what codecs and libraries raise
                raise ValueError(
                    f"{self._path!r} is damaged or was cut short: {self._arrays[name]!r} cannot be read ({error}). "
                    "Write it again."
                ) from error

    def where(self, block: int) -> str:
        return f"{super().where(block)} of {self._path!r}"


def _open_hdf5(path: str) -> Any:
    h5py = require("h5py", extra="hdf5", purpose="from_hdf5")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path!r} is no HDF5 file that can be read, or was cut short ({error}). Write it again."
        ) from error


class _open_zarr:
    """Opens a Zarr store, which has nothing to close."""

    def __init__(self, path: str) -> None:
        zarr = require("zarr", extra="zarr", purpose="from_zarr")
        try:
            self._opened = zarr.open(path, mode="r")
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{path!r} is no Zarr store that can be read: {error}") from error

    def __enter__(self) -> Any:
        return self._opened

    def __exit__(self, *error: Any) -> None:
        pass


def _array(opened: Any, name: str, path: str) -> Any:
    try:
        found = opened[name]
        found.shape  # noqa: B018  (a group has none)
    except (KeyError, AttributeError):
        there = list(opened.keys()) if hasattr(opened, "keys") else []
        raise ValueError(f"{path!r} has no array {name!r}.{nearest(name, there)} It has {there}.") from None
    return found


def from_hdf5(
    paths: Any,
    X: str = "X",
    y: str | None = None,
    sample_weight: str | None = None,
    *,
    group_by: str = "file",
    block_rows: int | None = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams of samples from HDF5 files.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Files, patterns or directories.
    X, y, sample_weight : str
        Names of the arrays in each file, such as ``"train/images"``.
    group_by : "file" or "block", default="file"
        What a stream is.
    block_rows : int, optional
        Rows that are read at once; None (default): about a megabyte, in whole chunks.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        A file is open only while a block of it is read.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or a pattern matches nothing.
    ValueError
        If a file is no HDF5 file, has no such array, or arrays do not fit each other.

    See Also
    --------
    from_zarr, from_npy : Arrays in other files.

    Examples
    --------
    >>> import os, tempfile
    >>> import h5py, numpy as np
    >>> from streamlearn import from_hdf5
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "digits.h5")
    ...     with h5py.File(path, "w") as file:
    ...         file["images"], file["labels"] = np.ones((6, 4)), np.arange(6)
    ...     pool = from_hdf5(path, "images", "labels", group_by="block", block_rows=4)
    ...     pool, len(list(pool[0]))
    (StreamPool(2 streams: 'digits.h5#0', 'digits.h5#1'), 4)
    """
    require("h5py", extra="hdf5", purpose="from_hdf5")
    options = check_options(window, shuffle, prefetch, cache_bytes, block_rows=block_rows)
    files = list_files(paths, (".h5", ".hdf5", ".he5"))
    return _pool(_open_hdf5, files, {"X": X, "y": y, "sample_weight": sample_weight}, group_by, block_rows, options)


def from_zarr(
    paths: Any,
    X: str = "X",
    y: str | None = None,
    sample_weight: str | None = None,
    *,
    group_by: str = "file",
    block_rows: int | None = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams of samples from Zarr groups.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Stores: directories or zip files of a group each, patterns of them, or URLs that zarr understands.
    X, y, sample_weight : str
        Names of the arrays in each group.
    group_by : "file" or "block", default="file"
        What a stream is; a store counts as a file.
    block_rows : int, optional
        Rows that are read at once; None (default): about a megabyte, in whole chunks.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool

    Raises
    ------
    FileNotFoundError
        If a store is missing, or a pattern matches nothing.
    ValueError
        If a path is no store, has no such array, or arrays do not fit each other.

    See Also
    --------
    from_hdf5, from_npy : Arrays in other files.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, zarr
    >>> from streamlearn import from_zarr
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "digits.zarr")
    ...     group = zarr.open_group(path, mode="w")
    ...     group["images"], group["labels"] = np.ones((6, 4)), np.arange(6)
    ...     pool = from_zarr(path, "images", "labels")
    ...     pool, len(list(pool[0]))
    (StreamPool(1 stream: 'digits.zarr'), 6)
    """
    require("zarr", extra="zarr", purpose="from_zarr")
    options = check_options(window, shuffle, prefetch, cache_bytes, block_rows=block_rows)
    stores: list[str] = []
    for path in as_paths(paths):
        stores += [path] if is_url(path) or os.path.isdir(path) else list_files(path, (".zarr",), directories=True)
    return _pool(_open_zarr, stores, {"X": X, "y": y, "sample_weight": sample_weight}, group_by, block_rows, options)


def _pool(
    opener: Callable,
    files: list[str],
    arrays: dict[str, str | None],
    group_by: str,
    block_rows: Any,
    options: dict[str, Any],
) -> StreamPool:
    for part, name in arrays.items():
        if not isinstance(name, str) and (part == "X" or name is not None):
            raise TypeError(f"{part} must be the name of an array{'' if part == 'X' else ' or None'}, got {name!r}.")
    named = {part: name for part, name in arrays.items() if name is not None}
    cutter = Cutter(group_by, block_rows)
    sources = []
    for name, path in zip(short_names(files), files, strict=True):
        with opener(path) as opened:
            found = {part: _array(opened, array, path) for part, array in named.items()}
            headers = {part: (tuple(array.shape), np.dtype(array.dtype)) for part, array in found.items()}
            chunk = int((found["X"].chunks or (1,))[0])
        sources += [ChunkedSource(piece, opener, path, named) for piece in cutter.cut(name, repr(path), headers, chunk)]
    return stream_pool(sources, options, repr(files))
