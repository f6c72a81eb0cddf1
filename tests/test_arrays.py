"""Streams of samples from arrays: one cursor for a pass of a mux, orders, items as given, kinds of tables, views."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from streamlearn import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, StreamPool, from_arrays

SURE = 1 - 1e-6


def numbered(sizes, shuffle=True):
    """A pool of streams of these sizes whose samples are numbered 0, 1, 2, ..., and the stream of each."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return from_arrays(np.arange(len(labels))[:, None], labels, by="y", shuffle=shuffle), labels


MUXES = {
    "with replacement": lambda pool: StochasticMux(pool, 3, 4, random_state=0),
    "with replacement, one active": lambda pool: StochasticMux(pool, 1, 4, random_state=0),
    "with replacement, weighted": lambda pool: StochasticMux(
        pool, 3, 4, pool_weights=np.arange(len(pool)) + 1, random_state=0
    ),
    "long visits": lambda pool: StochasticMux(pool, 3, 100, random_state=0),
    "without lam": lambda pool: StochasticMux(pool, 2, None, random_state=0),
    "without lam, weighted": lambda pool: StochasticMux(
        pool, 3, None, pool_weights=np.arange(len(pool)) + 1, random_state=0
    ),
    "single active": lambda pool: StochasticMux(pool, 2, 4, mode="single_active", random_state=0),
    "once": lambda pool: StochasticMux(pool, 2, 4, mode="once", random_state=0),
    "exhaustive": lambda pool: StochasticMux(pool, 3, 4, mode="exhaustive", random_state=0),
    "exhaustive, weighted": lambda pool: StochasticMux(
        pool, 3, 4, mode="exhaustive", pool_weights=np.arange(len(pool)) + 1, random_state=0
    ),
    "shuffled": lambda pool: ShuffledMux(pool, random_state=0),
    "round robin cycle": lambda pool: RoundRobinMux(pool, mode="cycle", random_state=0),
    "permuted cycle": lambda pool: RoundRobinMux(pool, mode="permuted_cycle", random_state=0),
    "chain": lambda pool: ChainMux(pool, mode="cycle", random_state=0),
    "mixed with a generator": lambda pool: StochasticMux([*pool, [{"X": [-1], "y": -1}]], 3, 4, random_state=0),
    "mixed, single active": lambda pool: StochasticMux(
        [*pool, [{"X": [-1], "y": -1}]], 3, 4, mode="single_active", random_state=0
    ),
    "mixed, exhaustive": lambda pool: StochasticMux(
        [*pool, [{"X": [-1], "y": -1}]], 3, 4, mode="exhaustive", random_state=0
    ),
}
every_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)


def per_stream(items, n_streams):
    """The numbers of the samples of each stream, in the order in which they came."""
    numbers = [[] for _ in range(n_streams)]
    for item in items:
        if item["y"] >= 0:
            numbers[item["y"]].append(int(item["X"][0]))
    return numbers


# -- one cursor ---------------------------------------------------------------------------------------------------------------


@every_mux
@pytest.mark.parametrize("sizes", [(7, 1, 30, 12), (64, 65, 66), (1, 1, 2)], ids=str)
def test_no_sample_comes_twice_before_all_have_come_once(make, sizes):
    pool, labels = numbered(sizes)
    for items in per_stream(make(pool).generate(3000), len(sizes)):
        if not items:
            continue
        own = np.flatnonzero(labels == labels[items[0]]).tolist()
        passes = [items[i : i + len(own)] for i in range(0, len(items), len(own))]
        for whole in passes[:-1]:
            assert sorted(whole) == own
        assert len(set(passes[-1])) == len(passes[-1])
        assert set(passes[-1]) <= set(own)


