"""Every command with hostile words in every argument and option: done, or one clear error and nothing written.

The commands are those of the click tree: a new one, or a new option, is covered as soon as it is there.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from store.encryption.vault import generate_key
from tests.cli.conftest import Cli, Result
from tests.cli.test_foreign_text import HOSTILE as FOREIGN
from tests.cli.test_foreign_text import STEERING
from tests.cli.test_help import COMMANDS
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import HUGE, NOBODY, SECRET, TEXTS

Db = psycopg.Connection[dict[str, Any]]

# click doesn't close a file it has opened if it refuses a later word.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:unclosed file:ResourceWarning", "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
    ),
]

EXAMPLES = 8  # a command
PLOTLY = get_plotlyjs()  # which a report has in it
ELSEWHERE = {
    "psql": "becomes another program",
    "redis-cli": "becomes another program",
    "demo": "takes no arguments, and minutes",
    "embedded start": "takes no arguments",
    "embedded stop": "takes no arguments",
    "embedded status": "takes no arguments",
    "watch": "runs until it is stopped; its identifier: below",
    "changes": "with --follow runs until it is stopped; its words: test_changes.py",
    "migrate rollback": "takes the tables away",
}
ALWAYS = {"relay": ["--once"]}  # else it runs until it is stopped
LEAVES = {
    " ".join(path): command
    for path, command in COMMANDS.items()
    if not isinstance(command, click.Group) and " ".join(path) not in ELSEWHERE
}


class Long(str):
    """Text that a failing test doesn't print."""

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


class LongBytes(bytes):
    """The same of bytes."""

    def __repr__(self) -> str:
        return f"<{bytes(self[:60])!r} and so on, {len(self)} bytes>"


# No NUL: the system passes on none. What isn't UTF-8 comes as surrogates.
WORDS = [TEXTS[name] for name in TEXTS if name not in ("nul", "surrogate", "huge")] + [
    Long("x" * 120_000), "\udcff\udcfe", FOREIGN, "-", "--", "-x", "--yes", "..", ".", "[bold]", "=", "a=", "=1",
    "__proto__=1", "$=1", "a.b={}", "0", "-1", Long("9" * 400), "1e999", "NaN", "0001-01-01",
    "9999-12-31T23:59:59", "now",
]  # fmt: skip
HOSTILE = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), max_size=9
)
USUAL = {
    "identifier": [OKX_UID, TELEGRAM_ID, NOBODY], "okx_uid": [OKX_UID, NOBODY], "identifiers": [OKX_UID],
    "setting_type": ["params", "dual_side"], "telegram_id": [TELEGRAM_ID, "99999"], "name": ["careful", "default"],
    "pairs": ["leverage=20", "leverage=3"], "version": ["1"], "a": ["1"], "b": ["1"], "template": ["default"],
    "path": ["file"], "file": ["file", "-"], "output": ["out"], "keep": ["1"], "older_than": ["0"],
    "source": ["redis", "db", OKX_UID], "prefer": ["redis", "db"], "expect_version": ["1"], "limit": ["1"],
    "timeframe": ["1m"], "from_timeframe": ["1m"], "to_timeframe": ["1h"], "symbol": ["BTC-USDT-SWAP"],
    "from_": ["2026-01-01"], "to": ["2026-01-02"],
}  # fmt: skip
DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
FILES = [LongBytes(content) for content in [
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"leverage": 20}', DEEP, b"[" * 100_000,
    b'{"a": "' + b"x" * HUGE + b'"}',
    rb'{"\u0000": 1}', rb'{"\ud800": 1}', b'{"": 1, "__proto__": {"a": 1}, "$": 1, "a.b": 1, "{0.__class__}%s%n": 1}',
    b'{"api_key": "a", "api_secret": "b", "passphrase": "' + SECRET.encode() + b'"}', b"PK\x03\x04" + b"\0" * 100,
    b'{"format": "settings-store export", "version": 1, "users": [{"okx_uid": "user:*"}]}',
    b'{"symbol": "S", "side": "long", "entry_time": "2026-11-22T10:00Z", "entry_price": 1, "entry_size": 1,'
    b' "exit_size": 1, "exit_time": "2026-11-22T11:00Z", "exit_price": 1, "realized_pnl": 1,'
    b' "exit_order_id": "1", "okx_uid": "' + OKX_UID.encode() + b'"}',
    b'{"format": "settings-store export", "version": 1, "users": [' + DEEP + b"]}",
    b'{"format": "settings-store export", "version": 1, "users": [1, null, [], {"settings": {"params": []}}]}',
    b'{"format": "settings-store export", "version": 1, "users": [{"okx_uid": "' + OKX_UID.encode()
    + b'", "settings": {"params": {"' + b"k" * HUGE + b'": 1}}}]}',
]]  # fmt: skip


