"""Archive: a backup of everything with its full history, and the way back.

A backup is a ZIP file: one member per table, as COPY writes it, and manifest.json, the last one written, with
columns, row counts and SHA-256 of each. The credentials in it are ciphertext, as in the tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any, BinaryIO

from store.api.base import Core
from store.arguments import check_okx_uid
from store.coherence.verify import verify
from store.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    NotMigrated,
    RedisUnavailable,
    StoreError,
    UnknownUser,
)
from store.operations.threads import in_thread
from store.postgres import functions, migrate
from store.postgres.call import Call
from store.postgres.database import Transaction

log = logging.getLogger(__name__)

# In the order in which references allow the tables to be copied in.
TABLES = (
    "setting_types",
    "setting_fields",
    "setting_rules",
    "setting_templates",
    "app_users",
    "trading_halts",
    "setting_locks",
    "telegram_links",
    "user_settings",
    "okx_api_info",
    "trade_orders",
    "trades",
    "scheduled_changes",
    "scheduled_change_users",
    "rollouts",
    "rollout_users",
    "rollout_results",
)
MERGED = ("app_users", "user_settings")
# Other programs may have columns of theirs there (docs/migrating.md): not the store's to back up. Nor is saved_in.
OURS = {
    "app_users": (
        "id", "okx_uid", "telegram_id", "name", "telegram_username", "version", "created_at", "updated_at",
        "deleted_at",
    ),
    "user_settings": (
        "id", "user_id", "okx_uid", "telegram_id", "setting_type", "settings", "version", "is_active", "created_at",
        "updated_at", "deleted_at", "changed_by", "change_reason", "written_by",
    ),
    "okx_api_info": (
        "id", "user_id", "okx_uid", "api_key", "api_secret", "passphrase", "version", "is_active", "created_at",
        "updated_at", "deleted_at", "changed_by", "change_reason", "written_by",
    ),
}  # fmt: skip
NOT_OF_PROBE = "{} is distinct from public.probe_okx_uid()"  # which is no user; a restore leaves it alone
WANTED = {
    **dict.fromkeys(("app_users", "user_settings", "trades"), NOT_OF_PROBE.format("okx_uid")),
    "telegram_links": NOT_OF_PROBE.format("last_okx_uid"),
    "okx_api_info": f"version > 0 and {NOT_OF_PROBE.format('okx_uid')}",  # 0 stands for none, for old code only
    "setting_locks": "not is_cold",  # of bots that run: they lock anew
    "trade_orders": f"user_id in (select id from public.app_users where {NOT_OF_PROBE.format('okx_uid')})",
}
# A backup made before that migration hasn't them.
SINCE = {
    "trade_orders": "0008_trades", "trades": "0008_trades", "setting_rules": "0027_descriptions_and_rules",
    "scheduled_changes": "0028_scheduled_changes", "scheduled_change_users": "0028_scheduled_changes",
    **dict.fromkeys(("rollouts", "rollout_users", "rollout_results"), "0031_rollouts"),
    "trading_halts": "0030_halts",
    "setting_locks": "0029_locks",
}  # fmt: skip
FORMAT = "settings-store backup"
VERSION = 1
MANIFEST = "manifest.json"
BLOCK = 1 << 20  # bytes
PAGE = 100  # users a query
# What reading a ZIP file raises that was cut or damaged, and reading a manifest that holds anything.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, ValueError, TypeError, AttributeError,
    OverflowError, RuntimeError, OSError,
)  # fmt: skip
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack into memory without limit


class BadBackup(StoreError):
    """The file is no backup, is damaged, or was made by a newer release. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a backup."""

    columns: list[str]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `migrations`: how far the schema was."""

    made_at: datetime
    release: str
    migrations: list[str]
    tables: dict[str, Table]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore left behind. `versions`: those that came back, or that a merge made. `mirrored`: Redis is up to it
    already; if not, the relay brings it up, and verify should look. `unknown`: keys of users that the database
    doesn't know; sync takes them over."""

    manifest: Manifest
    users: int
    versions: int
    mirrored: bool
    unknown: int = 0


