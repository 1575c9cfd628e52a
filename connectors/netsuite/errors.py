"""What NetSuite's answers mean for who acts next.

Body: ``{"title", "status", "o:errorDetails": [{"detail", "o:errorCode", "o:errorPath"?}]}``. Business
refusals are all ``USER_ERROR`` 400: the text is the only discriminator, and its wording is not documented,
so the patterns are broad and everything else stays a repair with the vendor's own words.
"""

from __future__ import annotations

from typing import Any

import httpx

from canonical.causes import Cause, Queue
from canonical.failures import FailureKind
from connectors.kit.errors import ErrorRule, ErrorTable, VendorError
from connectors.kit.http import decode

IDEMPOTENCY_ERROR = "IDEMPOTENCY_ERROR"
REQUEST_ID_HEADERS = ("X-N-OperationId", "X-NetSuite-Request-Id")
"""Where an answer may name itself for Oracle's support; absent ones are skipped (assumption)."""

_REPAIR, _WAIT, _CONFLICT = FailureKind.REPAIR, FailureKind.WAIT, FailureKind.CONFLICT

RULES = (
    # Concurrency: REST 429, RESTlet and SOAP words seen in shared gateways. No Retry-After is documented.
    ErrorRule(_WAIT, Cause.RATE_LIMITED, status=429, retry_after=5),
    ErrorRule(
        _WAIT,
        Cause.RATE_LIMITED,
        code=r"SSS_REQUEST_LIMIT_EXCEEDED|WS_REQUEST_BLOCKED|ExceededConcurrentRequestLimitFault"
        r"|CONCURRENCY_LIMIT_EXCEEDED",
        retry_after=5,
    ),
    # Credentials: the cause is only visible in the account's Login Audit Trail.
    ErrorRule(
        FailureKind.REAUTHORISE,
        Cause.CREDENTIALS_REJECTED,
        status=401,
        remedy="Look into the account's Login Audit Trail for this integration; "
        "renew its certificate or token.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.CREDENTIALS_REJECTED,
        status=403,
        remedy="Give the integration's role this permission in NetSuite, then retry.",
    ),
    # Accepted earlier (rule 29). The bulk port follows the Location; met anywhere else it is a conflict.
    ErrorRule(_CONFLICT, Cause.VERSION_CONFLICT, code=IDEMPOTENCY_ERROR),
    # A POST with a taken external id or name fails instead of duplicating.
    ErrorRule(_CONFLICT, Cause.VERSION_CONFLICT, code=r"DUP_RCRD|DUP_ENTITY|UNIQUE_CUST_ID_REQD|DUP_ITEM"),
    ErrorRule(
        _CONFLICT,
        Cause.VERSION_CONFLICT,
        code="USER_ERROR",
        text=r"already (exists|been used|in use)|duplicate|must be unique",
    ),
    ErrorRule(
        _CONFLICT, Cause.VERSION_CONFLICT, code=r"RCRD_HAS_BEEN_CHANGED|USER_ERROR", text=r"has been changed"
    ),
    # Periods (no dedicated code in REST).
    ErrorRule(
        _REPAIR,
        Cause.PERIOD_CLOSED,
        status=400,
        text=r"(period.*(closed|locked))|((closed|locked).*period)",
        queue=Queue.BILLING,
        remedy="Open the period in NetSuite or choose a date in an open one, then retry.",
    ),
    # Lines of time, expenses and invoices, located by o:errorPath.
    ErrorRule(
        _REPAIR,
        Cause.WORKER_NOT_IN_ENTITY,
        status=400,
        field="employee",
        text=r"subsidiary",
        queue=Queue.MASTER_DATA,
        remedy="Give the worker a record in the project's entity, or enable intercompany time.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.WORKER_UNKNOWN_IN_ERP,
        status=400,
        field="employee",
        queue=Queue.MASTER_DATA,
        remedy="Create or re-activate the worker in NetSuite, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.PROJECT_CLOSED,
        status=400,
        field=r"(.*\.)?customer",
        text=r"inactive|does not allow|closed",
        queue=Queue.MASTER_DATA,
        remedy="Re-open the project in NetSuite, or move the work to an open one, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.PROJECT_UNKNOWN,
        status=400,
        field=r"(.*\.)?customer",
        queue=Queue.MASTER_DATA,
        remedy="Link the delivery project to the right project of NetSuite, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.EXPENSE_CATEGORY_UNKNOWN,
        status=400,
        field=r"(.*\.)?category",
        queue=Queue.MASTER_DATA,
        remedy="Create the expense category in NetSuite or correct its mapping, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.DIMENSION_MISSING,
        status=400,
        text=r"please enter value.*\b(department|class|location)\b",
        queue=Queue.MASTER_DATA,
        remedy="Set the dimension on the project or the worker, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.DIMENSION_CLOSED,
        status=400,
        field=r"(.*\.)?(department|class|location)",
        queue=Queue.MASTER_DATA,
        remedy="Choose an active department, class or location, then resolve.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.TAX_INPUT_MISSING,
        status=400,
        field=r"(.*\.)?(taxCode|taxItem|nexus|taxDetails.*|taxRegistration.*)",
        queue=Queue.MASTER_DATA,
        remedy="Complete the client's tax registrations or codes in NetSuite, then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.CHANGED_BY_SOMEBODY,
        status=400,
        text=r"already (been )?(invoiced|billed)|not billable|cannot be changed",
        queue=Queue.BILLING,
        remedy="Look at the invoice that holds the line in NetSuite; credit it there or drop the line here.",
    ),
    # Master data, located by o:errorPath.
    ErrorRule(
        _REPAIR,
        Cause.LEGAL_ENTITY_UNKNOWN,
        status=400,
        field=r"(.*\.)?subsidiary(\.id)?",
        queue=Queue.MASTER_DATA,
        remedy="Check the subsidiary mapping and that the customer belongs to this subsidiary, then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.CURRENCY_NOT_HELD_BY_CLIENT,
        status=400,
        field=r"(.*\.)?currency(\.id)?",
        queue=Queue.MASTER_DATA,
        remedy="Add the currency to the customer in NetSuite (or correct the currency mapping), then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.PAYMENT_TERMS_UNKNOWN,
        status=400,
        field=r"(.*\.)?terms(\.id)?",
        queue=Queue.MASTER_DATA,
        remedy="Correct the payment terms mapping, then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.SERVICE_ITEM_MISSING,
        status=400,
        field=r"(.*\.)?item(\.id)?|billingItem(\.id)?",
        queue=Queue.MASTER_DATA,
        remedy="Create the service item in NetSuite or correct its id in the service catalogue, then retry.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.NAME_TOO_LONG,
        status=400,
        field=r"companyName|name|entityId|memo",
        text=r"too long|maximum|length|characters",
        queue=Queue.SALES,
        remedy="Shorten the name, then retry.",
    ),
    # The account's shape: a field that does not exist there is our configuration, not the deal's data.
    ErrorRule(
        _REPAIR,
        Cause.CONFIGURATION,
        code=r"INVALID_CONTENT|INVALID_PARAMETER",
        text=r"unknown|unexpected|does not exist|not exist|invalid (property|field)|not a valid field",
        remedy="Compare the field mapping with the account (`trueup doctor`), correct it, "
        "then retry with the current mapping.",
    ),
    ErrorRule(
        _REPAIR,
        Cause.RECORD_VANISHED,
        code="NONEXISTENT_ID",
        queue=Queue.MASTER_DATA,
        remedy="The record was deleted in NetSuite: restore it or undo the saga.",
    ),
)

TABLE = ErrorTable(rules=RULES, vendor="NetSuite")


def read_errors(response: httpx.Response) -> list[VendorError]:
    """The errors an answer tells, in its order; empty when it has no readable body."""
    try:
        body = decode(response)
    except ValueError:
        return []
    request_id = next((response.headers[h] for h in REQUEST_ID_HEADERS if h in response.headers), None)
    return errors_of(body, response.status_code, request_id)


def errors_of(body: Any, status: int, request_id: str | None = None) -> list[VendorError]:
    """The errors of an error document, as answered directly or as the result of an asynchronous task."""
    if not isinstance(body, dict):
        return []
    details = body.get("o:errorDetails")
    if not isinstance(details, list) or not details:
        words = body.get("detail") or body.get("title")
        return [VendorError(status, None, str(words), None, request_id)] if words else []
    return [
        VendorError(
            status=status,
            code=_text(detail.get("o:errorCode")),
            message=str(detail.get("detail") or body.get("title") or ""),
            field=_text(
                detail.get("o:errorPath") or detail.get("o:errorQueryParam") or detail.get("o:errorHeader")
            ),
            request_id=request_id,
        )
        for detail in details
        if isinstance(detail, dict)
    ]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
