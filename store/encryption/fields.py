"""The three fields of a user's API credentials: encrypted and decrypted together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from store.encryption.vault import (
    Binding,
    DamagedCredential,
    Vault,
    WrongEncryptionKey,
    binding_of,
    is_ciphertext,
    key_id_of,
)
from store.errors import InvalidArgument

FIELDS = ("api_key", "api_secret", "passphrase")


class Secrets(dict[str, str]):
    """Fields in plain text, which no repr shows: not in a log, nor in a traceback with locals."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def seal(vault: Vault, okx_uid: str, plain: Mapping[str, str], version: int) -> dict[str, str]:
    """Encrypt the three fields as this version of the user's. Raises NoEncryptionKey, InvalidArgument (which field,
    and why)."""
    problem = ""
    sealed, bound = {}, Binding.to(version)
    for name in FIELDS:
        try:
            sealed[name] = vault.encrypt(okx_uid, name, plain.get(name, ""), bound)
        except InvalidArgument as error:
            problem = f"{name}: {error.message}"
            break
    if problem:
        raise InvalidArgument(problem)
    return sealed


def unseal(vault: Vault, okx_uid: str, fields: Mapping[str, str]) -> Secrets:
    """Decrypt those of the three fields that are ciphertext; others are plain text already.

    Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential (also for ciphertext of several sets).
    """
    there = [name for name in FIELDS if name in fields]
    if len({binding_of(fields[name]) for name in there if is_ciphertext(fields[name])}) > 1:
        raise DamagedCredential("the fields of the credentials don't belong together")
    return Secrets(
        {
            name: vault.decrypt(okx_uid, name, fields[name]) if is_ciphertext(fields[name]) else fields[name]
            for name in there
        }
    )


def reseal(vault: Vault, okx_uid: str, fields: Mapping[str, str], version: int) -> dict[str, str]:
    """Encrypt stored fields, sealed or plain text, anew as this version. Raises what unseal() and seal() do."""
    return seal(vault, okx_uid, unseal(vault, okx_uid, fields), version)


def digest(fields: Mapping[str, str]) -> str:
    """Sum up fields as reencrypt_api_credentials() does, so that no plain text travels."""
    return hashlib.sha256("\n".join(fields.values()).encode()).hexdigest()


def is_sealed(fields: Mapping[str, str]) -> bool:
    """Tell whether these are the three fields, each of them ciphertext, and nothing else."""
    return set(fields) == set(FIELDS) and all(map(is_ciphertext, fields.values()))


def sealed_version(fields: Mapping[str, str]) -> int | None:
    """Return the version that sealed fields say they are, true once they decrypt; None for what has none: plain text,
    the old form."""
    bound = binding_of(fields[FIELDS[0]]) if is_sealed(fields) else None
    return None if bound is None else bound.version


def is_same(vault: Vault, okx_uid: str, fields: Mapping[str, str], plain: Secrets) -> bool:
    """Tell whether these fields are that plain text; not, if they can't be decrypted. Raises NoEncryptionKey."""
    try:
        return unseal(vault, okx_uid, fields) == plain
    except (WrongEncryptionKey, DamagedCredential):
        return False


def is_due(vault: Vault, fields: Mapping[str, str], version: int) -> bool:
    """Tell whether ciphertext of this version is to be made anew: another key than the current one wrote any of it, it
    is in the old form, or was sealed as another version (that came back). Raises NoEncryptionKey."""
    if any(is_ciphertext(text) and key_id_of(text) != vault.current_key_id for text in fields.values()):
        return True
    return is_sealed(fields) and sealed_version(fields) != version
