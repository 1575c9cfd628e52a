"""One process without a Temporal server: activities, effect executor, ledger and connectors as they are, over
HTTP against the simulators. Attempts of steps run side by side, die, are cancelled and undone at any moment:
what the server's time-outs and lost workers amount to, many times faster.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    ActivateContract,
    EngagementPlan,
    EnsureClients,
    EnsurePsaClients,
    GatherErp,
    GatherHr,
    GatherPsa,
    LookAhead,
    OpenDelivery,
    ReadDeal,
    RouteDeal,
    SagaRef,
    SetUpContract,
    ShapeEngagement,
    StepOutcome,
    UndoStep,
)
from activities.crm import CrmActivitiesOver
from activities.decisions import DecisionActivitiesOver
from activities.effects import Effects
from activities.erp import ErpActivitiesOver
from activities.hr import HrActivitiesOver
from activities.psa import PsaActivitiesOver
from activities.undo import EffectActivitiesOver
from canonical.names import SagaName, saga_id, step_key
from cli import simulators
from cli.local.config import SECRETS, Places, render
from cli.local.deals import Deal
from ledger.store import Ledger
from runtime.settings import load
from tests.chaos import vendors
from wiring.ledger import open_ledger
from wiring.systems import ConnectedSystems

CRM, ERP, PSA, HR = "sf-main", "netsuite-emea", "kantata-main", "hr-export"
CALL = 0.8
"""Seconds that one vendor call may take."""
LAG = 0.05
"""Seconds that a vendor's search may lag behind."""
TRIES = 8
"""Attempts that a step gets once nothing goes wrong any more."""


@dataclass
class Life:
    """A process that can die."""

    dead: bool = False


class Mortal:
    """The ledger as one process has it: from its death on it can write nothing and hears nothing."""

    def __init__(self, ledger: Ledger, life: Life) -> None:
        self._ledger, self._life = ledger, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ledger, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._life.dead:
                raise asyncio.CancelledError
            result = await value(*args, **kwargs)
            if self._life.dead:
                raise asyncio.CancelledError
            return result

        return call


@dataclass
class Step:
    """One step of a deal's saga: its activity and how its input is made from the values known by then."""

    id: str
    system: str
    activity: str
    """``erp.ensure_clients`` and its like."""
    command: Callable[[dict[str, str]], Any]
    undoable: bool = True


@dataclass
class Plan:
    """A deal with everything that its saga would do."""

    deal: Deal
    seed: Any
    saga: SagaRef
    steps: list[Step]
    values: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    pivot: bool = False
    """An activation was attempted: there is only forward."""
    unwinding: bool = False
    """An undo was begun: there is only back."""


@dataclass
class Attempt:
    """An activity attempt under way."""

    task: asyncio.Task[Any]
    life: Life
    plan: Plan
    step: Step
    undo: bool


