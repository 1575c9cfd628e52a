"""What comes of a change order: refused with the reason, waited for, or applied (rule 43).

Change orders of a contract are taken in the order of their versions, whatever the order of their arrival. So
the outcome does not depend on the latter: a version whose base has not arrived waits; one whose number has
been decided is older, or a repetition. A refused version counts as arrived: the next one is judged on the
terms in force, on its own merits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, Floor, Judgement, Verdict
from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.firm import Firm
from rules.causes import CATALOGUE
from rules.change_impact import below_floor, impact_of
from rules.change_terms import invalid, resulting_terms, terms_problems

SHOWN = 3
"""Findings in a refusal's one-line reason; all of them are kept."""


@dataclass(frozen=True)
class Standing:
    """How a contract stands when a change order is judged."""

    terms: Contract
    """In force, with the rates in force."""
    version: int
    """Of those terms."""
    reached: int
    """The highest version that was decided: agreed, refused or given up."""
    floor: Floor = field(default_factory=Floor)
    deliveries: Collection[str] = ()
    """Keys of the contract's delivery projects."""


@dataclass(frozen=True)
class Taken:
    """What is to be done with the open change orders of a contract."""

    older: tuple[ChangeOrder, ...] = ()
    following: ChangeOrder | None = None
    """The one whose turn it is."""
    waiting: tuple[ChangeOrder, ...] = ()
    missing: tuple[int, ...] = ()
    """Versions that the first waiting one needs and nobody has sent; none while another one is carried."""


def take(orders: Iterable[ChangeOrder], reached: int) -> Taken:
    """Sort the open change orders of a contract; of two that make the same version the first received counts.

    Args:
        orders: in the order in which they were received.
        reached: the highest version that was decided.
    """
    ordered = sorted(orders, key=lambda one: one.version)  # stable: of one version the first received leads
    following = next((order for order in ordered if order.base == reached), None)
    waiting = tuple(order for order in ordered if order.base > reached)
    missing: tuple[int, ...] = ()
    if waiting and following is None:
        missing = tuple(range(reached + 1, waiting[0].version))
    return Taken(
        older=tuple(order for order in ordered if order.version <= reached),
        following=following,
        waiting=waiting,
        missing=missing,
    )


def judge(order: ChangeOrder, standing: Standing, firm: Firm) -> Judgement:
    """What comes of one change order as things stand."""
    if order.version <= standing.reached:
        return older(order, standing.reached)
    if order.base > standing.reached:
        missing = tuple(range(standing.reached + 1, order.base + 1))
        return Judgement(
            verdict=Verdict.WAITS,
            cause=Cause.CHANGE_BASE_MISSING,
            reason=f"It builds on version {order.base}; version {standing.reached} is the last that arrived.",
            missing=missing,
        )
    current = standing.terms
    terms, findings = resulting_terms(order, current)
    if terms is not None:
        findings = terms_problems(order, current, terms, firm=firm, deliveries=standing.deliveries)
    if terms is None or findings:
        return refused(Cause.CHANGE_ORDER_INVALID, findings)
    impact = impact_of(current, terms, standing.deliveries, order.effective_on)
    if not impact.changes:
        same = invalid(f"It states what version {standing.version} has already.", "terms")
        return refused(Cause.CHANGE_ORDER_INVALID, [same])
    below = below_floor(current, terms, standing.floor)
    if below:
        return refused(Cause.CHANGE_BELOW_BILLED, below)
    return Judgement(verdict=Verdict.READY, terms=terms, impact=impact)


def older(order: ChangeOrder, reached: int) -> Judgement:
    """Too late: its version has been decided."""
    return Judgement(
        verdict=Verdict.REFUSED,
        cause=Cause.CHANGE_ORDER_OLDER,
        reason=f"It makes version {order.version}; version {reached} has been decided already.",
    )


def refused(cause: Cause, findings: Sequence[Finding]) -> Judgement:
    """Refused for what was found."""
    messages = [one.message for one in findings[:SHOWN]]
    more = len(findings) - len(messages)
    reason = " ".join([*messages, *([f"And {more} more."] if more else [])])
    return Judgement(
        verdict=Verdict.REFUSED,
        cause=cause,
        reason=reason or CATALOGUE[cause].meaning,
        findings=tuple(findings),
    )