async def count_rows(store: Core, tables: Sequence[str] = TABLES) -> int | None:
    """Estimate how many rows tables have, from the statistics; None if there are none, as before the first ANALYZE."""
    query = (
        "select sum(c.reltuples)::bigint as rows, bool_or(c.reltuples < 0) as is_unknown"
        "  from unnest(%(tables)s::text[]) t (name) join pg_class r on r.oid = to_regclass('public.' || t.name)"
        "  left join pg_inherits i on i.inhparent = r.oid join pg_class c on c.oid = coalesce(i.inhrelid, r.oid)"
    )  # of a hypertable its chunks
    (row,) = await store._connections.database.fetch(Call(query, {"tables": list(tables)}))
    return None if row["is_unknown"] else row["rows"]


async def backup(store: Core, file: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> Manifest:
    """Write everything, as of one moment, while writers write; `progress` is told of rows. Raises NotMigrated."""
    migrations = await _check_schema(store)
    tables: dict[str, Table] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        async with store._connections.database.transaction(snapshot=True) as transaction:
            await transaction.fetch(functions.access.check_confinement(None))  # else it would be a backup of one user
            for name in TABLES:
                columns = [row["name"] for row in await transaction.fetch(_table_columns(name))]
                digest, rows = hashlib.sha256(), 0
                with archive.open(name, "w", force_zip64=True) as member:
                    async for block in transaction.copy_out(_copy_out(name, columns)):
                        member.write(block)
                        digest.update(block)
                        lines = block.count(b"\n")
                        rows += lines
                        progress(lines)
                tables[name] = Table(columns, rows, digest.hexdigest())
        manifest = Manifest(datetime.now(UTC), release_of("settings-store"), migrations, tables)
        described = {**asdict(manifest), "made_at": manifest.made_at.isoformat()}
        archive.writestr(MANIFEST, json.dumps({"format": FORMAT, "version": VERSION, **described}, indent=4))
    return manifest


async def restore_backup(
    store: Core,
    path: Path,
    *,
    replace: bool = False,
    merge: bool = False,
    okx_uid: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
    expect: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Bring a backup back, in one transaction.

    Into an empty database: every row as it was. `replace`: the same after throwing away what is there. `merge`:
    every user's documents of the backup become new versions where they differ; `okx_uid`: those of one user.
    Afterwards Redis is brought to what PostgreSQL has; what only Redis had is kept in the history first. `progress`
    is told of rows read from the backup, `expect` of all there are, before. Raises BadBackup (before anything is
    written), NotEmpty, NotMigrated, UnknownUser (not in the backup).
    """
    if okx_uid is not None:
        check_okx_uid(okx_uid)
    manifest = check_backup(path)
    known = await _check_schema(store)
    newer = [migration for migration in manifest.migrations if migration not in known]
    if newer:
        raise BadBackup(f"{path} was made by a newer release", detail=f"unknown migrations: {', '.join(newer)}")
    is_merge = merge or okx_uid is not None
    expect(sum(manifest.tables[name].rows for name in (MERGED if is_merge else manifest.tables)))
    with zipfile.ZipFile(path) as archive:
        if is_merge:
            users, versions = await _merge(store, archive, manifest, okx_uid, progress)
            return Restored(manifest, users, versions, await store._mirror_owners(None))
        async with store._connections.database.transaction() as transaction:
            await transaction.fetch(functions.files.begin_restore(replace))
            for name, table in manifest.tables.items():
                await _check_columns(transaction, name, table)
                await _copy_rows(transaction, archive, name, table, progress)
            await transaction.fetch(functions.files.end_restore())
    try:
        mirrored, unknown = await _mirror(store)
    except asyncio.CancelledError:
        log.warning("the backup is restored in PostgreSQL, but not brought to Redis: settings-store relay --once")
        raise
    tables = manifest.tables
    return Restored(manifest, tables["app_users"].rows, tables["user_settings"].rows, mirrored, unknown)


def check_backup(path: Path) -> Manifest:
    """Read a backup to its end and compare it with its manifest. Raises BadBackup."""
    problem = "it is no backup of this program, or it was cut"
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # opening a pipe would wait
            raise InvalidArgument(f"{path} can't be read: not a regular file")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} can't be read: {getattr(error, 'strerror', 'not a file name')}") from None
    try:
        with file, zipfile.ZipFile(file) as archive:
            if any(member.compress_type not in PACKED for member in archive.infolist()):
                raise ValueError("packed in another way")
            with archive.open(MANIFEST) as member:
                text = member.read(BLOCK + 1)
            if len(text) > BLOCK:
                raise ValueError("no manifest of ours")
            described = json.loads(text)
            if described["format"] == FORMAT and described["version"] == VERSION:
                manifest = _manifest(described)
                damaged = [name for name, table in manifest.tables.items() if not _is_intact(archive, name, table)]
                if not damaged:
                    return manifest
                problem = f"damaged: {', '.join(damaged)}"
            elif described["format"] == FORMAT:
                problem = "it was made by a newer release"
    except DAMAGE:
        pass
    raise BadBackup(f"{path} can't be restored: {problem}")


async def _mirror(store: Core) -> tuple[bool, int]:
    """Bring everything to Redis, and look at its content, too: a version may stand for another now than before the
    restore. Return whether that worked, and how many keys are of nobody the database knows."""
    if await store._mirror_owners(None):
        with contextlib.suppress(RedisUnavailable, DatabaseUnavailable):
            report = await verify(store._connections, repair=True)
            unknown = report.findings["orphan"] + report.findings["unmarked"]
            return report.remaining <= unknown, report.remaining
    return False, 0


async def _merge(
    store: Core, archive: zipfile.ZipFile, manifest: Manifest, okx_uid: str | None, progress: Callable[[int], None]
) -> tuple[int, int]:
    """Save documents of the backup as new versions; return how many users it has of them, and how many versions
    that made."""
    users, documents, after = 0, 0, ""
    reason = f"from the backup of {manifest.made_at.astimezone():%Y-%m-%d %H:%M}"
    async with store._connections.database.transaction() as transaction:
        for name in MERGED:
            copy = f"{_copy_in(f'restored_{name}', manifest.tables[name].columns)} where"
            conditions = ["true"] if name == "app_users" else ["is_active and deleted_at is null"]
            conditions += [] if okx_uid is None else [f"okx_uid = '{okx_uid}'"]  # digits only
            await _check_columns(transaction, name, manifest.tables[name])
            await transaction.fetch(_make_temporary(name))
            await transaction.copy_in(f"{copy} {' and '.join(conditions)}", _blocks(archive, name, progress))
            await transaction.fetch(_index(name))
        while True:
            rows = await transaction.fetch(_restored_users(okx_uid, after, PAGE))
            if not rows:
                break
            call = store._by(functions.files.import_users(f"[{','.join(row['document'] for row in rows)}]", False))
            saved = await transaction.fetch(call if call.params["reason"] else store._by(call, reason=reason))
            users, after = users + len(rows), rows[-1]["okx_uid"]
            documents += sum(row["setting_type"] is not None and row["outcome"] != "unchanged" for row in saved)
    if okx_uid is not None and not users:
        raise UnknownUser(f"the backup has no user {okx_uid}", detail="or only as a deleted one")
    return users, documents


async def _copy_rows(
    transaction: Transaction, archive: zipfile.ZipFile, name: str, table: Table, progress: Callable[[int], None]
) -> None:
    """Copy rows into a table; by a temporary one for whom row-level security holds: COPY doesn't do that."""
    (row,) = await transaction.fetch(
        Call("select row_security_active(%(table)s) as is_held", {"table": f"public.{name}"})
    )
    if not row["is_held"]:
        await transaction.copy_in(_copy_in(f"public.{name}", table.columns), _blocks(archive, name, progress))
        return
    columns = ", ".join(table.columns)
    await transaction.fetch(_make_temporary(name))
    await transaction.copy_in(_copy_in(f"restored_{name}", table.columns), _blocks(archive, name, progress))
    insert = f"insert into public.{name} ({columns}) select {columns} from restored_{name}"
    await transaction.fetch(Call(insert, {}))


async def _check_columns(transaction: Transaction, name: str, table: Table) -> None:
    """Refuse a backup with columns that the table hasn't; they go into a statement. Raises BadBackup."""
    known = {row["name"] for row in await transaction.fetch(_table_columns(name))}
    if not known.issuperset(table.columns):
        raise BadBackup(f"the backup's table {name} has columns that this release doesn't know")


async def _check_schema(store: Core) -> list[str]:
    """Return the migrations of the database, which must be those of this release. Raises NotMigrated."""
    status = await in_thread(lambda: migrate.status(store.config.database_url or ""))
    if status.pending:
        raise NotMigrated("the database is not up to date", hint="Run: settings-store migrate")
    return status.applied


def _manifest(described: dict[str, Any]) -> Manifest:
    tables = {
        name: Table([str(column) for column in table["columns"]], int(table["rows"]), str(table["sha256"]))
        for name, table in described["tables"].items()
    }
    migrations = [str(name) for name in described["migrations"]]
    needed = {name for name in TABLES if name not in SINCE or SINCE[name] in migrations}
    if not needed <= set(tables) <= set(TABLES):
        raise ValueError("other tables")
    ordered = {name: tables[name] for name in TABLES if name in tables}
    made_at = datetime.fromisoformat(described["made_at"])
    made_at.astimezone()  # it is shown so: not everything between the years 1 and 9999 can be
    return Manifest(made_at, str(described["release"]), migrations, ordered)


def _is_intact(archive: zipfile.ZipFile, name: str, table: Table) -> bool:
    digest, rows = hashlib.sha256(), 0
    for block in _blocks(archive, name):
        digest.update(block)
        rows += block.count(b"\n")
    return (digest.hexdigest(), rows) == (table.sha256, table.rows)


def _blocks(archive: zipfile.ZipFile, name: str, progress: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    with archive.open(name) as member:
        while block := member.read(BLOCK):
            yield block
            progress(block.count(b"\n"))


def _table_columns(table: str) -> Call:
    query = (
        "select attname as name from pg_attribute"
        " where attrelid = %(table)s::regclass and attnum > 0 and not attisdropped and attgenerated = ''"
        " and (%(ours)s::text[] is null or attname = any (%(ours)s)) order by attnum"
    )
    return Call(query, {"table": f"public.{table}", "ours": list(OURS[table]) if table in OURS else None})


def _copy_out(table: str, columns: Sequence[str]) -> str:
    # A query: of a hypertable itself, COPY writes nothing.
    query = f"select {', '.join(columns)} from public.{table} where {WANTED.get(table, 'true')}"
    return f"copy ({query}) to stdout (encoding 'UTF8')"


def _copy_in(table: str, columns: Sequence[str]) -> str:
    return f"copy {table} ({', '.join(columns)}) from stdin (encoding 'UTF8')"


def _make_temporary(table: str) -> Call:
    """Make a table like that one, to look into a backup; gone with the transaction."""
    query = f"create temporary table restored_{table} (like public.{table} including defaults including generated)"
    return Call(f"{query} on commit drop", {})


def _index(table: str) -> Call:
    """Let users be found in such a table, which would be read whole for each of them."""
    return Call(f"create index on restored_{table} (okx_uid)", {})


def _restored_users(okx_uid: str | None, after: str, limit: int) -> Call:
    """Users of the backup in those tables, as import_users() takes them; without a Telegram ID that is taken by now."""
    query = """
        select u.okx_uid, jsonb_build_object(
                   'okx_uid', u.okx_uid, 'name', u.name, 'telegram_username', u.telegram_username,
                   'telegram_id', case when not exists (select from public.app_users o
                                                         where o.telegram_id = u.telegram_id and o.okx_uid <> u.okx_uid
                                                           and o.deleted_at is null)
                                       then u.telegram_id end,
                   'settings', (select coalesce(jsonb_object_agg(s.setting_type, s.settings), '{}')
                                  from restored_user_settings s where s.okx_uid = u.okx_uid))::text as document
          from restored_app_users u
         where u.okx_uid > %(after)s and (%(okx_uid)s::text is null or u.okx_uid = %(okx_uid)s) and u.deleted_at is null
         order by u.okx_uid limit %(limit)s"""
    return Call(query, {"okx_uid": okx_uid, "after": after, "limit": limit})
