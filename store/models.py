"""The shapes the store takes and returns."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Document = dict[str, Any]
Source = Literal["redis", "db"]


@dataclass(frozen=True, slots=True)
class SettingType:
    """A kind of settings document (a row of setting_types) and where Redis keeps it."""

    name: str
    redis_suffix: str
    redis_encoding: str  # 'hash' or 'json'


# Known without asking PostgreSQL, so that Redis can serve reads while PostgreSQL is away.
BUILT_IN_TYPES = {
    "preferences": SettingType("preferences", "preferences", "hash"),
    "params": SettingType("params", "settings", "json"),
    "dual_side": SettingType("dual_side", "dual_side", "hash"),
}
MASK = "********"  # as secret_mask() in SQL
BUILT_IN_SECRETS = {"params": {"signal_bot_token"}}


@dataclass(frozen=True, slots=True)
class User:
    """A registered user; `deleted_at`: of one who was deleted."""

    id: uuid.UUID
    okx_uid: str
    telegram_id: str | None
    name: str | None
    telegram_username: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """The active settings document of a user and type. `source`: which store answered."""

    okx_uid: str
    telegram_id: str | None
    setting_type: str
    version: int
    settings: Document
    updated_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class SavedSetting(Setting):
    """What a save left behind. `mirrored`: Redis has this version (or a newer one) already; if not, the
    key is marked, and the relay brings Redis up. `missing_keys`: what the catalogue lists with a default and the
    document, which is kept as it is, lacks; registering again fills them."""

    mirrored: bool
    is_deleted: bool = False  # this version is a deletion
    missing_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What became of one key. `change`: added (then old is None), removed (new is None) or changed. Secrets are
    masked."""

    key: str
    change: Literal["added", "removed", "changed"]
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a user's settings: when, who, why, and what it changed against the version before (None:
    that one was pruned). `changed_by`: as the writer said; `written_by`: the login, None before 1.1."""

    okx_uid: str
    setting_type: str
    version: int
    saved_at: datetime
    changed_by: str
    written_by: str | None
    change_reason: str | None
    is_deleted: bool
    changes: list[KeyChange] | None


@dataclass(frozen=True, slots=True)
class Template:
    """A named document of a setting type. Who and when: None for the catalogue's defaults; `written_by`: the login."""

    name: str
    setting_type: str
    settings: Document
    changed_by: str | None
    updated_at: datetime | None
    written_by: str | None


@dataclass(frozen=True, slots=True)
class TemplateEffect:
    """What a template does, or would do, to one user's document. `version`: after it, or before a preview.
    `missing_keys`: as in SavedSetting."""

    okx_uid: str
    setting_type: str
    version: int
    changes: list[KeyChange]
    missing_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Erasure:
    """The receipt of an erasure. `mirrored`: Redis has nothing of the person any more; if not, the keys are
    marked, and the relay clears them. `was_known`: to PostgreSQL; else only Redis had something, or the person was
    erased before."""

    okx_uid: str
    settings: int
    versions: int
    trades: int
    telegram_links: int
    mirrored: bool
    was_known: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's API credentials, decrypted. They don't show in the repr. `source`: which store answered."""

    okx_uid: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    version: int
    updated_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class SavedCredentials:
    """What a save of credentials left behind. `mirrored`: as in SavedSetting."""

    okx_uid: str
    version: int
    updated_at: datetime
    mirrored: bool
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class CredentialsVersion:
    """Who changed credentials (as in Version), and when; never what."""

    okx_uid: str
    version: int
    saved_at: datetime
    changed_by: str
    written_by: str | None
    change_reason: str | None
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration left behind: the user, the active documents, and whether the user was there before it."""

    user: User
    settings: list[SavedSetting]
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """What Redis should hold in one key (a row of the view mirror_source).

    `document` is JSON as PostgreSQL prints it, None if the key must not exist; `version` guards it. `size`: bytes of
    the document, where it was asked; a long one may be left out (store/entries.py).
    """

    owner: str
    kind: str
    suffix: str
    encoding: str
    version: int
    updated_at: datetime
    document: str | None = field(repr=False)  # credentials in plain text, where MIRROR_CREDENTIALS says so
    size: int = field(default=0, compare=False)

    @property
    def is_partial(self) -> bool:
        """Whether the document was left out."""
        return self.document is None and self.size > 0

    @property
    def length(self) -> int:
        """Bytes of the document, also of one left out."""
        return self.size or len(self.document or "")

    @property
    def is_document(self) -> bool:
        """Whether it is settings or credentials, not a user's or a Telegram ID's entry."""
        return self.kind not in ("user", "telegram")

    @property
    def is_erased(self) -> bool:
        """Whether the person was erased: the mark is all there is in PostgreSQL."""
        return self.encoding == "erased"
