"""Every role may do what sql/access/grants.sql says, and nothing else; the store works with just that."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import redis as redis_py
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from store import Config, NotPermitted, SettingsStore, errors
from store.api.catalogue import masked
from store.coherence.connections import Connections
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.files import backup, export
from store.operations import status
from store.postgres import migrate, sources
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.roles import FUNCTIONS, OURS, ROLES, in_role
from tests.helpers.sessions import DEADLINE, Connection, Session, fetch, one, refused, value

OTHER = "1000000000000001"
Open = Callable[[], Session]
DML = ("select", "insert", "update", "delete")
STATEMENTS = {
    "select": "select from {table}",
    "insert": "insert into {table} default values",
    "update": "update {table} set {column} = null where false",
    "delete": "delete from {table} where false",
    "truncate": "truncate {table}",
}
FORBIDDEN = "42501"


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Each of the four roles."""
    return str(request.param)


@pytest.fixture
def held(db: Connection, role: str) -> Connection:
    """A session held to that role."""
    fetch(db, f"set role settings_{role}")
    return db


@pytest.fixture
def login(db: Connection) -> Iterator[str]:
    """The name of a user who may log in and has been granted no role yet; gone at the end."""
    name = f"bot_{uuid.uuid4().hex[:12]}"
    fetch(db, f"create role {name} login")
    yield name
    fetch(db, "reset session authorization")
    fetch(db, "reset role")
    fetch(db, f"drop role {name}")


def outcome(session: Connection, statement: str) -> str | None:
    """Run a statement, undo what it did; return its SQLSTATE, None if it succeeded."""
    state = None
    with session.transaction(force_rollback=True):
        try:
            session.execute(statement.encode())
        except psycopg.Error as error:
            state = error.sqlstate
    return state


def calls_of_every_function(db: Connection) -> dict[str, str]:
    query = """
        select p.proname as name, format('select %%I(%%s)', p.proname,
               (select string_agg(format('null::%%s', t.type::regtype), ', ' order by t.ordinality)
                  from unnest(p.proargtypes::oid[]) with ordinality as t (type, ordinality))) as call
          from pg_proc p
         where p.pronamespace = 'public'::regnamespace
           and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"""
    return {row["name"]: row["call"] for row in fetch(db, query)}


def test_each_role_may_call_what_is_granted_and_nothing_else(held: Connection, role: str) -> None:
    calls = calls_of_every_function(held)
    allowed = {name for name, call in calls.items() if outcome(held, call) != FORBIDDEN}
    assert allowed == {name for name, roles in FUNCTIONS.items() if role in roles}
    assert len(calls) > len(allowed)  # the trigger functions are nobody's


def test_each_role_has_the_tables_that_are_granted_and_no_other(held: Connection, role: str) -> None:
    query = """
        select c.relname as name, c.relkind::text as kind, min(a.attname::text) as column from pg_class c
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relkind in ('r', 'p', 'v') and c.relnamespace = 'public'::regnamespace group by c.oid"""
    rights = [(name, roles, has) for roles, has, names in sources.table_rights() for name in names]
    readable = {name: roles for name, roles, has in rights if has != ", ".join(DML)}  # an insert: by policies
    writable = {name: roles for name, roles, has in rights if has == ", ".join(DML)}
    tables = fetch(held, query)
    assert {*readable, *writable, "trigger_permits"} <= {table["name"] for table in tables}
    for table in tables:
        allowed = {
            name
            for name, statement in STATEMENTS.items()
            if (table["kind"] != "v" or name == "select")
            and outcome(held, statement.format(table=table["name"], column=table["column"])) != FORBIDDEN
        }
        expected = {"select"} if role in readable.get(table["name"], ()) else set()
        if expected and table["name"] == "telegram_links":
            expected.add("insert")  # which a trigger refuses before the policy does
        assert allowed == (set(DML) if role in writable.get(table["name"], ()) else expected), table["name"]


def test_nobody_but_the_owner_sees_or_makes_a_permit(held: Connection) -> None:
    for statement in ("table trigger_permits", "insert into trigger_permits values ('removal')"):
        assert outcome(held, statement) == FORBIDDEN


