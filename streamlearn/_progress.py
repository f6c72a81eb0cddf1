"""When to stop passing over the data: a training loss for each kind of estimator, and the rule."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

_TOLERANCE = 3e-3
_PATIENCE = 5


class Progress:
    """Stops when the loss at the end of a pass has not improved by ``tol`` for ``patience`` passes.

    It keeps a copy of the estimator at its lowest loss, as the last steps of stochastic descent are noisy.

    Parameters
    ----------
    tol : float
        Improvement that counts, in units of the loss, which is scaled to about one for a model that knows nothing.
    patience : int
        Number of passes without it that end training.

    Attributes
    ----------
    best_estimator : object or None
        Copy at the lowest loss, if that was not at the last pass.
    """

    def __init__(self, tol: float = _TOLERANCE, patience: int = _PATIENCE) -> None:
        self.tol = tol
        self.patience = patience
        self.best_estimator: Any = None
        self._reference = self._lowest = math.inf
        self._bad = 0
        self._copy: Any = None

    def stopped(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> bool:
        """Take the loss after a pass, and return whether training should stop; without a loss it never does."""
        loss = training_loss(estimator, X, y, sample_weight)
        if loss is None or not math.isfinite(loss):
            return False
        if loss < self._lowest:
            self._lowest = loss
            self.best_estimator = None
            # the loss of a neural network is that of the pass itself: no state of it had that loss
            self._copy = None if hasattr(estimator, "loss_curve_") else copy.deepcopy(estimator)
        else:
            self.best_estimator = self._copy
        if loss < self._reference - self.tol:
            self._reference, self._bad = loss, 0
        else:
            self._bad += 1
        return self._bad >= self.patience


def training_loss(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float | None:
    """Training loss per output, about one for a model that knows nothing; None where there is none to be had."""
    estimator = getattr(estimator, "estimator_", estimator)
    if hasattr(estimator, "loss_curve_") and np.isscalar(getattr(estimator, "loss_", None)):
        # neural networks: the mean loss of the pass, which they have anyway
        loss = float(estimator.loss_)
        return loss / (math.log(len(estimator.classes_)) if is_classifier(estimator) else _variance(y, sample_weight))
    if is_classifier(estimator):
        return _hinge(estimator, X, y, sample_weight)
    if is_regressor(estimator) and y is not None:
        error = (np.asarray(y, np.float64) - estimator.predict(X)) ** 2
        return float(np.average(error, axis=0, weights=sample_weight).mean()) / _variance(y, sample_weight)
    if hasattr(estimator, "decision_function"):
        return float(np.average(np.maximum(0.0, -estimator.decision_function(X)), weights=sample_weight))
    if hasattr(estimator, "inverse_transform") and not hasattr(X, "tocsr"):
        error = X - estimator.inverse_transform(estimator.transform(X))
        return float(np.mean(error**2) / max(np.var(X, axis=0).mean(), 1e-300))
    return None


def _variance(y: Any, sample_weight: Any) -> float:
    y = np.asarray(y, np.float64)
    centered = y - np.average(y, axis=0, weights=sample_weight)
    return max(float(np.average(centered**2, axis=0, weights=sample_weight).mean()), 1e-300)


def _hinge(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float | None:
    """Mean hinge loss of the binary problems of one class against the rest."""
    if not hasattr(estimator, "decision_function") or y is None or np.ndim(y) != 1:
        return None
    decision = estimator.decision_function(X)
    if decision.ndim == 1:
        sign = np.where(np.asarray(y) == estimator.classes_[1], 1.0, -1.0)
    else:
        sign = np.where(np.asarray(y)[:, None] == estimator.classes_, 1.0, -1.0)
    return float(np.average(np.maximum(0.0, 1.0 - sign * decision), axis=0, weights=sample_weight).mean())
