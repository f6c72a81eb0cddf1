"""What an estimator trains on: a pool, made from X and y, from a factory, or given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from . import _inner
from ._arrays import SampleStream
from ._pool import StreamPool, from_arrays
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
    """

    pool: StreamPool
    classes: Any = None
    arrays: tuple[Any, Any, Any] | None = None

    @property
    def n_samples(self) -> int | None:
        """Samples of one pass over every stream, None if a length is unknown."""
        sizes = [stream._n_samples for stream in self.pool]
        return None if min(sizes) < 0 else sum(sizes)

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
    if isinstance(X[0], Iterator) or callable(X[0]):
        kind = "running generators or other iterators" if isinstance(X[0], Iterator) else "functions"
        raise TypeError(f"X is a list of {kind}: make streams of them, [Streamer(function, *args), ...].")


def as_pool(X: Any) -> StreamPool:
    return X if isinstance(X, StreamPool) else StreamPool(list(X))


def make_source(owner: Any, X: Any, y: Any, sample_weight: Any, classes: Any) -> Source:
    """Return what ``owner`` trains on.

    Raises
    ------
    ValueError, TypeError
        Before any training, if ``X`` and ``streams`` do not give streams.
    """
    inner = owner.estimator
    if owner.streams is not None:
        return _from_factory(owner, X, y, sample_weight, classes)
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
        return Source(pool, _classes(owner, pool, None, classes))
    _refuse_what_looks_like_streams(X)
    if isinstance(X, Iterator):
        raise TypeError(f"X is a running {type(X).__name__}; pass a Streamer, a pool or a list of Streamers.")
    X, y, sample_weight = validated_arrays(owner, X, y, sample_weight)
    if y is not None and _inner.needs_classes(inner):
        if classes is None:
            classes = _inner.classes_of(inner, y)
        elif y.ndim == 1 and len(unknown := np.setdiff1d(y, classes)):
            raise ValueError(f"y has the labels {unknown.tolist()}, which are not among classes={classes!r}.")
    return Source(from_arrays(X, y, sample_weight), classes, (X, y, sample_weight))


def _from_factory(owner: Any, X: Any, y: Any, sample_weight: Any, classes: Any) -> Source:
    factory = owner.streams
    if X is None and y is not None:
        raise ValueError("y is given without X: streams= is called with both, or with neither.")
    labels = None
    if (hasattr(X, "__len__") or hasattr(X, "__array__")) and not is_pool(X):
        # checked as any estimator would, so that errors and n_features_in_ are the usual ones; the factory gets arrays and
        # frames as they are, and arrays for what is neither
        X_checked, labels, _ = validated_arrays(owner, X, y, None)
        X = X if hasattr(X, "shape") else X_checked
        y = y if hasattr(y, "shape") else labels
    if callable(factory) and not isinstance(factory, (Streamer, StreamPool)):
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
    return Source(made, _classes(owner, made, labels, classes))


def _classes(owner: Any, pool: StreamPool, y: np.ndarray | None, classes: Any) -> Any:
    """Labels for a classifier: as given, of ``y``, or of the targets of streams of samples."""
    inner = owner.estimator
    if classes is not None or not _inner.needs_classes(inner):
        return classes
    if y is not None:
        return _inner.classes_of(inner, y)
    targets = [stream._column("y") if isinstance(stream, SampleStream) else None for stream in pool]
    known = [target for target in targets if target is not None]
    if len(known) == len(targets):
        return _inner.classes_of(inner, np.concatenate(known))
    if hasattr(getattr(owner, "estimator_", None), "classes_") and owner.warm_start:
        return None
    raise ValueError(
        f"classes is None, and streams of unknown labels do not tell them: {type(inner).__name__} must know all labels before "
        "its first batch. Pass classes=[...] to StreamingEstimator."
    )


def validated_arrays(owner: Any, X: Any, y: Any, sample_weight: Any, reset: bool = True) -> tuple[Any, Any, Any]:
    """Check and convert arrays once, as the estimator inside would at each call."""
    inner = owner.estimator
    tags = get_tags(owner)
    if tags.input_tags.string or (tags.input_tags.categorical and not tags.input_tags.two_d_array):
        return X, y, sample_weight
    regressor = is_regressor(inner)
    options: dict[str, Any] = {
        "accept_sparse": "csr" if tags.input_tags.sparse else False,
        "ensure_all_finite": not tags.input_tags.allow_nan,
        "reset": reset,
    }
    if y is None:
        X = validate_data(owner, X, y=None, **options)
    else:
        multi_output = tags.target_tags.multi_output or tags.target_tags.two_d_labels
        if tags.classifier_tags is not None:
            multi_output = tags.classifier_tags.multi_label or tags.target_tags.multi_output
        X, y = validate_data(owner, X, y, multi_output=multi_output, y_numeric=regressor, **options)
        if is_classifier(inner):
            check_classification_targets(y)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if not sample_weight.any():
            raise ValueError("sample_weight is zero for every sample: there is nothing to train on.")
    return X, y, sample_weight
