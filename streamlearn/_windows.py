"""Windows of blocks: how those of a pass over a stream are put together, and what is known of one."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np

from ._permute import permutation
from ._random import mix_one

_FIRST, _BOTH_ENDS = np.zeros(1, np.int64), np.arange(2)


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
    """

    __slots__ = ("_key", "cuts", "number", "order", "starts")

    def __init__(self, rows: np.ndarray, window: int, key: int, shuffle: bool, number: int) -> None:
        self.number = number
        self._key = key
        if len(rows) == 1 and rows[0]:
            self.order, self.cuts, self.starts = _FIRST, _BOTH_ENDS, np.array([0, rows[0]])
            return
        blocks = np.flatnonzero(rows)
        if shuffle and len(blocks) > 1:
            blocks = blocks[permutation(len(blocks), key)]
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

    def at(self, place: int) -> int:
        """Return the window in which a place lies."""
        return int(self.starts.searchsorted(place, "right")) - 1

    def key(self, w: int) -> int:
        """Return the key of the permutation of a window."""
        return mix_one(self._key, w + 1)
