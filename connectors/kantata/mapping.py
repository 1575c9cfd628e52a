"""Kantata's JSON to canonical words and back. Pure: no I/O, no clock."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from canonical.delivery import DeliveryTemplate
from canonical.failures import Defect
from canonical.money import Money, exponent, round_to
from canonical.writes import Json
from connectors.kantata.client import Envelope, Row
from connectors.kantata.schemas import (
    FieldValue,
    Group,
    InvoiceRow,
    Reference,
    Resource,
    Story,
    Template,
    TemplateAssignment,
    Workspace,
    parse,
)
from connectors.kantata.settings import KantataMapping

MILESTONE = "milestone"
_EXACT = {"price", "bill_rate", "amount", "amount_to_date"}
"""Body fields that Kantata takes as numbers and that we carry as digits in text until they are sent."""
_COUNTS = {"budget_estimate_in_cents", "payment_schedule", "status_key"}
_CHILDREN = ("stories", "sub_stories", "children", "items", "tasks")
"""Names under which a template's task tree may nest; the reference does not describe ``raw_json``."""

# --- text and numbers ----------------------------------------------------------------------------


def slug(role: str) -> str:
    """A role word as part of a symbol: letters and digits of any script, no dots.

    Words with anything but letters, digits and spaces get a digest, so that "C" and "C++" stay apart.
    """
    folded = " ".join(role.casefold().split())
    readable = re.sub(r"[\W_]+", "-", folded).strip("-")
    if readable == folded.replace(" ", "-") and readable:
        return readable
    return f"{readable or 'role'}-{hashlib.sha256(folded.encode()).hexdigest()[:6]}"


def amount_text(amount: Decimal, currency: str) -> str:
    """An amount with exactly its currency's decimals, as expectations and read-backs carry it."""
    return format(round_to(amount, currency), "f")


def plain(number: Decimal) -> str:
    """A number's digits without trailing zeros."""
    return format(number.normalize(), "f")


def to_money(cents: int, base_unit: int, currency: str) -> Money:
    """Money from a "cents" attribute, whose unit is 1 / ``base_unit`` of the currency.

    Raises:
        Defect: Kantata's base unit is finer than the currency's own.
    """
    try:
        return Money(amount=Decimal(cents) / base_unit, currency=currency)
    except ValueError as error:
        raise Defect(
            f"Kantata's amount {cents}/{base_unit} {currency} is not representable: {error}"
        ) from None


def to_wire(body: Json) -> Json:
    """A planned body as Kantata wants it: ids and counts as integers, amounts as exact numbers."""
    if isinstance(body, dict):
        return {name: _field(name, value) for name, value in body.items()}
    if isinstance(body, (list, tuple)):
        return [to_wire(item) for item in body]
    return body


def _field(name: str, value: Json) -> Json:
    if isinstance(value, str):
        if (name.endswith("_id") or name in _COUNTS) and re.fullmatch(r"-?\d+", value):
            return int(value)
        if name in _EXACT:
            number = Decimal(value)
            return int(number) if number == number.to_integral_value() else number
    if isinstance(value, (list, tuple)) and name.endswith("_ids"):
        return [int(one) for one in value]
    return to_wire(value)


def same(ours: Json, theirs: Json) -> bool:
    """Whether two values mean the same: with a number by value, else by text ("0042" is not "42")."""
    if ours is None or theirs is None:
        return ours is theirs
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return str(ours).casefold() == str(theirs).casefold()
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours == theirs
    try:
        return Decimal(str(ours)) == Decimal(str(theirs))
    except InvalidOperation:
        return str(ours) == str(theirs)


# --- external references -------------------------------------------------------------------------


def to_reference(service_name: str, operation: str, stamp: str) -> dict[str, str]:
    """The external reference that goes into a create, so that it can be found again."""
    return {
        "service_name": service_name,
        "service_model": operation,
        "service_model_ref": stamp,
        "status": "successful",
    }


def our_reference(row: Row, envelope: Envelope, service_name: str) -> Reference | None:
    """The record's reference of our service; Kantata keeps at most one."""
    for side in envelope.included(row, "external_references", "external_reference_ids"):
        if side.get("service_name") == service_name:
            return parse(Reference, side, "kantata")
    return None


def carries(row: Row, envelope: Envelope, service_name: str, operation: str, stamp: str) -> bool:
    """Whether a record is the one made with ``stamp``: a filter that a server ignores proves nothing."""
    reference = our_reference(row, envelope, service_name)
    return (
        reference is not None
        and reference.service_model == operation
        and reference.service_model_ref == stamp
    )


# --- current values ------------------------------------------------------------------------------


def comparable(
    kind: str, row: Row, envelope: Envelope, mapping: KantataMapping, system: str
) -> dict[str, Json]:
    """A record's values under the names that bodies and expectations use."""
    match kind:
        case "workspaces":
            return _project_values(row, envelope, mapping, system)
        case "workspace_groups":
            group = parse(Group, row, system)
            return {"name": group.name, "company": group.company}
        case "stories":
            story = parse(Story, row, system)
            return {
                "title": story.title,
                "story_type": story.story_type,
                "workspace_id": story.workspace_id,
                "due_date": story.due_date and story.due_date.isoformat(),
                "budget_estimate_in_cents": story.budget_estimate_in_cents,
                "fixed_fee": story.fixed_fee,
                "billable": story.billable,
                "archived": bool(story.archived),
            }
        case "workspace_resources":
            resource = parse(Resource, row, system)
            rate = resource.resource_bill_rate
            rate = resource.bill_rate if rate is None else rate
            return {
                "workspace_id": resource.workspace_id,
                "role_id": resource.role_id,
                "unnamed": resource.user_id is None,
                "bill_rate": None if rate is None else plain(rate),
            }
        case "invoices":
            invoice = parse(InvoiceRow, row, system)
            return {"status": invoice.status, "draft": invoice.draft, "currency": invoice.currency}
        case _:
            return {name: _exact(name, value) for name, value in row.items()}