def test_no_role_can_log_in_and_none_has_a_power_of_its_own(db: Connection) -> None:
    query = "select * from pg_roles where rolname ~ '^settings_(reader|writer|relay|admin)$'"
    found = fetch(db, query)
    assert len(found) == len(ROLES)
    powers = ("rolcanlogin", "rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
    assert not any(row[power] for row in found for power in powers)


def test_a_user_in_no_role_can_do_nothing(db: Connection, login: str) -> None:
    calls = calls_of_every_function(db)
    fetch(db, f"set session authorization {login}")
    assert {outcome(db, call) for call in calls.values()} == {FORBIDDEN}
    assert outcome(db, "table app_users") == FORBIDDEN
    assert outcome(db, "table schema_objects") == FORBIDDEN


def test_a_version_bears_the_name_of_who_logged_in_not_of_the_owner(db: Connection, uid: str, login: str) -> None:
    fetch(db, f"grant settings_writer to {login}")
    fetch(db, f"set session authorization {login}")
    saved = one(db, "select * from patch_user_setting(%s, 'params', '{\"leverage\": 20}')", (uid,))
    assert (saved["version"], saved["changed_by"]) == (2, login)
    with refused(FORBIDDEN):
        fetch(db, "update user_settings set settings = '{}' where is_active")


# -- how the roles come to be


def test_migrating_again_leaves_the_policies_alone(db: Connection, database_url: str) -> None:
    """Making them anew would lock out readers, and wait for them."""
    query = "select array_agg(xmin::text order by oid) from pg_policy"
    before = value(db, query)
    migrate.migrate(database_url)
    assert value(db, query) == before


def test_grants_of_objects_made_since_are_given_by_the_next_migrate(db: Connection, database_url: str) -> None:
    fetch(db, "drop function find_user(text)")
    migrate.migrate(database_url)
    assert value(db, "select has_function_privilege('settings_reader', 'find_user(text)', 'execute')")


def test_every_overload_has_the_rights_of_its_name_and_nobody_has_others(db: Connection, database_url: str) -> None:
    fetch(db, "create function user_record(integer) returns integer language sql return $1")
    for name in ("user_record(integer)", "user_record(text)", "delete_user(text)", "no_removal()"):
        fetch(db, f"grant all on function {name} to public, settings_reader, settings_relay")
        fetch(db, f"revoke all on function {name} from settings_writer")
    migrate.migrate(database_url)
    query = """
        select p.oid::regprocedure::text as name,
               array(select a.grantee::regrole::text from aclexplode(p.proacl) a
                      where a.grantee <> p.proowner order by 1) as roles
          from pg_proc p where p.proname in ('user_record', 'delete_user', 'no_removal')"""
    everyone = {row["name"]: [role.removeprefix("settings_") for role in row["roles"]] for row in fetch(db, query)}
    readers = ["admin", "reader", "writer"]
    assert everyone.pop("user_record(integer)") == everyone.pop("user_record(text)") == readers
    assert everyone == {"delete_user(text)": ["admin", "writer"], "no_removal()": []}


def test_a_user_who_may_not_make_roles_is_warned_and_goes_on(db: Connection, login: str) -> None:
    """The roles are of the whole cluster and others may use them: they are renamed in a transaction that is undone."""
    warnings: list[str] = []
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    with db.transaction(force_rollback=True):
        for role in ROLES:
            fetch(db, f"alter role settings_{role} rename to {login}_{role}")
        fetch(db, f"set local role {login}")
        for file in ("roles.sql", "grants.sql"):
            db.execute((OURS / file).read_bytes())
    expected = [f"the role settings_{role} is missing, and the user {login} can't make it" for role in ROLES]
    assert warnings == expected


def test_the_first_migrate_of_a_cluster_makes_the_roles_and_grants_to_them(db: Connection, login: str) -> None:
    """As the test above: with the roles renamed, there are none."""
    with db.transaction(force_rollback=True):
        for role in ROLES:
            fetch(db, f"alter role settings_{role} rename to {login}_{role}")
        for file in sources.sql_files():
            db.execute(file.read_bytes())
        assert value(db, "select has_table_privilege('settings_admin', 'user_settings', 'delete')")
        assert value(db, "select has_function_privilege('settings_reader', 'find_user(text)', 'execute')")


def test_what_belongs_to_an_extension_is_left_alone(db: Connection, database_url: str) -> None:
    fetch(db, "create procedure of_the_user() language sql as ''")  # no function, and no reason to stumble
    fetch(db, "create extension pg_trgm")
    migrate.migrate(database_url)
    assert value(db, "select proacl from pg_proc where proname = 'similarity'") is None
    fetch(db, "grant execute on function similarity(text, text) to settings_reader")
    migrate.migrate(database_url)
    assert value(db, "select proacl::text from pg_proc where proname = 'similarity'").count("settings_reader") == 1
    assert migrate.status(database_url).is_current


def test_two_databases_may_make_the_roles_at_once(db: Connection, session: Open) -> None:
    prefix = f"absent_{uuid.uuid4().hex[:12]}"
    make = (OURS / "roles.sql").read_text().replace("'settings_", f"'{prefix}_").replace("%", "%%")
    first, second = session(), session()
    try:
        first.run("begin")
        first.run(make)
        waiting = second.run_blocked(make)
        first.run("commit")
        waiting.result(DEADLINE)
        assert value(db, "select count(*) from pg_roles where rolname ~ %s", (f"^{prefix}_",)) == len(ROLES)
    finally:
        for role in ROLES:
            fetch(db, f"drop role if exists {prefix}_{role}")


def test_an_owner_who_is_no_superuser_migrates_and_the_roles_work(
    db: Connection, login: str, empty_database_url: str
) -> None:
    name = conninfo_to_dict(empty_database_url)["dbname"]
    fetch(db, f"alter database {name} owner to {login}")
    migrate.migrate(make_conninfo(empty_database_url, options=f"-c role={login}"))
    with psycopg.connect(in_role(empty_database_url, "writer"), row_factory=dict_row) as writer:
        assert len(fetch(writer, "select * from register_user(%s, %s)", (OKX_UID, TELEGRAM_ID))) == 3
        assert (
            value(writer, "select version from patch_user_setting(%s, 'params', '{\"leverage\": 5}')", (OKX_UID,)) == 2
        )
    assert migrate.status(in_role(empty_database_url, "reader")).is_current
    with psycopg.connect(in_role(empty_database_url, "admin"), row_factory=dict_row) as admin:
        fetch(admin, "select from prune_user_settings(1, '0')")
        fetch(admin, "select from erase_user(%s)", (OKX_UID,))
        fetch(admin, "select from begin_restore(true)")
        fetch(admin, "select from end_restore()")


def test_a_user_in_no_role_is_told_so_by_status(database_url: str, login: str) -> None:
    with pytest.raises(NotPermitted, match="permission denied"):
        migrate.status(make_conninfo(database_url, options=f"-c role={login}"))


def test_only_those_of_the_schema_may_make_objects_in_it(db: Connection, database_url: str) -> None:
    """The functions' search_path names it: who could make one there could have it run with the owner's rights."""
    fetch(db, "grant create on schema public to public")
    migrate.migrate(database_url)
    assert not value(db, "select has_schema_privilege('settings_reader', 'public', 'create')")


def test_raw_sql_of_the_admin_fires_every_trigger(db: Connection, uid: str) -> None:
    fetch(db, "set role settings_admin")
    mine = "where okx_uid = %s and setting_type = 'params' and is_active"
    fetch(db, f"update user_settings set settings = settings || '{{\"leverage\": 20}}' {mine}", (uid,))
    assert value(db, f"select version from user_settings {mine}", (uid,)) == 2
    with refused("US003"):
        fetch(db, f"update user_settings set settings = '{{\"leverage\": 0}}' {mine}", (uid,))
    with refused("US005"):
        fetch(db, f"delete from user_settings {mine}", (uid,))
    fetch(db, f"update user_settings set deleted_at = now() {mine}", (uid,))
    fetch(db, f"update user_settings set deleted_at = null, settings = '{{}}' {mine}", (uid,))
    assert value(db, f"select version from user_settings {mine}", (uid,)) == 4
    fetch(db, "update app_users set telegram_id = '77777' where okx_uid = %s", (uid,))
    assert value(db, "select okx_uid from telegram_links where telegram_id = '77777'") == uid
    fetch(db, "insert into app_users (okx_uid, telegram_id) values (%s, '88888')", (OTHER,))
    fetch(
        db,
        "insert into user_settings (user_id, setting_type, settings)"
        " select id, 'params', '{}' from app_users where okx_uid = %s",
        (OTHER,),
    )
    cipher = "v1.00000000." + "A" * 40
    fetch(
        db,
        "insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)"
        " select id, okx_uid, %s, %s, %s from app_users where okx_uid = %s",
        (cipher, cipher, cipher, OTHER),
    )
    fetch(db, "update okx_api_info set passphrase = %s", ("v1.00000000." + "B" * 40,))
    assert value(db, "select array_agg(version order by version) from okx_api_info") == [1, 2]
    with refused("US005"):
        fetch(db, "select save_setting_type('params', 'other', 'json')")
    fetch(db, "update app_users set deleted_at = now() where okx_uid = %s", (OTHER,))
    marks = {(row["owner"], row["kind"]) for row in fetch(db, "select owner, kind from mirror_pending")}
    assert {(uid, "params"), (OTHER, "user"), (OTHER, "api_keys"), ("77777", "telegram")} <= marks


# -- the store, each part with the role it needs


def as_role(config: Config, role: str) -> Config:
    assert config.database_url
    return replace(config, database_url=in_role(config.database_url, role))


async def test_a_writer_can_do_all_that_bots_do(config: Config, redis: redis_py.Redis) -> None:
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 33}')  # of the older system: taken over
    async with SettingsStore(as_role(config, "writer")) as store:
        done = await store.register(OKX_UID, TELEGRAM_ID, name="Kim")
        assert {setting.mirrored for setting in done.settings} == {True}
        assert (await store.patch(OKX_UID, "params", {"leverage": 20})).mirrored
        redis.hset(f"user:{OKX_UID}:preferences", "timeframe", "4h")  # somebody else's, kept in the history
        saved = await store.save(TELEGRAM_ID, "preferences", {"timeframe": "5m"}, reason="test")
        assert saved.mirrored
        assert len(await store.history(OKX_UID, "preferences")) == saved.version == 4
        assert [v.changes for v in await store.history(OKX_UID, "params", limit=1)]
        started = datetime.now(UTC)
        await store.save_all(OKX_UID, {"params": {"leverage": 5}, "dual_side": {}})
        assert [c.key for c in await store.diff(OKX_UID, "preferences", 1, 4)]
        await store.rollback(OKX_UID, "params", 1)
        await store.delete(OKX_UID, "dual_side")
        await store.restore(OKX_UID, "dual_side")
        await store.rollback_all(OKX_UID, started)
        await store.unlink(OKX_UID)
        await store.link(OKX_UID, "77777")
        await store.delete_user(OKX_UID)
        await store.restore_user(OKX_UID)
        found = await store.get(OKX_UID, "preferences", source="redis")
        assert found is not None
        assert found.settings == {"timeframe": "5m"}
        redis.hset(f"user:{OTHER}:preferences", "timeframe", "1h")
        assert (await Sync(store._connections).run())["new"] == 1
        for forbidden in (
            store.erase_user(OKX_UID),
            store.prune(1, timedelta()),
            store.save_template("careful", "params", {}),
            store.apply_template("default", "params", filter={}),
        ):
            with pytest.raises(NotPermitted, match=r"not permitted: permission denied for function") as error:
                await forbidden
            assert "settings_admin" in (error.value.hint or "")


