"""Predictions and scores of a fitted estimator on pools, batch by batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.metrics import accuracy_score, r2_score

from ._arrays import SampleStream
from ._batch import Batch
from ._pool import StreamPool
from ._random import mix
from ._rows import concat_rows, n_rows
from ._streamer import Streamer, close
from ._training import Batches

_ROWS = 4096
_NO_ROW = "the streams give no row to score."


def stream_batches(stream: Streamer, seed: int, rows: int = _ROWS) -> Iterator[Batch]:
    """Yield one pass over a stream in batches; samples of arrays and files in the order in which they lie."""
    if isinstance(stream, SampleStream):
        for columns in stream._in_order(rows):
            yield Batch(columns["X"], columns.get("y"), columns.get("sample_weight"), n_rows(columns["X"]))
        return
    iterator = stream._start(seed, (0,))
    try:
        for batch, _ in Batches(iterator, rows):
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
        outputs[position] = joined(part) if part else np.empty(0)
    return outputs


def joined(outputs: list[Any]) -> Any:
    """Join what a method gave for each batch; several outputs (``predict_proba``) come as a list of arrays."""
    if isinstance(outputs[0], list):
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return concat_rows(outputs)


def pool_score(estimator: Any, pool: StreamPool, seed: int) -> float:
    """Return the estimator's score over all rows of a pool: exact, keeping targets and predictions alone where that serves.

    Raises
    ------
    ValueError
        If the streams give no row, or no ``y`` where the score needs one.
    """
    own = type(estimator).score
    if own is not ClassifierMixin.score and own is not RegressorMixin.score:
        return _score_of_all_rows(estimator, pool, seed)
    truths: list[Any] = []
    outputs: list[Any] = []
    weights: list[Any] = []
    for position, output, batch in iter_outputs(estimator, pool, "predict", seed):
        if batch.y is None:
            raise ValueError(
                f"stream {pool.names[position]!r} gives no y, which {type(estimator).__name__}.score needs."
            )
        truths.append(batch.y)
        outputs.append(_dense(output))
        weights.append(batch.sample_weight)
    if not truths:
        raise ValueError(_NO_ROW)
    metric = accuracy_score if is_classifier(estimator) else r2_score
    return metric(np.concatenate(truths), np.concatenate(outputs), sample_weight=_joined_weights(truths, weights))


def _score_of_all_rows(estimator: Any, pool: StreamPool, seed: int) -> float:
    """Score by a method of the estimator's own, which must see everything at once."""
    batches = [batch for i, stream in enumerate(pool) for batch in stream_batches(stream, mix(seed, i))]
    if not batches:
        raise ValueError(_NO_ROW)
    X = concat_rows([batch.X for batch in batches])
    targets = [batch.y for batch in batches]
    weight = _joined_weights([batch.X for batch in batches], [batch.sample_weight for batch in batches])
    supervised = is_classifier(estimator) or is_regressor(estimator)
    if supervised and any(y is None for y in targets):
        raise ValueError(f"some streams give no y, which {type(estimator).__name__}.score needs.")
    arguments = (X, np.concatenate(targets)) if supervised else (X,)
    takes_weight = "sample_weight" in inspect.signature(estimator.score).parameters
    return estimator.score(*arguments, **({"sample_weight": weight} if weight is not None and takes_weight else {}))


def _joined_weights(rows: list[Any], weights: list[Any]) -> np.ndarray | None:
    if all(weight is None for weight in weights):
        return None
    return np.concatenate(
        [np.ones(n_rows(part)) if weight is None else weight for part, weight in zip(rows, weights, strict=True)]
    )


def _dense(output: Any) -> np.ndarray:
    return output.toarray() if sparse.issparse(output) else np.asarray(output)
