"""JSON Schema of a setting type says what the catalogue and its rules say: of 10,000 documents the same."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import jsonschema
import pytest

from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch, one, refused, value

DOCUMENTS = {"params": 7000, "dual_side": 1500, "preferences": 1500}
ODD = [None, True, False, 0, 1, -1, 4.0, 2.5, 1e308, "", "text", "********", "롱 ", [], [1], {}, {"a": None}]
# What JSON Schema can say: each operator, either way round, of every type, of keys that may be null or have no default.
RULES = {
    "params": [
        '$.execution_mode != "signal_bot" || $.signal_bot_token != null',
        "!($.use_sl == true && $.use_sl_on_last == true) || 20 > $.sl_value",
        '($.direction == "롱" || $.direction starts with "롱숏") || $.leverage <= 50',
        '$.trailing_start_point == null || $.trailing_start_point == "tp3" || false == $.trailing_stop_active',
        "$.investment < 500000 || $.investment == null || -2.5 < $.tp1_value && 99 >= $.rsi_oversold",
        "!(!($.current_category != null) && !($.tp3_value >= 4) && 4.0 != $.pyramiding_limit)",
    ],
    "dual_side": [
        "!($.dual_side_entry_tp_trigger_type == null) || $.use_dual_sl == false",
        '!($.dual_side_entry_ratio_type starts with "per^c.*") && $.dual_side_entry_sl_value < 1e300',
    ],
    "preferences": [],
}
# And what it can't.
OTHERS = {
    "sums": "$.tp1_ratio + $.tp2_ratio + $.tp3_ratio <= 900",
    "two_keys": "$.rsi_oversold <= $.rsi_overbought || $.leverage == 1 || $.leverage != 1",
    "text_order": '$.direction > "A"',
    "null_pattern": '$.trend_timeframe starts with "a" || $.use_sl != true',
    "no_such_type": '$.leverage > 0 || $.leverage == "x"',
}


def good_and_near(field: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Values that a field may hold, and some that are just beyond, or as if they were its own."""
    limits = [float(field[name]) for name in ("minimum", "maximum") if field[name] is not None]
    usual: dict[str, list[Any]] = {
        "boolean": [True, False], "object": [{}], "integer": [1, 7.0, 90], "number": [3, 3.25, 60],
    }  # fmt: skip
    good = [*limits, *(field["choices"] or usual.get(field["json_type"], ["tp2", "percent"]))]
    good += [field["default_value"]] if field["is_nullable"] or field["default_value"] is not None else []
    good += [None] if field["is_nullable"] else []
    return good, [limit + step for limit in limits for step in (-1, -0.001, 0.001, 1)] + [f"{good[0]} "]


def documents(fields: Rows, number: int, often: list[str]) -> Iterator[dict[str, Any]]:
    chance = random.Random(number)
    values = {field["key"]: good_and_near(field) for field in fields}
    for _ in range(number):
        keys = chance.sample(sorted(values), chance.randint(0, min(len(values), 6)))
        keys += chance.sample(often, chance.randint(0, len(often)))
        document = {}
        for key in keys:
            good, near = values[key]
            document[key] = chance.choice(good if chance.random() < 0.93 else [*near, *ODD])
        yield document | ({"unlisted": chance.choice(ODD)} if chance.random() < 0.1 else {})


def schema_of(db: Connection, setting_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = value(db, "select setting_schema(%s)", (setting_type,))
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@pytest.mark.parametrize("with_rules", [False, True], ids=["catalogue", "rules"])
def test_of_10000_random_documents_the_schema_says_what_sql_says(db: Connection, with_rules: bool) -> None:
    tried = valid = refused_by_rules = 0
    rows = fetch(db, "select * from setting_fields order by setting_type, key")
    for setting_type, fields in groupby(rows, lambda row: row["setting_type"]):
        rules = RULES[setting_type] if with_rules else []
        for i, rule in enumerate(rules):
            fetch(db, "select save_setting_rule(%s, %s, %s, 'broken')", (setting_type, f"r{i}", rule))
        schema = schema_of(db, setting_type)
        assert len(schema.get("if", {}).get("allOf", [])) == len(rules)
        validator = jsonschema.Draft202012Validator(schema)
        named = sorted(set(re.findall(r"\$\.(\w+)", "".join(rules))))
        made = list(documents(list(fields), DOCUMENTS[setting_type] // (2 if with_rules else 1), named))
        query = """
            select d.value::text as document, (select jsonb_object_agg(p.key, p.problem)
                     from validate_user_setting(%s, d.value) p) as problems
              from jsonb_array_elements(%s::jsonb) with ordinality d order by d.ordinality"""
        for row, document in zip(fetch(db, query, (setting_type, json.dumps(made))), made, strict=True):
            assert validator.is_valid(document) is (row["problems"] is None), row
            tried, valid = tried + 1, valid + (row["problems"] is None)
            refused_by_rules += "$r" in "".join(row["problems"] or "")
    assert 0.1 < valid / tried < 0.9
    assert (refused_by_rules > 300) is with_rules


def test_what_it_cannot_say_stands_in_the_comment(db: Connection) -> None:
    for name, rule in OTHERS.items():
        fetch(db, "select save_setting_rule('params', %s, %s, 'is broken', '어긋났습니다')", (name, rule))
    for language, message in (("en", "is broken"), ("ko", "어긋났습니다")):
        schema = value(db, "select setting_schema('params', %s)", (language,))
        assert "if" not in schema
        said = schema["$comment"].split("; ")[1:]
        assert said == [f"{name}: {message}" for name in sorted(OTHERS)]


def test_a_key_is_described_in_either_language_with_its_default_and_a_secret_is_for_writing(db: Connection) -> None:
    fetch(
        db,
        """select save_setting_field('params', 'pin', 'string', '"1234"', p_is_secret => true, p_description => '')""",
    )
    for language in ("en", "ko"):
        found = value(db, "select setting_schema('params', %s) -> 'properties'", (language,))
        query = "select *, default_value is not null as has_default from setting_fields where setting_type = 'params'"
        for field in fetch(db, f"{query} and key <> 'pin'"):
            shown = found[field["key"]]
            assert shown["description"] == field["description" if language == "en" else "description_ko"]
            assert ("default" in shown, shown.get("default")) == (field["has_default"], field["default_value"])
            assert shown.get("writeOnly", False) is field["is_secret"]
        assert found["pin"] == {"type": "string", "writeOnly": True, "not": {"const": "********"}}
    assert list(found) == sorted(found)
    with refused("US010"):
        fetch(db, "select setting_schema('params', 'fr')")


def test_a_symbols_document_has_the_schema_of_its_type(db: Connection) -> None:
    query = "select setting_schema('dual_side:BTC-USDT-SWAP')::text = setting_schema('dual_side')::text as are_equal"
    assert one(db, query)["are_equal"]
    with refused("US010"):
        fetch(db, "select setting_schema('params:BTC-USDT-SWAP')")
