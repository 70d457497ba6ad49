"""Trading-bot settings, versioned in PostgreSQL and mirrored into Redis.

from store import Config, SettingsStore

async with SettingsStore(Config.from_env()) as store:
    saved = await store.patch("587662504768345929", "params", {"leverage": 20})
    print(saved.version, saved.mirrored)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.api.sync import SyncSettingsStore
    from store.api.watch import Change, SettingChange
    from store.compat.pool import TimescalePool
    from store.compat.service import TimescaleUserRecord, TimescaleUserService
    from store.config import Config
    from store.encryption.vault import DamagedCredential, NoEncryptionKey, Vault, WrongEncryptionKey
    from store.errors import (
        AlreadyLinked,
        BadIdentifier,
        ConfigError,
        DatabaseBusy,
        DatabaseError,
        DatabaseUnavailable,
        HistoryIsImmutable,
        InvalidArgument,
        InvalidSettings,
        MigrationError,
        NotEmpty,
        NotMigrated,
        NotPermitted,
        OutOfResources,
        RedisUnavailable,
        RolloutRefused,
        SettingLocked,
        StoreError,
        UnknownScheduledChange,
        UnknownSettingType,
        UnknownTemplate,
        UnknownUser,
        UnknownVersion,
        VersionConflict,
    )
    from store.models import (
        Candle,
        CommittedChange,
        Credentials,
        CredentialsVersion,
        EquityPoint,
        Erasure,
        Gap,
        Halt,
        HaltRecord,
        HeldChanges,
        KeyChange,
        Registration,
        Rollout,
        RolloutResult,
        RolloutTurn,
        SavedCredentials,
        SavedHalt,
        SavedSetting,
        SavedUser,
        ScheduledChange,
        Setting,
        SettingField,
        SettingLock,
        SettingRule,
        SettingType,
        SettingTypeName,
        SettingView,
        Template,
        TemplateEffect,
        Trade,
        TradesRecorded,
        TradeStatistics,
        User,
        Version,
        Written,
    )

__all__ = [
    "AlreadyLinked",
    "BadIdentifier",
    "Candle",
    "Change",
    "CommittedChange",
    "Config",
    "ConfigError",
    "Credentials",
    "CredentialsVersion",
    "DamagedCredential",
    "DatabaseBusy",
    "DatabaseError",
    "DatabaseUnavailable",
    "EquityPoint",
    "Erasure",
    "Gap",
    "Halt",
    "HaltRecord",
    "HeldChanges",
    "HistoryIsImmutable",
    "InvalidArgument",
    "InvalidSettings",
    "KeyChange",
    "MigrationError",
    "NoEncryptionKey",
    "NotEmpty",
    "NotMigrated",
    "NotPermitted",
    "OutOfResources",
    "RedisUnavailable",
    "Registration",
    "Rollout",
    "RolloutRefused",
    "RolloutResult",
    "RolloutTurn",
    "SavedCredentials",
    "SavedHalt",
    "SavedSetting",
    "SavedUser",
    "ScheduledChange",
    "Setting",
    "SettingChange",
    "SettingField",
    "SettingLock",
    "SettingLocked",
    "SettingRule",
    "SettingType",
    "SettingTypeName",
    "SettingView",
    "SettingsStore",
    "StoreError",
    "SyncSettingsStore",
    "Template",
    "TemplateEffect",
    "TimescalePool",
    "TimescaleUserRecord",
    "TimescaleUserService",
    "Trade",
    "TradeStatistics",
    "TradesRecorded",
    "UnknownScheduledChange",
    "UnknownSettingType",
    "UnknownTemplate",
    "UnknownUser",
    "UnknownVersion",
    "User",
    "Vault",
    "Version",
    "VersionConflict",
    "Written",
    "WrongEncryptionKey",
]

_HOMES = (  # those that load little first
    "store.errors",
    "store.models",
    "store.config",
    "store.encryption.vault",
    "store.api.watch",
    "store.api.store",
    "store.api.sync",
    "store.compat.pool",
    "store.compat.service",
)


def __getattr__(name: str) -> Any:
    # Imported when first used: `settings-store --help` must not load psycopg and redis.
    if name in __all__:
        for home in _HOMES:
            value = getattr(import_module(home), name, None)
            if value is not None:
                return value
    raise AttributeError(f"module 'store' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
