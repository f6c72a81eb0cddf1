"""Muxes of muxes of arrays: planned together, they give what muxes give that are started anew at each visit."""

from __future__ import annotations

import copy
import itertools
import pickle
import tracemalloc
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.linear_model import SGDClassifier

from streamlearn import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    from_arrays,
)
from streamlearn._array_reader import Table
from streamlearn._arrays import ArrayStream
from tests.nested_muxes import SIZE, children, leaves, rows_of

RARE = 1e-9


def check_cursors(rows, size=SIZE):
    """Each array has one cursor over its rows in order."""
    places = Counter()
    for *stream, row in rows:
        assert row == places[tuple(stream)] % size
        places[tuple(stream)] += 1


@settings(max_examples=60)
@given(
    n_children=st.integers(1, 6),
    n_active=st.integers(1, 3),
    inner_active=st.integers(1, 4),
    lam=st.sampled_from([1, 2, 7, 40, 3000]),
    inner_lam=st.sampled_from([1, 2.5, 8, 100]),
    kind=st.sampled_from([StochasticMux, ShuffledMux]),
    random_state=st.integers(0, 99),
)
def test_arrays_go_on_from_visit_to_visit(n_children, n_active, inner_active, lam, inner_lam, kind, random_state):
    pool = children(n_children, 3, inner_active, inner_lam, kind, shuffle=False)
    check_cursors(rows_of(StochasticMux(pool, n_active, lam, random_state=random_state), 4000))


@settings(max_examples=40)
@given(lam=st.sampled_from([1, 5, 12, 600]), inner_lam=st.integers(1, 9), random_state=st.integers(0, 99))
def test_visits_within_visits_have_their_lengths(lam, inner_lam, random_state):
    pool = [StochasticMux(leaves(50, child), 1, inner_lam, dist="constant") for child in range(3)]
    rows = rows_of(StochasticMux(pool, 1, lam, dist="constant", random_state=random_state), 3000)
    for i in range(0, len(rows), lam):
        visit = rows[i : i + lam]
        assert len({child for child, _, _ in visit}) == 1
        for j in range(0, len(visit), inner_lam):
            assert len({leaf for _, leaf, _ in visit[j : j + inner_lam]}) == 1


def test_all_of_an_array_comes_before_any_row_comes_again():
    given = defaultdict(list)
    for child, leaf, row in rows_of(StochasticMux(children(3, 2), 2, 5, random_state=0), 20_000):
        given[child, leaf].append(row)
    orders = [tuple(rows[i : i + SIZE]) for rows in given.values() for i in range(0, len(rows) - SIZE + 1, SIZE)]
    counts = Counter(orders)
    # nothing but orders of all rows, each as likely
    observed = [counts.pop(order) for order in itertools.permutations(range(SIZE))]
    assert not counts
    assert stats.chisquare(observed).statistic < stats.chi2.ppf(1 - RARE, len(observed) - 1)


WEIGHTS = {"even": [1, 1, 1, 1], "odd": [1, 0, 3, 6]}


@pytest.mark.parametrize("kind", [StochasticMux, ShuffledMux])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("lam", [1, 6])
def test_shares_hold_at_both_levels(kind, weights, lam):
    """The first samples of visits are independent: each child comes in proportion to its weight, and each of its streams."""
    outer, inner = np.array([1, 2, 5]), np.array(WEIGHTS[weights])
    pool = []
    for child in range(3):
        streams = leaves(4, child)
        rolled = np.roll(inner, child)
        pool.append(
            kind(streams, pool_weights=rolled) if kind is ShuffledMux else kind(streams, 3, 2, pool_weights=rolled)
        )
    stream = StochasticMux(pool, 1, lam, pool_weights=outer, dist="constant", random_state=5)
    firsts = Counter((child, leaf) for child, leaf, _ in rows_of(stream, 20_000 * lam)[::lam])
    shares = {
        (child, leaf): outer[child] * np.roll(inner, child)[leaf] / (outer.sum() * inner.sum())
        for child in range(3)
        for leaf in range(4)
    }
    assert all(firsts[cell] == 0 for cell, share in shares.items() if not share)
    cells = [cell for cell, share in shares.items() if share]
    expected = np.array([20_000 * shares[cell] for cell in cells])
    observed = np.array([firsts[cell] for cell in cells])
    assert ((observed - expected) ** 2 / expected).sum() < stats.chi2.ppf(1 - RARE, len(cells) - 1)


