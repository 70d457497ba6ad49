"""Encryption of credentials: what comes back, what is refused, and that no key shows anywhere."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import pickle
import re
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from store import vault
from store.errors import ConfigError, InvalidArgument, StoreError
from store.vault import DamagedCredential, NoEncryptionKey, Vault, WrongEncryptionKey

UID = "587662504768345929"
FIELD = "api_secret"
PLAIN = "4F9B31C6-비밀-0A77E1D2"
RAW = bytes(range(32))  # what KEY is in bytes
KEY = base64.b64encode(RAW).decode()
OTHER = base64.b64encode(bytes(range(100, 132))).decode()
SLASHED = base64.b64encode(b"\xff\xfe\xfb\xef\xbe" * 6 + b"\xff\xff").decode()  # has + and /

TEXTS = st.text(min_size=1, max_size=200) | st.text(
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1
)


def opened(*keys: str) -> Vault:
    return Vault.from_env({"SETTINGS_STORE_KEYS": ",".join(keys)})


def from_file(path: Path | str) -> Vault:
    return Vault.from_env({"SETTINGS_STORE_KEYS_FILE": str(path)})


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.txt"
    path.write_text(text)
    path.chmod(mode)
    return path


def body_of(text: str) -> bytes:
    body = text.split(".")[2]
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def with_body(text: str, body: bytes) -> str:
    return text[:12] + base64.urlsafe_b64encode(body).decode().rstrip("=")


# -- encryption


@given(uid=TEXTS, field=TEXTS, plain=TEXTS)
def test_what_was_encrypted_comes_back(uid: str, field: str, plain: str) -> None:
    text = opened(KEY).encrypt(uid, field, plain)
    assert vault.is_ciphertext(text)
    assert re.fullmatch(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+", text)
    assert opened(OTHER, KEY).decrypt(uid, field, text) == plain


@pytest.mark.parametrize(
    "plain", ["x", "롱", "\0\x01\x1f\x7f\x85\u2028\r\n", " ", "😀" * 4096, "a" * 4096, "é", "e\u0301"]
)
def test_it_comes_back_character_by_character(plain: str) -> None:
    text = opened(KEY).encrypt(UID, FIELD, plain)
    assert vault.is_ciphertext(text)
    assert opened(KEY).decrypt(UID, FIELD, text) == plain


def context_of(*parts: str) -> bytes:
    """The associated data, put together a second time."""
    texts = [b"settings-store credential v1", *(part.encode() for part in parts)]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def test_cryptography_itself_reads_what_we_write() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    version, key_id, _ = text.split(".")
    body = body_of(text)
    assert (version, key_id) == ("v1", hashlib.sha256(b"settings-store key id v1\0" + RAW).hexdigest()[:8])
    assert len(body) == 12 + len(PLAIN.encode()) + 16
    assert AESGCM(RAW).decrypt(body[:12], body[12:], context_of(UID, FIELD)) == PLAIN.encode()


def test_we_read_what_cryptography_itself_writes() -> None:
    body = b"n" * 12 + AESGCM(RAW).encrypt(b"n" * 12, PLAIN.encode(), context_of(UID, FIELD))
    text = with_body(f"v1.{opened(KEY).current_key_id}.", body)
    assert opened(KEY).decrypt(UID, FIELD, text) == PLAIN


def test_the_format_is_frozen() -> None:
    """A value written by the first release."""
    text = "v1.e851cb14.qL40A3ujccipIJyZtSDY_A4eS8svDuGnxpgLh7apOtI2viWF41M6AICxPHKPYPY2nCfFQDXNUSo_UqOqSVo_kw"
    assert opened(KEY).decrypt("587662504768345929", "api_key", text) == "37c541a1-0000-4000-8000-10fe7a038418"


def test_an_authentic_value_that_is_no_text_is_damaged() -> None:
    body = b"n" * 12 + AESGCM(RAW).encrypt(b"n" * 12, b"\xff\xfe", context_of(UID, FIELD))
    with pytest.raises(DamagedCredential):
        opened(KEY).decrypt(UID, FIELD, with_body(f"v1.{opened(KEY).current_key_id}.", body))


@pytest.mark.parametrize(
    ("uid", "field"),
    [
        ("587662504768345928", FIELD),
        (UID, "api_key"),
        (FIELD, UID),
        (UID + "a", "pi_secret"),  # the same characters, cut elsewhere
        (UID[:-1], UID[-1] + FIELD),
        (UID + "\0", FIELD),
        (UID, FIELD.upper()),
    ],
)
def test_a_value_copied_elsewhere_does_not_decrypt(uid: str, field: str) -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    with pytest.raises(DamagedCredential, match="copied from another user or field"):
        opened(KEY).decrypt(uid, field, text)


@given(one=st.tuples(TEXTS, TEXTS), two=st.tuples(TEXTS, TEXTS))
def test_no_two_places_share_their_associated_data(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (vault._context(*one) == vault._context(*two)) == (one == two)


@pytest.mark.parametrize("plain", ["abc", "abcd", "abcde"])  # all three remainders of base64
def test_every_flipped_bit_of_the_text_is_refused(plain: str) -> None:
    keys = opened(KEY, OTHER)
    text = keys.encrypt(UID, FIELD, plain)
    for at in range(len(text)):
        for bit in range(8):
            flipped = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
            with pytest.raises((DamagedCredential, WrongEncryptionKey)):
                keys.decrypt(UID, FIELD, flipped)


def test_every_flipped_bit_of_the_content_is_refused() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    body = body_of(text)
    for at in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(DamagedCredential):
            opened(KEY).decrypt(UID, FIELD, with_body(text, bytes(flipped)))


def test_every_cut_and_every_addition_is_refused() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    cuts = [text[:length] for length in range(len(text))]
    for damaged in [*cuts, text + "A", text + "AAAA", text + "=", text + "\n", " " + text, text + text]:
        with pytest.raises(DamagedCredential):
            opened(KEY).decrypt(UID, FIELD, damaged)


def test_a_value_under_the_id_of_another_key_is_refused() -> None:
    keys = opened(KEY, OTHER)
    text = keys.encrypt(UID, FIELD, PLAIN)
    with pytest.raises(DamagedCredential):
        keys.decrypt(UID, FIELD, f"v1.{keys.key_ids[1]}.{text.split('.')[2]}")


def test_no_nonce_comes_twice() -> None:
    keys = opened(KEY)
    texts = [keys.encrypt(UID, FIELD, "same") for _ in range(10_000)]
    assert len({body_of(text)[:12] for text in texts}) == len(set(texts)) == 10_000


@pytest.mark.parametrize("plain", [None, 5, b"bytes", "", "x" * 4097, "a\ud800", "\udfff", ["x"]])
def test_what_is_no_text_of_1_to_4096_characters_is_refused(plain: str) -> None:
    keys = opened(KEY)
    for arguments in [(UID, FIELD, plain), (plain, FIELD, PLAIN), (UID, plain, PLAIN)]:
        with pytest.raises(InvalidArgument) as caught:
            keys.encrypt(*arguments)
        assert "xx" not in str(caught.value)
        assert "bytes'" not in str(caught.value)
    with pytest.raises(InvalidArgument):
        keys.decrypt(plain, FIELD, keys.encrypt(UID, FIELD, PLAIN))


def test_nothing_is_encrypted_twice() -> None:
    keys = opened(KEY)
    with pytest.raises(InvalidArgument, match="twice"):
        keys.encrypt(UID, FIELD, keys.encrypt(UID, FIELD, PLAIN))


# -- the form of a ciphertext


def test_the_key_id_is_read_without_the_key() -> None:
    assert vault.key_id_of(opened(KEY).encrypt(UID, FIELD, PLAIN)) == opened(KEY).current_key_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "37c541a1-0000-4000-8000-10fe7a038418",  # an API key of OKX
        "4F9B31C60A77E1D24F9B31C60A77E1D2",  # a secret
        "v1.passphrase",
        "v1.0123abcd.",
        "v1.0123abcd." + "A" * 38,  # shorter than nonce, tag and one byte
        "v1.0123abcd." + "A" * 41,  # no length that base64 has
        "v1.0123abcd." + "A" * 38 + "B",  # spare bits set
        "v1.0123abcd." + "A" * 41 + "B",
        "v1.0123abcd." + "A" * 40 + "==",
        "v1.0123abcd." + "A" * 39 + "+",
        "v1.0123abcd." + "A" * 39 + "롱",
        "v1.0123abcd." + "A" * 40 + "\n",
        "v1.0123abcd." + "A" * 21884,  # longer than 4096 characters become
        "v1.0123ABCD." + "A" * 40,
        "v1.0123abc." + "A" * 40,
        "v1.١٢٣٤٥٦٧٨." + "A" * 40,
        "v2.0123abcd." + "A" * 40,
        "V1.0123abcd." + "A" * 40,
    ],
)
def test_what_only_resembles_a_ciphertext_is_none(text: str) -> None:
    assert not vault.is_ciphertext(text)
    for refuse in (vault.key_id_of, opened(KEY).needs_rotation, partial(opened(KEY).decrypt, UID, FIELD)):
        with pytest.raises(DamagedCredential) as caught:
            refuse(text)
        assert not text or text not in str(caught.value)


@pytest.mark.parametrize("body", ["A" * 39, "A" * 39 + "B", "A" * 41 + "g", "-_" * 30, "A" * 21883])
def test_what_has_the_exact_form_is_a_ciphertext(body: str) -> None:
    assert vault.is_ciphertext(f"v1.0123abcd.{body}")
    assert vault.key_id_of(f"v1.0123abcd.{body}") == "0123abcd"


@given(st.text(max_size=50) | st.text("v1.0123abcdA", max_size=50))
def test_no_credential_of_an_exchange_looks_like_a_ciphertext(text: str) -> None:
    assert not vault.is_ciphertext(text)  # the shortest ciphertext has 51 characters


@pytest.mark.parametrize("text", [None, 5, b"v1.0123abcd." + b"A" * 40])
def test_what_is_no_text_is_no_ciphertext(text: str) -> None:
    assert not vault.is_ciphertext(text)
    for refuse in (vault.key_id_of, opened(KEY).needs_rotation):
        with pytest.raises(InvalidArgument):
            refuse(text)


# -- keys


def test_an_unknown_key_is_named_by_its_id() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    with pytest.raises(
        WrongEncryptionKey, match=f"{opened(KEY).current_key_id}, which is not among the 2 given"
    ) as caught:
        opened(OTHER, SLASHED).decrypt(UID, FIELD, text)
    assert "SETTINGS_STORE_KEYS" in (caught.value.hint or "")


def test_rotation() -> None:
    old, both, new = opened(KEY), opened(OTHER, KEY), opened(OTHER)
    before = old.encrypt(UID, FIELD, PLAIN)
    assert (old.needs_rotation(before), both.needs_rotation(before), new.needs_rotation(before)) == (False, True, True)

    after = both.rotate(UID, FIELD, before)
    assert not both.needs_rotation(after)
    assert both.rotate(UID, FIELD, after) == after
    assert new.decrypt(UID, FIELD, after) == both.decrypt(UID, FIELD, before) == PLAIN
    with pytest.raises(WrongEncryptionKey):
        old.decrypt(UID, FIELD, after)
    with pytest.raises(WrongEncryptionKey):
        new.rotate(UID, FIELD, before)
    with pytest.raises(DamagedCredential):
        both.rotate(UID, "api_key", before)


def test_the_first_key_writes_and_a_repeated_one_counts_once() -> None:
    keys = opened(OTHER, KEY, OTHER)
    assert keys.key_ids == (opened(OTHER).current_key_id, opened(KEY).current_key_id)
    assert keys.current_key_id == keys.key_ids[0] == vault.key_id_of(keys.encrypt(UID, FIELD, PLAIN))


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
        ("\ufeff" + KEY, "key 1 of"),
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
    text = opened(KEY).encrypt(UID, FIELD, PLAIN)
    attempts: list[Callable[[], object]] = [
        lambda: empty.encrypt(UID, FIELD, PLAIN),
        lambda: empty.decrypt(UID, FIELD, text),
        lambda: empty.rotate(UID, FIELD, text),
        lambda: empty.needs_rotation(text),
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


# -- key files


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_the_user_alone_is_read(mode: int, tmp_path: Path) -> None:
    assert from_file(key_file(tmp_path, KEY, mode)).key_ids == opened(KEY).key_ids


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o700, 0o610, 0o666, 0o4600])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = key_file(tmp_path, KEY, mode)
    for environ in ({"SETTINGS_STORE_KEYS_FILE": str(path)}, {}):
        with pytest.raises(ConfigError, match=f"keys.txt has mode {mode:04o}") as caught:
            Vault.from_env(environ, path)
        assert caught.value.hint == f"Run: chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, KEY)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        from_file(path)
    assert caught.value.hint == f"Run: chown 0 {path}"


def test_a_file_of_root_is_read_by_a_user_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path, KEY)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if owner == 0:
        assert from_file(path).key_ids == opened(KEY).key_ids
    else:
        with pytest.raises(ConfigError, match="belongs to another user"):
            from_file(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt", 0o600)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "gone.txt")
    for name, problem in [
        ("pipe.txt", "is not a regular file"),
        ("", "directory"),
        ("missing.txt", "can't be read: No such file"),
        ("dangling.txt", "can't be read: No such file"),
        ("a\0b.txt", "can't be read: not a file name"),
        ("a\ud800.txt", "can't be read: not a file name"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            from_file(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(ConfigError, match="No such file"):
        Vault.from_env({}, tmp_path / "dangling.txt")


def test_a_link_to_a_good_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(key_file(tmp_path, KEY))
    assert from_file(tmp_path / "link.txt").key_ids == opened(KEY).key_ids


@pytest.mark.parametrize("named", [KEY, KEY.rstrip("="), SLASHED, f"{KEY},{OTHER}"])
def test_a_key_in_place_of_the_file_name_is_not_shown(named: str) -> None:
    with pytest.raises(ConfigError, match="looks like a key") as caught:
        from_file(named)
    assert_silent(caught.value, named[:20])


def test_a_file_may_have_a_name_that_looks_like_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path, OTHER).rename(KEY)
    assert from_file(KEY).key_ids == opened(OTHER).key_ids


def test_a_new_key_file(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys.txt"
    umask = os.umask(0)
    try:
        assert vault.create_key_file(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["keys.txt"]  # nothing is left over
    keys = from_file(path)
    assert len(keys.key_ids) == 1

    content, touched = path.read_bytes(), path.parent.stat().st_mtime_ns
    assert not vault.create_key_file(path)
    assert (path.read_bytes(), path.parent.stat().st_mtime_ns) == (content, touched)
    assert opened(KEY).key_ids != keys.key_ids


def test_whatever_has_the_name_is_left_alone(tmp_path: Path) -> None:
    path = key_file(tmp_path, "mine", 0o644)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert not vault.create_key_file(path)
    assert not vault.create_key_file(tmp_path / "dangling")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("mine", 0o644)
    assert not (tmp_path / "gone").exists()


def test_of_many_that_make_the_file_one_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"

    def make(_: int) -> tuple[bool, tuple[str, ...]]:
        return vault.create_key_file(path), from_file(path).key_ids  # whoever finds it finds it complete

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(make, range(64)))
    assert [mine for mine, _ in made].count(True) == 1
    assert {key_ids for _, key_ids in made} == {from_file(path).key_ids}
    assert os.listdir(tmp_path) == ["keys.txt"]


def test_a_key_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"keys\.txt can't be made"):
        vault.create_key_file(tmp_path / "file" / "keys.txt")


# -- what shows


def assert_silent(error: BaseException, *secrets: str) -> None:
    """Check that an error and the vault's frames in its traceback, with all locals, hold none of the secrets."""
    assert (error.__cause__, error.__context__) == (None, None)
    shown = [str(error), repr(error), repr(vars(error))]
    frames = [
        frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == vault.__file__
    ]
    assert frames
    for frame in frames:
        shown += [repr(dict(frame.f_locals))]
        shown += [repr(getattr(value, "__dict__", None)) for value in frame.f_locals.values()]
    for secret in secrets:
        assert not any(secret in text for text in shown)


