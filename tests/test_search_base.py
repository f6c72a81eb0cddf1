"""What both searches have of scikit-learn's: what they refuse, failures of candidates, and the best estimator's methods."""

import math
import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchNMF
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from streamlearn import (
    HyperbandSearchCV,
    Streamer,
    StreamingEstimator,
    StreamPool,
    SuccessiveHalvingSearchCV,
    from_arrays,
    stream_scorer,
)

X, y = load_digits(return_X_y=True)
X, y = X[:400] / 16, y[:400]
SEARCHES = pytest.mark.parametrize("search", [SuccessiveHalvingSearchCV, HyperbandSearchCV])


class Untrained(SGDClassifier):
    def partial_fit(self, *args, **kwargs):
        raise AssertionError("this must be refused before any training")


class Broken(GaussianNB):
    """Fails after so many batches."""

    def __init__(self, after=None, var_smoothing=1e-9):
        self.after = after
        super().__init__(var_smoothing=var_smoothing)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.n_ = getattr(self, "n_", 0) + 1
        if self.after is not None and self.n_ > self.after:
            raise RuntimeError("it broke")
        return super().partial_fit(X, y, classes, sample_weight)


def model(estimator=None, **settings):
    settings = {"batch_size": 20, "n_passes": 9, "random_state": 0, **settings}
    return StreamingEstimator(SGDClassifier() if estimator is None else estimator, **settings)


def pool():
    return from_arrays(X, y, n_streams=8)


# -- refused before training ---------------------------------------------------------------------------------------------


@SEARCHES
@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"estimator": SGDClassifier()}, ValueError, "'estimator' parameter .* must be an instance of .*StreamingEst"),
        ({"param_distributions": [1]}, TypeError, "1"),
        ({"param_distributions": {"alpha": [1]}}, ValueError, "alpha"),
        ({"param_distributions": {"estimator__alhpa": [1]}}, ValueError, "alhpa"),
        ({"param_distributions": {"max_batches": [1, 2]}}, ValueError, "max_batches, which the search itself sets"),
        ({"param_distributions": {"lam": []}}, ValueError, "lam"),
        ({"estimator": model(Untrained(), checkpoint="file")}, ValueError, "checkpoint='file' of the estimator is one"),
        ({"factor": 1}, ValueError, "'factor'"),
        (
            {"max_resources": "auto"},
            ValueError,
            "max_resources='auto' means the max_batches of the estimator, which is",
        ),
        ({"max_resources": 0}, ValueError, "'max_resources'"),
        ({"min_resources": 10}, ValueError, "min_resources=10 is more than the 9 batches of max_resources"),
        ({"min_resources": "most"}, ValueError, "'min_resources'"),
        ({"n_candidates": 0}, ValueError, "'n_candidates'"),
        ({"scoring": "acuracy"}, ValueError, "'scoring'"),
        ({"scoring": stream_scorer(["accuracy", "f1_macro"])}, ValueError, "scoring must be one score"),
        ({"cv": "five"}, ValueError, "'cv'"),
        ({"cv": []}, ValueError, "gives no split"),
        ({"refit": "accuracy"}, ValueError, "'refit'"),
        ({"error_score": "nan"}, ValueError, "'error_score'"),
        ({"estimator": StreamingEstimator(MiniBatchNMF())}, TypeError, "score"),
    ],
)
def test_bad_parameters_are_named_before_any_training(search, settings, error, words):
    settings = {
        "estimator": model(Untrained()),
        "param_distributions": {"lam": [1, 2]},
        "max_resources": 9,
        "cv": KFold(2),
        "error_score": "raise",
        **settings,
    }
    with pytest.raises(error, match=words):
        search(**settings).fit(pool())


