"""The store without asyncio: from any thread, to the end, whichever way that comes."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

import psycopg
import pytest
import redis as redis_py

from store import (
    Candle,
    Config,
    ConfigError,
    InvalidArgument,
    SettingChange,
    StoreError,
    SyncSettingsStore,
    UnknownUser,
    VersionConflict,
)
from tests.cli.conftest import CHECKOUT
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import wait_until
from tests.helpers.shapes import Data

Db = psycopg.Connection[dict[str, Any]]
T = TypeVar("T")
WAIT = 60.0  # seconds; only that it ends counts


@pytest.fixture
def sync(config: Config) -> Iterator[SyncSettingsStore]:
    """An open store, with a user."""
    with SyncSettingsStore(config) as store:
        store.register(OKX_UID, TELEGRAM_ID)
        yield store


def in_thread(work: Callable[[], T]) -> Queue[T | BaseException]:
    """Run something in a thread; what it returns or raises comes by the queue."""
    done: Queue[T | BaseException] = Queue()

    def run() -> None:
        try:
            done.put(work())
        except BaseException as error:
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "settings-store"]


def test_it_does_what_the_store_does(sync: SyncSettingsStore) -> None:
    with sync.acting_as("ops", reason="night shift"):
        saved = sync.patch(OKX_UID, "params", {"leverage": 20})
        with sync.acting_as(reason="less risk"):
            sync.patch(OKX_UID, "params", {"leverage": 3})
    assert (saved.version, saved.mirrored) == (2, True)
    setting = sync.get(TELEGRAM_ID, "params", min_version=3, okx_uid=OKX_UID)
    assert setting
    assert (setting.settings["leverage"], setting.source) == (3, "redis")
    found = sync.get_as(OKX_UID, "params", Data)
    assert found
    assert (found.version, found.settings.leverage) == (3, 3)
    written = [(version.changed_by, version.change_reason) for version in sync.history(OKX_UID, "params", limit=2)]
    assert written == [("ops", "less risk"), ("ops", "night shift")]
    assert [user.okx_uid for user in sync.iter_users()] == [OKX_UID]
    assert next(iter(sync.iter_history(OKX_UID, "params"))).version == 3
    assert sync.config.database_url


async def test_a_running_event_loop_is_no_obstacle(config: Config) -> None:
    with SyncSettingsStore(config, cache=10) as sync:
        sync.register(OKX_UID)
        for _ in range(3):
            assert sync.get(OKX_UID, "params")


def test_threads_share_it_and_each_acts_as_itself(config: Config, db: Db) -> None:
    with SyncSettingsStore(replace(config, db_pool_size=2)) as sync, ThreadPoolExecutor(8) as pool:
        sync.register(OKX_UID)

        def work(n: int) -> None:
            with sync.acting_as(f"thread {n}"):
                for _ in range(3):
                    sync.patch(OKX_UID, "params", {f"mine {n}": 1})
                    assert sync.get(OKX_UID, "params", source="db")

        assert list(pool.map(work, range(16))) == [None] * 16
        history = sync.history(OKX_UID, "params")
        by = {change.key: version.changed_by for version in history[:-1] for change in version.changes or []}
        assert by == {f"mine {n}": f"thread {n}" for n in range(16)}
        count = "select count(*) from pg_stat_activity where application_name = %s and datname = current_database()"
        row = db.execute(count, [config.application]).fetchone()
        assert row
        assert row["count"] <= 2
        assert len(threads()) == 1


def test_who_acts_is_of_the_context(sync: SyncSettingsStore) -> None:
    with sync.acting_as("inside"):
        context = copy_context()
    for run, actor in ((context.run, "inside"), (lambda call, *words: call(*words), "outside")):
        with sync.acting_as("outside"):
            version = run(sync.patch, OKX_UID, "params", {"mine": actor}).version
        assert next(v.changed_by for v in sync.history(OKX_UID) if v.version == version) == actor


def test_an_exception_is_that_of_the_store_and_shows_both_sides(sync: SyncSettingsStore) -> None:
    with pytest.raises(UnknownUser) as caught:
        sync.link("587662504768345930", "1709556959")
    text = "".join(traceback.format_exception(caught.value))
    assert "in test_an_exception_is_that_of_the_store_and_shows_both_sides" in text
    assert "in link" in text
    with pytest.raises(VersionConflict) as conflict:
        sync.save(OKX_UID, "params", {}, expected_version=7)
    assert conflict.value.current == 1


def test_an_iterator_gives_its_connection_back_however_it_ends(config: Config) -> None:
    with SyncSettingsStore(replace(config, db_pool_size=2)) as sync:
        sync.register(OKX_UID)
        for n in range(60):
            sync.ensure_user(str(10**16 + n))
        for _ in range(5):
            for version in sync.iter_history(OKX_UID):
                assert version
                break
        closed = [sync.iter_history(OKX_UID) for _ in range(5)]
        for versions in closed:
            with versions:
                next(versions)
            versions.close()
            assert list(versions) == []
        assert len(list(sync.iter_users())) == 61
        left = sync.iter_history(OKX_UID)
        next(left)
        assert len(sync.history(OKX_UID)) == 3
    with pytest.raises(StoreError, match="was closed"):
        next(left)
    left.close()


def test_it_is_opened_and_closed_again_and_again(config: Config) -> None:
    sync = SyncSettingsStore(config)
    for _ in range(2):
        with pytest.raises(StoreError, match="not open: use `with SyncSettingsStore"):
            sync.list_users()
        with pytest.raises(StoreError, match="not open"):
            sync.iter_users()
        assert sync.open().open() is sync
        assert sync.list_users() == []
        sync.close()
        sync.close()
        assert threads() == []


def test_closing_in_another_thread_ends_calls_under_way(config: Config, db: Db, redis: redis_py.Redis) -> None:
    sync = SyncSettingsStore(config).open()
    sync.register(OKX_UID)
    changes = in_thread(lambda: next(sync.watch()))
    with db.transaction():
        db.execute("select from user_settings for update")
        saving = in_thread(lambda: sync.patch(OKX_UID, "params", {"mine": 1}))
        wait_until(lambda: bool(redis.pubsub_numsub("settings:changes")[0][1]))
        wait_until(lambda: bool(db.execute("select from pg_locks where not granted").fetchall()))
        closed = [in_thread(sync.close) for _ in range(3)]
        assert [each.get(timeout=WAIT) for each in closed] == [None] * 3
    for ended in (changes, saving):
        error = ended.get(timeout=WAIT)
        assert isinstance(error, StoreError), error
        assert "was closed during this call" in str(error)
    with pytest.raises(StoreError, match="not open"):
        sync.get(OKX_UID, "params")
    assert threads() == []


def test_what_the_store_calls_back_is_told_that_it_cant_call_the_store(sync: SyncSettingsStore) -> None:
    errors: list[StoreError] = []

    def tell(_: object) -> None:
        for call in (sync.list_users, sync.close):
            with pytest.raises(StoreError, match="own thread") as caught:
                call()
            errors.append(caught.value)

    sync.apply_template("default", "params", identifiers=[OKX_UID], tell=tell)
    assert len(errors) == 2
    assert sync.upsert_candles("1m", list[Candle]()).inserted == 0


def test_a_handler_may_call_the_store(sync: SyncSettingsStore, config: Config) -> None:
    told: Queue[Any] = Queue()

    def handle(change: SettingChange) -> None:
        found = sync.get(change.okx_uid, "params")
        told.put((change, found.settings if found else None, threading.current_thread()))

    def close(change: SettingChange) -> None:
        sync.close()
        told.put(None)

    sync.on_change("params", handle)
    with pytest.raises(InvalidArgument, match="no coroutine function"):
        sync.on_change("params", sync._store.off_change)  # type: ignore[arg-type]
    saved = sync.patch(OKX_UID, "params", {"leverage": 20})
    change, settings, thread = told.get(timeout=WAIT)
    assert (change.new, settings) == (saved.settings, saved.settings)
    assert thread is not threading.main_thread()
    assert (sync.off_change(handle), sync.off_change(handle)) == (1, 0)
    sync.on_change(None, close, identifier=OKX_UID)
    with SyncSettingsStore(config) as other:
        other.patch(OKX_UID, "params", {"leverage": 3})
    assert told.get(timeout=WAIT) is None
    with pytest.raises(StoreError, match="not open"):
        sync.get(OKX_UID, "params")


def test_ctrl_c_interrupts_the_caller_and_cancels_the_call(
    sync: SyncSettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    main = threading.get_ident()

    def interrupt(begun: Callable[[], bool]) -> None:
        def work() -> None:
            wait_until(begun)
            signal.pthread_kill(main, signal.SIGINT)

        in_thread(work)

    running = sync._running()
    with db.transaction():
        db.execute("select from user_settings for update")
        interrupt(lambda: bool(running._calls))
        with pytest.raises(KeyboardInterrupt):
            sync.patch(OKX_UID, "params", {"mine": 1})
        wait_until(lambda: not running._calls)
    setting = sync.get(OKX_UID, "params", source="db")
    assert setting
    assert setting.version == 1
    interrupt(lambda: bool(redis.pubsub_numsub("settings:changes")[0][1]))
    with pytest.raises(KeyboardInterrupt):
        list(sync.watch())
    wait_until(lambda: not redis.pubsub_numsub("settings:changes")[0][1])
    assert sync.get(OKX_UID, "params")


def test_what_is_let_go_is_closed(config: Config) -> None:
    sync = SyncSettingsStore(config).open()
    users = sync.iter_users()
    (thread,) = threads()
    del sync
    gc.collect()
    assert list(users) == []  # it is still there for this
    assert thread.is_alive()
    del users
    gc.collect()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_what_cant_be_opened_leaves_no_thread(config: Config) -> None:
    with pytest.raises(ConfigError):
        SyncSettingsStore(replace(config, redis_url="nonsense"))
    sync = SyncSettingsStore(replace(config, redis_url=None, may_embed=False))
    with pytest.raises(ConfigError):
        sync.open()
    for thread in threads():
        thread.join(WAIT)
    assert threads() == []


def run(config: Config, script: str, tmp_path: Path) -> str:
    """Run a program that has an open store with a user, and return what it prints."""
    head = f"""
        import gc, os, sys, threading, weakref
        from store import Config, StoreError, SyncSettingsStore
        config = Config({config.database_url!r}, {config.redis_url!r})
        store = SyncSettingsStore(config).open()
        store.register("{OKX_UID}")
    """
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(head) + textwrap.dedent(script))
    python = [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [*python, str(program)], capture_output=True, text=True, timeout=WAIT, cwd=CHECKOUT, env={"PYTHONPATH": "."}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "left",
    [
        "pass",
        "users = store.iter_history('587662504768345929'); next(users)",
        "threading.Thread(target=lambda: list(store.watch()), daemon=True).start()",
        "store.on_change('params', print)",
        "import atexit; atexit.register(store.close); atexit.register(store.list_users)",
        "sys.modules['__main__'].Late = type('Late', (), {'__del__': lambda self, s=store: s.close()}); late = Late()",
    ],
)
def test_a_program_ends_though_the_store_was_left_open(config: Config, left: str, tmp_path: Path) -> None:
    assert run(config, f"{left}\nprint('the end')", tmp_path) == "the end\n"


FORKING = """
    told = threading.Event()
    store.on_change("params", lambda change: told.set())
    sleeping = SyncSettingsStore(config)
    kept = weakref.ref(store._background)
    child = os.fork()
    if not child:
        assert store.get("587662504768345929", "params").version == 1
        assert store.patch("587662504768345929", "preferences", {"mine": 1}).mirrored
        try:
            sleeping.list_users()
        except StoreError as error:
            assert "not open" in str(error)
        assert [thread.name for thread in threading.enumerate()] == ["MainThread", "settings-store"]
        gc.collect()
        assert kept() is not None
        sys.exit(7)  # as gunicorn's workers do: what is cleaned up here must not be the parent's
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert store.get("587662504768345929", "preferences", source="db").version == 2
    assert store.patch("587662504768345929", "params", {"leverage": 3}).mirrored
    assert told.wait(30)
    store.close()
    child = os.fork()
    if not child:
        store.open().close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    print("the end")
"""


def test_a_forked_process_opens_it_anew_and_leaves_that_of_the_other_alone(config: Config, tmp_path: Path) -> None:
    assert run(config, FORKING, tmp_path) == "the end\n"
