"""Change orders over real Temporal, worker and simulators: every order of arrival ends alike (rule 43)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import date
from pathlib import Path

import pytest

from canonical.causes import Cause
from canonical.change_orders import ChangeOrderState, TermsDelta, Treatment
from canonical.saga import GateOutcome, SagaStatus, SagaView
from tests.e2e.change_arrivals import (
    ERP,
    FORMS,
    PATIENCE,
    arrivals,
    decided,
    held,
    more,
    orders,
    play,
    send,
    set_up,
)
from tests.e2e.firm import ROOT_ACTOR, Firm, local_firm
from wiring.start_changes import changes_saga, order_saga

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

ARRIVALS = arrivals(2)
"""Of the 120; ``make change-orders`` tries all."""


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("change-orders")) as firm:
        yield firm


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arrival", ARRIVALS, ids=lambda one: "".join(str(n + 1) for n in one))
async def test_every_order_of_arrival_ends_as_the_in_order_run(
    firm: Firm, form: str, arrival: Sequence[int]
) -> None:
    assert await play(firm, form, arrival) == []


async def test_what_finance_rejects_leaves_every_system_as_it_was(firm: Firm) -> None:
    deal, contract = await set_up(firm)
    first, second, *_ = orders(contract, "delta")
    await send(firm, first)
    await decided(firm, contract)
    before = held(firm, deal, contract)
    await send(firm, second)
    rows = await decided(firm, contract, outcome=GateOutcome.REJECT, reason="not agreed")
    assert rows["CO-2"].state is ChangeOrderState.UNDONE
    assert held(firm, deal, contract) == before


async def test_a_step_that_fails_late_is_undone_in_every_system(firm: Firm) -> None:
    deal, contract = await set_up(firm)
    first, second, *_ = orders(contract, "delta")
    await send(firm, first)
    await decided(firm, contract)
    before = held(firm, deal, contract)
    # The last vendor write of the change is refused: delivery and the order are changed by then.
    stretched = TermsDelta(change=second.delta.change if second.delta else (), add=(more(contract, "5000"),))
    order = second.model_copy(update={"delta": stretched.model_copy(update={"end": date(2027, 9, 30)})})
    firm.fault(ERP, kind="business", method="PATCH", path="/job/", message="no")
    await send(firm, order)
    handle = firm.client.get_workflow_handle(order_saga(firm.settings, ERP, contract.key, "CO-2"))
    give_up = time.monotonic() + PATIENCE
    while True:
        rows = {row.order.key: row for row in await firm.ledger.change_orders(contract.key)}
        if rows["CO-2"].state is ChangeOrderState.UNDER_WAY:
            view = await firm.view(handle)
            if view.status is SagaStatus.GATED:
                await firm.decide(handle, "gate.change", choice="prospective")
            if view.status is SagaStatus.PARKED:
                break
        assert time.monotonic() < give_up
        await asyncio.sleep(0.1)
    firm.calm()
    await handle.cancel()
    rows = await decided(firm, contract)
    assert rows["CO-2"].state is ChangeOrderState.UNDONE
    assert held(firm, deal, contract) == before


async def test_a_contract_of_its_own_is_no_change(firm: Firm) -> None:
    deal, contract = await set_up(firm)
    first, *_ = orders(contract, "delta")
    await send(firm, first)
    rows = await decided(firm, contract, Treatment.SEPARATE.value, reason="sold apart")
    assert (rows["CO-1"].state, rows["CO-1"].cause) == (ChangeOrderState.UNDONE, Cause.CHANGE_IS_A_CONTRACT)
    assert len(await firm.ledger.contract_versions(contract.key)) == 1
    # It may be sent again: a new generation, and this time it is a change.
    await send(firm, first)
    rows = await decided(firm, contract)
    assert rows["CO-1"].state is ChangeOrderState.APPLIED
    assert held(firm, deal, contract)["value"] == 138000


async def test_what_waits_for_its_base_is_shown_and_can_be_withdrawn(firm: Firm) -> None:
    _, contract = await set_up(firm)
    sent = orders(contract, "delta")
    await send(firm, sent[1], sent[4])
    saga = changes_saga(firm.settings, ERP, contract.key)
    handle = firm.client.get_workflow_handle(saga, result_type=SagaView)
    await firm.when(handle, lambda view: view.status is SagaStatus.WAITING)
    for key in ("CO-2", "CO-5"):
        code, said, _ = await firm.trueup(
            "change-orders", "withdraw", contract.key, key, "--reason", "not agreed"
        )
        assert code == 0, said
    view = await asyncio.wait_for(handle.result(), PATIENCE)
    assert view.status is SagaStatus.COMPLETE
    states = {row.state for row in await firm.ledger.change_orders(contract.key)}
    assert states == {ChangeOrderState.WITHDRAWN}


async def test_from_the_command_line_to_the_baseline_report(firm: Firm, tmp_path: Path) -> None:
    _, contract = await set_up(firm)
    file = tmp_path / "change.json"
    code, said, wrong = await firm.trueup("change-orders", "terms", contract.key, "--out", str(file))
    assert code == 0, wrong
    order = json.loads(file.read_text())
    line = order["terms"]["lines"][0]
    line["amount"]["amount"] = line["deal_amount"]["amount"] = "35000.00"
    file.write_text(json.dumps({**order, "key": "CO-9", "title": "more advice"}))
    code, said, wrong = await firm.trueup("start", "change-order", str(file), "--plan")
    assert code == 0, wrong
    assert "EUR 135,000.00" in said
    assert not await firm.ledger.change_orders(contract.key)
    code, said, wrong = await firm.trueup("start", "change-order", str(file), "--reason", "agreed")
    assert code == 0, wrong
    # Who has sent it, here by the command line, may not decide it.
    rows = await decided(firm, contract, actor=ROOT_ACTOR.model_copy(update={"name": "finance"}))
    assert rows["CO-9"].state is ChangeOrderState.APPLIED
    code, said, wrong = await firm.trueup("change-orders", "baseline", contract.key)
    assert code == 0, wrong
    for word in (
        "version 2: EUR 135,000.00",
        "EUR 130,000.00 before",
        "netsuite-emea",
        "kantata-main",
        "CO-9",
    ):
        assert word in said
    code, said, _ = await firm.trueup("change-orders", "show", contract.key, "CO-9")
    assert code == 0
    assert "applied" in said
    code, said, _ = await firm.trueup("change-orders", "list", "--contract", contract.key)
    assert code == 0
    assert "1 change order, 0 open." in said
