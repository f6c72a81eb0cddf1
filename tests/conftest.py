import signal
import threading

import hypothesis
import pytest

from streamlearn import _compiled

# a machine that is busy may take seconds for what takes milliseconds
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """A shell starts what runs in the background with interrupts ignored; some tests raise them."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["compiled", "numpy"])
def way(request, monkeypatch):
    """Both ways to do the same: in compiled loops, and in NumPy where the package was installed without a compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(_compiled, "native", None)
    elif _compiled.native is None:
        pytest.skip("there are no compiled loops: the package was installed without a compiler, or not at all")
    return request.param
