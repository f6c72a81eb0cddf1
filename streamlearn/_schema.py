"""What the items of a training run must have in common: found out from the first one, checked at each other.

An item that lies (NaN, a feature more, targets of another kind, negative weights) is refused when it comes, before any of its
rows is trained: joined with others it could no longer be told where it came from, and some estimators would not notice.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags

from ._batch import Batch
from ._labels import no_label
from ._rows import is_frame, limit_of, sum_of_squares
from ._state import pack, unpack

_NUMBERS = "fiub"
_LEARNED = ("parts", "X", "y", "numeric_frames", "largest", "first")
_KINDS = {**dict.fromkeys(_NUMBERS, "numbers"), **dict.fromkeys("OUS", "texts or objects"), "c": "complex numbers"}
_UNKNOWN: Mapping[str, float] = {}


class Schema:
    """Checks items, and learns from the first one what the others must be like.

    Parameters
    ----------
    estimator : object
        What is trained. Its tags tell whether it takes NaN and needs ``y``; how many features it was trained on, it knows itself.
    takes_weights : bool
        Whether its ``partial_fit`` takes ``sample_weight``.
    feature_names : ndarray of str, optional
        Columns of the frames that it was trained on.
    dtype : numpy.dtype, optional
        Of the floats that it was trained on; None (default): that of the first item.
    check_labels : callable, optional
        Refuses labels that are unknown: ``check_labels(y, counts)``.

    Attributes
    ----------
    all_finite : bool
        Whether everything that was checked is free of NaN and infinity, so that nobody needs to look again.
    finite : bool
        Whether the batch that was checked last is.
    reads_again : bool
        Whether it is worth to look at a batch just before it is trained (see :func:`reads_again`).
    X_limit, y_limit : float or None
        What the sum of the squares of float64 values in an item is below, if none is suspicious; None: any will do.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> from streamlearn._batch import as_batch
    >>> from streamlearn._schema import Schema
    >>> schema = Schema(SGDClassifier())
    >>> schema.check(as_batch((np.ones((2, 3)), [0, 1])), lambda: "stream 'a'")
    >>> schema.check(as_batch((np.ones((2, 4)), [0, 1])), lambda: "stream 'b'")
    Traceback (most recent call last):
        ...
    ValueError: X has 4 features, but 3 features in the first item, which was given by stream 'a'.
    """

    def __init__(
        self,
        estimator: Any,
        takes_weights: bool = True,
        feature_names: Any = None,
        dtype: Any = None,
        check_labels: Any = None,
    ) -> None:
        tags = get_tags(estimator)
        self.feature_names = feature_names
        self.check_labels: Callable[[Any, Any], None] = check_labels or (lambda y, counts: None)
        self._name = type(estimator).__name__
        self._takes_weights = takes_weights
        self.reads_again = reads_again(estimator)
        self._takes_nan = tags.input_tags.allow_nan
        self._needs_y = tags.target_tags.required
        self._reads_y = self._needs_y or is_classifier(estimator) or is_regressor(estimator)
        self._n_features: int | None = getattr(estimator, "n_features_in_", None)
        self._parts: tuple[bool, bool] | None = None
        self._X: Any = None
        self._y: Any = None
        self._numeric_frames = False
        self._usual: tuple[Any, ...] | None = None
        self._largest = _largest(dtype)
        self._first = ""
        self.all_finite = self.finite = False
        self.X_limit: float = math.inf
        self.y_limit: float | None = math.inf

    def check(self, batch: Batch, where: Callable[[], str], squares: Mapping[str, float] = _UNKNOWN) -> None:
        """Check a batch of at least one row.

        Parameters
        ----------
        batch : Batch
        where : callable
            Says who gave it.
        squares : mapping of str to float, optional
            Of ``X`` and ``y``, what the sum of the squares of their values is at most, if that is known.

        Raises
        ------
        ValueError
            If the batch is not like the first one, or holds what the estimator does not take.
        """
        X, y, weight = batch.X, batch.y, batch.sample_weight
        if weight is None and self._usual is not None and type(X) is np.ndarray:
            # arrays as in the first item, told apart at little cost
            dtype, shape, limit, y_dtype, y_shape, y_limit = self._usual
            if (
                X.dtype is dtype
                and X.shape[1:] == shape
                and (y_dtype is None if y is None else y.dtype is y_dtype and y.shape[1:] == y_shape)
                and (limit is None or squares.get("X", math.inf) < limit or sum_of_squares(X) < limit)
                and (y_limit is None or squares.get("y", math.inf) < y_limit or sum_of_squares(y) < y_limit)
            ):
                self.finite = y_limit is not None or y is None or y.dtype.kind != "f"  # else nobody looks at y
                return
        if self._parts is None:
            self._learn(batch)
            self._first = where()
        elif self._parts != (y is None, weight is None):
            self._refuse_parts(batch)
        kind = _kind(X)
        if kind != self._X:
            self._refuse_X(kind)
        if y is not None and (kind := kind_of_y(y)) != self._y:
            self._refuse_y(kind)
        self.check_values(batch)
        self.finite = self.all_finite

    def is_usual(self, batch: Batch, squares: Mapping[str, float]) -> bool:
        """Whether further rows like these need no check, since the squares of all of them add up to no more than this."""
        if self._usual is None or not self.finite or batch.sample_weight is not None:
            return False
        dtype, _, limit, y_dtype, _, y_limit = self._usual
        if getattr(batch.X, "dtype", None) is not dtype or getattr(batch.y, "dtype", None) is not y_dtype:
            return False  # limits are those of one kind of numbers
        return (limit is None or squares.get("X", math.inf) < limit) and (
            y_limit is None or squares.get("y", math.inf) < y_limit
        )

    @property
    def learned(self) -> bool:
        """Whether an item has told what others must be like."""
        return self._parts is not None

    def check_values(self, batch: Batch, row: str | None = None) -> None:
        """Check the values of rows that are alike otherwise; ``row`` says where the only one lies."""
        X, y, weight = batch.X, batch.y, batch.sample_weight
        if (found := self._suspect_X(X)) is not None:
            place, value = found
            at = (row or f"row {place[0]}") + (f", feature {place[1]}" if len(place) == 2 else "")
            if math.isfinite(value):
                raise ValueError(
                    f"X has {value} in {at}, which is too large for float32, the kind of floats {self._in_first()}."
                )
            raise ValueError(
                f"X has {value} in {at}, which {self._name} does not take: leave such rows out, or fill them."
            )
        if self._reads_y and y is not None and (found := self._suspect_y(y)) is not None:
            raise ValueError(
                f"y has {found[1]} in {row or f'row {found[0][0]}'}, which is no target: leave such rows out."
            )
        if weight is not None:
            check_weight(weight, row)

    def suspicious(self, batch: Batch) -> bool:
        """Whether a batch holds a value that :meth:`check_values` refuses."""
        try:
            self.check_values(batch)
        except ValueError:
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned from the first item, as a JSON-able dict."""
        usual = self._usual
        if usual is not None:
            usual = (usual[0].str, list(usual[1]), usual[2], usual[3] and usual[3].str, list(usual[4]), usual[5])
        return {**{name: pack(getattr(self, f"_{name}")) for name in _LEARNED}, "usual": pack(usual), **self._limits()}

    def _limits(self) -> dict[str, Any]:
        return {"all_finite": self.all_finite, "X_limit": pack(self.X_limit), "y_limit": pack(self.y_limit)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        for name in _LEARNED:
            value = unpack(state[name])
            setattr(self, f"_{name}", tuple(value) if isinstance(value, list) else value)
        usual = unpack(state["usual"])
        if usual is not None:
            y_dtype = None if usual[3] is None else np.dtype(usual[3])
            usual = (np.dtype(usual[0]), tuple(usual[1]), usual[2], y_dtype, tuple(usual[4]), usual[5])
        self._usual = usual
        self.all_finite, self.X_limit, self.y_limit = (
            unpack(state[name]) for name in ("all_finite", "X_limit", "y_limit")
        )

    # -- the first item -----------------------------------------------------------------------------------------------

    def _learn(self, batch: Batch) -> None:
        X, y, weight = batch.X, batch.y, batch.sample_weight
        if y is None and self._needs_y:
            raise ValueError(
                f"there is no y, which {self._name} must have: let the stream yield 'y' (or make the pool with a target)."
            )
        if weight is not None and not self._takes_weights:
            raise ValueError(
                f"there is a sample_weight, which {self._name}.partial_fit does not take: leave it out of fit, or of the batches."
            )
        if y is not None and self._reads_y and y.ndim > 2:
            raise ValueError(f"y has rows of shape {y.shape[1:]}, where a target is a number, a text or a row of them.")
        self._X = kind = _kind(X)
        if kind[0].startswith(("datetime64", "timedelta64")):
            raise ValueError(
                f"X holds dates or times ({kind[0]}), which are no numbers: derive numbers from them before."
            )
        if self._n_features is not None and kind[0] != "a list of texts" and kind[1:] != (self._n_features,):
            raise ValueError(f"X has {_rows_of(kind)}, but {self._name} was trained on {self._n_features} features.")
        self._y = None if y is None else kind_of_y(y)
        self._largest = min(self._largest, _largest(getattr(X, "dtype", None)))
        self._numeric_frames = is_frame(X) and numbers_of(X) is not None
        numeric = kind[0] == "numbers" or self._numeric_frames
        self.all_finite = numeric and not self._takes_nan and (self._y is None or self._y[0] == "numbers")
        self.X_limit = self._largest**2
        self.y_limit = math.inf if self._reads_y else None
        self._parts = (y is None, weight is None)
        if kind[0] == "numbers" and weight is None and (self._y is None or self._y[0] == "numbers"):
            limit = limit_of(X.dtype, self.X_limit)
            of_y = (None, (), None) if y is None else (y.dtype, y.shape[1:], limit_of(y.dtype, self.y_limit))
            self._usual = X.dtype, X.shape[1:], limit, *of_y

    # -- the others ---------------------------------------------------------------------------------------------------

    def _refuse_parts(self, batch: Batch) -> None:
        assert self._parts is not None
        for name, part, missed in (
            ("y", batch.y, self._parts[0]),
            ("sample_weight", batch.sample_weight, self._parts[1]),
        ):
            if (part is None) != missed:
                has, had = ("no", "has it") if part is None else ("a", "has none")
                raise ValueError(
                    f"there is {has} {name}, but the first item, which was given by {self._first}, {had}: streams that are "
                    "mixed must yield the same parts."
                )

    def _refuse_X(self, kind: tuple) -> None:
        first = self._X
        if kind[0] == first[0]:
            raise ValueError(f"X has {_rows_of(kind)}, but {_rows_of(first, kind)} {self._in_first()}.")
        raise ValueError(f"X holds {kind[0]}, but {first[0]} {self._in_first()}: make them of one kind.")

    def _refuse_y(self, kind: tuple) -> None:
        first = self._y
        if kind[0] == first[0]:
            raise ValueError(f"y has rows of shape {kind[1:]}, but of shape {first[1:]} {self._in_first()}.")
        raise ValueError(f"y holds {kind[0]}, but {first[0]} {self._in_first()}: make them of one kind.")

    def _in_first(self) -> str:
        return f"in the first item, which was given by {self._first}"

    # -- values -------------------------------------------------------------------------------------------------------

    def _suspect_X(self, X: Any) -> tuple[tuple[int, ...], float] | None:
        """Return the place and the value of what the estimator does not take, or None."""
        if sparse.issparse(X):
            found = _not_finite(X.data, self._takes_nan, self._largest)
            if found is None:
                return None
            place = X.tocoo(copy=False)
            return (int(place.row[found[0][0]]), int(place.col[found[0][0]])), found[1]
        if is_frame(X):
            if not self._numeric_frames:
                return None
            X = numbers_of(X)
            if X is None:
                raise ValueError(f"X holds what is no number, but numbers {self._in_first()}: make them of one kind.")
        return None if isinstance(X, list) else _not_finite(X, self._takes_nan, self._largest)

    def _suspect_y(self, y: np.ndarray) -> tuple[tuple[int, ...], float] | None:
        if y.dtype.kind == "O":
            if self._y[0] != "numbers":
                if (bad := no_label(y)) is not None:
                    raise ValueError(f"y has {bad}, which is no target: leave such rows out, or make them of one kind.")
                return None
            try:
                y = y.astype(np.float64)
            except (TypeError, ValueError):
                raise ValueError("y holds numbers and other things: make them of one kind.") from None
        return _not_finite(y)


def reads_again(estimator: Any) -> bool:
    """Whether an estimator reads the rows of a batch in an order of its own.

    Then it is worth to read them from the first to the last just before, since memory serves that much faster: the caches of the
    processor hold them afterwards.
    """
    return getattr(estimator, "shuffle", False) is True


def _kind(values: Any) -> tuple:
    """What rows must be like to be joined: the kind of their values, and the shape of one."""
    if type(values) is not np.ndarray:
        if isinstance(values, list):
            return ("a list of texts",)
        if is_frame(values):
            return f"a DataFrame of {type(values).__module__.partition('.')[0]}", values.shape[1]
    dtype = values.dtype
    return _KINDS.get(dtype.kind) or str(dtype), *values.shape[1:]


def kind_of_y(y: np.ndarray) -> tuple:
    """Return the kind of targets, where numbers may lie in an array of objects."""
    if y.dtype.kind == "O" and y.size and isinstance(y.flat[0], numbers.Number):
        return "numbers", *y.shape[1:]
    return _kind(y)


def _rows_of(kind: tuple, other: tuple = ("", 0)) -> str:
    """Say of how many features rows are, or of which shape."""
    if len(kind) == 2 and len(other) == 2:
        return f"{kind[1]} features"
    return f"rows of shape {kind[1:]}"


def _largest(dtype: Any) -> float:
    """Return the largest float that an estimator takes which was first given floats of this kind: wider ones become these."""
    single = isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize == 4
    return float(np.finfo(np.float32).max) if single else math.inf


def _not_finite(
    values: np.ndarray, takes_nan: bool = False, largest: float = math.inf
) -> tuple[tuple[int, ...], float] | None:
    """Return the place and the value of the first float that is NaN, infinite or too large, or None."""
    limit = limit_of(values.dtype, largest * largest)
    if limit is None or sum_of_squares(values) < limit:
        return None
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= min(largest, np.finfo(values.dtype).max))
    if takes_nan:
        bad &= ~np.isnan(values)
    if not bad.any():
        return None
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    return place, float(values[place])


def numbers_of(frame: Any) -> np.ndarray | None:
    """Return a frame of numbers as an array, None if it holds others."""
    if any(hasattr(dtype, "is_temporal") and dtype.is_temporal() for dtype in frame.dtypes):
        return None  # polars would make numbers of dates
    array = np.asarray(frame)
    if array.dtype == object:
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            return None
    return array if array.dtype.kind in _NUMBERS else None


def check_weight(weight: np.ndarray, row: str | None = None) -> None:
    """Refuse weights that are negative, infinite or no numbers."""
    kind = weight.dtype.kind
    if kind == "f" and np.minimum.reduce(weight, initial=0) >= 0 and sum_of_squares(weight) < math.inf:
        return
    try:
        values = weight.astype(np.float64) if kind in "fiubO" else None
    except (TypeError, ValueError):
        values = None
    if values is None:
        raise ValueError(f"sample_weight must be numbers, got {weight.dtype} values such as {weight.flat[0]!r}.")
    bad = ~(values >= 0) | (values == math.inf)
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"sample_weight has {weight[i]} in {row or f'row {i}'}: weights must be finite and not negative. A weight of zero "
            "leaves a row out."
        )


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
