"""Between a document in the ledger, the invoice as we mean it, and what the ERP is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from ledger.billing_rows import DocumentLine, DocumentRow

from activities.billing.gathering import PROJECT, Gathering
from canonical.causes import Cause, Queue
from canonical.engagement import Contract
from canonical.erp_billing import (
    BillingOwner,
    ContractLineReading,
    InvoiceDraft,
    InvoiceLineDraft,
    InvoiceLineKind,
)
from canonical.failures import Refused
from canonical.invoicing import InvoiceLine, InvoicePlan
from canonical.money import Money
from connectors.ports.billing import BillingPort
from ledger.store import Ledger
from rules.grouping import LINE_KINDS, description
from rules.placing import ContractFacts

CLIENT, CONTRACT = "client", "contract"
"""Kinds of links to what an ERP calls a client and a contract."""
QUANTITY = Decimal("0.00000001")
"""Decimals of a contract line's quantity that an invoice line uses up."""


@dataclass(frozen=True)
class Document:
    """A document with its lines and the contracts behind them."""

    row: DocumentRow
    lines: Sequence[DocumentLine]
    contracts: Mapping[str, ContractFacts]

    @property
    def terms(self) -> list[Contract]:
        """The contracts, by key."""
        return [self.contracts[key].contract for key in sorted(self.contracts)]

    @property
    def title(self) -> str:
        """For people: who bills whom for what."""
        group = self.row.group
        return f"{group.seller} to {group.bill_to}, {group.subject}, {self.row.cycle}"

    def plan(self) -> InvoicePlan:
        """The invoice as we mean it."""
        row = self.row
        return InvoicePlan(
            key=row.key,
            group=row.group,
            group_key=row.group_key,
            cycle=row.cycle,
            sequence=row.sequence,
            on=row.on,
            lines=tuple(self._line(line) for line in self.lines),
        )

    def _line(self, line: DocumentLine) -> InvoiceLine:
        item, allocation = line.item, line.allocation
        terms = self.contracts.get(item.contract_key or "")
        agreed = terms.contract.line(item.line_key) if terms is not None else None
        placement = item.placement
        return InvoiceLine(
            allocation_key=allocation.key,
            item_key=item.key,
            kind=LINE_KINDS[item.kind],
            description=description(item.kind, item.title, item.work_date, allocation.minutes),
            contract_key=item.contract_key or "",
            line_key=item.line_key,
            project_code=item.project_code or "",
            erp_project=placement.erp_project if placement is not None else None,
            erp_item=(placement.erp_item if placement is not None else None)
            or (agreed.item if agreed is not None else None),
            posting=item.posting_id,
            work_date=item.work_date,
            minutes=allocation.minutes,
            rate=item.rate.amount if item.rate is not None else None,
            amount=allocation.amount,
            billed=line.billed,
        )


async def read_document(ledger: Ledger, gathering: Gathering, key: str) -> Document | None:
    """A document as it stands; None when there is none of that key."""
    row, lines = await ledger.document(key), []
    if row is None:
        return None
    lines = await ledger.document_lines(key)
    contracts = await gathering.contracts({line.item.contract_key or "" for line in lines} - {""})
    return Document(row, lines, contracts)


async def invoice_draft(
    ledger: Ledger, port: BillingPort, document: Document, owner: BillingOwner
) -> InvoiceDraft:
    """What the ERP is asked for.

    Raises:
        Refused: the ERP cannot collect such a group, or does not know whom to bill.
    """
    plan, row = document.plan(), document.row
    if row.group.grouping not in port.billing.groupings:
        possible = ", ".join(grouping.value for grouping in port.billing.groupings)
        raise Refused(
            f"{port.system} cannot invoice per {row.group.grouping.value}; possible: {possible}.",
            cause=Cause.BILLING_METHOD_MISSING,
            queue=Queue.BILLING,
            system=port.system,
            remedy="Change the contract's grouping of invoices, then retry.",
        )
    contracts = sorted(document.contracts)
    clients, agreed, projects = await asyncio.gather(
        ledger.links_of_all(CLIENT, [row.group.bill_to], system=port.system),
        ledger.links_of_all(CONTRACT, contracts, system=port.system),
        ledger.links_of_all(PROJECT, contracts, system=port.system),
    )
    if row.group.bill_to not in clients:
        raise Refused(
            f"{port.system} has no linked customer for client {row.group.bill_to}.",
            cause=Cause.BILL_TO_MISSING,
            queue=Queue.MASTER_DATA,
            system=port.system,
            remedy="Link the customer with `trueup adopt`, then retry.",
        )
    project_of = {key: links[0].record.id for key, links in projects.items()}
    contract = agreed[contracts[0]][0].record.id if len(contracts) == 1 and contracts[0] in agreed else None
    order = await _order_lines(port, plan, contract)
    used = {line.erp_project or project_of.get(line.contract_key) for line in plan.lines}
    return InvoiceDraft(
        key=row.key,
        owner=owner,
        seller=row.group.seller,
        bill_to=clients[row.group.bill_to][0].record.id,
        contract=contract,
        project=next(iter(used)) if len(used) == 1 else None,
        currency=row.group.currency,
        on=row.on,
        purchase_order=row.group.purchase_order,
        memo=row.key,
        lines=tuple(_asked(line, project_of.get(line.contract_key), order) for line in plan.lines),
    )


async def _order_lines(
    port: BillingPort, plan: InvoicePlan, contract: str | None
) -> dict[str, ContractLineReading]:
    """Lines of the contract in the ERP by our key, where it keeps our keys and the invoice has fees."""
    if contract is None or all(line.kind is not InvoiceLineKind.FEE for line in plan.lines):
        return {}
    return {one.key: one for one in await port.contract_lines(contract) if one.key is not None}


def _asked(
    line: InvoiceLine, project: str | None, order: Mapping[str, ContractLineReading]
) -> InvoiceLineDraft:
    agreed = order.get(line.line_key or "") if line.kind is InvoiceLineKind.FEE else None
    return InvoiceLineDraft(
        key=line.allocation_key,
        kind=line.kind,
        description=line.description,
        item=line.erp_item or "",
        amount=line.billed,
        posting=line.posting,
        order_line=agreed.order_line if agreed is not None else None,
        order_quantity=_quantity(agreed, line.billed) if agreed is not None else None,
        project=line.erp_project or project,
        work_date=line.work_date,
    )


def _quantity(agreed: ContractLineReading, billed: Money) -> Decimal | None:
    """The part of a contract line's quantity that an amount of it uses up."""
    if not agreed.amount.amount:
        return None
    return (agreed.quantity * billed.amount / agreed.amount.amount).quantize(QUANTITY, ROUND_HALF_UP)
