"""from_dataframe, for pandas and polars."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from streamlearn import from_dataframe
from tests.sourcechecks import drained, in_order

COLUMNS = {
    "a": [1, 2, 3, 4],
    "b": [0.5, None, 1.5, 2.0],
    "label": ["u", "v", "u", "u"],
    "day": [1, 1, 2, 2],
    "w": [1, 2, 1, 0],
}


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame])
def frame(request):
    return request.param(COLUMNS)


def test_rows_and_names(frame):
    pool = from_dataframe(frame, target="label", sample_weight="w", by="day")
    assert pool.names == ("1", "2")
    X, y, who = drained(pool)
    np.testing.assert_array_equal(in_order(X), [[1, 0.5], [3, 1.5], [4, 2], [2, np.nan]])
    assert sorted(y.tolist()) == ["u", "u", "u", "v"]
    assert sorted(who.tolist()) == [0, 0, 1, 1]
    assert pool[1]._column("sample_weight").tolist() == [1, 0]


def test_texts_stay_a_frame(frame):
    pool = from_dataframe(frame, target=["a", "day"], features=["label", "b"], n_streams=2)
    assert type(pool[0]._column("X")) is type(frame)
    assert pool[0]._column("y").tolist() == [[1, 1], [2, 1]]


def test_float32_is_kept():
    frame = pl.DataFrame({"a": [1.0, 2.0]}, schema={"a": pl.Float32})
    assert from_dataframe(frame, target=None)[0]._column("X").dtype == np.float32


def test_refused(frame):
    with pytest.raises(ValueError, match=r"no column 'lable'\. Did you mean 'label'"):
        from_dataframe(frame, target="lable")
    with pytest.raises(ValueError, match=r"no column 'dya'\. Did you mean 'day'"):
        from_dataframe(frame, target="label", by="dya")
    with pytest.raises(ValueError, match="no features"):
        from_dataframe(frame[["a"]], target="a")
    with pytest.raises(TypeError, match="must be a DataFrame"):
        from_dataframe([1], target=None)
    for dated in (
        pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])}),
        pl.DataFrame({"t": [None]}, schema={"t": pl.Date}),
    ):
        with pytest.raises(ValueError, match="'t' holds dates"):
            from_dataframe(dated, target=None)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("values", [["v", "u", None, "u"], [2, 1, None, 1], [2.5, 1.0, None, 1.0]])
def test_rows_without_a_value_are_a_stream(make, values):
    frame = make({"user": values, "x": [0.0, 1.0, 2.0, 3.0], "y": [0, 1, 0, 1]})
    pool = from_dataframe(frame, target="y", by="user", shuffle=False)
    assert pool.names[-1] == "None"
    assert [[item["X"].item() for item in stream] for stream in pool] == [[1, 3], [0], [2]]
    nullable = pd.DataFrame({"user": pd.array([2, None, 1], "Int64"), "x": 1.0, "y": 0})
    assert from_dataframe(nullable, target="y", by="user").names == ("1", "2", "None")


@pytest.mark.parametrize("by", [["day", "label"], np.array([1, 2, 1, 2])])
def test_by_is_the_name_of_a_column(frame, by):
    with pytest.raises(TypeError, match="by must be the name of a column, got"):
        from_dataframe(frame, target="label", by=by)
