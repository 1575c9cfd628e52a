"""Clients, contracts with their ERP projects, delivery projects: everything that can be undone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from activities.contracts import (
    ClientPlacement,
    EngagementPlan,
    EnsureClients,
    EnsurePsaClients,
    ErpActivities,
    LookAhead,
    LookedAhead,
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
        self.absent: dict[str, tuple[str, ...]] = {}
        """By system: keys that were looked for ahead and are not there."""

    async def build(self, plan: EngagementPlan) -> None:
        """Clients everywhere; per contract its ERP project, then its projects in delivery."""
        in_delivery = asyncio.Event()
        await self.saga.together(
            self.set_up_contracts(plan, in_delivery), self.set_up_delivery_clients(plan, in_delivery)
        )
        self.saga.state.codes = self.codes(plan)

    async def set_up_contracts(self, plan: EngagementPlan, in_delivery: asyncio.Event) -> None:
        """Clients in every ERP, then all contracts with what hangs on them."""
        await self.saga.together(self.set_up_clients(plan), self.look_ahead(plan))
        creation: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        await self.saga.together(
            *(self.set_up_contract(plan, setup, in_delivery, creation) for setup in plan.contracts)
        )

    def codes(self, plan: EngagementPlan) -> dict[str, str]:
        """Project code by contract, the lead contract's first: it is the engagement's code (rule 3)."""
        lead = plan.engagement.lead_contract_key if plan.engagement else ""
        keys = sorted((setup.contract.key for setup in plan.contracts), key=lambda key: key != lead)
        codes = {key: self.saga.values.get(f"{project_symbol(key)}.code") for key in keys}
        return {key: code for key, code in codes.items() if code}

    async def set_up_clients(self, plan: EngagementPlan) -> None:
        """Clients with their hierarchy, in every ERP of the engagement at once."""
        by_system: dict[str, list[ClientPlacement]] = defaultdict(list)
        for placement in plan.clients:
            by_system[placement.system].append(placement)
        await self.saga.together(
            *(
                self.clients_in(
                    system,
                    ErpActivities.ensure_clients,
                    EnsureClients(
                        saga=self.saga.ref,
                        step=clients_step(system),
                        system=system,
                        placements=tuple(placements),
                    ),
                )
                for system, placements in by_system.items()
            )
        )

    async def set_up_delivery_clients(self, plan: EngagementPlan, done: asyncio.Event) -> None:
        """Clients in every delivery system: they need nothing of the ERP, only projects wait for them."""
        try:
            await self.saga.together(
                *(
                    self.clients_in(
                        system,
                        PsaActivities.ensure_clients,
                        EnsurePsaClients(
                            saga=self.saga.ref,
                            step=clients_step(system),
                            system=system,
                            deliveries=tuple(deliveries),
                        ),
                    )
                    for system, deliveries in by_psa(plan).items()
                )
            )
        finally:
            done.set()  # also when the saga is to end: whoever waits finds that out by itself

    async def clients_in(self, system: str, method: Any, command: Any) -> None:
        """The clients of one system."""
        outcome = await self.saga.step(
            command.step,
            f"Clients in {system}",
            method,
            command,
            kind=BUILD,
            queue=system_queue(system),
            call=CallClass.WRITE,
            system=system,
        )
        self.saga.keep(outcome)

    async def look_ahead(self, plan: EngagementPlan) -> None:
        """Look for what comes after the clients, so that its own steps need not."""
        if self.start.plan:
            return
        ref = self.saga.ref
        await self.saga.together(
            *(
                self.look_in(
                    system,
                    ErpActivities.look_ahead,
                    LookAhead(saga=ref, system=system, contracts=tuple(contracts)),
                )
                for system, contracts in by_erp(plan).items()
            ),
            *(
                self.look_in(
                    system,
                    PsaActivities.look_ahead,
                    LookAhead(saga=ref, system=system, deliveries=tuple(deliveries)),
                )
                for system, deliveries in by_psa(plan).items()
            ),
        )

    async def look_in(self, system: str, method: Any, command: LookAhead) -> None:
        """What is there already in one system."""
        found: LookedAhead = await self.saga.step(
            f"look-ahead.{system}",
            f"Look in {system} for what may be there already",
            method,
            command,
            kind=StepKind.READ,
            queue=system_queue(system),
            system=system,
        )
        self.absent[system] = found.absent

    async def set_up_contract(
        self,
        plan: EngagementPlan,
        setup: ContractSetup,
        in_delivery: asyncio.Event,
        creation: dict[str, asyncio.Lock],
    ) -> None:
        """One contract with its ERP project, then its delivery projects, one after another where needed."""
        contract = setup.contract
        step = f"contract.{contract.key}"
        outcome = await self.saga.step(
            step,
            f"Contract and project of {contract.legal_entity} in {contract.erp}",
            ErpActivities.set_up_contract_and_project,
            SetUpContract(
                saga=self.saga.ref,
                step=step,
                system=contract.erp,
                setup=setup,
                values=self.saga.values,
                absent=self.absent.get(contract.erp, ()),
            ),
            kind=BUILD,
            queue=system_queue(contract.erp),
            call=CallClass.WRITE,
            system=contract.erp,
            stands_on=(clients_step(contract.erp),),
        )
        self.saga.keep(outcome)
        self.saga.state.codes = self.codes(plan)
        await in_delivery.wait()
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
                absent=self.absent.get(project.psa, ()),
                settle_poll=self.start.timings.settle_poll,
            ),
            kind=kind,
            queue=system_queue(project.psa),
            call=call,
            system=project.psa,
            stands_on=(f"delivery.{project.key}" if prefix == "structure" else clients_step(project.psa),),
        )
        self.saga.keep(outcome)


def clients_step(system: str) -> str:
    """Id of the step that makes the clients of one system."""
    return f"clients.{system}"


def by_erp(plan: EngagementPlan) -> dict[str, list[ContractSetup]]:
    """The contracts of every ERP."""
    grouped: dict[str, list[ContractSetup]] = defaultdict(list)
    for setup in plan.contracts:
        grouped[setup.contract.erp].append(setup)
    return grouped


def by_psa(plan: EngagementPlan) -> dict[str, list[DeliverySetup]]:
    """The delivery projects of every delivery system."""
    grouped: dict[str, list[DeliverySetup]] = defaultdict(list)
    for setup in plan.deliveries:
        grouped[setup.project.psa].append(setup)
    return grouped


def build_steps(plan: EngagementPlan) -> list[str]:
    """Ids of the steps that build ``plan``, in the order they are built."""
    deliveries = [setup.project.key for setup in plan.deliveries]
    return [
        *dict.fromkeys(clients_step(placement.system) for placement in plan.clients),
        *(clients_step(system) for system in by_psa(plan)),
        *(f"contract.{setup.contract.key}" for setup in plan.contracts),
        *(f"delivery.{key}" for key in deliveries),
        *(f"structure.{key}" for key in deliveries),
    ]