@SEARCHES
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        ((None,), {}, ValueError, "X is None"),
        ((Streamer([{"X": X, "y": y}]),), {}, TypeError, "X is one stream"),
        ((X, y[:5]), {}, ValueError, "inconsistent numbers of samples"),
        ((pool(), [0, 1]), {}, ValueError, "inconsistent numbers of samples"),
        ((pool(),), {"groups": [0, 1]}, ValueError, "inconsistent numbers of samples"),
        ((pool(),), {"sample_weight": np.ones(8)}, ValueError, "sample_weight goes with arrays"),
        ((X, y), {"sample_weight": np.ones(8)}, ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_data_is_named_before_any_training(search, arguments, settings, error, words):
    found = search(model(Untrained()), {"lam": [1, 2]}, max_resources=9, cv=KFold(2), error_score="raise")
    with pytest.raises(error, match=words):
        found.fit(*arguments, **settings)


def test_distributions_need_a_number_of_candidates():
    from scipy.stats import loguniform

    space = {"estimator__alpha": loguniform(1e-4, 1)}
    with pytest.raises(TypeError, match="without n_candidates must list the values"):
        SuccessiveHalvingSearchCV(model(Untrained()), space, max_resources=9).fit(pool())


def test_the_budget_of_the_estimator_is_the_default():
    search = SuccessiveHalvingSearchCV(model(max_batches=12), {"lam": [1, 2, 4]}, cv=KFold(2)).fit(pool())
    assert search.n_resources_ == [4, 12]
    assert search.max_resources_ == 12


# -- candidates that fail ------------------------------------------------------------------------------------------------


@SEARCHES
def test_a_candidate_that_fails_does_not_go_on(search):
    # of the best two, one does not fail
    space = {"estimator__after": [0, 4, None], "estimator__var_smoothing": [1e-9, 1.0]}
    found = search(model(Broken()), space, max_resources=9, min_resources=3, cv=KFold(2), random_state=0)
    with pytest.warns(FitFailedWarning, match="fits and scores of candidates failed: .*RuntimeError: it broke"):
        found.fit(pool())
    table = found.cv_results_
    failed = np.isnan(table["mean_test_score"])
    for i, params in enumerate(table["params"]):
        after = params["estimator__after"]
        assert failed[i] == (after is not None and after < params["max_batches"])
    assert not (table["iter"][[p["estimator__after"] == 0 for p in table["params"]]] > 0).any()
    assert found.best_params_["estimator__after"] is None
    assert (table["rank_test_score"][failed] == table["rank_test_score"].max()).all()


@SEARCHES
def test_a_failure_can_be_raised(search):
    found = search(model(Broken()), {"estimator__after": [0]}, max_resources=9, cv=KFold(2), error_score="raise")
    with pytest.raises(RuntimeError, match="it broke") as caught:
        found.fit(pool())
    assert any("raised by the candidate" in note and "'estimator__after': 0" in note for note in caught.value.__notes__)


@SEARCHES
def test_an_error_score_is_a_score(search):
    space = {"estimator__after": [4, None]}
    found = search(model(Broken()), space, max_resources=9, min_resources=3, cv=KFold(2), factor=2, random_state=0)
    with pytest.warns(FitFailedWarning, match=r"Their score is error_score=2\.0"):
        found.set_params(error_score=2.0, refit=False).fit(pool())
    assert found.best_score_ == 2.0
    assert found.best_params_["estimator__after"] == 4


@SEARCHES
@pytest.mark.parametrize("error_score", [np.nan, 0.0])
def test_if_all_fail_there_is_no_best_one(search, error_score):
    found = search(model(Broken()), {"estimator__after": [0]}, max_resources=9, cv=KFold(2), error_score=error_score)
    with pytest.raises(ValueError, match=r"no candidate can be chosen(.|\n)*it broke"):
        found.fit(pool())


@SEARCHES
def test_if_all_that_went_on_fail_the_best_of_those_before_is_taken(search):
    space = {"estimator__after": [4], "estimator__var_smoothing": [1e-3, 1e-1, 1.0]}
    found = search(model(Broken()), space, max_resources=9, min_resources=3, cv=KFold(2), random_state=0)
    with pytest.warns(FitFailedWarning):
        found.fit(pool())
    assert found.best_params_["max_batches"] == 3
    assert found.best_score_ == np.nanmax(found.cv_results_["mean_test_score"])
    assert found.best_estimator_.n_batches_ == 3


def test_values_that_a_candidate_cannot_take_are_its_failure():
    search = SuccessiveHalvingSearchCV(model(), {"lam": [0.5, 2, 4]}, max_resources=9, cv=KFold(2))
    with pytest.warns(FitFailedWarning, match="2 of 6 fits and scores .*'lam' parameter"):
        search.fit(pool())
    assert search.best_params_["lam"] in (2, 4)


def test_a_score_that_fails_is_a_failure():
    space = {"estimator__loss": ["hinge", "log_loss"]}
    search = SuccessiveHalvingSearchCV(
        model(), space, max_resources=9, cv=KFold(2), scoring=stream_scorer("neg_log_loss")
    )
    with pytest.warns(FitFailedWarning, match="predict_proba"):
        search.fit(pool())
    assert search.best_params_["estimator__loss"] == "log_loss"


def test_scores_of_nan_lose():
    def score(model, X, y):
        return math.nan if model.lam == 2 else 1.0

    search = SuccessiveHalvingSearchCV(model(), {"lam": [2, 4]}, max_resources=9, cv=2, scoring=score).fit(X, y)
    assert search.best_params_["lam"] == 4
    with pytest.raises(ValueError, match=r"scoring=<function .* gives NaN for each of them"):
        search.set_params(param_distributions={"lam": [2]}).fit(X, y)


def test_a_score_must_be_a_number():
    search = SuccessiveHalvingSearchCV(
        model(), {}, max_resources=9, cv=2, scoring=lambda model, X, y: {"a": 1}, error_score="raise"
    )
    with pytest.raises(ValueError, match="scoring must give a number"):
        search.fit(X, y)


# -- the best estimator --------------------------------------------------------------------------------------------------


@SEARCHES
def test_methods_are_those_of_the_best_estimator(search):
    space = {"estimator__alpha": [1e-3, 1e-1], "lam": [2, 4]}
    found = search(model(SGDClassifier(loss="log_loss")), space, max_resources=9, cv=2, random_state=0).fit(X, y)
    best = clone(found.estimator).set_params(**found.best_params_).fit(X, y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(found, method)(X), getattr(best, method)(X))
    assert found.score(X, y) == accuracy_score(y, found.predict(X))
    assert found.score(pool()) == pytest.approx(found.score(X, y), rel=1e-12)
    np.testing.assert_array_equal(found.classes_, np.arange(10))
    assert found.n_features_in_ == 64
    assert not hasattr(found, "transform")
    assert found.refit_time_ > 0
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(X), found.predict(X))


