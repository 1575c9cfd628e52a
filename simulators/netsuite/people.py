"""What people and the account do outside the API: closing periods, the billing run, revenue recognition.

Source: vendor documentation: Periods, currency, entity, tax. Billing runs are started in the user interface
or by schedule; the record service has no call for them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from simulators.kit import VendorError
from simulators.netsuite.records import Records
from simulators.netsuite.rules_time import APPROVED, billed_on
from simulators.netsuite.state import dec, ref_id
from simulators.netsuite.values import Strictness

_STRICT = Strictness(names="Error", values="Error")
_LOCKS = {"closed", "arLocked", "apLocked", "allLocked"}


def set_locks(records: Records, change: dict[str, Any]) -> dict[str, Any]:
    """Change the locks of a period named by ``id`` or ``name``.

    Returns:
        The period as it is now.

    Raises:
        ValueError: no such period, or something else than a lock is named.
    """
    books = records.books
    locks = {name: value for name, value in change.items() if name not in ("id", "name")}
    if unknown := set(locks) - _LOCKS:
        raise ValueError(f"unknown locks {sorted(unknown)}; known: {sorted(_LOCKS)}")
    for period in books.store.all("accountingPeriod"):
        if period["id"] == change.get("id") or period["periodName"] == change.get("name"):
            records.update("accountingPeriod", period["id"], locks, _STRICT, None)
            return books.need("accountingPeriod", period["id"])
    raise ValueError(f"no accounting period {change.get('name') or change.get('id')}")


def billing_run(records: Records, day: str, jobs: list[str] | None = None) -> list[str]:
    """One invoice per project of everything that is ready; the new invoices' ids.

    Raises:
        ValueError: the account refuses an invoice; those before it stay.
    """
    books, made = records.books, []
    for job in list(books.store.all("job")):
        if jobs is not None and job["id"] not in jobs:
            continue
        ready = [
            {"doc": {"id": key[1]}, "apply": True}
            for key in books.referring("job", job["id"], "timeBill")
            if _ready(records, key[1], day)
        ]
        charges = any(
            ref_id(charge["stage"]) == "READY_FOR_BILLING"
            and "invoice" not in charge
            and charge["chargeDate"] <= day
            for charge in (books.need(*k) for k in books.referring("job", job["id"], "charge"))
        )
        customer = books.customer_of(job["id"])
        if customer is None or not (ready or charges):
            continue
        body: dict[str, Any] = {
            "entity": {"id": customer["id"]},
            "job": {"id": job["id"]},
            "tranDate": day,
            "whichChargesToAdd": {"id": "TRANSACTION_DATE"},
        }
        if ready:
            body["time"] = {"items": ready}
        try:
            made.append(records.create("invoice", body, _STRICT, None))
        except VendorError as refusal:
            raise ValueError(f"billing run, project {job['entityId']}: {refusal.answer.body}") from None
    return made


def _ready(records: Records, time_id: str, day: str) -> bool:
    entry = records.books.need("timeBill", time_id)
    return (
        bool(entry.get("isBillable"))
        and ref_id(entry.get("approvalStatus")) == APPROVED
        and entry["tranDate"] <= day
        and billed_on(records.books, time_id) is None
    )


def recognise(records: Records, order: str, amount: Any) -> list[dict[str, Any]]:
    """Recognise revenue on an order's plans, oldest first, as the account's own recognition does.

    Raises:
        ValueError: the order has no plans, or less than that is left to recognise.
    """
    books, left = records.books, Decimal(str(amount))
    plans = sorted(books.referring("salesOrder", order, "revenuePlan"), key=lambda key: int(key[1]))
    if not plans:
        raise ValueError(f"order {order} has no revenue plans")
    told = []
    for key in plans:
        plan = books.need(*key)
        done = dec(plan["recognizedAmount"])
        part = min(left, dec(plan["amount"]) - done)
        left -= part
        status = "COMPLETED" if done + part == dec(plan["amount"]) else "INPROGRESS"
        books.change(*key, recognizedAmount=done + part, status=status)
        told.append({"id": key[1], "recognized": str(done + part)})
    if left:
        raise ValueError(f"{left} more than is left to recognise on order {order}")
    return told


def change(records: Records, type_: str, id_: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Somebody edits a record in the user interface; the account's rules apply, and no write is logged.

    Raises:
        ValueError: the account refuses it.
    """
    try:
        records.update(type_, id_, fields, _STRICT, None)
    except VendorError as refusal:
        raise ValueError(f"{type_} {id_}: {refusal.answer.body}") from None
    return records.books.need(type_, id_)


def remove(records: Records, type_: str, id_: str) -> None:
    """Somebody deletes a record in the user interface.

    Raises:
        ValueError: the account refuses it.
    """
    try:
        records.delete(type_, id_, None)
    except VendorError as refusal:
        raise ValueError(f"{type_} {id_}: {refusal.answer.body}") from None
