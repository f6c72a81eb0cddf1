"""Checkpoints: everything of a training run in one file, which is replaced as a whole and checked before it is believed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import json
import os
import pickle
import shutil
import signal
import threading
import warnings
import zlib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ._batch import Batch
from ._failures import RAISE, known_sizes
from ._optional import require
from ._pool import StreamPool
from ._rows import take_rows
from ._run import Run
from ._state import pack, unpack

FORMATS = ("skops", "pickle")
_MAGIC = b"streamlearn checkpoint 1\n"
_ROWS_SAMPLED = 1000
_DIGEST = hashlib.sha256().digest_size
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


@dataclass
class Saved:
    """What a checkpoint holds.

    Attributes
    ----------
    seed : int
        From which the fit derived all its random choices.
    params : dict of str
        Representations of the parameters.
    streams : dict
        Names and lengths of the streams, and the parts that they have.
    run : dict
        State of the run.
    objects : dict
        Estimators.
    """

    seed: int
    params: dict[str, str]
    streams: dict[str, Any]
    run: dict[str, Any]
    objects: dict[str, Any]


def write(path: str | os.PathLike, saved: Saved, file_format: str, trusted: Set[str] | None = None) -> None:
    """Write a checkpoint so that at any moment the file at ``path`` is whole.

    The last checkpoint stays beside it, with ``.previous`` behind its name. With ``trusted``, what could not be read again is
    refused.
    """
    state = json.dumps(
        {"seed": saved.seed, "params": saved.params, "streams": saved.streams, "run": saved.run}
    ).encode()
    objects = _dumped(saved.objects, file_format)
    if trusted is not None and file_format == "skops":
        _asked(objects, os.fspath(path), trusted)
    head = json.dumps({"format": file_format, "state": len(state), "objects": len(objects)}).encode() + b"\n"
    body = head + state + objects
    path = os.fspath(path)
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        _keep_previous(path, temporary + ".previous")
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(os.path.dirname(os.path.abspath(path)))


def _keep_previous(path: str, temporary: str) -> None:
    """Keep the file at ``path`` under its second name as well; at no moment is there none at ``path``."""
    try:
        try:
            os.link(path, temporary)
        except FileNotFoundError:
            return
        except OSError:  # the file system has no links
            shutil.copyfile(path, temporary)
        os.replace(temporary, f"{path}.previous")
    except FileNotFoundError:  # another fit that writes to this path was faster
        pass


def read(path: str | os.PathLike, file_format: str, trusted: Set[str] = frozenset()) -> Saved | None:
    """Read a checkpoint, or the one before it if it is damaged; None if there is none.

    Parameters
    ----------
    path : str or path
    file_format : {"skops", "pickle"}
    trusted : set of str
        Names of types beside those that are known to be safe.

    Raises
    ------
    ValueError
        If there are files, but none is a whole checkpoint, or they are of a format that is not asked for.

    Warns
    -----
    UserWarning
        If the last checkpoint is damaged and the one before it is used.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        return None
    damage = []
    for name in (path, f"{path}.previous"):
        try:
            with open(name, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ValueError(f"checkpoint={path!r} cannot be read: {error}. Pass the path of a file.") from error
        try:
            saved = _parsed(content, name, file_format, trusted)
        except _Damaged as error:
            damage.append(str(error))
            continue
        if damage:
            warnings.warn(
                f"{damage[0]} Training goes on from the checkpoint before it, {name!r}.", UserWarning, stacklevel=4
            )
        return saved
    if damage:
        raise ValueError(f"{' '.join(damage)} Delete it to begin anew, or pass another path as checkpoint.")
    return None


class _Damaged(ValueError):
    """A file is no checkpoint, or not a whole one."""


def _parsed(content: bytes, name: str, file_format: str, trusted: Set[str]) -> Saved:
    if not content.startswith(_MAGIC):
        raise _Damaged(f"{name!r} is not a checkpoint, or its beginning is damaged.")
    digest, body = content[len(_MAGIC) : len(_MAGIC) + _DIGEST], content[len(_MAGIC) + _DIGEST :]
    if hashlib.sha256(body).digest() != digest:
        raise _Damaged(f"{name!r} is damaged: its content does not have the digest that was written with it.")
    # nothing of the file is interpreted before this: from here on, it is what was written
    head, _, rest = body.partition(b"\n")
    about = json.loads(head)
    if about["format"] != file_format:
        raise ValueError(
            f"{name!r} was written with checkpoint_format={about['format']!r}, and {file_format!r} is asked for: pass "
            "the former if you trust the file (a pickle may run any code), or delete it."
        )
    state = json.loads(rest[: about["state"]])
    return Saved(**state, objects=_loaded(rest[about["state"] :], file_format, name, trusted))


def _dumped(objects: dict[str, Any], file_format: str) -> bytes:
    if file_format == "pickle":
        return pickle.dumps(objects, protocol=5)
    try:
        return _skops().dumps(objects)
    except Exception as error:
        error.add_note(
            "raised by skops, which writes estimators safely; checkpoint_format='pickle' takes any that can be pickled, and must "
            "only be read where the file is trusted"
        )
        raise


def _loaded(content: bytes, file_format: str, name: str, trusted: Set[str]) -> dict[str, Any]:
    if file_format == "pickle":
        return pickle.load(io.BytesIO(content))
    return _skops().loads(content, trusted=_asked(content, name, trusted))


def _asked(content: bytes, name: str, trusted: Set[str]) -> list[str]:
    """Return the types that skops asks about, if all of them may be loaded."""
    asked = _skops().get_untrusted_types(data=content)
    unknown = [kind for kind in asked if kind not in trusted and not _is_class_of_sklearn(kind)]
    if unknown:
        raise ValueError(
            f"{name!r} holds objects of types that are not known to be safe: {unknown}. If you trust the file and them, "
            "write and read checkpoints with checkpoint_format='pickle'."
        )
    return asked


def _skops() -> Any:
    return require("skops.io", extra="checkpoint", purpose="checkpoints of checkpoint_format='skops'")


def _is_class_of_sklearn(kind: str) -> bool:
    """Whether a name is that of one of scikit-learn's own classes, which hold parts of its estimators (optimizers, say)."""
    module, _, name = kind.rpartition(".")
    if module.split(".")[0] != "sklearn":
        return False
    return inspect.isclass(getattr(importlib.import_module(module), name, None))


def _sync_directory(path: str) -> None:
    if os.name == "nt":  # a directory cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- of a fit ---------------------------------------------------------------------------------------------------------


def described_params(owner: Any) -> dict[str, str]:
    """Return representations of the parameters on which the result of a fit depends, where they tell values, not addresses."""
    shown = {}
    for name, value in owner.get_params(deep=True).items():
        text = repr(sorted(value, key=repr)) if isinstance(value, (set, frozenset)) else repr(value)
        if hasattr(value, "get_params") and "streams" not in name.split("__")[0]:
            shown[name] = _type_name(value)
        elif (
            name not in _FREE
            and "streams" not in name.split("__")[0]
            and " at 0x" not in text
            and not _holds_data(value)
        ):
            shown[name] = text
    return shown


def _holds_data(value: Any) -> bool:
    return isinstance(value, (np.random.RandomState, np.random.Generator, StreamPool)) or hasattr(value, "get_params")


def described_streams(pool: StreamPool) -> dict[str, Any]:
    """Return what a resumed fit compares: names, lengths (-1 where unknown) and parts of the streams."""
    sizes, _ = known_sizes(pool, RAISE)
    parts = sorted({str(getattr(stream, "_parts", None)) for stream in pool})
    return {"names": pack(np.array(pool.names)), "sizes": pack(sizes), "parts": parts, "data": _sampled(pool)}


def _sampled(pool: StreamPool) -> int:
    """Return a digest of about a thousand rows of the arrays in memory, which tells other data of the same lengths apart."""
    tables = list(
        {id(table): table for table in (getattr(stream, "_table", None) for stream in pool) if table}.values()
    )
    tables = tables[:: -(-len(tables) // _ROWS_SAMPLED) or 1]
    digest = 0
    for table in tables:
        rows = np.linspace(0, max(table.n_rows - 1, 0), max(_ROWS_SAMPLED // len(tables), 1)).astype(np.int64)
        for name, values in sorted(table.columns.items()):
            digest = zlib.crc32(f"{name} {type(values).__name__}".encode(), digest)
            part = take_rows(values, np.unique(rows)) if table.n_rows else None
            part = getattr(part, "data", part) if sparse.issparse(part) else part
            if isinstance(part, np.ndarray):
                part = part.astype(str) if part.dtype.hasobject else part
                digest = zlib.crc32(np.ascontiguousarray(part).tobytes(), zlib.crc32(str(part.dtype).encode(), digest))
    return digest


def check_params(saved: Saved, owner: Any) -> None:
    """Refuse to go on with other parameters than those that the checkpoint was written with."""
    for name, text in sorted(described_params(owner).items()):  # that of the estimator comes before its parameters
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
        If streams have come, gone or changed their length, and that is not allowed.
    """
    now = described_streams(pool)
    if _readable(now) == _readable(saved.streams):
        return None
    names, before = list(pool.names), unpack(saved.streams["names"]).tolist()
    sizes, sizes_before = unpack(now["sizes"]), unpack(saved.streams["sizes"])
    place = {name: i for i, name in enumerate(before)}
    places = np.array([place.get(name, -1) for name in names])
    come = [name for name in names if name not in place]
    gone = sorted(set(before) - set(names))
    changed = [name for name, at, n in zip(names, places, sizes, strict=True) if at >= 0 and sizes_before[at] != n]
    if allowed:
        return places
    what_changed = "of another length"
    if not (come or gone or changed) and now["data"] != saved.streams["data"]:
        changed, what_changed = names, "of other values"
    told = [
        f"{what}: {', '.join(map(repr, some[:5]))}{f' and {len(some) - 5} more' if len(some) > 5 else ''}"
        for what, some in (("new", come), ("gone", gone), (what_changed, changed))
        if some
    ]
    raise ValueError(
        f"the streams have changed since the checkpoint was written ({'; '.join(told) or 'their order or parts'}): resume "
        "with the same streams, or pass resume='allow-changes', with which the pass under way begins again."
    )


def check_checkpoint(owner: Any) -> None:
    """Check the parameters of an estimator that are about checkpoints, before any training."""
    if owner.checkpoint is None:
        if owner.resume:
            raise ValueError(
                f"resume={owner.resume!r} goes on from a checkpoint, and checkpoint is None: pass its path."
            )
        return
    path = os.fspath(owner.checkpoint)
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise ValueError(f"checkpoint must be the path of a file in a directory that exists, got {path!r}.")
    if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise ValueError(f"checkpoint={path!r} cannot be written: its directory is read-only.")
    if owner.resume and owner.warm_start:
        raise ValueError(
            "resume=True and warm_start=True both say where training goes on, from a checkpoint or from the last fit: choose one."
        )
    if owner.checkpoint_format == "skops":
        _skops()
    if not owner.resume and os.path.exists(path):
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ValueError(
                    f"checkpoint={path!r} is a file that is no checkpoint, and would be replaced: pass another path."
                )


def saved_for(owner: Any) -> Saved | None:
    """Return the checkpoint from which a fit goes on, or None."""
    if owner.checkpoint is None or not owner.resume:
        return None
    saved = read(owner.checkpoint, owner.checkpoint_format, _trusted(owner))
    if saved is not None:
        check_params(saved, owner)
    return saved


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _trusted(owner: Any) -> set[str]:
    """Names of the types, functions and classes among the parameters: they are the user's own."""
    values = [owner.estimator, *owner.estimator.get_params(deep=True).values()]
    named = {
        f"{x.__module__}.{x.__qualname__}" for x in values if hasattr(x, "__qualname__") and hasattr(x, "__module__")
    }
    return named | set(map(_type_name, values))


def checkpoints_of(owner: Any, seed: int, pool: StreamPool) -> Checkpoints | None:
    """Return the hook that writes checkpoints of a fit, or None."""
    if owner.checkpoint is None:
        return None
    saved = Saved(seed, described_params(owner), described_streams(pool), {}, {})
    return Checkpoints(owner.checkpoint, owner.checkpoint_every, owner.checkpoint_format, saved, _trusted(owner))


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


def _readable(streams: dict[str, Any]) -> list[Any]:
    """Unpack what describes streams: packed arrays may differ in their compression."""
    return [unpack(streams["names"]).tolist(), unpack(streams["sizes"]).tolist(), streams["parts"], streams["data"]]


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
