"""How everything is looked up among 200,000 users: by which index, and how many rows are read for it. Never by time.

So many, and a million on Debian's PostgreSQL, because that is where it shows: with a few thousand every table fits into
the cache, whatever reads all of it still answers in milliseconds, and the planner is right to scan a small table. Plans
are those PostgreSQL used inside the functions (auto_explain), so that no query is copied here.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import make_conninfo

from store import Config
from store.encryption.fields import FIELDS
from store.models import Candle
from store.postgres import functions
from store.postgres.call import Call
from tests.conftest import janitor
from tests.helpers import crowd, plans
from tests.helpers.crowd import okx_uid, telegram_id
from tests.helpers.plans import Scan
from tests.helpers.sessions import Connection, fetch, value

pytestmark = pytest.mark.slow

UID, OTHER, DELETED, TELEGRAM = okx_uid(0), okx_uid(2), okx_uid(99), telegram_id(0)
USER_ID = UUID(crowd.uuid(0))
NOBODY, FREE_TELEGRAM = "7000000000000000", "77777777"
MOMENT = crowd.BEGIN + timedelta(minutes=crowd.MANY_VERSIONS // 2)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
SOME = [okx_uid(n) for n in range(0, 1000, 2)]  # none of them deleted
ONE = Decimal(1)
CANDLE = Candle(crowd.BEGIN, "1-USDT-SWAP", ONE, ONE, ONE, ONE, ONE)
SEALED = dict.fromkeys(FIELDS, "v1.01234567.other")
TRADE = {
    "symbol": "BTC-USDT-SWAP", "side": "long", "entry_time": "2026-11-01T00:00Z", "entry_price": 1, "entry_size": 1,
    "exit_time": "2026-11-01T01:00Z", "exit_price": 1, "exit_size": 1, "realized_pnl": 1, "exit_order_id": "new",
}  # fmt: skip

# mirror_pending is none: it holds what Redis hasn't yet, which is little or nothing, and is scanned. So are rollouts.
BIG = {table for tables in crowd.FILL for table in tables} - {"mirror_pending", "rollouts"}
ENOUGH = 10_000  # rows of a table that one statement may read; a page of 500 users has some 1,500

BY_UID, BY_TELEGRAM, BY_UUID = "app_users_okx_uid_unique", "app_users_telegram_id_unique", "app_users_pkey"
ACTIVE, ACTIVE_OF_USER = "idx_user_settings_unique_active", "idx_user_settings_user_id"
OF_USER = (ACTIVE, ACTIVE_OF_USER)  # whichever: which documents a user has
ACTIVE_BY_UID, BY_CONTENT = "idx_user_settings_okx_uid", "idx_user_settings_jsonb"
BY_VERSION, IN_ORDER = "user_settings_version_unique", "idx_user_settings_saved_in"
CREDENTIALS, CREDENTIALS_BY_UID = "idx_okx_api_info_unique_active", "idx_okx_api_info_okx_uid"
LINK, LINKS_OF_USER = "telegram_links_pkey", "telegram_links_last_okx_uid"
MIRROR = {ACTIVE_BY_UID, CREDENTIALS_BY_UID, BY_UID, LINK, LINKS_OF_USER}
TRADES = {"idx_trades_user_exit", "idx_trades_user_symbol_exit"}  # of one chunk this, of another that
CANDLES = "ohlcv_1m_pkey"


@dataclass(frozen=True)
class Lookup:
    """A function of store/postgres/functions/ with arguments, and the indexes it may use of the big tables."""

    function: Callable[..., Call]
    arguments: tuple[Any, ...]
    indexes: frozenset[str]

    @property
    def call(self) -> Call:
        return self.function(*self.arguments)


def by(indexes: set[str], function: Callable[..., Call], *arguments: Any) -> Lookup:
    return Lookup(function, arguments, frozenset(indexes))


LOOKUPS = {
    "a user by OKX UID": by({BY_UID}, functions.users.find_user, UID),
    "a user by Telegram ID": by({BY_TELEGRAM}, functions.users.find_user, TELEGRAM),
    "a user by UUID": by({BY_UUID}, functions.users.find_user, str(USER_ID)),
    "a user as of old": by({BY_UID, CREDENTIALS}, functions.users.user_record, UID),
    "the first users": by({BY_UID}, functions.users.list_users, None, 100),
    "a page of users": by({BY_UID}, functions.users.list_users, okx_uid(crowd.USERS // 2), 100),
    "a document": by({BY_UID, ACTIVE}, functions.settings.get_user_settings, UID, "params"),
    "a document of many": by({BY_UID, ACTIVE}, functions.settings.get_user_settings_of_many, SOME, "params", None),
    "all documents": by({BY_UID, ACTIVE, ACTIVE_OF_USER}, functions.settings.get_user_settings, UID, None),
    "all documents as of old": by({BY_UID, ACTIVE, ACTIVE_OF_USER}, functions.settings.user_setting_rows, UID, None),
    "the document of a symbol": by(
        {BY_UID, ACTIVE, ACTIVE_OF_USER}, functions.settings.get_user_settings, UID, "dual_side", "BTC-USDT-SWAP"
    ),
    "what documents of symbols there are": by(
        {BY_UID, ACTIVE, ACTIVE_OF_USER}, functions.settings.names_of_symbols, UID
    ),
    "users by a rare setting": by(
        {BY_CONTENT}, functions.settings.find_users_by_setting, "params", {"btc_investment": 7}, None, 100
    ),
    "users by a common setting": by(
        {BY_CONTENT, ACTIVE_BY_UID}, functions.settings.find_users_by_setting, "params", {"leverage": 7}, None, 50
    ),
    "users by what all have": by({ACTIVE_BY_UID}, functions.settings.find_users_by_setting, "params", {}, None, 100),
    "the newest versions": by(
        {BY_UID, BY_VERSION, *OF_USER}, functions.history.user_setting_history, UID, None, None, 20
    ),
    "a page of versions": by({BY_UID, BY_VERSION}, functions.history.user_setting_history, UID, "params", MOMENT, 20),
    "a version": by({BY_UID, BY_VERSION}, functions.history.user_setting_version, UID, "params", 500),
    "versions to compare": by({BY_UID, BY_VERSION}, functions.history.diff_user_setting, UID, "params", 3, 700),
    "the version at a moment": by({BY_UID, BY_VERSION}, functions.history.user_setting_at, UID, "params", MOMENT),
    "all versions at a moment": by(
        {BY_UID, BY_VERSION, *OF_USER}, functions.history.user_setting_at, UID, None, MOMENT
    ),
    "the first changes": by({IN_ORDER, BY_VERSION}, functions.history.changes_after, None, 1000),
    "where changes since a moment begin": by({IN_ORDER}, functions.history.changes_since, MOMENT),
    "changes that are held back": by({IN_ORDER}, functions.history.changes_held),
    "a page of an export": by({BY_UID, ACTIVE, ACTIVE_OF_USER}, functions.files.export_users, None, False, UID, 500),
    "an export of one user": by(
        {BY_UID, BY_UUID, ACTIVE, ACTIVE_OF_USER}, functions.files.export_users, [UID], False, None, 500
    ),
    "keys of some owners": by(MIRROR, functions.mirror.mirror_source, [UID, TELEGRAM]),
    "some keys": by(MIRROR, functions.mirror.mirror_state, [UID, UID, TELEGRAM], ["params", "user", "telegram"]),
    "500 keys": by(MIRROR, functions.mirror.mirror_state, SOME, ["params"] * 500),
    "500 keys without documents": by(MIRROR, functions.mirror.known_keys, SOME, ["params"] * 500),
    "who was erased": by({BY_UID, LINK}, functions.users.erased_owners, [UID, TELEGRAM]),
    "keys that are marked": by(MIRROR, functions.mirror.pending_keys, None, None, 500),
    "what was marked lately": by(MIRROR, functions.mirror.fresh_keys, functions.mirror.Snapshot("1:1:"), 500),
    "marked keys of some owners": by(MIRROR, functions.mirror.pending_keys, [UID], None, 500),
    "what is marked of some owners": by(MIRROR, functions.mirror.marked_keys, [UID]),
    "credentials": by({BY_UID, CREDENTIALS}, functions.credentials.get_api_credentials, UID),
    "versions of credentials": by(
        {BY_UID, "okx_api_info_version_unique"}, functions.credentials.api_credentials_history, UID
    ),
    "credentials of some": by({CREDENTIALS_BY_UID}, functions.credentials.list_api_credentials, [UID]),
    "a page of credentials": by(
        {"okx_api_info_pkey", CREDENTIALS_BY_UID}, functions.credentials.list_api_credentials,
        *(None, UUID(crowd.uuid(1)), 100),
    ),
    "the newest trades": by({BY_UID, *TRADES}, functions.trades.get_trades, UID, None, None, None, None, None, 20),
    "a page of trades": by(
        {BY_UID, *TRADES}, functions.trades.get_trades, UID, None, "long", crowd.BEGIN, None, (MOMENT, USER_ID), 20
    ),
    "trades of a symbol": by(
        {BY_UID, *TRADES},
        functions.trades.get_trades, UID, "BTC-USDT-SWAP", None, crowd.BEGIN, None, None, 20,
    ),
    "a user's statistics": by(
        {BY_UID, *TRADES}, functions.trades.trade_statistics, UID, ["symbol"]
    ),
    "statistics by version": by(
        {BY_UID, *TRADES, BY_VERSION},
        functions.trades.trade_statistics_by_setting_version, UID, "params",
    ),
    "statistics by value": by(
        {BY_UID, *TRADES, BY_VERSION}, functions.trades.trade_statistics_by_setting_value, "params", "leverage", UID
    ),
    "a user's equity curve": by({BY_UID, *TRADES}, functions.trades.equity_curve, UID, "params"),
    "the first candles": by({CANDLES}, functions.candles.get_candles, CANDLE.symbol, "1m", None, None, None, 100),
    "a page of candles": by({CANDLES}, functions.candles.get_candles, CANDLE.symbol, "1m", None, None, MOMENT, 100),
    "gaps in candles": by({CANDLES}, functions.candles.missing_candles, CANDLE.symbol, "1m", crowd.BEGIN, MOMENT),
}  # fmt: skip


def document(owner: str, version: int = 1) -> dict[str, Any]:
    return {"owner": owner, "kind": "params", "version": version, "document": {"other": owner}}


def link(user: int) -> dict[str, Any]:
    """A link of another user's Telegram ID."""
    return {"owner": telegram_id(user + 2), "version": 0, "okx_uid": okx_uid(user)}


