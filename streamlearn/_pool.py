"""StreamPool: an ordered collection of streams with a weight and a name each."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from scipy import sparse

from ._array_reader import Table
from ._arrays import ArrayStream
from ._mux_base import as_streams
from ._processes import in_processes
from ._rows import n_rows
from ._streamer import Streamer
from ._visits import check_count, check_weights


class StreamPool(Sequence):
    """An ordered collection of streams, with a weight and a name each.

    A pool goes wherever scikit-learn wants an ``X`` of ``len(pool)`` things: cross-validation splits it by stream.

    Parameters
    ----------
    streams : sequence of Streamers or iterable containers, or StreamPool
        The streams, at least one.
    weights : array-like of shape (n_streams,), optional
        Shares for a mux; None (default): equal ones. The array is copied.
    names : sequence of str, optional
        A name for each, used in errors and counts; None (default): their positions.
    prefetch : int, default=0
        Number of processes that run the streams' functions ahead of their use; the items are the same for any number. 0: they
        run here, when an item is due. See Notes.

    Attributes
    ----------
    weights : ndarray of shape (n_streams,) or None
    names : tuple of str
    shape : tuple of int
        ``(n_streams,)``: scikit-learn then takes parts of a pool as pools, with weights and names.

    Raises
    ------
    TypeError
        If a stream cannot be restarted, or, with ``prefetch``, cannot be pickled.
    ValueError
        If there is no stream, or weights, names or ``prefetch`` do not fit.

    See Also
    --------
    from_arrays : A pool of streams of samples from arrays.
    StochasticMux : Interleave a pool.

    Notes
    -----
    ``prefetch`` is for functions that keep Python itself busy: they decode, parse or augment. (Files that are read by the block
    have a ``prefetch`` of their own, of threads, which suffice there.) Each process is sent all streams of the pool once: instead
    of large arrays, give them paths. An item is pickled and sent, which costs about 20 microseconds and two milliseconds for each
    megabyte; a process takes one to two seconds to start (as does each task of ``n_jobs=2``, which has processes of its own),
    and ends ten seconds after its last use, with the pool, or with the interpreter. So it pays where an item takes longer to
    make than to send, and in a search of many short fits it is better left to ``n_jobs``: of those with both, each fit starts
    processes of its own. Streams that share a process wait for each other. At most two chunks of a visit wait, of up to 256 items
    or a megabyte; when a visit ends early, what was made ahead is thrown away, at most as many items as were used and three.
    What a function changes outside of itself, it changes in its process alone.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn import StreamPool
    >>> pool = StreamPool(["aaa", "bb", "c"], weights=[2, 1, 1], names=["A", "B", "C"])
    >>> pool[1]
    Streamer('bb')
    >>> pool[np.array([True, False, True])]
    StreamPool(2 streams: 'A', 'C'; weighted)
    """

    def __init__(
        self, streams: Iterable, *, weights: Any = None, names: Sequence[str] | None = None, prefetch: int = 0
    ) -> None:
        self._streams = as_streams(streams)
        n = len(self._streams)
        if weights is None:
            weights = getattr(streams, "weights", None)
        if weights is not None:
            check_weights(weights, n, "weights")
            weights = _read_only(np.array(weights))
        self._weights: np.ndarray | None = weights
        if names is None:
            names = getattr(streams, "names", None) or _positions(n)
        self._names = tuple(names)
        if len(self._names) != n:
            raise ValueError(f"names must hold a name for each of the {n} streams, got {len(self._names)}.")
        for name in self._names:
            if not isinstance(name, str):
                raise ValueError(f"names must be strings, got {name!r}.")
        check_count("prefetch", prefetch, 0)
        if prefetch:
            self._streams = in_processes(self._streams, self._names, int(prefetch))

    @property
    def weights(self) -> np.ndarray | None:
        """Weights as given (read-only), or None: equal ones."""
        return self._weights

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each stream."""
        return self._names

    @property
    def shape(self) -> tuple[int]:
        """As that of an array: scikit-learn then takes parts of a pool as pools, with weights and names."""
        return (len(self._streams),)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"{self!r} is a pool of streams, no array: what needs arrays cannot be fitted to it, nor be a step before a "
            "StreamingEstimator. Fit a StreamingEstimator of it (it may transform), or let the streams' functions do it."
        )

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Streamer]:
        return iter(self._streams)

    @overload
    def __getitem__(self, index: int) -> Streamer: ...
    @overload
    def __getitem__(self, index: slice | Sequence | np.ndarray) -> StreamPool: ...
    def __getitem__(self, index: Any) -> Streamer | StreamPool:
        """Return one stream for an int, a pool for a slice, an array or list of ints, or a boolean mask."""
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:  # as scikit-learn indexes arrays
            index = index[0]
        if isinstance(index, numbers.Integral) and not isinstance(index, (bool, np.bool_)):
            return self._streams[int(index)]
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index]
        else:
            given = np.asarray(index)
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iub"):
                raise TypeError(
                    f"a pool is indexed by an int, a slice, or a list or array of ints or booleans, got {index!r}."
                )
            if given.dtype == bool and len(given) != len(self):
                raise IndexError(f"the mask has {len(given)} entries, the pool {len(self)} streams.")
            chosen = np.arange(len(self))[given if given.size else given.astype(np.intp)]
        return self._subset(chosen.tolist())

    def _subset(self, chosen: list[int]) -> StreamPool:
        """A pool of some of the streams; nothing needs checking again, and it may be empty, as any slice."""
        pool = object.__new__(type(self))
        pool._streams = [self._streams[i] for i in chosen]
        pool._weights = None if self._weights is None else _read_only(self._weights[chosen])
        pool._names = tuple(self._names[i] for i in chosen)
        return pool

    def __add__(self, other: Any) -> StreamPool:
        """Join two pools, one after the other; weights are kept if both have them."""
        if not isinstance(other, StreamPool):
            return NotImplemented
        if (self._weights is None) != (other._weights is None):
            raise ValueError("only one of the two pools has weights: give both weights, or neither.")
        weights = None if self._weights is None else np.concatenate([self._weights, other.weights])
        names: list[str] | None = [*self._names, *other._names]
        if all(pool._names == _positions(len(pool)) for pool in (self, other)):
            names = None
        return StreamPool([*self._streams, *other._streams], weights=weights, names=names)

    def __copy__(self) -> StreamPool:
        return self

    def __deepcopy__(self, memo: dict) -> StreamPool:
        return self

    def __sklearn_clone__(self) -> StreamPool:
        return self

    def __repr__(self) -> str:
        n = len(self)
        shown = ", ".join(map(repr, self._names[:3])) + (", ..." if n > 3 else "")
        weighted = "" if self._weights is None else "; weighted"
        return f"StreamPool({n} stream{'' if n == 1 else 's'}{': ' if n else ''}{shown}{weighted})"


