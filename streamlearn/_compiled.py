"""The compiled loops, where the package was installed with a C compiler at hand.

Without them, NumPy does the same work in more passes, with the same results to the bit: they are about speed alone.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

native: ModuleType | None
try:
    from . import _native as native

    if np.dtype(np.intp).itemsize != 8:  # they take indices of 64 bits
        native = None
except ImportError:  # installed without a compiler, or a source tree that is not installed
    native = None
