"""Seeds: what a ``random_state`` stands for, how children are derived, and permutations that are computed, not stored."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streamlearn._random import fresh_seed, generator, mix, mix_array, permute, seed_from, small_seed

SURE = 1 - 1e-6  # each test below fails by chance once in a million


def permutation(size, key):
    return permute(np.arange(size), np.full(size, size), np.full(size, key, np.uint32))


def assert_uniform(counts):
    counts = np.ravel(counts)
    statistic = stats.chisquare(counts).statistic
    assert statistic < stats.chi2.ppf(SURE, counts.size - 1)


# -- seeds ----------------------------------------------------------------------------------------------------------------


def test_seed_of_none_is_none():
    assert seed_from(None) is None


@pytest.mark.parametrize("make", [int, np.int32, np.uint8, np.int64])
def test_ints_of_every_kind_give_one_seed(make):
    assert seed_from(make(7)) == seed_from(7) != seed_from(8)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_gives_a_draw_of_its_own(make):
    rng = make(0)
    first, second = seed_from(rng), seed_from(rng)
    assert first == seed_from(make(0))
    assert first != second


@pytest.mark.parametrize("bad", [-1, 1.5, "0", True, (1,)])
def test_other_random_states_are_refused(bad):
    with pytest.raises(ValueError, match="random_state"):
        seed_from(bad)


def test_numpy_global_state_is_not_touched():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert fresh_seed() != fresh_seed()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_mix_tells_all_neighbours_apart():
    keys = [(), *itertools.product(range(300), repeat=1), *itertools.product(range(300), repeat=2)]
    assert len({mix(*key) for key in keys}) == len(keys)


def test_mix_takes_keys_of_any_size():
    assert 0 <= mix(2**64 + 3, -1) < 2**64


@pytest.mark.parametrize("shift", [0, 24, 56])
@pytest.mark.parametrize("place", [0, 1])
def test_children_of_one_seed_are_spread_evenly(shift, place):
    pairs = [(i, 5) if place == 0 else (5, i) for i in range(50_000)]
    assert_uniform(np.bincount([mix(*pair) >> shift & 255 for pair in pairs], minlength=256))


def test_mix_array_is_spread_evenly():
    hashes = mix_array(3, np.arange(100_000))
    assert_uniform(np.bincount(hashes & 255, minlength=256))
    assert_uniform(np.bincount(hashes >> 24, minlength=256))
    assert not np.array_equal(hashes, mix_array(4, np.arange(100_000)))


def test_small_seed_fits_scikit_learn():
    assert small_seed(2**64 - 1) == 2**31 - 1
    assert small_seed(0) == 0


def test_generator_is_reproducible():
    assert generator(5).random() == generator(5).random() != generator(6).random()


# -- permutations -------------------------------------------------------------------------------------------------------------


@given(size=st.integers(1, 3000), key=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=150, derandomize=True)
def test_permute_is_a_bijection(size, key):
    np.testing.assert_array_equal(np.sort(permutation(size, key)), np.arange(size))


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 66, 255, 256, 257, 4096, 4097, 65_535, 65_536, 65_537, 10**6])
@pytest.mark.parametrize("key", [0, 2**32 - 1])
def test_permute_is_a_bijection_at_the_seams(size, key):
    np.testing.assert_array_equal(np.sort(permutation(size, key)), np.arange(size))


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
@settings(deadline=None, max_examples=60, derandomize=True)
def test_permute_of_many_at_once_is_that_of_each(rows):
    rows = [(size, key, index % size) for size, key, index in rows]
    size, key, index = map(np.array, zip(*rows, strict=True))
    together = permute(index, size, key.astype(np.uint32))
    assert together.tolist() == [permutation(s, k)[i] for s, k, i in rows]


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
    agree = [np.sum(permutation(size, key) == permutation(size, key + 1)) for key in range(n_pairs)]
    assert abs(np.mean(agree) - 1) < stats.norm.ppf(1 - 5e-7) / np.sqrt(n_pairs)
