"""Each connector driven once through the whole life of a deal, so that every kind of call passes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal

from canonical.authority import Phase
from canonical.delivered import ExportMark, LineKind
from canonical.erp_billing import BillingOwner, CostKind, Reversal, ReversalOrder
from canonical.feedback import Feed
from canonical.money import Money
from canonical.writes import VendorWrite, resolve_write
from connectors.kantata import billing_plans
from connectors.salesforce.calls import SubRequest
from tests.acceptance import kantata, netsuite, salesforce
from tests.acceptance.subject import Site
from tests.connectors import netsuite_billing as bills
from tests.connectors import netsuite_samples as samples
from tests.support.moves import reading_of


async def drive_salesforce(site: Site) -> None:
    """Deal read, polled and told its progress; composite call; what an organisation's check asks."""
    subject = salesforce.Subject(site)
    crm = subject.connector
    await crm.check()
    assert await crm.read_deal(subject.deal) is not None
    page = await crm.won_deals_since(None)
    await crm.won_deals_since(page.cursor)
    for write in (subject.update(), subject.create(), await subject.priced("KWD", Decimal("1.505"))):
        assert await crm.find(write) is None
        before = await crm.before_image(write) if write.restore else None
        landed = await crm.send(write)
        assert await reading_of(crm, write, landed) == write.expect
        await crm.undo(write, landed, before)
    part = SubRequest("GET", f"/sobjects/Account/{subject.account}", "one")
    await crm.client.composite([part], what="Composite")
    await crm.client.read_many("Account", [subject.account], ["Name"], what="Several")
    await subject.bulk()
    await subject.close()


async def drive_netsuite(site: Site) -> None:
    """Client, contract, schedule, project, activation, time, charge, invoice, credit, feedback, undo."""
    subject = netsuite.Subject(site)
    erp, after = subject.connector, subject.context(phase=Phase.AFTER_APPROVAL)
    await erp.check()
    await erp.read_reference(items=["31"])
    billed = samples.schedule((date(2026, 12, 31), "500.00"), (date(2027, 1, 31), "500.00"))
    contract = samples.contract(samples.line(schedule=billed))
    parent = samples.setup_of(samples.client("001P", "Parent"), entities=("DE01", "UK01"))
    child = samples.setup_of(samples.client(), currencies=("EUR", "GBP"), parent_symbol=parent.symbol)
    values, done = await subject.perform(erp.plan_clients(subject.context(), [parent, child]))
    plan = erp.plan_contract_and_project(subject.context(), samples.contract_setup(contract))
    values, made = await subject.perform(plan, values)
    await erp.read_baseline(contract, values)
    await erp.search_clients(samples.client())
    await erp.read_client(done[0][1].id)
    for write, landed in reversed(made):
        await erp.undo(write, landed, None)
    values = await subject.active()
    project = values[netsuite.PROJECT]
    costs = erp.plan_cost(after, [subject.time(project, 1), subject.time(project, 2)])
    await erp.batch_outcome(await erp.submit_batch("B1", costs), costs)
    spent = erp.plan_cost(after, [bills.expense(1, project=project)])
    await subject.perform(spent)
    held = await erp.postings(CostKind.TIME, [write.stamp for write in costs])
    await erp.postings(CostKind.EXPENSE, [spent[0].stamp])
    posted = held[costs[0].stamp].ref.id
    draft = subject.draft(values, bills.fee(), bills.timed(posted, "1125.00"))
    await erp.unbilled_totals(netsuite.DAY)
    values, _ = await subject.perform(
        [*erp.plan_invoice(after, draft), *erp.plan_issue(after, draft)], values
    )
    await erp.invoice_state(draft, values)
    id_ = values[f"invoice:{draft.key}.id"]
    part = bills.fee("L1.1", "100.00", order_line=1, order_quantity=Decimal(1))
    partly = subject.draft(values, part, key="G1.2", contract=values[netsuite.CONTRACT])
    await subject.perform(erp.plan_invoice(after, partly), values)
    released = subject.draft(values, bills.fee("L9"), key="G1.3", owner=BillingOwner.ERP_RUN)
    released_values, _ = await subject.perform(erp.plan_invoice(after, released), values)
    await erp.invoice_state(released, released_values)
    credits_ = erp.plan_credit(after, bills.credit(id_, bills.credited()))
    values, _ = await subject.perform(credits_, values)
    await erp.read_credit(values["credit:G1.c1.id"])
    await erp.read_billed(id_)
    await erp.contract_lines(values[netsuite.CONTRACT])
    await erp.workers(["ann@firm.test"])
    await erp.projects([project])
    await erp.unbilled_lines("DE01", "EUR", netsuite.DAY)
    free = held[costs[1].stamp]
    await subject.perform(erp.plan_not_billable(after, [free]))
    order = ReversalOrder(
        line=subject.time(project, 2), posting=free, form=Reversal.DELETE, on=netsuite.DAY, reason="Rejected"
    )
    await subject.perform(erp.plan_reversals(after, [order]))
    for feed in Feed:
        await erp.feedback_changes(feed, None)
    await erp.invoice_standing(id_)
    await erp.revenue_standing(values[netsuite.CONTRACT])
    await erp.open_balances([id_])
    await erp.accounting_periods()
    await subject.close()
    fresh = netsuite.Subject(site)
    await fresh.bulk()
    await fresh.close()


