"""StreamLearner: one partial_fit per item of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import get_tags

from ._batch import as_batch
from ._labels import KnownLabels
from ._passes import close
from ._schema import check_weight
from ._streamer import check_max_batches


class StreamLearner(MetaEstimatorMixin, BaseEstimator):
    """Train an estimator with one ``partial_fit`` for each batch of a stream.

    It trains ``estimator`` itself, and every method and attribute of the estimator is there.

    Parameters
    ----------
    estimator : object
        An estimator with ``partial_fit``.
    max_batches : int, optional
        The most batches that one call of :meth:`iter_fit` takes; None (default): all of the stream.

    Attributes
    ----------
    n_batches_ : int
        Number of batches trained so far.
    n_samples_seen_ : int
        Number of samples trained so far; where the estimator counts them, its own count.

    See Also
    --------
    StreamingEstimator : Builds the mux itself, joins batches, and can be searched.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> from streamlearn import Streamer, StreamLearner
    >>> def noisy(X, y, rng):
    ...     while True:
    ...         yield {"X": X + rng.normal(0, 0.1, X.shape), "y": y}
    >>> X, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    >>> learner = StreamLearner(SGDClassifier(random_state=0), max_batches=20)
    >>> learner.iter_fit(Streamer(noisy, X, y), classes=[0, 1]).predict(X)
    array([0, 1])
    """

    def __init__(self, estimator: Any, max_batches: int | None = None) -> None:
        self.estimator = estimator
        self.max_batches = max_batches

    def iter_fit(self, stream: Iterable, **kwargs: Any) -> StreamLearner:
        """Train on each batch of ``stream``, going on from where the estimator stands.

        Parameters
        ----------
        stream : Streamer, generator or other iterable of batches
            A generator is left where training stops, so that it can be read on.
        **kwargs
            Passed to each ``partial_fit`` (``classes=``).

        Returns
        -------
        self : StreamLearner

        Raises
        ------
        TypeError
            If the estimator has no ``partial_fit``, or ``stream`` cannot be iterated.
        ValueError
            If ``max_batches`` is not usable, or an item is not a batch.
        """
        if not hasattr(self.estimator, "partial_fit"):
            raise TypeError(f"estimator must have partial_fit, which {self.estimator!r} has not.")
        check_max_batches(self.max_batches)
        if not isinstance(stream, Iterable):
            raise TypeError(f"stream must be a Streamer or another iterable of batches, got {stream!r}.")
        if "classes" in kwargs:
            self._known = None if kwargs["classes"] is None else KnownLabels(kwargs["classes"])
        iterator = iter(stream)
        self.n_batches_ = getattr(self, "n_batches_", 0)
        n_before = self.n_batches_
        try:
            while self.max_batches is None or self.n_batches_ - n_before < self.max_batches:
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                self._train(item, self.n_batches_ - n_before, kwargs)
        finally:
            if iterator is not stream:
                close(iterator)
        return self

    def _train(self, item: Any, number: int, kwargs: dict[str, Any]) -> None:
        try:
            batch = as_batch(item)
            weight = {}
            if batch.sample_weight is not None:
                check_weight(
                    batch.sample_weight
                )  # some estimators would learn the contrary of what a negative one says
                weight["sample_weight"] = batch.sample_weight
            arguments = (batch.X,) if batch.y is None else (batch.X, batch.y)
            known = self.__dict__.get("_known")
            if known is not None and batch.y is not None and (found := known.unknown(batch.y)) is not None:
                # some estimators drop such rows without a word
                raise ValueError(f"the stream gave the label {found[1]!r}, which is not among classes={known}.")
            self.estimator.partial_fit(*arguments, **weight, **kwargs)
        except Exception as error:
            error.add_note(f"while training on item {number} of the stream")
            raise
        self._n_samples = getattr(self, "_n_samples", 0) + batch.n
        self.n_batches_ += 1

    @property
    def n_samples_seen_(self) -> int:
        """Number of samples trained so far."""
        if "_n_samples" not in self.__dict__:
            raise AttributeError("n_samples_seen_ is there after iter_fit.")
        return getattr(self.estimator, "n_samples_seen_", self._n_samples)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "estimator":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.estimator, name)

    def __sklearn_is_fitted__(self) -> bool:
        return "n_batches_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)
