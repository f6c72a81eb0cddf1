"""Every running stream says where it stands, and goes on there: saved before every item, restored, compared."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer, StreamPool, from_arrays, mux
from streamlearn._blocks import BlockSource, BlockStream
from streamlearn._state import check_state, pack, unpack

N_ITEMS = 17


def noisy(name, n, rng):
    for i in range(n):
        yield name, i, round(float(rng.random()), 12)


def plain(name, n):
    for i in range(n):
        yield name, i


def growing(n):
    for i in range(n):
        yield Streamer(noisy, f"lazy{i}", i + 2)


class Numbers(BlockSource):
    parts = ("X", "y")

    def __init__(self, name, sizes):
        self.name = name
        self._sizes = np.array(sizes)

    def rows(self):
        return self._sizes

    def read(self, block):
        begin = self._sizes[:block].sum()
        values = np.arange(begin, begin + self._sizes[block])
        return {"X": values[:, None] + 0.5, "y": values}


class Own:
    """A user's iterator that tells its own state."""

    n_skipped = 0

    def __init__(self):
        self.at = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.at += 1
        if self.at > 12:
            raise StopIteration
        return "own", self.at

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def generators():
    return [
        Streamer(noisy, "a", 7),
        Streamer(noisy, "b", 25),
        Streamer(plain, "c", 3),
        Streamer("defg"),
        Streamer(plain, "e", 11),
    ]


def arrays(shuffle=True):
    X = np.arange(60.0)[:, None]
    return from_arrays(X, np.arange(60), n_streams=5, shuffle=shuffle)


def separate():
    return [stream for i in range(4) for stream in from_arrays(np.arange(9.0 + i)[:, None] + 100 * i, np.arange(9 + i))]


def sparse_rows():
    return from_arrays(sparse.csr_matrix(np.arange(1.0, 41.0)[:, None]), np.arange(40), n_streams=3)


def blocks(prefetch=0, window=None):
    sizes = [(4, 5, 3), (2, 8), (10,), (1, 1, 1, 1)]
    return [
        BlockStream(Numbers(f"s{i}", size), window=window, prefetch=prefetch, cache_bytes=200)
        for i, size in enumerate(sizes)
    ]


POOLS = {
    "generators": generators,
    "arrays": arrays,
    "arrays in order": lambda: arrays(shuffle=False),
    "separate arrays": separate,
    "sparse": sparse_rows,
    "muxes": lambda: [StochasticMux(separate(), 2, 3) for _ in range(3)],
    "muxes of muxes": lambda: [StochasticMux([ShuffledMux(arrays(shuffle=False))] * 2, 3, 5) for _ in range(2)],
    "blocks": blocks,
    "muxes of blocks": lambda: [StochasticMux(blocks(), 2, 3) for _ in range(2)],
    "muxes of blocks, prefetch 2": lambda: [StochasticMux(blocks(prefetch=2, window=6), 2, 3) for _ in range(2)],
    "blocks, prefetch 2": lambda: blocks(prefetch=2),
    "blocks, windows": lambda: blocks(window=6),
    "generators and arrays": lambda: [*generators()[:3], *arrays(), *blocks()[:2]],
    "own state": lambda: [Streamer(Own), Streamer(plain, "p", 9)],
}
MUXES = {
    "with replacement": lambda pool: StochasticMux(pool, 3, 4, random_state=0),
    "weights": lambda pool: StochasticMux(pool, 3, 4, pool_weights=np.arange(1, len(pool) + 1), random_state=0),
    "single active": lambda pool: StochasticMux(pool, 2, 4, mode="single_active", random_state=0),
    "until exhausted": lambda pool: StochasticMux(pool, 2, None, random_state=0),
    "single active until exhausted": lambda pool: StochasticMux(pool, 2, None, mode="single_active", random_state=0),
    "once": lambda pool: StochasticMux(pool, 2, 4, mode="once", random_state=0),
    "exhaustive": lambda pool: StochasticMux(pool, 2, 3, mode="exhaustive", random_state=0),
    "exhaustive, weights": lambda pool: StochasticMux(
        pool, 2, 3, mode="exhaustive", pool_weights=np.arange(1, len(pool) + 1), random_state=0
    ),
    "shuffled": lambda pool: ShuffledMux(pool, random_state=0),
    "round robin": RoundRobinMux,
    "permuted": lambda pool: RoundRobinMux(pool, mode="permuted_cycle", random_state=0),
    "chain": lambda pool: ChainMux(pool),
    "chain cycle": lambda pool: ChainMux(pool, mode="cycle"),
}


