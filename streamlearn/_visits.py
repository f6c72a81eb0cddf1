"""How long a visit lasts, how weights are read, and the odds that make shares hold for distinct streams."""

from __future__ import annotations

import functools
import math
import numbers
from typing import Any

import numpy as np
from scipy import special

from . import _compiled

DISTS = ("poisson", "constant", "binomial")
# What a positive weight keeps, however small it is beside the others: the modes that end must not lose its stream.
_LEAST_SHARE = 1e-290
# Length of a visit that ends only with its stream.
UNTIL_EXHAUSTED = 2**62
_LONGEST_TABLE = 4096  # of longer visits there are too few for it to matter what one costs
_MOST_TRIALS = 2**24  # of more, SciPy knows the chances less well, and from 2**31 on not at all
_GUIDES = 1024


def check_option(name: str, value: Any, options: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}.")


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be an int of at least {minimum}, got {value!r}.")


def check_lam(lam: Any, dist: str) -> None:
    if lam is None:
        return
    if not isinstance(lam, numbers.Real) or isinstance(lam, bool) or not 1 <= float(lam) < 2**31:
        raise ValueError(
            f"lam, the mean number of items of a visit, must be a number of at least 1 and below 2**31, or None (until "
            f"the stream is exhausted), got {lam!r}."
        )
    if dist == "constant" and float(lam) != int(float(lam)):
        raise ValueError(f"lam must be a whole number with dist='constant', got {lam!r}.")


def check_weights(weights: Any, n_streams: int, name: str = "pool_weights") -> np.ndarray:
    """Return ``weights`` as shares, a new float array that sums to one; None means equal shares."""
    if weights is None:
        return np.full(n_streams, 1.0 / max(n_streams, 1))
    try:
        array = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, one for each stream, got {weights!r}.") from None
    if array.shape != (n_streams,):
        raise ValueError(
            f"{name} must hold one number for each of the {n_streams} streams, got shape {array.shape}: {weights!r}. (Parts of a "
            "pool, as in cross-validation, have the weights that StreamPool(weights=...) gave their streams.)"
        )
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise ValueError(f"{name} must be finite and not negative, got {array[bad[0]]} for stream {bad[0]}.")
    if n_streams and not array.any():
        raise ValueError(f"{name} must not all be zero, got {weights!r}.")
    positive = array > 0
    array /= array.max(initial=1e-300)  # a sum of huge weights must not overflow
    array /= array.sum()
    return np.where(positive, np.maximum(array, _LEAST_SHARE), 0.0)


class VisitLength:
    """The distribution of the number of items of a visit.

    Parameters
    ----------
    lam : float or None
        Mean; None: until the stream is exhausted.
    dist : {"poisson", "constant", "binomial"}
        ``1 + Poisson(lam - 1)``; ``lam``; ``1 + Binomial`` with mean ``lam`` and variance about ``lam (1 - 1/n_active)``.
    n_active : int
        Number of slots; only ``"binomial"`` looks at it.
    """

    def __init__(self, lam: float | None, dist: str, n_active: int) -> None:
        self.lam = None if lam is None else float(lam)
        self.dist = dist
        self._n_trials = 0
        if self.lam is not None and dist == "binomial":
            self._n_trials = math.ceil((self.lam - 1) * n_active)

    def visits_for(self, n_items: int) -> int:
        """Return a number of visits that is likely to give ``n_items``."""
        lam = self.lam or 1.0
        n = n_items / lam
        return int(n + 3 * math.sqrt(n / lam)) + 2  # no length varies by more than Poisson's

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        if self.lam is None:
            return np.full(size, UNTIL_EXHAUSTED, np.int64)
        if self.dist == "constant":
            return np.full(size, int(self.lam), np.int64)
        n_trials = self._n_trials if self.dist == "binomial" else None
        if n_trials == 0:
            return np.ones(size, np.int64)
        if n_trials is None and self.lam > _LONGEST_TABLE:
            return 1 + rng.poisson(self.lam - 1, size)
        if n_trials is not None and (self.lam > _LONGEST_TABLE or n_trials > _MOST_TRIALS):
            return 1 + rng.binomial(n_trials, (self.lam - 1) / n_trials, size)
        chances, guide = _table(self.lam - 1, n_trials)
        drawn = rng.random(size)
        if _compiled.native is None:
            return 1 + np.searchsorted(chances, drawn, side="right")
        lengths = np.empty(size, np.int64)
        _compiled.native.invert(chances, guide, drawn, lengths)
        return lengths


