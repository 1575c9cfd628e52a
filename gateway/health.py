"""Whether the process lives, and whether it can make events durable."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gateway.front import Front
from gateway.problems import Kind, described

router = APIRouter(tags=["health"])
_OPEN: dict[str, Any] = {"security": []}


class Health(BaseModel):
    """What the process says of itself."""

    status: str = Field(description="`ok`.")


@router.get("/healthz", operation_id="live", summary="Is the process alive?", openapi_extra=_OPEN,
            responses=described(Kind.METHOD))  # fmt: skip
async def live() -> Health:
    """Answer as long as requests are served at all."""
    return Health(status="ok")


@router.get("/readyz", operation_id="ready", summary="Can events be made durable?", openapi_extra=_OPEN,
            responses=described(Kind.METHOD, Kind.UNAVAILABLE))  # fmt: skip
async def ready(request: Request) -> Health:
    """Answer when the ledger does."""
    front: Front = request.app.state.front
    await front.desk.ledger.inbox_counts()
    return Health(status="ok")
