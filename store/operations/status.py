"""One look at everything: both servers, the schema, counts. No secrets: of URLs only where and who."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from store.coherence.connections import Connections
from store.config import Config, names
from store.errors import StoreError
from store.models import HaltRecord
from store.operations.health import timescaledb_problems
from store.operations.threads import in_thread
from store.postgres import functions, migrate
from store.postgres.call import Call

OVERDUE = 5.0  # seconds that a scheduled change may be late; a relay looks every second


async def gather(config: Config) -> dict[str, Any]:
    """Ask both stores. What can't be reached is there with its `error`."""
    stores = Connections(config)
    try:
        servers = {"postgresql": await _postgresql(config, stores), "redis": await _redis(stores)}
        return {**servers, "config": config.shown(), "prefixed": sorted(map(config.variable, config.prefixed))}
    finally:
        await stores.close()


def unreachable(found: dict[str, Any]) -> bool:
    """Tell whether a store did not answer."""
    return any("version" not in found[server] for server in ("postgresql", "redis"))


def lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Put what gather() found in words, a line each."""
    database, redis = found["postgresql"], found["redis"]
    yield "PostgreSQL", database.get("version") or database["error"]
    if "pending_migrations" in database:
        yield "schema", _schema_line(database)
        if "timescaledb" in database:
            yield "TimescaleDB", _timescaledb_line(database["timescaledb"])
        for name in ("users", "settings", "versions", "pending", "set_aside"):
            if name in database:
                yield name.replace("_", " "), str(database[name])
        if "scheduled" in database:
            yield "scheduled changes", _scheduled_line(database["scheduled"])
        if "halts" in database:
            yield "halted", _halts_line(database["halts"])
        if "last_verify" in database:
            yield "last verify", _verify_line(database["last_verify"])
    yield redis.get("server", "Redis"), redis.get("version") or redis["error"]
    for name, value in found["config"].items():
        prefixed = names(name)[0]
        yield (prefixed if prefixed in found["prefixed"] else name), value or "-"


def _schema_line(database: dict[str, Any]) -> str:
    pending, drifted = database["pending_migrations"], database["drifted"]
    if not pending and not drifted:
        return "up to date"
    parts = []
    if pending:
        parts.append(f"pending migrations: {', '.join(pending)}")
    if drifted:
        name, why = next(iter(drifted.items()))
        more = f", and {len(drifted) - 1} more (settings-store migrate status)" if len(drifted) > 1 else ""
        parts.append(f"{name}: {why}{more}")
    return "; ".join(parts) + " — run: settings-store migrate"


def _halts_line(halts: list[HaltRecord]) -> str:
    if not halts:
        return "nobody"
    first = f"{halts[0].scope}, since {_second(halts[0].since.astimezone(UTC).isoformat())}: {halts[0].reason}"
    return first + (f"; and {len(halts) - 1} more (settings-store halts)" if len(halts) > 1 else "")


def _second(time: str) -> str:
    return f"{time[:19]} UTC"


def _verify_line(found: dict[str, Any] | None) -> str:
    if found is None:
        return "never, of all keys — run: settings-store verify"
    counts = ", ".join(f"{number} {kind}" for kind, number in found["findings"].items()) or "no findings"
    return f"{_second(found['finished_at'])}: {counts}" + (
        f", {found['repaired']} repaired" if found["repaired"] else ""
    )


def _scheduled_line(found: dict[str, Any]) -> str:
    line = f"{found['to_come']} to come"
    if found["failed"]:
        line += f", {found['failed']} failed or expired in the last 7 days — see: settings-store schedule list"
    if found["overdue"] > OVERDUE:
        line += f"; the oldest is due since {found['overdue']:.0f} s: does a relay run?"
    return line


def _timescaledb_line(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not installed; ordinary tables"
    line = f"{found['version']}, licence {found['licence']}, {found['hypertables']} of {found['tables']} hypertables"
    if found["hypertables"] < found["tables"]:
        line += " — run: settings-store migrate"
    if found["skipped"]:
        line += f"; {' and '.join(found['skipped'])}: skipped, needs the Timescale licence"
    return "; ".join([line, *timescaledb_problems(found)])


async def _postgresql(config: Config, stores: Connections) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        rows = await stores.database.fetch(Call("select current_setting('server_version') as version", {}))
        found["version"] = rows[0]["version"]
        state = await in_thread(lambda: migrate.status(config.database_url or ""))
        found |= {"pending_migrations": state.pending, "drifted": state.drifted}
        if state.is_current:
            found |= (await stores.database.fetch(functions.operations.store_statistics()))[0]
            (row,) = await stores.database.fetch(functions.schedules.scheduled_change_statistics())
            found["scheduled"] = {**row, "overdue": row["overdue"].total_seconds()}
            rows = await stores.database.fetch(functions.operations.timescaledb_state())
            found["timescaledb"] = rows[0] if rows else None
            rows = await stores.database.fetch(functions.mirror.last_verification())
            found["last_verify"] = _as_utc(rows[0]) if rows else None
            rows = await stores.database.fetch(functions.halts.list_halts(False))
            found["halts"] = [HaltRecord(**row) for row in rows]
    except StoreError as error:
        found["error"] = str(error)
    return found


def _as_utc(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "finished_at": row["finished_at"].astimezone(UTC).isoformat()}


async def _redis(stores: Connections) -> dict[str, Any]:
    try:
        info = await stores.mirror.server()
    except StoreError as error:
        return {"error": str(error)}
    if "valkey_version" in info:
        return {"server": "Valkey", "version": info["valkey_version"]}
    return {"server": "Redis", "version": info["redis_version"]}
