"""from_sql against pandas, on SQLite by itself and by SQLAlchemy."""

import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

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
    with pytest.raises(ValueError, match=r"no column 'lable'\. Did you mean 'label'"):
        from_sql("trips", path, target="lable")
    with pytest.raises(ValueError, match="no such table: trip, for the query"):
        from_sql("trip", path, target="label")
    with pytest.raises(FileNotFoundError, match="no such database"):
        from_sql("trips", path.parent / "none.db", target="label")
    with pytest.raises(ValueError, match="holds no row"):
        from_sql("SELECT * FROM trips WHERE a < 0", path, target="label", partition="city")
    with closing(sqlite3.connect(path)) as database, pytest.raises(TypeError, match="must be strings"):
        from_sql("trips", database, target="label")
