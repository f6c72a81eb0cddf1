"""StreamLearner: one partial_fit for each batch of a stream, on the estimator itself."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import streamlearn
from streamlearn import Streamer, StreamLearner

X, Y = load_iris(return_X_y=True)
CLASSES = np.unique(Y)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps the arguments of each partial_fit."""

    def partial_fit(self, X, y=None, **kwargs):
        self.calls_ = [*getattr(self, "calls_", []), (X, y, kwargs)]
        return self


def noisy_samples(X, Y, sigma):
    rng = np.random.default_rng(int(10 * sigma))
    while True:
        rows = rng.integers(0, len(X), 16)
        yield {"X": X[rows] + rng.normal(0, sigma, (16, X.shape[1])), "Y": Y[rows]}


def batches_of(size):
    order = np.random.default_rng(0).permutation(len(X))
    return [{"X": X[order[i : i + size]], "y": Y[order[i : i + size]]} for i in range(0, len(X), size)]


def test_running_generators_through_a_mux():
    classes = np.unique(Y)
    model = StreamLearner(SGDClassifier(average=True, random_state=0), max_batches=1000)

    streams = [noisy_samples(X, Y, sigma) for sigma in [0.5, 1.0, 2.0, 4.0]]
    batch_stream = streamlearn.mux(streams, 1000, 2, lam=16)
    model.iter_fit(batch_stream, classes=classes)

    assert model.n_batches_ == 1000
    assert model.n_samples_seen_ == 16000
    assert model.score(X, Y) > 0.5  # the mux is not seeded; to guess scores 1/3


def test_equals_the_loop_written_by_hand():
    by_hand = SGDClassifier(random_state=0)
    for batch in batches_of(16):
        by_hand.partial_fit(batch["X"], batch["y"], classes=CLASSES)
    model = StreamLearner(SGDClassifier(random_state=0)).iter_fit(batches_of(16), classes=CLASSES)
    np.testing.assert_array_equal(model.coef_, by_hand.coef_)
    np.testing.assert_array_equal(model.predict(X), by_hand.predict(X))


@pytest.mark.parametrize(
    "item",
    [{"X": X, "y": Y}, {"X": X, "Y": Y}, (X, Y), {"X": X.tolist(), "y": Y.tolist()}],
    ids=["y", "Y", "tuple", "lists"],
)
def test_every_spelling_of_a_batch(item):
    model = StreamLearner(GaussianNB()).iter_fit([item], classes=CLASSES)
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, Y).theta_, rtol=1e-12)


def test_samples_one_at_a_time():
    model = StreamLearner(GaussianNB()).iter_fit(({"X": x, "y": y} for x, y in zip(X, Y, strict=True)), classes=CLASSES)
    assert model.n_batches_ == len(X)
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, Y).theta_, rtol=1e-12)


def test_batches_without_y_and_sparse_ones():
    model = StreamLearner(StandardScaler(with_mean=False)).iter_fit([sparse.csr_matrix(X[:50]), (X[50:],)])
    np.testing.assert_allclose(model.scale_, StandardScaler().fit(X).scale_, rtol=1e-12)
    assert model.n_samples_seen_ == len(X)


def test_texts():
    out = StreamLearner(HashingVectorizer(n_features=8)).iter_fit([["one text", "another"]]).transform(["a text"])
    assert out.shape == (1, 8)


def test_sample_weight_reaches_the_estimator():
    weight = np.arange(len(X)) % 3 + 1.0
    model = StreamLearner(GaussianNB()).iter_fit([(X, Y, weight)], classes=CLASSES)
    np.testing.assert_allclose(model.class_count_, GaussianNB().fit(X, Y, weight).class_count_)


def test_keywords_go_to_every_partial_fit():
    recorder = Recorder()
    StreamLearner(recorder).iter_fit(batches_of(50), classes=CLASSES, more=3)
    assert [sorted(kwargs) for _, _, kwargs in recorder.calls_] == [["classes", "more"]] * 3


def test_trains_the_estimator_itself():
    estimator = GaussianNB()
    StreamLearner(estimator).iter_fit(batches_of(16), classes=CLASSES)
    assert estimator.score(X, Y) > 0.9


@pytest.mark.parametrize("max_batches", [0, 1, 4])
def test_max_batches_leaves_a_generator_where_training_stops(max_batches):
    generator = iter(range(10))
    recorder = Recorder()
    StreamLearner(recorder, max_batches=max_batches).iter_fit([[i]] for i in generator)
    assert len(getattr(recorder, "calls_", ())) == max_batches
    assert next(generator) == max_batches


