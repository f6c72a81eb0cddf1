"""Searches that are killed or interrupted and go on end as those that were not."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import SGDRegressor
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_limits

from streamlearn import (
    HyperbandSearchCV,
    SuccessiveHalvingSearchCV,
    _search_base,
    _search_checkpoint,
    stream_scorer,
)
from streamlearn._checkpoint_file import read
from tests.searches import Stop, Stopping, X, arrays, calls_of, generators, make, results, y

SEARCHES = pytest.mark.parametrize("search", [SuccessiveHalvingSearchCV, HyperbandSearchCV])
KILLS = pytest.mark.skipif(sys.platform == "win32", reason="the system has neither fork nor SIGKILL")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for each other take most of the time on data this small."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "search")


@pytest.fixture(autouse=True)
def never():
    yield
    Stopping.calls, Stopping.at = 0, None


@pytest.fixture
def each_saved(monkeypatch):
    """Every outcome is saved at once, however long writing takes."""
    monkeypatch.setattr(_search_checkpoint, "_SHARE_OF_TIME", float("inf"))


# -- killed, interrupted ------------------------------------------------------------------------------------------------


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(function):
    """Run in a forked process; return whether it was killed."""
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


@KILLS
@SEARCHES
@pytest.mark.parametrize("pool", [arrays, generators])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_search_that_is_killed_while_it_trains_goes_on_to_the_same_results(
    search, pool, path, each_saved, monkeypatch
):
    whole = make(search)
    n = calls_of(whole, pool())
    assert n == whole.n_batches_ + 12
    moments = random.Random(0)
    chosen = [*moments.sample(range(1, n - 12), 4), n - 7]  # the last one in the refit
    monkeypatch.setattr(Stopping, "action", staticmethod(die))
    for at in chosen:
        Path(path).unlink(missing_ok=True)
        assert in_a_child(lambda at=at: calls_of(make(search, path, resume=True), pool(), at=at))
        again = moments.randrange(1, 40)  # and once more, if it takes that long
        in_a_child(lambda at=again: calls_of(make(search, path, resume=True), pool(), at=at))
        resumed = make(search, path, resume=True)
        assert calls_of(resumed, pool()) <= n - at + 1 + 12  # at most one job, or the refit, is repeated
        assert results(resumed) == results(whole)


@KILLS
@pytest.mark.parametrize("name", ["fsync", "replace", "link", "unlink"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_search_that_is_killed_while_it_writes_goes_on_to_the_same_results(name, path, each_saved):
    whole = make().fit(arrays())
    function = getattr(os, name)

    def killed(at):
        n = 0

        def call(*args, **kwargs):
            nonlocal n
            n += 1
            if n == at:
                die()
            return function(*args, **kwargs)

        setattr(os, name, call)
        make(path=path, resume=True).fit(arrays())

    n_killed = 0
    for at in [1, *random.Random(1).sample(range(2, 60), 3)]:
        for file in Path(path).parent.iterdir():
            file.unlink()
        n_killed += in_a_child(lambda at=at: killed(at))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert results(make(path=path, resume=True).fit(arrays())) == results(whole)
    assert n_killed or name == "unlink"


def search_in_two_processes(path, at, number):
    """Search, and send a signal to all processes of the group when so many results have come."""
    note = _search_checkpoint.Journal.note
    n = 0

    def counted(self, *args):
        nonlocal n
        n += 1
        if n == at:
            os.killpg(0, number)
        note(self, *args)

    _search_checkpoint.Journal.note = counted
    _search_checkpoint._SHARE_OF_TIME = float("inf")
    make(path=path, resume=True, n_jobs=2).fit(arrays())


@KILLS
@pytest.mark.parametrize(("number", "at"), [(signal.SIGKILL, 5), (signal.SIGKILL, 21), (signal.SIGINT, 9)])
def test_a_search_in_two_processes_that_is_stopped_goes_on_to_the_same_results(path, number, at):
    code = f"import sys; sys.path[:0] = {sys.path!r}; import test_search_checkpoint as t; t.search_in_two_processes"
    child = subprocess.run(
        [sys.executable, "-c", f"{code}({path!r}, {at}, {int(number)})"],
        start_new_session=True,  # a group of its own
        cwd=Path(__file__).parent,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert child.returncode == -number
    assert len(read(path, "skops", kind="search").run["jobs"]) in (at - 1, at)
    assert results(make(path=path, resume=True, n_jobs=2).fit(arrays())) == results(make().fit(arrays()))


@SEARCHES
@pytest.mark.parametrize("file_format", ["skops", "pickle"])
def test_an_interrupt_keeps_all_that_is_done(search, file_format, path, monkeypatch):
    monkeypatch.setattr(_search_checkpoint, "_SHARE_OF_TIME", 1e-9)  # nothing is saved between two iterations
    monkeypatch.setattr(Stopping, "action", staticmethod(lambda: signal.raise_signal(signal.SIGINT)))
    whole = make(search)
    n = calls_of(whole, generators())
    for at in (1, 29, n // 2, n - 5):
        settings = {"path": path, "checkpoint_format": file_format}
        with pytest.raises(KeyboardInterrupt):
            calls_of(make(search, **settings), generators(), at=at)
        resumed = make(search, **settings, resume=True)
        n_calls = calls_of(resumed, generators())
        assert n_calls <= n - at + 12 + 1
        assert results(resumed) == results(whole)


def test_nothing_is_trained_again_when_all_is_done(path):
    whole = make(path=path).fit(arrays())
    again = make(path=path, resume=True)
    assert calls_of(again, arrays()) == 0
    assert results(again) == results(whole)
    for name in ("mean_fit_time", "std_score_time"):  # they are told as they were
        np.testing.assert_array_equal(again.cv_results_[name], whole.cv_results_[name])


def test_what_may_change(path, capsys):
    first = make(path=path, refit=False)
    n = calls_of(first, arrays())
    other = make(path=path, resume=True, n_jobs=2, verbose=1)
    assert calls_of(other, arrays()) == 12  # the refit
    assert results(other) == results(make().fit(arrays()))
    assert n == other.n_batches_
    assert "iteration 0" in capsys.readouterr().out


def test_a_backend_that_gives_all_results_at_once_is_saved_after_each_iteration(path, monkeypatch):
    class AtOnce(_search_base.Parallel):
        def __init__(self, n_jobs=None, return_as="list"):
            if return_as != "list":
                raise ValueError(f"this backend does not support return_as={return_as}")
            super().__init__(n_jobs=n_jobs)

    monkeypatch.setattr(_search_base, "Parallel", AtOnce)
    whole = make()
    n = calls_of(whole, arrays())
    with pytest.raises(Stop):
        calls_of(make(path=path), arrays(), at=n // 2)
    done = {tuple(job[:2]) for job in read(path, "skops", kind="search").run["jobs"]}
    assert {iteration for _, iteration in done} == {0}
    resumed = make(path=path, resume=True)
    assert calls_of(resumed, arrays()) == n - 8 * 2 * 3
    assert results(resumed) == results(whole)


def test_an_error_while_others_train_leaves_a_checkpoint_and_no_warning(path, monkeypatch):
    note = _search_checkpoint.Journal.note

    def failing(self, job, outcome):
        if len(self._jobs) == 5:
            raise Stop
        note(self, job, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(_search_checkpoint.Journal, "note", failing)
        with pytest.raises(Stop):
            make(path=path, n_jobs=2).fit(arrays())
    assert len(read(path, "skops", kind="search").run["jobs"]) == 5
    assert results(make(path=path, resume=True, n_jobs=2).fit(arrays())) == results(make().fit(arrays()))


@pytest.mark.parametrize("random_state", [None, "instance"])
def test_candidates_and_seeds_are_those_of_the_search_that_was_stopped(random_state, path, monkeypatch):
    seeds = iter([5, 5, 6])
    monkeypatch.setattr(_search_base, "fresh_seed", lambda: next(seeds))
    space = {"estimator__alpha": loguniform(1e-6, 1), "lam": [2, 16]}
    state = np.random.RandomState(3) if random_state else None
    settings = {"param_distributions": space, "n_candidates": 4}
    whole = make(**settings, random_state=clone(state, safe=False)).fit(arrays())
    with pytest.raises(Stop):
        calls_of(make(path=path, **settings, random_state=state), arrays(), at=30)
    resumed = make(path=path, **settings, random_state=state, resume=True).fit(arrays())
    assert results(resumed) == results(whole)


def test_candidates_that_fail_are_told_again(path):
    settings = {"param_distributions": {"lam": [0.5, 2, 4, 16], "n_active": [2, 4]}, "return_train_score": True}
    with pytest.warns(FitFailedWarning):
        whole = make(**settings).fit(arrays())
    with pytest.raises(Stop), pytest.warns(FitFailedWarning, match="'lam' parameter"):
        calls_of(make(path=path, **settings), arrays(), at=50)
    with pytest.warns(FitFailedWarning, match="4 of 16 fits .*'lam' parameter"):
        resumed = make(path=path, **settings, resume=True).fit(arrays())
    assert results(resumed) == results(whole)


def break_down():
    raise OSError("the mount is down")


@SEARCHES
@pytest.mark.parametrize("error_score", [np.nan, 2.0])  # with which the search goes on without it, or with it alone
def test_what_failed_is_tried_again(search, error_score, path, monkeypatch):
    whole = make(search)
    n = calls_of(whole, arrays())
    monkeypatch.setattr(Stopping, "action", staticmethod(break_down))
    for at in (2, 40, 55, n - 14):  # in the first, later and the last iteration
        with pytest.warns(FitFailedWarning, match="the mount is down"):
            calls_of(make(search, path, error_score=error_score), arrays(), at=at)
        resumed = make(search, path, error_score=error_score, resume=True)
        assert calls_of(resumed, arrays()) < n
        assert results(resumed) == results(whole)
        assert calls_of(make(search, path, resume=True), arrays()) == 0


def test_a_candidate_that_failed_goes_on_from_where_it_was(path, monkeypatch):
    search = partial(make, refit=False, random_state=1)  # the one that fails is one of the best
    monkeypatch.setattr(Stopping, "action", staticmethod(break_down))
    with pytest.warns(FitFailedWarning, match="the mount is down"):
        calls_of(search(path=path), arrays(), at=8 * 2 * 3 + 2)
    saved = read(path, "skops", kind="search")
    failed = [job for job in saved.run["jobs"] if job[3]["error"]]
    assert [job[1] for job in failed] == [1]
    left = "/".join(map(str, [failed[0][0], 0, failed[0][2]]))
    assert left in saved.objects
    resumed = search(path=path, resume=True)
    assert calls_of(resumed, arrays()) == 3 + 2 * 6  # on from three batches to six, and as it is good to twelve
    assert results(resumed) == results(search().fit(arrays()))


def test_another_error_score_is_that_of_what_fails_again(path):
    settings = {"path": path, "param_distributions": {"lam": [0.5, 2]}, "n_candidates": 2, "refit": False}
    with pytest.warns(FitFailedWarning):
        make(**settings).fit(arrays())
    with pytest.warns(FitFailedWarning, match=r"error_score=-1\.0"):
        again = make(**settings, error_score=-1.0, resume=True).fit(arrays())
    assert -1 in again.cv_results_["mean_test_score"]
    with pytest.raises(ValueError, match="'lam' parameter"):
        make(**settings, error_score="raise", resume=True).fit(arrays())


def test_labels_that_were_scanned_and_rules_that_end_training_are_kept(path):
    settings = {"classes": "scan", "scoring": stream_scorer("neg_log_loss"), "estimator": GaussianNB(), "n_passes": 1}
    settings |= {"param_distributions": {"lam": [2, 16], "n_active": [2, 4]}, "max_resources": 40, "n_candidates": 4}
    whole = make(**settings).fit(generators())
    for jobs in (3, 9, 13):
        with pytest.MonkeyPatch.context() as patch:
            note = _search_checkpoint.Journal.note

            def failing(self, job, outcome, jobs=jobs, note=note):
                if len(self._jobs) == jobs:
                    raise Stop
                note(self, job, outcome)

            patch.setattr(_search_checkpoint.Journal, "note", failing)
            with pytest.raises(Stop):
                make(path=path, **settings).fit(generators())
        assert results(make(path=path, **settings, resume=True).fit(generators())) == results(whole)


# -- what is written ------------------------------------------------------------------------------------------------------


def test_a_safe_checkpoint_holds_no_pickle_and_losers_leave_nothing(path, each_saved):
    with pytest.raises(Stop):
        calls_of(make(path=path), arrays(), at=8 * 2 * 3 + 1)
    saved = read(path, "skops", kind="search")
    assert len(saved.run["jobs"]) == 16
    assert len(saved.objects) == 4 * 2  # what four of the eight go on with
    assert all(left.startswith(b"PK") for left in saved.objects.values())  # the zip archives of skops
    make(path=path, resume=True).fit(arrays())
    assert read(path, "skops", kind="search").objects == {}


class Helper:
    pass


class Helped(GaussianNB):
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.helper_ = Helper()
        return super().partial_fit(X, y, classes, sample_weight)


def test_what_could_not_be_read_again_is_told_at_the_first_result(path):
    settings = {"path": path, "estimator": Helped(), "param_distributions": {"lam": [2, 4]}, "n_candidates": 2}
    with pytest.raises(ValueError, match=r"types that are not known to be safe: \['.*Helper'\]"):
        make(**settings).fit(arrays())
    make(**settings, checkpoint_format="pickle", resume=True).fit(arrays())  # as it is advised
    resumed = make(**settings, checkpoint_format="pickle", resume=True).fit(arrays())
    assert resumed.best_estimator_.n_batches_ == 6


def test_a_safe_checkpoint_goes_on_with_pickle(path, each_saved):
    whole = make()
    n = calls_of(whole, arrays())
    for at in (8 * 2 * 3 + 1, n - 5):  # one in the refit
        with pytest.raises(Stop):
            calls_of(make(path=path), arrays(), at=at)
        resumed = make(path=path, resume=True, checkpoint_format="pickle")
        assert calls_of(resumed, arrays()) < n - at + 12 + 1
        assert results(resumed) == results(whole)


def test_a_refit_that_fails_leaves_the_results(path, monkeypatch):
    def full(handle):
        if any(name.endswith(".refit") for name in os.listdir(os.path.dirname(path))):
            raise OSError(28, "No space left on device")

    whole = make().fit(arrays())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        make(path=path).fit(arrays())
    assert any("with refit=False and resume=True" in note for note in caught.value.__notes__)
    found = make(path=path, refit=False, resume=True)
    assert calls_of(found, arrays()) == 0
    assert found.best_params_ == whole.best_params_


def test_a_failed_write_leaves_the_last_checkpoint(path, monkeypatch, each_saved):
    with pytest.raises(Stop):
        calls_of(make(path=path), arrays(), at=20)
    before = Path(path).read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            make(path=path, resume=True).fit(arrays())
    assert Path(path).read_bytes() == before
    assert results(make(path=path, resume=True).fit(arrays())) == results(make().fit(arrays()))


def test_without_skops_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"streamlearn\[checkpoint\]"):
        make(path=path).fit(arrays())


def test_nothing_is_written_without_a_checkpoint_and_a_clone_has_its_path(path, monkeypatch):
    monkeypatch.setattr(_search_checkpoint, "write", None)
    make().fit(arrays())
    assert clone(make(path=path, resume=True)).get_params()["checkpoint"] == path


def test_on_a_dask_cluster(path):
    distributed = pytest.importorskip("distributed", reason="the extra dask brings it")
    whole = make(estimator=SGDRegressor(), classes=None).fit(X, y)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        first = make(estimator=SGDRegressor(), classes=None, path=path).fit(X, y)
        again = make(estimator=SGDRegressor(), classes=None, path=path, resume=True).fit(X, y)
    assert results(first) == results(again) == results(whole)
