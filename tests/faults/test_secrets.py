"""Secrets show nowhere: not in output, errors, logs, tracebacks with locals, processes, dumps or the servers' files.

signal_bot_token is part of a settings document, so it is where the documents are: in PostgreSQL (and in its own log, if
that is told to log the parameters of statements), in Redis and its files, in a backup, in what a caller asked for.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import traceback
import zipfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg.conninfo import make_conninfo

from store import Config, SettingsStore, StoreError
from store.coherence import relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from store.encryption.rotation import rotate
from store.encryption.vault import Vault
from store.files.backup import backup, restore_backup
from store.files.export import export_users, import_users
from store.models import MirrorEntry
from store.operations import embedded
from store.postgres import functions
from tests.cli.conftest import SCRIPT, Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer, wait_until
from tests.helpers.credentials import HASH, NEW_KEY, OTHER, Db, put, sealed, vault

pytestmark = pytest.mark.slow

KEY = base64.b64encode(b"N0bodyMaySeeThisEncryptionKey!!!").decode()
API_KEY, API_SECRET, PASSPHRASE = "Zq7-apikey-HUSH01", "Zq7-secret-HUSH02", "Zq7-phrase-HUSH03"
FOUND = ("Zq7-apikey-HUSH04", "Zq7-secret-HUSH05", "Zq7-phrase-HUSH06")  # put into Redis by hand
DB_PASSWORD, REDIS_PASSWORD = "Zq7-dbpass-HUSH07", "Zq7-redispass-HUSH08"
TOKEN = "Zq7-token-OPEN09"
HIDDEN = [API_KEY, API_SECRET, PASSPHRASE, *FOUND, DB_PASSWORD, REDIS_PASSWORD, KEY, KEY.rstrip("="), NEW_KEY,
          "N0bodyMaySeeThis", KEY.replace("+", "-").replace("/", "_")]  # fmt: skip
ALL = [*HIDDEN, TOKEN]
PLAIN: dict[str, Any] = dict(zip(FIELDS, (API_KEY, API_SECRET, PASSPHRASE), strict=True))
LOGGERS = ("", "asyncio", "psycopg", "psycopg.pool", "redis", "yoyo", "store")


def found_in(data: str | bytes, words: Iterable[str] = ALL) -> list[str]:
    """Which secrets are in a text, as they are or as bytes or escapes print them."""
    content = data if isinstance(data, bytes) else data.encode(errors="backslashreplace")
    forms = {
        word: (word.encode(), base64.b64encode(word.encode())[:-4], word.encode().hex().encode()) for word in words
    }
    return [word for word, written in forms.items() if any(form in content for form in written)]


def rendered(error: BaseException) -> str:
    """An exception with causes, contexts and the locals of all its frames but the tests' own."""
    text: list[str] = []
    seen: set[int] = set()

    def add(one: BaseException | None) -> None:
        if one is None or id(one) in seen:
            return
        seen.add(id(one))
        text.append(f"{one!r} {one} {vars(one)}")
        for frame, line in traceback.walk_tb(one.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                stack = traceback.StackSummary.extract(iter([(frame, line)]), capture_locals=True)
                text.extend(stack.format())
        add(one.__cause__)
        add(one.__context__)

    add(error)
    return "\n".join(text)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger says, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def config(config: Config, own_redis: RedisServer) -> Config:
    """The configuration with passwords in both URLs, and a key."""
    own_redis.require_password(REDIS_PASSWORD)
    assert config.database_url
    return replace(
        config,
        database_url=make_conninfo(config.database_url, password=DB_PASSWORD),
        redis_url=own_redis.url.replace("unix://", f"unix://:{REDIS_PASSWORD}@"),
        vault=vault(KEY),
    )


@pytest.fixture
async def store(config: Config) -> Any:
    async with SettingsStore(config) as opened:
        await opened.register(OKX_UID, TELEGRAM_ID)
        await opened.save(OKX_UID, "params", {"signal_bot_token": TOKEN, "leverage": 20})
        await opened.save_credentials(OKX_UID, **PLAIN)
        yield opened


Work = Callable[[SettingsStore], Awaitable[Any]]

# What goes wrong, with secrets at hand.
ERRORS: dict[str, Work] = {
    "conflict": lambda s: s.save_credentials(OKX_UID, **{**PLAIN, "api_key": FOUND[0]}, expected_version=7),
    "unknown user": lambda s: s.save_credentials(OTHER, **PLAIN),
    "bad identifier": lambda s: s.save_credentials("x\n", **PLAIN),
    "too long": lambda s: s.save_credentials(OKX_UID, API_KEY, API_SECRET * 1000, PASSPHRASE),
    "no text": lambda s: s.save_credentials(OKX_UID, API_KEY, API_SECRET, None),  # type: ignore[arg-type]
    "bad reason": lambda s: s.save_credentials(OKX_UID, **{**PLAIN, "api_key": "n"}, reason=5),  # type: ignore[arg-type]
    "settings": lambda s: s.save(OKX_UID, "params", {"signal_bot_token": TOKEN, "leverage": 1000}),
    "token": lambda s: s.save(OKX_UID, "params", {"signal_bot_token": [TOKEN]}),
    "not JSON": lambda s: s.save(OKX_UID, "params", {"signal_bot_token": TOKEN, "x": object()}),
    "U+0000": lambda s: s.save(OKX_UID, "params", {"signal_bot_token": TOKEN + "\0"}),
    "patch": lambda s: s.patch(OKX_UID, "params", {"signal_bot_token": TOKEN}, expected_version=9),
    "type": lambda s: s.save(OKX_UID, "nothing", {"signal_bot_token": TOKEN}),
    "import": lambda s: import_users(s, json.dumps({"signal_bot_token": TOKEN}).encode()),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_shows_no_secret_even_with_the_locals_of_its_frames(
    store: SettingsStore, name: str, log: io.StringIO
) -> None:
    with pytest.raises(StoreError) as error:
        await ERRORS[name](store)
    text = rendered(error.value)
    assert "store/" in text
    # The caller's document is an argument of save() and of what it calls.
    assert found_in(text, HIDDEN) == []
    assert found_in(f"{error.value!r} {error.value} {error.value.detail} {error.value.hint}") == []
    assert found_in(log.getvalue()) == []


@pytest.mark.parametrize("mode", ["encrypted", "plain"])
async def test_a_redis_that_fails_makes_errors_without_secrets(
    config: Config, store: SettingsStore, own_redis: RedisServer, log: io.StringIO, mode: str
) -> None:
    async with SettingsStore(replace(config, mirror_credentials=mode, redis_retry_after=0.0)) as other:
        rows = await other._connections.database.fetch(
            functions.mirror.mirror_state([OKX_UID] * 2, ["api_keys", "params"])
        )
        entries = [MirrorEntry(**row) for row in rows]
        texts = [repr(entries)]
        with own_redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
        await other.save_credentials(OKX_UID, *FOUND)
        for some in (entries, entries[:1]):
            for applied in await other._connections.mirror.apply(some):
                texts.append(f"{applied!r} {rendered(applied.error) if applied.error else ''}")
        own_redis.stop()
        for work in (other._connections.mirror.apply(entries), other._connections.mirror.apply(entries[:1]),
                     relay.drain(other._connections), verify(other._connections)):  # fmt: skip
            with pytest.raises(StoreError) as error:
                await work
            texts.append(rendered(error.value))
        await other.save_credentials(OKX_UID, **PLAIN)
        await other.get_credentials(OKX_UID)
    assert found_in("\n".join(texts), HIDDEN) == []
    assert found_in(log.getvalue()) == []


async def test_what_objects_say_of_themselves_holds_no_secret(config: Config, store: SettingsStore) -> None:
    put_away = sealed(OKX_UID, (API_KEY, API_SECRET, PASSPHRASE), KEY)
    objects: list[object] = [
        config, store, store._connections, store._connections.vault, store._connections.database,
        store._connections.mirror, store._connections.marks,
        await store.get_credentials(OKX_UID), await store.credentials_history(OKX_UID),
        functions.credentials.save_api_credentials(OKX_UID, put_away, None),
        functions.settings.upsert_user_setting(OKX_UID, "params", {"signal_bot_token": TOKEN}, None),
    ]  # fmt: skip
    for each in objects:
        assert found_in(f"{each!r} {each}") == [], type(each)


async def test_configuration_errors_quote_nothing(own_redis: RedisServer) -> None:
    urls = [f"postgresql://u:{DB_PASSWORD}@@h/x y", f"host=h password={DB_PASSWORD} nonsense=1", f"{DB_PASSWORD}=x"]
    redis_urls = [f"http://:{REDIS_PASSWORD}@h", f"{REDIS_PASSWORD}", f"redis://:{REDIS_PASSWORD}@h:port/0"]
    configs = [Config(url, own_redis.url) for url in urls] + [Config("dbname=x", url) for url in redis_urls]
    for config in configs:
        with pytest.raises(StoreError) as error:
            config.checked()
        assert found_in(rendered(error.value).replace("database_url=None", "") + repr(config)) == [], config
    for text in (f"{KEY}x", f"{KEY[:20]}", f"{KEY} {KEY[:-3]}"):
        with pytest.raises(StoreError) as error:
            Vault.from_env({"SETTINGS_STORE_KEYS": text})
        assert found_in(rendered(error.value)) == []
    unreachable = Config(f"postgresql://u:{DB_PASSWORD}@127.0.0.1:1/x", f"redis://:{REDIS_PASSWORD}@127.0.0.1:1")
    async with SettingsStore(unreachable) as store:
        for work in (store.get(OKX_UID, "params"), store._connections.mirror.server()):
            with pytest.raises(StoreError) as error:
                await work
            assert found_in(f"{error.value!r} {error.value}") == []


@pytest.mark.parametrize("mode", ["encrypted", "off"])
async def test_a_busy_life_leaves_no_credential_anywhere(
    config: Config, own_redis: RedisServer, db: Db, tmp_path: Path, log: io.StringIO, mode: str
) -> None:
    config = replace(config, mirror_credentials=mode)
    server_log = told_to_say_everything(config, db)
    said: list[str] = []
    async with SettingsStore(config) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        await store.save(OKX_UID, "params", {"signal_bot_token": TOKEN})
        await store.save_credentials(OKX_UID, **PLAIN)
        with own_redis.client() as client:
            put(client, HASH.format(OKX_UID), dict(zip(FIELDS, FOUND, strict=True)))
            said.append(repr(await verify(store._connections)))
            said.append(repr(await Sync(store._connections, tell=lambda o: said.append(repr(o)), dry_run=True).run()))
            said.append(repr(await Sync(store._connections, tell=lambda o: said.append(repr(o))).run()))
            put(client, HASH.format(OKX_UID), dict(zip(FIELDS, (*FOUND[:2], "other"), strict=True)))
            said.append(repr(await verify(store._connections, repair=True)))
        said.append(repr(await store.history(OKX_UID)))
        said.append(repr(await store.diff(OKX_UID, "params", 1, 2)))
        await store.delete_credentials(OKX_UID)
        await store.save_credentials(OKX_UID, *FOUND)
        with (tmp_path / "backup.zip").open("wb") as file:
            said.append(repr(await backup(store, file)))
        said.append(repr(await restore_backup(store, tmp_path / "backup.zip", replace=True)))
        exported = io.BytesIO()
        await export_users(store, exported)
        said.append(exported.getvalue().decode())
    async with SettingsStore(replace(config, vault=vault(NEW_KEY, KEY))) as store:
        said.append(repr(await rotate(store)))
        said.append(repr(await relay.reconcile(store._connections)))
    assert found_in("\n".join(said), HIDDEN) == []
    assert found_in(log.getvalue()) == []
    assert found_in(exported.getvalue()) == []

    with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
        content = b"\n".join(archive.read(name) for name in archive.namelist())
    assert b"v2." in content
    assert found_in(content, HIDDEN) == []

    assert server_log() == []
    with own_redis.client() as client:
        client.save()
        client.bgrewriteaof()  # the rogue's own writes go
        wait_until(
            lambda: not any(client.info("persistence")[f"aof_rewrite_{word}"] for word in ("in_progress", "scheduled"))
        )
        assert b"v2." in b"".join(own_redis.content().values()) or mode == "off"
    for content in (*own_redis.content().values(), *files_of(own_redis)):
        assert found_in(content, HIDDEN) == []

    dump = pg_dump(config)
    assert TOKEN.encode() in dump
    assert found_in(dump, HIDDEN) == []


def told_to_say_everything(config: Config, db: Db) -> Callable[[], list[str]]:
    """Make PostgreSQL log each statement with its parameters; return what tells which secrets are in its log since."""
    row = db.execute("select current_database() as name").fetchone()
    assert row
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_min_messages = 'debug1'",
                    "log_error_verbosity = 'verbose'", "log_parameter_max_length_on_error = -1"):  # fmt: skip
        db.execute(f"alter database {row['name']} set {setting}")
    file = config.home / "postgres/log"
    if not file.exists():
        pytest.skip("the log of a server elsewhere can't be read")
    start = file.stat().st_size

    def hits() -> list[str]:
        with file.open("rb") as log:
            log.seek(start)
            content = log.read()
        assert b"save_api_credentials" in content
        return found_in(content, HIDDEN)

    return hits


def files_of(server: RedisServer) -> list[bytes]:
    """What Redis keeps on disk: snapshot, append-only file, log."""
    found = [file.read_bytes() for file in (server.home / "redis").rglob("*") if file.is_file()]
    assert len(found) >= 3
    return found


def pg_dump(config: Config) -> bytes:
    """The whole database as statements; by the wheel's program, which fits its server."""
    program = embedded.wheel_programs() / "pg_dump"
    command = [str(program), "--inserts", "--dbname", str(config.database_url)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture
def cli(config: Config) -> Cli:
    """The command line with passwords in the URLs, and a key; run in this process."""
    return Cli({**environment(config), "SETTINGS_STORE_KEYS": KEY}, is_inside=True)


def test_no_command_shows_a_secret(cli: Cli, own_redis: RedisServer, tmp_path: Path, log: io.StringIO) -> None:
    given, other = json.dumps(PLAIN), json.dumps(dict(zip(FIELDS, FOUND, strict=True)))
    cli("register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    cli("set", OKX_UID, "params", f"signal_bot_token={TOKEN}")
    cli("keys", "set", OKX_UID, "--stdin", stdin=given)
    with own_redis.client() as client:
        put(client, HASH.format(OKX_UID), json.loads(other))
        put(client, HASH.format(OTHER), {**PLAIN, "more": "x"})
    (tmp_path / "in.json").write_text(json.dumps({"signal_bot_token": TOKEN}))
    backup_file, export_file = str(tmp_path / "b.zip"), str(tmp_path / "e.json")
    commands = [
        "get U", "get U --json", "get U params --source redis", "get U params --version 2",
        "search params leverage=10", "history U", "history U params --json", "diff U params 1 2",
        "diff U params 1 2 --json", "status", "status --json", "verify", "verify --json", "sync --dry-run",
        "sync --dry-run --json", "sync", "sync --json", "verify --repair", "sync --prefer redis", "sync --from db",
        "relay --once", "relay --once --json", "keys show U", "keys show U --json", "keys history U",
        "keys history U --json", "keys rotate --dry-run", "keys rotate", "keys rotate --json",
        "keys encrypt-existing", "keys encrypt-existing --json", "keys set U --stdin",
        "keys set U --stdin --expect-version 9", "keys set 9 --stdin", "keys set U --stdin --json",
        "keys set U --nothing", "user list", "user find U --json", "export --all", f"export --all -o {export_file}",
        f"import {export_file} --dry-run --json", f"import {export_file}", f"import {tmp_path}/in.json",
        f"backup {backup_file}", f"backup {backup_file}", f"restore-backup {backup_file}",
        f"restore-backup {tmp_path}/in.json", f"restore-backup {backup_file} --replace --yes --json",
        f"restore-backup {backup_file} --merge", f"restore-backup {backup_file} --okx-uid U", "rollback U params 1",
        "rollback U params 2", "template save t params --from U", "template list", "template apply t --all --dry-run",
        "set U params leverage=1000", "set U params leverage=25 --json", "delete U params --yes", "restore U params",
        "prune --keep 1 --older-than 0d --dry-run", "keys delete U", "keys delete U --json", "keys show U",
        "migrate --status", "user delete U --yes", "user restore U", "user erase U --yes --json", "embedded status",
        "nothing",
    ]  # fmt: skip
    texts = []
    for command in commands:
        words = [word if word != "U" else OKX_UID for word in command.split()]
        for env in ({}, {"REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:1"} if words[0] == "keys" else {}):
            result = cli.run(*words, stdin=other if "--json" in words else given, **env)
            assert "Traceback" not in result.err, command
            assert found_in(result.out + result.err) == [], command
            texts.append(result.out + result.err)
    for env in ({"DATABASE_URL": f"postgresql://u:{DB_PASSWORD}@127.0.0.1:1/x"}, {"DATABASE_URL": f"x y{DB_PASSWORD}"},
                {"REDIS_URL": f"x://:{REDIS_PASSWORD}@h"}, {"SETTINGS_STORE_KEYS": KEY[:-2]},
                {"SETTINGS_STORE_KEYS": "", "SETTINGS_STORE_KEYS_FILE": KEY}, {"MIRROR_CREDENTIALS": API_KEY},
                {"SETTINGS_STORE_KEYS": NEW_KEY}, {"DB_TIMEOUT": DB_PASSWORD}):  # fmt: skip
        for words in (
            ["keys", "set", OKX_UID, "--stdin"],
            ["status"],
            ["verify", "--json"],
            ["get", OKX_UID],
            ["psql"],
        ):
            if words == ["psql"] and not {"DATABASE_URL", "REDIS_URL"} & set(env):
                continue
            if words == ["psql"] and "127.0.0.1" in env.get("DATABASE_URL", ""):
                continue
            result = cli.run(*words, stdin=given, **env)
            assert "Traceback" not in result.err, (words, env)
            assert found_in(result.out + result.err) == [], words
    assert "credentials: version" in "".join(texts)
    assert found_in(log.getvalue()) == []


SHELLS = {
    "psql": ("-c", "select pg_advisory_lock(7)"),
    "redis-cli": ("blpop", "nothing", "0"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_passwords_by_its_environment_only_and_no_key(
    cli: Cli, own_redis: RedisServer, db: Db, shell: str
) -> None:
    db.execute("select pg_advisory_lock(7)")
    process = subprocess.Popen([str(SCRIPT), shell, *SHELLS[shell]], env=cli.env, stdout=subprocess.PIPE)
    try:
        child = psutil.Process(process.pid)
        with own_redis.client() as client:  # by then it is the shell, and connected
            wait_until(lambda: waits_for_a_lock(db) if shell == "psql" else client.info("clients")["blocked_clients"])
        assert found_in(" ".join(child.cmdline())) == []
        environ = child.environ()
        by_password = {"psql": "PGPASSWORD", "redis-cli": "REDISCLI_AUTH"}[shell]
        assert environ[by_password] == (DB_PASSWORD if shell == "psql" else REDIS_PASSWORD)
        assert found_in(repr(environ), [KEY, API_KEY, API_SECRET, PASSPHRASE]) == []
    finally:
        process.kill()
        process.communicate()


def test_a_command_that_asks_shows_no_secret_to_ps(cli: Cli, db: Db) -> None:
    cli("register", OKX_UID)
    with db.transaction():
        db.execute("select from app_users for update")
        process = subprocess.Popen(
            [str(SCRIPT), "keys", "set", OKX_UID, "--stdin"], env=cli.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin
        process.stdin.write(json.dumps(PLAIN).encode())
        process.stdin.close()
        wait_until(lambda: waits_for_a_lock(db))
        me = psutil.Process(process.pid)
        for each in (me, *me.children(recursive=True)):
            assert found_in(" ".join(each.cmdline())) == []
            assert found_in(repr(each.environ()), [API_KEY, API_SECRET, PASSPHRASE]) == []
        asked = db.execute("select query from pg_stat_activity where datname = current_database()").fetchall()
        assert found_in(repr(asked)) == []
    assert process.wait(30) == 0
    assert process.stdout
    process.stdout.close()


def waits_for_a_lock(db: Db) -> bool:
    return bool(db.execute("select from pg_locks where not granted").fetchall())
