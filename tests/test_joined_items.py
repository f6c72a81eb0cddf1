"""Items of several streams that cannot make one batch: errors that name both streams."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import GaussianNB

from streamlearn import Streamer, StreamingEstimator, StreamPool

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 2
W = np.ones(60)
FRAME = pd.DataFrame(X, columns=list("abc"))


def items(parts, form):
    for row in range(0, 60, 7):
        cut = tuple(part[row : row + 7] for part in parts)
        yield cut if form is tuple else dict(zip(["X", "y", "sample_weight"], cut, strict=False))


class Anything(BaseEstimator):
    def partial_fit(self, X, y=None, sample_weight=None):
        return self


def fitted(first, second, form=dict, inner=None, **kwargs):
    """Fit one stream after the other."""
    pool = StreamPool([Streamer(items, first, form), Streamer(items, second, form)], names=["one", "two"])
    inner = GaussianNB() if inner is None else inner
    classes = [0, 1] if isinstance(inner, GaussianNB) else None
    return StreamingEstimator(inner, classes=classes, n_active=1, lam=None, random_state=0, **kwargs).fit(pool)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((X, Y), (X[:, :2], Y), r"X has . features"),
        ((FRAME, Y), (FRAME[["a", "c"]], Y), "other columns"),
        ((X, Y), (X,), "there is no y, which GaussianNB must have"),
    ],
)
def test_items_that_are_not_joined(first, second, message):
    """What estimators take is theirs to say; streams are named all the same."""
    with pytest.raises(ValueError, match=message) as caught:
        fitted(first, second, batch_size=None)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "stream 'one' at position 0" in text or "stream 'two' at position 1" in text


@pytest.mark.parametrize(
    ("first", "second"),
    [((X, Y), (X.astype(np.float32), Y)), ((X, Y), (X.tolist(), Y.tolist())), ((X, Y, W), (X, Y.astype(float), W))],
)
@pytest.mark.parametrize("batch_size", ["auto", 16, None])
def test_items_that_can_be_joined(first, second, batch_size):
    model = fitted(first, second, batch_size=batch_size)
    assert model.n_samples_seen_ == 120
    np.testing.assert_allclose(model.theta_, GaussianNB().fit(X, Y).theta_, rtol=1e-6)


def test_empty_items_are_alike_to_all():
    pool = [Streamer([(X, Y), (np.empty((0, 7)), np.empty(0)), ([], []), (X, Y)])]
    assert StreamingEstimator(GaussianNB(), classes=[0, 1]).fit(pool).n_samples_seen_ == 120


def test_what_partial_fit_refuses_names_the_streams():
    bad = X.copy()
    bad[40] = np.nan
    with pytest.raises(ValueError, match="X has nan in row") as caught:
        fitted((X, Y), (bad, Y), batch_size=None)
    assert "given by stream 'two' at position 1" in caught.value.__notes__[-1]
    texts = StreamPool([Streamer([(["a text"], [0])])] * 7, names=list("abcdefg"))
    with pytest.raises(ValueError, match="2D array") as caught:
        StreamingEstimator(GaussianNB(), classes=[0, 1], batch_size=500, n_active=1, lam=None).fit(texts)
    assert caught.value.__notes__[-1].endswith(" and 4 others")
