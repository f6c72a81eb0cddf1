"""One candidate of a search on one split of the data: trained on from where it stands, and scored."""

from __future__ import annotations

import inspect
import numbers
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from ._paused import train_on
from ._pool import StreamPool
from ._rows import take_rows
from ._scoring import StreamScorer


@dataclass
class Data:
    """What a search trains and scores on. Pools are kept as they are, so that a worker is sent what describes them."""

    X: Any
    y: Any = None
    sample_weight: Any = None

    def rows(self, chosen: np.ndarray) -> Data:
        """Return some of the rows, or of the streams with their names and weights."""
        X = self.X[chosen] if isinstance(self.X, StreamPool) else take_rows(self.X, chosen)
        y, weight = (None if part is None else take_rows(part, chosen) for part in (self.y, self.sample_weight))
        return Data(X, y, weight)

    def fit_params(self) -> dict[str, Any]:
        return {} if self.sample_weight is None else {"sample_weight": self.sample_weight}


@dataclass
class Outcome:
    """What came of a candidate on one split.

    Attributes
    ----------
    scores : dict
        "test" and perhaps "train".
    n_batches : int
        ``partial_fit`` calls so far, and not only of this step.
    paused : bytes or None
        What to go on with; None: there is no more to train, or nothing to train on with.
    error : str or None
        Last line of what was raised.
    trace : str
    """

    scores: dict[str, float]
    n_batches: int = 0
    fit_time: float = 0.0
    score_time: float = 0.0
    paused: bytes | None = field(default=None, repr=False)
    error: str | None = None
    trace: str = ""


class Scorer:
    """A score for pools and arrays alike.

    Parameters
    ----------
    scoring : str, callable or None
        None: the estimator's own score.

    Raises
    ------
    ValueError
        If it names several scores, or none that there is.
    """

    def __init__(self, scoring: Any) -> None:
        own = scoring is None or (callable(scoring) and not hasattr(scoring, "_score_func"))
        self._scorer = scoring if own else StreamScorer(scoring, None)
        if isinstance(self._scorer, StreamScorer) and set(self._scorer._scorers) != {""}:
            raise ValueError(f"scoring must be one score, by which candidates are chosen, got {scoring!r}.")

    def __call__(self, model: Any, data: Data) -> float:
        """Score a fitted estimator; rows count by their weight, if the score takes weights."""
        arguments = (data.X,) if data.y is None else (data.X, data.y)
        weights = data.fit_params() if data.sample_weight is not None and self._takes_weights(model) else {}
        if self._scorer is None:
            score = model.score(*arguments, **weights)
        else:
            score = self._scorer(model, *arguments, **weights)
        if not isinstance(score, numbers.Number):
            raise ValueError(f"scoring must give a number, got {score!r}.")
        return float(score)  # type: ignore[arg-type]

    def _takes_weights(self, model: Any) -> bool:
        function = model.estimator_.score if self._scorer is None else self._scorer
        if isinstance(function, StreamScorer):
            function = getattr(function._scorers[""], "_score_func", function._scorers[""])
        return "sample_weight" in inspect.signature(function).parameters


def made(estimator: Any, params: dict[str, Any], seed: int) -> Any:
    """Return an estimator with the parameters of a candidate, and an int for its seed: ``seed``, if it has none of its own."""
    model = clone(clone(estimator).set_params(**params))  # what is among the parameters is other candidates' as well
    state = model.random_state
    if not isinstance(
        state, numbers.Integral
    ):  # only with an int are random streams that are held out the same each time
        model.set_params(random_state=seed if state is None else int(check_random_state(state).randint(2**31 - 1)))
    return model


@dataclass
class Work:
    """What all tasks of a search share.

    Parameters
    ----------
    estimator : StreamingEstimator
    data : Data
    splits : list of (train, test)
    scorer : Scorer
    seed : int
        For candidates that have none of their own.
    error_score : "raise" or float
    train_score : bool
    """

    estimator: Any
    data: Data
    splits: list[tuple[np.ndarray, np.ndarray]]
    scorer: Scorer
    seed: int
    error_score: Any
    train_score: bool

    def __sizeof__(self) -> int:
        # Dask asks for it: it sends what is large to each worker once, all else with each task
        return 2**20


def advance(work: Work, split: int, params: dict[str, Any], paused: bytes | None, keep: bool) -> Outcome:
    """Train a candidate on until it has had its ``max_batches``, and score it on what is held out.

    Parameters
    ----------
    work : Work
    split : int
    params : dict
        Of the candidate, with ``max_batches``.
    paused : bytes or None
        What the step before left; None: begin.
    keep : bool
        Whether there may be another step.
    """
    train, test = (work.data.rows(part) for part in work.splits[split])
    outcome = Outcome({"test": work.error_score, **({"train": work.error_score} if work.train_score else {})})
    began = time.perf_counter()
    try:
        try:
            model = made(work.estimator, params, work.seed)
            outcome.paused = train_on(model, train.X, train.y, train.fit_params(), paused, keep)
        finally:
            outcome.fit_time = time.perf_counter() - began
        outcome.n_batches = model.n_batches_
        began = time.perf_counter()
        try:
            scores = {"test": work.scorer(model, test)}
            if work.train_score:
                scores["train"] = work.scorer(model, train)
            outcome.scores = scores
        finally:
            outcome.score_time = time.perf_counter() - began
    except Exception as error:
        error.add_note(f"raised by the candidate {params!r} on split {split}")
        if work.error_score == "raise":
            raise
        outcome.error = traceback.format_exception_only(error)[0].strip()
        outcome.trace = traceback.format_exc()
    return outcome