@st.composite
def lines(draw: st.DrawFn, path: str, command: click.Command) -> list[str]:
    """Make a command line: of each parameter nothing, something usual, or something hostile."""
    words, rest = [*path.split(), *ALWAYS.get(path, [])], []
    for parameter in command.params:
        usual = st.sampled_from(USUAL.get(parameter.name or "", ["1"]))
        word = st.one_of(usual, usual, HOSTILE)
        if isinstance(parameter, click.Argument):
            count = draw(st.sampled_from([1, 1, 1, 0 if not parameter.required else 1]))
            rest += [draw(word) for _ in range(draw(st.integers(0, 2)) if parameter.nargs == -1 else count)]
        elif parameter.is_flag:  # type: ignore[attr-defined]
            words += [parameter.opts[-1]] if draw(st.booleans()) else []
        elif parameter.required or draw(st.booleans()):
            words += [parameter.opts[-1], draw(word)]
    return [*words, *(["--"] if draw(st.booleans()) else []), *rest]


def everything(db: Db, redis: redis_py.Redis, folder: Path) -> list[Any]:
    """What both stores and the folder hold."""
    tables = (
        "app_users", "user_settings", "telegram_links", "setting_templates", "okx_api_info", "mirror_pending", "trades",
        "ohlcv_1m", "ohlcv_1h",
    )  # fmt: skip
    rows = [db.execute(f"select t::text from {table} t order by 1").fetchall() for table in tables]
    return [*rows, {key: redis.dump(key) for key in redis.scan_iter("user:*")}, sorted(os.listdir(folder))]


def is_in_order(result: Result) -> bool:
    """Whether a command ended as one may: done, findings or nothing found, one error, or a question left open."""
    if "Traceback" in result.err or result.code not in (0, 1, 2, 3):
        return False
    is_error = any(line.startswith("Error: ") for line in result.err.splitlines())
    if result.out.rstrip("\n ").endswith("[y/N]:"):
        result = replace(result, out="")
    return result.is_one_clear_error() if is_error else result.code < 2


@pytest.fixture
def hostile(inside: Cli, redis: redis_py.Redis, tmp_path: Path) -> Cli:
    """The command line, run in an empty folder, with a key for credentials."""
    return replace(
        inside, cwd=tmp_path, env={**inside.env, "SETTINGS_STORE_KEYS": generate_key(), "SETTINGS_STORE_ACTOR": "test"}
    )


@pytest.mark.parametrize("path", LEAVES)
def test_hostile_words_are_refused_in_one_line_or_taken(
    hostile: Cli, db: Db, redis: redis_py.Redis, tmp_path: Path, path: str
) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(lines(path, LEAVES[path]), st.sampled_from(FILES))
    def attack(words: list[str], content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        before = everything(db, redis, tmp_path)
        result = hostile.run(*words, stdin=content)
        told = f"{words!r:.500} {content[:80]!r}: {result.code} {result.out[:300]} {result.err[-800:]}"
        assert is_in_order(result), told
        assert len(result.err) < 10_000 + max(map(len, words)), told  # it may repeat a word, but not a file
        assert SECRET not in result.err, told
        out = result.out.replace(PLOTLY, "")
        is_data = "--csv" in words or "[y/N]:" in result.out  # which shows the answer
        assert not STEERING.search(result.err.replace("\t", "") + ("" if is_data else out)), told
        if "Error: " in result.err:
            assert everything(db, redis, tmp_path) == before, told
        for name in set(os.listdir(tmp_path)) - {"file"}:
            assert path in ("export", "backup", "report", "candles export"), told
            (tmp_path / name).unlink()

    hostile("register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    attack()


@pytest.mark.parametrize("words", ["user delete 1000000000000001", "user erase 1000000000000001",
                                   "restore-backup file --replace", "keys set 1000000000000001"])  # fmt: skip
def test_an_answer_that_is_not_utf_8_is_refused(hostile: Cli, words: str) -> None:
    result = hostile.run(*words.split(), stdin=b"\xff\xfe")
    assert result.code == 1
    assert "Error: the answer is not UTF-8 text" in result.err


@pytest.mark.parametrize("command", ["delete", "erase"])
def test_a_question_shows_no_identifier_that_could_deceive(hostile: Cli, command: str) -> None:
    for word in ("\udcff", "\u202e1", "\x1b[2J", "1\n2"):
        assert "control characters" in hostile.fails(1, "user", command, word)


def test_a_file_may_have_a_name_that_is_not_utf_8(hostile: Cli, tmp_path: Path) -> None:
    assert "wrote" in hostile("backup", "\udcff.zip").out
    assert "wrote" in hostile.run("export", "--all", "-o", "\udcff.json").err
    assert len(os.listdir(tmp_path)) == 2


def test_an_export_of_nobody_prints_nothing_but_the_error(hostile: Cli) -> None:
    for word in ("user:*", NOBODY, "\udcff"):
        hostile.fails(1, "export", OKX_UID, word)
