"""Documents to look at: nobody can change them, and they say what get() says."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import (
    BadIdentifier,
    Config,
    InvalidArgument,
    InvalidSettings,
    NotPermitted,
    SettingsStore,
    SettingView,
    StoreError,
    UnknownSettingType,
    UnknownUser,
)
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
SYMBOL = "BTC-USDT-SWAP"
DEEP = {"leverage": 7, "tp": [1, [2, {"a": [3]}]], "symbol_investments": {"BTC": {"max": [1, 2]}}, "empty": {}}


@pytest.fixture(params=[0, 10], ids=["no cache", "a cache"])
async def shown(request: pytest.FixtureRequest, config: Config, user: str) -> AsyncIterator[SettingsStore]:
    """A store with or without a cache, which has the user's documents if so."""
    async with SettingsStore(config, cache=request.param) as opened:
        await opened.save(OKX_UID, "params", DEEP)
        await opened.save(OKX_UID, "dual_side", {"x": 1}, symbol=SYMBOL)

        async def is_kept() -> bool:
            for identifier in (OKX_UID, TELEGRAM_ID):
                await opened.get(identifier, "params")
                await opened.get(identifier, "dual_side", symbol=SYMBOL)
            names = (("params", None), ("dual_side", SYMBOL))
            return not request.param or all(opened._cache.find(TELEGRAM_ID, *name) for name in names)

        await eventually(is_kept)
        yield opened


def attributes(found: Any) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "settings"}


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
@pytest.mark.parametrize(("kind", "symbol"), [("params", None), ("dual_side", SYMBOL), ("dual_side", "ETH-USDT-SWAP")])
async def test_it_says_what_get_says(shown: SettingsStore, identifier: str, kind: str, symbol: str | None) -> None:
    for _ in range(2):  # of a symbol without a document Redis learns that at the first look
        found, view = [await read(identifier, kind, symbol=symbol) for read in (shown.get, shown.view)]
    assert found is not None
    assert isinstance(view, SettingView)
    assert attributes(view) == attributes(found)
    assert view.symbol == found.symbol
    assert view.settings.keys() == found.settings.keys()
    for key in found.settings:
        assert await shown.value(identifier, kind, key, symbol=symbol) == view.settings[key]
    assert (await shown.save(OKX_UID, "preferences", dict(view.settings))).settings == found.settings  # as lists again


async def test_nothing_in_it_can_be_changed(shown: SettingsStore) -> None:
    view = await shown.view(OKX_UID, "params")
    assert view is not None
    values: list[Any] = [view.settings, *view.settings.values()]
    values += [await shown.value(OKX_UID, "params", key) for key in DEEP]
    for value in values:
        nested = value.values() if hasattr(value, "values") else value if isinstance(value, tuple) else ()
        values += nested  # all that can be reached
        assert not isinstance(value, dict | list)
        with pytest.raises((TypeError, AttributeError)):
            value["leverage"] = 8
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.version = 5  # type: ignore[misc]
    got = await shown.get(OKX_UID, "params")
    assert got is not None
    got.settings["tp"][1][1]["a"].append("the caller's own")
    again = await shown.get(OKX_UID, "params")
    assert again is not None
    assert again.settings == DEEP
    assert await shown.value(OKX_UID, "params", "tp") == (1, (2, {"a": (3,)}))


async def test_of_what_is_not_there_the_default_is_said(shown: SettingsStore) -> None:
    assert await shown.value(OKX_UID, "params", "other") is None
    assert await shown.value(OKX_UID, "params", "other", 5) == 5
    assert await shown.value(OKX_UID, "params", "leverage", 5) == 7
    await shown.delete(OKX_UID, "params")
    assert await shown.view(OKX_UID, "params") is None
    assert await shown.value(OKX_UID, "params", "leverage", 5) == 5


async def test_it_is_as_new_as_get_is(shown: SettingsStore, db: Db) -> None:
    saved = await shown.patch(OKX_UID, "params", {"leverage": 8})
    assert await shown.value(OKX_UID, "params", "leverage") == 8  # its own save, at once
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 9}')", (OKX_UID,))  # nobody mirrors that
    view = await shown.view(OKX_UID, "params", min_version=saved.version + 1)
    assert view is not None
    assert (view.settings["leverage"], view.source) == (9, "db")
    with pytest.raises(UnknownUser):
        await shown.view(TELEGRAM_ID, "params", okx_uid="1000000000000001")


async def test_what_somebody_else_changes_in_redis_is_seen(
    config: Config, shown: SettingsStore, redis: redis_py.Redis
) -> None:
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 41}')

    async def is_seen() -> bool:
        return bool(await shown.value(OKX_UID, "params", "leverage") == 41)

    await eventually(is_seen)


BAD: list[tuple[tuple[Any, ...], type[StoreError]]] = [
    ((5, "params", "leverage"), BadIdentifier),
    (([], "params", "leverage"), BadIdentifier),
    (("nobody", "params", "leverage"), BadIdentifier),
    ((OKX_UID, ["params"], "leverage"), UnknownSettingType),
    ((OKX_UID, "other", "leverage"), UnknownSettingType),
    ((OKX_UID, "params", ["leverage"]), InvalidArgument),
    (("1000000000000001", "params", "leverage"), UnknownUser),
]


@pytest.mark.parametrize(("arguments", "error"), BAD)
async def test_what_cannot_be_asked_for_is_refused(
    shown: SettingsStore, arguments: tuple[Any, ...], error: type[StoreError]
) -> None:
    with pytest.raises(error):
        await shown.value(*arguments)
    with pytest.raises(InvalidArgument):
        await shown.value(OKX_UID, "params", "leverage", symbol=SYMBOL)
    if error is not InvalidArgument:
        with pytest.raises(error):
            await shown.view(*arguments[:2])


async def test_what_somebody_nested_too_deep_is_no_other_error(shown: SettingsStore, redis: redis_py.Redis) -> None:
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 3, "x": ' + '{"x": ' * 700 + "1" + "}" * 701)

    async def is_seen() -> bool:
        return bool(await shown.value(OKX_UID, "params", "leverage") == 3)

    await eventually(is_seen)
    with suppress(InvalidSettings):  # as the Python at hand nests calls
        assert await shown.view(OKX_UID, "params") is not None
    with suppress(InvalidSettings):
        assert await shown.value(OKX_UID, "params", "x") is not None


async def test_a_confined_store_shows_its_own_users_only(
    config: Config, store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "1000000000000001"
    await store.register(other)
    monkeypatch.setenv("PGOPTIONS", f"-c settings_store.okx_uid={user}")
    async with SettingsStore(config, cache=10) as confined:
        assert await confined.value(user, "params", "leverage") is not None
        confined._cache._pages[other] = confined._cache.page(user)  # as if it had got there
        with pytest.raises(NotPermitted):
            await confined.value(other, "params", "leverage")


async def test_a_closed_store_shows_nothing(shown: SettingsStore) -> None:
    await shown.close()
    for read in (shown.view(OKX_UID, "params"), shown.value(OKX_UID, "params", "leverage")):
        with pytest.raises(StoreError, match="not open"):
            await read
