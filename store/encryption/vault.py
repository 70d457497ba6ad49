"""Encryption of API credentials: AES-256-GCM, each value bound to its user, its field, and the set it belongs to.

A value is stored as `v2.<key id>.<version>.<set>.<base64url of nonce, ciphertext and tag>`. The key id is derived from
the key, so nobody has to name keys, and a wrong key is recognised as such. Version and set (random, one for the three
fields that are saved together) are authenticated: an old value can't be passed off as the current one, nor one of
another set beside its own. `v1.<key id>.<…>`, of release 1.0, is bound to user and field only; it is read still.

No error holds a key or a plain text, nor do this module's frames in its traceback. What remains: the callers'
own frames, errors that aren't ours (MemoryError), and memory that Python can't wipe.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

from store.errors import ConfigError, InvalidArgument, StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = ParamSpec("P")
R = TypeVar("R")

MAX_LENGTH = 4096  # characters of a plain text
NONCE_SIZE = 12  # bytes
CONTEXT_LABELS = {"v1": b"settings-store credential v1", "v2": b"settings-store credential v2"}
KEY_ID_LABEL = b"settings-store key id v1\0"
GENERATE = "`settings-store keys generate` makes one."
_NOT_RANDOM = (
    f"{GENERATE} Put it first; after it, this one reads what it wrote until `settings-store keys rotate` is done."
)
# Canonical base64 only: one text for one content. A body has 29 bytes (one is encrypted) to 16,412 (4,096 times 4).
_KEY = re.compile(r"[A-Za-z0-9+/_-]{42}[AEIMQUYcgkosw048]=?")
_CIPHERTEXT = re.compile(
    r"(?:v1\.(?P<old_key>[0-9a-f]{8})|v2\.(?P<key>[0-9a-f]{8})\.(?P<version>[1-9][0-9]{0,9})\.(?P<set>[\w-]{16}))"
    r"\.(?P<body>(?=.{39})(?:[\w-]{4}){9,5470}(?:[\w-]{2}[AEIMQUYcgkosw048]|[\w-][AQgw])?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a value belongs to, besides user and field: a version of the credentials, and the set saved as such."""

    version: int
    set_id: str

    @classmethod
    def to(cls, version: int) -> Binding:
        """Begin a new set."""
        return cls(version, urlsafe_b64encode(os.urandom(12)).decode())


class NoEncryptionKey(StoreError):
    """No key was given, so credentials can be neither written nor read."""


class WrongEncryptionKey(StoreError):
    """The credential was written with a key that is not among those given."""


class DamagedCredential(StoreError):
    """The value is no ciphertext, was damaged, or was copied from another user or field."""


def _discreet(function: Callable[P, R]) -> Callable[P, R]:
    # Raise our errors without the frames and errors they came from: those hold keys and plain texts.
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except StoreError as error:
            failure = error.with_traceback(None)
        del args, kwargs
        failure.__cause__ = failure.__context__ = None
        raise failure

    return call