class Bench:
    """Vendors, ledger and connectors of one firm, and the attempts that run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offset = timedelta(0)
        self.attempts = 0

    async def open(self) -> Bench:
        """Start the vendors and open the ledger."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ.update(SECRETS)
        self.vendors = simulators.start(self.folder)
        places = Places(
            temporal="127.0.0.1:1",
            salesforce=self.vendors.salesforce.base_url,
            netsuite=self.vendors.netsuite.base_url,
            kantata=self.vendors.kantata.base_url,
            folder=self.folder,
            lag_seconds=LAG,
        )
        self.config = self.folder / "trueup.toml"
        text = render(places, "tester").replace(f'personal_key_file = "{self.folder}/personal.key"\n', "")
        self.config.write_text(text)
        self.settings = load(self.config)
        self.ledger = await open_ledger(self.settings, bring_up_to_date=True)
        self.ledger._clock = self.now
        self.systems = ConnectedSystems(self.settings, self.ledger)
        await self.systems.store_mappings()
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        return self

    async def close(self) -> None:
        """Take everything down."""
        await self.systems.close()
        await self.ledger.close()
        await self.http.aclose()
        self.vendors.stop()

    def now(self) -> datetime:
        """The host's clock, which may be wrong."""
        return datetime.now(UTC) + self.offset

    @property
    def urls(self) -> dict[str, str]:
        """Base address by vendor."""
        return {running.simulator.name: running.base_url for running in self.vendors}

    async def control(self, vendor: str, method: str, call: str, body: Any = None) -> Any:
        """A call of a vendor's control API.

        Raises:
            RuntimeError: the simulator refused it; the message is its answer.
        """
        answer = await self.http.request(method, f"{self.urls[vendor]}/_sim/{call}", json=body)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {call}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def records(self) -> vendors.Records:
        """What all vendors hold now."""
        answers = {vendor: await self.http.get(f"{url}/_sim/records") for vendor, url in self.urls.items()}
        return vendors.parse({vendor: answer.text for vendor, answer in answers.items()})

    # --- activities -------------------------------------------------------------------------------------

    async def call(self, activity: str, command: Any, life: Life | None = None) -> Any:
        """Run one activity attempt in this process."""
        self.attempts += 1
        ledger: Any = Mortal(self.ledger, life or Life())
        effects = Effects(ledger, clock=self.now)
        owners: dict[str, Any] = {
            "crm": CrmActivitiesOver(self.systems, effects),
            "erp": ErpActivitiesOver(self.systems, effects),
            "psa": PsaActivitiesOver(self.systems, effects),
            "hr": HrActivitiesOver(self.systems, effects),
            "effects": EffectActivitiesOver(self.systems, effects),
            "rules": DecisionActivitiesOver(self.systems, ledger),
        }
        owner, _, name = activity.partition(".")
        environment = ActivityEnvironment()
        environment.info = replace(
            environment.info,
            workflow_run_id="bench",
            activity_id=str(self.attempts),
            activity_type=activity,
        )
        return await environment.run(getattr(owners[owner], name), command)

    async def plan(self, deal: Deal, seed: Any) -> Plan:
        """Read a deal and work out all steps, as its saga would; look ahead as it would.

        Raises:
            RuntimeError: the deal has findings.
        """
        record = deal.id + "AAA"
        saga = SagaRef(
            saga_id=saga_id(SagaName.OPPORTUNITY_TO_PROJECT, self.settings.about.region, CRM, record),
            region=self.settings.about.region,
            business_key=f"{CRM}/{record}",
            trace_id="bench",
            actor=self.settings.actor("tester"),
            call_seconds=CALL,
            mapping=self.systems.mapping_digests(),
        )
        found = await self.call("crm.read_deal", ReadDeal(saga=saga, system=CRM, deal_id=record))
        routing = await self.call("rules.route_deal", RouteDeal(saga=saga, deal=found))
        erp = GatherErp(
            saga=saga, system=ERP, items=routing.erp_items[ERP], clients=routing.clients.get(ERP, ())
        )
        psa = GatherPsa(
            saga=saga,
            system=PSA,
            templates=routing.psa_templates[PSA],
            roles=routing.psa_roles.get(PSA, ()),
        )
        plan: EngagementPlan = await self.call(
            "rules.shape_engagement",
            ShapeEngagement(
                saga=saga,
                deal=found,
                deal_class=routing.deal_class,
                erp=(await self.call("erp.gather", erp),),
                psa=(await self.call("psa.gather", psa),),
                supply=await self.call("hr.role_supply", GatherHr(saga=saga, system=HR)),
            ),
        )
        if plan.findings:
            raise RuntimeError(f"{deal.name}: {[one.message for one in plan.findings]}")
        ahead = {
            system: (
                await self.call(f"{role}.look_ahead", LookAhead(saga=saga, system=system, **what))
            ).absent
            for role, system, what in (
                ("erp", ERP, {"contracts": plan.contracts}),
                ("psa", PSA, {"deliveries": plan.deliveries}),
            )
        }
        return Plan(deal, seed, saga, list(_steps(saga, plan, ahead)))

    def start(self, plan: Plan, step: Step, *, undo: bool = False) -> Attempt:
        """Begin an attempt of a step, or of its undo."""
        life = Life()
        work = self.undo(plan, step, life) if undo else self.perform(plan, step, life)
        return Attempt(asyncio.create_task(work), life, plan, step, undo)

    async def perform(self, plan: Plan, step: Step, life: Life) -> None:
        """An attempt of a step."""
        outcome: StepOutcome = await self.call(step.activity, step.command(dict(plan.values)), life)
        plan.values.update(outcome.values)
        plan.done.add(step.id)

    async def undo(self, plan: Plan, step: Step, life: Life) -> None:
        """An attempt of a step's undo."""
        await self.call("effects.undo_step", undo_of(plan, step), life)
        plan.undone.add(step.id)

    async def insist(self, work: Callable[[], Coroutine[Any, Any, None]]) -> str | None:
        """Try until it goes through, as the server does; the last failure when it never did."""
        last: str | None = None
        for _ in range(TRIES):
            try:
                await work()
                return None
            except Exception as error:
                last = f"{type(error).__name__}: {error}"
                await asyncio.sleep(0.02)
        return last


def undo_of(plan: Plan, step: Step) -> UndoStep:
    """The undo of a step."""
    key = step_key(plan.saga.saga_id, plan.saga.generation, step.id)
    return UndoStep(saga=plan.saga, step=step.id, step_key=key, system=step.system, reason="given up")


def _steps(saga: SagaRef, plan: EngagementPlan, ahead: dict[str, tuple[str, ...]]) -> Iterator[Step]:
    """In the order in which a saga takes them."""
    clients = EnsureClients(saga=saga, step=f"clients.{ERP}", system=ERP, placements=plan.clients)
    groups = EnsurePsaClients(saga=saga, step=f"clients.{PSA}", system=PSA, deliveries=plan.deliveries)
    yield Step(clients.step, ERP, "erp.ensure_clients", lambda _: clients)
    yield Step(groups.step, PSA, "psa.ensure_clients", lambda _: groups)

    def delivery(step: str, setup: Any) -> Callable[[dict[str, str]], OpenDelivery]:
        def command(values: dict[str, str]) -> OpenDelivery:
            return OpenDelivery(
                saga=saga,
                step=step,
                system=PSA,
                setup=setup,
                values=values,
                absent=ahead[PSA],
                settle_poll=0.02,
            )

        return command

    def contract(step: str, setup: Any) -> Callable[[dict[str, str]], SetUpContract]:
        return lambda values: SetUpContract(
            saga=saga, step=step, system=ERP, setup=setup, values=values, absent=ahead[ERP]
        )

    def activation(step: str, setup: Any) -> Callable[[dict[str, str]], ActivateContract]:
        return lambda values: ActivateContract(
            saga=saga, step=step, system=ERP, contract=setup.contract, values=values
        )

    for setup in plan.contracts:
        name = f"contract.{setup.contract.key}"
        yield Step(name, ERP, "erp.set_up_contract_and_project", contract(name, setup))
    for one in plan.deliveries:
        for prefix, method in (("delivery", "psa.open_project"), ("structure", "psa.complete_structure")):
            name = f"{prefix}.{one.project.key}"
            yield Step(name, PSA, method, delivery(name, one))
    for setup in plan.contracts:
        name = f"activate.{setup.contract.key}"
        yield Step(name, ERP, "erp.activate_contract", activation(name, setup), undoable=False)
    for one in plan.deliveries:
        name = f"open.{one.project.key}"
        yield Step(name, PSA, "psa.activate_project", delivery(name, one), undoable=False)
