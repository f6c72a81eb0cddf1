"""from_npy: a pool of streams from .npy and .npz files."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from ._blocks import CACHE_BYTES
from ._files import is_gone, list_files, short_names
from ._pool import StreamPool
from ._sources import Cutter, Piece, RangeSource, check_options, stream_pool

_PARTS = ("X", "y", "sample_weight")


class NpySource(RangeSource):
    """Rows of arrays that lie in .npy files, which are mapped for as long as a block is read, or in an .npz file."""

    def __init__(self, piece: Piece, files: dict[str, str]) -> None:
        super().__init__(piece)
        self._files = files

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        path = self._files[name]
        try:
            if path.endswith(".npz"):
                with np.load(path) as arrays:
                    return arrays[name][start:stop]
            return np.array(np.load(path, mmap_mode="r")[start:stop])
        except FileNotFoundError as error:
            raise is_gone(path) from error
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(
                f"{path!r} cannot be read any more: {error}. It has changed since the pool was made."
            ) from error

    def where(self, block: int) -> str:
        return f"{super().where(block)} of {self._files['X']!r}"


def from_npy(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    group_by: str = "file",
    block_rows: int | None = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams of samples from NumPy's files.

    Parameters
    ----------
    X : str, path, or sequence of them
        Files, patterns (``"data/X-*.npy"``) or directories. An .npz file holds ``X``, and may hold ``y`` and ``sample_weight``,
        by these names.
    y, sample_weight : as X, optional
        As many .npy files as there are of ``X``, which belong together in sorted order.
    group_by : "file" or "block", default="file"
        What a stream is.
    block_rows : int, optional
        Rows that are read at once; None (default): about a megabyte. An .npz file is one block.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        .npy files are mapped into memory only while a block is read.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or a pattern matches nothing.
    ValueError
        If a file is none of NumPy's, or arrays do not fit each other: the error names the file.

    See Also
    --------
    from_arrays : A pool from arrays in memory.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from streamlearn import from_npy
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     for day in range(2):
    ...         np.save(os.path.join(directory, f"X-{day}.npy"), np.ones((5, 3)))
    ...         np.save(os.path.join(directory, f"y-{day}.npy"), np.arange(5))
    ...     pool = from_npy(os.path.join(directory, "X-*.npy"), os.path.join(directory, "y-*.npy"))
    ...     pool, sorted(int(item["y"]) for item in pool[0])
    (StreamPool(2 streams: 'X-0.npy', 'X-1.npy'), [0, 1, 2, 3, 4])
    """
    options = check_options(window, shuffle, prefetch, cache_bytes, block_rows=block_rows)
    paths = {"X": list_files(X, (".npy", ".npz"), what="X")}
    for part, given in (("y", y), ("sample_weight", sample_weight)):
        if given is not None:
            paths[part] = list_files(given, (".npy",), what=part)
            if len(paths[part]) != len(paths["X"]):
                raise ValueError(f"{part} has {len(paths[part])} files, but X has {len(paths['X'])}.")
    cutter = Cutter(group_by, block_rows)
    sources = []
    for i, name in enumerate(short_names(paths["X"])):
        files = {part: listed[i] for part, listed in paths.items()}
        path = files["X"]
        if is_npz := path.endswith(".npz"):
            headers = _npz_headers(path)
            files = dict.fromkeys(headers, path)
        else:
            headers = {part: _header(file) for part, file in files.items()}
        sources += [NpySource(piece, files) for piece in cutter.cut(name, repr(path), headers, whole=is_npz)]
    return stream_pool(sources, options, repr(X))


def _header(path: str, file: Any = None) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type from the beginning of a file."""
    if file is None:
        with open(path, "rb") as opened:
            return _header(path, opened)
    whole = not path.endswith(".npz")
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read(file)
        if whole and os.path.getsize(path) < file.tell() + int(np.prod(shape)) * dtype.itemsize:
            raise ValueError(f"it should hold an array of shape {shape} and type {dtype}")
    except ValueError as error:
        raise ValueError(
            f"{path!r} is no file of NumPy's, or was cut short ({error}). Write it again with numpy.save."
        ) from error
    return shape, dtype


def _npz_headers(path: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            if "X" not in there:
                raise ValueError(f"{path!r} holds {sorted(there)}, but no 'X': name its arrays X, y and sample_weight.")
            found = {}
            for part in _PARTS:
                if part in there:
                    with archive.open(f"{part}.npy") as file:
                        found[part] = _header(path, file)
            return found
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path!r} is no .npz file, or was cut short ({error}). Write it again.") from error
