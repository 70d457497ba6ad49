"""Every function of the schema with hostile arguments: a result or an error of ours, and nothing is out of order after.

The functions are those of the catalog: a new one is covered as soon as it is there.
"""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.types.string import TextLoader

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import NOBODY, SECRET, TEXTS, nested
from tests.helpers.sessions import Connection, fetch, refused, value

pytestmark = pytest.mark.slow

KIM = "3f0c0000-0000-4000-8000-000000000000"
DELETED = "1000000000000002"
CIPHERTEXT = "v1.0123abcd." + "A" * 40
WRITABLE = sorted(TEXTS.keys() - {"nul", "surrogate", "huge"})  # the first two are no text to PostgreSQL
EXAMPLES = 50  # a function
LONGEST_MESSAGE = 5_000  # characters: an error doesn't give back 3 MB

FUNCTIONS = """
    select p.oid::regprocedure::text as signature, p.proname as name, p.prosrc as source,
           coalesce(p.proargnames[:p.pronargs], '{}') as names,
           (select coalesce(array_agg(format_type(t.type, null) order by t.n), '{}')
              from unnest(p.proargtypes::oid[]) with ordinality as t (type, n)) as types
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype and p.prokind = 'f'
       and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
     order by 1"""

# What PostgreSQL says itself of an argument, and why that is good enough. The first three are of the argument as such,
# before the function runs.
POSTGRESQL = {
    "22P02": "no JSON, or half a surrogate pair in it",
    "22P05": "U+0000 in JSON",
    "54001": "JSON nested deeper than the server reads",
    "22003": "a number in JSON that numeric doesn't hold",
    "22008": "a time or an interval beyond the calendar",
    "2201W": "a negative limit",
    "2201X": "a negative offset",
}  # fmt: skip

# Functions that only our own code calls, with what it made or read itself: what they say besides, and what of.
PLUMBING = {
    "changes_as_json": {"22023": "not two objects"},
    "_document_changes": {"22023": "not two objects"},
    "_unmask_secrets": {"22023": "not an object"},
    "_without_change": {"22023": "not objects"},
    "_take_settings": {"22023": "problems that aren't an object"},
    "_compare_documents": {"22023": "not an array of objects", "22P02": "a member of another type"},
    "import_documents": {"22023": "not an array of objects", "22P02": "a member of another type", "23514": "an owner"},
    "keep_documents": {"22023": "not an array of objects", "22P02": "a member of another type"},
    "import_links": {"22023": "not an array of objects", "22P02": "a member of another type"},
    "import_credentials": {"22023": "not an array of objects"},
    "_take_new_documents": {"22023": "not an array of objects", "22P02": "a member of another type"},
    "_mark_pending": {"23502": "a mark of nothing"},
    "_candle_lookup": {"42P01": "no import was begun: merge_candles() has looked"},
    "_check_candles": {"42P01": "no import was begun: merge_candles() has looked"},
    "_write_candles": {"42P01": "no import was begun: merge_candles() has looked"},
    "end_restore": {"23505": "no begin_restore() before"},
    "_bootstrap_difference": {
        "2201E": "an alpha of 0 or less",
        "2201F": "one above 1",
        "22012": "one cluster, no weight",
    },
    "_check_overlap": {"22023": "not an object"},
}

# Sets who writes and why, for its caller to put back.
SETS = {"_write_as_schedule"}

