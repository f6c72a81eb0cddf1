"""StreamingEstimator inside scikit-learn's own tools."""

import io
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris, make_regression
from sklearn.decomposition import IncrementalPCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils import estimator_html_repr

from streamlearn import StreamFactory, StreamingEstimator, StreamPool, SuccessiveHalvingSearchCV, from_arrays

X, y = load_iris(return_X_y=True)
X = scale(X)
RNG = np.random.default_rng(0)


def sgd(**params):
    return StreamingEstimator(SGDClassifier(), random_state=0, **params)


def noisy(X, y, sigma, rng):
    while True:
        rows = rng.integers(0, len(X), 16)
        yield {"X": X[rows] + rng.normal(0, sigma, (16, X.shape[1])), "y": y[rows]}


def days(n=10):
    return from_arrays(X, y, by=np.arange(150) % n)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_mux_streams_and_estimator(n_jobs):
    model = sgd(
        streams=StreamFactory(noisy, sigma=[0.1, 0.2]),
        max_batches=20,
        mode="with_replacement",
        batch_size=16,
        n_active=1,
    )
    grid = {
        "lam": [4, 64],
        "n_active": [1, 2],
        "pool_weights": [None, [3, 1]],
        "streams__sigma": [[0.1, 0.2], [0.5, 1.0]],
        "estimator__alpha": [1e-3],
    }
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 16
    assert search.best_score_ > 0.6


