"""Where vendors deliver: verify, make durable, answer; the rest happens behind the answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from canonical.failures import Unauthorised
from gateway.front import Front
from gateway.problems import Kind, Problem, described
from gateway.shell import RETRY_SECONDS
from gateway.trace_context import trace_id
from ledger.inbox import NewEvent
from runtime.logging import logger
from wiring.webhooks import Delivery, DeliveryRefused, Hint, Receiver, Why

_log = logger("trueup.gateway")

_REFUSALS = {Why.AUTHENTICITY: Kind.NOT_AUTHENTIC, Why.TIME: Kind.OUT_OF_TIME, Why.FORM: Kind.MALFORMED}
_PROBLEMS = described(
    Kind.MALFORMED, Kind.NOT_AUTHENTIC, Kind.OUT_OF_TIME, Kind.NOT_FOUND, Kind.METHOD, Kind.TOO_SLOW,
    Kind.TOO_LARGE, Kind.UNAVAILABLE,
)  # fmt: skip
_DOCUMENTED: dict[str, Any] = {
    "requestBody": {
        "description": "The delivery as the source's vendor defines it.",
        "content": {"*/*": {"schema": {}}},
    },
    "security": [],
}
_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Durable, or a repetition, or a handshake. The body is what the vendor expects.",
        "content": {"application/json": {"schema": {}}, "text/xml": {"schema": {}}},
    }
}

router = APIRouter(tags=["webhooks"])


@router.post(
    "/hooks/{source}",
    operation_id="receiveWebhook",
    summary="Receive a webhook",
    responses={**_TAKEN, **_PROBLEMS},
    openapi_extra=_DOCUMENTED,
    response_class=Response,
)
async def receive(request: Request, source: str) -> Response:
    """Take a delivery of a source that proves itself by headers."""
    return await _receive(request, source, None)


@router.post(
    "/hooks/{source}/{key}",
    operation_id="receiveWebhookBySecretAddress",
    summary="Receive a webhook at a secret address",
    responses={**_TAKEN, **_PROBLEMS},
    openapi_extra=_DOCUMENTED,
    response_class=Response,
)
async def receive_by_address(request: Request, source: str, key: str) -> Response:
    """Take a delivery of a source whose only proof is the secret at the end of its address."""
    return await _receive(request, source, key)


async def _receive(request: Request, source: str, key: str | None) -> Response:
    front: Front = request.app.state.front
    receiver = front.receivers.get(source)
    if receiver is None or (key is not None and not receiver.in_address):
        raise Problem(Kind.NOT_FOUND, "No source of that name is configured.")
    taken = _verified(receiver, source, await _delivery(request, front, key))
    section = front.settings.gateway.sources[source]
    wanted = {name for rule in section.events for name in rule.where}
    rows = await front.desk.ledger.receive_events(
        source,
        section.system,
        [_event(hint, wanted) for hint in taken.hints],
        trace_id=trace_id(),
        lease=front.dispatcher.lease,
    )
    front.dispatcher.offer(rows)
    answer = taken.answer
    return Response(answer.body, answer.status, headers=dict(answer.headers), media_type=answer.content_type)


def _verified(receiver: Receiver, source: str, delivery: Delivery) -> Any:
    try:
        return receiver.receive(delivery)
    except DeliveryRefused as refused:
        _log.info("delivery refused", source=source, why=refused.why.value, detail=str(refused))
        kind = _REFUSALS[refused.why]
        headers = {"WWW-Authenticate": f'Webhook realm="{source}"'} if kind.status == 401 else {}
        raise Problem(kind, str(refused), headers) from None
    except Unauthorised as missing:
        # The sender is not at fault, and would give up after a 4xx.
        _log.error("a source's secret is not there", source=source, failure=str(missing))
        raise Problem(
            Kind.UNAVAILABLE,
            "This source cannot be verified now; repeat the delivery.",
            {"Retry-After": str(RETRY_SECONDS)},
        ) from None


async def _delivery(request: Request, front: Front, key: str | None) -> Delivery:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    # The path as it came over the wire: a decoded one would not be what was signed.
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    query: bytes = request.scope.get("query_string", b"")
    path = raw.partition(b"?")[0].decode("ascii", "replace")
    asked = f"?{query.decode('ascii', 'replace')}" if query else ""
    return Delivery(
        method=request.method,
        url=f"{front.settings.gateway.public_url.rstrip('/')}{path}{asked}",
        headers=headers,
        body=await request.body(),
        at=front.now(),
        key=key,
    )


def _event(hint: Hint, wanted: set[str]) -> NewEvent:
    return NewEvent(
        event_id=hint.id,
        type=hint.type,
        record_type=hint.record_type,
        record_id=hint.record_id,
        fields={name: value for name, value in hint.fields.items() if name in wanted},
        occurred_at=hint.at,
    )
