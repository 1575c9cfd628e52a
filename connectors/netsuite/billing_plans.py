"""Planned writes of the billing sagas: time, charges, invoices, credit memos. Pure.

All of them are creates that are recognised by external id or stamp; time goes out in bulk (``bulk``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from canonical.billing import ApprovalState, BillingEvent, TimeEntry
from canonical.failures import Defect
from canonical.operations import WriteContext
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind
from connectors.netsuite import wire
from connectors.netsuite.client import RECORD, STRICT
from connectors.netsuite.mapping import Fields
from connectors.netsuite.plans import Planner

POST_TIME = "post_time"
POST_CHARGE = "post_charge"
ISSUE_INVOICE = "issue_invoice"
CREDIT_INVOICE = "credit_invoice"
APPROVED = "3"
"""``timeBill.approvalStatus`` (enumeration 1..4) of approved time."""


@dataclass(frozen=True)
class TimeBill:
    """An approved entry with the NetSuite ids that the enrichment found for it."""

    entry: TimeEntry
    project: Json
    """Job id, or a symbol. NetSuite calls the field ``customer``."""
    employee: str
    item: str
    task: str | None = None


@dataclass(frozen=True)
class Charge:
    """A billing event (milestone, schedule date, retainer period) as a charge on the project."""

    event: BillingEvent
    project: Json
    item: str
    charge_type: str
    """Id of the charge type, for example ``-19``."""
    hold: bool = False


@dataclass(frozen=True)
class InvoiceRequest:
    """An invoice from a sales order. ``identity`` is group, cycle and sequence (rule 25)."""

    identity: str
    order: Json
    on: date
    memo: str | None = None
    purchase_order: str | None = None
    lines: tuple[dict[str, Json], ...] = ()
    """Overrides of item lines, in NetSuite's JSON; none takes the order's open lines."""


@dataclass(frozen=True)
class CreditRequest:
    """A credit of an invoice; ``lines`` trims it to a part."""

    identity: str
    invoice: Json
    on: date
    reason: str
    lines: tuple[dict[str, Json], ...] = ()


def hours(minutes: int) -> str:
    """NetSuite's duration: ``h:mm``. Exact, unlike decimal hours (rule 5)."""
    sign, minutes = ("-", -minutes) if minutes < 0 else ("", minutes)
    return f"{sign}{minutes // 60}:{minutes % 60:02d}"


