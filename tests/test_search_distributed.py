"""Searches in several processes, by joblib's own and on a Dask cluster, give what one process gives."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, KFold

from streamlearn import (
    HyperbandSearchCV,
    Streamer,
    StreamingEstimator,
    StreamPool,
    SuccessiveHalvingSearchCV,
    from_arrays,
    from_npy,
    stream_scorer,
)
from streamlearn._candidates import Data, Scorer, Work

distributed = pytest.importorskip("distributed", reason="the extra dask brings it")

X, y = load_digits(return_X_y=True)
X = X / 16


def items(start, stop, rng):
    for i in range(start, stop, 4):
        yield {"X": X[i : i + 4] + rng.normal(0, 0.01, (len(X[i : i + 4]), 64)), "y": y[i : i + 4]}


POOLS = {
    "arrays": lambda: from_arrays(X, y, n_streams=12),
    "generators": lambda: StreamPool([Streamer(items, a, a + 60) for a in range(0, 720, 60)]),
}
SPACE = {"lam": [2, 16], "n_active": [2, 4], "estimator__alpha": [1e-4, 1e-2, 1.0]}


def searched(search, pool, random_state=None, **settings):
    model = StreamingEstimator(SGDClassifier(), batch_size=32, n_passes=9, classes=range(10), random_state=random_state)
    settings = {"max_resources": 18, "cv": KFold(3), "random_state": 2, "return_train_score": True, **settings}
    return search(model, SPACE, **settings).fit(POOLS[pool]())


def assert_same(found, expected):
    assert list(found.cv_results_) == list(expected.cv_results_)
    for name, column in found.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(column, expected.cv_results_[name], err_msg=name)
    assert found.best_params_ == expected.best_params_
    assert found.n_batches_ == expected.n_batches_
    np.testing.assert_array_equal(found.best_estimator_.coef_, expected.best_estimator_.coef_)


@pytest.fixture(scope="module")
def client():
    """Two worker processes on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("search", [SuccessiveHalvingSearchCV, HyperbandSearchCV])
def test_the_number_of_processes_changes_nothing(search, pool, client):
    alone = searched(search, pool)
    assert_same(searched(search, pool, n_jobs=2), alone)
    with joblib.parallel_config(backend="dask"):
        assert_same(searched(search, pool), alone)


@pytest.mark.parametrize("pool", POOLS)
def test_threads_change_nothing(pool):
    alone = searched(SuccessiveHalvingSearchCV, pool)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_same(searched(SuccessiveHalvingSearchCV, pool), alone)


@pytest.mark.parametrize("pool", POOLS)
def test_a_grid_search_in_threads_finds_the_same(pool):
    model = StreamingEstimator(SGDClassifier(), batch_size=32, max_batches=20, classes=range(10), random_state=0)
    scoring = stream_scorer("accuracy", max_samples=300)
    alone, beside = (GridSearchCV(model, SPACE, cv=KFold(3), scoring=scoring, n_jobs=n_jobs) for n_jobs in (1, 2))
    alone.fit(POOLS[pool]())
    with joblib.parallel_config(backend="threading"):
        beside.fit(POOLS[pool]())
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(beside.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(beside.best_estimator_.coef_, alone.best_estimator_.coef_)


def test_a_generator_of_random_numbers_in_the_estimator_changes_nothing(client):
    with joblib.parallel_config(backend="dask"):
        search = searched(SuccessiveHalvingSearchCV, "generators", np.random.RandomState(0))
    assert_same(search, searched(SuccessiveHalvingSearchCV, "generators", np.random.RandomState(0)))


def test_ray_changes_nothing():
    ray = pytest.importorskip("ray", reason="the extra ray brings it, which is large, and no part of the extra test")
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    try:
        with joblib.parallel_config(backend="ray"):
            found = searched(SuccessiveHalvingSearchCV, "generators")
    finally:
        ray.shutdown()
    assert_same(found, searched(SuccessiveHalvingSearchCV, "generators"))


def test_errors_of_workers_come_back(client):
    def broken():
        yield {"X": X[:8], "y": y[:8]}
        raise OSError("the disk is gone")

    POOLS["broken"] = lambda: StreamPool([Streamer(broken) for _ in range(6)], names=list("abcdef"))
    try:
        with joblib.parallel_config(backend="dask"), pytest.raises(OSError, match="the disk is gone") as caught:
            searched(SuccessiveHalvingSearchCV, "broken", error_score="raise")
    finally:
        del POOLS["broken"]
    assert any("raised by the candidate" in note for note in caught.value.__notes__)


def work(pool):
    return Work(
        StreamingEstimator(SGDClassifier()), Data(pool), [(np.arange(2), np.arange(2))], Scorer(None), 0, 0, False
    )


def test_a_pool_of_files_goes_to_the_workers_as_their_names(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.zeros((10_000, 10)))
    pool = from_npy(str(tmp_path / "*.npy"))
    assert sum(path.stat().st_size for path in Path(tmp_path).iterdir()) > 3_000_000
    assert len(pickle.dumps(work(pool))) < 10_000


def test_dask_sends_arrays_once_to_each_worker():
    from dask.sizeof import sizeof

    assert sizeof(work(from_arrays(X, y))) > 1e3  # from there on, joblib scatters an argument


def test_arrays_are_mapped_by_the_processes_of_joblib():
    """Arrays that come as read-only maps of a file are trained on as they are."""
    big = np.tile(X, (10, 1))
    pool = from_arrays(big, np.tile(y, 10), n_streams=12)
    assert big.nbytes > 2**20  # from there on, joblib maps an array
    model = StreamingEstimator(SGDClassifier(), batch_size=64, classes=range(10), random_state=0)
    settings = {"max_resources": 6, "cv": KFold(2), "scoring": stream_scorer("accuracy")}
    alone, two = (
        SuccessiveHalvingSearchCV(model, {"lam": [2, 16, 64]}, n_jobs=n_jobs, **settings).fit(pool) for n_jobs in (1, 2)
    )
    assert_same(two, alone)
