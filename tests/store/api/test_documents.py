"""Documents of other types than JSON's; what a save says: the path of what it can't hold, the keys that it lacks."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, UserDict
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import psycopg
import pytest

from store import InvalidArgument, InvalidSettings, SettingsStore
from tests.conftest import OKX_UID
from tests.helpers.hostile import SECRET, Opaque, told

EXACT = Decimal("0.12345678901234567890123456789012345678901234567890")
NAMED: dict[str, tuple[Any, str, str]] = {
    "nan": ({"tp": {"levels": [1, 2, math.nan]}}, "tp.levels[2]", "finite"),
    "infinite Decimal": ({"a": {"b": [[Decimal("-Infinity")]]}}, "a.b[0][0]", "finite"),
    "signalling nan": ({"a": Decimal("sNaN")}, "a", "finite"),
    "set": ({"a": ({SECRET},)}, "a[0]", "set"),
    "bytes": ({"a": {"b": SECRET.encode()}}, "a.b", "bytes"),
    "object": ({"a": MappingProxyType({"b": Opaque()})}, "a.b", "Opaque"),
    "number as a key": ({"a": [{7: 1}]}, "a[0]", "7, of type int"),
    "object as a key": ({"a": {Opaque(): 1}}, "a", "type Opaque"),
    "at the top": ({None: 1}, "$", "type NoneType"),
    "NUL": ({"a": {"b\0": 1}}, "a.b\\x00", "U+0000"),
    "long key": ({"x" * 1000: math.nan}, "x" * 80 + "…", "finite"),
}


@pytest.mark.parametrize("name", NAMED)
async def test_what_cant_be_held_is_named_by_its_path_and_type_wherever_a_document_is_taken(
    store: SettingsStore, user: str, name: str
) -> None:
    document, path, word = NAMED[name]
    for call in (
        partial(store.save, user, "params", document),
        partial(store.patch, user, "params", document),
        partial(store.search, "params", document),
        partial(store.save_template, "careful", "params", document),
        partial(store.apply_template, "default", "params", filter=document),
    ):
        with pytest.raises(InvalidSettings) as caught:
            await call()
        ((where, why),) = caught.value.problems.items()
        assert (where, word in why) == (path, True)
        assert SECRET not in told(caught.value)
    for several in (
        partial(store.save_all, user, {"params": document}),
        partial(store.register, user, documents={"params": document}),
    ):
        with pytest.raises(InvalidSettings) as caught:
            await several()
        assert caught.value.problems.keys() == {"params" if path == "$" else f"params.{path}"}
    with pytest.raises(InvalidArgument) as refused:
        await store.record_trade(user, {"extra": document})
    assert refused.value.problems.keys() == {"extra" if path == "$" else f"extra.{path}"}
    with pytest.raises(InvalidArgument) as refused:
        await store.record_trades([{}, {"extra": document}])
    assert refused.value.problems.keys() == {"1.extra" if path == "$" else f"1.extra.{path}"}


@pytest.mark.parametrize("setting_type", ["params", "preferences"])
async def test_a_decimal_keeps_every_digit(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]], setting_type: str
) -> None:
    numbers = [EXACT, Decimal("1.10"), Decimal("-0.000000000000000000001"), Decimal("1E+3"), Decimal(10) ** 30 + 1]
    await store.save(user, setting_type, {"?a": MappingProxyType({"b": numbers})})
    query = "select settings -> '?a' ->> 'b' as text from get_user_settings(%s, %s)"
    (row,) = db.execute(query, (user, setting_type)).fetchall()
    assert [Decimal(text) for text in row["text"].strip("[]").split(",")] == numbers
    assert str(EXACT) in row["text"]
    assert "1.10" in row["text"]
    assert [found.okx_uid for found in await store.search(setting_type, {"?a": {"b": [EXACT]}})] == [user]


@pytest.mark.parametrize("kind", [MappingProxyType, OrderedDict, UserDict])
async def test_any_mapping_is_a_document(store: SettingsStore, user: str, kind: Any) -> None:
    saved = await store.save(user, "params", kind({"leverage": 3, "?in": kind({"a": (1, kind({}))})}))
    assert saved.settings == {"leverage": 3, "?in": {"a": [1, {}]}}
    patched = await store.patch(user, "params", kind({"leverage": (kind({}) and 0) or 4}))
    assert patched.settings["leverage"] == 4


async def test_the_same_mapping_twice_is_no_circle(store: SettingsStore, user: str) -> None:
    shared = {"a": [1]}
    saved = await store.save(user, "params", {"?x": shared, "?y": [shared, shared]})
    assert saved.settings["?y"] == [shared, shared]


async def test_a_save_tells_which_keys_it_lacks(store: SettingsStore, user: str) -> None:
    whole = (await store.patch(user, "params", {"leverage": 3})).settings
    assert (await store.save(user, "params", whole)).missing_keys == []
    del whole["leverage"], whole["use_sl"]
    lacking = ["leverage", "use_sl"]
    saved = await store.save(user, "params", whole)
    assert (saved.settings, saved.missing_keys) == (whole, lacking)
    assert (await store.patch(user, "params", {"sl_value": 9})).missing_keys == lacking
    (also,) = await store.save_all(user, {"params": whole})
    assert also.missing_keys == lacking
    assert (await store.rollback(user, "params", saved.version)).missing_keys == lacking
    deleted = await store.delete(user, "params")
    assert deleted is not None
    assert deleted.missing_keys == []
    assert (await store.restore(user, "params")).missing_keys == lacking
    assert [one.missing_keys for one in (await store.register(user)).settings] == [[], [], []]
    assert (await store.patch(user, "params", {"leverage": None})).settings["leverage"] == 10


async def test_registering_again_brings_what_was_missing_to_redis(store: SettingsStore, user: str) -> None:
    await store.save(user, "preferences", {"symbol": "ETH-USDT-SWAP"})
    registration = await store.register(user)
    in_redis = await store.get(OKX_UID, "preferences", source="redis")
    assert in_redis is not None
    assert in_redis.settings == {"symbol": "ETH-USDT-SWAP", "timeframe": "1m"}
    assert {one.setting_type: one.version for one in registration.settings}["preferences"] == in_redis.version == 3


async def test_readers_who_share_a_query_have_a_document_each(store: SettingsStore, user: str) -> None:
    first, second = await asyncio.gather(*(store.get(user, "params", source="db") for _ in range(2)))
    assert first is not None
    assert second is not None
    first.settings["leverage"] = -1
    assert second.settings["leverage"] == 10
