"""from_sql: a pool of streams from a database, by the values of columns."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES, BlockSource
from ._columns import Chosen
from ._files import as_list, is_url, refuse_missing
from ._optional import require
from ._pool import StreamPool
from ._sources import check_options, stream_pool

_PROBE_ROWS = 256


class Database:
    """A query, and how to ask for parts of it. Connections are open only while one is read."""

    def __init__(self, query: str, connection: str) -> None:
        self.query = f'SELECT * FROM "{query}"' if query.isidentifier() else query.strip().rstrip(";")
        self.connection = connection
        self.as_frame = False

    @contextmanager
    def _execute(self, statement: str, values: Sequence[Any]) -> Iterator[Any]:
        if is_url(self.connection):
            sqlalchemy = require("sqlalchemy", extra="sql", purpose=f"reading from {self.connection.split(':')[0]}")
            for i in range(len(values)):
                statement = statement.replace("?", f":v{i}", 1)
            engine = sqlalchemy.create_engine(self.connection, poolclass=sqlalchemy.pool.NullPool)
            with engine.connect() as connection:
                yield connection.execute(sqlalchemy.text(statement), {f"v{i}": value for i, value in enumerate(values)})
            return
        if not os.path.exists(self.connection):
            raise FileNotFoundError(f"no such database: {self.connection!r}.")
        with closing(sqlite3.connect(f"file:{self.connection}?mode=ro", uri=True)) as connection:
            try:
                yield connection.execute(statement, values)
            except sqlite3.Error as error:
                raise ValueError(f"{self.connection!r}: {error}, for the query {self.query!r}.") from error

    def names(self) -> list[str]:
        with self._execute(f"SELECT * FROM ({self.query}) AS q LIMIT 0", ()) as result:
            if hasattr(result, "description"):
                return [column[0] for column in result.description]
            return list(result.keys())

    def counts(self, columns: list[str]) -> list[tuple]:
        """Values of the columns, and the number of rows of each combination."""
        if not columns:
            with self._execute(f"SELECT COUNT(*) FROM ({self.query}) AS q", ()) as result:
                return [tuple(row) for row in result.fetchall()]
        listed = ", ".join(map(_quoted, columns))
        statement = f"SELECT {listed}, COUNT(*) FROM ({self.query}) AS q GROUP BY {listed} ORDER BY {listed}"
        with self._execute(statement, ()) as result:
            return [tuple(row) for row in result.fetchall()]

    def rows(self, names: list[str], where: dict[str, Any], limit: int | None = None) -> list[tuple]:
        terms = [
            f"{_quoted(name)} IS NULL" if value is None else f"{_quoted(name)} = ?" for name, value in where.items()
        ]
        statement = f"SELECT {', '.join(map(_quoted, names))} FROM ({self.query}) AS q"
        statement += f" WHERE {' AND '.join(terms)}" if terms else ""
        statement += "" if limit is None else f" LIMIT {limit}"
        with self._execute(statement, [value for value in where.values() if value is not None]) as result:
            return [tuple(row) for row in result.fetchall()]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class SqlSource(BlockSource):
    """The rows in which columns have certain values: one block."""

    def __init__(self, name: str, database: Database, chosen: Chosen, where: dict[str, Any], n_rows: int) -> None:
        self.name = name
        self.parts = chosen.parts
        self.row_bytes = 8 * len(chosen.names)
        self._database = database
        self._chosen = chosen
        self._where = where
        self._n_rows = n_rows

    def rows(self) -> np.ndarray:
        return np.array([self._n_rows])

    def read(self, block: int) -> dict[str, Any]:
        return self._read(self.parts)

    def read_part(self, block: int, name: str) -> Any:
        return self._read((name,))[name]

    def _read(self, parts: Sequence[str]) -> dict[str, Any]:
        chosen = self._chosen
        names = [name for part in parts for name in chosen.names_of(part)]
        columns = list(zip(*self._database.rows(names, self._where), strict=True)) or [()] * len(names)
        found: dict[str, Any] = {}
        for part in parts:
            n = len(chosen.names_of(part))
            mine, columns = columns[:n], columns[n:]
            if part == "X":
                found[part] = (_frame if self._database.as_frame else _floats)(mine, chosen.features)
            elif part == "y":
                if any(value is None for column in mine for value in column):
                    raise ValueError(f"the target {chosen.targets} has nulls: leave such rows out in the query.")
                found[part] = np.array(mine).T if chosen.target_is_list else np.array(mine[0])
            else:
                found[part] = np.array(mine[0], np.float64)
        return found

    def where(self, block: int) -> str:
        return f"the rows where {self._where}" if self._where else "all rows"


def _floats(columns: list[tuple], names: list[str]) -> np.ndarray:
    X = np.empty((len(columns[0]), len(columns)))
    for j, (name, column) in enumerate(zip(names, columns, strict=True)):
        try:
            X[:, j] = column
        except (TypeError, ValueError):
            raise ValueError(
                f"column {name!r} holds values that are no numbers: convert them in the query with CAST, or leave it out."
            ) from None
    return X


def _frame(columns: list[tuple], names: list[str]) -> Any:
    pandas = require("pandas", extra="parquet", purpose="a query with texts among its features")
    return pandas.DataFrame({name: list(column) for name, column in zip(names, columns, strict=True)})


def from_sql(
    query: str,
    connection: Any,
    *,
    target: Any,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    partition: Any = None,
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
        Columns of ``X``. None (default): all but target, weight and partition.
    sample_weight : str, optional
        Column of weights.
    partition : str or list of str, optional
        Columns of which each value, or combination of values, is a stream. Its rows are read at once: they should fit in memory
        ``n_active`` times, and an index helps. None (default): one stream of all rows.
    window, shuffle, prefetch, cache_bytes
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool
        Streams are named by the values, as ``UA`` or ``UA/1``. Their rows are counted by the database when the pool is made.

    Raises
    ------
    FileNotFoundError
        If there is no such SQLite file.
    ValueError
        If the query fails or gives no row, or a column is missing.

    See Also
    --------
    from_dataframe : A pool from the result of a query that fits in memory.

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
    ...     pool, len(list(pool[1]))
    (StreamPool(2 streams: 'AA', 'UA'), 2)
    """
    options = check_options(window, shuffle, prefetch, cache_bytes)
    if not isinstance(query, str) or not isinstance(connection, (str, os.PathLike)):
        raise TypeError(
            f"query and connection must be strings (connection: a SQLite file or a SQLAlchemy URL), got {query!r} and "
            f"{connection!r}."
        )
    database = Database(query, os.fspath(connection))
    there = database.names()
    columns = [] if partition is None else as_list(partition, "partition")
    refuse_missing(columns, there, "the query")
    chosen = Chosen(there, target, features, sample_weight, "the query", tuple(columns))
    probe = database.rows(chosen.features, {}, _PROBE_ROWS)
    _refuse_dates(probe, chosen.features)
    database.as_frame = any(isinstance(value, str) for row in probe for value in row)
    sources = [
        SqlSource(
            "/".join(map(str, values)) or "query", database, chosen, dict(zip(columns, values, strict=True)), int(n)
        )
        for *values, n in database.counts(columns)
        if n
    ]
    return stream_pool(sources, options, f"the query {query!r}")


def _refuse_dates(rows: list[tuple], names: list[str]) -> None:
    for row in rows:
        for name, value in zip(names, row, strict=True):
            if hasattr(value, "isoformat"):
                raise ValueError(
                    f"column {name!r} holds dates: derive numbers from it in the query, or leave it out with features=."
                )
