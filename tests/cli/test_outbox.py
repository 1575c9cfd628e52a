"""``trueup outbox``: what subscribers did not take, and what a person decides about it."""

from __future__ import annotations

from typing import Any

import pytest

from canonical.saga import SagaStatus
from cli import outbox
from cli.output import Exit
from cli.session import Session
from ledger.store import Ledger
from ledger.undelivered import UndeliveredRow
from tests.cli.conftest import ANNA, Cli

SUBSCRIPTION = """
[gateway.subscriptions.portal]
url = "https://portal.acme.example/trueup"
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
"""


def not_taken(cli: Cli) -> None:
    """Two events that neither the portal nor a subscription of former times took."""

    async def work(ledger: Ledger) -> None:
        for number in (1, 2):
            saga = f"o2p:emea:sf-main:006{number}"
            begun = await ledger.begin_saga(
                saga, saga="opportunity-to-project", region="emea", business_key=f"sf-main/006{number}",
                actor=ANNA, reason="", start_id="1", trace_id="",
            )  # fmt: skip
            await ledger.finish_saga(saga, begun.generation, SagaStatus.COMPLETE)
        for row in await ledger.untold_events():
            for name in ("portal", "former"):
                await ledger.give_up(
                    row.event_id, name, run_id="r", detail="portal.acme.example answered 503", owner=None
                )

    cli.config.write_text(cli.config.read_text() + SUBSCRIPTION)
    cli.write(work)


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> list[UndeliveredRow]:
    """What was handed to Temporal; the first of it only the second time it is asked."""
    told: list[UndeliveredRow] = []
    asked: list[str] = []

    async def client(_: Any) -> None:
        """Nobody."""

    async def tell_again(_: Any, row: UndeliveredRow) -> bool:
        asked.append(row.event_id)
        if len(asked) == 1:
            return False
        told.append(row)
        return True

    monkeypatch.setattr(Session, "client", client)
    monkeypatch.setattr(outbox, "tell_again", tell_again)
    return told


def test_an_empty_outbox_is_said(cli: Cli) -> None:
    answer = cli("outbox")
    assert answer.code == Exit.DONE
    assert answer.first == "No events not taken, 0 not handed over yet."


def test_what_was_not_taken_shows_why_and_is_a_case(cli: Cli) -> None:
    not_taken(cli)
    answer = cli("outbox")
    assert answer.first == "4 events not taken by 2 subscriptions, 2 not handed over yet."
    assert "answered 503" in answer.out
    assert "trueup outbox --retry" in answer.out
    assert len(cli("outbox", "--subscription", "portal", "--json").json["events"]) == 2
    cases = cli("exceptions", "--json").json["cases"]
    assert sorted(one["next"] for one in cases) == [
        "trueup outbox --subscription former", "trueup outbox --subscription portal",
    ]  # fmt: skip


def test_it_is_sent_again_as_far_as_it_can_be(cli: Cli, temporal: list[UndeliveredRow]) -> None:
    not_taken(cli)
    answer = cli("outbox", "--retry", "--reason", "the portal is back")
    assert answer.first == (
        "3 events not taken by 2 subscriptions, 2 not handed over yet. 1 event sent again."
    )
    assert "former is not configured" in answer.out
    assert "not quite ended" in answer.out
    assert [row.subscription for row in temporal] == ["portal"]
    answer = cli("outbox", "--retry", "--subscription", "portal")
    assert answer.first.startswith("2 events not taken by 1 subscription,")
    assert len(temporal) == 2
    assert len(cli("exceptions", "--json").json["cases"]) == 1


def test_what_nobody_needs_is_dropped_with_a_reason(cli: Cli, temporal: list[UndeliveredRow]) -> None:
    not_taken(cli)
    assert cli("outbox", "--drop").code == Exit.USAGE
    assert cli("outbox", "--drop", "--retry", "--reason", "x").code == Exit.USAGE
    assert cli("outbox", "--subscription", "nobody").code == Exit.USAGE
    answer = cli("outbox", "--drop", "--subscription", "former", "--reason", "that receiver is gone")
    assert answer.first.endswith("2 events dropped.")
    assert temporal == []

    async def decided(ledger: Ledger) -> list[Any]:
        return list((await ledger.decisions(saga_id="tell.emea.former")).rows)

    (decision,) = cli.write(decided)
    assert (decision.outcome, decision.reason) == ("dropped", "that receiver is gone")


def test_doctor_warns_of_what_was_not_taken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUEUP_TEST_WHSEC", raising=False)
    not_taken(cli)
    checks, ours = cli("doctor", "--json").json["checks"], ("outbox", "gateway secrets")
    lines = [one for one in checks if one["check"] in ours]
    assert [(one["check"], one["state"], one["detail"]) for one in lines] == [
        ("gateway secrets", "warning", "not here: environment variable TRUEUP_TEST_WHSEC"),
        ("outbox", "warning", "2 events not taken by former"),
        ("outbox", "warning", "2 events not taken by portal"),
    ]
