"""Deprecated: store.files.export now. It goes in the release after 1.1."""

from __future__ import annotations

import warnings
from typing import Any

from store.files import export as _moved


def __getattr__(name: str) -> Any:
    warnings.warn("store.exchange is deprecated: store.files.export now", DeprecationWarning, stacklevel=2)
    return getattr(_moved, name)
