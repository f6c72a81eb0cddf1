"""Columns of tables of Arrow as arrays and frames: in an order, and where files have them of several types."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from streamlearn import from_parquet
from streamlearn._columns import Columns
from streamlearn._rows import take_rows
from tests.sourcechecks import drained, in_order

ORDERED = ["floats", "single", "half", "nulls", "ints", "mixed", "slices", "chunks", "texts", "lists", "codes"]
TARGETS = [
    "int64",
    "uint64",
    "int32",
    "uint32",
    "int16",
    "bool",
    "float64",
    "float32",
    "text",
    "category",
    "two",
    "two kinds",
]


@pytest.mark.parametrize("target", TARGETS)
def test_targets_and_weights_come_in_an_order(way, target):
    rng = np.random.default_rng(0)
    kinds = {"text": str, "category": str, "two": np.int64, "two kinds": np.int64}
    values = rng.integers(0, 2, 500).astype(kinds.get(target, target))
    t = pa.array(values).dictionary_encode() if target == "category" else pa.array(values)
    table = pa.table(
        {"a": rng.random(500), "t": t, "u": values.astype("f4" if target == "two kinds" else values.dtype)}
    )
    table = table.append_column(
        "w", pa.array(rng.integers(1, 9, 500).astype(np.float32 if target == "bool" else np.int64))
    )
    columns = Columns(table.schema, ["t", "u"] if "two" in target else "t", ["a"], "w", "the table")
    places = rng.permutation(500)
    found, expected = columns.convert(table, places=places), columns.convert(table)
    assert list(found) == list(expected) == ["X", "y", "sample_weight"]
    for name, rows in expected.items():
        assert found[name].dtype == rows.dtype
        np.testing.assert_array_equal(found[name][places], rows)


def test_names_that_no_string_of_c_can_hold(way):
    table = pa.table({"a\0b": [1.0, 2.0], "a": [3.0, 4.0], "t": [0, 1]})
    columns = Columns(table.schema, "t", None, None, "the table")
    np.testing.assert_array_equal(columns.convert(table, places=np.array([1, 0]))["X"], [[2, 4], [1, 3]])


@pytest.mark.parametrize("case", ORDERED)
def test_columns_come_in_an_order(way, case):
    rng = np.random.default_rng(0)
    a, b = rng.random(500), rng.random(500)
    table = {
        "floats": {"a": a, "b": b},
        "single": {"a": a.astype(np.float32), "b": b.astype(np.float32)},
        "nulls": {"a": pa.array(np.where(a < 0.1, None, a).tolist(), pa.float64()), "b": b},
        "half": {"a": a.astype(np.float16), "b": b.astype(np.float16)},
        "ints": {"a": (10 * a).astype(int), "b": (10 * b).astype(int)},
        "mixed": {"a": a, "b": (10 * b).astype(int)},
        "chunks": {"a": a, "b": b},
        "codes": {"a": a, "b": pa.array((10 * b).astype(int)).dictionary_encode()},
        "slices": {"a": a, "b": b},
        "texts": {"a": a, "b": b.astype(str)},
        "lists": {"a": a, "b": pa.array([[x, x] for x in b])},
    }[case]
    table = pa.table({**table, "t": np.arange(500), "w": a})
    if case == "slices":
        table = table.slice(3, 400)
    if case == "chunks":
        table = pa.concat_tables([table.slice(0, 10), table.slice(10)])
    columns = Columns(table.schema, "t", None, "w", "the table")
    places = rng.permutation(len(table))
    found = columns.convert(table, places=places)
    for name, values in columns.convert(table).items():
        assert type(found[name]) is type(values)
        assert getattr(found[name], "dtype", None) == getattr(values, "dtype", None)
        np.testing.assert_array_equal(take_rows(found[name], places), values)
    np.testing.assert_array_equal(columns.convert(table, "y", places)["y"][places], columns.convert(table)["y"])


NULLABLE = {
    "ints": pd.DataFrame({"k": [1, 2, 3, 4], "a": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]}),
    "floats": pd.DataFrame({"k": [5, None, 7, 8], "a": [5.0, 6.0, 7.0, 8.0], "y": [0, 1, 0, 1]}),
    "singles": pd.DataFrame({"k": [9, 10, 11, 12], "a": np.arange(9, 13, dtype=np.float32), "y": [0, 1, 0, 1]}),
    "bools": pd.DataFrame({"k": [True, False, True, True], "a": [13.0, 14.0, 15.0, 16.0], "y": [0, 1, 0, 1]}),
    "nulls": pd.DataFrame({"k": [None] * 4, "a": [17.0, 18.0, 19.0, 20.0], "y": [0, 1, 0, 1]}),
}


@pytest.mark.parametrize(
    "order", [list(NULLABLE), list(NULLABLE)[::-1], ["floats", "ints", "bools", "singles", "nulls"]]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_numbers_of_one_feature_may_have_several_types(order, shuffle, tmp_path):
    """As pandas writes them: a column of ints with a null becomes floats, one of nulls alone has no type."""
    for i, name in enumerate(order):
        NULLABLE[name].to_parquet(tmp_path / f"{i}.parquet")
    pool = from_parquet(str(tmp_path), target="y", shuffle=shuffle)
    X = drained(pool)[0]
    expected = np.concatenate([NULLABLE[name][["k", "a"]].astype(float).to_numpy() for name in order])
    assert X.dtype == np.float64
    np.testing.assert_array_equal(in_order(X[:, ::-1]), in_order(expected[:, ::-1]))


def test_a_text_may_be_null_in_all_of_a_file(tmp_path):
    frames = [pd.DataFrame({"s": texts, "y": [0, 1]}) for texts in (["a", "b"], [None, None], ["c", None])]
    for i, frame in enumerate(frames):
        frame.to_parquet(tmp_path / f"{i}.parquet")
    X = [
        item["X"]["s"].tolist() for stream in from_parquet(str(tmp_path), target="y", shuffle=False) for item in stream
    ]
    assert [None if pd.isna(text) else text for (text,) in X] == ["a", "b", None, None, "c", None]


@pytest.mark.parametrize(("kinds", "column"), [((np.float32, np.float64), "a"), ((int, float), "y")])
def test_types_that_would_change_what_is_learned_are_refused(kinds, column, tmp_path):
    for i, kind in enumerate(kinds):
        frame = pd.DataFrame({"a": np.arange(4, dtype=np.float32), "y": [0, 1, 0, 1]})
        frame[column] = frame[column].astype(kind)
        frame.to_parquet(tmp_path / f"{i}.parquet")
    with pytest.raises(ValueError, match=rf"1\.parquet': column '{column}' is double, but"):
        len(list(from_parquet(str(tmp_path), target="y")[1]))
