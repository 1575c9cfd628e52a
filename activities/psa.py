"""Delivery-system activities over the PSA port."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.contracts import (
    EnsurePsaClients,
    GatherPsa,
    LookAhead,
    LookedAhead,
    OpenDelivery,
    PsaActivities,
    ReadBaseline,
    StepOutcome,
    SystemBaseline,
)
from activities.failures import guarded
from activities.writing import Writing
from canonical.causes import Cause, Queue
from canonical.failures import Refused
from canonical.operations import PsaReference, TemplateProgress, WriteContext, delivery_symbol
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.ports import PsaPort

STILL_READINGS = 2
"""Equal readings in a row that count as "stopped changing" where a template's count is not reached."""


class PsaActivitiesOver(Writing, PsaActivities):
    """Opens, completes and activates delivery projects."""

    @activity.defn(name="psa.gather")
    @guarded
    async def gather(self, command: GatherPsa) -> PsaReference:
        """Templates and roles."""
        psa = await self._psa(command.saga.mapping, command.system)
        return await psa.read_reference(templates=command.templates, roles=command.roles)

    @activity.defn(name="psa.look_ahead")
    @guarded
    async def look_ahead(self, command: LookAhead) -> LookedAhead:
        """Which of the delivery projects are certainly not there yet."""
        psa = await self._psa(command.saga.mapping, command.system)
        context = self.context(command.saga, "")
        writes = [write for setup in command.deliveries for write in psa.plan_project(context, setup)]
        return LookedAhead(absent=await self.effects.look_ahead(psa, writes))

    @activity.defn(name="psa.ensure_clients")
    @guarded
    async def ensure_clients(self, command: EnsurePsaClients) -> StepOutcome:
        """What must be there of the clients before their projects."""
        psa = await self._psa(command.saga.mapping, command.system)
        context = self.context(command.saga, command.step)

        def plan(keys: WriteContext) -> list[VendorWrite]:
            by_key = {w.key: w for setup in command.deliveries for w in psa.plan_client(keys, setup)}
            return list(by_key.values())

        return await self.perform(psa, await self.shared_plan(context, plan), command.saga, {})

    @activity.defn(name="psa.open_project")
    @guarded
    async def open_project(self, command: OpenDelivery) -> StepOutcome:
        """The project with its template."""
        psa = await self._psa(command.saga.mapping, command.system)
        writes = psa.plan_project(self.context(command.saga, command.step), command.setup)
        return await self.perform(psa, writes, command.saga, command.values, command.absent)

    @activity.defn(name="psa.complete_structure")
    @guarded
    async def complete_structure(self, command: OpenDelivery) -> StepOutcome:
        """Wait until the template has been applied, then add what it does not bring (rule 20)."""
        psa = await self._psa(command.saga.mapping, command.system)
        context = self.context(command.saga, command.step)
        writes = psa.plan_structure(context, command.setup)
        if command.saga.plan:
            return await self.perform(psa, writes, command.saga, command.values)
        applied, absent = await asyncio.gather(
            self._applied_template(psa, command), self.effects.look_ahead(psa, writes)
        )
        values = {**command.values, **applied.values}
        outcome = await self.perform(psa, writes, command.saga, values, absent)
        return outcome.model_copy(update={"values": {**applied.values, **outcome.values}})

    async def _applied_template(self, psa: PsaPort, command: OpenDelivery) -> TemplateProgress:
        template, still = command.setup.template, 0
        before: str | None = None
        polls = max(1, round(command.settle_seconds / command.settle_poll))
        for _ in range(polls):
            progress = await psa.template_progress(command.setup, command.values)
            if progress.matches(template):
                return progress
            still = still + 1 if progress.fingerprint == before else 0
            before = progress.fingerprint
            if progress.tasks > template.tasks and still >= STILL_READINGS:
                break  # more than the template brings: somebody is at work in the project already
            await asyncio.sleep(command.settle_poll)
        project = command.values.get(f"{delivery_symbol(command.setup.project.key)}.id", "?")
        raise Refused(
            f"Template {template.title!r} brought {progress.tasks} tasks, {progress.milestones} milestones, "
            f"{progress.placeholders} positions; it declares {template.tasks}, {template.milestones}, "
            f"{template.placeholders}.",
            cause=Cause.TEMPLATE_INCOMPLETE,
            queue=Queue.DELIVERY,
            system=command.system,
            record=RecordRef(
                system=command.system, type="project", id=project, url=psa.link("workspaces", project)
            ),
            remedy="Complete the project by hand or delete it, then retry.",
        )

    @activity.defn(name="psa.read_baseline")
    @guarded
    async def read_baseline(self, command: ReadBaseline) -> SystemBaseline:
        """What the delivery system holds of the projects."""
        psa = await self._psa(command.saga.mapping, command.system)
        held = await asyncio.gather(
            *(psa.read_baseline(setup, command.values) for setup in command.deliveries)
        )
        return SystemBaseline(system=command.system, deliveries=tuple(held))

    @activity.defn(name="psa.activate_project")
    @guarded
    async def activate_project(self, command: OpenDelivery) -> StepOutcome:
        """Open the project for work."""
        psa = await self._psa(command.saga.mapping, command.system)
        context = self.context(command.saga, command.step)
        return await self.perform(
            psa, psa.plan_activation(context, command.setup), command.saga, command.values
        )

    async def _psa(self, mapping: dict[str, str], system: str) -> PsaPort:
        return await self.systems.psa(system, mapping.get(system, ""))
