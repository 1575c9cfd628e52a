"""What receivers' refusals mean. A message may be sent twice, so nothing here is an unknown outcome: broken
connections and 5xx are tried again. A 4xx is a matter of configuration: nobody's data needs repair."""

from __future__ import annotations

import httpx

from canonical.causes import Cause
from canonical.failures import FailureKind
from connectors.kit.errors import ErrorRule, ErrorTable, VendorError
from connectors.kit.http import decode

WORDS = 200
"""Characters of a receiver's own words that are kept: some answer with a page of HTML."""
_NEW_ADDRESS = "Make a new webhook at the receiver and provide its address; no restart is needed."

RULES: tuple[ErrorRule, ...] = (
    # The receiver names a delay, or half a minute passes (vendor sheet: retry policy).
    ErrorRule(FailureKind.WAIT, Cause.RATE_LIMITED, status=429, retry_after=30),
    # Signature of the address no longer accepted, webhook revoked, channel archived or gone.
    ErrorRule(FailureKind.REPAIR, Cause.CONFIGURATION, status=401, remedy=_NEW_ADDRESS),
    ErrorRule(FailureKind.REPAIR, Cause.CONFIGURATION, status=403, remedy=_NEW_ADDRESS),
    ErrorRule(FailureKind.REPAIR, Cause.CONFIGURATION, status=404, remedy=_NEW_ADDRESS),
    ErrorRule(FailureKind.REPAIR, Cause.CONFIGURATION, status=410, remedy=_NEW_ADDRESS),
    # The form does not fit: usually a Slack address with the Teams form, or a changed flow.
    ErrorRule(
        FailureKind.REPAIR,
        Cause.CONFIGURATION,
        status=400,
        remedy="Check that the form setting (generic, slack, teams) is the receiver's.",
    ),
    # We follow no redirects: the message and the secret in its address would go elsewhere.
    *(
        ErrorRule(FailureKind.REPAIR, Cause.CONFIGURATION, status=status, remedy=_NEW_ADDRESS)
        for status in (301, 302, 303, 307, 308)
    ),
)

TABLE = ErrorTable(RULES, vendor="the webhook's receiver")


def read_errors(response: httpx.Response) -> list[VendorError]:
    """Slack answers plain words, Teams an object ``{"error": {"code", "message"}}``."""
    try:
        body = decode(response)
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        error = body["error"]
        code = error.get("code")
        message = str(error.get("message") or "")[:WORDS]
        return [VendorError(response.status_code, None if code is None else str(code), message)]
    words = response.text.strip()
    code = words if words.replace("_", "").isalnum() and len(words) < 40 else None
    return [VendorError(response.status_code, code, words[:WORDS])]
