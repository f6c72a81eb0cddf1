"""Batches: every spelling of an item, every error."""

import types

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from streamlearn._batch import as_batch
from tests.batches import W, X, Y, dense


def parts(batch):
    def optional(values):
        return None if values is None else values.tolist()

    return dense(batch.X), optional(batch.y), optional(batch.sample_weight), batch.n


# -- spellings ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "has_y", "has_weight"),
    [
        ({"X": X}, False, False),
        ({"X": X, "y": Y}, True, False),
        ({"X": X, "Y": Y}, True, False),
        ({"y": Y, "X": X, "sample_weight": W}, True, True),
        ({"X": X, "Y": Y, "sample_weight": W}, True, True),
        ({"X": X, "sample_weight": W}, False, True),
        ({"X": X, "y": None, "sample_weight": None}, False, False),
        (types.MappingProxyType({"X": X, "y": Y}), True, False),
        ((X,), False, False),
        ((X, Y), True, False),
        ((X, None), False, False),
        ((X, Y, W), True, True),
        ((X, Y, None), True, False),
        ((X, None, W), False, True),
        (X, False, False),
        (X.tolist(), False, False),
        ((X.tolist(), Y.tolist(), W.tolist()), True, True),
        ((X, pd.Series(Y, index=[7, 8, 9]), pl.Series(W)), True, True),
        (list(X), False, False),
    ],
)
def test_every_spelling_is_read(item, has_y, has_weight):
    batch = as_batch(item)
    assert parts(batch) == (X.tolist(), Y.tolist() if has_y else None, W.tolist() if has_weight else None, 3)


def test_arrays_are_not_copied():
    for item in ({"X": X, "y": Y}, {"X": X, "Y": Y, "sample_weight": W}, (X, Y), X):
        batch = as_batch(item)
        assert batch.X is X
        assert batch.y is None or batch.y is Y


@pytest.mark.parametrize(
    "kind",
    [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array, sparse.lil_matrix, sparse.dok_matrix],
)
def test_sparse_matrices(kind):
    for item in (kind(X), (kind(X), Y), {"X": kind(X), "y": Y}):
        batch = as_batch(item)
        assert sparse.issparse(batch.X)
        assert parts(batch)[0] == X.tolist()
        assert batch.n == 3


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(X, columns=["a", "b"]), pl.DataFrame(X, schema=["a", "b"])], ids=["pandas", "polars"]
)
def test_frames_stay_frames(frame):
    for item in (frame, (frame, Y), {"X": frame, "y": Y}):
        batch = as_batch(item)
        assert type(batch.X) is type(frame)
        assert list(batch.X.columns) == ["a", "b"]
        assert parts(batch)[0] == X.tolist()


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": [1.0, 2.0]}), pl.DataFrame({"a": [1.0, 2.0]})], ids=["pandas", "polars"]
)
def test_a_frame_of_one_column_is_no_series(frame):
    batch = as_batch((frame, [0, 1]))
    assert type(batch.X) is type(frame)
    assert parts(batch) == ([[1.0], [2.0]], [0, 1], None, 2)


TEXTS = ["one text", "two", "three"]


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        np.array(TEXTS),
        np.array(TEXTS, object),
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype=object),
        pl.Series(TEXTS),
    ],
    ids=lambda values: f"{type(values).__module__} {getattr(values, 'dtype', '')}",
)
def test_texts_are_rows(texts):
    for item in (texts, (texts,)):
        batch = as_batch(item)
        assert batch.X == TEXTS
        assert batch.n == 3
    assert parts(as_batch((texts, Y, W))) == (TEXTS, Y.tolist(), W.tolist(), 3)


