"""Pure plans of a change order: a project's budget, the rates of its positions, its contract milestones.

Dates and structure stay delivery's own (rule 8). Kantata keeps one rate per position and no day from which it
holds: what a position shows is the rate of the day on which the change takes effect; what is billed is priced
by the day worked, from the contract's own rates (rule 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.change_orders import DeliveryChange, RateChange
from canonical.engagement import ScheduleDate
from canonical.operations import WriteContext, delivery_symbol
from canonical.writes import Json, VendorWrite
from connectors.kantata.mapping import MILESTONE, amount_text
from connectors.kantata.plans import ADD_MILESTONE, stamped_create
from connectors.kantata.settings import KantataSettings
from connectors.kantata.updates import exact_rate, update

CHANGE_BUDGET = "change_budget"
CHANGE_RATE = "change_rate"
CHANGE_MILESTONE = "change_milestone"
TERMS = "contract.schedule_terms"


def plan_change(
    system: str, settings: KantataSettings, context: WriteContext, change: DeliveryChange
) -> list[VendorWrite]:
    """All writes of one project; none waits for another."""
    impact, writes = change.impact, list[VendorWrite]()
    if impact.before != impact.after:
        price = amount_text(impact.after.amount, impact.after.currency)
        writes.append(
            _update(
                system,
                context,
                change,
                operation=CHANGE_BUDGET,
                part="",
                kind="workspaces",
                root="workspace",
                target=change.project_id,
                fields={"price": (price, "project.budget")},
                title=f"Budget of project {change.project_id} to {impact.after}",
            )
        )
    writes += _rates(system, settings, context, change)
    writes += _milestones(system, settings, context, change)
    return [write.model_copy(update={"independent": True}) for write in writes]


def _rates(
    system: str, settings: KantataSettings, context: WriteContext, change: DeliveryChange
) -> list[VendorWrite]:
    currency = change.impact.after.currency

    def figure(rate: RateChange) -> str:
        assert rate.after is not None
        return exact_rate(system, settings, currency, rate.role, rate.after)

    return [
        _update(
            system,
            context,
            change,
            operation=CHANGE_RATE,
            part=f".{position}",
            kind="workspace_resources",
            root="workspace_resource",
            target=position,
            fields={"bill_rate": (figure(rate), "contract.rate_card")},
            title=f"Rate of position {position} ({rate.role}) an hour",
        )
        for rate in change.impact.rates
        if rate.after is not None
        for position in change.positions.get(rate.role, ())
    ]


def _milestones(
    system: str, settings: KantataSettings, context: WriteContext, change: DeliveryChange
) -> list[VendorWrite]:
    writes = []
    for one in change.impact.put_milestones:
        assert one.milestone_key is not None
        held, title = change.milestones.get(one.milestone_key), f"Milestone {one.title}"
        if held is None:
            writes.append(_new(system, settings, context, change, one))
        else:
            terms = _terms(settings, one)
            writes.append(_on_story(system, context, change, held, one.milestone_key, title, terms))
    for key in change.impact.drop_milestones:
        if (held := change.milestones.get(key)) is not None:
            title = f"Archive milestone {held}, which falls away"
            writes.append(_on_story(system, context, change, held, key, title, {"archived": True}))
    return writes


def _terms(settings: KantataSettings, one: ScheduleDate) -> dict[str, Json]:
    """What the contract says of a milestone. When it is due is delivery's to say once it is there."""
    fields: dict[str, Json] = {"title": one.title}
    if settings.mapping.milestone_budgets:
        fields |= {"fixed_fee": True, "billable": True, "budget_estimate_in_cents": one.amount.minor}
    return fields


def _new(
    system: str, settings: KantataSettings, context: WriteContext, change: DeliveryChange, one: ScheduleDate
) -> VendorWrite:
    identity = f"{change.impact.delivery_key}.{one.milestone_key}"
    body: dict[str, Any] = {
        **_terms(settings, one),
        "story_type": MILESTONE,
        "workspace_id": change.project_id,
        "due_date": one.due.isoformat(),
    }
    return stamped_create(
        system,
        settings,
        context,
        operation=ADD_MILESTONE,
        key=context.key(system, ADD_MILESTONE, f"{identity}@v{change.version}"),
        kind="stories",
        root="story",
        body=body,
        sets=dict.fromkeys(body, TERMS),
        owner="project",
        name=f"milestone:{identity}",
        title=f"Milestone {one.title}",
        expect=body,
    )


def _on_story(
    system: str,
    context: WriteContext,
    change: DeliveryChange,
    story: str,
    key: str,
    title: str,
    fields: Mapping[str, Json],
) -> VendorWrite:
    return _update(
        system,
        context,
        change,
        operation=CHANGE_MILESTONE,
        part=f".{key}",
        kind="stories",
        root="story",
        target=story,
        fields={name: (value, TERMS) for name, value in fields.items()},
        title=title,
    )


def _update(
    system: str,
    context: WriteContext,
    change: DeliveryChange,
    *,
    operation: str,
    part: str,
    kind: str,
    root: str,
    target: str,
    fields: Mapping[str, tuple[Json, str]],
    title: str,
) -> VendorWrite:
    delivery = change.impact.delivery_key
    return update(
        system,
        context,
        operation=operation,
        identity=f"{delivery}{part}@v{change.version}",
        kind=kind,
        root=root,
        target=target,
        fields=fields,
        name=f"{delivery_symbol(delivery)}.{operation}{part}",
        title=title,
    )
