"""The product's worker under measurement: every vendor call says in a header which activity makes it.

The simulators note that header in their call log. Nothing else differs from ``python -m worker``.
"""

from __future__ import annotations

from typing import Any

import httpx
from temporalio import activity

import worker

NOTE = "X-Sim-Note"
"""The header that simulators keep in their call log."""
_send = httpx.AsyncClient.send


async def _noted(client: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
    if activity.in_activity():
        info = activity.info()
        request.headers[NOTE] = f"{info.workflow_id} {info.activity_id} {info.attempt}"
    return await _send(client, request, **options)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; never returns."""
    httpx.AsyncClient.send = _noted  # type: ignore[method-assign, assignment]
    worker.main(arguments)


if __name__ == "__main__":
    main()
