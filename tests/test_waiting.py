"""Streams that wait come by their keys, of equal ones the lower first, whatever happened before."""

import bisect
import copy
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn._waiting import waiting, without

KEYS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0])
ROOM = 40


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(KEYS, max_size=8),
    steps=st.lists(st.tuples(st.sampled_from(["push", "pop", "swap"]), KEYS), max_size=30),
)
def test_the_smallest_key_comes_first(way, first, steps):
    expected = sorted((key, stream) for stream, key in enumerate(first))
    heap = waiting(np.array([key for key, _ in expected]), np.array([i for _, i in expected], np.int64), ROOM)
    for stream, (step, key) in enumerate(steps, start=len(first)):
        if step == "pop" and not expected:
            continue
        if step == "push":
            heap.push(key, stream)
        got = heap.pop() if step == "pop" else heap.swap(key, stream) if step == "swap" else None
        if step != "pop":
            bisect.insort(expected, (key, stream))
        if got is not None:
            assert got == expected.pop(0)
        assert len(heap) == len(expected)
        assert sorted(zip(*(column.tolist() for column in heap.columns()), strict=True)) == expected
    assert [heap.pop() for _ in range(len(heap))] == expected


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda heap: pickle.loads(pickle.dumps(heap))])
def test_copies_go_their_own_way(way, copied):
    heap = waiting(np.arange(5.0), np.arange(5), ROOM)
    other = copied(heap)
    heap.pop()
    heap.push(-1.0, 9)
    assert other.pop() == (0.0, 0)
    assert heap.pop() == (-1.0, 9)


def test_columns_are_a_heap_again(way):
    heap = waiting(np.empty(0), np.empty(0, np.int64), ROOM)
    keys = np.random.default_rng(0).permutation(ROOM).astype(float)
    for stream, key in enumerate(keys.tolist()):
        heap.push(key, stream)
    other = waiting(*heap.columns(), ROOM)
    assert [other.pop()[0] for _ in range(ROOM)] == sorted(keys)


def test_some_can_be_left_out(way):
    heap = waiting(np.array([1.0, 2.0, 2.0, 3.0]), np.array([7, 1, 4, 2]), ROOM)
    heap = without(heap, {1, 2, 30}, ROOM)
    assert [heap.pop() for _ in range(len(heap))] == [(1.0, 7), (2.0, 4)]


def test_none_comes_when_none_waits(way):
    with pytest.raises(IndexError):
        waiting(np.empty(0), np.empty(0, np.int64), ROOM).pop()
