"""Where samples lie that a plan asks for, against cursors that are moved one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn._array_reader import Table
from streamlearn._arrays import ArrayStream
from streamlearn._blocks import BlockSource, BlockStream
from streamlearn._cursors import CursorReader, Runs
from streamlearn._permute import counted_from
from streamlearn._reader import Plan
from tests.cursors import Cursors, readings


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


@settings(max_examples=200)
@given(readings())
def test_samples_are_located_as_by_cursors_that_are_moved_one_by_one(reading):
    sizes, shuffled, plans = reading
    reader, cursors = Told(np.array(sizes), np.array(shuffled), 0), Cursors(sizes, shuffled)
    for order, streams, lengths in plans:
        where, who = reader.locate(Plan(order, streams, lengths))
        expected = cursors.locate(order, streams, lengths)
        assert where == expected
        assert who.tolist() == [stream for stream, _, _ in expected]


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
@settings(max_examples=100)
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
