"""Names of features: streams of tables give arrays, but know which column is which feature."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from ._pool import StreamPool


def feature_names_of(pool: StreamPool, expected: Any = None) -> np.ndarray | None:
    """Return the names of the features of the arrays that all streams of a pool give; None: they are not known.

    Parameters
    ----------
    pool : StreamPool
    expected : sequence of str, optional
        What they must be, if they are known.

    Raises
    ------
    ValueError
        If two streams have others, or in another order.
    """
    if expected is not None:
        expected = tuple(expected)
    found = dict.fromkeys(stream._feature_names for stream in pool)
    for names in found:
        if names is None:
            continue
        expected = names if expected is None else expected
        if names != expected:
            position = next(i for i, stream in enumerate(pool) if stream._feature_names == names)
            _refuse(f"stream {pool.names[position]!r} at position {position}", names, expected)
    if not found or None in found:
        return None
    return np.array(expected, object)


def _refuse(where: str, names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    if sorted(names) == sorted(expected):
        how = f"the features {list(names)}, others before it {list(expected)}: they must have the same order"
    else:
        missing, more = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
        how = f"other features than those before it: missing {missing}, unexpected {more}"
    raise ValueError(f"{where} has {how}. Name them, features=[...], where its pool is made.")


def frame_library() -> str | None:
    """Name a library that is installed and has DataFrames, the only things whose names scikit-learn looks at."""
    return next((name for name in ("pandas", "polars") if find_spec(name) is not None), None)


def with_names(estimator: Any, stream: Any, X: Any) -> Any:
    """Return rows of a stream as a frame, if it and the estimator know names, so that scikit-learn compares them."""
    names = stream._feature_names
    if names is None or not isinstance(X, np.ndarray) or not hasattr(estimator, "feature_names_in_"):
        return X
    library = frame_library()
    if library is None:
        return X
    module = import_module(library)
    return module.DataFrame(X, **{"columns" if library == "pandas" else "schema": list(names)})
