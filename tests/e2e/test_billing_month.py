"""A firm's month, closed once: every billing method and currency, read from the vendors' own records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest

from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.money import Conversion, Money
from canonical.names import retainer_account
from canonical.opening import OpeningPosition
from canonical.rates import RateCard, RateLine
from canonical.retainers import MovementKind
from canonical.saga import SagaStatus, SagaView
from canonical.terms import Cap, CapScope, CurrencyTerms, ExpenseTerms, OverageRule, RetainerTerms
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ANNA, ARCHITECT, CUTOFF, ERP, PSA, Project, eur, line, schedule
from tests.e2e.firm import Json, local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Closed:
    """The month after its close."""

    month: Month
    view: SagaView
    projects: dict[str, Project] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    """How much every vendor had accepted when the month was closed."""

    def invoice(self, name: str) -> Json:
        """The only invoice of a project."""
        (one,) = self.month.invoices(self.projects[name])
        return one

    async def causes(self, name: str) -> dict[Cause, Money | None]:
        """What of a contract is held, by cause."""
        page = await self.month.firm.ledger.unbilled_groups(through=CUTOFF)
        return {
            one.cause: one.amount
            for one in page
            if one.cause is not None and one.contract_key == self.projects[name].contract
        }


@pytest.fixture(scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Closed]:
    async with local_firm(tmp_path_factory.mktemp("month")) as firm:
        yield await set_up(Month(firm))


async def set_up(month: Month) -> Closed:
    """Contracts of every kind, a month of work, and its close."""
    pound = Conversion(
        from_currency="GBP",
        to_currency="EUR",
        rate=Decimal("1.1735"),
        rate_type="fixed_by_contract",
        rate_date="2026-11-01",
        source="contract",
    )
    consultant, architect = (
        RateLine(role=role, amount=Decimal(rate), currency=currency, effective_from=date(2026, 1, 1))
        for role, rate, currency in (("consultant", "150", "EUR"), ("solution-architect", "170", "GBP"))
    )
    month_ends = (date(2026, 11, 30), date(2026, 12, 31), date(2027, 1, 31))
    fixed = schedule("EUR", *((f"{day:%B}", day, "8000") for day in month_ends))
    stones = schedule(
        "EUR",
        ("Blueprint accepted", date(2027, 1, 3), "15000"),
        ("Acceptance test passed", date(2027, 4, 18), "25000.01"),
        ("Hand-over", date(2027, 5, 31), "10000"),
        milestones=True,
    )
    opening = OpeningPosition(
        contract_key="", billed_to_date=eur("1200"), last_billed_work_date=date(2026, 11, 9)
    )
    projects = {
        "time": await month.contract(),
        "schedule": await month.contract(line(BillingMethod.FIXED_SCHEDULE, "24000", schedule=fixed)),
        "milestones": await month.contract(
            line(BillingMethod.MILESTONE, "50000.01", schedule=stones, acceptance_required=True)
        ),
        "capped": await month.contract(caps=(Cap(scope=CapScope.CONTRACT, amount=eur("1000")),)),
        "expenses": await month.contract(
            currency_terms=CurrencyTerms(agreed=(pound,)),
            expense_terms=ExpenseTerms(markup_percent=Decimal("7.5"), limit=eur("500")),
        ),
        "yen": await month.contract(entity="JP01", currency="JPY"),
        "dinar": await month.contract(currency="KWD"),
        "two currencies": await month.contract(
            rate_card=RateCard(code="deal", version="1", currency="EUR", lines=(consultant, architect)),
            currency_terms=CurrencyTerms(agreed=(pound,)),
        ),
        "no opening": await month.contract(opening=False),
        "opening": await month.contract(opening=opening),
        "blocked": await month.contract(),
        "retainer": await month.contract(
            line(BillingMethod.RETAINER, "18000"),
            retainer=RetainerTerms(period_amount=eur("3000"), overage=OverageRule.BILL),
        ),
        "progress": await month.contract(line(BillingMethod.PROGRESS, "40000.01")),
    }
    work(month, projects)
    view, _ = await month.close()
    return Closed(month, view, projects, month.firm.marks())


def work(month: Month, projects: dict[str, Project]) -> None:
    """A month of it."""
    month.time(projects["time"], 2, 3, 4, 5, 6)
    month.time(projects["time"], 9, 10, 11, user=ANNA, role=ARCHITECT, minutes=20)
    month.time(projects["time"], 12, minutes=7)
    month.time(projects["time"], 13, minutes=60, billable=False)
    month.time(projects["time"], 16, status="new")
    month.time(projects["schedule"], 9, 10)
    month.time(projects["milestones"], 11)
    month.milestone(projects["milestones"], "Blueprint accepted")
    month.milestone(projects["milestones"], "Acceptance test passed", accepted=False)
    month.time(projects["capped"], 17, 18, minutes=240)
    month.expense(projects["expenses"], 3, 12_345)
    month.expense(projects["expenses"], 4, 10_099, "GBP")
    month.expense(projects["expenses"], 5, 60_000)
    month.expense(projects["expenses"], 6, 5_000, "JPY")
    month.time(projects["yen"], 19, minutes=50, rate_in_cents=24_000)
    month.time(projects["dinar"], 20, minutes=20, rate_in_cents=45_125)
    month.time(projects["two currencies"], 24, minutes=60)
    month.time(projects["two currencies"], 23, user=ANNA, role=ARCHITECT, minutes=60, rate_in_cents=19_950)
    month.time(projects["no opening"], 25)
    month.time(projects["opening"], 9, 10, user=73)
    month.time(projects["retainer"], 2, 3)
    month.time(projects["retainer"], 4, minutes=300)
    month.time(projects["progress"], 25, user=73, minutes=60)
    month.tasks(projects["progress"], 50, 0, 25)
    month.time(projects["blocked"], 26, minutes=60)
    month.time(projects["blocked"], 27, minutes=60, role=7)


async def test_time_and_materials_are_rounded_once_per_line(closed: Closed) -> None:
    invoice = closed.invoice("time")
    lines = sorted(Decimal(str(line["amount"])) for line in invoice["time"]["items"] if line["apply"])
    assert lines == [Decimal("17.50"), *[Decimal("65")] * 3, *[Decimal("1200")] * 5]
    assert Decimal(str(invoice["subtotal"])) == Decimal("6212.50")


async def test_all_approved_work_is_posted_and_nothing_else(closed: Closed) -> None:
    posted = closed.month.posted(closed.projects["time"])
    assert sorted(row["hours"] for row in posted) == ["0:07", "0:20", "0:20", "0:20", "1:00"] + ["8:00"] * 5
    assert [row["isBillable"] for row in posted].count(False) == 1
    assert closed.month.twice() == []
    assert closed.month.billed_twice() == []


async def test_a_fixed_fee_is_billed_by_its_schedule_and_its_time_is_cost_only(closed: Closed) -> None:
    invoice = closed.invoice("schedule")
    assert Decimal(str(invoice["subtotal"])) == 8000
    posted = closed.month.posted(closed.projects["schedule"])
    assert [(row["hours"], row["isBillable"]) for row in posted] == [("8:00", False)] * 2


async def test_a_milestone_is_billed_when_it_is_complete_and_accepted(closed: Closed) -> None:
    assert Decimal(str(closed.invoice("milestones")["subtotal"])) == Decimal("15000.00")
    assert await closed.causes("milestones") == {Cause.MILESTONE_NOT_ACCEPTED: eur("25000.01")}


async def test_the_line_that_crosses_a_cap_is_split_and_the_rest_held(closed: Closed) -> None:
    assert Decimal(str(closed.invoice("capped")["subtotal"])) == 1000
    assert await closed.causes("capped") == {Cause.OVER_CAP: eur("200")}
    assert closed.month.hours(closed.projects["capped"]) == 480


async def test_expenses_are_charged_on_with_markup_limit_and_currency(closed: Closed) -> None:
    invoice = closed.invoice("expenses")
    amounts = sorted(Decimal(str(line["amount"])) for line in invoice["expCost"]["items"] if line["apply"])
    # 123.45 and 100.99 GBP at 1.1735, marked up by 7.5 %; 600 is limited to 500 before the markup.
    assert amounts == [Decimal("127.40"), Decimal("132.71"), Decimal("537.50")]
    reports = closed.month.firm.records(ERP, "expenseReport")
    currencies = sorted(row["expensereportcurrency"]["id"] for row in reports)
    assert currencies == ["1", "1", "2"]
    assert set(await closed.causes("expenses")) == {Cause.CONVERSION_MISSING}


@pytest.mark.parametrize(("name", "net"), [("yen", "20000"), ("dinar", "15.042")])
async def test_currencies_without_and_with_three_decimals(closed: Closed, name: str, net: str) -> None:
    assert Decimal(str(closed.invoice(name)["subtotal"])) == Decimal(net)


async def test_one_contract_with_rates_in_two_currencies(closed: Closed) -> None:
    # 150 in euros, and 170 pounds at the contract's 1.1735.
    assert Decimal(str(closed.invoice("two currencies")["subtotal"])) == Decimal("349.50")


async def test_a_contract_without_an_opening_position_does_not_bill(closed: Closed) -> None:
    project = closed.projects["no opening"]
    assert closed.month.hours(project) == 480
    assert closed.month.invoices(project) == []
    assert set(await closed.causes("no opening")) == {Cause.NO_OPENING_POSITION}


async def test_nothing_at_or_before_the_opening_position_is_billed(closed: Closed) -> None:
    project = closed.projects["opening"]
    assert Decimal(str(closed.invoice("opening")["subtotal"])) == 1200
    assert [row["tranDate"] for row in closed.month.posted(project)] == ["2026-11-10"]
    assert set(await closed.causes("opening")) == {Cause.BEFORE_OPENING_POSITION}


async def test_a_retainer_is_billed_in_advance_and_its_overage_after_it(closed: Closed) -> None:
    """3,000 in advance; 21 hours at 150 draw on it, 150 of them exceed it."""
    advance, overage = closed.month.invoices(closed.projects["retainer"])
    assert [Decimal(str(one["subtotal"])) for one in (advance, overage)] == [3000, 150]
    posted = closed.month.posted(closed.projects["retainer"])
    assert {row["isBillable"] for row in posted} == {False}
    account = retainer_account(closed.projects["retainer"].contract, "L1")
    kinds = [one.kind for one in await closed.month.firm.ledger.movements(account)]
    assert kinds == [MovementKind.BILLED, *[MovementKind.DRAWN] * 3]


async def test_progress_bills_the_lines_amount_in_proportion(closed: Closed) -> None:
    """A quarter of 40,000.01; the next month bills what has been added since."""
    assert Decimal(str(closed.invoice("progress")["subtotal"])) == Decimal("10000.00")


async def test_a_blocked_line_is_held_by_itself(closed: Closed) -> None:
    assert Decimal(str(closed.invoice("blocked")["subtotal"])) == 150
    assert set(await closed.causes("blocked")) == {Cause.RATE_MISSING}


async def test_delivery_shows_what_the_erp_has_taken(closed: Closed) -> None:
    references = closed.month.firm.records(PSA, "external_references")
    marked = {str(row["subject_id"]) for row in references if row["subject_type"] == "TimeEntry"}
    assert len(marked) == len(closed.month.firm.records(ERP, "timeBill"))


async def test_closing_the_month_again_sends_nothing(closed: Closed) -> None:
    before = closed.month.firm.marks()
    run = await closed.month.start()
    view = await closed.month.until(run, SagaStatus.COMPLETE)
    assert closed.month.firm.marks() == before
    assert "Nothing" in view.headline or "No group" in view.headline
