"""Locked keys from the shell: lock, unlock, locks, and what a refused change says."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID

BTC = "BTC-USDT-SWAP"


def test_a_lock_holds_shows_and_goes(inside: Cli) -> None:
    inside("register", OKX_UID)
    done = inside("lock", "params", "leverage", "use_sl", "--user", OKX_UID, "--reason", "audit", "--actor", "kim",
                  "--until", "2999-01-01T00:00Z")  # fmt: skip
    assert [line.split()[2] for line in done.lines[1:]] == ["leverage", "use_sl"]
    error = inside.fails(1, "set", OKX_UID, "params", "leverage=20")
    assert "params is locked" in error
    assert "leverage: locked by kim until 2999-01-01 00:00:00 UTC: audit" in error
    inside("lock", "dual_side", "--reason", "release", "--symbol", BTC)
    listed = inside("locks", OKX_UID, "--json").json
    assert [(one["okx_uid"], one["symbol"], one["key"]) for one in listed] == [
        (None, BTC, None), (OKX_UID, None, "leverage"), (OKX_UID, None, "use_sl"),
    ]  # fmt: skip
    assert inside("locks").lines[1].split()[:4] == ["everybody", f"dual_side:{BTC}", "(all)", "unlocked"]
    assert inside("unlock", "params", "leverage", "--user", OKX_UID).lines == ["removed 1 lock"]
    inside("set", OKX_UID, "params", "leverage=20")
    assert "no such lock" in inside.fails(1, "unlock", "params", "leverage", "--user", OKX_UID)
    inside("unlock", "params", "--user", OKX_UID)
    inside("unlock", "dual_side", "--symbol", BTC)
    assert inside("locks", "--json").json == []


def test_a_lock_needs_a_reason_and_a_type_that_there_is(inside: Cli) -> None:
    inside.fails(2, "lock", "params")
    assert "unknown setting type" in inside.fails(1, "lock", "nothing", "--reason", "x")
    assert "unknown user" in inside.fails(1, "lock", "params", "--reason", "x", "--user", OKX_UID)
    assert "future" in inside.fails(1, "lock", "params", "--reason", "x", "--until", "2020-01-01")