# All that writes, with its triggers and foreign keys; some need only tables that stay small.
KNOWN = {"okx_uid": UID, "telegram_id": TELEGRAM, "settings": {"params": {}}}
STRANGERS = [document(f"{7 * 10**15 + n}", 0) for n in range(500)]
WRITES: list[tuple[Callable[..., Call], tuple[Any, ...]]] = [
    (functions.settings.upsert_user_setting, (UID, "params", {"leverage": 77}, None)),
    (functions.settings.upsert_user_setting, (UID, "dual_side", {}, None)),
    (functions.settings.patch_user_setting, (UID, "params", {"leverage": 77}, None)),
    (functions.settings.save_user_settings, (UID, {"params": {"leverage": 77}, "preferences": {}})),
    (functions.settings.save_settings_of_users, ({uid: {"leverage": 78} for uid in SOME[:100]}, "params", None)),
    (functions.settings.delete_user_setting, (UID, "params", None)),
    (functions.history.rollback_user_setting, (UID, "params", 3, None)),
    (functions.history.rollback_user_settings, (UID, MOMENT)),
    (functions.history.restore_user_setting, (UID, "params", None)),
    (functions.history.prune_user_settings, (3, timedelta(0), UID, False)),
    (functions.users.register_user, (NOBODY, FREE_TELEGRAM, None, None, {}, "default")),
    (functions.users.ensure_user, (UID, FREE_TELEGRAM, None, None)),
    (functions.users.link_telegram, (UID, FREE_TELEGRAM, None)),
    (functions.users.unlink_telegram, (UID,)),
    (functions.users.delete_user, (UID,)),
    (functions.users.restore_user, (DELETED,)),
    (functions.users.erase_user, (UID,)),
    (functions.templates.save_setting_template, ("calm", "params", {"leverage": 3}, UID)),
    (functions.templates.list_setting_templates, (None, UID)),
    (functions.templates.apply_setting_template, ("default", "params", [UID, OTHER], None, False, False)),
    (functions.templates.apply_setting_template, ("default", "params", None, {"btc_investment": 7}, False, False)),
    (functions.schedules.schedule_change, (UID, "params", {"leverage": 77}, *[None] * 4, timedelta(1), None, None)),
    (functions.schedules.schedule_changes, ("params", [UID, OTHER], None, {}, None, LATER, None, None, None)),
    (functions.schedules.schedule_changes, ("params", None, {"btc_investment": 7}, {}, *[None] * 5)),
    (functions.schedules.list_scheduled_changes, (UID, True, None, 100)),
    (functions.schedules.run_due_changes, ()),
    (functions.schedules.scheduled_change_statistics, ()),
    (functions.rollouts.begin_rollout,
     ("new", "default", "params", [ONE], {"btc_investment": 7}, 1, "drawdown", "pause", None, ONE, None)),
    (functions.rollouts.advance_rollout, ("watched", None)),
    (functions.rollouts.pause_rollout, ("going",)),
    (functions.rollouts.resume_rollout, ("paused",)),
    (functions.rollouts.end_rollout, ("going", "roll_back")),
    (functions.rollouts.watch_rollouts, ("going",)),
    (functions.rollouts.list_rollout_results, ("going",)),
    (functions.files.import_users, (json.dumps([KNOWN]), False)),
    (functions.files.import_users, (json.dumps([{"okx_uid": NOBODY, "settings": {"params": {}}}]), False)),
    (functions.mirror.import_documents, (json.dumps([document(uid) for uid in SOME]), None, False)),
    (functions.mirror.import_documents, (json.dumps(STRANGERS), None, False)),
    (functions.mirror.keep_documents, (json.dumps([document(uid) for uid in SOME[:100]]),)),
    (functions.mirror.keep_documents, (json.dumps([document(uid) for uid in SOME]), True)),
    (functions.mirror.note_deleted_key, (FREE_TELEGRAM, "telegram", DELETED)),
    (functions.mirror.import_links, (json.dumps([link(n) for n in range(0, 200, 2)]), "redis", False)),
    (functions.credentials.save_api_credentials, (UID, SEALED, None)),
    (functions.credentials.import_credentials, ({f"{7 * 10**15 + n}": SEALED for n in range(99)},)),
    (functions.credentials.keep_losing_credentials, (UID, SEALED, 1)),
    (functions.credentials.delete_api_credentials, (UID, None)),
    (functions.credentials.reencrypt_api_credentials, (UUID(crowd.uuid("api0")), "another", SEALED)),
    (functions.credentials.seal_plain_credentials, (UUID(crowd.uuid("api0")), "another", SEALED)),
    (functions.mirror.clear_pending, (SOME, ["params"] * 500, [1] * 500, [False] * 500, [None] * 500)),
    (functions.mirror.pending_lag, ()),
    (functions.mirror.retry_pending, ()),
    (functions.mirror.fail_pending, ([(uid, "params", 1, "refused") for uid in SOME],)),
    (functions.trades.record_trade, (UID, json.dumps(TRADE))),
    (functions.trades.record_trades, (json.dumps([{"okx_uid": uid, **TRADE} for uid in SOME]),)),
    (functions.candles.upsert_candles, ("1m", [CANDLE], True)),
    (functions.candles.rollup_candles, (CANDLE.symbol, "1m", "5m", crowd.BEGIN, MOMENT, False)),
    (functions.catalogue.list_setting_types, ()),
    (functions.catalogue.check_setting_type, ("params",)),
    (functions.catalogue.convert_settings, ({"params": {"leverage": "3", "use_sl": 1}},)),
    (functions.catalogue.list_setting_fields, ("params",)),
    (functions.catalogue.list_setting_rules, ("params",)),
    (functions.catalogue.validate_user_setting, ("params", {"leverage": 300}, False)),
    (functions.catalogue.setting_schema, ("params", "en")),
    (functions.catalogue.list_secret_fields, ()),
    (functions.mirror.mirror_epoch, ()),
    (functions.mirror.begin_epoch, ()),
    (functions.mirror.end_epoch, ("x",)),
    (functions.users.erasures, ()),
    (functions.access.check_confinement, (UID,)),
    (functions.operations.timescaledb_state, ()),
    (functions.operations.write_probe, ("params", "a probe's words")),
    (functions.mirror.record_verification, (1, {}, 0)),
    (functions.mirror.last_verification, ()),
    (functions.halts.halt_trading, ("down", UID, "BTC-USDT-SWAP")),
    (functions.halts.resume_trading, ("up", UID, None)),
    (functions.halts.list_halts, (True,)),
    (functions.locks.lock_setting, (UID, "params", ["use_sl"], "audit", None, None)),
    (functions.locks.unlock_setting, (UID, "params", None, None)),
    (functions.locks.lock_cold_keys, (UID, "params", datetime(2999, 1, 1, tzinfo=UTC), None)),
    (functions.locks.unlock_cold_keys, (UID, "params", None)),
    (functions.locks.list_locks, (UID, "params")),
]  # fmt: skip

