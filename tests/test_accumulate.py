"""Scores in bounded memory against scikit-learn's own scorers on the concatenated rows."""

import itertools
import json
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    fbeta_score,
    get_scorer,
    hamming_loss,
    log_loss,
    make_scorer,
    r2_score,
    zero_one_loss,
)

from streamlearn import Streamer, StreamPool, _accumulate, stream_scorer
from streamlearn._outputs import pool_batches

AVERAGES = ("", "_macro", "_micro", "_weighted")
LABELS = ["accuracy", "balanced_accuracy", "matthews_corrcoef"]
LABELS += [name + average for name in ("precision", "recall", "f1", "jaccard") for average in AVERAGES]
OF_LABELS = [
    *LABELS,
    make_scorer(fbeta_score, beta=2, average="macro"),
    make_scorer(cohen_kappa_score, weights="linear"),
    make_scorer(hamming_loss, greater_is_better=False),
    make_scorer(zero_one_loss, normalize=False),
    make_scorer(accuracy_score, normalize=False),
]
SQUARES = [
    "r2",
    "explained_variance",
    "neg_mean_squared_error",
    "neg_root_mean_squared_error",
    "neg_mean_absolute_error",
]
LOGS = ["neg_mean_squared_log_error", "neg_root_mean_squared_log_error"]
OF_NUMBERS = [*SQUARES, *LOGS, "neg_max_error"]
RAW = [make_scorer(r2_score, multioutput=how) for how in ("variance_weighted", [0.2, 0.8])]


class Classifier(ClassifierMixin, BaseEstimator):
    """Its predictions are in X: a column of positions of labels, then probabilities."""

    def __init__(self, classes):
        self.classes = classes
        self.classes_ = np.array(classes)

    def predict(self, X):
        return self.classes_[X[:, 0].astype(int)]

    def predict_proba(self, X):
        return X[:, 1:]


class Regressor(RegressorMixin, BaseEstimator):
    def predict(self, X):
        return X[:, 0] if X.shape[1] == 1 else X


def of(scorer, model, X, y, weight):
    return get_scorer(scorer)(model, X, y, **({"sample_weight": weight} if weight is not None else {}))


