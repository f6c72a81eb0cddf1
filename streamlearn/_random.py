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
_N_ROUNDS = 4


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


def permute(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return the element at each ``index`` of the permutation of ``range(size)`` that ``key`` names.

    Parameters
    ----------
    index, size : ndarray of shape (n,), integer
        Positions, each below its size; sizes are at most 2**32 - 1.
    key : ndarray of shape (n,), uint32
        Names the permutation: equal keys and sizes give one permutation.

    Returns
    -------
    elements : ndarray of shape (n,), int64
    """
    out = np.empty(len(index), np.int64)
    small = size <= _SORTED_SIZE
    if small.any():
        if small.all():
            return _permute_sorted(index, size, key)
        large = ~small
        out[small] = _permute_sorted(index[small], size[small], key[small])
        out[large] = _permute_feistel(index[large], size[large], key[large])
        return out
    return _permute_feistel(index, size, key)


def _permute_sorted(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Sort hashes, one row of them for each permutation that is asked for."""
    name = key.astype(np.uint64) << np.uint64(32) | size.astype(np.uint64)
    _, first, which = np.unique(name, return_index=True, return_inverse=True)
    width = int(size.max(initial=1))
    columns = np.arange(width, dtype=np.uint64)
    hashes = mix_array(
        0x2545F4914F6CDD1D, (name[first][:, None] ^ (columns + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93))
    )
    ranked = hashes.astype(np.uint64) << np.uint64(8) | columns  # the column breaks ties, so that no sort kind matters
    ranked[columns >= size[first][:, None].astype(np.uint64)] = np.iinfo(np.uint64).max
    ranked.sort(axis=1)
    return (ranked[which, index] & np.uint64(255)).astype(np.int64)


def _permute_feistel(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Walk a Feistel network on Z_a x Z_b, the smallest such rectangle that holds ``size``.

    Black and Rogaway, "Ciphers with arbitrary finite domains", 2002: alternating modular additions of a keyed hash, and
    cycle walking for the less than ``sqrt(size)`` values outside. 32-bit arithmetic throughout, which vectorises.
    """
    n = size.astype(np.uint32)
    b = np.ceil(np.sqrt(size)).astype(np.uint32)
    a = (n + (b - np.uint32(1))) // b
    x = index.astype(np.uint32)
    todo: np.ndarray | None = None
    key = key.astype(np.uint32)
    result = x
    while True:
        x = _feistel_pass(x, a, b, key)
        outside = x >= n
        if todo is None:
            result = x
        else:
            result[todo] = x
        if not outside.any():
            return result.astype(np.int64)
        where = np.flatnonzero(outside)
        todo = where if todo is None else todo[where]
        x, n, a, b, key = x[where], n[where], a[where], b[where], key[where]


def _feistel_pass(x: np.ndarray, a: np.ndarray, b: np.ndarray, key: np.ndarray) -> np.ndarray:
    left = x // b
    right = x - left * b
    n_left, n_right = a, b
    for turn in range(_N_ROUNDS):
        h = right * np.uint32(0x9E3779B1)
        h += key + np.uint32(0x85EBCA6B * (turn + 1) & 0xFFFFFFFF)
        h = mix32(h)
        h >>= np.uint32(16)
        h *= n_left
        h >>= np.uint32(16)
        h += left
        np.subtract(h, n_left, out=h, where=h >= n_left)
        left, right, n_left, n_right = right, h, n_right, n_left
    # an even number of rounds: the halves stand where they began
    return left * b + right
