"""Payments and credit memos, and what their application does to invoices.

Sources: vendor documentation: Operations (credit invoice, payment); Events; Compensation.
"""

from __future__ import annotations

from decimal import Decimal

from simulators.kit import Record
from simulators.netsuite import errors, money
from simulators.netsuite.rules_entities import require
from simulators.netsuite.rules_sales import check_ledger, common, number_lines, standing
from simulators.netsuite.state import Books, Key, dec, lines, ref_id


def prepare_payment(books: Books, old: Record | None, new: Record) -> None:
    """A payment has a customer, an amount and applications that fit."""
    customer = common(books, "customerPayment", old, new, payer="customer")
    require(new, "payment")
    if dec(new["payment"]) < 0:
        raise errors.user_error("The payment amount cannot be negative.", "payment")
    new["total"] = dec(new["payment"])
    _apply(books, ("customerPayment", new["id"]), customer, new)
    new["unapplied"] = new["total"] - new["applied"]
    new["status"] = {"id": "C" if "account" in new else "B"}
    check_ledger(books, old, new, "arLocked")


def prepare_credit(books: Books, old: Record | None, new: Record) -> None:
    """A credit memo has lines, a total and applications that fit."""
    customer = common(books, "creditMemo", old, new)
    if not lines(new, "item"):
        raise errors.user_error("You must enter at least one line item for this transaction.", "item")
    for place, line in enumerate(lines(new, "item")):
        if "item" not in line:
            raise errors.user_error("Please enter value(s) for: item.", f"item.items[{place}].item")
        line.setdefault("quantity", Decimal(1))
    number_lines(books, new)
    money.total_up(books, new)
    if new["total"] < 0:
        raise errors.user_error("The total of a credit memo cannot be negative.", "total")
    _apply(books, ("creditMemo", new["id"]), customer, new)
    new["amountPaid"] = new["applied"]
    new["amountRemaining"] = new["total"] - new["applied"]
    new["status"] = {"id": "B" if new["amountRemaining"] == 0 else "A"}
    new["number"] = int(new["transactionNumber"])
    check_ledger(books, old, new, "arLocked")


def _apply(books: Books, key: Key, customer: Record, new: Record) -> None:
    """Check the applications, fill in what they leave open, and sum them up."""
    left = dec(new["total"])
    kept = []
    for place, line in enumerate(lines(new, "apply")):
        if line.get("apply") is not True:
            continue
        where = f"apply.items[{place}]"
        invoice = books.get("invoice", ref_id(line.get("doc")))
        if invoice is None:
            raise errors.invalid_content("Invalid reference value for field 'doc'.", where + ".doc")
        owner = books.customer_of(ref_id(invoice["entity"])) or {}
        if owner.get("id") != customer["id"]:
            raise errors.user_error("The invoice belongs to another customer.", where + ".doc")
        for name in ("currency", "subsidiary"):
            if invoice.get(name) != new.get(name):
                raise errors.user_error(f"The invoice has another {name}.", where + ".doc")
        if ref_id(invoice["status"]) in ("D", "E"):
            raise errors.user_error("The invoice is not approved.", where + ".doc")
        own = books.applied.get(invoice["id"], {}).get(key, Decimal(0))
        due = dec(invoice["amountRemaining"]) + own
        amount = dec(line["amount"]) if "amount" in line else min(due, left)
        if amount <= 0 or amount > due:
            raise errors.user_error(f"The amount applied must be between 0 and {due}.", where + ".amount")
        left -= amount
        if left < 0:
            raise errors.user_error(
                "You cannot apply more than the total of this transaction.", where + ".amount"
            )
        line.update(amount=amount, due=due, total=invoice["total"], refNum=invoice["tranId"], type="Invoice")
        kept.append(line)
    if "apply" in new:
        new["apply"] = {"items": kept}
    new["applied"] = dec(new["total"]) - left


def settle_receipt(type_: str, books: Books, old: Record | None, new: Record) -> None:
    """Carry applications over to the invoices: paid, remaining, status and, by setting, change stamp."""
    key = (type_, str(new["id"]))
    before = {str(ref_id(x["doc"])): dec(x["amount"]) for x in lines(old or {}, "apply")}
    after = {str(ref_id(x["doc"])): dec(x["amount"]) for x in lines(new, "apply")}
    for invoice_id in sorted({*before, *after}):
        if before.get(invoice_id) == after.get(invoice_id):
            continue
        held = books.applied.setdefault(invoice_id, {})
        held.pop(key, None)
        if invoice_id in after:
            held[key] = after[invoice_id]
        invoice = dict(books.need("invoice", invoice_id))
        standing(books, invoice)
        books.save("invoice", invoice_id, invoice, touch=bool(books.settings["payment_bumps_invoice"]))


def settle_payment(books: Books, old: Record | None, new: Record) -> None:
    """Settle a payment."""
    settle_receipt("customerPayment", books, old, new)


def settle_credit(books: Books, old: Record | None, new: Record) -> None:
    """Settle a credit memo."""
    settle_receipt("creditMemo", books, old, new)


def payment_removed(books: Books, record: Record) -> None:
    """A deleted payment re-opens its invoices."""
    settle_receipt("customerPayment", books, record, {"id": record["id"]})


def credit_removed(books: Books, record: Record) -> None:
    """A deleted credit memo re-opens its invoices."""
    settle_receipt("creditMemo", books, record, {"id": record["id"]})


def transaction_removable(books: Books, record: Record, lock: str) -> None:
    """Transactions go only in open periods, with nothing applied, with a reason if the account wants it."""
    if books.settings["deletion_reason_required"] and "deletionReason" not in record:
        raise errors.user_error("Please enter value(s) for: deletionReason.", "deletionReason")
    if books.applied.get(str(record["id"])):
        raise errors.user_error(
            "This transaction cannot be deleted because payments or credits are applied to it."
        )
    if lock:
        money.check_period(books, record, lock, verb="delete")


def receivable_removable(books: Books, record: Record) -> None:
    """Invoices, credits and payments: the receivables lock counts."""
    transaction_removable(books, record, "arLocked")


def payable_removable(books: Books, record: Record) -> None:
    """Expense reports: the payables lock counts."""
    transaction_removable(books, record, "apLocked")


def order_removable(books: Books, record: Record) -> None:
    """Orders post nothing: no period counts."""
    transaction_removable(books, record, "")
