"""Visits: their length, how weights are read, and the odds under which the shares of distinct streams hold."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from streamlearn._visits import (
    DISTS,
    UNTIL_EXHAUSTED,
    VisitLength,
    check_count,
    check_lam,
    check_option,
    check_weights,
    conditional_poisson_odds,
    inclusion_probabilities,
)

SURE = 1 - 1e-6  # each statistical test below fails by chance once in a million


def law(lam, dist, n_active):
    """What the design promises for whole ``lam``, as a distribution of scipy."""
    if dist == "poisson":
        return stats.poisson(lam - 1, loc=1)
    return stats.binom((lam - 1) * n_active, 1 / n_active, loc=1)


# -- length of a visit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_active", [1, 2, 8])
@pytest.mark.parametrize("lam", [1, 2, 4, 16, 256])
@pytest.mark.parametrize("dist", DISTS)
def test_mean_and_variance_of_a_visit(dist, lam, n_active):
    n = 100_000
    lengths = VisitLength(lam, dist, n_active).sample(np.random.default_rng(1), n)
    assert lengths.min() >= 1
    variance = {"constant": 0, "poisson": lam - 1, "binomial": (lam - 1) * (1 - 1 / n_active)}[dist]
    if variance == 0:
        assert (lengths == lam).all()
        return
    kurtosis = float(law(lam, dist, n_active).stats("k"))
    z = stats.norm.ppf(1 - (1 - SURE) / 2)
    assert abs(lengths.mean() - lam) < z * np.sqrt(variance / n)
    assert abs(lengths.var() - variance) < z * variance * np.sqrt((kurtosis + 2) / n)


@pytest.mark.parametrize(
    ("lam", "n_active"), [(4096, 524_287), (4096, 600_000), (256, 10**7), (5000, 4), (64, 300_000)]
)
def test_mean_and_variance_of_visits_of_many_trials(lam, n_active):
    n = 20_000
    lengths = VisitLength(lam, "binomial", n_active).sample(np.random.default_rng(0), n)
    variance = (lam - 1) * (1 - 1 / n_active)
    z = stats.norm.ppf(1 - (1 - SURE) / 2)
    assert abs(lengths.mean() - lam) < z * np.sqrt(variance / n)
    assert abs(lengths.var() - variance) < z * variance * np.sqrt(2.1 / n)  # their kurtosis is all but a normal one's


@pytest.mark.parametrize("n_active", [1, 3])
@pytest.mark.parametrize("lam", [4, 16])
@pytest.mark.parametrize("dist", ["poisson", "binomial"])
def test_law_of_a_visit(dist, lam, n_active):
    n = 100_000
    lengths = VisitLength(lam, dist, n_active).sample(np.random.default_rng(0), n)
    values = np.arange(lengths.max() + 1)
    expected = n * law(lam, dist, n_active).pmf(values)
    common = expected >= 5
    observed = np.append(np.bincount(lengths)[common], np.bincount(lengths)[~common].sum())
    expected = np.append(expected[common], n - expected[common].sum())
    if expected[-1] < 5:
        observed[-2:-1], expected[-2:-1] = observed[-2:].sum(), expected[-2:].sum()
        observed, expected = observed[:-1], expected[:-1]
    assert observed.sum() == n
    assert np.sum((observed - expected) ** 2 / expected) <= stats.chi2.ppf(SURE, max(len(expected) - 1, 1))


@pytest.mark.parametrize("lam", [1.25, 2.5, 17.75])
@pytest.mark.parametrize("dist", ["poisson", "binomial"])
def test_mean_of_a_visit_holds_between_whole_numbers(dist, lam):
    n = 100_000
    lengths = VisitLength(lam, dist, 3).sample(np.random.default_rng(0), n)
    # 1 + Poisson(lam - 1) has variance lam - 1; the binomial has less
    assert abs(lengths.mean() - lam) < stats.norm.ppf(1 - 5e-7) * np.sqrt((lam - 1) / n)
    assert lengths.min() >= 1


@pytest.mark.parametrize("dist", DISTS)
def test_lam_of_one_is_one_item(dist):
    assert (VisitLength(1, dist, 4).sample(np.random.default_rng(0), 100) == 1).all()


@pytest.mark.parametrize("dist", DISTS)
def test_no_lam_is_without_end(dist):
    assert (VisitLength(None, dist, 4).sample(np.random.default_rng(0), 3) == UNTIL_EXHAUSTED).all()


def test_binomial_with_one_active_is_constant():
    assert (VisitLength(17, "binomial", 1).sample(np.random.default_rng(0), 1000) == 17).all()


# -- checks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 0.5, -1, np.nan, np.inf, "x", [4], True, 2**31])
@pytest.mark.parametrize("dist", DISTS)
def test_bad_lam_is_refused(bad, dist):
    with pytest.raises(ValueError, match="lam"):
        check_lam(bad, dist)


def test_a_constant_lam_is_whole():
    check_lam(2.0, "constant")
    check_lam(2.5, "poisson")
    with pytest.raises(ValueError, match="whole"):
        check_lam(2.5, "constant")


@pytest.mark.parametrize("good", [None, 1, 1.0, np.float32(3), np.int64(3), 1e9])
def test_good_lam_passes(good):
    check_lam(good, "poisson")


@pytest.mark.parametrize("bad", [0, -1, 1.0, "2", None, True])
def test_bad_counts_are_refused(bad):
    with pytest.raises(ValueError, match="n_things must be an int of at least 1"):
        check_count("n_things", bad)


@pytest.mark.parametrize("bad", ["A", "", None, 1, ["a"], np.array(["a"])])
def test_unknown_options_are_refused_with_the_known_ones(bad):
    with pytest.raises(ValueError, match="kind must be one of 'a', 'b'"):
        check_option("kind", bad, ("a", "b"))


# -- weights ------------------------------------------------------------------------------------------------------------------


@given(weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e12)), min_size=1, max_size=20))
@settings(max_examples=200, derandomize=True)
def test_weights_become_shares(weights):
    if not any(weights):
        weights[0] = 1.0
    given_array = np.array(weights)
    shares = check_weights(given_array, len(weights))
    assert given_array.tolist() == weights
    assert not np.shares_memory(shares, given_array)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, given_array / given_array.sum(), rtol=1e-9)


@pytest.mark.parametrize("weights", [[1, 3], (1, 3), np.array([1, 3]), np.array([1, 3], np.uint8), [0.5, 1.5]])
def test_weights_of_any_kind_are_read(weights):
    assert check_weights(weights, 2).tolist() == [0.25, 0.75]


def test_no_weights_are_equal_ones():
    assert check_weights(None, 4).tolist() == [0.25] * 4


def test_huge_weights_do_not_overflow():
    assert check_weights([1.7e308, 1.7e308], 2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("weights", [[1e200, 1e-200], [1.0, 5e-324], [1.7e308, 5e-324, 1.0]])
def test_a_positive_weight_stays_positive(weights):
    # else an exhaustive mux would leave out a stream "of positive weight"
    assert (check_weights(weights, len(weights)) > 0).all()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, -1], "-1.0 for stream 1"),
        ([np.nan, 1], "nan for stream 0"),
        ([1, np.inf], "inf for stream 1"),
        ([0, 0], "not all be zero"),
        ([1], r"shape \(1,\)"),
        ([[1, 1]], r"shape \(1, 2\)"),
        (1.0, "shape"),
        (["a", "b"], "numbers"),
        ([None, {}], "numbers"),
    ],
)
def test_bad_weights_are_refused(weights, said):
    with pytest.raises(ValueError, match=f"own_weights .*{said}"):
        check_weights(weights, 2, "own_weights")


# -- distinct streams: inclusion probabilities and odds ----------------------------------------------------------------------


def shares_strategy(max_size):
    weights = st.lists(st.integers(0, 1000), min_size=1, max_size=max_size).filter(any)
    return weights.map(lambda w: np.array(w) / sum(w))


@given(shares=shares_strategy(12), n_active=st.integers(1, 14))
@settings(max_examples=200, derandomize=True)
def test_inclusion_is_proportional_to_the_share_up_to_the_cap(shares, n_active):
    inclusion = inclusion_probabilities(shares, n_active)
    n = min(n_active, np.count_nonzero(shares))
    if n == np.count_nonzero(shares):
        expected = (shares > 0).astype(float)
    else:  # min(1, c * share) for the c at which they sum to n
        smallest = shares[shares > 0].min()
        c = optimize.brentq(lambda c: np.minimum(1, c * shares).sum() - n, 0, n / smallest + 1, xtol=1e-13, rtol=1e-14)
        expected = np.minimum(1, c * shares)
    np.testing.assert_allclose(inclusion, expected, atol=1e-9)


def test_inclusion_by_hand():
    assert inclusion_probabilities(np.array([0.8, 0.1, 0.1]), 2).tolist() == [1, 0.5, 0.5]
    assert inclusion_probabilities(np.array([0.5, 0.3, 0.2]), 1).tolist() == [0.5, 0.3, 0.2]
    assert inclusion_probabilities(np.array([0.5, 0.3, 0.2, 0]), 3).tolist() == [1, 1, 1, 0]


def enumerated(odds, n):
    """Inclusion probabilities when a set of n has a chance proportional to the product of its members' odds."""
    total, each = 0.0, np.zeros(len(odds))
    for members in itertools.combinations(range(len(odds)), n):
        chance = np.prod(odds[list(members)])
        total += chance
        each[list(members)] += chance
    return each / total


