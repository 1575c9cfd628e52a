"""Which lines count as approved (rule 27), and what a delivered line is in the ledger's terms."""

from __future__ import annotations

from canonical.billing import ApprovalState
from canonical.delivered import ApprovalBasis, DeliveredExpense, DeliveredTime
from canonical.firm import BillingPolicy
from canonical.items import ItemKind, SourceLine


def counts_as_approved(
    line: DeliveredTime | DeliveredExpense, policy: BillingPolicy, project_code: str | None
) -> bool:
    """Approved by its current submission, or without one where a policy names its project.

    What the delivery system calls approved because nobody needs to approve it does not count by itself.
    """
    if line.approval is not ApprovalState.APPROVED:
        return False
    if line.approval_basis is ApprovalBasis.SUBMISSION:
        return True
    return project_code is not None and project_code in policy.approval_not_needed


def source_line(
    line: DeliveredTime | DeliveredExpense, policy: BillingPolicy, region: str, project_code: str | None
) -> SourceLine:
    """A delivered line as it goes into the ledger; the worker's e-mail address stays behind."""
    common = {
        "source": line.ref,
        "revision": line.revision,
        "substance": line.substance,
        "region": region,
        "project": line.project,
        "worker": line.worker,
        "billable": line.billable,
        "approved": counts_as_approved(line, policy, project_code),
        "approved_at": line.approved_at,
        "submission": line.submission,
        "changed_at": line.changed_at,
        "exported_to": line.exported_to,
        "note": line.note,
    }
    if isinstance(line, DeliveredTime):
        own: dict[str, object] = {
            "kind": ItemKind.TIME,
            "work_date": line.work_date,
            "minutes": line.minutes,
            "role": line.role,
            "task": line.task,
            "delivery_rate": line.rate,
            "delivery_currency": line.rate_currency,
        }
    else:
        own = {
            "kind": ItemKind.EXPENSE,
            "work_date": line.incurred_on,
            "incurred": line.amount,
            "category": line.category,
            "reimbursable": line.reimbursable,
        }
    return SourceLine.model_validate({**common, **own})
