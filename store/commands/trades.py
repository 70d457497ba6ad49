"""The commands of trades: add, import, list, stats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from store.arguments import MOST_MONEY, is_plain_number
from store.commands.common import Moment, Number, as_json, identifier, run, whole
from store.commands.listing import Csv, Each, JsonList, Printer, Table, print_list
from store.commands.output import (
    amount,
    counted,
    moment,
    parse_object,
    parse_pairs,
    plain,
    print_json,
    print_table,
    say,
)
from store.commands.progress import counting
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.models import Trade, TradeStatistics

COLUMNS = ("exit_time", "symbol", "side", "entry_price", "exit_price", "exit_size", "fees", "funding_fee", "net_pnl",
           "currency", "close_type", "params_version")  # fmt: skip
FORMATS = ("store", "okx", "freqtrade")  # store/files/trade_formats.py
GROUPS = ("okx_uid", "symbol", "side", "period", "version", "saved_at", "value")
ROUNDED = {"win_rate", "profit_factor", "average", "average_win", "average_loss", "expectancy", "expectancy_ratio",
           "sharpe", "sortino", "max_drawdown_percent", "cagr_percent", "calmar"}  # to six digits  # fmt: skip
OF_CAPITAL = ("max_drawdown_percent", "cagr_percent", "calmar")
BY_VERSION = ("okx_uid", "version", "saved_at")
CURVE = ("time", "currency", "trades", "net_pnl", "equity", "drawdown", "version")
GROUPED = {"user": "okx_uid", "symbol": "symbol", "side": "side", "day": "period", "week": "period", "month": "period"}
COMPARED = ("currency", "trades", "win_rate", "profit_factor", "fees", "net_pnl", "average", "max_drawdown", "sharpe")


class Amount(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """An amount of money above 0, in plain digits; every one is kept."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not is_plain_number(str(value), is_whole=False) or not 0 < Decimal(value) < MOST_MONEY:
            self.fail("not an amount above 0, below 1e30", param, ctx)
        return Decimal(value)


