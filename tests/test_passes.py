"""Running streams: where they end, and what they close. What they are resumed from is tested with states."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn import RoundRobinMux, Streamer, from_arrays


def count(start, stop=10):
    yield from range(start, stop)


@given(length=st.integers(0, 5), n=st.none() | st.integers(0, 12))
@settings(max_examples=60, derandomize=True)
def test_generate_stops_at_the_end_or_at_max_batches(length, n):
    stream = Streamer(count, 0, length)
    assert list(stream.generate(n)) == list(range(length))[:n]
    assert list(stream.generate(max_batches=n)) == list(range(length))[:n]


@given(length=st.integers(0, 5), n=st.integers(0, 12))
@settings(max_examples=60, derandomize=True)
def test_cycle_restarts(length, n):
    expected = [i % length for i in range(n)] if length else []
    assert list(Streamer(count, 0, length).cycle(n)) == expected


def test_cycle_without_end():
    assert list(itertools.islice(Streamer("ab").cycle(), 5)) == list("ababa")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("n", [None, 5])
@pytest.mark.parametrize("empty", [[], lambda: iter(()), RoundRobinMux([[], []])])
def test_cycling_an_empty_stream_ends(empty, n):
    assert list(Streamer(empty).cycle(n)) == []


def test_cycle_ends_at_the_first_pass_without_an_item():
    passes = iter([[1, 2], [3], [], [4]])
    assert list(Streamer(lambda: next(passes)).cycle()) == [1, 2, 3]


@pytest.mark.parametrize("bad", [-1, 1.0, "2", True])
def test_bad_max_batches_is_refused_at_the_call(bad):
    with pytest.raises(ValueError, match="max_batches"):
        Streamer("ab").generate(bad)
    with pytest.raises(ValueError, match="max_batches"):
        Streamer("ab").cycle(bad)


def test_max_batches_pulls_no_item_beyond():
    pulled = []

    def watched():
        for i in range(10):
            pulled.append(i)
            yield i

    assert list(Streamer(watched).generate(3)) == [0, 1, 2]
    assert pulled == [0, 1, 2]


def test_several_passes_at_once():
    stream = Streamer(count, 0, 4)
    a, b = iter(stream), iter(stream)
    assert [next(a), next(a), next(b), next(a), next(b)] == [0, 1, 0, 2, 1]


def test_items_pass_through_untouched():
    items = [object(), None, np.arange(3), {"X": 1}]
    assert all(given is got for given, got in zip(items, Streamer(items), strict=True))


def test_nothing_runs_before_the_first_item_is_due():
    started = []

    def watched():
        started.append(True)
        yield 1

    iterator = iter(Streamer(watched))
    assert not started
    next(iterator)
    assert started


@pytest.mark.parametrize("end", ["close", "drop", "limit", "error"])
def test_ending_a_pass_closes_the_generator(end):
    closed = []

    def watched():
        try:
            yield from range(3)
            raise OSError
        finally:
            closed.append(True)

    iterator = Streamer(watched).generate(1 if end == "limit" else None)
    next(iterator)
    assert not closed
    if end == "close":
        iterator.close()
    elif end == "drop":
        del iterator
    elif end == "limit":
        assert next(iterator, None) is None
    else:
        with pytest.raises(OSError):
            list(iterator)
    assert closed == [True]


def test_an_error_within_a_step_of_another_thread_ends_the_pass():
    """As where two threads share an iterator: one of them gets an error while the other one waits for its item."""
    inside, go_on = threading.Event(), threading.Event()

    def watched():
        yield 0
        inside.set()
        assert go_on.wait(10)
        yield from itertools.count(1)

    iterator = Streamer(watched).generate(5)
    assert next(iterator) == 0
    found = []
    thread = threading.Thread(target=lambda: found.extend(itertools.islice(iterator, 20)))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(ValueError, match="already executing"):
        next(iterator)
    go_on.set()
    thread.join(10)
    assert found == [1]
    assert list(iterator) == []


@pytest.mark.parametrize("kind", ["arrays", "lists"])
def test_a_state_before_the_first_item_is_of_the_pass_that_comes(kind):
    def make():
        streams = from_arrays(np.arange(30)[:, None], n_streams=3)
        streams = [[{"X": [10 * i + j]} for j in range(10)] for i in range(3)] if kind == "lists" else streams
        return RoundRobinMux(streams, mode="permuted_cycle", random_state=0)

    def first(iterator):
        return [int(item["X"][0]) for item in itertools.islice(iterator, 40)]

    mux = make()
    iterators = [mux.generate() for _ in range(2)]
    states = [iterator.state_dict() for iterator in iterators]
    given = [first(iterator) for iterator in iterators]
    assert given[0] != given[1]
    for other in (mux, make()):
        for state, expected in zip(states, given, strict=True):
            resumed = other.generate()
            resumed.load_state_dict(state)
            assert first(resumed) == expected
            begun = other.generate()
            next(begun)
            begun.load_state_dict(state)
            assert first(begun) == expected
