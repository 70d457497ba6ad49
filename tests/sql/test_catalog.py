"""What sql/ must hold to as a whole, read from PostgreSQL's catalog and compared with the files and Python."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from store import models
from store.models import Candle
from store.postgres import errors as postgres_errors
from store.postgres import functions
from store.postgres.sources import kind_of, name_of, rights_of, sql_files
from tests.helpers.roles import FUNCTIONS as RIGHTS
from tests.helpers.roles import ROLES
from tests.helpers.sessions import Connection, fetch

SQL = Path(__file__).parents[2] / "sql"
OBJECT_FILES = {name_of(file) for file in sql_files()}
FUNCTION_FILES = {name_of(file) for file in sql_files() if kind_of(file) in ("_allow", "function", "trigger")}
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
ARGUMENTS: dict[Any, Any] = {
    str: "1000000000000001", int: 1, bool: True, float: 1.0, datetime: MOMENT, timedelta: timedelta(days=1),
    UUID: UUID(int=1), Decimal: Decimal(1), functions.mirror.Snapshot: "1:1:",
    Candle: Candle(MOMENT, "BTC-USDT-SWAP", Decimal(2), Decimal(4), Decimal(1), Decimal(3), Decimal(9)),
}  # fmt: skip

FUNCTIONS = """
    select p.proname as name, p.oid::regprocedure::text as signature, p.prorettype::regtype::text as returns,
           obj_description(p.oid, 'pg_proc') as comment, coalesce(p.proconfig, '{}') as settings,
           p.prosqlbody is not null as is_resolved,
           exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                    where a.grantee = 0 and a.privilege_type = 'EXECUTE') as is_public
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace
       and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"""


def source(folder: str = "") -> str:
    return "\n".join(file.read_text() for file in sorted((SQL / folder).glob("**/*.sql")))


def test_every_function_is_documented_and_closed(db: Connection) -> None:
    functions = fetch(db, FUNCTIONS)
    assert len(functions) >= 30
    for function in functions:
        assert function["comment"], f"{function['signature']} has no comment"
        paths = [setting for setting in function["settings"] if setting.startswith("search_path=")]
        # An SQL expression body was resolved when the function was made.
        assert paths or function["is_resolved"], f"{function['signature']} has no search_path of its own"
        assert all(path.endswith("pg_temp") for path in paths), (
            f"{function['signature']}: pg_temp must come last, or it comes first"
        )
        assert not function["is_public"], f"{function['signature']} may be executed by PUBLIC"


# What only the tables' owner may do, though the function is the admin's alone: permits for triggers, which nobody else
# sees, and what alters tables.
OWNERS = {
    *("erase_user", "prune_user_settings", "_keep_losing_document", "_note_link", "reencrypt_api_credentials"),
    "_is_permitted",
    "_notify_relay",
    *("begin_restore", "end_restore", "seal_api_credentials", "arrange_hypertables", "arrange_changes"),
    *("save_setting_type", "delete_setting_type", "save_setting_field", "delete_setting_field"),
    *("save_setting_rule", "delete_setting_rule", "_describe_fields"),
    "save_hypertable_settings",
    "schedule_changes",  # what is run in others' names nobody writes by hand
    *("delete_rollout", "_check_overlap", "_lock_rollout", "_look_at_rollout", "_carry_on_rollout"),
    *("begin_rollout", "advance_rollout", "pause_rollout", "resume_rollout", "end_rollout"),
    *("lock_setting", "unlock_setting", "_put_locks"),
    *(
        "user_settings_changed",
        "okx_api_info_changed",
        "app_users_links",
        "trading_halts_changed",
    ),  # triggers: what nobody writes by hand
    *("erase_unknown", "_erasure_digest", "_note_return", "is_erased"),  # the memory of erasures is nobody's to read
}


def test_the_functions_with_the_owners_rights_are_those_of_lesser_roles_and_a_few_more(db: Connection) -> None:
    query = "select proname as name from pg_proc where prosecdef and pronamespace = 'public'::regnamespace"
    lesser = {name for name, who in RIGHTS.items() if who not in ((), ("admin",))}
    assert not lesser & OWNERS
    assert {row["name"] for row in fetch(db, query)} == lesser | OWNERS


def test_every_function_but_those_of_triggers_is_granted_to_the_admin_at_least() -> None:
    for file in sql_files():
        roles = rights_of(file)
        if kind_of(file) == "function":
            assert roles is not None, file.name
            if roles or not file.name.startswith("_"):  # what needs rights on tables that no role has is the owner's
                assert roles == [role for role in ROLES if role in (*roles, "admin")], file.name
        elif kind_of(file) in ("trigger", "_allow"):
            assert roles == [], file.name


def test_every_function_has_its_file_and_no_overload(db: Connection) -> None:
    names = [function["name"] for function in fetch(db, FUNCTIONS)]
    assert sorted(names) == sorted(FUNCTION_FILES)


def test_every_trigger_is_named_after_its_file(db: Connection) -> None:
    query = """
        select t.tgname as name, p.proname as function, t.tgenabled::text as enabled
          from pg_trigger t join pg_proc p on p.oid = t.tgfoid
         where not t.tgisinternal and p.pronamespace = 'public'::regnamespace"""
    triggers = fetch(db, query)
    assert {trigger["function"] for trigger in triggers} == {
        name_of(file) for file in sql_files() if kind_of(file) == "trigger"
    }
    for trigger in triggers:
        assert trigger["name"].startswith(trigger["function"])
        assert trigger["enabled"] == "O"


def test_every_view_has_its_file_and_a_comment(db: Connection) -> None:
    query = """
        select c.relname as name, obj_description(c.oid, 'pg_class') as comment from pg_class c
         where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
           and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')"""
    views = fetch(db, query)
    assert {view["name"] for view in views} == {name_of(file) for file in sql_files() if kind_of(file) == "view"}
    assert all(view["comment"] for view in views)


