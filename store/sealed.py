"""The three fields of a user's API credentials: encrypted and decrypted together."""

from __future__ import annotations

from collections.abc import Mapping

from store.errors import InvalidArgument
from store.vault import DamagedCredential, Vault, WrongEncryptionKey, is_ciphertext

FIELDS = ("api_key", "api_secret", "passphrase")


class Secrets(dict[str, str]):
    """Fields in plain text, which no repr shows: not in a log, nor in a traceback with locals."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def seal(vault: Vault, okx_uid: str, plain: Mapping[str, str]) -> dict[str, str]:
    """Encrypt the three fields. Raises NoEncryptionKey, InvalidArgument (which field, and why)."""
    problem = ""
    sealed = {}
    for name in FIELDS:
        try:
            sealed[name] = vault.encrypt(okx_uid, name, plain.get(name, ""))
        except InvalidArgument as error:
            problem = f"{name}: {error.message}"
            break
    if problem:
        raise InvalidArgument(problem)
    return sealed


def unseal(vault: Vault, okx_uid: str, fields: Mapping[str, str]) -> Secrets:
    """Decrypt those of the three fields that are ciphertext; others are plain text already.

    Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential.
    """
    return Secrets(
        {
            name: vault.decrypt(okx_uid, name, fields[name]) if is_ciphertext(fields[name]) else fields[name]
            for name in FIELDS
            if name in fields
        }
    )


def is_sealed(fields: Mapping[str, str]) -> bool:
    """Tell whether these are the three fields, each of them ciphertext, and nothing else."""
    return set(fields) == set(FIELDS) and all(map(is_ciphertext, fields.values()))


def is_same(vault: Vault, okx_uid: str, fields: Mapping[str, str], plain: Secrets) -> bool:
    """Tell whether these fields are that plain text; not, if they can't be decrypted. Raises NoEncryptionKey."""
    try:
        return unseal(vault, okx_uid, fields) == plain
    except (WrongEncryptionKey, DamagedCredential):
        return False
