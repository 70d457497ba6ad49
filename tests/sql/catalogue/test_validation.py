"""What the catalogue promises: bad keys are named, all of them, without a value; the rest passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from store.postgres import migrate
from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch, one, refused, value

SECRET = "hunter2-98765432123456789"
DIAGNOSES = ("message_primary", "message_detail", "message_hint", "context", "internal_query")
OF_TYPE: dict[str, Any] = {
    "string": SECRET,
    "number": 1.5,
    "integer": 7,
    "boolean": True,
    "object": {"a": SECRET},
    "array": [SECRET],
}


def wrong_types(field: dict[str, Any]) -> list[Any]:
    fits = {"integer": ("integer", "number"), "number": ("integer", "number")}.get(field["json_type"], ())
    return [v for kind, v in OF_TYPE.items() if kind not in fits and kind != field["json_type"]]


# Fault -> the bad values that a field has for it.
FAULTS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "wrong type": wrong_types,
    "below the minimum": lambda f: [] if f["minimum"] is None else [f["minimum"] - 1, f["minimum"] - Decimal("0.001")],
    "above the maximum": lambda f: [] if f["maximum"] is None else [f["maximum"] + 1, f["maximum"] + Decimal("0.001")],
    "not a choice": lambda f: [] if f["choices"] is None else [SECRET, "", f["choices"][0] + " "],
    "a fraction": lambda f: [Decimal("2.5")] if f["json_type"] == "integer" else [],
    "null": lambda f: [] if f["is_nullable"] else [None],
}
# How many of the 68 fields a fault can befall, so that no test passes for want of fields.
BEFALLEN = {"wrong type": 68, "below the minimum": 15, "above the maximum": 12, "not a choice": 9, "null": 61}


def dumped(document: object) -> str:
    return json.dumps(document, default=lambda number: float(number), ensure_ascii=False)


def fields(db: Connection) -> Rows:
    return fetch(db, "select * from setting_fields order by setting_type, key")


def assert_no_leak(error: psycopg.Error, *planted: str) -> None:
    said = " ".join(getattr(error.diag, name) or "" for name in DIAGNOSES)
    for word in planted:
        assert word not in said
    assert error.diag.message_primary


def problems(error: psycopg.Error) -> dict[str, str]:
    found: dict[str, str] = json.loads(error.diag.message_detail or "")
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_every_field_refuses(db: Connection, bare_uid: str, fault: str) -> None:
    befallen = set()
    for field in fields(db):
        for bad in FAULTS[fault](field):
            befallen.add((field["setting_type"], field["key"]))
            document = dumped({field["key"]: bad, "unknown": SECRET})
            query = "select key, problem from validate_user_setting(%s, %s::jsonb)"
            found = fetch(db, query, (field["setting_type"], document))
            assert [row["key"] for row in found] == [field["key"]], (field, bad)
            with refused("US003") as error:
                save = "select from upsert_user_setting(%s, %s, %s::jsonb)"
                fetch(db, save, (bare_uid, field["setting_type"], document))
            assert problems(error.value) == {found[0]["key"]: found[0]["problem"]}
            assert_no_leak(error.value, SECRET)
    assert value(db, "select count(*) from user_settings") == 0
    assert len(befallen) == BEFALLEN.get(fault, len([f for f in fields(db) if f["json_type"] == "integer"]))


def test_every_field_accepts_its_default_its_limits_and_its_choices(db: Connection) -> None:
    tried = 0
    for field in fields(db):
        good = [field[name] for name in ("default_value", "minimum", "maximum") if field[name] is not None]
        good += field["choices"] or []
        good += [None] if field["is_nullable"] else []
        good += [10.0] if field["json_type"] == "integer" else []
        for each in good:
            query = "select key, problem from validate_user_setting(%s, %s::jsonb)"
            assert fetch(db, query, (field["setting_type"], dumped({field["key"]: each}))) == [], (field, each)
            tried += 1
    assert tried > 100


def test_all_bad_keys_are_named_at_once(db: Connection, bare_uid: str) -> None:
    document = {"leverage": 1000, "direction": SECRET, "use_sl": SECRET, "rsi_length": 2.5, "tp1_ratio": 5, "x": 1}
    with refused("US003") as error:
        fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))
    assert problems(error.value) == {
        "leverage": "must be between 1 and 125",
        "direction": "must be one of: 롱, 숏, 롱숏",
        "use_sl": "must be of type boolean, not string",
        "rsi_length": "must be a whole number",
    }
    assert_no_leak(error.value, SECRET)


def test_keys_that_are_not_listed_pass_as_they_come(db: Connection, bare_uid: str) -> None:
    document = {"Leverage": "x", "": None, "$": [1, {"a": None}], "새 키": True, "leverage ": 1e3}
    saved = one(db, "select settings from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))
    assert saved["settings"] == document


BIG = '{{"a": "{}"}}'
DOCUMENTS = {
    "array": f'["{SECRET}"]',
    "string": f'"{SECRET}"',
    "number": "98765432123456789",
    "null": "null",
    "SQL null": None,
    "more than 1 MiB": BIG.format(SECRET * (1048576 // len(SECRET) + 1)),
    "65 levels": '{"a":' * 65 + f'"{SECRET}"' + "}" * 65,
    "65 levels of arrays": '{"a":' + "[" * 64 + f'"{SECRET}"' + "]" * 64 + "}",
    "beyond a double": '{"a": 98765432123456789e300}',
    "below a double": '{"a": [{"b": -98765432123456789e300}]}',
    "a number that expands": '{"a": [[1e-16383]]}',
    "a zero that expands": '{"a": 0e-16383}',
    "401 decimal places": f'{{"a": 0.{"0" * 400}1}}',
    "many numbers that expand": f'{{"a": [{"1e-16383," * 60_000}0]}}',
    "NUL": f'{{"a": "{SECRET}\\u0000"}}',
    "NUL in a key": f'{{"{SECRET}\\u0000": 1}}',
}
WAYS = {
    "upsert": "select from upsert_user_setting(%(uid)s, 'params', %(document)s::jsonb)",
    "save": "select from save_user_settings(%(uid)s, jsonb_build_object('params', %(document)s::jsonb))",
    "register": "select from register_user(%(uid)s, p_documents => "
    "jsonb_build_object('dual_side', '{}'::jsonb, 'params', %(document)s::jsonb))",
    "patch": "select from patch_user_setting(%(uid)s, 'params', %(document)s::jsonb)",
    "template": "select from save_setting_template('careful', 'params', %(document)s::jsonb)",
    "import": "select from import_users(jsonb_build_array(jsonb_build_object('okx_uid', %(uid)s::text,"
    " 'settings', jsonb_build_object('params', %(document)s::jsonb))))",
    "raw insert": "insert into user_settings (user_id, okx_uid, setting_type, settings)"
    " select id, okx_uid, 'params', %(document)s::jsonb from app_users where okx_uid = %(uid)s",
    "raw update": "update user_settings set settings = %(document)s::jsonb where okx_uid = %(uid)s and is_active",
    "older function": "select upsert_user_settings((select id from app_users where okx_uid = %(uid)s), %(uid)s, null,"
    " 'params', %(document)s::jsonb)",
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_document_is_refused_whichever_way_it_comes(db: Connection, bare_uid: str, way: str) -> None:
    for has_document in (False, True):
        if has_document:
            fetch(db, "select from upsert_user_setting(%s, 'params', '{\"n\": 1}')", (bare_uid,))
        if has_document is (way in ("raw insert", "register")) and way != "upsert":
            continue  # these need a user without, a raw update one with a document
        before = fetch(db, "select * from user_settings")
        for name, document in DOCUMENTS.items():
            if (way, name) == ("register", "SQL null"):
                continue  # there, null is JSON's
            states = ("22P05",) if name.startswith("NUL") else ("US003",)
            with pytest.raises(psycopg.Error) as error:
                fetch(db, WAYS[way], {"uid": bare_uid, "document": document})
            if states == ("US003",):
                assert_no_leak(error.value, SECRET, "98765432123456789")
            assert error.value.sqlstate in states, f"{name}: {error.value}"
            assert fetch(db, "select * from user_settings") == before


def test_limits_are_met_exactly(db: Connection, bare_uid: str) -> None:
    save = "select version from upsert_user_setting(%s, 'params', %s::jsonb)"
    room = 1048576 - len(BIG.format(""))
    assert value(db, save, (bare_uid, BIG.format("x" * room))) == 1
    with refused("US003"):
        fetch(db, save, (bare_uid, BIG.format("x" * (room + 1))))
    assert value(db, save, (bare_uid, BIG.format("롱" * (room // 3)))) == 2
    with refused("US003"):
        fetch(db, save, (bare_uid, BIG.format("롱" * (room // 3 + 1))))
    assert value(db, save, (bare_uid, '{"a":' * 63 + "1" + "}" * 63)) == 3
    assert value(db, save, (bare_uid, '{"a": [1.7976931348623157e308, -1.7976931348623157e308, 1e-400]}')) == 4
    for number in (f"0.{'0' * 399}1", "5e-324", "-1.7976931348623157e308", f"1{'0' * 308}"):
        assert value(db, save, (bare_uid, f'{{"a": {number}}}'))


def test_a_patch_that_breaks_the_document_is_refused(db: Connection, uid: str) -> None:
    before = fetch(db, "select * from user_settings")
    for patch in ({"leverage": 1000}, {"direction": SECRET}, {"use_sl": SECRET, "x": SECRET}):
        with refused("US003") as error:
            fetch(db, "select from patch_user_setting(%s, 'params', %s)", (uid, Jsonb(patch)))
        assert set(problems(error.value)) == set(patch) - {"x"}
        assert_no_leak(error.value, SECRET)
    assert fetch(db, "select * from user_settings") == before


def test_saving_several_documents_is_all_or_none(db: Connection, uid: str) -> None:
    before = fetch(db, "select * from user_settings")
    save = "select from save_user_settings(%s, %s)"
    with refused("US003"):
        fetch(db, save, (uid, Jsonb({"dual_side": {"use_dual_sl": True}, "params": {"leverage": 1000}})))
    with refused("US002"):
        fetch(db, save, (uid, Jsonb({"dual_side": {"use_dual_sl": True}, "nonsense": {}})))
    with refused("US003"):
        fetch(db, save, (uid, Jsonb([])))
    assert fetch(db, "select * from user_settings") == before


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("nonsense", "nonsense"), ("", '""'), ("PARAMS", '"PARAMS"'), ("x" * 99, "x" * 64), (None, "null")],
)
def test_an_unknown_setting_type_is_named_with_the_known_ones(
    db: Connection, uid: str, name: str | None, quoted: str
) -> None:
    calls = ["upsert_user_setting(%s, %s, '{}')", "patch_user_setting(%s, %s, '{}')", "delete_user_setting(%s, %s)"]
    if name is not None:
        calls.append("get_user_settings(%s, %s)")
    for call in calls:
        with refused("US002") as error:
            fetch(db, f"select from {call}", (uid, name))
        assert error.value.diag.message_detail == "known: dual_side, params, preferences"
        assert error.value.diag.message_primary == f"unknown setting type {quoted}"


def test_what_operators_change_in_the_catalogue_takes_effect_and_survives_migrate(
    db: Connection, bare_uid: str, database_url: str
) -> None:
    fetch(db, "update setting_fields set maximum = 20, default_value = '3' where key = 'leverage'")
    fetch(db, "update setting_fields set choices = array_append(choices, 'both') where key = 'direction'")
    fetch(db, "insert into setting_fields (setting_type, key, json_type) values ('params', 'note', 'string')")
    fetch(db, "delete from setting_fields where key = 'rsi_length'")
    for _ in range(2):
        save = "select settings from upsert_user_setting(%s, 'params', %s)"
        for bad in ({"leverage": 21}, {"note": 1}):
            with refused("US003"):
                fetch(db, save, (bare_uid, Jsonb(bad)))
        fetch(db, save, (bare_uid, Jsonb({"leverage": 20, "direction": "both", "note": "x", "rsi_length": "free"})))
        defaults = value(db, "select default_user_setting('params')")
        assert (defaults["leverage"], "rsi_length" in defaults, "note" in defaults) == (3, False, False)
        assert migrate.migrate(database_url) == []


def test_a_new_setting_type_is_a_row(db: Connection, uid: str) -> None:
    fetch(db, "insert into setting_types values ('alerts', 'alerts', 'hash')")
    fetch(db, "insert into setting_fields (setting_type, key, json_type) values ('alerts', 'on', 'boolean')")
    save = "select version from upsert_user_setting(%s, 'alerts', %s)"
    with refused("US003"):
        fetch(db, save, (uid, Jsonb({"on": "yes"})))
    assert value(db, save, (uid, Jsonb({"on": True}))) == 1
    assert value(db, "select count(*) from get_user_settings(%s)", (uid,)) == 4
