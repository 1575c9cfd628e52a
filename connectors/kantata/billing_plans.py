"""Pure plans of the later sagas: exported marks, Kantata invoices, payments, recognised revenue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from canonical.base import Canonical
from canonical.delivered import ExportMark, HeldMark, LineKind
from canonical.money import Money
from canonical.operations import WriteContext
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind
from connectors.kantata.client import API
from connectors.kantata.mapping import amount_text
from connectors.kantata.plans import stamped_create
from connectors.kantata.references import plan_reference
from connectors.kantata.settings import KantataSettings
from connectors.kantata.time_mapping import MARK_EXPORTED

UNMARK = "unmark_exported"
LOCK_LINES = "issue_invoice"
RECORD_PAYMENT = "record_payment"
RECORD_REVENUE = "record_revenue"
MESSAGE_LIMIT = 255
"""Characters of an external payment's message."""


class InvoiceCopy(Canonical):
    """An ERP invoice told to Kantata, which thereby locks its lines against deletion."""

    key: str
    number: str
    """The ERP's; Kantata's own invoice number is an integer, so this one goes into the title."""
    project: Json
    """Workspace id, or its symbol."""
    time_entry_ids: tuple[str, ...] = ()
    expense_ids: tuple[str, ...] = ()
    billing_milestone_ids: tuple[str, ...] = ()
    issued_on: date
    payment_days: int
    purchase_order: str | None = None
    project_code: Json = None


class FullPayment(Canonical):
    """A fully paid invoice. Kantata cannot express part payments: it always pays the whole invoice."""

    key: str
    project: Json
    invoice: Json
    receipt: str


class Recognition(Canonical):
    """Revenue that the ERP recognised on a project in a period; read from it, never computed (rule 2)."""

    key: str
    project: Json
    first: date
    last: date
    amount: Money
    to_date: Money | None = None


SUBJECTS = {
    LineKind.TIME: "TimeEntry",
    LineKind.EXPENSE: "Expense",
    LineKind.TIMESHEET: "Submission",
}
"""``subject_type`` of what is marked."""


def plan_marks(
    system: str, settings: KantataSettings, context: WriteContext, marks: Sequence[ExportMark]
) -> list[VendorWrite]:
    """One mark per line, by the documented upsert: repeating it is harmless. Undone by deleting it.

    Kantata documents no bulk form of this call; the marks are independent of each other.
    """
    writes = []
    for line in marks:
        subject = SUBJECTS[line.kind]
        identity = f"{subject}.{line.id}.{line.document}".replace("|", "/")
        body: dict[str, Json] = {
            "subject_type": subject,
            "subject_id": line.id,
            "service_name": settings.mapping.service_name,
            "service_model": MARK_EXPORTED,
            "service_model_ref": line.document,
            "status": "successful",
        }
        writes.append(
            plan_reference(
                system,
                context,
                operation=MARK_EXPORTED,
                identity=identity,
                title=f"{subject} {line.id} exported to {line.document}",
                name=f"exported:{subject}.{line.id}",
                body=body,
                expect=("service_model_ref", "status"),
                sets=dict.fromkeys(body, "time_entry.exported"),
                independent=True,
            )
        )
    return writes


def plan_unmarks(system: str, context: WriteContext, marks: Sequence[HeldMark]) -> list[VendorWrite]:
    """Take marks off. A mark that is gone, or that somebody has set anew, counts as taken off."""
    writes = []
    for one in marks:
        subject = SUBJECTS[one.kind]
        key = context.key(system, UNMARK, f"{subject}.{one.id}.{one.reference}")
        writes.append(
            VendorWrite(
                system=system,
                operation=UNMARK,
                title=f"{subject} {one.id} no longer exported to {one.document}",
                record_type="external_references",
                kind=WriteKind.UPDATE,
                key=key,
                step_key=context.step_key,
                stamp=context.stamp(key),
                symbol=f"unmarked:{subject}.{one.id}",
                method="DELETE",
                path=f"{API}/external_references/{{id}}",
                path_values={"id": one.reference},
                key_style=KeyStyle.NATIVE,
                target=one.reference,
                expect={"gone": True},
                independent=True,
                forward_only=True,
                phase=context.phase,
                options={"subject_type": subject, "subject_id": one.id},
            )
        )
    return writes


