"""The demo's last act: the invoice is paid in two parts, the deal in Salesforce shows it, one command prints
the whole line. What it claims is read from the simulated vendors' own records.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from canonical.names import SagaName, saga_id
from canonical.saga import SagaStatus, SagaView
from cli.demo_act import DemoAct, Json
from cli.demo_billing import ERP, PSA, patiently
from cli.local.deals import Deal
from cli.output import Table, count, plain_table
from cli.session import Session
from cli.simulators import control
from cli.trace import AUDIT, trace
from wiring.start_feedback import FeedbackStarts, start_poll

FIRST_PART = Decimal(10_000)
PAID_ON = ("2026-11-16", "2026-11-30")
PAYMENTS = 990_000
"""Ids of the payments, above those of everything else."""
FINANCE = "trueup-finance"
"""Under this name a delivery project shows what finance says."""


@dataclass
class Paid:
    """The invoice, and where it shows."""

    invoice: str
    number: str
    deal: str
    currency: str
    gross: Decimal


class PaymentAct(DemoAct):
    """An issued invoice until it is settled."""

    def __post_init__(self) -> None:
        self.region = self.settings.about.region
        self.starts = FeedbackStarts(self.settings, self.mapping, self.actor)

    async def play(self, deal: Deal, code: str) -> str:
        """Have the invoice of the contract with that project code paid.

        Returns:
            How it was paid, in words.
        """
        what = self._invoice(deal, code)
        self.say.print(
            "  nobody tells Trueup: it asks NetSuite what changed; command: trueup invoices --poll"
        )
        await self._shows(what, f"{what.number} is issued", Decimal(0), "issued")
        self._pay(what, 0, FIRST_PART)
        await self._shows(what, f"{what.currency} {FIRST_PART:,.2f} came in", FIRST_PART, "part paid")
        rest = what.gross - FIRST_PART
        last = self._pay(what, 1, rest)
        await self._shows(what, f"{what.currency} {rest:,.2f} came in", what.gross, "paid")
        await self._ended(what)  # only then has it told everybody
        self._show_projects(what)
        await self._print_line(last)
        parts = f"{FIRST_PART:,.2f} and {rest:,.2f}"
        return f"{what.number}, {what.currency} {parts}"

    # --- in NetSuite ------------------------------------------------------------------------------------

    def _invoice(self, deal: Deal, code: str) -> Paid:
        job = next(row for row in self.records("netsuite", "job") if row["entityId"] == code)
        own = [
            row
            for row in self.records("netsuite", "invoice")
            if str((row.get("job") or {}).get("id")) == str(job["id"]) and row["status"]["id"] == "A"
        ]
        self.expect(len(own) == 1, f"{len(own)} invoices of {code} are open instead of one")
        row = own[0]
        opportunity = next(
            one for one in self.records("salesforce", "Opportunity") if str(one["Id"]).startswith(deal.id)
        )
        self.expect(not opportunity.get("Invoiced__c"), "the deal shows an invoice before anybody read it")
        return Paid(
            invoice=str(row["id"]),
            number=str(row["tranId"]),
            deal=str(opportunity["Id"]),
            currency=deal.currency,
            gross=Decimal(str(row["total"])),
        )

    def _pay(self, what: Paid, place: int, amount: Decimal) -> str:
        """The client pays a part; answers the payment's id."""
        invoice = next(row for row in self.records("netsuite", "invoice") if str(row["id"]) == what.invoice)
        payment = {
            "id": str(PAYMENTS + place),
            "customer": {"id": str(invoice["entity"]["id"])},
            "currency": invoice["currency"],
            "subsidiary": invoice["subsidiary"],
            "tranDate": PAID_ON[place],
            "payment": float(amount),
            "apply": {"items": [{"doc": {"id": what.invoice}, "apply": True, "amount": float(amount)}]},
        }
        control(self.stack.vendors.netsuite.base_url, "POST", "seed", {"customerPayment": [payment]})
        return str(payment["id"])

    # --- where it shows ---------------------------------------------------------------------------------

    async def _shows(self, what: Paid, happened: str, paid: Decimal, status: str) -> None:
        """Ask until the deal shows it, and say what it shows."""

        async def look() -> Json | None:
            run = await start_poll(self.client, self.starts.poll(ERP, "demo", reason="demo"))
            await run.result()
            for _ in range(20):
                deal = self._deal(what)
                if deal.get("Last_Invoice_Status__c") == status and _amount(deal, "Paid__c") == paid:
                    return deal
                await asyncio.sleep(0.1)
            return None

        deal = await patiently(look, lambda: f"Salesforce does not show that {happened}")
        told = {name: _amount(deal, f"{name}__c") for name in ("Invoiced", "Paid", "Invoice_Balance")}
        invoiced, received, left = (f"{what.currency} {one:,.2f}" for one in told.values())
        self.say.print(
            f"  {happened}: the deal in Salesforce shows invoiced {invoiced}, paid {received}, open {left}; "
            f"{deal['Last_Invoice__c']} {deal['Last_Invoice_Status__c']}, {deal['Collection_Status__c']}"
        )
        self.expect(told["Invoiced"] == what.gross, "the deal shows another amount than the invoice's")
        self.expect(told["Paid"] + told["Invoice_Balance"] == what.gross, "paid and open are not the invoice")

    def _deal(self, what: Paid) -> Json:
        return next(row for row in self.records("salesforce", "Opportunity") if row["Id"] == what.deal)

    def _show_projects(self, what: Paid) -> None:
        """The delivery projects show the same."""
        told = [
            row
            for row in self.records("kantata", "external_references")
            if row["service_name"] == FINANCE and row["external_status"] == "paid"
        ]
        self.say.print(
            f"  {PSA}: {count(len(told), 'delivery project')} with {told[0]['external_message']!r}"
            if told
            else f"  {PSA}: no delivery project shows it"
        )
        self.expect(bool(told), f"no delivery project shows that {what.number} is paid")

    async def _ended(self, what: Paid) -> None:
        """Settled: the saga that followed the invoice has ended by itself."""
        name = saga_id(SagaName.INVOICE_FEEDBACK, self.region, ERP, what.invoice)
        run = self.client.get_workflow_handle(name, result_type=SagaView)
        async with asyncio.timeout(30):
            view = await run.result()
        self.expect(view.status is SagaStatus.COMPLETE, f"{name} ended {view.status.value}")
        self.say.print(f"  [green]{view.headline}[/green]")

    async def _print_line(self, payment: str) -> None:
        """``trueup trace`` of the last payment: from the deal to the payment."""
        self.say.print(f"  command: trueup trace {payment}")
        async with Session(self.stack.config) as session:
            report = await trace(session, payment)
        self.say.print(f"    {report.sentence}", markup=False)
        for part in report.parts:
            if isinstance(part, Table) and part.title == AUDIT:
                self.say.print(f"    {part.title}: {count(len(part.rows), 'row')}, each with its hash")
                continue
            lines = [part.title, *plain_table(part)] if isinstance(part, Table) else part.splitlines()
            self.say.print("\n".join(f"    {line}" for line in lines), markup=False)
        kinds = {row.saga for row in report.data["sagas"]}
        wanted = {one.value for one in (SagaName.OPPORTUNITY_TO_PROJECT, SagaName.INVOICE_FEEDBACK)}
        self.expect(wanted <= kinds, f"the line from deal to payment has only {', '.join(sorted(kinds))}")
        self.expect(SagaName.BILL_CONTRACT.value in kinds, "the line does not say who made the invoice")
        self.expect(len(report.data["invoices"]) == 1, "the line has not one invoice")


def _amount(row: Json, name: str) -> Decimal:
    return Decimal(str(row.get(name, 0)))
