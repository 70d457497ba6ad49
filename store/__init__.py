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
    from store.compat import TimescaleUserRecord, TimescaleUserService
    from store.compat_pool import TimescalePool
    from store.config import Config
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
        RedisUnavailable,
        StoreError,
        UnknownSettingType,
        UnknownTemplate,
        UnknownUser,
        UnknownVersion,
        VersionConflict,
    )
    from store.market.candle_models import Candle, Gap, Written
    from store.market.models import Trade, TradesRecorded, TradeStatistics
    from store.models import (
        Credentials,
        CredentialsVersion,
        Erasure,
        KeyChange,
        Registration,
        SavedCredentials,
        SavedSetting,
        Setting,
        SettingType,
        Template,
        TemplateEffect,
        User,
        Version,
    )
    from store.settings import SettingsStore
    from store.vault import DamagedCredential, NoEncryptionKey, Vault, WrongEncryptionKey
    from store.watch import Change

__all__ = [
    "AlreadyLinked",
    "BadIdentifier",
    "Candle",
    "Change",
    "Config",
    "ConfigError",
    "Credentials",
    "CredentialsVersion",
    "DamagedCredential",
    "DatabaseBusy",
    "DatabaseError",
    "DatabaseUnavailable",
    "Erasure",
    "Gap",
    "HistoryIsImmutable",
    "InvalidArgument",
    "InvalidSettings",
    "KeyChange",
    "MigrationError",
    "NoEncryptionKey",
    "NotEmpty",
    "NotMigrated",
    "NotPermitted",
    "RedisUnavailable",
    "Registration",
    "SavedCredentials",
    "SavedSetting",
    "Setting",
    "SettingType",
    "SettingsStore",
    "StoreError",
    "Template",
    "TemplateEffect",
    "TimescalePool",
    "TimescaleUserRecord",
    "TimescaleUserService",
    "Trade",
    "TradeStatistics",
    "TradesRecorded",
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

_HOMES = (
    *("store.compat", "store.compat_pool", "store.settings", "store.watch", "store.vault", "store.config"),
    *("store.market.candle_models", "store.market.models", "store.models", "store.errors"),
)


def __getattr__(name: str) -> Any:
    # Imported when first used: `settings-store --help` must not load psycopg and redis.
    if name in __all__:
        for home in reversed(_HOMES):
            value = getattr(import_module(home), name, None)
            if value is not None:
                return value
    raise AttributeError(f"module 'store' has no attribute {name!r}")
