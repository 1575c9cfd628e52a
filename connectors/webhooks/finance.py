"""Webhooks of ERPs that are no connected systems yet: Sage Intacct, Dynamics 365, Acumatica. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pydantic import Field

from connectors.kit.webhooks import (
    HINT_LIMIT,
    Delivery,
    Hint,
    Receiver,
    Taken,
    at_pointer,
    digest,
    parse_object,
    plain,
    refuse_authenticity,
    refuse_form,
    same,
    shared_secret,
    token,
    words,
)

POINTER = r"^(/[^/]+)+$"
HEADER = r"^[A-Za-z0-9-]{1,64}$"
DEFAULT_HEADER = "X-Trueup-Secret"
ISSUER = "Sage Intacct"


class IntacctReceiver(Receiver):
    """Sage Intacct: `X-IA-Sage-Signature`, a JWT (HS256, client secret) with the body's digest.

    The form of the body depends on the trigger, so configuration says where type and record stand. No
    audience is documented; it is checked where one is configured.
    """

    type_pointer: str = Field(pattern=POINTER)
    """JSON pointer to the kind of change, for example `/object`."""
    record_pointer: str = Field(pattern=POINTER)
    """JSON pointer to the record's key, for example `/key`."""
    audience: str | None = None
    """What the token's `aud` must be; not checked when empty, since Sage documents none."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        presented = delivery.headers.get("x-ia-sage-signature")
        claims = token(presented, self.keys(), delivery.at, issuer=ISSUER, audience=self.audience,
                       require=("iss", "exp", "payload_signature"))  # fmt: skip
        shown = claims["payload_signature"]
        expected = hashlib.sha256(delivery.body).hexdigest().encode()
        if not isinstance(shown, str) or not same(shown.lower().encode(), [expected]):
            raise refuse_authenticity("The token does not belong to this body.")
        body = parse_object(delivery.body)
        type_ = plain(at_pointer(body, self.type_pointer), self.type_pointer)
        record = plain(at_pointer(body, self.record_pointer), self.record_pointer)
        # The idempotency header is not signed; the digest is.
        return Taken((Hint(digest(delivery.body), type_, type_, record),))


class DataverseReceiver(Receiver):
    """Dynamics 365 Sales and Dataverse: a shared secret in a header; there is no signature."""

    header: str = Field(default=DEFAULT_HEADER, pattern=HEADER)
    """The key of the HttpHeader authentication that the service endpoint was registered with."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        shared_secret(delivery, self.header, self.keys())
        body = parse_object(delivery.body)
        entity = plain(body.get("PrimaryEntityName"), "PrimaryEntityName")
        record = plain(body.get("PrimaryEntityId"), "PrimaryEntityId").lower()
        message = plain(body.get("MessageName"), "MessageName")
        operation = plain(body.get("OperationId"), "OperationId")
        return Taken(
            (
                Hint(
                    digest(operation, entity, record, message),
                    f"{entity}.{message}",
                    entity,
                    record,
                    fields=_attributes(body),
                ),
            )
        )


def _attributes(body: Any) -> dict[str, str]:
    """The changed attributes; absent from bodies above the vendor's 256 KB."""
    found: dict[str, str] = {}
    parameters = body.get("InputParameters")
    for parameter in parameters if isinstance(parameters, list) else []:
        if not isinstance(parameter, dict) or parameter.get("key") != "Target":
            continue
        pairs = at_pointer(parameter, "/value/Attributes")
        for pair in pairs if isinstance(pairs, list) else []:
            if isinstance(pair, dict) and isinstance(pair.get("key"), str):
                value = pair.get("value")
                found[pair["key"]] = words(value.get("Value") if isinstance(value, dict) else value)
    return found


class BusinessEventReceiver(Receiver):
    """Dynamics 365 Finance business events to HTTPS: a shared secret in a header; there is no signature."""

    header: str = Field(default=DEFAULT_HEADER, pattern=HEADER)
    """The header that the endpoint sends the secret in."""
    record_field: str = Field(min_length=1)
    """The event's own field with the record's key, for example `InvoiceId`: each kind of event has others."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        shared_secret(delivery, self.header, self.keys())
        body = parse_object(delivery.body)
        type_ = plain(body.get("BusinessEventId"), "BusinessEventId")
        record = plain(body.get(self.record_field), self.record_field)
        return Taken((Hint(plain(body.get("EventId"), "EventId"), type_, type_, record),))


class AcumaticaReceiver(Receiver):
    """Acumatica push notifications: a shared secret in a header; there is no signature."""

    header: str = Field(default=DEFAULT_HEADER, pattern=HEADER)
    """The custom header of the notification destination."""
    record_field: str = Field(min_length=1)
    """The column of the notification's inquiry with the record's key, for example `RefNbr`."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        shared_secret(delivery, self.header, self.keys())
        body = parse_object(delivery.body)
        query = body.get("Query")
        if not isinstance(query, str) or not 0 < len(query) <= 100:
            raise refuse_form("Query is missing.")
        type_ = re.sub(r"[^A-Za-z0-9]+", "-", query).strip("-") or "query"
        identity = plain(body.get("Id"), "Id")
        rows: dict[str, None] = {}
        for part in ("Inserted", "Deleted"):
            listed = body.get(part, [])
            if not isinstance(listed, list):
                raise refuse_form(f"{part} is not a list.")
            for row in listed:
                value = row.get(self.record_field) if isinstance(row, dict) else None
                rows[plain(value, self.record_field)] = None
        if len(rows) > HINT_LIMIT:
            raise refuse_form(f"More than {HINT_LIMIT} records in one notification.")
        # A changed row is told as deleted and inserted: one hint for each record.
        return Taken(tuple(Hint(digest(identity, query, row), type_, type_, row) for row in rows))
