"""A backup made before an erasure is restored: the person doesn't come back with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import SettingsStore
from store.coherence.verify import verify
from store.files.backup import restore_backup
from tests.conftest import TELEGRAM_ID
from tests.faults.erasure.conftest import VALUE, Db, rows
from tests.helpers.backups import back_up
from tests.helpers.credentials import KEY, secrets, with_keys

OTHER = "1000000000000001"


@pytest.fixture
def config(config: Any) -> Any:
    return with_keys(config, KEY)


async def test_a_restore_erases_again_who_was_erased_since(
    store: SettingsStore, db: Db, person: str, tmp_path: Path
) -> None:
    await store.register(OTHER)
    await store.save_credentials(person, *secrets(1))
    await back_up(store, tmp_path / "old.zip")
    await store.erase_user(person)
    await restore_backup(store, tmp_path / "old.zip", replace=True)
    assert await store.find_user(person) is None
    assert await store.find_user(TELEGRAM_ID) is None
    assert VALUE not in str(rows(db))
    assert (await store.get(OTHER, "params")) is not None
    assert not (await verify(store._connections)).findings


async def test_who_was_registered_again_comes_back(store: SettingsStore, person: str, tmp_path: Path) -> None:
    await store.erase_user(person)
    await store.register(person)
    await store.patch(person, "params", {"leverage": 33})
    await back_up(store, tmp_path / "new.zip")
    await restore_backup(store, tmp_path / "new.zip", replace=True)
    found = await store.get(person, "params")
    assert found is not None
    assert found.settings["leverage"] == 33
    assert not (await verify(store._connections)).findings
