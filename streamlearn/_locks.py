"""Locks of what is used on in a forked process, where no thread is left to open those that were closed."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

_owners: weakref.WeakSet = weakref.WeakSet()


def lock_of(owner: Any) -> Any:
    """Return a lock that an object shall have as ``_lock``, and which is another one in a forked process.

    What it guards must be usable whenever one thread is interrupted.
    """
    _owners.add(owner)
    return threading.Lock()


def _renew() -> None:
    for owner in list(_owners):
        owner._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
