import threading
from concurrent.futures import Future

import pytest

from streamlearn import _together
from streamlearn._together import Together


def results_of(functions):
    calls = Together(functions)
    calls.begin()
    try:
        for future in calls.futures:
            calls.wait(future)
        return [future.result() for future in calls.futures]
    finally:
        calls.close()


def test_all_calls_are_made_once():
    made = []
    assert results_of([lambda i=i: made.append(i) or i for i in range(1000)]) == list(range(1000))
    assert sorted(made) == list(range(1000))


def test_two_calls_are_made_at_a_time():
    meet = threading.Barrier(2, timeout=60)  # neither passes it alone
    assert sorted(results_of([meet.wait] * 4)) == [0, 0, 1, 1]


@pytest.mark.parametrize("why", ["the threads have other work", "the interpreter is ending"])
def test_calls_are_made_without_a_thread(monkeypatch, why):
    class None_:
        def submit(self, function):
            if why == "the interpreter is ending":
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            return Future()

    monkeypatch.setattr(_together, "threads", None_)
    mine = threading.get_ident()
    assert results_of([threading.get_ident] * 5) == [mine] * 5


def test_an_error_is_that_of_its_call():
    calls = Together([lambda: 1, lambda: 1 // 0, lambda: 3])
    calls.begin()
    for future in calls.futures:
        calls.wait(future)
    calls.close()
    first, second, third = calls.futures
    assert first.result() == 1
    assert third.result() == 3
    with pytest.raises(ZeroDivisionError):
        second.result()


def test_close_cancels_what_has_not_begun_and_waits_for_what_is_under_way():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        assert go_on.wait(60)
        done.append(1)

    calls = Together([first, lambda: done.append(2)])
    calls.begin()
    assert begun.wait(60)
    threading.Timer(0.05, go_on.set).start()
    calls.close()
    assert done == [1]
    assert calls.futures[1].cancelled()


def test_an_interrupt_of_a_call_comes_through_and_nothing_runs_on():
    running = []

    def interrupted():
        raise KeyboardInterrupt

    calls = Together([interrupted, lambda: running.append(1)])
    with pytest.raises(KeyboardInterrupt):
        calls.wait(calls.futures[0])
    calls.close()
    assert running == []
