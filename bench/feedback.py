"""How soon the deal shows what was invoiced: from the webhook's 2xx to the CRM's record, at a steady rate.

Events come in over HTTP at the product's own gateway, signed by an independent implementation of Standard
Webhooks, one for every invoice of a client of its own, evenly spaced. The clock begins when the gateway has
answered and ends when the simulated CRM has accepted the last of the invoice's two records (opportunity and
account). The floor is the critical path of the same saga's own vendor calls up to there: what a bare script
would take that makes these calls and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import httpx
from standardwebhooks import Webhook

from bench.calls import VendorCall
from bench.chain import activities, critical_path
from bench.firm import BenchFirm
from bench.result import Figure, Goal, Part, Row
from bench.stats import percentile, spread
from runtime.devserver import free_ports
from tests.e2e.feedback_firm import CRM, Client, Desk
from tests.e2e.firm import Firm
from tests.gateway.killed import WHSEC, Gateway
from wiring.ledger import open_ledger

SLOW = 100
"""Milliseconds that every vendor call takes."""
HELD = 10.0
"""Seconds: a rate is held when 99 of 100 events are shown within them."""
SAMPLED = 25
"""Sagas whose critical path is taken, spread over the run."""
PATIENCE = 90.0
"""Seconds for the last events to be shown after the last one was sent."""
SECRET = "TRUEUP_KILLED_WHSEC"
CONFIG = """
[gateway]
port = {port}
[gateway.sources.finance]
kind = "standard-webhooks"
system = "netsuite-emea"
secrets = [{{ env = "TRUEUP_KILLED_WHSEC" }}]
events = [{{ type = "invoice.*", saga = "invoice-feedback" }}]
"""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    seconds: float
    """Of every rate."""
    rate: float
    """Events a second at which the times are taken."""
    faster: tuple[float, ...]
    """Rates that are tried upwards until one is not held."""
    slower: tuple[float, ...]
    """Rates that are tried downwards until one is held, where ``rate`` is not."""


FULL = Size(60, 5, (6, 8, 11, 14, 18), (4, 3, 2))
SHORT = Size(6, 2, (3,), (1,))
SERVED = ("workflows,ledger,sf-main", "netsuite-emea,kantata-main,hr-export,bench")
"""Queues of each worker process: a process of Python is one core."""


@dataclass(frozen=True)
class Shown:
    """One event and what it brought about."""

    invoice: str
    accepted: float
    """When its sender had the 2xx, in seconds since 1970."""
    written: float | None
    """When the CRM had accepted the last of its two records; None: it never had."""

    @property
    def seconds(self) -> float:
        """From the one to the other; for ever when it never came."""
        return float("inf") if self.written is None else self.written - self.accepted


@dataclass(frozen=True)
class Round:
    """Events at one rate."""

    rate: float
    shown: tuple[Shown, ...]
    refused: int
    """Answers of the gateway that were no 2xx."""
    sent_in: float
    """Seconds that sending took: the rate that was really offered."""

    @property
    def p99(self) -> float:
        """Of the seconds until the CRM shows it."""
        return percentile([one.seconds for one in self.shown], 0.99)

    @property
    def held(self) -> bool:
        """Whether the rate was kept up with."""
        return not self.refused and self.p99 < HELD


class Events:
    """A gateway process before a firm, and invoices to tell it of."""

    def __init__(self, firm: BenchFirm) -> None:
        self.firm = firm
        self.told = 0

    async def open(self) -> None:
        """Configure and start two workers, then the gateway."""
        os.environ[SECRET] = WHSEC
        (self.port,) = free_ports(1)
        with self.firm.stack.config.open("a") as file:
            file.write(CONFIG.format(port=self.port))
        self.firm.settings = self.firm.stack.settings()
        for served in SERVED:
            await self.firm.add_worker(served)
        self.gateway = Gateway(self.firm.stack.config)
        await asyncio.to_thread(self.gateway.start)
        self.ledger = await open_ledger(self.firm.settings)
        firm = self.firm
        self.desk = Desk(Firm(firm.stack, firm.client, firm.settings, firm.mapping, self.ledger))

    async def close(self) -> None:
        """Stop the gateway."""
        self.gateway.stop()
        await self.ledger.close()

    async def at(self, rate: float, seconds: float) -> Round:
        """Send events at a rate, and wait until they are shown."""
        clients = await self.desk.clients(round(rate * seconds))
        with self.desk.at_once():
            invoices = [self.desk.issue(client, 1_000, days=3650) for client in clients]
        began = time.time()
        answers = await self._send(invoices, rate)
        sent_in = time.time() - began
        accepted = {invoice: at for invoice, at in zip(invoices, answers, strict=True) if at is not None}
        written = await self._written(clients, began)
        shown = tuple(
            Shown(invoice, accepted[invoice], written.get(client.account))
            for client, invoice in zip(clients, invoices, strict=True)
            if invoice in accepted
        )
        return Round(rate, shown, len(invoices) - len(accepted), sent_in)

    async def _send(self, invoices: Sequence[str], rate: float) -> list[float | None]:
        url = f"http://127.0.0.1:{self.port}/hooks/finance"
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:

            async def one(place: int, invoice: str) -> float | None:
                await asyncio.sleep(max(0.0, began + place / rate - time.monotonic()))
                now, id_ = datetime.now(UTC), f"bench-{self.told + place}"
                body = json.dumps({"type": "invoice.changed", "data": {"type": "invoice", "id": invoice}})
                headers = {
                    "webhook-id": id_,
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": Webhook(WHSEC).sign(id_, now, body),
                }
                answer = await http.post(url, content=body, headers=headers)
                return time.time() if answer.is_success else None

            found = await asyncio.gather(*(one(place, invoice) for place, invoice in enumerate(invoices)))
        self.told += len(invoices)
        return found

    async def _written(self, clients: Sequence[Client], began: float) -> dict[str, float]:
        """When each client's deal and account were both written, by account."""
        give_up = time.monotonic() + PATIENCE
        while True:
            at: dict[str, float] = {}
            for row in await asyncio.to_thread(self.desk.firm.control, CRM, "GET", "writes"):
                when = datetime.fromisoformat(row["at"]).timestamp()
                if row["operation"] == "update" and when >= began:
                    at.setdefault(row["id"], when)
            found = {
                client.account: max(at[client.account], at[client.sold[0].deal])
                for client in clients
                if client.account in at and client.sold[0].deal in at
            }
            if len(found) == len(clients) or time.monotonic() > give_up:
                return found
            await asyncio.sleep(1)

    async def paths(self, shown: Sequence[Shown]) -> list[tuple[float, float, int]]:
        """(seconds until it showed, critical path of its vendor calls until then, their number) of some."""
        found = []
        calls = await self.firm.calls()
        for one in shown[:: max(1, len(shown) // SAMPLED)]:
            assert one.written is not None
            saga = self.desk.saga(one.invoice)
            mine = [call for call in calls if call.saga == saga and _before(call, one.written)]
            history = await self.firm.client.get_workflow_handle(saga).fetch_history()
            path = critical_path(activities(history.events), mine)
            found.append((one.seconds, path.seconds, len(path.calls)))
        return found


def _before(call: VendorCall, written: float) -> bool:
    """Whether a call began before the record was written: what comes later is not on the way to it."""
    return not call.signs_in and call.began <= written


async def soon_shown(firm: BenchFirm, size: Size, slow: int = SLOW) -> Part:
    """Times at one rate, and the highest rate that is held.

    Args:
        firm: that is open and has no worker.
        size: rates and how long.
        slow: milliseconds per vendor call.
    """
    events = Events(firm)
    await events.open()
    try:
        await events.at(1, 3)  # signs in, imports, connects
        await firm.latency(slow)
        first = await events.at(size.rate, size.seconds)
        paths = await events.paths([one for one in first.shown if one.written is not None])
        ladder = [first]
        for rate in size.faster if first.held else size.slower:
            if ladder[-1].held is not first.held:
                break
            ladder.append(await events.at(rate, size.seconds))
        await firm.latency(0)
    finally:
        await events.close()
    return report(first, paths, ladder, slow)


def report(
    first: Round, paths: Sequence[tuple[float, float, int]], ladder: Sequence[Round], slow: int
) -> Part:
    """The measurement in words and figures."""
    times = [one.seconds for one in first.shown]
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    ratios = [seconds / path for seconds, path, _ in paths]
    path = median(path for _, path, _ in paths)
    number = int(median(number for _, _, number in paths))
    held = max((one.rate for one in ladder if one.held), default=0.0)
    part = Part("feedback", f"Invoice told of by webhook until the CRM shows it, {slow} ms a vendor call")
    figures: dict[str, Figure] = {
        "events_per_second": first.rate,
        "events": len(first.shown),
        "shown_seconds_p50": round(p50, 2),
        "shown_seconds_p99": round(p99, 2),
        "path_seconds": round(path, 2),
        "path_calls": number,
        "shown_to_path": round(median(ratios), 2),
        "p99_to_path": round(p99 / path, 2),
        "never_shown": sum(one.written is None for round_ in ladder if round_.held for one in round_.shown),
        "refused": sum(one.refused for one in ladder),
        "highest_rate_held": held,
    }
    part.figures = figures
    part.goals = [Goal("never_shown", at_most=0), Goal("refused", at_most=0)]
    tried = ", ".join(f"{one.rate:g}/s {_seconds(one.p99)}" for one in ladder)
    part.rows = [
        Row(
            f"webhook accepted to CRM written at {first.rate:g} events/s, p50 / p99 of seconds",
            f"{p50:.2f} / {p99:.2f} ({len(times)} events)",
        ),
        Row(
            "critical path of its own vendor calls (the floor), s",
            f"{path:.2f}, {number} calls one after another",
        ),
        Row("time against that path, p50", spread(ratios)),
        Row("p99 against that path", f"{p99 / path:.2f}"),
        Row(
            f"highest rate tried that is held with p99 under {HELD:g} s",
            f"{held:g} events/s (p99: {tried})",
        ),
        Row("events of held rates that never showed", str(figures["never_shown"]), "never_shown"),
        Row("events refused by the gateway", str(figures["refused"]), "refused"),
    ]
    return part


def _seconds(value: float) -> str:
    return "not all shown" if value == float("inf") else f"{value:.1f} s"


__all__ = ["FULL", "SHORT", "Events", "Round", "Shown", "Size", "report", "soon_shown"]