def _positions(n: int) -> tuple[str, ...]:
    """Names of streams that were given none."""
    return tuple(map(str, range(n)))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def from_arrays(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    by: Any = None,
    n_streams: int | None = None,
    shuffle: bool = True,
) -> StreamPool:
    """Make a pool of streams of samples from arrays, without copying them.

    Parameters
    ----------
    X : array-like, sparse matrix, DataFrame or list of str, of shape (n_samples, ...)
        Samples. Arrays may be memory-mapped.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Targets.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the samples.
    by : array-like of shape (n_samples,) or "y", optional
        A stream for each value, named by it; "y" gives a stream for each class. Rows of None (or NaN among
        texts) are one, the last, named "None".
    n_streams : int, optional
        Number of blocks of rows, of equal size to one row. Without ``by`` and ``n_streams`` there is one stream.
    shuffle : bool, default=True
        Whether each pass over a stream has an order of its own, drawn from the ``random_state`` of the mux or estimator that
        reads it.

    Returns
    -------
    pool : StreamPool
        The unit of its streams is one sample: an item is a mapping with ``X``, ``y`` and ``sample_weight`` as given. A mux
        of such streams gives any number of samples at once.

    Raises
    ------
    ValueError
        If lengths differ, there are no rows, ``by`` and ``n_streams`` are both given, or there are more blocks than rows.

    See Also
    --------
    StreamPool : The pool.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn import from_arrays
    >>> X, y = np.arange(12.0).reshape(6, 2), np.array(["a", "b", "a", "b", "b", "a"])
    >>> pool = from_arrays(X, y, by="y", shuffle=False)
    >>> pool.names
    ('a', 'b')
    >>> sample = next(pool[1].generate())
    >>> sample["X"].tolist(), str(sample["y"])
    ([2.0, 3.0], 'b')
    """
    columns = _columns(X, y, sample_weight)
    table = Table(columns)
    n = table.n_rows
    if not n:
        raise ValueError("X has no rows: from_arrays needs at least one sample.")
    if by is not None and n_streams is not None:
        raise ValueError(f"by and n_streams={n_streams!r} exclude each other: give one of them.")
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"shuffle must be a bool, got {shuffle!r}.")
    if by is not None:
        values, bounds, order = _group(by, columns, n)
        streams = [ArrayStream(table, a, b, order, bool(shuffle)) for a, b in itertools.pairwise(bounds)]
        return StreamPool(streams, names=[str(value) for value in values])
    if n_streams is None:
        n_streams = 1
    check_count("n_streams", n_streams)
    if n_streams > n:
        raise ValueError(f"n_streams={n_streams} is more than the {n} rows of X.")
    edges = (np.arange(n_streams + 1) * n // n_streams).tolist()
    return StreamPool([ArrayStream(table, a, b, None, bool(shuffle)) for a, b in itertools.pairwise(edges)])


def _columns(X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    if sparse.issparse(X):
        X = X.tocsr()
    elif isinstance(X, (range, memoryview)) or (isinstance(X, (list, tuple)) and X and not isinstance(X[0], str)):
        X = np.asarray(X)
    elif not hasattr(X, "__len__") and not hasattr(X, "shape"):
        raise ValueError(f"X must be an array, a sparse matrix, a DataFrame or a list, got {X!r}.")
    if getattr(X, "shape", (1,)) == ():
        raise ValueError(f"X must have rows, got the scalar {X!r}.")
    columns = {"X": X}
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None:
            columns[name] = np.asarray(values)
            if columns[name].ndim == 0 or len(columns[name]) != n_rows(X):
                raise ValueError(f"{name} must have a row for each of the {n_rows(X)} rows of X, got {values!r}.")
    return columns


def _group(by: Any, columns: dict[str, Any], n: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    if isinstance(by, str):
        if by != "y":
            raise ValueError(f"by must be an array with a value for each row, or 'y', got {by!r}.")
        if "y" not in columns:
            raise ValueError("by='y' needs y.")
        by = columns["y"]
    by = np.asarray(by)
    if by.shape != (n,):
        raise ValueError(f"by must have a value for each of the {n} rows of X, got shape {by.shape}.")
    missing = np.zeros(n, bool)
    try:
        if by.dtype == object:
            missing = (by == None) | (by != by)  # noqa: E711  of each value
        values, known, counts = np.unique(by[~missing], return_inverse=True, return_counts=True)
    except TypeError as error:
        raise ValueError(f"by must hold values of one kind that can be sorted: {error}.") from None
    codes = np.full(n, len(values))
    codes[~missing] = known
    if missing.any():
        values, counts = np.array([*values, None], object), np.array([*counts, missing.sum()])
    return values, [0, *np.cumsum(counts).tolist()], np.argsort(codes, kind="stable")
