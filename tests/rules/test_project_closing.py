"""What stands in the way of closing a project, and what an approver may let pass (rule 45)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod
from canonical.firm import GatePolicy
from canonical.items import ItemKind
from canonical.money import AmountRole, Money
from canonical.names import fee_source
from canonical.opening import OpeningPosition
from canonical.project_closing import (
    BillingEvent,
    ClosingFact,
    DealStatus,
    DeliveryReading,
    ErpReading,
    KnownInvoice,
    LedgerReading,
    OpenDocument,
    OpenRecord,
    OpenWork,
    RetainerLeft,
)
from canonical.refs import RecordRef
from canonical.unbilled import InFlight, UnbilledGroup
from rules.causes import CATALOGUE
from rules.project_closing import (
    COLLECTIONS,
    LOOK_AGAIN,
    Billed,
    ClosingReadings,
    closing_facts,
    closing_gate,
    deal_status,
    events_open,
    in_the_way,
    told,
    uncovered,
)
from tests.rules.changes import ADVICE, KEY, ROLLOUT, advice, contract, rollout
from tests.rules.examples import money

JOB = RecordRef(system="erp", type="job", id="7")
SPACE = RecordRef(system="psa", type="workspaces", id="901")
INVOICE = KnownInvoice(
    ref=RecordRef(system="erp", type="invoice", id="880"), number="INV-1", currency="EUR", status="overdue"
)


def billing(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR", role=AmountRole.BILLING)


def group(reason: str, **more: Any) -> UnbilledGroup:
    cause = Cause(reason) if reason in Cause.__members__ else None
    values: dict[str, Any] = {
        "items": 2,
        "minutes": 60,
        "amount": money("100"),
        "legal_entity": "NL01",
        **more,
    }
    return UnbilledGroup(reason=reason, cause=cause, **values)


def delivery(**more: Any) -> DeliveryReading:
    return DeliveryReading(delivery_key=f"{KEY}.emea.ADV", project=SPACE, title="Advisory", **more)


def erp(**more: Any) -> ErpReading:
    return ErpReading(project=JOB, project_code="PRJ-1", **more)


def causes(
    ledger: LedgerReading | None = None, *rows: DeliveryReading, finance: ErpReading | None = None
) -> list[Cause]:
    readings = ClosingReadings(KEY, ledger or LedgerReading(), rows, finance or erp())
    return [fact.cause for fact in closing_facts(readings)]


def test_nothing_in_the_way_when_everything_is_done() -> None:
    done = LedgerReading(invoices=(INVOICE,))
    finance = erp(balances={"880": Decimal(0)}, deferred=money("0"))
    assert causes(done, delivery(), finance=finance) == []


DRAFT = OpenDocument(key="d", kind="credit", state="drafted", net=billing("1"), saga_id="s")
DATE = BillingEvent(line_key="l", title="May", due=date(2027, 5, 1), amount=money("5"))
LEFT = RetainerLeft(account="r", balance=money("5"))


@pytest.mark.parametrize(
    ("ledger", "cause"),
    [
        (LedgerReading(groups=(group("ready"),)), Cause.CLOSE_WORK_OPEN),
        (LedgerReading(groups=(group("not posted", amount=None),)), Cause.CLOSE_WORK_OPEN),
        (LedgerReading(groups=(group("RATE_MISSING"),)), Cause.RATE_MISSING),
        (LedgerReading(corrections=1), Cause.CLOSE_WORK_OPEN),
        (
            LedgerReading(documents=(DRAFT,)),
            Cause.CLOSE_WORK_OPEN,
        ),
        (
            LedgerReading(events=(DATE,)),
            Cause.CLOSE_EVENT_OPEN,
        ),
        (LedgerReading(retainers=(LEFT,)), Cause.CLOSE_RETAINER_LEFT),
        (LedgerReading(change_orders=("CO-1",)), Cause.RUN_UNDER_WAY),
        (LedgerReading(sagas=("rate:emea:erp:x",)), Cause.RUN_UNDER_WAY),
        (LedgerReading(invoices=(INVOICE,)), Cause.CLOSE_INVOICE_OPEN),
    ],
)  # fmt: skip
def test_what_the_ledger_knows_stands_in_the_way(ledger: LedgerReading, cause: Cause) -> None:
    assert causes(ledger) == [cause]


def test_lines_on_their_way_stand_in_the_way() -> None:
    since = datetime(2026, 11, 30, tzinfo=UTC)
    flight = InFlight(system="erp", purpose="post", items=3, minutes=9, amount=money("1"), since=since)
    assert causes(LedgerReading(in_flight=(flight,))) == [Cause.CLOSE_WORK_OPEN]


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"missing": True}, Cause.RECORD_VANISHED),
        ({"unapproved": OpenWork(items=1, minutes=60)}, Cause.NOT_APPROVED),
        ({"unread": OpenWork(items=1, minutes=60)}, Cause.CLOSE_WORK_OPEN),
        ({"positions": (OpenRecord(ref=SPACE, title="consultant"),)}, Cause.CLOSE_STAFFING_OPEN),
        ({"requests": (OpenRecord(ref=SPACE, title="architect"),)}, Cause.CLOSE_STAFFING_OPEN),
        ({"milestones": (OpenRecord(ref=SPACE, title="Go-live"),)}, Cause.MILESTONE_NOT_COMPLETE),
    ],
)
def test_what_delivery_shows_stands_in_the_way(more: dict[str, Any], cause: Cause) -> None:
    assert causes(None, delivery(**more)) == [cause]


def test_revenue_that_is_deferred_stands_in_the_way_and_none_told_does_not() -> None:
    assert causes(finance=erp(deferred=money("10"))) == [Cause.CLOSE_REVENUE_OPEN]
    assert causes(finance=erp(deferred=None)) == []


def test_work_from_before_the_opening_position_is_nobodys() -> None:
    assert causes(LedgerReading(groups=(group("BEFORE_OPENING_POSITION"),))) == []


def test_delivery_has_the_later_word_on_approval() -> None:
    held = LedgerReading(groups=(group("NOT_APPROVED"),))
    assert causes(held, delivery(unapproved=OpenWork(items=2))) == [Cause.NOT_APPROVED]
    assert causes(held, delivery()) == [Cause.NOT_APPROVED]


def test_an_invoice_that_is_gone_cannot_be_collected() -> None:
    readings = ClosingReadings(KEY, LedgerReading(invoices=(INVOICE,)), (), erp())
    (fact,) = closing_facts(readings)
    assert (fact.cause, fact.waivable, fact.worth) == (Cause.CLOSE_INVOICE_OPEN, False, None)


def test_dates_that_no_item_stands_for_are_open() -> None:
    terms = contract(advice(), rollout("40000", "70000"))
    found = events_open(terms, Billed(), None)
    assert [one.title for one in found] == ["Milestone 1", "Milestone 2"]
    source = str(fee_source(ItemKind.MILESTONE.value, KEY, f"{ROLLOUT}.1"))
    opening = OpeningPosition(contract_key=KEY, billed_to_date=money("70000"), billed_keys=(f"{ROLLOUT}.2",))
    assert events_open(terms, Billed(frozenset({source})), opening) == []


def test_progress_is_billed_to_the_end() -> None:
    line = advice(amount="1000", billing_method=BillingMethod.PROGRESS)
    terms = contract(line)
    (rest,) = events_open(terms, Billed(progress={ADVICE: money("400")}), None)
    assert rest.amount == money("600")
    assert events_open(terms, Billed(progress={ADVICE: money("1000")}), None) == []
    # What was billed of it before the take-over nobody can tell by line.
    taken = OpeningPosition(contract_key=KEY, billed_to_date=money("1"))
    assert events_open(terms, Billed(), taken) == []


def test_the_gate_offers_collections_only_for_invoices() -> None:
    finance = erp(balances={"880": Decimal(50)})
    invoices = closing_facts(ClosingReadings(KEY, LedgerReading(invoices=(INVOICE,)), (), finance))
    policy = GatePolicy(roles=("billing-manager",), limit=Decimal(10), senior_roles=("cfo",))
    gate = closing_gate("Contract", invoices, policy, requester="sam")
    assert set(gate.choices) == {LOOK_AGAIN, COLLECTIONS}
    assert (gate.amount, gate.roles, gate.requester) == (billing("50"), ("cfo",), "sam")
    more = LedgerReading(invoices=(INVOICE,), groups=(group("ready"),))
    mixed = closing_facts(ClosingReadings(KEY, more, (), finance))
    gate = closing_gate("Contract", mixed, policy, requester="sam")
    # Whoever started it may always say that the facts were dealt with.
    assert (set(gate.choices), gate.requester) == ({LOOK_AGAIN}, None)
    assert "needs a reason" in closing_gate("C", invoices, None, requester="", unexplained=True).question


def test_every_fact_says_what_who_and_what_next() -> None:
    finance = erp(balances={"880": Decimal(50)}, deferred=money("10"))
    ledger = LedgerReading(invoices=(INVOICE,), groups=(group("ready"),))
    facts = closing_facts(ClosingReadings(KEY, ledger, (delivery(unread=OpenWork(items=1)),), finance))
    for fact in facts:
        assert fact.remedy
        assert fact.queue.value in told(fact)
    failure = in_the_way(facts)
    assert [one.cause for one in failure.findings] == [fact.cause for fact in facts]
    assert failure.at_stake is None, "amounts of different roles are never added"


def test_a_deal_is_closed_with_its_last_contract() -> None:
    assert deal_status(["a", "b"], []) is None
    assert deal_status(["a", "b"], ["a"]) is DealStatus.PARTLY_CLOSED
    assert deal_status(["a", "b"], ["a", "b"]) is DealStatus.CLOSED


CAUSES = st.sampled_from([one for one in Cause if one in CATALOGUE])
FACTS = st.builds(
    ClosingFact,
    cause=CAUSES,
    what=st.just("it"),
    key=st.sampled_from("abc"),
    worth=st.none() | st.integers(1, 5).map(lambda minor: Money.of_minor(minor, "EUR")),
    queue=st.sampled_from(Queue),
    remedy=st.just("do it"),
    waivable=st.booleans(),
)


@given(facts=st.lists(FACTS), waived=st.lists(FACTS))
def test_a_decision_lets_nothing_pass_but_what_was_decided(
    facts: list[ClosingFact], waived: list[ClosingFact]
) -> None:
    left = uncovered(facts, waived)
    assert set(left) <= set(facts)
    assert [fact for fact in facts if not fact.waivable] == [fact for fact in left if not fact.waivable]
    by_key = {fact.key: fact for fact in waived}
    for fact in set(facts) - set(left):
        decided = by_key[fact.key]
        assert decided.waivable
        if fact.worth is not None:
            assert decided.worth is not None
            assert fact.worth.minor <= decided.worth.minor
    assert uncovered(facts, []) == tuple(facts)
    assert uncovered(left, waived) == left


@given(
    st.lists(st.sampled_from(["ready", "not posted", "on a draft", "OVER_CAP", "UNDER_REVIEW"]), min_size=1)
)
def test_open_work_can_never_be_let_pass(reasons: list[str]) -> None:
    ledger = LedgerReading(groups=tuple(group(one) for one in reasons), invoices=(INVOICE,))
    facts = closing_facts(ClosingReadings(KEY, ledger, (), erp(balances={"880": Decimal(9)})))
    assert {fact.cause for fact in facts if fact.waivable} == {Cause.CLOSE_INVOICE_OPEN}
    assert uncovered(facts, facts)
    assert COLLECTIONS not in closing_gate("C", facts, None, requester="").choices
