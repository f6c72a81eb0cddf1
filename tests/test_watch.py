"""Validation while training: scores, stopping, the best model, and the history."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from streamlearn import Streamer, StreamingEstimator, StreamPool, _outputs, _watch, from_arrays
from streamlearn._watch import Watch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
Y = (X[:, 0] + RNG.normal(size=400) > 0).astype(int)
TRAIN, HELD_OUT = from_arrays(X[:300], Y[:300], n_streams=6), from_arrays(X[300:], Y[300:], n_streams=3)


def items(start, stop, y=Y, step=8):
    for row in range(start, stop, step):
        yield {"X": X[row : min(row + step, stop)], "y": y[row : min(row + step, stop)]}


def streams(y=Y, step=8):
    return [Streamer(items, start, start + 50, y, step) for start in range(0, 300, 50)]


class Scripted(ClassifierMixin, BaseEstimator):
    """An estimator whose score after each batch is given: of 100 rows, as many per cent are predicted rightly."""

    def __init__(self, scores=()):
        self.scores = scores

    def partial_fit(self, X, y, classes=None):
        self.n_trained_ = getattr(self, "n_trained_", 0) + 1
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        right = np.arange(len(X)) < round(100 * self.scores[self.n_trained_ - 1])
        return right.astype(int)


ONES = from_arrays(np.zeros((100, 1)), np.ones(100, int), shuffle=False)


def scripted(scores, n_iter_no_change, tol=0.0, every=1, n_batches=None, **kwargs):
    n = len(scores) if n_batches is None else n_batches
    model = StreamingEstimator(
        Scripted(list(scores)),
        batch_size=1,
        validation=ONES,
        validation_every=every,
        n_iter_no_change=n_iter_no_change,
        tol=tol,
        classes=[0, 1],
        random_state=0,
        **kwargs,
    )
    return model.fit(from_arrays(np.zeros((n, 1)), np.zeros(n, int), n_streams=1))


# -- held-out scores --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scoring", [None, "accuracy", "neg_log_loss", "roc_auc", get_scorer("balanced_accuracy")], ids=str
)
@pytest.mark.parametrize("pool", [TRAIN, streams()], ids=["arrays", "generators"])
def test_each_score_is_that_of_the_model_at_that_batch(pool, scoring):
    scorer = get_scorer("accuracy") if scoring is None else get_scorer(scoring) if isinstance(scoring, str) else scoring
    inner = SGDClassifier(loss="log_loss", random_state=3)
    base = {"batch_size": 20, "n_passes": 2, "classes": [0, 1], "random_state": 0}
    model = StreamingEstimator(inner, validation=HELD_OUT, validation_every=4, scoring=scoring, **base).fit(pool)
    assert model.history_["batch"] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert model.history_["n_scored"] == [100] * 8
    for batch, n_samples, score in zip(
        *(model.history_[name] for name in ("batch", "n_samples", "score")), strict=True
    ):
        part = StreamingEstimator(inner, max_batches=batch, **base).fit(pool)
        assert n_samples == part.n_samples_seen_ == 20 * batch
        assert score == pytest.approx(scorer(part, X[300:], Y[300:]), rel=1e-12)


def test_watching_changes_nothing():
    for data in [(TRAIN,), (X[:300], Y[:300]), (streams(),)]:
        plain = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0)
        watched = clone(plain).set_params(validation=HELD_OUT, validation_every=1)
        plain.fit(*data)
        watched.fit(*data)
        np.testing.assert_array_equal(watched.coef_, plain.coef_)
        assert (watched.n_batches_, watched.n_passes_) == (plain.n_batches_, plain.n_passes_)
        assert not hasattr(plain, "history_")


def test_every_kind_of_validation():
    list_of_streams = [Streamer(items, 300, 350), Streamer(items, 350, 400)]
    scores = [
        StreamingEstimator(GaussianNB(), classes=[0, 1], validation=validation, random_state=0)
        .fit(TRAIN)
        .history_["score"]
        for validation in (HELD_OUT, list_of_streams, tuple(list_of_streams), Streamer(items, 300, 400))
    ]
    assert scores[0] == scores[1] == scores[2] == scores[3] != []


def test_score_of_the_estimator_on_a_pool_is_that_of_the_history():
    model = StreamingEstimator(
        SGDClassifier(loss="log_loss"), validation=HELD_OUT, scoring="neg_brier_score", random_state=0
    ).fit(TRAIN)
    assert model.score(HELD_OUT) == model.history_["score"][-1]
    assert model.score(X[300:], Y[300:]) == pytest.approx(model.history_["score"][-1], rel=1e-12)


def test_an_own_score_sees_all_rows():
    model = StreamingEstimator(MiniBatchKMeans(3), validation=from_arrays(X[300:], n_streams=2), random_state=0)
    model.fit(from_arrays(X[:300], n_streams=3))
    assert model.history_["score"][-1] == pytest.approx(model.estimator_.score(X[300:]), rel=1e-12)


def test_frames_are_scored_as_they_are_trained():
    frame = pd.DataFrame(X, columns=list("abcd"))
    pool = from_arrays(frame[:300], Y[:300], n_streams=3)
    model = StreamingEstimator(GaussianNB(), validation=from_arrays(frame[300:], Y[300:]), random_state=0).fit(pool)
    expected = StreamingEstimator(GaussianNB(), validation=HELD_OUT, random_state=0).fit(
        from_arrays(X[:300], Y[:300], n_streams=3)
    )
    assert model.history_["score"] == expected.history_["score"]
    assert model.feature_names_in_.tolist() == list("abcd")
    other = from_arrays(frame[["a", "b", "c"]][300:], Y[300:])
    with pytest.raises(ValueError, match=r"missing \['d'\]"):
        model.set_params(validation=other).fit(pool)


def test_weights_of_held_out_rows_count():
    weight = RNG.random(100)
    model = StreamingEstimator(GaussianNB(), validation=from_arrays(X[300:], Y[300:], weight), random_state=0).fit(
        TRAIN
    )
    expected = accuracy_score(Y[300:], model.predict(X[300:]), sample_weight=weight)
    assert model.history_["score"][-1] == pytest.approx(expected, rel=1e-12)


def test_random_streams_give_the_same_rows_each_time():
    drawn = []

    def noisy(rng):
        drawn.append(rng.normal(size=(10, 4)))
        yield drawn[-1], np.arange(10) % 2

    def rows(seed):
        drawn.clear()
        StreamingEstimator(
            GaussianNB(),
            classes=[0, 1],
            validation=[Streamer(noisy), Streamer(noisy)],
            validation_every=3,
            random_state=seed,
        ).fit(streams(), None)
        return np.array(drawn)

    first = rows(0)
    assert len(first) == 2  # two streams, scored once
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, rows(0))
    assert not np.array_equal(first, rows(1))


def test_the_users_own_code_runs_under_the_users_configuration():
    seen = []

    def noted():
        seen.append({name: get_config()[name] for name in ("assume_finite", "skip_parameter_validation")})
        yield X, Y

    StreamingEstimator(GaussianNB(), validation=[Streamer(noted)], validation_every=1, n_passes=3, batch_size=100).fit(
        TRAIN
    )
    assert seen == [{"assume_finite": False, "skip_parameter_validation": False}] * 9


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"),
    [(300, 50, [6, 12, 18]), (300, 1, [*range(100, 901, 100)]), (300, "auto", [2, 4, 6])],
)
def test_the_usual_distance_of_scores_is_a_pass_or_100_batches(n, batch_size, expected):
    model = StreamingEstimator(GaussianNB(), validation=HELD_OUT, batch_size=batch_size, n_passes=3).fit(TRAIN)
    assert model.history_["batch"] == expected
    model = StreamingEstimator(GaussianNB(), validation=HELD_OUT, batch_size=batch_size, n_passes=3, classes=[0, 1])
    assert model.fit(streams(step=1)).history_["batch"] == [
        b for b in range(100, 901, 100) if b <= model.n_batches_
    ] + ([model.n_batches_] if model.n_batches_ % 100 else [])


# -- stopping ---------------------------------------------------------------------------------------------------------


@given(
    scores=st.lists(st.integers(0, 20), min_size=1, max_size=30),
    patience=st.integers(1, 5),
    tol=st.sampled_from([0.0, 0.01, 0.035]),
)
def test_stopping_is_the_rule_of_scikit_learn(scores, patience, tol):
    """The loop of scikit-learn's SGDClassifier(early_stopping=True), written out."""
    scores = [score / 100 for score in scores]
    best, waits, stopped_at, best_at = -np.inf, 0, len(scores), 0
    for number, score in enumerate(scores):
        waits = waits + 1 if score < best + tol else 0
        if score > best:
            best, best_at = score, number
        if waits >= patience:
            stopped_at = number + 1
            break
    model = scripted(scores, patience, tol)
    assert model.n_batches_ == stopped_at
    assert model.history_["score"] == scores[:stopped_at]
    assert model.estimator_.n_trained_ == best_at + 1
    assert model.score(ONES) == best


