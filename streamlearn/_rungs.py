"""How many candidates a search trains for how many batches: the arithmetic of successive halving and of Hyperband."""

from __future__ import annotations

import math
from typing import NamedTuple


class Rung(NamedTuple):
    """So many candidates, trained until each has had so many batches in all."""

    n_candidates: int
    n_batches: int


def halving(n_candidates: int, least: int | None, most: int, factor: float) -> list[Rung]:
    """Return the rungs of one bracket: each keeps a ``1 / factor`` of the candidates, for ``factor`` times the batches.

    There are as many rungs as leave fewer than ``factor`` candidates, or as fit between ``least`` and ``most`` batches.

    Parameters
    ----------
    n_candidates : int
    least : int or None
        Batches of the first rung; None: so many that the last one takes about ``most``.
    most : int
        Batches that no rung exceeds.
    factor : float
        More than 1.
    """
    n_rungs = 1 + _powers(factor, n_candidates)
    if least is None:
        least = max(int(most // factor ** (n_rungs - 1)), 1)
    n_rungs = min(n_rungs, 1 + _powers(factor, most / least))
    rungs = []
    for i in range(n_rungs):
        rungs.append(Rung(n_candidates, min(int(factor**i * least), most)))
        n_candidates = math.ceil(n_candidates / factor)
    return rungs


def hyperband(least: int, most: int, factor: float, n_candidates: int | None = None) -> list[list[Rung]]:
    """Return the brackets of Hyperband, from many candidates with few batches to few candidates with ``most``.

    Parameters
    ----------
    least : int
        Batches that each candidate gets at least.
    most : int
        Batches of the last rung of each bracket.
    factor : float
        More than 1.
    n_candidates : int, optional
        Candidates of all brackets together, shared among them in proportion; brackets that get none are left out. None
        (default): as many as Li et al. (2018) take, so that each bracket takes about as many batches.
    """
    last = _powers(factor, most / least)
    sizes = [math.ceil((last + 1) / (s + 1) * factor**s) for s in range(last, -1, -1)]
    if n_candidates is not None:
        ends = [round(sum(sizes[: i + 1]) * n_candidates / sum(sizes)) for i in range(len(sizes))]
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    brackets = []
    for s, size in zip(range(last, -1, -1), sizes, strict=True):
        rungs = [Rung(max(int(size / factor**i), 1), max(int(most // factor ** (s - i)), least)) for i in range(s + 1)]
        if size:
            brackets.append(rungs)
    return brackets


def _powers(factor: float, bound: float) -> int:
    """Return the largest n with ``factor**n <= bound``; a logarithm is off by one at exact powers."""
    n = 0
    while factor ** (n + 1) <= bound:
        n += 1
    return n
