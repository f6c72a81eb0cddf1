"""Prequential validation: each batch is scored before it is trained on."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import log_loss, make_scorer, mean_absolute_error
from sklearn.naive_bayes import GaussianNB

from streamlearn import Streamer, StreamingEstimator, StreamPool, _outputs, from_arrays
from tests.watching import TRAIN, X, Y, streams

LOG_LOSS = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=[0, 1])


def replay(inner, batches, every, scores):
    """Test, then train: the loop by hand."""
    model, truths, answers, rows = clone(inner), [], [], []
    model.set_params(random_state=np.random.RandomState(3))
    for number, (A, a) in enumerate(batches, 1):
        if number > 1:
            truths.append(a)
            answers.append(getattr(model, scores[0])(A))
        model.partial_fit(A, a, classes=[0, 1])
        if (number % every == 0 or number == len(batches)) and truths:
            truth = np.concatenate(truths)
            rows.append((number, scores[1](truth, np.concatenate(answers)), len(truth)))
            truths, answers = [], []
    return rows


class Recording(SGDClassifier):
    batches = []

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.batches.append((X.copy(), y.copy()))
        return super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)


@pytest.mark.parametrize("pool", [TRAIN, streams()], ids=["arrays", "generators"])
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("every", [1, 5, 10**6])
@pytest.mark.parametrize("scoring", [None, LOG_LOSS], ids=["accuracy", "log loss"])
def test_prequential_is_test_then_train_by_hand(pool, batch_size, every, scoring):
    Recording.batches.clear()
    inner = Recording(loss="log_loss", random_state=3)
    model = StreamingEstimator(
        inner,
        validation="prequential",
        validation_every=every,
        scoring=scoring,
        batch_size=batch_size,
        n_active=3,
        lam=4,
        classes=[0, 1],
        random_state=0,
    ).fit(pool)
    batches = list(Recording.batches)
    accuracy = ("predict", lambda truth, answers: float((truth == answers).mean()))
    loss = ("predict_proba", lambda truth, answers: -log_loss(truth, answers, labels=[0, 1]))
    expected = replay(SGDClassifier(loss="log_loss"), batches, every, accuracy if scoring is None else loss)
    assert list(zip(*(model.history_[name] for name in ("batch", "score", "n_scored")), strict=True)) == expected
    assert model.n_samples_seen_ == 300
    assert sum(model.history_["n_scored"]) == 300 - len(batches[0][0])


class Reused:
    """Batches in arrays that are used again for the next one."""

    def __init__(self, start, stop):
        self.edges = range(start, stop, 10)

    def __call__(self):
        A, a, weight = np.empty((10, 4)), np.empty(10, int), np.empty(10)
        for row in self.edges:
            A[:], a[:], weight[:] = X[row : row + 10], Y[row : row + 10], np.arange(row, row + 10)
            yield A, a, weight


@pytest.mark.parametrize(
    ("inner", "validation"),
    [(GaussianNB(), "prequential"), (GaussianNB(), "held out"), (MiniBatchKMeans(2, random_state=0), "held out")],
)
def test_arrays_may_be_used_again(inner, validation, monkeypatch):
    monkeypatch.setattr(_outputs, "_ROWS", 10)  # items of that size are scored as they come
    histories = []
    for pool, held_out in [
        (StreamPool([Streamer(Reused(0, 300))]), StreamPool([Streamer(Reused(300, 400))])),
        (StreamPool([Streamer(list(map(copied_batch, Reused(0, 300)())))]), None),
    ]:
        held_out = held_out or StreamPool([Streamer(list(map(copied_batch, Reused(300, 400)())))])
        model = StreamingEstimator(
            inner,
            validation=validation if validation == "prequential" else held_out,
            validation_every=3,
            batch_size=None,
            classes=[0, 1] if isinstance(inner, GaussianNB) else None,
            random_state=0,
        ).fit(pool)
        histories.append(model.history_["score"])
    assert histories[0] == histories[1]
    assert len(histories[0]) == 10


def copied_batch(batch):
    return tuple(part.copy() for part in batch)


def test_prequential_goes_on_with_a_model_that_knows_something():
    model = StreamingEstimator(
        GaussianNB(), validation="prequential", validation_every=10**6, classes=[0, 1], warm_start=True, random_state=0
    )
    model.fit(TRAIN[:3])
    before = copy.deepcopy(model.estimator_)
    model.set_params(batch_size=200).fit(TRAIN[3:])
    assert model.history_["n_scored"] == [150]
    assert model.history_["score"] == [before.score(X[150:300], Y[150:300])]


def test_prequential_of_a_regressor_stops_early():
    target = X @ [1.0, 2.0, 0.0, 0.0]
    model = StreamingEstimator(
        SGDRegressor(),
        validation="prequential",
        validation_every=10,
        scoring="neg_mean_absolute_error",
        n_iter_no_change=3,
        tol=0.01,
        n_passes=1000,
        batch_size=10,
        random_state=0,
    ).fit(from_arrays(X, target, n_streams=4))
    assert model.n_batches_ < 40_000
    # as in scikit-learn, none of the last three is better than what was best before it by tol
    best = model.history_["score"][-4]
    assert best <= max(model.history_["score"]) < best + 3 * 0.01
    assert mean_absolute_error(target, model.predict(X)) < 0.1
