"""StreamingEstimator: the forms in which streams, labels and weights reach it, and what is refused."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamlearn import (
    StochasticMux,
    Streamer,
    StreamFactory,
    StreamingEstimator,
    StreamPool,
    from_arrays,
    mux,
    streamable,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)) + np.repeat([[0.0], [3.0], [6.0]], 30, axis=0)
y = np.repeat([0, 1, 2], 30)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what each partial_fit was given."""

    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        self.calls_ = [*getattr(self, "calls_", []), (np.array(X), np.array(y), sample_weight)]
        if classes is not None:
            self.classes_ = np.asarray(classes)
        return self

    def predict(self, X):
        return X[:, 0]


def batches(X, y, size=10):
    for i in range(0, len(X), size):
        yield {"X": X[i : i + size], "y": y[i : i + size]}


def halves(X, y):
    return [Streamer(batches, X[:45], y[:45]), Streamer(batches, X[45:], y[45:])]


@streamable
def shifted(X, y, shift=1.0):
    yield {"X": X + shift, "y": y}


def rows_of(model):
    return np.concatenate([batch for batch, _, _ in model.calls_])


def sorted_rows(array):
    return array[np.lexsort(array.T)]


# -- what X may be --------------------------------------------------------------------------------------------------------


def as_object_array(streams):
    array = np.empty(len(streams), object)
    array[:] = streams
    return array


@pytest.mark.parametrize(
    "form",
    [
        StreamPool,
        list,
        tuple,
        as_object_array,
        lambda streams: StochasticMux(streams, 2, mode="exhaustive"),
        lambda streams: [StochasticMux(streams, 2, mode="exhaustive")],
    ],
    ids=["pool", "list", "tuple", "object array", "stream", "list of a mux"],
)
def test_forms_of_streams(form):
    model = StreamingEstimator(Recorder(), classes=[0, 1, 2], random_state=0).fit(form(halves(X, y)))
    np.testing.assert_array_equal(sorted_rows(rows_of(model)), sorted_rows(X))


@pytest.mark.parametrize(
    ("make", "n_streams"),
    [
        (lambda X, y: StreamPool(halves(X, y)), 2),
        (halves, 2),
        (lambda X, y: tuple(halves(X, y)), 2),
        (lambda X, y: Streamer(batches, X, y), 1),
        (partial(from_arrays, by="y"), 3),
        (partial(from_arrays, n_streams=5), 5),
        (lambda X, y: [list(batches(X, y))], 1),
    ],
    ids=["pool", "list", "tuple", "stream", "by class", "blocks", "containers"],
)
def test_forms_of_factories(make, n_streams):
    model = StreamingEstimator(Recorder(), make, random_state=0).fit(X, y)
    np.testing.assert_array_equal(sorted_rows(rows_of(model)), sorted_rows(X))
    assert len(model.stream_counts_) == len(model.stream_names_) == n_streams


def test_a_streamable_function_is_a_factory():
    model = StreamingEstimator(Recorder(), shifted).fit(X, y)
    np.testing.assert_array_equal(sorted_rows(rows_of(model)), sorted_rows(X + 1.0))


@pytest.mark.parametrize("streams", [StreamPool(halves(X, y)), halves(X, y), lambda: halves(X, y)])
def test_streams_without_data(streams):
    model = StreamingEstimator(Recorder(), streams, classes=[0, 1, 2], random_state=0).fit()
    np.testing.assert_array_equal(sorted_rows(rows_of(model)), sorted_rows(X))


def test_a_factory_is_given_a_pool_as_it_is():
    given = []

    def augmented(pool, groups=None):
        given.append((pool, groups))
        return pool

    pool = StreamPool(halves(X, y))
    StreamingEstimator(GaussianNB(), augmented, classes=[0, 1, 2]).fit(pool)
    assert given == [(pool, None)]


@pytest.mark.parametrize("container", [pd.DataFrame, sparse.csr_array, np.asarray])
def test_a_factory_is_given_tables_as_they_are(container):
    given, table = [], container(X)

    def factory(X, y):
        given.append(X)
        return Streamer(batches, np.zeros((10, 3)), np.arange(10) % 3)

    StreamingEstimator(SGDClassifier(), factory).fit(table, y)
    assert given[0] is table


def test_factory_parameters_are_those_of_the_estimator():
    model = StreamingEstimator(Recorder(), StreamFactory(shifted.__wrapped__, shift=[0.0, 1.0]))
    assert model.get_params()["streams__shift"] == [0.0, 1.0]
    model.set_params(streams__shift=[5.0]).fit(X, y)
    np.testing.assert_array_equal(sorted_rows(rows_of(model)), sorted_rows(X + 5.0))


