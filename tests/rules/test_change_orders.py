"""Change orders are taken in version order, each once, as far as the contract can bear them (rule 43)."""

from __future__ import annotations

import itertools
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, Floor, Verdict
from canonical.engagement import BillingSchedule, Contract, RevenueMethod
from canonical.money import Conversion
from canonical.refs import Dimensions
from rules.change_orders import take
from tests.rules.changes import (
    ADVICE,
    DELIVERIES,
    KEY,
    ROLLOUT,
    Book,
    advice,
    by,
    card,
    contract,
    delta,
    rollout,
    snapshot,
    stone,
)
from tests.rules.examples import END, START, money

BILLED = Floor(billed={ADVICE: money("20000")})


def five(form: str) -> tuple[ChangeOrder, ...]:
    """Five change orders; the third cannot be, the fourth goes below what is billed."""
    more = advice("00k9", "5000", quantity=Decimal(40))
    if form == "delta":
        return (
            delta(1, change=(by("8000", quantity=Decimal(50)),)),
            delta(2, add=(more,)),
            delta(3, change=(by("1", "00k777"),)),
            delta(4, change=(by("-25000"),)),
            delta(5, change=(by("15000", ROLLOUT, put_dates=(stone(3, "15000"),)), by("-1000", "00k9"))),
        )
    bigger = advice(amount="38000", quantity=Decimal(250))
    old, stones = rollout("40000", "60000"), ("40000", "60000", "15000")
    return (
        snapshot(1, contract(bigger, old)),
        snapshot(2, contract(bigger, old, more)),
        snapshot(3, contract(bigger, old, more, legal_entity="UK01")),
        snapshot(4, contract(advice(amount="13000"), old, more)),
        snapshot(5, contract(bigger, rollout(*stones), advice("00k9", "4000", quantity=Decimal(40)))),
    )


@pytest.mark.parametrize("form", ["snapshot", "delta"])
def test_all_120_orders_of_arrival_end_alike(form: str) -> None:
    orders = five(form)
    expected = contract(
        advice(amount="38000", quantity=Decimal(250)),
        rollout("40000", "60000", "15000"),
        advice("00k9", "4000", quantity=Decimal(40)),
    )
    for arrival in itertools.permutations(orders):
        book = Book(floor=BILLED)
        for order in arrival:
            book.arrive(order)
        assert book.terms == expected, [one.key for one in arrival]
        assert book.applied == ["CO-2", "CO-3", "CO-6"]
        assert {key: found.cause for key, found in book.refused.items()} == {
            "CO-4": Cause.CHANGE_ORDER_INVALID,
            "CO-5": Cause.CHANGE_BELOW_BILLED,
        }
        assert not book.open


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[ChangeOrder], list[ChangeOrder]]:
    """(change orders in version order, some of which cannot be; the same as they arrive, some repeatedly)."""
    count = draw(st.integers(1, 7))
    orders = []
    for base in range(1, count + 1):
        amount = draw(st.integers(-30000, 30000))
        line = draw(st.sampled_from([ADVICE, f"new{base - 1}", "nowhere"]))
        changes: dict[str, Any] = {"change": (by(str(amount), line),)}
        if draw(st.booleans()):
            changes["add"] = (advice(f"new{base}", str(draw(st.integers(0, 9000)))),)
        orders.append(delta(base, **changes))
    copies = [order for order in orders for _ in range(draw(st.integers(1, 3)))]
    return orders, draw(st.permutations(copies))


@given(histories())
def test_the_order_of_arrival_changes_nothing(history: tuple[list[ChangeOrder], list[ChangeOrder]]) -> None:
    in_order, arrival = history
    reference, book = Book(floor=BILLED), Book(floor=BILLED)
    for order in in_order:
        reference.arrive(order)
    for order in arrival:
        book.arrive(order)
    assert (book.terms, book.applied, book.reached) == (reference.terms, reference.applied, reference.reached)
    assert {k: v.cause for k, v in book.refused.items()} == {k: v.cause for k, v in reference.refused.items()}
    assert len(set(book.applied)) == len(book.applied)
    # Judged again by another arithmetic: what is applied adds up, and nothing billed is undercut.
    applied = [order for order in in_order if order.key in book.applied]
    by_hand = Decimal(130000)
    for order in applied:
        assert order.delta is not None
        by_hand += sum((one.amount.amount for one in order.delta.change if one.amount), Decimal(0))
        by_hand += sum((one.amount.amount for one in order.delta.add), Decimal(0))
    assert book.terms.amount.amount == by_hand
    line = book.terms.line(ADVICE)
    assert line is not None
    assert line.amount.amount >= 20000


