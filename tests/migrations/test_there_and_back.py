"""300 users are adopted while old code goes on, rolled back, and adopted again: nothing lost, nothing revived."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.postgres import migrate
from tests.migrations import old_service
from tests.migrations.old_service import KEYS, OldService
from tests.migrations.predecessor import Connection, rows

pytestmark = pytest.mark.slow

TABLES = ("app_users", "okx_api_info", "user_settings", "payments", "hyperrsi_trades", "btc_usdt")
UNTOUCHED = range(1, 181)  # of these, nobody writes anything
OLD = range(181, 241)  # whom old code changes, before, during and after the adoption
OURS = range(241, 301)  # whom the store's functions change
HISTORY = """
    select u.okx_uid, s.setting_type, s.version, s.settings, s.is_active, s.deleted_at is not null, s.changed_by,
           s.change_reason
      from user_settings s join app_users u on u.id = s.user_id order by 1, 2, 3"""
CREDENTIALS = """
    select okx_uid, version, api_key, is_active, api_key is null, deleted_at is not null, changed_by, change_reason
      from okx_api_info where version > 0 order by 1, 2"""
LINKS = "select okx_uid, telegram_id from app_users where deleted_at is null order by 1"


def uid(n: int) -> str:
    return str(100000000000000000 + n)


@pytest.fixture
def crowd_url(empty_database_url: str) -> str:
    with psycopg.connect(empty_database_url) as connection:
        for name in ("predecessor.sql", "predecessor_crowd.sql"):
            connection.execute(Path(__file__).with_name(name).read_bytes())
    return empty_database_url


@pytest.fixture
def db(crowd_url: str) -> Iterator[Connection]:
    with psycopg.connect(crowd_url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def table_rows(db: Connection) -> dict[str, dict[str, dict[str, Any]]]:
    """Every row of the old tables, by its key."""
    return {
        name: {str(row[0].get("id", row[0].get("time"))) + row[0].get("timeframe", ""): row[0]
               for row in rows(db, f"select to_jsonb(t) from public.{name} t")}
        for name in TABLES
    }  # fmt: skip


def seen_by_old_code(service: OldService) -> dict[str, Any]:
    """What the old service reads of everybody, by OKX UID and Telegram ID: who, the keys, the documents by type."""
    seen: dict[str, Any] = {}
    for n in range(1, 311):
        ids = [str(1000000 + n)] * (n % 3 == 0) if n in UNTOUCHED else [str(1000000 + n), str(2000000 + n)]
        linked = [] if n % 37 in (0, 35) else ids  # shared ones lead to whom chance has it
        for identifier in (uid(n), *linked):
            found = service.fetch_user(identifier)
            documents = {} if found is None else {
                row["setting_type"]: {key: str(value).lower() for key, value in row["settings"].items()}
                for row in service.get_user_settings(identifier if identifier == uid(n) else found[0]["okx_uid"])
                if isinstance(row["settings"], dict) and row["setting_type"] != "alerts"
            }  # fmt: skip
            api = (found and found[1]) or {}
            keys = tuple(api.get(name) for name in KEYS)
            seen[identifier] = (found and found[0]["id"], keys if all(keys) else None, documents)
    return seen


def as_text(settings: Any) -> str:
    """A document with numbers and booleans as text, as some old ones have them."""
    if isinstance(settings, dict):
        settings = {key: str(value).lower() for key, value in settings.items()}
    return json.dumps(settings, sort_keys=True)


class Bot(threading.Thread):
    """An old bot in a connection of its own: goes through its users again and again until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._service = OldService(url)
        self.rounds = 0
        self.turns = threading.Semaphore(0)  # released after each round
        self.error: BaseException | None = None
        self.is_stopping, self.is_reading = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            while not self.is_stopping.is_set():
                for n in OLD:
                    self._go_on_with(n)
                self.rounds += 1
                self.turns.release()
        except BaseException as error:
            self.error = error
        finally:
            self.turns.release(100)
            self._service.connection.close()

    def go_on(self, rounds: int) -> None:
        """Wait until it has gone through its users so often."""
        for _ in range(rounds):
            assert self.turns.acquire(timeout=120)

    def _go_on_with(self, n: int) -> None:
        service, nth = self._service, self.rounds
        okx_uid, telegram_id = uid(n), str(2000000 + n)
        found = service.fetch_user(okx_uid)
        if found is None or self.is_reading.is_set():
            return  # deleted, or without OKX UID
        user_id = found[0]["id"]
        actions: list[Callable[[], object]] = [
            lambda: service.set_telegram_link(okx_uid, telegram_id),
            lambda: service.unlink_telegram(okx_uid),
            lambda: service.upsert_api_credentials(
                okx_uid, api_key=f"key-{n}-r{nth}", api_secret="s", passphrase=f"p{nth}"
            ),
            lambda: service.save_all_user_settings(okx_uid, params={"leverage": 3 + nth % 100, "note": str(nth)}),
            lambda: service.run(old_service.DELETE_SETTINGS, user_id=user_id, type="params"),
            lambda: service.run(old_service.DELETE_KEYS, user_id=user_id),
            lambda: service.ensure_user_exists(uid(n + 100) if n > 220 else okx_uid, None),
        ]
        actions[(n + nth) % len(actions)]()


