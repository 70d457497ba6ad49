"""The commands of the schema: migrate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from store.commands.common import as_json, configured, confirm
from store.commands.output import counted, print_json, print_table, say
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.encryption.vault import Vault
    from store.postgres.predecessor import Quarantined

F = TypeVar("F", bound=Callable[..., None])


def dry_run(function: F) -> F:
    """Add --dry-run."""
    return click.option("--dry-run", is_flag=True, help="Write nothing; tell what would be done.")(function)


@click.group(invoke_without_command=True, short_help="Bring the database to this release.")
@dry_run
@as_json
@click.pass_context
def migrate(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this release (the same as `migrate apply`).

    \b
    Example:
      settings-store migrate
      settings-store migrate status
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(migrate_apply, dry_run=dry_run, as_json=as_json)
    elif dry_run or as_json:
        raise click.UsageError("--dry-run and --json go with `migrate` alone, or after the subcommand")


@migrate.command("apply", short_help="Apply what is pending, and all of sql/ again.")
@dry_run
@as_json
@acts
def migrate_apply(dry_run: bool, as_json: bool) -> None:
    """Apply pending migrations, and all functions, views and triggers again.

    The database of the system that this one replaces is adopted: docs/migrating.md. --dry-run rehearses that, and
    takes it all back: its tables are locked for as long as it takes.

    Safe to repeat, and to run twice at once.

    \b
    Example:
      settings-store migrate apply --dry-run
      settings-store migrate apply
    """
    from store.postgres import migrate

    config = configured("database_url")
    url, vault = config.database_url, config.read_vault()
    if dry_run:
        _rehearse(url, vault, as_json)
        return
    before = migrate.quarantine(url)
    applied = migrate.migrate(url, vault)
    after = migrate.quarantine(url)
    if as_json:
        print_json({"applied": applied, "quarantined": len(after) - len(before)})
        return
    for name in applied:
        say(f"applied {name}")
    if after != before:
        say(f"adopted the predecessor's tables; what couldn't be taken: {counted(len(after), 'row')}")
        if vault.is_empty:
            say("the API keys are plain text still: give an encryption key, and run keys encrypt-existing")
        say("next: settings-store migrate quarantine, sync --dry-run, sync, verify --repair")
    say("the database is up to date")


def _rehearse(url: str, vault: Vault, as_json: bool) -> None:
    from store.postgres import migrate

    found = migrate.status(url)
    adoption = migrate.rehearse(url, vault)
    if as_json:
        print_json({"dry_run": True, "pending": found.pending, "drifted": found.drifted,
                    "adopted": adoption})  # fmt: skip
        return
    for name in found.pending:
        say(f"would apply {name}")
    for name, why in found.drifted.items():
        say(f"would apply {name}: {why}")
    if adoption is None:
        say("the database is up to date" if found.is_current else "nothing was changed")
        return
    for table, rows in adoption.taken.items():
        say(f"would take over {counted(rows, 'row')} of {table}")
    _print_quarantine(adoption.quarantine)
    say("nothing was changed")


@migrate.command("quarantine", short_help="List what an adoption couldn't take, and why.")
@as_json
def migrate_quarantine(as_json: bool) -> None:
    """List what couldn't be taken when the predecessor's database was adopted, and why.

    The rows themselves are in predecessor.quarantine, and in the tables beside it.

    \b
    Example:
      settings-store migrate quarantine
    """
    from store.postgres import migrate

    found = migrate.quarantine(configured("database_url").database_url)
    if as_json:
        print_json(found)
    else:
        _print_quarantine(found)


def _print_quarantine(found: list[Quarantined]) -> None:
    rows = [(row.table_name, row.id or "", "taken, but" if row.is_taken else "not taken", row.reason) for row in found]
    print_table(("table", "id", "", "why"), rows)


@migrate.command("status", short_help="Tell what is applied, pending or altered.")
@as_json
def migrate_status(as_json: bool) -> None:
    """Tell applied and pending migrations, and objects that differ from sql/. Exit code 1 if any.

    \b
    Example:
      settings-store migrate status
    """
    from store.postgres import migrate

    found = migrate.status(configured("database_url").database_url)
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
@as_json
@acts
def migrate_rollback(everything: bool, yes: bool, as_json: bool) -> None:
    """Roll back the newest migration. THE DATA OF ITS TABLES ARE LOST.

    The functions and triggers go too, so nothing is versioned or mirrored until `migrate apply` brings them back.
    A predecessor's tables come back, with what was saved since they were adopted: the API keys in plain text.

    \b
    Example:
      settings-store migrate rollback --yes
    """
    from store.postgres import migrate

    config = configured("database_url")
    count = None if everything else 1
    if not yes:
        going, rows = migrate.going(config.database_url, count)
        lost = ", ".join(f"{name}: {number}" for name, number in rows.items()) or "none"
        say(f"Database {config.shown()['DATABASE_URL']}")
        say(f"Rolled back: {', '.join(going)}")
        say(f"Rows lost: {lost}")
        confirm("The data in the tables that go will be lost. Roll back?")
    gone = migrate.rollback(config.database_url, count, config.read_vault())
    if as_json:
        print_json({"rolled_back": gone})
        return
    for name in gone:
        say(f"rolled back {name}")
