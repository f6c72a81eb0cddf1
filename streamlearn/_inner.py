"""What training has to know of the estimator inside: its seeds, classes, smallest first batch and habits."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier, is_clusterer
from sklearn.decomposition import IncrementalPCA
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neural_network import BernoulliRBM
from sklearn.utils import get_tags

from ._random import mix, small_seed

_BATCH_BYTES = 2**25
_POOL_BATCH = 256


def cloned_and_seeded(estimator: Any, seed: int) -> Any:
    """Return a clone whose ``random_state`` parameters, nested ones as well, are ``RandomState`` instances.

    One that was None is derived from ``seed``, an int becomes ``RandomState(int)``: an int makes an estimator build a
    generator at each ``partial_fit``, and repeat the same shuffle with it.
    """
    inner = clone(estimator)
    states = {}
    for i, (name, value) in enumerate(sorted(inner.get_params(deep=True).items(), key=lambda pair: pair[0])):
        if name == "random_state" or name.endswith("__random_state"):
            if value is None:
                states[name] = np.random.RandomState(small_seed(mix(seed, i)))
            elif isinstance(value, (int, np.integer)):
                states[name] = np.random.RandomState(value)
    return inner.set_params(**states) if states else inner


def takes(estimator: Any, parameter: str) -> bool:
    """Whether ``partial_fit`` has this parameter."""
    return parameter in inspect.signature(estimator.partial_fit).parameters


def passes_on(estimator: Any) -> bool:
    """Whether ``partial_fit`` takes any keyword."""
    parameters = inspect.signature(estimator.partial_fit).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def needs_classes(estimator: Any) -> bool:
    return is_classifier(estimator) and takes(estimator, "classes")


def first_batch_rows(estimator: Any) -> int:
    """Rows that the first ``partial_fit`` needs: the largest ``n_clusters`` or ``n_components``."""
    needed = 1
    for name in ("n_clusters", "n_components", "init_size"):
        value = getattr(estimator, name, None)
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            needed = max(needed, int(value))
    return needed


def max_passes(estimator: Any) -> int:
    """The most passes of the estimator's own ``fit``."""
    params = estimator.get_params(deep=True)
    limits = [
        value
        for name, value in params.items()
        if name.split("__")[-1] in ("max_iter", "n_iter") and isinstance(value, (int, np.integer))
    ]
    return int(max(limits, default=1))


def auto_batch_size(estimator: Any, in_memory: bool, bytes_per_row: int) -> int:
    """Rows for each ``partial_fit`` where the user leaves them to us.

    Pools: 256. Arrays: the estimator's own ``batch_size``, if one call of its ``partial_fit`` is one step on what it is
    given; else a whole pass, up to a few tens of megabytes, since a call costs as much as hundreds of rows.
    """
    if not in_memory:
        return _POOL_BATCH
    own = getattr(estimator, "batch_size", None)
    splits_itself = hasattr(estimator, "hidden_layer_sizes")
    if isinstance(own, (int, np.integer)) and not splits_itself:
        return int(own)
    return max(_BATCH_BYTES // max(bytes_per_row, 1), 4 * _POOL_BATCH)


def refuses_sparse(estimator: Any) -> bool:
    """Whether ``partial_fit`` refuses sparse input although the estimator's ``fit`` takes it."""
    return isinstance(estimator, IncrementalPCA)


def as_dense(X: Any) -> Any:
    return X.toarray() if sparse.issparse(X) else X


def finish(estimator: Any, feature_names: np.ndarray | None) -> None:
    """Set what ``fit`` sets and ``partial_fit`` on arrays does not."""
    if isinstance(estimator, MultiOutputClassifier):
        estimator.classes_ = [part.classes_ for part in estimator.estimators_]
    if feature_names is not None:
        for each in _all_given_X(estimator):
            each.feature_names_in_ = feature_names


def _all_given_X(estimator: Any) -> Iterator[Any]:
    """Yield an estimator, and those within it that are given X as it is."""
    yield estimator
    if isinstance(estimator, (MultiOutputClassifier, MultiOutputRegressor, OneVsRestClassifier)):
        for part in getattr(estimator, "estimators_", ()):
            yield from _all_given_X(part)


@contextmanager
def nameless(estimator: Any) -> Iterator[None]:
    """Take the names of features away meanwhile: training gives arrays, whose names it has compared itself."""
    named = [(each, each.feature_names_in_) for each in _all_given_X(estimator) if "feature_names_in_" in vars(each)]
    try:
        for each, _ in named:
            del each.feature_names_in_
        yield
    finally:
        for each, names in named:
            each.feature_names_in_ = names


def has_labels(estimator: Any) -> bool:
    """Whether ``fit`` leaves the cluster of each row of ``X`` in ``labels_``."""
    return is_clusterer(estimator) and getattr(estimator, "compute_labels", True) and hasattr(estimator, "labels_")


def tags(estimator: Any) -> Any:
    """Return the tags of an estimator that trains this one on batches."""
    tags = copy.deepcopy(get_tags(estimator))
    tags.array_api_support = False  # batches are NumPy arrays
    if isinstance(estimator, OneVsRestClassifier):
        tags.target_tags.multi_output = False  # its fit takes many labels at once, its partial_fit does not
    if isinstance(estimator, BernoulliRBM):
        # It samples, in float64, at each call of partial_fit and does not say so.
        tags.non_deterministic = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
    return tags
