"""Scores of any number of rows in bounded memory: a few weighted rows stand for all rows that were seen.

What is accumulated of rows ends as rows again, few of them, on which scikit-learn's own score gives what it would have given on
all. So each of its parameters, averages, warnings and errors stays its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics

from ._state import pack, unpack

_ROWS = 4096
_EPS = np.finfo(float).eps  # where scikit-learn cuts probabilities of double precision


class Accumulator:
    """What is kept of rows; the latest are kept as they are until a block is full.

    Parameters
    ----------
    function : callable
        Of :mod:`sklearn.metrics`.
    """

    method = "predict"

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n_pending = 0
        self._sums: list[Any] | None = None
        self._shapes: list[list[int]] | None = None  # of a row
        self.n = 0

    def fits(self, y: Any, predicted: Any) -> bool:
        """Tell whether rows of this kind can be accumulated."""
        raise NotImplementedError

    def _block(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        """Add rows to the sums."""
        raise NotImplementedError

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows that have the sums."""
        raise NotImplementedError

    def _limit(self) -> int:
        """Return the number of rows to keep until they are added."""
        return _ROWS

    def add(self, y: Any, predicted: Any, weight: np.ndarray | None) -> None:
        """Take rows; the arrays are kept for a while."""
        shapes = [list(np.shape(y)[1:]), list(np.shape(predicted)[1:])]
        self._shapes = self._shapes or shapes
        if shapes != self._shapes or len(y) != len(predicted):
            raise ValueError(
                f"targets of shape {np.shape(y)} and predictions of shape {np.shape(predicted)} do not go together, or with "
                f"those before, whose rows have the shapes {self._shapes[0]} and {self._shapes[1]}."
            )
        self._pending.append((y, predicted, np.ones(len(y), np.int64) if weight is None else weight))
        self._n_pending += len(y)
        self.n += len(y)
        if self._n_pending >= self._limit():
            self._flush()

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return targets, predictions and weights that stand for all rows; these rows themselves, if they are few."""
        if self._sums is None:
            y, predicted, weight = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
            return y, predicted, None if weight.dtype.kind == "i" and (weight == 1).all() else weight
        self._flush()
        return self._rows()

    def state_dict(self) -> Any:
        """Return what was accumulated, JSON-able."""
        return {"n": self.n, "shapes": self._shapes, "pending": pack(self._pending), "sums": pack(self._sums)}

    def load_state_dict(self, state: Any) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.n, self._shapes, self._sums = state["n"], state["shapes"], unpack(state["sums"])
        self._pending = [tuple(parts) for parts in unpack(state["pending"])]
        self._n_pending = sum(len(y) for y, _, _ in self._pending)

    def _flush(self) -> None:
        if self._pending:
            y, predicted, weight = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
            self._pending, self._n_pending = [], 0
            self._block(y, predicted, weight)


class Pairs(Accumulator):
    """The confusion matrix: rows of the same target and prediction are one, with the sum of their weights."""

    def fits(self, y: Any, predicted: Any) -> bool:
        return _are_labels(y) and _are_labels(predicted)

    def _limit(self) -> int:
        # as many as there are: what is spent on merging grows with the rows alone, however many pairs there are
        return _ROWS if self._sums is None else max(_ROWS, len(self._sums[0]))

    def _block(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        if self._sums is not None:
            y, predicted, weight = (
                np.concatenate(parts) for parts in zip(self._sums, (y, predicted, weight), strict=True)
            )
        truths, i = np.unique(y, return_inverse=True)
        answers, j = np.unique(predicted, return_inverse=True)
        pairs, which = np.unique(i * len(answers) + j, return_inverse=True)
        total = np.bincount(which, weight)
        counted = weight.dtype.kind in "iu"
        self._sums = [
            truths[pairs // len(answers)],
            answers[pairs % len(answers)],
            total.astype(int) if counted else total,
        ]

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, predicted, weight = self._sums  # type: ignore[misc]
        # scikit-learn warns of targets with more labels than half of the rows: there are enough rows again, without weight
        m = min(self.n, 2 * len(y) + 1)
        index = np.concatenate([np.arange(len(y)), np.zeros(m - len(y), int)])
        return y[index], predicted[index], np.concatenate([weight, np.zeros(m - len(y), weight.dtype)])


class LogLoss(Accumulator):
    """The sums of the losses of each target, as if it were the label of each column: labels are known in the end only."""

    method = "predict_proba"

    def fits(self, y: Any, predicted: Any) -> bool:
        return _are_labels(y) and isinstance(predicted, np.ndarray) and predicted.ndim == 2 and predicted.dtype == float

    def _block(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        k = predicted.shape[1]
        if k == 2:  # a scorer takes the second column of two
            predicted = np.column_stack([1 - predicted[:, 1], predicted[:, 1]])
        if k > 1:
            self._function(np.zeros(len(y), int), predicted, labels=range(k))  # refuses what are no probabilities
        labels, which = np.unique(y, return_inverse=True)
        losses = -np.log(np.clip(predicted, _EPS, 1 - _EPS)) * weight[:, None]
        columns = [np.bincount(which, values, len(labels)) for values in (weight, *losses.T)]
        sums = np.column_stack(columns)
        if self._sums is not None:
            parts = np.concatenate([self._sums[1], sums])
            labels, which = np.unique(np.concatenate([self._sums[0], labels]), return_inverse=True)
            sums = np.column_stack([np.bincount(which, values, len(labels)) for values in parts.T])
        self._sums = [labels, sums]

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels, sums = self._sums  # type: ignore[misc]
        k = sums.shape[1] - 1
        if len(labels) != k or k == 1:  # which is an error of the score
            return labels, np.full((len(labels), k), 1 / k), sums[:, 0]
        # two rows for each label: a probability of 1, which costs next to nothing, and one of 0, which costs the most there is
        most, least = -np.log(_EPS), -np.log(1 - _EPS)
        worst = np.maximum((sums[:, 1:].diagonal() - sums[:, 0] * least) / (most - least), 0)
        right = np.eye(k)
        return (
            np.concatenate([labels, labels]),
            np.concatenate([right, np.roll(right, 1, axis=1)]),
            np.concatenate([sums[:, 0] - worst, worst]),
        )


class Errors(Accumulator):
    """Base of what is accumulated of numbers, for any number of outputs."""

    def fits(self, y: Any, predicted: Any) -> bool:
        if not (isinstance(y, np.ndarray) and isinstance(predicted, np.ndarray)):
            return False
        kinds = y.dtype, predicted.dtype
        # where all floats are short, scikit-learn takes short sums, which differ
        long = float in kinds or all(kind.kind in "iu" for kind in kinds)
        numbers = long and all(kind.kind in "iuf" and kind.itemsize <= 8 for kind in kinds)
        return (
            numbers and y.ndim in (1, 2) and predicted.ndim in (1, 2) and _matrix(y).shape == _matrix(predicted).shape
        )

    def _block(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        y, predicted = _matrix(y), _matrix(predicted)
        # refuses what is not finite, or has no logarithm
        (self._function if self._function in _OF_LOGS else metrics.mean_squared_error)(y, predicted)
        self._add(y.astype(float), predicted.astype(float), weight.astype(float)[:, None])

    def _add(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        raise NotImplementedError


class Mean(Errors):
    """The mean of what each row costs: a row whose target is 0 costs as much."""

    def _add(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        if self._function in _OF_LOGS:
            y, predicted = np.log1p(y), np.log1p(predicted)
        cost = np.abs(y - predicted) if self._function is metrics.mean_absolute_error else (y - predicted) ** 2
        sums = [weight.sum(), (weight * cost).sum(axis=0)]
        self._sums = sums if self._sums is None else [self._sums[0] + sums[0], self._sums[1] + sums[1]]

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        total, cost = self._sums  # type: ignore[misc]
        predicted = cost[None] / (total or 1.0)
        if self._function is not metrics.mean_absolute_error:
            predicted = np.sqrt(predicted)
        predicted = np.expm1(predicted) if self._function in _OF_LOGS else predicted
        return np.zeros_like(predicted), predicted, np.array([total])


class Largest(Errors):
    """The largest error."""

    def fits(self, y: Any, predicted: Any) -> bool:
        return super().fits(y, predicted) and _matrix(y).shape[1] == 1

    def _add(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        largest = np.abs(y - predicted).max(axis=0)
        self._sums = [largest if self._sums is None else np.maximum(largest, self._sums[0])]

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        predicted = self._sums[0][None]  # type: ignore[index]
        return np.zeros_like(predicted), predicted, np.ones(1)


class Spread(Errors):
    """Means and sums of squares about them of the targets and of the errors, merged block by block (Chan et al.)."""

    def _add(self, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> None:
        values = np.column_stack([y, y - predicted])
        # about the first row, since sums of squares of what lies far from 0 would lose digits
        origin, total, mean, squares = (values[0], 0.0, 0.0, 0.0) if self._sums is None else self._sums
        values = values - origin
        more = weight.sum()
        if more:
            middle = (weight * values).sum(axis=0) / more
            step = middle - mean
            squares = (
                squares + (weight * (values - middle) ** 2).sum(axis=0) + step**2 * (total * more / (total + more))
            )
            mean = mean + step * (more / (total + more))
            total += more
        self._sums = [origin, total, mean, squares]

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        origin, total, mean, squares = self._sums  # type: ignore[misc]
        k = len(origin) // 2
        variance = np.broadcast_to(squares / (total or 1.0), 2 * k)
        about_zero = self._function is metrics.r2_score
        error = np.sqrt(variance[k:] + (about_zero * (origin + mean)[k:]) ** 2)
        y = np.stack([np.sqrt(variance[:k]), -np.sqrt(variance[:k])])
        return y, y - np.stack([error, error if about_zero else -error]), np.full(2, total / 2)


_OF_LOGS = (metrics.mean_squared_log_error, metrics.root_mean_squared_log_error)
_KINDS: dict[Callable, type[Accumulator]] = {
    **dict.fromkeys((metrics.accuracy_score, metrics.balanced_accuracy_score, metrics.cohen_kappa_score), Pairs),
    **dict.fromkeys((metrics.f1_score, metrics.fbeta_score, metrics.precision_score, metrics.recall_score), Pairs),
    **dict.fromkeys((metrics.jaccard_score, metrics.matthews_corrcoef), Pairs),
    **dict.fromkeys((metrics.hamming_loss, metrics.zero_one_loss), Pairs),
    **dict.fromkeys((metrics.mean_squared_error, metrics.root_mean_squared_error, *_OF_LOGS), Mean),
    metrics.mean_absolute_error: Mean,
    metrics.max_error: Largest,
    metrics.r2_score: Spread,
    metrics.explained_variance_score: Spread,
    metrics.log_loss: LogLoss,
}


def accumulator_of(scorer: Any) -> Accumulator | None:
    """Return what accumulates rows for a scorer of scikit-learn, or None: then all must be kept."""
    function: Any = getattr(scorer, "_score_func", None)
    settings = getattr(scorer, "_kwargs", {})
    kind = next((kind for known, kind in _KINDS.items() if known is function), None)
    if kind is None or scorer._response_method != kind.method or "sample_weight" in settings:
        return None
    return None if kind is LogLoss and "labels" in settings else kind(function)


def _are_labels(values: Any) -> bool:
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        return False
    return values.dtype.kind in "biufU" or (values.dtype == object and all(isinstance(value, str) for value in values))


def _matrix(values: np.ndarray) -> np.ndarray:
    return values[:, None] if values.ndim == 1 else values