# What is about everybody, and reads everything: by design, and nothing else than what is named.
SCANS: dict[str, tuple[Callable[..., Call], tuple[Any, ...], set[str]]] = {
    "status counts users and versions": (functions.operations.store_statistics, (), {"app_users", "user_settings"}),
    "migrate encrypts what isn't": (functions.credentials.seal_api_credentials, (), {"okx_api_info"}),
    "deleted users are looked for among all": (functions.users.list_deleted_users, (None, None), {"app_users"}),
    "metrics count the keys": (
        functions.mirror.key_count, (), {"app_users", "user_settings", "okx_api_info", "telegram_links"},
    ),
    "prune for everybody": (functions.history.prune_user_settings, (3, timedelta(0), None, True), {"user_settings"}),
    "rollouts with how many have it": (functions.rollouts.list_rollouts, (None,), {"rollout_users"}),
    "a look at what everybody's trades of a step earned": (functions.rollouts.watch_rollouts, ("watched",), {"trades"}),
    "statistics of everybody": (functions.trades.trade_statistics, (None,), {"trades"}),
    "statistics of everybody by value": (
        functions.trades.trade_statistics_by_setting_value, ("params", "leverage", None), {"trades", "user_settings"},
    ),
    "the equity curve of everybody": (functions.trades.equity_curve, (None, "params"), {"trades"}),
}  # fmt: skip
# They fail without what was done before in the same session, have no row to read, or (copy_candles) are another's COPY.
UNSEEN = {
    *("begin_restore", "end_restore", "begin_candle_import", "merge_candles", "delete_setting_template"),
    *("clear_erased", "clear_former_life", "returned_owners", "erase_unknown", "copy_candles"),
    *("cancel_scheduled_change", "delete_rollout"),
}


