"""The command line: words and exit codes. No SQL and no Redis call here; store/ does the work.

Exit codes: 0 done; 1 an error of the store, or nothing found; 2 usage; 3 a store can't be reached; 130 Ctrl-C.
"""

from __future__ import annotations

import click

from store.commands import archive, candles, history, keys, mirror, operate, schema, settings, templates, trades, users
from store.commands.log_format import LoggedCommands, log_format


@click.group(cls=LoggedCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="settings-store")
@log_format
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


main.add_command(schema.migrate)
main.add_command(users.register)
main.add_command(users.user)
main.add_command(settings.get)
main.add_command(settings.set_)
main.add_command(settings.search)
main.add_command(history.history)
main.add_command(history.diff)
main.add_command(history.rollback)
main.add_command(history.delete)
main.add_command(history.restore)
main.add_command(history.prune)
main.add_command(templates.template)
main.add_command(trades.trades)
main.add_command(keys.keys)
main.add_command(archive.export)
main.add_command(archive.import_)
main.add_command(archive.backup)
main.add_command(archive.restore_backup)
main.add_command(candles.candles)
main.add_command(mirror.relay)
main.add_command(mirror.verify)
main.add_command(mirror.sync)
main.add_command(mirror.watch)
main.add_command(operate.status)
main.add_command(operate.psql)
main.add_command(operate.redis_cli)
main.add_command(operate.demo)
main.add_command(operate.embedded)


if __name__ == "__main__":
    main()
