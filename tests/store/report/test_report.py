"""A report's page: what it shows of whom, and that nothing in it is anybody else's."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
import plotly.offline
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Candle, Config, ConfigError, InvalidArgument, NotPermitted, SettingsStore, UnknownUser
from store.models import MASK
from store.report import markets, reading
from tests.helpers.pages import Page, told
from tests.helpers.roles import in_role
from tests.helpers.season import BEGIN, BTC, CHANGES, GAP, HOUR, candles, season
from tests.helpers.season import trades as season_trades

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
OTHER = "700000000000000001"
DAY, DAYS = timedelta(days=1), 4
PICTURES = {"div", "figure", "figcaption", "h3", "dl", "dt", "dd", "table", "thead", "tbody", "th", "tr", "td", "span"}
MANY = """
    insert into trades (id, user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price,
                        exit_size, entry_fee, exit_fee, realized_pnl, exit_order_id, currency)
    select gen_random_uuid(), u.id, u.okx_uid, 'BTC-USDT-SWAP', 'long', x.t, 100, 1, x.t + interval '5 minutes', 101,
           1, 0, 0, round((sin(n / 900.0) * 5 + (n * 7919 %% 101 - 50) / 10.0)::numeric, 2), n::text, 'USDT'
      from app_users u, generate_series(1, %(count)s) n,
           lateral (select timestamptz '2026-01-01Z' + n * interval '10 minutes') x (t)
     where u.okx_uid = %(uid)s
