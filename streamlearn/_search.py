"""The searches: successive halving and Hyperband."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import ParameterGrid, ParameterSampler

from ._rungs import Rung, halving, hyperband
from ._search_base import COUNT, ContinuingSearch
from ._sklearn import StrOptions
from ._streamer import short_repr


class SuccessiveHalvingSearchCV(ContinuingSearch):
    """Search over candidates that go on: the best third, trained on, for three times the batches, and so forth.

    All candidates are trained for a few batches and scored on what is held out; the best ``1 / factor`` of them go on, each
    from where it stands, until they have had ``factor`` times as many. Nothing is trained twice: for the same rungs
    scikit-learn's ``HalvingGridSearchCV(resource="max_batches")`` finds the same scores in 9/7 of the ``partial_fit`` calls at
    factor 3.

    Parameters
    ----------
    estimator : StreamingEstimator
        What is searched. Its own parameters (``lam``, ``n_active``) and those of the estimator inside (``estimator__alpha``) are
        searched together.
    param_distributions : dict or list of dicts
        Values of each parameter: lists, or, with ``n_candidates``, distributions with a method ``rvs`` as well.
    n_candidates : int, optional
        Number of candidates that are drawn at random. None (default): each combination of the listed values.
    factor : float, default=3
        The share of candidates that go on is ``1 / factor``, and they get ``factor`` times the batches.
    min_resources : int, "exhaust" or "smallest", default="exhaust"
        Batches that each candidate gets at first. "smallest": one; "exhaust": so many that the last candidates get about
        ``max_resources``.
    max_resources : int or "auto", default="auto"
        The most batches (``partial_fit`` calls) of a candidate. "auto": the ``max_batches`` of the estimator.
    scoring : str, callable or None, default=None
        A score, for pools and arrays: a name or a scorer of scikit-learn, or a :func:`stream_scorer`, which can bound endless
        streams. None: the estimator's own score.
    cv : int, splitter, iterable or None, default=None
        How streams of a pool, or rows of arrays, are held out, as in scikit-learn.
    refit : bool, default=True
        Whether to fit the best candidate to all data, for as many batches as it had.
    n_jobs : int, optional
        Number of processes, by joblib, or as ``joblib.parallel_config`` says; results are the same for any.
    checkpoint : str or path, optional
        A file that holds everything of a search under way: what came of each candidate on each split, and what those that are
        left go on with. It is replaced as a whole, after each iteration and as results come in (but not so often that writing
        takes more than about a tenth of the time), and when an interrupt (Ctrl-C) ends the search; the one before it is kept
        beside it, with ``.previous`` behind its name. The refit has a checkpoint of its own, with ``.refit`` behind the name,
        every ``checkpoint_every`` batches of the estimator.
    checkpoint_format : {"skops", "pickle"}, default="skops"
        How estimators are written: by skops, which is safe to read (extra ``checkpoint``), or by pickle, which takes any
        estimator and may run any code when a file is read that was tampered with. With pickle a search may go on that began
        with skops, not the other way round.
    resume : bool, default=False
        Whether ``fit`` goes on from the checkpoint, if there is one: nothing that is in it is trained again, and results and best
        estimator are those of a search without the interruption. Other data (as far as an estimator with ``resume`` tells it),
        candidates, splits and parameters are refused, except ``n_jobs``, ``refit``, ``error_score`` and ``verbose``. What had
        failed is tried again. A checkpoint belongs to one search at a time: not to those of a cross-validation.
    random_state : int, RandomState instance or None, default=None
        Draws the candidates, and seeds estimators whose ``random_state`` is None.
    error_score : "raise" or float, default=nan
        Score of a candidate that fails; one with a score of NaN does not go on.
    return_train_score : bool, default=False
        Whether to score on the training data as well.
    verbose : int, default=0
        1: a line for each iteration.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As of scikit-learn's halving searches: a row for each candidate of each iteration, with ``iter``, ``n_resources``,
        ``params`` (``max_batches`` among them), scores for each split, and times, which are those of the iteration alone.
    best_estimator_ : StreamingEstimator
        The best candidate, fitted to all data; with ``refit``.
    best_params_ : dict
    best_score_ : float
        Its mean score on the splits.
    best_index_ : int
        Its row. It is the best of those that were trained the longest; the first one where scores are equal.
    n_candidates_, n_resources_ : list of int
        Candidates of each iteration, and up to how many batches each was trained in all (fewer where its streams had ended).
    n_iterations_ : int
    n_splits_ : int
    n_batches_ : int
        ``partial_fit`` calls of all candidates on all splits, without the refit.
    min_resources_, max_resources_ : int
        Fewest and most batches of a candidate.
    refit_time_ : float
        Seconds.

    See Also
    --------
    HyperbandSearchCV : Where it is not known how early candidates can be told apart.
    stream_scorer : Scores for held-out streams.

    Notes
    -----
    Between two iterations a candidate is a pickle of its estimator and of where its streams stand: arrays and files go on by
    position, generators are started again and brought there, running generators are refused. Scores are those of a fit at one
    go. With ``validation`` of the estimator, however, its score is taken at the end of each iteration, too, and counts for
    ``n_iter_no_change``.

    Processes are sent the pool: of files that is their names. Large arrays in memory are mapped by joblib, and sent once to each
    worker by Dask.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.model_selection import KFold
    >>> from streamlearn import StreamingEstimator, SuccessiveHalvingSearchCV, from_arrays
    >>> X, y = load_digits(return_X_y=True)
    >>> pool = from_arrays(X, y, n_streams=30)
    >>> model = StreamingEstimator(SGDClassifier(), batch_size=32, n_passes=9, random_state=0)
    >>> grid = {"estimator__alpha": [1e-4, 1e-2, 1, 100], "lam": [1, 16], "n_active": [2, 8]}
    >>> search = SuccessiveHalvingSearchCV(model, grid, max_resources=90, cv=KFold(3)).fit(pool)
    >>> search.n_candidates_, search.n_resources_
    ([16, 6, 2], [10, 30, 90])
    >>> bool(search.best_score_ > 0.85)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ContinuingSearch._parameter_constraints,
        "min_resources": [COUNT, StrOptions({"exhaust", "smallest"})],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_candidates: int | None = None,
        factor: float = 3,
        min_resources: int | str = "exhaust",
        max_resources: int | str = "auto",
        scoring: Any = None,
        cv: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
        checkpoint: Any = None,
        checkpoint_format: str = "skops",
        resume: bool = False,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_candidates = n_candidates
        self.factor = factor
        self.min_resources = min_resources
        self.max_resources = max_resources
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.checkpoint_format = checkpoint_format
        self.resume = resume
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.verbose = verbose

    def _plan(self, most: int, seed: int) -> tuple[list[dict[str, Any]], list[list[Rung]]]:
        least = {"exhaust": None, "smallest": 1}.get(self.min_resources, self.min_resources)
        _check_least(self.min_resources, least, most)
        if self.n_candidates is None:
            params = _grid(self.param_distributions)
        else:
            params = _drawn(self.param_distributions, self.n_candidates, self._drawing_seed(seed))
        return params, [halving(len(params), least, most, self.factor)]


