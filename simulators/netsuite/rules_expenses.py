"""Expense reports.

Sources: vendor documentation: Operations (post expenses); Periods, currency, entity, tax.
"""

from __future__ import annotations

from decimal import Decimal

from simulators.kit import Record
from simulators.netsuite import errors
from simulators.netsuite.rules_entities import require
from simulators.netsuite.rules_sales import assign_number, check_ledger, number_lines
from simulators.netsuite.state import Books, dec, lines, ref_id, stamp


def prepare_expense(books: Books, old: Record | None, new: Record) -> None:
    """An expense report needs an employee and lines with category and amount."""
    require(new, "entity")
    new.setdefault("tranDate", books.today().isoformat())
    if not lines(new, "expense"):
        raise errors.user_error("You must enter at least one line item for this transaction.", "expense")
    worker = books.get("employee", ref_id(new["entity"])) or {}
    if old is None:
        new["createdDate"] = stamp(books.at)
        assign_number(books, "expenseReport", new)
    if "subsidiary" not in new and "subsidiary" in worker:
        new["subsidiary"] = dict(worker["subsidiary"])
    number_lines(books, new, "expense")
    for place, line in enumerate(lines(new, "expense")):
        where = f"expense.items[{place}]."
        for name in ("category", "amount"):
            if name not in line:
                raise errors.user_error(f"Please enter value(s) for: {name}.", where + name)
        if line.get("isBillable") and "customer" not in line:
            raise errors.user_error("Please enter value(s) for: customer.", where + "customer")
        job = books.get("job", ref_id(line.get("customer")))
        if job is not None and job.get("allowExpenses") is False:
            raise errors.user_error(f"Project {job['entityId']} does not allow expenses.", where + "customer")
    new["total"] = sum((dec(line["amount"]) for line in lines(new, "expense")), Decimal(0))
    new["amount"] = new["reimbursable"] = sum(
        (dec(ln["amount"]) for ln in lines(new, "expense") if not ln.get("isnonreimbursable")), Decimal(0)
    )
    new.setdefault("complete", False)
    new.setdefault("approvalStatus", {"id": "1" if new["complete"] else "11"})
    letters = {"11": "A", "1": "B", "2": "F", "3": "D"}
    new["status"] = {"id": letters[str(ref_id(new["approvalStatus"]))]}
    check_ledger(books, old, new, "apLocked")
