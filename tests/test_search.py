"""The searches against scikit-learn's, which train every candidate from the beginning."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneOut,
    ParameterSampler,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_limits

from streamlearn import (
    HyperbandSearchCV,
    Streamer,
    StreamFactory,
    StreamingEstimator,
    StreamPool,
    SuccessiveHalvingSearchCV,
    from_arrays,
    stream_scorer,
)

X, y = load_digits(return_X_y=True)
X = X / 16
SEARCHES = [SuccessiveHalvingSearchCV, HyperbandSearchCV]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other take most of the time on data this small."""
    with threadpool_limits(1):
        yield


class Counting(SGDClassifier):
    calls = 0

    def partial_fit(self, *args, **kwargs):
        Counting.calls += 1
        return super().partial_fit(*args, **kwargs)


def calls_of(search, *data):
    Counting.calls = 0
    search.fit(*data)
    return Counting.calls


def items(start, stop, rng):
    while start < stop:
        n = int(rng.integers(1, 9))
        rows = slice(start, min(start + n, stop))
        yield {"X": X[rows] + rng.normal(0, 0.01, (rows.stop - rows.start, X.shape[1])), "y": y[rows]}
        start += n


def generators():
    return StreamPool([Streamer(items, a, a + 40) for a in range(0, 480, 40)], names=list("ABCDEFGHIJKL"))


def noisy(X, y, sigma, rng):
    while True:
        rows = rng.integers(0, len(X), 8)
        yield {"X": X[rows] + rng.normal(0, sigma, (8, X.shape[1])), "y": y[rows]}


def results(search):
    """All that must be reproducible."""
    return {name: column for name, column in search.cv_results_.items() if "time" not in name}


def assert_same_results(ours, theirs):
    assert list(ours) == list(theirs)
    for name, column in ours.items():
        if name == "params":
            assert column == theirs[name]
        else:
            np.testing.assert_array_equal(column, theirs[name], err_msg=name)
            assert column.dtype == theirs[name].dtype, name


GRID = {"estimator__alpha": [1e-6, 1e-4, 1e-2, 1], "estimator__loss": ["hinge", "log_loss"], "lam": [4, 64, None]}


def test_digits_in_a_third_of_the_calls_of_a_grid_and_four_fifths_of_those_of_halving():
    model = StreamingEstimator(
        Counting(), batch_size=64, n_passes=100, n_active=4, classes=range(10), max_batches=45, random_state=0
    )
    data, cv = (from_arrays(X, y, n_streams=30),), KFold(3)
    ours = SuccessiveHalvingSearchCV(model, GRID, cv=cv, refit=False)
    halving = HalvingGridSearchCV(model, GRID, resource="max_batches", max_resources=45, cv=cv, refit=False)
    grid = GridSearchCV(model, GRID, cv=cv, refit=False)
    n_ours, n_halving, n_grid = (calls_of(search, *data) for search in (ours, halving, grid))
    assert ours.n_batches_ == n_ours == 3 * (24 * 5 + 8 * 10 + 3 * 30)
    assert ours.n_candidates_ == halving.n_candidates_ == [24, 8, 3]
    assert ours.n_resources_ == halving.n_resources_ == [5, 15, 45]
    assert ours.best_score_ >= grid.best_score_ - 0.01
    assert n_ours <= n_grid / 3
    assert n_ours <= 0.8 * n_halving


