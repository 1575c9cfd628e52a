"""The ASGI application: routes, problem documents, and the OpenAPI description they come with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway import health, hooks, problems
from gateway.api import changes, invoices, reading, starting
from gateway.api.callers import SCOPES
from gateway.described import VERSION
from gateway.front import Front
from gateway.problems import FieldProblem, Kind, Problem
from gateway.shell import Shell
from gateway.trace_context import trace_id

_BY_STATUS = {
    404: Kind.NOT_FOUND,
    405: Kind.METHOD,
    415: Kind.MEDIA,
    413: Kind.TOO_LARGE,
    400: Kind.MALFORMED,
}


def create_app(front: Front) -> FastAPI:
    """The application over one front door. Its life cycle runs the dispatcher."""
    app = describe_app()
    app.state.front = front

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with front.dispatcher, front.relay:
            yield

    app.router.lifespan_context = running
    section = front.settings.gateway
    app.add_middleware(Shell, body_limit=section.body_limit, body_seconds=section.body_seconds)
    return app


def describe_app() -> FastAPI:
    """The routes without anything behind them: enough to describe them."""
    app = FastAPI(
        title="Trueup gateway",
        version=VERSION,
        summary="Webhooks in, process API, events out.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    routers = (starting.router, changes.router, reading.router, invoices.router, hooks.router, health.router)
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(Problem, _told)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas.update(_schemas())
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["securitySchemes"] = {"oauth2": _SECURITY}
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


_SECURITY = {
    "type": "oauth2",
    "description": "Access tokens of the configured issuer, for machines.",
    "flows": {
        "clientCredentials": {
            "tokenUrl": "https://issuer.example/token",
            "scopes": {scope.value: words for scope, words in SCOPES.items()},
        }
    },
}


def _schemas() -> dict[str, Any]:
    whole = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs", {})
    return {**parts, "ProblemDocument": whole}


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problems.response(error, trace_id())


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, Kind.MALFORMED)
    detail = {
        Kind.NOT_FOUND: "Nothing is at this address.",
        Kind.METHOD: "See the header Allow.",
    }.get(kind, "The request cannot be understood.")
    return problems.response(Problem(kind, detail, error.headers or {}), trace_id())


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong with which part; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problems.response(Problem(Kind.MALFORMED, "The body is not JSON."), trace_id())
    listed = [FieldProblem(pointer=_pointer(one["loc"]), detail=_words(one)) for one in found[:50]]
    problem = Problem(Kind.INVALID, "See errors for the parts that are wrong.", errors=listed)
    return problems.response(problem, trace_id())


def _pointer(place: tuple[Any, ...]) -> str:
    where, *rest = place
    if where == "body":
        return "".join(f"/{part}" for part in rest)[:200]
    return str(rest[0] if rest else where)[:200]


def _words(one: Any) -> str:
    """The rule that is broken. Sentences of our validators may repeat the input: that is taken out."""
    said, given = str(one["msg"]), one.get("input")
    if one["type"] == "value_error":
        for value in given.values() if isinstance(given, dict) else (given,):
            said = said.replace(repr(value), "it").replace(f"Value error, {value} ", "Value error, it ")
    return said[:300]
