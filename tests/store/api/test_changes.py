"""store.changes(): the feed from Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from store import CommittedChange, Config, InvalidArgument, SettingsStore
from store.api import changes
from tests.conftest import OKX_UID

OTHER_UID = "1000000000000001"


async def listed(found: AsyncGenerator[CommittedChange]) -> list[CommittedChange]:
    return [change async for change in found]


async def test_each_change_comes_with_what_it_changed_and_where_to_go_on(
    store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save(user, "dual_side", {"use_dual_side": True}, symbol="BTC-USDT-SWAP", actor="kim", reason="why")
    await store.delete(user, "params")
    found = await listed(store.changes())
    history = [
        CommittedChange(**{name: getattr(version, name) for name in version.__slots__}, cursor="")
        for version in await store.history(user)
    ]
    assert sorted((replace(change, cursor="") for change in found), key=lambda c: c.saved_at) == sorted(
        history, key=lambda c: c.saved_at
    )
    assert [change.symbol for change in found if change.changed_by == "kim"] == ["BTC-USDT-SWAP"]
    monkeypatch.setattr(changes, "PAGE", 2)
    assert await listed(store.changes()) == found
    assert await listed(store.changes(found[2].cursor)) == found[3:]
    assert await listed(store.changes(since=found[-1].saved_at)) == found[-1:]
    assert await listed(store.changes(since=datetime.now(UTC))) == []
    assert await store.changes_held() is None


async def test_following_goes_on_for_ever(store: SettingsStore, user: str) -> None:
    (*_, last) = await listed(store.changes())
    following = store.changes(last.cursor, follow=True)
    coming = asyncio.ensure_future(anext(following))
    await store.patch(user, "params", {"leverage": 20})
    change = await asyncio.wait_for(coming, 10)
    assert (change.setting_type, change.version) == ("params", 2)
    await following.aclose()
    begun = store.changes(since=datetime.now(UTC) + timedelta(seconds=-1000), follow=True)
    assert len([await anext(begun) for _ in range(4)]) == 4
    await begun.aclose()


async def test_what_is_held_back_comes_once_the_transaction_has_ended(
    store: SettingsStore, user: str, db: Any, connect: Any
) -> None:
    (*_, last) = await listed(store.changes())
    writer = connect()
    with writer.transaction():
        writer.execute("update user_settings set settings = '{}' where setting_type = 'preferences' and is_active")
        await store.patch(user, "params", {"leverage": 20})
        assert await listed(store.changes(last.cursor)) == []
        held = await store.changes_held()
        assert held is not None
        assert held.process == writer.info.backend_pid
        assert held.waited > timedelta()
    assert [change.setting_type for change in await listed(store.changes(last.cursor))] == ["preferences", "params"]


async def test_a_confined_store_follows_its_own_user(store: SettingsStore, config: Config, user: str) -> None:
    await store.register(OTHER_UID)
    confined = f"-c settings_store.okx_uid={OTHER_UID}"
    url = make_conninfo(config.database_url or "", options=confined)
    async with SettingsStore(replace(config, database_url=url)) as mine:
        assert {change.okx_uid for change in await listed(mine.changes())} == {OTHER_UID}
    assert {change.okx_uid for change in await listed(store.changes())} == {OKX_UID, OTHER_UID}


@pytest.mark.parametrize(
    "arguments",
    [{"after": "nonsense"}, {"after": 1}, {"after": "a\n"}, {"since": datetime(2026, 1, 1)}, {"since": "now"}],
)
async def test_what_is_no_place_is_refused(store: SettingsStore, arguments: dict[str, Any]) -> None:
    for follow in (False, True):
        with pytest.raises(InvalidArgument):
            await listed(store.changes(**arguments, follow=follow))
