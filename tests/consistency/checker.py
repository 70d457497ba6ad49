"""The checker: rules that every history must keep. Linear in the history but for sorting: PostgreSQL's order of
versions, as the ledger has it, is the truth, so nothing has to be searched.

Reads
- content: a document read is, word for word, what its version stored; of Redis, what somebody else wrote there since.
- stale database: a read from PostgreSQL is at least as new as anything any process had been told of before it began.
- stale Redis: a read from Redis is at least as new as what was known to be in Redis before it began (a save that
  returned `mirrored`, an earlier read from there, a message): so reads never go back. While Redis is known to have been
  set back (restored from an older copy) nothing is promised until it is right again, which is waited for.
- stale cache: a hit is what Redis held two seconds ago, or later; and what this store has saved itself.
- absent: a read that finds nothing was made when nothing may have been there; so is an UnknownUser.
- least: with min_version nothing older is returned, and a version that was acknowledged isn't called unknown.
- link: a Telegram ID leads to whom it was linked to, no longer to whom it was taken from; the same rule as for stale.
- telegram_id: a document names the Telegram ID that its owner had.
- credentials: keys read are those that this version of this user's stored; at the end every version can be decrypted.

Writes
- lost: what was acknowledged is in PostgreSQL, as the version and with the content that was said.
- refused: what was refused as a whole isn't in PostgreSQL. (An unknown outcome may be.)
- whole: of the documents that a call saves for many users, all are there or none.
- twice: a call makes one version of a document at most.
- invented: every version was written by somebody who says so.
- expected: a save with expected_version made the version after it, an update that after the one it was made of.
- copied: a rollback has the content of its version, a restored document that from before its deletion.
- gapless: versions count from 1 without a gap, each once.
- history: PostgreSQL has every version since, word for word, and one active row a document, the newest.
- kept: what somebody wrote into Redis is in the history in the end, unless it was overwritten there by other means.

Watching
- watch order: each key's changes come in order, each once, and are versions that there are.
- watch complete: each version that Redis got by itself comes, unless the connection may have broken; at the end the
  newest of every key has come. (Not of a person who was erased and registered again: versions begin anew then.)

The feed
- feed: each version of a document comes once, in their order, and all have come at the end. (Of a person who was erased
  meanwhile as many as were read before.)

Both stores
- equal: at the end Redis holds what PostgreSQL has, no more and no less, by a comparison of our own.
- healing: after Redis was set back it gets right again while a relay runs, within HEALED of the nemesis.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.consistency import feed_rules, final_rules, read_rules, watch_rules, write_rules
from tests.consistency.history import History, load
from tests.consistency.truth import Truth
from tests.consistency.violation import Violation

PERCENTILES = (50.0, 99.0, 99.9, 100.0)


@dataclass
class Verdict:
    """What a check found. `staleness`: seconds by which reads were older than the newest known state, by source."""

    ops: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    staleness: dict[str, list[float]] = field(default_factory=dict)
    changes: int = 0

    def add(self, other: Verdict) -> None:
        self.ops += other.ops
        self.outcomes += other.outcomes
        self.faults += other.faults
        self.violations += other.violations
        self.changes += other.changes
        for source, seconds in other.staleness.items():
            self.staleness.setdefault(source, []).extend(seconds)

    def as_json(self) -> str:
        """Write how many calls there were, and which rules broke how often."""
        return json.dumps({"ops": self.ops.total(), "rules": Counter(found.rule for found in self.violations)})

    def lines(self) -> Iterator[str]:
        """Put it into words."""
        yield f"operations: {self.ops.total()} {dict(self.ops.most_common())}"
        yield f"outcomes: {dict(self.outcomes)}; changes watched: {self.changes}"
        yield f"faults: {self.faults.total()} {dict(self.faults.most_common())}"
        for source, seconds in sorted(self.staleness.items()):
            seconds.sort()
            shares = (
                f"{p:g} %: {seconds[min(int(len(seconds) * p / 100), len(seconds) - 1)]:.3f}" for p in PERCENTILES
            )
            yield f"staleness in s, {len(seconds)} reads from {source}: {', '.join(shares)}"
        yield f"violations: {len(self.violations)} {dict(Counter(found.rule for found in self.violations))}"
        for found in self.violations[:20]:
            yield f"  {found}"


def check(history: History) -> Verdict:
    """Hold a history against every rule."""
    truth = Truth(history)
    verdict = Verdict(
        Counter(op.f for op in history.ops.values()),
        Counter(
            {"": "no answer", "ok": "ok", "no": "refused", "err": "unknown"}[o.outcome] for o in history.ops.values()
        ),
        Counter(fault.name for fault in history.faults),
        changes=len(history.watched),
    )
    for rules in (read_rules, write_rules, watch_rules, feed_rules, final_rules):
        verdict.violations += rules.check(truth)
    verdict.staleness = read_rules.staleness(truth)
    return verdict


def check_folder(folder: Path) -> Verdict:
    """Check a history that was kept: of one round, or of all rounds of a run."""
    verdict = Verdict()
    for part in sorted(folder.glob("round-*")) or [folder]:
        verdict.add(check(load(part)))
    return verdict
