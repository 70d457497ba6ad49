"""Rules of the feed; see checker.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.consistency.truth import Key, Truth
from tests.consistency.violation import Violation, broken

NO_SETTINGS = ("user", "telegram", "api_keys")


def check(truth: Truth) -> Iterator[Violation]:
    fed: dict[int, dict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    for change in truth.history.fed:
        fed[change.watcher][change.owner, change.kind].append(change.version)
    for reader in {change.watcher for change in truth.history.watched} | fed.keys():
        found = fed[reader]
        for key in found.keys() | truth.chains.keys():
            if key[1] not in NO_SETTINGS:
                lives = [[row.version for _, row in life] for life in truth.chains[key].lives()]
                if not _is_told(found[key], lives):
                    yield broken("feed", f"reader {reader} got versions {found[key]} of {key}, there were {lives}")


def _is_told(versions: list[int], lives: list[list[int]]) -> bool:
    """Tell whether these are the versions of the last life, behind some of those that an erasure has ended."""
    *ended, last = lives
    cut = len(versions) - len(last)
    if cut < 0 or versions[cut:] != last:
        return False
    before = iter(ended)
    parts: list[list[int]] = []
    for version in versions[:cut]:
        if version == 1:
            parts.append([])
        if not parts:
            return False
        parts[-1].append(version)
    return all(any(life[: len(part)] == part for life in before) for part in parts)
