"""The HTTP side of a simulator: control API, fault engine and dispatch to the vendor's handler.

A vendor subclasses ``Simulator`` and implements ``handle`` (one call in, one answer out, raising
``VendorError`` for the vendor's own refusals). Handlers are synchronous on purpose: one call is
handled at a time, as in one database transaction, so tests can reason about the order of writes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from simulators.kit.clock import Clock
from simulators.kit.faults import Fault, FaultKind, Faults
from simulators.kit.store import Store, wire_number

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass
class Call:
    """One request as the vendor's handler sees it."""

    method: str
    path: str
    """Decoded path without the query."""
    raw_path: str
    """Path as sent (still percent-encoded), for vendors whose keys travel in the path."""
    query: list[tuple[str, str]]
    headers: dict[str, str]
    """Lower-cased names."""
    raw: bytes
    stale: bool = False
    """A stale-read fault applies: answer from ``Store.previous``."""
    expired: bool = False
    """An expired-token fault applies: treat the bearer token as expired and forget it."""
    faults: Faults | None = None
    scheme: str = "http"
    """``http`` or ``https``, for vendors whose answers carry absolute URLs."""

    def param(self, name: str, default: str | None = None) -> str | None:
        """The last value of a query parameter."""
        return next((v for k, v in reversed(self.query) if k == name), default)

    def json(self) -> Any:
        """The body as JSON. Raises ``json.JSONDecodeError`` for the handler to answer in its way."""
        return json.loads(self.raw)

    def form(self) -> dict[str, str]:
        """The body as form fields."""
        return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))


@dataclass
class Answer:
    """What goes back. ``body`` None sends none; str is sent as it is; else JSON."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def encode(self) -> bytes:
        """The body's bytes."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str) and not self.content_type.startswith("application/json"):
            return self.body.encode()
        return json.dumps(self.body, ensure_ascii=False, default=wire_number).encode()