def nested(pool):
    inner = [StochasticMux(pool, 2, 3, mode="exhaustive"), ShuffledMux(pool)]
    return StochasticMux(
        [*inner, RoundRobinMux([StochasticMux(pool, 2, 4), *generators()[:1]], mode="cycle")], 2, 5, random_state=1
    )


STREAMS = {
    **{
        f"{mux}, {pool}": (make, POOLS[pool])
        for mux, make in MUXES.items()
        for pool in POOLS
        if "prefetch" not in pool or mux in ("exhaustive", "weights")  # starting threads takes its time
    },
    **{f"nested, {pool}": (nested, POOLS[pool]) for pool in POOLS if "prefetch" not in pool},
    "lazy chain": (lambda pool: ChainMux(pool), lambda: lambda: growing(5)),
    "lazy chain cycle": (lambda pool: ChainMux(pool, mode="cycle", random_state=2), lambda: lambda: growing(4)),
    "no seed": (lambda pool: StochasticMux(pool, 2, 4), generators),
    "no seed, arrays": (lambda pool: StochasticMux(pool, 2, 4), arrays),
    "one generator": (lambda pool: pool[0], generators),
    "one array": (lambda pool: pool[0], arrays),
    "one block stream": (lambda pool: pool[0], blocks),
    "a stream in a stream": (lambda pool: Streamer(Streamer(StochasticMux(pool, 2, 4, random_state=0))), arrays),
}


def plainly(item):
    if not isinstance(item, dict):
        return item
    return {
        name: part.toarray().tolist() if sparse.issparse(part) else np.asarray(part).tolist()
        for name, part in item.items()
    }


@pytest.mark.filterwarnings("ignore:the stream at position 0 is a mux of files")  # it is no matter of speed
@pytest.mark.parametrize("again", [False, True], ids=["generate", "cycle"])
@pytest.mark.parametrize("name", STREAMS)
def test_saved_before_every_item_and_restored_the_rest_is_the_same(name, again):
    make, pool = STREAMS[name]

    def started():
        stream = make(pool())  # as in another process: nothing is shared
        return stream.cycle(N_ITEMS) if again else stream.generate(N_ITEMS)

    running = started()
    states, items = [json.dumps(running.state_dict())], []
    for item in running:
        items.append(plainly(item))
        states.append(json.dumps(running.state_dict()))
    assert len(items) > 5
    shape = set(json.loads(states[0]))
    for i in range(len(states)):
        state = json.loads(states[i])
        assert set(state) == shape
        resumed = started()
        resumed.load_state_dict(state)
        assert json.dumps(resumed.state_dict()) == states[i] or "block" in name
        assert [plainly(item) for item in resumed] == items[i:], i
    resumed = started()
    list(resumed)  # also an iterator that was used
    resumed.load_state_dict(json.loads(states[3]))
    assert [plainly(item) for item in resumed] == items[3:]


def taken(iterator, sizes):
    """Batches of these sizes, as plain lists, and the streams that gave their rows."""
    batches = []
    for size in sizes:
        if (batch := iterator.take(size)) is None:
            break
        batches.append(({name: np.asarray(part).tolist() for name, part in batch[0].items()}, batch[1].tolist()))
    return batches


@settings(max_examples=30)
@given(
    pool=st.sampled_from(
        [
            "arrays",
            "arrays in order",
            "separate arrays",
            "muxes",
            "muxes of muxes",
            "muxes of blocks",
            "muxes of blocks, prefetch 2",
            "blocks",
            "blocks, prefetch 2",
            "blocks, windows",
        ]
    ),
    mux=st.sampled_from(list(MUXES)),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=8),
    stop=st.integers(0, 8),
)
def test_a_mux_that_is_read_by_the_block_resumes_at_any_batch(pool, mux, sizes, stop):
    stop = min(stop, len(sizes))
    running = MUXES[mux](POOLS[pool]())._start(7, (3,))
    taken(running, sizes[:stop])
    state = json.loads(json.dumps(running.state_dict()))
    resumed = MUXES[mux](POOLS[pool]())._start(7, (3,))
    resumed.load_state_dict(state)
    assert taken(resumed, sizes[stop:]) == taken(running, sizes[stop:])
    running.close()
    resumed.close()


