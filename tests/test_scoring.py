"""stream_scorer against scikit-learn's own scorers on the concatenated rows."""

import itertools

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import accuracy_score, get_scorer, get_scorer_names, make_scorer, mean_pinball_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.naive_bayes import GaussianNB

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays, stream_scorer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
BINARY = (X[:, 0] + 0.5 * RNG.normal(size=300) > 0).astype(int)
MULTI = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=300), [-0.5, 0.5])
REAL = np.abs(X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=300)) + 0.1
PROBLEMS = {
    "binary": (GaussianNB(), BINARY),
    "binary, decisions": (SGDClassifier(random_state=0), BINARY),
    "multiclass": (GaussianNB(), MULTI),
    "regression": (SGDRegressor(random_state=0), REAL),
    "clustering": (MiniBatchKMeans(3, random_state=0), MULTI),
}


def batches(start, stop, y):
    for a in range(start, stop, 7):
        b = min(a + 7, stop)
        yield {"X": X[a:b], "y": y[a:b]}


def streams(y):
    edges = [0, 10, 75, 150, 151, 300]
    return [Streamer(batches, a, b, y) for a, b in itertools.pairwise(edges)]


def applying():
    """Pairs of a problem and a score that scikit-learn itself computes for it."""
    for problem, (inner, y) in PROBLEMS.items():
        fitted = inner.fit(X, y)
        for name in get_scorer_names():
            try:
                get_scorer(name)(fitted, X, y)
            except Exception:  # whatever a score says to a problem that is not its own
                continue
            yield problem, name


@pytest.mark.filterwarnings("ignore")  # scores say that a few of these problems are odd for them
def test_every_score_that_applies_is_that_of_the_concatenated_rows():
    seen = set()
    models = {p: StreamingEstimator(inner, random_state=0).fit(X, y) for p, (inner, y) in PROBLEMS.items()}
    for problem, name in applying():
        model, y = models[problem], PROBLEMS[problem][1]
        expected = get_scorer(name)(model, X, y)
        np.testing.assert_allclose(stream_scorer(name)(model, streams(y)), expected, rtol=1e-12, err_msg=name)
        seen.add(name)
    assert {
        "accuracy",
        "roc_auc",
        "neg_log_loss",
        "average_precision",
        "r2",
        "roc_auc_ovr",
        "adjusted_rand_score",
    } <= seen


def test_scorers_with_settings_and_several_scores():
    model = StreamingEstimator(SGDRegressor(random_state=0), random_state=0).fit(X, REAL)
    pinball = make_scorer(mean_pinball_loss, alpha=0.9, greater_is_better=False)
    scores = stream_scorer({"r2": "r2", "pinball": pinball})(model, streams(REAL))
    assert scores == pytest.approx(
        {"r2": get_scorer("r2")(model, X, REAL), "pinball": pinball(model, X, REAL)}, rel=1e-12
    )
    assert list(stream_scorer(["r2", "neg_max_error"])(model, streams(REAL))) == ["r2", "neg_max_error"]


def test_a_callable_of_ones_own():
    model = StreamingEstimator(GaussianNB()).fit(X, BINARY)

    def brier(estimator, X, y):
        return -float(np.mean((estimator.predict_proba(X)[:, 1] - y) ** 2))

    assert stream_scorer(brier)(model, streams(BINARY)) == pytest.approx(brier(model, X, BINARY), rel=1e-12)


def test_weights_of_the_batches_count():
    weight = RNG.random(300)
    model = StreamingEstimator(GaussianNB()).fit(X, BINARY)
    pool = from_arrays(X, BINARY, weight, n_streams=4)
    expected = get_scorer("accuracy")(model, X, BINARY, sample_weight=weight)
    assert stream_scorer("accuracy")(model, pool) == pytest.approx(expected, rel=1e-12)


def test_arrays_are_scored_as_usual():
    model = StreamingEstimator(GaussianNB()).fit(X, BINARY)
    assert stream_scorer("roc_auc")(model, X, BINARY) == get_scorer("roc_auc")(model, X, BINARY)


