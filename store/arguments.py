"""Checks of what callers pass: a wrong type gets a clear error before it gets anywhere."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from store.errors import BadIdentifier, InvalidArgument, StoreError
from store.mirror.keys import OKX_UID, TELEGRAM_ID

MOST = 2**31 - 1  # what PostgreSQL counts to
MOST_MONEY = 10**30  # what the columns of amounts take
_WHOLE = re.compile("-?[0-9]+")
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def is_plain_number(text: str, is_whole: bool) -> bool:
    """Tell whether a text is a number as people write it. Python reads more: nan, 1e400, 1_000, full-width digits."""
    return (_WHOLE if is_whole else _NUMBER).fullmatch(text) is not None


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


def symbol_or_none(value: object) -> str | None:
    """Refuse what can't be a symbol, before PostgreSQL says which there are. Raises InvalidArgument."""
    return None if value is None else line(value, "a symbol", InvalidArgument)


def count_or_none(value: object, what: str) -> int | None:
    """Refuse an argument that isn't a number PostgreSQL can count to. Raises InvalidArgument."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST):
        raise InvalidArgument(f"{what} must be a whole number from 0 to {MOST}")
    return value


def count(value: object, what: str) -> int:
    """Refuse an argument that isn't a number PostgreSQL can count to. Raises InvalidArgument."""
    number = count_or_none(value, what)
    if number is None:
        raise InvalidArgument(f"{what} must be a whole number from 0 to {MOST}")
    return number


def amount_or_none(value: object, what: str) -> Decimal | None:
    """Refuse an argument that isn't an amount of money: a Decimal, int, float or text. Raises InvalidArgument."""
    if value is None:
        return None
    is_number = isinstance(value, Decimal | int | float) and not isinstance(value, bool)
    if is_number or (isinstance(value, str) and is_plain_number(value, is_whole=False)):
        with suppress(InvalidOperation, ValueError):
            amount = Decimal(str(value))
            if abs(amount) < MOST_MONEY:
                return amount
    raise InvalidArgument(f"{what} must be an amount below 1e30")


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
