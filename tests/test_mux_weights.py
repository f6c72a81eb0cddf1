"""Weights of muxes at the edges: what is refused, zero, tiny, and changed by the caller."""

import itertools
import re

import numpy as np
import pytest

from streamlearn import ShuffledMux, StochasticMux, Streamer, StreamPool, from_arrays, mux

MODES = ["with_replacement", "single_active", "once", "exhaustive"]
RESTARTING = MODES[:2]


WEIGHTED = {
    **{
        mode: lambda s, w, mode=mode: StochasticMux(s, 1, 4, pool_weights=w, mode=mode, random_state=0)
        for mode in MODES
    },
    "mux": lambda s, w: mux(s, None, 1, lam=4, pool_weights=w),
    "shuffled": lambda s, w: ShuffledMux(s, pool_weights=w),
    "pool": lambda s, w: StreamPool(s, weights=w),
}


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, -0.1, 1], "finite and not negative, got -0.1 for stream 1"),
        ([1, 1, np.nan], "finite and not negative, got nan for stream 2"),
        ([np.inf, 1, 1], "finite and not negative, got inf for stream 0"),
        ([0, 0, 0], "must not all be zero"),
        ([1, 1], "one number for each of the 3 streams"),
        ([1, 1, 1, 1], "one number for each of the 3 streams"),
        (0.5, "one number for each of the 3 streams"),
        ([[1, 1, 1]], "one number for each of the 3 streams"),
        ("abc", "must be numbers"),
    ],
    ids=str,
)
def test_bad_weights_are_refused(make, weights, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make(["a", "b", "c"], weights)


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
@pytest.mark.parametrize("dtype", [int, np.uint8, float, np.float32])
def test_the_callers_weights_are_never_changed(make, dtype):
    weights = np.array([3, 0, 1], dtype)
    before = weights.copy()
    list(itertools.islice(make(["aaa", "bbb", "ccc"], weights), 20))
    np.testing.assert_array_equal(weights, before)
    assert weights.dtype == before.dtype
    assert weights.flags.writeable
    given = [3, 0, 1]
    make(["a", "b", "c"], given)
    assert given == [3, 0, 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_changing_the_weights_later_changes_nothing(mode, kind):
    weights = np.array([1.0, 0.0])
    streams = ["a" * 9, "b" * 9] if kind == "generators" else from_arrays(np.array([[0]] * 9 + [[1]] * 9), n_streams=2)
    stream = StochasticMux(streams, 1, 4, pool_weights=weights, mode=mode)
    weights[:] = 0, 1
    items = [item if isinstance(item, str) else "ab"[item["X"][0]] for item in stream.generate(20)]
    assert set(items) == {"a"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_active", [1, 2, 9])
def test_a_stream_of_weight_zero_never_comes(mode, n_active):
    streams = [Streamer(itertools.repeat, i) if mode in RESTARTING else [i] * 50 for i in range(4)]
    stream = StochasticMux(streams, n_active, 3, pool_weights=[0, 1, 1, 0], mode=mode)
    assert set(stream.generate(200)) == {1, 2}


def test_a_stream_of_weight_zero_is_not_even_opened():
    def never():
        raise AssertionError

    for mode in MODES:
        list(StochasticMux([Streamer(never), "ab"], 2, pool_weights=[0, 1], mode=mode).generate(10))
    list(ShuffledMux([Streamer(never), "ab"], pool_weights=[0, 1]).generate(10))


@pytest.mark.parametrize("n_active", [1, 2])
@pytest.mark.parametrize("lam", [1, 7, None])
@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_a_tiny_weight_comes_after_a_huge_one(n_active, lam, kind):
    rows = np.array([0] * 50 + [1] * 50)
    for seed in range(10):
        if kind == "generators":
            streams = [[0] * 50, [1] * 50]
        else:
            streams = from_arrays(rows[:, None], n_streams=2)
        stream = StochasticMux(streams, n_active, lam, pool_weights=[1e-10, 1e10], mode="exhaustive", random_state=seed)
        items = [item if isinstance(item, int) else int(item["X"][0]) for item in stream]
        assert items == [1] * 50 + [0] * 50


@pytest.mark.parametrize("weights", [[1e-200, 1e200], [5e-324, 1.0, 1e308]])
def test_the_smallest_positive_weight_is_still_exhausted(weights):
    streams = [[i] * 3 for i in range(len(weights))]
    items = list(StochasticMux(streams, 2, 2, pool_weights=weights, mode="exhaustive", random_state=0))
    assert sorted(items) == sorted(itertools.chain.from_iterable(streams))


@pytest.mark.parametrize("small", [1e-3, 1e-6, 3e-9, 1e-11, 1e-14, 1e-20])
@pytest.mark.parametrize("mode", RESTARTING)
def test_a_rare_stream_does_not_disturb(mode, small):
    stream = StochasticMux([Streamer(itertools.repeat, i) for i in range(2)], 1, 4, pool_weights=[1, small], mode=mode)
    assert len(list(stream.generate(500))) == 500
