"""What every writing activity does around its plan: keys, plan mode, executor, outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from temporalio import activity

from activities.contracts import SagaRef, StepOutcome
from activities.effects import Effects, Performed
from activities.sending import Attempt
from activities.systems import Systems
from canonical.authority import Phase
from canonical.names import PLAN_PREFIX
from canonical.operations import WriteContext
from canonical.refs import SystemRole
from canonical.writes import VendorWrite, show_write
from connectors.ports import Writer


class Writing:
    """Base of the activity implementations that write to connected systems."""

    def __init__(self, systems: Systems, effects: Effects) -> None:
        self.systems = systems
        self.effects = effects

    def digest(self, saga: SagaRef, system: str) -> str:
        """The field mapping pinned on this run for ``system``."""
        return saga.mapping.get(system, "")

    def context(self, saga: SagaRef, step: str, *, phase: Phase = Phase.BEFORE_APPROVAL) -> WriteContext:
        """What planned writes build their keys from."""
        return WriteContext(
            # A plan shows what the saga itself would write, and the saga marks records with its own id.
            saga_id=saga.saga_id.removeprefix(PLAN_PREFIX),
            generation=saga.generation,
            step=step,
            region=saga.region,
            phase=phase,
        )

    async def shared_plan(
        self, context: WriteContext, plan: Callable[[WriteContext], list[VendorWrite]]
    ) -> list[VendorWrite]:
        """A plan that touches records which sagas share, under the generation whose keys are open.

        Which records these are only the plan itself knows; where one was undone before, it is planned
        again with the next generation.
        """
        writes = plan(context)
        shared = {write.shared for write in writes if write.shared is not None}
        generations = {key: await self.effects.ledger.shared_generation(key) for key in sorted(shared)}
        if all(generation == 1 for generation in generations.values()):
            return writes
        return plan(context.model_copy(update={"shared_generations": generations}))

    async def perform(
        self,
        port: Writer,
        writes: Sequence[VendorWrite],
        saga: SagaRef,
        values: Mapping[str, str],
        absent: Iterable[str] = (),
    ) -> StepOutcome:
        """Send the writes, or in plan mode only show them."""
        if saga.plan:
            return planned(writes, values)
        return outcome_of(await self.send(port, writes, saga, values, absent))

    async def send(
        self,
        port: Writer,
        writes: Sequence[VendorWrite],
        saga: SagaRef,
        values: Mapping[str, str],
        absent: Iterable[str] = (),
    ) -> Performed:
        """Send the writes through the effect executor; ``absent``: keys that were looked for ahead."""
        return await self.effects.perform(
            port,
            self.roles(port),
            writes,
            saga=saga,
            attempt=attempt_under_way(),
            values=values,
            absent=absent,
        )

    def roles(self, port: Writer) -> tuple[SystemRole, ...]:
        """What the port's instance is used for."""
        return self.systems.roles(port.system)


def attempt_under_way() -> Attempt:
    """The activity attempt that runs here. Temporal keeps the scheduled time over an activity's retries."""
    info = activity.info()
    return Attempt(
        id=f"{info.workflow_run_id}/{info.activity_id}/{info.attempt}", asked_at=info.scheduled_time
    )


def planned(writes: Sequence[VendorWrite], values: Mapping[str, str]) -> StepOutcome:
    """The writes as people and files see them, with symbols for what only the vendor can make."""
    return StepOutcome(writes=tuple(show_write(write, values) for write in writes))


def outcome_of(done: Performed) -> StepOutcome:
    """What the workflow keeps of performed writes."""
    return StepOutcome(values=done.values, records=tuple(dict.fromkeys(done.records)))
