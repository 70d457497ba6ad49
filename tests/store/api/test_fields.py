"""The catalogue from Python: what keys may hold and are for, rules, and what is wrong with a document before a save."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from store import InvalidArgument, InvalidSettings, SettingField, SettingRule, SettingsStore, UnknownSettingType

RULE = "select save_setting_rule('params', 'rsi_levels', '$.rsi_oversold < $.rsi_overbought', 'crossed', '뒤바뀜')"


async def test_a_field_says_all_that_the_catalogue_knows(store: SettingsStore) -> None:
    fields = {field.key: field for field in await store.fields("params")}
    assert list(fields) == sorted(fields)
    assert len(fields) == 53
    assert fields["entry_multiplier"] == SettingField(
        "params", "entry_multiplier", "number", False, True, 1.0, Decimal("0.1"), Decimal(5), None, False,
        "Factor by which each additional entry is larger than the one before it; 1 keeps the size.",
        "추가 진입 때마다 직전 진입 규모에 곱하는 배수. 1이면 같은 규모를 유지합니다.",
    )  # fmt: skip
    token, investment = fields["signal_bot_token"], fields["investment"]
    assert (token.is_secret, token.is_nullable, token.has_default, token.default) == (True, True, True, None)
    assert (investment.has_default, investment.default, fields["direction"].choices) == (
        False,
        None,
        ["롱", "숏", "롱숏"],
    )
    assert await store.fields("dual_side:BTC-USDT-SWAP") == await store.fields("dual_side")


async def test_rules_are_told_with_their_keys(store: SettingsStore, db: psycopg.Connection[dict[str, Any]]) -> None:
    assert await store.rules("params") == []
    db.execute(RULE)
    assert await store.rules("params") == [
        SettingRule("params", "rsi_levels", ["rsi_overbought", "rsi_oversold"],
                    'strict ($."rsi_oversold" < $."rsi_overbought")', "crossed", "뒤바뀜"),
    ]  # fmt: skip


async def test_validate_says_what_a_save_would_and_saves_nothing(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    db.execute(RULE)
    documents: list[Any] = [
        {}, {"leverage": 3, "unlisted": [1]}, {"leverage": 126, "direction": "up"}, {"rsi_oversold": 70},
        {"a": {"b": [math.nan]}}, {"a": "\0"}, {"a": "\ud800"}, {"a": 10**400}, {"a": {1: 2}}, [], None,
        {"a": "x" * 2**20},
    ]  # fmt: skip
    for document in documents:
        said: dict[str, str] = {}
        try:
            await store.save(user, "params", document)
        except InvalidSettings as error:
            said = error.problems
        assert await store.validate("params", document) == said
        assert bool(said) is (document not in documents[:2])
    assert await store.validate("params", {"rsi_oversold": 70}) == {"$rsi_levels": "crossed"}
    assert await store.validate("params", {"rsi_oversold": 70}, partial=True) == {}


@pytest.mark.parametrize("name", ["fields", "rules", "schema", "validate"])
async def test_a_type_that_there_is_not_is_told(store: SettingsStore, name: str) -> None:
    more: tuple[Any, ...] = ({},) if name == "validate" else ()
    for setting_type, error in (("paramz", UnknownSettingType), ("params:BTC-USDT-SWAP", InvalidArgument)):
        with pytest.raises(error):
            await getattr(store, name)(setting_type, *more)


async def test_the_schema_comes_in_either_language(store: SettingsStore) -> None:
    assert (await store.schema("params"))["properties"]["leverage"] == {
        "type": "integer", "minimum": 1, "maximum": 125, "default": 10,
        "description": "Leverage of positions, as a factor: 10 stands for 10x.",
    }  # fmt: skip
    korean = await store.schema("params", language="ko")
    assert korean["properties"]["leverage"]["description"] == "포지션의 레버리지 배수. 10은 10배입니다."
    language: Any
    for language in ("fr", None, 3, b"ko"):
        with pytest.raises(InvalidArgument):
            await store.schema("params", language=language)
