"""References to records in connected systems, and the dimensions every record carries."""

from __future__ import annotations

from enum import StrEnum

from canonical.base import Canonical


class SystemRole(StrEnum):
    """What a connected system is used for. One vendor may fill several."""

    CRM = "crm"
    PSA = "psa"
    ERP = "erp"
    HR = "hr"
    EXPENSE = "expense"
    TICKETING = "ticketing"
    DOCUMENT = "document"
    NOTIFICATION = "notification"


class RecordRef(Canonical):
    """Names a record in a connected system. ``system`` is an instance, not a vendor."""

    system: str
    type: str
    """The vendor's record type."""
    id: str
    url: str | None = None
    """Where a person can open the record, when the vendor has such a page."""

    def __str__(self) -> str:
        return f"{self.system}/{self.type}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> RecordRef:
        """The reference printed by ``str``.

        Raises:
            ValueError: not of the form system/type/id.
        """
        parts = text.split("/", 2)
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{text!r} is not a record reference; expected system/type/id")
        return cls(system=parts[0], type=parts[1], id=parts[2])


class Dimensions(Canonical):
    """Where a record belongs: on every contract, project and line (rule 6)."""

    region: str
    legal_entity: str
    department: str | None = None
    practice: str | None = None
    service_line: str | None = None
    cost_centre: str | None = None
