"""Encryption keys: their forms, rotation from one to another, and where they are looked for."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from store.encryption import vault
from store.encryption.fields import Secrets, is_due, seal, unseal
from store.encryption.vault import DamagedCredential, NoEncryptionKey, Vault, WrongEncryptionKey
from store.errors import ConfigError
from tests.store.encryption.vault.conftest import (
    FIELD,
    KEY,
    OTHER,
    PLAIN,
    RAW,
    SET,
    SLASHED,
    UID,
    from_file,
    key_file,
    opened,
)


def test_an_unknown_key_is_named_by_its_id() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    with pytest.raises(
        WrongEncryptionKey, match=f"{opened(KEY).current_key_id}, which is not among the 2 given"
    ) as caught:
        opened(OTHER, SLASHED).decrypt(UID, FIELD, text)
    assert "SETTINGS_STORE_KEYS" in (caught.value.hint or "")


def test_rotation() -> None:
    old, both, new = opened(KEY), opened(OTHER, KEY), opened(OTHER)
    plain = Secrets({"api_key": "a", "api_secret": "b", "passphrase": "c"})
    before = seal(old, UID, plain, 3)
    assert [is_due(keys, before, 3) for keys in (old, both, new)] == [False, True, True]
    assert is_due(old, before, 4)  # sealed as another version

    after = seal(both, UID, unseal(both, UID, before), 3)
    assert not is_due(both, after, 3)
    assert unseal(new, UID, after) == unseal(both, UID, before) == plain
    with pytest.raises(WrongEncryptionKey):
        unseal(old, UID, after)
    with pytest.raises(WrongEncryptionKey):
        unseal(new, UID, before)
    with pytest.raises(DamagedCredential):
        unseal(both, "1000000000000001", before)


def test_the_first_key_writes_and_a_repeated_one_counts_once() -> None:
    keys = opened(OTHER, KEY, OTHER)
    assert keys.key_ids == (opened(OTHER).current_key_id, opened(KEY).current_key_id)
    assert keys.current_key_id == keys.key_ids[0] == vault.key_id_of(keys.encrypt(UID, FIELD, PLAIN, SET))


@pytest.mark.parametrize(
    "text",
    [
        f"{SLASHED},{KEY}",
        f"{SLASHED} {KEY}",
        f"\n {SLASHED}\r\n\t{KEY} ,\n",
        f"{SLASHED.rstrip('=')},{KEY.rstrip('=')}",
        f"{SLASHED.replace('+', '-').replace('/', '_')};{KEY}".replace(";", " , "),
        f"# the keys, {OTHER}\n{SLASHED}\n  # old:\n#{OTHER}\n\n{KEY}\n#",
    ],
)
def test_forms_of_keys(text: str, tmp_path: Path) -> None:
    assert {"+", "/"} <= set(SLASHED)
    expected = (opened(SLASHED).current_key_id, opened(KEY).current_key_id)
    assert opened(text).key_ids == expected
    assert from_file(key_file(tmp_path, text)).key_ids == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hunter2-secret", "key 1 of"),
        (KEY + ",hunter2-secret", "key 2 of"),
        (KEY[:40], "key 1 of"),
        (RAW.hex(), "key 1 of"),
        (base64.b64encode(bytes(16)).decode(), "key 1 of"),
        (base64.b64encode(bytes(33)).decode(), "key 1 of"),
        (KEY[:42] + "9", "key 1 of"),  # spare bits set
        (KEY + "=", "key 1 of"),
        (KEY + OTHER, "key 1 of"),
        (f"{KEY};{OTHER}", "key 1 of"),
        (KEY[:20] + "é" + KEY[21:], "key 1 of"),
        (" , \n", "holds no key"),
        ("# nothing\n", "holds no key"),
    ],
)
def test_malformed_keys_are_not_quoted(text: str, problem: str, tmp_path: Path) -> None:
    path = key_file(tmp_path, text)
    names = {"SETTINGS_STORE_KEYS": text, "SETTINGS_STORE_KEYS_FILE": str(path)}
    for name, source in (("SETTINGS_STORE_KEYS", "SETTINGS_STORE_KEYS"), ("SETTINGS_STORE_KEYS_FILE", str(path))):
        with pytest.raises(ConfigError) as caught:
            Vault.from_env({name: names[name]})
        said = f"{caught.value} {caught.value!r} {caught.value.hint}"
        assert problem in said
        assert source in said
        assert "settings-store keys generate" in said
        assert not any(token[:8] in said for token in re.split(r"[\s,;#]+", text) if len(token) > 8)


@pytest.mark.parametrize(
    "key",
    [bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(100, 132)), bytes(range(0, 256, 8)),
     bytes(range(32, 0, -1)), b"0123456789" * 3 + b"01", b"abcdefghijklmnopqrstuvwxyz012345", b"changeme" * 4,
     bytes(range(0, 250, 15)) * 2],
)  # fmt: skip
def test_a_key_that_can_be_guessed_may_not_write_but_reads_what_it_wrote(key: bytes, tmp_path: Path) -> None:
    guessed = base64.b64encode((key + key)[:32]).decode()
    for given in ({"SETTINGS_STORE_KEYS": guessed}, {"SETTINGS_STORE_KEYS_FILE": str(key_file(tmp_path, guessed))}):
        with pytest.raises(ConfigError, match="no random one") as caught:
            Vault.from_env(given)
        assert "settings-store keys generate" in (caught.value.hint or "")
        assert guessed not in f"{caught.value!r} {caught.value.hint}"
    assert len(opened(KEY, guessed).key_ids) == 2


def test_no_generated_key_is_taken_for_a_guess() -> None:
    assert all(opened(vault.generate_key()).key_ids for _ in range(1000))


def test_a_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    path = key_file(tmp_path, "")
    with pytest.raises(ConfigError, match="holds no key"):
        from_file(path)
    path.write_bytes(RAW + b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"key 1 of the key file .* is not 32 bytes in base64"):
        from_file(path)


@pytest.mark.parametrize("environ", [{}, {"SETTINGS_STORE_KEYS": "", "SETTINGS_STORE_KEYS_FILE": ""}])
def test_without_keys_nothing_is_encrypted(environ: dict[str, str]) -> None:
    empty = Vault.from_env(environ)
    assert empty.is_empty
    assert empty.key_ids == ()
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    attempts: list[Callable[[], object]] = [
        lambda: empty.encrypt(UID, FIELD, PLAIN, SET),
        lambda: empty.decrypt(UID, FIELD, text),
        lambda: is_due(empty, {"api_key": text}, 7),
        lambda: empty.current_key_id,
    ]
    for attempt in attempts:
        with pytest.raises(NoEncryptionKey) as caught:
            attempt()
        for name in ("SETTINGS_STORE_KEYS", "SETTINGS_STORE_KEYS_FILE", "settings-store keys generate"):
            assert name in (caught.value.hint or "")
    assert not opened(KEY).is_empty


def test_the_variable_comes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    named, default = key_file(tmp_path, OTHER), tmp_path / "default.txt"
    vault.create_key_file(default)
    both = {"SETTINGS_STORE_KEYS": KEY, "SETTINGS_STORE_KEYS_FILE": str(named)}
    assert Vault.from_env(both, default).key_ids == opened(KEY).key_ids
    assert Vault.from_env(both | {"SETTINGS_STORE_KEYS": ""}, default).key_ids == opened(OTHER).key_ids
    assert Vault.from_env({}, default).key_ids == from_file(default).key_ids
    assert Vault.from_env({}, tmp_path / "missing").is_empty


def test_generated_keys_are_keys() -> None:
    keys = [vault.generate_key() for _ in range(100)]
    assert len(set(keys)) == len(opened(*keys).key_ids) == 100
    assert {len(base64.urlsafe_b64decode(key)) for key in keys} == {32}
