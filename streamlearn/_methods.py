"""The methods of the estimator inside: there if it has them, on arrays as they are and on pools stream by stream."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._fit_source import as_pool, is_pool
from ._outputs import iter_outputs, pool_outputs
from ._random import fresh_seed, mix
from ._scoring import StreamScorer, scored, scorer_for
from ._sklearn import routing_enabled
from ._streamer import Streamer


def inner_has(method: str) -> Callable[[Any], bool]:
    """Condition of ``available_if``: the estimator inside has the method; else its own AttributeError."""

    def check(self: InnerMethods) -> bool:
        getattr(self.__dict__.get("estimator_", self.estimator), method)
        return True

    return check


class InnerMethods:
    """Gives an estimator the methods of ``estimator_``, or of ``estimator`` before it is fitted."""

    # metadata are for the estimator inside, which is asked what it wants of them
    __metadata_request__score: ClassVar[dict[str, str]] = {"sample_weight": UNUSED}
    __metadata_request__partial_fit: ClassVar[dict[str, str]] = {"classes": UNUSED}

    estimator: Any
    estimator_: Any
    random_state: Any
    scoring: Any
    fit: Callable[..., Any]

    def _seed(self) -> int:
        if self.random_state is None:
            return fresh_seed()
        state = check_random_state(self.random_state)
        return mix(*state.randint(0, 2**31 - 1, size=2).tolist())

    def _apply(self, method: str, X: Any) -> Any:
        check_is_fitted(self)
        X = [X] if isinstance(X, Streamer) else X
        if is_pool(X):
            return pool_outputs(self.estimator_, as_pool(X), method, self._held_out_seed())
        return getattr(self.estimator_, method)(X)

    def _held_out_seed(self) -> int:
        """Seed of random streams that are predicted: the same at each call when ``random_state`` is an int."""
        return mix(self._seed(), 2) if isinstance(self.random_state, numbers.Integral) else fresh_seed()

    @available_if(inner_has("predict"))
    def predict(self, X: Any) -> Any:
        """Predict with the trained estimator.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, StreamPool or list of Streamers
            Samples, or streams of them.

        Returns
        -------
        y : ndarray
            Predictions; for a pool an object array with those of each stream.
        """
        return self._apply("predict", X)

    @available_if(inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities; ``X`` and the result as in :meth:`predict`."""
        return self._apply("predict_proba", X)

    @available_if(inner_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Predict logarithms of probabilities; ``X`` and the result as in :meth:`predict`."""
        return self._apply("predict_log_proba", X)

    @available_if(inner_has("predict_joint_log_proba"))
    def predict_joint_log_proba(self, X: Any) -> Any:
        """Predict joint log probabilities; ``X`` and the result as in :meth:`predict`."""
        return self._apply("predict_joint_log_proba", X)

    @available_if(inner_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Decision values; ``X`` and the result as in :meth:`predict`."""
        return self._apply("decision_function", X)

    @available_if(inner_has("score_samples"))
    def score_samples(self, X: Any) -> Any:
        """Score each sample; ``X`` and the result as in :meth:`predict`."""
        return self._apply("score_samples", X)

    @available_if(inner_has("transform"))
    def transform(self, X: Any) -> Any:
        """Transform; ``X`` and the result as in :meth:`predict`."""
        return self._apply("transform", X)

    @available_if(inner_has("inverse_transform"))
    def inverse_transform(self, X: Any) -> Any:
        """Undo :meth:`transform`."""
        return self._apply("inverse_transform", X)

    @available_if(inner_has("transform"))
    def fit_transform(self, X: Any = None, y: Any = None, **fit_params: Any) -> Any:
        """Fit to ``X``, then transform it."""
        return self.fit(X, y, **fit_params).transform(X)

    @available_if(inner_has("fit_predict"))
    def fit_predict(self, X: Any = None, y: Any = None, **fit_params: Any) -> Any:
        """Fit to ``X``, then predict it."""
        return self.fit(X, y, **fit_params).predict(X)

    @available_if(inner_has("set_output"))
    def set_output(self, *, transform: str | None = None) -> InnerMethods:
        """Set the container that :meth:`transform` returns, on the estimator inside, as a Pipeline does.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            Kind of container; None leaves it as it is.

        Returns
        -------
        self : object
        """
        self.estimator.set_output(transform=transform)
        if "estimator_" in self.__dict__:
            self.estimator_.set_output(transform=transform)
        return self

    @available_if(inner_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the features that :meth:`transform` gives."""
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    @available_if(inner_has("score"))
    def score(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> float:
        """Score the trained estimator, by ``scoring`` or as the estimator does.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, StreamPool or list of Streamers
            Samples, or streams of them, which are scored over all their rows.
        y : array-like, optional
            Targets; ignored beside a pool.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples of arrays; streams yield their own.
        **params
            Further keywords of the estimator's ``score``, with arrays.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        X = [X] if isinstance(X, Streamer) else X
        if is_pool(X):
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight goes with arrays; beside a pool, let the streams yield it in their batches."
                )
            scorer = scorer_for(self.estimator_, self.scoring)
            return scored(scorer, self.estimator_, as_pool(X), self._held_out_seed())
        if self.scoring is not None:
            check_scoring(self, scoring=self.scoring)
            return StreamScorer(self.scoring, None)(self, X, y, **params)
        if routing_enabled():
            params = dict(process_routing(self, "score", **params).estimator.score)
        arguments = (X,) if y is None else (X, y)
        return self.estimator_.score(*arguments, **params)

    def iter_predict(self, pool: Any, method: str = "predict") -> Iterator[Any]:
        """Yield predictions batch by batch, in bounded memory, one stream after the other.

        Parameters
        ----------
        pool : StreamPool, Streamer or list of Streamers
            Streams of batches; their ``y`` is not looked at.
        method : str, default="predict"
            Name of the method of the estimator.

        Yields
        ------
        output : ndarray
            For each batch.
        """
        check_is_fitted(self)
        streams = as_pool(pool) if is_pool(pool) else as_pool([pool])
        for _, output in iter_outputs(self.estimator_, streams, method, self._held_out_seed()):
            yield output
