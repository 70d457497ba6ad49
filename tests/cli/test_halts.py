"""The kill switch from the shell: halt, resume, halts, and what status says."""

from __future__ import annotations

import json

import redis as redis_py

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

BTC = "BTC-USDT-SWAP"


def test_halts_come_and_go_and_show_everywhere(inside: Cli, redis: redis_py.Redis) -> None:
    inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    assert "nobody" in inside("status").out
    done = inside("halt", "--reason", "down", "--actor", "kim")
    assert done.lines[0] == "halted: everybody, in PostgreSQL and Redis"
    assert done.lines[1].endswith("by kim: down")
    again = inside("halt", "--reason", "another", "--actor", "lee", "--json").json
    assert (again["reason"], again["halted_by"]) == ("down", "kim")
    inside("halt", "--reason", "theirs", "--user", TELEGRAM_ID, "--symbol", BTC)
    assert "theirs; and 1 more (settings-store halts)" in inside("status").out
    assert len(inside("status", "--json").json["postgresql"]["halts"]) == 2
    listed = inside("halts").lines
    assert listed[0].split() == ["scope", "since", "halted", "by", "reason"]
    assert listed[1].startswith(f"user {OKX_UID}, {BTC}")
    assert len(json.loads(str(redis.get("user:00000000000000000000:halts")))) == 2

    assert "no such halt" in inside.fails(1, "resume", "--reason", "up", "--symbol", BTC)
    assert inside("resume", "--reason", "up", "--actor", "lee").lines == ["resumed: everybody, in PostgreSQL and Redis"]
    inside.fails(1, "resume", "--reason", "up")
    assert [one["reason"] for one in inside("halts", "--json").json] == ["theirs"]
    ended = inside("halts", "--all").lines
    assert ended[0].endswith("why")
    assert ended[2].split()[-2:] == ["lee", "up"]


def test_a_halt_needs_a_reason_and_a_scope_that_there_can_be(inside: Cli) -> None:
    inside.fails(2, "halt")
    inside.fails(2, "resume", "--user", OKX_UID)
    assert "unknown user" in inside.fails(1, "halt", "--reason", "x", "--user", OKX_UID)
    assert "halt" in inside.fails(1, "halt", "--reason", "x", "--symbol", "btc")
    assert inside("halts").lines[1:] == []
