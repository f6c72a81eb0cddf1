"""The loop of the muxes: what is opened, pulled and closed when; seeds of visits; replacement; blocks of samples."""

import gc
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer, from_arrays, mux

MODES = ["with_replacement", "single_active", "once", "exhaustive"]


class Watch:
    """Streams that tell what happens to them."""

    def __init__(self):
        self.opened, self.pulled, self.closed, self.open_now, self.most_open = [], [], [], 0, 0

    def stream(self, name, n=None):
        return Streamer(self.items, name, n)

    def items(self, name, n):
        self.opened.append(name)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            for i in itertools.count() if n is None else range(n):
                self.pulled.append((name, i))
                yield name, i
        finally:
            self.closed.append(name)
            self.open_now -= 1


def stochastic(mode, **kwargs):
    return lambda streams: StochasticMux(streams, 3, 2, mode=mode, random_state=0, **kwargs)


MUXES = {
    **{mode: stochastic(mode) for mode in MODES},
    "exhaustive without lam": lambda streams: StochasticMux(streams, 3, None, mode="exhaustive", random_state=0),
    "weighted": stochastic("exhaustive", pool_weights=[1, 2, 3, 4, 5]),
    "mux": lambda streams: ChainMux([Streamer(mux, streams, None, 3, lam=2)], mode="cycle", random_state=0),
    "shuffled": lambda streams: ShuffledMux(streams, random_state=1),
    "round robin": RoundRobinMux,
    "round robin cycle": lambda streams: RoundRobinMux(streams, mode="cycle"),
    "permuted cycle": lambda streams: RoundRobinMux(streams, mode="permuted_cycle", random_state=0),
    "chain": ChainMux,
    "lazy chain": lambda streams: ChainMux(lambda: iter(streams)),
    "nested": lambda streams: StochasticMux(
        [ChainMux(streams[:2]), RoundRobinMux(streams[2:])], 2, 2, mode="exhaustive", random_state=0
    ),
}
every_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)


# -- when streams are opened and pulled ---------------------------------------------------------------------------------------


@every_mux
def test_one_item_is_pulled_when_it_is_due_and_no_sooner(make):
    watch = Watch()
    iterator = iter(make([watch.stream(name, 4) for name in "abcde"]))
    assert not watch.opened
    taken = []
    for item in itertools.islice(iterator, 15):
        taken.append(item)
        assert watch.pulled == taken
        # opened: only what has given an item
        assert watch.opened == [name for name, i in taken if i == 0]
    assert len(taken) >= 5
    iterator.close()


@every_mux
def test_reused_buffers_behave_as_in_a_plain_loop(make):
    written = []

    def counting(name):
        buffer = np.zeros(2, int)
        for i in range(4):
            buffer[:] = name, i
            written.append((name, i))
            yield buffer

    seen = [tuple(item.tolist()) for item in make([Streamer(counting, name) for name in range(5)]).generate(12)]
    assert seen == written


@pytest.mark.parametrize("mode", ["with_replacement", "single_active", "once"])
@pytest.mark.parametrize("n_active", [1, 2, 4])
@pytest.mark.parametrize("n", [3, None])
def test_no_more_than_n_active_are_open(mode, n_active, n):
    watch = Watch()
    stream = StochasticMux([watch.stream(i, n) for i in range(6)], n_active, 4, mode=mode, random_state=0)
    assert len(list(stream.generate(300))) == 300 or mode == "once"
    assert watch.most_open == n_active
    assert watch.open_now == 0


@pytest.mark.parametrize("n_active", [1, 2, 4])
def test_exhaustive_without_lam_opens_no_more_than_n_active_and_each_once(n_active):
    watch = Watch()
    stream = StochasticMux([watch.stream(i, 9) for i in range(20)], n_active, None, mode="exhaustive", random_state=0)
    assert len(list(stream)) == 180
    assert watch.most_open == n_active
    assert sorted(watch.opened) == list(range(20))


def test_exhaustive_continues_where_it_stopped():
    watch = Watch()
    stream = StochasticMux([watch.stream(i, 30) for i in range(5)], 2, 3, mode="exhaustive", random_state=0)
    items = list(stream)
    assert sorted(watch.opened) == list(range(5))
    for name in range(5):
        assert [i for n, i in items if n == name] == list(range(30))


