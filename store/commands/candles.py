"""The commands of candles: import, export, list, rollup, gaps."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import click

from store.commands.common import Moment, Number, as_json, run
from store.commands.listing import Csv, JsonList, Printer, Table, print_list
from store.commands.output import counted, moment, print_json, say
from store.commands.progress import counting
from store.commands.streams import acts

if TYPE_CHECKING:
    from datetime import datetime

    from store.models import Candle, Gap, Written

FORMATS = (
    "store",
    "okx",
    "ccxt",
    "freqtrade",
    "binance",
    "cryptodatadownload",
    "kraken",
)  # store/files/candle_formats.py
LIMIT = 1000  # candles that `list` shows unless told otherwise
COLUMNS = ("ts", "symbol", "open", "high", "low", "close", "volume", "complete")

symbol = click.argument("symbol")
timeframe = click.option(
    "--timeframe", required=True, metavar="T", help="1m, 3m, 5m, 15m, 30m, 1h, 4h or 1d, in UTC; list, export: 1w, too."
)
from_ = click.option("--from", "from_", type=Moment(), metavar="TIME", help="From this time on.")
to = click.option("--to", type=Moment(), metavar="TIME", help="Before this time.")
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
force = click.option("--force", is_flag=True, help="Replace finished candles that differ, too.")


@click.group()
def candles() -> None:
    """Keep candles (OHLCV) of the exchange. An unfinished one may be replaced; a finished one is final.

    They are not in a `backup`: the exchange has them, and `candles export` writes a file that `candles import` reads.
    Of hypertables `pg_dump -t` writes no rows: docs/timescaledb.md.

    \b
    Example:
      settings-store candles import btc.csv --timeframe 1m --symbol BTC-USDT-SWAP
      settings-store candles rollup --from-timeframe 1m --to-timeframe 1h
    """


@candles.command("import", short_help="Take candles from a file, all or none.")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@timeframe
@click.option("--symbol", metavar="S", help="The symbol of all candles, kept as it is, if the file doesn't say it.")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), help="What the file is, if it can't be told by looking."
)
@force
@as_json
@acts
def candles_import(
    file: Any, timeframe: str, symbol: str | None, format_: str | None, force: bool, as_json: bool
) -> None:
    """Take candles from a FILE of any size (-: standard input), all or none: CSV or JSON, plain, gz or zip.

    CSV of the store's own form names its columns: ts (or time, timestamp, date), symbol, open, high, low, close, volume
    (or o, h, l, c, v), and complete (or confirm) if need be. A ts is ISO 8601, in UTC unless it says so, or seconds,
    milliseconds or microseconds since 1970. Volumes are in the base currency. Also read are files of OKX, ccxt,
    freqtrade, Binance, CryptoDataDownload and Kraken, told by their look (docs/files.md); their symbols are written as
    OKX does: BTC/USDT:USDT is BTC-USDT-SWAP. Any error rejects the whole file and is named by line.

    \b
    Example:
      settings-store candles import btc.csv --timeframe 1m --symbol BTC-USDT-SWAP
      settings-store candles import BTCUSDT-1h-2026-01.zip --timeframe 1h --symbol BTC-USDT
      zcat all.csv.gz | settings-store candles import - --timeframe 5m
    """
    with counting("import", "bytes", _size(file)) as count:
        written = run(
            lambda store: store.import_candles(
                file, timeframe, symbol=symbol, format=format_, force=force, progress=count
            )
        )  # fmt: skip
    _tell(written, as_json, "the file holds no candles")


@candles.command("export", short_help="Write candles to a file that import reads.")
@click.argument("symbols", metavar="SYMBOL…", nargs=-1, required=True)
@timeframe
@from_
@to
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), metavar="FILE",
              help="Write to a file (an older one is replaced), packed if its name ends in .gz.")  # fmt: skip
def candles_export(
    symbols: Sequence[str], timeframe: str, from_: datetime | None, to: datetime | None, output: Path | None
) -> None:
    """Write the candles of SYMBOLs as CSV, as of one moment, every digit: what `candles import` reads.

    Exit code 1, and no file, if there are none.

    \b
    Example:
      settings-store candles export BTC-USDT-SWAP --timeframe 1m -o btc.csv.gz
      settings-store candles export BTC-USDT-SWAP ETH-USDT-SWAP --timeframe 1h --from 2026-11-01
    """
    import gzip

    from store.files import private

    def write(file: Any) -> int:
        count = run(lambda store: store.export_candles(file, symbols, timeframe, from_=from_, to=to, progress=bar))
        if not count:
            say("there are no such candles", err=True)
            sys.exit(1)
        return count

    with counting("export", "candles") as bar:
        if output is None or str(output) == "-":
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with private.private_file(output, overwrite=True) as file:
            if output.suffix == ".gz":
                with gzip.open(file, "wb", compresslevel=6) as packed:
                    count = write(packed)
            else:
                count = write(file)
    say(f"wrote {counted(count, 'candle')} to {click.format_filename(output)}", err=True)


@candles.command("list")
@symbol
@timeframe
@from_
@to
@click.option("--limit", type=Number(1), metavar="N", help=f"At most this many (default: {LIMIT}; --csv: all).")
@as_json
@as_csv
def candles_list(
    symbol: str, timeframe: str, from_: datetime | None, to: datetime | None, limit: int | None, as_json: bool,
    as_csv: bool,
) -> None:  # fmt: skip
    """List the candles of a SYMBOL in the order of time. Exit code 1 if there are none.

    \b
    Example:
      settings-store candles list BTC-USDT-SWAP --timeframe 1h --from 2026-11-22
      settings-store candles list BTC-USDT-SWAP --timeframe 1m --csv > btc.csv
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")

    def to_json(candle: Candle) -> dict[str, Any]:
        return dict(zip(COLUMNS, (*_cells(candle)[:-1], candle.complete), strict=True))

    printer: Printer[Candle]
    if as_csv:
        printer = Csv(COLUMNS, _cells)
    else:
        printer = JsonList(to_json) if as_json else Table(COLUMNS, _cells, is_shown_empty=False)
        limit = limit or LIMIT
    candles = run(lambda store: print_list(store.candles(symbol, timeframe, from_=from_, to=to, limit=limit), printer))
    if not candles[0]:
        say("there are no such candles", err=True)
        sys.exit(1)


