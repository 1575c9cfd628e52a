"""Planned writes of cost: time and expenses as they are posted, taken back, or taken out of billing. Pure.

All of them are fit for one direct call each, and for batches (``bulk``) of one record type and method.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from canonical.causes import Cause, Queue
from canonical.erp_billing import CostKind, CostLine, Posting, Reversal, ReversalOrder
from canonical.failures import Defect, Refused
from canonical.names import item_key
from canonical.operations import WriteContext
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.client import RECORD, STRICT
from connectors.netsuite.mapping import Fields
from connectors.netsuite.plans import Planner

POST_TIME = "post_time"
POST_EXPENSE = "post_expense"
REVERSE_TIME = "reverse_time"
REMOVE = "remove_posting"
NOT_BILLABLE = "not_billable"
RECORDS = {CostKind.TIME: "timeBill", CostKind.EXPENSE: "expenseReport"}
"""What a cost line becomes: a time entry, or an expense report of one line, so that each line has a key."""
KINDS = {record: kind for kind, record in RECORDS.items()}
REVERSED = "Reverses"
"""Begins the memo of a negative line, where the account has no field for it; the stamp follows."""
WORKED = "Worked"
"""Begins the memo of a line dated in another period than it was worked in; the day follows."""
ONE_LINE = 1
"""The one line of an expense report of ours."""


def hours(minutes: int) -> str:
    """NetSuite's duration: ``h:mm``. Exact, unlike decimal hours (rule 5)."""
    sign, minutes = ("-", -minutes) if minutes < 0 else ("", minutes)
    return f"{sign}{minutes // 60}:{minutes % 60:02d}"


