"""Between a document in the ledger, the invoice as we mean it, and what the ERP is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

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
from ledger.billing_rows import DocumentLine, DocumentRow
from ledger.store import Ledger
from rules.grouping import LINE_KINDS, description
from rules.placing import ContractFacts
from rules.review import contract_names

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
        """For people: which contracts, for which cycle."""
        return f"{contract_names(self.terms)} for {self.row.cycle}"

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
            service_item=agreed.item if agreed is not None else None,
            # What the ERP holds as cost only (work on a retainer, of which the overage is billed) it cannot
            # take up: that is a line of its own.
            posting=item.posting_id if line.first and item.unbilled_in_erp else None,
            again=line.again,
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
        lines=tuple(_asked(line, project_of.get(line.contract_key), order, document) for line in plan.lines),
    )


async def _order_lines(
    port: BillingPort, plan: InvoicePlan, contract: str | None
) -> dict[str, ContractLineReading]:
    """Lines of the contract in the ERP by our key, where it keeps our keys and the invoice has fees."""
    if contract is None or all(line.kind is not InvoiceLineKind.FEE for line in plan.lines):
        return {}
    return {one.key: one for one in await port.contract_lines(contract) if one.key is not None}


def _asked(
    line: InvoiceLine, project: str | None, order: Mapping[str, ContractLineReading], document: Document
) -> InvoiceLineDraft:
    by_order = line.kind is InvoiceLineKind.FEE and not line.again
    agreed = order.get(line.line_key or "") if by_order else None
    return InvoiceLineDraft(
        key=line.allocation_key,
        kind=line.kind,
        description=line.description,
        item=(line.erp_item or "") if line.posting is not None else line.standalone_item,
        amount=line.billed,
        posting=line.posting,
        order_line=agreed.order_line if agreed is not None else None,
        order_quantity=_quantity(agreed, line, document) if agreed is not None else None,
        project=line.erp_project or project,
        work_date=line.work_date,
    )


def _quantity(agreed: ContractLineReading, line: InvoiceLine, document: Document) -> Decimal | None:
    """The part of a contract line's quantity that an amount of it uses up.

    Rounded down, since the ERP refuses more than the line's quantity however little it is; the last date of a
    schedule takes what the others leave, so that a line that is billed in full is used up in full.
    """
    if not agreed.amount.amount:
        return None
    terms = document.contracts.get(line.contract_key)
    sold = terms.contract.line(line.line_key) if terms is not None else None
    dates = sold.schedule.dates if sold is not None and sold.schedule is not None else ()
    if dates and sum(one.amount.amount for one in dates) == agreed.amount.amount:
        *others, last = dates
        source = line.item_key.rpartition("@")[0]
        if source.endswith(f"/{line.contract_key}/{last.key}") and line.billed.amount == last.amount.amount:
            return agreed.quantity - sum((_share(agreed, one.amount) for one in others), Decimal(0))
    return _share(agreed, line.billed)


def _share(agreed: ContractLineReading, amount: Money) -> Decimal:
    return (agreed.quantity * amount.amount / agreed.amount.amount).quantize(QUANTITY, ROUND_DOWN)