@pytest.mark.parametrize("lam", [1, 2, 5])
def test_every_visit_with_replacement_starts_afresh(lam):
    watch = Watch()
    stream = StochasticMux([watch.stream(i) for i in range(3)], 1, lam, dist="constant", random_state=0)
    assert [i for _, i in stream.generate(10 * lam)] == list(range(lam)) * 10


def test_single_active_never_holds_a_stream_twice():
    active = set()

    def exclusive(i):
        assert i not in active
        active.add(i)
        try:
            while True:
                yield i
        finally:
            active.remove(i)

    stream = StochasticMux([Streamer(exclusive, i) for i in range(4)], 3, 3, mode="single_active", random_state=0)
    assert len(list(stream.generate(2000))) == 2000
    assert not active


@pytest.mark.parametrize("mode", ["once", "exhaustive"])
def test_an_iterator_with_a_length_is_not_taken_for_a_missing_one(mode):
    class Countdown:
        """Its length is what is left, so that it is false at its end."""

        def __init__(self, n):
            self.left = n

        def __len__(self):
            return self.left

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    stream = StochasticMux([Streamer(Countdown, 4), Streamer(Countdown, 4)], 1, 2, dist="constant", mode=mode)
    assert sorted(stream.generate(50)) == ([2, 2, 3, 3] if mode == "once" else [0, 0, 1, 1, 2, 2, 3, 3])


# -- closing ------------------------------------------------------------------------------------------------------------------


