"""A gateway killed with -9 under load: every event that got a 2xx takes effect exactly once.

A real gateway process, a real Temporal server, the simulated CRM over HTTP. Judged from outside: the answers
that the sender got, against the workflows and the signals in their histories.
``python -m tests.gateway.killed`` prints one JSON line; the test suite runs its short form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook
from temporalio.client import Client

from canonical.names import event_id
from cli import simulators
from cli.local import deals
from cli.local.config import SECRETS
from cli.local.stack import ROOT, Stack
from connectors.kit.webhooks import digest
from ledger.inbox import OPEN, InboxState
from ledger.store import Ledger
from runtime.client import connect
from runtime.devserver import free_ports
from runtime.settings import load
from wiring.ledger import open_ledger

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SETTLE_SECONDS = 90
CONFIG = """
[gateway]
port = {port}
lease_seconds = 3
sweep_seconds = 1
[gateway.sources.deals]
kind = "standard-webhooks"
system = "sf-main"
secrets = [{{ env = "TRUEUP_KILLED_WHSEC" }}]
events = [{{ type = "deal.won", saga = "opportunity-to-project" }}]
"""


@dataclass
class Gateway:
    """The process under test."""

    config: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "--config", str(self.config), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, **SECRETS, "TRUEUP_KILLED_WHSEC": WHSEC},
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the gateway ended instead of serving"
        assert json.loads(line)["message"] == "serving"

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and not longer than it may take."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Sent:
    """What the sender knows."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Deal by event id, of events that got a 2xx."""
    refused: Counter[str] = field(default_factory=Counter)
    """Answers that were none, by kind."""
    sent: int = 0


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    sent: int
    accepted: int
    unanswered: int
    kills: int
    lost: int
    """Accepted, and no saga was told."""
    twice: int
    """Deals with more than one run of their saga."""
    left: int
    """Accepted, and not handed over in the end."""
    found_by_sweep: int
    """Handed over by another process than the one that took them."""
    signals_repeated: int
    """The same event told again after a kill: no effect, for the saga runs already."""
    rate: float

    @property
    def good(self) -> bool:
        """Whether every accepted event took effect exactly once."""
        return self.accepted > 0 and self.kills > 0 and not (self.lost or self.twice or self.left)


async def run(folder: Path, *, seconds: float, rate: int, kills: int) -> Verdict:
    """Send for ``seconds`` at ``rate`` a second, with ``kills`` kills in between."""
    os.environ["TRUEUP_KILLED_WHSEC"] = WHSEC
    stack = await Stack(folder, ui=False, mail=False).start()
    (port,) = free_ports(1)
    gateway = Gateway(stack.config)
    try:
        with stack.config.open("a") as file:
            file.write(CONFIG.format(port=port))
        known = _seed(stack, int(seconds * rate / 3))
        settings = load(stack.config)
        await asyncio.to_thread(gateway.start)
        sent, restarts = Sent(), asyncio.create_task(_restart(gateway, seconds, kills))
        await _send(sent, known, f"http://127.0.0.1:{port}/hooks/deals", seconds, rate)
        await restarts
        ledger = await open_ledger(settings)
        try:
            await _settled(ledger)
            client = await connect(settings.temporal, process="test")
            return await _judge(sent, ledger, client, kills, rate)
        finally:
            await ledger.close()
    finally:
        gateway.stop()
        stack.stop()


def _seed(stack: Stack, count: int) -> list[str]:
    """Won deals in the CRM; the ids that it knows them by."""
    rows: dict[str, list[Any]] = {}
    found = []
    for number in range(101, 101 + min(count, 890)):
        deal = replace(deals.QUARRY, number=number, name=f"Deal {number}", account=f"Client {number} B.V.")
        for kind, records in deal.seed().items():
            rows.setdefault(kind, []).extend(records)
        found.append(f"{deal.id}AAA")
    simulators.control(stack.vendors.salesforce.base_url, "POST", "seed", rows)
    return found


