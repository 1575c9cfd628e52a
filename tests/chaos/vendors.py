"""What the vendors hold, read over their control API, and what changed between two readings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
Records = dict[str, dict[str, dict[str, Row]]]
"""vendor -> record type -> id -> record."""

SALESFORCE, NETSUITE, KANTATA = "salesforce", "netsuite", "kantata"
NOT_RECORDS = frozenset({"subscribed_events"})
"""Kantata's feed about records is not a record."""
STAMPS = frozenset(
    {
        "lastModifiedDate",
        "LastModifiedDate",
        "LastModifiedById",
        "SystemModstamp",
        "updated_at",
        "last_synced_at",
    }
)
"""Instants that move whenever a record is touched, also by a touch that restores it."""


def parse(answers: Mapping[str, str]) -> Records:
    """Every live record of every vendor, from the JSON of ``GET /_sim/records``; numbers are exact."""
    found: Records = {}
    for vendor, text in answers.items():
        types = json.loads(text, parse_float=Decimal)
        found[vendor] = {
            kind: {str(row.get("id") or row.get("Id")): row for row in rows}
            for kind, rows in types.items()
            if kind not in NOT_RECORDS
        }
    return found


@dataclass
class Change:
    """What happened to the vendors between two readings."""

    new: Records
    now: Records
    changed: list[tuple[str, str, str, dict[str, tuple[Any, Any]]]] = field(default_factory=list)
    """vendor, type, id, field -> (before, after) of records that were there before."""
    gone: list[tuple[str, str, str]] = field(default_factory=list)


def change(before: Records, now: Records) -> Change:
    """Compare two readings."""
    found = Change(new={}, now=now)
    for vendor, types in now.items():
        fresh = found.new.setdefault(vendor, {})
        for kind, rows in types.items():
            old = before.get(vendor, {}).get(kind, {})
            fresh[kind] = {id_: row for id_, row in rows.items() if id_ not in old}
            for id_, row in rows.items():
                if id_ in old and row != old[id_]:
                    names = (set(row) | set(old[id_])) - STAMPS
                    moved = {n: (old[id_].get(n), row.get(n)) for n in names if old[id_].get(n) != row.get(n)}
                    if moved:
                        found.changed.append((vendor, kind, id_, moved))
    for vendor, types in before.items():
        for kind, rows in types.items():
            found.gone += [(vendor, kind, id_) for id_ in rows if id_ not in now[vendor].get(kind, {})]
    return found


def put_away(vendor: str, kind: str, row: Row, now: Records) -> bool:
    """Whether an undo took the record out of use and said so: all that is left where deletion is refused.

    What belongs to such a record goes with it: a customer's entities, an archived project's plan and group.
    """
    if vendor == NETSUITE:
        match kind:
            case "customer" | "job":
                marks = [str(value) for name, value in row.items() if name.startswith("custentity")]
                return row.get("isInactive") is True and any(one.startswith("undone by") for one in marks)
            case "billingSchedule":
                # It has no field for a mark; its name is our key, which says whose it was.
                return row.get("isInactive") is True and str(row["name"]).startswith("tu-")
            case "salesOrder":
                closed = all(line.get("isClosed") for line in row["item"]["items"])
                return closed and str(row.get("custbody_trueup_saga")).startswith("undone by")
            case "customerSubsidiaryRelationship":
                owner = now[NETSUITE]["customer"].get(str(row["entity"]["id"]))
                return owner is not None and put_away(NETSUITE, "customer", owner, now)
    if vendor == KANTATA:
        archived = _archived_projects(now[KANTATA])
        if kind == "workspace_groups":
            groups = [str(one) for project in archived.values() for one in project["workspace_group_ids"]]
            return str(row["id"]) in groups
        if kind == "external_references" or kind == "custom_field_values":
            subject = _SUBJECTS.get(str(row["subject_type"]), "")
            about = now[KANTATA].get(subject, {}).get(str(row["subject_id"]))
            return about is not None and put_away(KANTATA, subject, about, now)
        return str(row["id"] if kind == "workspaces" else row.get("workspace_id")) in archived
    return False


_SUBJECTS = {
    "Workspace": "workspaces",
    "WorkspaceGroup": "workspace_groups",
    "Story": "stories",
    "WorkspaceResource": "workspace_resources",
}


def _archived_projects(kantata: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """Projects that are archived and whose reference says that they were undone."""
    undone = {
        str(row["subject_id"])
        for row in kantata.get("external_references", {}).values()
        if row["subject_type"] == "Workspace" and row["external_status"] == "undone"
    }
    return {
        id_: row for id_, row in kantata.get("workspaces", {}).items() if row["archived"] and id_ in undone
    }


def live(seen: Change) -> Records:
    """The new records without those that were properly put away."""
    return {
        vendor: {
            kind: {id_: row for id_, row in rows.items() if not put_away(vendor, kind, row, seen.now)}
            for kind, rows in types.items()
        }
        for vendor, types in seen.new.items()
    }
