"""What came of the candidates of a search, row by row, and the columns of ``cv_results_``."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ._candidates import Outcome


@dataclass
class Row:
    """A candidate on one rung.

    Attributes
    ----------
    candidate : int
        Its position among all.
    bracket, iteration : int
    n_batches : int
        Which it has had in all at the end of the rung.
    outcomes : list
        One for each split.
    """

    candidate: int
    params: dict[str, Any]
    bracket: int
    iteration: int
    n_batches: int
    outcomes: list[Outcome | None] = field(default_factory=list)

    @classmethod
    def after(cls, last: Row, iteration: int, n_batches: int) -> Row:
        """The same candidate on the next rung: where nothing is left to train, the outcome is the same."""
        outcomes: list[Outcome | None] = [
            replace(outcome, fit_time=0.0, score_time=0.0) for outcome in last.outcomes if outcome is not None
        ]
        return cls(last.candidate, last.params, last.bracket, iteration, n_batches, outcomes)

    def forget(self) -> None:
        """Let go of what training would go on with."""
        for outcome in self.outcomes:
            outcome.paused = None  # type: ignore[union-attr]

    def scores(self, kind: str = "test") -> list[float]:
        return [outcome.scores[kind] for outcome in self.outcomes if outcome is not None]

    @property
    def mean(self) -> float:
        """Mean score, by which candidates are chosen; NaN if one of them is."""
        return float(np.mean(self.scores()))


def best_of(rows: list[Row], n: int) -> list[Row]:
    """Return at most ``n`` rows with the best mean scores, the earlier ones where they are equal; none that is NaN."""
    chosen = sorted((row for row in rows if not math.isnan(row.mean)), key=lambda row: -row.mean)[:n]
    return sorted(chosen, key=lambda row: row.candidate)


def best_index(rows: list[Row]) -> int:
    """Return the position of the best row: that of the best score among those that were trained the longest."""
    scored = [i for i, row in enumerate(rows) if not math.isnan(row.mean)]
    longest = max(rows[i].n_batches for i in scored)
    return max((i for i in scored if rows[i].n_batches == longest), key=lambda i: (rows[i].mean, -i))


def columns(rows: list[Row], train_score: bool, brackets: bool) -> dict[str, Any]:
    """Return ``cv_results_``."""
    table: dict[str, Any] = {"iter": np.array([row.iteration for row in rows])}
    if brackets:
        table["bracket"] = np.array([row.bracket for row in rows])
    table["n_resources"] = np.array([row.n_batches for row in rows])
    for name in ("fit_time", "score_time"):
        times = np.array([[getattr(outcome, name) for outcome in row.outcomes] for row in rows])
        table[f"mean_{name}"], table[f"std_{name}"] = times.mean(axis=1), times.std(axis=1)
    params = [{**row.params, "max_batches": row.n_batches} for row in rows]
    for name in sorted({name for given in params for name in given}):
        table[f"param_{name}"] = _masked([given.get(name) for given in params], [name not in given for given in params])
    table["params"] = params
    for kind in ("test", "train") if train_score else ("test",):
        scores = np.array([row.scores(kind) for row in rows], float)
        for i, split in enumerate(scores.T):
            table[f"split{i}_{kind}_score"] = split
        means = scores.mean(axis=1)
        table[f"mean_{kind}_score"], table[f"std_{kind}_score"] = means, scores.std(axis=1)
        if kind == "test":
            ranked = np.where(np.isnan(means), -np.inf, means)
            table["rank_test_score"] = rankdata(-ranked, method="min").astype(np.int32)
    return table


def _masked(values: list[Any], missing: list[bool]) -> np.ma.MaskedArray:
    """Return values of one parameter, masked where a candidate has none: numbers as such, all else as objects."""
    there = [value for value, absent in zip(values, missing, strict=True) if not absent]
    numeric = all(isinstance(value, (numbers.Real, np.bool_)) for value in there)
    array = np.ma.MaskedArray(np.empty(len(values), np.array(there).dtype if numeric else object), mask=missing)
    for i, (value, absent) in enumerate(zip(values, missing, strict=True)):
        if not absent:
            array[i] = value
    return array
