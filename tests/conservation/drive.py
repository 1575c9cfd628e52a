"""Runs generated months on a real Temporal server with real workers and the vendors over HTTP.

The driver plays the people: it books and approves time, reviews drafts, approves credits. It tells the judge
what it did, and never what the product made of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.service import RPCError

from canonical.causes import Cause
from canonical.invoicing import DocumentState, LineAction, LineDecision
from canonical.money import Money
from canonical.saga import Actor, GateDecision, GateOutcome, GateRequest, SagaView
from cli.local.config import QUICK_RETRY
from ledger.store import Ledger
from rules.review import BILL, GIVE_UP
from runtime.search_attributes import SAGA_STATUS
from tests.chaos.firm import ROLES, ChaosFirm, Zygote
from tests.conservation import seeding, vendor
from tests.conservation.generate import Case, Entry, Event
from tests.conservation.terms import DECIMALS, NewRates, Verdict
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import Run
from tests.e2e.firm import Firm
from wiring.ledger import open_ledger
from wiring.start_billing import start_run

CARLA = Actor(name="carla", roles=("credit-manager", "billing-manager"))
OPEN = tuple(state for state in DocumentState if state.is_open)
TOKEN = {"Authorization": "Bearer kantata-token"}
STUCK = ("parked", "undo-blocked")
POLL = 0.1
QUIET, STILL = 6, 30
"""So many looks without any run, or with stuck ones only, until a run counts as over."""
FIRM_RUNS = (
    "WorkflowType IN ('BillContract', 'ChangeRates', 'CreditInvoice', 'PostApprovedTime')"
    " AND ExecutionStatus = 'Running'"
)


@dataclass
class Books:
    """A firm, its months, and the problems that the driver met."""

    firm: ChaosFirm
    month: Month
    ledger: Ledger
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """The last refusal of a decision, by run."""
    decided: int = 0
    """Gates decided."""
    choices: dict[str, str] = field(default_factory=dict)
    """What is chosen at a run's gates, by its id, where it is not the first that is offered."""

    # --- what there is ----------------------------------------------------------------------------------

    async def seed(self, cases: Sequence[Case]) -> None:
        """Contracts, projects and workers."""
        self.cases += cases
        await self.firm.control("netsuite", "POST", "seed", seeding.erp_seed(cases))
        await self.firm.control("kantata", "POST", "seed", seeding.psa_seed(cases))
        await seeding.tell_ledger(self.ledger, cases)

    async def book(self, work: Iterable[tuple[Case, Sequence[Entry]]]) -> None:
        """Time and expenses, each with its approval."""
        seeds = [seeding.work_seed(case, entries) for case, entries in work if entries]
        if seeds:
            await self.firm.control("kantata", "POST", "seed", seeding.merged(seeds))

    async def happen(self, case: Case, event: Event) -> None:
        """What somebody does in delivery, by its own API."""
        sheet = seeding.sheet_of(event.id) if event.id.isdigit() else 0
        kind = {str(one.id): one.kind for month in case.work for one in month}.get(event.id, "time")
        container = "timesheet_submissions" if kind == "time" else "expense_report_submissions"
        match event.what:
            case "edit":
                body: Any = {"time_entry": {"time_in_minutes": event.minutes}}
                await self.psa("PUT", f"time_entries/{event.id}", body)
            case "reject":
                await self.psa("PUT", f"{container}/{sheet}/reject", {"resolution": {"description": "no"}})
            case "approve":
                await self.psa("PUT", f"{container}/{sheet}/approve", {"resolution": {}})
            case "delete":
                await self.psa("DELETE", f"time_entries?ids={event.id}", None)
            case "complete" | "reopen":
                state = "completed" if event.what == "complete" else "started"
                story = case.terms.story[event.id]
                await self.psa("PUT", f"stories/{story}", {"story": {"state": state}})
            case "progress":
                body = {"story": {"percentage_complete": event.percent}}
                await self.psa("PUT", f"stories/{case.terms.story[event.id]}", body)
            case "accept":
                rows = seeding.acceptance(case.terms.story[event.id])
                await self.firm.control("kantata", "POST", "seed", {"custom_field_values": rows})
            case _:
                raise ValueError(f"nobody knows how to {event.what}")

    async def agree(self, cases: Sequence[Case]) -> None:
        """Terms that changed between the months, and what their caps held let go."""
        changed = [case for case in cases if case.changed is not None]
        for case in changed:
            assert case.changed is not None
            terms = seeding.contract(case.changed)
            await self.ledger.add_contract_version(terms, saga_id="change", effective_on=terms.start)
        if not changed:
            return
        # Workers keep a contract's terms for a moment; new ones have not read them yet.
        await self.firm.kill_and_restart(*ROLES)
        for case in changed:
            command = self.month.starts.release(
                seeding.PSA,
                seeding.ERP,
                [Cause.OVER_CAP],
                f"cap-raised-{case.terms.project}",
                plan=False,
                project_code=seeding.code_of(case.terms),
            )
            await self.attend(await start_run(self.firm.client, command), {}, 120)

    async def rate(self, cases: Sequence[Case]) -> AsyncIterator[list[tuple[Case, NewRates]]]:
        """Rates that change between the months: one change of every contract at a time, each decided."""
        for number in range(max((len(case.rates) for case in cases), default=0)):
            changing = [(case, case.rates[number]) for case in cases if number < len(case.rates)]
            runs = []
            for case, change in changing:
                rates = seeding.card(case.terms, change.spans, 2 + number)
                command = self.month.starts.rates(
                    seeding.PSA, seeding.ERP, case.terms.key, rates, "agreed with the client"
                )
                self.choices[command.saga_id] = BILL if change.bills else GIVE_UP
                runs.append(await start_run(self.firm.client, command))
            for run in runs:
                await self.attend(run, {}, 120)
            yield changing

    async def psa(self, method: str, path: str, body: Any) -> Any:
        """A call of delivery's own API, as its users' browser makes it.

        Raises:
            RuntimeError: refused.
        """
        url = f"{self.firm.urls['kantata']}/api/v1/{path}"
        answer = await self.firm.http.request(method, url, json=body, headers=TOKEN)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    # --- what the vendors hold --------------------------------------------------------------------------

    async def records(self, system: str) -> vendor.Records:
        """All live records of a vendor, with exact decimals."""
        answer = await self.firm.http.get(f"{self.firm.urls[system]}/_sim/records")
        found: vendor.Records = vendor.parse(answer.text)
        return found

    async def delivered(self) -> vendor.Delivered:
        """Delivery now."""
        return vendor.delivered(await self.records("kantata"))

    async def erp(self) -> vendor.Erp:
        """The ERP now."""
        return vendor.erp(await self.records("netsuite"))

    async def writes(self, system: str) -> list[vendor.Row]:
        """Every accepted write."""
        rows: list[vendor.Row] = await self.firm.control(system, "GET", "writes")
        return rows

    async def approvals(self) -> dict[str, dict[str, list[vendor.Row]]]:
        """How the approval of every line came and went, by record type and id."""
        return {
            type_: await self.firm.control("kantata", "GET", f"approvals?type={type_}")
            for type_ in ("time_entries", "expenses")
        }

    # --- runs -------------------------------------------------------------------------------------------

    async def post(self, name: str, patience: float = 180) -> SagaView | None:
        """Post what is approved, and approve the credits that it proposes."""
        return await self.attend(await self.month.post(name), {}, patience)

    async def bill(
        self, through: date, verdicts: Mapping[str, Verdict], patience: float = 300
    ) -> SagaView | None:
        """Time-to-billing for a cutoff, with a reviewer at every draft."""
        return await self.attend(await self.month.start(through), verdicts, patience)

    async def attend(self, run: Run, verdicts: Mapping[str, Verdict], patience: float) -> SagaView | None:
        """Decide at every gate until the run, and all that it began, has ended; None when it did not."""
        give_up, quiet, still = time.monotonic() + patience, 0, 0
        done: set[str] = set()
        stuck: dict[str, str] = {}
        while quiet < QUIET and still < STILL:
            stuck = {}
            running, waiting = 0, []
            async for one in self.firm.client.list_workflows(FIRM_RUNS):
                running += 1
                if one.typed_search_attributes.get(SAGA_STATUS) in ("gated", *STUCK):
                    waiting.append(self.firm.client.get_workflow_handle(one.id, result_type=SagaView))
            for handle in waiting:
                if not await self._gate(handle, verdicts, done):
                    stuck |= await self._stuck(handle)
            closed = (await run.describe()).status is not WorkflowExecutionStatus.RUNNING
            if not closed:
                stuck |= await self._stuck(run)
            quiet = quiet + 1 if closed and not running else 0
            # What waits for a person who is not there holds up nobody else: give the others time to end.
            still = still + 1 if stuck and running <= len(stuck) else 0
            if time.monotonic() > give_up:
                self.problems.append(f"{run.id} did not end within {patience:.0f} s")
                return None
            await asyncio.sleep(POLL)
        self.problems += [f"{id_}: {words}" for id_, words in stuck.items()]
        return await self.month.view(run)

    async def _stuck(self, handle: Run) -> dict[str, str]:
        try:
            view: SagaView = await handle.query("view", result_type=SagaView)
        except RPCError:
            return {}
        if view.status.value not in STUCK:
            return {}
        failures = [step.failure.message for step in view.steps if step.failure is not None]
        return {handle.id: f"{view.status.value}: {' '.join(failures)}"[:400]}

    async def _gate(self, handle: Run, verdicts: Mapping[str, Verdict], done: set[str]) -> bool:
        """Decide at a run's gate, if it waits at one."""
        try:
            view: SagaView = await handle.query("view", result_type=SagaView)
        except RPCError:
            return False
        gates = [step.gate for step in view.steps if step.gate is not None and step.state.value == "gated"]
        for gate in gates:
            command = f"{handle.id}/{gate.step}"
            amendment = await self._amendment(handle.id, gate, verdicts, done)
            decision = GateDecision(
                command_id=command,
                step=gate.step,
                outcome=GateOutcome.AMEND if amendment else GateOutcome.APPROVE,
                actor=CARLA,
                reason="looked at it",
                choice=self.choices.get(handle.id, next(iter(gate.choices), None)),
                amendment={"decisions": amendment} if amendment else None,
            )
            try:
                await handle.execute_update("decide", decision, result_type=SagaView)
                self.decided += 1
            except (RPCError, WorkflowUpdateFailedError) as refused:
                # It has been decided meanwhile, or its run is being replaced; what stays shut is noticed.
                self.refused[handle.id] = str(refused.__cause__ or refused)[:300]
                return False
        return bool(gates)

    async def _amendment(
        self, run: str, gate: GateRequest, verdicts: Mapping[str, Verdict], done: set[str]
    ) -> list[dict[str, Any]]:
        if gate.gate != "draft-review" or not verdicts:
            return []
        drafts = await self.ledger.documents(saga_id=run, states=OPEN)
        found = []
        for line in await self.ledger.document_lines(drafts[-1].key) if drafts else ():
            source = line.item.source
            verdict = verdicts.get(source)
            if verdict is None or source in done:
                continue
            done.add(source)
            amount = line.allocation.amount
            decided = LineDecision(
                allocation_key=line.allocation.key,
                action=LineAction(verdict.action),
                reason="agreed with the client",
                amount=_least(verdict, amount) if verdict.action == "write_down" else None,
                until=verdict.until,
            )
            found.append(decided.model_dump(mode="json"))
        return found


