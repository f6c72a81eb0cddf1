"""Clones of StreamingEstimator, and of pools: no data is copied."""

import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing

from streamlearn import (
    Streamer,
    StreamFactory,
    StreamingEstimator,
    from_arrays,
)


class Holder:
    """A factory that holds data and something that cannot be copied."""

    def __init__(self, data):
        self.data = data
        self.lock = threading.Lock()

    def __call__(self):
        return from_arrays(self.data)


class Named(BaseEstimator):
    """A factory with parameters, one of which is data."""

    def __init__(self, data, n_streams=2):
        self.data = data
        self.n_streams = n_streams

    def __call__(self):
        return from_arrays(self.data, n_streams=self.n_streams)


BIG = np.zeros((2_500_000, 10))  # 200 MB that are never touched


@pytest.mark.parametrize(
    "factory",
    [
        partial(from_arrays, BIG),
        Holder(BIG),
        Named(BIG),
        from_arrays(BIG, n_streams=3),
        [Streamer(BIG)],
        StreamFactory(from_arrays, X=BIG),
        lambda held=BIG: from_arrays(held),
    ],
    ids=["partial", "object with a lock", "object with parameters", "pool", "list", "StreamFactory", "function"],
)
def test_a_clone_copies_no_data_of_a_factory(factory):
    model = make_pipeline(StandardScaler(), StreamingEstimator(StandardScaler(), factory))
    tracemalloc.start()
    try:
        copied = clone(model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
    assert copied[-1].streams.__class__ is factory.__class__


def test_parameters_of_a_cloned_factory_are_its_own():
    model = StreamingEstimator(StandardScaler(), Named(BIG))
    clone(model).set_params(streams__n_streams=5)
    assert model.streams.n_streams == 2


def test_splits_of_a_pool_copy_no_data():
    pool = from_arrays(BIG, n_streams=100)
    tracemalloc.start()
    try:
        for train, test in GroupKFold(5).split(pool, groups=np.arange(100) // 2):
            assert len(pool[train]) == len(_safe_indexing(pool, train)) == 80
            assert len(pool[test]) == 20
        clone(pool)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