def test_workers_change_nothing():
    model = sgd(n_passes=2, classes=[0, 1, 2])
    grid = {"lam": [4, 64], "n_active": [2, 4]}
    one, two = (
        GridSearchCV(model, grid, cv=GroupKFold(5), n_jobs=n, error_score="raise").fit(
            days(), groups=np.arange(10) // 2
        )
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(one.best_estimator_.coef_, two.best_estimator_.coef_)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", [GridSearchCV, partial(RandomizedSearchCV, n_iter=4, random_state=0)])
def test_search_over_pools(kind, n_jobs):
    model = sgd(batch_size=16, max_batches=40, mode="with_replacement", classes=[0, 1, 2])
    grid = {
        "lam": [4, 64],
        "n_active": [2, 4],
        "pool_weights": [None, [8, 1, 1, 1, 1, 1, 1, 1]],  # 8 of 10 streams are trained on
        "estimator__alpha": [1e-3, 10.0],
    }
    search = kind(model, grid, cv=GroupKFold(5), n_jobs=n_jobs, refit=False, error_score="raise")
    results = search.fit(days(), groups=np.arange(10) // 2).cv_results_
    assert np.isfinite(results["mean_test_score"]).all()
    small = np.array([params["estimator__alpha"] == 1e-3 for params in results["params"]])
    # heavily regularised models are constant, or tell one class of three from the others at the most
    assert np.median(results["mean_test_score"][small]) > 0.8 > 2 / 3 > np.median(results["mean_test_score"][~small])
    # the first candidate, by hand
    params, scores = results["params"][0], []
    for train, test in GroupKFold(5).split(np.zeros(10), groups=np.arange(10) // 2):
        fitted = clone(model).set_params(**params).fit(days()[train])
        scores.append(fitted.score(days()[test]))
    assert results["mean_test_score"][0] == pytest.approx(np.mean(scores))


def test_the_best_estimator_is_refitted_on_all_streams():
    search = GridSearchCV(sgd(n_passes=3, classes=[0, 1, 2]), {"lam": [4, 16]}, cv=KFold(5)).fit(days())
    assert search.best_estimator_.n_samples_seen_ == 450
    assert search.predict(X).shape == (150,)
    np.testing.assert_array_equal(
        np.concatenate(search.predict(days())), search.predict(np.concatenate([X[i::10] for i in range(10)]))
    )
    assert search.score(days()) == pytest.approx(search.score(X, y))


@pytest.mark.parametrize("data", [(X, y), (days(30),)], ids=["arrays", "pool"])
def test_halving_over_batches(data):
    search = HalvingGridSearchCV(
        sgd(batch_size=16, n_passes=20, classes=[0, 1, 2]),
        {"estimator__alpha": [1e-4, 1e-3, 1e-2], "lam": [4, 16]},
        resource="max_batches",
        min_resources=4,
        max_resources=64,
        factor=2,
        cv=KFold(3, shuffle=True, random_state=0),
        random_state=0,
    ).fit(*data)
    assert search.n_resources_ == [4, 8, 16]
    assert search.n_candidates_ == [6, 3, 2]
    assert search.best_estimator_.n_batches_ == search.best_params_["max_batches"] == 16


def test_curves_and_permutations_over_pools():
    pool, model = days(12), sgd(n_passes=5, classes=[0, 1, 2])
    sizes, train, test = learning_curve(model, pool, None, cv=KFold(4), train_sizes=[2, 9])
    assert sizes.tolist() == [2, 9]
    assert train.shape == test.shape == (2, 4)
    assert test.min() > 0.6
    done = cross_validate(model, pool, cv=KFold(4), return_train_score=True)
    np.testing.assert_allclose(test[1], done["test_score"])
    np.testing.assert_allclose(train[1], done["train_score"])
    score, scores, _ = permutation_test_score(model, pool, np.arange(12) % 2, n_permutations=2, cv=KFold(4))
    np.testing.assert_allclose(scores, score)  # y beside a pool is for splitters only


def test_probabilities_of_held_out_streams():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2])
    outputs = cross_val_predict(model, days(), cv=KFold(5), method="predict_proba")
    fitted = clone(model).fit(days()[2:])
    np.testing.assert_allclose(outputs[1], fitted.predict_proba(X[1::10]), rtol=1e-9)


class Recording(ClassifierMixin, BaseEstimator):
    """Learns nothing, but remembers which rows it was trained on."""

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.classes_ = np.unique(classes) if classes is not None else self.classes_
        self.n_features_in_ = X.shape[1]
        self.rows_ = [*getattr(self, "rows_", []), *X[:, 0].tolist()]
        self.weights_ = [*getattr(self, "weights_", []), *([] if sample_weight is None else sample_weight)]
        return self

    def fit(self, X, y):
        return self.partial_fit(X, y, classes=np.unique(y))

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize(
    ("splitter", "arguments"),
    [
        (KFold(5), {}),
        (ShuffleSplit(4, random_state=0), {}),
        (GroupKFold(5), {"groups": np.arange(10) // 2}),
        (LeaveOneOut(), {}),
        (PredefinedSplit(np.arange(10) % 3), {}),
        (TimeSeriesSplit(4), {}),
        (StratifiedKFold(3), {"y": np.arange(10) % 2}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("as_list", [False, True])
def test_no_held_out_stream_is_trained_on(splitter, arguments, as_list):
    numbered = np.arange(150.0)[:, None]
    pool = from_arrays(numbered, y, by=np.arange(150) % 10)
    streams = list(pool) if as_list else pool
    model = StreamingEstimator(Recording(), classes=[0, 1, 2], random_state=0)
    done = cross_validate(
        model,
        streams,
        arguments.get("y"),
        cv=splitter,
        groups=arguments.get("groups"),
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    for fitted, train in zip(done["estimator"], done["indices"]["train"], strict=True):
        expected = np.flatnonzero(np.isin(np.arange(150) % 10, train))
        assert sorted(fitted.rows_) == expected.tolist()
        assert fitted.stream_counts_.tolist() == [15] * len(train)


def test_cross_val_predict_gives_each_stream_its_own():
    pool = days()
    predicted = cross_val_predict(sgd(classes=[0, 1, 2], n_passes=3), pool, cv=KFold(5))
    assert len(predicted) == len(pool)
    for train, test in KFold(5).split(np.zeros(10)):
        fitted = sgd(classes=[0, 1, 2], n_passes=3).fit(pool[train])
        for i in test:
            np.testing.assert_array_equal(predicted[i], fitted.predict(X[np.arange(150) % 10 == i]))


def test_other_searches_and_curves():
    model = sgd(n_passes=2)
    assert RandomizedSearchCV(model, {"lam": [4, 16, 64]}, n_iter=2, random_state=0).fit(X, y).best_score_ > 0.5
    halving = HalvingGridSearchCV(
        sgd(batch_size=16),
        {"estimator__alpha": [1e-4, 1e-3, 1e-2]},
        resource="max_batches",
        min_resources=2,
        max_resources=18,
        factor=3,
        random_state=0,
    ).fit(X, y)
    assert halving.n_resources_ == [2, 6, 18][: len(halving.n_resources_)]
    sizes, train, _ = learning_curve(model, X, y, train_sizes=[0.5, 1.0], shuffle=True, random_state=0)
    assert train.shape == (2, 5)
    assert sizes[0] == 60
    assert validation_curve(model, X, y, param_name="lam", param_range=[4, 64])[0].shape == (2, 5)


def test_pipeline_last_step_transformer_step_and_memory(tmp_path):
    pipeline = make_pipeline(
        StreamingEstimator(StandardScaler()),
        StreamingEstimator(IncrementalPCA(3)),
        sgd(),
        memory=str(tmp_path),
    )
    assert pipeline.fit(X, y).score(X, y) > 0.85
    assert pipeline.fit(X, y).score(X, y) > 0.85, "from the cache"
    scaled = StreamingEstimator(StandardScaler()).fit_transform(X)
    np.testing.assert_allclose(scaled, StandardScaler().fit_transform(X), atol=1e-9)


def test_search_over_a_pipeline():
    pipeline = make_pipeline(StreamingEstimator(StandardScaler()), sgd())
    grid = {"streamingestimator-2__lam": [4, 16], "streamingestimator-1__estimator__with_mean": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X + 3, y)
    assert search.best_params_["streamingestimator-1__estimator__with_mean"]


def test_output_of_a_pipeline():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"), index=np.arange(150) + 7)
    pipeline = make_pipeline(StreamingEstimator(StandardScaler()), StreamingEstimator(IncrementalPCA(2)))
    out = pipeline.set_output(transform="pandas").fit_transform(frame)
    assert out.columns.tolist() == ["incrementalpca0", "incrementalpca1"]
    assert out.index.tolist() == frame.index.tolist()
    assert clone(pipeline).fit_transform(frame).columns.tolist() == ["incrementalpca0", "incrementalpca1"]
    assert isinstance(pipeline.set_output(transform="default").fit_transform(frame), np.ndarray)


def test_set_output_and_feature_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    out = StreamingEstimator(StandardScaler()).set_output(transform="pandas").fit(frame).transform(frame)
    assert list(out.columns) == list("abcd")
    union = FeatureUnion([("s", StreamingEstimator(StandardScaler())), ("p", StreamingEstimator(IncrementalPCA(2)))])
    assert union.fit_transform(frame).shape == (150, 6)
    columns = ColumnTransformer([("s", StreamingEstimator(StandardScaler()), ["a", "b"])], remainder="passthrough")
    assert columns.fit(frame).get_feature_names_out().tolist() == ["s__a", "s__b", "remainder__c", "remainder__d"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CalibratedClassifierCV(sgd(), cv=3),
        lambda: VotingClassifier([("s", sgd()), ("n", StreamingEstimator(GaussianNB()))]),
        lambda: StackingClassifier(
            [("s", sgd()), ("n", StreamingEstimator(GaussianNB()))], LogisticRegression(max_iter=1000)
        ),
        lambda: BaggingClassifier(sgd(), n_estimators=3, random_state=0),
        lambda: OneVsRestClassifier(sgd()),
        lambda: make_pipeline(SelectFromModel(sgd(), threshold="median"), GaussianNB()),
        lambda: FrozenEstimator(sgd().fit(X, y)),
        lambda: clone(sgd()),
    ],
    ids=["calibrated", "voting", "stacking", "bagging", "one vs rest", "select", "frozen", "clone"],
)
def test_meta_estimators(make):
    assert make().fit(X, y).score(X, y) > 0.8


def test_targets_of_other_shapes():
    many = np.stack([y == 0, y == 1], axis=1).astype(int)
    assert MultiOutputClassifier(sgd()).fit(X, many).predict(X).shape == (150, 2)
    A, b = make_regression(200, 5, noise=1.0, random_state=0)
    model = TransformedTargetRegressor(StreamingEstimator(SGDRegressor(), random_state=0), transformer=StandardScaler())
    assert model.fit(A, b).score(A, b) > 0.95


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_stored_and_loaded(how):
    model = sgd(streams=None).fit(X, y)
    if how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        joblib.dump(model, file)
        file.seek(0)
        other = joblib.load(file)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert other.n_samples_seen_ == model.n_samples_seen_


@pytest.mark.parametrize("streams", [None, days(), StreamFactory(noisy, sigma=[0.1]), partial(from_arrays, by="y")])
def test_before_fit_it_is_stored_with_its_streams(streams):
    model = sgd(streams=streams, max_batches=5, batch_size=16, mode="with_replacement")
    given = () if isinstance(streams, StreamPool) else (X, y)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.fit(*given).coef_, model.fit(*given).coef_)


def test_a_clone_is_not_fitted_and_independent():
    model = sgd(streams=StreamFactory(noisy, sigma=[0.1]), max_batches=5, mode="with_replacement").fit(X, y)
    copied = clone(model)
    assert not hasattr(copied, "estimator_")
    copied.set_params(streams__sigma=[9.0], estimator__alpha=7.0)
    assert model.streams.get_params() == {"sigma": [0.1]}
    assert model.estimator.alpha == 0.0001


def test_a_fitted_model_is_frozen_and_calibrated():
    fitted = sgd().fit(X, y)
    model = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, y)
    assert model.predict_proba(X).shape == (150, 3)
    np.testing.assert_array_equal(FrozenEstimator(fitted).fit(X[:1], y[:1]).predict(X), fitted.predict(X))


@pytest.mark.parametrize("streams", [None, days(), StreamFactory(noisy, sigma=[0.1]), partial(from_arrays, by="y")])
def test_representations(streams):
    model = sgd(streams=streams)
    for estimator in (model, make_pipeline(StandardScaler(), model), sgd().fit(X, y)):
        assert "SGDClassifier" in estimator_html_repr(estimator)
        assert "SGDClassifier" in repr(estimator)
    if streams is not None:
        assert "streams=" in repr(model)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("requested", [True, False])
def test_metadata_routing(requested):
    weight = RNG.random(150) + 0.1
    inner = Recording().set_partial_fit_request(sample_weight=requested)
    inner.set_score_request(sample_weight=False)
    model = StreamingEstimator(inner, random_state=0)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
    fitted = pipeline.fit(np.arange(150.0)[:, None], y, sample_weight=weight)[-1] if requested else model.fit(X, y)
    if not requested:
        assert fitted.weights_ == []
        return
    order = np.argsort(fitted.rows_)
    np.testing.assert_allclose(np.array(fitted.weights_)[order], weight)


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8),
    reason="before scikit-learn 1.8 a search routes nothing to the score of a Pipeline",
)
@pytest.mark.usefixtures("routing")
def test_weights_are_routed_through_a_search_to_every_row():
    weight = np.arange(150) + 1.0
    inner = Recording().set_partial_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    pipeline = make_pipeline(
        StandardScaler(with_mean=False, with_std=False).set_fit_request(sample_weight=False),
        StreamingEstimator(inner, batch_size=16, random_state=0),
    )
    search = GridSearchCV(pipeline, {"streamingestimator__lam": [4, 16]}, cv=3)
    search.fit(np.arange(150.0)[:, None], y, sample_weight=weight)
    fitted = search.best_estimator_[-1]
    np.testing.assert_array_equal(np.array(fitted.weights_), np.array(fitted.rows_) + 1.0)
    assert sorted(fitted.rows_) == list(range(150))
    # scored with weights: the first class is predicted for all, and stratified folds weigh their rows
    expected = [weight[test][y[test] == 0].sum() / weight[test].sum() for _, test in StratifiedKFold(3).split(X, y)]
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(np.mean(expected))


@pytest.mark.usefixtures("routing")
def test_weights_that_nobody_asked_for_are_refused():
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        StreamingEstimator(Recording()).fit(X, y, sample_weight=np.ones(150))
    with pytest.raises(TypeError, match="other"):
        StreamingEstimator(Recording()).fit(X, y, other=1)


@pytest.mark.usefixtures("routing")
def test_labels_are_no_metadata():
    """Candidates that go on are told their labels, whatever is routed."""
    model = StreamingEstimator(SGDClassifier(), batch_size=16, n_passes=10, random_state=0)
    grid = {"estimator__alpha": [1e-4, 1e-2, 1.0]}
    search = SuccessiveHalvingSearchCV(model, grid, max_resources=9, cv=3, error_score="raise").fit(X, y)
    assert search.n_resources_ == [3, 9]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert model.fit(X, y, classes=[0, 1, 2, 3]).classes_.tolist() == [0, 1, 2, 3]


def test_what_metadata_is_wanted_is_said_by_the_estimator_inside():
    assert not [name for name in dir(StreamingEstimator) if name.startswith("set_") and name.endswith("_request")]
