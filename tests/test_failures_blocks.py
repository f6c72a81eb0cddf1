"""Blocks of files that cannot be read: all before the damage comes, and nothing else is lost."""

import os
import signal
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from streamlearn import (
    ChainMux,
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    from_npy,
)
from streamlearn._block_reader import BlockReader
from tests.failing import (
    MUXES,
    PASSES_ONCE,
    Numbers,
    batches,
    block_pool,
    four,
    good_rows,
    items,
    quietly,
    reading_together,
)

SOURCES = st.lists(
    st.tuples(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sets(st.integers(0, 7)), st.integers(0, 4)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(SOURCES, st.sampled_from(list(MUXES)), st.integers(1, 50), st.booleans(), st.sampled_from([0, 1, 2, "together"]))
def test_of_files_all_before_the_damage_comes_and_nothing_else_is_lost(drawn, name, size, shuffle, prefetch):
    sources = [Numbers(i, sizes, {b for b in bad if b < len(sizes)}, n > 0) for i, (sizes, bad, n) in enumerate(drawn)]

    def read(prefetch):
        running = MUXES[name](block_pool(sources, prefetch, shuffle), on_error="skip")._start(None, (0,))
        rows, who = [], []
        while len(rows) < 1000 and (taken := running.take(size)) is not None:
            assert len(taken[1]) <= size
            rows += map(tuple, taken[0]["X"].tolist())
            who += taken[1].tolist()
        running.close()
        return rows, who, running.failures.table()

    if prefetch == "together":
        with reading_together():
            rows, who, failed = read(0)
    else:
        rows, who, failed = read(prefetch)
    assert [i for i, _ in rows] == who
    assert len(set(failed["name"])) == len(failed["name"])
    assert set(failed["name"]) <= {source.name for source in sources if source.bad or not source.counted}
    assert {source.name for source in sources if not source.counted} <= set(failed["name"])
    assert (rows, who, failed) == read(0)  # threads change nothing
    if name in PASSES_ONCE:
        assert set(failed["name"]) == {source.name for source in sources if source.bad or not source.counted}
        assert len(set(rows)) == len(rows)
        if not shuffle:
            assert set(rows) == set.union(*map(good_rows, sources))
        whole = set.union(set(), *(good_rows(s) for s in sources if not s.bad))
        assert whole <= set(rows)


def test_blocks_that_were_planned_ahead_in_threads_are_the_same():
    sources = [Numbers(i, [2000] * 8, {i % 9} if i % 9 < 8 and i % 2 else ()) for i in range(24)]

    def read(name, prefetch):
        running = MUXES[name](block_pool(sources, prefetch), on_error="skip")._start(None, (0,))
        rows = []
        while sum(map(len, rows)) < 300_000 and (taken := running.take(5000)) is not None:
            rows.append(taken[0]["X"])
            time.sleep(0)
        running.close()
        return np.concatenate(rows), running.failures.table()

    rows, failed = read("exhaustive", 0)
    assert set(map(tuple, rows.tolist())) == set.union(*map(good_rows, sources))
    assert len(failed["name"]) == 11
    for name in ("exhaustive", "with replacement", "single active"):
        expected, told = read(name, 0)
        for prefetch, way in ((0, reading_together()), (1, nullcontext()), (2, nullcontext())):
            with way:
                found, told_too = read(name, prefetch)
            np.testing.assert_array_equal(found, expected)
            assert told_too == told


class FlakyNumbers(Numbers):
    n_failed = 0

    def read(self, block):
        if block == 1 and self.n_failed < 2:
            self.n_failed += 1
            raise OSError("the network is away")
        return super().read(block)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_block_that_can_be_read_when_it_is_tried_again_is_not_lost(prefetch, mixed):
    sources = [FlakyNumbers(0, [4, 5, 6]), Numbers(1, [7, 7])]
    pool = [*block_pool(sources, prefetch), *([Streamer(items, "z", 3)] if mixed else [])]
    settings = {"on_error": "retry", "max_retries": 2, "retry_delay": 0.0}
    got, told = quietly(StochasticMux(pool, 2, 4, mode="exhaustive", random_state=0, **settings).generate())
    assert {tuple(item["X"].tolist()) for item in got if isinstance(item, dict)} == set.union(*map(good_rows, sources))
    assert len(got) == 29 + 3 * mixed
    assert told == []


@pytest.mark.parametrize("name", PASSES_ONCE)
def test_of_files_among_generators_all_before_the_damage_comes(name):
    sources = [Numbers(0, [4, 5, 6], {2}), Numbers(1, [7, 7]), Numbers(2, [3], {0}), Numbers(3, [3], counted=False)]
    pool = [*block_pool(sources), Streamer(items, "z", 9, 4)]
    running = MUXES[name](pool, on_error="skip").generate()
    got, _ = quietly(running)
    assert {tuple(item["X"].tolist()) for item in got if isinstance(item, dict)} == set.union(*map(good_rows, sources))
    assert sum(isinstance(item, tuple) for item in got) == 4
    assert len(running.stream_errors["name"]) == 4


def test_rows_of_another_form_are_a_failure_of_their_stream():
    sources = [Numbers(0, [4, 5]), Numbers(1, [3, 3], width=1)]
    with pytest.raises(ValueError, match=r"X has rows of shape \(3,\) and numbers, but of shape \(2,\)"):
        quietly(ChainMux(block_pool(sources)).generate())
    got, told = quietly(ChainMux(block_pool(sources), on_error="skip").generate())
    assert len(got) == 9
    assert "'s1' after 0 items" in told[0]


POOLS_THAT_WAIT = {
    "generators": lambda: [Streamer(batches, 0, 9, 3)],
    "blocks": lambda: block_pool([Numbers(0, [4, 5]), Numbers(1, [6, 6], {1})], 1),
    "blocks, in a thread": lambda: block_pool([Numbers(0, [9000] * 5, {4}), Numbers(1, [9000] * 5)], 1),
}


@pytest.mark.parametrize("pool", POOLS_THAT_WAIT)
@pytest.mark.parametrize("restarting", [False, True])
def test_waiting_for_a_retry_can_be_interrupted(pool, restarting, request):
    # some libraries (Polars) let the system begin a wait again that a signal has ended
    signal.siginterrupt(signal.SIGINT, not restarting)
    request.addfinalizer(lambda: signal.siginterrupt(signal.SIGINT, True))
    began = time.monotonic()
    timer = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])  # as Ctrl-C does
    timer.start()
    settings = {"on_error": "retry", "retry_delay": 1000.0, "batch_size": 256, "random_state": 0}
    with pytest.raises(KeyboardInterrupt):
        StreamingEstimator(StandardScaler(), **settings).fit(POOLS_THAT_WAIT[pool]())
    assert time.monotonic() - began < 50
    timer.join()


