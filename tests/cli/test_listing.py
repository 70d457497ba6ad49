"""Lists of any length: printed as they come, in bounded memory, and how far long jobs are, on a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.commands.listing import Csv, JsonList, Table
from store.commands.progress import Bar
from tests.cli.conftest import CHECKOUT, Cli, on_a_terminal
from tests.conftest import OKX_UID

Db = psycopg.Connection[dict[str, Any]]

# Not ru_maxrss: that is no less than what the process was forked from.
PROGRAM = """
import atexit, sys
from store.commands.main import main
atexit.register(lambda: sys.stderr.write([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]))
main()
"""
# Rows as they are after years, without a trigger for each.
FILL = """
set session_replication_role = replica;
insert into app_users (okx_uid, name)
select (5000000000000000 + n)::text, 'user ' || n from generate_series(1, 20000) n;
insert into app_users (okx_uid, name, deleted_at)
select (6000000000000000 + n)::text, 'user ' || n, now() from generate_series(1, 20000) n;
insert into user_settings (user_id, okx_uid, setting_type, settings)
select u.id, u.okx_uid, 'params', jsonb_build_object('leverage', 10, '?big', repeat('x', 900000))
  from app_users u where u.okx_uid <= '5000000000000100';
insert into user_settings (user_id, okx_uid, setting_type, settings)
select u.id, u.okx_uid, 'dual_side', '{"?a": 1}'
  from app_users u where u.okx_uid between '5000000000000200' and '5000000000005000';
insert into user_settings (user_id, okx_uid, setting_type, settings, version, is_active)
select u.id, u.okx_uid, 'preferences', jsonb_build_object('?big', n || repeat('x', 400000)), n, n = 100
  from app_users u cross join generate_series(1, 100) n where u.okx_uid = '5000000000000001';
insert into setting_templates (name, setting_type, settings)
select 'big' || n, 'params', jsonb_build_object('?big', repeat('x', 900000)) from generate_series(1, 100) n;
insert into trades (user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price,
                    exit_size, realized_pnl, exit_order_id, extra)
select u.id, u.okx_uid, 'BTC', 'long', '2026-01-01Z', 1, 1, '2026-01-02Z', 2, 1, 1, n::text,
       jsonb_build_object('?big', repeat('x', 900000))
  from app_users u cross join generate_series(1, 100) n where u.okx_uid = '5000000000000001';
