"""Variables from --env-file, or from a file .env in the current directory."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import click

from store.commands.output import say

# What leads a command to other servers or keys.
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
    taken = take_variables(file, text)
    told = [name for variable, name in taken.items() if variable in LEADS_ELSEWHERE]
    name = taken.get("MIRROR_CREDENTIALS")
    if name and os.environ[name] == "plain":
        told.append(f"{name}=plain")
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


def take_variables(file: Path, text: str) -> dict[str, str]:
    """Set those of our variables that the environment doesn't have. Return the names of those that count from now on,
    by their bare names. A line that can't be read is passed over unless it is of ours: the file may be others', too."""
    from dotenv.parser import parse_stream

    from store.config import PREFIX, VARIABLES, names

    before = set(os.environ)
    ours = {name for variable in VARIABLES for name in names(variable)}
    for line in parse_stream(io.StringIO(text)):
        if line.error and any(word in line.original.string for word in (PREFIX, *VARIABLES)):
            raise click.ClickException(f"{file}, line {line.original.line}: not NAME=VALUE")
        if line.key in ours and line.value and "\0" not in line.value:
            os.environ.setdefault(line.key, line.value)
    counting = {variable: next(filter(os.environ.get, names(variable)), "") for variable in VARIABLES}
    return {variable: name for variable, name in counting.items() if name and name not in before}
