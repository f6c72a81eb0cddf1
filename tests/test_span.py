import gc
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlearn import StochasticMux, StreamPool, from_arrays
from streamlearn._span import Span

DTYPES = [np.float64, np.float32, np.int8, np.int64, np.bool_, np.complex128, "<U5", "S3", "M8[ns]", ">f8"]


def arrays_of(rng, dtype, n_arrays, shape):
    made = []
    for _ in range(n_arrays):
        values = rng.integers(0, 100, (int(rng.integers(1, 9)), *shape))
        # in larger arrays, from anywhere, so that addresses have no common alignment
        room = np.empty((values.size + 7) * np.dtype(dtype).itemsize + 7, np.uint8)
        offset = int(rng.integers(0, 8)) if np.dtype(dtype).itemsize == 1 else 0
        part = room[offset : offset + values.size * np.dtype(dtype).itemsize].view(dtype).reshape(values.shape)
        part[...] = values.astype(dtype)
        made.append(part)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES),
    n_arrays=st.integers(1, 6),
    shape=st.sampled_from([(), (1,), (3,), (2, 3), (7,)]),
)
def test_takes_what_a_loop_over_the_arrays_takes(way, seed, dtype, n_arrays, shape):
    rng = np.random.default_rng(seed)
    arrays = arrays_of(rng, dtype, n_arrays, shape)
    assert Span.fits(arrays)
    span = Span(arrays)
    which = rng.integers(0, n_arrays, 30)
    rows = np.array([rng.integers(0, len(arrays[i])) for i in which])
    taken = span.take(span.bases[which] + rows * span.step)
    expected = np.array([arrays[i][row] for i, row in zip(which, rows, strict=True)], dtype)
    assert taken.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(taken, expected)
    assert taken.flags.writeable
    assert not any(np.shares_memory(taken, array) for array in arrays)


def test_it_keeps_the_arrays_alive():
    arrays = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    alive = [weakref.ref(array) for array in arrays]
    span = Span(arrays)
    del arrays
    gc.collect()
    assert all(reference() is not None for reference in alive)
    np.testing.assert_array_equal(span.take(span.bases + span.step), [[2, 3], [2, 3]])


@pytest.mark.parametrize(
    "arrays",
    [
        [np.ones((2, 2)), np.ones((2, 2), np.float32)],
        [np.ones((2, 2)), np.ones((2, 3))],
        [np.ones((2, 4))[:, :2], np.ones((2, 2))],
        [np.ones((4, 2))[::2], np.ones((2, 2))],
        [np.asfortranarray(np.ones((2, 2)))] * 2,
        [np.ones((0, 2)), np.ones((2, 2))],
        [np.array(["a", None], object), np.array([1, 2], object)],
        [[1.0, 2.0], [3.0]],
        [np.ma.masked_equal(np.ones((2, 2)), 1)] * 2,
        [np.zeros(28, np.uint8)[4:].view(np.float64), np.ones(3)],
        [np.zeros((2, 3, 2**13)), np.zeros((2, 3, 2**13))],
    ],
)
def test_refuses_what_does_not_lie_row_after_row(arrays):
    assert not Span.fits(arrays)


def mixed(arrays, targets):
    pool = StreamPool([stream for X, y in zip(arrays, targets, strict=True) for stream in from_arrays(X, y)])
    mux = StochasticMux(pool, 3, 4, mode="exhaustive", random_state=0)
    return [(item["X"].tolist(), item["y"].tolist()) for item in mux]


def test_a_mux_gives_the_same_items_from_arrays_that_fit_and_that_do_not():
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, 3)) for n in (4, 1, 30, 7)]
    targets = [rng.integers(0, 5, len(X)) for X in arrays]
    strided = [np.repeat(X, 2, axis=0)[::2] for X in arrays]
    assert not Span.fits(strided)
    assert mixed(arrays, targets) == mixed(strided, targets)


def test_a_mux_reads_memory_maps_that_fit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, 3)) for n in (4, 9)]
    targets = [np.arange(len(X)) for X in arrays]
    mapped = []
    for i, X in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", X)
        mapped.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    assert Span.fits(mapped)
    assert mixed(mapped, targets) == mixed(arrays, targets)
