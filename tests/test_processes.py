"""Streams that run in processes of their own give what they give here, and leave nothing behind."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score

from streamlearn import StochasticMux, Streamer, StreamingEstimator, StreamPool, from_arrays
from streamlearn import _processes as processes


def noisy(a, n, rng=None):
    for i in range(n):
        yield {"X": rng.normal(size=(4, 3)) + a, "y": np.full(4, i % 2)}


def seeded(n, random_state):
    yield from np.random.RandomState(random_state).rand(n).tolist()


def count(n, path=None):
    """Yield numbers, and write down what was made and whether it was closed."""
    try:
        for i in range(n):
            if path is not None:
                with open(path, "a") as file:
                    file.write(f"{i}\n")
            yield i
    finally:
        if path is not None:
            with open(path, "a") as file:
                file.write("closed\n")


def pid():
    yield os.getpid()


def streams():
    mux = StochasticMux([Streamer(seeded, 5), "ab"], 2, 3, mode="exhaustive", random_state=1)
    return [Streamer(noisy, a, 20) for a in range(3)] + [Streamer(seeded, 30), list(range(40)), mux]


def workers(pool):
    return list(pool[0]._processes._workers)


def wait_for(started):
    """Wait until processes are gone, and the threads that look after them."""
    gc.collect()
    for worker in started:
        worker._thread.join(20)
        assert not worker._thread.is_alive()
        assert worker._process.exitcode == 0
        assert worker.n_visits == 0
        with pytest.raises(ProcessLookupError):
            os.kill(worker._process.pid, 0)


def plain(item):
    return {name: value.tolist() for name, value in item.items()} if isinstance(item, dict) else item


def same(a, b):
    assert list(map(plain, a)) == list(map(plain, b))


# -- the same items -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_the_items_are_the_same_for_any_number_of_processes(n):
    pool, ahead = StreamPool(streams(), names="abcdef"), StreamPool(streams(), names="abcdef", prefetch=n)
    for mode, lam, n_active in (
        ("exhaustive", 4, 3),
        ("once", 5, 2),
        ("with_replacement", 3, 4),
        ("exhaustive", None, 6),
    ):
        muxes = [StochasticMux(p, n_active, lam, mode=mode, random_state=3) for p in (pool, ahead)]
        for _ in range(2):
            same(*[mux.generate(150) for mux in muxes])
    assert len(workers(ahead)) == n
    same(pool[4], ahead[4])
    same(pool[5].cycle(30), ahead[5].cycle(30))
    assert repr(ahead[0]) == repr(pool[0])
    assert clone(ahead) is ahead
    assert clone(ahead[0]) is ahead[0]

    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0, lam=4, n_active=2)
    fitted = [clone(model).fit(p[:3]) for p in (pool, ahead)]
    np.testing.assert_array_equal(fitted[0].coef_, fitted[1].coef_)
    np.testing.assert_array_equal(fitted[0].stream_counts_, fitted[1].stream_counts_)
    assert len(workers(ahead)) == n


def test_it_runs_elsewhere_in_processes_that_all_streams_share():
    pool = StreamPool([Streamer(pid), Streamer(pid), Streamer(count, 40)], prefetch=1)
    running = iter(pool[2])
    assert next(running) == 0
    (worker,) = workers(pool)
    assert {*pool[0], *pool[1:][0]} == {worker._process.pid}
    assert worker._process.pid != os.getpid()
    again = pickle.loads(pickle.dumps(pool))[1:]
    assert list(again[1]) == list(range(40))
    assert list(running) == list(range(1, 40))
    assert workers(again) != [worker]
    assert StreamPool(pool, prefetch=3)[0]._stream is pool[0]._stream, "never a process within a process"


def test_grid_search_in_two_processes():
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], random_state=0, n_active=2)
    scores = [
        cross_val_score(model, StreamPool([Streamer(noisy, a, 10) for a in range(4)], prefetch=n), cv=2, n_jobs=n_jobs)
        for n, n_jobs in ((0, None), (1, 2))
    ]
    np.testing.assert_array_equal(*scores)


def reuses_its_buffer():
    x = np.zeros(2)
    for i in range(50):
        x[:] = i
        yield x


def test_anything_is_sent_and_buffers_may_be_used_again():
    class Item:
        def __init__(self, value):
            self.value = value

    pool = StreamPool([Streamer(lambda: (Item(i) for i in range(3))), Streamer(reuses_its_buffer)], prefetch=1)
    items = list(pool[0])
    assert [item.value for item in items] == [0, 1, 2]
    assert type(items[0]) is Item
    items = list(pool[1])
    np.testing.assert_array_equal(items, np.repeat(np.arange(50.0)[:, None], 2, 1))
    items[0] += 1  # they are the reader's own


def test_a_daemon_may_have_no_processes_and_runs_it_itself(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert list(StreamPool([Streamer(pid)], prefetch=1)[0]) == [os.getpid()]


# -- bounds -------------------------------------------------------------------------------------------------------------------


def test_little_more_is_made_than_taken(tmp_path):
    sizes = [1, 2, 10, 100]
    pool = StreamPool([Streamer(count, 10**9, tmp_path / str(n)) for n in sizes], prefetch=2)
    for n, stream in zip(sizes, pool, strict=True):
        iterator = iter(stream)
        assert [next(iterator) for _ in range(n)] == list(range(n))
        iterator.close()
    started = workers(pool)
    del pool, stream, iterator
    wait_for(started)
    for n in sizes:
        *made, last = (tmp_path / str(n)).read_text().split()
        assert last == "closed"
        assert n <= len(made) <= 2 * n + 3


def test_chunks_are_bounded_in_bytes(monkeypatch):
    item = np.zeros(2**19)
    items, ended = processes._chunk(iter([item] * 5), 256, 0, set())
    assert (len(items), ended) == (1, None)
    items, ended = processes._chunk(iter([1] * 500), 256, 0, set())
    assert (len(items), ended) in {(n, None) for n in range(1, 257)}


# -- errors -------------------------------------------------------------------------------------------------------------------


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def fails(kind, n=3):
    yield from range(n)
    if kind == "odd":
        raise Odd(1, 2)
    if kind == "item":
        yield threading.Lock()
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise kind


def test_errors_keep_their_type_and_name_the_stream():
    class Mine(KeyError):
        pass

    pool = StreamPool(
        ["xyz", *[Streamer(fails, Mine("k"), n) for n in (0, 3, 30)]],
        names=["good", "at once", "bad", "late"],
        prefetch=1,
    )
    items = []
    with pytest.raises(Mine, match="k") as caught:
        items.extend(iter(pool[1]))
    assert any("raised in a process of its own by stream 'at once'" in note for note in caught.value.__notes__)
    assert any("in fails" in note for note in caught.value.__notes__), "the traceback of the other process"
    with pytest.raises(Mine) as caught:
        list(StochasticMux(pool[[0, 2]], 2, mode="exhaustive", random_state=0))
    where = "raised by stream 'bad' at position 1, visit 0, item 3 of the visit"
    assert any(where in note for note in caught.value.__notes__)

    iterator = iter(pool[3])
    assert [next(iterator) for _ in range(30)] == list(range(30)), "what came before the error"
    with pytest.raises(Mine):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


def stubborn():
    try:
        yield from range(100)
    finally:
        raise ValueError("cannot close")


def test_other_errors(capfd):
    kinds = ["odd", "item", SystemExit(3), "killed"]
    pool = StreamPool([Streamer(fails, kind) for kind in kinds] + ["abc", Streamer(stubborn)], prefetch=1)
    other = iter(pool[4])
    assert next(other) == "a"
    with pytest.raises(RuntimeError, match=r"Odd, which cannot be sent between processes:(.|\n)*1 and 2"):
        list(pool[0])
    with pytest.raises(TypeError, match="an item of type lock cannot be sent to another process"):
        list(pool[1])
    with pytest.raises(SystemExit, match="3"):
        list(pool[2])
    closed = iter(pool[5])
    next(closed)
    closed.close()
    assert list(pool[4]) == ["a", "b", "c"]
    assert "cannot close" in capfd.readouterr().err
    with pytest.raises(RuntimeError, match=r"the process in which the stream ran has died \(exit code -9\)"):
        list(pool[3])
    assert list(pool[4]) == ["a", "b", "c"], "it goes on in a new process"


def test_what_cannot_be_pickled_is_refused_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "Worker", None)
    with (
        open(tmp_path / "f", "w") as file,
        pytest.raises(TypeError, match=r"stream 'b' at position 1.*paths and names"),
    ):
        StreamPool([Streamer(count, 3), Streamer(count, file)], names=["a", "b"], prefetch=1)
    with pytest.raises(TypeError, match=r"stream '0' at position 0 .*gives samples of arrays or files by the block"):
        StreamPool(from_arrays(np.ones((4, 2))), prefetch=2)
    for bad in (-1, 1.5, True, "2", None):
        with pytest.raises(ValueError, match="prefetch must be an int of at least 0"):
            StreamPool(["ab"], prefetch=bad)


def test_a_stream_that_cannot_be_rebuilt_there_says_so():
    class Refuses:
        def __reduce__(self):
            return refuse_elsewhere, (os.getpid(),)

    pool = StreamPool([Streamer(count, Refuses())], prefetch=1)
    with pytest.raises(ImportError, match="not here") as caught:
        list(pool[0])
    assert any("could not be rebuilt in another process" in note for note in caught.value.__notes__)


def refuse_elsewhere(pid):
    if os.getpid() != pid:
        raise ImportError("not here")


# -- ends ---------------------------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind_however_a_pass_ends(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    pool = StreamPool([Streamer(count, 10**9, path) for path in paths], prefetch=2)
    closed, dropped, failed = [iter(StochasticMux(pool[[i]], 1, 5, mode="exhaustive")) for i in range(3)]
    assert [next(iterator) for iterator in (closed, dropped, failed) * 2] == [0, 0, 0, 1, 1, 1]
    closed.close()
    del dropped
    with pytest.raises(ZeroDivisionError):
        failed.throw(ZeroDivisionError)
    started = workers(pool)
    del pool
    wait_for(started)
    assert [path.read_text().split().count("closed") for path in paths] == [1, 1, 1]


def test_idle_processes_end_and_others_take_over(monkeypatch):
    monkeypatch.setattr(processes, "_IDLE_SECONDS", 0.01)
    pool = StreamPool([Streamer(count, 100)], prefetch=1)
    iterator = iter(pool[0])
    next(iterator)
    (worker,) = workers(pool)
    assert list(iterator) == list(range(1, 100)), "a process with an open visit is not idle"
    worker._thread.join(20)
    assert worker._process.exitcode == 0
    assert list(pool[0]) == list(range(100))
    assert workers(pool) != [worker]


SCRIPT = """
import os, signal, sys, time
from streamlearn import Streamer, StreamPool
def endless(seconds):
    i = 0
    while True:
        yield i
        i += 1
        time.sleep(seconds if i > 3 else 0)
