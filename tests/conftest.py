import signal
import threading

import pytest


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """A shell starts what runs in the background with interrupts ignored; some tests raise them."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
