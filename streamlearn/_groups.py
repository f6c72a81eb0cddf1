"""Row groups that many streams share: rows sorted by the values of a column, which is done once for all of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._locks import lock_of

NAN = "NaN, which is equal to no value"


class _Sorted(NamedTuple):
    stamp: Any
    table: Any
    places: dict[Hashable, tuple[int, int]]  # of the rows of each value: the first of them, and how many


class Groups:
    """Row groups whose rows were sorted by a column, those that were used last.

    Parameters
    ----------
    column : str
    n_bytes : int
        Others than the last one are kept while together they are not larger.

    Attributes
    ----------
    n_read : int
        Row groups that the thread that asks has read.
    """

    def __init__(self, column: str, n_bytes: int) -> None:
        self.column = column
        self._most = n_bytes
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {"column": self.column, "_most": self._most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = lock_of(self)
        self._own = threading.local()
        self.forget()

    @property
    def n_read(self) -> int:
        return getattr(self._own, "n_read", 0)

    def forget(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._kept: OrderedDict[Hashable, _Sorted] = OrderedDict()
            self._n_bytes = 0

    def rows(
        self, name: Hashable, stamp: Any, value: Hashable, names: Sequence[str], read: Callable[[list[str]], Any]
    ) -> Any:
        """Return the rows of a value, in their order, as a table of some columns.

        Parameters
        ----------
        name : hashable
            Of the row group.
        stamp : object
            What changes when its file does.
        value : hashable
            As :func:`group_of` gives it.
        names : sequence of str
        read : callable
            Returns the row group as a table of columns.
        """
        name = name, tuple(names)
        with self._lock:  # others want the same row group
            found = self._kept.get(name)
            if found is not None and found.stamp != stamp:
                self._drop(name)
                found = None
            if found is None:
                table, places = sorted_by(read([*dict.fromkeys([*names, self.column])]), self.column)
                found = self._kept[name] = _Sorted(stamp, table.select(list(names)), places)
                self._n_bytes += found.table.nbytes
                self._own.n_read = self.n_read + 1
                while self._n_bytes > self._most and len(self._kept) > 1:
                    self._drop(next(iter(self._kept)))
            self._kept.move_to_end(name)
        return found.table.slice(*found.places.get(value, (0, 0)))

    def _drop(self, name: Hashable) -> None:
        self._n_bytes -= self._kept.pop(name).table.nbytes


def group_of(value: Any) -> Hashable:
    """Return what names the group of a value: all NaN are one."""
    return NAN if isinstance(value, float) and value != value else value


def sorted_by(table: Any, column: str) -> tuple[Any, dict[Hashable, tuple[int, int]]]:
    """Return the rows of a table sorted by a column, otherwise as they lie, and where those of each value are."""
    import pyarrow as pa

    encoded = table.column(column).combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):  # one without chunks
        encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], encoded.type)
    values = encoded.dictionary.to_pylist()
    codes = encoded.indices.cast(pa.int64()).fill_null(len(values)).to_numpy(zero_copy_only=False)
    values = [group_of(value) for value in [*values, None]]
    first = {value: i for i, value in reversed(list(enumerate(values)))}  # a dictionary may hold a value twice
    codes = np.array([first[value] for value in values], np.int64)[codes]
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(values))
    starts = np.cumsum(counts) - counts
    places = {value: (int(starts[i]), int(counts[i])) for value, i in first.items()}
    return table.take(pa.array(order)).combine_chunks(), places
