"""What type checkers say of a program that uses the store: each line is right, or wrong as its comment says.

tests/store/typing/test_types.py has mypy look at it, as a program of a user's, and so does `make lint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

from store import (
    Change,
    SavedSetting,
    Setting,
    SettingChange,
    SettingsStore,
    SettingTypeName,
    SyncSettingsStore,
    User,
    Version,
)
from tests.helpers.shapes import Data, Keys, Model

USER = "587662504768345929"


async def read(store: SettingsStore, kept: Mapping[str, int], keys: Keys, name: SettingTypeName) -> None:
    plain = await store.get(USER, "params")
    assert_type(plain, Setting[dict[str, Any]] | None)
    print(plain.version)  # type: ignore[union-attr]
    assert plain
    assert_type(plain, Setting)
    assert_type(plain.settings["leverage"], Any)

    model = await store.get_as(USER, "params", Model, min_version=3)
    assert_type(model, Setting[Model] | None)
    assert model
    assert_type(model.settings.leverage, int)
    assert_type((model.version, model.symbol), tuple[int, str | None])
    print(model.settings.leverge)  # type: ignore[attr-defined]
    data = await store.get_as(USER, name, Data)
    assert data
    assert_type(data.settings.investment, float | None)
    typed_dict = await store.get_as(USER, "a type of one's own", Keys)
    assert typed_dict
    assert_type(typed_dict.settings["leverage"], int)
    print(typed_dict.settings["leverge"])  # type: ignore[typeddict-item]
    await store.get_as(USER, "params", Data(1))  # type: ignore[arg-type]

    assert_type(await store.save(USER, "params", kept), SavedSetting)
    assert_type((await store.patch(USER, "params", keys)).settings, dict[str, Any])
    await store.save_all(USER, {"params": keys, "dual_side": kept})
    await store.search(name, keys)
    await store.save_many({USER: kept}, name)
    await store.update(USER, name, lambda _: kept)
    await store.schedule_change(USER, name, keys)
    await store.schedule_changes(name, kept, filter=keys)
    await store.begin_rollout("first", "careful", name, filter=keys)
    await store.save(USER, "params", [1])  # type: ignore[arg-type]
    other: SettingTypeName = "param"  # type: ignore[assignment]
    await store.get(USER, other)


async def hear(store: SettingsStore) -> None:
    async for change in store.watch():
        assert_type(change, Change)
    async for with_values in store.watch(USER, values=True):
        assert_type(with_values, SettingChange)
        assert_type(with_values.new, dict[str, Any] | None)

    def plain(change: SettingChange) -> None: ...
    async def later(change: SettingChange) -> None: ...
    def of_other_things(change: int) -> None: ...

    await store.on_change("params", plain)
    await store.on_change(None, later, identifier=USER)
    await store.on_change("params", of_other_things)  # type: ignore[arg-type]


def without_asyncio(store: SyncSettingsStore, keys: Keys) -> None:
    with store as opened, opened.acting_as("ops") as acting:
        assert_type(acting, SyncSettingsStore)
        assert_type(acting.get(USER, "params"), Setting[dict[str, Any]] | None)
        assert_type(acting.get_as(USER, "params", Model), Setting[Model] | None)
        assert_type(acting.patch(USER, "params", keys, reason="less risk"), SavedSetting)
        acting.patch(USER, "params", keys, reson="less risk")  # type: ignore[call-arg]
        acting.get(USER)  # type: ignore[call-arg]
    users: Iterator[User] = store.iter_users()
    assert_type(next(users), User)
    with store.iter_history(USER) as versions:
        assert_type(list(versions), list[Version])
    for change in store.watch(values=True):
        assert_type(change, SettingChange)
    store.on_change("params", lambda change: print(change.new))
