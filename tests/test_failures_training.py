"""Training on streams of which some fail: the model is that of all that is good, and the estimator tells the rest."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from streamlearn import (
    RoundRobinMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    from_arrays,
)
from tests.failing import Numbers, batches, block_pool, never


def trained_on(*streams):
    X, y = zip(*[(item["X"], item["y"]) for stream in streams for item in stream], strict=True)
    return GaussianNB().fit(np.concatenate(X), np.concatenate(y))


def same(model, expected):
    np.testing.assert_allclose(model.theta_, expected.theta_, rtol=1e-9)
    np.testing.assert_allclose(model.var_, expected.var_, rtol=1e-9)


BAD_ITEMS = {
    "raises": None,
    "a feature more": {"X": np.ones((5, 4)), "y": np.zeros(5, int)},
    "no batch": 3.5,
    "unequal lengths": {"X": np.ones((5, 3)), "y": np.zeros(4, int)},
    "no X": {"y": np.zeros(4, int)},
    "no y": {"X": np.ones((5, 3))},
}


@pytest.mark.parametrize("what", BAD_ITEMS)
@pytest.mark.parametrize("on_error", ["skip", "retry"])
@pytest.mark.parametrize("batch_size", [7, 256])
def test_items_that_cannot_be_learned_from_are_failures_of_their_stream(what, on_error, batch_size):
    pool = StreamPool(
        [Streamer(batches, i, 6, 4 if i == 3 else None, BAD_ITEMS[what]) for i in range(6)], names=list("abcdef")
    )
    settings = {"on_error": on_error, "retry_delay": 0.0, "n_active": 2, "lam": 2, "random_state": 0}
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], batch_size=batch_size, **settings)
    with pytest.warns(UserWarning, match=r"1 stream failed and was set aside: 'd' after 4 items .*stream_errors_"):
        model.fit(pool)
    same(model, trained_on(*pool[:3], *pool[4:], Streamer(batches, 3, 6).generate(4)))
    assert model.stream_counts_.tolist() == [30, 30, 30, 20, 30, 30]
    assert model.stream_errors_["name"] == ["d"]
    with pytest.raises((OSError, ValueError, TypeError)) as raised:
        clone(model).set_params(on_error="raise").fit(pool)
    assert any("stream 'd'" in note for note in raised.value.__notes__)


def test_the_table_is_there_when_nothing_fails_and_makes_a_frame():
    pd = pytest.importorskip("pandas")
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], random_state=0).fit([Streamer(batches, 0)])
    assert list(pd.DataFrame(model.stream_errors_).columns) == ["name", "n_errors", "error", "n_items", "set_aside"]
    assert not model.stream_errors_["name"]


def test_errors_of_the_estimator_are_not_those_of_streams():
    class Broken(GaussianNB):
        def partial_fit(self, X, y=None, classes=None, sample_weight=None):
            raise OSError("the estimator")

    model = StreamingEstimator(Broken(), classes=[0, 1], on_error="skip", random_state=0)
    with pytest.raises(OSError, match="the estimator"):
        model.fit([Streamer(batches, 0), Streamer(batches, 1)])


def test_if_nothing_could_be_read_that_is_an_error_that_names_the_streams():
    model = StreamingEstimator(GaussianNB(), classes=[0, 1], on_error="skip", random_state=0)
    with pytest.raises(
        ValueError, match=r"gave no sample: of 2, 2 streams failed and were set aside: '.' after 0 items"
    ):
        model.fit(StreamPool([Streamer(batches, 0, 6, 0), Streamer(never, "b")], names=["a", "b"]))


# scikit-learn 1.7 takes 60 classes for targets, of which each is another
@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize("mode", ["with_replacement", "single_active", "exhaustive", "once"])
def test_labels_and_lengths_of_damaged_files_do_not_end_the_run(mode):
    sources = [Numbers(i, [20, 20, 20], {1} if i % 3 == 0 else (), i != 5) for i in range(9)]
    pool = block_pool(sources)
    model = StreamingEstimator(GaussianNB(), classes=np.arange(60), mode=mode, on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="set aside"):
        model.fit(pool)
    assert "s5" in model.stream_errors_["name"]
    if mode == "exhaustive":
        assert model.stream_counts_.tolist() == [20, 60, 60, 20, 60, 0, 20, 60, 60]
        model.set_params(classes=None)
        with pytest.warns(UserWarning, match="set aside"):
            model.fit(pool)
        assert model.classes_.tolist() == list(range(60))


def test_labels_are_scanned_up_to_the_failure():
    pool = [Streamer(batches, 0, 6, 3), Streamer(batches, 1)]
    model = StreamingEstimator(SGDClassifier(), classes="scan", on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="set aside"):
        model.fit(pool)
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 5, 8, 11])
def test_a_fit_that_is_stopped_and_resumed_is_the_same_and_tells_the_same(tmp_path, blocks, stop):
    def pool():
        if blocks:
            return block_pool([Numbers(i, [20, 30, 20], {1} if i in (0, 3) else (), i != 2) for i in range(6)])
        return StreamPool([Streamer(batches, i, 12, 7 if i % 2 else None) for i in range(4)], names=list("abcd"))

    def fit(max_batches, **changes):
        settings = {"on_error": "skip", "n_active": 2, "lam": 3, "batch_size": 25, "n_passes": 2, "random_state": 0}
        saving = {"checkpoint": tmp_path / f"{max_batches}", "checkpoint_every": 1, "checkpoint_format": "pickle"}
        model = StreamingEstimator(
            GaussianNB(), classes=np.arange(70), max_batches=max_batches, **{**settings, **saving, **changes}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(pool())

    whole = fit(None)
    assert sorted(whole.stream_errors_["name"]) == (["s0", "s2", "s3"] if blocks else ["b", "d"])
    fit(stop)
    resumed = fit(None, checkpoint=tmp_path / f"{stop}", resume=True)
    assert resumed.theta_.tobytes() == whole.theta_.tobytes()
    assert resumed.stream_counts_.tolist() == whole.stream_counts_.tolist()
    assert resumed.stream_errors_ == whole.stream_errors_
    again = fit(None, checkpoint=tmp_path / "None", resume=True)  # it has ended already
    assert again.stream_errors_ == whole.stream_errors_


def test_a_fit_that_an_error_has_ended_goes_on_without_the_stream(tmp_path):
    settings = {"checkpoint": tmp_path / "fit", "checkpoint_every": 1, "checkpoint_format": "pickle", "batch_size": 5}
    settings |= {"n_active": 1, "lam": None, "classes": [0, 1], "random_state": 0}
    pool = StreamPool([Streamer(batches, i, 6, 3 if i == 1 else None) for i in range(3)], names=list("abc"))
    with pytest.raises(OSError, match="disk 1"):
        StreamingEstimator(GaussianNB(), **settings).fit(pool)
    model = StreamingEstimator(GaussianNB(), on_error="skip", resume=True, **settings)
    with pytest.warns(UserWarning, match="'b' after 3 items"):
        model.fit(pool)
    assert model.stream_counts_.tolist() == [30, 15, 30]
    same(model, trained_on(pool[0], Streamer(batches, 1).generate(3), pool[2]))


def test_iter_fit_of_a_mux_tells_what_failed():
    pool = StreamPool([Streamer(batches, i, 6, 2 if i == 1 else None) for i in range(3)], names=list("abc"))
    model = StreamingEstimator(GaussianNB(), on_error="skip", random_state=0)
    with pytest.warns(UserWarning, match="'b' after 2 items"):
        model.iter_fit(RoundRobinMux(pool), classes=[0, 1])
    same(model, trained_on(pool[0], Streamer(batches, 1).generate(2), pool[2]))
    assert model.stream_errors_["name"] == ["b"]


def test_settings_survive_clones_and_are_checked():
    model = StreamingEstimator(GaussianNB(), on_error="retry", max_retries=5, retry_delay=2.0, max_errors=0.1)
    assert clone(model).get_params()["max_errors"] == 0.1
    with pytest.raises(ValueError, match="on_error"):
        model.set_params(on_error="pass").fit(from_arrays(np.ones((4, 2)), np.arange(4)))