@SEARCHES
def test_methods_of_transformers_and_clusterers(search):
    found = search(model(MiniBatchKMeans(5)), {"lam": [2]}, max_resources=9, cv=2).fit(X)
    assert found.transform(X).shape == (400, 5)
    np.testing.assert_array_equal(clone(found).fit_transform(X), found.transform(X))
    assert not hasattr(found, "predict_proba")
    assert found.score(X) == found.best_estimator_.score(X)


@SEARCHES
def test_scores_are_by_the_scoring_of_the_search(search):
    found = search(model(), {"lam": [2]}, max_resources=9, cv=2, scoring="f1_macro").fit(X, y)
    expected = stream_scorer("f1_macro")(found.best_estimator_, X, y)
    assert found.score(X, y) == found.score(pool()) == expected


@SEARCHES
def test_without_refit_there_is_no_best_estimator(search):
    found = search(model(), {"lam": [2, 4]}, max_resources=9, cv=2, refit=False)
    with pytest.raises(AttributeError, match="predict"):
        found.predict(X)
    found.fit(X, y)
    assert not hasattr(found, "best_estimator_")
    assert not hasattr(found, "predict")
    assert not hasattr(found, "classes_")
    with pytest.raises(AttributeError, match="refit is False"):
        found.score(X, y)
    assert found.best_params_["max_batches"] == 9


