"""StreamingEstimator: budgets, batches, counts, going on, held-out streams, determinism."""

import itertools
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_iris
from sklearn.decomposition import IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler, scale

from streamlearn import StochasticMux, Streamer, StreamingEstimator, StreamPool, _training, from_arrays

X, y = load_iris(return_X_y=True)
X = scale(X)
CLASSES = [0, 1, 2]


class Recorder(BaseEstimator):
    """Keeps the first column of each batch, which tells the stream, and its length."""

    def __init__(self, n_clusters=None):
        self.n_clusters = n_clusters

    def partial_fit(self, X, y=None):
        self.who_ = [*getattr(self, "who_", []), X[:, 0].astype(int)]
        return self


class OwnBatchSize(Recorder):
    """Makes one step of what a partial_fit gives it."""

    def __init__(self, batch_size=32, n_clusters=None):
        self.batch_size = batch_size
        super().__init__(n_clusters)


def items(who, n_items=None, size=1):
    for _ in itertools.repeat(None) if n_items is None else range(n_items):
        yield np.full((size, 2), who)


def streams(*lengths, size=1):
    return [Streamer(items, who, n, size) for who, n in enumerate(lengths)]


def sizes(model):
    return [len(who) for who in model.who_]


def order(model):
    return np.concatenate(model.who_)


def runs(values):
    return [(who, len(list(group))) for who, group in itertools.groupby(values.tolist())]


# -- batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 10, 25, 1000])
@pytest.mark.parametrize("item", [1, 3, 10, 64])
def test_items_are_joined_and_cut(batch_size, item):
    model = StreamingEstimator(Recorder(), batch_size=batch_size).fit(streams(6, 4, size=item))
    n = 10 * item
    assert sizes(model) == [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)


def test_each_item_as_it_comes():
    assert sizes(StreamingEstimator(Recorder(), batch_size=None).fit(streams(3, 2, size=7))) == [7] * 5


def test_auto_for_pools_and_for_arrays():
    pool = from_arrays(np.zeros((1000, 2)), n_streams=4)
    assert sizes(StreamingEstimator(Recorder()).fit(pool)) == [256, 256, 256, 232]
    assert sizes(StreamingEstimator(Recorder()).fit(streams(1000))) == [256, 256, 256, 232]
    assert sizes(StreamingEstimator(Recorder()).fit(np.zeros((5000, 2)), np.zeros(5000))) == [5000]
    own = StreamingEstimator(OwnBatchSize()).fit(np.zeros((100, 2)), np.zeros(100))
    assert sizes(own) == [32, 32, 32, 4]


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(4, [10, 4, 4, 3]), (None, [12, 3, 3, 3]), (16, [16, 5]), ("auto", [21])]
)
def test_the_first_batch_is_as_large_as_the_estimator_needs(batch_size, expected):
    assert sizes(StreamingEstimator(Recorder(10), batch_size=batch_size).fit(streams(7, size=3))) == expected
    model = StreamingEstimator(Recorder(10), batch_size=batch_size).iter_fit(items(0, 7, size=3))
    assert sizes(model) == expected


@pytest.mark.parametrize("estimator", [MiniBatchKMeans(8, n_init=1), IncrementalPCA(3)], ids=lambda e: type(e).__name__)
def test_estimators_that_need_a_large_first_batch(estimator):
    pool = from_arrays(X, n_streams=3)
    assert StreamingEstimator(estimator, batch_size=1, random_state=0).fit(pool).n_samples_seen_ == 150


def test_an_estimator_that_keeps_its_batch_is_not_given_a_buffer_that_is_used_again():
    buffer = np.empty((5, 2))

    def reused():
        for who in range(4):
            buffer[:] = who
            yield buffer

    model = StreamingEstimator(Recorder(), batch_size=7).fit([Streamer(reused)])
    assert order(model).tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_float32_among_float64():
    pool = StreamPool([Streamer([(X.astype(kind), y)] * 3) for kind in (np.float32, np.float64, np.float16)])
    model = StreamingEstimator(SGDClassifier(), classes=CLASSES, batch_size=None, random_state=0).fit(pool)
    assert model.n_samples_seen_ == 9 * 150
    model = StreamingEstimator(SGDClassifier(), random_state=0).partial_fit(X.astype(np.float32), y, classes=CLASSES)
    model.partial_fit(X, y).iter_fit([(X.astype(np.float32), y), (X, y)])
    assert model.coef_.dtype == np.float32


