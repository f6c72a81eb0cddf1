"""Seeds: what a ``random_state`` stands for, and how children are derived."""

import itertools

import numpy as np
import pytest
from scipy import stats

from streamlearn._random import fresh_seed, generator, mix, mix_array, seed_from, small_seed

SURE = 1 - 1e-6  # each test below fails by chance once in a million


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