@pytest.mark.parametrize("mode", ["with_replacement", "exhaustive", "single_active"])
def test_blocks_that_were_planned_ahead_in_threads_are_planned_again(mode):
    X = np.arange(400_000.0)[:, None]

    def start():
        return StochasticMux(from_arrays(X, n_streams=50), 8, 16, mode=mode, random_state=0)._start(None, (0,))

    running = start()
    for n_batches in (1, 3, 150, 40, 1):
        for _ in range(n_batches):
            running.take(1000)
        state = json.loads(json.dumps(running.state_dict()))
        resumed = start()
        resumed.load_state_dict(state)
        expected, found = running.take(3000), resumed.take(3000)
        np.testing.assert_array_equal(found[0]["X"], expected[0]["X"])
        np.testing.assert_array_equal(found[1], expected[1])
        resumed.close()
    running.close()


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_an_iterator_that_has_pruned_streams_goes_back_to_where_it_had_not(mode):
    pool = [Streamer(lambda n=n: iter([n] * n)) for n in (0, 3, 4, 5, 0, 6)]
    running = StochasticMux(pool, 2, 4, mode=mode, random_state=0)._start(None, (0,))
    state = json.dumps(running.state_dict())
    items = list(itertools.islice(running, 60))
    running.load_state_dict(json.loads(state))
    assert list(itertools.islice(running, 60)) == items


def test_a_running_generator_has_no_state():
    items = mux([iter("abc"), "xyz"], 10, 2, random_state=0)
    next(items)
    with pytest.raises(TypeError, match=r"stream at position 0 is a running generator"):
        items.state_dict()


def test_a_state_of_something_else_is_refused():
    pool = generators()
    running = MUXES["exhaustive"](pool).generate()
    next(running)
    state = running.state_dict()
    with pytest.raises(ValueError, match="another kind or mode"):
        MUXES["shuffled"](pool).generate().load_state_dict(state)
    with pytest.raises(ValueError, match="another kind or mode, or with another n_active"):
        StochasticMux(pool, 3, 3, mode="exhaustive").generate().load_state_dict(state)
    with pytest.raises(ValueError, match=r"n_streams=5, and this one has 4"):
        MUXES["exhaustive"](pool[:4]).generate().load_state_dict(state)
    with pytest.raises(ValueError, match=r"again=False"):
        MUXES["exhaustive"](pool).cycle().load_state_dict(state)
    with pytest.raises(ValueError, match=r"not one of a stream, but of 'list'"):
        MUXES["exhaustive"](pool).generate().load_state_dict([])
    with pytest.raises(ValueError, match=r"has version 99"):
        MUXES["exhaustive"](pool).generate().load_state_dict({**state, "version": 99})
    changed = {**state, "right": 1}
    del changed["left"]
    with pytest.raises(ValueError, match=r"missing \['left'\], unexpected \['right'\]"):
        MUXES["exhaustive"](pool).generate().load_state_dict(changed)


def test_a_stream_that_has_become_shorter_is_named():
    running = RoundRobinMux([Streamer(plain, "a", 9), Streamer(plain, "b", 9)]).generate()
    for _ in range(10):
        next(running)
    state = running.state_dict()
    shorter = StreamPool([Streamer(plain, "a", 9), Streamer(plain, "b", 4)], names=["first", "second"])
    with pytest.raises(
        ValueError, match=r"stream 'second' had given 5 items when the state was saved, and ends after 4 now"
    ):
        RoundRobinMux(shorter).generate().load_state_dict(state)


def test_arrays_of_other_lengths_are_refused():
    running = StochasticMux(arrays(), 2, 4, random_state=0).generate()
    next(running)
    other = from_arrays(np.arange(65.0)[:, None], np.arange(65), n_streams=5)
    with pytest.raises(ValueError, match="streams of other lengths"):
        StochasticMux(other, 2, 4, random_state=0).generate().load_state_dict(running.state_dict())