@pytest.fixture(scope="module")
def crowd_url(servers: Config, template: str) -> Iterator[str]:
    """The URL of a database with many users; no test changes it."""
    assert servers.database_url
    with janitor(servers.database_url, f"test_{uuid4().hex[:12]}", template) as database:
        url = make_conninfo(servers.database_url, dbname=database.dbname)
        crowd.fill(url)
        yield url


@pytest.fixture
def explained(crowd_url: str) -> Iterator[Connection]:
    with plans.explaining(crowd_url) as connection:
        yield connection


def big(scans: list[Scan]) -> list[Scan]:
    """Keep the scans of big tables, be it of a hypertable's chunks."""
    return [scan for scan in scans if scan.table in BIG or scan.table.startswith("_hyper_")]


def wasteful(scans: list[Scan]) -> list[Scan]:
    """Keep the scans of big tables that read too much: all of it, or a whole index for a few of its rows. (A hypertable
    has its rows in chunks, and none itself.)"""
    return [scan for scan in big(scans) if (scan.way == "Seq Scan" and scan.rows) or scan.rows > ENOUGH]


def index_names(scans: list[Scan]) -> set[str]:
    """Name the indexes used of big tables; a chunk's by that of its hypertable."""
    used = {name for scan in big(scans) for name in scan.indexes}
    return {re.sub(r"^(_hyper_\d+_\d+_chunk|\d+_\d+)_", "", name) for name in used}


