"""``make billing-kills``: thousands of lines posted and billed while the worker is killed at every batch
boundary and every tenth answer is lost after the ERP has committed; beside it the same undisturbed.

After server ids, numbers and timestamps are removed, the invoices of both must be identical. The last line
printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from canonical.batches import BatchState
from runtime.lifecycle import exit_now
from tests.chaos.firm import ROLES, Zygote
from tests.conservation import vendor
from tests.conservation.drive import Books, books
from tests.conservation.expect import Expectation
from tests.conservation.generate import FIRST, Case, Entry, Generator
from tests.conservation.months import judged
from tests.conservation.seeding import ERP
from tests.conservation.terms import TIME, Opening

BATCH = 100
"""Lines of one batch: the ERP's own limit."""
LEAST, MOST = 2, 10
"""Contracts, each with a worker of its own: a day has only so many hours."""
LOOK = 0.02
SETTLED = 20.0
"""Seconds to wait for the outcome of a batch to be recorded."""
TENTH, MOST_LOST = 10, 400
SEED = 11
WRITES, READS = ("POST", "PUT", "PATCH"), ("GET",)
RECORDS, ANYTHING = "/record/v1/(timeBill|invoice)", "/services/rest/(record|async)/"


@dataclass
class Closed:
    """A month that was closed."""

    invoices: list[Any] = field(default_factory=list)
    """Normalised, in order."""
    findings: list[str] = field(default_factory=list)
    postings: int = 0
    batches: int = 0
    kills: int = 0
    lost: int = 0
    """Answers to writes, lost after the ERP had committed."""
    unread: int = 0
    """Answers to reads, lost."""
    twice: int = 0
    """Sources billed or posted more than once."""
    missing: int = 0
    """Sources that must be billed and are not."""
    seconds: float = 0.0


