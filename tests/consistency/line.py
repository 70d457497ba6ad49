"""A line to a server that a nemesis may cut, hang or slow down: a small TCP proxy, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

PIECE = 65_536  # bytes


@dataclass
class _Weather:
    is_cut: bool = False  # connections are refused
    is_hung: bool = False  # nothing goes through, either way
    there: float = 0.0  # seconds of delay to the server: what was sent arrives, also when the sender has given up
    back: float = 0.0  # seconds of delay of the replies


class Line:
    """Listens on a loopback port and carries to a Unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._weather = _Weather()
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = self._do(self._listen())

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._weather.is_cut = True
        self._do(self._break())

    def hang(self) -> None:
        self._weather.is_hung = True

    def delay(self, there: float, back: float) -> None:
        self._weather.there, self._weather.back = there, back

    def heal(self) -> None:
        self._weather = _Weather()

    def close(self) -> None:
        self.heal()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _break(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._break()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                if not self._weather.is_cut:
                    from_server, to_server = await asyncio.open_unix_connection(self._path)
                    self._writers.add(to_server)
                    try:
                        await asyncio.gather(
                            self._carry(reader, to_server, "there"), self._carry(from_server, writer, "back")
                        )
                    finally:
                        to_server.close()
                        self._writers.discard(to_server)
            finally:
                writer.close()
                self._writers.discard(writer)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: str) -> None:
        """Carry one way: each piece, and the end, when it is due."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take() -> None:
            piece = b"-"
            while piece:
                try:
                    piece = await source.read(PIECE)
                except OSError:
                    piece = b""
                pieces.put_nowait((self._loop.time() + getattr(self._weather, way), piece))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, piece = await pieces.get()
                if due > self._loop.time():
                    await asyncio.sleep(due - self._loop.time())
                while self._weather.is_hung:
                    await asyncio.sleep(0.02)
                if not piece:
                    break
                target.write(piece)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()
        finally:
            taking.cancel()