def test_the_best_model_is_kept_when_the_budget_ends_training():
    model = scripted([0.1, 0.5, 0.9, 0.3, 0.2], 10)
    assert model.n_batches_ == 5
    assert model.estimator_.n_trained_ == 3
    assert model.n_samples_seen_ == 5


def test_the_last_model_may_be_the_best_though_no_score_was_due():
    model = scripted([0.1, 0.5, 0.2, 0.3, 0.9], 10, every=2)
    assert model.history_["batch"] == [2, 4, 5]
    assert model.estimator_.n_trained_ == 5


def test_without_patience_the_last_model_is_kept():
    assert scripted([0.1, 0.9, 0.2], None).estimator_.n_trained_ == 3


def test_scores_that_are_not_numbers_are_never_the_best():
    model = StreamingEstimator(
        SGDClassifier(), scoring=lambda *_: np.nan, validation=HELD_OUT, n_iter_no_change=3, n_passes=50, random_state=0
    ).fit(TRAIN)
    assert len(model.history_["score"]) == 3
    assert np.isnan(model.history_["score"]).all()


def test_the_best_model_is_independent_of_the_one_that_was_trained_on():
    model = StreamingEstimator(
        SGDClassifier(), validation=HELD_OUT, n_iter_no_change=5, n_passes=50, batch_size=50, random_state=0
    ).fit(TRAIN)
    best = int(np.argmax(model.history_["score"]))
    part = StreamingEstimator(
        SGDClassifier(), n_passes=50, batch_size=50, max_batches=model.history_["batch"][best], random_state=0
    ).fit(TRAIN)
    np.testing.assert_array_equal(model.coef_, part.coef_)
    assert model.history_["score"][best] == model.score(HELD_OUT)


