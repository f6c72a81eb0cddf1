"""Joining and cutting batches keep all rows, their order and their origin."""

import math
import types

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from streamlearn._batch import as_batch
from streamlearn._joiner import Joiner, keep
from streamlearn._rows import limit_of
from tests.batches import W, X, Y


def make_kind(kind):
    """From numbers of rows to X in which each row tells its number."""
    return {
        "floats": lambda ids: np.stack([ids, -ids], axis=1).astype(float),
        "ints": lambda ids: np.stack([ids, -ids], axis=1),
        "images": lambda ids: np.repeat(ids, 6).reshape(-1, 2, 3),
        "sparse": lambda ids: sparse.csr_matrix(np.stack([ids, -ids], axis=1).astype(float)),
        "csc": lambda ids: sparse.csc_matrix(np.stack([ids, -ids], axis=1).astype(float)),
        "coo": lambda ids: sparse.coo_matrix(np.stack([ids, -ids], axis=1).astype(float)),
        "pandas": lambda ids: pd.DataFrame({"n": ids, "t": ids.astype(str)}),
        "polars": lambda ids: pl.DataFrame({"n": ids, "t": ids.astype(str)}),
        "texts": lambda ids: ids.astype(str).tolist(),
    }[kind]


def row_numbers(values):
    if sparse.issparse(values):
        return values.toarray()[:, 0].astype(int).tolist()
    if isinstance(values, pd.DataFrame | pl.DataFrame):
        assert list(values["t"]) == [str(i) for i in values["n"]]
        return list(values["n"])
    if isinstance(values, list):
        return [int(text) for text in values]
    return np.asarray(values).reshape(len(values), -1)[:, 0].astype(int).tolist()


def cut(sizes, size, first, kind_of, parts_of=lambda ids: (ids % 3, ids / 4)):
    """Feed items of these sizes; return rows, targets, weights and origins in the order of the output, and its sizes."""
    joiner = Joiner(size, first)
    rows, targets, weights, origins, out_sizes = [], [], [], [], []

    def collect(batches):
        for batch, counts in batches:
            numbers = row_numbers(batch.X)
            assert batch.n == len(numbers) == sum(n for _, n in counts)
            rows.extend(numbers)
            out_sizes.append(batch.n)
            for values, out in ((batch.y, targets), (batch.sample_weight, weights)):
                assert values is None or len(values) == batch.n
                out.extend([] if values is None else values.tolist())
            for position, n in counts:
                assert n > 0
                origins.extend([position] * n)

    at = 0
    for position, n in enumerate(sizes):
        ids = np.arange(at, at + n)
        at += n
        collect(joiner.feed(as_batch((kind_of[position % len(kind_of)](ids), *parts_of(ids))), position))
    collect(joiner.flush())
    collect(joiner.flush())  # a second time gives nothing
    assert rows == list(range(at))
    assert origins == [position for position, n in enumerate(sizes) for _ in range(n)]
    return targets, weights, out_sizes


def expected_sizes(sizes, size, first):
    """Per row: close a batch when it is full; with size None, with its item."""
    out, n = [], 0
    for item in sizes:
        for _ in range(item):
            n += 1
            if size is not None and n == (max(size, first) if not out else size):
                out.append(n)
                n = 0
        if size is None and n and (out or n >= first):
            out.append(n)
            n = 0
    return out + [n] * bool(n)


item_sizes = st.lists(st.integers(1, 9), max_size=14)


@given(sizes=item_sizes, size=st.none() | st.integers(1, 12), first=st.integers(1, 15))
@settings(max_examples=200, derandomize=True)
def test_any_cutting_keeps_rows_and_origins(sizes, size, first):
    n = sum(sizes)
    targets, weights, out = cut(sizes, size, first, [make_kind("floats")])
    assert targets == [i % 3 for i in range(n)]
    assert weights == [i / 4 for i in range(n)]
    assert out == expected_sizes(sizes, size, first)


@pytest.mark.parametrize(
    "kinds",
    [
        ["ints"],
        ["images"],
        ["sparse"],
        ["csc"],
        ["coo"],
        ["pandas"],
        ["polars"],
        ["texts"],
        ["ints", "floats"],
        ["floats", "ints"],
        ["floats", "sparse"],
        ["sparse", "floats"],
        ["sparse", "csc", "ints"],
        ["floats", "floats", "sparse", "ints"],
    ],
    ids=lambda kinds: "+".join(kinds),
)
@given(sizes=item_sizes, size=st.integers(1, 12), first=st.sampled_from([1, 5]))
@settings(max_examples=25, derandomize=True)
def test_any_cutting_of_any_kind_keeps_the_rows(kinds, sizes, size, first):
    _, _, out = cut(sizes, size, first, [make_kind(kind) for kind in kinds])
    assert out == expected_sizes(sizes, size, first)


