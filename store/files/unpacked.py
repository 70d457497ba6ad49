"""Files as people have them: plain, gz, or zip with one member; read in blocks, so that none is held as a whole."""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, BinaryIO, cast

from store.errors import InvalidArgument

BLOCK = 1 << 18  # bytes a read
MAGIC = 8  # bytes that tell what a file is
GZIP, ZIP = b"\x1f\x8b", b"PK"
FOREIGN = {
    b"PAR1": "Parquet", b"ARROW1": "Feather", b"\x89HDF": "HDF5", b"\xfd7zXZ": "xz", b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z",
}  # fmt: skip
DAMAGE = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError, NotImplementedError)


class Unpacked:
    """The bytes of a file, unpacked. `progress` is told how many were read of the file itself.

    Entered, it looks at what the file is. Raises InvalidArgument if it is nothing that can be read here.
    """

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> None:
        self._source: IO[bytes] = file
        self._progress = progress
        self._packed: IO[bytes] | gzip.GzipFile | None = None  # what unpacks, if anything has to be
        self._begun = b""  # read already, and put back
        self._to_close = ExitStack()

    async def __aenter__(self) -> Unpacked:
        with self._to_close as opened:
            await self._open()
            self._to_close = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._to_close.close()

    async def _open(self) -> None:
        begun = b""
        while len(begun) < MAGIC and (data := await self._read_source()):
            begun += data
        self._begun = begun
        for magic, name in FOREIGN.items():
            if begun.startswith(magic):
                raise InvalidArgument(f"{name} is not read", hint="Write it as CSV or JSON, plain, gz or zip.")
        if begun.startswith(GZIP) or begun[:4] in (ZIP + b"\3\4", ZIP + b"\5\6"):
            await self.settle()
            whole = cast("IO[bytes]", _Counted(self))
            self._packed = _member(whole) if begun.startswith(ZIP) else gzip.GzipFile(fileobj=whole)
            self._to_close.callback(self._packed.close)

    async def head(self, lines: int, longest: int) -> bytes:
        """Return the beginning, without taking it: as many lines, or all there is, or more than `longest` bytes."""
        begun = b""
        while begun.count(b"\n") < lines and len(begun) <= longest and (data := await self.read()):
            begun += data
        self._begun = begun
        return begun

    async def settle(self) -> None:
        """Bring a pipe to its end, into a file without a name, so that read_now() waits for nobody."""
        is_seekable = getattr(self._source, "seekable", None)
        if self._packed is not None or (is_seekable and is_seekable()):
            return
        spool = self._to_close.enter_context(TemporaryFile())  # noqa: SIM115
        spool.write(self._begun)
        while data := await self._read_source():
            spool.write(data)
        spool.seek(0)
        self._source, self._begun, self._progress = spool, b"", lambda _: None

    async def read(self) -> bytes:
        """Return the next bytes; none at the end. Raises InvalidArgument if the file is damaged."""
        if self._packed is None and not self._begun:
            return await self._read_source()
        return self.read_now()

    def read_now(self) -> bytes:
        """The same of a file that is no pipe."""
        if self._begun:
            data, self._begun = self._begun, b""
            return data
        if self._packed is None:
            return self._take()
        problem = "it was cut, or is damaged"
        try:
            return self._packed.read(BLOCK)
        except DAMAGE:
            pass
        except RuntimeError:  # as zipfile says
            problem = "it needs a password"
        raise InvalidArgument(f"the file can't be unpacked: {problem}")

    async def _read_source(self) -> bytes:
        await _readable(self._source)
        return self._take()

    def _take(self) -> bytes:
        data: bytes = getattr(self._source, "read1", self._source.read)(BLOCK)  # of a pipe what is there
        self._progress(len(data))
        return data


class _Counted(io.RawIOBase):
    """A file that unpacking reads and seeks in, from where it began."""

    def __init__(self, unpacked: Unpacked) -> None:
        self._file = unpacked._source
        self._progress = unpacked._progress
        self._start = self._file.tell() - len(unpacked._begun)
        self._file.seek(self._start)
        unpacked._begun = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._progress(len(data))
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def _member(file: IO[bytes]) -> IO[bytes]:
    """Open the one file that a zip holds; what macOS puts beside it is none. Raises InvalidArgument."""
    problem = "it was cut, or is damaged"
    try:
        archive = zipfile.ZipFile(file)
        members = [one for one in archive.infolist() if not (one.is_dir() or one.filename.startswith("__MACOSX/"))]
        if len(members) != 1:
            problem = f"it holds {len(members)} files, and one is read: unpack it, and take one after the other"
        elif members[0].flag_bits & 1:
            problem = "it needs a password"
        elif members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "it is packed in another way than deflate"  # the others unpack into memory without limit
        else:
            return archive.open(members[0])
    except (*DAMAGE, ValueError, OverflowError, UnicodeDecodeError):
        pass
    raise InvalidArgument(f"the zip file can't be unpacked: {problem}")


async def _readable(file: IO[bytes]) -> None:
    """Wait until a pipe has something, so that Ctrl-C isn't kept waiting for it; a regular file always has."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        number = file.fileno()
        loop.add_reader(number, ready.set)
    except OSError:  # not a file of the system, or a regular one
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)
