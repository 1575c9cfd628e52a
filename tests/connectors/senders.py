"""The vendors' sides of their webhooks, apart from the receivers: plain hmac, PyJWT, standardwebhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from standardwebhooks import Webhook

from connectors.kit.webhooks import Delivery, Receiver
from wiring.webhooks import receiver_class

NOW = datetime(2026, 11, 29, 9, 30, 0, tzinfo=UTC)
ADDRESS = "https://hooks.acme.example/hooks/src"
SECRET = "s3cret-of-the-vendor-0123456789abcdef"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORG = "00DgK0000000001UAA"
VARIABLE = "TRUEUP_TEST_HOOK_SECRET"
NEXT_VARIABLE = "TRUEUP_TEST_HOOK_SECRET_NEXT"


@dataclass(frozen=True)
class Sender:
    """One vendor, as it delivers ``body`` at ``NOW``."""

    kind: str
    body: bytes
    proof: Callable[[bytes, str, datetime], Mapping[str, str]]
    """Headers that prove a body, by secret and time of sending."""
    hints: tuple[tuple[str, str, str], ...]
    """(type, record type, record id) of what is to come out."""
    options: Mapping[str, Any] = field(default_factory=dict)
    secret: str = SECRET
    signs_body: bool = True
    signs_time: bool = True
    """Whether a delivery ages: an old one is refused."""
    plain_headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ADDRESS
    in_address: bool = False

    def receiver(self, *, both: bool = False) -> Receiver:
        """The receiver as configuration makes it."""
        secrets = [{"env": VARIABLE}, *([{"env": NEXT_VARIABLE}] if both else [])]
        return receiver_class(self.kind).model_validate({"secrets": secrets, **self.options})

    def delivery(self, *, secret: str | None = None, sent: datetime = NOW, **changes: Any) -> Delivery:
        """A delivery; ``changes`` are made after it was signed."""
        secret = self.secret if secret is None else secret
        proof = {} if self.in_address else self.proof(self.body, secret, sent)
        headers = {name.lower(): value for name, value in {**self.plain_headers, **proof}.items()}
        made = Delivery("POST", self.url, headers, self.body, NOW, secret if self.in_address else None)
        return replace(made, **changes)


def install(sender: Sender, *, following: str = "") -> None:
    """Put the secrets where the receiver looks for them."""
    os.environ[VARIABLE] = sender.secret
    os.environ[NEXT_VARIABLE] = following


def _hmac(secret: str, message: bytes) -> Any:
    return hmac.new(secret.encode(), message, hashlib.sha256)


def jira(body: bytes, secret: str, _: datetime) -> Mapping[str, str]:
    return {"X-Hub-Signature": "sha256=" + _hmac(secret, body).hexdigest()}


def asana(body: bytes, secret: str, _: datetime) -> Mapping[str, str]:
    return {"X-Hook-Signature": _hmac(secret, body).hexdigest()}


def hubspot(body: bytes, secret: str, sent: datetime) -> Mapping[str, str]:
    stamp = str(int(sent.timestamp() * 1000))
    # HubSpot decodes these escapes of the address before it signs.
    address = "https://hooks.acme.example/hooks/src?kind=deal&to=a@b"
    signed = base64.b64encode(_hmac(secret, b"POST" + address.encode() + body + stamp.encode()).digest())
    return {"X-HubSpot-Signature-v3": signed.decode(), "X-HubSpot-Request-Timestamp": stamp}


def monday(_: bytes, secret: str, sent: datetime) -> Mapping[str, str]:
    at = int(sent.timestamp())
    claims = {"accountId": 5, "userId": 7, "aud": ADDRESS, "iat": at, "exp": at + 300}
    return {"Authorization": jwt.encode(claims, secret, algorithm="HS256")}


def intacct(body: bytes, secret: str, sent: datetime) -> Mapping[str, str]:
    claims = {
        "iss": "Sage Intacct",
        "payload_signature": hashlib.sha256(body).hexdigest(),
        "exp": int((sent + timedelta(hours=1)).timestamp()),
    }
    token = jwt.encode(claims, secret, algorithm="HS256")
    return {"X-IA-Sage-Signature": token, "X-IdempotencyKey": "c0ffee"}


def header(_: bytes, secret: str, __: datetime) -> Mapping[str, str]:
    return {"X-Trueup-Secret": secret}


def standard(id_: str) -> Callable[[bytes, str, datetime], Mapping[str, str]]:
    def sign(body: bytes, secret: str, sent: datetime) -> Mapping[str, str]:
        return {
            "webhook-id": id_,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": Webhook(secret).sign(id_, sent, body.decode()),
        }

    return sign


def nothing(_: bytes, __: str, ___: datetime) -> Mapping[str, str]:
    return {}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "ev-1",
    "source": "/crm/eu",
    "type": "deal.won",
    "subject": "Opportunity/006gK0000000001QAA",
    "time": "2026-11-29T09:29:58Z",
}
OUTBOUND = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
    '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
    f"<OrganizationId>{ORG}</OrganizationId><ActionId>04kgK0000000001AAA</ActionId>"
    "<EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/64.0</EnterpriseUrl>"
    "<PartnerUrl>https://acme.my.salesforce.com/services/Soap/u/64.0</PartnerUrl>"
    '<Notification><Id>04lgK0000000001AAA</Id><sObject xsi:type="sf:Opportunity" '
    'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>006gK0000000001</sf:Id>'
    "<sf:StageName>Closed Won</sf:StageName></sObject></Notification>"
    "</notifications></soapenv:Body></soapenv:Envelope>"
).encode()

SENDERS: dict[str, Sender] = {
    "salesforce-outbound-message": Sender(
        "salesforce-outbound-message", OUTBOUND, nothing,
        (("Opportunity", "Opportunity", "006gK0000000001QAA"),),
        options={"organization_ids": [ORG]}, signs_body=False, signs_time=False, in_address=True,
    ),
    "salesforce-flow": Sender(
        "salesforce-flow",
        _json({"opportunityId": "006gK0000000001", "orgId": ORG, "eventId": "e-1"}), header,
        (("Opportunity", "Opportunity", "006gK0000000001QAA"),),
        options={"organization_ids": [ORG]}, signs_body=False, signs_time=False,
    ),
    "jira": Sender(
        "jira",
        _json({"timestamp": 1793491200000, "webhookEvent": "jira:issue_updated", "issue": {"id": "10002"}}),
        jira, (("jira.issue_updated", "issue", "10002"),), signs_time=False,
    ),
    "asana": Sender(
        "asana",
        _json({"events": [
            {"action": "changed", "created_at": "2026-11-29T09:29:00.000Z",
             "resource": {"gid": "1200", "resource_type": "task"}, "change": {"field": "completed"}},
            {"action": "added", "resource": {"gid": "1201", "resource_type": "story"}},
        ]}),
        asana, (("task.changed", "task", "1200"), ("story.added", "story", "1201")), signs_time=False,
    ),
    "hubspot": Sender(
        "hubspot",
        _json([{"eventId": 100, "subscriptionId": 5, "portalId": 62515, "occurredAt": 1793491200000,
                "subscriptionType": "deal.propertyChange", "attemptNumber": 0, "objectId": 9001,
                "propertyName": "dealstage", "propertyValue": "closedwon"}]),
        hubspot, (("deal.propertyChange", "deal", "9001"),),
        url="https://hooks.acme.example/hooks/src?kind=deal&to=a%40b",
    ),
    "monday": Sender(
        "monday",
        _json({"event": {"type": "change_column_value", "boardId": 4, "pulseId": 77, "columnId": "status",
                         "triggerTime": "2026-11-29T09:29:59Z", "triggerUuid": "b5ed2e17c530f43668de1301"}}),
        monday, (("change_column_value", "item", "77"),), options={"audience": ADDRESS}, signs_body=False,
    ),
    "netsuite": Sender(
        "netsuite",
        _json({"type": "invoice.changed", "timestamp": "2026-11-29T09:29:59Z",
               "data": {"type": "invoice", "id": 4711}}),
        standard("ns-4711-1"), (("invoice.changed", "invoice", "4711"),), secret=WHSEC,
    ),
    "sage-intacct": Sender(
        "sage-intacct",
        _json({"object": "accounts-receivable/invoice", "key": "88", "id": "INV-88"}), intacct,
        (("accounts-receivable/invoice", "accounts-receivable/invoice", "88"),),
        options={"type_pointer": "/object", "record_pointer": "/key"},
    ),
    "dynamics-sales": Sender(
        "dynamics-sales",
        _json({"MessageName": "Update", "PrimaryEntityName": "opportunity", "Depth": 1,
               "PrimaryEntityId": "7D1E3C2A-0000-4000-8000-00000000000A",
               "OperationId": "11111111-2222-3333-4444-555555555555",
               "InputParameters": [{"key": "Target", "value": {"Attributes": [
                   {"key": "statecode", "value": {"Value": 1}}]}}]}),
        header, (("opportunity.Update", "opportunity", "7d1e3c2a-0000-4000-8000-00000000000a"),),
        signs_body=False, signs_time=False,
    ),
    "dynamics-finance": Sender(
        "dynamics-finance",
        _json({"BusinessEventId": "CustFreeTextInvoicePostedBusinessEvent", "ControlNumber": "5637166326",
               "EventId": "1F9A5B7E-0000-4000-8000-000000000001", "InvoiceId": "FTI-00000021",
               "EventTime": "/Date(1793491200000)/", "MajorVersion": 0, "MinorVersion": 0}),
        header,
        (("CustFreeTextInvoicePostedBusinessEvent",) * 2 + ("FTI-00000021",),),
        options={"record_field": "InvoiceId"}, signs_body=False, signs_time=False,
    ),
    "acumatica": Sender(
        "acumatica",
        _json({"Inserted": [{"RefNbr": "AR000123"}, {"RefNbr": "AR000124"}],
               "Deleted": [{"RefNbr": "AR000123"}],
               "Query": "Invoice Changes", "CompanyId": "Acme", "TimeStamp": 637938401894355258,
               "Id": "d4b9e0a1-0000-4000-8000-0000000000aa", "AdditionalInfo": {}}),
        header,
        tuple(("Invoice-Changes", "Invoice-Changes", number) for number in ("AR000123", "AR000124")),
        options={"record_field": "RefNbr"}, signs_body=False, signs_time=False,
    ),
    "standard-webhooks": Sender(
        "standard-webhooks",
        _json({"type": "invoice.paid", "timestamp": "2026-11-29T09:29:59Z", "data": {"id": "in_1"}}),
        standard("msg_1"), (("invoice.paid", "", "in_1"),), secret=WHSEC,
    ),
    "cloudevents structured": Sender(
        "cloudevents", _json(CLOUD_EVENT), standard("ev-1"),
        (("deal.won", "Opportunity", "006gK0000000001QAA"),), secret=WHSEC,
        plain_headers={"Content-Type": "application/cloudevents+json; charset=utf-8"},
    ),
    "cloudevents binary": Sender(
        "cloudevents", _json({"amount": "1.00"}), standard("ev-1"),
        (("deal.won", "Opportunity", "006gK0000000001QAA"),), secret=WHSEC,
        plain_headers={
            "Content-Type": "application/json",
            **{f"ce-{name}": str(value) for name, value in CLOUD_EVENT.items()},
        },
    ),
    "cloudevents by header": Sender(
        "cloudevents", _json(CLOUD_EVENT), header, (("deal.won", "Opportunity", "006gK0000000001QAA"),),
        options={"proof": "header"}, signs_body=False, signs_time=False,
        plain_headers={"Content-Type": "application/cloudevents+json"},
    ),
}  # fmt: skip
"""By case: the vendor, or the vendor and how it sends."""
