"""Saves in a loop and prints each version once it is acknowledged; killed by test_kill.

python -m tests.faults.saver DATABASE_URL REDIS_URL OKX_UID FIRST_NUMBER
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from store import Config, SavedSetting, SettingsStore

KINDS = ("preferences", "params")


async def main(database_url: str, redis_url: str, okx_uid: str, first: str) -> None:
    async with SettingsStore(Config(database_url, redis_url)) as store:
        for n in itertools.count(int(first)):
            saved = [await store.save(okx_uid, KINDS[n % 2], {"?n": n, f"?{n % 3}": "x" * 100})]
            if n % 5 == 0:
                saved += await store.save_all(okx_uid, {kind: {"?n": n, "?all": True} for kind in KINDS})
            acknowledge(saved, n)


def acknowledge(saved: list[SavedSetting], n: int) -> None:
    print(*(f"{each.setting_type} {each.version} {n}" for each in saved), sep="\n", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
