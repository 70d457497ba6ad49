"""The commands of the schema: migrate."""

from __future__ import annotations

import sys

import click

from store.commands.common import as_json, configured, confirm
from store.commands.output import print_json, print_table


@click.group(invoke_without_command=True)
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
        confirm("The data in the tables that go will be lost. Roll back?")
    for name in schema.rollback(url, None if everything else 1):
        click.echo(f"rolled back {name}")
