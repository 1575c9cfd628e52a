"""A change of rates in the ledger: unbilled work is repriced, the difference waits until it is decided."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.repricing import Repricing
from activities.contracts import (
    ProposeDifference,
    RepricedWork,
    RepriceWork,
    SetRates,
    SettleDifference,
)
from canonical.causes import Cause
from canonical.items import ItemKind
from canonical.rates import RateCard, RateLine
from ledger.store import Ledger
from rules.adjusting import rate_credit
from rules.review import BILL, GIVE_UP
from tests.activities.firm import FakeSystems
from tests.activities.test_retainer_billing import REF
from tests.cli.billing import agree, contract
from tests.ledger.billing import CONTRACT, ERP, draft, eur, get, issue, key, plan, posted, rows, told
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
SAGA = REF.model_copy(update={"saga_id": f"rate:emea:{ERP}:{CONTRACT}"})


def card(rate: str) -> RateCard:
    line = RateLine(role="consultant", amount=Decimal(rate), currency="EUR", effective_from=date(2026, 1, 1))
    return RateCard(code="standard", version=rate, currency="EUR", lines=(line,))


@pytest.fixture
async def repricing(ledger: Ledger) -> Repricing:
    """Four hours at 100: two on an issued invoice, two unbilled."""
    await agree(ledger, contract(rate_card=card("100")))
    await posted(ledger, 1, 2, 3, 4)
    await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "100")))
    systems: Any = FakeSystems()
    gathering = Gathering(systems, ledger)
    return Repricing(systems, ledger, gathering, Drafting(systems, ledger, gathering, clock=Clock()))


async def change(repricing: Repricing, rate: str, *, limit: int = 500) -> RepricedWork:
    """New rates, and all pages of work; answers the last one's figures."""
    run = ActivityEnvironment().run
    await run(
        repricing.set_rates,
        SetRates(saga=SAGA, step="rates", contract=CONTRACT, card=card(rate), reason="agreed"),
    )
    after: int | None = 0
    while after is not None:
        command = RepriceWork(
            saga=SAGA,
            step="reprice",
            erp=ERP,
            contract=CONTRACT,
            reason="agreed",
            after=after,
            limit=limit,
        )
        found: RepricedWork = await run(repricing.reprice, command)
        after = found.after
    return found


async def settle(repricing: Repricing, choice: str) -> None:
    await repricing.settle(
        SettleDifference(saga=SAGA, step="s", contract=CONTRACT, bill=choice == BILL, reason="decided")
    )


async def test_unbilled_work_gets_its_new_worth_with_a_trace_and_the_versions_are_kept(
    repricing: Repricing,
) -> None:
    ledger = repricing.ledger
    found = await change(repricing, "110")
    assert (found.repriced.items, found.repriced.amounts) == (2, (eur(20),))
    assert (found.further.items, str(found.further.amounts[0])) == (2, "EUR 20.00")
    three = await get(ledger, key(3))
    assert three.open == eur(110)
    assert three.rate is not None
    assert three.rate.version == 2
    (trace,) = await ledger.repricings(key(3))
    assert (trace.before, trace.after, trace.reason) == (eur(100), eur(110), "agreed")
    assert [(await ledger.rate_version(CONTRACT, number)) is not None for number in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    (decision,) = (await ledger.decisions(kind="rates")).rows
    assert (decision.outcome, decision.reason) == ("version 2", "agreed")


async def test_pages_follow_one_another(repricing: Repricing) -> None:
    await change(repricing, "110", limit=1)
    held = await rows(repricing.ledger, causes=[Cause.RATE_DIFFERENCE])
    assert len(held) == 2
    assert (await get(repricing.ledger, key(4))).open == eur(110)


async def test_the_difference_waits_and_is_billed_or_given_up_once(repricing: Repricing) -> None:
    ledger = repricing.ledger
    await change(repricing, "110")
    asked = await repricing.propose(ProposeDifference(saga=SAGA, step="p", contract=CONTRACT))
    assert (asked.lines, str(asked.net)) == (2, "EUR 20.00")
    assert asked.review is not None
    assert set(asked.review.choices) == {BILL, GIVE_UP}
    await settle(repricing, BILL)
    adjustments = await rows(ledger, kinds=[ItemKind.ADJUSTMENT])
    assert [(one.open, one.hold) for one in adjustments] == [(eur(10), None)] * 2
    again = await change(repricing, "110")
    assert (again.repriced.items, again.further.items, again.credits) == (0, 0, ())
    assert (await repricing.propose(ProposeDifference(saga=SAGA, step="p", contract=CONTRACT))).review is None
    await change(repricing, "125")
    await settle(repricing, GIVE_UP)
    found = await change(repricing, "125")
    assert found.further.items == 0, "what was given up is not asked for again"
    latest = (await rows(ledger, kinds=[ItemKind.ADJUSTMENT]))[-1]
    assert (latest.priced, latest.open) == (eur(15), eur(0))


async def test_what_is_held_back_falls_with_the_rate(repricing: Repricing) -> None:
    ledger = repricing.ledger
    await change(repricing, "110")
    await change(repricing, "105")
    asked = await repricing.propose(ProposeDifference(saga=SAGA, step="p", contract=CONTRACT))
    assert str(asked.net) == "EUR 10.00"
    await change(repricing, "100")
    assert (await repricing.propose(ProposeDifference(saga=SAGA, step="p", contract=CONTRACT))).review is None
    await settle(repricing, BILL)
    assert [one.open for one in await rows(ledger, kinds=[ItemKind.ADJUSTMENT])] == [eur(0)] * 2


async def test_what_billed_work_is_worth_less_is_for_a_credit_of_its_invoice(repricing: Repricing) -> None:
    ledger = repricing.ledger
    found = await change(repricing, "95")
    (invoice,) = found.credits
    parts = (await repricing.weighing.credited(CONTRACT))[invoice]
    proposal = rate_credit(invoice, parts, "agreed", 0)
    assert str(proposal.net) == "EUR 10.00"
    await ledger.propose_credit(proposal, saga_id="cr:1")
    await ledger.approve_credit(proposal)
    await ledger.issue_credit(proposal.key, told(proposal.net, "CM-1", "990"))
    one = await get(ledger, key(1))
    assert (one.billed, one.open, one.open_minutes) == (eur(95), eur(0), 0)
    assert await repricing.weighing.credited(CONTRACT) == {}


async def test_an_invoice_that_is_being_issued_is_left_alone_and_counted(repricing: Repricing) -> None:
    ledger = repricing.ledger
    document = await draft(ledger, plan(key(3), "100"), cycle="2026-03")
    drafted = await ledger.record_draft(document.key, document.version, None)
    await ledger.release_document(document.key, drafted.version)
    found = await change(repricing, "110")
    assert (found.busy, found.repriced.items) == (1, 1)
    assert (await get(ledger, key(3))).drafted == eur(100)
