"""Lines of a sales order before and after a change: what an undo puts back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from canonical.change_orders import OrderChange
from canonical.operations import WriteContext
from canonical.writes import VendorWrite, resolve_write
from connectors.netsuite import change_plans, lines
from connectors.netsuite.plans import Planner
from rules.change_impact import impact_of
from tests.connectors.netsuite_samples import settings
from tests.rules.changes import ADVICE, DELIVERIES, KEY, LATER, ROLLOUT, advice, contract


def change() -> VendorWrite:
    """A line changes, one is new, one falls away."""
    before = contract()
    after = contract(advice(amount="38000"), advice("00k9", "5000"))
    impact = impact_of(before, after, DELIVERIES, LATER)
    one = OrderChange(
        before=before, after=after, version=2, impact=impact, places={ADVICE: "1", ROLLOUT: "2"}
    )
    context = WriteContext(saga_id="x", generation=1, step="s", region="emea")
    writes = change_plans.change(Planner("netsuite-emea", settings()), context, one)
    (order,) = (write for write in writes if write.record_type == "salesOrder")
    return resolve_write(order, {f"contract:{KEY}.id": "70"})


def held() -> dict[str, Any]:
    """The order before the change, as NetSuite shows it."""
    first = {"line": 1, "amount": Decimal("30000.00"), "item": {"id": "32", "refName": "Advisory"}}
    second = {"line": 2, "amount": Decimal("100000.00"), "item": {"id": "31"}, "quantity": 1}
    rows = [{**first, "lineUniqueKey": "9", "quantity": 200, "quantityBilled": 10}, second]
    return {"id": "70", "item": {"items": rows}}


def test_lines_are_changed_in_place_added_and_closed() -> None:
    first, second, third = change().body["item"]["items"]
    assert (first["line"], first["amount"], first["isClosed"]) == (1, "38000.00", False)
    assert second == {"line": 2, "amount": "0", "isClosed": True}
    assert "line" not in third
    assert third["amount"] == "5000.00"


def test_the_image_holds_what_we_set_and_nothing_that_only_netsuite_sets() -> None:
    before = lines.image_of(held(), change())
    first, second = before["item"]["items"]
    assert (first["line"], first["amount"], first["item"], first["isClosed"]) == (
        1,
        "30000",
        {"id": "32"},
        False,
    )
    assert second["amount"] == "100000"
    assert not {"lineUniqueKey", "quantityBilled"} & {*first, *second}


def test_an_undo_puts_lines_back_and_takes_added_ones_out_of_use() -> None:
    write = change()
    before = lines.image_of(held(), write)
    now = held()
    first, second = now["item"]["items"]
    now["item"]["items"] = [
        {**first, "amount": Decimal("38000.00")},
        {**second, "amount": Decimal(0), "isClosed": True},
        {"line": 3, "amount": Decimal("5000.00"), "item": {"id": "32"}},
    ]
    assert not lines.restored(now, before)
    body = lines.restoring(now, before)
    assert [(one["line"], one["amount"], one["isClosed"]) for one in body["item"]["items"]] == [
        (1, Decimal(30000), False),
        (2, Decimal(100000), False),
        (3, Decimal(0), True),
    ]
    after = [{**first}, {**second}, {"line": 3, "amount": Decimal(0), "isClosed": True}]
    assert lines.restored({**now, "item": {"items": after}}, before)
