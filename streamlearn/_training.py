"""The training loop: batches from a running stream into ``partial_fit``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.utils import get_tags

from . import _inner
from ._batch import Batch
from ._feature_names import feature_names_of, frame_library
from ._labels import KnownLabels
from ._pool import StreamPool
from ._rows import is_frame, not_numbers, sum_of_squares
from ._schema import Schema, reads_again, refuse_other_columns
from ._sklearn import get_feature_names
from ._state import pack, unpack

_COUNTED_AT_ONCE = 2**15
_CACHED = 2**20  # bytes: of larger batches the caches do not hold what was read
_MAX_SILENT_BATCHES = 100_000
_MAX_SILENT_SAMPLES = 5_000_000
_MAX_SKIPPED_BATCHES = 10_000


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
    dtype : numpy.dtype, optional
        What floats become; None (default): what the first batch has.
    feature_names : ndarray of str, optional
        Columns that frames must have; None (default): those of the first frame.
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
        dtype: np.dtype | None = None,
        feature_names: np.ndarray | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_batches = 0
        self.n_samples = 0
        self._n_skipped = 0
        # and what is still to be counted, together: one attribute, so that an interrupt cannot come in between
        self._counted: tuple[np.ndarray, list[np.ndarray]] = np.zeros(max(len(names), 1), np.int64), []
        self._n_uncounted = 0
        self._classes = classes
        self._params = dict(params or {})
        self.names = names
        self._validated = validated
        self._verbose = verbose
        self._dense = _inner.refuses_sparse(estimator)
        self._weighted = _inner.takes(estimator, "sample_weight") or _inner.passes_on(estimator)
        # some estimators drop rows of unknown labels without a word
        known = getattr(estimator, "classes_", classes)
        self._known = None if known is None else KnownLabels(known)
        self._fitted = hasattr(estimator, "n_features_in_")
        self.dtype = dtype
        self.feature_names = feature_names
        self._needs_y = get_tags(estimator).target_tags.required
        self.schema = None
        self._looks_through = validated and reads_again(estimator)  # else a check does
        if not validated:
            self.schema = Schema(estimator, self._weighted, feature_names, dtype, self._check_labels)
        self._may_trust = self._trusting = self._assumes_finite = False
        self._trusted = ExitStack()
        self._began = self._shown = time.monotonic()

    def train(self, batch: Batch, counts: Any) -> None:
        """Train on a batch; ``counts`` tells where its rows come from: a position for each, or ``(position, rows)`` pairs."""
        X = batch.X
        if type(X) is not np.ndarray or X.dtype is not self.dtype:  # most often there is nothing to do
            X = self.as_array(X)
        if self._looks_through and type(X) is np.ndarray and X.nbytes <= _CACHED and X.dtype.kind == "f":
            sum_of_squares(X)
        arguments: tuple = (X,) if batch.y is None else (X, batch.y)
        if batch.y is None and self._needs_y:
            raise ValueError(
                f"{self.stream_of(counts, 0)} gave no y, which {type(self.estimator).__name__} must have: let it yield "
                "'y' (or make the pool with a target)."
            )
        params = self._params
        if batch.sample_weight is not None:
            if not self._weighted:
                raise ValueError(
                    f"there is a sample_weight, which {type(self.estimator).__name__}.partial_fit does not take: leave it out of "
                    "fit, or of the batches."
                )
            params = {**params, "sample_weight": batch.sample_weight}
        if self._known is not None:
            self._check_labels(batch.y, counts)
        if batch.sample_weight is not None and not batch.sample_weight.any():
            self._count(batch, counts)
            self._skip()  # some estimators raise where no sample has weight
            return
        try:
            self._partial_fit(arguments, params)
        except Exception as error:
            if not self.n_batches and isinstance(error, (TypeError, ValueError)):
                self._explain_texts(X, error, counts)
            error.add_note(f"raised by partial_fit, batch {self.n_batches}, with rows of {self._streams_of(counts)}")
            raise
        self._count(batch, counts)
        self.n_batches += 1
        self._n_skipped = 0
        if self._verbose:
            self._show()

    def _partial_fit(self, arguments: tuple, params: dict[str, Any]) -> None:
        if not self.n_batches:
            if self._classes is not None and not self._fitted:
                params = {**params, "classes": self._classes}
            self.estimator.partial_fit(*arguments, **params)
            return
        if not self._may_trust:  # a batch may be joined of items of which only some are known to be finite
            with _trust(self._validated if self.schema is None else self.schema.all_finite):
                self.estimator.partial_fit(*arguments, **params)
            return
        is_finite = self._validated if self.schema is None else self.schema.finite
        if not self._trusting:
            self._trusted.enter_context(_trust(is_finite))
            self._trusting, self._assumes_finite = True, is_finite
        if is_finite or not self._assumes_finite:
            self.estimator.partial_fit(*arguments, **params)
        else:
            with config_context(assume_finite=False):
                self.estimator.partial_fit(*arguments, **params)

    def _skip(self) -> None:
        """Take note of a batch without weight; streams of nothing else would be read for ever, since no batch counts."""
        self._n_skipped += 1
        if self._n_skipped > _MAX_SKIPPED_BATCHES:
            raise ValueError(
                f"sample_weight is zero for every sample of {self._n_skipped} batches in a row: there is nothing to train on."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted and learned of the data, as a JSON-able dict; the estimator is not in it."""
        return {
            "n_batches": self.n_batches,
            "n_samples": self.n_samples,
            "counts": pack(self.counts),
            "dtype": None if self.dtype is None else self.dtype.str,
            "feature_names": pack(self.feature_names),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.n_batches, self.n_samples = state["n_batches"], state["n_samples"]
        self._counted = unpack(state["counts"]), []
        self.dtype = None if state["dtype"] is None else np.dtype(state["dtype"])
        self.feature_names = unpack(state["feature_names"])

    def _count(self, batch: Batch, counts: Any) -> None:
        self.n_samples += batch.n
        if type(counts) is np.ndarray:
            self._counted[1].append(counts)
            self._n_uncounted += batch.n
            if self._n_uncounted >= _COUNTED_AT_ONCE:
                self._count_now()
        else:
            for position, n in counts:
                self._counted[0][position] += n

    def _count_now(self) -> np.ndarray:
        counts, uncounted = self._counted
        if uncounted:
            counts = counts + np.bincount(np.concatenate(uncounted), minlength=len(counts))
            self._counted = counts, []
        self._n_uncounted = 0
        return counts

    @property
    def counts(self) -> np.ndarray:
        """Samples trained from each stream."""
        return self._count_now()

    @contextmanager
    def trusting(self, iterator: Any) -> Iterator[None]:
        """Switch checks off once, not at each call, if none of the user's code runs between the calls."""
        with ExitStack() as self._trusted:
            self._may_trust = getattr(iterator, "takes", False)
            yield
        self._may_trust = self._trusting = self._assumes_finite = False

    @property
    def can_predict(self) -> bool:
        """Whether the estimator was trained before, here or elsewhere."""
        return self.n_batches > 0 or self._fitted

    def name_features(self, pool: StreamPool) -> None:
        """Take the names of features from the streams of a pool, if they know them."""
        found = feature_names_of(pool, self.feature_names)
        if (
            self.feature_names is None and not self._fitted and frame_library() is not None
        ):  # else nothing could compare them
            self.feature_names = found

    def as_array(self, X: Any) -> Any:
        """Return what ``partial_fit`` gets: numeric frames as arrays, floats of one kind throughout."""
        if is_frame(X):
            X = self._frame_as_array(X)
        if self._dense:
            X = _inner.as_dense(X)
        dtype = getattr(X, "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
            if self.dtype is None:
                self.dtype = dtype if dtype.kind == "f" and dtype.itemsize >= 4 else np.dtype(np.float64)
            if dtype != self.dtype and (dtype.kind == "f" or self.dtype.itemsize < 8):
                X = X.astype(self.dtype)
        return X

    def _frame_as_array(self, X: Any) -> Any:
        names = get_feature_names(X)
        if self.feature_names is not None:
            refuse_other_columns(names, self.feature_names)
        elif not self._fitted:
            self.feature_names = names
        array = np.asarray(X)
        if array.dtype == object:
            try:
                return array.astype(np.float64)
            except (TypeError, ValueError):
                return X
        return array

    def _explain_texts(self, X: Any, error: Exception, counts: Any) -> None:
        """Say which columns are no numbers, if that is why the estimator fails."""
        columns = not_numbers(X) if is_frame(X) else []
        if columns:
            raise ValueError(
                f"{self.stream_of(counts, 0)} gives DataFrames, since {columns} hold no numbers, and "
                f"{type(self.estimator).__name__} fails on them ({error}). Leave these columns out (features= of the function "
                "that makes the pool), make numbers of them before, or train what takes DataFrames."
            ) from error

    def _check_labels(self, y: np.ndarray | None, counts: Any) -> None:
        if self._known is not None and y is not None and (found := self._known.unknown(y)) is not None:
            raise ValueError(
                f"{self.stream_of(counts, found[0])} gave the label {found[1]!r}, which is not among classes={self._known}: "
                "pass all labels as classes, or classes='scan'."
            )

    def stream_of(self, counts: Any, row: int) -> str:
        """Name the stream that a row of a batch comes from."""
        return self._stream_at(self.position_of(counts, row))

    def _streams_of(self, counts: Any) -> str:
        """Name the streams that the rows of a batch come from, a few of many."""
        positions = list(dict.fromkeys(counts.tolist() if isinstance(counts, np.ndarray) else [p for p, _ in counts]))
        shown = ", ".join(self._stream_at(position) for position in positions[:3])
        return shown if len(positions) <= 3 else f"{shown} and {len(positions) - 3} others"

    def _stream_at(self, position: int) -> str:
        name = f" {self.names[position]!r}" if len(self.names) else ""
        return f"stream{name} at position {position}"

    def position_of(self, counts: Any, row: int) -> int:
        """Return the position of the stream that a row of a batch comes from."""
        if isinstance(counts, np.ndarray):
            return int(counts[row])
        ends = np.cumsum([n for _, n in counts])
        return counts[int(np.searchsorted(ends, row, side="right"))][0]

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
        """Show the last line of progress, and count once more, since an interrupt may have come in between."""
        self.n_samples = int(self.counts.sum())
        if self._verbose == 1:
            self._show(last=True)


def _trust(finite: bool) -> AbstractContextManager:
    """Switch off what the first call has checked, the parameters, and what was looked at already, whether data is finite."""
    return config_context(skip_parameter_validation=True, assume_finite=finite)


def warn_if_endless(n_batches: int, n_samples: int, n_new: int) -> str | None:
    """Text of the warning that is due after so many batches and samples, the last batch of ``n_new``, without a bound."""
    by_batches = n_batches == _MAX_SILENT_BATCHES and n_samples < _MAX_SILENT_SAMPLES
    if by_batches or (n_samples - n_new < _MAX_SILENT_SAMPLES <= n_samples and n_batches <= _MAX_SILENT_BATCHES):
        return (
            f"training has taken {n_samples} samples in {n_batches} batches and max_batches is None: if a stream is endless, "
            "training never ends. Set max_batches."
        )
    return None


def names_of(pool: Iterable) -> tuple[str, ...]:
    names = getattr(pool, "names", None)
    return tuple(names) if names is not None else tuple(str(i) for i, _ in enumerate(pool))