def test_the_validation_score_stops_training_instead_of_the_training_loss():
    """On arrays an iterative estimator may take max_iter passes, and the training loss would end it long before."""
    inner = SGDClassifier(max_iter=60)
    watched = StreamingEstimator(inner, validation=0.2, n_iter_no_change=100, random_state=0).fit(X, Y)
    assert watched.n_passes_ == 60
    assert StreamingEstimator(inner, random_state=0).fit(X, Y).n_passes_ < 60


@pytest.mark.parametrize("validation", ["a pool", 0.1])
def test_stopping_early_on_digits(validation):
    """At most half of the batches, for at most 0.01 of the score: means over seeds, on rows that no model has seen.

    ``n_iter_no_change`` and the fraction are the defaults of scikit-learn.
    """
    images, labels = load_digits(return_X_y=True)
    n_batches, scores = [], []
    for seed in range(6):
        A, test, a, b = train_test_split(images / 16, labels, stratify=labels, random_state=seed)
        if validation == "a pool":
            A, C, a, c = train_test_split(A, a, stratify=a, test_size=0.2, random_state=seed)
        pool = from_arrays(A, a, n_streams=30)
        full = StreamingEstimator(SGDClassifier(), n_passes=50, batch_size=128, random_state=seed)
        early = clone(full).set_params(
            n_iter_no_change=5, validation=from_arrays(C, c) if validation == "a pool" else 0.1
        )
        full.fit(pool)
        early.fit(pool)
        n_batches.append((full.n_batches_, early.n_batches_))
        scores.append((full.score(test, b), early.score(test, b)))
    (full_batches, early_batches), (full_score, early_score) = np.mean(n_batches, 0), np.mean(scores, 0)
    assert early_batches <= 0.5 * full_batches
    assert early_score >= full_score - 0.01


def test_in_a_search():
    model = StreamingEstimator(
        SGDClassifier(), validation=0.2, n_iter_no_change=3, n_passes=30, classes=[0, 1], random_state=0
    )
    search = GridSearchCV(model, {"n_iter_no_change": [1, 3]}, cv=KFold(3)).fit(TRAIN)
    assert search.best_estimator_.history_["score"]
    assert (search.best_estimator_.stream_counts_ == 0).sum() == 2
    assert search.best_score_ > 0.5


# -- prequential ------------------------------------------------------------------------------------------------------


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
    best = model.history_["score"][-4]
    assert max(model.history_["score"]) == pytest.approx(best, abs=0.01)
    assert mean_absolute_error(target, model.predict(X)) < 0.1


# -- the history ------------------------------------------------------------------------------------------------------


def test_history_is_a_frame():
    model = StreamingEstimator(GaussianNB(), validation=HELD_OUT, validation_every=2, batch_size=20, n_active=2).fit(
        TRAIN
    )
    frame = pd.DataFrame(model.history_)
    assert list(frame.columns) == ["batch", "n_samples", "seconds", "score", "n_scored", "stream_counts"]
    assert len(frame) == 8
    assert frame["seconds"].is_monotonic_increasing
    assert frame["seconds"].min() > 0
    per_stream = pd.DataFrame(list(frame["stream_counts"])).fillna(0)
    assert (per_stream.sum(axis=1) == frame["n_samples"].diff().fillna(frame["n_samples"])).all()
    assert per_stream.sum()[list(model.stream_names_)].tolist() == model.stream_counts_.tolist()
    pickle.loads(pickle.dumps(model))


