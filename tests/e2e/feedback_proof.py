"""Many invoices, twice: told of in order, and told of 1 to 5 times, shuffled and late. One end.

``make feedback-proof INVOICES=2000`` plays both on the real server with the simulated vendors and prints the
verdict; the suite plays a few. Judged from the vendors' own records and write logs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.lifecycle import exit_now
from tests.e2e.feedback_firm import BAD_DEBT, ITEM, WITHHELD, Client, Desk
from tests.e2e.firm import local_firm

DEALS = 3
"""Deals of a client; every third invoice stands on all of them."""
PER_CLIENT = 5
ROUNDS = 3
"""Changes of an invoice at most."""
SIDE_BY_SIDE = 25
AT_A_TIME = 60
"""Invoices under way at once when they are told of in order: enough for no worker to be idle."""
LOOKS = 0.5
"""Seconds between two looks at an invoice under way."""
SAID = 200
"""Events between two lines of progress."""
SERVED = ("workflows,ledger,sf-main", "netsuite-emea,kantata-main,hr-export")
"""Queues of the two workers: a process of Python is one core."""


@dataclass
class Change:
    """One thing that happens to an invoice."""

    invoice: int
    what: str
    part: float


@dataclass
class Plan:
    """What happens, drawn from a seed: the same for both runs."""

    clients: int
    owners: list[int]
    amounts: list[list[float]]
    rounds: list[list[Change]]
    seed: int


def draw(invoices: int, seed: int) -> Plan:
    """Invoices of clients with up to ``ROUNDS`` changes each. The first ones are those that must be there."""
    chance = random.Random(seed)
    clients = max(1, -(-invoices // PER_CLIENT))
    owners = [number % clients for number in range(invoices)]
    amounts = [
        [round(chance.uniform(100, 900), 2) for _ in range(DEALS if number % 3 == 0 else 1)]
        for number in range(invoices)
    ]
    must = [
        ("pay all", "reverse"),
        ("pay", "credit"),
        ("withhold", "pay all"),
        ("pay", "pay all", "reverse"),
        ("credit", "write off"),
    ]
    words = ("pay", "pay", "pay all", "credit", "withhold", "write off", "reverse", "dispute")
    rounds: list[list[Change]] = [[] for _ in range(ROUNDS)]
    for number in range(invoices):
        if number < len(must):
            happens: Sequence[str] = must[number]
        else:
            happens = [chance.choice(words) for _ in range(chance.randrange(ROUNDS + 1))]
        for place, what in enumerate(happens):
            rounds[place].append(Change(number, what, chance.uniform(0.1, 0.7)))
    return Plan(clients, owners, amounts, rounds, seed)


@dataclass
class Outcome:
    """What a run left."""

    shown: dict[str, Any]
    ties: list[str]
    writes: dict[str, int]
    reads: dict[str, int]
    seconds: float
    events: int
    older: list[str] = field(default_factory=list)


@dataclass
class Play:
    """One run of a plan in one firm."""

    desk: Desk
    plan: Plan
    invoices: list[str] = field(default_factory=list)
    payments: dict[int, list[str]] = field(default_factory=dict)
    open: dict[int, float] = field(default_factory=dict)
    events: int = 0
    dealt: int = 0
    """Events that were told in order and are dealt with."""

    async def begin(self) -> list[Client]:
        """Clients, deals and invoices."""
        clients = await self.desk.clients(self.plan.clients, DEALS)
        await asyncio.to_thread(self._issue, clients)
        return clients

    def _issue(self, clients: list[Client]) -> None:
        with self.desk.at_once():
            for owner, amounts in zip(self.plan.owners, self.plan.amounts, strict=True):
                self.open[len(self.invoices)] = round(sum(amounts), 2)
                self.invoices.append(self.desk.issue(clients[owner], *amounts, days=3650))

    def happens(self, clients: list[Client], changes: Sequence[Change]) -> list[Change]:
        """Something happens to many invoices, to each at most one thing; answers what did."""
        with self.desk.at_once():
            return [one for one in changes if self.happen(clients, one)]

    def happen(self, clients: list[Client], change: Change) -> bool:
        """Something happens in the ERP; False when it cannot (nothing is open, nothing was paid)."""
        number, desk = change.invoice, self.desk
        client, invoice, left = clients[self.plan.owners[number]], self.invoices[number], self.open[number]
        if change.what == "reverse":
            if not self.payments.get(number):
                return False
            payment, amount = self.payments[number].pop().split(" ")
            desk.reverse(payment)
            self.open[number] = round(left + float(amount), 2)
            return True
        if change.what == "dispute":
            desk.dispute(invoice)
            return True
        amount_ = left if change.what == "pay all" else round(left * change.part, 2)
        if amount_ <= 0:
            return False
        if change.what in ("pay", "pay all"):
            self.payments.setdefault(number, []).append(f"{desk.pay(client, invoice, amount_)} {amount_}")
        else:
            item = {"credit": ITEM, "withhold": WITHHELD, "write off": BAD_DEBT}[change.what]
            desk.credit(client, invoice, amount_, item=item)
        self.open[number] = round(left - amount_, 2)
        return True

    def said(self, what: str) -> None:
        """Progress, for who waits."""
        print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)

    async def tell(self, numbers: Sequence[int]) -> None:
        """Tell of invoices, so many side by side."""
        limit = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(number: int, event: int) -> None:
            async with limit:
                await self.desk.tell(self.invoices[number], f"event {event}")

        before = self.events
        self.events += len(numbers)
        await asyncio.gather(*(one(number, before + place) for place, number in enumerate(numbers)))

    async def tell_one_by_one(self, numbers: Sequence[int]) -> None:
        """Tell of each once; another one is told when one is dealt with."""
        limit = asyncio.Semaphore(AT_A_TIME)

        async def one(number: int) -> None:
            async with limit:
                await self.tell([number])
                await self.desk.quiet([self.invoices[number]], patience=1_800, pause=LOOKS)
                self.dealt += 1
                if not self.dealt % SAID:
                    self.said(f"in order: {self.dealt} events dealt with")

        await asyncio.gather(*(one(number) for number in numbers))

    async def in_order(self) -> list[Client]:
        """Every change is told once and dealt with before the next one."""
        clients = await self.begin()
        self.said(f"in order: {len(self.invoices)} invoices are issued")
        everything = list(range(len(self.invoices)))
        await self.tell_one_by_one(everything)
        for round_ in self.plan.rounds:
            done = await asyncio.to_thread(self.happens, clients, round_)
            changed = [one.invoice for one in done]
            await self.tell_one_by_one(changed)
        return clients

    async def at_random(self) -> list[Client]:
        """Every change is told 1 to 5 times, in any order, some of it when everything is over."""
        chance = random.Random(self.plan.seed + 1)
        clients = await self.begin()
        late: list[int] = [n for n in range(len(self.invoices)) for _ in range(chance.randint(1, 5))]
        for round_ in self.plan.rounds:
            for one in await asyncio.to_thread(self.happens, clients, round_):
                late += [one.invoice] * chance.randint(1, 5)
            chance.shuffle(late)
            now, late = late[: len(late) // 2], late[len(late) // 2 :]
            await self.tell(now)
            self.said(f"at random: {self.events} events told")
        await self.tell(late)
        self.said(f"at random: all {self.events} events told")
        await self.desk.quiet(self.invoices, patience=1_800)
        return clients


async def run(plan: Plan, *, ordered: bool, folder: Path) -> Outcome:
    """Play a plan in a firm of its own."""
    async with local_firm(folder, served=SERVED) as firm:
        play = Play(Desk(firm), plan)
        began = time.monotonic()
        clients = await (play.in_order() if ordered else play.at_random())
        seconds = time.monotonic() - began
        stale = await firm.ledger.stale_targets()
        assert not stale, f"{len(stale)} records are behind"
        written = await asyncio.to_thread(play.desk.figure_writes)
        shown = await asyncio.to_thread(play.desk.shown, clients)
        reads = {}
        for number, invoice in enumerate(play.invoices):
            row = await firm.ledger.erp_invoice("netsuite-emea", invoice)
            assert row is not None
            reads[str(number)] = row.version
        return Outcome(
            shown=shown,
            ties=list(untied(shown, plan.clients)),
            writes={target: len(rows) for target, rows in written.items()},
            reads=reads,
            seconds=seconds,
            events=play.events,
            older=list(sparing(play, clients, written, reads)),
        )


def untied(shown: dict[str, Any], clients: int) -> Iterator[str]:
    """Accounts whose deals do not add up to them."""
    names = ("Invoiced__c", "Paid__c", "Credited__c", "Withheld__c", "Written_Off__c", "Invoice_Balance__c")
    for client in range(clients):
        for name in names:
            deals = round(sum(shown[f"deal {client}.{n}"].get(name, 0) for n in range(DEALS)), 2)
            if deals != shown[f"account {client}"].get(name, 0):
                yield f"account {client} {name}: {deals} and {shown[f'account {client}'].get(name)}"


def sparing(
    play: Play, clients: list[Client], written: dict[str, list[Any]], reads: dict[str, int]
) -> Iterator[str]:
    """Targets that were written more often than the ERP showed different states of their invoices."""
    states: Counter[str] = Counter()
    for number, owner in enumerate(play.plan.owners):
        client = clients[owner]
        states[f"Account {client.account}"] += reads[str(number)]
        for sold, _ in zip(client.sold, play.plan.amounts[number], strict=False):
            states[f"Opportunity {sold.deal}"] += reads[str(number)]
            states[f"workspace {sold.workspace}"] += reads[str(number)]
    for target, rows in written.items():
        if len(rows) > states[target]:
            yield f"{target}: {len(rows)} writes for {states[target]} states"


def verdict(plan: Plan, ordered: Outcome, random_: Outcome) -> dict[str, Any]:
    """The last line: figures, goals, whether they are met."""
    differ = [name for name in ordered.shown if ordered.shown[name] != random_.shown[name]]
    figures = {
        "invoices": len(plan.owners),
        "deals": plan.clients * DEALS,
        "events in order": ordered.events,
        "events at random": random_.events,
        "records compared": len(ordered.shown),
        "records that differ": len(differ),
        "accounts untied": len(ordered.ties) + len(random_.ties),
        "targets written too often": len(ordered.older) + len(random_.older),
        "writes in order": sum(ordered.writes.values()),
        "writes at random": sum(random_.writes.values()),
        "states read in order": sum(ordered.reads.values()),
        "states read at random": sum(random_.reads.values()),
        "seconds in order": round(ordered.seconds, 1),
        "seconds at random": round(random_.seconds, 1),
        "differ": differ[:5],
        "untied": (ordered.ties + random_.ties)[:5],
        "too often": (ordered.older + random_.older)[:5],
    }
    goals = {"records that differ": 0, "accounts untied": 0, "targets written too often": 0}
    met = all(figures[name] == wanted for name, wanted in goals.items())
    return {"target": "feedback-proof", "figures": figures, "goals": goals, "met": met}


async def prove(invoices: int, seed: int) -> dict[str, Any]:
    """Both runs and the verdict."""
    plan = draw(invoices, seed)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        ordered = await run(plan, ordered=True, folder=Path(one))
        random_ = await run(plan, ordered=False, folder=Path(other))
    return verdict(plan, ordered, random_)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--invoices", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(prove(given.invoices, given.seed))), flush=True)
    exit_now(0)
