"""Rounding, tax, exchange rates, periods and due dates.

Money is ``Decimal`` in the currency's own unit; amounts are rounded half up to the currency's decimals
(the vendor does not document its rounding; assumption).
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from simulators.kit import Record
from simulators.netsuite import errors
from simulators.netsuite.state import Books, dec, lines, ref_id


def rounded(books: Books, amount: Decimal, currency: str | None) -> Decimal:
    """An amount in whole minor units of a currency."""
    return amount.quantize(Decimal(1).scaleb(-books.precision(currency)), ROUND_HALF_UP)


def hours(duration: str) -> Decimal:
    """``h:mm`` as hours."""
    sign = -1 if duration.startswith("-") else 1
    whole, minutes = duration.lstrip("-").split(":")
    return sign * (Decimal(whole) + Decimal(minutes) / 60)


def tax_rate(books: Books, document: Record, line: Record) -> Decimal:
    """The tax rate of a line in percent, by the account's tax mode."""
    settings = books.settings
    if settings["tax_mode"] == "legacy":
        if "taxRate1" in line:
            return dec(line["taxRate1"])
        owner = books.customer_of(ref_id(document.get("entity"))) or {}
        code = ref_id(line.get("taxCode")) or ref_id(document.get("taxItem")) or ref_id(owner.get("taxItem"))
        return Decimal(str(settings["tax_codes"].get(code, settings["tax_rate"])))
    return Decimal(str(settings["tax_rates"].get(ref_id(document.get("subsidiary")), settings["tax_rate"])))


def exchange_rate(books: Books, document: Record, currency: str | None) -> Decimal:
    """The rate from the document's currency to its subsidiary's, at its date.

    The latest currency rate on or before the date counts, then the currency's own default rate, then 1.
    """
    subsidiary = books.get("subsidiary", ref_id(document.get("subsidiary"))) or {}
    base = ref_id(subsidiary.get("currency"))
    if base is None or currency is None or base == currency:
        return Decimal(1)
    best: Record | None = None
    for key in books.referring("currency", currency, "currencyRate"):
        rate = books.need(*key)
        if ref_id(rate.get("transactionCurrency")) != currency or ref_id(rate.get("baseCurrency")) != base:
            continue
        if rate.get("effectiveDate", "") > document["tranDate"]:
            continue
        if best is None or rate.get("effectiveDate", "") > best.get("effectiveDate", ""):
            best = rate
    if best is not None:
        return dec(best["exchangeRate"])
    own = books.get("currency", currency) or {}
    return dec(own["exchangeRate"]) if "exchangeRate" in own else Decimal(1)


def due_date(books: Books, document: Record) -> str:
    """When the document falls due: its date plus the days of its terms."""
    terms = books.get("term", ref_id(document.get("terms"))) or {}
    day = date.fromisoformat(document["tranDate"]) + timedelta(days=int(terms.get("daysUntilNetDue", 0)))
    return day.isoformat()


def period_of(books: Books, day: str) -> Record | None:
    """The posting period (month) that holds a day."""
    for period in books.store.all("accountingPeriod"):
        if period.get("isQuarter") or period.get("isYear") or period.get("isAdjust"):
            continue
        if period["startDate"] <= day <= period["endDate"]:
            return period
    return None


def check_period(books: Books, record: Record, lock: str, *, verb: str = "post") -> None:
    """Refuse a posting into a period that is closed or locked for its ledger.

    Accounts without accounting periods (none seeded) are not checked.

    Args:
        books: the account.
        record: the document; ``postingPeriod`` wins over ``tranDate``.
        lock: ``arLocked`` or ``apLocked``, the ledger that matters; empty checks only the general locks.
        verb: what is being tried, for the message.
    """
    if next(books.store.all("accountingPeriod"), None) is None:
        return
    period = books.get("accountingPeriod", ref_id(record.get("postingPeriod")))
    if period is None:
        period = period_of(books, record["tranDate"])
    if period is None and books.seeding:
        return
    if period is None:
        raise errors.user_error(
            f"The transaction date {record['tranDate']} is not within any accounting period.", "tranDate"
        )
    locked = not books.seeding
    if locked and (period.get("closed") or period.get("allLocked") or (lock and period.get(lock))):
        state = "closed" if period.get("closed") else "locked"
        raise errors.user_error(
            f"You cannot {verb} this transaction: accounting period {period.get('periodName')} is {state}.",
            "postingPeriod",
        )
    if lock:
        record["postingPeriod"] = {"id": period["id"]}


def total_up(books: Books, document: Record) -> None:
    """Compute line amounts, tax and totals of an order, invoice or credit memo."""
    currency = ref_id(document.get("currency"))
    net = tax = Decimal(0)
    details = []
    for name in ("item", "time", "expCost"):
        for line in lines(document, name):
            if name != "item" and not line.get("apply", True):
                continue
            amount = _amount(books, line, currency)
            rate = tax_rate(books, document, line)
            line_tax = rounded(books, amount * rate / 100, currency)
            line.update(amount=amount, taxAmount=line_tax, grossAmt=amount + line_tax)
            net, tax = net + amount, tax + line_tax
            if rate and books.settings["tax_mode"] == "suitetax":
                details.append(
                    {
                        "lineType": name,
                        "netAmount": amount,
                        "taxBasis": amount,
                        "taxRate": rate,
                        "taxAmount": line_tax,
                    }
                )
    if document.get("taxDetailsOverride"):
        given = (dec(line.get("taxAmount")) for line in lines(document, "taxDetails"))
        tax = rounded(books, sum(given, Decimal(0)), currency)
    elif books.settings["tax_mode"] == "suitetax":
        document["taxDetails"] = {"items": details}
    document.update(subtotal=net, taxTotal=tax, total=net + tax)


def _amount(books: Books, line: Record, currency: str | None) -> Decimal:
    if "amount" in line:
        return rounded(books, dec(line["amount"]), currency)
    rate = dec(line["rate"]) if "rate" in line else _price(books, line)
    return rounded(books, rate * dec(line.get("quantity", 1)), currency)


def _price(books: Books, line: Record) -> Decimal:
    id_ = ref_id(line.get("item"))
    item = books.get("serviceSaleItem", id_) or books.get("nonInventorySaleItem", id_) or {}
    return dec(item.get("rate"))