class BillingPlanner:
    """Builds the billing writes of one account."""

    def __init__(self, planner: Planner) -> None:
        self._plan = planner
        self._mapping = planner.mapping

    def time_bills(self, context: WriteContext, lines: Sequence[TimeBill]) -> list[VendorWrite]:
        """One ``timeBill`` per entry and source revision.

        Raises:
            Defect: an entry is not approved; only approved time is ever posted.
        """
        return [self._time_bill(context, line) for line in lines]

    def _time_bill(self, context: WriteContext, line: TimeBill) -> VendorWrite:
        entry, out = line.entry, Fields()
        if entry.approval is not ApprovalState.APPROVED:
            raise Defect(
                f"Time entry {entry.ref} is {entry.approval}, not approved.", system=self._plan.system
            )
        day = entry.work_date.isoformat()
        out.put("employee", wire.ref(line.employee), "time_entry.worker")
        out.put("customer", wire.ref(line.project), "project.external_key")
        out.put("caseTaskEvent", wire.ref(line.task) if line.task else None, "project.tasks")
        out.put("item", wire.ref(line.item), "time_entry.role")
        out.put("hours", hours(entry.minutes), "time_entry.minutes")
        out.put("tranDate", day, "time_entry.work_date")
        out.put("isBillable", entry.billable, "time_entry.approval")
        out.put("approvalStatus", wire.ref(APPROVED), "time_entry.approval")
        out.put("memo", entry.note, "time_entry.role")
        out.constants(self._mapping, "timeBill", "contract.external_key")
        # The revision belongs to the key of a posting of that revision (rule 10).
        identity = f"{entry.ref.system}.{entry.ref.id}.{entry.source_revision}"
        return self._plan.upsert(
            context,
            record_type="timeBill",
            operation=POST_TIME,
            key=context.key(self._plan.system, POST_TIME, identity),
            name=f"time:{identity}",
            title=f"Post {hours(entry.minutes)} h of {day} on {entry.project_code}",
            fields=out,
            expect={"hours": hours(entry.minutes), "work_date": day, "project": line.project},
        )

    def charges(self, context: WriteContext, lines: Sequence[Charge]) -> list[VendorWrite]:
        """One charge per billing event; the stamp travels in ``runId``, the record's one text field."""
        return [self._charge(context, line) for line in lines]

    def _charge(self, context: WriteContext, line: Charge) -> VendorWrite:
        event, out = line.event, Fields()
        key = context.key(self._plan.system, POST_CHARGE, event.key)
        stamp = context.stamp(key)
        stage = "HOLD_FOR_BILLING" if line.hold else "READY_FOR_BILLING"
        out.put("billTo", wire.ref(line.project), "project.external_key")
        out.put("stage", wire.ref(stage), "contract.schedule")
        out.put("use", wire.ref("Actual"), "contract.schedule")
        out.put("chargeType", wire.ref(line.charge_type), "contract.schedule")
        out.put("billingItem", wire.ref(line.item), "contract.lines")
        out.put("chargeDate", event.due.isoformat(), "contract.schedule")
        # Quantity one: NetSuite multiplies rate and quantity, and there must be nothing to round.
        out.put("rate", wire.number(event.amount.amount, event.amount.currency), "contract.amount")
        out.put("quantity", "1", "contract.amount")
        out.put("runId", stamp, "contract.external_key")
        out.constants(self._mapping, "charge", "contract.external_key")
        return self._create(
            context,
            record_type="charge",
            operation=POST_CHARGE,
            key=key,
            name=f"charge:{event.key}",
            title=f"Charge {event.amount} due {event.due.isoformat()}",
            path=f"{RECORD}/charge",
            path_values={},
            fields=out,
            expect={"amount": wire.plain(event.amount.amount), "project": line.project},
            options={"find_filter": f'runId IS "{stamp}"'},
        )

    def invoice(self, context: WriteContext, request: InvoiceRequest) -> VendorWrite:
        """An invoice by transforming the sales order; the external id in the body guards it."""
        key = context.key(self._plan.system, ISSUE_INVOICE, request.identity)
        out = Fields()
        out.put("externalId", context.stamp(key), "contract.external_key")
        out.put("tranDate", request.on.isoformat(), "contract.schedule")
        out.put("memo", request.memo, "contract.external_key")
        out.put(self._mapping.purchase_order_field, request.purchase_order, "contract.purchase_order")
        out.put("item", {"items": list(request.lines)} if request.lines else None, "contract.lines")
        out.constants(self._mapping, "invoice", "contract.external_key")
        return self._create(
            context,
            record_type="invoice",
            operation=ISSUE_INVOICE,
            key=key,
            name=f"invoice:{request.identity}",
            title=f"Create invoice {request.identity}",
            path=f"{RECORD}/salesOrder/{{order}}/!transform/invoice",
            path_values={"order": request.order},
            fields=out,
            produces=("id", "number"),
        )

    def credit_memo(self, context: WriteContext, request: CreditRequest) -> VendorWrite:
        """A credit memo by transforming the invoice. REST has no void: crediting is the only reversal."""
        key = context.key(self._plan.system, CREDIT_INVOICE, request.identity)
        out = Fields()
        out.put("externalId", context.stamp(key), "contract.external_key")
        out.put("tranDate", request.on.isoformat(), "contract.schedule")
        out.put("memo", request.reason, "contract.external_key")
        out.put("item", {"items": list(request.lines)} if request.lines else None, "contract.lines")
        out.constants(self._mapping, "creditMemo", "contract.external_key")
        return self._create(
            context,
            record_type="creditMemo",
            operation=CREDIT_INVOICE,
            key=key,
            name=f"credit:{request.identity}",
            title=f"Create credit memo {request.identity}",
            path=f"{RECORD}/invoice/{{invoice}}/!transform/creditMemo",
            path_values={"invoice": request.invoice},
            fields=out,
            produces=("id", "number"),
        )

    def _create(
        self,
        context: WriteContext,
        *,
        record_type: str,
        operation: str,
        key: str,
        name: str,
        title: str,
        path: str,
        path_values: dict[str, Json],
        fields: Fields,
        produces: tuple[str, ...] = ("id",),
        expect: dict[str, Json] | None = None,
        options: dict[str, Json] | None = None,
    ) -> VendorWrite:
        return VendorWrite(
            system=self._plan.system,
            operation=operation,
            title=title,
            record_type=record_type,
            kind=WriteKind.CREATE,
            key=key,
            step_key=context.step_key,
            stamp=context.stamp(key),
            symbol=name,
            produces=produces,
            method="POST",
            path=path,
            path_values=path_values,
            headers=STRICT,
            body=fields.body,
            key_style=KeyStyle.STAMPED,
            expect=expect or {},
            sets=fields.sets,
            phase=context.phase,
            options={"saga": context.saga_id, **(options or {})},
        )