async def drive_kantata(site: Site) -> None:
    """Group, project, template, structure, activation, time, marks, invoice, payment, revenue, undo."""
    subject = kantata.Subject(site)
    psa, setup, after = subject.connector, subject.setup(), subject.context(phase=Phase.AFTER_APPROVAL)
    await psa.check()
    await psa.read_reference(templates=["Implementation"], roles=["architect", "Consultant"])
    values, project = await subject.project(setup)
    values |= (await psa.template_progress(setup, values)).values
    id_ = subject.project_id(values, setup)

    async def make(write: VendorWrite) -> None:
        assert await psa.find(write) is None
        landed = await psa.send(write)
        assert await reading_of(psa, write, landed) == write.expect
        values[f"{write.symbol}.id"] = landed.id

    plan = [*psa.plan_structure(subject.context(), setup), *psa.plan_activation(after, setup)]
    for planned in plan:
        await make(resolve_write(planned, values))
    await psa.read_baseline(setup, values)
    body = {"workspace_id": int(id_), "user_id": 77, "role": "maven"}
    subject.vendor("POST", "participations", {"participation": body})
    entry = {
        "workspace_id": int(id_), "user_id": 77, "date_performed": "2026-01-15", "time_in_minutes": 60,
        "role_id": 5, "billable": True, "rate_in_cents": 21050,
    }  # fmt: skip
    time = str(subject.vendor("POST", "time_entries", {"time_entry": entry})["results"][0]["id"])
    week = {"line_item_ids": [int(time)], "title": "Week", "workspace_id": int(id_), "user_id": 77}
    sent = subject.vendor("POST", "timesheet_submissions", {"timesheet_submission": week})
    number, resolution = sent["results"][0]["id"], {"resolution": {"description": "ok"}}
    subject.vendor("PUT", f"timesheet_submissions/{number}/approve", resolution)
    page = await psa.time_changes(None)
    await psa.time_changes(page.cursor)
    await psa.approval_changes(None)
    await psa.read_time([time])
    month = (date(2026, 1, 1), date(2026, 1, 31))
    await psa.expenses(*month)
    await psa.present(LineKind.TIME, *month)
    await psa.milestones([id_])
    await psa.projects([id_])
    bought = subject.build(subscribed_events=True)
    await bought.deletions(None)
    await bought.close()
    settings, system = psa._settings, kantata.SYSTEM
    mark = ExportMark(kind=LineKind.TIME, id=time, document="INV-1")
    copy = billing_plans.InvoiceCopy(
        key="INV-1", number="INV-1", project=id_, time_entry_ids=(time,), issued_on=date(2026, 2, 1),
        payment_days=30, purchase_order="PO 1", project_code=kantata.CODE,
    )  # fmt: skip
    marks = psa.plan_marks(after, [mark])
    await psa.batch_outcome(await psa.submit_batch("B1", marks), marks)
    held = await psa.marks(LineKind.TIME, [time])
    await make(psa.plan_unmarks(after, held)[0])
    await make(marks[0])
    invoice = billing_plans.plan_invoice(system, settings, after, copy)
    await make(invoice)
    number = values[f"{invoice.symbol}.id"]
    paid = billing_plans.FullPayment(key="R88", project=id_, invoice=number, receipt="ERP receipt 88")
    await make(billing_plans.plan_payment(system, settings, after, paid))
    money = Money(amount=Decimal("100.50"), currency="EUR")
    revenue = billing_plans.Recognition(
        key="2026-01",
        project=id_,
        first=date(2026, 1, 1),
        last=date(2026, 1, 31),
        amount=money,
        to_date=money,
    )
    await make(billing_plans.plan_revenue(system, settings, after, revenue))
    landed = await psa.find(project)
    assert landed is not None
    await psa.undo(project, landed, None)
    await subject.close()


DRIVES: dict[str, Callable[[Site], Awaitable[None]]] = {
    "salesforce": drive_salesforce,
    "netsuite": drive_netsuite,
    "kantata": drive_kantata,
}
