"""The last part of a line: invoices, what settled them, and where that is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from canonical.feedback import Share
from canonical.names import SagaName
from canonical.refs import RecordRef
from cli.invoices import invoice_facts, invoice_table
from cli.output import Table, Value, record, when
from cli.session import Session
from ledger.feedback import ErpInvoiceRow
from ledger.feedback_targets import TargetRow
from ledger.store import Ledger


@dataclass
class InvoiceLine:
    """What the ledger knows of invoices on one line of business."""

    invoices: dict[str, ErpInvoiceRow] = field(default_factory=dict)
    shares: dict[str, list[tuple[Share, str | None, str | None]]] = field(default_factory=dict)
    targets: dict[str, TargetRow] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.invoices)

    @property
    def deals(self) -> list[RecordRef]:
        """Deals whose figures the invoices are part of."""
        names = dict.fromkeys(deal for shares in self.shares.values() for _, deal, _ in shares if deal)
        return [RecordRef.parse(name) for name in names]

    @property
    def sagas(self) -> list[str]:
        """Sagas that follow the invoices."""
        return list(dict.fromkeys(one.saga_id for one in self.invoices.values()))

    async def take(self, ledger: Ledger, found: Iterable[ErpInvoiceRow]) -> None:
        """Add invoices with their split and where they are shown."""
        for one in found:
            key = str(one.ref)
            if key in self.invoices:
                continue
            self.invoices[key] = one
            self.shares[key] = await ledger.shares_of(one.ref)
            subjects = {
                name for share, *names in self.shares[key] for name in (share.contract_key, *names) if name
            }
            for row in await ledger.targets_of(subjects):
                self.targets[row.target.key] = row


async def by_id(ledger: Ledger, text: str) -> InvoiceLine:
    """Invoices that an id names: their own, their number, or a payment's or credit's."""
    line = InvoiceLine()
    await line.take(ledger, await ledger.find_erp_invoices(text))
    return line


async def of_deals(ledger: Ledger, line: InvoiceLine, names: Iterable[str]) -> None:
    """Add the invoices of deals that sagas carry."""
    for name in names:
        row = await ledger.saga(name)
        if row is not None and row.saga == SagaName.OPPORTUNITY_TO_PROJECT.value:
            await line.take(ledger, await ledger.erp_invoices(deal=row.business_key))


def tables(session: Session, line: InvoiceLine) -> list[Table | str]:
    """Invoices, their split, what settled them, where it is shown."""
    invoices = list(line.invoices.values())
    parts: list[Table | str] = [invoice_table(session, invoices, "Invoices")]
    split: list[list[Value]] = [
        [
            line.invoices[key].number or key,
            share.contract_key or "(no contract of ours)",
            deal or "",
            str(share.gross),
            str(share.paid),
            str(share.balance),
        ]
        for key, shares in line.shares.items()
        for share, deal, _ in shares
    ]
    if split:
        parts.append(Table(("invoice", "contract", "deal", "gross", "paid", "open"), split, title="Split"))
    settled: list[list[Value]] = [
        [
            one.number or one.ref.id,
            done.kind.value.replace("_", " "),
            done.number or done.document.id,
            record(done.document),
            str(done.amount),
            done.on.isoformat() if done.on else "",
        ]
        for one in invoices
        for done in one.standing.applications
    ]
    if settled:
        columns = ("invoice", "what", "number", "record", "amount", "on")
        parts.append(Table(columns, settled, title="Settled by"))
    shown: list[list[Value]] = [
        [
            row.target.kind.value,
            record(row.target.ref),
            "behind" if row.stale else "shows it",
            when(row.applied_at) if row.applied_at else "",
            str((row.figures or {}).get("summary") or ""),
        ]
        for row in line.targets.values()
    ]
    if shown:
        parts.append(Table(("what", "record", "state", "since", "figures"), shown, title="Shown on"))
    return parts


def facts(line: InvoiceLine) -> dict[str, Any]:
    """The same for ``--json``."""
    return {
        "invoices": [invoice_facts(one) for one in line.invoices.values()],
        "shares": [
            {"invoice": key, "deal": deal, "account": account, "share": share}
            for key, shares in line.shares.items()
            for share, deal, account in shares
        ],
        "targets": list(line.targets.values()),
    }
