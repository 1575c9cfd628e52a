"""Two graphs compared record by record: what is there twice, is nobody's, lacks, or shows something wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.nodes import Node


@dataclass
class Verdict:
    """What is wrong with the vendors' records; nothing is, when all lists are empty."""

    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything, in words."""
        return [
            *(f"duplicate: {one}" for one in self.duplicates),
            *(f"orphan: {one}" for one in self.orphans),
            *(f"missing: {one}" for one in self.missing),
            *(f"wrong: {one}" for one in self.wrong),
        ]


def compare(wanted: Iterable[Node], found: Iterable[Node], *, partly: bool = False) -> Verdict:
    """Compare two graphs, record by record.

    Args:
        wanted: what must be there.
        found: what is.
        partly: the saga stopped on its way: what is there must be wanted, in whatever state, no more often.
    """
    verdict = Verdict()
    want, have = Counter(wanted), Counter(found)
    wanted_names = Counter(one.identity for one in want.elements())
    found_names = Counter(one.identity for one in have.elements())
    if partly:
        # A schedule that no order uses yet has no name of its own: they are counted together.
        for names in (wanted_names, found_names):
            for identity in [one for one in names if one[0] == "billingSchedule"]:
                names["billingSchedule", "any"] += names.pop(identity)
    for identity, times in found_names.items():
        if times > wanted_names[identity]:
            what = f"{identity[0]} {identity[1]!r}: {times} live, {wanted_names[identity]} expected"
            (verdict.duplicates if times > 1 else verdict.orphans).append(what)
    if partly:
        return verdict
    for identity, times in wanted_names.items():
        if times > found_names[identity]:
            verdict.missing.append(
                f"{identity[0]} {identity[1]!r}: {found_names[identity]} live, {times} expected"
            )
    for one in (want - have).elements():
        others = [other.facts for other in (have - want).elements() if other.identity == one.identity]
        if others:
            verdict.wrong.append(f"{one.kind} {one.name!r}: shows {others[0]}, expected {one.facts}")
    return verdict
