"""Any pool, any settings: training ends, every row is trained or reported, and every error says something that the user knows.

``STREAMLEARN_FUZZ=10000 python -m pytest tests/test_fuzz.py`` tries as many examples as that.
"""

import contextlib
import os
import re
import traceback
import warnings
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import GaussianNB

import streamlearn
from streamlearn import (
    StochasticMux,
    Streamer,
    StreamingEstimator,
    StreamPool,
    _batches,
    from_arrays,
)
from streamlearn import _classes as scanning
from streamlearn._blocks import BlockSource, BlockStream
from streamlearn._failures import TooManyStreamErrors
from tests.lies import ABSOLUTE, BAD, LIES, lying

PACKAGE = os.path.dirname(streamlearn.__file__) + os.sep
EXAMPLES = int(os.environ.get("STREAMLEARN_FUZZ", "200"))


class Keeping(ClassifierMixin, BaseEstimator):
    """Takes anything, and keeps the first feature of each row, which tells which one it is."""

    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        if classes is None and not hasattr(self, "classes_"):
            raise ValueError("classes must be passed on the first call.")
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.asarray(classes) if classes is not None else self.classes_
        self.ids_ = [*getattr(self, "ids_", []), *np.asarray(X)[:, 0].tolist()]
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


class Broken(Exception):
    """What streams of the user raise."""


# -- streams -----------------------------------------------------------------------------------------------------------------


class Stream:
    """One stream, from what was drawn for it.

    Attributes
    ----------
    name : str
    ids : list of float
        Of the rows that a pass over it gives.
    fails_at : int or None
        Number of its item that is no honest one, or at which it breaks.
    """

    def __init__(self, number, drawn, weighted):
        self.name = f"stream-{number}"
        self.kind, self.form, self.lie = drawn["kind"], drawn["form"], drawn["lie"]
        self.weighted = weighted
        self.items, self.ids = [], []
        sizes = [] if self.kind == "empty" else drawn["sizes"]
        first = 1000 * (number + 1)
        self.fails_at = None
        if self.kind in ("blocks", "arrays", "empty", "list") or (not weighted and "weight" in str(self.lie)):
            self.lie = None
        for i, n in enumerate(sizes):
            if self.lie is not None and i == drawn["at"]:
                self.fails_at = i
                break
            rows = first + len(self.ids) + np.arange(n)
            self.ids += rows.tolist()
            X = np.column_stack([rows, np.sin(rows), np.cos(rows)]).astype(float)
            self.items.append({"X": X, "y": rows.astype(int) % 2, "sample_weight": np.ones(n)})
        if not weighted:
            for item in self.items:
                del item["sample_weight"]

    @property
    def endless(self):
        return self.kind == "endless" and bool(self.ids) and self.fails_at is None

    def made(self):
        if self.kind == "arrays" and self.ids:
            joined = [np.concatenate([item[name] for item in self.items]) for name in self.items[0]]
            return from_arrays(*joined)[0]
        if self.kind == "blocks":
            return BlockStream(Blocks(self), prefetch=len(self.ids) % 2)
        if self.kind == "list":
            return Streamer([self.spelled(item) for item in self.items])
        if self.kind == "mux" and len(self.items) > 1 and self.lie is None:
            half = len(self.items) // 2
            parts = [Streamer(self.run, start, stop) for start, stop in ((0, half), (half, len(self.items)))]
            return StochasticMux(parts, 2, 2, mode="exhaustive")
        return Streamer(self.run, 0, len(self.items))

    def run(self, start, stop):
        while True:
            for item in self.items[start:stop]:
                yield from self.given(item)
            if self.fails_at is not None:
                if self.lie == "breaks":
                    raise Broken(self.name)
                yield self.lying()
                return
            if not self.endless:
                return

    def lying(self):
        made = lying(LIES[self.lie][0])
        if not self.weighted and isinstance(made, dict):
            del made["sample_weight"]
        return made

    def given(self, item):
        if self.kind != "samples":
            yield self.spelled(item)
            return
        for i in range(len(item["X"])):
            yield self.spelled({name: part[i] for name, part in item.items()})

    def spelled(self, item):
        """The same in another form; in a buffer that is used again."""
        if self.form == "tuple":
            return tuple(item.values())
        if self.form == "lists":
            return {name: part.tolist() for name, part in item.items()}
        if self.form == "Y":
            return {"Y" if name == "y" else name: part for name, part in item.items()}
        if self.form == "float32":
            return {**item, "X": item["X"].astype(np.float32)}
        return item

    @property
    def honest_items(self):
        """Items that it gives before it fails."""
        return len(self.ids) if self.kind == "samples" else len(self.items)


