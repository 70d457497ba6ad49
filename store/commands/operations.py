"""The commands of operating: status, the shells, the demo, the embedded servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Literal

import click

from store.commands.common import Number, as_json, configured, tell_if_embedded
from store.commands.output import print_json, print_table, print_text, say
from store.commands.streams import acts, output_is_needed


@click.command()
@click.option("--check", is_flag=True, help="Look only whether all is well, and fail if not; for health probes.")
@click.option("--max-age", type=Number(0), default=60, show_default=True, metavar="S",
              help="With --check: seconds a key may wait for the relay.")  # fmt: skip
@click.option("--timeout", type=Number(1, 3600), default=5, show_default=True, metavar="S",
              help="With --check: seconds for everything; who hasn't answered by then is away.")  # fmt: skip
@as_json
def status(check: bool, max_age: float, timeout: float, as_json: bool) -> None:
    """Show both servers, the schema's state and counts. Exit code 3 if a store can't be reached.

    With --check: exit code 0 if all is well, 3 if a server is away, and 1 if the schema is behind, a key has waited for
    more than --max-age seconds (the relay is stuck or dead), Redis can't get a key, no relay has filled Redis since it
    was empty or lost its data (`relay --once` does), a job of TimescaleDB failed, or its licence can't read chunks.
    Needs the rights of settings_relay.

    \b
    Example:
      settings-store status
      settings-store status --check --max-age 30 --json
    """
    if check:
        _check(max_age, timeout, as_json)
        return

    import asyncio

    from store.operations import status as overview

    found = asyncio.run(overview.gather(configured()))
    if as_json:
        print_json(found)
    else:
        print_table(None, [(key, str(value)) for key, value in overview.lines(found)])
    if overview.unreachable(found):
        sys.exit(3)


def _check(max_age: float, timeout: float, as_json: bool) -> None:
    from store.operations import health

    tell_if_embedded()
    output_is_needed(False)
    checks = health.check(configured(), max_age, timeout)
    problems = [check for check in checks if check.problem]
    if as_json:
        print_json({"healthy": not problems, "checks": {check.name: {"problem": check.problem} for check in checks}})
    else:
        print_table(None, [(check.name, check.problem or "ok") for check in checks])
    if problems:
        sys.exit(3 if any(check.is_away for check in problems) else 1)


def _shell(name: str, needed: Literal["database_url", "redis_url"], doc: str) -> click.Command:
    @click.command(name, help=doc, context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: Sequence[str]) -> None:
        from store.operations import shells

        shells.replace_process(name, configured(needed), arguments)

    return command


psql = _shell(
    "psql",
    "database_url",
    "Open psql on the store's database.\n\n\b\nExample:\n  settings-store psql -c 'select * from list_users()'",
)
redis_cli = _shell(
    "redis-cli",
    "redis_url",
    "Open redis-cli on the store's Redis.\n\n\b\nExample:\n  settings-store redis-cli keys 'user:*'",
)


@click.command(short_help="Show the main job, on servers of its own.")
@click.option("--keep", is_flag=True, help="Leave its servers running, to look around.")
def demo(keep: bool) -> None:
    """Show the main job on servers of its own, in a temporary folder, which is gone afterwards.

    \b
    Example:
      settings-store demo
      settings-store demo --keep
    """
    import asyncio

    from store.operations import demo as show

    asyncio.run(show.run(print_text, keep))


@click.group()
def embedded() -> None:
    """Start, stop and look at the embedded servers.

    \b
    Example:
      settings-store embedded status
    """


@embedded.command("start")
@acts
def embedded_start() -> None:
    """Start the embedded PostgreSQL and Redis, and print their URLs.

    \b
    Example:
      eval "$(settings-store embedded start)"
    """
    from dataclasses import replace

    from store import Config
    from store.config import names
    from store.operations import embedded as servers

    config = servers.provide(replace(Config.from_env(), database_url=None, redis_url=None, may_embed=True))
    for variable, url in (("DATABASE_URL", config.database_url), ("REDIS_URL", config.redis_url)):
        for name in names(variable)[::-1]:
            if name == variable or name in os.environ:  # the prefixed one would win
                say(f"export {name}='{url}'")


@embedded.command("stop")
@acts
def embedded_stop() -> None:
    """Stop the embedded servers; their data stay.

    \b
    Example:
      settings-store embedded stop
    """
    from store import Config
    from store.operations import embedded as servers

    stopped = servers.stop(Config.from_env())
    say(f"stopped {' and '.join(stopped)}" if stopped else "nothing to stop")


@embedded.command("status")
@as_json
def embedded_status(as_json: bool) -> None:
    """Tell whether the embedded servers run, and where their data lie.

    \b
    Example:
      settings-store embedded status
    """
    from store import Config
    from store.operations import embedded as servers

    config = Config.from_env()
    pids = servers.running(config)
    if as_json:
        print_json({"home": str(config.home), **{name: {"pid": pid} for name, pid in pids.items()}})
        return
    say(f"data in {config.home}")
    for name, pid in pids.items():
        say(f"{name}: {f'running, process {pid}' if pid else 'not running'}")
