"""Batches of every kind of rows: cut, joined, and taken apart into samples."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from streamlearn import from_arrays
from streamlearn._arrays import ArrayStream
from streamlearn._reader import in_turn

ROWS = np.arange(12.0).reshape(6, 2)
KINDS = {
    "array": ROWS,
    "float32": ROWS.astype(np.float32),
    "one dimension": ROWS[:, 0],
    "images": ROWS.reshape(6, 1, 2),
    "sparse": sparse.csr_matrix(ROWS),
    "frame": pd.DataFrame(ROWS, columns=["a", "b"]),
    "list": [str(i) for i in range(6)],
}


def plain(values):
    values = values.toarray() if sparse.issparse(values) else values
    return np.asarray(values).tolist()


def reader_of(X):
    return ArrayStream._joint_reader(list(from_arrays(X, np.arange(6), n_streams=2, shuffle=False)), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_cut_joined_and_taken_apart(kind):
    X = KINDS[kind]
    reader = reader_of(X)
    batch = reader.read(np.array([0, 1, 1, 0, 0, 1]))
    order = [0, 3, 4, 1, 2, 5]
    assert plain(batch["X"]) == [plain(X)[i] for i in order]
    assert batch["y"].tolist() == order
    parts = [reader.slice(batch, start, stop) for start, stop in ((0, 1), (1, 4), (4, 6))]
    assert [len(part["y"]) for part in parts] == [1, 3, 2]
    joined = reader.join(parts)
    assert type(joined["X"]) is type(batch["X"])
    assert plain(joined["X"]) == plain(batch["X"])
    for row, i in enumerate(order):
        sample = reader.sample(batch, row)
        assert int(np.asarray(sample["y"]).ravel()[0]) == i
        assert np.ravel(plain(sample["X"])).tolist() == np.ravel(plain(X)[i]).tolist()


def test_a_sample_of_an_array_loses_its_first_axis_and_others_keep_it():
    shapes = {
        kind: np.shape(reader_of(X).sample(reader_of(X).read(np.array([0])), 0)["X"]) for kind, X in KINDS.items()
    }
    assert shapes["array"] == (2,)
    assert shapes["images"] == (1, 2)
    assert shapes["frame"] == (1, 2)
    sample = reader_of(KINDS["sparse"]).sample(reader_of(KINDS["sparse"]).read(np.array([0])), 0)
    assert sample["X"].shape == (1, 2)


def test_slices_of_arrays_are_views():
    reader = reader_of(ROWS)
    batch = reader.read(np.array([0, 0, 1]))
    assert np.shares_memory(reader.slice(batch, 1, 3)["X"], batch["X"])


def test_a_plan_of_streams_in_turn():
    order, streams, lengths, seats, fresh, who = in_turn(np.array([2, 0, 2]))
    assert (order.tolist(), streams.tolist(), lengths.tolist()) == ([0, 1, 2], [2, 0, 2], [1, 1, 1])
    assert seats is None
    assert fresh is None
    assert who is None
