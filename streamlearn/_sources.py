"""What all functions that make pools of block streams share."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._blocks import BlockSource, BlockStream
from ._pool import StreamPool
from ._visits import check_count


def check_options(window: Any, shuffle: Any, prefetch: Any, cache_bytes: Any) -> dict[str, Any]:
    """Check what block streams are made with."""
    if window is not None:
        check_count("window", window)
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be a bool, got {shuffle!r}.")
    for name, value in (("prefetch", prefetch), ("cache_bytes", cache_bytes)):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be an int that is not negative, got {value!r}.")
    return {"window": window, "shuffle": bool(shuffle), "prefetch": int(prefetch), "cache_bytes": int(cache_bytes)}


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
    n_rows, block_rows : int
    parts : tuple of str
    row_bytes : int
    """

    def __init__(self, name: str, n_rows: int, block_rows: int, parts: tuple[str, ...], row_bytes: int) -> None:
        self.name = name
        self.parts = parts
        self.row_bytes = row_bytes
        self._n_rows = n_rows
        self._block_rows = block_rows

    def rows(self) -> np.ndarray:
        return np.diff(np.append(np.arange(0, self._n_rows, self._block_rows), self._n_rows))

    def read(self, block: int) -> dict[str, Any]:
        return {name: self.read_part(block, name) for name in self.parts}

    def read_part(self, block: int, name: str) -> Any:
        start = block * self._block_rows
        return self.read_rows(name, start, min(start + self._block_rows, self._n_rows))

    def read_rows(self, name: str, start: int, stop: int) -> Any:
        """Read rows of one part."""
        raise NotImplementedError

    def where(self, block: int) -> str:
        start = block * self._block_rows
        return f"rows {start} to {min(start + self._block_rows, self._n_rows)}"
