"""from_huggingface: a pool of streams from a dataset of the Hugging Face library datasets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES
from ._columns import Columns
from ._files import refuse_missing
from ._optional import require
from ._pool import StreamPool
from ._sources import TableSource, check_options, stream_pool
from ._streamer import Streamer
from ._visits import check_count

_BLOCK_ROWS = 1024
_LEAVE_OUT = "leave such rows out with dataset.filter"


class HuggingFaceSource(TableSource):
    """Rows of a dataset, which is Arrow underneath."""

    def __init__(self, name: str, dataset: Any, rows: tuple[int, int], block_rows: int, columns: Columns) -> None:
        super().__init__(name, columns)
        self._dataset = dataset
        self._edges = [*range(*rows, block_rows), rows[1]]

    def rows(self) -> np.ndarray:
        return np.diff(self._edges)

    def table(self, block: int, names: list[str]) -> Any:
        rows = self._dataset.select_columns(names).with_format("arrow")
        return rows[self._edges[block] : self._edges[block + 1]]

    def where(self, block: int) -> str:
        return f"rows {self._edges[block]} to {self._edges[block + 1]} of the dataset"


def _shard(dataset: Any, index: int, columns: Columns, batch_rows: int) -> Iterator[dict[str, Any]]:
    """Yield batches of a shard of an iterable dataset."""
    shard = dataset.shard(dataset.num_shards, index).select_columns(columns.names).with_format("arrow")
    for table in shard.iter(batch_rows):
        yield columns.convert(table)


def from_huggingface(
    dataset: Any,
    *,
    target: Any,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    by: str | None = None,
    n_streams: int | None = None,
    block_rows: int = _BLOCK_ROWS,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams from a dataset of the Hugging Face library.

    Parameters
    ----------
    dataset : datasets.Dataset or datasets.IterableDataset
        One split, not a dictionary of them.
    target, features, sample_weight
        Columns, as in :func:`from_parquet`.
    by : str, optional
        Column of a Dataset of which each value is a stream.
    n_streams : int, optional
        Number of ranges of rows that a Dataset is cut into, without ``by``; one by default. An IterableDataset gives a stream
        for each of its shards.
    block_rows : int, default=1024
        Rows that are read at once.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`, for a Dataset.

    Returns
    -------
    pool : StreamPool
        The unit of a Dataset is one sample. An IterableDataset does not tell its length and cannot be read by the block: its
        items are batches of ``block_rows`` rows, in the order in which they come.

    Raises
    ------
    TypeError
        If it is no such dataset.
    ValueError
        If a column is missing or cannot be learned from.

    See Also
    --------
    from_parquet : Reads Parquet files themselves.

    Examples
    --------
    >>> from datasets import Dataset
    >>> from streamlearn import from_huggingface
    >>> dataset = Dataset.from_dict({"length": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"], "label": [0, 1, 1]})
    >>> from_huggingface(dataset, target="label", by="kind")
    StreamPool(2 streams: 'a', 'b')
    """
    datasets = require("datasets", extra="huggingface", purpose="from_huggingface")
    options = check_options(window, shuffle, prefetch, cache_bytes, block_rows=block_rows)
    if isinstance(dataset, dict):
        raise TypeError(f"dataset holds several splits: pass one of them, as dataset[{next(iter(dataset))!r}].")
    if not isinstance(dataset, (datasets.Dataset, datasets.IterableDataset)):
        raise TypeError(f"dataset must be a datasets.Dataset or IterableDataset, got {type(dataset).__name__}.")
    schema = _schema(dataset)
    columns = Columns(schema, target, features, sample_weight, "the dataset", () if by is None else (by,), _LEAVE_OUT)
    if isinstance(dataset, datasets.IterableDataset):
        if by is not None or n_streams is not None:
            raise ValueError("an IterableDataset has a stream for each shard: by and n_streams go with a Dataset.")
        shards = range(dataset.num_shards)
        return StreamPool(
            [Streamer(_shard, dataset, i, columns, block_rows) for i in shards], names=[f"shard {i}" for i in shards]
        )
    if by is not None:
        if n_streams is not None:
            raise ValueError(f"by and n_streams={n_streams!r} exclude each other: give one of them.")
        refuse_missing([by], schema.names, "the dataset")
        values, codes = np.unique(np.asarray(dataset[by]), return_inverse=True)
        chosen = [np.flatnonzero(codes == i) for i in range(len(values))]
        sources = [
            HuggingFaceSource(str(value), dataset.select(rows), (0, len(rows)), block_rows, columns)
            for value, rows in zip(values, chosen, strict=True)
        ]
        return stream_pool(sources, options, "the dataset")
    n_streams = 1 if n_streams is None else n_streams
    check_count("n_streams", n_streams)
    if n_streams > len(dataset):
        raise ValueError(f"n_streams={n_streams} is more than the {len(dataset)} rows of the dataset.")
    edges = (np.arange(n_streams + 1) * len(dataset) // n_streams).tolist()
    sources = [
        HuggingFaceSource(f"rows {a} to {b}", dataset, (a, b), block_rows, columns)
        for a, b in itertools.pairwise(edges)
    ]
    return stream_pool(sources, options, "the dataset")


def _schema(dataset: Any) -> Any:
    if dataset.features is not None:
        return dataset.features.arrow_schema
    for table in dataset.with_format("arrow").iter(_BLOCK_ROWS):
        return table.schema
    raise ValueError("the dataset is empty.")
