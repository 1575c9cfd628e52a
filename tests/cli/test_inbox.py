"""``trueup inbox``: what is parked and why, and letting it go on."""

from __future__ import annotations

from datetime import timedelta

from cli.output import Exit
from ledger.inbox import InboxState, NewEvent
from ledger.store import Ledger
from tests.cli.conftest import Cli


def received(cli: Cli) -> None:
    async def work(ledger: Ledger) -> None:
        events = [NewEvent(event_id=f"e-{n}", type="deal.won", record_id=f"006{n}") for n in range(3)]
        rows = await ledger.receive_events(
            "deals", "sf-main", events, trace_id="t", lease=timedelta(minutes=1)
        )
        await ledger.settle_event(
            rows[0].id, InboxState.PARKED, reason="this release starts no such saga by events"
        )
        await ledger.settle_event(rows[1].id, InboxState.HANDED, saga_id="o2p:emea:sf-main:0061")

    cli.write(work)


def test_an_empty_inbox_is_said(cli: Cli) -> None:
    answer = cli("inbox")
    assert answer.code == Exit.DONE
    assert answer.first == "No events parked, 0 on the way, 0 handed over."


def test_parked_events_show_their_reason_and_go_on(cli: Cli) -> None:
    received(cli)
    answer = cli("inbox")
    assert answer.first == "1 event parked, 1 on the way, 1 handed over."
    assert "this release starts no such saga by events" in answer.out
    assert "trueup inbox --retry" in answer.out
    assert "o2p:emea:sf-main:0061" not in answer.out
    assert "o2p:emea:sf-main:0061" in cli("inbox", "--state", "handed").out
    answer = cli("inbox", "--retry")
    assert answer.first == (
        "No events parked, 2 on the way, 1 handed over. 1 event will be tried again by the gateway."
    )
    assert len(cli("inbox", "--json").json["events"]) == 2


def test_a_source_that_is_none_is_refused(cli: Cli) -> None:
    answer = cli("inbox", "--source", "nobody")
    assert answer.code == Exit.USAGE
    assert "no configured source" in answer.err