@pytest.mark.parametrize("name", LOOKUPS)
def test_lookup_reads_by_index(explained: Connection, name: str) -> None:
    scans = plans.scans(explained, LOOKUPS[name].call)
    assert big(scans), "it reads nothing: what is looked up isn't there"
    assert wasteful(scans) == []
    assert index_names(scans) <= LOOKUPS[name].indexes


@pytest.mark.parametrize("name", [name for name in LOOKUPS if name != "a document of many"])  # which is refused
def test_lookup_of_a_confined_session_reads_by_index(explained: Connection, name: str) -> None:
    fetch(explained, "select set_config('settings_store.okx_uid', %s, false)", (UID,))
    assert wasteful(plans.scans(explained, LOOKUPS[name].call)) == []


def test_a_page_of_changes_reads_by_index(explained: Connection) -> None:
    cursor = value(explained, "select cursor from changes_after(null) limit 1 offset 900")
    scans = plans.scans(explained, functions.history.changes_after(cursor, 1000))
    assert wasteful(scans) == []
    assert index_names(scans) == {IN_ORDER, BY_VERSION}


@pytest.mark.parametrize(("function", "arguments"), WRITES, ids=[function.__name__ for function, _ in WRITES])
def test_write_finds_its_rows_by_index(
    explained: Connection, function: Callable[..., Call], arguments: tuple[Any, ...]
) -> None:
    assert wasteful(plans.scans(explained, function(*arguments))) == []


