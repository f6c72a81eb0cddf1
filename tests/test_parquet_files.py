"""Footers of Parquet files: which are kept, and what becomes of files that change."""

import gc
import os
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlearn import from_parquet
from tests.sourcechecks import drained


def write(path, values, columns=("a",), **options):
    features = {name: np.asarray(values, float) for name in columns}
    pq.write_table(pa.table({**features, "label": np.zeros(len(values))}), path, row_group_size=10, **options)


class Named(pa.OSFile):
    def __init__(self, path):
        self.name = os.path.basename(path)


@pytest.fixture
def opened(monkeypatch):
    """A list to which each file that is opened adds its name and metadata, if that had to be read."""
    opened = []
    original = pq.ParquetFile.__init__

    def noting(self, source, metadata=None, **options):
        original(self, source, metadata=metadata, **options)
        if metadata is None:
            opened.append((source.name, weakref.ref(self.metadata)))

    monkeypatch.setattr(pa, "OSFile", Named)
    monkeypatch.setattr(pq.ParquetFile, "__init__", noting)
    return opened


def test_footers_do_not_pile_up(tmp_path, opened):
    for i in range(80):
        write(tmp_path / f"{i:02}.parquet", [1.0, 2.0, 3.0], [f"f{j}" for j in range(200)])
    pool = from_parquet(tmp_path, target="label")
    gc.disable()  # they are large, and few objects: collecting garbage would come late
    try:
        drained(pool, lam=None)
        kept = [metadata.serialized_size for _, footer in opened if (metadata := footer()) is not None]
    finally:
        gc.enable()
    assert len(kept) == 16
    assert {name for name, _ in opened} == {f"{i:02}.parquet" for i in range(80)}


def test_small_footers_are_read_once(tmp_path, opened):
    n = 40
    for i in range(n):
        write(tmp_path / f"{i:02}.parquet", np.arange(30.0))
    pool = from_parquet(tmp_path, target="label", group_by="row_group")
    drained(pool, lam=None)
    footers = [name for name, _ in opened]
    assert set(footers) == {f"{i:02}.parquet" for i in range(n)}
    # those of the first files are kept when all are looked at, others when they are read from
    assert len(footers) == 16 + 2 * (n - 16)


@pytest.mark.parametrize("group_by", ["file", "row_group"])
def test_a_file_that_was_written_again_is_read_as_it_is(tmp_path, group_by):
    values = np.random.default_rng(0).integers(0, 5, 30)
    for i in range(3):
        write(tmp_path / f"{i}.parquet", values)
    pool = from_parquet(tmp_path, target="label", group_by=group_by, shuffle=False)
    first, _, _ = drained(pool, lam=None)
    np.testing.assert_array_equal(np.sort(first[:, 0]), np.sort(np.tile(values, 3)))
    again = np.random.default_rng(1).normal(size=30)
    write(tmp_path / "1.parquet", again, compression="none", use_dictionary=False)
    second, _, _ = drained(pool, lam=None)
    np.testing.assert_array_equal(np.sort(second[:, 0]), np.sort(np.r_[values, values, again]))


def test_a_file_that_was_cut_short_is_refused_whole(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.parquet", np.arange(30.0))
    pool = from_parquet(tmp_path, target="label", shuffle=False)
    drained(pool, lam=None)
    path = tmp_path / "1.parquet"
    os.truncate(path, path.stat().st_size - 20)
    given = []
    with pytest.raises(
        ValueError, match=r"1\.parquet' is no Parquet file that can be read: it may have been cut short"
    ):
        given.extend(item["X"][0] for item in pool[1].generate())
    assert not given
