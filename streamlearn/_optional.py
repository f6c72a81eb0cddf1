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
    is_begun = getattr(getattr(found, "__spec__", None), "_initializing", False)  # by another thread
    if found is not None and not is_begun:  # in a tenth of the time, since it is asked for at each block
        return found
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose} needs {module!r}, which is not installed: pip install 'streamlearn[{extra}]'."
        ) from error
