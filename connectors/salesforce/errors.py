"""What Salesforce's refusals mean for who acts next.

The codes and their statuses are those of the vendor's "Status Codes and Error Responses" page as far as
our fact sheet lists them. A 5xx has no row on purpose: to a write it is an unknown outcome, to a read a
retry, which is what the common table already says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx

from canonical.causes import Cause, Queue
from canonical.failures import FailureKind
from connectors.kit.errors import ErrorRule, ErrorTable, VendorError
from connectors.kit.http import decode

AMBIGUOUS = "MULTIPLE_MATCHES"
"""Our word for status 300, which carries addresses instead of a code."""

RULES: tuple[ErrorRule, ...] = (
    # The token is gone; the session renews it once by itself before this row is ever asked.
    ErrorRule(
        FailureKind.REAUTHORISE,
        Cause.CREDENTIALS_REJECTED,
        code="INVALID_SESSION_ID",
        remedy="Check the External Client App and its run-as user; `trueup doctor` checks the login.",
    ),
    # The organisation's calls of the last 24 hours are used up; the vendor names no delay.
    ErrorRule(
        FailureKind.WAIT,
        Cause.RATE_LIMITED,
        code="REQUEST_LIMIT_EXCEEDED",
        remedy="Nothing to do; if it happens daily, buy API calls or find the integration that uses them up.",
    ),
    # Another transaction holds the row (bulk loads lock parent accounts); nothing was written.
    ErrorRule(FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE, code="UNABLE_TO_LOCK_ROW"),
    # The query ran too long; it is a read, so doing it again is harmless.
    ErrorRule(FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE, code="QUERY_TIMEOUT"),
    # A paging position expired: the whole read starts again.
    ErrorRule(FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE, code="INVALID_QUERY_LOCATOR"),
    # A unique field already holds this value: the record is there.
    ErrorRule(
        FailureKind.CONFLICT,
        Cause.VERSION_CONFLICT,
        code="DUPLICATE_VALUE",
        queue=Queue.MASTER_DATA,
        remedy="Look at the record named in the message; link it instead of creating another.",
    ),
    # A duplicate rule thinks so; a person weighs the candidates.
    ErrorRule(
        FailureKind.CONFLICT,
        Cause.CLIENT_AMBIGUOUS,
        code="DUPLICATES_DETECTED",
        queue=Queue.MASTER_DATA,
        remedy="Merge or link the records found, or set allow_duplicate_rules for this instance.",
    ),
    # The external id is not unique in this organisation: nothing was written.
    ErrorRule(
        FailureKind.CONFLICT,
        Cause.CLIENT_AMBIGUOUS,
        status=300,
        queue=Queue.MASTER_DATA,
        remedy="Several records carry this external id: merge them and tick Unique on the field.",
    ),
    # Field-level security makes a field vanish in exactly this way, so both remedies are named.
    ErrorRule(
        FailureKind.REPAIR,
        Cause.CONFIGURATION,
        code="INVALID_FIELD|INVALID_TYPE",
        remedy="Give the integration user access to the field, or correct the instance's field mapping.",
    ),
    # We build every query; a malformed one is ours.
    ErrorRule(FailureKind.DEFECT, Cause.DEFECT, code="MALFORMED_QUERY"),
    ErrorRule(
        FailureKind.REPAIR,
        Cause.BAD_INPUT,
        code="MALFORMED_ID",
        queue=Queue.SALES,
        remedy="The id does not belong to this organisation; check the record that holds it.",
    ),
    # The firm's own rules on its records: sales operations knows them.
    ErrorRule(
        FailureKind.REPAIR,
        Cause.VENDOR_REFUSED,
        code="REQUIRED_FIELD_MISSING|FIELD_CUSTOM_VALIDATION_EXCEPTION|CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        queue=Queue.SALES,
        remedy="Correct the record in Salesforce so that its rules and flows accept it, then retry.",
    ),
    ErrorRule(
        FailureKind.REPAIR,
        Cause.VENDOR_REFUSED,
        code="STRING_TOO_LONG",
        remedy="Lengthen the field in Salesforce; nothing is cut off silently.",
    ),
    ErrorRule(
        FailureKind.REPAIR,
        Cause.RECORD_VANISHED,
        code="INVALID_CROSS_REFERENCE_KEY",
        queue=Queue.SALES,
        remedy="A record that is referred to is gone or hidden from the integration user.",
    ),
    ErrorRule(
        FailureKind.REPAIR,
        Cause.CREDENTIALS_REJECTED,
        code="INSUFFICIENT_ACCESS_OR_READONLY",
        remedy="Give the integration user edit access to this record and field.",
    ),
    ErrorRule(
        FailureKind.REPAIR,
        Cause.RECORD_VANISHED,
        code="NOT_FOUND|ENTITY_IS_DELETED",
        queue=Queue.SALES,
        remedy="The record is gone; restore it from the recycle bin (15 days) or cancel the saga.",
    ),
)


def error_table(limit_wait_seconds: int) -> ErrorTable:
    """The table with this instance's wait for an exhausted daily limit (seconds)."""
    rules = [
        replace(rule, retry_after=limit_wait_seconds) if rule.code == "REQUEST_LIMIT_EXCEEDED" else rule
        for rule in RULES
    ]
    return ErrorTable(rules, vendor="Salesforce")


def read_errors(response: httpx.Response) -> list[VendorError]:
    """The errors of a refusal: an array from the data API, an object from the token endpoint."""
    try:
        body = decode(response)
    except ValueError:
        return []
    return errors_of(response.status_code, body)


def errors_of(status: int, body: Any) -> list[VendorError]:
    """The errors in a decoded body; used for sub-requests of a composite as well."""
    if status == 300 and isinstance(body, list):
        found = ", ".join(str(item) for item in body)
        return [VendorError(300, AMBIGUOUS, f"several records match: {found}")]
    if isinstance(body, dict):
        if "error" in body:
            code, message = str(body["error"]), str(body.get("error_description") or "")
            return [VendorError(status, code, message)]
        body = [body]
    if not isinstance(body, Sequence) or isinstance(body, str):
        return []
    return [_error(status, item) for item in body if isinstance(item, dict)]


def _error(status: int, item: dict[str, Any]) -> VendorError:
    # Collections say statusCode where single calls say errorCode.
    code = item.get("errorCode") or item.get("statusCode")
    fields = item.get("fields")
    return VendorError(
        status=status,
        code=None if code is None else str(code),
        message=str(item.get("message") or ""),
        field=str(fields[0]) if isinstance(fields, list) and fields else None,
    )
