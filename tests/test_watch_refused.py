"""Validation that cannot be, and what is said of it."""

import itertools
import warnings

import pandas as pd
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from streamlearn import Streamer, StreamingEstimator, StreamPool, _outputs, _watch, from_arrays
from tests.watching import HELD_OUT, TRAIN, X, Y


def endless():
    while True:
        yield X[:50], Y[:50]


def test_an_endless_validation_stream_is_bounded():
    model = StreamingEstimator(
        GaussianNB(), validation=[Streamer(endless), HELD_OUT[0]], validation_max_samples=120, validation_every=1
    ).fit(TRAIN)
    assert model.history_["n_scored"] == [120 + 33] * 2


def test_an_endless_validation_stream_without_a_bound_warns(monkeypatch):
    monkeypatch.setattr(_outputs, "_MAX_SILENT_SAMPLES", 10_000)

    class Enough(Exception):
        pass

    def long():
        yield from itertools.islice(endless(), 400)
        raise Enough

    pool = StreamPool([Streamer(long)], names=["sensor"])
    with (
        pytest.warns(
            UserWarning, match=r"stream 'sensor' at position 0 has given \d+ samples.*Set validation_max_samples"
        ),
        pytest.raises(Enough),
    ):
        StreamingEstimator(GaussianNB(), validation=pool).fit(TRAIN)


@pytest.mark.parametrize(
    ("inner", "params", "kind", "message"),
    [
        (
            GaussianNB(),
            {"n_iter_no_change": 5},
            ValueError,
            r"n_iter_no_change=5 .* validation is None: pass validation=",
        ),
        (GaussianNB(), {"validation": (X, Y)}, TypeError, r"validation must be a pool.*from_arrays\(X, y\)"),
        (GaussianNB(), {"validation": []}, TypeError, "validation must be a pool"),
        (GaussianNB(), {"validation": HELD_OUT[:0]}, ValueError, "validation is an empty pool"),
        (GaussianNB(), {"validation": HELD_OUT, "validation_every": 0}, ValueError, "The 'validation_every' parameter"),
        (GaussianNB(), {"validation": HELD_OUT, "n_iter_no_change": 0}, ValueError, "The 'n_iter_no_change' parameter"),
        (GaussianNB(), {"validation": HELD_OUT, "tol": -1}, ValueError, "The 'tol' parameter"),
        (
            GaussianNB(),
            {"validation": HELD_OUT, "validation_max_samples": 0},
            ValueError,
            "'validation_max_samples' parameter",
        ),
        (
            Perceptron(),
            {"validation": HELD_OUT, "scoring": "neg_log_loss"},
            ValueError,
            r"scoring='neg_log_loss' needs predict_proba, which Perceptron does not have",
        ),
        (
            SGDClassifier(),
            {"validation": "prequential", "scoring": "neg_brier_score"},
            ValueError,
            r"needs predict_proba, which SGDClassifier",
        ),
        (IncrementalPCA(), {"validation": HELD_OUT}, ValueError, r"IncrementalPCA .*pass scoring="),
        (
            StandardScaler(),
            {"validation": 0.5},
            ValueError,
            r"StandardScaler has no score for validation: pass scoring=",
        ),
        (
            MiniBatchKMeans(),
            {"validation": "prequential"},
            ValueError,
            r"own score of MiniBatchKMeans .*pass scoring=",
        ),
    ],
)
def test_what_is_refused_before_any_training(inner, params, kind, message):
    opened = []

    def noted():
        opened.append(1)
        yield X, Y

    with pytest.raises(kind, match=message):
        StreamingEstimator(inner, classes=None, **params).fit([Streamer(noted)] * 2)
    assert not opened


@pytest.mark.parametrize(
    ("validation", "message", "note"),
    [
        ([HELD_OUT[0], Streamer([X])], r"needs y, which stream '1' at position 1 does not give", "after batch 2"),
        ([Streamer([])], "no row to score", "validation after batch 2"),
        ([Streamer([(X, Y[1:])])], "y of shape", "stream '0' at position 0"),
        ([Streamer([(X[:, :3], Y)])], "3 features", "predict for rows of stream '0' at position 0"),
    ],
)
def test_validation_streams_that_cannot_be_scored(validation, message, note):
    with pytest.raises(ValueError, match=message) as caught:
        StreamingEstimator(GaussianNB(), validation=validation).fit(TRAIN)
    assert note in "\n".join(caught.value.__notes__)


def test_a_score_that_does_not_fit_the_estimator_is_named():
    target = X[:, 0]
    with pytest.raises(ValueError, match="continuous") as caught:
        StreamingEstimator(SGDRegressor(), validation=0.2, scoring="accuracy").fit(X, target)
    assert "the score 'accuracy': does it fit SGDRegressor?" in "\n".join(caught.value.__notes__)
    with pytest.raises(ValueError, match="scoring must give a number for validation, got"):
        StreamingEstimator(GaussianNB(), validation=HELD_OUT, scoring=lambda *_: {"a": 1}).fit(TRAIN)


def test_prequential_streams_without_targets_are_named():
    def half():
        yield X[:20], Y[:20]
        yield X[20:40]

    pool = StreamPool([Streamer(half)], names=["half"])
    with pytest.raises(ValueError, match=r"there is no y, but the first item, which was given by stream 'half'"):
        StreamingEstimator(GaussianNB(), validation="prequential", classes=[0, 1], batch_size=None).fit(pool)


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StreamingEstimator(GaussianNB(), validation=0.2, n_iter_no_change=2).fit(
            pd.DataFrame(X, columns=list("abcd")), Y
        )
    assert _watch.COLUMNS[0] == "batch"


def test_arrays_that_cannot_be_scored_are_refused_before_training():
    class Untouched(GaussianNB):
        def partial_fit(self, *args, **kwargs):
            raise AssertionError

    for validation, said in (
        (
            from_arrays(X[:, :2], Y),
            r"validation has rows of shape \(2,\) in stream '0'.*, but those to train on have shape",
        ),
        (from_arrays(X), "validation has no y in stream '0'.*from_arrays"),
    ):
        with pytest.raises(ValueError, match=said):
            StreamingEstimator(Untouched(), validation=validation).fit(TRAIN)
    StreamingEstimator(MiniBatchKMeans(2, n_init=1), validation=from_arrays(X)).fit(TRAIN)  # whose score needs none