def pulled(stream):
    """The same mux, which pulls its streams one by one."""
    stream._is_pulled = True
    return stream


@pytest.mark.parametrize("kind", [StochasticMux, ShuffledMux])
@pytest.mark.parametrize("lam", [4, 30])
def test_visits_are_as_those_of_muxes_that_are_started_one_by_one(kind, lam):
    """How many streams a visit meets, and how often they change."""

    def told(stream):
        rows = [tuple(np.asarray(item["X"]).astype(int)) for item in stream.generate(1500 * lam)]
        found = defaultdict(list)
        for i in range(0, len(rows), lam):
            visit = rows[i : i + lam]
            found["streams"].append(len({leaf for _, leaf, _ in visit}))
            found["changes"].append(sum(one[1] != other[1] for one, other in itertools.pairwise(visit)))
        return found

    def made():
        return StochasticMux(children(4, 6, 3, 5, kind), 1, lam, dist="constant", random_state=2)

    found, expected = told(made()), told(pulled(made()))
    for name in found:
        most = max(*found[name], *expected[name]) + 1
        table = np.array([np.bincount(told[name], minlength=most) for told in (found, expected)])
        # cells with few visits go together, as the test of homogeneity demands
        few = table.sum(axis=0) < 20
        table = np.column_stack([table[:, ~few], table[:, few].sum(axis=1)])
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] > 1:
            statistic, _, df, _ = stats.chi2_contingency(table, correction=False)
            assert statistic < stats.chi2.ppf(1 - RARE, df), name


@pytest.mark.parametrize(
    "make",
    [
        lambda pool: StochasticMux(pool, 2, 6, mode="exhaustive", random_state=0),
        lambda pool: StochasticMux(pool, 2, 6, mode="exhaustive", pool_weights=[1, 2, 3], random_state=0),
        lambda pool: StochasticMux(pool, 3, None, pool_weights=[1, 2, 3], mode="single_active", random_state=0),
        lambda pool: ShuffledMux(pool, random_state=0),
        RoundRobinMux,
        lambda pool: RoundRobinMux(pool, mode="cycle"),
        lambda pool: ChainMux(pool),
    ],
    ids=["exhaustive", "exhaustive by weight", "endless", "shuffled", "robin", "cycle", "chain"],
)
def test_passes_that_never_end_go_on_from_visit_to_visit(make):
    """What the slots of an inner mux hold stays there: its visits have their length, whatever is cut from them at once."""
    rows = rows_of(make([StochasticMux(leaves(50, child), 1, 7, dist="constant") for child in range(3)]), 3000)
    assert len(rows) == 3000
    for child in range(3):
        leaves_of_child = [leaf for number, leaf, _ in rows if number == child]
        assert all(len(set(leaves_of_child[i : i + 7])) == 1 for i in range(0, len(leaves_of_child), 7))


def test_one_child_in_two_slots_has_two_passes():
    pool = [StochasticMux(leaves(5), 1, 7, dist="constant")]
    told = [leaf for _, leaf, _ in rows_of(StochasticMux(pool, 2, None, random_state=0), 4000)]
    # each pass has one stream at a time, for seven samples: how far both may be, and with which streams
    reachable = {((0, -1), (0, -1))}
    for leaf in told:
        moved = set()
        for one, other in reachable:
            if one[1] in (leaf, -1):
                moved.add((_after(one, leaf), other))
            if other[1] in (leaf, -1):
                moved.add((one, _after(other, leaf)))
        reachable = moved
        assert reachable
    assert any(len(set(told[i : i + 7])) > 1 for i in range(0, 4000, 7))


def _after(visit, leaf):
    n = visit[0] + 1
    return (0, -1) if n == 7 else (n, leaf)


def test_once_visits_each_child_once():
    stream = StochasticMux(children(40, 3), 4, 25, mode="once", dist="constant", random_state=0)
    rows = rows_of(stream, 10**6)
    assert Counter(child for child, _, _ in rows) == dict.fromkeys(range(40), 25)


