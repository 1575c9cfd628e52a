"""The close check: red with owner, money and the next command, or green."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from canonical.causes import Cause
from canonical.invoicing import DocumentKind
from canonical.money import Money
from canonical.unbilled import InFlight, RollForward, UnbilledDifference, UnbilledGroup
from rules.closing import Balance, CloseFacts, CloseLine, OpenDocument, close_lines

END = datetime(2026, 10, 31, 23, tzinfo=UTC)


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def group(reason: str, amount: str | None = "100", items: int = 2, project: str = "PRJ-1") -> UnbilledGroup:
    cause = Cause(reason) if reason in Cause.__members__ else None
    return UnbilledGroup(
        reason=reason,
        cause=cause,
        legal_entity="NL01",
        project_code=project,
        contract_key="C1",
        items=items,
        minutes=items * 60,
        amount=eur(amount) if amount is not None else None,
    )


def roll(closing: str = "150") -> RollForward:
    nothing = {name: eur("0") for name in ("reversed", "credited", "written", "covered", "repriced")}
    return RollForward(
        legal_entity="NL01",
        currency="EUR",
        opening=eur("50"),
        posted=eur("200"),
        billed=eur("100"),
        closing=eur(closing),
        **nothing,
    )


CLEAN = CloseFacts(
    entity="NL01",
    cutoff="--cutoff 2026-10-31",
    last=date(2026, 10, 31),
    period_end=END,
    read_at=datetime(2026, 11, 2, tzinfo=UTC),
    delivery="kantata-main",
    near_days=3,
    rolls=[roll()],
    balances=[Balance("EUR", eur("120"), eur("30"), eur("120"))],
)


def red(facts: CloseFacts) -> list[CloseLine]:
    return [line for line in close_lines(facts) if not line.ok]


def test_a_period_with_nothing_open_is_green_and_says_what_was_looked_at() -> None:
    lines = close_lines(CLEAN)
    assert all(line.ok for line in lines)
    assert [line.check for line in lines] == [
        "read",
        "unposted",
        "in flight",
        "unapproved",
        "milestones",
        "held",
        "unbilled",
        "roll-forward",
        "against the ERP",
    ]


def test_what_was_read_before_the_periods_end_may_miss_work() -> None:
    (line,) = red(replace(CLEAN, read_at=datetime(2026, 10, 31, 22, tzinfo=UTC)))
    assert line.check == "read"
    assert line.next == "trueup start post-approved-time --cutoff 2026-10-31"
    (never,) = red(replace(CLEAN, read_at=None))
    assert "was read never" in never.detail


def test_unposted_and_unbilled_work_is_summed_per_currency() -> None:
    facts = replace(
        CLEAN, groups=[group("not posted"), group("not posted", "50", 1, "PRJ-2"), group("ready", "10")]
    )
    unposted, unbilled = red(facts)
    assert (unposted.check, unposted.items, unposted.minutes, unposted.amount) == (
        "unposted",
        3,
        180,
        eur("150"),
    )
    assert unbilled.next == "trueup start time-to-billing --cutoff 2026-10-31"


def test_what_is_on_its_way_is_named() -> None:
    batch = InFlight(
        system="netsuite-emea", purpose="post_cost", items=7, minutes=420, amount=eur("700"), since=END
    )
    draft = OpenDocument("G/2026-10/1", DocumentKind.INVOICE, "drafted", "bill:1", 3, eur("300"))
    flying, drafted = red(replace(CLEAN, in_flight=[batch], documents=[draft]))
    assert (flying.items, flying.amount) == (7, eur("700"))
    assert drafted.detail == "invoice G/2026-10/1 is drafted, not issued"
    assert drafted.next == "trueup approvals show bill:1"


def test_unapproved_work_near_the_cutoff_is_told_apart() -> None:
    late = group("NOT_APPROVED", None, 5)
    facts = replace(CLEAN, groups=[late], near=[late.model_copy(update={"items": 2})])
    (line,) = red(facts)
    assert line.detail == (
        "PRJ-1: NOT_APPROVED: worked and not approved, 2 of them within 3 days of the cutoff"
    )
    assert (line.items, line.owner) == (5, "delivery")


def test_milestones_and_holds_have_their_queue_and_command() -> None:
    facts = replace(CLEAN, groups=[group("MILESTONE_NOT_ACCEPTED", "5000", 1), group("RATE_MISSING", None)])
    milestone, held = red(facts)
    assert (milestone.check, milestone.amount, milestone.owner) == ("milestones", eur("5000"), "delivery")
    assert held.next == "trueup resolve --cause RATE_MISSING"


def test_what_belongs_to_no_entity_may_be_this_ones() -> None:
    (line,) = red(replace(CLEAN, stray=[group("PROJECT_CODE_DIFFERS", None, project="")]))
    assert "(of no entity yet)" in line.detail


def test_lines_that_somebody_moved_are_no_reason_not_to_close() -> None:
    assert red(replace(CLEAN, groups=[group("MOVED_TO_LATER_CYCLE")])) == []


def test_a_movement_that_was_not_recorded_shows() -> None:
    (line,) = red(replace(CLEAN, rolls=[roll("149")]))
    assert (line.check, line.amount) == ("roll-forward", eur("-1"))


def test_the_erps_balance_is_compared_without_what_stands_on_drafts_there() -> None:
    differs = UnbilledDifference(item_key="k", posting="7", ours=eur("20"), theirs=None, reason="gone")
    (line,) = red(replace(CLEAN, balances=[Balance("EUR", eur("120"), eur("30"), eur("100"), [differs])]))
    assert line.detail == (
        "work up to 2026-10-31: EUR 120.00 of ours, EUR 100.00 in the ERP, and EUR 30.00 on drafts; "
        "1 line differs"
    )
    assert (line.amount, line.items) == (eur("20"), 1)
    assert red(replace(CLEAN, balances=[Balance("EUR", eur("150"), eur("0"), None)])) == []


def test_equal_sums_of_different_lines_are_red_too() -> None:
    differs = UnbilledDifference(item_key="k", posting="7", ours=eur("20"), theirs=None, reason="gone")
    (line,) = red(replace(CLEAN, balances=[Balance("EUR", eur("120"), eur("30"), eur("120"), [differs])]))
    assert line.amount is None