@functools.lru_cache(maxsize=64)
def _table(mean: float, n_trials: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances that a number is at most 0, 1, ..., and of each part of the line from 0 to 1 the first that ends in it.

    Numbers are drawn by inversion, a third of the time of NumPy's methods; where to look is told by a guide (Chen and Asau,
    "On generating random variates from an empirical distribution", AIIE Transactions 6, 1974).

    Parameters
    ----------
    mean : float
    n_trials : int or None
        Of a binomial distribution; None: it is a Poisson distribution.
    """
    values = np.arange(int(mean + 12 * math.sqrt(mean)) + 40)  # beyond, less than the 2**-53 that numbers are apart
    if n_trials is None:
        chances = special.pdtr(values, mean)
    else:
        chances = special.bdtr(np.minimum(values, n_trials), n_trials, mean / n_trials)
    chances = np.maximum.accumulate(chances)  # rounding must not make them fall
    chances[-1] = 1.0
    return chances, np.searchsorted(chances, np.arange(_GUIDES) / _GUIDES, side="right")


def inclusion_probabilities(shares: np.ndarray, n_active: int) -> np.ndarray:
    """Chance of each stream to be active, ``n_active`` at once: ``n_active * share``, capped at one.

    What a cap leaves over goes to the uncapped streams in proportion to their shares, until no more caps bind.
    """
    positive = shares > 0
    n_active = min(n_active, int(positive.sum()))
    inclusion = np.zeros(len(shares))
    capped = np.zeros(len(shares), bool)
    while True:
        free = positive & ~capped
        room = n_active - int(capped.sum())
        inclusion[capped] = 1.0
        if not free.any() or room <= 0:
            inclusion[free] = 0.0
            return inclusion
        inclusion[free] = shares[free] * (room / shares[free].sum())
        over = free & (inclusion >= 1 - 1e-12)
        if not over.any():
            return inclusion
        capped |= over


def conditional_poisson_odds(inclusion: np.ndarray) -> np.ndarray:
    """Odds of a conditional Poisson design with these inclusion probabilities, each below one and summing to an int.

    Under that design the chance of a set of ``n = inclusion.sum()`` streams is proportional to the product of its
    members' odds. Chen, Dempster and Liu, "Weighted finite population sampling to maximize entropy", Biometrika 81 (1994),
    with their fixed point for the members in turn with the same one for those left out: each alone is slow where shares are
    near one or near zero.
    """
    n_chosen = round(inclusion.sum())
    odds = inclusion / (1 - inclusion)
    if n_chosen * (n_chosen + 1) * len(inclusion) > 10**8 or np.ptp(inclusion) < 1e-12:
        # With that many members the number of them hardly varies, and plain odds are exact to its inverse variance.
        return odds
    for _ in range(200):
        chosen, left_out = _inclusion_of_odds(odds, n_chosen)
        odds *= inclusion / chosen
        if np.max(np.abs(chosen - inclusion) / np.minimum(inclusion, 1 - inclusion)) < 1e-9:
            break
        _, left_out = _inclusion_of_odds(odds, n_chosen)
        odds *= left_out / (1 - inclusion)
        odds /= np.exp(np.log(odds).mean())
    return odds


def _inclusion_of_odds(odds: np.ndarray, n_chosen: int) -> tuple[np.ndarray, np.ndarray]:
    """Chances to be chosen, and to be left out, in the conditional Poisson design, by a product tree.

    Each leaf is the polynomial ``(1 - p) + p z`` of one stream; going up multiplies, going down gives each leaf the
    product of all the others. Only sums of products of positive terms below one: nothing cancels and nothing overflows.
    """
    n = len(odds)
    scaled = odds * (n_chosen / odds.sum())
    p, q = scaled / (1 + scaled), 1 / (1 + scaled)
    levels = [np.zeros((1 << max(n - 1, 0).bit_length(), n_chosen + 1))]
    levels[0][:, 0] = 1.0
    levels[0][:n, 0] = q
    levels[0][:n, 1] = p
    while len(levels[-1]) > 1:
        levels.append(_multiply(levels[-1][::2], levels[-1][1::2]))
    others = np.zeros((1, n_chosen + 1))
    others[0, 0] = 1.0
    for level in levels[-2::-1]:
        down = np.empty_like(level)
        down[::2] = _multiply(others, level[1::2])
        down[1::2] = _multiply(others, level[::2])
        others = down
    all_of_them = levels[-1][0, n_chosen]
    return p * others[:n, n_chosen - 1] / all_of_them, q * others[:n, n_chosen] / all_of_them


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply rows of polynomials, cut at their common degree."""
    out = np.zeros_like(a)
    for degree in range(a.shape[1]):
        out[:, degree:] += a[:, degree : degree + 1] * b[:, : b.shape[1] - degree]
    return out
