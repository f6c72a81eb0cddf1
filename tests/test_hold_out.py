"""What is held out of training as a fraction: never trained on, drawn as scikit-learn would, the same for the same seed."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import SGDClassifier, SGDRegressor

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays
from streamlearn._hold_out import split_rows, split_streams

N = 90
X = np.arange(N)[:, None] * [1.0, 1.0]
Y = np.repeat([0, 1, 2], [60, 20, 10])


class Seen(BaseEstimator):
    """Keeps what it is trained on and what it is scored on: the rows' numbers."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def partial_fit(self, X, y=None, sample_weight=None, classes=None):
        if not hasattr(self, "trained_"):
            self.trained_, self.scored_, self.n_features_in_ = [], [], X.shape[1]
            self.classes_ = classes
        X = X.toarray() if sparse.issparse(X) else X
        self.trained_ += X[:, 0].astype(int).tolist()
        return self

    def predict(self, X):
        X = X.toarray() if sparse.issparse(X) else X
        self.scored_ += X[:, 0].astype(int).tolist()
        return np.zeros(len(X), int)


class SeenClassifier(ClassifierMixin, Seen):
    pass


class SeenRegressor(RegressorMixin, Seen):
    pass


@given(n=st.integers(2, 300), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32))
def test_streams_that_are_held_out(n, fraction, seed):
    kept, out = split_streams(n, fraction, seed)
    assert sorted([*kept.tolist(), *out.tolist()]) == list(range(n))
    assert len(out) == min(math.ceil(fraction * n), n - 1)
    assert (np.diff(kept) > 0).all()
    assert split_streams(n, fraction, seed)[1].tolist() == out.tolist()


@given(counts=st.lists(st.integers(2, 40), min_size=1, max_size=5), fraction=st.floats(0.1, 0.9))
def test_rows_of_each_label_are_held_out_alike(counts, fraction):
    y = np.repeat(np.arange(len(counts)), counts)
    n = len(y)
    if not len(counts) <= math.ceil(fraction * n) <= n - len(counts):
        return
    (rows, labels, none), (out, out_labels, _) = split_rows((np.arange(n)[:, None], y, None), fraction, 0, y)
    assert none is None
    assert sorted([*rows[:, 0].tolist(), *out[:, 0].tolist()]) == list(range(n))
    assert len(out) == math.ceil(fraction * n)
    np.testing.assert_array_equal(labels, y[rows[:, 0]])
    for label, count in enumerate(counts):
        assert abs((out_labels == label).sum() - len(out) * count / n) <= 1.0


def test_streams_drawn_differ_from_seed_to_seed():
    chosen = np.concatenate([split_streams(10, 0.2, seed)[1] for seed in range(2000)])
    # chi-square with 9 degrees of freedom is above 33.7 once in 10 000 times
    assert ((np.bincount(chosen) - 400) ** 2 / 400).sum() < 33.7


def trained_and_scored(model):
    inner = model.estimator_
    return sorted(set(inner.trained_)), sorted(set(inner.scored_))


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_rows_of_arrays(container):
    model = StreamingEstimator(SeenClassifier(), validation=0.2, random_state=0).fit(container(X), Y)
    trained, scored = trained_and_scored(model)
    assert sorted(trained + scored) == list(range(N))
    assert np.bincount(Y[scored]).tolist() == [12, 4, 2]
    assert model.n_samples_seen_ == model.stream_counts_.sum() == 72
    again = StreamingEstimator(SeenClassifier(), validation=0.2, random_state=0).fit(container(X), Y)
    assert trained_and_scored(again) == (trained, scored)
    other = StreamingEstimator(SeenClassifier(), validation=0.2, random_state=1).fit(container(X), Y)
    assert trained_and_scored(other)[1] != scored


def test_rows_for_a_regressor_and_for_several_outputs_are_not_stratified():
    model = StreamingEstimator(SeenRegressor(), validation=0.2, random_state=0).fit(X, np.linspace(0, 1, N))
    assert len(trained_and_scored(model)[1]) == 18


def test_all_labels_are_known_though_some_are_held_out():
    pool = from_arrays(X, Y, by="y")
    for seed in range(3):
        model = StreamingEstimator(SGDClassifier(), validation=0.4, random_state=seed).fit(pool)
        assert model.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["arrays", "generators"])
