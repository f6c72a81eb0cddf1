"""Labels of classifiers: collecting those that there are, and finding those that are unknown."""

from __future__ import annotations

import contextlib
import numbers
from typing import Any

import numpy as np

_NUMBERS = "biuf"
_ROWS_KEPT = 2**18
_FEW_LABELS = 2**16
_MANY = 20


class Labels:
    """Collects the labels of targets that come piece by piece; memory is bounded by the number of different labels."""

    def __init__(self) -> None:
        self._columns: list[np.ndarray] | None = None
        self._flat = True
        self._pieces: list[np.ndarray] = []
        self._n_rows = 0

    def add(self, y: np.ndarray) -> None:
        """Take note of targets of shape (n_samples,) or (n_samples, n_outputs)."""
        if not len(y):
            return
        self._flat = y.ndim == 1 or y.shape[1] == 1
        if self._n_rows + len(y) >= _ROWS_KEPT:
            self._merge([*self._pieces, y])
        else:
            self._pieces.append(y.copy())  # a generator may use its arrays again
            self._n_rows += len(y)

    def _merge(self, pieces: list[np.ndarray]) -> None:
        y = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        self._pieces, self._n_rows = [], 0
        columns = [_distinct(column) for column in ([y] if y.ndim == 1 else y.T)]
        if self._columns is not None:
            columns = [np.unique(np.concatenate(pair)) for pair in zip(self._columns, columns, strict=True)]
        self._columns = columns

    def classes(self, estimator: Any) -> Any:
        """Return ``classes=`` for a first ``partial_fit``, or None if there was no label.

        Labels; for many outputs a list of them, or their numbers for an estimator that takes all at once (a multilabel MLP).
        """
        if self._pieces:
            self._merge(self._pieces)
        if self._columns is None:
            return None
        if self._flat:
            return self._columns[0]
        if hasattr(estimator, "estimator"):
            return self._columns
        return np.arange(len(self._columns))


def _distinct(y: np.ndarray) -> np.ndarray:
    """Return what ``np.unique`` does; integers close together are counted instead of sorted, at a tenth of the time."""
    if y.dtype.kind in "iu" and y.size:
        low, high = int(y.min()), int(y.max())
        if high - low < _FEW_LABELS and high < 2**62:
            return (np.flatnonzero(np.bincount(y.astype(np.int64, copy=False) - low)) + low).astype(y.dtype)
    return np.unique(y)


def plain_numbers(y: np.ndarray) -> np.ndarray:
    """Return numbers that lie in an array of objects as an array of numbers, other objects as they are."""
    if y.dtype.kind == "O" and y.size and isinstance(y.flat[0], numbers.Number):
        values = y.tolist()
        with contextlib.suppress(ValueError, TypeError):
            found = np.asarray(values)
            # integers that need floats would lose digits, and become one label
            exact = found.dtype.kind in "biu" or (found.dtype.kind == "f" and any(isinstance(v, float) for v in y.flat))
            if exact and found.shape == y.shape:
                return found
    return y


def no_label(y: np.ndarray) -> str | None:
    """Say what among targets cannot be a label, None if all can."""
    if y.ndim > 2:
        return f"rows of shape {y.shape[1:]}"
    if y.dtype.kind == "O":
        kinds = {type(value): value for value in y.ravel().tolist()}
        missing = [value for value in kinds.values() if _is_missing(value)]
        if missing:
            return repr(missing[0])
        if len(kinds) > 1 and not all(isinstance(value, (numbers.Number, np.bool_)) for value in kinds.values()):
            try:
                np.unique(y)
            except TypeError:
                return f"things of several kinds ({' and '.join(map(repr, list(kinds.values())[:2]))})"
    elif y.dtype.kind == "f":
        good = np.isfinite(y)
        if not good.all():
            return str(y[~good][0])
    elif y.dtype.kind in "mM" and np.isnat(y).any():
        return "NaT"
    return None


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA
        return True


