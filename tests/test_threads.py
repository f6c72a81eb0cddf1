"""Loops that are split among threads: every place once, whoever does it."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn import ShuffledMux, _threads, from_arrays
from streamlearn._threads import Alone, in_parts

MUCH = 2**24


@pytest.fixture
def cores(monkeypatch):
    """Say that there are so many cores."""
    return lambda n: monkeypatch.setattr(_threads, "n_cores", lambda: n)


def calls(n, n_bytes, alone=True):
    made = []

    def function(start, stop):
        made.append((start, stop, threading.current_thread()))

    if alone:
        with Alone():
            in_parts(function, n, n_bytes)
    else:
        in_parts(function, n, n_bytes)
    return made


@given(n=st.integers(0, 1000), n_bytes=st.integers(0, 2**23))
def test_every_place_is_done_once(n, n_bytes):
    places = [i for start, stop, _ in calls(n, n_bytes) for i in range(start, stop)]
    assert sorted(places) == list(range(n))


@pytest.mark.parametrize(("n", "n_parts"), [(1, 1), (2, 2), (3, 3), (64, 4)])
def test_the_caller_does_a_part_himself_and_other_threads_the_rest(cores, n, n_parts):
    cores(n)
    made = calls(100, MUCH)
    assert len(made) == n_parts
    assert sum(thread is threading.current_thread() for *_, thread in made) >= 1


def test_little_is_done_in_one_step(cores):
    cores(2)
    assert [part[:2] for part in calls(100, 2**19)] == [(0, 100)]


def test_nothing_is_split_where_others_may_be_at_work(cores):
    cores(2)
    assert [part[:2] for part in calls(100, MUCH, alone=False)] == [(0, 100)]
    with pytest.raises(OSError, match="no"), Alone():
        raise OSError("no")
    assert [part[:2] for part in calls(100, MUCH, alone=False)] == [(0, 100)]


def test_what_is_split_is_not_split_again(cores):
    cores(2)
    seen = []
    with Alone():
        in_parts(lambda start, stop: seen.append((_threads.n_parts_of(MUCH), threading.current_thread())), 100, MUCH)
    assert {n for n, thread in seen if thread is not threading.current_thread()} <= {1}


def test_busy_threads_are_not_waited_for(cores):
    cores(2)
    release, workers = threading.Event(), _threads.threads()
    busy = [workers.submit(release.wait) for _ in range(workers._max_workers)]
    try:
        made = calls(100, MUCH)
    finally:
        release.set()
    assert [part[:2] for part in made] == [(0, 50), (50, 100)]
    assert {thread for *_, thread in made} == {threading.current_thread()}
    assert all(future.result() for future in busy)


@pytest.mark.parametrize("fails", [0, 50])
def test_an_error_of_any_part_is_raised_once_all_are_done(cores, fails):
    cores(2)
    done = []

    def function(start, stop):
        if start == fails:
            raise OSError(f"part {start}")
        done.append(start)

    with pytest.raises(OSError, match=f"part {fails}"), Alone():
        in_parts(function, 100, MUCH)
    assert done == [50 - fails]


@pytest.mark.parametrize("separate", [False, True])
def test_a_mux_gives_the_same_however_many_cores_there_are(cores, separate):
    X = np.random.default_rng(0).random((60_000, 8))
    y = np.arange(len(X))
    parts = np.split(X, 3) if separate else [X]
    streams = [stream for part in parts for stream in from_arrays(part, y[: len(part)], n_streams=3)]
    given = []
    for n in (1, 3):
        cores(n)
        blocks = ShuffledMux(streams, random_state=0)._start(None, (0,))
        batches = [blocks.take(4096) for _ in range(40)]
        given.append([np.concatenate([np.ravel(part) for part in (who, *batch.values())]) for batch, who in batches])
    for one, other in zip(*given, strict=True):
        np.testing.assert_array_equal(one, other)
