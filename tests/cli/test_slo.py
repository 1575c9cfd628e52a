"""``trueup slo``: clocks from the source to what it led to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canonical.names import inbox_row, polled_event
from canonical.refs import RecordRef
from canonical.saga import SagaStatus
from cli.output import Exit
from cli.slo import percentile
from ledger.inbox import InboxState, NewEvent
from ledger.store import Ledger
from tests.cli.conftest import Cli, begin, saga
from tests.ledger import test_feedback as books

LEASE = timedelta(seconds=30)


def shown_after(cli: Cli, age: timedelta) -> None:
    """The deal shows what happened so long ago."""

    async def work(ledger: Ledger) -> None:
        happened = {"source_at": datetime.now(UTC) - age}
        await ledger.apply_standing(books.new(60, 0, None).model_copy(update=happened))
        for target in (books.OPPORTUNITY, books.ON_ACCOUNT):
            hold = await ledger.hold_target(target.key, "a", LEASE)
            await ledger.settle_target(
                target.key, "a", wanted=hold.wanted, digest="x", figures={}, wrote=True
            )

    cli.write(work)


def test_nothing_was_measured(cli: Cli) -> None:
    answer = cli("slo")
    assert (answer.code, answer.first.endswith("none late.")) == (Exit.DONE, True)


def test_an_invoices_change_is_counted_from_the_erp(cli: Cli) -> None:
    shown_after(cli, timedelta(minutes=10))
    answer = cli("slo", "--json")
    clock = answer.json["clocks"][-1]
    assert (answer.code, clock["measured"], clock["late"]) == (Exit.DONE, 2, 0)
    assert 600 <= clock["p50"] <= clock["longest"] < 630


def test_what_took_longer_is_late(cli: Cli) -> None:
    shown_after(cli, timedelta(minutes=16))
    answer = cli("slo")
    assert answer.code == Exit.FAILED
    assert "2 late" in answer.first


def test_a_deal_is_counted_from_its_event(cli: Cli) -> None:
    async def work(ledger: Ledger) -> None:
        told = NewEvent(event_id="1", type="deal", occurred_at=datetime.now(UTC) - timedelta(minutes=7))
        (row,) = await ledger.receive_events("deals", "sf-main", [told], trace_id="t", lease=LEASE)
        await ledger.settle_event(row.id, InboxState.HANDED, saga_id=saga("006"))
        await begin(ledger, "006", SagaStatus.COMPLETE)
        await begin(ledger, "007", SagaStatus.COMPLETE)
        await begin(ledger, "008", SagaStatus.UNDONE)

    cli.write(work)
    answer = cli("slo", "--json")
    _, clock, _ = answer.json["clocks"]
    assert (clock["measured"], clock["late"], clock["source_unknown"]) == (2, 1, 1)
    assert 420 <= clock["longest"] < 450
    assert answer.code == Exit.FAILED


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.99, 4), (1, 4)])
def test_percentiles_are_measurements(share: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], share) == expected
    assert percentile([], share) is None


def test_events_of_the_inbox_and_of_polls_are_told_apart() -> None:
    ref = RecordRef(system="erp", type="invoice", id="7")
    assert inbox_row("finance/17") == 17
    assert inbox_row(polled_event(ref, datetime(2026, 11, 20, tzinfo=UTC))) is None
    assert inbox_row("told by hand 3") is None
