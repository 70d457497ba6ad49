"""What the commands share: options, the open store, errors as one clear line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from store.settings import SettingsStore

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

WRITER = f"{__name__}.writer"  # where the click context keeps --actor and --reason

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
identifier = click.argument("identifier")
setting_type = click.argument("setting_type", metavar="TYPE")
expect_version = click.option(
    "--expect-version", type=click.IntRange(0), metavar="N", help="Only if this is the current version."
)


def who(command: F) -> F:
    """Add --actor and --reason, which run() takes from the context."""
    actor = click.option(
        "--actor", metavar="TEXT", expose_value=False, callback=_keep_writer,
        help="Who writes (default: SETTINGS_STORE_ACTOR, else the user of the operating system).",
    )  # fmt: skip
    reason = click.option(
        "--reason", metavar="TEXT", expose_value=False, callback=_keep_writer, help="Why; kept with the version."
    )
    return actor(reason(command))


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A moment as people write it; without an offset, of this computer's time zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import datetime

        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            return found if found.tzinfo else found.astimezone()
        except (ValueError, OverflowError):
            self.fail("not a time, as in '2026-11-22 10:00', '2026-11-22T10:00:30+09:00'", param, ctx)


def _keep_writer(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta.setdefault(WRITER, {})[param.name] = value


def _os_user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container's user ID need not have a name
        return None


class Commands(click.Group):
    """A group that turns the store's errors into one clear line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from store.errors import StoreError

        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except StoreError as error:
            raise _Failure(error) from None
        except OSError as error:
            if error.errno in (errno.EPIPE, None):
                raise
            with contextlib.suppress(OSError, ValueError):  # what is left in the buffer goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"the output can't be written: {error.strerror}") from None


class _Failure(click.ClickException):
    def __init__(self, error: Any) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code: int = error.exit_code  # type: ignore[misc]

    @property
    def details(self) -> list[str]:
        """What else there is to say, line by line."""
        problems = getattr(self.error, "problems", None)
        lines = (
            [f"{key}: {why}" for key, why in sorted(problems.items())]
            if problems
            else [self.error.detail, self.error.hint]
        )
        return "\n".join(filter(None, lines)).splitlines()

    def show(self, file: Any = None) -> None:
        super().show(file)
        for line in self.details:
            click.echo(f"  {line}", err=True)


def run(work: Callable[[SettingsStore], Awaitable[T]]) -> T:
    """Do some work on an open store, in the name of the writer whom a command with `who` was given."""
    import asyncio

    from store import SettingsStore

    writer: dict[str, str | None] | None = click.get_current_context().meta.get(WRITER)

    async def session() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with SettingsStore() as store:
            if writer is None:
                return await work(store)
            actor = writer["actor"] or store.config.actor or _os_user()
            async with store.acting_as(actor, reason=writer["reason"]):
                return await work(store)

    try:
        return asyncio.run(session())
    except asyncio.CancelledError:
        sys.exit(130)


def confirm(question: str) -> None:
    """Ask whether to go on; end the command if not."""
    try:
        click.confirm(question, abort=True)
    except UnicodeDecodeError:
        raise click.ClickException("the answer is not UTF-8 text") from None


def configured() -> Any:
    """Return the configuration, the embedded servers started where it has no URL."""
    from store import Config, embedded

    config = Config.from_env().checked()
    if config.database_url is None or config.redis_url is None:
        config = embedded.provide(config)
    return config


@contextmanager
def counting(what: str, unit: str = "keys", total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far a long work is, and how far it has to go if a total is known."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns: tuple[ProgressColumn, ...] = (
        SpinnerColumn(),
        TextColumn(f"{{task.description}} {{task.completed:.0f}} {unit}"),
    )
    if total is not None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
        )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda number: progress.advance(task, number)
