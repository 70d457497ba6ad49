"""What the tests of credentials in the store share: a key, other stores, and whoever writes past the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from store import Config, SettingsStore
from store.coherence.sync import Outcome, Prefer, Sync
from store.encryption.fields import FIELDS
from store.models import Credentials
from tests.conftest import OKX_UID
from tests.helpers.credentials import HASH, KEY, Db, Plain, Redis, put, with_keys

DATA, MIRROR = HASH.format(OKX_UID), f"user:{OKX_UID}:mirror"


@pytest.fixture
def config(config: Config) -> Config:
    """The configuration with an encryption key."""
    return with_keys(config, KEY)


@asynccontextmanager
async def other_store(config: Config, *keys: str, mode: str = "encrypted") -> AsyncIterator[SettingsStore]:
    """A store with these encryption keys (none: without) and this MIRROR_CREDENTIALS."""
    async with SettingsStore(with_keys(config, *keys, mode=mode)) as store:
        yield store


async def read(store: SettingsStore, identifier: str = OKX_UID) -> tuple[Plain, int, str] | None:
    """The credentials, their version, and which store they came from."""
    found = await store.get_credentials(identifier)
    return None if found is None else (plain(found), found.version, found.source)


def plain(found: Credentials) -> Plain:
    return found.api_key, found.api_secret, found.passphrase


def marks(db: Db) -> set[tuple[str, int]]:
    rows = db.execute("select owner, version from mirror_pending where kind = 'api_keys'").fetchall()
    return {(row["owner"], row["version"]) for row in rows}


def rogue(redis: Redis, values: Plain, okx_uid: str = OKX_UID) -> None:
    """Somebody writes plain text into Redis."""
    put(redis, HASH.format(okx_uid), dict(zip(FIELDS, values, strict=True)))


def set_behind_triggers(db: Db, **fields: str) -> None:
    """A superuser changes the active row without triggers."""
    db.execute("set session_replication_role = replica")
    for name, text in fields.items():
        db.execute(f"update okx_api_info set {name} = %s where okx_uid = %s and is_active", (text, OKX_UID))
    db.execute("set session_replication_role = origin")


async def run_sync(
    store: SettingsStore, prefer: Prefer | None = None, dry_run: bool = False, okx_uid: str | None = None
) -> list[str]:
    """Sync; return the outcomes of keys of credentials."""
    told: list[Outcome] = []
    await Sync(store._connections, prefer=prefer, dry_run=dry_run, okx_uid=okx_uid, tell=told.append).run()
    found = [outcome for outcome in told if outcome.redis_key.endswith(":api:keys")]
    assert "plain-" not in repr(found)
    return [outcome.outcome for outcome in found]