MUX = {"lam": [1, 3, None], "n_active": [2, 4]}
CLASSIFIER = SGDClassifier(loss="log_loss", alpha=1e-2)
ALPHAS = {"estimator__alpha": [1e-4, 1e-3, 1e-2, 1e-1, 1], "estimator__random_state": [0, 1]}
PROBLEMS = {
    "generators": (
        StreamingEstimator(CLASSIFIER, batch_size=16, n_passes=4, classes=range(10)),
        (generators(),),
        {**MUX, "estimator__random_state": [None, 1]},
        {"cv": KFold(3), "scoring": stream_scorer("neg_log_loss")},
    ),
    "generators whose labels are scanned": (
        StreamingEstimator(GaussianNB(var_smoothing=0.1), batch_size=16, n_passes=4, classes="scan"),
        (generators(),),
        {**MUX, "estimator__var_smoothing": [1e-3, 1.0]},
        {"cv": KFold(2), "scoring": stream_scorer("neg_log_loss")},
    ),
    "generators that end before the last rung": (
        StreamingEstimator(CLASSIFIER, batch_size=32, classes=range(10)),
        (generators(),),
        MUX,
        {"cv": KFold(3), "scoring": stream_scorer("neg_log_loss")},
    ),
    "whole items of a list of streams": (
        StreamingEstimator(CLASSIFIER, batch_size=None, classes=range(10)),
        (list(generators()),),
        MUX,
        {"cv": KFold(3), "scoring": stream_scorer("neg_log_loss")},
    ),
    "a pool of arrays": (
        StreamingEstimator(SGDRegressor(), batch_size=32, mode="with_replacement"),
        (from_arrays(X, y, n_streams=12),),
        MUX,
        {},
    ),
    "arrays": (
        StreamingEstimator(CLASSIFIER, batch_size=100),
        (X[:600], y[:600]),
        ALPHAS,
        {"cv": 3, "scoring": "neg_log_loss"},
    ),
    "arrays, stopped by the loss": (
        StreamingEstimator(SGDRegressor(tol=0.1, n_iter_no_change=1), batch_size=300),
        (X[:600], y[:600]),
        ALPHAS,
        {"cv": 3},
    ),
    "frames": (
        StreamingEstimator(SGDRegressor(), batch_size=100),
        (pd.DataFrame(X[:600], columns=[f"x{i}" for i in range(64)]), pd.Series(y[:600])),
        ALPHAS,
        {"cv": 3, "scoring": make_scorer(mean_absolute_error, greater_is_better=False)},
    ),
    "sparse": (
        StreamingEstimator(SGDRegressor(), batch_size=100),
        (sparse.csr_matrix(X[:600]), y[:600]),
        [{"estimator__alpha": [1e-4, 1e-2, 1]}, {"estimator__penalty": ["l1", "elasticnet"]}],
        {"cv": 3, "scoring": "neg_mean_squared_error"},
    ),
    "no targets": (
        StreamingEstimator(MiniBatchKMeans(5), batch_size=50),
        (X[:600],),
        {"estimator__random_state": [0, 1, 2], "estimator__n_clusters": [4, 6]},
        {"cv": 3},
    ),
    "a factory": (
        StreamingEstimator(CLASSIFIER, streams=StreamFactory(noisy, sigma=[0.1, 0.5]), batch_size=16),
        (X[:600], y[:600]),
        {"streams__sigma": [[0.1, 0.3], [0.1, 0.5], [0.2, 0.4]], "n_active": [1, 2]},
        {"cv": 3, "scoring": "neg_log_loss"},
    ),
}


def rows_of(search):
    """Rows in an order that does not depend on how survivors are put in order, and their columns without the times."""
    table = results(search)
    order = sorted(range(len(table["params"])), key=lambda i: (table["iter"][i], str(table["params"][i])))
    return {name: [column[i] for i in order] for name, column in table.items()}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_candidates_that_go_on_have_the_scores_of_candidates_that_start_again(problem):
    model, data, grid, settings = PROBLEMS[problem]
    model = clone(model).set_params(random_state=3)
    ours = SuccessiveHalvingSearchCV(model, grid, max_resources=27, return_train_score=True, **settings).fit(*data)
    theirs = HalvingGridSearchCV(model, grid, resource="max_batches", max_resources=27, **settings).fit(*data)
    assert ours.n_iterations_ == theirs.n_iterations_ > 1
    expected = rows_of(theirs)
    assert len(set(expected["mean_test_score"])) > 1
    for name, column in rows_of(ours).items():
        if name.startswith(("mean", "std")):
            np.testing.assert_allclose(column, expected[name], rtol=1e-12, err_msg=name)
        else:
            assert column == expected[name], name
        assert getattr(ours.cv_results_[name], "dtype", None) == getattr(theirs.cv_results_[name], "dtype", None), name
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-12)
    assert ours.n_splits_ == theirs.n_splits_
    assert ours.best_estimator_.n_batches_ == theirs.best_estimator_.n_batches_
    for name in ("coef_", "cluster_centers_", "theta_"):
        if hasattr(theirs.best_estimator_, name):
            np.testing.assert_array_equal(getattr(ours.best_estimator_, name), getattr(theirs.best_estimator_, name))


