"""Edge cases of the muxes, each with its documented outcome; none may spin."""

import itertools
import re

import numpy as np
import pytest

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer, StreamPool, from_arrays, mux

pytestmark = pytest.mark.timeout(20)

MODES = ["with_replacement", "single_active", "once", "exhaustive"]
RESTARTING = MODES[:2]
ENDING = MODES[2:]


def count(n):
    yield from range(n)


def endless(name):
    while True:
        yield name


def nothing():
    yield from ()


MUXES = {
    **{mode: lambda streams, mode=mode: StochasticMux(streams, 2, 4, mode=mode, random_state=0) for mode in MODES},
    "mux": lambda streams: mux(streams, None, 2, lam=4),
    "shuffled": ShuffledMux,
    **{mode: lambda s, mode=mode: RoundRobinMux(s, mode=mode) for mode in ("cycle", "permuted_cycle")},
    "round robin": RoundRobinMux,
    "chain": ChainMux,
    "chain cycle": lambda streams: ChainMux(streams, mode="cycle"),
}
every_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)


# -- what may stand for streams -----------------------------------------------------------------------------------------------


@every_mux
@pytest.mark.parametrize("empty", [[], (), np.array([])], ids=repr)
def test_an_empty_pool_is_refused(make, empty):
    with pytest.raises(ValueError, match="streams is empty"):
        make(empty)


@every_mux
def test_an_empty_slice_of_a_pool_is_refused(make):
    with pytest.raises(ValueError, match="streams is empty"):
        make(StreamPool(["a", "b"])[:0])


@every_mux
@pytest.mark.parametrize(
    "streams", [{"a": [1], "b": [2]}, "abc", b"abc", 3, None, iter([[1]]), ([i] for i in range(3))], ids=repr
)
def test_what_is_not_a_list_of_streams_is_refused(make, streams):
    with pytest.raises(TypeError, match=r"streams must be a list of streams .* or a StreamPool"):
        make(streams)


@every_mux
@pytest.mark.parametrize("bad", [3, None, 1.5], ids=repr)
def test_a_stream_that_cannot_be_one_is_named_by_position(make, bad):
    with pytest.raises(TypeError, match=f"stream at position 1: .*got {bad}"):
        make([[1], bad])


@pytest.mark.parametrize("make", [make for name, make in MUXES.items() if name != "mux"])
def test_a_running_generator_is_refused_with_advice(make):
    with pytest.raises(
        TypeError, match=r"stream at position 1: .*running generator.*Pass the function and its arguments"
    ):
        make([[1], count(3)])


@pytest.mark.parametrize("make", MUXES.values())
def test_the_same_stream_may_stand_twice(make):
    stream = Streamer(count, 3)
    items = list(itertools.islice(make([stream, stream]), 30))
    assert set(items) <= {0, 1, 2}
    assert len(items) >= 4