class CostPlanner:
    """Builds the cost writes of one account."""

    def __init__(self, planner: Planner) -> None:
        self._plan = planner
        self._mapping = planner.mapping
        self._rules = planner.mapping.billing

    # --- posting ------------------------------------------------------------------------------------

    def cost(self, context: WriteContext, lines: Sequence[CostLine]) -> list[VendorWrite]:
        """One create per line and source revision.

        Raises:
            Defect: a line lacks what its kind needs.
        """
        return [
            self._time(context, line) if line.kind is CostKind.TIME else self._expense(context, line)
            for line in lines
        ]

    def _time(self, context: WriteContext, line: CostLine) -> VendorWrite:
        if line.billable and line.item is None:
            raise self._lacks(line, "service item")
        return self._entry(context, line, POST_TIME, line.minutes, line.billable, _memo(line.note))

    def _entry(
        self,
        context: WriteContext,
        line: CostLine,
        operation: str,
        minutes: int,
        billable: bool,
        memo: list[str],
        reverses: str | None = None,
    ) -> VendorWrite:
        out, custom, day = Fields(), self._mapping.custom, line.posting_date.isoformat()
        if line.posting_date != line.work_date and custom.time_work_date is None:
            memo = [f"{WORKED} {line.work_date.isoformat()}", *memo]
        out.put("employee", wire.ref(line.worker), "time_entry.worker")
        out.put("customer", wire.ref(line.project), "project.external_key")
        out.put("caseTaskEvent", wire.ref(line.task) if line.task else None, "time_entry.task")
        out.put("item", wire.ref(line.item) if line.item else None, "time_entry.role")
        out.put("hours", hours(minutes), "time_entry.minutes")
        out.put("tranDate", day, "time_entry.work_date")
        out.put("isBillable", billable, "time_entry.billable")
        if billable and line.bill_rate is not None:
            out.put("rate", wire.plain(line.bill_rate), "time_entry.bill_rate")
        out.put("approvalStatus", wire.ref(self._rules.time_approved), "time_entry.approval")
        out.put("memo", ". ".join(memo) or None, "time_entry.note")
        if line.posting_date != line.work_date:
            out.put(custom.time_work_date, line.work_date.isoformat(), "time_entry.work_date")
        out.put(custom.time_reverses, reverses, "time_entry.note")
        out.put(custom.time_source, item_key(line.source, line.revision), "time_entry.source")
        out.constants(self._mapping, "timeBill", "time_entry.note")
        word = "Post" if operation == POST_TIME else "Take back"
        return self._plan.upsert(
            context,
            record_type=RECORDS[CostKind.TIME],
            operation=operation,
            key=context.key(self._plan.system, operation, line.identity),
            name=f"{operation}:{line.identity}",
            title=f"{word} {hours(abs(minutes))} h of {line.work_date.isoformat()} on {line.project_code}",
            fields=out,
            expect={
                "hours": hours(minutes),
                "posted_on": day,
                "project": line.project,
                "worker": line.worker,
                "billable": billable,
            },
        )

    def _expense(self, context: WriteContext, line: CostLine) -> VendorWrite:
        if line.amount is None or line.item is None:
            raise self._lacks(line, "amount" if line.amount is None else "expense category")
        out, day, amount = Fields(), line.posting_date.isoformat(), line.amount
        figure = wire.number(amount.amount, amount.currency)
        one: dict[str, Json] = {
            "category": wire.ref(line.item),
            "customer": wire.ref(line.project),
            "amount": figure,
            "expensedate": line.work_date.isoformat(),
            "isBillable": line.billable,
            # Somebody else reimburses: the cost is posted and nothing is owed to the worker (rule 34).
            "isnonreimbursable": not line.payable_to_worker,
            **({"memo": line.note} if line.note else {}),
            **self._mapping.constants.get("expenseReport.expense", {}),
        }
        out.put("entity", wire.ref(line.worker), "expense.worker")
        out.put("tranDate", day, "expense.incurred_on")
        currency = to.currency_id(self._mapping, amount.currency)
        out.put("expensereportcurrency", wire.ref(currency), "expense.amount")
        out.put("approvalStatus", wire.ref(self._rules.expense_approved), "expense.approval")
        out.put("complete", True, "expense.approval")
        out.put("expense", {"items": [one]}, "expense.amount")
        source = item_key(line.source, line.revision)
        out.put(self._mapping.custom.expense_source, source, "expense.source")
        out.constants(self._mapping, "expenseReport", "expense.note")
        return self._plan.upsert(
            context,
            record_type=RECORDS[CostKind.EXPENSE],
            operation=POST_EXPENSE,
            key=context.key(self._plan.system, POST_EXPENSE, line.identity),
            name=f"{POST_EXPENSE}:{line.identity}",
            title=f"Post {amount} of {line.work_date.isoformat()} on {line.project_code}",
            fields=out,
            expect={
                "amount": figure,
                "posted_on": day,
                "project": line.project,
                "worker": line.worker,
                "billable": line.billable,
            },
        )

    def _lacks(self, line: CostLine, what: str) -> Defect:
        return Defect(f"{line.kind.value} {line.source} has no {what}.", system=self._plan.system)

    # --- taking back --------------------------------------------------------------------------------

    def reversals(self, context: WriteContext, orders: Sequence[ReversalOrder]) -> list[VendorWrite]:
        """Removals, or lines of the opposite sign.

        Raises:
            Refused: NetSuite cannot take that line back in that form.
        """
        return [self._reversal(context, order) for order in orders]

    def _reversal(self, context: WriteContext, order: ReversalOrder) -> VendorWrite:
        line, posting = order.line, order.posting
        if order.form is Reversal.DELETE:
            if posting.billed_on is not None:
                raise self._cannot(order, f"it is on invoice {posting.billed_on}: credit that first")
            return self._removal(context, line, posting)
        if line.kind is not CostKind.TIME:
            raise self._cannot(order, "NetSuite has no expense of negative amount in a report of its own")
        if not self._rules.negative_time:
            raise self._cannot(order, "this account takes no time of negative duration")
        # A billed line's counterpart must not enter the unbilled balance: its credit does that.
        billable = posting.billable and posting.billed_on is None
        memo = [] if self._mapping.custom.time_reverses else [f"{REVERSED} {posting.stamp}"]
        back = line.model_copy(update={"posting_date": order.on})
        return self._entry(
            context, back, REVERSE_TIME, -line.minutes, billable, [*memo, order.reason], posting.stamp
        )

    def _removal(self, context: WriteContext, line: CostLine, posting: Posting) -> VendorWrite:
        record_type = RECORDS[posting.kind]
        key = context.key(self._plan.system, REMOVE, f"{line.identity}.{posting.ref.id}")
        return VendorWrite(
            system=self._plan.system,
            operation=REMOVE,
            title=f"Take back {posting.ref} of {line.work_date.isoformat()} on {line.project_code}",
            record_type=record_type,
            kind=WriteKind.UPDATE,
            key=key,
            step_key=context.step_key,
            stamp=context.stamp(key),
            symbol=f"{REMOVE}:{line.identity}",
            method="DELETE",
            path=f"{RECORD}/{record_type}/{{id}}",
            path_values={"id": posting.ref.id},
            headers=STRICT,
            key_style=KeyStyle.NATIVE,
            target=posting.ref.id,
            expect={"gone": True},
            independent=True,
            forward_only=True,
            phase=context.phase,
            options={"saga": context.saga_id},
        )

    def _cannot(self, order: ReversalOrder, why: str) -> Refused:
        return Refused(
            f"{order.posting.ref} cannot be taken back: {why}.",
            cause=Cause.UNDO_BLOCKED,
            queue=Queue.BILLING,
            system=self._plan.system,
            record=order.posting.ref,
            remedy="Correct it in NetSuite (a journal, or a time entry in an open period), then resolve the "
            "item as done by hand.",
        )

    # --- out of billing -------------------------------------------------------------------------------

    def not_billable(self, context: WriteContext, postings: Sequence[Posting]) -> list[VendorWrite]:
        """Posted lines that are never to be billed: their cost stays.

        Raises:
            Refused: a line is on an invoice.
        """
        return [self._not_billable(context, posting) for posting in postings]

    def _not_billable(self, context: WriteContext, posting: Posting) -> VendorWrite:
        record_type = RECORDS[posting.kind]
        if posting.billed_on is not None:
            raise Refused(
                f"{posting.ref} is on invoice {posting.billed_on}.",
                cause=Cause.CHANGED_BY_SOMEBODY,
                queue=Queue.BILLING,
                system=self._plan.system,
                record=posting.ref,
                remedy="Credit the invoice first, or leave the line as it is.",
            )
        body: dict[str, Json]
        if posting.kind is CostKind.TIME:
            body, sets = {"isBillable": False}, {"isBillable": "time_entry.billable"}
        else:
            body = {"expense": {"items": [{"line": ONE_LINE, "isBillable": False}]}}
            sets = {"expense": "expense.billable"}
        write = self._plan.update(
            context,
            record_type=record_type,
            operation=NOT_BILLABLE,
            key=context.key(self._plan.system, NOT_BILLABLE, posting.ref.id),
            name=f"{NOT_BILLABLE}:{posting.ref.id}",
            title=f"{posting.ref} is not to be billed",
            target=posting.ref.id,
            body=body,
            sets=sets,
            expect={"billable": False},
            restore=(),
        )
        return write.model_copy(update={"independent": True, "forward_only": True})


def _memo(note: str | None) -> list[str]:
    return [note] if note else []


def reversed_stamp(memo: str | None) -> str | None:
    """The stamp of the line that a negative line takes back, out of its memo."""
    words = (memo or "").split()
    place = words.index(REVERSED) + 1 if REVERSED in words else len(words)
    return words[place].rstrip(".") if place < len(words) else None


def worked_on(memo: str | None, posted_on: date) -> date:
    """The day worked of a line dated in another period, out of its memo."""
    words = (memo or "").split()
    if words[:1] == [WORKED] and len(words) > 1:
        try:
            return date.fromisoformat(words[1].rstrip("."))
        except ValueError:
            pass
    return posted_on