# What is checked inside each call's transaction, once it has succeeded.
INVARIANTS = {
    "one row of a document is active, the newest": """
        select okx_uid, setting_type from user_settings group by okx_uid, setting_type, user_id
        having count(*) filter (where is_active) <> 1 or max(version) filter (where is_active) <> max(version)""",
    "versions have no gap": """
        select okx_uid, setting_type from user_settings group by okx_uid, setting_type, user_id
        having min(version) <> 1 or max(version) <> count(*)""",
    "one row of credentials is active, the newest, and versions have no gap": """
        select okx_uid from okx_api_info group by okx_uid, user_id
        having count(*) filter (where is_active) <> 1 or max(version) filter (where is_active) <> max(version)
            or min(version) <> 1 or max(version) <> count(*)""",
    "credentials are ciphertext": "select okx_uid from okx_api_info c where not _is_encrypted(c)",
    "no trigger is disabled": """
        select tgname from pg_trigger where not tgisinternal and tgenabled <> 'O'""",
    "a scheduled change that isn't over will be looked at": """
        select i.schedule_id from scheduled_change_users i join scheduled_changes c on c.id = i.schedule_id
         where i.due_at is not null and c.due_at is null""",
    "no permit is left": "select permit from trigger_permits",
    "a key of Redis is made of digits": """
        select owner from mirror_pending where owner !~ '^[0-9]{5,20}$'
        union all select owner from mirror_source where owner !~ '^[0-9]{5,20}$'""",
    "a trade has its order, and an order its trade": """
        select t.id from trades t full join trade_orders o on o.trade_id = t.id and o.exit_time = t.exit_time
         where o.trade_id is null or t.id is null or (t.user_id, t.exit_order_id) <> (o.user_id, o.exit_order_id)""",
    "every document is an object": "select id from user_settings where jsonb_typeof(settings) <> 'object'",
}  # fmt: skip
EXCEPT = {
    ("prune_user_settings", "versions have no gap"),  # that is what it is for
    ("_mark_pending", "a key of Redis is made of digits"),  # the triggers mark what they have checked
    ("begin_restore", "no trigger is disabled"),  # end_restore() follows in the transaction
    ("begin_restore", "no permit is left"),
}

TEXT = st.one_of(
    st.sampled_from(
        [OKX_UID, TELEGRAM_ID, NOBODY, DELETED, "99999", "params", "preferences", "dual_side", "user", "telegram",
         "api_keys", "default", "careful", "redis", "db", CIPHERTEXT, "3f0c0000-0000-4000-8000-000000000000"]
    ),
    st.sampled_from([TEXTS[name] for name in WRITABLE]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)  # fmt: skip
KEYS = st.sampled_from(
    ["leverage", "signal_bot_token", "timeframe", "params", "dual_side", "__proto__", "$", "a.b", "", "owner", "kind",
     "document", "as_given", "version", "okx_uid", "telegram_id", "settings", *(TEXTS[name] for name in WRITABLE)]
)  # fmt: skip
LEAF = st.one_of(
    st.none(), st.booleans(), st.just(SECRET), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**400, -(10**400), 1e-300, 20, "********", [], {}, OKX_UID, TELEGRAM_ID, NOBODY, DELETED]),
    TEXT.map(lambda text: f"{SECRET}{text}"),
)  # fmt: skip
DOCUMENT = st.dictionaries(KEYS, LEAF, max_size=4)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "owner": TEXT | LEAF, "kind": TEXT | LEAF, "version": st.integers(-1, 5) | LEAF, "document": DOCUMENT | LEAF,
        "as_given": DOCUMENT | LEAF, "okx_uid": TEXT | LEAF, "telegram_id": TEXT | LEAF, "name": TEXT | LEAF,
        "settings": st.dictionaries(KEYS, DOCUMENT | LEAF, max_size=2) | LEAF,
    },
)  # fmt: skip
UNREADABLE = ["", "{", f'{{"a": "{SECRET}', '{"a": NaN}', r'{"a": "\u0000"}', r'{"a": "\ud800"}', '{"a": 1e999999}']
JSON = st.one_of(
    st.recursive(LEAF | DOCUMENT | ITEM, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside)),
    DOCUMENT, st.lists(ITEM, max_size=3),
    st.sampled_from([nested(63), nested(64), nested(900)]),
).map(json.dumps) | st.sampled_from(UNREADABLE)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, 3, 20, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "text[]": st.lists(st.none() | TEXT, max_size=4),
    "jsonb": JSON,
    "integer": NUMBERS,
    "integer[]": st.lists(st.none() | NUMBERS, max_size=4),
    "bigint": NUMBERS,
    "boolean": st.booleans(),
    "boolean[]": st.lists(st.none() | st.booleans(), max_size=4),
    "uuid": st.uuids().map(str),
    "timestamp with time zone": st.sampled_from(
        ["now", "-infinity", "infinity", "4713-01-01 BC", "294276-12-31", "epoch", "2020-01-01 00:00+09"]
    ),
    "jsonpath": st.sampled_from(["$", 'strict $.leverage > 2 || !($.a == "x")', "exists($.**)", "$.leverage", '""']),
    "numeric": st.sampled_from(["NaN", "Infinity", "-1", "0", "1e-300", "1e300", "0.001"]),
    "numeric[]": st.lists(st.none() | st.sampled_from(["NaN", "-1", "0", "5", "5", "100", "1e300"]), max_size=4),
    "double precision": st.sampled_from(["NaN", "Infinity", "-1", "0", "1e-300", "1e300", "1"]),
    "double precision[]": st.lists(st.none() | st.sampled_from(["NaN", "Infinity", "-1", "0", "1e300"]), max_size=4),
    "interval": st.sampled_from(["0", "1 day", "-1 day", "178000000 years", "-178000000 years", "1 microsecond"]),
}  # fmt: skip


