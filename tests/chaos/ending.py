"""How a scenario ends: everything comes to rest and is judged, what is parked is repaired, everything is
judged again, and then everything is replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from cli.local.deals import Seed
from tests.chaos import vendors
from tests.chaos.invariants import (
    Ended,
    Pair,
    effect_rows,
    judge_effects,
    judge_keys,
    judge_named,
    judge_pivot,
    judge_records,
    refs,
)
from tests.chaos.replays import judge_replays
from tests.chaos.world import Won, World
from wiring.ledger import open_ledger

END = 60.0
"""Seconds until a saga that has not come to rest counts as hung."""
ROUNDS = 8
"""How often what is parked is retried once all causes are gone."""
STUCK = ("parked", "undo-blocked")
FINAL = ("complete", "undone", "failed")


async def finish(world: World) -> list[str]:
    """Bring a scenario to its end; answers every invariant that does not hold."""
    if not world.won:
        return []
    world.trace.append(("finish", {}))
    await asyncio.sleep(world.latest)
    rest = [await world.firm.settle(won.saga, END) for won in world.won]
    problems = [
        f"{won.saga.id} is {status}"
        for won, status in zip(world.won, rest, strict=True)
        if status not in (*FINAL, *STUCK) and not await _locked_out(world, won)
    ]
    problems += [f"at rest: {one}" for one in await _judge(world)]
    await world.calm()
    ends = await asyncio.gather(*(_to_the_end(world, won) for won in world.won))
    for won, end in zip(world.won, ends, strict=True):
        won.end = end
        if end not in FINAL:
            headline = (await world.firm.view(won.saga))["headline"]
            problems.append(f"{won.saga.id} did not end, it is {end}: {headline}")
    problems += [f"in the end: {one}" for one in await _judge(world)]
    problems += await _judge_audit(world)
    if not problems:
        complete = [won for won, end in zip(world.won, ends, strict=True) if end == "complete"]
        problems += await judge_replays(world, complete)
    return problems


async def _to_the_end(world: World, won: Won) -> str:
    end = ""
    for _ in range(ROUNDS):
        end = await world.firm.settle(won.saga, END)
        if end not in STUCK:
            return end
        await world.mend(won)
        await world.firm.retry_parked(won.saga)
    return await world.firm.settle(won.saga, END)


async def _judge(world: World) -> list[str]:
    firm = world.firm
    seen = vendors.change(world.before, await firm.records())
    writes = {v: await firm.control(v, "GET", f"writes?since={world.marks[v]}") for v in firm.urls}
    made: dict[str, set[Pair]] = {
        vendor: {(row["type"], str(row["id"])) for row in log if row["operation"] == "create"}
        for vendor, log in writes.items()
    }
    calls = (await firm.control(vendors.SALESFORCE, "GET", "calls"))["calls"]
    sagas = [await _ended(world, won, calls) for won in world.won]
    by_hand = {pair for won in world.won for pair in won.by_hand}
    problems = judge_records(firm.stack.config, world.before, seen, sagas, by_hand)
    rows = effect_rows(firm.folder / "ledger.db")
    problems += judge_effects(rows, seen, writes)
    if not by_hand:
        problems += [*judge_keys(seen), *judge_named(seen, made, sagas)]
    return [*problems, *judge_pivot(seen, writes[vendors.NETSUITE])]


async def _ended(world: World, won: Won, calls: list[dict[str, Any]]) -> Ended:
    firm = world.firm
    view = await firm.view(won.saga)
    cases = firm.cases(won.saga.id)
    named = {*refs(view), *(pair for case in cases for pair in refs(case))}
    return Ended(
        saga=won.saga.id,
        status="parked" if _without_token(view) else view["status"],
        account=won.account,
        candidates=tuple(_candidates(world, won, calls)),
        earlier=tuple(_amended(seed, won) for _, seed in won.versions[:-1]),
        licence_only=won.shape == "licence",
        skipped=frozenset(won.skipped),
        named=frozenset(named),
        cases=len(cases),
    )


def _without_token(view: Any) -> bool:
    """Whether a saga waits until a person renews a vendor's credentials."""
    kinds = {(step.get("failure") or {}).get("kind") for step in view["steps"] if step["state"] == "waiting"}
    return view["status"] == "waiting" and "reauthorise" in kinds


async def _locked_out(world: World, won: Won) -> bool:
    return _without_token(await world.firm.view(won.saga))


def _candidates(world: World, won: Won, calls: list[dict[str, Any]]) -> Iterator[Seed]:
    """What the last reading of the deal can have shown: by the CRM's own log, mostly one state.

    A call stands in the log when it comes in; only one that was held, or made by a process that had stood
    still, may have been answered later, or not have been the one that counted.
    """
    reads = [
        index
        for index, call in enumerate(calls)
        if won.id in call["path"] and "/query" in call["path"] and call["status"] == 200
    ]
    last = reads[-1] if reads else -1
    known = [seed for mark, seed in won.versions if mark <= last] or [won.versions[0][1]]
    for seed in [one for _, one in won.versions] if world.loose else known[-1:]:
        yield _amended(seed, won)


def _amended(seed: Seed, won: Won) -> Seed:
    if won.terms is None:
        return seed
    deal = {**seed["Opportunity"][0], "Payment_Terms__c": won.terms}
    return {**seed, "Opportunity": [deal]}


async def _judge_audit(world: World) -> list[str]:
    ledger = await open_ledger(world.firm.settings)
    try:
        return [f"audit: {one}" for one in await ledger.verify()]
    finally:
        await ledger.close()