@given(st.permutations([1, 2, 3, 4, 5]), st.integers(1, 4))
def test_a_base_that_never_arrives_is_waited_for(bases: list[int], missing: int) -> None:
    book = Book()
    for base in bases:
        if base != missing:
            book.arrive(delta(base, change=(by("100"),)))
    assert book.applied == [f"CO-{base + 1}" for base in range(1, missing)]
    assert {one.base for one in book.open} == {base for base in bases if base > missing}
    assert not book.refused
    taken = take(book.open, book.reached)
    assert taken.following is None
    assert taken.missing == ((missing + 1,) if book.open else ())
    first = book.judge(book.open[0])
    assert (first.verdict, first.cause) == (Verdict.WAITS, Cause.CHANGE_BASE_MISSING)
    book.arrive(delta(missing, change=(by("100"),)))
    assert not book.open
    assert len(book.applied) == 5


def test_an_older_one_is_refused_with_the_reason() -> None:
    book = Book()
    book.arrive(delta(1, change=(by("100"),)))
    book.arrive(delta(1, "LATE", change=(by("900"),)))
    assert book.applied == ["CO-2"]
    refused = book.refused["LATE"]
    assert refused.cause is Cause.CHANGE_ORDER_OLDER
    assert refused.reason == "It makes version 2; version 2 has been decided already."


def test_of_two_of_one_version_the_first_received_counts() -> None:
    book = Book()
    for key in ("B", "A"):
        book.arrive(delta(2, key, change=(by("1"),)))
    book.arrive(delta(1, change=(by("100"),)))
    assert book.applied == ["CO-2", "B"]
    assert list(book.refused) == ["A"]


def test_a_refused_version_lets_the_next_one_be_judged_on_the_terms_in_force() -> None:
    book = Book()
    book.arrive(delta(2, change=(by("100"),)))
    book.arrive(delta(1, drop=("nowhere",)))
    assert book.applied == ["CO-3"]
    assert book.terms.amount == money("130100")


TWICE = card().model_copy(update={"lines": (*card().lines, *card("160").lines)})

# --- what cannot be ----------------------------------------------------------------------------------------


def reason(
    order: ChangeOrder, terms: Contract | None = None, floor: Floor | None = None
) -> tuple[Cause | None, str]:
    """Why an order is refused."""
    found = Book(terms=terms or contract(), floor=floor or Floor()).judge(order)
    assert found.verdict is Verdict.REFUSED
    return found.cause, found.reason


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        (contract(legal_entity="UK01"), "legal_entity"),
        (contract(dimensions=Dimensions(region="uki", legal_entity="NL01")), "dimensions"),
        (contract(advice(amount="-1"), rollout("1")), "amount would be"),
        (contract(advice(quantity=Decimal(0)), rollout("100000")), "quantity would be"),
        (contract(advice(service_code="NONE"), rollout("1")), "service_code does not change"),
        (contract(advice(), rollout("1"), advice("x", service_code="NONE")), "sells no service"),
        (contract(advice(), rollout("1"), advice("x", item="99")), "is item 32"),
        (contract(advice(), rollout("1"), advice("x", delivery_region="apac")), "no delivery project"),
        (contract(advice(), advice()), "is there 2 times"),
        (contract(advice(end=date(2026, 1, 1)), rollout("1")), "before it begins"),
        (contract(advice(end=date(2030, 1, 1)), rollout("1")), "after the contract"),
        (contract(advice(), rollout("1"), end=date(2026, 1, 1)), "before it begins"),
        (contract(advice(), rollout("1", amount=money("2"), deal_amount=money("2"))), "adds up to"),
        (contract(advice(), rollout("1", schedule=None)), "has no schedule"),
        (contract(advice(deal_amount=money("29999")), rollout("1")), "is not EUR 30,000.00"),
        (contract(rate_card=None), "without rates"),
        (
            contract(rate_card=card().model_copy(update={"lines": (*card().lines, *card("160").lines)})),
            "overlap",
        ),
        (contract(advice(amount="1", deal_amount=money("1", "GBP")), rollout("1")), "of the deal"),
    ],
)
def test_terms_that_the_contract_cannot_have(terms: Contract, word: str) -> None:
    cause, said = reason(snapshot(1, terms))
    assert cause is Cause.CHANGE_ORDER_INVALID
    assert word in said


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"add": (advice(),)}, "is there already"),
        ({"drop": ("nowhere",)}, "not in the contract"),
        ({"drop": (ADVICE,), "change": (by("1"),)}, "is named 2 times"),
        ({"change": (by("1", drop_dates=("no",)),)}, "schedule date no"),
        ({"change": (by("5", ROLLOUT),)}, "adds up to"),
        ({"change": (by("-30001"),)}, "amount would be"),
        ({"drop": (ADVICE, ROLLOUT)}, "No line is left"),
        ({}, "has already"),
    ],
)
def test_deltas_that_lead_nowhere(changes: dict[str, Any], word: str) -> None:
    cause, said = reason(delta(1, **changes))
    assert cause is Cause.CHANGE_ORDER_INVALID
    assert word in said


def test_a_snapshot_that_changes_nothing_is_refused() -> None:
    assert "has already" in reason(snapshot(1, contract()))[1]


