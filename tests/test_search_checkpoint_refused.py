"""What a search refuses to go on from, before it trains anything."""

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GroupKFold, KFold
from threadpoolctl import threadpool_limits

from streamlearn import HyperbandSearchCV, StreamingEstimator, StreamPool, SuccessiveHalvingSearchCV, from_arrays
from tests.searches import SPACE, Stop, Stopping, X, arrays, calls_of, generators, make, results, y

SEARCHES = pytest.mark.parametrize("search", [SuccessiveHalvingSearchCV, HyperbandSearchCV])


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


def one_score(model, X, y=None):
    return 1.0


def another_score(model, X, y=None):
    return 1.0


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"param_distributions": {**SPACE, "lam": [2, 17]}}, r"param_distributions is .*17.* was written with .*16"),
        ({"n_candidates": 7}, r"n_candidates is 7, and the checkpoint was written with 8"),
        ({"random_state": 3}, r"random_state is 3, and the checkpoint was written with 2"),
        ({"random_state": None}, r"random_state is None, and the checkpoint was written with 2"),
        ({"factor": 3}, r"factor is 3, and the checkpoint was written with 2"),
        ({"max_resources": 24}, r"max_resources is 24"),
        ({"batch_size": 10}, r"estimator__batch_size is 10, and the checkpoint was written with 20"),
        ({"estimator": Stopping(penalty="l1")}, r"estimator__estimator__penalty is 'l1'"),
        ({"estimator": SGDClassifier()}, r"estimator__estimator is sklearn.*SGDClassifier, and .* with .*Stopping"),
        ({"scoring": "f1_macro"}, r"scoring is 'f1_macro', and the checkpoint was written with <function one_score>"),
        ({"scoring": another_score}, r"scoring is <function another_score>"),
        ({"cv": KFold(4)}, r"cv=KFold\(n_splits=4.* gives other splits"),
        ({"return_train_score": True}, r"return_train_score is True"),
        (
            {"search": HyperbandSearchCV},
            r"search is .*HyperbandSearchCV, and the checkpoint was written with .*Halving",
        ),
        (
            {"search": HyperbandSearchCV, "min_resources": 1},
            r"search is .*HyperbandSearchCV, and the checkpoint was written with .*Halving",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_search_is_refused_before_training(changed, told, path):
    settings = {"scoring": one_score}
    with pytest.raises(Stop):
        calls_of(make(path=path, **settings), arrays(), at=20)
    content = Path(path).read_bytes()
    Stopping.calls = 0
    with pytest.raises(ValueError, match=told):
        make(path=path, resume=True, **{**settings, **changed}).fit(arrays())
    assert Stopping.calls == 0
    assert Path(path).read_bytes() == content


def test_other_candidates_of_a_distribution_are_refused(path):
    space = {"estimator__alpha": loguniform(1e-6, 1)}
    make(path=path, param_distributions=space, refit=False).fit(arrays())
    space = {"estimator__alpha": loguniform(1e-5, 1)}
    with pytest.raises(
        ValueError, match=r"the candidate 0 of param_distributions is {'estimator__alpha': .* was written with"
    ):
        make(path=path, param_distributions=space, resume=True).fit(arrays())


def test_another_state_of_a_random_state_inside_is_refused(path):
    settings = {"path": path, "refit": False, "param_distributions": {"lam": [2, 16]}, "n_candidates": 2}
    make(estimator=SGDClassifier(random_state=np.random.RandomState(0)), **settings).fit(arrays())
    make(estimator=SGDClassifier(random_state=np.random.RandomState(0)), resume=True, **settings).fit(arrays())
    with pytest.raises(ValueError, match=r"estimator__estimator__random_state is .*RandomState, next"):
        make(estimator=SGDClassifier(random_state=np.random.RandomState(1)), resume=True, **settings).fit(arrays())


FRAME = pd.DataFrame(X, columns=[f"x{i}" for i in range(64)])
WEIGHT = np.ones(400)


@pytest.mark.parametrize(
    ("data", "other", "told"),
    [
        ((X, y), (X[:380], y[:380]), "of another length: 'arrays'"),
        ((X, y), (X[::-1], y), "of other values: 'arrays'"),
        ((X, y), (X, y[::-1]), "of other values: 'arrays'"),
        ((X, y, WEIGHT), (X, y, WEIGHT * 2), "of other values: 'arrays'"),
        ((X, y), (X, y, WEIGHT), "of other values: 'arrays'"),
        ((FRAME, y), (FRAME[::-1], y), "of other values: 'arrays'"),
        ((FRAME, y), (FRAME.rename(columns={"x3": "x99"}), y), "of other values: 'arrays'"),
        ((arrays(),), (from_arrays(X, y, n_streams=7),), "gone: '7'"),
        ((arrays(),), (from_arrays(X[::-1], y, n_streams=8),), "of other values: '0', '1'"),
        ((generators(),), (StreamPool(list(generators()), names=list("ABCDEFGX")),), "new: 'X'; gone: 'H'"),
    ],
)
def test_other_data_is_refused_before_training(data, other, told, path):
    def fit(data, **settings):
        weight = {"sample_weight": data[2]} if len(data) > 2 else {}
        return calls_of(make(path=path, **settings), *data[:2], **weight, at=None if settings else 20)

    with pytest.raises(Stop):
        fit(data)
    with pytest.raises(ValueError, match=f"the data has changed since the checkpoint was written .*{told}"):
        fit(other, resume=True)
    assert Stopping.calls == 0
    assert fit(data, resume=True) > 0


def test_other_splits_are_refused(path):
    groups = np.arange(8) % 4
    make(path=path, cv=GroupKFold(2), refit=False).fit(arrays(), groups=groups)
    with pytest.raises(ValueError, match=r"cv=GroupKFold.* gives other splits than those that the checkpoint"):
        make(path=path, cv=GroupKFold(2), resume=True).fit(arrays(), groups=groups[::-1] // 2)
    with pytest.raises(ValueError, match=r"gives other splits each time, .*give it an int as random_state"):
        make(path=path, cv=KFold(2, shuffle=True)).fit(arrays())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"resume": True}, r"resume=True goes on from a checkpoint, and checkpoint is None"),
        ({"path": ""}, r"checkpoint must be the path of a file .* got ''"),
        ({"path": "/"}, r"checkpoint must be the path of a file"),
        ({"path": "/no such directory/x"}, r"in a directory that exists"),
        ({"path": 5}, r"checkpoint"),
        ({"path": "x", "checkpoint_format": "json"}, r"checkpoint_format"),
        ({"resume": "allow-changes"}, r"resume"),
    ],
)
@SEARCHES
def test_bad_parameters_are_refused_before_training(search, settings, told):
    with pytest.raises(ValueError, match=told):
        make(search, **settings).fit(arrays())
    assert Stopping.calls == 0