def assert_odds_reach(inclusion):
    odds = conditional_poisson_odds(inclusion.copy())
    assert np.isfinite(odds).all()
    reached = enumerated(odds / odds.max(), round(inclusion.sum()))
    np.testing.assert_allclose(reached, inclusion, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "inclusion",
    [
        [0.6, 0.4],
        [0.9, 0.1],
        [0.5, 0.5],
        [0.7, 0.2, 0.1],
        [0.999, 0.6, 0.401],
        [0.74, 0.2599, 0.0001],
        [0.8, 0.6, 0.4, 0.2],
        [0.99, 0.97, 0.03, 0.01],
        [0.95, 0.9, 0.7, 0.25, 0.1, 0.1],
    ],
)
def test_odds_reach_the_inclusion_probabilities(inclusion):
    assert_odds_reach(np.array(inclusion))


@given(shares=shares_strategy(9), n_active=st.integers(1, 8))
@settings(max_examples=150, derandomize=True)
def test_odds_reach_whatever_inclusion_probabilities(shares, n_active):
    inclusion = inclusion_probabilities(shares, n_active)
    free = inclusion[(inclusion > 0) & (inclusion < 1)]
    if free.size:
        assert_odds_reach(free)


@pytest.mark.parametrize("small", [1e-6, 3e-9, 1e-11])
def test_odds_of_a_rare_stream_are_finite(small):
    assert_odds_reach(np.array([1 - small, small]))
    assert_odds_reach(np.array([1 - small, 0.5, 0.5, small]))


@pytest.mark.parametrize(("n_streams", "n_active"), [(200, 3), (60, 40)])
def test_odds_of_many_streams(n_streams, n_active):
    weights = 1 / np.arange(1, n_streams + 1) ** 0.7
    inclusion = inclusion_probabilities(weights / weights.sum(), n_active)
    free = inclusion[inclusion < 1]
    n = round(free.sum())
    odds = conditional_poisson_odds(free.copy())
    odds /= np.sort(odds)[-n:].prod() ** (1 / n)

    def sums(odds):
        """Elementary symmetric sums: of all products of j odds."""
        e = np.zeros(n + 1)
        e[0] = 1
        for o in odds:
            e[1:] += o * e[:-1]
        return e

    total = sums(odds)[n]
    reached = [odds[i] * sums(np.delete(odds, i))[n - 1] / total for i in range(len(odds))]
    np.testing.assert_allclose(reached, free, rtol=1e-6)
