"""Planned writes of closing and re-opening a project (rule 45). Pure.

A closed project has the account's closed status, and is inactive where the mapping says so: an inactive
project takes no transaction any more, a late credit memo neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.operations import WriteContext, project_symbol
from canonical.project_closing import ErpClosure
from canonical.writes import Json, VendorWrite
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.plans import Planner

CLOSE_PROJECT = "close_project"
REOPEN_PROJECT = "reopen_project"
STATUS = "project.status"


def close(planner: Planner, context: WriteContext, closure: ErpClosure) -> list[VendorWrite]:
    """One ``PATCH`` of the job."""
    status = planner.mapping.job_status
    body: dict[str, Json] = {"entityStatus": wire.ref(status.closed)}
    if status.inactive_when_closed:
        body["isInactive"] = True
    title = f"Close project of {closure.name}"
    return [_write(planner, context, closure, CLOSE_PROJECT, body, title)]


def reopen(
    planner: Planner, context: WriteContext, closure: ErpClosure, former: Mapping[str, Any]
) -> list[VendorWrite]:
    """One ``PATCH`` with the former values; nothing where none are known."""
    body: dict[str, Json] = {
        name: wire.ref(str(value["id"])) if isinstance(value, Mapping) and "id" in value else value
        for name, value in former.items()
    }
    if not body:
        return []
    title = f"Open project of {closure.name} again"
    return [_write(planner, context, closure, REOPEN_PROJECT, body, title)]


def _write(
    planner: Planner,
    context: WriteContext,
    closure: ErpClosure,
    operation: str,
    body: dict[str, Json],
    title: str,
) -> VendorWrite:
    inactive = wire.flag(body.get("isInactive"))
    state = to.project_state(planner.mapping, wire.ref_id(body.get("entityStatus")), inactive=inactive)
    return planner.update(
        context,
        record_type="job",
        operation=operation,
        key=context.key(
            planner.system, operation, f"{closure.contract_key}@c{closure.number}", closure.round
        ),
        name=project_symbol(closure.contract_key),
        title=title,
        target=closure.project_id,
        body=body,
        sets=dict.fromkeys(body, STATUS),
        expect={"status": state} if "entityStatus" in body else {},
        restore=tuple(body),
    )
