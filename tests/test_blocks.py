"""Block streams, on a source in memory that counts and can fail."""

import itertools
import os
import signal
import threading
import time
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from streamlearn import StochasticMux, StreamingEstimator, StreamPool, _ahead, from_arrays
from streamlearn._blocks import BlockReader, BlockSource, BlockStream
from tests.sourcechecks import check_source, drained


class Memory(BlockSource):
    parts = ("X", "y")

    def __init__(self, name, sizes, start=0, fails_at=None, seconds=0.0):
        self.name = name
        self.sizes = np.array(sizes)
        self.start = start
        self.fails_at = fails_at
        self.seconds = seconds

    def rows(self):
        return self.sizes

    def read(self, block):
        if block == self.fails_at:
            raise OSError("the disk is gone")
        time.sleep(self.seconds)
        first = self.start + int(self.sizes[:block].sum())
        values = np.arange(first, first + self.sizes[block])
        return {"X": np.column_stack([values, values * 0.5]), "y": values % 2}


SIZES = [[5, 7, 0, 3], [40], [1, 1, 1, 80, 2]]
STARTS = np.cumsum([0, *map(sum, SIZES)]).tolist()


def make(window=None, shuffle=True, **options):
    sources = [Memory(f"s{i}", sizes, start) for i, (sizes, start) in enumerate(zip(SIZES, STARTS, strict=False))]
    return StreamPool(
        [BlockStream(source, window, shuffle, **options) for source in sources],
        names=[source.name for source in sources],
    )


@pytest.mark.parametrize("window", [None, 1, 8, 1000])
def test_source(window):
    values = np.arange(STARTS[-1])
    check_source(
        lambda **options: make(window, **options),
        np.column_stack([values, values * 0.5]),
        values % 2,
        ["s0", "s1", "s2"],
    )


def test_without_shuffling_samples_come_as_they_lie():
    X = drained(make(shuffle=False)[[0]], n_active=1)[0]
    np.testing.assert_array_equal(X[:, 0], np.arange(15))
    assert [int(item["X"][0]) for item in make(shuffle=False)[0]] == list(range(15))


