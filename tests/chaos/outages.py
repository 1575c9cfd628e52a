"""``make chaos-outages``: deals in flight while the Temporal server, the ledger or a vendor is away.

Nobody acts: every saga ends by itself, with exactly the right records. The last line printed is one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from canonical.saga import CaseState
from cli.local import deals
from cli.local.deals import Deal, Line
from runtime.lifecycle import exit_now
from tests.chaos import vendors
from tests.chaos.deals import EXISTING, copy
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.firm import firm as fresh_firm
from tests.chaos.oracle import Oracle
from tests.chaos.outage_kinds import LedgerKilled, Outage, TemporalKilled, all_outages
from tests.chaos.portfolio import Portfolio
from tests.chaos.watching import ends, runs_of, statuses
from tests.ledger.postgres import PostgresServer, find_programs
from wiring.ledger import open_ledger

COUNTRIES = Deal(
    9,
    "Orbit regional rollout",
    "Orbit Freight N.V.",
    (
        Line("IMPL", "1", "60000", entity="NL01", region="emea"),
        Line("IMPL", "1", "30000.55", entity="UK01", region="uki", currency="GBP", rate="0.8612"),
        Line("ADV", "100", "150", entity="NL01", region="emea"),
    ),
    tax_number="NL867890123B01",
    parent="Orbit Group",
)
PATTERNS = (deals.NORTHWIND, deals.QUARRY, COUNTRIES, deals.LUMEN, deals.SABLE)
"""New clients and a known one, one entity and several; none is large enough to ask anybody for a decision."""
PATIENT = """\
attempts = 4
first_interval = 0.2
longest_interval = 2
call = 2
read = 20
write = 40
long = 60
heartbeat = 3
wait_first = 1
wait_ceiling = 20
settle_poll = 0.1"""
"""Seconds. The server's retries are over after two, after ten where every call hangs; then the sagas wait."""
FIRST_NUMBER = 20
WRITES_EACH = 3
"""Writes per deal after which the outage begins: some deals are far by then, some have hardly begun."""
END, NOTICED = 900.0, 240.0


@dataclass
class Result:
    """What came out of one outage."""

    name: str
    figures: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    def must(self, name: str, found: Any, wanted: Any) -> None:
        """Keep a figure, and say so when it is not what it must be."""
        self.figures[name] = found
        if found != wanted:
            self.problems.append(f"{name}: {found}, must be {wanted}")


async def endure(firm: ChaosFirm, outage: Outage, *, count: int, first: int, seconds: float) -> Result:
    """Start deals, take something away while they are in flight, give it back, and judge the end.

    Args:
        firm: where.
        outage: what is away.
        count: deals in flight.
        first: the first of as many free deal numbers.
        seconds: how long it is away.
    """
    won = list(_deals(count, first))
    for deal in won:
        await firm.seed(deal)
    before = await firm.records()
    accounts = [row for deal in won for row in deal.seed().get("Account", [])]
    oracles = [Oracle(firm.stack.config, before, {**deal.seed(), "Account": accounts}) for deal in won]
    written = await _writes(firm)
    handles = [await firm.start(deal) for deal in won]
    result = Result(outage.name, {"deals": count})
    await _until_in_the_thick(firm, written + WRITES_EACH * count)
    result.must("in_flight", count - (await statuses(firm, handles)).count("closed"), count)
    away = time.monotonic()
    await outage.begin(firm)
    try:
        await asyncio.sleep(seconds)
        if outage.sagas_wait:
            result.figures["waited"] = await _noticed(firm, handles)
            if not result.figures["waited"]:
                result.problems.append("no saga noticed: the outage proves nothing")
    finally:
        await outage.end(firm)
    back = datetime.now(UTC)
    result.figures["seconds_away"] = round(time.monotonic() - away, 1)
    await _judge(firm, result, handles, Portfolio(oracles), before, back)
    return result


