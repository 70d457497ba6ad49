"""What the tests of backups share: data of every sort, the rows of a database, backups made by hand."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from store import Config, SettingsStore
from store.files import backup
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.trades import trade

Db = psycopg.Connection[dict[str, Any]]
Content = dict[str, list[bytes]]

OTHER_UID = "100000000000000002"
DELETED_UID = "100000000000000003"
HOSTILE = {"?text": 'tab\t line\n back\\slash \\N \\. "롱" 🚀 \u2028', "?n": 12345678901234567890123, "?null": None}


async def populate(store: SettingsStore, db: Db) -> None:
    """Make users with a history, with deletions, links come and gone, a template, a type of our own and a rollout."""
    db.execute("insert into setting_types values ('extra', 'extra', 'json')")
    db.execute("insert into setting_fields (setting_type, key, json_type) values ('extra', 'a', 'string')")
    db.execute("update setting_fields set description = '', description_ko = '내 설명' where key = 'leverage'")
    rule = '$.a starts with "x\\\\ " || $.a != "y\t"'
    db.execute("select save_setting_rule('extra', 'odd', %s, 'is odd', '이상합니다')", (rule,))
    db.execute("""select save_setting_template('careful', 'params', '{"leverage": 2}')""")
    await store.register(OKX_UID, TELEGRAM_ID, name="Kim\\N\t롱")
    await store.patch(OKX_UID, "params", {"leverage": 20}, reason="more\nrisk")
    await store.save(OKX_UID, "extra", HOSTILE)
    await store.delete(OKX_UID, "dual_side")
    await store.record_trade(OKX_UID, trade(extra=HOSTILE, leverage=2, exit_fee="0.10", currency="BTC", funding_fee=-1))
    await store.schedule_change(OKX_UID, "params", {"leverage": 3}, for_=timedelta(days=1), reason="for\na day")
    await store.schedule_changes("extra", {"a": HOSTILE["?text"]}, filter={}, at=datetime(2099, 1, 1, tzinfo=UTC))
    await store.register(OTHER_UID, "22222")
    await store.unlink(OTHER_UID)
    await store.link(OTHER_UID, "33333")
    await store.register(DELETED_UID, "44444")
    await store.delete_user(DELETED_UID)
    db.execute("select begin_rollout('first', 'careful', 'params', '{0.01}', p_step_time => '1 day 2 hours')")
    db.execute("update rollout_users set version = 2, before = '{}', after = '{\"leverage\": 2}', kept = '{a\tb}'")
    db.execute(
        "insert into rollout_results values"
        " ('first', 1, 1, now(), now(), 20, 100, 0.1, 20, 100, 1e30, -1e30, -1e300, 'NaN', 0.05 / 6, 'open')"
    )
    await store.halt_trading("tab\\t, 롱", OKX_UID, symbol="BTC-USDT-SWAP")
    await store.lock_setting(OTHER_UID, "params", ["direction"], reason="tab\\t, 롱")
    await store.halt_trading("over")
    await store.resume_trading("over", actor="kim")


async def back_up(store: SettingsStore, path: Path) -> backup.Manifest:
    with path.open("wb") as file:
        return await backup.backup(store, file)


def content(db: Db) -> Content:
    """Every row of every table, as COPY writes it; but for the order of changes, which is of the server."""
    found: Content = {}
    for name in backup.TABLES:
        columns = ", ".join(backup.OURS.get(name, "*"))
        with db.cursor().copy(f"copy (select {columns} from {name} t order by t::text) to stdout".encode()) as copy:
            found[name] = b"".join(bytes(block) for block in copy).splitlines()
    return found


def table_rows(db: Db, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in db.execute(query.encode(), parameters)]


def manifest_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        manifest: dict[str, Any] = json.loads(file.read(backup.MANIFEST))
    return manifest


def craft(path: Path, source: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes] | None = None) -> Path:
    """Write a backup like that one, with this manifest and other members; their hashes are right."""
    made = json.loads(json.dumps(manifest))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in backup.TABLES:
            data = (members or {}).get(name, old.read(name))
            new.writestr(name, data)
            if name in (members or {}):
                made["tables"][name] |= {"rows": data.count(b"\n"), "sha256": hashlib.sha256(data).hexdigest()}
        new.writestr(backup.MANIFEST, json.dumps(made))
    return path


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(name)


def on(config: Config, database_url: str) -> SettingsStore:
    """Make a store on another database."""
    return SettingsStore(replace(config, database_url=database_url))
