"""What a backdated rate makes of work: unbilled minutes at the new rate, the difference on billed ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from canonical.invoicing import AdjustmentCause, Freed
from canonical.money import AmountRole, Money
from canonical.rates import PricingAuthority, Rate
from rules.adjusting import Adjusted, BilledPart, Repriced, Worked, rate_credit, reprice
from tests.activities.test_retainer_billing import TERMS
from tests.ledger.billing import eur

AT = date(2026, 11, 29)
ITEM = "kantata-main/time_entries/1@r1"


def rate(amount: str, version: int = 2) -> Rate:
    return Rate(
        amount=Decimal(amount),
        currency="EUR",
        authority=PricingAuthority.CONTRACT,
        version=version,
        effective_from=date(2026, 1, 1),
    )


def part(amount: str, minutes: int = 0, *, item: str = ITEM, invoice: str = "I/2026-02/1") -> BilledPart:
    return BilledPart(
        allocation_key=f"{item}#1",
        item_key=item,
        part=1,
        minutes=minutes,
        amount=eur(amount),
        billed=Money(amount=Decimal(amount), currency="EUR", role=AmountRole.BILLING),
        invoice_key=invoice,
    )


def worked(minutes: int = 0, amount: str = "0", *billed: BilledPart, **more: object) -> Worked:
    values = {
        "item_key": ITEM,
        "region": "emea",
        "project_code": "PRJ-1",
        "line_key": "L1",
        "work_date": date(2026, 2, 10),
        "minutes": minutes,
        "amount": eur(amount),
        "rate": rate("150", 1),
        "billed": billed,
    }
    return Worked(**{**values, **more})  # type: ignore[arg-type]


def changed(item: Worked, amount: str, version: int = 2) -> Repriced:
    found = reprice(TERMS, item, rate(amount, version), AT)
    assert isinstance(found, Repriced)
    return found


def test_unbilled_work_is_worth_the_new_rate() -> None:
    found = changed(worked(480, "1200"), "160")
    assert (found.before, found.price.amount) == (eur("1200"), eur("1280"))
    assert (found.further, found.credits, found.changes) == (None, (), True)


def test_what_billed_work_is_worth_more_is_a_further_amount_for_the_same_day() -> None:
    found = changed(worked(0, "0", part("1200", 480)), "160")
    assert found.further is not None
    assert found.further.amount == eur("80").model_copy(update={"role": AmountRole.CONTRACT})
    assert (found.further.adjusts, found.further.day) == (ITEM, AT)
    assert "rate-2" in found.further.source.id
    assert found.credits == ()


def test_what_billed_work_is_worth_less_is_credited_and_its_minutes_stay_billed() -> None:
    found = changed(worked(0, "0", part("1200", 480)), "140")
    assert found.further is None
    ((invoice, credit),) = found.credits
    assert (invoice, credit.amount, str(credit.billed.amount)) == ("I/2026-02/1", eur("80"), "80.00")
    assert (credit.minutes, credit.proposed) == (0, Freed.WITHDRAWN)
    proposal = rate_credit(invoice, [credit], "agreed with the client", 1)
    assert (proposal.key, proposal.cause, str(proposal.net.amount)) == (
        "I/2026-02/1/credit-2",
        AdjustmentCause.RATE_CHANGED,
        "80.00",
    )


def test_the_same_rate_again_changes_nothing_whatever_was_brought_before() -> None:
    assert not changed(worked(480, "1200"), "150").changes
    billed = worked(0, "0", part("1200", 480))
    held = Adjusted("A1", eur("80"), eur("0"))
    given_up = Adjusted("A1", eur("0"), eur("80"))
    for one in (held, given_up):
        assert not changed(replace(billed, adjusted=(one,)), "160").changes
    credited = worked(0, "0", part("1120", 480))
    assert not changed(credited, "140").changes, "480 minutes stand on the invoice for what is left"


def test_a_second_change_proposes_only_the_rest() -> None:
    before = Adjusted("A1", eur("0"), eur("80"), (part("80", item="A1", invoice="I/2026-03/1"),))
    found = changed(worked(0, "0", part("1200", 480), adjusted=(before,)), "170", 3)
    assert found.further is not None
    assert found.further.amount.amount == 80


def test_the_same_version_asked_after_more_was_billed_has_a_key_of_its_own() -> None:
    first = changed(worked(0, "0", part("1200", 480)), "160").further
    assert first is not None
    known = Adjusted(f"{first.source}@{first.revision}", eur("0"), eur("80"))
    again = changed(worked(0, "0", part("2400", 960), adjusted=(known,)), "160").further
    assert again is not None
    assert (again.source, again.revision) == (first.source, "2")


def test_a_rate_that_falls_again_lowers_what_is_not_billed_before_it_credits() -> None:
    billed = Adjusted("A1", eur("0"), eur("80"), (part("80", item="A1", invoice="I/2026-03/1"),))
    held = Adjusted("A2", eur("80"), eur("0"))
    item = worked(0, "0", part("1200", 480), adjusted=(billed, held))
    lower = changed(item, "165", 4)
    assert (lower.lowered, lower.credits, lower.further) == ({"A2": eur("40")}, (), None)
    back = changed(item, "150", 4)
    assert back.lowered == {"A2": eur("0")}
    assert [(invoice, one.amount) for invoice, one in back.credits] == [("I/2026-03/1", eur("80"))]
    less = changed(item, "140", 4)
    assert [(invoice, one.amount) for invoice, one in less.credits] == [
        ("I/2026-03/1", eur("80")),
        ("I/2026-02/1", eur("80")),
    ]


def test_what_was_given_up_is_not_given_back_when_the_rate_falls_again() -> None:
    """The client was never asked for it: what stands on the invoice is still the least that it owes."""
    given_up = Adjusted("A1", eur("0"), eur("80"))
    item = worked(0, "0", part("1200", 480), adjusted=(given_up,))
    for lower in ("155", "150"):
        assert not changed(item, lower, 3).changes
    less = changed(item, "140", 3)
    assert [(invoice, one.amount) for invoice, one in less.credits] == [("I/2026-02/1", eur("80"))]
    more = changed(item, "170", 3).further
    assert more is not None
    assert more.amount.amount == 80


@pytest.mark.parametrize("new", ["160", "140", "151.37"])
def test_a_split_line_is_worth_the_new_rate_once_in_all(new: str) -> None:
    """A cap has cut the line at a third of a minute: all its minutes together are worth the rate."""
    item = worked(347, "866.67", part("333.33", 133))
    found = changed(item, new)
    further = found.further.amount.amount if found.further is not None else Decimal(0)
    credited = sum((one.amount.amount for _, one in found.credits), Decimal(0))
    whole = (Decimal(8) * Decimal(new)).quantize(Decimal("0.01"))
    assert found.price.amount.amount + Decimal("333.33") + further - credited == whole
    assert not changed(item, "150").changes, "a cut to the cent is no difference"
