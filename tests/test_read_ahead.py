"""Blocks are the same, and come in the same order, whoever plans and gathers them, and when."""

import threading
import time

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from streamlearn import StochasticMux, StreamingEstimator, StreamPool, from_arrays, from_npy
from streamlearn._ahead import Ahead
from streamlearn._array_reader import ArrayReader
from streamlearn._plan import Planner

N_ROWS = 400_000  # a dozen blocks of which the first ones are small


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


def refining(pools):
    iterator = StochasticMux(pools["nested"], 3, 16, random_state=0)._start(None, (0,))
    return iterator, iterator._blocks


@pytest.mark.parametrize("ahead", [False, True])
def test_what_the_caller_refines_while_he_waits_changes_nothing(ahead, pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: ahead)
    whole, _ = refining(pools)
    rows = whole.take(200_000)[0]["X"]
    whole.close()
    iterator, blocks = refining(pools)
    rng, n_refined = np.random.default_rng(0), 0
    for at in range(0, 168_000, 4000):
        if rng.random() < 0.5:
            blocks._plan_ahead()
            blocks._refine_ahead(lambda: False)
            n_refined += sum(planned.refined is not None for planned in list(blocks._plans))
        if at % 20_000 == 0:
            resumed, _ = refining(pools)
            resumed.load_state_dict(iterator.state_dict())
            np.testing.assert_array_equal(resumed.take(30_000)[0]["X"], rows[at : at + 30_000])
            resumed.close()
        np.testing.assert_array_equal(iterator.take(4000)[0]["X"], rows[at : at + 4000])
    iterator.close()
    assert n_refined > 10


def test_who_waits_for_the_thread_refines_plans_meanwhile(pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    iterator, blocks = refining(pools)
    refine, locate, refined_here, located_here = type(blocks._reader).refine, ArrayReader.locate, [], []

    def is_here():
        return threading.current_thread() is threading.main_thread()

    def refining_here(self, plan):
        refined_here.append(is_here())
        return refine(self, plan)

    def slowly(self, plan):
        located_here.append(is_here())
        time.sleep(0.01)
        return locate(self, plan)

    monkeypatch.setattr(type(blocks._reader), "refine", refining_here)
    monkeypatch.setattr(ArrayReader, "locate", slowly)
    for _ in range(80):
        iterator.take(4096)
    iterator.close()
    assert not all(located_here)
    assert sum(refined_here) > sum(located_here)  # more than those that are all done here


def test_nothing_is_refined_once_the_thread_is_done(pools):
    iterator, blocks = refining(pools)
    blocks._plan_ahead()
    blocks._refine_ahead(lambda: True)
    assert [planned.refined for planned in blocks._plans] == [None]
    blocks._refine_ahead(lambda: False)
    assert blocks._plans[0].refined is not None
    iterator.take(100)
    assert all(planned.plan is None and planned.refined is None for planned in blocks._unused)  # they are large
    iterator.close()


def test_plans_are_refined_in_their_order_after_an_error(pools, monkeypatch):
    whole, _ = refining(pools)
    rows = whole.take(5_000)[0]["X"]
    iterator, blocks = refining(pools)
    refine, calls = type(blocks._reader).refine, []

    def fails(self, plan):
        calls.append(plan)
        if len(calls) == 1:
            raise MemoryError
        return refine(self, plan)

    monkeypatch.setattr(type(blocks._reader), "refine", fails)
    for _ in range(3):
        blocks._plan_ahead()
    blocks._refine_ahead(lambda: False)
    assert [planned.refined for planned in blocks._plans] == [None] * 3
    np.testing.assert_array_equal(iterator.take(5_000)[0]["X"], rows)
    iterator.close()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("by_caller", [False, True])
@pytest.mark.parametrize("size", [256, 10_240])  # the second spans several of the first blocks
def test_an_interrupt_while_a_plan_is_refined_loses_nothing(half, by_caller, size, pools, monkeypatch):
    whole, _ = refining(pools)
    rows = whole.take(102_400)[0]["X"]
    iterator, blocks = refining(pools)
    monkeypatch.setattr(Ahead, "_pays", lambda self: False)
    refine, calls = type(blocks._reader).refine, []

    def interrupted(self, plan):
        calls.append(plan)
        refined = refine(self, plan)
        if len(calls) == 3 and half:
            self._levels[0].refine(plan)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return refined

    monkeypatch.setattr(type(blocks._reader), "refine", interrupted)
    found, n_interrupts = [], 0
    while len(found) < 102_400:
        try:
            if by_caller:
                blocks._plan_ahead()
                blocks._refine_ahead(lambda: False)
            found.extend(iterator.take(size)[0]["X"])
        except KeyboardInterrupt:
            n_interrupts += 1
    np.testing.assert_array_equal(np.array(found), rows)
    assert n_interrupts == 1


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["views", "files", "nested"])
def test_a_batch_of_several_blocks_that_is_not_complete_comes_again(kind, error, ahead, pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: ahead and error is OSError)
    mux = StochasticMux(pools[kind], 3, 16, random_state=0)
    rows = mux._start(None, (0,)).take(150_000)[0]["X"]
    iterator = mux._start(None, (0,))
    blocks, n_calls = iterator._blocks, 0
    locate = type(blocks._reader).locate

    def fails(self, plan):
        nonlocal n_calls
        n_calls += 1
        if n_calls in (3, 7):
            raise error
        return locate(self, plan)

    monkeypatch.setattr(type(blocks._reader), "locate", fails)
    found, n_failed = 0, 0
    for size in [100, 30_000, 50_000, 1, 40_000, 25_000]:
        while True:
            state = iterator.state_dict()
            try:
                taken = iterator.take(size)[0]["X"]
                break
            except error:
                n_failed += 1
                assert iterator.state_dict() == state
        np.testing.assert_array_equal(taken, rows[found : found + size])
        found += size
    iterator.close()
    assert n_failed == 2