class Place(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """Where a page ended: exit time and id, as `trades list` tells it."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        moment, _, id_ = str(value).rpartition("/")
        try:
            return Moment().convert(moment, param, ctx), UUID(id_)
        except ValueError:
            self.fail("not a place as `trades list` tells it: TIME/ID", param, ctx)


def selection(command: Any) -> Any:
    """Add the options that say which trades."""
    for decorate in (
        click.option("--until", type=Moment(), metavar="TIME", help="Exits before then."),
        click.option("--since", type=Moment(), metavar="TIME", help="Exits from then on."),
        click.option("--side", type=click.Choice(("long", "short")), help="This side only."),
        click.option("--symbol", metavar="SYMBOL", help="This symbol only."),
    ):
        command = decorate(command)
    return command


_currency = click.option("--currency", metavar="CODE", help="Trades in this currency only, as USDT.")
_setting_type = click.option("--type", "setting_type", type=click.Choice(("params", "dual_side")), default="params",
                             show_default=True, help="Of which settings the version, or the value, is.")  # fmt: skip
_as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")


@click.group(short_help="Keep closed trades, and tell what they earned.")
def trades() -> None:
    """Keep closed trades, each with the settings that were in force at its entry, and tell what they earned.

    \b
    Example:
      settings-store trades import trades.csv
      settings-store trades stats 587662504768345929 --by-version
    """


@trades.command("add")
@identifier
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1)
@click.option("--file", "file", type=click.File("rb"), help="Read a JSON object from a file (-: standard input).")
@as_json
@acts
def trades_add(identifier: str, pairs: Sequence[str], file: Any, as_json: bool) -> None:
    """Record a closed trade. One order of the exchange (exit_order_id) closes one trade: again changes nothing.

    Needed: symbol, side (long, short), entry_time, entry_price, entry_size, exit_time, exit_price, exit_size,
    realized_pnl (before fees and funding: OKX's pnl, not its realizedPnl), exit_order_id. Also: is_hedge, entry_fee,
    exit_fee (paid; a rebate is negative), funding_fee (paid; received is negative), currency (USDT),
    realized_pnl_percent, leverage, close_type, dca_count, entry_order_id, extra (a JSON object), params_version,
    dual_side_version (else those in force at entry_time). Times are ISO 8601 with an offset. A funding_fee and a
    currency that weren't known are taken when the trade is recorded again.

    \b
    Example:
      settings-store trades add 587662504768345929 --file trade.json
    """
    if bool(pairs) == (file is not None):
        raise click.UsageError("Give one of these: KEY=VALUE pairs, --file.")
    trade = parse_object(file.read()) if file else _texts(pairs)
    done = run(lambda store: store.record_trade(identifier, trade))
    if as_json:
        print_json(done)
    else:
        version = done.params_version or "unknown"
        say(f"{done.symbol} {done.side}: net PnL {done.net_pnl:f}, params version {version}")


@trades.command("import", short_help="Record the trades of a file, all or none.")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--user", metavar="IDENTIFIER", help="Whose trades these are, if the file doesn't say it.")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), help="What the file is, if it can't be told by looking."
)
@click.option("--utc-offset", metavar="OFFSET", help="Of the file's times, as +09:00, if they don't say it.")
@as_json
@acts
def trades_import(file: Any, user: str | None, format_: str | None, utc_offset: str | None, as_json: bool) -> None:
    """Record the trades of a FILE (-: standard input), all or none: CSV with a header, or JSON; plain, gz or zip.

    JSON is an object a line, or an array of objects. Columns are those of `trades add`, and okx_uid; an empty cell is a
    column that isn't given. What `trades list` prints with --csv or --json is read. So are OKX's position history (of
    its API, or CSV of its pages) and trades of freqtrade, told by their look (docs/files.md); positions that aren't
    closed yet are passed over. Trades recorded before are passed over, too, so an import may be repeated; a funding_fee
    or currency that wasn't known of them is recorded then. An error rejects the whole file and is named by line and
    column.

    \b
    Example:
      settings-store trades import trades.csv
      settings-store trades import positions-history.json --user 587662504768345929
    """
    from store.files import trades

    def tell(number: int) -> None:
        if number:
            say(f"passed over {counted(number, 'position')} not closed yet", err=True)

    with whole(file) as data, counting("import", "trades") as count:
        done = run(
            lambda store: trades.import_trades(
                store, data, count, user=user, format=format_, utc_offset=utc_offset, still_open=tell
            )
        )
    if not done.recorded + done.known:
        say("the file holds no trades: nothing was recorded", err=True)
    if as_json:
        print_json(done)
    else:
        say(f"recorded {counted(done.recorded, 'trade')}, {done.known} known already")


@trades.command("list")
@identifier
@selection
@click.option("--before", type=Place(), metavar="TIME/ID", help="The next page: those after this one in this order.")
@click.option("--limit", type=Number(1), metavar="N", default=100, show_default=True, help="Trades at most.")
@_as_csv
@as_json
def trades_list(
    identifier: str, symbol: str | None, side: str | None, since: datetime | None, until: datetime | None,
    before: tuple[datetime, UUID] | None, limit: int, as_csv: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show a user's trades, newest exit first. Amounts in JSON are texts: they keep every digit. `trades import`
    reads what --csv and --json print.

    \b
    Example:
      settings-store trades list 587662504768345929 --symbol BTC-USDT-SWAP --since 2026-11-01
      settings-store trades list 587662504768345929 --limit 1000 --csv
    """
    printer: Printer[Trade] = _printer(COLUMNS, "Trade", as_csv, as_json)

    async def read(store: SettingsStore) -> tuple[int, Trade | None]:
        found = store.trades(
            identifier, symbol=symbol, side=side, since=since, until=until, before=before, limit=limit
        )  # fmt: skip
        return await print_list(found, printer)

    count, last = run(read)
    if last is not None and count == limit:
        say(f"more: --before '{moment(last.exit_time)}/{last.id}'", err=True)


@trades.command("stats")
@click.argument("identifier", metavar="[IDENTIFIER]", required=False)
@selection
@_currency
@click.option("--by", multiple=True, type=click.Choice(tuple(GROUPED)), help="A row per group; may be repeated.")
@click.option("--by-version", is_flag=True, help="A row per version of the settings in force at entry.")
@click.option("--by-value", metavar="KEY", help="A row per value of this setting in force at entry.")
@_setting_type
@click.option("--capital", type=Amount(), help="What there was before, for drawdown in %, CAGR and Calmar ratio.")
@click.option("--year-days", type=Number(1), default=365, show_default=True, help="The days of a year; 1: as it is.")
@_as_csv
@as_json
def trades_stats(
    identifier: str | None, by: Sequence[str], by_version: bool, by_value: str | None, setting_type: str,
    capital: Decimal | None, as_csv: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Tell what trades earned: of a user, or of all. By exits; days, weeks and months are those of UTC.

    A row per currency. Wins, losses and averages are by net PnL, after fees and funding. Max drawdown: the deepest fall
    of the summed net PnL. Sharpe: mean / standard deviation of the net PnL per day, annualised by the root of
    --year-days; Sortino: by the deviation of losses. Each row is told as begun with the --capital, in its currency.

    \b
    Example:
      settings-store trades stats 587662504768345929 --by-version
      settings-store trades stats 587662504768345929 --capital 10000
      settings-store trades stats --by-value leverage
      settings-store trades stats --by user --by month --since 2026-01-01 --csv
    """
    if (by or by_value) and by_version:
        raise click.UsageError("Give one of these: --by, --by-value, --by-version.")
    groups = [*by, *([] if by_value is None else [f"{setting_type}.{by_value}"])]

    async def read(store: SettingsStore) -> None:
        if by_version:
            found = store.iter_trade_statistics_by_version(identifier, setting_type, capital=capital, **options)
        else:
            found = store.iter_trade_statistics(identifier, by=groups, capital=capital, **options)
        await print_list(found, printer)

    grouped = [GROUPED[each] for each in by] + ["value"] * (by_value is not None)
    columns = [name for name in GROUPS if name in grouped] if grouped else list(BY_VERSION)
    columns += [*COMPARED, *(OF_CAPITAL if capital else ())]
    printer: Printer[TradeStatistics] = Each(lambda one: _print_figures(one, capital is not None))
    if as_csv or as_json or grouped or by_version:
        printer = _printer(columns, "TradeStatistics", as_csv, as_json)
    run(read)


@trades.command("curve")
@click.argument("identifier", metavar="[IDENTIFIER]", required=False)
@selection
@_currency
@_setting_type
@_as_csv
@as_json
def trades_curve(
    identifier: str | None, setting_type: str, as_csv: bool, as_json: bool, **selection: Any
) -> None:  # fmt: skip
    """Show what trades earned up to each exit: of a user, or of all. Currency by currency, oldest exit first.

    equity: the net PnL summed up to then, from 0; drawdown: how far that is below the highest so far. version: of the
    settings in force at entry; none of all users' trades.

    \b
    Example:
      settings-store trades curve 587662504768345929 --since 2026-11-01
      settings-store trades curve 587662504768345929 --currency USDT --csv
    """
    printer = _printer(CURVE, "EquityPoint", as_csv, as_json)
    run(lambda store: print_list(store.equity_curve(identifier, setting_type, **selection), printer))


def _texts(pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs as texts, which keep every digit; but extra, which is JSON."""
    texts = {key: text for key, _, text in (pair.partition("=") for pair in pairs)}
    return {key: value if key == "extra" else texts[key] for key, value in parse_pairs(pairs).items()}


def _printer(columns: Sequence[str], model: str, as_csv: bool, as_json: bool) -> Printer[Any]:
    """Return what prints items of a model of store.models: these columns as a table, or all of it as CSV or JSON."""
    if as_csv and as_json:
        raise click.UsageError("Give one of these: --csv, --json.")
    if as_json:
        return JsonList()
    if not as_csv:
        return Table(columns, lambda one: tuple(_text(name, getattr(one, name)) for name in columns))
    from store import models

    ours = ("id", "user_id", "net_pnl", "created_at") if model == "Trade" else ()  # which an import makes anew
    names = [field.name for field in fields(getattr(models, model)) if field.name not in ours]
    return Csv(names, lambda one: [_cell(getattr(one, name)) for name in names], is_shown_empty=True)


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else plain(value)


def _print_figures(figures: TradeStatistics, has_capital: bool) -> None:
    names = [field.name for field in fields(figures)]
    hidden = {*GROUPS, *(() if has_capital else OF_CAPITAL)}
    print_table(None, [(name, _text(name, getattr(figures, name))) for name in names if name not in hidden])


def _text(name: str, value: object) -> str:
    """Write a figure for people."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Decimal):
        return f"{float(value):.6g}" if name in ROUNDED else amount(value)
    if name == "value" and not isinstance(value, str | None):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
