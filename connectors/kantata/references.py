"""External references: what another system says of a record of Kantata. Pure.

Its documented upsert finds the reference by subject, service and model, so repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from canonical.operations import WriteContext
from canonical.writes import Json, KeyStyle, VendorWrite, WriteKind
from connectors.kantata.client import API


def plan_reference(
    system: str,
    context: WriteContext,
    *,
    operation: str,
    identity: str,
    title: str,
    name: str,
    body: Mapping[str, Json],
    expect: tuple[str, ...],
    sets: Mapping[str, str],
    independent: bool = False,
    forward_only: bool = False,
) -> VendorWrite:
    """Create or update one reference.

    Args:
        system: instance name.
        context: the saga's step.
        operation: ours; the body's ``service_model`` as well, so that references of ours do not meet.
        identity: business identity, for the key.
        title: for people.
        name: symbol of the record.
        body: its fields.
        expect: which of them are read back.
        sets: Kantata's fields -> canonical ones, for the authority table.
        independent: no other write of the step waits for it.
        forward_only: never undone.
    """
    key = context.key(system, operation, identity)
    return VendorWrite(
        system=system,
        operation=operation,
        title=title,
        record_type="external_references",
        kind=WriteKind.CREATE,
        key=key,
        step_key=context.step_key,
        stamp=context.stamp(key),
        symbol=name,
        method="POST",
        path=f"{API}/external_references/create_or_update",
        body={"external_reference": dict(body)},
        body_root="external_reference",
        key_style=KeyStyle.NATIVE,
        found_by_stamp=False,
        expect={field: body[field] for field in expect},
        independent=independent,
        forward_only=forward_only,
        sets=dict(sets),
        phase=context.phase,
    )