class Blocks(BlockSource):
    def __init__(self, stream):
        self.name, self.items = stream.name, stream.items
        self.parts = ("X", "y", "sample_weight") if stream.weighted else ("X", "y")

    def rows(self):
        return np.array([len(item["X"]) for item in self.items], int)

    def read(self, block):
        return self.items[block]


STREAM = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["generator", "generator", "generator", "list", "samples", "mux", "blocks", "arrays", "endless", "empty"]
        ),
        "form": st.sampled_from(["dict", "dict", "tuple", "lists", "Y", "float32"]),
        "sizes": st.lists(st.integers(0, 7), min_size=1, max_size=6),
        "at": st.integers(0, 6),
        "lie": st.one_of(st.none(), st.none(), st.sampled_from(["breaks", "breaks", *LIES])),
    }
)

SETTINGS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["auto", "exhaustive", "exhaustive", "once", "with_replacement", "single_active"]),
        "lam": st.sampled_from([None, 1, 2.5, 4, 256.0]),
        "n_active": st.sampled_from([None, 1, 2, 7]),
        "dist": st.sampled_from(["poisson", "poisson", "binomial", "constant"]),
        "batch_size": st.sampled_from([None, "auto", 1, 3, 8]),
        "max_batches": st.sampled_from([None, None, 1, 4, 30]),
        "n_passes": st.sampled_from(["auto", 1, 2]),
        "prune_empty_seeds": st.booleans(),
        "on_error": st.sampled_from(["raise", "raise", "skip", "retry"]),
        "max_errors": st.sampled_from([None, None, 0, 1, 0.5]),
        "classes": st.sampled_from([[0, 1], [0, 1], [1, 0, 2], "scan", None]),
        "random_state": st.integers(0, 3),
    }
)
WEIGHTS = st.one_of(
    st.none(), st.none(), st.lists(st.sampled_from([0, 1, 2, 0.5, 1e-10, 1e10]), min_size=6, max_size=6)
)

# -- errors ------------------------------------------------------------------------------------------------------------------


def complaint(error, names):
    """Say what is wrong with an error, or None: the user can tell by it what to change."""
    told = "\n".join([str(error), *getattr(error, "__notes__", [])])
    if isinstance(error, Broken):
        return None if any(name in told for name in names) and "item" in told else "it does not name the stream"
    if not isinstance(error, (ValueError, TypeError, TooManyStreamErrors)):
        return f"a bare {type(error).__name__}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not last.filename.startswith(PACKAGE) or not last.line.startswith("raise"):
        if re.search("(given|raised) by (stream|partial_fit)", told) and any(name in told for name in names):
            return None
        return f"raised by {last.filename}:{last.lineno} and the stream is not named"
    if not re.search("stream|X|y |weight|item|classes|batch|lam|mode|n_active", str(error)):
        return "it says nothing that the user knows"
    return None


# -- the test ----------------------------------------------------------------------------------------------------------------


