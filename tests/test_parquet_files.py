"""Footers of Parquet files: which are kept, and what becomes of files that change."""

import contextlib
import gc
import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import SGDClassifier

from streamlearn import StochasticMux, StreamingEstimator, from_parquet
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
        write(tmp_path / f"{i:02}.parquet", [1.0, 2.0, 3.0], [f"f{j}" for j in range(400)])
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


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read_as_it_is(tmp_path):
    columns = {"a": np.arange(30.0), "b": np.arange(30.0) + 100, "label": np.zeros(30)}
    path, other = tmp_path / "0.parquet", tmp_path / "other"
    for where, names in ((path, "ab"), (other, "ba")):
        table = pa.table({name: columns[name] for name in (*names, "label")})
        pq.write_table(table, where, row_group_size=10, compression="none", use_dictionary=False)
    pool = from_parquet(path, target="label", features=["a"])
    before, _, _ = drained(pool, lam=None)
    assert other.stat().st_size == path.stat().st_size
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(other, path)
    after, _, _ = drained(pool, lam=None)
    np.testing.assert_array_equal(np.sort(before[:, 0]), columns["a"])
    np.testing.assert_array_equal(np.sort(after[:, 0]), columns["a"])


@pytest.mark.parametrize("n_files", [5, 20])
def test_files_behind_urls_that_were_written_again_are_read_as_they_are(n_files):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    values = {"a": np.ones(20), "b": np.full(20, 2.0), "label": np.zeros(20)}

    def write_all(names):
        for i in range(n_files):
            with memory.open(f"/again/{i}.parquet", "wb") as file:
                pq.write_table(pa.table({name: values[name] for name in names}), file, row_group_size=10)

    try:
        write_all(["a", "b", "label"])
        pool = from_parquet("memory://again/*.parquet", target="label", features=["a"])
        assert set(drained(pool, lam=None)[0][:, 0]) == {1.0}
        write_all(["b", "a", "label"])
        assert set(drained(pool, lam=None)[0][:, 0]) == {1.0}
    finally:
        memory.rm("/again", recursive=True)


CHANGES = {
    "a column of another type": (
        {"a": np.arange(30).astype(str)},
        r"1\.parquet': column 'a' is string, but double in the first file",
    ),
    "another name": ({"c": np.arange(30.0)}, r"1\.parquet' has no column 'a'"),
    "fewer row groups": (
        {"a": np.arange(9.0)},
        r"1\.parquet' has 1 row groups, where more were counted before.*Make the pool again",
    ),
    "fewer rows": ({"a": np.arange(28.0)}, r"X has 8 rows where 10 were counted before.*Make the pool again"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("n_files", [3, 40])
def test_what_no_longer_fits_the_pool_is_named(tmp_path, change, n_files):
    for i in range(n_files):
        write(tmp_path / f"{i}.parquet", np.arange(30.0))
    pool = from_parquet(tmp_path, target="label")
    drained(pool, lam=None)
    columns, message = CHANGES[change]
    n = len(next(iter(columns.values())))
    pq.write_table(pa.table({**columns, "label": np.zeros(n)}), tmp_path / "1.parquet", row_group_size=10)
    with pytest.raises(ValueError, match=message):
        drained(pool, lam=None)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_files_stay_open_between_their_row_groups_but_few_and_not_after_a_pass(tmp_path, prefetch):
    """At most n_active + 10 at once."""
    for i in range(40):
        write(tmp_path / f"{i:02}.parquet", np.arange(50.0))
    pool = from_parquet(tmp_path, target="label", prefetch=prefetch)
    before, highest = open_files(), 0
    iterator = StochasticMux(pool, 4, None, mode="exhaustive", random_state=0).generate()
    for _ in iterator:
        highest = max(highest, len(open_files() - before))
    assert 0 < highest <= 4 + 10
    assert not open_files() - before
    iterator = StochasticMux(pool, 4, 3, random_state=0).generate()
    next(iterator)
    iterator.close()
    assert not open_files() - before


def open_files():
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not tell which files are open")
    names = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            names.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return {name for name in names if name[1].endswith(".parquet")}


def test_a_file_that_stays_open_and_is_deleted_or_replaced_is_not_read_on(tmp_path):
    for change in ("deleted", "replaced"):
        write(tmp_path / "a.parquet", np.arange(40.0))
        (source,) = (stream._source for stream in from_parquet(tmp_path, target="label"))
        assert source.read(0)["X"][0, 0] == 0.0
        (tmp_path / "a.parquet").unlink()
        if change == "deleted":
            with pytest.raises(FileNotFoundError, match=r"a\.parquet"):
                source.read(1)
        else:
            write(tmp_path / "a.parquet", np.arange(100.0, 140.0))
            assert source.read(1)["X"][0, 0] == 110.0
        source.keeper.close()


def test_threads_that_read_one_file_have_it_open_each_for_itself(tmp_path):
    values = np.arange(1000.0)
    write(tmp_path / "a.parquet", values)
    (source,) = (stream._source for stream in from_parquet(tmp_path, target="label"))
    before = open_files()
    with ThreadPoolExecutor(4) as threads:
        blocks = list(threads.map(source.read, list(range(100)) * 3))
    np.testing.assert_array_equal(np.concatenate([block["X"][:, 0] for block in blocks]), np.tile(values, 3))
    assert len(open_files() - before) == 1
    source.keeper.close()
    assert open_files() == before


def test_a_file_that_lacks_a_row_group_does_not_stay_open(tmp_path):
    write(tmp_path / "a.parquet", np.random.default_rng(0).random(40), compression="none")
    (source,) = (stream._source for stream in from_parquet(tmp_path, target="label"))
    source.rows()
    before = open_files()
    with pytest.raises(ValueError, match="more were counted before"):
        source.keeper.read(0, 9, ["a"])
    assert open_files() == before


def test_files_are_closed_by_what_reads_a_column_alone(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.parquet", np.arange(40.0), ("a", "b"))
    before = open_files()
    from_parquet(tmp_path, target="label", group_by="a")
    pool = from_parquet(tmp_path, target="label")
    with pytest.raises(ValueError, match="greater than one"):  # it has one label
        StreamingEstimator(SGDClassifier(), classes="scan", max_batches=1, random_state=0).fit(pool)
    list(pool[0])
    assert open_files() == before


@pytest.mark.parametrize("odd", ["12345678901234567890123", "--5", "-", "²", "1.5"])
def test_directories_that_tell_no_whole_number_of_64_bits_tell_texts(odd, tmp_path):
    for value in (odd, "2"):
        (tmp_path / f"k={value}").mkdir()
        write(tmp_path / f"k={value}" / "f.parquet", range(20))
    pool = from_parquet(tmp_path, target="k", features=["a"], filters=[("a", ">=", 10)])
    assert sorted(np.unique(drained(pool)[1])) == sorted([odd, "2"])
    assert sorted(from_parquet(tmp_path, target="label", group_by="k").names) == sorted([odd, "2"])
