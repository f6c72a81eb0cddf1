"""Streamer: a restartable source of items.

Two objects, kept apart: a :class:`Streamer` is a constant description, and what ``_start`` returns is its running
iterator, which owns position and random state. That is what makes clones free and several live passes safe.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from ._passes import Passes
from ._random import fresh_seed, light_generator, mix, seed_from, small_seed

_SEED_PARAMETERS = ("random_state", "rng")


class Streamer:
    """A restartable stream: a container for a generator that is not yet running.

    A Streamer never changes after construction. ``copy.copy``, ``copy.deepcopy`` and :func:`sklearn.base.clone` return
    the Streamer itself, so that none of them copies the arguments that it holds; it pickles when its callable and its
    arguments do, running or not.

    Parameters
    ----------
    streamer : callable, iterable container or Streamer
        A callable that returns an iterable (a generator function, say), an iterable container such as a list, or
        another Streamer.
    *args, **kwargs
        What the callable is called with, anew at each start. If the callable takes a parameter ``random_state`` (an
        int) or ``rng`` (a :class:`numpy.random.Generator`) that is not among them, each start gets its own, derived from
        the ``random_state`` of the mux or estimator that starts it, the stream's position there and the number of the
        visit; on its own a Streamer gives it fresh entropy.

    Raises
    ------
    TypeError
        If ``streamer`` is a running generator or another one-shot iterator, if it can be neither called nor iterated,
        or if the callable does not take the arguments.

    See Also
    --------
    streamable : Make a generator function return Streamers.
    StochasticMux : Interleave many streams.
    StreamPool : Many streams with weights and names.

    Examples
    --------
    >>> from streamlearn import Streamer
    >>> def count(start, stop):
    ...     yield from range(start, stop)
    >>> stream = Streamer(count, 3, stop=6)
    >>> list(stream), list(stream)
    ([3, 4, 5], [3, 4, 5])
    >>> list(stream.cycle(max_batches=5))
    [3, 4, 5, 3, 4]
    """

    # What a mux asks of the streams that it holds; sources of samples answer otherwise.
    _n_samples = -1  # number of samples of a pass, -1 if it is not known
    _one_cursor = False  # whether all visits within one pass of a mux share a cursor
    _single_pass = False  # whether it can be started only once
    _feature_names: tuple[str, ...] | None = None  # of the columns of the arrays that it gives, where they are known
    _never_ends: Any = False  # whether it is known to go on for ever: others may as well

    def __init__(self, streamer: Callable[..., Iterable] | Iterable, *args: Any, **kwargs: Any) -> None:
        if isinstance(streamer, Iterator):
            raise TypeError(
                f"streamer is a running {type(streamer).__name__}, {streamer!r}, which could be read only once. Pass "
                "the function and its arguments instead: Streamer(function, *args, **kwargs)."
            )
        self._callable = callable(streamer) and not isinstance(streamer, Streamer)
        self._seed_parameters: tuple[str, ...] = ()
        if self._callable:
            self._seed_parameters = _missing_seed_parameters(cast("Callable", streamer), args, kwargs)
        elif not isinstance(streamer, Iterable):
            raise TypeError(
                "streamer must be a callable that returns an iterable, an iterable container or a Streamer, "
                f"got {streamer!r}."
            )
        elif args or kwargs:
            raise TypeError(f"streamer {streamer!r} is not callable: it takes no arguments, got {args} and {kwargs}.")
        self._streamer: Any = streamer
        self._args = args
        self._kwargs = kwargs

    @property
    def streamer(self) -> Any:
        """The callable, container or Streamer."""
        return self._streamer

    @property
    def args(self) -> tuple:
        """Positional arguments of the callable."""
        return self._args

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the callable (a copy)."""
        return dict(self._kwargs)

    def generate(self, max_batches: int | None = None) -> Passes:
        """Start afresh and yield items.

        Parameters
        ----------
        max_batches : int, optional
            Stop after that many items; None (default) goes on to the end of the stream.

        Returns
        -------
        items : Passes
            An iterator over the items, which are untouched. It says and takes back its state.
        """
        check_max_batches(max_batches)
        return Passes(self, max_batches, again=False)

    def cycle(self, max_batches: int | None = None) -> Passes:
        """Yield items, starting anew whenever the stream is exhausted, until a whole pass yields nothing.

        Parameters
        ----------
        max_batches : int, optional
            Stop after that many items; None (default) goes on for ever.

        Returns
        -------
        items : Passes
            An iterator over the items, which are untouched. It says and takes back its state.
        """
        check_max_batches(max_batches)
        return Passes(self, max_batches, again=True)

    def __iter__(self) -> Passes:
        return self.generate()

    def _next_pass(self, last: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Number of a pass that no mux starts: the one after ``last``, if given, else the next of all.

        A plain stream counts none: without a parent its seeds are fresh.
        """
        return self._streamer._next_pass(last) if isinstance(self._streamer, Streamer) else (0,)

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        """Return a new running iterator.

        Parameters
        ----------
        seed : int or None
            Derived by the parent from its own seed and this stream's position; None without a seeded parent.
        visit : tuple of int
            Number of this visit, within the pass of each parent.
        """
        if not self._callable:
            if isinstance(self._streamer, Streamer):
                return self._streamer._start(seed, visit)
            return iter(self._streamer)
        if self._seed_parameters:
            own = fresh_seed() if seed is None else mix(seed, *visit)
            made = self._streamer(*self._args, **self._kwargs, **_seed_arguments(self._seed_parameters, own))
        else:
            made = self._streamer(*self._args, **self._with_visit(visit))
        if isinstance(made, Streamer):
            return made._start(seed, visit)
        if not isinstance(made, Iterable):
            raise TypeError(f"{function_name(self._streamer)} must return an iterable, got {made!r}.")
        return iter(made)

    def _start_endless(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        """Return a cursor that goes on into the next pass for ever; for streams with ``_one_cursor``."""
        raise NotImplementedError

    @classmethod
    def _joint_reader(cls, streams: Sequence[Streamer], seed: int, sizes: Any = None) -> Any:
        """Return an object that reads blocks of samples from all of ``streams`` at once, or None: they cannot.

        ``sizes`` are their numbers of samples, where these were asked for before.
        """
        return None

    def _with_visit(self, visit: tuple[int, ...]) -> dict[str, Any]:
        """Keyword arguments; the seed that a mux was given is combined with the number of the visit, if not the first."""
        state = self._kwargs.get("random_state")
        if state is None or not any(visit) or not getattr(self._streamer, "_counts_visits", False):
            return self._kwargs
        return {**self._kwargs, "random_state": small_seed(mix(seed_from(state) or 0, *visit))}

    def __copy__(self) -> Streamer:
        return self

    def __deepcopy__(self, memo: dict) -> Streamer:
        return self

    def __sklearn_clone__(self) -> Streamer:
        return self

    def __repr__(self) -> str:
        if not self._callable:
            return f"{type(self).__name__}({short_repr(self._streamer)})"
        parts = [function_name(self._streamer), *map(short_repr, self._args)]
        parts += [f"{name}={short_repr(value)}" for name, value in self._kwargs.items()]
        return f"{type(self).__name__}({', '.join(parts)})"


def streamable(function: Callable[..., Iterable]) -> Callable[..., Streamer]:
    """Turn a generator function into one that returns a :class:`Streamer`.

    Parameters
    ----------
    function : callable
        A generator function, or another callable that returns an iterable.

    Returns
    -------
    factory : callable
        Takes the arguments of ``function`` and returns ``Streamer(function, *args, **kwargs)``.

    See Also
    --------
    Streamer : The stream that is returned.

    Examples
    --------
    >>> from streamlearn import streamable
    >>> @streamable
    ... def count(n):
    ...     yield from range(n)
    >>> list(count(3))
    [0, 1, 2]
    """
    if not callable(function):
        raise TypeError(f"streamable takes a function, got {function!r}.")

    @functools.wraps(function)
    def make_streamer(*args: Any, **kwargs: Any) -> Streamer:
        return Streamer(_Decorated(make_streamer, function), *args, **kwargs)

    return make_streamer


class _Decorated:
    """The function under a ``@streamable``; pickled by the public name, which the decorator has taken over."""

    def __init__(self, public: Callable, function: Callable) -> None:
        self.public = public
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Iterable:
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return _undecorate, (self.public,)


def _undecorate(public: Callable) -> _Decorated:
    return _Decorated(public, public.__wrapped__)  # type: ignore[attr-defined]


def as_streamer(stream: Any, where: str) -> Streamer:
    """Return ``stream`` as a Streamer, with an error that says ``where`` it stands."""
    if isinstance(stream, Streamer):
        return stream
    try:
        return Streamer(stream)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None


def check_max_batches(max_batches: Any, name: str = "max_batches") -> None:
    if max_batches is None:
        return
    if not isinstance(max_batches, numbers.Integral) or isinstance(max_batches, bool) or max_batches < 0:
        raise ValueError(f"{name} must be a non-negative int or None, got {max_batches!r}.")


def function_name(function: Any) -> str:
    function = getattr(function, "__wrapped__", function)
    return getattr(function, "__qualname__", None) or short_repr(function)


def short_repr(value: Any, limit: int = 40) -> str:
    """A repr that never prints data: arrays show type, dtype and shape."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        dtype = getattr(value, "dtype", None)
        return f"<{type(value).__name__} {'x'.join(map(str, shape))}{'' if dtype is None else f' {dtype}'}>"
    if isinstance(value, (list, tuple, dict, set)) and len(value) > 8:
        return f"<{type(value).__name__} of {len(value)}>"
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _missing_seed_parameters(function: Callable, args: tuple, kwargs: dict) -> tuple[str, ...]:
    """Names among ``random_state`` and ``rng`` that ``function`` takes and was not given; checks the call as well."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return ()
    try:
        bound = signature.bind_partial(*args, **kwargs).arguments
        missing = tuple(name for name in _SEED_PARAMETERS if name in signature.parameters and name not in bound)
        signature.bind(*args, **kwargs, **dict.fromkeys(missing))
    except TypeError as error:
        raise TypeError(
            f"{function_name(function)}{signature} cannot be called with these arguments: {error}."
        ) from None
    return missing


def _seed_arguments(names: tuple[str, ...], seed: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "random_state" in names:
        values["random_state"] = small_seed(seed)
    if "rng" in names:
        values["rng"] = light_generator(seed)
    return values