def check_trained(model, streams, drawn, kept):
    """What was trained is what the streams gave, and what was not is told."""
    assert model.n_samples_seen_ == model.stream_counts_.sum()
    assert model.n_batches_ >= 1
    if drawn["max_batches"] is not None:
        assert model.n_batches_ <= drawn["max_batches"]
    by_stream = Counter(int(identity) // 1000 - 1 for identity in kept)
    assert BAD not in kept
    assert [by_stream[i] for i in range(len(streams))] == model.stream_counts_.tolist()
    for i, stream in enumerate(streams):
        assert {identity for identity in kept if int(identity) // 1000 - 1 == i} <= set(stream.ids)


def check_all_trained(model, streams, shares, kept):
    """An exhaustive fit without a bound: each row once in each pass, of streams that fail what came before."""
    times = Counter(kept)
    table = dict(zip(model.stream_errors_["name"], model.stream_errors_["n_items"], strict=True))
    assert sorted(model.stream_errors_["name"]) == sorted(set(table))
    for stream, share in zip(streams, shares, strict=True):
        passes = model.n_passes_ if stream.fails_at is None else 1
        assert all(times[identity] == (passes if share else 0) for identity in stream.ids), stream.name
        if share and stream.fails_at is not None:
            assert table[stream.name] == stream.honest_items, stream.name
        else:
            assert stream.name not in table


@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == 200,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    drawn=SETTINGS,
    specs=st.lists(STREAM, min_size=1, max_size=5),
    pool_weights=WEIGHTS,
    weighted=st.booleans(),
    naive_bayes=st.booleans(),
    way=st.sampled_from(["fit", "fit", "fit", "factory", "iter_fit"]),
)
def test_any_pool_with_any_settings(drawn, specs, pool_weights, weighted, naive_bayes, way):
    streams = [Stream(i, spec, weighted) for i, spec in enumerate(specs)]
    names = [stream.name for stream in streams]
    told_by_others = any(stream.fails_at is not None and stream.lie not in {"breaks", *ABSOLUTE} for stream in streams)
    naive_bayes |= told_by_others  # of what comes first, the estimator has to say whether it is one
    shares = [1] * len(streams) if pool_weights is None else pool_weights[: len(streams)]
    weights = None if pool_weights is None else shares
    model = StreamingEstimator(
        GaussianNB() if naive_bayes else Keeping(), pool_weights=weights, retry_delay=0.0, max_retries=1, **drawn
    )
    ends = not any(stream.endless for stream in streams)
    if not ends and drawn["max_batches"] is None:
        model.set_params(max_batches=7)
        drawn = {**drawn, "max_batches": 7}
    seen = None
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore", UserWarning)
        for module, name in ((_batches, "_MAX_EMPTY_ITEMS"), (scanning, "_MOST_SAMPLES")):
            stack.enter_context(mock.patch.object(module, name, 200))  # what has no end is given up sooner
        try:
            pool = StreamPool([stream.made() for stream in streams], names=names)
            if way == "fit":
                model.fit(pool)
            elif way == "factory":
                model.set_params(streams=lambda: pool).fit()
            else:
                model.iter_fit(StochasticMux(pool, 2, 3, mode="exhaustive", random_state=0))
        except Exception as error:
            seen = error
    kept = getattr(getattr(model, "estimator_", None), "ids_", [])
    assert BAD not in kept
    fails = [stream for stream, share in zip(streams, shares, strict=True) if stream.fails_at is not None and share]
    mode = drawn["mode"] if drawn["mode"] != "auto" else "exhaustive" if weights is None else "with_replacement"
    rows = sum(len(stream.ids) for stream, share in zip(streams, shares, strict=True) if share)
    if seen is not None:
        note("".join(traceback.format_exception(seen)))
        known_names = [*names, "iter_fit"] if way == "iter_fit" else names
        assert complaint(seen, known_names) is None, complaint(seen, known_names)
        # nothing but what was drawn to fail does
        known = isinstance(drawn["classes"], list) or (drawn["classes"] == "scan" and ends)
        bounded = mode in ("exhaustive", "once") or drawn["max_batches"] is not None
        # a short visit may see no item but an empty one
        bounded &= mode == "exhaustive" or all(0 not in spec["sizes"] for spec in specs)
        bounded &= drawn["dist"] != "constant" or drawn["lam"] != 2.5
        # labels are scanned in streams of no weight as well
        broken = fails or (drawn["classes"] == "scan" and any(stream.fails_at is not None for stream in streams))
        if way != "iter_fit" and not broken and rows and known and bounded and any(shares):
            pytest.fail(f"it fails without reason: {seen!r}")
        return
    if told_by_others:
        return
    if not naive_bayes and way == "iter_fit" and ends and not fails and drawn["max_batches"] is None:
        assert sorted(kept) == sorted(identity for stream in streams for identity in stream.ids)
    if not naive_bayes and way != "iter_fit":
        check_trained(model, streams, drawn, kept)
        if mode == "exhaustive" and drawn["max_batches"] is None and ends:
            check_all_trained(model, streams, shares, kept)
    if (
        fails
        and drawn["on_error"] == "raise"
        and mode == "exhaustive"
        and drawn["max_batches"] is None
        and way != "iter_fit"
    ):
        pytest.fail("a stream failed, and nothing says so")