@pytest.mark.parametrize("mode", ["with_replacement", "single_active", "exhaustive"])
def test_the_state_of_100_000_streams_is_small(mode):
    X = np.zeros((200_000, 1))
    weights = np.random.default_rng(0).random(100_000) + 0.1
    stream = StochasticMux(from_arrays(X, n_streams=100_000), 8, 2, pool_weights=weights, mode=mode, random_state=0)
    iterator = stream._start(None, (0,))
    iterator.take(60_000)
    assert len(json.dumps(iterator.state_dict())) < 5e6
    iterator.close()


def test_a_resumed_mux_goes_on_with_the_passes_that_come_next():
    stream = StochasticMux(arrays(), 2, 4, mode="exhaustive", random_state=0)
    running = stream.cycle(150)
    items = [plainly(next(running)) for _ in range(70)]
    state = running.state_dict()
    items = [plainly(item) for item in running]
    again = StochasticMux(arrays(), 2, 4, mode="exhaustive", random_state=0)
    resumed = again.cycle()
    resumed.load_state_dict(state)
    assert [plainly(item) for item in resumed] == items
    # and other passes of the same stream do not repeat those
    assert plainly(next(again.generate())) == plainly(next(stream.generate()))


def test_a_stream_that_an_error_ended_has_no_state():
    def failing():
        yield 1
        raise KeyboardInterrupt

    items = Streamer(failing).generate()
    next(items)
    with pytest.raises(KeyboardInterrupt):
        next(items)
    with pytest.raises(RuntimeError, match="ended by an error"):
        items.state_dict()


def pickled(items):
    return pickle.loads(pickle.dumps(items))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_of_a_running_stream_goes_on_by_itself(copied):
    items = StochasticMux(generators(), 2, 4, mode="exhaustive", random_state=0).generate()
    first = [next(items) for _ in range(5)]
    rest = list(copied(items))
    assert list(items) == rest
    assert len(first) + len(rest) == 50


PACKABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner) | st.lists(st.integers(), min_size=40)
    ),
    max_leaves=30,
)


@given(PACKABLE)
def test_what_is_packed_comes_back(value):
    assert unpack(json.loads(json.dumps(pack(value)))) == value


@pytest.mark.parametrize(
    "value",
    [
        np.arange(5),
        np.array([[1.5, np.nan], [np.inf, -0.0]], np.float32),
        np.zeros((0, 3)),
        np.array(["a", "bcd"]),
        np.array(["a", None, 1.5], object),
        np.array([True, False]),
        np.array(["2020-01-01"], "M8[D]"),
    ],
)
def test_arrays_come_back_to_the_bit(value):
    back = unpack(json.loads(json.dumps(pack(value))))
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    if value.dtype == object:
        assert back.tolist() == value.tolist()
    else:
        assert back.tobytes() == value.tobytes()


@pytest.mark.parametrize("make", [np.random.PCG64, np.random.MT19937, np.random.SFC64, np.random.Philox])
def test_generators_come_back_and_go_on(make):
    rng = np.random.Generator(make(5))
    rng.random(3), rng.integers(0, 5, 3, dtype=np.uint8)
    back = unpack(json.loads(json.dumps(pack(rng))))
    assert back.random(9).tolist() == rng.random(9).tolist()


def test_a_random_state_comes_back_and_goes_on():
    rng = np.random.RandomState(5)
    rng.standard_normal(3)
    back = unpack(json.loads(json.dumps(pack(rng))))
    assert back.standard_normal(9).tolist() == rng.standard_normal(9).tolist()


def test_what_cannot_be_saved_is_named():
    with pytest.raises(TypeError, match="a Own cannot be saved"):
        pack([Own()])
    with pytest.raises(ValueError, match="something unknown"):
        unpack({"what": 1})


def test_a_state_must_be_a_dict_of_its_kind():
    with pytest.raises(ValueError, match="not one of a mux, but of 'reader'"):
        check_state({"kind": "reader", "version": 1}, "mux", 1, ())
