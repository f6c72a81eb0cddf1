"""What holds for every function that makes a pool.

It gives each row once, whatever reads it, the same for a seed, also ahead, after a restart, a clone or a pickle, and in a search
with two processes; and it checks its arguments before it reads: the error names the parameter and the value.
"""

import inspect
from functools import partial

import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from datasets import Dataset

import streamlearn
from streamlearn import Streamer, StreamPool, from_arrays, from_dask, from_dataframe, from_huggingface
from tests.sourcechecks import (
    FILE_SOURCES,
    PARTS,
    SIZES,
    X,
    Y,
    check_items,
    check_search,
    check_source,
    make,
    write,
)

FRAME = {"a": X[:, 0], "b": X[:, 1], "label": Y, "part": np.repeat(["f0", "f1", "f2"], SIZES)}
COLUMNS = {"target": "label", "features": ["a", "b"]}


def batches(X, y):
    for start in range(0, len(X), 5):
        yield {"X": X[start : start + 5], "y": y[start : start + 5]}


def generators(**options):
    return StreamPool([Streamer(batches, X[part], Y[part]) for part in PARTS], **options)


def dask_arrays(**options):
    return from_dask(da.from_array(X, chunks=(tuple(SIZES), 2)), da.from_array(Y, chunks=(tuple(SIZES),)), **options)


def dask_frame(**options):
    return from_dask(dd.from_pandas(pd.DataFrame(FRAME), npartitions=3), **COLUMNS, **options)


def dask_bag(**options):
    rows = [{"X": row, "y": label} for row, label in zip(X, Y, strict=True)]
    return from_dask(db.from_sequence(rows, npartitions=3), **options)


def dataset(**options):
    return from_huggingface(Dataset.from_dict(FRAME), **COLUMNS, **options)


def iterable_dataset(**options):
    rows = Dataset.from_dict(FRAME).to_iterable_dataset(num_shards=3)
    return from_huggingface(rows, **COLUMNS, block_rows=5, **options)


SAMPLES = {
    "arrays": lambda: from_arrays(X, Y, by=FRAME["part"]),
    "pandas": lambda: from_dataframe(pd.DataFrame(FRAME), **COLUMNS, by="part"),
    "polars": lambda: from_dataframe(pl.DataFrame(FRAME), **COLUMNS, by="part"),
    "dask arrays": dask_arrays,
    "dask frame": dask_frame,
    "dask bag": dask_bag,
    "dataset by": partial(dataset, by="part"),
    "dataset ranges": partial(dataset, n_streams=3, block_rows=8),
}
ITEMS = {"generators": generators, "iterable dataset": iterable_dataset}


def pool_of(kind, directory):
    """Return a function that makes the pool."""
    if kind in FILE_SOURCES:
        write(kind, directory)
        return partial(make, kind, directory)
    return {**SAMPLES, **ITEMS}[kind]


@pytest.mark.parametrize("kind", [*FILE_SOURCES, *SAMPLES])
def test_every_row_once_and_the_same_whatever_reads_it(kind, tmp_path):
    made = pool_of(kind, tmp_path)
    check_source(made, X, Y, made().names, reads=kind not in ("arrays", "pandas", "polars"))


@pytest.mark.parametrize("kind", ITEMS)
def test_every_item_once_and_the_same_whatever_reads_it(kind):
    check_items(ITEMS[kind], X, Y, prefetch=kind == "generators")


@pytest.mark.parametrize("kind", [*FILE_SOURCES, *SAMPLES, *ITEMS])
def test_search_with_two_processes(kind, tmp_path):
    check_search(pool_of(kind, tmp_path), Y)


WRONG = {
    "window": [0, 1.5, "8", True],
    "shuffle": [1, "yes", None],
    "prefetch": [-1, 1.5, "2", True, None],
    "cache_bytes": [-1, 1e6, None],
    "block_rows": [0, "8"],
    "block_bytes": [0, 1.5],
    "n_features": [0, "2", None],
    "zero_based": ["auto", 1],
    "target": [2, [2], ["label", 3], ("label", "label"), "lable"],
    "features": [2, [2], ["a", None], ["a", "a"], ["q"], "label", []],
    "sample_weight": [2, ["a"], "q"],
    "group_by": [2, ["file"], "fiel", None],
    "by": [2, "knid"],
    "n_streams": [0, 1.5, "2", 1000],
    "partition": [2, "prat", ["part", "part"]],
    "key": [2, ["a"], "q"],
    "filters": [3, "a > 3", [("a", ">")], [("q", ">", 3)], [("a", ">", "x")], []],
    "delimiter": [";;", "", '"', "\n", None, 3],
    "column_types": [[("a", int)], {"q": None}],
    "storage_options": [3, "anon"],
    "query": [3, "rwos"],
    "connection": [3],
    "paths": [3, [3], [], None, b"f.csv"],
}


OTHERS = {
    "dataframe": lambda **options: from_dataframe(pd.DataFrame(FRAME), **{**COLUMNS, **options}),
    "huggingface": lambda **options: from_huggingface(Dataset.from_dict(FRAME), **{**COLUMNS, **options}),
    "dask": dask_arrays,
}
CASES = [
    (kind, name, value)
    for kind in [*FILE_SOURCES, *OTHERS]
    for name in inspect.signature(getattr(streamlearn, f"from_{kind.replace('npz', 'npy')}")).parameters
    for value in WRONG.get(name, [])
    if not (kind in ("npy", "npz", "hdf5", "zarr", "dask") and name in ("sample_weight", "target", "features"))
]


@pytest.mark.parametrize(
    ("kind", "name", "value"), CASES, ids=[f"{kind}-{name}-{value!r}" for kind, name, value in CASES]
)
def test_wrong_arguments_are_refused_at_the_call(kind, name, value, tmp_path):
    if kind in OTHERS:
        call = OTHERS[kind]
    else:
        write(kind, tmp_path)

        def call(**options):
            return make(kind, tmp_path, **options)

    others = {"partition": None} if kind == "sql" and name in ("key", "n_streams", "block_rows") else {}
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{name: value}, **others)
    names = value if isinstance(value, (list, tuple)) else [value]
    assert name in str(caught.value) or any(f"column {one!r}" in str(caught.value) for one in names)
    assert "object is not" not in str(caught.value).split("(")[0], "an error of Python's own"


@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5", "zarr"])
def test_names_of_arrays_and_files(kind, name, tmp_path):
    write(kind, tmp_path)
    given = {"paths": 3} if name == "X" and kind in ("npy", "npz") else {name: 3}
    with pytest.raises(TypeError, match=f"{name} must be .*got 3"):
        make(kind, tmp_path, **given)


def test_what_does_not_go_together_is_refused():
    x = da.ones((10, 2), chunks=(5, 2))
    for options in ({"target": "a"}, {"features": ["a"]}):
        with pytest.raises(ValueError, match="target and features go with a DataFrame"):
            from_dask(x, **options)
    with pytest.raises(TypeError, match="y must be a dask array, got ndarray"):
        from_dask(x, np.ones(10))
