"""Kantata's refusals and who acts next.

Kantata has no stable error codes: ``{"errors": [{"type", "message", "field"}]}`` with ``type`` one of
oauth, system, validation (its reference). Rows therefore match on status, type and field, and on words
only where a cause would otherwise be lost. What no row knows is ``REPAIR`` for a 4xx, and for a 5xx an
unknown outcome (writes) or another try (reads): 503 and the three-minute timeout say nothing about
whether a write was done.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from canonical.causes import Cause, Queue
from canonical.failures import FailureKind
from connectors.kit.errors import ErrorRule, ErrorTable, VendorError
from connectors.kit.http import decode

_REPAIR, _CONFLICT = FailureKind.REPAIR, FailureKind.CONFLICT
_TOO_LONG = r"too long|maximum is \d+ characters"

RULES: tuple[ErrorRule, ...] = (
    # Tokens do not expire: a 401 is a revoked application, and only an administrator can help.
    ErrorRule(
        FailureKind.REAUTHORISE,
        Cause.CREDENTIALS_REJECTED,
        status=401,
        remedy="The token was revoked or is wrong: put a new one where the secret points, then resume.",
    ),
    # Access goes by permission and project participation, not by scopes.
    ErrorRule(
        _REPAIR,
        Cause.CREDENTIALS_REJECTED,
        status=403,
        remedy="Make the integration user an account administrator of Kantata, then retry the step.",
    ),
    # Names that Kantata cannot hold are the deal's to shorten; nothing is ever cut by us.
    ErrorRule(
        _REPAIR,
        Cause.NAME_TOO_LONG,
        status=422,
        field="title|name",
        text=_TOO_LONG,
        queue=Queue.SALES,
        remedy="Shorten the name in the CRM, then retry the step.",
    ),
    # Rails' words for a uniqueness rule: somebody made the same record between look and send.
    ErrorRule(_CONFLICT, Cause.VERSION_CONFLICT, status=422, text="already been taken|already exists"),
    # The template was removed or renamed after validation.
    ErrorRule(
        _REPAIR,
        Cause.TEMPLATE_MISSING,
        status=422,
        field="project_tracker_template(_id)?|project_template.*",
        queue=Queue.DELIVERY,
        remedy="Restore the project template in Kantata or name another one for the service.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.ROLE_UNKNOWN_IN_DELIVERY,
        status=422,
        field="role(_id)?",
        queue=Queue.DELIVERY,
        remedy="Create the role in Kantata or map it in role_titles.",
    ),
    # A currency that the account does not use.
    ErrorRule(
        _REPAIR,
        Cause.CURRENCY_NOT_SOLD,
        status=422,
        field="currency",
        queue=Queue.MASTER_DATA,
        remedy="Enable the currency for the Kantata account, then retry the step.",
    ),
    # Custom fields, statuses and approvers come from our settings.
    ErrorRule(
        _REPAIR,
        Cause.CONFIGURATION,
        status=422,
        field="custom_field.*|status_key|approver_ids?|creator_role|stage",
        remedy="Correct this instance's mapping; `trueup doctor` checks it.",
    ),
    # Finance or a lead has locked or invoiced the lines; the vendor's words say which.
    ErrorRule(
        _CONFLICT,
        Cause.CHANGED_BY_SOMEBODY,
        status=422,
        text=r"invoiced|locked|adjustment",
        queue=Queue.BILLING,
        remedy="Look at the invoice or lock named in the message, then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.VENDOR_REFUSED,
        status=422,
        queue=Queue.DELIVERY,
        remedy="Correct what Kantata's message names, then retry the step.",
    ),
    # The request itself was malformed: ours to look at, but never to be sent again unchanged.
    ErrorRule(
        _REPAIR, Cause.VENDOR_REFUSED, status=400, remedy="Report this message; the request was refused."
    ),
)


def error_table(rate_limit_pause: int) -> ErrorTable:
    """The rows above and Kantata's 429, which names no delay (seconds) of its own."""
    throttled = ErrorRule(FailureKind.WAIT, Cause.RATE_LIMITED, status=429, retry_after=rate_limit_pause)
    return ErrorTable(rules=(throttled, *RULES), vendor="Kantata")


def read_errors(response: httpx.Response) -> Sequence[VendorError]:
    """The errors of an answer; none when the body is not Kantata's."""
    request_id = response.headers.get("x-request-id")
    try:
        body = decode(response)
    except ValueError:
        return ()
    rows = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return ()
    return [
        VendorError(
            status=response.status_code,
            code=_text(row.get("type")),
            message=_text(row.get("message")) or "",
            field=_text(row.get("field")),
            request_id=request_id,
        )
        for row in rows
        if isinstance(row, dict)
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