# -- how long, and from where ---------------------------------------------------------------------------------------------


def test_modes():
    pool = streams(5, 20, 11)

    def counts(**params):
        model = StreamingEstimator(Recorder(), random_state=0, **params).fit(pool)
        assert model.n_samples_seen_ == model.stream_counts_.sum() == len(order(model))
        np.testing.assert_array_equal(np.bincount(order(model), minlength=3), model.stream_counts_)
        return model.stream_counts_.tolist()

    assert counts() == counts(mode="exhaustive") == counts(mode="auto", lam=2, n_active=2) == [5, 20, 11]
    assert counts(n_passes=3) == [15, 60, 33]
    assert counts(mode="once", lam=10, dist="constant") == [5, 10, 10]
    assert counts(mode="once", lam=10, dist="constant", n_passes=2) == [10, 20, 20]
    assert sum(counts(mode="with_replacement", max_batches=7, batch_size=5)) == 35
    assert sum(counts(pool_weights=[1, 1, 0], max_batches=7, batch_size=5)) == 35
    assert counts(pool_weights=[1, 1, 0], max_batches=7, batch_size=5)[2] == 0
    assert counts(pool_weights=[1, 0, 1], mode="exhaustive") == [5, 0, 11]


@pytest.mark.parametrize("n_passes", ["auto", 1, 3])
@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
@pytest.mark.parametrize("batch_size", [7, 256, None])
def test_known_lengths_end_the_modes_without_end(mode, n_passes, batch_size):
    pool = from_arrays(
        np.repeat(np.arange(4), [10, 20, 30, 40])[:, None] * [1, 1], by=np.repeat(range(4), [10, 20, 30, 40])
    )
    model = StreamingEstimator(
        Recorder(), mode=mode, n_passes=n_passes, batch_size=batch_size, lam=3, n_active=2, random_state=0
    ).fit(pool)
    total = 100 * (1 if n_passes == "auto" else n_passes)
    assert model.n_samples_seen_ == model.stream_counts_.sum() == len(order(model)) == total
    np.testing.assert_array_equal(np.bincount(order(model), minlength=4), model.stream_counts_)


@pytest.mark.parametrize(
    ("n_passes", "max_batches", "expected"), [("auto", 30, 30), (1, 30, 10), (1, 3, 3), (2, 30, 20)]
)
def test_the_first_budget_that_is_spent_ends_training(n_passes, max_batches, expected):
    pool = from_arrays(np.zeros((100, 2)), n_streams=4)
    model = StreamingEstimator(
        Recorder(), mode="with_replacement", n_passes=n_passes, max_batches=max_batches, batch_size=10
    )
    assert model.fit(pool).n_batches_ == expected
    exhaustive = StreamingEstimator(Recorder(), max_batches=max_batches, batch_size=10, n_passes=n_passes).fit(pool)
    assert exhaustive.n_batches_ == min(max_batches, 10 * (1 if n_passes == "auto" else n_passes))


def test_weights_decide_the_mode_and_the_shares():
    pool = from_arrays(np.repeat([0, 1], 500)[:, None] * [1, 1], by=np.repeat([0, 1], 500))
    weighted = StreamPool(list(pool), weights=[3, 1])
    for model in (
        StreamingEstimator(Recorder(), pool_weights=[3, 1], lam=1, n_passes=10, random_state=0).fit(pool),
        StreamingEstimator(Recorder(), lam=1, n_passes=10, random_state=0).fit(weighted),
        StreamingEstimator(Recorder(), pool_weights=[3, 1], lam=1, n_passes=10, random_state=0).fit(list(pool)),
    ):
        # visits of one sample: 10 000 independent draws
        assert model.stream_counts_[0] / 10_000 == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 10_000))
    assert StreamingEstimator(Recorder(), mode="exhaustive").fit(weighted).stream_counts_.tolist() == [500, 500]


