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

    ahead = Ahead(after, **options)
    results = []
    for _ in range(n_calls):
        results.append(ahead.next(function))
        clock.now += seconds_between + 60.0 * (len(results) - 1 == pause_after)
    ahead.close()
    return results, [name.startswith("streamlearn-read") for name in threads[:n_calls]]


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
    results, ahead = threads_of_calls(clock, seconds_inside=1.0, seconds_between=9.0, after=3, least=0.25)
    assert results == list(range(12))
    assert not any(ahead)


def test_a_long_first_call_decides_nothing(clock):
    _, ahead = threads_of_calls(clock, 0.1, 1.0, after=3, n_calls=40, first=60.0, least=0.25)
    assert not any(ahead)


def test_a_pause_does_not_keep_work_from_being_done_ahead(clock):
    _, ahead = threads_of_calls(clock, 1.0, 1.0, after=8, pause_after=4)
    assert ahead == [False] * 9 + [True] * 3


@pytest.mark.parametrize(("busy", "goes_ahead"), [(0.0, True), (1.0, True), (1.9, False), (3.0, False)])
def test_work_stays_with_the_caller_where_the_learner_uses_all_cores(clock, monkeypatch, busy, goes_ahead):
    monkeypatch.setattr(_ahead, "n_cores", lambda: 2)
    monkeypatch.setattr(_ahead.time, "process_time", lambda: busy * clock.now)
    _, ahead = threads_of_calls(clock, 1.0, 1.0, after=3)
    assert any(ahead) == goes_ahead


@pytest.mark.parametrize(("busy", "n_cores"), [(1.0, 2), (1.9, 2), (1.0, 1), (3.0, 8)])
def test_calls_that_are_all_that_is_waited_for_may_use_an_idle_core(clock, monkeypatch, busy, n_cores):
    monkeypatch.setattr(_ahead, "n_cores", lambda: n_cores)
    monkeypatch.setattr(_ahead.time, "process_time", lambda: busy * clock.now)
    told, threads = [], []

    def function():
        told.append(ahead.is_waited_for)
        threads.append(threading.current_thread() is threading.main_thread())
        if threads[-1]:
            clock.now += 1.0

    ahead = Ahead(8, least=0.25, most=0.8)
    for seconds in [0.1] * 20 + [0.5] * 40 + [2.0] * 40 + [0.5] * 20:
        ahead.next(lambda: function() or 1)
        clock.now += seconds
    ahead.close()
    if n_cores - busy < 0.5:
        assert not any(told)
        assert all(threads)
        return
    assert told[:2] == [False, False]  # the first call finds cold caches
    assert all(told[2:60])  # a call that uses another core takes a smaller part of the time
    assert not any(told[70:])
    assert all(threads[:60])
    assert not all(threads)


def test_calls_at_once_do_not_count(clock):
    ahead, threads = Ahead(3, least=0.2), []

    def function():
        threads.append(threading.current_thread() is threading.main_thread())
        if threads[-1]:
            clock.now += 1.0
        return 1

    for _ in range(20):  # three calls in a row, and then a long time for something else
        for i in range(3):
            ahead.next(function, at_once=i > 0)
        clock.now += 9.0
    assert all(threads)
    for _ in range(20):
        ahead.next(function)
        clock.now += 1.0
    ahead.close()
    assert not all(threads)


def test_work_is_done_ahead_from_the_first_call_on_if_asked_for(clock):
    results, ahead = threads_of_calls(clock, seconds_inside=0.0, seconds_between=9.0, after=0)
    assert results == list(range(12))
    assert ahead == [False] + [True] * 11


def test_none_is_the_last_result():
    left = [1, 2, 3, None]
    ahead = Ahead(0)
    assert [ahead.next(lambda: left.pop(0)) for _ in range(4)] == [1, 2, 3, None]
    assert not left
    ahead.close()


def test_an_error_comes_to_the_caller_whose_turn_it_is():
    def function():
        if threading.current_thread() is not threading.main_thread():
            raise OSError("gone")
        return 1

    ahead = Ahead(0)
    assert ahead.next(function) == 1
    with pytest.raises(OSError, match="gone"):
        ahead.next(function)
    ahead.close()


def test_the_caller_assists_while_a_call_is_under_way():
    go_on, told = threading.Event(), []

    def function():
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(60)
        return 1

    def assist(is_over):
        told.append(is_over())
        go_on.set()
        while not is_over():
            time.sleep(0.001)
        told.append(is_over())

    ahead = Ahead(0)
    assert [ahead.next(function, assist=assist) for _ in range(2)] == [1, 1]
    ahead.close()
    assert told == [False, True]  # the first call was the caller's own


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

    ahead = Ahead(0)
    ahead.next(function)
    begun.wait()
    ahead.close()
    assert done.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_start_anew():
    ahead = Ahead(0)
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


def test_the_caller_is_asked_before_each_call_in_a_thread_and_while_it_is_under_way():
    asked, there = threading.Semaphore(0), []

    def function():
        if threading.current_thread() is not threading.main_thread():
            there.append([asked.acquire(timeout=30) for _ in range(2)])
        return 1

    ahead = Ahead(0)
    assert [ahead.next(function, asked.release) for _ in range(5)] == [1] * 5
    asked.release()
    ahead.close()
    assert there[:4] == [[True, True]] * 4  # close may come before the last one begins


def test_the_thread_goes_on_by_itself_where_it_may_and_keeps_order():
    numbers = itertools.count()
    n_done = threading.Semaphore(0)

    def function():
        number = next(numbers)
        n_done.release()
        return number

    ahead = Ahead(0)
    results = []
    for may in (True, False):
        results += [ahead.next(function, goes_on=lambda may=may: may) for _ in range(20)]
    ahead.settle()
    assert results == list(range(40))
    ahead.close()
    waiting = Ahead(0)
    n_done = threading.Semaphore(0)
    waiting.next(function, goes_on=lambda: True)
    waiting.settle()
    # one that was asked for, and one more: not without end
    assert [n_done.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]
    waiting.close()


def test_an_error_of_a_call_that_was_not_asked_for_comes_in_its_turn():
    numbers = itertools.count()

    def function():
        number = next(numbers)
        if number == 2:
            raise OSError("gone")
        return number

    ahead = Ahead(0)
    assert ahead.next(function, goes_on=lambda: True) == 0
    ahead.settle()
    assert ahead.next(function, goes_on=lambda: True) == 1
    with pytest.raises(OSError, match="gone"):
        ahead.next(function, goes_on=lambda: True)
    ahead.close()
