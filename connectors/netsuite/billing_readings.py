"""NetSuite's invoices, credits, periods, workers and projects in canonical words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.billing import CreditMemo, Invoice, TaxLine
from canonical.erp_billing import (
    AccountingPeriod,
    ContractLineReading,
    CreditReading,
    ErpProject,
    ErpWorker,
    InvoiceLineKind,
    InvoiceLineReading,
    InvoiceReading,
    InvoiceState,
)
from canonical.money import AmountRole, Money, round_to
from canonical.refs import RecordRef
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.schemas import InvoiceRecord, OrderLine, OrderRecord
from connectors.netsuite.settings import NetSuiteMapping

VOIDED = "V"
"""``invoice.status`` of a voided one: that is done by hand, REST has no action for it."""


def to_state(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> InvoiceState:
    """How far an invoice is: pending approval is a draft, approval posts it."""
    rules = mapping.billing
    approval = wire.ref_id(record.get("approvalStatus"))
    if wire.ref_id(record.get("status")) == VOIDED or approval in rules.rejected:
        return InvoiceState.REFUSED
    return InvoiceState.POSTED if approval in (rules.approved, None) else InvoiceState.DRAFTED


def to_invoice(
    mapping: NetSuiteMapping,
    record: Mapping[str, Any],
    ref: RecordRef,
    applied: Iterable[Mapping[str, Any]] = (),
) -> InvoiceReading:
    """An invoice: gross is what is paid and what remains; tax is gross less the lines' net.

    Raises:
        ValueError: an amount does not fit the currency, or the credits exceed what counts as paid.
    """
    invoice = InvoiceRecord.model_validate(record)
    currency = to.our_code(mapping.currencies, invoice.currency, "currency")
    money = _in(currency)
    settled, balance, net = money(invoice.amount_paid), money(invoice.amount_remaining), money(invoice.net)
    gross = settled + balance
    # Credits may be told with either sign.
    credits_ = [abs(wire.decimal(row.get("amount", 0))) for row in applied if row.get("type") == "CustCred"]
    credited = money(sum(credits_, Decimal(0)))
    if credited.amount > settled.amount:
        raise ValueError(f"credited {credited} exceeds what NetSuite counts as paid, {settled}")
    tax = gross - net
    state = to_state(mapping, record)
    told = Invoice(
        ref=ref,
        number=invoice.tran_id,
        seller=to.our_code(mapping.subsidiaries, invoice.subsidiary, "subsidiary"),
        bill_to=invoice.entity or "",
        contract_keys=(),
        purchase_order=invoice.purchase_order,
        issued_on=date.fromisoformat(invoice.tran_date[:10]),
        due_on=wire.day(invoice.due_date),
        net=net,
        tax=_taxes(invoice, tax, money),
        gross=gross,
        paid=settled - credited,
        credited=credited,
        withheld=money(0),
        written_off=money(0),
        balance=balance,
        modified_at=wire.instant(invoice.last_modified),
    )
    rate = record.get("exchangeRate")
    refused = (
        "voided" if wire.ref_id(record.get("status")) == VOIDED else "rejected by an approver in NetSuite"
    )
    return InvoiceReading(
        state=state,
        invoice=told,
        lines=tuple(to_lines(mapping, invoice, money)),
        exchange_rate=None if rate is None else wire.decimal(rate),
        posting_period=wire.ref_id(record.get("postingPeriod")),
        reason=refused if state is InvoiceState.REFUSED else None,
    )


def _in(currency: str) -> Any:
    def money(amount: Any) -> Money:
        return Money(amount=wire.decimal(amount), currency=currency, role=AmountRole.BILLING)

    return money


def _taxes(invoice: InvoiceRecord, tax: Money, money: Any) -> tuple[TaxLine, ...]:
    """Tax by code where the lines of ``taxDetails`` tell it and add up, else in one sum."""
    by_code: dict[str, Decimal] = {}
    for line in wire.items(invoice.tax_details):
        code = wire.ref_id(line.get("taxCode")) or str(line.get("taxType") or "total")
        by_code[code] = by_code.get(code, Decimal(0)) + wire.decimal(line.get("taxAmount", 0))
    if by_code and sum(by_code.values(), Decimal(0)) == tax.amount:
        return tuple(TaxLine(code=code, amount=money(amount)) for code, amount in sorted(by_code.items()))
    return (TaxLine(code="total", amount=tax),) if tax.amount else ()


def to_lines(mapping: NetSuiteMapping, invoice: InvoiceRecord, money: Any) -> Iterable[InvoiceLineReading]:
    """The lines of all sublists. Time and expenses are named by what was posted, items by their number."""
    column = mapping.custom.line_key
    for line in wire.items(invoice.item):
        number = OrderLine.model_validate(line).number
        order = line.get("orderLine")
        key = None if column is None else line.get(column)
        yield InvoiceLineReading(
            line=f"item {number}",
            key=None if key is None else str(key),
            kind=InvoiceLineKind.FEE,
            net=money(line.get("amount", 0)),
            tax=money(line.get("taxAmount", 0)),
            order_line=None if order is None else int(wire.decimal(order)),
        )
    applied = ((InvoiceLineKind.TIME, invoice.time), (InvoiceLineKind.EXPENSE, invoice.exp_cost))
    for kind, sublist in applied:
        for line in wire.items(sublist):
            if not wire.flag(line.get("apply")):
                continue
            posting = wire.ref_id(line.get("doc"))
            yield InvoiceLineReading(
                line=f"{kind.value} {posting}",
                kind=kind,
                net=money(line.get("amount", 0)),
                tax=money(line.get("taxAmount", 0)),
                posting=posting,
            )


def to_credit(
    client: NetSuiteClient, mapping: NetSuiteMapping, record: Mapping[str, Any], ref: RecordRef
) -> CreditReading:
    """A credit memo; what it applies to its invoice may be less than it is worth.

    Raises:
        ValueError: an amount does not fit the currency, or it names no invoice.
    """
    order = OrderRecord.model_validate(record)
    money = _in(to.our_code(mapping.currencies, order.currency, "currency"))
    source = wire.ref_id(record.get("createdFrom"))
    if source is None:
        raise ValueError("it was not made from an invoice")
    applied = [
        wire.decimal(line.get("amount", 0))
        for line in wire.items(record.get("apply"))
        if wire.flag(line.get("apply")) and wire.ref_id(line.get("doc")) == source
    ]
    rate = record.get("exchangeRate")
    return CreditReading(
        credit=CreditMemo(
            ref=ref,
            number=order.tran_id or "",
            invoice=client.ref("invoice", source),
            net=money(order.net),
            gross=money(record.get("total", 0)),
            issued_on=date.fromisoformat(str(record["tranDate"])[:10]),
            reason=str(record.get("memo") or ""),
        ),
        applied=money(sum(applied, Decimal(0))),
        exchange_rate=None if rate is None else wire.decimal(rate),
    )


def to_contract_lines(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> list[ContractLineReading]:
    """Lines of a sales order. NetSuite counts what is billed in quantities."""
    order = OrderRecord.model_validate(record)
    currency = to.our_code(mapping.currencies, order.currency, "currency")
    column, found = mapping.custom.line_key, []
    for line in wire.items(record.get("item")):
        quantity = wire.decimal(line.get("quantity", 1))
        done = wire.decimal(line.get("quantityBilled", 0))
        amount = wire.decimal(line.get("amount", 0))
        billed = round_to(amount * done / quantity, currency) if quantity else Decimal(0)
        key = None if column is None else line.get(column)
        found.append(
            ContractLineReading(
                order_line=OrderLine.model_validate(line).number or 0,
                key=None if key is None else str(key),
                item=wire.ref_id(line.get("item")) or "",
                amount=Money(amount=amount, currency=currency),
                billed=Money(amount=billed, currency=currency),
                quantity=quantity,
                quantity_billed=done,
            )
        )
    return found


def to_period(row: Mapping[str, Any]) -> AccountingPeriod | None:
    """A month of the calendar; None for the quarters and years that sum months up."""
    if wire.flag(row.get("isyear")) or wire.flag(row.get("isquarter")):
        return None
    start, end = wire.day(row.get("startdate")), wire.day(row.get("enddate"))
    if start is None or end is None:
        return None
    return AccountingPeriod(
        name=str(row.get("periodname") or row["id"]),
        start=start,
        end=end,
        closed=wire.flag(row.get("closed")),
        receivables_locked=wire.flag(row.get("arlocked")),
        payables_locked=wire.flag(row.get("aplocked")),
        general_locked=wire.flag(row.get("alllocked")),
    )


def to_worker(
    client: NetSuiteClient, mapping: NetSuiteMapping, table: str, row: Mapping[str, Any]
) -> ErpWorker:
    """An employee, or a vendor who works."""
    subsidiary = wire.ref_id(row.get("subsidiary"))
    return ErpWorker(
        ref=client.ref(table, str(row["id"])),
        email=_text(row.get("email")),
        external_id=_text(row.get("externalid")),
        number=_text(row.get("entityid")),
        legal_entity=None
        if subsidiary is None
        else to.our_code(mapping.subsidiaries, subsidiary, "subsidiary"),
        subcontractor=table == "vendor",
        inactive=wire.flag(row.get("isinactive")),
    )


def to_project(client: NetSuiteClient, mapping: NetSuiteMapping, row: Mapping[str, Any]) -> ErpProject:
    """A project: open when its status says so and it takes time."""
    status, id_ = mapping.job_status, str(row["id"])
    closed = wire.flag(row.get("isinactive")) or str(row.get("entitystatus")) != status.open
    return ErpProject(
        ref=client.ref("job", id_),
        code=str(row.get("entityid") or ""),
        client=_text(row.get("parent")),
        legal_entity=to.our_code(mapping.subsidiaries, wire.ref_id(row.get("subsidiary")), "subsidiary"),
        currency=to.our_code(mapping.currencies, wire.ref_id(row.get("currency")), "currency"),
        open=not closed and (row.get("allowtime") is None or wire.flag(row.get("allowtime"))),
    )


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
