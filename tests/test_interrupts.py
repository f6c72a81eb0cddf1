"""Interrupts at any point of training, training in several threads, and in forked and spawned processes."""

import _thread
import collections
import contextlib
import functools
import linecache
import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

import streamlearn
from streamlearn import StochasticMux, Streamer, StreamingEstimator, StreamPool, _read_ahead, from_arrays
from streamlearn._ahead import Ahead
from streamlearn._blocks import BlockSource, BlockStream

PACKAGE = os.path.dirname(streamlearn.__file__) + os.sep
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = (X[:, 0] > 0).astype(int)

opened = collections.Counter()


def batches(start, stop, size=10):
    """Batches of some rows; it is counted how many such streams are open."""
    opened["now"] += 1
    try:
        for row in range(start, stop, size):
            yield {"X": X[row : row + size], "y": Y[row : row + size]}
    finally:
        opened["now"] -= 1


class Blocks(BlockSource):
    """Blocks of 25 rows of a range of X; it is counted how many are being read."""

    parts = ("X", "y")
    row_bytes = 2**17  # so that a mux reads few of them at once

    def __init__(self, start, stop):
        self.name = f"{start} to {stop}"
        self.range = start, stop

    def rows(self):
        return np.full((self.range[1] - self.range[0]) // 25, 25)

    def read(self, block):
        opened["reading"] += 1
        try:
            time.sleep(0.001)
            start = self.range[0] + 25 * block
            return {"X": X[start : start + 25], "y": Y[start : start + 25]}
        finally:
            opened["reading"] -= 1


class BlocksTogether(Blocks):
    reads_together = True


class AsIfWaitedFor(Ahead):
    is_waited_for = property(lambda self: True, lambda self, value: None)


@pytest.fixture(autouse=True)
def as_if_waited_for(request, monkeypatch):
    if hasattr(request.node, "callspec") and request.node.callspec.params.get("kind") == "blocks together":
        monkeypatch.setattr(_read_ahead, "Ahead", AsIfWaitedFor)


STARTS = range(0, 300, 50)
POOLS = {
    "generators": StreamPool([Streamer(batches, start, start + 50) for start in STARTS]),
    "arrays": from_arrays(X, Y, n_streams=6),
    "blocks": StreamPool([BlockStream(Blocks(start, start + 50)) for start in STARTS]),
    "blocks ahead": StreamPool([BlockStream(Blocks(start, start + 50), prefetch=2) for start in STARTS]),
    "blocks together": StreamPool([BlockStream(BlocksTogether(start, start + 50)) for start in STARTS]),
    "nested": StreamPool(
        [
            StochasticMux([Streamer(batches, s, s + 50) for s in part], 2, 5, mode="exhaustive")
            for part in ((0, 50), (100,))
        ]
    ),
}


def model_of(kind, estimator=None, **params):
    estimator = SGDClassifier(random_state=0) if estimator is None else estimator
    params = {"batch_size": 16, "lam": 8, "classes": [0, 1], "n_passes": 2, "random_state": 0, **params}
    return StreamingEstimator(estimator, **params), (X, Y) if kind == "array" else (POOLS[kind],)


def assert_usable(model, data, whole):
    """The model is as trained so far, and nothing is left of the interrupted fit."""
    assert sklearn.get_config()["assume_finite"] is False
    assert sklearn.get_config()["skip_parameter_validation"] is False
    assert opened["now"] == 0, "a stream is open"
    assert opened["reading"] == 0, "a block is being read"
    assert not [thread for thread in threading.enumerate() if thread.name == "streamlearn-prefetch"]
    if model.__sklearn_is_fitted__():
        assert model.n_batches_ >= 1
        assert model.n_samples_seen_ == model.stream_counts_.sum() > 0
        assert model.n_features_in_ == 4
        assert set(model.predict(X)) <= {0, 1}
        assert np.isfinite(model.coef_).all()
        n_before = model.n_batches_
        model.partial_fit(X[:5], Y[:5])
        assert model.n_batches_ == n_before + 1
    else:
        with pytest.raises(NotFittedError):
            model.predict(X)
    # a fit after it is as if there had been none
    np.testing.assert_array_equal(model.fit(*data).coef_, whole)


# -- at a line of the package ------------------------------------------------------------------------------------------------


def line_of(frame):
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def lines_of(function, at=None):
    """Count the lines of the package that are run by this thread, and interrupt before one of them."""
    n = 0

    def trace(frame, event, _):
        nonlocal n
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            n += 1
            # never where a with statement ends, before its lock is released: Python looks for interrupts after that
            if at is not None and n >= at and not line_of(frame).startswith("with "):
                raise KeyboardInterrupt
        return trace

    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(tracing)
    return n


@pytest.mark.parametrize("kind", [*POOLS, "array"])
def test_an_interrupt_at_any_line(kind):
    model, data = model_of(kind)
    whole = clone(model).fit(*data).coef_
    n_lines = lines_of(lambda: clone(model).fit(*data))
    fitted = 0
    for at in sorted({*np.linspace(1, n_lines, 24).astype(int).tolist(), *range(n_lines - 9, n_lines)}):
        interrupted = clone(model)
        try:
            lines_of(lambda interrupted=interrupted: interrupted.fit(*data), at)
        except KeyboardInterrupt:
            fitted += interrupted.__sklearn_is_fitted__()
        assert_usable(interrupted, data, whole)
    assert fitted > 12


@pytest.mark.parametrize("kind", ["generators", "blocks ahead"])
def test_an_interrupt_at_any_line_of_iter_fit(kind):
    def stream():
        return StochasticMux(POOLS[kind], 2, 8, mode="exhaustive", random_state=0)

    start = model_of(kind)[0].fit(*model_of(kind)[1])
    n_before, counted = start.n_batches_, start.stream_counts_.sum()
    whole = start.coef_

    def another():
        return model_of(kind)[0].fit(*model_of(kind)[1])

    n_lines = lines_of(lambda: another().iter_fit(stream())) - lines_of(another)
    n_of_fit = lines_of(another)
    for at in np.linspace(n_of_fit + 1, n_of_fit + n_lines, 15).astype(int).tolist():
        model = another()
        with contextlib.suppress(KeyboardInterrupt):
            lines_of(functools.partial(model.iter_fit, stream()), at - n_of_fit)
        assert model.n_batches_ >= n_before
        assert model.stream_counts_.sum() - counted == model.n_samples_seen_ - counted >= 0
        assert_usable(model, model_of(kind)[1], whole)


# -- from inside what the user wrote ----------------------------------------------------------------------------------------


def interrupted_stream(start, stop, after):
    for i, item in enumerate(batches(start, stop)):
        if i == after:
            signal.raise_signal(signal.SIGINT)
        yield item


@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_an_interrupt_in_a_stream(after):
    pool = StreamPool([Streamer(interrupted_stream, 0, 100, after)])
    model, _ = model_of("generators", batch_size=None, n_passes=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(pool)
    assert opened["now"] == 0
    if not after:
        assert not model.__sklearn_is_fitted__()
        return
    bare = SGDClassifier(random_state=np.random.RandomState(0))
    for item in Streamer(batches, 0, 10 * after):
        bare.partial_fit(item["X"], item["y"], classes=[0, 1])
    np.testing.assert_array_equal(model.coef_, bare.coef_)
    assert (model.n_batches_, model.n_samples_seen_) == (after, 10 * after)


class Interrupting(GaussianNB):
    """Is interrupted in a call of partial_fit."""

    calls = 0

    def __init__(self, at=0):
        super().__init__()
        self.at = at

    def partial_fit(self, X, y, classes=None):
        self.calls += 1
        if self.calls == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().partial_fit(X, y, classes)


@pytest.mark.parametrize("kind", [*POOLS, "array"])
@pytest.mark.parametrize("at", [1, 2, 7])
def test_an_interrupt_in_partial_fit(kind, at):
    model, data = model_of(kind, Interrupting(at))
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data)
    assert model.__sklearn_is_fitted__() == (at > 1)
    assert sklearn.get_config()["assume_finite"] is False
    if at > 1:
        assert (model.n_batches_, model.n_samples_seen_) == (at - 1, 16 * (at - 1))
        assert model.class_count_.sum() == model.n_samples_seen_  # the estimator's own count
        assert model.predict(X).shape == (300,)
        model.iter_fit([(X[:16], Y[:16])])
        assert model.n_samples_seen_ == 16 * at


def test_an_interrupt_of_training_that_goes_on():
    model, data = model_of("generators", Interrupting(), warm_start=True)
    model.fit(*data)
    n_batches, n_samples = model.n_batches_, model.n_samples_seen_
    model.estimator_.at = model.estimator_.calls + 4
    with pytest.raises(KeyboardInterrupt):
        model.iter_fit(Streamer(batches, 0, 300))
    assert (model.n_batches_, model.n_samples_seen_) == (n_batches + 3, n_samples + 48)
    assert model.stream_counts_.sum() == n_samples + 48
    assert model.class_count_.sum() == n_samples + 48
    model.estimator_.at = model.estimator_.calls + 1
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[:16], Y[:16])
    assert (model.n_batches_, model.n_samples_seen_) == (n_batches + 3, n_samples + 48)


