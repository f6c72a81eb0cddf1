"""Pools that are predicted or scored: batch by batch, one stream after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._arrays import SampleStream
from ._batch import Batch
from ._batches import Batches
from ._blocks import reading
from ._feature_names import with_names
from ._passes import close
from ._pool import StreamPool
from ._random import mix
from ._rows import concat_rows, n_rows
from ._streamer import Streamer

_ROWS = 4096
_MAX_SILENT_SAMPLES = 1_000_000


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


def pool_batches(
    pool: StreamPool, seed: int, max_samples: int | None = None, bound: str | None = None
) -> Iterator[tuple[int, Batch]]:
    """Yield ``(position, batch)`` for each batch of each stream, with errors that name the stream.

    Parameters
    ----------
    pool : StreamPool
    seed : int
    max_samples : int, optional
        The most rows of each stream.
    bound : str, optional
        What to do where a stream may be endless: a warning says so when it has given many samples.

    Raises
    ------
    ValueError
        If a stream never ends, being a mux that starts its streams again, and there is a ``bound`` to set.
    """
    if bound is not None:
        refuse_endless(pool, bound)
    with reading(pool):
        for position, stream in enumerate(pool):
            n = 0
            try:
                for batch in stream_batches(stream, mix(seed, position), min(_ROWS, max_samples or _ROWS)):
                    if max_samples is not None and n + batch.n > max_samples:
                        batch = batch.rows(0, max_samples - n)
                    if batch.n:
                        yield position, batch
                    if bound is not None and n < _MAX_SILENT_SAMPLES <= n + batch.n and stream._n_samples < 0:
                        where = stream_name(pool, position)
                        text = f"{where} has given {n + batch.n} samples and goes on: is it endless? {bound}."
                        warnings.warn(text, UserWarning, stacklevel=2)
                    n += batch.n
                    if n == max_samples:
                        break
            except Exception as error:
                error.add_note(f"raised by {stream_name(pool, position)}")
                raise


def refuse_endless(pool: StreamPool, advice: str) -> None:
    """Refuse streams that are known to go on for ever."""
    for position, stream in enumerate(pool):
        if stream._never_ends:
            raise ValueError(
                f"{stream_name(pool, position)} never ends: {stream!r} starts its streams again and again. {advice}."
            )


def stream_name(pool: StreamPool, position: int) -> str:
    return f"stream {pool.names[position]!r} at position {position}"


def answer(estimator: Any, method: str, X: Any, pool: StreamPool, position: int) -> Any:
    """Return what a method gives for rows of a stream, with errors that name the stream."""
    try:
        return getattr(estimator, method)(with_names(estimator, pool[position], X))
    except Exception as error:
        error.add_note(f"raised by {method} for rows of {stream_name(pool, position)}")
        raise


def iter_outputs(
    estimator: Any, pool: StreamPool, method: str, seed: int, bound: str | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield ``(position, output)`` for each batch of each stream."""
    getattr(estimator, method)
    for position, batch in pool_batches(pool, seed, bound=bound):
        yield position, answer(estimator, method, batch.X, pool, position)


def pool_outputs(estimator: Any, pool: StreamPool, method: str, seed: int) -> np.ndarray:
    """Return an object array with the outputs of each stream."""
    parts: list[list[Any]] = [[] for _ in pool]
    for position, output in iter_outputs(estimator, pool, method, seed, "Use iter_predict, which goes batch by batch"):
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
