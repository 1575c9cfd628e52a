"""Records the histories that ``test_replay`` replays. Run by hand: ``python -m tests.replay.record``.

Record anew only when a change of the workflows is meant to break running sagas, which means that no saga
started by older code is open any more. Otherwise add histories, never replace them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from canonical.saga import RepairAction, SagaStatus, StepState
from runtime.lifecycle import exit_now
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import Run
from tests.e2e.closing_firm import Closings
from tests.e2e.firm import Firm, Handle, local_firm, parked
from tests.replay.billing import BILLING_STORIES, ended
from tests.replay.changes import CHANGE_STORIES
from tests.replay.closings import CLOSE_STORIES
from tests.replay.revenue import REVENUE_STORIES

HISTORIES = Path(__file__).parent / "histories"
_HOST = re.compile(r'"identity":"[^"]*"')
_TRACE = re.compile(r'"stackTrace":"(?:[^"\\]|\\.)*"')
COMPLETE, GATED, PARKED = SagaStatus.COMPLETE, SagaStatus.GATED, SagaStatus.PARKED
UNDONE, WAITING = SagaStatus.UNDONE, SagaStatus.WAITING


async def complete(firm: Firm) -> Handle:
    """Nothing goes wrong."""
    handle, _ = await firm.run(firm.deal(), COMPLETE)
    return handle


async def waited(firm: Firm) -> Handle:
    """A vendor is away for a while."""
    deal = firm.seed(firm.deal())
    firm.control("netsuite-emea", "POST", "settings", {"away": True})
    handle = await firm.start(deal)
    await firm.until(handle, WAITING)
    await asyncio.sleep(2)
    firm.calm()
    await firm.until(handle, COMPLETE)
    return handle


async def repaired(firm: Firm) -> Handle:
    """Parked on a missing tax registration, corrected in the CRM, retried."""
    deal = firm.deal(tax_number=None)
    handle, _ = await firm.run(deal, PARKED)
    firm.change("Account", deal.account_id, Tax_Id__c="NL900000009B01")
    await firm.resolve(handle, "validate")
    await firm.until(handle, COMPLETE)
    return handle


async def amended(firm: Firm) -> Handle:
    """Parked on unknown terms, gone on with amended input."""
    handle, _ = await firm.run(firm.deal(terms="Net 99"), PARKED)
    change = {"deal": {"payment_terms": "Net 45"}}
    await firm.resolve(handle, "validate", RepairAction.RETRY_AMENDED, amended=change)
    await firm.until(handle, COMPLETE)
    return handle


async def gated(firm: Firm) -> Handle:
    """Asked whether to go on without a signed statement of work, and told to."""
    handle, view = await firm.run(firm.deal(sow_signed=None), GATED)
    await firm.decide(handle, view.gates[0].id)
    await firm.until(handle, COMPLETE)
    return handle


async def patched(firm: Firm) -> Handle:
    """The deal's amount changes while it is built."""
    deal = firm.seed(firm.deal())
    firm.fault("kantata-main", kind="delay", method="POST", path="/stories", delay_ms=2000)
    handle = await firm.start(deal)
    await firm.when(
        handle,
        lambda view: any(s.id.startswith("structure.") and s.state is StepState.RUNNING for s in view.steps),
    )
    firm.change("Opportunity", deal.id, Name="Renamed in the last minute")
    await firm.until(handle, COMPLETE)
    return handle


async def undone(firm: Firm) -> Handle:
    """Refused by a vendor, then given up."""
    handle, view = await _refused(firm)
    await firm.resolve(handle, view, RepairAction.UNDO_ALL, reason="given up")
    await firm.until(handle, UNDONE)
    return handle


async def cancelled_while_parked(firm: Firm) -> Handle:
    """Refused by a vendor, then cancelled."""
    handle, _ = await _refused(firm)
    await handle.cancel()
    await firm.until(handle, UNDONE)
    return handle


async def continued_as_new_while_parked(firm: Firm) -> Handle:
    """Moved to current code while parked: this is the first run, which ends by continuing as new."""
    handle, _ = await _refused(firm)
    await firm.renew(handle)
    return handle


async def continued_as_new_then_complete(firm: Firm) -> Handle:
    """The run after: it starts from the saga's own state, parked, and goes on."""
    handle, step = await _refused(firm)
    again = await firm.renew(handle)
    await firm.until(again, PARKED)
    await firm.resolve(again, step)
    await firm.until(again, COMPLETE)
    return again


async def planned(firm: Firm) -> Handle:
    """A plan."""
    handle = await firm.start(firm.seed(firm.deal()), plan=True)
    await handle.result()
    return handle


async def _refused(firm: Firm) -> tuple[Handle, str]:
    firm.fault("kantata-main", kind="business", method="POST", path="/workspaces", message="no more projects")
    handle, view = await firm.run(firm.deal(), PARKED)
    return handle, parked(view)


STORIES: tuple[Callable[[Firm], Awaitable[Handle]], ...] = (
    complete,
    waited,
    repaired,
    amended,
    gated,
    patched,
    undone,
    cancelled_while_parked,
    continued_as_new_while_parked,
    continued_as_new_then_complete,
    planned,
)
MONTH_STORIES = (*BILLING_STORIES, *REVENUE_STORIES)
NAMES = tuple(story.__name__ for story in (*STORIES, *CHANGE_STORIES, *CLOSE_STORIES, *MONTH_STORIES))
"""Of all recorded histories."""


async def record(names: list[str]) -> None:
    """Play the stories and keep their histories, all of them or those named."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with local_firm(Path(folder)) as firm:
            for story in STORIES:
                if names and story.__name__ not in names:
                    continue
                handle = await story(firm)
                firm.calm()
                if story is not continued_as_new_while_parked:
                    await firm.end(handle)
                await _keep(firm, story.__name__, handle)
            for change in CHANGE_STORIES:
                if not names or change.__name__ in names:
                    await _keep(firm, change.__name__, await change(firm))
            month = Month(firm)
            for number, billing in enumerate(MONTH_STORIES, 1):
                if names and billing.__name__ not in names:
                    continue
                # The vendors count on from the highest id that they hold: each story has ids far above those.
                month.ids = itertools.count(number * 1_000_000)
                run = await billing(month)
                firm.calm()
                await ended(run)
                await _keep(firm, billing.__name__, run)
            closings = Closings(firm)
            closings.contracts = month.contracts
            for number, closing in enumerate(CLOSE_STORIES, len(MONTH_STORIES) + 1):
                if not names or closing.__name__ in names:
                    closings.ids = itertools.count(number * 1_000_000)
                    run = await closing(closings)
                    await ended(run)
                    await _keep(firm, closing.__name__, run)


async def _keep(firm: Firm, name: str, handle: Handle | Run) -> None:
    """Write down the history of one run, and of no later run of the same workflow."""
    run = handle.run_id or handle.result_run_id or handle.first_execution_run_id
    found = await firm.client.get_workflow_handle(handle.id, run_id=run).fetch_history()
    (HISTORIES / f"{name}.json").write_text(tidy(found.to_json()))
    print(f"{name}: {len(found.events)} events", flush=True)


def tidy(history: str) -> str:
    """One event a line, without the machine's name and folders, which no replay looks at."""
    events = [json.dumps(event, separators=(",", ":")) for event in json.loads(history)["events"]]
    lines = ",\n".join(
        _TRACE.sub('"stackTrace":""', _HOST.sub('"identity":"recorder"', one)) for one in events
    )
    return f'{{"events":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
    exit_now(0)
