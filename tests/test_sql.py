"""from_sql against pandas, on SQLite by itself and by SQLAlchemy."""

import itertools
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn import from_sql
from tests.sourcechecks import check_source, drained


@pytest.fixture
def path(tmp_path):
    i = np.arange(70)
    frame = pd.DataFrame({"a": i, "b": i * 0.5, "label": i % 3, "city": np.array(["x", "y", "z"])[i // 30], "h": i % 2})
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        frame.to_sql("trips", database, index=False)
    return tmp_path / "t.db"


@pytest.fixture(params=["", "sqlite:///"])
def connection(request, path):
    return f"{request.param}{path}"


def test_source(connection):
    i = np.arange(70)
    check_source(
        lambda **options: from_sql(
            "trips", connection, target="label", features=["a", "b"], partition="city", **options
        ),
        np.column_stack([i, i * 0.5]),
        i % 3,
        ["x", "y", "z"],
    )


def test_query_and_several_partitions(connection):
    query = "SELECT a, h, city, label AS t FROM trips WHERE a >= 10;"
    pool = from_sql(query, connection, target="t", partition=["city", "h"])
    assert pool.names == ("x/0", "x/1", "y/0", "y/1", "z/0", "z/1")
    assert sorted(drained(pool)[0][:, 0]) == list(range(10, 70))
    assert len(from_sql(query, connection, target="t", features=["a"])) == 1


@pytest.mark.parametrize("query", ["trips", "SELECT *, a AS id FROM trips"])
def test_ranges_of_a_key(connection, query):
    i = np.arange(70)
    by_rowid = query == "trips" and not connection.startswith("sqlite:")
    check_source(
        lambda **options: from_sql(
            query,
            connection,
            target="label",
            features=["a", "b"],
            key=None if by_rowid else "a",
            n_streams=4,
            **options,
        ),
        np.column_stack([i, i * 0.5]),
        i % 3,
        ["rows 0 to 17", "rows 17 to 34", "rows 34 to 51", "rows 51 to 70"],
    )


@settings(max_examples=30)
@given(
    keys=st.lists(st.integers(-5, 5), min_size=1, max_size=40),
    n_streams=st.integers(1, 5),
    block_rows=st.none() | st.integers(1, 10),
)
def test_equal_keys_stay_together_and_no_row_is_lost(tmp_path_factory, keys, n_streams, block_rows):
    path = tmp_path_factory.mktemp("sql") / "t.db"
    with closing(sqlite3.connect(path)) as database:
        pd.DataFrame({"k": keys, "x": np.arange(len(keys))}).to_sql("t", database, index=False)

    def make():
        return from_sql("t", path, target="k", key="k", n_streams=n_streams, block_rows=block_rows)

    if len(set(keys)) < n_streams:
        with pytest.raises(ValueError, match=r"n_streams=.* is more than"):
            make()
        return
    try:
        pool = make()
    except ValueError as error:  # equal keys may leave fewer ranges than there are keys
        assert "can be cut into" in str(error)  # noqa: PT017
        return
    assert len(pool) == n_streams
    blocks = [stream._source.read(i) for stream in pool for i in range(len(stream._source.rows()))]
    assert sorted((k, x) for block in blocks for k, x in zip(block["y"], block["X"][:, 0], strict=True)) == sorted(
        zip(keys, range(len(keys)), strict=True)
    )
    for one, other in itertools.pairwise(blocks):
        assert one["y"].max() < other["y"].min()
    if block_rows is not None:
        most = max(np.unique(keys, return_counts=True)[1])
        assert max(stream._source.rows().max() for stream in pool) < block_rows + most


def test_a_key_without_streams_is_read_by_blocks(connection):
    pool = from_sql("trips", connection, target="label", features=["a"], key="a", block_rows=20, shuffle=False)
    assert pool[0]._source.rows().tolist() == [20, 20, 20, 10]
    assert drained(pool)[0][:, 0].tolist() == list(range(70))


def test_rows_that_came_in_later_are_noticed(path):
    pool = from_sql("trips", path, target="label", features=["a"], key="a", n_streams=2)
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO trips (a, label) VALUES (1000, 1)")
        database.commit()
    with pytest.raises(ValueError, match="X has 36 rows where 35 were counted before: the data has changed"):
        drained(pool)


def test_a_query_may_hold_what_looks_like_a_parameter(connection):
    query = "SELECT a, label, city FROM trips WHERE city != '? :v0 %' AND '12:30' = '12:30'"
    pool = from_sql(query, connection, target="label", partition="city")
    assert len(drained(pool)[0]) == 70


def test_a_path_may_hold_anything(path):
    odd = path.parent / "a #?%20 b.db"
    path.rename(odd)
    assert len(from_sql("trips", odd, target="label", partition="city")) == 3


def test_nulls_texts_and_targets(tmp_path):
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute("CREATE TABLE t (x, s, u, v, w)")
        database.execute("INSERT INTO t VALUES (1, 'a', 1, 2, 1), (NULL, 'b', 3, 4, 2)")
        database.commit()
    stream = from_sql("t", tmp_path / "t.db", target=["u", "v"], features=["x"], sample_weight="w", partition="s")[1]
    np.testing.assert_array_equal(stream._column("X"), [[np.nan]])
    assert stream._column("y").tolist() == [[3, 4]]
    assert stream._column("sample_weight").tolist() == [2]
    X = from_sql("t", tmp_path / "t.db", target=None, features=["s", "u"])[0]._column("X")
    assert isinstance(X, pd.DataFrame)
    with pytest.raises(ValueError, match="nulls"):
        from_sql("t", tmp_path / "t.db", target="x", features=["u"])[0]._column("y")


def test_refused(path):
    with pytest.raises(ValueError, match="partition excludes key"):
        from_sql("trips", path, target="label", partition="city", n_streams=2)
    with pytest.raises(ValueError, match=r"n_streams=2 .*need a key"):
        from_sql("SELECT * FROM trips", path, target="label", n_streams=2)
    with pytest.raises(ValueError, match=r"n_streams=2 .*need a key"):
        from_sql("trips", f"sqlite:///{path}", target="label", n_streams=2)
    with pytest.raises(ValueError, match="n_streams=4 is more than the 3 ranges that key='city' can be cut into"):
        from_sql("trips", path, target="label", key="city", n_streams=4)
    with pytest.raises(ValueError, match="key='n' has 35 nulls"):
        from_sql("SELECT *, nullif(h, 0) AS n FROM trips", path, target="label", key="n")
    with pytest.raises(ValueError, match="no such table: trip"):
        from_sql("trip", f"sqlite:///{path}", target="label")
    with pytest.raises(ValueError, match="connection 'nosuch://x' cannot be opened"):
        from_sql("trips", "nosuch://x", target="label")
    with pytest.raises(ValueError, match=r"no column 'lable'\. Did you mean 'label'"):
        from_sql("trips", path, target="lable")
    with pytest.raises(ValueError, match="no such table: trip, for the query"):
        from_sql("trip", path, target="label")
    with pytest.raises(FileNotFoundError, match=r"no such file.*none\.db"):
        from_sql("trips", path.parent / "none.db", target="label")
    with pytest.raises(ValueError, match="holds no row"):
        from_sql("SELECT * FROM trips WHERE a < 0", path, target="label", partition="city")
    with closing(sqlite3.connect(path)) as database, pytest.raises(TypeError, match="must be strings"):
        from_sql("trips", database, target="label")
