"""Where samples lie that a plan asks for, against cursors that are moved one sample at a time."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn import _compiled, from_arrays
from streamlearn._arrays import ArrayStream, Table
from streamlearn._blocks import BlockSource, BlockStream
from streamlearn._cursors import CursorReader, Runs, pass_key
from streamlearn._permute import counted_from, permute
from streamlearn._random import mix32, mix_array
from streamlearn._reader import Plan

N_BLOCKS = 3


class Told(CursorReader):
    """Tells of each sample in time its stream, pass and place."""

    def _find(self, runs, order):
        cut, number = runs.cut(self._sizes)
        who = np.repeat(runs.streams, runs.lengths)
        assert (cut.lengths >= 0).all()
        told = np.empty((len(order), 3), np.int64)
        number = self._passes[cut.streams] + number
        told[order] = np.column_stack([who, np.repeat(number, cut.lengths), counted_from(cut.places, cut.lengths)])
        return told.tolist()


class Cursors:
    """The same, sample by sample."""

    def __init__(self, sizes, shuffled):
        self._sizes = sizes
        self._shuffled = shuffled
        self._at = [0] * len(sizes)

    def locate(self, order, streams, lengths):
        runs = defaultdict(list)  # of each stream, times run after run
        start = 0
        for stream, length in zip(streams.tolist(), lengths.tolist(), strict=True):
            if length:
                runs[stream].append(order[start : start + length].tolist())
            start += length
        told = {}
        for stream, times in runs.items():
            size, at = self._sizes[stream], self._at[stream]
            times = [time for run in times for time in run]
            if not self._shuffled[stream] or at % size + len(times) > size:
                times = sorted(times)
            for i, time in enumerate(times):
                told[time] = [stream, *divmod(at + i, size)]
            self._at[stream] += len(times)
        return [told[time] for time in sorted(told)]


@st.composite
def readings(draw):
    """Sizes of streams, which of them are shuffled, and plans: some runs are empty, some longer than their stream."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    shuffled = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    plans = []
    for _ in range(N_BLOCKS):
        runs = draw(st.lists(st.tuples(st.integers(0, len(sizes) - 1), st.integers(0, 12)), min_size=1, max_size=8))
        runs.append((draw(st.integers(0, len(sizes) - 1)), 1))
        n = sum(length for _, length in runs)
        lengths = np.array([length for _, length in runs])
        parts = np.split(np.array(draw(st.permutations(range(n))), np.int64), np.cumsum(lengths)[:-1])
        order = np.concatenate([np.sort(part) for part in parts])  # the draws of a visit follow each other
        plans.append((order, np.array([stream for stream, _ in runs]), lengths))
    return sizes, shuffled, plans


@settings(max_examples=200, deadline=None)
@given(readings())
def test_samples_are_located_as_by_cursors_that_are_moved_one_by_one(reading):
    sizes, shuffled, plans = reading
    reader, cursors = Told(np.array(sizes), np.array(shuffled), 0), Cursors(sizes, shuffled)
    for order, streams, lengths in plans:
        where, who = reader.locate(Plan(order, streams, lengths))
        expected = cursors.locate(order, streams, lengths)
        assert where == expected
        assert who.tolist() == [stream for stream, _, _ in expected]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reading=readings(), more=st.sampled_from([0, 60]), kind=st.sampled_from(["views", "separate", "order", "frames"])
)
def test_rows_of_arrays_are_those_at_which_cursors_stand(way, reading, more, kind):
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
    for order, of, lengths in plans:
        where, who = reader.locate(Plan(order, of, lengths))
        batch = reader.gather(where)
        expected = []
        for stream, number, place in cursors.locate(order, of, lengths):
            key = mix32(keys[[stream]] ^ pass_key(np.array([number])))
            element = permute(np.array([place]), np.array([sizes[stream]]), key)[0] if shuffled[stream] else place
            expected.append((stream, firsts[stream] + element))
        assert who.tolist() == [stream for stream, _ in expected]
        assert np.asarray(batch["X"]).tolist() == [[row, -row] for _, row in expected]
        assert batch["y"].tolist() == [row for _, row in expected]
        assert np.asarray(batch["y"]).dtype == np.int16


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


class Numbered(BlockSource):
    """Blocks of rows that are numbered from ``first`` on."""

    parts = ("X",)

    def __init__(self, first, rows):
        self.name = str(first)
        self._first = first
        self._rows = np.array(rows)

    def rows(self):
        return self._rows

    def read(self, block):
        start = self._first + int(self._rows[:block].sum())
        return {"X": np.arange(start, start + self._rows[block], dtype=float)[:, None]}


@pytest.mark.parametrize("prefetch", [0, 2])
@settings(max_examples=100, deadline=None)
@given(reading=readings(), cut=st.integers(1, 4), window=st.integers(1, 8))
def test_blocks_in_order_give_the_rows_of_an_array(reading, cut, window, prefetch):
    sizes, _, plans = reading
    table = Table({"X": np.arange(sum(sizes), dtype=float)[:, None]})
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    arrays = [ArrayStream(table, first, first + size, shuffle=False) for first, size in zip(firsts, sizes, strict=True)]
    blocks = [
        BlockStream(
            Numbered(first, [cut] * (size // cut) + [size % cut]), window=window, shuffle=False, prefetch=prefetch
        )
        for first, size in zip(firsts, sizes, strict=True)
    ]
    whole, by_block = ArrayStream._joint_reader(arrays, 0), BlockStream._joint_reader(blocks, 0)
    located = [(whole.locate(Plan(*plan)), by_block.locate(Plan(*plan))) for plan in plans]
    for (rows, who), (places, also_who) in located:
        assert (who == also_who).all()
        assert (whole.gather(rows)["X"] == by_block.gather(places)["X"]).all()
    by_block.close()


def test_runs_are_cut_where_passes_end():
    runs = Runs(
        np.array([1, 0]), np.array([3, 2]), np.array([9, 3]), np.array([0, 1]), np.array([2, 3]), np.array([5, 12])
    )
    cut, number = runs.cut(np.array([10, 5]))
    assert cut.streams.tolist() == [1, 1, 1, 0]
    assert cut.places.tolist() == [3, 0, 0, 2]
    assert cut.lengths.tolist() == [2, 5, 2, 3]
    assert number.tolist() == [0, 1, 2, 0]
