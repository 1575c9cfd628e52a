"""Orders and invoices: defaults, totals, billing of orders, revenue arrangements.

Sources: vendor documentation: Operations; Compensation; Periods, currency, entity, tax.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from simulators.kit import Record
from simulators.netsuite import errors, money
from simulators.netsuite.rules_entities import check_currency, require
from simulators.netsuite.rules_time import fill_time_lines
from simulators.netsuite.state import Books, Key, dec, fine, lines, ref_id, stamp

_LEDGER_FIELDS = (
    "item",
    "time",
    "expCost",
    "expense",
    "apply",
    "payment",
    "tranDate",
    "postingPeriod",
    "exchangeRate",
)


def common(books: Books, type_: str, old: Record | None, new: Record, payer: str = "entity") -> Record:
    """What every customer document has: date, number, customer, subsidiary, currency, rate.

    Returns:
        The customer.
    """
    require(new, payer)
    new.setdefault("tranDate", books.today().isoformat())
    customer = books.customer_of(ref_id(new[payer]))
    if customer is None:
        raise errors.user_error("The selected project has no customer.", payer)
    job = books.get("job", ref_id(new.get("job"))) or books.get("job", ref_id(new[payer]))
    if old is None:
        if customer.get("isInactive"):
            raise errors.user_error(f"Customer {customer['entityId']} is inactive.", payer)
        new["createdDate"] = stamp(books.at)
        assign_number(books, type_, new)
    for name in (payer, "currency"):
        if old is not None and old.get(name) != new.get(name):
            raise errors.user_error(f"The {name} of a saved transaction cannot be changed.", name)
    source = job or customer
    for name in ("subsidiary", "currency"):
        if name not in new and name in source:
            new[name] = dict(source[name])
    if books.settings["oneworld"]:
        require(new, "subsidiary")
        if ref_id(new["subsidiary"]) not in books.subsidiaries_of(customer["id"]):
            raise errors.user_error("The customer is not assigned to the selected subsidiary.", "subsidiary")
    if job is not None:
        owner = books.customer_of(job["id"])
        if owner is None or owner["id"] != customer["id"]:
            raise errors.user_error("The project does not belong to the selected customer.", "job")
        if "subsidiary" in job and new.get("subsidiary") != job["subsidiary"]:
            raise errors.user_error("The project belongs to another subsidiary.", "subsidiary")
    check_currency(books, customer, new)
    if "exchangeRate" not in new:
        new["exchangeRate"] = money.exchange_rate(books, new, ref_id(new.get("currency")))
    return customer


def assign_number(books: Books, type_: str, new: Record) -> None:
    """Give a transaction its running number and, unless sent, its document number."""
    count = books.store.number("tran:" + type_)
    new.setdefault("tranId", books.settings["tran_numbering"].get(type_, "{n}").format(n=count))
    new["transactionNumber"] = str(count)


def ledger_changed(old: Record | None, new: Record) -> bool:
    """Whether a change touches what is posted."""
    return old is None or any(old.get(k) != new.get(k) for k in _LEDGER_FIELDS)


def check_ledger(books: Books, old: Record | None, new: Record, lock: str) -> None:
    """Refuse postings into, and changes of postings in, a locked period."""
    if not ledger_changed(old, new):
        return
    if old is not None:
        money.check_period(books, old, lock, verb="change")
        if old["tranDate"] != new["tranDate"] and old.get("postingPeriod") == new.get("postingPeriod"):
            new.pop("postingPeriod", None)
    money.check_period(books, new, lock)


def number_lines(books: Books, record: Record, name: str = "item") -> None:
    """Give every line its number and key."""
    used = [int(line["line"]) for line in lines(record, name) if "line" in line]
    if len(used) != len(set(used)):
        raise errors.invalid_content("Line numbers must be unique.", name)
    following = max(used, default=0) + 1
    for line in lines(record, name):
        if "line" not in line:
            line["line"] = following
            following += 1
        if name == "item" and "lineUniqueKey" not in line:
            line["lineUniqueKey"] = str(books.store.number("lineUniqueKey"))


def _check_items(record: Record) -> None:
    for place, line in enumerate(lines(record, "item")):
        if "item" not in line:
            raise errors.user_error("Please enter value(s) for: item.", f"item.items[{place}].item")
        line.setdefault("quantity", Decimal(1))


# --- orders ---------------------------------------------------------------------------------------


def prepare_order(books: Books, old: Record | None, new: Record) -> None:
    """An order has lines; what has been billed stays."""
    customer = common(books, "salesOrder", old, new)
    if not lines(new, "item"):
        raise errors.user_error("You must enter at least one line item for this transaction.", "item")
    _check_items(new)
    if "terms" not in new and "terms" in customer:
        new["terms"] = dict(customer["terms"])
    new.setdefault("orderStatus", {"id": books.settings["order_default_status"]})
    number_lines(books, new)
    billed = {line["line"]: dec(line.get("quantityBilled")) for line in lines(old or {}, "item")}
    for line in lines(new, "item"):
        line["quantityBilled"] = billed.pop(line["line"], Decimal(0))
        if dec(line["quantity"]) < line["quantityBilled"]:
            raise errors.user_error("The quantity cannot be below what has been billed.", "item")
        if "job" in new:
            line.setdefault("job", dict(new["job"]))
    if any(billed.values()):
        raise errors.user_error("A line that has been billed cannot be removed.", "item")
    money.total_up(books, new)
    new["status"] = {"id": order_status(new)}


def order_status(order: Record) -> str:
    """The status letter: A pending approval, B pending fulfilment, F pending billing, G billed, H closed."""
    rows = lines(order, "item")
    done = [line.get("isClosed") or dec(line["quantityBilled"]) >= dec(line["quantity"]) for line in rows]
    billed = any(dec(line.get("quantityBilled")) for line in rows)
    if all(done):
        return "G" if billed else "H"
    if billed:
        return "F"
    return str(ref_id(order["orderStatus"]))


def settle_order(books: Books, old: Record | None, new: Record) -> None:
    """Generate or refresh the revenue arrangement once an order is approved."""
    if books.seeding or not books.settings["revenue_management"] or ref_id(new["orderStatus"]) != "B":
        return
    key = next(books.referring("salesOrder", new["id"], "revenueArrangement"), None)
    head: Record = {k: new[k] for k in ("entity", "currency", "subsidiary", "tranDate") if k in new}
    total = sum((dec(line["amount"]) for line in _revenue_lines(new)), Decimal(0))
    if key is None:
        number = books.store.number("tran:revenueArrangement")
        key = ("revenueArrangement", books.new_id("revenueArrangement"))
        pattern = books.settings["tran_numbering"].get("revenueArrangement", "{n}")
        record: Record = {
            "id": key[1],
            "tranId": pattern.format(n=number),
            "createdFrom": {"id": new["id"]},
            "createdDate": stamp(books.at),
        }
        delay = timedelta(seconds=float(books.settings["revenue_arrangement_seconds"]))
        books.visible_from[key] = fine(books.at + delay)
    else:
        record = dict(books.need(*key))
    books.save(*key, {**record, **head, "total": total})
    _plans(books, key, new)


def _revenue_lines(order: Record) -> list[Record]:
    return [
        ln
        for ln in lines(order, "item")
        if not ln.get("doNotCreateRevenueElement") and not ln.get("isClosed")
    ]


def _plans(books: Books, arrangement: Key, order: Record) -> None:
    held = {books.need(*key)["sourceLine"]: key for key in books.referring(*arrangement, "revenuePlan")}
    for line in _revenue_lines(order):
        key = held.pop(line["line"], None)
        if key is None:
            key = ("revenuePlan", books.new_id("revenuePlan"))
            record: Record = {
                "id": key[1],
                "recordNumber": key[1],
                "status": "NOTSTARTED",
                "createdDate": stamp(books.at),
            }
            record["recognizedAmount"] = Decimal(0)
            books.visible_from[key] = books.visible_from.get(arrangement, "")
        else:
            record = dict(books.need(*key))
        record.update(
            revenueArrangement={"id": arrangement[1]},
            createdFrom={"id": order["id"]},
            sourceLine=line["line"],
            item=line["item"],
            amount=line["amount"],
        )
        record.update({k: line[k] for k in ("revRecStartDate", "revRecEndDate") if k in line})
        if "currency" in order:
            record["currency"] = order["currency"]
        books.save(*key, record)
    for key in held.values():
        books.remove(*key)


def order_removed(books: Books, record: Record) -> None:
    """What goes with a deleted order: its arrangement and plans."""
    for type_ in ("revenuePlan", "revenueArrangement"):
        for key in books.referring("salesOrder", record["id"], type_):
            books.remove(*key)


# --- invoices -------------------------------------------------------------------------------------


def prepare_invoice(books: Books, old: Record | None, new: Record) -> None:
    """Collect lines, compute totals, check orders, periods and what is already paid."""
    customer = common(books, "invoice", old, new)
    if "terms" not in new and "terms" in customer:
        new["terms"] = dict(customer["terms"])
    if old is None:
        _add_charges(books, new)
    _check_items(new)
    fill_time_lines(books, new)
    _fill_expense_lines(books, new)
    if not any(lines(new, name) for name in ("item", "time", "expCost")):
        raise errors.user_error("You must enter at least one line item for this transaction.", "item")
    number_lines(books, new)
    _check_order_lines(books, old, new)
    money.total_up(books, new)
    if new["total"] < 0:
        raise errors.user_error("The total of an invoice cannot be negative.", "total")
    if old is None or (old.get("dueDate") == new.get("dueDate") and old["tranDate"] != new["tranDate"]):
        new["dueDate"] = new["dueDate"] if old is None and "dueDate" in new else money.due_date(books, new)
    new.setdefault("approvalStatus", {"id": "1" if books.settings["invoice_approval"] else "2"})
    check_ledger(books, old, new, "arLocked")
    if old is not None and _posts(new) and not _posts(old):
        # Approval is what posts an invoice: the lock that counts is the one of that moment.
        money.check_period(books, new, "arLocked")
    if old is not None and _posts(old) and not _posts(new):
        raise errors.user_error("A posted invoice cannot return to approval.", "approvalStatus")
    new["number"] = int(new["transactionNumber"])
    standing(books, new)


def _posts(invoice: Record) -> bool:
    """Whether an invoice stands in the ledger: pending and rejected ones do not."""
    return ref_id(invoice.get("approvalStatus")) not in ("1", "3", "11")


def standing(books: Books, invoice: Record) -> None:
    """Set what is paid and remains, and the status letter (A open, B paid, D unapproved, E rejected)."""
    paid = sum(books.applied.get(invoice["id"], {}).values(), Decimal(0))
    if paid > invoice["total"]:
        raise errors.user_error(
            "The total cannot be less than what has been applied to this invoice.", "total"
        )
    invoice["amountPaid"] = paid
    invoice["amountRemaining"] = invoice["total"] - paid
    pending = {"1": "D", "3": "E", "11": "D"}.get(str(ref_id(invoice.get("approvalStatus"))))
    invoice["status"] = {"id": pending or ("B" if invoice["amountRemaining"] == 0 else "A")}


def _add_charges(books: Books, new: Record) -> None:
    which = ref_id(new.get("whichChargesToAdd"))
    if which is None:
        return
    limit = (
        new["tranDate"]
        if which == "TRANSACTION_DATE"
        else new.get("asOfDate")
        if which == "AS_OF_DATE"
        else None
    )
    owners = [
        ("job", ref_id(new.get("job"))),
        ("customer", ref_id(new["entity"])),
        ("job", ref_id(new["entity"])),
    ]
    added = []
    for owner in owners:
        for key in books.referring(owner[0], str(owner[1]), "charge") if owner[1] else ():
            charge = books.need(*key)
            ready = ref_id(charge["stage"]) == "READY_FOR_BILLING" and ref_id(charge["use"]) == "Actual"
            if "invoice" in charge or not ready or (limit and charge["chargeDate"] > limit):
                continue
            if "billingItem" not in charge or ref_id(charge["billTo"]) != owner[1]:
                continue
            line = {
                "item": charge["billingItem"],
                "lineUniqueKey": f"charge-{key[1]}",
                "amount": charge["amount"],
            }
            line["quantity"] = charge.get("quantity", Decimal(1))
            line.update({k: charge[k] for k in ("rate", "description", "chargeType") if k in charge})
            added.append(line)
    new["item"] = {"items": [*lines(new, "item"), *added]}


def _fill_expense_lines(books: Books, invoice: Record) -> None:
    kept = []
    for place, line in enumerate(lines(invoice, "expCost")):
        if line.get("apply") is not True:
            continue
        where = f"expCost.items[{place}].doc"
        report = books.get("expenseReport", ref_id(line.get("doc"))) or {}
        source = next((x for x in lines(report, "expense") if x["line"] == line.get("line")), None)
        if source is None:
            raise errors.invalid_content("Invalid reference value for field 'doc' or 'line'.", where)
        if ref_id(source.get("customer")) not in {ref_id(invoice.get("job")), ref_id(invoice["entity"])}:
            raise errors.user_error("The expense does not belong to this customer or project.", where)
        if not source.get("isBillable") or ref_id(report.get("approvalStatus")) != "2":
            raise errors.user_error("The expense is not billable or its report is not approved.", where)
        for key in books.referring("expenseReport", report["id"], "invoice"):
            taken = lines(books.need(*key), "expCost")
            if key[1] != invoice["id"] and any(
                x.get("line") == source["line"] and ref_id(x["doc"]) == report["id"] for x in taken
            ):
                raise errors.user_error("The expense has already been invoiced.", where)
        line.update(
            category=source["category"], originalAmount=source["amount"], employee=dict(report["entity"])
        )
        line["billedDate"] = source.get("expensedate", report["tranDate"])
        line.setdefault("amount", source["amount"])
        kept.append(line)
    if "expCost" in invoice:
        invoice["expCost"] = {"items": kept}


def _order_quantities(invoice: Record | None) -> dict[tuple[str, int], Decimal]:
    found: dict[tuple[str, int], Decimal] = {}
    for line in lines(invoice or {}, "item"):
        order = ref_id(line.get("orderDoc"))
        if order is not None and "orderLine" in line:
            place = (order, int(line["orderLine"]))
            found[place] = found.get(place, Decimal(0)) + dec(line["quantity"])
    return found


def _check_order_lines(books: Books, old: Record | None, new: Record) -> None:
    before = _order_quantities(old)
    for (order_id, number), quantity in _order_quantities(new).items():
        order = books.get("salesOrder", order_id) or {}
        line = next((x for x in lines(order, "item") if x["line"] == number), None)
        if line is None:
            raise errors.invalid_content(f"Sales order {order_id} has no line {number}.", "item")
        if ref_id(order["orderStatus"]) != "B":
            raise errors.user_error(
                "The sales order is pending approval and cannot be billed.", "createdFrom"
            )
        free = (
            dec(line["quantity"]) - dec(line["quantityBilled"]) + before.get((order_id, number), Decimal(0))
        )
        if quantity > free:
            raise errors.user_error(f"Line {number} of the sales order has only {free} left to bill.", "item")


def settle_invoice(books: Books, old: Record | None, new: Record) -> None:
    """Carry an invoice's lines over to the orders and charges that they bill."""
    before, after = _order_quantities(old), _order_quantities(new)
    orders = {order for order, _ in (*before, *after)}
    for order_id in sorted(orders):
        order = books.need("salesOrder", order_id)
        rows = []
        for line in lines(order, "item"):
            place = (order_id, int(line["line"]))
            moved = after.get(place, Decimal(0)) - before.get(place, Decimal(0))
            rows.append({**line, "quantityBilled": dec(line["quantityBilled"]) + moved})
        status = {"id": order_status({**order, "item": {"items": rows}})}
        books.change("salesOrder", order_id, item={"items": rows}, status=status)
    for line in lines(new, "item"):
        kind, _, charge_id = str(line.get("lineUniqueKey", "")).partition("-")
        if kind == "charge" and books.get("charge", charge_id) is not None:
            books.change("charge", charge_id, invoice={"id": new["id"]}, invoiceLine=str(line["line"]))


def invoice_removed(books: Books, record: Record) -> None:
    """A deleted invoice frees its order lines and charges."""
    for key in books.referring("invoice", record["id"], "charge"):
        books.change(*key, invoice=None, invoiceLine=None)
    settle_invoice(books, record, {"id": record["id"]})
