"""Anonymous memory of mixing memory-mapped arrays, and of a grid search with two workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ._harness import Row

MAPPED = """
import json, sys
import numpy as np
from streamlearn import StochasticMux, StreamPool, from_arrays
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024
folder, n_files, n_batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
paths = [f"{folder}/{i}.npy" for i in range(n_files)]
pool = sum((from_arrays(np.load(p, mmap_mode="r")) for p in paths[1:]), from_arrays(np.load(paths[0], mmap_mode="r")))
iterator = StochasticMux(pool, 8, 16, random_state=0)._start(None, (0,))
iterator.take(256)
peak = 0.0
for i in range(n_batches):
    iterator.take(256)
    if i % 50 == 0:
        peak = max(peak, anonymous())
print(json.dumps(peak))
"""

SEARCH = """
import json, sys, threading, time
import joblib, numpy as np, psutil
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from streamlearn import StreamingEstimator, from_arrays
rng = np.random.default_rng(0)
X = rng.random((2_500_000, 20)); y = (X[:, 0] > 0.5).astype(int)
pool = from_arrays(X, y, n_streams=50)
peak, done = 0, threading.Event()
def watch():
    global peak
    me = psutil.Process()
    while not done.is_set():
        total = 0
        for p in [me, *me.children(recursive=True)]:
            try:
                total += p.memory_full_info().pss
            except psutil.Error:
                pass
        peak = max(peak, total)
        time.sleep(0.05)
thread = threading.Thread(target=watch); thread.start()
model = StreamingEstimator(SGDClassifier(), max_batches=50, classes=[0, 1], random_state=0)
grid = {"lam": [16, 256], "n_active": [4, 8], "estimator__alpha": [1e-5, 1e-4, 1e-3, 1e-2]}
search = GridSearchCV(model, grid, cv=5, n_jobs=int(sys.argv[1]), error_score="raise")
with joblib.parallel_config(backend=sys.argv[2]):
    search.fit(pool)
done.set(); thread.join()
print(json.dumps(peak / 2**20))
"""


def measured(code: str, *arguments: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def rows(quick: bool) -> Iterator[Row]:
    import numpy as np

    n_files, n_rows = (16, 400_000) if quick else (64, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n_files):
            # sparse files: they take address space and page cache, as any file, but next to no disk
            np.lib.format.open_memmap(Path(folder) / f"{i}.npy", "w+", np.float64, (n_rows, 20)).flush()
        peak = measured(MAPPED, folder, str(n_files), "500" if quick else "4000")
    size = n_files * n_rows * 160 / 1e9
    yield Row(
        f"anonymous memory, {size:.1f} GB mapped",
        peak,
        peak,
        peak,
        "<=200 MB",
        peak,
        0.0,
        "MB",
        "Mixing memory-mapped arrays, the whole process with scikit-learn imported.",
    )
    if quick:
        return
    one = measured(SEARCH, "1", "loky")
    for backend, workers in (("streamlearn-fork", "forked"), ("loky", "loky"), ("threading", "threads")):
        two = measured(SEARCH, "2", backend)
        yield Row(
            f"grid search memory, n_jobs=2 ({workers}) / n_jobs=1",
            two / one,
            two / one,
            two / one,
            "<=1.5",
            two,
            one,
            "MB",
            "16 candidates x 5 folds on a pool of 400 MB in memory; proportional set size of all processes together.",
        )