# -- parameters ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [StochasticMux, lambda s, n, **k: mux(s, 5, n, **k)], ids=["StochasticMux", "mux"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lam": 0}, "lam"),
        ({"lam": 0.99}, "lam"),
        ({"lam": -3}, "lam"),
        ({"lam": "x"}, "lam"),
        ({"lam": np.nan}, "lam"),
        ({"lam": np.inf}, "lam"),
        ({"lam": True}, "lam"),
        ({"lam": 2.5, "dist": "constant"}, "whole number"),
        ({"n_active": 0}, "n_active must be an int of at least 1"),
        ({"n_active": -1}, "n_active"),
        ({"n_active": 1.0}, "n_active"),
        ({"n_active": None}, "n_active"),
        ({"n_active": True}, "n_active"),
        ({"dist": "normal"}, "dist must be one of 'poisson', 'constant', 'binomial', got 'normal'"),
        ({"dist": None}, "dist must be one of"),
        ({"prune_empty_seeds": "yes"}, "prune_empty_seeds must be a bool"),
        ({"prune_empty_seeds": None}, "prune_empty_seeds must be a bool"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": "0"}, "random_state"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused_at_the_call(make, arguments, said):
    arguments = {"n_active": 1, **arguments}
    with pytest.raises(ValueError, match=said):
        make([[1], [2]], arguments.pop("n_active"), **arguments)


@pytest.mark.parametrize("mode", ["Exhaustive", "exhaust", "", None, 1, ["exhaustive"], "cycle"])
def test_unknown_modes_are_refused_with_the_known_ones(mode):
    with pytest.raises(
        ValueError, match="mode must be one of 'with_replacement', 'single_active', 'once', 'exhaustive'"
    ):
        StochasticMux([[1]], 1, mode=mode)
    if mode != "cycle":
        with pytest.raises(ValueError, match="mode must be one of 'exhaustive', 'cycle', 'permuted_cycle'"):
            RoundRobinMux([[1]], mode=mode)
        for streams in ([[1]], nothing):
            with pytest.raises(ValueError, match="mode must be one of 'exhaustive', 'cycle', got"):
                ChainMux(streams, mode=mode)


@pytest.mark.parametrize("bad", [-1, 1.0, "3", True])
def test_bad_n_samples_is_refused_at_the_call(bad):
    with pytest.raises(ValueError, match="n_samples"):
        mux([[1]], bad, 1)


@pytest.mark.parametrize("n", [0, 1, 7, 200])
def test_n_samples_bounds_the_items(n):
    assert len(list(mux([[1], [2, 3]], n, 2, lam=3))) == n


def test_n_samples_of_none_is_without_end():
    assert len(list(itertools.islice(mux([[1], [2, 3]], None, 2, lam=3), 1000))) == 1000
    assert sorted(mux([[1], [2, 3]], None, 2, lam=None, with_replacement=False)) == [1, 2, 3]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_active", [4, 100])
def test_n_active_beyond_the_pool(mode, n_active):
    is_open = set()

    def watched(i):
        key = object()
        is_open.add(key)
        try:
            for _ in range(20):
                yield i, len(is_open)
        finally:
            is_open.remove(key)

    stream = StochasticMux([Streamer(watched, i) for i in range(3)], n_active, 10**6, mode=mode, random_state=0)
    items = list(stream.generate(4000))
    most_open = max(n for _, n in items)
    if mode == "with_replacement":
        assert len(items) == 4000
        assert most_open == n_active
    else:
        assert len(items) == (4000 if mode == "single_active" else 60)
        assert most_open == 3
    assert {i for i, _ in items} == {0, 1, 2}


@pytest.mark.parametrize("mode", MODES)
def test_n_active_beyond_the_pool_of_arrays(mode):
    pool = from_arrays(np.arange(6)[:, None], n_streams=3)
    items = [int(item["X"][0]) for item in StochasticMux(pool, 9, 2, mode=mode, random_state=0).generate(100)]
    if mode == "exhaustive":
        assert sorted(items) == list(range(6))
    elif mode == "once":
        assert len(set(items)) == len(items) >= 3
    else:
        assert len(items) == 100
        assert set(items) == set(range(6))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dist", ["poisson", "constant", "binomial"])
def test_lam_of_one(mode, dist):
    stream = StochasticMux(["aaa", "bbb"], 2, 1, mode=mode, dist=dist, random_state=0)
    n = {"once": 2, "exhaustive": 6}.get(mode, 50)
    assert len(list(stream.generate(50))) == n


# -- empty streams ------------------------------------------------------------------------------------------------------------

EMPTIES = {
    "list": [],
    "generator": Streamer(nothing),
    "iterable": Streamer(lambda: iter(())),
    "mux": StochasticMux([[], Streamer(nothing)], 2, mode="with_replacement"),
    "chain of nothing": ChainMux(lambda: iter(())),
    "cycle": RoundRobinMux([[], []], mode="cycle"),
}


@pytest.mark.parametrize("empty", EMPTIES.values(), ids=EMPTIES)
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_active", [1, 2, 9])
@pytest.mark.parametrize("lam", [4, None])
def test_a_mux_in_which_no_stream_yields_ends(empty, mode, prune, n_active, lam):
    stream = StochasticMux([empty] * 3, n_active, lam, mode=mode, prune_empty_seeds=prune)
    assert list(stream) == list(stream.cycle()) == []


@every_mux
@pytest.mark.parametrize("empty", EMPTIES.values(), ids=EMPTIES)
def test_every_mux_ends_when_no_stream_yields(make, empty):
    assert list(make([empty, empty])) == []


@pytest.mark.parametrize("empty", EMPTIES.values(), ids=EMPTIES)
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_active", [1, 2, 9])
def test_one_empty_stream_among_full_ones(empty, mode, prune, n_active):
    stream = StochasticMux(["aaa", empty, "bbb"], n_active, 5, mode=mode, prune_empty_seeds=prune, random_state=0)
    items = list(stream.generate(300))
    assert set(items) == {"a", "b"}
    if mode == "exhaustive":
        assert sorted(items) == list("aaabbb")
    elif mode in RESTARTING:
        assert len(items) == 300
        assert min(map(items.count, "ab")) > 50


@every_mux
def test_every_mux_goes_on_without_its_empty_streams(make):
    items = list(itertools.islice(make([[], "aaa", [], Streamer(nothing), "bbb", []]), 60))
    assert set(items) == {"a", "b"}


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("mode", RESTARTING)
def test_prune_empty_seeds_says_whether_an_empty_stream_is_visited_again(mode, prune):
    visits = []

    def sometimes():
        visits.append(len(visits))
        if len(visits) % 2 == 0:
            yield "b"

    stream = StochasticMux(["aa", Streamer(sometimes)], 1, 2, mode=mode, prune_empty_seeds=prune, random_state=0)
    items = list(stream.generate(200))
    assert len(items) == 200
    if prune:
        assert visits == [0]
        assert set(items) == {"a"}
    else:
        assert len(visits) > 10
        assert set(items) == {"a", "b"}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("mode", RESTARTING)
def test_an_empty_stream_that_is_kept_comes_back_when_all_are_active(mode, position):
    """Its slot must not be lost for ever because it had nothing to give when it was first drawn."""
    visits = []

    def later():
        visits.append(True)
        if len(visits) > 1:
            yield from "bbb"

    streams = ["aaa"]
    streams.insert(position, Streamer(later))
    stream = StochasticMux(streams, 2, 3, mode=mode, prune_empty_seeds=False, random_state=0)
    assert set(stream.generate(200)) == {"a", "b"}


@pytest.mark.parametrize("mode", RESTARTING)
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("n_active", [1, 2])
def test_streams_that_run_dry_end_the_mux(mode, prune, n_active):
    stocks = [list(range(5)), list(range(10, 17))]

    def emptying(stock):
        while stock:
            yield stock.pop()

    stream = StochasticMux(
        [Streamer(emptying, stock) for stock in stocks], n_active, 3, mode=mode, prune_empty_seeds=prune
    )
    assert sorted(stream) == [*range(5), *range(10, 17)]


@pytest.mark.parametrize("mode", RESTARTING)
def test_pruned_streams_leave_their_share_to_the_others(mode):
    streams = [[], Streamer(endless, "a"), Streamer(endless, "b")]
    with_empty = StochasticMux(streams, 1, 4, pool_weights=[2, 1, 1], mode=mode, random_state=0)
    items = list(with_empty.generate(20_000))
    # 5000 visits, each to a or b with even chance: standard error of a share sqrt(1/4 * (1 + 3/16) / 5000)
    assert abs(items.count("a") / 20_000 - 0.5) < 5 * np.sqrt(0.25 * (1 + 3 / 16) / 5000)


# -- endless streams and cycles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MUXES if name != "once"])
def test_endless_streams_in_an_endless_mux(name):
    items = list(itertools.islice(MUXES[name]([Streamer(endless, "a"), Streamer(endless, "b")]), 2000))
    assert len(items) == 2000
    assert set(items) == ({"a"} if "chain" in name else {"a", "b"})


@pytest.mark.parametrize("mode", MODES)
def test_endless_streams_without_lam_are_never_replaced(mode):
    stream = StochasticMux([Streamer(endless, i) for i in range(20)], 2, None, mode=mode, random_state=0)
    items = list(stream.generate(2000))
    assert len(items) == 2000
    assert len(set(items)) <= 2


def test_once_leaves_endless_streams_after_a_visit():
    stream = StochasticMux([Streamer(endless, i) for i in range(20)], 3, 5, mode="once", dist="constant")
    assert sorted(stream) == sorted(list(range(20)) * 5)


@pytest.mark.parametrize("mode", ["cycle", "permuted_cycle"])
def test_a_cycle_ends_when_a_whole_turn_yields_nothing(mode):
    stocks = [[1, 2], [3], []]

    def shrinking(stock):
        yield from stock
        stock.clear()

    assert sorted(RoundRobinMux([Streamer(shrinking, stock) for stock in stocks], mode=mode)) == [1, 2, 3]
    stocks = [[1, 2], [3], []]
    assert list(ChainMux([Streamer(shrinking, stock) for stock in stocks], mode="cycle")) == [1, 2, 3]


# -- errors of streams --------------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def breaks(n):
    yield from range(n)
    raise Broken("at last")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("named", [True, False])
def test_a_stream_that_raises_at_item_seven(mode, named):
    streams = ["", Streamer(breaks, 7)]
    if named:
        streams = StreamPool(streams, names=["quiet", "monday"])
    with pytest.raises(Broken, match="at last") as caught:
        list(StochasticMux(streams, 1, 100, mode=mode, random_state=0))
    name = " 'monday'" if named else ""
    assert caught.value.__notes__ == [f"raised by stream{name} at position 1, visit 0, item 7 of the visit"]


@every_mux
def test_every_mux_names_the_stream_that_raises(make):
    with pytest.raises(Broken) as caught:
        list(itertools.islice(make([Streamer(breaks, 0), Streamer(breaks, 0)]), 10))
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"raised by stream at position [01], visit 0, item 0 of the visit", note)


