"""What the tests of backup and restore share: backups, a second store, and looks at what came back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from store import Config, SettingsStore
from store.coherence.verify import verify
from tests.conftest import OKX_UID
from tests.helpers.backups import Db, back_up, on, populate


@pytest.fixture
async def other(config: Config, other_database_url: str) -> AsyncIterator[SettingsStore]:
    """A store on an empty migrated database and the same Redis."""
    async with on(config, other_database_url) as opened:
        yield opened


@pytest.fixture
def other_db(other_database_url: str) -> Iterator[Db]:
    with psycopg.connect(other_database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def populated(store: SettingsStore, db: Db, tmp_path: Path) -> Path:
    """A backup of data of every sort."""
    await populate(store, db)
    await back_up(store, tmp_path / "full.zip")
    return tmp_path / "full.zip"


@pytest.fixture
async def small(store: SettingsStore, user: str, tmp_path: Path) -> Path:
    """A backup of one user with the default documents."""
    await back_up(store, tmp_path / "small.zip")
    return tmp_path / "small.zip"


async def assert_clean(store: SettingsStore) -> None:
    report = await verify(store._connections)
    assert report.checked
    assert not report.findings


async def leverage(store: SettingsStore, okx_uid: str = OKX_UID) -> Any:
    setting = await store.get(okx_uid, "params", source="db")
    return setting and setting.settings["leverage"]
