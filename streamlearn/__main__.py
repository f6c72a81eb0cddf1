"""The main job: from noisy streams of iris to a searched estimator, in under a minute. Run ``python -m streamlearn``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import streamlearn
from streamlearn import _compiled

SIGMAS = [0.5, 1.0, 2.0, 4.0]


def noisy_samples(
    X: np.ndarray, Y: np.ndarray, batch_size: int = 16, sigma: float = 1.0, rng: Any = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of samples with Gaussian noise of width ``sigma``, without end."""
    rng = np.random.default_rng(rng)
    while True:
        rows = rng.integers(0, len(X), batch_size)
        yield {"X": X[rows] + rng.normal(0.0, sigma, (batch_size, X.shape[1])), "Y": Y[rows]}


class Progress:
    """Lines that say what is being done, and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._n = 0

    def __call__(self, text: str) -> None:
        self._n += 1
        print(f"\n[{self._n}/4 | {time.monotonic() - self._began:4.1f} s] {text}", flush=True)


def learner(X_train: np.ndarray, Y_train: np.ndarray, X_test: np.ndarray, Y_test: np.ndarray) -> None:
    """Mix running generators, two of four alive at a time, and learn from 1000 batches of 16."""
    classes = np.unique(Y_train)
    model = streamlearn.StreamLearner(SGDClassifier(average=True, random_state=0), max_batches=1000)
    streams = [noisy_samples(X_train, Y_train, sigma=sigma, rng=i) for i, sigma in enumerate(SIGMAS)]
    batch_stream = streamlearn.mux(streams, 1000, 2, lam=16, random_state=0)
    model.iter_fit(batch_stream, classes=classes)
    print(f"    {model.n_batches_} batches, test accuracy {model.score(X_test, Y_test):.3f}")


def estimator(X_train: np.ndarray, Y_train: np.ndarray, X_test: np.ndarray, Y_test: np.ndarray) -> Any:
    """Do the same with a scikit-learn estimator, which builds the mux itself."""
    model = streamlearn.StreamingEstimator(
        SGDClassifier(average=True),
        streams=streamlearn.StreamFactory(noisy_samples, sigma=SIGMAS),
        n_active=2,
        lam=16,
        mode="single_active",
        batch_size=None,
        max_batches=1000,
        random_state=0,
        verbose=1,
    )
    model.fit(X_train, Y_train)
    print(f"    {model.n_batches_} batches, test accuracy {model.score(X_test, Y_test):.3f}")
    counts = ", ".join(f"{sigma}: {n}" for sigma, n in zip(SIGMAS, model.stream_counts_, strict=True))
    print(f"    samples of each sigma: {counts}")
    return model


def search(model: Any, X_train: np.ndarray, Y_train: np.ndarray, X_test: np.ndarray, Y_test: np.ndarray) -> None:
    """Search settings of the mux, the streams and the estimator together; scores are on clean data."""
    grid = {
        "lam": [4, 64],
        "n_active": [1, 4],
        "pool_weights": [None, [8, 4, 2, 1]],
        "streams__sigma": [[0.25, 0.5, 1.0, 2.0], SIGMAS],
        "estimator__alpha": [1e-4, 1e-3],
    }
    model = model.set_params(mode="with_replacement", max_batches=200, verbose=0)
    found = GridSearchCV(model, grid, cv=3).fit(X_train, Y_train)
    results = found.cv_results_
    order = np.argsort(results["rank_test_score"], kind="stable")
    print(f"    {len(order)} candidates; the best three and the worst:")
    print(f"    {'score':>7} {'lam':>4} {'n_active':>8} {'pool_weights':>13} {'streams__sigma':>22} {'alpha':>7}")
    for i in [*order[:3], order[-1]]:
        p = results["params"][i]
        print(
            f"    {results['mean_test_score'][i]:7.3f} {p['lam']:4} {p['n_active']:8} {p['pool_weights']!s:>13} "
            f"{p['streams__sigma']!s:>22} {p['estimator__alpha']:7}"
        )
    print(f"    test accuracy of the best {found.score(X_test, Y_test):.3f}")


def digits() -> None:
    """Learn digits that lie sorted by class: a stream for each, mixed as samples."""
    X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    model = make_pipeline(
        StandardScaler(),
        streamlearn.StreamingEstimator(
            SGDClassifier(alpha=1e-3),
            streams=partial(streamlearn.from_arrays, by="y"),
            n_active=5,
            lam=16,
            batch_size=64,
            n_passes=5,
            random_state=0,
            verbose=1,
        ),
    ).fit(X_train, y_train)
    print(f"    samples of each class: {model[-1].stream_counts_.tolist()}")
    print(f"    test accuracy {model.score(X_test, y_test):.3f}")


def main() -> int:
    way = "compiled loops" if _compiled.native is not None else "NumPy alone, since there was no C compiler"
    print(f"streamlearn {streamlearn.__version__}, {way}")
    progress = Progress()
    X, Y = load_iris(return_X_y=True)
    X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0, stratify=Y)
    data = (X_train, Y_train, X_test, Y_test)
    progress("iris, four noisy generators mixed two at a time: StreamLearner")
    learner(*data)
    progress("the same streams: StreamingEstimator")
    model = estimator(*data)
    progress("GridSearchCV over the mux, the streams and the estimator")
    search(model, *data)
    progress("digits, a stream for each class")
    digits()
    return 0


if __name__ == "__main__":
    sys.exit(main())
