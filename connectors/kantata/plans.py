"""Pure plans of what opportunity-to-project makes: group, project, milestones, placeholders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.delivery import Milestone
from canonical.failures import Defect
from canonical.names import shared_key
from canonical.operations import DeliverySetup, WriteContext, delivery_symbol, group_symbol
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind, symbol, text
from connectors.kantata.client import API
from connectors.kantata.mapping import MILESTONE, amount_text, base_unit, slug, to_reference
from connectors.kantata.settings import KantataSettings
from connectors.kantata.updates import placeholder_field, plan_rate, position_symbol, rate_figure

ENSURE_GROUP = "ensure_group"
OPEN_PROJECT = "open_project"
ADD_MILESTONE = "add_milestone"
ADD_PLACEHOLDER = "add_placeholder"


def stamped_create(
    system: str,
    settings: KantataSettings,
    context: WriteContext,
    *,
    operation: str,
    key: str,
    kind: str,
    root: str,
    body: dict[str, Any],
    sets: Mapping[str, str],
    owner: str,
    name: str,
    title: str,
    expect: dict[str, Json],
    shared: str | None = None,
    **more: Any,
) -> VendorWrite:
    """A create that carries its stamp in an external reference.

    Args:
        system: instance name.
        settings: of the instance.
        context: saga and step it comes from.
        operation: the port's capability; also the reference's ``service_model``.
        key: effect key.
        kind: Kantata's record type, plural.
        root: key that wraps the body.
        body: fields without the reference.
        sets: canonical field of every body field.
        owner: canonical object whose ``external_key`` the reference is.
        name: symbol name of the record.
        title: for people.
        expect: what a read-back must show.
        shared: business key, when several sagas may rely on it.
        more: further fields of the write.
    """
    stamp = context.stamp(key)
    reference = to_reference(settings.mapping.service_name, operation, stamp)
    return VendorWrite(
        system=system,
        operation=operation,
        title=title,
        record_type=kind,
        kind=WriteKind.CREATE,
        key=key,
        step_key=context.step_key,
        stamp=stamp,
        symbol=name,
        method="POST",
        path=f"{API}/{kind}",
        body={root: {**body, "external_reference": reference}},
        body_root=root,
        key_style=KeyStyle.STAMPED,
        expect=expect,
        shared=shared,
        settle_seconds=settings.search_lag_seconds,
        sets={**sets, "external_reference": f"{owner}.external_key"},
        phase=context.phase,
        **more,
    )


def plan_client(
    system: str, settings: KantataSettings, context: WriteContext, setup: DeliverySetup
) -> list[VendorWrite]:
    """The client's group: it needs nothing of the ERP, so it is made beside the ERP's client."""
    client = setup.project.client_key
    group = stamped_create(
        system,
        settings,
        context,
        operation=ENSURE_GROUP,
        key=context.key_of_shared(system, ENSURE_GROUP, client),
        kind="workspace_groups",
        root="workspace_group",
        body={"name": setup.client_name, "company": settings.mapping.group_is_company},
        sets={"name": "client.name", "company": "client.external_key"},
        owner="client",
        name=group_symbol(client),
        title=f"Group for client {setup.client_name}",
        expect={"name": setup.client_name},
        shared=shared_key(system, ENSURE_GROUP, client),
    )
    return [group]


def plan_project(
    system: str, settings: KantataSettings, context: WriteContext, setup: DeliverySetup
) -> list[VendorWrite]:
    """The project with its template applied by the same call."""
    project, mapping = setup.project, settings.mapping
    if project.budget.currency != project.currency:
        raise Defect(
            f"project {project.key}: budget in {project.budget.currency}, project in {project.currency}"
        )
    code = symbol(setup.code_symbol, "code")
    group = symbol(group_symbol(project.client_key))
    title: Json = text(code, " - ", project.title) if mapping.title_with_code else project.title
    price = amount_text(project.budget.amount, project.currency)
    key_field = "project.external_key"
    # body field -> (value, canonical field); None is not sent.
    fields: dict[str, tuple[Json, str]] = {
        "title": (title, "project.title"),
        "creator_role": (mapping.creator_role, key_field),
        "budgeted": (True, "project.budget"),
        "currency": (project.currency, "project.currency"),
        "price": (price, "project.budget"),
        "start_date": (project.start and project.start.isoformat(), "project.start"),
        "due_date": (project.end and project.end.isoformat(), "project.end"),
        "stage": (mapping.create_stage, "project.status"),
        "status_key": (mapping.status_keys.prepared, "project.status"),
        "workspace_group_ids": ([group], "project.client"),
        "primary_workspace_group_id": (group, "project.client"),
        "require_time_approvals": (mapping.require_time_approvals, key_field),
        "require_expense_approvals": (mapping.require_expense_approvals, key_field),
        "project_tracker_template_id": (setup.template.id, "project.template"),
        "project_template_start_date": (project.start and project.start.isoformat(), "project.template"),
        "project_template_create_unnamed_resources": (True, "project.placeholders"),
        "custom_fields": (
            [{"custom_field_id": mapping.project_code_field, "value": code}],
            "project.code",
        ),
    }
    if len(mapping.approver_ids) == 1:
        fields["approver_id"] = (mapping.approver_ids[0], key_field)
    elif mapping.approver_ids:
        fields["approver_ids"] = (list(mapping.approver_ids), key_field)
    sent = {name: pair for name, pair in fields.items() if pair[0] is not None}
    expect: dict[str, Json] = {
        "title": title,
        "currency": project.currency,
        # Proves that our minor units are Kantata's cents before any milestone carries an amount.
        "currency_base_unit": base_unit(project.currency),
        "price": price,
        "stage": mapping.create_stage,
        "group": group,
        "project_code": code,
    }
    if mapping.status_keys.prepared is not None:
        expect["status_key"] = mapping.status_keys.prepared
    made = stamped_create(
        system,
        settings,
        context,
        operation=OPEN_PROJECT,
        key=context.key(system, OPEN_PROJECT, project.key),
        kind="workspaces",
        root="workspace",
        body={name: value for name, (value, _) in sent.items()},
        sets={name: canonical for name, (_, canonical) in sent.items()},
        owner="project",
        name=delivery_symbol(project.key),
        title=f"Project {project.title} from template {setup.template.title}",
        expect=expect,
    )
    return [made]


def plan_structure(
    system: str, settings: KantataSettings, context: WriteContext, setup: DeliverySetup
) -> list[VendorWrite]:
    """Positions beyond the template's, negotiated rates on all of them, contract milestones.

    Positions come first: a rate waits for its own position, milestones wait for nothing.
    """
    writes: list[VendorWrite] = []
    placed: dict[str, int] = {}
    for need in setup.project.placeholders:
        name = slug(need.role)
        brought = sum(count for role, count in setup.template.roles.items() if slug(role) == name)
        for _ in range(need.count):
            number = placed[name] = placed.get(name, 0) + 1
            if number > brought:
                writes.append(_placeholder(system, settings, context, setup, need.role, number))
            if need.bill_rate is not None:
                rate = rate_figure(system, settings, setup, need.role, need.bill_rate)
                # The template's positions are values of the project's symbol, ours are records.
                writes.append(plan_rate(system, context, setup, need.role, number, rate, brought))
    writes += [_milestone(system, settings, context, setup, one) for one in setup.project.milestones]
    # All of them hang on the project alone; a rate waits for its own position by its symbol.
    return [write.model_copy(update={"independent": True}) for write in writes]


def _milestone(
    system: str,
    settings: KantataSettings,
    context: WriteContext,
    setup: DeliverySetup,
    milestone: Milestone,
) -> VendorWrite:
    identity = f"{setup.project.key}.{milestone.key}"
    project = symbol(delivery_symbol(setup.project.key))
    fields: dict[str, tuple[Json, str]] = {
        "title": (milestone.title, "project.milestones"),
        "story_type": (MILESTONE, "project.milestones"),
        "workspace_id": (project, "project.milestones"),
    }
    if milestone.due is not None:
        fields["due_date"] = (milestone.due.isoformat(), "project.milestones")
    if milestone.amount is not None and settings.mapping.milestone_budgets:
        if milestone.amount.currency != setup.project.currency:
            raise Defect(
                f"milestone {identity} is in {milestone.amount.currency}, not the project's currency"
            )
        fields["fixed_fee"] = (True, "project.milestones")
        fields["billable"] = (True, "project.milestones")
        fields["budget_estimate_in_cents"] = (milestone.amount.minor, "contract.schedule")
    body = {name: value for name, (value, _) in fields.items()}
    return stamped_create(
        system,
        settings,
        context,
        operation=ADD_MILESTONE,
        key=context.key(system, ADD_MILESTONE, identity),
        kind="stories",
        root="story",
        body=body,
        sets={name: canonical for name, (_, canonical) in fields.items()},
        owner="project",
        name=f"milestone:{identity}",
        title=f"Milestone {milestone.title}",
        expect=body,
    )


def _placeholder(
    system: str,
    settings: KantataSettings,
    context: WriteContext,
    setup: DeliverySetup,
    role: str,
    number: int,
) -> VendorWrite:
    field = placeholder_field(role, number)
    project = symbol(delivery_symbol(setup.project.key))
    role_id = setup.role_ids.get(role)
    if role_id is None:
        raise Defect(
            f"the id of role {role!r} is not in the setup; validation must have stopped here", system=system
        )
    return stamped_create(
        system,
        settings,
        context,
        operation=ADD_PLACEHOLDER,
        key=context.key(system, ADD_PLACEHOLDER, f"{setup.project.key}.{field}"),
        kind="workspace_resources",
        root="workspace_resource",
        body={"workspace_id": project, "role_id": role_id},
        sets={"workspace_id": "project.placeholders", "role_id": "project.placeholders"},
        owner="project",
        name=position_symbol(setup, role, number),
        title=f"Position {role} {number}",
        expect={"workspace_id": project, "role_id": role_id, "unnamed": True},
    )
