"""The command report: what trades earned, drawn on a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from store.commands.common import run
from store.commands.output import say
from store.commands.trades import selection


@click.command(short_help="Draw what trades earned, on a page.")
@click.argument("identifier", metavar="[IDENTIFIER]", required=False)
@click.option("--all", "everybody", is_flag=True, help="All users.")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), metavar="FILE",
              help="Write to a file (mode 0600; an older one is replaced) instead of standard output.")  # fmt: skip
@selection
@click.option("--timeframe", metavar="T", help="Of the candles, as 1h (default: what fits).")
@click.option("--by-setting", multiple=True, metavar="KEY", default=("params.leverage",), show_default=True,
              help="Compare results by a setting's value at entry; may be repeated.")  # fmt: skip
def report(
    identifier: str | None, everybody: bool, output: Path | None, symbol: str | None, side: str | None,
    since: datetime | None, until: datetime | None, timeframe: str | None, by_setting: Sequence[str],
) -> None:  # fmt: skip
    """Draw what a user's trades earned, and under which settings, as one page of HTML of 5 MB.

    It needs no server and no network: open it, on a phone, too. Per currency: the equity curve, with the drawdown and
    every version of the settings that was saved; results per version, setting, symbol and month; how many trades earned
    how much. Then candles of the symbols traded most, with entries and exits, and where candles are missing. Secrets
    are masked. With --all, of everybody's trades: results per user, without versions and candles.

    Needs the extra settings-store[report].

    \b
    Example:
      settings-store report 587662504768345929 -o report.html
      settings-store report --all --since 2026-11-01 -o november.html
    """
    from store.files.private import private_file

    if (identifier is None) != everybody:
        raise click.UsageError("Give an IDENTIFIER, or --all.")

    def write(file: BinaryIO) -> None:
        options: dict[str, Any] = {"symbol": symbol, "side": side, "since": since, "until": until}
        page = run(lambda store: store.report(identifier, timeframe=timeframe, by_setting=by_setting, **options))
        file.write(page.encode())

    if output is None or str(output) == "-":
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with private_file(output, overwrite=True) as file:
        write(file)
    say(f"wrote {click.format_filename(output)}", err=True)