async def test_a_reader_reads_everything_and_fills_redis_again(
    config: Config, redis: redis_py.Redis, user: str, tmp_path: Path
) -> None:
    redis.flushall()
    async with SettingsStore(as_role(config, "reader")) as store:
        found = await store.get(user, "params")
        assert found is not None
        assert found.source == "db"
        again = await store.get(user, "params")
        assert again is not None
        assert again.source == "redis"
        assert len(await store.get_all(TELEGRAM_ID)) == 3
        assert await masked(store, found)
        assert [u.okx_uid for u in await store.list_users()] == [user]
        assert await store.search("params", {"leverage": 10})
        assert await store.history(user)
        assert await store.get_version(user, "params", 1)
        assert await store.get_at(user, "params", datetime.now(UTC) + timedelta(minutes=1))
        assert await store.list_templates()
        with (tmp_path / "export.json").open("wb") as file:
            assert await export.export_users(store, file) == 1
        for forbidden in (store.patch(user, "params", {"leverage": 20}), store.register(OTHER), store.unlink(user)):
            with pytest.raises(NotPermitted):
                await forbidden
        with pytest.raises(NotPermitted):
            await Sync(store._connections).run()
    assert "error" not in (await status.gather(as_role(config, "reader")))["postgresql"]


async def test_the_relay_mirrors_verifies_and_mends_and_saves_nothing(
    config: Config, redis: redis_py.Redis, user: str, store: SettingsStore
) -> None:
    await store._connections.marks.clear()
    redis.flushall()
    relaying = Connections(as_role(config, "relay"))
    try:
        assert (await Relay(relaying).once()).failures == {}
        assert redis.exists(f"user:{user}:settings")
        await store.patch(user, "params", {"leverage": 20})
        redis.set(f"user:{user}:settings", '{"leverage": 33}')
        report = await verify(relaying, repair=True)
        assert (report.findings, report.remaining) == ({"edited": 1}, 0)
        assert (await verify(relaying, okx_uid=user)).findings == {}
        assert [v.version for v in await store.history(user, "params")] == [4, 3, 2, 1]
        assert (await Relay(relaying).once()).failures == {}
    finally:
        await relaying.close()
    found = (await status.gather(as_role(config, "relay")))["postgresql"]
    assert (found.get("users"), found.get("error")) == (1, None)
    async with SettingsStore(as_role(config, "relay")) as forbidden:
        with pytest.raises(NotPermitted):
            await forbidden.patch(user, "params", {"leverage": 1})
        with pytest.raises(NotPermitted):
            await forbidden.history(user)


