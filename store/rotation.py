"""Deprecated: store.encryption.rotation now. It goes in the release after 1.1."""

from __future__ import annotations

import warnings
from typing import Any

from store.encryption import rotation as _moved


def __getattr__(name: str) -> Any:
    warnings.warn("store.rotation is deprecated: store.encryption.rotation now", DeprecationWarning, stacklevel=2)
    return getattr(_moved, name)
