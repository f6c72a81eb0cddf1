"""Streams that fail are raised, tried again or set aside; nothing else is lost, and all is told."""

import json
import time
import warnings
from collections import Counter

import pytest

from streamlearn import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    StreamPool,
    mux,
)
from streamlearn._failures import OnError
from tests.failing import MUXES, PASSES_ONCE, Flaky, Numbers, block_pool, four, items, never, quietly

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


# -- streams that fail when they are closed ---------------------------------------------------------------------------


def closes_badly(name):
    try:
        for i in range(100):
            yield name, i
    finally:
        raise OSError("the disk is gone")


@pytest.mark.parametrize("on_error", ["skip", "retry"])
def test_a_stream_that_fails_when_a_visit_ends_is_set_aside(on_error):
    pool = StreamPool([Streamer(closes_badly, "a"), Streamer(items, "b", 1000)], names=["a", "b"])
    running = StochasticMux(pool, 1, 4, random_state=0, on_error=on_error, retry_delay=0).generate(200)
    got, _ = quietly(running)
    counts = Counter(stream for stream, _ in got)
    assert len(got) == 200
    assert running.stream_errors == {
        "name": ["a"],
        "n_errors": [1],
        "error": ["OSError: the disk is gone"],
        "n_items": [counts["a"]],
        "set_aside": [True],
    }


def test_a_stream_that_fails_when_a_visit_ends_is_named():
    pool = StreamPool([Streamer(closes_badly, "a")], names=["monday"])
    got = []
    with pytest.raises(OSError, match="the disk is gone") as caught:
        got.extend(StochasticMux(pool, 1, 4, random_state=0).generate(200))
    (note,) = caught.value.__notes__
    assert note.startswith("raised by stream 'monday' at position 0, visit 0, item ")
    assert note.endswith("of the visit, when it was closed")


def test_items_of_a_stream_that_was_paused_are_counted_through():
    def breaks():
        yield from range(7)
        raise RuntimeError

    for seed in range(10):
        mux_of_two = StochasticMux([Streamer(breaks), range(100, 120)], 2, 2, mode="exhaustive", random_state=seed)
        with pytest.raises(RuntimeError) as caught:
            list(mux_of_two)
        assert caught.value.__notes__ == ["raised by stream at position 0, visit 0, item 7 of the visit"]
