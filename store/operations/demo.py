"""The demo: one user's settings, changed from three sides, with Redis taken away and brought back."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from store.api.store import SettingsStore
from store.coherence.relay import drain
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.config import Config
from store.models import Setting
from store.operations import embedded
from store.postgres import functions
from store.sockets import redis_socket

OKX_UID = "587662504768345929"
TELEGRAM_ID = "1709556958"

Print = Callable[[str], Any]


async def run(say: Print, keep: bool = False) -> None:
    """Run the demo on embedded servers in a temporary folder; `say` prints a line.

    The servers and the folder go at the end, however it ends, unless they are to `keep`.
    """
    home = Path(tempfile.mkdtemp(prefix="settings-store-demo-"))
    config = replace(Config.from_env(), database_url=None, redis_url=None, home=home, may_embed=True)
    try:
        say(f"Starting a PostgreSQL and a Redis in {home}, migrating")
        await _show_all(embedded.provide(config), say)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            embedded.stop(config)
            shutil.rmtree(home)
    if keep:
        say("\nLook around: settings-store get, psql, redis-cli, status; after")
        place = shlex.quote(str(home))
        say(f"  export SETTINGS_STORE_HOME={place}")
        say(f"To end it: settings-store embedded stop, and rm -r {place}")
    else:
        say("\nThe servers are stopped, the folder is gone. To look around in it: settings-store demo --keep")


async def _show_all(config: Config, say: Print) -> None:
    async with SettingsStore(config) as store:
        await _register(store, say)
        await _change(store, say)
        await _show(store, say)
        await _rogue_write(store, say)
        await _roll_back(store, say)
        await _lose_redis(store, say)
        await _compare(store, say)


async def _register(store: SettingsStore, say: Print) -> None:
    say(f"\n1. Register OKX UID {OKX_UID}, Telegram {TELEGRAM_ID}")
    registration = await store.register(OKX_UID, TELEGRAM_ID, name="Kim", reason="demo")
    for setting in registration.settings:
        say(f"  {_line(setting)}")


async def _change(store: SettingsStore, say: Print) -> None:
    found = await store.get(OKX_UID, "params", source="db")
    leverage = 10 if found is None else found.settings.get("leverage", 10)
    steps = [leverage % 100 + step for step in (1, 2, 3)]

    say("\n2. Change leverage from three sides")
    say(f'  Python   await store.patch("{OKX_UID}", "params", {{"leverage": {steps[0]}}})')
    saved = await store.patch(OKX_UID, "params", {"leverage": steps[0]}, actor="python", reason="demo")
    say(f"           version {saved.version}, Redis has it: {_yes(saved.mirrored)}")

    statement = (
        f"select version, changed_by from patch_user_setting('{OKX_UID}', 'params', '{{\"leverage\": {steps[1]}}}')"
    )
    say(f"  psql     {statement}")
    psql = [embedded.postgres_program("psql"), store.config.database_url or "", "-XAtc", statement]
    version = subprocess.run(psql, check=True, capture_output=True, encoding="utf-8").stdout.split("|")[0]
    marked = await store._connections.database.fetch(functions.mirror.pending_keys([OKX_UID], None, 10))
    say(f"           version {version}; Redis doesn't know yet, but {len(marked)} key is marked for it")
    await drain(store._connections, [OKX_UID])
    found = await store.get(OKX_UID, "params", source="redis")
    say(f"           the relay mirrors what is marked: Redis has version {found.version if found else None}")

    say(f"  shell    settings-store set {TELEGRAM_ID} params leverage={steps[2]}")
    words = ["set", TELEGRAM_ID, "params", f"leverage={steps[2]}", "--actor", "shell"]
    command = [sys.executable, "-P", "-m", "store", *words]
    environment = store.config.environment()
    output = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment).stdout
    say(f"           {output.strip()}")


async def _show(store: SettingsStore, say: Print) -> None:
    say("\n3. Every version is in PostgreSQL: who, why, what")
    for version in reversed(await store.history(OKX_UID, "params", limit=3)):
        changes = ", ".join(f"{change.key}: {change.old} -> {change.new}" for change in version.changes or [])
        say(f"  version {version.version}, by {version.changed_by}: {changes}")

    say("   What Redis holds")
    for words in (
        ("hgetall", f"user:{OKX_UID}:preferences"),
        ("hget", f"user:{OKX_UID}:dual_side", "use_dual_side_entry"),
        ("hget", f"user:{OKX_UID}:mirror", "params"),
        ("get", f"user:{TELEGRAM_ID}:okx_uid"),
    ):
        say(f"  {' '.join(words)}: {' '.join(_redis_cli(store, *words).split())}")


async def _rogue_write(store: SettingsStore, say: Print) -> None:
    say("\n4. Somebody writes into Redis behind our back")
    before = await store.get(OKX_UID, "dual_side", source="db")
    trigger = 1 + (before.settings.get("dual_side_entry_trigger", 3) if before else 3) % 9
    _redis_cli(store, "hset", f"user:{OKX_UID}:dual_side", "dual_side_entry_trigger", str(trigger))
    say(f"  redis-cli hset user:{OKX_UID}:dual_side dual_side_entry_trigger {trigger}")
    report = await verify(store._connections, okx_uid=OKX_UID)
    say(f"  verify:  {', '.join(f'{n} {kind}' for kind, n in report.findings.items())}")
    await Sync(store._connections, okx_uid=OKX_UID).run()
    found = await store.get(OKX_UID, "dual_side", source="db")
    say(f"  sync:    taken over as version {found.version if found else None}; nothing is lost on either side")


async def _roll_back(store: SettingsStore, say: Print) -> None:
    say("\n5. Go back")
    newest = (await store.history(OKX_UID, "params", limit=1))[0].version
    saved = await store.rollback(OKX_UID, "params", newest - 2, actor="kim", reason="as it was")
    say(f"  settings-store rollback {OKX_UID} params {newest - 2}")
    say(f"           version {saved.version} has what version {newest - 2} had: leverage {saved.settings['leverage']}")


async def _lose_redis(store: SettingsStore, say: Print) -> None:
    say("\n6. Take Redis away")
    embedded.stop_redis(store.config.home)
    found = await store.get(OKX_UID, "params")
    say(f"  read:  version {found.version if found else None}, from {found.source if found else None}")
    found = await store.get(OKX_UID, "dual_side")
    is_used = found is not None and found.settings.get("use_dual_side_entry") is True
    saved = await store.patch(OKX_UID, "dual_side", {"use_dual_side_entry": not is_used})
    say(f"  save:  dual_side version {saved.version} is safe in PostgreSQL; Redis has it: {_yes(saved.mirrored)}")

    say("   Bring it back")
    embedded.start_redis(store.config.home)
    store._connections.mirror.retry_now()
    await drain(store._connections, [OKX_UID, TELEGRAM_ID])
    found = await store.get(OKX_UID, "dual_side")
    say(f"  read:  version {found.version if found else None}, from {found.source if found else None}")


async def _compare(store: SettingsStore, say: Print) -> None:
    say("\n7. Both sides")
    for there in await store.get_all(OKX_UID, source="db"):
        here = await store.get(OKX_UID, there.setting_type, source="redis")
        redis = f"version {here.version}, {len(here.settings)} keys" if here else "nothing"
        say(f"  {there.setting_type:12} PostgreSQL version {there.version}, {len(there.settings)} keys; Redis {redis}")
    report = await verify(store._connections, okx_uid=OKX_UID)
    findings = ", ".join(f"{n} {kind}" for kind, n in report.findings.items())
    say(f"  verify:  {report.checked} keys compared, {findings or 'all equal'}")
    if report.findings:
        raise SystemExit(1)


def _redis_cli(store: SettingsStore, *words: str) -> str:
    command = [embedded.redis_program("cli"), "-s", str(redis_socket(store.config.home)), *words]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


def _line(setting: Setting) -> str:
    return f"{setting.setting_type}: version {setting.version}, {len(setting.settings)} keys"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