def test_a_thread_reads_what_the_caller_has_planned(pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    threads = {"plan": set(), "locate": set()}
    for kind, name in ((Planner, "plan"), (ArrayReader, "locate")):
        method = getattr(kind, name)

        def noting(self, *args, name=name, method=method):
            threads[name].add(threading.current_thread() is threading.main_thread())
            return method(self, *args)

        monkeypatch.setattr(kind, name, noting)
    iterator = StochasticMux(pools["views"], 3, 16, random_state=0)._start(None, (0,))
    for _ in range(60):
        assert iterator.take(5000) is not None
    iterator.close()
    assert threads == {"plan": {True}, "locate": {True, False}}  # the first blocks are read by the caller


def test_blocks_grow_so_that_batches_of_a_power_of_two_lie_in_one(pools):
    iterator = StochasticMux(pools["views"], 3, 16, random_state=0)._start(None, (0,))
    batches = [iterator.take(4096)[0]["X"] for _ in range(20)]
    iterator.close()
    assert [batch.base is not None for batch in batches] == [False] + [
        True
    ] * 19  # views of blocks, after the first ones


def test_a_block_that_cannot_be_planned_is_told_after_those_before_it(pools, monkeypatch):
    n_planned = 0
    plan = Planner.plan

    def planning(self):
        nonlocal n_planned
        n_planned += 1
        if n_planned == 8:
            raise OSError("gone")
        return plan(self)

    rows = rows_of(StochasticMux(pools["views"], 3, 16, random_state=0), False, monkeypatch)
    monkeypatch.setattr(Planner, "plan", planning)
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    iterator = StochasticMux(pools["views"], 3, 16, random_state=0)._start(None, (0,))
    n_given = 512 * 2**6  # the first seven blocks, each as large as all before it
    found = [iterator.take(512)[0]["X"][:, 0].copy() for _ in range(n_given // 512)]
    with pytest.raises(OSError, match="gone"):
        iterator.take(512)
    np.testing.assert_array_equal(np.concatenate(found), rows[:n_given])


@pytest.mark.parametrize("kind", ["views", "separate", "files", "nested"])
def test_beyond_what_will_be_asked_for_nothing_is_planned_or_read_and_more_is_to_be_had(kind, pools, monkeypatch):
    mux = StochasticMux(pools[kind], 3, 16, random_state=0)
    expected = rows_of(mux, False, monkeypatch)
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    planned = []
    plan = Planner.plan

    def planning(self):
        planned.append(plan(self))
        return planned[-1]

    monkeypatch.setattr(Planner, "plan", planning)
    iterator = mux._start(None, (0,))
    found = []

    def take(n):
        found.append(iterator.take(n)[0]["X"][:, 0].copy())

    for _ in range(4):
        iterator.expect(50_000)
        for _ in range(10):
            take(5000)
        iterator._blocks._reading.settle()
        sizes = [len(one.order) for one in planned]
        given = sum(map(len, found))
        assert sum(sizes) - sizes[-1] < given <= sum(sizes)
    for _ in range(10):  # which nobody expected
        take(5000)
    iterator.close()
    np.testing.assert_array_equal(np.concatenate(found), expected[:250_000])


@pytest.mark.parametrize("settings", [{"max_batches": 60}, {"n_passes": 1, "mode": "with_replacement"}])
@pytest.mark.parametrize("kind", ["views", "files"])
def test_a_fit_reads_no_block_that_it_has_no_use_for(kind, settings, pools, monkeypatch):
    monkeypatch.setattr(Ahead, "_pays", lambda self: True)
    sizes = []
    plan = Planner.plan

    def planning(self):
        sizes.append(len((planned := plan(self)).order))
        return planned

    monkeypatch.setattr(Planner, "plan", planning)
    model = StreamingEstimator(StandardScaler(), lam=16, batch_size=1000, random_state=0, **settings).fit(pools[kind])
    n = model.stream_counts_.sum()
    assert n == (60_000 if "max_batches" in settings else N_ROWS)
    assert sum(sizes) - sizes[-1] < n <= sum(sizes)
