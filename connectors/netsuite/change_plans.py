"""Planned writes of a change order (rule 43). Pure.

The sales order is the contract: its lines carry amounts, revenue settings and billing schedules, and NetSuite
makes its revenue allocation from them. A PATCH merges lines by their number: lines that stay are changed in
place, so that what bills them still finds them; a line that falls away is closed and worth nothing; a new one
carries our line key, by which it is found again. A billing schedule in use is left as it is: a changed one is
a record of its own, which the line refers to from then on.
"""

from __future__ import annotations

from typing import Any

from canonical.change_orders import LineChange, OrderChange
from canonical.engagement import BillingSchedule, Contract
from canonical.operations import WriteContext, contract_symbol, project_symbol, schedule_symbol
from canonical.writes import Json, KeyStyle, VendorWrite, symbol
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.lines import CLOSED
from connectors.netsuite.plans import Planner

HOLD_CONTRACT = "hold_contract"
CHANGE_SCHEDULE = "change_schedule"
CHANGE_CONTRACT = "change_contract"
CHANGE_PROJECT = "change_project"


def hold(planner: Planner, context: WriteContext, change: OrderChange) -> list[VendorWrite]:
    """Say on the order that it is being changed, where the account has a field for that."""
    field = planner.mapping.custom.order_change
    if field is None:
        return []
    return [
        _update(
            planner,
            context,
            change,
            record_type="salesOrder",
            operation=HOLD_CONTRACT,
            name=contract_symbol(change.after.key),
            title=f"Mark sales order {change.after.name} as being changed",
            body={field: f"change to version {change.version} under way"},
            sets={field: "contract.status"},
            expect={},
        )
    ]


def change(planner: Planner, context: WriteContext, one: OrderChange) -> list[VendorWrite]:
    """Billing schedules first: the order's lines refer to them."""
    schedules = [
        _schedule(planner, context, one, line.schedule)
        for line in one.after.lines
        if line.schedule is not None and line.key in one.impact.schedules
    ]
    return [*schedules, *_order(planner, context, one), *_project(planner, context, one)]


def _schedule(
    planner: Planner, context: WriteContext, one: OrderChange, schedule: BillingSchedule
) -> VendorWrite:
    identity, version = _identity(schedule.key, one), f", version {one.version}"
    write = planner.schedule(context, schedule, CHANGE_SCHEDULE, identity, version)
    return write.model_copy(update={"sets": dict.fromkeys(write.sets, "contract.schedule_terms")})


def _order(planner: Planner, context: WriteContext, one: OrderChange) -> list[VendorWrite]:
    mapping, after, fields = planner.mapping, one.after, to.Fields()
    lines = [_line(planner, one, line) for line in one.impact.lines]
    fields.put("item", {"items": lines} if lines else None, "contract.lines")
    if "name" in one.impact.fields:
        fields.put(mapping.memo_field, after.name, "contract.name")
    if "purchase_orders" in one.impact.fields and after.purchase_orders:
        number = after.purchase_orders[0].number
        fields.put(mapping.purchase_order_field, number, "contract.purchase_order")
    fields.put(mapping.custom.order_change, f"version {one.version}", "contract.status")
    treatment = one.treatment.value if one.treatment is not None else None
    fields.put(mapping.custom.order_treatment, treatment, "contract.revenue_method")
    if not fields.body:
        return []
    write = _update(
        planner,
        context,
        one,
        record_type="salesOrder",
        operation=CHANGE_CONTRACT,
        name=contract_symbol(after.key),
        title=f"Change sales order {after.name} to version {one.version}",
        body=fields.body,
        sets=fields.sets,
        expect={"amount": wire.number(after.amount.amount, after.currency)},
    )
    # A line without a number is added: our line key in it is what the order is searched for.
    added = any("line" not in line for line in lines)
    return [write.model_copy(update={"key_style": KeyStyle.STAMPED}) if added else write]


def _line(planner: Planner, one: OrderChange, line: LineChange) -> dict[str, Json]:
    place = one.places.get(line.key)
    number = {} if place is None else {"line": int(place)}
    if line.after is None:
        return {**number, **CLOSED}
    body = to.to_order_line(planner.mapping, one.after, line.after)
    body.pop("billingSchedule", None)
    if line.key in one.impact.schedules and line.after.schedule is not None:
        body["billingSchedule"] = wire.ref(symbol(schedule_symbol(_identity(line.after.schedule.key, one))))
    return {**number, **body, "isClosed": False}


def _project(planner: Planner, context: WriteContext, one: OrderChange) -> list[VendorWrite]:
    """Dates, billing type and revenue rules of the project, as far as they differ."""
    before, after = _project_fields(planner, one.before), _project_fields(planner, one.after)
    changed = {name: value for name, value in after.body.items() if before.body.get(name) != value}
    if not changed:
        return []
    return [
        _update(
            planner,
            context,
            one,
            record_type="job",
            operation=CHANGE_PROJECT,
            name=project_symbol(one.after.key),
            title=f"Change project of {one.after.name} to version {one.version}",
            body=changed,
            sets={name: after.sets[name] for name in changed},
            expect={},
        )
    ]


def _project_fields(planner: Planner, contract: Contract) -> to.Fields:
    mapping, out = planner.mapping, to.Fields()
    out.put("startDate", contract.start.isoformat() if contract.start else None, "contract.start")
    out.put("projectedEndDate", contract.end.isoformat() if contract.end else None, "contract.end")
    out.put("jobBillingType", wire.ref(to.billing_type(mapping, contract)), "contract.billing_method")
    rule = to.common_revenue_rule(mapping, contract)
    for name, id_ in (
        ("estimateRevRecTemplate", rule.estimate_template),
        ("revRecForecastRule", rule.forecast_rule),
    ):
        out.put(name, wire.ref(id_) if id_ else None, "contract.revenue_method")
    return out


def _update(
    planner: Planner,
    context: WriteContext,
    one: OrderChange,
    *,
    record_type: str,
    operation: str,
    name: str,
    title: str,
    body: dict[str, Json],
    sets: dict[str, str],
    expect: dict[str, Any],
) -> VendorWrite:
    return planner.update(
        context,
        record_type=record_type,
        operation=operation,
        key=context.key(planner.system, operation, _identity(one.after.key, one)),
        name=name,
        title=title,
        target=symbol(name),
        body=body,
        sets=sets,
        expect=expect,
        restore=tuple(body),
    )


def _identity(key: str, one: OrderChange) -> str:
    """A version is another update of the same thing (rule 10)."""
    return f"{key}@v{one.version}"
