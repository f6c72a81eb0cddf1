"""Any scikit-learn score over all rows of held-out streams."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.metrics import get_scorer
from sklearn.utils import get_tags

from ._accumulate import Accumulator, accumulator_of
from ._batch import Batch
from ._feature_names import with_names
from ._fit_source import as_pool, is_pool
from ._outputs import answer, joined, pool_batches, stream_name
from ._pool import StreamPool
from ._rows import concat_rows
from ._state import pack, unpack
from ._streamer import check_max_batches

_BOUND = "Pass stream_scorer(..., max_samples=...) as scoring"
_NO_ROW = "the held-out streams give no row to score."
_RESPONSES = ("predict", "predict_proba", "decision_function", "predict_log_proba", "score_samples", "transform")


def stream_scorer(
    scoring: str | Callable | Iterable[str] | Mapping[str, str | Callable], *, max_samples: int | None = None
) -> StreamScorer:
    """Make a scikit-learn score work on held-out pools.

    Pass it as ``scoring`` to ``GridSearchCV``, ``cross_validate`` or ``HalvingGridSearchCV`` over a pool: the score is exact over
    all rows of the held-out streams, which are read once.

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

    Notes
    -----
    Memory is bounded, whatever the number of rows, for ``"accuracy"``, ``"balanced_accuracy"``, ``"matthews_corrcoef"``,
    ``"neg_log_loss"``, all that begin with ``"precision"``, ``"recall"``, ``"f1"`` and ``"jaccard"``, and for ``"r2"``,
    ``"explained_variance"``, ``"neg_max_error"``, ``"neg_mean_absolute_error"``, ``"neg_mean_squared_error"``,
    ``"neg_root_mean_squared_error"`` and the two squared log errors; with any settings of :func:`sklearn.metrics.make_scorer`,
    and for ``fbeta_score``, ``cohen_kappa_score``, ``hamming_loss`` and ``zero_one_loss`` too. For other scores, among several
    where one is another, for labels of several outputs, and where no number has double precision, targets and predictions of
    all rows are kept, and nothing else.

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
            if y is None and (name := self._needs_y()):
                raise ValueError(
                    f"{name} needs y, and y is None: pass y beside the arrays, or a pool whose streams yield it."
                )
            scores = {name: scorer(estimator, X, y, **kwargs) for name, scorer in self._scorers.items()}
            return scores.get("", scores)
        if kwargs:
            raise ValueError(f"{sorted(kwargs)} goes with arrays; beside a pool, let the streams yield sample_weight.")
        return scored(self, estimator, as_pool(X), 0, self._max_samples)

    def answers(self, estimator: Any, pool: StreamPool) -> Answers:
        """Return what collects the predictions that the scores need, of rows of the streams of a pool."""
        sums = {name: accumulator_of(scorer) for name, scorer in self._scorers.items()}
        bounded = {name: each for name, each in sums.items() if each is not None}
        called = {name: self._called(name, scorer) for name, scorer in self._scorers.items()}
        return Answers(
            estimator,
            pool,
            self.responses(estimator),
            self._needs_y(),
            bounded if len(bounded) == len(sums) else {},
            called,
        )

    def score(self, answers: Answers) -> Any:
        """Return the score, or scores, of what was collected."""
        answers.join()
        scores = {name: self._score(name, scorer, answers) for name, scorer in self._scorers.items()}
        return scores.get("", scores)

    def _score(self, name: str, scorer: Any, answers: Answers) -> float:
        function = getattr(scorer, "_score_func", None)
        weights = {}
        takes_weights = function is not None and "sample_weight" in inspect.signature(function).parameters
        try:
            replies, y, weight = answers.replies(name)
            if weight is not None and takes_weights:
                weights["sample_weight"] = weight
            return scorer(replies, np.zeros((answers.n if y is None else len(y), 1)), y, **weights)
        except Exception as error:
            error.add_note(_misfit(self._called(name, scorer), answers.estimator))
            raise

    def _needs_y(self) -> str | None:
        """Name a score that compares predictions with y; callables of one's own may do without."""
        for name, scorer in self._scorers.items():
            if hasattr(scorer, "_score_func"):
                return self._called(name, scorer)
        return None

    def _called(self, name: str, scorer: Any) -> str:
        return f"the score {name or self._scoring!r}" if name or isinstance(self._scoring, str) else repr(scorer)

    def responses(self, estimator: Any) -> list[str]:
        """Names of the methods whose outputs the scorers may ask for: those they name, else all that there are."""
        there = [name for name in _RESPONSES if hasattr(estimator, name)]
        asked: set[str] = set()
        for scorer in self._scorers.values():
            named = getattr(scorer, "_response_method", None)
            if named is None:
                return there
            first = [name for name in ([named] if isinstance(named, str) else named) if name in there][:1]
            if not first:
                names = named if isinstance(named, str) else " or ".join(named)
                raise ValueError(
                    f"scoring={self._scoring!r} needs {names}, which {_name(estimator)} does not have with its "
                    "parameters: choose a score that fits."
                )
            asked.update(first)
        return sorted(asked)

    def __repr__(self) -> str:
        return f"stream_scorer({self._scoring!r})"


