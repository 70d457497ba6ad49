"""The shapes the store takes and returns."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class User:
    """A registered user."""

    id: uuid.UUID
    okx_uid: str
    telegram_id: str | None
    name: str | None
    telegram_username: str | None
    created_at: datetime
    updated_at: datetime


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
    key is marked, and the relay brings Redis up."""

    mirrored: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration left behind: the user, and the active documents."""

    user: User
    settings: list[SavedSetting]


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """What Redis should hold in one key (a row of the view mirror_source).

    `document` is JSON as PostgreSQL prints it, None if the key must not exist; `version` guards it.
    """

    owner: str
    kind: str
    suffix: str
    encoding: str
    version: int
    updated_at: datetime
    document: str | None