@pytest.mark.parametrize("lam", [1, 4, 9])
def test_visits_of_constant_length(lam):
    model = StreamingEstimator(Recorder(), n_active=1, lam=lam, dist="constant", mode="once", random_state=0)
    assert [n for _, n in runs(order(model.fit(streams(9, 9, 9, 9))))] == [lam] * 4


def test_lam_none_is_one_stream_after_the_other():
    model = StreamingEstimator(Recorder(), n_active=1, lam=None, random_state=0).fit(streams(5, 6, 7))
    assert sorted(runs(order(model))) == [(0, 5), (1, 6), (2, 7)]


@pytest.mark.parametrize(("n_active", "expected"), [(None, 8), (3, 3), (50, 20)])
def test_no_more_streams_are_open_than_active(n_active, expected):
    opened, most = set(), []

    def watched(who):
        opened.add(who)
        most.append(len(opened))
        try:
            yield from items(who, 10)
        finally:
            opened.discard(who)

    pool = [Streamer(watched, who) for who in range(20)]
    model = StreamingEstimator(Recorder(), n_active=n_active, lam=None, random_state=0).fit(pool)
    assert model.stream_counts_.tolist() == [10] * 20
    assert max(most) == expected
    assert not opened


@pytest.mark.parametrize("prune", [True, False])
def test_empty_streams_are_pruned(prune):
    visits = []

    def empty():
        visits.append(1)
        yield from ()

    model = StreamingEstimator(
        Recorder(),
        mode="with_replacement",
        n_active=1,
        lam=1,
        prune_empty_seeds=prune,
        max_batches=200,
        batch_size=1,
        random_state=0,
    ).fit([Streamer(empty), *streams(None, None)])
    assert model.stream_counts_.sum() == 200
    if prune:
        assert len(visits) == 1
    else:  # one in three visits: 100 beside those of 200 samples
        assert 50 < len(visits) < 150


def test_streams_are_closed_when_training_ends_early():
    closed = []

    def endless(who):
        try:
            yield from items(who)
        finally:
            closed.append(who)

    StreamingEstimator(Recorder(), max_batches=20, lam=2, batch_size=1, random_state=0).fit(
        [Streamer(endless, who) for who in range(3)]
    )
    assert set(closed) == {0, 1, 2}


@pytest.mark.parametrize(("limit", "value"), [("_MAX_SILENT_BATCHES", 10), ("_MAX_SILENT_SAMPLES", 48)])
def test_a_warning_that_training_may_have_no_end(limit, value, monkeypatch):
    monkeypatch.setattr(_training, limit, value)
    model = StreamingEstimator(Recorder(), batch_size=5)
    with pytest.warns(UserWarning, match=r"50 samples in 10 batches and max_batches is None") as warned:
        model.fit(streams(100))
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(max_batches=100).fit(streams(100))
        model.set_params(max_batches=None).fit(np.zeros((100, 2)), np.zeros(100))


def test_passes_differ_from_each_other():
    pool = from_arrays(np.arange(100)[:, None] * [1, 1])
    first, second = np.split(order(StreamingEstimator(Recorder(), n_passes=2, random_state=0).fit(pool)), 2)
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()


# -- going on -------------------------------------------------------------------------------------------------------------


def test_partial_fit_is_that_of_the_estimator():
    model = StreamingEstimator(SGDClassifier(random_state=3), classes=CLASSES)
    bare = SGDClassifier(random_state=np.random.RandomState(3))
    for i in range(0, 150, 30):
        model.partial_fit(X[i : i + 30], y[i : i + 30])
        bare.partial_fit(X[i : i + 30], y[i : i + 30], classes=CLASSES)
    np.testing.assert_array_equal(model.coef_, bare.coef_)
    assert (model.n_batches_, model.n_samples_seen_, model.stream_counts_.tolist()) == (5, 150, [150])


