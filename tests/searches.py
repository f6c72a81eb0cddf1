"""Searches that count their calls and can be stopped at any of them."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import KFold

from streamlearn import Streamer, StreamingEstimator, StreamPool, SuccessiveHalvingSearchCV, from_arrays

X, y = load_digits(return_X_y=True)
X, y = X[:400] / 16, y[:400]


class Stop(BaseException):
    pass


class Stopping(SGDClassifier):
    """Counts the calls of this process, and does something at one of them."""

    calls = 0
    at = None

    @staticmethod
    def action():
        raise Stop

    def partial_fit(self, *args, **kwargs):
        Stopping.calls += 1
        if Stopping.calls == Stopping.at:
            Stopping.action()
        return super().partial_fit(*args, **kwargs)


def items(start, stop, rng):
    for i in range(start, stop, 4):
        yield {"X": X[i : i + 4] + rng.normal(0, 0.01, (len(X[i : i + 4]), 64)), "y": y[i : i + 4]}


def arrays():
    return from_arrays(X, y, n_streams=8)


def generators():
    return StreamPool([Streamer(items, a, a + 50) for a in range(0, 400, 50)], names=list("ABCDEFGH"))


SPACE = {"lam": [2, 16], "n_active": [2, 4], "estimator__alpha": [1e-4, 1e-2, 1.0]}


def make(search=SuccessiveHalvingSearchCV, path=None, estimator=None, **settings):
    model = {"batch_size": 20, "n_passes": 9, "classes": range(10)}
    model = {name: settings.pop(name, value) for name, value in model.items()}
    settings = {
        "param_distributions": SPACE,
        "n_candidates": 8,
        "factor": 2,
        "min_resources": 3,
        "max_resources": 12,
        "cv": KFold(2),
        "random_state": 2,
        **settings,
    }
    return search(
        StreamingEstimator(Stopping() if estimator is None else estimator, **model), checkpoint=path, **settings
    )


def results(search):
    """All that must be the same, as bytes where it is numbers."""
    table = {name: column for name, column in search.cv_results_.items() if "time" not in name}
    shown = {name: str(column) if name.startswith("param") else column.tobytes() for name, column in table.items()}
    learned = {}
    if search.refit:
        best = search.best_estimator_
        learned = {k: v.tobytes() for k, v in vars(best.estimator_).items() if isinstance(v, np.ndarray)}
        learned["about"] = str([best.get_params()[k] for k in ("checkpoint", "resume", "random_state", "max_batches")])
        learned["counts"] = best.stream_counts_.tolist(), best.n_batches_
    return shown, search.best_params_, search.best_index_, search.n_batches_, learned


def calls_of(search, *data, at=None, **fit_params):
    """Fit, and return the number of ``partial_fit`` calls."""
    Stopping.calls, Stopping.at = 0, at
    try:
        search.fit(*data, **fit_params)
    finally:
        Stopping.at = None
    return Stopping.calls
