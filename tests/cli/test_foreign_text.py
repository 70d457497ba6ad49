"""What other people wrote steers no terminal and forges no line, wherever it is shown; JSON stays JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import Cli, Result
from tests.conftest import OKX_UID

STEERING = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
HOSTILE = "\x1b]0;x\x07\x9b2J\u202e\u2028\r\nError: forged\x85"
BEGIN = (
    "okx_uid,symbol,side,entry_time,entry_price,entry_size,exit_time,exit_price,exit_size,realized_pnl,exit_order_id"
)
ROW = f"{OKX_UID},BTC,long,2026-11-22T10:00Z,1,1,2026-11-22T11:00Z,2,1,1,1"
FILES = {
    "key": json.dumps({HOSTILE: "a\0b"}),
    "twice": f'{{{json.dumps(HOSTILE)}: 1, {json.dumps(HOSTILE)}: 2}}',
    "similar": json.dumps({"leverage\x9b": 1}),
    "import": json.dumps({"format": "settings-store export", "version": 1, "users": [{"okx_uid": HOSTILE}]}),
    "header": f'{BEGIN},"{HOSTILE}"\n{ROW},1\n',
    "lines": json.dumps({**dict(zip(BEGIN.split(","), ROW.split(","), strict=True)), HOSTILE: 1}),
}  # fmt: skip
WRONG = (
    ["set", OKX_UID, "params", "--file", "key"], ["set", OKX_UID, "params", "--file", "twice"],
    ["import", "import"], ["trades", "import", "header"], ["trades", "import", "lines"],
    ["trades", "add", OKX_UID, f"{HOSTILE}=1"], ["get", HOSTILE], ["get", OKX_UID, HOSTILE],
    ["get", OKX_UID, "p", HOSTILE],
    [HOSTILE], ["get", f"--{HOSTILE}"], ["get", OKX_UID, "--source", HOSTILE], ["template", "show", HOSTILE],
    ["set", OKX_UID, "params", "--file", HOSTILE], ["backup", f"{HOSTILE}/x"], ["--env-file", HOSTILE, "status"],
)  # fmt: skip


def is_plain(done: Result) -> bool:
    errors = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    return not STEERING.search(done.out + done.err) and len(errors) == (done.code != 0)


def test_errors_show_it_in_one_line(inside: Cli, kim: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    for words in WRONG:
        done = inside.run(*(str(tmp_path / word) if word in FILES else word for word in words))
        assert done.code, words
        assert is_plain(done), (words, done)


def test_notes_lists_and_json_show_it_in_one_line(inside: Cli, kim: str, tmp_path: Path) -> None:
    text = HOSTILE + "\U000e0041"
    similar = inside.run("set", kim, "params", "--stdin", stdin=FILES["similar"])
    assert "Did you mean leverage?" in similar.err
    (tmp_path / "note").write_text(json.dumps({"note": text, text: 1}), encoding="utf-8")
    done = [
        similar, inside("set", kim, "params", "--file", str(tmp_path / "note"), "--reason", text.replace("\r\n", " ")),
        *(inside.run(*words.split()) for words in (
            f"get {kim} params", f"get {kim} params --json", f"history {kim}", f"history {kim} --json",
            f"diff {kim} params 2 3", f"export {kim}", "search params leverage\x9b=1",
        )),
    ]  # fmt: skip
    assert [each for each in done if not is_plain(each)] == []
    assert inside("get", kim, "params", "--json").json["settings"]["note"] == text
    (tmp_path / "export").write_text(inside("export", kim).out, encoding="utf-8")
    assert inside("import", str(tmp_path / "export"), "--json").json["documents"] == {"unchanged": 3}
