"""One candidate on one split."""

import numpy as np
import pytest
from sklearn.linear_model import SGDRegressor

from streamlearn import StreamingEstimator, from_arrays
from streamlearn._candidates import Data, Scorer, Work, advance, made

X = np.random.default_rng(0).normal(size=(60, 3))
y = X @ [1.0, 2.0, 3.0]


def test_rows_of_pools_are_streams_with_their_names():
    data = Data(from_arrays(X, y, n_streams=6), list("uvwxyz")).rows(np.array([4, 1]))
    assert data.X.names == ("4", "1")
    assert data.y == ["y", "v"]
    assert data.fit_params() == {}


def test_rows_of_arrays_take_their_weights_along():
    data = Data(X, y, np.arange(60.0)).rows(np.array([5, 3]))
    np.testing.assert_array_equal(data.X, X[[5, 3]])
    np.testing.assert_array_equal(data.fit_params()["sample_weight"], [5.0, 3.0])


@pytest.mark.parametrize("given", [None, 4, np.int64(4), np.random.RandomState(4)])
def test_what_is_made_has_a_seed_and_shares_nothing(given):
    inner = SGDRegressor()
    model = StreamingEstimator(SGDRegressor(), random_state=given)
    first, second = (made(model, {"lam": 2, "estimator": inner}, 9) for _ in range(2))
    assert first.random_state == second.random_state
    assert isinstance(first.random_state, (int, np.integer))
    assert first.random_state == {True: 9}.get(given is None, first.random_state)
    assert first.estimator is not inner
    assert (first.lam, model.lam) == (2, 256.0)


def test_a_step_goes_on_and_scores():
    pool = from_arrays(X, y, n_streams=6)
    splits = [(np.arange(4), np.arange(4, 6))]
    model = StreamingEstimator(SGDRegressor(), batch_size=5, n_passes=3, random_state=0)
    work = Work(model, Data(pool), splits, Scorer(None), 0, np.nan, True)
    first = advance(work, 0, {"lam": 2, "max_batches": 4}, None, True)
    second = advance(work, 0, {"lam": 2, "max_batches": 9}, first.paused, False)
    assert (first.n_batches, second.n_batches) == (4, 9)
    assert second.paused is None
    alone = made(model, {"lam": 2, "max_batches": 9}, 0).fit(pool[:4])
    assert second.scores == {"test": alone.score(pool[4:]), "train": alone.score(pool[:4])}
    assert second.fit_time > 0
    assert second.score_time > 0


def test_a_failure_leaves_nothing_to_go_on_with():
    work = Work(
        StreamingEstimator(SGDRegressor()), Data(X, y), [(np.arange(30), np.arange(30, 60))], Scorer(None), 0, -1, False
    )
    outcome = advance(work, 0, {"lam": 0.5, "max_batches": 4}, None, True)
    assert outcome.scores == {"test": -1}
    assert outcome.paused is None
    assert "'lam'" in outcome.error
    assert "Traceback" in outcome.trace
