"""Muxes: every item once where that is promised, orders, seeds and passes, copies and pickles, what is shown."""

import copy
import itertools
import json
import os
import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer, StreamPool, from_arrays, mux

MODES = ["with_replacement", "single_active", "once", "exhaustive"]


def generate(items):
    yield from items


def seeds(n, random_state):
    yield from [random_state] * n


def growing():
    for n in range(1, 4):
        yield range(n)


# -- exactly once -------------------------------------------------------------------------------------------------------------

weight = st.sampled_from([1e-10, 0.1, 1, 1, 3, 1e10])
lam = st.none() | st.sampled_from([1, 2, 3.5, 20])
node = {
    "kind": st.sampled_from(["exhaustive", "once", "round robin", "chain", "lazy chain", "wrapped"]),
    "n_active": st.integers(1, 4),
    "lam": lam,
    "dist": st.sampled_from(["poisson", "binomial"]),
    "weights": st.lists(weight, min_size=4, max_size=4),
}
leaf = st.tuples(st.sampled_from(["generator", "list", "array", "nested array"]), st.integers(0, 7))
tree = st.recursive(
    leaf,
    lambda children: st.fixed_dictionaries({**node, "children": st.lists(children, min_size=1, max_size=4)}),
    max_leaves=16,
).filter(lambda t: isinstance(t, dict))


def number_of(item):
    return int(item["X"][0]) if isinstance(item, dict) else item


def build(t, counter):
    """A stream of the next numbers of ``counter``, by the plan ``t``."""
    if isinstance(t, tuple):
        kind, n = t
        numbers = list(itertools.islice(counter, n))
        if kind == "generator" or not n:
            return Streamer(generate, numbers)
        if kind == "list":
            return numbers
        pool = from_arrays(np.array(numbers)[:, None])
        return pool[0] if kind == "array" else StochasticMux(pool, 1, 2, mode="exhaustive")
    streams = [build(child, counter) for child in t["children"]]
    if t["kind"] in ("exhaustive", "once"):
        return StochasticMux(
            streams,
            t["n_active"],
            None if t["kind"] == "once" else t["lam"],
            pool_weights=t["weights"][: len(streams)],
            mode=t["kind"],
            dist=t["dist"],
        )
    if t["kind"] == "round robin":
        return RoundRobinMux(streams)
    if t["kind"] == "lazy chain":
        return ChainMux(lambda: iter(streams))
    chain = ChainMux(streams)
    return Streamer(chain) if t["kind"] == "wrapped" else chain


@given(tree=tree, random_state=st.integers(0, 5))
@settings(max_examples=300, derandomize=True)
def test_nested_muxes_give_every_item_once(tree, random_state):
    counter = itertools.count()
    inner = build(tree, counter)
    stream = StochasticMux([inner, [-1, -2, -3]], 2, 3, mode="exhaustive", random_state=random_state)
    expected = [*range(next(counter)), -1, -2, -3]
    for _ in range(2):
        assert sorted(map(number_of, stream)) == sorted(expected)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    n_active=st.integers(1, 14),
    lam=lam,
    weighted=st.booleans(),
    shuffle=st.booleans(),
    random_state=st.integers(0, 5),
)
@settings(max_examples=150, derandomize=True)
def test_array_pools_give_every_row_once(sizes, n_active, lam, weighted, shuffle, random_state):
    n = sum(sizes)
    pool = from_arrays(np.arange(n)[:, None], by=np.repeat(np.arange(len(sizes)), sizes), shuffle=shuffle)
    weights = np.arange(1, len(sizes) + 1) if weighted else None
    streams = [
        StochasticMux(pool, n_active, lam, mode="exhaustive", pool_weights=weights, random_state=random_state),
        StochasticMux(pool, n_active, None, mode="once", pool_weights=weights, random_state=random_state),
        RoundRobinMux(pool, random_state=random_state),
        ChainMux(pool, random_state=random_state),
    ]
    for stream in streams:
        assert sorted(number_of(item) for item in stream) == list(range(n))
    deep = RoundRobinMux([streams[0], ChainMux([streams[1], streams[2]]), streams[3]], random_state=0)
    assert Counter(map(number_of, deep)) == dict.fromkeys(range(n), 4)


