"""Undoing one landed write (rule 16): deleted while untouched, else archived or cancelled and marked.

Kantata's deletes are hard and there is no restore. Nothing is deleted unless it still carries our stamp and
still shows what was proven when it was made.
"""

from __future__ import annotations

from typing import Any

from canonical.causes import Cause, Queue
from canonical.failures import Conflict, Refused
from canonical.refs import RecordRef
from canonical.writes import Landed, UndoOutcome, UndoResult, VendorWrite
from connectors.kantata.amend import set_field
from connectors.kantata.client import API, Envelope, KantataClient, Row
from connectors.kantata.mapping import carries, comparable, our_reference, same, to_wire
from connectors.kantata.records import RECORD_TYPES, read_record
from connectors.kantata.schemas import Group, InvoiceRow, Resource, Story, Workspace, parse
from connectors.kantata.settings import KantataMapping
from connectors.kit.http import escape

NOTHING = UndoOutcome(result=UndoResult.NOTHING_THERE)
UNDONE = "undone"
"""``external_status`` of the reference on a record that an undo could only put away."""


class Undo:
    """The undo of every operation, on one account."""

    def __init__(self, system: str, client: KantataClient, mapping: KantataMapping) -> None:
        self._system = system
        self._client = client
        self._mapping = mapping

    async def create(self, write: VendorWrite, landed: Landed) -> UndoOutcome:
        """Undo a create.

        Raises:
            Conflict: the record no longer carries our stamp, or an invoice was paid.
            Refused: Kantata has no way to undo it.
        """
        if write.record_type == "external_references":
            return await self._delete(write, landed.id)
        if write.record_type == "external_payments":
            raise Refused(
                f"Payment {landed.id} cannot be taken back: Kantata has no call for it.",
                cause=Cause.UNDO_BLOCKED,
                queue=Queue.BILLING,
                system=self._system,
                record=self._ref(write, landed.id),
                remedy="Remove the payment in Kantata by hand, then retry the undo.",
                key=write.key,
            )
        found = await self._read(
            write.record_type, landed.id, write.title, custom_fields="project_code" in write.expect
        )
        if found is None:
            return NOTHING
        row, envelope = found
        if not carries(row, envelope, self._mapping.service_name, write.operation, write.stamp):
            raise self._changed(write, landed.id, "it no longer carries our external reference")
        changed = self._changed_fields(write, row, envelope)
        match write.record_type:
            case "workspace_groups":
                # Archived projects count too: a group that held one stays with it.
                if parse(Group, row, self._system).workspace_ids:
                    return self._outcome(UndoResult.RELEASED, write, landed.id)
                if changed:
                    # Groups cannot be archived, and a delete cannot be taken back.
                    raise self._changed(write, landed.id, f"somebody changed its {', '.join(changed)}")
                return await self._delete(write, landed.id)
            case "workspaces":
                return await self._project(write, row, envelope, bool(changed))
            case "stories":
                return await self._story(write, row, envelope, bool(changed))
            case "workspace_resources":
                resource = parse(Resource, row, self._system)
                # Somebody was staffed on it: the project's own undo keeps it (archived) with the project.
                if changed or resource.user_id or resource.allocations_count or resource.deletable is False:
                    return self._outcome(UndoResult.RELEASED, write, landed.id)
                return await self._delete(write, landed.id)
            case "invoices":
                return await self._invoice(write, row)
            case _:
                return await self._delete(write, landed.id)

    async def update(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """Put the before-image back while the current values are still ours.

        Raises:
            Conflict: somebody changed them since.
            Refused: there is no before-image although our values are in force.
        """
        record_id = str(write.target or landed.id)
        found = await self._read(write.record_type, record_id, write.title)
        if found is None:
            return NOTHING
        now = comparable(write.record_type, *found, self._mapping, self._system)
        ours = write.body[write.body_root]
        is_ours = all(same(ours[name], now.get(name)) for name in write.restore)
        if before is not None and all(same(before.get(name), now.get(name)) for name in write.restore):
            return self._outcome(UndoResult.RESTORED, write, record_id)
        if not is_ours:
            raise self._changed(write, record_id, "its values are neither ours nor the former ones")
        if before is None:
            raise Refused(
                f"{write.title}: the former values are not known.",
                cause=Cause.UNDO_BLOCKED,
                queue=Queue.DELIVERY,
                system=self._system,
                record=self._ref(write, record_id),
                remedy="Set the fields in Kantata by hand, then retry the undo.",
                key=write.key,
            )
        fields = {name: before.get(name) for name in write.restore}
        await self._put(write, record_id, fields)
        return self._outcome(UndoResult.RESTORED, write, record_id)

    def _changed_fields(self, write: VendorWrite, row: Row, envelope: Envelope) -> list[str]:
        """What was proven by reading it back and reads otherwise now: somebody has worked on the record."""
        now = comparable(write.record_type, row, envelope, self._mapping, self._system)
        return sorted(name for name, wanted in write.expect.items() if not same(wanted, now.get(name)))

    async def _project(self, write: VendorWrite, row: Row, envelope: Envelope, changed: bool) -> UndoOutcome:
        project = parse(Workspace, row, self._system)
        reference = our_reference(row, envelope, self._mapping.service_name)
        marked = reference is not None and reference.external_status == UNDONE
        if project.archived and marked:
            return self._outcome(UndoResult.INACTIVATED, write, project.id)
        if not changed and not await self._touched(project.id):
            try:
                return await self._delete(write, project.id)
            except (Refused, Conflict):
                # The conditions of a refusal are not published; archiving always works.
                pass
        await self._mark(write, "Workspace", project.id)
        field_id = self._mapping.saga_mark_field
        if field_id is not None:
            await set_field(
                self._client, self._system, write, project.id, row, envelope, field_id, _saga(write)
            )
        fields: dict[str, Any] = {"archived": True}
        if self._mapping.status_keys.closed is not None:
            fields["status_key"] = self._mapping.status_keys.closed
        await self._put(write, project.id, fields)
        return self._outcome(UndoResult.INACTIVATED, write, project.id)

    async def _touched(self, project_id: str) -> bool:
        """Whether anybody worked in a project: time, expenses, invoices or staffed people."""
        hidden = {"from_archived_workspaces": "true"}
        for kind, query in (
            ("time_entries", hidden),
            ("expenses", hidden),
            ("invoices", {}),
        ):
            what = f"Looking for {kind} of project {project_id}"
            page = await self._client.page(
                kind, what=what, query={"workspace_id": project_id, **query}, size=1
            )
            if page.rows:
                return True
        resources = await self._client.list(
            "workspace_resources",
            what=f"Looking for people on project {project_id}",
            query={"workspace_id": project_id, "include": "user"},
        )
        return any((parse(Resource, row, self._system).allocations_count or 0) > 0 for row in resources.rows)

    async def _story(self, write: VendorWrite, row: Row, envelope: Envelope, changed: bool) -> UndoOutcome:
        story = parse(Story, row, self._system)
        worked = (story.logged_billable_time_in_minutes or 0) + (
            story.logged_nonbillable_time_in_minutes or 0
        )
        if not worked and not changed:
            return await self._delete(write, story.id)
        reference = our_reference(row, envelope, self._mapping.service_name)
        if not (story.archived and reference and reference.external_status == UNDONE):
            await self._mark(write, "Story", story.id)
            await self._put(write, story.id, {"archived": True})
        return self._outcome(UndoResult.INACTIVATED, write, story.id)

    async def _invoice(self, write: VendorWrite, row: Row) -> UndoOutcome:
        invoice = parse(InvoiceRow, row, self._system)
        if invoice.status == "cancelled":
            return self._outcome(UndoResult.INACTIVATED, write, invoice.id)
        if invoice.draft:
            return await self._delete(write, invoice.id)
        if invoice.status != "new":
            raise self._changed(write, invoice.id, f"its status is {invoice.status!r}", Queue.BILLING)
        path = f"{API}/invoices/{escape(invoice.id)}/cancel"
        await self._client.write(
            "PUT", path, "invoices", {}, what=f"Undo: cancel {write.title}", key=write.key
        )
        return self._outcome(UndoResult.INACTIVATED, write, invoice.id)

    async def _mark(self, write: VendorWrite, subject_type: str, record_id: str) -> None:
        """Say on the record's own reference which saga undid it; the key stays, so it is found again."""
        body = {
            "subject_type": subject_type,
            "subject_id": record_id,
            "service_name": self._mapping.service_name,
            "service_model": write.operation,
            "service_model_ref": write.stamp,
            "external_status": UNDONE,
            "external_message": f"Undone by {_saga(write)}",
        }
        await self._client.write(
            "POST",
            f"{API}/external_references/create_or_update",
            "external_references",
            {"external_reference": to_wire(body)},
            what=f"Undo: mark {write.title}",
            key=write.key,
        )

    async def _read(
        self, kind: str, record_id: str, title: str, *, custom_fields: bool = False
    ) -> tuple[Row, Envelope] | None:
        return await read_record(
            self._client,
            kind,
            record_id,
            what=f"Undo of {title}: reading",
            custom_fields=custom_fields or self._mapping.saga_mark_field is not None,
        )

    async def _put(self, write: VendorWrite, record_id: str, fields: dict[str, Any]) -> None:
        await self._client.write(
            "PUT",
            f"{API}/{write.record_type}/{escape(record_id)}",
            write.record_type,
            {RECORD_TYPES[write.record_type].root: to_wire(fields)},
            what=f"Undo of {write.title}",
            key=write.key,
        )

    async def _delete(self, write: VendorWrite, record_id: str) -> UndoOutcome:
        what = f"Undo: delete {write.title}"
        if await self._client.delete(write.record_type, record_id, what=what, key=write.key):
            return self._outcome(UndoResult.DELETED, write, record_id)
        return NOTHING

    def _outcome(self, result: UndoResult, write: VendorWrite, record_id: str) -> UndoOutcome:
        return UndoOutcome(result=result, ref=self._ref(write, record_id))

    def _ref(self, write: VendorWrite, record_id: str) -> RecordRef:
        return RecordRef(system=self._system, type=write.record_type, id=record_id)

    def _changed(
        self, write: VendorWrite, record_id: str, why: str, queue: Queue = Queue.DELIVERY
    ) -> Conflict:
        return Conflict(
            f"{write.title} ({write.record_type} {record_id}) cannot be undone: {why}.",
            cause=Cause.CHANGED_BY_SOMEBODY,
            queue=queue,
            system=self._system,
            record=self._ref(write, record_id),
            remedy="Decide in Kantata what is to become of the record, then retry or skip the undo.",
            key=write.key,
        )


def _saga(write: VendorWrite) -> str:
    return write.step_key.split("|", 1)[0]
