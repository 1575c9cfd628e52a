"""The outermost layer of every request: trace, size and time of the body, and whatever nobody expected."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.service import RPCError

from canonical.failures import ConfigurationError, SystemFailure
from gateway import problems
from gateway.problems import Kind, Problem
from gateway.trace_context import CURRENT, continued
from runtime.logging import logger

_log = logger("trueup.gateway")

RETRY_SECONDS = 5
FIXED = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Shell:
    """Reads a request's body within its limits before anything looks at it, and lets no error out."""

    def __init__(self, app: ASGIApp, *, body_limit: int, body_seconds: float) -> None:
        self._app = app
        self._limit = body_limit
        self._seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = continued(Headers(scope=scope).get("traceparent"))
        token = CURRENT.set(context)
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["traceparent"] = context.header()
                for name, value in FIXED.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                body = await self._body(scope, receive)
                await self._app(scope, _replay(body, receive), sending)
            except Exception as error:
                if begun:
                    raise
                answer = problems.response(_problem(error), context.trace_id)
                await answer(scope, receive, sending)
        finally:
            CURRENT.reset(token)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and (len(declared) > 12 or int(declared) > self._limit):
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(Kind.MALFORMED, "The request ended before its body.")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self._limit:
                        raise self._too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Problem(
                Kind.TOO_SLOW, f"The body did not arrive within {self._seconds:g} s.", {"Connection": "close"}
            ) from None

    def _too_large(self) -> Problem:
        return Problem(
            Kind.TOO_LARGE, f"At most {self._limit} bytes are accepted; send less.", {"Connection": "close"}
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _problem(error: Exception) -> Problem:
    """What a caller is told of an error; our own log keeps the rest."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, SystemFailure) and error.failure.kind.passes_by_itself:
        _log.warning("a request could not be served", failure=str(error))
        return Problem(
            Kind.UNAVAILABLE,
            "Nothing was done; repeat the request.",
            {"Retry-After": str(RETRY_SECONDS)},
        )
    if isinstance(error, RPCError | ConfigurationError):
        # Temporal; what the installation itself lacks was said at the start.
        _log.warning("a request could not be served", failure=str(error))
        return Problem(
            Kind.UNAVAILABLE, "Nothing was started; repeat the request.", {"Retry-After": str(RETRY_SECONDS)}
        )
    _log.error("a request failed", exc_info=error)
    return Problem(Kind.INTERNAL, "Nothing of it was confirmed; repeat the request, or report the trace id.")
