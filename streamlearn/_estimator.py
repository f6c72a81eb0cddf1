"""StreamingEstimator: any estimator with partial_fit, trained on a mux of streams, as a scikit-learn estimator."""

from __future__ import annotations

import copy
import numbers
import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.metrics import get_scorer_names
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if

from . import _inner
from ._batches import Batches
from ._checkpoint import check_checkpoint, checkpoints_of, saved_for
from ._checkpoint import go_on as continue_run
from ._checkpoint_file import FORMATS
from ._classes import scanned_stream
from ._factory import cloned_factory
from ._failures import ON_ERROR
from ._fit_source import is_pool, make_source, rules_of, validated_arrays
from ._interrupts import usable_when_interrupted
from ._labels import given_labels
from ._methods import InnerMethods, inner_has
from ._mux import MODES
from ._passes import close
from ._pool import StreamPool
from ._random import mix
from ._run import Run, mux_settings
from ._sklearn import HasMethods, Interval, RealNotInt, StrOptions, routing_enabled
from ._streamer import Streamer
from ._training import Trainer
from ._visits import DISTS, check_lam
from ._watch import check_validation, watch_of

_ABOUT_FEATURES = ("n_features_in_", "feature_names_in_")
_ABOUT_TRAINING = (
    "estimator_",
    "n_batches_",
    "n_passes_",
    "n_samples_seen_",
    "stream_counts_",
    "stream_names_",
    "blocks_read_",
    "blocks_needed_",
    "history_",
    "stream_errors_",
    "_dtype",
)
_COUNT = Interval(numbers.Integral, 1, None, closed="left")


