"""What the commands share: options, the open store, errors as one clear line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import click

from store.arguments import MOST, is_plain_number
from store.commands import streams
from store.commands.output import say
from store.shown import shown

if TYPE_CHECKING:
    from store.api.store import SettingsStore

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

END = 10.0  # seconds after a signal, whatever hangs
CANCEL_AGAIN = 1.0  # seconds; a client library may swallow a cancellation that comes while it connects
WRITER = f"{__name__}.writer"  # where the click context keeps --actor and --reason


def _types(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    from store.models import BUILT_IN_TYPES

    return [name for name in BUILT_IN_TYPES if name.startswith(begun)]


class Number(click.FloatRange):
    """A number in plain digits, whole unless it may have a fraction. Python reads more, such as nan and 1_000."""

    name = "number"

    def __init__(self, minimum: float, maximum: float | None = None, *, is_whole: bool = True) -> None:
        super().__init__(minimum, maximum)
        self.is_whole = is_whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not is_plain_number(str(value), self.is_whole):
            self.fail("not a whole number" if self.is_whole else "not a number", param, ctx)
        number: float = super().convert(value, param, ctx)
        if number > MOST:
            self.fail(f"more than {MOST}", param, ctx)
        return int(number) if self.is_whole else number


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
identifier = click.argument("identifier")
setting_type = click.argument("setting_type", metavar="TYPE", shell_complete=_types)
some_type = click.argument("setting_type", metavar="[TYPE]", required=False, shell_complete=_types)
of_symbol = click.option("--symbol", metavar="S", help="Of this symbol, as BTC-USDT-SWAP; else the own one.")
expect_version = click.option(
    "--expect-version", type=Number(0), metavar="N", help="Only if this is the current version."
)


def named(setting_type: str | None, symbol: str | None) -> str:
    """Return what a document is called: settings, dual_side, dual_side:BTC-USDT-SWAP."""
    return ":".join(filter(None, (setting_type or "settings", symbol)))


def who(command: F) -> F:
    """Add --actor and --reason, which run() takes from the context. A command that has them acts."""
    reason = click.option(
        "--reason", metavar="TEXT", expose_value=False, callback=_keep_writer, help="Why; kept with the version."
    )
    return by_actor(reason(command))


def by_actor(command: F) -> F:
    """Add --actor, which run() takes from the context. A command that has it acts."""
    actor = click.option(
        "--actor", metavar="TEXT", expose_value=False, callback=_keep_writer,
        help="Who writes (default: SETTINGS_STORE_ACTOR, else the user of the operating system).",
    )  # fmt: skip
    return actor(streams.acts(command))


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


class Span(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A length of time: 90s, 30m, 2h, 1d (24 hours), 1h30m."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        import re
        from datetime import timedelta

        if isinstance(value, timedelta):
            return value
        units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
        try:
            if not re.fullmatch("([0-9]+[smhd])+", value, re.ASCII):
                raise ValueError
            parts = re.findall("([0-9]+)([smhd])", value)
            return sum((timedelta(**{units[unit]: int(number)}) for number, unit in parts), timedelta())
        except (ValueError, OverflowError):
            self.fail("not a length of time, as in 90s, 30m, 2h, 1d, 1h30m", param, ctx)


def _keep_writer(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta.setdefault(WRITER, {})[param.name] = value


def _os_user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container's user ID need not have a name
        return None


class Commands(click.Group):
    """A group that lists its commands by section, and turns what goes wrong into one clear line and an exit code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: dict[str, list[str]] = {}  # heading -> names of commands

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, names in self.sections.items():
            with formatter.section(heading):
                room = formatter.width - 6 - width
                short = [(name.ljust(width), self.commands[name].get_short_help_str(room)) for name in names]
                formatter.write_dl(short)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        streams.set_up()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of --help and --version
            say(f"Error: {_told(error)}", err=True)
            sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _shown_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        from store.errors import StoreError

        try:
            try:
                with _shown_errors():
                    return super().invoke(ctx)
            finally:
                streams.finish()
        except (click.exceptions.Exit, click.UsageError):
            raise
        except KeyboardInterrupt:
            raise Interrupted(signal.SIGINT) from None
        except click.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C at a question
                raise Interrupted(signal.SIGINT) from None
            raise
        except OSError as error:
            if error.errno in (errno.EPIPE, None):
                raise
            _traceback(ctx)
            raise click.ClickException(_told(error)) from None
        except click.ClickException:
            _traceback(ctx)
            raise
        except StoreError as error:
            _traceback(ctx)
            raise _Failure(error) from None
        except Exception as error:  # its text may hold a setting's value
            _traceback(ctx)
            raise click.ClickException(
                f"unexpected {type(error).__name__}, a mistake in this program; settings-store --debug … shows where"
            ) from None