def test_streams_that_run_ahead_in_other_processes_fail_alike():
    def read(**options):
        pool = StreamPool([*four(), Streamer(items, "e", 30)], names=list("abcde"), **options)
        running = StochasticMux(pool, 3, 4, mode="exhaustive", random_state=0, on_error="skip").generate()
        got, _ = quietly(running)
        return got, running.stream_errors

    assert read(prefetch=2) == read()


def test_a_state_within_a_block_is_resumed_without_the_file_that_has_failed_since(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"f{i}.npy", np.arange(i * 10_000, (i + 1) * 10_000.0)[:, None])

    def start(on_error):
        pool = from_npy([tmp_path / f"f{i}.npy" for i in range(4)])
        return StochasticMux(pool, 4, 16, random_state=0, on_error=on_error)._start(None, (0,))

    for on_error in ("skip", "raise"):
        running = start(on_error)
        for _ in range(8):
            running.take(512)
        running.take(3500)  # further into the block than there are rows of the other files
        state, resumed = running.state_dict(), start(on_error)
        os.rename(tmp_path / "f1.npy", tmp_path / "gone")
        if on_error == "raise":
            with pytest.raises((ValueError, FileNotFoundError)):
                resumed.load_state_dict(state)
        else:
            resumed.load_state_dict(state)
            parts, who = resumed.take(512)
            assert len(who) == 512
            assert not ((parts["X"] >= 10_000) & (parts["X"] < 20_000)).any()
        os.rename(tmp_path / "gone", tmp_path / "f1.npy")


@pytest.mark.parametrize("n_ahead", [0, 1])
def test_what_is_located_again_after_an_interrupt_is_given_once(n_ahead, monkeypatch):
    """Cursors and windows go back to where they stood before."""

    def start():
        pool = block_pool([Numbers(i, [70, 50, 90]) for i in range(5)], shuffle=True)
        return StochasticMux(pool, 3, 6, mode="exhaustive")

    whole = start()._start(5, (0,)).take(10**6)[0]["X"]
    running, locate, calls = start()._start(5, (0,)), BlockReader.locate, []

    def interrupted(self, plan):
        found = locate(self, plan)
        calls.append(plan)
        if len(calls) == 1 + n_ahead:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(BlockReader, "locate", interrupted)
    found, state, taken = [], None, ()
    while state is None or taken is not None:
        try:
            taken = running.take(4)
        except KeyboardInterrupt:
            state = running.state_dict()
        else:
            found.extend([] if taken is None else taken[0]["X"])
    assert len(calls) > 2
    np.testing.assert_array_equal(np.array(found), whole)
    resumed = start()._start(5, (0,))
    resumed.load_state_dict(state)
    rest = resumed.take(10**6)[0]["X"]
    np.testing.assert_array_equal(rest, whole[len(whole) - len(rest) :])
