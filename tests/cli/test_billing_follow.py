"""Following a run over many items: when it is settled, what the bar shows, how it exits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canonical.causes import Cause, Queue
from canonical.money import Money
from canonical.saga import (
    HeldItems,
    SagaStatus,
    SagaView,
    StepKind,
    StepState,
    StepView,
    Tally,
    Throughput,
)
from cli.billing.follow import Board, _settled, stage, status_line
from cli.billing.runs import exit_code
from cli.billing.words import hours, sentence, subject
from cli.output import Exit
from workflows.figures import share

RUN = "t2b:emea:kantata-main:netsuite-emea.2026-10-31"
POSTING = "pat:emea:kantata-main:netsuite-emea.2026-10-31"


def step(id_: str, state: StepState, title: str = "") -> StepView:
    return StepView(id=id_, title=title or id_, kind=StepKind.READ, state=state)


def tally(state: str, items: int, amount: str | None = None) -> Tally:
    money = (Money(amount=amount, currency="EUR"),) if amount else ()
    return Tally(state=state, items=items, minutes=items * 60, amounts=money)


def view(saga: str, status: SagaStatus = SagaStatus.RUNNING, **more: object) -> SagaView:
    return SagaView.model_validate(
        {
            "saga_id": saga,
            "saga": "x",
            "status": status,
            "headline": f"{status.value}.",
            "business_key": "k",
            "region": "emea",
            **more,
        }
    )


POSTED = view(
    POSTING,
    steps=(step("post", StepState.RUNNING, "Post to netsuite-emea"),),
    tallies=(tally("checked", 100), tally("posted", 60, "9000.00")),
    held=(HeldItems(cause=Cause.RATE_MISSING, queue=Queue.DELIVERY, tally=tally("held", 10)),),
    rate=Throughput(system="netsuite-emea", lines_per_second=412, calls_in_flight=4.8, limit=5),
)
BILLING = view(RUN, steps=(step("post", StepState.DONE), step("due", StepState.DONE)))


def test_the_bar_shows_items_and_money_by_state_and_the_pace() -> None:
    board = Board(view(RUN), POSTED, {"bill:1": "gated", "bill:2": "gated"})
    assert board.figures is not None
    assert share(board.figures) == (70, 100)
    assert stage(board) == "Post to netsuite-emea"
    assert status_line(board) == (
        "checked 100 lines, 100.0 h · posted 60 lines, 60.0 h, EUR 9,000.00 · held 10 lines, 10.0 h · "
        "412 lines/s, 4.8 of 5 calls in flight at netsuite-emea · 2 groups gated"
    )
    assert (stage(Board(None)), status_line(Board(None))) == ("begins", "")


@pytest.mark.parametrize(
    ("run", "posting", "groups", "settled"),
    [
        (view(RUN), POSTED, {}, False),
        (view(RUN), view(POSTING, SagaStatus.PARKED), {}, True),
        (view(RUN, SagaStatus.COMPLETE), None, {}, True),
        (BILLING, None, {}, False),
        (BILLING, None, {"bill:1": "gated", "bill:2": "running"}, False),
        (BILLING, None, {"bill:1": "gated", "bill:2": "parked"}, True),
        (
            view(RUN, steps=(*BILLING.steps, step("due.2", StepState.RUNNING))),
            None,
            {"bill:1": "gated"},
            False,
        ),
    ],
)
def test_a_run_is_settled_when_nothing_goes_on_without_a_person(
    run: SagaView, posting: SagaView | None, groups: dict[str, str], settled: bool
) -> None:
    assert _settled(run, posting, groups) is settled


def test_exit_codes_are_those_of_the_other_sagas() -> None:
    board = Board(BILLING, None, {"bill:1": "gated"}, settled=True)
    assert exit_code(board) == Exit.PARKED
    assert exit_code(replace(board, settled=False)) == Exit.FAILED
    assert exit_code(replace(board, run=view(RUN, SagaStatus.COMPLETE))) == Exit.DONE
    assert exit_code(replace(board, run=view(RUN, SagaStatus.STOPPED))) == Exit.UNDONE
    assert exit_code(Board(None)) == Exit.FAILED


@pytest.mark.parametrize(
    ("saga", "words"),
    [
        (RUN, "Time to billing up to 2026-10-31 (kantata-main to netsuite-emea)"),
        (POSTING, "Posting from kantata-main to netsuite-emea (2026-10-31)"),
        ("bill:emea:netsuite-emea:NL01.C1-ab12.2026-10", "Billing of NL01.C1-ab12 for 2026-10"),
        ("cr:emea:netsuite-emea:NL01.2026-10.1", "Credit of invoice NL01.2026-10.1"),
        ("rev:emea:netsuite-emea:abc", "Taking posted lines back in netsuite-emea"),
        ("rel:emea:kantata-main:abc", "Letting held lines of kantata-main go"),
    ],
)
def test_runs_are_called_by_what_they_are_about(saga: str, words: str) -> None:
    assert subject(saga) == words


def test_a_run_says_what_is_wrong_worth_what_and_who_acts() -> None:
    parked = view(
        RUN,
        SagaStatus.PARKED,
        steps=(step("post", StepState.PARKED, "Post"),),
        queue=Queue.BILLING,
        at_stake=Money(amount="10.00", currency="EUR"),
    )
    assert sentence(parked).endswith("is parked at 'Post', EUR 10.00 at stake; billing acts.")
    assert sentence(view(RUN, SagaStatus.STOPPED)).endswith("(kantata-main to netsuite-emea). stopped.")
    assert (hours(90), hours(-30), hours(60_000)) == ("1:30", "-0:30", "1,000:00")
