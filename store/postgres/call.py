"""How a call of an SQL function becomes a statement with parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from store.arguments import text_or_none

# Who writes and why, whether the caller brings it to Redis, and how long to wait for others, set in the statement that
# writes, for its transaction only. The function takes its identifier from here: by that dependency the settings are
# made before it runs.
WRITER = """(
    select %(identifier)s::text as identifier,
           set_config('settings_store.actor', %(actor)s, true), set_config('settings_store.reason', %(reason)s, true),
           set_config('settings_store.mirrors', %(mirrors)s, true),
           set_config('lock_timeout', coalesce(nullif(%(lock_timeout)s, ''), current_setting('lock_timeout')), true)
    offset 0) writer cross join lateral """

# The same for what was read in Redis, with how many people had been erased before that.
IMPORTER = WRITER.replace("offset 0", "     , set_config('settings_store.erasures', %(erasures)s, true)\n    offset 0")


@dataclass(frozen=True, slots=True)
class Call:
    """A statement and its parameters, which no repr shows: they hold settings."""

    query: str
    params: Mapping[str, Any] = field(repr=False)

    @property
    def is_patient(self) -> bool:
        """Tell whether it can be said how long the statement waits for others' locks."""
        return "lock_timeout" in self.params

    def by(self, actor: str | None, reason: str | None) -> Call:
        """Say who writes and why."""
        who = {"actor": text_or_none(actor, "actor") or "", "reason": text_or_none(reason, "reason") or ""}
        return replace(self, params={"mirrors": "", **self.params, **who})

    def mirrored(self) -> Call:
        """Say that the caller brings to Redis what this saves: no relay needs to be told."""
        return replace(self, params={**self.params, "mirrors": "on"})


def _read(columns: str, function: str, **arguments: Any) -> Call:
    """Call a function by its arguments' names, without the p_ of its parameters."""
    named = ", ".join(f"p_{name} => %({name})s" for name in arguments)
    return Call(f"select {columns} from public.{function}({named}) r", arguments)


def _write(columns: str, function: str, first: str, identifier: str | None, **arguments: Any) -> Call:
    """Call a function that writes, with who and why to be said by Call.by().

    `first`: the parameter that takes the identifier, with a cast if it isn't text.
    """
    name, cast = first.split("::") if "::" in first else (first, "text")
    named = "".join(f", p_{name} => %({name})s" for name in arguments)
    query = f"select {columns} from {WRITER}public.{function}(p_{name} => writer.identifier::{cast}{named}) r"
    return Call(query, {"identifier": identifier, "lock_timeout": "", **arguments}).by(None, None)


def _import(columns: str, function: str, items: str, erasures: int | None, **arguments: Any) -> Call:
    """Call a function that takes over what was read in Redis (`items`, JSON) when so many had been erased."""
    named = "".join(f", p_{name} => %({name})s" for name in arguments)
    query = f"select {columns} from {IMPORTER}public.{function}(p_items => writer.identifier::jsonb{named}) r"
    params = {"identifier": items, "lock_timeout": "", "erasures": seen(erasures), **arguments}
    return Call(query, params).by(None, None)


def seen(erasures: int | None) -> str:
    """Write a count of erasures as a setting; None: not to be checked."""
    return "" if erasures is None else str(erasures)
