"""Old code on an adopted database: each call of the service that this store replaces goes on working beside ours."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from store import Config, SettingsStore, Vault
from store.coherence.relay import Relay
from store.encryption import rotation
from store.encryption.vault import generate_key, is_ciphertext
from store.postgres import migrate
from tests.migrations import old_service
from tests.migrations.old_service import KEYS, OldService
from tests.migrations.predecessor import KIM, PARK, Connection, rows

pytestmark = pytest.mark.slow

KIM_UID, GONE_UID, LEE_UID, PARK_UID = (f"{n}87662504768345929" for n in (5, 6, 7, 8))
KIM_ID, LEE_ID = "1709556958", "3709556958"
NEW_UID, NEW_ID = "987662504768345929", "4709556958"
PLAIN = dict(zip(KEYS, ("k", "s", "p"), strict=True))
VERSIONS = """
    select version, api_key, is_active, deleted_at is not null from okx_api_info
     where okx_uid = %s and version > 0 order by version"""


@pytest.fixture
def bot(old_url: str) -> Iterator[OldService]:
    """An old bot whose database was adopted while it ran, without an encryption key."""
    service = OldService(old_url)
    migrate.migrate(old_url)
    yield service
    service.connection.close()


def test_users_are_read_as_before(old_url: str, old: Connection) -> None:
    service = OldService(old_url)
    identifiers = [KIM_UID, KIM, LEE_ID, PARK_UID, LEE_UID, GONE_UID, "12345", "web@example.com"]
    identifiers += [
        str(row[0]) for row in rows(old, f"select id from okx_api_info where user_id in ('{KIM}', '{PARK}')")
    ]
    before = {identifier: service.fetch_user(identifier) for identifier in identifiers}
    keys = {identifier: service.get_api_keys(identifier) for identifier in identifiers}
    migrate.migrate(old_url)
    for identifier, found in before.items():
        now = service.fetch_user(identifier)
        assert (now is None) == (found is None), identifier
        if found and now:
            changed = {name for name, value in found[0].items() if value != now[0][name]}
            assert changed <= {"updated_at", "okx_uid", "telegram_id"}, identifier
        assert service.get_api_keys(identifier) == keys[identifier]
    service.connection.close()


def test_a_new_user_gets_link_keys_and_settings(bot: OldService, old: Connection) -> None:
    user, api = bot.ensure_user_exists(NEW_UID, NEW_ID) or ({}, None)
    assert (user["okx_uid"], user["telegram_id"], user["telegram_linked"]) == (NEW_UID, NEW_ID, True)
    assert api is not None
    assert (api["telegram_id"], api["telegram_linked"], api["okx_uid"], api["api_key"]) == (NEW_ID, True, NEW_UID, None)
    assert bot.save_all_user_settings(NEW_UID, params={"leverage": "7"})  # before there are keys; a number as text
    _, api = bot.upsert_api_credentials(NEW_UID, **PLAIN) or ({}, None)
    assert api is not None
    assert api | PLAIN == api
    assert bot.get_api_keys(NEW_ID) == ("k", "s", "p")
    assert rows(old, "select okx_uid from find_user(%s)", NEW_ID) == [(NEW_UID,)]
    assert [row["settings"] for row in bot.get_user_settings(NEW_ID, "params")] == [{"leverage": 7}]
    assert rows(old, "select api_key, version from get_api_credentials(%s)", NEW_UID) == [("k", 1)]
    assert rows(old, "select document from mirror_source where owner = %s and kind = 'api_keys'", NEW_UID) == [(PLAIN,)]


def test_who_has_no_keys_is_nobody_whose_keys_redis_must_not_hold(bot: OldService, old: Connection) -> None:
    """The bot writes keys into Redis first: between ensure and upsert, a mark of ours would take them away again."""
    bot.ensure_user_exists(NEW_UID, NEW_ID)
    assert rows(old, "select kind from mirror_pending where owner = %s", NEW_UID) == [("user",)]
    assert rows(old, "select kind from mirror_source where owner = %s", NEW_UID) == [("user",)]
    assert rows(old, "select count(*) from api_credentials_history(%s)", NEW_UID) == [(0,)]
    assert rows(old, "select version from save_api_credentials(%s, 'k', 's', 'p', 0)", NEW_UID) == [(1,)]
    assert bot.get_api_keys(NEW_UID) == ("k", "s", "p")


def test_links_are_made_moved_and_removed(bot: OldService, old: Connection) -> None:
    linked = "select telegram_id, telegram_userid, telegram_linked from app_users where okx_uid = %s"
    in_api = "select telegram_id from okx_api_info where okx_uid = %s and deleted_at is null"
    bot.set_telegram_link(LEE_UID, NEW_ID, "lee")
    assert rows(old, linked, LEE_UID) == [(NEW_ID, NEW_ID, True)]
    assert rows(old, in_api, LEE_UID) == [(NEW_ID,)]
    assert rows(old, "select okx_uid from find_user(%s)", NEW_ID) == [(LEE_UID,)]
    bot.run(old_service.FREE_TELEGRAM_ID, id=KIM_ID)  # frees it, and knows nothing of telegram_userid
    assert rows(old, linked, KIM_UID) == [(None, None, False)]
    bot.set_telegram_link(LEE_UID, KIM_ID)
    assert rows(old, "select okx_uid from find_user(%s)", KIM_ID) == [(LEE_UID,)]
    assert rows(old, linked, PARK_UID) == [(None, None, False)]  # it was Park's, too, by an older link
    found = bot.fetch_user(KIM_ID)
    assert found is not None
    assert found[0]["okx_uid"] == LEE_UID
    assert bot.unlink_telegram(LEE_UID)
    assert rows(old, linked, LEE_UID) == [(None, None, False)]
    assert rows(old, in_api, LEE_UID) == [(None,)]
    assert bot.fetch_user(KIM_ID) is None
    bot.set_telegram_link(LEE_UID, KIM_ID)
    bot.run(old_service.RESET, telegram_id=KIM_ID, okx_uid=LEE_UID)
    assert rows(old, "select okx_uid from find_user(%s)", KIM_ID) == []
    rows(old, "select link_telegram(%s, %s)", LEE_UID, KIM_ID)  # and what ours links, old code finds
    found = bot.fetch_user(KIM_ID)
    assert found is not None
    assert found[1] is not None
    assert (found[0]["okx_uid"], found[0]["telegram_userid"], found[1]["telegram_id"]) == (LEE_UID, KIM_ID, KIM_ID)


@pytest.mark.parametrize(
    ("change", "linked_to"),
    [
        ("update app_users set telegram_userid = '99999' where okx_uid = '{}'", "99999"),
        ("update app_users set telegram_linked = false where okx_uid = '{}'", None),
        ("update okx_api_info set telegram_id = '99999' where okx_uid = '{}'", "99999"),
        ("update okx_api_info set telegram_id = null, telegram_linked = false where okx_uid = '{}'", None),
    ],
)  # fmt: skip
def test_a_link_is_changed_by_whichever_column(
    bot: OldService, old: Connection, change: str, linked_to: str | None
) -> None:
    bot.set_telegram_link(KIM_UID, KIM_ID)
    bot.run(change.format(KIM_UID))
    assert rows(old, "select telegram_id from app_users where okx_uid = %s", KIM_UID) == [(linked_to,)]
    found = bot.fetch_user(KIM_UID)
    assert found is not None
    assert found[1] is not None
    assert {found[0]["telegram_userid"], found[1]["telegram_id"]} == {linked_to}


def test_keys_are_changed_rotated_and_deleted(bot: OldService, old: Connection) -> None:
    assert rows(old, VERSIONS, KIM_UID) == [
        (1, "kim-old-key", False, True), (2, "kim2-key", False, True), (3, "kim-key", True, False),
    ]  # fmt: skip
    bot.upsert_api_credentials(KIM_UID, api_key="kim-next")
    assert bot.get_api_keys(KIM_UID) == ("kim-next", "kim-secret", "kim-pass")
    bot.run(old_service.DELETE_KEYS, user_id=KIM)
    assert bot.get_api_keys(KIM_UID) is None
    assert bot.get_api_keys(KIM) is None
    bot.run(old_service.INSERT_KEYS, user_id=KIM, okx_uid=None, **PLAIN)  # without an OKX UID, as it does
    assert bot.get_api_keys(KIM_UID) == ("k", "s", "p")
    bot.run(old_service.INSERT_KEYS, user_id=KIM, okx_uid=KIM_UID, **{**PLAIN, "api_key": "k2"})  # over live ones
    assert bot.get_api_keys(KIM_ID) == ("k2", "s", "p")
    assert rows(old, VERSIONS, KIM_UID)[3:] == [
        (4, "kim-next", False, True), (5, None, False, True), (6, "k", False, True), (7, "k2", True, False),
    ]  # fmt: skip
    history = rows(old, "select version, is_deleted from api_credentials_history(%s)", KIM_UID)
    assert history == [(7, False), (6, False), (5, True), (4, False), (3, False), (2, False), (1, False)]
    bot.run("update okx_api_info set updated_at = now() where user_id = %(id)s", id=KIM)  # history, too
    assert len(rows(old, VERSIONS, KIM_UID)) == 7
    rows(old, "select delete_api_credentials(%s)", KIM_UID)
    assert bot.get_api_keys(KIM_UID) is None
    assert bot.save_all_user_settings(KIM_UID, params={"leverage": 3})


def test_half_of_the_keys_is_refused_and_says_what_is_missing(bot: OldService, old: Connection) -> None:
    with pytest.raises(psycopg.DatabaseError, match="there is only api_key and api_secret") as caught:
        bot.upsert_api_credentials(PARK_UID, api_key="k", api_secret="s")
    assert "passphrase in one statement" in str(caught.value.diag.message_hint)
    assert bot.get_api_keys(PARK_UID) is None


def test_settings_are_saved_deleted_and_inserted_again(bot: OldService, old: Connection) -> None:
    versions = """
        select version, settings ->> 'leverage', is_active, deleted_at is not null from user_settings
         where okx_uid = %s and setting_type = 'params' order by version desc limit 3"""
    assert bot.save_all_user_settings(KIM_UID, params={"leverage": 33}, preferences={"symbol": "SOL"})
    bot.run(
        "update user_settings set settings = settings, version = version + 1 where is_active and user_id = %(id)s",
        id=KIM,
    )
    bot.run(old_service.DELETE_SETTINGS, user_id=KIM, type="params")
    assert bot.get_user_settings(KIM_UID, "params") == []
    (row,) = bot.run(old_service.INSERT_SETTINGS, user_id=KIM, type="params", settings='{"leverage": 4}')
    (found,) = bot.get_user_settings(KIM_UID, "params")
    assert (found["id"], found["okx_uid"], found["settings"]) == (row["id"], KIM_UID, {"leverage": 4})
    assert rows(old, versions, KIM_UID) == [
        (12, "4", True, False), (11, None, False, True), (10, "33", False, False),
    ]  # fmt: skip
    with pytest.raises(psycopg.DatabaseError, match="invalid settings"):
        bot.run(
            "update user_settings set settings = '{\"leverage\": \"9\"}' where is_active and setting_type = 'params'"
        )
    with pytest.raises(psycopg.errors.UniqueViolation):  # as by the older index
        bot.run(old_service.INSERT_SETTINGS, user_id=KIM, type="params", settings='{"leverage": 5}')
    bot.run("update user_settings set deleted_at = now(), is_active = false where user_id = %(id)s", id=KIM)
    assert bot.get_user_settings(KIM_UID) == []
    assert bot.save_all_user_settings(KIM_UID, params={"leverage": 6})
    assert rows(old, versions, KIM_UID)[0] == (14, "6", True, False)


def test_a_user_is_deleted(bot: OldService, old: Connection) -> None:
    assert bot.save_all_user_settings(KIM_UID, params={"leverage": 3})
    bot.run(old_service.DELETE_USER, user_id=KIM)
    assert bot.fetch_user(KIM_UID) is None
    assert bot.get_user_settings(KIM_UID) == []
    rows(old, "select restore_user(%s)", KIM_UID)
    assert bot.get_api_keys(KIM_UID) == ("kim-key", "kim-secret", "kim-pass")
    assert rows(old, "select is_active from app_users where id = %s", KIM) == [(True,)]


@pytest.mark.parametrize(
    "arguments", ["'987662504768345929'", "'4709556958'", "'web@example.com'", f"'{KIM}', 'alerts'"]
)
def test_nobody_has_no_settings_where_old_code_asks(bot: OldService, old: Connection, arguments: str) -> None:
    assert bot.run(f"select * from get_user_settings({arguments})") == []
    strict = f"select * from get_user_settings(p_must_exist => true, p_identifier => {arguments})"
    with pytest.raises(psycopg.DatabaseError):
        bot.run(strict.replace("=> '00000000-0000-0000-0000-000000000001', ", f"=> '{KIM}', p_setting_type => "))


async def test_plain_text_is_told_of_and_encrypted_by_the_relay_once_the_others_are(
    bot: OldService, old: Connection, old_url: str, servers: Config, redis: object
) -> None:
    notices: list[str] = []
    bot.connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()})
    config = Config(old_url, servers.redis_url, home=servers.home, vault=vault)
    bot.upsert_api_credentials(KIM_UID, **PLAIN)
    assert notices == [f"the API keys of user {KIM_UID} were saved in plain text"]
    async with SettingsStore(config) as store:
        await Relay(store._connections).once()
        assert bot.get_api_keys(KIM_UID) == (
            "k",
            "s",
            "p",
        )  # old code reads them: nobody said that they are to be encrypted
        assert (await rotation.rotate(store, plain=True)).failures == {}
        assert await rotation.seal_table(store) == 0
        assert all(map(is_ciphertext, bot.get_api_keys(KIM_UID) or [""]))

        bot.upsert_api_credentials(KIM_UID, **{**PLAIN, "api_key": "k2"})
        bot.ensure_user_exists(NEW_UID)
        bot.upsert_api_credentials(NEW_UID, **PLAIN)
        with pytest.raises(psycopg.DatabaseError, match="invalid credentials") as caught:
            bot.upsert_api_credentials(PARK_UID, api_key="half")
        assert "there is only api_key" in str(caught.value.diag.message_detail)
        await Relay(store._connections).once()
        for uid, key in ((KIM_UID, "k2"), (NEW_UID, "k")):
            found = await store.get_credentials(uid)
            assert found is not None
            assert (found.api_key, found.source) == (key, "redis")
        assert rows(old, "select okx_uid from okx_api_info where api_key !~ '^v2'") == []
        with pytest.raises(psycopg.DatabaseError, match="invalid credentials") as caught:
            bot.upsert_api_credentials(KIM_UID, api_key="half")
        assert caught.value.diag.message_hint == "Save all three."
    old.execute("drop schema predecessor cascade")
    with pytest.raises(psycopg.DatabaseError, match="invalid credentials") as caught:
        old.execute("update okx_api_info set api_key = 'k', api_secret = 's', passphrase = 'p' where is_active")
    assert "keys encrypt-existing" in str(caught.value.diag.message_hint)
    migrate.migrate(old_url)
    assert migrate.status(old_url).is_current
