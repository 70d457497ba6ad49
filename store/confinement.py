"""Confinement to one user (settings_store.okx_uid), where not PostgreSQL answers but Redis or the cache.

The rule is PostgreSQL's, and holds for whatever is asked there. Redis doesn't know it: a confined store asks Redis for
its user only, and by the OKX UID. A store is confined if its URL or PGOPTIONS says so, or if PostgreSQL does, which
alone knows the settings of roles and databases: it is asked as each connection is made (no round trip more), and once
before the first read. If it is away then, a store whose URL doesn't confine it reads Redis, asks again meanwhile, and
doesn't forget what it was told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping

from store.ending import end
from store.errors import NotPermitted, StoreError

SETTING = "settings_store.okx_uid"
ASK_AGAIN = 1.0  # seconds, at least, after PostgreSQL didn't answer


def told(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Read from a connection string, or PGOPTIONS, whom the sessions are confined to; empty, if it doesn't say."""
    from psycopg.conninfo import conninfo_to_dict

    options = str(conninfo_to_dict(url).get("options", environ.get("PGOPTIONS", "")))
    # As the server splits them: at white space, but for what a backslash goes before.
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", options)]
    text = "\0".join(words)
    found = re.findall(rf"(?:^|\0)(?:-c\0?|--){re.escape(SETTING)}=([^\0]*)", text, re.IGNORECASE)
    return found[-1] if found else ""


def refusal(detail: str = "this is for another user") -> NotPermitted:
    return NotPermitted(
        "this session is confined to one user", detail=detail, hint=f"The session setting {SETTING} names the user."
    )


class Confinement:
    """Whom a store is confined to. `okx_uid`: empty for nobody, None as long as that isn't known."""

    def __init__(self, url: str, ask: Callable[[], Awaitable[object]]) -> None:
        """`ask`: makes a session, which tells learn()."""
        self._told, self._ask = told(url), ask
        self.okx_uid: str | None = self._told or None
        self._question: asyncio.Task[None] | None = None
        self._ask_at = 0.0

    def learn(self, okx_uid: str) -> None:
        """Take what a session says. Raises NotPermitted if it isn't confined though the URL says so: a pooler has
        dropped that, and nothing would hold."""
        if self._told and okx_uid != self._told:
            raise NotPermitted(
                f"PostgreSQL doesn't confine this session, though DATABASE_URL or PGOPTIONS sets {SETTING}",
                hint="A pooler in between drops the options: connect to the server, or set it for the role.",
            )
        self.okx_uid = okx_uid

    async def known(self) -> str:
        """Return whom; empty for nobody, also if PostgreSQL, being away, can't say."""
        if self.okx_uid is None:
            now = asyncio.get_running_loop().time()
            if self._question is None or (self._question.done() and now >= self._ask_at):
                self._question = asyncio.create_task(self._put())
            if not self._ask_at:
                await asyncio.shield(self._question)  # a caller who gives up doesn't take it from the others
        return self.okx_uid or ""

    async def _put(self) -> None:
        with contextlib.suppress(StoreError):  # whoever needs PostgreSQL will be told what is wrong
            await self._ask()
        self._ask_at = asyncio.get_running_loop().time() + ASK_AGAIN

    async def close(self) -> None:
        if self._question is not None:
            await end(self._question)
