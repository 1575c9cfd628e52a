"""Refusals as RFC 9457 problem documents: what was wrong, what to do; no stack trace, no echo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described
from starlette.responses import Response

from canonical.causes import Cause

MEDIA_TYPE = "application/problem+json"


class Kind(Enum):
    """Every kind of problem: status and title. The name becomes the last part of its ``type``."""

    MALFORMED = (400, "The request is malformed")
    KEY_MISSING = (400, "The header Idempotency-Key is missing or malformed")
    UNAUTHENTICATED = (401, "The caller is not authenticated")
    NOT_AUTHENTIC = (401, "The delivery is not authentic")
    OUT_OF_TIME = (401, "The delivery was not signed now")
    FORBIDDEN = (403, "The caller may not do this")
    NOT_FOUND = (404, "There is no such thing")
    METHOD = (405, "The method is not allowed here")
    TOO_SLOW = (408, "The request took too long to arrive")
    IN_FLIGHT = (409, "The first request with this Idempotency-Key is still being worked on")
    NOT_STARTABLE = (409, "It cannot be started now")
    REPEATED = (409, "It was received before, with other content")
    TOO_LARGE = (413, "The request is too large")
    MEDIA = (415, "The media type is not accepted")
    INVALID = (422, "The request is not valid")
    KEY_REUSED = (422, "The Idempotency-Key was used for another request")
    INTERNAL = (500, "A fault of Trueup itself")
    UNAVAILABLE = (503, "Something that is needed is not available now")
    TIMED_OUT = (504, "The answer did not come in time")

    @property
    def status(self) -> int:
        """HTTP status."""
        return int(self.value[0])

    @property
    def title(self) -> str:
        """A sentence that is the same for every problem of the kind."""
        return str(self.value[1])

    @property
    def uri(self) -> str:
        """The ``type`` of its documents."""
        return f"urn:trueup:problem:{self.name.lower().replace('_', '-')}"


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    pointer: str = Described(description="Where: a JSON pointer into the body, or the parameter's name.")
    detail: str = Described(description="What is wrong.")


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Described(description="The kind of problem, a URN.")
    title: str = Described(description="The kind in words.")
    status: int = Described(description="The HTTP status, repeated.")
    detail: str = Described(description="What happened here, and what to do.")
    trace_id: str = Described(description="What to quote when asking about it.")
    errors: list[FieldProblem] = Described(default=[], description="What is wrong with the request's parts.")
    cause: Cause | None = Described(default=None, description="The cause, where the catalogue has one.")
    remedy: str | None = Described(default=None, description="What to do about that cause.")


@dataclass
class Problem(Exception):
    """Raised anywhere behind a route; becomes the answer."""

    kind: Kind
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[FieldProblem] = ()
    cause: Cause | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        return self.detail


def response(problem: Problem, trace_id: str) -> Response:
    """The answer that tells a problem."""
    document = ProblemDocument(
        type=problem.kind.uri,
        title=problem.kind.title,
        status=problem.kind.status,
        detail=problem.detail,
        trace_id=trace_id,
        errors=list(problem.errors),
        cause=problem.cause,
        remedy=problem.remedy,
    )
    return Response(
        json.dumps(document.model_dump(exclude_defaults=False), ensure_ascii=False),
        status_code=problem.kind.status,
        media_type=MEDIA_TYPE,
        headers=dict(problem.headers),
    )


def described(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """What a route says about these problems in its OpenAPI description."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        words = found.get(kind.status, {}).get("description")
        found[kind.status] = {
            "description": f"{words}; or: {kind.title}" if words else kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
    return found
