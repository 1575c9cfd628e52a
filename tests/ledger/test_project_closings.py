"""Closings in the ledger: agreed once, re-opened explicitly, in the way of change orders and of undo."""

from __future__ import annotations

from typing import Any

import pytest

from canonical.causes import Cause
from canonical.failures import Conflict, Refused
from canonical.names import step_key
from canonical.project_closing import ClosingState, Former
from canonical.refs import RecordRef
from canonical.saga import SagaStatus
from ledger.project_closings import issued_invoices, open_documents
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, draft, issue, key, line, plan, posted
from tests.ledger.subject import ANNA
from tests.ledger.test_change_orders import KEY, order

pytestmark = pytest.mark.anyio

CLOSE, REOPEN = f"close:emea:erp:{KEY}.1", f"reopen:emea:erp:{KEY}.1"
DEAL = RecordRef(system="sf-main", type="Opportunity", id="006A")
JOB = Former(
    system="erp",
    operation="close_project",
    record=RecordRef(system="erp", type="job", id="7"),
    key=KEY,
    title="Close it",
    values={"entityStatus": {"id": "2"}},
)


async def close(ledger: Ledger, contract: str = KEY, number: int = 1, **more: Any) -> Any:
    values: dict[str, Any] = {
        "project_code": "PRJ-1",
        "region": "emea",
        "saga_id": CLOSE,
        "former": [JOB],
        "deal": DEAL,
        "waived": [],
        "decider": ANNA,
        "reason": "done",
        "actor": ANNA,
        "trace": "t" * 32,
        **more,
    }
    return await ledger.agree_closing(contract, number, **values)


async def reopen(ledger: Ledger, saga: str = REOPEN) -> Any:
    return await ledger.agree_reopening(KEY, 1, saga_id=saga, reason="more", actor=ANNA, trace="t" * 32)


async def test_a_closing_is_agreed_once_and_told_once(ledger: Ledger) -> None:
    first, again = await close(ledger), await close(ledger)
    assert first == again
    assert (first.state, first.former, first.deal) == (ClosingState.CLOSED, (JOB,), DEAL)
    assert await ledger.closed_contracts([KEY, "other"]) == {KEY}
    assert await ledger.contract_of_code("PRJ-1") == KEY
    assert await ledger.contract_of_code("PRJ-2") is None
    types = [row.type.value for row in await ledger.untold_events()]
    assert types == ["trueup.project.closed.v1"]
    with pytest.raises(Conflict, match="was closed by"):
        await close(ledger, saga_id="close:emea:erp:other.1")


async def test_a_closing_is_reopened_once_and_the_next_one_is_another(ledger: Ledger) -> None:
    await close(ledger)
    first, again = await reopen(ledger), await reopen(ledger)
    assert first == again
    assert (first.state, first.reopened_because) == (ClosingState.REOPENED, "more")
    assert await ledger.closed_contracts([KEY]) == frozenset()
    with pytest.raises(Conflict, match="was re-opened by"):
        await reopen(ledger, "reopen:emea:erp:other.1")
    await close(ledger, number=2, saga_id=f"close:emea:erp:{KEY}.2")
    latest = await ledger.project_closing(KEY)
    assert latest is not None
    assert (latest.number, latest.in_force) == (2, True)
    named = await ledger.project_closing(KEY, number=1)
    assert named is not None
    assert not named.in_force


async def test_what_the_deal_showed_is_kept_once(ledger: Ledger) -> None:
    await close(ledger)
    await ledger.keep_deal_former(KEY, 1, {"Project_Status__c": "Active"})
    kept = await ledger.keep_deal_former(KEY, 1, {"Project_Status__c": "Closed"})
    assert kept.deal_former == {"Project_Status__c": "Active"}
    assert [one.contract_key for one in await ledger.closings_of_deal(str(DEAL))] == [KEY]
    await reopen(ledger)
    assert await ledger.closings_of_deal(str(DEAL)) == []


async def test_change_orders_and_closings_exclude_one_another(ledger: Ledger) -> None:
    await ledger.receive_change_order(order(), actor=ANNA)
    with pytest.raises(Conflict) as refused:
        await close(ledger)
    assert refused.value.failure.cause is Cause.CLOSE_BLOCKED
    await ledger.settle_change_order(
        KEY, "CO-2", (await ledger.change_orders(KEY))[0].state.WITHDRAWN, cause=None, reason="", actor=ANNA
    )
    await close(ledger)
    with pytest.raises(Conflict) as closed:
        await ledger.receive_change_order(order("CO-3"), actor=ANNA)
    assert closed.value.failure.cause is Cause.PROJECT_CLOSED
    await reopen(ledger)
    await ledger.receive_change_order(order("CO-3"), actor=ANNA)


async def test_what_is_agreed_is_not_undone(ledger: Ledger) -> None:
    await close(ledger)
    for saga in (CLOSE, REOPEN):
        if saga == REOPEN:
            await reopen(ledger)
        with pytest.raises(Refused) as refused:
            await ledger.tombstone(step_key(saga, 1, "delivery.x"), saga_id=saga, actor=ANNA)
        assert refused.value.failure.cause is Cause.PIVOT_PASSED


async def test_facts_are_those_of_the_contract(ledger: Ledger) -> None:
    await posted(ledger, 1)
    assert [one.reason for one in await ledger.unbilled_groups(contract_key=CONTRACT)] == ["ready"]
    assert await ledger.unbilled_groups(contract_key="other") == []
    assert await ledger.contract_documents(CONTRACT) == []
    drafted = await draft(ledger, plan(key(1), "100"))
    (open_,) = open_documents(await ledger.contract_documents(CONTRACT))
    assert (open_.key, open_.state) == (drafted.key, "drafting")
    await issue(ledger, drafted)
    (issued,) = issued_invoices(await ledger.contract_documents(CONTRACT))
    assert issued.record_id == "880"
    assert await ledger.unbilled_groups(contract_key=CONTRACT) == []
    assert await ledger.contract_documents("other") == []
    assert await ledger.in_flight(contract_key=CONTRACT) == []
    assert await ledger.contract_retainers(CONTRACT) == []
    assert await ledger.contract_corrections(CONTRACT) == 0
    source = line(1)
    assert await ledger.known_substances([source.project.id]) == {str(source.source): source.substance}
    await ledger.take_out([str(source.source)])
    assert await ledger.contract_corrections(CONTRACT) == 1


async def test_sagas_under_way_are_found_by_what_they_are_about(ledger: Ledger) -> None:
    for saga, about in ((CLOSE, f"erp/{KEY}.1"), ("co:emea:erp:x", f"erp/{KEY}.CO-1"), ("o2p:a:b:c", "sf/1")):
        await ledger.begin_saga(
            saga, saga="x", region="emea", business_key=about, actor=ANNA, reason="", start_id="1"
        )
    found = await ledger.sagas_under_way(["sf/1"], [f"erp/{KEY}."], but=CLOSE)
    assert found == ["co:emea:erp:x", "o2p:a:b:c"]
    await ledger.finish_saga("o2p:a:b:c", 1, SagaStatus.COMPLETE)
    assert await ledger.sagas_under_way(["sf/1"], [f"erp/{KEY}."], but=CLOSE) == ["co:emea:erp:x"]