async def _restart(gateway: Gateway, seconds: float, kills: int) -> None:
    for _ in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        gateway.kill()
        await asyncio.to_thread(gateway.start)


async def _send(sent: Sent, known: list[str], url: str, seconds: float, rate: int) -> None:
    """Events of deals chosen by chance, some of them twice, as vendors do."""
    choice = random.Random(7)
    began = time.monotonic()
    tasks: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        while (passed := time.monotonic() - began) < seconds:
            while len(tasks) < passed * rate:
                event = f"e-{len(tasks) - choice.choice((0, 0, 0, 1))}"
                deal = known[hash_of(event) % len(known)]
                tasks.append(asyncio.create_task(_deliver(sent, http, url, event, deal)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)


def hash_of(event: str) -> int:
    """The same deal for the same event, always."""
    return random.Random(event).randrange(10**9)


async def _deliver(sent: Sent, http: httpx.AsyncClient, url: str, event: str, deal: str) -> None:
    now = datetime.now(UTC)
    body = json.dumps({"type": "deal.won", "data": {"type": "Opportunity", "id": deal}})
    headers = {
        "webhook-id": event,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(WHSEC).sign(event, now, body),
    }
    sent.sent += 1
    try:
        answer = await http.post(url, content=body, headers=headers)
    except httpx.HTTPError as error:
        sent.refused[type(error).__name__] += 1
        return
    if answer.is_success:
        sent.accepted[event] = deal
    else:
        sent.refused[str(answer.status_code)] += 1


async def _settled(ledger: Ledger) -> None:
    give_up = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < give_up:
        counts = await ledger.inbox_counts()
        if not any(counts.get(InboxState(state)) for state in OPEN):
            return
        await asyncio.sleep(0.3)


async def _judge(sent: Sent, ledger: Ledger, client: Client, kills: int, rate: float) -> Verdict:
    rows: dict[str, Any] = {}
    before: int | None = None
    while True:
        page = await ledger.inbox(before=before, limit=500)
        for row in page.rows:
            rows[f"{row.record_id}/{row.event_id}"] = row
        if page.cursor is None:
            break
        before = page.cursor
    runs: Counter[str] = Counter()
    told: Counter[str] = Counter()
    async for execution in client.list_workflows("WorkflowType = 'OpportunityToProject'"):
        runs[execution.id.rsplit(":", 1)[1]] += 1
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        async for event in handle.fetch_history_events():
            signalled = event.workflow_execution_signaled_event_attributes
            for payload in signalled.input.payloads:
                told[json.loads(payload.data)] += 1
    accepted = [rows.get(f"{deal}/{digest(event)}") for event, deal in sent.accepted.items()]
    names = [event_id(row.source, row.id) for row in accepted if row is not None]
    return Verdict(
        sent=sent.sent,
        accepted=len(sent.accepted),
        unanswered=sum(sent.refused.values()),
        kills=kills,
        lost=sum(row is None for row in accepted) + sum(told[name] == 0 for name in names),
        twice=sum(number > 1 for number in runs.values()),
        left=sum(row is not None and row.state is not InboxState.HANDED for row in accepted),
        found_by_sweep=sum(
            row.settled_at is not None and (row.settled_at - row.received_at).total_seconds() > 3
            for row in rows.values()
        ),
        signals_repeated=sum(number - 1 for number in told.values() if number > 1),
        rate=rate,
    )


def main() -> int:
    """Run the long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueup-gateway-") as folder:
        verdict = asyncio.run(run(Path(folder), seconds=given.seconds, rate=given.rate, kills=given.kills))
    figures = dict(verdict.__dict__)
    goals = {"lost": 0, "twice": 0, "left": 0}
    print(json.dumps({"target": "gateway-kill", "figures": figures, "goals": goals, "met": verdict.good}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