def test_a_converted_line_names_both_amounts() -> None:
    conversion = Conversion(
        from_currency="GBP", to_currency="EUR", rate=Decimal("1.2"), rate_type="fixed_by_contract",
        rate_date="2026-11-20", source="deal line",
    )  # fmt: skip
    terms = contract(advice(deal_amount=money("25000", "GBP"), conversion=conversion))
    assert "names the contract's and the deal's" in reason(delta(1, change=(by("1200"),)), terms)[1]
    wrong = by("1200", deal_amount=money("999", "GBP"))
    assert "of the deal" in reason(delta(1, change=(wrong,)), terms)[1]
    right = Book(terms=terms)
    right.arrive(delta(1, change=(by("1200", deal_amount=money("1000", "GBP")),)))
    assert right.terms.lines[0].deal_amount == money("26000", "GBP")


def test_before_the_contract_begins_nothing_is_effective() -> None:
    cause, said = reason(delta(1, effective_on=date(2026, 11, 30), change=(by("1"),)))
    assert cause is Cause.CHANGE_ORDER_INVALID
    assert "before the contract begins" in said


def test_an_order_says_one_thing_in_one_form() -> None:
    for wrong in (
        {"terms": contract(), "delta": {}},
        {},
        {"delta": {}, "base": 0},
        {"delta": {}, "key": "a:b"},
    ):
        values = {"key": "A", "contract_key": KEY, "base": 1, "effective_on": START, **wrong}
        with pytest.raises(ValidationError):
            ChangeOrder.model_validate(values)


# --- below what is billed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "floor", "word"),
    [
        ({"change": (by("-10001"),)}, BILLED, "20,000.00 of it are billed"),
        ({"drop": (ADVICE,)}, BILLED, "would be EUR 0.00"),
        ({"change": (by("-5000"),)}, Floor(delivered={ADVICE: money("26000")}), "26,000.00 delivered"),
        (
            {"change": (by("0", ROLLOUT, put_dates=(stone(1, "30000"), stone(2, "70000"))),)},
            Floor(dates={f"{ROLLOUT}.1": money("40000")}),
            "Schedule date",
        ),
        ({"change": (by("-5000"),)}, Floor(elsewhere=money("126000")), "The contract would be"),
    ],
)
def test_nothing_goes_below_what_is_billed_or_delivered(
    changes: dict[str, Any], floor: Floor, word: str
) -> None:
    cause, said = reason(delta(1, **changes), floor=floor)
    assert cause is Cause.CHANGE_BELOW_BILLED
    assert word in said


def test_down_to_what_is_billed_it_may_go() -> None:
    book = Book(floor=BILLED)
    book.arrive(delta(1, change=(by("-10000"),)))
    assert book.applied == ["CO-2"]


def test_a_line_that_is_overdrawn_may_still_be_raised() -> None:
    book = Book(floor=Floor(delivered={ADVICE: money("50000")}))
    book.arrive(delta(1, change=(by("5000"),)))
    assert book.applied == ["CO-2"]


# --- what it means per system ------------------------------------------------------------------------------


def test_the_difference_is_told_system_by_system() -> None:
    order = delta(
        1,
        change=(by("8000"), by("15000", ROLLOUT, put_dates=(stone(3, "15000"),))),
        add=(advice("00k9", "5000"),),
        rate_card=card("160", "2027"),
        end=date(2027, 8, 31),
    )
    impact = Book().judge(order).impact
    assert impact is not None
    assert (impact.before, impact.after) == (money("130000"), money("158000"))
    assert [(one.key, one.before is None, one.after is None) for one in impact.lines] == [
        (ADVICE, False, False),
        (ROLLOUT, False, False),
        ("00k9", True, False),
    ]
    by_key = {one.delivery_key: one for one in impact.deliveries}
    assert set(by_key) == set(DELIVERIES)
    advisory, rollouts = by_key[DELIVERIES[0]], by_key[DELIVERIES[1]]
    assert (advisory.before, advisory.after) == (money("30000"), money("43000"))
    assert [(one.role, one.before, one.after) for one in advisory.rates] == [
        ("consultant", Decimal(150), Decimal(160))
    ]
    assert [one.key for one in rollouts.put_milestones] == [f"{ROLLOUT}.3"]
    assert impact.schedules == (ROLLOUT,)
    assert impact.fields == ("end",)
    assert impact.rates


def test_what_delivery_moved_is_no_change_of_the_contract() -> None:
    held = rollout("40000", "60000")
    assert held.schedule is not None
    moved = [one.model_copy(update={"due": START}) for one in held.schedule.dates]
    schedule = BillingSchedule(key=ROLLOUT, name="Implementation", dates=tuple(moved))
    line = held.model_copy(update={"schedule": schedule, "revenue_method": RevenueMethod.POINT_IN_TIME})
    impact = Book().judge(snapshot(1, contract(advice(), line))).impact
    assert impact is not None
    assert impact.deliveries == ()
    assert impact.schedules == (ROLLOUT,)


def test_a_line_that_goes_on_longer_takes_the_contract_along() -> None:
    book = Book()
    book.arrive(delta(1, change=(by("0", end=date(2027, 9, 30)),)))
    assert (book.terms.end, END) == (date(2027, 9, 30), date(2027, 5, 31))
