"""What the vault shows: no key and no plain text, in no error, traceback, text or copy."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.encryption import vault
from store.encryption.vault import DamagedCredential, Vault
from store.errors import StoreError
from tests.store.encryption.vault.conftest import (
    FIELD,
    KEY,
    OTHER,
    PLAIN,
    RAW,
    SET,
    UID,
    assert_silent,
    from_file,
    key_file,
    opened,
)


def test_no_error_shows_a_key_or_a_plain_text(tmp_path: Path) -> None:
    keys, text = opened(KEY), opened(KEY).encrypt(UID, FIELD, PLAIN, SET)
    readable = key_file(tmp_path, KEY, 0o644)
    attempts: list[Callable[[], object]] = [
        lambda: opened(KEY, "hunter2-secret"),
        lambda: opened(KEY + "x"),
        lambda: Vault.from_env({"SETTINGS_STORE_KEYS": "#" + KEY}),
        lambda: from_file(readable),
        lambda: from_file(tmp_path / "missing"),
        lambda: keys.encrypt(UID, FIELD, PLAIN + "\ud800", SET),
        lambda: keys.encrypt(UID, FIELD, PLAIN * 1000, SET),
        lambda: keys.encrypt(UID, field="", plain=PLAIN, bound=SET),
        lambda: keys.encrypt(PLAIN, PLAIN, "", SET),
        lambda: keys.decrypt(UID, FIELD, PLAIN),  # a value that was never encrypted
        lambda: vault.binding_of(PLAIN),
        lambda: vault.key_id_of(PLAIN),
        lambda: keys.decrypt(UID, "api_key", text),
        lambda: opened(OTHER).decrypt(UID, FIELD, text),
        lambda: Vault({}).encrypt(UID, FIELD, PLAIN, SET),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError) as caught:
            attempt()
        assert_silent(caught.value, KEY, KEY[:20], PLAIN, "hunter2", repr(RAW)[2:-1], RAW.hex())


def test_an_error_raised_amid_another_has_only_that_as_its_context() -> None:
    text, outer = opened(KEY).encrypt(UID, FIELD, PLAIN, SET), KeyError("the caller's own")

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
    program = "import sys, store.encryption.vault as v; v.Vault.from_env({}); sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