def test_candidates_are_drawn_as_scikit_learn_draws_them():
    space = {"estimator__alpha": loguniform(1e-6, 1), "lam": [2, 16]}
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)
    search = SuccessiveHalvingSearchCV(model, space, n_candidates=5, max_resources=6, cv=2, random_state=7).fit(X, y)
    drawn = list(ParameterSampler(space, 5, random_state=7))
    assert search.cv_results_["params"][:5] == [{**params, "max_batches": 2} for params in drawn]


def test_hyperband_is_a_successive_halving_for_each_bracket():
    space = {"estimator__alpha": loguniform(1e-6, 1), "lam": [2, 16]}
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)
    search = HyperbandSearchCV(model, space, max_resources=9, cv=2, random_state=7).fit(X, y)
    assert search.n_candidates_ == [[9, 3, 1], [5, 1], [3]]
    assert search.n_resources_ == [[1, 3, 9], [3, 9], [9]]
    assert search.n_batches_ == 2 * (9 * 1 + 3 * 2 + 1 * 6 + 5 * 3 + 1 * 6 + 3 * 9)
    table = pd.DataFrame(search.cv_results_)
    drawn = list(ParameterSampler(space, 17, random_state=7))
    for bracket, (start, least) in enumerate([(0, 1), (9, 3), (14, 9)]):
        rows = table[table["bracket"] == bracket]
        size = search.n_candidates_[bracket][0]
        candidates = [{name: [value] for name, value in params.items()} for params in drawn[start : start + size]]
        alone = SuccessiveHalvingSearchCV(model, candidates, min_resources=least, max_resources=9, cv=2).fit(X, y)
        scores = {
            str(p): score
            for p, score in zip(alone.cv_results_["params"], alone.cv_results_["mean_test_score"], strict=True)
        }
        assert [scores[str(params)] for params in rows["params"]] == rows["mean_test_score"].tolist()
        for i, n in enumerate(search.n_candidates_[bracket][1:], 1):  # the best go on
            before = rows[rows["iter"] == i - 1].sort_values("mean_test_score")[-n:]
            assert set(before["param_estimator__alpha"]) == set(rows[rows["iter"] == i]["param_estimator__alpha"])
    assert search.best_score_ == table[table["n_resources"] == 9]["mean_test_score"].max()


def test_hyperband_takes_each_combination_of_lists_once():
    grid = {"estimator__alpha": [1e-6, 1e-4, 1e-2, 1], "lam": [2, 16]}
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)
    search = HyperbandSearchCV(model, grid, max_resources=9, cv=2, random_state=0).fit(X, y)
    begun = pd.DataFrame(search.cv_results_).groupby("bracket")["iter"].apply(lambda column: (column == 0).sum())
    assert begun.sum() == 8
    first = pd.DataFrame(search.cv_results_).query("iter == 0")["params"].tolist()
    assert len({(params["estimator__alpha"], params["lam"]) for params in first}) == 8