def _exact(name: str, value: Json) -> Json:
    try:
        return Decimal(value) if name in _EXACT and isinstance(value, str) else value
    except InvalidOperation:
        return value


def _project_values(row: Row, envelope: Envelope, mapping: KantataMapping, system: str) -> dict[str, Json]:
    project = parse(Workspace, row, system)
    unit, cents, currency = project.currency_base_unit, project.price_in_cents, project.currency
    price = None
    if unit and cents is not None and currency:
        price = amount_text(to_money(cents, unit, currency).amount, currency)
    return {
        "title": project.title,
        "archived": project.archived,
        "time_trackable": project.time_trackable,
        "currency": currency,
        "currency_base_unit": None if unit is None else str(unit),
        "price": price,
        "stage": project.stage,
        "status_key": project.status_id,
        "start_date": project.start_date and project.start_date.isoformat(),
        "due_date": project.due_date and project.due_date.isoformat(),
        "group": project.primary_workspace_group_id,
        "project_code": field_text(row, envelope, mapping.project_code_field, system),
    }


def field_value(row: Row, envelope: Envelope, field_id: int, system: str) -> FieldValue | None:
    """The record's value of a custom field."""
    for side in envelope.included(row, "custom_field_values", "custom_field_value_ids"):
        if str(side.get("custom_field_id")) == str(field_id):
            return parse(FieldValue, side, system)
    return None


def field_text(row: Row, envelope: Envelope, field_id: int, system: str) -> str | None:
    """A text custom field's value."""
    found = field_value(row, envelope, field_id, system)
    return None if found is None or found.value is None else str(found.value)


# --- templates -----------------------------------------------------------------------------------


def to_template(
    row: Row, envelope: Envelope, mapping: KantataMapping, system: str, known: Sequence[str] = ()
) -> DeliveryTemplate:
    """A template and what applying it must produce; ``known`` are our role words in use.

    An assignment has no role in the reference, only a name: ``KantataMapping.seat_role`` reads it.
    """
    template = parse(Template, row, system)
    kinds = Counter(_story_types(template.raw_json))
    assignments = [
        parse(TemplateAssignment, side, system)
        for side in envelope.included(row, "project_template_assignments", "project_template_assignment_ids")
    ]
    roles = Counter(mapping.seat_role(assignment.name, known) for assignment in assignments)
    milestones = kinds.pop(MILESTONE, 0)
    return DeliveryTemplate(
        id=template.id,
        title=template.title,
        tasks=sum(kinds.values()),
        milestones=milestones,
        placeholders=len(assignments),
        roles=dict(sorted(roles.items())),
    )


def _story_types(node: Any) -> Iterable[str]:
    if isinstance(node, str):
        try:
            node = json.loads(node)
        except ValueError:
            return
    if isinstance(node, list):
        for child in node:
            yield from _story_types(child)
    elif isinstance(node, dict):
        kind = node.get("story_type")
        if isinstance(kind, str):
            yield kind.casefold()
        elif "title" in node:
            yield "task"
        for name in _CHILDREN:
            child = node.get(name)
            if isinstance(child, (list, dict)):
                yield from _story_types(child)


@dataclass(frozen=True)
class Structure:
    """What a project holds, with or without the records that we added."""

    tasks: int
    milestones: int
    unnamed: dict[str, tuple[str, ...]]
    """Ids of the unnamed positions by our role word, oldest first."""
    fingerprint: str

    @property
    def placeholders(self) -> int:
        """Number of unnamed positions."""
        return sum(len(ids) for ids in self.unnamed.values())


def to_structure(
    stories: Sequence[Story],
    resources: Sequence[Resource],
    titles: Mapping[str, str],
    mapping: KantataMapping,
    known: Mapping[str, str] | None = None,
) -> Structure:
    """Counts and unnamed positions of a project.

    Args:
        stories: its tasks and milestones.
        resources: its positions.
        titles: Kantata's role titles by id.
        mapping: of the instance.
        known: role ids by our words in use, as the project's setup carries them.
    """
    words = {role_id: word for word, role_id in (known or {}).items()}
    unnamed: dict[str, list[str]] = {}
    for resource in sorted(resources, key=lambda one: int(one.id)):
        if resource.user_id is None:
            title = titles.get(resource.role_id or "") or resource.role_name
            named = (
                mapping.role_word(title) if title else mapping.seat_role(resource.label or "", known or ())
            )
            role = words.get(resource.role_id or "", named)
            unnamed.setdefault(role, []).append(resource.id)
    milestones = sum(1 for story in stories if story.story_type == MILESTONE)
    parts = [f"s{story.id}:{story.story_type}" for story in stories]
    parts += [f"r{resource.id}" for resource in resources]
    return Structure(
        tasks=len(stories) - milestones,
        milestones=milestones,
        unnamed={role: tuple(ids) for role, ids in sorted(unnamed.items())},
        fingerprint=hashlib.sha256("|".join(sorted(parts)).encode()).hexdigest()[:16],
    )


def base_unit(currency: str) -> str:
    """The ``currency_base_unit`` that a project must show for our minor units to be Kantata's cents."""
    return str(10 ** exponent(currency))
