"""What every route of the process API has: the caller's token, its Idempotency-Key, then the work."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from gateway.api.callers import Caller, Scope
from gateway.front import Front
from gateway.problems import Kind, Problem
from gateway.trace_context import trace_id
from ledger.api_requests import RequestState, StoredAnswer

KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!#-~]{1,200}")
IN_FLIGHT = timedelta(seconds=60)
"""How long a request may be worked on before a repetition may take it over."""
REPLAYED = "Idempotency-Replayed"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def needs(scope: Scope, *, key: bool = False) -> dict[str, Any]:
    """What a route says of itself in ``openapi_extra``: the scope it needs, whether it takes a key."""
    extra: dict[str, Any] = {"security": [{"oauth2": [scope.value]}]}
    if key:
        extra["parameters"] = [
            {
                "name": KEY_HEADER,
                "in": "header",
                "required": True,
                "description": "Makes the request safe to repeat: the same key and body get the same answer.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!#-~]{1,200}$"},
            }
        ]
    return extra


def front_of(request: Request) -> Front:
    """What the routes work with."""
    front: Front = request.app.state.front
    return front


def caller_of(request: Request) -> Caller:
    """Who calls; set before the route runs."""
    caller: Caller = request.state.caller
    return caller


class ProcessRoute(APIRoute):
    """Authenticates before anything of the request is parsed, and does a keyed request once."""

    def get_route_handler(self) -> Handler:
        """The handler with both around it."""
        work = super().get_route_handler()
        extra = self.openapi_extra or {}
        scopes = [scope for one in extra.get("security", ()) for scope in one.get("oauth2", ())]
        keyed = any(one["name"] == KEY_HEADER for one in extra.get("parameters", ()))

        async def handle(request: Request) -> Response:
            front = front_of(request)
            token = request.headers.get("authorization")
            request.state.caller = front.callers.caller(token, scopes, front.now())
            return await (_once(request, work) if keyed else work(request))

        return handle


async def _once(request: Request, work: Handler) -> Response:
    client, ledger = caller_of(request).name, front_of(request).desk.ledger
    key = request.headers.get(KEY_HEADER, "").strip()
    # The draft standard writes a quoted string; many clients send it bare.
    key = key[1:-1] if len(key) > 2 and key.startswith('"') and key.endswith('"') else key
    if not _KEY.fullmatch(key):
        raise Problem(Kind.KEY_MISSING, f"Send {KEY_HEADER}: 1 to 200 visible ASCII characters, no quotes.")
    operation = f"{request.method} {request.url.path}"
    body_hash = hashlib.sha256(await request.body()).hexdigest()
    attempt = uuid.uuid4().hex
    claim = await ledger.claim_request(client, key, operation, body_hash, attempt_id=attempt, lease=IN_FLIGHT)
    if claim.state is RequestState.OTHER:
        raise Problem(Kind.KEY_REUSED, "Use a new key, or send exactly the first request again.")
    if claim.state is RequestState.IN_FLIGHT:
        raise Problem(Kind.IN_FLIGHT, "Repeat it a little later.", {"Retry-After": "2"})
    if claim.answer is not None:
        return _again(claim.answer)
    request.state.idempotency_key = key
    try:
        answer = await work(request)
        if answer.status_code >= 300:
            # Nothing was done: the key is free for a corrected request.
            await ledger.forget_request(client, key, attempt)
            return answer
        stored = StoredAnswer(
            status=answer.status_code,
            body=bytes(answer.body).decode(),
            location=answer.headers.get("location"),
        )
        await ledger.answer_request(client, key, attempt, stored)
    except BaseException:
        await ledger.forget_request(client, key, attempt)
        raise
    return answer


def _again(answer: StoredAnswer) -> Response:
    headers = {REPLAYED: "true", **({"Location": answer.location} if answer.location else {})}
    return Response(answer.body, answer.status, headers=headers, media_type="application/json")


def run_name_of(request: Request) -> str:
    """A name for a run that is the same for every repetition of a request."""
    caller, key = caller_of(request).name, request.state.idempotency_key
    return "api-" + hashlib.sha256(f"{caller}\x1f{key}".encode()).hexdigest()[:24]


def saga_href(saga: str) -> str:
    """Where to look at a saga."""
    return f"/v1/sagas/{quote(saga, safe=':')}"


def trace() -> str:
    """The request's trace, which goes on in what it starts."""
    return trace_id()
