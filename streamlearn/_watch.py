"""Watching training: scores on what is held out, or on each batch before it is trained on, and when to stop."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from sklearn.base import is_classifier, is_regressor

from ._arrays import ArrayStream
from ._batch import Batch
from ._feature_names import feature_names_of
from ._fit_source import as_pool, is_pool
from ._outputs import pool_batches, refuse_endless, stream_name
from ._pool import StreamPool
from ._progress import copied
from ._run import Run
from ._scoring import OwnScorer, StreamScorer, scorer_for
from ._state import pack, unpack
from ._streamer import Streamer, short_repr
from ._training import Trainer

COLUMNS = ("batch", "n_samples", "seconds", "score", "n_scored", "stream_counts")
OTHERS = "(others)"
_USUAL_EVERY = 100
_STREAMS_SHOWN = 100
_BOUND = "Set validation_max_samples, the most samples of each validation stream that are scored"


class Test(Protocol):
    """What gives the scores."""

    def before(self, trainer: Trainer, batch: Batch, counts: Any) -> None:
        """Take note of a batch that will be trained next."""

    def state_dict(self) -> Any:
        """Return what was kept for the next score, JSON-able."""

    def load_state_dict(self, state: Any, estimator: Any) -> None:
        """Take back what ``state_dict`` gave."""

    def score(self, trainer: Trainer) -> tuple[Any, int]:
        """Return a score, and the number of rows that it is of; without rows there is none."""


class HeldOut:
    """Scores an estimator on streams that are held out: the same rows each time.

    Parameters
    ----------
    pool : StreamPool
    scorer : StreamScorer or OwnScorer
    max_samples : int or None
        The most rows of each stream.
    seed : int
        For streams that take one.
    """

    def __init__(self, pool: StreamPool, scorer: Any, max_samples: int | None, seed: int) -> None:
        if max_samples is None:
            refuse_endless(pool, _BOUND)
        self._pool = pool
        self._scorer = scorer
        self._max_samples = max_samples
        self._seed = seed

    def before(self, trainer: Trainer, batch: Batch, counts: Any) -> None:
        pass

    def state_dict(self) -> Any:
        return None

    def load_state_dict(self, state: Any, estimator: Any) -> None:
        pass

    def score(self, trainer: Trainer) -> tuple[Any, int]:
        answers = self._scorer.answers(trainer.estimator, self._pool)
        bound = None if self._max_samples else _BOUND
        for position, batch in pool_batches(self._pool, self._seed, self._max_samples, bound):
            answers.add(position, _as_trained(trainer, batch))
        return self._scorer.score(answers), answers.n


class Prequential:
    """Scores the predictions of each batch that were made before it was trained on.

    Parameters
    ----------
    pool : StreamPool
        Which is trained on.
    scorer : StreamScorer

    Attributes
    ----------
    answers : Answers or None
        Predictions since the last score.
    """

    def __init__(self, pool: StreamPool, scorer: Any) -> None:
        self._pool = pool
        self._scorer = scorer
        self.answers: Any = None

    def before(self, trainer: Trainer, batch: Batch, counts: Any) -> None:
        if not trainer.can_predict:
            return
        if self.answers is None:
            self.answers = self._scorer.answers(trainer.estimator, self._pool)
        self.answers.add(trainer.position_of(counts, 0), _as_trained(trainer, batch))

    def state_dict(self) -> Any:
        return None if self.answers is None else self.answers.state_dict()

    def load_state_dict(self, state: Any, estimator: Any) -> None:
        self.answers = None
        if state is not None:
            self.answers = self._scorer.answers(estimator, self._pool)
            self.answers.load_state_dict(state)

    def score(self, trainer: Trainer) -> tuple[Any, int]:
        answers, self.answers = self.answers, None
        return (math.nan, 0) if answers is None else (self._scorer.score(answers), answers.n)


def _check_like(held_out: StreamPool, pool: StreamPool, estimator: Any) -> None:
    """Refuse arrays to score on that cannot be, where the streams to train on tell: else it is found out when they are read."""
    train = _parts_of(pool[0])
    for position, stream in enumerate(held_out):
        test = _parts_of(stream)
        if train is None or test is None:
            continue
        if test["X"] != train["X"]:
            raise ValueError(
                f"validation has rows of shape {test['X']} in {stream_name(held_out, position)}, but those to train on have "
                f"shape {train['X']}: give it the same features."
            )
        if "y" in train and "y" not in test and (is_classifier(estimator) or is_regressor(estimator)):
            raise ValueError(
                f"validation has no y in {stream_name(held_out, position)}, which scores need: give it the targets, "
                "from_arrays(X, y)."
            )


def _parts_of(stream: Streamer) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of rows of an array stream by the names of its parts; None: it is none."""
    if not isinstance(stream, ArrayStream):
        return None
    return {name: tuple(getattr(values, "shape", (0,))[1:]) for name, values in stream._table.columns.items()}


