"""Every function that makes a pool checks its arguments before it reads: the error names the parameter and the value."""

import inspect

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

import streamlearn
from streamlearn import from_dask, from_dataframe, from_huggingface
from tests.sourcechecks import FILE_SOURCES, make, write

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


def dataframe(**options):
    frame = pd.DataFrame({"a": [1.0, 2.0], "label": [0, 1], "kind": ["u", "v"]})
    return from_dataframe(frame, **{"target": "label", "features": ["a"], **options})


def huggingface(**options):
    dataset = Dataset.from_dict({"a": [1.0, 2.0], "label": [0, 1], "kind": ["u", "v"]})
    return from_huggingface(dataset, **{"target": "label", "features": ["a"], **options})


def dask(**options):
    return from_dask(da.ones((10, 2), chunks=(5, 2)), **options)


OTHERS = {"dataframe": dataframe, "huggingface": huggingface, "dask": dask}
CASES = [
    (kind, name, value)
    for kind in [*FILE_SOURCES, *OTHERS]
    for name in inspect.signature(getattr(streamlearn, f"from_{kind.replace('npz', 'npy')}")).parameters
    for value in WRONG.get(name, [])
    if not (kind in ("npy", "npz", "hdf5", "zarr", "dask") and name in ("sample_weight", "target", "features"))
    and not (kind == "dataframe" and (name, value) == ("n_streams", 1000))
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

    if kind == "huggingface" and name == "n_streams" and value == 1000:
        value = 3
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
