"""Time entries and charges: what may be booked, approved, changed and deleted.

Sources: vendor documentation: Operations (post time, approve time, charge); Compensation.
"""

from __future__ import annotations

from simulators.kit import Record
from simulators.netsuite import errors, money
from simulators.netsuite.rules_entities import require
from simulators.netsuite.state import Books, Key, dec, lines, ref_id, stamp

OPEN, PENDING, APPROVED, REJECTED = "1", "2", "3", "4"
"""Approval states of time (the meaning of the four ids is an assumption; 3 is approved)."""

MOVES: dict[str, tuple[tuple[str, ...], str]] = {
    "submit": ((OPEN, REJECTED), PENDING),
    "approve": ((OPEN, PENDING), APPROVED),
    "reject": ((PENDING,), REJECTED),
    "retract": ((PENDING,), OPEN),
}
"""Record actions: the states they start from and the one they lead to."""

_BILLED_FIELDS = ("hours", "rate", "item", "customer", "employee", "isBillable", "tranDate", "caseTaskEvent")


def billed_on(books: Books, time_id: str) -> Key | None:
    """The invoice that bills a time entry."""
    return next(books.referring("timeBill", time_id, "invoice"), None)


def prepare_time(books: Books, old: Record | None, new: Record) -> None:
    """A time entry needs worker and duration; billable time needs a project and an item."""
    require(new, "employee", "hours")
    new.setdefault("tranDate", books.today().isoformat())
    new.setdefault("isBillable", False)
    new.setdefault("timeType", {"id": "A"})
    new.setdefault("approvalStatus", {"id": books.settings["time_default_approval"]})
    if new["isBillable"]:
        require(new, "customer", "item")
    changed = old is None or any(old.get(k) != new.get(k) for k in _BILLED_FIELDS)
    if old is None:
        new["createdDate"] = stamp(books.at)
        new["posted"] = False
    elif changed and billed_on(books, new["id"]) is not None:
        raise errors.user_error("This time entry has been invoiced and cannot be changed.")
    if changed and books.settings["time_respects_periods"]:
        money.check_period(books, new, "", verb="enter or change")
        if old is not None:
            money.check_period(books, old, "", verb="change")
    if not changed:
        return
    worker = (
        books.get("employee", ref_id(new["employee"])) or books.get("vendor", ref_id(new["employee"])) or {}
    )
    if worker.get("isInactive"):
        raise errors.user_error("The employee is inactive.", "employee")
    if "subsidiary" not in new and "subsidiary" in worker:
        new["subsidiary"] = dict(worker["subsidiary"])
    _check_project(books, new)


def _check_project(books: Books, new: Record) -> None:
    found = books.entity(ref_id(new.get("customer")))
    if found is not None:
        type_, owner = found
        if owner.get("isInactive"):
            raise errors.user_error(f"The {type_} {owner.get('entityId')} is inactive.", "customer")
        if type_ == "job" and owner.get("allowTime") is False:
            raise errors.user_error(f"Project {owner.get('entityId')} does not allow time entry.", "customer")
        homes = (new.get("subsidiary"), owner.get("subsidiary"))
        if not books.settings["intercompany_time"] and None not in homes and homes[0] != homes[1]:
            raise errors.user_error(
                f"The employee does not belong to the subsidiary of {type_} {owner.get('entityId')}.",
                "employee",
            )
    task = books.get("projectTask", ref_id(new.get("caseTaskEvent")))
    if task is not None and ref_id(task.get("project")) != ref_id(new.get("customer")):
        raise errors.user_error("The task does not belong to the selected project.", "caseTaskEvent")


def time_removable(books: Books, record: Record) -> None:
    """Posted or invoiced time stays, as does time in a locked period."""
    if record.get("posted") or billed_on(books, record["id"]) is not None:
        raise errors.user_error("This time entry cannot be deleted because it has been posted or invoiced.")
    if books.settings["time_respects_periods"]:
        money.check_period(books, record, "", verb="delete")


