"""Reads of one moment share exchanges, and nothing else: none is old, none hangs with another, none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py

from store import Config, RedisUnavailable, SettingsStore
from store.mirror import shared_reads
from store.mirror.pipeline import Command
from store.mirror.shared_reads import AT_ONCE, SharedReads
from tests.conftest import OKX_UID, TELEGRAM_ID

USERS = [str(10**15 + n) for n in range(6)]


class Line:
    """Where exchanges go: what was sent, and each answered when a test says so."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        names = [str(command[0]) for command in commands]
        self.sent.append(names)
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer
        return [f"{name} of {len(self.sent)}" for name in names]

    def answer(self, number: int) -> None:
        self.answers[number].set_result(None)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def commands(*names: str) -> list[Command]:
    return [Command((name,)) for name in names]


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def reads(line: Line) -> AsyncIterator[SharedReads]:
    opened = SharedReads(line.send)
    yield opened
    await opened.close()


def begin(reads: SharedReads, *names: str) -> list[asyncio.Task[list[Any]]]:
    return [asyncio.create_task(reads.read(commands(name))) for name in names]


async def test_who_comes_while_exchanges_are_under_way_joins_the_next(line: Line, reads: SharedReads) -> None:
    tasks = begin(reads, *"abcdef")
    await turn()
    assert line.sent == [["a"], ["b"]]
    line.answer(0)
    await turn()
    assert line.sent == [["a"], ["b"], ["c", "d", "e", "f"]]
    late = begin(reads, "g")  # the exchange has departed: what it brings may be from before
    await turn()
    assert len(line.sent) == 3
    line.answer(2)
    await turn()
    assert line.sent[3:] == [["g"]]
    line.answer(1)
    line.answer(3)
    assert [(await task)[0][0] for task in (*tasks, *late)] == list("abcdefg")


async def test_each_gets_the_replies_to_its_own_commands(line: Line, reads: SharedReads) -> None:
    first = begin(reads, "a", "b")
    await turn()
    wanted = [("c", "d", "e"), ("f",), (), ("g", "h")]
    tasks = [asyncio.create_task(reads.read(commands(*names))) for names in wanted]
    await turn()
    line.answer(0)
    await turn()
    line.answer(1)
    line.answer(2)
    found = [await task for task in tasks]
    assert [tuple(reply[0] for reply in replies) for replies in found] == wanted
    await asyncio.gather(*first)


async def test_an_exchange_carries_so_many_commands_at_most(
    line: Line, reads: SharedReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_reads, "COMMANDS", 3)
    tasks = begin(reads, *"abcdefg")
    large = asyncio.create_task(reads.read(commands(*"12345")))
    await turn()
    for number in range(6):
        if number < len(line.answers):
            line.answer(number)
        await turn()
    assert line.sent == [["a"], ["b"], ["c", "d", "e"], ["f", "g"], list("12345")]
    await asyncio.gather(*tasks, large)


@pytest.mark.parametrize("who", [0, 1, 2, 4])
async def test_one_that_is_cancelled_takes_no_other_along(line: Line, reads: SharedReads, who: int) -> None:
    tasks = begin(reads, *"abcde")
    await turn()
    tasks[who].cancel()
    await turn()
    assert tasks[who].cancelled()
    for number in range(4):
        if number < len(line.answers) and not line.answers[number].done():
            line.answer(number)
        await turn()
    rest = [task for n, task in enumerate(tasks) if n != who]
    assert [(await task)[0][0] for task in rest] == [name for n, name in enumerate("abcde") if n != who]
    assert all("abcde"[who] not in names for names in line.sent[2:])  # an empty seat takes no place


async def test_one_that_is_cancelled_under_way_takes_no_other_along(line: Line, reads: SharedReads) -> None:
    tasks = begin(reads, *"abcde")
    await turn()
    line.answer(0)
    await turn()
    assert line.sent[2] == ["c", "d", "e"]
    for task in (tasks[2], tasks[4]):
        task.cancel()
    await turn()
    line.answer(1)
    line.answer(2)
    assert (await tasks[3])[0] == "d of 3"
    assert [task.cancelled() for task in (tasks[2], tasks[4])] == [True, True]


