"""The Salesforce simulator: settings, control calls, routing, faults in the vendor's words."""

from __future__ import annotations

import re
import threading
from typing import Any

from simulators.kit import Answer, Call, Simulator, VendorError
from simulators.kit.app import Receive, Scope, Send
from simulators.salesforce import geography, ids, seeding
from simulators.salesforce.auth import Auth
from simulators.salesforce.batches import Batches
from simulators.salesforce.bodies import changes
from simulators.salesforce.catalogue import Catalogue
from simulators.salesforce.composite import Composite
from simulators.salesforce.errors import JSON, Ambiguous, RowError, not_found
from simulators.salesforce.limits import Limits
from simulators.salesforce.outbound import Outbound
from simulators.salesforce.query import Engine
from simulators.salesforce.records import Records
from simulators.salesforce.request import Request, from_call
from simulators.salesforce.rows import Rows, refused

FIRST_VERSION = 31
LAST_VERSION = 68

STAGES: dict[str, dict[str, Any]] = {
    name: {"closed": closed, "won": won, "probability": probability, "forecast": forecast}
    for name, closed, won, probability, forecast in (
        ("Prospecting", False, False, 10, "Pipeline"),
        ("Qualification", False, False, 10, "Pipeline"),
        ("Needs Analysis", False, False, 20, "Pipeline"),
        ("Value Proposition", False, False, 50, "Pipeline"),
        ("Proposal/Price Quote", False, False, 75, "Best Case"),
        ("Negotiation/Review", False, False, 90, "Commit"),
        ("Closed Won", True, True, 100, "Closed"),
        ("Closed Lost", True, False, 0, "Omitted"),
    )
}


def defaults() -> dict[str, Any]:
    """The settings of a fresh organisation; the README explains each."""
    return {
        # Identity and authentication.
        "organization_id": ids.make("00D", 1),
        "sandbox": False,
        "client_id": "sim-salesforce-client",
        "client_secret": "sim-salesforce-secret",
        "client_credentials_enabled": True,
        "run_as": {
            "Id": ids.make("005", 1),
            "Username": "integration@acme.example",
            "Email": "integration@acme.example",
            "FirstName": "Integration",
            "LastName": "User",
        },
        "approved_users": ["integration@acme.example"],
        "jwt_certificate": None,
        "jwt_audiences": ["https://login.salesforce.com", "https://test.salesforce.com"],
        "jwt_max_ahead_seconds": 300,
        "token_lifetime_seconds": 7200,
        "token_sliding": False,
        "instance_url": None,
        "token_host": None,
        "data_host": None,
        # Features.
        "multi_currency": False,
        "corporate_currency": "USD",
        "currencies": {"USD": {"ConversionRate": 1, "DecimalPlaces": 2}},
        "state_country_picklists": False,
        "countries": dict(geography.COUNTRIES),
        "states": {k: dict(v) for k, v in geography.STATES.items()},
        "opportunity_stages": {k: dict(v) for k, v in STAGES.items()},
        "hidden_fields": {},
        "read_only_objects": [],
        # Rules.
        "duplicate_rules": {},
        "validation_rules": [],
        "locked_rows": {},
        "honour_if_unmodified_since": False,
        # Limits and paging.
        "api_limit": 100_000,
        "api_used": 0,
        "page_size": 2000,
        "page_size_min": 200,
        "page_size_max": 2000,
        "query_locator_seconds": 172_800,
        "stamp_precision": "millisecond",
        # Outbound messages.
        "outbound_fields": [
            "Id",
            "Name",
            "StageName",
            "AccountId",
            "Amount",
            "CloseDate",
            "IsWon",
            "SystemModstamp",
        ],
        "outbound_retry_seconds": 0.2,
        "outbound_retry_max_seconds": 5.0,
        "outbound_give_up_seconds": 30.0,
    }


