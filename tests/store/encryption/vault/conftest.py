"""What the tests of the vault share: keys, vaults and key files of them, and a look for secrets in errors."""

from __future__ import annotations

import base64
import hashlib
import traceback
from pathlib import Path

from store.encryption import vault
from store.encryption.vault import Binding, Vault

UID = "587662504768345929"
FIELD = "api_secret"
PLAIN = "4F9B31C6-비밀-0A77E1D2"
SET = Binding(7, "a-set_of_16chars")
RAW = hashlib.sha256(b"key one").digest()  # what KEY is in bytes
KEY = base64.b64encode(RAW).decode()
OTHER = base64.b64encode(hashlib.sha256(b"another key").digest()).decode()
SLASHED = base64.b64encode(hashlib.sha256(b"key 3").digest()).decode()  # has + and /


def opened(*keys: str) -> Vault:
    return Vault.from_env({"SETTINGS_STORE_KEYS": ",".join(keys)})


def from_file(path: Path | str) -> Vault:
    return Vault.from_env({"SETTINGS_STORE_KEYS_FILE": str(path)})


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.txt"
    path.write_text(text)
    path.chmod(mode)
    return path


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
