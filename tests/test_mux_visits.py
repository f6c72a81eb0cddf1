"""Visits of muxes: their seeds, and the time until a stream is replaced."""

import numpy as np
import pytest
from scipy import stats

from streamlearn import ChainMux, StochasticMux, Streamer, from_arrays

SURE = 1 - 1e-6  # each statistical test below fails by chance once in a million


def seeds_of_visits(n_streams=4, n_items=400, **kwargs):
    """Seeds of the visits of each stream, in their order."""
    log = {i: [] for i in range(n_streams)}

    def seeded(i, random_state, rng):
        log[i].append((random_state, rng.integers(2**62)))
        while True:
            yield i

    kwargs = {"n_active": 2, "lam": 4, "random_state": 0, **kwargs}
    n_passes = kwargs.pop("n_passes", 1)
    stream = StochasticMux([Streamer(seeded, i) for i in range(n_streams)], **kwargs)
    for _ in range(n_passes):
        list(stream.generate(n_items))
    return log


@pytest.mark.parametrize(
    "changes",
    [
        {"n_active": 1},
        {"n_active": 4},
        {"n_active": 9},
        {"lam": 1},
        {"lam": 11},
        {"dist": "constant"},
        {"dist": "binomial"},
        {"mode": "single_active"},
        {"mode": "once"},
        {"pool_weights": [1, 2, 3, 4]},
        {"n_streams": 6},
    ],
    ids=str,
)
def test_seeds_of_visits_do_not_depend_on_their_order(changes):
    reference = seeds_of_visits(n_items=2000)
    changed = seeds_of_visits(**changes)
    assert sum(map(len, changed.values())) >= 4
    for i, seeds in reference.items():
        assert changed[i] == seeds[: len(changed[i])]


def test_every_visit_has_seeds_of_its_own():
    one, other = seeds_of_visits(n_passes=2), seeds_of_visits(random_state=1)
    seeds = [seed for log in (one, other) for visits in log.values() for seed in visits]
    assert len(seeds) > 200
    assert len({random_state for random_state, _ in seeds}) == len(seeds)
    assert len({number for _, number in seeds}) == len(seeds)


def test_seeds_reach_through_nested_muxes():
    def passes(random_state):
        inner = StochasticMux([Streamer(lambda rng: iter(rng.random(3).tolist()))] * 2, 1, 2)
        outer = StochasticMux([inner, ChainMux([inner])], 2, 3, random_state=random_state)
        return list(outer.generate(50)), list(outer.generate(50))

    assert passes(0) == passes(0)
    first, second = passes(0)
    assert not set(first) & set(second)
    assert not set(first) & set(passes(1)[0])
    assert passes(None) != passes(None)


def spans_of_generators(mode, n_streams, n_active, lam, n_items):
    """Index of the first and last item of each visit, told by the generators."""
    now, spans = [0], []

    def watched():
        span = [now[0], now[0], 0]
        spans.append(span)
        while True:
            span[1:] = now[0], span[2] + 1
            yield

    streams = [Streamer(watched) for _ in range(n_streams)]
    stream = StochasticMux(streams, n_active, lam, mode=mode, dist="constant", random_state=3)
    for _ in stream.generate(n_items):
        now[0] += 1
    return [(first, last) for first, last, count in spans if count == lam]


def spans_of_arrays(mode, n_streams, n_active, lam, n_items):
    """The same from the items alone: of distinct active streams, ``lam`` items of one are a visit."""
    assert mode == "single_active"
    pool = from_arrays(np.repeat(np.arange(n_streams), 5)[:, None], n_streams=n_streams)
    stream = StochasticMux(pool, n_active, lam, mode=mode, dist="constant", random_state=3)
    who = np.array([item["X"][0] for item in stream.generate(n_items)])
    spans = []
    for i in range(n_streams):
        at = np.flatnonzero(who == i)
        at = at[: len(at) // lam * lam].reshape(-1, lam)
        spans += zip(at[:, 0].tolist(), at[:, -1].tolist(), strict=True)
    return spans


def times_to_replacement(spans, n_active, n_visits, rng):
    """Number of mux items from an activation to its replacement, of the first visits of each slot.

    From outside one cannot see which of the free slots a new stream has taken; but slots are drawn evenly, so it is each of
    them with equal chance, whatever has been seen before. Drawing one keeps the law of the times. Taking the same number
    of visits from each slot keeps short visits from being preferred.
    """
    free = [(slot, 0) for slot in range(n_active)]  # with the number of items at activation
    times = [[] for _ in range(n_active)]
    ends = []
    for first, last in sorted(spans):
        while ends and ends[0][0] < first:
            replaced, slot = ends.pop(0)
            free.append((slot, replaced + 1))
        slot, activated = free.pop(rng.integers(len(free)))
        times[slot].append(last + 1 - activated)
        ends.append((last, slot))
        ends.sort()
    assert min(map(len, times)) >= n_visits
    return np.concatenate([taken[:n_visits] for taken in times])


@pytest.mark.parametrize(("n_active", "lam"), [(1, 4), (2, 4), (3, 16), (8, 4), (8, 2)])
@pytest.mark.parametrize(
    ("spans", "mode"),
    [
        (spans_of_generators, "with_replacement"),
        (spans_of_generators, "single_active"),
        (spans_of_arrays, "single_active"),
    ],
    ids=["generators with replacement", "generators single active", "arrays single active"],
)
def test_time_to_replacement_is_negative_binomial(spans, mode, n_active, lam):
    n_visits = 3000 // n_active
    n_items = int(n_visits * lam * n_active * 1.3) + 200
    found = spans(mode, 12, n_active, lam, n_items)
    times = times_to_replacement(found, n_active, n_visits, np.random.default_rng(0))
    n = len(times)
    if n_active == 1:
        assert (times == lam).all()
        return
    # lam draws of one slot out of n_active: lam successes, and the failures before them
    law = stats.nbinom(lam, 1 / n_active, loc=lam)
    mean, variance = lam * n_active, lam * n_active * (n_active - 1)
    assert float(law.mean()) == pytest.approx(mean)
    assert float(law.var()) == pytest.approx(variance)
    z = stats.norm.ppf(1 - (1 - SURE) / 2)
    assert abs(times.mean() - mean) < z * np.sqrt(variance / n)
    assert abs(times.var() - variance) < z * variance * np.sqrt((float(law.stats("k")) + 2) / n)
    edges = np.unique(law.ppf(np.linspace(0, 1, 21)[1:-1]))
    chances = np.diff(law.cdf(edges), prepend=0, append=1)
    observed = np.bincount(np.searchsorted(edges, times), minlength=len(chances))
    assert stats.chisquare(observed, n * chances).statistic < stats.chi2.ppf(SURE, len(chances) - 1)
