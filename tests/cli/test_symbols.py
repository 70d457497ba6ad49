"""--symbol: a document for one symbol beside the user's own, by every command that has a TYPE."""

from __future__ import annotations

import json

import redis as redis_py

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID

BTC = "BTC-USDT-SWAP"
OF_BTC = f"dual_side:{BTC}"
SYMBOL = ("--symbol", BTC)
TRIGGER = "dual_side_entry_trigger"


def trigger(cli: Cli, *more: str) -> tuple[str, str | None, int]:
    shown = cli("get", OKX_UID, "dual_side", *more, "--json").json
    return shown["setting_type"], shown["symbol"], shown["settings"][TRIGGER]


def test_every_command_keeps_the_symbol_apart(inside: Cli, redis: redis_py.Redis) -> None:
    cli = inside
    cli("register", OKX_UID)
    assert trigger(cli, *SYMBOL) == ("dual_side", None, 3)
    assert cli("set", OKX_UID, "dual_side", f"{TRIGGER}=5", *SYMBOL).lines[0].startswith(f"{OF_BTC}: version 1")
    assert trigger(cli, *SYMBOL) == trigger(cli, *SYMBOL, "--source", "redis") == (OF_BTC, BTC, 5)
    assert trigger(cli) == ("dual_side", None, 3)
    shown = cli("get", OKX_UID, "dual_side", *SYMBOL, "--json").out
    cli("set", OKX_UID, "dual_side", "--stdin", *SYMBOL, stdin=shown.replace(f'"{TRIGGER}": 5', f'"{TRIGGER}": 6'))
    assert "no dual_side" in cli.fails(1, "set", OKX_UID, "dual_side", "--stdin", stdin=shown)
    assert trigger(cli, *SYMBOL, "--version", "1") == (OF_BTC, BTC, 5)
    assert trigger(cli, *SYMBOL, "--at", "2999-01-01") == (OF_BTC, BTC, 6)
    listed = [each["setting_type"] for each in cli("get", OKX_UID, "--json").json]
    assert listed == ["dual_side", OF_BTC, "params", "preferences"]
    assert [each["symbol"] for each in cli("get", OKX_UID, *SYMBOL, "--json").json] == [BTC, None, None]

    history = cli("history", OKX_UID, "dual_side", *SYMBOL, "--json").json
    assert [(each["symbol"], each["version"]) for each in history] == [(BTC, 2), (BTC, 1)]
    assert cli("diff", OKX_UID, "dual_side", "1", "2", *SYMBOL).lines == [f"  ~ {TRIGGER}: 5 -> 6"]
    assert [each["symbol"] for each in cli("search", "dual_side", f"{TRIGGER}=6", *SYMBOL, "--json").json] == [BTC]
    assert cli("search", "dual_side", f"{TRIGGER}=6", "--json").json == []
    assert cli("rollback", OKX_UID, "dual_side", "1", *SYMBOL, "--json").json["symbol"] == BTC
    cli("delete", OKX_UID, "dual_side", *SYMBOL)
    assert trigger(cli, *SYMBOL) == ("dual_side", None, 3)
    assert f"no {OF_BTC}" in cli.fails(1, "get", OKX_UID, OF_BTC)
    cli("restore", OKX_UID, "dual_side", *SYMBOL)
    assert trigger(cli, *SYMBOL) == (OF_BTC, BTC, 5)

    cli("template", "save", "mine", "dual_side", "--from", OKX_UID, *SYMBOL)
    assert cli("template", "show", "mine", "--json").json[0]["settings"][TRIGGER] == 5
    cli("template", "save", "eager", "dual_side", f"{TRIGGER}=9")
    for command in ("preview", "apply"):
        effects = cli("template", command, "eager", "dual_side", "--all", *SYMBOL, "--json").json
        assert [each["setting_type"] for each in effects] == [OF_BTC]
    assert trigger(cli) == ("dual_side", None, 3)

    exported = cli("export", "--all").out
    cli("set", OKX_UID, "dual_side", f"{TRIGGER}=1", *SYMBOL)
    assert cli.run("import", "-", stdin=exported).code == 0
    assert trigger(cli, *SYMBOL) == (OF_BTC, BTC, 9)
    assert cli("verify").code == 0
    assert redis.hget(f"user:{OKX_UID}:symbol:{BTC}:dual_side", TRIGGER) == "9"
    assert json.loads(cli("prune", "--keep", "1", "--older-than", "0", "--json").out)["versions"] == {"dual_side": 7}


def test_what_is_no_symbol_is_refused_in_one_line(inside: Cli) -> None:
    inside("register", OKX_UID)
    none, of_none = "not a symbol as OKX writes it", "a setting type without documents of symbols"
    assert none in inside.fails(1, "get", OKX_UID, "dual_side", "--symbol", "btc")
    assert none in inside.fails(1, "history", OKX_UID, "--symbol", "")
    assert of_none in inside.fails(1, "set", OKX_UID, "params", "leverage=3", *SYMBOL)
    assert "Usage" in inside.fails(2, "template", "save", "a", "dual_side", "x=1", *SYMBOL)
    assert "Usage" in inside.fails(2, "rollback", OKX_UID, "--at", "2999-01-01", *SYMBOL)
