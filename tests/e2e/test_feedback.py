"""Invoice feedback on the real server: what finance does in the ERP shows in CRM and delivery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.contracts import ScheduledRun
from canonical.names import WORKFLOW_QUEUE, SagaName, feedback_record, saga_id
from canonical.saga import SagaStatus
from tests.e2e.billing_terms import ERP
from tests.e2e.feedback_firm import BAD_DEBT, CRM, WITHHELD, Desk
from tests.e2e.firm import local_firm, long_id
from wiring.start_feedback import start_poll
from workflows.billing.scheduled import Scheduled

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("feedback")
    async with local_firm(folder) as firm:
        yield Desk(firm)


async def test_an_invoice_is_followed_from_issue_to_settlement_and_back(desk: Desk) -> None:
    client = await desk.client()
    sold = client.sold[0]
    invoice = desk.issue(client, 1000)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(sold).get("Invoiced__c") == 1000, "the invoice on the deal")
    await desk.when(lambda: desk.project(sold) is not None, "the invoice on the project")
    await desk.quiet([invoice])
    assert desk.account(client)["Invoice_Balance__c"] == 1000
    assert desk.deal(sold)["Last_Invoice_Status__c"] == "issued"
    payment = desk.pay(client, invoice, 400)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(sold).get("Paid__c") == 400, "a part payment")
    assert desk.deal(sold)["Last_Invoice_Status__c"] == "part paid"
    desk.pay(client, invoice, 600)
    handle = await desk.tell(invoice)
    view = await asyncio.wait_for(handle.result(), 30)
    assert view.status is SagaStatus.COMPLETE, "settled: it ends"
    assert desk.deal(sold)["Collection_Status__c"] == "nothing due"
    desk.reverse(payment)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(sold).get("Invoice_Balance__c") == 400, "the payment that bounced")
    await desk.quiet([invoice])
    assert desk.deal(sold)["Last_Invoice_Status__c"] == "part paid"
    assert (desk.project(sold) or {})["external_status"] == "part paid"
    assert await desk.firm.ledger.stale_targets() == []


async def test_one_invoice_over_three_deals_adds_up(desk: Desk) -> None:
    client = await desk.client(3)
    invoice = desk.issue(client, 333.33, 333.33, 333.34)
    desk.pay(client, invoice, 100)
    desk.credit(client, invoice, 50)
    desk.credit(client, invoice, 21.5, item=WITHHELD)
    desk.credit(client, invoice, 10, item=BAD_DEBT)
    await desk.tell(invoice)
    await desk.when(lambda: desk.account(client).get("Withheld__c") == 21.5, "what was withheld")
    await desk.quiet([invoice])
    account, deals = desk.account(client), [desk.deal(sold) for sold in client.sold]
    for name, whole in (
        ("Invoiced__c", 1000), ("Paid__c", 100), ("Credited__c", 50), ("Withheld__c", 21.5),
        ("Written_Off__c", 10), ("Invoice_Balance__c", 818.5),
    ):  # fmt: skip
        assert account[name] == whole
        assert round(sum(deal[name] for deal in deals), 2) == whole, name
    assert [deal["Credited__c"] for deal in deals] == [50, 0, 0], "a credit goes to the line it corrects"


async def test_a_burst_is_one_reading_and_one_write_per_target(desk: Desk) -> None:
    client = await desk.client()
    invoice = desk.issue(client, 500)
    before = len(desk.firm.control(CRM, "GET", "writes"))
    await asyncio.gather(*(desk.tell(invoice, f"burst-{n % 20}") for n in range(60)))
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 500, "the invoice")
    await desk.quiet([invoice])
    view = await desk.view(invoice)
    reads = next(step for step in view.steps if step.id == "read").attempts
    assert reads <= 2, "what came during the reading is read once more"
    assert len(desk.firm.control(CRM, "GET", "writes")) - before == 2, "the deal and the account"


async def test_disputed_overdue_and_voided(desk: Desk) -> None:
    client = await desk.client()
    invoice = desk.issue(client, 800, days=-40)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Overdue__c") == 800, "it is overdue")
    await desk.quiet([invoice])
    assert desk.account(client)["Days_31_60__c"] == 800
    desk.dispute(invoice)
    await desk.tell(invoice)
    await desk.when(
        lambda: desk.deal(client.sold[0])["Collection_Status__c"] == "disputed", "the client objects"
    )
    desk.remove("invoice", invoice)
    await desk.tell(invoice)
    await desk.when(lambda: desk.deal(client.sold[0])["Invoiced__c"] == 0, "the invoice is gone")


async def test_recognised_revenue_of_a_contract(desk: Desk) -> None:
    client = await desk.client()
    sold = client.sold[0]
    desk.firm.control(ERP, "POST", "recognise", {"order": sold.order, "amount": "2500"})
    handle = await desk.tell(feedback_record(sold.order, revenue=True))
    view = await asyncio.wait_for(handle.result(), 30)
    assert view.status is SagaStatus.COMPLETE
    assert desk.deal(sold)["Recognised_Revenue__c"] == 2500
    assert desk.account(client)["Recognised_Revenue__c"] == 2500


async def test_with_webhooks_off_a_poll_finds_every_change(desk: Desk) -> None:
    client = await desk.client()
    sold = client.sold[0]
    invoice = desk.issue(client, 700)
    view = await desk.poll()
    assert view.status is SagaStatus.COMPLETE
    await desk.when(lambda: desk.deal(sold).get("Invoiced__c") == 700, "an invoice nobody told of")
    desk.firm.control(ERP, "POST", "settings", {"payment_bumps_invoice": False})
    try:
        payment = desk.pay(client, invoice, 700)
        await desk.poll()
        await desk.when(lambda: desk.deal(sold).get("Paid__c") == 700, "a payment that moved no stamp")
        desk.firm.control(ERP, "POST", "recognise", {"order": sold.order, "amount": "10"})
        await desk.poll()
        await desk.when(lambda: desk.deal(sold).get("Recognised_Revenue__c") == 10, "revenue")
        desk.reverse(payment)
        await desk.poll("daily", scan=True)
        await desk.when(lambda: desk.deal(sold).get("Paid__c") == 0, "a payment that was deleted silently")
    finally:
        desk.firm.control(ERP, "POST", "settings", {"payment_bumps_invoice": True})


async def test_the_command_line_plans_reads_and_traces(desk: Desk) -> None:
    client = await desk.client()
    invoice = desk.issue(client, 250)
    desk.pay(client, invoice, 100)
    trueup = desk.firm.trueup
    ended, out, err = await trueup("start", "invoice-feedback", invoice, "--plan")
    assert ended == 0, err
    assert "3 writes would be made, none was" in out
    assert desk.deal(client.sold[0]).get("Invoiced__c") is None, "a plan writes nothing"
    ended, out, err = await trueup("start", "invoice-feedback", invoice, "--wait")
    assert ended == 0, err
    assert desk.deal(client.sold[0])["Paid__c"] == 100
    ended, out, err = await trueup("trace", invoice, "--json")
    assert ended == 0, err
    found = json.loads(out)
    assert [one["deal"] for one in found["shares"]] == [f"{CRM}/Opportunity/{client.sold[0].deal}"]
    assert {one["system"] for one in found["writes"]} == {CRM, "kantata-main"}
    ended, out, err = await trueup("show", desk.saga(invoice))
    assert (ended, "part paid" in out) == (0, True), err


async def test_a_scheduled_poll_and_a_poll_of_deals(desk: Desk) -> None:
    client = await desk.client()
    invoice = desk.issue(client, 90)
    wanted = ScheduledRun(schedule="invoices", run=SagaName.POLL_CHANGES, erp=ERP)
    handle = await desk.firm.client.start_workflow(
        Scheduled.run, wanted, id="scheduled-poll", task_queue=WORKFLOW_QUEUE
    )
    assert "Polled." in await asyncio.wait_for(handle.result(), 60)
    await desk.when(lambda: desk.deal(client.sold[0]).get("Invoiced__c") == 90, "found by the clock")
    await desk.quiet([invoice])
    deal = desk.firm.seed(desk.firm.deal())
    poll = await start_poll(desk.firm.client, desk.starts.poll(CRM, "deals", deals=True))
    view = await asyncio.wait_for(poll.result(), 60)
    assert view.status is SagaStatus.COMPLETE
    began = desk.firm.client.get_workflow_handle(
        saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", CRM, long_id(deal.id))
    )
    assert (await began.describe()).id


async def test_an_event_for_what_is_not_there_starts_nothing(desk: Desk) -> None:
    handle = await desk.tell("99999999")
    view = await asyncio.wait_for(handle.result(), 60)
    assert view.status is SagaStatus.COMPLETE
    assert "has no invoice" in view.headline
