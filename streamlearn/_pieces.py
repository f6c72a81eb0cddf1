"""Pieces of tables that are due together: rows that follow each other, and the time at which each is due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _compiled
from ._memory import empty_bytes
from ._permute import counted_from
from ._rows import concat_rows, row_bytes, slice_rows, take_rows
from ._span import Span


class Pieces:
    """Rows of tables, piece after piece.

    Parameters
    ----------
    which, starts, lengths : ndarrays of shape (n_pieces,)
        Of each piece the table, its first row and the number of its rows.
    order : ndarray of shape (n_rows,)
        Place in time of each row, piece after piece.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn._pieces import Pieces
    >>> pieces = Pieces(np.array([0, 1]), np.array([1, 0]), np.array([2, 1]), np.array([2, 0, 1]))
    >>> pieces.gather([np.array([10, 11, 12]), np.array([20])])
    array([12, 20, 11])
    """

    def __init__(self, which: np.ndarray, starts: np.ndarray, lengths: np.ndarray, order: np.ndarray) -> None:
        self.which = which
        self.starts = starts
        self.lengths = lengths
        self.order = order

    def counts(self, n_tables: int) -> list[int]:
        """Return the number of rows of each table."""
        return np.bincount(self.which, self.lengths, n_tables).astype(int).tolist()

    def of(self, good: np.ndarray) -> tuple[Pieces, np.ndarray]:
        """Return the pieces of some tables, which are numbered anew, and of which of the times they are.

        Parameters
        ----------
        good : ndarray of bool of shape (n_tables,)
        """
        keep = good[self.which]
        stays = np.repeat(keep, self.lengths)
        kept = np.empty(len(self.order), bool)
        kept[self.order] = stays
        order = (np.cumsum(kept) - 1)[self.order[stays]]
        which = (np.cumsum(good) - 1)[self.which[keep]]
        return Pieces(which, self.starts[keep], self.lengths[keep], order), kept

    def gather(self, values: Sequence[Any]) -> Any:
        """Return the rows of these values of the tables, in time."""
        if (by_address := self._taken(values)) is not None:
            return by_address
        if Span.fits(values):
            span = Span(values)
            starts = span.bases[self.which] + span.step * self.starts
            in_time = counted_from(starts, self.lengths, span.step, self.order)
            return span.take(in_time)
        by_table = np.argsort(self.which, kind="stable")
        starts, lengths = self.starts[by_table], self.lengths[by_table]
        rows = counted_from(starts, lengths)
        due = self.order[counted_from((np.cumsum(self.lengths) - self.lengths)[by_table], lengths)]
        back = np.empty_like(due)
        back[due] = np.arange(len(due))
        of_tables = np.split(rows, np.cumsum(self.counts(len(values)))[:-1])
        # of several tables slices are joined, which copies them; of one they would be all that some frames copy
        take = _take if len(values) > 1 else take_rows
        taken = [take(value, rows) for value, rows in zip(values, of_tables, strict=True)]
        return take_rows(concat_rows(taken), back)

    def _taken(self, values: Sequence[Any]) -> np.ndarray | None:
        """Return the rows of arrays by their addresses, in compiled loops; None if that cannot be done."""
        native, first = _compiled.native, values[0]
        if native is None or type(first) is not np.ndarray or first.dtype.hasobject:
            return None
        addresses = native.addresses(values, first.dtype, first.shape[1:])
        if addresses is None:
            return None
        lowest, row = int(addresses.min()), row_bytes(first)
        starts = (addresses - lowest)[self.which] + row * self.starts
        taken = empty_bytes(row * len(self.order))
        native.take(lowest, 1, counted_from(starts, self.lengths, row, self.order), row, taken)
        return taken.view(first.dtype).reshape(-1, *first.shape[1:])


def _take(values: Any, rows: np.ndarray) -> Any:
    """Return rows, as a slice if they follow each other: of frames and sparse matrices it costs much less."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice_rows(values, int(rows[0]), int(rows[-1]) + 1)
    return take_rows(values, rows)
