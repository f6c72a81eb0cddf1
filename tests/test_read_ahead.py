"""Blocks are the same, and come in the same order, whoever plans and gathers them, and when."""

import threading
import time

import numpy as np
import pytest

from streamlearn import StochasticMux, StreamPool, from_arrays, from_npy
from streamlearn._ahead import Ahead
from streamlearn._arrays import ArrayReader
from streamlearn._read_ahead import Blocks

N_ROWS = 150_000  # some ten blocks of which the first ones are small


@pytest.fixture
def pools(tmp_path):
    X = np.arange(N_ROWS)[:, None]
    parts = [X[i::6].copy() for i in range(6)]
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    separate = StreamPool([stream for part in parts for stream in from_arrays(part)])
    return {
        "views": from_arrays(X, n_streams=6),
        "separate": separate,
        "orders": from_arrays(X, by=np.arange(N_ROWS) % 6),
        "files": from_npy(str(tmp_path / "*.npy")),
        "nested": StreamPool([StochasticMux(separate, 3, 16, random_state=None)] * 3),
    }


def rows_of(mux, ahead, monkeypatch, seconds=0.0):
    """Return the rows of a pass, in order, where blocks are read ahead always or never, by a reader who takes his time."""
    monkeypatch.setattr(Ahead, "_pays", lambda self: ahead)
    iterator = mux._start(None, (0,))
    found = []
    while sum(map(len, found)) < N_ROWS and (taken := iterator.take(5000)) is not None:
        found.append(taken[0]["X"][:, 0].copy())
        time.sleep(seconds)
    iterator.close()
    return np.concatenate(found)


@pytest.mark.parametrize("kind", ["views", "separate", "orders", "files", "nested"])
@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_the_rows_are_the_same_with_and_without_a_thread(kind, seconds, pools, monkeypatch):
    mux = StochasticMux(pools[kind], 3, 16, random_state=0)
    assert mux._start(None, (0,)).takes
    alone = rows_of(mux, False, monkeypatch)
    np.testing.assert_array_equal(rows_of(mux, True, monkeypatch, seconds), alone)


@pytest.mark.parametrize("kind", ["views", "separate", "files"])
def test_nothing_is_lost_nor_twice_with_a_thread(kind, pools, monkeypatch):
    found = rows_of(StochasticMux(pools[kind], 3, 16, mode="exhaustive", random_state=0), True, monkeypatch)
    np.testing.assert_array_equal(np.sort(found), np.arange(N_ROWS))


@pytest.mark.parametrize("kind", ["views", "separate", "files", "nested"])
def test_a_state_that_is_saved_while_a_thread_works_ahead_goes_on_alike(kind, pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    mux = StochasticMux(pools[kind], 3, 16, random_state=0)
    iterator = mux._start(None, (0,))
    for i in range(14):
        iterator.take(6000)
        if i % 3:
            continue
        state = iterator.state_dict()
        other = mux._start(None, (0,))
        other.load_state_dict(state)
        before = [iterator.take(6000)[0]["X"].copy() for _ in range(2)]
        after = [other.take(6000)[0]["X"].copy() for _ in range(2)]
        other.close()
        np.testing.assert_array_equal(np.concatenate(after), np.concatenate(before))
    iterator.close()


def test_who_waits_for_a_block_plans_the_next_one(pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    planned = threading.Event()
    locate, gather = ArrayReader.locate, ArrayReader.gather

    def locating(self, plan):
        if threading.current_thread() is threading.main_thread():
            planned.set()
        return locate(self, plan)

    def gathering(self, where):
        if threading.current_thread() is not threading.main_thread():
            assert planned.wait(30)
            planned.clear()
        return gather(self, where)

    monkeypatch.setattr(ArrayReader, "locate", locating)
    monkeypatch.setattr(ArrayReader, "gather", gathering)
    iterator = StochasticMux(pools["views"], 3, 16, random_state=0)._start(None, (0,))
    assert iterator.take(100_000) is not None
    planned.set()
    iterator.close()


def test_a_block_that_cannot_be_planned_is_told_after_those_before_it(pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    n_planned = 0
    locate = Blocks._locate

    def locating(self):
        nonlocal n_planned
        n_planned += 1
        if n_planned == 8:
            raise OSError("gone")
        return locate(self)

    rows = rows_of(StochasticMux(pools["views"], 3, 16, random_state=0), False, monkeypatch)
    monkeypatch.setattr(Blocks, "_locate", locating)
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    iterator = StochasticMux(pools["views"], 3, 16, random_state=0)._start(None, (0,))
    n_given = 512 * (2**7 - 1)  # the first seven blocks, each twice as large as the last one
    found = [iterator.take(512)[0]["X"][:, 0].copy() for _ in range(n_given // 512)]
    with pytest.raises(OSError, match="gone"):
        iterator.take(512)
    np.testing.assert_array_equal(np.concatenate(found), rows[:n_given])
