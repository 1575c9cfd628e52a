"""How each Kantata record type is read: wrapped name, what to include, what shows archived records.

Side-loaded custom field values come without the id of their field, because an association's ``*_id`` needs
an include of its own; where a field's value matters they are read once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.kantata.client import Envelope, KantataClient, Row


@dataclass(frozen=True)
class RecordType:
    """Reading rules of one record type. ``*_id`` attributes appear only with their association."""

    root: str
    include: tuple[str, ...] = ("external_references",)
    by_id: Mapping[str, str] = field(default_factory=dict)
    """Query that lets a read by id see archived records."""
    in_lists: Mapping[str, str] = field(default_factory=dict)
    """Query that lets a search see archived records."""
    subject_type: str | None = None
    """Its name in external references and custom field values."""


RECORD_TYPES: dict[str, RecordType] = {
    "workspaces": RecordType(
        root="workspace",
        include=("external_references", "custom_field_values", "primary_workspace_group"),
        by_id={"include_archived": "true"},
        in_lists={"archived": "include"},
        subject_type="Workspace",
    ),
    "workspace_groups": RecordType(root="workspace_group", include=("external_references", "workspaces")),
    "stories": RecordType(root="story", include=("external_references", "workspace"), subject_type="Story"),
    "workspace_resources": RecordType(
        root="workspace_resource", include=("external_references", "role", "user", "workspace")
    ),
    "invoices": RecordType(root="invoice", subject_type="Invoice"),
    "project_accounting_records": RecordType(
        root="project_accounting_record", include=("external_references", "workspace")
    ),
    "external_references": RecordType(root="external_reference", include=()),
    "external_payments": RecordType(root="external_payment", include=("invoice",)),
}


async def read_record(
    client: KantataClient, kind: str, record_id: str, *, what: str, custom_fields: bool = False
) -> tuple[Row, Envelope] | None:
    """One record with its references, archived or not; None when it is gone.

    Args:
        client: of the account.
        kind: record type, plural.
        record_id: Kantata's id.
        what: for people, what is being done.
        custom_fields: whether the values of custom fields are wanted; may cost a second call.
    """
    rules = RECORD_TYPES[kind]
    found = await client.get(kind, record_id, what=what, include=rules.include, **rules.by_id)
    if found is None or not custom_fields:
        return found
    row, envelope = found
    values = envelope.included(row, "custom_field_values", "custom_field_value_ids")
    if any("custom_field_id" not in value for value in values):
        ids = ",".join(str(value["id"]) for value in values)
        more = await client.list(
            "custom_field_values", what=what, query={"only": ids, "include": "custom_field"}
        )
        envelope.sides.setdefault("custom_field_values", {}).update(
            {str(value["id"]): value for value in more.rows}
        )
    return row, envelope
