"""The same business without the kernel: the bare workflow that the saga is measured against.

It runs the saga's own business process (what to call, with what input, what may run side by side) over an
object that does nothing but call activities: no state, no undo, no waiting, parking or gates, no status, no
search attributes. It cannot recover from anything. Its input, its activities, their inputs, queues and time
limits are the saga's, so both make the same calls to vendors and ledger.

In the baseline's favour: its modules are passed through the workflow sandbox (the saga's are loaded for every
run), its calls carry no summaries, and the view that closes the ledger's row is empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from pydantic import BaseModel
from temporalio import activity, workflow

from activities.contracts import FinishSaga, LedgerActivities, SagaRef, StartSaga, StepOutcome
from activities.options import CallClass, activity_config
from canonical.names import LEDGER_QUEUE, SagaName
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.kernel.core import activity_name, result_type
from workflows.opportunity.building import Building
from workflows.opportunity.closing import Closing
from workflows.opportunity.reading import Reading
from workflows.opportunity_to_project import OpportunityToProject
from workflows.saga import Saga

QUEUE = "bench"
"""Task queue of the workflows and the activity here."""
_results: dict[str, Any] = {}


@dataclass
class Known:
    """What the business process itself has to remember."""

    generation: int = 1
    headline: str = ""
    at_stake: Any = None
    codes: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


class NoKernel:
    """What the business process needs of a kernel when nothing ever goes wrong."""

    def __init__(self, start: StartSaga) -> None:
        self.start = start
        self.state = Known()

    @property
    def ref(self) -> SagaRef:
        """The saga as its activities know it."""
        start = self.start
        return SagaRef(
            saga_id=start.saga_id,
            generation=self.state.generation,
            region=start.region,
            business_key=f"{start.system}/{start.record_id}",
            trace_id=start.trace_id,
            actor=start.actor,
            plan=start.plan,
            call_seconds=start.timings.call,
            mapping=start.mapping,
        )

    @property
    def values(self) -> dict[str, str]:
        """Values that vendors made so far, by symbol."""
        return dict(self.state.values)

    async def call(self, method: Callable[..., Any], command: BaseModel, queue: str, call: CallClass) -> Any:
        """Call one activity."""
        name = activity_name(method)
        if name not in _results:
            _results[name] = result_type(method)
        return await workflow.execute_activity(
            name, command, result_type=_results[name], **activity_config(queue, call, self.start.timings)
        )

    async def step(
        self,
        id_: str,
        title: str,
        method: Callable[[Any, Any], Awaitable[Any]],
        command: BaseModel,
        *,
        kind: StepKind,
        queue: str,
        call: CallClass = CallClass.READ,
        system: str | None = None,
        stands_on: tuple[str, ...] = (),
    ) -> Any:
        """Call one activity; everything else about a step is the kernel's."""
        return await self.call(method, command, queue, call)

    async def together(self, *branches: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run branches side by side."""
        return await asyncio.gather(*branches)

    def keep(self, outcome: StepOutcome) -> None:
        """Remember values for later steps."""
        self.state.values.update(outcome.values)

    def settled(self, id_: str, title: str, note: str | None = None) -> None:
        """Nothing was held."""

    def amended(self, id_: str) -> dict[str, Any]:
        """Nothing was amended."""
        return {}


@workflow.defn(name="BareOpportunityToProject")
class Bare:
    """The business process of a won deal, with nothing around it."""

    @workflow.init
    def __init__(self, start: StartSaga) -> None:
        self.start = start
        self.bare = NoKernel(start)
        self.saga = cast(Saga, self.bare)
        self.reading = Reading(self.saga, start)
        self.building = Building(self.saga, start)
        self.closing = Closing(self.saga, start, self.reading, self.building)

    @workflow.run
    async def run(self, start: StartSaga) -> SagaView:
        """Carry the deal to an active project, if everything goes well."""
        await OpportunityToProject.set_up_engagement(cast(OpportunityToProject, self))
        ref = self.bare.ref
        view = SagaView(
            saga=SagaName.OPPORTUNITY_TO_PROJECT.value,
            saga_id=ref.saga_id,
            business_key=ref.business_key,
            region=ref.region,
            generation=ref.generation,
            status=SagaStatus.COMPLETE,
            headline="Complete",
            codes=self.bare.state.codes,
        )
        command = FinishSaga(saga=ref, view=view)
        await self.bare.call(LedgerActivities.finish_saga, command, LEDGER_QUEUE, CallClass.LEDGER)
        return view


@activity.defn(name="bench.nothing")
async def nothing() -> None:
    """Do nothing: what is left is Temporal."""


@workflow.defn(name="Nothing")
class Nothing:
    """Activities that do nothing, one after another: the engine's floor."""

    @workflow.run
    async def run(self, activities: int) -> None:
        """Call ``activities`` activities."""
        for _ in range(activities):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))