def test_one_error_object_raised_twice_keeps_both_notes():
    error = Broken()

    def fails():
        raise error
        yield

    for _ in range(2):
        with pytest.raises(Broken):
            list(ChainMux([Streamer(fails)]))
    assert len(error.__notes__) == 2


def test_an_error_of_a_running_generator_is_named():
    with pytest.raises(Broken) as caught:
        list(mux(["", breaks(2)], 10, 1, lam=50))
    assert caught.value.__notes__ == ["raised by stream at position 1, visit 0, item 2 of the visit"]


# -- nested muxes -------------------------------------------------------------------------------------------------------------


@every_mux
def test_every_mux_nests_in_every_other(make):
    def inner(name):
        return Streamer(lambda: make([[f"{name}{i}"] * 3 for i in range(3)]))

    for outer in MUXES.values():
        items = list(itertools.islice(outer([inner("a"), inner("b")]), 200))
        assert len(items) >= 2
        assert {item[0] for item in items} <= {"a", "b"}


def test_a_mux_of_muxes_of_nothing_but_one_item():
    stream = [["x"]]
    for _ in range(20):
        stream = [StochasticMux([*stream, []], 2, None, mode="exhaustive")]
    assert list(stream[0]) == ["x"]


@pytest.mark.timeout(20)
def test_a_stream_that_ends_in_one_slot_goes_on_in_another():
    """Weighted slots and running generators: what is exhausted in one slot may be held by another."""
    for seed in range(20):
        items = list(
            mux([iter(range(50)), iter(range(50))], None, 2, lam=None, pool_weights=[0.9, 0.1], random_state=seed)
        )
        assert sorted(items) == sorted([*range(50), *range(50)])


@pytest.mark.timeout(20)
def test_a_generator_function_of_array_streams_gives_new_ones_in_each_cycle():
    numbers = iter(range(1, 100))

    def streams():
        yield from from_arrays(np.full((3, 1), next(numbers)))

    items = ChainMux(streams, mode="cycle").generate(9)
    assert [int(item["X"][0]) for item in items] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
