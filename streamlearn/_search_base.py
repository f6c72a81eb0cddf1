"""What searches share in which a candidate goes on instead of starting again."""

from __future__ import annotations

import itertools
import math
import numbers
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, check_random_state, get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from ._candidates import Data, Outcome, Scorer, Work, advance, made
from ._checkpoint_file import FORMATS, check_path
from ._estimator import StreamingEstimator
from ._fit_source import as_pool, is_pool
from ._passes import close
from ._random import fresh_seed, mix, small_seed
from ._rungs import Rung
from ._search_checkpoint import REFIT, Journal, check_same_splits, fit_best, journal_of, saved_search
from ._search_table import Row, best_index, best_of, columns
from ._sklearn import Interval, StrOptions
from ._streamer import Streamer

COUNT = Interval(numbers.Integral, 1, None, closed="left")


def _best_has(method: str) -> Callable[[Any], bool]:
    """Condition of ``available_if``: the best estimator has the method, or before ``fit`` the one that is searched."""

    def check(self: ContinuingSearch) -> bool:
        if not self.refit:
            raise AttributeError(
                f"refit is False, and {method} is there only where the best candidate was fitted to all data: pass refit=True, "
                "or fit a clone of the estimator with best_params_."
            )
        getattr(self.__dict__.get("best_estimator_", self.estimator), method)
        return True

    return check


