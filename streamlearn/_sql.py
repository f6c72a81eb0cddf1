"""from_sql: a pool of streams from a database, by the values of columns or by ranges of a key."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import numpy as np

from ._blocks import CACHE_BYTES
from ._columns import Chosen
from ._files import as_list, is_gone, is_url, no_such_file, refuse_missing
from ._optional import require
from ._pool import StreamPool
from ._sources import TableSource, check_options, stream_pool

_PROBE_ROWS = 256
_BLOCK_ROWS = 8192
_VALUE = "\0"  # stands for a value in a statement: what a query may hold itself cannot be taken for it


class Database:
    """A query, and how to ask for parts of it. Connections are open only while one is read.

    Parameters
    ----------
    query : str
        A statement, or the name of a table.
    connection : str
    rowid : bool, default=False
        Whether a table has its rowid as a column.
    """

    def __init__(self, query: str, connection: str, rowid: bool = False) -> None:
        columns = "rowid AS rowid, *" if rowid else "*"
        self.query = f"SELECT {columns} FROM {_quoted(query)}" if query.isidentifier() else query.strip().rstrip(";")
        self.connection = connection

    def _ask(self, statement: str, values: Sequence[Any] = (), names: bool = False) -> list[Any]:
        """Return the rows of a result, or the names of its columns."""
        with self._connect() as (execute, error_kind):
            try:
                result = execute(statement, values)
                if not names:
                    return [tuple(row) for row in result.fetchall()]
                return (
                    [column[0] for column in result.description] if hasattr(result, "description") else [*result.keys()]
                )
            except error_kind as error:
                raise ValueError(f"{self.connection!r}: {error}, for the query {self.query!r}.") from error

    @contextmanager
    def _connect(self) -> Iterator[tuple[Any, type[Exception]]]:
        if is_url(self.connection):
            sqlalchemy = require("sqlalchemy", extra="sql", purpose=f"reading from {self.connection.split(':')[0]}")

            def execute(statement: str, values: Sequence[Any]) -> Any:
                statement = statement.replace(":", "\\:")
                for i in range(len(values)):
                    statement = statement.replace(_VALUE, f":v{i}", 1)
                return connection.execute(
                    sqlalchemy.text(statement), {f"v{i}": value for i, value in enumerate(values)}
                )

            try:
                engine = sqlalchemy.create_engine(self.connection, poolclass=sqlalchemy.pool.NullPool)
                connection = engine.connect()
            except sqlalchemy.exc.SQLAlchemyError as error:
                raise ValueError(f"connection {self.connection!r} cannot be opened: {error}") from error
            with connection:
                yield execute, sqlalchemy.exc.SQLAlchemyError
            return
        if not os.path.isfile(self.connection):
            raise is_gone(self.connection)
        with closing(sqlite3.connect(f"file:{quote(self.connection)}?mode=ro", uri=True)) as opened:
            yield lambda statement, values: opened.execute(statement.replace(_VALUE, "?"), values), sqlite3.Error

    def names(self) -> list[str]:
        return self._ask(f"SELECT * FROM ({self.query}) AS q LIMIT 0", names=True)

    def counts(self, columns: list[str]) -> list[tuple]:
        """Values of the columns, and the number of rows of each combination."""
        listed = ", ".join(map(_quoted, columns))
        grouped = f" GROUP BY {listed} ORDER BY {listed}" if columns else ""
        return self._ask(f"SELECT {', '.join([*map(_quoted, columns), 'COUNT(*)'])} FROM ({self.query}) AS q{grouped}")

    def ranges(self, key: str, block_rows: int | None, n_ranges: int) -> tuple[list[Any], np.ndarray]:
        """Cut the rows, in the order of the key, into blocks, at least ``n_ranges``; equal keys stay together.

        Returns
        -------
        firsts : list
            The first key of each block.
        edges : ndarray of shape (n_blocks + 1,)
            Numbers of rows before each block, and of all.
        """
        column = _quoted(key)
        ((n_rows, n_keys),) = self._ask(f"SELECT COUNT(*), COUNT({column}) FROM ({self.query}) AS q")
        if n_keys < n_rows:
            raise ValueError(
                f"key={key!r} has {n_rows - n_keys} nulls: leave such rows out in the query, or take another."
            )
        size = max(min(block_rows or _BLOCK_ROWS, n_rows // n_ranges), 1)
        found = self._ask(
            f"SELECT k, r FROM (SELECT {column} AS k, RANK() OVER (ORDER BY {column}) - 1 AS r, "
            f"ROW_NUMBER() OVER (ORDER BY {column}) - 1 AS i FROM ({self.query}) AS q) AS ranked WHERE i % {size} = 0 ORDER BY i"
        )
        firsts = dict(found)
        return list(firsts), np.array([*firsts.values(), n_rows], np.int64)

    def rows(self, names: list[str], where: Sequence[tuple[str, str, Any]], limit: int | None = None) -> list[tuple]:
        """Read columns of the rows for which all of ``(column, operator, value)`` hold."""
        terms = [
            f"{_quoted(name)} {f'{how} {_VALUE}' if value is not None else 'IS NULL'}" for name, how, value in where
        ]
        statement = f"SELECT {', '.join(map(_quoted, names))} FROM ({self.query}) AS q"
        statement += f" WHERE {' AND '.join(terms)}" if terms else ""
        statement += "" if limit is None else f" LIMIT {limit}"
        return self._ask(statement, [value for _, _, value in where if value is not None])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class SqlColumns(Chosen):
    """How rows of a result become arrays."""

    row_bytes = 0

    def convert(self, table: dict[str, tuple], part: str | None = None) -> dict[str, Any]:
        """Return the parts of a table, or one of them."""
        found: dict[str, Any] = {}
        if part in (None, "X"):
            found["X"] = self._frame(table) if self.is_frame else self._array(table)
        if self.targets and part in (None, "y"):
            columns = [table[name] for name in self.targets]
            if any(value is None for column in columns for value in column):
                raise ValueError(f"the target {self.targets} has nulls: leave such rows out in the query.")
            found["y"] = np.array(columns).T if self.target_is_list else np.array(columns[0])
        if self.weight and part in (None, "sample_weight"):
            found["sample_weight"] = np.array(table[self.weight], np.float64)
        return found

    def _array(self, table: dict[str, tuple]) -> np.ndarray:
        X = np.empty((len(table[self.features[0]]), len(self.features)))
        for j, name in enumerate(self.features):
            try:
                X[:, j] = table[name]
            except (TypeError, ValueError):
                raise ValueError(
                    f"column {name!r} holds values that are no numbers: convert them in the query with CAST, or leave it out."
                ) from None
        return X

    def _frame(self, table: dict[str, tuple]) -> Any:
        pandas = require("pandas", extra="parquet", purpose="a query with texts among its features")
        return pandas.DataFrame({name: list(table[name]) for name in self.features})


class SqlSource(TableSource):
    """Blocks of rows of a query, each given by conditions."""

    def __init__(
        self, name: str, database: Database, columns: SqlColumns, blocks: list[list[tuple]], rows: Any
    ) -> None:
        super().__init__(name, columns)
        self._database = database
        self._blocks = blocks
        self._rows = np.array(rows, np.int64)

    def rows(self) -> np.ndarray:
        return self._rows

    def table(self, block: int, names: list[str]) -> dict[str, tuple]:
        columns = list(zip(*self._database.rows(names, self._blocks[block]), strict=True)) or [()] * len(names)
        return dict(zip(names, columns, strict=True))

    def where(self, block: int) -> str:
        terms = " and ".join(f"{name} {how} {value!r}" for name, how, value in self._blocks[block])
        return f"the rows where {terms}" if terms else "all rows"


def from_sql(
    query: str,
    connection: Any,
    *,
    target: Any,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    partition: Any = None,
    key: str | None = None,
    n_streams: int | None = None,
    block_rows: int | None = None,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
) -> StreamPool:
    """Make a pool of streams of samples from a database.

    Parameters
    ----------
    query : str
        A SELECT statement, or the name of a table.
    connection : str or path
        A SQLite file, or a URL that SQLAlchemy understands. (Connections themselves cannot go to other processes.)
    target : str, list of str or None
        Column of targets; several make ``y`` two-dimensional.
    features : sequence of str, optional
        Columns of ``X``. None (default): all but target, weight, partition and key.
    sample_weight : str, optional
        Column of weights.
    partition : str or list of str, optional
        Columns of which each value, or combination of values, is a stream. Its rows are read at once: they should fit in memory
        ``n_active`` times, and an index helps.
    key : str, optional
        Instead of ``partition``: a column whose ranges are blocks, best one with an index, such as the primary key. Without
        either, there is one stream, whose rows are read at once; with ``n_streams`` and a table in a SQLite file, the key is
        its rowid.
    n_streams : int, optional
        Number of ranges of the key that are a stream each; one by default.
    block_rows : int, optional
        With a key: rows that are read at once, but for those of equal keys, which stay together; 8192 by default.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        Streams are named by the values, as ``UA`` or ``UA/1``, or by their rows in the order of the key, as ``rows 0 to 500``.
        Rows are counted, and ranges of a key cut, by the database when the pool is made.

    Raises
    ------
    FileNotFoundError
        If there is no such SQLite file.
    ValueError
        If the query fails or gives no row, a column is missing, the key has nulls, or too few values for ``n_streams``.

    See Also
    --------
    from_dataframe : A pool from the result of a query that fits in memory.

    Notes
    -----
    A block that left the cache is asked for again, and must then come in the same order: SQLite sees to that. With another
    database and visits that end within a block, let the query say ``ORDER BY``, or give a ``cache_bytes`` that suffices.

    Examples
    --------
    >>> import os, sqlite3, tempfile
    >>> from streamlearn import from_sql
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "trips.db")
    ...     database = sqlite3.connect(path)
    ...     _ = database.execute("CREATE TABLE trips (distance, late, carrier)")
    ...     _ = database.execute("INSERT INTO trips VALUES (1.0, 0, 'UA'), (2.5, 1, 'AA'), (4.0, 1, 'UA')")
    ...     database.commit()
    ...     database.close()
    ...     pool = from_sql("trips", path, target="late", partition="carrier")
    ...     pool, len(list(pool[1])), from_sql("trips", path, target="late", features=["distance"], n_streams=3)
    (StreamPool(2 streams: 'AA', 'UA'), 2, StreamPool(3 streams: 'rows 0 to 1', 'rows 1 to 2', 'rows 2 to 3'))
    """
    options = check_options(window, shuffle, prefetch, cache_bytes, n_streams=n_streams, block_rows=block_rows)
    if not isinstance(query, str) or not isinstance(connection, (str, os.PathLike)):
        raise TypeError(
            f"query and connection must be strings (connection: a SQLite file or a SQLAlchemy URL), got {query!r} and "
            f"{connection!r}."
        )
    if not isinstance(key, (str, type(None))):
        raise TypeError(f"key must be a column name or None, got {key!r}.")
    path = os.fspath(connection)
    if partition is not None and (key, n_streams, block_rows) != (None, None, None):
        raise ValueError(
            "partition excludes key, n_streams and block_rows: a stream has the rows of a value, or of a range."
        )
    by_rowid = key is None and n_streams is not None and query.isidentifier() and not is_url(path)
    if key is None and not by_rowid and (n_streams, block_rows) != (None, None):
        raise ValueError(
            f"n_streams={n_streams!r} and block_rows={block_rows!r} need a key: the column whose ranges the streams and blocks "
            "are, such as the primary key."
        )
    if not is_url(path):
        _check_file(path)
    database = Database(query, path, by_rowid)
    there = database.names()
    key = "rowid" if by_rowid else key
    columns = [key] if key is not None else [] if partition is None else as_list(partition, "partition")
    refuse_missing(columns, there, "the query")
    chosen = SqlColumns(there, target, features, sample_weight, "the query", tuple(columns))
    probe = database.rows(chosen.features, (), _PROBE_ROWS)
    _refuse_dates(probe, chosen.features)
    chosen.is_frame = any(isinstance(value, str) for row in probe for value in row)
    chosen.row_bytes = 8 * len(chosen.names)
    if key is not None:
        sources = _by_ranges(database, chosen, key, block_rows, n_streams or 1)
    else:
        sources = [
            SqlSource(
                "/".join(map(str, values)) or "query",
                database,
                chosen,
                [[(name, "=", value) for name, value in zip(columns, values, strict=True)]],
                [n],
            )
            for *values, n in database.counts(columns)
            if n
        ]
    return stream_pool(sources, options, f"the query {query!r}")


def _check_file(path: str) -> None:
    """Refuse what is no SQLite file, or is shorter than it says: SQLite would read on as if nothing was missing."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"connection: {path!r} is a directory.") if os.path.isdir(path) else no_such_file(path)
    with open(path, "rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0"):
        raise ValueError(f"{path!r} is {'empty' if not header else 'no SQLite file'}: it must hold a database.")
    page_bytes, n_pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
    is_told = header[24:28] == header[92:96]  # old versions of SQLite do not tell the number of pages
    if is_told and os.path.getsize(path) < n_pages * (65536 if page_bytes == 1 else page_bytes):
        raise ValueError(f"{path!r} was cut short: it says that it has {n_pages} pages of {page_bytes} bytes.")


