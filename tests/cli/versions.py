"""The versions of a document, as the command line tells them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.cli.conftest import Cli


def versions(inside: Cli, uid: str, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inside.run("history", uid, *words, "--json").json
    return found


def saved_at(inside: Cli, uid: str, version: int, kind: str = "params") -> datetime:
    (found,) = [each for each in versions(inside, uid, kind) if each["version"] == version]
    return datetime.fromisoformat(found["saved_at"])
