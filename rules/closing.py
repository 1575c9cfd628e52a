"""The close check: is a period of a legal entity ready to be closed, and if not, who acts (rule 37)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.invoicing import DocumentKind
from canonical.money import Money
from canonical.unbilled import InFlight, RollForward, UnbilledDifference, UnbilledGroup
from rules.causes import CATALOGUE, then
from rules.unbilled import roll_forward_findings

UNAPPROVED = frozenset({Cause.NOT_APPROVED, Cause.APPROVAL_WITHDRAWN})
MILESTONES = frozenset({Cause.MILESTONE_NOT_COMPLETE, Cause.MILESTONE_NOT_ACCEPTED})
NOT_POSTED, READY, DRAFTED = "not posted", "ready", "on a draft"
"""Reasons of the ledger that are no causes."""


class CloseLine(Canonical):
    """One thing that the check looked at."""

    check: str
    ok: bool
    detail: str
    items: int = 0
    minutes: int = 0
    amount: Money | None = None
    owner: str | None = None
    """Who acts: an exception queue, or who runs the commands."""
    next: str | None = None
    """The command to type."""


@dataclass(frozen=True)
class OpenDocument:
    """An invoice or credit that is not issued yet."""

    key: str
    kind: DocumentKind
    state: str
    saga_id: str
    lines: int
    net: Money


@dataclass(frozen=True)
class Balance:
    """One currency's unbilled balance of work up to the period's end, now: ours and the ERP's."""

    currency: str
    ours: Money
    """Of lines that the ERP counts as unbilled, valued as it does."""
    on_drafts: Money
    """What stands on drafts in the ERP, which counts it as on an invoice."""
    erp: Money | None
    """None where the ERP knows no such balance."""
    differences: Sequence[UnbilledDifference] = ()
    rests: Money | None = None
    """What is left of lines of which a part is, or was, on an invoice: for the ERP they are billed."""


@dataclass(frozen=True)
class CloseFacts:
    """Everything the check judges."""

    entity: str
    cutoff: str
    """Arguments of a command that runs up to the period's last day."""
    last: date
    """The period's last day."""
    period_end: datetime
    """Its end, as an instant in the entity's zone."""
    read_at: datetime | None
    """When the delivery system was last read; None: never."""
    delivery: str
    groups: Sequence[UnbilledGroup] = ()
    """What is not posted or billed of work up to the period's end."""
    stray: Sequence[UnbilledGroup] = ()
    """The same, of items that belong to no entity yet: nobody knows whose they are."""
    near: Sequence[UnbilledGroup] = ()
    """Unapproved work of the last days before the cutoff; part of ``groups``."""
    near_days: int = 0
    in_flight: Sequence[InFlight] = ()
    documents: Sequence[OpenDocument] = ()
    rolls: Sequence[RollForward] = ()
    balances: Sequence[Balance] = field(default=())


def close_lines(facts: CloseFacts) -> list[CloseLine]:
    """Every line of the check; the period is ready when all are in order."""
    return [
        *_reading(facts),
        *_unposted(facts),
        *_flying(facts),
        *_unapproved(facts),
        *_held(facts),
        *_unbilled(facts),
        *_rolling(facts),
        *_against_erp(facts),
    ]


def _reading(facts: CloseFacts) -> Iterator[CloseLine]:
    post = f"trueup start post-approved-time {facts.cutoff}"
    if facts.read_at is None or facts.read_at < facts.period_end:
        when = "never" if facts.read_at is None else f"last on {facts.read_at:%Y-%m-%d %H:%M}Z"
        yield CloseLine(
            check="read",
            ok=False,
            detail=f"{facts.delivery} was read {when}, before the period was over: work may be missing",
            owner=Queue.BILLING.value,
            next=post,
        )
    else:
        yield CloseLine(check="read", ok=True, detail=f"{facts.delivery} was read after the period's end")


def _unposted(facts: CloseFacts) -> Iterator[CloseLine]:
    waiting = [one for one in (*facts.groups, *facts.stray) if one.reason == NOT_POSTED]
    yield from _by_money(
        "unposted",
        waiting,
        "approved, and not posted yet",
        "everything that is approved and in order is posted",
        owner=Queue.BILLING.value,
        command=f"trueup start post-approved-time {facts.cutoff}",
    )


def _flying(facts: CloseFacts) -> Iterator[CloseLine]:
    for one in facts.in_flight:
        yield CloseLine(
            check="in flight",
            ok=False,
            detail=f"sent to {one.system} ({one.purpose.replace('_', ' ')}), outcome not known yet",
            items=one.items,
            minutes=one.minutes,
            amount=one.amount,
            owner=Queue.BILLING.value,
            next="trueup list --status running",
        )
    for row in facts.documents:
        credit = row.kind is DocumentKind.CREDIT
        yield CloseLine(
            check="in flight",
            ok=False,
            detail=f"{'credit' if credit else 'invoice'} {row.key} is {row.state}, not issued",
            items=row.lines,
            amount=row.net,
            owner=Queue.BILLING.value,
            next=f"trueup approvals show {row.saga_id}",
        )
    if not facts.in_flight and not facts.documents:
        yield CloseLine(check="in flight", ok=True, detail="no batch and no draft is on its way")


