"""Rows of every kind of table: counting, taking, slicing and joining agree with a list of rows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from streamlearn._rows import (
    concat_rows,
    empty_rows,
    is_frame,
    is_series,
    n_rows,
    row_bytes,
    slice_rows,
    sum_of_squares,
    take_into_rows,
    take_rows,
)

KINDS = {
    "array": lambda ids: np.stack([ids, 2 * ids], axis=1),
    "one dimension": lambda ids: ids.copy(),
    "three dimensions": lambda ids: np.repeat(ids, 6).reshape(-1, 2, 3),
    "csr": lambda ids: sparse.csr_matrix(np.stack([ids, 2 * ids], axis=1)),
    "csr array": lambda ids: sparse.csr_array(np.stack([ids, 2 * ids], axis=1)),
    "pandas": lambda ids: pd.DataFrame({"n": ids, "t": ids.astype(str)}),
    "pandas series": lambda ids: pd.Series(ids),
    "polars": lambda ids: pl.DataFrame({"n": ids, "t": ids.astype(str)}),
    "polars series": lambda ids: pl.Series("n", ids),
    "list": lambda ids: ids.astype(str).tolist(),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def numbers(values):
    """The number of each row, whatever the kind."""
    if sparse.issparse(values):
        rows = values.toarray()
        assert (rows[:, 1] == 2 * rows[:, 0]).all()
        return rows[:, 0].tolist()
    if isinstance(values, pd.DataFrame | pl.DataFrame):
        assert [str(n) for n in values["n"]] == list(values["t"])
        return list(values["n"])
    if isinstance(values, np.ndarray):
        return values.reshape(len(values), -1)[:, 0].tolist() if len(values) else []
    return [int(value) for value in values]


@every_kind
@given(n=st.integers(0, 20), data=st.data())
@settings(max_examples=20, derandomize=True)
def test_rows_are_those_of_a_list(kind, n, data):
    values = KINDS[kind](np.arange(n))
    assert n_rows(values) == n
    assert numbers(values) == list(range(n))
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    part = slice_rows(values, start, stop)
    assert type(part) is type(values)
    assert numbers(part) == list(range(start, stop))
    if n:
        index = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=30)), np.int64)
        taken = take_rows(values, index)
        assert type(taken) is type(values)
        assert numbers(taken) == index.tolist()


@every_kind
def test_many_rows_are_those_of_a_list(way, kind):
    values, index = KINDS[kind](np.arange(20)), np.random.default_rng(0).integers(0, 20, 1000)
    taken = take_rows(values, index)
    assert type(taken) is type(values)
    assert getattr(taken, "dtype", None) == getattr(values, "dtype", None)
    assert numbers(taken) == index.tolist()


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 0)])
@pytest.mark.parametrize("bad", [-6, 5, 2**62])
def test_rows_that_are_not_there_are_refused_and_negative_ones_counted_from_the_end(way, shape, bad):
    values = np.arange(np.prod(shape)).reshape(shape)
    index = np.zeros(100, np.int64)
    index[50] = -1
    np.testing.assert_array_equal(take_rows(values, index)[50], values[4])
    index[50] = bad
    with pytest.raises(IndexError):
        take_rows(values, index)


@every_kind
@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=6))
@settings(max_examples=20, derandomize=True)
def test_joined_rows_are_those_of_a_list(kind, sizes):
    ends = np.cumsum(sizes)
    values = [KINDS[kind](np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    whole = concat_rows(values)
    assert type(whole) is type(values[0])
    assert numbers(whole) == list(range(ends[-1]))


@every_kind
def test_taken_rows_are_a_copy(kind):
    values = KINDS[kind](np.arange(4))
    taken = take_rows(values, np.array([0, 1]))
    assert taken is not values
    if isinstance(values, np.ndarray):
        assert not np.shares_memory(taken, values)


def test_sliced_arrays_are_views():
    values = np.arange(12).reshape(6, 2)
    assert np.shares_memory(slice_rows(values, 1, 3), values)


@pytest.mark.parametrize(
    "second", [np.array([[3.0, 6.0]]), sparse.csc_matrix([[3.0, 6.0]]), sparse.coo_array([[3.0, 6.0]])]
)
def test_the_first_part_decides_the_kind(second):
    joined = concat_rows([sparse.csr_matrix([[1.0, 2.0]]), second])
    assert sparse.issparse(joined)
    assert numbers(joined) == [1, 3]
    joined = concat_rows([np.array([[1.0, 2.0]]), second])
    assert isinstance(joined, np.ndarray)
    assert joined.tolist() == [[1, 2], [3, 6]]


def test_arrays_are_promoted():
    assert concat_rows([np.array([1], np.int8), np.array([0.5])]).tolist() == [1, 0.5]


@every_kind
def test_frames_and_series_are_told_apart(kind):
    values = KINDS[kind](np.arange(3))
    assert is_frame(values) == (kind in ("pandas", "polars"))
    assert is_series(values) == (kind in ("pandas series", "polars series"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((5, 3)), 24),
        (np.zeros((5, 3), np.float32), 12),
        (np.zeros(5, np.int16), 2),
        (np.zeros((5, 2, 3)), 48),
        (np.zeros((0, 3)), 24),
    ],
)
def test_row_bytes_of_arrays(values, expected):
    assert row_bytes(values) == expected


@every_kind
def test_row_bytes_of_any_kind_is_positive(kind):
    assert row_bytes(KINDS[kind](np.arange(3))) > 0
    assert row_bytes(KINDS[kind](np.arange(0))) >= 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
@pytest.mark.parametrize("width", [1, 3, 20])
def test_new_rows_begin_at_a_multiple_of_their_size(width, dtype):
    kept = [empty_rows(n, width, np.dtype(dtype)) for n in (1, 7, 1000)]
    for n, rows in zip((1, 7, 1000), kept, strict=True):
        assert rows.shape == (n, width)
        assert rows.dtype == dtype
        assert rows.flags.c_contiguous
        assert rows.flags.writeable
        assert rows.__array_interface__["data"][0] % max(width * rows.itemsize, 1) == 0


@every_kind
def test_taken_into_rows_they_are_the_same(kind):
    values, index = KINDS[kind](np.arange(50)), np.array([3, 3, 0, 49])
    taken = take_into_rows(values, index)
    assert type(taken) is type(take_rows(values, index))
    assert numbers(taken) == index.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("size", [1, 100, 8192, 8193, 50_000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sum_of_squares_tells_of_any_value_that_is_not_finite(way, dtype, size, value):
    values = np.ones(size, dtype)
    assert np.isfinite(float(sum_of_squares(values[:1000])))
    values[-1] = value
    assert not float(sum_of_squares(values)) < np.inf
    assert not float(sum_of_squares(values[::-1].reshape(-1, 1))) < np.inf
