"""Pieces of tables against a loop over single rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from streamlearn._pieces import Pieces

KINDS = {
    "array": lambda values: values,
    "float32": lambda values: values.astype(np.float32),
    "one dimension": lambda values: values[:, 0].copy(),
    "images": lambda values: np.repeat(values[:, :, None], 2, axis=2),
    "no features": lambda values: values[:, :0],
    "in columns": np.asfortranarray,
    "every second column": lambda values: np.repeat(values, 2, axis=1)[:, ::2],
    "other order of bytes": lambda values: values.astype(">f8"),
    "dates": lambda values: values.astype("M8[s]"),
    "fixed texts": lambda values: values.astype("U5"),
    "texts": lambda values: values.astype(str).astype(object),
    "sparse": sparse.csr_array,
    "frame": lambda values: pd.DataFrame(values, columns=["a", "b", "c"]),
    "list": lambda values: values[:, 1].tolist(),
}


def dense(values):
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


@st.composite
def pieces(draw):
    """Sizes of tables, pieces of them as (table, start, length), and an order of all rows."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    drawn = []
    for _ in range(draw(st.integers(1, 8))):
        table = draw(st.integers(0, len(sizes) - 1))
        start = draw(st.integers(0, sizes[table] - 1))
        drawn.append((table, start, draw(st.integers(1, sizes[table] - start))))
    n = sum(length for *_, length in drawn)
    return sizes, drawn, draw(st.permutations(range(n)))


def one_by_one(tables, drawn, order):
    rows = [dense(tables[table])[start + i] for table, start, length in drawn for i in range(length)]
    return [rows[i] for i in np.argsort(order)]


@pytest.mark.parametrize("kind", KINDS)
@given(pieces())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_in_time(way, kind, drawn):
    sizes, drawn, order = drawn
    values = np.arange(3.0 * sum(sizes)).reshape(-1, 3)
    tables = [KINDS[kind](part) for part in np.split(values, np.cumsum(sizes)[:-1])]
    gathered = Pieces(*np.array(drawn).T, np.array(order)).gather(tables)
    assert type(gathered) is type(tables[0])
    np.testing.assert_array_equal(dense(gathered), np.array(one_by_one(tables, drawn, order)))


@pytest.mark.parametrize("others", ["float32", "wider", "in columns", "frame"])
def test_tables_of_several_kinds(way, others):
    values = np.arange(12.0).reshape(-1, 3)
    other = {"wider": np.zeros((4, 4)), **{kind: KINDS[kind](values) for kind in ("float32", "in columns", "frame")}}[
        others
    ]
    pieces = Pieces(np.array([0, 1]), np.array([1, 0]), np.array([2, 3]), np.array([4, 1, 3, 0, 2]))
    if others == "wider":
        with pytest.raises(ValueError, match="dimensions"):
            pieces.gather([values, other])
    else:
        np.testing.assert_array_equal(pieces.gather([values, other]), values[[1, 2, 2, 0, 1]])


@given(pieces(), st.data())
@settings(max_examples=100)
def test_tables_that_cannot_be_read_leave_no_gap(drawn, data):
    sizes, drawn, order = drawn
    tables = [10 * i + np.arange(size) for i, size in enumerate(sizes)]
    good = np.array(data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))))
    rest, kept = Pieces(*np.array(drawn).T, np.array(order)).of(good)
    whole = one_by_one(tables, drawn, order)
    stays = [good[value // 10] for value in whole]
    assert kept.tolist() == stays
    if any(stays):
        found = rest.gather([table for table, is_good in zip(tables, good, strict=True) if is_good])
        assert found.tolist() == [value for value, is_good in zip(whole, stays, strict=True) if is_good]


@pytest.mark.parametrize("n_tables", [1, 2])
def test_a_few_rows_do_not_keep_a_frame_in_memory(n_tables):
    frames = [pd.DataFrame({"a": np.arange(1000.0), "b": np.arange(1000.0)}) for _ in range(n_tables)]
    n = 5 * n_tables
    rows = Pieces(np.arange(n_tables), np.zeros(n_tables, int), np.full(n_tables, 5), np.arange(n)).gather(frames)
    assert len(rows) == n
    assert not any(np.shares_memory(rows[name], frame[name]) for name in "ab" for frame in frames)


def test_rows_of_each_table_are_counted():
    assert Pieces(np.array([2, 0, 2]), np.zeros(3, int), np.array([3, 1, 4]), np.arange(8)).counts(4) == [1, 0, 7, 0]
