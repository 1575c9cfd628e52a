"""Readings and targets: the newest stays, one writer at a time, nothing shown twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from canonical.billing import Invoice
from canonical.erp_billing import InvoiceState
from canonical.feedback import (
    Application,
    ApplicationKind,
    InvoiceStanding,
    InvoiceStatus,
    Reach,
    RevenueStanding,
    Share,
    Target,
    TargetKind,
    zero,
)
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from ledger.feedback import NewStanding
from ledger.feedback_targets import HoldState
from ledger.inbox import InboxState, NewEvent
from ledger.store import Ledger
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
REF = RecordRef(system="erp", type="invoice", id="880")
DEAL, ACCOUNT = RecordRef.parse("sf/Opportunity/006"), RecordRef.parse("sf/Account/001")
PAYMENT = RecordRef.parse("erp/customerPayment/77")
OPPORTUNITY = Target(kind=TargetKind.OPPORTUNITY, ref=DEAL, subject=str(DEAL))
ON_ACCOUNT = Target(kind=TargetKind.ACCOUNT, ref=ACCOUNT, subject=str(ACCOUNT))
LEASE = timedelta(seconds=30)


def eur(minor: int) -> Money:
    return Money.of_minor(minor, "EUR", AmountRole.BILLING)


def standing(paid: int, at: int) -> InvoiceStanding:
    invoice = Invoice(
        ref=REF, number="INV1", seller="NL01", bill_to="55", contract_keys=(), issued_on=date(2026, 11, 20),
        net=eur(100), gross=eur(100), paid=eur(paid), credited=eur(0), withheld=eur(0), written_off=eur(0),
        balance=eur(100 - paid), modified_at=T0 + timedelta(seconds=at),
    )  # fmt: skip
    paid_by = (Application(document=PAYMENT, kind=ApplicationKind.PAYMENT, amount=eur(paid)),) if paid else ()
    return InvoiceStanding(
        ref=REF,
        state=InvoiceState.POSTED,
        invoice=invoice,
        applications=paid_by,
        modified_at=invoice.modified_at,
    )


def new(paid: int, at: int, against: str | None) -> NewStanding:
    told = standing(paid, at)
    rest = {name: zero("EUR") for name in ("credited", "withheld", "written_off", "refunded")}
    share = Share(
        contract_key="D1", net=eur(100), gross=eur(100), paid=eur(paid), balance=eur(100 - paid), **rest
    )
    reach = Reach(contract_key="D1", deal=DEAL, account=ACCOUNT, budget=eur(1_000))
    return NewStanding(
        standing=told, status=InvoiceStatus.ISSUED, region="emea", saga_id="s", shares=(share,),
        reaches=(reach,), targets=(OPPORTUNITY, ON_ACCOUNT), judged_against=against,
    )  # fmt: skip


async def test_the_newest_reading_stays(ledger: Ledger) -> None:
    first = await ledger.apply_standing(new(0, 0, None))
    assert first.version == 1
    assert (await ledger.apply_standing(new(0, 3, None))).version == 1, (
        "the same content moves the stamp only"
    )
    second = await ledger.apply_standing(new(60, 5, first.digest))
    assert (second.version, second.standing.invoice and second.standing.invoice.paid) == (2, eur(60))
    assert (await ledger.apply_standing(new(0, 4, second.digest))).digest == second.digest, "older"
    late = await ledger.apply_standing(new(30, 5, first.digest))
    assert late.digest == second.digest, "judged against what is not there any more"
    assert await ledger.invoices_reduced_by([PAYMENT]) == [REF]
    assert [row.ref for row in await ledger.find_erp_invoices("77")] == [REF]
    assert await ledger.known_balances("erp") == [("880", 40, "EUR")]


async def test_a_target_has_one_writer_and_shows_everything(ledger: Ledger, clock: Clock) -> None:
    first = await ledger.apply_standing(new(0, 0, None))
    key = OPPORTUNITY.key
    assert [one.key for one in await ledger.targets_behind([key])] == [key]
    hold = await ledger.hold_target(key, "a", LEASE)
    assert (hold.state, hold.wanted) == (HoldState.HELD, 1)
    assert (await ledger.hold_target(key, "b", LEASE)).state is HoldState.BUSY
    assert await ledger.intend_figures(key, "b", "x", LEASE) is None, "it is not b's"
    assert await ledger.intend_figures(key, "a", "x", LEASE) == 1
    assert await ledger.intend_figures(key, "a", "x", LEASE) == 1, "the same figures again are the same write"
    await ledger.apply_standing(new(60, 5, first.digest))
    await ledger.settle_target(key, "a", wanted=1, digest="x", figures={"paid": "0"}, wrote=True)
    (row,) = await ledger.targets_of([str(DEAL)])
    assert (row.stale, row.applied, row.wanted, row.writes) == (True, 1, 2, 1)
    assert [one.target.key for one in await ledger.stale_targets()] == [key, ACCOUNT_KEY]
    assert (await ledger.hold_target(key, "b", LEASE)).state is HoldState.HELD
    assert (await ledger.facts_of(OPPORTUNITY)).held[0].share.paid == eur(60)
    await ledger.let_target_go(key, "b", "nobody knows", doubtful=True)
    assert (await ledger.hold_target(key, "c", LEASE)).state is HoldState.BUSY, "its call may still arrive"
    clock.turn(LEASE.total_seconds())
    assert (await ledger.hold_target(key, "c", LEASE)).state is HoldState.HELD
    assert await ledger.intend_figures(key, "c", "y", LEASE) == 2
    await ledger.settle_target(key, "c", wanted=2, digest="y", figures={}, wrote=True)
    assert (await ledger.hold_target(key, "d", LEASE)).state is HoldState.DONE
    assert (await ledger.hold_target(key, "d", LEASE, again=True)).state is HoldState.HELD


ACCOUNT_KEY = ON_ACCOUNT.key


async def test_only_one_of_many_becomes_the_writer(ledger: Ledger) -> None:
    await ledger.apply_standing(new(0, 0, None))
    holds = await asyncio.gather(*(ledger.hold_target(ACCOUNT_KEY, f"a{n}", LEASE) for n in range(12)))
    assert [hold.state for hold in holds].count(HoldState.HELD) == 1


async def test_revenue_is_taken_over_once(ledger: Ledger) -> None:
    reach = Reach(contract_key="D1", deal=DEAL, account=ACCOUNT)
    order = RecordRef.parse("erp/salesOrder/5")
    told = RevenueStanding(ref=order, recognised=eur(50), deferred=eur(50), modified_at=T0)
    more: dict[str, Any] = {"region": "emea", "saga_id": "s"}
    assert await ledger.apply_revenue(reach, told, [OPPORTUNITY], **more)
    assert not await ledger.apply_revenue(reach, told, [OPPORTUNITY], **more)
    older = told.model_copy(update={"recognised": eur(10), "modified_at": T0 - timedelta(hours=1)})
    assert not await ledger.apply_revenue(reach, older, [OPPORTUNITY], **more)
    (revenue,) = (await ledger.facts_of(OPPORTUNITY)).revenue
    assert revenue.recognised.minor == 50


async def test_the_clock_runs_from_the_source_until_it_shows(ledger: Ledger, clock: Clock) -> None:
    happened, began = clock(), clock()
    clock.turn(40)
    await ledger.apply_standing(new(0, 0, None).model_copy(update={"source_at": happened}))
    key = OPPORTUNITY.key
    hold = await ledger.hold_target(key, "a", LEASE)
    clock.turn(5)
    await ledger.apply_standing(new(60, 5, new(0, 0, None).standing.digest))
    await ledger.settle_target(key, "a", wanted=hold.wanted, digest="x", figures={}, wrote=True)
    assert await ledger.shown_since(began) == [], "there is something newer to show"
    clock.turn(15)
    hold = await ledger.hold_target(key, "b", LEASE)
    await ledger.settle_target(key, "b", wanted=hold.wanted, digest="y", figures={}, wrote=True)
    (row,) = await ledger.shown_since(began)
    assert (row.target, row.source_at, (row.shown_at - row.noted_at).total_seconds()) == (DEAL, happened, 20)
    assert await ledger.shown_since(clock() + LEASE) == []
    await ledger.hold_target(key, "c", LEASE, again=True)
    await ledger.settle_target(key, "c", wanted=hold.wanted, digest="y", figures={}, wrote=False)
    assert len(await ledger.shown_since(began)) == 1, "the clock alone is no change"


async def test_events_tell_when_it_happened(ledger: Ledger, clock: Clock) -> None:
    told = [
        NewEvent(event_id="1", type="invoice", occurred_at=T0),
        NewEvent(event_id="2", type="invoice"),
    ]
    first, second = await ledger.receive_events("erp", "erp", told, trace_id="t", lease=LEASE)
    assert await ledger.event_times([first.id, second.id, 99]) == {first.id: T0, second.id: clock()}
    assert await ledger.event_times([]) == {}
    for row in (second, first):
        await ledger.settle_event(row.id, InboxState.HANDED, saga_id="s")
    assert await ledger.first_events(["s", "none"]) == {"s": min(T0, clock())}