class StreamingEstimator(InnerMethods, MetaEstimatorMixin, BaseEstimator):
    """Train any estimator that has ``partial_fit`` on a random mix of streams.

    A drop-in estimator on arrays, a learner from streams on pools, searchable over the settings of its mux, and a step of a
    Pipeline. Each batch is joined from samples that a :class:`StochasticMux` takes from ``n_active`` streams at a time.

    Parameters
    ----------
    estimator : object
        An estimator with ``partial_fit``. A clone of it is trained.
    streams : callable, StreamPool or list of Streamers, optional
        The streamer factory, for training only: ``fit(X, y)`` calls ``streams(X, y)``, ``fit()`` calls ``streams()``; it
        returns a pool, a list of streams or one stream. ``predict`` and ``score`` take ``X`` as it is, so that
        augmentation never leaks into a score. The parameters of a factory with ``get_params``, such as
        :class:`StreamFactory`, are searched as ``streams__<name>``. None (default): ``X`` is a pool, a list of Streamers, or
        arrays.
    n_active : int, optional
        Number of streams active at a time. None (default): the smaller of 8 and the number of streams.
    lam : float or None, default=256.0
        Mean number of items of a visit, at least 1; None: until the stream is exhausted.
    pool_weights : array-like of shape (n_streams,), optional
        Share of the items that each stream gives. None (default): the weights of the pool, or equal ones.
    mode : {"auto", "with_replacement", "single_active", "once", "exhaustive"}, default="auto"
        As in :class:`StochasticMux`. "auto" is "exhaustive", and "with_replacement" when ``pool_weights`` are given (or the
        pool has weights), since weights cannot change what an exhaustive pass sees in the end.
    dist : {"poisson", "constant", "binomial"}, default="poisson"
        Distribution of the number of items of a visit.
    prune_empty_seeds : bool, default=True
        Do not visit a stream again whose visit yielded nothing.
    batch_size : int, "auto" or None, default="auto"
        Number of samples of each ``partial_fit``; None: each item as it comes. "auto": 256 for pools; for arrays as
        much of a pass as is reasonable, or the estimator's own ``batch_size``. The first batch is as large as
        ``n_clusters`` or ``n_components`` need.
    n_passes : int or "auto", default="auto"
        Number of passes over the streams. "auto": one; for iterative estimators (those with ``max_iter``) on arrays,
        until the training loss, at the end of a pass, has not improved by 0.003 for 5 passes, at most ``max_iter``.
        (By less for regressors whose own ``tol`` is less; for 10 passes where they are noisy; neural networks stop by
        their own rule.)
        In the modes without end, a pass is as many samples as the streams have.
    max_batches : int, optional
        The most ``partial_fit`` calls. Needed for endless streams. None (default): no bound.
    classes : array-like, "scan" or None, default=None
        All labels, for classifiers; a list of them where there are several outputs. None: the labels in ``y``, or in the targets
        of streams from arrays and files, which are read by themselves. "scan": those of any streams, which are run through once
        before training, and must end. A label that is not among them is an error, whatever ``on_error`` is, which names the
        stream, and so is what cannot be one (NaN, None, texts among numbers); with ``on_error``, streams whose labels are of
        another kind than those of most samples fail.
    scoring : str, callable or None, default=None
        What :meth:`score` and ``validation`` compute; None: the estimator's own score.
    validation : StreamPool, list of Streamers, float, "prequential" or None, default=None
        What ``fit`` scores the estimator on while it trains, with the scores in ``history_``. A float is the fraction of the
        streams to hold out; of rows where ``X`` is arrays, of each class alike. "prequential": each batch, before it is
        trained on; a score is of the batches since the last one (the first batch of all is not predicted).
    validation_every : int, optional
        Batches from score to score. None (default): as many as a pass has, where that is known, at most 100. The
        last score is taken at the end.
    validation_max_samples : int, optional
        The most samples of each validation stream that are scored; needed for endless ones. None (default): all.
    n_iter_no_change : int, optional
        Stop after so many scores on ``validation`` without an improvement by ``tol``, and keep the estimator with the best score;
        the training loss stops nothing then. None (default): ``validation`` is watched only.
    tol : float, default=1e-3
        The least improvement of the score that counts.
    checkpoint : str or path, optional
        A file that holds everything of a fit under way: estimator, position in the streams, random states, counts, history and
        early stopping. It is replaced as a whole; the one before it is kept beside it, with ``.previous`` behind its name.
    checkpoint_every : int, default=1000
        Batches from one checkpoint to the next. Others are written at the end, and when an interrupt (Ctrl-C) ends training,
        which waits for the end of a batch; a second interrupt does not wait.
    checkpoint_format : {"skops", "pickle"}, default="skops"
        How estimators are written: by skops, which is safe to read (extra ``checkpoint``), or by pickle, which takes any
        estimator and may run any code when a file is read that was tampered with.
    resume : bool or "allow-changes", default=False
        Whether ``fit`` goes on from the checkpoint, if there is one, to the same model to the bit as without the interruption.
        Other parameters are refused, except ``max_batches`` and ``n_passes``: a finished fit goes on with a larger one. Streams
        that have come, gone or changed are refused as well, as far as that can be told without reading them: by name and
        length, a sample of the rows of arrays, the name of a generator function and its arguments (objects by their type),
        and the columns, names and sizes of local files, wherever they lie. "allow-changes": streams may change; the pass under
        way begins again. A checkpoint belongs to one fit at a time: not to the candidates of a search,
        which may have one itself.
    on_error : {"raise", "skip", "retry"}, default="raise"
        What ``fit`` (and ``iter_fit``, of a mux) does when a stream cannot be read: a file that is gone or damaged, an exception
        of a generator, an item that is no batch or does not fit those before it. "skip" sets the stream aside: what it gave
        before counts, it is not visited again, and ``stream_errors_`` and a warning at the end tell of it. "retry" tries again
        before. Errors of the estimator inside are always raised, and so are those of ``validation``.
    max_retries : int, default=3
        With "retry", how often an item, or a block of a file, is tried again. A generator is started anew for it, with the same
        seed, up to the item that failed.
    retry_delay : float, default=0.1
        Seconds to wait before trying again; twice as long each further time, up to a minute.
    max_errors : int, float or None, default=None
        The most streams that may be set aside, or their share: one more ends ``fit`` with an error that names them. None: no
        bound.
    random_state : int, RandomState instance or None, default=None
        Seeds the mux, streams that take ``rng`` or ``random_state``, and whatever inside the estimator has a
        ``random_state`` of None.
    warm_start : bool, default=False
        Whether ``fit`` goes on with the estimator of the last ``fit``.
    verbose : int, default=0
        1: a line of progress about every second; 2: for every batch.

    Attributes
    ----------
    estimator_ : object
        The trained clone. Its fitted attributes (``coef_``, ``classes_``, ...) are attributes here, too.
    n_batches_ : int
        Number of ``partial_fit`` calls.
    n_passes_ : int
        Number of passes begun.
    n_samples_seen_ : int
        Number of samples trained on.
    stream_counts_ : ndarray of shape (n_streams,)
        Samples trained on from each stream; they sum to ``n_samples_seen_``. Streams that were held out have zero.
    stream_names_ : tuple of str
        Names of the streams.
    blocks_read_, blocks_needed_ : int
        With sources in files: blocks (row groups, chunks) that were read, and different ones that were needed. More reads mean
        that visits ended before their blocks were used up: a larger ``lam`` or cache avoids that.
    history_ : dict of lists
        With ``validation``, columns for a DataFrame with a row for each score: ``batch`` (number of batches trained),
        ``n_samples`` (trained), ``seconds`` since the beginning, ``score``, ``n_scored`` (rows), and ``stream_counts``: a dict
        with the samples trained since the row before by name of their stream, of the 100 streams that gave the most (the
        others are under "(others)").
    stream_errors_ : dict of lists
        Columns for a DataFrame with a row for each stream that failed in the last training: ``name``, ``n_errors``, ``error``
        (the last one), ``n_items`` (that it had given before, in the visit that failed; of arrays and files, samples) and
        ``set_aside`` (False: trying again helped).
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when the data had string column names.

    Raises
    ------
    TypeError
        From ``fit``, if ``X`` or ``streams`` give no streams.
    ValueError
        From ``fit``, before training, if a parameter is outside its range, the estimator has no ``partial_fit``, or training
        would have no end.

    See Also
    --------
    StreamLearner : Train on a stream of batches as it comes.
    StreamFactory : A factory with parameters.
    from_arrays : A pool from arrays.
    stream_scorer : Scores of scikit-learn in searches over pools.

    Notes
    -----
    In searches over pools, ``scoring="accuracy"`` of GridSearchCV gives scores of NaN, as the targets are in the streams: pass
    ``stream_scorer("accuracy")`` there, or ``scoring`` to the estimator.

    Arrays of numbers are checked and converted once, before training. Texts, and DataFrames with columns of texts or
    categories, go to ``partial_fit`` as they are.

    ``sample_weight`` is one of the ``**fit_params``: estimators of scikit-learn that look for it among the named arguments of
    ``fit`` do not find it (``AdaBoostClassifier`` refuses, ``CalibratedClassifierCV`` warns and leaves weights out). Give them
    the estimator inside, or let streams yield the weights.

    An interrupt (Ctrl-C) ends training at once and leaves a model of all batches before it, which predicts and can be trained on.

    A ``random_state`` inside the estimator that is an int becomes ``RandomState(int)`` in the clone, which is faster and does
    not repeat itself at each call.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from streamlearn import StreamingEstimator, from_arrays
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> model = StreamingEstimator(SGDClassifier(), random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True

    A stream for each class, mixed two at a time:

    >>> pool = from_arrays(X, y, by="y")
    >>> model = StreamingEstimator(SGDClassifier(), n_active=2, lam=16, n_passes=5, random_state=0)
    >>> model.fit(pool).stream_counts_
    array([250, 250, 250])

    Stopped when the score on held-out rows has not improved for three passes:

    >>> model = StreamingEstimator(
    ...     SGDClassifier(), batch_size=32, n_passes=100, validation=0.2, n_iter_no_change=3, random_state=0)
    >>> model.fit(X, y).n_passes_ < 100
    True
    >>> model.history_["batch"][:3]
    [4, 8, 12]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["partial_fit"])],
        "streams": [callable, Streamer, StreamPool, list, tuple, None],
        "n_active": [_COUNT, None],
        "lam": [Interval(numbers.Real, 1, None, closed="left"), None],
        "pool_weights": ["array-like", None],
        "mode": [StrOptions({"auto", *MODES})],
        "dist": [StrOptions(set(DISTS))],
        "prune_empty_seeds": ["boolean"],
        "batch_size": [_COUNT, StrOptions({"auto"}), None],
        "n_passes": [_COUNT, StrOptions({"auto"})],
        "max_batches": [_COUNT, None],
        "classes": ["array-like", StrOptions({"scan"}), None],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "validation": [
            StreamPool,
            Streamer,
            "array-like",
            Interval(numbers.Real, 0, 1, closed="neither"),
            StrOptions({"prequential"}),
            None,
        ],
        "validation_every": [_COUNT, None],
        "validation_max_samples": [_COUNT, None],
        "n_iter_no_change": [_COUNT, None],
        "tol": [Interval(numbers.Real, 0, None, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [_COUNT],
        "checkpoint_format": [StrOptions(set(FORMATS))],
        "resume": ["boolean", StrOptions({"allow-changes"})],
        "on_error": [StrOptions(set(ON_ERROR))],
        "max_retries": [Interval(numbers.Integral, 0, None, closed="left")],
        "retry_delay": [Interval(numbers.Real, 0, None, closed="left")],
        "max_errors": [
            Interval(numbers.Integral, 0, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="left"),
            None,
        ],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any,
        streams: Any = None,
        *,
        n_active: int | None = None,
        lam: float | None = 256.0,
        pool_weights: Any = None,
        mode: str = "auto",
        dist: str = "poisson",
        prune_empty_seeds: bool = True,
        batch_size: int | str | None = "auto",
        n_passes: int | str = "auto",
        max_batches: int | None = None,
        classes: Any = None,
        scoring: Any = None,
        validation: Any = None,
        validation_every: int | None = None,
        validation_max_samples: int | None = None,
        n_iter_no_change: int | None = None,
        tol: float = 1e-3,
        checkpoint: Any = None,
        checkpoint_every: int = 1000,
        checkpoint_format: str = "skops",
        resume: bool | str = False,
        on_error: str = "raise",
        max_retries: int = 3,
        retry_delay: float = 0.1,
        max_errors: float | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.streams = streams
        self.n_active = n_active
        self.lam = lam
        self.pool_weights = pool_weights
        self.mode = mode
        self.dist = dist
        self.prune_empty_seeds = prune_empty_seeds
        self.batch_size = batch_size
        self.n_passes = n_passes
        self.max_batches = max_batches
        self.classes = classes
        self.scoring = scoring
        self.validation = validation
        self.validation_every = validation_every
        self.validation_max_samples = validation_max_samples
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.checkpoint_format = checkpoint_format
        self.resume = resume
        self.on_error = on_error
        self.max_retries = max_retries
        self.retry_delay = retry_delay
        self.max_errors = max_errors
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(self, X: Any = None, y: Any = None, **fit_params: Any) -> StreamingEstimator:
        """Train a clone of the estimator.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, StreamPool, list of Streamers or None
            Samples, or streams of them; what ``streams`` is called with, if given.
        y : array-like, optional
            Targets. Beside a pool, labels of the streams for splitters, which training ignores.
        **fit_params
            ``sample_weight`` (with arrays) and other keywords of the estimator's ``partial_fit``.

        Returns
        -------
        self : StreamingEstimator

        Raises
        ------
        ValueError, TypeError
            See the class; also if no stream gives a sample.
        """
        return self._fit(X, y, fit_params, Run.go)

    def _fit(self, X: Any, y: Any, fit_params: dict[str, Any], train: Callable[[Run], None]) -> StreamingEstimator:
        """Fit; ``train`` makes the run go, perhaps from where another one stood."""
        self._check_params()
        params = dict(fit_params)
        classes = given_labels(params.pop("classes", self.classes))  # labels are no metadata
        params = self._routed("fit", params)
        sample_weight = params.pop("sample_weight", None)
        go_on = self.warm_start and self.__sklearn_is_fitted__()
        if not go_on:
            for name in (*_ABOUT_FEATURES, *_ABOUT_TRAINING):  # a fit that fails must not look like one that did not
                self.__dict__.pop(name, None)
        self.__dict__.pop("history_", None)
        saved = saved_for(self)
        seed = self._seed() if saved is None else saved.seed
        source = make_source(self, X, y, sample_weight, classes, seed)
        settings = mux_settings(self, source)
        if saved is not None:
            self.estimator_ = saved.objects["estimator"]
        elif not go_on:
            self.estimator_ = _inner.cloned_and_seeded(self.estimator, mix(seed, 0))
        validated, names = source.arrays is not None, source.pool.names
        trainer = self._trainer(go_on, classes=source.classes, params=params, names=names, validated=validated)
        trainer.name_features(source.pool)
        watch = watch_of(self, source.pool, source.held_out, mix(seed, 6))
        checkpoints = checkpoints_of(self, seed, source.pool)
        run = Run(
            trainer,
            source,
            settings,
            mix(seed, 1),
            batch_size=self.batch_size,
            n_passes=self.n_passes,
            max_batches=self.max_batches,
            by_loss=self.n_iter_no_change is None,
            hooks=[hook for hook in (watch, checkpoints) if hook is not None],
        )
        if saved is not None:
            continue_run(run, saved, source.pool, self.resume)
        before = dict(self.__dict__)

        def conclude() -> None:
            run.close()
            self.stream_errors_ = run.failures.table()
            if trainer.n_batches:
                self._conclude(run, watch, source, before)

        with _inner.nameless(self.estimator_), usable_when_interrupted(conclude):
            if checkpoints is not None and saved is None:
                checkpoints.begin(run)
            with nullcontext() if checkpoints is None else checkpoints.interruptible():
                train(run)
            conclude()
        failures = run.failures
        if not trainer.n_batches:
            if trainer.n_samples:
                raise ValueError("sample_weight is zero for every sample of the streams: there is nothing to train on.")
            if failed := failures.summary():
                raise ValueError(f"the streams gave no sample: of {len(source.pool)}, {failed}.")
            raise ValueError(
                f"the streams gave no sample: each of the {len(source.pool)} streams is empty, or gives nothing in visits as "
                f"short as those of mode={self.mode!r}, lam={self.lam}; there is nothing to train on."
            )
        failures.warn("stream_errors_ tells all of them.")
        if source.arrays is not None and _inner.has_labels(self.estimator_):
            self.estimator_.labels_ = self.estimator_.predict(X)
        return self

    def _trainer(self, go_on: bool, **settings: Any) -> Trainer:
        """Return a trainer of ``estimator_``, which remembers what earlier data was like if training goes on."""
        if go_on:
            settings["dtype"] = self.__dict__.get("_dtype")
            settings["feature_names"] = self.__dict__.get("feature_names_in_")
        return Trainer(self.estimator_, verbose=self.verbose, **settings)

    def _conclude(self, run: Run, watch: Any, source: Any, before: dict[str, Any]) -> None:
        """Set what is known after a run, or when it was interrupted; the estimator had the attributes ``before``."""
        self.estimator_ = run.estimator
        self.n_passes_ = run.n_passes_seen
        if run.blocks is not None:
            self.blocks_read_ = before.get("blocks_read_", 0) + run.blocks[0]
            self.blocks_needed_ = before.get("blocks_needed_", 0) + run.blocks[1]
        if watch is not None:
            self.history_ = watch.history
            self.estimator_ = self.estimator_ if watch.best_estimator is None else watch.best_estimator
        run.trainer.finish()
        self._finish(run.trainer, source.counts(run.trainer.counts), source.names)

    def _check_params(self) -> None:
        self._validate_params()
        if isinstance(self.estimator, StreamingEstimator):
            raise ValueError(
                f"estimator is a {type(self).__name__} itself, {self.estimator!r}: pass what is inside it."
            )
        check_lam(self.lam, self.dist)
        check_validation(self)
        check_checkpoint(self)

    def _routed(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if not routing_enabled():
            return dict(params)
        return dict(process_routing(self, method, **params).estimator.partial_fit)

    def _finish(self, trainer: Trainer, counts: np.ndarray, names: tuple[str, ...], before: dict | None = None) -> None:
        """Set what is known after training, added to what was known ``before``."""
        before = before or {}
        self.n_batches_ = before.get("n_batches_", 0) + trainer.n_batches
        self.n_samples_seen_ = before.get("n_samples_seen_", 0) + trainer.n_samples
        self.stream_counts_, self.stream_names_ = counts, names
        self._dtype = trainer.dtype
        if trainer.feature_names is not None:
            self.feature_names_in_ = trainer.feature_names
        _inner.finish(self.estimator_, self.__dict__.get("feature_names_in_"))
        if "n_features_in_" not in self.__dict__ and hasattr(self.estimator_, "n_features_in_"):
            self.n_features_in_ = self.estimator_.n_features_in_

    @available_if(inner_has("partial_fit"))
    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **params: Any) -> StreamingEstimator:
        """Train on one more batch, going on from where training stands.

        Parameters
        ----------
        X, y : as in :meth:`fit`
            Arrays.
        classes : array-like, optional
            All labels, at the first call of a classifier.
        **params
            Keywords of the estimator's ``partial_fit``.

        Returns
        -------
        self : StreamingEstimator
        """
        if isinstance(X, Streamer) or is_pool(X):
            raise TypeError(
                "partial_fit takes the arrays of one batch: pass streams to fit (which goes on with warm_start=True), or one to "
                "iter_fit."
            )
        self._check_params()
        params = self._routed("partial_fit", params)
        fresh = not self.__sklearn_is_fitted__()
        batch = validated_arrays(self, X, y, params.pop("sample_weight", None), reset=fresh)
        return self._go_on([batch], classes, params, None, ("partial_fit",))

    def iter_fit(self, stream: Iterable, **kwargs: Any) -> StreamingEstimator:
        """Train on the batches of a stream, going on from where training stands.

        Parameters
        ----------
        stream : Streamer, generator or other iterable of batches
            They are joined or cut to ``batch_size``. What ``max_batches`` leaves of the last item is not trained on.
        **kwargs
            Passed to each ``partial_fit``; ``classes`` to the first.

        Returns
        -------
        self : StreamingEstimator
        """
        self._check_params()
        if not isinstance(stream, Iterable):
            raise TypeError(f"stream must be a Streamer or another iterable of batches, got {stream!r}.")
        if is_pool(stream):
            raise TypeError("stream is a pool: pass one stream, such as StochasticMux(pool, ...), or use fit(pool).")
        size = 256 if self.batch_size == "auto" else self.batch_size
        return self._go_on(stream, kwargs.pop("classes", None), kwargs, size, ("iter_fit",))

    def _go_on(
        self, stream: Iterable, classes: Any, params: dict[str, Any], size: Any, names: tuple[str, ...]
    ) -> StreamingEstimator:
        seed = self._seed()
        fresh = not self.__sklearn_is_fitted__()
        if fresh:
            self.estimator_ = _inner.cloned_and_seeded(self.estimator, mix(seed, 0))
        classes = given_labels(self.classes if classes is None else classes)
        if isinstance(classes, str):
            classes = scanned_stream(self.estimator, stream, mix(seed, 5), rules_of(self)) if fresh else None
        trainer = self._trainer(not fresh, classes=classes, params=params, names=names)
        # a batch of the user's own that is too small is the estimator's to refuse
        first = _inner.first_batch_rows(self.estimator_) if fresh and names == ("iter_fit",) else 1
        if isinstance(stream, Streamer):
            iterator = stream._start(mix(seed, 3, self.__dict__.get("n_batches_", 0)), stream._next_pass())
        else:
            iterator = iter(stream)
        failures = getattr(iterator, "failures", None)
        if failures is not None and not failures.rules.handles:
            failures.rules = rules_of(self)
        before = dict(self.__dict__)

        def conclude() -> None:
            if iterator is not stream:
                close(iterator)
            if failures is not None:
                self.stream_errors_ = failures.table()
            if trainer.n_batches or not fresh:
                self._add(trainer, before)

        with _inner.nameless(self.estimator_), usable_when_interrupted(conclude):
            try:
                for batch, _ in Batches(iterator, size, first, names, trainer.schema):
                    trainer.train(batch, [(0, batch.n)])
                    if trainer.n_batches == self.max_batches:
                        break
            finally:
                if iterator is not stream:
                    close(iterator)
            conclude()
        if failures is not None:
            failures.warn("stream_errors_ tells all of them.")
        if fresh and not trainer.n_batches:
            del self.estimator_
            raise ValueError("the stream gave no sample: there is nothing to train on.")
        return self

    def _add(self, trainer: Trainer, before: dict[str, Any]) -> None:
        """Set what is known after more training; the estimator had the attributes ``before``."""
        trainer.finish()
        counts, names = trainer.counts, trainer.names
        if "stream_counts_" in before:
            # data beside that of fit is counted behind its streams, one entry for each way in which it came
            counts, names = before["stream_counts_"].copy(), before["stream_names_"]
            if trainer.names[0] not in names:
                counts, names = np.append(counts, 0), (*names, *trainer.names)
            counts[names.index(trainer.names[0])] += trainer.n_samples
        self._finish(trainer, counts, tuple(names), before)

    # -- what scikit-learn asks ---------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # fitted attributes of the estimator inside: coef_, classes_, ...
        if (
            name.endswith("_")
            and not name.startswith("_")
            and name not in _ABOUT_FEATURES
            and "estimator_" in self.__dict__
        ):
            return getattr(self.estimator_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __sklearn_is_fitted__(self) -> bool:
        return "n_batches_" in self.__dict__

    def __sklearn_clone__(self) -> StreamingEstimator:
        shell = copy.copy(self)
        shell.streams = None
        new = BaseEstimator.__sklearn_clone__(shell)
        new.streams = cloned_factory(self.streams)
        return new

    def get_metadata_routing(self) -> MetadataRouter:
        """Tell scikit-learn which metadata goes where.

        Returns
        -------
        routing : MetadataRouter
        """
        mapping = MethodMapping()
        for caller, callee in (("fit", "partial_fit"), ("partial_fit", "partial_fit"), ("score", "score")):
            mapping = mapping.add(caller=caller, callee=callee)
        return MetadataRouter(owner=self).add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self) -> Any:
        return _inner.tags(self.estimator)
