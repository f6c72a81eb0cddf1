"""Plans of the next draws: sorting them by slot."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn._plan import sorted_by_slot


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
