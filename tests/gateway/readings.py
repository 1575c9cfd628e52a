"""Invoices for the tests of the process API: made by time-to-billing, read back by feedback, or both."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from canonical.billing import Invoice
from canonical.engagement import InvoiceGrouping
from canonical.erp_billing import InvoiceState
from canonical.feedback import InvoiceStanding, Reach, Share, Target, TargetKind, zero
from canonical.invoicing import BillingGroup, DocumentKind, DocumentState
from canonical.money import AmountRole, Money
from canonical.names import SagaName, saga_id
from canonical.refs import RecordRef
from ledger.feedback import ErpInvoiceRow, NewStanding
from ledger.store import Ledger
from ledger.tables.invoice_state import InvoiceState as Document
from rules.feedback import status_of

ERP = "netsuite-emea"
ISSUED, DUE = date(2026, 10, 20), date(2026, 11, 19)
DEAL = RecordRef(system="sf-main", type="Opportunity", id="006gK0000000001QAA")
ACCOUNT = RecordRef(system="sf-main", type="Account", id="001gK0000000001QAA")
PROJECT = RecordRef(system="kantata-main", type="workspaces", id="901")
CONTRACT = f"{DEAL.id}.DE01.EUR"
TARGETS = (
    Target(kind=TargetKind.OPPORTUNITY, ref=DEAL, subject=str(DEAL)),
    Target(kind=TargetKind.ACCOUNT, ref=ACCOUNT, subject=str(ACCOUNT)),
    Target(kind=TargetKind.PROJECT, ref=PROJECT, subject=CONTRACT),
)


def eur(minor: int) -> Money:
    """An amount of an invoice."""
    return Money.of_minor(minor, "EUR", AmountRole.BILLING)


def standing(
    record: str, *, seller: str = "DE01", due: date | None = DUE, at: int = 0, refunded: int | None = None,
    state: InvoiceState = InvoiceState.POSTED, disputed: bool = False, **amounts: int,
) -> InvoiceStanding:  # fmt: skip
    """1,190.00 with tax, less what the amounts (in cents) say."""
    ref = RecordRef(system=ERP, type="invoice", id=record)
    parts = {name: amounts.get(name, 0) for name in ("paid", "credited", "withheld", "written_off")}
    moment = datetime(2026, 11, 20, 9, 0, at, tzinfo=UTC)
    invoice = Invoice(
        ref=ref, number=f"INV{record}", seller=seller, bill_to="55", contract_keys=(), issued_on=ISSUED,
        due_on=due, net=eur(100_000), gross=eur(119_000), balance=eur(119_000 - sum(parts.values())),
        modified_at=moment, **{name: eur(minor) for name, minor in parts.items()},
    )  # fmt: skip
    return InvoiceStanding(
        ref=ref,
        state=state,
        invoice=None if state is InvoiceState.ABSENT else invoice,
        refunded=None if refunded is None else eur(refunded),
        disputed=disputed,
        modified_at=moment,
    )


async def read(
    ledger: Ledger,
    told: InvoiceStanding,
    *,
    shown: bool = True,
    region: str = "emea",
    against: str | None = None,
) -> ErpInvoiceRow:
    """Feedback reads it; with ``shown``, it is part of what deal, account and delivery project show."""
    shares: tuple[Share, ...] = ()
    if shown and (invoice := told.invoice) is not None:
        amounts = {
            name: getattr(invoice, name)
            for name in ("net", "gross", "paid", "credited", "withheld", "written_off", "balance")
        }
        shares = (Share(contract_key=CONTRACT, refunded=told.refunded or zero("EUR"), **amounts),)
    return await ledger.apply_standing(
        NewStanding(
            standing=told,
            status=status_of(told),
            region=region,
            saga_id=saga_id(SagaName.INVOICE_FEEDBACK, region, ERP, told.ref.id),
            shares=shares,
            reaches=(Reach(contract_key=CONTRACT, deal=DEAL, account=ACCOUNT),) if shares else (),
            targets=TARGETS if shares else (),
            judged_against=against,
        )
    )


async def make(ledger: Ledger, record: str | None, *, entity: str = "DE01", **changes: Any) -> str:
    """Time-to-billing made a document and issued it; its key."""
    now, kind = ledger.now(), changes.pop("kind", DocumentKind.INVOICE)
    key: str = changes.pop("key", f"{kind.value}-{record}")
    group = BillingGroup(
        seller=entity, bill_to="001X", currency="EUR", grouping=InvoiceGrouping.CONTRACT, subject=CONTRACT
    )
    values: dict[str, Any] = {
        "target": ERP, "kind": kind.value, "state": DocumentState.ISSUED.value, "group_key": key,
        "billing_group": group.model_dump(mode="json"), "cycle": "2026-10", "sequence": 1, "region": "emea",
        "legal_entity": entity, "saga_id": "s", "version": 1, "applied": 1, "lines": 1, "currency": "EUR",
        "net_minor": 100_000, "told_net_minor": 100_000, "tax_minor": 19_000, "gross_minor": 119_000,
        "record_id": record, "number": record and f"INV{record}", "on_day": ISSUED, "issued_on": ISSUED,
        "issued_at": now, "created_at": now, "updated_at": now,
    }  # fmt: skip
    async with ledger.transaction() as session:
        session.add(Document(document=key, **{**values, **changes}))
    return key


async def show(ledger: Ledger, target: Target) -> None:
    """A target shows everything that is known."""
    hold = await ledger.hold_target(target.key, "a", timedelta(seconds=30))
    await ledger.settle_target(target.key, "a", wanted=hold.wanted, digest="x", figures={}, wrote=True)
