"""Reads and writes of the active document with 10,000 versions of it in the history, against 10."""

from __future__ import annotations

from functools import partial
from itertools import count

from benchmarks import people
from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore

MANY, FEW, CALLS, REPEATS = 10_000, 10, 60, 31

# The trigger makes a version of each update; one transaction each, or no dead row could be pruned.
GROW = """
do $$ begin
    for n in 2 .. {versions} loop
        update user_settings s set settings = s.settings || jsonb_build_object('btc_investment', n)
         where s.okx_uid = '{okx_uid}' and s.setting_type = 'params' and s.is_active;
        commit;
    end loop;
end $$
"""


async def measure(config: Config) -> list[Outcome]:
    """Read from PostgreSQL, and save a changed document, one call after the other; as microseconds a call."""
    await people.empty(config)
    users = {"many": (people.okx_uid(0), MANY), "few": (people.okx_uid(1), FEW)}
    numbers = count(1)
    async with SettingsStore(config) as store, people.servers(config) as (connection, _):
        document = {}
        for okx_uid, versions in users.values():
            saved = await store.register(okx_uid)
            document = {setting.setting_type: setting.settings for setting in saved.settings}["params"]
            await connection.execute("set synchronous_commit = off")
            await connection.execute(GROW.format(versions=versions, okx_uid=okx_uid).encode())
        await connection.execute("vacuum analyze")

        async def read(okx_uid: str) -> float:
            async def call(_: int) -> None:
                assert await store.get(okx_uid, "params", source="db")

            return await microseconds(call, CALLS)

        async def write(okx_uid: str) -> float:
            async def call(_: int) -> None:
                await store.save(okx_uid, "params", {**document, "btc_investment": 20_000 + next(numbers)})

            return await microseconds(call, CALLS)

        sides = {
            f"{work.__name__} {name}": partial(work, okx_uid)
            for work in (read, write)
            for name, (okx_uid, _) in users.items()
        }
        found = await interleave(sides, REPEATS)
    await people.empty(config)
    return [
        Outcome(f"{work} with {FEW} versions", "µs", found[f"{work} many"], found[f"{work} few"], 1.2)
        for work in ("read", "write")
    ]
