"""NetSuite as the ERP that posts and invoices: ``BillingPort`` beside the writer's moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from canonical.engagement import InvoiceGrouping
from canonical.erp_billing import (
    AccountingPeriod,
    BillingCapabilities,
    BillingOwner,
    ContractLineReading,
    CostKind,
    CostLine,
    CreditDraft,
    CreditReading,
    ErpProject,
    ErpWorker,
    InvoiceDraft,
    InvoiceReading,
    Posting,
    Reversal,
    ReversalOrder,
    UnbilledPage,
    UnbilledTotal,
)
from canonical.feedback import Feed, InvoiceStanding, OpenBalance, RevenueStanding
from canonical.operations import BatchTicket, ChangePage, LineOutcome, WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.netsuite import bulk
from connectors.netsuite.billing_plans import CostPlanner
from connectors.netsuite.billing_reads import BillingReads
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.feedback_reads import FeedbackReads
from connectors.netsuite.invoice_plans import InvoicePlanner
from connectors.netsuite.plans import Planner
from connectors.netsuite.postings import Postings
from connectors.netsuite.settings import NetSuiteSettings
from connectors.netsuite.transaction_feed import TransactionFeed
from connectors.netsuite.unbilled import Unbilled
from connectors.ports import Traffic

VOID = "There is no void over REST: an issued invoice is corrected by a credit memo."
WORK_DATE = (
    "A time entry has one date, which decides its period. Where the period of the day worked is closed, the "
    "entry is dated in the first open one and the day worked stands in a custom field or in the memo."
)
LOCKS = "Period locks are told for the whole account; the lock of one subsidiary shows only as a refusal."
RUN = "The account's own billing run cannot be started over REST: lines are released to it and looked for."
CLIENTS = "An invoice takes time and expenses of one project only: a client's contracts are invoiced apart."
PERSONAL = "No expense report of negative amount: a posted expense is taken back by deleting it."
NO_DRAFTS = (
    "The account does not route invoices for approval: an invoice is posted by being made, so it is reviewed "
    "before anything is sent."
)
NO_NEGATIVE = (
    "The account takes no time of negative duration: what is in a closed period cannot be taken back."
)
NO_FOREIGN = "The account has no intercompany time: a worker's time goes to projects of the own entity only."
NO_KEYS = "Without a custom column for keys, lines of credits name the invoice and not its lines."


class BillingSide:
    """Posting and invoicing in one account, each operation handed to the part that knows it."""

    def __init__(self, client: NetSuiteClient, planner: Planner, settings: NetSuiteSettings) -> None:
        self._rules = settings.mapping.billing
        self._keys = settings.mapping.custom.line_key
        self._traffic = client.session.traffic
        self._cost = CostPlanner(planner)
        self._invoices = InvoicePlanner(planner)
        self._postings = Postings(client, settings.mapping)
        self._bulk = bulk.Bulk(client, self._postings, settings.search_lag_seconds)
        self._billing = BillingReads(client, settings)
        self._unbilled = Unbilled(client, settings.mapping)
        self._transactions = TransactionFeed(client, settings)
        self._feedback = FeedbackReads(client, settings)
        self._lag = settings.search_lag_seconds

    @property
    def billing(self) -> BillingCapabilities:
        """What this account can and cannot do."""
        rules = self._rules
        missing = {
            NO_DRAFTS: not rules.invoice_approval,
            NO_NEGATIVE: not rules.negative_time,
            NO_FOREIGN: not rules.intercompany_time,
            NO_KEYS: self._keys is None,
        }
        always = (VOID, WORK_DATE, LOCKS, RUN, CLIENTS, PERSONAL)
        return BillingCapabilities(
            owners=(BillingOwner.OURS, BillingOwner.ERP_RUN),
            drafts=rules.invoice_approval,
            groupings=(InvoiceGrouping.PROJECT, InvoiceGrouping.CONTRACT),
            reversals=(Reversal.DELETE, *((Reversal.NEGATIVE_LINE,) if rules.negative_time else ())),
            keeps_work_date=False,
            exact_amounts=True,
            voids=False,
            credits_by_line=self._keys is not None,
            locks_per_entity=False,
            foreign_workers=rules.intercompany_time,
            unbilled_balance=True,
            limitations=(*always, *(text for text, lacks in missing.items() if lacks)),
        )

    # --- master data --------------------------------------------------------------------------------

    async def workers(self, keys: Sequence[str]) -> list[ErpWorker]:
        """Employees and vendors by address, external id or number."""
        return await self._billing.workers(keys)

    async def projects(self, ids: Sequence[str]) -> list[ErpProject]:
        """Projects by internal id."""
        return await self._billing.projects(ids)

    # --- cost ---------------------------------------------------------------------------------------

    def plan_cost(self, context: WriteContext, lines: Sequence[CostLine]) -> list[VendorWrite]:
        """Time as ``timeBill``, expenses as ``expenseReport`` of one line."""
        return self._cost.cost(context, lines)

    async def postings(self, kind: CostKind, stamps: Sequence[str]) -> dict[str, Posting]:
        """Posted lines by external id."""
        return await self._postings.read(kind, stamps)

    def plan_reversals(self, context: WriteContext, orders: Sequence[ReversalOrder]) -> list[VendorWrite]:
        """Removals, or time of negative duration."""
        return self._cost.reversals(context, orders)

    def plan_not_billable(self, context: WriteContext, postings: Sequence[Posting]) -> list[VendorWrite]:
        """Lines that leave the unbilled balance."""
        return self._cost.not_billable(context, postings)

    @property
    def traffic(self) -> Traffic:
        """Calls to the account so far."""
        return self._traffic

    @property
    def batch_limit(self) -> int:
        """Most lines of one batch."""
        return bulk.LIMIT

    async def submit_batch(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Hand over one asynchronous list call."""
        return await self._bulk.submit(key, writes)

    async def batch_outcome(
        self, ticket: BatchTicket, writes: Sequence[VendorWrite]
    ) -> list[LineOutcome] | None:
        """Outcome per line, in the order of ``writes``; None while the job runs."""
        return await self._bulk.outcome(ticket, writes)

    # --- invoices -----------------------------------------------------------------------------------

    def plan_invoice(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """An invoice pending approval, or charges that are ready for the account's own run."""
        return self._invoices.invoice(context, draft)

    async def invoice_state(self, draft: InvoiceDraft, values: Mapping[str, str]) -> InvoiceReading:
        """How far it has come."""
        return await self._billing.state(draft, values)

    def plan_issue(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """The approval, which posts it."""
        return self._invoices.issue(context, draft)

    async def read_billed(self, invoice_id: str) -> InvoiceReading:
        """An invoice by internal id."""
        return await self._billing.invoice(invoice_id)

    async def contract_lines(self, contract_id: str) -> list[ContractLineReading]:
        """The lines of a sales order."""
        return await self._billing.contract_lines(contract_id)

    def plan_credit(self, context: WriteContext, draft: CreditDraft) -> list[VendorWrite]:
        """A credit memo from the invoice."""
        return self._invoices.credit(context, draft)

    async def read_credit(self, credit_id: str) -> CreditReading | None:
        """A credit memo by internal id."""
        return await self._billing.credit(credit_id)

    # --- books --------------------------------------------------------------------------------------

    async def accounting_periods(self) -> list[AccountingPeriod]:
        """Accounting months with their locks."""
        return await self._billing.periods()

    async def unbilled_totals(self, through: date) -> list[UnbilledTotal]:
        """The account's own unbilled balance."""
        return await self._unbilled.totals(through)

    async def unbilled_lines(
        self, legal_entity: str, currency: str, through: date, cursor: str | None = None
    ) -> UnbilledPage:
        """The lines behind it."""
        return await self._unbilled.lines(legal_entity, currency, through, cursor)

    # --- what flows back ----------------------------------------------------------------------------

    @property
    def settles_after(self) -> float:
        """Seconds after which a second reading is one of its own."""
        return self._lag

    async def feedback_changes(
        self, feed: Feed, cursor: str | None, *, since: datetime | None = None, limit: int = 500
    ) -> ChangePage:
        """Changed invoices, payments, credits or revenue plans, oldest first."""
        return await self._transactions.changes(feed, cursor, since=since, limit=limit)

    def told_of(self, record_type: str, record_id: str) -> tuple[Feed, RecordRef] | None:
        """What a script in the account told of."""
        return self._feedback.told_of(record_type, record_id)

    async def invoice_standing(self, invoice_id: str) -> InvoiceStanding:
        """An invoice with what settles it."""
        return await self._feedback.standing(invoice_id)

    async def revenue_standing(self, contract_id: str) -> RevenueStanding | None:
        """What is recognised on a sales order."""
        return await self._feedback.revenue(contract_id)

    async def invoices_of(self, documents: Sequence[RecordRef]) -> list[RecordRef]:
        """Invoices that documents concern."""
        return await self._feedback.invoices_of(documents)

    async def open_balances(self, invoices: Sequence[str]) -> dict[str, OpenBalance]:
        """What invoices owe, for the scan."""
        return await self._feedback.balances(invoices)