# A trade, and one with a column that is anything: texts, numbers and times of every sort get as far as the table.
TRADE = {
    "symbol": "BTC-USDT-SWAP", "side": "long", "entry_time": "2026-11-22T10:00:00Z", "entry_price": "97000.1",
    "entry_size": 1, "exit_time": "2026-11-22T11:00:00Z", "exit_price": 97500, "exit_size": 1, "realized_pnl": 4.999,
    "exit_order_id": "42", "okx_uid": OKX_UID, "extra": {},
}  # fmt: skip
TRADES = st.tuples(
    st.sampled_from(
        [
            *TRADE,
            "entry_fee",
            "funding_fee",
            "currency",
            "leverage",
            "dca_count",
            "params_version",
            "is_hedge",
            "close_type",
        ]
    ),
    LEAF | DOCUMENT | st.sampled_from(["1e-999", "9" * 150, "0001-01-01T00:00Z", "2999-12-31T23:59:60-14", "-0"]),
).map(lambda change: {**TRADE, change[0]: change[1]})
CANDLES = [
    "[]",
    '[{"ts": "2026-01-01T00:00Z", "symbol": "BTC-USDT-SWAP", "open": 2, "high": 4, "low": 1, "close": 3, "volume": 9}]',
    '[{"ts": "infinity", "symbol": "BTC-USDT-SWAP", "open": "NaN", "high": 4, "low": 1, "close": 3, "volume": 9}]',
]

