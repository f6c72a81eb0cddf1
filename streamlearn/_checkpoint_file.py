"""Files of checkpoints: replaced as a whole, checked before they are believed, and safe to read unless pickle is asked for."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import json
import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._optional import require

FORMATS = ("skops", "pickle")
_MAGIC = b"streamlearn checkpoint 1\n"
_DIGEST = hashlib.sha256().digest_size
_KINDS = {"run": "a fit", "search": "a search"}


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
        Names and lengths of the streams, and digests of what they are.
    run : dict
        State of what was under way; its ``kind`` says what that is.
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
    objects = dumped(saved.objects, file_format, os.fspath(path), trusted)
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
    left_over = Path(temporary)
    left_over.unlink(missing_ok=True)  # of a process that was killed here, and had the same number
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
    except BaseException:
        left_over.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike, file_format: str, trusted: Set[str] = frozenset(), kind: str = "run") -> Saved | None:
    """Read a checkpoint, or the one before it if it is damaged; None if there is none.

    Parameters
    ----------
    path : str or path
    file_format : {"skops", "pickle"}
    trusted : set of str
        Names of types beside those that are known to be safe.
    kind : {"run", "search"}
        Of what.

    Raises
    ------
    ValueError
        If there are files, but none is a whole checkpoint, or they are of a kind that is not asked for, or pickles where
        skops is.

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
            saved = _parsed(content, name, file_format, trusted, kind)
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


def _parsed(content: bytes, name: str, file_format: str, trusted: Set[str], kind: str) -> Saved:
    if not content.startswith(_MAGIC):
        raise _Damaged(f"{name!r} is not a checkpoint, or its beginning is damaged.")
    digest, body = content[len(_MAGIC) : len(_MAGIC) + _DIGEST], content[len(_MAGIC) + _DIGEST :]
    if hashlib.sha256(body).digest() != digest:
        raise _Damaged(f"{name!r} is damaged: its content does not have the digest that was written with it.")
    # nothing of the file is interpreted before this: from here on, it is what was written
    head, _, rest = body.partition(b"\n")
    about = json.loads(head)
    # one who asks for pickle takes what is less safe than a file of skops is
    if about["format"] not in (file_format, "skops"):
        raise ValueError(
            f"{name!r} was written with checkpoint_format={about['format']!r}, and {file_format!r} is asked for: pass "
            "the former if you trust the file (a pickle may run any code), or delete it."
        )
    state = json.loads(rest[: about["state"]])
    found = state["run"].get("kind")
    if found != kind:
        raise ValueError(
            f"{name!r} is the checkpoint of {_KINDS.get(found, 'something else')}, not of {_KINDS[kind]}: pass another path as "
            "checkpoint."
        )
    return Saved(**state, objects=loaded(rest[about["state"] :], about["format"], name, trusted))


def dumped(objects: dict[str, Any], file_format: str, name: str, trusted: Set[str] | None = None) -> bytes:
    """Return objects as bytes; with ``trusted``, what could not be read again of a file of that name is refused."""
    if file_format == "pickle":
        return pickle.dumps(objects, protocol=5)
    try:
        content = _skops().dumps(objects)
    except Exception as error:
        error.add_note(
            "raised by skops, which writes estimators safely; checkpoint_format='pickle' takes any that can be pickled, and must "
            "only be read where the file is trusted"
        )
        raise
    if trusted is not None:
        _asked(content, name, trusted)
    return content


def loaded(content: bytes, file_format: str, name: str, trusted: Set[str]) -> dict[str, Any]:
    """Return the objects of which :func:`dumped` made bytes."""
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


def check_path(owner: Any, beside: Iterable[str] = ()) -> None:
    """Check the parameters of an owner of a checkpoint that are about its file, before any training.

    Parameters
    ----------
    owner : StreamingEstimator or ContinuingSearch
    beside : iterable of str
        Endings of the names of other checkpoints beside it, which will be replaced.
    """
    if owner.checkpoint is None:
        if owner.resume:
            raise ValueError(
                f"resume={owner.resume!r} goes on from a checkpoint, and checkpoint is None: pass its path."
            )
        return
    path = os.fspath(owner.checkpoint)
    if not path or os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise ValueError(f"checkpoint must be the path of a file in a directory that exists, got {path!r}.")
    if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise ValueError(f"checkpoint={path!r} cannot be written: its directory is read-only.")
    if owner.checkpoint_format == "skops":
        _skops()
    if not owner.resume and not _may_be_replaced(path):
        raise ValueError(
            f"checkpoint={path!r} is a file that is no checkpoint, and would be replaced: pass another path."
        )
    for name in (f"{path}{ending}" for ending in beside):
        if os.path.isdir(name) or not _may_be_replaced(name):
            raise ValueError(
                f"checkpoint={path!r} would replace {name!r}, which is no checkpoint: move that away, or pass another path."
            )


def _may_be_replaced(path: str) -> bool:
    """Whether there is no file, or a checkpoint."""
    if not os.path.exists(path):
        return True
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _skops() -> Any:
    return require("skops.io", extra="checkpoint", purpose="checkpoints of checkpoint_format='skops'")


def _is_class_of_sklearn(kind: str) -> bool:
    """Whether a name is that of one of scikit-learn's own classes, which hold parts of its estimators (optimizers, say)."""
    module, _, name = kind.rpartition(".")
    if module.split(".")[0] != "sklearn":
        return False
    return inspect.isclass(getattr(importlib.import_module(module), name, None))


def type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def trusted_of(owner: Any) -> set[str]:
    """Names of the types, functions and classes among the parameters of a meta-estimator: they are the user's own."""
    values = [owner.estimator, *owner.estimator.get_params(deep=True).values()]
    named = {
        f"{x.__module__}.{x.__qualname__}" for x in values if hasattr(x, "__qualname__") and hasattr(x, "__module__")
    }
    return named | set(map(type_name, values))


def _sync_directory(path: str) -> None:
    if os.name == "nt":  # a directory cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