def test_samples_are_shuffled_within_windows_alone():
    stream = BlockStream(Memory("s", [10] * 20), window=20)
    blocks = np.array([int(item["X"][0]) // 10 for item in stream])
    for start in range(0, 200, 20):
        assert len(set(blocks[start : start + 20])) == 2
    assert len(set(blocks[:20].tolist())) == 2
    assert not np.array_equal(blocks, np.sort(blocks))


def test_passes_of_one_cursor_wrap_within_a_block():
    pool = StreamPool([BlockStream(Memory("s", [3, 4]))])
    X = drained(pool, mode="with_replacement", n_active=3, lam=2, limit=70, batch=7)[0]
    for start in range(0, 70, 7):
        assert sorted(X[start : start + 7, 0]) == list(range(7))


def test_each_block_is_read_once_where_the_cache_has_room():
    mux = StochasticMux(make(), 2, 1, mode="exhaustive", random_state=0)
    iterator = mux._start(None, (0,))
    while iterator.take(10) is not None:
        pass
    assert iterator._reader.blocks_read == iterator._reader.blocks_needed == 9
    assert not iterator._reader._cached
    assert not iterator._reader._windows
    assert not iterator._reader._layouts


def visits(reader, n_streams, n_samples, at_once=4):
    for i in range(n_samples):
        reader.read(np.repeat(i % n_streams, at_once))


def test_a_small_cache_reads_again_and_warns():
    streams = [BlockStream(Memory(f"s{i}", [100, 100], 200 * i), cache_bytes=0) for i in range(3)]
    reader = BlockReader(streams, 0)
    with pytest.warns(UserWarning, match=r"3[0-9] reads of 3 blocks; visits end long before"):
        visits(reader, 3, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visits(reader, 3, 60)  # once for each pass
    enough = BlockReader([BlockStream(stream._source) for stream in streams], 0)
    visits(enough, 3, 60)
    assert enough.blocks_read == enough.blocks_needed == 3


def test_the_cache_is_bounded_in_bytes():
    streams = [BlockStream(Memory(f"s{i}", [100], 100 * i), cache_bytes=10_000) for i in range(10)]
    reader = BlockReader(streams, 0)
    for i in range(10):
        reader.read(np.repeat(i, 5))
        assert reader._n_bytes <= 10_000
    assert len(reader._cached) == 4  # of 2400 bytes each


@pytest.mark.parametrize("prefetch", [0, 2])
def test_errors_name_the_stream(prefetch):
    pool = StreamPool(
        [BlockStream(Memory("good", [5])), BlockStream(Memory("bad", [5, 5], fails_at=1), prefetch=prefetch)]
    )
    with pytest.raises(OSError, match="the disk is gone") as caught:
        drained(pool)
    assert any("'bad', reading block 1" in note for note in caught.value.__notes__)


def test_rows_that_are_no_longer_there():
    class Shrunk(Memory):
        def read(self, block):
            return {name: values[1:] for name, values in super().read(block).items()}

    with pytest.raises(ValueError, match=r"X has 4 rows where 5 were counted.*Make the pool again"):
        list(BlockStream(Shrunk("s", [5])))


def test_no_thread_is_left_behind():
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "streamlearn-prefetch"]

    drained(make(prefetch=3))
    mux = StochasticMux(make(prefetch=3), 3, mode="exhaustive", random_state=0)
    iterator = iter(mux)
    next(iterator)
    iterator.close()
    for thread in threads():
        thread.join(10)
    assert not threads()


class InThreads(Memory):
    threads = set()

    def read(self, block):
        self.threads.add(threading.get_ident())
        return super().read(block)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_two_blocks_are_read_at_once_where_nothing_else_is_done(monkeypatch, together, learns):
    monkeypatch.setattr(_ahead, "n_cores", lambda: 2)
    monkeypatch.setattr(InThreads, "reads_together", together)
    monkeypatch.setattr(InThreads, "threads", set())
    sources = [InThreads(f"s{i}", [1000] * 4, i * 4000, seconds=0.004) for i in range(24)]
    pool = StreamPool([BlockStream(source) for source in sources])
    iterator = StochasticMux(pool, 8, None, mode="exhaustive", random_state=0)._start(None, (0,))
    rows = []
    while (taken := iterator.take(1024)) is not None:
        rows.append(taken[0]["X"][:, 0])
        time.sleep(0.05 * learns)
    iterator.close()
    rows = np.concatenate(rows)
    np.testing.assert_array_equal(np.sort(rows), np.arange(24 * 4000))
    again = [BlockStream(Memory(f"s{i}", [1000] * 4, i * 4000)) for i in range(24)]
    np.testing.assert_array_equal(drained(StreamPool(again), mode="exhaustive", n_active=8, lam=None)[0][:, 0], rows)
    assert (InThreads.threads > {threading.get_ident()}) == (together and not learns)


def test_parts_must_be_the_same():
    class Unlabelled(Memory):
        parts = ("X",)

    pool = StreamPool([BlockStream(Memory("a", [3])), BlockStream(Unlabelled("b", [3]))])
    with pytest.raises(ValueError, match=r"some have \['y'\] and others have not"):
        drained(pool)


def test_beside_streams_of_arrays():
    values = np.arange(200, 210)
    pool = make() + from_arrays(np.column_stack([values, values * 0.5]), values % 2)
    items = list(StochasticMux(pool, 2, 4, mode="exhaustive", random_state=0))
    assert sorted(int(item["X"][0]) for item in items) == [*range(STARTS[-1]), *values]


def test_estimator():
    pool = make()
    model = StreamingEstimator(SGDClassifier(), lam=4, random_state=0).fit(pool)
    assert model.stream_counts_.tolist() == [15, 40, 85]
    assert model.classes_.tolist() == [0, 1]
    predicted = model.predict(pool)
    assert [len(part) for part in predicted] == [15, 40, 85]
    np.testing.assert_array_equal(predicted[1], model.predict(pool[1]._column("X")))
    truth = np.concatenate([stream._column("y") for stream in pool])
    assert model.score(pool) == np.mean(np.concatenate(list(predicted)) == truth)


class Alive(Memory):
    """Counts reads, and the most blocks that were alive when one was read."""

    blocks: list = []
    most: list = []

    def read(self, block):
        self.most.append(sum(other() is not None for other in self.blocks))
        columns = super().read(block)
        self.blocks.append(weakref.ref(columns["X"]))
        return columns


@pytest.fixture
def alive(monkeypatch):
    monkeypatch.setattr(Alive, "blocks", [])
    monkeypatch.setattr(Alive, "most", [])

    def make(n_streams, sizes, **options):
        sources = [Alive(f"s{i}", sizes, sum(sizes) * i) for i in range(n_streams)]
        return StreamPool([BlockStream(source, **options) for source in sources])

    return make


def test_the_rest_of_blocks_that_end_makes_room_before_others_are_read(alive):
    """Streams that begin together end their blocks together; that must not hold twice the blocks that are active."""
    drained(alive(8, [8192] * 3), lam=None, n_active=4)
    assert len(Alive.most) == 24
    assert max(Alive.most) <= 4


@pytest.mark.parametrize("prefetch", [1, 2])
def test_prefetch_holds_the_next_block_of_each_active_stream_and_those_of_the_next_samples(alive, prefetch):
    drained(alive(24, [8192] * 3, prefetch=prefetch), lam=None, n_active=4)
    assert len(Alive.most) == 72
    assert max(Alive.most) <= 4 + 4 + 65_536 // 8192


@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_prefetch_reads_nothing_that_visits_do_not_need(alive, prefetch):
    """Each visit takes a few samples of the first block of a stream, which does not come again."""
    X, _, _ = drained(alive(100, [900] * 6, prefetch=prefetch), mode="once", lam=20, n_active=4)
    assert len(X) > 100
    assert len(Alive.most) == 100


@pytest.mark.parametrize("prefetch", [1, 2])
def test_what_is_prefetched_for_short_visits_leaves_with_them(alive, prefetch):
    pool = alive(100, [900] * 6, prefetch=prefetch, cache_bytes=0)
    drained(pool, mode="single_active", lam=600, n_active=4, limit=200_000)
    # a block of samples has 14 visits, of which some go on into a second block of their stream
    assert max(Alive.most) <= 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("on_error", ["raise", "skip", "retry"])
def test_a_child_that_was_forked_while_threads_read_is_told_to_begin_anew(on_error):
    sources = [Memory(f"s{i}", [300] * 6, seconds=0.01) for i in range(10)]
    pool = StreamPool([BlockStream(source, prefetch=2) for source in sources])
    mux = StochasticMux(pool, 3, 50, mode="exhaustive", random_state=0, on_error=on_error)
    iterator = mux._start(None, (0,))
    iterator.take(64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads are running is the point
        child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(20)
            while iterator.take(64) is not None:
                pass
        except RuntimeError as error:
            status = 0 if "forked" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    iterator.close()


def test_rows_without_values_can_be_mixed():
    class Empty(Memory):
        def read(self, block):
            return {"X": np.empty((int(self.sizes[block]), 0)), "y": np.zeros(self.sizes[block])}

    X, _, _ = drained(StreamPool([BlockStream(Empty(f"s{i}", [9000] * 3)) for i in range(6)]), lam=None)
    assert X.shape == (6 * 27_000, 0)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 40))
def test_small_blocks_are_joined_where_all_is_read_in_order(sizes, n):
    stream = BlockStream(Memory("s", sizes))
    batches = [batch["X"][:, 0] for batch in stream._in_order(n)]
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *batches]), np.arange(sum(sizes)))
    assert all(0 < len(batch) <= n for batch in batches)
    if 2 * max(sizes) <= n:
        for one, other in itertools.pairwise(batches):  # two that follow each other are more than one could be
            assert len(one) + len(other) > n