@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    n_active=st.integers(1, 8),
    lam=st.sampled_from([None, 1, 3, 40]),
    mode=st.sampled_from(["with_replacement", "single_active"]),
    weighted=st.booleans(),
)
@settings(max_examples=100, derandomize=True)
@pytest.mark.filterwarnings("ignore:pool_weights cannot hold")
def test_the_cursor_holds_for_any_pool(sizes, n_active, lam, mode, weighted):
    pool, labels = numbered(sizes)
    weights = np.arange(len(sizes)) + 1.0 if weighted else None
    iterator = StochasticMux(pool, n_active, lam, mode=mode, pool_weights=weights, random_state=1)._start(None, (0,))
    batch, who = iterator.take(2000)
    numbers = batch["X"][:, 0]
    assert len(who) == 2000
    np.testing.assert_array_equal(labels[numbers], who)
    for i, size in enumerate(sizes):
        items = numbers[who == i]
        whole = items[: len(items) // size * size].reshape(-1, size)
        assert (np.sort(whole, axis=1) == np.flatnonzero(labels == i)).all()
        rest = items[whole.size :]
        assert len(np.unique(rest)) == len(rest)


@every_mux
def test_without_shuffle_samples_come_in_the_order_in_which_they_lie(make):
    sizes = (40, 300, 7, 1000)
    pool, labels = numbered(sizes, shuffle=False)
    for i, items in enumerate(per_stream(make(pool).generate(3000), len(sizes))):
        own = np.flatnonzero(labels == i).tolist()
        assert items == [own[k % len(own)] for k in range(len(items))]


def test_each_pass_has_an_order_of_its_own():
    pool, _ = numbered([20])
    stream = StochasticMux(pool, 1, random_state=0)
    for _ in range(2):  # passes of the mux
        numbers = [int(item["X"][0]) for item in stream.generate(20 * 30)]
        passes = {tuple(numbers[i : i + 20]) for i in range(0, len(numbers), 20)}
        assert len(passes) == 30
    orders = {tuple(int(item["X"][0]) for item in pool[0]) for _ in range(30)}
    assert len(orders) == 30


def test_streams_of_one_size_have_orders_of_their_own():
    pool, _ = numbered([20, 20])
    items = per_stream(RoundRobinMux(pool, random_state=0), 2)
    assert [i - 20 for i in items[1]] != items[0]


@pytest.mark.parametrize("size", [5, 64, 100])
@pytest.mark.parametrize("where", ["first pass", "second pass of the stream", "second pass of the mux"])
def test_each_sample_is_equally_likely_at_each_place(size, where):
    pool, _ = numbered([size])
    place = size // 2 + size * (where == "second pass of the stream")
    found = []
    for seed in range(20 * size):
        stream = StochasticMux(pool, 1, random_state=seed)
        iterator = stream._start(None, (int(where == "second pass of the mux"),))
        found.append(iterator.take(place + 1)[0]["X"][-1, 0])
    counts = np.bincount(found, minlength=size)
    assert stats.chisquare(counts).statistic < stats.chi2.ppf(SURE, size - 1)


def test_passes_of_one_stream_are_unrelated():
    """Places at which two random permutations agree: mean 1, variance 1."""
    size, n_passes = 100, 400
    pool, _ = numbered([size])
    numbers = StochasticMux(pool, 1, random_state=0)._start(None, (0,)).take(size * n_passes)[0]["X"].reshape(-1, size)
    agree = (numbers[1:] == numbers[:-1]).sum(axis=1)
    assert abs(agree.mean() - 1) < stats.norm.ppf(1 - 5e-7) / np.sqrt(len(agree))


@pytest.mark.parametrize("shuffle", [True, False])
def test_once_ends_at_the_end_of_the_stream(shuffle):
    sizes = [1, 5, 50]
    pool, _ = numbered(sizes, shuffle)
    counts = list(
        map(len, per_stream(StochasticMux(pool, 2, 20, mode="once", dist="constant", random_state=0), len(sizes)))
    )
    assert counts == [1, 5, 20]


@pytest.mark.parametrize("n_active", [1, 3])
def test_visits_run_on_into_the_next_pass(n_active):
    """With replacement no visit is cut short: all have exactly lam items, however short the stream."""
    pool, _ = numbered([1, 2, 3])
    iterator = StochasticMux(pool, n_active, 8, dist="constant", random_state=0)._start(None, (0,))
    who = iterator.take(8 * 3000)[1]
    if n_active == 1:
        assert (who.reshape(-1, 8) == who.reshape(-1, 8)[:, :1]).all()
    assert np.bincount(who).min() > 1000


# -- a stream by itself -------------------------------------------------------------------------------------------------------


def test_alone_a_stream_gives_every_sample_once():
    pool, labels = numbered([700, 3])
    for i, stream in enumerate(pool):
        items = [int(item["X"][0]) for item in stream]
        assert sorted(items) == np.flatnonzero(labels == i).tolist()
        assert len(list(stream.generate(2))) == 2
        cycled = [int(item["X"][0]) for item in itertools.islice(stream.cycle(), 1500)]
        assert len(cycled) == 1500


def test_a_wrapped_array_stream_starts_afresh_at_each_visit():
    from streamlearn import Streamer

    pool, _ = numbered([4], shuffle=False)
    stream = StochasticMux([Streamer(pool[0])], 1, 3, dist="constant")
    assert [int(item["X"][0]) for item in stream.generate(9)] == [0, 1, 2] * 3


def test_repr_tells_size_and_parts():
    X = np.zeros((10, 3))
    assert repr(from_arrays(X, np.zeros(10))[0]) == "<ArrayStream: 10 samples (X, y)>"


# -- items as given -----------------------------------------------------------------------------------------------------------

X2 = np.arange(12.0).reshape(6, 2)
Y = np.array(list("abcabc"))


def first_items(*args, **kwargs):
    """The items in order, by a stream alone and by a mux: the same."""
    pool = from_arrays(*args, shuffle=False, **kwargs)
    alone, muxed = list(pool[0]), list(ChainMux(pool))
    assert len(alone) == len(muxed) == 6
    for one, other in zip(alone, muxed, strict=True):
        assert one.keys() == other.keys()
        assert type(one["X"]) is type(other["X"])
    return alone


def test_a_sample_of_arrays():
    items = first_items(X2, Y, np.arange(6))
    for i, item in enumerate(items):
        assert list(item) == ["X", "y", "sample_weight"]
        np.testing.assert_array_equal(item["X"], X2[i])
        assert item["X"].shape == (2,)
        assert item["y"] == Y[i]
        assert np.ndim(item["y"]) == 0
        assert item["sample_weight"] == i


def test_only_the_parts_that_were_given():
    assert list(first_items(X2)[0]) == ["X"]
    assert list(first_items(X2, Y)[0]) == ["X", "y"]
    assert list(first_items(X2, sample_weight=np.ones(6))[0]) == ["X", "sample_weight"]


@pytest.mark.parametrize("dtype", [np.float32, np.int8, bool, complex, "datetime64[s]"])
def test_dtypes_are_kept(dtype):
    X = np.arange(12).reshape(6, 2).astype(dtype)
    for i, item in enumerate(first_items(X, X[:, 0])):
        assert item["X"].dtype == item["y"].dtype == X.dtype
        assert (item["X"] == X[i]).all()


def test_images_and_several_outputs():
    X, y = np.arange(6 * 24).reshape(6, 2, 3, 4), np.arange(12).reshape(6, 2)
    for i, item in enumerate(first_items(X, y)):
        np.testing.assert_array_equal(item["X"], X[i])
        np.testing.assert_array_equal(item["y"], y[i])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array])
