"""Templates: saved under a name, and applied to many users at once, all or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import OKX_UID, Rows
from tests.helpers.sessions import DEADLINE, Connection, Session, Statement, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

KIM, LEE, PARK = (f"100000000000000{n}" for n in (1, 2, 3))
EVERYBODY = [KIM, LEE, PARK]
NOBODY = "1999999999999999"

APPLY = "select * from apply_setting_template(%s, 'params', %s, p_replace => %s)"
PREVIEW = "select * from apply_setting_template(%s, 'params', %s, p_replace => %s, p_dry_run => true)"
WHERE = "select * from apply_setting_template(%s, 'params', p_filter => %s)"
SAVE_TEMPLATE = "select * from save_setting_template(%s, %s, %s)"
NEW = "update user_settings set settings = settings || '{\"leverage\": 99}' where okx_uid = %s and is_active"


@pytest.fixture
def users(db: Connection) -> list[str]:
    """Three users whose params are small documents of their own, and the template careful: leverage 3."""
    for uid in EVERYBODY:
        fetch(db, "select from ensure_user(%s)", (uid,))
        save(db, uid, {"leverage": 20, "note": uid, "nested": {"a": 1, "b": 2}})
    template(db, {"leverage": 3})
    return EVERYBODY


def save(db: Connection, uid: str, document: dict[str, Any]) -> None:
    fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (uid, json.dumps(document)))


def template(db: Connection, document: dict[str, Any], name: str = "careful") -> None:
    fetch(db, "select from save_setting_template(%s, 'params', %s)", (name, json.dumps(document)))


def params(db: Connection, uid: str) -> Any:
    return value(db, "select settings from get_user_settings(%s, 'params')", (uid,))


def versions(db: Connection, uid: str) -> list[int]:
    rows = fetch(db, "select version from user_settings where okx_uid = %s order by version", (uid,))
    return [row["version"] for row in rows]


def everything(db: Connection) -> list[Rows]:
    """All that an application could change."""
    tables = ("user_settings", "mirror_pending", "app_users", "telegram_links", "setting_templates")
    return [fetch(db, f"select * from {table} order by 1, 2") for table in tables]


def test_a_template_is_saved_in_place_of_the_one_of_its_name_and_type(db: Connection) -> None:
    fetch(db, "select set_config('settings_store.actor', 'ops', false)")
    fetch(db, SAVE_TEMPLATE, ("careful", "params", '{"leverage": 3, "use_sl": true}'))
    fetch(db, SAVE_TEMPLATE, ("careful", "preferences", '{"timeframe": "5m"}'))
    saved = one(db, SAVE_TEMPLATE, ("careful", "params", '{"leverage": 2}'))
    assert (saved["settings"], saved["changed_by"]) == ({"leverage": 2}, "ops")
    listed = fetch(db, "select name, setting_type, settings from list_setting_templates('careful')")
    assert [tuple(row.values()) for row in listed] == [
        ("careful", "params", {"leverage": 2}),
        ("careful", "preferences", {"timeframe": "5m"}),
    ]


def test_the_template_default_is_the_catalogue(db: Connection) -> None:
    names = [(row["name"], row["setting_type"]) for row in fetch(db, "select * from list_setting_templates()")]
    assert names == [("default", "dual_side"), ("default", "params"), ("default", "preferences")]
    fetch(db, "update setting_fields set default_value = '7' where key = 'leverage'")
    assert value(db, "select settings ->> 'leverage' from setting_template('default', 'params')") == "7"
    with refused("US010"):
        fetch(db, SAVE_TEMPLATE, ("default", "params", "{}"))
    with refused("US010"):
        fetch(db, "select delete_setting_template('default')")


@pytest.mark.parametrize("name", ["", " ", "a b", "a\nb", "a\tb", "a\x1b[31m", "x" * 65, None])
def test_what_cannot_be_a_name_is_refused(db: Connection, name: str | None) -> None:
    with refused("US010") as error:
        fetch(db, SAVE_TEMPLATE, (name, "params", "{}"))
    assert "name" in (error.value.diag.message_primary or "")
    assert len(fetch(db, "select from setting_templates")) == 0


@pytest.mark.parametrize(
    "name", ["x" * 64, "'; drop table user_settings; --".replace(" ", "_"), '"', "%s", "%(name)s", "\\", "조심", "{}"]
)
def test_any_other_name_is_a_name(db: Connection, users: list[str], name: str) -> None:
    template(db, {"leverage": 4}, name)
    fetch(db, APPLY, (name, users, False))
    newest = one(db, "select settings, change_reason from user_settings where okx_uid = %s and is_active", (KIM,))
    assert (newest["settings"]["leverage"], newest["change_reason"]) == (4, f"template {name}")
    assert value(db, "select delete_setting_template(%s)", (name,)) == 1


def test_a_template_must_be_valid_by_the_catalogue(db: Connection) -> None:
    for document in ('{"leverage": 1000}', '{"leverage": null}', '{"signal_bot_token": "********"}', "[]", "null"):
        with refused("US003"):
            fetch(db, SAVE_TEMPLATE, ("careful", "params", document))
    with refused("US003"):
        fetch(db, SAVE_TEMPLATE, ("careful", "params", None))
    with refused("US002"):
        fetch(db, SAVE_TEMPLATE, ("careful", "nonsense", "{}"))


def test_a_template_of_another_type_is_refused_with_what_there_is(db: Connection, users: list[str]) -> None:
    fetch(db, SAVE_TEMPLATE, ("charts", "preferences", '{"timeframe": "5m"}'))
    with refused("US009") as error:
        fetch(db, APPLY, ("charts", users, False))
    assert error.value.diag.message_detail == "there is one for: preferences"
    with refused("US009") as error:
        fetch(db, APPLY, ("carefree", users, False))
    assert error.value.diag.message_detail == "known: careful, charts, default"
    with refused("US009"):
        fetch(db, APPLY, (None, users, False))
    with refused("US002"):
        fetch(db, "select from apply_setting_template('careful', 'nonsense', %s)", (users,))


def test_deleting_a_template_leaves_users_what_they_have(db: Connection, users: list[str]) -> None:
    fetch(db, SAVE_TEMPLATE, ("careful", "preferences", '{"timeframe": "5m"}'))
    fetch(db, APPLY, ("careful", users, False))
    assert value(db, "select delete_setting_template('careful', 'params')") == 1
    assert [row["setting_type"] for row in fetch(db, "select * from list_setting_templates('careful')")] == [
        "preferences"
    ]
    assert params(db, KIM)["leverage"] == 3
    for arguments in ("'careful', 'params'", "'nobody'", "null", "'careful', 'nonsense'"):
        with refused("US009"):
            fetch(db, f"select delete_setting_template({arguments})")


def test_the_keys_of_a_template_replace_those_of_the_document(db: Connection, users: list[str]) -> None:
    template(db, {"leverage": 3, "nested": {"c": 3}, "signal_bot_token": None})
    fetch(db, APPLY, ("careful", [KIM], False))
    assert params(db, KIM) == {"leverage": 3, "note": KIM, "nested": {"c": 3}, "signal_bot_token": None}
    assert params(db, LEE)["leverage"] == 20
    fetch(db, APPLY, ("careful", [LEE], True))
    assert params(db, LEE) == {"leverage": 3, "nested": {"c": 3}, "signal_bot_token": None}


def test_what_it_returns_is_every_user_in_order_with_version_and_changes(db: Connection, users: list[str]) -> None:
    save(db, LEE, {"leverage": 3})
    effects = fetch(db, APPLY, ("careful", [PARK, LEE, KIM, KIM], False))
    changed = [{"key": "leverage", "change": "changed", "old": 20, "new": 3}]
    assert [tuple(effect.values())[:4] for effect in effects] == [
        (KIM, "params", 2, changed),
        (LEE, "params", 2, []),
        (PARK, "params", 2, changed),
    ]
    assert [versions(db, uid) for uid in users] == [[1, 2], [1, 2], [1, 2]]


def test_users_who_have_it_so_already_get_no_version_and_no_mark(db: Connection, users: list[str]) -> None:
    fetch(db, APPLY, ("careful", users, False))
    fetch(db, "delete from mirror_pending")
    before = everything(db)
    assert [effect["changes"] for effect in fetch(db, APPLY, ("careful", users, False))] == [[], [], []]
    assert everything(db) == before


def test_a_listed_user_without_such_settings_gets_them(db: Connection, users: list[str], bare_uid: str) -> None:
    fetch(db, "select from delete_user_setting(%s, 'params')", (KIM,))
    (deleted, bare) = fetch(db, APPLY, ("careful", [bare_uid, KIM], False))
    assert (deleted["okx_uid"], deleted["version"], params(db, KIM)) == (KIM, 3, {"leverage": 3})
    assert (bare["okx_uid"], bare["version"], params(db, bare_uid)) == (OKX_UID, 1, {"leverage": 3})
    marks = fetch(db, "select owner, version from mirror_pending where kind = 'params' order by 1")
    assert {(KIM, 3), (OKX_UID, 1)} <= {(mark["owner"], mark["version"]) for mark in marks}


@pytest.mark.parametrize("condition", ["{}", '{"leverage": 20}'])
def test_a_filter_finds_only_who_has_such_settings(
    db: Connection, users: list[str], bare_uid: str, condition: str
) -> None:
    fetch(db, "select from delete_user_setting(%s, 'params')", (KIM,))
    fetch(db, "select from delete_user(%s)", (LEE,))
    assert [effect["okx_uid"] for effect in fetch(db, WHERE, ("careful", condition))] == [PARK]
    assert [versions(db, uid) for uid in (KIM, LEE, PARK, bare_uid)] == [[1, 2], [1, 2], [1, 2], []]


def test_a_filter_that_finds_nobody_changes_nothing(db: Connection, users: list[str]) -> None:
    before = everything(db)
    assert fetch(db, WHERE, ("careful", '{"leverage": 21}')) == []
    assert fetch(db, APPLY, ("careful", [], False)) == []
    assert everything(db) == before


def test_it_takes_a_list_or_a_filter_not_both_nor_neither(db: Connection, users: list[str]) -> None:
    for arguments in ("", ", array['1'], '{}'"):
        with refused("US010"):
            fetch(db, f"select from apply_setting_template('careful', 'params'{arguments})")


@pytest.mark.parametrize(("identifier", "state"), [(NOBODY, "US004"), (LEE, "US004"), ("x", "US007"), (None, "US007")])
def test_one_bad_user_in_the_list_and_nothing_changes(
    db: Connection, users: list[str], identifier: str | None, state: str
) -> None:
    fetch(db, "select from delete_user(%s)", (LEE,))
    before = everything(db)
    with refused(state):
        fetch(db, APPLY, ("careful", [KIM, identifier, PARK], False))
    assert everything(db) == before


def spoil_by_catalogue(db: Connection) -> None:
    save(db, LEE, {"leverage": 20, "cooldown_time": 3000})
    fetch(db, "update setting_fields set maximum = 2000 where key = 'cooldown_time'")


def spoil_by_size(db: Connection) -> None:
    save(db, LEE, {"note": "x" * 600_000})
    template(db, {"big": "y" * 600_000})


@pytest.mark.parametrize("spoil", [spoil_by_catalogue, spoil_by_size])
def test_one_document_that_would_be_invalid_and_nothing_changes_and_a_preview_says_so(
    db: Connection, users: list[str], spoil: Callable[[Connection], None]
) -> None:
    spoil(db)
    before = everything(db)
    for query in (APPLY, PREVIEW):
        with refused("US003") as error:
            fetch(db, query, ("careful", users, False))
        assert "xxx" not in str(error.value)
    assert everything(db) == before


def test_an_invalid_document_that_would_not_change_is_no_obstacle(db: Connection, users: list[str]) -> None:
    save(db, LEE, {"leverage": 3, "cooldown_time": 3000})
    fetch(db, "update setting_fields set maximum = 2000 where key = 'cooldown_time'")
    for query in (PREVIEW, APPLY):
        assert [effect["changes"] for effect in fetch(db, query, ("careful", [LEE], False))] == [[]]


def test_a_template_that_the_catalogue_outgrew_is_refused(db: Connection, users: list[str]) -> None:
    fetch(db, "update setting_fields set minimum = 5 where key = 'leverage'")
    before = everything(db)
    with refused("US003"):
        fetch(db, APPLY, ("careful", users, True))
    with refused("US003"):
        fetch(db, "select from register_user(%s, p_template => 'careful')", (OKX_UID,))
    assert everything(db) == before


@pytest.mark.parametrize("replace", [False, True])
def test_a_preview_tells_what_applying_then_does_and_writes_nothing(
    db: Connection, users: list[str], bare_uid: str, replace: bool
) -> None:
    template(db, {"leverage": 3, "note": None, "new": [1]})
    fetch(db, "select from delete_user_setting(%s, 'params')", (KIM,))
    save(db, LEE, {"leverage": 3, "note": None, "new": [1]})
    arguments = ("careful", [*users, bare_uid], replace)
    before = everything(db)
    fetch(db, "begin")
    preview = fetch(db, PREVIEW, arguments)
    assert value(db, "select current_setting('settings_store.reason')") == ""
    fetch(db, "commit")
    assert everything(db) == before
    assert [effect["version"] for effect in preview] == [2, 2, 1, 0]

    effects = fetch(db, APPLY, arguments)
    assert [effect.pop("version") for effect in effects] == [3, 2, 2, 1]
    assert [effect | {"version": None} for effect in effects] == [effect | {"version": None} for effect in preview]


def test_a_preview_waits_for_nobody(db: Connection, session: Open, users: list[str]) -> None:
    writer = session()
    writer.run("begin")
    writer.run("select from delete_user(%s)", (KIM,))
    fetch(db, "set lock_timeout = '100ms'")
    assert len(fetch(db, PREVIEW, ("careful", users, False))) == 3


def test_the_reason_is_the_template_unless_one_is_given_and_is_not_left_set(db: Connection, users: list[str]) -> None:
    fetch(db, "begin")
    fetch(db, APPLY, ("careful", [KIM], False))
    save(db, KIM, {"leverage": 5})
    fetch(db, "set local settings_store.reason = 'a request'")
    fetch(db, APPLY, ("careful", [LEE], False))
    save(db, LEE, {"leverage": 5})
    fetch(db, "commit")
    rows = fetch(db, "select change_reason as why from user_settings where version > 1 order by okx_uid, version")
    assert [row["why"] for row in rows] == ["template careful", None, "a request", "a request"]


def test_secrets_are_masked_in_effects(db: Connection, users: list[str]) -> None:
    template(db, {"signal_bot_token": "hush-new"})
    save(db, LEE, {"signal_bot_token": "hush-old"})
    for query in (PREVIEW, APPLY):
        effects = fetch(db, query, ("careful", [KIM, LEE], False))
        assert "hush" not in str(effects)
        assert [effect["changes"][0]["new"] for effect in effects] == ["********", "********"]
    assert params(db, LEE)["signal_bot_token"] == "hush-new"


def test_a_registration_takes_the_keys_of_a_template_over_the_defaults(db: Connection, users: list[str]) -> None:
    fetch(db, "select from register_user(%s, p_template => 'careful')", (OKX_UID,))
    defaults = value(db, "select default_user_setting('params')")
    assert params(db, OKX_UID) == {**defaults, "leverage": 3}
    assert value(db, "select settings ->> 'timeframe' from get_user_settings(%s, 'preferences')", (OKX_UID,)) == "1m"
    fetch(db, "select from register_user(%s, p_template => 'careful')", (KIM,))
    assert params(db, KIM)["leverage"] == 20
    for name in ("carefree", None):
        with refused("US009"):
            fetch(db, "select from register_user(%s, p_template => %s)", (NOBODY, name))
    assert fetch(db, "select from app_users where okx_uid = %s", (NOBODY,)) == []


def test_a_document_given_at_registration_beats_the_template(db: Connection, users: list[str]) -> None:
    given = '{"params": {"note": "mine"}}'
    fetch(db, "select from register_user(%s, p_documents => %s, p_template => 'careful')", (OKX_UID, given))
    assert params(db, OKX_UID) == {"note": "mine"}


def test_applications_saves_and_deletions_at_once_do_not_deadlock_and_leave_no_gap(
    db: Connection, connect: Connect, users: list[str], bare_uid: str
) -> None:
    everybody = [*users, bare_uid]
    for n in range(4):
        template(db, {"leverage": n + 1}, f"t{n}")
    applications = [(APPLY, (f"t{n}", everybody[:: 1 if n % 2 else -1], False)) for n in range(4)]
    filters = [(WHERE, (f"t{n}", "{}")) for n in range(4)]
    saves = [("select from patch_user_setting(%s, 'params', %s)", (uid, '{"n": 1}')) for uid in everybody]
    both = '{"params": {"n": 2}, "dual_side": {"n": 2}}'
    several = [("select from save_user_settings(%s, %s)", (uid, both)) for uid in everybody]
    at_once(connect, [*applications, *filters, *saves, *several])
    for uid in everybody:
        found = fetch(db, "select version from user_settings where okx_uid = %s and setting_type = 'params'", (uid,))
        assert sorted(row["version"] for row in found) == list(range(1, len(found) + 1))
        assert len(found) > 1


def test_applications_and_users_who_go_at_once_do_not_deadlock(
    db: Connection, connect: Connect, users: list[str]
) -> None:
    template(db, {"leverage": 4}, "other")
    filters: list[Statement] = [(WHERE, (name, "{}")) for name in ("careful", "other") * 3]
    going: list[Statement] = [
        ("select from delete_user(%s)", (KIM,)),
        ("select from erase_user(%s)", (LEE,)),
        ("select from delete_user_setting(%s, 'params')", (PARK,)),
    ]
    at_once(connect, [*filters[:3], *going, *filters[3:]])
    assert fetch(db, "select from user_settings where is_active and deleted_at is null") == []
    for uid, was_erased in ((KIM, False), (LEE, True), (PARK, False)):
        found = versions(db, uid)
        assert (found == []) if was_erased else (found == list(range(1, len(found) + 1)) and len(found) > 1)


@pytest.mark.parametrize(
    "rival",
    [
        "select from apply_setting_template('other', 'params', array[%s])",
        "select from upsert_user_setting(%s, 'params', '{\"leverage\": 9}')",
        "select from register_user(%s)",
    ],
    ids=["another application", "a first save", "a registration"],
)
def test_two_first_versions_at_once_are_one_and_a_next(
    db: Connection, session: Open, bare_uid: str, rival: str
) -> None:
    template(db, {"leverage": 3})
    template(db, {"note": "other"}, "other")
    first, second = session(), session()
    first.run("begin")
    first.run(rival, (bare_uid,))
    waiting = second.run_blocked(APPLY, ("careful", [bare_uid], False))
    first.run("commit")
    assert [effect["version"] for effect in waiting.result(DEADLINE)] == [2]
    assert params(db, bare_uid)["leverage"] == 3


@pytest.mark.parametrize("name", ["delete_user", "erase_user"])
def test_a_listed_user_who_goes_while_it_waits_is_refused_and_nothing_changes(
    db: Connection, session: Open, users: list[str], name: str
) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(f"select from {name}(%s)", (LEE,))
    waiting = second.run_blocked(APPLY, ("careful", users, False))
    first.run("commit")
    with refused("US004"):
        waiting.result(DEADLINE)
    assert [versions(db, uid) for uid in (KIM, PARK)] == [[1], [1]]


@pytest.mark.parametrize("name", ["delete_user", "erase_user"])
def test_a_user_found_by_a_filter_who_goes_while_it_waits_is_left_out(
    db: Connection, session: Open, users: list[str], name: str
) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(f"select from {name}(%s)", (LEE,))
    waiting = second.run_blocked(WHERE, ("careful", "{}"))
    first.run("commit")
    assert [effect["okx_uid"] for effect in waiting.result(DEADLINE)] == [KIM, PARK]


def test_a_document_that_no_longer_matches_when_its_turn_comes_is_left_alone(
    db: Connection, session: Open, users: list[str]
) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(NEW, (LEE,))
    waiting = second.run_blocked(WHERE, ("careful", '{"leverage": 20}'))
    first.run("commit")
    assert [effect["okx_uid"] for effect in waiting.result(DEADLINE)] == [KIM, PARK]
    assert params(db, LEE)["leverage"] == 99


def test_a_save_that_waits_for_an_application_builds_on_it(db: Connection, session: Open, users: list[str]) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(APPLY, ("careful", users, False))
    waiting = second.run_blocked("select from patch_user_setting(%s, 'params', '{\"n\": 1}')", (LEE,))
    first.run("commit")
    waiting.result(DEADLINE)
    assert (params(db, LEE)["leverage"], params(db, LEE)["n"], versions(db, LEE)) == (3, 1, [1, 2, 3])
