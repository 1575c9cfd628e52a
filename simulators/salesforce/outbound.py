"""What the organisation sends by itself: outbound messages (SOAP, redelivered) and Flow callouts (JSON,
once).

Source: vendor documentation, "Understanding Outbound Messaging", "Understanding Notifications",
"Understanding the Outbound Messaging WSDL": 1 to 100 notifications a message, at least once, in no order,
repeated with growing pauses for up to 24 hours until ``<Ack>true</Ack>``; a repetition carries the same
notification ids and the record's latest values. The real pauses reach two hours; here they are settings, in
seconds.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from simulators.kit import FaultKind, Faults
from simulators.salesforce import ids
from simulators.salesforce.records import Records

MAX_NOTIFICATIONS = 100
NAMESPACE = "http://soap.sforce.com/2005/09/outbound"
_TIMEOUT = 10.0


@dataclass
class Message:
    """One message on its way."""

    id: str
    url: str
    notifications: list[tuple[str, str]]
    """(notification id, record id)."""
    ca_file: str | None = None
    attempts: int = 0
    acked: bool = False
    given_up: bool = False
    status: int | None = None
    problem: str | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def as_json(self) -> dict[str, Any]:
        """How it stands."""
        return {
            "id": self.id,
            "url": self.url,
            "notifications": [{"id": n, "record": r} for n, r in self.notifications],
            "attempts": self.attempts,
            "acked": self.acked,
            "given_up": self.given_up,
            "last_status": self.status,
            "last_problem": self.problem,
        }


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Outbound:
    """Sends from threads of its own, so that a slow receiver never blocks the simulator."""

    def __init__(self, world: Records, faults: Faults, lock: threading.RLock) -> None:
        self.world = world
        self.faults = faults
        self.lock = lock
        self.messages: list[Message] = []
        self.callouts: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._held: Message | None = None

    def clear(self) -> None:
        """Stop everything on its way and forget it."""
        self._stop.set()
        self._stop = threading.Event()
        self.messages = []
        self.callouts = []
        self._held = None

    def send(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        """Start delivering ``{"url", "opportunity_ids", "ca_file"?}``; more than 100 records make several
        messages.

        Raises:
            ValueError: not a loopback address, no ids, or an unknown opportunity.
        """
        url, wanted = _loopback(order["url"]), self._known(order)
        settings, made = self.world.settings, []
        for start in range(0, len(wanted), MAX_NOTIFICATIONS):
            number = self.world.store.number
            pairs = [
                (ids.make("04l", number("notification")), i)
                for i in wanted[start : start + MAX_NOTIFICATIONS]
            ]
            message = Message(str(uuid.uuid4()), url, pairs, order.get("ca_file"))
            self.messages.append(message)
            made.append(message.as_json())
            raw = self.envelope(message).encode()
            if self.faults.take("POST", url, raw, FaultKind.DUPLICATE_EVENT):
                self._start(message, settings, copies=2)
            elif self._held is None and self.faults.take("POST", url, raw, FaultKind.REORDER_EVENT):
                self._held = message
                continue
            else:
                self._start(message, settings)
            if self._held is not None:
                held, self._held = self._held, None
                self._start(held, settings, behind=message)
        return made

    def call_out(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        """Start one JSON callout a record: ``{"url", "opportunity_ids", "headers"?, "ca_file"?}``. Never
        repeated.

        Raises:
            ValueError: not a loopback address, no ids, or an unknown opportunity.
        """
        url, wanted = _loopback(order["url"]), self._known(order)
        made = []
        for id_ in wanted:
            event = {
                "opportunityId": id_,
                "orgId": self.world.settings["organization_id"],
                "eventId": str(uuid.uuid4()),
            }
            entry: dict[str, Any] = {**event, "url": url, "status": None, "problem": None, "done": False}
            self.callouts.append(entry)
            made.append(dict(entry))
            headers = {"Content-Type": "application/json", **order.get("headers", {})}
            times = (
                2
                if self.faults.take("POST", url, json.dumps(event).encode(), FaultKind.DUPLICATE_EVENT)
                else 1
            )
            work = self._callout_worker(
                url, json.dumps(event).encode(), headers, order.get("ca_file"), entry, times
            )
            threading.Thread(target=work, daemon=True).start()
        return made

    def as_json(self) -> dict[str, Any]:
        """Every message and callout, oldest first."""
        return {"messages": [m.as_json() for m in self.messages], "callouts": list(self.callouts)}

    def _known(self, order: dict[str, Any]) -> list[str]:
        wanted = []
        for given in order["opportunity_ids"]:
            id_ = ids.normal(given)
            if id_ is None or self.world.get("Opportunity", id_) is None:
                raise ValueError(f"no opportunity {given}")
            wanted.append(id_)
        if not wanted:
            raise ValueError("opportunity_ids is empty")
        return wanted

    # --- sending ----------------------------------------------------------------------------------

    def _start(
        self, message: Message, settings: dict[str, Any], *, copies: int = 1, behind: Message | None = None
    ) -> None:
        stop = self._stop
        pause, longest = (
            float(settings["outbound_retry_seconds"]),
            float(settings["outbound_retry_max_seconds"]),
        )
        left = float(settings["outbound_give_up_seconds"])

        def deliver(pause: float = pause, left: float = left) -> None:
            if behind is not None:
                behind.finished.wait(_TIMEOUT)
            for _ in range(copies - 1):
                self._attempt(message)
            while not stop.is_set() and not (self._attempt(message) or message.acked):
                if left <= 0:
                    message.given_up = True
                    break
                wait = min(pause, longest, left)
                stop.wait(wait)
                pause, left = pause * 2, left - wait
            message.finished.set()

        threading.Thread(target=deliver, name=f"outbound-{message.id}", daemon=True).start()

    def _attempt(self, message: Message) -> bool:
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}
        body = self.envelope(message).encode()
        message.attempts += 1
        message.status, message.problem, answer = post(message.url, body, headers, message.ca_file)
        if message.status == 200 and _acknowledged(answer):
            message.acked = True
        return message.acked

    def _callout_worker(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        ca_file: str | None,
        entry: dict[str, Any],
        times: int,
    ) -> Callable[[], None]:
        def work() -> None:
            for _ in range(times):
                entry["status"], entry["problem"], _answer = post(url, body, headers, ca_file)
            entry["done"] = True

        return work

    def envelope(self, message: Message) -> str:
        """The SOAP message with the records' values as they are now. No SessionId: it is no longer sent."""
        settings = self.world.settings
        with self.lock:
            parts = [self._notification(n, r) for n, r in message.notifications]
        base = settings["instance_url"] or "https://acme.my.salesforce.com"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f'<soapenv:Body><notifications xmlns="{NAMESPACE}">'
            f"<OrganizationId>{settings['organization_id']}</OrganizationId>"
            f"<ActionId>{ids.make('04k', 1)}</ActionId>"
            '<SessionId xsi:nil="true"/>'
            f"<EnterpriseUrl>{escape(base)}/services/Soap/c/64.0</EnterpriseUrl>"
            f"<PartnerUrl>{escape(base)}/services/Soap/u/64.0</PartnerUrl>"
            f"{''.join(parts)}</notifications></soapenv:Body></soapenv:Envelope>"
        )

    def _notification(self, notification: str, id_: str) -> str:
        record = self.world.get("Opportunity", id_) or {}
        shown = {"Id": id_, **{f: record.get(f) for f in self.world.settings["outbound_fields"] if f != "Id"}}
        values = "".join(f"<sf:{n}>{escape(_xml(v))}</sf:{n}>" for n, v in shown.items() if v is not None)
        return (
            f"<Notification><Id>{notification}</Id>"
            '<sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
            f"{values}</sObject></Notification>"
        )


def _xml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text.replace("+0000", "Z") if text.endswith("+0000") else text


def _loopback(url: str) -> str:
    """Only this machine is ever called."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        fine = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        fine = False
    if parts.scheme not in ("http", "https") or not fine:
        raise ValueError(f"only loopback addresses are called, not {url!r}")
    return url


def _acknowledged(body: bytes) -> bool:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return False
    return any(e.tag == f"{{{NAMESPACE}}}Ack" and (e.text or "").strip() == "true" for e in root.iter())


def _opener(ca_file: str | None) -> OpenerDirector:
    context = ssl.create_default_context(cafile=ca_file)
    return build_opener(_NoRedirect, ProxyHandler({}), HTTPSHandler(context=context))


def post(
    url: str, body: bytes, headers: dict[str, str], ca_file: str | None
) -> tuple[int | None, str | None, bytes]:
    """One POST: (status, problem, body). No redirects, no proxies."""
    request = Request(url, data=body, headers=headers, method="POST")
    try:
        with _opener(ca_file).open(request, timeout=_TIMEOUT) as answer:
            return answer.status, None, answer.read()
    except HTTPError as bad:
        with bad:
            return bad.code, str(bad.reason), b""
    except (URLError, OSError) as bad:
        return None, str(bad), b""
