"""The catalogue as it is shipped: what the predecessor's own buttons and routes write, in catalogue.csv."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from store.postgres import migrate, sources
from tests.helpers.sessions import Connection, fetch, one, value

COLUMNS = "setting_type, key, json_type, is_nullable, default_value::text, minimum, maximum, choices, is_secret"
WIDENING = "0020_predecessors_values"
# Besides, in params: their sessions put it into params, as 0 or 1.
ALSO = {("params", "use_dual_side_entry"): ("boolean", False, None, None, None, None, False)}

Field = tuple[Any, ...]


def given() -> dict[tuple[str, str], Field]:
    """What the file says of each key."""
    fields = {}
    with Path(__file__).with_name("catalogue.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kind, _, null = row["json_type"].partition("|")
            limits = [float(row[name]) if row[name] else None for name in ("minimum", "maximum")]
            default = json.loads(row["default"], parse_float=str) if row["default"] else None
            choices = row["choices"].split("|") if row["choices"] else None
            has_default = bool(row["default"])
            fields[row["setting_type"], row["key"]] = (
                kind, null == "null", (has_default, default), *limits, choices, row["secret"] == "yes",
            )  # fmt: skip
    return fields


def shipped(db: Connection) -> dict[tuple[str, str], Field]:
    fields = {}
    for row in fetch(db, f"select {COLUMNS} from setting_fields"):
        text = row["default_value"]
        limits = [None if row[name] is None else float(row[name]) for name in ("minimum", "maximum")]
        fields[row["setting_type"], row["key"]] = (
            row["json_type"], row["is_nullable"], (text is not None, json.loads(text or "null", parse_float=str)),
            *limits, row["choices"], row["is_secret"],
        )  # fmt: skip
    return fields


def test_every_key_says_what_it_is_for_in_either_language(db: Connection) -> None:
    told = fetch(db, "select key, description, description_ko from setting_fields")
    for field in told:
        assert re.fullmatch(r"[A-Z].{20,300}\.", re.sub("[가-힣]", "x", field["description"])), field
        assert re.search("[가-힣]{2}", field["description_ko"]), field
        assert field["description_ko"].endswith("."), field
    assert len({field["description"] for field in told}) == len({field["description_ko"] for field in told}) == 68


def test_a_description_of_an_operators_outlives_migrate_and_other_changes(db: Connection, database_url: str) -> None:
    fetch(db, "select save_setting_field('params', 'leverage', 'integer', '5', 1, 20, p_description => 'Ours')")
    fetch(db, "select save_setting_field('params', 'sl_value', 'number', '5', p_description_ko => '')")
    fetch(db, "select save_setting_field('params', 'leverage', 'integer', '5', 1, 30)")
    migrate.migrate(database_url)
    told = fetch(db, "select description, description_ko from setting_fields where key in ('leverage', 'sl_value')")
    assert sorted((field["description"][:8], field["description_ko"][:6]) for field in told) == [
        ("Distance", ""), ("Ours", "포지션의 레"),
    ]  # fmt: skip


def test_every_column_of_every_key_is_that_of_the_file(db: Connection) -> None:
    also = {key: (kind, null, (False, None), *rest) for key, (kind, null, _, *rest) in ALSO.items()}
    assert shipped(db) == given() | also


def test_keys_without_a_default_come_into_no_new_document(db: Connection, uid: str) -> None:
    for setting_type in ("preferences", "params", "dual_side"):
        query = "select key from validate_user_setting(%s, default_user_setting(%s))"
        assert fetch(db, query, (setting_type, setting_type)) == []
    without = {key for key, field in shipped(db).items() if not field[2][0]}
    assert without == {("params", "investment"), ("params", "current_category"), *ALSO}
    params = one(db, "select settings from user_settings where setting_type = 'params'")["settings"]
    assert not {key for _, key in without} & set(params)
    assert value(db, "select missing_setting_keys('params', default_user_setting('params'))") == []


def test_what_operators_changed_stays_as_it_is(db: Connection, database_url: str) -> None:
    ids = [file.stem for file in sources.resources("migrations").glob("*[a-z].sql") if ".rollback" not in file.name]
    migrate.rollback(database_url, sum(name >= WIDENING for name in ids))
    assert shipped(db)["params", "btc_investment"][3:5] == (1, 1_000_000)
    changes = {
        ("params", "btc_investment"): "maximum = 5",
        ("params", "rsi_oversold"): "default_value = '25'",
        ("params", "tp_option"): "choices = array_append(choices, 'mine')",
        ("params", "trend_timeframe"): "is_secret = true",
    }
    for (setting_type, key), change in changes.items():
        fetch(db, f"update setting_fields set {change} where (setting_type, key) = (%s, %s)", (setting_type, key))
    fetch(db, "delete from setting_fields where key = 'trailing_start_point'")
    fetch(db, "insert into setting_fields (setting_type, key, json_type) values ('params', 'investment', 'string')")
    before = shipped(db)
    migrate.migrate(database_url)
    after, wanted = shipped(db), given()
    for changed in [*changes, ("params", "investment")]:
        assert after.pop(changed) == before[changed], changed
    assert ("params", "trailing_start_point") not in after
    assert {key: field for key, field in after.items() if wanted.get(key, field) != field} == {}


# What their buttons and routes write, and what even they don't.
BUTTONS: list[tuple[str, str]] = [
    ("params", '{"btc_investment": 0, "eth_investment": 0.001, "sol_investment": 5000000}'),
    (
        "params",
        '{"rsi_oversold": 29.5, "rsi_overbought": 70.25, "tp1_ratio": 33.3, "tp2_ratio": 33.3, "tp3_ratio": 33.4}',
    ),
    ("params", '{"tp_option": "가격 기준", "sl_option": "가격 기준", "trend_timeframe": null}'),
    ("params", '{"trailing_stop_type": "fixed", "trailing_start_point": null, "current_category": null}'),
    ("params", '{"trailing_stop_type": "tp_diff", "current_category": "entry", "investment": 1000000}'),
    ("params", '{"trailing_stop_type": null, "use_dual_side_entry": true}'),
    ("dual_side", '{"dual_side_entry_tp_trigger_type": null}'),
]
REFUSED: list[tuple[str, str]] = [
    ("params", '{"btc_investment": -0.01}'),
    ("params", '{"rsi_oversold": 100.5}'),
    ("params", '{"tp1_ratio": -1}'),
    ("params", '{"trailing_stop_type": "percent"}'),
    ("params", '{"pyramiding_entry_type": "가격 기준"}'),
    ("params", '{"investment": 0}'),
    ("params", '{"investment": null}'),
    ("params", '{"use_dual_side_entry": 1}'),
    ("params", '{"leverage": null}'),
    ("params", '{"rsi_length": 14.5}'),
    ("dual_side", '{"dual_side_entry_sl_trigger_type": null}'),
]


def test_the_catalogue_allows_what_they_write_and_no_more(db: Connection) -> None:
    for allowed, rows in ((True, BUTTONS), (False, REFUSED)):
        for setting_type, document in rows:
            found = fetch(db, "select key from validate_user_setting(%s, %s)", (setting_type, document))
            assert (found == []) is allowed, document


# Setting type, document, the same by the catalogue's types.
CONVERTED: list[tuple[str, str, str]] = [
    ("params", '{"leverage": "30"}', '{"leverage": 30}'),
    ("params", '{"leverage": " 30.0 ", "sl_value": "2.50"}', '{"leverage": 30.0, "sl_value": 2.50}'),
    ("params", '{"sl_value": "+.5", "tp1_value": "-1e2", "tp2_value": "1.", "rsi_oversold": "29.5"}',
     '{"sl_value": 0.5, "tp1_value": -100, "tp2_value": 1, "rsi_oversold": 29.5}'),
    ("params", '{"tp1_value": "0.1234567890123456789012345"}', '{"tp1_value": 0.1234567890123456789012345}'),
    ("params", '{"use_sl": "true", "use_tp1": "True", "use_tp2": "false", "use_tp3": "FALSE"}',
     '{"use_sl": true, "use_tp1": true, "use_tp2": false, "use_tp3": false}'),
    ("params", '{"use_sl": "1", "use_tp1": "0", "use_dual_side_entry": 1}',
     '{"use_sl": true, "use_tp1": false, "use_dual_side_entry": true}'),
    ("dual_side", '{"use_dual_side_entry": 0, "use_dual_sl": 1}',
     '{"use_dual_side_entry": false, "use_dual_sl": true}'),
    ("params", '{"symbol_investments": "{\\"BTC\\": 20}"}', '{"symbol_investments": {"BTC": 20}}'),
    ("params", '{"trailing_stop_type": "None"}', '{"trailing_stop_type": null}'),
]  # fmt: skip
# What stays as it is: text of keys that hold text, keys that aren't listed, what would be wrong all the same.
KEPT: list[tuple[str, str]] = [
    ("params", '{"pyramiding_type": "0", "trend_timeframe": "15", "signal_bot_token": "", "current_category": "None"}'),
    ("preferences", '{"symbol": "true", "timeframe": "30"}'),
    ("params", '{"mine": "30", "theirs": "true", "leverage ": "3"}'),
    ("params", '{"leverage": "1000", "rsi_length": "2.5", "sl_value": "0"}'),
    ("params", '{"leverage": "", "sl_value": "nan", "tp1_value": "Infinity", "tp2_value": "1e999"}'),
    ("params", '{"tp1_value": "1_000", "tp2_value": "1,5", "tp3_value": "٣", "sl_value": "0x10"}'),
    ("params", '{"leverage": true, "cooldown_time": "--5", "entry_multiplier": "5 %"}'),
    ("params", '{"use_sl": 2, "use_tp1": "yes", "use_tp2": null, "use_tp3": [], "use_break_even": 0.5}'),
    ("params", '{"symbol_investments": "[]", "symbol_execution_modes": "{", "tp1_value": {"a": "3"}}'),
    ("params", '{"direction": 1, "trailing_stop_type": "none", "signal_bot_webhook_url": null}'),
    ("nonsense", '{"leverage": "30"}'),
    ("params", '["30"]'),
    ("params", "null"),
    ("params", "{}"),
]


@pytest.mark.parametrize("case", ["converted", "kept", "twice"])
def test_a_document_is_converted_by_the_catalogue(db: Connection, case: str) -> None:
    rows = CONVERTED if case == "converted" else [(kind, text, text) for kind, text in KEPT]
    if case == "twice":
        rows = [(kind, text, text) for kind, _, text in CONVERTED]
    for setting_type, document, expected in rows:
        found = value(db, "select _convert_settings(%s, %s)::text", (setting_type, document))
        assert found == value(db, "select %s::jsonb::text", (expected,)), (setting_type, document)
    if case != "kept":  # never what wouldn't validate afterwards
        for setting_type, _, document in rows:
            assert fetch(db, "select key from validate_user_setting(%s, %s)", (setting_type, document)) == []


def test_every_default_limit_and_choice_written_as_text_is_converted_back(db: Connection) -> None:
    tried = 0
    for (setting_type, key), field in shipped(db).items():
        row = one(db, "select * from setting_fields where (setting_type, key) = (%s, %s)", (setting_type, key))
        given = [row["default_value"], row["minimum"], row["maximum"]] if field[0] != "string" else []
        for each in [each for each in given if each is not None]:
            document = {key: each if isinstance(each, bool | dict) else float(each)}
            text = {key: json.dumps(each) if isinstance(each, dict) else str(each)}
            query = "select _convert_settings(%s, %s) = %s"
            assert value(db, query, (setting_type, Jsonb(text), Jsonb(document))), (setting_type, text)
            tried += 1
    assert tried > 60


# The texts of a hash, what they read as in the store's own encoding, and the document.
HASHES: list[tuple[str, str, str]] = [
    ('{"dual_side_entry_ratio_type": "5"}', '{"dual_side_entry_ratio_type": 5}', '{"dual_side_entry_ratio_type": "5"}'),
    ('{"dual_side_entry_ratio_type": "1e2"}', '{"dual_side_entry_ratio_type": 100}',
     '{"dual_side_entry_ratio_type": "1e2"}'),
    ('{"dual_side_entry_tp_trigger_type": "None"}', '{"dual_side_entry_tp_trigger_type": "None"}',
     '{"dual_side_entry_tp_trigger_type": null}'),
    ('{"dual_side_entry_tp_trigger_type": ""}', '{"dual_side_entry_tp_trigger_type": ""}',
     '{"dual_side_entry_tp_trigger_type": null}'),
    ('{"dual_side_entry_sl_value": "", "use_dual_sl": "1"}', '{"dual_side_entry_sl_value": "", "use_dual_sl": 1}',
     '{"use_dual_sl": true}'),
    ('{"dual_side_entry_sl_trigger_type": ""}', '{"dual_side_entry_sl_trigger_type": ""}',
     '{"dual_side_entry_sl_trigger_type": ""}'),
]  # fmt: skip


def test_a_hash_is_converted_by_its_texts(db: Connection) -> None:
    for texts, document, expected in HASHES:
        found = value(db, "select _convert_settings('dual_side', %s, %s)", (document, texts))
        assert found == json.loads(expected), texts
