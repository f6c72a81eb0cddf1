"""When to stop passing over the data: a training loss for each kind of estimator, and the rule."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from ._state import pack, unpack

_TOLERANCE = 3e-3
# the least for regressors: features of small scale go on improving by little for long
_REGRESSION_TOLERANCE = 1e-4
_OWN_TOLERANCE = 1e-3
_PATIENCE = 5
# where passes are noisy: over few rows, and those of a perceptron, whose steps do not shrink
_FEW_ROWS = 200
_LONG_PATIENCE = 10


class Progress:
    """Stops when the loss at the end of a pass has not improved by ``tol`` for ``patience`` passes.

    It keeps a copy of the estimator at its lowest loss, as the last steps of stochastic descent are noisy.

    Parameters
    ----------
    estimator : object
        Tells the patience (``n_iter_no_change``), if it has one; a neural network tells ``tol`` as well, since the loss
        taken is the one by which its own ``fit`` stops.

    Attributes
    ----------
    best_estimator : object or None
        Copy at the lowest loss (the last of those within ``tol`` of it), if that was not at the last pass.
    """

    def __init__(self, estimator: Any) -> None:
        self._tol: float | None = None
        self._patience = getattr(estimator, "n_iter_no_change", _PATIENCE)
        self.best_estimator: Any = None
        self._reference = self._lowest = math.inf
        self._bad = 0
        self._copy: Any = None

    def state_dict(self) -> dict[str, Any]:
        """Return the losses so far; the copy of the estimator is in :meth:`objects`."""
        return {
            "tol": self._tol,
            "reference": pack(self._reference),
            "lowest": pack(self._lowest),
            "bad": self._bad,
            "is_best": self.best_estimator is not None,
        }

    def objects(self) -> dict[str, Any]:
        return {"lowest": self._copy}

    def load_state_dict(self, state: dict[str, Any], objects: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` and :meth:`objects` gave."""
        self._tol, self._bad = state["tol"], state["bad"]
        self._reference, self._lowest = unpack(state["reference"]), unpack(state["lowest"])
        self._copy = objects["lowest"]
        self.best_estimator = self._copy if state["is_best"] else None

    def stopped(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> bool:
        """Take the loss after a pass, and return whether training should stop; without a loss it never does."""
        if self._tol is None:
            self._tol = _tolerance(estimator, y, sample_weight)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            loss = training_loss(estimator, X, y, sample_weight)
        if loss is None:
            return False
        if loss < self._lowest + self._tol:  # of equally good ones the last, whose steps were the smallest
            self._lowest = min(loss, self._lowest)
            self.best_estimator = None
            # the loss of a neural network is that of the pass itself: no state of it had that loss
            self._copy = None if _is_network(estimator) else copied(estimator)
        else:
            self.best_estimator = self._copy
        if loss < self._reference - self._tol:
            self._reference, self._bad = loss, 0
        else:  # also a loss that is not finite: training has diverged
            self._bad += 1
        noisy = is_classifier(estimator) and (
            X.shape[0] <= _FEW_ROWS or getattr(estimator, "loss", None) == "perceptron"
        )
        return self._bad >= (max(self._patience, _LONG_PATIENCE) if noisy else self._patience)


def copied(estimator: Any) -> Any:
    """Return a deep copy that shares the random state, whose copy would cost more than all the rest."""
    states = [value for value in vars(estimator).values() if isinstance(value, np.random.RandomState)]
    return copy.deepcopy(estimator, {id(state): state for state in states})


def _tolerance(estimator: Any, y: Any, sample_weight: Any) -> float:
    """Return the improvement that counts, in the units of the loss."""
    if _is_network(estimator):
        return estimator.tol
    if not is_regressor(getattr(estimator, "estimator_", estimator)):
        return _TOLERANCE
    # that of its own fit, which is in other units, within bounds
    own = 2 * getattr(estimator, "tol", _OWN_TOLERANCE) / _variance(y, sample_weight)
    return min(max(own, _REGRESSION_TOLERANCE), _TOLERANCE)


def _is_network(estimator: Any) -> bool:
    return hasattr(estimator, "hidden_layer_sizes")


def training_loss(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float | None:
    """Training loss per output, about one for a model that knows nothing; None where there is none to be had."""
    estimator = getattr(estimator, "estimator_", estimator)
    if _is_network(estimator):
        return float(estimator.loss_)  # the mean of the pass, which it has anyway
    if is_classifier(estimator):
        return _hinge(estimator, X, y, sample_weight)
    if is_regressor(estimator) and y is not None:
        error = (np.asarray(y, np.float64) - estimator.predict(X)) ** 2
        return float(np.average(error, axis=0, weights=sample_weight).mean()) / _variance(y, sample_weight)
    if is_outlier_detector(estimator) and hasattr(estimator, "nu"):
        # the whole objective of a one-class SVM: its hinge loss alone is lowest where nothing is an outlier
        hinge = np.average(np.maximum(0.0, -estimator.decision_function(X)), weights=sample_weight)
        return float(hinge + estimator.nu * (0.5 * np.sum(estimator.coef_**2) - np.sum(estimator.offset_)))
    if hasattr(X, "tocsr"):
        return None
    if hasattr(estimator, "cluster_centers_"):
        return -estimator.score(X, sample_weight=sample_weight) / (_variance(X, sample_weight) * X.size)
    if hasattr(estimator, "inverse_transform"):
        error = X - estimator.inverse_transform(estimator.transform(X))
        return float(np.mean(error**2)) / _variance(X, None)
    return None


def _variance(y: Any, sample_weight: Any) -> float:
    y = np.asarray(y, np.float64)
    centered = y - np.average(y, axis=0, weights=sample_weight)
    return float(np.average(centered**2, axis=0, weights=sample_weight).mean()) or 1.0


def _hinge(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float | None:
    """Mean hinge loss (of a perceptron, its own loss) of the binary problems of one class against the rest."""
    if y is None:
        return None
    y = np.asarray(y)
    if hasattr(estimator, "estimators_") and not hasattr(estimator, "decision_function"):  # one for each output
        losses = [_hinge(part, X, y[:, i], sample_weight) for i, part in enumerate(estimator.estimators_)]
        return sum(loss for loss in losses if loss is not None) / len(losses) if None not in losses else None
    if not hasattr(estimator, "decision_function") or len(estimator.classes_) < 2:
        return None
    decision = estimator.decision_function(X)
    positive = y == estimator.classes_[1] if decision.ndim == 1 else y[:, None] == estimator.classes_
    margin = np.where(positive, 1.0, -1.0) * decision
    if (
        getattr(estimator, "loss", None) == "perceptron"
    ):  # it has no margin to reach: the size of its decisions is arbitrary
        size = np.abs(margin).mean(axis=0) / 2
        loss = np.maximum(0.0, -margin) / np.where(size > 0, size, 1.0)
    else:
        loss = np.maximum(0.0, 1.0 - margin)
    return float(np.average(loss, axis=0, weights=sample_weight).mean())