def test_rows_of_the_history_are_short_for_many_streams():
    """Streams are drawn with very different weights; the largest counts are told, and nothing is lost."""
    n = 3000
    weights = np.where(np.arange(n) < 50, 100.0, 1.0)
    pool = from_arrays(RNG.normal(size=(n, 2)), np.arange(n) % 2, n_streams=n)
    pool = StreamPool(pool, weights=weights, names=[f"s{i}" for i in range(n)])
    model = StreamingEstimator(
        GaussianNB(), validation="prequential", validation_every=10, max_batches=25, lam=1, random_state=0
    ).fit(pool)
    rows = model.history_["stream_counts"]
    assert [len(row) for row in rows] == [101] * 3
    assert [sum(row.values()) for row in rows] == [2560, 2560, 1280]
    total = {
        name: count for name, count in zip(model.stream_names_, model.stream_counts_.tolist(), strict=True) if count
    }
    for name in (f"s{i}" for i in range(50)):
        assert sum(row[name] for row in rows) == total[name]
    assert all(row["(others)"] > 0 for row in rows)


def test_streams_of_one_name_are_added_up():
    pool = StreamPool(streams(), names=list("aabbcc"))
    model = StreamingEstimator(GaussianNB(), validation=HELD_OUT, classes=[0, 1]).fit(pool)
    assert {name: sum(row.get(name, 0) for row in model.history_["stream_counts"]) for name in "abc"} == dict.fromkeys(
        "abc", 100
    )


def test_a_fit_begins_its_history_anew_and_a_failed_one_has_none():
    model = StreamingEstimator(GaussianNB(), validation=HELD_OUT, classes=[0, 1]).fit(TRAIN)
    once = len(model.history_["batch"])
    assert len(model.fit(TRAIN).history_["batch"]) == once
    with pytest.raises(ValueError, match="no sample"):
        model.fit([Streamer([])])
    assert not hasattr(model, "history_")
    model.set_params(warm_start=True).fit(TRAIN)
    assert len(model.history_["batch"]) == once
    assert not hasattr(model.set_params(validation=None).fit(TRAIN), "history_")


def test_batches_without_weight_are_no_batches():
    weight = np.repeat([1.0, 0.0, 1.0], 100)
    pool = StreamPool([Streamer([(X[i : i + 100], Y[i : i + 100], weight[i : i + 100])]) for i in (0, 100, 200)])
    model = StreamingEstimator(
        GaussianNB(),
        validation=HELD_OUT,
        validation_every=1,
        batch_size=None,
        classes=[0, 1],
        n_active=1,
        random_state=0,
    ).fit(pool)
    assert model.history_["batch"] == [1, 2]


def test_lines_of_progress(capsys):
    StreamingEstimator(GaussianNB(), validation=HELD_OUT, verbose=1).fit(TRAIN)
    assert "batch 2, validation score 0." in capsys.readouterr().out


def test_all_state_is_in_attributes():
    """A copy of a watch goes on where the watch stands."""

    class Fixed:
        def __init__(self, scores):
            self.scores = list(scores)

        def before(self, trainer, batch, counts):
            pass

        def score(self, trainer):
            return self.scores[trainer.n_batches - 1], 1

    class Told:
        def __init__(self):
            self.trainer = self
            self.estimator = SGDClassifier()
            self.n_batches = self.n_samples = 0
            self.counts = np.zeros(1, np.int64)

    scores = [0.1, 0.4, 0.3, 0.2, 0.5, 0.1, 0.1, 0.1, 0.1]

    def run(pause):
        watch, told, stops = Watch(Fixed(scores), ["a"], every=1, n_iter_no_change=3, tol=0.0), Told(), []
        for number in range(len(scores)):
            if number == pause:
                other = Watch(Fixed(scores), ["a"], every=1, n_iter_no_change=3, tol=0.0)
                kept = {
                    name: value for name, value in vars(watch).items() if not name.startswith("_") and name != "test"
                }
                vars(other).update(pickle.loads(pickle.dumps(kept)))
                watch = other
            watch.before(told, None, None)
            told.n_batches, told.n_samples = told.n_batches + 1, told.n_samples + 5
            told.counts += 5
            stops.append(watch.after(told, None, None))
        return stops, watch.history["score"], watch.history["stream_counts"], watch.best_score

    for pause in range(9):
        assert run(pause) == run(None)


# -- what cannot be ---------------------------------------------------------------------------------------------------


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
