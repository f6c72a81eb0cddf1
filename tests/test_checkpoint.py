import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from streamlearn import Streamer, StreamingEstimator, StreamPool, from_arrays
from streamlearn import _checkpoint as module
from streamlearn._checkpoint import read

X = np.random.default_rng(0).random((600, 4))
Y = (X.sum(axis=1) > 2).astype(int)


def items(start, n, rng):
    for i in range(start, start + n, 4):
        yield {"X": X[i : i + 4] + rng.normal(0, 0.01, (4, 4)), "y": Y[i : i + 4]}


def slowly(start, n, rng):
    for item in items(start, n, rng):
        time.sleep(0.0005)
        yield item


def generators(function=items, n_streams=6):
    streams = [Streamer(function, i * 100, 100) for i in range(n_streams)]
    return StreamPool(streams, names=[f"day {i}" for i in range(n_streams)])


def arrays():
    return from_arrays(X, Y, n_streams=6)


def model(path=None, estimator=None, **settings):
    settings = {
        "n_active": 3,
        "lam": 4,
        "batch_size": 8,
        "classes": [0, 1],
        "n_passes": 3,
        "random_state": 1,
        **settings,
    }
    estimator = SGDClassifier() if estimator is None else estimator
    return StreamingEstimator(estimator, checkpoint=path, **{"checkpoint_every": 1, **settings} if path else settings)


def bits(fitted):
    """All that was learned, as bytes."""
    inner = {name: value for name, value in vars(fitted.estimator_).items() if isinstance(value, np.ndarray)}
    arrays = {name: value.tobytes() for name, value in sorted(inner.items())}
    return arrays, fitted.stream_counts_.tolist(), fitted.n_batches_, fitted.n_passes_, fitted.predict(X).tolist()


class Stop(Exception):
    pass


class Stopping(ClassifierMixin, BaseEstimator):
    """A naive Bayes of the user's own, which fails at a call."""

    def __init__(self, at=None):
        self.at = at

    def partial_fit(self, X, y, classes=None):
        if not hasattr(self, "model_"):
            self.model_, self.n_calls_ = GaussianNB(), 0
        if self.n_calls_ == self.at:
            raise Stop
        self.model_.partial_fit(X, y, classes=classes)
        self.classes_, self.theta_, self.n_calls_ = self.model_.classes_, self.model_.theta_, self.n_calls_ + 1
        return self

    def predict(self, X):
        return self.model_.predict(X)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "fit.checkpoint")


@pytest.mark.parametrize("pool", [arrays, generators])
@pytest.mark.parametrize("settings", [{}, {"mode": "single_active"}, {"validation": 1 / 6, "validation_every": 10}])
def test_an_interrupted_fit_goes_on_to_the_same_model(path, pool, settings):
    if settings.get("mode") and pool is generators:
        settings = {**settings, "max_batches": 150}
    expected = bits(model(**settings).fit(pool()))
    for at in (0, 1, 40, 130):
        Path(path).unlink(missing_ok=True)
        Path(path + ".previous").unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            calls = [0]
            train = SGDClassifier.partial_fit

            def failing(self, *args, _at=at, _calls=calls, _train=train, **kwargs):
                if _calls[0] == _at:
                    raise Stop
                _calls[0] += 1
                return _train(self, *args, **kwargs)

            patch.setattr(SGDClassifier, "partial_fit", failing)
            with pytest.raises(Stop):
                model(path, **settings).fit(pool())
        assert read(path, "skops").run["trainer"]["n_batches"] == at
        assert bits(model(path, resume=True, **settings).fit(pool())) == expected


