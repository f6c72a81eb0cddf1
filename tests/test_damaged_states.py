"""States that somebody has changed: refused, or read as what they say, but never believed beyond what there is."""

import contextlib
import copy
import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, from_arrays
from streamlearn._state import pack, unpack
from tests.test_plan import find

X = np.arange(600.0).reshape(300, 2) + 1e6
POOL = from_arrays(X, n_streams=6)
UNSHUFFLED = from_arrays(X, n_streams=6, shuffle=False)
MUXES = {
    "with replacement": lambda pool: StochasticMux(pool, 2, 5, random_state=0),
    "single active": lambda pool: StochasticMux(pool, 2, 5, mode="single_active", random_state=0),
    "until exhausted": lambda pool: StochasticMux(pool, 2, None, random_state=0),
    "once": lambda pool: StochasticMux(pool, 2, 5, mode="once", random_state=0),
    "exhaustive": lambda pool: StochasticMux(pool, 2, 5, mode="exhaustive", random_state=0),
    "by weight": lambda pool: StochasticMux(
        pool, 2, 5, mode="exhaustive", pool_weights=[1, 2, 3, 4, 5, 6], random_state=0
    ),
    "shuffled": lambda pool: ShuffledMux(pool, random_state=0),
    "round robin": lambda pool: RoundRobinMux(pool, mode="permuted_cycle", random_state=0),
    "chain": ChainMux,
    "nested": lambda pool: StochasticMux([StochasticMux(pool[:2], 2, 5), StochasticMux(pool[2:], 2, 5)], 2, 5),
}
NUMBERS = st.sampled_from([-1, -7, -(10**9), 0, 1, 1.5, 3, 10**6, 2**40, 2**62, 2**63 - 1])


def saved(mux, n):
    running = mux.generate()
    for _ in range(n):
        next(running, None)
    return json.loads(json.dumps(running.state_dict()))


STATES = {
    (name, n, pool is POOL): saved(make(pool), n)
    for (name, make), n, pool in itertools.product(MUXES.items(), (17, 700), (POOL, UNSHUFFLED))
}


def numbers_in(state, path=()):
    """Paths of all numbers, lists and arrays."""
    if isinstance(state, dict) and "data" not in state:
        for name, part in state.items():
            if name not in ("kind", "version", "bit_generator"):
                yield from numbers_in(part, (*path, name))
        return
    if isinstance(state, (dict, list)) or (isinstance(state, (int, float)) and not isinstance(state, bool)):
        yield path
    if isinstance(state, list):
        for i, part in enumerate(state):
            yield from numbers_in(part, (*path, i))


@st.composite
def changed(draw, value):
    if isinstance(value, list):
        kept = value[: draw(st.integers(0, len(value)))]
        return kept + draw(st.lists(NUMBERS, max_size=2))
    if not isinstance(value, dict):
        return draw(NUMBERS)
    array = unpack(value)
    number = draw(NUMBERS.filter(lambda number: isinstance(number, int)))
    how = draw(st.sampled_from(["one", "all", "longer", "shorter", "another type"]))
    if array.dtype.kind not in "iuf" or how == "another type":
        return pack(array.astype("S4"))
    number = np.array(number).astype(array.dtype)
    if how == "one" and array.size:
        array.flat[draw(st.integers(0, array.size - 1))] = number
    elif how == "longer":
        array = np.append(array, np.repeat(number, draw(st.sampled_from([1, 70_000]))))
    elif how == "shorter":
        array = array.ravel()[:-1]
    else:
        array[...] = number
    return pack(array)


def read(mux, state, n=300):
    """Read items after a state; none if an error comes."""
    running, items = mux.generate(), []
    with contextlib.suppress(Exception):
        running.load_state_dict(state)
        items.extend(item["X"].tolist() for item in itertools.islice(running, n))
    return items


@given(which=st.sampled_from(sorted(STATES)), data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_number_never_gives_rows_that_are_not_there(way, which, data):
    state = copy.deepcopy(STATES[which])
    path = data.draw(st.sampled_from(list(numbers_in(state))), label="path")
    part = state
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = data.draw(changed(part[path[-1]]), label="changed")
    rows = read(MUXES[which[0]](POOL if which[2] else UNSHUFFLED), state)
    assert {*map(tuple, rows)} <= {*map(tuple, X.tolist())}


@pytest.mark.parametrize(
    ("mux", "name", "change", "words"),
    [
        ("shuffled", "weights", lambda weights: np.ones(60_000), "weights must be an array of 6 floats"),
        ("shuffled", "weights", lambda weights: -weights, "weights above zero"),
        ("round robin", "alive", lambda alive: [0, 1, 60_000], "slots that live .* below 6, got .*60000"),
        ("single active", "alive", lambda alive: [0, 1, 1], "slots that live must be different"),
        ("with replacement", "left", lambda left: [-(10**9), 3], r"\(left\) must be 2 whole numbers of at least 0"),
        ("single active", "holder", lambda holder: [0, 6], "streams in slots must be 2 .* below 6"),
        ("exhaustive", "_lengths", lambda lengths: [0] * 100, "lengths of visits must be whole numbers of at least 1"),
        ("with replacement", "places", lambda places: places - 1500, "places of cursors must be .* at least 0"),
        ("with replacement", "begun", lambda begun: begun + 6, "streams with cursors must be .* below 6"),
        ("nested", "places", lambda places: places + 10**6, r"outside of its stream, at 10000\d\d of 50 samples"),
        ("nested", "holder within", lambda holder: holder + 9, "streams in slots within muxes must be .* below 6"),
        ("chain", "_n_asked", lambda asked: -1, "the cycle and the streams in it must be"),
    ],
)
def test_what_is_damaged_is_told(way, mux, name, change, words):
    state = copy.deepcopy(STATES[mux, 17 if mux in ("exhaustive", "chain") else 700, True])  # before the end
    part = find(state, "due") if name == "left" else find(state, name)
    if name == "holder within":
        part, name = find(state, "levels")["levels"][0], "holder"
    part[name] = pack(change(unpack(part[name])))
    with pytest.raises(ValueError, match=words):
        MUXES[mux](POOL).generate().load_state_dict(state)
