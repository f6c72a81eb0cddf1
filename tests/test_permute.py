"""Permutations that are computed, not stored."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from streamlearn._permute import counted_from, permutation, permute

SURE = 1 - 1e-6  # each test below fails by chance once in a million


def named(size, key):
    return permute(np.arange(size), np.full(size, size), np.full(size, key, np.uint32))


def assert_uniform(counts):
    counts = np.ravel(counts)
    statistic = stats.chisquare(counts).statistic
    assert statistic < stats.chi2.ppf(SURE, counts.size - 1)


@given(size=st.integers(1, 3000), key=st.integers(0, 2**32 - 1))
@settings(max_examples=150, derandomize=True)
def test_permute_is_a_bijection(size, key):
    np.testing.assert_array_equal(np.sort(named(size, key)), np.arange(size))


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 66, 255, 256, 257, 4096, 4097, 65_535, 65_536, 65_537, 10**6])
@pytest.mark.parametrize("key", [0, 2**32 - 1])
def test_permute_is_a_bijection_at_the_seams(size, key):
    np.testing.assert_array_equal(np.sort(named(size, key)), np.arange(size))


@pytest.mark.parametrize("size", [10**9, 2**31 - 1, 2**31, 2**32 - 2**16 - 1, 2**32 - 2**16])
def test_permute_of_large_sizes_is_one_to_one_and_even(size):
    rng = np.random.default_rng(0)
    index = np.concatenate([np.arange(2000), size - 1 - np.arange(2000), rng.integers(2000, size - 2000, 46_000)])
    index = np.unique(index)
    out = permute(index, np.full(len(index), size), np.full(len(index), 7, np.uint32))
    assert out.min() >= 0
    assert out.max() < size
    assert len(np.unique(out)) == len(index)
    # neighbours part: where one in a thousand of the indices goes is even over the whole range
    first = permute(np.arange(20_000), np.full(20_000, size), np.full(20_000, 7, np.uint32))
    assert_uniform(np.bincount(first * 64 // size, minlength=64))


@given(
    rows=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 50), st.integers(0, 299)), min_size=1, max_size=60),
)
@settings(max_examples=60, derandomize=True)
def test_permute_of_many_at_once_is_that_of_each(rows):
    rows = [(size, key, index % size) for size, key, index in rows]
    size, key, index = map(np.array, zip(*rows, strict=True))
    together = permute(index, size, key.astype(np.uint32))
    assert together.tolist() == [named(s, k)[i] for s, k, i in rows]


@pytest.mark.parametrize("size", [2, 3, 5, 31, 64, 65, 100, 257])
def test_every_position_is_uniform_over_keys(size):
    n_keys = 200 * size
    keys = np.arange(n_keys, dtype=np.uint32)
    for index in {0, 1, size // 2, size - 1}:
        out = permute(np.full(n_keys, index), np.full(n_keys, size), keys)
        assert_uniform(np.bincount(out, minlength=size))


@pytest.mark.parametrize("size", [3, 5, 100])
@pytest.mark.parametrize("index", [(0, 1), (2, 0)])
def test_pairs_of_positions_are_uniform_over_keys(size, index):
    n_keys = 20 * size * (size - 1)
    keys = np.arange(n_keys, dtype=np.uint32)
    a, b = (permute(np.full(n_keys, i), np.full(n_keys, size), keys) for i in index)
    counts = np.bincount(a * size + b, minlength=size * size).reshape(size, size)
    assert not np.diag(counts).any()
    assert_uniform(counts[~np.eye(size, dtype=bool)])


def test_all_permutations_of_four_are_equally_likely():
    n_keys = 24 * 500
    keys = np.arange(n_keys, dtype=np.uint32)
    places = [permute(np.full(n_keys, i), np.full(n_keys, 4), keys) for i in range(4)]
    _, counts = np.unique(np.stack(places, axis=1), axis=0, return_counts=True)
    assert len(counts) == 24
    assert_uniform(counts)


@pytest.mark.parametrize("size", [50, 500])
def test_keys_name_unrelated_permutations(size):
    # The number of places at which two random permutations agree has mean 1 and variance 1.
    n_pairs = 400
    agree = [np.sum(named(size, key) == named(size, key + 1)) for key in range(n_pairs)]
    assert abs(np.mean(agree) - 1) < stats.norm.ppf(1 - 5e-7) / np.sqrt(n_pairs)


# -- all of one, and runs -------------------------------------------------------------------------------------------------


@given(size=st.integers(1, 300) | st.integers(301, 5000), key=st.integers(0, 2**32 - 1))
@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_elements_of_a_permutation_are_those_that_are_asked_for_one_by_one(way, size, key):
    assert permutation(size, key).tolist() == named(size, key).tolist()


@given(runs=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5))), step=st.integers(1, 4), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_are_counted_out(way, runs, step, data):
    starts, lengths = np.array(runs, int).reshape(-1, 2).T
    expected = [start + step * i for start, length in runs for i in range(length)]
    assert counted_from(starts, lengths, step).tolist() == expected
    order = data.draw(st.permutations(range(len(expected))))
    counted = counted_from(starts, lengths, step, np.array(order, np.int64))
    assert [counted[place] for place in order] == expected


@pytest.mark.parametrize("size", [65, 100, 128, 1000, 5000])
def test_elements_that_follow_each_other_are_kept_together_by_chance_alone(size):
    n = 2000
    permuted = np.array([named(size, key) for key in np.random.default_rng(0).integers(0, 2**32, n)])
    together = (np.diff(permuted, axis=1) % size == 1).sum()
    # each of the size - 1 pairs of a permutation does so with a chance of 1 / size, and nearly independently
    assert (
        stats.binom.ppf(1 - SURE, n * (size - 1), 1 / size)
        <= together
        <= stats.binom.ppf(SURE, n * (size - 1), 1 / size)
    )