@every_mux
@pytest.mark.parametrize("end", ["close", "drop", "limit", "throw"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_ending_a_pass_early_closes_every_open_stream(make, end, n):
    watch = Watch()
    iterator = make([watch.stream(name, 4) for name in "abcde"]).generate(n if end == "limit" else None)
    gc.disable()  # dropping closes at once, without a collection
    try:
        for _ in range(n):
            next(iterator, None)
        if end == "close":
            iterator.close()
        elif end == "drop":
            del iterator
        elif end == "limit":
            assert next(iterator, None) is None
        else:
            with pytest.raises(KeyboardInterrupt):
                iterator.throw(KeyboardInterrupt)
    finally:
        gc.enable()
    assert sorted(watch.closed) == sorted(watch.opened)
    assert watch.open_now == 0


@every_mux
def test_an_error_of_one_stream_closes_the_others(make):
    watch = Watch()

    def failing():
        raise OSError("disk")
        yield

    stream = make([*(watch.stream(name, 4) for name in "abcd"), Streamer(failing)])
    for _ in range(5):
        with pytest.raises(OSError, match="disk"):
            list(stream.generate(1000))
    assert watch.opened
    assert sorted(watch.closed) == sorted(watch.opened)


def test_a_paused_stream_is_closed_with_the_pass():
    watch = Watch()
    stream = StochasticMux([watch.stream(i) for i in range(8)], 2, 1, mode="exhaustive", random_state=0)
    iterator = stream.generate(200)
    assert len(list(iterator)) == 200
    assert watch.most_open == 8  # two active, six paused
    assert sorted(watch.closed) == list(range(8))


def test_a_deactivated_stream_is_closed_before_the_next_item_comes():
    watch = Watch()
    stream = StochasticMux([watch.stream(i) for i in range(3)], 1, 5, dist="constant", random_state=0)
    for n, _ in enumerate(stream.generate(100), start=1):
        assert len(watch.closed) == (n - 1) // 5


@pytest.mark.parametrize("end", ["close", "error"])
def test_every_stream_is_closed_even_if_closing_one_fails(end):
    closed = []

    def fails_to_close(i):
        try:
            yield i
            if end == "error":
                raise KeyError(i)
            yield i
        finally:
            closed.append(i)
            if i == 0:
                raise OSError("cannot close")

    # the others are closed by the pass, not by the garbage collector once the error is forgotten
    iterator = RoundRobinMux([Streamer(fails_to_close, i) for i in range(3)]).generate()
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="cannot close") as caught:
        iterator.close() if end == "close" else next(iterator)
    assert sorted(closed) == [0, 1, 2]
    assert caught.tb is not None  # the frames are still alive: nothing has been left to their end


@pytest.mark.parametrize("n", [1, 4])
def test_a_generator_function_of_streams_is_closed_with_the_pass(n):
    closed = []

    def streams():
        try:
            yield from ("ab", "cd", "ef")
        finally:
            closed.append(True)

    assert len(list(ChainMux(streams).generate(n))) == n
    assert closed == [True]


def test_iterators_without_close_are_fine():
    class Bare:
        def __init__(self):
            self.n = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            return self.n

    assert list(StochasticMux([Streamer(Bare)], 1, 3, dist="constant").generate(7)) == [1, 2, 3, 1, 2, 3, 1]


# -- errors name the stream ---------------------------------------------------------------------------------------------------


class OwnError(Exception):
    pass


def fails_at(n, error=OwnError):
    yield from range(n)
    raise error("broken")


@every_mux
def test_an_error_keeps_its_type_and_names_position_and_item(make):
    streams = [Streamer("x" * 6), Streamer("y" * 6), Streamer("z" * 6), Streamer("v" * 6), Streamer(fails_at, 0)]
    with pytest.raises(OwnError, match="broken") as caught:
        list(make(streams).generate(1000))
    assert any("position" in note and "item 0 of the visit" in note for note in caught.value.__notes__)


def test_an_error_at_item_seven_says_so():
    streams = [Streamer("abcdefg"), Streamer(fails_at, 7), Streamer("hijklmn")]
    with pytest.raises(OwnError) as caught:
        list(RoundRobinMux(streams))
    assert caught.value.__notes__ == ["raised by stream at position 1, visit 0, item 7 of the visit"]


def test_an_error_counts_visits():
    calls = itertools.count()
    stream = StochasticMux([Streamer(lambda: fails_at(5 if next(calls) < 3 else 2))], 1, 4, dist="constant")
    with pytest.raises(OwnError) as caught:
        list(stream)
    assert caught.value.__notes__ == ["raised by stream at position 0, visit 3, item 2 of the visit"]


def test_an_error_in_nested_muxes_has_a_note_of_each():
    inner = ChainMux(["ab", Streamer(fails_at, 1)])
    with pytest.raises(OwnError) as caught:
        list(RoundRobinMux(["xyz", "uvw", inner]))
    assert caught.value.__notes__ == [
        "raised by stream at position 1, visit 0, item 1 of the visit",
        "raised by stream at position 2, visit 0, item 3 of the visit",
    ]


def test_an_error_when_a_stream_is_opened_is_named_too():
    def missing():
        raise FileNotFoundError("a.csv")

    with pytest.raises(FileNotFoundError) as caught:
        list(ChainMux(["ab", Streamer(missing)]))
    assert caught.value.__notes__ == ["raised by stream at position 1, visit 0, item 0 of the visit"]


def test_a_pass_ends_with_its_error():
    iterator = iter(ChainMux([Streamer(fails_at, 1), "ab"]))
    assert next(iterator) == 0
    with pytest.raises(OwnError):
        next(iterator)
    assert list(iterator) == []


# -- samples by the block -----------------------------------------------------------------------------------------------------


def block_muxes():
    pool = from_arrays(np.arange(60)[:, None], np.arange(60), n_streams=5)
    weights = [5, 1, 1, 2, 3]
    for mode, n_active, lam, pool_weights in itertools.product(MODES, [1, 3, 5], [2, 7, None], [None, weights]):
        if mode != "single_active" or pool_weights is None:  # else caps bind and warn
            yield StochasticMux(pool, n_active, lam, mode=mode, pool_weights=pool_weights, random_state=1)
    yield StochasticMux(pool, 2, 7, mode="single_active", pool_weights=[2, 1, 2, 2, 2], random_state=1)
    yield ShuffledMux(pool, pool_weights=weights, random_state=1)
    for mode in ("exhaustive", "cycle", "permuted_cycle"):
        yield RoundRobinMux(pool, mode=mode, random_state=1)
    for mode in ("exhaustive", "cycle"):
        yield ChainMux(pool, mode=mode, random_state=1)


def read_by_blocks(stream, sizes):
    """Samples and their streams by ``take``, checked on the way."""
    iterator = stream._start(None, (0,))
    samples, streams = [], []
    for n in sizes:
        if (taken := iterator.take(n)) is None:
            break
        batch, who = taken
        assert set(batch) == {"X", "y"}
        np.testing.assert_array_equal(batch["X"][:, 0], batch["y"])
        assert len(batch["y"]) == len(who) <= n
        samples += batch["y"].tolist()
        streams += who.tolist()
    iterator.close()
    return samples, streams


@pytest.mark.parametrize("stream", list(block_muxes()), ids=repr)
def test_take_gives_what_iteration_gives(stream):
    iterator = stream._start(None, (0,))
    samples, streams = [], []
    for item in itertools.islice(iterator, 1300):
        samples.append(int(item["y"]))
        streams.append(iterator.position)
    iterator.close()
    assert [sample // 12 for sample in samples] == streams
    for sizes in ([1300], [1, 2, 3, 700, 594], [130] * 10, [7] * 185 + [5]):
        assert read_by_blocks(stream, sizes) == (samples, streams)


@given(sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=40))
@settings(max_examples=30, derandomize=True)
def test_any_cutting_gives_the_same_samples(sizes):
    pool = from_arrays(np.arange(60)[:, None], np.arange(60), n_streams=5)
    stream = StochasticMux(pool, 3, 7, random_state=1)
    assert read_by_blocks(stream, sizes) == read_by_blocks(stream, [sum(sizes)])


def test_a_pass_that_works_ahead_in_threads_gives_every_sample_once():
    n = 400_000
    stream = StochasticMux(
        from_arrays(np.arange(n)[:, None], np.arange(n), n_streams=50), 8, mode="exhaustive", random_state=0
    )
    first, _ = read_by_blocks(stream, itertools.repeat(1000))
    assert sorted(first) == list(range(n))
    again, _ = read_by_blocks(stream, itertools.repeat(999_999))
    assert again == first


def test_generators_do_not_take_blocks():
    assert not StochasticMux(["ab"], 1)._start(None, (0,)).takes
    assert StochasticMux(from_arrays(np.eye(3)), 1)._start(None, (0,)).takes


def test_position_tells_the_stream_of_the_last_item():
    streams = [Streamer([i] * 5) for i in range(3)]
    for stream in (StochasticMux(streams, 2, 2, random_state=0), ChainMux(streams), ChainMux(lambda: streams)):
        iterator = stream._start(None, (0,))
        assert iterator.position == -1
        for item in itertools.islice(iterator, 50):
            assert iterator.position == item


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
@pytest.mark.parametrize("pool_weights", [None, [1, 2, 3]])
def test_visits_run_over_the_seams_of_blocks(mode, pool_weights):
    pool = from_arrays(np.repeat(np.arange(3), 50)[:, None], n_streams=3)
    stream = StochasticMux(pool, 1, 7, mode=mode, pool_weights=pool_weights, dist="constant", random_state=0)
    who = stream._start(None, (0,)).take(7 * 10_000)[1].reshape(-1, 7)
    assert (who == who[:, :1]).all()


@pytest.mark.parametrize("row_bytes", [8, 10**6])
def test_wide_rows_are_read_in_small_blocks(row_bytes):
    """A batch is as large as was asked for, whatever can be read ahead."""
    X = np.lib.stride_tricks.as_strided(np.arange(10.0), (10, row_bytes // 8), (8, 0))
    iterator = StochasticMux(from_arrays(X, shuffle=False), 1, random_state=0)._start(None, (0,))
    for n in (3, 30, 1):
        batch, who = iterator.take(n)
        assert batch["X"].shape == (n, row_bytes // 8)
        assert len(who) == n


def test_a_pass_that_has_begun_takes_a_state():
    def start():
        streams = [Streamer(range, 100) for _ in range(3)]
        return StochasticMux(streams, 2, 5, mode="exhaustive", random_state=0)._start(0, (0,))

    whole, begun = start(), start()
    list(itertools.islice(whole, 50))
    next(begun)
    begun.load_state_dict(whole.state_dict())
    rest = list(begun)
    assert len(rest) == 250
    assert rest == list(whole)
