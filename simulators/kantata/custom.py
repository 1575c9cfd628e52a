"""Custom fields, their choices and values, inline or by themselves.

Source: vendor documentation, "Custom fields" (SDK specification). Choice values are ids of
``custom_field_choices``; a field's set says which kind of record it may be put on.
"""

from __future__ import annotations

from typing import Any

from simulators.kantata import values
from simulators.kantata.rules import REGISTRY, Draft, Rules, ids, plain, subject_exists
from simulators.kantata.schema import RESOURCES
from simulators.kantata.world import World
from simulators.kit import Record

_DEFAULT_SET = "Default Project Set"


def subject_of(world: World, field: Record) -> str:
    """The ``subject_type`` a custom field belongs to (a field without a set is a project field)."""
    group = world.get("custom_field_sets", field.get("custom_field_set_id"))
    return str(group["subject_type"]) if group else "Workspace"


def read_custom(world: World, field: Record, value: Any) -> Any:
    """A custom field value as it is stored.

    Raises:
        BadValue: the value does not fit the field's type.
    """
    match field.get("value_type"):
        case "date":
            return values.day(value)
        case "number":
            text = values.decimal(value)
            return int(text) if "." not in text else text
        case "currency":
            return values.integer(value)
        case "single" | "multi" as kind:
            listed = value if isinstance(value, list) else [value]
            if kind == "single" and len(listed) > 1:
                raise values.BadValue("takes one choice")
            known = {
                c["id"]
                for c in world.find("custom_field_choices", "custom_field_id", field["id"])
                if not c.get("removed")
            }
            chosen = [values.identifier(v) for v in listed]
            if strangers := [c for c in chosen if c not in known]:
                raise values.BadValue(f"is not a choice of this field: {', '.join(strangers)}")
            return [int(c) for c in chosen]
        case _:
            return values.text(value)


def check_value(world: World, field: Record, value: Any, subject_id: str | None) -> Any:
    """A custom field value, read and checked for uniqueness.

    Raises:
        BadValue: wrong type, or taken while the field is unique.
    """
    if value in (None, "", []):
        raise values.BadValue("can't be blank")
    read = read_custom(world, field, value)
    if field.get("unique_constraint"):
        taken = (
            v for v in world.find("custom_field_values", "custom_field_id", field["id"]) if v["value"] == read
        )
        if any(v["subject_id"] != subject_id for v in taken):
            raise values.BadValue("has already been taken")
    return read


def check_inline(world: World, draft: Draft) -> None:
    """Check ``custom_fields:[{custom_field_id,value}]`` of a create."""
    subject = draft.resource.subject or draft.resource.singular
    read: list[tuple[str, Any]] = []
    for n, row in enumerate(draft.extra.get("custom_fields") or []):
        where = f"custom_fields[{n}]"
        if not isinstance(row, dict) or set(row) - {"custom_field_id", "value"}:
            draft.problems.add(where, "takes custom_field_id and value")
            continue
        try:
            field = world.get("custom_fields", values.identifier(row.get("custom_field_id")))
            if field is None or subject_of(world, field) != subject:
                raise values.BadValue(f"is not a custom field of a {subject}")
            taken = draft.current["id"] if draft.current else None
            read.append((field["id"], check_value(world, field, row.get("value"), taken)))
        except values.BadValue as bad:
            draft.problems.add(where, f"custom field {row.get('custom_field_id')} {bad}")
    draft.extra["custom_fields"] = read


def set_values(world: World, type_: str, id_: str, read: list[tuple[str, Any]]) -> None:
    """Store checked inline values on a record."""
    subject = RESOURCES[type_].subject or RESOURCES[type_].singular
    for field_id, value in read:
        mine = next((v for v in world.field_values(type_, id_) if v["custom_field_id"] == field_id), None)
        if mine:
            world.change("custom_field_values", mine["id"], {"value": value})
        else:
            fields = {"subject_type": subject, "subject_id": id_, "custom_field_id": field_id, "value": value}
            world.insert("custom_field_values", {**fields, "setter_id": world.me})


class _Fields(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(value_type="string", unique_constraint=False, hidden_in_user_interface=False)
        draft.default(creator_id=world.me)
        rows = draft.extra.get("choices")
        if rows is not None and not all(
            isinstance(c, dict) and isinstance(c.get("label"), str) for c in rows
        ):
            draft.problems.add("choices", "Choices takes objects with a label")
        elif rows and draft.get("value_type") not in ("single", "multi"):
            draft.problems.add("choices", "Choices are only valid for single and multi fields")
        group = next((s for s in world.all("custom_field_sets") if s["name"] == _DEFAULT_SET), None)
        if group:
            draft.default(custom_field_set_id=group["id"])

    def after(self, world: World, draft: Draft, record: Record) -> None:
        rows = draft.extra.get("choices")
        if rows is None:
            return
        kept = {str(c["id"]): c["label"] for c in rows if c.get("id")}
        for choice in world.find("custom_field_choices", "custom_field_id", record["id"]):
            named = choice["id"] in kept
            world.change(
                "custom_field_choices",
                choice["id"],
                {"label": kept.get(choice["id"], choice["label"]), "removed": not named},
            )
        for row in rows:
            if not row.get("id"):
                fields = {"label": row["label"], "custom_field_id": record["id"], "removed": False}
                world.insert("custom_field_choices", fields)

    def derive(self, world: World, record: Record) -> Record:
        count = len(world.find("custom_field_values", "custom_field_id", record["id"]))
        return {"values_count": count, "has_values": count > 0}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "choices":
            choices = world.find("custom_field_choices", "custom_field_id", record["id"])
            return ids([c for c in choices if not c.get("removed")])
        return None


class _Sets(Rules):
    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "custom_fields":
            return ids(world.find("custom_fields", "custom_field_set_id", record["id"]))
        return None


class _Values(Rules):
    def check(self, world: World, draft: Draft) -> None:
        subject, id_ = draft.get("subject_type"), draft.get("subject_id")
        field = world.get("custom_fields", draft.get("custom_field_id"))
        draft.default(setter_id=world.me)
        if field is None or subject is None or id_ is None:
            return
        if subject != subject_of(world, field):
            draft.problems.add("subject_type", f"Custom field {field['id']} is not a field of a {subject}")
        elif not subject_exists(world, subject, id_):
            draft.problems.add("subject_id", "Subject does not exist")
        elif draft.current is None:
            mine = world.find("custom_field_values", "subject", f"{subject}/{id_}")
            if any(v["custom_field_id"] == field["id"] for v in mine):
                draft.problems.add("custom_field_id", "Custom field has already a value on this subject")
        if "value" in draft.row:
            try:
                draft.fields["value"] = check_value(world, field, plain(draft.row["value"]), id_)
            except values.BadValue as bad:
                if draft.row["value"] not in (None, "", []):
                    draft.problems.add("value", f"Value {bad}")

    def derive(self, world: World, record: Record) -> Record:
        field = world.must("custom_fields", record["custom_field_id"])
        value = record["value"]
        shown = str(value)
        if isinstance(value, list):
            choices = (world.get("custom_field_choices", str(c)) for c in value)
            shown = ", ".join(c["label"] for c in choices if c)
        return {
            "display_value": shown,
            "can_edit": True,
            "type": field.get("value_type"),
            "account_id": str(world.settings["account_id"]),
            "custom_field_name": field["name"],
        }


REGISTRY["custom_fields"] = _Fields()
REGISTRY["custom_field_sets"] = _Sets()
REGISTRY["custom_field_values"] = _Values()