"""
HOSTILE = "</script><script>alert(1)</script><img/src=x/onerror=alert(1)>"


@pytest.fixture
async def traded(store: SettingsStore, db: Db, user: str) -> str:
    """A user who traded a season."""
    await season(store, db, user)
    return user


def trade(uid: str, number: int = 1, **columns: Any) -> dict[str, Any]:
    """A trade closed so many hours after the season began."""
    return {
        "okx_uid": uid, "symbol": BTC, "side": "long", "entry_time": BEGIN, "entry_price": "97000.5", "entry_size": 1,
        "exit_time": BEGIN + (number + 1) * HOUR, "exit_price": 97500, "exit_size": 1, "realized_pnl": "4.999",
        "exit_order_id": str(number), "currency": "USDT", **columns,
    }  # fmt: skip


def trace(spec: dict[str, Any], name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [each for each in spec["data"] if each.get("name") == name]
    assert len(found) == 1
    return found[0]


async def test_page_shows_the_results_and_the_settings_they_were_made_under(store: SettingsStore, traded: str) -> None:
    page = Page(await store.report(traded))

    assert [heading for heading, _ in page.figures] == [
        "Equity curve and drawdown", "By params version", "By params.leverage", "By month",
        "How many trades earned how much", BTC,
    ]  # fmt: skip
    for _, spec in page.figures:
        go.Figure(spec)  # raises ValueError at what plotly doesn't know
    (figures,) = await store.trade_statistics(traded)
    assert f"Kim · {traded}" in page.words
    assert f"net result {figures.net_pnl:,.2f} USDT" in page.words
    curve = page.figure("Equity curve and drawdown")
    assert curve["layout"]["yaxis"]["title"]["text"] == "net result (USDT)"
    assert trace(curve, "net result")["y"][-1] == pytest.approx(float(figures.net_pnl))
    assert -min(trace(curve, "drawdown")["y"]) == pytest.approx(float(figures.max_drawdown))
    by_version = page.figure("By params version")["data"][0]
    assert by_version["x"] == ["v1", "v2", "v3", "v4"]
    earned = await store.trade_statistics_by_version(traded)
    assert by_version["y"] == pytest.approx([float(row.net_pnl) for row in earned])
    assert page.figure("By params.leverage")["data"][0]["x"] == ["5", "10", "20"]
    months = page.figure("By month")["data"][0]
    by_month = await store.trade_statistics(traded, by=("month",))
    assert [row[0] for row in months["z"] if row[0] is not None] == pytest.approx([float(m.net_pnl) for m in by_month])
    assert months["y"][5:9] == ["Jun", "Jul", "Aug", "Sep"]
    assert sum(page.figure("How many trades earned how much")["data"][0]["y"]) == 300


async def test_every_version_is_a_line_that_tells_what_changed(store: SettingsStore, traded: str) -> None:
    page = Page(await store.report(traded))
    lines = trace(page.figure("Equity curve and drawdown"), "params saved")
    saved = [f"{BEGIN + hour * HOUR:%Y-%m-%d %H:%M:%S}" for hour in (-24, *(hour for hour, _, _ in CHANGES))]
    assert sorted({x.partition(".")[0] for x in lines["x"] if x}) == saved
    words = {text for text in lines["text"] if text}
    assert len(words) == 4
    (newest,) = [text for text in words if "version 4" in text]
    assert newest.split("<br>")[2:] == [
        "by 운영자: back to ten",
        "leverage: 5 → 10",
        "rsi_length: 14 → 21",
        "tp1_value: 2.0 → 2.5",
    ]
    assert any("위험을 줄임" in text and "signal_bot_token" in text for text in words)
    assert trace(page.figure("Equity curve and drawdown"), "dual_side saved")
    assert "params version 4 · 2026-08-15 00:00 · by 운영자: back to ten leverage: 5 → 10" in page.words
    assert "0123456789" not in page.own
    assert MASK in page.words


async def test_candles_bear_entries_and_exits_and_show_where_they_are_missing(
    store: SettingsStore, traded: str
) -> None:
    page = Page(await store.report(traded))
    spec = page.figure(BTC)
    newest = [trade async for trade in store.trades(traded, limit=markets.MOST_DEALS)]
    marks = {name: trace(spec, name) for name in ("long entry", "long exit", "short entry", "short exit")}
    assert sum(len(mark["x"]) for mark in marks.values()) == 2 * len(newest)
    for mark in marks.values():
        assert set(mark["y"]) <= {float(price) for trade in newest for price in (trade.entry_price, trade.exit_price)}
    assert f"The newest {len(newest)} of 300 trades. Candles of 1h." in page.words
    start = min(trade.entry_time for trade in newest) - markets.AROUND * HOUR
    drawn = [candle for candle in candles() if candle.ts >= start]
    assert trace(spec, "candles")["close"] == [float(candle.close) for candle in drawn]
    (shade,) = spec["layout"]["shapes"]
    begin, end = BEGIN + GAP.start * HOUR, BEGIN + GAP.stop * HOUR
    assert (shade["x0"], shade["x1"]) == (f"{begin:%Y-%m-%d %H:%M:%S.%f}", f"{end:%Y-%m-%d %H:%M:%S.%f}")
    assert trace(spec, "candles missing")["text"] == [
        f"24 candles of 1h missing<br>from {begin:%Y-%m-%d %H:%M}<br>to {end:%Y-%m-%d %H:%M} UTC"
    ]
    assert "24 candles are missing" in page.words


@pytest.mark.parametrize(
    ("stored", "asked", "drawn", "together"),
    [
        (("1m", "1h", "1d"), None, "1h", 1),  # the finest that makes few enough
        (("1d",), None, "1d", 1),
        (("1m",), None, "1m", 12),  # too many: folded
        (("1h", "1d"), "1d", "1d", 1),
        (("1h",), "1d", None, 1),
    ],
)
async def test_candles_are_of_the_timeframe_that_fits(
    store: SettingsStore, user: str, stored: tuple[str, ...], asked: str | None, drawn: str | None, together: int
) -> None:
    for timeframe in stored:
        width = markets.WIDTHS[timeframe]
        one = Candle(BEGIN, BTC, Decimal(2), Decimal(4), Decimal(1), Decimal(3), Decimal(1))
        await store.upsert_candles(timeframe, [replace(one, ts=BEGIN + n * width) for n in range(DAYS * DAY // width)])
    await store.record_trades([trade(user, entry_time=BEGIN, exit_time=BEGIN + DAYS * DAY)])
    page = Page(await store.report(user, timeframe=asked))
    spec = page.figure(BTC)
    named = [each["name"] for each in spec["data"]]
    if drawn is None:
        assert "candles" not in named
        assert "There are no candles of that time" in page.words
        return
    assert (
        f"Candles of {drawn}{f', {together} drawn as one' if together > 1 else ''}. No candle is missing." in page.words
    )
    shown = trace(spec, "candles")
    assert len(shown["x"]) == DAYS * DAY // (markets.WIDTHS[drawn] * together)
    assert {*shown["open"], *shown["high"], *shown["low"], *shown["close"]} == {1, 2, 3, 4}


async def test_trades_without_candles_are_drawn_all_the_same(store: SettingsStore, user: str) -> None:
    await store.record_trades([trade(user)])
    page = Page(await store.report(user))
    assert "There are no candles of that time (settings-store candles import)." in page.words
    assert trace(page.figure(BTC), "long entry")["y"] == [97000.5]


async def test_what_others_wrote_is_shown_and_never_run(store: SettingsStore, user: str) -> None:
    await store.register(OTHER, "1709556959", name=HOSTILE)
    key = {"</script>": HOSTILE, "leverage": HOSTILE}
    await store.save(OTHER, "preferences", {**key, "\u202ekey": "\u2028"}, reason=HOSTILE, actor=HOSTILE)
    await store.record_trades(
        [trade(OTHER, symbol="<img/src=x/onerror=alert(1)>", exit_order_id=str(n)) for n in range(2)]
    )
    await store.record_trades([trade(OTHER, symbol="%{x}$y$", exit_order_id="3")])
    page, clean = Page(await store.report(OTHER, by_setting=("params.</script>",))), Page(await store.report(user))
    assert HOSTILE in page.words
    assert page.tags <= clean.tags | PICTURES
    assert not any(name.startswith("on") for name in page.attributes)
    assert page.scripts == clean.scripts
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts]
    assert f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';" in page.policy
    assert page.policy.startswith("default-src 'none';")
    everything = "".join(told(spec) for _, spec in page.figures)
    assert "<img" not in everything
    assert set(re.findall(r"<[^>]*>", everything)) == {"<br>", "<extra>", "</extra>"}
    assert "\u202e" not in page.own


async def test_page_asks_the_network_for_nothing(store: SettingsStore, traded: str) -> None:
    page = Page(await store.report(traded))
    assert page.scripts[0] == plotly.offline.get_plotlyjs()
    assert "://" not in page.own
    assert not re.search(r"(?i)<(link|iframe|object|embed|base)\b|\bsrc=|@import|url\(", page.own)
    assert len(page.own) < 600_000


async def test_without_trades_there_are_the_settings(store: SettingsStore, user: str) -> None:
    page = Page(await store.report(user))
    assert page.figures == []
    assert "There are no such trades." in page.words
    assert "params version 1" in page.words
    assert Page(await store.report()).figures == []


async def test_currencies_are_never_summed(store: SettingsStore, user: str) -> None:
    given = [(None, "7"), ("BTC", "0.0125"), ("USDT", "100"), ("USDT", "-30.5")]
    await store.record_trades([
        trade(user, number, currency=currency, realized_pnl=pnl) for number, (currency, pnl) in enumerate(given)
    ])  # fmt: skip
    for page in (Page(await store.report(user)), Page(await store.report())):
        titles = [spec["layout"]["yaxis"]["title"]["text"] for name, spec in page.figures if name.startswith("Equity")]
        assert sorted(titles) == ["net result (BTC)", "net result (USDT)", "net result (unknown currency)"]
        assert "net result 0.0125 BTC" in page.words
        assert "net result 69.50 USDT" in page.words
        assert "net result 7.00 " in page.words
        ends = [trace(spec, "net result")["y"][-1] for name, spec in page.figures if name.startswith("Equity")]
        assert sorted(ends) == [0.0125, 7, 69.5]


async def test_many_trades_are_thinned_and_the_page_says_so(store: SettingsStore, db: Db, user: str) -> None:
    db.execute(MANY, {"uid": user, "count": 6_000})
    page = Page(await store.report(user))
    (figures,) = await store.trade_statistics(user)
    assert figures.trades == 6_000
    curve = page.figure("Equity curve and drawdown")
    drawn, below = trace(curve, "net result")["y"], trace(curve, "drawdown")["y"]
    assert 500 < len(drawn) <= reading.MOST_POINTS
    assert f"6,000 exits are drawn as {len(drawn):,} points" in page.words
    assert drawn[-1] == pytest.approx(float(figures.net_pnl))
    assert -min(below) == pytest.approx(float(figures.max_drawdown))
    points = [point async for point in store.equity_curve(user)]
    assert max(drawn) == pytest.approx(max(float(point.equity) for point in points))
    assert min(drawn) == pytest.approx(min(float(point.equity) for point in points))
    assert sum(page.figure("How many trades earned how much")["data"][0]["y"]) == 6_000
    assert f"The newest {markets.MOST_DEALS} of 6,000 trades." in page.words
    assert len(page.own) < 1_500_000


async def test_of_all_users_it_compares_them(store: SettingsStore, traded: str) -> None:
    await store.register(OTHER, "1709556959")
    await store.record_trades(season_trades(OTHER, 50, "ETH-USDT-SWAP", params_version=1))
    page = Page(await store.report())
    assert [heading for heading, _ in page.figures] == [
        "Equity curve and drawdown", "By params.leverage", "By symbol", "By user", "By month",
        "How many users earned how much",
    ]  # fmt: skip
    earned = {row.okx_uid: float(row.net_pnl) for row in await store.trade_statistics(by=("user",))}
    bars = page.figure("By user")["data"][0]
    assert dict(zip(bars["x"], bars["y"], strict=True)) == pytest.approx(earned)
    assert sum(page.figure("How many users earned how much")["data"][0]["y"]) == 2
    assert "saved" not in told(page.figure("Equity curve and drawdown"))
    assert "위험을 줄임" not in page.own


async def test_confined_reader_has_a_report_of_its_own_user_only(
    store: SettingsStore, config: Config, database_url: str, traded: str
) -> None:
    await store.register(OTHER, "1709556959")
    await store.record_trades(season_trades(OTHER, 50, "ETH-USDT-SWAP", params_version=1))
    url = in_role(database_url, "reader", confined_to=traded)
    async with SettingsStore(replace(config, database_url=url)) as confined:
        assert f"Kim · {traded}" in Page(await confined.report()).words
        with pytest.raises(NotPermitted):
            await confined.report(OTHER)


async def test_trades_are_chosen(store: SettingsStore, traded: str) -> None:
    since, until = BEGIN + 1000 * HOUR, BEGIN + 1500 * HOUR
    page = Page(await store.report(traded, symbol=BTC, side="long", since=since, until=until))
    (figures,) = await store.trade_statistics(traded, symbol=BTC, side="long", since=since, until=until)
    assert f"trades {figures.trades} won" in page.words
    assert f"Trades of {BTC}, long only, closed from 2026-07-12 16:00 on, closed before 2026-08-02 12:00" in page.words
    assert "short entry" not in told(page.figure(BTC))


async def test_deleted_user_is_reported_of_by_okx_uid(store: SettingsStore, traded: str) -> None:
    await store.delete_user(traded)
    assert "trades 300 won" in Page(await store.report(traded)).words


async def test_what_cannot_be_drawn_is_refused(store: SettingsStore, user: str) -> None:
    with pytest.raises(UnknownUser):
        await store.report(OTHER)
    with pytest.raises(InvalidArgument, match="timeframe"):
        await store.report(user, timeframe="1w")
    with pytest.raises(InvalidArgument):
        await store.report(user, side="both")
    for by_setting in (("leverage",), "params.leverage", ("preferences.symbol",), ("user",), (7,)):
        with pytest.raises(InvalidArgument):
            await store.report(user, by_setting=by_setting)  # type: ignore[arg-type]


async def test_page_is_the_same_whatever_the_session_and_the_locale(
    store: SettingsStore, config: Config, traded: str
) -> None:
    options = (
        "-c DateStyle=German,DMY -c TimeZone=America/St_Johns -c IntervalStyle=sql_standard -c search_path=pg_catalog"
    )
    url = make_conninfo(config.database_url or "", options=options)
    async with SettingsStore(replace(config, database_url=url)) as other:
        pages = [re.sub(r"at [-0-9]+ [:0-9]+ UTC;", "", await each.report(traded)) for each in (store, other)]
    assert pages[0] == pages[1]


async def test_missing_extra_is_named(store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ConfigError, match="plotly") as raised:
        await store.report(user)
    assert raised.value.hint == "pip install 'settings-store[report]'"
