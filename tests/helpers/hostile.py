"""What a caller, or someone behind a caller, might send in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

SECRET = "hunter2-secret"
NOBODY = "1000000000000001"
HUGE = 3_000_000  # characters: more than a document may have, and than a message should

TEXTS = {
    "quotes": "'\"`;--",
    "sql": "'; drop table user_settings; --",
    "dollar": "$$; select 1; $$",
    "resp": "x\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "glob": "user:*[a-z]?",
    "format": "{0} {id} {suffix} {0.__class__}",
    "percent": "%s %(identifier)s %n %%",
    "newline": "a\nb\tc",
    "nul": "a\0b",
    "surrogate": "a\ud800b",
    "rtl": "\u202etxet\u200f",
    "backslash": "\\x00\\'",
    "emoji": "🚀롱숏",
    "empty": "",
    "huge": "x" * HUGE,
}


class Opaque:
    """Something that JSON doesn't know, and whose repr tells a secret."""

    def __repr__(self) -> str:
        return SECRET


# What isn't of the type that a signature asks for.
NOT_TEXT: list[Any] = [1709556958, True, b"params", ["params"], {"a": 1}, {1}, 1.5, Opaque()]


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {"k": SECRET}
    for _ in range(depth):
        document = {"k": document}
    return document


def circular() -> dict[str, Any]:
    document: dict[str, Any] = {"secret": SECRET}
    document["self"] = document
    return document


BAD_VALUES = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "set": {1, SECRET},
    "bytes": SECRET.encode(),
    "object": Opaque(),
    "datetime": datetime(2024, 1, 1, tzinfo=UTC),
    "class": Opaque,
    "beyond a double": 10**400,
    "beyond Python's digits": 10**5000,
    "beyond 1 MiB": "x" * HUGE,
    "nested 100 deep": nested(100),
    "nested 900 deep": nested(900),
    "nested 10,000 deep": nested(10_000),
    "circular": circular(),
    "NUL": f"{SECRET}\0",
    "surrogate": f"{SECRET}\ud800",
    "inner surrogate": {"a": [f"{SECRET}\udfff"]},
}


def told(error: BaseException) -> str:
    """Everything that a log could show of an error and of those behind it."""
    texts, queue = "", [error]
    while queue:
        at = queue.pop()
        texts += f"{at} {at!r} {at.args!r} {getattr(at, 'detail', '')} {getattr(at, 'hint', '')}\n"
        queue += [behind for behind in (at.__cause__, at.__context__) if behind is not None]
    return texts
