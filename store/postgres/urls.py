"""Connection strings: libpq's, and URLs as SQLAlchemy has them, with a driver behind the scheme."""

from __future__ import annotations

import math
import re
from urllib.parse import parse_qs

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store.arguments import is_plain_number

_SQLALCHEMY = re.compile(r"(?P<scheme>postgres(?:ql)?)\+\w+(?P<where>://[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[.*\]|[^:]*)(?::(?P<port>\d*))?")
_SAME = {"ssl": "sslmode", "timeout": "connect_timeout", "database": "dbname"}  # asyncpg's names, and libpq's

# How a client prepares statements. The store knows by itself whether it may: see store/postgres/database.py.
_PREPARING = {
    "max_cacheable_statement_size", "max_cached_statement_lifetime", "prepare_threshold",
    "prepared_statement_cache_size", "prepared_statement_name_func", "statement_cache_size",
}  # fmt: skip


class UnknownParameters(ValueError):
    """The names of parameters that libpq has no equivalent of."""


def to_libpq(url: str) -> str:
    """Return a connection string as libpq takes it. Raises ValueError, UnknownParameters, which quote no values."""
    try:
        libpq = _translate(url)
        found = conninfo_to_dict(libpq)
    except psycopg.Error:
        raise ValueError("not a connection string") from None
    numbers = [*str(found.get("port") or "").split(","), str(found.get("connect_timeout") or "")]
    if not all(is_plain_number(number, True) for number in numbers if number):
        raise ValueError("a port or a timeout is no number")
    if "@" in str(found.get("host")):  # the rest of a password that wasn't percent-encoded; libpq would show it
        raise ValueError("a host can't hold an @")
    return libpq


def _translate(url: str) -> str:
    found = _SQLALCHEMY.fullmatch(url)
    if found is None:
        return url
    if "@" in (found["query"] or ""):  # the rest of a password with a ? in it
        raise ValueError("a parameter can't hold an @ that isn't percent-encoded")
    given = {_SAME.get(name, name): values for name, values in parse_qs(found["query"] or "").items()}
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    if unknown := given.keys() - known - _PREPARING:
        raise UnknownParameters(", ".join(sorted(unknown)))
    parameters = {name: values[-1] for name, values in given.items() if name in known}
    if "host" in given:
        parameters |= _hosts(given["host"], parameters.get("port"))
    if is_plain_number(seconds := parameters.get("connect_timeout", ""), False):
        parameters["connect_timeout"] = str(math.ceil(float(seconds)))
    return make_conninfo(found["scheme"] + found["where"], **parameters)


def _hosts(given: list[str], ports: str | None) -> dict[str, str]:
    """Put hosts, each perhaps with its port, into libpq's two lists."""
    hosts = [_HOST.fullmatch(host) for value in given for host in value.split(",")]
    if None in hosts:
        raise ValueError("not a host")
    found = {"host": ",".join(host["host"].strip("[]") for host in hosts if host)}
    if any(host and host["port"] for host in hosts):
        return {**found, "port": ",".join(host["port"] or "" for host in hosts if host)}
    return {**found, **({"port": ports} if ports else {})}
