"""Import of optional libraries at the point of use."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Raises
    ------
    ImportError
        If the module is missing; the message names the extra to install.
    """
    found = sys.modules.get(module)
    if found is not None and not getattr(found.__spec__, "_initializing", False):  # it is asked for at each block
        return found
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose} needs {module!r}, which is not installed: pip install 'streamlearn[{extra}]'."
        ) from error