def test_every_table_of_ours_is_documented(db: Connection) -> None:
    query = """
        select c.relname as name, obj_description(c.oid, 'pg_class') as comment from pg_class c
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and c.relname !~ '^_?yoyo'"""
    tables = {row["name"]: row["comment"] for row in fetch(db, query)}
    assert {"app_users", "user_settings", "mirror_pending"} <= set(tables)
    assert [name for name, comment in tables.items() if not comment] == []


def test_every_file_holds_to_the_order_why_object_contract_rights() -> None:
    for file in sql_files():
        if kind_of(file) in ("function", "trigger"):
            text, name = file.read_text(), name_of(file)
            assert text.startswith("-- "), f"{file.name} doesn't begin with why it is so, or what it locks"
            marks = [f"create or replace function {name}(", f"comment on function {name}(", f"select _allow('{name}'"]
            places = [text.find(mark) for mark in marks]
            assert -1 not in places, file.name
            assert places == sorted(places), file.name


def test_every_raised_code_has_its_exception() -> None:
    raised = set(re.findall(r"errcode = '(US\d{3})'", source()))
    assert raised <= set(postgres_errors.BY_SQLSTATE)
    assert set(postgres_errors.BY_SQLSTATE) - raised <= {"US006"}
    assert len(set(postgres_errors.BY_SQLSTATE.values())) == len(postgres_errors.BY_SQLSTATE)


def test_every_raise_has_a_code_of_ours() -> None:
    raises = re.findall(r"raise exception\b(.*?);", source(), re.DOTALL)
    assert len(raises) > 10
    assert [text for text in raises if "errcode = 'US" not in text] == []


def constructors() -> dict[str, Any]:
    return {
        f"{module.__name__}.{name}": made
        for module in functions.SUBJECTS
        for name, made in inspect.getmembers(module, inspect.isfunction)
        if made.__module__ == module.__name__ and not name.startswith("_")
    }


def argument(annotation: Any) -> Any:
    """Make a value that fits a parameter's annotation."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in ARGUMENTS:
        return ARGUMENTS[annotation]
    if origin is None and annotation is Any:
        return "1000000000000001"
    if origin in (list, Sequence):
        return [argument(inside[0])] if inside[0] is not Any else []
    if origin in (dict, Mapping):
        return {"params": argument(inside[1])} if inside[1] is not Any else {"a": 1}
    if origin is tuple:
        return tuple(argument(part) for part in inside if part is not Ellipsis)
    if inside:  # a union, a Literal
        return argument(inside[0]) if isinstance(inside[0], type) or typing.get_origin(inside[0]) else inside[0]
    raise AssertionError(f"teach this test to make a {annotation}")


def test_every_call_of_python_fits_the_function_it_names(db: Connection) -> None:
    found = constructors()
    assert len(found) >= 15
    for name, constructor in found.items():
        annotations = typing.get_type_hints(constructor)
        annotations.pop("return")
        if typing.get_origin(annotations.get("options")) is typing.Unpack:
            annotations |= typing.get_type_hints(typing.get_args(annotations.pop("options"))[0])
        call = constructor(**{key: argument(annotation) for key, annotation in annotations.items()})
        query = call if isinstance(call, str) else call.query  # a COPY of a query is text
        named = set(re.findall(r"\b(?:from|join|lateral)\s+(?!lateral)(?:public\.)?([a-z_]+)", query))
        named -= {"unnest", "jsonb_to_recordset"}  # PostgreSQL's own
        assert named, query
        assert named <= OBJECT_FILES, name
        unqualified = set(re.findall(r"(?<![\w.])([a-z_]+)\(", query)) & OBJECT_FILES
        assert not unqualified, f"{name}: public.{unqualified}, or a search_path without public doesn't find it"
        assert query is call or fetch(db, f"explain {query}", call.params), name


def test_the_types_python_knows_are_those_of_the_database(db: Connection) -> None:
    rows = fetch(db, "select setting_type as name, redis_suffix, redis_encoding, has_symbols from setting_types")
    assert {row["name"]: models.SettingType(**row) for row in rows} == models.BUILT_IN_TYPES


def test_whatever_asks_for_the_fields_of_a_document_asks_by_its_type() -> None:
    """A document's name may hold a symbol, dual_side:BTC-USDT-SWAP; the catalogue knows types."""
    for file in SQL.glob("*/*.sql"):
        if file.stem not in ("save_setting_field", "delete_setting_field", "save_setting_rule"):
            text = file.read_text()
            is_split_before = re.search(r"\bv_type +constant text := split_part\(", text)
            split = ("split_part(", "v_type") if is_split_before else "split_part("
            if file.stem == "_suspect_parts":
                split = "p_type"  # its callers have split it
            for compared in re.findall(r"\bf\.setting_type = (.*)", text):
                assert compared.startswith(split), file
            for given in re.findall(r"\b_suspect_parts\((\w+)", text.partition("$$")[2]):
                assert given == "split_part" or given in split, file


def test_where_plans_are_switched_off_nothing_is_compiled_for_what_they_would_cost() -> None:
    """Before PostgreSQL 18 a plan that is switched off costs 10 ** 10 where it's the only one, which seems worth
    compiling: for every row for which a function is called that has such a plan."""
    switched = {file: file.read_text() for file in SQL.glob("*/*.sql") if "\nset enable_" in file.read_text()}
    assert switched
    assert [file.name for file, text in switched.items() if "\nset jit = off\n" not in text] == []
