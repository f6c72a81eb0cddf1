"""Training that is paused and goes on, here or in another process, ends where training at one go ends."""

import multiprocessing

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays, mux
from streamlearn._paused import train_on

X, y = load_digits(return_X_y=True)
X = X / 16
RUNS = []


def items(start, stop, rng):
    RUNS.append(start)
    for i in range(start, stop, 4):
        yield {"X": X[i : i + 4] + rng.normal(0, 0.01, (len(X[i : i + 4]), 64)), "y": y[i : i + 4]}


def generators():
    return StreamPool([Streamer(items, a, a + 60) for a in range(0, 360, 60)])


POOLS = {"arrays": lambda: from_arrays(X, y, n_streams=6), "generators": generators}


def model(max_batches, **settings):
    settings = {"batch_size": 16, "n_passes": 5, "classes": range(10), "random_state": 0, **settings}
    return StreamingEstimator(SGDClassifier(), max_batches=max_batches, **settings)


def assert_same(found, expected):
    for name in ("coef_", "n_batches_", "n_samples_seen_", "n_passes_", "stream_counts_", "stream_names_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def step(pool, paused, max_batches, sent):
    sent.send(train_on(model(max_batches), POOLS[pool](), None, {}, paused, True))
    sent.close()


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("settings", [{}, {"mode": "with_replacement"}, {"classes": "scan"}], ids=str)
def test_the_end_is_that_of_training_at_one_go(pool, settings):
    paused = None
    for max_batches in (1, 2, 30, 31, 80):  # a pass of the generators has 23 batches
        part = model(max_batches, **settings)
        paused = train_on(part, POOLS[pool](), None, {}, paused, True)
        assert_same(part, model(max_batches, **settings).fit(POOLS[pool]()))
        assert paused is not None


@pytest.mark.parametrize("pool", POOLS)
def test_each_part_in_a_process_of_its_own(pool):
    paused = None
    context = multiprocessing.get_context("spawn")
    for max_batches in (7, 20):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=step, args=(pool, paused, max_batches, sender))
        process.start()
        sender.close()
        paused = receiver.recv()
        process.join()
    last = model(40)
    train_on(last, POOLS[pool](), None, {}, paused, False)
    assert_same(last, model(40).fit(POOLS[pool]()))


def test_what_has_ended_does_not_go_on():
    short = model(1000, n_passes=1)
    assert train_on(short, generators(), None, {}, None, True) is None
    assert short.n_batches_ == 23
    assert train_on(model(5), generators(), None, {}, None, False) is None  # nobody wants to go on


def test_labels_are_scanned_once():
    paused = train_on(model(3, classes="scan"), generators(), None, {}, None, True)
    RUNS.clear()
    train_on(model(6, classes="scan"), generators(), None, {}, paused, True)
    began = len(RUNS)
    RUNS.clear()
    paused = train_on(model(3), generators(), None, {}, None, True)
    RUNS.clear()
    train_on(model(6), generators(), None, {}, paused, True)
    assert began == len(RUNS)


def test_weights_go_on():
    weight = (np.arange(len(X)) % 3).astype(float)
    paused = train_on(model(3), X, y, {"sample_weight": weight}, None, True)
    found = model(9)
    train_on(found, X, y, {"sample_weight": weight}, paused, True)
    assert_same(found, model(9).fit(X, y, sample_weight=weight))


def test_classes_that_cannot_be_imported_are_pickled_with_their_code():
    class Own(GaussianNB):
        def partial_fit(self, X, y, classes=None, sample_weight=None):
            self.told_ = getattr(self, "told_", 0) + len(X)
            return super().partial_fit(X, y, classes, sample_weight)

    Own.__qualname__ = "Own"  # now it looks as if it could be imported
    paused = train_on(model(3).set_params(estimator=Own()), generators(), None, {}, None, True)
    found = model(6).set_params(estimator=Own())
    train_on(found, generators(), None, {}, paused, True)
    assert found.told_ == 6 * 16


def test_streams_without_a_state_are_refused_and_the_others_closed():
    closed = []

    def endless():
        try:
            while True:
                yield {"X": X[:8], "y": y[:8]}
        finally:
            closed.append(True)

    pool = StreamPool([Streamer(endless), Streamer(mux, [endless()], None, 1)])
    with pytest.raises(TypeError, match="running generator"):
        train_on(model(8, lam=2), pool, None, {}, None, True)
    assert closed
