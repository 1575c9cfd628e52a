"""Sums by state and cause, and the page that shows them."""

from __future__ import annotations

from canonical.causes import Cause, Queue
from canonical.money import Money
from canonical.saga import HeldItems, SagaStatus, SagaView, Tally, Throughput
from workflows.details import details
from workflows.figures import counted, held_together, held_words, of_state, summed


def tally(state: str, items: int, *amounts: str) -> Tally:
    money = tuple(Money.of_minor(int(one[3:]), one[:3]) for one in amounts)
    return Tally(state=state, items=items, minutes=items * 30, amounts=money)


def held(cause: Cause, items: int, *amounts: str) -> HeldItems:
    return HeldItems(cause=cause, queue=Queue.BILLING, tally=tally("held", items, *amounts))


def test_sums_keep_currencies_apart() -> None:
    both = summed([tally("posted", 2, "EUR200")], [tally("posted", 1, "JPY5", "EUR50"), tally("read", 1)])
    assert [one.state for one in both] == ["posted", "read"]
    assert [str(money) for money in both[0].amounts] == ["EUR 2.50", "JPY 5"]
    assert (both[0].items, both[0].minutes) == (3, 90)


def test_held_items_come_most_first_by_cause() -> None:
    found = held_together(
        [held(Cause.RATE_MISSING, 1, "EUR100")], [held(Cause.OVER_CAP, 3), held(Cause.RATE_MISSING, 1)]
    )
    assert [(one.cause, one.tally.items) for one in found] == [(Cause.OVER_CAP, 3), (Cause.RATE_MISSING, 2)]
    assert held_words(found) == "Held: 5 lines, 2.5 h, EUR 1.00 (OVER_CAP 3, RATE_MISSING 2)."


def test_words_for_few_and_many() -> None:
    assert counted(Tally(state="x", items=1)) == "1 line"
    assert counted(tally("x", 12_000)) == "12,000 lines, 6,000.0 h"
    assert of_state([tally("a", 1)], "b") == Tally(state="b")
    assert held_words(()) == ""


def test_the_page_shows_items_money_and_rate() -> None:
    view = SagaView(
        saga_id="pat:emea:kantata-main:run",
        saga="post-approved-time",
        status=SagaStatus.RUNNING,
        headline="Posting",
        business_key="kantata-main/run",
        region="emea",
        tallies=(tally("checked", 204), tally("posted", 100, "EUR150000"), Tally(state="marked")),
        held=(held(Cause.RATE_MISSING, 2, "EUR300"),),
        rate=Throughput(system="netsuite-emea", lines_per_second=412.4, calls_in_flight=4.82, limit=5),
    )
    page = details(view)
    assert "- posted · 100 lines, 50.0 h, EUR 1,500.00" in page
    assert "marked" not in page
    assert "- **RATE_MISSING** · billing · 2 lines, 1.0 h, EUR 3.00" in page
    assert "**Rate** 412 lines/s · 4.8 of 5 calls in flight at netsuite-emea" in page
    assert "**Progress** ▰▰▰▰▰▰▰▰▰▰▱▱▱▱▱▱▱▱▱▱ 50 % · 102 of 204 lines posted or held" in page
    assert "Progress" not in details(view.model_copy(update={"status": SagaStatus.COMPLETE}))
