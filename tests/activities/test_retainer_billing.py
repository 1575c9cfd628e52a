"""A retainer is billed in advance; work draws on it once its invoice is issued, never before (rule 32)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing.documents import read_document
from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.invoicing import _advances
from activities.billing.retaining import Retaining
from activities.contracts import (
    Draft,
    DuePage,
    EndRetainers,
    ListDue,
    RetainersEnded,
    SagaRef,
    SelectDraft,
)
from canonical.batches import BatchPurpose
from canonical.engagement import BillingMethod, Contract, ContractLine, RevenueMethod
from canonical.failures import Conflict
from canonical.invoicing import AdjustmentCause
from canonical.items import BillingState
from canonical.money import Money
from canonical.names import retainer_account
from canonical.opening import OpeningPosition
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from canonical.retainers import MovementKind
from canonical.saga import Actor
from canonical.terms import OverageRule, RetainerTerms
from ledger.store import Ledger
from rules.fees import FeeFacts, fees_of
from rules.grouping import place_in_group
from tests.activities.firm import FakeSystems
from tests.ledger.billing import CONTRACT, ERP, PSA, claim, eur, get, key, line, place, send, told
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
THROUGH = date(2026, 2, 28)
REF = SagaRef(
    saga_id="bill:1", region="emea", business_key="bill", trace_id="t", actor=Actor(name="root"), mapping={}
)
TERMS = Contract(
    key=CONTRACT,
    name="Retainer",
    engagement_key="006A",
    legal_entity="NL01",
    currency="EUR",
    erp=ERP,
    dimensions=Dimensions(region="emea", legal_entity="NL01"),
    parties={PartyRole.BILL_TO: "001X"},
    lines=(
        ContractLine(
            key="L1",
            service_code="ADV",
            item="32",
            description="Retainer",
            quantity=Decimal(1),
            amount=eur(3000),
            deal_amount=eur(3000),
            billing_method=BillingMethod.RETAINER,
            revenue_method=RevenueMethod.STRAIGHT_LINE,
            start=date(2026, 2, 1),
            end=date(2026, 12, 31),
            delivery_region="emea",
        ),
    ),
    retainer=RetainerTerms(period_amount=eur(250), overage=OverageRule.BILL),
    start=date(2026, 2, 1),
)


@pytest.fixture
async def drafting(ledger: Ledger) -> Drafting:
    """Three hours at 100 on a retainer of 250 a month; nothing is billed yet."""
    await ledger.add_contract_version(TERMS, saga_id="o2p:1")
    opening = OpeningPosition(contract_key=CONTRACT, billed_to_date=eur(0))
    await ledger.import_openings([opening], actor=Actor(name="root"), on=date(2026, 2, 1))
    facts = FeeFacts(
        region="emea", project_code="PRJ-1", through=THROUGH, at=ledger.now(), milestones={}, opening=opening
    )
    await ledger.take_fees(fees_of(TERMS, facts), erp=ERP)
    await ledger.take_in([line(1), line(2), line(3)])
    group = place_in_group(TERMS, "PRJ-1", THROUGH, {})
    await place(ledger, 1, 2, 3, method=BillingMethod.RETAINER, unbilled_in_erp=False, **group)
    await send(ledger, await claim(ledger))
    port = SimpleNamespace(system=ERP, billing=SimpleNamespace(drafts=True))
    systems: Any = FakeSystems(ports={ERP: port})
    return Drafting(systems, ledger, Gathering(systems, ledger), clock=Clock())


async def due(drafting: Drafting) -> DuePage:
    return await drafting.list_due(ListDue(saga=REF, psa=PSA, erp=ERP, through=THROUGH))


async def select(drafting: Drafting, group: str, cycle: str, step: str = "select") -> Draft:
    command = SelectDraft(
        saga=REF.model_copy(update={"saga_id": f"bill:{cycle}"}),
        step=step,
        psa=PSA,
        erp=ERP,
        group=group,
        cycle=cycle,
        through=THROUGH,
    )
    found: Draft = await ActivityEnvironment().run(drafting.select, command)
    return found


async def issued(drafting: Drafting, invoice: str) -> None:
    """The ERP shows it posted."""
    ledger = drafting.ledger
    document = await read_document(ledger, drafting.gathering, invoice)
    assert document is not None
    net = document.plan().net
    await ledger.record_draft(invoice, document.row.version, told(net))
    await ledger.release_document(invoice, document.row.version)
    await ledger.issue_document(invoice, told(net), movements=list(_advances(document)))


async def test_the_advance_is_due_first_and_apart_from_the_work(drafting: Drafting) -> None:
    page = await due(drafting)
    assert [(one.cycle, one.in_advance) for one in page.groups] == [
        ("2026-02-advance", True),
        ("2026-02", False),
    ]


async def test_work_waits_for_its_advance_and_then_draws_on_it(drafting: Drafting) -> None:
    group = (await due(drafting)).groups[0].group
    waiting = await select(drafting, group, "2026-02")
    assert waiting.invoice is None, "there is no balance yet, so nothing is overage"
    assert (await get(drafting.ledger, key(1))).billing is BillingState.UNBILLED
    advance = await select(drafting, group, "2026-02-advance")
    assert advance.invoice is not None
    assert advance.net is not None
    assert advance.net.amount == 250
    await issued(drafting, advance.invoice)
    overage = await select(drafting, group, "2026-02", "select.again")
    assert overage.net is not None
    assert overage.net.amount == 50
    states = [(await get(drafting.ledger, key(number))).billing for number in (1, 2, 3)]
    assert states == [BillingState.COVERED, BillingState.COVERED, BillingState.DRAFTED]
    movements = await drafting.ledger.movements(retainer_account(CONTRACT, "L1"))
    assert [(one.kind, one.amount) for one in movements] == [
        (MovementKind.BILLED, eur(250)),
        (MovementKind.DRAWN, eur(-100)),
        (MovementKind.DRAWN, eur(-100)),
        (MovementKind.DRAWN, eur(-50)),
    ]


# --- the ends of periods ------------------------------------------------------------------------------


def retaining(drafting: Drafting) -> Retaining:
    return Retaining(drafting.systems, drafting.ledger, drafting.gathering, clock=Clock())


async def ended(drafting: Drafting, through: date = THROUGH) -> RetainersEnded:
    command = EndRetainers(saga=REF, step="retainers", erp=ERP, through=through)
    found: RetainersEnded = await ActivityEnvironment().run(retaining(drafting).end, command)
    return found


async def agreed(drafting: Drafting, *, end: date | None = None, **terms: Any) -> None:
    """Other terms of the retainer."""
    assert TERMS.retainer is not None
    lines = TERMS.lines if end is None else (TERMS.lines[0].model_copy(update={"end": end}),)
    retainer = TERMS.retainer.model_copy(update=terms)
    contract = TERMS.model_copy(update={"retainer": retainer, "lines": lines})
    await drafting.ledger.add_contract_version(contract, saga_id="change")


async def unused(drafting: Drafting) -> str:
    """The advance is on an issued invoice, and nobody has worked. Answers the invoice."""
    group = (await due(drafting)).groups[0].group
    await drafting.ledger.take_out([f"{PSA}/time_entries/{number}" for number in (1, 2, 3)])
    advance = await select(drafting, group, "2026-02-advance")
    await issued(drafting, advance.invoice or "")
    return advance.invoice or ""


async def kinds(drafting: Drafting) -> list[MovementKind]:
    movements = await drafting.ledger.movements(retainer_account(CONTRACT, "L1"))
    return [one.kind for one in movements if one.kind is not MovementKind.BILLED]


async def balance(drafting: Drafting) -> Money:
    account = retainer_account(CONTRACT, "L1")
    (lot,) = (await drafting.ledger.account_balances((), [account])).lots[account]
    return lot.balance


async def test_what_nobody_has_used_expires_once_when_its_period_ends(drafting: Drafting) -> None:
    await unused(drafting)
    early = await ended(drafting, date(2026, 2, 27))
    assert (early.tallies, await kinds(drafting)) == ((), [])
    first = await ended(drafting)
    assert [(one.state, one.items, one.amounts) for one in first.tallies] == [
        ("retainer balances expired", 1, (eur(250),))
    ]
    assert (await ended(drafting)).tallies == ()
    assert (await kinds(drafting), await balance(drafting)) == ([MovementKind.EXPIRED], eur(0))


async def test_it_rolls_over_as_long_as_the_contract_says(drafting: Drafting) -> None:
    await agreed(drafting, rolls_over=True, expires_after_periods=1)
    await unused(drafting)
    await ended(drafting)
    assert (await kinds(drafting), await balance(drafting)) == ([MovementKind.ROLLED_OVER], eur(250))
    await ended(drafting, date(2026, 3, 31))
    assert await kinds(drafting) == [MovementKind.ROLLED_OVER, MovementKind.EXPIRED]


async def test_a_period_is_not_over_while_its_work_may_still_draw(drafting: Drafting) -> None:
    """Work that is not posted, or held for a repair, comes first; then the rest of the balance ends."""
    group = (await due(drafting)).groups[0].group
    advance = await select(drafting, group, "2026-02-advance")
    await issued(drafting, advance.invoice or "")
    found = await ended(drafting)
    assert (found.waiting, found.tallies) == (1, ())
    await drafting.ledger.take_out([f"{PSA}/time_entries/{number}" for number in (2, 3)])
    await select(drafting, group, "2026-02")
    assert (await ended(drafting)).waiting == 0
    assert await kinds(drafting) == [MovementKind.DRAWN, MovementKind.EXPIRED]


async def test_what_comes_back_after_its_period_expires_again(drafting: Drafting) -> None:
    group = (await due(drafting)).groups[0].group
    await drafting.ledger.take_out([f"{PSA}/time_entries/{number}" for number in (2, 3)])
    advance = await select(drafting, group, "2026-02-advance")
    await issued(drafting, advance.invoice or "")
    await select(drafting, group, "2026-02")
    await ended(drafting)
    await drafting.ledger.take_out([f"{PSA}/time_entries/1"])
    await send(drafting.ledger, await claim(drafting.ledger, 2), BatchPurpose.REVERSE_COST)
    assert await balance(drafting) == eur(100)
    await ended(drafting)
    assert await balance(drafting) == eur(0)
    assert await kinds(drafting) == [
        MovementKind.DRAWN,
        MovementKind.EXPIRED,
        MovementKind.RETURNED,
        MovementKind.EXPIRED,
    ]


async def test_what_is_left_at_the_contracts_end_is_given_back_where_it_says_so(drafting: Drafting) -> None:
    await agreed(drafting, refund_at_end=True, rolls_over=True, end=date(2026, 3, 20))
    invoice = await unused(drafting)
    assert (await ended(drafting)).refunds == ()
    over = await ended(drafting, date(2026, 3, 31))
    assert (over.refunds, over.by_hand) == ((invoice,), ())
    assert (await ended(drafting, date(2026, 3, 31))).refunds == (invoice,), "until it is decided"
    proposal = await retaining(drafting).proposal(invoice, 0)
    assert proposal is not None
    assert (str(proposal.net), proposal.cause) == ("EUR 250.00", AdjustmentCause.RETAINER_ENDED)
    await drafting.ledger.propose_credit(proposal, saga_id="cr:1")
    await retaining(drafting).reserve(proposal)
    assert await balance(drafting) == eur(0), "nobody can draw what is being given back"
    with pytest.raises(Conflict):
        await retaining(drafting).reserve(proposal.model_copy(update={"key": "another"}))
    await retaining(drafting).take_back(proposal)
    assert await balance(drafting) == eur(250)
    await drafting.ledger.abandon_document(proposal.key, "agreed otherwise")
    assert (await ended(drafting, date(2026, 3, 31))).refunds == (), "it was decided"


async def test_without_such_terms_it_expires_with_the_contract(drafting: Drafting) -> None:
    await agreed(drafting, rolls_over=True, end=date(2026, 3, 20))
    await unused(drafting)
    await ended(drafting, date(2026, 3, 31))
    assert await kinds(drafting) == [MovementKind.ROLLED_OVER, MovementKind.EXPIRED]
