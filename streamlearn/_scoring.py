"""Any scikit-learn score over all rows of held-out streams."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils import get_tags

from ._fit_source import as_pool, is_pool
from ._outputs import joined, stream_batches
from ._pool import StreamPool
from ._random import mix
from ._streamer import check_max_batches

_RESPONSES = ("predict", "predict_proba", "decision_function", "predict_log_proba", "score_samples", "transform")


def stream_scorer(
    scoring: str | Callable | Iterable[str] | Mapping[str, str | Callable], *, max_samples: int | None = None
) -> StreamScorer:
    """Make a scikit-learn score work on held-out pools.

    Pass it as ``scoring`` to ``GridSearchCV``, ``cross_validate`` or ``HalvingGridSearchCV`` over a pool: the score is exact over
    all rows of the held-out streams, which are read once; their targets and predictions alone are kept.

    Parameters
    ----------
    scoring : str, callable, list of str, or dict of these
        A name of :func:`sklearn.metrics.get_scorer_names`, a scorer of :func:`sklearn.metrics.make_scorer`, or another callable
        ``(estimator, X, y)`` that uses only the predictions of ``estimator``; several of them give a dict of scores.
    max_samples : int, optional
        The most rows of each stream; needed for endless ones. None (default): all.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)``. ``X`` may be arrays, too, which are scored as usual. The ``sample_weight`` of
        batches is used by the scores that take one.

    Raises
    ------
    ValueError
        If the name is unknown, or when called, if streams give no ``y``, or no row.

    See Also
    --------
    StreamingEstimator.score : The estimator's own score.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> from streamlearn import StreamingEstimator, from_arrays, stream_scorer
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> pool = from_arrays(X, (X[:, 0] > 0).astype(int), n_streams=10)
    >>> model = StreamingEstimator(SGDClassifier(), n_passes=5, classes=[0, 1], random_state=0)
    >>> scores = cross_val_score(model, pool, cv=5, scoring=stream_scorer("roc_auc"))
    >>> bool(scores.min() > 0.9)
    True
    """
    check_max_batches(max_samples, "max_samples")
    return StreamScorer(scoring, max_samples)


class StreamScorer:
    """What :func:`stream_scorer` returns."""

    def __init__(self, scoring: Any, max_samples: int | None) -> None:
        self._scoring = scoring
        self._max_samples = max_samples
        if isinstance(scoring, Mapping):
            self._scorers = {name: get_scorer(value) for name, value in scoring.items()}
        elif isinstance(scoring, str) or callable(scoring):
            self._scorers = {"": get_scorer(scoring)}
        else:
            self._scorers = {name: get_scorer(name) for name in scoring}
        if not self._scorers:
            raise ValueError(f"scoring must name at least one score, got {scoring!r}.")

    def __call__(self, estimator: Any, X: Any, y: Any = None, **kwargs: Any) -> Any:
        """Score an estimator.

        Parameters
        ----------
        estimator : object
            Fitted.
        X : StreamPool, list of Streamers, or arrays
            What is held out.
        y : array-like, optional
            Targets, beside arrays; ignored beside a pool.
        **kwargs
            Passed to the scorers, beside arrays.

        Returns
        -------
        score : float, or dict of float
        """
        if not is_pool(X):
            scores = {name: scorer(estimator, X, y, **kwargs) for name, scorer in self._scorers.items()}
        else:
            if kwargs:
                raise ValueError(
                    f"{sorted(kwargs)} goes with arrays; beside a pool, let the streams yield sample_weight."
                )
            answers = _Answers(estimator, as_pool(X), self._responses(estimator), self._max_samples)
            scores = {name: self._score(name, scorer, answers) for name, scorer in self._scorers.items()}
        return scores.get("", scores)

    def _score(self, name: str, scorer: Any, answers: _Answers) -> float:
        function = getattr(scorer, "_score_func", None)
        if function is not None and answers.y is None:
            raise ValueError(
                f"the score {name or self._scoring!r} needs y, which the streams do not give: let them yield 'y'."
            )
        weights = {}
        takes_weights = function is not None and "sample_weight" in inspect.signature(function).parameters
        if answers.sample_weight is not None and takes_weights:
            weights["sample_weight"] = answers.sample_weight
        return scorer(answers, answers.X, answers.y, **weights)

    def _responses(self, estimator: Any) -> list[str]:
        """Names of the methods whose outputs the scorers may ask for: those they name, else all that there are."""
        there = [name for name in _RESPONSES if hasattr(estimator, name)]
        asked: set[str] = set()
        for scorer in self._scorers.values():
            named = getattr(scorer, "_response_method", None)
            if named is None:
                return there
            first = [name for name in ([named] if isinstance(named, str) else named) if name in there][:1]
            if not first:
                raise ValueError(f"{scorer!r} needs {named}, which {type(estimator).__name__} does not have.")
            asked.update(first)
        return sorted(asked)

    def __repr__(self) -> str:
        return f"stream_scorer({self._scoring!r})"


class _Answers:
    """An estimator that has seen the streams: its methods return what was predicted for their rows, whatever they are given."""

    def __init__(self, estimator: Any, pool: StreamPool, methods: list[str], max_samples: int | None) -> None:
        self._estimator = estimator
        outputs: dict[str, list[Any]] = {method: [] for method in methods}
        ys, weights, ns = [], [], []
        for position, stream in enumerate(pool):
            left = max_samples
            for batch in stream_batches(stream, mix(0, position)):
                if left is not None and batch.n > left:
                    batch = batch.rows(0, left)
                if not batch.n:
                    break
                left = None if left is None else left - batch.n
                for method, kept in outputs.items():
                    kept.append(getattr(estimator, method)(batch.X))
                ys.append(batch.y)
                weights.append(batch.sample_weight)
                ns.append(batch.n)
                if left == 0:
                    break
        if not ns:
            raise ValueError("the held-out streams give no row to score.")
        missing = [y is None for y in ys]
        if any(missing) and not all(missing):
            raise ValueError("some of the held-out streams give y and others do not.")
        self.X = np.zeros((sum(ns), 1))
        self.y = None if all(missing) else np.concatenate(ys)
        self.sample_weight = None
        if any(weight is not None for weight in weights):
            self.sample_weight = np.concatenate(
                [np.ones(n) if weight is None else weight for n, weight in zip(ns, weights, strict=True)]
            )
        self._outputs = {method: joined(kept) for method, kept in outputs.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_outputs", "_estimator"):
            raise AttributeError(name)
        if name in self._outputs:

            def answer(X: Any) -> Any:
                return self._outputs[name]

            answer.__name__ = name  # scikit-learn tells methods by it
            return answer
        if name in _RESPONSES:
            raise AttributeError(f"{type(self._estimator).__name__!r} was not asked for {name!r}")
        return getattr(self._estimator, name)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self._estimator)

    def __sklearn_is_fitted__(self) -> bool:
        return True
