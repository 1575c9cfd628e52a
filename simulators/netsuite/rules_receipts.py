"""Payments, credit memos and refunds, and what their application does to invoices and credit memos.

Sources: vendor documentation: Operations (credit invoice, payment); Events; Compensation; Customer Refund
(the record, its ``apply`` sublist). A refund here pays credit memos back, not unapplied payments.
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
    refunded = sum(books.applied.get(str(new["id"]), {}).values(), Decimal(0))
    if new["applied"] + refunded > new["total"]:
        raise errors.user_error("You cannot apply more than the total of this transaction.", "apply")
    new["amountPaid"] = new["applied"] + refunded
    new["amountRemaining"] = new["total"] - new["amountPaid"]
    new["status"] = {"id": "B" if new["amountRemaining"] == 0 else "A"}
    new["number"] = int(new["transactionNumber"])
    check_ledger(books, old, new, "arLocked")


def prepare_refund(books: Books, old: Record | None, new: Record) -> None:
    """A refund pays credit memos of one customer back, no more than they have left."""
    customer = common(books, "customerRefund", old, new, payer="customer")
    key, total, kept = ("customerRefund", new["id"]), Decimal(0), []
    for place, line in enumerate(lines(new, "apply")):
        if line.get("apply") is not True:
            continue
        where = f"apply.items[{place}]"
        memo = books.get("creditMemo", ref_id(line.get("doc")))
        if memo is None:
            raise errors.invalid_content("Invalid reference value for field 'doc'.", where + ".doc")
        owner = books.customer_of(ref_id(memo["entity"])) or {}
        if owner.get("id") != customer["id"] or memo.get("currency") != new.get("currency"):
            raise errors.user_error("The credit belongs to another customer or currency.", where + ".doc")
        due = dec(memo["amountRemaining"]) + books.applied.get(memo["id"], {}).get(key, Decimal(0))
        amount = dec(line["amount"]) if "amount" in line else due
        if amount <= 0 or amount > due:
            raise errors.user_error(f"The amount applied must be between 0 and {due}.", where + ".amount")
        line.update(amount=amount, due=due, total=memo["total"], refNum=memo["tranId"], type="Credit Memo")
        total += amount
        kept.append(line)
    if not kept:
        raise errors.user_error("You must apply the refund to at least one transaction.", "apply")
    new["apply"], new["total"] = {"items": kept}, total
    new["status"] = {"id": "B"}
    check_ledger(books, old, new, "arLocked")


def settle_refund(books: Books, old: Record | None, new: Record) -> None:
    """Carry what is paid back over to the credit memos."""
    key = ("customerRefund", str(new["id"]))
    after = {str(ref_id(x["doc"])): dec(x["amount"]) for x in lines(new, "apply")}
    before = {str(ref_id(x["doc"])): dec(x["amount"]) for x in lines(old or {}, "apply")}
    for memo_id in sorted({*before, *after}):
        held = books.applied.setdefault(memo_id, {})
        held.pop(key, None)
        if memo_id in after:
            held[key] = after[memo_id]
        memo = dict(books.need("creditMemo", memo_id))
        memo["amountPaid"] = dec(memo["applied"]) + sum(held.values(), Decimal(0))
        memo["amountRemaining"] = dec(memo["total"]) - memo["amountPaid"]
        memo["status"] = {"id": "B" if memo["amountRemaining"] == 0 else "A"}
        books.save("creditMemo", memo_id, memo)


def refund_removed(books: Books, record: Record) -> None:
    """A deleted refund leaves its credit memos open again."""
    settle_refund(books, record, {"id": record["id"]})


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