@pytest.mark.parametrize("weights", [None, "pool", "parameter"])
def test_whole_streams(kind, weights):
    shares = np.arange(1, 11)
    if kind == "arrays":
        streams = list(from_arrays(X, Y, n_streams=10))
    else:
        streams = [Streamer([(X[i : i + 9], Y[i : i + 9])]) for i in range(0, N, 9)]
    pool = StreamPool(streams, weights=shares if weights == "pool" else None)
    model = StreamingEstimator(
        SeenClassifier(),
        validation=0.25,
        classes=[0, 1, 2],
        mode="exhaustive",
        pool_weights=shares if weights == "parameter" else None,
        random_state=0,
    ).fit(pool)
    trained, scored = trained_and_scored(model)
    assert sorted(trained + scored) == list(range(N))
    held_out = np.unique(np.array(scored) // 9)
    assert len(held_out) == 3
    assert np.flatnonzero(model.stream_counts_ == 0).tolist() == held_out.tolist()
    assert model.stream_counts_.tolist() == [0 if i in held_out else 9 for i in range(10)]
    assert model.stream_names_ == pool.names
    assert set().union(*model.history_["stream_counts"]) == {str(i) for i in range(10)} - set(map(str, held_out))


def test_shares_are_those_of_the_streams_that_are_trained_on():
    pool = from_arrays(X, Y, n_streams=10)
    shares = np.arange(1, 11)
    model = StreamingEstimator(
        SeenClassifier(), validation=0.25, pool_weights=shares, lam=1, max_batches=400, batch_size=100, random_state=0
    ).fit(pool)
    kept = model.stream_counts_ > 0
    assert kept.sum() == 7
    expected = 40_000 * shares[kept] / shares[kept].sum()
    # chi-square with 6 degrees of freedom is above 27.9 once in 10 000 times
    assert ((model.stream_counts_[kept] - expected) ** 2 / expected).sum() < 27.9


def test_a_factory_gets_the_rows_that_are_trained_on():
    """Rows that are held out never reach the factory, and are scored as they are."""
    given_rows = []

    def augmented(A, a):
        given_rows.append(A[:, 0].astype(int).tolist())
        return from_arrays(np.vstack([A, A + 1000]), np.concatenate([a, a]))

    model = StreamingEstimator(SeenClassifier(), streams=augmented, validation=0.2, random_state=0).fit(X, Y)
    trained, scored = trained_and_scored(model)
    assert sorted([*given_rows[0], *scored]) == list(range(N))
    assert trained == sorted([*given_rows[0], *(row + 1000 for row in given_rows[0])])
    assert np.bincount(Y[scored]).tolist() == [12, 4, 2]


def test_streams_of_a_factory_without_arrays():
    model = StreamingEstimator(
        SeenClassifier(), streams=lambda: from_arrays(X, Y, n_streams=9), validation=0.3, random_state=0
    ).fit()
    trained, scored = trained_and_scored(model)
    assert sorted(trained + scored) == list(range(N))
    assert len(scored) == 30


def test_weights_of_rows_stay_with_them():
    weight = np.arange(N) + 1.0
    model = StreamingEstimator(SGDRegressor(random_state=0), validation=0.3, n_passes=1, random_state=0)
    model.fit(X / N, X[:, 0] / N, sample_weight=weight)
    assert model.history_["n_scored"] == [27]


@pytest.mark.parametrize(
    ("data", "validation", "message"),
    [
        ((from_arrays(X, Y),), 0.5, r"validation=0.5 holds out whole streams, and there is only one"),
        (
            (X, np.repeat([0, 1], [89, 1])),
            0.5,
            r"validation=0.5 cannot be held out of 90 rows: The least populated class",
        ),
        ((X[:1], Y[:1]), 0.5, r"validation=0.5 cannot be held out of 1 rows"),
        ((X, Y), 0.0, "The 'validation' parameter"),
        ((X, Y), 1.0, "The 'validation' parameter"),
        ((X, Y), 3, "The 'validation' parameter"),
        ((X, Y), "pre", "The 'validation' parameter"),
    ],
)
def test_what_cannot_be_held_out(data, validation, message):
    with pytest.raises(ValueError, match=message):
        StreamingEstimator(SGDClassifier(), validation=validation).fit(*data)
