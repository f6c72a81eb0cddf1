"""Reading held-out pools: in order, bounded, and with errors that name the stream."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from streamlearn import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    _outputs,
    from_arrays,
    stream_scorer,
)
from streamlearn._outputs import pool_batches

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 2
FITTED = StreamingEstimator(GaussianNB()).fit(X, Y)


def items(step):
    for row in range(0, 60, step):
        yield X[row : row + step], Y[row : row + step]


def endless(step=7):
    while True:
        yield from items(step)


@pytest.mark.parametrize("max_samples", [1, 20, 60, 100, None])
@pytest.mark.parametrize(
    ("streams", "wholes"),
    [(list(from_arrays(X, Y, n_streams=2)), [X[:30], X[30:]]), ([Streamer(items, 7), Streamer(items, 60)], [X, X])],
)
def test_the_first_rows_of_each_stream(streams, wholes, max_samples):
    taken = {}
    for position, batch in pool_batches(StreamPool(streams), 0, max_samples):
        taken.setdefault(position, []).append(batch.X)
    for position, whole in enumerate(wholes):
        np.testing.assert_array_equal(np.concatenate(taken[position]), whole[:max_samples])


def test_no_more_is_read_than_is_asked_for():
    n_read = []

    def counted():
        for item in endless():
            n_read.append(len(item[0]))
            yield item

    list(pool_batches(StreamPool([Streamer(counted)]), 0, 20))
    assert sum(n_read) < 28


def test_an_endless_stream_is_warned_of(monkeypatch):
    monkeypatch.setattr(_outputs, "_MAX_SILENT_SAMPLES", 10_000)
    pool = StreamPool([Streamer(endless)], names=["sensor"])
    text = r"stream 'sensor' at position 0 has given \d+ samples and goes on: is it endless\? {}"

    class Enough(Exception):
        pass

    def long():
        yield from itertools.islice(endless(), 2000)
        raise Enough

    for use, advice in [
        (FITTED.predict, "Use iter_predict"),
        (FITTED.score, r"Pass stream_scorer\(..., max_samples=...\)"),
        (lambda pool: stream_scorer("roc_auc")(FITTED, pool), r"Pass stream_scorer\(..., max_samples=...\)"),
    ]:
        with pytest.warns(UserWarning, match=text.format(advice)), pytest.raises(Enough):
            use(StreamPool([Streamer(long)], names=["sensor"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stream_scorer("accuracy", max_samples=20_000)(FITTED, pool) > 0
        assert sum(len(part) for part in itertools.islice(FITTED.iter_predict(pool), 5)) > 10_000
        finite = StreamPool([from_arrays(np.tile(X, (400, 1)), np.tile(Y, 400))[0]])
        FITTED.predict(finite)


METHODS = {
    "predict": lambda model, pool: model.predict(pool),
    "iter_predict": lambda model, pool: list(model.iter_predict(pool)),
    "score": lambda model, pool: model.score(pool),
    "stream_scorer": lambda model, pool: stream_scorer("roc_auc")(model, pool),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_errors_name_the_stream(method):
    def fails():
        yield X, Y
        raise OSError("the cable is out")

    def refused(second, kind, model=FITTED):
        pool = StreamPool([Streamer(items, 7), second], names=["good", "bad"])
        with pytest.raises(kind) as caught:
            method(model, pool)
        return "\n".join(map(str, [caught.value, *caught.value.__notes__]))

    assert "stream 'bad' at position 1" in refused(Streamer(fails), OSError)
    text = refused(Streamer([(X, Y), (X, Y[1:])]), ValueError)
    assert "stream 'bad' at position 1" in text
    assert "X with 60 rows, but y of shape (59,)" in text
    text = refused(Streamer([(X[:, :2], Y)]), ValueError)
    assert "2 features" in text
    assert "for rows of stream 'bad' at position 1" in text
    frame = pd.DataFrame(X, columns=list("abc"))
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0).fit([Streamer([(frame, Y)])])
    pool = StreamPool([Streamer([(frame, Y)]), Streamer([(frame[["a", "b"]], Y)])], names=["good", "bad"])
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- c") as caught:
        method(model, pool)
    assert "for rows of stream 'bad' at position 1" in "\n".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "make",
    [
        lambda streams: StochasticMux(streams, 2, 5),
        lambda streams: StochasticMux(streams, 2, 5, mode="single_active"),
        ShuffledMux,
        lambda streams: RoundRobinMux(streams, mode="cycle"),
        lambda streams: ChainMux(streams, mode="cycle"),
        lambda streams: ChainMux([*streams, ShuffledMux(streams)]),
        lambda streams: StochasticMux([ShuffledMux(streams)], 1, 5, mode="exhaustive"),
    ],
    ids=["replacement", "single", "shuffled", "robin", "cycle", "within a chain", "within exhaustive"],
)
def test_muxes_that_never_end_are_refused_where_nothing_bounds_them(make):
    streams = list(from_arrays(X, Y, n_streams=3))
    pool = StreamPool([streams[0], make(streams[1:])], names=["array", "mux"])
    never = "stream 'mux' at position 1 never ends"
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], max_batches=5, random_state=0)
    with pytest.raises(ValueError, match=f"{never}.* Set max_batches"):
        clone(model).set_params(max_batches=None).fit(pool)
    with pytest.raises(ValueError, match=f"{never}.* Set validation_max_samples"):
        clone(model).set_params(validation=pool).fit(pool)
    model.fit(pool)
    assert model.n_batches_ == 5
    with pytest.raises(ValueError, match=f"{never}.*stream_scorer"):
        model.score(pool)
    with pytest.raises(ValueError, match=f"{never}.* Use iter_predict"):
        model.predict(pool)
    assert 0 <= stream_scorer("accuracy", max_samples=20)(model, pool) <= 1
    watched = clone(model).set_params(validation=pool, validation_max_samples=20, n_iter_no_change=2, max_batches=None)
    assert watched.fit(pool).n_batches_ > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda streams: StochasticMux(streams, 2, 5, mode="exhaustive"),
        lambda streams: StochasticMux(streams, 2, 5, mode="once"),
        lambda streams: StochasticMux([ShuffledMux(streams)], 1, 5, mode="once"),
        RoundRobinMux,
        ChainMux,
        lambda streams: ChainMux(lambda: iter(streams)),
    ],
)
def test_muxes_that_end_are_not(make):
    pool = StreamPool([make(list(from_arrays(X, Y, n_streams=3)))])
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0).fit(pool)
    assert model.n_samples_seen_ > 0
    assert len(model.predict(pool)[0]) > 0
