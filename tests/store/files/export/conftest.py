"""What the tests of export and import share: files made by hand, a second store, and what is saved."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from store import Config, SettingsStore
from store.coherence.verify import verify
from store.files import export as files_export
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch

UIDS = [f"58766250476834{n:04}" for n in range(30)]
OTHER = UIDS[0]
HEAD = b'{"format": "settings-store export", "version": 1, "users": '


def file_of(*users: dict[str, Any]) -> bytes:
    return HEAD + json.dumps(users, ensure_ascii=False, indent=1).encode() + b"}"


def person(okx_uid: str = OKX_UID, /, **fields: Any) -> dict[str, Any]:
    """A user of a file; `settings` unless given: none."""
    return {"okx_uid": okx_uid, "settings": {}, **fields}


async def export(store: SettingsStore, *identifiers: str, with_secrets: bool = True) -> bytes:
    file = io.BytesIO()
    await files_export.export_users(store, file, identifiers or None, with_secrets=with_secrets)
    return file.getvalue()


async def assert_equal_sides(store: SettingsStore) -> None:
    report = await verify(store._connections)
    assert (dict(report.findings), report.remaining) == ({}, 0)


def saved_texts(db: Connection, okx_uid: str) -> dict[str, str]:
    rows = fetch(
        db,
        "select setting_type, settings::text from user_settings"
        " where okx_uid = %s and is_active and deleted_at is null",
        (okx_uid,),
    )
    return {row["setting_type"]: row["settings"] for row in rows}


def versions(db: Connection, okx_uid: str = OKX_UID) -> dict[str, int]:
    rows = fetch(db, "select setting_type, version from user_settings where okx_uid = %s and is_active", (okx_uid,))
    return {row["setting_type"]: row["version"] for row in rows}


@pytest.fixture
async def second(servers: Config, config: Config, template: str, second_url: str) -> AsyncIterator[SettingsStore]:
    """A store with an empty database of its own; of Redis only other keys are shared."""
    async with SettingsStore(replace(config, database_url=second_url, key_template="second:{id}:{suffix}")) as opened:
        yield opened


@pytest.fixture
def second_url(servers: Config, template: str) -> Iterator[str]:
    """The URL of another migrated database."""
    from tests.conftest import janitor

    assert servers.database_url
    with janitor(servers.database_url, f"second_{template[9:]}", template) as database:
        yield make_conninfo(servers.database_url, dbname=database.dbname)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_export, "PAGE", 3)
