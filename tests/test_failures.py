"""Streams that fail are raised, tried again or set aside; nothing else is lost, and all is told."""

import json
import signal
import threading
import time
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from streamlearn import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    from_arrays,
    mux,
)
from streamlearn._blocks import BlockSource, BlockStream
from streamlearn._failures import OnError


def items(name, n, at=None, error=OSError):
    """Items of a stream, which fails at the item ``at``."""
    for i in range(n):
        if i == at:
            raise error(f"disk of {name}")
        yield name, i


def never(name):
    raise KeyError(name)


class Flaky:
    """A stream that fails so many times before each item."""

    def __init__(self, n_times, n=10):
        self.n_times, self.n, self.failed = n_times, n, Counter()

    def __call__(self, rng):
        for i in range(self.n):
            noise = rng.random()
            if self.failed[i] < self.n_times:
                self.failed[i] += 1
                raise OSError(f"not yet {i}")
            yield i, noise


class Numbers(BlockSource):
    """Rows ``(number of the stream, place)``; some blocks cannot be read, or not even counted."""

    parts = ("X", "y")

    def __init__(self, i, sizes, bad=(), counted=True, width=0):
        self.name = f"s{i}"
        self.i, self.sizes, self.bad, self.counted, self.width = i, np.array(sizes), bad, counted, width

    def rows(self):
        if not self.counted:
            raise OSError(f"{self.name} has no footer")
        return self.sizes

    def read(self, block):
        if block in self.bad:
            raise OSError(f"block {block} is damaged")
        start = self.sizes[:block].sum()
        y = np.arange(start, start + self.sizes[block])
        return {"X": np.stack([np.full(len(y), self.i), y, *[y] * self.width], axis=1).astype(float), "y": y}


def good_rows(source):
    """Rows before the first bad block."""
    if not source.counted:
        return set()
    n = source.sizes[: min(source.bad, default=len(source.sizes))].sum()
    return {(float(source.i), float(j)) for j in range(n)}


def block_pool(sources, prefetch=0, shuffle=False, **options):
    streams = [BlockStream(source, prefetch=prefetch, shuffle=shuffle, **options) for source in sources]
    return StreamPool(streams, names=[source.name for source in sources])


def four():
    """Two streams that are good, one that fails at its item 7, and one that cannot be started."""
    streams = [Streamer(items, "a", 20), Streamer(items, "b", 20, 7), Streamer(never, "c"), Streamer(items, "d", 10)]
    return StreamPool(streams, names=list("abcd"))


MUXES = {
    "exhaustive": lambda pool, **s: StochasticMux(pool, 2, 4, mode="exhaustive", random_state=0, **s),
    "exhaustive, weights": lambda pool, **s: StochasticMux(
        pool, 2, 4, mode="exhaustive", pool_weights=np.arange(1, len(pool) + 1), random_state=0, **s
    ),
    "once": lambda pool, **s: StochasticMux(pool, 2, 4, mode="once", random_state=0, **s),
    "single active": lambda pool, **s: StochasticMux(pool, 2, 4, mode="single_active", random_state=0, **s),
    "with replacement": lambda pool, **s: StochasticMux(pool, 2, 4, random_state=0, **s),
    "until exhausted": lambda pool, **s: StochasticMux(pool, 2, None, random_state=0, **s),
    "shuffled": lambda pool, **s: ShuffledMux(pool, random_state=0, **s),
    "round robin": lambda pool, **s: RoundRobinMux(pool, random_state=0, **s),
    "cycle": lambda pool, **s: RoundRobinMux(pool, mode="cycle", random_state=0, **s),
    "permuted": lambda pool, **s: RoundRobinMux(pool, mode="permuted_cycle", random_state=0, **s),
    "chain": lambda pool, **s: ChainMux(pool, random_state=0, **s),
    "chain cycle": lambda pool, **s: ChainMux(pool, mode="cycle", random_state=0, **s),
}
PASSES_ONCE = ("exhaustive", "exhaustive, weights", "round robin", "chain")


