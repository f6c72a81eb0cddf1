"""What all functions that make pools of block streams share."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._blocks import BlockSource, BlockStream
from ._pool import StreamPool
from ._visits import check_count, check_option


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


class TableSource(BlockSource):
    """Blocks that are read as tables, of which columns become samples, targets and weights.

    Parameters
    ----------
    name : str
    columns : Chosen
        ``convert(table, part)`` makes arrays of what :meth:`table` returns.
    """

    def __init__(self, name: str, columns: Any) -> None:
        self.name = name
        self.parts = columns.parts
        self.row_bytes = columns.row_bytes
        self._columns = columns

    @property
    def feature_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._columns.feature_names

    def read(self, block: int) -> dict[str, Any]:
        return self._columns.convert(self.table(block, self._columns.names))

    def read_part(self, block: int, name: str) -> Any:
        return self._columns.convert(self.table(block, self._columns.names_of(name)), name)[name]

    def table(self, block: int, names: list[str]) -> Any:
        """Read columns of a block."""
        raise NotImplementedError


class Piece(NamedTuple):
    """What a stream has of a file of arrays: rows from ``start`` to ``stop``, to be read ``block_rows`` at once."""

    name: str
    start: int
    stop: int
    block_rows: int
    parts: tuple[str, ...]
    row_bytes: int


class RangeSource(BlockSource):
    """Rows of array-likes that are read by ranges of equal length."""

    def __init__(self, piece: Piece) -> None:
        self.name, start, stop, block_rows, self.parts, self.row_bytes = piece
        self._edges = np.append(np.arange(start, stop, block_rows), stop)

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


class Cutter:
    """Cuts files of arrays into streams, and these into blocks, and checks that the files are alike.

    Parameters
    ----------
    group_by : "file" or "block"
        A stream for each file, or for each block.
    block_rows : int or None
        None: about a megabyte.
    """

    def __init__(self, group_by: str, block_rows: int | None) -> None:
        check_option("group_by", group_by, ("file", "block"))
        self._by_block = group_by == "block"
        self._block_rows = block_rows
        self._columns: dict[str, tuple[int, ...]] = {}
        self._where = ""

    def cut(
        self,
        name: str,
        where: str,
        arrays: dict[str, tuple[tuple[int, ...], np.dtype]],
        chunk: int = 1,
        whole: bool = False,
    ) -> list[Piece]:
        """Return the pieces of a file.

        Parameters
        ----------
        name, where : str
            Of its streams, and for errors.
        arrays : dict of part to (shape, dtype)
        chunk : int, default=1
            Blocks are made of as many rows, or of multiples.
        whole : bool, default=False
            Whether the file can only be read as one block.
        """
        n_rows = self._check(arrays, where)
        row_bytes = sum(int(np.prod(shape[1:])) * dtype.itemsize for shape, dtype in arrays.values())
        rows = self._block_rows or max(min(2**20 // max(row_bytes, 1), 2**13) // chunk, 1) * chunk
        if whole:
            rows = max(n_rows, 1)
        parts = tuple(arrays)
        if not self._by_block:
            return [Piece(name, 0, n_rows, rows, parts, row_bytes)]
        starts = range(0, n_rows, rows)
        return [
            Piece(f"{name}#{i}", start, min(start + rows, n_rows), rows, parts, row_bytes)
            for i, start in enumerate(starts)
        ]

    def _check(self, arrays: dict[str, tuple[tuple[int, ...], np.dtype]], where: str) -> int:
        """Check the shapes and types of the arrays of a file; return the number of rows."""
        n_rows = arrays["X"][0][:1]
        for part, (shape, dtype) in arrays.items():
            if not shape:
                raise ValueError(f"{where}: {part} is a scalar; it must have a row for each sample.")
            if shape[:1] != n_rows:
                raise ValueError(f"{where}: {part} has {shape[0]} rows, but X has {n_rows[0]}.")
            if dtype.kind in "Mm":
                raise ValueError(f"{where}: {part} holds dates ({dtype}): derive numbers from them before.")
            if dtype.kind in "OVc":
                raise ValueError(f"{where}: {part} is of type {dtype}: save it as an array of numbers.")
        columns = {part: shape[1:] for part, (shape, _) in arrays.items()}
        if self._columns and columns != self._columns:
            raise ValueError(f"{where} has rows of shape {columns}, but {self._where} has {self._columns}.")
        self._columns, self._where = columns, where
        return n_rows[0]
