"""The form in which values of the catalogue are stored, whichever way they come: a bot reads int("4"), choices byte by
byte."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import pytest

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, one, value

TYPES = ("params", "dual_side")
INTEGERS = ("{}.0", "{}.000", "{}e0", "{}0e-1", "{}.00e0")  # ways to write a whole number
ACTIVE = "okx_uid = %(uid)s and setting_type = %(type)s and is_active"
STORED = f"select settings::text from user_settings where {ACTIVE}"
BY_TYPE = "jsonb_build_object(%(type)s::text, %(document)s::jsonb)"
WHOSE = "from app_users where okx_uid = %(uid)s"
# How a document is saved, by the function that does it; raw SQL by its first word.
WAYS = {
    "upsert_user_setting": "select upsert_user_setting(%(uid)s, %(type)s, %(document)s::jsonb)",
    "upsert_user_settings": f"select upsert_user_settings(id, okx_uid, null, %(type)s, %(document)s::jsonb) {WHOSE}",
    "patch_user_setting": "select patch_user_setting(%(uid)s, %(type)s, %(document)s::jsonb)",
    "save_user_settings": f"select save_user_settings(%(uid)s, {BY_TYPE})",
    "save_settings_of_users": "select save_settings_of_users(jsonb_build_object(%(uid)s::text, %(document)s::jsonb),"
    " %(type)s)",
    "schedule_change": "select schedule_change(%(uid)s, %(type)s, %(document)s::jsonb, p_for => '1 day')",
    "register_user": f"select register_user(%(uid)s, p_documents => {BY_TYPE})",
    "import_users": "select import_users(jsonb_build_array(jsonb_build_object('okx_uid', %(uid)s::text, 'settings',"
    f" {BY_TYPE})))",
    "import_documents": "select import_documents(jsonb_build_array(jsonb_build_object('owner', %(uid)s::text,"
    " 'kind', %(type)s::text, 'version', 0, 'document', %(document)s::jsonb)), p_dry_run => false)",
    "save_setting_template": "select save_setting_template('careful', %(type)s, %(document)s::jsonb)",
    "insert": "insert into user_settings (user_id, setting_type, settings)"
    f" select id, %(type)s, %(document)s::jsonb {WHOSE}",
    "update": f"update user_settings set settings = %(document)s::jsonb where {ACTIVE}",
}
# Of the functions that take JSON and write, those that save no document of a user or template.
OTHERS = {
    "record_trade", "record_trades", "upsert_candles", "save_setting_field", "record_verification", "keep_documents",
    "apply_setting_template", "import_credentials", "import_links", "fail_pending", "schedule_changes", "begin_rollout",
}  # fmt: skip


def forms(db: Connection, setting_type: str) -> tuple[str, str]:
    """A document with every integer and choice of a type in another form than the catalogue's, and the same in its."""
    odd, good = [], {}
    query = "select * from setting_fields where setting_type = %s and (json_type = 'integer' or choices is not null)"
    for place, field in enumerate(fetch(db, query, (setting_type,))):
        if field["choices"]:
            good[field["key"]] = field["choices"][-1]
            written = json.dumps(normalize("NFD", field["choices"][-1]))
        else:
            good[field["key"]] = int(field["minimum"] or 0) + 1
            written = INTEGERS[place % len(INTEGERS)].format(good[field["key"]])
        odd.append(f"{json.dumps(field['key'])}: {written}")
    return f"{{{', '.join(odd)}}}", json.dumps(good, sort_keys=True)


def stored(db: Connection, said: dict[str, str], query: str = STORED) -> str:
    """Return what is stored, with the keys in order."""
    return json.dumps(json.loads(value(db, query, said)), sort_keys=True)


def test_every_function_that_takes_a_document_is_tried_here(db: Connection) -> None:
    query = (
        "select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.provolatile = 'v'"
        " and 'jsonb'::regtype = any (p.proargtypes) and p.proname !~ '^_'"
        " and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
    )
    assert {row["proname"] for row in fetch(db, query)} - OTHERS == set(WAYS) - {"insert", "update"}


@pytest.mark.parametrize("way", WAYS)
def test_integers_and_choices_are_stored_in_the_catalogues_form(db: Connection, way: str) -> None:
    for place, setting_type in enumerate(TYPES):
        odd, good = forms(db, setting_type)
        said = {"uid": str(int(OKX_UID) + place), "type": setting_type, "document": odd}
        fetch(db, "select from ensure_user(%(uid)s)", said)
        if way == "update":
            fetch(db, WAYS["upsert_user_setting"], {**said, "document": "{}"})
        assert fetch(db, "select from validate_user_setting(%(type)s, %(document)s::jsonb)", said) == []
        fetch(db, WAYS[way], said)
        if way == "save_setting_template":
            template = "select settings::text from setting_templates where setting_type = %(type)s"
            assert stored(db, said, template) == good
            fetch(db, "select from apply_setting_template('careful', %(type)s, array[%(uid)s])", said)
        assert stored(db, said) == good


