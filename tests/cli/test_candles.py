"""candles import, export, list, rollup, gaps: what they print, and how a bad file is told."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.commands.candles import FORMATS
from store.files import candle_formats
from store.files.spreadsheet import guarded
from tests.cli.conftest import CHECKOUT, SCRIPT, Cli

Db = psycopg.Connection[dict[str, Any]]

BTC = "BTC-USDT-SWAP"
HEADER = "ts,symbol,open,high,low,close,volume,complete"
IMPORT = ("candles", "import", "-", "--timeframe", "1m")


def line(minute: int = 0, **values: Any) -> str:
    usual = {
        "ts": f"2026-01-01T00:{minute:02}:00+00:00",
        "symbol": BTC,
        "open": "2",
        "high": "4.50",
        "low": "1",
        "close": "3",
    }
    return ",".join(map(str, ({**usual, "volume": "10.125", "complete": "true"} | values).values()))


def text(*lines: str, header: str = HEADER, end: str = "\n") -> str:
    return "".join(f"{each}{end}" for each in (header, *lines))


def count(db: Db) -> int:
    row = db.execute("select count(*) as n from ohlcv_1m").fetchone()
    assert row is not None
    return int(row["n"])


def test_what_is_listed_as_csv_can_be_imported_again(inside: Cli, db: Db) -> None:
    lines = [line(0), line(1), line(3, complete="false")]
    imported = inside(*IMPORT, stdin=text(*lines))
    assert imported.out == "3 candles inserted, 0 replaced, 0 unchanged\n"
    listed = inside("candles", "list", BTC, "--timeframe", "1m", "--csv")
    assert listed.lines == [HEADER, *lines]
    again = inside(*IMPORT, "--json", stdin=listed.out)
    assert again.json == {"inserted": 0, "replaced": 0, "unchanged": 3}


def test_candles_are_listed_as_a_table_and_as_json(inside: Cli) -> None:
    inside(*IMPORT, stdin=text(*(line(n) for n in range(5))))
    listing = ("candles", "list", BTC, "--timeframe", "1m")
    table = inside(*listing, "--from", "2026-01-01T00:01Z", "--to", "2026-01-01T00:03Z")
    assert [row.split() for row in table.lines] == [
        HEADER.split(","),
        *(line(n).split(",") for n in (1, 2)),
    ]
    (first,) = inside(*listing, "--json", "--limit", "1").json
    assert first == {
        "ts": "2026-01-01T00:00:00+00:00", "symbol": BTC, "open": "2", "high": "4.50", "low": "1", "close": "3",
        "volume": "10.125", "complete": True,
    }  # fmt: skip
    assert len(inside(*listing, "--csv", "--limit", "2").lines) == 3
    nothing = inside.run("candles", "list", "ETH", "--timeframe", "1m", "--csv")
    assert (nothing.code, nothing.out, nothing.err) == (1, "", "there are no such candles\n")


def test_rollup_and_gaps(inside: Cli) -> None:
    inside(*IMPORT, stdin=text(*(line(n) for n in (0, 1, 2, 3, 4, 6, 9))))
    rolled = inside("candles", "rollup", "--from-timeframe", "1m", "--to-timeframe", "5m")
    assert rolled.out == "2 candles inserted, 0 replaced, 0 unchanged\n"
    listed = inside("candles", "list", BTC, "--timeframe", "5m", "--json").json
    assert [(candle["volume"], candle["complete"]) for candle in listed] == [("50.625", True), ("20.250", False)]
    gaps = inside.run("candles", "gaps", BTC, "--timeframe", "1m", "--json")
    assert gaps.code == 1
    assert [(gap["from"][14:16], gap["to"][14:16], gap["missing"]) for gap in gaps.json] == [
        ("05", "06", 1),
        ("07", "09", 2),
    ]
    table = inside.run("candles", "gaps", BTC, "--timeframe", "1m")
    assert [row.split()[-1] for row in table.lines] == ["missing", "1", "2"]
    shown = inside.run("candles", "gaps", BTC, "--timeframe", "1m", "--csv")
    assert shown.lines[1] == "2026-01-01T00:05:00+00:00,2026-01-01T00:06:00+00:00,1"
    assert inside("candles", "gaps", BTC, "--timeframe", "5m").out == "no gaps\n"


def test_what_is_exported_is_imported_again_with_every_digit(
    inside: Cli, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.api.candles.PAGE_OF_COPY", 2)
    odd = quoted(guarded('=A,"B'))
    digits = "0.10000000000000000000000000000000000000000000000000010"
    lines = [line(n, volume=digits, close="3.000") for n in range(5)]
    inside(*IMPORT, stdin=text(*lines, line(7, complete="false", symbol="ETH"), line(0, symbol=odd)))
    before = db.execute("select * from ohlcv_1m order by symbol, ts").fetchall()
    export = ("candles", "export", BTC, "ETH", '=A,"B', "--timeframe", "1m")
    printed = inside(*export).out
    assert printed.splitlines()[:7] == [HEADER, *lines, line(7, complete="false", symbol="ETH")]
    for name in ("all.csv", "all.csv.gz"):
        file = tmp_path / name
        assert inside.run(*export, "-o", str(file)).err == f"wrote 7 candles to {file}\n"
        assert (gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()).decode() == printed
        db.execute("truncate ohlcv_1m")
        inside("candles", "import", str(file), "--timeframe", "1m")
        assert db.execute("select * from ohlcv_1m order by symbol, ts").fetchall() == before
    part = inside(
        "candles", "export", BTC, "--timeframe", "1m", "--from", "2026-01-01T00:01Z", "--to", "2026-01-01T00:03Z"
    )
    assert part.lines == [HEADER, *lines[1:3]]
    nothing = inside.run("candles", "export", "NONE", "--timeframe", "1m", "-o", str(tmp_path / "none.csv"))
    assert (nothing.code, nothing.err) == (1, "there are no such candles\n")
    assert not (tmp_path / "none.csv").exists()
    assert "known: 1m, 3m" in inside.run("candles", "export", BTC, "--timeframe", "2m").err


def test_a_format_may_be_named(inside: Cli) -> None:
    rows = "1767225600,2,4.50,1,3,10.125\n1767225660,2,4.50,1,3,10.125\n"
    assert "--format" in inside.fails(1, *IMPORT, "--symbol", BTC, stdin=rows)
    inside(*IMPORT, "--symbol", BTC, "--format", "ccxt", stdin=rows)
    assert inside("candles", "list", BTC, "--timeframe", "1m", "--csv").lines == [HEADER, line(0), line(1)]
    assert inside.run(*IMPORT, "--format", "bitmex", stdin=rows).code == 2
    assert set(FORMATS) == set(candle_formats.FORMATS)


SHAPES = {
    "windows": text(line(0), line(1), end="\r\n"),
    "a byte order mark": "\ufeff" + text(line(0), line(1)),
    "blank lines at the end": text(line(0), line(1)) + "\n\r\n\n",
    "no newline at the end": text(line(0), line(1)).rstrip("\n"),
    "mixed newlines": text(line(0), end="\r\n") + line(1) + "\n",
    "quoted": text(line(0), line(1)).replace(BTC, f'"{BTC}"').replace("2026-01-01T00:00:00+00:00", '"2026-01-01"'),
    "seconds": text(line(0, ts="1767225600"), line(1, ts="1767225660")),
    "milliseconds": text(line(0, ts="1767225600000"), line(1, ts="1767225660000")),
    "another offset": text(line(0, ts="2026-01-01 09:00+09"), line(1, ts="2026-01-01T00:01")),
    "other names": f"Time,O,H,L,C,V,symbol\n1767225600,2,4.50,1,3,10.125,{BTC}\n1767225660,2,4.50,1,3,10.125,{BTC}\n",
    "another order": f"symbol,volume,open,high,low,close,timestamp\n{BTC},10.125,2,4.50,1,3,2026-01-01T00:00Z\n"
    f"{BTC},10.125,2,4.50,1,3,2026-01-01T00:01Z",
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_may_have_many_shapes(inside: Cli, shape: str) -> None:
    inside(*IMPORT, stdin=SHAPES[shape])
    assert inside("candles", "list", BTC, "--timeframe", "1m", "--csv").lines == [HEADER, line(0), line(1)]


def test_a_symbol_may_be_given_for_all(inside: Cli) -> None:
    without = [",".join(row.split(",")[:1] + row.split(",")[2:]) for row in (HEADER, line(0), line(1))]
    inside(*IMPORT, "--symbol", BTC, stdin="\n".join(without))
    assert inside("candles", "list", BTC, "--timeframe", "1m", "--csv").lines == [HEADER, line(0), line(1)]
    assert "line 1" in inside.fails(1, *IMPORT, stdin="\n".join(without))
    assert "1 columns too many" in inside.fails(1, *IMPORT, "--symbol", BTC, stdin=text(line(0)))


BAD = {
    "line 3: missing data for column": "2026-01-01T00:01:00Z,BTC",
    "line 3: extra data after last expected column": line(1) + ",1",
    "line 3: high is below open, low or close": line(1, high="1.5"),
    "line 3: low is above open or close": line(1, low="2.5"),
    "line 3: open can't be read": line(1, open="two"),
    "line 3: close is missing": line(1, close=""),
    "line 3: volume is negative or not finite": line(1, volume="NaN"),
    "line 3: a price is not above zero and finite": line(1, low="0"),
    "line 3: complete can't be read": line(1, complete="maybe"),
    "line 3: ts is not an ISO 8601 time": line(1, ts="today"),
    "line 3: ts can't be read": line(1, ts="2026-13-01"),
    "line 3: ts is not where a candle of this timeframe begins": line(1, ts="2026-01-01T00:00:30Z"),
    "line 3: a symbol has 1-64 printable ASCII characters": line(1, symbol="비트코인"),
    "line 3: not UTF-8 text": line(1, symbol="\udcff\udcfe"),
    "line 2: a candle is given twice, with different values": line(0, close="2"),
    "line 3: a quote is not closed": line(1, symbol='"BTC'),
}  # fmt: skip


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_line_is_named_and_nothing_is_taken(inside: Cli, db: Db, problem: str) -> None:
    content = text(line(0), BAD[problem], line(2)).encode(errors="surrogateescape")
    assert f"Error: {problem}" in inside.fails(1, *IMPORT, stdin=content)
    assert count(db) == 0


@pytest.mark.parametrize("blank", ["", "\\.", "\0", "\x1b[2J"])
def test_a_line_that_is_no_data_ends_nothing_unseen(inside: Cli, db: Db, blank: str) -> None:
    assert "Error: line 3: ts is not an ISO 8601 time" in inside.fails(1, *IMPORT, stdin=text(line(0), blank, line(1)))
    assert count(db) == 0


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", bytes(range(256)) * 100, b"ts,ts,symbol,o,h,l,c,v\n",
                                     b"a" * 10_000_000, line(0).encode()])  # fmt: skip
def test_a_file_without_a_header_of_candles_is_refused(inside: Cli, content: bytes) -> None:
    error = inside.fails(1, *IMPORT, stdin=content)
    assert "Error: line 1: not a header of candles" in error
    assert "ts,symbol,open,high,low,close,volume" in error
    assert len(error) < 500


def test_a_huge_line_is_refused_before_it_is_read_to_its_end(inside: Cli, db: Db) -> None:
    content = text(line(0), line(1)) + line(2, symbol="x" * 5_000_000)
    assert "line 4: longer than 65536 bytes" in inside.fails(1, *IMPORT, stdin=content)
    assert count(db) == 0


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def test_a_symbol_comes_back_from_csv_whatever_it_is(inside: Cli) -> None:
    columns = HEADER.split(",")
    cells = line(0).split(",")
    for symbol in ("A,B", 'A"B', '"', ",", "=A", "'=A", "+1,2", "@x", "A_1_2", "0x1", "'", "BOX"):
        cells[columns.index("symbol")] = quoted(guarded(symbol))
        assert inside(*IMPORT, "--json", stdin=text(",".join(cells))).json["inserted"] == 1
        listed = inside("candles", "list", symbol, "--timeframe", "1m", "--csv").out
        turned = [",".join(map(quoted, reversed(row))) for row in csv.reader(listed.splitlines())]
        for again in (listed, text(*turned[1:], header=turned[0])):
            assert inside(*IMPORT, "--json", stdin=again).json == {"inserted": 0, "replaced": 0, "unchanged": 1}


def test_a_number_is_decimal(inside: Cli, db: Db) -> None:
    for column in ("open", "high", "low", "close", "volume"):
        for cell in ("0x10", "0X1p1", "1_000", "0b11", "0o7", "+0x2", '"0x10"', " 0x10"):
            told = inside.fails(1, *IMPORT, stdin=text(line(0), line(1, symbol='"A_0x,B"', **{column: cell})))
            assert f"Error: line 3: {column} can't be read" in told
    assert count(db) == 0


def test_a_time_is_on_the_clock_and_not_rounded(inside: Cli, db: Db) -> None:
    for time in (
        "2025-12-31T24:00:00Z", "2025-12-31 23:59:60Z", "2026-01-01T00:00:00.0000001Z", "2025-12-31T23:59:59.9999999Z",
        "2026-01-01T0:00Z", "20260101", "1_767225600", "0x6955b900",
    ):  # fmt: skip
        assert "line 2: ts is not an ISO 8601 time" in inside.fails(1, *IMPORT, stdin=text(line(1, ts=time)))
    assert count(db) == 0


def test_zeros_behind_the_microseconds_are_no_fraction(inside: Cli) -> None:
    inside(*IMPORT, stdin=text(line(0, ts="2026-01-01T00:00:00.000000000Z")))


def test_a_line_far_into_a_large_file_is_named(inside: Cli, db: Db) -> None:
    lines = [line(0, ts=1767225600 + 60 * n) for n in range(20_000)]
    lines[17_000] = line(0, ts=1767225600 + 60 * 17_000, low="2.5")
    assert "Error: line 17002: low is above open or close" in inside.fails(1, *IMPORT, stdin=text(*lines))
    lines[17_000] = "soon"
    assert "Error: line 17002: ts is not seconds" in inside.fails(1, *IMPORT, stdin=text(*lines))
    lines[17_000] = line(0, ts=1767225600 + 60 * 17_000, open="x")
    assert "Error: line 17002: open can't be read" in inside.fails(1, *IMPORT, stdin=text(*lines))
    assert count(db) == 0


def test_a_finished_candle_is_replaced_by_force_only(inside: Cli) -> None:
    inside(*IMPORT, stdin=text(line(0), line(1)))
    error = inside.fails(1, *IMPORT, stdin=text(line(0), line(1, close="2"), line(2)))
    assert "a finished candle would change" in error
    assert f"line 3: {BTC} 2026-01-01 00:01:00+00" in error
    assert "--force" in error
    assert inside(*IMPORT, "--force", "--json", stdin=text(line(1, close="2"), line(2))).json["replaced"] == 1


@pytest.mark.parametrize("arguments", [("import", "-"), ("list", BTC), ("gaps", BTC), ("rollup",)])
def test_a_timeframe_is_always_said(inside: Cli, arguments: tuple[str, ...]) -> None:
    assert inside.run("candles", *arguments, stdin="").code == 2
    if arguments[0] != "rollup":
        error = inside.fails(1, "candles", *arguments, "--timeframe", "2m", stdin=HEADER)
        assert "known: 1m, 3m, 5m" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipe_that_stalls_can_be_interrupted(cli: Cli, number: int) -> None:
    command = [str(SCRIPT), *IMPORT]
    with subprocess.Popen(command, env=cli.env, cwd=CHECKOUT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(text(line(0)).encode())
        process.stdin.flush()
        with psycopg.connect(cli.env["DATABASE_URL"], autocommit=True) as db:
            copying = "datname = current_database() and query like 'copy pg_temp.candle_import%'"
            while db.execute(f"select from pg_stat_activity where {copying}".encode()).fetchone() is None:
                assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_terminal_shows_how_far_it_is(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "btc.csv").write_text(text(*(line(n) for n in range(60))))
    command = [str(SCRIPT), "candles", "import", str(tmp_path / "btc.csv"), "--timeframe", "1m"]
    leader, follower = os.openpty()
    done = subprocess.run(command, env=cli.env, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=follower, check=True)
    os.close(follower)
    assert done.stdout == b"60 candles inserted, 0 replaced, 0 unchanged\n"
    assert b"import" in os.read(leader, 10_000)
    os.close(leader)
