"""from_csv: a pool of streams from CSV files, which are cut into blocks at line ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES, BlockSource
from ._columns import Columns
from ._files import list_files, open_file, short_names
from ._optional import require
from ._pool import StreamPool
from ._sources import check_options, stream_pool

BLOCK_BYTES = 2**21


class Lines:
    """Blocks of whole lines of a text file: where they lie, and how many lines that are not empty each has."""

    def __init__(self, path: str, storage_options: dict[str, Any] | None, block_bytes: int, skip: int) -> None:
        self.path = path
        self._options = storage_options
        self._block_bytes = block_bytes
        self._start = skip  # bytes of the header
        self._found: tuple[np.ndarray, np.ndarray] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def counts(self) -> np.ndarray:
        """Number of lines of each block."""
        return self._scan()[1]

    def read(self, block: int) -> bytes:
        edges, _ = self._scan()
        try:
            with open_file(self.path, self._options) as file:
                file.seek(int(edges[block]))
                return file.read(int(edges[block + 1] - edges[block]))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.path!r} is gone: it was there when the pool was made.") from error

    def _scan(self) -> tuple[np.ndarray, np.ndarray]:
        """Read through the file once, at the first call."""
        with self._lock:
            if self._found is None:
                edges, counts = [self._start], []
                rest = b""
                with open_file(self.path, self._options) as file:
                    file.seek(self._start)
                    while chunk := file.read(self._block_bytes):
                        rest += chunk
                        end = rest.rfind(b"\n") + 1
                        if end:
                            edges.append(edges[-1] + end)
                            counts.append(_count(rest[:end]))
                            rest = rest[end:]
                if rest:
                    edges.append(edges[-1] + len(rest))
                    counts.append(_count(rest))
                self._found = np.array(edges, np.int64), np.array(counts, np.int64)
            return self._found


def _count(text: bytes) -> int:
    """Number of lines that are not empty."""
    characters = np.frombuffer(text, np.uint8)
    ends = np.append(np.flatnonzero(characters == 10), [] if text.endswith(b"\n") else [len(text)]).astype(np.int64)
    lengths = np.diff(ends, prepend=-1) - 1
    returns = (ends > 0) & (characters[ends - 1] == 13)
    return int((lengths - returns > 0).sum())


class CsvSource(BlockSource):
    """Blocks of lines of a CSV file."""

    def __init__(self, name: str, lines: Lines, header: list[str], columns: Columns, delimiter: str) -> None:
        self.name = name
        self.parts = columns.parts
        self.row_bytes = columns.row_bytes
        self._lines = lines
        self._header = header
        self._columns = columns
        self._delimiter = delimiter

    def rows(self) -> np.ndarray:
        return self._lines.counts

    def read(self, block: int) -> dict[str, Any]:
        return self._read(block, None)

    def read_part(self, block: int, name: str) -> Any:
        return self._read(block, name)[name]

    def _read(self, block: int, part: str | None) -> dict[str, Any]:
        names = self._columns.names_of(part)
        table = _parse(
            self._lines.read(block), self._header, self._delimiter, self._lines.path, names, self._columns.types
        )
        return self._columns.convert(table, part)

    def where(self, block: int) -> str:
        return f"block {block} of {self._lines.path!r}"


def _parse(
    text: bytes, header: list[str], delimiter: str, path: str, names: Sequence[str] | None = None, types: Any = None
) -> Any:
    pa = require("pyarrow", extra="csv", purpose="from_csv")
    csv = require("pyarrow.csv", extra="csv", purpose="from_csv")
    try:
        return csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=header, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=names, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(
            f"{path!r}: {error}. If a column holds other values than in the first block of the first file, give its type in "
            "column_types; line breaks within quotes are not understood."
        ) from error


def from_csv(
    paths: Any,
    *,
    target: Any,
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    column_types: dict[str, Any] | None = None,
    delimiter: str = ",",
    block_bytes: int = BLOCK_BYTES,
    window: int | None = None,
    shuffle: bool = True,
    prefetch: int = 0,
    cache_bytes: int = CACHE_BYTES,
    storage_options: dict[str, Any] | None = None,
) -> StreamPool:
    """Make a pool of streams of samples from CSV files, a stream for each file.

    A file is read through once, to find where its lines are, when its first stream is asked for its length; then block by block.
    What is learned from more than once is read many times faster from Parquet.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Files, patterns, directories, or fsspec URLs of any of them. Each file begins with a line of column names.
    target, features, sample_weight
        As in :func:`from_parquet`.
    column_types : dict of str to pyarrow.DataType, optional
        Types of columns. By default they are those of the first block of the first file, where numbers that are features
        count as floats.
    delimiter : str, default=","
        One character.
    block_bytes : int, default=2**21
        Text that is read and shuffled at once.
    window, shuffle, prefetch, cache_bytes, storage_options
        As in :func:`from_parquet`.

    Returns
    -------
    pool : StreamPool

    Raises
    ------
    FileNotFoundError
        If a file is missing, or a pattern matches nothing.
    ValueError
        If a file is empty or its columns are not those of the first, before training; if a line does not fit, when it is
        read. The errors name the file.

    See Also
    --------
    from_parquet : A pool from Parquet files.

    Examples
    --------
    >>> import os, tempfile
    >>> from streamlearn import from_csv
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "trips.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("distance,late\\n1.0,0\\n2.5,1\\n")
    ...     pool = from_csv(path, target="late", shuffle=False)
    ...     pool, next(pool[0].generate())
    (StreamPool(1 stream: 'trips.csv'), {'X': array([1.]), 'y': np.int64(0)})
    """
    pa = require("pyarrow", extra="csv", purpose="from_csv")
    options = check_options(window, shuffle, prefetch, cache_bytes, block_bytes)
    files = list_files(paths, (".csv", ".tsv", ".txt"), storage_options)
    headers, all_lines = [], []
    for path in files:
        with open_file(path, storage_options) as file:
            line = file.readline()
        if not line.strip():
            raise ValueError(f"{path!r} is empty: it must begin with a line of column names.")
        headers.append(_parse(line, ["f%d" % i for i in range(line.count(delimiter.encode()) + 1)], delimiter, path))  # noqa: UP031
        all_lines.append(Lines(path, storage_options, block_bytes, len(line)))
    names = [[str(value).strip() for value in header.slice(0, 1).to_pylist()[0].values()] for header in headers]
    types = _types(all_lines[0], names[0], delimiter, storage_options)
    for name, kind in types.items():
        is_feature = features is None or name in features
        if is_feature and name not in (target if isinstance(target, (list, tuple)) else [target]):
            number = pa.types.is_integer(kind) or pa.types.is_null(kind)
            types[name] = pa.float64() if number else kind
    types.update(column_types or {})
    columns = Columns(pa.schema(list(types.items())), target, features, sample_weight, repr(files[0]))
    sources = []
    for name, lines, header in zip(short_names(files), all_lines, names, strict=True):
        if header != names[0]:
            columns.check(pa.schema([(n, types.get(n, pa.null())) for n in header]), repr(lines.path))
        sources.append(CsvSource(name, lines, header, columns, delimiter))
    return stream_pool(sources, options, repr(paths))


def _types(lines: Lines, header: list[str], delimiter: str, storage_options: Any) -> dict[str, Any]:
    """Types of the columns in the first block of a file."""
    with open_file(lines.path, storage_options) as file:
        file.readline()
        text = file.read(BLOCK_BYTES)
    if not text.strip():
        raise ValueError(f"{lines.path!r} has column names, but no row.")
    if len(text) == BLOCK_BYTES:
        text = text[: text.rfind(b"\n") + 1] or text
    return {field.name: field.type for field in _parse(text, header, delimiter, lines.path).schema}
