"""What the opening position forbids (rule 36)."""

from __future__ import annotations

from datetime import date

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.opening import OpeningPosition
from rules.findings import finding


def no_opening(contract_key: str, opening: OpeningPosition | None) -> Finding | None:
    """A contract without an opening position does not bill; its cost is posted all the same."""
    if opening is not None:
        return None
    return finding(Cause.NO_OPENING_POSITION, f"Contract {contract_key} has no opening position.")


def before_opening(contract_key: str, opening: OpeningPosition | None, day: date) -> Finding | None:
    """Work at or before the opening position was posted and billed elsewhere, or never will be."""
    last = opening.last_billed_work_date if opening is not None else None
    if last is None or day > last:
        return None
    return finding(
        Cause.BEFORE_OPENING_POSITION,
        f"Work of {day.isoformat()} lies at or before {last.isoformat()}; contract {contract_key} was billed "
        f"up to then.",
        field="work_date",
    )
