"""The simulated firm as the benchmarks use it: its deals, its worker process, its vendors' call logs."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client, WorkflowHandle

from activities.contracts import StartSaga
from bench.calls import VendorCall, parse
from bench.process import launch
from canonical.saga import SagaStatus, SagaView
from cli.local.deals import NORTHWIND, Deal
from cli.local.stack import Stack
from runtime.client import connect
from runtime.settings import Settings
from tests.chaos.deals import copy
from tests.chaos.vendors import Records
from tests.chaos.vendors import parse as parse_records
from wiring.start import start, start_input
from wiring.systems import ConnectedSystems

FIRST_NUMBER = 20
"""Numbers of the copies of a deal begin here; below are the demo's own."""
WARM_UP = 2
"""Deals before the first that counts: sign-in, imports, connections."""
Handle = WorkflowHandle[Any, SagaView]


@dataclass(frozen=True)
class Run:
    """One deal carried to its end."""

    handle: Handle
    seconds: float
    """From the request to start it to the answer that it is complete."""


@dataclass
class BenchFirm:
    """A running stack without Web UI and mail, and one worker process for all queues."""

    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes of ``cli.local.config.Places``."""
    stack: Stack = field(init=False)
    settings: Settings = field(init=False)
    client: Client = field(init=False)
    http: httpx.AsyncClient = field(init=False)
    mapping: dict[str, str] = field(init=False)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """By the queues they serve, as ``--queues`` names them; empty for all."""
    _numbers: Any = field(default_factory=lambda: itertools.count(FIRST_NUMBER))
    _starts: Any = field(default_factory=lambda: itertools.count(1))

    async def open(self) -> BenchFirm:
        """Start everything but workers."""
        self.stack = Stack(self.folder, ui=False, mail=False, config_changes=self.changes)
        await self.stack.start()
        self.settings = self.stack.settings()
        self.client = await connect(self.settings.temporal)
        systems = ConnectedSystems(self.settings, None)
        self.mapping = systems.mapping_digests()
        await systems.close()
        self.http = httpx.AsyncClient(timeout=60, trust_env=False)
        return self

    async def close(self) -> None:
        """Take everything down."""
        self.kill_workers()
        await self.http.aclose()
        await asyncio.to_thread(self.stack.stop)

    # --- workers ------------------------------------------------------------------------------------

    async def add_worker(self, queues: str = "") -> None:
        """Start one more worker process and wait until it takes work.

        Args:
            queues: as ``--queues`` of ``python -m worker``; all when empty.

        Raises:
            RuntimeError: it did not come up; with the end of its log.
        """
        command = [sys.executable, "-m", "bench.worker", "--config", str(self.stack.config)]
        launched = launch([*command, "--queues", queues], self.folder, next(self._starts))
        self.workers[queues] = launched.process
        await launched.serving()

    def kill_workers(self) -> float:
        """SIGKILL to every worker process, all at once; then wait for their ends.

        Returns:
            When, in seconds since 1970.
        """
        at = time.time()
        for process in self.workers.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self.workers.values():
            process.wait()
        self.workers.clear()
        return at

    # --- vendors ------------------------------------------------------------------------------------

    async def control(self, vendor: str, method: str, call: str, body: Any = None) -> Any:
        """A call of a vendor's control API.

        Raises:
            httpx.HTTPStatusError: the simulator refused it.
        """
        running = next(one for one in self.stack.vendors if one.simulator.name == vendor)
        answer = await self.http.request(method, f"{running.base_url}/_sim/{call}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @property
    def vendors(self) -> list[str]:
        """The simulators' names."""
        return [running.simulator.name for running in self.stack.vendors]

    async def latency(self, milliseconds: int) -> None:
        """How long every vendor takes for every call, beside the call itself."""
        for vendor in self.vendors:
            await self.control(vendor, "POST", "settings", {"latency_ms": milliseconds})

    async def calls(self, saga: str | None = None) -> list[VendorCall]:
        """The vendors' call logs; a saga's own calls, or all."""
        found = []
        for vendor in self.vendors:
            found += parse(vendor, (await self.control(vendor, "GET", "calls"))["calls"])
        return [call for call in found if saga is None or call.saga == saga]

    def accepted(self) -> int:
        """How many writes all vendors have accepted so far."""
        return sum(len(running.simulator.store.writes) for running in self.stack.vendors)

    async def records(self) -> Records:
        """What all vendors hold now."""
        found = {}
        for running in self.stack.vendors:
            answer = await self.http.get(f"{running.base_url}/_sim/records")
            found[running.simulator.name] = answer.text
        return parse_records(found)

    # --- deals --------------------------------------------------------------------------------------

    async def win(self, pattern: Deal = NORTHWIND) -> Deal:
        """A deal like ``pattern`` with a client of its own, won in the CRM."""
        deal = copy(pattern, next(self._numbers))
        await self.control("salesforce", "POST", "seed", deal.seed())
        return deal

    def command(self, deal: Deal) -> StartSaga:
        """What the deal's saga is started with."""
        return start_input(
            self.settings,
            self.mapping,
            system="sf-main",
            record_id=deal.id + "AAA",
            actor=self.settings.actor("carla"),
        )

    async def start(self, deal: Deal) -> Handle:
        """Start the deal's saga."""
        return await start(self.client, self.command(deal))

    async def run(self, deal: Deal) -> Run:
        """Carry a won deal to its end.

        Raises:
            RuntimeError: it did not become complete.
        """
        began = time.monotonic()
        handle = await self.start(deal)
        view = await handle.result()
        seconds = time.monotonic() - began
        if view.status is not SagaStatus.COMPLETE:
            raise RuntimeError(f"{handle.id} ended as {view.status.value}: {view.headline}")
        return Run(handle, seconds)


@asynccontextmanager
async def bench_firm(folder: Path, queues: Sequence[str] = ("",), **changes: Any) -> AsyncIterator[BenchFirm]:
    """A firm that is up and warm.

    Args:
        folder: for its files.
        queues: one worker process for each; all queues in one by default.
        changes: of ``cli.local.config.Places``.
    """
    firm = BenchFirm(folder, changes)
    try:
        await firm.open()
        for one in queues:
            await firm.add_worker(one)
        for _ in range(WARM_UP):
            await firm.run(await firm.win())
        yield firm
    finally:
        await firm.close()
