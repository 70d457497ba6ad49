"""Files that an import rejects as a whole, every problem named by line and key."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import psycopg
import pytest

from store import Config, NotMigrated, SettingsStore
from store.files import export
from store.files.export import ImportRejected
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import SECRET, told
from tests.helpers.sessions import Connection, fetch
from tests.store.files.export.conftest import HEAD, OTHER, UIDS, file_of, person, saved_texts


async def rejection(store: SettingsStore, data: bytes) -> list[str]:
    """Import something that must be rejected; return the problems, line by line."""
    with pytest.raises(ImportRejected) as error:
        await export.import_users(store, data)
    assert "hunter2" not in told(error.value)
    return (error.value.detail or "").splitlines()


def broken(user_text: str) -> bytes:
    """A file of two users; the second begins in line 6."""
    text = HEAD.decode() + f'[\n  {{\n    "okx_uid": "{OTHER}",\n    "settings": {{}}\n  }},\n  {user_text}\n]}}'
    return text.encode()


def second_user(**lines: str) -> bytes:
    """The same, each field in a line of its own: okx_uid is in line 7, the next in line 8, …"""
    fields = {"okx_uid": f'"{OKX_UID}"'} | lines
    return broken("{\n" + ",\n".join(f'    "{key}": {text}' for key, text in fields.items()) + "\n  }")


PROBLEMS: dict[str, tuple[bytes, str]] = {
    "a bad key": (
        second_user(name='"x"', settings='{"params": {\n"note": 1,\n"leverage": "hunter2"}}'),
        f"line 11: {OKX_UID}, params.leverage: must be of type integer, not string",
    ),
    "a bad key of the second document": (
        second_user(settings='{"preferences": {"symbol": "x"},\n\n"dual_side":\n{\n"use_dual_sl": "hunter2"}}'),
        f"line 12: {OKX_UID}, dual_side.use_dual_sl: must be of type boolean, not string",
    ),
    "a key out of range": (
        second_user(settings='{\n"params": {"note": {"leverage": 3}, \n"leverage": 126}}'),
        f"line 10: {OKX_UID}, params.leverage: must be between 1 and 125",
    ),
    "a document that is a list": (
        second_user(settings='{\n"params": ["hunter2"]}'),
        f"line 9: {OKX_UID}, params.$: must be an object",
    ),
    "a document of null": (
        second_user(settings='{"params":\n null}'),
        f"line 9: {OKX_UID}, params.$: must be an object",
    ),
    "an unknown type": (
        second_user(settings='{"params": {},\n"alerts": {"a": "hunter2"}}'),
        f"line 9: {OKX_UID}, alerts.$: unknown setting type",
    ),
    "an unknown field": (
        second_user(settings="{}", api_key='"hunter2"'),
        f"line 9: {OKX_UID}, api_key: is no field of a user",
    ),
    "settings that are a list": (
        second_user(settings='["hunter2"]'),
        f"line 8: {OKX_UID}, settings: must be an object of documents by setting type",
    ),
    "a name that is a number": (second_user(name="1709"), f"line 8: {OKX_UID}, name: must be a string or null"),
    "a Telegram ID of letters": (
        second_user(name='"x"', telegram_id='"hunter2"'),
        f"line 9: {OKX_UID}, telegram_id: must be a Telegram ID: a string of 5-15 digits",
    ),
    "a Telegram ID that is a number": (
        second_user(telegram_id="1709556958"),
        f"line 8: {OKX_UID}, telegram_id: must be a string or null",
    ),
    "a Telegram ID and a line break": (
        second_user(telegram_id='"1709556958\\n"'),
        f"line 8: {OKX_UID}, telegram_id: must be a Telegram ID: a string of 5-15 digits",
    ),
    "an OKX UID of letters": (
        second_user(okx_uid='"hunter2-secret"'),
        "line 7: a user, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "an OKX UID that is a number": (
        second_user(okx_uid=OKX_UID),
        f"line 7: {OKX_UID}, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "no OKX UID": (broken('{"settings": {}}'), "line 6: a user, okx_uid: must be an OKX UID: a string of 16-20 digits"),
    "an OKX UID of null": (
        second_user(okx_uid="null"),
        "line 7: a user, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "a user that is a string": (broken('"hunter2"'), "line 6: a user, $: must be an object"),
    "a user there twice": (broken(f'{{"okx_uid": "{OTHER}"}}'), f"line 6: {OTHER} is there twice"),
    "a key there twice in a user": (
        second_user(settings='{"params": {"a": 1,\n"a": "hunter2"}}'),
        "line 9: the key a is there twice in one object",
    ),
    "a key there twice deep inside": (
        second_user(settings='{"params": {"a": [\n1, {"k.$": 1,\n"b": {}, \n"k.$": "hunter2"}]}}'),
        "line 11: the key k.$ is there twice in one object",
    ),
    "NaN": (second_user(name='"hunter2"', settings='{"params":\n{"a": NaN}}'), "line 10: NaN is no JSON number"),
    "-Infinity": (second_user(settings='{"params": {\n"a": -Infinity}}'), "line 9: -Infinity is no JSON number"),
    "a lone surrogate": (
        second_user(settings='{"params":\n{"a": "hunter2\\ud800"}}'),
        "line 6: invalid settings; $: is not valid JSON for PostgreSQL (a lone surrogate?)",
    ),
    "a null character": (
        second_user(settings='{"params":\n{"a": "hunter2\\u0000"}}'),
        "line 6: invalid settings; $: must not contain the character U+0000",
    ),
    "a number beyond a double": (
        second_user(settings='{"params":\n{"a": 1e309}}'),
        f"line 9: {OKX_UID}, params.$: must not hold a number outside the range of a double",
    ),
    "a number beyond everything": (
        second_user(settings='{"params":\n{"a": 1e999999}}'),
        "outside the range of a double",
    ),
    "a number of 5,000 digits": (
        second_user(settings='{"params":\n{"a": ' + "7" * 5000 + "}}"),
        f"line 9: {OKX_UID}, params.$: must not hold a number",
    ),
    "100 levels": (
        second_user(settings='{"params":\n{"a": ' + "[" * 100 + "]" * 100 + "}}"),
        f"line 9: {OKX_UID}, params.$: must be nested at most 64 levels deep",
    ),
    "10,000 levels": (
        second_user(settings='{"params": {"a": ' + "[" * 10_000 + "]" * 10_000 + "}}"),
        "line 6: nested too deep",
    ),
    "10,000 levels above": (b"[" * 10_000 + b"]" * 10_000, "line 1: "),
    "a document beyond 1 MiB": (
        second_user(settings='{"params":\n{"a": "' + "x" * 1_100_000 + '"}}'),
        f"line 9: {OKX_UID}, params.$: must be at most 1 MiB",
    ),
    "a comma too many": (second_user(settings='{"params": {\n},}'), "line 9: "),
    "text after it": (file_of(person()) + b"\n\nhunter2", "line 8: Extra data"),
    "nothing": (b"", "line 1: Expecting '{'"),
    "space": (b"\n\n \n", "line 4: Expecting '{'"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "line 1: Expecting '{'"),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + file_of(), "line 1: Expecting '{'"),
    "a list": (b'[\n"hunter2"]', "line 1: Expecting '{'"),
    "a string": (b'"hunter2"', "line 1: Expecting '{'"),
    "users that are an object": (HEAD + b'{"hunter2": 1}}', "line 1: Expecting '['"),
    "not UTF-8": (HEAD + b'[\n"hunter2\xff"]}', "line 2: not UTF-8 text"),
    "another format": (file_of().replace(b"settings-store export", b"hunter2"), '"format" must be'),
    "another version": (file_of().replace(b": 1,", b": 2,"), '"format" must be'),
    "no version": (b'{"format": "settings-store export", "users": []}', '"format" must be'),
    "no users": (b'{"format": "settings-store export", "version": 1}', '"format" must be'),
    "more at the top": (b'{"hunter": 2, ' + file_of()[1:], '"format" must be'),
    "users there twice": (file_of()[:-1] + b',\n"users": []}', "line 2: the key users is there twice in one object"),
    "a format there twice": (
        b'{"format": "x",\n' + file_of()[1:],
        "line 2: the key format is there twice in one object",
    ),
    "noise": (b"\x00\x01{[\"'" * 20_000, "line 1: "),
}


@pytest.mark.usefixtures("untouched")
async def test_a_problem_is_named_by_line_and_key_and_rejects_everything(store: SettingsStore, db: Connection) -> None:
    wrong = {}
    for name, (data, problem) in PROBLEMS.items():
        lines = await rejection(store, data)
        if len(lines) != 1 or problem not in lines[0] or len(lines[0]) > 300:
            wrong[name] = [line[:300] for line in lines]
    assert wrong == {}


@pytest.mark.usefixtures("untouched")
async def test_a_file_cut_at_any_byte_is_rejected(store: SettingsStore) -> None:
    whole = file_of(person(name="김", settings={"params": {"leverage": 3, "롱": [1.5, None, "\n"]}}))
    for end in range(len(whole)):
        lines = await rejection(store, whole[:end])
        assert len(lines) == 1
        assert lines[0].startswith("line ")


@pytest.mark.usefixtures("untouched")
async def test_noise_anywhere_in_a_file_is_taken_or_rejected(store: SettingsStore) -> None:
    whole = file_of(person(settings={"params": {"leverage": 3}}))
    outcomes = Counter[bool]()
    for at in range(0, len(whole), 4):
        for noise in (b"hunter2", b"\xff", b"}", b"\\u0000"):
            try:
                await export.import_users(store, whole[:at] + noise + whole[at + 1 :], dry_run=True)
            except ImportRejected:
                outcomes[False] += 1
            else:
                outcomes[True] += 1
    assert outcomes[False] > 10 * outcomes[True]


@pytest.mark.usefixtures("untouched")
async def test_all_problems_are_told_by_line_up_to_fifty(store: SettingsStore) -> None:
    people = [person(uid, settings={"params": {"leverage": 0, "direction": "x"}}, z=1) for uid in UIDS]
    lines = await rejection(store, file_of(*reversed(people)))
    numbers = [int(line.split(":")[0].removeprefix("line ")) for line in lines[:50]]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 50
    assert lines[50:] == ["and 40 more"]


@pytest.mark.usefixtures("untouched")
async def test_a_telegram_id_of_somebody_else_is_rejected(store: SettingsStore) -> None:
    lines = await rejection(store, file_of(person(OTHER, telegram_id=TELEGRAM_ID)))
    assert lines == [f"line 5: {OTHER}, telegram_id: is linked to another user"]


@pytest.mark.usefixtures("untouched")
async def test_a_telegram_id_there_twice_is_rejected_and_on_a_dry_run_too(store: SettingsStore) -> None:
    data = file_of(person(OTHER, telegram_id="123456"), person(UIDS[1]), person(UIDS[2], telegram_id="123456"))
    for dry_run in (True, False):
        with pytest.raises(ImportRejected) as error:
            await export.import_users(store, data, dry_run=dry_run)
        assert (error.value.detail or "").splitlines() == [f"line 14: {UIDS[2]}, telegram_id: is there twice"]


@pytest.mark.usefixtures("untouched")
async def test_a_name_that_is_no_name_cant_fill_the_screen(store: SettingsStore) -> None:
    """Keys are named as they can be read: short and in one line."""
    for key in ("x" * 100_000, "a\nb", "a\x1b[2Jb", "a\ud800b"):
        text = json.dumps({key: 1})[1:-1]
        for data in (
            second_user(**{json.dumps(key)[1:-1]: "1"})
            if "\ud800" not in key
            else broken("{" + text + "," + text + "}"),
            broken(f'{{"okx_uid": "{OKX_UID}", "settings": {{{text}}}}}') if "\ud800" not in key else b"",
            broken("{" + text + ", " + text + "}"),
            broken(f'{{"okx_uid": {json.dumps(key)}}}'),
            broken(f'{{"okx_uid": {json.dumps(key)}}}, {{"okx_uid": {json.dumps(key)}}}'),
        ):
            lines = await rejection(store, data)
            for line in lines:
                assert line.isprintable()
                assert line.startswith("line ")
                assert len(line) < 300


async def test_a_telegram_id_swapped_between_two_users_is_rejected_as_a_whole(
    store: SettingsStore, db: Connection
) -> None:
    await store.register(OTHER, "111111")
    await store.register(UIDS[1], "222222")
    lines = await rejection(store, file_of(person(OTHER, telegram_id="222222"), person(UIDS[1], telegram_id="111111")))
    assert [line.split(", ")[1] for line in lines] == ["telegram_id: is linked to another user"] * 2
    rows = fetch(db, "select telegram_id from app_users order by okx_uid")
    assert [row["telegram_id"] for row in rows] == ["111111", "222222"]


async def test_a_problem_in_sql_refuses_the_whole_list(db: Connection) -> None:
    users = [person(OTHER, settings={"params": {}}), person(settings={"params": {"leverage": SECRET}})]
    for bad in (users, {"okx_uid": OTHER}, [person(OTHER), "x"], [person(OTHER), person(x=1)]):
        with pytest.raises(psycopg.Error) as error:
            fetch(db, "select from import_users(%s::jsonb)", (json.dumps(bad),))
        assert error.value.sqlstate == "US003"
        assert SECRET not in str(error.value)
    assert fetch(db, "select from app_users") == []


async def test_a_store_that_is_not_migrated_is_said_once_and_not_of_every_user(
    config: Config, empty_database_url: str
) -> None:
    async with SettingsStore(replace(config, database_url=empty_database_url)) as empty:
        with pytest.raises(NotMigrated):
            await export.import_users(empty, file_of(person(), person(OTHER)))


async def test_a_byte_order_mark_and_line_ends_of_windows_are_taken(store: SettingsStore, db: Connection) -> None:
    data = file_of(person(settings={"params": {"leverage": 3}})).replace(b"\n", b"\r\n")
    await export.import_users(store, b"\xef\xbb\xbf" + data)
    assert saved_texts(db, OKX_UID) == {"params": '{"leverage": 3}'}
    lines = await rejection(store, b"\xef\xbb\xbf" + data.replace(b" 3", b" 0"))
    assert lines[0].startswith("line 6: ")
