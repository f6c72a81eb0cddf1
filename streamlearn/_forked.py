"""Forked processes for joblib, which have what the caller has in memory without a copy of it.

joblib's own processes begin with empty memory: arrays are written to a file that all of them map, a copy of what the caller
has, and each process imports all that it needs. A forked process begins with the memory of the caller, and the operating
system copies only pages that one of the two writes to. So tasks name data instead of holding it.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from joblib.parallel import FallbackToBackend, MultiprocessingBackend, SequentialBackend

try:
    from joblib.externals.cloudpickle import Pickler
except ImportError:  # joblib 1.6 has it as a dependency
    from cloudpickle import Pickler

from ._arrays import ArrayStream
from ._pool import StreamPool

LARGE = 2**20  # bytes of an array that is named; smaller ones are sent
# What tasks may name, by the identity of its object: filled before processes begin, which have it from then on.
_inherited: dict[int, Any] = {}


class ForkBackend(MultiprocessingBackend):
    """The backend "streamlearn-fork" of joblib.

    Processes begin with the first task. What it holds of large arrays, and of pools of arrays, is named in all tasks; what comes
    only later is sent to each task that has it. All else is sent as well: an open file, say, must not be shared.

    Raises
    ------
    ValueError
        On systems that cannot fork.

    Examples
    --------
    >>> import joblib
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.model_selection import GridSearchCV
    >>> from streamlearn import StreamingEstimator, from_arrays
    >>> X = np.arange(400.0).reshape(200, 2) % 7
    >>> pool = from_arrays(X, X[:, 0] > 3, n_streams=10)
    >>> model = StreamingEstimator(SGDClassifier(), random_state=0)
    >>> with joblib.parallel_config(backend="streamlearn-fork"):
    ...     search = GridSearchCV(model, {"lam": [4, 16]}, cv=2, n_jobs=2).fit(pool)
    >>> len(search.cv_results_["params"])
    2
    """

    _workers: Any = None

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Return the number of processes."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if "fork" not in multiprocessing.get_all_start_methods():
            raise ValueError(
                "backend='streamlearn-fork' needs a system that can fork, got one that cannot: use backend='loky'."
            )
        self.parallel = parallel
        self._workers = ProcessPoolExecutor(
            n_jobs, context=multiprocessing.get_context("fork"), initializer=_begin_process
        )
        self._data: dict[int, Any] | None = None
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Future:
        """Have a process do a task."""
        begins = self._data is None
        if self._data is None:
            self._data = data_of(func)
            _inherited.update(self._data)
        task = Task(func, self._data)
        with _forking() if begins else nullcontext():
            future = self._workers.submit(task)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # as joblib called it before 1.5

    def retrieve_result_callback(self, future: Future) -> Any:
        """Return what a task returned, or raise what it raised."""
        return future.result()

    def terminate(self) -> None:
        """End the processes."""
        self._end(kill_workers=False)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the processes at once."""
        self._end(kill_workers=True)
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def _end(self, kill_workers: bool) -> None:
        if self._workers is not None:
            self._workers.shutdown(kill_workers=kill_workers)
            self._workers = None
        for name in self._data or ():
            _inherited.pop(name, None)
        self._data = None
        self.reset_batch_stats()


class Task:
    """A call that names the data in it.

    Parameters
    ----------
    func : callable
    data : dict
        What is named, by the identity of its object.
    """

    def __init__(self, func: Callable[[], Any], data: dict[int, Any]) -> None:
        file = io.BytesIO()
        _Naming(file, data).dump(func)
        self._func = file.getvalue()

    def __call__(self) -> Any:
        return _Finding(io.BytesIO(self._func)).load()()


def data_of(func: Callable[[], Any]) -> dict[int, Any]:
    """Return the large arrays in a call, and the pools of arrays, by the identity of their objects."""
    data: dict[int, Any] = {}
    _Collecting(_Nowhere(), data).dump(func)
    return data


@contextmanager
def _forking() -> Iterator[None]:
    gc.collect()  # what is freed is not shared
    with warnings.catch_warnings():
        # Python 3.12 and later warn of locks that threads may hold. Those of OpenMP are not waited for: see _begin_process.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield


def _begin_process() -> None:
    # OpenMP's threads are not there in a forked process, and it would wait for them; with one thread it has no need of others.
    # Nor are there more processors than processes. scikit-learn brings it.
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends processes if it is interrupted,
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and what it does when it is ended is not theirs to do
    gc.freeze()  # else each collection writes to all objects of the caller, and so to all their pages
    threadpool_limits(1)


class _Nowhere(io.RawIOBase):
    def write(self, b: Any) -> int:
        return memoryview(b).nbytes


class _Naming(Pickler):
    def __init__(self, file: Any, data: dict[int, Any]) -> None:
        super().__init__(file)
        self._data = data

    def persistent_id(self, obj: Any) -> int | None:
        return id(obj) if id(obj) in self._data else None


class _Collecting(_Naming):
    def persistent_id(self, obj: Any) -> int | None:
        is_large = isinstance(obj, np.ndarray) and obj.nbytes >= LARGE
        if is_large or (isinstance(obj, StreamPool) and all(type(stream) is ArrayStream for stream in obj)):
            self._data[id(obj)] = obj
        return super().persistent_id(obj)


class _Finding(pickle.Unpickler):
    def persistent_load(self, name: int) -> Any:
        return _inherited[name]