@pytest.mark.parametrize("n_active", [1, 3, 50])
@pytest.mark.parametrize("lam", [1, 5, 64])
def test_once_visits_each_stream_once_for_lam_items(lam, n_active):
    streams = [Streamer(generate, [(i, j) for j in range(n)]) for i, n in enumerate([0, 1, 4, 100, 1000])]
    stream = StochasticMux(streams, n_active, lam, mode="once", dist="constant", random_state=0)
    items = list(stream)
    for i, n in enumerate([0, 1, 4, 100, 1000]):
        assert [j for s, j in items if s == i] == list(range(min(n, lam)))


# -- orders -------------------------------------------------------------------------------------------------------------------

lists = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=5)


def turns(streams):
    """Round robin, written per item."""
    left, out = [list(s) for s in streams], []
    while any(left):
        out += [s.pop(0) for s in left if s]
    return out


@given(streams=lists, n=st.integers(0, 40))
@settings(max_examples=100, derandomize=True)
def test_round_robin_takes_turns(streams, n):
    assert list(RoundRobinMux(streams)) == turns(streams)
    once = turns(streams)
    assert list(RoundRobinMux(streams, mode="cycle").generate(n)) == (once * n)[:n]


@given(streams=lists, n=st.integers(0, 40))
@settings(max_examples=100, derandomize=True)
def test_chain_takes_one_after_the_other(streams, n):
    joined = list(itertools.chain.from_iterable(streams))
    for given_streams in (streams, lambda: iter(streams)):
        assert list(ChainMux(given_streams)) == joined
        assert list(ChainMux(given_streams, mode="cycle").generate(n)) == (joined * n)[:n]


def test_permuted_cycle_has_a_new_order_in_each_cycle():
    names = "abcdef"
    stream = RoundRobinMux([name * 2 for name in names], mode="permuted_cycle", random_state=0)
    items = list(stream.generate(12 * 20))
    cycles = [items[i : i + 12] for i in range(0, len(items), 12)]
    for cycle in cycles:
        assert cycle[:6] == cycle[6:]
        assert sorted(cycle[:6]) == list(names)
    assert len(set(map(tuple, cycles))) > 15


def test_chain_asks_for_a_stream_when_the_last_is_exhausted():
    asked = []

    def streams():
        for n in range(3):
            asked.append(n)
            yield [n] * 2

    iterator = iter(ChainMux(streams))
    seen = []
    for item in iterator:
        seen.append(item)
        assert asked == list(range(item + 1))
    assert seen == [0, 0, 1, 1, 2, 2]


def test_chain_of_an_endless_series_of_streams():
    stream = ChainMux(lambda: ([n] * n for n in itertools.count()))
    assert list(stream.generate(7)) == [1, 2, 2, 3, 3, 3, 4]


def test_chain_of_array_streams_made_as_it_goes():
    pool = from_arrays(np.arange(6)[:, None], n_streams=3, shuffle=False)
    assert list(map(number_of, ChainMux(lambda: iter(pool)))) == list(range(6))


def test_a_stream_of_a_generator_function_that_cannot_be_one_is_named():
    def streams():
        yield "ab"
        yield 3

    with pytest.raises(TypeError, match=r"stream 1 of .*streams"):
        list(ChainMux(streams))


def test_a_generator_function_of_streams_gets_seeds_like_any_other():
    def days(rng):
        for day in rng.permutation(20):
            yield [int(day)]

    stream, twin = (ChainMux(days, random_state=0) for _ in range(2))
    passes = [list(stream), list(stream)]
    assert [list(twin), list(twin)] == passes
    assert passes[0] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(20))


def test_shuffled_restarts_each_stream():
    streams = [[(i, j) for j in range(i + 1)] for i in range(3)]
    items = list(ShuffledMux(streams, random_state=0).generate(600))
    for i in range(3):
        given_items = [j for s, j in items if s == i]
        assert len(given_items) > 100
        assert given_items == [k % (i + 1) for k in range(len(given_items))]


# -- seeds and passes ---------------------------------------------------------------------------------------------------------

LETTERS = [[f"{name}{i}" for i in range(30)] for name in "abcde"]
ROWS = np.arange(150)[:, None]


