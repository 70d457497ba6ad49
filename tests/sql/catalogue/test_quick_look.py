"""The look that the trigger takes at every document, against the rule as a whole: what validate_user_setting() says,
and the form that _normalised_setting() gives."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.errors import CheckViolation

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, value

KEYS = ("a", "b", "c", 'q"uo\\te', normalize("NFC", "레버리지"))
CHOICES = ("on", "off", normalize("NFC", "롱"), normalize("NFD", "숏"))
LIMITS = ("-5", "0", "0.1", "0.10", "3", "4", "125", "NaN", "Infinity")
NUMBERS = (
    "4", "4.0", "4.00", "40e-1", "4e0", "-0", "0.0", "0.1", "0.1000000000000000000001", "2.5", "125", "125.0", "126",
    "-5.0", "1e30", "9" * 40, "9" * 40 + ".0", "1e308", "1e309", "1e-400", "1e-401", "12345678901234567890123456789012",
)  # fmt: skip
RULES = ("$.a < $.b", "$.a != null", '$.a == "on" || $.b >= 3', "$.a + $.b <= 10", "!($.c == true)")

INTEGER = {
    "json_type": "integer", "is_nullable": False, "is_secret": False, "minimum": "0", "maximum": None, "choices": None,
    "default_value": "3",
}  # fmt: skip
field = st.fixed_dictionaries(
    {
        "json_type": st.sampled_from(["string", "number", "integer", "integer", "boolean", "object", "array"]),
        "is_nullable": st.booleans(),
        "is_secret": st.booleans(),
        "minimum": st.none() | st.sampled_from(LIMITS),
        "maximum": st.none() | st.sampled_from(LIMITS),
        "choices": st.none() | st.lists(st.none() | st.sampled_from(CHOICES), max_size=3),
        "default_value": st.none() | st.sampled_from(NUMBERS[:12]),
    }
)
leaf = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(["true", "false", "null", "{}", "[]", "[4]", '[["on"]]', '{"a": 4.0}', '"********"', '"4"', '""']),
    st.sampled_from([json.dumps(normalize(form, choice)) for choice in CHOICES for form in ("NFC", "NFD")]),
    st.sampled_from(["[" * 62 + "]" * 62, "[" * 64 + "]" * 64]),
)
keys = st.sampled_from([*KEYS, *(normalize("NFD", key) for key in KEYS), "unlisted"])
documents = st.dictionaries(keys, leaf, max_size=3).map(
    lambda members: f"{{{', '.join(f'{json.dumps(key)}: {each}' for key, each in members.items())}}}"
)

INSERT = """
    insert into setting_fields
           (setting_type, key, json_type, is_nullable, is_secret, minimum, maximum, choices, default_value)
    values ('params', %(key)s, %(json_type)s, %(is_nullable)s, %(is_secret)s, %(minimum)s, %(maximum)s, %(choices)s,
            %(default_value)s)"""
RULE = """
    insert into setting_rules (setting_type, name, keys, rule, message)
    select 'params', 'r' || %(number)s,
           array(select k from unnest(array['a', 'b', 'c']) k where position('$.' || k in %(rule)s) > 0),
           ('strict ' || %(rule)s)::jsonpath, 'rule ' || %(number)s"""
PROBLEMS = "select jsonb_object_agg(key, problem) from validate_user_setting('params', %s::jsonb)"
NORMALISED = "select _normalised_setting('params', %s::jsonb)::text"
SAVE = "select settings::text from upsert_user_setting(%s, 'params', %s::jsonb)"
CALLS = "select coalesce(pg_stat_get_xact_function_calls('_broken_rules(text, jsonb, boolean)'::regprocedure), 0)"


def make_catalogue(db: Connection, fields: dict[str, dict[str, Any]], rules: list[str]) -> None:
    """List fields in place of those of `params`, without limits and choices that the table refuses. Rules name listed
    keys, as save_setting_rule() has it."""
    fetch(db, "delete from setting_fields where setting_type = 'params'")
    for key, each in fields.items():
        numbers = each["json_type"] in ("number", "integer")
        row = {**each, "key": key, "choices": each["choices"] if each["json_type"] == "string" else None}
        try:
            with db.transaction():
                fetch(db, INSERT, row if numbers else {**row, "minimum": None, "maximum": None})
        except CheckViolation:
            fetch(db, INSERT, {**row, "minimum": None, "maximum": None})
    for number, rule in enumerate(rules):
        fetch(db, RULE, {"number": number, "rule": rule})


def outcome(db: Connection, document: str) -> tuple[str, Any]:
    """Save a document; returns its text as stored, or what it was refused for."""
    try:
        with db.transaction():
            return "stored", value(db, SAVE, (OKX_UID, document))
    except psycopg.Error as error:
        return str(error.sqlstate), json.loads(error.diag.message_detail or "")


@example({"a": INTEGER, "b": INTEGER, "c": INTEGER}, ["$.a < 5"], ['{"a": 4.0}'])
@example({"a": INTEGER, "b": INTEGER, "c": INTEGER}, ["$.a < 5"], ['{"a": [4]}', '{"a": 5}', "{}"])
@example({"a": INTEGER, "b": INTEGER, "c": INTEGER}, [], ['{"unlisted": 1e-401}'])
@example({"a": INTEGER, "b": INTEGER, "c": INTEGER, KEYS[4]: INTEGER}, [], [json.dumps({normalize("NFD", KEYS[4]): 4})])
@given(
    st.fixed_dictionaries(dict.fromkeys(KEYS[:3], field), optional=dict.fromkeys(KEYS[3:], field)),
    st.lists(st.sampled_from(RULES), max_size=2, unique=True),
    st.lists(documents, min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_save_decides_as_the_whole_rule_does(
    db: Connection, fields: dict[str, dict[str, Any]], rules: list[str], tried: list[str]
) -> None:
    with db.transaction(force_rollback=True):
        fetch(db, "select from ensure_user(%s)", (OKX_UID,))
        make_catalogue(db, fields, rules)
        for document in tried:
            problems = value(db, PROBLEMS, (document,))
            normalised = value(db, NORMALISED, (document,)) if problems is None else None
            with db.transaction(force_rollback=True):  # the first version
                said = outcome(db, document)
            with db.transaction(force_rollback=True):  # a change
                fetch(db, "delete from setting_rules")
                fetch(db, SAVE, (OKX_UID, '{"before": "unlisted"}'))
                make_catalogue(db, fields, rules)
                assert outcome(db, document) == said
            assert said == (("stored", normalised) if problems is None else ("US003", problems)), document


@pytest.mark.parametrize(("rule", "calls"), [(None, 0), ("$.leverage > 0", 0), ("$.rsi_length > 0", 1)])
def test_defaults_are_looked_up_only_for_a_rule_that_the_document_alone_doesnt_keep(
    db: Connection, bare_uid: str, rule: str | None, calls: int
) -> None:
    """rsi_length is not in the document; without a rule, the look would cost every save what it costs with one."""
    if rule is not None:
        fetch(db, "select save_setting_rule('params', 'r', %s, 'x')", (rule,))
    item = json.dumps([{"owner": bare_uid, "kind": "params", "version": 1, "document": {"leverage": 7}}])
    compare = "select outcome from import_documents(%s, p_dry_run => true)"
    with db.transaction(force_rollback=True):
        fetch(db, "set local track_functions = 'all'")
        fetch(db, SAVE, (bare_uid, '{"leverage": 5}'))
        assert value(db, CALLS) == calls
        assert value(db, compare, (item,)) == "edited"
        assert value(db, CALLS) == 2 * calls
