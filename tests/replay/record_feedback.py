"""Records the histories of invoice feedback and its polls: ``python -m tests.replay.record_feedback``.

Record anew only when a change is meant to break running sagas; otherwise add histories, never replace them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from canonical.saga import SagaStatus
from runtime.lifecycle import exit_now
from tests.e2e.feedback_firm import CRM, Desk
from tests.e2e.firm import local_firm
from tests.replay.record import tidy
from wiring.start_feedback import start_poll, tell

HISTORIES = Path(__file__).parent / "feedback"
Story = Callable[[Desk], Awaitable[Any]]


async def settled(desk: Desk) -> Any:
    """Issued, part paid, paid: it ends."""
    client = await desk.client()
    invoice = desk.issue(client, 1000)
    handle = await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 1000, "issued")
    await desk.quiet([invoice])
    desk.pay(client, invoice, 400)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Paid__c") == 400, "part paid")
    await desk.quiet([invoice])
    desk.pay(client, invoice, 600)
    await desk.tell(invoice)
    await handle.result()
    return handle


async def confirmed(desk: Desk) -> Any:
    """A payment is taken back: believed when it is read twice. Stopped while it waits for the next event."""
    client = await desk.client()
    invoice = desk.issue(client, 500)
    payment = desk.pay(client, invoice, 200)
    handle = await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Paid__c") == 200, "part paid")
    await desk.quiet([invoice])
    desk.reverse(payment)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Paid__c") == 0, "taken back")
    await desk.quiet([invoice])
    await _stop(handle)
    return handle


async def parked_then_told(desk: Desk) -> Any:
    """Salesforce refuses the deal; the next event tries the parked step again."""
    client = await desk.client()
    invoice = desk.issue(client, 300)
    desk.firm.fault(CRM, kind="business", method="PATCH", path="/Opportunity/", message="locked", times=1)
    handle = await desk.tell(invoice)
    await _until(desk, invoice, SagaStatus.PARKED)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 300, "told at last")
    await desk.quiet([invoice])
    await _stop(handle)
    return handle


async def continued_as_new(desk: Desk) -> Any:
    """One reading per run: this is the first one, which ends by continuing as new."""
    client = await desk.client()
    invoice = desk.issue(client, 100)
    start = desk.starts.feedback("netsuite-emea", invoice)
    start = start.model_copy(update={"pace": start.pace.model_copy(update={"rounds_per_run": 1})})
    handle = await tell(desk.firm.client, start, "first")
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 100, "issued")
    await desk.quiet([invoice])
    return handle


async def after_continuing(desk: Desk) -> Any:
    """The run after: it waits where the one before waited, and takes the next event."""
    client = await desk.client()
    invoice = desk.issue(client, 100)
    start = desk.starts.feedback("netsuite-emea", invoice)
    start = start.model_copy(update={"pace": start.pace.model_copy(update={"rounds_per_run": 1})})
    first = await tell(desk.firm.client, start, "first")
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 100, "issued")
    await desk.quiet([invoice])
    again = desk.firm.client.get_workflow_handle(first.id)
    run = (await again.describe()).run_id
    desk.pay(client, invoice, 100)
    await tell(desk.firm.client, start, "second")
    await first.result()
    return desk.firm.client.get_workflow_handle(first.id, run_id=run)


async def not_there(desk: Desk) -> Any:
    """An event for an invoice that does not exist: three looks."""
    start = desk.starts.feedback("netsuite-emea", "99999999")
    start = start.model_copy(update={"pace": start.pace.model_copy(update={"absent_seconds": 0.5})})
    handle = await tell(desk.firm.client, start, "ghost")
    await handle.result()
    return handle


async def polled(desk: Desk) -> Any:
    """A poll of all feeds."""
    handle = await start_poll(desk.firm.client, desk.starts.poll("netsuite-emea", "recorded"))
    await handle.result()
    return handle


async def scanned(desk: Desk) -> Any:
    """A scan."""
    handle = await start_poll(desk.firm.client, desk.starts.poll("netsuite-emea", "recorded-scan", scan=True))
    await handle.result()
    return handle


async def _until(desk: Desk, invoice: str, status: SagaStatus) -> None:
    for _ in range(300):
        if (await desk.view(invoice)).status is status:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{invoice} never became {status.value}")


async def _stop(handle: Any) -> None:
    await handle.cancel()
    for _ in range(300):
        if (await handle.describe()).close_time is not None:
            return
        await asyncio.sleep(0.1)


STORIES: tuple[Story, ...] = (
    settled,
    confirmed,
    parked_then_told,
    continued_as_new,
    after_continuing,
    not_there,
    polled,
    scanned,
)


async def record(names: list[str]) -> None:
    """Play the stories and keep their histories, all of them or those named."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with local_firm(Path(folder)) as firm:
            desk = Desk(firm)
            for story in STORIES:
                if names and story.__name__ not in names:
                    continue
                handle = await story(desk)
                run = handle.run_id or handle.result_run_id or handle.first_execution_run_id
                found = await firm.client.get_workflow_handle(handle.id, run_id=run).fetch_history()
                (HISTORIES / f"{story.__name__}.json").write_text(tidy(found.to_json()))
                print(f"{story.__name__}: {len(found.events)} events", flush=True)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
    exit_now(0)
