"""Seeds: every random choice of the package is derived here from a ``random_state``.

A seed is an int of 64 bits. Children are derived by hashing the parent's seed with their position and visit number, so
that neither the order of visits nor the number of workers can change them, and a child costs a microsecond instead of
the ten of a ``SeedSequence``. The permutations of :func:`permute` are computed element by element and stored nowhere.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

_MASK = (1 << 64) - 1
# Up to this size a permutation is an argsort of hashes: exactly uniform, and cheap because rows are few. Feistel networks
# are poor on tiny domains.
_SORTED_SIZE = 64
# Of a permutation: a rectangle around it must not leave 32 bits.
LARGEST = 2**32 - 2**16
# Odd multipliers, one for each round of the Feistel network.
_ROUNDS = [np.uint32(c) for c in (0x7FEB352D, 0xC2B2AE35, 0x85EBCA6B, 0x27D4EB2F)]


def mix(*keys: int) -> int:
    """Hash integers into a seed of 64 bits.

    The finaliser is that of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    h = 0x9E3779B97F4A7C15
    for key in keys:
        h = ((h ^ (key & _MASK)) + 0x9E3779B97F4A7C15) & _MASK
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
        h ^= h >> 31
    return h


def fresh_seed() -> int:
    """Return a seed from the operating system's entropy; numpy's global state is not touched."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


def seed_from(random_state: Any) -> int | None:
    """Return the seed that a ``random_state`` stands for: None stays None, a generator gives a draw."""
    if random_state is None:
        return None
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state must not be negative, got {random_state!r}.")
        return mix(int(random_state))
    if isinstance(random_state, np.random.RandomState):
        return mix(*random_state.randint(0, 2**31 - 1, size=2).tolist())
    if isinstance(random_state, np.random.Generator):
        return mix(*random_state.integers(0, 2**31 - 1, size=2).tolist())
    raise ValueError(
        "random_state must be None, an int, a numpy.random.RandomState or a numpy.random.Generator, "
        f"got {random_state!r}."
    )


def small_seed(seed: int) -> int:
    """Return a seed that fits ``numpy.random.RandomState`` and scikit-learn's ``random_state``."""
    return seed >> 33


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def mix_array(seed: int, keys: np.ndarray) -> np.ndarray:
    """Hash each of ``keys`` with ``seed``: the vectorised sibling of :func:`mix`, as uint32."""
    h = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed & _MASK)
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    return (h >> np.uint64(32)).astype(np.uint32)


def mix32(h: np.ndarray) -> np.ndarray:
    """Hash uint32 values in place (the "lowbias32" constants of C. Wellons' hash prospector)."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h


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
    name = key.astype(np.uint64) << np.uint64(32) | size.astype(np.uint64)
    # To compute a few permutations twice costs less than to sort the names.
    begins = np.diff(name, prepend=~name[:1]) != 0
    first, which = np.flatnonzero(begins), np.repeat(np.cumsum(begins) - 1, lengths)
    width = int(size.max(initial=1))
    columns = np.arange(width, dtype=np.uint64)
    hashes = mix_array(
        0x2545F4914F6CDD1D, (name[first][:, None] ^ (columns + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93))
    )
    ranked = hashes.astype(np.uint64) << np.uint64(8) | columns  # the column breaks ties, so that no sort kind matters
    ranked[columns >= size[first][:, None].astype(np.uint64)] = np.iinfo(np.uint64).max
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
    for constants in _ROUNDS[::2], _ROUNDS[1::2]:
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
