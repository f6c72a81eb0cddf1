import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from streamlearn import _together
from streamlearn._together import Together


class Things:
    """Things that are told apart, and a function that notes for which it is called, and by which thread."""

    def __init__(self, n, function=lambda i: i):
        self.things = [(i,) for i in range(n)]
        self.calls = []
        self.function = function

    def __call__(self, thing):
        self.calls.append((thing[0], threading.get_ident()))
        return self.function(thing[0])

    def results(self):
        calls = Together(self, self.things)
        calls.begin()
        try:
            return [calls.result(thing) for thing in self.things]
        finally:
            calls.close()


def test_all_calls_are_made_once():
    things = Things(1000)
    assert things.results() == list(range(1000))
    assert sorted(i for i, _ in things.calls) == list(range(1000))


def test_two_calls_are_made_at_a_time():
    meet = threading.Barrier(2, timeout=60)  # neither passes it alone
    things = Things(4, lambda i: meet.wait())
    assert sorted(things.results()) == [0, 0, 1, 1]
    assert len({thread for _, thread in things.calls}) == 2


@pytest.mark.parametrize("why", ["the thread has other work", "the interpreter is ending", "it never began"])
def test_calls_are_made_without_a_thread(monkeypatch, why):
    def starts(function, arguments):
        if why == "the interpreter is ending":
            raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(_together, "_queues", {})
    monkeypatch.setattr(_together._thread, "start_new_thread", starts)
    things = Things(50)
    if why == "it never began":
        calls = Together(things, things.things)
        assert [calls.result(thing) for thing in things.things] == list(range(50))
        calls.close()
    else:
        for _ in range(30):
            assert things.results() == list(range(50))
        assert all(queue.qsize() <= 8 for queue in _together._queues.values())  # what waits does not pile up
    assert {thread for _, thread in things.calls} == {threading.get_ident()}


def test_one_thread_serves_all_callers(monkeypatch):
    monkeypatch.setattr(_together, "_queues", {})
    found, together = [], threading.Barrier(6, timeout=60)

    def call():
        for _ in range(20):
            together.wait()
            things = Things(4, lambda i: time.sleep(0.0005) or i)
            found.append((things.results(), {thread for _, thread in things.calls} - {threading.get_ident()}))

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [results for results, _ in found] == [[0, 1, 2, 3]] * 120
    assert len(set.union(*(others for _, others in found))) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_error_is_that_of_its_call_and_a_call_may_be_made_again(error):
    fails = {1}

    def function(i):
        if i in fails:
            raise error(f"call {i}")
        return i

    things = Things(3, function)
    calls = Together(things, things.things)
    calls.begin()
    assert calls.result(things.things[0]) == 0
    with pytest.raises(error, match="call 1"):
        calls.result(things.things[1])
    assert calls.result(things.things[2]) == 2
    fails.clear()
    assert calls.result(things.things[1]) == 1
    calls.close()


def test_close_cancels_what_has_not_begun_and_waits_for_what_is_under_way():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def function(i):
        begun.set()
        assert go_on.wait(60)
        done.append(i)

    things = Things(3, function)
    calls = Together(things, things.things)
    calls.begin()
    assert begun.wait(60)
    threading.Timer(0.05, go_on.set).start()
    calls.close()
    assert done == [0]
    calls.close()


@pytest.mark.parametrize("seconds", [0.0, 0.0002])
def test_an_interrupt_comes_through_and_nothing_hangs_or_runs_on(seconds):
    """Before each line of the module, and of what it calls in the library, the caller is interrupted once."""
    running = []

    def function(i):
        running.append(i)
        time.sleep(seconds)
        running.pop()
        return i

    def lines(at):
        n = 0

        def trace(frame, event, _):
            nonlocal n
            if frame.f_code.co_filename == __file__:
                return None
            n += event == "line"
            if event == "line" and n == at:
                raise KeyboardInterrupt
            return trace

        things = Things(6, function)
        calls = Together(things, things.things)
        before = sys.gettrace()
        try:
            sys.settrace(trace)
            calls.begin()
            results = [calls.result(thing) for thing in things.things]
        except KeyboardInterrupt:
            results = None
        finally:
            sys.settrace(before)
            calls.close()
        assert not running
        assert results in (None, list(range(6)))
        return n, results

    interrupted, at = 0, 1
    while True:
        n, results = lines(at)
        interrupted += results is None
        if n < at:
            break
        at += 1
    assert interrupted > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_meanwhile_does_not_wait():
    begun, go_on = threading.Event(), threading.Event()

    def function(i):
        begun.set()
        assert go_on.wait(60)

    things = Things(3, function)
    calls = Together(things, things.things)
    calls.begin()
    assert begun.wait(60)

    def child():
        calls.close()
        with pytest.raises(RuntimeError, match="forked"):
            calls.result(things.things[0])
        assert Things(9).results() == list(range(9))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    go_on.set()
    calls.close()
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    assert process.exitcode == 0