def _unapproved(facts: CloseFacts) -> Iterator[CloseLine]:
    near = {_place(one): one.items for one in facts.near}
    found = [one for one in facts.groups if one.cause in UNAPPROVED]
    for one in found:
        late = near.get(_place(one), 0)
        days = f", {late} of them within {facts.near_days} days of the cutoff" if late else ""
        yield _line("unapproved", one, f"{one.reason}: worked and not approved{days}")
    if not found:
        yield CloseLine(check="unapproved", ok=True, detail="all work that was read is approved")


def _place(group: UnbilledGroup) -> tuple[str, str | None, str | None, str | None]:
    currency = group.amount.currency if group.amount is not None else None
    return group.reason, group.project_code, group.contract_key, currency


def _held(facts: CloseFacts) -> Iterator[CloseLine]:
    blocked = [one for one in facts.groups if one.cause in MILESTONES]
    for one in blocked:
        yield _line("milestones", one, f"{one.reason}: {CATALOGUE[one.cause].meaning}" if one.cause else "")
    if not blocked:
        yield CloseLine(check="milestones", ok=True, detail="no milestone that is due waits")
    others = [
        one
        for one in (*facts.groups, *facts.stray)
        if one.cause is not None
        and (one.cause not in UNAPPROVED | MILESTONES or one in facts.stray)
        and one.cause not in _DECIDED
    ]
    for one in others:
        stray = " (of no entity yet)" if one in facts.stray else ""
        yield _line("held", one, f"{one.reason}{stray}: {CATALOGUE[one.cause].meaning}" if one.cause else "")
    if not others:
        yield CloseLine(check="held", ok=True, detail="no line is held for a repair")


_DECIDED = frozenset({Cause.MOVED_TO_LATER_CYCLE})
"""Holds that somebody decided and that end by themselves: no reason not to close."""


def _unbilled(facts: CloseFacts) -> Iterator[CloseLine]:
    yield from _by_money(
        "unbilled",
        [one for one in facts.groups if one.reason == READY],
        "ready and on no invoice",
        "nothing that is ready is left unbilled",
        owner=Queue.BILLING.value,
        command=f"trueup start time-to-billing {facts.cutoff}",
    )


def _rolling(facts: CloseFacts) -> Iterator[CloseLine]:
    for roll in facts.rolls:
        found = list(roll_forward_findings(roll, None))
        for one in found:
            yield CloseLine(
                check="roll-forward",
                ok=False,
                detail=one.message,
                amount=one.at_stake,
                owner=one.queue.value,
                next="trueup doctor",
            )
        if not found:
            yield CloseLine(
                check="roll-forward",
                ok=True,
                detail=f"the movements since the period began lead from {roll.opening} to {roll.closing}",
                amount=roll.closing,
            )


def _against_erp(facts: CloseFacts) -> Iterator[CloseLine]:
    for one in facts.balances:
        if one.erp is None:
            yield CloseLine(
                check="against the ERP", ok=True, detail=f"{one.currency}: the ERP keeps no such balance"
            )
            continue
        ours = one.ours
        gap = ours.minor - one.erp.minor
        yield CloseLine(
            check="against the ERP",
            ok=gap == 0 and not one.differences,
            detail=f"work up to {facts.last.isoformat()}: {ours} of ours, {one.erp} in the ERP"
            + (f", and {one.on_drafts} on drafts" if one.on_drafts.minor else "")
            + (f", and {one.rests} left of lines that it has billed" if one.rests and one.rests.minor else "")
            + _differing(len(one.differences)),
            items=len(one.differences),
            amount=Money.of_minor(gap, ours.currency, ours.role) if gap else None,
            owner=CATALOGUE[Cause.UNBILLED_DIFFERS].queue.value if gap or one.differences else None,
            next="trueup explain UNBILLED_DIFFERS" if gap or one.differences else None,
        )


def _differing(number: int) -> str:
    return f"; {number} {'line differs' if number == 1 else 'lines differ'}" if number else ""


def _by_money(
    check: str, groups: Iterable[UnbilledGroup], wrong: str, right: str, *, owner: str, command: str
) -> Iterator[CloseLine]:
    """One line per currency of what waits, or one that nothing does."""
    found: dict[str | None, list[UnbilledGroup]] = {}
    for one in groups:
        found.setdefault(one.amount.currency if one.amount is not None else None, []).append(one)
    for currency, own in sorted(found.items(), key=lambda pair: pair[0] or ""):
        minor = sum(one.amount.minor for one in own if one.amount is not None)
        yield CloseLine(
            check=check,
            ok=False,
            detail=wrong,
            items=sum(one.items for one in own),
            minutes=sum(one.minutes for one in own),
            amount=Money.of_minor(minor, currency) if currency is not None else None,
            owner=owner,
            next=command,
        )
    if not found:
        yield CloseLine(check=check, ok=True, detail=right)


def _line(check: str, group: UnbilledGroup, detail: str) -> CloseLine:
    assert group.cause is not None
    entry = CATALOGUE[group.cause]
    project = f"{group.project_code}: " if group.project_code else ""
    return CloseLine(
        check=check,
        ok=False,
        detail=f"{project}{detail}",
        items=group.items,
        minutes=group.minutes,
        amount=group.amount,
        owner=entry.queue.value,
        next=then(group.cause),
    )
