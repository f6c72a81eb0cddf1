"""What all functions that make pools of block streams share."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._blocks import BlockSource, BlockStream
from ._pool import StreamPool
from ._visits import check_count


def check_options(window: Any, shuffle: Any, prefetch: Any, cache_bytes: Any, **counts: Any) -> dict[str, Any]:
    """Check what block streams are made with, and further parameters that are counts, or None."""
    for name, value in (("window", window), *counts.items()):
        if value is not None:
            check_count(name, value)
    check_bool("shuffle", shuffle)
    for name, value in (("prefetch", prefetch), ("cache_bytes", cache_bytes)):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be an int that is not negative, got {value!r}.")
    return {"window": window, "shuffle": bool(shuffle), "prefetch": int(prefetch), "cache_bytes": int(cache_bytes)}


def check_bool(name: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be a bool, got {value!r}.")


def stream_pool(sources: Sequence[BlockSource], options: dict[str, Any], where: str) -> StreamPool:
    """Make a pool of sources, named by them."""
    if not sources:
        raise ValueError(f"{where} holds no row to learn from.")
    return StreamPool([BlockStream(source, **options) for source in sources], names=[source.name for source in sources])


class RangeSource(BlockSource):
    """Rows of an array-like that are read by ranges of equal length.

    Parameters
    ----------
    name : str
    rows : tuple (first, last)
        The range of its rows that the stream has.
    block_rows : int
    parts : tuple of str
    row_bytes : int
    """

    def __init__(
        self, name: str, rows: tuple[int, int], block_rows: int, parts: tuple[str, ...], row_bytes: int
    ) -> None:
        self.name = name
        self.parts = parts
        self.row_bytes = row_bytes
        self._edges = np.append(np.arange(*rows, block_rows), rows[1]) if rows[1] > rows[0] else np.array([rows[0]])

    def rows(self) -> np.ndarray:
        return np.diff(self._edges)

    def read(self, block: int) -> dict[str, Any]:
        return {name: self.read_part(block, name) for name in self.parts}

    def read_part(self, block: int, name: str) -> Any:
        return self.read_rows(name, int(self._edges[block]), int(self._edges[block + 1]))

    def read_rows(self, name: str, start: int, stop: int) -> Any:
        """Read rows of one part."""
        raise NotImplementedError

    def where(self, block: int) -> str:
        return f"rows {self._edges[block]} to {self._edges[block + 1]}"


def default_block_rows(row_bytes: int, chunk: int = 1) -> int:
    """About a megabyte, in whole chunks."""
    rows = min(max(2**20 // max(row_bytes, 1), 1), 2**13)
    return max(rows // chunk, 1) * chunk


def cut(name: str, n_rows: int, block_rows: int, group_by: str) -> list[tuple[str, tuple[int, int]]]:
    """Name the streams of a file, and say which of its rows each has.

    Parameters
    ----------
    group_by : "file" or "block"
        One stream, or one for each block.
    """
    if group_by not in ("file", "block"):
        raise ValueError(f"group_by must be 'file' or 'block', got {group_by!r}.")
    if group_by == "file":
        return [(name, (0, n_rows))]
    starts = range(0, n_rows, block_rows)
    return [(f"{name}#{i}", (start, min(start + block_rows, n_rows))) for i, start in enumerate(starts)]


def check_aligned(shapes: dict[str, tuple[int, ...]], dtypes: dict[str, np.dtype], where: str) -> int:
    """Check the shapes and types of the arrays of a file; return the number of rows."""
    for part, shape in shapes.items():
        if not shape:
            raise ValueError(f"{where}: {part} is a scalar; it must have a row for each sample.")
        if shape[0] != shapes["X"][0]:
            raise ValueError(f"{where}: {part} has {shape[0]} rows, but X has {shapes['X'][0]}.")
        if dtypes[part].kind in "Mm":
            raise ValueError(f"{where}: {part} holds dates ({dtypes[part]}): derive numbers from them before.")
        if dtypes[part].kind == "O":
            raise ValueError(f"{where}: {part} holds Python objects: save it as an array of numbers.")
    return shapes["X"][0]


class SameColumns:
    """Checks that the arrays of all files have the same columns."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, ...]] | None = None

    def check(self, shapes: dict[str, tuple[int, ...]], where: str) -> None:
        columns = {part: shape[1:] for part, shape in shapes.items()}
        if self._first is None:
            self._first, self._where = columns, where
        elif columns != self._first:
            raise ValueError(f"{where} has rows of shape {columns}, but {self._where} has {self._first}.")


def bytes_per_row(shapes: dict[str, tuple[int, ...]], dtypes: dict[str, np.dtype]) -> int:
    return sum(int(np.prod(shape[1:])) * dtypes[part].itemsize for part, shape in shapes.items())