@contextlib.contextmanager
def _shown_errors() -> Iterator[None]:
    """Show what click quotes of the command line as any text that isn't ours."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # whose message is the help
        raise
    except click.ClickException as error:
        error.message = shown(error.message)  # type: ignore[misc]
        raise


def _told(error: OSError) -> str:
    return streams.unwritten(error) or shown(": ".join(filter(None, (error.filename, error.strerror or str(error)))))


class Interrupted(click.exceptions.Exit):
    """The end by a signal, with the exit code that a shell gives it: 130 for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def _traceback(ctx: click.Context) -> None:
    if ctx.find_root().params.get("debug"):
        import traceback

        for line in traceback.format_exc().splitlines():
            say(line, err=True)


class _Failure(click.ClickException):
    def __init__(self, error: Any) -> None:
        super().__init__(shown(error.message))
        self.error = error
        self.exit_code: int = error.exit_code  # type: ignore[misc]

    @property
    def details(self) -> list[str]:
        """What else there is to say, line by line."""
        problems = getattr(self.error, "problems", None)
        lines = (
            [f"{key}: {why}" for key, why in sorted(problems.items())]
            if problems
            else [line for text in (self.error.detail, self.error.hint) if text for line in text.split("\n")]
        )
        return [shown(line) for line in lines]

    def show(self, file: Any = None) -> None:
        super().show(file)
        for line in self.details:
            say(f"  {line}", err=True)


def run(work: Callable[[SettingsStore], Awaitable[T]]) -> T:
    """Do some work on an open store, in the name of the writer whom a command with `who` was given."""
    import asyncio
    import logging
    from dataclasses import replace

    from store import Config, SettingsStore
    from store.operations.deadline import end_within

    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # of what it ignores while a command is interrupted
    context = click.get_current_context()
    writer: dict[str, str | None] | None = context.meta.get(WRITER)
    received: list[int] = []

    async def session() -> T:
        task = asyncio.current_task()
        assert task is not None

        loop = asyncio.get_running_loop()

        def end(number: int) -> None:
            if not received:
                end_within(END, 128 + number)
            received.append(number)
            task.cancel()
            loop.call_later(CANCEL_AGAIN, end, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        async with SettingsStore(replace(Config.from_env(), application=context.command_path)) as store:
            if writer is None:
                return await work(store)
            actor = writer["actor"] or store.config.actor or _os_user()
            async with store.acting_as(actor, reason=writer.get("reason")):
                return await work(store)

    try:
        return asyncio.run(session())
    except asyncio.CancelledError:
        raise Interrupted(received[0] if received else signal.SIGINT) from None


def confirm(question: str) -> None:
    """Ask whether to go on; end the command if not."""
    with asking():
        click.confirm(question, abort=True)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Ask in here. That an answer can't be had is an error on a line of its own."""
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):  # that there is no terminal, in Python's words
            yield
            return
    except UnicodeDecodeError:
        problem = f"the answer is not {sys.stdin.encoding.upper()} text"
    except click.ClickException as error:
        problem = error.message
    say("", err=True)
    raise click.ClickException(problem)


def whole(file: BinaryIO) -> BinaryIO:
    """Read a pipe to its end: no transaction waits for who writes into it, and Ctrl-C isn't kept waiting."""
    import shutil
    import stat
    import tempfile

    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
    spool = tempfile.SpooledTemporaryFile(max_size=1 << 24)  # noqa: SIM115
    shutil.copyfileobj(file, spool)
    spool.seek(0)
    return spool  # type: ignore[return-value]


def tell_if_embedded() -> None:
    """Say so on stderr: an operator whose environment lacks the URLs looks at other servers than meant."""
    from store import Config

    config = Config.from_env()
    if config.database_url is config.redis_url is None:
        say(f"DATABASE_URL and REDIS_URL are not set: the embedded servers in {config.home}", err=True)


def configured(*needed: Literal["database_url", "redis_url"]) -> Any:
    """Return the configuration, with the embedded servers if it lacks a URL that is needed (default: both)."""
    from dataclasses import replace

    from store import Config

    config = replace(Config.from_env(), application=click.get_current_context().command_path).checked()
    if all(getattr(config, url) for url in needed or ("database_url", "redis_url")):
        return config
    from store.operations import embedded

    return embedded.provide(config)