def seeded_muxes(random_state):
    """Muxes of every kind, over lists and over arrays, with their own names."""
    made = {}
    for what, pool in (("lists", LETTERS), ("arrays", from_arrays(ROWS, n_streams=5))):
        for mode in MODES:
            made[f"{mode} of {what}"] = StochasticMux(pool, 3, 4, mode=mode, random_state=random_state)
        made[f"shuffled {what}"] = ShuffledMux(pool, random_state=random_state)
        made[f"permuted {what}"] = RoundRobinMux(pool, mode="permuted_cycle", random_state=random_state)
    arrays = from_arrays(ROWS, n_streams=5)
    made["chained arrays"] = ChainMux(arrays, random_state=random_state)
    made["arrays in turn"] = RoundRobinMux(arrays, random_state=random_state)
    made["lists and arrays"] = StochasticMux([*LETTERS, *arrays], 3, 4, random_state=random_state)
    made["seeded streams"] = StochasticMux([Streamer(seeds, 9), Streamer(seeds, 9)], 2, 3, random_state=random_state)
    inner = StochasticMux(LETTERS, 2, 4)
    made["nested"] = StochasticMux([inner, ShuffledMux(arrays)], 2, 9, random_state=random_state)
    made["deep"] = ChainMux([made["nested"], RoundRobinMux([inner, "xyz"], mode="cycle")], random_state=random_state)
    made["named"] = StochasticMux(
        StreamPool(LETTERS, names=list("vwxyz"), weights=[1, 2, 3, 4, 5]), 2, 4, random_state=1
    )
    return made


def shown(stream, n=60):
    """The first items of a pass, as text."""
    return [str(number_of(item) if isinstance(item, dict) else item) for item in stream.generate(n)]


names = list(seeded_muxes(0))


@pytest.mark.parametrize("name", names)
def test_passes_differ_and_are_reproducible(name):
    stream, twin = seeded_muxes(0)[name], seeded_muxes(0)[name]
    passes = [shown(stream) for _ in range(3)]
    assert [shown(twin) for _ in range(3)] == passes
    assert passes[0] != passes[1] != passes[2] != passes[0]


@pytest.mark.parametrize("name", [name for name in names if name != "named"])
def test_another_seed_gives_another_sequence(name):
    assert shown(seeded_muxes(0)[name]) != shown(seeded_muxes(1)[name])


@pytest.mark.parametrize("name", names)
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, clone, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_start_at_the_first_pass(name, copier):
    stream = seeded_muxes(0)[name]
    first, second = shown(stream), shown(stream)
    copied = copier(stream)
    assert copied is not stream
    assert (shown(copied), shown(copied)) == (first, second)
    assert shown(stream) not in (first, second)  # the original goes on to its third


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_copies_of_a_mux_seeded_by_a_generator_repeat_it(kind):
    rng = kind(0)
    stream = StochasticMux(LETTERS, 2, 4, random_state=rng)
    other = StochasticMux(LETTERS, 2, 4, random_state=rng)
    assert shown(clone(stream)) == shown(stream) != shown(other)
    assert shown(clone(stream)) == shown(StochasticMux(LETTERS, 2, 4, random_state=kind(0)))


def test_a_running_pass_does_not_disturb_pickle():
    stream = seeded_muxes(0)["nested"]
    iterator = iter(stream)
    first = [str(next(iterator)) for _ in range(10)]
    again = pickle.loads(pickle.dumps(stream))
    assert [str(item) for item in again.generate(10)] == first


def test_passes_at_the_same_time_do_not_disturb_each_other():
    stream, twin = (StochasticMux(LETTERS, 2, 4, random_state=0) for _ in range(2))
    one, other = shown(twin), shown(twin)
    a, b = stream.generate(60), stream.generate(60)
    pairs = list(zip(a, b, strict=True))
    assert ([x for x, _ in pairs], [y for _, y in pairs]) == (one, other)


def test_cycling_goes_on_to_other_passes():
    stream = StochasticMux(["abcdefgh", "ijklmnop"], 2, 2, mode="exhaustive", random_state=0)
    items = list(stream.cycle(48))
    passes = [items[i : i + 16] for i in (0, 16, 32)]
    assert all(sorted(p) == sorted("abcdefghijklmnop") for p in passes)
    assert len(set(map(tuple, passes))) == 3


@pytest.mark.parametrize("random_state", [None, 3])
def test_a_mux_with_its_own_seed_keeps_it_in_another(random_state):
    def outer(outer_state, inner_state):
        inner = StochasticMux(LETTERS, 2, 4, random_state=inner_state)
        return ChainMux([inner], random_state=outer_state)

    first = shown(outer(random_state, 5))
    assert first == shown(outer(4, 5)) != shown(outer(random_state, 6))
    twice = outer(random_state, 5)
    assert shown(twice) != shown(twice)  # combined with the visit


