"""Rows of many arrays, wherever they lie in memory, taken in one call as if they were rows of one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import _compiled
from ._memory import empty_bytes
from ._rows import row_bytes

# NumPy counts the bytes that rows at every address would have; of larger rows, a call for each array costs little.
_LARGEST_ROW = 2**14


class Span:
    """The stretch of memory from the first to the last of some arrays, addressed by rows.

    Taking rows array by array costs a call for each array, and a second copy to bring the rows into their order. All arrays
    of a process lie in one address space: seen as one long array whose elements are rows and begin at every multiple of the
    greatest common divisor of all distances, any rows are taken in one call and in any order. Only addresses of rows
    that exist are ever read.

    Parameters
    ----------
    arrays : sequence of ndarray
        Not empty, and as :meth:`fits` demands. They are kept alive.

    Attributes
    ----------
    bases : ndarray of shape (n_arrays,), int64
        Index of the first row of each array.
    step : int
        From the index of a row to that of the next one.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn._span import Span
    >>> span = Span([np.array([[0, 1], [2, 3]]), np.array([[4, 5]])])
    >>> span.take(np.array([span.bases[1], span.bases[0] + 1 * span.step]))
    array([[4, 5],
           [2, 3]])
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = arrays
        first = arrays[0]
        self._dtype, self._shape = first.dtype, first.shape[1:]
        n_bytes = row_bytes(first)
        addresses = np.array([array.__array_interface__["data"][0] for array in arrays])
        lowest = int(addresses.argmin())
        distances = addresses - addresses[lowest]
        unit = int(np.gcd.reduce(np.append(distances, n_bytes)))
        self.bases, self.step = distances // unit, n_bytes // unit
        # A row is one element: of the array's own kind where it can be, which is copied fastest.
        kind = self._dtype if not self._shape else np.dtype((np.void, n_bytes))
        rows = arrays[lowest].reshape(-1).view(kind)
        n = (
            max(base + self.step * (len(array) - 1) for base, array in zip(self.bases.tolist(), arrays, strict=True))
            + 1
        )
        self._rows = np.lib.stride_tricks.as_strided(rows, (n,), (unit,), writeable=False)

    @staticmethod
    def fits(arrays: Sequence[np.ndarray]) -> bool:
        """Whether arrays can be taken from together: plain values, none empty, of one dtype and shape, row after row."""
        first = arrays[0]
        if not hasattr(first, "dtype") or getattr(first.dtype, "hasobject", True):
            return False
        if row_bytes(first) > _LARGEST_ROW:
            return False
        return all(
            type(array) in (np.ndarray, np.memmap)  # other subclasses hold more than values
            and array.size
            and array.dtype == first.dtype
            and array.shape[1:] == first.shape[1:]
            and array.flags.c_contiguous
            and array.flags.aligned  # NumPy would copy all of the stretch to align it
            for array in arrays
        )

    @property
    def address(self) -> tuple[int, int]:
        """The address of index 0, and the bytes from one index to the next."""
        return self._rows.__array_interface__["data"][0], self._rows.strides[0]

    @property
    def kind(self) -> tuple[np.dtype, tuple[int, ...]]:
        """The dtype and the shape of a row."""
        return self._dtype, self._shape

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return the rows at ``index``, each a row's base and so many steps, as a new array."""
        rows = self._rows
        if _compiled.native is None:
            taken = rows.take(index) if rows.flags.c_contiguous else rows[index]
        else:
            taken = empty_bytes(len(index) * rows.itemsize)
            _compiled.native.take(*self.address, np.ascontiguousarray(index, np.int64), rows.itemsize, taken)
        return taken.view(self._dtype).reshape(len(index), *self._shape)
