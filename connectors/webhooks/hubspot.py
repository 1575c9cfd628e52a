"""HubSpot's webhooks: signature version 3. Pure."""

from __future__ import annotations

import base64
import re
from typing import Any

from pydantic import Field

from connectors.kit.webhooks import (
    HINT_LIMIT,
    TOLERANCE_SECONDS,
    Delivery,
    Hint,
    Receiver,
    Taken,
    digest,
    epoch_moment,
    from_epoch,
    in_time,
    parse,
    plain,
    refuse_authenticity,
    refuse_form,
    same,
    sha256_hmac,
    words,
)

_DECODED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""Escapes that HubSpot decodes in the address before it signs (its reference)."""


class HubSpotReceiver(Receiver):
    """HubSpot, signature version 3 over method, address, body and time, by the app's client secret.

    Versions 1 and 2 are not accepted: they sign no time. The address is the gateway's public one, which
    must be configured exactly as HubSpot calls it.
    """

    tolerance_seconds: float = Field(default=TOLERANCE_SECONDS, gt=0, le=3600)
    """How far the signed time may lie from ours; HubSpot names 300."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        presented = delivery.headers.get("x-hubspot-signature-v3", "")
        stamp = delivery.headers.get("x-hubspot-request-timestamp")
        signed_at = from_epoch(stamp, milliseconds=True)
        address = _DECODED.sub(lambda found: chr(int(found[1], 16)), delivery.url)
        message = delivery.method.upper().encode() + address.encode() + delivery.body + (stamp or "").encode()
        # As text: several texts of base64 mean the same bytes.
        expected = [base64.b64encode(sha256_hmac(key, message)) for key in self.keys()]
        if not same(presented.encode("ascii", "replace"), expected):
            raise refuse_authenticity("The signature does not fit method, address, body, time and secret.")
        in_time(signed_at, delivery.at, self.tolerance_seconds)
        events = parse(delivery.body)
        if not isinstance(events, list) or not 0 < len(events) <= HINT_LIMIT:
            raise refuse_form("The body is not a list of events.")
        return Taken(tuple(_hint(event) for event in events))


def _hint(event: Any) -> Hint:
    if not isinstance(event, dict):
        raise refuse_form("An event is not an object.")
    type_ = plain(event.get("subscriptionType"), "subscriptionType")
    record = plain(event.get("objectId"), "objectId")
    # HubSpot does not promise that eventId is unique.
    identity = [str(event.get(name)) for name in ("portalId", "subscriptionId", "objectId", "propertyName")]
    name = words(event.get("propertyName"))
    fields = {name: words(event.get("propertyValue"))} if name else {}
    return Hint(
        digest(type_, *identity, str(event.get("occurredAt"))),
        type_,
        type_.split(".")[0],
        record,
        epoch_moment(event.get("occurredAt")),
        fields,
    )
