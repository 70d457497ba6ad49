"""What the tests of credentials share: keys, plain texts that are easy to find again, and a look into everything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import redis as redis_py
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store import Config
from store.encryption.fields import FIELDS, seal
from store.encryption.vault import Vault

Db = psycopg.Connection[dict[str, Any]]
Redis = redis_py.Redis
Plain = tuple[str, str, str]

KEY = base64.b64encode(hashlib.sha256(b"a key").digest()).decode()
NEW_KEY = base64.b64encode(hashlib.sha256(b"a new key").digest()).decode()
OTHER = "1000000000000001"
HASH = "user:{}:api:keys"


def vault(*keys: str) -> Vault:
    """The vault of these keys, the first one writing; without any, one that has none."""
    return Vault.from_env({"SETTINGS_STORE_KEYS": ",".join(keys)})


def with_keys(config: Config, *keys: str, mode: str = "encrypted") -> Config:
    """The configuration with these encryption keys and this MIRROR_CREDENTIALS."""
    return replace(config, vault=vault(*keys), mirror_credentials=mode)


def secrets(n: int | str) -> Plain:
    """API key, secret and passphrase number n, unlike any other's."""
    return f"plain-key-{n}-ak", f"plain-secret-{n}-as", f"plain-phrase-{n}-pp"


def sealed(okx_uid: str, plain: Plain, *keys: str, version: int = 1) -> dict[str, str]:
    """The three fields as the store would save them."""
    return seal(vault(*(keys or (KEY,))), okx_uid, dict(zip(FIELDS, plain, strict=True)), version)


def old_form(okx_uid: str, plain: Plain, key: str = KEY) -> dict[str, str]:
    """The three fields as release 1.0 saved them."""
    found = {}
    for name, text in zip(FIELDS, plain, strict=True):
        parts = [b"settings-store credential v1", okx_uid.encode(), name.encode()]
        bound_to = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        body = b"n" * 12 + AESGCM(base64.b64decode(key)).encrypt(b"n" * 12, text.encode(), bound_to)
        found[name] = f"v1.{vault(key).current_key_id}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"
    return found


def opened(config: Config, okx_uid: str, row: Mapping[Any, Any]) -> Plain | None:
    """The plain texts of a row or Redis hash; None if it is a deletion."""
    keys = config.vault
    assert keys is not None
    if row["api_key"] is None:
        return None
    key, secret, phrase = (keys.decrypt(okx_uid, name, row[name]) for name in FIELDS)
    return key, secret, phrase


def versions(db: Db, config: Config, okx_uid: str) -> list[Plain | None]:
    """What every version of a user's credentials says, oldest first; their numbers have no gap, the last is active."""
    rows = db.execute("select * from okx_api_info where okx_uid = %s order by version", (okx_uid,)).fetchall()
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["is_active"] for row in rows] == [False] * (len(rows) - 1) + [True] * bool(rows)
    return [opened(config, okx_uid, row) for row in rows]


def everything(db: Db, redis: Redis) -> str:
    """All rows of credentials and marks, and every key of Redis, as text."""
    found: list[Any] = [db.execute(f"table {table}").fetchall() for table in ("okx_api_info", "mirror_pending")]
    for key in sorted(redis.scan_iter()):  # a Redis that grows changes the order
        is_hash, is_list = redis.type(key) == "hash", redis.type(key) == "list"
        found.append((key, redis.hgetall(key) if is_hash else redis.lrange(key, 0, -1) if is_list else redis.get(key)))
    return repr(found)


def put(redis: Redis, key: str, fields: Mapping[Any, Any]) -> None:
    """Write fields into a Redis hash, as anybody could."""
    redis.hset(key, mapping={str(name): value for name, value in fields.items()})


def is_plain_anywhere(db: Db, redis: Redis, words: Iterable[str] = ("plain-",)) -> bool:
    """Whether a plain text of secrets() is in either store."""
    text = everything(db, redis)
    return any(word in text for word in words)


def key_ids(db: Db, redis: Redis) -> set[str]:
    """The ids of the keys that wrote whatever either store holds."""
    rows = db.execute("select api_key, api_secret, passphrase from okx_api_info where deleted_at is null").fetchall()
    hashes: list[Any] = [redis.hgetall(key) for key in redis.scan_iter("user:*:api:keys")]
    return {str(value).split(".")[1] for row in [*rows, *hashes] for value in row.values()}


def leave_plain_text(db: Db, kept: str = "false", too_long: str = "false") -> None:
    """Make the table as an older system had it: plain text in every version but those `kept` (SQL conditions),
    a constraint that nothing validated."""
    db.execute("alter table okx_api_info drop constraint okx_api_info_ciphertext")
    db.execute("alter table okx_api_info disable trigger user")
    db.execute(
        "update okx_api_info set api_key = format('plain-key-%s-%s-ak', okx_uid, version),"
        " api_secret = format('plain-secret-%s-%s-as', okx_uid, version),"
        " passphrase = repeat(format('plain-phrase-%s-%s-pp', okx_uid, version),"
        f" case when {too_long} then 500 else 1 end)"
        f" where deleted_at is null and not ({kept})"
    )
    db.execute("alter table okx_api_info enable trigger user")
    db.execute(
        "alter table okx_api_info add constraint okx_api_info_ciphertext check"
        r" (concat_ws(' ', api_key, api_secret, passphrase) ~ '^((v1\.[0-9a-f]{8}|v2\.[0-9a-f]{8}\.[1-9][0-9]{0,9}"
        r"\.[A-Za-z0-9_-]{16})\.[A-Za-z0-9_-]+( |$))*$') not valid"
    )
