"""Streams of samples that lie in blocks: row groups, chunks, row ranges of a file.

A block is read once and handed out sample by sample. Each pass over a stream visits its blocks in an order of its own, and
its samples in an order of their own within a window of consecutive blocks, so that only windows need to be in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ._arrays import SampleStream, check_parts
from ._block_reader import BlockReader
from ._block_source import BlockSource, Note, read_block
from ._rows import concat_rows, n_rows, slice_rows
from ._streamer import Streamer

CACHE_BYTES = 2**28


class BlockStream(SampleStream):
    """A stream of the samples of a source, block by block.

    Parameters
    ----------
    source : BlockSource
    window : int, optional
        Least number of rows within which samples are shuffled: whole blocks are put together until they have as many. None
        (default): a block.
    shuffle : bool, default=True
        Whether each pass has an order of blocks and samples of its own.
    prefetch : int, default=0
        Number of threads that read blocks before they are due; the samples are the same for any number.
    cache_bytes : int
        Windows are kept while together they are not larger, beside those at hand.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn._blocks import BlockSource, BlockStream
    >>> class Squares(BlockSource):
    ...     def rows(self):
    ...         return np.array([2, 3])
    ...     def read(self, block):
    ...         return {"X": np.array([[0, 1], [4, 9, 16]][block])[:, None]}
    >>> [int(item["X"][0]) for item in BlockStream(Squares(), shuffle=False)]
    [0, 1, 4, 9, 16]
    """

    def __init__(
        self,
        source: BlockSource,
        window: int | None = None,
        shuffle: bool = True,
        prefetch: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(())
        self._source = source
        self._window = window
        self._shuffle = shuffle
        self._prefetch = prefetch
        self._cache_bytes = cache_bytes

    @property
    def _n_samples(self) -> int:  # type: ignore[override]
        return int(self._source.rows().sum())

    @property
    def _feature_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._source.feature_names

    def _blocks(self) -> list[int]:
        return np.flatnonzero(self._source.rows()).tolist()

    def _column(self, name: str) -> Any:
        parts = list(self._column_parts(name))
        return concat_rows(parts) if parts else np.empty(0)

    def _column_parts(self, name: str) -> Iterator[Any]:
        if name not in self._source.parts:
            yield None
            return
        with self._source.opened():
            for block in self._blocks():
                with Note(self._source, block):
                    part = self._source.read_part(block, name)
                yield part

    def _in_order(self, n: int) -> Iterator[dict[str, Any]]:
        with self._source.opened():
            waiting: list[dict[str, Any]] = []  # small blocks, which are joined
            for block in self._blocks():
                columns = read_block(self._source, block)
                size = _size(columns)
                is_small = 2 * size <= n and (not waiting or _kinds(columns) == _kinds(waiting[0]))
                if waiting and not (is_small and sum(map(_size, waiting)) + size <= n):
                    yield _joined(waiting)
                    waiting = []
                if is_small:
                    waiting.append(columns)
                    continue
                for start in range(0, size, n):
                    yield {name: slice_rows(values, start, min(start + n, size)) for name, values in columns.items()}
            if waiting:
                yield _joined(waiting)

    def _where(self, row: int) -> str:
        rows = self._source.rows()
        block = int(np.searchsorted(np.cumsum(rows), row, side="right"))
        return f"row {row - int(rows[:block].sum())} of {self._source.where(block)}"

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int, sizes: np.ndarray | None = None) -> Any:
        check_parts(list({stream._source.parts for stream in streams}))  # type: ignore[attr-defined]
        return BlockReader(streams, seed, sizes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._source.name} ({', '.join(self._source.parts)})>"


@contextmanager
def reading(streams: Iterable[Streamer]) -> Iterator[None]:
    """Keep what streams share for each other while they are read one after another, and give it back then."""
    keepers = {
        id(stream._source.keeper): stream._source.keeper for stream in streams if isinstance(stream, BlockStream)
    }
    shared = [keeper for keeper in keepers.values() if keeper is not None]
    for keeper in shared:
        keeper.expect(1)
    try:
        yield
    finally:
        for keeper in shared:
            keeper.close()


def _size(columns: dict[str, Any]) -> int:
    return n_rows(columns["X"])


def _kinds(columns: dict[str, Any]) -> list[Any]:
    """Return what must be the same for blocks to be joined as they are."""
    return [
        (type(values), getattr(values, "dtype", None), getattr(values, "shape", (0,))[1:])
        for values in columns.values()
    ]


def _joined(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return (
        blocks[0] if len(blocks) == 1 else {name: concat_rows([block[name] for block in blocks]) for name in blocks[0]}
    )
