"""A landed record in canonical words, for the read-back that proves a write. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from canonical.money import round_to
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.billing_readings import to_state
from connectors.netsuite.schemas import InvoiceRecord, JobRecord, OrderRecord
from connectors.netsuite.settings import NetSuiteMapping

EXPANDED = frozenset({"salesOrder", "customer", "invoice", "creditMemo", "expenseReport"})
"""Record types whose sublists matter to a read-back."""


def canonical_values(mapping: NetSuiteMapping, record_type: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything a read-back of this type can be asked for.

    Amounts are text with the currency's decimals, enumerations are our words, references are ids.
    """
    match record_type:
        case "customer":
            return customer_values(mapping, record)
        case "customerSubsidiaryRelationship":
            return {
                "client": wire.ref_id(record.get("entity")),
                "legal_entity": _entity(mapping, wire.ref_id(record.get("subsidiary"))),
            }
        case "job":
            return job_values(mapping, JobRecord.model_validate(record)) | progress_values(mapping, record)
        case "billingSchedule":
            remaining = record.get("numberRemaining")
            return {
                "name": record.get("name"),
                "occurrences": None if remaining is None else int(wire.decimal(remaining)),
            }
        case "salesOrder":
            return order_values(mapping, OrderRecord.model_validate(record))
        case "timeBill":
            return {
                "hours": record.get("hours"),
                "posted_on": record.get("tranDate"),
                "project": wire.ref_id(record.get("customer")),
                "worker": wire.ref_id(record.get("employee")),
                "billable": wire.flag(record.get("isBillable")),
            }
        case "expenseReport":
            return expense_values(mapping, record)
        case "charge":
            return {
                "amount": _amount_of_charge(mapping, record),
                "project": wire.ref_id(record.get("billTo")),
            }
        case "invoice":
            return invoice_values(mapping, record)
        case "creditMemo":
            order = OrderRecord.model_validate(record)
            values = order_values(mapping, order)
            kept = {k: values[k] for k in ("client", "legal_entity", "currency", "amount", "lines")}
            return {**kept, "invoice": wire.ref_id(record.get("createdFrom"))}
    return {}


def expense_values(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> dict[str, Any]:
    """An expense report of ours: one line."""
    line = next(iter(wire.items(record.get("expense"))), {})
    currency = _currency(mapping, wire.ref_id(record.get("expensereportcurrency")))
    return {
        "amount": money_text(wire.decimal(line.get("amount", 0)), currency),
        "posted_on": record.get("tranDate"),
        "project": wire.ref_id(line.get("customer")),
        "worker": wire.ref_id(record.get("entity")),
        "billable": wire.flag(line.get("isBillable")),
    }


def invoice_values(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> dict[str, Any]:
    """An invoice: parties, currency, net of all its lines, how far it has come."""
    invoice = InvoiceRecord.model_validate(record)
    currency = _currency(mapping, invoice.currency)
    return {
        "client": invoice.entity,
        "legal_entity": _entity(mapping, invoice.subsidiary),
        "currency": currency,
        "amount": money_text(invoice.net, currency),
        "lines": len(invoice.taken),
        "state": to_state(mapping, record).value,
    }


def customer_values(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> dict[str, Any]:
    """A customer: name, primary entity and currency, every currency it holds, parent."""
    held = {wire.ref_id(line.get("currency")) for line in wire.items(record.get("currencyList"))}
    held.add(wire.ref_id(record.get("currency")))
    return {
        "name": record.get("companyName"),
        "legal_entity": _entity(mapping, wire.ref_id(record.get("subsidiary"))),
        "currency": _currency(mapping, wire.ref_id(record.get("currency"))),
        "parent": wire.ref_id(record.get("parent")),
        "inactive": wire.flag(record.get("isInactive")),
        **{f"currency:{code}": id_ in held for code, id_ in mapping.currencies.items()},
    }


def job_values(mapping: NetSuiteMapping, job: JobRecord) -> dict[str, Any]:
    """A project: title, code, client, entity, currency, billing type, state."""
    return {
        "title": job.company_name,
        "code": job.entity_id,
        "client": job.parent,
        "legal_entity": _entity(mapping, job.subsidiary),
        "currency": _currency(mapping, job.currency),
        "billing_type": job.billing_type,
        "status": to.project_state(mapping, job.status, inactive=job.inactive),
    }


def progress_values(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a project shows of progress, by measure: numbers as plain digits, nothing as empty text."""
    return {
        f"progress.{measure}": plain_text(record.get(field))
        for measure, field in mapping.progress.named.items()
    }


def plain_text(value: Any) -> str:
    """A value as text that does not depend on how a number is written."""
    if value is None:
        return ""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return wire.plain(Decimal(value))
    return str(value)


def order_values(mapping: NetSuiteMapping, order: OrderRecord) -> dict[str, Any]:
    """A sales order: parties, entity, currency, net amount, number of lines, whether approved."""
    currency = _currency(mapping, order.currency)
    return {
        "client": order.entity,
        "project": order.job,
        "legal_entity": _entity(mapping, order.subsidiary),
        "currency": currency,
        "amount": money_text(order.net, currency),
        "lines": len(order.lines),
        "approved": order.status not in mapping.order_status.not_approved,
    }


def money_text(amount: Any, currency: str) -> str:
    """An amount with its currency's decimals; unrounded where it has more, so that the excess shows."""
    try:
        rounded = round_to(amount, currency)
    except ValueError:  # a currency we do not map: show what is there
        return str(amount)
    return wire.number(rounded, currency) if rounded == amount else str(amount)


def _amount_of_charge(mapping: NetSuiteMapping, record: Mapping[str, Any]) -> str:
    total = wire.decimal(record.get("rate", 0)) * wire.decimal(record.get("quantity", 1))
    return wire.plain(total)


def _entity(mapping: NetSuiteMapping, id_: str | None) -> str:
    return to.our_code(mapping.subsidiaries, id_, "subsidiary")


def _currency(mapping: NetSuiteMapping, id_: str | None) -> str:
    return to.our_code(mapping.currencies, id_, "currency")
