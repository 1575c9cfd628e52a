"""The facts of a close: of one entity alone, and its balance as the ERP values it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from activities.billing.closing import CloseQuestion, Closing
from canonical.erp_billing import CostLine, InvoiceLineKind, UnbilledLine, UnbilledPage, UnbilledTotal
from canonical.items import BillingState, ItemKind, Price
from canonical.money import AmountRole, Conversion, Money
from canonical.refs import RecordRef
from ledger.items import Placed
from ledger.links import NewLink
from ledger.store import Ledger
from rules.closing import CloseFacts, CloseLine, close_lines
from tests.activities.firm import FakeSystems
from tests.cli.billing import agree, contract
from tests.ledger.billing import (
    CONTRACT,
    ERP,
    PSA,
    claim,
    draft,
    eur,
    issue,
    key,
    line,
    place,
    placement,
    plan,
    posted,
    send,
)

pytestmark = pytest.mark.anyio
OTHER = "006A.JP01.JPY"
ASKED = CloseQuestion(
    entity="NL01",
    psa=PSA,
    erp=ERP,
    region="emea",
    first=date(2026, 2, 1),
    last=date(2026, 2, 28),
    begins=datetime(2026, 1, 31, 23, tzinfo=UTC),
    ends=datetime(2026, 2, 28, 23, tzinfo=UTC),
    cutoff="--cutoff 2026-02-28",
)


class Erp:
    """What the ERP itself has unbilled, by line."""

    system = ERP
    billing = SimpleNamespace(unbilled_balance=True)

    def __init__(self, **lines: Money) -> None:
        self.lines = lines

    def plan_cost(self, context: Any, lines: Sequence[CostLine]) -> list[Any]:
        return [SimpleNamespace(stamp=f"s{line.source.id}") for line in lines]

    async def unbilled_totals(self, through: date) -> list[UnbilledTotal]:
        return [
            UnbilledTotal(legal_entity="NL01", kind=InvoiceLineKind.TIME, amount=amount, lines=1)
            for amount in self.lines.values()
        ]

    async def unbilled_lines(self, entity: str, currency: str, through: date, cursor: Any) -> UnbilledPage:
        return UnbilledPage(
            lines=tuple(
                UnbilledLine(
                    ref=RecordRef(system=ERP, type="timeBill", id=stamp),
                    stamp=stamp,
                    kind=InvoiceLineKind.TIME,
                    project="501",
                    day=date(2026, 2, 10),
                    amount=amount,
                )
                for stamp, amount in self.lines.items()
                if amount.currency == currency
            )
        )


def money(amount: str, currency: str = "EUR") -> Money:
    return Money(amount=Decimal(amount), currency=currency, role=AmountRole.BILLING)


async def facts(ledger: Ledger, **lines: Money) -> CloseFacts:
    systems: Any = FakeSystems(ports={ERP: Erp(**lines)})
    return await Closing(systems, ledger).facts(ASKED, datetime(2026, 3, 2, tzinfo=UTC))


def against(found: CloseFacts) -> list[CloseLine]:
    return [one for one in close_lines(found) if one.check == "against the ERP"]


async def expense(ledger: Ledger, number: int, incurred: Money, price: Price) -> None:
    """An expense that is posted and charged on at another amount than it cost."""
    source = RecordRef(system=PSA, type="expenses", id=str(number))
    await ledger.take_in([line(number, kind=ItemKind.EXPENSE, source=source, minutes=0, incurred=incurred)])
    (row,) = await ledger.items_of([f"{PSA}/expenses/{number}"])
    await ledger.place([Placed(row.id, row.key, placement(price=price))])
    await send(ledger, await claim(ledger, number))


async def test_an_expense_stands_in_the_erp_at_what_it_cost_whatever_it_is_charged_on_at(
    ledger: Ledger,
) -> None:
    pound = Conversion(
        from_currency="GBP",
        to_currency="EUR",
        rate=Decimal("1.2"),
        rate_type="fixed",
        rate_date="2026-01-01",
        source="contract",
    )
    await expense(ledger, 11, eur("100"), Price(amount=eur("107.50")))
    abroad = Money(amount=Decimal("50"), currency="GBP")
    await expense(ledger, 12, abroad, Price(amount=eur("64.50"), conversion=pound))
    found = await facts(ledger, s11=money("100"), s12=money("50", "GBP"))
    assert [(one.ok, one.detail) for one in against(found)] == [
        (True, "work up to 2026-02-28: EUR 100.00 of ours, EUR 100.00 in the ERP"),
        (True, "work up to 2026-02-28: GBP 50.00 of ours, GBP 50.00 in the ERP"),
    ]
    (roll,) = found.rolls
    assert (roll.closing, roll.computed) == (eur("172"), eur("172"))
    (wrong, _) = against(await facts(ledger, s11=money("107.50"), s12=money("50", "GBP")))
    assert (wrong.ok, wrong.items) == (False, 1)


async def test_what_is_left_of_a_line_that_the_erp_has_billed_is_no_difference(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await issue(ledger, await draft(ledger, plan(key(1), "80", 48)))
    (told,) = against(await facts(ledger, s2=money("100")))
    assert told.ok
    assert told.detail == (
        "work up to 2026-02-28: EUR 100.00 of ours, EUR 100.00 in the ERP, "
        "and EUR 20.00 left of lines that it has billed"
    )


async def test_the_check_of_an_entity_counts_nothing_of_another(ledger: Ledger) -> None:
    """Posted, unposted, drafted, and lines that no check has placed yet: each where its contract is."""
    await agree(ledger, contract(), contract(OTHER, legal_entity="JP01"))
    links = [
        NewLink(
            kind="delivery",
            key=f"{of}.emea.ADV",
            record=RecordRef(system=PSA, type="workspaces", id=project),
            evidence={},
            created_by_us=False,
            adopted=True,
        )
        for of, project in ((CONTRACT, "901"), (OTHER, "902"))
    ]
    await ledger.link_many(links)
    theirs = RecordRef(system=PSA, type="workspaces", id="902")
    stranger = RecordRef(system=PSA, type="workspaces", id="903")
    await ledger.take_in([line(1), line(2, project=theirs), line(3, project=stranger)])
    await ledger.take_in([line(4, project=theirs, approved=False), line(5, project=theirs)])
    await place(ledger, 5, legal_entity="JP01", contract_key=OTHER, billing=BillingState.UNBILLED)
    found = await facts(ledger)
    assert [(one.items, one.contract_key, one.reason) for one in found.groups] == [
        (1, CONTRACT, "not posted")
    ]
    assert [(one.items, one.project) for one in found.stray] == [(1, "903")]
    lines = {one.check: one for one in close_lines(found)}
    assert (lines["unposted"].items, lines["unapproved"].ok) == (2, True)
