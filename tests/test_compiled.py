"""What is compiled gives what NumPy gives, to the bit: a pass over every kind of pool, and a fit."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from sklearn.linear_model import SGDClassifier

from streamlearn import (
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    StreamingEstimator,
    StreamPool,
    _compiled,
    _stochastic,
    from_arrays,
    from_npy,
    from_parquet,
)

pytestmark = pytest.mark.skipif(
    _compiled.native is None, reason="there are no compiled loops: the package was installed without a compiler"
)
N_ROWS = 3000
X = np.arange(2.0 * N_ROWS).reshape(-1, 2)
y = np.arange(N_ROWS) % 3


def separate(X, y):
    cuts = [0, 40, 41, 700, 1500, N_ROWS]  # streams of few rows and of many have other kinds of permutations
    return StreamPool(
        [stream for a, b in itertools.pairwise(cuts) for stream in from_arrays(X[a:b].copy(), y[a:b].copy())]
    )


def short(X, y):
    cuts = np.cumsum([0, *[1, 2, 7, 14, 15, 16, 17, 40] * 15])  # orders of the shortest are kept
    return StreamPool([stream for a, b in itertools.pairwise(cuts.tolist()) for stream in from_arrays(X[a:b], y[a:b])])


def parquet(directory, **options):
    for i, part in enumerate(np.split(X, 4)):
        table = pa.table({"a": part[:, 0], "b": part[:, 1], "t": part[:, 0].astype(int) % 3})
        pq.write_table(table, directory / f"{i}.parquet", row_group_size=200)
    return from_parquet(str(directory), target="t", **options)


def npy(directory):
    for i, part in enumerate(np.split(X, 4)):
        np.save(directory / f"X{i}.npy", part)
        np.save(directory / f"y{i}.npy", y[: len(part)])
    return from_npy(str(directory / "X*.npy"), str(directory / "y*.npy"), block_rows=100)


POOLS = {
    "views": lambda directory: from_arrays(X, y, n_streams=7),
    "by class": lambda directory: from_arrays(X, y, by="y"),
    "separate": lambda directory: separate(X, y),
    "short": lambda directory: short(X, y),
    "single precision": lambda directory: separate(X.astype(np.float32), y.astype(np.int8)),
    "unshuffled": lambda directory: from_arrays(X, y, n_streams=7, shuffle=False),
    "texts": lambda directory: from_arrays(X.astype(int).astype(str), y, n_streams=3),
    "csr": lambda directory: from_arrays(sparse.csr_matrix(X), y, n_streams=7),
    "frames": lambda directory: separate(pd.DataFrame(X).to_numpy(), pd.Series(y).to_numpy()),
    "parquet": parquet,
    "parquet, windows": lambda directory: parquet(directory, window=300),
    "parquet, ahead": lambda directory: parquet(directory, prefetch=2),
    "npy": npy,
    "nested": lambda directory: StreamPool([StochasticMux(separate(X, y), 2, 9)] * 3),
}
MUXES = {
    "with_replacement": lambda pool: StochasticMux(pool, 3, 16, random_state=0),
    "weights": lambda pool: StochasticMux(pool, 2, 5, pool_weights=np.arange(1, len(pool) + 1), random_state=0),
    "single_active": lambda pool: StochasticMux(pool, 2, 16, mode="single_active", random_state=0),
    "single_active, capped": lambda pool: StochasticMux(
        pool, 3, 4, mode="single_active", pool_weights=[50] + [1] * (len(pool) - 1), random_state=0
    ),
    "exhaustive": lambda pool: StochasticMux(pool, 3, 16, mode="exhaustive", random_state=0),
    "once": lambda pool: StochasticMux(pool, 3, 16, mode="once", random_state=0),
    "shuffled": lambda pool: ShuffledMux(pool, random_state=0),
    "permuted cycle": lambda pool: RoundRobinMux(pool, mode="permuted_cycle", random_state=0),
}


def rows_of(mux):
    iterator = mux._start(None, (0,))
    found = []
    if iterator.takes:
        while len(found) < 60 and (taken := iterator.take(173)) is not None:
            parts, who = taken
            dense = parts["X"].toarray() if sparse.issparse(parts["X"]) else parts["X"]
            found.append((dense.copy(), parts["y"].copy(), who.copy()))
    else:  # muxes that are started one by one
        found = [(item["X"], np.asarray(item["y"])) for item in itertools.islice(iterator, 300)]
    iterator.close()
    return found


@pytest.mark.filterwarnings("ignore:pool_weights cannot hold")
@pytest.mark.filterwarnings("ignore:blocks are read again and again")
@pytest.mark.filterwarnings("ignore:.*cannot have a share above:UserWarning")
@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("mux", MUXES)
def test_rows_come_in_the_same_order_with_and_without_a_compiler(kind, mux, tmp_path, monkeypatch):
    if kind == "nested" and mux == "once":
        pytest.skip("muxes without end have no pass")
    pool = POOLS[kind](tmp_path)
    compiled = rows_of(MUXES[mux](pool))
    monkeypatch.setattr(_compiled, "native", None)
    plain = rows_of(MUXES[mux](pool))
    assert len(compiled) == len(plain) > 0
    for one, other in zip(compiled, plain, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("tries", [1, 2])
def test_streams_that_are_held_are_chosen_anew_with_and_without_a_compiler(tries, monkeypatch):
    """Nearly all streams are active, so that what is drawn is held most of the time."""
    monkeypatch.setattr(_stochastic, "_TRIES", tries)
    mux = StochasticMux(separate(X, y), 4, 2, mode="single_active", pool_weights=[2, 2, 2, 2, 1], random_state=0)
    compiled = rows_of(mux)
    monkeypatch.setattr(_compiled, "native", None)
    for one, other in zip(compiled, rows_of(mux), strict=True):
        np.testing.assert_array_equal(one[2], other[2])


@pytest.mark.parametrize("kind", ["views", "separate", "parquet"])
def test_a_model_is_the_same_with_and_without_a_compiler(kind, tmp_path, monkeypatch):
    pool = POOLS[kind](tmp_path)
    model = StreamingEstimator(SGDClassifier(), n_active=3, lam=16, classes=[0, 1, 2], random_state=0)
    compiled = model.fit(pool).coef_
    monkeypatch.setattr(_compiled, "native", None)
    np.testing.assert_array_equal(model.fit(pool).coef_, compiled)


class Interrupted:
    """The compiled loops, of which one call is followed by an interrupt, as one that takes long is likely to be."""

    def __init__(self, name, at):
        self._name, self._left = name, at

    def __getattr__(self, name):
        function = getattr(_compiled_loops, name)
        if name != self._name:
            return function

        def call(*args):
            result = function(*args)
            self._left -= 1
            if not self._left:
                raise KeyboardInterrupt
            return result

        return call


_compiled_loops = _compiled.native
MADE = {
    "flat": lambda: StochasticMux(from_arrays(X, y, n_streams=30), 5, 7, random_state=0),
    "short": lambda: StochasticMux(short(X, y), 5, 4, random_state=0),
    "exhaustive": lambda: StochasticMux(from_arrays(X, y, n_streams=30), 5, 7, mode="exhaustive", random_state=0),
    "distinct": lambda: StochasticMux(from_arrays(X, y, n_streams=30), 5, 7, mode="single_active", random_state=0),
    "nested": lambda: StochasticMux(
        [StochasticMux(from_arrays(X[i::3], y[i::3], n_streams=10), 3, 4.5) for i in range(3)], 2, 20, random_state=0
    ),
}


CALLED = {
    "flat": ("locate", "sort_slots", "begin_some", "put_together", "invert"),
    "short": ("locate",),
    "exhaustive": ("locate", "sort_slots", "end_visits"),
    "nested": (
        "locate",
        "sort_slots",
        "deal",
        "under_way",
        "begin_some",
        "put_together",
        "choose",
        "settle",
        "invert",
    ),
    "distinct": ("locate", "assign"),
}


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in CALLED.items() for name in names])
def test_an_interrupt_after_a_compiled_call_loses_nothing_and_gives_nothing_twice(kind, name, at, monkeypatch):
    def rest(running, n=40):
        taken = (running.take(64) for _ in range(n))
        return [np.empty(0) if parts is None else parts[0]["X"].copy() for parts in taken]

    whole = rest(MADE[kind]()._start(None, (0,)))
    running = MADE[kind]()._start(None, (0,))
    monkeypatch.setattr(_compiled, "native", Interrupted(name, at))
    found = []
    while len(found) < 12:
        try:
            found.extend(rest(running, 1))
        except KeyboardInterrupt:
            break
    monkeypatch.setattr(_compiled, "native", _compiled_loops)
    assert len(found) < 12  # there was an interrupt
    state, n = running.state_dict(), 40 - len(found)
    resumed = MADE[kind]()._start(None, (0,))
    resumed.load_state_dict(state)
    for one, other, third in zip(whole, found + rest(running, n), found + rest(resumed, n), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