def cases(lines: int) -> list[Case]:
    """Contracts with so many time entries between them, in October."""
    generator, workers = Generator(SEED), max(LEAST, min(MOST, lines // (2 * BATCH)))
    found = []
    for number in range(workers):
        terms = generator.agreement(TIME, opening=Opening())
        count = lines // workers + (number < lines % workers)
        roles = ("solution-architect", "consultant", "project-manager")
        entries = [
            Entry(
                id=600_000 + number * 1_000 + place,
                kind="time",
                day=date(2026, 10, 1 + place % 30),
                minutes=7 + (place * 13) % 40,
                role=roles[place % 3],
            )
            for place in range(count)
        ]
        found.append(Case(terms, (entries, [])))
    return found


def one_by_one(text: str) -> str:
    """The configuration with one batch at a time, so that there is a boundary between any two."""
    return text.replace("[retry]", "[billing]\nbatches_at_once = 1\npieces_at_once = 1\n\n[retry]", 1)


async def close(folder: Path, zygote: Zygote, own: Sequence[Case], *, lose: int, patience: float) -> Closed:
    """Close October once.

    Args:
        folder: for the firm.
        zygote: makes the worker processes.
        own: contracts and their work.
        lose: one answer of so many, with kills at every batch boundary; 0 for neither.
        patience: seconds for each of posting and billing.
    """
    done, began = Closed(), time.monotonic()
    async with books(folder, zygote, own, one_by_one) as one:
        await one.seed(own)
        await one.book([(case, case.work[0]) for case in own])
        expected = Expectation([case.terms for case in own])
        expected.collect(await one.delivered())
        if lose:
            await one.firm.control("netsuite", "POST", "faults", one_lost_of(lose))
        killer = asyncio.create_task(_kill_at_boundaries(one, done)) if lose else None
        try:
            await one.bill(FIRST, {}, patience)
        finally:
            if killer is not None:
                killer.cancel()
                await asyncio.gather(killer, return_exceptions=True)
        if lose:
            rules = await one.firm.control("netsuite", "GET", "faults")
            done.lost = sum(int(rule["fired"]) for rule in rules if rule["method"] in WRITES)
            done.unread = sum(int(rule["fired"]) for rule in rules if rule["method"] in READS)
            await one.firm.no_faults()
        expected.bill(FIRST, {})
        report = await judged(one, list(own), expected)
        records = await one.records("netsuite")
        done.findings = [*(str(finding) for finding in report.findings), *one.problems]
        done.invoices = normalised(records)
        _count(done, expected, vendor.erp(records))
        done.batches = len(await _carried_out(one))
    done.seconds = round(time.monotonic() - began, 1)
    return done


def one_lost_of(calls: int) -> list[dict[str, Any]]:
    """Rules that lose one answer of so many, by method, after the ERP has done what was asked: each lets as
    many calls through as those before it have seen.
    """
    return [
        {
            "kind": "drop_after",
            "method": method,
            "path": RECORDS if method in WRITES else ANYTHING,
            "skip": (calls - 1) * (number + 1),
        }
        for method in (*WRITES, *READS)
        for number in range(MOST_LOST // len((*WRITES, *READS)))
    ]


async def _carried_out(one: Books) -> list[str]:
    """Batches that the ERP has carried out."""
    rows = await one.firm.control("netsuite", "GET", "jobs")
    return [row["id"] for row in rows if len(row["statuses"]) > 1]


async def _kill_at_boundaries(one: Books, done: Closed) -> None:
    """SIGKILL for every worker process whenever one more batch has been carried out: in turn at once, when
    nobody but the ERP knows, and when its outcome is recorded and the next one is about to be sent.
    """
    known = 0
    while True:
        now = len(await _carried_out(one))
        if now > known:
            known = now
            if known % 2:
                await _settled(one, known)
            await one.firm.kill_and_restart(*ROLES)
            done.kills += 1
        await asyncio.sleep(LOOK)


async def _settled(one: Books, count: int) -> None:
    """Wait until the outcome of so many batches is recorded."""
    give_up = time.monotonic() + SETTLED
    while time.monotonic() < give_up:
        if len(await one.ledger.batches(system=ERP, states=[BatchState.DONE])) >= count:
            return
        await asyncio.sleep(LOOK)


def _count(done: Closed, expected: Expectation, erp: vendor.Erp) -> None:
    posted = Counter(one.source for one in erp.postings)
    billed = Counter(line.source for invoice in erp.invoices for line in invoice.lines)
    wanted = {item.source for item in expected.items if item.amount("billed")}
    done.postings = len(erp.postings)
    done.twice = sum(count > 1 for count in posted.values()) + sum(count > 1 for count in billed.values())
    done.missing = len(wanted - set(billed)) + len(set(expected.cost) - set(posted))


def normalised(records: vendor.Records) -> list[Any]:
    """Invoices without what the server makes: ids, numbers, instants."""
    sources = {row["id"]: _without_revision(str(row[vendor.SOURCE])) for row in records.get("timeBill", [])}
    hours = {row["id"]: row["hours"] for row in records.get("timeBill", [])}
    found = []
    for row in records.get("invoice", []):
        kept = {name: value for name, value in row.items() if name not in SERVERS}
        lines = [
            {
                **{name: value for name, value in line.items() if name != "doc"},
                "source": sources[line["doc"]["id"]],
                "hours": hours[line["doc"]["id"]],
            }
            for line in row["time"]["items"]
        ]
        kept["time"] = sorted(lines, key=lambda line: str(line["source"]))
        found.append(json.loads(json.dumps(kept, default=str, sort_keys=True)))
    return sorted(found, key=lambda row: str(row["memo"]))


SERVERS = frozenset(
    ("id", "tranId", "transactionNumber", "number", "createdDate", "lastModifiedDate", "externalId")
)


def _without_revision(key: str) -> str:
    return re.sub("@.*", "", key)


async def compare(work: Path, lines: int, patience: float, lose: int = TENTH) -> tuple[Closed, Closed]:
    """(undisturbed, disturbed) of the same month."""
    zygote = Zygote()
    try:
        own = cases(lines)
        calm = await close(work / "calm", zygote, own, lose=0, patience=patience)
        print(f"undisturbed: {calm.postings:,} postings in {calm.seconds} s", flush=True)
        wild = await close(work / "wild", zygote, own, lose=lose, patience=patience)
        lost = f"{wild.lost} answers to writes and {wild.unread} to reads lost"
        print(f"disturbed: {wild.kills} kills, {lost}, {wild.seconds} s", flush=True)
        return calm, wild
    finally:
        zygote.stop()


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.conservation.kills", description=__doc__)
    parser.add_argument("--lines", type=int, default=3_000)
    parser.add_argument("--patience", type=float, default=1_800, help="seconds for each of the two months")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="trueup-kills-"))
    calm, wild = asyncio.run(compare(work, given.lines, given.patience))
    shutil.rmtree(work, ignore_errors=True)
    for words in [*calm.findings, *wild.findings][:40]:
        print(f"    {words}", flush=True)
    figures = {
        "lines": given.lines,
        "batches": wild.batches,
        "kills": wild.kills,
        "answers_to_writes_lost": wild.lost,
        "answers_to_reads_lost": wild.unread,
        "invoices": len(wild.invoices),
        "invoices_identical": calm.invoices == wild.invoices,
        "billed_twice": wild.twice,
        "lost": wild.missing,
        "violations": len(calm.findings) + len(wild.findings),
        "seconds": [calm.seconds, wild.seconds],
    }
    goals = {"invoices_identical": True, "billed_twice": 0, "lost": 0, "violations": 0}
    met = all(figures[name] == goal for name, goal in goals.items()) and wild.kills >= given.lines // BATCH
    print(json.dumps({"target": "billing-kills", "figures": figures, "goals": goals, "met": met}), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