class Answers:
    """What an estimator has predicted for rows of streams.

    Parameters
    ----------
    estimator : object
    pool : StreamPool
        Whose streams give the rows, for errors.
    methods : list of str
        Which are asked.
    needs_y : str or None
        Name of a score that cannot do without y.
    sums : dict of Accumulator
        For each score, if all can be accumulated; then nothing else is kept, if the first rows are such as they take.
    called : dict of str
        How errors call the scores.
    """

    def __init__(
        self,
        estimator: Any,
        pool: StreamPool,
        methods: list[str],
        needs_y: str | None,
        sums: dict[str, Accumulator],
        called: dict[str, str],
    ) -> None:
        self.estimator = estimator
        self._pool = pool
        self._parts: dict[str, list[Any]] = {method: [] for method in methods}
        self._ys: list[Any] = []
        self._weights: list[tuple[int, Any]] = []
        self._needs_y = needs_y
        self._first: list[int | None] = [None, None]  # positions of streams that give y, and of those that do not
        self._sums = sums
        self._called = called
        self.n = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was collected, JSON-able."""
        parts = (self._parts, self._ys, self._weights, self._first)
        sums = {name: each.state_dict() for name, each in self._sums.items()}
        return {"n": self.n, "parts": [pack(part) for part in parts], "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.n = state["n"]
        self._parts, self._ys, weights, self._first = (unpack(part) for part in state["parts"])
        self._weights = [(n, weight) for n, weight in weights]
        self._sums = {name: self._sums[name] for name in state["sums"]}
        for name, saved in state["sums"].items():
            self._sums[name].load_state_dict(saved)

    def add(self, position: int, batch: Batch) -> None:
        """Predict rows of the stream at a position."""
        if batch.y is None and self._needs_y:
            raise ValueError(
                f"{self._needs_y} needs y, which {stream_name(self._pool, position)} does not give: let it yield 'y' (or make "
                "the pool with a target)."
            )
        outputs = {method: answer(self.estimator, method, batch.X, self._pool, position) for method in self._parts}
        if self._first[batch.y is None] is None:
            self._first[batch.y is None] = position
        y, weight = (None if part is None else part.copy() for part in (batch.y, batch.sample_weight))  # see _Rows.add
        if not self.n and not all(each.fits(y, outputs[each.method]) for each in self._sums.values()):
            self._sums = {}
        self.n += batch.n
        for name, each in self._sums.items():
            try:
                each.add(y, outputs[each.method], weight)
            except Exception as error:
                error.add_note(_misfit(self._called[name], self.estimator))
                raise
        if not self._sums:
            for method, output in outputs.items():
                self._parts[method].append(output)
            self._ys.append(y)
            self._weights.append((batch.n, weight))

    def join(self) -> None:
        """Put together what was collected."""
        if not self.n:
            raise ValueError(_NO_ROW)
        some, none = self._first
        if some is not None and none is not None:
            raise ValueError(
                f"some of the held-out streams give y and others do not: {stream_name(self._pool, some)} does, "
                f"{stream_name(self._pool, none)} does not. Let each yield 'y'."
            )
        if not self._sums:
            outputs = {method: joined(parts) for method, parts in self._parts.items()}
            y = None if some is None else np.concatenate(self._ys)
            self._joined = Replies(self.estimator, outputs), y, _joined_weights(self._weights)

    def replies(self, name: str) -> tuple[Replies, Any, Any]:
        """Return an estimator that gives the predictions, the targets, and the weights or None, for a score."""
        if name not in self._sums:
            return self._joined
        y, predicted, weight = self._sums[name].rows()
        return Replies(self.estimator, {self._sums[name].method: predicted}), y, weight


class Replies:
    """To scorers an estimator whose methods return what it has predicted, whatever they are given.

    Parameters
    ----------
    estimator : object
    outputs : dict of arrays
        By method.
    """

    def __init__(self, estimator: Any, outputs: dict[str, Any]) -> None:
        self._estimator = estimator
        self._outputs = outputs

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


class OwnScorer:
    """A score that is a method of the estimator's own, which must see all rows at once."""

    def answers(self, estimator: Any, pool: StreamPool) -> _Rows:
        return _Rows(estimator, pool)

    def score(self, answers: _Rows) -> float:
        return answers.score()