def _deals(count: int, first: int) -> Iterator[Deal]:
    """Deals of each pattern in turn. Those of a client that finance had before are of one account."""
    known: dict[str | None, int] = {}
    for place, pattern in zip(range(count), cycle(PATTERNS)):
        deal = copy(pattern, first + place)
        if deal.tax_number in EXISTING and known.setdefault(deal.tax_number, deal.number) != deal.number:
            deal = replace(deal, account_number=known[deal.tax_number])
        yield deal


async def _noticed(firm: ChaosFirm, handles: Sequence[WorkflowHandle[Any, Any]]) -> int:
    """How many sagas wait; a short outage on a busy machine goes on until one does."""
    give_up = time.monotonic() + NOTICED
    while True:
        waiting = (await statuses(firm, handles)).count("waiting")
        if waiting or time.monotonic() > give_up:
            return waiting
        await asyncio.sleep(0.1)


async def _judge(
    firm: ChaosFirm,
    result: Result,
    handles: Sequence[WorkflowHandle[Any, Any]],
    portfolio: Portfolio,
    before: vendors.Records,
    back: datetime,
) -> None:
    found = await ends(firm, handles, END)
    result.must("complete", found.by_status["complete"], len(handles))
    result.must("waiting_for_people", len(found.stuck), 0)
    result.problems += found.stuck
    result.must("runs", await runs_of(firm, handles), len(handles))
    if found.last is not None:
        # All may have ended before it was back: a vendor that is needed no more is missed by nobody.
        result.figures["seconds_to_recover"] = round(max(0.0, (found.last - back).total_seconds()), 1)
    seen = vendors.change(before, await firm.records())
    verdict = portfolio.judge_complete(seen)
    result.must("duplicates", len(verdict.duplicates), 0)
    result.must("orphans", len(verdict.orphans), 0)
    result.problems += verdict.problems
    await _judge_books(firm, result, {handle.id for handle in handles})


async def _judge_books(firm: ChaosFirm, result: Result, sagas: set[str]) -> None:
    """Cases came and went by themselves, nobody decided anything, the audit trail is whole."""
    ledger = await open_ledger(firm.settings)
    try:
        found = await ledger.cases(state=None, limit=10_000)
        rows = [row for row in found.rows if row.case.saga_id in sagas]
        result.figures["cases_opened"] = sum(row.times_opened for row in rows)
        result.figures["cases_closed"] = sum(row.case.state is CaseState.CLOSED for row in rows)
        result.must("cases_left_open", sum(row.case.state is CaseState.OPEN for row in rows), 0)
        result.must("parked", sum(not row.case.transient for row in rows), 0)
        acted = [one for saga in sorted(sagas) for one in (await ledger.decisions(saga_id=saga)).rows]
        result.must("people_acted", len(acted), 0)
        result.must("audit_breaks", len(await ledger.verify()), 0)
    finally:
        await ledger.close()


async def _writes(firm: ChaosFirm) -> int:
    return sum([len(await firm.control(vendor, "GET", "writes")) for vendor in firm.urls])


async def _until_in_the_thick(firm: ChaosFirm, writes: int) -> None:
    give_up = time.monotonic() + END
    while await _writes(firm) < writes:
        if time.monotonic() > give_up:
            raise RuntimeError(f"only {await _writes(firm)} of {writes} writes came")
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Length:
    """How much is in flight, and how long what is away."""

    deals: int = 50
    away: float = 300
    """Seconds; of a vendor and of the ledger."""
    server_away: float = 60
    """Seconds; of the Temporal server."""