@pytest.mark.parametrize(
    "item",
    [
        lambda X, y: {"X": X, "y": y},
        lambda X, y: {"X": X, "Y": y},
        lambda X, y: (X, y),
        lambda X, y: {"X": X.tolist(), "y": y.tolist()},
        lambda X, y: {"X": pd.DataFrame(X, columns=list("abc")), "y": pd.Series(y)},
        lambda X, y: {"X": pl.DataFrame(X, schema=list("abc")), "y": pl.Series(y)},
        lambda X, y: {"X": sparse.csr_array(X), "y": y},
    ],
    ids=["mapping", "Y", "tuple", "lists", "pandas", "polars", "sparse"],
)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_forms_of_batches(item, batch_size):
    def stream(X, y):
        for i in range(0, len(X), 10):
            yield item(np.abs(X[i : i + 10]), y[i : i + 10])

    model = StreamingEstimator(MultinomialNB(), batch_size=batch_size, classes=[0, 1, 2])
    model.fit([Streamer(stream, X, y)])
    np.testing.assert_allclose(model.feature_log_prob_, MultinomialNB().fit(np.abs(X), y).feature_log_prob_)
    assert model.n_features_in_ == 3


def test_weights_of_streams_reach_the_estimator():
    weight = np.arange(90) % 4 / 2
    pool = from_arrays(X, y, weight, n_streams=4)
    model = StreamingEstimator(GaussianNB(), random_state=0).fit(pool)
    bare = GaussianNB().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.theta_, bare.theta_)
    np.testing.assert_allclose(model.class_count_, bare.class_count_)


def test_weights_given_to_fit_go_to_a_factory_that_takes_them():
    def factory(X, y, sample_weight):
        return from_arrays(X, y, sample_weight, by="y")

    weight = np.arange(90) % 4 + 1.0
    model = StreamingEstimator(GaussianNB(), factory, random_state=0).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, y, sample_weight=weight).theta_)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        StreamingEstimator(GaussianNB(), halves).fit(X, y, sample_weight=weight)


def test_y_beside_a_pool_is_for_splitters():
    pool = from_arrays(X, y, by=np.arange(90) % 3)
    model = StreamingEstimator(GaussianNB()).fit(pool, ["a", "b", "c"])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(pool, ["a", "b", "c"]) == model.score(pool)


# -- classes --------------------------------------------------------------------------------------------------------------


def test_classes_are_taken_from_the_table_of_array_streams():
    pool = from_arrays(X, np.array(["c", "a", "b"])[y], by=np.arange(90) // 30)  # each stream has one label
    assert StreamingEstimator(SGDClassifier(), random_state=0).fit(pool).classes_.tolist() == ["a", "b", "c"]


def test_classes_of_a_factory_are_those_of_y():
    def one_class(X, y):
        return Streamer(batches, X[:30], y[:30])

    assert StreamingEstimator(GaussianNB(), one_class).fit(X, y).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("data", [(X, y), (halves(X, y),)], ids=["arrays", "streams"])
def test_classes_may_be_more_than_the_data_has(data):
    model = StreamingEstimator(SGDClassifier(), classes=[3, 0, 2, 1], random_state=0).fit(*data)
    assert model.classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("estimator", [SGDClassifier(), MultinomialNB()], ids=lambda e: type(e).__name__)
def test_a_label_of_arrays_that_is_not_among_classes(estimator):
    with pytest.raises(ValueError, match=r"labels \[2\].* classes=\[0, 1\]"):
        StreamingEstimator(estimator, classes=[0, 1]).fit(np.abs(X), y)


def test_missing_classes_are_refused_before_a_stream_is_opened():
    opened = []

    def watched():
        opened.append(True)
        yield from batches(X, y)

    with pytest.raises(ValueError, match="classes is None"):
        StreamingEstimator(SGDClassifier()).fit([Streamer(watched)])
    assert not opened


CLASSIFIERS = [
    SGDClassifier(),
    Perceptron(),
    MLPClassifier(),
    GaussianNB(),
    MultinomialNB(),
    BernoulliNB(),
    ComplementNB(),
    CategoricalNB(min_categories=9),
    OneVsRestClassifier(SGDClassifier()),
    OneVsOneClassifier(SGDClassifier()),
]


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda e: type(e).__name__)
class TestAnUnknownLabel:
    counts = np.random.default_rng(0).integers(0, 9, (40, 3))
    labels = np.arange(40) % 2

    def late(self):
        yield from batches(self.counts, self.labels)
        yield {"X": self.counts, "y": np.full(40, 7)}

    def test_of_a_pool(self, estimator):
        pool = StreamPool([Streamer(batches, self.counts, self.labels), Streamer(self.late)], names=["good", "late"])
        model = StreamingEstimator(estimator, classes=[0, 1], batch_size=8, random_state=0)
        with pytest.raises(ValueError, match=r"stream 'late' at position 1 gave the label .*7.*\[0, 1\]"):
            model.fit(pool)

    def test_of_a_stream_trained_on(self, estimator):
        model = StreamingEstimator(estimator, n_passes=1, random_state=0).fit(self.counts, self.labels)
        with pytest.raises(ValueError, match=r"label .*7.*\[0, 1\]"):
            model.iter_fit(self.late())

    def test_of_partial_fit(self, estimator):
        model = StreamingEstimator(estimator, random_state=0).partial_fit(self.counts, self.labels, classes=[0, 1])
        with pytest.raises(ValueError, match=r"label .*7.*\[0, 1\]"):
            model.partial_fit(self.counts, np.full(40, 7))


