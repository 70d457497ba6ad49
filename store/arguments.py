"""Checks of what callers pass: a wrong type gets a clear error before it gets anywhere."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from store.errors import BadIdentifier, InvalidArgument, StoreError, document_error
from store.mirror.keys import OKX_UID, TELEGRAM_ID


def json_text(document: object) -> str:
    """Write a document as JSON. Raises InvalidSettings for what JSON can't hold."""
    problem = "must hold only objects with text keys, arrays, strings, finite numbers, true, false, null"
    try:
        if _has_text_keys(document):
            text = json.dumps(document, allow_nan=False, ensure_ascii=False)
            text.encode()
            return text
    except UnicodeEncodeError:
        problem = "must not contain a lone surrogate"
    except RecursionError:
        problem = "must be nested at most 64 levels deep"
    except (TypeError, ValueError):
        pass
    raise document_error(problem)  # out here, where nothing that quotes the document is its context


def _has_text_keys(value: object) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return False
    return all(map(_has_text_keys, [member for member in members if isinstance(member, dict | list | tuple)]))


def line(value: object, what: str, error: type[StoreError]) -> str:
    """Refuse an argument that isn't a plain line of text. Raises `error`."""
    if not isinstance(value, str):
        raise error(f"{what} must be a string, not {type(value).__name__}")
    if not value.isprintable():
        raise error(f"{what} must not contain control characters")
    return value


def check_okx_uid(value: str) -> None:
    """Refuse what isn't an OKX UID. Raises BadIdentifier."""
    if not OKX_UID.fullmatch(value):
        raise BadIdentifier("not an OKX UID", hint="An OKX UID has 16-20 digits.")


def check_telegram_id(value: str) -> None:
    """Refuse what isn't a Telegram ID. Raises BadIdentifier."""
    if not TELEGRAM_ID.fullmatch(value):
        raise BadIdentifier("not a Telegram ID", hint="A Telegram ID has 5-15 digits.")


def text_or_none(value: object, what: str) -> str | None:
    """Refuse an argument that isn't text. Raises InvalidArgument."""
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"{what} must be a string, not {type(value).__name__}")
    return value


def count_or_none(value: object, what: str) -> int | None:
    """Refuse an argument that isn't a number PostgreSQL can count to. Raises InvalidArgument."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31):
        raise InvalidArgument(f"{what} must be a whole number from 0 to 2147483647")
    return value


def count(value: object, what: str) -> int:
    """Refuse an argument that isn't a number PostgreSQL can count to. Raises InvalidArgument."""
    number = count_or_none(value, what)
    if number is None:
        raise InvalidArgument(f"{what} must be a whole number from 0 to 2147483647")
    return number


def time(value: object, what: str) -> datetime:
    """Refuse an argument that isn't a moment: a datetime with a time zone. Raises InvalidArgument."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidArgument(f"{what} must be a datetime with a time zone")
    return value


def span(value: object, what: str) -> timedelta:
    """Refuse an argument that isn't a length of time. Raises InvalidArgument."""
    if not isinstance(value, timedelta):
        raise InvalidArgument(f"{what} must be a timedelta")
    return value


def flag(value: object, what: str) -> bool:
    """Refuse an argument that isn't True or False. Raises InvalidArgument."""
    if not isinstance(value, bool):
        raise InvalidArgument(f"{what} must be True or False")
    return value


def version_or_none(value: object) -> int | None:
    """Refuse an expected_version that isn't one. Raises InvalidArgument."""
    return count_or_none(value, "expected_version")
