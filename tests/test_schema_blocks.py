"""Input that lies in blocks, files and arrays: the row is named."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from streamlearn import (
    StochasticMux,
    StreamingEstimator,
    StreamPool,
    from_arrays,
    from_npy,
)
from streamlearn._blocks import BlockSource, BlockStream
from tests.lies import Keeping, said, with_value

RNG = np.random.default_rng(0)


class Blocks(BlockSource):
    """Blocks of five rows."""

    def __init__(self, name, blocks):
        self.name = name
        self.blocks = blocks
        self.parts = tuple(blocks[0])

    def rows(self):
        return np.array([len(block["y"]) for block in self.blocks])

    def read(self, block):
        return self.blocks[block]


def blocks(start, change=None):
    made = []
    for i in range(start, start + 4):
        X = np.column_stack([np.full(5, float(i)), np.arange(10.0).reshape(5, 2)])
        made.append({"X": X, "y": np.arange(5) % 2, "sample_weight": np.ones(5)})
    if change is not None:
        made[2] = {**made[2], **change(*made[2].values())}
    return made


# name: (change of a block, what the message says, whether it names the row)
BLOCK_LIES = {
    "a NaN": (lambda X, y, w: {"X": with_value(X, np.nan, (3, 1))}, "X has nan in row 3 of block 2, feature 1, which"),
    "an infinity": (lambda X, y, w: {"X": with_value(X, np.inf, (3, 1))}, "X has inf in row 3 of block 2, feature 1"),
    "a NaN among targets": (lambda X, y, w: {"y": with_value(y, np.nan, 3)}, "y has nan in row 3 of block 2"),
    "a negative weight": (lambda X, y, w: {"sample_weight": with_value(w, -1.0, 3)}, "has -1.0 in row 3 of block 2"),
    "a feature more": (
        lambda X, y, w: {"X": np.column_stack([X, X])},
        r"X has rows of shape \((3|6),\) .* but of shape",
    ),
    "three dimensions": (lambda X, y, w: {"X": X[:, :, None]}, r"X has rows of shape \(3"),
    "texts": (lambda X, y, w: {"X": X.astype(str)}, "X has rows of .* no number"),
    "targets as text": (lambda X, y, w: {"y": y.astype(str)}, "y has rows of .* no number"),
    "more targets": (lambda X, y, w: {"y": np.append(y, 0)}, "X has 5 rows where 6"),
    "a DataFrame": (lambda X, y, w: {"X": pd.DataFrame(X)}, "a DataFrame"),
}


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("way", ["pool", "mux", "stream"])
@pytest.mark.parametrize("lie", BLOCK_LIES)
def test_a_lie_in_blocks(lie, way, prefetch):
    change, message = BLOCK_LIES[lie]
    sources = [Blocks("good", blocks(0)), Blocks("bad", blocks(4, change))]
    pool = StreamPool([BlockStream(source, prefetch=prefetch) for source in sources], names=["good", "bad"])
    model = StreamingEstimator(Keeping(), classes=[0, 1], batch_size=4, random_state=0)
    fit = {
        "pool": lambda: model.fit(pool),
        "mux": lambda: model.iter_fit(StochasticMux(pool, 2, 3, mode="exhaustive", random_state=0)),
        "stream": lambda: model.iter_fit(pool[1]),
    }[way]
    if way == "stream":  # its samples come one by one
        message = message.replace("row 3 of block 2", "row 0")
    with pytest.raises(ValueError, match=message) as caught:
        fit()
    text = said(caught.value)
    assert "stream 'bad'" in text or (way == "stream" and "stream 'iter_fit', item" in text)
    for X in model.estimator_.given_ if hasattr(model.estimator_, "given_") else []:
        assert X.shape[1] == 3
        assert np.isfinite(X).all()


def test_where_a_row_of_arrays_lies():
    X, y = RNG.normal(size=(60, 3)), np.arange(60) % 3
    X[47, 2] = np.nan
    model = StreamingEstimator(GaussianNB(), batch_size=8, random_state=0)
    for by in (np.arange(60) % 4, None):
        with pytest.raises(ValueError, match="X has nan in row 47 of the arrays, feature 2") as caught:
            model.fit(from_arrays(X, y, by=by, n_streams=None if by is not None else 4))
        assert "stream '3' at position 3" in said(caught.value)


def test_a_file_that_has_changed(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((20, 3)))
    pool = from_npy(f"{tmp_path}/*.npy")
    np.save(tmp_path / "b.npy", np.ones((20, 4)))
    with pytest.raises(ValueError) as caught:
        StreamingEstimator(StandardScaler(), random_state=0).fit(pool)
    assert "b.npy" in said(caught.value)
    assert "4" in said(caught.value)


def ints_and_floats(n, change):
    """Two tables of several batches each, one of ints, whose last row is changed once it is one of floats."""
    X, y = np.arange(2.0 * n).reshape(n, 2) % 3, np.arange(n) % 2
    others = X.copy(), y.astype(float)
    change(*others)
    return [(X.astype(np.int64), y), (others[0], others[1] if np.isnan(others[1]).any() else y)]


def late_nan(X, y):
    X[-1, 1] = np.nan


def late_target(X, y):
    y[-1] = np.nan


def in_turn(change, seed):
    """An estimator that reads tables one after another, and does not look at what was found finite."""
    inner, classes = (SGDRegressor(shuffle=False), None) if change is late_target else (GaussianNB(), [0, 1])
    return StreamingEstimator(
        inner, n_active=1, lam=None, batch_size=32, classes=classes, n_passes=1, random_state=seed
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("change", "message"), [(late_nan, "X has nan in row 8191 of rows"), (late_target, "y has nan in row 8191 of rows")]
)
def test_the_last_row_of_a_block_of_another_kind_than_the_first_one(tmp_path, change, message, seed):
    for i, (X, y) in enumerate(ints_and_floats(65536, change)):
        np.save(tmp_path / f"X{i}.npy", X)
        np.save(tmp_path / f"y{i}.npy", y)
    pool = from_npy(str(tmp_path / "X*.npy"), str(tmp_path / "y*.npy"), shuffle=False)
    model = in_turn(change, seed)
    with pytest.raises(ValueError, match=message):
        model.fit(pool)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("change", "message"), [(late_nan, "X has nan in row"), (late_target, "y has nan in row")])
def test_the_last_row_of_an_array_of_another_kind_than_the_first_one(change, message, seed):
    arrays = ints_and_floats(100_000, change)
    pool = StreamPool([stream for X, y in arrays for stream in from_arrays(X, y, shuffle=False)])
    model = in_turn(change, seed)
    with pytest.raises(ValueError, match=message):
        model.fit(pool)


@pytest.mark.parametrize("seed", range(4))
def test_a_value_that_single_precision_cannot_hold_at_the_end_of_an_array(seed):
    X, y = np.arange(200_000.0).reshape(-1, 2) % 3, np.arange(100_000) % 2
    wide = X.copy()
    wide[-1, 0] = 1e39
    parts = (X.astype(np.float32), wide)
    pool = StreamPool([stream for part in parts for stream in from_arrays(part, y, shuffle=False)])
    model = in_turn(None, seed)
    first = int(clone(model).set_params(max_batches=1).fit(pool).stream_counts_.argmax())
    if first == 1:  # its kind is that of all
        model.fit(pool)
        return
    with pytest.raises(ValueError, match=r"1e\+39 in row 99999 .* which is too large for float32"):
        model.fit(pool)
