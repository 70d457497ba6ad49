"""The Unix sockets of the embedded servers: where they lie, and who answers there."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from redis.asyncio.connection import UnixDomainSocketConnection as AsyncConnection
from redis.connection import UnixDomainSocketConnection as BlockingConnection
from redis.exceptions import ConnectionError as NotConnected

PATH_LIMIT = 100  # bytes; the kernel's is 107, macOS's 103


def redis_socket(home: Path) -> Path:
    """Name the socket of the embedded Redis; if its path were too long, it is where start_redis() put it."""
    return socket_folder(home, "redis", "redis.sock") / "redis.sock"


def redis_url(home: Path) -> str:
    """Return the URL of the embedded Redis."""
    return f"unix://{quote(os.fsencode(redis_socket(home)))}"


def socket_path(url: str) -> str | None:
    """Return the path of the socket that a URL of Redis leads to; None if it leads elsewhere."""
    parts = urlsplit(url)
    return os.fsdecode(unquote_to_bytes(parts.path)) if parts.scheme == "unix" else None


def is_embedded(url: str, home: Path) -> bool:
    """Tell whether a URL is of the embedded Redis."""
    return socket_path(url) == str(redis_socket(home))


def socket_folder(home: Path, server: str, name: str) -> Path:
    """Name the folder of a server's socket: that of its data or, where that makes a path that can't be used, the one
    that a link in the home leads to."""
    folder = home / server
    if _is_unusable(folder / name):
        try:
            return Path(os.readlink(_link(home, server)))
        except OSError:  # it never ran
            pass
    return folder


def make_socket_folder(home: Path, server: str, name: str, owner: int) -> Path:
    """Return the folder of a server's socket, whose owner alone (and root) can put anything there.

    A short path outside the home lies where everybody may write: its name is new each time it has to be made, and one
    that isn't the owner's any more (/tmp is swept) isn't used.
    """
    folder = socket_folder(home, server, name)
    if _is_private(folder, owner) and not _is_unusable(folder / name):
        return folder
    base = tempfile.gettempdir()
    if len(base) > PATH_LIMIT // 2 or "," in base:
        base = "/tmp"  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="settings-store-", dir=base))
    os.chown(folder, owner, -1)
    _link(home, server).unlink(missing_ok=True)
    os.symlink(folder, _link(home, server))
    return folder


def remove_socket_folder(home: Path, server: str, owner: int) -> None:
    """Take away the folder outside the home of a server that has stopped."""
    link = _link(home, server)
    if link.is_symlink():
        if _is_private(folder := Path(os.readlink(link)), owner):
            shutil.rmtree(folder, ignore_errors=True)
        link.unlink()


def _link(home: Path, server: str) -> Path:
    return home / f"{server}.sockets"


def _is_unusable(path: Path) -> bool:
    """Whether the kernel can't take a path of a socket, or libpq, to which a comma is the end of a host's name."""
    return len(os.fsencode(path)) > PATH_LIMIT or "," in str(path)


def _is_private(folder: Path, owner: int) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077


class OwnSocket(BlockingConnection):
    """A connection to a server of our own: nothing is sent to anybody else."""

    def _connect(self) -> Any:
        connected = super()._connect()  # type: ignore[no-untyped-call]
        try:
            _check_peer(connected, self.path)
        except NotConnected:
            connected.close()
            raise
        return connected


class AsyncOwnSocket(AsyncConnection):
    """The same for asyncio."""

    async def on_connect(self) -> None:
        assert self._writer is not None
        _check_peer(self._writer.get_extra_info("socket"), self.path)
        await super().on_connect()


def _check_peer(connected: socket.socket, path: str) -> None:
    """Ask the kernel who listens. Only Linux is asked: elsewhere the folder's owner has to do."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        _, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        if uid != os.geteuid():
            raise NotConnected(f"{path} is served by another user ({uid}), not by the embedded Redis")