class _Rows:
    """Keeps rows of streams for the estimator's own score."""

    def __init__(self, estimator: Any, pool: StreamPool) -> None:
        self._estimator = estimator
        self._pool = pool
        self._supervised = is_classifier(estimator) or is_regressor(estimator)
        self._batches: list[Batch] = []
        self.n = 0

    def add(self, position: int, batch: Batch) -> None:
        if self._supervised and batch.y is None:
            raise ValueError(
                f"{stream_name(self._pool, position)} gives no y, which {type(self._estimator).__name__}.score needs."
            )
        # a generator may use its arrays again
        X, y, weight = (
            part.copy() if hasattr(part, "copy") else part for part in (batch.X, batch.y, batch.sample_weight)
        )
        X = with_names(self._estimator, self._pool[position], X)
        self._batches.append(Batch(X, y, weight, batch.n))
        self.n += batch.n

    def score(self) -> float:
        if not self.n:
            raise ValueError(_NO_ROW)
        X = concat_rows([batch.X for batch in self._batches])
        arguments = (X, np.concatenate([batch.y for batch in self._batches])) if self._supervised else (X,)
        weight = _joined_weights([(batch.n, batch.sample_weight) for batch in self._batches])
        takes_weight = "sample_weight" in inspect.signature(self._estimator.score).parameters
        return self._estimator.score(
            *arguments, **({"sample_weight": weight} if weight is not None and takes_weight else {})
        )


def _misfit(called: str, estimator: Any) -> str:
    return f"raised by {called}: does it fit {_name(estimator)}?"


def _name(estimator: Any) -> str:
    inner = getattr(estimator, "estimator", None)
    return type(estimator).__name__ + ("" if inner is None else f"({_name(inner)})")


def scorer_for(estimator: Any, scoring: Any) -> StreamScorer | OwnScorer:
    """Return a scorer of streams: the one asked for, or the estimator's own where ``scoring`` is None."""
    if scoring is not None:
        return StreamScorer(scoring, None)
    own = type(estimator).score
    if own is ClassifierMixin.score:
        return StreamScorer("accuracy", None)
    return StreamScorer("r2", None) if own is RegressorMixin.score else OwnScorer()


def scored(
    scorer: StreamScorer | OwnScorer, estimator: Any, pool: StreamPool, seed: int, max_samples: int | None = None
) -> Any:
    """Return the score over all rows of a pool, or over the first ``max_samples`` of each of its streams."""
    answers: Any = scorer.answers(estimator, pool)
    for position, batch in pool_batches(pool, seed, max_samples, None if max_samples else _BOUND):
        answers.add(position, batch)
    return scorer.score(answers)


def _joined_weights(parts: list[tuple[int, Any]]) -> np.ndarray | None:
    """Join numbers of rows and their weights, of which some may be None."""
    if all(weight is None for _, weight in parts):
        return None
    return np.concatenate([np.ones(n) if weight is None else weight for n, weight in parts])
