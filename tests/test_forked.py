"""Processes that are forked: they give what one process gives, without a copy of its data."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time

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


def children():
    return [process for process in multiprocessing.active_children() if type(process).__name__ == "ForkProcess"]


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
    assert not children()


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


@pytest.fixture
def sent():
    """A function that returns what is named of a call, and how many bytes are sent."""
    number = -1

    def sent(call):
        forked._inherited[number] = forked.data_of(call)
        return forked._inherited[number], len(pickle.dumps(forked.Task(call, number)))

    yield sent
    forked._inherited.pop(number, None)


def test_nothing_large_is_sent(sent):
    pool = from_arrays(np.zeros((2**17, 4)), np.zeros(2**17), n_streams=5000)
    for arguments in ((pool,), (np.zeros(2**20), pd.DataFrame(np.zeros((2**16, 4))))):
        assert sent(joblib.delayed(address)(*arguments))[1] < 5000


def test_small_arrays_are_sent(sent):
    assert sent(joblib.delayed(address)(np.zeros(8), DATA["pool of generators"]()[0]))[0] == {}


def test_files_are_sent_by_their_names(sent, tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.zeros((2**16, 4)))
    data, n_bytes = sent(joblib.delayed(len)(from_npy(str(tmp_path / "*.npy"))))
    assert not data  # each process opens them itself
    assert n_bytes < 10_000


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
    assert not children()


def test_systems_that_cannot_fork_are_told(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ValueError, match=r"backend='streamlearn-fork' needs a system that can fork.*backend='loky'"):
        in_forks(os.getpid)


def test_a_task_that_cannot_be_pickled_is_told_however_late():
    with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2), pytest.raises((TypeError, pickle.PicklingError)):
        joblib.Parallel()(joblib.delayed(type)(i if i < 12 else threading.Lock()) for i in range(20))


def add_one(array):
    array += 1


@pytest.mark.parametrize("part", ["array", "pool"])
def test_a_task_cannot_change_what_others_find(part):
    def change(values):
        add_one(values if part == "array" else values[0]._table.columns["X"])

    big = np.zeros((2**17, 2))
    with pytest.raises(ValueError, match="read-only"):
        in_forks(change, big if part == "array" else from_arrays(big, n_streams=3))
    add_one(big)  # the caller can


def test_processes_draw_numbers_of_their_own():
    def draw():
        time.sleep(0.05)  # so that one process does not take all tasks
        return np.random.random(), random.random()  # noqa: NPY002

    drawn = [*in_forks(draw, n_tasks=6), *in_forks(draw, n_tasks=6)]
    assert len(set(drawn)) == 12


def test_calls_from_threads_do_not_disturb_each_other():
    array, failed = np.ones(2**18), []

    def call():
        backend = forked.ForkBackend(nesting_level=0)  # a thread of its own would fall back to one process
        try:
            for _ in range(5):
                backend.configure(n_jobs=2)
                futures = [backend.submit(Sum(array)) for _ in range(4)]
                assert [future.result(60) for future in futures] == [2**18] * 4
                backend.terminate()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not forked._inherited


class Sum:
    def __init__(self, array):
        self.array = array

    def __call__(self):
        return float(self.array.sum())


def test_polars_frames_are_refused():
    pl = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"DataFrame of polars.*backend='loky'"):
        in_forks(len, pl.DataFrame({"a": [1, 2]}))


OPENMP = """
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
        [sys.executable, "-c", OPENMP], check=False, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout.strip() == "done", done.stderr


DASK = """
import dask.array as da, joblib, numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score
from streamlearn import StreamingEstimator, from_dask
X = da.random.default_rng(0).random((4000, 4), chunks=(500, 4))
pool = from_dask(X, (X[:, 0] > 0.5).astype(int))
model = StreamingEstimator(SGDClassifier(), classes=[0, 1], batch_size=100, n_passes=1, random_state=0).fit(pool)
alone = cross_val_score(model, pool, cv=2)
with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2):
    assert np.array_equal(cross_val_score(model, pool, cv=2), alone)
print("done")
"""


def test_dask_does_not_hang():
    pytest.importorskip("dask", reason="the extra dask brings it")
    done = subprocess.run([sys.executable, "-c", DASK], check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "done", done.stderr


KILLED = """
import os, signal, time, joblib
def work(i):
    print(os.getpid(), flush=True)
    time.sleep(60)
with joblib.parallel_config(backend="streamlearn-fork", n_jobs=2):
    joblib.Parallel()(joblib.delayed(work)(i) for i in range(2))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="this system does not tell which processes run")
def test_processes_end_with_the_caller():
    with subprocess.Popen(
        [sys.executable, "-c", "import streamlearn" + KILLED], stdout=subprocess.PIPE, text=True
    ) as caller:
        pids = [int(caller.stdout.readline()) for _ in range(2)]
        caller.kill()
    deadline = time.monotonic() + 60
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(runs, pids))


def runs(pid):
    """Whether a process is there, and has not ended without being waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