def _as_trained(trainer: Trainer, batch: Batch) -> Batch:
    """Return a batch whose X is what the estimator gets in training."""
    return Batch(trainer.as_array(batch.X), batch.y, batch.sample_weight, batch.n)


class Watch:
    """Scores an estimator every so many batches, and stops its training when the score no longer improves.

    Parameters
    ----------
    test : HeldOut or Prequential
    names : sequence of str
        Of the streams.
    every : int or None
        Batches from score to score; None: as many as a pass has, where that is known, at most 100.
    n_iter_no_change : int or None
        Scores without an improvement by ``tol`` after which training stops, with the best estimator kept; None: never.
    tol : float
    verbose : int

    Attributes
    ----------
    history : dict of lists
        A column each, ready for a DataFrame.
    best_score : float
    best_estimator : object or None
        Copy of the estimator when it had the best score; only where training may stop.
    n_waits : int
        Scores since the last improvement.
    seconds : float
        Time of the parts of the run before this one.
    """

    def __init__(
        self,
        test: Test,
        names: Sequence[str],
        *,
        every: int | None = None,
        n_iter_no_change: int | None = None,
        tol: float = 1e-3,
        verbose: int = 0,
    ) -> None:
        self.test = test
        self.every = every
        self.history: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self.best_score = -math.inf
        self.best_estimator: Any = None
        self.n_waits = 0
        self.seconds = 0.0
        self.counts = np.zeros(max(len(names), 1), np.int64)  # of each stream, when the last score was taken
        self._names = names
        self._patience = n_iter_no_change
        self._tol = tol
        self._verbose = verbose
        self._began = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the history and where the stopping rule stands; the best estimator is in :meth:`objects`."""
        return {
            "history": pack(self.history),
            "best_score": pack(self.best_score),
            "n_waits": self.n_waits,
            "seconds": self.seconds + time.monotonic() - self._began,
            "counts": pack(self.counts),
            "every": self.every,
            "test": self.test.state_dict(),
        }

    def objects(self) -> dict[str, Any]:
        return {"best": self.best_estimator}

    def load_state_dict(self, state: dict[str, Any], objects: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` and :meth:`objects` gave."""
        self.history, self.best_score = unpack(state["history"]), unpack(state["best_score"])
        self.n_waits, self.seconds, self.every = state["n_waits"], state["seconds"], state["every"]
        self.counts = unpack(state["counts"])
        self.test.load_state_dict(state["test"], objects["estimator"])
        self.best_estimator = objects["best"]
        self._began = time.monotonic()

    def before(self, run: Run, batch: Batch, counts: Any) -> None:
        if self.every is None:
            self.every = min(run.batches_of_a_pass or _USUAL_EVERY, _USUAL_EVERY)
        self.test.before(run.trainer, batch, counts)

    def after(self, run: Run, batch: Batch, counts: Any) -> bool:
        n_batches = run.trainer.n_batches
        # a batch without weight is not trained on, and not counted
        if not n_batches or n_batches % (self.every or 1) or n_batches == self._last_batch():
            return False
        return self._take(run.trainer)

    def end(self, run: Run) -> None:
        """Take the last score, if training ended between two of them."""
        if run.trainer.n_batches and run.trainer.n_batches != self._last_batch():
            self._take(run.trainer)

    def _last_batch(self) -> int:
        return self.history["batch"][-1] if self.history["batch"] else 0

    def _take(self, trainer: Trainer) -> bool:
        """Score the estimator; return whether training should stop."""
        try:
            score, n_scored = self.test.score(trainer)
        except Exception as error:
            error.add_note(f"raised by the validation after batch {trainer.n_batches}")
            raise
        if not n_scored:  # nothing was predicted before the first batch was trained on
            return False
        if not isinstance(score, numbers.Number):
            raise ValueError(f"scoring must give a number for validation, got {score!r}.")
        row = (
            trainer.n_batches,
            trainer.n_samples,
            self.seconds + time.monotonic() - self._began,
            float(score),  # type: ignore[arg-type]
            n_scored,
            self._counts_since(trainer.counts),
        )
        for name, value in zip(COLUMNS, row, strict=True):
            self.history[name].append(value)
        stop = self._note(float(score), trainer)  # type: ignore[arg-type]
        if self._verbose:
            print(
                f"[StreamingEstimator] batch {trainer.n_batches}, validation score {score:.6g}, best {self.best_score:.6g}",
                flush=True,
            )
        return stop

    def _note(self, score: float, trainer: Trainer) -> bool:
        """Compare a score with the best one, as scikit-learn's own early stopping does."""
        self.n_waits = 0 if score >= self.best_score + self._tol else self.n_waits + 1
        if score > self.best_score:
            self.best_score = score
            if self._patience is not None:
                self.best_estimator = copied(trainer.estimator)
        return self._patience is not None and self.n_waits >= self._patience

    def _counts_since(self, counts: np.ndarray) -> dict[str, int]:
        """Samples of each stream since the last score, by name.

        A column for each stream would not do for 100 000 of them, nor an array of that length in each row. A row is as long as
        the number of streams that gave samples since the last one, and at most 101: the streams that gave the most, and all
        others in one sum. Rows add up to ``n_samples``.
        """
        since = counts - self.counts
        self.counts = counts.copy()
        there = np.flatnonzero(since)
        if len(there) > _STREAMS_SHOWN:
            there = np.sort(there[np.argsort(-since[there], kind="stable")[:_STREAMS_SHOWN]])
        row: dict[str, int] = {}
        for i, n in zip(there.tolist(), since[there].tolist(), strict=True):
            row[self._names[i]] = row.get(self._names[i], 0) + n  # streams may share a name
        rest = int(since.sum()) - sum(row.values())
        if rest:
            row[OTHERS] = row.get(OTHERS, 0) + rest
        return row