# blocks of samples end with a visit of one level, of the other, of both or of none
@pytest.mark.parametrize(("lam", "inner_lam"), [(60, 10), (96, 8), (64, 16), (512, 17)])
def test_three_levels(lam, inner_lam):
    pool = [StochasticMux(children(3, 4, 2, 3, shuffle=False), 1, inner_lam, dist="constant") for _ in range(5)]
    stream = StochasticMux(pool, 1, lam, dist="constant", random_state=0)
    iterator = stream._start(3, (0,))
    assert iterator.takes
    batch, who = iterator.take(lam * 100)
    rows = batch["X"].astype(int).tolist()
    firsts = Counter()
    for i in range(0, len(rows), lam):
        assert len(set(who[i : i + lam].tolist())) == 1
        for j in range(i, i + lam, inner_lam):
            visit = rows[j : min(j + inner_lam, i + lam)]
            assert len({child for child, _, _ in visit}) == 1
            firsts[visit[0][0], visit[0][1]] += 1
    check_cursors([(who[i], *row) for i, row in enumerate(rows)])
    # what is below the outer muxes is drawn for each of these by itself, each as likely
    observed = [firsts[cell] for cell in itertools.product(range(3), range(4))]
    assert stats.chisquare(observed).statistic < stats.chi2.ppf(1 - RARE, 11)


def shown(stream, n=900):
    return [tuple(np.asarray(item["X"]).tolist()) for item in stream.generate(n)]


def test_the_same_seed_gives_the_same_samples_however_they_are_taken():
    def made(random_state=0):
        return StochasticMux(children(6, 4), 3, 7, random_state=random_state)

    first, stream = shown(made()), made()
    assert shown(stream) == first
    assert shown(stream) != first  # another pass
    assert shown(copy.copy(stream)) == first
    assert shown(pickle.loads(pickle.dumps(stream))) == first
    assert shown(made(1)) != first
    assert shown(made(None)) != shown(made(None))
    for size in (1, 13, 256, 900):
        iterator = made()._start(None, (0,))
        batches = [iterator.take(min(size, 900 - i))[0]["X"] for i in range(0, 900, size)]
        assert [tuple(row) for row in np.concatenate(batches).tolist()] == first


@pytest.mark.parametrize("kind", [StochasticMux, ShuffledMux])
def test_each_level_has_seeds_of_its_own(kind):
    def streams(random_state, n_passes):
        stream = ChainMux(children(1, 9, kind=kind), random_state=random_state)  # which draws nothing itself
        return [[leaf for _, leaf, _ in shown(stream, 200)] for _ in range(n_passes)]

    first, second = streams(0, 2)
    assert streams(0, 1) == [first] != [second]
    assert streams(1, 1) != [first]


def test_children_of_other_kinds_are_started_one_by_one():
    arrays = leaves(3)
    wide = from_arrays(np.zeros((4, 7)))
    pools = {
        "own seed": [StochasticMux(arrays, 2, 3, random_state=child) for child in range(2)],
        "other settings": [StochasticMux(arrays, 2, 3), StochasticMux(arrays, 2, 4)],
        "other modes": [StochasticMux(arrays, 2, 3, mode="exhaustive"), StochasticMux(arrays, 2, 3)],
        "until exhausted": [StochasticMux(arrays, 2, None)] * 2,
        "other muxes": [StochasticMux(arrays, 2, 3), ShuffledMux(arrays)],
        "beside an array": [StochasticMux(arrays, 2, 3), arrays[0]],
        "generators": [StochasticMux([Streamer(lambda: iter([{"X": np.zeros(3)}] * 5))], 1, 3)] * 2,
        "other rows": [StochasticMux(arrays, 2, 3), StochasticMux(wide, 2, 3)],
        "chains": [ChainMux(arrays), ChainMux(arrays)],
        "shuffled muxes": [ShuffledMux([StochasticMux(arrays, 2, 3)]) for _ in range(2)],
    }
    for name, pool in pools.items():
        stream = StochasticMux(pool, 2, 5, random_state=0)
        assert not stream._start(None, (0,)).takes, name
        assert shown(stream, 60) == shown(StochasticMux(pool, 2, 5, random_state=0), 60)


def test_an_array_without_rows_is_passed_over():
    empty = ArrayStream(Table({"X": np.zeros((0, 3))}), 0, 0)
    pool = [StochasticMux([empty, *leaves(2, child)], 2, 3) for child in range(2)]
    assert {leaf for _, leaf, _ in rows_of(StochasticMux(pool, 2, 5, random_state=0), 500)} == {0, 1}


def test_a_child_with_nothing_to_give_is_not_visited_again():
    empty = [ArrayStream(Table({"X": np.zeros((0, 3))}), 0, 0)]
    stream = StochasticMux([*children(2), StochasticMux(empty, 2, 3)], 2, 5, random_state=0)
    assert len(shown(stream, 200)) == 200


