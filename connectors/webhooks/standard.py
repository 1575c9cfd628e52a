"""The open standards: Standard Webhooks and CloudEvents over HTTP; NetSuite's scripts use the first. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import Field

from canonical.failures import Unauthorised
from connectors.kit.webhooks import (
    TOLERANCE_SECONDS,
    Delivery,
    Hint,
    Receiver,
    Taken,
    at_pointer,
    digest,
    from_epoch,
    in_time,
    moment,
    parse,
    parse_object,
    plain,
    refuse_authenticity,
    refuse_form,
    same,
    sha256_hmac,
    shared_secret,
)
from connectors.webhooks.finance import DEFAULT_HEADER, HEADER, POINTER

_PREFIX = b"whsec_"
_ID = re.compile(r"[!-~]{1,200}")


def signing_key(secret: bytes) -> bytes:
    """The key behind a secret as Standard Webhooks writes it: base64, often after ``whsec_``.

    Raises:
        Unauthorised: the secret is not one; the message does not show it.
    """
    try:
        text = secret.removeprefix(_PREFIX)
        key = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise Unauthorised(
            "A configured secret is not one of Standard Webhooks.",
            remedy="Provide whsec_ and base64 of 24 to 64 random bytes.",
        )
    return key


def signature(key: bytes, id_: str, timestamp: str, body: bytes) -> bytes:
    """The signature of a message."""
    return sha256_hmac(key, f"{id_}.{timestamp}.".encode() + body)


def verified(delivery: Delivery, secrets: list[bytes], tolerance: float) -> str:
    """The id of a message whose signature fits.

    Raises:
        DeliveryRefused: it does not, or its time is not now.
    """
    id_ = delivery.headers.get("webhook-id", "")
    timestamp = delivery.headers.get("webhook-timestamp")
    signed_at = from_epoch(timestamp)
    if not _ID.fullmatch(id_):
        raise refuse_authenticity("The header webhook-id is missing or malformed.")
    keys = [signing_key(secret) for secret in secrets]
    signatures = (signature(key, id_, timestamp or "", delivery.body) for key in keys)
    # As text: several texts of base64 mean the same bytes.
    expected = [base64.b64encode(one) for one in signatures]
    for one in delivery.headers.get("webhook-signature", "").split(" ")[:10]:
        version, _, text = one.partition(",")
        if version == "v1" and same(text.encode("ascii", "replace"), expected):
            in_time(signed_at, delivery.at, tolerance)
            return id_
    raise refuse_authenticity("No signature in webhook-signature fits id, time, body and secret.")


class StandardReceiver(Receiver):
    """Anything that signs by Standard Webhooks; the secrets are as that standard writes them."""

    tolerance_seconds: float = Field(default=TOLERANCE_SECONDS, gt=0, le=3600)
    """How far the signed time may lie from ours."""
    type_pointer: str = Field(default="/type", pattern=POINTER)
    """JSON pointer to the event's type."""
    record_type_pointer: str = Field(default="/data/type", pattern=POINTER)
    """JSON pointer to the record's type, if the events have one."""
    record_pointer: str = Field(default="/data/id", pattern=POINTER)
    """JSON pointer to the record's id."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        id_ = verified(delivery, self.keys(), self.tolerance_seconds)
        body = parse_object(delivery.body)
        kind = at_pointer(body, self.record_type_pointer)
        return Taken(
            (
                Hint(
                    digest(id_),
                    plain(at_pointer(body, self.type_pointer), self.type_pointer),
                    plain(kind, self.record_type_pointer) if kind is not None else "",
                    plain(at_pointer(body, self.record_pointer), self.record_pointer),
                    moment(body.get("timestamp")),
                ),
            )
        )


class NetSuiteReceiver(StandardReceiver):
    """A script in the customer's NetSuite account, signing by Standard Webhooks with a secret of ours.

    NetSuite itself sends and signs nothing. The script posts
    `{"type": ..., "timestamp": ..., "data": {"type": RECORD TYPE, "id": INTERNAL ID}}`.
    """


class CloudEventsReceiver(Receiver):
    """CloudEvents 1.0 over HTTP, in binary and structured mode. The standard has no signature of its own."""

    proof: Literal["standard-webhooks", "header"] = "standard-webhooks"
    """How a sender proves itself: by the signature of Standard Webhooks, whose id must be the event's, or by
    the secret in a header. In binary mode neither covers the attributes in the `ce-` headers."""
    header: str = Field(default=DEFAULT_HEADER, pattern=HEADER)
    """The header with the secret, for that kind of proof."""
    tolerance_seconds: float = Field(default=TOLERANCE_SECONDS, gt=0, le=3600)
    """How far the signed time may lie from ours."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        id_ = None
        if self.proof == "standard-webhooks":
            id_ = verified(delivery, self.keys(), self.tolerance_seconds)
        else:
            shared_secret(delivery, self.header, self.keys())
        event = _attributes(delivery)
        if event.get("specversion") != "1.0":
            raise refuse_form("Not a CloudEvent of version 1.0.")
        identity, origin = event.get("id"), event.get("source")
        if not (isinstance(identity, str) and identity and isinstance(origin, str) and origin):
            raise refuse_form("id or source is missing.")
        if id_ is not None and id_ != identity:
            raise refuse_authenticity("The signature was made for another event.")
        at = event.get("time")
        if at is not None and moment(at) is None:
            raise refuse_form("time is not a time with a zone.")
        subject = event.get("subject")
        kind, _, record = str(subject or "").rpartition("/")
        return Taken(
            (
                Hint(
                    digest(origin, identity),
                    plain(event.get("type"), "type"),
                    plain(kind, "subject") if kind else "",
                    plain(record, "subject") if subject is not None else "",
                    moment(at),
                ),
            )
        )


def _attributes(delivery: Delivery) -> Mapping[str, Any]:
    media = delivery.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == "application/cloudevents+json":
        return parse_object(delivery.body)
    if media.startswith("application/cloudevents"):
        raise refuse_form("Batches and other formats of CloudEvents are not accepted.")
    if "ce-specversion" not in delivery.headers:
        raise refuse_form("Neither a structured nor a binary CloudEvent.")
    if delivery.body and (media == "application/json" or media.endswith("+json")):
        parse(delivery.body)  # What says it is JSON and is not was cut off on its way.
    names = ("specversion", "id", "source", "type", "subject", "time")
    found = {name: delivery.headers.get(f"ce-{name}") for name in names}
    return {name: unquote(value) for name, value in found.items() if value is not None}
