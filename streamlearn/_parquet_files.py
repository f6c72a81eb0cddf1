"""What Parquet files say of themselves, and their row groups as tables."""

from __future__ import annotations

import functools
import os
import re
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ._files import is_gone, is_url, partition_of, refuse_missing, short_names
from ._groups import Groups
from ._locks import lock_of
from ._optional import require


class Footer(NamedTuple):
    """What a file says of itself."""

    metadata: Any
    schema: Any  # of Arrow


# So many are kept in any case, others while all together are small: in memory they are several times larger.
_FEW_FOOTERS, _FOOTER_BYTES = 16, 3 * 2**18
_FEW_FILES = 128
_FEW_OPEN, _MANY_ACTIVE = 6, 32


class Opened(NamedTuple):
    """An open file."""

    source: Any
    parquet: Any  # a pyarrow.parquet.ParquetFile
    footer: Footer
    stamp: Any


class _Idle:
    """Files that stay open between their row groups, those that were used last."""

    def __init__(self) -> None:
        self._lock = lock_of(self)
        self._kept: OrderedDict[int, Opened] = OrderedDict()
        self._room = _FEW_OPEN

    def expect(self, n_active: int) -> None:
        """Have room for as many files as are active, and a few more, until all are closed."""
        self._room = max(self._room, min(n_active, _MANY_ACTIVE) + _FEW_OPEN)

    def take(self, file: int, stamp: Any) -> Opened | None:
        """Take an open file out, so that nobody else uses it meanwhile, if it has not changed since it was opened."""
        with self._lock:
            opened = self._kept.pop(file, None)
        if opened is not None and opened.stamp != stamp:
            opened.source.close()
            return None
        return opened

    def put(self, file: int, opened: Opened) -> None:
        with self._lock:
            others = [self._kept.pop(file, None), None]  # another thread may have opened it as well
            self._kept[file] = opened
            if len(self._kept) > self._room:
                _, others[1] = self._kept.popitem(last=False)
        for other in others:
            if other is not None:
                other.source.close()

    def close(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, OrderedDict()
            self._room = _FEW_OPEN
        for opened in kept.values():
            opened.source.close()


class _Footers:
    """The footers that were used last, since the row groups of a file are read one by one."""

    def __init__(self) -> None:
        self._lock = lock_of(self)
        self._kept: OrderedDict[int, tuple[Any, Footer]] = OrderedDict()
        self._n_bytes = 0

    def get(self, file: int, stamp: Any) -> Footer | None:
        """Return the footer of a file, if there is one and the file has not changed since."""
        with self._lock:
            kept, footer = self._kept.get(file, (None, None))
            if footer is None or kept != stamp:
                return None
            self._kept.move_to_end(file)
        return footer

    def keep(self, file: int, stamp: Any, footer: Footer) -> None:
        with self._lock:
            if file in self._kept:
                self._forget(file)
            self._kept[file] = stamp, footer
            self._n_bytes += footer.metadata.serialized_size
            while len(self._kept) > _FEW_FOOTERS and self._n_bytes > _FOOTER_BYTES:
                self._forget(next(iter(self._kept)))

    def _forget(self, file: int) -> None:
        _, footer = self._kept.pop(file)
        self._n_bytes -= footer.metadata.serialized_size


class ParquetFiles:
    """Files of one schema: what streams of them share, so that it is pickled, and its footers are read, only once."""

    def __init__(self, paths: list[str], storage_options: dict[str, Any] | None) -> None:
        self.paths = paths
        self.names = short_names(paths)
        self.storage_options = storage_options
        self.partitions = _typed([partition_of(path) for path in paths])
        self.filters: Any = None
        self.groups: Groups | None = None
        self.columns: Any = None
        self._rows: list[np.ndarray | None] | None = None  # of a file: None, if it cannot be used
        self._counted: dict[int, np.ndarray] = {}
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_lock", "_footers", "_idle", "_schema", "_n_users")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = lock_of(self)
        self._schema: Any = None  # of the first file; one that equals it needs no further check
        self._footers = _Footers()
        self._idle = _Idle()
        self._n_users = 0

    def expect(self, n_active: int) -> None:
        """Keep as many files open between their row groups as are active at once, if they are not too many, and a few more."""
        with self._lock:
            self._n_users += 1
        self._idle.expect(n_active)

    def close(self) -> None:
        """Close what stays open between row groups; whoever reads on opens it again.

        Row groups that streams share are kept until all who said that they :meth:`expect` to read have closed.
        """
        with self._lock:
            n_users = self._n_users = max(self._n_users - 1, 0)
        self._idle.close()
        if not n_users and self.groups is not None:
            self.groups.forget()

    def footer(self, file: int, keep: bool = True) -> Footer:
        """Return metadata and Arrow schema of a file, and keep them for its row groups, if that is wanted."""
        path = self.paths[file]
        stamp = None if is_url(path) else _stamp(path)
        footer = None if is_url(path) else self._footers.get(file, stamp)
        if footer is None:
            opened = self._open(file, stamp, keep)
            footer = opened.footer
            opened.source.close()
        return footer

    def _open(self, file: int, stamp: Any, keep: bool = True) -> Opened:
        """Open a file, of which ``stamp`` was found before; its footer is read only if it is not at hand."""
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        pq = require("pyarrow.parquet", extra="parquet", purpose="from_parquet")
        path = self.paths[file]
        try:
            filesystem, inner = self._filesystem(path)
            if filesystem is None:
                # a path would do, but each step in which the library finds out what lies there is one for which threads wait
                source = pa.OSFile(inner)
            else:
                source = filesystem.open(inner, "rb")
                stamp = getattr(source, "details", None) or filesystem.ukey(inner)
        except FileNotFoundError as error:
            raise is_gone(path) from error
        try:
            footer = self._footers.get(file, stamp)
            if footer is not None and filesystem is None and _stamp(path) != stamp:
                footer = None  # it was replaced before it was opened
            try:
                # what is far away is asked for all at once; what is at hand is read at less cost page by page
                options = {"metadata": footer and footer.metadata, "pre_buffer": filesystem is not None}
                parquet = pq.ParquetFile(source, **options)
            except pa.ArrowInvalid as error:
                hint = "it is empty" if not is_url(path) and not os.path.getsize(path) else "it may have been cut short"
                raise ValueError(
                    f"{path!r} is no Parquet file that can be read: {hint}. Write it again, or leave it out of paths ({error})."
                ) from error
            if footer is None:
                # metadata.schema would do as well, but they refer to each other then: only garbage collection frees them
                footer = Footer(parquet.metadata, parquet.schema_arrow)
                if self.columns is not None:
                    self._check(file, footer.schema)
                if keep:
                    self._footers.keep(file, stamp, footer)
        except BaseException:
            source.close()
            raise
        return Opened(source, parquet, footer, stamp)

    def _filesystem(self, path: str) -> tuple[Any, str]:
        if not is_url(path):
            return None, path
        fsspec = require("fsspec", extra="parquet", purpose="reading from a URL")
        return fsspec.core.url_to_fs(path, **(self.storage_options or {}))

    def note_schema(self) -> None:
        self._schema = self.footer(0).schema

    def schema(self, file: int, own: Any = None) -> Any:
        """Arrow schema of a file, with the columns that its directories name."""
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        schema = self.footer(file).schema if own is None else own
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
            self._counted[file] = np.array([self._count(file, group) for group in range(len(own))], np.int64)
        return self._counted[file]

    def _rows_or_none(self, file: int) -> np.ndarray | None:
        try:
            return self._checked(file)
        except Exception:  # it is raised when the file is asked for
            return None

    def _checked(self, file: int) -> np.ndarray:
        """Check the schema of a file, and return the number of rows of each row group."""
        # of many files those that are looked at last would push out the others, and none would be at hand for long
        metadata, own = self.footer(file, keep=file < _FEW_FOOTERS)
        self._check(file, own)
        return np.array([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], np.int64)

    def _check(self, file: int, own: Any) -> None:
        if self._schema is None or not own.equals(self._schema):
            schema, where = self.schema(file, own), repr(self.paths[file])
            self.columns.check(schema, where)
            refuse_missing([] if self.groups is None else [self.groups.column], schema.names, where)
            try_filter(self.filters, schema, where)
            self._schema = own if self._schema is None else self._schema

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

    def _count(self, file: int, row_group: int) -> int:
        options = {"schema": self.schema(file), "columns": [], "filter": self.filters, "use_threads": False}
        return self._fragment(file, row_group).scanner(**options).count_rows()

    def read_group(self, file: int, row_group: int, value: Hashable, names: list[str]) -> Any:
        """Read columns of a row group: the rows that pass the filters and have a value (see :func:`group_of`)."""
        assert self.groups is not None
        path = self.paths[file]
        stamp = None if is_url(path) else _stamp(path)
        return self.groups.rows((file, row_group), stamp, value, names, functools.partial(self.read, file, row_group))

    def read(self, file: int, row_group: int, names: list[str]) -> Any:
        """Read columns of a row group: the rows that pass the filters."""
        pa = require("pyarrow", extra="parquet", purpose="from_parquet")
        if self.filters is not None:
            fragment = self._fragment(file, row_group)
            return fragment.to_table(schema=self.schema(file), columns=names, filter=self.filters, use_threads=False)
        from_file = [name for name in names if name not in self.partitions]
        path = self.paths[file]
        stamp = None if is_url(path) else _stamp(path)
        opened = self._idle.take(file, stamp)
        if opened is None:
            opened = self._open(file, stamp)
        n_row_groups = opened.footer.metadata.num_row_groups
        try:
            if row_group >= n_row_groups:
                raise ValueError(
                    f"{path!r} has {n_row_groups} row groups, where more were counted before: the data has changed. Make the "
                    "pool again."
                )
            table = opened.parquet.read_row_group(row_group, columns=from_file, use_threads=False)
        except BaseException:
            opened.source.close()
            raise
        if is_url(path) or n_row_groups == 1:
            opened.source.close()
        else:
            self._idle.put(file, opened)
        for name, values in self.partitions.items():
            if name in names and name not in table.column_names:
                column = pa.array([values[file]], _partition_type(values)).take(
                    pa.array(np.zeros(len(table), np.int64))
                )
                table = table.append_column(name, column)
        return table


def _stamp(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file is written again."""
    try:
        found = os.stat(path)
    except OSError:  # what is wrong is said when it is opened
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def try_filter(filters: Any, schema: Any, where: str) -> None:
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


def _typed(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns that directories name: as ints if all values are, of at most 64 bits."""
    columns: dict[str, list[Any]] = {}
    names = set.intersection(*map(set, rows)) if rows else set()
    for name in rows[0] if rows else ():
        if name not in names:
            continue
        values = [row[name] for row in rows]
        whole = [_whole(value) for value in values]
        numbers = all(number is not None or value is None for number, value in zip(whole, values, strict=True))
        columns[name] = whole if numbers else values
    return columns


def _whole(value: str | None) -> int | None:
    """Return the number that a text is, if it is a whole one that Arrow has a type for."""
    number = int(value) if value is not None and re.fullmatch("-?[0-9]+", value) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _partition_type(values: list[Any]) -> Any:
    import pyarrow as pa

    return pa.string() if any(isinstance(value, str) for value in values) else pa.int64()
