"""The standard streams, set up in one place: closed or full ones, and terminals that aren't UTF-8."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

ASCII = "plain_ascii"


class Output(io.FileIO):
    """Standard output or error. That it can't be written is noted and, where the output is needed, an error."""

    def __init__(self, number: int, *, is_needed: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.is_needed = is_needed
        self.problem: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.problem = error
            if self.is_needed:
                raise
            return memoryview(data).nbytes


class _ClosedInput(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def readinto(self, _: Any, /) -> int:
        raise click.ClickException("standard input is closed")


def set_up() -> None:
    """Make the streams so that printing never fails for want of a character, nor a command for want of a stream.

    What a stream's encoding lacks is printed as an escape. A closed stream keeps its number, lest a file or a socket
    gets it: reading or writing there fails as it would.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _occupy(number, flags)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()), encoding="utf-8")
    if sys.stdout is sys.__stdout__:  # a test's, or an embedding program's, is left as it is
        sys.stdout = _text(Output(1, is_needed=True), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(Output(2, is_needed=False), sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=ASCII if _is(stream, "ascii") else None, errors="backslashreplace")


def acts(command: F) -> F:
    """Mark a command whose work counts, not what it tells of it: its exit code is that of the work, though nobody
    can be told. But for a dry run, whose words are all there is to it."""

    @wraps(command)
    def acting(*args: Any, **kwargs: Any) -> Any:
        output_is_needed(bool(kwargs.get("dry_run")))
        return command(*args, **kwargs)

    return acting  # type: ignore[return-value]


def output_is_needed(is_needed: bool) -> None:
    """Say whether it is an error that standard output can't be written."""
    if output := _output():
        output.is_needed = is_needed


def finish() -> None:
    """Write out what is printed. Tell of what couldn't be where it wasn't needed, unless nobody wanted it: a closed
    stream, a pipe that nobody reads."""
    sys.stdout.flush()
    output = _output()
    if output and output.problem and not output.is_needed and output.problem.errno not in (errno.EBADF, errno.EPIPE):
        click.echo(unwritten(output.problem), err=True)


def unwritten(error: OSError) -> str | None:
    """Say that the output couldn't be written, if it is that error; what is left in the buffer goes nowhere then."""
    output = _output()
    if output is None or output.problem is not error:
        return None
    output.is_needed = False
    return f"the output can't be written: {'it is closed' if error.errno == errno.EBADF else error.strerror}"


def is_utf8() -> bool:
    """Whether standard output takes every character."""
    return _is(sys.stdout, "utf-8")


def _occupy(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        descriptor = os.open(os.devnull, flags)
        if descriptor == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(descriptor, number)
            os.close(descriptor)


def _text(raw: Output, before: Any) -> io.TextIOWrapper:
    if before is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", line_buffering=True)
    before.flush()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=before.encoding, line_buffering=before.line_buffering)


def _output() -> Output | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Output) else None


def _is(stream: Any, encoding: str) -> bool:
    return codecs.lookup(stream.encoding or "utf-8").name == encoding


def _find(name: str) -> codecs.CodecInfo | None:
    """ASCII by another name: where a stream says that it is ASCII, click writes UTF-8 past it."""
    if name != ASCII:
        return None
    found = codecs.lookup("ascii")
    return codecs.CodecInfo(
        found.encode, found.decode, found.streamreader, found.streamwriter, found.incrementalencoder,
        found.incrementaldecoder, name=ASCII,
    )  # fmt: skip


codecs.register(_find)
