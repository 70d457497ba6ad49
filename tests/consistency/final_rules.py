"""Rules of the end: both stores, compared by nobody's code but this; see checker.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.consistency.truth import Truth
from tests.consistency.violation import Violation, broken

FIELDS = re.compile(r"(user|telegram|telegram_id|[a-z_]+(:[A-Z0-9-]+)?)(:updated_at|:digest)?")
LEFT = re.compile(r"[0-9]*|[0-9:T.+-]+|[0-9a-f]{40}")  # of an erased person's mirror hash: versions, times, digests


def check(truth: Truth) -> Iterator[Violation]:
    for found in truth.history.notes.get("violations", ()):
        yield broken(*found)
    for difference in differences(truth.history.final):
        yield broken("equal", difference)


def differences(final: dict[str, Any]) -> list[str]:
    """Compare what Redis should hold, by PostgreSQL's tables, with what it holds."""
    due = _due(final)
    there = {key: value for key, value in final["redis"].items() if not key.endswith(":mirror")}
    found = []
    for key in sorted(due.keys() | there.keys()):
        value: Any = there.get(key)
        if key not in there:
            found.append(f"{key} isn't in Redis")
        elif key not in due:
            found.append(f"{key} is in Redis")
        elif (json.loads(value) if key.endswith(":settings") else _plain(value)) != due[key]:
            found.append(f"{key}: PostgreSQL has {due[key]}, Redis {value}")
    for key, fields in final["redis"].items():
        owner = key.split(":")[1]
        if not key.endswith(":mirror"):
            continue
        telegram = fields.get("telegram_id", "") if isinstance(fields, dict) else "?"
        if telegram != (final["users"].get(owner) or ""):
            found.append(f"{key} says the Telegram ID is {telegram or 'none'}")
        if owner not in final["users"] and len(owner) >= 16:
            found += [f"{key} still has {name}" for name, value in fields.items() if not _is_left(name, value)]
    return found


def _due(final: dict[str, Any]) -> dict[str, Any]:
    due: dict[str, Any] = {}
    for name, document in final["documents"].items():
        owner, kind = name.split(" ")
        own, _, symbol = kind.partition(":")
        suffix = final["suffixes"][own]
        if document:  # an empty hash is no key
            due[f"user:{owner}:{f'symbol:{symbol}:{suffix}' if symbol else suffix}"] = document
    for owner, _, is_active, is_deleted, fields in final["credentials"]:
        if is_active and not is_deleted:
            due[f"user:{owner}:api:keys"] = fields
    for owner, telegram in final["users"].items():
        if telegram:
            due[f"user:{telegram}:okx_uid"] = owner
    return due


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _word(text) for name, text in value.items()}


def _word(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_left(name: str, value: str) -> bool:
    return name == "life" or (FIELDS.fullmatch(name) is not None and LEFT.fullmatch(value) is not None)