@given(
    sizes=item_sizes,
    size=st.none() | st.integers(1, 12),
    which=st.sampled_from(["nothing", "y", "weight", "outputs", "labels"]),
)
@settings(max_examples=100, derandomize=True)
def test_any_parts_are_kept(sizes, size, which):
    parts_of = {
        "nothing": lambda ids: (),
        "y": lambda ids: (ids,),
        "weight": lambda ids: (None, ids.astype(float)),
        "outputs": lambda ids: (np.stack([ids, ids], axis=1),),
        "labels": lambda ids: (ids.astype(str),),  # strings of different widths
    }[which]
    targets, weights, _ = cut(sizes, size, 1, [make_kind("floats")], parts_of)
    n = sum(sizes)
    assert targets == {
        "y": list(range(n)),
        "outputs": [[i, i] for i in range(n)],
        "labels": [str(i) for i in range(n)],
    }.get(which, [])
    assert weights == (list(range(n)) if which == "weight" else [])


@given(
    n_items=st.integers(1, 30),
    n=st.integers(1, 5),
    size=st.integers(1, 12),
    how=st.sampled_from(["X", "X, y", "mapping", "sample"]),
)
@settings(max_examples=100, derandomize=True)
def test_a_generator_may_use_its_buffers_again(n_items, n, size, how):
    if how == "sample":
        n = 1
    X, y, w = np.zeros((n, 2)), np.zeros(n), np.zeros(n)

    def items():
        for i in range(n_items):
            X[:], y[:], w[:] = i, i, i
            yield {"X": X, "X, y": (X, y), "mapping": {"X": X, "y": y, "sample_weight": w}, "sample": (X[0], y[0])}[how]
            X[:], y[:], w[:] = -1, -1, -1

    joiner = Joiner(size)
    seen = []

    def see(batches):
        for batch, _ in batches:
            seen.extend(batch.X[:, 0].tolist())
            for values in (batch.y, batch.sample_weight):
                assert values is None or values.tolist() == batch.X[:, 0].tolist()

    for i, item in enumerate(items()):
        see(joiner.feed(as_batch(item), i))
    see(joiner.flush())
    assert seen == [i for i in range(n_items) for _ in range(n)]


@pytest.mark.parametrize("kind", ["sparse", "pandas", "texts"])
def test_containers_other_than_arrays_may_be_used_again_as_well(kind):
    joiner = Joiner(4)
    values = make_kind(kind)(np.arange(2))
    assert not joiner.feed(as_batch(values), 0)
    if kind == "sparse":
        values.data[:] = -7
    elif kind == "pandas":
        values.iloc[:, 0] = -7
    else:
        values[:] = ["-7", "-7"]
    ((batch, _),) = joiner.feed(as_batch(make_kind(kind)(np.arange(2, 4))), 1)
    assert row_numbers(batch.X) == [0, 1, 2, 3]


def test_a_joined_batch_is_not_overwritten_by_the_next():
    joiner = Joiner(4)
    out = []
    for i in range(8):
        out += [batch for batch, _ in joiner.feed(as_batch((np.full((1, 2), i), [i])), 0)]
    assert [batch.X[:, 0].tolist() for batch in out] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [batch.y.tolist() for batch in out] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_large_item_is_cut_into_views():
    big = np.arange(20.0).reshape(10, 2)
    out = [batch for batch, _ in Joiner(5).feed(as_batch(big), 0)]
    assert len(out) == 2
    assert all(np.shares_memory(batch.X, big) for batch in out)


def test_an_item_without_rows_is_passed_over():
    joiner = Joiner(2)
    assert not joiner.feed(as_batch(np.empty((0, 2))), 0)
    assert not joiner.flush()
    ((batch, counts),) = [
        *joiner.feed(as_batch(np.ones((1, 2))), 1),
        *joiner.feed(as_batch(np.empty((0, 2))), 2),
        *joiner.feed(as_batch(np.ones((1, 2))), 3),
    ]
    assert batch.n == 2
    assert counts == [(1, 1), (3, 1)]


def test_joined_frames_keep_names_and_dtypes():
    for make in (pd.DataFrame, pl.DataFrame):
        joiner = Joiner(3)
        joiner.feed(as_batch(make({"n": [1, 2], "t": ["a", "b"]})), 0)
        ((batch, _),) = joiner.feed(as_batch(make({"n": [3], "t": ["c"]})), 1)
        assert isinstance(batch.X, make)
        expected = make({"n": [1, 2, 3], "t": ["a", "b", "c"]})
        assert batch.X.equals(expected)


def joined(*items):
    joiner = Joiner(len(items))
    out = []
    for i, item in enumerate(items):
        out += joiner.feed(as_batch(item), i)
    ((batch, _),) = out
    return batch


