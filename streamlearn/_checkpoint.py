"""Checkpoints of a fit: everything of a training run in one file, and what it belongs to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ._batch import Batch
from ._checkpoint_file import Saved, check_path, read, trusted_of, type_name, write
from ._described import changes, described_streams, text_of
from ._pool import StreamPool
from ._run import Run
from ._state import pack, unpack

# What a resumed fit may change: how long it goes on, what it does about streams that fail, what it says and keeps on the way.
_FREE = {
    "on_error",
    "max_retries",
    "retry_delay",
    "max_errors",
    "checkpoint",
    "checkpoint_every",
    "checkpoint_format",
    "resume",
    "max_batches",
    "n_passes",
    "verbose",
    "warm_start",
}


def described_params(owner: Any) -> dict[str, str]:
    """Return representations of the parameters on which the result of a fit depends, where they tell values, not addresses."""
    shown = {}
    for name, value in owner.get_params(deep=True).items():
        if hasattr(value, "get_params") and "streams" not in name.split("__")[0]:
            shown[name] = type_name(value)
        elif (
            name not in _FREE
            and "streams" not in name.split("__")[0]
            and " at 0x" not in repr(value)
            and not _holds_data(value)
        ):
            shown[name] = text_of(value)
    return shown


def _holds_data(value: Any) -> bool:
    return isinstance(value, (np.random.RandomState, np.random.Generator, StreamPool)) or hasattr(value, "get_params")


def check_params(saved: Saved, params: dict[str, str]) -> None:
    """Refuse to go on with other parameters than those that the checkpoint was written with."""
    for name, text in sorted(params.items()):  # that of the estimator comes before its parameters
        before = saved.params.get(name, "something else")
        if before != text:
            raise ValueError(
                f"{name} is {text}, and the checkpoint was written with {before}: resume with the same value, or delete the "
                "checkpoint to begin anew."
            )


def check_streams(saved: Saved, pool: StreamPool, allowed: bool) -> np.ndarray | None:
    """Compare the streams with those of the checkpoint.

    Returns
    -------
    places : ndarray of shape (n_streams,) or None
        Where each stream stood among those of the checkpoint, -1 for new ones; None if nothing has changed.

    Raises
    ------
    ValueError
        If streams have come, gone or changed, and that is not allowed.
    """
    now = described_streams(pool)
    told = changes(saved.streams, now)
    if told is None:
        return None
    if allowed:
        place = {name: i for i, name in enumerate(unpack(saved.streams["names"]).tolist())}
        return np.array([place.get(name, -1) for name in pool.names])
    raise ValueError(
        f"the streams have changed since the checkpoint was written ({told or 'their order'}): resume "
        "with the same streams, or pass resume='allow-changes', with which the pass under way begins again."
    )


def check_checkpoint(owner: Any) -> None:
    """Check the parameters of an estimator that are about checkpoints, before any training."""
    check_path(owner)
    if owner.resume and owner.warm_start:
        raise ValueError(
            f"resume={owner.resume!r} and warm_start=True both say where training goes on, from a checkpoint or from the last "
            "fit: choose one."
        )


def saved_for(owner: Any) -> Saved | None:
    """Return the checkpoint from which a fit goes on, or None."""
    if owner.checkpoint is None or not owner.resume:
        return None
    saved = read(owner.checkpoint, owner.checkpoint_format, trusted_of(owner))
    if saved is not None:
        check_params(saved, described_params(owner))
    return saved


def checkpoints_of(owner: Any, seed: int, pool: StreamPool) -> Checkpoints | None:
    """Return the hook that writes checkpoints of a fit, or None."""
    if owner.checkpoint is None:
        return None
    saved = Saved(seed, described_params(owner), described_streams(pool), {}, {})
    return Checkpoints(owner.checkpoint, owner.checkpoint_every, owner.checkpoint_format, saved, trusted_of(owner))


def go_on(run: Run, saved: Saved, pool: StreamPool, resume: Any) -> None:
    """Bring a run to where a checkpoint was written."""
    places = check_streams(saved, pool, allowed=resume == "allow-changes")
    if places is not None:
        for part in (saved.run["trainer"], *saved.run["hooks"]):
            if part is not None and "test" in part:
                part["test"] = None  # predictions that wait for their score know streams by their place
            if part is not None and "counts" in part:
                counts = unpack(part["counts"])
                part["counts"] = pack(np.where(places >= 0, counts[places], 0))
    run.load_state_dict(saved.run, saved.objects, same_streams=places is None)


class Checkpoints:
    """Writes a checkpoint every so many batches, at the end, and when training is interrupted. A hook of a run, its last one.

    Parameters
    ----------
    path : str or path
    every : int
        Batches from one to the next.
    file_format : {"skops", "pickle"}
    saved : Saved
        Its seed, parameters and streams are written.
    trusted : set of str
        Types that may be read again beside those that are known to be safe.
    """

    runs_user_code = False

    def __init__(self, path: Any, every: int, file_format: str, saved: Saved, trusted: set[str]) -> None:
        self._path = path
        self._every = every
        self._format = file_format
        self._saved = saved
        self._trusted: set[str] | None = trusted
        self._last = 0  # batches at the last checkpoint
        self._interrupted = False

    def begin(self, run: Run) -> None:
        """Write the first checkpoint, so that one of an earlier fit is not taken for one of this."""
        self._write(run)
        Path(f"{os.fspath(self._path)}.previous").unlink(missing_ok=True)

    def before(self, run: Run, batch: Batch, counts: Any) -> None:
        pass

    def after(self, run: Run, batch: Batch, counts: Any) -> bool:
        if self._interrupted:
            self._write(run)
            raise KeyboardInterrupt
        if run.trainer.n_batches % self._every == 0 and run.trainer.n_batches != self._last:
            self._write(run)
        return False

    def end(self, run: Run) -> None:
        if run.trainer.n_batches:
            self._write(run)

    def state_dict(self) -> None:
        return None

    def objects(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any, objects: dict[str, Any]) -> None:
        pass

    def _write(self, run: Run) -> None:
        self._saved.run, self._saved.objects = run.state_dict(), run.objects()
        write(self._path, self._saved, self._format, self._trusted)
        self._last = run.trainer.n_batches

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a first interrupt wait for the end of a batch, when the estimator is whole; a second one does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield  # no other thread is told of interrupts
            return
        before = signal.getsignal(signal.SIGINT)

        def wait(number: int, frame: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        if before is not signal.default_int_handler:  # somebody else looks after interrupts
            yield
            return
        signal.signal(signal.SIGINT, wait)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self._interrupted:  # after the last batch
            raise KeyboardInterrupt
