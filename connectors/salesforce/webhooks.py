"""Salesforce as a source of webhooks: outbound messages and flow callouts, believed and answered. Pure."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from connectors.kit.webhooks import (
    Answer,
    Delivery,
    Hint,
    Receiver,
    Taken,
    digest,
    refuse_authenticity,
    refuse_form,
    same,
)
from connectors.salesforce.events import ACK, EventRefused, flow_callout, outbound_message


class OutboundMessageReceiver(Receiver):
    """Salesforce outbound messages (SOAP). They are not signed: the secret is the last part of the address
    that Salesforce calls, and the organisation must be a known one. Let only Salesforce's networks in.
    """

    in_address: ClassVar[bool] = True

    organization_ids: tuple[str, ...] = Field(min_length=1)
    """Organisations to believe, 15 or 18 characters."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        if not delivery.key or not same(delivery.key.encode(), self.keys()):
            raise refuse_authenticity("The secret at the end of the address is missing or wrong.")
        try:
            message = outbound_message(delivery.body, self.organization_ids)
        except EventRefused as refused:
            raise refuse_form(f"The outbound message is refused: {refused}.") from None
        hints = tuple(
            Hint(
                digest(message.organization_id, one.id, one.record_id),
                one.object_type if re.fullmatch(r"\w{1,80}", one.object_type) else "unknown",
                one.object_type,
                one.record_id,
                fields=one.fields,
            )
            for one in message.notifications
        )
        return Taken(hints, Answer(200, ACK, "text/xml; charset=utf-8"))


class FlowCalloutReceiver(Receiver):
    """A Salesforce flow's HTTP callout: JSON of ours, with the secret in a header.

    `{"opportunityId": "006...", "orgId": "00D...", "eventId": "unique text"}`.
    """

    organization_ids: tuple[str, ...] = Field(min_length=1)
    """Organisations to believe, 15 or 18 characters."""
    header: str = Field(default="X-Trueup-Secret", pattern=r"^[A-Za-z0-9-]{1,64}$")
    """The header that the named credential sends the secret in."""

    def receive(self, delivery: Delivery) -> Taken:
        """Verify and read one delivery."""
        presented = delivery.headers.get(self.header.lower(), "")
        for key in self.keys():
            if not same(presented.encode("latin-1", "replace"), [key]):
                continue
            secret = key.decode()
            try:
                callout = flow_callout(delivery.body, secret, secret, self.organization_ids)
            except EventRefused as refused:
                raise refuse_form(f"The callout is refused: {refused}.") from None
            return Taken(
                (
                    Hint(
                        digest(callout.organization_id, callout.event_id),
                        "Opportunity",
                        "Opportunity",
                        callout.opportunity_id,
                    ),
                )
            )
        raise refuse_authenticity(f"The shared secret in the header {self.header} is missing or wrong.")
