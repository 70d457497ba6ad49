"""Hostile documents: an error of ours or a faithful round trip, nothing half-written, no value told."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from store import (
    InvalidSettings,
    SettingsStore,
    StoreError,
    UnknownUser,
)
from tests.helpers.hostile import BAD_VALUES, NOBODY, SECRET, TEXTS, Opaque, told

# What PostgreSQL refuses, or Python can't follow to its end.
AS_A_WHOLE = {"beyond a double", "beyond 1 MiB", *(name for name in BAD_VALUES if name.startswith("nested"))}


@pytest.mark.parametrize("setting_type", ["params", "preferences"])
async def test_a_hostile_key_or_value_is_kept(store: SettingsStore, user: str, setting_type: str) -> None:
    for name in sorted(TEXTS.keys() - {"nul", "surrogate", "huge"}):
        text = TEXTS[name]
        document = {f"?{text}": text, "?in": {text: [text]}}
        saved = await store.save(user, setting_type, document)
        assert (saved.settings, saved.mirrored) == (document, True)
        in_redis = await store.get(user, setting_type, source="redis")
        in_db = await store.get(user, setting_type, source="db")
        assert in_redis is not None
        assert in_db is not None
        assert in_redis.version == in_db.version == saved.version
        assert in_redis.settings == in_db.settings == document


@pytest.mark.parametrize("name", ["nul", "surrogate", "huge"])
async def test_a_key_that_postgresql_cant_hold_is_refused(
    store: SettingsStore, user: str, untouched: None, name: str
) -> None:
    for setting_type in ("params", "preferences"):
        for document in ({f"?{TEXTS[name]}": 1}, {"?in": {TEXTS[name]: 1}}):
            with pytest.raises(InvalidSettings):
                await store.save(user, setting_type, document)


async def test_a_value_that_json_or_the_limits_forbid_is_refused_untold(
    store: SettingsStore, user: str, untouched: None
) -> None:
    leaks = []
    for name, value in BAD_VALUES.items():
        document = {"signal_bot_token": SECRET, "?k": value}
        for call in (
            partial(store.save, user, "params", document), partial(store.patch, user, "preferences", document),
            partial(store.save_all, user, {"dual_side": {}, "params": document}),
            partial(store.register, NOBODY, documents={"params": document}),
        ):  # fmt: skip
            with pytest.raises(InvalidSettings) as caught:
                await call()
            (path,) = caught.value.problems
            inside = {"circular": ".self", "inner surrogate": ".a[0]"}.get(name, "")
            assert path.removeprefix("params.") == ("$" if name in AS_A_WHOLE else f"?k{inside}"), name
            assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.detail} {caught.value.hint}"
            leaks += [name] if SECRET in told(caught.value) else []
    assert leaks == []


async def test_a_search_for_such_a_value_is_refused_untold(store: SettingsStore, user: str) -> None:
    for name in ("nan", "set", "object", "circular", "nested 10,000 deep", "NUL", "surrogate"):
        with pytest.raises(InvalidSettings) as caught:
            await store.search("params", {"signal_bot_token": SECRET, "?k": BAD_VALUES[name]})
        assert SECRET not in told(caught.value), name


async def test_a_document_that_is_no_object_is_refused_untold(store: SettingsStore, user: str, untouched: None) -> None:
    documents: list[Any] = [None, [], [SECRET], SECRET, 1, True, Opaque(), b"{}", {SECRET}]
    for document in documents:
        for call in (store.save, store.patch):
            with pytest.raises(InvalidSettings) as caught:
                await call(user, "params", document)
            assert SECRET not in told(caught.value)


async def test_a_key_that_is_no_text_is_refused(store: SettingsStore, user: str, untouched: None) -> None:
    keys: list[Any] = [1, True, None, 1.5]
    for key in keys:
        for document in ({key: "a"}, {"?in": [{key: "a"}]}, {key: "a", "1": "b"}):
            with pytest.raises(InvalidSettings):
                await store.save(user, "params", document)


async def test_a_refused_value_is_told_nowhere(store: SettingsStore, user: str, untouched: None) -> None:
    documents: list[dict[str, Any]] = [
        {"leverage": SECRET}, {"direction": SECRET}, {"use_sl": [SECRET]}, {"signal_bot_token": {"a": SECRET}},
        {"leverage": 7777.5, "sl_value": 7777.5},
    ]  # fmt: skip
    for document in documents:
        with pytest.raises(InvalidSettings) as caught:
            await store.save(user, "params", {"signal_bot_token": SECRET} | document)
        assert caught.value.problems.keys() == document.keys()
        assert SECRET not in told(caught.value)
        assert "7777.5" not in told(caught.value)


async def test_other_errors_of_a_save_tell_no_value_either(store: SettingsStore, user: str, untouched: None) -> None:
    document = {"signal_bot_token": SECRET}
    for call in (
        partial(store.save, user, "params", document, expected_version=9),
        partial(store.save, user, "nonsense", document),
        partial(store.save, "nobody", "params", document),
        partial(store.save, user, "params", document, actor="\0"),
    ):
        with pytest.raises(StoreError) as caught:
            await call()
        assert SECRET not in told(caught.value)
    with pytest.raises(UnknownUser) as unknown:
        await store.save(NOBODY, "params", document)
    assert SECRET not in told(unknown.value)
