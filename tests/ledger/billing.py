"""Lines, placements and short cuts for the ledger's tests of time-to-billing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from canonical.batches import BatchPurpose, LineResult, LineState
from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod, InvoiceGrouping
from canonical.invoicing import BillingGroup
from canonical.items import (
    AllocationKind,
    BillingState,
    FeeItem,
    Hold,
    ItemKind,
    Placement,
    PlannedAllocation,
    Price,
    SourceLine,
)
from canonical.money import AmountRole, Money
from canonical.names import billing_group_key, fee_source, item_key
from canonical.rates import PricingAuthority, Rate
from canonical.refs import RecordRef
from ledger.billing_rows import DocumentRow, ItemRow
from ledger.document_rows import Told
from ledger.items import Placed
from ledger.store import Ledger

PSA, ERP = "kantata-main", "netsuite-emea"
RUN = "pat:emea:kantata-main:netsuite-emea.1"
DAY = date(2026, 2, 10)
CONTRACT = "006A.NL01.EUR"
GROUP = BillingGroup(
    seller="NL01", bill_to="001X", currency="EUR", grouping=InvoiceGrouping.CONTRACT, subject=CONTRACT
)
GROUP_KEY = billing_group_key("NL01", "001X", "EUR", None, None, "contract", CONTRACT)
HOLD = Hold(cause=Cause.RATE_MISSING, message="No rate.", remedy="Add a rate.", queue=Queue.DELIVERY)


def eur(amount: str | int) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def billed(amount: str | int) -> Money:
    return Money(amount=Decimal(amount), currency="EUR", role=AmountRole.BILLING)


def line(number: int = 1, *, minutes: int = 60, revision: str = "r1", **more: Any) -> SourceLine:
    """An approved hour of one worker."""
    values: dict[str, Any] = {
        "kind": ItemKind.TIME,
        "source": RecordRef(system=PSA, type="time_entries", id=str(number)),
        "revision": revision,
        "substance": f"{minutes}",
        "region": "emea",
        "project": RecordRef(system=PSA, type="workspaces", id="901"),
        "worker": RecordRef(system=PSA, type="users", id="7"),
        "work_date": DAY,
        "minutes": minutes,
        "role": "consultant",
        "billable": True,
        "approved": True,
        "approved_at": datetime(2026, 2, 11, 9, tzinfo=UTC),
        "changed_at": datetime(2026, 2, 11, 9, tzinfo=UTC),
    }
    return SourceLine(**{**values, **more})


def key(number: int = 1, revision: str = "r1") -> str:
    return item_key(RecordRef(system=PSA, type="time_entries", id=str(number)), revision)


def placement(minutes: int = 60, rate: str = "100", **more: Any) -> Placement:
    """Time and materials at a rate per hour."""
    amount = Decimal(rate) * minutes / 60
    values: dict[str, Any] = {
        "contract_key": CONTRACT,
        "line_key": "L1",
        "contract_version": 1,
        "project_code": "PRJ-1",
        "legal_entity": "NL01",
        "employing_entity": "NL01",
        "erp_system": ERP,
        "erp_project": "501",
        "erp_worker": "14",
        "erp_item": "31",
        "method": BillingMethod.TIME_AND_MATERIALS,
        "billing": BillingState.UNBILLED,
        "posting_date": DAY,
        "unbilled_in_erp": True,
        "group": GROUP,
        "group_key": GROUP_KEY,
        "price": Price(
            amount=eur(str(amount.quantize(Decimal("0.01")))),
            rate=Rate(amount=Decimal(rate), currency="EUR", authority=PricingAuthority.CONTRACT, version=1),
        ),
    }
    return Placement(**{**values, **more})


async def rows(ledger: Ledger, **conditions: Any) -> tuple[ItemRow, ...]:
    return (await ledger.items(**conditions)).rows


async def get(ledger: Ledger, item: str) -> ItemRow:
    row = await ledger.item(item)
    assert row is not None, item
    return row


async def place(ledger: Ledger, *numbers: int, **more: Any) -> None:
    """Place entries by number as time and materials at 100 an hour."""
    placements = []
    for number in numbers:
        found = [row for row in await ledger.items_of([f"{PSA}/time_entries/{number}"]) if row.current]
        row = found[0]
        assert row.line is not None
        placements.append(Placed(row.id, row.key, placement(minutes=row.minutes, **more)))
    result = await ledger.place(placements)
    assert result.stale == ()


async def claim(ledger: Ledger, number: int = 1, *, limit: int = 1_000, seconds: int = 300) -> str:
    piece = f"{RUN}|g1|p{number}"
    await ledger.claim_piece(
        piece,
        psa=PSA,
        erp=ERP,
        saga_id=RUN,
        limit=limit,
        until=ledger.now() + timedelta(seconds=seconds),
    )
    return piece


async def send(
    ledger: Ledger,
    piece: str,
    purpose: BatchPurpose = BatchPurpose.POST_COST,
    *,
    refused: Sequence[str] = (),
    retry: Sequence[str] = (),
    **more: Any,
) -> list[str]:
    """Form, submit, accept and settle all batches of a piece; answers their keys."""
    system = PSA if purpose in (BatchPurpose.MARK, BatchPurpose.UNMARK) else ERP
    batches = await ledger.form_batches(piece, purpose, system, size=100, **more)
    for batch in batches:
        await ledger.submit_batch(batch.key, "a1", ledger.now() + timedelta(seconds=60))
        await ledger.accept_batch(batch.key, f"job-{batch.number}")
        results = []
        for one in await ledger.batch_lines(batch.key):
            item = one.item.key
            if item in refused:
                results.append(LineResult(item_key=item, state=LineState.REFUSED, message="no", hold=HOLD))
            elif item in retry:
                results.append(LineResult(item_key=item, state=LineState.RETRY, message="busy"))
            else:
                results.append(
                    LineResult(
                        item_key=item, state=LineState.LANDED, record_id=f"p{one.item.id}.{purpose.value}"
                    )
                )
        await ledger.settle_batch(batch.key, results, document=f"doc-{batch.number}")
    return [batch.key for batch in batches]


async def posted(ledger: Ledger, *numbers: int, minutes: int = 60, piece: int = 1) -> None:
    """Entries taken in, placed and posted."""
    await ledger.take_in([line(number, minutes=minutes) for number in numbers])
    await place(ledger, *numbers)
    name = await claim(ledger, piece)
    await send(ledger, name)
    await ledger.close_piece(name)


def plan(item: str, amount: str | int, minutes: int = 60, **more: Any) -> PlannedAllocation:
    values: dict[str, Any] = {
        "item_key": item,
        "kind": AllocationKind.BILLED,
        "minutes": minutes,
        "amount": eur(amount),
    }
    if more.get("kind", AllocationKind.BILLED) is AllocationKind.BILLED:
        values["billed"] = billed(amount)
    return PlannedAllocation(**{**values, **more})


async def draft(ledger: Ledger, *plans: PlannedAllocation, cycle: str = "2026-02") -> DocumentRow:
    """A draft with these lines."""
    document = await ledger.open_document(
        GROUP, GROUP_KEY, cycle, target=ERP, region="emea", saga_id="bill:1", on=date(2026, 2, 28)
    )
    on_it = [one.model_copy(update={"document": document.key}) if one.billed else one for one in plans]
    return await ledger.fill_document(document.key, on_it, command_id=f"fill-{document.key}")


def told(net: Money, number: str = "INV-1", record: str = "880") -> Told:
    return Told(
        record=RecordRef(system=ERP, type="invoice", id=record),
        number=number,
        net=net,
        tax=billed(0),
        gross=net,
        issued_on=date(2026, 2, 28),
    )


async def issue(ledger: Ledger, document: DocumentRow) -> DocumentRow:
    """From draft to issue."""
    drafted = await ledger.record_draft(document.key, document.version, told(document.net))
    await ledger.release_document(document.key, drafted.version)
    return await ledger.issue_document(document.key, told(document.net))


def milestone(number: int = 1, amount: str = "5000", **more: Any) -> FeeItem:
    values: dict[str, Any] = {
        "kind": ItemKind.MILESTONE,
        "source": fee_source("milestone", CONTRACT, f"L2.{number}"),
        "region": "emea",
        "contract_key": CONTRACT,
        "line_key": "L2",
        "project_code": "PRJ-1",
        "legal_entity": "NL01",
        "day": DAY,
        "amount": eur(amount),
        "title": f"Milestone {number}",
        "group": GROUP,
        "group_key": GROUP_KEY,
    }
    return FeeItem(**{**values, **more})
