"""Drives a local firm from outside, as its users do: seeds deals, starts sagas, decides, looks at vendors."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from typer.testing import CliRunner

from canonical.refs import RecordRef
from canonical.saga import (
    Actor,
    ExceptionCase,
    GateDecision,
    GateOutcome,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
    StepView,
)
from cli import simulators
from cli.local import deals
from cli.local.deals import Deal
from cli.local.stack import ROOT, Stack
from cli.main import app
from ledger.links import NewLink
from ledger.store import Ledger
from runtime.client import connect
from runtime.settings import Settings
from tests.support.plan_diff import Written
from tests.support.resetting import reset_to_the_beginning
from wiring.ledger import open_ledger
from wiring.start import start, start_input
from wiring.systems import ConnectedSystems
from workflows.opportunity_to_project import OpportunityToProject

Json = Any
Handle = WorkflowHandle[OpportunityToProject, SagaView]
VENDORS = {"sf-main": "salesforce", "netsuite-emea": "netsuite", "kantata-main": "kantata"}
"""Simulator by connected system."""
ROOT_ACTOR = Actor(
    name="root", roles=("credit-manager", "pmo-lead", "master-data", "integration", "billing-manager")
)
PATIENCE = 30.0
"""Seconds until a saga must have come to a state; on a quiet machine it takes about one."""
ASLEEP = (SagaStatus.PARKED, SagaStatus.GATED, SagaStatus.UNDO_BLOCKED)
ASLEEP_PATIENCE = 6.0
"""Seconds after which a saga that waits for a person will not move any more by itself."""


def long_id(id_: str) -> str:
    """The 18-character form of our seeds' 15-character ids, all digits behind the prefix."""
    return f"{id_}AAA"


