"""Making one record from another: ``POST /{type}/{id}/!transform/{target}``.

Source: vendor documentation: Operations. How a body's lines meet the source's lines is not documented; here
the lines of the body are the lines of the new document, each inheriting what it leaves open from the source
line that it names (``orderLine`` for an order, ``line`` for an invoice). A body without lines takes the
source's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from simulators.kit import Record
from simulators.netsuite import errors
from simulators.netsuite.records import Origin, Records
from simulators.netsuite.state import Books, dec, lines, ref_id
from simulators.netsuite.values import Strictness

Made = tuple[Record, list[Record], str]
"""Stored fields to start from, source lines in body form, and the line field that names a source line."""

_HEAD = (
    "entity",
    "job",
    "subsidiary",
    "currency",
    "terms",
    "otherRefNum",
    "memo",
    "department",
    "class",
    "location",
)
_LINE = (
    "item",
    "description",
    "rate",
    "units",
    "job",
    "department",
    "class",
    "location",
    "price",
    "taxCode",
    "revRecStartDate",
    "revRecEndDate",
)


def _from_job(books: Books, job: Record) -> Made:
    customer = books.customer_of(job["id"])
    if customer is None:
        raise errors.user_error("The project has no customer to bill.", "parent")
    head: Record = {"entity": {"id": customer["id"]}, "job": {"id": job["id"]}}
    head.update({k: job[k] for k in ("subsidiary", "currency") if k in job})
    rows: list[Record] = []
    if "jobItem" in job and "jobPrice" in job:
        rows.append({"item": job["jobItem"], "quantity": Decimal(1), "amount": job["jobPrice"]})
    return head, rows, "line"


def _job_to_order(books: Books, job: Record) -> Made:
    head, rows, key = _from_job(books, job)
    if "billingSchedule" in job:
        head["billingSchedule"] = job["billingSchedule"]
    return head, rows, key


def _job_to_invoice(books: Books, job: Record) -> Made:
    head, _, key = _from_job(books, job)
    return head, [], key


def _order_to_invoice(books: Books, order: Record) -> Made:
    if ref_id(order["orderStatus"]) != "B":
        raise errors.user_error("The sales order is pending approval and cannot be billed.")
    rows = []
    for line in lines(order, "item"):
        left = dec(line["quantity"]) - dec(line["quantityBilled"])
        if line.get("isClosed") or left <= 0:
            continue
        row = {k: line[k] for k in _LINE if k in line}
        row.update(orderDoc={"id": order["id"]}, orderLine=line["line"], quantity=left)
        row["amount"] = dec(line["amount"]) * left / dec(line["quantity"])
        rows.append(row)
    if not rows:
        raise errors.user_error("The sales order has nothing left to bill.")
    head = {k: order[k] for k in _HEAD if k in order}
    return {**head, "createdFrom": {"id": order["id"]}}, rows, "orderLine"


def _invoice_to_credit(books: Books, invoice: Record) -> Made:
    rows = [
        {**{k: line[k] for k in (*_LINE, "line", "quantity", "amount") if k in line}}
        for line in lines(invoice, "item")
    ]
    following = max((int(r["line"]) for r in rows), default=0) + 1
    for name in ("time", "expCost"):
        for line in lines(invoice, name):
            if "item" in line:
                row: Record = {k: line[k] for k in ("item", "rate") if k in line}
                rows.append({**row, "quantity": Decimal(1), "amount": line["amount"], "line": following})
                following += 1
    head = {k: invoice[k] for k in (*_HEAD, "exchangeRate") if k in invoice and k != "terms"}
    head["createdFrom"] = {"id": invoice["id"]}
    if books.settings["credit_auto_apply"] and invoice["amountRemaining"] > 0:
        head["apply"] = {"items": [{"doc": {"id": invoice["id"]}, "apply": True}]}
    return head, rows, "line"


def _invoice_to_payment(books: Books, invoice: Record) -> Made:
    customer = books.customer_of(ref_id(invoice["entity"])) or {}
    head: Record = {k: invoice[k] for k in ("subsidiary", "currency") if k in invoice}
    head.update(customer={"id": customer.get("id")}, payment=invoice["amountRemaining"])
    head["apply"] = {"items": [{"doc": {"id": invoice["id"]}, "apply": True}]}
    return head, [], "line"


def _customer(books: Books, customer: Record) -> Made:
    head: Record = {k: customer[k] for k in ("subsidiary", "currency", "terms") if k in customer}
    return {"entity": {"id": customer["id"]}, **head}, [], "line"


def _customer_to_payment(books: Books, customer: Record) -> Made:
    head: Record = {k: customer[k] for k in ("subsidiary", "currency") if k in customer}
    return {"customer": {"id": customer["id"]}, **head}, [], "line"


TRANSFORMS: dict[tuple[str, str], Callable[[Books, Record], Made]] = {
    ("job", "salesOrder"): _job_to_order,
    ("job", "invoice"): _job_to_invoice,
    ("salesOrder", "invoice"): _order_to_invoice,
    ("invoice", "creditMemo"): _invoice_to_credit,
    ("invoice", "customerPayment"): _invoice_to_payment,
    ("customer", "salesOrder"): _customer,
    ("customer", "invoice"): _customer,
    ("customer", "customerPayment"): _customer_to_payment,
}
"""The transforms served here."""


def transform(
    records: Records, type_: str, id_: str, target: str, body: dict[str, Any], how: Strictness, origin: Origin
) -> str:
    """Make the target record; its internal id.

    Raises:
        VendorError: no such transform, or the new record is refused.
    """
    make = TRANSFORMS.get((type_, target))
    if make is None:
        raise errors.nonexistent(f"The transformation from {type_} to {target} does not exist.")
    base, source, key = make(records.books, records.books.need(type_, id_))
    sent = dict(body)
    given = sent.get("item")
    if isinstance(given, dict) and isinstance(given.get("items"), list):
        sent["item"] = {"items": [_inherit(row, source, key) for row in given["items"]]}
    elif source and given is None:
        base["item"] = {"items": source}
    return records.create(target, sent, how, origin, base=base, operation=f"transform from {type_}")


def _inherit(row: Any, source: list[Record], key: str) -> Any:
    if not isinstance(row, dict) or key not in row:
        return row
    found = next((line for line in source if line.get(key) == row[key]), None)
    if found is None:
        raise errors.invalid_content(f"The source record has no line {row[key]}.", f"item.items.{key}")
    kept = dict(found)
    if "amount" not in row and ("rate" in row or "quantity" in row):
        if "rate" not in row and "rate" not in kept and dec(kept.get("quantity")):
            kept["amount"] = dec(kept["amount"]) * dec(row["quantity"]) / dec(kept["quantity"])
        else:
            kept.pop("amount", None)
    return {**kept, **row}
