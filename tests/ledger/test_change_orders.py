"""Change orders in the ledger: received once, decided once, agreed together with their terms."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, ChangeOrderState, TermsDelta
from canonical.failures import Conflict
from canonical.money import Money
from canonical.opening import OpeningPosition
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, draft, eur, issue, milestone, plan, posted, rows
from tests.ledger.subject import ANNA, SAGA
from tests.ledger.test_contracts_links_mappings import contract

pytestmark = pytest.mark.anyio

KEY = contract().key
REFUSED, UNDONE = ChangeOrderState.REFUSED, ChangeOrderState.UNDONE


def order(key: str = "CO-2", base: int = 1, **more: Any) -> ChangeOrder:
    values: dict[str, Any] = {
        "key": key,
        "contract_key": KEY,
        "base": base,
        "effective_on": date(2026, 4, 1),
        "delta": TermsDelta(drop=("l9",)),
    }
    return ChangeOrder(**{**values, **more})


async def settle(ledger: Ledger, key: str, state: ChangeOrderState = REFUSED, **more: Any) -> Any:
    values = {"cause": Cause.CHANGE_ORDER_INVALID, "reason": "no", "actor": ANNA, **more}
    return await ledger.settle_change_order(KEY, key, state, **values)


async def agree(ledger: Ledger, one: ChangeOrder, minor: int) -> Any:
    held = {"erp": {"amount": minor}}
    return await ledger.agree_change_order(
        one, contract(minor), held, saga_id=SAGA, treatment="prospective", decider=ANNA, actor=ANNA
    )


async def test_the_same_order_is_received_once(ledger: Ledger) -> None:
    first = await ledger.receive_change_order(order(), actor=ANNA, reason="more scope")
    again = await ledger.receive_change_order(order(), actor=ANNA)
    assert first == again
    assert (first.state, first.order, first.sent_because) == (
        ChangeOrderState.RECEIVED,
        order(),
        "more scope",
    )
    with pytest.raises(Conflict, match="with other content") as refused:
        await ledger.receive_change_order(order(effective_on=date(2026, 5, 1)), actor=ANNA)
    assert refused.value.failure.cause is Cause.CHANGE_ORDER_REPEATED
    assert len(await ledger.change_orders(KEY)) == 1


async def test_received_at_once_by_many_it_is_one(ledger: Ledger) -> None:
    found = await asyncio.gather(*(ledger.receive_change_order(order(), actor=ANNA) for _ in range(6)))
    assert len({row.id for row in found}) == 1


async def test_what_is_decided_stays_decided(ledger: Ledger) -> None:
    await ledger.receive_change_order(order(), actor=ANNA)
    assert (await settle(ledger, "CO-2")).reason == "no"
    assert (await settle(ledger, "CO-2", UNDONE, reason="late")).state is REFUSED
    assert (await ledger.carry_change_order(KEY, "CO-2", saga_id=SAGA)).state is REFUSED
    assert (await ledger.receive_change_order(order(), actor=ANNA)).state is REFUSED
    assert await ledger.change_orders(KEY, states=[REFUSED])
    assert not await ledger.change_orders(KEY, states=[ChangeOrderState.RECEIVED])


async def test_what_was_undone_may_be_sent_again(ledger: Ledger) -> None:
    await ledger.receive_change_order(order(), actor=ANNA)
    await ledger.carry_change_order(KEY, "CO-2", saga_id=SAGA)
    await settle(ledger, "CO-2", UNDONE)
    assert await ledger.reached_version(KEY) == 2
    again = await ledger.receive_change_order(order(), actor=ANNA)
    assert (again.state, again.cause, again.decided_at) == (ChangeOrderState.RECEIVED, None, None)
    assert await ledger.reached_version(KEY) == 0


async def test_only_what_nobody_carries_is_withdrawn(ledger: Ledger) -> None:
    for key, base in (("CO-2", 1), ("CO-4", 3)):
        await ledger.receive_change_order(order(key, base), actor=ANNA)
    await ledger.carry_change_order(KEY, "CO-2", saga_id=SAGA)
    with pytest.raises(Conflict, match="under way"):
        await settle(ledger, "CO-2", ChangeOrderState.WITHDRAWN)
    await settle(ledger, "CO-4", ChangeOrderState.WITHDRAWN)
    # Nothing builds on what was withdrawn.
    assert await ledger.reached_version(KEY) == 0


async def test_terms_baseline_and_the_orders_end_are_one(ledger: Ledger) -> None:
    await ledger.add_contract_version(contract(), saga_id=SAGA)
    await ledger.receive_change_order(order(), actor=ANNA)
    version = await agree(ledger, order(), 130_000)
    assert (version.version, version.amount, version.effective_on) == (
        2,
        Money.of_minor(130_000, "GBP"),
        date(2026, 4, 1),
    )
    assert await agree(ledger, order(), 130_000) == version, "a second time changes nothing"
    row = await ledger.change_order(KEY, "CO-2")
    assert row is not None
    assert (row.state, row.treatment, row.saga_id) == (ChangeOrderState.APPLIED, "prospective", SAGA)
    assert row.decider is not None
    (kept,) = await ledger.baselines(KEY)
    assert (kept.contract_version, kept.systems) == (2, {"erp": {"amount": 130_000}})


async def test_a_refused_version_leaves_a_gap(ledger: Ledger) -> None:
    await ledger.add_contract_version(contract(), saga_id=SAGA)
    for key, base in (("CO-2", 1), ("CO-3", 2)):
        await ledger.receive_change_order(order(key, base), actor=ANNA)
    await settle(ledger, "CO-2")
    assert await ledger.reached_version(KEY) == 2
    assert (await agree(ledger, order("CO-3", 2), 140_000)).version == 3
    assert [one.version for one in await ledger.contract_versions(KEY)] == [1, 3]


async def test_two_orders_cannot_make_one_version(ledger: Ledger) -> None:
    await ledger.add_contract_version(contract(), saga_id=SAGA)
    for key in ("CO-2", "CO-2b"):
        await ledger.receive_change_order(order(key), actor=ANNA)
    await agree(ledger, order(), 130_000)
    with pytest.raises(Conflict, match="is at version 2") as refused:
        await agree(ledger, order("CO-2b"), 150_000)
    assert refused.value.failure.cause is Cause.VERSION_CONFLICT
    row = await ledger.change_order(KEY, "CO-2b")
    assert row is not None
    assert row.state is ChangeOrderState.RECEIVED
    assert len(await ledger.baselines(KEY)) == 1


async def test_every_decision_is_in_the_audit_trail(ledger: Ledger) -> None:
    await ledger.receive_change_order(order(), actor=ANNA)
    await settle(ledger, "CO-2")
    found = [row.action for row in (await ledger.audit_rows()).rows]
    assert found == ["change_order_received", "change_order_refused"]


async def test_the_floor_is_what_is_billed_and_delivered(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.take_fees([milestone(1), milestone(2)], erp="netsuite-emea")
    nothing_billed = await ledger.contract_floor(CONTRACT)
    assert nothing_billed.billed == {}
    assert nothing_billed.delivered == {"L1": eur(200), "L2": eur(10_000)}
    hour, _ = await _items(ledger, "L1")
    stone = next(one for one in await _items(ledger, "L2") if one.key.partition("@")[0].endswith("L2.1"))
    await issue(ledger, await draft(ledger, plan(hour.key, 100), plan(stone.key, 5000, 0)))
    floor = await ledger.contract_floor(CONTRACT)
    assert floor.billed == {"L1": eur(100), "L2": eur(5000)}
    assert floor.delivered == {"L1": eur(100), "L2": eur(5000)}
    assert floor.dates == {"L2.1": eur(5000)}
    opening = OpeningPosition(contract_key="006B.NL01.EUR", billed_to_date=eur(700))
    await ledger.import_openings([opening], actor=ANNA, on=date(2026, 1, 1))
    assert (await ledger.contract_floor("006B.NL01.EUR")).elsewhere == eur(700)


async def _items(ledger: Ledger, line: str) -> Any:
    return [row for row in await rows(ledger) if row.line_key == line]