async def test_a_failure_is_everybodys_own_who_was_aboard(reads: SharedReads, line: Line) -> None:
    tasks = begin(reads, *"abcd")
    await turn()
    line.answer(0)
    await turn()
    line.answers[2].set_exception(RedisUnavailable("away", hint="wait"))
    line.answer(1)
    errors = (await asyncio.gather(*tasks, return_exceptions=True))[2:]
    assert [str(error) for error in errors] == ["away", "away"]
    assert errors[0] is not errors[1]
    (again,) = begin(reads, "e")
    await turn()
    line.answer(3)
    assert (await again)[0][0] == "e"


async def test_exchanges_that_hang_are_waited_for_no_longer_than_a_moment(line: Line, reads: SharedReads) -> None:
    hung = begin(reads, *"ab")
    await turn()
    for number, name in enumerate("cdefg", start=AT_ONCE):  # the first waits, and nobody after it
        (task,) = begin(reads, name)
        while len(line.sent) <= number:
            await asyncio.sleep(0.001)
        line.answer(number)
        assert (await task)[0][0] == name
        assert number == AT_ONCE or reads._timer is None
    for task in hung:
        task.cancel()
    await asyncio.wait(hung)


async def test_closing_leaves_nobody_waiting(line: Line) -> None:
    reads = SharedReads(line.send)
    before = asyncio.all_tasks()
    own = begin(reads, *"ab")
    await turn()
    aboard = begin(reads, *"cd")
    await turn()
    line.answer(0)
    await turn()
    line.answer(1)
    await turn()
    another = begin(reads, "e")
    await turn()
    waiting = begin(reads, "f", "g")
    await turn()
    await reads.close()
    for task in (*aboard, *waiting):
        with pytest.raises(RedisUnavailable, match="closed"):
            await task
    line.answer(3)
    await asyncio.gather(*own, *another)
    assert asyncio.all_tasks() == before


# -- with a Redis


def exchanges(store: SettingsStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many commands each exchange carries."""
    carried: list[int] = []
    mirror = store._connections.mirror
    exchange = mirror._exchange

    async def noted(commands: Any, there: int = 0) -> list[Any]:
        wanted = list(commands)
        carried.append(len(wanted))
        return await exchange(wanted, there)

    monkeypatch.setattr(mirror, "_exchange", noted)
    return carried


async def test_reads_of_one_turn_share_exchanges(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch, redis: redis_py.Redis
) -> None:
    for okx_uid in USERS:
        await store.register(okx_uid)
    await store.link(USERS[0], TELEGRAM_ID)
    await store.save(USERS[1], "dual_side", {"x": 1}, symbol="BTC-USDT-SWAP")
    carried = exchanges(store, monkeypatch)
    redis.script_flush()
    found = await asyncio.gather(
        *(store.get(okx_uid, kind) for okx_uid in USERS for kind in ("params", "preferences")),
        store.get(TELEGRAM_ID, "params"),
        store.get(USERS[1], "dual_side", symbol="BTC-USDT-SWAP"),
    )
    assert [setting and setting.okx_uid for setting in found] == [each for each in USERS for _ in "12"] + USERS[:2]
    assert {setting and setting.source for setting in found} == {"redis"}
    assert len(carried) < len(found) - 2
    assert max(carried) >= len(USERS)


async def test_a_shared_exchange_whose_connection_dies_is_repeated(store: SettingsStore, user: str) -> None:
    redis = store._connections.mirror.redis
    await asyncio.gather(*(store.get(user, "params") for _ in range(30)))
    for connection in redis.connection_pool._available_connections:
        assert connection._writer is not None
        connection._writer.transport.abort()
    found = await asyncio.gather(*(store.get(user, "params", source="redis") for _ in range(30)))
    assert {setting and setting.source for setting in found} == {"redis"}


async def test_without_redis_each_read_is_answered_by_postgresql(config: Config, store: SettingsStore) -> None:
    await store.register(OKX_UID, TELEGRAM_ID)
    async with SettingsStore(replace(config, redis_url="redis://127.0.0.1:1/0")) as other:
        found = await asyncio.gather(*(other.get(OKX_UID, kind) for kind in ("params", "preferences") * 5))
        assert [setting and setting.source for setting in found] == ["db"] * 10
        errors = await asyncio.gather(
            *(other.get(OKX_UID, "params", source="redis") for _ in range(10)), return_exceptions=True
        )
        assert {type(error) for error in errors} == {RedisUnavailable}
