"""Retainers at the ends of their periods, and the order in which a group's cycles are billed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from canonical.engagement import BillingMethod
from canonical.names import retainer_account
from canonical.retainers import MovementKind
from canonical.saga import SagaStatus
from canonical.terms import Cap, CapScope, LateTime, OverageRule, RetainerTerms
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import Project, eur, line, nets
from tests.e2e.firm import local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
OCTOBER = date(2026, 10, 31)


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    async with local_firm(tmp_path_factory.mktemp("retainers")) as firm:
        month = Month(firm)
        month.periods()
        yield month


async def retainer(month: Month, *, end: date = date(2026, 11, 30), **terms: object) -> Project:
    agreed = RetainerTerms(period_amount=eur("3000"), overage=OverageRule.BILL, **terms)
    return await month.contract(line(BillingMethod.RETAINER, "18000", end=end), retainer=agreed)


async def kinds(month: Month, project: Project) -> list[MovementKind]:
    account = retainer_account(project.contract, "L1")
    return [one.kind for one in await month.firm.ledger.movements(account)]


async def test_what_nobody_used_expires_rolls_over_or_is_given_back_by_the_contracts_terms(
    month: Month,
) -> None:
    later = date(2027, 5, 31)
    expiring = await retainer(month, end=later)
    rolling = await retainer(month, end=later, rolls_over=True)
    refunded = await retainer(month, refund_at_end=True)
    month.time(refunded, 3, minutes=480)
    view, _ = await month.close()
    assert "1 retainer balances expired: EUR 3,000.00." in view.headline
    assert "1 retainer balances rolled over." in view.headline
    assert "1 refund is proposed." in view.headline
    assert await kinds(month, expiring) == [MovementKind.BILLED, MovementKind.EXPIRED]
    assert await kinds(month, rolling) == [MovementKind.BILLED, MovementKind.ROLLED_OVER]
    assert await kinds(month, refunded) == [MovementKind.BILLED, MovementKind.DRAWN]
    credit = await month.credit_of(refunded)
    gated = await month.until(credit, SagaStatus.GATED)
    assert gated.gates[0].gate is not None
    assert gated.gates[0].gate.figures["Credited"] == "EUR 1,800.00"
    assert month.credits(refunded) == []
    await month.decide(credit)
    await month.until(credit, SagaStatus.COMPLETE)
    assert nets(month.credits(refunded)) == [1800]
    assert (await kinds(month, refunded))[2:] == [MovementKind.REFUNDED]
    before = month.firm.marks()
    again, _ = await month.close()
    assert "retainer" not in again.headline
    assert "refund" not in again.headline
    assert month.firm.marks() == before


async def test_two_cycles_of_one_group_use_its_cap_in_their_order(month: Month) -> None:
    """October and November are due together; the cap has room for October and a half of November."""
    project = await month.contract(
        start=date(2026, 10, 1),
        caps=(Cap(scope=CapScope.CONTRACT, amount=eur("1800")),),
        late_time=LateTime.SUPPLEMENTARY,
    )
    month.time(project, 5)
    month.time(project, 5, date_performed="2026-10-05")
    await month.close()
    october, november = month.invoices(project)
    assert nets([october, november]) == [1200, 600]
    (first, second) = await month.documents(project)
    assert [first.cycle, second.cycle] == ["2026-10", "2026-11"]
    assert first.issued_at is not None
    assert second.issued_at is not None
    assert first.issued_at < second.issued_at