def test_partial_fit_of_weights_and_after_fit():
    weight = np.arange(150) % 3 + 1.0
    model = StreamingEstimator(GaussianNB()).fit(X[::2], y[::2], sample_weight=weight[::2])
    model.partial_fit(X[1::2], y[1::2], sample_weight=weight[1::2])
    bare = GaussianNB().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.theta_, bare.theta_)
    assert model.n_samples_seen_ == model.stream_counts_.sum() == 150


def test_partial_fit_needs_classes_and_the_same_features():
    with pytest.raises(ValueError, match="classes must be passed"):
        StreamingEstimator(SGDClassifier()).partial_fit(X, y)
    model = StreamingEstimator(SGDClassifier()).partial_fit(X, y, classes=CLASSES)
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit(X[:, :3], y)


def test_iter_fit_goes_on_where_fit_stands():
    model = StreamingEstimator(GaussianNB(), batch_size=32).fit(X[:75], y[:75], classes=CLASSES)
    generator = ((X[i : i + 10], y[i : i + 10]) for i in range(75, 150, 10))
    assert model.iter_fit(generator).n_samples_seen_ == 150
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y).theta_)


def test_iter_fit_stops_at_max_batches_and_leaves_the_generator():
    numbers = iter(range(100))
    model = StreamingEstimator(Recorder(), max_batches=3, batch_size=4)
    model.iter_fit(np.full((1, 2), i) for i in numbers)
    assert sizes(model) == [4, 4, 4]
    assert next(numbers) == 12
    model.iter_fit(np.full((1, 2), i) for i in numbers)
    assert order(model).tolist() == [*range(12), *range(13, 25)]


def test_iter_fit_of_a_mux_and_of_streams_that_take_seeds():
    def noise(rng):
        while True:
            yield rng.normal(size=(8, 2)) * 1000

    def trained(random_state):
        model = StreamingEstimator(Recorder(), max_batches=4, batch_size=8, random_state=random_state)
        return order(model.iter_fit(Streamer(noise)).iter_fit(Streamer(noise)))

    first, second = np.split(trained(0), 2)
    assert (first != second).any()  # the second call does not repeat the first
    np.testing.assert_array_equal(trained(0), trained(0))
    assert (trained(0) != trained(1)).any()

    mux = StochasticMux(from_arrays(np.arange(90)[:, None] * [1, 1], n_streams=3), 2, mode="exhaustive", random_state=0)
    model = StreamingEstimator(Recorder(), batch_size=16).iter_fit(mux)
    assert sorted(order(model)) == list(range(90))
    assert model.stream_counts_.tolist() == [90]


def test_iter_fit_without_a_sample():
    model = StreamingEstimator(GaussianNB(), classes=CLASSES)
    with pytest.raises(ValueError, match="no sample"):
        model.iter_fit([])
    assert not hasattr(model, "estimator_")
    with pytest.raises(TypeError, match="stream must be"):
        model.iter_fit(3)


def test_warm_start():
    model = StreamingEstimator(GaussianNB(), warm_start=True, classes=CLASSES).fit(X[::2], y[::2])
    estimator = model.estimator_
    assert model.fit(X[1::2], y[1::2]).estimator_ is estimator
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y).theta_)
    model.set_params(warm_start=False).fit(X[::2], y[::2])
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X[::2], y[::2]).theta_)


def test_fit_starts_anew_and_leaves_the_estimator_alone():
    inner = SGDClassifier()
    model = StreamingEstimator(inner, random_state=0)
    first = model.fit(X, y).coef_
    np.testing.assert_array_equal(model.fit(X, y).coef_, first)
    assert not hasattr(inner, "coef_")
    assert inner.random_state is None


# -- attributes -----------------------------------------------------------------------------------------------------------


def test_attributes_of_the_estimator_are_there():
    model = StreamingEstimator(SGDClassifier(), random_state=0).fit(X, y)
    assert model.coef_ is model.estimator_.coef_
    assert model.classes_.tolist() == CLASSES
    for name in ("alpha", "nothing_", "_private"):
        with pytest.raises(AttributeError, match=name):
            getattr(model, name)