class Salesforce(Simulator):
    """A stateful Salesforce organisation."""

    name = "salesforce"

    def __init__(self) -> None:
        super().__init__()
        self.settings.update(defaults())
        self.lock = threading.RLock()
        self.scheme = "http"
        self.catalogue = Catalogue()
        self.world = Records(self.store, self.clock, self.settings, self.catalogue)
        self.auth = Auth(self.clock, self.settings)
        self.limits = Limits(self.clock, self.settings)
        self.engine = Engine(self.world)
        self.rows = Rows(self.world, self.engine)
        self.batches = Batches(self.rows)
        self.composite = Composite(self.world, self.limits, self.dispatch)
        self.outbound = Outbound(self.world, self.faults, self.lock)
        seeding.ensure_defaults(self.world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope, remembering whether it came over TLS."""
        self.scheme = scope.get("scheme", "http")
        await super().__call__(scope, receive, send)

    # --- the vendor's API -------------------------------------------------------------------------

    def handle(self, call: Call) -> Answer:
        """Serve one call: OAuth, the list of versions, or the data API.

        Raises:
            VendorError: refused.
        """
        with self.lock:
            host = call.headers.get("host", "localhost")
            if call.path.startswith("/services/oauth2/"):
                if self.settings["token_host"] not in (None, host):
                    raise not_found()
                return self.auth.handle(call, f"{self.scheme}://{host}")
            if call.path.rstrip("/") == "/services/data" and call.method == "GET":
                return Answer(200, _versions(), content_type=JSON)
            if self.settings["data_host"] not in (None, host):
                raise not_found()
            return self._data(call)

    def _data(self, call: Call) -> Answer:
        try:
            self.auth.check(call)
            seeding.ensure_defaults(self.world)
            self.limits.take()
            answer = self.dispatch(from_call(call))
        except VendorError as bad:
            answer = bad.answer
        answer.headers.update(self.limits.header())
        if answer.content_type == "application/json":
            answer.content_type = JSON
        return answer

    def dispatch(self, request: Request) -> Answer:
        """Serve one data request or subrequest; refused records become answers.

        Raises:
            VendorError: refused as a call.
        """
        if not FIRST_VERSION <= request.version <= LAST_VERSION:
            raise not_found()
        segments = request.segments
        try:
            match segments[:1]:
                case []:
                    request.need("GET")
                    names = ("sobjects", "query", "queryAll", "composite", "limits")
                    return Answer(200, {name: f"{request.base}/{name}" for name in names})
                case ["limits"] if len(segments) == 1:
                    request.need("GET")
                    return self.limits.resource()
                case ["query" | "queryAll"] if len(segments) <= 2:
                    return self.rows.query(request)
                case ["sobjects"]:
                    return self.rows.sobjects(request)
                case ["composite"] if segments[1:2] == ["sobjects"]:
                    return self.batches.handle(request)
                case ["composite"]:
                    return self.composite.handle(request)
        except (RowError, Ambiguous) as problem:
            name = self.rows.object(segments[1]).name if segments[:1] == ["sobjects"] else ""
            return refused(problem, request, name)
        raise not_found()

    # --- faults in the vendor's words ---------------------------------------------------------------

    def error(self, status: int, message: str, call: Call) -> Answer:
        """The vendor's body for an injected error: an array, or an object at the token endpoint."""
        if call.path.startswith("/services/oauth2/"):
            return Answer(status, {"error": "unknown_error", "error_description": message}, content_type=JSON)
        code = {
            400: "UNKNOWN_EXCEPTION",
            401: "INVALID_SESSION_ID",
            403: "INSUFFICIENT_ACCESS_OR_READONLY",
            404: "NOT_FOUND",
        }.get(status, "SERVER_UNAVAILABLE" if status >= 500 else "UNKNOWN_EXCEPTION")
        body = [{"message": message, "errorCode": code}]
        return Answer(status, body, self.limits.header(), content_type=JSON)

    def rate_limited(self, call: Call) -> Answer:
        """The daily limit is used up: 403 without Retry-After."""
        body = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        return Answer(403, body, self.limits.header(exhausted=True), content_type=JSON)

    def refused(self, message: str, call: Call) -> Answer:
        """An injected refusal; a message ``CODE`` or ``CODE: text`` chooses the error code."""
        if call.path.startswith("/services/oauth2/"):
            return Answer(400, {"error": "invalid_grant", "error_description": message}, content_type=JSON)
        match = re.fullmatch(r"([A-Z][A-Z_]{5,})(?::\s*(.*))?", message, re.DOTALL)
        code, text = (match[1], match[2]) if match else ("FIELD_CUSTOM_VALIDATION_EXCEPTION", message)
        if code == "UNABLE_TO_LOCK_ROW" and not text:
            text = "unable to obtain exclusive access to this record or 1 records"
        body: list[dict[str, Any]] = [{"message": text or code, "errorCode": code, "fields": []}]
        return Answer(400, body, self.limits.header(), content_type=JSON)

    # --- control ----------------------------------------------------------------------------------

    def seed(self, records: dict[str, list[dict[str, Any]]]) -> None:
        """Take records in the vendor's JSON.

        Raises:
            ValueError: what is wrong.
        """
        with self.lock:
            seeding.ensure_defaults(self.world)
            seeding.seed(self.world, records)

    def reset(self) -> None:
        """Forget records, writes, faults, messages and counted requests; keep settings, schema, tokens."""
        with self.lock:
            self.outbound.clear()
            super().reset()
            self.world.clear()
            self.limits.clear()
            self.engine.cursors.clear()
            seeding.ensure_defaults(self.world)

    def control(self, call: Call) -> Answer | None:
        """``schema``, ``outbound``, ``callout``, ``change``, ``tokens``: see the README."""
        with self.lock:
            match call.method, call.path.removeprefix(self.CONTROL).strip("/"):
                case "POST", "schema":
                    self.catalogue.define(call.json())
                    return Answer(200, self.catalogue.custom)
                case "GET", "schema":
                    return Answer(200, self.catalogue.custom)
                case "POST", "outbound":
                    return Answer(202, self.outbound.send(call.json()))
                case "POST", "callout":
                    return Answer(202, self.outbound.call_out(call.json()))
                case "GET", "outbound":
                    return Answer(200, self.outbound.as_json())
                case "POST", "change":
                    return Answer(200, self._change(call.json()))
                case "DELETE", "tokens":
                    self.auth.tokens.clear()
                    return Answer(204)
        return None

    def _change(self, order: dict[str, Any]) -> dict[str, Any]:
        """Somebody edits a record in the user interface, or a flow does: no API write is logged."""
        one = self.world.view.object(order["type"])
        id_ = ids.normal(order["id"])
        old = self.world.get(one.name, id_) if one and id_ else None
        if one is None or old is None:
            raise ValueError(f"no {order['type']} {order['id']}")
        try:
            changed = changes(self.world, self.world.view.whole[one.name], order["fields"], "update", old)
            if order.get("system"):
                self.world.touch(one.name, {**old, **changed}, old, system_only=True)
            else:
                self.world.save(one, old, changed)
        except RowError as bad:
            raise ValueError(str(bad)) from None
        return dict(self.world.get(one.name, old["Id"]) or {})


def _versions() -> list[dict[str, str]]:
    return [
        {"label": f"Release {n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"}
        for n in range(FIRST_VERSION, LAST_VERSION + 1)
    ]
