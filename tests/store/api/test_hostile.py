"""Hostile identifiers, types and other arguments: an error of ours, or kept as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import (
    BadIdentifier,
    DatabaseUnavailable,
    InvalidSettings,
    NotMigrated,
    SettingsStore,
    StoreError,
    UnknownSettingType,
)
from tests.helpers.hostile import NOBODY, NOT_TEXT, SECRET, TEXTS, told

Db = psycopg.Connection[dict[str, Any]]


async def test_a_hostile_identifier_is_refused(store: SettingsStore, untouched: None) -> None:
    for name, text in TEXTS.items():
        for call in (
            partial(store.get, text, "params"), partial(store.get, text, "params", source="db"),
            partial(store.get, text, "params", source="redis"), partial(store.get_all, text),
            partial(store.save, text, "params", {}), partial(store.patch, text, "params", {}),
            partial(store.delete, text, "params"), partial(store.save_all, text, {"params": {}}),
            partial(store.find_user, text), partial(store.register, text), partial(store.link, text, "99999"),
            partial(store.unlink, text), partial(store.delete_user, text),
        ):  # fmt: skip
            if call.keywords.get("source") == "redis" and text.isprintable():
                assert await call() is None
                continue
            with pytest.raises(BadIdentifier) as caught:
                await call()
            assert name == "empty" or text[:20] not in str(caught.value)


async def test_a_hostile_setting_type_is_unknown(store: SettingsStore, user: str, untouched: None) -> None:
    for text in TEXTS.values():
        for call in (
            partial(store.get, user, text), partial(store.get, user, text, source="db"),
            partial(store.get, user, text, source="redis"), partial(store.search, text, {}),
            partial(store.save, user, text, {}), partial(store.patch, user, text, {}),
            partial(store.delete, user, text),
        ):  # fmt: skip
            with pytest.raises(UnknownSettingType):
                await call()
        with pytest.raises((UnknownSettingType, InvalidSettings)):
            await store.save_all(user, {"params": {"leverage": 3}, text: {}})
        with pytest.raises((UnknownSettingType, InvalidSettings)):
            await store.register(NOBODY, documents={text: {}})


@pytest.mark.parametrize("name", ["nul", "surrogate", "rtl", "format", "emoji", "huge"])
async def test_a_hostile_telegram_id_is_refused(store: SettingsStore, user: str, untouched: None, name: str) -> None:
    for call in (partial(store.link, user, TEXTS[name]), partial(store.register, NOBODY, TEXTS[name])):
        with pytest.raises(StoreError) as caught:
            await call()
        assert not isinstance(caught.value, DatabaseUnavailable | NotMigrated)


async def test_an_identifier_that_is_no_text_is_refused(store: SettingsStore, user: str, untouched: None) -> None:
    for value in NOT_TEXT:
        for call in (store.find_user, store.get_all, partial(store.get, setting_type="params")):
            with pytest.raises(BadIdentifier):
                await call(value)


async def test_a_setting_type_that_is_no_text_is_unknown(store: SettingsStore, user: str, untouched: None) -> None:
    for value in NOT_TEXT:
        for call in (
            partial(store.save, user, value, {}), partial(store.delete, user, value), partial(store.search, value, {}),
            partial(store.get, user, value), partial(store.get, user, value, source="db"),
        ):  # fmt: skip
            with pytest.raises(UnknownSettingType):
                await call()


@pytest.mark.parametrize(
    "argument", ["actor", "reason", "expected_version", "name", "telegram_id", "link", "after", "limit"]
)
async def test_an_argument_of_a_wrong_type_is_not_taken_for_a_broken_database(
    store: SettingsStore, user: str, untouched: None, argument: str
) -> None:
    calls: dict[str, Any] = {
        "actor": lambda value: store.save(user, "params", {"a": 1}, actor=value),
        "reason": lambda value: store.save(user, "params", {"a": 1}, reason=value),
        "expected_version": lambda value: store.save(user, "params", {"a": 1}, expected_version=value),
        "name": lambda value: store.register(NOBODY, name=value),
        "telegram_id": lambda value: store.register(NOBODY, value),
        "link": lambda value: store.link(user, value),
        "after": lambda value: store.list_users(after=value),
        "limit": lambda value: store.list_users(limit=value),
    }
    wrong = {}
    for value in NOT_TEXT:
        if argument in ("limit", "expected_version") and isinstance(value, int):
            continue
        with pytest.raises(StoreError) as caught:
            await calls[argument](value)
        assert SECRET not in told(caught.value)
        if isinstance(caught.value, DatabaseUnavailable | NotMigrated | InvalidSettings):
            wrong[type(value).__name__] = repr(caught.value)
    assert wrong == {}


async def test_a_version_that_nobody_can_have_is_a_conflict_or_refused(
    store: SettingsStore, user: str, untouched: None
) -> None:
    wrong = {}
    for version in (-1, 2**31 - 1, 2**31, 2**40, 10**30):
        with pytest.raises(StoreError) as caught:
            await store.save(user, "params", {"leverage": 3}, expected_version=version)
        if isinstance(caught.value, DatabaseUnavailable | NotMigrated | InvalidSettings):
            wrong[version] = repr(caught.value)
    assert wrong == {}


async def test_a_hostile_actor_reason_or_name_is_kept(store: SettingsStore, user: str, db: Db) -> None:
    for n, name in enumerate(sorted(TEXTS.keys() - {"nul", "surrogate", "empty", "huge"}), start=1):
        text = TEXTS[name]
        saved = await store.save(user, "params", {"leverage": n}, actor=text, reason=text)
        assert saved.version == n + 1
        row = db.execute(
            "select * from user_settings where okx_uid = %s and setting_type = 'params' and is_active", (user,)
        ).fetchone()
        assert row is not None
        assert (row["settings"], row["changed_by"], row["change_reason"]) == ({"leverage": n}, text, text)
        registered = (await store.register(NOBODY, name=text, telegram_username=text)).user
        assert (registered.name, registered.telegram_username) == (text, text)


@pytest.mark.parametrize("name", ["nul", "surrogate", "huge"])
async def test_an_actor_reason_or_name_that_cant_be_held_or_is_too_long_is_refused(
    store: SettingsStore, user: str, untouched: None, name: str
) -> None:
    text = TEXTS[name]
    for call in (
        partial(store.save, user, "params", {"signal_bot_token": SECRET}, actor=text),
        partial(store.save, user, "params", {"signal_bot_token": SECRET}, reason=text),
        partial(store.register, NOBODY, name=text),
        partial(store.link, user, "99999", telegram_username=text),
    ):
        with pytest.raises(StoreError) as caught:
            await call()
        assert not isinstance(caught.value, DatabaseUnavailable | NotMigrated)
        assert SECRET not in told(caught.value)


async def test_a_foreign_value_in_redis_is_passed_over(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    for foreign in (b"\xff\xfe{", "[1]", "1", "null", "[" * 100_000, "", '"x"', b'{"a": "\xff"'):
        redis.set(f"user:{user}:settings", foreign)
        found = await store.get(user, "params")
        assert found is not None
        assert (found.source, found.version) == ("db", 1)
    redis.set("user:1709556958:okx_uid", "user:*")
    found = await store.get("1709556958", "params")
    assert found is not None
    assert found.okx_uid == user
