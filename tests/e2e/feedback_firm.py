"""Invoices of a local firm and what happens to them: issued, paid, taken back, credited, told of."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from canonical.engagement import Contract
from canonical.names import SagaName, project_key, saga_id
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from canonical.saga import SagaView
from cli.local.deals import salesforce_id
from cli.local.vendors import KANTATA_CODE_FIELD
from tests.e2e.billing_terms import CURRENCIES, ERP, PSA, SUBSIDIARIES, card, line
from tests.e2e.firm import ROOT_ACTOR, Firm, Json, long_id
from wiring.start_feedback import FeedbackStarts, HandOverByClient, start_poll, tell
from workflows.feedback.invoice_feedback import InvoiceFeedback

CRM = "sf-main"
ITEM, WITHHELD, BAD_DEBT = "32", "38", "39"
DAY = "2026-11-20"


@dataclass
class Sold:
    """A deal with its contract: where its figures are shown, and what its lines stand on."""

    deal: str
    contract: str
    job: str
    order: str
    workspace: str


@dataclass
class Client:
    """A client with its account and what was sold to it."""

    account: str
    customer: str
    sold: list[Sold]
    currency: str = "EUR"
    entity: str = "NL01"


@dataclass
class Desk:
    """An accountant's desk, and the CRM and delivery system that watch it."""

    firm: Firm
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(700_000))
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(400))
    pending: dict[str, list[Json]] | None = None

    def __post_init__(self) -> None:
        self.starts = FeedbackStarts(self.firm.settings, self.firm.mapping, ROOT_ACTOR)

    # --- what there is ------------------------------------------------------------------------------

    async def client(self, deals: int = 1, *, currency: str = "EUR", entity: str = "NL01") -> Client:
        """A client with so many deals, each with a contract, an ERP project and a delivery project."""
        (found,) = await self.clients(1, deals, currency=currency, entity=entity)
        return found

    async def clients(
        self, count: int, deals: int = 1, *, currency: str = "EUR", entity: str = "NL01"
    ) -> list[Client]:
        """Several of them, seeded together."""
        erp: dict[str, list[Json]] = {"customer": [], "job": [], "salesOrder": []}
        crm: dict[str, list[Json]] = {"Account": [], "Opportunity": []}
        psa: dict[str, list[Json]] = {"workspaces": []}
        links, contracts, found = [], [], []
        subsidiary, money = {"id": SUBSIDIARIES[entity]}, {"id": CURRENCIES[currency]}
        for _ in range(count):
            number = next(self.numbers)
            customer, account = str(next(self.ids)), salesforce_id("001", number)
            erp["customer"].append(
                {
                    "id": customer,
                    "companyName": f"Client {number} B.V.",
                    "subsidiary": subsidiary,
                    "currency": money,
                    "terms": {"id": "2"},
                    "currencyList": {"items": [{"currency": money}]},
                }
            )
            crm["Account"].append({"Id": account, "Name": f"Client {number}", "CurrencyIsoCode": currency})
            client = Client(long_id(account), customer, [], currency, entity)
            links.append(("account", client.account, CRM, "Account", client.account))
            for _ in range(deals):
                sold, contract = self._sold(client, erp, crm, psa)
                contracts.append(contract)
                client.sold.append(sold)
                delivery = project_key(contract.key, "emea", "ADV")
                links += [
                    ("deal", sold.deal, CRM, "Opportunity", sold.deal),
                    ("project", sold.contract, ERP, "job", sold.job),
                    ("contract", sold.contract, ERP, "salesOrder", sold.order),
                    ("delivery", delivery, PSA, "workspaces", sold.workspace),
                ]
            found.append(client)
        for system, rows in ((ERP, erp), (CRM, crm), (PSA, psa)):
            self.firm.control(system, "POST", "seed", rows)
        # The account has made a revenue arrangement for every order: ours come above those.
        made = [int(row["id"]) for row in self.firm.records(ERP, "revenueArrangement")]
        self.ids = itertools.count(max([next(self.ids), *(one + 1 for one in made)]))
        await self.firm.adopt(links)
        for contract in contracts:
            await self.firm.ledger.add_contract_version(contract, saga_id="test")
        return found

    def _sold(
        self,
        client: Client,
        erp: dict[str, list[Json]],
        crm: dict[str, list[Json]],
        psa: dict[str, list[Json]],
    ) -> tuple[Sold, Contract]:
        number = next(self.numbers)
        deal = long_id(salesforce_id("006", number))
        key = f"{deal}.{client.entity}.{client.currency}"
        job, order, workspace = (str(next(self.ids)) for _ in range(3))
        money = {"id": CURRENCIES[client.currency]}
        subsidiary = {"id": SUBSIDIARIES[client.entity]}
        contract = Contract(
            key=key,
            name=f"Contract {number}",
            engagement_key=deal,
            legal_entity=client.entity,
            currency=client.currency,
            erp=ERP,
            dimensions=Dimensions(region="emea", legal_entity=client.entity),
            parties={PartyRole.SOLD_TO: client.account, PartyRole.BILL_TO: client.account},
            lines=(line(amount="10000", currency=client.currency),),
            rate_card=card(client.currency),
            start=date(2026, 11, 1),
        )
        erp["job"].append(
            {
                "id": job,
                "entityId": f"PRJ-F{number}",
                "companyName": contract.name,
                "parent": {"id": client.customer},
                "subsidiary": subsidiary,
                "currency": money,
                "jobBillingType": {"id": "TM"},
                "projectExpenseType": {"id": "-2"},
                "entityStatus": {"id": "2"},
            }
        )
        erp["salesOrder"].append(
            {
                "id": order,
                "entity": {"id": client.customer},
                "job": {"id": job},
                "subsidiary": subsidiary,
                "currency": money,
                "orderStatus": {"id": "B"},
                "item": {"items": [{"item": {"id": ITEM}, "quantity": 1, "amount": 10000}]},
            }
        )
        crm["Opportunity"].append(
            {
                "Id": deal,
                "Name": contract.name,
                "AccountId": client.account,
                "StageName": "Closed Won",
                "CloseDate": "2026-11-01",
                "CurrencyIsoCode": client.currency,
            }
        )
        psa["workspaces"].append(
            {
                "id": workspace,
                "title": contract.name,
                "creator_role": "consultant",
                "currency": client.currency,
                "status_key": 310,
                "custom_fields": [{"custom_field_id": KANTATA_CODE_FIELD, "value": f"PRJ-F{number}"}],
            }
        )
        return Sold(deal, key, job, order, workspace), contract

    # --- what accountants do ------------------------------------------------------------------------

    def issue(
        self, client: Client, *amounts: float, days: int = 30, day: str = DAY, tax: bool = False
    ) -> str:
        """An invoice with a line for each of the client's deals, in their order; answers its id."""
        lines = [
            {"item": {"id": ITEM}, "quantity": 1, "amount": amount, "job": {"id": sold.job}}
            for sold, amount in zip(client.sold, amounts, strict=False)
        ]
        due = date.fromisoformat(day).toordinal() + days
        body = {
            "entity": {"id": client.customer},
            "tranDate": day,
            "dueDate": date.fromordinal(due).isoformat(),
            "approvalStatus": {"id": "2"},
            "item": {"items": lines},
        }
        return self._seed("invoice", client, body)

    def pay(self, client: Client, invoice: str, amount: float) -> str:
        """A payment on an invoice; answers its id."""
        body = {
            "customer": {"id": client.customer},
            "payment": amount,
            "tranDate": DAY,
            **_on(invoice, amount),
        }
        return self._seed("customerPayment", client, body)

    def credit(self, client: Client, invoice: str, amount: float, *, item: str = ITEM) -> str:
        """A credit memo on an invoice, of the first deal's line; answers its id."""
        line_ = {"item": {"id": item}, "amount": amount, "job": {"id": client.sold[0].job}}
        body = {
            "entity": {"id": client.customer},
            "tranDate": DAY,
            "createdFrom": {"id": invoice},
            "item": {"items": [line_]},
            **_on(invoice, amount),
        }
        return self._seed("creditMemo", client, body)

    def _seed(self, type_: str, client: Client, body: Json) -> str:
        common = {
            "currency": {"id": CURRENCIES[client.currency]},
            "subsidiary": {"id": SUBSIDIARIES[client.entity]},
        }
        id_ = str(next(self.ids))
        entered = {"id": id_, **common, **body}
        if self.pending is not None:
            self.pending.setdefault(type_, []).append(entered)
        else:
            self.firm.control(ERP, "POST", "seed", {type_: [entered]})
        return id_

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is issued, paid and credited in here is entered in one go at its end."""
        self.pending = {}
        try:
            yield
            if self.pending:
                self.firm.control(ERP, "POST", "seed", self.pending)
        finally:
            self.pending = None

    def reverse(self, payment: str) -> None:
        """A payment bounces: it is removed."""
        self.remove("customerPayment", payment)

    def remove(self, type_: str, id_: str) -> None:
        """Somebody deletes a record in NetSuite's own pages."""
        self.firm.control(ERP, "POST", "remove", {"type": type_, "id": id_})

    def dispute(self, invoice: str, objects: bool = True) -> None:
        """The client objects."""
        change = {"type": "invoice", "id": invoice, "fields": {"custbody_disputed": objects}}
        self.firm.control(ERP, "POST", "change", change)

    # --- telling ------------------------------------------------------------------------------------

    async def tell(self, record: str, event: str | None = None) -> Any:
        """An event comes in for a record."""
        return await tell(self.firm.client, self.starts.feedback(ERP, record), event or f"e{next(self.ids)}")

    async def poll(self, name: str = "test", *, scan: bool = False) -> SagaView:
        """A poll, to its end."""
        handle = await start_poll(self.firm.client, self.starts.poll(ERP, name, scan=scan))
        return await handle.result()

    def saga(self, record: str) -> str:
        """The workflow that follows a record."""
        return saga_id(SagaName.INVOICE_FEEDBACK, self.firm.settings.about.region, ERP, record)

    async def view(self, record: str) -> SagaView:
        """How a record is followed."""
        handle = self.firm.client.get_workflow_handle(self.saga(record))
        found: SagaView = await handle.query(InvoiceFeedback.view)
        return found

    def handing(self) -> HandOverByClient:
        """What polls hand over by."""
        return HandOverByClient(self.firm.client, self.firm.settings, self.firm.mapping, ROOT_ACTOR)

    # --- what is shown ------------------------------------------------------------------------------

    def deal(self, sold: Sold) -> Json:
        """A deal as Salesforce shows it."""
        return self._one("Opportunity", sold.deal)

    def account(self, client: Client) -> Json:
        """An account as Salesforce shows it."""
        return self._one("Account", client.account)

    def _one(self, type_: str, id_: str) -> Json:
        (row,) = (row for row in self.firm.records(CRM, type_) if row["Id"] == id_)
        return row

    def project(self, sold: Sold) -> Json | None:
        """What finance says on a delivery project; None when nothing yet."""
        rows = (
            row
            for row in self.firm.records(PSA, "external_references")
            if row["subject_id"] == sold.workspace and row["service_name"] == "trueup-finance"
        )
        return next(iter(rows), None)

    def shown(self, clients: Iterable[Client]) -> dict[str, Any]:
        """Everything that deals, accounts and projects of clients show of finance's figures."""
        opportunities = {row["Id"]: row for row in self.firm.records(CRM, "Opportunity")}
        accounts = {row["Id"]: row for row in self.firm.records(CRM, "Account")}
        references = {
            row["subject_id"]: row
            for row in self.firm.records(PSA, "external_references")
            if row["service_name"] == "trueup-finance"
        }
        found: dict[str, Any] = {}
        for number, client in enumerate(clients):
            found[f"account {number}"] = _figures(accounts[client.account])
            for place, sold in enumerate(client.sold):
                found[f"deal {number}.{place}"] = _figures(opportunities[sold.deal])
                told = references.get(sold.workspace)
                words = ("external_status", "external_message", "status")
                found[f"project {number}.{place}"] = told and {word: told[word] for word in words}
        return found

    def figure_writes(self, since: int = 0) -> dict[str, list[Json]]:
        """Accepted writes of figures per target, in order."""
        found: dict[str, list[Json]] = {}
        for row in self.firm.control(CRM, "GET", "writes"):
            if (
                row["seq"] > since
                and row["type"] in ("Account", "Opportunity")
                and row["operation"] == "update"
            ):
                found.setdefault(f"{row['type']} {row['id']}", []).append(row)
        for row in self.firm.control(PSA, "GET", "writes"):
            body = (row["body"] or {}).get("external_reference") or {}
            if body.get("service_name") == "trueup-finance":
                found.setdefault(f"workspace {body['subject_id']}", []).append(row)
        return found

    async def when(self, wanted: Callable[[], bool], what: str, patience: float = 30) -> None:
        """Wait until something shows."""
        give_up = time.monotonic() + patience
        while not await asyncio.to_thread(wanted):
            if time.monotonic() > give_up:
                raise AssertionError(f"not within {patience} s: {what}")
            await asyncio.sleep(0.1)

    async def quiet(self, records: Sequence[str], patience: float = 60, pause: float = 0.1) -> None:
        """Wait until nothing is under way for these records: each is told, or waits for its next event.

        Args:
            records: invoices in the ERP.
            patience: seconds for each.
            pause: seconds between two looks.
        """
        for record in records:
            give_up = time.monotonic() + patience
            while not await self._idle(record):
                if time.monotonic() > give_up:
                    view = await self.view(record)
                    busy = [
                        step.id for step in view.steps if step.state.value in ("running", "waiting", "parked")
                    ]
                    raise AssertionError(f"{record}: {view.headline} {busy}")
                await asyncio.sleep(pause)

    async def _idle(self, record: str) -> bool:
        """Ended, or waiting; one that ended is not asked, since that would replay it."""
        handle = self.firm.client.get_workflow_handle(self.saga(record))
        seen = await handle.describe()
        status = seen.status
        if status is WorkflowExecutionStatus.RUNNING and seen.raw_description.pending_activities:
            return False  # The server says so; asking the saga costs its worker a task.
        if status is not WorkflowExecutionStatus.RUNNING:
            assert status is WorkflowExecutionStatus.COMPLETED, f"{record}: {status}"
            return True
        try:
            idle: bool = await handle.query(InvoiceFeedback.idle)
        except RPCError as late:
            if late.status not in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED):
                raise
            return False  # Its worker has no time to answer: it is not idle.
        return idle


def _on(invoice: str, amount: float) -> Json:
    return {"apply": {"items": [{"doc": {"id": invoice}, "apply": True, "amount": amount}]}}


def _figures(row: Json) -> Json:
    names = (
        "Invoiced__c", "Paid__c", "Credited__c", "Withheld__c", "Written_Off__c", "Invoice_Balance__c",
        "Overdue__c", "Recognised_Revenue__c", "Collection_Status__c", "Last_Invoice_Status__c",
        "Open_Invoices__c", "Budget_Consumed__c", "Not_Due__c", "Days_1_30__c",
    )  # fmt: skip
    return {name: row.get(name) for name in names if row.get(name) is not None}
