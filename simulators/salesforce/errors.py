"""The vendor's error bodies: arrays for the data API, objects for OAuth, ``statusCode`` items in collections.

Source: vendor documentation, "Status Codes and Error Responses"; "Update Records Using sObject Collections".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulators.kit import Answer, VendorError

JSON = "application/json;charset=UTF-8"


class RowError(Exception):
    """One record was refused. Becomes an error array for a single call and an item in a collection."""

    def __init__(self, code: str, message: str, fields: Sequence[str] = (), status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = list(fields)
        self.status = status

    def answer(self) -> Answer:
        """The whole-call form: an array of one error."""
        entry = {"message": self.message, "errorCode": self.code, "fields": self.fields}
        return Answer(self.status, [entry], content_type=JSON)

    def item(self) -> dict[str, Any]:
        """The form inside a collection's result: ``statusCode`` instead of ``errorCode``."""
        return {"statusCode": self.code, "message": self.message, "fields": self.fields}


class Ambiguous(Exception):
    """An external id matches several records: answered 300 with their URLs, nothing is written."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"{len(ids)} records match")
        self.ids = list(ids)


def refusal(status: int, code: str, message: str) -> VendorError:
    """A refusal of a whole call (no ``fields`` member: it is not about a record)."""
    return VendorError(Answer(status, [{"message": message, "errorCode": code}], content_type=JSON))


def not_found(message: str = "The requested resource does not exist") -> VendorError:
    """404 for an unknown resource, object, record or external-id field."""
    return refusal(404, "NOT_FOUND", message)


def malformed_json(message: str) -> VendorError:
    """400 for a body that is not the JSON the resource expects."""
    return refusal(400, "JSON_PARSER_ERROR", message)


def oauth(error: str, description: str, status: int = 400) -> VendorError:
    """An OAuth refusal: an object, not an array."""
    body = {"error": error, "error_description": description}
    return VendorError(Answer(status, body, content_type=JSON))
