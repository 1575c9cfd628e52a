"""The product's worker under measurement. Two things are added to ``python -m worker``:

- every vendor call says in a header which activity makes it; the simulators keep that in their call log;
- the process that serves workflows serves the bare workflows of ``bench.bare`` too, on a queue of their own,
  so that both sides of a comparison run in one process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

import worker
from bench import one_by_one
from bench.bare import QUEUE, Bare, Nothing, nothing
from bench.one_by_one import OneByOne
from bench.sandbox import sandbox
from ledger.store import Ledger
from runtime.settings import Settings
from wiring.systems import ConnectedSystems
from wiring.workers import STICKY, QueueWorker, build_worker, queue_workers

NOTE = "X-Sim-Note"
"""The header that simulators keep in their call log."""
_send = httpx.AsyncClient.send


async def _noted(client: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
    if activity.in_activity():
        info = activity.info()
        request.headers[NOTE] = f"{info.workflow_id} {info.activity_id} {info.attempt}"
    return await _send(client, request, **options)


def _queues(settings: Settings, systems: ConnectedSystems, ledger: Ledger) -> list[QueueWorker]:
    found = queue_workers(settings, systems, ledger)
    lines = one_by_one.activities(systems, ledger)
    return [*found, *(replace(one, queue=QUEUE, activities=lines) for one in found if one.workflows)]


def _build(client: Client, one: QueueWorker, settings: Settings) -> Worker:
    if one.queue != QUEUE:
        return build_worker(client, one, settings)
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare, Nothing, OneByOne],
        activities=[nothing, *one.activities],
        workflow_runner=sandbox(),
        max_concurrent_workflow_tasks=one.slots,
        max_cached_workflows=settings.worker.cached_workflows,
        build_id="bench",
        sticky_queue_schedule_to_start_timeout=STICKY,
        disable_eager_activity_execution=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point; never returns."""
    httpx.AsyncClient.send = _noted  # type: ignore[method-assign, assignment]
    worker.queue_workers = _queues  # type: ignore[attr-defined]
    worker.build_worker = _build  # type: ignore[attr-defined]
    worker.main(arguments)


if __name__ == "__main__":
    main()
