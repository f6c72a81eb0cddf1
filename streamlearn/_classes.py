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
from ._failures import RAISE, OnError
from ._interrupts import pause
from ._labels import Labels, sortable
from ._outputs import stream_name
from ._pool import StreamPool
from ._random import mix
from ._schema import kind_of_y
from ._streamer import Streamer, close
from ._training import Batches

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
    found: dict[tuple, Labels] = {}
    rows: Counter[tuple] = Counter()
    for position, stream in enumerate(pool):
        for part in _targets(pool, position, stream, mix(seed, position), rules):
            if part is None:
                raise ValueError(
                    f"{stream_name(pool, position)} gives no y to tell the classes by, which {type(estimator).__name__} must "
                    "know: let it yield 'y', or make the pool with a target."
                )
            part = _good_labels(part, stream_name(pool, position), rules.handles)
            if not len(part):
                continue
            kind = kind_of_y(part)
            if kind not in found and found and not rules.handles:
                raise ValueError(
                    f"y of {stream_name(pool, position)} holds {_described(kind)}, but that of streams before it "
                    f"{_described(next(iter(found)))}: make them of one kind."
                )
            found.setdefault(kind, Labels()).add(part)
            rows[kind] += len(part)
    # where streams may fail, those of another kind than most samples have do
    return found[rows.most_common(1)[0][0]].classes(estimator) if found else None


def _good_labels(y: np.ndarray, stream: str, may_fail: bool) -> np.ndarray:
    """Return targets that can be labels, and refuse others, or leave them to training if their stream may fail."""
    if not sortable(y):
        if may_fail:
            return y[:0]
        raise ValueError(
            f"y of {stream} holds things of several kinds, such as {_example(y)}: let labels be all numbers, or all texts."
        )
    if y.dtype.kind == "f" and not (good := np.isfinite(y)).all():
        if may_fail:
            return y[good.reshape(len(y), -1).all(axis=1)]
        raise ValueError(f"y of {stream} has {y[~good][0]}, which is no label: leave such rows out.")
    return y


def _described(kind: tuple) -> str:
    """Say what a target is like, for a message."""
    return f"{kind[0]} of shape {kind[1:]} a row" if len(kind) > 1 else kind[0]


def _example(y: np.ndarray) -> str:
    """Two values of different types."""
    shown = {type(value): value for value in y.flat}
    return " and ".join(map(repr, list(shown.values())[:2]))


def scanned_stream(estimator: Any, stream: Any, seed: int) -> Any:
    """Return ``classes=`` of one stream, which must be restartable."""
    if not isinstance(stream, Streamer):
        raise ValueError(
            "classes='scan' runs through streams before training, which a Streamer, a pool or a list of Streamers can do: pass "
            "classes=[...] to train on other batches."
        )
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
