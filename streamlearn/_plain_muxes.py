"""Muxes of all their streams: at random, in turn, or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ._failures import OnError
from ._mux_base import BaseMux, as_streams, pool_shares
from ._mux_iterator import MuxIterator
from ._nested import EachSample, nested_reader, odds_of
from ._policies import Chain, Policy, RoundRobin, Shuffled
from ._random import fresh_seed, mix
from ._streamer import Streamer, as_streamer, function_name
from ._visits import check_option


class ShuffledMux(BaseMux):
    """Interleave all streams at random, each always active and restarted when it is exhausted.

    Parameters
    ----------
    streams : sequence of Streamers or iterables, or StreamPool
        The pool.
    pool_weights : array-like of shape (n_streams,), optional
        Chance of each stream to give the next item. None (default): equal, or the weights of the pool.
    random_state : int, RandomState, Generator or None, default=None
        As in :class:`StochasticMux`.
    on_error, max_retries, retry_delay, max_errors
        As in :class:`StochasticMux`.

    Raises
    ------
    ValueError
        If ``streams`` is empty or a weight is not usable.

    See Also
    --------
    StochasticMux : A bounded number of active streams.

    Examples
    --------
    >>> from streamlearn import ShuffledMux
    >>> "".join(ShuffledMux(["ab", "xyz"], pool_weights=[1, 3], random_state=0).generate(max_batches=12))
    'xayzxbyzxyaz'
    """

    def __init__(
        self,
        streams: Iterable,
        *,
        pool_weights: Any = None,
        random_state: Any = None,
        on_error: str = "raise",
        max_retries: int = 3,
        retry_delay: float = 0.1,
        max_errors: float | None = None,
    ) -> None:
        rules = OnError(on_error, max_retries, retry_delay, max_errors)
        super().__init__(as_streams(streams), random_state, rules)
        self._names = getattr(streams, "names", None)
        self._weights = pool_shares(streams, pool_weights, len(self._streams))

    _never_ends = True

    def _policy(self, rng: np.random.Generator) -> Policy:
        return Shuffled(self._weights, self._sizes(), rng)

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int, sizes: Any = None) -> Any:
        return nested_reader(streams, seed)

    @classmethod
    def _level(cls, muxes: Sequence[Any]) -> EachSample | None:
        odds = None if hasattr(type(muxes[0]._streams[0]), "_level") else odds_of(muxes)
        return None if odds is None else EachSample(odds)


class RoundRobinMux(BaseMux):
    """Take one item of each stream in turn.

    Parameters
    ----------
    streams : sequence of Streamers or iterables, or StreamPool
        The pool; weights do not matter here.
    mode : {"exhaustive", "cycle", "permuted_cycle"}, default="exhaustive"
        A stream that is exhausted drops out of the turn. When all are: "exhaustive" ends, "cycle" starts all of them again,
        "permuted_cycle" does so in a new random order (the first cycle's is random, too). Cycling ends after a cycle
        without an item.
    random_state : int, RandomState, Generator or None, default=None
        For "permuted_cycle", and for streams that take seeds.
    on_error, max_retries, retry_delay, max_errors
        As in :class:`StochasticMux`.

    Raises
    ------
    ValueError
        If ``streams`` is empty or ``mode`` unknown.

    See Also
    --------
    ChainMux : One stream after the other.

    Examples
    --------
    >>> from streamlearn import RoundRobinMux
    >>> "".join(RoundRobinMux(["abc", "x", "12"]))
    'ax1b2c'
    """

    def __init__(
        self,
        streams: Iterable,
        *,
        mode: str = "exhaustive",
        random_state: Any = None,
        on_error: str = "raise",
        max_retries: int = 3,
        retry_delay: float = 0.1,
        max_errors: float | None = None,
    ) -> None:
        rules = OnError(on_error, max_retries, retry_delay, max_errors)
        super().__init__(as_streams(streams), random_state, rules)
        self._names = getattr(streams, "names", None)
        check_option("mode", mode, ("exhaustive", "cycle", "permuted_cycle"))
        self._mode = mode

    @property
    def _never_ends(self) -> bool:
        return self._mode != "exhaustive" or self._holds_endless()

    def _policy(self, rng: np.random.Generator) -> Policy:
        return RoundRobin(self._sizes(), self._mode, rng)

    def _settings(self) -> dict[str, Any]:
        return {"mode": self._mode}


class ChainMux(BaseMux):
    """Take all items of each stream, one stream after the other.

    Parameters
    ----------
    streams : sequence of Streamers or iterables, StreamPool, or callable
        The pool, or a generator function of streams, which is asked for the next stream when the last one is exhausted.
    mode : {"exhaustive", "cycle"}, default="exhaustive"
        "exhaustive" ends after the last stream, "cycle" begins again with the first, until a whole cycle yields nothing.
    random_state : int, RandomState, Generator or None, default=None
        For streams that take seeds.
    on_error, max_retries, retry_delay, max_errors
        As in :class:`StochasticMux`; of a generator function of streams, they are set aside by their number in a cycle, and
        ``max_errors`` is an int.

    Raises
    ------
    ValueError
        If ``streams`` is an empty sequence or ``mode`` unknown.

    See Also
    --------
    RoundRobinMux : One item of each stream in turn.

    Examples
    --------
    >>> from streamlearn import ChainMux
    >>> "".join(ChainMux(["abc", "x", "12"]))
    'abcx12'
    >>> def growing():
    ...     for n in range(1, 4):
    ...         yield range(n)
    >>> list(ChainMux(growing))
    [0, 0, 1, 0, 1, 2]
    """

    def __init__(
        self,
        streams: Iterable | Callable[[], Iterable],
        *,
        mode: str = "exhaustive",
        random_state: Any = None,
        on_error: str = "raise",
        max_retries: int = 3,
        retry_delay: float = 0.1,
        max_errors: float | None = None,
    ) -> None:
        check_option("mode", mode, ("exhaustive", "cycle"))
        lazy = callable(streams) and not isinstance(streams, Iterable)
        rules = OnError(on_error, max_retries, retry_delay, max_errors)
        if lazy and isinstance(max_errors, float):
            raise ValueError(
                f"max_errors={max_errors!r} is a share of the streams, whose number is not known of {function_name(streams)}: "
                "pass an int."
            )
        super().__init__(streams if lazy else as_streams(streams), random_state, rules)
        self._names = None if lazy else getattr(streams, "names", None)
        self._lazy = lazy
        self._mode = mode

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> MuxIterator:
        if not self._lazy:
            return super()._start(seed, visit)
        parent = self._own_seed if self._own_seed is not None else seed
        own = fresh_seed() if parent is None else mix(parent, *visit)
        current: dict[int, Streamer] = {}
        policy = Chain(lambda number: self._ask(current, mix(own, 3), (*visit, number)), self._mode == "cycle")
        return MuxIterator(current, policy, mix(own, 2), visit, None, rules=self._rules)

    @property
    def _never_ends(self) -> bool:
        return self._mode == "cycle" or self._holds_endless()

    def _ask(self, current: dict[int, Streamer], seed: int, cycle: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        """Ask the generator function for streams, keeping only the one that is due."""
        for position, stream in enumerate(Streamer(self._streams)._start(seed, cycle)):
            streamer = as_streamer(stream, f"stream {position} of {function_name(self._streams)}")
            current.clear()
            current[position] = streamer
            yield position, streamer._n_samples

    def _policy(self, rng: np.random.Generator) -> Policy:
        sizes = self._sizes().tolist()
        return Chain(lambda number: iter(enumerate(sizes)), self._mode == "cycle")

    def _settings(self) -> dict[str, Any]:
        return {"mode": self._mode}

    def __repr__(self) -> str:
        return f"ChainMux({function_name(self._streams)}, mode={self._mode!r})" if self._lazy else super().__repr__()
