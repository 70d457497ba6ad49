"""Candles from Python: exact numbers, errors of ours, streams, and who may write them."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import psycopg
import pytest

from store import Candle, Config, Gap, HistoryIsImmutable, InvalidArgument, NotPermitted, SettingsStore, Written
from tests.conftest import OKX_UID
from tests.helpers.roles import in_role

BTC = "BTC-USDT-SWAP"
START = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = "ts,symbol,open,high,low,close,volume\n"


def candle(minute: int = 0, close: str = "3", complete: bool = True) -> Candle:
    prices = [Decimal(text) for text in ("2", "4.50", "1", close, "10.125")]
    return Candle(
        START + timedelta(minutes=minute), BTC, prices[0], prices[1], prices[2], prices[3], prices[4], complete
    )


def csv(*minutes: int) -> bytes:
    rows = [f"{(START + timedelta(minutes=n)).isoformat()},{BTC},2,4.50,1,3,10.125\n" for n in minutes]
    return (HEADER + "".join(rows)).encode()


async def test_candles_come_back_as_they_were_to_the_last_digit(store: SettingsStore) -> None:
    given = [candle(0, "2.123456789012345678901234567890"), candle(1, complete=False)]
    assert await store.upsert_candles("1m", given) == Written(2, 0, 0)
    assert await store.upsert_candles("1m", given) == Written(0, 0, 2)
    found = await store.get_candles(BTC, "1m")
    assert found == given
    assert str(found[0].close) == "2.123456789012345678901234567890"
    assert [each async for each in store.candles(BTC, "1m")] == found
    assert await store.get_candles(BTC, "1m", after=START, limit=1) == given[1:]
    assert await store.get_candles(BTC, "1m", to=START + timedelta(minutes=1)) == given[:1]


async def test_a_finished_candle_is_final_unless_forced(store: SettingsStore) -> None:
    await store.upsert_candles("1m", [candle()])
    with pytest.raises(HistoryIsImmutable, match=f"{BTC} 2026-01-01 00:00:00"):
        await store.upsert_candles("1m", [candle(close="2")])
    assert await store.upsert_candles("1m", [candle(close="2")], force=True) == Written(0, 1, 0)


async def test_rollup_and_gaps(store: SettingsStore) -> None:
    await store.upsert_candles("1m", [candle(n) for n in (0, 1, 2, 3, 4, 7)])
    assert await store.rollup_candles(BTC, "1m", "5m") == Written(2, 0, 0)
    assert [c.complete for c in await store.get_candles(BTC, "5m")] == [True, False]
    assert await store.missing_candles(BTC, "1m") == [
        Gap(START + timedelta(minutes=5), START + timedelta(minutes=7), 2)
    ]
    with pytest.raises(InvalidArgument, match="can't be made of"):
        await store.rollup_candles(None, "5m", "1m")


async def test_a_file_is_imported_and_told_how_far(store: SettingsStore) -> None:
    read: list[int] = []
    data = csv(*range(10_000))
    assert await store.import_candles(io.BytesIO(data), "1m", progress=read.append) == Written(10_000, 0, 0)
    assert sum(read) == len(data)
    assert len(read) > 3
    assert await store.import_candles(io.BytesIO(data), "1m") == Written(0, 0, 10_000)


async def test_an_import_fills_in_between_what_is_there(store: SettingsStore) -> None:
    await store.upsert_candles("1m", [candle(0), candle(1, "2", complete=False)])
    assert await store.import_candles(io.BytesIO(csv(0, 1, 2)), "1m") == Written(1, 1, 1)
    assert await store.get_candles(BTC, "1m") == [candle(n) for n in range(3)]


async def test_two_imports_of_the_same_candles_in_opposite_orders_both_succeed(store: SettingsStore) -> None:
    files = [io.BytesIO(csv(*order)) for order in (range(3000), range(2999, -1, -1)) for _ in range(2)]
    done = await asyncio.gather(*(store.import_candles(file, "1m") for file in files))
    assert len(await store.get_candles(BTC, "1m")) == 3000
    assert sum(written.inserted for written in done) >= 3000
    assert {sum((w.inserted, w.replaced, w.unchanged)) for w in done} == {3000}


async def test_an_import_leaves_the_connection_as_it_was(store: SettingsStore) -> None:
    with pytest.raises(InvalidArgument):
        await store.import_candles(io.BytesIO(csv(0) + b"x"), "1m")
    for _ in range(10):
        await store.import_candles(io.BytesIO(csv(0)), "1m")
    assert len(await store.get_candles(BTC, "1m")) == 1


async def test_a_pipe_is_read_as_it_comes_and_others_go_on(store: SettingsStore) -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as file, os.fdopen(sending, "wb", buffering=0) as pipe:
        importing = asyncio.ensure_future(store.import_candles(file, "1m"))
        for part in (csv(0)[:20], csv(0)[20:], csv(1)[len(HEADER) :]):
            pipe.write(part)
            assert await store.get_candles(BTC, "1m") == []  # the loop is free, and nothing is half-written
        pipe.close()
        assert await importing == Written(2, 0, 0)


@pytest.mark.parametrize("file", [None, "x.csv", b"", io.StringIO(HEADER), object()])
async def test_what_is_no_file_of_bytes_is_refused(store: SettingsStore, file: object) -> None:
    with pytest.raises(InvalidArgument):
        await store.import_candles(file, "1m")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["A'B", "A\\'; select 1 --", '"', "'=A"])
async def test_an_export_is_of_a_symbol_whatever_its_name(store: SettingsStore, name: str) -> None:
    symbol = name.replace(" ", "_")
    await store.upsert_candles("1m", [replace(candle(0), symbol=symbol), candle(1)])
    file = io.BytesIO()
    assert await store.export_candles(file, [symbol, BTC], "1m") == 2
    file.seek(0)
    assert await store.import_candles(file, "1m") == Written(0, 0, 2)
    far = datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))
    assert await store.export_candles(io.BytesIO(), [BTC], "1m", from_=datetime.min.replace(tzinfo=UTC), to=far) == 1
    bad: tuple[object, object]
    for bad in ((io.StringIO(), [BTC]), (None, [BTC]), (file, BTC), (file, [1]), (file, ["a\0"]), (file, ["a\nb"])):
        with pytest.raises(InvalidArgument):
            await store.export_candles(bad[0], bad[1], "1m")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        replace(candle(), open=Decimal("NaN")),
        replace(candle(), volume=Decimal(-1)),
        replace(candle(), symbol="B C"),
        replace(candle(), ts=datetime(2026, 1, 1)),
        replace(candle(), ts="now"),  # type: ignore[arg-type]
        replace(candle(), open="2"),  # type: ignore[arg-type]
        replace(candle(), complete=1),  # type: ignore[arg-type]
        replace(candle(), high=float("inf")),  # type: ignore[arg-type]
        (START, BTC),
        None,
    ],
)
async def test_a_bad_candle_is_refused_with_all_others(store: SettingsStore, bad: Candle) -> None:
    with pytest.raises(InvalidArgument):
        await store.upsert_candles("1m", [candle(1), bad])
    assert await store.get_candles(BTC, "1m") == []


@pytest.mark.parametrize("options", ["-c role=settings_reader", f"-c settings_store.okx_uid={OKX_UID}"])
async def test_readers_and_sessions_of_one_user_read_candles_and_write_none(
    store: SettingsStore, config: Config, options: str
) -> None:
    await store.upsert_candles("1m", [candle(0), candle(2)])
    assert config.database_url
    url = psycopg.conninfo.make_conninfo(config.database_url, options=options)
    async with SettingsStore(replace(config, database_url=url)) as reader:
        assert len(await reader.get_candles(BTC, "1m")) == 2
        assert len(await reader.missing_candles(BTC, "1m")) == 1
        assert await reader.export_candles(io.BytesIO(), [BTC], "1m") == 2
        for refused in (
            reader.upsert_candles("1m", [candle(1)]),
            reader.rollup_candles(BTC, "1m", "5m"),
            reader.import_candles(io.BytesIO(csv(1)), "1m"),
        ):
            with pytest.raises(NotPermitted):
                await refused


async def test_a_writer_imports(config: Config) -> None:
    assert config.database_url
    async with SettingsStore(replace(config, database_url=in_role(config.database_url, "writer"))) as writer:
        assert await writer.import_candles(io.BytesIO(csv(0)), "1m") == Written(1, 0, 0)
        assert await writer.upsert_candles("1m", [candle(0)]) == Written(0, 0, 1)
        assert await writer.rollup_candles(None, "1m", "1d") == Written(1, 0, 0)