class Vault:
    """Encrypts and decrypts credentials. Every key reads, the first one writes. Can't be pickled or copied."""

    __slots__ = ("_ciphers",)

    def __init__(self, ciphers: Mapping[str, AESGCM]) -> None:
        self._ciphers = dict(ciphers)  # by key id

    @classmethod
    @_discreet
    def from_env(cls, environ: Mapping[str, str], default_file: Path | None = None) -> Vault:
        """Read the keys: SETTINGS_STORE_KEYS, else the file SETTINGS_STORE_KEYS_FILE, else the default file if any.

        A key is 32 bytes in base64, standard or urlsafe; keys are separated by commas or white space, and
        comments go from # to the end of a line. A file must be the user's or root's, with mode 0600 or stricter.
        Raises ConfigError, which doesn't quote.
        """
        if text := environ.get("SETTINGS_STORE_KEYS"):
            return cls(_ciphers(text, "SETTINGS_STORE_KEYS"))
        if named := environ.get("SETTINGS_STORE_KEYS_FILE"):
            if any(map(_KEY.fullmatch, _tokens(named))) and not os.path.lexists(named):
                raise ConfigError("SETTINGS_STORE_KEYS_FILE is no file but looks like a key: see SETTINGS_STORE_KEYS")
            default_file = Path(named)
        elif default_file is None or not os.path.lexists(default_file):
            return cls({})
        return cls(_ciphers(_read_key_file(default_file), f"the key file {default_file}"))

    @property
    def is_empty(self) -> bool:
        """Whether there is no key."""
        return not self._ciphers

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the writing one first."""
        return tuple(self._ciphers)

    @property
    def current_key_id(self) -> str:
        """The id of the key that writes. Raises NoEncryptionKey."""
        if self.is_empty:
            hint = f"Set SETTINGS_STORE_KEYS or SETTINGS_STORE_KEYS_FILE; {GENERATE}"
            raise NoEncryptionKey("no encryption key for API credentials is set", hint=hint)
        return self.key_ids[0]

    @_discreet
    def encrypt(self, okx_uid: str, field: str, plain: str, bound: Binding) -> str:
        """Encrypt 1 to 4096 characters for one field of one user. Raises NoEncryptionKey, InvalidArgument."""
        key_id, nonce = self.current_key_id, os.urandom(NONCE_SIZE)
        content, context = _encoded(plain, "a credential"), _context(okx_uid, field, bound)
        if is_ciphertext(plain):
            raise InvalidArgument("a credential must not be encrypted twice")
        body = nonce + self._ciphers[key_id].encrypt(nonce, content, context)
        return f"v2.{key_id}.{bound.version}.{bound.set_id}.{urlsafe_b64encode(body).decode().rstrip('=')}"

    @_discreet
    def decrypt(self, okx_uid: str, field: str, text: str) -> str:
        """Decrypt what encrypt() made for this field of this user. What set it belongs to is the caller's to check.

        Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential, InvalidArgument.
        """
        from cryptography.exceptions import InvalidTag

        key_id, bound, body = _split(text)
        context = _context(okx_uid, field, bound)
        if key_id != self.current_key_id and key_id not in self._ciphers:
            raise WrongEncryptionKey(
                f"the credential was written with key {key_id}, which is not among the {len(self._ciphers)} given",
                hint="Add that key to SETTINGS_STORE_KEYS or SETTINGS_STORE_KEYS_FILE, after the one that writes.",
            )
        try:
            return self._ciphers[key_id].decrypt(body[:NONCE_SIZE], body[NONCE_SIZE:], context).decode()
        except (InvalidTag, UnicodeDecodeError):
            raise DamagedCredential(
                "the credential was damaged, or copied from another user, field or version"
            ) from None

    def __repr__(self) -> str:
        return f"<Vault of the keys {', '.join(self.key_ids) or '(none)'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Vault can't be pickled or copied")


def is_ciphertext(text: object) -> bool:
    """Tell whether a value has the exact form of what encrypt() makes; nothing that encrypt() takes has it."""
    return isinstance(text, str) and _CIPHERTEXT.fullmatch(text) is not None


@_discreet
def key_id_of(text: str) -> str:
    """Return the id of the key that wrote this, 8 hex digits. Raises DamagedCredential, InvalidArgument."""
    return _split(text)[0]


@_discreet
def binding_of(text: str) -> Binding | None:
    """Return what a ciphertext says it belongs to (true, once it decrypts), None for the old form.

    Raises as key_id_of().
    """
    return _split(text)[1]


def generate_key() -> str:
    """Make a new key: 32 random bytes in base64."""
    return urlsafe_b64encode(os.urandom(32)).decode()


@_discreet
def create_key_file(path: Path) -> bool:
    """Make a file of mode 0600 with a new key unless there is one; return whether it was made. Raises ConfigError.

    It appears complete or not at all, and is on the disk before anything is encrypted with it.
    """
    from tempfile import NamedTemporaryFile

    if os.path.lexists(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8", prefix=".key-", dir=path.parent) as file:  # O_EXCL, mode 0600
            file.write(f"# The stored API credentials can't be read without this key: keep a copy.\n{generate_key()}\n")
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)  # as O_EXCL: refuses a name that exists
            except FileExistsError:
                return False
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"the key file {path} can't be made: {error}") from None
    return True


def _read_key_file(path: Path) -> str:
    name, quoted = f"the key file {path}", shlex.quote(str(path))
    try:  # without waiting, in case it is a pipe
        with open(path, "rb", buffering=0, opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{name} is not a regular file")
            if status.st_uid not in (os.geteuid(), 0):
                raise ConfigError(f"{name} belongs to another user", hint=f"Run: chown {os.geteuid()} {quoted}")
            if (mode := stat.S_IMODE(status.st_mode)) & ~0o600:
                raise ConfigError(f"{name} has mode {mode:04o} instead of 0600", hint=f"Run: chmod 600 {quoted}")
            return file.read().decode("utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} can't be read: {getattr(error, 'strerror', 'not a file name')}") from None


def _tokens(text: str) -> list[str]:
    return " ".join(re.sub(r"#.*", "", text).split(",")).split()


def _ciphers(text: str, source: str) -> dict[str, AESGCM]:
    from hashlib import sha256

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    ciphers: dict[str, AESGCM] = {}
    for number, token in enumerate(_tokens(text), 1):
        if not _KEY.fullmatch(token):
            raise ConfigError(f"key {number} of {source} is not 32 bytes in base64", hint=GENERATE)
        key = b64decode(token[:43].replace("-", "+").replace("_", "/") + "=")
        if number == 1 and not _is_random(key):
            raise ConfigError(f"the first key of {source} is no random one, and may not write", hint=_NOT_RANDOM)
        ciphers.setdefault(sha256(KEY_ID_LABEL + key).hexdigest()[:8], AESGCM(key))
    if not ciphers:
        raise ConfigError(f"{source} holds no key", hint=GENERATE)
    return ciphers


def _is_random(key: bytes) -> bool:
    """Tell a random key from zeros, a repeated pattern and bytes that count up: these have fewer than 16 different
    bytes, or than 16 different steps from one to the next. A random key: once in 3e16, and once in 2e15."""
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    return len(set(key)) >= 16 and len(steps) >= 16


def _encoded(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} must be a string, not {type(value).__name__}")
    if not 1 <= len(value) <= MAX_LENGTH or re.search("[\ud800-\udfff]", value):
        raise InvalidArgument(f"{what} must have 1 to {MAX_LENGTH} characters, and no lone surrogate")
    return value.encode()


def _context(okx_uid: object, field: object, bound: Binding | None) -> bytes:
    parts = [CONTEXT_LABELS["v1" if bound is None else "v2"], _encoded(okx_uid, "okx_uid"), _encoded(field, "field")]
    if bound is not None:
        parts += [str(bound.version).encode(), bound.set_id.encode()]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _split(text: object) -> tuple[str, Binding | None, bytes]:
    if not isinstance(text, str):
        raise InvalidArgument(f"an encrypted credential must be a string, not {type(text).__name__}")
    found = _CIPHERTEXT.fullmatch(text)
    if found is None:
        raise DamagedCredential("the credential is not encrypted in the form v2.<key id>.<version>.<set>.<text>")
    body = urlsafe_b64decode(found["body"] + "=" * (-len(found["body"]) % 4))
    if found["old_key"]:
        return found["old_key"], None, body
    return found["key"], Binding(int(found["version"]), found["set"]), body
