"""What a document costs as there are more versions of it: 10 to 10,000 in the history. Reads and writes of the active
one have a target; of the rest, the slope is fitted (versions.svg): 0 is as fast with any history, 1 is linear."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import people
from benchmarks.growth import REACH, lines, slope
from benchmarks.picture import draw
from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore
from store.coherence.relay import drain
from store.coherence.verify import verify

SIZES = (10, 1000, 10_000)
CALLS, FEWER_CALLS, REPEATS = 60, 10, 11
PAGE = 20  # versions
LIMITED = ("read", "write")  # to 1.2
PICTURE = Path(__file__).with_name("versions.svg")

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
MIDDLE = """
select updated_at from user_settings where okx_uid = %s and setting_type = 'params' order by version offset %s limit 1
"""

Job = Callable[[str], Awaitable[object]]


async def measure(config: Config) -> list[Outcome]:
    """Run each job on each of three users, one call after the other; as microseconds a call."""
    await people.empty(config)
    users = {versions: people.okx_uid(n) for n, versions in enumerate(SIZES)}
    moments: dict[str, datetime] = {}  # in the middle of each history
    numbers = count(1)
    async with SettingsStore(config) as store, people.servers(config) as (connection, _):
        document = {}
        await connection.execute("set synchronous_commit = off")
        for versions, okx_uid in users.items():
            saved = await store.register(okx_uid)
            document = {setting.setting_type: setting.settings for setting in saved.settings}["params"]
            await connection.execute(GROW.format(versions=versions, okx_uid=okx_uid).encode())
        await drain(store._connections)  # no save of this store's made them
        await connection.execute("vacuum analyze")

        async def read(okx_uid: str) -> None:
            assert await store.get(okx_uid, "params", source="db")

        async def write(okx_uid: str) -> None:
            await store.save(okx_uid, "params", {**document, "btc_investment": 20_000 + next(numbers)})

        async def page(okx_uid: str) -> None:
            assert len(await store.history(okx_uid, "params", limit=PAGE)) >= min(SIZES)

        async def moment(okx_uid: str) -> None:
            assert await store.get_at(okx_uid, "params", moments[okx_uid])

        async def rollback(okx_uid: str) -> None:
            before = (await store.history(okx_uid, "params", limit=2))[-1].version
            await store.rollback(okx_uid, "params", before)

        async def checked(okx_uid: str) -> None:
            assert not (await verify(store._connections, okx_uid=okx_uid)).findings

        jobs: dict[str, Job] = {
            "read": read, "write": write, f"page of {PAGE} versions": page, "version of a moment": moment,
            "rollback": rollback, "verify of the user": checked,
        }  # fmt: skip

        async def timed(job: str, versions: int) -> float:
            """Time a job; then bring the history back to its length."""
            row = await (await connection.execute(MIDDLE, (users[versions], versions // 2))).fetchone()
            assert row
            moments[users[versions]] = row[0]
            calls = CALLS if job in LIMITED else FEWER_CALLS
            taken = await microseconds(lambda _: jobs[job](users[versions]), calls)
            await connection.execute("select from prune_user_settings(%s, '0', %s)", (versions, users[versions]))
            return taken

        sides = {(job, versions): partial(timed, job, versions) for job in jobs for versions in SIZES}
        found = await interleave(sides, REPEATS)
    await people.empty(config)
    few, many = SIZES[0], SIZES[-1]
    times = {job: [median(found[job, versions]) for versions in SIZES] for job in jobs}
    PICTURE.write_text(
        draw("Time of a call, by versions of the document", "versions", "µs", lines(SIZES, times)), encoding="utf-8"
    )
    return [
        *(Outcome(f"{job} with {few} versions", "µs", found[job, many], found[job, few], 1.2) for job in LIMITED),
        *(
            Outcome(f"versions^1, {job} of {few} to {many}", "slope", slopes, [1] * REPEATS, REACH)
            for job in jobs
            if job not in LIMITED
            for slopes in [[slope(SIZES, at) for at in zip(*(found[job, n] for n in SIZES), strict=True)]]
        ),
    ]