class ContinuingSearch(MetaEstimatorMixin, BaseEstimator):
    """What both searches share: candidates trained rung by rung, each of them on from where it stands.

    With a checkpoint, a search that was stopped goes on as well: see :mod:`streamlearn._search_checkpoint`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [StreamingEstimator],
        "param_distributions": [dict, list],
        "n_candidates": [COUNT, None],
        "factor": [Interval(numbers.Real, 1, None, closed="neither")],
        "max_resources": [COUNT, StrOptions({"auto"})],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "cv": ["cv_object"],
        "refit": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_format": [StrOptions(set(FORMATS))],
        "resume": ["boolean"],
        "random_state": ["random_state"],
        "error_score": [StrOptions({"raise"}), numbers.Real],
        "return_train_score": ["boolean"],
        "verbose": ["verbose"],
    }
    estimator: StreamingEstimator
    param_distributions: Any
    n_candidates: int | None
    factor: float
    min_resources: Any
    max_resources: Any
    scoring: Any
    cv: Any
    refit: bool
    n_jobs: int | None
    checkpoint: Any
    checkpoint_format: str
    resume: bool
    random_state: Any
    error_score: Any
    return_train_score: bool
    verbose: int

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None) -> Any:
        """Search, and fit the best candidate to all data.

        Parameters
        ----------
        X : StreamPool, list of Streamers, or array-like of shape (n_samples, n_features)
            Whole streams are held out of a pool, rows of arrays.
        y : array-like, optional
            Targets; beside a pool a label for each stream, which serves splitters only.
        groups : array-like, optional
            A group for each stream or row, for splitters such as GroupKFold.
        sample_weight : array-like of shape (n_samples,), optional
            With arrays.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            Before any training, if a parameter is not usable, or the checkpoint is damaged or that of another search; with
            ``error_score="raise"`` also what a candidate raises; and if no candidate could be trained and scored.
        """
        for name in ("cv_results_", "best_estimator_", "feature_names_in_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        self._validate_params()
        check_path(self, beside=[REFIT])  # without a refit as well, as that of an older search goes
        scorer = self._scorer()
        data = self._data(X, y, groups, sample_weight)
        saved = saved_search(self)
        seed = self._seed() if saved is None else saved.seed
        params, brackets = self._plan(self._most_batches(), seed)
        candidates = [self._checked_candidate(candidate) for candidate in params]
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(data.X, y, groups))
        if not splits:
            raise ValueError(f"cv={self.cv!r} gives no split.")
        if self.checkpoint is not None:
            check_same_splits(self, splits, list(cv.split(data.X, y, groups)))
        self.n_splits_ = len(splits)
        small = small_seed(seed)
        work = Work(self.estimator, data, splits, scorer, small, self.error_score, self.return_train_score)
        journal = journal_of(self, candidates, params, work, seed, saved)
        if saved is None:
            journal.begin()
        try:
            rows = self._search(params, brackets, work, journal)
        finally:  # what ended just now, before an interrupt
            journal.save()
        self.cv_results_ = columns(rows, self.return_train_score, self._has_brackets)
        self._note(rows)
        self.best_index_ = best_index(rows)
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        self.scorer_ = scorer
        if self.refit:
            began = time.perf_counter()
            best = made(self.estimator, self.best_params_, small)
            self.best_estimator_ = fit_best(self, best, data)
            self.refit_time_ = time.perf_counter() - began
            if hasattr(best, "feature_names_in_"):
                self.feature_names_in_ = best.feature_names_in_
        return self

    # -- before training ----------------------------------------------------------------------------------------------

    def _scorer(self) -> Scorer:
        if self.scoring is None:
            check_scoring(self.estimator)
        return Scorer(self.scoring)

    def _data(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> Data:
        if X is None:
            raise ValueError("X is None: a search holds out streams of a pool, or rows of arrays; pass them as X.")
        if isinstance(X, Streamer):
            raise TypeError(
                f"X is one stream, {X!r}, of which none can be held out: pass a pool or a list of Streamers."
            )
        if is_pool(X):
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight goes with arrays; beside a pool, let the streams yield it in their batches."
                )
            X = as_pool(X)
        check_consistent_length(X, y, groups, sample_weight)
        return Data(*indexable(X, y, sample_weight))

    def _most_batches(self) -> int:
        if self.max_resources != "auto":
            return int(self.max_resources)
        if self.estimator.max_batches is None:
            raise ValueError(
                "max_resources='auto' means the max_batches of the estimator, which is None: pass max_resources, the most "
                "partial_fit calls that a candidate gets."
            )
        return int(self.estimator.max_batches)

    def _seed(self) -> int:
        if self.random_state is None:
            return fresh_seed()
        return mix(*check_random_state(self.random_state).randint(0, 2**31 - 1, size=2).tolist())

    def _drawing_seed(self, seed: int) -> int:
        """Return what draws the candidates: an int as scikit-learn takes it, else a seed that a resumed search has as well."""
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return small_seed(mix(seed, 1))

    def _plan(self, most: int, seed: int) -> tuple[list[dict[str, Any]], list[list[Rung]]]:
        """Return the candidates, and the rungs of each bracket; brackets take the candidates in turn."""
        raise NotImplementedError

    def _checked_candidate(self, params: dict[str, Any]) -> StreamingEstimator:
        """Return a candidate; names that are none are refused, a value that is not usable is the failure of its candidate."""
        if "max_batches" in params:
            raise ValueError(
                "param_distributions has max_batches, which the search itself sets: leave it out, and pass max_resources."
            )
        try:
            model = made(self.estimator, params, 0)
        except Exception as error:
            error.add_note(f"raised by setting the candidate {params!r} of param_distributions")
            raise
        if model.checkpoint is not None:
            raise ValueError(
                f"checkpoint={model.checkpoint!r} of the estimator is one file, which all candidates would write: leave it None, "
                "and pass checkpoint to the search."
            )
        if model.resume:
            raise ValueError(
                f"resume={model.resume!r} of the estimator goes on from a checkpoint, which no candidate has: leave it False, "
                "and pass checkpoint and resume to the search."
            )
        return model

    # -- training -----------------------------------------------------------------------------------------------------

    def _search(
        self, params: list[dict[str, Any]], brackets: list[list[Rung]], work: Work, journal: Journal
    ) -> list[Row]:
        """Train the candidates; a rung of every bracket at a time, so that workers wait for each other seldom."""
        rows: list[Row] = []
        alive: list[list[Row]] = []
        numbered = iter(enumerate(params))
        for b, rungs in enumerate(brackets):
            fresh = itertools.islice(numbered, rungs[0].n_candidates)
            alive.append([Row(c, given, b, 0, rungs[0].n_batches, [None] * len(work.splits)) for c, given in fresh])
        with _parallel(self.n_jobs, as_they_come=journal.keeps) as parallel:
            for iteration in range(max(map(len, brackets))):
                current = [row for bracket in alive for row in bracket]
                if not current:
                    break
                if self.verbose:
                    self._say(iteration, alive)
                tasks = [
                    (row, s)
                    for row in current
                    for s, last in enumerate(row.outcomes)
                    if last is None or last.paused is not None
                ]
                n_rungs = [len(rungs) for rungs in brackets]
                outcomes = _advanced(parallel, work, tasks, n_rungs, journal)
                for (row, s), outcome in zip(tasks, outcomes, strict=True):
                    row.outcomes[s] = outcome
                rows += current
                self._report(outcomes, current)
                for b, rungs in enumerate(brackets):
                    if iteration + 1 == len(rungs):
                        alive[b] = []
                    elif alive[b]:
                        rung = rungs[iteration + 1]
                        chosen = best_of(alive[b], rung.n_candidates)
                        alive[b] = [Row.after(row, iteration + 1, rung.n_batches) for row in chosen]
                for row in current:
                    row.forget()
                journal.end_iteration({row.candidate for bracket in alive for row in bracket})
        return rows

    def _say(self, iteration: int, alive: list[list[Row]]) -> None:
        for b, rows in enumerate(alive):
            if rows:
                bracket = f", bracket {b}" if self._has_brackets else ""
                where = f"[{type(self).__name__}] iteration {iteration}{bracket}"
                what = f"{len(rows)} candidates, {self.n_splits_} splits, up to {rows[0].n_batches} batches each"
                print(f"{where}: {what}", flush=True)

    def _report(self, outcomes: list[Outcome], current: list[Row]) -> None:
        """Warn of what has failed, or raise if nothing can go on."""
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        if not failed and not all(math.isnan(row.mean) for row in current):
            return
        errors = Counter(outcome.error for outcome in failed)
        shown = "; ".join(f"{n} x {error}" for error, n in errors.most_common(3))
        text = f"{len(failed)} of {len(outcomes)} fits and scores of candidates failed: {shown}."
        if current[0].iteration == 0 and (len(failed) == len(outcomes) or all(math.isnan(row.mean) for row in current)):
            if not failed:
                raise ValueError(
                    f"no candidate can be chosen: scoring={self.scoring!r} gives NaN for each of them. On a pool, "
                    "stream_scorer(...) makes a scorer of scikit-learn's names."
                )
            raise ValueError(
                f"no candidate can be chosen, as each has a score of NaN or failed. {text} Pass error_score='raise' to see the "
                f"first error where it comes from. The first was:\n{failed[0].trace}"
            )
        if failed:
            warnings.warn(
                f"{text} Their score is error_score={self.error_score!r}. The first was:\n{failed[0].trace}",
                FitFailedWarning,
                stacklevel=3,
            )

    _has_brackets = False

    def _note(self, rows: list[Row]) -> None:
        """Set what there is to say of the search beside its results."""
        trained: dict[tuple[int, int], int] = {}
        rungs: dict[int, dict[int, list[Row]]] = {}
        for row in rows:
            rungs.setdefault(row.bracket, {}).setdefault(row.iteration, []).append(row)
            for s, outcome in enumerate(row.outcomes):
                trained[row.candidate, s] = max(trained.get((row.candidate, s), 0), getattr(outcome, "n_batches", 0))
        self.n_batches_ = sum(trained.values())
        self.n_iterations_ = 1 + max(row.iteration for row in rows)
        n_candidates = [[len(on) for on in bracket.values()] for bracket in rungs.values()]
        n_resources = [[on[0].n_batches for on in bracket.values()] for bracket in rungs.values()]
        self.n_candidates_ = n_candidates if self._has_brackets else n_candidates[0]
        self.n_resources_ = n_resources if self._has_brackets else n_resources[0]
        self._warn_of_idle_rungs(rows, max(trained.values()), n_resources)
        self.min_resources_ = min(row.n_batches for row in rows)
        self.max_resources_ = max(row.n_batches for row in rows)

    def _warn_of_idle_rungs(self, rows: list[Row], most: int, n_resources: list[list[int]]) -> None:
        """Warn if the streams had ended before the last rung of a bracket began."""
        if self.estimator.n_iter_no_change is not None or any(
            o is not None and o.error for row in rows for o in row.outcomes
        ):
            return
        if any(len(rungs) > 1 and most <= rungs[-2] for rungs in n_resources):
            warnings.warn(
                f"no candidate was trained on more than {most} batches, although max_resources={self.max_resources!r}: its "
                "streams end there, or its loss no longer falls, and the last iterations only chose among the same models. "
                "Raise n_passes of the estimator, or pass a smaller max_resources.",
                UserWarning,
                stacklevel=4,
            )

    # -- the best candidate -------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Score the best estimator by ``scoring``, or as it scores itself.

        Parameters
        ----------
        X : StreamPool, list of Streamers, or array-like
        y : array-like, optional
            Targets, beside arrays.
        sample_weight : array-like, optional
            Beside arrays.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        _best_has("score")(self)
        return self.scorer_(self.best_estimator_, Data(X, y, sample_weight))

    @available_if(_best_has("predict"))
    def predict(self, X: Any) -> Any:
        """Predict with the best estimator; ``X`` and the result as in :meth:`StreamingEstimator.predict`."""
        return self._best().predict(X)

    @available_if(_best_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities with the best estimator."""
        return self._best().predict_proba(X)

    @available_if(_best_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Predict logarithms of probabilities with the best estimator."""
        return self._best().predict_log_proba(X)

    @available_if(_best_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """Decision values of the best estimator."""
        return self._best().decision_function(X)

    @available_if(_best_has("score_samples"))
    def score_samples(self, X: Any) -> Any:
        """Score each sample with the best estimator."""
        return self._best().score_samples(X)

    @available_if(_best_has("transform"))
    def transform(self, X: Any) -> Any:
        """Transform with the best estimator."""
        return self._best().transform(X)

    @available_if(_best_has("transform"))
    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Search, then transform ``X`` with the best estimator."""
        return self.fit(X, y, **fit_params).transform(X)

    @available_if(_best_has("inverse_transform"))
    def inverse_transform(self, X: Any) -> Any:
        """Undo :meth:`transform`."""
        return self._best().inverse_transform(X)

    def _best(self) -> StreamingEstimator:
        check_is_fitted(self)
        return self.best_estimator_

    @property
    def classes_(self) -> Any:
        """Labels, where the best estimator is a classifier."""
        return self._of_best("classes_")

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return self._of_best("n_features_in_")

    def _of_best(self, name: str) -> Any:
        if "best_estimator_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r} before fit with refit=True")
        return getattr(self.best_estimator_, name)

    def __sklearn_is_fitted__(self) -> bool:
        return "cv_results_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags, own = get_tags(self.estimator), super().__sklearn_tags__()
        tags.requires_fit = own.requires_fit
        return tags


