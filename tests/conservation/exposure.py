"""How long the approval of a line had been gone when the ERP accepted it: from delivery's own history and the
ERP's own log of writes (rule 27).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from tests.conservation.vendor import EXPENSE_SOURCE, REVERSES, SOURCE, Row, split_key

LIMIT = 5.0
"""Seconds."""


@dataclass
class Exposure:
    """Lines that were accepted without a standing approval."""

    sent: int = 0
    """Lines that the ERP accepted as cost."""
    exposed: list[tuple[str, float]] = field(default_factory=list)
    """(source, seconds since its approval had gone)."""
    never: list[str] = field(default_factory=list)
    """Lines that had never been approved."""

    @property
    def longest(self) -> float:
        """Seconds; 0 where nothing was exposed."""
        return max((seconds for _, seconds in self.exposed), default=0.0)

    @property
    def violations(self) -> list[str]:
        """Lines that should not have been sent."""
        late = [f"{source}: approval gone for {gone:.2f} s" for source, gone in self.exposed if gone > LIMIT]
        return [*late, *(f"{source}: never approved" for source in self.never)]


def exposure(writes: Iterable[Row], approvals: Mapping[str, Mapping[str, Sequence[Row]]]) -> Exposure:
    """Every accepted cost line against the history of its approval.

    Args:
        writes: the ERP's accepted writes.
        approvals: delivery's history of approvals by record type (``time_entries``, ``expenses``) and id.
    """
    found = Exposure()
    for write in writes:
        if write["operation"] != "create" or write["type"] not in ("timeBill", "expenseReport"):
            continue
        body = write["body"]
        if body.get(REVERSES):
            continue
        source, _ = split_key(str(body.get(SOURCE) or body.get(EXPENSE_SOURCE) or ""))
        _, type_, id_ = source.split("/")
        found.sent += 1
        accepted = datetime.fromisoformat(write["accepted_at"])
        before = [
            row for row in approvals[type_].get(id_, ()) if datetime.fromisoformat(row["at"]) <= accepted
        ]
        if not before or not any(row["approved"] for row in before):
            found.never.append(source)
        elif not before[-1]["approved"]:
            ends = [row["at"] for last, row in pairwise(before) if last["approved"] and not row["approved"]]
            gone = datetime.fromisoformat(ends[-1])
            found.exposed.append((source, (accepted - gone).total_seconds()))
    return found
