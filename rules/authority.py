"""Nobody writes a field that another system owns: checked on every write."""

from __future__ import annotations

from canonical.authority import may_write
from canonical.causes import Cause
from canonical.failures import Finding
from canonical.refs import SystemRole
from canonical.writes import VendorWrite
from rules.findings import finding


def unauthorised(write: VendorWrite, roles: tuple[SystemRole, ...]) -> Finding | None:
    """Why ``write`` must not be sent to a system of these roles; None when every field is ours to write."""
    body = write.body
    if write.body_root is not None and isinstance(body, dict):
        body = body.get(write.body_root)
    for name in body if isinstance(body, dict) else ():
        canonical = write.sets.get(name)
        if canonical is None:
            return finding(
                Cause.FIELD_NOT_OURS,
                f"{write.title}: the body sets {name!r}, which no canonical field stands for.",
                field=name,
            )
        object_, _, field = canonical.partition(".")
        if not any(may_write(object_, field, write.phase, role) for role in roles):
            return finding(
                Cause.FIELD_NOT_OURS,
                f"{write.title}: {canonical} may not be written to {write.system} "
                f"{write.phase.value.replace('_', ' ')} (field-authority table).",
                field=name,
            )
    return None