@pytest.mark.parametrize(
    "kind", [sparse.csr_matrix, lambda X: pd.DataFrame(X, columns=list("abc")), lambda X: X.astype(np.float32)]
)
def test_rows_of_every_kind(kind):
    X = np.arange(180.0).reshape(60, 3)
    y = np.arange(60)
    pool = [StochasticMux(from_arrays(kind(X[i : i + 20]), y[i : i + 20], n_streams=2), 2, 4) for i in (0, 20, 40)]
    iterator = StochasticMux(pool, 2, 6, random_state=0)._start(None, (0,))
    for n in (5, 300, 4000):
        batch, who = iterator.take(n)
        assert type(batch["X"]) is type(kind(X))
        rows = batch["X"].toarray() if sparse.issparse(batch["X"]) else np.asarray(batch["X"])
        np.testing.assert_array_equal(rows, X[batch["y"]])
        np.testing.assert_array_equal(batch["y"] // 20, who)


def test_a_pool_of_muxes_is_learned_from():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 4))
    y = (X @ [1, -2, 0.5, 1] > 0).astype(int)
    users = [ShuffledMux(from_arrays(X[i::10], y[i::10], by="y")) for i in range(10)]
    pool = StreamPool(users, names=[f"user {i}" for i in range(10)])
    model = StreamingEstimator(
        SGDClassifier(random_state=0),
        lam=20,
        mode="with_replacement",
        max_batches=60,
        batch_size=100,
        random_state=0,
        classes=[0, 1],
    ).fit(pool)
    assert model.n_samples_seen_ == 6000 == sum(model.stream_counts_)
    assert (np.asarray(model.stream_counts_) > 0).all()
    assert model.score(X, y) > 0.9


def test_sizes_of_files_are_not_asked_for():
    """Nothing below a mux is looked at before all below is known to be arrays."""

    class Untouched(StochasticMux):
        def _sizes(self):
            raise AssertionError("asked")

    pool = [Untouched([Streamer(lambda: iter([1, 2]))], 1, 2) for _ in range(2)]
    assert not StochasticMux(pool, 1, 2)._start(0, (0,)).takes


# -- what must not grow -------------------------------------------------------------------------------------------------------


def peak_bytes(stream, n):
    iterator = stream._start(0, (0,))
    tracemalloc.start()
    try:
        assert len(iterator.take(n)[1]) == n
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        iterator.close()


def test_one_mux_that_gives_most_takes_no_room_for_the_others():
    weights = np.ones(2000)
    weights[0] = 2000
    pool = children(2000, 1, 1, 1)
    even, odd = (peak_bytes(ShuffledMux(pool, pool_weights=w, random_state=0), 33_000) for w in (None, weights))
    assert odd < 2 * even  # as much is drawn of one as of all others: a table of all would take a hundred times as much


def test_slots_that_are_not_drawn_take_no_room():
    few, many = (
        peak_bytes(StochasticMux(children(4, 4, n_active, 50), 4, 1, random_state=0), 33_000) for n_active in (4, 4000)
    )
    assert (
        many < 4 * few + 8 * 4 * 2 * 4000 * 8
    )  # besides tables of the slots themselves, some blocks of which lie ahead


def test_one_mux_in_very_many_places_is_started_where_it_is_due():
    stream = children(1)[0]
    for _ in range(30):
        stream = StochasticMux([stream, stream], 2, 3)
    iterator = stream._start(0, (0,))  # 2**30 arrays
    assert not iterator.takes
    assert len(list(itertools.islice(iterator, 5))) == 5


@pytest.mark.parametrize(
    "other",
    [
        lambda: children(3, kind=ShuffledMux),
        lambda: children(3, n_active=3),
        lambda: children(3, n_leaves=5),
        lambda: [StochasticMux(children(1), 2, 3) for _ in range(3)],
    ],
    ids=["kind", "n_active", "streams", "depth"],
)
def test_a_state_of_other_inner_muxes_is_refused(other):
    def start(pool):
        return StochasticMux(pool, 2, 5, random_state=0)._start(None, (0,))

    ours, theirs = start(children(3)), start(other())
    for iterator in (ours, theirs):
        iterator.take(100)
    for one, another in ((ours, theirs), (theirs, ours)):
        with pytest.raises(ValueError, match="state was saved of"):
            one.load_state_dict(another.state_dict())