def check_validation(owner: Any) -> None:
    """Check the parameters of an estimator that are about validation, before any training."""
    validation = owner.validation
    if validation is None:
        if owner.n_iter_no_change is not None:
            raise ValueError(
                f"n_iter_no_change={owner.n_iter_no_change!r} stops training by its validation score, and validation is None: "
                "pass validation=, a pool, a fraction or 'prequential'."
            )
        return
    if not isinstance(validation, (str, numbers.Real, Streamer)):
        if not is_pool(validation):
            raise TypeError(
                f"validation must be a pool, a list of Streamers, a fraction or 'prequential', got "
                f"{short_repr(validation)}: make a pool of arrays with from_arrays(X, y)."
            )
        if not len(validation):
            raise ValueError("validation is an empty pool: it has no stream to score.")
    scorer = scorer_of(owner)
    if isinstance(scorer, StreamScorer):
        scorer.responses(owner.estimator)


def scorer_of(owner: Any) -> StreamScorer | OwnScorer:
    """Return what scores the validation of an estimator."""
    name = type(owner.estimator).__name__
    if owner.scoring is None and not hasattr(owner.estimator, "score"):
        raise ValueError(f"scoring is None, and {name} has no score for validation: pass scoring=.")
    scorer = scorer_for(owner.estimator, owner.scoring)
    if isinstance(scorer, OwnScorer) and isinstance(owner.validation, str):
        raise ValueError(
            f"validation='prequential' keeps predictions, from which the own score of {name} cannot be computed: pass scoring=."
        )
    return scorer


def watch_of(owner: Any, pool: StreamPool, held_out: StreamPool | None, seed: int) -> Watch | None:
    """Return what watches the training of an estimator on a pool, or None."""
    if owner.validation is None:
        return None
    test: Test
    if isinstance(owner.validation, str):
        test = Prequential(pool, scorer_of(owner))
    else:
        if held_out is None:
            held_out = as_pool([owner.validation] if isinstance(owner.validation, Streamer) else owner.validation)
        feature_names_of(held_out, feature_names_of(pool))
        _check_like(held_out, pool, owner.estimator)
        test = HeldOut(held_out, scorer_of(owner), owner.validation_max_samples, seed)
    return Watch(
        test,
        pool.names,
        every=owner.validation_every,
        n_iter_no_change=owner.n_iter_no_change,
        tol=owner.tol,
        verbose=owner.verbose,
    )
