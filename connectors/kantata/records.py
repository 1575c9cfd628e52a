"""How each Kantata record type is read: wrapped name, what to include, what shows archived records.

Side-loaded custom field values come without the id of their field, because an association's ``*_id`` needs
an include of its own; they do carry the field's name, so the ids come from the account's fields, which are
remembered. Only where a name does not tell are the values read once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connectors.kantata.client import FILTER_LIMIT, Envelope, KantataClient, Row
from connectors.kit.together import parted


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
        custom_fields: whether the values of custom fields are wanted, with the ids of their fields.
    """
    rules = RECORD_TYPES[kind]
    found = await client.get(kind, record_id, what=what, include=rules.include, **rules.by_id)
    if found is None or not custom_fields:
        return found
    row, envelope = found
    values = envelope.included(row, "custom_field_values", "custom_field_value_ids")
    if any("custom_field_id" not in value for value in values):
        await _name_fields(client, envelope, values, what)
    return row, envelope


async def name_fields(client: KantataClient, envelope: Envelope, *, what: str) -> None:
    """Give all custom field values that came with a list the ids of their fields."""
    values = [v for v in envelope.sides.get("custom_field_values", {}).values() if "custom_field_id" not in v]
    if values:
        await _name_fields(client, envelope, values, what)


async def _name_fields(client: KantataClient, envelope: Envelope, values: Sequence[Row], what: str) -> None:
    """Add to side-loaded values the ids of their fields."""
    by_name = await client.custom_fields(what=what)
    ids = [by_name.get(str(value.get("custom_field_name")), ()) for value in values]
    if all(len(found) == 1 for found in ids):
        for value, found in zip(values, ids, strict=True):
            value["custom_field_id"] = found[0]
        return
    client.forget_custom_fields()  # renamed or made since we asked, or two fields of one name
    only = ",".join(str(value["id"]) for value in values)
    more = await client.list(
        "custom_field_values", what=what, query={"only": only, "include": "custom_field"}
    )
    envelope.sides.setdefault("custom_field_values", {}).update(
        {str(value["id"]): value for value in more.rows}
    )


LISTED_BY_ID = frozenset({"stories", "workspace_resources"})
"""Record types of which several are read by one list: no default filter hides them there, and their custom
fields do not matter."""


async def read_records(
    client: KantataClient, kind: str, record_ids: Sequence[str], *, what: str
) -> dict[str, tuple[Row, Envelope]]:
    """Several records of a type in ``LISTED_BY_ID`` with their references, by id; what is gone is missing."""
    found: dict[str, tuple[Row, Envelope]] = {}
    for part in parted(list(dict.fromkeys(record_ids)), FILTER_LIMIT):
        query = {"only": ",".join(part), "include": ",".join(RECORD_TYPES[kind].include)}
        envelope = await client.list(kind, what=what, query=query)
        found |= {str(row["id"]): (row, envelope) for row in envelope.rows}
    return found
