"""Items that lie, for tests that feed them to training."""

import numpy as np
import pandas as pd
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin

RNG = np.random.default_rng(0)
N = 6  # rows of an item


def item(number, **other):
    """An honest item: its first feature tells its number."""
    X = np.column_stack([np.full(N, float(number)), RNG.normal(size=(N, 2))])
    return {"X": X, "y": np.arange(N) % 2, "sample_weight": np.ones(N), **other}


BAD = 99.0  # what the first feature of an item that lies would be


def lying(change):
    """An item that lies in one part, or more."""
    made = item(BAD)
    changed = change(made["X"], made["y"], made["sample_weight"])
    return {**made, **changed} if isinstance(changed, dict) else changed


def with_value(array, value, place=-1):
    array = array.astype(np.result_type(array, type(value)))
    array[place] = value
    return array


# name: (what an item becomes, what the message says)
LIES = {
    "a NaN": (lambda X, y, w: {"X": with_value(X, np.nan, (4, 1))}, r"X has nan in row 4, feature 1, which Keeping"),
    "an infinity": (lambda X, y, w: {"X": with_value(X, -np.inf, (4, 1))}, r"X has -inf in row 4, feature 1"),
    "a NaN in float32": (lambda X, y, w: {"X": with_value(X, np.nan, (4, 1)).astype(np.float32)}, "X has nan in row 4"),
    "a NaN in Fortran order": (
        lambda X, y, w: {"X": np.asfortranarray(with_value(X, np.nan, (4, 1)))},
        "row 4, feature 1",
    ),
    "a NaN in a list": (lambda X, y, w: {"X": with_value(X, np.nan, (4, 1)).tolist()}, "X has nan in row 4, feature 1"),
    "a feature more": (lambda X, y, w: {"X": np.column_stack([X, X[:, 0]])}, "X has 4 features, but 3 features"),
    "a feature fewer": (lambda X, y, w: {"X": X[:, :2]}, "X has 2 features, but 3 features"),
    "one sample with a feature more": (
        lambda X, y, w: {"X": np.append(X[0], 1), "y": 0, "sample_weight": 1.0},
        "4 features",
    ),
    "three dimensions": (
        lambda X, y, w: {"X": X[:, :, None]},
        r"X has rows of shape \(3, 1\), but rows of shape \(3,\)",
    ),
    "no dimension": (lambda X, y, w: {"X": np.float64(3)}, "at least one dimension"),
    "texts": (lambda X, y, w: {"X": ["a"] * N}, "X holds a list of texts, but numbers"),
    "numbers as text": (lambda X, y, w: {"X": X.astype(str)}, "X holds texts or objects, but numbers"),
    "objects": (lambda X, y, w: {"X": X.astype(object)}, "X holds texts or objects, but numbers"),
    "None among numbers": (lambda X, y, w: {"X": [[BAD, None, 1.0]] * N}, "X holds texts or objects"),
    "complex numbers": (lambda X, y, w: {"X": X + 1j}, "X holds complex numbers, but numbers"),
    "dates": (lambda X, y, w: {"X": X.astype("datetime64[s]")}, "X holds datetime64"),
    "a DataFrame": (lambda X, y, w: {"X": pd.DataFrame(X)}, "X holds a DataFrame of pandas, but numbers"),
    "a polars DataFrame": (lambda X, y, w: {"X": pl.DataFrame(X)}, "X holds a DataFrame of polars, but numbers"),
    "rows of several lengths": (lambda X, y, w: {"X": [[BAD, 1.0, 2.0], [BAD]]}, "inhomogeneous"),
    "nothing": (lambda X, y, w: None, "got NoneType"),
    "no X": (lambda X, y, w: {"X": None}, "got NoneType"),
    "an iterator": (lambda X, y, w: iter(X), "got .*iterator"),
    "another key": (lambda X, y, w: {"labels": y}, "'labels'"),
    "four parts": (lambda X, y, w: (X, y, w, w), "4 parts"),
    "fewer targets": (lambda X, y, w: {"y": y[:-1]}, r"X with 6 rows, but y of shape \(5,\)"),
    "more targets": (lambda X, y, w: {"y": np.append(y, 0)}, r"X with 6 rows, but y of shape \(7,\)"),
    "no targets": (lambda X, y, w: {"y": None}, "there is no y, but the first item"),
    "one target for all": (lambda X, y, w: {"y": 1}, r"y of shape \(\)"),
    "a column of targets": (lambda X, y, w: {"y": y[:, None]}, r"y has rows of shape \(1,\), but of shape \(\)"),
    "a table of targets": (
        lambda X, y, w: {"y": np.column_stack([y, y])},
        r"y has rows of shape \(2,\), but of shape \(\)",
    ),
    "targets as text": (lambda X, y, w: {"y": y.astype(str)}, "y holds texts or objects, but numbers"),
    "targets of two kinds": (lambda X, y, w: {"y": np.array(["a", *y[1:]], object)}, "y holds texts or objects, but"),
    "None among targets": (lambda X, y, w: {"y": np.array([*y[1:], None])}, "y has nan in row 5"),
    "a text among targets": (
        lambda X, y, w: {"y": np.array([*y[1:], "a"], object)},
        "y holds numbers and other things",
    ),
    "a NaN among targets": (lambda X, y, w: {"y": with_value(y, np.nan)}, "y has nan in row 5"),
    "an infinite target": (lambda X, y, w: {"y": with_value(y, np.inf)}, "y has inf in row 5"),
    "dates as targets": (lambda X, y, w: {"y": y.astype("datetime64[s]")}, "y holds datetime64"),
    "fewer weights": (lambda X, y, w: {"sample_weight": w[1:]}, r"sample_weight of shape \(5,\)"),
    "one weight for all": (lambda X, y, w: {"sample_weight": 1.0}, r"sample_weight of shape \(\)"),
    "a table of weights": (lambda X, y, w: {"sample_weight": w[:, None]}, r"sample_weight of shape \(6, 1\)"),
    "no weights": (lambda X, y, w: {"sample_weight": None}, "there is no sample_weight, but the first item"),
    "a negative weight": (lambda X, y, w: {"sample_weight": with_value(w, -1.0)}, "sample_weight has -1.0 in row 5"),
    "a NaN among weights": (lambda X, y, w: {"sample_weight": with_value(w, np.nan)}, "sample_weight has nan in row 5"),
    "an infinite weight": (lambda X, y, w: {"sample_weight": with_value(w, np.inf)}, "sample_weight has inf in row 5"),
    "weights as text": (lambda X, y, w: {"sample_weight": w.astype(str)}, "sample_weight must be numbers"),
    "None among weights": (lambda X, y, w: {"sample_weight": [*w[1:], None]}, "sample_weight has None in row 5"),
}

# Those that an estimator does not take; of the others, the first item decides which of them lie.
ABSOLUTE = {
    "a NaN",
    "an infinity",
    "a NaN in float32",
    "a NaN in Fortran order",
    "a NaN in a list",
    "no dimension",
    "dates",
    "rows of several lengths",
    "nothing",
    "no X",
    "an iterator",
    "another key",
    "four parts",
    "fewer targets",
    "more targets",
    "one target for all",
    "None among targets",
    "a text among targets",
    "a NaN among targets",
    "an infinite target",
    "fewer weights",
    "one weight for all",
    "a table of weights",
    "a negative weight",
    "a NaN among weights",
    "an infinite weight",
    "weights as text",
    "None among weights",
}


class Keeping(ClassifierMixin, BaseEstimator):
    """A classifier that takes anything without a word, and keeps what it was given."""

    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.asarray(classes) if classes is not None else self.classes_
        self.given_ = [*getattr(self, "given_", []), X]
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def rows(self):
        return [float(row[0]) for X in getattr(self, "given_", []) for row in np.asarray(X)]


def said(error):
    return "\n".join([str(error), *getattr(error, "__notes__", [])])