# -- what is refused ------------------------------------------------------------------------------------------------------


def refused(parameter, *values):
    return [pytest.param(parameter, value, id=f"{parameter}={value!r}") for value in values]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *refused("estimator", LogisticRegression(), make_pipeline(StandardScaler()), None, 3),
        *refused("estimator", MLPClassifier(solver="lbfgs")),
        *refused("streams", 3, "streams"),
        *refused("n_active", 0, -1, 2.5, "8"),
        *refused("lam", 0, 0.5, -1, "16", float("nan")),
        *refused("pool_weights", 3, "weights"),
        *refused("mode", "replace", None, 1),
        *refused("dist", "normal", None),
        *refused("prune_empty_seeds", "no", None, 2),
        *refused("batch_size", 0, 1.5, "full"),
        *refused("n_passes", 0, 1.5, "all", None),
        *refused("max_batches", 0, 1.5, "many"),
        *refused("classes", 3, "ab"),
        *refused("scoring", "accurate", 3),
        *refused("random_state", -1, "seed", 1.5),
        *refused("warm_start", "yes", None, 2),
        *refused("verbose", -1, "much", None),
    ],
)
def test_a_bad_parameter_is_named_and_shown(parameter, value):
    opened = []

    def factory(X, y):
        opened.append(True)
        return halves(X, y)

    model = StreamingEstimator(SGDClassifier(), factory).set_params(**{parameter: value})
    with pytest.raises(ValueError) as caught:
        model.fit(X, y)
    assert parameter in str(caught.value)
    assert repr(value) in str(caught.value)
    assert not opened


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2, 3], "2 streams"),
        ([1, -1], "-1"),
        ([0, 0], "zero"),
        ([1, np.inf], "inf"),
        (["a", "b"], "numbers"),
    ],
)
def test_bad_pool_weights(weights, message):
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2], pool_weights=weights, max_batches=3)
    with pytest.raises(ValueError, match=f"pool_weights.*{message}"):
        model.fit(halves(X, y))


def test_lam_is_a_whole_number_where_visits_are_constant():
    with pytest.raises(ValueError, match=r"lam.*2\.5"):
        StreamingEstimator(GaussianNB(), lam=2.5, dist="constant").fit(X, y)


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_training_without_end_is_refused(mode):
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2], mode=mode)
    with pytest.raises(ValueError, match=f"max_batches is None and mode='{mode}' has no end"):
        model.fit(halves(X, y))
    assert model.set_params(max_batches=5).fit(halves(X, y)).n_batches_ == 5


