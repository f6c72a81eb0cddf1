"""Seeds: every random choice of the package is derived here from a ``random_state``.

A seed is an int of 64 bits. Children are derived by hashing the parent's seed with their position and visit number, so
that neither the order of visits nor the number of workers can change them, and a child costs a microsecond instead of
the ten of a ``SeedSequence``.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence

from . import _compiled

_MASK = (1 << 64) - 1


def mix(*keys: int) -> int:
    """Hash integers into a seed of 64 bits.

    The finaliser is that of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    if _compiled.native is not None:
        return _compiled.native.mix(*keys)
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


def light_generator(seed: int) -> np.random.Generator:
    """Return a generator as :func:`generator` does, of other numbers, in a fraction of the time that it takes to seed one."""
    return np.random.Generator(np.random.PCG64(Words(seed)))  # type: ignore[arg-type]


class Words(ISpawnableSeedSequence):
    """What a generator is seeded with, in place of the ``SeedSequence`` of a seed: that takes 6 microseconds.

    Parameters
    ----------
    seed : int
        Of 64 bits that were hashed.

    Attributes
    ----------
    entropy, spawn_key : int and tuple
        As a ``SeedSequence`` has them.
    """

    spawn_key = ()

    def __init__(self, seed: int) -> None:
        self.entropy = seed
        self._n_children = 0

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """Return words of ``dtype`` (32 or 64 bits)."""
        words = seed_words(self.entropy, n_words if np.dtype(dtype).itemsize == 8 else (n_words + 1) // 2)
        return words if dtype is np.uint64 else words.view(dtype)[:n_words]

    def spawn(self, n_children: int) -> list[Words]:
        """Return what generators of their own are seeded with."""
        first, self._n_children = self._n_children, self._n_children + n_children
        return [Words(mix(self.entropy, -1, child)) for child in range(first, self._n_children)]


def seed_words(seed: int, n: int) -> np.ndarray:
    """Return ``n`` words of 64 bits, each the hash of a seed and of its number."""
    if _compiled.native is not None:
        return _compiled.native.seed_words(seed, n)
    return np.array([mix(seed, i) for i in range(n)], np.uint64)


def mix_array(seed: int, keys: np.ndarray) -> np.ndarray:
    """Hash each of ``keys`` with ``seed``: the vectorised sibling of :func:`mix`, as uint32."""
    h = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed & _MASK)
    h ^= h >> np.uint64(30)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(27)
    h *= np.uint64(0x94D049BB133111EB)
    return (h >> np.uint64(32)).astype(np.uint32)


def mix_one(seed: int, key: int) -> int:
    """Hash one key as :func:`mix_array` does, in a tenth of the time."""
    h = (key * 0x9E3779B97F4A7C15 + seed) & _MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
    return h >> 32


def mix32(h: np.ndarray) -> np.ndarray:
    """Hash uint32 values in place (the "lowbias32" constants of C. Wellons' hash prospector)."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h