def test_polars_frames_are_not_joined_by_position():
    with pytest.raises(pl.exceptions.PolarsError, match="column"):
        joined(pl.DataFrame({"a": [1], "b": [2]}), pl.DataFrame({"b": [4], "a": [3]}))


def test_wider_rows_are_refused():
    with pytest.raises(ValueError, match=r"differ in their number of features.*\(2,\), \(3,\)"):
        joined(np.ones((1, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="differ in their number of features"):
        joined(sparse.csr_matrix(np.ones((1, 2))), np.ones((1, 3)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((X[:1], [1]), X[:1]),
        (X[:1], (X[:1], [1])),
        ((X[:1], [1], [1.0]), (X[:1], [1])),
        ((X[:1], None, [1.0]), X[:1]),
        ((X[:1], [1]), (X[:1], None, [1.0])),
    ],
)
def test_items_with_different_parts_are_refused(one, other):
    with pytest.raises(ValueError, match="some items have y or sample_weight and others have not"):
        joined(one, other)


def test_mixed_numbers_are_promoted():
    assert joined(np.array([[1, 2]]), np.array([[0.5, 0.25]])).X.tolist() == [[1, 2], [0.5, 0.25]]
    assert joined(np.array([[2**40]]), np.array([[1]], np.int8)).X.tolist() == [[2**40], [1]]
    assert joined(np.array([[1]], np.int8), np.array([[2**40]])).X.tolist() == [[1], [2**40]]
    assert joined((X[:1], [1]), (X[:1], [0.5])).y.tolist() == [1, 0.5]
    assert joined((X[:1], ["a"]), (X[:1], ["longer"])).y.tolist() == ["a", "longer"]


# -- items that are copied to where a batch is gathered --------------------------------------------------------------------

LAID_OUT = {
    "in rows": lambda X: X,
    "in columns": np.asfortranarray,
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "backwards": lambda X: X[::-1].copy()[::-1],
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "a part of the columns": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "between two addresses": lambda X: np.frombuffer(b"." + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
}


@pytest.mark.parametrize("laid_out", LAID_OUT)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?", "c16", ">f8", "S3", "M8[s]"])
@given(n=st.integers(0, 6), width=st.integers(0, 3), start=st.integers(0, 3), room=st.integers(0, 9))
@settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_item_is_kept_as_it_is_or_not_at_all(way, laid_out, dtype, n, width, start, room):
    values = np.arange(n * width).astype("u1").astype(dtype).reshape(n, width)
    X, y = LAID_OUT[laid_out](values), np.repeat(np.arange(n, dtype=np.int16), 2)[::2]
    most = start + room
    X_room, y_room = np.zeros((9 + start, width), X.dtype), np.full(9 + start, -1, y.dtype)
    kept = keep({"X": X, "y": y}, X_room, y_room, start, most, limit_of(X.dtype, math.inf), None)
    assert kept == (n if n <= room else 0)
    if kept:
        assert X_room[start : start + n].tolist() == values.tolist()
        assert y_room[start : start + n].tolist() == list(range(n))
    assert {*y_room[:start], *y_room[start + n :]} <= {-1}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_an_item_with_what_is_not_finite_is_not_kept(way, dtype, bad):
    X, y = np.ones((40, 3), dtype), np.ones(40, dtype)
    rooms = np.empty_like(X), np.empty_like(y), 0, 40
    assert keep({"X": X, "y": y}, *rooms, math.inf, math.inf) == 40
    for place in (0, 17, 39):
        values = X.copy(), y.copy()
        values[0][place, 1] = values[1][place] = bad
        assert keep({"X": values[0], "y": y}, *rooms, math.inf, math.inf) == 0
        assert keep({"X": X, "y": values[1]}, *rooms, math.inf, math.inf) == 0
        assert keep({"X": values[0], "y": values[1]}, *rooms, None, None) == 40


class Shouting(np.ndarray):
    """An array that is more than its values."""


@pytest.mark.parametrize(
    "item",
    [
        (X, Y),
        {"X": X},
        {"X": X, "y": Y, "sample_weight": W},
        {"X": X, "Y": Y},
        types.MappingProxyType({"X": X, "y": Y}),
        {"X": X.tolist(), "y": Y},
        {"X": X, "y": Y.tolist()},
        {"X": X.view(Shouting), "y": Y},
        {"X": X.astype(np.float32), "y": Y},
        {"X": X, "y": Y.astype(float)},
        {"X": X[:, :1], "y": Y},
        {"X": X[:2], "y": Y},
        {"X": X, "y": Y[:, None]},
        {"X": X[None], "y": Y},
        {"X": None, "y": None},
    ],
    ids=str,
)
def test_an_item_of_another_kind_is_not_kept(way, item):
    rooms = np.empty((9, 2)), np.empty(9, Y.dtype), 0, 9
    assert keep({"X": X, "y": Y}, *rooms, math.inf, None) == 3
    assert keep(item, *rooms, math.inf, None) == 0
