"""Rows of arrays that a plan asks for, with and without a compiler, against cursors that are moved one sample at a time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn import _compiled, from_arrays
from streamlearn._array_reader import Table
from streamlearn._arrays import ArrayStream
from streamlearn._cursors import pass_key
from streamlearn._permute import permute
from streamlearn._random import mix32, mix_array
from streamlearn._reader import Plan
from tests.cursors import Cursors, readings


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reading=readings(), more=st.sampled_from([0, 60]), kind=st.sampled_from(["views", "separate", "order", "frames"])
)
def test_rows_of_arrays_are_those_at_which_cursors_stand(way, reading, more, kind):
    """Once more when they were moved back."""
    sizes, shuffled, plans = reading
    sizes = [size + more for size in sizes]  # small and large permutations are found in different ways
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    lying = np.arange(sum(sizes))[::-1].copy() if kind == "order" else np.arange(sum(sizes))
    X, y = np.column_stack([lying, -lying]).astype(float), lying.astype(np.int16)
    tables = [Table({"X": X, "y": y})] * len(sizes)
    if kind in ("separate", "frames"):
        make = pd.DataFrame if kind == "frames" else np.array
        tables = [
            Table({"X": make(X[f : f + n]), "y": y[f : f + n].copy()}) for f, n in zip(firsts, sizes, strict=True)
        ]
    starts = [0] * len(sizes) if tables[0] is not tables[-1] or kind in ("separate", "frames") else firsts
    streams = [
        ArrayStream(table, start, start + size, lying if kind == "order" else None, bool(is_shuffled))
        for table, start, size, is_shuffled in zip(tables, starts, sizes, shuffled, strict=True)
    ]
    seed = 5
    reader, cursors = ArrayStream._joint_reader(streams, seed), Cursors(sizes, shuffled)
    keys = mix_array(seed, np.arange(len(sizes)))
    moves = []
    for order, of, lengths in plans:
        where, who = reader.locate(Plan(order, of, lengths))
        batch = reader.gather(where)
        moves.append((reader.moved, np.asarray(batch["X"]).tolist()))
        expected = []
        for stream, number, place in cursors.locate(order, of, lengths):
            key = mix32(keys[[stream]] ^ pass_key(np.array([number])))
            element = permute(np.array([place]), np.array([sizes[stream]]), key)[0] if shuffled[stream] else place
            expected.append((stream, firsts[stream] + element))
        assert who.tolist() == [stream for stream, _ in expected]
        assert np.asarray(batch["X"]).tolist() == [[row, -row] for _, row in expected]
        assert batch["y"].tolist() == [row for _, row in expected]
        assert np.asarray(batch["y"]).dtype == np.int16
    for moved, _ in reversed(moves):
        reader.move_back(moved)
    for (order, of, lengths), (_, rows) in zip(plans, moves, strict=True):
        where, _ = reader.locate(Plan(order, of, lengths))
        assert np.asarray(reader.gather(where)["X"]).tolist() == rows


def test_plans_of_short_integers_are_read(way):
    """As NumPy 1 makes them on Windows."""
    pool = [*from_arrays(np.arange(10.0)[:, None], n_streams=2, shuffle=False)]
    reader = ArrayStream._joint_reader(pool, 0)
    where, who = reader.locate(Plan(*(np.array(part, np.int32) for part in ([1, 0, 2], [1, 0], [2, 1]))))
    assert reader.gather(where)["X"][:, 0].tolist() == [6, 5, 0]
    assert who.tolist() == [1, 1, 0]


@pytest.mark.skipif(_compiled.native is None, reason="NumPy looks where it reads by itself")
@pytest.mark.parametrize(
    ("order", "streams", "lengths"),
    [([0], [0], [1]), ([0], [2], [1]), ([0], [-1], [1]), ([0], [1], [2]), ([0, 1], [1], [1])],
)
def test_what_is_compiled_refuses_plans_that_lead_elsewhere(order, streams, lengths):
    table = Table({"X": np.arange(10.0)[:, None]})
    reader = ArrayStream._joint_reader([ArrayStream(table, 0, 0), ArrayStream(table, 0, 10)], 0)
    with pytest.raises(ValueError, match="run"):
        reader.locate(Plan(*map(np.array, (order, streams, lengths))))


@pytest.mark.parametrize("kind", ["views", "separate"])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "f2", "i8"])
@pytest.mark.parametrize("width", [1, 3, 20, 3000])
def test_squares_are_added_up_as_rows_are_copied(way, kind, dtype, width):
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (600, width)).astype(dtype)
    y = rng.integers(-3, 4, 600).astype(np.float32)
    parts = [slice(0, 300), slice(300, 600)] if kind == "separate" else [slice(0, 600)]
    streams = [stream for part in parts for stream in from_arrays(X[part].copy(), y[part].copy(), n_streams=2)]
    reader = ArrayStream._joint_reader(streams, 0)
    plan = Plan(rng.permutation(400), np.arange(len(streams)), np.full(len(streams), 400 // len(streams)))
    before = reader.gather(reader.locate(plan)[0])
    assert not getattr(before, "squares", {})
    reader.add_squares()
    batch = reader.gather(reader.locate(plan)[0])
    added = getattr(batch, "squares", {})
    if way == "numpy" or X[0].nbytes > 2**14:  # such rows are copied array by array
        assert not added
    else:
        assert set(added) == ({"X", "y"} if dtype in ("f8", "f4") else {"y"})
    for name, total in added.items():
        assert total == np.sum(batch[name].astype(float) ** 2)  # small whole numbers: no rounding
    bad = X.astype(float)
    bad[599, -1] = np.nan
    if dtype == "f8":
        reader = ArrayStream._joint_reader(list(from_arrays(bad, y)), 0)
        reader.add_squares()
        batch = reader.gather(reader.locate(Plan(np.arange(600), np.array([0]), np.array([600])))[0])
        assert not getattr(batch, "squares", {}) or np.isnan(batch.squares["X"])


def test_a_reader_that_begins_anew_adds_nothing_up():
    reader = ArrayStream._joint_reader([*from_arrays(np.ones((9, 2)))], 0)
    reader.add_squares()
    assert not reader.restarted(1).adds_squares
