"""Plans of the next draws: sorting them by slot, and visits that end."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn import StochasticMux, _compiled, from_arrays
from streamlearn._plan import Planner, sorted_by_slot
from streamlearn._stochastic import Ending
from streamlearn._visits import VisitLength


@pytest.mark.parametrize("n_slots", [1, 3, 255, 256, 257, 2**16, 2**16 + 1])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 300))
def test_draws_of_a_slot_follow_each_other_as_they_come(way, n_slots, seed, n):
    slots = np.random.default_rng(seed).integers(0, n_slots, n)
    order, counts = sorted_by_slot(slots, n_slots)
    assert order.tolist() == sorted(range(n), key=lambda i: slots[i])
    present, n_draws = np.unique(slots, return_counts=True)
    assert len(counts) == n_slots
    assert np.flatnonzero(counts).tolist() == present.tolist()
    assert counts[present].tolist() == n_draws.tolist()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    n_slots=st.integers(1, 5),
    lam=st.one_of(st.none(), st.integers(1, 30)),
    dist=st.sampled_from(["poisson", "constant", "binomial"]),
    mode=st.sampled_from(["exhaustive", "once"]),
    largest=st.integers(1, 200),
)
def test_visits_that_end_are_planned_the_same_at_once_and_one_by_one(
    monkeypatch, seed, sizes, n_slots, lam, dist, mode, largest
):
    """With a compiler and without: the same draws of the same streams, and the same state after each block."""
    if _compiled.native is None:
        pytest.skip("there is nothing compiled")
    sizes = np.array([*sizes, 1])
    found = []
    for native in (_compiled.native, None):
        with monkeypatch.context() as patch:
            patch.setattr(_compiled, "native", native)
            rng = np.random.default_rng(seed)
            weights = (
                np.random.default_rng(seed + 1).random(len(sizes))
                if mode == "exhaustive" and lam
                else np.ones(len(sizes))
            )
            length = VisitLength(lam if mode == "exhaustive" else None, dist, n_slots)
            policy = Ending(weights / weights.sum(), sizes, n_slots, length, False, rng, again=mode == "exhaustive")
            assert policy.plans_itself == (native is not None)
            planner = Planner(policy, largest)
            blocks = []
            for slot in range(n_slots):
                planner.begin(slot)
            while (plan := planner.plan()) is not None:
                state = planner.pack(planner.snapshot())
                blocks.append(
                    (*(part.tolist() for part in plan[:3]), {**state, "policy": {**state["policy"], "_heap": None}})
                )
                heap = sorted(zip(*(column.tolist() for column in policy._heap.columns()), strict=True))
                blocks.append(heap)
        found.append(blocks)
    assert found[0] == found[1]
    given_out = np.zeros(len(sizes), int)
    for order, streams, lengths, _ in found[0][::2]:
        assert sorted(order) == list(range(sum(lengths)))
        np.add.at(given_out, streams, lengths)
    assert given_out.tolist() == sizes.tolist()


def exhaustive(n=4):
    X = np.arange(400.0)[:, None]
    return StochasticMux(from_arrays(X, n_streams=n), 2, 5, mode="exhaustive", random_state=0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda policy: policy.update(_heap=[[0.5], [10**9]]),
        lambda policy: policy.update(_heap=[[0.5, 0.5], [-7, 1]]),
        lambda policy: policy.update(_heap=[[0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1]]),
        lambda policy: policy.update(_lengths=[-5] * 100),
        lambda policy: policy.update(_lengths=[0] * 100),
        lambda policy: policy.update(_remaining=[0, 0, 0, 0]),
        lambda policy: policy.update(_remaining=[3]),
    ],
)
def test_a_damaged_state_is_refused(way, damage):
    running = exhaustive().generate()
    for _ in range(20):
        next(running)
    state = json.loads(json.dumps(running.state_dict()))
    damage(find(state, "_heap"))
    with pytest.raises(ValueError, match="Begin anew"):
        exhaustive().generate().load_state_dict(state)


def find(state, name):
    """Return the dict within a state that has this name."""
    if isinstance(state, dict):
        if name in state:
            return state
        return next((found for value in state.values() if (found := find(value, name)) is not None), None)
    return None


def test_an_interrupt_while_a_block_is_planned_loses_nothing(way, monkeypatch):
    draw, calls = VisitLength.sample, []

    def interrupted(self, rng, size):
        calls.append(size)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return draw(self, rng, size)

    running = exhaustive(40)._start(None, (0,))
    monkeypatch.setattr(VisitLength, "sample", interrupted)
    policy = running._policy
    policy._lengths = policy._lengths[:3]  # so that more are drawn within the first plan
    with pytest.raises(KeyboardInterrupt):
        running.take(50)
    found = []
    while (taken := running.take(50)) is not None:
        found += taken[0]["X"][:, 0].tolist()
    assert sorted(found) == np.arange(400.0).tolist()
