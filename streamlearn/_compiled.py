"""The compiled loops, where the package was installed with a C compiler at hand.

Without them, NumPy does the same work in more passes, with the same results to the bit: they are about speed alone.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

_VERSION = 8

native: ModuleType | None
try:
    from . import _native as native

    # they take indices of 64 bits; what was compiled of an earlier source tree may take other arguments
    if np.dtype(np.intp).itemsize != 8 or getattr(native, "VERSION", 0) != _VERSION:
        native = None
except ImportError:  # installed without a compiler, or a source tree that is not installed
    native = None