@pytest.mark.parametrize("name", SCANS)
def test_what_is_about_everybody_scans_only_what_it_must(explained: Connection, name: str) -> None:
    function, arguments, tables = SCANS[name]
    scanned = wasteful(plans.scans(explained, function(*arguments), modes=plans.MODES[:1]))
    assert scanned, "it scans nothing any more: move it to the lookups"
    assert {scan.table for scan in scanned if not scan.table.startswith("_hyper_")} <= tables


def test_all_that_redis_should_hold_is_streamed(explained: Connection) -> None:
    """As verify and rebuild read it: whole tables, of which nothing is read before it is asked for."""
    scanned = big(plans.scans(explained, functions.mirror.mirror_source(), first=500))
    assert {scan.way for scan in scanned if scan.rows} == {"Seq Scan"}
    assert sum(scan.rows for scan in scanned) < ENOUGH


@pytest.mark.parametrize(
    "call", [functions.operations.store_statistics(), functions.users.list_deleted_users(None, None)]
)
def test_what_a_confined_session_sees_of_everybody_is_read_by_index(explained: Connection, call: Call) -> None:
    fetch(explained, "select set_config('settings_store.okx_uid', %s, false)", (UID,))
    assert wasteful(plans.scans(explained, call)) == []


@pytest.mark.parametrize(
    "query",
    [
        "select from user_settings s where s.changed_by = 'nobody'",  # no index
        "select count(*) from (select from app_users u where u.name <> 'Lee' order by u.okx_uid limit 50000) u",
    ],
)
def test_reading_too_much_is_seen(explained: Connection, query: str) -> None:
    """All of a table, or of an index: the tests above would fail."""
    assert wasteful(plans.scans(explained, Call(query, {})))


def test_every_statement_is_looked_at() -> None:
    every = {
        name
        for module in functions.SUBJECTS
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    seen = {lookup.function.__name__ for lookup in LOOKUPS.values()}
    seen |= {function.__name__ for function, _ in WRITES} | {function.__name__ for function, _, _ in SCANS.values()}
    assert every - seen == UNSEEN
    assert seen <= every
