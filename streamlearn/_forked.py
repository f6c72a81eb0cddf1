"""Forked processes for joblib, which have what the caller has in memory without a copy of it.

joblib's own processes begin with empty memory: arrays are written to a file that all of them map, a copy of what the caller
has, and each process imports all that it needs. A forked process begins with the memory of the caller, and the operating
system copies only pages that one of the two writes to. So tasks name data instead of holding it.
"""

from __future__ import annotations

import gc
import io
import itertools
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import wait
from typing import Any

import numpy as np
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from joblib.parallel import FallbackToBackend, MultiprocessingBackend, SequentialBackend
from scipy import sparse

try:
    from joblib.externals.cloudpickle import Pickler
except ImportError:  # joblib 1.6 has it as a dependency
    from cloudpickle import Pickler

from ._arrays import ArrayStream
from ._pool import StreamPool

LARGE = 2**20  # bytes of an array that is named; smaller ones are sent
# What the tasks of a call may name, by the number of the call and the identity of the object: filled before its processes begin,
# which have it from then on.
_inherited: dict[int, dict[int, Any]] = {}
_numbers = itertools.count()


class ForkBackend(MultiprocessingBackend):
    """The backend "streamlearn-fork" of joblib.

    Processes begin with the first task. What it holds of large arrays, and of pools of arrays, is named in all tasks, which
    find it as it was then, and read-only; what comes only later is sent to each task that has it. All else is sent as well: an
    open file, say, must not be shared.

    Threads of the caller are not there in forked processes. OpenMP and BLAS use one thread there, and Dask none; polars
    cannot do without.

    Raises
    ------
    ValueError
        On systems that cannot fork, and if a task holds polars frames.

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
    _number = -1

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
        self._number = next(_numbers)
        self._workers = ProcessPoolExecutor(
            n_jobs,
            context=multiprocessing.get_context("fork"),
            initializer=_begin_process,
            initargs=(self._number,),
        )
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Future:
        """Have a process do a task."""
        begins = self._number not in _inherited
        if begins:
            _inherited[self._number] = data_of(func)
        task = Task(func, self._number)
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
        _inherited.pop(self._number, None)
        self.reset_batch_stats()


class Task:
    """A call that names the data in it, once it is pickled.

    Parameters
    ----------
    func : callable, or bytes
        As bytes, it was pickled.
    number : int
        Of the call of ``Parallel`` whose data is named.
    """

    def __init__(self, func: Callable[[], Any] | bytes, number: int) -> None:
        self._func = func
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        file = io.BytesIO()
        _Naming(file, _inherited[self._number]).dump(self._func)
        return Task, (file.getvalue(), self._number)

    def __call__(self) -> Any:
        assert isinstance(self._func, bytes)
        return _Finding(io.BytesIO(self._func), self._number).load()()


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


def _begin_process(number: int) -> None:
    """Make up for what a process has of the caller and should not have, or lacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends processes if it is interrupted,
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # and what it does when it is ended is not theirs to do
    threading.Thread(target=_end_with_caller, daemon=True).start()
    gc.freeze()  # else each collection writes to all objects of the caller, and so to all their pages
    # The threads of these libraries are not there, and they would wait for them; with one thread they need no others.
    # scikit-learn brings threadpoolctl.
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if (dask := sys.modules.get("dask")) is not None:
        dask.config.set(scheduler="synchronous")
    # whoever draws from the states that all programs share would draw the same in all processes
    random.seed()
    np.random.seed()  # noqa: NPY002
    for values in _inherited[number].values():  # what one task changed, the next one would find changed
        for array in _arrays_of(values):
            array.flags.writeable = False


def _end_with_caller() -> None:
    """End this process when the caller's has ended: the queue between them does not tell, since both hold all of its ends."""
    caller = multiprocessing.parent_process()
    if caller is not None:
        wait([caller.sentinel])
        os._exit(1)


def _arrays_of(values: Any) -> Iterator[np.ndarray]:
    if isinstance(values, np.ndarray):
        yield values
    elif isinstance(values, StreamPool):
        tables: dict[int, Any] = {id(stream._table): stream._table for stream in values}  # type: ignore[attr-defined]
        yield from (
            array for table in tables.values() for column in table.columns.values() for array in _arrays_of(column)
        )
    elif sparse.issparse(values):
        yield values.data


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
        if str(type(obj).__module__).partition(".")[0] == "polars" and not isinstance(obj, type):
            raise ValueError(
                f"a task holds a {type(obj).__name__} of polars, whose threads are not there in the forked processes of "
                "backend='streamlearn-fork': use backend='loky', or give it as a pandas DataFrame or an array."
            )
        return super().persistent_id(obj)


class _Finding(pickle.Unpickler):
    def __init__(self, file: Any, number: int) -> None:
        super().__init__(file)
        self._data = _inherited[number]

    def persistent_load(self, name: int) -> Any:
        return self._data[name]
