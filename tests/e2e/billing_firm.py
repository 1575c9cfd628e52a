"""A month of work in a local firm: time in Kantata, contracts that bill it, runs of time-to-billing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from canonical.money import Money
from canonical.names import SagaName, saga_id
from canonical.opening import OpeningPosition
from canonical.saga import GateDecision, GateOutcome, SagaStatus, SagaView
from cli.local.deals import Deal, Line
from tests.e2e.firm import PATIENCE, ROOT_ACTOR, Firm, Json
from wiring.start_billing import BillingStarts, start_run

PSA, ERP = "kantata-main", "netsuite-emea"
ANNA, BRAM, CARLA = 71, 72, 73
CUTOFF = date(2026, 11, 30)
CONSULTANT = 6
Run = WorkflowHandle[Any, SagaView]
ADVISORY = Deal(
    number=60,
    name="Orchard advisory",
    account="Orchard Foods B.V.",
    lines=(Line("ADV", "1", "90000", start="2026-11-01"),),
)


@dataclass
class Project:
    """A contract that is set up: where its time is booked and posted."""

    contract: str
    code: str
    workspace: str
    job: str


@dataclass
class Month:
    """Seeds work, starts runs, judges what the vendors hold."""

    firm: Firm
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(500_000))

    def __post_init__(self) -> None:
        self.starts = BillingStarts(self.firm.settings, self.firm.mapping, ROOT_ACTOR)

    # --- what there is ----------------------------------------------------------------------------------

    async def project(self, deal: Deal = ADVISORY, *, opening: bool = True, **changes: Any) -> Project:
        """A deal carried to an active project by the first saga."""
        firm = self.firm
        handle, view = await firm.run(firm.deal(deal, **changes), SagaStatus.COMPLETE)
        ((contract, code),) = view.codes.items()
        links = {row.kind: row for row in await firm.ledger.links_of("project", contract, system=ERP)}
        (delivery,) = [
            row
            for row in (await firm.ledger.links(kind="delivery", system=PSA, limit=1_000)).rows
            if row.key.startswith(f"{contract}.")
        ]
        if opening and await firm.ledger.opening(contract) is None:
            currency = deal.currency
            position = OpeningPosition(contract_key=contract, billed_to_date=Money.of_minor(0, currency))
            await firm.ledger.import_openings([position], actor=ROOT_ACTOR, on=date(2026, 11, 1))
        await firm.end(handle)
        return Project(contract, code, delivery.record.id, links["project"].record.id)

    def time(
        self,
        project: Project,
        *days: int,
        user: int = BRAM,
        minutes: int = 480,
        role: int | None = CONSULTANT,
        status: str = "approved",
        **more: Any,
    ) -> list[str]:
        """A timesheet of entries on days of November."""
        sheet, now = next(self.ids), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entries = [
            {
                "id": next(self.ids),
                "workspace_id": project.workspace,
                "user_id": user,
                "role_id": role,
                "date_performed": f"2026-11-{day:02d}",
                "time_in_minutes": minutes,
                "billable": True,
                "rate_in_cents": 15_000,
                "recent_submission_id": sheet,
                "updated_at": now,
                **more,
            }
            for day in days
        ]
        submission = {
            "id": sheet,
            "title": "Week",
            "workspace_id": project.workspace,
            "user_id": user,
            "status": status,
            "start_date": "2026-11-01",
            "updated_at": now,
        }
        self.firm.control(
            PSA, "POST", "seed", {"timesheet_submissions": [submission], "time_entries": entries}
        )
        return [str(entry["id"]) for entry in entries]

    # --- runs -------------------------------------------------------------------------------------------

    async def start(self, through: date = CUTOFF) -> Run:
        """Start time-to-billing for a cutoff."""
        return await start_run(self.firm.client, self.starts.cutoff(PSA, ERP, through))

    async def post(self, run: str = "now") -> Run:
        """Start posting alone."""
        return await start_run(self.firm.client, self.starts.posting(PSA, ERP, run))

    async def view(self, handle: Run) -> SagaView:
        """A run's view, asked until a worker has it."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                found: SagaView = await handle.query("view", result_type=SagaView)
                return found
            except RPCError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.1)

    async def until(self, handle: Run, *states: SagaStatus, patience: float = 90) -> SagaView:
        """Wait until a run has come to one of these states."""
        give_up = time.monotonic() + patience
        while True:
            view = await self.view(handle)
            if view.status in states:
                return view
            stuck = "; ".join(
                f"{step.id}={step.state.value}: {step.failure.message if step.failure else step.note}"
                for step in view.steps
                if step.state.value not in ("done", "pending")
            )
            if view.status.is_final or time.monotonic() > give_up:
                raise AssertionError(f"{handle.id} is {view.status.value}: {view.headline} [{stuck}]")
            await asyncio.sleep(0.1)

    async def group_runs(self) -> list[Run]:
        """All runs of billing groups."""
        prefix = saga_id(SagaName.BILL_CONTRACT, self.firm.settings.about.region, ERP, "x")[:-1]
        found = []
        async for one in self.firm.client.list_workflows("WorkflowType = 'BillContract'"):
            if one.id.startswith(prefix):
                found.append(self.firm.client.get_workflow_handle(one.id, result_type=SagaView))
        return found

    async def approve(self, handle: Run, outcome: GateOutcome = GateOutcome.APPROVE, **more: Any) -> SagaView:
        """Decide at the only open gate of a run."""
        view = await self.until(handle, SagaStatus.GATED)
        (gate,) = view.gates
        decision = GateDecision(
            command_id=f"{handle.id}/{gate.id}/{outcome.value}",
            step=gate.id,
            outcome=outcome,
            actor=ROOT_ACTOR,
            reason=more.pop("reason", "looked at it"),
            **more,
        )
        done: SagaView = await handle.execute_update("decide", decision, result_type=SagaView)
        return done

    # --- what the vendors hold --------------------------------------------------------------------------

    def posted(self, project: Project) -> list[Json]:
        """Time entries of a project in NetSuite."""
        return [row for row in self.firm.records(ERP, "timeBill") if row["customer"]["id"] == project.job]

    def invoices(self) -> list[Json]:
        """Invoices in NetSuite."""
        return self.firm.records(ERP, "invoice")

    def twice(self) -> list[str]:
        """Stamps that more than one posting carries: always empty, whatever happened."""
        stamps = Counter(str(row.get("externalId")) for row in self.firm.records(ERP, "timeBill"))
        return [stamp for stamp, count in stamps.items() if count > 1]