@dataclass
class Firm:
    """A running stack with a client, and what tests ask of it."""

    stack: Stack
    client: Client
    settings: Settings
    mapping: dict[str, str]
    ledger: Ledger
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(101))

    # --- deals and sagas -----------------------------------------------------------------------------

    def deal(self, base: Deal = deals.QUARRY, **changes: Any) -> Deal:
        """A deal of its own, client and tax number included, unlike any other."""
        number = next(self.numbers)
        word = "".join(chr(65 + int(digit) * 2) for digit in str(number))
        own: dict[str, Any] = {
            "number": number,
            "name": f"{base.name.split()[0]} {number}",
            "account": f"{word * 3} {base.account.split()[0]} B.V.",
            "tax_number": f"NL{number:09d}B01",
        }
        return replace(base, **{**own, **changes})

    async def adopt(self, links: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Tell the ledger of records that were there before us: (kind, key, system, type, id)."""
        await self.ledger.link_many(
            [
                NewLink(
                    kind=kind,
                    key=key,
                    record=RecordRef(system=system, type=type_, id=id_),
                    evidence={"by": "test"},
                    created_by_us=False,
                    adopted=True,
                )
                for kind, key, system, type_, id_ in links
            ]
        )

    def seed(self, deal: Deal, *, without: Iterable[str] = (), **put: Any) -> Deal:
        """Put a deal into Salesforce.

        Args:
            deal: with its account and lines.
            without: fields to leave out, of any of its records.
            put: fields to set on every one of its lines.
        """
        rows = deal.seed()
        for line in rows["OpportunityLineItem"]:
            line.update(put)
        for record in itertools.chain.from_iterable(rows.values()):
            for name in without:
                record.pop(name, None)
        self.control("sf-main", "POST", "seed", rows)
        return deal

    async def start(self, deal: Deal | str, *, actor: Actor | None = None, plan: bool = False) -> Handle:
        """Start a deal's saga as the command line does."""
        record = long_id(deal.id if isinstance(deal, Deal) else deal)
        command = start_input(
            self.settings,
            self.mapping,
            system="sf-main",
            record_id=record,
            actor=actor or ROOT_ACTOR,
            reason="end-to-end test",
            plan=plan,
        )
        return await start(self.client, command)

    async def run(self, deal: Deal, *states: SagaStatus) -> tuple[Handle, SagaView]:
        """Seed and start a deal and follow it to a state."""
        handle = await self.start(self.seed(deal))
        return handle, await self.until(handle, *states)

    async def view(self, handle: Handle) -> SagaView:
        """The saga's own view, asked until the worker has it."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return await handle.query(OpportunityToProject.view)
            except RPCError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.1)

    async def until(self, handle: Handle, *states: SagaStatus, patience: float = PATIENCE) -> SagaView:
        """Wait for one of ``states``; anything that is not on the way there fails at once."""
        return await self.when(handle, lambda view: view.status in states, patience=patience, want=states)

    async def when(
        self,
        handle: Handle,
        wanted: Callable[[SagaView], bool],
        *,
        patience: float = PATIENCE,
        want: Any = "",
    ) -> SagaView:
        """Wait until the view is as wanted."""
        give_up = time.monotonic() + patience
        moved, revision = time.monotonic(), -1
        while True:
            view = await self.view(handle)
            if wanted(view):
                return view
            if view.revision != revision:
                moved, revision = time.monotonic(), view.revision
            asleep = view.status in ASLEEP and time.monotonic() > moved + ASLEEP_PATIENCE
            if view.status.is_final or asleep or time.monotonic() > give_up:
                steps = "; ".join(f"{s.id}={s.state}" for s in view.steps if s.state != "done")
                raise AssertionError(f"{view.status.value} instead of {want}: {view.headline} [{steps}]")
            await asyncio.sleep(0.05)

    async def end(self, handle: Handle) -> SagaView | BaseException | None:
        """The view of a completed workflow, else what it ended with."""
        try:
            return await asyncio.wait_for(handle.result(), PATIENCE)
        except WorkflowFailureError as ended:
            return ended.cause

    async def resolve(
        self,
        handle: Handle,
        step: str,
        action: RepairAction = RepairAction.RETRY,
        *,
        reason: str = "corrected",
        amended: dict[str, Any] | None = None,
        **more: Any,
    ) -> SagaView:
        """Repair a parked step."""
        command = RepairCommand(
            command_id=uuid.uuid4().hex,
            step=step,
            action=action,
            actor=ROOT_ACTOR,
            reason=reason,
            amended_input=amended,
            **more,
        )
        view: SagaView = await handle.execute_update("resolve_step", command, result_type=SagaView)
        return view

    async def decide(
        self,
        handle: Handle,
        step: str,
        outcome: GateOutcome = GateOutcome.APPROVE,
        *,
        actor: Actor = ROOT_ACTOR,
        reason: str = "",
        choice: str | None = None,
    ) -> SagaView:
        """Decide at a gate."""
        decision = GateDecision(
            command_id=uuid.uuid4().hex,
            step=step,
            outcome=outcome,
            actor=actor,
            reason=reason,
            choice=choice,
        )
        view: SagaView = await handle.execute_update("decide", decision, result_type=SagaView)
        return view

    async def renew(self, handle: Handle) -> Handle:
        """Continue a parked saga as new; a handle of the run that comes after."""
        await handle.execute_update("renew", result_type=SagaView)
        latest = self.client.get_workflow_handle_for(OpportunityToProject.run, handle.id)
        give_up = time.monotonic() + PATIENCE
        while (found := await latest.describe()).run_id == handle.first_execution_run_id:
            assert time.monotonic() < give_up, f"{handle.id} did not continue as new"
            await asyncio.sleep(0.1)
        return self.client.get_workflow_handle_for(OpportunityToProject.run, handle.id, run_id=found.run_id)

    async def reset(self, handle: Handle) -> Handle:
        """Reset a run to its beginning, as an operator may: another run does everything again."""
        made = await reset_to_the_beginning(self.client, handle.id)
        assert made is not None, f"{handle.id} has not begun"
        return self.client.get_workflow_handle_for(OpportunityToProject.run, handle.id, run_id=made)

    async def refused(self, update: Any) -> str:
        """The one line with which a saga refuses an update.

        Raises:
            AssertionError: it did not refuse.
        """
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await update
        assert isinstance(refused.value.cause, ApplicationError)
        return refused.value.cause.message

    async def cases(self, handle: Handle) -> list[ExceptionCase]:
        """The ledger's exception cases of a saga, open and closed."""
        found = await self.ledger.cases(saga_id=handle.id, state=None)
        return [row.case for row in found.rows]

    async def case(self, handle: Handle) -> ExceptionCase:
        """The one case of a saga. It is written after the status is set, so it may come a moment later."""
        for _ in range(400):
            if found := await self.cases(handle):
                break
            await asyncio.sleep(0.05)
        (one,) = found
        return one

    # --- vendors -------------------------------------------------------------------------------------

    def control(self, system: str, method: str, call: str, body: Any = None) -> Any:
        """A call of a simulator's control API."""
        return simulators.control(self.url(system), method, call, body)

    def url(self, system: str) -> str:
        """Where a system's simulator is."""
        return str(getattr(self.stack.vendors, VENDORS[system]).base_url)

    def fault(self, system: str, **rule: Any) -> None:
        """Inject a fault."""
        self.control(system, "POST", "faults", rule)

    def fired(self, system: str) -> list[int]:
        """How often each injected fault fired."""
        return [int(rule["fired"]) for rule in self.control(system, "GET", "faults")]

    def calm(self) -> None:
        """Remove all faults; every vendor answers again."""
        for system in VENDORS:
            self.control(system, "DELETE", "faults")
            self.control(system, "POST", "settings", {"away": False})

    def change(self, type_: str, id_: str, **fields: Any) -> None:
        """Somebody edits a record in Salesforce."""
        self.control("sf-main", "POST", "change", {"type": type_, "id": long_id(id_), "fields": fields})

    def records(self, system: str, type_: str) -> list[Json]:
        """Live records of a type, in the vendor's own JSON."""
        rows: list[Json] = self.control(system, "GET", f"records?type={type_}")[type_]
        return rows

    def everything(self) -> dict[str, Json]:
        """All live records of all vendors."""
        return {system: self.control(system, "GET", "records") for system in VENDORS}

    def marks(self) -> dict[str, int]:
        """How many writes each vendor has accepted so far."""
        return {system: len(self.control(system, "GET", "writes")) for system in VENDORS}

    def written(self, since: dict[str, int] | None = None) -> list[Written]:
        """Accepted writes since ``marks``, each with the instant its call came in."""
        found = []
        for system in VENDORS:
            calls = self.control(system, "GET", "calls")["calls"]
            seen: dict[tuple[str, str], list[str]] = {}
            for call in calls:
                if call["method"] != "GET" and str(call["status"])[:1] == "2":
                    seen.setdefault((call["method"], call["path"]), []).append(call["at"])
            for row in self.control(system, "GET", "writes"):
                times = seen.get((row["method"], row["path"]), [])
                at = times.pop(0) if times else ""
                if row["seq"] > (since or {}).get(system, 0):
                    assert at, f"no call belongs to {row}"
                    found.append(
                        Written(
                            system=system,
                            method=row["method"],
                            path=row["path"],
                            type=row["type"],
                            id=row["id"],
                            operation=row["operation"],
                            body=row["body"],
                            at=at,
                        )
                    )
        return sorted(found, key=lambda one: one.at)

    # --- command line --------------------------------------------------------------------------------

    async def trueup(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, output, errors) of the ``trueup`` command, run in this process: it starts faster."""
        given = [*arguments, "--config", str(self.stack.config)]
        result = await asyncio.to_thread(CliRunner().invoke, app, given)
        return result.exit_code, result.stdout, result.stderr


async def program(module: str, *arguments: str, patience: float = 60) -> tuple[int, str, str]:
    """(exit code, output, errors) of one of our programs, which must end in time."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{module} {' '.join(arguments)} did not end within {patience} s") from None
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def local_firm(
    folder: Path,
    *,
    mail: bool = False,
    ui: bool = False,
    config: Callable[[str], str] = str,
    served: Sequence[str] = ("",),
    **changes: Any,
) -> AsyncIterator[Firm]:
    """A firm with one worker, or several.

    Args:
        folder: for its files.
        mail: with a mailbox.
        ui: with Temporal's Web UI.
        config: changes the configuration file's text before anything reads it.
        served: queues of each worker process, as ``--queues`` has them; one for everything by default.
        changes: of ``cli.local.config.Places``.
    """
    stack = Stack(folder, ui=ui, mail=mail, config_changes=changes)
    try:
        await stack.start()
        stack.config.write_text(config(stack.config.read_text()))
        for queues in served:
            await asyncio.to_thread(stack.add_worker, queues)
        settings = stack.settings()
        client = await connect(settings.temporal)
        ledger = await open_ledger(settings)
        systems = ConnectedSystems(settings, ledger)
        try:
            yield Firm(stack, client, settings, systems.mapping_digests(), ledger)
        finally:
            await systems.close()
            await ledger.close()
    finally:
        await asyncio.to_thread(stack.stop)


def step_of(view: SagaView, id_: str) -> StepView:
    """The step of that id, or of the only id that begins so."""
    found = [step for step in view.steps if step.id == id_ or step.id.startswith(id_)]
    assert len(found) == 1, f"{id_}: {[step.id for step in view.steps]}"
    return found[0]


def parked(view: SagaView) -> str:
    """Id of the only parked step."""
    (step,) = view.parked_steps
    return step.id
