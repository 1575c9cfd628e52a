"""A simulated firm whose workers can be stopped, killed and started one by one: where chaos happens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from cli.local.config import SECRETS
from cli.local.deals import Deal
from cli.local.stack import ROOT, Stack
from runtime.client import connect
from runtime.search_attributes import SAGA_STATUS
from runtime.settings import Settings
from tests.chaos import vendors
from tests.chaos.stopping import STOP, Stop
from wiring.start import start, start_input
from wiring.systems import ConnectedSystems

QUICK = """\
attempts = 4
first_interval = 0.1
longest_interval = 1
call = 2
read = 20
write = 40
long = 40
heartbeat = 2
wait_first = 0.3
wait_ceiling = 2
settle_poll = 0.05"""
"""Seconds. A lease is one call plus a second: a late commit inside it must be found, never repeated."""
CALL = 2.0
"""Seconds that one vendor call may take, as above."""
SYSTEMS, LEDGER, WORKFLOWS = "sf-main,netsuite-emea,kantata-main,hr-export", "ledger", "workflows"
ROLES = (WORKFLOWS, LEDGER, SYSTEMS)
"""One process each, so that the one that performs a step is the one that dies."""
READY = 120.0
"""Seconds for a worker to start; the machine is busy on purpose."""
POLL = 0.02


class Zygote:
    """The fork server; one for all firms of a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **SECRETS},
            text=True,
        )
        self._lock = asyncio.Lock()

    async def fork(self, command: dict[str, Any]) -> int:
        """A new worker process; its id."""
        async with self._lock:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            return int(await asyncio.to_thread(self.process.stdout.readline))

    def stop(self) -> None:
        """End the fork server; the workers are their firms' business."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@dataclass
class ChaosFirm:
    """One firm: Temporal, three vendors over HTTP, three worker processes. One saga at a time."""

    folder: Path
    zygote: Zygote
    retry: str = QUICK
    slots: dict[str, int] = field(default_factory=dict)
    """Worker slots by system, to override: one makes a recording unambiguous."""
    patches: tuple[str, ...] = ()
    """``module:function`` to call in every worker process before it serves (``tests.chaos.zygote``)."""
    lag_seconds: float = 0.05
    """How long the vendors' searches are said to lag behind."""
    config_more: tuple[tuple[str, str], ...] = ()
    """(line of the configuration, line to put behind it)."""
    config: Callable[[str], str] = str
    """Changes the configuration file's text before anything reads it."""
    ledger: str = ""
    """The ledger's database; a file of SQLite's when empty."""
    database: Path | None = None
    """Where the Temporal server keeps its histories; in memory when empty."""
    stack: Stack = field(init=False)
    settings: Settings = field(init=False)
    client: Client = field(init=False)
    mapping: dict[str, str] = field(init=False)
    base: vendors.Records = field(init=False)
    http: httpx.AsyncClient = field(init=False)
    pids: dict[str, int] = field(default_factory=dict)
    days: int = 0
    """How many days its clocks, and its vendors', are ahead."""
    _starts: int = 0

    async def open(self) -> ChaosFirm:
        """Start everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        changes = {"retry": self.retry, "lag_seconds": self.lag_seconds, "ledger": self.ledger}
        self.stack = Stack(self.folder, ui=False, mail=False, database=self.database, config_changes=changes)
        await self.stack.start()
        text = self.stack.config.read_text()
        for system, slots in self.slots.items():
            known = {"netsuite-emea": 5, "kantata-main": 5}[system]
            text = text.replace(f"{system} = {known}", f"{system} = {slots}")
        for line, more in self.config_more:
            assert line in text
            text = text.replace(line, f"{line}\n{more}")
        self.stack.config.write_text(self.config(text))
        self.settings = self.stack.settings()
        self.client = await connect(self.settings.temporal)
        systems = ConnectedSystems(self.settings, None)
        self.mapping = systems.mapping_digests()
        await systems.close()
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.base = await self.records()
        # The first makes the ledger's tables; the others find them.
        await self.start_worker(LEDGER)
        await asyncio.gather(self.start_worker(WORKFLOWS), self.start_worker(SYSTEMS))
        return self

    async def close(self) -> None:
        """Take everything down."""
        for role in list(self.pids):
            self.signal(role, signal.SIGKILL)
        await self.http.aclose()
        await asyncio.to_thread(self.stack.stop)

    # --- workers ------------------------------------------------------------------------------------

    async def start_worker(self, role: str) -> None:
        """Start the worker process of a role and wait until it polls.

        Raises:
            RuntimeError: it did not come up; with the end of its log.
        """
        self._starts += 1
        ready = self.folder / f"worker-{self._starts}.ready"
        log = self.folder / f"worker-{role.split(',')[0]}.log"
        command = {
            "config": str(self.stack.config),
            "queues": role,
            "ready": str(ready),
            "log": str(log),
            "patches": (*self.patches, STOP),
        }
        self.pids[role] = await self.zygote.fork(command)
        give_up = time.monotonic() + READY
        while not ready.exists():
            if time.monotonic() > give_up:
                raise RuntimeError(f"worker {role} did not start: {log.read_text()[-2000:]}")
            await asyncio.sleep(POLL)

    def signal(self, role: str, number: signal.Signals) -> None:
        """Send a signal to the worker of a role, by its process id."""
        try:
            os.kill(self.pids[role], number)
        except ProcessLookupError:
            return
        if number is signal.SIGKILL:
            del self.pids[role]

    def stop_of(self, role: str) -> Stop:
        """Where the worker of a role is to stand still."""
        return Stop.of(self.folder, role)

    async def kill_and_restart(self, *roles: str) -> None:
        """SIGKILL, then new processes."""
        for role in roles:
            self.signal(role, signal.SIGKILL)
        await asyncio.gather(*(self.start_worker(role) for role in roles))

    # --- vendors ------------------------------------------------------------------------------------

    @property
    def urls(self) -> dict[str, str]:
        """Base address by vendor."""
        return {running.simulator.name: running.base_url for running in self.stack.vendors}

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

    async def no_faults(self) -> None:
        """Forget faults that are still armed, and where workers are to stand still."""
        for role in ROLES:
            self.stop_of(role).disarm()
        for vendor in self.urls:
            await self.control(vendor, "DELETE", "faults")

    # --- sagas --------------------------------------------------------------------------------------

    async def seed(self, deal: Deal) -> None:
        """Win the deal in the CRM."""
        await self.control(vendors.SALESFORCE, "POST", "seed", deal.seed())

    async def start(self, deal: Deal) -> WorkflowHandle[Any, Any]:
        """Start the deal's saga."""
        command = start_input(
            self.settings,
            self.mapping,
            system="sf-main",
            record_id=deal.id + "AAA",
            actor=self.settings.actor("root"),
        )
        return await start(self.client, command)

    async def status(self, handle: WorkflowHandle[Any, Any]) -> str:
        """Where a saga stands, from the server alone: ``closed`` when it has ended."""
        seen = await handle.describe()
        if seen.status is not WorkflowExecutionStatus.RUNNING:
            return "closed"
        return str(seen.typed_search_attributes.get(SAGA_STATUS) or "running")

    async def view(self, handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
        """The saga's view."""
        for _ in range(40):
            try:
                found: dict[str, Any] = await handle.query("view", result_type=None)
                return found
            except RPCError:
                await asyncio.sleep(0.1)
        raise RuntimeError("the saga does not answer queries")

    async def settle(
        self,
        handle: WorkflowHandle[Any, Any],
        seconds: float,
        *,
        stuck: bool = True,
        approve: bool = True,
    ) -> str:
        """Wait for the saga's end or (``stuck``) for its being parked; gates are approved on the way, or
        with ``approve`` False waited for as well.

        Returns:
            The saga's status; ``hung: ...`` when nothing came.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            status = await self.status(handle)
            if status == "closed":
                return str((await self.view(handle))["status"])
            if status == "gated":
                if not approve:
                    return status
                await self.approve(handle)
            if stuck and status in ("parked", "undo-blocked") and await self._still(handle, status):
                return status
            await asyncio.sleep(0.05)
        return f"hung: {await self.status(handle)}"

    async def _still(self, handle: WorkflowHandle[Any, Any], status: str) -> bool:
        """Whether a parked saga has nothing else under way: other branches and undos go on meanwhile."""
        length = -1
        for _ in range(4):
            seen = await handle.describe()
            raw = seen.raw_description
            busy = raw.pending_activities or raw.HasField("pending_workflow_task")
            if busy or length not in (-1, seen.history_length):
                return False
            length = seen.history_length
            await asyncio.sleep(0.08)
        states = {step["state"] for step in (await self.view(handle))["steps"]}
        return not states & {"running", "waiting", "undoing"} and await self.status(handle) == status

    async def approve(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Approve whatever a gate asks; nothing when none does."""
        if await self.status(handle) != "gated":
            return
        for step in (await self.view(handle))["steps"]:
            if step["state"] == "gated":
                decision = {
                    "command_id": f"gate-{step['id']}",
                    "step": step["id"],
                    "outcome": "approve",
                    "actor": {"name": "carla", "roles": list(step["gate"]["roles"])},
                    "choice": next(iter(step["gate"]["choices"]), None),
                }
                await handle.execute_update("decide", decision, result_type=dict)

    async def retry_parked(self, handle: WorkflowHandle[Any, Any]) -> None:
        """What an operator does once the cause is gone: retry every parked step."""
        await self.repair_parked(handle, "retry")

    async def repair_parked(self, handle: WorkflowHandle[Any, Any], action: str, **more: Any) -> None:
        """Take one decision about every parked step; ``undo_all`` about the first one stands for all.

        Raises:
            WorkflowUpdateFailedError: the saga refuses it, with its one line.
        """
        for step in (await self.view(handle))["steps"]:
            if step["state"] in ("parked", "undo-blocked"):
                command = {
                    "command_id": f"{action}-{step['id']}-{time.monotonic_ns()}",
                    "step": step["id"],
                    "action": action,
                    "actor": {"name": "olga", "roles": ["integration"]},
                    "reason": "the cause is gone",
                    **more,
                }
                await handle.execute_update("resolve_step", command, result_type=dict)
                if action == "undo_all":
                    return

    async def renew(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Let a parked saga continue as new and wait for the run that goes on.

        Raises:
            RuntimeError: it did not.
        """
        before = (await handle.describe()).run_id
        await handle.execute_update("renew", result_type=dict)
        give_up = time.monotonic() + 10
        while (await handle.describe()).run_id == before:
            if time.monotonic() > give_up:
                raise RuntimeError(f"{handle.id} did not continue as new")
            await asyncio.sleep(POLL)

    async def end(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """Terminate a saga that has not ended; whether it had to be."""
        if await self.status(handle) == "closed":
            return False
        await handle.terminate("the case is judged")
        return True

    def cases(self, saga_id: str) -> list[dict[str, Any]]:
        """The saga's open exception cases, from the ledger's file."""
        with sqlite3.connect(f"file:{self.folder}/ledger.db?mode=ro", uri=True, timeout=10) as database:
            database.row_factory = sqlite3.Row
            query = "SELECT * FROM exception_case WHERE saga_id = ? AND state = 'open'"
            rows = [dict(row) for row in database.execute(query, (saga_id,))]
        database.close()
        return rows


@asynccontextmanager
async def firm(folder: Path, zygote: Zygote, **options: Any) -> AsyncIterator[ChaosFirm]:
    """A running firm."""
    one = await ChaosFirm(folder, zygote, **options).open()
    try:
        yield one
    finally:
        await one.close()


__all__ = ["ChaosFirm", "WorkflowAlreadyStartedError", "Zygote", "firm"]
