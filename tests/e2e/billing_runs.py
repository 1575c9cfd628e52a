"""Runs of time-to-billing: started, watched, decided, and where what they bill is."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from canonical.engagement import Contract
from canonical.items import AllocationKind
from canonical.money import Money
from canonical.names import SagaName, saga_id
from canonical.saga import GateDecision, GateOutcome, SagaStatus, SagaView
from ledger.billing_rows import DocumentRow
from rules.grouping import group_key, group_of
from tests.e2e.billing_terms import (
    CURRENCIES,
    CUTOFF,
    ERP,
    PSA,
    Project,
    Run,
)
from tests.e2e.firm import PATIENCE, ROOT_ACTOR, Firm
from wiring.start_billing import BillingStarts, start_run

CARLA = "carla"
"""A billing manager who starts no runs."""


@dataclass
class Runs:
    """Starts runs and decides at their gates."""

    firm: Firm
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(500_000))

    def __post_init__(self) -> None:
        self.starts = BillingStarts(self.firm.settings, self.firm.mapping, ROOT_ACTOR)

    async def agreed(self, project: Project) -> Contract:
        """The terms in force."""
        row = await self.firm.ledger.contract_version(project.contract)
        assert row is not None
        return Contract.model_validate(row.terms)

    async def start(self, through: date = CUTOFF) -> Run:
        """Start time-to-billing for a cutoff."""
        return await start_run(self.firm.client, self.starts.cutoff(PSA, ERP, through))

    async def post(self, run: str = "now") -> Run:
        """Start posting alone."""
        return await start_run(self.firm.client, self.starts.posting(PSA, ERP, run))

    async def posting(self, run: str) -> SagaView:
        """Post what is approved, to its end."""
        return await self.until(await self.post(run), SagaStatus.COMPLETE)

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
                if view.status.is_final:
                    await self._closed(handle, give_up - time.monotonic())
                return view
            stuck = "; ".join(
                f"{step.id}={step.state.value}: {step.failure.message if step.failure else step.note}"
                for step in view.steps
                if step.state.value not in ("done", "pending")
            )
            if view.status.is_final or time.monotonic() > give_up:
                raise AssertionError(f"{handle.id} is {view.status.value}: {view.headline} [{stuck}]")
            await asyncio.sleep(0.1)

    @staticmethod
    async def _closed(handle: Run, seconds: float) -> None:
        """Wait until the engine has closed a run too: until then a start of the same name joins it."""
        with contextlib.suppress(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), max(seconds, 1))

    async def group_runs(self, *, open_only: bool = False) -> list[Run]:
        """Runs of billing groups, the latest first."""
        prefix = saga_id(SagaName.BILL_CONTRACT, self.firm.settings.about.region, ERP, "x")[:-1]
        found = []
        query = "WorkflowType = 'BillContract'"
        if open_only:
            query += " AND ExecutionStatus = 'Running'"
        async for one in self.firm.client.list_workflows(query):
            if one.id.startswith(prefix):
                found.append(self.firm.client.get_workflow_handle(one.id, result_type=SagaView))
        return found

    async def decide(
        self, handle: Run, outcome: GateOutcome = GateOutcome.APPROVE, *, patience: float = 60, **more: Any
    ) -> SagaView:
        """Decide at the only open gate of a run: another one than who asked."""
        view = await self.until(handle, SagaStatus.GATED, patience=patience)
        (gate,) = view.gates
        assert gate.gate is not None
        decision = GateDecision(
            command_id=f"{handle.id}/{gate.id}/{outcome.value}/{next(self.ids)}",
            step=gate.id,
            outcome=outcome,
            actor=ROOT_ACTOR if gate.gate.requester == CARLA else self.firm.settings.actor(CARLA),
            reason=more.pop("reason", "looked at it"),
            **more,
        )
        done: SagaView = await handle.execute_update("decide", decision, result_type=SagaView)
        return done

    async def close(
        self, through: date = CUTOFF, *, hold: Iterable[str] = (), patience: float = 240
    ) -> tuple[SagaView, dict[str, SagaView]]:
        """Post and bill up to a cutoff; every draft is released as it is.

        Args:
            through: the cutoff.
            hold: bill-to clients or contracts whose drafts are left at their gates.
            patience: seconds.

        Returns:
            The run's end, and the view of every group that was billed by it, by contract or project.
        """
        run = await self.start(through)
        await self.release_drafts(run, hold=hold, patience=patience)
        view = await self.until(run, SagaStatus.COMPLETE, patience=patience)
        return view, {}

    async def release_drafts(self, run: Run, *, hold: Iterable[str] = (), patience: float = 240) -> None:
        """Release every draft that waits for review, until the run has ended."""
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            view = await self.view(run)
            if view.status.is_final:
                return
            for group in await self.group_runs(open_only=True):
                found = await self.view(group)
                if found.status is SagaStatus.GATED and not any(word in group.id for word in hold):
                    await self.decide(group)
            await asyncio.sleep(0.2)
        raise AssertionError(f"{run.id} is still {view.status.value}: {view.headline}")

    async def lines(self, project: Project) -> dict[int, str]:
        """Keys of the lines of a contract's latest invoice, by day of November."""
        rows = [row for row in await self.documents(project) if row.corrects is None]
        return {
            one.item.work_date.day: one.allocation.key
            for one in await self.firm.ledger.document_lines(rows[-1].key)
        }

    async def documents(self, project: Project) -> list[DocumentRow]:
        """A contract's invoices and credits in the ledger, oldest first."""
        group = group_of(await self.agreed(project), project.code, None)
        return await self.firm.ledger.documents(group_key=group_key(group))

    async def left(self, project: Project, day: int) -> dict[str, Money]:
        """Where the amounts of a day's work are that are on no invoice."""
        page = await self.firm.ledger.items(
            contract_key=project.contract, first=date(2026, 11, day), last=date(2026, 11, day)
        )
        (item,) = page.rows
        kinds = {AllocationKind.HELD: "held", AllocationKind.WRITTEN_OFF: "written"}
        found = {"open": item.open} if item.open is not None and item.open.amount else {}
        for row in await self.firm.ledger.allocations(item.key):
            if row.kind in kinds and row.left.amount:
                found[kinds[row.kind]] = row.left
        return found

    async def fired(self, system: str, *, patience: float = 30) -> None:
        """Wait until every injected fault has fired."""
        give_up = time.monotonic() + patience
        while not all(self.firm.fired(system)):
            assert time.monotonic() < give_up, "a fault never fired"
            await asyncio.sleep(0.05)

    async def handed_over(self, *, patience: float = 30) -> None:
        """Wait until NetSuite has a job that it has not begun."""
        give_up = time.monotonic() + patience
        while all(job["completed"] for job in self.firm.control(ERP, "GET", "jobs")):
            assert time.monotonic() < give_up, "no job was handed over"
            await asyncio.sleep(0.05)

    def rate(self, currency: str, day: str, rate: str) -> None:
        """An exchange rate to euros in NetSuite, from a day on."""
        row = {
            "baseCurrency": {"id": CURRENCIES["EUR"]},
            "transactionCurrency": {"id": CURRENCIES[currency]},
            "effectiveDate": day,
            "exchangeRate": float(rate),
        }
        self.firm.control(ERP, "POST", "seed", {"currencyRate": [row]})

    def starts_as(self, name: str) -> BillingStarts:
        """Starts on behalf of somebody else."""
        return BillingStarts(self.firm.settings, self.firm.mapping, self.firm.settings.actor(name))

    async def credit_of(self, project: Project, *, patience: float = 30) -> Run:
        """The latest run that proposes a credit of a contract's invoice."""
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            async for one in self.firm.client.list_workflows("WorkflowType = 'CreditInvoice'"):
                if f".{project.contract}-" in one.id:
                    return self.firm.client.get_workflow_handle(one.id, result_type=SagaView)
            await asyncio.sleep(0.2)
        raise AssertionError(f"nobody proposes a credit of {project.contract}")

    async def group_of(self, project: Project, *, patience: float = 120) -> Run:
        """The latest run of the group that bills a contract."""
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            for group in await self.group_runs():
                if project.contract.lower() in group.id.lower():
                    return group
            await asyncio.sleep(0.2)
        raise AssertionError(f"no run bills {project.contract}")
