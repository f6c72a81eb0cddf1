"""Windows of blocks: how those of a pass over a stream are put together, and what is known of one."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np

from ._permute import permutation
from ._random import mix_array


class Window:
    """Consecutive blocks of a pass over a stream, whose samples are mixed."""

    __slots__ = (
        "begin",
        "blocks",
        "columns",
        "first",
        "future",
        "given",
        "key",
        "n_bytes",
        "n_pins",
        "size",
        "source",
        "stream",
    )

    def __init__(self, stream: int, source: Any, begin: int, blocks: list[int], size: int, key: int | None) -> None:
        self.stream = stream
        self.source = source
        self.begin = begin  # samples of all passes over the stream that come before it
        self.key = key  # of the order of its rows; None: as they lie
        self.blocks = blocks
        self.size = size
        self.given = 0  # samples that were located
        self.n_pins = 0  # times that it was located and not gathered yet
        self.n_bytes = 0
        self.columns: dict[str, Any] | None = None
        self.future: Future | None = None
        self.first: tuple[dict[str, str], str] | None = (
            None  # kinds of rows of the block that was read first, and where it lies
        )


class Layout:
    """How the blocks of a pass over a stream are put together to windows.

    Attributes
    ----------
    number : int
        Of the pass.
    order : ndarray of int
        The blocks.
    starts : ndarray of shape (n_windows + 1,)
        Places in the pass at which windows begin, and its length.
    cuts : ndarray of shape (n_windows + 1,)
        The same among the blocks.
    keys : ndarray of shape (n_windows,), uint32
        For the permutation of each window.
    """

    __slots__ = ("cuts", "keys", "number", "order", "starts")

    def __init__(self, rows: np.ndarray, window: int, key: np.ndarray, shuffle: bool, number: int) -> None:
        self.number = number
        blocks = np.flatnonzero(rows)
        if shuffle and len(blocks) > 1:
            blocks = blocks[permutation(len(blocks), int(key[0]))]
        ends = np.cumsum(rows[blocks])
        cuts = np.arange(len(blocks) + 1)
        if window > int(rows[blocks].min()):
            at, closed = [0], 0
            while at[-1] < len(blocks):
                at.append(min(int(np.searchsorted(ends, closed + window)) + 1, len(blocks)))
                closed = int(ends[at[-1] - 1])
            cuts = np.array(at)
        self.order, self.cuts = blocks, cuts
        self.starts = np.append(0, ends)[cuts]
        self.keys = mix_array(int(key[0]), np.arange(1, len(cuts)))