def test_a_search_is_no_fit_and_a_fit_no_search(path):
    make(path=path, refit=False).fit(arrays())
    model = StreamingEstimator(Stopping(), batch_size=20, classes=range(10), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="is the checkpoint of a search, not of a fit"):
        model.fit(arrays())
    model.set_params(resume=False).fit(arrays())
    with pytest.raises(ValueError, match="is the checkpoint of a fit, not of a search"):
        make(path=path, resume=True).fit(arrays())


def test_a_file_that_is_no_checkpoint_is_not_replaced(path):
    Path(path).write_text("my thesis")
    with pytest.raises(ValueError, match="is a file that is no checkpoint, and would be replaced"):
        make(path=path).fit(arrays())
    assert Path(path).read_text() == "my thesis"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("refit", [False, True])
def test_what_is_no_checkpoint_of_a_refit_is_not_replaced(resume, refit, path):
    make(path=path, refit=False).fit(arrays())
    Stopping.calls = 0
    Path(path + ".refit").write_text("my thesis")
    with pytest.raises(ValueError, match=r"would replace '.*\.refit', which is no checkpoint"):
        make(path=path, resume=resume, refit=refit).fit(arrays())
    assert Path(path + ".refit").read_text() == "my thesis"
    Path(path + ".refit").unlink()
    Path(path + ".refit").mkdir()
    with pytest.raises(ValueError, match=r"would replace '.*\.refit', which is no checkpoint"):
        make(path=path, resume=resume, refit=refit).fit(arrays())
    assert Stopping.calls == 0


def test_an_estimator_that_goes_on_from_a_checkpoint_is_refused():
    search = make()
    search.estimator.set_params(resume=True)
    with pytest.raises(ValueError, match=r"resume=True of the estimator .* pass checkpoint and resume to the search"):
        search.fit(arrays())


def test_equal_splits_may_come_from_another_splitter(path):
    splits = list(KFold(2).split(range(8)))
    make(path=path, cv=iter(splits)).fit(arrays())
    for cv in (iter(splits), splits, KFold(2), 2):
        assert calls_of(make(path=path, cv=cv, resume=True), arrays()) == 0
    with pytest.raises(ValueError, match="gives other splits than those that the checkpoint was written with"):
        make(path=path, cv=iter(splits[::-1]), resume=True).fit(arrays())


def test_a_pickle_is_not_read_where_skops_is_asked_for(path):
    make(path=path, checkpoint_format="pickle", refit=False).fit(arrays())
    with pytest.raises(ValueError, match="was written with checkpoint_format='pickle', and 'skops' is asked for"):
        make(path=path, resume=True).fit(arrays())


def test_a_damaged_checkpoint_is_never_believed(path):
    whole = make().fit(arrays())
    with pytest.raises(Stop):
        calls_of(make(path=path), arrays(), at=70)
    content, previous = Path(path).read_bytes(), Path(path + ".previous").read_bytes()
    rng = random.Random(3)
    for i in range(60):
        at = rng.randrange(len(content))
        damaged = [
            content[:at],
            content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :],
            content[:at] + rng.randbytes(len(content) - at),
            pickle.dumps({"evil": i}),
        ][i % 4]
        Path(path).write_bytes(damaged)
        Path(path + ".previous").unlink(missing_ok=True)
        Stopping.calls = 0
        with pytest.raises(ValueError, match=r"is not a checkpoint|is damaged"):
            make(path=path, resume=True).fit(arrays())
        assert Stopping.calls == 0
    Path(path + ".previous").write_bytes(previous)
    resumed = make(path=path, resume=True)
    with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
        resumed.fit(arrays())
    assert results(resumed) == results(whole)


def test_a_new_search_takes_nothing_of_an_older_one(path):
    make(path=path, random_state=7).fit(arrays())
    with pytest.raises(Stop):
        calls_of(make(path=path), arrays(), at=1)
    assert sorted(os.listdir(os.path.dirname(path))) == ["search"]
    assert results(make(path=path, resume=True).fit(arrays())) == results(make().fit(arrays()))
