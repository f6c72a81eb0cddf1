"""Files that are missing, empty, cut short, deleted or wrong: the error names them, before training where that can be known."""

import os
import shutil

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from streamlearn import StreamingEstimator
from streamlearn._files import list_files, partition_of, short_names
from tests.sourcechecks import FILE_SOURCES, SUFFIXES, make, path_of, write


class Counting(ClassifierMixin, BaseEstimator):
    """Counts the calls of partial_fit of all copies."""

    calls = 0

    def partial_fit(self, X, y, classes=None):
        type(self).calls += 1
        self.classes_ = classes
        return self

    def predict(self, X):
        return np.zeros(len(X))


@pytest.fixture(params=FILE_SOURCES)
def kind(request, tmp_path):
    write(request.param, tmp_path)
    return request.param


def files_of(path):
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def cut(path, share):
    for file in files_of(path):
        file.write_bytes(file.read_bytes()[: int(os.path.getsize(file) * share)])


def fit(pool):
    Counting.calls = 0
    return StreamingEstimator(Counting(), classes=[0, 1, 2], batch_size=5, random_state=0).fit(pool)


def named(caught, path):
    """Whether an error or its notes name the file."""
    return any(os.path.basename(path) in text for text in (str(caught.value), *getattr(caught.value, "__notes__", [])))


def test_missing(kind, tmp_path):
    near = {"npy": "f[0-2].npy"}.get(kind, rf"f[0-2]\.{SUFFIXES.get(kind, kind)}")
    missing = tmp_path / f"f7.{SUFFIXES.get(kind, kind)}"
    with pytest.raises(
        FileNotFoundError, match=rf"no such file or directory: .*{missing.name}'\. Did you mean '{near}'"
    ):
        make(kind, tmp_path, missing)


def test_no_match_and_empty_directory(kind, tmp_path):
    (tmp_path / "nothing").mkdir()
    told = {"zarr": "is no Zarr store", "sql": "is a directory"}.get(kind, "holds no file that ends with")
    with pytest.raises((FileNotFoundError, ValueError), match=rf"nothing' {told}"):
        make(kind, tmp_path, tmp_path / "nothing")
    with pytest.raises(
        FileNotFoundError, match=r"no (file matches the pattern|such file or directory:) '.*/\*\.other'"
    ):
        make(kind, tmp_path, f"{tmp_path}/*.other")
    if kind == "npy":
        with pytest.raises(FileNotFoundError, match="no file matches the pattern"):
            make(kind, tmp_path, y=f"{tmp_path}/z*.npy")


def test_empty(kind, tmp_path):
    path = path_of(kind, tmp_path, 1)
    cut(path, 0)
    with pytest.raises(ValueError, match=f"{path.name}'.*(is empty|cut short|no Zarr store)"):
        fit(make(kind, tmp_path))
    assert not Counting.calls


@pytest.mark.parametrize("share", [0.5, 0.98])
@pytest.mark.parametrize(
    "kind", [kind for kind in FILE_SOURCES if kind != "svmlight"]
)  # of that any beginning is a file
def test_cut_short(kind, tmp_path, share):
    write(kind, tmp_path)
    path = path_of(kind, tmp_path, 1)
    cut(path, share)
    with pytest.raises(ValueError, match=f"{path.name}'") as caught:
        fit(make(kind, tmp_path))
    assert not Counting.calls
    assert named(caught, path)


@pytest.mark.parametrize("counted", [True, False])
def test_deleted_while_training(kind, tmp_path, counted):
    pool = make(kind, tmp_path)
    if counted:
        assert all(stream._n_samples for stream in pool)
    path = path_of(kind, tmp_path, 2)
    remove(path)
    with pytest.raises(FileNotFoundError, match=f"{path.name}' is gone: it was there when the pool was made") as caught:
        fit(pool)
    assert not counted or any("raised by stream" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_wrong_names_of_arrays(kind, tmp_path, name):
    write(kind, tmp_path)
    with pytest.raises(
        ValueError, match=rf"f0.{SUFFIXES.get(kind, kind)}' has no array '{name}s'\. Did you mean '{name}'"
    ):
        make(kind, tmp_path, **{name: f"{name}s"})


@pytest.mark.parametrize("name", ["target", "features", "sample_weight"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "sql"])
def test_wrong_names_of_columns(kind, tmp_path, name):
    write(kind, tmp_path)
    with pytest.raises(ValueError, match=r"no column 'lable'\. Did you mean 'label'\? It has 'a', 'b', 'label'"):
        make(kind, tmp_path, **{name: "lable"})


@pytest.mark.parametrize("kind", ["npy", "zarr", "hdf5"])
def test_what_is_damaged_after_the_pool_was_made(kind, tmp_path):
    write(kind, tmp_path)
    pool = make(kind, tmp_path)
    path = path_of(kind, tmp_path, 1)
    if kind == "zarr":
        for file in files_of(path):
            if file.name != "zarr.json":
                file.write_bytes(b"no")
    else:
        cut(path, 0.5)
    with pytest.raises(ValueError, match=f"{path.name}'.*(damaged|cannot be read|cut short)") as caught:
        fit(pool)
    assert any("raised by stream" in note and path.name in note for note in caught.value.__notes__)


# -- how files are found --------------------------------------------------------------------------------------------------------


def test_files_of_patterns_directories_and_lists(tmp_path):
    for name in ("b.csv", "a.csv", ".hidden.csv", "_made.csv", "other.txt", "sub/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b, c = (str(tmp_path / name) for name in ("a.csv", "b.csv", "sub/c.csv"))
    assert list_files(tmp_path, (".csv",)) == [a, b, c]
    assert list_files(f"{tmp_path}/*.csv", (".csv",)) == [str(tmp_path / "_made.csv"), a, b]
    assert list_files(f"{tmp_path}/**/c.csv", (".csv",)) == [c]
    assert list_files([b, tmp_path / "a.csv"], (".csv",)) == [b, a]
    assert short_names([a, b, c]) == ["a.csv", "b.csv", "sub/c.csv"]
    assert short_names([c]) == ["c.csv"]
    assert short_names([a, a]) == ["a.csv (0)", "a.csv (1)"]
    assert partition_of("x/day=mo%20nday/h=1/__HIVE/k=__HIVE_DEFAULT_PARTITION__/a=b.parquet") == {
        "day": "mo nday",
        "h": "1",
        "k": None,
    }
