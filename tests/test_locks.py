"""Locks that a thread holds when the process is forked are open in the child."""

import os
import threading

import pytest

from streamlearn import _locks


class Owner:
    def __init__(self):
        self._lock = _locks.lock_of(self)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forked processes")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_lock_that_a_thread_holds_is_open_in_a_forked_process():
    owner, held, done = Owner(), threading.Event(), threading.Event()

    def hold():
        with owner._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if not child:
        os._exit(0 if owner._lock.acquire(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    assert owner._lock.locked()
    done.set()
    thread.join(20)
    assert os.waitstatus_to_exitcode(status) == 0
