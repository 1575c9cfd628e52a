"""Undoing what we wrote to Salesforce (rule 16).

An update is put back to its before-image when the record still shows our values; a record that somebody
changed since is left for a person. A created record is deleted while it still shows what we wrote, else
retired with the values that its plan names and marked with the saga id. Reading first and writing then is
not atomic; with ``conditional_undo`` the vendor is asked to refuse a change in between.
"""

from __future__ import annotations

from typing import Any

from canonical.causes import Cause, Queue
from canonical.failures import Conflict, Refused
from canonical.refs import RecordRef
from canonical.writes import UndoOutcome, UndoResult, VendorWrite
from connectors.salesforce.client import SalesforceClient
from connectors.salesforce.cursor import stamp
from connectors.salesforce.mapping import same
from connectors.salesforce.plans import with_numbers

_REFUSED_DELETE = (Cause.VENDOR_REFUSED, Cause.CREDENTIALS_REJECTED)


async def undo_update(
    client: SalesforceClient, write: VendorWrite, ref: RecordRef, before: dict[str, Any] | None
) -> UndoOutcome:
    """Put the before-image back; does nothing when it is already there.

    Raises:
        Conflict: a field shows neither our value nor the one before.
    """
    what = f"Undoing: {write.title}"
    row = await client.read_one(ref.type, ref.id, ["Id", "SystemModstamp", *write.restore], what=what)
    if row is None:
        return UndoOutcome(result=UndoResult.NOTHING_THERE)
    if before is None:
        # Never landed as far as we know, so there is nothing of ours to take back.
        return UndoOutcome(result=UndoResult.RELEASED, ref=ref)
    ours = with_numbers(write.body, write.options)
    former = with_numbers({field: before.get(field) for field in write.restore}, write.options)
    if all(same(former[field], row.get(field)) for field in write.restore):
        return UndoOutcome(result=UndoResult.RESTORED, ref=ref)
    changed = [
        field
        for field in write.restore
        if not same(ours.get(field), row.get(field)) and not same(former[field], row.get(field))
    ]
    if changed:
        raise _changed(what, client.system, ref, write.key, changed)
    await client.update(
        ref.type,
        ref.id,
        former,
        what=what,
        key=write.key,
        unmodified_since=stamp(str(row["SystemModstamp"])) if client.settings.conditional_undo else None,
    )
    return UndoOutcome(result=UndoResult.RESTORED, ref=ref)


async def undo_create(client: SalesforceClient, write: VendorWrite, ref: RecordRef) -> UndoOutcome:
    """Delete the record while it is untouched, else retire and mark it.

    Raises:
        Conflict: somebody changed it and its plan names no way to retire it.
        Refused: the vendor will not delete it and there is no way to retire it.
    """
    what = f"Undoing: {write.title}"
    ours = with_numbers(write.body, write.options)
    retire = _retirement(write)
    row = await client.read_one(ref.type, ref.id, ["Id", *ours, *retire], what=what)
    if row is None:
        return UndoOutcome(result=UndoResult.NOTHING_THERE)
    if retire and all(same(value, row.get(field)) for field, value in retire.items()):
        return UndoOutcome(result=UndoResult.INACTIVATED, ref=ref)
    changed = [field for field, value in ours.items() if not same(value, row.get(field))]
    if not changed:
        try:
            gone = not await client.delete(ref.type, ref.id, what=what, key=write.key)
        except Refused as refusal:
            # Other records hang on it: the vendor refuses to delete an account with closed-won deals.
            if not retire or refusal.failure.cause not in _REFUSED_DELETE:
                raise
        else:
            return UndoOutcome(result=UndoResult.NOTHING_THERE if gone else UndoResult.DELETED, ref=ref)
    elif not retire:
        raise _changed(what, client.system, ref, write.key, changed)
    await client.update(ref.type, ref.id, retire, what=what, key=write.key)
    return UndoOutcome(result=UndoResult.INACTIVATED, ref=ref)


def _retirement(write: VendorWrite) -> dict[str, Any]:
    values = dict(write.options.get("inactivate") or {})
    mark = write.options.get("mark")
    if values and mark:
        values[mark] = f"undone by {write.options['saga']}"
    return values


def _changed(what: str, system: str, ref: RecordRef, key: str, fields: list[str]) -> Conflict:
    return Conflict(
        f"{what}: somebody changed {', '.join(fields)} since we wrote it.",
        cause=Cause.CHANGED_BY_SOMEBODY,
        queue=Queue.SALES,
        system=system,
        record=ref,
        field=fields[0],
        key=key,
        remedy="Decide which values stay, correct the record, then skip or retry this undo.",
    )
