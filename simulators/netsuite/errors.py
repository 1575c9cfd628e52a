"""The vendor's error bodies (vendor documentation: Error shape)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.kit import Answer, VendorError

ERROR_TYPE = "application/vnd.oracle.resource+json; type=error"
"""Content type of every refusal."""

_RFC = "https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec10."

_TITLES = {
    400: ("4.1", "Bad Request"),
    401: ("4.2", "Unauthorized"),
    403: ("4.4", "Forbidden"),
    404: ("4.5", "Not Found"),
    405: ("4.6", "Method Not Allowed"),
    413: ("4.14", "Request Entity Too Large"),
    415: ("4.16", "Unsupported Media Type"),
    429: ("4", "Too Many Requests"),
    500: ("5.1", "Internal Server Error"),
    502: ("5.3", "Bad Gateway"),
    503: ("5.4", "Service Unavailable"),
    504: ("5.5", "Gateway Timeout"),
}

LOGIN = (
    "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at "
    "Setup > Users/Roles > User Management > View Login Audit Trail."
)


@dataclass(frozen=True)
class Detail:
    """One entry of ``o:errorDetails`` with its optional locators."""

    text: str
    code: str = "USER_ERROR"
    path: str | None = None
    query_param: str | None = None
    header: str | None = None

    def as_json(self) -> dict[str, str]:
        """The entry as the vendor prints it."""
        body = {"detail": self.text}
        if self.path is not None:
            body["o:errorPath"] = self.path
        if self.query_param is not None:
            body["o:errorQueryParam"] = self.query_param
        if self.header is not None:
            body["o:errorHeader"] = self.header
        body["o:errorCode"] = self.code
        return body


def body(status: int, *details: Detail, title: str | None = None) -> dict[str, Any]:
    """The error document for a status."""
    section, usual = _TITLES.get(status, ("5.1", "Error") if status >= 500 else ("4", "Error"))
    return {
        "type": _RFC + section,
        "title": title or usual,
        "status": status,
        "o:errorDetails": [d.as_json() for d in details],
    }


def answer(status: int, *details: Detail, title: str | None = None) -> Answer:
    """A refusal as an answer."""
    return Answer(status, body(status, *details, title=title), content_type=ERROR_TYPE)


def refuse(status: int, *details: Detail, title: str | None = None) -> VendorError:
    """A refusal to raise."""
    return VendorError(answer(status, *details, title=title))


def user_error(text: str, path: str | None = None) -> VendorError:
    """400 ``USER_ERROR``: a business rule; the text is the only discriminator."""
    return refuse(400, Detail(f"Error while accessing a resource. {text}", "USER_ERROR", path))


def invalid_content(text: str, path: str | None = None) -> VendorError:
    """400 ``INVALID_CONTENT``: the body is wrong in form, type or reference."""
    return refuse(400, Detail(f"Error while accessing a resource. {text}", "INVALID_CONTENT", path))


def invalid_parameter(text: str, *, query_param: str | None = None, header: str | None = None) -> VendorError:
    """400 ``INVALID_PARAMETER``: a query parameter or header is wrong."""
    return refuse(400, Detail(text, "INVALID_PARAMETER", query_param=query_param, header=header))


def nonexistent(
    text: str = "The record instance does not exist. Provide a valid record instance ID.",
) -> VendorError:
    """404 ``NONEXISTENT_ID``."""
    return refuse(404, Detail(text, "NONEXISTENT_ID"))


def unauthorized() -> VendorError:
    """401 ``INVALID_LOGIN``, the same for every cause (vendor documentation: Expired or bad credentials)."""
    return refuse(401, Detail(LOGIN, "INVALID_LOGIN"))