insert into ohlcv_1m (ts, symbol, open, high, low, close, volume)
select timestamptz '2026-01-01Z' + n * interval '2 minutes', 'BTC', 1, 3, 1, 2, 9 from generate_series(1, 30000) n;
set session_replication_role = origin;
analyze
"""
MANY, LARGE = 80, 150  # MB that a list of many items, and of large ones, may take; held as a whole it takes more
# Command -> how many items it lists, at least, and the memory it has.
LONG: dict[str, tuple[int, int]] = {
    "user list --limit 1000000": (20_000, MANY),
    "user list --limit 1000000 --json": (20_000, MANY),
    "user list --limit 1000000 --deleted --json": (20_000, MANY),
    "search params leverage=10 --limit 1000000 --json": (100, LARGE),
    "history 5000000000000001 preferences --limit 10000 --json": (100, LARGE),
    "template list --json": (100, LARGE),
    "template preview default dual_side --all --json --replace": (4_800, MANY),
    "trades list 5000000000000001 --limit 1000000 --csv": (100, LARGE),
    "candles list BTC --timeframe 1m --limit 1000000 --json": (30_000, MANY),
    "candles gaps BTC --timeframe 1m --json": (29_000, MANY),
}


@pytest.mark.slow
def test_lists_of_any_length_take_little_memory(cli: Cli, db: Db, tmp_path: Path) -> None:
    for statement in FILL.split(";\n"):
        db.execute(statement.encode())
    found: dict[str, float] = {}
    for line, (items, memory) in LONG.items():
        with (tmp_path / "out").open("w+b") as out:
            command = [sys.executable, "-c", PROGRAM, *line.split()]
            done = subprocess.run(command, env=cli.env, cwd=CHECKOUT, stdout=out, stderr=subprocess.PIPE, check=False)
            assert done.returncode == (1 if " gaps " in line else 0), done
            out.seek(0)
            if "--json" in line:
                assert len(json.load(out)) >= items
            else:
                assert sum(1 for _ in out) > items
        peak = int(done.stderr.split()[-2]) * 1024 / 1e6
        if peak >= memory:
            found[line] = peak
    assert found == {}


@pytest.mark.parametrize("items", [[], [{"a": 1}], [{"a": "x\ny"}, {"b": [1, {}]}, {}]])
def test_a_json_list_is_what_json_makes_of_the_whole(items: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    printer: JsonList[Any] = JsonList(lambda item: item)
    for item in items:
        printer.add(item)
    printer.end()
    assert capsys.readouterr().out == json.dumps(items, ensure_ascii=False, indent=2) + "\n"


def test_a_long_table_lines_up_and_has_one_heading(capsys: pytest.CaptureFixture[str]) -> None:
    printer: Table[int] = Table(("n", "name"), lambda n: (str(n), "롱숏"))
    for n in range(1200):
        printer.add(1_000_000 if n == 0 else n)
    printer.end()
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], len(lines)) == ("n        name", 1201)
    assert {line.index("롱숏") for line in lines[1:]} == {9}


def test_a_list_of_nothing_has_its_heading_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    Table[int](("n", "name"), lambda _: ()).end()
    Table[int](("n", "name"), lambda _: (), is_shown_empty=False).end()
    Csv[int](("n", "name"), lambda _: ()).end()
    Csv[int](("n", "name"), lambda _: (), is_shown_empty=True).end()
    assert capsys.readouterr().out == "n  name\nn,name\n"


def test_an_error_before_the_first_item_prints_nothing_of_the_list(inside: Cli, kim: str) -> None:
    inside.fails(1, "search", "nonsense", "a=1", "--json")
    inside.fails(1, "history", "1000000000000001", "--json")
    inside.fails(1, "template", "apply", "nonsense", "params", kim, "--json")


def test_pages_go_on_where_the_one_before_ended(inside: Cli, db: Db) -> None:
    db.execute("select from generate_series(1, 7) n, register_user((1000000000000000 + n)::text)")
    seen: list[str] = []
    while len(seen) < 7:
        after = ["--after", seen[-1]] if seen else []
        page = inside.run("user", "list", "--limit", "3", "--json", *after)
        seen += [user["okx_uid"] for user in page.json]
        assert page.err == (f"more: --after {seen[-1]}\n" if len(page.json) == 3 else "")
    assert seen == sorted(set(seen))


def test_a_bar_tells_what_is_estimated_and_never_more_than_all() -> None:
    told: list[tuple[int, int | None, str]] = []
    bar = Bar("keys", lambda *shown: told.append(shown))
    bar(5)
    bar.expect(0)
    bar.expect(10)
    bar.expect(20, is_estimate=True)
    bar(100)
    assert told == [
        (5, None, "5 keys"), (5, None, "5 keys"), (5, 10, "50 % of 10 keys"), (5, 20, "about 25 % of 20 keys"),
        (20, 20, "about 100 % of 20 keys"),
    ]  # fmt: skip


JOBS = {
    "verify": "about 100 % of",
    "sync": "about 100 % of",
    "sync --from db": "about 100 % of",
    "export --all -o out.json": "about 100 % of 1 users",
    f"export {OKX_UID} -o out.json": "100 % of 1 users",
    "import out.json": "100 % of 2 steps",
    "backup out.zip": "about 100 % of",
    "restore-backup out.zip --merge": "100 % of 4 rows",
}


def test_a_terminal_shows_how_far_long_jobs_have_to_go(cli: Cli, kim: str, db: Db, tmp_path: Path) -> None:
    db.execute("analyze")
    for line, shown in JOBS.items():
        written = on_a_terminal([*cli.command, *line.split()], {**cli.env, "COLUMNS": "120"}, tmp_path, has_pipe=True)
        assert shown in written, (line, written)
        (tmp_path / "out.zip").unlink() if line.startswith("restore") else None
