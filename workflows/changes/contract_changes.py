"""``ContractChanges``: a contract's change orders, one at a time, in the order of their versions (rule 43).

One run per contract. It is told of a change order by its number in the ledger (signal-with-start) and asks
the ledger whose turn it is. It ends when none is left; the next one starts it again.
"""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    ChangeActivities,
    NothingToAmend,
    StartChangeOrder,
    StartContractChanges,
    TakeChange,
    TakenChange,
)
from activities.options import CallClass
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.names import (
    EVENT_SIGNAL,
    LEDGER_QUEUE,
    LEDGER_SYSTEM,
    SagaName,
    change_name,
    saga_id,
)
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.changes.change_order import ChangeOrderSaga
from workflows.kernel.children import handed_on
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

SERVING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.STOPPED: "Stopped: the next change order takes up what waits.",
    },
)
LOOK, BASE, UNDECIDED = "look", "base", "undecided"


@workflow.defn(name="ContractChanges", failure_exception_types=[ValidationError])
class ContractChanges(SagaHandlers):
    """One run per contract."""

    @workflow.init
    def __init__(self, start: StartContractChanges | None = None) -> None:
        start = StartContractChanges.model_validate(start)
        self.start = start
        self.contract = start.contract
        self.saga = Saga(
            SagaName.CONTRACT_CHANGES.value, start, f"Change orders of contract {start.contract}", SERVING
        )
        self.told = 0
        self.seen = 0

    @workflow.signal(name=EVENT_SIGNAL, description="A change order was received: its number in the ledger.")
    async def event(self, event: str) -> None:
        """Be told that something happened: the ledger says what."""
        self.told += 1

    @workflow.run
    async def run(self, start: StartContractChanges | None = None) -> SagaView:
        """Carry what has arrived; wait for what is missing."""
        view = await self.saga.conduct(self.serve)
        if self.told != self.seen:
            # It came while the books were closed.
            workflow.continue_as_new(self.start.model_copy(update={"state": None}))
        return view

    async def serve(self) -> None:
        """The business process."""
        progress = self.saga.state.progress
        self.saga.stage(LOOK, "Whose turn it is", LEDGER_SYSTEM)
        while True:
            self.seen = self.told
            found = await self.look()
            if found.order is not None and found.under_way and found.order == progress.get("last"):
                title, failure = "Every change order is decided", _undecided(found.order)
                await self.saga.hold(UNDECIDED, title, failure, NothingToAmend())
                progress.pop("last")
            elif found.order is not None:
                await self.carry(found)
                progress["last"] = found.order
                progress["carried"] = progress.get("carried", 0) + 1
                if self.saga.renewal_due():
                    await self.saga.boundary()
            elif found.waiting:
                await self.wait_for_base(found)
            elif self.told == self.seen:
                break
        carried = progress.get("carried", 0)
        self.saga.state.conclusion = f"{carried} change order{'' if carried == 1 else 's'} carried to an end."

    async def look(self) -> TakenChange:
        """Whose turn it is."""
        progress = self.saga.state.progress
        number = progress["looks"] = progress.get("looks", 0) + 1
        step = f"{LOOK}.{number}"
        taken: TakenChange = await self.saga.step(
            step,
            "Whose turn it is",
            ChangeActivities.take,
            TakeChange(saga=self.saga.ref, step=step, contract=self.contract, reason=self.start.reason),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            call=CallClass.LEDGER,
            system=LEDGER_SYSTEM,
        )
        self.saga.state.generation = taken.generation
        self.saga.fold(step, LOOK, f"{number:,} looks")
        if self.saga.state.step(UNDECIDED) is not None:
            self.saga.settled(UNDECIDED, "Every change order is decided")
        if not taken.missing and self.saga.state.step(BASE) is not None:
            self.saga.settled(BASE, "The version that others build on", "it arrived")
        return taken

    async def carry(self, taken: TakenChange) -> None:
        """One change order, to whatever end."""
        assert taken.order is not None
        base, record = self.start, change_name(self.contract, taken.order)
        start = StartChangeOrder(
            **{
                **handed_on(base),
                "actor": taken.actor or base.actor,
                "reason": taken.reason,
            },
            saga_id=saga_id(SagaName.CHANGE_ORDER, base.region, base.system, record),
            system=base.system,
            record_id=record,
            contract=self.contract,
            order=taken.order,
        )
        step = f"order.{taken.order}"
        await self.saga.attend(step, f"Change order {taken.order}", ChangeOrderSaga.run, start)
        self.saga.fold(step, LOOK, f"change order {taken.order} has ended")

    async def wait_for_base(self, taken: TakenChange) -> None:
        """A version that others build on has not arrived: wait, and in the end ask somebody for it."""
        missing = ", ".join(map(str, taken.missing))
        failure = Failure(
            kind=FailureKind.REPAIR,
            cause=Cause.CHANGE_BASE_MISSING,
            message=f"{', '.join(taken.waiting)} of contract {self.contract} build on version {missing}, "
            "which has not arrived.",
            queue=Queue.BILLING,
            remedy="Send the missing change order, or withdraw what waits: "
            f"`trueup change-orders withdraw {self.contract} ORDER`.",
        )
        seconds = 0.0
        if taken.overdue_at is not None:
            seconds = (taken.overdue_at - workflow.now()).total_seconds()
        await self.saga.expect(
            BASE,
            "The version that others build on",
            failure,
            lambda: self.told != self.seen,
            seconds,
        )


def _undecided(order: str) -> Failure:
    """Its saga has ended and said nothing: trying again at once could go on for ever."""
    return Failure(
        kind=FailureKind.DEFECT,
        cause=Cause.DEFECT,
        message=f"The saga of change order {order} has ended without a decision about it.",
        queue=Queue.INFRASTRUCTURE,
        remedy="See how it ended in the Web UI; after the fix, retry.",
    )
