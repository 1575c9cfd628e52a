"""Planned writes of progress: what revenue is computed from, in custom fields of the project. Pure.

NetSuite recognises revenue of a project by its own figures. REST documents no field that takes effort, cost
and acceptance from outside, so they go into fields that the account names (``mapping.progress``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from canonical.causes import Cause, Queue
from canonical.engagement import RevenueMethod
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import progress_key
from canonical.operations import WriteContext, project_symbol
from canonical.progress import ContractProgress, LineProgress
from canonical.writes import Json, VendorWrite, symbol
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.plans import Planner
from connectors.netsuite.settings import NetSuiteMapping
from connectors.netsuite.values import plain_text

SEND_PROGRESS = "send_progress"
PROGRESS = "project.progress"
CLEARED = ""
"""A measure that was told before and is not true any more: the field is emptied (null)."""


def gaps(mapping: NetSuiteMapping, progress: ContractProgress) -> list[Finding]:
    """What of a contract's progress the account has no field for."""
    fields, found = mapping.progress, list[Finding]()
    methods = {line.method for line in progress.lines}
    if len(methods) > 1:
        words = " and ".join(sorted(method.value for method in methods))
        found.append(
            _gap(
                progress,
                f"its lines are recognised by {words}, and a project's fields show one method.",
                "Sell what is recognised otherwise by a contract of its own.",
            )
        )
    missing: list[str] = []
    for line in progress.lines:
        missing += _missing(mapping, line)
    if missing:
        names = ", ".join(f"mapping.progress.{name}" for name in dict.fromkeys(missing))
        found.append(
            _gap(
                progress,
                f"NetSuite has no field named for it ({names}).",
                f"Make the custom fields, name them as {names}, and run it again.",
            )
        )
    if sum(line.percent is not None for line in progress.lines) > 1:
        found.append(
            _gap(
                progress,
                "several of its lines report a percentage, which do not add up.",
                "Give the lines milestones by a change order: milestones add up.",
            )
        )
    foreign = {one.currency for line in progress.lines for one in line.costs_to_date} - {progress.currency}
    if foreign and fields.cost_to_date is not None:
        found.append(
            Finding(
                cause=Cause.CONVERSION_MISSING,
                queue=Queue.BILLING,
                message=f"Contract {progress.contract_key} has expenses in {', '.join(sorted(foreign))}; its "
                f"cost to date is told in {progress.currency}, and sums are never made across currencies.",
                remedy="Leave mapping.progress.cost_to_date out: NetSuite has the expenses at its own rates.",
                field="cost_to_date",
            )
        )
    return found


def _missing(mapping: NetSuiteMapping, line: LineProgress) -> list[str]:
    """Measures that the line's method needs and that have no field."""
    fields = mapping.progress
    match line.method:
        case RevenueMethod.OVER_TIME_INPUT:
            needed = {
                "minutes_to_date": fields.minutes_to_date,
                "minutes_to_complete": fields.minutes_to_complete,
            }
        case RevenueMethod.OVER_TIME_OUTPUT if line.percent is not None:
            needed = {"percent": fields.percent}
        case RevenueMethod.OVER_TIME_OUTPUT:
            needed = {"accepted_amount": fields.accepted_amount or fields.milestones_reached}
        case _:
            needed = {"accepted_on": fields.accepted_on}
    return [name for name, field in needed.items() if field is None]


def _gap(progress: ContractProgress, message: str, remedy: str) -> Finding:
    return Finding(
        cause=Cause.PROGRESS_NOT_MAPPED,
        queue=Queue.BILLING,
        message=f"Progress of contract {progress.contract_key}: {message}",
        remedy=remedy,
        field="mapping.progress",
    )


def progress(planner: Planner, context: WriteContext, one: ContractProgress) -> list[VendorWrite]:
    """One PATCH of the project."""
    mapping, out = planner.mapping, to.Fields()
    fields, values = mapping.progress.named, measures(one)
    for measure, field in fields.items():
        if values[measure] is not None:
            out.body[field] = None if values[measure] == CLEARED else values[measure]
            out.sets[field] = PROGRESS
    if not out.body:
        return []
    write = planner.update(
        context,
        record_type="job",
        operation=SEND_PROGRESS,
        key=context.key(
            planner.system, SEND_PROGRESS, progress_key(one.contract_key, one.period, one.revision)
        ),
        name=project_symbol(one.contract_key),
        title=f"Tell the progress of {one.name} for {one.period}",
        target=symbol(project_symbol(one.contract_key)),
        body=out.body,
        sets=out.sets,
        expect={
            f"progress.{measure}": _shown(mapping, field, out.body[field])
            for measure, field in fields.items()
            if field in out.body
        },
        # Facts to date: what was there before them would be older facts.
        restore=(),
    )
    return [write.model_copy(update={"forward_only": True})]


def measures(one: ContractProgress) -> dict[str, Json]:
    """All lines together, by measure; what no line has is left out as None."""
    lines = one.lines
    inputs = [line for line in lines if line.minutes_to_complete is not None]
    accepted = [line.accepted for line in lines if line.accepted is not None]
    point = [line for line in lines if line.method is RevenueMethod.POINT_IN_TIME]
    days = [line.accepted_on for line in point if line.accepted_on is not None]
    on: date | None = max(days) if point and len(days) == len(point) else None
    return {
        "period": one.period,
        "minutes_to_date": sum(line.minutes_to_date for line in lines),
        "minutes_in_period": sum(line.minutes_in_period for line in lines),
        "minutes_to_complete": sum(line.minutes_to_complete or 0 for line in inputs) if inputs else None,
        "cost_to_date": _sum((m for line in lines for m in line.costs_to_date), one.currency),
        "cost_in_period": _sum((m for line in lines for m in line.costs_in_period), one.currency),
        "milestones": sum(line.milestones for line in lines),
        "milestones_reached": sum(line.milestones_reached for line in lines),
        "accepted_amount": _sum(accepted, one.currency) if accepted else None,
        "percent": next((wire.plain(line.percent) for line in lines if line.percent is not None), None),
        # Not accepted yet, or taken back: an empty date says so.
        "accepted_on": on.isoformat() if on is not None else (CLEARED if point else None),
    }


def _sum(amounts: Iterable[Money], currency: str) -> str:
    total = sum((one.amount for one in amounts if one.currency == currency), Decimal(0))
    return wire.number(total, currency)


def _shown(mapping: NetSuiteMapping, field: str, value: Json) -> str:
    return plain_text(Decimal(value) if value and field in mapping.progress.decimals else value)
