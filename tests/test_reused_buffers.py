"""Batches that a generator changes after it has yielded them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.naive_bayes import GaussianNB

from streamlearn import (
    Streamer,
    StreamingEstimator,
)

RNG = np.random.default_rng(0)


def fill_array(buffer, value):
    buffer[:] = value


def fill_sparse(buffer, value):
    buffer.data[:] = value


def fill_frame(buffer, value):
    buffer[:] = value


def fill_polars(buffer, value):
    for i in range(len(buffer)):
        buffer[i, "a"] = value


def fill_list(buffer, value):
    buffer[:] = [str(value)] * len(buffer)


REUSED = {
    "array": (lambda: np.empty((5, 2)), fill_array),
    "part of an array": (lambda: np.empty((8, 4))[:5, ::2], fill_array),
    "sparse": (lambda: sparse.csr_matrix(np.ones((5, 2))), fill_sparse),
    "pandas": (lambda: pd.DataFrame(np.ones((5, 2)), columns=["a", "b"]), fill_frame),
    "polars": (lambda: pl.DataFrame(np.ones((5, 2)), schema=["a", "b"]), fill_polars),
    "texts": (lambda: ["x"] * 5, fill_list),
}


class KeepingAll(BaseEstimator):
    """Keeps the very objects."""

    def partial_fit(self, X, y=None, sample_weight=None):
        self.given_ = [*getattr(self, "given_", []), (X, y, sample_weight)]


@pytest.mark.parametrize("batch_size", [None, 1, 5, 7, 256])
@pytest.mark.parametrize("way", ["pool", "iter_fit"])
@pytest.mark.parametrize("kind", REUSED)
def test_a_buffer_that_is_used_again(kind, way, batch_size):
    make, fill = REUSED[kind]

    def stream():
        X, y, weight = make(), np.empty(5), np.empty(5)
        for value in range(1, 5):
            fill(X, value)
            y[:], weight[:] = value, value
            yield {"X": X, "y": y, "sample_weight": weight}

    model = StreamingEstimator(KeepingAll(), batch_size=batch_size)
    model.fit([Streamer(stream)]) if way == "pool" else model.iter_fit(stream())
    expected = np.repeat([1.0, 2.0, 3.0, 4.0], 5)
    for part in range(3):
        rows = []
        for given in model.estimator_.given_:
            values = given[part].toarray() if sparse.issparse(given[part]) else np.asarray(given[part])
            rows += values.reshape(len(values), -1)[:, 0].astype(float).tolist()
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("batch_size", [None, 5, 256])
def test_birch_keeps_no_view_of_a_buffer(batch_size):
    def stream(reuse):
        buffer = np.empty((5, 2))
        for i in range(4):
            buffer[:] = np.arange(10).reshape(5, 2) + 100 * i
            yield buffer if reuse else buffer.copy()

    models = [
        StreamingEstimator(Birch(n_clusters=None), batch_size=batch_size).iter_fit(stream(r)) for r in (True, False)
    ]
    np.testing.assert_array_equal(models[0].subcluster_centers_, models[1].subcluster_centers_)


def test_scores_of_a_stream_that_uses_its_buffers_again():
    X, y = RNG.normal(size=(15000, 2)), RNG.integers(0, 2, 15000)

    def stream(reuse):
        buffers = np.empty((5000, 2)), np.empty(5000, int)
        for i in range(0, 15000, 5000):
            for buffer, values in zip(buffers, (X, y), strict=True):
                buffer[:] = values[i : i + 5000]
            yield buffers if reuse else tuple(buffer.copy() for buffer in buffers)

    model = StreamingEstimator(GaussianNB(), n_passes=1).fit(X, y)
    assert model.score([Streamer(stream, True)]) == model.score([Streamer(stream, False)])
