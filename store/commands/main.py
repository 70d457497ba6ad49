"""The command line, put together: words and exit codes. No SQL and no Redis call here: the other rooms do the work.

Exit codes: see main()'s help.
"""

from __future__ import annotations

from pathlib import Path

import click

from store.commands import (
    candles,
    catalogue,
    coherence,
    completion,
    credentials,
    files,
    halts,
    history,
    locks,
    migrate,
    operations,
    report,
    rollouts,
    schedules,
    settings,
    templates,
    trades,
    users,
)
from store.commands.env_file import read_env_file
from store.commands.log_format import LoggedCommands, log_format


@click.group(cls=LoggedCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="settings-store")
@click.option("--debug", is_flag=True, envvar="SETTINGS_STORE_DEBUG", help="Show where an error comes from.")
@click.option("--env-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", expose_value=False,
              envvar="SETTINGS_STORE_ENV_FILE", callback=read_env_file,
              help="Read variables the environment doesn't have from here (default: .env here, if any).")  # fmt: skip
@log_format
def main(debug: bool) -> None:
    """Trading-bot settings, versioned in PostgreSQL and mirrored into Redis.

    An IDENTIFIER is an OKX UID, a Telegram ID or the user's UUID; a TYPE is preferences, params or
    dual_side. The servers are those of DATABASE_URL and REDIS_URL, or of SETTINGS_STORE_DATABASE_URL
    and SETTINGS_STORE_REDIS_URL, which win; without them, embedded ones.

    Times are shown in UTC, as 2026-11-22T01:00:00+00:00; given without an offset they are this computer's.

    \b
    Exit codes:
      0    done
      1    an error; what was asked for isn't there; findings remain; a question was answered no
      2    wrong usage, or a variable of the environment that makes no sense
      3    PostgreSQL or Redis can't be reached, or somebody's open transaction was in the way for too long
      130  Ctrl-C (143: SIGTERM); nothing half-written is left. `relay` drains and ends with 0

    \b
    Example:
      settings-store register 587662504768345929 --telegram-id 1709556958
      settings-store set 587662504768345929 params leverage=20
      settings-store get 587662504768345929 params
    """


SECTIONS = {
    "Users": (users.register, users.user),
    "Settings": (settings.get, settings.set_, settings.search, templates.template, catalogue.fields, catalogue.schema),
    "Versions": (
        history.history,
        history.changes,
        history.diff,
        history.rollback,
        history.delete,
        history.restore,
        history.prune,
    ),
    "Settings over time": (schedules.schedule, rollouts.rollout),
    "Stopping and locking": (halts.halt, halts.resume, halts.halts, locks.lock, locks.unlock, locks.locks),
    "Keeping both stores equal": (coherence.relay, coherence.verify, coherence.sync, coherence.watch),
    "Trading": (credentials.keys, trades.trades, candles.candles, report.report),
    "Files": (files.export, files.import_, files.backup, files.restore_backup),
    "Servers": (operations.status, migrate.migrate, operations.psql, operations.redis_cli, operations.embedded),
    "First steps": (operations.demo, completion.completion),
}

for heading, commands in SECTIONS.items():
    for command in commands:
        main.add_command(command)
    main.sections[heading] = [str(command.name) for command in commands]
