"""What block streams read from: descriptions of where blocks lie, which can read one of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ._permute import inverse
from ._rows import n_rows, take_into_rows


class BlockSource:
    """What a block stream reads from: a small, constant, picklable description of where its blocks lie.

    Attributes
    ----------
    name : str
        For errors.
    parts : tuple of str
        Of ``X``, ``y`` and ``sample_weight``, those that blocks have.
    row_bytes : int
        About how many bytes a row has in memory.
    feature_names : tuple of str or None
        Of the columns of ``X``, if it is an array and they have names.
    reads_together : bool
        Whether two blocks are read in less time at once than one after the other.
    keeper : object or None
        What keeps something open between blocks, until its ``close`` is called; its ``expect`` is told how many streams are
        active. Several sources may have one.
    """

    name = ""
    parts: tuple[str, ...] = ("X",)
    row_bytes = 8
    feature_names: tuple[str, ...] | None = None
    reads_together = False
    keeper: Any = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Close what is kept open for the blocks that are read meanwhile."""
        if self.keeper is not None:
            self.keeper.expect(1)
        try:
            yield
        finally:
            if self.keeper is not None:
                self.keeper.close()

    def rows(self) -> np.ndarray:
        """Number of rows of each block; it may be found out at the first call."""
        raise NotImplementedError

    def read(self, block: int) -> dict[str, Any]:
        """Read a block. Several threads may do so at once."""
        raise NotImplementedError

    def read_in_order(self, block: int, places: np.ndarray) -> dict[str, Any]:
        """Read a block with its rows in another order, each at its place; one of another length may come as it lies."""
        columns = {**self.read(block)}
        if any(n_rows(values) != len(places) for values in columns.values()):  # it will be refused
            return columns
        order = inverse(places)
        return {name: take_into_rows(columns.pop(name), order) for name in list(columns)}

    def read_part(self, block: int, name: str) -> Any:
        """Read one part of a block."""
        return self.read(block)[name]

    def identity(self, block: int) -> Hashable:
        """Say which block it is, where several sources read the rows of one; None: no other source reads it."""
        return None

    def n_read(self) -> int | None:
        """Number of blocks that this source and others that share them have read; None: each at each call of :meth:`read`."""
        return None

    def where(self, block: int) -> str:
        """Say where a block lies, for errors."""
        return f"block {block}"


class Note:
    """Adds to an error which stream it comes from."""

    def __init__(self, source: BlockSource, block: int) -> None:
        self._source = source
        self._block = block

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            error.add_note(f"raised by stream {self._source.name!r}, reading {self._source.where(self._block)}")


def read_block(source: BlockSource, block: int, places: np.ndarray | None = None) -> dict[str, Any]:
    """Read a block, with errors that name the stream; its rows come as they lie, or each at its place."""
    with Note(source, block):
        columns = source.read(block) if places is None else source.read_in_order(block, places)
        expected = int(source.rows()[block])
        for name, values in columns.items():
            if n_rows(values) != expected:
                raise ValueError(
                    f"{name} has {n_rows(values)} rows where {expected} were counted before: the data has changed. "
                    "Make the pool again."
                )
        return columns
