"""Documents to Redis and back, without loss, and in a form that the bots already read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis as redis_py
from hypothesis import HealthCheck, example, given, settings

from store import Config, SettingsStore
from store.mirror.encoding import _encode, _members, decode_hash, encode_hash
from store.models import Source
from tests.helpers.documents import NUMBERS, TRICKY, exact, number_texts, object_texts, texts, unknown_documents

KEY = "codec"
many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
Session = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def session(servers: Config) -> Iterator[Session]:
    """One connection that turns texts into jsonb and back."""
    assert servers.database_url
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        yield connection


def as_jsonb(session: Session, document: str) -> str:
    row = session.execute("select %s::jsonb::text", (document,)).fetchone()
    assert row is not None
    return str(row[0])


def through_redis(redis: redis_py.Redis, document: str) -> dict[str, str]:
    """Encode a document, write it, and read the hash back."""
    redis.delete(KEY)
    for field, text in encode_hash(document).items():
        redis.hset(KEY, field, text)
    return {str(field): str(text) for field, text in redis.hgetall(KEY).items()}


@pytest.mark.slow
@many
@given(document=object_texts)
@example(document=json.dumps({text: text for text in TRICKY}))
@example(document="{" + ",".join(f'"{number}":{number}' for number in NUMBERS) + "}")
def test_a_document_read_in_one_go_is_encoded_as_if_cut_to_pieces(session: Session, document: str) -> None:
    stored = as_jsonb(session, document)
    assert encode_hash(stored) == {key: _encode(raw) for key, raw in _members(stored)}
    for key, raw in _members(stored):  # alone: the next to it doesn't decide how it is read
        assert encode_hash(f"{{{json.dumps(key)}: {raw}}}") == {key: _encode(raw)}


@pytest.mark.slow
@many
@given(document=object_texts)
@example(document="{}")
@example(document=json.dumps({text: text for text in TRICKY}))
@example(document=json.dumps({"all": TRICKY, "in": {text: [text] for text in TRICKY}}))
@example(document="{" + ",".join(f'"{number}":{number}' for number in NUMBERS) + "}")
def test_a_document_survives_postgresql_and_a_redis_hash(
    session: Session, redis: redis_py.Redis, document: str
) -> None:
    stored = as_jsonb(session, document)
    fields = through_redis(redis, stored)
    assert repr(decode_hash(fields)) == repr(dict.fromkeys(fields) | json.loads(stored))

    def keep(text: str) -> Decimal:
        return Decimal(text)

    as_given = json.loads(document, parse_int=keep, parse_float=keep)
    members = "select key, value::text, jsonb_typeof(value) = 'string', value #>> '{}' from jsonb_each(%s::jsonb)"
    for key, value, is_string, text in session.execute(members, (document,)):
        if is_string:
            assert (decode_hash({key: fields[key]})[key], text) == (as_given[key], as_given[key])
        else:
            assert fields.pop(key) == value
            assert json.loads(value, parse_int=keep, parse_float=keep) == as_given[key]


@many
@given(text=texts)
def test_a_string_stays_a_string(session: Session, text: str) -> None:
    encoded = encode_hash(as_jsonb(session, json.dumps({"k": text})))
    assert decode_hash(encoded) == {"k": text}
    assert encoded["k"] == text or json.loads(encoded["k"]) == text


@pytest.mark.parametrize("text", ["롱숏", "BTC-USDT-SWAP", "1m", "True", "", "it's", "a b", 'say "hi"'])
def test_an_ordinary_string_is_bare(session: Session, text: str) -> None:
    assert encode_hash(as_jsonb(session, json.dumps({"k": text}))) == {"k": text}


@pytest.mark.parametrize(
    "text", ["true", "false", "null", "1", "1e5", " 1 ", '"x"', "[]", "{}", "NaN", "-Infinity", "0"]
)
def test_a_string_that_would_read_back_as_something_else_is_quoted(session: Session, text: str) -> None:
    assert encode_hash(as_jsonb(session, json.dumps({"k": text}))) == {"k": json.dumps(text)}


@pytest.mark.parametrize("number", ["0.1234567890123456789012345", "12345678901234567890123", "1.10", "-0.5", "100.00"])
def test_a_number_keeps_every_digit(session: Session, redis: redis_py.Redis, number: str) -> None:
    assert through_redis(redis, as_jsonb(session, f'{{"k": {number}}}')) == {"k": number}


@pytest.mark.parametrize("value", [True, False])
def test_existing_readers_understand_booleans(session: Session, redis: redis_py.Redis, value: bool) -> None:
    text = through_redis(redis, as_jsonb(session, json.dumps({"k": value})))["k"]
    assert (text.lower() == "true") is value
    assert json.loads(text) is value
    assert (text == "false") is not value


@many
@given(number=number_texts)
def test_existing_readers_understand_numbers(session: Session, number: str) -> None:
    text = encode_hash(as_jsonb(session, f'{{"k": {number}}}'))["k"]
    assert Decimal(text) == Decimal(number)
    assert float(text) == float(number) == float(json.loads(text))
    assert text.lower() != "true"
    assert text != "false"


PIECES = [
    *("true", "false", "null", "NaN", "Infinity", "-", "0", "1", "9", "123456789012345", "9" * 30, "e", "E", "+", "."),
    *('"', '\\"', "{", "}", "[", "]", ",", ":", " ", "\t", "\n", "\x0b", "\u00a0", "\ufeff", "\ud800", "\0", "٣", "１"),
    *("a", "t", "f", "n", "N", "I", "_", "True", "None", "BTC-USDT-SWAP", "\\u00e9", "1.5", "0.12345678901234567"),
]  # fmt: skip


def test_a_text_is_read_as_json_would_read_it_whatever_it_is() -> None:
    chance = random.Random(7)
    some = ["".join(chance.choices(PIECES, k=chance.randrange(6))) for _ in range(20_000)]
    for text in (*some, "9" * 5000, "[" * 100_000, "1" * 15, "-" + "1" * 16):
        try:
            expected = json.loads(text)
        except (ValueError, RecursionError):
            expected = text
        found = decode_hash({"k": text})["k"]
        assert (type(found), repr(found)) == (type(expected), repr(expected))


@pytest.mark.parametrize("setting_type", ["preferences", "params"])
@settings(parent=many, max_examples=100)
@given(document=unknown_documents)
@example(document={f"?{text}": text for text in TRICKY})
async def test_any_document_reads_back_the_same_from_either_store(
    store: SettingsStore, config: Config, setting_type: str, document: dict[str, Any]
) -> None:
    user = "1000000000000001"
    if await store.find_user(user) is None:
        await store.register(user)
    saved = await store.save(user, setting_type, document)
    assert saved.mirrored
    assert exact(saved.settings) == exact(document)
    sources: tuple[Source, ...] = ("redis", "db")
    for source in sources:
        found = await store.get(user, setting_type, source=source)
        assert found is not None
        assert (found.source, found.version) == (source, saved.version)
        assert exact(found.settings) == exact(document)


async def test_a_number_too_long_for_a_float_keeps_its_digits_in_both_stores(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis
) -> None:
    document = '{"?k": 0.1234567890123456789012345, "?n": 12345678901234567890123}'
    for setting_type in ("preferences", "params"):
        db.execute("select upsert_user_setting(%s, %s, %s)", (user, setting_type, document))
        await store.get(user, setting_type, min_version=2)
    assert redis.hgetall(f"user:{user}:preferences") == {
        "?k": "0.1234567890123456789012345",
        "?n": "12345678901234567890123",
    }
    assert redis.get(f"user:{user}:settings") == document
