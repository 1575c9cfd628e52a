"""``RevenueFollowUp``: the ERP gets its inputs, its revenue is read back, all is compared (rule 2).

Contract by contract, several side by side. One that fails parks by itself; the others go on. What was sent is
right and stays: inputs are facts to date, and the next run replaces them by newer ones.
"""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    BeginRun,
    BillingActivities,
    FollowedContract,
    ListContracts,
    MeasureContract,
    MeasuredContract,
    MeasuringActivities,
    ProgressActivities,
    ProgressSent,
    ReadRevenue,
    RevenueActivities,
    RevenueRead,
    SendProgress,
    StartRevenueFollowUp,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, SagaName, system_queue
from canonical.progress import SendState
from canonical.saga import SagaStatus, SagaView, StepKind, StepState
from workflows.figures import held_together, summed
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

FOLLOWING_UP = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.PLANNED: "Planned: nothing was sent.",
        SagaStatus.STOPPED: "Stopped: what the ERP was told is right and stays, the next run does the rest.",
    },
)


@workflow.defn(name="RevenueFollowUp", failure_exception_types=[ValidationError])
class RevenueFollowUp(SagaHandlers):
    """One run per legal entity, ERP and period."""

    @workflow.init
    def __init__(self, start: StartRevenueFollowUp | None = None) -> None:
        start = StartRevenueFollowUp.model_validate(start)
        self.start = start
        self.follows = start
        title = f"Following up the revenue of {start.entity} for {start.period}"
        self.saga = Saga(SagaName.REVENUE_FOLLOW_UP.value, start, title, FOLLOWING_UP)
        self._turning = False

    @workflow.run
    async def run(self, start: StartRevenueFollowUp | None = None) -> SagaView:
        """Follow every contract once; a later run sends what has changed since."""
        return await self.saga.conduct(self.follow_up)

    # --- the business process -----------------------------------------------------------------------

    async def follow_up(self) -> None:
        """Collect the contracts, and follow each."""
        if not self.start.plan:
            await self.saga.step(
                "begin",
                "Register the run",
                BillingActivities.begin_run,
                BeginRun(saga=self.saga.ref, name=SagaName.REVENUE_FOLLOW_UP.value, reason=self.start.reason),
                kind=StepKind.READ,
                queue=LEDGER_QUEUE,
            )
        for id_, title, system in (
            ("collect", "Collect the contracts", None),
            ("measure", f"Read estimates and acceptance in {self.follows.psa}", self.follows.psa),
            ("send", f"Tell {self.start.system} the progress", self.start.system),
            ("read", "Read recognised and deferred back", self.start.system),
        ):
            self.saga.stage(id_, title, system)
        while True:
            await self._all()
            if not self._turning or (self._all_listed() and not self._notes("open")):
                break
            await self.saga.boundary()
        self.saga.nothing_to_do("collect", "measure", "send", "read")
        self.saga.state.conclusion = self._words()

    async def _all(self) -> None:
        """Follow contracts side by side until there are none, or until this run is to continue as new."""
        open_ = [FollowedContract.model_validate(one) for one in self._notes("open")]
        tasks = {one.key: asyncio.create_task(self._contract(one)) for one in open_}
        waiting: list[FollowedContract] = []
        try:
            while not self.saga.stopping:
                if self._has_room(tasks) and (waiting or not self._over()):
                    waiting = waiting or await self._next_page()
                    if waiting:
                        self._begin(waiting.pop(0), tasks)
                elif not waiting and self._idle(tasks):
                    break
                else:
                    await self._moved(tasks, more=bool(waiting))
        finally:
            # What is parked when the run turns goes on in the next one.
            ended = [
                task for task in tasks.values() if task.done() or not self._turning or self.saga.stopping
            ]
            outcomes = await asyncio.gather(*ended, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self.saga.checkpoint()

    def _begin(self, one: FollowedContract, tasks: dict[str, asyncio.Task[None]]) -> None:
        self._notes("open").append(one.model_dump(mode="json"))
        tasks[one.key] = asyncio.create_task(self._contract(one))

    def _idle(self, tasks: dict[str, asyncio.Task[None]]) -> bool:
        """Whether nothing is left for this run: all ended, or only what is parked is left for the next."""
        if all(task.done() for task in tasks.values()):
            return self._over()
        return self._turning and not self._active(tasks)

    async def _moved(self, tasks: dict[str, asyncio.Task[None]], *, more: bool) -> None:
        """Wait for room for a contract, for the end, a stop or a turn."""
        await workflow.wait_condition(
            lambda: (
                self.saga.stopping
                or self._idle(tasks)
                or (self._has_room(tasks) and (more or not self._over()))
            )
        )

    def _over(self) -> bool:
        """Whether no further page is to be read in this run."""
        if not self._turning and self.saga.renewal_due():
            self._turning = True
        return self._all_listed() or self._turning

    def _all_listed(self) -> bool:
        return bool(self.saga.state.progress.get("all_listed"))

    def _has_room(self, tasks: dict[str, asyncio.Task[None]]) -> bool:
        pace = self.follows.pace
        return self._active(tasks) < pace.at_once and len(self._parked()) < pace.most_parked

    def _active(self, tasks: dict[str, asyncio.Task[None]]) -> int:
        """Contracts under way; what waits for a person takes nobody's place."""
        parked = self._parked()
        return sum(not task.done() and key not in parked for key, task in tasks.items())

    def _parked(self) -> set[str]:
        steps = [step for step in self.saga.state.steps if step.state is StepState.PARKED]
        return {step.id.partition(".")[2] for step in steps}

    async def _next_page(self) -> list[FollowedContract]:
        progress = self.saga.state.progress
        number = progress.get("pages", 0) + 1
        step = f"collect.{number}"
        page = await self.saga.step(
            step,
            "Collect the contracts",
            RevenueActivities.list_contracts,
            ListContracts(
                saga=self.saga.ref,
                entity=self.follows.entity,
                erp=self.start.system,
                first=self.follows.first,
                last=self.follows.last,
                after=progress.get("after", ""),
                limit=self.follows.pace.page,
            ),
            kind=StepKind.READ,
            queue=LEDGER_QUEUE,
        )
        progress.update(
            pages=number,
            after=page.after or "",
            all_listed=page.after is None,
            listed=progress.get("listed", 0) + len(page.contracts),
        )
        self.saga.fold(step, "collect", f"{progress['listed']:,} contracts")
        return list(page.contracts)

    # --- one contract -------------------------------------------------------------------------------

    async def _contract(self, one: FollowedContract) -> None:
        """Measure, send, read back."""
        sent = ProgressSent(state=SendState.NOTHING)
        if one.inputs:
            sent = await self._send(one.key, await self._measure(one.key))
        read = await self._read(one.key, sent)
        self._count(one, read)

    async def _measure(self, key: str) -> MeasuredContract:
        psa = self.follows.psa
        return await self.saga.step(
            f"measure.{key}",
            f"Read estimates and acceptance of {key}",
            MeasuringActivities.measure,
            MeasureContract(
                saga=self.saga.ref,
                step=f"measure.{key}",
                system=psa,
                contract=key,
                last=self.follows.last,
            ),
            kind=StepKind.READ,
            queue=system_queue(psa),
            system=psa,
        )

    async def _send(self, key: str, measured: MeasuredContract) -> ProgressSent:
        erp = self.start.system
        return await self.saga.step(
            f"send.{key}",
            f"Tell the progress of {key} for {self.follows.period}",
            ProgressActivities.send_progress,
            SendProgress(
                saga=self.saga.ref,
                step=f"send.{key}",
                system=erp,
                contract=key,
                period=self.follows.period,
                first=self.follows.first,
                last=self.follows.last,
                measured=measured.lines,
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=system_queue(erp),
            call=CallClass.WRITE,
            system=erp,
        )

    async def _read(self, key: str, sent: ProgressSent) -> RevenueRead:
        erp = self.start.system
        return await self.saga.step(
            f"read.{key}",
            f"Read the revenue of {key} back",
            ProgressActivities.read_revenue,
            ReadRevenue(
                saga=self.saga.ref,
                step=f"read.{key}",
                system=erp,
                contract=key,
                entity=self.follows.entity,
                period=self.follows.period,
                last=self.follows.last,
                state=sent.state,
                revision=sent.revision,
                findings=sent.findings,
            ),
            kind=StepKind.READ,
            queue=system_queue(erp),
            system=erp,
        )

    def _count(self, one: FollowedContract, read: RevenueRead) -> None:
        progress, state = self.saga.state.progress, self.saga.state
        progress["open"] = [kept for kept in self._notes("open") if kept["key"] != one.key]
        progress["followed"] = progress.get("followed", 0) + 1
        progress["differences"] = progress.get("differences", 0) + read.differences
        self.saga.show(tallies=summed(state.tallies, read.tallies), held=held_together(state.held, read.held))
        # A plan keeps its steps: they hold what would be written.
        for stage in () if self.start.plan else ("measure", "send", "read"):
            self.saga.fold(f"{stage}.{one.key}", stage, f"{progress['followed']:,} contracts")
        state.headline = f"Revenue of {self.follows.entity} for {self.follows.period}: {self._how_many()}"

    def _notes(self, name: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.saga.state.progress.setdefault(name, [])
        return found

    def _how_many(self) -> str:
        by_state = {one.state: one.items for one in self.saga.state.tallies}
        # Contracts end in any order; the sentence has one.
        words = [f"{by_state[state]:,} {state}" for state in SendState if state in by_state]
        return ", ".join(words) or "no contract"

    def _words(self) -> str:
        followed = self.saga.state.progress.get("followed", 0)
        if not followed:
            return f"No contract of {self.follows.entity} has work or open revenue in {self.follows.period}."
        contracts = f"{followed:,} {'contract' if followed == 1 else 'contracts'}"
        words = [f"{contracts} of {self.follows.entity} for {self.follows.period}: {self._how_many()}."]
        causes = ", ".join(f"{one.cause.value} {one.tally.items:,}" for one in self.saga.state.held)
        words += [f"Held: {causes}."] if causes else []
        wrong = self.saga.state.progress.get("differences", 0)
        if wrong:
            words.append(f"{wrong:,} {'difference' if wrong == 1 else 'differences'} to look at.")
        return " ".join(words)