class HyperbandSearchCV(ContinuingSearch):
    """Hyperband: several successive halvings, from many candidates with few batches to few candidates with all of them.

    Successive halving must be told how many batches tell candidates apart: too few, and one that learns slowly is dropped.
    Hyperband shares the batches among several brackets, each a successive halving that begins with more batches than the one
    before. Candidates go on from rung to rung as in :class:`SuccessiveHalvingSearchCV`.

    Parameters
    ----------
    estimator : StreamingEstimator
        What is searched. Its own parameters (``lam``, ``n_active``) and those of the estimator inside (``estimator__alpha``) are
        searched together.
    param_distributions : dict or list of dicts
        Values of each parameter: lists, or distributions with a method ``rvs``.
    n_candidates : int, optional
        Number of candidates, drawn at random and shared among the brackets. None (default): as many as in [1]_, which makes the
        brackets cost about the same; at most all combinations, where there are lists only.
    factor : float, default=3
        The share of candidates that go on is ``1 / factor``, and they get ``factor`` times the batches.
    min_resources : int, default=1
        Batches that each candidate gets at least, in the first bracket.
    max_resources : int or "auto", default="auto"
        The most batches (``partial_fit`` calls) of a candidate. "auto": the ``max_batches`` of the estimator.
    scoring, cv, refit, n_jobs, checkpoint, checkpoint_format, resume, random_state, error_score, return_train_score, verbose
        As in :class:`SuccessiveHalvingSearchCV`.

    Attributes
    ----------
    n_candidates_, n_resources_ : list of lists of int
        Candidates of each iteration, and up to how many batches each was trained in all, for each bracket.
    cv_results_, best_estimator_, best_params_, best_score_, best_index_, n_iterations_, n_splits_, n_batches_, min_resources_, \
max_resources_, refit_time_
        As of :class:`SuccessiveHalvingSearchCV`; ``cv_results_`` has a column ``bracket``. Rung ``iter`` of all brackets is
        trained together.

    See Also
    --------
    SuccessiveHalvingSearchCV : One bracket.

    References
    ----------
    .. [1] Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: "Hyperband: a novel bandit-based approach to hyperparameter
       optimization", JMLR 18, 2018.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import SGDClassifier
    >>> from streamlearn import HyperbandSearchCV, StreamingEstimator
    >>> X, y = load_digits(return_X_y=True)
    >>> model = StreamingEstimator(SGDClassifier(), batch_size=64, n_passes=5)
    >>> space = {"estimator__alpha": loguniform(1e-6, 1e2), "estimator__penalty": ["l2", "l1"]}
    >>> search = HyperbandSearchCV(model, space, min_resources=3, max_resources=27, cv=3, random_state=0).fit(X, y)
    >>> search.n_candidates_, search.n_resources_
    ([[9, 3, 1], [5, 1], [3]], [[3, 9, 27], [9, 27], [27]])
    >>> bool(search.score(X, y) > 0.9)
    True
    """

    _has_brackets = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ContinuingSearch._parameter_constraints,
        "min_resources": [COUNT],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_candidates: int | None = None,
        factor: float = 3,
        min_resources: int = 1,
        max_resources: int | str = "auto",
        scoring: Any = None,
        cv: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
        checkpoint: Any = None,
        checkpoint_format: str = "skops",
        resume: bool = False,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_candidates = n_candidates
        self.factor = factor
        self.min_resources = min_resources
        self.max_resources = max_resources
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs
        self.checkpoint = checkpoint
        self.checkpoint_format = checkpoint_format
        self.resume = resume
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.verbose = verbose

    def _plan(self, most: int, seed: int) -> tuple[list[dict[str, Any]], list[list[Rung]]]:
        _check_least(self.min_resources, self.min_resources, most)
        brackets = hyperband(self.min_resources, most, self.factor, self.n_candidates)
        n = sum(bracket[0].n_candidates for bracket in brackets)
        params = _drawn(self.param_distributions, n, self._drawing_seed(seed), silent=self.n_candidates is None)
        if len(params) < n:
            brackets = hyperband(self.min_resources, most, self.factor, len(params))
        return params, brackets


def _check_least(given: Any, least: int | None, most: int) -> None:
    if least is not None and least > most:
        raise ValueError(f"min_resources={given!r} is more than the {most} batches of max_resources.")


def _grid(space: Any) -> list[dict[str, Any]]:
    try:
        return list(ParameterGrid(space))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"param_distributions={short_repr(space)} without n_candidates must list the values of each parameter: {error}"
        ) from error


def _drawn(space: Any, n: int, random_state: int, silent: bool = False) -> list[dict[str, Any]]:
    """Draw candidates; where there are lists only, at most each combination once."""
    with warnings.catch_warnings():
        if silent:
            warnings.filterwarnings("ignore", message="The total space of parameters")
        return list(ParameterSampler(space, n, random_state=random_state))
