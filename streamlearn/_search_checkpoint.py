"""Checkpoints of a search: what came of its candidates so far, what they go on with, and what that belongs to."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ._candidates import Data, Outcome, Work
from ._checkpoint import check_params
from ._checkpoint_file import Saved, dumped, loaded, read, trusted_of, type_name, write
from ._described import changes, described_streams, text_of
from ._paused import parts_of, paused_with
from ._pool import StreamPool, from_arrays
from ._state import check_state, pack, unpack

_VERSION = 1
# Writing may take so much of the time between two checkpoints of an iteration: however many candidates and large models there
# are, a search is hardly slower for it.
_SHARE_OF_TIME = 0.1
REFIT = ".refit"
# What a resumed search may change beside: what it says, where it runs, and whether the best candidate is fitted in the end.
_FREE = {
    "checkpoint",
    "checkpoint_format",
    "resume",
    "cv",  # its splits are compared themselves
    "error_score",  # what failed is tried again
    "n_jobs",
    "refit",
    "verbose",
    "estimator__checkpoint_every",
    "estimator__checkpoint_format",
    "estimator__verbose",
}
Job = tuple[int, int, int]  # candidate, iteration and split


class Journal:
    """What came of the candidates of a search so far; with a path, kept in a checkpoint.

    A search that is resumed goes through its iterations again, and asks here before it trains: as candidates are chosen by
    their scores alone, it comes to where it was. What has failed is not known then, and tried again: its cause may be gone.

    Parameters
    ----------
    path : str, optional
        None: nothing is kept.
    file_format : {"skops", "pickle"}
    saved : Saved, optional
        Its seed, parameters and streams are written.
    trusted : set of str
        Types that may be read again beside those that are known to be safe.
    """

    def __init__(
        self,
        path: str | None = None,
        file_format: str = "skops",
        saved: Saved | None = None,
        trusted: Set[str] = frozenset(),
    ) -> None:
        self._path = path
        self._format = file_format
        self._saved = saved
        self._trusted = trusted
        # An outcome and what its candidate goes on with are one value, so that an interrupt cannot come between them.
        self._jobs: dict[Job, tuple[Outcome, bytes | None]] = {}
        self._unsaved = self._refit_is_forgotten = False
        self._due = 0.0
        if saved is not None:
            for candidate, iteration, split, record in saved.run["jobs"]:
                if record["error"] is not None:
                    continue
                outcome = Outcome(**{**record, "scores": unpack(record["scores"])})
                outcome.paused = b"" if record["paused"] else None  # by which the next iteration knows its jobs
                job = (candidate, iteration, split)
                self._jobs[job] = outcome, saved.objects.get(_name(job))

    @property
    def keeps(self) -> bool:
        """Whether there is a checkpoint."""
        return self._path is not None

    def begin(self) -> None:
        """Write the first checkpoint, so that one of an earlier search is not taken for one of this."""
        if self._path is None:
            return
        self._forget_refit()
        self._unsaved = True
        self.save()
        Path(f"{self._path}.previous").unlink(missing_ok=True)

    def outcome(self, job: Job) -> Outcome | None:
        """Return what came of a job, None if it is not done."""
        if job not in self._jobs:
            return None
        outcome, left = self._jobs[job]
        # a copy, as rows forget what their outcomes would go on with
        return replace(outcome, paused=outcome.paused if left is None else self._thawed(left))

    def note(self, job: Job, outcome: Outcome) -> None:
        """Take note of what came of a job, and write a checkpoint unless the last one was just now."""
        if self._path is None:
            return
        left = None if outcome.paused is None else self._frozen(outcome.paused)
        self._jobs[job] = replace(outcome, paused=None if left is None else b""), left
        candidate, iteration, split = job
        if outcome.error is None:  # otherwise it is from there that it is tried again
            self._forget((candidate, iteration - 1, split))
        self._forget_refit()  # what failed before, and did not now, may be the best
        self._unsaved = True
        if time.monotonic() >= self._due:
            self.save()

    def end_iteration(self, alive: Set[int]) -> None:
        """Write a checkpoint, without what the other candidates would go on with, unless they failed."""
        kept = alive | {job[0] for job, (outcome, _) in self._jobs.items() if outcome.error is not None}
        for job in self._jobs:
            if job[0] not in kept:
                self._forget(job)
        self.save()

    def save(self) -> None:
        """Write a checkpoint, if there is something new."""
        if self._path is None or self._saved is None or not self._unsaved:
            return
        began = time.monotonic()
        jobs = dict(self._jobs)
        records = [[*job, _record(outcome)] for job, (outcome, _) in jobs.items()]
        self._saved.run = {"kind": "search", "version": _VERSION, "splits": self._saved.run["splits"], "jobs": records}
        self._saved.objects = {_name(job): left for job, (_, left) in jobs.items() if left is not None}
        write(self._path, self._saved, self._format)
        self._unsaved = False
        now = time.monotonic()
        self._due = now + (now - began) / _SHARE_OF_TIME

    def _forget_refit(self) -> None:
        if self._path is not None and not self._refit_is_forgotten:
            for name in (refit_path(self._path), f"{refit_path(self._path)}.previous"):
                Path(name).unlink(missing_ok=True)
            self._refit_is_forgotten = True

    def _forget(self, job: Job) -> None:
        if job in self._jobs and self._jobs[job][1] is not None:
            self._jobs[job] = self._jobs[job][0], None
            self._unsaved = True

    def _frozen(self, paused: bytes) -> bytes:
        """Return what training goes on with in the format of the checkpoint: a pickle in a safe one would not be safe."""
        if self._format == "pickle":
            return paused
        state, objects, classes = parts_of(paused)
        # labels that were searched for; others are among the parameters, and of any type
        classes = classes if isinstance(classes, (np.ndarray, list)) else None
        parts = {"state": json.dumps(state), "objects": objects, "classes": classes}
        return dumped(parts, self._format, str(self._path), self._trusted)

    def _thawed(self, left: bytes) -> bytes:
        if self._format == "pickle" and not left.startswith(b"PK"):  # an archive of skops, with which the search began
            return left
        parts = loaded(left, "skops", str(self._path), self._trusted)
        return paused_with(json.loads(parts["state"]), parts["objects"], parts["classes"])


def _name(job: Job) -> str:
    return "/".join(map(str, job))


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        **asdict(replace(outcome, paused=None)),
        "scores": pack(outcome.scores),
        "paused": outcome.paused is not None,
    }


# -- of what ------------------------------------------------------------------------------------------------------------


def saved_search(owner: Any) -> Saved | None:
    """Return the checkpoint from which a search goes on, or None."""
    if owner.checkpoint is None or not owner.resume:
        return None
    saved = read(owner.checkpoint, owner.checkpoint_format, kind="search")
    if saved is not None:
        check_state(saved.run, "search", _VERSION, ("splits", "jobs"))
        check_params(saved, {"search": type_name(owner)})  # first, as its parameters mean something else
    return saved


def journal_of(
    owner: Any, candidates: list[Any], params: list[dict[str, Any]], work: Work, seed: int, saved: Saved | None
) -> Journal:
    """Return the journal of a search, which goes on from a checkpoint if that belongs to it.

    Parameters
    ----------
    owner : ContinuingSearch
    candidates : list of StreamingEstimator
    params : list of dict
        Of the candidates.
    work : Work
    seed : int
        Of the search.
    saved : Saved or None

    Raises
    ------
    ValueError
        If the checkpoint is that of another search, or a candidate could not be read again.
    """
    if owner.checkpoint is None:
        return Journal()
    path = os.fspath(owner.checkpoint)
    described = described_search(owner, params)
    data, splits = described_data(work.data), digest_of(work.splits)
    trusted: set[str] = set().union(*map(trusted_of, candidates))
    if saved is None:
        for candidate in candidates:  # fitted, it may hold more, but what it cannot even begin with is told at once
            dumped({"estimator": candidate.estimator}, owner.checkpoint_format, path, trusted)
        saved = Saved(seed, described, data, {"splits": splits, "jobs": []}, {})
        return Journal(path, owner.checkpoint_format, saved, trusted)
    check_params(saved, described)
    if (told := changes(saved.streams, data)) is not None:
        raise ValueError(
            f"the data has changed since the checkpoint was written ({told or 'its order'}): resume with the same data, "
            "or delete the checkpoint to begin anew."
        )
    if saved.run["splits"] != splits:
        raise ValueError(
            f"cv={owner.cv!r} gives other splits than those that the checkpoint was written with: resume with the same cv (and "
            "groups), or delete the checkpoint to begin anew."
        )
    return Journal(path, owner.checkpoint_format, saved, trusted)


def check_same_splits(owner: Any, splits: list[Any], again: list[Any]) -> None:
    """Refuse a splitter that draws other splits each time, before a search that could not be resumed."""
    if digest_of(splits) != digest_of(again):
        raise ValueError(
            f"cv={owner.cv!r} gives other splits each time, and a search with a checkpoint needs the same ones when it is "
            "resumed: give it an int as random_state."
        )


def digest_of(splits: list[Any]) -> str:
    """Return a digest of splits."""
    digest = hashlib.sha256()
    for part in (np.asarray(part) for split in splits for part in split):
        part = part.astype(np.int64) if part.dtype.kind in "iu" else part
        digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def described_search(owner: Any, candidates: list[dict[str, Any]]) -> dict[str, str]:
    """Return representations of the parameters on which the result of a search depends, and of the candidates."""
    shown = {
        name: type_name(value) if hasattr(value, "get_params") else text_of(value)  # its parameters are among these
        for name, value in owner.get_params(deep=True).items()
        if name not in _FREE
    }
    shown["search"] = type_name(owner)
    if hasattr(owner.random_state, "bytes"):  # an instance, which moves on: the checkpoint has the seed
        shown["random_state"] = type_name(owner.random_state)
    for i, params in enumerate(candidates):
        shown[f"the candidate {i} of param_distributions"] = str(
            {name: text_of(value) for name, value in params.items()}
        )
    return shown


def described_data(data: Data) -> dict[str, Any]:
    """Return what a resumed search compares of its data, as of streams; arrays are one."""
    if isinstance(data.X, StreamPool):
        told = described_streams(data.X)
        labels = "" if data.y is None else "\n".join(map(str, np.asarray(data.y).tolist()))
        return {**told, "data": zlib.crc32(labels.encode(), told["data"])}
    pool = from_arrays(data.X, data.y, data.sample_weight, shuffle=False)
    return described_streams(StreamPool(pool, names=["arrays"]))


# -- the refit ----------------------------------------------------------------------------------------------------------


def refit_path(path: Any) -> str:
    """Return the path of the checkpoint of the refit."""
    return f"{os.fspath(path)}{REFIT}"


def fit_best(owner: Any, best: Any, data: Data) -> Any:
    """Fit the best candidate to all data, with a checkpoint of its own if the search has one."""
    if owner.checkpoint is None:
        return best.fit(data.X, data.y, **data.fit_params())
    names = ("checkpoint", "checkpoint_format", "resume", "warm_start")
    own = {name: getattr(best, name) for name in names}
    # that of an earlier search was removed when this one began
    best.set_params(
        checkpoint=refit_path(owner.checkpoint),
        checkpoint_format=owner.checkpoint_format,
        resume=True,
        warm_start=False,
    )
    try:
        return best.fit(data.X, data.y, **data.fit_params())
    except Exception as error:
        error.add_note("raised by the refit: with refit=False and resume=True the search gives its results without it")
        raise
    finally:
        best.set_params(**own)
