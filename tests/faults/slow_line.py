"""A line to a server that listens on a Unix socket: slow, or one that keeps for a while what has a word in it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

PIECE = 16_384  # bytes


class Line:
    """A loopback port, for as long as the context lasts. `rate`: bytes a second, each way. While `word` is set, the
    line holds what has it, and nobody hears of that."""

    def __init__(self, path: str, rate: float | None = None) -> None:
        self._path = path
        self._rate = rate
        self.word: bytes | None = None
        self.held: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = [self._listener]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def let_go(self) -> None:
        """Have what was held arrive, as Redis commands, and wait until they were carried out."""
        held, self.held = self.held, []
        for piece in held:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(self._path)
                server.sendall(piece + b"*1\r\n$4\r\nPING\r\n")
                answer = b""
                while b"PONG" not in answer:
                    answer += server.recv(PIECE)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                self._open.extend((client, server))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if self._rate is not None:
                    time.sleep(len(piece) / self._rate)
                if self.word is not None and self.word in piece:
                    self.held.append(piece)
                else:
                    target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def slow_line(path: str, rate: float) -> Iterator[int]:
    """Listen on a loopback port for as long as the context lasts; return the port."""
    with Line(path, rate) as line:
        yield line.port
