"""Variables from --env-file, or from a file .env in the current directory."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import click

from store.commands.output import say

# What leads a command to other servers or keys, or puts credentials into Redis in clear.
LEADS_ELSEWHERE = {
    "DATABASE_URL", "REDIS_URL", "SETTINGS_STORE_HOME", "SETTINGS_STORE_KEYS", "SETTINGS_STORE_KEYS_FILE",
}  # fmt: skip


def read_env_file(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
    """Take from --env-file, else from a .env here, what the environment doesn't say; ours only.

    Raises ClickException, naming the line, no value. Somebody else may have put a .env here, to lead to servers of
    theirs: one that others can write is refused, and what leads elsewhere is told.
    """
    if ctx.resilient_parsing:
        return
    file = given or Path(".env")
    try:
        with open(file, encoding="utf-8-sig", opener=None if given else _open_own) as lines:
            text = lines.read()
    except OSError as error:
        if given is None and error.errno in (errno.ENOENT, errno.EISDIR):  # some call a virtualenv .env
            return
        raise click.ClickException(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} can't be read: not UTF-8 text") from None
    taken = _take_variables(file, text)
    told = [name for name in taken if name in LEADS_ELSEWHERE]
    if "MIRROR_CREDENTIALS" in taken and os.environ["MIRROR_CREDENTIALS"] == "plain":
        told.append("MIRROR_CREDENTIALS=plain")
    if told and given is None:
        say(f"{file.absolute()} sets {', '.join(told)}", err=True)


def _open_own(file: str, flags: int) -> int:
    """Open what only we and root can have written; without waiting, in case it is a pipe."""
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        problem = "is a symbolic link"
    else:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            problem = ""
        elif not stat.S_ISREG(status.st_mode):
            problem = "is not a regular file"
        elif status.st_uid not in (0, os.geteuid()):
            problem = "is another user's"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            problem = "can be written by others (chmod go-w)"
        else:
            return descriptor
        os.close(descriptor)
        if not problem:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file)
    raise click.ClickException(f"{Path(file).absolute()} {problem}; --env-file {file} takes it all the same")


def _take_variables(file: Path, text: str) -> list[str]:
    """Set those of our variables that the environment doesn't have; return their names."""
    from dotenv.parser import parse_stream

    from store.config import VARIABLES

    before = set(os.environ)
    found = list(parse_stream(io.StringIO(text)))
    for line in found:
        if line.error:
            raise click.ClickException(f"{file}, line {line.original.line}: not NAME=VALUE")
    for line in found:
        if line.key in VARIABLES and line.value and "\0" not in line.value:
            os.environ.setdefault(line.key, line.value)
    return [name for name in VARIABLES if name in os.environ and name not in before]
