"""``make chaos-race``: deals of new clients under shared parents, each started by command and poll at once.

First all go through: one engagement per deal, every client and parent once. Then as many more, half of which
are given up before activation, and then the rest; then all of them once more. Judged from the vendors'
records. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from canonical.names import SagaName
from cli.deals import deals as poll
from cli.local.deals import Deal, Line
from cli.session import Session
from cli.start import start as command
from runtime.lifecycle import exit_now
from tests.chaos import vendors
from tests.chaos.firm import SYSTEMS, ChaosFirm, Zygote
from tests.chaos.nodes import graph
from tests.chaos.oracle import Oracle
from tests.chaos.portfolio import CUSTOMER, Family, Portfolio, family, judge_nothing
from tests.chaos.vendors import Change, Records
from tests.chaos.verdict import Verdict
from tests.chaos.watching import Ends, ends, runs_of, until
from tests.ledger.postgres import PostgresServer, find_programs

PATTERNS = (
    Deal(1, "Build", "", (Line("IMPL", "1", "48000"),)),
    Deal(2, "Advice", "", (Line("ADV", "40", "140"),), entity="UK01", currency="GBP"),
    Deal(3, "Operations", "", (Line("RUN", "1", "12000"),)),
    Deal(4, "Second build", "", (Line("IMPL", "1", "36000"),), entity="UK01", currency="GBP"),
)
"""Every client buys from two legal entities in two currencies: whoever comes first makes the client, the
others extend it."""
HOLD = {
    "kind": "rate_limit",
    "method": "PATCH",
    "path": r"/salesOrder/\d+$",
    "times": 10**6,
    "retry_after": 60,
}
"""NetSuite takes no activation for now: all sagas come to a stand in front of the pivot, and wait."""
SECOND = ",".join(reversed(SYSTEMS.split(",")))
"""A second worker process for the same systems: sagas must race across processes too."""
SLOTS = {"netsuite-emea": 3, "kantata-main": 3}
POLLS = 2
END = 600.0
BUILDING = ("clients.", "contract.", "delivery.", "structure.")


@dataclass
class Round:
    """What came out of one round."""

    name: str
    figures: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    def take(self, verdict: Verdict, when: str) -> None:
        """Count what is wrong with the records."""
        self.figures["duplicates"] = self.figures.get("duplicates", 0) + len(verdict.duplicates)
        self.figures["orphans"] = self.figures.get("orphans", 0) + len(verdict.orphans)
        self.problems += [f"{when}: {one}" for one in verdict.problems]

    def must(self, name: str, found: Any, wanted: Any) -> None:
        """Keep a figure, and say so when it is not what it must be."""
        self.figures[name] = found
        if found != wanted:
            self.problems.append(f"{name}: {found}, must be {wanted}")


@dataclass(frozen=True)
class Size:
    """How much is raced."""

    deals: int = 20
    clients: int = 5
    parents: int = 2


class Race:
    """Races on one firm."""

    def __init__(self, firm: ChaosFirm, size: Size) -> None:
        self.firm, self.size = firm, size
        self.before: Records = {}
        self.handles: dict[str, WorkflowHandle[Any, Any]] = {}
        self.family: Family

    async def run(self) -> list[Round]:
        """All rounds; every one has clients of its own."""
        await self.firm.start_worker(SECOND)
        return [await self.all_go_through(20), *await self.some_are_given_up(20 + self.size.deals)]

    # --- rounds -------------------------------------------------------------------------------------

    async def all_go_through(self, first: int) -> Round:
        """Everything completes."""
        await self._win(first)
        result = Round("all go through", {"deals": self.size.deals})
        result.must("raced", await self._start_twice(), self.size.deals)
        await self._completed(result)
        return result

    async def some_are_given_up(self, first: int) -> list[Round]:
        """Half are cancelled before activation, then the rest; then all are started once more."""
        await self.firm.control(vendors.NETSUITE, "POST", "faults", HOLD)
        await self._win(first)
        half = Round("half given up", {"deals": self.size.deals})
        half.must("raced", await self._start_twice(), self.size.deals)
        victims = self._victims()
        rest = [deal for deal in self.family.deals if deal not in victims]
        early, late = victims[::2], victims[1::2]
        await asyncio.gather(*(self._cancel_while_building(deal, turn) for turn, deal in enumerate(early)))
        held = self._of([*late, *rest])
        if not await until(self.firm, held, ("waiting",), END):
            half.problems.append("not all others came to a stand in front of the activation")
        await self._cancel(late)
        await self._gave_up(half, victims)
        half.figures["held"] = len(rest)
        seen = await self._seen()
        half.take(Portfolio(self._oracles(rest)).judge_built(seen, self._oracles(victims)), "half given up")
        self._count(half, seen, rest)

        nothing = Round("all given up", {"deals": self.size.deals})
        await self._cancel(rest)
        await self._gave_up(nothing, self.family.deals)
        seen = await self._seen()
        nothing.take(judge_nothing(seen), "all given up")
        nothing.must(
            "records_left", sum(len(rows) for kinds in seen.new.values() for rows in kinds.values()), 0
        )
        await self.firm.no_faults()

        again = Round("once more", {"deals": self.size.deals})
        if not half.problems and not nothing.problems:
            await self._by_command()
            await self._completed(again, runs=2)
        return [half, nothing, again]

    async def _completed(self, result: Round, runs: int = 1) -> None:
        found = await ends(self.firm, self._of(self.family.deals), END)
        self._ended(result, found, "complete", self.size.deals)
        result.must("runs", await runs_of(self.firm, self._of(self.family.deals)), runs * self.size.deals)
        seen = await self._seen()
        result.take(Portfolio(self._oracles(self.family.deals)).judge_complete(seen), result.name)
        self._count(result, seen, self.family.deals)

    async def _gave_up(self, result: Round, given_up: Sequence[Deal]) -> None:
        self._ended(result, await ends(self.firm, self._of(given_up), END), "undone", len(given_up))

    @staticmethod
    def _ended(result: Round, found: Ends, status: str, deals: int) -> None:
        result.must(status.replace("-", "_"), found.by_status[status], deals)
        result.must("waiting_for_people", len(found.stuck), 0)
        result.problems += found.stuck

    def _count(self, result: Round, seen: Change, deals: Sequence[Deal]) -> None:
        """The vendors' own records by number, as a person would count them."""
        found = graph(seen)
        kinds = [one.kind for one in found]
        tops = [one for one in found if one.kind == CUSTOMER and json.loads(one.facts)["parent"] is None]
        clients = {deal.account_number for deal in deals}
        parents = {self._parent_of(deal) for deal in deals}
        result.must("engagements", kinds.count("salesOrder"), len(deals))
        result.must("erp_projects", kinds.count("job"), len(deals))
        result.must("delivery_projects", kinds.count("workspaces"), len(deals))
        result.must("clients", kinds.count(CUSTOMER) - len(tops), len(clients))
        result.must("parents", len(tops), len(parents))
        result.must("client_groups", kinds.count("workspace_groups"), len(clients))

    # --- what happens ---------------------------------------------------------------------------------

    async def _win(self, first: int) -> None:
        size = self.size
        self.family = family(PATTERNS, first, parents=size.parents, clients=size.clients, deals=size.deals)
        await self.firm.control(vendors.SALESFORCE, "POST", "seed", self.family.seed())
        self.before = await self.firm.records()

    async def _start_twice(self) -> int:
        """Start every deal by command and by polls at once; how many both sides found startable."""
        polls = [asyncio.create_task(self._by_poll()) for _ in range(POLLS)]
        # A poll that has read all deals starts them next: that is the moment for the commands.
        calls = await self._crm_calls()
        while await self._crm_calls() < calls + 1 + self.size.deals and not polls[0].done():
            pass
        commanded = await self._by_command()
        found = set(commanded)
        for polled in polls:
            found &= set(await polled)
        return len(found)

    async def _crm_calls(self) -> int:
        found = await self.firm.control(vendors.SALESFORCE, "GET", "calls")
        return len([one for one in found["calls"] if "/query" in one["path"]])

    async def _by_poll(self) -> list[str]:
        async with Session(self.firm.stack.config, as_json=True) as session:
            report = await poll(session, without_project=True, start=True, yes=True)
        return list(report.data["started"])

    async def _by_command(self) -> list[str]:
        """``trueup start`` for every deal on its own, all at once."""
        async with Session(self.firm.stack.config, as_json=True) as session:
            # Opened before, so that the commands are only the starts.
            await session.client()
            await session.systems()
            reports = await asyncio.gather(
                *(command(session, SagaName.OPPORTUNITY_TO_PROJECT, [deal.id]) for deal in self.family.deals)
            )
        facts = [report.data["sagas"][0] for report in reports]
        for deal, fact in zip(self.family.deals, facts, strict=True):
            self.handles[deal.id] = self.firm.client.get_workflow_handle(fact["saga_id"])
        return [fact["saga_id"] for fact in facts if fact["started"]]

    def _victims(self) -> list[Deal]:
        """All deals of the first client, none of the last, and of the others something in between."""
        per_client = math.ceil(self.size.deals / self.size.clients)
        chosen: list[Deal] = []
        for client in range(self.size.clients):
            share = round(per_client * (self.size.clients - 1 - client) / max(1, self.size.clients - 1))
            # From the back for every second client: now the maker of a client goes, now those who came after.
            own = self.family.of(client)
            chosen += own[:share] if client % 2 else own[len(own) - share :]
        return chosen

    async def _cancel_while_building(self, deal: Deal, turn: int) -> None:
        """Cancel a saga in the middle of building: every one a step later than the one before."""
        handle = self.handles[deal.id]
        give_up = time.monotonic() + END
        while time.monotonic() < give_up:
            steps = (await self.firm.view(handle))["steps"]
            under_way = [
                one
                for one in steps
                if one["id"].startswith(BUILDING) and one["state"] in ("running", "done", "waiting")
            ]
            if len(under_way) > turn % len(BUILDING):
                break
            await asyncio.sleep(0.02)
        await self._cancel([deal])

    async def _cancel(self, deals: Sequence[Deal]) -> None:
        for handle in self._of(deals):
            try:
                await handle.cancel()
            except RPCError as refused:
                if refused.status is not RPCStatusCode.NOT_FOUND:
                    raise

    # --- small ------------------------------------------------------------------------------------------

    def _of(self, deals: Sequence[Deal]) -> list[WorkflowHandle[Any, Any]]:
        return [self.handles[deal.id] for deal in deals]

    def _oracles(self, deals: Sequence[Deal]) -> list[Oracle]:
        return [Oracle(self.firm.stack.config, self.before, deal.seed()) for deal in deals]

    def _parent_of(self, deal: Deal) -> str:
        return str(next(one["ParentId"] for one in self.family.accounts if one["Id"] == deal.account_id))

    async def _seen(self) -> Change:
        return vendors.change(self.before, await self.firm.records())