# What a parameter of this name (and type) usually is: where the others are right, a hostile one gets further.
IDENTIFIERS = st.sampled_from([OKX_UID, OKX_UID, TELEGRAM_ID, DELETED, NOBODY])
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "p_identifier": IDENTIFIERS,
    "p_okx_uid": IDENTIFIERS,
    "p_identifiers": st.lists(IDENTIFIERS, max_size=3),
    "p_telegram_id": st.sampled_from([None, TELEGRAM_ID, "99999"]),
    "p_setting_type": st.sampled_from(["params", "dual_side", "preferences"]),
    "p_name": st.sampled_from(["careful", "default"]),
    "p_template": st.just("default"),
    "p_expected_version": st.sampled_from([None, 0, 1, 2]),
    "p_settings": st.sampled_from(['{"leverage": 3}', "{}"]),
    "p_patch": st.sampled_from(['{"leverage": 3}', '{"leverage": null}', "{}"]),
    "p_filter": st.sampled_from([None, "{}", '{"leverage": 20}']),
    "p_documents": st.sampled_from(['{"params": {"leverage": 3}}', "{}"]),
    "p_old": st.just("{}"),
    "p_new": st.just('{"leverage": 3}'),
    "p_current": st.just("{}"),
    "p_user_id": st.just(KIM),
    "p_at": st.sampled_from(["infinity", "now"]),
    "p_api_key": st.just(CIPHERTEXT),
    "p_api_secret": st.just(CIPHERTEXT),
    "p_passphrase": st.just(CIPHERTEXT),
    "p_version": st.sampled_from([1, 2]),
    "p_timeframe": st.just("1m"),
    "p_from_timeframe": st.just("1m"),
    "p_to_timeframe": st.just("1h"),
    "p_candles": st.sampled_from(CANDLES),
    "p_keep": st.just(1),
    "p_older_than": st.just("0"),
    "p_from": st.just(1),
    "p_to": st.just(2),
    "p_from timestamp with time zone": st.sampled_from([None, "2026-11-22 00:00Z"]),
    "p_to timestamp with time zone": st.sampled_from([None, "2026-11-23 00:00Z"]),
    "p_trade": st.sampled_from([json.dumps(TRADE)] * 3) | TRADES.map(json.dumps),
    "p_trades": st.lists(TRADES, max_size=3).map(json.dumps),
    "p_symbol": st.sampled_from([None, "BTC-USDT-SWAP"]),
    "p_side": st.sampled_from([None, "long"]),
    "p_group_by": st.lists(st.sampled_from(["user", "symbol", "day", "params", "params.leverage"]), max_size=4),
    "p_key": st.just("leverage"),
    "p_year_days": st.just(365),
    "p_capital": st.sampled_from([None, "1000"]),
    "p_currency": st.sampled_from([None, "USDT"]),
    "p_limit": st.sampled_from([None, 1, 100]),
    "p_findings": st.sampled_from(["{}", '{"missing": 1}']),
    "p_language": st.just("ko"),
    "p_steps": st.sampled_from([[5, 25, 100], [50]]),
    "p_control": st.just(10),
    "p_minimum_trades": st.just(100),
    "p_guard": st.sampled_from(["net_per_trade", "drawdown"]),
    "p_on_worse": st.just("pause"),
    "p_outcome": st.sampled_from(["keep", "everybody", "roll_back"]),
    "p_from integer": st.sampled_from([None, 1]),
    "p_states": st.just(["running"]),
    "p_alpha": st.sampled_from([0.05, 0.001]),
    "p_treated": st.just([1, 2, 3]),
    "p_treated_weights": st.just([1, 1, 2]),
    "p_control double precision[]": st.just([0, 2]),
    "p_control_weights": st.just([1, 1]),
    "p_rule text": st.sampled_from(["$.leverage < 90", "$.leverage / 0 > $.rsi_length", "1", "(" * 3000 + "1"]),
    "p_left": st.just('{"key": "leverage"}'),
    "p_right": st.sampled_from(['{"literal": 3}', '{"literal": null}']),
    "p_operator": st.sampled_from(["<", "!="]),
    "p_for": st.sampled_from([None, "1 day"]),
    "p_until": st.sampled_from([None, "2099-01-01Z"]),
    "p_not_after": st.sampled_from([None, "2099-01-01Z"]),
    "p_id bigint": st.sampled_from([1, 2]),
    "p_prefer": st.sampled_from([None, "redis", "db"]),
}


