"""A firm at month's end for the billing benchmark: vendors in processes of their own, many people, much time.

Two worker processes share the queues, as a deployment's do: a process of Python is one core. Every run
posts the time of people of its own, so that no run is slower than another because of what it finds.
"""

from __future__ import annotations

import asyncio
import getpass
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from bench import vendor
from bench.process import launch
from bench.vendor import Vendor
from canonical.money import Money
from canonical.names import cursor_name
from canonical.opening import OpeningPosition
from canonical.saga import SagaStatus, SagaView
from cli import simulators
from cli.local import vendors as accounts
from cli.local.config import SECRETS, Places, render
from cli.local.deals import Deal, Line
from connectors.kantata.events import Cursor, Window
from connectors.kit.together import together
from ledger.personal import AesGcmSealer
from ledger.store import Ledger
from runtime.client import connect
from runtime.devserver import DevServer
from runtime.settings import Settings, load
from tests.chaos.deals import copy
from wiring.ledger import open_ledger
from wiring.start import start, start_input
from wiring.start_billing import BillingStarts, start_run
from wiring.systems import ConnectedSystems

PSA, ERP = "kantata-main", "netsuite-emea"
SERVED = ("workflows,kantata-main,hr-export", "ledger,netsuite-emea,sf-main,bench")
"""Queues of each worker process. A system's queue has one process: the system's limit is that one's slots."""
CAP = 5
"""Concurrent calls that NetSuite allows; a call beyond is refused."""
LINES_PER_PERSON = 100
"""Twenty days of five entries, on five projects."""
DAYS = 20
PROJECTS = 10
MINUTES = 96
CONSULTANT = 6
FIRST_PERSON = 1_000
FIRST_DAY = date(2026, 10, 1)
READ_AT = datetime(2026, 11, 1, tzinfo=UTC)
"""Entries were last changed and timesheets approved from here on, seconds apart: days before any run."""
GAP = timedelta(hours=1)
"""Between the changes of one run's lines and the next one's."""
SEED_AT_ONCE = 5_000
READY = 180.0
RETRY = """\
attempts = 4
first_interval = 0.2
longest_interval = 2
call = 20
read = 120
write = 120
long = 900
heartbeat = 15
wait_first = 1
wait_ceiling = 10
settle_poll = 0.1"""
"""Production's patience: a slow vendor is no outage."""
COLLECT_FROM = "collect_from = 2026-01-01"
ADVISORY = Deal(60, "Month end", "Month End B.V.", (Line("ADV", "1", "90000", start="2026-01-01"),))


@dataclass(frozen=True)
class Project:
    """A contract whose time is booked and posted."""

    contract: str
    workspace: str
    job: str


@dataclass(frozen=True)
class Posted:
    """One run of posting, finished."""

    id: str
    view: SagaView
    began: float
    ended: float
    """Seconds since 1970: the request to start it, and the answer that it is complete."""
    events: int

    @property
    def seconds(self) -> float:
        """From the request to the answer."""
        return self.ended - self.began