def quietly(iterator):
    """All items, and texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return list(iterator), [str(warning.message) for warning in caught]


# -- generators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MUXES)
def test_a_stream_that_fails_is_set_aside_and_the_others_go_on(name):
    running = MUXES[name](four(), on_error="skip").generate(300)
    got, told = quietly(running)
    counts = Counter(stream for stream, _ in got)
    assert counts["c"] == 0
    table = running.stream_errors
    assert sorted(table["name"]) in (["c"], ["b", "c"])
    by_name = dict(
        zip(table["name"], zip(table["error"], table["n_items"], table["set_aside"], strict=True), strict=True)
    )
    assert by_name["c"] == ("KeyError: 'c'", 0, True)
    assert len(told) == 1
    assert "set aside" in told[0]
    assert "'c' after 0 items (KeyError: 'c')" in told[0]
    if name in PASSES_ONCE:
        assert counts == {"a": 20, "b": 7, "d": 10}
        assert by_name["b"] == ("OSError: disk of b", 7, True)
        for stream in "abd":  # in their order, none missing
            assert [i for s, i in got if s == stream] == list(range(counts[stream]))
    elif name != "once":
        assert len(got) == 300
        if "b" in by_name:
            # nothing of it comes behind its failure
            last = max(i for i, (s, _) in enumerate(got) if s == "b")
            assert all(s in "ad" for s, _ in got[last + 1 :])


@pytest.mark.parametrize("name", MUXES)
def test_if_all_streams_fail_the_mux_ends(name):
    pool = [Streamer(items, "a", 9, 3), Streamer(never, "b"), Streamer(items, "c", 9, 0)]
    running = MUXES[name](pool, on_error="skip").generate()
    got, _ = quietly(running)
    assert {s for s, _ in got} <= {"a"}
    if name != "once":
        assert running.stream_errors["set_aside"] == [True] * 3
    sources = [Numbers(i, [5, 6, 7], bad=(i % 2,)) for i in range(5)]
    running = MUXES[name](block_pool(sources), on_error="skip").generate()
    got, _ = quietly(running)
    if name != "once":
        assert len(set(running.stream_errors["name"])) == 5


@pytest.mark.parametrize("name", MUXES)
def test_raised_errors_keep_their_type_and_name_stream_visit_and_item(name):
    pool = StreamPool([Streamer(items, "a", 5, 0, ZeroDivisionError)], names=["first"])
    with pytest.raises(ZeroDivisionError, match="disk of a") as raised:
        list(MUXES[name](pool).generate())
    assert raised.value.__notes__ == ["raised by stream 'first' at position 0, visit 0, item 0 of the visit"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("on_error", ["skip", "retry"])
def test_interrupts_are_never_swallowed(error, on_error):
    running = RoundRobinMux([Streamer(items, "a", 5, 2, error), "xyz"], on_error=on_error).generate()
    with pytest.raises(error):
        list(running)
    assert running.stream_errors["name"] == []


@pytest.mark.parametrize("name", MUXES)
def test_a_stream_that_recovers_when_it_is_tried_again_loses_nothing(name):
    flaky, steady = Flaky(2), Flaky(0)
    settings = {"on_error": "retry", "max_retries": 2, "retry_delay": 0.0}
    running = MUXES[name]([Streamer(flaky), "wxyz"], **settings).generate(60)
    got, told = quietly(running)
    expected, _ = quietly(MUXES[name]([Streamer(steady), "wxyz"]).generate(60))
    assert got == expected  # the noise as well: from the same seeds
    assert told == []
    table = running.stream_errors
    assert table["set_aside"] == [False]
    assert table["n_errors"] == [sum(flaky.failed.values())]


def test_what_fails_more_often_than_it_is_tried_again_is_set_aside():
    flaky = Flaky(3)
    running = RoundRobinMux(
        StreamPool([Streamer(flaky), "wxyz"], names=["f", "g"]), on_error="retry", max_retries=2, retry_delay=0.0
    ).generate()
    got, told = quietly(running)
    assert got == list("wxyz")
    assert flaky.failed == {0: 3}
    assert running.stream_errors["n_errors"] == [3]
    assert "'f' after 0 items (OSError: not yet 0)" in told[0]


def test_it_waits_longer_each_time():
    rules = OnError("retry", max_retries=20, retry_delay=0.5)
    delays = [rules.delay(n) for n in range(1, 12)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    began = time.monotonic()
    quietly(RoundRobinMux([Streamer(never, "c")], on_error="retry", max_retries=3, retry_delay=0.01).generate())
    assert time.monotonic() - began >= 0.01 + 0.02 + 0.04


def test_running_generators_are_not_tried_again():
    got, told = quietly(mux([items("a", 9, 4), "xyz"], 20, 2, with_replacement=False, on_error="retry", retry_delay=99))
    assert sorted(map(str, got)) == sorted(map(str, [*[("a", i) for i in range(4)], *"xyz"]))
    assert "after 4 items (OSError: disk of a)" in told[0]


def test_a_stream_that_is_shorter_when_it_is_read_again_is_set_aside():
    lengths = iter([5, 2, 2, 2])

    def shrinking():
        n = next(lengths)
        yield from range(n)
        if n == 5:
            raise OSError("gone")

    running = ChainMux([Streamer(shrinking), "ab"], on_error="retry", max_retries=1, retry_delay=0).generate()
    got, _ = quietly(running)
    assert got == [0, 1, 2, 3, 4, "a", "b"]
    assert "gives fewer when it is read again" in running.stream_errors["error"][0]


def test_streams_of_muxes_within_are_set_aside_one_by_one_and_named_once():
    def pool():
        inner = MUXES["exhaustive"](four())
        return StreamPool([inner, Streamer(items, "z", 5), Streamer(Streamer(inner))], names=["in1", "z", "in2"])

    running = StochasticMux(pool(), 2, 4, mode="exhaustive", random_state=0, on_error="skip").generate()
    got, told = quietly(running)
    assert Counter(s for s, _ in got) == {"a": 40, "b": 14, "d": 20, "z": 5}
    assert sorted(running.stream_errors["name"]) == ["in1/b", "in1/c", "in2/b", "in2/c"]
    assert len(told) == 1
    # a mux that is visited again and again does not visit them again
    running = StochasticMux([MUXES["chain"](four())], 1, 90, random_state=0, on_error="skip").generate(200)
    quietly(running)
    assert sorted(running.stream_errors["name"]) == ["stream 0/b", "stream 0/c"]
    assert running.stream_errors["n_errors"] == [1, 1]


def test_a_mux_within_that_has_a_rule_of_its_own_tells_the_outer_one():
    inner = RoundRobinMux(four(), on_error="skip", max_errors=1)
    running = ChainMux([inner, Streamer(items, "z", 3)]).generate()
    with pytest.raises(RuntimeError, match=r"2 streams have failed, and max_errors=1 allows 1: 'stream 0/c'"):
        quietly(running)
    inner = RoundRobinMux(four(), on_error="skip", max_errors=2)
    running = ChainMux([inner, Streamer(items, "z", 3)]).generate()
    got, told = quietly(running)
    assert len(got) == 40
    assert len(told) == 1
    with pytest.raises(KeyError):  # its own streams are none of the inner one's business
        list(ChainMux([inner, Streamer(never, "z")]))


def test_streams_of_a_function_are_set_aside_by_their_number():
    def growing():
        yield Streamer(items, "a", 3)
        yield Streamer(items, "b", 3, 1)
        yield Streamer(items, "c", 3)

    got, _ = quietly(ChainMux(growing, mode="cycle", on_error="skip").generate(13))
    assert [s for s, _ in got] == list("aaabcccaaaccc")
    with pytest.raises(ValueError, match="whose number is not known"):
        ChainMux(growing, on_error="skip", max_errors=0.5)


def test_later_passes_leave_out_what_has_failed():
    running = RoundRobinMux(four(), on_error="skip").cycle(37 + 30 + 30)
    got, told = quietly(running)
    assert Counter(s for s, _ in got) == {"a": 60, "b": 7, "d": 30}
    assert len(told) == 1
    assert running.stream_errors["n_errors"] == [1, 1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be one of 'raise', 'skip', 'retry', got 'ignore'"),
        ({"max_retries": -1}, "max_retries must be an int of at least 0"),
        ({"retry_delay": -0.1}, "retry_delay must be a number of seconds"),
        ({"max_errors": 1.5}, r"max_errors must be the most streams .* got 1.5"),
        ({"max_errors": True}, "max_errors must be"),
    ],
)
def test_wrong_settings_are_refused_at_once(wrong, message):
    for make in MUXES.values():
        with pytest.raises(ValueError, match=message):
            make(["a"], **wrong)


# -- blocks -----------------------------------------------------------------------------------------------------------

SOURCES = st.lists(
    st.tuples(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sets(st.integers(0, 7)), st.integers(0, 4)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(SOURCES, st.sampled_from(list(MUXES)), st.integers(1, 50), st.booleans(), st.sampled_from([0, 1, 2]))
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
        for prefetch in (1, 2):
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


# -- saved and resumed ------------------------------------------------------------------------------------------------


def nested(pool, **settings):
    inner = [StochasticMux(pool, 2, 3, mode="exhaustive"), ShuffledMux(pool)]
    return StochasticMux([*inner, Streamer(items, "n", 9, 5)], 2, 5, random_state=1, **settings)


def failing_blocks():
    sizes = [(4, 5, 3), (2, 8), (10,), (1, 1, 1, 1), (3, 3)]
    bad = [(1,), (), (0,), (3,), ()]
    return block_pool([Numbers(i, size, b, i != 4) for i, (size, b) in enumerate(zip(sizes, bad, strict=True))])


POOLS = {
    "generators": four,
    "blocks": failing_blocks,
    "generators and blocks": lambda: StreamPool([*four(), *failing_blocks()]),
}


def plainly(item):
    return tuple(item["X"].tolist()) if isinstance(item, dict) else item


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", [*MUXES, "nested"])
def test_saved_before_every_item_and_restored_the_rest_is_the_same(name, pool):
    make = nested if name == "nested" else MUXES[name]

    def started():
        return make(POOLS[pool](), on_error="skip").generate(50)

    running = started()
    states, got = [json.dumps(running.state_dict())], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in running:
            got.append(plainly(item))
            states.append(json.dumps(running.state_dict()))
        table = running.stream_errors
        assert table["name"]
        for i, state in enumerate(states):
            resumed = started()
            resumed.load_state_dict(json.loads(state))
            assert [plainly(item) for item in resumed] == got[i:], i
            if i < len(got):
                assert resumed.stream_errors == table, i


def test_what_has_failed_stays_aside_when_it_is_resumed_with_good_data():
    def start(at):
        return RoundRobinMux([Streamer(items, "a", 9), Streamer(items, "b", 9, at)], on_error="skip").generate()

    running = start(2)
    for _ in range(6):
        next(running)
    state = json.loads(json.dumps(running.state_dict()))
    resumed = start(None)
    resumed.load_state_dict(state)
    got, told = quietly(resumed)
    assert got == [("a", i) for i in range(4, 9)]
    assert "'stream 1' after 2 items" in told[0]
    quietly(running)


# -- training ---------------------------------------------------------------------------------------------------------


def batches(i, n=6, at=None, what=None):
    rng = np.random.default_rng(i)
    for k in range(n):
        y = rng.integers(0, 2, 5)
        X = rng.normal(y[:, None], 1.0, (5, 3))
        if k == at:
            if what is None:
                raise OSError(f"disk {i}")
            yield what
        else:
            yield {"X": X, "y": y}


def trained_on(*streams):
    X, y = zip(*[(item["X"], item["y"]) for stream in streams for item in stream], strict=True)
    return GaussianNB().fit(np.concatenate(X), np.concatenate(y))


def same(model, expected):
    np.testing.assert_allclose(model.theta_, expected.theta_, rtol=1e-9)
    np.testing.assert_allclose(model.var_, expected.var_, rtol=1e-9)


BAD_ITEMS = {
    "raises": None,
    "a feature more": {"X": np.ones((5, 4)), "y": np.zeros(5, int)},
    "no batch": 3.5,
    "unequal lengths": {"X": np.ones((5, 3)), "y": np.zeros(4, int)},
    "no X": {"y": np.zeros(4, int)},
    "no y": {"X": np.ones((5, 3))},
}


@pytest.mark.parametrize("what", BAD_ITEMS)
@pytest.mark.parametrize("on_error", ["skip", "retry"])
@pytest.mark.parametrize("batch_size", [7, 256])
def test_items_that_cannot_be_learned_from_are_failures_of_their_stream(what, on_error, batch_size):
    pool = StreamPool(
        [Streamer(batches, i, 6, 4 if i == 3 else None, BAD_ITEMS[what]) for i in range(6)], names=list("abcdef")
    )
    settings = {"on_error": on_error, "retry_delay": 0.0, "n_active": 2, "lam": 2, "random_state": 0}
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], batch_size=batch_size, **settings)
    with pytest.warns(UserWarning, match=r"1 stream failed and was set aside: 'd' after 4 items .*stream_errors_"):
        model.fit(pool)
    same(model, trained_on(*pool[:3], *pool[4:], Streamer(batches, 3, 6).generate(4)))
    assert model.stream_counts_.tolist() == [30, 30, 30, 20, 30, 30]
    assert model.stream_errors_["name"] == ["d"]
    with pytest.raises((OSError, ValueError, TypeError)) as raised:
        clone(model).set_params(on_error="raise").fit(pool)
    assert any("stream 'd'" in note for note in raised.value.__notes__)


def test_the_table_is_there_when_nothing_fails_and_makes_a_frame():
    pd = pytest.importorskip("pandas")
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], random_state=0).fit([Streamer(batches, 0)])
    assert list(pd.DataFrame(model.stream_errors_).columns) == ["name", "n_errors", "error", "n_items", "set_aside"]
    assert not model.stream_errors_["name"]


def test_errors_of_the_estimator_are_not_those_of_streams():
    class Broken(GaussianNB):
        def partial_fit(self, X, y=None, classes=None, sample_weight=None):
            raise OSError("the estimator")

    model = StreamingEstimator(Broken(), classes=[0, 1], on_error="skip", random_state=0)
    with pytest.raises(OSError, match="the estimator"):
        model.fit([Streamer(batches, 0), Streamer(batches, 1)])


def test_if_nothing_could_be_read_that_is_an_error_that_names_the_streams():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], on_error="skip", random_state=0)
    with pytest.raises(
        ValueError, match=r"gave no sample: of 2, 2 streams failed and were set aside: '.' after 0 items"
    ):
        model.fit(StreamPool([Streamer(batches, 0, 6, 0), Streamer(never, "b")], names=["a", "b"]))


# scikit-learn 1.7 takes 60 classes for targets, of which each is another
@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize("mode", ["with_replacement", "single_active", "exhaustive", "once"])
def test_labels_and_lengths_of_damaged_files_do_not_end_the_run(mode):
    sources = [Numbers(i, [20, 20, 20], {1} if i % 3 == 0 else (), i != 5) for i in range(9)]
    pool = block_pool(sources)
    model = StreamingEstimator(GaussianNB(), classes=np.arange(60), mode=mode, on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="set aside"):
        model.fit(pool)
    assert "s5" in model.stream_errors_["name"]
    if mode == "exhaustive":
        assert model.stream_counts_.tolist() == [20, 60, 60, 20, 60, 0, 20, 60, 60]
        model.set_params(classes=None)
        with pytest.warns(UserWarning, match="set aside"):
            model.fit(pool)
        assert model.classes_.tolist() == list(range(60))


def test_labels_are_scanned_up_to_the_failure():
    pool = [Streamer(batches, 0, 6, 3), Streamer(batches, 1)]
    model = StreamingEstimator(SGDClassifier(), classes="scan", on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="set aside"):
        model.fit(pool)
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 5, 8, 11])
def test_a_fit_that_is_stopped_and_resumed_is_the_same_and_tells_the_same(tmp_path, blocks, stop):
    def pool():
        if blocks:
            return block_pool([Numbers(i, [20, 30, 20], {1} if i in (0, 3) else (), i != 2) for i in range(6)])
        return StreamPool([Streamer(batches, i, 12, 7 if i % 2 else None) for i in range(4)], names=list("abcd"))

    def fit(max_batches, **changes):
        settings = {"on_error": "skip", "n_active": 2, "lam": 3, "batch_size": 25, "n_passes": 2, "random_state": 0}
        saving = {"checkpoint": tmp_path / f"{max_batches}", "checkpoint_every": 1, "checkpoint_format": "pickle"}
        model = StreamingEstimator(
            GaussianNB(), classes=np.arange(70), max_batches=max_batches, **{**settings, **saving, **changes}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(pool())

    whole = fit(None)
    assert sorted(whole.stream_errors_["name"]) == (["s0", "s2", "s3"] if blocks else ["b", "d"])
    fit(stop)
    resumed = fit(None, checkpoint=tmp_path / f"{stop}", resume=True)
    assert resumed.theta_.tobytes() == whole.theta_.tobytes()
    assert resumed.stream_counts_.tolist() == whole.stream_counts_.tolist()
    assert resumed.stream_errors_ == whole.stream_errors_
    again = fit(None, checkpoint=tmp_path / "None", resume=True)  # it has ended already
    assert again.stream_errors_ == whole.stream_errors_


def test_a_fit_that_an_error_has_ended_goes_on_without_the_stream(tmp_path):
    settings = {"checkpoint": tmp_path / "fit", "checkpoint_every": 1, "checkpoint_format": "pickle", "batch_size": 5}
    settings |= {"n_active": 1, "lam": None, "classes": [0, 1], "random_state": 0}
    pool = StreamPool([Streamer(batches, i, 6, 3 if i == 1 else None) for i in range(3)], names=list("abc"))
    with pytest.raises(OSError, match="disk 1"):
        StreamingEstimator(GaussianNB(), **settings).fit(pool)
    model = StreamingEstimator(GaussianNB(), on_error="skip", resume=True, **settings)
    with pytest.warns(UserWarning, match="'b' after 3 items"):
        model.fit(pool)
    assert model.stream_counts_.tolist() == [30, 15, 30]
    same(model, trained_on(pool[0], Streamer(batches, 1).generate(3), pool[2]))


def test_iter_fit_of_a_mux_tells_what_failed():
    pool = StreamPool([Streamer(batches, i, 6, 2 if i == 1 else None) for i in range(3)], names=list("abc"))
    model = StreamingEstimator(GaussianNB(), on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="'b' after 2 items"):
        model.iter_fit(RoundRobinMux(pool), classes=[0, 1])
    same(model, trained_on(pool[0], Streamer(batches, 1).generate(2), pool[2]))
    assert model.stream_errors_["name"] == ["b"]


def test_settings_survive_clones_and_are_checked():
    model = StreamingEstimator(GaussianNB(), on_error="retry", max_retries=5, retry_delay=2.0, max_errors=0.1)
    assert clone(model).get_params()["max_errors"] == 0.1
    with pytest.raises(ValueError, match="on_error"):
        model.set_params(on_error="pass").fit(from_arrays(np.ones((4, 2)), np.arange(4)))
