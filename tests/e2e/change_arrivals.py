"""Change orders v1 to v5 in any order of arrival, over a running firm: all with ``make change-orders``.

Judged from outside: by what the vendors themselves hold at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from canonical.change_orders import ChangeOrder, ChangeOrderState, LineDelta, TermsDelta, Treatment
from canonical.engagement import Contract, ContractLine
from canonical.money import Money
from canonical.names import contract_key
from canonical.opening import OpeningPosition
from canonical.saga import SagaStatus
from cli.local.deals import Deal, Line
from ledger.rows import ChangeOrderRow
from runtime.lifecycle import exit_now
from tests.e2e.firm import ROOT_ACTOR, Firm, local_firm, long_id
from wiring.start_changes import changes_saga, order_saga, submit

ERP = "netsuite-emea"
SENDER = ROOT_ACTOR.model_copy(update={"name": "sam"})
FORMS = ("snapshot", "delta")
PATIENCE = 180.0
AT_ONCE = 6
"""Contracts under way at a time."""


async def set_up(firm: Firm) -> tuple[Deal, Contract]:
    """A contract of its own, active, with something billed before."""
    lines = (Line("ADV", "200", "150"), Line("IMPL", "1", "100000"))
    deal = firm.deal(lines=lines)
    await firm.until(await firm.start(firm.seed(deal)), SagaStatus.COMPLETE, patience=PATIENCE)
    key = contract_key(long_id(deal.id), "NL01", "EUR")
    row = await firm.ledger.contract_version(key)
    assert row is not None
    contract = Contract.model_validate(row.terms)
    opening = OpeningPosition(contract_key=key, billed_to_date=eur("120000"), source="test")
    await firm.ledger.import_openings([opening], actor=ROOT_ACTOR, on=date(2026, 12, 1))
    return deal, contract


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def more(contract: Contract, amount: str) -> ContractLine:
    """A further line by the hour."""
    advice = contract.lines[0]
    update = {"key": "extra", "amount": eur(amount), "deal_amount": eur(amount), "description": "Extra"}
    return advice.model_copy(update=update)


def worth(line: ContractLine, amount: str) -> ContractLine:
    """A line of another amount."""
    return line.model_copy(update={"amount": eur(amount), "deal_amount": eur(amount)})


def deltas(contract: Contract) -> list[TermsDelta]:
    """v1 to v5: the third is about a line that is not there, the fourth goes below what is billed."""
    advice = contract.lines[0].key

    def by(amount: str, key: str = advice) -> LineDelta:
        return LineDelta(key=key, amount=eur(amount))

    return [
        TermsDelta(change=(by("8000"),)),
        TermsDelta(add=(more(contract, "5000"),)),
        TermsDelta(change=(by("1", "nowhere"),)),
        TermsDelta(change=(by("-30000"),), drop=("extra",)),
        TermsDelta(change=(by("-1000", "extra"), by("2000"))),
    ]


def snapshots(contract: Contract) -> list[Contract]:
    """The same as complete terms; the third is another entity's."""
    advice, rollout = contract.lines
    bigger = worth(advice, "38000")
    lines = [
        (bigger, rollout),
        (bigger, rollout, more(contract, "5000")),
        (bigger, rollout, more(contract, "5000")),
        (worth(advice, "8000"), rollout),
        (worth(advice, "40000"), rollout, more(contract, "4000")),
    ]
    found = [contract.model_copy(update={"lines": one}) for one in lines]
    found[2] = found[2].model_copy(update={"legal_entity": "UK01"})
    return found


def orders(contract: Contract, form: str) -> list[ChangeOrder]:
    """The five change orders."""
    common: dict[str, Any] = {"contract_key": contract.key, "effective_on": date(2027, 1, 1)}
    made: list[dict[str, Any]] = [{"delta": one} for one in deltas(contract)]
    if form == "snapshot":
        made = [{"terms": one} for one in snapshots(contract)]
    return [ChangeOrder(key=f"CO-{n}", base=n, **common, **one) for n, one in enumerate(made, 1)]


async def send(firm: Firm, *sent: ChangeOrder) -> None:
    for order in sent:
        await submit(
            firm.settings, firm.mapping, firm.ledger, firm.client, order, actor=SENDER, reason="agreed"
        )


async def decided(
    firm: Firm, contract: Contract, choice: str = Treatment.PROSPECTIVE.value, **answer: Any
) -> dict[str, ChangeOrderRow]:
    """Decide at every gate until nothing is open that could go on."""
    give_up = time.monotonic() + PATIENCE
    asked: set[str] = set()
    while True:
        rows = {row.order.key: row for row in await firm.ledger.change_orders(contract.key)}
        if not any(row.state.is_open for row in rows.values()):
            # Sales are told after the terms are agreed: the end is the end of the contract's own saga.
            saga = changes_saga(firm.settings, ERP, contract.key)
            await asyncio.wait_for(firm.client.get_workflow_handle(saga).result(), PATIENCE)
            return rows
        for row in rows.values():
            if row.state is not ChangeOrderState.UNDER_WAY or row.order.key in asked:
                continue
            handle = firm.client.get_workflow_handle(
                order_saga(firm.settings, ERP, contract.key, row.order.key)
            )
            view = await firm.view(handle)
            if view.status is SagaStatus.GATED:
                await firm.decide(handle, "gate.change", choice=choice, **answer)
                asked.add(row.order.key)
        assert time.monotonic() < give_up, {key: (row.state, row.reason) for key, row in rows.items()}
        await asyncio.sleep(0.1)


