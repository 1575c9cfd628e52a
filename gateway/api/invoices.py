"""Invoices and credits: what time-to-billing made of them, and how they stand since."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from canonical.feedback import InvoiceStatus as Status
from canonical.firm import Firm
from canonical.invoicing import DocumentKind
from gateway.api.callers import Scope
from gateway.api.models import (
    Amount,
    Code,
    InvoiceStanding,
    InvoiceStatus,
    InvoiceStatuses,
    Record,
    SearchText,
    ShownIn,
)
from gateway.api.reading import PROBLEMS
from gateway.api.routes import ProcessRoute, caller_of, front_of, needs
from ledger.billing_rows import DocumentRow
from ledger.feedback import ErpInvoiceRow
from ledger.feedback_targets import TargetRow
from ledger.invoice_overview import InvoiceOverview, Sight
from rules.feedback import collecting_of, today_in

router = APIRouter(prefix="/v1", tags=["process API"], route_class=ProcessRoute)


@router.get("/invoice-status", operation_id="listInvoiceStatus", responses=PROBLEMS,
            openapi_extra=needs(Scope.INVOICES_READ))  # fmt: skip
async def list_invoice_status(
    request: Request,
    invoice: Annotated[
        SearchText | None,
        Query(description="Our key, the ERP's number or its record id; else all."),
    ] = None,
    legal_entity: Annotated[Code | None, Query(description="Only what this entity sells.")] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> InvoiceStatuses:
    """Invoices and credits as issued, with what was paid, credited and is open as last read in the ERP.

    First those that time-to-billing made, then those that the ERP's own people made and that are followed;
    each oldest first.
    """
    front, caller = front_of(request), caller_of(request)
    region = front.settings.about.region
    caller.require(region, () if legal_entity is None else (legal_entity,))
    page = await front.desk.ledger.invoice_overview(
        Sight(regions=caller.regions, entities=caller.entities),
        named=invoice,
        legal_entity=legal_entity,
        after=after,
        limit=limit,
    )
    firm, now = front.settings.firm(), front.now()
    return InvoiceStatuses(items=[_told(one, firm, now) for one in page.rows], next=page.cursor)


def _told(one: InvoiceOverview, firm: Firm, now: datetime) -> InvoiceStatus:
    standing = None if one.read is None else _standing(one.read, one.targets, firm, now)
    if one.document is not None:
        return _made_here(one.document, standing)
    assert one.read is not None
    return _made_there(one.read, standing)


def _made_here(one: DocumentRow, standing: InvoiceStanding | None) -> InvoiceStatus:
    return InvoiceStatus(
        key=one.key,
        kind=one.kind.value,
        state=one.state.value,
        number=one.number,
        system=one.target,
        record_id=one.record_id,
        legal_entity=one.legal_entity,
        corrects=one.corrects,
        net=Amount.of(one.told_net or one.net),
        tax=Amount.of(one.tax),
        gross=Amount.of(one.gross),
        issued_on=one.issued_on,
        standing=standing,
    )


def _made_there(one: ErpInvoiceRow, standing: InvoiceStanding | None) -> InvoiceStatus:
    told = one.standing.invoice
    return InvoiceStatus(
        key=None,
        kind=DocumentKind.INVOICE.value,
        state=None,
        number=one.number,
        system=one.ref.system,
        record_id=one.ref.id,
        legal_entity=one.legal_entity,
        corrects=None,
        net=Amount.of(told.net) if told else None,
        tax=Amount.of(told.gross - told.net) if told else None,
        gross=Amount.of(told.gross) if told else None,
        issued_on=told.issued_on if told and one.status is not Status.DRAFT else None,
        standing=standing,
    )


def _standing(
    one: ErpInvoiceRow, targets: tuple[TargetRow, ...], firm: Firm, now: datetime
) -> InvoiceStanding:
    """How an invoice stands: late is what is late where its seller is."""
    told, entity = one.standing.invoice, firm.entity(one.legal_entity)
    today = today_in(entity.timezone if entity else "UTC", now)
    collecting = collecting_of(one.standing, one.status, today)
    behind = [row.wanted_since for row in targets if row.stale and row.wanted_since is not None]
    return InvoiceStanding(
        status=one.status,
        settled=one.settled,
        gross=Amount.of(told.gross) if told else None,
        paid=Amount.of(told.paid) if told else None,
        credited=Amount.of(told.credited) if told else None,
        withheld=Amount.of(told.withheld) if told else None,
        written_off=Amount.of(told.written_off) if told else None,
        balance=Amount.of(told.balance) if told else None,
        refunded=Amount.of(one.standing.refunded),
        due_on=told.due_on if told else None,
        overdue=collecting.overdue if collecting else None,
        ageing=collecting.bucket if collecting else None,
        collection=collecting.status if collecting else None,
        disputed=one.disputed,
        complete=one.standing.complete,
        changed_at=one.changed_at,
        read_at=one.read_at,
        saga_id=one.saga_id,
        stale=any(row.stale for row in targets) if targets else None,
        stale_since=min(behind, default=None),
        shown_in=[
            ShownIn(
                kind=row.target.kind,
                record=Record.of(row.target.ref),
                stale=row.stale,
                since=row.wanted_since if row.stale else None,
                shown_at=row.applied_at,
            )
            for row in targets
        ],
    )
