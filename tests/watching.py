"""Data to train and to score on, and an estimator whose scores are given."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from streamlearn import Streamer, StreamingEstimator, from_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
Y = (X[:, 0] + RNG.normal(size=400) > 0).astype(int)
TRAIN, HELD_OUT = from_arrays(X[:300], Y[:300], n_streams=6), from_arrays(X[300:], Y[300:], n_streams=3)


def items(start, stop, y=Y, step=8):
    for row in range(start, stop, step):
        yield {"X": X[row : min(row + step, stop)], "y": y[row : min(row + step, stop)]}


def streams(y=Y, step=8):
    return [Streamer(items, start, start + 50, y, step) for start in range(0, 300, 50)]


class Scripted(ClassifierMixin, BaseEstimator):
    """An estimator whose score after each batch is given: of 100 rows, as many per cent are predicted rightly."""

    def __init__(self, scores=()):
        self.scores = scores

    def partial_fit(self, X, y, classes=None):
        self.n_trained_ = getattr(self, "n_trained_", 0) + 1
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        right = np.arange(len(X)) < round(100 * self.scores[self.n_trained_ - 1])
        return right.astype(int)


ONES = from_arrays(np.zeros((100, 1)), np.ones(100, int), shuffle=False)


def scripted(scores, n_iter_no_change, tol=0.0, every=1, n_batches=None, **kwargs):
    n = len(scores) if n_batches is None else n_batches
    model = StreamingEstimator(
        Scripted(list(scores)),
        batch_size=1,
        validation=ONES,
        validation_every=every,
        n_iter_no_change=n_iter_no_change,
        tol=tol,
        classes=[0, 1],
        random_state=0,
        **kwargs,
    )
    return model.fit(from_arrays(np.zeros((n, 1)), np.zeros(n, int), n_streams=1))
