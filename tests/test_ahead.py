import itertools
import multiprocessing
import os
import threading
import time

import pytest

from streamlearn import _ahead
from streamlearn._ahead import Ahead


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_ahead.time, "perf_counter", clock)
    return clock


def threads_of_calls(clock, seconds_inside, seconds_between, after, n_calls=12, first=0.0, pause_after=-1, **options):
    """Call a function that takes ``seconds_inside``, every so often, and return its results and in which threads it ran.

    The first call takes ``first`` seconds more, and after one of them there is a pause of a minute.
    """
    numbers, threads = itertools.count(), []

    def function():
        threads.append(threading.current_thread().name)
        if threading.current_thread() is threading.main_thread():
            clock.now += seconds_inside + first * (len(threads) == 1)
        return next(numbers)

    ahead = Ahead("plan", after, **options)
    results = []
    for _ in range(n_calls):
        results.append(ahead.next(function))
        clock.now += seconds_between + 60.0 * (len(results) - 1 == pause_after)
    ahead.close()
    return results, [name.startswith("streamlearn-plan") for name in threads[:n_calls]]


def test_work_that_takes_most_of_the_time_is_done_ahead_from_some_call_on(clock):
    results, ahead = threads_of_calls(clock, seconds_inside=2.0, seconds_between=1.0, after=3)
    assert results == list(range(12))
    assert ahead == [False] * 4 + [True] * 8


@pytest.mark.parametrize(("seconds_between", "goes_ahead"), [(0.1, False), (1.0, True)])
def test_work_that_takes_nearly_all_of_the_time_stays_with_the_caller_where_that_is_asked_for(
    clock, seconds_between, goes_ahead
):
    results, ahead = threads_of_calls(clock, 2.0, seconds_between, after=3, most=0.9)
    assert results == list(range(12))
    assert any(ahead) == goes_ahead


def test_work_that_takes_little_of_the_time_stays_with_the_caller(clock):
    results, ahead = threads_of_calls(clock, seconds_inside=1.0, seconds_between=9.0, after=3)
    assert results == list(range(12))
    assert not any(ahead)


def test_a_long_first_call_decides_nothing(clock):
    _, ahead = threads_of_calls(clock, 0.1, 1.0, after=3, n_calls=40, first=60.0)
    assert not any(ahead)


def test_a_pause_does_not_keep_work_from_being_done_ahead(clock):
    _, ahead = threads_of_calls(clock, 1.0, 1.0, after=8, pause_after=4)
    assert ahead == [False] * 9 + [True] * 3


def test_work_is_done_ahead_from_the_first_call_on_if_asked_for(clock):
    results, ahead = threads_of_calls(clock, seconds_inside=0.0, seconds_between=9.0, after=0)
    assert results == list(range(12))
    assert ahead == [False] + [True] * 11


def test_none_is_the_last_result():
    left = [1, 2, 3, None]
    ahead = Ahead("plan", 0)
    assert [ahead.next(lambda: left.pop(0)) for _ in range(4)] == [1, 2, 3, None]
    assert not left
    ahead.close()


def test_an_error_comes_to_the_caller_whose_turn_it_is():
    def function():
        if threading.current_thread() is not threading.main_thread():
            raise OSError("gone")
        return 1

    ahead = Ahead("read", 0)
    assert ahead.next(function) == 1
    with pytest.raises(OSError, match="gone"):
        ahead.next(function)
    ahead.close()


def test_close_waits_for_what_is_under_way():
    done = threading.Event()
    begun = threading.Event()

    def function():
        if threading.current_thread() is threading.main_thread():
            return 1
        begun.set()
        time.sleep(0.05)
        done.set()
        return 2

    ahead = Ahead("read", 0)
    ahead.next(function)
    begun.wait()
    ahead.close()
    assert done.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_start_anew():
    ahead = Ahead("plan", 0)
    ahead.next(lambda: 1)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child():
        try:
            ahead.next(lambda: 1)
        except RuntimeError as error:
            queue.put(str(error))
        else:
            queue.put("")

    process = context.Process(target=child)
    process.start()
    process.join()
    assert "start a new pass" in queue.get()
    ahead.close()
