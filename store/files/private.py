"""Files that hold people's settings: readable by their owner only, there as a whole or not at all. And the embedded
servers' folders."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from store.errors import ConfigError, InvalidArgument


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


def private_folder(path: Path, mode: int = 0o700, owner: int | None = None) -> None:
    """Make a folder of ours, or of a user that root runs a server as; give it this mode if it has another.

    Whatever the umask. Raises ConfigError if it is somebody else's, or if others could have changed what is in it.
    """
    ours = os.geteuid() if owner is None else owner
    try:
        _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if found.st_uid not in (ours, os.geteuid()):
                raise ConfigError(
                    f"{path} belongs to another user", hint="Work as that user, or choose another folder."
                )
            if found.st_mode & stat.S_IWOTH:
                raise ConfigError(
                    f"others can write to {path}, and may have changed what is in it",
                    hint=f"Remove it, or if you trust what is in it run: chmod -R go-w {shlex.quote(str(path))}",
                )
            if found.st_uid != ours:  # made just now
                os.fchown(descriptor, ours, -1)
            if stat.S_IMODE(found.st_mode) != mode:
                os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{path} can't be used: {error.strerror}") from None


def open_private(path: Path) -> BinaryIO:
    """Open a file for appending, made with mode 0600 whatever the umask, or given it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def set_modes(folder: Path, of_folders: int, of_files: int) -> None:
    """Give these modes to all in a folder that nobody else can write to, links and sockets aside."""
    for place, folders, files in os.walk(folder):
        for names, mode in ((folders, of_folders), (files, of_files)):
            for inside in (os.path.join(place, name) for name in names):
                found = os.lstat(inside).st_mode
                if (stat.S_ISREG(found) or stat.S_ISDIR(found)) and stat.S_IMODE(found) != mode:
                    os.chmod(inside, mode)


def _make(path: Path) -> None:
    """Make a folder and those above it. Raises ConfigError if others could put another in the place of one of these."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(0o755, exist_ok=True)
            if os.geteuid() == 0:  # whose PostgreSQL runs as a user who must get through
                folder.chmod(0o755)
        found = folder.stat().st_mode
        if found & stat.S_IWOTH and not found & stat.S_ISVTX:
            raise ConfigError(
                f"others can write to {folder}, so nothing below it is safe", hint="Choose another folder."
            )
    if not path.exists():
        path.mkdir(0o700, exist_ok=True)