@candles.command("rollup")
@click.option("--from-timeframe", required=True, metavar="T", help="The finer timeframe, as 1m.")
@click.option("--to-timeframe", required=True, metavar="T", help="The coarser timeframe, a multiple of it, as 1h.")
@click.option("--symbol", metavar="S", help="This symbol only (default: all).")
@from_
@to
@force
@as_json
@acts
def candles_rollup(
    from_timeframe: str, to_timeframe: str, symbol: str | None, from_: datetime | None, to: datetime | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make candles of a coarser timeframe of those of a finer one.

    One of which a part is missing or unfinished is unfinished; where there is no part, none is made. What --from and
    --to touch is made whole.

    \b
    Example:
      settings-store candles rollup --from-timeframe 1m --to-timeframe 1h --from 2026-11-01
    """
    written = run(
        lambda store: store.rollup_candles(symbol, from_timeframe, to_timeframe, from_=from_, to=to, force=force)
    )
    _tell(written, as_json, f"there are no candles of {from_timeframe} to make them of")


@candles.command("gaps", short_help="List what is missing between candles.")
@symbol
@timeframe
@from_
@to
@as_json
@as_csv
def candles_gaps(
    symbol: str, timeframe: str, from_: datetime | None, to: datetime | None, as_json: bool, as_csv: bool
) -> None:
    """List what is missing between the first and the last candle of a SYMBOL, or in a range.

    A gap is from its first missing candle on, before `to`. Exit code 1 if there is any.

    \b
    Example:
      settings-store candles gaps BTC-USDT-SWAP --timeframe 1m --from 2026-11-01
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    names = ("from", "to", "missing")

    def to_row(gap: Gap) -> tuple[str, ...]:
        return moment(gap.from_ts), moment(gap.to_ts), str(gap.missing)

    def to_json(gap: Gap) -> dict[str, Any]:
        return dict(zip(names, (*to_row(gap)[:-1], gap.missing), strict=True))

    printer: Printer[Gap]
    if as_csv:
        printer = Csv(names, to_row, is_shown_empty=True)
    else:
        printer = JsonList(to_json) if as_json else Table(names, to_row, is_shown_empty=False)
    count, _ = run(lambda s: print_list(s.iter_missing_candles(symbol, timeframe, from_=from_, to=to), printer))
    if count:
        sys.exit(1)
    if not as_json and not as_csv:
        say("no gaps")


def _tell(written: Written, as_json: bool, nothing: str) -> None:
    """Print what was written; `nothing`: why, if there was nothing to write."""
    if not written.inserted + written.replaced + written.unchanged:
        say(f"{nothing}: nothing was written", err=True)
    if as_json:
        print_json(written)
        return
    done = counted(written.inserted, "candle")
    say(f"{done} inserted, {written.replaced} replaced, {written.unchanged} unchanged")


def _cells(candle: Candle) -> tuple[str, ...]:
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return (moment(candle.ts), candle.symbol, *(f"{number:f}" for number in numbers), str(candle.complete).lower())


def _size(file: Any) -> int | None:
    """How many bytes there are to read; None if that isn't known."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if S_ISREG(found.st_mode) else None
