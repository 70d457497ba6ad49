"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass

from tests.consistency.history import ENDLESS, Op


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule, and by what."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def broken(rule: str, what: str, op: Op | None = None) -> Violation:
    """Say which rule a call has broken."""
    if op is None:
        return Violation(rule, what)
    took = "no end" if op.end == ENDLESS else f"{(op.end - op.start) / 1e6:.1f} ms"
    return Violation(rule, f"{what}: call {op.id} {op.f} {op.args} at {op.start} ({took}) -> {op.outcome} {op.result}")
