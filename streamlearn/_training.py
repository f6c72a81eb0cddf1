"""The training loop: batches from a running stream into ``partial_fit``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn import config_context

from . import _inner
from ._batch import Batch, Joiner, as_batch

_MAX_SILENT_BATCHES = 100_000


class Trainer:
    """Feeds one estimator, and counts what it was fed.

    Parameters
    ----------
    estimator : object
        Trained in place.
    classes : array-like, list of arrays or None
        For the first ``partial_fit``; labels of batches are checked against them.
    params : dict
        Further keywords of each ``partial_fit``.
    names : sequence of str
        Of the streams, for errors.
    validated : bool
        Whether all data was checked before, so that it need not be checked again at each call.
    verbose : int
        0: silent; 1: a line about once a second; 2: a line for each batch.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        classes: Any = None,
        params: dict[str, Any] | None = None,
        names: Sequence[str] = (),
        validated: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_batches = 0
        self.n_samples = 0
        self.counts = np.zeros(max(len(names), 1), np.int64)
        self._classes = classes
        self._params = dict(params or {})
        self._names = names
        self._validated = validated
        self._verbose = verbose
        self._dense = _inner.refuses_sparse(estimator)
        self._weighted = _inner.takes(estimator, "sample_weight") or _inner.passes_on(estimator)
        self._check_labels = not validated and classes is not None and not isinstance(classes, list)
        self._dtype: np.dtype | None = None
        self._feature_names: np.ndarray | None = None
        self._began = self._shown = time.monotonic()

    def train(self, batch: Batch, counts: Any) -> None:
        """Train on a batch; ``counts`` tells where its rows come from: a position for each, or ``(position, rows)`` pairs."""
        X = self._as_array(batch.X)
        arguments: tuple = (X,) if batch.y is None else (X, batch.y)
        params = self._params
        if batch.sample_weight is not None:
            if not self._weighted:
                raise ValueError(
                    f"the streams give sample_weight, which {type(self.estimator).__name__}.partial_fit does not take: "
                    "leave it out of the batches."
                )
            params = {**params, "sample_weight": batch.sample_weight}
        if self._check_labels and batch.y is not None:
            self._refuse_unknown_labels(batch.y, counts)
        if self.n_batches:
            # The first call has checked the parameters; data that was not validated before is still checked.
            with config_context(skip_parameter_validation=True, assume_finite=self._validated):
                self.estimator.partial_fit(*arguments, **params)
        else:
            if self._classes is not None and not hasattr(self.estimator, "n_features_in_"):
                params = {**params, "classes": self._classes}
            self.estimator.partial_fit(*arguments, **params)
        self.n_batches += 1
        self.n_samples += batch.n
        if isinstance(counts, np.ndarray):
            np.add.at(self.counts, counts, 1)
        else:
            for position, n in counts:
                self.counts[position] += n
        if self._verbose:
            self._show()

    def _as_array(self, X: Any) -> Any:
        """Return what ``partial_fit`` gets: numeric frames as arrays, floats of one kind throughout."""
        if hasattr(X, "columns") and not hasattr(X, "tocsr"):
            X = self._frame_as_array(X)
        if self._dense:
            X = _inner.as_dense(X)
        dtype = getattr(X, "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
            if self._dtype is None:
                self._dtype = dtype if dtype.kind == "f" and dtype.itemsize >= 4 else np.dtype(np.float64)
            if dtype != self._dtype and (dtype.kind == "f" or self._dtype.itemsize < 8):
                X = X.astype(self._dtype)
        return X

    def _frame_as_array(self, X: Any) -> Any:
        names = np.asarray([str(name) for name in X.columns], dtype=object)
        if self._feature_names is None:
            self._feature_names = names
        elif not np.array_equal(names, self._feature_names):
            missing = sorted(set(self._feature_names) - set(names))
            more = sorted(set(names) - set(self._feature_names))
            raise ValueError(
                f"a batch has other columns than the first: missing {missing}, unexpected {more}"
                + (", or the same in another order." if not missing and not more else ".")
            )
        array = np.asarray(X)
        if array.dtype == object:
            try:
                return array.astype(np.float64)
            except (TypeError, ValueError):
                return X
        return array

    @property
    def feature_names(self) -> np.ndarray | None:
        """Column names of the frames trained on, or None."""
        return self._feature_names

    def _refuse_unknown_labels(self, y: np.ndarray, counts: Any) -> None:
        classes = np.asarray(self._classes)
        if y.ndim != 1:
            return
        known = np.isin(y, classes)
        if known.all():
            return
        row = int(np.argmin(known))
        if isinstance(counts, np.ndarray):
            position = int(counts[row])
        else:
            ends = np.cumsum([n for _, n in counts])
            position = counts[int(np.searchsorted(ends, row, side="right"))][0]
        name = f" {self._names[position]!r}" if len(self._names) else ""
        raise ValueError(
            f"stream{name} at position {position} gave the label {y[row]!r}, which is not among classes="
            f"{classes.tolist()}: pass all labels as classes."
        )

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if last or self._verbose > 1 or now - self._shown >= 1.0:
            self._shown = now
            seconds = now - self._began
            print(
                f"[StreamingEstimator] batch {self.n_batches}, {self.n_samples} samples, {seconds:.1f} s, "
                f"{self.n_samples / max(seconds, 1e-9):.0f} samples/s",
                flush=True,
            )

    def finish(self) -> None:
        """Show the last line of progress."""
        if self._verbose:
            self._show(last=True)


def batches(iterator: Any, size: int | None, first: int = 1, names: Sequence[str] = ()) -> Iterator[tuple[Batch, Any]]:
    """Yield batches of ``size`` rows from a running stream, and where their rows come from.

    Parameters
    ----------
    iterator : iterator
        Of a mux or another stream. One that ``takes`` is asked for blocks of samples; others for items, joined and cut.
    size : int or None
        Rows; None: each item as it comes.
    first : int
        Least number of rows of the first batch.
    names : sequence of str
        Of the streams, for errors.
    """
    if getattr(iterator, "takes", False):
        n = max(size or 1, first)
        while (taken := iterator.take(n)) is not None:
            parts, who = taken
            yield Batch(parts["X"], parts.get("y"), parts.get("sample_weight"), len(who)), who
            n = size or 1
        return
    joiner = Joiner(first if size is None else max(size, first))
    if size is None and first <= 1:
        joiner.size = None
    n_items: dict[int, int] = {}
    for item in iterator:
        position = getattr(iterator, "position", 0)
        number = n_items[position] = n_items.get(position, -1) + 1
        try:
            batch = as_batch(item)
        except (TypeError, ValueError) as error:
            name = f" {names[position]!r}" if len(names) else ""
            error.add_note(f"given by stream{name} at position {position}, item {number}")
            raise
        for pair in joiner.feed(batch, position):
            yield pair
            joiner.size = size
    yield from joiner.flush()


def warn_if_endless(n_batches: int) -> str | None:
    """Text of the warning that is due after so many batches without a bound."""
    if n_batches == _MAX_SILENT_BATCHES:
        return (
            f"training has taken {n_batches} batches and max_batches is None: if a stream is endless, training never ends. "
            "Set max_batches."
        )
    return None


def names_of(pool: Iterable) -> tuple[str, ...]:
    names = getattr(pool, "names", None)
    return tuple(names) if names is not None else tuple(str(i) for i, _ in enumerate(pool))
