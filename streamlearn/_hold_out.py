"""Rows and streams that are held out of training, to validate it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from ._random import generator, small_seed
from ._rows import n_rows, take_rows


def split_streams(n_streams: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the streams to hold out, at least one, as train_test_split would; return those kept and those held out.

    Raises
    ------
    ValueError
        If no stream would be left.
    """
    if n_streams < 2:
        raise ValueError(
            f"validation={fraction!r} holds out whole streams, and there is only one: pass a pool or a list of Streamers as "
            "validation, or 'prequential'."
        )
    n_out = min(math.ceil(fraction * n_streams), n_streams - 1)
    order = generator(seed).permutation(n_streams)
    return np.sort(order[n_out:]), np.sort(order[:n_out])


def split_rows(
    arrays: tuple[Any, Any, Any], fraction: float, seed: int, labels: np.ndarray | None
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Split ``(X, y, sample_weight)`` into rows to train on and rows to hold out.

    Parameters
    ----------
    arrays : tuple
        ``y`` and ``sample_weight`` may be None.
    fraction : float
    seed : int
    labels : ndarray of shape (n_samples,), optional
        Each is held out in the same proportion, as scikit-learn's classifiers do with ``early_stopping``.
    """
    n = n_rows(arrays[0])
    splitter = (ShuffleSplit if labels is None else StratifiedShuffleSplit)(
        n_splits=1, test_size=fraction, random_state=small_seed(seed)
    )
    try:
        train, out = next(splitter.split(np.empty((n, 0)), labels))
    except ValueError as error:
        raise ValueError(f"validation={fraction!r} cannot be held out of {n} rows: {error}") from None
    train, out = np.sort(train), np.sort(out)

    def rows(chosen: np.ndarray) -> tuple[Any, Any, Any]:
        X, y, sample_weight = (None if part is None else take_rows(part, chosen) for part in arrays)
        return X, y, sample_weight

    return rows(train), rows(out)
