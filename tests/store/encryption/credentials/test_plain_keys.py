"""Plain keys that the predecessor's bots keep in Redis: how they are to be held is asked, and their notes stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from store import Config, ConfigError, SettingsStore
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from store.operations import service
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID
from tests.helpers.credentials import HASH, KEY, OTHER, Db, Redis, everything, is_plain_anywhere, put, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, other_store, read, rogue, run_sync

NOTES = {"uid": OKX_UID, "last_update_time": "1760000000", "last_update_time_kr": "2025-10-09 17:53:20"}
SAID = "MIRROR_CREDENTIALS isn't set"


@pytest.fixture
def unchosen(config: Config) -> Config:
    return replace(config, mirror_credentials=None)


@pytest.mark.parametrize("is_known", [True, False])
async def test_sync_asks_before_it_changes_anything(unchosen: Config, db: Db, redis: Redis, is_known: bool) -> None:
    async with SettingsStore(unchosen) as store:
        if is_known:
            await store.register(OKX_UID)
            await store.save_credentials(OKX_UID, *secrets(1))
        rogue(redis, secrets(1))
        redis.set(f"user:{OTHER}:settings", '{"leverage": 33}')
        await store._connections.marks.clear()
        before = everything(db, redis)
        for dry_run in (True, False):
            for source in ("redis", "db"):
                with pytest.raises(ConfigError, match=SAID) as error:
                    await service.sync(store._connections, source, None, None, dry_run, lambda _: None)
                assert error.value.exit_code == 2
                assert all(mode in (error.value.hint or "") for mode in ("plain", "encrypted", "off"))
        assert everything(db, redis) == before
        report = await verify(store._connections, okx_uid=OKX_UID, repair=True)
        assert report.held == (
            {(OKX_UID, "api_keys"): f"Redis holds API keys in plain text, and {SAID}"} if is_known else {}
        )
        assert redis.hget(DATA, "api_key") == secrets(1)[0]
        assert await Sync(store._connections, okx_uid=OTHER).run() == {"new": 1}  # of whom there are none


def test_the_command_says_what_to_set(unchosen: Config, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    rogue(redis, secrets(1))
    env = {name: text for name, text in environment(unchosen).items() if name != "MIRROR_CREDENTIALS"}
    monkeypatch.delenv("MIRROR_CREDENTIALS", raising=False)
    done = Cli({**env, "SETTINGS_STORE_KEYS": KEY}, is_inside=True).run("sync")
    assert (done.code, done.is_one_clear_error(), SAID in done.err) == (2, True, True)


async def test_sync_needs_no_choice_where_there_is_no_plain_text(unchosen: Config, redis: Redis) -> None:
    async with SettingsStore(unchosen) as store:
        await store.register(OKX_UID)
        await store.save_credentials(OKX_UID, *secrets(1))
        put(redis, DATA, NOTES)
        assert await run_sync(store) == []
        assert redis.hgetall(DATA).items() >= NOTES.items()


async def test_registering_leaves_them_to_sync(unchosen: Config, db: Db, redis: Redis) -> None:
    async with SettingsStore(unchosen) as store:
        rogue(redis, secrets(1))
        redis.set(f"user:{OKX_UID}:settings", '{"leverage": 33}')
        await store.register(OKX_UID)
        setting = await store.get(OKX_UID, "params")
        assert setting is not None
        assert setting.settings["leverage"] == 33
        assert redis.hgetall(DATA) == dict(zip(FIELDS, secrets(1), strict=True))
        assert db.execute("select from okx_api_info").fetchall() == []


@pytest.mark.parametrize("mode", ["plain", "encrypted", "off"])
@pytest.mark.parametrize("is_known", [True, False])
async def test_notes_beside_the_keys_stay_in_redis_and_in_the_history(
    config: Config, db: Db, redis: Redis, mode: str, is_known: bool
) -> None:
    async with other_store(config, KEY, mode="off") as store:
        if is_known:
            await store.register(OKX_UID)
            await store.save_credentials(OKX_UID, *secrets(1))
    async with other_store(config, KEY, mode=mode) as store:
        rogue(redis, secrets(2))
        put(redis, DATA, NOTES)
        assert await run_sync(store, "redis") == (["edited"] if is_known else ["new"])
        reasons = [version.change_reason or "" for version in await store.credentials_history(OKX_UID)]
        assert all(f"{name} {text}" in reasons[0] for name, text in NOTES.items())
        there: Any = NOTES if mode != "off" else {}
        for n in (2, 3):  # as sync left it, and after a save
            assert {name: text for name, text in redis.hgetall(DATA).items() if name not in FIELDS} == there
            assert set(redis.hgetall(DATA)) == ({*FIELDS, *NOTES} if mode != "off" else set())
            assert is_plain_anywhere(db, redis) is (mode == "plain")
            assert await run_sync(store) == []
            assert not (await verify(store._connections)).findings
            found = await read(store)
            assert found is not None
            assert (found[0], found[2]) == (secrets(n), "db" if mode == "off" else "redis")
            if n == 2:
                assert (await store.save_credentials(OKX_UID, *secrets(3))).mirrored
        assert versions(db, store.config, OKX_UID)[-2:] == [secrets(2), secrets(3)]
        await store.delete_credentials(OKX_UID)
        assert not redis.exists(DATA)


async def test_a_long_note_or_another_field_is_none(store: SettingsStore, user: str, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    put(redis, DATA, {"uid": "x" * 1000, "other": "1"})
    assert dict((await verify(store._connections, repair=True)).findings) == {"edited": 1}
    assert set(redis.hgetall(HASH.format(user))) == set(FIELDS)