async def outages(work: Path, length: Length, lanes: int, wanted: str) -> list[Result]:
    """Every outage on a firm of its own.

    Args:
        work: folder for the firms.
        length: deals and durations.
        lanes: firms at once.
        wanted: only outages whose name contains this.
    """
    zygote, limit = Zygote(), asyncio.Semaphore(lanes)
    with postgres_or_none() as postgres:

        async def one(outage: Outage) -> Result:
            async with limit:
                print(f"{outage.name} ...", file=sys.stderr, flush=True)
                return await on_a_fresh_firm(outage)

        async def on_a_fresh_firm(outage: Outage) -> Result:
            folder = work / outage.name.replace(" ", "-")
            is_server = isinstance(outage, TemporalKilled)
            ledger = outage.server if isinstance(outage, LedgerKilled) else None
            options = {
                "retry": PATIENT,
                "database": folder / "temporal.db" if is_server else None,
                "ledger": ledger.url(ledger.new_database()) if ledger else "",
            }
            seconds = length.server_away if is_server else length.away
            async with fresh_firm(folder, zygote, **options) as place:
                return await endure(place, outage, count=length.deals, first=FIRST_NUMBER, seconds=seconds)

        try:
            chosen = [outage for outage in all_outages(postgres) if wanted in outage.name]
            return list(await asyncio.gather(*map(one, chosen)))
        finally:
            zygote.stop()


@contextmanager
def postgres_or_none() -> Iterator[PostgresServer | None]:
    """A PostgreSQL server of its own where its programs are installed."""
    programs = find_programs()
    if programs is None:
        print("PostgreSQL's server programs are not installed: its outage is left out", flush=True)
        yield None
        return
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


COLUMNS = (
    ("deals", "deals"),
    ("away s", "seconds_away"),
    ("waited", "waited"),
    ("complete", "complete"),
    ("duplicates", "duplicates"),
    ("orphans", "orphans"),
    ("parked", "parked"),
    ("cases", "cases_opened"),
    ("closed", "cases_closed"),
    ("recovery s", "seconds_to_recover"),
)


def table(results: Sequence[Result]) -> str:
    """One line per outage."""
    lines = [f"{'outage':<24}" + "".join(f"{heading:>12}" for heading, _ in COLUMNS)]
    for one in results:
        cells = [str(one.figures.get(name, "-")) for _, name in COLUMNS]
        lines.append(f"{one.name:<24}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def report(results: Sequence[Result], seconds: float) -> str:
    """The last line: figures, goals, and whether they are met."""
    figures: dict[str, Any] = {
        "outages": len(results),
        **{
            name: sum(one.figures.get(name, 0) for one in results)
            for name in ("deals", "complete", "duplicates", "orphans", "parked", "people_acted")
        },
        "problems": sum(len(one.problems) for one in results),
        "longest_recovery_seconds": max(
            (one.figures.get("seconds_to_recover", 0) for one in results), default=0
        ),
        "seconds": round(seconds),
        "by_outage": {one.name: one.figures for one in results},
    }
    goals = {"duplicates": 0, "orphans": 0, "parked": 0, "people_acted": 0, "problems": 0}
    met = bool(results) and all(figures[name] == goal for name, goal in goals.items())
    return json.dumps({"target": "chaos-outages", "figures": figures, "goals": goals, "met": met})


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.outages", description=__doc__)
    parser.add_argument("--deals", type=int, default=Length.deals)
    parser.add_argument("--away", type=float, default=Length.away, help="seconds; vendors and ledger")
    parser.add_argument("--server-away", type=float, default=Length.server_away, help="seconds; Temporal")
    parser.add_argument("--lanes", type=int, default=1, help="firms at once; more make recovery slower")
    parser.add_argument("--only", default="", help="outages whose name contains this")
    given = parser.parse_args()
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-outages-"))
    length = Length(given.deals, given.away, given.server_away)
    results = asyncio.run(outages(work, length, given.lanes, given.only))
    print(table(results))
    for one in results:
        for problem in one.problems:
            print(f"FAILED {one.name}: {problem}", file=sys.stderr)
    if not any(one.problems for one in results):
        shutil.rmtree(work, ignore_errors=True)
    print(report(results, time.monotonic() - began), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
