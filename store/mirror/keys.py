"""Names of the Redis keys. An identifier gets into a key only if it is all digits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1

OKX_UID = re.compile(r"[0-9]{16,20}", re.ASCII)
TELEGRAM_ID = re.compile(r"[0-9]{5,15}", re.ASCII)
SYMBOL = re.compile(r"(?=.{3,64}\Z)[A-Z0-9]+(?:-[A-Z0-9]+)+", re.ASCII)
EVERYBODY = "00000000000000000000"  # as everybody_okx_uid() in SQL: whose keys hold what concerns all
PROBE = "00000000000000000001"  # as probe_okx_uid() in SQL: of the relay's probe, which is no user


@dataclass(frozen=True, slots=True)
class Keys:
    """The key template, e.g. `user:{id}:{suffix}`; `user:{{{id}}}:{suffix}` puts the identifier in a hash
    tag, so that all keys of a user share a Redis Cluster slot."""

    template: str

    def of(self, owner: str, suffix: str) -> str:
        """Name the key of an OKX UID or Telegram ID. Raises ValueError for anything but digits."""
        if not (5 <= len(owner) <= 20 and owner.isascii() and owner.isdecimal()):
            raise ValueError("a key is made of an OKX UID or a Telegram ID only")
        return self.template.format(id=owner, suffix=suffix)

    def mirror(self, owner: str) -> str:
        """Name the hash that holds which version of each kind was mirrored."""
        return self.of(owner, "mirror")

    @property
    def digest(self) -> str:
        """Return a short name of the template, for what there is one of for each."""
        return sha1(self.template.encode(), usedforsecurity=False).hexdigest()[:8]

    @property
    def prefix(self) -> str:
        """Return what all keys of this form begin with."""
        return self.template.format(id="\0", suffix="\0").partition("\0")[0]

    def of_pattern(self, suffix: str | None = None, owner: str | None = None) -> str:
        """Return the glob pattern of SCAN for all keys of this form, or those with a suffix of ours, or of an owner."""
        literal = re.sub(r"([*?\\[\]^])", r"\\\1", self.template)
        return literal.format(id=owner or "*", suffix=suffix or "*")

    def parse(self, key: str) -> tuple[str, str] | None:
        """Take a key apart into (owner, suffix); None if it isn't of this form."""
        found = _form(self.template).fullmatch(key)
        return (found["owner"], found["suffix"]) if found else None


@cache
def _form(template: str) -> re.Pattern[str]:
    pattern = re.escape(template.format(id="\0", suffix="\1")).replace("\0", "(?P<owner>[0-9]{5,20})", 1)
    return re.compile(pattern.replace("\1", "(?P<suffix>.+)"), re.ASCII | re.DOTALL)
