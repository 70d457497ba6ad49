"""What `--json` prints keeps its shape: programs read it. Keys may be added, here too; none goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from store.encryption.vault import generate_key
from tests.cli.conftest import Cli
from tests.cli.test_help import LEAVES
from tests.conftest import OKX_UID, TELEGRAM_ID

WITHOUT = {
    "export": "prints JSON",
    "candles export": "prints CSV",
    "schema": "prints JSON",
    "report": "draws a page",
    "psql": "becomes another program",
    "redis-cli": "becomes another program",
    "demo": "a show for people",
    "embedded start": "prints what a shell evaluates",
    "embedded stop": "a word or two; embedded status tells the state",
    "keys generate": "prints a key",
    "completion": "prints a script",
}

USER = "id okx_uid telegram_id name telegram_username created_at updated_at deleted_at"
SETTING = "okx_uid telegram_id setting_type version settings updated_at source"
SAVED = f"{SETTING} mirrored is_deleted missing_keys"
CHANGE = "key change old new"
TEMPLATE = "name setting_type settings changed_by updated_at written_by"
EFFECT = "okx_uid setting_type version changes missing_keys"
CHANGED = (
    "id okx_uid setting_type symbol filter patch template version expected_version at until not_after reason"
    " scheduled_by written_by scheduled_at state due_at ended_at users changed note"
)
ROLLOUT = (
    "name template setting_type settings filter steps control minimum_trades step_time guard currency on_worse reason"
    " state outcome step users given waiting taken_back problems treated_trades control_trades looks verdict note"
    " begun_at given_at next_look_at ended_at changed_by written_by"
)
CREDENTIALS = "okx_uid version updated_at mirrored is_deleted"
WRITTEN = "inserted replaced unchanged"
MANIFEST = "made_at release migrations tables"
TRADE = (
    "id user_id okx_uid symbol side is_hedge entry_time entry_price entry_size entry_fee exit_time exit_price exit_size"
    " exit_fee funding_fee currency realized_pnl realized_pnl_percent net_pnl leverage close_type dca_count"
    " entry_order_id exit_order_id"
    " params_version dual_side_version extra created_at"
)
FIGURES = (
    "okx_uid symbol side period version saved_at value currency users trades wins losses break_even win_rate"
    " gross_profit gross_loss profit_factor realized_pnl fees funding_fees net_pnl best worst average average_win"
    " average_loss expectancy expectancy_ratio longest_win_streak longest_loss_streak average_holding min_holding"
    " max_holding max_drawdown max_drawdown_duration sharpe sortino max_drawdown_percent cagr_percent calmar first_exit"
    " last_exit"
)
PAIRS = (
    "symbol=BTC side=long entry_time=2026-11-22T10:00Z entry_price=1 entry_size=1 exit_time=2026-11-22T11:00Z"
    " exit_price=2 exit_size=1 realized_pnl=1 exit_order_id=1"
)
LOCK = "okx_uid setting_type symbol key is_cold reason until locked_at locked_by written_by"
HALT = "okx_uid symbol reason since halted_by written_by resumed_at resumed_by resume_reason resume_written_by"
CANDLES = "ts,symbol,open,high,low,close,volume\n2026-01-01T00:00Z,BTC,1,3,1,2,9\n2026-01-01T00:02Z,BTC,1,3,1,2,9\n"
SECRETS = json.dumps({"api_key": "a", "api_secret": "b", "passphrase": "c"})

# In this order: command line -> the keys of the object, or of the first one of the list ("[]": a list).
SHAPES = {
    f"register {OKX_UID} --telegram-id {TELEGRAM_ID}": "user settings is_new",
    f"user find {OKX_UID}": USER,
    "user list": f"[] {USER}",
    "user list --deleted": "[]",
    f"user unlink {OKX_UID}": USER,
    f"user link {OKX_UID} {TELEGRAM_ID}": USER,
    f"get {OKX_UID} params": SETTING,
    f"get {OKX_UID}": f"[] {SETTING}",
    f"set {OKX_UID} params leverage=20": SAVED,
    "fields params": "fields rules",
    "search params leverage=20": f"[] {SETTING}",
    "template save careful params leverage=3": TEMPLATE,
    "template list": "[] name setting_type changed_by updated_at written_by",
    "template show careful": f"[] {TEMPLATE}",
    "template preview careful params --all": f"[] {EFFECT}",
    "template apply careful params --all": f"[] {EFFECT}",
    "template save bold params leverage=30": TEMPLATE,
    "rollout begin first bold params --steps 1,50": ROLLOUT,
    "rollout status": f"[] {ROLLOUT}",
    "rollout status first": "rollout results",
    "rollout advance first": ROLLOUT,
    "rollout pause first": ROLLOUT,
    "rollout resume first": ROLLOUT,
    "rollout end first roll-back": ROLLOUT,
    "rollout delete first": "name",
    "template delete bold": "name deleted",
    "template delete careful": "name deleted",
    f"schedule set {OKX_UID} params leverage=4 --at 2099-01-01T00:00Z": CHANGED,
    "schedule list": f"[] {CHANGED}",
    "schedule cancel 1": CHANGED,
    f"history {OKX_UID} params": "[] okx_uid setting_type version saved_at changed_by written_by change_reason"
    " is_deleted changes",
    "changes --limit 1": "okx_uid setting_type version saved_at changed_by written_by change_reason"
    " is_deleted changes cursor",
    f"diff {OKX_UID} params 1 2": f"[] {CHANGE}",
    f"rollback {OKX_UID} params 1": SAVED,
    f"rollback {OKX_UID} --at 2999-01-01": f"[] {SAVED}",
    f"delete {OKX_UID} dual_side": SAVED,
    f"restore {OKX_UID} dual_side": SAVED,
    "prune --keep 1 --older-than 0": "dry_run versions",
    "relay --once": "mirrored failures waiting set_aside oldest_seconds",
    "lock params leverage --reason audit": f"[] {LOCK}",
    "locks": f"[] {LOCK}",
    "unlock params": f"[] {LOCK}",
    "halt --reason down": f"{HALT} mirrored",
    "halts": f"[] {HALT}",
    "resume --reason up": f"{HALT} mirrored",
    "verify": "checked ok findings repaired users unnamed",
    "sync": "dry_run outcomes keys unnamed",
    "watch": "",
    f"trades add {OKX_UID} {PAIRS}": TRADE,
    "trades import trades": "recorded known",
    f"trades list {OKX_UID}": f"[] {TRADE}",
    "trades stats": f"[] {FIGURES}",
    "trades curve": "[] currency time trades net_pnl equity drawdown version",
    f"keys set {OKX_UID} --stdin": CREDENTIALS,
    f"keys show {OKX_UID}": "okx_uid version updated_at source api_key api_secret passphrase",
    f"keys history {OKX_UID}": "[] okx_uid version saved_at changed_by written_by change_reason is_deleted",
    "keys rotate --dry-run": "dry_run checked changed failures mirrored",
    "keys encrypt-existing --dry-run": "dry_run checked changed failures mirrored",
    f"keys delete {OKX_UID}": CREDENTIALS,
    "candles import candles --timeframe 1m": WRITTEN,
    "candles list BTC --timeframe 1m": "[] ts symbol open high low close volume complete",
    "candles gaps BTC --timeframe 1m": "[] from to missing",
    "candles rollup --from-timeframe 1m --to-timeframe 1h": WRITTEN,
    "import export": "dry_run users documents left_out incomplete mirrored effects",
    "backup backup.zip": MANIFEST,
    "restore-backup backup.zip --replace --yes": "users versions mirrored unknown manifest",
    f"user delete {OKX_UID} --yes": USER,
    f"user restore {OKX_UID}": USER,
    f"user erase {OKX_UID} --yes": "okx_uid settings versions trades telegram_links mirrored was_known",
    "status": "postgresql redis config",
    "embedded status": "home postgres redis",
    "migrate": "applied quarantined",
    "migrate apply --dry-run": "dry_run pending drifted adopted",
    "migrate status": "applied pending drifted",
    "migrate quarantine": "[]",
    "migrate rollback --yes": "rolled_back",
}


def test_every_command_prints_json_or_there_is_a_reason() -> None:
    without = {name for name, c in LEAVES.items() if "--json" not in [opt for p in c.params for opt in p.opts]}
    assert without == set(WITHOUT)
    shown = {name for name in LEAVES if any(f"{line} ".startswith(f"{name} ") for line in SHAPES)}
    assert shown | without == set(LEAVES)


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {"[]", *(value[0] if value else ())}
    return set(value)


def test_json_keeps_its_shape(inside: Cli, tmp_path: Path) -> None:
    inside = replace(inside, cwd=tmp_path)
    inside.env["SETTINGS_STORE_KEYS"] = generate_key()
    (tmp_path / "candles").write_text(CANDLES)
    trade = dict(pair.split("=") for pair in PAIRS.split()) | {"okx_uid": OKX_UID}
    (tmp_path / "trades").write_text(json.dumps(trade))
    for line, shape in SHAPES.items():
        if line == "watch":  # runs until it is stopped: test_keeping_equal.py
            continue
        if line.startswith("import"):
            (tmp_path / "export").write_text(inside("export", "--all").out)
        done = inside.run(*line.split(), "--json", stdin=SECRETS)
        assert (done.code, done.err) in ((0, ""), (1, "")), (line, done)
        assert set(shape.split()) <= keys(done.json), (line, done.out)