def given_labels(classes: Any) -> Any:
    """Return labels as a user gave them: "scan" or None as they are, others as an array, or a list of arrays, one per output.

    Raises
    ------
    ValueError
        If one of them cannot be a label, or they are of several kinds.
    """
    if classes is None or isinstance(classes, str):
        if classes not in (None, "scan"):
            raise ValueError(f"classes must be the labels, 'scan' or None, got the text {classes!r}.")
        return classes
    values = list(classes)
    if values and not isinstance(values[0], str) and np.ndim(values[0]) > 0:
        return [given_labels(labels) for labels in values]
    as_given = np.empty(len(values), object)
    as_given[:] = values  # an array of their common type would make texts of numbers
    if (bad := no_label(plain_numbers(as_given))) is not None:
        raise ValueError(f"classes={classes!r} has {bad}, which is no label: leave it out, or make them of one kind.")
    return np.asarray(classes if hasattr(classes, "dtype") else values)


class KnownLabels:
    """Finds labels that are not among those that are known, at little cost for each batch.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), or list of these
        All labels, or those of each output.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn._labels import KnownLabels
    >>> KnownLabels([0, 1, 2]).unknown(np.array([1, 0, 7, 2, 8]))
    (2, 7)
    >>> KnownLabels(["a", "b"]).unknown(np.array(["b", "a"])) is None
    True
    """

    def __init__(self, classes: Any) -> None:
        classes = classes if isinstance(classes, (list, np.ndarray)) else list(classes)
        several = len(classes) > 0 and np.ndim(classes[0]) > 0
        self._outputs = [_Known(labels) for labels in classes] if several else None
        self._one = None if several else _Known(classes)
        self._indicators = None if several else _Known([0, 1])
        self._n_classes = len(classes)

    def unknown(self, y: np.ndarray) -> tuple[int, Any] | None:
        """Return the row and the label of the first one that is unknown, or None."""
        if y.ndim == 1 or (self._one is not None and y.shape[1:] == (1,)):
            return None if self._one is None else self._one.unknown(y.reshape(-1))
        if self._outputs is not None:
            found = [known.unknown(column) for known, column in zip(self._outputs, y.T, strict=False)]
            return min((pair for pair in found if pair is not None), key=lambda pair: pair[0], default=None)
        # a column for each label, which a row has or has not
        pair = self._indicators.unknown(y.reshape(-1)) if y.ndim == 2 and self._indicators is not None else None
        return None if pair is None else (pair[0] // y.shape[1], pair[1])

    def __str__(self) -> str:
        return str(self._one) if self._outputs is None else f"[{', '.join(map(str, self._outputs))}]"


class _Known:
    """The known labels of one output."""

    def __init__(self, classes: Any) -> None:
        classes = np.asarray(classes)
        self._number = classes.dtype.kind in _NUMBERS
        self._sortable = True
        try:
            self.classes = np.unique(classes)
        except TypeError:  # objects of several kinds
            self.classes, self._sortable = classes, False
        first, last = (
            (int(self.classes[0]), int(self.classes[-1])) if classes.dtype.kind in "iu" and len(classes) else (0, -1)
        )
        # most labels are numbers without a gap: the least and the largest of a batch tell all, which costs least
        self._range = (first, last) if last - first == len(self.classes) - 1 else None

    def unknown(self, y: np.ndarray) -> tuple[int, Any] | None:
        kind = y.dtype.kind
        if self._range is not None and kind in "iu" and y.size:
            first, last = self._range
            if np.minimum.reduce(y) >= first and np.maximum.reduce(y) <= last:
                return None
        known = self._known(y, kind)
        if known.all():
            return None
        row = int(np.argmin(known))
        label = y[row]
        return row, label.item() if isinstance(label, np.generic) else label

    def _known(self, y: np.ndarray, kind: str) -> np.ndarray:
        if not len(self.classes) or ((kind in _NUMBERS) != self._number and "O" not in (kind, self.classes.dtype.kind)):
            return np.zeros(len(y), bool)
        if self._sortable:
            try:
                return np.asarray(self.classes.take(self.classes.searchsorted(y), mode="clip") == y, bool)
            except TypeError:  # objects that cannot be compared with these
                pass
        labels = self.classes.tolist()
        return np.fromiter((not _is_missing(label) and label in labels for label in y.tolist()), bool, len(y))

    def __str__(self) -> str:
        shown = ", ".join(map(repr, self.classes[:_MANY].tolist()))
        return f"[{shown}{f', ... {len(self.classes)} in all' if len(self.classes) > _MANY else ''}]"
