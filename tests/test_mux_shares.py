"""Weights that hold: shares of muxes against renewal theory, and their items against a mux written per item.

How a share is judged. In ``n_items`` items there are about ``V = n_items / E[L]`` visits, ``L`` being the number of items of a
visit. Visits are drawn independently, so that the share of stream i is the ratio of two sums over visits, that of
``L 1(stream is i)`` and that of ``L``. By the renewal-reward theorem and its central limit theorem the vector of shares is
normal about the weights ``w`` with covariance ``C / V``::

    C = sum_j q_j E[L_j ** 2] (e_j - w) (e_j - w)' / E[L] ** 2      q_j: chance of a visit to be of j, ∝ w_j / E[L_j]

The standard error of share i is ``sqrt(C_ii / V)``, and ``V (S - w)' C^+ (S - w)`` is chi-square with one degree of freedom
less than there are streams. With as many cells as here, three standard errors are passed by chance: in 0.27 % of them. So
each cell has to pass the chi-square at a level of one in a million for all cells of a test together (Bonferroni), the sum
of all chi-squares has to, no stream may be off in one direction throughout (the sum of its deviations over all cells), and
for each stream the number of cells in which its share is off by more than three standard errors must be what is expected of
0.27 % (a binomial quantile). Nothing is tuned; seeds are fixed.
"""

import itertools
import warnings

import numpy as np
import pytest
from scipy import optimize, stats

from streamlearn import ShuffledMux, StochasticMux, Streamer, from_arrays

RARE = 1e-6  # each test fails by chance about once in a million
ZIPF = 1 / np.arange(1, 51)
WEIGHTS = {"0.8/0.1/0.1": [0.8, 0.1, 0.1], "0.5/0.3/0.2": [0.5, 0.3, 0.2], "zipf 50": (ZIPF / ZIPF.sum()).tolist()}
N_ACTIVE = [1, 2, 3, 8]
LAMS = [4, 16, 256]
DISTS = ["poisson", "constant", "binomial"]


def visit_law(lam, dist, n_active):
    """Chances of the lengths 0, 1, 2, ... of a visit that its stream does not cut short."""
    lengths = np.arange(4 * lam + 60)
    if dist == "constant":
        return (lengths == lam).astype(float)
    if dist == "poisson":
        return stats.poisson.pmf(lengths - 1, lam - 1)
    return stats.binom.pmf(lengths - 1, (lam - 1) * n_active, 1 / n_active)


def moments(law, stream_lengths):
    """``E[L_j]`` and ``E[L_j ** 2]`` of visits that end with the stream, at the latest."""
    cut = np.minimum(np.arange(len(law))[:, None], np.asarray(stream_lengths, float)[None, :])
    return law @ cut, law @ cut**2


def covariance(weights, first, second):
    """``C`` of the module's docstring, and ``E[L]``."""
    q = weights / first
    q /= q.sum()
    mean = q @ first
    deviations = np.eye(len(weights)) - weights
    return (deviations.T * (q * second)) @ deviations / mean**2, mean


def counts_pulled(stream, n_warm, n_items, n_streams):
    iterator = stream.generate(n_warm + n_items)
    for _ in itertools.islice(iterator, n_warm):
        pass
    return np.bincount(np.fromiter(iterator, np.intp, n_items), minlength=n_streams)


def counts_by_block(stream, n_warm, n_items, n_streams):
    iterator = stream._start(None, (0,))
    for left in range(n_warm, 0, -20_000):
        iterator.take(min(left, 20_000))
    counts = np.zeros(n_streams, np.intp)
    for left in range(n_items, 0, -20_000):
        counts += np.bincount(iterator.take(min(left, 20_000))[1], minlength=n_streams)
    iterator.close()
    return counts


def endless(n_streams, lam):
    return [Streamer(itertools.repeat, i) for i in range(n_streams)], np.full(n_streams, np.inf)


def short(n_streams, lam):
    """Generators of different lengths, all of them shorter than lam."""
    lengths = lam // 4 + np.arange(n_streams) % 3 * (lam // 4)
    return [Streamer(itertools.repeat, i, int(n)) for i, n in enumerate(lengths)], lengths


def arrays(n_rows):
    # visits run on into the next pass: none is cut short
    def make(n_streams, lam):
        labels = np.repeat(np.arange(n_streams), n_rows)
        return from_arrays(labels[:, None], n_streams=n_streams), np.full(n_streams, np.inf)

    return make


