"""Seeds: what a ``random_state`` stands for, and how children are derived."""

import itertools
import pickle

import numpy as np
import pytest
from scipy import stats

from streamlearn import _random
from streamlearn._random import (
    fresh_seed,
    generator,
    light_generator,
    mix,
    mix_array,
    seed_from,
    seed_words,
    small_seed,
)

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


# -- generators that are seeded at little cost ----------------------------------------------------------------------------


def test_the_words_of_a_seed_are_hashes_of_it(way):
    assert seed_words(7, 5).tolist() == [mix(7, i) for i in range(5)]
    assert mix(1, -1, 2**64 + 5) == mix(1, 2**64 - 1, 5) == 5641038891346763644


def test_light_generators_of_neighbours_are_independent(way):
    draws = np.array([light_generator(mix(seed)).integers(0, 4, 2) for seed in range(20_000)])
    assert_uniform(np.bincount(draws[:, 0] * 4 + draws[:, 1], minlength=16))  # within a generator
    assert_uniform(np.bincount(draws[:-1, 0] * 4 + draws[1:, 0], minlength=16))  # from one to the next


def test_children_of_a_light_generator_differ_from_it_and_from_each_other():
    rng, again = light_generator(7), light_generator(7)
    first, second = rng.spawn(2)
    (third,) = rng.spawn(1)
    draws = [generator.integers(0, 2**63) for generator in (rng, first, second, third)]
    assert len(set(draws)) == 4
    assert [child.integers(0, 2**63) for child in again.spawn(3)] == draws[1:]


def test_a_light_generator_is_pickled():
    rng = light_generator(7)
    rng.random(3)
    copy = pickle.loads(pickle.dumps(rng))
    assert copy.random() == rng.random()


def test_a_light_generator_tells_what_it_was_seeded_with():
    seeds = light_generator(7).bit_generator.seed_seq
    assert (seeds.entropy, seeds.spawn_key) == (7, ())


@pytest.mark.parametrize("n_words", [1, 2, 5])
def test_words_of_either_kind(n_words):
    words = _random.Words(7)
    short, long = words.generate_state(n_words), words.generate_state(n_words, np.uint64)
    assert (short.dtype, short.shape, long.dtype, long.shape) == (np.uint32, (n_words,), np.uint64, (n_words,))
    other = np.random.Generator(np.random.MT19937(words))  # asks for other words than PCG64
    assert other.random() != light_generator(7).random()
