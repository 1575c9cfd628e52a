"""The executor's moves on NetSuite: send, find, read back, before-image (undo is in ``undo``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canonical.causes import Cause, Queue
from canonical.erp_billing import InvoiceState
from canonical.failures import Conflict, Defect, OutcomeUnknown, Refused, SystemFailure
from canonical.writes import Landed, Shown, VendorWrite, WriteKind
from connectors.kit.http import fill
from connectors.kit.together import together
from connectors.netsuite import lines, wire
from connectors.netsuite.billing_readings import to_state
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.settings import NetSuiteMapping
from connectors.netsuite.values import EXPANDED, canonical_values

GENERATED = {
    "job": {"code": "entityId"},
    "customer": {"code": "entityId"},
    "salesOrder": {"number": "tranId"},
    "invoice": {"number": "tranId"},
    "creditMemo": {"number": "tranId"},
}
"""Values that only NetSuite makes: the name in ``VendorWrite.produces`` -> field of the record."""


FIXED = {
    "customerSubsidiaryRelationship": ("entity", "subsidiary"),
    "billingSchedule": ("name",),
    "customer": ("subsidiary",),
    "job": ("subsidiary", "parent"),
    "salesOrder": ("subsidiary", "currency", "entity"),
    "invoice": ("subsidiary", "currency", "entity"),
}
"""What identifies or legally places a record: another value is another record, never an amendment."""


class Writer:
    """Sends planned writes and looks for what they left behind."""

    def __init__(self, client: NetSuiteClient, mapping: NetSuiteMapping) -> None:
        self.client = client
        self.mapping = mapping

    def _numbers(self, body: Any) -> Any:
        return wire.numbers(body, self.mapping.progress.decimals)

    async def send(self, write: VendorWrite) -> Landed:
        """Make the call once. Answers are empty (204): what only NetSuite makes, the read-back brings.

        Raises:
            OutcomeUnknown: no answer, or it landed and cannot be found.
        """
        if write.method == "DELETE":
            await self.client.delete(write.record_type, str(write.target), what=write.title, key=write.key)
            return Landed(id=str(write.target))
        response = await self.client.call(
            write.method,
            fill(write.path, write.path_values),
            what=write.title,
            write=True,
            body=self._numbers(write.body),
            query=write.query or None,
            headers=write.headers,
            record=None if write.target is None else self.client.ref(write.record_type, str(write.target)),
            key=write.key,
        )
        if write.kind is WriteKind.UPDATE:
            return self._landed(write.record_type, str(write.target))
        record_id = wire.location_id(response.headers.get("Location"))
        if record_id is None or record_id.startswith("eid:"):
            return await self._after(write)
        return self._landed(write.record_type, record_id)

    async def _after(self, write: VendorWrite) -> Landed:
        """Look for what a create made. It landed: whatever goes wrong now, the outcome is to be looked up."""
        try:
            found = await self.find(write)
        except SystemFailure as failure:
            raise self._unknown(write, failure.failure.message) from failure
        if found is None:
            raise self._unknown(write, "it cannot be read yet")
        return found

    def _unknown(self, write: VendorWrite, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{write.title}: {self.client.system} accepted it, but {reason}",
            system=self.client.system,
            key=write.key,
        )

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        """Each by its own external id or name: NetSuite has no list by external ids."""
        return await together(self.find(write) for write in writes)

    async def find(self, write: VendorWrite) -> Landed | None:
        """A create by its external id, its stamped name or its natural key; an update by its values."""
        if write.method == "DELETE":
            held = await self.client.get(write.record_type, str(write.target))
            return Landed(id=str(write.target)) if held is None else None
        if write.kind is WriteKind.UPDATE:
            record = await self._current(write)
            if record is None or not wire.shows_all(record, self._numbers(write.body)):
                return None
            return self._landed(write.record_type, str(write.target), record)
        record = await self._search(write)
        return None if record is None else self._from_record(write, record)

    async def _search(self, write: VendorWrite) -> dict[str, Any] | None:
        what = f"Look for {write.record_type} {write.stamp}"
        if (condition := write.options.get("find_filter")) is not None:
            ids = await self.client.filtered_ids(write.record_type, str(condition), what=what)
        elif (sql := write.options.get("find_sql")) is not None:
            ids = [str(row["id"]) for row in await self.client.rows(str(sql), what=what)]
        else:
            return await self.client.get(write.record_type, external_id=write.stamp, what=what)
        if len(ids) > 1:
            raise Conflict(
                f"{what}: {self.client.system} has {len(ids)} of them ({', '.join(ids[:5])}).",
                system=self.client.system,
                key=write.key,
                record=self.client.ref(write.record_type, ids[0]),
                remedy="Keep one, delete the others in NetSuite, then retry.",
            )
        return {"id": ids[0]} if ids else None

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        """PATCH the fields of the body that differ; sublists that differ are replaced as a whole.

        Raises:
            Refused: the record is gone, or is of a kind that cannot change.
        """
        record = await self.client.get(
            write.record_type, landed.id, expand=write.record_type in EXPANDED, what=f"Read {write.title}"
        )
        ref = self.client.ref(write.record_type, landed.id)
        if record is None:
            raise Refused(
                f"{write.title}: {ref} is not there any more.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.MASTER_DATA,
                system=self.client.system,
                record=ref,
                key=write.key,
                remedy="Undo the saga and start it again.",
            )
        if write.record_type == "invoice" and to_state(self.mapping, record) is not InvoiceState.DRAFTED:
            raise Refused(
                f"{write.title}: {ref}, number {record.get('tranId')}, is no draft any more.",
                cause=Cause.CHANGED_BY_SOMEBODY,
                queue=Queue.BILLING,
                system=self.client.system,
                record=ref,
                key=write.key,
                remedy="Credit an issued invoice; undo a rejected one and draft it anew.",
            )
        body = self._numbers(write.body)
        changes = {name: value for name, value in body.items() if not _same(record.get(name), value)}
        for fixed in FIXED.get(write.record_type, ()):
            if fixed in changes:
                raise Refused(
                    f"{write.title}: NetSuite does not change {fixed} of {ref}.",
                    queue=Queue.MASTER_DATA,
                    system=self.client.system,
                    record=ref,
                    field=fixed,
                    key=write.key,
                    remedy="Undo the saga and start it again with the amended deal.",
                )
        if changes:
            await self.client.patch(
                write.record_type,
                landed.id,
                changes,
                what=f"Amend: {write.title}",
                key=write.key,
                replace=[name for name, value in changes.items() if wire.is_sublist(value)],
            )
        return landed

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        """Each by record (SuiteQL may lag), with the values that NetSuite generated."""
        return await together(self._shown(write, one) for write, one in landed)

    async def _shown(self, write: VendorWrite, landed: Landed) -> Shown:
        generated = write.kind is WriteKind.CREATE and bool(self._generated(write))
        if not write.expect and not generated:
            return Shown(landed=landed)
        record = await self.client.get(
            write.record_type, landed.id, expand=write.record_type in EXPANDED, what=f"Check {write.title}"
        )
        if write.method == "DELETE":
            return Shown(landed=landed, values={"gone": record is None})
        if record is None:
            return Shown(landed=landed, values=dict.fromkeys(write.expect))
        values = canonical_values(self.mapping, write.record_type, record)
        missing = set(write.expect) - set(values)
        if missing:
            raise Defect(
                f"A read-back of {write.record_type} does not know {sorted(missing)}.",
                system=self.client.system,
                key=write.key,
            )
        return Shown(
            landed=self._from_record(write, {**record, "id": landed.id}) if generated else landed,
            values={name: values[name] for name in write.expect},
        )

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        """Current values of the fields in ``restore``."""
        if not write.restore:
            return {}
        record = await self._current(write)
        return {} if record is None else lines.image_of(record, write)

    async def _current(self, write: VendorWrite) -> dict[str, Any] | None:
        expand = any(isinstance(v, Mapping) and "items" in v for v in (write.body or {}).values())
        return await self.client.get(write.record_type, str(write.target), expand=expand)

    def _generated(self, write: VendorWrite) -> dict[str, str]:
        known = GENERATED.get(write.record_type, {})
        unknown = set(write.produces) - {"id", *known}
        if unknown:
            raise Defect(f"{write.record_type} does not produce {sorted(unknown)}.", key=write.key)
        return {name: known[name] for name in write.produces if name != "id"}

    def _from_record(self, write: VendorWrite, record: Mapping[str, Any]) -> Landed:
        values = {name: str(record.get(field) or "") for name, field in self._generated(write).items()}
        if not all(values.values()):
            missing = ", ".join(name for name, value in values.items() if not value)
            raise Defect(
                f"{write.record_type} {record['id']} shows no {missing}.",
                system=self.client.system,
                key=write.key,
                remedy="Check the account's auto-numbering and the role's field permissions.",
            )
        return self._landed(write.record_type, str(record["id"]), record, values)

    def _landed(
        self,
        record_type: str,
        record_id: str,
        record: Mapping[str, Any] | None = None,
        values: dict[str, str] | None = None,
    ) -> Landed:
        version = None if record is None else record.get("lastModifiedDate")
        return Landed(
            id=record_id,
            values=values or {},
            version=None if version is None else str(version),
            url=self.client.link(record_type, record_id),
        )


def _same(current: Any, wanted: Any) -> bool:
    """Whether nothing is to be changed: for sublists also, that there is no line too many."""
    if wire.is_sublist(wanted) and len(wire.items(current)) != len(wanted["items"]):
        return False
    return wire.shows(current, wanted)