# -- whole streams are held out ------------------------------------------------------------------------------------------


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers which streams its rows come from: their number is the first feature."""

    def __init__(self, shift=0):
        self.shift = shift

    def partial_fit(self, X, y, classes=None):
        self.classes_ = np.arange(2)
        self.n_features_in_ = X.shape[1]
        self.seen_ = getattr(self, "seen_", frozenset()) | set(X[:, 0].astype(int).tolist())
        return self

    def predict(self, X):
        self.asked_ = getattr(self, "asked_", frozenset()) | set(X[:, 0].astype(int).tolist())
        return np.full(len(X), self.shift % 2)


def numbered(number):
    for _ in range(2):
        yield {"X": np.full((2, 2), number), "y": np.array([0, 1])}


class NoLeak:
    """A score that fails where a row was trained on, and tells which streams were."""

    def __init__(self):
        self.pairs = []

    def __call__(self, model, pool, y=None):
        model.predict(pool)
        inner = model.estimator_
        assert not inner.seen_ & inner.asked_
        self.pairs.append((inner.seen_, inner.asked_))
        return -float(model.estimator.shift)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("cv", [GroupKFold(5), KFold(4, shuffle=True, random_state=0)], ids=["GroupKFold", "KFold"])
def test_no_held_out_stream_of_200_is_ever_trained_on(search, cv):
    pool = StreamPool([Streamer(numbered, i) for i in range(200)])
    groups = np.arange(200) % 10 if isinstance(cv, GroupKFold) else None
    model = StreamingEstimator(Recorder(), n_active=20, batch_size=16, classes=[0, 1], n_passes=10, random_state=0)
    score = NoLeak()
    space = {"estimator__shift": [0, 1, 2, 3], "lam": [1, 2]}
    found = search(model, space, max_resources=90, min_resources=30, cv=cv, scoring=score, error_score="raise")
    found.fit(pool, groups=groups)
    splits = list(cv.split(np.arange(200), groups=groups))
    held_out = {frozenset(test.tolist()) for _, test in splits}
    assert {asked for _, asked in score.pairs} == held_out
    for seen, asked in score.pairs:
        if groups is not None:
            assert not set(groups[list(seen)]) & set(groups[list(asked)])
    last = max(len(seen) for seen, _ in score.pairs)
    assert last == max(len(train) for train, _ in splits)  # in 90 batches all others were trained on
    assert found.best_estimator_.estimator_.seen_ == set(range(200))


@pytest.mark.parametrize(
    "cv",
    [
        ShuffleSplit(3, test_size=0.25, random_state=0),
        LeaveOneOut(),
        PredefinedSplit(np.arange(12) % 3 - 1),
        TimeSeriesSplit(3),
        StratifiedKFold(3),
        [(np.arange(4), np.arange(4, 12))],
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_splitters(cv):
    pool = StreamPool([Streamer(numbered, i) for i in range(12)])
    labels = np.arange(12) % 2
    model = StreamingEstimator(Recorder(), batch_size=4, classes=[0, 1], n_passes=9, random_state=0)
    score = NoLeak()
    search = SuccessiveHalvingSearchCV(
        model, {"estimator__shift": [0, 1, 2]}, max_resources=36, cv=cv, scoring=score, refit=False
    )
    search.set_params(error_score="raise").fit(pool, labels)
    splits = cv if isinstance(cv, list) else list(cv.split(np.arange(12), labels))
    assert {asked for _, asked in score.pairs} == {frozenset(test.tolist()) for _, test in splits}
    assert {len(seen) for seen, _ in score.pairs} >= {len(train) for train, _ in splits}
    assert search.n_splits_ == len(splits)


def test_names_and_weights_stay_with_the_streams():
    """A list of the chosen streams, which scikit-learn makes of a pool, has lost them."""
    pool = StreamPool([Streamer(numbered, i) for i in range(4)], weights=[0, 1, 0, 1], names=list("abcd"))
    model = StreamingEstimator(Recorder(), batch_size=4, max_batches=30, classes=[0, 1], random_state=0)
    trained = []

    def score(model, pool):
        trained.append((model.estimator_.seen_, model.stream_names_, pool.names))
        return 0.0

    SuccessiveHalvingSearchCV(model, {"lam": [2]}, cv=KFold(2), scoring=score, refit=False).fit(pool)
    assert trained == [({3}, ("c", "d"), ("a", "b")), ({1}, ("a", "b"), ("c", "d"))]


# -- seeds ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("random_state", [None, "instance"])
def test_the_search_is_reproducible_whatever_seeds_the_estimator(search, random_state):
    def run(seed):
        state = None if random_state is None else np.random.RandomState(5)
        model = StreamingEstimator(SGDClassifier(), batch_size=32, n_passes=5, classes=range(10), random_state=state)
        space = {"lam": [2, 16], "n_active": [1, 4], "random_state": [state, 1]}
        return search(model, space, max_resources=9, cv=2, random_state=seed).fit(generators())

    first, second, other = run(0), run(0), run(1)
    ours, again = results(first), results(second)
    np.testing.assert_array_equal(ours["mean_test_score"], again["mean_test_score"])
    np.testing.assert_array_equal(first.best_estimator_.coef_, second.best_estimator_.coef_)
    if random_state is None:
        assert first.cv_results_["mean_test_score"].tolist() != other.cv_results_["mean_test_score"].tolist()


def test_a_generator_of_random_numbers_is_the_state_of_the_search():
    def run():
        model = StreamingEstimator(SGDRegressor(), batch_size=64)
        space = {"estimator__alpha": loguniform(1e-6, 1)}
        state = np.random.RandomState(4)
        return SuccessiveHalvingSearchCV(model, space, n_candidates=3, max_resources=9, cv=2, random_state=state).fit(
            X, y
        )

    assert_same_results(results(run()), results(run()))


# -- early stopping and weights ------------------------------------------------------------------------------------------


def test_a_candidate_that_stops_by_itself_is_not_trained_on():
    model = StreamingEstimator(
        Counting(), batch_size=32, n_passes=50, classes=range(10), validation=0.3, validation_every=2,
        n_iter_no_change=1, random_state=0,
    )  # fmt: skip
    search = SuccessiveHalvingSearchCV(model, {"lam": [2, 4, 16]}, min_resources=60, max_resources=180, cv=2)
    search.set_params(refit=False)
    n_calls = calls_of(search, generators())
    assert search.n_resources_ == [60, 180]
    assert n_calls == search.n_batches_ < 3 * 2 * 60
    table = pd.DataFrame(search.cv_results_)
    last = table[table["iter"] == 1].iloc[0]
    first = table[(table["iter"] == 0) & (table["param_lam"] == last["param_lam"])].iloc[0]
    assert last["mean_test_score"] == first["mean_test_score"]
    assert last["mean_fit_time"] == 0


@pytest.mark.parametrize("scoring", [None, "r2", stream_scorer("neg_mean_absolute_error"), "max_error"])
def test_weights_of_rows_count_in_training_and_in_scores_that_take_them(scoring):
    scoring = "neg_max_error" if scoring == "max_error" else scoring
    weight = (np.arange(600) % 3 > 0).astype(float)
    model = StreamingEstimator(SGDRegressor(), batch_size=50, n_passes=5, random_state=0)
    grid = {"estimator__alpha": [1e-4, 1e-2]}
    search = SuccessiveHalvingSearchCV(model, grid, max_resources=8, min_resources=8, cv=2, scoring=scoring)
    search.fit(X[:600], y[:600], sample_weight=weight)
    train, test = np.arange(300, 600), np.arange(300)
    alone = clone(model).set_params(max_batches=8, estimator__alpha=1e-4)
    alone.fit(X[train], y[train], sample_weight=weight[train])
    kept = test if scoring == "neg_max_error" else test[weight[test] > 0]  # the largest error takes no weights
    scorer = stream_scorer("r2" if scoring is None else scoring) if not callable(scoring) else scoring
    np.testing.assert_allclose(search.cv_results_["split0_test_score"][0], scorer(alone, X[kept], y[kept]), rtol=1e-12)


def test_fewer_candidates_than_factor():
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)
    search = SuccessiveHalvingSearchCV(model, {"lam": [2, 16]}, max_resources=9, cv=2).fit(X, y)
    assert (search.n_candidates_, search.n_resources_) == ([2], [9])
    alone = SuccessiveHalvingSearchCV(model, {}, max_resources=9, cv=2).fit(X, y)
    assert (alone.n_candidates_, alone.n_resources_, alone.best_params_) == ([1], [9], {"max_batches": 9})
    one = HyperbandSearchCV(model, {"lam": [2]}, max_resources=9, cv=2).fit(X, y)
    assert sum(n[0] for n in one.n_candidates_) == 1


def test_of_equal_candidates_the_first_go_on():
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)
    grid = {"verbose": [0], "prune_empty_seeds": [True, False], "tol": [0.1, 0.2, 0.3]}  # nothing that matters here
    search = SuccessiveHalvingSearchCV(model, grid, max_resources=9, cv=2).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"][:6])) == 1
    first = search.cv_results_["params"][:2]
    assert search.cv_results_["params"][6:] == [{**params, "max_batches": 9} for params in first]
    assert search.best_index_ == 6
    assert search.cv_results_["rank_test_score"][:6].tolist() == [search.cv_results_["rank_test_score"][0]] * 6


def test_the_best_is_one_of_those_that_were_trained_the_longest():
    model = StreamingEstimator(SGDRegressor(), batch_size=64, random_state=0)

    def worse_with_time(model, X, y):
        return -model.n_batches_ - math.log(model.lam)

    search = SuccessiveHalvingSearchCV(model, {"lam": [2, 3, 4]}, max_resources=9, cv=2, scoring=worse_with_time)
    search.fit(X, y)
    assert search.best_params_ == {"lam": 2, "max_batches": 9}
    assert search.best_score_ == -9 - math.log(2)