def _by_ranges(
    database: Database, chosen: SqlColumns, key: str, block_rows: int | None, n_streams: int
) -> list[SqlSource]:
    firsts, edges = database.ranges(key, block_rows, n_streams)
    if not firsts:
        return []
    if len(firsts) < n_streams:
        raise ValueError(
            f"n_streams={n_streams} is more than the {len(firsts)} ranges that key={key!r} can be cut into: take another key."
        )
    # open at both ends: a row that comes in later is refused by its number, not lost
    blocks = [
        [*([] if first is None else [(key, ">=", first)]), *([] if stop is None else [(key, "<", stop)])]
        for first, stop in itertools.pairwise([None, *firsts[1:], None])
    ]
    cuts = (np.arange(n_streams + 1) * len(firsts) // n_streams).tolist()
    return [
        SqlSource(f"rows {edges[a]} to {edges[b]}", database, chosen, blocks[a:b], np.diff(edges[a : b + 1]))
        for a, b in itertools.pairwise(cuts)
    ]


def _refuse_dates(rows: list[tuple], names: list[str]) -> None:
    for row in rows:
        for name, value in zip(names, row, strict=True):
            if hasattr(value, "isoformat"):
                raise ValueError(
                    f"column {name!r} holds dates: derive numbers from it in the query, or leave it out with features=."
                )