def test_sparse_samples_stay_sparse(kind):
    for i, item in enumerate(first_items(kind(X2), Y)):
        assert sparse.issparse(item["X"])
        assert item["X"].shape == (1, 2)
        np.testing.assert_array_equal(item["X"].toarray()[0], X2[i])
        assert item["y"].tolist() == [Y[i]]


def test_pandas_frames_keep_names_dtypes_and_index():
    frame = pd.DataFrame({"n": np.arange(6), "t": list("uvwxyz"), "f": X2[:, 0]}, index=np.arange(10, 16))
    for i, item in enumerate(first_items(frame, pd.Series(Y))):
        pd.testing.assert_frame_equal(item["X"], frame.iloc[[i]])
        assert item["y"].tolist() == [Y[i]]


def test_polars_frames_keep_names_and_dtypes():
    frame = pl.DataFrame({"n": np.arange(6), "t": list("uvwxyz"), "f": X2[:, 0]})
    for i, item in enumerate(first_items(frame, pl.Series(Y))):
        assert item["X"].equals(frame[i])
        assert item["X"].schema == frame.schema
        assert item["y"].tolist() == [Y[i]]


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, pd.Series, pl.Series], ids=lambda kind: kind.__module__ + kind.__name__
)
def test_texts(kind):
    texts = ["one", "two", "three", "four", "five", "six and seven"]
    for i, item in enumerate(first_items(kind(texts), Y)):
        assert list(item["X"]) == [texts[i]]
        assert item["y"].tolist() == [Y[i]]