@pytest.mark.parametrize(
    ("streams", "given", "error", "message"),
    [
        (None, (), ValueError, "X is None"),
        (None, (StreamPool(halves(X, y))[:0],), ValueError, "empty pool"),
        (None, ([*halves(X, y), X],), TypeError, "list of 2 Streamers and 1 other"),
        (None, (batches(X, y),), TypeError, "running generator"),
        (None, (halves(X, y), None, {"sample_weight": np.ones(2)}), ValueError, "sample_weight"),
        (None, (X, y[:10]), ValueError, r"\[90, 10\]"),
        (None, (X, None), ValueError, "requires y to be passed"),
        (None, (np.where(X > 8, np.nan, X), y), ValueError, "NaN"),
        (halves, (None, y), ValueError, "y is given without X"),
        (lambda X, y: [], (X, y), ValueError, "returned no stream"),
        (lambda X, y: None, (X, y), TypeError, "must return a pool"),
        (lambda X, y: X, (X, y), TypeError, "must return a pool"),
        (lambda X, y: [3], (X, y), TypeError, "position 0"),
        (batches, (X, y), TypeError, r"StreamFactory\(function\)"),
        (lambda X, y: [batches(X, y)], (X, y), TypeError, "running generator"),
        (lambda X, y: mux(halves(X, y), 10, 2), (X, y), TypeError, "must return a pool"),
    ],
)
def test_bad_streams_are_refused(streams, given, error, message):
    *data, params = given if given and isinstance(given[-1], dict) else (*given, {})
    with pytest.raises(error, match=message):
        StreamingEstimator(SGDClassifier(), streams, classes=[0, 1, 2]).fit(*data, **params)


def endless_zeros():
    while True:
        yield {"X": np.zeros((5, 3)), "y": np.zeros(5, int), "sample_weight": np.zeros(5)}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "gave no sample"),
        ([{"X": np.empty((0, 3)), "y": np.empty(0, int)}], "gave no sample"),
        ([{"X": X, "y": y, "sample_weight": np.zeros(90)}], "zero"),
    ],
)
def test_streams_that_give_nothing(items, message):
    with pytest.raises(ValueError, match=message):
        StreamingEstimator(SGDClassifier(), classes=[0, 1, 2]).fit([Streamer(items), Streamer(items)])


def test_an_empty_stream_among_others():
    pool = StreamPool([Streamer([]), *halves(X, y), Streamer([])])
    for mode in ("exhaustive", "once"):
        model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2], mode=mode, random_state=0).fit(pool)
        assert model.stream_counts_.tolist() == [0, 45, 45, 0]


def test_weights_that_the_estimator_does_not_take():
    with pytest.raises(ValueError, match=r"sample_weight, which SGDish.partial_fit does not take"):
        StreamingEstimator(SGDish()).fit(from_arrays(X, y, np.ones(90)))


class SGDish(SGDRegressor):
    def partial_fit(self, X, y):
        return super().partial_fit(X, y)


def test_an_error_of_an_item_names_stream_and_item():
    items = [{"X": X[:5], "y": y[:5]}] * 3
    pool = StreamPool([Streamer(items), Streamer([*items, {"X": X[:5], "y": y[:4]}])], names=["good", "bad"])
    with pytest.raises(ValueError, match="5 rows") as caught:
        StreamingEstimator(GaussianNB(), classes=[0, 1, 2], random_state=0).fit(pool)
    assert any("'bad' at position 1" in note and "item 3" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("columns", ["abd", "acb", "ab"])
@pytest.mark.parametrize("batch_size", [None, 256])
def test_frames_whose_columns_differ(library, columns, batch_size):
    def frames(columns):
        table = pd.DataFrame(X, columns=list("abc"))
        frame = table.rename(columns={"c": "d"})[list(columns)] if "d" in columns else table[list(columns)]
        for i in range(0, 90, 20):
            part = frame.iloc[i : i + 20]
            yield {"X": part if library is pd else pl.from_pandas(part), "y": y[i : i + 20]}

    pool = StreamPool([Streamer(frames, "abc"), Streamer(frames, columns)], names=["usual", "other"])
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2], batch_size=batch_size, random_state=0)
    with pytest.raises(ValueError, match="columns") as caught:
        model.fit(pool)
    assert any("'usual'" in note or "'other'" in note for note in caught.value.__notes__)

    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2]).fit(pool[:1])
    assert model.feature_names_in_.tolist() == list("abc")
    with pytest.raises(ValueError, match="columns"):  # also when training goes on
        model.iter_fit(pool[1])


def test_arrays_whose_width_differs():
    pool = [Streamer(batches, X, y), Streamer(batches, X[:, :2], y)]
    with pytest.raises(ValueError, match="features"):
        StreamingEstimator(GaussianNB(), classes=[0, 1, 2], random_state=0).fit(pool)


def test_a_model_is_of_its_last_data():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1, 2]).fit(halves(X, y))
    assert model.n_features_in_ == 3
    model.fit([Streamer([(pd.DataFrame(X[:, :2], columns=["p", "q"]), y)])])
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["p", "q"]
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")