@dataclass
class BillingFirm:
    """Temporal, three vendor processes, the ledger, two worker processes."""

    folder: Path
    people: int
    ledger_url: str = ""
    changes: dict[str, str] = field(default_factory=dict)
    """Texts of the configuration file to replace, and what by."""
    vendors: dict[str, Vendor] = field(default_factory=dict)
    projects: list[Project] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    server: DevServer = field(init=False)
    config: Path = field(init=False)
    settings: Settings = field(init=False)
    client: Client = field(init=False)
    ledger: Ledger = field(init=False)
    http: httpx.AsyncClient = field(init=False)
    starts: BillingStarts = field(init=False)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1_000_000))
    _workers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _runs: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _next_person: int = FIRST_PERSON
    _changed: datetime = READ_AT

    # --- up and down ------------------------------------------------------------------------------------

    async def open(self) -> BillingFirm:
        """Start everything but the worker."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(SECRETS)
        launched = [asyncio.to_thread(vendor.launch, name, self.folder) for name in vendor.BUILDERS]
        self.vendors = {one.name: one for one in await together(launched)}
        urls = {name: one.base_url for name, one in self.vendors.items()}
        certificate = simulators.signing_key(self.folder / "netsuite.key")
        simulators.set_up(urls["salesforce"], urls["netsuite"], urls["kantata"], certificate)
        (self.folder / "hr.csv").write_text(accounts.HR_EXPORT)
        self.server = DevServer(ui=False, log_file=self.folder / "temporal.log")
        await self.server.start()
        AesGcmSealer.from_file(self.folder / "personal.key", create=True)
        places = Places(
            temporal=self.server.address,
            folder=self.folder,
            retry=RETRY,
            ledger=self.ledger_url,
            salesforce=urls["salesforce"],
            netsuite=urls["netsuite"],
            kantata=urls["kantata"],
        )
        # A call per timesheet instead of per entry: nobody marks 100,000 entries one by one.
        text = render(places, getpass.getuser()).replace(
            COLLECT_FROM, f"{COLLECT_FROM}\nmark_timesheets = true"
        )
        for old, new in self.changes.items():
            text = text.replace(old, new)
        self.config = self.folder / "trueup.toml"
        self.config.write_text(text)
        self.settings = load(self.config)
        self.client = await connect(self.settings.temporal)
        self.ledger = await open_ledger(self.settings, bring_up_to_date=True)
        systems = ConnectedSystems(self.settings, None)
        self.mapping = systems.mapping_digests()
        await systems.close()
        self.starts = BillingStarts(self.settings, self.mapping, self.settings.actor("carla"))
        self.http = httpx.AsyncClient(timeout=300, trust_env=False)
        return self

    async def close(self) -> None:
        """Take everything down."""
        self.stop_workers()
        for one in self.vendors.values():
            one.stop()
        if hasattr(self, "http"):
            await self.http.aclose()
            await self.ledger.close()
        if hasattr(self, "server"):
            await asyncio.to_thread(self.server.stop)

    async def new_workers(self) -> None:
        """Fresh worker processes instead of those that there are, one per entry of ``SERVED``.

        Raises:
            RuntimeError: one did not come up; with the end of its log.
        """
        self.stop_workers()
        command = [sys.executable, "-m", "bench.worker", "--config", str(self.config), "--queues"]
        launched = [launch([*command, served], self.folder, next(self._workers)) for served in SERVED]
        self.workers = [one.process for one in launched]
        for one in launched:
            await one.serving()

    def stop_workers(self) -> None:
        """End the worker processes."""
        for process in self.workers:
            process.terminate()
        for process in self.workers:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.workers = []

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The worker processes' ids."""
        return tuple(one.pid for one in self.workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of everything that the firm runs."""
        return (
            *(one.process.pid for one in self.vendors.values()),
            *([self.server.pid] if self.server.pid else []),
            *self.worker_pids,
        )

    # --- vendors ----------------------------------------------------------------------------------------

    async def control(self, name: str, method: str, call: str, body: Any = None) -> Any:
        """A call of a vendor's control API.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        answer = await self.http.request(method, f"{self.vendors[name].base_url}/_sim/{call}", json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def slow(self, milliseconds: int) -> None:
        """How long NetSuite takes for every call, beside the call itself; and that it allows ``CAP``."""
        await self.control(
            "netsuite", "POST", "settings", {"latency_ms": milliseconds, "concurrency_limit": CAP}
        )

    # --- what there is ----------------------------------------------------------------------------------

    async def staff(self) -> None:
        """Everybody who will ever book time here: in HR, in NetSuite, in Kantata."""
        numbers = range(FIRST_PERSON, FIRST_PERSON + self.people)
        with (self.folder / "hr.csv").open("a") as file:
            for n in numbers:
                person = f"W{n},Person {n},p{n}@northgate.example"
                file.write(f"{person},consultant,Finance,emea,NL01,60,EUR,2023-04-01,\n")
        employees = [
            {
                "id": str(100_000 + n),
                "entityId": f"W{n}",
                "email": f"p{n}@northgate.example",
                "subsidiary": {"id": "3"},
            }
            for n in numbers
        ]
        users = [
            {"id": n, "full_name": f"Person {n}", "email_address": f"p{n}@northgate.example"} for n in numbers
        ]
        await self.control("netsuite", "POST", "seed", {"employee": employees})
        await self.control("kantata", "POST", "seed", {"users": users})

    async def set_up_projects(self, count: int = PROJECTS) -> None:
        """Won deals carried to active projects by the first saga.

        Raises:
            RuntimeError: one did not become complete.
        """
        for number in range(20, 20 + count):
            deal = replace(copy(ADVISORY, number), approval="Approved")
            await self.control("salesforce", "POST", "seed", deal.seed())
            command = start_input(
                self.settings,
                self.mapping,
                system="sf-main",
                record_id=deal.id + "AAA",
                actor=self.settings.actor("carla"),
            )
            handle = await start(self.client, command)
            view = await asyncio.wait_for(handle.result(), READY)
            if view.status is not SagaStatus.COMPLETE:
                raise RuntimeError(f"{handle.id} ended as {view.status.value}: {view.headline}")
            ((contract, _),) = view.codes.items()
            (job,) = await self.ledger.links_of("project", contract, system=ERP)
            delivery = (await self.ledger.links(kind="delivery", system=PSA, limit=1_000)).rows
            (workspace,) = (row.record.id for row in delivery if row.key.startswith(f"{contract}."))
            opening = OpeningPosition(contract_key=contract, billed_to_date=Money.of_minor(0, deal.currency))
            actor = self.settings.actor("carla")
            await self.ledger.import_openings([opening], actor=actor, on=date(2026, 1, 1))
            self.projects.append(Project(contract, workspace, job.record.id))

    async def book(self, lines: int) -> None:
        """Approved time of people who have none yet: ``LINES_PER_PERSON`` each, one timesheet a week.

        Raises:
            ValueError: the firm has no people left.
        """
        await self._last_read_before_now()
        entries: list[dict[str, Any]] = []
        sheets: list[dict[str, Any]] = []
        left = lines
        while left > 0:
            person = self._next_person
            if person >= FIRST_PERSON + self.people:
                raise ValueError(f"{self.people} people are too few")
            self._next_person += 1
            mine = min(LINES_PER_PERSON, left)
            left -= mine
            for number in range(mine):
                day, place = divmod(number, LINES_PER_PERSON // DAYS)
                week, weekday = divmod(day, 5)
                if number % (LINES_PER_PERSON // 4) == 0:
                    sheets.append(self._sheet(person, week))
                entries.append(self._entry(person, sheets[-1]["id"], 7 * week + weekday, place))
            if len(entries) >= SEED_AT_ONCE or left == 0:
                body = {"timesheet_submissions": sheets, "time_entries": entries}
                await self.control("kantata", "POST", "seed", body)
                entries, sheets = [], []

    async def _last_read_before_now(self) -> None:
        """Delivery was last read half an hour before what is booked next was changed: everything booked here
        lies in the past, behind what real polls have read.
        """
        read, self._changed = self._changed + GAP / 2, self._changed + GAP
        await self.ledger.put_cursor(cursor_name(PSA, "time"), Cursor(read).encode())
        window = Window(read, read, done=True)
        await self.ledger.put_cursor(cursor_name(PSA, "approvals"), window.encode())

    def _sheet(self, person: int, week: int) -> dict[str, Any]:
        return {
            "id": next(self._ids),
            "title": f"Week {week}",
            "workspace_id": self.projects[person % len(self.projects)].workspace,
            "user_id": person,
            "status": "approved",
            "start_date": (FIRST_DAY + timedelta(days=7 * week)).isoformat(),
            "updated_at": self._moment(),
        }

    def _entry(self, person: int, sheet: int, day: int, place: int) -> dict[str, Any]:
        return {
            "id": next(self._ids),
            "workspace_id": self.projects[person % len(self.projects)].workspace,
            "user_id": person,
            "role_id": CONSULTANT,
            "date_performed": (FIRST_DAY + timedelta(days=day)).isoformat(),
            "time_in_minutes": MINUTES - place,
            "billable": True,
            "rate_in_cents": 15_000,
            "recent_submission_id": sheet,
            "updated_at": self._moment(),
        }

    def _moment(self) -> str:
        self._changed += timedelta(seconds=1)
        return self._changed.strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- runs -------------------------------------------------------------------------------------------

    async def post(self) -> Posted:
        """Post everything that is approved.

        Raises:
            RuntimeError: the run did not become complete.
        """
        command = self.starts.posting(PSA, ERP, f"run-{next(self._runs)}")
        began = time.time()
        handle = await start_run(self.client, command)
        view = await handle.result()
        ended = time.time()
        if view.status is not SagaStatus.COMPLETE:
            raise RuntimeError(f"{handle.id} ended as {view.status.value}: {view.headline}")
        events = (await handle.describe()).history_length
        return Posted(handle.id, view, began, ended, events)


@asynccontextmanager
async def billing_firm(folder: Path, lines: int, **more: Any) -> AsyncIterator[BillingFirm]:
    """A firm that can book ``lines`` lines, with its projects set up and a worker."""
    firm = BillingFirm(folder, people=-(-lines // LINES_PER_PERSON) + 20, **more)
    try:
        await firm.open()
        await firm.staff()
        await firm.new_workers()
        await firm.set_up_projects()
        yield firm
    finally:
        await firm.close()
