"""Processes that are forked: they give what one process gives, without a copy of its data."""

import multiprocessing
import os
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, KFold

from streamlearn import HyperbandSearchCV, Streamer, StreamingEstimator, StreamPool, from_arrays, from_npy
from streamlearn import _forked as forked

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("this system cannot fork", allow_module_level=True)

X, y = load_digits(return_X_y=True)
X = np.tile(X / 16, (3, 1))
y = np.tile(y, 3)
SPACE = {"lam": [2, 16], "estimator__alpha": [1e-4, 1e-2]}


def items(start, stop, rng):
    for i in range(start, stop, 4):
        yield {"X": X[i : i + 4] + rng.normal(0, 0.01, (4, 64)), "y": y[i : i + 4]}


DATA = {
    "pool of arrays": lambda: (from_arrays(X, y, n_streams=12),),
    "pool of frames": lambda: (from_arrays(pd.DataFrame(X).add_prefix("x"), y, n_streams=12),),
    "pool of generators": lambda: (StreamPool([Streamer(items, a, a + 400) for a in range(0, 4800, 400)]),),
    "arrays": lambda: (X, y),
    "frame": lambda: (pd.DataFrame(X).add_prefix("x"), y),
    "sparse": lambda: (sparse.csr_array(X), y),
}


def in_forks(function, *arguments, n_tasks=2):
    with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2):
        return joblib.Parallel()(joblib.delayed(function)(*arguments) for _ in range(n_tasks))


def address(array):
    return array.__array_interface__["data"][0], os.getpid()


@pytest.mark.parametrize("data", DATA)
def test_a_grid_search_finds_the_same(data):
    model = StreamingEstimator(SGDClassifier(), batch_size=32, max_batches=20, classes=range(10), random_state=0)
    alone, forks = (GridSearchCV(model, SPACE, cv=KFold(3), n_jobs=n_jobs, error_score="raise") for n_jobs in (1, 2))
    alone.fit(*DATA[data]())
    with joblib.parallel_config(backend="streamlearn-fork"):
        forks.fit(*DATA[data]())
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(forks.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(forks.best_estimator_.coef_, alone.best_estimator_.coef_)
    assert not forked._inherited
    assert not multiprocessing.active_children()


def test_a_search_that_trains_on_finds_the_same():
    model = StreamingEstimator(SGDClassifier(), batch_size=32, n_passes=9, classes=range(10), random_state=0)
    settings = {"max_resources": 18, "cv": KFold(3), "random_state": 2}
    alone = HyperbandSearchCV(model, SPACE, **settings).fit(*DATA["pool of arrays"]())
    with joblib.parallel_config(backend="streamlearn-fork"):
        forks = HyperbandSearchCV(model, SPACE, n_jobs=2, **settings).fit(*DATA["pool of arrays"]())
    np.testing.assert_array_equal(forks.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(forks.best_estimator_.coef_, alone.best_estimator_.coef_)


def test_arrays_lie_where_they_lie_in_the_caller():
    big = np.arange(2**18, dtype=np.float64)
    places = in_forks(address, big)
    assert {place for place, _ in places} == {address(big)[0]}
    assert os.getpid() not in {pid for _, pid in places}


def test_nothing_large_is_sent():
    pool = from_arrays(np.zeros((2**17, 4)), np.zeros(2**17), n_streams=5000)
    for arguments in ((pool,), (np.zeros(2**20), pd.DataFrame(np.zeros((2**16, 4))))):
        call = joblib.delayed(address)(*arguments)
        data = forked.data_of(call)
        assert len(forked.Task(call, data)._func) < 5000


def test_small_arrays_are_sent():
    assert forked.data_of(joblib.delayed(address)(np.zeros(8), DATA["pool of generators"]()[0])) == {}


def test_files_are_sent_by_their_names(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.zeros((2**16, 4)))
    call = joblib.delayed(len)(from_npy(str(tmp_path / "*.npy")))
    data = forked.data_of(call)
    assert not data  # each process opens them itself
    assert len(forked.Task(call, data)._func) < 10_000


def test_data_that_comes_later_is_sent():
    arrays = [np.full(2**17, i, np.float64) for i in range(6)]
    with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2):
        assert joblib.Parallel(batch_size=1)(joblib.delayed(np.mean)(array) for array in arrays) == [0, 1, 2, 3, 4, 5]


def test_a_call_after_another_has_its_own_data():
    with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2), joblib.Parallel() as parallel:
        for value in range(3):
            array = np.full(2**17, value, np.float64)
            assert parallel(joblib.delayed(np.mean)(array) for _ in range(3)) == [value] * 3


def test_one_process_is_the_caller():
    with joblib.parallel_config(backend="streamlearn-fork", n_jobs=1):
        assert joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2


def refuse():
    raise OSError("the disk is gone")


def test_errors_come_back():
    with pytest.raises(OSError, match="the disk is gone"):
        in_forks(refuse, n_tasks=5)
    assert not forked._inherited
    assert in_forks(os.getppid) == [os.getpid()] * 2  # and the next call is as good as the first


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_told():
    with pytest.raises(TerminatedWorkerError):
        in_forks(die)
    assert not multiprocessing.active_children()


def test_systems_that_cannot_fork_are_told(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ValueError, match=r"backend='streamlearn-fork' needs a system that can fork.*backend='loky'"):
        in_forks(os.getpid)


SCRIPT = """
import joblib, numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import HistGradientBoostingClassifier
import streamlearn
X = np.random.default_rng(0).random((5000, 8))
def fit():
    HistGradientBoostingClassifier(max_iter=5).fit(X, X[:, 0] > 0.5)
    return MiniBatchKMeans(3, random_state=0, n_init=1).fit(X).inertia_
alone = fit()  # the threads of OpenMP are there now, and would not be in a forked process
with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2):
    assert np.allclose(joblib.Parallel()(joblib.delayed(fit)() for _ in range(4)), alone)
print("done")
"""


def test_openmp_does_not_hang():
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout.strip() == "done", done.stderr