async def test_an_admin_does_the_rest(config: Config, user: str, tmp_path: Path) -> None:
    async with SettingsStore(as_role(config, "admin")) as store:
        await store.register(OTHER)
        await store.save_template("careful", "params", {"leverage": 3})
        assert len(await store.apply_template("careful", "params", filter={})) == 2
        assert await store.prune(1, timedelta()) == {"params": 2}
        with (tmp_path / "backup.zip").open("wb") as file:
            made = await backup.backup(store, file)
        assert made.tables["app_users"].rows == 2
        with (tmp_path / "export.json").open("wb") as file:
            await export.export_users(store, file, with_secrets=True)
        assert (await store.erase_user(OTHER)).mirrored
        await export.import_users(store, (tmp_path / "export.json").read_bytes())
        await store.delete_template("careful")
        with pytest.raises(errors.NotEmpty):
            await backup.restore_backup(store, tmp_path / "backup.zip")
        await backup.restore_backup(store, tmp_path / "backup.zip", merge=True)
        restored = await backup.restore_backup(store, tmp_path / "backup.zip", replace=True)
        assert (restored.users, restored.mirrored) == (2, True)
        assert [t.settings for t in await store.list_templates("careful")] == [{"leverage": 3}]
        assert (await store.patch(user, "params", {"leverage": 4})).version == 3
        assert (await verify(store._connections)).findings == {}
    with psycopg.connect(config.database_url or "") as connection:  # the triggers are back
        disabled = sql.SQL("select count(*) from pg_trigger where not tgisinternal and tgenabled <> 'O'")
        assert connection.execute(disabled).fetchone() == (0,)
