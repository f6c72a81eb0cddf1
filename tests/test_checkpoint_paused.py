"""A fit with validation that a budget paused, and that goes on from its checkpoint."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier

from streamlearn import StreamingEstimator, from_arrays


@pytest.mark.parametrize("validation", [0.3, "prequential"])
@pytest.mark.parametrize("n_iter_no_change", [None, 3])
def test_a_fit_that_a_budget_paused_goes_on_as_if_it_had_not(tmp_path, validation, n_iter_no_change):
    """The score that is taken where it stops is none of the fit that goes on."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    pool = from_arrays(X, (X[:, 0] + rng.normal(size=600) > 0).astype(int), n_streams=6)
    fit = StreamingEstimator(
        SGDClassifier(), batch_size=10, n_passes=6, validation=validation, validation_every=10,
        n_iter_no_change=n_iter_no_change, random_state=0,
    )  # fmt: skip
    whole = clone(fit).fit(pool)
    for n in range(5, 40, 3):
        paused = clone(fit).set_params(checkpoint=str(tmp_path / f"{n}.checkpoint"), max_batches=n).fit(pool)
        assert paused.history_["batch"][-1] == paused.n_batches_
        resumed = clone(fit).set_params(checkpoint=str(tmp_path / f"{n}.checkpoint"), resume=True).fit(pool)
        assert resumed.n_batches_ == whole.n_batches_
        np.testing.assert_array_equal(resumed.coef_, whole.coef_)
        for column in ("batch", "score", "n_scored", "stream_counts"):
            assert resumed.history_[column] == whole.history_[column]
