"""Items that are joined to one batch must be alike: in their columns or features, outputs and parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._batch import Batch
from ._rows import is_frame
from ._state import pack, unpack


class Alike:
    """Refuses items that cannot be joined with the first one, with errors that name the streams of both.

    Parameters
    ----------
    joined : bool
        Whether items are joined; of those that are not, only the columns of frames are compared.
    """

    def __init__(self, joined: bool) -> None:
        self._joined = joined
        self._first: tuple | None = None
        self._first_where = ""

    def state_dict(self) -> dict[str, Any]:
        """Return the form of the first item, as a JSON-able dict."""
        if self._first is None:
            return {"first": None, "where": ""}
        row, targets, unweighted = self._first
        kind = "columns" if isinstance(row, list) else "shape"
        return {"first": [kind, pack(row), pack(targets), unweighted], "where": self._first_where}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self._first, self._first_where = None, state["where"]
        if state["first"] is not None:
            kind, row, targets, unweighted = map(unpack, state["first"])
            targets = None if targets is None else tuple(targets)
            self._first = (row if kind == "columns" else tuple(row), targets, unweighted)

    def check(self, batch: Batch, where: Callable[[], str]) -> None:
        """Compare an item with the first one; ``where`` says where it comes from."""
        X, y = batch.X, batch.y
        form = (
            X.shape[1:] if type(X) is np.ndarray else _kind(X),
            None if y is None else y.shape[1:],
            batch.sample_weight is None,
        )
        if form == self._first or not batch.n:
            return
        if self._first is None:
            self._first, self._first_where = form, where()
            return
        try:
            self._refuse(form, self._first)
        except ValueError as error:
            error.add_note(f"the first item was given by {self._first_where}")
            raise

    def _refuse(self, form: tuple, first: tuple) -> None:
        frames = [kind for kind in (form[0], first[0]) if isinstance(kind, list)]
        if len(frames) == 2:
            refuse_other_columns(*frames)
        if not self._joined:
            return
        if len(frames) == 1:
            kinds = (
                "a frame, others before it as an array"
                if isinstance(form[0], list)
                else "an array, others before it as a frame"
            )
            raise ValueError(f"an item has X as {kinds} (with the columns {frames[0]}): they cannot be joined.")
        for part, part_first in zip(form[:2], first[:2], strict=True):
            if None not in (part, part_first) and part != part_first and not isinstance(part, list):
                shapes = sorted([part, part_first])
                raise ValueError(
                    f"items differ in their number of features or outputs: their rows have the shapes {shapes}."
                )
        if (form[1] is None) != (first[1] is None) or form[2] != first[2]:
            raise ValueError(
                "some items have y or sample_weight and others have not: streams that are mixed must yield the same parts; "
                f"this one has y: {form[1] is not None}, sample_weight: {not form[2]}."
            )


def _kind(X: Any) -> Any:
    """Return the columns of a frame, else the shape of a row."""
    return list(X.columns) if is_frame(X) else tuple(getattr(X, "shape", (0,))[1:])


def refuse_other_columns(names: Any, expected: Any) -> None:
    """Raise if the columns of a frame are not those that are expected, in their order."""
    names, expected = [None if columns is None else list(columns) for columns in (names, expected)]
    if names == expected:
        return
    if names is None or set(names) == set(expected):
        raise ValueError(f"a frame has the columns {names}, others before it {expected}, in this order.")
    missing = sorted(set(expected) - set(names), key=str)
    more = sorted(set(names) - set(expected), key=str)
    raise ValueError(f"a frame has other columns than those before it: missing {missing}, unexpected {more}.")