def outcome(call):
    """What a call gives: a number, or an error; and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except (ValueError, ZeroDivisionError) as error:
            result = type(error), str(error)
    return result, {str(warning.message) for warning in caught}


def check(scorer, model, X, y, weight, sizes, block):
    def items():
        edges = [0, *np.cumsum(sizes), len(y)]
        for a, b in itertools.pairwise(edges):
            item = {"X": X[a:b], "y": y[a:b]}
            yield item if weight is None else item | {"sample_weight": weight[a:b]}

    expected, said = outcome(lambda: of(scorer, model, X, y, weight if scorer != "neg_max_error" else None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_accumulate, "_ROWS", block)
        got, heard = outcome(lambda: stream_scorer(scorer)(model, [Streamer(items), Streamer([])]))
    if isinstance(expected, tuple):
        assert got == expected
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12, err_msg=str(scorer))
    assert heard == said


def weights(rng, kind, n):
    return {"none": None, "floats": rng.random(n), "whole": rng.integers(1, 4, n).astype(float)}[kind]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    classes=st.sampled_from(
        [[0, 1], [-1, 1], [0, 1, 2, 7], ["no", "yes"], ["a", "bc", "d"], list(range(25)), [0.0, 1.0]]
    ),
    right=st.sampled_from([0.0, 0.5, 1.0]),
    kind=st.sampled_from(["none", "floats", "whole"]),
    sizes=st.lists(st.integers(0, 3), max_size=5),
    block=st.sampled_from([2, 5, 4096]),
    only=st.booleans(),
    objects=st.booleans(),
)
def test_scores_of_labels_are_those_of_the_concatenated_rows(
    seed, n, classes, right, kind, sizes, block, only, objects
):
    rng = np.random.default_rng(seed)
    truth = np.zeros(n, int) if only else rng.integers(len(classes), size=n)
    answer = np.where(rng.random(n) < right, truth, rng.integers(len(classes), size=n))
    chances = rng.dirichlet(np.full(len(classes), 0.05 if right == 1.0 else 1.0), n)
    X, y = np.column_stack([answer, chances]), np.array(classes)[truth]
    y = y.astype(object) if objects and isinstance(classes[0], str) else y
    weight, sizes = weights(rng, kind, n), sizes if sum(sizes) < n else []
    for scorer in [*OF_LABELS, "neg_log_loss", make_scorer(log_loss, response_method="predict_proba", normalize=False)]:
        check(scorer, Classifier(classes), X, y, weight, sizes, block)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    outputs=st.integers(1, 3),
    center=st.sampled_from([0.0, 10.0, 1e6]),
    error=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    kind=st.sampled_from(["none", "floats", "whole"]),
    sizes=st.lists(st.integers(0, 3), max_size=5),
    block=st.sampled_from([2, 5, 4096]),
    whole=st.booleans(),
)
def test_scores_of_numbers_are_those_of_the_concatenated_rows(
    seed, n, outputs, center, error, kind, sizes, block, whole
):
    rng = np.random.default_rng(seed)
    y = np.abs(center + rng.normal(size=(n, outputs)))
    y = np.round(y).astype(int) if whole else y
    if block < 4096 and n > 1:  # scores of targets that are all the same depend on the last bit of their mean
        y[: n // 2] += 1
        y[0, np.ptp(y, axis=0) == 0] += 1  # those that were rounded may have become the same by that
    X = np.abs(y + error * rng.normal(size=y.shape))
    weight, sizes = weights(rng, kind, n), sizes if sum(sizes) < n else []
    for scorer in [*OF_NUMBERS, *(RAW if outputs == 2 else [])]:
        check(scorer, Regressor(), X, y[:, 0] if outputs == 1 else y, weight, sizes, block)


def data(name, n, rows=5000):
    """Return a model, and a stream of rows whose predictions are right now and then."""
    rng = np.random.default_rng(0)
    noise, chance, weight = rng.normal(size=(rows, 2)), rng.random(rows), rng.random(rows)
    y = (rng.random(rows) < chance).astype(int)

    def numbers():
        for i in range(n // rows):
            yield {"X": np.abs(i + noise[:, :1]), "y": np.abs(i + noise[:, 1])}

    def labels():
        for i in range(n // rows):
            X = np.column_stack([chance > 0.5, 1 - chance, chance])
            yield {"X": np.roll(X, i, axis=0), "y": y, "sample_weight": weight}

    return (Regressor(), Streamer(numbers)) if name in OF_NUMBERS else (Classifier([0, 1]), Streamer(labels))


@pytest.mark.parametrize("name", ["accuracy", "f1", "neg_log_loss", "r2", "neg_mean_absolute_error", "neg_max_error"])
def test_many_blocks(name):
    model, stream = data(name, 50_000, rows=1000)
    items = list(stream)
    X, y = (np.concatenate([item[key] for item in items]) for key in ("X", "y"))
    weight = None if name in OF_NUMBERS else np.concatenate([item["sample_weight"] for item in items])
    assert stream_scorer(name)(model, [stream]) == pytest.approx(of(name, model, X, y, weight), rel=1e-12)


# scikit-learn 1.7 takes the classes of an estimator for targets, of which each is another
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_more_pairs_than_a_block_has_rows():
    classes = list(range(300))
    rng = np.random.default_rng(0)
    y, answer = rng.integers(300, size=(2, 30_000))
    pool = [Streamer([{"X": answer[a : a + 1000, None], "y": y[a : a + 1000]} for a in range(0, 30_000, 1000)])]
    expected = get_scorer("f1_macro")(Classifier(classes), answer[:, None], y)
    assert stream_scorer("f1_macro")(Classifier(classes), pool) == pytest.approx(expected, rel=1e-12)


ONE_OF_EACH_KIND = [["f1_macro", "neg_log_loss"], ["r2", "neg_root_mean_squared_log_error", "neg_max_error"]]


@pytest.mark.parametrize("scoring", ONE_OF_EACH_KIND, ids=["labels", "numbers"])
def test_memory_is_bounded(scoring):
    peaks = []
    for n in (100_000, 1_000_000):
        model, stream = data(scoring[0], n)
        tracemalloc.start()
        try:
            stream_scorer(scoring, max_samples=n)(model, [stream])
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert abs(peaks[1] - peaks[0]) < 200_000  # the targets alone are 8 MB


@pytest.mark.parametrize("scoring", [[*LABELS, "neg_log_loss"], OF_NUMBERS], ids=["labels", "numbers"])
@pytest.mark.parametrize("cut", [1, 7])
def test_a_state_goes_on_to_the_same_score(scoring, cut):
    model, stream = data(scoring[0], 10_000, rows=1000)
    scorer, pool = stream_scorer(scoring), StreamPool([stream])
    first = scorer.answers(model, pool)
    for i, (position, batch) in enumerate(pool_batches(pool, 0)):
        if i == cut:
            saved = json.dumps(first.state_dict())
            first = scorer.answers(model, pool)
            first.load_state_dict(json.loads(saved))
        first.add(position, batch)
    assert scorer.score(first) == scorer(model, pool)


def test_what_cannot_be_accumulated_is_kept():
    """Labels of several outputs, floats that are all short, and scores beside others."""
    rng = np.random.default_rng(0)
    y = rng.random(1000).astype(np.float32)
    X = (y + rng.normal(size=1000).astype(np.float32))[:, None]
    several = rng.integers(0, 2, (2, 100, 3))
    model, positions = Regressor(), np.column_stack([several[0][:, 0], rng.dirichlet([1, 1], 100)])
    assert stream_scorer("r2")(model, [Streamer([{"X": X, "y": y}])]) == get_scorer("r2")(model, X, y)
    expected = get_scorer("accuracy")(model, several[0], several[1])
    assert stream_scorer("accuracy")(model, [Streamer([{"X": several[0], "y": several[1]}])]) == expected
    model, y = Classifier([0, 1]), several[1][:, 0]
    both = stream_scorer(["roc_auc", "accuracy"])(model, [Streamer([{"X": positions, "y": y}])])
    assert both == {name: get_scorer(name)(model, positions, y) for name in ("roc_auc", "accuracy")}


@pytest.mark.parametrize(
    ("scoring", "y", "message"),
    [
        ("r2", np.array([1.0, np.nan]), "contains NaN"),
        ("neg_max_error", np.array([1.0, np.inf]), "contains infinity"),
        ("neg_mean_squared_log_error", np.array([1.0, -3.0]), "Logarithmic"),
        ("accuracy", np.array([0.5, 0.25]), "continuous"),
    ],
)
def test_rows_that_a_score_refuses(scoring, y, message):
    model = Classifier([0, 1]) if scoring == "accuracy" else Regressor()
    with pytest.raises(ValueError, match=message) as caught:
        stream_scorer(scoring)(model, [Streamer([{"X": np.ones((2, 1)), "y": y}])])
    assert f"raised by the score {scoring!r}: does it fit {type(model).__name__}?" in caught.value.__notes__


@pytest.mark.parametrize("rows", [10, 5000])
def test_streams_whose_targets_have_other_shapes(rows):
    """Blocks must not be broadcast."""
    items = [{"X": np.ones((rows, 1)), "y": np.ones(rows)}, {"X": np.ones((rows, 2)), "y": np.ones((rows, 2))}]
    with pytest.raises(ValueError, match="do not go together, or with those before"):
        stream_scorer("r2")(Regressor(), [Streamer([item]) for item in items])