def held(firm: Firm, deal: Deal, contract: Contract) -> dict[str, Any]:
    """What the vendors themselves hold of a contract, without ids and times."""
    (opportunity,) = (row for row in firm.records("sf-main", "Opportunity") if row["Id"] == long_id(deal.id))
    jobs = {row["id"]: row for row in firm.records(ERP, "job") if row["companyName"] == deal.name}
    (order,) = (row for row in firm.records(ERP, "salesOrder") if row["job"]["id"] in jobs)
    projects = [
        row for row in firm.records("kantata-main", "workspaces") if row["title"].startswith(deal.name)
    ]
    arrangements = [
        row for row in firm.records(ERP, "revenueArrangement") if row["createdFrom"]["id"] == order["id"]
    ]
    return {
        "value": Decimal(str(opportunity["Contract_Value__c"])),
        "versions": opportunity["Contract_Versions__c"],
        "scope": opportunity["Contract_Scope__c"],
        "status": opportunity["Contract_Change_Status__c"],
        "lines": sorted(
            (line["description"], Decimal(str(line["amount"])))
            for line in order["item"]["items"]
            if not line.get("isClosed")
        ),
        "total": Decimal(str(order["total"])),
        "change": order["custbody_trueup_change"],
        "revenue": [Decimal(str(row["total"])) for row in arrangements],
        "budgets": sorted(row["price_in_cents"] for row in projects),
    }


EXPECTED: dict[str, Any] = {
    "value": Decimal(144000),
    "versions": "v6",
    "scope": "Advisory: EUR 40,000.00\nImplementation: EUR 100,000.00\nExtra: EUR 4,000.00",
    "status": "Agreed",
    "lines": [("Advisory", Decimal(40000)), ("Extra", Decimal(4000)), ("Implementation", Decimal(100000))],
    "total": Decimal(144000),
    "change": "version 6",
    "revenue": [Decimal(144000)],
    "budgets": [4_400_000, 10_000_000],
}
"""What the in-order run leaves; the test of the first order of arrival, which is in order, proves it."""


OUTCOMES = {
    "CO-1": "applied",
    "CO-2": "applied",
    "CO-3": "refused: CHANGE_ORDER_INVALID",
    "CO-4": "refused: CHANGE_BELOW_BILLED",
    "CO-5": "applied",
}


def arrivals(number: int) -> Sequence[Sequence[int]]:
    """So many of the 120, the one in order first; which ones does not depend on the day."""
    every = list(itertools.permutations(range(5)))
    return [every[0], *random.Random(43).sample(every[1:], len(every) - 1)][:number]


async def play(firm: Firm, form: str, arrival: Sequence[int]) -> list[str]:
    """Send the five in an order of arrival, one of them twice; what is not as after the in-order run."""
    deal, contract = await set_up(firm)
    sent = orders(contract, form)
    for number in arrival:
        await send(firm, sent[number])
    await send(firm, sent[arrival[0]])
    rows = await decided(firm, contract)
    outcomes = {
        key: row.state.value + (f": {row.cause.value}" if row.cause else "")
        for key, row in sorted(rows.items())
    }
    wrong = [] if outcomes == OUTCOMES else [f"outcomes: {outcomes}"]
    found = held(firm, deal, contract)
    wrong += [f"{name}: {found[name]}, not {want}" for name, want in EXPECTED.items() if found[name] != want]
    versions = [one.version for one in await firm.ledger.contract_versions(contract.key)]
    kept = [one.contract_version for one in await firm.ledger.baselines(contract.key)]
    if (versions, kept) != ([1, 2, 3, 6], [1, 2, 3, 6]):
        wrong.append(f"versions {versions}, baselines {kept}")
    return wrong


def _word(row: ChangeOrderRow) -> str:
    return row.state.value + (f": {row.cause.value}" if row.cause is not None else "")


async def play_all(number: int) -> tuple[int, list[str]]:
    """So many orders of arrival in both forms: how many were played, and what was wrong."""
    cases = [(form, arrival) for arrival in arrivals(number) for form in FORMS]
    gate, wrong = asyncio.Semaphore(AT_ONCE), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        async with local_firm(Path(folder)) as firm:

            async def one(form: str, arrival: Sequence[int]) -> None:
                async with gate:
                    name = f"{form} {''.join(str(n + 1) for n in arrival)}"
                    found = await play(firm, form, arrival)
                    wrong.extend(f"{name}: {what}" for what in found)
                    print(f"{name}: {'; '.join(found) or 'as in order'}", flush=True)

            await asyncio.gather(*(one(form, arrival) for form, arrival in cases))
    return len(cases), wrong


def main() -> None:
    """Play, and print one JSON line at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--arrivals", type=int, default=120, help="orders of arrival, of 120")
    given = parser.parse_args()
    begun = time.monotonic()
    played, wrong = asyncio.run(play_all(given.arrivals))
    figures = {"runs": played, "differing": len(wrong), "seconds": round(time.monotonic() - begun)}
    goals = {"runs": 2 * given.arrivals, "differing": 0}
    met = played == goals["runs"] and not wrong
    last = {"target": "change-orders", "figures": figures, "goals": goals, "met": met}
    print(json.dumps(last))
    sys.stdout.flush()
    exit_now(0)


if __name__ == "__main__":
    main()