@pytest.mark.parametrize(
    "one",
    [X[0], X[0].tolist(), X[0].astype(int), np.array([True, False]), pd.Series(X[0]), pl.Series(X[0])],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
def test_one_dimension_of_numbers_is_one_sample(one):
    expected = [np.asarray(one).tolist()]
    assert parts(as_batch(one)) == (expected, None, None, 1)
    assert parts(as_batch((one, 1))) == (expected, [1], None, 1)
    assert parts(as_batch({"X": one, "y": "a", "sample_weight": 0.5})) == (expected, ["a"], [0.5], 1)
    assert parts(as_batch({"X": one, "y": np.int64(1), "sample_weight": np.float64(2)})) == (expected, [1], [2.0], 1)


def test_several_outputs_of_one_sample():
    batch = as_batch((X[0], [1.0, 2.0, 3.0]))
    assert batch.y.shape == (1, 3)


def test_one_text_is_one_sample():
    assert parts(as_batch("some text")) == (["some text"], None, None, 1)
    assert parts(as_batch(("some text", "label", 2.0))) == (["some text"], ["label"], [2.0], 1)
    assert parts(as_batch({"X": "some text", "y": 3})) == (["some text"], [3], None, 1)


@pytest.mark.parametrize(
    "one", [X[:1], sparse.csr_matrix(X[:1]), pd.DataFrame(X[:1]), ["text"]], ids=lambda x: type(x).__name__
)
def test_one_row_takes_scalars(one):
    _, y, weight, n = parts(as_batch({"X": one, "y": 1, "sample_weight": 0.5}))
    assert (y, weight, n) == ([1], [0.5], 1)


@pytest.mark.parametrize("empty", [np.empty((0, 2)), sparse.csr_matrix((0, 2)), pd.DataFrame(columns=["a", "b"])])
def test_no_rows(empty):
    assert as_batch(empty).n == 0
    assert as_batch((empty, [])).n == 0


def test_images_are_rows():
    images = np.arange(24).reshape(2, 3, 4)
    assert as_batch(images).n == 2
    assert as_batch((images, [0, 1])).X is images


def test_samples_of_array_streams_are_read():
    from streamlearn import from_arrays

    for kind in (X, sparse.csr_matrix(X), pd.DataFrame(X), pl.DataFrame(X), X.tolist()):
        items = list(from_arrays(kind, Y, W, shuffle=False)[0])
        assert [parts(as_batch(item)) for item in items] == [([X[i].tolist()], [Y[i]], [W[i]], 1) for i in range(3)]


# -- errors -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "error", "said"),
    [
        ({}, ValueError, "must have 'X'"),
        ({"y": Y}, ValueError, r"must have 'X'.*got \['y'\]"),
        ({"x": X, "y": Y}, ValueError, "must have 'X'"),
        ({"X": X, "target": Y}, ValueError, "key 'target'.*rename it, or leave it out"),
        ({"target": Y, "X": X}, ValueError, "key 'target'"),
        ({"X": X, "y": Y, "Y": Y}, ValueError, "both 'y' and 'Y'"),
        ((), ValueError, "got 0 parts"),
        ((X, Y, W, W), ValueError, "got 4 parts"),
        ((X, Y[:2]), ValueError, r"X with 3 rows, but y of shape \(2,\)"),
        ((X, 1), ValueError, r"X with 3 rows, but y of shape \(\)"),
        ({"X": X, "Y": Y[:2]}, ValueError, r"X with 3 rows, but y of shape \(2,\)"),
        ({"X": sparse.csr_matrix(X), "y": Y[:2]}, ValueError, "X with 3 rows, but y"),
        ((TEXTS, Y[:2]), ValueError, "X with 3 rows, but y"),
        ((X, Y, W[:2]), ValueError, r"X with 3 rows, but sample_weight of shape \(2,\)"),
        ((X, Y, 1.0), ValueError, "sample_weight"),
        ((X, Y, W[:, None]), ValueError, r"sample_weight of shape \(3, 1\)"),
        (3.0, TypeError, "got float"),
        (None, TypeError, "got NoneType"),
        (b"bytes", TypeError, "got bytes"),
        ({1, 2}, TypeError, "got set"),
        (iter([1]), TypeError, "got list_iterator"),
        ((None, Y), TypeError, "got NoneType"),
        ({"X": None}, TypeError, "got NoneType"),
        (np.float64(3), ValueError, "at least one dimension"),
        (np.array(3), ValueError, "at least one dimension"),
        ([[1, 2], [3]], ValueError, "inhomogeneous"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(item, error, said):
    with pytest.raises(error, match=said):
        as_batch(item)
