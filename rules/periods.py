"""On which day something is posted when the period of its own day is closed (rules 16, 30)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from canonical.calendar import ClosedPeriod
from canonical.causes import Cause
from canonical.erp_billing import AccountingPeriod, Book, posting_date
from canonical.failures import Finding
from canonical.firm import BillingPolicy
from canonical.refs import RecordRef
from rules.findings import finding


def of_entity(periods: Sequence[AccountingPeriod], legal_entity: str) -> list[AccountingPeriod]:
    """The periods whose locks concern a legal entity: its own, else those of the whole account."""
    own = [period for period in periods if period.legal_entity == legal_entity]
    return own or [period for period in periods if period.legal_entity is None]


def posted_on(
    periods: Sequence[AccountingPeriod],
    legal_entity: str,
    day: date,
    book: Book,
    policy: BillingPolicy,
    *,
    record: RecordRef | None = None,
) -> date | Finding:
    """The posting date for work of ``day``: the day itself, else by the entity's policy.

    The work date is kept either way; only the posting moves.
    """
    found = posting_date(of_entity(periods, legal_entity), day, book)
    if found == day:
        return day
    wanted = policy.closed_period.get(legal_entity, ClosedPeriod.POST_NEXT_OPEN)
    if found is None:
        return finding(
            Cause.PERIOD_CLOSED,
            f"No period of {legal_entity} from {day.isoformat()} on is open for {book.value}.",
            record=record,
            field="posting_date",
        )
    if wanted is ClosedPeriod.HOLD:
        return finding(
            Cause.PERIOD_CLOSED,
            f"The period of {day.isoformat()} is closed for {book.value} in {legal_entity}, whose policy is "
            f"to hold; the next open day is {found.isoformat()}.",
            record=record,
            field="posting_date",
        )
    return found
