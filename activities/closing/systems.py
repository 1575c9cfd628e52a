"""What connected systems do for closings, over the ports: read once more, close, open again, tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import cast

from temporalio import activity

from activities.contracts import (
    CloseInDelivery,
    CloseInErp,
    DealCloseActivities,
    DeliveryCloseActivities,
    DeliveryFacts,
    DeliveryToClose,
    ErpCloseActivities,
    ReadDeliveryFacts,
    ReadErpFacts,
    StepOutcome,
    TellDeal,
)
from activities.failures import guarded
from activities.writing import Writing
from canonical.authority import Phase
from canonical.delivered import DeliveredExpense, DeliveredProject, DeliveredTime
from canonical.project_closing import (
    DealClosure,
    DealStatus,
    DeliveryReading,
    ErpReading,
    OpenRecord,
    OpenWork,
)
from canonical.refs import RecordRef
from connectors.ports.closing import CrmClosePort, DeliveryClosePort, ErpClosePort
from rules.approval import counts_as_approved
from rules.project_closing import deal_status

AFTER = Phase.AFTER_APPROVAL
SOME = 5
"""Lines that are named of those that stand in the way."""
Line = DeliveredTime | DeliveredExpense


class DeliveryCloseActivitiesOver(Writing, DeliveryCloseActivities):
    """Reads and closes projects in a delivery system."""

    @activity.defn(name="psa.closing_facts")
    @guarded
    async def closing_facts(self, command: ReadDeliveryFacts) -> DeliveryFacts:
        """Every project as it is now, and which of its work the ledger does not have so."""
        digest = self.digest(command.saga, command.system)
        psa = cast(DeliveryClosePort, await self.systems.psa(command.system, digest))
        feed = await self.systems.feed(command.system, digest)
        ids = [one.project.id for one in command.deliveries]
        known = await self.effects.ledger.known_substances(ids)
        projects = {one.ref.id: one for one in await feed.projects(ids)}
        stones: dict[str, list[OpenRecord]] = {id_: [] for id_ in ids}
        for one in await feed.milestones(ids):
            if not one.complete and not one.archived:
                stones[one.project.id].append(OpenRecord(ref=one.ref, title=one.title))
        return DeliveryFacts(
            readings=tuple(
                [
                    await self._reading(psa, one, known, projects, tuple(stones[one.project.id]))
                    for one in command.deliveries
                ]
            )
        )

    async def _reading(
        self,
        psa: DeliveryClosePort,
        one: DeliveryToClose,
        known: Mapping[str, str],
        projects: Mapping[str, DeliveredProject],
        milestones: tuple[OpenRecord, ...],
    ) -> DeliveryReading:
        project = one.project
        carried = projects.get(project.id)
        title = carried.title if carried is not None else project.id
        told = await psa.closing_reading(project.id)
        if told is None:
            return DeliveryReading(delivery_key=one.delivery_key, project=project, title=title, missing=True)
        times, expenses = await psa.project_work(project.id)
        policy, code = self.systems.firm.policies.billing, carried.code if carried is not None else None
        every: list[Line] = [*times, *expenses]
        lines = [line for line in every if _is_collected(line, policy.collect_from)]
        approved = [line for line in lines if counts_as_approved(line, policy, code)]
        done = {line.ref for line in approved}
        return DeliveryReading(
            delivery_key=one.delivery_key,
            project=project,
            title=title,
            unapproved=_counted(line for line in lines if line.ref not in done),
            unread=_counted(line for line in approved if known.get(str(line.ref)) != line.substance),
            positions=told.positions,
            requests=told.requests,
            milestones=milestones,
        )

    @activity.defn(name="psa.close_project")
    @guarded
    async def close_project(self, command: CloseInDelivery) -> StepOutcome:
        """Close a project for time."""
        psa = await self._psa(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        return await self.perform(psa, psa.plan_close(context, command.closure), command.saga, {})

    @activity.defn(name="psa.reopen_project")
    @guarded
    async def reopen_project(self, command: CloseInDelivery) -> StepOutcome:
        """Put back what a project was."""
        psa = await self._psa(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        former = command.former.values if command.former is not None else {}
        return await self.perform(psa, psa.plan_reopen(context, command.closure, former), command.saga, {})

    async def _psa(self, command: CloseInDelivery) -> DeliveryClosePort:
        digest = self.digest(command.saga, command.system)
        return cast(DeliveryClosePort, await self.systems.psa(command.system, digest))


class ErpCloseActivitiesOver(Writing, ErpCloseActivities):
    """Reads and closes projects in an ERP."""

    @activity.defn(name="erp.closing_facts")
    @guarded
    async def closing_facts(self, command: ReadErpFacts) -> ErpReading:
        """Revenue that is not recognised, and what invoices owe, read now."""
        digest = self.digest(command.saga, command.system)
        port = await self.systems.feedback(command.system, digest)
        billing = await self.systems.billing(command.system, digest)
        projects = await billing.projects([command.project.id])
        revenue = await port.revenue_standing(command.order.id) if command.order is not None else None
        balances = await port.open_balances(command.invoices) if command.invoices else {}
        return ErpReading(
            project=command.project,
            project_code=projects[0].code if projects else "",
            deferred=revenue.deferred if revenue is not None else None,
            balances={id_: one.balance for id_, one in balances.items()},
        )

    @activity.defn(name="erp.close_project")
    @guarded
    async def close_project(self, command: CloseInErp) -> StepOutcome:
        """Close the project."""
        erp = await self._erp(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        return await self.perform(erp, erp.plan_close(context, command.closure), command.saga, {})

    @activity.defn(name="erp.reopen_project")
    @guarded
    async def reopen_project(self, command: CloseInErp) -> StepOutcome:
        """Put back what the project was."""
        erp = await self._erp(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        former = command.former.values if command.former is not None else {}
        return await self.perform(erp, erp.plan_reopen(context, command.closure, former), command.saga, {})

    async def _erp(self, command: CloseInErp) -> ErpClosePort:
        digest = self.digest(command.saga, command.system)
        return cast(ErpClosePort, await self.systems.erp(command.system, digest))


class DealCloseActivitiesOver(Writing, DealCloseActivities):
    """Tells a CRM."""

    @activity.defn(name="crm.project_status")
    @guarded
    async def project_status(self, command: TellDeal) -> StepOutcome:
        """Show how the deal's projects stand: closed, some of them, or as before the first closing."""
        digest, ledger = self.digest(command.saga, command.system), self.effects.ledger
        crm = cast(CrmClosePort, await self.systems.crm(command.system, digest))
        context = self.context(command.saga, command.step, phase=AFTER)
        key, number = command.contract, command.number
        in_force = {row.contract_key: row for row in await ledger.closings_of_deal(str(command.deal))}
        row = await ledger.project_closing(key, number=number)
        if command.saga.plan and row is None:
            status: DealStatus | None = deal_status(await self._contracts(command.deal), {*in_force, key})
        else:
            status = deal_status(await self._contracts(command.deal), in_force)
        closure = DealClosure(deal=command.deal, contract_key=key, number=number, status=status)
        if status is None and row is not None:
            closure = closure.model_copy(update={"former": row.deal_former or {}})
        writes = crm.plan_project_status(context, closure)
        new = row is not None and row.deal_former is None and not command.saga.plan
        if new and status is not None and writes:
            # Where another contract's closing has changed it before, what was there before that one counts.
            before = next((one.deal_former for one in in_force.values() if one.deal_former), None)
            await ledger.keep_deal_former(key, number, before or await crm.before_image(writes[0]))
        return await self.perform(crm, writes, command.saga, {})

    async def _contracts(self, deal: RecordRef) -> list[str]:
        """Keys of the deal's contracts."""
        keys = await self.effects.ledger.contract_keys()
        return [key for key in keys if key.startswith(f"{deal.id}.")]


def _is_collected(line: Line, first: date | None) -> bool:
    """Whether the feeds bring it: what was entered before the first day of collecting was never ours."""
    if first is None:
        return True
    return (line.changed_at.date() if isinstance(line, DeliveredTime) else line.incurred_on) >= first


def _counted(lines: Iterable[Line]) -> OpenWork:
    found: Sequence[Line] = list(lines)
    return OpenWork(
        items=len(found),
        minutes=sum(line.minutes for line in found if isinstance(line, DeliveredTime)),
        some=tuple(line.ref for line in found[:SOME]),
    )