def plan_invoice(
    system: str, settings: KantataSettings, context: WriteContext, invoice: InvoiceCopy
) -> VendorWrite:
    """Kantata's copy of an issued invoice, without e-mails. Undone by deleting a draft, else cancelling.

    Raises:
        ValueError: no lines; Kantata wants at least one.
    """
    lines: dict[str, Json] = {
        "time_entry_ids": list(invoice.time_entry_ids),
        "expense_ids": list(invoice.expense_ids),
        "billing_milestone_ids": list(invoice.billing_milestone_ids),
    }
    lines = {name: ids for name, ids in lines.items() if ids}
    if not lines:
        raise ValueError(f"invoice {invoice.number} has no lines that Kantata knows")
    body: dict[str, Json] = {
        "workspace_id": invoice.project,
        **lines,
        "payment_schedule": invoice.payment_days,
        "invoice_date": invoice.issued_on.isoformat(),
        "user_invoice_title": invoice.number,
        "draft": False,
        "suppress_emails": True,
    }
    sets = dict.fromkeys(body, "invoice.status")
    sets |= dict.fromkeys(lines, "time_entry.exported")
    sets |= {"payment_schedule": "invoice.due_date", "user_invoice_title": "invoice.number"}
    if invoice.purchase_order is not None:
        body["purchase_order"], sets["purchase_order"] = invoice.purchase_order, "invoice.number"
    if invoice.project_code is not None:
        body["project_code"], sets["project_code"] = invoice.project_code, "project.code"
    return stamped_create(
        system,
        settings,
        context,
        operation=LOCK_LINES,
        key=context.key(system, LOCK_LINES, invoice.key),
        kind="invoices",
        root="invoice",
        body=body,
        sets=sets,
        owner="project",
        name=f"psa-invoice:{invoice.key}",
        title=f"Invoice {invoice.number} in {system}",
        expect={"status": "new", "draft": False},
    )


def plan_payment(
    system: str, settings: KantataSettings, context: WriteContext, payment: FullPayment
) -> VendorWrite:
    """Mark an invoice as paid in full. Cannot be taken back, hence forward only.

    Raises:
        ValueError: the receipt's text is too long beside the stamp.
    """
    key = context.key(system, RECORD_PAYMENT, payment.key)
    message = f"{payment.receipt} [{context.stamp(key)}]"
    if len(message) > MESSAGE_LIMIT:
        raise ValueError(f"payment message of {len(message)} characters; Kantata takes {MESSAGE_LIMIT}")
    body = {"workspace_id": payment.project, "invoice_id": payment.invoice, "message": message}
    return VendorWrite(
        system=system,
        operation=RECORD_PAYMENT,
        title=f"Payment {payment.receipt}",
        record_type="external_payments",
        kind=WriteKind.CREATE,
        key=key,
        step_key=context.step_key,
        stamp=context.stamp(key),
        symbol=f"psa-payment:{payment.key}",
        method="POST",
        path=f"{API}/external_payments",
        body={"external_payment": body},
        body_root="external_payment",
        key_style=KeyStyle.STAMPED,
        found_by_stamp=False,
        expect={"invoice_id": payment.invoice},
        settle_seconds=settings.search_lag_seconds,
        forward_only=True,
        sets=dict.fromkeys(body, "opportunity.paid"),
        phase=context.phase,
    )


def plan_revenue(
    system: str, settings: KantataSettings, context: WriteContext, revenue: Recognition
) -> VendorWrite:
    """A recognition record of one project and period."""
    currency = revenue.amount.currency
    cents = settings.mapping.recognition_unit == "cents"

    def figure(money: Money) -> str:
        return str(money.minor) if cents else amount_text(money.amount, currency)

    body: dict[str, Json] = {
        "workspace_id": revenue.project,
        "start_date": revenue.first.isoformat(),
        "end_date": revenue.last.isoformat(),
        "currency": currency,
        "type": "Recognition",
        "status": "Approved",
        "amount": figure(revenue.amount),
    }
    if revenue.to_date is not None:
        body["amount_to_date"] = figure(revenue.to_date)
    return stamped_create(
        system,
        settings,
        context,
        operation=RECORD_REVENUE,
        key=context.key(system, RECORD_REVENUE, revenue.key),
        kind="project_accounting_records",
        root="project_accounting_record",
        body=body,
        sets=dict.fromkeys(body, "opportunity.recognised_revenue"),
        owner="project",
        name=f"psa-revenue:{revenue.key}",
        title=f"Recognised revenue {revenue.amount} until {revenue.last.isoformat()}",
        expect={name: body[name] for name in ("currency", "amount", "start_date", "end_date")},
    )
