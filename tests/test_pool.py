"""StreamPool: a sequence of streams with weights and names, for muxes and for scikit-learn; from_arrays."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from streamlearn import ChainMux, RoundRobinMux, StochasticMux, Streamer, StreamingEstimator, StreamPool, from_arrays

NAMES = ("A", "B", "C", "D", "E")


@pytest.fixture
def pool():
    return StreamPool([name * 2 for name in NAMES], weights=[1, 2, 3, 4, 5], names=NAMES)


def content(pool):
    """Names, weights and items of the streams of a pool."""
    return list(zip(pool.names, pool.weights.tolist(), map("".join, pool), strict=True))


ALL = [("A", 1, "AA"), ("B", 2, "BB"), ("C", 3, "CC"), ("D", 4, "DD"), ("E", 5, "EE")]


# -- a sequence ---------------------------------------------------------------------------------------------------------------


def test_a_pool_is_a_sequence(pool):
    assert len(pool) == 5
    assert [list(stream) for stream in pool] == [[name, name] for name in NAMES]
    assert pool[2] in pool
    assert Streamer("CC") not in pool
    assert pool.index(pool[3]) == 3
    assert list(reversed(pool)) == [pool[i] for i in (4, 3, 2, 1, 0)]
    assert content(pool) == ALL


@pytest.mark.parametrize("index", [0, 4, -1, -5, np.int64(2), np.uint8(3)])
def test_an_int_gives_a_stream(pool, index):
    stream = pool[index]
    assert isinstance(stream, Streamer)
    assert "".join(stream) == ALL[int(index)][2]


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(1, 4),
        slice(None, None, -2),
        slice(3, 3),
        [0, 3],
        (4, -1),
        [],
        [2, 2, 2],
        range(1, 3),
        np.array([3, 1]),
        np.array([3, 1], np.uint8),
        np.array([], int),
        np.array([]),
        np.array([True, False, True, False, True]),
        [True, False, False, False, False],
        np.zeros(5, bool),
        pd.Series([1, 4]),
    ],
    ids=repr,
)
def test_many_give_a_pool_with_what_belongs_to_it(pool, index):
    part = pool[index]
    assert isinstance(part, StreamPool)
    if isinstance(index, slice):
        expected = ALL[index]
    else:
        index = np.asarray(index)
        expected = [ALL[i] for i in (np.flatnonzero(index) if index.dtype == bool else index.astype(int))]
    assert content(part) == expected
    assert all(one is pool[NAMES.index(name)] for one, name in zip(part, part.names, strict=True))


@given(data=st.data(), n=st.integers(1, 8))
@settings(max_examples=100, derandomize=True)
def test_indexing_is_that_of_numpy(data, n):
    pool = StreamPool([[i] for i in range(n)], weights=np.arange(n) + 1)
    index = data.draw(
        st.slices(n)
        | st.lists(st.integers(-n, n - 1), min_size=1)
        | st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)
    )
    expected = np.arange(n)[index].tolist()
    part = pool[index]
    assert [next(iter(stream)) for stream in part] == expected
    assert part.weights.tolist() == [i + 1 for i in expected]
    assert part.names == tuple(map(str, expected))
    if expected:
        assert [next(iter(stream)) for stream in part[::-1]] == expected[::-1]


@pytest.mark.parametrize("index", [5, -6, [0, 5], np.array([-6])], ids=repr)
def test_an_index_out_of_range_is_an_index_error(pool, index):
    with pytest.raises(IndexError):
        pool[index]


@pytest.mark.parametrize("mask", [[True], np.ones(6, bool)], ids=repr)
def test_a_mask_of_another_length_is_an_index_error(pool, mask):
    with pytest.raises(IndexError, match=r"mask has . entries, the pool 5"):
        pool[mask]


@pytest.mark.parametrize(
    "index", ["A", 1.0, None, [1.0], ["A"], [[0]], True, np.True_, np.array(1), np.zeros((5, 1), bool)]
)
def test_other_indices_are_type_errors(pool, index):
    with pytest.raises(TypeError, match="a pool is indexed by"):
        pool[index]


# -- weights and names --------------------------------------------------------------------------------------------------------


def test_weights_are_kept_as_given_and_copied():
    weights = np.array([3, 1])
    pool = StreamPool(["a", "b"], weights=weights)
    weights[:] = 7
    assert pool.weights.tolist() == [3, 1]
    assert pool.weights.dtype.kind == "i"
    assert StreamPool(["a", "b"]).weights is None
    assert StreamPool(["a", "b"])[:1].weights is None


@pytest.mark.parametrize(
    "part", [lambda pool: pool, lambda pool: pool[1:], lambda pool: pool[[0, 1]], lambda pool: pool + pool]
)
def test_weights_are_read_only(pool, part):
    with pytest.raises(ValueError, match="read-only"):
        part(pool).weights[0] = 9


def test_names_default_to_positions_and_follow():
    pool = StreamPool(["a", "b", "c"])
    assert pool.names == ("0", "1", "2")
    assert pool[1:].names == ("1", "2")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x"], "a name for each of the 2 streams, got 1"),
        (["x", 1], "strings, got 1"),
        (["x", None], "strings, got None"),
    ],
)
def test_bad_names_are_refused(names, said):
    with pytest.raises(ValueError, match=said):
        StreamPool(["a", "b"], names=names)


def test_a_pool_of_a_pool_keeps_what_is_not_given(pool):
    assert content(StreamPool(pool)) == ALL
    assert StreamPool(pool, weights=[1] * 5).names == NAMES
    assert StreamPool(pool, names=list("vwxyz")).weights.tolist() == [1, 2, 3, 4, 5]


def test_names_stand_in_the_errors_of_a_mux(pool):
    def fails():
        raise OSError
        yield

    streams = [*pool, Streamer(fails)]
    with pytest.raises(OSError) as caught:
        list(ChainMux(StreamPool(streams, names=[*NAMES, "second of May"])))
    assert "second of May" in caught.value.__notes__[0]


# -- joining ------------------------------------------------------------------------------------------------------------------


def test_pools_are_joined(pool):
    assert content(pool[:2] + pool[3:]) == ALL[:2] + ALL[3:]
    joined = StreamPool(["x"], names=["n"]) + StreamPool(["y"])
    assert (joined.names, joined.weights) == (("n", "0"), None)


def test_joining_weighted_and_unweighted_is_refused(pool):
    for pair in [(pool, StreamPool(["x"])), (StreamPool(["x"]), pool)]:
        with pytest.raises(ValueError, match="only one of the two pools has weights"):
            pair[0] + pair[1]


@pytest.mark.parametrize("other", [["x"], "x", 1, None])
def test_joining_something_else_is_a_type_error(pool, other):
    with pytest.raises(TypeError):
        pool + other


# -- scikit-learn -------------------------------------------------------------------------------------------------------------


def test_safe_indexing_gives_the_streams(pool):
    part = _safe_indexing(pool, np.array([4, 0]))
    assert [stream is pool[i] for stream, i in zip(part, (4, 0), strict=True)] == [True, True]


def test_a_pool_counts_as_samples(pool):
    assert _num_samples(pool) == 5
    assert indexable(pool, [0] * 5)[0] is pool


@pytest.mark.parametrize(
    "splitter", [KFold(5), KFold(2, shuffle=True, random_state=0), ShuffleSplit(3, random_state=0)]
)
def test_splitters_split_by_stream(pool, splitter):
    for train, test in splitter.split(pool):
        assert sorted([*pool[train].names, *pool[test].names]) == list(NAMES)
        assert content(pool[test]) == [ALL[i] for i in test]


def test_groups_split_by_stream(pool):
    months = [1, 1, 2, 2, 3]
    for train, test in GroupKFold(3).split(pool, groups=months):
        assert not {months[i] for i in train} & {months[i] for i in test}


def test_train_test_split(pool):
    train, test = train_test_split(pool, test_size=2, random_state=0)
    assert len(train) == 3
    assert {id(stream) for stream in [*train, *test]} == {id(stream) for stream in pool}


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, clone])
def test_copies_are_the_pool_itself(pool, copier):
    assert copier(pool) is pool


def test_pickle(pool):
    assert content(pickle.loads(pickle.dumps(pool))) == ALL
    rows = from_arrays(np.arange(6)[:, None], np.arange(6), n_streams=3, shuffle=False)
    again = pickle.loads(pickle.dumps(rows))
    assert [int(item["y"]) for item in ChainMux(again)] == list(range(6))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (StreamPool(["a"]), "StreamPool(1 stream: '0')"),
        (StreamPool(["a", "b"], weights=[1, 2]), "StreamPool(2 streams: '0', '1'; weighted)"),
        (StreamPool(["a", "b", "c", "d"]), "StreamPool(4 streams: '0', '1', '2', ...)"),
        (StreamPool(["a"])[:0], "StreamPool(0 streams)"),
    ],
)
def test_repr(made, text):
    assert repr(made) == text


# -- from_arrays --------------------------------------------------------------------------------------------------------------


def rows_of(pool):
    return [stream._column("X")[:, 0].tolist() for stream in pool]


@given(n=st.integers(1, 60), data=st.data())
@settings(max_examples=60, derandomize=True)
def test_blocks_are_of_equal_size_to_one_row(n, data):
    n_streams = data.draw(st.integers(1, n))
    blocks = rows_of(from_arrays(np.arange(n)[:, None], n_streams=n_streams))
    assert len(blocks) == n_streams
    assert [row for block in blocks for row in block] == list(range(n))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


def test_one_stream_by_default():
    assert rows_of(from_arrays(np.arange(5)[:, None])) == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ([2, 0, 2, 1, 0], ("0", "1", "2")),
        (list("cacba"), ("a", "b", "c")),
        (np.array([2.5, 0.5, 2.5, 1.5, 0.5]), ("0.5", "1.5", "2.5")),
        (pd.Series([2, 0, 2, 1, 0], index=[9, 8, 7, 6, 5]), ("0", "1", "2")),
        (pl.Series(list("cacba")), ("a", "b", "c")),
        (np.array(list("cacba"), object), ("a", "b", "c")),
        (pd.Categorical(list("cacba")), ("a", "b", "c")),
        (pd.to_datetime(["2024-03-01", "2024-01-01", "2024-03-01", "2024-02-01", "2024-01-01"]), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stream_for_each_value(by, names):
    pool = from_arrays(np.arange(5)[:, None], by=by)
    assert rows_of(pool) == [[1, 4], [3], [0, 2]]
    if names is not None:
        assert pool.names == names
    else:
        assert [name[:7] for name in pool.names] == ["2024-01", "2024-02", "2024-03"]


def test_a_stream_for_each_class():
    y = np.array(list("baab"))
    pool = from_arrays(np.arange(4)[:, None], y, by="y")
    assert pool.names == ("a", "b")
    assert rows_of(pool) == [[1, 2], [0, 3]]
    for name, stream in zip(pool.names, pool, strict=True):
        assert {item["y"] for item in stream} == {name}


def test_balanced_classes_by_weightless_mux():
    """A stream per class and equal shares: the classes are balanced, whatever their frequency."""
    y = np.array([0] * 990 + [1] * 10)
    pool = from_arrays(np.arange(1000)[:, None], y, by="y")
    labels = [item["y"] for item in StochasticMux(pool, 2, 1, dist="constant", random_state=0).generate(10_000)]
    # each item is a visit of its own
    assert abs(np.mean(labels) - 0.5) < 5 * np.sqrt(0.25 / 10_000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"X": []}, "no rows"),
        ({"X": np.empty((0, 3))}, "no rows"),
        ({"X": sparse.csr_matrix((0, 3))}, "no rows"),
        ({"X": pd.DataFrame()}, "no rows"),
        ({"X": 3.0}, "X must be"),
        ({"X": None}, "X must be"),
        ({"X": np.float64(1)}, "scalar"),
        ({"y": [1, 2, 3]}, "y must have a row for each of the 4 rows"),
        ({"y": 1}, "y must have a row"),
        ({"sample_weight": [1]}, "sample_weight must have a row"),
        ({"n_streams": 0}, "n_streams must be an int of at least 1"),
        ({"n_streams": 1.0}, "n_streams must be an int of at least 1"),
        ({"n_streams": 5}, "n_streams=5 is more than the 4 rows"),
        ({"by": "y"}, "by='y' needs y"),
        ({"by": "month"}, "by must be an array with a value for each row, or 'y', got 'month'"),
        ({"by": [1, 2]}, "by must have a value for each of the 4 rows"),
        ({"by": np.zeros((4, 1))}, "by must have a value for each of the 4 rows"),
        ({"by": [1, 2, 3, 4], "n_streams": 2}, "exclude each other"),
        ({"by": np.array([1, "a", None, 2], object)}, "can be sorted"),
        ({"shuffle": 1}, "shuffle must be a bool"),
        ({"shuffle": None}, "shuffle must be a bool"),
    ],
    ids=str,
)
def test_bad_arrays_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        from_arrays(**{"X": np.zeros((4, 2)), **arguments})


def test_bad_streams_are_refused():
    with pytest.raises(ValueError, match="streams is empty"):
        StreamPool([])
    with pytest.raises(TypeError, match="stream at position 1"):
        StreamPool(["a", 3])
    with pytest.raises(TypeError, match="running"):
        StreamPool([iter("a")])


def test_a_part_of_an_array_pool_is_one_as_well():
    pool = from_arrays(np.arange(12)[:, None], n_streams=6)
    items = RoundRobinMux(pool[[5, 0]] + pool[2:3])
    assert sorted(int(item["X"][0]) for item in items) == [0, 1, 4, 5, 10, 11]


# -- parts that scikit-learn takes ------------------------------------------------------------------------------------------


def weighted():
    X = np.random.default_rng(0).normal(size=(1200, 3))
    y = (X[:, 0] > 0).astype(int)
    weights = [1000, *[1] * 11]
    return StreamPool(from_arrays(X, y, n_streams=12), weights=weights, names=list("abcdefghijkl"))


def test_parts_of_a_pool_keep_weights_and_names():
    pool = weighted()
    train, test = train_test_split(pool, random_state=0)
    for part in (train, test):
        assert isinstance(part, StreamPool)
        assert [pool.weights[pool.names.index(name)] for name in part.names] == part.weights.tolist()
    assert sorted(train.names + test.names) == sorted(pool.names)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation_trains_with_the_weights_of_the_pool(n_jobs):
    model = StreamingEstimator(SGDClassifier(), lam=4, n_active=2, max_batches=20, random_state=0)
    cv = KFold(3)
    found = cross_validate(model, weighted(), cv=cv, return_estimator=True, n_jobs=n_jobs)["estimator"]
    for fitted, (train, _) in zip(found, cv.split(weighted()), strict=True):
        assert fitted.stream_names_ == tuple(weighted().names[i] for i in train)
        shares = fitted.stream_counts_ / fitted.stream_counts_.sum()
        assert (shares[0] > 0.9) == (train[0] == 0)
        np.testing.assert_array_equal(model.fit(weighted()[train]).stream_counts_, fitted.stream_counts_)


def test_errors_in_folds_name_the_stream():
    def breaks():
        yield np.ones((5, 2)), [0, 1, 0, 1, 0]
        raise OSError("the disk is gone")

    good = [(np.ones((5, 2)), [0, 1, 0, 1, 0])]
    pool = StreamPool([*[Streamer(good)] * 5, Streamer(breaks)], names=[*"abcde", "BAD"])
    model = StreamingEstimator(SGDClassifier(), classes=[0, 1], mode="exhaustive")
    with pytest.raises(OSError, match="disk") as caught:
        cross_validate(model, pool, cv=KFold(3), error_score="raise")
    assert any("'BAD' at position" in note for note in caught.value.__notes__)


def test_what_needs_arrays_is_told_what_a_pool_is():
    for fails in (StandardScaler(), make_pipeline(StandardScaler(), StreamingEstimator(SGDClassifier()))):
        with pytest.raises(TypeError, match=r"is a pool of streams, no array: .* Fit a StreamingEstimator of it"):
            fails.fit(weighted())


def test_weights_for_another_number_of_streams_say_which_go_with_parts():
    model = StreamingEstimator(SGDClassifier(), pool_weights=[1] * 12)
    with pytest.raises(ValueError, match=r"the weights that StreamPool\(weights=...\) gave"):
        model.fit(weighted()[:8])


def test_pools_that_are_joined_have_names_of_their_own():
    unnamed = StreamPool(["ab", "cd"])
    assert (unnamed + unnamed).names == ("0", "1", "2", "3")
    assert (unnamed + StreamPool(["ef"], names=["x"])).names == ("0", "1", "x")


@pytest.mark.parametrize("X", [range(4), memoryview(np.arange(4.0)), memoryview(np.arange(8.0).reshape(4, 2))])
def test_rows_of_any_sequence_of_numbers(X):
    assert [item["X"].tolist() for item in from_arrays(X, shuffle=False)[0]] == np.asarray(X).reshape(4, -1).tolist()
