"""Which labels the streams of a pool have, for classifiers that must know all of them before their first batch."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _inner
from ._arrays import SampleStream
from ._batches import Batches
from ._blocks import reading
from ._failures import RAISE, OnError
from ._interrupts import pause
from ._labels import Labels, no_label, plain_numbers
from ._mux_base import BaseMux
from ._outputs import stream_name
from ._passes import close
from ._pool import StreamPool
from ._random import mix
from ._schema import kind_of_y
from ._streamer import Streamer

_ROWS = 4096
_SILENT_SAMPLES = 1_000_000
_MOST_SAMPLES = 20_000_000


def labels_of(estimator: Any, y: np.ndarray) -> Any:
    """Return ``classes=`` for a first ``partial_fit`` on targets that are at hand."""
    labels = Labels()
    labels.add(y)
    return labels.classes(estimator)


def find_classes(
    estimator: Any,
    pool: StreamPool,
    classes: Any,
    seed: int,
    y: Any = None,
    fitted: Any = None,
    rules: OnError = RAISE,
) -> Any:
    """Return ``classes=`` for a first ``partial_fit``.

    Parameters
    ----------
    estimator : object
    pool : StreamPool
    classes : array-like, "scan" or None
        What the user gave.
    seed : int
        For streams that are run through.
    y : ndarray, optional
        All targets, where they are at hand.
    fitted : object, optional
        The estimator that training goes on with, if it does.
    rules : OnError
        What is done about streams that fail: of those that are skipped, the labels up to there count, as in training.

    Raises
    ------
    ValueError
        If the classes must be known and are not, or cannot be scanned.
    """
    scan = isinstance(classes, str)
    if classes is not None and not scan:
        return classes
    if not _inner.needs_classes(estimator):
        if not scan:
            return None
        if not _inner.passes_on(estimator) and not _inner.takes(estimator, "classes"):
            raise ValueError(
                f"classes='scan', but {type(estimator).__name__}.partial_fit takes no classes: leave it None."
            )
    if y is not None:
        return labels_of(estimator, y)
    if hasattr(fitted, "classes_"):
        return None
    if not scan and not all(isinstance(stream, SampleStream) for stream in pool):
        raise ValueError(
            f"classes is None, and streams of unknown labels do not tell them: {type(estimator).__name__} must know all labels "
            "before its first batch. Pass classes=[...] to StreamingEstimator, or classes='scan' to run through the streams "
            "once before training."
        )
    with reading(pool):
        return _scanned(estimator, pool, seed, rules)


def _scanned(estimator: Any, pool: StreamPool, seed: int, rules: OnError) -> Any:
    """Run through the targets of all streams; where these may fail, training finds and tells what cannot be a label."""
    found: dict[tuple, Labels] = {}
    rows: Counter[tuple] = Counter()
    first: tuple[tuple, str] | None = None
    error: ValueError | None = None
    for position, stream in enumerate(pool):
        for part in _targets(pool, position, stream, mix(seed, position), rules):
            try:
                kind, part = _labels_in(
                    part, stream_name(pool, position), type(estimator).__name__, None if rules.handles else first
                )
            except ValueError as refused:
                if not rules.handles:
                    raise
                error = refused
                if part is None or part.dtype.kind != "f":
                    continue
                part = part[np.isfinite(part).reshape(len(part), -1).all(axis=1)]
                kind = kind_of_y(part)
            if part.size:
                first = first or (kind, stream_name(pool, position))
                found.setdefault(kind, Labels()).add(part)
                rows[kind] += len(part)
    if error is not None and not found:
        raise error
    # where streams may fail, those of another kind than most samples have do
    return found[rows.most_common(1)[0][0]].classes(estimator) if found else None


def _labels_in(
    y: np.ndarray | None, stream: str, estimator: str, first: tuple[tuple, str] | None
) -> tuple[tuple, np.ndarray]:
    """Return targets and their kind, and refuse what cannot be labels, or not together with those of another kind."""
    if y is None:
        raise ValueError(
            f"{stream} gives no y to tell the classes by, which {estimator} must know: let it yield 'y', or make the pool with a "
            "target."
        )
    y = plain_numbers(y)
    if (bad := no_label(y)) is not None:
        raise ValueError(f"y of {stream} has {bad}, which is no label: leave such rows out, or make them of one kind.")
    kind = kind_of_y(y)
    if y.size and first is not None and kind != first[0]:
        raise ValueError(
            f"y of {stream} holds {_described(kind)}, but that of {first[1]} {_described(first[0])}: make them of one kind."
        )
    return kind, y


def _described(kind: tuple) -> str:
    """Say what a target is like, for a message."""
    return f"{kind[0]} of shape {kind[1:]} a row" if len(kind) > 1 else kind[0]


def scanned_stream(estimator: Any, stream: Any, seed: int, rules: OnError) -> Any:
    """Return ``classes=`` of one stream, which must be restartable."""
    if not isinstance(stream, Streamer):
        raise ValueError(
            "classes='scan' runs through streams before training, which a Streamer, a pool or a list of Streamers can do: pass "
            "classes=[...] to train on other batches."
        )
    if isinstance(stream, BaseMux):  # which may be endless where its streams are not
        rules = stream._rules if stream._rules.handles else rules
        return find_classes(estimator, StreamPool(stream._streams, names=stream._names), "scan", seed, rules=rules)
    return find_classes(estimator, StreamPool([stream]), "scan", seed)


def _until_it_fails(start: Callable[[], Iterator[Any]], rules: OnError) -> Iterator[Any]:
    """Yield what an iterator yields until it fails for good; what is read again comes again."""
    n = 0
    while True:
        try:
            yield from start()
            return
        except Exception:
            n += 1
            if not rules.handles:
                raise
            if n > rules.n_retries:  # training will find it, and tell
                return
        pause(threading.Event(), rules.delay(n))


def _targets(pool: StreamPool, position: int, stream: Streamer, seed: int, rules: OnError) -> Iterator[Any]:
    """Yield the targets of a stream, piece by piece; of arrays and files they alone are read."""
    if isinstance(stream, SampleStream):
        yield from _until_it_fails(lambda: stream._column_parts("y"), rules)
        return
    if isinstance(stream, BaseMux):
        inner = StreamPool(stream._streams, names=stream._names)
        for i, one in enumerate(inner):
            yield from _targets(inner, i, one, mix(seed, i), stream._rules if stream._rules.handles else rules)
        return
    n, warned = 0, False
    iterators: list[Any] = []
    read: list[Batches] = []

    def batches() -> Iterator[Any]:
        iterators.append(iterator := stream._start(seed, (0,)))
        # an iterator that takes gives as much as it is asked for, others their items as they come
        size = _ROWS if getattr(iterator, "takes", False) else None
        read.append(joined := Batches(iterator, size, names=(pool.names[position],)))
        yield from joined

    try:
        for batch, _ in _until_it_fails(batches, rules):
            yield batch.y
            n += batch.n
            if n >= _MOST_SAMPLES:
                raise ValueError(
                    f"classes='scan' has read {n} samples of {stream_name(pool, position)} and found no end: the labels of "
                    "endless streams cannot be scanned. Pass classes=[...]."
                )
            if n >= _SILENT_SAMPLES and not warned:
                warned = True
                text = (
                    f"classes='scan' has read {n} samples of {stream_name(pool, position)} and goes on, to {_MOST_SAMPLES} at "
                    "most: is it endless? Pass classes=[...]."
                )
                warnings.warn(text, UserWarning, stacklevel=2)
    except Exception as error:
        item = f", item {read[-1].n_items}" if read else ""
        error.add_note(f"raised by {stream_name(pool, position)}{item}, of which classes='scan' reads the targets")
        raise
    finally:
        for iterator in iterators:
            with contextlib.suppress(Exception) if rules.handles else contextlib.nullcontext():
                close(iterator)