def test_methods_are_those_of_the_estimator():
    assert not hasattr(StreamingEstimator(SGDClassifier()), "predict_proba")
    assert hasattr(StreamingEstimator(SGDClassifier(loss="log_loss")), "predict_proba")
    assert not hasattr(StreamingEstimator(SGDClassifier()), "transform")
    assert not hasattr(StreamingEstimator(StandardScaler()), "predict")
    assert not hasattr(StreamingEstimator(StandardScaler()), "score")
    assert hasattr(StreamingEstimator(MiniBatchKMeans()), "fit_predict")
    with pytest.raises(AttributeError, match="predict_proba"):
        StreamingEstimator(SGDClassifier()).fit(X, y).predict_proba(X)


@pytest.mark.parametrize("method", ["predict", "decision_function", "score", "iter_predict"])
def test_before_fit(method):
    with pytest.raises(NotFittedError):
        list(getattr(StreamingEstimator(SGDClassifier()), method)(X))


def test_names_of_streams():
    pool = StreamPool(streams(2, 3), names=["left", "right"])
    assert StreamingEstimator(Recorder()).fit(pool).stream_names_ == ("left", "right")
    assert StreamingEstimator(Recorder()).fit(streams(2, 3)).stream_names_ == ("0", "1")


def test_progress_is_printed(capsys):
    pool = streams(40, 20)
    StreamingEstimator(Recorder(), batch_size=10, verbose=2).fit(pool)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[:2] for line in lines] == [
        [f"[StreamingEstimator] batch {i}", f" {10 * i} samples"] for i in range(1, 7)
    ]
    StreamingEstimator(Recorder(), batch_size=10, verbose=1).fit(pool)  # no second passes: only the end
    assert capsys.readouterr().out.startswith("[StreamingEstimator] batch 6, 60 samples")
    StreamingEstimator(Recorder(), batch_size=10).fit(pool)
    assert capsys.readouterr().out == ""


# -- determinism ----------------------------------------------------------------------------------------------------------


def noise(rng, who):
    while True:
        yield {"X": rng.normal(who, 1.0, (4, 3)), "y": np.full(4, who)}


def coefficients(random_state, estimator=None, **params):
    model = StreamingEstimator(
        SGDClassifier() if estimator is None else estimator,
        random_state=random_state,
        max_batches=30,
        classes=CLASSES,
        n_active=2,
        lam=3,
        **params,
    )
    return model.fit([Streamer(noise, who=who) for who in CLASSES]).coef_


@pytest.mark.parametrize("mode", ["with_replacement", "single_active", "exhaustive"])
def test_random_state_decides_everything(mode):
    np.testing.assert_array_equal(coefficients(0, mode=mode), coefficients(0, mode=mode))
    assert (coefficients(0, mode=mode) != coefficients(1, mode=mode)).any()
    assert (coefficients(None, mode=mode) != coefficients(None, mode=mode)).any()
    state = np.random.RandomState(0)
    first = coefficients(state, mode=mode)
    assert (coefficients(state, mode=mode) != first).any()  # an instance goes on
    np.testing.assert_array_equal(coefficients(np.random.RandomState(0), mode=mode), first)


def test_random_state_inside_the_estimator():
    fixed = SGDClassifier(random_state=5)
    np.testing.assert_array_equal(coefficients(0, fixed), coefficients(0, clone(fixed)))
    assert (coefficients(0, fixed) != coefficients(0, SGDClassifier(random_state=6))).any()
    model = StreamingEstimator(MultiOutputRegressor(SGDRegressor(random_state=7)), random_state=0)
    inner = model.fit(X, X[:, :2]).estimator_.estimator
    assert isinstance(inner.random_state, np.random.RandomState)
    assert model.estimator.estimator.random_state == 7


def test_the_order_is_that_of_rows_not_of_containers():
    pool = from_arrays(X, y, n_streams=5)
    first = StreamingEstimator(SGDClassifier(), random_state=0).fit(pool).coef_
    np.testing.assert_array_equal(StreamingEstimator(SGDClassifier(), random_state=0).fit(list(pool)).coef_, first)
