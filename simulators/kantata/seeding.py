"""Records put there by a test: ``/_sim/seed`` and the custom fields of ``/_sim/schema``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from simulators.kantata import custom, references, templates, values
from simulators.kantata.rules import Draft, Rules, read_value, rules_of
from simulators.kantata.schema import RESOURCES, Resource
from simulators.kantata.world import World
from simulators.kit import Record

_RANK = {
    "users": -3,
    "rate_cards": -2,
    "custom_field_sets": -3,
    "custom_fields": -2,
    "custom_field_choices": -1,
    "workspaces": 0,
    "invoices": 2,
    "external_references": 2,
    "custom_field_values": 2,
    "external_payments": 3,
}
"""When a type is stored in a seed; 1 for those not named."""
_NESTED = {"external_reference", "custom_fields"}
_SYNONYMS = {
    "workspace_allocations": {"resource_id": "workspace_resource_id"},
    "workspace_resources": {"bill_rate": "resource_bill_rate", "cost_rate": "resource_cost_rate"},
    "invoices": {"workspace_id": "workspace_ids"},
    "expenses": {"billable": "is_billable"},
}
"""Names of a create body that are stored under another name."""


def seed(world: World, records: dict[str, list[Record]]) -> None:
    """Store records given in the vendor's own JSON, without events, log entries or side effects.

    Attributes that are worked out when answering are accepted and ignored, so that an answer or
    ``/_sim/records`` can be seeded back.

    Raises:
        ValueError: unknown type or attribute, malformed value, unknown reference: nothing is stored
            then. A wrong inline custom field value is noticed late: what comes before it stays.
    """
    drafts: list[tuple[Resource, Draft]] = []
    coming: dict[str, set[str]] = {}
    for type_, rows in records.items():
        if type_ not in RESOURCES:
            raise ValueError(f"unknown record type {type_}; known: {', '.join(sorted(RESOURCES))}")
        coming[type_] = {str(r["id"]) for r in rows if isinstance(r, dict) and r.get("id") is not None}
    for type_, rows in records.items():
        for row in rows:
            drafts.append((RESOURCES[type_], _read(world, RESOURCES[type_], row, coming)))
    # Projects before what lies in them, invoices after their lines, whatever the order given: defaults and
    # totals are taken from the records around.
    drafts.sort(key=lambda d: _RANK.get(d[0].name, 1))
    for resource, draft in drafts:
        _store(world, resource, draft)


def _read(world: World, resource: Resource, row: Record, coming: dict[str, set[str]]) -> Draft:
    if not isinstance(row, dict):
        raise ValueError(f"{resource.name}: a record must be an object, not {row!r}")
    draft = Draft(resource, row, None)
    where = f"{resource.name} {row.get('id', row.get('title', row.get('name', '')))}".strip()
    synonyms = _SYNONYMS.get(resource.name, {})
    for sent, value in row.items():
        name = synonyms.get(sent, sent)
        one = resource.fields.get(name)
        if one is None:
            raise ValueError(f"{where}: unknown attribute {sent}")
        if value is None:
            continue
        if name == "workspace_ids" and not isinstance(value, list):
            value = [value]
        if not one.stored and name not in _ACTED_UPON:
            continue
        try:
            read = read_value(one, value)
        except values.BadValue as bad:
            raise ValueError(f"{where}: {name} {bad}") from None
        for id_ in (read if isinstance(read, list) else [read]) if one.target else []:
            if world.get(str(one.target), id_) is None and id_ not in coming.get(str(one.target), set()):
                raise ValueError(f"{where}: {name} names {one.target} {id_}, which does not exist")
        (draft.fields if one.stored else draft.extra)[name] = read
    for name in resource.mandatory:
        if draft.fields.get(name) is None:
            raise ValueError(f"{where}: {name} can't be blank")
    references.check_nested(draft)
    if draft.problems.found:
        raise ValueError(f"{where}: {draft.problems.found[0]['message']}")
    if resource.name == "project_templates":
        try:
            templates.tree_of(draft.fields.get("raw_json"))
        except values.BadValue as bad:
            raise ValueError(f"{where}: raw_json {bad}") from None
    return draft


_LINE_LISTS = ("time_entry_ids", "expense_ids", "billing_milestone_ids")
_ACTED_UPON = _NESTED | {"price"} | set(_LINE_LISTS)


def _store(world: World, resource: Resource, draft: Draft) -> None:
    own = draft.fields.pop("id", None)
    _defaults(world, resource, draft)
    record = world.insert(resource.name, draft.fields, own)
    id_ = record["id"]
    nested = draft.extra.get("external_reference")
    if nested is not None:
        references.upsert(world, str(resource.subject), id_, nested)
    if draft.extra.get("custom_fields"):
        custom.check_inline(world, draft)
        if draft.problems.found:
            raise ValueError(f"{resource.name} {id_}: {draft.problems.found[0]['message']}")
        custom.set_values(world, resource.name, id_, draft.extra["custom_fields"])
    if resource.name == "invoices":
        rules_of("invoices").after(world, Draft(resource, {}, None, {}, _lines_only(draft)), record)


def _lines_only(draft: Draft) -> Record:
    return {k: v for k, v in draft.extra.items() if k in _LINE_LISTS}


def _defaults(world: World, resource: Resource, draft: Draft) -> None:
    """The defaults a write would get, without its checks."""
    if resource.name == "workspaces" and draft.extra.get("price") is not None:
        code = draft.fields.get("currency") or world.settings["currency"]
        card = world.get("rate_cards", draft.fields.get("rate_card_id"))
        code = card["currency"] if card else code
        amount = Decimal(draft.extra["price"]) * values.base_unit(code)
        draft.fields.setdefault("price_in_cents", int(amount))
    draft.extra.pop("price", None)
    if resource.name == "users":
        draft.default(account_id=str(world.settings["account_id"]), disabled=False)
    if resource.name in ("timesheet_submissions", "expense_report_submissions"):
        draft.default(status="new", user_id=world.me)
        return
    if resource.name == "workspace_allocations" and draft.fields.get("workspace_resource_id"):
        holder = world.must("workspace_resources", draft.fields["workspace_resource_id"])
        draft.default(workspace_id=holder["workspace_id"])
    if resource.name == "project_template_assignments":
        return
    rules: Rules = rules_of(resource.name)
    if resource.name in ("resource_requests", "custom_field_values"):
        if resource.name == "resource_requests":
            draft.default(status="new")
        return
    # The checks of a write complete a draft; what they complain about is the seeder's own choice
    # (an archived project, a locked entry), so complaints are dropped.
    sent = dict(draft.fields)
    checked = Draft(resource, {}, None, draft.fields, {})
    rules.check(world, checked)
    draft.fields.update(sent)


def declare_fields(world: World, schema: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """Create custom fields from ``{"workspaces": [{"name","type","choices"?,"unique"?,"id"?}]}``.

    Returns:
        The same structure with ids (of fields and, as ``choice_ids``, by label, of choices), from which the
        same fields can be declared again after a reset.

    Raises:
        ValueError: unknown record type, unknown key or type.
    """
    done: dict[str, list[Record]] = {}
    kinds = RESOURCES["custom_fields"].fields["value_type"].choices
    for type_, rows in schema.items():
        resource = RESOURCES.get(type_)
        if resource is None:
            raise ValueError(f"unknown record type {type_}")
        subject = resource.subject or resource.singular
        group = next((s for s in world.all("custom_field_sets") if s["subject_type"] == subject), None)
        if group is None:
            name = "Default Project Set" if subject == "Workspace" else f"Default {subject} Set"
            group = world.insert("custom_field_sets", {"name": name, "subject_type": subject})
        for row in rows:
            if strangers := set(row) - {"id", "name", "type", "choices", "unique", "choice_ids", "default"}:
                raise ValueError(f"{type_}: unknown keys {sorted(strangers)}")
            if not isinstance(row.get("name"), str) or row.get("type", "string") not in kinds:
                raise ValueError(f"{type_}: a field needs a name and a type of {', '.join(kinds)}")
            done.setdefault(type_, []).append(_declare(world, row, group["id"]))
    return done


def _declare(world: World, row: Record, group: str) -> Record:
    own = None if row.get("id") is None else values.identifier(row["id"])
    fields: dict[str, Any] = {
        "name": row["name"],
        "value_type": row.get("type", "string"),
        "custom_field_set_id": group,
        "unique_constraint": bool(row.get("unique", False)),
        "default_text": row.get("default"),
        "creator_id": world.me,
        "hidden_in_user_interface": False,
    }
    stored = world.insert("custom_fields", fields, own)
    known = dict(row.get("choice_ids") or {})
    for label in row.get("choices") or []:
        choice = {"label": label, "custom_field_id": stored["id"], "removed": False}
        known[label] = world.insert("custom_field_choices", choice, known.get(label))["id"]
    return {**row, "id": stored["id"], **({"choice_ids": known} if known else {})}
