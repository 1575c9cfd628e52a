"""How each Kantata record type is read: wrapped name, what to include, what shows archived records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    "project_accounting_records": RecordType(root="project_accounting_record"),
    "external_references": RecordType(root="external_reference", include=()),
    "external_payments": RecordType(root="external_payment", include=()),
}
