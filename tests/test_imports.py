"""Imports go one way, and importing the package brings nothing optional."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import streamlearn

PACKAGE = Path(streamlearn.__file__).parent
# From the bottom to the top: a module imports only from layers below its own.
LAYERS = [
    {"_native"},
    {"_compiled", "_interrupts", "_labels", "_locks", "_memory", "_optional", "_sklearn"},
    {"_random"},
    {"_permute", "_rows", "_waiting"},
    {"_checkpoint_file", "_span", "_state"},
    {"_accumulate", "_groups", "_passes", "_pieces"},
    {"_streamer", "_visits", "_ahead", "_prefetch", "_files"},
    {"_together", "_policies", "_processes", "_failures", "_windows", "_block_source"},
    {"_stochastic", "_reader"},
    {"_plan", "_cursors"},
    {"_read_ahead", "_block_reader", "_array_reader"},
    {"_mux_iterator", "_arrays", "_batch", "_columns", "_lines", "_parquet_files"},
    {"_mux_base", "_blocks", "_joiner"},
    {"_nested"},
    {"_mux", "_plain_muxes"},
    {"_pool"},
    {"_feature_names", "_forked", "_sources"},
    {"_parquet", "_csv", "_npy", "_chunked", "_dataframe", "_sql", "_huggingface"},
    {"_dask", "_svmlight"},
    {"_inner", "_progress", "_factory", "_hold_out", "_schema"},
    {"_batches"},
    {"_training", "_learner"},
    {"_outputs"},
    {"_classes"},
    {"_fit_source"},
    {"_scoring", "_run"},
    {"_methods", "_watch", "_described"},
    {"_checkpoint"},
    {"_estimator", "_rungs"},
    {"_paused"},
    {"_candidates"},
    {"_search_checkpoint", "_search_table"},
    {"_search_base"},
    {"_search"},
    {"__init__"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def relative_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.module:
                yield node.module.split(".")[0]
            else:
                yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_go_down(path):
    assert path.stem in LEVEL, f"{path.stem} has no layer yet"
    for name in relative_imports(path):
        assert LEVEL[name] < LEVEL[path.stem], f"{path.stem} imports {name}"


def test_import_brings_no_optional_package():
    code = (
        "import sys, sklearn.base; before = set(sys.modules); import streamlearn; "
        "optional = {'pandas', 'polars', 'pyarrow', 'dask', 'datasets', 'matplotlib', 'h5py', 'zarr', 'sqlalchemy', 'fsspec', "
        "'skops'}; "
        "print(sorted(optional & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_sorted_and_there():
    assert sorted(streamlearn.__all__) == streamlearn.__all__
    assert all(hasattr(streamlearn, name) for name in streamlearn.__all__)
    for name in streamlearn.__all__:
        assert name in streamlearn.__doc__, f"{name} is not on the map in the package's docstring"
