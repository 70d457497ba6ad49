"""acting_as: who writes and why, for every write that doesn't say so itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]
Who = tuple[str | None, str | None]


def history(db: Db, setting_type: str = "params") -> list[Who]:
    """Who saved each version after the first and why; None for the database user."""
    rows = db.execute(
        "select nullif(changed_by, session_user) as changed_by, change_reason from user_settings"
        " where setting_type = %s and version > 1 order by version",
        (setting_type,),
    )
    return [(row["changed_by"], row["change_reason"]) for row in rows]


async def test_every_writer_takes_the_actor_and_the_reason(store: SettingsStore, db: Db) -> None:
    async with store.acting_as("ops", reason="a request") as acting:
        assert acting is store
        await store.register(OKX_UID, TELEGRAM_ID)
        await store.save(OKX_UID, "params", {"leverage": 2})
        await store.patch(OKX_UID, "params", {"leverage": 3})
        await store.save_all(OKX_UID, {"params": {"leverage": 4}})
        await store.delete(OKX_UID, "params")
        await store.delete_user(OKX_UID)
    rows = db.execute("select distinct changed_by, change_reason from user_settings").fetchall()
    assert [tuple(row.values()) for row in rows] == [("ops", "a request")]


async def test_it_ends_with_the_block_also_by_an_exception(store: SettingsStore, user: str, db: Db) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.acting_as("ops", reason="a request"):
            raise ZeroDivisionError
    await store.patch(user, "params", {"leverage": 2})
    async with store.acting_as("ops", reason="a request"):
        await store.patch(user, "params", {"leverage": 3})
    await store.patch(user, "params", {"leverage": 4})
    assert history(db) == [(None, None), ("ops", "a request"), (None, None)]


async def test_an_inner_one_falls_back_to_the_outer_one(store: SettingsStore, user: str, db: Db) -> None:
    leverage = iter(range(2, 10))

    async def patch() -> None:
        await store.patch(user, "params", {"leverage": next(leverage)})

    async with store.acting_as("ops", reason="outer"):
        async with store.acting_as(reason="inner"):
            await patch()
            async with store.acting_as("night-shift"):
                await patch()
        async with store.acting_as():
            await patch()
        await patch()
    assert history(db) == [("ops", "inner"), ("night-shift", "inner"), ("ops", "outer"), ("ops", "outer")]


async def test_an_explicit_argument_wins(store: SettingsStore, user: str, db: Db) -> None:
    async with store.acting_as("ops", reason="a request"):
        await store.patch(user, "params", {"leverage": 2}, actor="bot")
        await store.patch(user, "params", {"leverage": 3}, reason="less risk")
        await store.patch(user, "params", {"leverage": 4}, actor="bot", reason="")
    assert history(db) == [("bot", "a request"), ("ops", "less risk"), ("bot", None)]


async def test_it_goes_before_the_configured_actor(config: Config, user: str, db: Db) -> None:
    async with SettingsStore(replace(config, actor="service")) as store:
        async with store.acting_as("ops"):
            await store.patch(user, "params", {"leverage": 2})
        async with store.acting_as(reason="a request"):
            await store.patch(user, "params", {"leverage": 3})
    assert history(db) == [("ops", None), ("service", "a request")]


async def test_concurrent_tasks_do_not_see_each_others(store: SettingsStore, user: str, db: Db) -> None:
    async def write(setting_type: str, actor: str | None, both: asyncio.Barrier) -> None:
        async with store.acting_as(actor, reason=actor and f"of {actor}"):
            for n in range(5):
                await both.wait()
                await store.patch(user, setting_type, {"note": n})

    both = asyncio.Barrier(3)
    await asyncio.gather(
        write("params", "ops", both), write("preferences", "night-shift", both), write("dual_side", None, both)
    )
    assert history(db, "params") == [("ops", "of ops")] * 5
    assert history(db, "preferences") == [("night-shift", "of night-shift")] * 5
    assert history(db, "dual_side") == [(None, None)] * 5


async def test_a_task_started_inside_takes_it_along(store: SettingsStore, user: str, db: Db) -> None:
    async with store.acting_as("ops"):
        task = asyncio.create_task(store.patch(user, "params", {"leverage": 2}))
    await task
    assert history(db) == [("ops", None)]


async def test_changes_of_users_take_who_and_why(store: SettingsStore, user: str, db: Db) -> None:
    await store.link(user, "99999", actor="ops", reason="a request")
    await store.unlink(user, actor="ops", reason="a request")
    await store.delete_user(user, actor="ops", reason="a request")
    rows = db.execute("select changed_by, change_reason from user_settings where deleted_at is not null").fetchall()
    assert [tuple(row.values()) for row in rows] == [("ops", "a request")] * 3