def change_by_functions(db: Connection) -> None:
    """What the store's own callers do meanwhile, with names and reasons."""
    taken = [row[0] for row in rows(db, "select okx_uid from app_users where deleted_at is null and okx_uid = any (%s)",
                                    [uid(n) for n in OURS])]  # fmt: skip
    db.execute("set settings_store.actor = 'kim'; set settings_store.reason = 'tried it'")
    for i, okx_uid in enumerate(taken):
        rows(db, "select patch_user_setting(%s, 'preferences', %s)", okx_uid, json.dumps({"symbol": "SOL", "i": i}))
        if i % 3 == 0:
            rows(db, "select delete_user_setting(%s, 'params')", okx_uid)
            rows(db, "select save_api_credentials(%s, %s, 's', 'p')", okx_uid, f"key-{okx_uid}-ours")
        if i % 4 == 1:
            rows(db, "select link_telegram(%s, %s)", okx_uid, str(2000000 + int(okx_uid[-3:])))
        if i % 4 == 2:
            rows(db, "select unlink_telegram(%s)", okx_uid)
        if i % 5 == 3:
            rows(db, "select delete_api_credentials(%s)", okx_uid)
        if i % 7 == 4:
            rows(db, "select delete_user(%s)", okx_uid)
    rows(db, "select restore_user(okx_uid) from app_users where okx_uid = %s", uid(255))  # an old deletion
    rows(db, "select register_user(%s)", uid(310))  # without an email
    rows(db, "select upsert_user_setting(%s, 'preferences', '{}')", uid(246))  # junk until now: in quarantine
    db.execute("reset settings_store.actor; reset settings_store.reason")


def test_it_goes_there_and_back_and_there_again(crowd_url: str, db: Connection) -> None:
    bot, reader = Bot(crowd_url), OldService(crowd_url)
    before, seen_before = table_rows(db), seen_by_old_code(reader)
    bot.start()
    bot.go_on(1)
    migrate.migrate(crowd_url)
    change_by_functions(db)
    bot.go_on(8)
    bot.is_reading.set()
    bot.go_on(2)
    assert bot.error is None

    # After the adoption: every row is taken or named; of whom nobody touched, old code sees what it saw.
    not_taken = {(row.table_name, row.id) for row in migrate.quarantine(crowd_url) if not row.is_taken}
    for name in ("app_users", "okx_api_info", "user_settings"):
        store = {str(row[0]) for row in rows(db, f"select id from {name}")}
        assert before[name].keys() - store == {id for table, id in not_taken if table == name} & before[name].keys()
    shared = [row.id for row in migrate.quarantine(crowd_url) if "Telegram ID is that of another" in row.reason]
    assert {int(before["app_users"][str(id)]["name"][5:]) % 37 for id in shared} <= {0, 35}
    assert len(shared) >= 5
    seen = seen_by_old_code(reader)
    for n in UNTOUCHED:
        if (n + 1) % 31:  # nobody's duplicate
            assert seen[uid(n)] == seen_before[uid(n)], n
    page = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
    for _ in range(2):  # tables of other names are where they were, and can be copied
        for statement in page.split("```sql\n")[-1].split("```")[0].split(";\n"):
            db.execute(statement.encode())
        assert rows(db, "select (select count(*) from trades), (select count(*) from ohlcv_1h)") == [(3, 2)]
    history, credentials, links = (rows(db, query) for query in (HISTORY, CREDENTIALS, LINKS))

    # Back: old code sees what it saw right before; whom nobody touched has the very rows of before; nothing is lost.
    migrate.rollback(crowd_url, None)
    after, seen_after = table_rows(db), seen_by_old_code(reader)
    differing = {id: (seen[id], state) for id, state in seen_after.items() if state != seen[id]}
    in_quarantine = {id for table, id in not_taken if table == "app_users"}  # whom only old code knows
    assert [
        id for id, (_, now) in differing.items() if str(now[0]) not in in_quarantine and (int(id[-3:]) + 1) % 31
    ] == []
    untouched = {
        str(row[0]) for row in rows(db, "select crowd_id(n, 'user') from unnest(%s::integer[]) n", list(UNTOUCHED))
    }
    for name in TABLES:
        assert before[name].keys() <= after[name].keys()
        for id, row in before[name].items():
            owner = id if name == "app_users" else row.get("user_id")
            if owner in untouched or name not in ("app_users", "okx_api_info", "user_settings"):
                assert after[name][id] == row
            if row.get("deleted_at") and (name != "app_users" or row["okx_uid"] != uid(255)):
                assert after[name][id]["deleted_at"], (name, id)
    kept_keys = {row["api_key"] for row in after["okx_api_info"].values()}
    assert {row[2] for row in credentials} <= kept_keys
    documents = {as_text(row["settings"]) for row in after["user_settings"].values()}
    assert [row for row in history if as_text(row[3]) not in documents and row[3] != {}] == []

    # And again: versions, authors and reasons are those of before.
    migrate.migrate(crowd_url)
    assert rows(db, HISTORY) == history
    assert rows(db, CREDENTIALS) == credentials
    shared_ids = {uid(n) for n in range(301) if n % 37 == 35}  # whose Telegram ID somebody else had, and has given back
    assert [row for row in rows(db, LINKS) if row[0] not in shared_ids] == [r for r in links if r[0] not in shared_ids]
    bot.is_stopping.set()
    bot.join()
    assert bot.error is None
    reader.connection.close()