# -- at random moments -------------------------------------------------------------------------------------------------------


def interrupted_after(seconds, function):
    """Call a function, and interrupt the main thread meanwhile, from another one."""
    timer = threading.Timer(seconds, _thread.interrupt_main)
    try:
        timer.start()
        function()
        timer.join()
        time.sleep(0.01)  # so that no interrupt comes later
    except KeyboardInterrupt:
        timer.join()


@pytest.mark.parametrize("kind", [*POOLS, "array"])
def test_an_interrupt_at_a_random_moment(kind):
    model, data = model_of(kind)
    whole = clone(model).fit(*data).coef_
    began = time.perf_counter()
    clone(model).fit(*data)
    seconds = time.perf_counter() - began
    for share in np.random.default_rng(1).random(20):
        interrupted = clone(model)
        interrupted_after(share * seconds, lambda interrupted=interrupted: interrupted.fit(*data))
        assert_usable(interrupted, data, whole)


# -- in several threads ------------------------------------------------------------------------------------------------------


def in_threads(functions):
    """Run functions in a thread each, all at once, and return what they return."""
    results, barrier = [None] * len(functions), threading.Barrier(len(functions))

    def run(i):
        barrier.wait()
        try:
            results[i] = functions[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it hangs"
    return results


@pytest.mark.parametrize("kind", [*POOLS, "array"])
def test_fits_in_several_threads_are_those_of_one(kind):
    """Clones share the pool, its sources and the threads that read ahead."""
    models = [model_of(kind)[0].set_params(random_state=seed) for seed in range(8)]
    data = model_of(kind)[1]
    expected = [clone(model).fit(*data) for model in models]
    for model, other in zip(
        in_threads([lambda m=model: clone(m).fit(*data) for model in models]), expected, strict=True
    ):
        np.testing.assert_array_equal(model.coef_, other.coef_)
        np.testing.assert_array_equal(model.stream_counts_, other.stream_counts_)
    assert sklearn.get_config()["assume_finite"] is False


@pytest.mark.parametrize("kind", ["generators", "blocks ahead"])
def test_predictions_and_training_in_several_threads(kind):
    model, data = model_of(kind)
    model.fit(*data)
    expected = model.predict(POOLS[kind])
    functions = [lambda: model.predict(POOLS[kind])] * 4 + [lambda: clone(model).fit(*data).predict(POOLS[kind])] * 4
    for result in in_threads(functions):
        assert [part.tolist() for part in result] == [part.tolist() for part in expected]


# -- in other processes ------------------------------------------------------------------------------------------------------


def fit_and_send(kind, queue):
    model, data = model_of(kind)
    queue.put(model.fit(*data).coef_.tolist())


def in_process(method, kind):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=fit_and_send, args=(kind, queue))
    process.start()
    process.join(100)
    if process.exitcode is None:
        process.kill()
        pytest.fail("it hangs")
    assert process.exitcode == 0
    return queue.get()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", [*POOLS, "array"])
def test_a_fork_of_a_process_that_has_fitted(kind):
    model, data = model_of(kind)
    expected = model.fit(*data).coef_.tolist()
    assert in_process("fork", kind) == expected
    assert model.fit(*data).coef_.tolist() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["arrays", "blocks ahead"])
def test_a_fork_in_the_midst_of_a_fit_in_another_thread(kind):
    """Whatever the threads of the parent hold at that moment, the child trains."""
    model, data = model_of(kind)
    expected = clone(model).fit(*data).coef_.tolist()
    stop = threading.Event()

    def train():
        while not stop.is_set():
            clone(model).fit(*data)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(3):
            assert in_process("fork", kind) == expected
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("kind", ["generators", "blocks ahead"])
def test_a_spawned_process(kind):
    model, data = model_of(kind)
    expected = model.fit(*data).coef_.tolist()
    assert in_process("spawn", kind) == expected