pool = StreamPool([Streamer(endless, s) for s in (0.001, {seconds})], prefetch=1)
running = [iter(stream) for stream in pool]
assert [next(iterator) for iterator in running * 2] == [0, 0, 1, 1]
print(*[worker._process.pid for worker in pool[0]._processes._workers], flush=True)
"""


def run(ending, seconds=1000, send=None):
    """Run the script, without a guard for __main__, and wait until its process is gone."""
    command = [sys.executable, "-c", SCRIPT.format(seconds=seconds) + ending]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as script:
        pid = int(script.stdout.readline() or 0)
        assert pid or not script.stderr.read()
        if send is not None:
            os.killpg(script.pid, send)
        # communicate() would miss what was read together with the first line
        out, err = script.stdout.read(), script.stderr.read()
    while True:  # the test's own time limit ends it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return script.returncode, out, err
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="signals and process groups of POSIX")
@pytest.mark.parametrize(
    ("ending", "send", "code", "error"),
    [
        ("", None, 0, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", None, -signal.SIGKILL, ""),
        ("while True: next(running[0])", signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_processes_end_with_the_interpreter(ending, send, code, error):
    returncode, _, err = run(ending, send=send)
    assert returncode == code
    assert (error in err) if error else not err
    assert err.count("Traceback") == bool(error)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_dies_is_told_where_nobody_can_wait_for_its_exit_code():
    code, out, err = run(
        """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some servers do: children leave nothing
os.kill(pool[0]._processes._workers[0]._process.pid, signal.SIGKILL)
try:
    while True:
        next(running[0])
except RuntimeError as error:
    print(error)
"""
    )
    assert (code, err) == (0, "")
    assert "the process in which the stream ran has died" in out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_reads_by_itself_and_leaves_the_parents_processes_alone():
    code, out, err = run(
        """
child = os.fork()
if not child:
    try:
        for i in range(9):
            next(running[0])
    except RuntimeError as error:
        print(error)
    anew = iter(pool[0])
    print(next(anew), flush=True)
    del running, anew, pool
    os._exit(0)
os.waitpid(child, 0)
print(next(running[0]), flush=True)
""",
        seconds=0.001,
    )
    assert (code, err) == (0, "")
    told = "this process was forked while a stream was read: start it anew in the child."
    assert out.splitlines() == [told, "0", "2"]
