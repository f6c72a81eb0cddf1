"""How a classifier comes to know all labels, and that no other label is taken in silence."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from streamlearn import (
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamLearner,
    StreamPool,
    _classes,
    _labels,
    from_arrays,
)
from streamlearn._blocks import BlockSource, BlockStream

RNG = np.random.default_rng(0)
X = RNG.integers(0, 4, (60, 3)).astype(float)
Y = np.arange(60) % 3


def batches(start, stop, y=Y, step=4):
    for row in range(start, stop, step):
        yield {"X": X[row : min(row + step, stop)], "y": y[row : min(row + step, stop)]}


def streams(y=Y):
    return [Streamer(batches, a, b, y) for a, b in itertools.pairwise([0, 7, 20, 60])]


class Steps(ClassifierMixin, BaseEstimator):
    """A scaler and a classifier, trained together."""

    def __init__(self, classifier=None):
        self.classifier = classifier

    def fit(self, X, y):
        return clone(self).partial_fit(X, y, classes=np.unique(y))

    def partial_fit(self, X, y, **params):
        if not hasattr(self, "scaler_"):
            self.scaler_, self.classifier_ = StandardScaler(), clone(self.classifier)
        self.classifier_.partial_fit(self.scaler_.partial_fit(X).transform(X), y, **params)
        self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X):
        return self.classifier_.predict(self.scaler_.transform(X))


# -- what is known, scanned or missing --------------------------------------------------------------------------------


class Blocks(BlockSource):
    """Blocks of three rows, of which only targets may be read by themselves."""

    parts = ("X", "y")

    def __init__(self, name, start, stop):
        self.name = name
        self.edges = [*range(start, stop, 3), stop]
        self.read_parts = []

    def rows(self):
        return np.diff(self.edges)

    def read(self, block):
        self.read_parts.append("all")
        return {"X": X[self.edges[block] : self.edges[block + 1]], "y": self.read_part(block, "y")}

    def read_part(self, block, name):
        self.read_parts.append(name)
        return Y[self.edges[block] : self.edges[block + 1]]


@pytest.mark.parametrize("classes", [None, "scan"])
def test_of_blocks_the_targets_alone_are_read(classes):
    sources = [Blocks("a", 0, 30), Blocks("b", 30, 60)]
    pool = StreamPool([BlockStream(source) for source in sources])
    found = _classes.find_classes(GaussianNB(), pool, classes, 0)
    assert found.tolist() == [0, 1, 2]
    assert [source.read_parts for source in sources] == [["y"] * 10] * 2
    assert StreamingEstimator(GaussianNB(), classes=classes).fit(pool).classes_.tolist() == [0, 1, 2]


POOLS = {
    "generators": streams(),
    "lists": [Streamer([(X[:30], Y[:30])]), Streamer([(x, label) for x, label in zip(X[30:], Y[30:], strict=True)])],
    "arrays": from_arrays(X, Y, n_streams=3),
    "both": [*from_arrays(X[:30], Y[:30]), Streamer(batches, 30, 60)],
    "a mux": [StochasticMux(from_arrays(X[:30], Y[:30], n_streams=2), 1, mode="exhaustive"), Streamer(batches, 30, 60)],
    "a mux of generators": [StochasticMux(streams(), 2, mode="exhaustive")],
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_scanned_classes_are_all_labels(pool):
    scanned = StreamingEstimator(GaussianNB(), classes="scan", random_state=0).fit(pool)
    given = StreamingEstimator(GaussianNB(), classes=[0, 1, 2], random_state=0).fit(pool)
    assert scanned.classes_.tolist() == [0, 1, 2]
    assert scanned.n_samples_seen_ == 60
    np.testing.assert_array_equal(scanned.theta_, given.theta_)


@pytest.mark.parametrize("y", [Y, Y.astype(str), Y > 0, Y.astype(np.float32)], ids=["int", "text", "bool", "float"])
def test_labels_of_all_kinds(y):
    model = StreamingEstimator(SGDClassifier(), classes="scan", random_state=0).fit(streams(y))
    assert model.classes_.tolist() == np.unique(y).tolist()


def test_scanned_labels_of_several_outputs():
    both = np.column_stack([Y, Y > 0])
    model = StreamingEstimator(MultiOutputClassifier(GaussianNB()), classes="scan").fit(streams(both))
    assert [part.tolist() for part in model.classes_] == [[0, 1, 2], [0, 1]]
    indicators = (Y[:, None] == [0, 1, 2]).astype(int)
    model = StreamingEstimator(MLPClassifier((2,)), classes="scan", random_state=0).fit(streams(indicators))
    assert model.predict(X).shape == (60, 3)


def test_scanned_classes_reach_what_passes_keywords_on():
    assert StreamingEstimator(Steps(GaussianNB()), classes="scan").fit(streams()).classes_.tolist() == [0, 1, 2]
    selector = StreamingEstimator(SelectFromModel(SGDClassifier(random_state=0)), classes="scan").fit(streams())
    assert selector.estimator_.estimator_.classes_.tolist() == [0, 1, 2]


def test_scanning_arrays_and_factories():
    assert StreamingEstimator(GaussianNB(), classes="scan").fit(X, Y).classes_.tolist() == [0, 1, 2]
    model = StreamingEstimator(GaussianNB(), streams=lambda: streams(), classes="scan").fit()
    assert model.classes_.tolist() == [0, 1, 2]


def test_scanning_one_stream():
    stream = Streamer(batches, 0, 60)
    model = StreamingEstimator(GaussianNB(), classes="scan").iter_fit(stream)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.iter_fit(batches(0, 20)).n_samples_seen_ == 80
    assert model.partial_fit(X, Y).n_samples_seen_ == 140
    with pytest.raises(ValueError, match=r"classes='scan' runs through streams.*pass classes=\[...\]"):
        StreamingEstimator(GaussianNB(), classes="scan").iter_fit(batches(0, 60))
    with pytest.raises(ValueError, match=r"classes='scan' runs through streams.*pass classes=\[...\]"):
        StreamingEstimator(GaussianNB(), classes="scan").partial_fit(X, Y)


def test_scanning_is_not_training_and_repeats():
    opened = []

    def noisy(rng):
        opened.append(rng.random())
        yield X, np.full(60, int(4 * opened[-1]))

    def fitted(seed):
        opened.clear()
        pool = [Streamer(noisy) for _ in range(8)]
        _classes.find_classes(GaussianNB(), StreamPool(pool), "scan", seed)
        return list(opened)

    assert fitted(0) == fitted(0) != fitted(1)
    recorded = StreamingEstimator(GaussianNB(), classes="scan").fit(streams())
    assert recorded.class_count_.sum() == 60


def test_going_on_scans_no_more():
    opened = []

    def noted():
        opened.append(1)
        yield X, Y

    model = StreamingEstimator(GaussianNB(), classes="scan", warm_start=True).fit([Streamer(noted)])
    assert len(opened) == 2
    model.fit([Streamer(noted)])
    assert len(opened) == 3


def test_classes_that_are_not_known_are_asked_for():
    with pytest.raises(ValueError, match=r"GaussianNB must know all labels.*classes=\[\.\.\.\].*classes='scan'"):
        StreamingEstimator(GaussianNB()).fit(streams())
    with pytest.raises(ValueError, match=r"classes='scan', but SGDRegressor.partial_fit takes no classes"):
        StreamingEstimator(SGDRegressor(), classes="scan").fit(streams())
    with pytest.raises(ValueError, match="The 'classes' parameter"):
        StreamingEstimator(GaussianNB(), classes="all").fit(streams())


@pytest.mark.parametrize("classes", [None, "scan"])
def test_streams_without_targets_do_not_tell_classes(classes):
    with pytest.raises(
        ValueError, match=r"stream '1' at position 1 gives no y to tell the classes by, which GaussianNB"
    ):
        StreamingEstimator(GaussianNB(), classes=classes).fit([*from_arrays(X, Y), *from_arrays(X)])


def test_a_stream_that_fails_while_it_is_scanned_is_named():
    pool = StreamPool([Streamer(batches, 0, 9), Streamer([(X, Y), (X, Y[1:])])], names=["good", "bad"])
    with pytest.raises(ValueError, match="y of shape") as caught:
        StreamingEstimator(GaussianNB(), classes="scan").fit(pool)
    assert "stream 'bad', item 1" in "".join(caught.value.__notes__)


def endless():
    while True:
        yield X, Y


ODD = {
    "texts": (
        Y.astype(str),
        "y of stream 'odd' at position 2 holds texts or objects, but that of stream 'a' at position 0 numbers",
    ),
    "two columns": (
        np.column_stack([Y, Y]),
        r"y of stream 'odd' at position 2 holds numbers of shape \(2,\) a row, but that",
    ),
    "both": (
        np.array([*Y[:-1], "a"], object),
        "y of stream 'odd' at position 2 has things of several kinds",
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("first", [False, True])
def test_labels_that_do_not_go_together(kind, first):
    y, message = ODD[kind]
    parts = [(Streamer(batches, 0, 20), "a"), (Streamer(batches, 20, 40), "b"), (Streamer(batches, 40, 60, y), "odd")]
    pool = StreamPool([part for part, _ in parts], names=[name for _, name in parts])
    model = StreamingEstimator(GaussianNB(), classes="scan", random_state=0)
    with pytest.raises(ValueError, match=message):
        model.fit(pool)
    if first:
        pool = StreamPool([part for part, _ in parts[::-1]], names=[name for _, name in parts[::-1]])
    # of streams that may fail, those that are unlike most others do
    with pytest.warns(UserWarning, match="odd"):
        model.set_params(on_error="skip", n_active=1, max_batches=10, mode="exhaustive").fit(pool)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert "odd" in list(model.stream_errors_["name"])


def test_scanning_an_endless_stream_warns_and_then_fails(monkeypatch):
    monkeypatch.setattr(_classes, "_SILENT_SAMPLES", 1000)
    monkeypatch.setattr(_classes, "_MOST_SAMPLES", 5000)
    pool = StreamPool([Streamer(batches, 0, 9), Streamer(endless)], names=["short", "long"])
    with (
        pytest.warns(UserWarning, match=r"read 1020 samples of stream 'long' at position 1.*is it endless"),
        pytest.raises(ValueError, match=r"read 5040 samples of stream 'long' at position 1.*Pass classes=\[\.\.\.\]"),
    ):
        StreamingEstimator(GaussianNB(), classes="scan", max_batches=1).fit(pool)


# -- labels that nobody announced -------------------------------------------------------------------------------------


def partial_classifiers():
    """All classifiers of scikit-learn with partial_fit, by themselves or around another one."""
    for name, kind in all_estimators(type_filter="classifier"):
        if hasattr(kind, "partial_fit") and name not in (
            "OneVsOneClassifier",
            "OneVsRestClassifier",
            "MultiOutputClassifier",
        ):
            yield name, kind()
    yield "OneVsOneClassifier", OneVsOneClassifier(SGDClassifier())
    yield "OneVsRestClassifier", OneVsRestClassifier(MultinomialNB())
    yield "Steps", Steps(GaussianNB())
    yield "nested", OneVsRestClassifier(Steps(GaussianNB()))
    yield "SelectFromModel", SelectFromModel(SGDClassifier())


with warnings.catch_warnings(action="ignore", category=FutureWarning):  # some are deprecated
    CLASSIFIERS = dict(partial_classifiers())
LATER = np.where(np.arange(60) == 41, 7, Y % 2)  # one row of the last stream


def later(kind, y=LATER):
    if kind == "generators":
        pool = StreamPool(streams(y), names=["a", "b", "c"])
    else:
        pool = from_arrays(X, y, by=np.repeat(["a", "b", "c"], [7, 13, 40]), shuffle=False)
    return pool


def test_the_list_holds_what_scikit_learn_has():
    assert {"MultinomialNB", "Perceptron", "MLPClassifier", "GaussianNB", "CategoricalNB"} <= set(CLASSIFIERS)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier is deprecated")
@pytest.mark.parametrize("kind", ["generators", "arrays"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_label_that_comes_later_and_is_unknown(name, kind):
    model = StreamingEstimator(CLASSIFIERS[name], n_active=1, batch_size=5, classes=[0, 1], random_state=0)
    with pytest.raises(
        ValueError, match=r"stream 'c' at position 2 gave the label 7, .* classes=\[0, 1\].*classes='scan'"
    ):
        model.fit(later(kind))


@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier is deprecated")
@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "SelectFromModel"])
def test_a_label_that_comes_after_a_fit_and_is_unknown(name):
    model = StreamingEstimator(CLASSIFIERS[name], warm_start=True, classes="scan", random_state=0)
    model.fit(StreamPool(streams(Y % 2)))
    with pytest.raises(ValueError, match=r"stream 'c' at position 2 gave the label 7, .* classes=\[0, 1\]"):
        model.fit(later("generators"))
    with pytest.raises(ValueError, match=r"gave the label 7, .* classes=\[0, 1\]"):
        model.partial_fit(X, LATER)
    with pytest.raises(ValueError, match=r"gave the label 7, .* classes=\[0, 1\]"):
        model.iter_fit(batches(0, 60, LATER))


@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_an_unknown_label_of_the_second_output(kind):
    y = np.column_stack([Y, LATER])
    model = StreamingEstimator(
        MultiOutputClassifier(MultinomialNB()), classes=[[0, 1, 2], [0, 1]], n_active=1, batch_size=5
    )
    with pytest.raises(
        ValueError, match=r"stream 'c' at position 2 gave the label 7, .*classes=\[\[0, 1, 2\], \[0, 1\]\]"
    ):
        model.fit(later(kind, y))
    model = StreamingEstimator(MultiOutputClassifier(MultinomialNB()), classes="scan", warm_start=True)
    model.fit(StreamPool(streams(y % 2)))
    with pytest.raises(ValueError, match="gave the label 2"):
        model.fit(later(kind, y))


def test_an_indicator_that_is_none():
    indicators = (Y[:, None] == [0, 1, 2]).astype(int)
    indicators[41, 1] = 7
    model = StreamingEstimator(MLPClassifier((2,)), classes=[0, 1, 2], n_active=1, batch_size=5, random_state=0)
    with pytest.raises(ValueError, match="stream 'c' at position 2 gave the label 7"):
        model.fit(later("generators", indicators))


@pytest.mark.parametrize("name", ["MultinomialNB", "SGDClassifier"])
def test_an_unknown_label_in_plain_batches(name):
    with pytest.raises(ValueError, match=r"gave the label 7, which is not among classes=\[0, 1\]"):
        StreamLearner(CLASSIFIERS[name]).iter_fit(batches(0, 60, LATER), classes=[0, 1])


def test_an_unknown_label_of_a_mux_that_is_trained_as_one_stream():
    pool = StreamPool([Streamer(batches, 0, 9, Y % 2), Streamer(batches, 39, 60, LATER)], names=["good", "bad"])
    mux = StochasticMux(pool, 1, 16, mode="exhaustive", random_state=0)
    with pytest.raises(ValueError, match="stream 'iter_fit' at position 0 gave the label") as caught:
        StreamingEstimator(GaussianNB(), classes=[0, 1], batch_size=2).iter_fit(mux)
    assert "stream 'bad'" in "".join(caught.value.__notes__)


def test_what_is_no_classifier_may_have_any_target():
    model = StreamingEstimator(SGDRegressor(random_state=0)).fit(streams(np.linspace(0, 1, 60)))
    assert model.n_samples_seen_ == 60
    assert not hasattr(LinearRegression, "partial_fit")


# -- odd targets --------------------------------------------------------------------------------------------------------------


def giving(*targets):
    """A stream of an item for each targets; None: one without."""
    return Streamer([{"X": X[: 2 if y is None else len(y)], **({} if y is None else {"y": y})} for y in targets])


def objects(*values):
    return np.array(values, object)


FOREIGN = {
    "texts": np.array(["a", "b"]),
    "numbers and texts": objects("a", 1),
    "None among texts": objects("a", None),
    "None alone": objects(None, None),
    "NaN among texts, in a list": ["a", float("nan")],
    "a number among texts, in a list": ["a", 1],
    "pandas.NA": pd.array(["a", None], dtype="string"),
    "NaN": np.array([0.0, np.nan]),
    "no target": None,
    "three dimensions": np.zeros((2, 1, 1), int),
    "two columns": np.array([[0, 7], [1, 7]]),
    "no time": np.array(["NaT", "2020-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", ["scan", [0, 1]])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_stream_of_odd_targets_is_set_aside_wherever_it_comes(name, classes, seed):
    good = np.array([0, 1, 1, 0])
    pool = StreamPool([giving(*[FOREIGN[name]] * 5), *[giving(*[good] * 20)] * 2], names=["odd", "b", "c"])
    model = StreamingEstimator(SGDClassifier(), classes=classes, on_error="skip", random_state=seed)
    with pytest.warns(UserWarning, match="'odd' after 0 items"):
        model.fit(pool)
    np.testing.assert_array_equal(model.classes_, [0, 1])
    assert model.stream_counts_.tolist() == [0, 80, 80]
    with pytest.raises((ValueError, TypeError)) as caught:
        model.set_params(on_error="raise").fit(pool)
    assert "'odd'" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


def test_texts_of_a_list_stay_apart_from_what_is_none():
    with pytest.raises(ValueError, match="y of stream '1' at position 1 has nan, which is no label"):
        StreamingEstimator(GaussianNB(), classes="scan").fit([giving(["a", "b"]), giving(["a", float("nan")])])


@pytest.mark.parametrize("classes", ["scan", None])
def test_numbers_in_objects_are_labels(classes):
    model = StreamingEstimator(GaussianNB(), classes=classes, random_state=0).fit(
        from_arrays(X, objects(*Y.tolist()), n_streams=4)
    )
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])


def test_large_numbers_stay_different_labels():
    labels = objects(2**63 + 1, 2**63, -1, -1)
    assert _labels.plain_numbers(labels).tolist() == labels.tolist()


def breaking():
    yield {"X": X[:2], "y": np.array([0, 1])}
    raise OSError("the disk is gone")


@pytest.mark.parametrize("nested", [False, True])
def test_the_streams_of_a_mux_are_scanned_one_by_one(nested):
    streams = [Streamer(batches, 0, 20), Streamer(breaking)]
    mux = StochasticMux(StreamPool(streams, names=["good", "bad"]), 2, 4, random_state=0)
    if nested:
        mux = StochasticMux([mux], 1, 4, random_state=0)
    # with replacement such a mux has no end, and its streams have
    model = StreamingEstimator(SGDClassifier(), classes="scan", random_state=0, max_batches=20, batch_size=4)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        model.iter_fit(mux)
    assert "stream 'bad' at position 1, item 1" in "".join(caught.value.__notes__)
    with pytest.warns(UserWarning, match="set aside"):
        model.set_params(on_error="skip").iter_fit(mux)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
