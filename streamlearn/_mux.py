"""The stochastic mux: a bounded number of streams at a time, drawn at random, as a stream and as a generator."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ._failures import OnError
from ._mux_base import BaseMux, as_streams, listed, pool_shares
from ._nested import InVisits, nested_reader, odds_of, warn_of_restarts
from ._policies import Policy
from ._stochastic import Ending, SingleActive, WithReplacement
from ._streamer import Streamer, check_max_batches
from ._visits import (
    DISTS,
    VisitLength,
    check_count,
    check_lam,
    check_option,
    inclusion_probabilities,
)

MODES = ("with_replacement", "single_active", "once", "exhaustive")


class StochasticMux(BaseMux):
    """Interleave a pool of streams at random, a few of them active at a time.

    ``n_active`` slots each hold a stream; every item comes from a slot drawn at random, and after a visit of random length
    the slot takes another stream.

    Parameters
    ----------
    streams : sequence of Streamers or iterables, or StreamPool
        The pool. The weights and names of a :class:`StreamPool` are used.
    n_active : int
        Number of streams active at a time. More than the pool has: fine with replacement; in the other modes it means all
        of them.
    lam : float or None, default=256.0
        Mean number of items of a visit, at least 1; None: until the stream is exhausted. A visit of a stream of samples
        (an array, say) runs on into the stream's next pass in the modes without end, so that it is never cut short.
    pool_weights : array-like of shape (n_streams,), optional
        Share of all items that each stream gives in the long run, for every ``n_active`` and ``lam``; any finite
        numbers that are not negative. None (default): equal shares, or the weights of the pool. Zero: never.
    mode : {"with_replacement", "single_active", "once", "exhaustive"}, default="with_replacement"
        - "with_replacement": a stream may be active several times at once, for ever; each visit starts it afresh.
        - "single_active": at most once at a time, and it may return.
        - "once": each stream is visited at most once, then the mux ends.
        - "exhaustive": every item of every stream of positive weight exactly once: a stream that has more left goes back
          to the pool and continues there where it stopped. Paused streams are kept open; ``lam=None`` keeps at most
          ``n_active`` open.
    prune_empty_seeds : bool, default=True
        Do not visit a stream again whose visit yielded nothing. False keeps it in the pool. Either way the mux ends
        when no stream yields any more.
    dist : {"poisson", "constant", "binomial"}, default="poisson"
        Distribution of the number of items of a visit: ``1 + Poisson(lam - 1)``; ``lam``; or ``1 +`` a binomial of variance
        about ``lam (1 - 1/n_active)``. The mean is ``lam`` for each.
    random_state : int, RandomState, Generator or None, default=None
        Every pass of a seeded mux differs from the last and is reproducible: a copy, clone or unpickled mux starts at pass
        0. Without a seed, a mux inside a seeded one derives its own; otherwise it is random.
    on_error : {"raise", "skip", "retry"}, default="raise"
        What is done when a stream raises an exception (or its length cannot be asked for). "raise": it is raised, with the
        stream, its visit and item in a note. "skip": the stream is set aside: what it gave before counts, and it is not visited
        again, in later passes either. "retry": the same, after trying again: a generator is started anew, with the seed of
        its visit, and read up to the item that failed; of a file the block that failed is read again, and nothing is set
        aside but what fails for good. A mux within this one handles its own streams in the same way, if it has no rule of its
        own. KeyboardInterrupt and the like are always raised.
    max_retries : int, default=3
        How often an item, or a block of a file, is tried again.
    retry_delay : float, default=0.1
        Seconds to wait before trying again; twice as long each further time, up to a minute.
    max_errors : int, float or None, default=None
        The most streams that may be set aside, or their share of the streams; one more raises a RuntimeError that names
        them. None: no bound.

    Raises
    ------
    ValueError
        If a parameter is outside its range, ``streams`` is empty or no weight is positive.
    TypeError
        If a stream cannot be restarted: pass running generators to :func:`mux`.

    Warns
    -----
    UserWarning
        At the end of a pass, if streams were set aside; the ``stream_errors`` of its iterator tells all of them.
    UserWarning
        Once, if ``mode="single_active"`` makes a share impossible (distinct streams bound it by ``1 / n_active``).

    See Also
    --------
    mux : The same as a generator.
    ShuffledMux : All streams active at once.

    Notes
    -----
    In the modes without end a stream is activated with probability proportional to its weight divided by the mean length
    of its visits, which is what makes shares hold (renewal-reward); visits that end early are counted. In the modes that
    end, streams are activated, and items drawn from the active ones, in proportion to weight. With ``lam=None`` items are
    drawn in proportion to the weights of the active streams as well, so that shares hold among endless ones.

    "single_active" is conditional Poisson sampling [1]_.

    Muxes within a mux are started anew at each visit. They are planned together, to any depth, if they are alike: all of
    them :class:`StochasticMux` with replacement and with one ``n_active``, ``lam`` (a number) and ``dist``, or, above
    streams that are no muxes, all of them :class:`ShuffledMux`; none with a ``random_state`` of its own; and the innermost
    streams all arrays, or all files (with ``on_error="raise"``). Then slots and visits start anew, but each array or file
    has one cursor for the whole pass, as in a pool that is not nested. Batches take two to four times as long as there.
    Other muxes are started one by one, with their arrays and files, which takes a few tenths of a millisecond each time,
    and to read a block of each file.

    References
    ----------
    .. [1] Chen, Dempster and Liu, "Weighted finite population sampling to maximize entropy", Biometrika 81 (1994).

    Examples
    --------
    >>> from streamlearn import StochasticMux, Streamer
    >>> streams = [Streamer("a" * 100), Streamer("b" * 100), Streamer("c" * 100)]
    >>> stream = StochasticMux(streams, n_active=2, lam=4, random_state=0)
    >>> "".join(stream.generate(max_batches=20))
    'bbabbabaccabbbaabccc'
    >>> "".join(stream.generate(max_batches=20))  # another pass, another order
    'babaacbbbccccbbbbbab'
    """

    def __init__(
        self,
        streams: Iterable,
        n_active: int,
        lam: float | None = 256.0,
        *,
        pool_weights: Any = None,
        mode: str = "with_replacement",
        prune_empty_seeds: bool = True,
        dist: str = "poisson",
        random_state: Any = None,
        on_error: str = "raise",
        max_retries: int = 3,
        retry_delay: float = 0.1,
        max_errors: float | None = None,
    ) -> None:
        rules = OnError(on_error, max_retries, retry_delay, max_errors)
        super().__init__(as_streams(streams), random_state, rules)
        self._names = getattr(streams, "names", None)
        check_option("mode", mode, MODES)
        check_option("dist", dist, DISTS)
        check_lam(lam, dist)
        check_count("n_active", n_active)
        if not isinstance(prune_empty_seeds, (bool, np.bool_)):
            raise ValueError(f"prune_empty_seeds must be a bool, got {prune_empty_seeds!r}.")
        self._weights = pool_shares(streams, pool_weights, len(self._streams))
        self._n_active, self._lam, self._mode, self._dist = int(n_active), lam, mode, dist
        self._prune = bool(prune_empty_seeds)
        self._n_slots = self._n_active
        if mode != "with_replacement":
            self._n_slots = min(self._n_active, int((self._weights > 0).sum()))
        if mode == "single_active":
            self._warn_of_caps()

    @property
    def _never_ends(self) -> bool:
        if self._mode in ("with_replacement", "single_active"):
            return True
        return (self._mode == "exhaustive" or self._lam is None) and self._holds_endless()

    def _warn_of_caps(self) -> None:
        reached = self.expected_proportions()
        i = int(np.argmax(self._weights - reached))
        if self._weights[i] - reached[i] > 1e-9:
            name = "" if self._names is None else f" ({self._names[i]!r})"
            warnings.warn(
                f"pool_weights cannot hold with mode='single_active' and n_active={self._n_slots}: of distinct streams none "
                f"gives more than 1/{self._n_slots} of all items. Stream {i}{name} has weight {self._weights[i]:.4g} and will "
                f"give {reached[i]:.4g}; expected_proportions() tells all shares.",
                UserWarning,
                stacklevel=3,
            )

    def expected_proportions(self) -> np.ndarray:
        """Share of all items that each stream gives in the long run.

        In the modes that end: while the streams last.

        Returns
        -------
        shares : ndarray of shape (n_streams,)
            They sum to one.
        """
        if self._mode == "single_active" and self._lam is not None:
            return inclusion_probabilities(self._weights, self._n_slots) / self._n_slots
        return self._weights.copy()

    def _policy(self, rng: np.random.Generator) -> Policy:
        sizes = self._sizes()
        length = VisitLength(self._lam, self._dist, self._n_slots)
        by_weight = self._lam is None or self._mode in ("once", "exhaustive")
        n_slots = self._n_slots
        if self._mode != "with_replacement":  # streams that are known to be empty take no slot
            n_slots = max(1, min(n_slots, int(((self._weights > 0) & (sizes != 0)).sum())))
        arguments = (self._weights, sizes, n_slots, length, by_weight, rng)
        if self._mode == "with_replacement":
            return WithReplacement(*arguments, prune=self._prune)
        if self._mode == "single_active":
            return SingleActive(*arguments, prune=self._prune)
        return Ending(*arguments, again=self._mode == "exhaustive")

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int, sizes: Any = None) -> Any:
        return nested_reader(streams, seed)

    def _new_reader(self, seed: int) -> Any:
        was_pulled, reader = self._is_pulled, super()._new_reader(seed)
        if (
            reader is None
            and not was_pulled
            and self._lam is not None
            and self._mode in ("with_replacement", "single_active")
        ):
            warn_of_restarts(self._streams, self._lam)
        return reader

    @classmethod
    def _level(cls, muxes: Sequence[Any]) -> InVisits | None:
        first = muxes[0]
        settings = (first._n_active, first._lam, first._dist)
        if any(mux._mode != "with_replacement" or (mux._n_active, mux._lam, mux._dist) != settings for mux in muxes):
            return None
        odds = odds_of(muxes)
        if odds is None or first._lam is None:
            return None
        return InVisits(odds, first._n_active, VisitLength(first._lam, first._dist, first._n_active))

    def _settings(self) -> dict[str, Any]:
        return {"n_active": self._n_active, "lam": self._lam, "mode": self._mode, "dist": self._dist}


class _SinglePass(Streamer):
    """A running generator in the list of :func:`mux`: paused between visits, gone when exhausted, never closed here."""

    _single_pass = True

    def __init__(self, iterator: Iterator) -> None:
        super().__init__(())
        self._iterator = iterator

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        return map(_same, self._iterator)  # a view without a close: the generator is the caller's


def _same(item: Any) -> Any:
    return item


def mux(
    streams: Iterable,
    n_samples: int | None,
    n_active: int,
    lam: float | None = 256.0,
    pool_weights: Any = None,
    with_replacement: bool = True,
    prune_empty_seeds: bool = True,
    revive: bool = False,
    dist: str = "poisson",
    random_state: Any = None,
    on_error: str = "raise",
    max_retries: int = 3,
    retry_delay: float = 0.1,
    max_errors: float | None = None,
) -> Iterator:
    """Interleave a pool of streams at random: a generator of ``n_samples`` items.

    Parameters
    ----------
    streams : sequence of Streamers, iterables or running generators, or StreamPool
        The pool. A running generator is read once: it is paused when its visit ends, continued in its next one, and gone
        when exhausted. It stays the caller's to close.
    n_samples : int or None
        Number of items; None: without end.
    n_active : int
        Number of streams active at a time.
    lam, pool_weights, prune_empty_seeds, dist, random_state, on_error, max_retries, retry_delay, max_errors
        As in :class:`StochasticMux`. A running generator cannot be tried again.
    with_replacement : bool, default=True
        A stream may be active several times at once (mode "with_replacement").
    revive : bool, default=False
        Without replacement: whether a stream may return after its visit (mode "single_active"), or not (mode "once").

    Returns
    -------
    items : generator

    Raises
    ------
    ValueError
        At the call, if a parameter is outside its range.

    See Also
    --------
    StochasticMux : The same as a restartable stream.

    Examples
    --------
    >>> from streamlearn import Streamer, mux
    >>> "".join(mux([iter("aaaa"), "bb", "cc"], 12, 2, lam=2, random_state=0))
    'bbacbabacccc'
    >>> stream = Streamer(mux, ["aaaa", "bb", "cc"], 6, 2, lam=2)
    >>> len(list(stream)), len(list(stream))
    (6, 6)
    """
    check_max_batches(n_samples, "n_samples")
    mode = "with_replacement" if with_replacement else "single_active" if revive else "once"
    pool = streams
    if not hasattr(streams, "names"):
        pool = [_SinglePass(stream) if isinstance(stream, Iterator) else stream for stream in listed(streams)]
    stream = StochasticMux(
        pool,
        n_active,
        lam,
        pool_weights=pool_weights,
        mode=mode,
        prune_empty_seeds=prune_empty_seeds,
        dist=dist,
        random_state=random_state,
        on_error=on_error,
        max_retries=max_retries,
        retry_delay=retry_delay,
        max_errors=max_errors,
    )
    return stream.generate(n_samples)


mux._counts_visits = True  # type: ignore[attr-defined]  # of Streamer(mux, ..., random_state=seed)
