"""What an estimator trains on: a pool, made from X and y, from a factory, or given."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_array, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from . import _inner
from ._classes import find_classes, labels_of
from ._failures import RAISE, OnError, known_sizes
from ._hold_out import split_rows, split_streams
from ._pool import StreamPool, from_arrays
from ._random import mix
from ._rows import has_texts
from ._sklearn import check_sample_weight
from ._streamer import Streamer, function_name

_LOSS_ROWS = 4096


@dataclass
class Source:
    """A pool to train on, and what is known of it.

    Attributes
    ----------
    pool : StreamPool
    classes : array, list of arrays or None
        Labels, for classifiers that need them.
    arrays : tuple (X, y, sample_weight) or None
        The data, when it is one table of validated arrays in memory.
    held_out : StreamPool or None
        What the estimator does not train on but is scored on, where it is a fraction of the data.
    kept : ndarray of int or None
        Positions of the streams of ``pool`` among all, where some are held out.
    names : tuple of str
        Of all streams.
    rules : OnError
        What is done about streams that cannot be asked for their length.
    """

    pool: StreamPool
    classes: Any = None
    arrays: tuple[Any, Any, Any] | None = None
    held_out: StreamPool | None = None
    kept: np.ndarray | None = None
    names: tuple[str, ...] = ()
    rules: OnError = RAISE

    def __post_init__(self) -> None:
        self.names = self.names or self.pool.names

    @property
    def n_samples(self) -> int | None:
        """Samples of one pass over every stream, None if a length is unknown."""
        sizes, _ = self.sizes
        return None if sizes.min() < 0 else int(sizes.sum())

    @functools.cached_property
    def sizes(self) -> tuple[np.ndarray, dict[int, Exception]]:
        """Samples of each stream, -1 where it is not known; and why some could not be asked for it."""
        sizes, unsized = known_sizes(self.pool, self.rules)
        if unsized and not self.rules.handles:
            raise next(iter(unsized.values()))
        return sizes, unsized

    def counts(self, trained: np.ndarray) -> np.ndarray:
        """Return what was counted of the streams of ``pool`` as counts of all streams."""
        if self.kept is None:
            return trained
        counts = np.zeros(len(self.names), trained.dtype)
        counts[self.kept] = trained
        return counts

    @functools.cached_property
    def loss_arrays(self) -> tuple[Any, Any, Any]:
        """Rows on which the training loss is taken: all, or evenly spaced ones, so that it costs little beside a pass."""
        if self.arrays is None:
            raise ValueError("only arrays have a training loss at hand.")
        X, y, sample_weight = self.arrays
        rows = np.arange(X.shape[0]) if sample_weight is None else np.flatnonzero(sample_weight)
        rows = rows[:: max(-(-len(rows) // _LOSS_ROWS), 1)]
        X, y, sample_weight = (None if part is None else part[rows] for part in self.arrays)
        return X, y, sample_weight


def is_pool(X: Any) -> bool:
    """Whether ``X`` is a pool or a non-empty list of Streamers (or an object array of them)."""
    if isinstance(X, StreamPool):
        return True
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and X.size > 0 and all(isinstance(x, Streamer) for x in X)
    if not isinstance(X, (list, tuple)) or not X:
        return False
    n = sum(isinstance(x, Streamer) for x in X)
    if 0 < n < len(X):
        other = next(x for x in X if not isinstance(x, Streamer))
        raise TypeError(f"X is a list of {n} Streamers and {len(X) - n} other things, such as {type(other).__name__}.")
    return n > 0


def _refuse_what_looks_like_streams(X: Any) -> None:
    """Say what to do with lists that were meant as pools."""
    if isinstance(X, str):
        raise TypeError(
            f"X is the text {X!r}: pass arrays, a pool (from_parquet(...) for files) or a list of Streamers."
        )
    if not isinstance(X, (list, tuple)):
        return
    if not len(X):
        raise ValueError("X is an empty list: pass arrays, a pool or a list of Streamers, at least one.")
    if isinstance(X[0], dict) or (isinstance(X[0], tuple) and X[0] and getattr(X[0][0], "ndim", 0) > 0):
        raise TypeError("X is a list of batches: make a stream of them, fit([Streamer(batches)]).")
    if isinstance(X[0], Iterator) or callable(X[0]):
        kind = "running generators or other iterators" if isinstance(X[0], Iterator) else "functions"
        raise TypeError(f"X is a list of {kind}: make streams of them, [Streamer(function, *args), ...].")


def as_pool(X: Any) -> StreamPool:
    return X if isinstance(X, StreamPool) else StreamPool(list(X))


def make_source(owner: Any, X: Any, y: Any, sample_weight: Any, classes: Any, seed: int) -> Source:
    """Return what ``owner`` trains on, without the fraction that its ``validation`` holds out.

    Raises
    ------
    ValueError, TypeError
        Before any training, if ``X`` and ``streams`` do not give streams.
    """
    inner = owner.estimator
    if owner.streams is not None:
        return _from_factory(owner, X, y, sample_weight, classes, seed)
    if X is None:
        raise ValueError("X is None and there is no streams= factory: fit needs arrays, a pool or a list of Streamers.")
    if isinstance(X, Streamer):
        X = [X]
    if is_pool(X):
        if sample_weight is not None:
            raise ValueError(
                "sample_weight goes with arrays; beside a pool, let the streams yield it in their batches."
            )
        pool = as_pool(X)
        if not len(pool):
            raise ValueError("X is an empty pool: it has no stream to train on.")
        return _from_pool(owner, pool, classes, seed)
    _refuse_what_looks_like_streams(X)
    if isinstance(X, Iterator):
        raise TypeError(f"X is a running {type(X).__name__}; pass a Streamer, a pool or a list of Streamers.")
    X, y, sample_weight = validated_arrays(owner, X, y, sample_weight)
    if y is not None and _inner.needs_classes(inner):
        if classes is None or isinstance(classes, str):
            classes = labels_of(inner, y)
        elif y.ndim == 1 and len(unknown := np.setdiff1d(y, classes)):
            raise ValueError(
                f"y has the labels {unknown.tolist()}, which are not among classes={np.asarray(classes).tolist()}."
            )
    arrays, held_out = _held_out(owner, (X, y, sample_weight), y, seed)
    return Source(from_arrays(*arrays), classes, arrays, held_out)


def _fraction(owner: Any) -> float | None:
    return float(owner.validation) if isinstance(owner.validation, numbers.Real) else None


def _held_out(
    owner: Any, arrays: tuple[Any, Any, Any], labels: Any, seed: int
) -> tuple[tuple[Any, Any, Any], StreamPool | None]:
    """Hold out rows of arrays, if the estimator shall."""
    fraction = _fraction(owner)
    if fraction is None:
        return arrays, None
    stratified = is_classifier(owner.estimator) and labels is not None and np.ndim(labels) == 1
    arrays, rows = split_rows(arrays, fraction, mix(seed, 4), labels if stratified else None)
    return arrays, from_arrays(*rows, shuffle=False)


def _from_pool(owner: Any, pool: StreamPool, classes: Any, seed: int, y: Any = None, split: bool = True) -> Source:
    """Return a source of streams, some of which may be held out."""
    fitted = getattr(owner, "estimator_", None) if owner.warm_start else None
    fraction = _fraction(owner) if split else None
    rules = rules_of(owner)
    if fraction is None:
        classes = find_classes(owner.estimator, pool, classes, mix(seed, 5), y, fitted, rules)
        return Source(pool, classes, rules=rules)
    kept, out = split_streams(len(pool), fraction, mix(seed, 4))
    classes = find_classes(owner.estimator, pool, classes, mix(seed, 5), y, fitted, rules)
    return Source(pool[kept], classes, None, pool[out], kept, pool.names, rules)


def rules_of(owner: Any) -> OnError:
    """Return what an estimator does about streams that fail."""
    return OnError(owner.on_error, owner.max_retries, owner.retry_delay, owner.max_errors)


def _from_factory(owner: Any, X: Any, y: Any, sample_weight: Any, classes: Any, seed: int) -> Source:
    factory = owner.streams
    if X is None and y is not None:
        raise ValueError("y is given without X: streams= is called with both, or with neither.")
    labels = held_out = None
    called = callable(factory) and not isinstance(factory, (Streamer, StreamPool))
    if (hasattr(X, "__len__") or hasattr(X, "__array__")) and not is_pool(X):
        # checked as any estimator would, so that errors and n_features_in_ are the usual ones; the factory gets arrays and
        # frames as they are, and arrays for what is neither
        X_checked, labels, _ = validated_arrays(owner, X, y, None)
        X = X if hasattr(X, "shape") else X_checked
        y = y if hasattr(y, "shape") else labels
        if called:
            (X, y, sample_weight), held_out = _held_out(owner, (X, y, sample_weight), labels, seed)
    if called:
        arguments = () if X is None else (X, y)
        weights = {}
        if sample_weight is not None:
            if "sample_weight" not in inspect.signature(factory).parameters:
                raise ValueError(f"sample_weight was passed to fit, but streams={factory!r} takes no sample_weight.")
            weights["sample_weight"] = sample_weight
        made = factory(*arguments, **weights)
    else:
        made = factory
    if isinstance(made, Streamer):
        made = [made]
    if not isinstance(made, StreamPool):
        if not isinstance(made, (list, tuple)):
            hint = " Pass streams=StreamFactory(function)." if isinstance(made, Iterator) else ""
            raise TypeError(
                f"streams={function_name(factory)} must return a pool, a list of streams or a stream, got {made!r}.{hint}"
            )
        if not made:
            raise ValueError(f"streams={function_name(factory)} returned no stream.")
        made = StreamPool(made)
    source = _from_pool(owner, made, classes, seed, labels, split=held_out is None)
    source.held_out = source.held_out if held_out is None else held_out
    return source


def validated_arrays(owner: Any, X: Any, y: Any, sample_weight: Any, reset: bool = True) -> tuple[Any, Any, Any]:
    """Check and convert arrays once, as the estimator inside would at each call; texts are its own to look at."""
    inner = owner.estimator
    tags = get_tags(owner)
    if tags.input_tags.string or (tags.input_tags.categorical and not tags.input_tags.two_d_array):
        return X, y, sample_weight
    if has_texts(X):
        validate_data(owner, X, reset=reset, skip_check_array=True)  # the number and names of features alone
        return X, y, sample_weight
    regressor = is_regressor(inner)
    options: dict[str, Any] = {
        "accept_sparse": "csr" if tags.input_tags.sparse else False,
        "ensure_all_finite": "allow-nan" if tags.input_tags.allow_nan else True,
        "reset": reset,
    }
    if y is None:
        X = validate_data(owner, X, y=None, **options)
    else:
        multi_output = tags.target_tags.multi_output or tags.target_tags.two_d_labels
        if tags.classifier_tags is not None:
            multi_output = tags.classifier_tags.multi_label or tags.target_tags.multi_output
        else:  # the estimator's to refuse: MLPRegressor takes more than its tags tell
            shape: tuple[int, ...] = np.shape(y) if isinstance(y, (list, tuple)) else getattr(y, "shape", ())
            multi_output = multi_output or (len(shape) == 2 and shape[1] > 1)
        X, y = validate_data(owner, X, y, multi_output=multi_output, y_numeric=regressor, **options)
        if is_classifier(inner):
            check_classification_targets(y)
    if X.dtype == object:  # of lists with None among numbers, which scikit-learn leaves as they are
        X = check_array(X, dtype=np.float64, ensure_all_finite=options["ensure_all_finite"], estimator=owner)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if not sample_weight.any():
            raise ValueError("sample_weight is zero for every sample: there is nothing to train on.")
    return X, y, sample_weight
