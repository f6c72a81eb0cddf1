"""StreamFactory: makes streams from data, with parameters that can be searched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import BaseEstimator, clone

from ._streamer import Streamer, function_name, short_repr


class StreamFactory:
    """Make one stream for each value of a parameter.

    Called with data, a factory returns ``Streamer(function, *data, **values)`` for each combination of values. Its
    parameters can be set and searched, as ``streams__<name>`` in a :class:`StreamingEstimator`.

    Parameters
    ----------
    function : callable
        A generator function, or another callable that returns an iterable of batches.
    **values
        Parameters of the function. A list or tuple gives a stream for each of its elements, and for each combination where
        there are several lists, the last one varying fastest; another value is passed as it is.

    Raises
    ------
    TypeError
        If ``function`` cannot be called.

    See Also
    --------
    StreamingEstimator : Takes a factory as ``streams``.

    Examples
    --------
    >>> from streamlearn import StreamFactory
    >>> def scaled(X, factor):
    ...     for x in X:
    ...         yield factor * x
    >>> factory = StreamFactory(scaled, factor=[1, 10])
    >>> [list(stream) for stream in factory([1, 2])]
    [[1, 2], [10, 20]]
    >>> factory.set_params(factor=[3]).get_params()
    {'factor': [3]}
    """

    def __init__(self, function: Callable[..., Iterable], **values: Any) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}.")
        self._function = function
        self._values = values

    def __call__(self, *data: Any) -> list[Streamer]:
        """Return a Streamer for each combination of values, called with ``data`` first."""
        choices = [value if isinstance(value, (list, tuple)) else (value,) for value in self._values.values()]
        for name, choice in zip(self._values, choices, strict=True):
            if not choice:
                raise ValueError(f"{name} of {self!r} is empty: it needs at least one value.")
        return [
            Streamer(self._function, *data, **dict(zip(self._values, combination, strict=True)))
            for combination in itertools.product(*choices)
        ]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the values by name.

        Parameters
        ----------
        deep : bool, default=True
            Ignored; for scikit-learn.

        Returns
        -------
        params : dict
        """
        return dict(self._values)

    def set_params(self, **params: Any) -> StreamFactory:
        """Change values.

        Parameters
        ----------
        **params
            New values, of names that the factory has.

        Returns
        -------
        self : StreamFactory

        Raises
        ------
        ValueError
            If a name is not among the parameters.
        """
        for name in params:
            if name not in self._values:
                raise ValueError(
                    f"Invalid parameter {name!r} for factory {self!r}. Valid parameters are: {sorted(self._values)}; others of "
                    f"the function are when they are given to it, StreamFactory({function_name(self._function)}, {name}=...)."
                )
        self._values.update(params)
        return self

    def __sklearn_clone__(self) -> StreamFactory:
        # values are shared: what a factory holds may be data
        return StreamFactory(self._function, **self._values)

    def __repr__(self) -> str:
        values = [f"{name}={short_repr(value)}" for name, value in self._values.items()]
        return f"StreamFactory({', '.join([function_name(self._function), *values])})"


def cloned_factory(factory: Any) -> Any:
    """Return a factory that shares the data of this one, which may be large or cannot be copied, but not its parameters."""
    how = getattr(type(factory), "__sklearn_clone__", None)
    if how not in (None, BaseEstimator.__sklearn_clone__):
        return clone(factory)
    if hasattr(factory, "get_params") and not isinstance(factory, type):
        params = factory.get_params(deep=False)
        return type(factory)(**{name: clone(v) if hasattr(v, "get_params") else v for name, v in params.items()})
    return factory
