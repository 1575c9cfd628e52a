"""``trueup show`` of an invoice, a credit or an item: where it stands, what became of it, what to type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from canonical.invoicing import DocumentKind, DocumentState
from canonical.items import AllocationKind, BillingState, CostState
from canonical.money import Money
from cli.billing import words
from cli.billing.lines import line_facts, line_parts, named
from cli.output import Complaint, Exit, Report, Table, Value, sums, when
from cli.session import Session
from ledger.billing_rows import AllocationRow, DocumentRow, ItemRow
from ledger.lookups import ItemBatch
from ledger.rows import DecisionRow
from rules.causes import NEXT_RUN, then

COST_WORDS = {
    CostState.NOT_APPLICABLE: "no cost of its own",
    CostState.UNPOSTED: "not posted",
    CostState.POSTED: "posted",
    CostState.REVERSED: "taken back",
}
BILLING_WORDS = {
    BillingState.NOT_BILLABLE: "not billable",
    BillingState.COVERED: "covered by a fee",
    BillingState.UNBILLED: "unbilled",
    BillingState.HELD: "held",
    BillingState.DRAFTED: "on a draft",
    BillingState.BILLED: "billed",
}

SETTLED = (
    AllocationKind.WRITTEN_DOWN,
    AllocationKind.WRITTEN_OFF,
    AllocationKind.COVERED,
    AllocationKind.WITHDRAWN,
)
"""What becomes of a part for good, other than being billed."""


async def find(session: Session, text: str) -> Report | None:
    """What an id says of an invoice or an item; None when it names neither.

    Raises:
        Complaint: it could mean several.
    """
    ledger = await session.ledger()
    documents = await ledger.find_documents(text)
    if len({(row.key, row.target) for row in documents}) > 1:
        raise _several(text, [row.key for row in documents])
    if documents:
        return await _document(session, documents[0])
    items = await ledger.find_items(text)
    if not items:
        return None
    sources = list(dict.fromkeys(row.source for row in items))
    if len(sources) > 1:
        raise _several(text, sources)
    exact = [row for row in items if row.key == text]
    every = await ledger.items_of(sources)
    current = [row for row in every if row.current]
    return await _item(session, (exact or current or every)[-1], every)


def _several(text: str, names: Sequence[str]) -> Complaint:
    return Complaint(
        f"{text!r} could mean {len(names)} things: {', '.join(names[:10])}.",
        remedy="Type one of them in full.",
        code=Exit.USAGE,
        details=list(names),
    )


# --- invoices ---------------------------------------------------------------------------------------


async def _document(session: Session, row: DocumentRow) -> Report:
    ledger = await session.ledger()
    what = "Credit" if row.kind is DocumentKind.CREDIT else "Invoice"
    lines = await ledger.document_lines(row.key) if row.kind is DocumentKind.INVOICE else []
    credits_ = await ledger.documents(corrects=row.key)
    decisions = (await ledger.decisions(saga_id=row.saga_id, limit=500)).rows
    name = f"{row.number} ({row.key})" if row.number else row.key
    said = f"{what} {name} is {row.state.value}: {row.net} net"
    said += f", {row.gross} gross." if row.gross is not None else "."
    if row.state is DocumentState.ABANDONED:
        said += " Its lines are unbilled again."
    facts = [
        f"{row.group.seller} to {row.group.bill_to}, {row.group.subject}, {row.cycle} number {row.sequence}",
        f"In {row.target}: {row.record_id or 'not there yet'}"
        + (f", issued on {row.issued_on.isoformat()}" if row.issued_on else ""),
        f"Net there {row.told_net}, tax {row.tax}, gross {row.gross}" if row.told_net is not None else "",
        f"Corrects {row.corrects}" if row.corrects else "",
        f"Reason: {row.reason}" if row.reason else "",
        f"Run: trueup show {row.saga_id}",
    ]
    parts: list[Table | str] = ["\n".join(fact for fact in facts if fact), *line_parts(lines)]
    if credits_:
        rows: list[list[Value]] = [
            [one.number or one.key, one.state.value, str(one.net), f"trueup show {one.key}"]
            for one in credits_
        ]
        parts.append(Table(("credit", "state", "net", "look at it"), rows, title="Credits"))
    if decisions:
        parts.append(_decisions(decisions))
    if row.state.is_open:
        parts.append(f"Decide on it:\n  trueup approvals show {row.saga_id}")
    data: dict[str, Any] = {
        "document": row,
        "lines": [line_facts(line, short) for line, short in named(lines)],
        "credits": credits_,
        "decisions": decisions,
        "web": session.web(row.saga_id),
    }
    return Report(said, data, parts)


def _decisions(decisions: Sequence[DecisionRow]) -> Table:
    rows: list[list[Value]] = [[when(one.at), str(one.actor), one.outcome, one.reason] for one in decisions]
    return Table(("when", "who", "decision", "reason"), rows, title="Decisions")


# --- items ------------------------------------------------------------------------------------------


async def _item(session: Session, row: ItemRow, revisions: Sequence[ItemRow]) -> Report:
    ledger = await session.ledger()
    allocations = await ledger.allocations(row.key)
    batches = await ledger.item_batches(row.key)
    worth = str(row.priced) if row.priced is not None else "not priced"
    effort = f", {words.hours(row.minutes)} h" if row.minutes else ""
    said = (
        f"{row.title} of {row.work_date.isoformat()}{effort}, {worth}: {COST_WORDS[row.cost]}, "
        f"{BILLING_WORDS[row.billing]}."
    )
    if row.hold is not None:
        said += f" Held: {row.hold.cause.value}."
    if row.withdrawn is not None:
        said += f" Its source was {row.withdrawn}."
    parts: list[Table | str] = [_facts(row), _amounts(row, allocations)]
    if allocations:
        parts.append(_allocations(allocations))
    if batches:
        parts.append(_batches(batches))
    if len(revisions) > 1:
        rows: list[list[Value]] = [
            [one.key, "current" if one.current else "", COST_WORDS[one.cost], BILLING_WORDS[one.billing]]
            for one in revisions
        ]
        parts.append(Table(("revision", "", "cost", "billing"), rows, title="Revisions of the source"))
    parts += _next(row, allocations)
    data: dict[str, Any] = {
        "item": row,
        "allocations": allocations,
        "batches": batches,
        "revisions": [one.key for one in revisions],
    }
    return Report(said, data, parts)


def _facts(row: ItemRow) -> str:
    worker = f"worker {row.line.worker}" if row.line is not None else ""
    facts = [
        f"{row.key}",
        ", ".join(part for part in (f"Source {row.source}", worker) if part),
        f"Contract {row.contract_key or 'unknown'}, line {row.line_key or 'unknown'}, "
        f"project {row.project_code or 'unknown'}, entity {row.legal_entity or 'unknown'}",
    ]
    if row.rate is not None:
        facts.append(f"Rate {row.rate.currency} {row.rate.amount} an hour, by {row.rate.authority.value}")
    if row.posting_id is not None:
        facts.append(f"In {row.erp}: {row.posting_id}, posted {when(row.posted_at)}")
    if row.hold is not None:
        facts.append(f"Held: {row.hold.cause.value}: {row.hold.message}")
        facts.append(f"  {row.hold.queue.value}: {row.hold.remedy}")
    return "\n".join(facts)


def _amounts(row: ItemRow, allocations: Sequence[AllocationRow]) -> Table:
    """Where every cent of it is; what is nowhere is left out."""
    amounts: list[tuple[str, Money | None]] = [
        ("open", row.open),
        ("held", row.held),
        ("on a draft", row.drafted),
        ("billed", row.billed),
    ]
    for kind in SETTLED:
        left = sums(one.left for one in allocations if one.kind is kind)
        amounts += [(kind.value.replace("_", " "), money) for money in left]
    rows: list[list[Value]] = [
        [name, str(money)] for name, money in amounts if money is not None and money.minor
    ]
    return Table(("where its amount is", "amount"), rows)


def _allocations(allocations: Sequence[AllocationRow]) -> Table:
    rows: list[list[Value]] = [
        [
            when(one.at),
            f"{one.part}" + (f"-{one.release_no}" if one.release_no else ""),
            one.kind.value.replace("_", " "),
            words.hours(one.minutes),
            str(one.amount),
            one.document or (one.cause.value if one.cause else ""),
            one.reason or "",
        ]
        for one in allocations
    ]
    columns = ("when", "part", "what", "hours", "amount", "on", "reason")
    return Table(columns, rows, title="What became of its parts")


def _batches(batches: Sequence[ItemBatch]) -> Table:
    rows: list[list[Value]] = [
        [
            when(one.created_at),
            one.system,
            one.purpose.value.replace("_", " "),
            one.state.value,
            one.line.value,
            one.record_id or "",
            one.message or "",
        ]
        for one in batches
    ]
    columns = ("when", "system", "what", "batch", "line", "record", "the system's words")
    return Table(columns, rows, title="Batches")


def _next(row: ItemRow, allocations: Sequence[AllocationRow]) -> list[Table | str]:
    if row.hold is not None:
        if then(row.hold.cause) == NEXT_RUN:
            return []
        return [f"Once that is repaired:\n  {then(row.hold.cause)}"]
    if row.drafted is not None and row.drafted.minor:
        documents = [one.document for one in allocations if one.document]
        return [f"  trueup show {documents[-1]}"] if documents else []
    if row.cost is CostState.POSTED and not (row.billed is not None and row.billed.minor):
        return [f"Take it back (after a preview):\n  trueup reverse --item {row.source}"]
    return []
