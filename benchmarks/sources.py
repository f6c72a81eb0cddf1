"""Reading Parquet through a mux, against reading it by hand; memory, many files, and sources that take their time."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import SGDClassifier

from streamlearn import StochasticMux, StreamingEstimator, StreamPool, from_parquet
from streamlearn._blocks import BlockSource, BlockStream

from ._harness import Row, compare
from .memory import measured

MEMORY = """
import json, sys, threading
import numpy as np
from streamlearn import StochasticMux, from_parquet
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024
pool = from_parquet(sys.argv[1], target="label")
pool[0]._source.read(0)
before = highest = anonymous()
stop = threading.Event()
def watch():
    global highest
    while not stop.wait(0.002):
        highest = max(highest, anonymous())
thread = threading.Thread(target=watch)
thread.start()
iterator = StochasticMux(pool, 8, None, mode="exhaustive", random_state=0)._start(None, (0,))
while iterator.take(1024) is not None:
    pass
stop.set()
thread.join()
print(json.dumps(highest - before))
"""

N_FILES, N_FEATURES, ROW_GROUP, BATCH, N_ACTIVE = 64, 20, 8192, 1024, 8
READING = (
    "Ours: an exhaustive shuffled pass, lam=None, batches of 1024. By hand: pyarrow.parquet.read_table (its threads on) and "
    "numpy.column_stack, file after file, unshuffled."
)
TRAINING = "SGDClassifier.partial_fit on batches of 1024; by hand and by dask in file order, unshuffled."


def write(directory: Path, n_rows: int, n_files: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(N_FEATURES)
    directory.mkdir(exist_ok=True)
    for i in range(n_files):
        X = rng.standard_normal((n_rows // n_files, N_FEATURES))
        columns = {f"f{j}": X[:, j] for j in range(N_FEATURES)}
        table = pa.table({**columns, "label": (X @ weights > 0).astype(int)})
        pq.write_table(table, directory / f"{i:05}.parquet", row_group_size=ROW_GROUP)


def by_hand(directory: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in sorted(directory.glob("*.parquet")):
        table = pq.read_table(path)
        X = np.column_stack([table[name].to_numpy() for name in table.column_names[:-1]])
        yield X, table["label"].to_numpy()


def drain(pool: StreamPool, n_active: int = N_ACTIVE) -> None:
    mux = StochasticMux(pool, n_active, None, mode="exhaustive", random_state=0)
    iterator = mux._start(None, (0,))
    while iterator.take(BATCH) is not None:
        pass


def read_by_hand(directory: Path) -> None:
    for _ in by_hand(directory):
        pass


def train(pool: StreamPool) -> None:
    StreamingEstimator(
        SGDClassifier(), n_active=N_ACTIVE, lam=None, batch_size=BATCH, classes=[0, 1], random_state=0
    ).fit(pool)


def train_by_hand(directory: Path) -> None:
    model = SGDClassifier()
    for X, y in by_hand(directory):
        for start in range(0, len(X), BATCH):
            model.partial_fit(X[start : start + BATCH], y[start : start + BATCH], classes=[0, 1])


def train_dask(directory: Path) -> None:
    import dask.dataframe as dd
    from dask_ml.wrappers import Incremental

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = dd.read_parquet(directory)
        array = frame.to_dask_array(lengths=True)
        X, y = array[:, :N_FEATURES].rechunk((BATCH, -1)), array[:, N_FEATURES].rechunk(BATCH)
        Incremental(SGDClassifier()).fit(X, y, classes=[0, 1])


class Slow(BlockSource):
    """A block of 256 rows that takes 5 ms."""

    parts = ("X", "y")

    def __init__(self, name: str, n_blocks: int) -> None:
        self.name = name
        self._rows = np.full(n_blocks, 256)

    def rows(self) -> np.ndarray:
        return self._rows

    def read(self, block: int) -> dict[str, Any]:
        time.sleep(0.005)
        return {"X": np.zeros((256, 2)), "y": np.zeros(256)}


def slowly(n_blocks: int) -> Callable[[], None]:
    pool = StreamPool([BlockStream(Slow(f"s{i}", n_blocks // 8), prefetch=2) for i in range(8)])

    def run() -> None:
        iterator = StochasticMux(pool, 4, None, mode="exhaustive", random_state=0)._start(None, (0,))
        while iterator.take(256) is not None:
            time.sleep(0.005)

    return run


def single(name: str, value: float, limit: float, bar: str, unit: str, work: str) -> Row:
    return Row(name, value / limit, value / limit, value / limit, bar, value, limit, unit, work)


def rows(quick: bool) -> Iterator[Row]:
    n, n_files = (250_000, 8) if quick else (2_000_000, N_FILES)
    repeats = 3 if quick else 5
    with tempfile.TemporaryDirectory() as temporary:
        directory, tenfold, many = (Path(temporary) / name for name in ("data", "tenfold", "many"))
        write(directory, n, n_files)
        for group_by in ("file", "row_group"):
            for prefetch, bar in ((0, "<=1.3"), (2, "<=1.0")):
                pool = from_parquet(directory, target="label", group_by=group_by, prefetch=prefetch)
                yield compare(
                    f"reading / by hand: by {group_by}, prefetch={prefetch}",
                    lambda pool=pool: drain(pool),
                    lambda: read_by_hand(directory),
                    bar=bar,
                    work=READING,
                    n_ours=n,
                    repeats=repeats,
                )
        pool = from_parquet(directory, target="label", prefetch=2)
        ours: dict[str, Any] = {"n_ours": n, "repeats": repeats, "work": TRAINING}
        yield compare("training / by hand", lambda: train(pool), lambda: train_by_hand(directory), bar="<=1.1", **ours)
        try:
            import dask_ml  # noqa: F401

            yield compare("training / dask-ml", lambda: train(pool), lambda: train_dask(directory), bar="<=0.7", **ours)
        except ImportError:
            pass

        held = (N_ACTIVE + 1) * ROW_GROUP * (N_FEATURES + 1) * 8 + BATCH * (N_FEATURES + 1) * 8
        once = measured(MEMORY, str(directory))
        yield single(
            "peak memory / (active row groups + window + batch)",
            once,
            held / 2**20,
            "<=3",
            "MB",
            "Anonymous memory of a process of its own, beyond that after importing, making the pool and reading a row group.",
        )
        write(tenfold, 10 * n // (4 if quick else 1), 10 * n_files)
        long = measured(MEMORY, str(tenfold))
        yield single("peak memory, ten times as long / once", long, once, "<=1.1", "MB", "The same.")

        n_many = 1000 if quick else 10_000
        write(many, n_many, n_many)
        began = time.perf_counter()
        pool = from_parquet(many, target="label")
        yield single(f"{n_many} files: seconds to build", time.perf_counter() - began, 2.0, "<=1", "s", "No pass.")
        process, highest = psutil.Process(), 0
        before = process.num_fds()
        iterator = StochasticMux(pool, N_ACTIVE, None, mode="exhaustive", random_state=0)._start(None, (0,))
        for _ in range(20):
            iterator.take(16)
            highest = max(highest, process.num_fds() - before)
        iterator.close()
        yield single(f"{n_many} files: handles", highest, N_ACTIVE + 10, "<=1", "", "Files open in a pass.")

    n_blocks = 160 if quick else 640
    yield compare(
        "5 ms per block, 5 ms per batch / the longer",
        slowly(n_blocks),
        lambda: time.sleep(0.005 * n_blocks),
        bar="<=1.15",
        work="Blocks and batches of 256 rows, prefetch=2; the other side sleeps for as long as all batches take.",
        n_ours=n_blocks,
        repeats=3,
        unit="ms/block",
        scale=1e3,
    )
