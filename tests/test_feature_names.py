"""Names of features of tables, whose streams give arrays."""

import sqlite3

import dask.dataframe as dd
import datasets
import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier

from streamlearn import (
    Streamer,
    StreamingEstimator,
    StreamPool,
    _feature_names,
    from_arrays,
    from_csv,
    from_dask,
    from_dataframe,
    from_huggingface,
    from_parquet,
    from_sql,
)

RNG = np.random.default_rng(0)
A = RNG.normal(size=600)
FRAME = pd.DataFrame({"a": A, "b": 9 * RNG.normal(size=600), "y": (A > 0).astype(int)})


def parquet(directory, frame, **options):
    directory.mkdir()
    for i in range(3):
        frame[i::3].to_parquet(directory / f"{i}.parquet", index=False)
    return from_parquet(str(directory), target="y", **options)


def csv(directory, frame):
    directory.mkdir()
    for i in range(3):
        frame[i::3].to_csv(directory / f"{i}.csv", index=False)
    return from_csv(str(directory), target="y")


def sql(directory, frame):
    with sqlite3.connect(f"{directory}.db") as connection:
        frame.to_sql("rows", connection, index=False)
    connection.close()
    return from_sql("rows", f"{directory}.db", target="y", n_streams=3)


SOURCES = {
    "parquet": parquet,
    "csv": csv,
    "sql": sql,
    "pandas": lambda directory, frame: from_dataframe(frame, target="y", n_streams=3),
    "polars": lambda directory, frame: from_dataframe(polars.from_pandas(frame), target="y", n_streams=3),
    "dask": lambda directory, frame: from_dask(dd.from_pandas(frame, npartitions=3), target="y"),
    "huggingface": lambda directory, frame: from_huggingface(
        datasets.Dataset.from_pandas(frame), target="y", n_streams=3
    ),
}


def model(**params):
    return StreamingEstimator(SGDClassifier(random_state=0), random_state=0, **params)


@pytest.mark.parametrize("source", SOURCES)
def test_columns_in_another_order_are_refused(source, tmp_path):
    pool = SOURCES[source](tmp_path / "one", FRAME)
    other = SOURCES[source](tmp_path / "other", FRAME[["y", "b", "a"]])
    fitted = model().fit(pool)
    assert fitted.feature_names_in_.tolist() == ["a", "b"]
    assert fitted.score(pool) > 0.9
    np.testing.assert_array_equal(fitted.predict(FRAME[["a", "b"]]), fitted.predict(from_arrays(FRAME[["a", "b"]]))[0])
    for method in (fitted.score, fitted.predict, lambda pool: next(iter(fitted.iter_predict(pool)))):
        with pytest.raises(ValueError, match="must be in the same order"):
            method(other)
    with pytest.raises(ValueError, match=r"has the features \['b', 'a'\], others before it \['a', 'b'\]"):
        model().fit([*pool, *other])
    with pytest.raises(ValueError, match=r"has the features \['b', 'a'\]"):
        model(validation=other).fit(pool)
    with pytest.raises(ValueError, match=r"has the features \['b', 'a'\]"):
        fitted.set_params(warm_start=True).fit(other)
    assert fitted.score(pool) > 0.9  # a fit that was refused leaves it as it was


def test_other_columns_are_named(tmp_path):
    pool = parquet(tmp_path / "one", FRAME)
    other = parquet(tmp_path / "other", FRAME.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match=r"stream '3' at position 3 .* missing \['b'\], unexpected \['c'\]"):
        model().fit([*pool, *other])


def test_features_that_are_named_have_one_order(tmp_path):
    pool = parquet(tmp_path / "one", FRAME)
    other = parquet(tmp_path / "other", FRAME[["y", "b", "a"]], features=["a", "b"])
    assert model(validation=other).fit(pool).score(other) > 0.9


def test_a_search_keeps_names(tmp_path):
    search = GridSearchCV(model(), {"lam": [4, 16]}, cv=3).fit(parquet(tmp_path / "one", FRAME))
    assert search.best_estimator_.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="must be in the same order"):
        search.predict(FRAME[["b", "a"]])


def test_streams_without_names_have_none(tmp_path):
    pool = parquet(tmp_path / "one", FRAME)
    items = [(np.ones((4, 2)), [0, 1, 0, 1])]
    mixed = model(classes=[0, 1]).fit([*pool, Streamer(items)])
    assert not hasattr(mixed, "feature_names_in_")
    lists = StreamPool([Streamer(items), Streamer(items)])
    assert not hasattr(model(classes=[0, 1], max_batches=3).fit(lists), "feature_names_in_")


@pytest.mark.parametrize("inner", [SGDClassifier(), OneVsRestClassifier(SGDClassifier())])
@pytest.mark.parametrize("kind", ["frames", "files"])
def test_training_that_goes_on_does_not_warn_of_names(inner, kind, tmp_path):
    X, y = FRAME[["a", "b"]], FRAME["y"]
    pool = from_arrays(X, y, n_streams=3) if kind == "frames" else parquet(tmp_path / "one", FRAME)
    fitted = StreamingEstimator(inner, warm_start=True, random_state=0).fit(pool)
    fitted.fit(pool)
    fitted.fit(X, y)
    fitted.partial_fit(X, y)
    assert fitted.predict(X).shape == (600,)
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.predict(X[["b", "a"]])
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.partial_fit(X[["b", "a"]], y)
    assert fitted.predict(X).shape == (600,)  # with its names again


def test_names_that_are_no_texts_are_refused():
    with pytest.raises(TypeError, match=r"names are no texts \(0, 1\): rename them"):
        from_dataframe(pd.DataFrame(np.ones((3, 2))).assign(y=1), target="y")


def test_where_nothing_has_frames_there_are_no_names(tmp_path, monkeypatch):
    """A query can be learned from and scored with what the package alone requires."""
    pool, other = sql(tmp_path / "one", FRAME), sql(tmp_path / "other", FRAME[["y", "b", "a"]])
    monkeypatch.setattr(_feature_names, "find_spec", lambda name: None)
    fitted = model().fit(pool)
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.score(pool) > 0.9
    with pytest.raises(ValueError, match=r"has the features \['b', 'a'\]"):
        model().fit([*pool, *other])


def test_where_only_polars_is_there_its_frames_are_compared(tmp_path, monkeypatch):
    pool, other = sql(tmp_path / "one", FRAME), sql(tmp_path / "other", FRAME[["y", "b", "a"]])
    monkeypatch.setattr(_feature_names, "find_spec", lambda name: name == "polars" or None)
    fitted = model().fit(pool)
    assert fitted.score(pool) > 0.9
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.score(other)


def test_weights_beside_a_pool_are_refused(tmp_path):
    pool = parquet(tmp_path / "one", FRAME)
    with pytest.raises(ValueError, match="sample_weight goes with arrays; beside a pool"):
        model().fit(pool).score(pool, sample_weight=np.ones(3))
