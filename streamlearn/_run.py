"""A training run: passes over the streams of a source, batch by batch, until a budget is spent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np

from . import _inner
from ._batch import Batch
from ._batches import Batches
from ._failures import Failures
from ._fit_source import Source
from ._mux import StochasticMux
from ._outputs import refuse_endless
from ._passes import close
from ._progress import Progress
from ._rows import row_bytes
from ._state import check_state, pack
from ._training import Trainer, warn_if_endless
from ._visits import check_weights

_DEFAULT_N_ACTIVE = 8
_BY_SAMPLES = (
    "with_replacement",
    "single_active",
)  # modes without end: one pass of the mux, which a number of samples ends


class Hook(Protocol):
    """What a run tells of each batch; ``counts`` as for :meth:`Trainer.train`."""

    def before(self, run: Run, batch: Batch, counts: Any) -> None:
        """Take note of a batch that will be trained next."""

    def after(self, run: Run, batch: Batch, counts: Any) -> bool:
        """Take note of a batch that was trained; return whether training should stop."""

    def end(self, run: Run) -> None:
        """Take note that training has ended."""

    def state_dict(self) -> Any:
        """Return what it has taken note of, JSON-able."""

    def objects(self) -> dict[str, Any]:
        """Return estimators that belong to its state."""

    def load_state_dict(self, state: Any, objects: dict[str, Any]) -> None:
        """Take back both; the estimator that is trained is among the objects."""


class Run:
    """Trains an estimator on the streams of a source. All that changes on the way is in attributes.

    Parameters
    ----------
    trainer : Trainer
    source : Source
    settings : dict
        Parameters of the mux.
    seed : int
    batch_size, n_passes, max_batches : as in StreamingEstimator
    by_loss : bool
        Whether the training loss may stop it, where ``n_passes`` is "auto".
    hooks : sequence of Hook
        Told of each batch.

    Attributes
    ----------
    n_passes : int
        Passes begun.
    iterator : MuxIterator or None
        The pass under way.
    batches : Batches or None
        What joins its items.
    progress : Progress or None
        The stopping rule, if there is one.
    blocks : tuple (read, needed) or None
        Blocks of files that the passes which have ended read and needed.
    failures : Failures
        Streams that have failed, of all passes.
    ended : bool
        Whether the streams are used up, or a rule has ended training.
    stopped : bool
        Whether training has ended, or has had ``max_batches`` or all samples of its passes.
    """

    _VERSION = 2

    def __init__(
        self,
        trainer: Trainer,
        source: Source,
        settings: dict[str, Any],
        seed: int,
        *,
        batch_size: int | str | None,
        n_passes: int | str,
        max_batches: int | None,
        by_loss: bool = True,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.trainer = trainer
        self.n_passes = 0
        self.iterator: Any = None
        self.batches: Batches | None = None
        self.blocks: tuple[int, int] | None = None
        self.ended = self.stopped = False
        self._n_before = 0  # samples at the beginning of the pass
        self.progress, self._most_passes = _passes(trainer.estimator, source, settings["mode"], n_passes)
        if not by_loss:
            self.progress = None
        self._source = source
        self._mux = StochasticMux(source.pool, **settings)
        self.failures = Failures(self._mux._rules, source.pool.names, len(source.pool))
        self._seed = seed
        self._size, self._first = _batch_rows(trainer.estimator, source, batch_size)
        self._max_batches = max_batches
        self._hooks = tuple(hooks)
        self._by_samples = settings["mode"] in _BY_SAMPLES
        self._most_samples: float = math.inf
        if self._by_samples:
            if max_batches is None or n_passes != "auto":
                self._most_samples = self._most_passes * (source.n_samples or math.inf)
            self._most_passes = 1

    def go(self) -> None:
        """Train until a budget is spent.

        A pass that a budget ends stays open, so that :meth:`state_dict` tells where it stands; :meth:`close` ends it.
        """
        self.stopped = self._has_stopped()
        try:
            while not self.stopped and (self.iterator is not None or self.n_passes < self._most_passes):
                self._pass()
            # A checkpoint comes before the last score is taken: one that goes on has none there.
            for hook in reversed(self._hooks):
                hook.end(self)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the pass under way and close every open stream."""
        if self.iterator is not None:
            close(self.iterator)
            self._note_blocks(self.iterator.blocks)
            self.iterator = self.batches = None

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands between two batches, as a JSON-able dict of fixed shape.

        The estimators are in :meth:`objects`.
        """
        return {
            "kind": "run",
            "version": self._VERSION,
            "seed": self._seed,
            "n_passes": self.n_passes,
            "n_before": self._n_before,
            "ended": self.ended,
            "blocks": pack(self.blocks),
            "trainer": self.trainer.state_dict(),
            "iterator": None if self.iterator is None else self.iterator.state_dict(),
            "batches": None if self.batches is None else self.batches.state_dict(),
            "progress": None if self.progress is None else self.progress.state_dict(),
            "hooks": [hook.state_dict() for hook in self._hooks],
            "failures": self.failures.state_dict(),
        }

    def objects(self) -> dict[str, Any]:
        """Return the estimators that belong to a state: the one that is trained, and copies of its best states."""
        return {
            "estimator": self.trainer.estimator,
            "progress": None if self.progress is None else self.progress.objects(),
            "hooks": [hook.objects() for hook in self._hooks],
        }

    def load_state_dict(self, state: dict[str, Any], objects: dict[str, Any], same_streams: bool = True) -> None:
        """Go on where a state was saved, in a run that was made in the same way of the estimator in ``objects``.

        Parameters
        ----------
        state : dict
            From :meth:`state_dict`.
        objects : dict
            From :meth:`objects`, at the same time.
        same_streams : bool, default=True
            If False, the pass under way begins again, since streams have come or gone.

        Raises
        ------
        ValueError
            If the state belongs to something else.
        """
        parts = self.state_dict().keys() - {"kind", "version"}
        check_state(state, "run", self._VERSION, parts)
        if len(state["hooks"]) != len(self._hooks) or (state["progress"] is None) != (self.progress is None):
            raise ValueError(
                "state was saved of a run with other validation or stopping rules: resume with the same parameters."
            )
        self.close()
        self._seed, self.n_passes, self.ended = state["seed"], state["n_passes"], state["ended"]
        self.blocks = None if state["blocks"] is None else tuple(state["blocks"])
        self.trainer.load_state_dict(state["trainer"])
        if same_streams:  # else what has failed may be another stream now, and is found out again
            self.failures.load_state_dict(state["failures"])
        if self.progress is not None:
            self.progress.load_state_dict(state["progress"], objects["progress"])
        for hook, saved, its_objects in zip(self._hooks, state["hooks"], objects["hooks"], strict=True):
            hook.load_state_dict(saved, {**its_objects, "estimator": objects["estimator"]})
        if state["iterator"] is None:
            return
        self.n_passes -= 1
        self._begin_pass()
        self._n_before = state["n_before"]
        if same_streams:
            self.iterator.load_state_dict(state["iterator"])
            self.batches.load_state_dict(state["batches"])  # type: ignore[union-attr]

    @property
    def classes(self) -> Any:
        """Labels that the estimator was told, None if none."""
        return self._source.classes

    @property
    def batches_of_a_pass(self) -> int | None:
        """About how many batches a pass has, None if that is not known."""
        n_samples = self._source.n_samples
        return -(-n_samples // self._size) if n_samples and self._size else None

    @property
    def estimator(self) -> Any:
        """The trained estimator: at its lowest loss, where a loss is watched."""
        best = None if self.progress is None else self.progress.best_estimator
        return self.trainer.estimator if best is None else best

    @property
    def n_passes_seen(self) -> int:
        """Passes begun; in the modes without end, a pass is as many samples as there are."""
        if self._by_samples and (n_samples := self._source.n_samples):
            return max(math.ceil(self.trainer.n_samples / n_samples), 1)
        return self.n_passes

    def _begin_pass(self) -> None:
        self._n_before = self.trainer.n_samples
        self._mux._know_sizes(*self._source.sizes)
        self.iterator = self._mux._start(self._seed, (self.n_passes,))
        self.iterator.go_on_with_failures(self.failures)
        self.n_passes += 1
        first = 1 if self.trainer.n_batches else self._first
        self.batches = Batches(self.iterator, self._size, first, self._source.pool.names, self.trainer.schema)

    def _pass(self) -> None:
        trainer = self.trainer
        if self.iterator is None:
            self._begin_pass()
        if getattr(self.iterator, "takes", False):
            self.iterator.expect(self._n_wanted())
        # what hooks do between the calls is checked as usual
        checked = any(getattr(hook, "runs_user_code", True) for hook in self._hooks)
        with nullcontext() if checked else trainer.trusting(self.iterator):
            for batch, counts in self.batches:  # type: ignore[union-attr]
                self._train(batch, counts)
                if self.stopped:
                    break
        if self.stopped and not self.ended:
            return
        self.close()
        if self.ended:
            return
        if trainer.n_samples == self._n_before:  # nothing is left to come
            self.ended = True
        elif self.progress is not None:
            self.ended = self.progress.stopped(trainer.estimator, *self._source.loss_arrays)
        self.stopped = self.ended

    def _n_wanted(self) -> float:
        """Samples that are to be trained before training ends or pauses, as far as is known."""
        n_batches = math.inf if self._max_batches is None else self._max_batches - self.trainer.n_batches
        in_batches = n_batches * (self._size or 1) + (0 if self.trainer.n_batches else self._first)
        return min(self._most_samples - self.trainer.n_samples, in_batches)

    def _train(self, batch: Batch, counts: Any) -> None:
        trainer = self.trainer
        if trainer.n_samples + batch.n > self._most_samples:
            n_left = int(self._most_samples) - trainer.n_samples
            batch, counts = batch.rows(0, n_left), _cut(counts, n_left)
        for hook in self._hooks:
            hook.before(self, batch, counts)
        trainer.train(batch, counts)
        for hook in self._hooks:
            self.ended |= hook.after(self, batch, counts)
        self.stopped = self._has_stopped()
        if self._max_batches is None and not self.stopped:
            text = warn_if_endless(trainer.n_batches, trainer.n_samples, batch.n)
            if text and self._source.n_samples is None:
                warnings.warn(text, UserWarning, stacklevel=5)

    def _has_stopped(self) -> bool:
        """Whether training has ended, or what it may have is spent: a larger budget goes on."""
        trainer = self.trainer
        spent = self._max_batches is not None and trainer.n_batches >= self._max_batches
        return self.ended or spent or trainer.n_samples >= self._most_samples

    def _note_blocks(self, blocks: tuple[int, int] | None) -> None:
        """Add up the blocks of files that a pass read and needed."""
        if blocks is not None:
            read, needed = self.blocks or (0, 0)
            self.blocks = (read + blocks[0], needed + blocks[1])


def mux_settings(owner: Any, source: Source) -> dict[str, Any]:
    """Return the parameters of the mux that an estimator trains on; all that could fail does so here, before training."""
    pool, weights = source.pool, source.pool.weights
    if owner.pool_weights is not None:
        check_weights(owner.pool_weights, len(source.names))
        weights = owner.pool_weights if source.kept is None else np.asarray(owner.pool_weights)[source.kept]
    mode = owner.mode
    if mode == "auto":
        mode = "exhaustive" if weights is None else "with_replacement"
    if weights is not None:
        check_weights(weights, len(pool))
    n_active = min(_DEFAULT_N_ACTIVE, len(pool)) if owner.n_active is None else int(owner.n_active)
    if mode in _BY_SAMPLES and owner.max_batches is None and source.n_samples is None:
        raise ValueError(
            f"max_batches is None and mode={mode!r} has no end: streams of unknown length need max_batches (the number of "
            "partial_fit calls), or mode='exhaustive' if none of them is endless."
        )
    if owner.max_batches is None and owner.n_iter_no_change is None and (mode == "exhaustive" or owner.lam is None):
        refuse_endless(pool, "Set max_batches, the number of partial_fit calls")
    return {
        "n_active": n_active,
        "lam": owner.lam,
        "pool_weights": weights,
        "mode": mode,
        "dist": owner.dist,
        "prune_empty_seeds": owner.prune_empty_seeds,
        "on_error": owner.on_error,
        "max_retries": owner.max_retries,
        "retry_delay": owner.retry_delay,
        "max_errors": owner.max_errors,
    }


def _passes(estimator: Any, source: Source, mode: str, n_passes: int | str) -> tuple[Progress | None, int]:
    """Return the stopping rule, if any, and the most passes."""
    if n_passes != "auto":
        return None, int(n_passes)
    limit = _inner.max_passes(estimator)
    if source.arrays is None or limit <= 1 or mode != "exhaustive":
        return None, 1
    if getattr(estimator, "tol", 0.0) is None:  # the estimator is told not to stop early
        return None, limit
    return Progress(estimator), limit


def _batch_rows(estimator: Any, source: Source, batch_size: int | str | None) -> tuple[int | None, int]:
    """Return the rows of a batch, and those that the first one needs."""
    first = _inner.first_batch_rows(estimator)
    if batch_size != "auto":
        return (None if batch_size is None else int(batch_size)), first
    bytes_per_row = 1 if source.arrays is None else row_bytes(source.arrays[0])
    return _inner.auto_batch_size(estimator, source.arrays is not None, bytes_per_row), first


def _cut(counts: Any, n: int) -> Any:
    """Return the origins of the first ``n`` rows."""
    if isinstance(counts, np.ndarray):
        return counts[:n]
    cut = []
    for position, rows in counts:
        if n <= 0:
            break
        cut.append((position, min(rows, n)))
        n -= rows
    return cut
