"""from_parquet: a pool of streams from Parquet files, by file, row group or the values of a column."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES
from ._columns import Columns
from ._files import list_files, refuse_missing
from ._groups import NAN, Groups, sorted_by
from ._optional import require
from ._parquet_files import ParquetFiles, try_filter
from ._pool import StreamPool
from ._sources import TableSource, check_options, stream_pool


class ParquetSource(TableSource):
    """Row groups of files.

    Parameters
    ----------
    files : ParquetFiles
    name : str
    blocks : list of (file, row group)
        A row group of None stands for all of the file.
    group : tuple of one value, optional
        Which rows: those of a value of the column that groups them; ``counts`` then tells how many there are in each block.
    """

    reads_together = True  # decoding does not need the interpreter

    def __init__(
        self,
        files: ParquetFiles,
        name: str,
        blocks: list[tuple[int, int | None]],
        group: tuple[Hashable] | None = None,
        counts: Any = None,
    ) -> None:
        super().__init__(name, files.columns)
        self._files = self.keeper = files
        self._places = blocks
        self._group = group
        self._counts: np.ndarray | None = counts

    def rows(self) -> np.ndarray:
        if self._counts is None:
            places: list[tuple[int, int | None]] = []
            counts: list[int] = []
            for file, row_group in self._places:
                rows = self._files.row_groups(file)
                for i in range(len(rows)) if row_group is None else [row_group]:
                    places.append((file, i))
                    counts.append(int(rows[i]))
            self._places, self._counts = places, np.array(counts, np.int64)
        return self._counts

    def table(self, block: int, names: list[str]) -> Any:
        self.rows()
        file, row_group = self._places[block]
        if self._group is None:
            return self._files.read(file, row_group or 0, names)
        return self._files.read_group(file, row_group or 0, self._group[0], names)

    def read_in_order(self, block: int, places: np.ndarray) -> dict[str, Any]:
        columns = self._files.columns
        table = self.table(block, columns.names)
        return columns.convert(table, places=places if len(table) == len(places) else None)

    def identity(self, block: int) -> Hashable:
        return None if self._group is None else (id(self._files), *self._places[block])

    def n_read(self) -> int | None:
        groups = self._files.groups
        return None if self._group is None or groups is None else groups.n_read

    def where(self, block: int) -> str:
        file, row_group = self._places[block]
        return f"row group {row_group} of {self._files.paths[file]!r}"


def from_parquet(
    paths: Any,
    *,
    target: Any,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    group_by: str = "file",
    filters: Any = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
    storage_options: dict[str, Any] | None = None,
) -> StreamPool:
    """Make a pool of streams of samples from Parquet files, which are read as they are needed.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Files, patterns (``"trips/*.parquet"``), directories, or fsspec URLs of any of them. Directories ``key=value`` on the way
        to a file (hive partitions) are columns, which can be features, target or ``group_by``.
    target : str, list of str or None
        Column of targets; several make ``y`` two-dimensional; None: no ``y``.
    features : sequence of str, optional
        Columns of ``X``. None (default): all columns in the files but target, weight, group and the index that pandas wrote. Only
        those that are used are read.
    sample_weight : str, optional
        Column of weights.
    group_by : "file", "row_group" or a column, default="file"
        What a stream is: which unit of the files, or the rows of a value of a column (which is ``by`` where data is in memory).
        By the values of a column, each stream reads every row group that has rows of its value, which are sorted by value and
        kept for the others, up to ``cache_bytes``. Where they are more, files that are partitioned or sorted by the column are
        read once, others many times.
    filters : list of tuples or pyarrow.compute.Expression, optional
        Which rows, as in :func:`pyarrow.parquet.read_table`. Row groups that cannot have any are not read.
    window : int, optional
        Least number of rows within which samples are shuffled; whole row groups are put together for it. None (default): a row
        group.
    shuffle : bool, default=True
        Whether each pass over a stream has an order of row groups and samples of its own, drawn from the ``random_state`` of the
        mux or estimator that reads it.
    prefetch : int, default=0
        Number of threads that read row groups before they are due: the next one of each active stream, and those of the next
        98 304 samples, which are held besides. The samples are the same for any number. 0 (default): none is read before it is
        due; where nothing else is done meanwhile, and a core is idle, those that are due are read two at a time.
    cache_bytes : int, default=2**28
        Decoded row groups that have more to give are kept up to this size, beside those at hand.
    storage_options : dict, optional
        For fsspec.

    Returns
    -------
    pool : StreamPool
        Streams are named by their file, ``file#row_group``, or value. The unit is one sample. Numbers make one float array
        (float32 if all features are), nulls are NaN, lists of numbers are that many features. If a feature is text or a
        category, ``X`` is a pandas DataFrame.

    Raises
    ------
    FileNotFoundError
        If a file is missing, a pattern matches nothing or a directory holds no Parquet file.
    ValueError
        If a file cannot be read as Parquet, or a column is missing or of a type that cannot be learned from. The first file is
        checked at once; all others when the first stream is asked for its length, before training: the error names the file.

    Warns
    -----
    UserWarning
        If a pass reads more than four times the row groups that it needs.

    See Also
    --------
    from_arrays : A pool from arrays.

    Notes
    -----
    A visit that ends inside a row group leaves it in the cache. In exhaustive mode with a ``lam`` far below the rows of a row
    group, a row group of every stream waits there: if they do not fit ``cache_bytes``, a row group is read up to ``rows / lam``
    times. ``lam=None`` reads each once and holds ``n_active`` of them.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, pyarrow, pyarrow.parquet
    >>> from streamlearn import from_parquet
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     for day in ("monday", "tuesday"):
    ...         table = pyarrow.table({"distance": [1.0, 2.5, 4.0], "late": [0, 1, 1]})
    ...         pyarrow.parquet.write_table(table, os.path.join(directory, f"{day}.parquet"))
    ...     pool = from_parquet(directory, target="late", shuffle=False)
    ...     pool, next(pool[0].generate())["X"]
    (StreamPool(2 streams: 'monday.parquet', 'tuesday.parquet'), array([1.]))
    """
    options = check_options(window, shuffle, prefetch, cache_bytes)
    files = ParquetFiles(list_files(paths, (".parquet", ".pq", ".parq"), storage_options), storage_options)
    schema = files.schema(0)
    files.note_schema()
    where = repr(files.paths[0])
    if not isinstance(group_by, str):
        raise TypeError(f"group_by must be 'file', 'row_group' or a column, got {group_by!r}.")
    by_column = group_by not in ("file", "row_group")
    if by_column:
        refuse_missing([group_by], [*schema.names, "file", "row_group"], where)
        files.groups = Groups(
            group_by, options["cache_bytes"]
        )  # where directories tell it, too: all schemas are checked for it
    without = (*(files.partitions if features is None else ()), *([group_by] if by_column else ()))
    files.columns = Columns(schema, target, features, sample_weight, where, without)
    files.filters = _as_expression(filters, schema, where)
    if group_by == "file":
        sources = [ParquetSource(files, name, [(i, None)]) for i, name in enumerate(files.names)]
    elif group_by == "row_group":
        sources = [
            ParquetSource(files, f"{name}#{group}", [(i, group)])
            for i, name in enumerate(files.names)
            for group in range(len(files.row_groups(i)))
        ]
    elif group_by in files.partitions:
        sources = _by_partition(files, group_by)
    else:
        sources = _by_values(files, group_by)
    return stream_pool(sources, options, f"{paths!r}")


def _as_expression(filters: Any, schema: Any, where: str) -> Any:
    """Return the filters as an expression that fits the schema, or None."""
    pc = require("pyarrow.compute", extra="parquet", purpose="filters")
    pq = require("pyarrow.parquet", extra="parquet", purpose="filters")
    if isinstance(filters, (list, tuple)):
        try:
            terms = [term for one in filters for term in ([one] if isinstance(one[0], str) else one)]
            refuse_missing([term[0] for term in terms], schema.names, f"filters: {where}")
            filters = pq.filters_to_expression(filters)
        except (TypeError, IndexError, ValueError) as error:
            if str(error).startswith("filters"):
                raise
            raise ValueError(
                f"filters must be a list of tuples (column, operator, value), a list of such lists, or an expression of "
                f"pyarrow.compute, got {filters!r} ({error})."
            ) from error
    if not isinstance(filters, (pc.Expression, type(None))):
        raise TypeError(f"filters must be a list of tuples or an expression of pyarrow.compute, got {filters!r}.")
    try_filter(filters, schema, where)
    return filters


def _by_partition(files: ParquetFiles, name: str) -> list[ParquetSource]:
    values = files.partitions[name]
    found = sorted(set(values), key=lambda value: (value is None, value))
    return [
        ParquetSource(files, str(value), [(i, None) for i, other in enumerate(values) if other == value])
        for value in found
    ]


def _by_values(files: ParquetFiles, name: str) -> list[ParquetSource]:
    """Read the one column, to find its values and how many rows of each there are in each row group."""
    places: dict[Any, list[tuple[int, int | None]]] = {}
    counts: dict[Any, list[int]] = {}
    for file in range(len(files.paths)):
        for row_group in range(len(files.row_groups(file))):
            _, found = sorted_by(files.read(file, row_group, [name]), name)
            for value, (_, count) in found.items():
                if count:
                    places.setdefault(value, []).append((file, row_group))
                    counts.setdefault(value, []).append(count)
    files.close()
    values = sorted(places, key=lambda value: (value is None, value == NAN, 0 if value in (None, NAN) else value))
    return [
        ParquetSource(
            files,
            "nan" if value == NAN else str(value),
            places[value],
            (value,),
            np.array(counts[value], np.int64),
        )
        for value in values
    ]
