"""Every way by which a command takes a document or a trade: pairs, files, standard input. One parser reads them all.

The ways are those of the click tree: a new one fails the first test until it is tried here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any
from unicodedata import normalize

import click
import psycopg
import pytest
import redis as redis_py

from store.encryption.vault import generate_key
from tests.cli.conftest import Cli, Result
from tests.cli.test_help import COMMANDS
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.trades import trade

Db = psycopg.Connection[dict[str, Any]]
Words = tuple[list[str], str]  # the command line, and standard input

NAMES = {"pairs", "file", "stdin"}  # of parameters that take what people wrote
BOM = "\ufeff"
DIGITS = "0.123456789012345678901234567890"
LONG = "12345678901234567890123.5"
CANDLES = ["candles", "import", "-", "--timeframe", "1m"]
CANDLE = "2026-01-01T00:00:00Z,BTC,{0},{0},{0},{0},{0}"


def export(document: str) -> str:
    user = f'{{"okx_uid": "{OKX_UID}", "settings": {{"params": {document}}}}}'
    return f'{{"format": "settings-store export", "version": 1, "users": [{user}]}}'


def trade_text(extra: str, **columns: Any) -> str:
    return f'{json.dumps({"okx_uid": OKX_UID, **trade(**columns)})[:-1]}, "extra": {extra}}}'


def trade_csv(extra: str, **columns: Any) -> str:
    cells = {"okx_uid": OKX_UID, **trade(**columns), "extra": f'"{extra.replace(chr(34), 2 * chr(34))}"'}
    return f"{','.join(cells)}\n{','.join(map(str, cells.values()))}\n"


def pairs(given: dict[str, Any], extra: str) -> list[str]:
    return [*(f"{key}={value}" for key, value in given.items()), f"extra={extra}"]


# Way -> the command line and standard input that bring {"obj": VALUE}, or a trade whose extra is {"obj": VALUE}.
Way = Callable[[str], Words]
WAYS: dict[str, Way] = {
    "set pairs": lambda value: (["set", OKX_UID, "params", f"obj={value}"], ""),
    "set file": lambda value: (["set", OKX_UID, "params", "--file", "-"], f'{{"obj": {value}}}'),
    "set stdin": lambda value: (["set", OKX_UID, "params", "--stdin"], f'{{"obj": {value}}}'),
    "template save pairs": lambda value: (["template", "save", "calm", "params", f"obj={value}"], ""),
    "template save file": lambda value: (["template", "save", "calm", "params", "--file", "-"], f'{{"obj": {value}}}'),
    "import file": lambda value: (["import", "-"], export(f'{{"obj": {value}}}')),
    "trades add pairs": lambda value: (["trades", "add", OKX_UID, *pairs(trade(), f'{{"obj": {value}}}')], ""),
    "trades add file": lambda value: (["trades", "add", OKX_UID, "--file", "-"], trade_text(f'{{"obj": {value}}}')),
    "trades import file": lambda value: (["trades", "import", "-"], trade_text(f'{{"obj": {value}}}')),
    "trades import file of an array": lambda value: (
        ["trades", "import", "-"],
        f"[{trade_text(f'{{{chr(34)}obj{chr(34)}: {value}}}')}]",
    ),
    "trades import file of CSV": lambda value: (["trades", "import", "-"], trade_csv(f'{{"obj": {value}}}')),
}
SEARCHES: dict[str, Way] = {  # these bring no value into the store
    "search pairs": lambda value: (["search", "params", f"obj={value}"], ""),
    "template preview pairs": lambda value: (
        ["template", "preview", "default", "params", "--where", f"obj={value}"],
        "",
    ),
    "template apply pairs": lambda value: (["template", "apply", "default", "params", "--where", f"obj={value}"], ""),
    "rollout begin pairs": lambda value: (
        ["rollout", "begin", "first", "default", "params", "--where", f"obj={value}"],
        "",
    ),
    "schedule set pairs": lambda value: (
        ["schedule", "set", OKX_UID, "params", f"obj={value}", "--at", "2999-01-01 00:00Z"],
        "",
    ),
}
ELSEWHERE = {"keys set stdin": "texts only", "candles import file": "CSV of numbers and times"}
STORED = (
    "select settings::text as text from user_settings where setting_type = 'params' and is_active"
    " union all select settings::text from setting_templates union all select extra::text from trades"
)


@pytest.fixture
def kims(inside: Cli) -> Cli:
    """The command line, a registered user, and a key for credentials."""
    inside = replace(inside, env={**inside.env, "SETTINGS_STORE_KEYS": generate_key()})
    inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    return inside


def run(cli: Cli, words: Words) -> Result:
    return cli.run(*words[0], stdin=words[1])


def everything(db: Db) -> list[Any]:
    return [
        db.execute(query).fetchall() for query in (STORED, "select * from ohlcv_1m", "select version from okx_api_info")
    ]


def found_ways() -> Iterator[str]:
    for path, command in COMMANDS.items():
        if not isinstance(command, click.Group):
            yield from (f"{' '.join(path)} {each.name}" for each in command.params if each.name in NAMES)


def test_every_way_in_is_tried_here() -> None:
    tried = {way.partition(" of ")[0] for way in (*WAYS, *SEARCHES)}
    assert set(found_ways()) == tried | set(ELSEWHERE)


UNTAKEABLE = {
    "a key twice": ('{"a": 1, "a": 2}', "twice"),
    "a key twice, deep down": ('{"x": [{"b": {"a": 1, "\\u0061": 1}}]}', "twice"),
    "a number of 5,000 digits": ("9" * 5000, "number"),
    "a number beyond a double": ("-1e400", "number"),
    "3,000 brackets": ("[" * 3000 + "]" * 3000, "nested"),
}


def test_what_is_json_and_cannot_be_taken_is_refused_by_every_way(kims: Cli, db: Db) -> None:
    before = everything(db)
    for (problem, (value, told)), (way, words) in product(UNTAKEABLE.items(), {**WAYS, **SEARCHES}.items()):
        result = run(kims, words(value))
        assert result.is_one_clear_error(), (problem, way, result)
        assert (result.code, told in result.err) == (1, True), (problem, way, result.err)
        assert len(result.err) < 400, (problem, way)
    assert everything(db) == before


def test_a_key_of_credentials_that_is_there_twice_is_refused(kims: Cli) -> None:
    text = '{"api_key": "a", "api_secret": "b", "passphrase": "c", "api_key": "d"}'
    assert "api_key is there twice" in kims.fails(1, "keys", "set", OKX_UID, "--stdin", stdin=text)


def test_what_is_no_json_is_text_in_a_pair_and_refused_in_a_file(kims: Cli) -> None:
    for value in ("NaN", "[NaN]", "{x", "01", "nan", "'a'", "0x10", "1_000"):
        saved = kims("set", OKX_UID, "params", f"obj={value}", "--json").json
        assert saved["settings"]["obj"] == value
        for way in ("set file", "set stdin", "template save file", "import file", "trades add file",
                    "trades import file", "trades import file of an array", "trades import file of CSV"):  # fmt: skip
            assert run(kims, WAYS[way](value)).is_one_clear_error(), (way, value)


def test_every_digit_of_a_number_survives_every_way(kims: Cli, db: Db) -> None:
    for way, words in WAYS.items():
        kims("user", "erase", OKX_UID, "--yes")
        kims("register", OKX_UID)
        db.execute("delete from setting_templates")
        result = run(kims, words(f"[{DIGITS}, {LONG}]"))
        assert result.code == 0, (way, result)
        texts = [row["text"] for row in db.execute(STORED)]
        assert any(f'"obj": [{DIGITS}, {LONG}]' in text for text in texts), way


def test_a_bot_reads_integers_and_choices_from_redis(kims: Cli, redis: redis_py.Redis) -> None:
    direction = normalize("NFD", "롱")
    texts = {
        "params": f'{{"leverage": 4.0, "direction": "{direction}"}}',
        "dual_side": '{"dual_side_entry_trigger": 2.000}',
    }
    for setting_type, text in texts.items():
        kims("set", OKX_UID, setting_type, "--file", "-", stdin=text)
    found = json.loads(str(redis.get(f"user:{OKX_UID}:settings")), parse_float=str)
    assert (found["leverage"], found["direction"]) == (4, "롱")
    assert int(str(redis.hget(f"user:{OKX_UID}:dual_side", "dual_side_entry_trigger"))) == 2
    for pair in ("leverage=4e0", f"direction={direction}"):
        assert OKX_UID in kims("search", "params", pair).out
    assert kims("verify", "--json").json["findings"] == {}


def test_every_digit_of_prices_survives_every_way(kims: Cli, db: Db) -> None:
    given: dict[str, Any] = {"entry_price": DIGITS, "exit_price": LONG}

    def bare(number: int) -> str:
        text = trade_text("{}", number=number, **given)
        return text.replace(f'"{DIGITS}"', DIGITS).replace(f'"{LONG}"', LONG)

    for number, words in enumerate((
        (["trades", "add", OKX_UID, *pairs(trade(0, **given), "{}")], ""),
        (["trades", "add", OKX_UID, "--file", "-"], bare(1)),
        (["trades", "import", "-"], bare(2)),
        (["trades", "import", "-"], f"[{bare(3)}]"),
        (["trades", "import", "-"], trade_csv("{}", number=4, **given)),
    )):  # fmt: skip
        assert run(kims, words).code == 0, words
        row = db.execute("select * from trades where exit_order_id = %s", (str(number),)).fetchone()
        assert row is not None
        assert (str(row["entry_price"]), str(row["exit_price"])) == (DIGITS, LONG)
    header = "ts,symbol,open,high,low,close,volume\n"
    kims(*CANDLES, stdin=header + CANDLE.format(DIGITS))
    row = db.execute("select * from ohlcv_1m").fetchone()
    assert row is not None
    assert {str(row[name]) for name in ("open", "high", "low", "close", "volume")} == {DIGITS}


def test_a_byte_order_mark_is_passed_over_by_every_way(kims: Cli, tmp_path: Path) -> None:
    texts = {
        **{way: words("1") for way, words in WAYS.items() if not way.endswith("pairs")},
        "keys set stdin": (
            ["keys", "set", OKX_UID, "--stdin"], '{"api_key": "a", "api_secret": "b", "passphrase": "c"}',
        ),
        "candles import file": (CANDLES, f"ts,symbol,open,high,low,close,volume\n{CANDLE.format(1)}\n"),
    }  # fmt: skip
    for way, (words, stdin) in texts.items():
        result = kims.run(*words, stdin=BOM + stdin)
        assert result.code == 0, (way, result)
    keys = tmp_path / "keys"
    keys.write_text(BOM + generate_key(), "utf-8")
    keys.chmod(0o600)
    file = replace(kims, env={**kims.env, "SETTINGS_STORE_KEYS": "", "SETTINGS_STORE_KEYS_FILE": str(keys)})
    file("keys", "set", OKX_UID, "--stdin", stdin=texts["keys set stdin"][1])


NOTHING = {
    "set": (["set", OKX_UID, "params", "--file", "-"], "{}"),
    "template save": (["template", "save", "calm", "params", "--file", "-"], "{}"),
    "import": (["import", "-"], '{"format": "settings-store export", "version": 1, "users": []}'),
    "trades import of CSV": (["trades", "import", "-"], trade_csv("{}").splitlines()[0]),
    "trades import of JSON": (["trades", "import", "-"], " [ ]\n"),
    "candles import": (CANDLES, "ts,symbol,open,high,low,close,volume\n"),
    "candles rollup": (["candles", "rollup", "--from-timeframe", "1m", "--to-timeframe", "1h"], ""),
}


def test_nothing_recorded_is_said(kims: Cli, db: Db) -> None:
    before = everything(db)
    for (words, stdin), also in product(NOTHING.values(), ([], ["--json"])):
        result = kims.run(*words, *also, stdin=stdin)
        assert result.code == 0, result
        said = result.err + result.out
        assert any(word in said for word in ("nothing was", "is empty", "0 keys", '"settings": {}')), result
    assert everything(db)[1:] == before[1:]


def test_numbers_are_read_as_decimals_or_ints_of_any_length() -> None:
    from store.json_reader import parse

    assert parse(f"[{DIGITS}, 1.10, {10**308}, -0.0, 3]") == [Decimal(DIGITS), Decimal("1.10"), 10**308, Decimal(0), 3]
