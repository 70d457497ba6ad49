"""Trades from Python: exact money, pages that follow each other, files taken as a whole or not at all."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from store import (
    BadIdentifier,
    Config,
    EquityPoint,
    InvalidArgument,
    NotPermitted,
    SettingsStore,
    StoreError,
    Trade,
    TradesRecorded,
    UnknownUser,
)
from store.files import trades
from store.files.trades import BATCH, TradesRejected, import_trades
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import BAD_VALUES, NOBODY, NOT_TEXT, SECRET, TEXTS, told
from tests.helpers.roles import in_role
from tests.helpers.trades import HOUR, T0, trade

Db = psycopg.Connection[dict[str, Any]]


def count(db: Db) -> int:
    row = db.execute("select count(*) as n from trades t join trade_orders o on o.trade_id = t.id").fetchone()
    assert row is not None
    return int(row["n"])


async def all_trades(store: SettingsStore, **selection: Any) -> list[Trade]:
    return [trade async for trade in store.trades(OKX_UID, **selection)]


async def test_a_trade_comes_back_exactly_with_the_settings_in_force(store: SettingsStore, user: str) -> None:
    await store.patch(user, "params", {"leverage": 20})
    now = datetime.now(timezone(timedelta(hours=9))) + HOUR
    pnl = Decimal("0.1000000000000000000000000001")
    given = trade(entry_time=now, exit_time=now + HOUR, realized_pnl=pnl, exit_fee=0.1, extra={"why": [1, None]})
    recorded = await store.record_trade(TELEGRAM_ID, given)
    assert (recorded.realized_pnl, recorded.net_pnl) == (pnl, pnl - Decimal("0.1"))
    assert (recorded.params_version, recorded.dual_side_version) == (2, 1)
    assert (recorded.entry_time, recorded.extra) == (now, {"why": [1, None]})
    assert await store.record_trade(user, given) == recorded
    assert await all_trades(store) == [recorded]


async def test_many_trades_are_recorded_at_once(store: SettingsStore, user: str, db: Db) -> None:
    given = [trade(n, okx_uid=user) for n in range(5)]
    assert await store.record_trades(given) == TradesRecorded(5, 0)
    assert await store.record_trades([*given, trade(5, okx_uid=user)]) == TradesRecorded(1, 5)
    with pytest.raises(InvalidArgument) as error:
        await store.record_trades([trade(6, okx_uid=user), trade(7, okx_uid=user, side=SECRET, foo=1)])
    assert error.value.problems.keys() == {"1.side", "1.foo"}
    assert "1.side: must be long or short" in str(error.value)
    assert SECRET not in told(error.value)
    assert count(db) == 6


async def test_the_problems_of_a_trade_are_told_by_key(store: SettingsStore, user: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await store.record_trade(user, {"side": "buy", "entry_time": datetime(2026, 11, 22)})
    assert error.value.problems["side"] == "must be long or short"
    assert "with its offset" in error.value.problems["entry_time"]
    assert error.value.problems["symbol"] == "is missing"
    with pytest.raises(UnknownUser):
        await store.record_trade(NOBODY, trade())


async def test_pages_follow_each_other(store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.api.trades.PAGE", 4)
    await store.record_trades([trade(n, okx_uid=user, exit_time=T0 + n // 3 * HOUR, entry_time=T0) for n in range(18)])
    whole = await all_trades(store)
    assert len({one.id for one in whole}) == 18
    assert whole == sorted(whole, key=lambda one: (-one.exit_time.timestamp(), one.id))
    for limit in (0, 1, 4, 7, 18, 100):
        assert await all_trades(store, limit=limit) == whole[:limit]
    assert await all_trades(store, before=(whole[6].exit_time, whole[6].id)) == whole[7:]
    assert await all_trades(store, since=T0 + HOUR, until=T0 + 3 * HOUR) == whole[9:15]
    assert await all_trades(store, symbol="ETH") == await all_trades(store, side="short") == []


async def test_figures_come_as_they_are_asked_for(store: SettingsStore, user: str) -> None:
    await store.record_trades([trade(n, okx_uid=user, side=("long", "short")[n % 2]) for n in range(4)])
    (figures,) = await store.trade_statistics(user)
    assert (figures.trades, figures.net_pnl, figures.average_holding) == (4, Decimal("19.996"), HOUR)
    by_side = await store.trade_statistics(by=["side"], symbol="BTC-USDT-SWAP")
    assert [(one.side, one.trades) for one in by_side] == [("long", 2), ("short", 2)]
    assert await store.trade_statistics(user, by=["day"], since=datetime.now(UTC) + 9999 * HOUR) == []
    (by_version,) = await store.trade_statistics_by_version(user)
    assert asdict(replace(by_version, okx_uid=None)) == asdict(figures)  # before the first version
    with pytest.raises(InvalidArgument):
        await store.trade_statistics(by=["hour"])


async def test_figures_of_currencies_capitals_and_values(store: SettingsStore, user: str) -> None:
    later = datetime.now(UTC) + HOUR
    times = {"entry_time": later, "exit_time": later + 2 * HOUR}
    await store.record_trades([
        trade(1, okx_uid=user, currency="USDT", funding_fee=Decimal("-0.001"), **times),
        trade(2, okx_uid=user, currency="BTC", realized_pnl=-1, **times), trade(3, okx_uid=user),
    ])  # fmt: skip
    everything = await store.trade_statistics()
    assert [(one.currency, one.net_pnl, one.funding_fees) for one in everything] == [
        ("BTC", -1, None), ("USDT", 5, Decimal("-0.001")), (None, Decimal("4.999"), None)
    ]  # fmt: skip
    for capital in (Decimal(4), 4, 4.0, "4"):
        (btc,) = await store.trade_statistics(user, currency="BTC", capital=capital)
        assert btc.max_drawdown_percent == 25
    with pytest.raises(InvalidArgument, match="of several"):
        await store.trade_statistics(capital=4)
    for bad in (True, "x", "1_0", float("nan"), Decimal("sNaN"), 10**5000, [1], -1):
        with pytest.raises(InvalidArgument):
            await store.trade_statistics(capital=bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await store.trade_statistics(capitol=4)  # type: ignore[call-arg]
    await store.patch(user, "params", {"leverage": 7})
    values = await store.trade_statistics_by_setting_value("params", "leverage", symbol="BTC-USDT-SWAP")
    assert [(one.value, one.users, one.trades) for one in values] == [(10, 1, 1), (10, 1, 1), (None, 1, 1)]
    assert values == await store.trade_statistics(by=["params.leverage"])
    assert await store.trade_statistics_by_setting_value("params", "leverage", user, currency="USDT") == [values[1]]
    for setting_type, key in (("preferences", "a"), ("params", ""), (None, "a"), ("params", 1)):
        with pytest.raises(InvalidArgument):
            await store.trade_statistics_by_setting_value(setting_type, key)  # type: ignore[arg-type]


async def test_the_equity_curve_comes_currency_by_currency(store: SettingsStore, user: str) -> None:
    await store.record_trades([trade(n, okx_uid=user, realized_pnl=3 - n, currency="USDT") for n in range(5)])
    await store.record_trade(user, trade(9, currency="BTC"))
    points = [point async for point in store.equity_curve(user)]
    assert [(point.currency, float(point.equity), float(point.drawdown)) for point in points] == [
        ("BTC", 4.999, 0), ("USDT", 3, 0), ("USDT", 5, 0), ("USDT", 6, 0), ("USDT", 6, 0), ("USDT", 5, 1)
    ]  # fmt: skip
    selected = [point async for point in store.equity_curve(currency="USDT", since=T0 + 4 * HOUR)]
    assert selected == [EquityPoint("USDT", T0 + 4 * HOUR, 1, Decimal(-1), Decimal(-1), Decimal(1), None)]
    with pytest.raises(InvalidArgument):
        _ = [point async for point in store.equity_curve(user, "preferences")]
    with pytest.raises(UnknownUser):
        _ = [point async for point in store.equity_curve(NOBODY)]


async def test_a_writer_records_a_reader_reads_and_neither_more(config: Config, user: str) -> None:
    assert config.database_url
    async with SettingsStore(replace(config, database_url=in_role(config.database_url, "writer"))) as writer:
        await writer.record_trade(user, trade())
        assert (await writer.record_trade(user, trade(currency="USDT"))).currency == "USDT"
        await writer.record_trades([trade(2, okx_uid=user)])
        assert (await import_trades(writer, jsonl(trade(3)))).recorded == 1
    async with SettingsStore(replace(config, database_url=in_role(config.database_url, "reader"))) as reader:
        assert len(await all_trades(reader)) == 3
        assert len(await reader.trade_statistics_by_version()) == 2
        assert len(await reader.trade_statistics_by_setting_value("params", "leverage")) == 2
        assert len([point async for point in reader.equity_curve()]) == 3
        with pytest.raises(NotPermitted):
            await reader.record_trade(user, trade(4))
    async with SettingsStore(replace(config, database_url=in_role(config.database_url, "relay"))) as relay:
        with pytest.raises(NotPermitted):
            await relay.trade_statistics()


async def test_erasing_a_user_tells_how_many_trades_went(store: SettingsStore, user: str, db: Db) -> None:
    await store.record_trades([trade(n, okx_uid=user) for n in range(3)])
    assert (await store.erase_user(user)).trades == 3
    assert count(db) == 0


# -- hostile arguments


async def test_hostile_columns_are_refused_and_leave_nothing(store: SettingsStore, user: str, db: Db) -> None:
    values = [*TEXTS.values(), *NOT_TEXT, *BAD_VALUES.values()]
    for key in ("symbol", "entry_price", "exit_time", "extra", "params_version"):
        for value in values:
            refusal = None
            try:
                await store.record_trade(user, trade(**{key: value}))
            except StoreError as error:
                refusal = error
            assert count(db) == (refusal is None)
            if refusal is None:
                await store.erase_user(user)
                await store.register(user)
            else:
                assert SECRET not in told(refusal)
                assert len(str(refusal)) < 1000
    bad: Any
    for bad in (None, [], "x", {1: 2}, {"": 1}, {SECRET * 1000: 1}):
        with pytest.raises(StoreError):
            await store.record_trade(user, bad)
        with pytest.raises(StoreError):
            await store.record_trades([bad])
    assert count(db) == 0


async def test_hostile_selections_are_refused(store: SettingsStore, user: str) -> None:
    for selection in (
        {"limit": -1}, {"limit": "x"}, {"symbol": 1}, {"side": "buy"}, {"since": "now"}, {"until": datetime.min},
        {"before": 5}, {"before": (T0,)}, {"before": (T0, "x")}, {"before": ("x", UUID(int=1))}, {"symbol": "a\0"},
    ):  # fmt: skip
        with pytest.raises(StoreError):
            await all_trades(store, **selection)
    with pytest.raises(BadIdentifier):
        await anext(store.trades(5))  # type: ignore[arg-type]


# -- files


def jsonl(*given: dict[str, Any]) -> io.BytesIO:
    return io.BytesIO("\n".join(json.dumps({"okx_uid": OKX_UID, **each}) for each in given).encode())


def csv_of(*given: dict[str, Any], head: str = "") -> io.BytesIO:
    columns = list({key: None for each in given for key in each})
    lines = [",".join(["okx_uid", *columns])]
    lines += [",".join([OKX_UID, *(str(each.get(key, "")) for key in columns)]) for each in given]
    return io.BytesIO((head + "\n".join(lines)).encode())


@pytest.mark.parametrize("make", [jsonl, csv_of])
async def test_a_file_is_imported_in_batches_and_again_changes_nothing(
    store: SettingsStore, user: str, db: Db, make: Any
) -> None:
    given = [trade(n, entry_fee="0.1") for n in range(BATCH + 10)]
    seen: list[int] = []
    assert await import_trades(store, make(*given), seen.append) == TradesRecorded(BATCH + 10, 0)
    assert seen == [BATCH, 10]
    assert await import_trades(store, make(*given, trade(BATCH + 10, entry_fee="0.1"))) == TradesRecorded(1, BATCH + 10)
    assert count(db) == BATCH + 11


async def test_csv_may_have_a_mark_blank_lines_quotes_and_empty_cells(store: SettingsStore, user: str) -> None:
    text = (
        "\ufeff\n\nokx_uid, symbol ,side,entry_time,entry_price,entry_size,exit_time,exit_price,exit_size,realized_pnl,"
        "exit_order_id,leverage,extra\r\n\r\n"
        f'{user},BTC,long,2026-11-22T10:00Z,1e2,1,2026-11-22T11:00Z,101,1,"1.10",7,,"{{\n""note"": ""a, b""}}"\r\n'
    )  # fmt: skip
    assert await import_trades(store, io.BytesIO(text.encode())) == TradesRecorded(1, 0)
    (found,) = await all_trades(store)
    assert (found.entry_price, found.realized_pnl, found.leverage) == (Decimal(100), Decimal("1.10"), None)
    assert found.extra == {"note": "a, b"}


GOOD = [trade(n) for n in range(1, 4)]
CSV, JSONL = csv_of(*GOOD).getvalue() + b"\n", jsonl(*GOOD).getvalue() + b"\n"
BAD_FILES = {
    "a bad value in JSON": (jsonl(*GOOD, trade(4, side=SECRET)), "line 4: side: must be long or short"),
    "a bad value in CSV": (csv_of(*GOOD, trade(4, side=SECRET)), "line 5: side: must be long or short"),
    "an unknown column": (csv_of(trade(1, foo=SECRET)), "line 2: foo: is no field of a trade"),
    "somebody unknown": (jsonl(*GOOD, trade(4, okx_uid=NOBODY)), "line 4: okx_uid: is nobody's"),
    "too few cells": (io.BytesIO(CSV + f"{SECRET},1".encode()), "line 5: 2 cells, but the header"),
    "an open quote": (io.BytesIO(CSV + f'"{SECRET}'.encode()), "line 5: unexpected end of data"),
    "a column twice": (io.BytesIO(CSV.splitlines()[0] + b",side\n"), "line 1: two columns have the same name"),
    "a cell too long": (csv_of(trade(1, symbol="x" * 200_000)), "line 2: symbol: must be a text of 1-64 characters"),
    "extra that is no JSON": (csv_of(*GOOD, trade(4, extra=SECRET)), "line 5: extra is not JSON"),
    "no JSON": (io.BytesIO(JSONL + b"{nonsense"), "line 4: Expecting property name"),
    "no object": (io.BytesIO(JSONL + b"[1]"), "line 4: not a JSON object"),
    "a key twice": (io.BytesIO(b'{"a": 1, "a": 2}'), "line 1: the key a is there twice"),
    "NaN": (io.BytesIO(b'{"a": NaN}'), "line 1: NaN is no JSON number"),
    "too deep": (io.BytesIO(b'{"a":' * 100_000), "line 1: nested too deep"),
    "not UTF-8": (io.BytesIO(JSONL + b"\xff"), "line 4: not UTF-8 text"),
    "a NUL": (io.BytesIO(CSV + b"\0"), "line 5: holds the character U+0000"),
    "an escaped NUL": (io.BytesIO(b'{"symbol": "\\u0000"}'), "line 1: symbol: must not contain the character U+0000"),
    "half a pair": (io.BytesIO(b'{"symbol": "\\ud800"}'), "line 1: symbol: must not contain a lone surrogate"),
    "half a pair in extra": (csv_of(trade(1, extra='"{""a"": ""\\ud800""}"')), "line 2: extra: must not contain"),
    "other data": (jsonl(*GOOD, trade(2, side="short")), "line 4: side: differs from what was recorded"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_bad_line_is_named_and_nothing_of_the_file_is_recorded(
    store: SettingsStore, user: str, db: Db, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trades, "BATCH", 2)
    file, expected = BAD_FILES[name]
    file.seek(0)
    with pytest.raises(TradesRejected) as error:
        await import_trades(store, file)
    assert expected in (error.value.detail or "")
    assert "nothing was recorded" in error.value.message
    assert SECRET not in told(error.value)
    assert count(db) == 0


async def test_a_file_without_trades_records_none(store: SettingsStore, user: str) -> None:
    for data in (b"[]", CSV.splitlines()[0] + b"\r\n\r\n"):
        assert await import_trades(store, io.BytesIO(data)) == TradesRecorded(0, 0)
    for data in (b"", b"\n\n", b"\xef\xbb\xbf"):
        with pytest.raises(TradesRejected) as error:
            await import_trades(store, io.BytesIO(data))
        assert error.value.detail == "line 1: the file is empty"


async def test_imports_and_bots_at_once_record_every_trade_once(store: SettingsStore, user: str, db: Db) -> None:
    given = [trade(n) for n in range(300)]
    done = await asyncio.gather(
        import_trades(store, jsonl(*given)), import_trades(store, csv_of(*given)),
        *(store.record_trade(user, each) for each in given[::20]),
    )  # fmt: skip
    imported = [each for each in done if isinstance(each, TradesRecorded)]
    assert {each.recorded + each.known for each in imported} == {300}
    assert count(db) == 300
