"""Closings in a local firm: what people do before one can go through, and what the vendors hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from canonical.engagement import Contract
from canonical.saga import GateOutcome, SagaStatus, SagaView, StepState
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ERP, PSA, Project, Run
from tests.e2e.firm import ROOT_ACTOR, Json
from wiring.start_closing import ClosingStarts, start_closing


@dataclass
class Closings(Month):
    """A month whose projects come to an end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        firm = self.firm
        self.closing = ClosingStarts(firm.settings, firm.mapping, firm.ledger, ROOT_ACTOR)

    async def close_project(self, project: Project, *, plan: bool = False) -> Run:
        """Start closing it."""
        start = await self.closing.close(project.contract, "the work is done", plan=plan)
        return await start_closing(self.firm.client, start)

    async def reopen_project(self, project: Project, reason: str = "there is more to do") -> Run:
        """Start opening it again."""
        row = await self.firm.ledger.project_closing(project.contract)
        assert row is not None
        return await start_closing(self.firm.client, await self.closing.reopen(row, reason))

    async def answer(self, run: Run, choice: str | None, reason: str = "", **more: Any) -> SagaView:
        """Decide at the gate of a closing."""
        return await self.decide(run, choice=choice, reason=reason, **more)

    async def asked_again(self, run: Run, revision: int) -> SagaView:
        """The gate as it asks after it was answered at ``revision``."""
        for _ in range(2_000):
            view = await self.until(run, SagaStatus.GATED)
            step = next(one for one in view.steps if one.id == "judge")
            if view.revision > revision + 2 and step.state is StepState.DONE:
                return view
            await asyncio.sleep(0.05)
        raise AssertionError(f"{run.id} did not ask again")

    async def give_up(self, run: Run) -> SagaView:
        """Reject the closing."""
        await self.decide(run, GateOutcome.REJECT, reason="not yet")
        return await self.until(run, SagaStatus.UNDONE)

    def released(self, project: Project) -> None:
        """Delivery releases its positions and completes its milestones."""
        for row in self.of(project, "workspace_resources"):
            if row.get("user_id") is None:
                self.kantata("DELETE", f"workspace_resources/{row['id']}")
        for row in self.of(project, "stories"):
            if row["story_type"] == "milestone":
                self.kantata("PUT", f"stories/{row['id']}", {"story": {"state": "completed"}})

    def recognised(self, project: Project) -> None:
        """The account's own revenue recognition has run to the end."""
        orders = [one for one in self.firm.records(ERP, "salesOrder") if one["job"]["id"] == project.job]
        for order in orders:
            plans = [
                plan
                for plan in self.firm.records(ERP, "revenuePlan")
                if plan["createdFrom"]["id"] == order["id"]
            ]
            left = sum(plan["amount"] - plan["recognizedAmount"] for plan in plans)
            if left:
                body = {"order": order["id"], "amount": str(left)}
                self.firm.control(ERP, "POST", "recognise", body)

    def of(self, project: Project, kind: str) -> list[Json]:
        """Records of a delivery project."""
        rows = self.firm.records(PSA, kind)
        return [row for row in rows if str(row["workspace_id"]) == project.workspace]

    async def terms(self, project: Project) -> Contract:
        """Its contract."""
        return await self.agreed(project)

    def shown(self, project: Project) -> dict[str, Any]:
        """How the vendors themselves show that it is open or closed."""
        (space,) = (
            row for row in self.firm.records(PSA, "workspaces") if str(row["id"]) == project.workspace
        )
        (job,) = (row for row in self.firm.records(ERP, "job") if row["id"] == project.job)
        deals = {
            row["Id"]: row.get("Project_Status__c") for row in self.firm.records("sf-main", "Opportunity")
        }
        return {
            "archived": space["archived"],
            "status": str(space["status_key"]),
            "job": job["entityStatus"]["id"],
            "deal": deals.get(project.contract.split(".")[0]),
        }


OPEN = {"archived": False, "status": "310", "job": "2", "deal": "Active"}
CLOSED = {"archived": True, "status": "330", "job": "1", "deal": "Closed"}
