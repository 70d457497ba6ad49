"""Files of candles as exchanges and bots give them: what is stored of each, to the last digit."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from store import HistoryIsImmutable, InvalidArgument, SettingsStore, Written
from store.files.candle_formats import okx_symbol

Db = psycopg.Connection[dict[str, Any]]

BTC, SWAP, INVERSE, SPOT = "BTC-USDT-SWAP", "BTC-USDT-SWAP", "BTC-USD-SWAP", "BTC-USDT"
# Candles of an hour from 2025-01-01 00:00 and 01:00 UTC.
FIRST = ("2025-01-01T00:00:00+00:00", "94201.5", "94500.10", "94100", "94300.123456789", "12.50")
SECOND = ("2025-01-01T01:00:00+00:00", "94300.123456789", "94400", "94000.00", "94001", "0.000000010")
S, MS, US = "1735689600", "1735689600000", "1735689600000000"
S2, MS2, US2 = "1735693200", "1735693200000", "1735693200000000"
A, B = ",".join(FIRST[1:5]), ",".join(SECOND[1:5])
OKX_HEADER = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm\n"
REST = '{"code":"0","msg":"","data":[%s]}'
BINANCE = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,"
    "ignore\n"
)
CDD = "https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n"


def arrays(*rows: str, quote: bool = False) -> str:
    cells = [row.split(",") for row in rows]
    return json.dumps(cells) if quote else "[" + ",".join(f"[{row}]" for row in rows) + "]"


# name -> (file, format to be named or None, symbol to be named or None, symbol that is stored, complete of both)
SAMPLES: dict[str, tuple[str, str | None, str | None, str, list[bool]]] = {
    "okx, CSV of a swap: contracts aren't stored": (
        f"{OKX_HEADER}{SWAP},{A},1250,12.50,1177500,{MS},1\n{SWAP},{B},0.000001,0.000000010,9,{MS2},0\n",
        None, None, SWAP, [True, False],
    ),
    "okx, CSV of spot: vol_ccy is the quote currency": (
        f"{OKX_HEADER}{SPOT},{A},12.50,1177500,1177500,{MS},1\n{SPOT},{B},0.000000010,9,9,{MS2},1\n",
        None, None, SPOT, [True, True],
    ),
    "okx, CSV, columns in another order": (
        f"confirm,open_time,vol_quote,vol_ccy,vol,open,high,low,close,instrument_name\n"
        f"1,{MS},1177500,12.50,1250,{A},{SWAP}\n1,{MS2},9,0.000000010,1,{B},{SWAP}\n",
        None, None, SWAP, [True, True],
    ),
    "okx, REST, newest first": (
        REST % arrays(f"{MS2},{B},1,0.000000010,9,0", f"{MS},{A},1250,12.50,1177500,1", quote=True)[1:-1],
        None, SWAP, SWAP, [True, False],
    ),
    "okx, REST, its arrays alone, of spot": (
        arrays(f"{MS},{A},12.50,1177500,1177500,1", f"{MS2},{B},0.000000010,9,9,1", quote=True),
        None, SPOT, SPOT, [True, True],
    ),
    "okx, arrays written as CSV by their names in the API": (
        f"ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm\n{MS},{A},1250,12.50,1,1\n{MS2},{B},1,0.000000010,9,1\n",
        None, SWAP, SWAP, [True, True],
    ),
    "okx, the same without confirm": (
        f"ts,o,h,l,c,vol,volCcy\n{MS},{A},1250,12.50\n{MS2},{B},1,0.000000010\n", None, SWAP, SWAP, [True, True]
    ),
    "ccxt, arrays": (arrays(f"{MS},{A},12.50", f"{MS2},{B},0.000000010"), None, SWAP, SWAP, [True, True]),
    "ccxt, arrays with an exponent": (arrays(f"{MS},{A},1250e-2", f"{MS2},{B},1.0E-8"), None, SWAP, SWAP, [True, True]),
    "ccxt, CSV": (
        f"timestamp,open,high,low,close,volume\n{MS},{A},12.50\n{MS2},{B},0.000000010\n", None, SWAP, SWAP, [True, True]
    ),
    "ccxt, CSV with its symbol": (
        f"timestamp,symbol,open,high,low,close,volume\n{MS},BTC/USDT:USDT,{A},12.50\n{MS2},BTC/USDT:USDT,{B},1e-8\n",
        "ccxt", None, SWAP, [True, True],
    ),
    "ccxt, CSV without a header": (f"{MS},{A},12.50\r\n{MS2},{B},0.000000010\r\n", None, SWAP, SWAP, [True, True]),
    "pandas, an index of times without a name": (
        f",open,high,low,close,volume\n2025-01-01 00:00:00,{A},12.50\n2025-01-01 01:00:00+00:00,{B},0.000000010\n",
        None, SWAP, SWAP, [True, True],
    ),
    "pandas, numbers of rows before the times, which are floats": (
        f",timestamp,open,high,low,close,volume\n0,{MS}.0,{A},12.50\n1,{MS2}.0,{B},0.000000010\n",
        None, SWAP, SWAP, [True, True],
    ),
    "pandas, epochs as floats": (
        f"timestamp,open,high,low,close,volume\n{MS}.0,{A},12.50\n{MS2}.0,{B},0.000000010\n",
        None, SWAP, SWAP, [True, True],
    ),
    "pandas, records": (
        json.dumps([
            {"date": int(MS), **dict(zip("ohlcv", FIRST[1:], strict=True))},
            {"date": int(MS2), **dict(zip("vclho", reversed(SECOND[1:]), strict=True))},
        ]),
        None, SWAP, SWAP, [True, True],
    ),
    "freqtrade, JSON": (arrays(f"{MS},{A},12.50", f"{MS2},{B},0.000000010"), "freqtrade", SPOT, SPOT, [True, True]),
    "freqtrade, CSV in another time zone": (
        f"date,open,high,low,close,volume\n2025-01-01 09:00:00+09:00,{A},12.50\n2025-01-01 10:00:00+09:00,{B},1e-8\n",
        None, SPOT, SPOT, [True, True],
    ),
    "binance, CSV with a header, milliseconds": (
        f"{BINANCE}{MS},{A},12.50,1735693199999,1,2,3,4,0\n{MS2},{B},0.000000010,1735696799999,1,2,3,4,0\n",
        None, SPOT, SPOT, [True, True],
    ),
    "binance, CSV without a header, microseconds from 2025 on": (
        f"{US},{A},12.50,1735693199999999,1,2,3,4,0\n{US2},{B},0.000000010,1735696799999999,1,2,3,4,0\n",
        None, SPOT, SPOT, [True, True],
    ),
    "binance, COIN-M: contracts aren't stored": (
        f"{BINANCE}{MS},{A},1177500,1735693199999,12.50,2,3,4,0\n{MS2},{B},9,1735696799999,0.000000010,2,3,4,0\n",
        None, INVERSE, INVERSE, [True, True],
    ),
    "binance, REST": (
        f'[[{MS},"{FIRST[1]}","{FIRST[2]}","{FIRST[3]}","{FIRST[4]}","12.50",1735693199999,"1",2,"3","4","0"],'
        f'[{MS2},"{SECOND[1]}","{SECOND[2]}","{SECOND[3]}","{SECOND[4]}","0.000000010",1735696799999,"1",2,"3","4","0"]]',
        None, SPOT, SPOT, [True, True],
    ),
    "cryptodatadownload, newest first, a symbol without a slash": (
        f"{CDD}{MS2},2025-01-01 01:00:00,BTCUSDT,{B},0.000000010,9,1\n{MS},2025-01-01 00:00:00,BTCUSDT,{A},12.50,9,1\n",
        None, None, SPOT, [True, True],
    ),
    "cryptodatadownload, the quote's volume first": (
        "https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume USDT,Volume BTC\n"
        f"{S},2025-01-01 00:00:00,BTC/USDT,{A},9,12.50\n{S2},2025-01-01 01:00:00,BTC/USDT,{B},9,0.000000010\n",
        None, None, SPOT, [True, True],
    ),
    "kraken": (f"{S},{A},12.50,17\n{S2},{B},0.000000010,1\n", None, "BTC-USD", "BTC-USD", [True, True]),
}  # fmt: skip


def zipped(data: bytes, *more: str, **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTC.csv", data, **options)
        for name in more:
            archive.writestr(name, data)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gz": gzip.compress, "zip": zipped, "a mark": lambda data: b"\xef\xbb\xbf" + data,
    "gz of two parts": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "a zip of macOS": lambda data: zipped(data, "__MACOSX/._BTC.csv"),
    "a zip that isn't packed": lambda data: zipped(data, compress_type=zipfile.ZIP_STORED),
}  # fmt: skip


async def rows(store: SettingsStore, symbol: str, timeframe: str = "1h") -> list[tuple[str, ...]]:
    found = await store.get_candles(symbol, timeframe)
    return [(c.ts.isoformat(), *(f"{n:f}" for n in (c.open, c.high, c.low, c.close, c.volume))) for c in found]


async def test_every_format_is_stored_as_what_it_means(store: SettingsStore, db: Db) -> None:
    for name, (text, form, symbol, stored, complete) in SAMPLES.items():
        written = await store.import_candles(io.BytesIO(text.encode()), "1h", symbol=symbol, format=form)
        assert written == Written(2, 0, 0), name
        found = await rows(store, stored)
        is_short = "e-8" in text.lower()  # PostgreSQL keeps of an exponent the digits before it
        expected = [FIRST, (*SECOND[:5], found[1][5] if is_short else SECOND[5])]
        assert found == expected, name
        assert float(found[1][5]) == 1e-8, name
        assert [one.complete for one in await store.get_candles(stored, "1h")] == complete, name
        db.execute("truncate ohlcv_1h")


@pytest.mark.parametrize("packing", PACKED)
async def test_a_file_may_be_packed(store: SettingsStore, db: Db, packing: str) -> None:
    for name in (
        "okx, REST, newest first",
        "kraken",
        "ccxt, CSV",
        "cryptodatadownload, newest first, a symbol without a slash",
    ):
        text, form, symbol, stored, _ = SAMPLES[name]
        packed, read = PACKED[packing](text.encode()), list[int]()
        file = io.BytesIO(packed)
        await store.import_candles(file, "1h", symbol=symbol, format=form, progress=read.append)
        assert await rows(store, stored) == [FIRST, SECOND]
        assert len(packed) <= sum(read) <= 3 * len(packed) + 200
        db.execute("truncate ohlcv_1h")


async def test_a_pipe_may_be_packed_or_of_any_format(store: SettingsStore) -> None:
    for packed in (zipped(SAMPLES["kraken"][0].encode()), SAMPLES["kraken"][0].encode()):
        receiving, sending = os.pipe()
        with os.fdopen(receiving, "rb") as file:
            with os.fdopen(sending, "wb") as pipe:
                pipe.write(packed)
            await store.import_candles(file, "1h", symbol="BTC-USD")
    assert await rows(store, "BTC-USD") == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("BTC/USDT", "BTC-USDT"), ("BTC/USDT:USDT", "BTC-USDT-SWAP"), ("BTC/USD:BTC", "BTC-USD-SWAP"),
        ("BTC/USDT:USDT-250328", "BTC-USDT-250328"), ("BTC-USDT-SWAP", "BTC-USDT-SWAP"), ("BTCUSDT", "BTCUSDT"),
        ("BTC/USD:BTC-250328-50000-C", "BTC/USD:BTC-250328-50000-C"), ("A/B/C", "A/B/C"), ("/", "/"),
    ],
)  # fmt: skip
def test_a_symbol_is_written_as_okx_does_or_kept(given: str, stored: str) -> None:
    assert okx_symbol(given) == stored


async def test_what_is_not_over_yet_is_unfinished_where_a_format_does_not_say_it(store: SettingsStore) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    lines = [f"[{int((now - timedelta(hours=n)).timestamp()) * 1000},2,4,1,3,5]" for n in (2, 1, 0)]
    await store.import_candles(io.BytesIO(f"[{','.join(lines)}]".encode()), "1h", symbol=SWAP)
    found = await store.get_candles(SWAP, "1h")
    assert [one.complete for one in found] == [one.ts + timedelta(hours=1) <= datetime.now(UTC) for one in found]
    assert not found[-1].complete


GOOD = f"{MS},{A},12.5"
SIX = "ts,open,high,low,close,volume"
LATER = f"{MS2},{B}"
LOCKED = bytearray(zipped(b"x"))
for _sign, _flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # as a zip with a password says of itself
    LOCKED[LOCKED.index(_sign) + _flags] |= 1

# what is told -> (file, format to be named, symbol to be named)
REFUSED: dict[str, tuple[str | bytes, str | None, str | None]] = {
    "candle 2: open can't be read": (arrays(GOOD, f'{MS2},"x{B[1:]}'.replace('"x', '"x",', 1)), None, SWAP),
    "candle 2: 5 cells, where there should be 6": (arrays(GOOD, f"{MS2},{B}"), None, SWAP),
    "candle 2: low is above open or close": (arrays(GOOD, f"{MS2},2,4,3,3,1"), None, SWAP),
    "candle 2: ts is not where a candle of this timeframe begins": (arrays(GOOD, f"{MS[:-1]}1,2,4,1,3,1"), None, SWAP),
    "candle 2: neither an array nor an object": (f"[[{GOOD}], 5]", None, SWAP),
    "candle 2: other members than the first one": (f'[[{GOOD}], {{"ts": 1}}]', None, SWAP),
    "candle 1: a candle is given twice, with different values": (arrays(GOOD, f"{MS},{A},13"), None, SWAP),
    "candle 1: six texts, as OKX gives for indexes and mark prices": (
        REST % arrays(f"{MS},{A},1", quote=True)[1:-1], None, SWAP
    ),
    "candle 1: not candles of a known format: an array of 7": (arrays(f"{GOOD},1"), None, SWAP),
    "candle 1: not candles of a known format: an array of 6": (arrays(f"{S},{A},1"), None, SWAP),
    "candle 1: not candles of a known format: no array": ("[5]", None, SWAP),
    "line 1: the answer of the exchange tells of an error": ('{"code":"50011","data":[]}', None, SWAP),
    "line 2: Expecting": (f"[[{GOOD}],\n[", None, SWAP),
    "line 1: Extra data": (f"[[{GOOD}]] x", None, SWAP),
    "line 1: a value is longer than 65536 characters": (f"[[{MS},{'1' * 400_000}]]", None, SWAP),
    "not candles of the format store: no column ts, open": ("{}", None, SWAP),
    "the file doesn't say of which symbol it is": (arrays(GOOD), None, None),
    "line 1: not a header of candles: no column ts, symbol, open": ("시간,시가,고가,저가,종가\n", None, None),
    "line 1: not a header of candles: no column ts, open": (f"{S},{A},12.5\n", None, SWAP),
    "line 2: ts is not a number of 10 digits": (f"{S},{A},1,1\n{MS2},{B},1,1\n", None, SWAP),
    "line 2: 12 cells, where there should be 6": (f"{GOOD}\n{US2},{B},1,{US2},1,1,1,1,1\n", None, SWAP),
    "line 1: 6 cells, where there should be 12": (f"{GOOD}\n", "binance", SWAP),
    "line 2: blank": (f"{GOOD}\n\n{LATER},1\n", None, SWAP),
    "line 1: close_time is not that of a candle of this timeframe": (f"{GOOD},1735775999999,1,2,3,4,0", None, SPOT),
    "line 2: whether volumes are contracts can't be told": (f"{OKX_HEADER}BTCUSDT,{A},1,1,1,{MS},1\n", None, None),
    "line 2: no column vol_ccy with the volume in the base": (f"{SIX[:-3]},confirm\n{GOOD},1\n", None, SWAP),
    "not candles of the format okx: no column vol": (OKX_HEADER.replace("vol,vol_ccy,", ""), None, None),
    "line 3: the symbol is another one than that of --symbol": (
        f"{OKX_HEADER}{SWAP},{A},1,1,1,{MS},1\nETH-USDT-SWAP,{B},1,1,1,{MS2},1\n", None, SWAP
    ),
    "line 3: complete can't be read": (f"{OKX_HEADER}{SWAP},{A},1,1,1,{MS},1\n{SWAP},{B},1,1,1,{MS2},2\n", None, None),
    "line 3: which currencies the symbol is of can't be told": (f"{CDD}{MS},2025,ETHUSDT,{A},1,1,1\n", None, None),
    "line 3: no column volume_eth": (f"{CDD}{MS},2025,ETH/USDT,{A},1,1,1\n", None, None),
    "line 4: low is above open or close": (
        f"{CDD}{MS},x,BTCUSDT,{A},1,1,1\n{MS2},x,BTCUSDT,2,4,3,3,1,1,1\n", None, None
    ),
    "not candles of the format kraken: no column ts": ("date2,open,high,low,close,volume\n", "kraken", SWAP),
    "no such format of candle files": (GOOD, "bitmex", SWAP),
    "the file can't be unpacked: it was cut": (gzip.compress(f"{GOOD}\n".encode() * 9000)[:-20], None, SWAP),
    "the file can't be unpacked: it was cut, or is damaged": (gzip.compress(b"[]")[:-8] + bytes(8), None, SWAP),
    "the zip file can't be unpacked: it was cut": (zipped(GOOD.encode())[:-30], None, SWAP),
    "the zip file can't be unpacked: it holds 2 files": (zipped(GOOD.encode(), "b.csv"), None, SWAP),
    "the zip file can't be unpacked: it holds 0 files": (b"PK\5\6" + bytes(18), None, SWAP),
    "the zip file can't be unpacked: it needs a password": (bytes(LOCKED), None, SWAP),
    "the zip file can't be unpacked: it is packed in another way": (
        zipped(b"", compress_type=zipfile.ZIP_BZIP2), None, SWAP
    ),
    "Feather is not read": (b"ARROW1\0\0", None, SWAP),
    "line 1: longer than 65536": (gzip.compress(bytes(10_000_000).replace(b"\0", b"1")), "kraken", SWAP),
    "line 3: not UTF-8 text": (f"{OKX_HEADER}{SWAP},{A},1,1,1,{MS},1\n".encode() + b"\xff\n", None, None),
}  # fmt: skip


async def test_what_can_not_be_taken_is_refused_by_its_place_and_nothing_is_stored(
    store: SettingsStore, db: Db
) -> None:
    wrong = {}
    for expected, (content, form, symbol) in REFUSED.items():
        file = io.BytesIO(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InvalidArgument) as error:
            await store.import_candles(file, "1h", symbol=symbol, format=form)
        if expected not in error.value.message or "94201" in f"{error.value} {error.value.hint}":
            wrong[expected] = f"{error.value} {error.value.hint}"
    assert wrong == {}
    assert db.execute("select from ohlcv_1h").rowcount == 0


async def test_a_finished_candle_that_would_change_is_named_by_its_place(store: SettingsStore) -> None:
    await store.import_candles(io.BytesIO(arrays(GOOD).encode()), "1h", symbol=SWAP)
    with pytest.raises(HistoryIsImmutable, match=f"candle 2: {SWAP} 2025"):
        await store.import_candles(io.BytesIO(arrays(f"{LATER},1", f"{GOOD}1").encode()), "1h", symbol=SWAP)


async def test_a_bomb_is_read_in_bounded_memory(store: SettingsStore) -> None:
    bombs = [gzip.compress(sign * 50_000_000, compresslevel=1) for sign in (b" ", b"\n", b"[", b"1")]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(InvalidArgument):
                await store.import_candles(io.BytesIO(bomb), "1h", symbol=SWAP)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
