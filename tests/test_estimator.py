"""StreamingEstimator: what its parameters and attributes promise, on streams."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import SGDClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.preprocessing import StandardScaler, scale

from streamlearn import Streamer, StreamFactory, StreamingEstimator, StreamPool, from_arrays

X, y = load_iris(return_X_y=True)
X = scale(X)


class Recording(ClassifierMixin, BaseEstimator):
    """Remembers the batches that it was trained on."""

    def partial_fit(self, X, y, classes=None):
        if classes is not None:
            self.classes_ = np.asarray(classes)
        self.n_features_in_ = X.shape[1]
        self.batches_ = [*getattr(self, "batches_", []), (np.array(X), np.array(y))]
        return self

    def fit(self, X, y):
        return self.partial_fit(X, y, np.unique(y))

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def numbered(start, stop, size):
    for a in range(start, stop, size):
        b = min(a + size, stop)
        yield {"X": np.arange(a, b, dtype=float)[:, None], "y": np.arange(a, b) % 2}


def endless(value, rng):
    while True:
        yield {"X": value + rng.normal(size=(8, 2)), "y": np.full(8, value)}


def streams():
    return [Streamer(numbered, 0, 30, 7), Streamer(numbered, 30, 100, 16), Streamer(numbered, 100, 101, 1)]


def rows(model):
    return np.concatenate([batch[0][:, 0] for batch in model.batches_])


@pytest.mark.parametrize("batch_size", [1, 10, 64, 1000, None, "auto"])
def test_every_sample_once_in_batches_of_the_size(batch_size):
    model = StreamingEstimator(Recording(), batch_size=batch_size, classes=[0, 1], random_state=0).fit(streams())
    assert sorted(rows(model)) == list(range(101))
    sizes = [len(batch[0]) for batch in model.batches_]
    if batch_size is None:
        assert sorted(sizes) == sorted([7, 7, 7, 7, 2, 16, 16, 16, 16, 6, 1])
    else:
        size = 256 if batch_size == "auto" else batch_size
        assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert model.n_batches_ == len(sizes)
    assert model.n_samples_seen_ == 101
    assert model.stream_counts_.tolist() == [30, 70, 1]


@pytest.mark.parametrize("n_passes", [1, 3])
def test_passes(n_passes):
    model = StreamingEstimator(Recording(), n_passes=n_passes, classes=[0, 1], random_state=0).fit(streams())
    assert sorted(rows(model)) == sorted(list(range(101)) * n_passes)
    assert model.n_passes_ == n_passes


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_streams_of_known_length_bound_the_modes_without_end(mode):
    pool = from_arrays(np.arange(100.0)[:, None], np.arange(100) % 2, n_streams=5)
    model = StreamingEstimator(Recording(), mode=mode, n_passes=2, batch_size=16, lam=4, n_active=2, random_state=0)
    assert model.fit(pool).n_samples_seen_ == 200
    assert model.stream_counts_.sum() == 200


def test_max_batches_bounds_endless_streams():
    model = StreamingEstimator(Recording(), max_batches=5, batch_size=20, classes=[0, 1], random_state=0)
    model.fit([Streamer(endless, 0), Streamer(endless, 1)])
    assert [len(batch[0]) for batch in model.batches_] == [20] * 5
    assert model.stream_counts_.sum() == model.n_samples_seen_ == 100


def test_shares_of_an_estimator():
    model = StreamingEstimator(
        GaussianNB(),
        pool_weights=[3, 1],
        lam=4,
        n_active=2,
        max_batches=500,
        batch_size=None,
        classes=[0, 1],
        random_state=0,
    ).fit([Streamer(endless, 0), Streamer(endless, 1)])
    # 500 items in visits of 4: about 125 visits, standard error of a share 0.039 or so
    assert abs(model.stream_counts_[0] / model.n_samples_seen_ - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 125 * 1.25)


@pytest.mark.parametrize("batch_size", [2, None])
def test_the_first_batch_is_large_enough(batch_size):
    singles = [Streamer([{"X": row} for row in X[i::3]]) for i in range(3)]
    model = StreamingEstimator(MiniBatchKMeans(8, random_state=0), batch_size=batch_size, random_state=0).fit(singles)
    assert model.cluster_centers_.shape == (8, 4)
    assert model.n_samples_seen_ == 150


@pytest.mark.parametrize(
    "factory",
    [
        partial(from_arrays, by="y"),
        lambda X, y: [Streamer([(X, y)])],
        lambda X, y: Streamer([(X, y)]),
        StreamFactory(lambda X, y, shift: iter([(X + shift, y)]), shift=[0.0, 0.1]),
    ],
    ids=["pool", "list", "stream", "factory"],
)
def test_factories(factory):
    model = StreamingEstimator(GaussianNB(), streams=factory, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.n_features_in_ == 4


def test_a_factory_speaks_for_training_only():
    calls = []

    def factory(X, y):
        calls.append(len(X))
        return [Streamer([(X + 100, y)])]

    model = StreamingEstimator(GaussianNB(), streams=factory).fit(X, y)
    assert model.theta_.min() > 90
    model.predict(X), model.score(X, y)
    assert calls == [150]


def test_a_factory_without_data():
    model = StreamingEstimator(GaussianNB(), streams=lambda: from_arrays(X, y, by="y"), random_state=0).fit()
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y).theta_)


def test_predictions_and_scores_of_pools():
    pool = from_arrays(X, y, by=np.arange(150) % 4)
    model = StreamingEstimator(SGDClassifier(), random_state=0).fit(X, y)
    for method in ("predict", "decision_function"):
        outputs = getattr(model, method)(pool)
        assert outputs.shape == (4,)
        assert outputs.dtype == object
        for i, output in enumerate(outputs):
            np.testing.assert_array_equal(output, getattr(model, method)(X[np.arange(150) % 4 == i]))
    assert model.score(pool) == pytest.approx(model.score(X, y), abs=1e-12)
    np.testing.assert_array_equal(np.concatenate(list(model.iter_predict(pool))), np.concatenate(model.predict(pool)))
    scaler = StreamingEstimator(StandardScaler()).fit(pool)
    np.testing.assert_allclose(scaler.mean_, X.mean(axis=0), atol=1e-12)


def test_training_goes_on():
    model = StreamingEstimator(GaussianNB(), random_state=0)
    model.partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    model.iter_fit(Streamer([(X[50:100], y[50:100])]))
    model.partial_fit(X[100:], y[100:])
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y).theta_)
    assert model.n_samples_seen_ == 150
    assert model.stream_counts_.sum() == 150
    warm = StreamingEstimator(GaussianNB(), warm_start=True, classes=[0, 1, 2], random_state=0)
    warm.fit(X[:75], y[:75]).fit(X[75:], y[75:])
    np.testing.assert_allclose(warm.theta_, GaussianNB().fit(X, y).theta_)


def test_seeds():
    pool = from_arrays(X, y, n_streams=10)

    def coefficients(random_state, inner=None):
        return StreamingEstimator(SGDClassifier(random_state=inner), random_state=random_state).fit(pool).coef_

    np.testing.assert_array_equal(coefficients(0), coefficients(0))
    assert (coefficients(0) != coefficients(1)).any()
    assert (coefficients(None) != coefficients(None)).any()
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    coefficients(0, 3), coefficients(None)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_verbose(capsys):
    StreamingEstimator(GaussianNB(), verbose=1).fit(X, y)
    assert "batch 1, 150 samples" in capsys.readouterr().out
    StreamingEstimator(GaussianNB(), batch_size=50, verbose=2).fit(X, y)
    assert capsys.readouterr().out.count("batch") == 3
    StreamingEstimator(GaussianNB()).fit(X, y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("inner", [SGDClassifier(), GaussianNB(), MultinomialNB()], ids=lambda e: type(e).__name__)
def test_an_unknown_label_names_its_stream(inner):
    def late():
        for i in range(10):
            yield {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 2 if i == 7 else 1])}

    pool = StreamPool(
        [Streamer([{"X": np.ones((4, 2)), "y": [0, 1, 0, 1]}] * 10), Streamer(late)], names=["good", "late"]
    )
    with pytest.raises(ValueError, match="'late' at position 1 gave the label"):
        StreamingEstimator(inner, classes=[0, 1], batch_size=16, random_state=0).fit(pool)


def test_an_error_of_a_stream_is_kept_and_named():
    def failing():
        yield from ({"X": np.ones((4, 2)), "y": [0, 1, 0, 1]} for _ in range(7))
        raise OSError("disk")

    pool = StreamPool([Streamer(failing)], names=["day 3"])
    with pytest.raises(OSError, match="disk") as caught:
        StreamingEstimator(GaussianNB(), classes=[0, 1], random_state=0).fit(pool)
    assert any("'day 3' at position 0" in note and "item 7" in note for note in caught.value.__notes__)


def test_floats_of_two_kinds():
    pool = [Streamer([(X.astype(np.float32), y)] * 3), Streamer([(X, y)] * 3)]
    for order in (pool, pool[::-1]):
        model = StreamingEstimator(SGDClassifier(), classes=[0, 1, 2], batch_size=40, random_state=0).fit(order)
        assert model.n_samples_seen_ == 900


def test_frames_whose_columns_differ():
    pandas = pytest.importorskip("pandas")
    good = pandas.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match="columns"):
        StreamingEstimator(GaussianNB(), classes=[0, 1, 2], random_state=0).fit(
            [Streamer([(good, y)] * 3), Streamer([(good.rename(columns={"d": "e"}), y)] * 3)]
        )
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2]).fit([Streamer([(good, y)])])
    assert model.feature_names_in_.tolist() == list("abcd")


@pytest.mark.parametrize(
    ("params", "data", "error", "said"),
    [
        ({"mode": "never"}, (X, y), ValueError, "mode.*'never'"),
        ({"dist": "normal"}, (X, y), ValueError, "dist.*'normal'"),
        ({"lam": 0}, (X, y), ValueError, "lam.*0"),
        ({"lam": "x"}, (X, y), ValueError, "lam.*'x'"),
        ({"n_active": 0}, (X, y), ValueError, "n_active.*0"),
        ({"batch_size": 0}, (X, y), ValueError, "batch_size.*0"),
        ({"n_passes": -1}, (X, y), ValueError, "n_passes.*-1"),
        ({"max_batches": 0}, (X, y), ValueError, "max_batches.*0"),
        ({"warm_start": "yes"}, (X, y), ValueError, "warm_start.*'yes'"),
        ({"verbose": -1}, (X, y), ValueError, "verbose.*-1"),
        ({"pool_weights": [1, 2]}, (X, y), ValueError, "pool_weights.*1 streams"),
        ({}, (None, None), ValueError, "X is None"),
        ({}, ([], None), ValueError, "empty list"),
        ({}, ([numbered], None), TypeError, r"Streamer\(function"),
        ({}, ("abc", None), TypeError, "'abc'"),
        ({}, ([Streamer(numbered, 0, 9, 3)],), ValueError, "classes"),
        ({"classes": [0, 1], "mode": "with_replacement"}, ([Streamer(numbered, 0, 9, 3)],), ValueError, "max_batches"),
        ({"classes": [0, 1]}, ([Streamer([])],), ValueError, "empty"),
        ({"classes": [0, 1]}, ([Streamer([{"X": X}])],), ValueError, "no y"),
        ({"streams": lambda X, y: 3}, (X, y), TypeError, "must return a pool"),
        ({"streams": lambda X, y: []}, (X, y), ValueError, "no stream"),
    ],
)
def test_bad_input_is_refused_before_training(params, data, error, said):
    inner = Recording()
    with pytest.raises(error, match=said):
        StreamingEstimator(inner, **params).fit(*data)
    assert not hasattr(inner, "batches_")


def test_an_estimator_that_cannot_learn_in_parts():
    from sklearn.linear_model import LogisticRegression

    with pytest.raises((TypeError, ValueError), match="partial_fit"):
        StreamingEstimator(LogisticRegression()).fit(X, y)


class Holding:
    """A factory that holds data, and what cannot be copied."""

    def __init__(self, data):
        import threading

        self.data = data
        self.lock = threading.Lock()

    def __call__(self):
        return from_arrays(self.data, n_streams=10)


def test_clones_and_splits_copy_no_data():
    big = np.zeros((1_250_000, 20))  # 200 MB
    pool = from_arrays(big, n_streams=100)
    models = [
        StreamingEstimator(StandardScaler(), streams=factory)
        for factory in (pool, Holding(big), partial(from_arrays, big))
    ]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        clones = [clone(model) for model in models]
        parts = [pool[np.arange(50)], clone(pool), StreamPool(list(pool)[:50])]
        assert tracemalloc.get_traced_memory()[1] - before < 10**6
    finally:
        tracemalloc.stop()
    assert clones[1].streams is models[1].streams
    assert len(parts[0]) == 50


def test_a_fit_that_fails_leaves_nothing_fitted():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="empty"):
        model.fit([Streamer([])])
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_counts_of_data_beside_that_of_fit():
    model = StreamingEstimator(GaussianNB(), random_state=0).fit(from_arrays(X, y, n_streams=2))
    for _ in range(3):
        model.partial_fit(X[:10], y[:10])
        model.iter_fit([(X[:5], y[:5])])
    assert model.stream_counts_.tolist() == [75, 75, 30, 15]
    assert model.stream_names_ == ("0", "1", "partial_fit", "iter_fit")
    assert model.stream_counts_.sum() == model.n_samples_seen_


def test_scores_of_the_estimators_own_on_pools():
    weight = np.linspace(0.1, 2, 150)
    model = StreamingEstimator(MiniBatchKMeans(3, random_state=0), random_state=0).fit(X)
    pool = from_arrays(X, None, weight, n_streams=3)
    assert model.score(pool) == pytest.approx(model.score(X, sample_weight=weight), rel=1e-12)


def test_several_outputs_of_long_streams():
    many = np.stack([y > 0, y > 1], axis=1).astype(int)
    model = StreamingEstimator(MultiOutputClassifier(GaussianNB()), random_state=0).fit(X, many)
    long = np.tile(X, (40, 1))
    (outputs,) = model.predict_proba(from_arrays(long))
    for output, expected in zip(outputs, model.predict_proba(long), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_one_stream_is_a_pool_of_one():
    model = StreamingEstimator(GaussianNB()).fit(X, y)
    stream = from_arrays(X, y)[0]
    np.testing.assert_array_equal(model.predict(stream)[0], model.predict(X))
    assert model.score(stream) == model.score(X, y)
    with pytest.raises(TypeError, match="pool"):
        model.iter_fit(from_arrays(X, y))


def test_what_is_no_batch_and_no_pool_is_told():
    model = StreamingEstimator(SGDClassifier())
    batch = (np.ones((4, 2)), np.array([0, 1, 0, 1]))
    for streams in (from_arrays(*batch), Streamer([batch]), [Streamer([batch])]):
        with pytest.raises(TypeError, match="partial_fit takes the arrays of one batch: pass streams to fit"):
            model.partial_fit(streams)
    for batches in ([batch, batch], [{"X": batch[0], "y": batch[1]}] * 2):
        with pytest.raises(
            TypeError, match=r"X is a list of batches: make a stream of them, fit\(\[Streamer\(batches\)\]\)"
        ):
            model.fit(batches)
