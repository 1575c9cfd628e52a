"""Pieces of a posting run: what a stopped one leaves is the next one's, a lost answer is no dead end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.posting import piece_is_over
from activities.billing.preparing import Preparing
from activities.books import LedgerActivitiesOver
from activities.contracts import BeginRun, FinishSaga, Piece, RunBegun, SagaRef
from canonical.names import SagaName, piece_key, piece_number
from canonical.saga import Actor, SagaStatus, SagaView
from ledger.store import Ledger
from tests.activities.firm import FakeSystems
from tests.ledger.billing import ERP, PSA, RUN, claim, line, place, rows
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
REF = SagaRef(
    saga_id=RUN, region="emea", business_key="post", trace_id="t", actor=Actor(name="root"), mapping={}
)


@pytest.fixture
def systems() -> Any:
    return FakeSystems(ports={ERP: SimpleNamespace(system=ERP)})


async def begin(ledger: Ledger, systems: Any) -> RunBegun:
    drafting = Drafting(systems, ledger, Gathering(systems, ledger), clock=Clock())
    command = BeginRun(saga=REF, name=SagaName.POST_APPROVED_TIME.value)
    begun: RunBegun = await ActivityEnvironment().run(drafting.begin_run, command)
    return begun


def piece(number: int) -> Piece:
    return Piece(saga=REF, psa=PSA, erp=ERP, number=number, limit=100)


async def test_a_run_counts_its_pieces_on_from_the_highest_number(ledger: Ledger, systems: Any) -> None:
    """A run that is stopped between counting a piece and claiming it leaves out a number."""
    assert (await begin(ledger, systems)).pieces == 0
    await claim(ledger, 1)
    await claim(ledger, 3)
    assert (await begin(ledger, systems)).pieces == 3
    assert piece_number(piece_key(RUN, 2, 17)) == 17


async def test_what_a_stopped_run_had_claimed_is_the_next_runs_at_once(ledger: Ledger, systems: Any) -> None:
    await begin(ledger, systems)
    await ledger.take_in([line(1), line(2)])
    await claim(ledger, 1)
    view = SagaView(
        saga=SagaName.POST_APPROVED_TIME.value,
        saga_id=RUN,
        business_key="post",
        region="emea",
        status=SagaStatus.STOPPED,
        headline="Stopped.",
    )
    books = LedgerActivitiesOver(systems, ledger)
    await ActivityEnvironment().run(books.finish_saga, FinishSaga(saga=REF, view=view))
    assert len(await rows(ledger, piece=await claim(ledger, 2))) == 2


async def test_an_attempt_that_finds_its_piece_closed_comes_to_an_end(ledger: Ledger, systems: Any) -> None:
    """The attempt before it has closed the piece, and its worker died before it could say so."""
    await ledger.take_in([line(1)])
    await place(ledger, 1)
    await claim(ledger, 1)
    assert await piece_is_over(ledger, piece(1)) is None
    await ledger.close_piece(piece(1).key)
    posted = await piece_is_over(ledger, piece(1))
    assert posted is not None
    assert posted.left == 1, "what it let go of is looked at again"
    preparing = Preparing(systems, ledger, Gathering(systems, ledger), clock=Clock())
    prepared = await ActivityEnvironment().run(preparing.prepare, piece(1))
    assert (prepared.claimed, prepared.ready, prepared.reversals) == (1, 0, 0)
