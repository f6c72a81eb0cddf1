"""Files: finding them by name, pattern, directory or URL, and errors that say what to do."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote

from ._optional import require

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def is_url(path: str) -> bool:
    return "://" in path or "::" in path


def list_files(
    paths: Any,
    suffixes: Sequence[str],
    storage_options: dict[str, Any] | None = None,
    directories: bool = False,
    what: str = "paths",
) -> list[str]:
    """Return the files that ``paths`` stands for, sorted within each.

    Parameters
    ----------
    paths : str, path, or sequence of them
        A file, a pattern, a directory (all files below it that end with one of ``suffixes``), or an fsspec URL of any of them.
    suffixes : sequence of str
    storage_options : dict, optional
        For fsspec.
    directories : bool, default=False
        Whether a pattern may match directories, too.
    what : str, default="paths"
        For errors: the name of the parameter.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, a pattern matches nothing or a directory holds no such file.
    """
    given = as_paths(paths, what)
    if storage_options is not None and not isinstance(storage_options, dict):
        raise TypeError(f"storage_options must be a dict or None, got {storage_options!r}.")
    files: list[str] = []
    for path in given:
        files.extend(_remote(path, suffixes, storage_options) if is_url(path) else _local(path, suffixes, directories))
    return files


def as_paths(paths: Any, what: str = "paths") -> list[str]:
    """Read a path or a list of paths."""
    given = [paths] if isinstance(paths, (str, os.PathLike)) or not isinstance(paths, Iterable) else list(paths)
    if not given:
        raise ValueError(f"{what} is empty: give a file, a pattern or a directory, or a list of them.")
    for path in given:
        if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
            raise TypeError(f"{what} must be a str, a path or a list of them, got {path!r}.")
    return [os.fspath(path) for path in given]


def _local(path: str, suffixes: Sequence[str], directories: bool) -> list[str]:
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        found = [
            os.path.join(directory, name)
            for directory, _, names in os.walk(path)
            for name in names
            if name.endswith(tuple(suffixes)) and not name.startswith((".", "_"))
        ]
        return sorted(found) or _refuse_directory(path, suffixes)
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        found = [name for name in glob.glob(path, recursive=True) if directories or os.path.isfile(name)]
        return sorted(found) or _refuse_pattern(path)
    raise no_such_file(path)


def no_such_file(path: str) -> FileNotFoundError:
    """Return an error that offers the most similar name of the directory."""
    directory, name = os.path.split(path)
    near = nearest(name, os.listdir(directory or ".")) if os.path.isdir(directory or ".") else ""
    return FileNotFoundError(f"no such file or directory: {path!r}.{near}")


def is_gone(path: str) -> FileNotFoundError:
    """Return an error for a file that was found before."""
    return FileNotFoundError(f"{path!r} is gone: it was there when the pool was made.")


def _remote(url: str, suffixes: Sequence[str], storage_options: dict[str, Any] | None) -> list[str]:
    fsspec = require("fsspec", extra="parquet", purpose="reading from a URL")
    filesystem, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
    if glob.has_magic(path):
        found = sorted(filesystem.glob(path)) or _refuse_pattern(url)
    elif filesystem.isdir(path):
        found = sorted(name for name in filesystem.find(path) if name.endswith(tuple(suffixes)))
        found = found or _refuse_directory(url, suffixes)
    elif filesystem.exists(path):
        found = [path]
    else:
        raise FileNotFoundError(f"no such file or directory: {url!r}.")
    return [filesystem.unstrip_protocol(name) for name in found]


def _refuse_directory(path: str, suffixes: Sequence[str]) -> list[str]:
    raise FileNotFoundError(f"the directory {path!r} holds no file that ends with {' or '.join(suffixes)}.")


def _refuse_pattern(path: str) -> list[str]:
    raise FileNotFoundError(f"no file matches the pattern {path!r}.")


def open_file(path: str, storage_options: dict[str, Any] | None = None) -> Any:
    """Open a file or a URL for reading bytes."""
    if not is_url(path):
        return open(path, "rb")
    fsspec = require("fsspec", extra="parquet", purpose="reading from a URL")
    return fsspec.open(path, "rb", **(storage_options or {})).open()


def short_names(paths: Sequence[str]) -> list[str]:
    """Name files by what follows the directory that they share."""
    if len(paths) == 1:
        return [os.path.basename(paths[0])]
    directories = [
        path.replace(os.sep, "/").split("/")[:-1] for path in (min(paths), max(paths))
    ]  # sorted, these differ most
    shared = 0
    for first, last in zip(*directories, strict=False):
        if first != last:
            break
        shared += 1
    names = ["/".join(path.replace(os.sep, "/").split("/")[shared:]) for path in paths]
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names)]


def partition_of(path: str) -> dict[str, Any]:
    """Read ``key=value`` from the directories of a path."""
    pairs = [part.split("=", 1) for part in path.replace(os.sep, "/").split("/")[:-1] if "=" in part]
    return {key: None if value == NULL_PARTITION else unquote(value) for key, value in pairs}


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a sentence that offers the most similar name, if there is one."""
    found = difflib.get_close_matches(str(name), list(map(str, names)), 1, 0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def refuse_missing(wanted: Sequence[str], there: Sequence[str], where: str) -> None:
    """Refuse columns that are not there, offering what is."""
    known = set(there)
    for name in wanted:
        if name not in known:
            columns = ", ".join(map(repr, there[:20])) + (", ..." if len(there) > 20 else "")
            raise ValueError(f"{where} has no column {name!r}.{nearest(name, there)} It has {columns}.")


def as_list(names: Any, what: str) -> list[str]:
    """Read a name or a list of names."""
    listed = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{what} must be a column name or a list of them, got {names!r}.")
    if len(set(listed)) < len(listed):
        raise ValueError(f"{what} names a column twice: {listed}.")
    return listed
