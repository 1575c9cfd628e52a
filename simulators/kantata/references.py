"""External references: nested in a write, upserted by themselves, searched through their subjects.

Source: vendor documentation, "External references". One reference per service on an object; nothing
enforces that a reference value is unique across objects.
"""

from __future__ import annotations

from typing import Any, Final

from simulators.kantata.bodies import wrapped
from simulators.kantata.problems import Problems, system
from simulators.kantata.rules import Draft, clean, plain, subject_exists
from simulators.kantata.schema import RESOURCES, by_subject
from simulators.kantata.world import World
from simulators.kit import Call, Record

_NESTED: Final = {
    "service_name",
    "service_model",
    "service_model_ref",
    "status",
    "external_message",
    "external_link",
    "external_status",
    "locked",
}


def check_nested(draft: Draft) -> None:
    """Check the ``external_reference`` of a write."""
    nested = draft.extra.get("external_reference")
    if nested is None:
        return
    problems = draft.problems
    if not isinstance(nested, dict):
        problems.add("external_reference", "External reference is not an object")
        return
    for name in sorted(set(nested) - _NESTED):
        problems.add(f"external_reference.{name}", f"{name} is not an attribute of an external reference")
    _check_values(nested, problems, "external_reference.")


def _check_values(row: Record, problems: Problems, prefix: str = "") -> None:
    for name in ("service_name", "service_model", "service_model_ref"):
        value = row.get(name)
        if value in (None, ""):
            problems.add(f"{prefix}{name}", f"{name} can't be blank")
        elif not isinstance(value, str | int):
            problems.add(f"{prefix}{name}", f"{name} is not a string")
    if row.get("status") not in (None, "pending", "successful", "failed"):
        problems.add(f"{prefix}status", "status is not included in the list: pending, successful, failed")


def upsert(world: World, subject_type: str, subject_id: str, row: Record) -> tuple[Record, bool]:
    """Create or change the subject's reference of that service.

    Returns:
        The reference, and whether it was created.
    """
    fields: dict[str, Any] = {k: v for k, v in plain(row).items() if k in _NESTED}
    fields["service_model_ref"] = str(fields["service_model_ref"])
    now = world.now()
    for mine in world.find("external_references", "subject", f"{subject_type}/{subject_id}"):
        if mine["service_name"] == fields["service_name"]:
            return world.change("external_references", mine["id"], {**fields, "last_synced_at": now}), False
    defaults: Record = dict.fromkeys(sorted(_NESTED))
    fields = {**defaults, "locked": False, **fields, "subject_type": subject_type, "subject_id": subject_id}
    return world.insert("external_references", {**fields, "last_synced_at": now}), True


def create_or_update(world: World, call: Call) -> tuple[Record, Record, bool]:
    """``POST /external_references/create_or_update``.

    Returns:
        The reference, the row as sent, and whether it was created.
    """
    row = wrapped(call, "external_reference")
    draft = Draft(RESOURCES["external_references"], row, None)
    if isinstance(row.get("service_model_ref"), int):
        row = {**row, "service_model_ref": str(row["service_model_ref"])}
        draft.row = row
    clean(world, draft)
    type_, id_ = draft.fields.get("subject_type"), draft.fields.get("subject_id")
    if type_ and not by_subject(type_):
        draft.problems.add("subject_type", f"Subject type is not included in the list: {type_}")
    elif type_ and id_ and not subject_exists(world, type_, id_):
        draft.problems.add("subject_id", "Subject does not exist")
    draft.problems.refuse()
    fields = {k: v for k, v in draft.fields.items() if k in _NESTED}
    record, created = upsert(world, str(type_), str(id_), fields)
    return record, row, created


def key_of(world: World, type_: str, id_: str, row: Record | None) -> str | None:
    """What identifies a write to the outside: the reference it carries or its record already has."""
    nested = (row or {}).get("external_reference")
    if isinstance(nested, dict) and nested.get("service_model_ref") is not None:
        return str(nested["service_model_ref"])
    if RESOURCES[type_].subject is None:
        return None
    mine = world.references(type_, id_)
    return str(mine[0]["service_model_ref"]) if mine else None


def matching_subjects(world: World, type_: str, params: dict[str, str]) -> set[str] | None:
    """Ids of subjects with one reference that meets all given ``external_reference_*`` filters.

    None when no such filter was given.
    """
    plain_filters = {
        "service_name": params.get("external_reference_service_name"),
        "service_model": params.get("external_reference_service_model"),
        "status": params.get("external_reference_status"),
        "external_status": params.get("external_reference_external_status"),
        "external_message": params.get("external_reference_external_message"),
    }
    wanted = {k: v for k, v in plain_filters.items() if v is not None}
    refs = _refs(params)
    if not wanted and refs is None:
        return None
    subject = RESOURCES[type_].subject
    if refs is not None and "service_name" in wanted:
        rows = [
            r
            for ref in refs
            for r in world.find("external_references", "ref", f"{subject}/{wanted['service_name']}/{ref}")
        ]
    else:
        rows = [r for r in world.all("external_references") if r["subject_type"] == subject]
    return {
        r["subject_id"]
        for r in rows
        if all(r.get(k) == v for k, v in wanted.items()) and (refs is None or r["service_model_ref"] in refs)
    }


def _refs(params: dict[str, str]) -> set[str] | None:
    refs: set[str] | None = None
    if (one := params.get("external_reference_service_model_ref")) is not None:
        if not one.lstrip("-").isdigit():
            raise system(400, "external_reference_service_model_ref is invalid: must be an integer")
        refs = {one}
    if (many := params.get("external_reference_service_model_refs")) is not None:
        listed = [r.strip() for r in many.split(",") if r.strip()]
        if len(listed) > 200:
            raise system(400, "external_reference_service_model_refs takes at most 200 values")
        refs = set(listed) if refs is None else refs & set(listed)
    return refs