def act(books: Books, record: Record, action: str) -> Record:
    """The time entry after a record action.

    Raises:
        VendorError: the entry is not in a state that the action starts from.
    """
    starts, leads = MOVES[action]
    state = ref_id(record.get("approvalStatus"))
    if state not in starts:
        raise errors.user_error(
            f"The action {action} is not available for this time entry in its current status."
        )
    new = {**record, "approvalStatus": {"id": leads}}
    new["supervisorApproval"] = leads == APPROVED
    return new


def prepare_charge(books: Books, old: Record | None, new: Record) -> None:
    """A charge has a payer, a kind, a stage and an amount."""
    require(new, "billTo", "chargeType", "stage", "use", "chargeDate")
    if old is None:
        new["createdDate"] = stamp(books.at)
    elif "invoice" in old and any(
        old.get(k) != new.get(k)
        for k in ("rate", "quantity", "amount", "stage", "billTo", "billingItem", "use")
    ):
        raise errors.user_error("This charge has been invoiced and cannot be changed.")
    found = books.entity(ref_id(new["billTo"]))
    if found is not None:
        owner = found[1]
        for name in ("subsidiary", "currency"):
            if name not in new and name in owner:
                new[name] = dict(owner[name])
    repriced = old is None or any(old.get(k) != new.get(k) for k in ("rate", "quantity"))
    if "rate" in new and (repriced or "amount" not in new) and (old is not None or "amount" not in new):
        new.setdefault("quantity", dec(1))
        currency = ref_id(new.get("currency"))
        new["amount"] = money.rounded(books, dec(new["rate"]) * dec(new["quantity"]), currency)
    require(new, "amount")


def charge_removable(books: Books, record: Record) -> None:
    """An invoiced charge stays."""
    if "invoice" in record:
        raise errors.user_error("This charge cannot be deleted because it has been invoiced.")


def fill_time_lines(books: Books, invoice: Record) -> None:
    """Complete the time sublist of an invoice from the entries that it applies."""
    kept = []
    for place, line in enumerate(lines(invoice, "time")):
        if line.get("apply") is not True:
            continue
        where = f"time.items[{place}].doc"
        entry = books.get("timeBill", ref_id(line.get("doc")))
        if entry is None:
            raise errors.invalid_content("Invalid reference value for field 'doc'.", where)
        _check_billable(books, invoice, entry, where)
        line.setdefault("item", dict(entry["item"]))
        line["employee"] = dict(entry["employee"])
        line["quantity"] = entry["hours"]
        line["billedDate"] = entry["tranDate"]
        if "memo" in entry:
            line.setdefault("memo", entry["memo"])
        if "rate" not in line:
            line["rate"] = _rate(books, entry)
        if "amount" not in line:
            line["amount"] = dec(line["rate"]) * money.hours(entry["hours"])
        kept.append(line)
    if "time" in invoice:
        invoice["time"] = {"items": kept}


def _check_billable(books: Books, invoice: Record, entry: Record, where: str) -> None:
    owners = {ref_id(invoice.get("job")), ref_id(invoice.get("entity"))}
    if ref_id(entry.get("customer")) not in owners:
        raise errors.user_error("The time entry does not belong to this customer or project.", where)
    if not entry.get("isBillable"):
        raise errors.user_error("The time entry is not billable.", where)
    if ref_id(entry.get("approvalStatus")) != APPROVED and not books.settings["bill_unapproved_time"]:
        raise errors.user_error("The time entry is not approved.", where)
    holder = billed_on(books, entry["id"])
    if holder is not None and holder[1] != invoice["id"]:
        raise errors.user_error("The time entry has already been invoiced.", where)


def _rate(books: Books, entry: Record) -> object:
    if "rate" in entry:
        return entry["rate"]
    id_ = ref_id(entry.get("item"))
    item = books.get("serviceSaleItem", id_) or books.get("nonInventorySaleItem", id_) or {}
    return dec(item.get("rate"))
