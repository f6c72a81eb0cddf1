"""What a run keeps of itself, and whom it tells of its batches."""

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from streamlearn import Streamer, from_arrays
from streamlearn._fit_source import Source, as_pool
from streamlearn._run import Run
from streamlearn._training import Trainer

X = np.random.default_rng(0).normal(size=(100, 3))
y = (X[:, 0] > 0).astype(int)


def items(start, stop):
    for row in range(start, stop, 5):
        yield {"X": X[row : row + 5], "y": y[row : row + 5]}


POOLS = {
    "taken": from_arrays(X, y, n_streams=4),
    "pulled": as_pool([Streamer(items, start, start + 25) for start in range(0, 100, 25)]),
}


class Watch:
    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.told = []

    def before(self, run, batch, counts):
        self.told.append(("before", run.trainer.n_batches, run.trainer.n_samples, batch.n))

    def after(self, run, batch, counts):
        self.told.append(("after", run.trainer.n_batches, run.trainer.n_samples, batch.n))
        return run.trainer.n_batches == self.stop_after

    def end(self, run):
        self.told.append(("end", run.trainer.n_batches, run.trainer.n_samples))


def made(pool, *hooks, mode="exhaustive", batch_size=16, n_passes=1, max_batches=None):
    settings = {
        "n_active": 2,
        "lam": 8,
        "pool_weights": None,
        "mode": mode,
        "dist": "poisson",
        "prune_empty_seeds": True,
    }
    trainer = Trainer(SGDClassifier(random_state=0), classes=[0, 1], names=pool.names)
    return Run(
        trainer,
        Source(pool),
        settings,
        0,
        batch_size=batch_size,
        n_passes=n_passes,
        max_batches=max_batches,
        hooks=hooks,
    )


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_hooks_are_told_of_each_batch_before_and_after_it_is_trained(pool):
    watch = Watch()
    made(pool, watch).go()
    expected = []
    for number, n in enumerate([16] * 6 + [4]):
        expected += [("before", number, 16 * number, n), ("after", number + 1, 16 * number + n, n)]
    assert watch.told == [*expected, ("end", 7, 100)]


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_a_hook_stops_training_and_the_others_are_told_still(pool):
    first, second = Watch(stop_after=3), Watch()
    run = made(pool, first, second, n_passes=2)
    run.go()
    assert run.stopped
    assert run.trainer.n_batches == 3
    assert first.told == second.told
    assert run.n_passes_seen == 1


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize(("mode", "n_samples", "n_passes"), [("exhaustive", 300, 3), ("with_replacement", 300, 3)])
def test_what_a_run_says_of_itself_at_its_end(pool, mode, n_samples, n_passes):
    if pool is POOLS["pulled"] and mode == "with_replacement":
        run = made(pool, mode=mode, max_batches=10)
        run.go()
        assert (run.trainer.n_samples, run.n_passes_seen) == (160, 1)
        return
    run = made(pool, mode=mode, n_passes=n_passes)
    run.go()
    assert run.trainer.n_samples == n_samples
    assert run.n_passes_seen == n_passes
    run.close()
    assert run.iterator is None
    assert run.estimator is run.trainer.estimator


def test_no_row_beyond_the_last_is_told_of():
    watch = Watch()
    made(POOLS["taken"], watch, mode="with_replacement").go()
    assert watch.told[-3:-1] == [("before", 6, 96, 4), ("after", 7, 100, 4)]
