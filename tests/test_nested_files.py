"""Muxes of muxes of files: planned together, their blocks are read once, and only when they are due."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from streamlearn import (
    RoundRobinMux,
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
)
from streamlearn._block_reader import BlockReader
from tests.failing import Numbers, block_pool, reading_together
from tests.nested_muxes import rows_of


def file_muxes(n=3, prefetch=0, bad=(), **settings):
    """Muxes of four streams of three blocks; of the first stream some are bad."""
    return [
        StochasticMux(
            block_pool([Numbers(4 * i + j, [5, 4, 6], () if i + j else bad) for j in range(4)], prefetch, True),
            2,
            3,
            **settings,
        )
        for i in range(n)
    ]


def test_blocks_of_files_are_read_once_for_all_visits():
    iterator = StochasticMux(file_muxes(), 2, 6, random_state=0)._start(None, (0,))
    rows = np.concatenate([iterator.take(400)[0]["X"] for _ in range(20)]).astype(int)
    for stream in range(12):
        places = rows[rows[:, 0] == stream, 1]
        passes = [places[i : i + 15] for i in range(0, len(places) - 14, 15)]
        assert len(passes) > 20
        assert all(sorted(one) == list(range(15)) for one in passes)
    read, needed = iterator.blocks
    assert read == needed
    iterator.close()


@pytest.mark.parametrize("prefetch", [1, 2])
def test_files_give_the_same_samples_with_any_number_of_threads(prefetch):
    def taken(n_threads):
        iterator = StochasticMux(file_muxes(prefetch=n_threads), 2, 6, random_state=0)._start(None, (0,))
        batches = [iterator.take(size)[0]["X"] for size in (100, 1000, 7, 9000)]
        iterator.close()
        return np.concatenate(batches)

    np.testing.assert_array_equal(taken(prefetch), taken(0))


def test_files_in_muxes_are_read_two_at_a_time():
    threads = set()

    class Noting(Numbers):
        def read(self, block):
            threads.add(threading.get_ident())
            time.sleep(0.001)
            return super().read(block)

    muxes = [StochasticMux(block_pool([Noting(k, [500] * 4) for i in range(8)]), 4, 64) for k in range(4)]
    with reading_together():
        rows_of(StochasticMux(muxes, 3, 256), 40_000)
    assert len(threads) == 2  # this one, and that which reads beside


def test_a_block_that_cannot_be_read_is_named():
    stream = StochasticMux(file_muxes(bad=(1,)), 2, 6, random_state=0)
    with pytest.raises(OSError, match="block 1 is damaged") as caught:
        list(stream.generate(2000))
    assert any("s0" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("where", ["outer", "inner", "above"])
def test_a_file_that_fails_is_set_aside_by_the_mux_that_holds_it(where):
    skip = {"on_error": "skip"}
    pool = file_muxes(bad=(0, 1, 2), **(skip if where == "inner" else {}))
    stream = StochasticMux(pool, 2, 6, random_state=0, **(skip if where == "outer" else {}))
    if where == "above":
        stream = RoundRobinMux([stream, Streamer(lambda: iter([{"X": np.zeros(2)}] * 9))], **skip)
    items = stream.generate(3000)
    with pytest.warns(UserWarning, match="failed and was set aside|starts anew at each visit") as told:
        rows = {tuple(item["X"].tolist()) for item in items}
    messages = [str(warning.message) for warning in told]
    assert any(re.match(r"1 stream failed and was set aside: '[^']*s0' after 0 items", message) for message in messages)
    assert any("starts anew at each visit" in message for message in messages) == (where != "above")
    table = items.stream_errors
    assert [name.split("/")[-1] for name in table["name"]] == ["s0"]
    given = {number for number, _ in rows}
    assert 0 not in given or where == "above"  # whose generator gives zeros
    assert given >= set(range(1, 12))


@pytest.mark.parametrize("outer", [{}, {"mode": "single_active"}, {"lam": None}, {"mode": "exhaustive"}])
@pytest.mark.parametrize("inner", [{}, {"random_state": 0}])
def test_muxes_of_files_that_start_anew_at_each_visit_warn_once(outer, inner):
    stream = StochasticMux(file_muxes(**inner), **{"n_active": 2, "lam": 6, "random_state": 0, **outer})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            assert len(list(stream.generate(100))) == 100
    expected = bool(inner) and "lam" not in outer and outer.get("mode") != "exhaustive"
    assert ["the stream at position 0 is a mux of files" in str(warning.message) for warning in told] == [
        True
    ] * expected


@pytest.mark.filterwarnings("ignore:the stream at position 0 is a mux of files")
def test_a_file_that_is_gone_is_named():
    pool = file_muxes()
    gone = Numbers(0, [3], counted=False)
    pool.append(StochasticMux(block_pool([gone, Numbers(1, [3])]), 2, 3))
    with pytest.raises(OSError, match="s0 has no footer"):
        list(StochasticMux(pool, 4, 6, random_state=0).generate(500))


def test_a_fit_on_muxes_of_files_counts_blocks():
    model = StreamingEstimator(
        SGDClassifier(random_state=0),
        mode="with_replacement",
        max_batches=30,
        batch_size=50,
        classes="scan",
        random_state=0,
    ).fit(StreamPool(file_muxes()))
    assert model.blocks_read_ == model.blocks_needed_ > 36


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("mode", ["exhaustive", "with_replacement", "single_active"])
def test_files_of_muxes_that_wait_are_not_read_ahead(mode, deep, monkeypatch):
    expected = []

    def noted(self, streams, left):
        expected.append({stream // (8 if deep else 4) for stream in streams})
        assert all(n > 0 for n in left)

    monkeypatch.setattr(BlockReader, "expect", noted)
    pool = [
        StochasticMux(block_pool([Numbers(4 * i + j, [20] * 2) for j in range(4)], 2, True), 2, 90)
        for i in range(60 if deep else 30)
    ]
    if deep:
        pool = [StochasticMux(pool[i : i + 2], 2, 40) for i in range(0, 60, 2)]
    iterator = StochasticMux(pool, 3, 40, mode=mode, random_state=0)._start(None, (0,))
    iterator.take(6000)
    iterator.close()
    assert len(expected) > 4
    assert all(0 < len(muxes) <= 3 for muxes in expected)


class Hiccup(Numbers):
    n_asked = 0

    def rows(self):
        self.n_asked += 1
        if self.n_asked == 1:
            raise OSError("the network is away")
        return super().rows()


def test_files_that_could_not_be_counted_once_are_planned_together_afterwards():
    pool = [*file_muxes(), StochasticMux(block_pool([Hiccup(12, [5]), Numbers(13, [3])]), 2, 3)]
    stream = StochasticMux(pool, 2, 6, random_state=0)
    with (
        warnings.catch_warnings(action="ignore"),
        contextlib.suppress(OSError),
    ):
        list(stream.generate(300))
    assert stream._start(None, (1,)).takes