@SEARCHES
def test_before_fit(search):
    found = search(model(), {"lam": [2]}, max_resources=9)
    assert hasattr(found, "predict")
    assert not hasattr(found, "transform")
    with pytest.raises(NotFittedError):
        found.predict(X)
    with pytest.raises(NotFittedError):
        found.score(X, y)


@SEARCHES
def test_clones_parameters_and_tags(search):
    found = search(model(SGDRegressor()), {"lam": [2]}, max_resources=9, cv=2, n_jobs=1, random_state=3)
    other = clone(found).set_params(estimator__estimator__alpha=0.5, max_resources=6)
    assert other.get_params()["estimator__estimator__alpha"] == 0.5
    assert found.get_params()["max_resources"] == 9
    assert is_regressor(found)
    assert is_classifier(search(model(), {"lam": [2]}))
    assert get_tags(found).input_tags.sparse
    assert found.fit(X, y) is found
    for value in (found.estimator, clone(found.estimator)):
        assert value.get_params()["max_batches"] is None  # the caller's estimator is as it was


@pytest.mark.filterwarnings("ignore")  # the checks feed what many estimators warn of
def test_the_checks_of_scikit_learn():
    model = StreamingEstimator(SGDClassifier(), random_state=0)
    reason = "a row that comes twice is held out or shuffled otherwise than one of twice the weight"
    expected = {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}
    search = SuccessiveHalvingSearchCV(
        model, {"lam": [2, 4, 8]}, max_resources=9, cv=2, random_state=0, error_score="raise"
    )
    check_estimator(search, expected_failed_checks=expected, on_skip=None)


@SEARCHES
def test_it_is_a_step_of_a_pipeline_and_can_be_validated(search):
    found = make_pipeline(MinMaxScaler(), search(model(), {"lam": [2, 4]}, max_resources=9, cv=2, random_state=0))
    assert cross_val_score(found, X, y, cv=2).shape == (2,)


def test_names_of_features():
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(64)])
    search = SuccessiveHalvingSearchCV(model(), {"lam": [2, 4, 8]}, max_resources=9, cv=2, error_score="raise")
    search.fit(frame, y)
    assert search.feature_names_in_.tolist() == frame.columns.tolist()
    search.predict(frame)
    search.fit(X, y)
    assert not hasattr(search, "feature_names_in_")


@SEARCHES
def test_it_tells_what_it_does(search, capsys):
    search(model(), {"lam": [2, 4, 8]}, max_resources=9, min_resources=3, cv=2, verbose=1, random_state=0).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"[{search.__name__}] iteration 0")
    assert "2 splits, up to 3 batches each" in lines[0]
    assert any("iteration 1" in line and "up to 9 batches each" in line for line in lines)


def test_estimators_among_the_parameters_are_not_trained():
    inner = [SGDClassifier(), GaussianNB()]
    search = SuccessiveHalvingSearchCV(model(), {"estimator": inner}, max_resources=9, cv=KFold(2)).fit(pool())
    assert not any(hasattr(estimator, "classes_") for estimator in inner)
    assert not hasattr(search.estimator, "estimator_")
    assert search.cv_results_["param_estimator"].tolist() == inner


def test_streams_that_fail_are_named():
    def broken():
        yield {"X": X[:50], "y": y[:50]}
        raise OSError("the disk is gone")

    streams = StreamPool([Streamer(broken) for _ in range(4)], names=list("abcd"))
    search = SuccessiveHalvingSearchCV(model(classes=range(10)), {}, max_resources=30, cv=KFold(2))
    with pytest.raises(ValueError, match=r"OSError: the disk is gone(.|\n)*stream '[cd]' at position"):
        search.fit(streams)


def test_iterations_that_train_nothing_warn():
    short = model(SGDClassifier(), n_passes=1, batch_size=100)
    space = {"estimator__alpha": [1e-4, 1e-3, 1e-2]}
    with pytest.warns(UserWarning, match=r"on more than 2 batches, although max_resources=90: .* Raise n_passes"):
        SuccessiveHalvingSearchCV(short, space, max_resources=90, cv=2).fit(X[:400], y[:400])