def _least(verdict: Verdict, amount: Money) -> Money:
    minor = min(verdict.minor, amount.minor)
    value = Decimal(minor).scaleb(-DECIMALS[amount.currency])
    return Money(amount=value, currency=amount.currency)


@asynccontextmanager
async def books(
    folder: Path,
    zygote: Zygote,
    workers: Sequence[Case] = (),
    change: Callable[[str], str] = str,
    **options: Any,
) -> AsyncIterator[Books]:
    """A firm with the workers of these cases.

    Args:
        folder: for its files.
        zygote: makes the worker processes.
        workers: cases whose workers HR knows.
        change: of the configuration's text, beside what every generated month needs.
        options: of ``ChaosFirm``.
    """

    def configure(text: str) -> str:
        with (folder / "hr.csv").open("a") as out:
            out.write(seeding.hr_rows(workers))
        return change(seeding.configuration(text))

    firm = ChaosFirm(folder, zygote, config=configure, **{"retry": QUICK_RETRY, **options})
    ledger: Ledger | None = None
    try:
        await firm.open()
        await firm.control("netsuite", "POST", "seed", {"currency": seeding.currencies()})
        ledger = await open_ledger(firm.settings)
        month = Month(Firm(firm.stack, firm.client, firm.settings, firm.mapping, ledger))
        firm.http.timeout = httpx.Timeout(120)
        yield Books(firm, month, ledger)
    finally:
        if ledger is not None:
            await ledger.close()
        await firm.close()
