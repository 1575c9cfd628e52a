"""The same sagas with the ledger on PostgreSQL: one complete, one undone, the audit chain whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from canonical.saga import CaseState, RepairAction, SagaStatus
from cli.local.deals import ATLAS
from ledger.rows import EffectState
from tests.e2e.firm import Firm, local_firm, parked
from tests.e2e.records import difference
from tests.ledger.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture(scope="module")
async def firm(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Firm]:
    url = postgres_server.url(postgres_server.new_database())
    async with local_firm(tmp_path_factory.mktemp("postgres"), ledger=url) as firm:
        assert firm.settings.ledger.location().startswith("postgresql")
        yield firm


async def test_a_deal_of_three_countries_and_one_that_is_given_up(firm: Firm) -> None:
    big, small = firm.seed(firm.deal(ATLAS, parent="Atlas Group")), firm.seed(firm.deal())
    before = firm.everything()
    handle = await firm.start(big)
    await firm.until(handle, SagaStatus.GATED)
    await firm.decide(handle, "gate.credit")
    view = await firm.until(handle, SagaStatus.COMPLETE)
    await handle.result()
    found = difference(before, firm.everything())
    assert (found.counts["salesOrder"], found.counts["workspaces"]) == (3, 4)
    assert len(view.codes) == 3

    before = firm.everything()
    firm.fault("kantata-main", kind="business", method="POST", path="/workspaces", message="no more projects")
    lost = await firm.start(small)
    view = await firm.until(lost, SagaStatus.PARKED)
    await firm.resolve(lost, parked(view), RepairAction.UNDO_ALL, reason="given up")
    await firm.until(lost, SagaStatus.UNDONE)
    await firm.end(lost)
    assert not difference(before, firm.everything())

    case = await firm.case(lost)
    assert case.state is CaseState.CLOSED
    rows = (await firm.ledger.effects(saga_id=lost.id, limit=100)).rows
    assert rows
    assert {row.state for row in rows} == {EffectState.UNDONE}
    kept = await firm.ledger.saga(handle.id)
    assert kept is not None
    assert kept.status is SagaStatus.COMPLETE

    assert await firm.ledger.audit_count() > len(rows)
    await firm.ledger.seal()
    assert await firm.ledger.verify() == []
