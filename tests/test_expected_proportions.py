"""Shares that muxes expect, and the warning about those that cannot be."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from streamlearn import ShuffledMux, StochasticMux, StreamPool


def test_expected_proportions_are_the_weights():
    for mode in ("with_replacement", "once", "exhaustive"):
        stream = StochasticMux(["abc"] * 3, 2, pool_weights=[2, 1, 1], mode=mode)
        assert stream.expected_proportions().tolist() == [0.5, 0.25, 0.25]
    assert StochasticMux(["a", "b"], 2).expected_proportions().tolist() == [0.5, 0.5]


def test_expected_proportions_with_caps_by_hand():
    with pytest.warns(UserWarning, match="single_active"):
        stream = StochasticMux(["a", "b", "c"], 2, pool_weights=[0.8, 0.1, 0.1], mode="single_active")
    assert stream.expected_proportions().tolist() == [0.5, 0.25, 0.25]
    with pytest.warns(UserWarning, match="single_active"):
        stream = StochasticMux(["a", "b", "c"], 9, pool_weights=[0.5, 0.3, 0.2], mode="single_active")
    np.testing.assert_allclose(stream.expected_proportions(), [1 / 3] * 3)


def test_expected_proportions_cannot_be_changed_from_outside():
    stream = StochasticMux(["a", "b"], 2, pool_weights=[3, 1])
    stream.expected_proportions()[:] = 0
    assert stream.expected_proportions().tolist() == [0.75, 0.25]


def test_caps_warn_once_with_the_share():
    pool = StreamPool(["a" * 5, "b" * 5, "c" * 5], weights=[8, 1, 1], names=["big", "small", "tiny"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = StochasticMux(pool, 2, 4, mode="single_active", random_state=0)
        for derived in (stream, clone(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
            list(derived.generate(100))
    (warning,) = caught
    assert warning.category is UserWarning
    assert warning.filename == __file__
    for said in ("Stream 0 ('big')", "weight 0.8", "give 0.5", "expected_proportions()"):
        assert said in str(warning.message)


@pytest.mark.parametrize(
    ("weights", "n_active", "mode"),
    [
        (None, 3, "single_active"),
        ([0.5, 0.25, 0.25], 2, "single_active"),
        ([0.8, 0.1, 0.1], 1, "single_active"),
        ([0.8, 0.1, 0.1], 2, "with_replacement"),
        ([0.8, 0.1, 0.1], 2, "exhaustive"),
    ],
)
def test_shares_that_can_hold_do_not_warn(weights, n_active, mode):
    StochasticMux(["a", "b", "c"], n_active, pool_weights=weights, mode=mode)  # warnings are errors


def test_the_weights_of_a_pool_are_used_unless_others_are_given():
    pool = StreamPool(["a", "b"], weights=[3, 1])
    for stream in (StochasticMux(pool, 1), StochasticMux(StreamPool(pool), 1), StochasticMux(pool[:], 1)):
        assert stream.expected_proportions().tolist() == [0.75, 0.25]
    assert StochasticMux(pool, 1, pool_weights=[1, 1]).expected_proportions().tolist() == [0.5, 0.5]
    assert set(ShuffledMux(StreamPool(["a", "b"], weights=[0, 1])).generate(30)) == {"b"}
