"""Events that Salesforce sends to us: outbound messages (SOAP) and flow callouts (JSON). Pure.

Neither is signed. An outbound message is believed for its organisation id behind a secret path; a flow
callout for a shared secret in a header. Either is only a hint: the deal is read again by REST. The vendor
repeats an outbound message for 24 hours until it is acknowledged, in any order, with the record's latest
values; ``Notification.id`` stays the same and is what to recognise repetitions by.

XML is parsed by defusedxml after refusing document types and entities, which SOAP forbids anyway and which
are the way to make a small message expand without bounds.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from defusedxml import DefusedXmlException, ElementTree

from connectors.salesforce.ids import record_id

OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
SIZE_LIMIT = 1_000_000
"""Bytes of a message: 100 notifications of some kilobytes each."""
NOTIFICATION_LIMIT = 100
"""Notifications of one message (vendor: "Understanding Notifications")."""

ACK = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Body>'
    f'<notificationsResponse xmlns="{OUTBOUND}"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
).encode()
"""The answer, with status 200 and content type text/xml, that stops the vendor's repetitions."""


class EventRefused(ValueError):
    """Not an event of ours: answer 4xx and do nothing. Carries nothing of the message."""


@dataclass(frozen=True)
class Notification:
    """One changed record. ``fields`` are the values at sending time, by API name; hints only."""

    id: str
    object_type: str
    record_id: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class OutboundMessage:
    """A verified message."""

    organization_id: str
    action_id: str
    notifications: tuple[Notification, ...]


@dataclass(frozen=True)
class FlowCallout:
    """A verified JSON hint; ``event_id`` is what to recognise repetitions by."""

    event_id: str
    organization_id: str
    opportunity_id: str


def outbound_message(raw: bytes, organization_ids: Iterable[str]) -> OutboundMessage:
    """Parse and verify an outbound message.

    Args:
        raw: the request's body.
        organization_ids: whom to believe, 15 or 18 characters.

    Raises:
        EventRefused: not an outbound message, or of another organisation.
    """
    body = _parse(raw).find(f"{{{_SOAP}}}Body/{{{OUTBOUND}}}notifications")
    if body is None:
        raise EventRefused("no outbound message in the envelope")
    organization = _organization(body.findtext(f"{{{OUTBOUND}}}OrganizationId"), organization_ids)
    notifications = tuple(_notification(item) for item in body.findall(f"{{{OUTBOUND}}}Notification"))
    if not 0 < len(notifications) <= NOTIFICATION_LIMIT:
        raise EventRefused(f"{len(notifications)} notifications in one message")
    return OutboundMessage(organization, body.findtext(f"{{{OUTBOUND}}}ActionId") or "", notifications)


def flow_callout(
    raw: bytes, presented: str | None, secret: str, organization_ids: Iterable[str]
) -> FlowCallout:
    """Parse and verify ``{"opportunityId", "orgId", "eventId"}`` from a flow's HTTP callout.

    Args:
        raw: the request's body.
        presented: the shared secret as the request's header carries it.
        secret: the shared secret.
        organization_ids: whom to believe.

    Raises:
        EventRefused: wrong secret or organisation, or not this form.
    """
    if not secret or not hmac.compare_digest((presented or "").encode(), secret.encode()):
        raise EventRefused("wrong or missing shared secret")
    if len(raw) > SIZE_LIMIT:
        raise EventRefused("too large")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise EventRefused("not JSON") from None
    if not isinstance(body, dict):
        raise EventRefused("not a JSON object")
    organization = _organization(str(body.get("orgId") or ""), organization_ids)
    deal = record_id(str(body.get("opportunityId") or ""))
    event = str(body.get("eventId") or "")
    if deal is None or not event:
        raise EventRefused("opportunityId or eventId is missing or malformed")
    return FlowCallout(event, organization, deal)


def _parse(raw: bytes) -> Element:
    if len(raw) > SIZE_LIMIT:
        raise EventRefused("too large")
    try:
        words = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Any other encoding could hide a document type from the check below.
        raise EventRefused("not UTF-8") from None
    declared = re.match(r"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)", words)
    if declared and declared[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise EventRefused("not UTF-8")
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", words, re.IGNORECASE):
        raise EventRefused("document types and entities are not accepted")
    try:
        return ElementTree.fromstring(
            words.encode(), forbid_dtd=True, forbid_entities=True, forbid_external=True
        )
    except (ElementTree.ParseError, DefusedXmlException):
        raise EventRefused("not well-formed XML") from None


def _organization(presented: str | None, believed: Iterable[str]) -> str:
    id_ = record_id((presented or "").strip())
    if id_ is None or id_ not in {record_id(one) for one in believed}:
        raise EventRefused("of an organisation that is not configured")
    return id_


def _notification(item: Element) -> Notification:
    subject = item.find(f"{{{OUTBOUND}}}sObject")
    if subject is None:
        raise EventRefused("a notification without a record")
    # Fields are in the object's own namespace (urn:sobject.enterprise.soap.sforce.com); only names matter.
    fields = {child.tag.rpartition("}")[2]: child.text or "" for child in subject}
    id_ = record_id(fields.get("Id", ""))
    notification = item.findtext(f"{{{OUTBOUND}}}Id") or ""
    if id_ is None or not notification:
        raise EventRefused("a notification without an id")
    type_ = subject.get(_XSI_TYPE, "").rpartition(":")[2]
    return Notification(notification, type_, id_, fields)