def test_the_same_in_another_form_makes_no_version_and_is_found(db: Connection, bare_uid: str) -> None:
    for setting_type in TYPES:
        odd, good = forms(db, setting_type)
        said = {"uid": bare_uid, "type": setting_type, "document": good}
        fetch(db, WAYS["upsert_user_setting"], said)
        said["document"] = odd
        for way in ("upsert_user_setting", "patch_user_setting", "save_user_settings", "import_users", "update"):
            fetch(db, WAYS[way], said)
        versions = "select count(*) from user_settings where okx_uid = %(uid)s and setting_type = %(type)s"
        assert value(db, versions, said) == 1
        for query in (
            "select okx_uid from find_users_by_setting(%(type)s, %(document)s::jsonb)",
            "select okx_uid from apply_setting_template('default', %(type)s, p_filter => %(document)s::jsonb)",
        ):
            assert [row["okx_uid"] for row in fetch(db, query, said)] == [bare_uid]


def test_a_choice_that_redis_holds_in_another_form_is_mirrored_again(db: Connection, bare_uid: str) -> None:
    odd, good = forms(db, "params")
    fetch(db, WAYS["upsert_user_setting"], {"uid": bare_uid, "type": "params", "document": good})
    item = {"owner": bare_uid, "kind": "params", "version": 1, "document": json.loads(odd)}
    assert one(db, "select * from import_documents(%s, p_dry_run => true)", (json.dumps([item]),))["outcome"] == "same"


def test_what_looks_like_no_choice_is_refused_and_all_else_stays_as_it_came(db: Connection, bare_uid: str) -> None:
    for bad in ('{"direction": "롱 "}', '{"direction": "ﾛﾝｸﾞ"}', '{"leverage": 4.5}'):
        assert len(fetch(db, "select * from validate_user_setting('params', %s)", (bad,))) == 1
    given = json.dumps({"nested": {"leverage": 5.0}, "note": "e\u0301", "tp1_value": 4.0, "unlisted": 4.0})
    said = {"uid": bare_uid, "type": "params", "document": given}
    fetch(db, WAYS["upsert_user_setting"], said)
    assert stored(db, said) == given


def test_a_key_is_stored_in_the_catalogues_form(db: Connection, bare_uid: str) -> None:
    key, choice = "레버리지", "롱"
    other, other_choice = normalize("NFD", key), normalize("NFD", choice)
    field = "select * from save_setting_field('params', %s, 'string', %s, p_choices => %s)"
    listed = one(db, field, (other, json.dumps(other_choice), [other_choice, "숏"]))
    assert (listed["key"], listed["default_value"], listed["choices"]) == (key, choice, [choice, "숏"])
    for way, document, saved in (
        ("upsert_user_setting", {other: other_choice}, {key: choice}),
        ("patch_user_setting", {other: "숏"}, {key: "숏"}),
        ("upsert_user_setting", {key: choice, other: "x"}, {key: choice, other: "x"}),  # nothing is lost
    ):
        said = {"uid": bare_uid, "type": "params", "document": json.dumps(document)}
        fetch(db, WAYS[way], said)
        assert json.loads(stored(db, said)) == saved
    assert value(db, "select delete_setting_field('params', %s)", (other,)) is True


def test_a_default_of_an_integer_has_no_decimal_places(db: Connection) -> None:
    fetch(db, "select save_setting_field('params', 'steps', 'integer', '3.000')")
    assert value(db, "select default_value::text from setting_fields where key = 'steps'") == "3"


def test_a_document_of_earlier_releases_is_put_into_this_form_with_its_next_change(db: Connection, uid: str) -> None:
    fetch(db, "alter table user_settings disable trigger user")
    fetch(db, """update user_settings set settings = settings || '{"leverage": 4.0}' where setting_type = 'params'""")
    fetch(db, "alter table user_settings enable trigger user")
    said: dict[str, Any] = {"uid": uid, "type": "params", "document": '{"use_sl": true}'}
    fetch(db, WAYS["patch_user_setting"], said)
    assert json.loads(stored(db, said))["leverage"] == 4
    assert '"leverage": 4,' in stored(db, said)
