"""Predictions and scores of a fitted estimator on pools, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score

from ._arrays import SampleStream
from ._batch import Batch
from ._pool import StreamPool
from ._random import mix
from ._rows import concat_rows, n_rows
from ._streamer import Streamer, close
from ._training import batches

_ROWS = 4096


def stream_batches(stream: Streamer, seed: int, rows: int = _ROWS) -> Iterator[Batch]:
    """Yield one pass over a stream in batches; samples of arrays and files in the order in which they lie."""
    if isinstance(stream, SampleStream):
        for columns in stream._in_order(rows):
            yield Batch(columns["X"], columns.get("y"), columns.get("sample_weight"), n_rows(columns["X"]))
        return
    iterator = stream._start(seed, (0,))
    try:
        for batch, _ in batches(iterator, rows):
            yield batch
    finally:
        close(iterator)


def iter_outputs(estimator: Any, pool: StreamPool, method: str, seed: int) -> Iterator[tuple[int, Any, Batch]]:
    """Yield ``(position, output, batch)`` for each batch of each stream."""
    function = getattr(estimator, method)
    for position, stream in enumerate(pool):
        for batch in stream_batches(stream, mix(seed, position)):
            yield position, function(batch.X), batch


def pool_outputs(estimator: Any, pool: StreamPool, method: str, seed: int) -> np.ndarray:
    """Return an object array with the outputs of each stream."""
    parts: list[list[Any]] = [[] for _ in pool]
    for position, output, _ in iter_outputs(estimator, pool, method, seed):
        parts[position].append(output)
    outputs = np.empty(len(pool), dtype=object)
    for position, part in enumerate(parts):
        outputs[position] = concat_rows(part) if part else np.empty(0)
    return outputs


def pool_score(estimator: Any, pool: StreamPool, seed: int) -> float:
    """Return the estimator's score over all rows of a pool: exact, keeping targets and predictions alone where that serves.

    Raises
    ------
    ValueError
        If the streams give no row, or no ``y`` where the score needs one.
    """
    supervised = is_classifier(estimator) or is_regressor(estimator)
    truths: list[Any] = []
    outputs: list[Any] = []
    weights: list[Any] = []
    Xs: list[Any] = []
    if supervised:
        for position, output, batch in iter_outputs(estimator, pool, "predict", seed):
            if batch.y is None:
                raise ValueError(
                    f"stream {pool.names[position]!r} gives no y, which {type(estimator).__name__}.score needs."
                )
            truths.append(batch.y)
            outputs.append(output)
            weights.append(batch.sample_weight)
    else:
        for position, stream in enumerate(pool):
            Xs.extend(batch.X for batch in stream_batches(stream, mix(seed, position)))
    if not (truths or Xs):
        raise ValueError("the streams give no row to score.")
    if not supervised:
        return estimator.score(concat_rows(Xs))
    weight = None
    if any(w is not None for w in weights):
        weight = np.concatenate([np.ones(len(t)) if w is None else w for t, w in zip(truths, weights, strict=True)])
    truth, output = np.concatenate(truths), np.concatenate([_dense(o) for o in outputs])
    if not is_classifier(estimator):
        return r2_score(truth, output, sample_weight=weight)
    if output.ndim == 2:  # accuracy_score knows many labels, but not many outputs: a row counts if all of it is right
        return float(np.average((truth == output).all(axis=1), weights=weight))
    return accuracy_score(truth, output, sample_weight=weight)


def _dense(output: Any) -> np.ndarray:
    return output.toarray() if sparse.issparse(output) else np.asarray(output)
