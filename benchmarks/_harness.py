"""Measure two pieces of work side by side: A B A B ..., and report the ratio pair by pair.

Machines are shared and noisy: a ratio of two runs that follow each other is stable where a time is not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
        What was measured.
    ratio : float
        Median over pairs of ours / theirs (times), or of theirs / ours where ``speedup``.
    low, high : float
        Smallest and largest of the pairs' ratios.
    bar : str
        What was promised.
    ours, theirs : float
        Median nanoseconds per row, or another unit named in ``unit``.
    work : str
        What both do, and why it is alike.
    """

    name: str
    ratio: float
    low: float
    high: float
    bar: str
    ours: float
    theirs: float
    unit: str
    work: str

    def text(self) -> str:
        return (
            f"{self.name:44} {self.ratio:9.2f} [{self.low:.2f} .. {self.high:.2f}]  bar {self.bar:9} "
            f"ours {self.ours:10.1f}, other {self.theirs:10.1f} {self.unit}"
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def pairs(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int = 7) -> tuple[list[float], list[float]]:
    """Time both in turn, after one run of each that does not count."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, kept in zip((ours, theirs), times, strict=True):
            gc.collect()
            began = time.perf_counter()
            work()
            kept.append(time.perf_counter() - began)
    return times


def compare(
    name: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    bar: str,
    work: str,
    n_ours: int = 1,
    n_theirs: int | None = None,
    speed: bool = False,
    repeats: int = 7,
    unit: str = "ns/row",
    scale: float = 1e9,
) -> Row:
    """Return the row of a comparison.

    Parameters
    ----------
    n_ours, n_theirs : int
        Rows that each handles in one run.
    speed : bool
        The ratio is of speeds (ours over theirs: more is better), else of times (less is better).
    """
    n_theirs = n_ours if n_theirs is None else n_theirs
    a, b = pairs(ours, theirs, repeats)
    a = [t / n_ours for t in a]
    b = [t / n_theirs for t in b]
    ratios = [y / x if speed else x / y for x, y in zip(a, b, strict=True)]
    return Row(
        name,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        bar,
        statistics.median(a) * scale,
        statistics.median(b) * scale,
        unit,
        work,
    )
