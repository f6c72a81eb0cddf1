"""scikit-learn's own conformance checks, for every estimator that has partial_fit.

``check_estimator`` is run check by check: none may fail or skip. Where a check cannot pass, ``test_rest_*`` computes that it
fails for one call of the estimator's own ``partial_fit`` as well.
"""

import os
import subprocess
import sys
import warnings
from functools import partial
from unittest import SkipTest

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.cluster import Birch, MiniBatchKMeans
from sklearn.decomposition import (
    IncrementalPCA,
    LatentDirichletAllocation,
    MiniBatchDictionaryLearning,
    MiniBatchNMF,
)
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import (
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators, estimator_checks, get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator
from threadpoolctl import threadpool_limits

from streamlearn import Streamer, StreamingEstimator, from_arrays


def batch_of(X, y):
    yield (X,) if y is None else (X, y)


def halves(X, y=None):
    """A factory of two streams, one batch each."""
    X = X.tocsr() if sparse.issparse(X) else np.asarray(X)
    middle = -(-X.shape[0] // 2)
    return [
        Streamer(batch_of, X[part], None if y is None else np.asarray(y)[part])
        for part in (slice(0, middle), slice(middle, None))
    ]


# No check may fail for these.
CONFORMING = {
    "SGDClassifier": StreamingEstimator(SGDClassifier()),
    "SGDRegressor": StreamingEstimator(SGDRegressor()),
    "SGDOneClassSVM": StreamingEstimator(SGDOneClassSVM()),
    "Perceptron": StreamingEstimator(Perceptron()),
    "MLPClassifier": StreamingEstimator(MLPClassifier(), n_passes=100),
    "MLPRegressor": StreamingEstimator(MLPRegressor(), n_passes=100),
    "GaussianNB": StreamingEstimator(GaussianNB()),
    "MultinomialNB": StreamingEstimator(MultinomialNB()),
    "BernoulliNB": StreamingEstimator(BernoulliNB()),
    "CategoricalNB": StreamingEstimator(CategoricalNB()),
    "MiniBatchKMeans": StreamingEstimator(MiniBatchKMeans()),
    "Birch": StreamingEstimator(Birch()),
    "IncrementalPCA": StreamingEstimator(IncrementalPCA()),
    "MiniBatchDictionaryLearning": StreamingEstimator(MiniBatchDictionaryLearning()),
    "LatentDirichletAllocation": StreamingEstimator(LatentDirichletAllocation()),
    "BernoulliRBM": StreamingEstimator(BernoulliRBM()),
    "StandardScaler": StreamingEstimator(StandardScaler()),
    "MinMaxScaler": StreamingEstimator(MinMaxScaler()),
    "MaxAbsScaler": StreamingEstimator(MaxAbsScaler()),
    "SelectFromModel": StreamingEstimator(SelectFromModel(SGDRegressor())),
    "MultiOutputRegressor": StreamingEstimator(MultiOutputRegressor(SGDRegressor())),
    "OneVsRestClassifier": StreamingEstimator(OneVsRestClassifier(SGDClassifier()), n_passes=5),
    # the check of subsets sets one component where it sees a parameter of that name
    "MiniBatchNMF": StreamingEstimator(MiniBatchNMF(n_components=1), n_passes=5),
    "SGDClassifier, halves": StreamingEstimator(SGDClassifier(), halves, n_passes=5),
    "SGDRegressor, halves": StreamingEstimator(SGDRegressor(), halves, n_passes=5),
    "IncrementalPCA, halves": StreamingEstimator(IncrementalPCA(), halves),
    "SGDClassifier, from_arrays": StreamingEstimator(SGDClassifier(), partial(from_arrays, shuffle=False), n_passes=5),
    "MultinomialNB, from_arrays": StreamingEstimator(MultinomialNB(), partial(from_arrays, by=None)),
    "StandardScaler, from_arrays": StreamingEstimator(StandardScaler(), partial(from_arrays, n_streams=1)),
}
# One call of their own partial_fit fails checks as well.
REST = {
    "ComplementNB": ComplementNB(),
    "OneVsOneClassifier": OneVsOneClassifier(SGDClassifier()),
    "MiniBatchNMF": MiniBatchNMF(),
}
# Their constructors warn.
DEPRECATED = {
    "PassiveAggressiveClassifier": PassiveAggressiveClassifier,
    "PassiveAggressiveRegressor": PassiveAggressiveRegressor,
}
# scikit-learn has no checks for them, but that of clone.
UNCHECKED = {
    "HashingVectorizer": HashingVectorizer(),
    "MultiOutputClassifier": MultiOutputClassifier(SGDClassifier()),
}
# Checks that check_estimator leaves out, and the method that each is about.
MORE_CHECKS = {
    "check_dataframe_column_names_consistency": "fit",
    "check_param_validation": "fit",
    "check_get_feature_names_out_error": "get_feature_names_out",
    "check_transformer_get_feature_names_out": "get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas": "get_feature_names_out",
    "check_set_output_transform": "set_output",
    "check_set_output_transform_pandas": "set_output",
    "check_set_output_transform_polars": "set_output",
    "check_global_output_transform_pandas": "set_output",
    "check_global_set_output_transform_polars": "set_output",
}
# The checks feed data that scikit-learn's own estimators warn of, too: few clusters, empty classes, names in half of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other take most of the time on data this small."""
    with threadpool_limits(1):
        yield


def name_of(check):
    while isinstance(check, partial):
        check = check.func
    return check.__name__


def checks_of(name, model):
    for estimator, check in estimator_checks_generator(model):
        if name_of(check) != "check_array_api_input":  # it needs an environment variable: run in a process of its own
            yield pytest.param(estimator, check, id=f"{name}-{name_of(check)}")


def failing_checks(model):
    """Names of the checks that fail."""
    failed = set()
    for estimator, check in estimator_checks_generator(model):
        try:
            check(estimator)
        except SkipTest:
            assert name_of(check) == "check_array_api_input"
        except Exception:
            failed.add(name_of(check))
    return failed


@pytest.mark.parametrize(("estimator", "check"), [p for name, m in CONFORMING.items() for p in checks_of(name, m)])
def test_check(estimator, check):
    try:
        check(estimator)
    except SkipTest:
        if get_tags(estimator).non_deterministic:
            check(DeclaredDeterministic(**estimator.get_params(deep=False)))
        else:
            # a check of a method that the estimator inside has not, either
            with pytest.raises(SkipTest):
                check(estimator.estimator)


class DeclaredDeterministic(StreamingEstimator):
    """Without the tag that makes checks skip."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False
        return tags


@pytest.mark.parametrize("name", MORE_CHECKS)
@pytest.mark.parametrize("model", CONFORMING.values(), ids=CONFORMING)
def test_check_that_check_estimator_leaves_out(model, name):
    if hasattr(model, MORE_CHECKS[name]):
        getattr(estimator_checks, name)("StreamingEstimator", model)
    else:
        assert not hasattr(model.estimator, MORE_CHECKS[name])


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9),
    reason="before scikit-learn 1.9 this check is made only of estimators with array API support",
)
def test_array_api_checks_in_a_process_with_scipy_array_api():
    code = f"""
import runpy
module = runpy.run_path({__file__!r})
n = 0
for name, model in module["CONFORMING"].items():
    for estimator, check in module["estimator_checks_generator"](model):
        if module["name_of"](check) == "check_array_api_input":
            check(estimator)
            n += 1
print(n)
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == [str(len(CONFORMING))], done.stderr


# -- estimators of which scikit-learn's own partial_fit fails a check ---------------------------------------------------


class OnePartialFit(MetaEstimatorMixin, BaseEstimator):
    """Nothing but one call of partial_fit on all data: the least that any wrapper does."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y=None, **params):
        self.estimator_ = clone(self.estimator)
        classes = {} if get_tags(self).classifier_tags is None else {"classes": np.unique(y)}
        self.estimator_.partial_fit(X, y, **classes, **params)
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)

    def __getattr__(self, name):
        if name.startswith("__") or name in ("estimator", "estimator_"):
            raise AttributeError(name)
        return getattr(self.__dict__.get("estimator_", self.estimator), name)

    def __sklearn_tags__(self):
        return get_tags(self.estimator)


@pytest.mark.parametrize("name", REST)
def test_rest_fails_only_what_one_partial_fit_fails(name):
    failed = failing_checks(StreamingEstimator(REST[name], n_passes=5))
    assert failed
    assert failed <= failing_checks(OnePartialFit(REST[name]))


@pytest.mark.parametrize("name", DEPRECATED)
def test_deprecated_estimators_conform(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f"Class {name} is deprecated", FutureWarning)
        assert not failing_checks(StreamingEstimator(DEPRECATED[name]()))


@pytest.mark.parametrize("name", UNCHECKED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_estimators_without_checks(name):
    estimator = UNCHECKED[name]
    assert len(list(estimator_checks_generator(estimator))) == 1
    assert not failing_checks(StreamingEstimator(estimator))


def test_every_estimator_with_partial_fit_is_here():
    with_partial_fit = {name for name, kind in all_estimators() if hasattr(kind, "partial_fit")}
    tested = {name.split(",")[0] for name in CONFORMING} | set(REST) | set(DEPRECATED) | set(UNCHECKED)
    assert tested == with_partial_fit
