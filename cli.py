"""The command line: words and exit codes. No SQL and no Redis call here; store/ does the work.

Exit codes: 0 done; 1 an error of the store, or nothing found; 2 usage; 3 a store can't be reached; 130 Ctrl-C.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from store.output import (
    parse_object,
    parse_pairs,
    print_json,
    print_setting,
    print_table,
    print_users,
    saved_line,
    setting_json,
    user_json,
)

if TYPE_CHECKING:
    from store.models import SavedSetting, Setting, Source
    from store.settings import SettingsStore

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
identifier = click.argument("identifier")
setting_type = click.argument("setting_type", metavar="TYPE")
actor = click.option(
    "--actor", metavar="TEXT", help="Who writes (default: SETTINGS_STORE_ACTOR, else the database user)."
)
reason = click.option("--reason", metavar="TEXT", help="Why; kept with the version.")


class Commands(click.Group):
    """A group that turns the store's errors into one clear line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from store.errors import StoreError

        try:
            return super().invoke(ctx)
        except StoreError as error:
            raise _Failure(error) from None


class _Failure(click.ClickException):
    def __init__(self, error: Any) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code: int = error.exit_code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        super().show(file)
        problems = getattr(self.error, "problems", None)
        lines = (
            [f"{key}: {why}" for key, why in sorted(problems.items())]
            if problems
            else [self.error.detail, self.error.hint]
        )
        for line in filter(None, lines):
            click.echo(f"  {line}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="settings-store")
def main() -> None:
    """Trading-bot settings, versioned in PostgreSQL and mirrored into Redis.

    An IDENTIFIER is an OKX UID, a Telegram ID or the user's UUID; a TYPE is preferences, params or
    dual_side. The servers are those of DATABASE_URL and REDIS_URL; without them, embedded ones.

    \b
    Example:
      settings-store register 587662504768345929 --telegram-id 1709556958
      settings-store set 587662504768345929 params leverage=20
      settings-store get 587662504768345929 params
    """


def run(work: Callable[[SettingsStore], Awaitable[T]]) -> T:
    """Do some work on an open store."""
    from store import SettingsStore

    async def session() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with SettingsStore() as store:
            return await work(store)

    try:
        return asyncio.run(session())
    except asyncio.CancelledError:
        sys.exit(130)


def configured() -> Any:
    """Return the configuration, the embedded servers started where it has no URL."""
    from store import Config, embedded

    config = Config.from_env().checked()
    if config.database_url is None or config.redis_url is None:
        config = embedded.provide(config)
    return config


# -- schema


@main.group(invoke_without_command=True)
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database to this release (the same as `migrate apply`).

    \b
    Example:
      settings-store migrate
      settings-store migrate status
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(migrate_apply)


@migrate.command("apply")
def migrate_apply() -> None:
    """Apply pending migrations, and all functions, views and triggers again.

    Safe to repeat, and to run twice at once.

    \b
    Example:
      settings-store migrate apply
    """
    from store import schema

    for name in schema.migrate(configured().database_url):
        click.echo(f"applied {name}")
    click.echo("the database is up to date")


@migrate.command("status")
@as_json
def migrate_status(as_json: bool) -> None:
    """Tell applied and pending migrations, and objects that differ from sql/. Exit code 1 if any.

    \b
    Example:
      settings-store migrate status
    """
    from store import schema

    found = schema.status(configured().database_url)
    if as_json:
        print_json({"applied": found.applied, "pending": found.pending, "drifted": found.drifted})
    else:
        rows = [(name, "applied") for name in found.applied] + [(name, "pending") for name in found.pending]
        print_table(("migration or object", "state"), [*rows, *found.drifted.items()])
    if not found.is_current:
        sys.exit(1)


@migrate.command("rollback")
@click.option("--all", "everything", is_flag=True, help="Roll back every migration.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def migrate_rollback(everything: bool, yes: bool) -> None:
    """Roll back the newest migration. THE DATA OF ITS TABLES ARE LOST.

    The functions and triggers go too, so nothing is versioned or mirrored until `migrate apply` brings them back.

    \b
    Example:
      settings-store migrate rollback --yes
    """
    from store import schema

    url = configured().database_url
    if not yes:
        click.confirm("The data in the tables that go will be lost. Roll back?", abort=True)
    for name in schema.rollback(url, None if everything else 1):
        click.echo(f"rolled back {name}")


# -- users


@main.command()
@click.argument("okx_uid")
@click.option("--telegram-id", metavar="N", help="Telegram ID to link (5-15 digits).")
@click.option("--name", metavar="TEXT", help="Name of the user.")
@click.option("--telegram-username", metavar="TEXT", help="Telegram user name.")
@actor
@reason
@as_json
def register(
    okx_uid: str, telegram_id: str | None, name: str | None, telegram_username: str | None,
    actor: str | None, reason: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Register a user with the default settings; what is there already stays.

    \b
    Example:
      settings-store register 587662504768345929 --telegram-id 1709556958 --name Kim
    """
    result = run(
        lambda store: store.register(
            okx_uid, telegram_id, name=name, telegram_username=telegram_username, actor=actor, reason=reason
        )
    )
    if as_json:
        print_json({"user": user_json(result.user), "settings": [setting_json(s) for s in result.settings]})
        return
    click.echo(f"registered {okx_uid}" + (f" (Telegram {result.user.telegram_id})" if result.user.telegram_id else ""))
    for saved in result.settings:
        click.echo(saved_line(saved))


@main.group()
def user() -> None:
    """Find, list, link and delete users.

    \b
    Example:
      settings-store user find 1709556958
    """


@user.command("find")
@identifier
@as_json
def user_find(identifier: str, as_json: bool) -> None:
    """Show a user. Exit code 1 if nobody has the identifier.

    \b
    Example:
      settings-store user find 1709556958
    """
    found = run(lambda store: store.find_user(identifier))
    if found is None:
        raise click.ClickException(f"unknown user {identifier}")
    print_users([found], as_json, one=True)


@user.command("list")
@click.option("--after", metavar="OKX_UID", help="Start after this user.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Users at most.")
@as_json
def user_list(after: str | None, limit: int, as_json: bool) -> None:
    """List users in the order of their OKX UIDs.

    \b
    Example:
      settings-store user list --limit 20
    """
    print_users(run(lambda store: store.list_users(after=after, limit=limit)), as_json)


@user.command("link")
@identifier
@click.argument("telegram_id")
@as_json
def user_link(identifier: str, telegram_id: str, as_json: bool) -> None:
    """Link a Telegram ID to a user, in place of the one linked before.

    \b
    Example:
      settings-store user link 587662504768345929 1709556958
    """
    print_users([run(lambda store: store.link(identifier, telegram_id))], as_json, one=True)


@user.command("unlink")
@identifier
@as_json
def user_unlink(identifier: str, as_json: bool) -> None:
    """Take the Telegram ID from a user.

    \b
    Example:
      settings-store user unlink 587662504768345929
    """
    print_users([run(lambda store: store.unlink(identifier))], as_json, one=True)


@user.command("delete")
@identifier
@click.option("--yes", is_flag=True, help="Don't ask.")
def user_delete(identifier: str, yes: bool) -> None:
    """Delete a user and the settings, from Redis too; the history stays in PostgreSQL.

    \b
    Example:
      settings-store user delete 587662504768345929 --yes
    """
    if not yes:
        click.confirm(f"Delete user {identifier}?", abort=True)
    click.echo(f"deleted {run(lambda store: store.delete_user(identifier)).okx_uid}")


# -- settings


@main.command()
@identifier
@click.argument("setting_type", metavar="[TYPE]", required=False)
@click.option("--source", type=click.Choice(["auto", "redis", "db"]), default="auto", show_default=True,
              help="Which store to ask; auto: Redis, then PostgreSQL.")  # fmt: skip
@as_json
def get(identifier: str, setting_type: str | None, source: str, as_json: bool) -> None:
    """Show a user's settings, of one TYPE or of all. Exit code 1 if there are none.

    \b
    Example:
      settings-store get 587662504768345929 params
      settings-store get 1709556958 --json
    """
    ask: Source | None = "redis" if source == "redis" else "db" if source == "db" else None

    async def read(store: SettingsStore) -> list[Setting]:
        if setting_type is None:
            return await store.get_all(identifier, source=ask)
        found = await store.get(identifier, setting_type, source=ask)
        return [found] if found else []

    found = run(read)
    if as_json and setting_type is None:
        print_json([setting_json(setting) for setting in found])
    if not found:
        raise click.ClickException(
            f"no {setting_type or 'settings'} of {identifier}" + ("" if ask is None else f" in {ask}")
        )
    if as_json:
        if setting_type is not None:
            print_json(setting_json(found[0]))
        return
    for setting in found:
        print_setting(setting)


@main.command("set")
@identifier
@setting_type
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1)
@click.option("--file", "file", type=click.File("rb"), help="Read a JSON object from a file.")
@click.option("--stdin", "stdin", is_flag=True, help="Read a JSON object from standard input.")
@click.option("--replace", is_flag=True, help="Replace the whole document instead of merging.")
@click.option("--expect-version", type=click.IntRange(0), metavar="N", help="Only if this is the current version.")
@actor
@reason
@as_json
def set_(
    identifier: str, setting_type: str, pairs: Sequence[str], file: Any, stdin: bool, replace: bool,
    expect_version: int | None, actor: str | None, reason: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Change settings: merge KEY=VALUE pairs, or a JSON object, into the document.

    A value is JSON where it parses as JSON, else text. Merging is JSON merge patch (RFC 7396): null
    removes a key.

    \b
    Example:
      settings-store set 587662504768345929 params leverage=20 direction=롱 --reason "less risk"
      settings-store set 587662504768345929 params --file params.json --replace --expect-version 3
    """
    if (len(pairs) > 0) + (file is not None) + stdin != 1:
        raise click.UsageError("Give one of these: KEY=VALUE pairs, --file, --stdin.")
    source: BinaryIO = file or sys.stdin.buffer
    document = parse_pairs(pairs) if pairs else parse_object(source.read())

    async def write(store: SettingsStore) -> SavedSetting:
        who: Any = {"expected_version": expect_version, "actor": actor, "reason": reason}
        if replace:
            return await store.save(identifier, setting_type, document, **who)
        return await store.patch(identifier, setting_type, document, **who)

    saved = run(write)
    if as_json:
        print_json(setting_json(saved))
    else:
        click.echo(saved_line(saved))


@main.command()
@setting_type
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1, required=True)
@click.option("--after", metavar="OKX_UID", help="Start after this user.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Users at most.")
@as_json
def search(setting_type: str, pairs: Sequence[str], after: str | None, limit: int, as_json: bool) -> None:
    """Find the users whose active settings hold all these values (by index).

    \b
    Example:
      settings-store search params leverage=10 direction=롱숏
    """
    wanted = parse_pairs(pairs)
    found = run(lambda store: store.search(setting_type, wanted, after=after, limit=limit))
    if as_json:
        print_json([setting_json(setting) for setting in found])
        return
    rows = [(s.okx_uid, s.telegram_id or "", str(s.version), f"{s.updated_at:%Y-%m-%d %H:%M:%S}") for s in found]
    print_table(("okx_uid", "telegram_id", "version", "updated_at"), rows)


# -- keeping both sides equal


@main.command()
@click.option("--once", is_flag=True, help="Mirror what is marked now, and end; for cron and tests.")
@click.option(
    "--poll", type=click.FloatRange(0.001, 60), default=0.02, show_default=True, help="Seconds between looks."
)
@as_json
def relay(once: bool, poll: float, as_json: bool) -> None:
    """Bring to Redis what any writer changed in PostgreSQL. Runs until SIGTERM or Ctrl-C, then drains.

    Reconciles all keys at its start, and when Redis restarted, failed over or lost its data. Several may
    run. With --once the exit code is 1 if Redis refused a key.

    \b
    Example:
      settings-store relay
      settings-store relay --once
    """
    from store import service

    if not once:
        run(lambda store: service.run_relay(store.stores, poll))
        return
    progress, lag = run(lambda store: service.relay_once(store.stores))
    if as_json:
        failures = [{"owner": owner, "kind": kind, "error": why} for (owner, kind), why in progress.failures.items()]
        print_json({"mirrored": progress.mirrored, "failures": failures, **lag})
    else:
        click.echo(f"mirrored {progress.mirrored} keys; {lag['waiting']} waiting, {lag['set_aside']} set aside")
        for (owner, kind), why in progress.failures.items():
            click.echo(f"  {kind} of {owner}: {why}", err=True)
    if progress.failures:
        sys.exit(1)


@main.command()
@click.option("--okx-uid", metavar="U", help="This user only.")
@click.option("--repair", is_flag=True, help="Mend what differs: PostgreSQL wins, Redis's value goes into the history.")
@as_json
def verify(okx_uid: str | None, repair: bool, as_json: bool) -> None:
    """Compare every key of both sides. Exit code 0 if equal, 1 if findings remain.

    Findings: missing (not in Redis), stale (older in Redis), pending (missing or stale, but marked for the
    relay), ahead (newer in Redis: PostgreSQL came back from a backup), edited (somebody wrote into Redis),
    unmarked (never mirrored by us: `sync` takes it over), orphan (PostgreSQL has no such document).
    PostgreSQL's and Redis's versions are shown, values never.

    \b
    Example:
      settings-store verify
      settings-store verify --repair --json
    """
    from store import verify as checks

    with counting("verify") as count:
        report = run(lambda store: checks.verify(store.stores, okx_uid=okx_uid, repair=repair, progress=count))
    users = [
        {"owner": f.owner, "kind": f.kind, "finding": f.finding, "db_version": f.db_version,
         "redis_version": f.redis_version}
        for f in report.users
    ]  # fmt: skip
    if as_json:
        print_json({"checked": report.checked, "ok": report.ok, "findings": dict(report.findings),
                    "repaired": report.repaired, "users": users})  # fmt: skip
    else:
        if users:
            columns = ("owner", "kind", "finding", "PostgreSQL", "Redis")
            print_table(columns, [tuple("-" if v is None else str(v) for v in user.values()) for user in users])
        found = ", ".join(f"{number} {kind}" for kind, number in report.findings.items()) or "no findings"
        click.echo(f"checked {report.checked} keys: {found}" + (f"; {report.repaired} repaired" if repair else ""))
        if report.findings["unmarked"] + report.findings["orphan"] and report.remaining:
            click.echo("what only Redis has is taken over by: settings-store sync", err=True)
    if report.remaining:
        sys.exit(1)


@main.command()
@click.option("--dry-run", is_flag=True, help="Write nothing on either side; print what would happen.")
@click.option("--okx-uid", metavar="U", help="This user only.")
@click.option("--from", "source", type=click.Choice(["redis", "db"]), default="redis", show_default=True,
              help="redis: take over what Redis has; db: rebuild Redis from PostgreSQL.")  # fmt: skip
@click.option("--prefer", type=click.Choice(["redis", "db"]), help="Who wins where both sides changed.")
@as_json
def sync(dry_run: bool, okx_uid: str | None, source: str, prefer: Any, as_json: bool) -> None:
    """Take over into PostgreSQL what only Redis has: new users, older encodings, edited settings.

    Three ways: what Redis was given tells a stale key (mirrored again) from an edited one (a new version)
    and from one changed on both sides (a conflict: --prefer decides, the loser stays in the history). Where
    a relay runs, it decides conflicts at once: PostgreSQL wins, Redis's value goes into the history.
    Exit code 1 if conflicts or bad data remain.

    \b
    Example:
      settings-store sync --dry-run
      settings-store sync --okx-uid 587662504768345929 --prefer redis
    """
    from store import service

    with counting("sync") as count:
        report = run(lambda store: service.sync(store.stores, source, okx_uid, prefer, dry_run, count))
    if as_json:
        print_json({"dry_run": dry_run, "outcomes": report.outcomes, "keys": report.keys})
    else:
        for key in report.keys:
            problems = key.get("problems") or {}
            click.echo(f"{key['key']}: {key['outcome']}")
            for name, why in problems.items():
                click.echo(f"  {name}: {why}")
        would = "would be " if dry_run else ""
        click.echo(
            ", ".join(f"{number} {would}{name}" for name, number in report.outcomes.items()) or "Redis has no settings"
        )
    if report.unresolved:
        sys.exit(1)


@main.command()
@click.argument("identifier", required=False)
@as_json
def watch(identifier: str | None, as_json: bool) -> None:
    """Print changes as they reach Redis, of one user or of all, until Ctrl-C. --json: a line each.

    \b
    Example:
      settings-store watch 587662504768345929
    """
    from dataclasses import asdict
    from json import dumps

    async def follow(store: SettingsStore) -> None:
        async for change in store.watch(identifier):
            line = dumps(asdict(change)) if as_json else f"{change.okx_uid} {change.setting_type} {change.version}"
            click.echo(line)
            sys.stdout.flush()

    run(follow)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many keys were looked at."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f} keys"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda number: progress.advance(task, number)


# -- operating


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Show both servers, the schema's state and counts. Exit code 3 if a store can't be reached.

    \b
    Example:
      settings-store status
    """
    from store import status as overview

    found = asyncio.run(overview.gather(configured()))
    if as_json:
        print_json(found)
    else:
        print_table(None, [(key, str(value)) for key, value in overview.lines(found)])
    if overview.unreachable(found):
        sys.exit(3)


def _shell(name: str, doc: str) -> None:
    @main.command(name, help=doc, context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: Sequence[str]) -> None:
        from store import shells

        shells.replace_process(name, configured(), arguments)


_shell(
    "psql", "Open psql on the store's database.\n\n\b\nExample:\n  settings-store psql -c 'select * from list_users()'"
)
_shell("redis-cli", "Open redis-cli on the store's Redis.\n\n\b\nExample:\n  settings-store redis-cli keys 'user:*'")


@main.command()
def demo() -> None:
    """Show the main job on the embedded servers, whatever DATABASE_URL says.

    \b
    Example:
      settings-store demo
    """
    from store import demo as show

    asyncio.run(show.run(click.echo))


@main.group()
def embedded() -> None:
    """Start, stop and look at the embedded servers.

    \b
    Example:
      settings-store embedded status
    """


@embedded.command("start")
def embedded_start() -> None:
    """Start the embedded PostgreSQL and Redis, and print their URLs.

    \b
    Example:
      eval "$(settings-store embedded start)"
    """
    from dataclasses import replace

    from store import Config
    from store import embedded as servers

    config = servers.provide(replace(Config.from_env(), database_url=None, redis_url=None))
    click.echo(f"export DATABASE_URL='{config.database_url}'")
    click.echo(f"export REDIS_URL='{config.redis_url}'")


@embedded.command("stop")
def embedded_stop() -> None:
    """Stop the embedded servers; their data stay.

    \b
    Example:
      settings-store embedded stop
    """
    from store import Config
    from store import embedded as servers

    stopped = servers.stop(Config.from_env())
    click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing to stop")


@embedded.command("status")
@as_json
def embedded_status(as_json: bool) -> None:
    """Tell whether the embedded servers run, and where their data lie.

    \b
    Example:
      settings-store embedded status
    """
    from store import Config
    from store import embedded as servers

    config = Config.from_env()
    pids = servers.running(config)
    if as_json:
        print_json({"home": str(config.home), **{name: {"pid": pid} for name, pid in pids.items()}})
        return
    click.echo(f"data in {config.home}")
    for name, pid in pids.items():
        click.echo(f"{name}: {f'running, process {pid}' if pid else 'not running'}")


if __name__ == "__main__":
    main()
