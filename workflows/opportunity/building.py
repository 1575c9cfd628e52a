"""Clients, contracts with their ERP projects, delivery projects: everything that can be undone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from activities.contracts import (
    EngagementPlan,
    EnsureClients,
    ErpActivities,
    OpenDelivery,
    PsaActivities,
    SetUpContract,
    StartSaga,
)
from activities.options import CallClass
from canonical.names import system_queue
from canonical.operations import (
    ContractSetup,
    DeliverySetup,
    project_symbol,
)
from canonical.saga import StepKind
from workflows.saga import Saga

BUILD = StepKind.COMPENSATABLE


class Building:
    """From a plan to records in every system, none of them active yet."""

    def __init__(self, saga: Saga, start: StartSaga) -> None:
        self.saga = saga
        self.start = start

    async def build(self, plan: EngagementPlan) -> None:
        """Clients, then per contract its ERP project and its delivery projects."""
        await self.set_up_clients(plan)
        creation: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        await self.saga.together(*(self.set_up_contract(plan, setup, creation) for setup in plan.contracts))
        self.saga.state.codes = self.codes(plan)

    def codes(self, plan: EngagementPlan) -> dict[str, str]:
        """Project code by contract, the lead contract's first: it is the engagement's code (rule 3)."""
        lead = plan.engagement.lead_contract_key if plan.engagement else ""
        keys = sorted((setup.contract.key for setup in plan.contracts), key=lambda key: key != lead)
        codes = {key: self.saga.values.get(f"{project_symbol(key)}.code") for key in keys}
        return {key: code for key, code in codes.items() if code}

    async def set_up_clients(self, plan: EngagementPlan) -> None:
        """Clients with their hierarchy, in every ERP of the engagement at once."""
        by_system: dict[str, list[Any]] = defaultdict(list)
        for placement in plan.clients:
            by_system[placement.system].append(placement)

        async def in_one(system: str) -> None:
            step = f"clients.{system}"
            outcome = await self.saga.step(
                step,
                f"Clients in {system}",
                ErpActivities.ensure_clients,
                EnsureClients(
                    saga=self.saga.ref, step=step, system=system, placements=tuple(by_system[system])
                ),
                kind=BUILD,
                queue=system_queue(system),
                call=CallClass.WRITE,
                system=system,
            )
            self.saga.keep(outcome)

        await self.saga.together(*(in_one(system) for system in by_system))

    async def set_up_contract(
        self, plan: EngagementPlan, setup: ContractSetup, creation: dict[str, asyncio.Lock]
    ) -> None:
        """One contract with its ERP project, then its delivery projects, one after another where needed."""
        contract = setup.contract
        step = f"contract.{contract.key}"
        outcome = await self.saga.step(
            step,
            f"Contract and project of {contract.legal_entity} in {contract.erp}",
            ErpActivities.set_up_contract_and_project,
            SetUpContract(
                saga=self.saga.ref, step=step, system=contract.erp, setup=setup, values=self.saga.values
            ),
            kind=BUILD,
            queue=system_queue(contract.erp),
            call=CallClass.WRITE,
            system=contract.erp,
            stands_on=(f"clients.{contract.erp}",),
        )
        self.saga.keep(outcome)
        self.saga.state.codes = self.codes(plan)
        for delivery in plan.deliveries:
            if delivery.project.contract_key == contract.key:
                await self.open_delivery_project(plan, delivery, creation)

    async def open_delivery_project(
        self, plan: EngagementPlan, setup: DeliverySetup, creation: dict[str, asyncio.Lock]
    ) -> None:
        """A delivery project from the sold service's template, then what the template does not bring."""
        project = setup.project
        if project.psa in plan.serial_psa:
            async with creation[project.psa]:
                await self.delivery_step("delivery", "Delivery project", PsaActivities.open_project, setup)
        else:
            await self.delivery_step("delivery", "Delivery project", PsaActivities.open_project, setup)
        await self.delivery_step(
            "structure", "Plan and positions", PsaActivities.complete_structure, setup, call=CallClass.LONG
        )

    async def delivery_step(
        self,
        prefix: str,
        title: str,
        method: Any,
        setup: DeliverySetup,
        *,
        kind: StepKind = BUILD,
        call: CallClass = CallClass.WRITE,
    ) -> None:
        """One step about one delivery project."""
        project = setup.project
        step = f"{prefix}.{project.key}"
        outcome = await self.saga.step(
            step,
            f"{title} {project.dimensions.region} in {project.psa}",
            method,
            OpenDelivery(
                saga=self.saga.ref,
                step=step,
                system=project.psa,
                setup=setup,
                values=self.saga.values,
                settle_poll=self.start.timings.settle_poll,
            ),
            kind=kind,
            queue=system_queue(project.psa),
            call=call,
            system=project.psa,
            stands_on=(f"delivery.{project.key}",) if prefix == "structure" else (),
        )
        self.saga.keep(outcome)


def build_steps(plan: EngagementPlan) -> list[str]:
    """Ids of the steps that build ``plan``, in the order they are built."""
    deliveries = [setup.project.key for setup in plan.deliveries]
    return [
        *dict.fromkeys(f"clients.{placement.system}" for placement in plan.clients),
        *(f"contract.{setup.contract.key}" for setup in plan.contracts),
        *(f"delivery.{key}" for key in deliveries),
        *(f"structure.{key}" for key in deliveries),
    ]
