"""`fields` and `schema`: the catalogue as people and programs read it."""

from __future__ import annotations

import json

import psycopg

from store.models import MASK
from tests.cli.conftest import Cli

SECRET = "hunter2-98765432123456789"
RULE = "select save_setting_rule('params', 'rsi_levels', '$.rsi_oversold < $.rsi_overbought', 'crossed', '뒤바뀜')"


def test_fields_are_a_table_with_the_rules_below_it(inside: Cli, db: psycopg.Connection) -> None:
    db.execute(RULE)
    shown = {line.split()[0]: " ".join(line.split()) for line in inside("fields", "params").out.splitlines()}
    assert shown["leverage"] == "leverage integer ≥ 1 ≤ 125 10 Leverage of positions, as a factor: 10 stands for 10x."
    assert shown["direction"].startswith('direction string: 롱, 숏, 롱숏 "롱숏" Sides that may be opened')
    assert shown["trend_timeframe"].startswith('trend_timeframe string or null "auto" Length of the candles')
    assert shown["rule"] == "rule rsi_levels: crossed"
    korean = inside("fields", "params", "--language", "ko").out
    assert "포지션의 레버리지 배수" in korean
    assert "rule rsi_levels: 뒤바뀜" in korean
    assert inside.fails(1, "fields", "paramz").startswith("Error: unknown setting type")


def test_the_default_of_a_secret_is_masked(inside: Cli, db: psycopg.Connection) -> None:
    db.execute(
        "select save_setting_field('params', 'pin', 'string', to_jsonb(%s::text), p_is_secret => true)", (SECRET,)
    )
    for arguments in (["fields", "params"], ["fields", "params", "--json"], ["schema", "params"]):
        done = inside(*arguments)
        assert SECRET not in done.out
        assert (MASK in done.out) is True


def test_the_schema_is_json_schema(inside: Cli) -> None:
    schema = json.loads(inside("schema", "preferences", "--language", "ko").out)
    assert list(schema) == ["$schema", "$comment", "title", "type", "properties", "additionalProperties"]
    assert schema["properties"]["timeframe"]["description"].startswith("신호 계산에 쓰는")
