"""Input that lies: each foolish thing, by each way in, is refused at the item, and nothing of the item is trained."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from streamlearn import (
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamLearner,
    StreamPool,
    _batches,
    from_arrays,
)
from streamlearn import _training as training
from streamlearn._batch import as_batch
from streamlearn._batches import Batches
from streamlearn._schema import Schema
from tests.lies import BAD, LIES, Keeping, N, item, lying, said, with_value

RNG = np.random.default_rng(0)


def honest_then(lie, n_before=3):
    """Honest items, one that lies, and another honest one."""
    yield from (item(i) for i in range(n_before))
    yield lie
    yield item(n_before)


def pool_with(lie):
    return StreamPool(
        [Streamer(lambda: (item(i) for i in range(10, 15))), Streamer(honest_then, lie)], names=["good", "bad"]
    )


@pytest.mark.parametrize("batch_size", [None, 1, 4, 256])
@pytest.mark.parametrize("way", ["pool", "factory", "mux"])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_a_pool(lie, way, batch_size):
    change, message = LIES[lie]
    pool = pool_with(lying(change))
    model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=batch_size, lam=None, random_state=0)
    fit = {
        "pool": lambda: model.fit(pool),
        "factory": lambda: model.set_params(streams=lambda: pool).fit(),
        "mux": lambda: model.iter_fit(StochasticMux(pool, 2, None, mode="exhaustive", random_state=0)),
    }[way]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        fit()
    assert "given by stream 'bad' at position 1, visit 0, item 3 of the visit" in said(caught.value)
    assert BAD not in model.estimator_.rows()


@pytest.mark.parametrize("batch_size", [None, 1, 4, 256])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_a_stream(lie, batch_size):
    change, message = LIES[lie]
    model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=batch_size)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        model.iter_fit(honest_then(lying(change)))
    assert "given by stream 'iter_fit', item 3" in said(caught.value)
    assert BAD not in model.estimator_.rows()
    if batch_size is None:
        assert model.estimator_.rows() == [0.0] * N + [1.0] * N + [2.0] * N


NO_BATCHES = ("nothing", "no X", "an iterator", "another key", "four parts")
# what scikit-learn's own partial_fit says, or converts
OF_PARTIAL_FIT = {
    "numbers as text": None,
    "objects": None,
    "one weight for all": None,
    "weights as text": None,
    "a column of targets": None,
    "no weights": None,
    "a DataFrame": None,
    "a polars DataFrame": None,
}


@pytest.mark.parametrize(
    "lie", [lie for lie in LIES if lie not in NO_BATCHES and OF_PARTIAL_FIT.get(lie, "") is not None]
)
def test_a_lie_in_partial_fit(lie):
    made = lying(LIES[lie][0])
    model = StreamingEstimator(Keeping()).partial_fit(**item(0), classes=[0, 1])
    n_given = len(model.estimator_.given_)
    with pytest.raises((ValueError, TypeError)):
        model.partial_fit(**made)
    assert len(model.estimator_.given_) == n_given


@pytest.mark.parametrize(
    "first", [lie for lie, (_, message) in LIES.items() if "but " in message and "rows" not in message]
)
def test_the_first_item_decides_and_is_named(first):
    pool = StreamPool([Streamer([lying(LIES[first][0])]), Streamer([item(0)])], names=["a", "b"])
    model = StreamingEstimator(StandardScaler(), batch_size=None, n_active=1, random_state=3)
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(pool)
    assert "stream 'a'" in said(caught.value)
    assert "stream 'b'" in said(caught.value) or "raised by the estimator" in said(caught.value)


@pytest.mark.parametrize("label", [7, 0.5, -1])
@pytest.mark.parametrize("batch_size", [None, 1, 4, 256])
def test_an_unknown_label_of_a_large_item(batch_size, label):
    pool = pool_with(lying(lambda X, y, w: {"y": with_value(y, label)}))
    model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=batch_size, random_state=0)
    with pytest.raises(ValueError, match=f"stream 'bad' at position 1 gave the label .*{label}"):
        model.fit(pool)
    assert BAD not in model.estimator_.rows()


# -- single samples and other spellings are no lies ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 4, 256])
@pytest.mark.parametrize(
    "change",
    [
        lambda made: {**made, "X": made["X"].astype(np.float32)},
        lambda made: {**made, "X": made["X"].astype(np.float16)},
        lambda made: {**made, "X": made["X"].astype(np.longdouble)},
        lambda made: {**made, "X": made["X"].astype(int)},
        lambda made: {**made, "X": made["X"] > 0},
        lambda made: {**made, "X": np.asfortranarray(made["X"])},
        lambda made: {**made, "X": np.repeat(made["X"], 2, axis=0)[::2]},
        lambda made: {key: part.tolist() for key, part in made.items()},
        lambda made: {"X": made["X"], "Y": made["y"], "sample_weight": made["sample_weight"]},
        lambda made: {**made, "y": made["y"].astype(float)},
        lambda made: {**made, "y": made["y"].astype(object)},
        lambda made: {**made, "y": made["y"] > 0},
        lambda made: {**made, "sample_weight": made["sample_weight"].astype(int)},
        lambda made: tuple(made.values()),
        lambda made: {key: part[:1] for key, part in made.items()},
        lambda made: {key: part[0] for key, part in made.items()},
        lambda made: {**made, "X": sparse.csr_matrix(made["X"])},
        lambda made: {**made, "X": made["X"] * 1e200},
    ],
)
def test_honest_items_of_other_kinds(change, batch_size):
    pool = [Streamer(lambda: (item(i) for i in range(4))), Streamer(lambda: (change(item(i)) for i in range(4)))]
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], batch_size=batch_size, random_state=0).fit(pool)
    assert model.stream_counts_.tolist() == [4 * N, 4 * len(as_batch(change(item(0))).y)]


def test_empty_items_are_left_out():
    empty = [
        {"X": np.empty((0, 3)), "y": [], "sample_weight": []},
        ([], [], []),
        {"X": [], "y": [], "sample_weight": []},
    ]
    pool = [Streamer([*empty, item(0), *empty, item(1), *empty]), Streamer(empty)]
    for batch_size in (None, 4, 256):
        model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=batch_size).fit(pool)
        assert model.stream_counts_.tolist() == [2 * N, 0]
        assert sorted(model.estimator_.rows()) == [0.0] * N + [1.0] * N


# -- what would go on for ever ---------------------------------------------------------------------------------------------


def test_streams_of_nothing_but_empty_items(monkeypatch):
    monkeypatch.setattr(_batches, "_MAX_EMPTY_ITEMS", 50)

    def empty():
        while True:
            yield np.empty((0, 3)), []

    def now_and_then():
        for i in range(200):
            yield item(i) if i % 40 == 0 else (np.empty((0, 3)), [])

    model = StreamingEstimator(Keeping(), classes=[0, 1], max_batches=3, batch_size=None)
    with pytest.raises(ValueError, match="items in a row have no sample") as caught:
        model.fit([Streamer(empty)])
    assert "stream '0' at position 0" in said(caught.value)
    assert model.set_params(max_batches=None).fit([Streamer(now_and_then)]).n_batches_ == 5


def test_streams_of_nothing_but_weights_of_zero(monkeypatch):
    monkeypatch.setattr(training, "_MAX_SKIPPED_BATCHES", 50)

    def nothing():
        while True:
            yield item(0, sample_weight=np.zeros(N))

    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], max_batches=3, batch_size=None)
    with pytest.raises(ValueError, match="sample_weight is zero"):
        model.fit([Streamer(nothing)])


# -- what is allowed depends on the estimator ------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 4, 256])
def test_nan_is_no_lie_for_an_estimator_that_takes_it_but_infinity_is(batch_size):
    X = with_value(item(1)["X"], np.nan, (4, 1))
    model = StreamingEstimator(StandardScaler(), batch_size=batch_size).fit([Streamer([{"X": X}, {"X": X[:2]}])])
    np.testing.assert_allclose(model.mean_, np.nanmean(np.concatenate([X, X[:2]]), axis=0))
    X[2, 0] = np.inf
    with pytest.raises(ValueError, match="X has inf in row 2, feature 0") as caught:
        model.fit(StreamPool([Streamer([{"X": X}])], names=["bad"]))
    assert "stream 'bad'" in said(caught.value)


@pytest.mark.parametrize("how", ["first", "later"])
def test_infinity_among_arrays(how):
    X = np.ones((2000, 2))
    X[0 if how == "first" else -1, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        StreamingEstimator(StandardScaler(), batch_size=10).fit(X)


@pytest.mark.parametrize("estimator", [SGDClassifier(), GaussianNB()], ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("make", [np.asarray, list])
def test_none_among_arrays(estimator, make):
    X = RNG.normal(size=(50, 3)).astype(object)
    X[-1, 1] = None
    with pytest.raises(ValueError, match="contains NaN"):
        StreamingEstimator(estimator, batch_size=10).fit(make(X.tolist()), np.arange(50) % 2)


def test_dates_are_no_numbers():
    with pytest.raises(ValueError, match=r"X holds dates or times \(datetime64\[s\]\)") as caught:
        StreamingEstimator(StandardScaler()).fit([Streamer([np.array([["2020-01-01"]], "datetime64[s]")])])
    assert "stream '0' at position 0" in said(caught.value)


@pytest.mark.parametrize("batch_size", [None, 4, 256])
def test_floats_that_are_too_large_for_those_before_them(batch_size):
    X, y = item(0)["X"], np.arange(N) % 2
    large = [(X, y), (X, y), (with_value(X, 1e39, (2, 1)), y)]
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], batch_size=batch_size)
    with pytest.raises(ValueError, match=r"X has 1e\+39 in row 2, feature 1, which is too large for float32") as caught:
        model.iter_fit([(X.astype(np.float32), y), *large])
    assert "item 3" in said(caught.value)
    model = StreamingEstimator(GaussianNB(), batch_size=batch_size).partial_fit(X.astype(np.float32), y, classes=[0, 1])
    with pytest.raises(ValueError, match="too large for float32"):
        model.iter_fit(large)
    assert StreamingEstimator(StandardScaler(), batch_size=batch_size).iter_fit(large).n_samples_seen_ == 3 * N


def test_targets_of_a_regressor():
    def stream(bad):
        yield item(0)["X"], np.arange(N) / 3
        yield item(1)["X"], bad

    model = StreamingEstimator(SGDRegressor(), batch_size=3)
    for bad, message in (
        (np.full(N, np.inf), "y has inf in row 0"),
        (["a"] * N, "y holds texts"),
        ([1.0, None] * 3, "y has nan in row 1"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            model.iter_fit(stream(bad))
        assert "item 1" in said(caught.value)


def test_targets_that_nobody_reads_may_be_missing_values():
    X = item(0)["X"]
    assert StreamingEstimator(StandardScaler()).fit([Streamer([(X, [np.nan] * N)])]).n_samples_seen_ == N


def test_training_goes_on_with_as_many_features():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], warm_start=True).fit([Streamer([item(0)])])
    wider = [{**item(1), "X": np.ones((N, 4))}]
    for go_on in (model.iter_fit, lambda items: model.fit(StreamPool([Streamer(items)], names=["iter_fit"]))):
        with pytest.raises(ValueError, match="X has 4 features, but GaussianNB was trained on 3 features") as caught:
            go_on(wider)
        assert "stream 'iter_fit'" in said(caught.value)


def test_an_error_of_the_estimator_names_the_streams():
    pool = StreamPool([Streamer([(["some", "texts"], [0, 1])]), Streamer([(["more"], [1])])], names=["a", "b"])
    with pytest.raises(ValueError, match="2D array") as caught:
        StreamingEstimator(GaussianNB(), classes=[0, 1], n_active=1).fit(pool)
    assert "batch 0, with rows of stream" in said(caught.value)
    assert "stream 'a' at position 0" in said(caught.value)
    assert "stream 'b' at position 1" in said(caught.value)


# -- frames ----------------------------------------------------------------------------------------------------------------


def frame(library, **columns):
    return library.DataFrame({"a": [99.0, 99.0], "b": [1.0, 2.0], "c": [3, 4], **columns})


@pytest.mark.parametrize("batch_size", [None, 3, 256])
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"b": [np.nan, 1.0]}, r"X has nan in row 0, feature 1"),
        ({"b": [None, 1.0]}, r"X has nan in row 0, feature 1"),
        ({"b": [np.inf, 1.0]}, r"X has inf in row 0, feature 1"),
        ({"b": ["x", "y"]}, r"X holds what is no number"),
        ({"b": [datetime.date(2020, 1, 1)] * 2}, r"X holds what is no number"),
        ({"d": [1.0, 2.0]}, r"unexpected \['d'\]"),
        (None, "X holds numbers, but a DataFrame"),
    ],
    ids=["nan", "none", "inf", "texts", "dates", "a column more", "an array"],
)
def test_frames(library, columns, message, batch_size):
    lie = np.full((2, 3), 99.0) if columns is None else frame(library, **columns)

    def stream():
        for i in range(3):
            yield frame(library, a=[float(i), float(i)]), [0, 1]
        yield lie, [0, 1]

    model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=batch_size)
    with pytest.raises(ValueError, match=message) as caught:
        model.iter_fit(stream())
    assert "given by stream 'iter_fit', item 3" in said(caught.value)
    assert 99.0 not in model.estimator_.rows()


# -- one class at a time -----------------------------------------------------------------------------------------------------

CLASSIFIERS = [
    SGDClassifier(random_state=0),
    Perceptron(random_state=0),
    MLPClassifier(random_state=0),
    GaussianNB(),
    MultinomialNB(),
    BernoulliNB(),
    ComplementNB(),
    CategoricalNB(min_categories=9),
    OneVsRestClassifier(SGDClassifier(random_state=0)),
    OneVsOneClassifier(SGDClassifier(random_state=0)),
]


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("batch_size", [None, 10])
def test_batches_of_one_class(estimator, batch_size):
    X, y = RNG.integers(0, 9, (90, 4)), np.arange(90) // 30
    pool = StreamPool([Streamer([(X[i : i + 10], y[i : i + 10])]) for i in range(0, 90, 10)])
    model = StreamingEstimator(
        estimator, classes=[0, 1, 2], n_active=1, lam=None, batch_size=batch_size, random_state=0
    ).fit(pool)
    assert model.n_batches_ == 9
    assert model.stream_counts_.tolist() == [10] * 9
    assert set(model.predict(X)) <= {0, 1, 2}
    learner = StreamLearner(clone(estimator)).iter_fit(
        [(X[i : i + 10], y[i : i + 10]) for i in range(0, 90, 10)], classes=[0, 1, 2]
    )
    assert learner.n_batches_ == 9


# -- the parts ---------------------------------------------------------------------------------------------------------------


def test_a_batch_without_nan_is_known_to_be_finite_where_nan_is_taken():
    schema = Schema(StandardScaler())
    for value, is_finite in [(1.0, False), (2.0, True), (np.nan, False), (3.0, True), (1e200, False), (4.0, True)]:
        schema.check(as_batch(np.full((3, 2), value)), lambda: "stream 'a'")
        assert schema.finite == is_finite  # the first batch is looked at in another way; so are large values
    schema.check(as_batch(np.ones((3, 2))), lambda: "stream 'a'", {"X": np.inf})  # no bound that tells anything
    assert schema.finite
    schema.check(as_batch(np.full((3, 2), np.nan)), lambda: "stream 'a'", {})
    assert not schema.finite


@pytest.mark.parametrize(
    ("estimator", "again"),
    [
        (SGDClassifier(), True),
        (SGDClassifier(shuffle=False), False),
        (MLPClassifier(), True),
        (StandardScaler(), False),
    ],
)
def test_rows_are_read_once_more_by_what_shuffles_them(estimator, again):
    """Such batches are looked through just before, others where blocks are read."""
    pool = from_arrays(np.ones((3000, 2)), np.arange(3000) % 2, n_streams=3)
    iterator = StochasticMux(pool, 2, 16, random_state=0)._start(None, (0,))
    schema = Schema(estimator)
    batches = iter(Batches(iterator, 256, schema=schema))
    for _ in range(3):
        next(batches)
    assert schema.reads_again == again
    assert schema.finite  # by whichever way
    assert iterator.squares == ({} if again else {"X": 512 * 2})  # of the block that the batch is a part of


def test_targets_that_nobody_looks_at_are_not_known_to_be_finite():
    schema = Schema(StandardScaler())  # it takes y, and does not say that it reads it
    for y, is_finite in [([0.0], False), ([1.0], False), ([np.nan], False)]:
        schema.check(as_batch((np.ones((1, 2)), np.array(y))), lambda: "stream 'a'")
        assert schema.finite == is_finite
    schema = Schema(StandardScaler())
    for is_finite in (False, True):
        schema.check(as_batch((np.ones((1, 2)), np.array([1]))), lambda: "stream 'a'")
        assert schema.finite == is_finite


@pytest.mark.parametrize("size", [4, 6, 7])
def test_objects_are_looked_at_wherever_they_stand_in_a_batch(size):
    for at in range(8):
        labels = [["a", "b"] for _ in range(8)]
        labels[at][1] = None
        items = [(np.ones((2, 2)), np.array(pair, object)) for pair in labels]
        items = [{"X": X, "y": y} for X, y in items]
        with pytest.raises(ValueError, match=r"y has None"):
            list(Batches(iter(items), size, 1, ("a",), Schema(SGDClassifier())))


@pytest.mark.parametrize("value", [1e200, -1e200, 1.0])
def test_large_values_are_finite(value):
    schema = Schema(GaussianNB())
    schema.check(as_batch((np.full((3, 2), value), [0, 1, 1])), lambda: "stream 'a'")
    assert schema.all_finite


def test_negative_weights_of_a_stream_learner():
    with pytest.raises(ValueError, match=r"sample_weight has -1.0 in row 1") as caught:
        StreamLearner(SGDClassifier()).iter_fit([([[1.0], [2.0]], [0, 1], [1.0, -1.0])], classes=[0, 1])
    assert "item 0" in said(caught.value)


def test_frames_of_two_libraries_are_refused():
    values = np.arange(8.0).reshape(4, 2)
    frames = [pd.DataFrame(values, columns=["a", "b"]), pl.DataFrame(values, schema=["a", "b"])]
    pool = StreamPool([[(frame, [0, 1, 0, 1])] for frame in frames], names=["bear", "panda"])
    with pytest.raises(
        ValueError, match=r"X holds a DataFrame of (pandas|polars), but a DataFrame of .*: make them of one"
    ):
        StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0).fit(pool)