def test_nested_lists_are_arrays():
    items = first_items(X2.tolist(), Y.tolist(), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(items[4]["X"], X2[4])


def test_a_memory_map_is_read_as_an_array(tmp_path):
    np.save(tmp_path / "X.npy", X2)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    for i, item in enumerate(first_items(X, Y)):
        np.testing.assert_array_equal(item["X"], X2[i])
    assert np.shares_memory(from_arrays(X)[0]._column("X"), X)


def test_an_item_can_be_changed_without_changing_the_data():
    X = X2.copy()
    for item in StochasticMux(from_arrays(X, Y), 1, random_state=0).generate(6):
        item["X"] += 100
    np.testing.assert_array_equal(X, X2)


# -- several tables -----------------------------------------------------------------------------------------------------------


def tables(kind):
    """Three pools over tables of their own; a sample of table t at place i is [t, i]."""
    for t, n in enumerate([5, 70, 13]):
        X = np.stack([np.full(n, t), np.arange(n)], axis=1)
        yield from_arrays(kind(X), np.arange(n) + 1000 * t, n_streams=t + 1)


def as_pair(X):
    if sparse.issparse(X):
        X = X.toarray()
    elif hasattr(X, "to_numpy"):
        X = X.to_numpy()
    elif isinstance(X, list):
        X = [text.split("-") for text in X]
    return tuple(np.ravel(X).astype(int).tolist())


@pytest.mark.parametrize(
    "kind",
    [
        np.asarray,
        sparse.csr_matrix,
        lambda X: pd.DataFrame(X, columns=["t", "i"]),
        lambda X: pl.DataFrame(X, schema=["t", "i"]),
        lambda X: [f"{t}-{i}" for t, i in X],
    ],
    ids=["arrays", "sparse", "pandas", "polars", "texts"],
)
@pytest.mark.parametrize("n_active", [1, 4])
def test_a_pool_over_several_tables(kind, n_active):
    first, second, third = tables(kind)
    pool = first + second + third
    expected = sorted((t, i) for t, n in enumerate([5, 70, 13]) for i in range(n))
    for stream in (
        StochasticMux(pool, n_active, 3, mode="exhaustive", random_state=0),
        StochasticMux(StreamPool(list(pool)[::-1]), n_active, 3, mode="exhaustive", random_state=0),
        StochasticMux(pool[[5, 0, 3, 1, 2, 4]], n_active, None, mode="exhaustive", random_state=0),
    ):
        pairs = []
        for item in stream:
            pairs.append(as_pair(item["X"]))
            assert int(np.ravel(item["y"])[0]) == 1000 * pairs[-1][0] + pairs[-1][1]
        assert sorted(pairs) == expected


def test_tables_with_orders_of_their_own():
    X = np.arange(20)[:, None]
    odd = from_arrays(X, X[:, 0], by=X[:, 0] % 2)
    other = from_arrays(X + 100, X[:, 0] + 100, by=X[:, 0] // 5)
    items = list(StochasticMux(odd + other, 3, 4, mode="exhaustive", random_state=0))
    assert sorted(int(item["y"]) for item in items) == [*range(20), *range(100, 120)]
    assert all(item["X"][0] == item["y"] for item in items)


def test_numbers_of_different_dtypes_keep_their_values():
    whole = from_arrays(np.array([[1, 2], [3, 4]], np.int32), np.array([0, 1]))
    fractions = from_arrays(np.array([[0.5, 0.25]]), np.array([2.5]))
    items = list(StochasticMux(whole + fractions, 2, mode="exhaustive", random_state=0))
    assert sorted((*item["X"].tolist(), float(item["y"])) for item in items) == [(0.5, 0.25, 2.5), (1, 2, 0), (3, 4, 1)]


@pytest.mark.parametrize(
    ("one", "other", "missing"),
    [
        (from_arrays(X2, Y), from_arrays(X2), r"\['y'\]"),
        (from_arrays(X2, Y), from_arrays(X2, Y, np.ones(6)), r"\['sample_weight'\]"),
    ],
)
def test_tables_with_different_parts_are_refused(one, other, missing):
    with pytest.raises(ValueError, match=f"same parts.*{missing}"):
        next(iter(StochasticMux(one + other, 1)))


# -- views --------------------------------------------------------------------------------------------------------------------


def test_contiguous_streams_are_views():
    X, y = X2.copy(), np.arange(6)
    pool = from_arrays(X, y, n_streams=3)
    for i, stream in enumerate(pool):
        assert np.shares_memory(stream._column("X"), X)
        assert np.shares_memory(stream._column("y"), y)
        np.testing.assert_array_equal(stream._column("X"), X[2 * i : 2 * i + 2])
        assert stream._column("sample_weight") is None


def test_grouped_streams_share_the_table():
    X = X2.copy()
    pool = from_arrays(X, Y, by="y")
    X[:] = -1  # no copy has been made
    for item in StochasticMux(pool, 2, random_state=0).generate(10):
        assert item["X"].tolist() == [-1, -1]
    np.testing.assert_array_equal(from_arrays(X2, Y, by="y")[1]._column("X"), X2[Y == "b"])


def test_many_streams_cost_little():
    """A stream is a range of a table: 100 000 of them are made and muxed without an array each."""
    n = 100_000
    X = np.arange(n)[:, None]
    pool = from_arrays(X, n_streams=n)
    assert len(pool) == n
    numbers = StochasticMux(pool, 8, mode="exhaustive", random_state=0)._start(None, (0,)).take(n)[0]["X"]
    np.testing.assert_array_equal(np.sort(numbers[:, 0]), np.arange(n))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((np.zeros((5, 3)), np.zeros(5)), r"position 1 has X with rows of shape \(3,\)"),
        ((np.zeros((5, 2)), np.array(list("ababa"))), "position 1 has y"),
    ],
)
def test_tables_that_cannot_be_mixed_are_named(other, said):
    pool = from_arrays(np.zeros((5, 2)), np.zeros(5)) + from_arrays(*other)
    with pytest.raises(ValueError, match=said):
        next(StochasticMux(pool, 2, random_state=0).generate())