def fit_in_a_child(path, pool, seconds_before_death):
    """Fit in a forked process, which is killed after so many seconds; return whether it was."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: model(path, resume=True).fit(pool()))
    child.start()
    child.join(seconds_before_death)
    killed = child.is_alive()
    if killed:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert killed or child.exitcode == 0
    return killed


@pytest.mark.skipif(sys.platform == "win32", reason="the system has neither fork nor SIGKILL")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fit_that_is_killed_at_random_moments_goes_on_to_the_same_model(path):
    began = time.perf_counter()
    expected = bits(model(path).fit(generators(slowly)))
    length = time.perf_counter() - began
    moments = random.Random(0)
    n_killed = n_fits = 0
    while n_killed < 50:
        Path(path).unlink(missing_ok=True)
        Path(path + ".previous").unlink(missing_ok=True)
        # several deaths in a row, as long as it takes
        while fit_in_a_child(path, lambda: generators(slowly), moments.uniform(0.0, 0.5) * length):
            n_killed += 1
            assert n_killed < 500
        n_fits += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert bits(model(path, resume=True).fit(generators(slowly))) == expected
    assert n_fits > 3


def test_an_interrupt_is_kept_in_the_checkpoint(path):
    def interrupting(start, n, rng):
        for i, item in enumerate(items(start, n, rng)):
            if i == 12 and not os.path.exists(path + ".off"):
                Path(path + ".off").touch()
                signal.raise_signal(signal.SIGINT)
            yield item

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model(path, checkpoint_every=10_000).fit(generators(interrupting))
    assert signal.getsignal(signal.SIGINT) is before
    assert os.path.exists(path)
    resumed = model(path, checkpoint_every=10_000, resume=True).fit(generators(interrupting))
    assert bits(resumed) == bits(model().fit(generators()))


def test_a_second_interrupt_does_not_wait(path):
    def interrupting(start, n, rng):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        yield from items(start, n, rng)

    with pytest.raises(KeyboardInterrupt):
        model(path).fit(generators(interrupting))
    assert read(path, "skops").run["trainer"]["n_batches"] == 0


def test_an_interrupt_during_the_last_score_is_heard(path):
    def scoring(estimator, X, y):
        if estimator.t_ > 300:
            signal.raise_signal(signal.SIGINT)
        return 0.5

    fitted = model(path, n_passes=1, validation=0.2, validation_every=10**6, scoring=scoring)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y)


def test_a_finished_fit_goes_on_with_a_larger_budget(path):
    model(path, max_batches=20).fit(generators())
    longer = model(path, max_batches=90, resume=True).fit(generators())
    assert bits(longer) == bits(model(max_batches=90).fit(generators()))
    again = model(path, max_batches=90, resume=True).fit(generators())
    assert bits(again) == bits(longer)


def test_a_smaller_budget_does_not_train_on(path):
    settings = {"mode": "with_replacement", "n_passes": "auto"}
    model(path, max_batches=20, **settings).fit(arrays())
    assert model(path, max_batches=10, resume=True, **settings).fit(arrays()).n_batches_ == 20


def test_a_finished_fit_goes_on_with_more_passes_in_modes_without_end(path):
    model(path, mode="with_replacement", n_passes=1).fit(arrays())
    assert model(path, mode="with_replacement", n_passes=3, resume=True).fit(arrays()).n_samples_seen_ == 1800


def test_a_fit_that_is_stopped_at_once_leaves_no_older_checkpoint(path):
    model(path, max_batches=5).fit(arrays())

    def stop():
        raise Stop
        yield

    with pytest.raises(Stop):
        model(path).fit([Streamer(stop)])
    assert read(path, "skops").run["trainer"]["n_batches"] == 0
    assert not os.path.exists(path + ".previous")


def test_other_data_of_the_same_length_is_refused(path):
    model(path, n_passes=1).fit(X, Y)
    for other in (X[::-1], np.where(X > 0.5, X, 0.0)):
        with pytest.raises(ValueError, match=r"streams have changed .*of other values"):
            model(path, n_passes=1, resume=True).fit(other, Y)


def test_another_estimator_is_refused(path):
    model(path, n_passes=1).fit(arrays())
    with pytest.raises(
        ValueError, match=r"estimator is sklearn.naive_bayes.GaussianNB, and the checkpoint was written with"
    ):
        model(path, estimator=GaussianNB(), n_passes=1, resume=True).fit(arrays())


def test_a_set_among_the_parameters_is_the_same_in_any_order(path):
    model(path, estimator=Stopping({"a", "b", "c"}), n_passes=1, max_batches=3).fit(arrays())
    resumed = model(path, estimator=Stopping({"c", "b", "a"}), n_passes=1, resume=True)
    assert resumed.fit(arrays()).n_batches_ == 75


class Helper:
    pass


class Helped(Stopping):
    def partial_fit(self, X, y, classes=None):
        self.helper_ = Helper()
        return super().partial_fit(X, y, classes)


def test_what_could_not_be_read_again_is_not_written(path):
    with pytest.raises(ValueError, match=r"types that are not known to be safe: \['.*Helper'\]"):
        model(path, estimator=Helped(), n_passes=1).fit(arrays())


def test_fits_in_threads_may_write_to_one_path(path):
    errors = []

    def fit():
        try:
            model(path, n_passes=1).fit(arrays())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert read(path, "skops").run["trainer"]["n_batches"] == 75


def test_batches_without_weight_write_no_checkpoint_each(path, monkeypatch):
    n_written = []
    write = module.write
    monkeypatch.setattr(module, "write", lambda *args: (n_written.append(1), write(*args)))

    def weightless():
        yield X[:8], Y[:8], np.ones(8)
        for i in range(8, 200, 8):
            yield X[i : i + 8], Y[i : i + 8], np.zeros(8)

    model(path, n_passes=1).fit([Streamer(weightless)])
    assert len(n_written) == 3


@pytest.mark.parametrize("file_format", ["skops", "pickle"])
@pytest.mark.parametrize("estimator", [GaussianNB(), MLPClassifier((3,)), Stopping()], ids=lambda e: type(e).__name__)
def test_estimators_of_all_kinds_are_written(path, estimator, file_format):
    settings = {"estimator": estimator, "checkpoint_format": file_format, "n_passes": 1}
    model(path, **settings, max_batches=30).fit(generators())
    resumed = model(path, **settings, resume=True).fit(generators())
    assert bits(resumed) == bits(model(**settings).fit(generators()))


def test_a_type_that_is_not_known_is_not_loaded(path):
    model(path, estimator=Stopping(), n_passes=1).fit(generators())
    with pytest.raises(ValueError, match=r"types that are not known to be safe: \['.*Stopping'\]"):
        read(path, "skops")


def test_the_checkpoint_before_the_last_is_kept(path):
    model(path, max_batches=7).fit(generators())
    last, before = read(path, "skops"), read(path + ".previous", "skops")
    assert last.run["trainer"]["n_batches"] == 7
    assert before.run["trainer"]["n_batches"] in (6, 7)


def corruptions(content, n):
    """Torn, truncated, bit-flipped and foreign versions of a file."""
    rng = random.Random(1)
    for i in range(n):
        kind = i % 5
        at = rng.randrange(len(content))
        if kind == 0:
            yield content[:at]
        elif kind == 1:
            yield content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        elif kind == 2:  # torn: the end of another file
            yield content[:at] + rng.randbytes(len(content) - at)
        elif kind == 3:
            yield rng.randbytes(rng.randrange(2000))
        else:
            yield pickle.dumps({"estimator": "evil", "n": i})


def test_a_damaged_checkpoint_is_never_believed(path):
    model(path, max_batches=5, n_passes=1).fit(generators())
    content = Path(path).read_bytes()
    whole = read(path, "skops")
    Path(path + ".previous").unlink()
    for damaged in corruptions(content, 500):
        Path(path).write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is not a checkpoint|is damaged"):
            read(path, "skops")
    Path(path + ".previous").write_bytes(content)
    for damaged in corruptions(content, 500):
        Path(path).write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"Training goes on from the checkpoint before it"):
            found = read(path, "skops")
        assert found.run == whole.run
    Path(path).unlink()
    assert read(path, "skops") is None


def test_a_damaged_checkpoint_ends_a_fit_before_training(path):
    model(path, max_batches=5).fit(generators())
    Path(path).write_bytes(b"?" + Path(path).read_bytes()[1:])
    Path(path + ".previous").unlink()
    with pytest.raises(ValueError, match="Delete it to begin anew"):
        model(path, resume=True).fit(generators())


def test_a_file_that_is_no_checkpoint_is_not_replaced(path):
    Path(path).write_text("my thesis")
    with pytest.raises(ValueError, match="is a file that is no checkpoint, and would be replaced"):
        model(path).fit(generators())
    assert Path(path).read_text() == "my thesis"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lam": 5}, r"lam is 5, and the checkpoint was written with 4"),
        (
            {"estimator": SGDClassifier(alpha=0.5)},
            r"estimator__alpha is 0.5, and the checkpoint was written with 0.0001",
        ),
        ({"mode": "single_active"}, r"mode is 'single_active', and the checkpoint was written with 'auto'"),
    ],
)
def test_other_parameters_are_refused(path, changed, told):
    model(path, max_batches=9).fit(arrays())
    with pytest.raises(ValueError, match=told):
        model(path, resume=True, **changed).fit(arrays())


def test_a_safe_checkpoint_goes_on_with_pickle_and_not_the_other_way_round(path):
    model(path, max_batches=9).fit(arrays())
    resumed = model(path, max_batches=20, resume=True, checkpoint_format="pickle").fit(arrays())
    assert bits(resumed) == bits(model(max_batches=20).fit(arrays()))
    with pytest.raises(ValueError, match="was written with checkpoint_format='pickle', and 'skops' is asked for"):
        model(path, resume=True).fit(arrays())


def test_changed_streams_are_named_or_allowed(path):
    model(path, max_batches=9).fit(generators())
    fewer = generators()[:5]
    other = StreamPool([*fewer, Streamer(items, 0, 40)], names=[*fewer.names, "day 9"])
    with pytest.raises(ValueError, match=r"streams have changed .*new: 'day 9'; gone: 'day 5'"):
        model(path, resume=True).fit(other)
    counts = model(path, max_batches=9, resume=True).fit(generators()).stream_counts_
    resumed = model(path, resume="allow-changes", max_batches=60).fit(other)
    assert resumed.n_batches_ == 60
    assert resumed.stream_counts_[5] > 0
    assert (resumed.stream_counts_[:5] >= counts[:5]).all()
    # n_samples_seen_ tells of all, the counts of the streams that are there
    assert resumed.n_samples_seen_ == resumed.stream_counts_.sum() + counts[5]


def test_an_array_of_another_length_is_named(path):
    model(path, max_batches=9).fit(from_arrays(X, Y, n_streams=6))
    with pytest.raises(ValueError, match=r"of another length: '0', '1', '2', '3', '4' and 1 more"):
        model(path, resume=True).fit(from_arrays(X[:540], Y[:540], n_streams=6))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"resume": True}, r"resume=True goes on from a checkpoint, and checkpoint is None"),
        ({"checkpoint": ""}, r"checkpoint must be the path of a file .* got ''"),
        ({"checkpoint": "/"}, r"checkpoint must be the path of a file"),
        ({"checkpoint": "/no such directory/x"}, r"in a directory that exists"),
        ({"checkpoint": 5}, r"checkpoint"),
        ({"checkpoint": "x", "checkpoint_every": 0}, r"checkpoint_every"),
        ({"checkpoint": "x", "checkpoint_format": "json"}, r"checkpoint_format"),
        ({"resume": "maybe"}, r"resume"),
        ({"checkpoint": "x", "resume": True, "warm_start": True}, r"choose one"),
    ],
)
def test_bad_parameters_are_refused_before_training(settings, told):
    with pytest.raises(ValueError, match=told):
        StreamingEstimator(SGDClassifier(), **settings).fit(X, Y)


def test_without_skops_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"streamlearn\[checkpoint\]"):
        model(path).fit(generators())


def test_nothing_is_written_without_a_checkpoint_and_a_clone_has_its_path(path, monkeypatch):
    monkeypatch.setattr(module, "write", None)
    model().fit(arrays())
    assert clone(model(path)).checkpoint == path


def test_a_failed_write_leaves_the_last_checkpoint(path, monkeypatch):
    model(path, max_batches=5).fit(generators())
    before = Path(path).read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model(path, max_batches=9, resume=True).fit(generators())
    assert Path(path).read_bytes() == before
    assert sorted(os.listdir(os.path.dirname(path))) == ["fit.checkpoint", "fit.checkpoint.previous"]


def test_an_interrupt_between_two_checkpoints_leaves_no_file_that_stops_later_ones(path, monkeypatch):
    settings, replace = {"max_batches": 5, "checkpoint_every": 1}, os.replace
    whole = model(path + ".whole", **settings).fit(generators())

    def interrupted(source, target):
        if target.endswith(".previous"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model(path, **settings).fit(generators())
    assert [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp.previous")] == []
    monkeypatch.setattr(os, "replace", replace)
    # what a process that was killed there has left
    os.link(path, f"{path}.{os.getpid()}.{threading.get_ident()}.tmp.previous")
    assert bits(model(path, **settings, resume=True).fit(generators())) == bits(whole)