def arguments_of(function: dict[str, Any], rows: dict[str, list[str]]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Make arguments for a function: hostile ones and NULL among usual ones; of a table's row type, one of its rows."""
    made = []
    for name, kind in zip(function["names"], function["types"], strict=True):
        of_rows = st.sampled_from(rows.get(kind, [None]))
        hostile = STRATEGIES.get(kind, of_rows)
        usual = USUAL.get(f"{name} {kind}", USUAL.get(name, of_rows if kind in rows else hostile))
        if kind == "ohlcv_1m[]":  # as text
            hostile = usual = st.sampled_from([None, "{}"])
        made.append(st.one_of(usual, usual, usual, hostile, hostile, st.none()))
    return st.tuples(*made)


@pytest.fixture
def people(db: Connection) -> dict[str, list[str]]:
    """A user with history, templates and credentials, a deleted one; rows of the tables as text, by table."""
    for statement in (
        f"insert into app_users (id, okx_uid) values ('{KIM}', '{OKX_UID}')",
        f"select from register_user('{OKX_UID}', '{TELEGRAM_ID}', 'Kim')",
        f"select from register_user('{DELETED}', '99999')",
        f"select from patch_user_setting('{OKX_UID}', 'params', '{{\"signal_bot_token\": \"{SECRET}\"}}')",
        f"select from delete_user_setting('{OKX_UID}', 'dual_side')",
        "select from save_setting_template('careful', 'params', '{\"leverage\": 3}')",
        f"select from save_api_credentials('{OKX_UID}', '{CIPHERTEXT}', '{CIPHERTEXT}', '{CIPHERTEXT}')",
        f"select from save_api_credentials('{OKX_UID}', '{CIPHERTEXT}B', '{CIPHERTEXT}', '{CIPHERTEXT}')",
        "select from begin_rollout('careful', 'careful', 'params', '{50,100}')",
        f"select from record_trade('{OKX_UID}', '{json.dumps({**TRADE, 'exit_order_id': '41'})}')",
        f"select from delete_user('{DELETED}')",
        f"select from schedule_change('{OKX_UID}', 'params', '{{\"note\": \"{SECRET}\"}}', p_for => '1 day')",
        "select from schedule_changes('params', p_filter => '{}', p_template => 'careful', p_at => '2099-01-01Z')",
        f"select from halt_trading('down', '{OKX_UID}')",
        f"select from lock_setting('{OKX_UID}', 'dual_side', '{{use_dual_side_entry}}', 'audit')",
    ):
        fetch(db, statement)
    db.adapters.register_loader("jsonb", TextLoader)  # Python reads no 10,000 levels
    tables = fetch(
        db, "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
    )
    rows = {
        row["relname"]: [r["text"] for r in fetch(db, f"select t::text as text from {row['relname']} t limit 20")]
        for row in tables
    }
    ids = " union all ".join(
        f"(select id::text from {t} order by 1)" for t in ("app_users", "user_settings", "okx_api_info")
    )
    return rows | {"uuid": [row["id"] for row in fetch(db, ids)]}


def hostile_call(db: Connection, function: dict[str, Any], arguments: tuple[Any, ...]) -> str | None:
    """Call it, see to it that all is in order, and undo it; return its SQLSTATE, None if it succeeded."""
    placeholders = ", ".join(f"%s::{name}" for name in function["types"])
    names = sorted(set(re.findall(r"settings_store\.[a-z_]+", function["source"])) - {"settings_store.okx_uid"})
    names = [] if function["name"] in SETS else names
    state = None
    with db.transaction(force_rollback=True):
        fetch(db, "set local statement_timeout = '30s'")
        for name in names:
            fetch(db, "select set_config(%s, 'before', true)", (name,))
        try:
            with db.transaction():
                fetch(db, f"select * from {function['name']}({placeholders})", arguments)
                fetch(db, "set constraints all immediate")
        except psycopg.Error as error:
            state = error.sqlstate or type(error).__name__
            told = f"{error.diag.message_primary} {error.diag.message_detail} {error.diag.message_hint}"
            allowed = state.startswith("US") or state in POSTGRESQL or state in PLUMBING.get(function["name"], ())
            assert allowed, f"{state} {told[:500]}"
            assert len(told) < LONGEST_MESSAGE, f"{state} {told[:200]}"
            assert state in ("22P02", "22P05") or SECRET not in told, (
                told
            )  # those two quote a JSON text they can't read
        else:
            for name, query in INVARIANTS.items():
                assert (function["name"], name) in EXCEPT or fetch(db, query) == [], name
            after = {name: value(db, "select current_setting(%s)", (name,)) for name in names}
            assert after == dict.fromkeys(names, "before")
    return state


def attack(db: Connection, function: dict[str, Any], rows: dict[str, list[str]], states: set[str | None]) -> None:
    """Call a function many times; raise at the first call that is out of order."""

    @settings(
        max_examples=EXAMPLES if function["types"] else 1, derandomize=True, database=None, deadline=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(arguments_of(function, rows))
    def run(arguments: tuple[Any, ...]) -> None:
        states.add(hostile_call(db, function, arguments))

    run()


def functions(db: Connection) -> list[dict[str, Any]]:
    found = fetch(db, FUNCTIONS)
    assert len(found) >= 60
    return found


def test_hostile_arguments_get_a_result_or_an_error_of_ours(db: Connection, people: dict[str, list[str]]) -> None:
    failures: dict[str, str] = {}
    outcomes: dict[str, set[str | None]] = {}
    for function in functions(db):
        states: set[str | None] = set()
        try:
            attack(db, function, people, states)
        except (AssertionError, BaseExceptionGroup) as error:
            failures[function["signature"]] = "".join(getattr(error, "__notes__", [])) + str(error)[:1500]
        outcomes[function["signature"]] = states
    assert failures == {}
    after_another = {
        "_allow(text,text)",
        "_check_erasures()",
        "end_restore()",
        "merge_candles(text,boolean)",
        # Of what these take by name there is one of a few, or none yet.
        "save_hypertable_settings(text,interval,interval,interval)",
        "save_setting_type(text,text,text,boolean)",
        "setting_template(text,text,text)",
        "begin_rollout(text,text,text,numeric[],jsonb,integer,text,text,interval,numeric,text,text)",
        "resume_rollout(text)",
        "delete_rollout(text)",
        "apply_setting_template(text,text,text[],jsonb,boolean,boolean,text,text)",
        "delete_setting_template(text,text,text)",
        "save_setting_field(text,text,text,jsonb,numeric,numeric,text[],boolean,boolean,text,text,boolean)",
        # Of these it takes two arguments that fit each other.
        "diff_user_setting(text,text,integer,integer,text)",
        "schedule_change(text,text,jsonb,text,integer,timestamp with time zone,timestamp with time zone,interval,"
        "timestamp with time zone,integer,text,text)",
        "schedule_changes(text,text[],jsonb,jsonb,text,timestamp with time zone,timestamp with time zone,interval,"
        "timestamp with time zone,text,text)",
        "lock_cold_keys(text,text,timestamp with time zone,text)",
        "lock_setting(text,text,text[],text,timestamp with time zone,text)",
    }  # what comes first hasn't
    assert sorted({signature for signature, states in outcomes.items() if None not in states} - after_another) == []


def test_documents_that_are_no_object_register_nobody(db: Connection) -> None:
    for documents in ("null", "[]", '"params"', "1"):
        with refused("US003"):
            fetch(db, "select from register_user(%s, p_documents => %s)", (NOBODY, documents))
    assert fetch(db, "select from app_users") == []


def test_3_mb_of_text_and_10000_levels_are_refused_or_kept(db: Connection, people: dict[str, list[str]]) -> None:
    huge = {"text": TEXTS["huge"], "text[]": [TEXTS["huge"]], "jsonb": json.dumps({TEXTS["huge"]: TEXTS["huge"]})}
    deep = {"jsonb": '{"a":' * 10_000 + "1" + "}" * 10_000}
    usual = {"p_identifier": OKX_UID, "p_okx_uid": OKX_UID, "p_setting_type": "params", "p_name": "careful"}
    failures = {}
    for function in functions(db):
        for hostile in (huge, deep):
            for i, kind in enumerate(function["types"]):
                if kind in hostile:
                    arguments: list[Any] = [usual.get(name) for name in function["names"]]
                    arguments[i] = hostile[kind]
                    try:
                        hostile_call(db, function, tuple(arguments))
                    except AssertionError as error:
                        failures[f"{function['name']} {function['names'][i]}"] = str(error)[:60]
    assert failures == {}