def test_a_generator_can_be_read_on_and_trained_on():
    generator = noisy_samples(X, Y, 0.5)
    model = StreamLearner(GaussianNB(), max_batches=3)
    model.iter_fit(generator, classes=CLASSES).iter_fit(generator)
    assert model.n_batches_ == 6
    assert model.n_samples_seen_ == 96
    expected = list(zip(range(7), noisy_samples(X, Y, 0.5), strict=False))[-1][1]
    np.testing.assert_array_equal(next(generator)["X"], expected["X"])


def test_a_streamer_is_closed_where_training_stops():
    closed = []

    def endless():
        try:
            while True:
                yield {"X": X, "y": Y}
        finally:
            closed.append(True)

    StreamLearner(GaussianNB(), max_batches=2).iter_fit(Streamer(endless), classes=CLASSES)
    assert closed == [True]


def test_a_stream_that_ends_before_max_batches():
    assert StreamLearner(GaussianNB(), max_batches=100).iter_fit(batches_of(50), classes=CLASSES).n_batches_ == 3


def test_max_batches_counts_anew_at_each_call():
    model = StreamLearner(GaussianNB(), max_batches=2)
    model.iter_fit(batches_of(16), classes=CLASSES)
    model.iter_fit(batches_of(16))
    assert model.n_batches_ == 4


def test_methods_and_attributes_of_the_estimator_are_there():
    model = StreamLearner(MiniBatchKMeans(2, random_state=0, n_init=1)).iter_fit([X])
    assert model.cluster_centers_.shape == (2, 4)
    assert model.transform(X).shape == (150, 2)
    assert model.n_clusters == 2
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        model.predict_proba(X)


def test_is_the_kind_of_estimator_that_it_trains():
    assert is_classifier(StreamLearner(SGDClassifier()))
    assert is_regressor(StreamLearner(SGDRegressor()))


def test_fitted_or_not():
    model = StreamLearner(GaussianNB())
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    with pytest.raises(AttributeError, match="n_samples_seen_"):
        _ = model.n_samples_seen_
    check_is_fitted(model.iter_fit(batches_of(50), classes=CLASSES))


def test_clone_and_set_params():
    model = StreamLearner(SGDClassifier(), max_batches=3).iter_fit(batches_of(16), classes=CLASSES)
    fresh = clone(model).set_params(max_batches=1, estimator__alpha=0.5)
    assert not hasattr(fresh, "coef_")
    assert not hasattr(fresh, "n_batches_")
    assert fresh.estimator.alpha == 0.5
    assert model.max_batches == 3


# -- errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_batches", [-1, 2.5, "many", True])
def test_bad_max_batches(max_batches):
    with pytest.raises(ValueError, match=f"max_batches.*{max_batches}"):
        StreamLearner(GaussianNB(), max_batches=max_batches).iter_fit(batches_of(16), classes=CLASSES)


def test_an_estimator_without_partial_fit():
    with pytest.raises(TypeError, match=r"estimator must have partial_fit.*LogisticRegression"):
        StreamLearner(LogisticRegression()).iter_fit(batches_of(16))


@pytest.mark.parametrize("stream", [3, None])
def test_what_cannot_be_iterated(stream):
    with pytest.raises(TypeError, match=f"stream must be a Streamer or another iterable of batches, got {stream}"):
        StreamLearner(GaussianNB()).iter_fit(stream)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"Z": X}, "must have 'X'"),
        ({"X": X, "labels": Y}, "'labels'"),
        ({"X": X, "y": Y, "Y": Y}, "both 'y' and 'Y'"),
        ((X, Y, Y, Y), "4 parts"),
        ((X, Y[:10]), "150 rows"),
        (3.0, "float"),
    ],
)
def test_an_item_that_is_no_batch_is_named_by_its_number(item, message):
    good = {"X": X, "y": Y}
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        StreamLearner(GaussianNB()).iter_fit([good, good, item], classes=CLASSES)
    assert any("item 2" in note for note in caught.value.__notes__)


def test_an_error_of_the_estimator_names_the_item():
    with pytest.raises(ValueError, match="3 features") as caught:
        StreamLearner(GaussianNB()).iter_fit([(X, Y), (X[:, :3], Y)], classes=CLASSES)
    assert any("item 1" in note for note in caught.value.__notes__)


def test_an_error_of_the_stream_passes_through():
    def failing():
        yield {"X": X, "y": Y}
        raise OSError("disk gone")

    model = StreamLearner(GaussianNB())
    with pytest.raises(OSError, match="disk gone"):
        model.iter_fit(failing(), classes=CLASSES)
    assert model.n_batches_ == 1
