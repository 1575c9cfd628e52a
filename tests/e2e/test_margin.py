"""Margin on the real server: time in Kantata, posted by a run, and what Salesforce's account then shows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ANNA, ARCHITECT, BRAM, CARLA, CONSULTANT, Project
from tests.e2e.feedback_firm import Client, Desk
from tests.e2e.firm import local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow]
PAY = {"92.50": "97.13", "61.00": "61.37", "58.75": "58.79"}
"""What HR has, and numbers that occur nowhere else."""
HOURS = 8
COST = HOURS * sum(Decimal(one) for one in PAY.values())


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("margin")

    def switched_on(text: str) -> str:
        export = folder / "hr.csv"
        rows = export.read_text()
        for known, told in PAY.items():
            rows = rows.replace(f",{known},", f",{told},")
        export.write_text(rows)
        return f"{text}\n[feedback]\nmargin = true\n"

    async with local_firm(folder, config=switched_on) as firm:
        yield Desk(firm)


async def work(desk: Desk, month: Month, client: Client, run: str, *people: tuple[int, int]) -> None:
    """A day of each, approved in Kantata and posted."""
    (sold,) = client.sold
    (job,) = (row for row in desk.firm.records("netsuite-emea", "job") if row["id"] == sold.job)
    project = Project(sold.contract, job["entityId"], sold.workspace, sold.job)
    for user, role in people:
        month.time(project, 3, user=user, role=role)
    await month.posting(run)


async def test_three_workers_are_a_margin_and_two_are_none(desk: Desk) -> None:
    client = await desk.client()
    month = Month(desk.firm)
    await work(desk, month, client, "two", (ANNA, ARCHITECT), (BRAM, CONSULTANT))
    invoice = desk.issue(client, 4000)
    await desk.tell(invoice)
    await desk.when(lambda: desk.account(client).get("Invoiced__c") == 4000, "the invoice on the account")
    await desk.quiet([invoice])
    assert desk.account(client).get("Margin__c") is None
    assert desk.account(client).get("Margin_Percent__c") is None
    await work(desk, month, client, "three", (CARLA, CONSULTANT))
    desk.pay(client, invoice, 1000)
    await desk.tell(invoice)
    await desk.when(lambda: desk.account(client).get("Paid__c") == 1000, "the payment on the account")
    await desk.quiet([invoice])
    shown = desk.account(client)
    assert Decimal(str(shown["Margin__c"])) == 4000 - COST
    assert Decimal(str(shown["Margin_Percent__c"])) == round((4000 - COST) / 40, 2)
    assert "Margin__c" not in desk.deal(client.sold[0]), "a deal never tells it"
    await nobodys_pay_is_anywhere(desk, invoice)


async def nobodys_pay_is_anywhere(desk: Desk, invoice: str) -> None:
    """Neither in the history of the saga, nor in the ledger, nor in what the worker logged."""
    handle = desk.firm.client.get_workflow_handle(desk.saga(invoice))
    history = (await handle.fetch_history()).to_json()
    folder = desk.firm.stack.folder
    with sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True) as ledger:
        kept = "\n".join(ledger.iterdump())
    logs = "\n".join(log.read_text(errors="replace") for log in folder.glob("worker-*.log"))
    for name, text in (("history", history), ("ledger", kept), ("logs", logs)):
        assert [pay for pay in PAY.values() if pay in text] == [], name
