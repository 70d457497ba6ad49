"""Files that hold people's settings: readable by their owner only, there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from store.errors import InvalidArgument


@contextmanager
def private_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Write a file of mode 0600 beside its place; it gets there when all is written and on the disk.

    A link stays, and what it leads to is replaced. Raises InvalidArgument if it can't be made, is something else than
    a file (root would replace a device), or is there already and may not be overwritten.
    """
    place = Path(os.path.realpath(path))
    try:
        if not overwrite and os.path.lexists(path):
            raise InvalidArgument(f"{path} is there already")
        if place.exists() and not place.is_file():
            raise InvalidArgument(f"{path} can't be written: not a regular file")
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)  # mode 0600
    except OSError as error:
        raise InvalidArgument(f"{path} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise InvalidArgument(f"{path} can't be written: {error.strerror}") from None
        raise