# How many visits are counted, by lam. Generators are pulled one by one, blocks are fast.
VISITS_PULLED = {4: 3000, 16: 1500, 256: 400}
VISITS_BY_BLOCK = {4: 20_000, 16: 8000, 256: 1500}
KINDS = {
    "endless generators": (endless, counts_pulled, VISITS_PULLED),
    "generators shorter than lam": (short, counts_pulled, VISITS_PULLED),
    "arrays of 3 rows": (arrays(3), counts_by_block, VISITS_BY_BLOCK),
    "arrays of 1000 rows": (arrays(1000), counts_by_block, VISITS_BY_BLOCK),
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("kind", KINDS)
def test_shares_hold_for_every_n_active_and_lam(weights, kind):
    make, count, n_visits = KINDS[kind]
    weights = np.array(weights)
    n_streams = len(weights)
    deviations, statistics = [], []
    cells = list(itertools.product(N_ACTIVE, LAMS, DISTS))
    for seed, (n_active, lam, dist) in enumerate(cells):
        streams, lengths = make(n_streams, lam)
        C, mean = covariance(weights, *moments(visit_law(lam, dist, n_active), lengths))
        V = n_visits[lam]
        n_items = round(V * mean)
        # The first visits, in which the lengths of short streams are learned, are not "the long run".
        n_warm = n_items if np.isfinite(lengths).any() else 0
        stream = StochasticMux(streams, n_active, lam, pool_weights=weights, dist=dist, random_state=seed)
        shares = count(stream, n_warm, n_items, n_streams) / n_items
        off = shares - weights
        deviations.append(off / np.sqrt(np.diag(C) / V))
        statistics.append(V * off @ np.linalg.pinv(C, hermitian=True) @ off)
    df = n_streams - 1
    worst = int(np.argmax(statistics))
    assert statistics[worst] < stats.chi2.ppf(1 - RARE / len(cells), df), cells[worst]
    assert sum(statistics) < stats.chi2.ppf(1 - RARE, df * len(cells))
    # and the criterion is not too wide: shares are as far off as they should be
    assert sum(statistics) > stats.chi2.ppf(RARE, df * len(cells))
    # no stream is off in one direction throughout
    together = np.abs(np.sum(deviations, axis=0)) / np.sqrt(len(cells))
    assert together.max() < stats.norm.ppf(1 - RARE / (2 * n_streams)), together
    beyond = (np.abs(deviations) > 3).sum(axis=0)
    allowed = stats.binom.ppf(1 - RARE / n_streams, len(cells), 2 * stats.norm.sf(3))
    assert (beyond <= allowed).all(), beyond


@pytest.mark.parametrize("kind", ["endless generators", "arrays of 3 rows"])
def test_the_shares_that_pescador_gives_are_refused_by_this_criterion(kind):
    """0.34 at n_active=1 instead of 0.8: the criterion can fail."""
    make, count, _ = KINDS[kind]
    streams, lengths = make(3, 8)
    weights = np.array([0.8, 0.1, 0.1])
    C, _ = covariance(weights, *moments(visit_law(8, "poisson", 1), lengths))
    stream = StochasticMux(streams, 1, 8, pool_weights=[0.34, 0.33, 0.33], random_state=0)
    off = count(stream, 0, 8 * 1000, 3) / 8000 - weights
    assert 1000 * off @ np.linalg.pinv(C, hermitian=True) @ off > stats.chi2.ppf(1 - RARE, 2)


# -- unusual streams ----------------------------------------------------------------------------------------------------------


def test_visits_of_random_lengths_are_corrected_for():
    def geometric(i, rng):
        for _ in range(rng.geometric([0.5, 0.02, 0.1][i])):
            yield i

    weights = np.array([0.2, 0.5, 0.3])
    n_items, lam = 300_000, 1000
    stream = StochasticMux([Streamer(geometric, i) for i in range(3)], 2, lam, pool_weights=weights, random_state=0)
    shares = counts_pulled(stream, 100_000, n_items, 3) / n_items
    p = np.array([0.5, 0.02, 0.1])
    # geometric lengths: mean 1/p, second moment (2 - p) / p**2; lam never cuts them
    C, mean = covariance(weights, 1 / p, (2 - p) / p**2)
    off = shares - weights
    assert n_items / mean * off @ np.linalg.pinv(C, hermitian=True) @ off < stats.chi2.ppf(1 - RARE, 2)


def assert_mean_shares(samples, expected):
    """Shares of independent runs: each stream's mean within its standard error, for all streams together."""
    samples, expected = np.array(samples), np.asarray(expected)
    n_runs, n_streams = samples.shape
    error = samples.std(axis=0, ddof=1) / np.sqrt(n_runs)
    limit = stats.t.ppf(1 - RARE / (2 * n_streams), n_runs - 1)
    assert (np.abs(samples.mean(axis=0) - expected) <= limit * error + 1e-12).all(), (samples.mean(axis=0), expected)
    # the test is sharp enough to see a share that is off by a fifth of the largest
    assert (limit * error < 0.2 * expected.max()).all()


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
@pytest.mark.parametrize("n_active", [1, 2])
@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_without_lam_shares_hold_among_streams_that_end(mode, n_active, kind):
    weights = [0.4, 0.3, 0.2, 0.1]
    lengths = [5, 20, 10, 40]
    if kind == "generators":
        streams, count = [Streamer(itertools.repeat, i, n) for i, n in enumerate(lengths)], counts_pulled
    else:
        labels = np.repeat(np.arange(4), lengths)
        streams, count = from_arrays(labels[:, None], by=labels), counts_by_block
    runs = []
    for seed in range(30):
        stream = StochasticMux(streams, n_active, None, pool_weights=weights, mode=mode, random_state=seed)
        runs.append(count(stream, 4000, 12_000, 4) / 12_000)
    assert_mean_shares(runs, stream.expected_proportions())


def test_without_lam_shares_of_endless_streams_are_those_of_the_active_ones():
    weights = np.array([1, 2, 3, 4])
    for seed in range(20):
        streams = [Streamer(itertools.repeat, i) for i in range(4)]
        stream = StochasticMux(streams, 2, None, pool_weights=weights, mode="single_active", random_state=seed)
        counts = counts_pulled(stream, 0, 3000, 4)
        active = counts > 0
        assert active.sum() == 2
        expected = 3000 * weights[active] / weights[active].sum()
        statistic = ((counts[active] - expected) ** 2 / expected).sum()
        assert statistic < stats.chi2.ppf(1 - RARE / 20, 1)


@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_shuffled_mux_draws_items_by_weight(kind):
    weights = np.array([5, 3, 2, 0])
    if kind == "generators":
        streams, count = [Streamer(itertools.repeat, i, 7) for i in range(4)], counts_pulled
    else:
        streams, count = from_arrays(np.repeat(np.arange(4), 7)[:, None], n_streams=4), counts_by_block
    counts = count(ShuffledMux(streams, pool_weights=weights, random_state=0), 0, 100_000, 4)
    assert counts[3] == 0
    expected = 100_000 * weights[:3] / 10  # independent draws, each item of its own
    assert ((counts[:3] - expected) ** 2 / expected).sum() < stats.chi2.ppf(1 - RARE, 2)


@pytest.mark.parametrize("mode", ["once", "exhaustive"])
@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_in_the_modes_that_end_shares_hold_while_the_streams_last(mode, kind):
    """All streams active and long: items are drawn by weight from all of them, independently."""
    weights = np.array([0.5, 0.3, 0.2])
    if kind == "generators":
        streams, count = [Streamer(itertools.repeat, i) for i in range(3)], counts_pulled
    else:
        streams, count = from_arrays(np.repeat(np.arange(3), 50_000)[:, None], n_streams=3), counts_by_block
    stream = StochasticMux(streams, 3, 2**30, pool_weights=weights, mode=mode, random_state=0)
    counts = count(stream, 0, 40_000, 3)
    assert ((counts - 40_000 * weights) ** 2 / (40_000 * weights)).sum() < stats.chi2.ppf(1 - RARE, 2)


@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_the_ending_modes_activate_in_proportion_to_weight(kind):
    """n_active=1: the first stream is drawn by weight, the second by weight among the others (without replacement)."""
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    observed = np.zeros((4, 4))
    n_runs = 3000
    pool = [[i] for i in range(4)] if kind == "generators" else from_arrays(np.arange(4)[:, None], n_streams=4)
    stream = StochasticMux(pool, 1, None, pool_weights=weights, mode="exhaustive", random_state=0)
    for _ in range(n_runs):
        first, second, _, _ = (item if kind == "generators" else int(item["X"][0]) for item in stream)
        observed[first, second] += 1
    expected = n_runs * weights[:, None] * weights[None, :] / (1 - weights[:, None])
    different = ~np.eye(4, dtype=bool)
    assert not np.diag(observed).any()
    statistic = ((observed - expected) ** 2 / expected)[different].sum()
    assert statistic < stats.chi2.ppf(1 - RARE, different.sum() - 1)


# -- single_active ------------------------------------------------------------------------------------------------------------


def reachable(weights, n_active):
    """min(1, c w) / n_active, with the c at which the inclusion probabilities sum to n_active."""
    n_active = min(n_active, np.count_nonzero(weights))
    if n_active == np.count_nonzero(weights):
        return (weights > 0) / n_active
    top = n_active / weights[weights > 0].min() + 1
    c = optimize.brentq(lambda c: np.minimum(1, c * weights).sum() - n_active, 0, top, xtol=1e-14)
    return np.minimum(1, c * weights) / n_active


HARMONIC = ZIPF[:12].tolist()


@pytest.mark.parametrize("kind", ["endless", "short", "arrays"])
@pytest.mark.parametrize(
    ("weights", "n_active"),
    [
        ([0.8, 0.1, 0.1], 1),
        ([0.8, 0.1, 0.1], 2),
        ([0.5, 0.3, 0.2], 2),
        ([0.5, 0.3, 0.2], 5),
        ([0.4, 0.3, 0.2, 0.1], 2),
        ([0.4, 0.3, 0.2, 0.1], 3),
        ([0.35, 0.3, 0.2, 0.1, 0.05, 0], 2),
        ([0.35, 0.3, 0.2, 0.1, 0.05, 0], 4),
        (HARMONIC, 1),
        (HARMONIC, 3),
        (HARMONIC, 8),
        (HARMONIC, 11),
    ],
    ids=lambda value: "harmonic" if value is HARMONIC else str(value),
)
def test_single_active_gives_the_expected_proportions(weights, n_active, kind):
    weights = np.array(weights) / np.sum(weights)
    n_streams, lam, n_runs = len(weights), 8, 32
    make = {"endless": endless, "short": short, "arrays": arrays(7)}[kind]
    streams, _ = make(n_streams, lam)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pool_weights cannot hold")  # tested by test_mux.py
        stream = StochasticMux(streams, n_active, lam, pool_weights=weights, mode="single_active", random_state=0)
    expected = stream.expected_proportions()
    np.testing.assert_allclose(expected, reachable(weights, n_active), atol=1e-9)
    # Stretches of one pass that are this much longer than a visit are as good as independent.
    n_items = 400 * lam
    iterator = stream._start(None, (0,))
    runs = []
    for _ in range(1 + n_runs):
        if kind == "arrays":
            who = iterator.take(n_items)[1]
        else:
            who = np.fromiter(itertools.islice(iterator, n_items), np.intp, n_items)
        runs.append(np.bincount(who, minlength=n_streams) / n_items)
    iterator.close()
    assert_mean_shares(runs[1:], expected)


# -- against a mux written per item -------------------------------------------------------------------------------------------


def twin(weights, n_active, lam, dist, rng, n_items):
    """with_replacement over endless streams, as simple as can be; yields (stream, item of the visit)."""

    def activate():
        n = lam if dist == "constant" else 1 + rng.poisson(lam - 1)
        return [rng.choice(len(weights), p=weights), n]

    slots = [activate() for _ in range(n_active)]
    out = []
    for _ in range(n_items):
        slot = rng.integers(n_active)
        out.append(int(slots[slot][0]))
        slots[slot][1] -= 1
        if slots[slot][1] == 0:
            slots[slot] = activate()
    return out


N_WINDOWS = 2000
WINDOW = 4


def patterns(make_run, start):
    """How often each sequence of WINDOW streams stood at ``start``, in many runs."""
    counts = np.zeros(3**WINDOW)
    for run in range(N_WINDOWS):
        items = make_run(run, start + WINDOW)[start:]
        counts[int("".join(map(str, items)), 3)] += 1
    return counts


def assert_same_law(one, other):
    """Two-sample chi-square over the patterns, the rare ones together."""
    common = one + other >= 20
    table = np.array([np.append(counts[common], counts[~common].sum()) for counts in (one, other)])
    table = table[:, table.sum(axis=0) > 0]
    statistic, _, df, _ = stats.chi2_contingency(table, correction=False)
    assert df > 10
    assert statistic < stats.chi2.ppf(1 - RARE, df)


@pytest.mark.parametrize(("n_active", "lam", "dist"), [(1, 3, "poisson"), (2, 3, "poisson"), (3, 2, "constant")])
def test_items_follow_the_law_of_a_mux_written_per_item(n_active, lam, dist):
    weights = np.array([0.5, 0.3, 0.2])
    start = 5
    reference = patterns(lambda run, n: twin(weights, n_active, lam, dist, np.random.default_rng(run), n), start)
    arguments = {"n_active": n_active, "lam": lam, "dist": dist, "pool_weights": weights, "random_state": 0}
    pulled = StochasticMux([Streamer(itertools.repeat, i) for i in range(3)], **arguments)
    planned = StochasticMux(from_arrays(np.repeat(np.arange(3), 2)[:, None], n_streams=3), **arguments)
    mixed = StochasticMux(
        [*(Streamer(itertools.repeat, {"X": [i]}) for i in range(2)), from_arrays(np.full((3, 1), 2))[0]], **arguments
    )
    assert_same_law(reference, patterns(lambda run, n: list(pulled.generate(n)), start))
    assert_same_law(reference, patterns(lambda run, n: [int(item["X"][0]) for item in planned.generate(n)], start))
    assert_same_law(reference, patterns(lambda run, n: [int(item["X"][0]) for item in mixed.generate(n)], start))


@pytest.mark.parametrize("kind", ["generators", "arrays"])
@pytest.mark.parametrize("n_active", [1, 2, 3])
def test_neighbours_are_of_one_stream_as_often_as_they_should_be(n_active, kind):
    """Far from the start, where blocks of a plan meet as well.

    Two items in a row come from one slot with chance 1/n_active, and then the visit went on with chance 1 - 1/lam (a visit
    that gives an item ends with it with chance 1/lam, far from the start); else their streams are drawn independently.
    """
    weights, lam = np.array([0.5, 0.3, 0.2]), 4
    again = weights @ weights
    chance = (1 - 1 / lam + again / lam) / n_active + (1 - 1 / n_active) * again
    arguments = {"n_active": n_active, "lam": lam, "pool_weights": weights}
    n_runs, n_items = (400, 1200) if kind == "generators" else (500, 4000)
    if kind == "generators":
        streams = [Streamer(itertools.repeat, i) for i in range(3)]
    else:
        streams = from_arrays(np.repeat(np.arange(3), 5)[:, None], n_streams=3)
    same = np.zeros(n_items - 1)
    for seed in range(n_runs):
        stream = StochasticMux(streams, random_state=seed, **arguments)
        if kind == "generators":
            items = np.fromiter(stream.generate(n_items), int, n_items)
        else:
            items = stream._start(None, (0,)).take(n_items)[1]
        same += items[1:] == items[:-1]
    settled = same[20 * lam * n_active :]
    rare = RARE / (2 * len(settled))
    assert settled.min() >= stats.binom.ppf(rare, n_runs, chance)
    assert settled.max() <= stats.binom.ppf(1 - rare, n_runs, chance)


@pytest.mark.parametrize("lengths", [(1, 50), (2, 3), (30, 1)])
@pytest.mark.parametrize("kind", ["generators", "arrays"])
def test_without_lam_a_visit_that_is_over_takes_nothing_from_its_share(lengths, kind):
    """All streams are active: each item is of the first one with the chance of its weight, whatever came before."""
    streams = [[position] * n for position, n in enumerate(lengths)]
    if kind == "arrays":
        streams = [from_arrays(np.array(items)[:, None])[0] for items in streams]
    stream = StochasticMux(streams, 2, None, mode="single_active", pool_weights=[3, 1], random_state=0)
    iterator = stream._start(None, (0,))
    n = 20_000
    first = sum(iterator.position == 0 for _ in itertools.islice(iterator, n))
    assert stats.binom.ppf(RARE / 2, n, 0.75) <= first <= stats.binom.ppf(1 - RARE / 2, n, 0.75)