class VendorError(Exception):
    """A refusal in the vendor's own words; carries the finished answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


class Simulator:
    """Base of every vendor's simulator; an ASGI application.

    Subclasses set ``name`` and override the methods that raise below. Settings that a test may
    change at run time are dataclass-like attributes listed in ``settings`` (``POST /_sim/settings``).
    """

    name = "vendor"
    CONTROL = "/_sim/"
    NOTE = "x-sim-note"
    """A header that a test's caller may set; it stands in the call log and has no other effect."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Store()
        self.faults = Faults()
        self.settings: dict[str, Any] = {"latency_ms": 0, "away": False}
        self.calls: list[dict[str, Any]] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self._late: set[asyncio.Task[None]] = set()

    # --- what a vendor implements -------------------------------------------------------------

    def handle(self, call: Call) -> Answer:
        """Serve one call of the vendor's API. Raise ``VendorError`` to refuse."""
        raise VendorError(Answer(404, {"error": f"{self.name}: no handler for {call.method} {call.path}"}))

    def admit(self, call: Call) -> Answer | None:
        """The vendor's refusal of a call on arrival (this one counted as in flight), or None."""
        return None

    def error(self, status: int, message: str, call: Call) -> Answer:
        """The vendor's error body for an injected server error."""
        return Answer(status, {"error": message})

    def rate_limited(self, call: Call) -> Answer:
        """The vendor's rate-limit answer (without Retry-After)."""
        return self.error(429, "too many requests", call)

    def refused(self, message: str, call: Call) -> Answer:
        """The vendor's business refusal for an injected BUSINESS fault."""
        return self.error(400, message, call)

    def seed(self, records: dict[str, list[dict[str, Any]]]) -> None:
        """Take records in the vendor's own JSON. Raise ``ValueError`` naming what is wrong."""
        raise NotImplementedError

    def control(self, call: Call) -> Answer | None:
        """Vendor-specific control calls under ``/_sim/``; None when unknown."""
        return None

    def reset(self) -> None:
        """Forget records, writes, faults; keep settings that describe the account."""
        self.store.clear()
        self.faults.clear()
        self.calls.clear()
        self.clock.reset()
        self.peak_in_flight = 0

    # --- ASGI -----------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
                elif message["type"] == "lifespan.shutdown":
                    await send({"type": "lifespan.shutdown.complete"})
                    return
        if scope["type"] != "http":
            return
        raw = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        headers = {k.decode().lower(): v.decode("latin-1") for k, v in scope["headers"]}
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode()
        call = Call(
            scope["method"],
            scope["path"],
            raw_path,
            query,
            headers,
            raw,
            faults=self.faults,
            scheme=scope.get("scheme", "http"),
        )
        if call.path.startswith(self.CONTROL):
            await self._send(send, self._control(call))
            return
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            await self._serve(call, scope, send)
        finally:
            self.in_flight -= 1

    async def _serve(self, call: Call, scope: Scope, send: Send) -> None:
        target = call.raw_path + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        entry: dict[str, Any] = {
            "at": self.clock.now().isoformat(),
            "until": None,
            "method": call.method,
            "path": target,
            "status": None,
            "note": call.headers.get(self.NOTE),
        }
        self.calls.append(entry)
        try:
            await self._respond(call, scope, send, target, entry)
        finally:
            entry["until"] = self.clock.now().isoformat()

    async def _respond(
        self, call: Call, scope: Scope, send: Send, target: str, entry: dict[str, Any]
    ) -> None:
        if not self.settings["away"] and (refusal := self.admit(call)) is not None:
            entry["status"] = refusal.status
            await self._send(send, refusal)
            return

        def take(*kinds: FaultKind) -> Fault | None:
            note = call.headers.get(self.NOTE, "")
            return self.faults.take(call.method, target, call.raw, *kinds, note=note)

        if self.settings["latency_ms"]:
            await asyncio.sleep(self.settings["latency_ms"] / 1000)
        if self.settings["away"] or take(FaultKind.DROP_BEFORE):
            entry["status"] = "dropped"
            self._abort(scope)
            return
        if delay := take(FaultKind.DELAY):
            await asyncio.sleep(delay.delay_ms / 1000)
        if fault := take(FaultKind.ERROR_BEFORE):
            answer = (
                Answer(fault.status or 500, fault.body)
                if fault.body is not None
                else self.error(fault.status or 500, fault.message or "injected failure", call)
            )
        elif fault := take(FaultKind.RATE_LIMIT):
            answer = self.rate_limited(call)
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = f"{fault.retry_after:g}"
        elif fault := take(FaultKind.BUSINESS):
            answer = self.refused(fault.message or "injected business refusal", call)
        elif fault := take(FaultKind.SLOW_COMMIT):
            task = asyncio.create_task(self._commit_late(call, fault.delay_ms / 1000))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            entry["status"] = "dropped, commits late"
            self._abort(scope)
            return
        else:
            call.stale = take(FaultKind.STALE_READ) is not None
            call.expired = take(FaultKind.EXPIRED_TOKEN) is not None
            answer = await self._answer(call)
            if answer.status < 400:
                if fault := take(FaultKind.DROP_AFTER):
                    entry["status"] = f"{answer.status}, answer dropped"
                    self._abort(scope)
                    return
                if fault := take(FaultKind.RESET_MID_BODY):
                    entry["status"] = f"{answer.status}, reset in mid-body"
                    await self._send_half(send, answer)
                    self._abort(scope)
                    return
                if fault := take(FaultKind.ERROR_AFTER):
                    answer = self.error(fault.status or 502, fault.message or "bad gateway", call)
            # Also a refusal or a "not there" may be slow to arrive.
            if fault := take(FaultKind.DELAY_AFTER):
                await asyncio.sleep(fault.delay_ms / 1000)
        entry["status"] = answer.status
        await self._send(send, answer)

    async def _answer(self, call: Call) -> Answer:
        try:
            return self.handle(call)
        except VendorError as refusal:
            return refusal.answer

    async def _commit_late(self, call: Call, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._answer(call)

    # --- control API ----------------------------------------------------------------------------

    def _control(self, call: Call) -> Answer:
        name = call.path.removeprefix(self.CONTROL).strip("/")
        try:
            match call.method, name:
                case "GET", "health":
                    return Answer(200, {"name": self.name, "ok": True})
                case "GET", "records":
                    deleted = call.param("deleted") in ("1", "true")
                    wanted = call.param("type")
                    records = self.store.as_json(include_deleted=deleted, only=wanted)
                    return Answer(200, {wanted: records.get(wanted, [])} if wanted else records)
                case "GET", "writes":
                    since = int(call.param("since", "0") or 0)
                    wanted = call.param("type")
                    rows = self.store.writes[since:]
                    return Answer(200, [w.as_json() for w in rows if wanted in (None, w.type)])
                case "GET", "history":
                    versions = self.store.history(call.param("type") or "", call.param("id") or "")
                    return Answer(200, [{"at": at, "record": record} for at, record in versions])
                case "GET", "calls":
                    return Answer(200, {"calls": self.calls, "peak_in_flight": self.peak_in_flight})
                case "GET", "faults":
                    return Answer(200, self.faults.as_json())
                case "POST", "faults":
                    body = call.json()
                    added = [self.faults.add(one) for one in (body if isinstance(body, list) else [body])]
                    return Answer(201, [f.as_json() for f in added])
                case "DELETE", "faults":
                    self.faults.clear()
                    return Answer(204)
                case "POST", "settings":
                    changes = call.json()
                    unknown = set(changes) - set(self.settings)
                    if unknown:
                        known = sorted(self.settings)
                        raise ValueError(f"unknown settings {sorted(unknown)}; known: {known}")
                    self.settings.update(changes)
                    return Answer(200, self.settings)
                case "GET", "settings":
                    return Answer(200, self.settings)
                case "POST", "clock":
                    self.clock.offset = timedelta(seconds=call.json()["offset_seconds"])
                    return Answer(200, {"now": self.clock.now().isoformat()})
                case "POST", "seed":
                    self.seed(call.json())
                    return Answer(204)
                case "POST", "reset":
                    self.reset()
                    return Answer(204)
            return self.control(call) or Answer(404, {"error": f"no control call {call.method} {call.path}"})
        except (ValueError, KeyError, TypeError) as bad:
            return Answer(400, {"error": f"{type(bad).__name__}: {bad}"})

    # --- wire -----------------------------------------------------------------------------------

    @staticmethod
    def _abort(scope: Scope) -> None:
        transport = scope.get("sim.transport")
        if transport is None:
            raise ConnectionResetError("injected: connection dropped")
        transport.abort()

    @staticmethod
    async def _send(send: Send, answer: Answer) -> None:
        body = answer.encode()
        headers = [(b"content-length", str(len(body)).encode())] if answer.status != 204 else []
        if body:
            headers.append((b"content-type", answer.content_type.encode()))
        headers += [(k.lower().encode(), v.encode("latin-1")) for k, v in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body if answer.status != 204 else b""})

    @staticmethod
    async def _send_half(send: Send, answer: Answer) -> None:
        body = answer.encode() or b"{}"
        status = answer.status if answer.status != 204 else 200
        headers = [(b"content-length", str(len(body) + 64).encode()), (b"content-type", b"application/json")]
        headers += [(k.lower().encode(), v.encode("latin-1")) for k, v in answer.headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0.01)


def replace(answer: Answer, **changes: Any) -> Answer:
    """A copy of an answer with fields changed."""
    return dataclasses.replace(answer, **changes)
