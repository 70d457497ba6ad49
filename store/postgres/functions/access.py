"""The SQL functions of access, as statements with parameters. No I/O here."""

from __future__ import annotations

from store.postgres.call import Call, _read


def check_confinement(okx_uid: str | None) -> Call:
    return _read("r", "check_confinement", okx_uid=okx_uid)