def test_the_visits_of_a_nested_mux_differ():
    inner = StochasticMux(LETTERS, 2, 4, mode="exhaustive", random_state=5)
    outer = StochasticMux([inner], 1, None, random_state=0)
    items = list(outer.generate(450))
    visits = [items[i : i + 150] for i in (0, 150, 300)]
    assert all(sorted(visit) == sorted(itertools.chain.from_iterable(LETTERS)) for visit in visits)
    assert len(set(map(tuple, visits))) == 3


def test_the_position_of_a_nested_mux_counts():
    inner = StochasticMux(LETTERS, 2, 4)
    items = list(RoundRobinMux([inner, inner], random_state=0).generate(100))
    assert items[::2] != items[1::2]


def test_without_a_seed_passes_are_random():
    stream = StochasticMux(LETTERS, 2, 4)
    assert shown(stream) != shown(stream)
    assert shown(StochasticMux(LETTERS, 2, 4)) != shown(StochasticMux(LETTERS, 2, 4))


def test_numpy_global_seed_plays_no_role():
    sequences = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        sequences.append(shown(StochasticMux(LETTERS, 2, 4)))
    assert sequences[0] != sequences[1]


SCRIPT = """
import json, sys
import numpy as np
from streamlearn import *

def seeds(n, random_state):
    yield from [random_state] * n

letters = [[f"{name}{i}" for i in range(30)] for name in "abcde"]
arrays = from_arrays(np.arange(150)[:, None], np.repeat(list("pqrst"), 30), by="y")
muxes = [
    *(StochasticMux(pool, 3, 4, mode=mode, random_state=0) for pool in (letters, arrays)
      for mode in ("with_replacement", "single_active", "once", "exhaustive")),
    StochasticMux([*letters, Streamer(seeds, 9), ShuffledMux(arrays)], 3, 4, random_state=0),
    RoundRobinMux(arrays, mode="permuted_cycle", random_state=0),
    Streamer(mux, [StochasticMux(letters, 2)], 50, 2, random_state=0),
]
print(json.dumps([[str(item) for item in stream.generate(60)] for stream in muxes]))
"""


def test_the_same_items_in_another_process_whatever_the_hash_seed():
    outputs = []
    for hash_seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0]) == 11
    letters = StochasticMux(LETTERS, 3, 4, random_state=0)
    assert outputs[0][0] == shown(letters)


# -- the function mux ---------------------------------------------------------------------------------------------------------


def test_mux_is_the_stochastic_mux():
    for mode, flags in {
        "with_replacement": {},
        "single_active": {"with_replacement": False, "revive": True},
        "once": {"with_replacement": False},
    }.items():
        expected = list(StochasticMux(LETTERS, 3, 4, mode=mode, dist="binomial", random_state=7).generate(50))
        assert list(mux(LETTERS, 50, 3, 4, dist="binomial", random_state=7, **flags)) == expected


def test_mux_takes_a_pool_and_its_names():
    pool = StreamPool([Streamer(generate, None), "ab"], weights=[1, 0], names=["day one", "day two"])
    with pytest.raises(TypeError) as caught:
        list(mux(pool, 3, 1))
    assert caught.value.__notes__ == ["raised by stream 'day one' at position 0, visit 0, item 0 of the visit"]


def test_mux_in_a_streamer_is_seeded_by_its_parent():
    def outer():
        return RoundRobinMux([Streamer(mux, LETTERS, 40, 2, lam=3), "x" * 40], random_state=0)

    stream, twin = outer(), outer()
    passes = [list(stream), list(stream)]
    assert [list(twin), list(twin)] == passes
    assert passes[0] != passes[1]


# -- repr ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (
            StochasticMux(["a"], 1, random_state=3),
            "StochasticMux(<1 stream>, n_active=1, lam=256.0, mode='with_replacement', dist='poisson', random_state=3)",
        ),
        (ShuffledMux(["a", "b"]), "ShuffledMux(<2 streams>)"),
        (RoundRobinMux(["a", "b"], mode="cycle"), "RoundRobinMux(<2 streams>, mode='cycle')"),
        (ChainMux(["a", "b"]), "ChainMux(<2 streams>, mode='exhaustive')"),
        (ChainMux(growing), "ChainMux(growing, mode='exhaustive')"),
    ],
    ids=["stochastic", "shuffled", "round robin", "chain", "lazy chain"],
)
def test_repr(stream, text):
    assert repr(stream) == text
