"""What accounts, deals and delivery projects are told: sums over the shares of their invoices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from canonical.feedback import (
    Bucket,
    Budget,
    Collection,
    Facts,
    Figure,
    Held,
    InvoiceStatus,
    Rates,
    Share,
    zero,
)
from canonical.margin import Margin
from canonical.money import Money, round_to
from rules.feedback import bucket_of, collection_of, worst

_AMOUNTS: Mapping[str, Callable[[Share], Money]] = {
    "invoiced": lambda share: share.gross,
    "invoiced_net": lambda share: share.net,
    "paid": lambda share: share.paid,
    "credited": lambda share: share.credited,
    "withheld": lambda share: share.withheld,
    "written_off": lambda share: share.written_off,
    "refunded": lambda share: share.refunded,
    "balance": lambda share: share.balance,
}
AGEING = tuple(bucket.value for bucket in Bucket)
CORPORATE = ("invoiced", "paid", "balance")
"""Amounts that are also told in the CRM's corporate currency."""
_PERCENT = Decimal("0.01")


def figures_of(
    facts: Facts,
    currency: str,
    today: Callable[[Held], date],
    corporate: str | None = None,
    margin: Margin | None = None,
) -> dict[str, Figure]:
    """Every figure of a target, in its record's currency.

    Amounts in a currency for which nobody knows a rate are left out and named in ``summary``: a wrong sum
    is worse than one that says what it lacks.

    Args:
        facts: what the target's invoices, revenue and contracts are.
        currency: of the target's record.
        today: the calendar day where an invoice's seller is.
        corporate: the CRM's corporate currency, if it has one.
        margin: of the target, where its record is to tell it; without one nothing is said of margin.
    """
    live = [one for one in facts.held if one.status is not InvoiceStatus.DRAFT]
    counted = [one for one in live if one.status is not InvoiceStatus.VOIDED]
    told: dict[str, Figure] = {
        name: _sum(((pick(one.share), one.rates) for one in counted), currency)
        for name, pick in _AMOUNTS.items()
    }
    ages = {bucket: zero(currency) for bucket in Bucket}
    states = []
    for one in counted:
        owed = bool(one.share.balance.amount)
        bucket = bucket_of(one.due_on, today(one))
        states.append(collection_of(owed=owed, disputed=one.disputed, bucket=bucket))
        ages[bucket] += _in(one.share.balance, one.rates, currency) or zero(currency)
    told |= {bucket.value: amount for bucket, amount in ages.items()}
    late = (amount for bucket, amount in ages.items() if bucket is not Bucket.CURRENT)
    told["overdue"] = _total(late, currency)
    told["open_invoices"] = Decimal(sum(bool(one.share.balance.amount) for one in counted))
    told["collection_status"] = worst(states).value
    told["recognised_revenue"] = _sum(((one.recognised, one.rates) for one in facts.revenue), currency)
    told["deferred_revenue"] = _sum(((one.deferred, one.rates) for one in facts.revenue), currency)
    told |= _budget(facts.budgets, told["invoiced_net"], currency)
    told |= _latest(live)
    if corporate is not None:
        told |= {
            f"corporate_{name}": _sum(((_AMOUNTS[name](o.share), o.rates) for o in counted), corporate)
            for name in CORPORATE
        }
    if margin is not None:
        told |= {"margin": margin.amount, "margin_percent": margin.percent}
    told["summary"] = _summary(told, _foreign(counted, currency), margin)
    return told


def _in(amount: Money, rates: Rates, currency: str) -> Money | None:
    """An amount in another currency, rounded once; None where nobody knows a rate."""
    rate = rates.rate(amount.currency, currency)
    if rate is None:
        return None
    if rate == 1 and amount.currency == currency:
        return amount.model_copy(update={"role": zero(currency).role})
    return zero(currency).model_copy(update={"amount": round_to(amount.amount * rate, currency)})


def _sum(amounts: Iterable[tuple[Money, Rates]], currency: str) -> Money:
    found = (_in(amount, rates, currency) for amount, rates in amounts)
    return _total((one for one in found if one is not None), currency)


def _total(amounts: Iterable[Money], currency: str) -> Money:
    return sum(amounts, start=zero(currency))


def _budget(budgets: Sequence[Budget], used: Figure, currency: str) -> dict[str, Figure]:
    if not budgets or not isinstance(used, Money):
        return {"budget": None, "budget_consumed": None, "budget_used_percent": None}
    agreed = _sum(((one.amount, one.rates) for one in budgets), currency)
    percent = (used.amount * 100 / agreed.amount).quantize(_PERCENT, ROUND_HALF_UP) if agreed.amount else None
    return {"budget": agreed, "budget_consumed": used, "budget_used_percent": percent}


def _latest(live: Sequence[Held]) -> dict[str, Figure]:
    """The last invoice: the one that was issued last."""
    if not live:
        return {"invoice_number": None, "invoice_status": None, "invoice_due": None}
    last = max(live, key=lambda one: (one.issued_on, len(one.invoice), one.invoice))
    return {"invoice_number": last.number, "invoice_status": last.status.value, "invoice_due": last.due_on}


def _foreign(held: Sequence[Held], currency: str) -> list[str]:
    return sorted({o.share.gross.currency for o in held if _in(o.share.gross, o.rates, currency) is None})


def _summary(told: Mapping[str, Figure], foreign: Sequence[str], margin: Margin | None) -> str:
    """The figures in one line, for systems that hold a text only. It says why there is no margin, never
    what it is: that goes into fields of its own."""
    words = [f"invoiced {told['invoiced']}", f"paid {told['paid']}", f"open {told['balance']}"]
    for name in ("credited", "withheld", "written_off", "overdue"):
        amount = told[name]
        if isinstance(amount, Money) and amount.amount:
            words.append(f"{name.replace('_', ' ')} {amount}")
    if isinstance(recognised := told["recognised_revenue"], Money) and recognised.amount:
        words.append(f"recognised {recognised}")
    if told["invoice_number"]:
        words.append(f"last invoice {told['invoice_number']}: {told['invoice_status']}")
    if told["collection_status"] == Collection.DISPUTED.value:
        words.append("disputed")
    if foreign:
        words.append(f"without invoices in {', '.join(foreign)}")
    if margin is not None and margin.reason:
        words.append(f"no margin: {margin.reason}")
    return "; ".join(words)


def figures_digest(figures: Mapping[str, Figure]) -> str:
    """What tells one set of figures from another."""
    words = "\x1f".join(f"{name}={_plain(figures[name])}" for name in sorted(figures))
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _plain(figure: Figure) -> str:
    if isinstance(figure, Money):
        return f"{figure.currency} {figure.amount:f}"
    if isinstance(figure, Decimal):
        return f"{figure:f}"
    return "" if figure is None else str(figure)
