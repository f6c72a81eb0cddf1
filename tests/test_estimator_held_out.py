"""Pools that a fitted StreamingEstimator predicts and scores."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_iris, make_regression
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import get_scorer
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler, scale

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays

X, y = load_iris(return_X_y=True)
X = scale(X)
POOL = from_arrays(X, y, by=np.arange(150) % 7)
PARTS = [X[np.arange(150) % 7 == i] for i in range(7)]


def in_batches(X, y, size=8):
    for i in range(0, len(X), size):
        yield {"X": X[i : i + size], "y": y[i : i + size]}


@pytest.mark.parametrize(
    ("estimator", "methods"),
    [
        (SGDClassifier(loss="log_loss"), ["predict", "predict_proba", "predict_log_proba", "decision_function"]),
        (GaussianNB(), ["predict", "predict_proba", "predict_joint_log_proba"]),
        (MiniBatchKMeans(3, n_init=1), ["predict", "transform"]),
        (StandardScaler(), ["transform", "inverse_transform"]),
    ],
    ids=["SGDClassifier", "GaussianNB", "MiniBatchKMeans", "StandardScaler"],
)
def test_one_array_of_outputs_for_each_stream(estimator, methods):
    model = StreamingEstimator(estimator, random_state=0).fit(X, y)
    items = StreamPool([Streamer(in_batches, part, y[: len(part)]) for part in PARTS])
    for pool, method in itertools.product([POOL, list(POOL), items], methods):
        outputs = getattr(model, method)(pool)
        assert outputs.shape == (7,)
        assert outputs.dtype == object
        for output, part in zip(outputs, PARTS, strict=True):
            np.testing.assert_allclose(output, getattr(model.estimator_, method)(part), rtol=1e-12)
        batches = list(model.iter_predict(pool, method=method))
        np.testing.assert_array_equal(np.concatenate(batches), np.concatenate(outputs))


def test_iter_predict_reads_no_further_than_it_must():
    model = StreamingEstimator(GaussianNB()).fit(X, y)
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield {"X": X, "y": y}

    outputs = model.iter_predict(Streamer(endless))
    assert len(next(outputs)) > 0
    assert len(read) < 100
    outputs.close()


def test_frames_of_streams_are_predicted():
    frame = pd.DataFrame(X, columns=list("abcd"))
    pool = StreamPool([Streamer([(frame[:70], y[:70])]), Streamer([(frame[70:], y[70:])])])
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2]).fit(pool)
    np.testing.assert_array_equal(np.concatenate(model.predict(pool)), model.predict(frame))


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(),
        GaussianNB(),
        SGDRegressor(),
        MLPClassifier(max_iter=5),
        MultiOutputClassifier(GaussianNB()),
        MultiOutputRegressor(SGDRegressor()),
        MiniBatchKMeans(3, n_init=1),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scores_are_exact_over_all_rows(estimator, weighted):
    A, B = make_regression(400, 4, n_targets=2, noise=20.0, random_state=0)
    if isinstance(estimator, (MultiOutputClassifier, MLPClassifier)):
        B = (B > 0).astype(int)
    elif not isinstance(estimator, MultiOutputRegressor):
        B = B[:, 0] if isinstance(estimator, SGDRegressor) else np.digitize(B[:, 0], [-50, 50])
    weight = np.random.default_rng(0).random(400) if weighted else None
    model = StreamingEstimator(estimator, random_state=0).fit(A[:200], B[:200])
    # scores of many classifiers take no weights
    params = {"sample_weight": weight} if weighted and not isinstance(estimator, MultiOutputClassifier) else {}
    expected = model.estimator_.score(A, B, **params)
    assert model.score(from_arrays(A, B, weight, n_streams=7)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "neg_log_loss", get_scorer("balanced_accuracy")], ids=str)
def test_scoring(scoring):
    model = StreamingEstimator(SGDClassifier(loss="log_loss"), scoring=scoring, random_state=0).fit(X, y)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    assert model.score(X, y) == scorer(model.estimator_, X, y)


def test_score_needs_targets():
    model = StreamingEstimator(GaussianNB()).fit(X, y)
    with pytest.raises(ValueError, match=r"'1'.* y"):
        model.score(StreamPool([Streamer([(X, y)]), Streamer([(X,)])]))
    with pytest.raises(ValueError, match="no row"):
        model.score([Streamer([])])


def test_an_empty_stream_has_no_outputs():
    model = StreamingEstimator(GaussianNB()).fit(X, y)
    outputs = model.predict([Streamer([]), Streamer([X])])
    assert [len(output) for output in outputs] == [0, 150]


def test_random_streams_are_the_same_at_each_prediction():
    def noisy(rng):
        for _ in range(3):
            yield {"X": X + rng.normal(size=X.shape), "y": y}

    model = StreamingEstimator(GaussianNB(), random_state=0).fit(X, y)
    pool = StreamPool([Streamer(noisy), Streamer(noisy)])
    first, second = model.predict_proba(pool), model.predict_proba(pool)
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[0] != first[1]).any()
    assert model.score(pool) == model.score(pool)
