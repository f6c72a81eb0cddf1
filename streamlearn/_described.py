"""What values and streams are, in words that are the same in another process: by which a resumed fit knows its data again."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import functools
import os
import re
import zlib
from typing import Any

import numpy as np
from scipy import sparse

from ._checkpoint_file import type_name
from ._failures import RAISE, known_sizes
from ._files import is_url
from ._pool import StreamPool
from ._rows import is_frame, take_rows
from ._state import pack, unpack
from ._streamer import Streamer

_ROWS_SAMPLED = 1000
_LARGEST = 2**24  # bytes of an array that is read in full: a function's argument may be a map of a file of any size
_LONGEST_TEXT = 500
_DEEPEST = 20  # levels of a value that may hold itself
_NAMED = 1000  # streams up to which each has a digest of its own, to name those that differ
_PLAIN: tuple[type, ...] = (type(None), bool, int, float, complex, str, bytes, range, slice, np.generic, enum.Enum)
_PLAIN += (datetime.date, datetime.time, datetime.timedelta)
# What a mux, and a source of blocks, was made with; what they find out later is no part of it. A database is left to its
# query: its file grows with other tables.
_OF_A_MUX = ("_n_active", "_lam", "_mode", "_dist", "_prune", "_weights", "_own_seed")
_OF_A_SOURCE = ("_header", "_delimiter", "_n_features", "_zero_based", "_edges", "_blocks", "_i", "_arrays")


class Texts:
    """Texts of values, for one pass over many: what they share is read once.

    Parameters
    ----------
    shows : bool, default=False
        Whether arrays and objects are shown as they show themselves; otherwise functions and classes have their name, and
        objects that of their type.
    """

    def __init__(self, shows: bool = False) -> None:
        self._shows = shows
        self._known: dict[int, tuple[Any, str]] = {}  # with the value, so that no other gets its id
        self._sizes: dict[str, str] = {}

    def of(self, value: Any, depth: int = 0) -> str:
        """Return the text of a value."""
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, os.PathLike):
            return repr(os.fspath(value))
        if depth > _DEEPEST:
            return type_name(value)
        if id(value) not in self._known:
            self._known[id(value)] = value, type_name(value)  # within itself
            try:
                text = self._text(value, depth + 1)
            except Exception:  # of a value's own methods; that a value cannot be told from others ends no training
                text = type_name(value)
            self._known[id(value)] = value, text
        return self._known[id(value)][1]

    def _text(self, value: Any, depth: int) -> str:
        if isinstance(value, dict):
            pairs = (f"{self.of(key, depth)}: {self.of(values, depth)}" for key, values in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, (list, tuple, set, frozenset)):
            texts = [self.of(element, depth) for element in value]
            if isinstance(value, tuple):
                return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
            return f"[{', '.join(texts if isinstance(value, list) else sorted(texts))}]"
        if isinstance(value, np.ndarray) or sparse.issparse(value) or is_frame(value):
            shown = repr(value) if self._shows else f"{type(value).__name__} {value.shape}"
            return f"{shown} of digest {_digest(value)}"
        if isinstance(value, Streamer):
            return self._stream(value, depth)
        if isinstance(value, StreamPool):
            return f"{type_name(value)} {self.of(list(value), depth)}"
        if hasattr(value, "targets") and hasattr(value, "features"):  # columns of a table
            return self.of([value.features, value.targets, value.target_is_list, value.weight], depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return f"{type_name(value)} {self.of(vars(value), depth)}"
        if isinstance(value, functools.partial):
            return f"partial {self.of([value.func, value.args, value.keywords], depth)}"
        if self._shows:
            return _representation(value)
        return str(getattr(getattr(value, "__wrapped__", value), "__qualname__", type_name(value)))

    # -- streams ------------------------------------------------------------------------------------------------------

    def _stream(self, stream: Any, depth: int) -> str:
        if hasattr(stream, "_processes"):  # the items are the same, whichever process makes them
            return self.of(stream._stream, depth)
        kind = type_name(stream)
        if hasattr(stream, "_table"):
            values = "" if depth == 1 else self.of(stream._table.columns, depth)  # those of a pool itself are sampled
            return f"{kind} {stream._range} {stream._shuffle} {self.of(stream._order, depth)} {values}"
        if hasattr(stream, "_source"):
            return f"{kind} {stream._window} {stream._shuffle} {self._source(stream._source, depth)}"
        if hasattr(stream, "_rules"):
            return f"{kind} {self._attributes(stream, _OF_A_MUX, depth)} {self.of(stream._streams, depth)}"
        if not stream._callable:
            return f"{kind} {self.of(stream._streamer, depth)}"
        arguments = f"{self.of(stream._args, depth)} {self.of(stream._kwargs, depth)}"
        return f"{kind} {self.of(stream._streamer, depth)} {arguments}"

    def _source(self, source: Any, depth: int) -> str:
        told = [type_name(source), self._attributes(source, _OF_A_SOURCE, depth), self.of(source.parts, depth)]
        files = getattr(source, "_files", None)
        if isinstance(files, dict):  # of arrays
            told += [f"{name} {self._file(path)}" for name, path in files.items()]
        elif files is not None:
            told += [self._file(files.paths[i]) for i in dict.fromkeys(file for file, _ in source._places)]
            told += [str(source._group), str(files.filters)]
        for holder, name in (("_lines", "path"), ("", "_path")):
            path = getattr(getattr(source, holder, None) if holder else source, name, None)
            told += [] if path is None else [self._file(path)]
        if hasattr(source, "_columns"):
            told.append(self.of(source._columns, depth))
        if hasattr(source, "_partitions"):
            told.append(self.of(source._partitions.columns, depth))
        if hasattr(source, "_database"):
            told.append(source._database.query)
        return " ".join(told)

    def _attributes(self, owner: Any, names: tuple[str, ...], depth: int) -> str:
        return ", ".join(f"{name}={self.of(getattr(owner, name), depth)}" for name in names if hasattr(owner, name))

    def _file(self, path: str) -> str:
        """Return the name and size of a file, which are the same where it was copied to."""
        if path not in self._sizes:
            if is_url(path):
                self._sizes[path] = path.split("?")[0]  # behind it there may be what lets somebody in for some time
            else:
                size = os.path.getsize(path) if os.path.isfile(path) else -1
                self._sizes[path] = f"{os.path.basename(path)} of {size} bytes"
        return self._sizes[path]


def text_of(value: Any) -> str:
    """Return a text of a parameter that is the same in another process, and tells other values apart as far as it can."""
    text = Texts(shows=True).of(value)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}... of digest {zlib.crc32(text.encode())}"
    return text


def _representation(value: Any) -> str:
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return f"{type_name(value)}, next {copy.deepcopy(value).bytes(8).hex()}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _digest(values: Any, digest: int = 0) -> int:
    """Return a digest of an array, a sparse matrix or a DataFrame; of a large one, of rows of it."""
    if sparse.issparse(values):
        values = values.tocsr()
        for part in (values.data, values.indices, values.indptr):
            digest = _digest(part, digest)
        return digest
    if values.ndim and getattr(values, "nbytes", 0) > _LARGEST:
        values = values[np.unique(np.linspace(0, len(values) - 1, _ROWS_SAMPLED).astype(np.int64))]
    if is_frame(values):
        digest = zlib.crc32(str(list(values.columns)).encode(), digest)
        values = np.asarray(values)
    if values.dtype.hasobject:
        return zlib.crc32(Texts().of(values.tolist()).encode(), digest)
    return zlib.crc32(np.ascontiguousarray(values).tobytes(), zlib.crc32(str(values.dtype).encode(), digest))


# -- pools --------------------------------------------------------------------------------------------------------------


def described_streams(pool: StreamPool) -> dict[str, Any]:
    """Return what a resumed fit compares: names and lengths (-1 where unknown) of the streams, what they are, and values."""
    sizes, _ = known_sizes(pool, RAISE)
    texts = Texts()
    made = np.fromiter((zlib.crc32(texts.of(stream).encode()) for stream in pool), np.uint32, len(pool))
    if len(made) > _NAMED:  # it is written into each checkpoint
        made = np.array([zlib.crc32(made.tobytes())], np.uint32)
    return {"names": pack(np.array(pool.names)), "sizes": pack(sizes), "made": pack(made), "data": _sampled(pool)}


def _sampled(pool: StreamPool) -> int:
    """Return a digest of about a thousand rows of the arrays in memory, which tells other data of the same lengths apart."""
    tables = list(
        {id(table): table for table in (getattr(stream, "_table", None) for stream in pool) if table}.values()
    )
    tables = tables[:: -(-len(tables) // _ROWS_SAMPLED) or 1]
    digest = 0
    for table in tables:
        rows = np.linspace(0, max(table.n_rows - 1, 0), max(_ROWS_SAMPLED // len(tables), 1)).astype(np.int64)
        for name, values in sorted(table.columns.items()):
            columns = [str(column) for column in values.columns] if is_frame(values) else ""
            digest = zlib.crc32(f"{name} {type(values).__name__} {columns}".encode(), digest)
            part = take_rows(values, np.unique(rows)) if table.n_rows else None
            part = getattr(part, "data", part) if sparse.issparse(part) else part
            part = np.asarray(part) if isinstance(part, list) or is_frame(part) else part
            if isinstance(part, np.ndarray):
                part = part.astype(str) if part.dtype.hasobject else part
                digest = zlib.crc32(np.ascontiguousarray(part).tobytes(), zlib.crc32(str(part.dtype).encode(), digest))
    return digest


def changes(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return what has come, gone or changed among described streams, None if nothing has."""
    before = {"made": now["made"], **before}  # which older checkpoints do not have
    if _readable(now) == _readable(before):
        return None
    names, names_before = unpack(now["names"]).tolist(), unpack(before["names"]).tolist()
    size_before = dict(zip(names_before, unpack(before["sizes"]).tolist(), strict=True))
    size = dict(zip(names, unpack(now["sizes"]).tolist(), strict=True))
    come = [name for name in names if name not in size_before]
    gone = sorted(set(names_before) - set(names))
    changed = [name for name in names if name in size_before and size_before[name] != size[name]]
    what_changed = "of another length"
    if not (come or gone or changed) and now["data"] != before["data"]:
        changed, what_changed = names, "of other values"
    if not (come or gone or changed) and names == names_before:
        changed, what_changed = (
            _made_otherwise(names, before, now),
            "made in another way, or of other arguments or files",
        )
    return "; ".join(
        f"{what}: {', '.join(map(repr, some[:5]))}{f' and {len(some) - 5} more' if len(some) > 5 else ''}"
        for what, some in (("new", come), ("gone", gone), (what_changed, changed))
        if some
    )


def _made_otherwise(names: list[str], before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the streams that are not what they were; all of many, which share a digest."""
    made_before, made = unpack(before["made"]), unpack(now["made"])
    return names if len(made) < len(names) else [names[i] for i in np.flatnonzero(made != made_before)]


def _readable(streams: dict[str, Any]) -> list[Any]:
    """Unpack what describes streams: packed arrays may differ in their compression."""
    return [*(unpack(streams[name]).tolist() for name in ("names", "sizes", "made")), streams["data"]]
