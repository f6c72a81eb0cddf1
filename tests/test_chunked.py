"""from_hdf5 and from_zarr against h5py and zarr."""

import os

import h5py
import numpy as np
import pytest
import zarr

from streamlearn import from_hdf5, from_zarr
from tests.sourcechecks import check_source, drained


@pytest.fixture(params=["hdf5", "zarr"])
def made(request, tmp_path):
    """The function, paths that were written, and all rows."""
    Xs, ys = [], []
    for i, n in enumerate([23, 40, 7]):
        j = np.arange(100 * i, 100 * i + n)
        Xs.append(np.column_stack([j, j * 0.5]).astype(np.float32))
        ys.append(j % 3)
        if request.param == "hdf5":
            with h5py.File(tmp_path / f"f{i}.h5", "w") as file:
                file.create_dataset("in/X", data=Xs[-1], chunks=(5, 2))
                file["y"] = ys[-1]
        else:
            group = zarr.open_group(tmp_path / f"f{i}.zarr", mode="w")
            make = group.create_array if hasattr(group, "create_array") else group.array  # zarr 3 and 2
            make("in/X", data=Xs[-1], chunks=(5, 2))
            group["y"] = ys[-1]
    function, suffix = (from_hdf5, "h5") if request.param == "hdf5" else (from_zarr, "zarr")
    return function, tmp_path, suffix, np.concatenate(Xs), np.concatenate(ys)


@pytest.mark.parametrize("block_rows", [None, 8])
def test_source(made, block_rows):
    function, directory, suffix, X, y = made
    check_source(
        lambda **options: function(f"{directory}/*.{suffix}", "in/X", "y", block_rows=block_rows, **options),
        X,
        y,
        [f"f{i}.{suffix}" for i in range(3)],
    )


def test_by_block(made):
    function, directory, suffix, X, _ = made
    pool = function(f"{directory}/*.{suffix}", "in/X", group_by="block", block_rows=10)
    assert len(pool) == 3 + 4 + 1
    got = drained(pool)[0]
    assert got.dtype == np.float32
    assert sorted(got[:, 0]) == sorted(X[:, 0])


def test_refused(made):
    function, directory, suffix, _, _ = made
    with pytest.raises(ValueError, match=f"f0.{suffix}' has no array 'yy'.*Did you mean 'y'|has no array 'yy'"):
        function(f"{directory}/f0.{suffix}", "in/X", "yy")
    with pytest.raises(ValueError, match="has no array 'in'"):
        function(f"{directory}/f0.{suffix}", "in")
    with pytest.raises(FileNotFoundError, match="no such file"):
        function(f"{directory}/f9.{suffix}")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        function(f"{directory}/*.nothing")


def test_bad_hdf5(tmp_path):
    (tmp_path / "t.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"t\.h5' is no HDF5 file"):
        from_hdf5(tmp_path)


def test_hdf5_that_is_deleted_while_training(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["X"] = np.ones((3, 2))
    pool = from_hdf5(tmp_path)
    os.remove(tmp_path / "t.h5")
    with pytest.raises(FileNotFoundError, match=r"t\.h5' is gone"):
        list(pool[0])
