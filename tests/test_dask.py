"""from_dask against what dask computes."""

import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from streamlearn import from_dask
from tests.sourcechecks import check_source, drained

I = np.arange(70)  # noqa: E741
X, Y = np.column_stack([I, I * 0.5]), I % 3
NAMES = ["partition 0", "partition 1", "partition 2"]


def test_arrays():
    x, y = da.from_array(X, chunks=((23, 40, 7), 1)), da.from_array(Y, chunks=((23, 40, 7),))
    check_source(lambda **options: from_dask(x, y, **options), X, Y, NAMES)


def test_arrays_of_unknown_length():
    x = da.from_array(X, chunks=(30, 2))
    kept = x[x[:, 0] >= 10]
    assert sorted(drained(from_dask(kept))[0][:, 0]) == list(range(10, 70))


def test_frames():
    frame = dd.from_pandas(pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y}), npartitions=3)
    check_source(lambda **options: from_dask(frame, target="label", **options), X, Y, NAMES)
    assert from_dask(frame, features=["b"])[0]._column("X").shape[1] == 1


def test_bags():
    bag = db.from_sequence([{"X": row, "y": label} for row, label in zip(X, Y, strict=True)], npartitions=3)
    pool = from_dask(bag)
    got, y, _ = drained(pool)
    order = np.argsort(got[:, 0])
    np.testing.assert_array_equal(got[order], X)
    np.testing.assert_array_equal(y[order], Y)


def test_refused():
    x = da.from_array(X, chunks=(10, 2))
    with pytest.raises(ValueError, match="y has the chunks"):
        from_dask(x, da.from_array(Y, chunks=20))
    with pytest.raises(TypeError, match="must be a dask"):
        from_dask(X)
    frame = dd.from_pandas(pd.DataFrame({"a": [1.0, 2.0], "label": [0, 1]}), npartitions=1)
    with pytest.raises(ValueError, match="Did you mean 'label'"):
        from_dask(frame, target="lable")
    with pytest.raises(ValueError, match="go with arrays"):
        from_dask(frame, y=x)


def test_errors_name_the_stream():
    def fail(block):
        raise RuntimeError("the worker is gone")

    pool = from_dask(da.ones((10, 2), chunks=(5, 2)).map_blocks(fail, dtype=float, meta=np.empty((0, 0))))
    with pytest.raises(RuntimeError, match="the worker is gone") as caught:
        drained(pool)
    assert any("raised by stream 'partition" in note for note in caught.value.__notes__)
