"""from_npy against numpy.load."""

import os

import numpy as np
import pytest

from streamlearn import from_npy
from tests.sourcechecks import check_source, drained


@pytest.fixture
def directory(tmp_path):
    for i, n in enumerate([23, 40, 7]):
        j = np.arange(100 * i, 100 * i + n)
        X = np.column_stack([j, j * 0.5]).astype(np.float32)
        np.save(tmp_path / f"X{i}.npy", X)
        np.save(tmp_path / f"y{i}.npy", j % 3)
        np.savez_compressed(tmp_path / f"both{i}.npz", X=X, y=j % 3, sample_weight=np.ones(n))
    return tmp_path


def whole(directory):
    return [np.concatenate([np.load(directory / f"{part}{i}.npy") for i in range(3)]) for part in "Xy"]


@pytest.mark.parametrize("block_rows", [None, 8])
def test_npy(directory, block_rows):
    check_source(
        lambda **options: from_npy(f"{directory}/X*.npy", f"{directory}/y*.npy", block_rows=block_rows, **options),
        *whole(directory),
        ["X0.npy", "X1.npy", "X2.npy"],
    )


def test_by_block(directory):
    names = [f"X{i}.npy#{j}" for i, n in enumerate([3, 4, 1]) for j in range(n)]
    check_source(
        lambda **options: from_npy(
            f"{directory}/X*.npy", f"{directory}/y*.npy", block_rows=10, group_by="block", **options
        ),
        *whole(directory),
        names,
    )


def test_npz(directory):
    names = [f"both{i}.npz" for i in range(3)]
    check_source(lambda **options: from_npy(f"{directory}/*.npz", **options), *whole(directory), names)
    assert from_npy(directory / "both0.npz")[0]._column("sample_weight").sum() == 23


def test_float32_is_kept_and_nothing_stays_open(directory):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    pool = from_npy(f"{directory}/X*.npy", f"{directory}/y*.npy", block_rows=5)
    assert drained(pool)[0].dtype == np.float32
    assert not before or len(os.listdir("/proc/self/fd")) <= before + 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "y has 4 rows, but X has 3"),
        ({"X": np.array(["2020-01-01"], "M8[D]")}, "X holds dates"),
        ({"X": np.array([{}], object)}, "X is of type object"),
        ({"X": np.array(1.0)}, "X is a scalar"),
    ],
)
def test_refused(tmp_path, arrays, message):
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    with pytest.raises(ValueError, match=message):
        from_npy(*(tmp_path / f"{name}.npy" for name in arrays))


def test_bad_files(directory):
    (directory / "z.npy").write_bytes(b"\x93NUM")
    with pytest.raises(ValueError, match=r"z\.npy' is no file of NumPy's, or was cut short"):
        from_npy(directory / "z.npy")
    (directory / "z.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"z\.npz' is no \.npz file, or was cut short"):
        from_npy(directory / "z.npz")
    np.savez(directory / "w.npz", data=np.ones(3))
    with pytest.raises(ValueError, match=r"holds \['data'\], but no 'X'"):
        from_npy(directory / "w.npz")
    np.save(directory / "X9.npy", np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"X9\.npy' has rows of shape"):
        from_npy(f"{directory}/X*.npy")
    with pytest.raises(ValueError, match="y has 3 files, but X has 4"):
        from_npy(f"{directory}/X*.npy", f"{directory}/y*.npy")
    with pytest.raises(ValueError, match="group_by must be"):
        from_npy(f"{directory}/X0.npy", group_by="row")
