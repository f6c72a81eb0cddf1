"""Validation while training: scores, stopping, the best model, and the history."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import get_config
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.naive_bayes import GaussianNB

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays
from streamlearn._watch import Watch
from tests.watching import HELD_OUT, ONES, RNG, TRAIN, X, Y, items, scripted, streams

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
    with pytest.raises(ValueError, match=r"validation has rows of shape \(3,\) in stream '0'.* shape \(4,\)"):
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

    ``n_iter_no_change`` and the fraction are the defaults of scikit-learn. A tenth of the rows is held out of both models then,
    and is so few that the mean of the best scores is known to a standard error only, which the loss may be larger by.
    """
    images, labels = load_digits(return_X_y=True)
    n_batches, scores = [], []
    for seed in range(6):
        A, test, a, b = train_test_split(images / 16, labels, stratify=labels, random_state=seed)
        if validation == "a pool":
            A, C, a, c = train_test_split(A, a, stratify=a, test_size=0.2, random_state=seed)
        pool = from_arrays(A, a, n_streams=30)
        full = StreamingEstimator(SGDClassifier(), n_passes=50, batch_size=128, random_state=seed)
        full.set_params(validation=from_arrays(C, c) if validation == "a pool" else 0.1)
        early = clone(full).set_params(n_iter_no_change=5)
        full.fit(pool)
        early.fit(pool)
        n_batches.append((full.n_batches_, early.n_batches_))
        scores.append((full.score(test, b), early.score(test, b)))
    (full_batches, early_batches), (full_score, early_score) = np.mean(n_batches, 0), np.mean(scores, 0)
    assert early_batches <= 0.5 * full_batches
    error = 0.0 if validation == "a pool" else np.sqrt(full_score * (1 - full_score) / (0.1 * len(A) * len(scores)))
    assert early_score >= full_score - 0.01 - error


def test_in_a_search():
    model = StreamingEstimator(
        SGDClassifier(), validation=0.2, n_iter_no_change=3, n_passes=30, classes=[0, 1], random_state=0
    )
    search = GridSearchCV(model, {"n_iter_no_change": [1, 3]}, cv=KFold(3)).fit(TRAIN)
    assert search.best_estimator_.history_["score"]
    assert (search.best_estimator_.stream_counts_ == 0).sum() == 2
    assert search.best_score_ > 0.5


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
