"""Permutations that are computed element by element and stored nowhere: the shuffled orders of passes over streams."""

from __future__ import annotations

import numpy as np

from . import _compiled
from ._random import mix32

# Up to this size a permutation is an argsort of hashes: exactly uniform, and cheap because rows are few. Feistel networks
# are poor on tiny domains.
_SORTED_SIZE = 64
# Of a permutation: a rectangle around it must not leave 32 bits.
LARGEST = 2**32 - 2**16
# Odd multipliers, two for each round of the Feistel network. After two rounds rows that follow each other would still do so
# twice as often as by chance: two that share the left half meet again with a chance of 1 / a in each. Four leave little.
_ROUNDS = [
    [np.uint32(c) for c in pair]
    for pair in (
        (0x7FEB352D, 0x85EBCA6B),
        (0xC2B2AE35, 0x27D4EB2F),
        (0xCC9E2D51, 0x1B873593),
        (0xE6546B65, 0x165667B1),
    )
]


def counted_from(starts: np.ndarray, lengths: np.ndarray, step: int = 1, order: np.ndarray | None = None) -> np.ndarray:
    """Return ``start, start + step, ...`` for each run, as many as it is long.

    Parameters
    ----------
    starts, lengths : ndarray of shape (n_runs,), int64
    step : int, default=1
    order : ndarray of shape (n_samples,), intp, optional
        Where each of them belongs among those that are returned; None (default): as they come, run after run.
    """
    if order is not None and _compiled.native is not None:
        counted = np.empty(len(order), np.int64)
        starts, lengths, order = (np.ascontiguousarray(part, np.int64) for part in (starts, lengths, order))
        _compiled.native.count(starts, lengths, step, order, counted)
        return counted
    ends = np.cumsum(lengths)
    n = int(ends[-1]) if len(ends) else 0
    counted = np.arange(0, n * step, step, dtype=np.int64)  # addresses do not fit what is usual on Windows
    counted += np.repeat(starts - step * (ends - lengths), lengths)
    if order is None:
        return counted
    in_order = np.empty_like(counted)
    in_order[order] = counted
    return in_order


def inverse(places: np.ndarray) -> np.ndarray:
    """Return the permutation that undoes another one."""
    order = np.empty(len(places), np.int64)
    order[places] = np.arange(len(places))
    return order


def permutation(size: int, key: int) -> np.ndarray:
    """Return all elements of a permutation."""
    if _compiled.native is None:
        n = np.array([size], np.int64)
        return permute(np.arange(size, dtype=np.int64), n, np.array([key], np.uint32), n)
    elements = np.empty(size, np.int64)
    _compiled.native.permute(size, key, elements)
    return elements


def permute(index: np.ndarray, size: np.ndarray, key: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Return the element at each ``index`` of the permutation of ``range(size)`` that ``key`` names.

    Parameters
    ----------
    index : ndarray of shape (n,), integer
        Positions, each below its size; run after run, where ``lengths`` are given.
    size : ndarray of shape (n_runs,), integer
        Sizes, at most 2**32 - 2**16.
    key : ndarray of shape (n_runs,), uint32
        Names the permutation: equal keys and sizes give one permutation.
    lengths : ndarray of shape (n_runs,), integer, optional
        How many positions of one permutation follow each other. None (default): each has a size and a key of its own.

    Returns
    -------
    elements : ndarray of shape (n,), int64
    """
    key = key.astype(np.uint32, copy=False)
    if lengths is None:
        lengths = np.ones(len(index), np.int64)
    small = size <= _SORTED_SIZE
    if small.all():
        return _permute_sorted(index, size, key, lengths)
    if not small.any():
        return _permute_feistel(index, size, key, lengths)
    out = np.empty(len(index), np.int64)
    for some, permuted in ((small, _permute_sorted), (~small, _permute_feistel)):
        of_some = np.repeat(some, lengths)
        out[of_some] = permuted(index[of_some], size[some], key[some], lengths[some])
    return out


def _permute_sorted(index: np.ndarray, size: np.ndarray, key: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sort hashes, one row of them for each permutation that is asked for."""
    name = mix32(key + size.astype(np.uint32) * np.uint32(0x85EBCA6B))
    # To compute a few permutations twice costs less than to sort the names.
    begins = (np.diff(name, prepend=~name[:1]) != 0) | (np.diff(size, prepend=0) != 0)
    first, which = np.flatnonzero(begins), np.repeat(np.cumsum(begins) - 1, lengths)
    width = int(size.max(initial=1))
    columns = np.arange(width, dtype=np.uint32)
    hashes = mix32(name[first][:, None] ^ (columns + np.uint32(1)) * np.uint32(0x9E3779B1))  # they all differ
    ranked = hashes.astype(np.uint64) << np.uint64(8) | columns
    ranked[columns >= size[first][:, None]] = np.iinfo(np.uint64).max
    ranked.sort(axis=1)
    return (ranked[which, index] & np.uint64(255)).astype(np.int64)


def _permute_feistel(index: np.ndarray, size: np.ndarray, key: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Walk a Feistel network on a rectangle ``a x 2**k``, the smallest that holds ``size`` for a ``2**k`` near its root.

    Black and Rogaway, "Ciphers with arbitrary finite domains", 2002: alternating modular additions of a keyed hash, and
    cycle walking for the few values outside (less than one in the root of ``size``). 32-bit arithmetic, which vectorises.
    """
    key = np.repeat(key, lengths)
    size = size[:1] if (size == size[0]).all() else np.repeat(size, lengths)
    n = size.astype(np.uint32)
    k = (np.frexp(size.astype(np.float64))[1] // 2).astype(np.uint32)  # 2**k is the root, to a factor of two
    a = (n + (np.uint32(1) << k) - np.uint32(1)) >> k
    x = _feistel(index.astype(np.uint32), a, k, key)
    outside = np.flatnonzero(x >= n)
    while outside.size:
        few = (part[outside] if len(part) == len(x) else part for part in (a, k, key))
        x[outside] = _feistel(x[outside], *few)
        outside = outside[x[outside] >= (n[outside] if len(n) == len(x) else n)]
    return x.astype(np.int64)


def _feistel(x: np.ndarray, a: np.ndarray, k: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Permute range(a * 2**k), which is cut into the pairs (left, right) of Z_a x Z_(2**k)."""
    mask = (np.uint32(1) << k) - np.uint32(1)
    shift = np.uint32(32) - k
    left, right = x >> k, x & mask
    for constants in _ROUNDS:
        h = _round(right, key, constants[0])
        h >>= np.uint32(16)
        h *= a
        h >>= np.uint32(16)
        left += h
        np.minimum(left, left - a, out=left)  # modulo a: below a, the difference wraps to a large number
        h = _round(left, key, constants[1])
        h >>= shift
        right += h
        right &= mask
    left <<= k
    left |= right
    return left


def _round(half: np.ndarray, key: np.ndarray, constant: np.uint32) -> np.ndarray:
    """Hash one half; its high bits are used."""
    h = half * np.uint32(0x9E3779B1)
    h ^= key
    h *= constant
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    return h