def _parallel(n_jobs: int | None, as_they_come: bool) -> Parallel:
    """Return what runs jobs, and, where its backend can, gives their results as they come."""
    if as_they_come:
        for return_as in ("generator_unordered", "generator"):
            with suppress(ValueError):  # of a joblib before 1.4, and of backends that give them all at once
                return Parallel(n_jobs=n_jobs, return_as=return_as)
    return Parallel(n_jobs=n_jobs)


def _advanced(
    parallel: Parallel, work: Work, tasks: list[tuple[Row, int]], n_rungs: list[int], journal: Journal
) -> list[Outcome]:
    """Return what comes of candidates on splits; those that are done are not trained again."""
    jobs = {(row.candidate, row.iteration, s): (row, s) for row, s in tasks}
    outcomes = {job: outcome for job in jobs if (outcome := journal.outcome(job)) is not None}
    left = [(job, row, s, row.outcomes[s]) for job, (row, s) in jobs.items() if job not in outcomes]
    results = parallel(
        delayed(_numbered)(
            job,
            work,
            s,
            {**row.params, "max_batches": row.n_batches},
            # nothing was kept of a candidate that did not go on, until one that had failed before did not: it begins again
            None if last is None else last.paused or None,
            row.iteration + 1 < n_rungs[row.bracket],
        )
        for job, row, s, last in left
    )
    try:
        for job, outcome in results:
            outcomes[job] = outcome
            journal.note(job, outcome)
    except BaseException:
        with warnings.catch_warnings():  # joblib's, of tasks that are cancelled, is no news beside an error
            warnings.simplefilter("ignore")
            close(results)
        raise
    return [outcomes[job] for job in jobs]


def _numbered(job: tuple[int, int, int], *task: Any) -> tuple[tuple[int, int, int], Outcome]:
    return job, advance(*task)
