"""from_parquet: a pool of streams from Parquet files, by file, row group or the values of a column."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES
from ._columns import Columns
from ._files import is_gone, is_url, list_files, partition_of, refuse_missing, short_names
from ._optional import require
from ._pool import StreamPool
from ._sources import TableSource, check_options, stream_pool

_FOOTERS = 16
_FEW_FILES = 128


class ParquetFiles:
    """Files of one schema: what streams of them share, so that it is pickled, and its footers are read, only once."""

    def __init__(self, paths: list[str], storage_options: dict[str, Any] | None) -> None:
        self.paths = paths
        self.names = short_names(paths)
        self.storage_options = storage_options
        self.partitions = _typed([partition_of(path) for path in paths])
        self.filters: Any = None
        self.group_by: str | None = None
        self.columns: Any = None
        self._rows: list[np.ndarray | None] | None = None  # of a file: None, if it cannot be used
        self._counted: dict[int, np.ndarray] = {}
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_footers", "_schema")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._schema: Any = None  # of the first file; one that equals it needs no further check
        self._footers: OrderedDict[int, Any] = OrderedDict()  # no open files: a footer is what a file says of itself

    def footer(self, file: int) -> tuple[Any, Any]:
        """Return metadata and Arrow schema of a file; the last ones are kept, since its row groups are read one by one."""
        with self._lock:
            if file in self._footers:
                self._footers.move_to_end(file)
                return self._footers[file]
        footer = self._read_footer(file)
        with self._lock:
            self._footers[file] = footer
            while len(self._footers) > _FOOTERS:
                self._footers.popitem(last=False)
        return footer

    def _read_footer(self, file: int) -> tuple[Any, Any]:
        # metadata.schema would do as well, but they refer to each other then, and are freed only when garbage is collected
        with self._open(file) as opened:
            return opened.metadata, opened.schema_arrow

    def _open(self, file: int, metadata: Any = None) -> Any:
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        pq = require("pyarrow.parquet", extra="parquet", purpose="from_parquet")
        path = self.paths[file]
        try:
            filesystem, inner = self._filesystem(path)
            # what is far away is asked for all at once; what is at hand is read at less cost page by page
            return pq.ParquetFile(inner, metadata=metadata, filesystem=filesystem, pre_buffer=is_url(path))
        except FileNotFoundError as error:
            raise is_gone(path) from error
        except pa.ArrowInvalid as error:
            hint = "it is empty" if not is_url(path) and not os.path.getsize(path) else "it may have been cut short"
            raise ValueError(
                f"{path!r} is no Parquet file that can be read: {hint}. Write it again, or leave it out of paths ({error})."
            ) from error

    def _filesystem(self, path: str) -> tuple[Any, str]:
        if not is_url(path):
            return None, path
        fsspec = require("fsspec", extra="parquet", purpose="reading from a URL")
        return fsspec.core.url_to_fs(path, **(self.storage_options or {}))

    def note_schema(self) -> None:
        self._schema = self.footer(0)[1]

    def schema(self, file: int, own: Any = None) -> Any:
        """Arrow schema of a file, with the columns that its directories name."""
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        schema = self.footer(file)[1] if own is None else own
        for name, values in self.partitions.items():
            if name not in schema.names:
                schema = schema.append(pa.field(name, _partition_type(values)))
        return schema

    def row_groups(self, file: int) -> np.ndarray:
        """Number of rows of each row group of a file. All footers are read, and all schemas checked, at the first call.

        A file that cannot be used raises when it is asked for itself, and is read again then.
        """
        with self._lock:
            rows = self._rows
        if rows is None:
            files = range(len(self.paths))
            if len(files) < _FEW_FILES:
                rows = [self._rows_or_none(i) for i in files]
            else:
                with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as threads:
                    rows = list(threads.map(self._rows_or_none, files, chunksize=64))
            self._rows = rows
        own = rows[file]
        if own is None:
            own = rows[file] = self._checked(file)
        if self.filters is None:
            return own
        if file not in self._counted:
            self._counted[file] = np.array([self.count(file, group, None) for group in range(len(own))], np.int64)
        return self._counted[file]

    def _rows_or_none(self, file: int) -> np.ndarray | None:
        try:
            return self._checked(file)
        except Exception:  # it is raised when the file is asked for
            return None

    def _checked(self, file: int) -> np.ndarray:
        metadata, own = self.footer(file) if file < _FOOTERS else self._read_footer(file)
        if self._schema is None or not own.equals(self._schema):
            schema, where = self.schema(file, own), repr(self.paths[file])
            self.columns.check(schema, where)
            refuse_missing([] if self.group_by is None else [self.group_by], schema.names, where)
            _try_filter(self.filters, schema, where)
            self._schema = own if self._schema is None else self._schema
        return np.array([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], np.int64)

    def _fragment(self, file: int, group: int) -> Any:
        ds = require("pyarrow.dataset", extra="parquet", purpose="from_parquet")
        fs = require("pyarrow.fs", extra="parquet", purpose="from_parquet")
        filesystem, path = self._filesystem(self.paths[file])
        filesystem = fs.LocalFileSystem() if filesystem is None else fs.PyFileSystem(fs.FSSpecHandler(filesystem))
        guarantee = None
        for name, values in self.partitions.items():
            value = values[file]
            term = ds.field(name).is_null() if value is None else ds.field(name) == ds.scalar(value)
            guarantee = term if guarantee is None else guarantee & term
        return ds.ParquetFileFormat().make_fragment(
            path, filesystem=filesystem, partition_expression=guarantee, row_groups=[group]
        )

    def _condition(self, group: Any) -> Any:
        if group is None:
            return self.filters
        return group if self.filters is None else group & self.filters

    def count(self, file: int, row_group: int, group: Any) -> int:
        options = {"schema": self.schema(file), "columns": [], "filter": self._condition(group), "use_threads": False}
        return self._fragment(file, row_group).scanner(**options).count_rows()

    def read(self, file: int, row_group: int, group: Any, names: list[str]) -> Any:
        """Read columns of a row group: the rows that pass the filters and belong to the group."""
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        condition = self._condition(group)
        if condition is not None:
            fragment = self._fragment(file, row_group)
            return fragment.to_table(schema=self.schema(file), columns=names, filter=condition, use_threads=False)
        from_file = [name for name in names if name not in self.partitions]
        with self._open(file, self.footer(file)[0]) as opened:
            table = opened.read_row_group(row_group, columns=from_file, use_threads=False)
        for name, values in self.partitions.items():
            if name in names and name not in table.column_names:
                column = pa.array([values[file]], _partition_type(values)).take(
                    pa.array(np.zeros(len(table), np.int64))
                )
                table = table.append_column(name, column)
        return table


class ParquetSource(TableSource):
    """Row groups of files.

    Parameters
    ----------
    files : ParquetFiles
    name : str
    blocks : list of (file, row group)
        A row group of None stands for all of the file.
    group : pyarrow expression, optional
        Which rows; ``counts`` then tells how many there are in each block.
    """

    def __init__(
        self,
        files: ParquetFiles,
        name: str,
        blocks: list[tuple[int, int | None]],
        group: Any = None,
        counts: Any = None,
    ) -> None:
        super().__init__(name, files.columns)
        self._files = files
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
        return self._files.read(file, row_group or 0, self._group, names)

    def identity(self, block: int) -> Hashable:
        return None if self._group is None else (id(self._files), *self._places[block])

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
        By the values of a column, each stream reads every row group that has rows of its value: files that are partitioned or
        sorted by it are read once, others many times.
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
        65 536 samples, which are held besides. The samples are the same for any number.
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
        files.group_by = group_by
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
    _try_filter(filters, schema, where)
    return filters


def _try_filter(filters: Any, schema: Any, where: str) -> None:
    """Refuse a filter on a column that is not there or is of another type, on no rows at all."""
    pa = require("pyarrow", extra="parquet", purpose="filters")
    ds = require("pyarrow.dataset", extra="parquet", purpose="filters")
    if filters is None:
        return
    try:
        ds.dataset(schema.empty_table()).scanner(filter=filters, columns=[]).count_rows()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"filters {filters} cannot be applied to {where}: {str(error).splitlines()[0]}. It has "
            f"{', '.join(f'{field.name!r} ({field.type})' for field in list(schema)[:20])}."
        ) from error


def _by_partition(files: ParquetFiles, name: str) -> list[ParquetSource]:
    values = files.partitions[name]
    found = sorted(set(values), key=lambda value: (value is None, value))
    return [
        ParquetSource(files, str(value), [(i, None) for i, other in enumerate(values) if other == value])
        for value in found
    ]


def _by_values(files: ParquetFiles, name: str) -> list[ParquetSource]:
    """Read the one column, to find its values and how many rows of each there are in each row group."""
    import pyarrow.compute as pc

    places: dict[Any, list[tuple[int, int | None]]] = {}
    counts: dict[Any, list[int]] = {}
    for file in range(len(files.paths)):
        for row_group in range(len(files.row_groups(file))):
            column = files.read(file, row_group, None, [name]).column(0)
            for pair in column.value_counts().to_pylist():
                places.setdefault(pair["values"], []).append((file, row_group))
                counts.setdefault(pair["values"], []).append(pair["counts"])
    found = sorted(places, key=lambda value: (value is None, value))
    return [
        ParquetSource(
            files,
            str(value),
            places[value],
            pc.field(name).is_null() if value is None else pc.field(name) == pc.scalar(value),
            np.array(counts[value], np.int64),
        )
        for value in found
    ]


def _typed(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns that directories name: as ints if all values are."""
    columns: dict[str, list[Any]] = {}
    names = set.intersection(*map(set, rows)) if rows else set()
    for name in rows[0] if rows else ():
        if name not in names:
            continue
        values = [row[name] for row in rows]
        numbers = all(value is None or value.lstrip("-").isdecimal() for value in values)
        columns[name] = [None if value is None else int(value) for value in values] if numbers else values
    return columns


def _partition_type(values: list[Any]) -> Any:
    import pyarrow as pa

    return pa.string() if any(isinstance(value, str) for value in values) else pa.int64()
