"""from_csv: a pool of streams from CSV files, which are cut into blocks at line ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._blocks import CACHE_BYTES
from ._columns import Columns
from ._files import as_list, list_files, open_file, refuse_missing, short_names
from ._lines import BLOCK_BYTES, Lines, whole_lines
from ._optional import require
from ._pool import StreamPool
from ._sources import TableSource, check_options, stream_pool

_HEADER_BYTES = 2**16
# what files begin with that are no plain text
_MARKS = {
    rb"\x1f\x8b": "compressed (gzip)",
    rb"BZh[1-9]1AY&SY": "compressed (bzip2)",
    rb"\xfd7zXZ": "compressed (xz)",
    rb"\(\xb5/\xfd": "compressed (zstd)",
    rb"PK\x03\x04": "compressed (zip)",
    rb"\xff\xfe|\xfe\xff": "text in UTF-16",
}
_MARK_BYTES = 16


class CsvSource(TableSource):
    """Blocks of lines of a CSV file."""

    reads_together = True  # parsing does not need the interpreter

    def __init__(self, name: str, lines: Lines, header: list[str], columns: Columns, delimiter: str) -> None:
        super().__init__(name, columns)
        self._lines = lines
        self._header = header
        self._delimiter = delimiter

    def rows(self) -> np.ndarray:
        return self._lines.counts

    def table(self, block: int, names: list[str]) -> Any:
        text = self._lines.read(block)
        return _parse(text, self._header, self._delimiter, self._lines.path, names, self._columns.types)

    def where(self, block: int) -> str:
        return self._lines.where(block)


def _parse(
    text: bytes,
    header: list[str] | None,
    delimiter: str,
    path: str,
    names: Sequence[str] | None = None,
    types: Any = None,
) -> Any:
    pa = require("pyarrow", extra="csv", purpose="from_csv")
    csv = require("pyarrow.csv", extra="csv", purpose="from_csv")
    # all at once: pyarrow would cut the text at line ends that may lie within quotes
    read = {"column_names": header, "autogenerate_column_names": header is None, "block_size": len(text) + 1}
    try:
        return csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(use_threads=False, **read),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in text),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=names, strings_can_be_null=True),
        )
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(
            f"{path!r}: {error}. If a column holds other values than in the first block of the first file, give its type in "
            "column_types."
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
        Files, patterns, directories, or fsspec URLs of any of them. Each file begins with a line of column names. Values within
        double quotes may hold delimiters and line ends.
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
        If a file is empty, its columns are not those of the first, or a line has more or fewer fields than columns, before
        training; if a value is none of its column's type, when it is read. The errors name the file.

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
    ...     pool, next(pool[0].generate())["X"]
    (StreamPool(1 stream: 'trips.csv'), array([1.]))
    """
    pa = require("pyarrow", extra="csv", purpose="from_csv")
    options = check_options(window, shuffle, prefetch, cache_bytes, block_bytes=block_bytes)
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ValueError(f"delimiter must be one ASCII character, no quote and no line end, got {delimiter!r}.")
    if not isinstance(column_types, (dict, type(None))):
        raise TypeError(f"column_types must be a dict of column names to pyarrow types, got {column_types!r}.")
    files = list_files(paths, (".csv", ".tsv", ".txt"), storage_options)
    headers, all_lines = [], []
    for path in files:
        line = _first_line(path, delimiter, storage_options)
        row = _parse(line, None, delimiter, path, types=None).slice(0, 1).to_pylist()[0]
        headers.append(["" if value is None else str(value).strip() for value in row.values()])
        all_lines.append(Lines(path, storage_options, block_bytes, len(line), delimiter.encode(), len(row)))
    refuse_missing(list(column_types or ()), headers[0], f"column_types: {files[0]!r}")
    types = _types(all_lines[0], headers[0], delimiter)
    targets = [] if target is None else as_list(target, "target")
    chosen = headers[0] if features is None else as_list(features, "features")
    for name in chosen:
        kind = types.get(name)
        if name not in targets and kind is not None and (pa.types.is_integer(kind) or pa.types.is_null(kind)):
            types[name] = pa.float64()
    types.update(column_types or {})
    for name in {*chosen, *targets}:
        if name in types and pa.types.is_binary(types[name]):
            raise ValueError(
                f"{files[0]!r}: column {name!r} holds text that is not UTF-8: convert the file, or leave the column out with "
                "features=."
            )
    schema = pa.schema([(name, types[name]) for name in headers[0]])
    columns = Columns(
        schema,
        target,
        features,
        sample_weight,
        repr(files[0]),
        leave_out="leave such rows out of the files, or make them a value",
    )
    sources = []
    for name, lines, header in zip(short_names(files), all_lines, headers, strict=True):
        if header != headers[0]:
            columns.check(pa.schema([(n, types.get(n, pa.null())) for n in header]), repr(lines.path))
        sources.append(CsvSource(name, lines, header, columns, delimiter))
    return stream_pool(sources, options, repr(paths))


def _first_line(path: str, delimiter: str, storage_options: Any) -> bytes:
    with open_file(path, storage_options) as file:
        start = file.read(_MARK_BYTES)
    for mark, kind in _MARKS.items():
        if re.match(mark, start):
            raise ValueError(
                f"{path!r} is {kind}, which cannot be read by the block: decompress or convert it, or write it as Parquet."
            )
    with open_file(path, storage_options) as file:
        for text, ends in whole_lines(file, _HEADER_BYTES, delimiter.encode(), path):
            if text[: int(ends[0])].strip():
                return text[: int(ends[0])]
            break
    raise ValueError(f"{path!r} is empty: it must begin with a line of column names.")


def _types(lines: Lines, header: list[str], delimiter: str) -> dict[str, Any]:
    """Types of the columns in the first block of a file."""
    text = lines.first_block()
    if not text:
        raise ValueError(f"{lines.path!r} has column names, but no row.")
    return {field.name: field.type for field in _parse(text, header, delimiter, lines.path).schema}
