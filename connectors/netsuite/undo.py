"""Undo of landed writes (rule 16).

Deleted while untouched; else inactivated (or closed) and marked with the saga's id. *Untouched* means that it
still shows what was proven when it was made, and that nothing refers to it: NetSuite itself refuses to delete
what is referred to, which is the only trustworthy test of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.causes import Cause
from canonical.failures import Conflict, FailureKind, Refused, SystemFailure
from canonical.refs import RecordRef
from canonical.writes import Landed, UndoOutcome, UndoResult, VendorWrite, WriteKind
from connectors.netsuite import lines, wire
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.schemas import OrderRecord
from connectors.netsuite.settings import NetSuiteMapping
from connectors.netsuite.values import EXPANDED, canonical_values

NUMBER_FIELD = {"job": "entityId", "salesOrder": "tranId", "invoice": "tranId"}
"""Numbers that stay used up when the record goes (rule 16)."""


class Undoer:
    """Undoes one write of one account."""

    def __init__(self, client: NetSuiteClient, mapping: NetSuiteMapping) -> None:
        self.client = client
        self.mapping = mapping

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """See ``connectors.ports.Writer.undo``."""
        if write.kind is WriteKind.UPDATE:
            return await self._restore(write, before or {})
        ref = self.client.ref(write.record_type, landed.id)
        record = await self.client.get(write.record_type, landed.id, expand=write.record_type in EXPANDED)
        if record is None:
            # Deleted before, perhaps by an undo whose answer was lost: its number is used up all the same.
            gap = landed.values.get("code") if self.mapping.project_auto_numbering else None
            return UndoOutcome(result=UndoResult.NOTHING_THERE, ref=ref, gap=gap)
        if write.record_type in ("invoice", "creditMemo") and not self._draft(write, record):
            # A legal document is never deleted, even where the API allows it (rule 16).
            raise Refused(
                f"{ref}, number {record.get('tranId')}, is a legal document and is not deleted.",
                cause=Cause.UNDO_BLOCKED,
                system=self.client.system,
                record=ref,
                key=write.key,
                remedy="Credit it (credit memo) through the billing saga.",
            )
        gap = self._number(write, record)
        # A draft is ours to withdraw whatever a reviewer did to it: nothing of it is posted.
        changed = [] if write.record_type == "invoice" else self._changed(write, record)
        if changed:
            return await self._retire(
                write, ref, record, gap, _by_somebody(self.client.system, write, ref, changed)
            )
        try:
            deleted = await self.client.delete(
                write.record_type, landed.id, what=f"Undo: {write.title}", key=write.key
            )
        except SystemFailure as refusal:
            if refusal.failure.kind not in (FailureKind.REPAIR, FailureKind.CONFLICT) or _no_right(refusal):
                raise
            return await self._retire(write, ref, record, gap, refusal)
        return UndoOutcome(
            result=UndoResult.DELETED if deleted else UndoResult.NOTHING_THERE, ref=ref, gap=gap
        )

    def _draft(self, write: VendorWrite, record: Mapping[str, Any]) -> bool:
        """Whether an invoice was never posted: it is a draft, or an approver has rejected it."""
        approval = wire.ref_id(record.get("approvalStatus"))
        unposted = (self.mapping.billing.pending, *self.mapping.billing.rejected)
        return write.record_type == "invoice" and approval in unposted

    def _changed(self, write: VendorWrite, record: Mapping[str, Any]) -> list[str]:
        """What was proven by reading it back and reads otherwise now: somebody has worked on the record."""
        now = canonical_values(self.mapping, write.record_type, record)
        return sorted(name for name, wanted in write.expect.items() if not wire.shows(now.get(name), wanted))

    def _number(self, write: VendorWrite, record: Mapping[str, Any]) -> str | None:
        field = NUMBER_FIELD.get(write.record_type)
        if field is None or (write.record_type == "job" and not self.mapping.project_auto_numbering):
            return None
        value = record.get(field)
        return None if value is None else str(value)

    async def _retire(
        self,
        write: VendorWrite,
        ref: RecordRef,
        record: Mapping[str, Any],
        gap: str | None,
        refusal: SystemFailure,
    ) -> UndoOutcome:
        """What NetSuite keeps is taken out of use and says which saga let go of it."""
        custom, saga = self.mapping.custom, str(write.options.get("saga") or write.step_key)
        result, body = UndoResult.INACTIVATED, dict[str, Any]()
        match write.record_type:
            case "customer":
                body = {"isInactive": True, **_mark(custom.client_saga, saga)}
            case "job":
                closed = wire.ref(self.mapping.job_status.closed)
                body = {"isInactive": True, "entityStatus": closed, **_mark(custom.project_saga, saga)}
            case "billingSchedule":
                body = {"isInactive": True}
            case "salesOrder":
                body = {**self._closed_lines(record), **_mark(custom.order_saga, saga)}
            case "timeBill":
                body = {"isBillable": False}
            case "charge":
                body = {"stage": wire.ref("NON_BILLABLE")}
            case "customerSubsidiaryRelationship":
                # In use by transactions of others: the customer stays under that entity.
                result = UndoResult.RELEASED
            case _:
                raise refusal
        if body:
            what = f"Undo: {write.title} (kept by NetSuite, taken out of use)"
            await self.client.patch(ref.type, ref.id, body, what=what, key=write.key)
        return UndoOutcome(result=result, ref=ref, gap=gap)

    def _closed_lines(self, record: Mapping[str, Any]) -> dict[str, Any]:
        order = OrderRecord.model_validate(record)
        lines = [{"line": line.number, "isClosed": True} for line in order.lines if not line.is_closed]
        return {"item": {"items": lines}} if lines else {}

    async def _restore(self, write: VendorWrite, before: dict[str, Any]) -> UndoOutcome:
        """Put a before-image back, unless somebody changed the fields since."""
        ref = self.client.ref(write.record_type, str(write.target))
        if not write.restore:
            return UndoOutcome(result=UndoResult.RELEASED, ref=ref)
        expand = any(wire.is_sublist(value) for value in before.values())
        record = await self.client.get(write.record_type, ref.id, expand=expand)
        if record is None:
            return UndoOutcome(result=UndoResult.NOTHING_THERE, ref=ref)
        if lines.restored(record, before):
            return UndoOutcome(result=UndoResult.RESTORED, ref=ref)
        ours = {field: write.body[field] for field in write.restore if field in (write.body or {})}
        changed = sorted(f for f, value in ours.items() if not wire.shows(record.get(f), value))
        if changed:
            raise _by_somebody(self.client.system, write, ref, changed)
        former = lines.restoring(record, before)
        await self.client.patch(ref.type, ref.id, former, what=f"Undo: {write.title}", key=write.key)
        return UndoOutcome(result=UndoResult.RESTORED, ref=ref)


def _by_somebody(system: str, write: VendorWrite, ref: RecordRef, changed: list[str]) -> Conflict:
    return Conflict(
        f"Undo: {write.title}: somebody changed {', '.join(changed)} of {ref} since.",
        cause=Cause.CHANGED_BY_SOMEBODY,
        system=system,
        record=ref,
        field=changed[0],
        key=write.key,
        remedy="Decide in NetSuite which value stands, then retry or skip this undo.",
    )


def _mark(field: str | None, saga: str) -> dict[str, str]:
    return {} if field is None else {field: f"undone by {saga}"}


def _no_right(refusal: SystemFailure) -> bool:
    """A missing permission says nothing about the record: it must not end in a half-hearted undo."""
    return refusal.failure.status in (401, 403)
