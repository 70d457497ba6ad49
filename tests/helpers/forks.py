"""Runs commands as processes of their own without starting Python for each: a process in some environment (a locale is
the process's) that has imported all forks. As a program it is given a command a line, and tells what came of it.

What a stream is: "file"; "closed"; "full", a disk without room; "terminal".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.cli.conftest import Result


class Forks:
    """Runs `settings-store …` in an environment and a folder."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", __name__, str(folder)]
        self._process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, encoding="ascii")
        self.encoding = self._answer()["encoding"]

    def __call__(self, *words: str, stdin: str = "", streams: Sequence[str] = ("file", "file", "file")) -> Result:
        assert self._process.stdin
        print(json.dumps({"words": words, "stdin": stdin, "streams": streams}), file=self._process.stdin, flush=True)
        return Result(**self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()


def _main() -> None:
    from store.operations import demo, embedded, health, service, status  # noqa: F401
    from store.postgres import migrate  # noqa: F401

    warnings.filterwarnings("error", category=EncodingWarning, module=r"store\.")
    encoding, asked, answer = (
        sys.stdout.encoding,
        os.fdopen(os.dup(0), encoding="ascii"),
        os.fdopen(os.dup(1), "w", encoding="ascii"),
    )
    print(json.dumps({"encoding": encoding}), file=answer, flush=True)
    os.chdir(sys.argv[1])
    for line in asked:
        order = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(order["stdin"].encode())
            given.seek(0)
            leader, follower = os.openpty()
            child = os.fork()
            if not child:
                os.close(leader)
                _run(order["words"], list(zip(order["streams"], (given, out, err), strict=True)), follower, encoding)
            os.close(follower)
            shown = _read_all(leader)
            os.close(leader)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [os.pread(file.fileno(), 1 << 24, 0).decode(errors="backslashreplace") for file in (out, err)]
        print(json.dumps({"code": code, "out": shown or texts[0], "err": texts[1]}), file=answer, flush=True)


def _run(words: list[str], streams: list[tuple[str, IO[bytes]]], terminal: int, encoding: str) -> None:
    """Be the command: with standard streams as the interpreter makes them, and its end."""
    from store.commands.main import main

    for number, (kind, file) in enumerate(streams):
        if kind == "closed":
            os.close(number)
        else:
            full = os.open("/dev/full", os.O_RDWR)
            os.dup2({"file": file.fileno(), "terminal": terminal, "full": full}[kind], number)
    os.closerange(3, 64)
    made = [
        None if kind == "closed" else open(number, mode, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
        for number, mode, errors, (kind, _) in zip(
            range(3), "rww", ("strict", "strict", "backslashreplace"), streams, strict=True
        )
    ]  # fmt: skip
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = made  # type: ignore[assignment, misc]
    code: Any = 70
    try:
        main(words, prog_name="settings-store")
    except SystemExit as done:
        code = done.code or 0
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)


def _read_all(terminal: int) -> str:
    found = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            found += piece
    except OSError:  # nobody has it open any more
        pass
    return found.decode(errors="backslashreplace").replace("\r\n", "\n")


if __name__ == "__main__":
    _main()
