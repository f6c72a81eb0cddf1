"""Collecting labels and finding unknown ones, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from streamlearn import _labels
from streamlearn._labels import KnownLabels, Labels

SMALL = st.integers(-5, 5)
KINDS = {
    "int64": lambda values: np.array(values, np.int64),
    "int8": lambda values: np.array(values, np.int8),
    "float": lambda values: np.array(values, np.float64),
    "halves": lambda values: np.array(values, np.float64) / 2,
    "text": lambda values: np.array([f"label {value}" for value in values]),
    "objects": lambda values: np.array([f"label {value}" for value in values], dtype=object),
    "bool": lambda values: np.array(values, np.int64) > 0,
}


@pytest.mark.parametrize("kind", KINDS)
@given(classes=st.lists(SMALL, min_size=1), y=st.lists(SMALL, min_size=1))
def test_the_first_unknown_label(kind, classes, y):
    classes, y = KINDS[kind](classes), KINDS[kind](y)
    known = [label in classes.tolist() for label in y.tolist()]
    expected = (
        None
        if all(known)
        else (known.index(False), y[known.index(False)].tolist() if kind != "objects" else y[known.index(False)])
    )
    assert KnownLabels(classes).unknown(y) == expected
    assert KnownLabels(classes.tolist()).unknown(y[:, None]) == expected


@pytest.mark.parametrize(
    ("classes", "y", "expected"),
    [
        ([0, 1, 2], np.array([0.0, 2.0, 1.5]), (2, 1.5)),
        ([0, 1, 2], np.array([1.0, np.nan]), 1),
        ([0, 1, 2], np.array([1, 2], np.uint8), None),
        ([0, 1], np.array([True, False]), None),
        ([1, 2], np.array(["1"]), (0, "1")),
        (["1", "2"], np.array([1]), (0, 1)),
        (["a", "b"], np.array(["a", "much longer"]), (1, "much longer")),
        (["a", "b"], np.array(["b", None], dtype=object), (1, None)),
        ([0, 1], np.array([1, "a"], dtype=object), (1, "a")),
        (np.array(["a", 1], dtype=object), np.array([1, "a", "b"], dtype=object), (2, "b")),
        (np.array(["a", 1], dtype=object), np.array(["a", "b"]), (1, "b")),
        ([3], np.array([3, 3]), None),
        ([2**62, 2**62 + 1], np.array([2**62 + 1, 2**62 + 2]), (1, 2**62 + 2)),
        ([-(2**63), 2**63 - 1], np.array([0]), (0, 0)),
        ([], np.array([1]), (0, 1)),
        ([0, 1], np.array([], int), None),
    ],
)
def test_kinds_that_differ(classes, y, expected):
    found = KnownLabels(classes).unknown(y)
    if expected == 1:  # nan equals nothing
        assert found[0] == 1
        assert np.isnan(found[1])
    else:
        assert found == expected


def test_several_outputs():
    known = KnownLabels([np.array([0, 1, 2]), np.array(["a", "b"])])
    y = np.array([[0, "a"], [1, "b"], [7, "a"], [0, "c"]], dtype=object)
    assert known.unknown(y) == (2, 7)
    assert known.unknown(y[:2]) is None
    assert known.unknown(y[[0, 3]]) == (1, "c")
    assert str(known) == "[[0, 1, 2], ['a', 'b']]"


def test_indicators_of_labels():
    known = KnownLabels([0, 1, 2])
    assert known.unknown(np.array([[0, 1, 1], [1, 0, 0]])) is None
    assert known.unknown(np.array([[0, 1, 1], [1, 2, 0]])) == (1, 2)


def test_many_classes_are_not_all_shown():
    assert str(KnownLabels(range(3))) == "[0, 1, 2]"
    assert str(KnownLabels(range(1000))).endswith("18, 19, ... 1000 in all]")


@pytest.mark.parametrize("kept", [3, 10**6])
@given(pieces=st.lists(st.lists(SMALL)))
def test_labels_of_pieces_are_those_of_all(kept, pieces):
    labels = Labels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_labels, "_ROWS_KEPT", kept)
        for piece in pieces:
            labels.add(np.array(piece, int))
    expected = np.unique(np.concatenate([np.array(piece, int) for piece in [[], *pieces]]))
    classes = labels.classes(GaussianNB())
    assert (classes is None and not len(expected)) or classes.tolist() == expected.tolist()


def test_labels_of_several_outputs():
    y = np.array([[0, 5], [1, 5], [1, 7]])
    labels = Labels()
    for row in range(3):
        labels.add(y[row : row + 1])
    assert [part.tolist() for part in labels.classes(MultiOutputClassifier(GaussianNB()))] == [[0, 1], [5, 7]]
    assert labels.classes(MLPClassifier()).tolist() == [0, 1]


def test_a_column_of_labels_is_labels():
    labels = Labels()
    labels.add(np.array([["b"], ["a"]]))
    labels.add(np.array([["c"]]))
    assert labels.classes(GaussianNB()).tolist() == ["a", "b", "c"]


def test_arrays_may_be_used_again():
    labels, y = Labels(), np.zeros(3, int)
    for label in range(5):
        y[:] = label
        labels.add(y)
    assert labels.classes(GaussianNB()).tolist() == [0, 1, 2, 3, 4]