def test_no_error_shows_a_key_or_a_plain_text(tmp_path: Path) -> None:
    keys, text = opened(KEY), opened(KEY).encrypt(UID, FIELD, PLAIN)
    readable = key_file(tmp_path, KEY, 0o644)
    attempts: list[Callable[[], object]] = [
        lambda: opened(KEY, "hunter2-secret"),
        lambda: opened(KEY + "x"),
        lambda: Vault.from_env({"SETTINGS_STORE_KEYS": "#" + KEY}),
        lambda: from_file(readable),
        lambda: from_file(tmp_path / "missing"),
        lambda: keys.encrypt(UID, FIELD, PLAIN + "\ud800"),
        lambda: keys.encrypt(UID, FIELD, PLAIN * 1000),
        lambda: keys.encrypt(UID, field="", plain=PLAIN),
        lambda: keys.encrypt(PLAIN, PLAIN, ""),
        lambda: keys.decrypt(UID, FIELD, PLAIN),  # a value that was never encrypted
        lambda: keys.rotate(UID, FIELD, PLAIN),
        lambda: keys.needs_rotation(PLAIN),
        lambda: vault.key_id_of(PLAIN),
        lambda: keys.decrypt(UID, "api_key", text),
        lambda: opened(OTHER).decrypt(UID, FIELD, text),
        lambda: Vault({}).encrypt(UID, FIELD, PLAIN),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError) as caught:
            attempt()
        assert_silent(caught.value, KEY, KEY[:20], PLAIN, "hunter2", repr(RAW)[2:-1], RAW.hex())


def test_an_error_raised_amid_another_has_only_that_as_its_context() -> None:
    text, outer = opened(KEY).encrypt(UID, FIELD, PLAIN), KeyError("the caller's own")

    def amid_another() -> None:
        try:
            raise outer
        except KeyError:
            opened(KEY).decrypt(UID, "api_key", text)

    with pytest.raises(DamagedCredential) as caught:
        amid_another()
    assert caught.value.__context__ is outer


def test_the_vault_itself_shows_no_key() -> None:
    keys = opened(KEY, OTHER)
    assert repr(keys) == str(keys) == f"<Vault of the keys {keys.key_ids[0]}, {keys.key_ids[1]}>"
    assert repr(Vault({})) == "<Vault of the keys (none)>"
    assert not hasattr(keys, "__dict__")
    for secret in (KEY, KEY[:20], repr(RAW), RAW.hex()):
        assert secret not in f"{keys!r} {keys!s} {keys} {keys._ciphers}"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_vault_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(opened(KEY), protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="can't be pickled or copied"):
            duplicate(opened(KEY))


def test_importing_it_is_cheap() -> None:
    program = "import sys, store.vault as v; v.Vault.from_env({}); sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
