"""A run is saved between any two batches and goes on in another one, to the same model to the bit."""

import json
import pickle

import numpy as np
import pandas
import pytest
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays
from streamlearn import _estimator as module
from streamlearn._run import Run

X = np.random.default_rng(0).random((300, 4))
Y = (X.sum(axis=1) > 2).astype(int) + (X[:, 0] > 0.5)


def items(start, n, rng):
    while n > 0:
        rows = int(rng.integers(1, 8))
        at = slice(start, start + min(rows, n))
        yield {"X": X[at], "y": Y[at]}
        start, n = start + rows, n - rows


def reused(start, n):
    buffer = np.empty((1, 4))
    for i in range(start, start + n):
        buffer[:] = X[i]
        yield buffer, Y[i : i + 1]


def sparse_items(start, n):
    for i in range(start, start + n, 3):
        yield sparse.csr_matrix(X[i : i + 3]), Y[i : i + 3]


def frames(start, n):
    for i in range(start, start + n, 3):
        yield pandas.DataFrame(X[i : i + 3], columns=list("abcd")), Y[i : i + 3]


def weighted(start, n):
    for i in range(start, start + n, 5):
        yield X[i : i + 5], Y[i : i + 5], X[i : i + 5, 0]


def generators(function):
    return StreamPool([Streamer(function, i * 50, 45 + i) for i in range(6)])


POOLS = {
    "arrays": lambda: from_arrays(X, Y, n_streams=6),
    "items": lambda: generators(items),
    "a buffer used again": lambda: generators(reused),
    "sparse": lambda: generators(sparse_items),
    "frames": lambda: generators(frames),
    "weights": lambda: generators(weighted),
}
SETTINGS = {
    "pass": {},
    "three passes": {"n_passes": 3},
    "whole items": {"batch_size": None},
    "with replacement": {"mode": "with_replacement", "max_batches": 30},
    "single active": {"mode": "single_active", "max_batches": 30},
    "large batches": {"batch_size": 100, "n_passes": 2},
    "validation": {"validation": 0.2, "validation_every": 3, "n_passes": 2, "n_iter_no_change": 2},
    "prequential": {"validation": "prequential", "validation_every": 4, "scoring": "accuracy"},
}


class Saving:
    """A hook that saves the run after every batch, as text and pickles."""

    def __init__(self, saved):
        self.saved = saved

    def before(self, run, batch, counts):
        pass

    def after(self, run, batch, counts):
        hooks, run._hooks = run._hooks, run._hooks[:-1]
        self.saved.append((json.dumps(run.state_dict()), pickle.dumps(run.objects())))
        run._hooks = hooks
        return False

    def end(self, run):
        pass


def model(estimator=None, **settings):
    settings = {"n_active": 3, "lam": 4, "batch_size": 16, "classes": [0, 1, 2], "random_state": 3, **settings}
    return StreamingEstimator(SGDClassifier() if estimator is None else estimator, **settings)


def fitted(monkeypatch, estimator, make, data, saved=None, state=None):
    """Fit, saving all states on the way or beginning from one."""

    class Told(Run):
        def __init__(self, *args, hooks=(), **kwargs):
            super().__init__(*args, hooks=[*hooks, Saving(saved)] if saved is not None else hooks, **kwargs)

        def go(self):
            if state is not None:
                text, pickled = state
                objects = pickle.loads(pickled)
                self.trainer.estimator = objects["estimator"]
                self.load_state_dict(json.loads(text), objects)
            super().go()

    monkeypatch.setattr(module, "Run", Told)
    return make(estimator).fit(*data())


def what_is_known(fitted):
    known = {
        name: value
        for name, value in vars(fitted).items()
        if name.endswith("_") and not name.startswith("_") and name not in ("estimator_", "history_")
    }
    if hasattr(fitted, "history_"):
        known["history_"] = {name: column for name, column in fitted.history_.items() if name != "seconds"}
    data = pandas.DataFrame(X, columns=list("abcd")) if hasattr(fitted, "feature_names_in_") else X
    kinds = (np.ndarray, int, float, list)
    inner = {
        name: value
        for name, value in vars(fitted.estimator_).items()
        if name.endswith("_") and isinstance(value, kinds)
    }
    return pickle.loads(pickle.dumps([known, inner])), fitted.predict(data).tolist()


def assert_same(found, expected):
    np.testing.assert_equal(found[0], expected[0])
    assert found[1] == expected[1]


def check_all_states(monkeypatch, estimator, make, data, at_most=12):
    saved = []
    expected = what_is_known(fitted(monkeypatch, estimator, make, data, saved=saved))
    assert len(saved) > 2
    assert len({tuple(json.loads(text)) for text, _ in saved}) == 1
    for i in np.unique(np.linspace(0, len(saved) - 1, at_most).astype(int)).tolist():
        found = what_is_known(fitted(monkeypatch, estimator, make, data, state=saved[i]))
        assert_same(found, expected)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("pool", POOLS)
def test_a_run_goes_on_from_any_batch(monkeypatch, pool, settings):
    make = lambda estimator: model(estimator, **SETTINGS[settings])  # noqa: E731
    check_all_states(monkeypatch, SGDClassifier(), make, lambda: (POOLS[pool](),))


@pytest.mark.parametrize(
    "estimator", [GaussianNB(), MultinomialNB(), MLPClassifier((5,))], ids=lambda e: type(e).__name__
)
def test_a_run_of_other_estimators_goes_on(monkeypatch, estimator):
    check_all_states(monkeypatch, estimator, model, lambda: (POOLS["items"](),), 5)


def test_passes_over_arrays_that_stop_by_their_loss_go_on(monkeypatch):
    make = lambda estimator: StreamingEstimator(estimator, batch_size=50, random_state=0)  # noqa: E731
    check_all_states(monkeypatch, SGDClassifier(), make, lambda: (X, Y), 10)


def paused_and_continued(monkeypatch, pool, budgets, **settings):
    """Fit with a growing ``max_batches``, each time from the state where the last fit stopped."""
    last = []

    class Continued(Run):
        def go(self):
            if last:
                text, pickled = last.pop()
                objects = pickle.loads(pickled)
                self.trainer.estimator = objects["estimator"]
                self.load_state_dict(json.loads(text), objects)
            super().go()
            last.append((json.dumps(self.state_dict()), pickle.dumps(self.objects())))

    monkeypatch.setattr(module, "Run", Continued)
    for budget in budgets:
        fitted = model(max_batches=budget, **settings).fit(pool())
    return fitted


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("settings", ["three passes", "with replacement", "whole items"])
def test_a_larger_budget_goes_on_where_a_smaller_one_stopped(monkeypatch, pool, settings):
    chosen = {name: value for name, value in SETTINGS[settings].items() if name != "max_batches"}
    expected = what_is_known(model(max_batches=29, **chosen).fit(POOLS[pool]()))
    assert_same(what_is_known(paused_and_continued(monkeypatch, POOLS[pool], [3, 9, 29], **chosen)), expected)


def test_a_state_of_another_run_is_refused(monkeypatch):
    saved = []
    make = lambda estimator: model(estimator, validation=0.2)  # noqa: E731
    fitted(monkeypatch, SGDClassifier(), make, lambda: (POOLS["arrays"](),), saved=saved)
    with pytest.raises(ValueError, match="other validation or stopping rules"):
        fitted(monkeypatch, SGDClassifier(), model, lambda: (POOLS["arrays"](),), state=saved[0])
