"""Rows of batches, and what they hold, for several tests."""

import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
Y = np.array([1, 0, 1])
W = np.array([0.5, 1.0, 2.0])


def dense(values):
    """Rows as lists, of whatever kind of X."""
    if sparse.issparse(values):
        values = values.toarray()
    elif isinstance(values, pd.DataFrame | pl.DataFrame):
        values = values.to_numpy()
    return values if isinstance(values, list) else np.asarray(values).tolist()