async def race(folder: Path, zygote: Zygote, size: Size, *, ledger: str = "") -> list[Round]:
    """Race on a fresh firm."""
    firm = ChaosFirm(folder, zygote, slots=SLOTS, ledger=ledger)
    try:
        return await Race(await firm.open(), size).run()
    finally:
        await firm.close()


async def _all(work: Path, size: Size) -> dict[str, list[Round]]:
    zygote, found = Zygote(), dict[str, list[Round]]()
    try:
        found["sqlite"] = await race(work / "sqlite", zygote, size)
        programs = find_programs()
        if programs is None:
            print("PostgreSQL's server programs are not installed: raced on SQLite only", flush=True)
            return found
        server = PostgresServer(programs)
        try:
            server.start()
            found["postgresql"] = await race(
                work / "postgresql", zygote, size, ledger=server.url(server.new_database())
            )
        finally:
            server.close()
    finally:
        zygote.stop()
    return found


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.race", description=__doc__)
    parser.add_argument("--deals", type=int, default=Size.deals)
    parser.add_argument("--clients", type=int, default=Size.clients)
    parser.add_argument("--parents", type=int, default=Size.parents)
    given = parser.parse_args()
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-race-"))
    found = asyncio.run(_all(work, Size(given.deals, given.clients, given.parents)))
    print(f"{'ledger':<11} {'round':<15} figures")
    for ledger, rounds in found.items():
        for one in rounds:
            shown = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in one.figures.items())
            print(f"{ledger:<11} {one.name:<15} {shown}")
            for problem in one.problems:
                print(f"FAILED {ledger}, {one.name}: {problem}", file=sys.stderr)
    rounds = [one for rows in found.values() for one in rows]
    figures = {
        "rounds": len(rounds),
        "duplicates": sum(one.figures.get("duplicates", 0) for one in rounds),
        "orphans": sum(one.figures.get("orphans", 0) for one in rounds),
        "problems": sum(len(one.problems) for one in rounds),
        "seconds": round(time.monotonic() - began),
        **{ledger: {one.name: one.figures for one in rows} for ledger, rows in found.items()},
    }
    goals = {"duplicates": 0, "orphans": 0, "problems": 0}
    met = all(figures[name] == goal for name, goal in goals.items())
    if met:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps({"target": "chaos-race", "figures": figures, "goals": goals, "met": met}), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
