"""Both servers by the command line: how they are, shells on them, the embedded ones, and what can't be reached."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis as redis_py
from psycopg.conninfo import make_conninfo

from store import Config
from store.operations import embedded
from tests.cli.conftest import CHECKOUT, Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

pytestmark = pytest.mark.slow

SECRET = "s3cr3t-p4ss"
NO_DATABASE = f"postgresql://kim:{SECRET}@127.0.0.1:1/nowhere"
NO_REDIS = f"redis://:{SECRET}@127.0.0.1:1/0"


def test_status_tells_of_both_servers_and_counts(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", "leverage=2")
    found = inside("status", "--json").json
    database = found["postgresql"]
    assert (database["pending_migrations"], database["drifted"]) == ([], {})
    assert (database["users"], database["settings"], database["versions"], database["pending"]) == (1, 3, 4, 0)
    assert int(database["version"].split(".")[0]) >= 13
    assert found["redis"]["server"] in ("Redis", "Valkey")
    text = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in inside("status").lines if line.strip())
    assert (text["PostgreSQL"], text["users"], text["versions"]) == (database["version"], "1", "4")
    assert text[found["redis"]["server"]] == found["redis"]["version"]


def test_status_shows_what_is_missing_and_how_to_mend_it(inside: Cli, empty_database_url: str) -> None:
    empty = inside.run("status", DATABASE_URL=empty_database_url)
    assert (empty.code, empty.err) == (0, "")
    assert "pending migrations: 0001_users" in empty.out
    assert "settings-store migrate" in empty.out


def test_status_and_errors_never_show_a_password(inside: Cli, kim: str) -> None:
    inside.env["DB_TIMEOUT"] = "0.5"
    shown = inside.run("status", "--json", DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS)
    assert shown.code == 3
    assert set(shown.json["postgresql"]) == set(shown.json["redis"]) == {"error"}
    words = inside.run("status", DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS)
    assert (words.code, words.err) == (3, "")
    errors = [
        inside.fails(3, "get", kim, "--source", "db", DATABASE_URL=NO_DATABASE),
        inside.fails(3, "get", kim, "params", "--source", "redis", REDIS_URL=NO_REDIS),
        inside.fails(3, "migrate", DATABASE_URL=NO_DATABASE),
    ]
    assert not any(SECRET in text for text in [shown.out, shown.err, words.out, *errors])


def test_without_postgresql_reads_come_from_redis_and_a_save_fails(
    inside: Cli, kim: str, redis: redis_py.Redis
) -> None:
    before = redis.get(f"user:{kim}:settings")
    away = {"DATABASE_URL": NO_DATABASE, "DB_TIMEOUT": "0.5"}
    served = inside.run("get", kim, "params", "--json", **away)
    assert (served.code, served.err, served.json["source"]) == (0, "", "redis")
    assert "PostgreSQL can't be reached" in inside.fails(3, "set", kim, "params", "leverage=2", **away)
    assert redis.get(f"user:{kim}:settings") == before
    inside.fails(3, "register", "1000000000000001", **away)
    inside.fails(3, "user", "find", kim, **away)
    inside.fails(3, "search", "params", "leverage=10", **away)
    inside.fails(3, "migrate", "status", **away)


def test_without_redis_a_save_succeeds_and_says_so_and_reads_come_from_postgresql(inside: Cli, kim: str) -> None:
    saved = inside.run("set", kim, "params", "leverage=2", REDIS_URL=NO_REDIS)
    assert (saved.code, saved.err) == (0, "")
    assert saved.lines == ["params: version 2, in PostgreSQL; Redis will get it from the relay"]
    assert inside.run("set", kim, "params", "leverage=3", "--json", REDIS_URL=NO_REDIS).json["mirrored"] is False
    read = inside.run("get", kim, "params", "--json", REDIS_URL=NO_REDIS)
    assert (read.code, read.json["source"], read.json["settings"]["leverage"]) == (0, "db", 3)
    status = inside.run("status", "--json", REDIS_URL=NO_REDIS)
    assert (status.code, status.json["postgresql"]["pending"]) == (3, 1)


@pytest.mark.parametrize(
    "variable",
    [{"REDIS_URL": "nonsense"}, {"REDIS_URL": "http://localhost"}, {"REDIS_URL": "redis://localhost:port/0"},
     {"DATABASE_URL": "nonsense"}, {"DB_POOL_SIZE": "many"}, {"REDIS_TIMEOUT": "-1"}, {"MIRROR_KEY_TEMPLATE": "user"}],
    ids=lambda variable: "=".join(*variable.items()),
)  # fmt: skip
def test_a_variable_that_makes_no_sense_is_named(cli: Cli, inside: Cli, variable: dict[str, str]) -> None:
    name = next(iter(variable))
    source = "redis" if "REDIS" in name else "db"
    assert name in inside.fails(2, "get", OKX_UID, "params", "--source", source, **variable)
    assert name in cli.fails(2, "redis-cli" if name == "REDIS_URL" else "psql", "--version", **variable)


def test_a_password_in_a_url_that_cannot_be_read_is_not_shown(inside: Cli) -> None:
    for url in (f"postgresql://kim:{SECRET}@local:host:x/y", f"postgresql//kim:{SECRET}@localhost/y",
                f"postgresql://kim:p@{SECRET}@localhost/y", f"host=localhost pass word={SECRET} '"):  # fmt: skip
        for command in (["get", OKX_UID, "--source", "db"], ["migrate"], ["status"]):
            result = inside.run(*command, DATABASE_URL=url, DB_TIMEOUT="0.5")
            assert result.code in (1, 2, 3)
            assert SECRET not in result.out + result.err


def test_a_home_that_cannot_be_made_is_one_clear_error(inside: Cli) -> None:
    del inside.env["DATABASE_URL"], inside.env["REDIS_URL"]
    for command in (["status"], ["get", OKX_UID], ["embedded", "start"], ["embedded", "stop"]):
        assert "/proc/settings-store" in inside.fails(2, *command, SETTINGS_STORE_HOME="/proc/settings-store")


def test_psql_opens_on_the_database_with_the_arguments_passed_on(cli: Cli, kim: str) -> None:
    assert cli("psql", "-X", "-A", "-t", "-c", "select okx_uid from app_users").lines == [kim]
    query = "select version from upsert_user_setting(:'user', 'params', '{\"leverage\": 10}');"
    assert cli("psql", "-qXAt", "-v", f"user={kim}", stdin=query).lines == ["2"]
    assert cli.run("psql", "-X", "-c", "select 1/0").code == 1
    assert cli("psql", "--version").out.startswith("psql (PostgreSQL) ")


def test_psql_needs_no_postgresql_installed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "env").symlink_to("/usr/bin/env")
    done = cli.run("psql", "-XAt", "-c", "select 'here'", PATH=str(tmp_path))
    assert (done.code, done.out, done.err) == (0, "here\n", "")


def test_redis_cli_opens_on_the_redis_with_the_arguments_passed_on(cli: Cli, kim: str) -> None:
    assert cli("redis-cli", "get", f"user:{TELEGRAM_ID}:okx_uid").out.strip() == kim
    assert cli("redis-cli", "--raw", "hget", f"user:{kim}:preferences", "timeframe").lines == ["1m"]
    assert cli("redis-cli", "--version").out.startswith(("redis-cli", "valkey-cli"))
    assert cli("redis-cli", "-n", "3", stdin="dbsize\n").out.strip() == "0"


def test_shells_give_passwords_by_the_environment_only(cli: Cli, tmp_path: Path) -> None:
    for name in ("psql", "redis-cli"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "arguments: $@"\nenv\n')
        program.chmod(0o755)
    cli.env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    for name, variable in (("psql", "PGPASSWORD"), ("redis-cli", "REDISCLI_AUTH")):
        out = cli.run(name, "x y", DATABASE_URL=NO_DATABASE, REDIS_URL=NO_REDIS).lines
        assert SECRET not in out[0]
        assert out[0].endswith(" x y")
        assert f"{variable}={SECRET}" in out


def test_a_pipe_that_is_closed_early_is_no_traceback(cli: Cli, kim: str) -> None:
    for command in (["get", kim], ["get", kim, "--json"]):
        process = subprocess.Popen(
            [*cli.command, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CHECKOUT, env=cli.env
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait()


@pytest.fixture
def homeless(config: Config) -> Iterator[Cli]:
    """The command line without URLs, its embedded servers in a folder of their own."""
    home = Path(tempfile.mkdtemp(prefix="ss-"))
    own = Config(home=home)
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE", "REDIS", "PG", "SETTINGS_"))
    }
    yield Cli({**env, "SETTINGS_STORE_HOME": str(home)}, is_inside=True)
    embedded.stop(own)
    shutil.rmtree(home)


def test_embedded_servers_start_are_told_about_keep_their_data_and_stop(homeless: Cli) -> None:
    home = homeless.env["SETTINGS_STORE_HOME"]
    idle = {"home": home, "postgres": {"pid": None}, "redis": {"pid": None}}
    assert homeless("embedded", "status", "--json").json == idle
    assert homeless("embedded", "stop").lines == ["nothing to stop"]

    exports = replace(homeless, is_inside=False)("embedded", "start").lines  # they outlive it
    assert [line.split("=")[0] for line in exports] == ["export DATABASE_URL", "export REDIS_URL"]
    assert homeless("embedded", "start").lines == exports
    others = homeless.run(
        "embedded", "start", SETTINGS_STORE_DATABASE_URL="host=x", SETTINGS_STORE_REDIS_URL="redis://x"
    )
    assert others.lines == [
        line.replace("export ", f"export {kind}") for line in exports for kind in ("", "SETTINGS_STORE_")
    ]
    running = homeless("embedded", "status", "--json").json
    for name in ("postgres", "redis"):
        os.kill(running[name]["pid"], 0)
        assert f"{name}: running, process {running[name]['pid']}" in homeless("embedded", "status").lines

    script = 'eval "$1"; printf "%s\n" "$DATABASE_URL" "$REDIS_URL"'
    evaluate = ["sh", "-c", script, "sh", "\n".join(exports)]
    shell = subprocess.run(evaluate, capture_output=True, text=True, check=True)
    database_url, redis_url = shell.stdout.splitlines()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from list_users()").fetchone() == (0,)
    with redis_py.Redis.from_url(redis_url) as client:
        assert client.ping()

    homeless("register", OKX_UID)
    assert homeless("embedded", "stop").lines == ["stopped redis and postgres"]
    assert homeless("embedded", "status", "--json").json == idle
    redis_alone = homeless.run("get", OKX_UID, "preferences", "--json", "--source", "redis")
    assert (redis_alone.code, redis_alone.json["version"]) == (0, 1)
    assert homeless("get", OKX_UID, "preferences", "--json", "--source", "db").json["version"] == 1


def test_embedded_servers_that_were_killed_start_again_with_their_data(homeless: Cli) -> None:
    homeless("register", OKX_UID)
    for server in ("postgres", "redis"):
        os.kill(homeless("embedded", "status", "--json").json[server]["pid"], signal.SIGKILL)
    read = homeless("get", OKX_UID, "params", "--json", "--source", "db").json
    assert (read["version"], len(read["settings"])) == (1, 50)


def assert_none_runs(homeless: Cli) -> None:
    running = homeless("embedded", "status", "--json").json
    assert (running["postgres"]["pid"], running["redis"]["pid"]) == (None, None)


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
def test_one_server_is_never_compared_with_an_embedded_one(
    homeless: Cli, config: Config, kim: str, tmp_path: Path, missing: str
) -> None:
    urls = {"DATABASE_URL": config.database_url or "", "REDIS_URL": config.redis_url or ""}
    given = {name: url for name, url in urls.items() if name != missing}
    prefixed = {f"SETTINGS_STORE_{name}": url for name, url in given.items()}
    for words in ("status --check", "verify", "relay --once", "sync", f"backup {tmp_path / 'b.zip'}", f"get {kim}"):
        assert f"not set: {missing}\n" in homeless.fails(2, *words.split(), **given)
        given, prefixed = prefixed, given
    assert_none_runs(homeless)
    assert not (tmp_path / "b.zip").exists()


def test_what_needs_one_server_needs_one_url(homeless: Cli, config: Config, kim: str) -> None:
    assert homeless.run("migrate", "status", DATABASE_URL=config.database_url or "").code == 0
    shells = replace(homeless, is_inside=False)
    assert shells.run("psql", "-XAt", "-c", "select 1", DATABASE_URL=config.database_url or "").out == "1\n"
    assert shells.run("redis-cli", "dbsize", REDIS_URL=config.redis_url or "").code == 0
    assert_none_runs(homeless)


def test_embedded_servers_can_be_ruled_out_and_are_named_to_operators(homeless: Cli) -> None:
    for words in ("status --check", "verify", "relay --once", "get 587662504768345929", "migrate"):
        assert "not set: DATABASE_URL" in homeless.fails(2, *words.split(), SETTINGS_STORE_EMBEDDED="never")
    assert "must be never" in homeless.fails(2, "verify", SETTINGS_STORE_EMBEDDED="no")
    assert_none_runs(homeless)
    assert f"the embedded servers in {homeless.env['SETTINGS_STORE_HOME']}\n" in homeless.run("verify").err


def test_a_database_that_does_not_exist_is_one_clear_error(inside: Cli, config: Config) -> None:
    nowhere = replace(config, database_url=make_conninfo(config.database_url or "", dbname="nowhere"))
    assert '"nowhere" does not exist' in inside.fails(
        3, "user", "list", DATABASE_URL=nowhere.database_url or "", DB_TIMEOUT="0.5"
    )


def test_a_folder_keeps_the_redis_that_wrote_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "redis"
    (folder / "appendonlydir").mkdir(parents=True)  # as Redis 7 leaves it
    older = tmp_path / "redis-server"
    older.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
    older.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(embedded.EmbeddedError, match="newer Redis"):
        embedded.start_redis(tmp_path)
    (folder / "appendonlydir").rmdir()
    assert embedded._redis_server_of(folder) == str(older)
    monkeypatch.setenv("PATH", "/nowhere")
    assert embedded._redis_server_of(folder) == str(older)
