"""Text files as blocks of whole lines: where they lie, found in one reading, so that each can be read by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._files import is_gone, open_file
from ._locks import lock_of

BLOCK_BYTES = 2**21
_LONGEST_LINE = 2**26
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


class Lines:
    """Blocks of whole lines of a text file, and how many lines that are not empty each has.

    Parameters
    ----------
    path : str
    storage_options : dict or None
        For fsspec.
    block_bytes : int
    start : int, default=0
        Where the first line begins, after a header.
    delimiter : bytes, optional
        Of CSV: quoted values may then hold line ends, and each line must have ``n_fields``. None (default): every newline ends
        a line.
    n_fields : int, default=0
    """

    def __init__(
        self,
        path: str,
        storage_options: dict[str, Any] | None,
        block_bytes: int,
        start: int = 0,
        delimiter: bytes | None = None,
        n_fields: int = 0,
    ) -> None:
        self.path = path
        self._options = storage_options
        self._block_bytes = block_bytes
        self._start = start
        self._delimiter = delimiter
        self._n_fields = n_fields
        self._found: tuple[np.ndarray, np.ndarray] | None = None
        self._lock = lock_of(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = lock_of(self)

    @property
    def counts(self) -> np.ndarray:
        """Number of lines of each block."""
        return self._scan()[1]

    def read(self, block: int) -> bytes:
        edges, _ = self._scan()
        with self._open() as file:
            file.seek(int(edges[block]))
            return file.read(int(edges[block + 1] - edges[block]))

    def where(self, block: int) -> str:
        return f"block {block} of {self.path!r}"

    def first_block(self) -> bytes:
        """Read lines at the beginning, without a reading of all; nothing, if all lines are empty."""
        for text, _, full in self._read(BLOCK_BYTES):
            if full.any():
                return text
        return b""

    def _read(self, n_bytes: int) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
        """Yield whole lines, where they end, and which of them are not empty."""
        n_before = int(self._start > 0)
        with self._open() as file:
            file.seek(self._start)
            for text, ends in whole_lines(file, n_bytes, self._delimiter, self.path):
                full = _full(text, ends)
                if self._delimiter is not None:
                    self._check_fields(text, ends, full, n_before)
                n_before += text.count(b"\n")
                yield text, ends, full

    def _open(self) -> Any:
        try:
            return open_file(self.path, self._options)
        except FileNotFoundError as error:
            raise is_gone(self.path) from error

    def _scan(self) -> tuple[np.ndarray, np.ndarray]:
        """Read through the file once, at the first call."""
        with self._lock:
            if self._found is None:
                edges, counts = [self._start], []
                for text, _, full in self._read(self._block_bytes):
                    edges.append(edges[-1] + len(text))
                    counts.append(int(full.sum()))
                if not (self._start or any(counts)):
                    raise ValueError(f"{self.path!r} is empty: it has no line to learn from. Leave it out of paths.")
                self._found = np.array(edges, np.int64), np.array(counts, np.int64)
            return self._found

    def _check_fields(self, text: bytes, ends: np.ndarray, full: np.ndarray, n_before: int) -> None:
        """Refuse a line with too few or too many fields, before it is learned from."""
        characters = np.frombuffer(text, np.uint8)
        delimiter = self._delimiter or b","
        delimits = characters == ord(delimiter)
        if b'"' in text:
            delimits &= ~_within_quotes(characters, delimiter)
        n_fields = np.diff(np.searchsorted(np.flatnonzero(delimits), ends), prepend=0) + 1
        wrong = full & (n_fields != self._n_fields)
        if wrong.any():
            line = int(np.argmax(wrong))
            start = int(ends[line - 1]) if line else 0
            number = n_before + text[:start].count(b"\n") + 1
            raise ValueError(
                f"{self.path!r}, line {number} has fields: {n_fields[line]}, but the file has columns: {self._n_fields}. It is "
                f"{text[start : min(int(ends[line]), start + 80)].decode(errors='replace').rstrip()!r}: mend it, or check "
                "delimiter."
            )


def whole_lines(file: Any, n_bytes: int, delimiter: bytes | None, path: str) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield whole lines, about ``n_bytes`` at once, and where they end.

    Parameters
    ----------
    file : binary file
        Read from where it stands, which is the beginning of a line.
    n_bytes : int
    delimiter : bytes or None
        As for :class:`Lines`.
    path : str
        For errors.
    """
    rest = b""
    while chunk := file.read(n_bytes):
        text = rest + chunk
        ends, _ = line_ends(text, delimiter)
        cut = int(ends[-1]) if len(ends) else 0
        if cut:
            yield text[:cut], ends
        rest = text[cut:]
        if len(rest) > max(_LONGEST_LINE, n_bytes):
            raise ValueError(
                f"{path!r} has a line of more than {len(rest)} bytes, which begins with {rest[:80]!r}: it is no text of "
                "lines, or a quote in it is never closed."
            )
    if rest:
        ends, is_open = line_ends(rest, delimiter, at_end=True)
        if is_open:
            first = rest[: int(ends[0])] if len(ends) else rest
            raise ValueError(
                f"{path!r}: a quote is opened and never closed, in or after the line {first[:80].decode(errors='replace')!r}."
            )
        yield rest, ends