def test_in_searches_over_streams():
    pool = from_arrays(X, BINARY, n_streams=10)
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0)
    search = GridSearchCV(model, {"lam": [4, 64]}, cv=GroupKFold(5), scoring=stream_scorer("roc_auc"))
    search.fit(pool, groups=np.arange(10) // 2)
    assert search.best_score_ > 0.5
    both = cross_validate(
        model, pool, cv=KFold(5), scoring=stream_scorer(["roc_auc", "accuracy"]), return_estimator=True
    )
    for (_, held_out), fitted, score in zip(KFold(5).split(pool), both["estimator"], both["test_roc_auc"], strict=True):
        rows = np.concatenate([np.arange(30 * i, 30 * i + 30) for i in held_out])
        assert score == pytest.approx(get_scorer("roc_auc")(fitted, X[rows], BINARY[rows]), rel=1e-12)


def test_an_endless_stream_is_bounded():
    def endless():
        while True:
            yield {"X": X, "y": BINARY}

    model = StreamingEstimator(GaussianNB()).fit(X, BINARY)
    expected = get_scorer("accuracy")(model, X[:100], BINARY[:100])
    assert stream_scorer("accuracy", max_samples=100)(model, [Streamer(endless)]) == expected


@pytest.mark.parametrize(
    ("scoring", "pool", "message"),
    [
        ("accuracy", [Streamer([{"X": X}])], r"'accuracy' needs y, which stream '0' at position 0 does not give"),
        ("accuracy", [Streamer([])], "no row"),
        (
            "accuracy",
            [Streamer([{"X": X, "y": BINARY}]), Streamer([{"X": X}])],
            r"needs y, which stream '1' at position 1",
        ),
        (
            make_scorer(accuracy_score),
            [Streamer([{"X": X}])],
            r"make_scorer\(accuracy_score.* needs y, which stream '0'",
        ),
        (
            lambda estimator, X, y: 0.0,
            [Streamer([{"X": X}]), Streamer([{"X": X, "y": BINARY}])],
            "stream '1' at position 1 does, stream '0' at position 0 does not",
        ),
    ],
)
def test_streams_that_cannot_be_scored(scoring, pool, message):
    model = StreamingEstimator(GaussianNB()).fit(X, BINARY)
    with pytest.raises(ValueError, match=message):
        stream_scorer(scoring)(model, StreamPool(pool))


def test_a_score_that_the_estimator_cannot_answer():
    model = StreamingEstimator(MiniBatchKMeans(2, random_state=0)).fit(X)
    with pytest.raises(ValueError, match="predict_proba"):
        stream_scorer("neg_log_loss")(model, streams(BINARY))


def test_bad_scoring():
    with pytest.raises(ValueError, match="nonsense"):
        stream_scorer("nonsense")
    with pytest.raises(ValueError, match="max_samples"):
        stream_scorer("r2", max_samples=-1)
    with pytest.raises(ValueError, match="at least one"):
        stream_scorer([])


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", get_scorer("f1"), None], ids=str)
def test_the_scoring_of_an_estimator_works_on_pools(scoring):
    """It is what a search uses without a scoring of its own."""
    model = StreamingEstimator(GaussianNB(), scoring=scoring, classes=[0, 1], random_state=0).fit(X, BINARY)
    scorer = get_scorer("accuracy") if scoring is None else get_scorer(scoring)
    assert model.score(streams(BINARY)) == pytest.approx(scorer(model, X, BINARY), rel=1e-12)
    pool = from_arrays(X, BINARY, n_streams=6)
    scores = cross_validate(model, pool, cv=KFold(3))["test_score"]
    for (train, test), score in zip(KFold(3).split(pool), scores, strict=True):
        rows = np.isin(np.arange(300) // 50, test)
        fitted = StreamingEstimator(GaussianNB(), classes=[0, 1], random_state=0).fit(pool[train])
        assert score == pytest.approx(scorer(fitted, X[rows], BINARY[rows]), rel=1e-12)


def test_arrays_without_targets():
    model = StreamingEstimator(GaussianNB(), scoring="roc_auc").fit(X, BINARY)
    with pytest.raises(
        ValueError, match=r"the score 'roc_auc' needs y, and y is None: pass y beside the arrays, or a pool"
    ):
        model.score(X)
    with pytest.raises(ValueError, match=r"the score 'f1' needs y, and y is None"):
        stream_scorer(["f1"])(model, X)
    assert stream_scorer(lambda estimator, X, y: float(len(X)))(model, X) == 300


def test_a_score_that_does_not_fit_says_so_in_a_search():
    pool = from_arrays(X, BINARY, n_streams=6)
    model = StreamingEstimator(SGDClassifier(), random_state=0)
    scoring = stream_scorer("neg_log_loss")
    text = r"scoring='neg_log_loss' needs predict_proba, which StreamingEstimator\(SGDClassifier\) does not have"
    with pytest.raises(ValueError, match=text):
        cross_validate(model, pool, cv=2, scoring=scoring, error_score="raise")
    with pytest.warns(UserWarning, match=text):
        assert np.isnan(cross_validate(model, pool, cv=2, scoring=scoring)["test_score"]).all()
    regressor = StreamingEstimator(SGDRegressor(), random_state=0).fit(X, REAL)
    with pytest.raises(ValueError, match="continuous") as caught:
        stream_scorer("accuracy")(regressor, streams(REAL))
    assert caught.value.__notes__ == ["raised by the score 'accuracy': does it fit StreamingEstimator(SGDRegressor)?"]
