"""Encryption of credentials: what comes back, and what damaged, copied or foreign text is refused."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import partial

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from store.encryption import vault
from store.encryption.vault import DamagedCredential, WrongEncryptionKey
from store.errors import InvalidArgument
from tests.store.encryption.vault.conftest import FIELD, KEY, OTHER, PLAIN, RAW, SET, UID, opened

TEXTS = st.text(min_size=1, max_size=200) | st.text(
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1
)


def body_of(text: str) -> bytes:
    body = text.split(".")[-1]
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def with_body(text: str, body: bytes) -> str:
    return text[: text.rindex(".") + 1] + base64.urlsafe_b64encode(body).decode().rstrip("=")


# -- encryption


@given(uid=TEXTS, field=TEXTS, plain=TEXTS)
def test_what_was_encrypted_comes_back(uid: str, field: str, plain: str) -> None:
    text = opened(KEY).encrypt(uid, field, plain, SET)
    assert vault.is_ciphertext(text)
    assert re.fullmatch(r"v2\.[0-9a-f]{8}\.7\.a-set_of_16chars\.[A-Za-z0-9_-]+", text)
    assert opened(OTHER, KEY).decrypt(uid, field, text) == plain


@pytest.mark.parametrize(
    "plain", ["x", "롱", "\0\x01\x1f\x7f\x85\u2028\r\n", " ", "😀" * 4096, "a" * 4096, "é", "e\u0301"]
)
def test_it_comes_back_character_by_character(plain: str) -> None:
    text = opened(KEY).encrypt(UID, FIELD, plain, SET)
    assert vault.is_ciphertext(text)
    assert opened(KEY).decrypt(UID, FIELD, text) == plain


def context_of(form: str, *parts: str) -> bytes:
    """The associated data, put together a second time."""
    texts = [f"settings-store credential {form}".encode(), *(part.encode() for part in parts)]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def test_cryptography_itself_reads_what_we_write() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    form, key_id, *bound, _ = text.split(".")
    body = body_of(text)
    assert bound == ["7", "a-set_of_16chars"]
    assert (form, key_id) == ("v2", hashlib.sha256(b"settings-store key id v1\0" + RAW).hexdigest()[:8])
    assert len(body) == 12 + len(PLAIN.encode()) + 16
    assert AESGCM(RAW).decrypt(body[:12], body[12:], context_of("v2", UID, FIELD, *bound)) == PLAIN.encode()


def test_we_read_what_cryptography_itself_writes() -> None:
    for head, context in (("v1.{}.", ["v1"]), ("v2.{}.7.a-set_of_16chars.", ["v2", "7", "a-set_of_16chars"])):
        bound_to = context_of(context[0], UID, FIELD, *context[1:])
        body = b"n" * 12 + AESGCM(RAW).encrypt(b"n" * 12, PLAIN.encode(), bound_to)
        text = with_body(head.format(opened(KEY).current_key_id), body)
        assert opened(KEY).decrypt(UID, FIELD, text) == PLAIN


@pytest.mark.parametrize("head", ["v1.{}.", "v2.{}.8.a-set_of_16chars.", "v2.{}.7.a-set_of_16charz."])
def test_a_value_of_another_version_or_set_does_not_decrypt(head: str) -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    moved = head.format(opened(KEY).current_key_id) + text.split(".")[-1]
    assert vault.is_ciphertext(moved)
    with pytest.raises(DamagedCredential):
        opened(KEY).decrypt(UID, FIELD, moved)


def test_the_format_is_frozen() -> None:
    """A value written by the first release."""
    text = "v1.e851cb14.qL40A3ujccipIJyZtSDY_A4eS8svDuGnxpgLh7apOtI2viWF41M6AICxPHKPYPY2nCfFQDXNUSo_UqOqSVo_kw"
    then = base64.b64encode(bytes(range(32))).decode()  # which may not write any more
    assert opened(KEY, then).decrypt("587662504768345929", "api_key", text) == "37c541a1-0000-4000-8000-10fe7a038418"


def test_an_authentic_value_that_is_no_text_is_damaged() -> None:
    body = b"n" * 12 + AESGCM(RAW).encrypt(b"n" * 12, b"\xff\xfe", context_of("v1", UID, FIELD))
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
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    with pytest.raises(DamagedCredential, match="copied from another user, field or version"):
        opened(KEY).decrypt(uid, field, text)


@given(one=st.tuples(TEXTS, TEXTS), two=st.tuples(TEXTS, TEXTS))
def test_no_two_places_share_their_associated_data(one: tuple[str, str], two: tuple[str, str]) -> None:
    for bound in (None, SET):
        assert (vault._context(*one, bound) == vault._context(*two, bound)) == (one == two)
    assert vault._context(*one, None) != vault._context(*one, SET)


@pytest.mark.parametrize("plain", ["abc", "abcd", "abcde"])  # all three remainders of base64
def test_every_flipped_bit_of_the_text_is_refused(plain: str) -> None:
    keys = opened(KEY, OTHER)
    text = keys.encrypt(UID, FIELD, plain, SET)
    for at in range(len(text)):
        for bit in range(8):
            flipped = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
            with pytest.raises((DamagedCredential, WrongEncryptionKey)):
                keys.decrypt(UID, FIELD, flipped)


def test_every_flipped_bit_of_the_content_is_refused() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    body = body_of(text)
    for at in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(DamagedCredential):
            opened(KEY).decrypt(UID, FIELD, with_body(text, bytes(flipped)))


def test_every_cut_and_every_addition_is_refused() -> None:
    text = opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    cuts = [text[:length] for length in range(len(text))]
    for damaged in [*cuts, text + "A", text + "AAAA", text + "=", text + "\n", " " + text, text + text]:
        with pytest.raises(DamagedCredential):
            opened(KEY).decrypt(UID, FIELD, damaged)


def test_a_value_under_the_id_of_another_key_is_refused() -> None:
    keys = opened(KEY, OTHER)
    text = keys.encrypt(UID, FIELD, PLAIN, SET)
    with pytest.raises(DamagedCredential):
        keys.decrypt(UID, FIELD, text.replace(keys.key_ids[0], keys.key_ids[1]))


def test_no_nonce_comes_twice() -> None:
    keys = opened(KEY)
    texts = [keys.encrypt(UID, FIELD, "same", SET) for _ in range(10_000)]
    assert len({body_of(text)[:12] for text in texts}) == len(set(texts)) == 10_000


@pytest.mark.parametrize("plain", [None, 5, b"bytes", "", "x" * 4097, "a\ud800", "\udfff", ["x"]])
def test_what_is_no_text_of_1_to_4096_characters_is_refused(plain: str) -> None:
    keys = opened(KEY)
    for arguments in [(UID, FIELD, plain), (plain, FIELD, PLAIN), (UID, plain, PLAIN)]:
        with pytest.raises(InvalidArgument) as caught:
            keys.encrypt(*arguments, SET)
        assert "xx" not in str(caught.value)
        assert "bytes'" not in str(caught.value)
    with pytest.raises(InvalidArgument):
        keys.decrypt(plain, FIELD, keys.encrypt(UID, FIELD, PLAIN, SET))


def test_nothing_is_encrypted_twice() -> None:
    keys = opened(KEY)
    with pytest.raises(InvalidArgument, match="twice"):
        keys.encrypt(UID, FIELD, keys.encrypt(UID, FIELD, PLAIN, SET), SET)


# -- the form of a ciphertext


def test_the_key_id_is_read_without_the_key() -> None:
    assert vault.key_id_of(opened(KEY).encrypt(UID, FIELD, PLAIN, SET)) == opened(KEY).current_key_id


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
        "v1.0123abcd.7.a-set_of_16chars." + "A" * 40,
        "v2.0123abcd." + "A" * 40,
        "v2.0123abcd.7." + "A" * 40,
        "v2.0123abcd.0.a-set_of_16chars." + "A" * 40,
        "v2.0123abcd.07.a-set_of_16chars." + "A" * 40,
        "v2.0123abcd.7.a-set_of_15char." + "A" * 40,
        "v2.0123abcd.7.a-set.of_16chars." + "A" * 40,
        "V1.0123abcd." + "A" * 40,
    ],
)
def test_what_only_resembles_a_ciphertext_is_none(text: str) -> None:
    assert not vault.is_ciphertext(text)
    for refuse in (vault.key_id_of, vault.binding_of, partial(opened(KEY).decrypt, UID, FIELD)):
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
    for refuse in (vault.key_id_of, vault.binding_of):
        with pytest.raises(InvalidArgument):
            refuse(text)