def line_ends(text: bytes, delimiter: bytes | None, at_end: bool = False) -> tuple[np.ndarray, bool]:
    """Return where lines end (the place of the next character), and whether the text ends within quotes.

    A quote opens a value only where the value begins, and is closed by the next one that is not doubled, as in pyarrow.

    Parameters
    ----------
    text : bytes
        It begins with a line.
    delimiter : bytes or None
        None: there are no quotes, and only newlines end lines.
    at_end : bool, default=False
        Whether the file ends here: what is left is a line, too. If not, a last carriage return may have its newline to come.
    """
    characters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(characters == _NEWLINE)
    is_open = False
    if delimiter is not None:
        if text.count(b"\r") > text.count(b"\r\n"):
            returns = np.flatnonzero(characters == _RETURN)
            followed = np.append(characters, _NEWLINE if not at_end else 0)[returns + 1]
            ends = np.sort(np.append(ends, returns[followed != _NEWLINE]))
        if b'"' in text:
            within = _within_quotes(characters, delimiter)
            ends = ends[~within[ends]]
            is_open = bool(within[-1])
    ends = ends + 1
    if at_end and text and not (len(ends) and ends[-1] == len(text)):
        ends = np.append(ends, len(text))
    return ends, is_open


def _within_quotes(characters: np.ndarray, delimiter: bytes) -> np.ndarray:
    """Tell which characters lie within quotes: an odd number of them, up to there, opened and closed values."""
    is_quote = characters == _QUOTE
    quotes = np.flatnonzero(is_quote)
    begins = np.zeros(256, bool)
    begins[[ord(delimiter), _NEWLINE, _RETURN]] = True
    opens = begins[characters[quotes[::2] - 1]]
    opens[:1] |= quotes[:1] == 0
    opens[1:] |= quotes[2::2] - quotes[1:-1:2] == 1  # doubled: it closes, and opens again
    if not opens.all():  # some quotes are characters of values
        found: list[int] = []
        may_open = begins[characters[quotes - 1]] | (quotes == 0)
        for place, may in zip(quotes.tolist(), may_open.tolist(), strict=True):
            if len(found) % 2 or may or (found and found[-1] == place - 1):
                found.append(place)
        is_quote[:] = False
        is_quote[found] = True
    return np.bitwise_xor.accumulate(is_quote.view(np.uint8)).view(bool)


def _full(text: bytes, ends: np.ndarray) -> np.ndarray:
    """Tell which lines are not empty."""
    characters = np.frombuffer(text, np.uint8)
    lengths = np.diff(ends, prepend=0)
    last = characters[ends - 1]
    ended = (last == _NEWLINE) | (last == _RETURN)
    both = (lengths > 1) & (last == _NEWLINE) & (characters[ends - 2] == _RETURN)
    return lengths - ended - both > 0
