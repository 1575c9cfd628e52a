"""An ERP, a CRM and a delivery system in memory, with the real activities, rules, executor and ledger between
them: what finance does happens at random moments, events come late, twice and in any order, readings are old.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import FiguresShown, ReadSubject, SagaRef, ShowFigures, SubjectRead
from activities.effects import Effects
from activities.feedback.polling import FeedbackActivitiesOver
from activities.feedback.showing import FiguresActivitiesOver
from canonical.billing import Invoice
from canonical.engagement import BillingMethod, Contract, ContractLine, RevenueMethod
from canonical.erp_billing import InvoiceState
from canonical.failures import OutcomeUnknown
from canonical.feedback import (
    Application,
    ApplicationKind,
    Figure,
    InvoiceStanding,
    LinePart,
    Target,
    TargetCurrencies,
)
from canonical.money import AmountRole, Money
from canonical.names import SagaName, project_key, saga_id
from canonical.operations import WriteContext
from canonical.parties import PartyRole
from canonical.refs import Dimensions, RecordRef
from canonical.writes import Landed, Shown, VendorWrite
from connectors.kantata import feedback as kantata
from connectors.kantata.settings import KantataSettings
from connectors.ports import PERMIT
from connectors.salesforce import plans as salesforce
from connectors.salesforce.settings import AccountFigureFields, FigureFields, SalesforceSettings
from ledger.links import NewLink
from ledger.store import Ledger
from tests.activities.fakes import ANNA
from tests.activities.firm import FakeSystems

ERP, CRM, PSA, HR = "netsuite-emea", "sf-main", "kantata-main", "hr-export"
T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
KINDS = ("pay", "credit", "withhold", "write_off")
OPERATIONS = (*KINDS, "pay", "pay", "reverse", "reverse", "dispute", "agree")


def eur(minor: int) -> Money:
    return Money.of_minor(minor, "EUR", AmountRole.BILLING)


@dataclass
class Books:
    """One invoice in the ERP: its lines, and what reduces it. ``version`` counts its states."""

    id: str
    lines: list[tuple[str, int]]
    applied: dict[str, tuple[ApplicationKind, int]] = field(default_factory=dict)
    disputed: bool = False
    version: int = 0

    @property
    def gross(self) -> int:
        return sum(amount for _, amount in self.lines)

    @property
    def balance(self) -> int:
        return self.gross - sum(amount for _, amount in self.applied.values())


class FakeErp:
    """``FeedbackPort`` over invoices whose change stamps have seconds and do not move for every change."""

    system = ERP
    mapping_digest = ""
    settles_after = 0.0

    def __init__(self, chance: random.Random, *, stale: float = 0.0) -> None:
        self.chance = chance
        self.stale = stale
        """How likely a reading shows the state before."""
        self.invoices: dict[str, Books] = {}
        self.shown: dict[str, list[InvoiceStanding]] = defaultdict(list)
        """All states of an invoice, oldest first."""
        self.settled: dict[str, int] = {}
        """How many states of an invoice every reading shows: a pause has gone by since."""
        self.read: dict[str, set[str]] = defaultdict(set)
        self.documents = 0

    def issue(self, id_: str, lines: list[tuple[str, int]]) -> None:
        self.invoices[id_] = Books(id_, lines)
        self._state(id_)

    def change(self, id_: str, what: str, part: float) -> bool:
        """Something happens; False when it cannot."""
        books = self.invoices[id_]
        self.documents += 1
        if what in KINDS:
            amount = max(1, int(books.balance * part)) if part < 0.9 else books.balance
            if not books.balance:
                return False
            kind = {
                "pay": ApplicationKind.PAYMENT,
                "credit": ApplicationKind.CREDIT,
                "withhold": ApplicationKind.WITHHOLDING,
                "write_off": ApplicationKind.WRITE_OFF,
            }[what]
            books.applied[f"d{self.documents}"] = (kind, amount)
        elif what == "reverse":
            paid = [one for one, (kind, _) in books.applied.items() if kind is ApplicationKind.PAYMENT]
            if not paid:
                return False
            del books.applied[paid[-1]]
        else:
            books.disputed = what == "dispute"
        books.version += 1
        self._state(id_)
        return True

    def _state(self, id_: str) -> None:
        books = self.invoices[id_]
        ref = RecordRef(system=ERP, type="invoice", id=id_)
        sums = {
            kind: sum(amount for k, amount in books.applied.values() if k is kind) for kind in ApplicationKind
        }
        # Two changes in one second, and some that move no stamp at all.
        at = T0 + timedelta(seconds=books.version // 3)
        told = Invoice(
            ref=ref,
            number=f"I{id_}.v{books.version:03d}",
            seller="NL01",
            bill_to="55",
            contract_keys=(),
            issued_on=date(2026, 11, 20),
            due_on=date(2026, 12, 20),
            net=eur(books.gross),
            gross=eur(books.gross),
            paid=eur(sums[ApplicationKind.PAYMENT]),
            credited=eur(sums[ApplicationKind.CREDIT]),
            withheld=eur(sums[ApplicationKind.WITHHOLDING]),
            written_off=eur(sums[ApplicationKind.WRITE_OFF]),
            balance=eur(books.balance),
            modified_at=at,
        )
        self.shown[id_].append(
            InvoiceStanding(
                ref=ref,
                state=InvoiceState.POSTED,
                invoice=told,
                lines=tuple(LinePart(project=p, net=eur(n), tax=eur(0)) for p, n in books.lines),
                applications=tuple(
                    Application(
                        document=RecordRef(system=ERP, type="doc", id=one), kind=kind, amount=eur(amount)
                    )
                    for one, (kind, amount) in books.applied.items()
                ),
                disputed=books.disputed,
                modified_at=at,
            )
        )

    def catch_up(self, id_: str) -> None:
        """The pause that a second reading waits for has gone by."""
        self.settled[id_] = len(self.shown[id_])

    async def invoice_standing(self, invoice_id: str) -> InvoiceStanding:
        await asyncio.sleep(0)
        states = self.shown[invoice_id]
        place = len(states) - 1
        if place > self.settled.get(invoice_id, 0) and self.chance.random() < self.stale:
            place = max(place - 1, self.settled.get(invoice_id, 1) - 1, 0)
        self.read[invoice_id].add(states[place].digest)
        return states[place]


_FIELDS = {
    name: f"{name.title()}__c" for name in FigureFields.model_fields if not name.startswith("corporate")
}
_MARGIN = {
    name: f"{name.title()}__c"
    for name in AccountFigureFields.model_fields
    if name not in FigureFields.model_fields
}
_SALESFORCE = SalesforceSettings.model_validate(
    {
        "base_url": "https://sim.my.salesforce.com",
        "auth": {"kind": "client_credentials", "client_id": {"env": "X"}, "client_secret": {"env": "Y"}},
        "mapping": {
            "default_currency": "EUR", "opportunity_figures": _FIELDS,
            "account_figures": {**_FIELDS, **_MARGIN},
        },
    }
)  # fmt: skip
_KANTATA = KantataSettings.model_validate(
    {"token": {"env": "Z"}, "mapping": {"project_code_field": 1, "status_keys": {"active": "2"}}}
)


class FakeTarget:
    """``FiguresPort`` of a CRM or a delivery system with the real plans; answers get lost at times."""

    mapping_digest = ""

    def __init__(self, system: str, chance: random.Random, *, losses: float = 0.0) -> None:
        self.system = system
        self.chance = chance
        self.losses = losses
        self.records: dict[str, dict[str, Any]] = {}
        self.writes: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def target_currencies(self, ref: RecordRef) -> TargetCurrencies:
        await asyncio.sleep(0)
        return TargetCurrencies(record="EUR" if self.system == CRM else None)

    def shows_margin(self, ref: RecordRef) -> bool:
        return ref.type in ("Account", "workspaces")

    def plan_invoice_feedback(
        self, context: WriteContext, ref: RecordRef, figures: Mapping[str, Figure], *, revision: str = ""
    ) -> list[VendorWrite]:
        if self.system == CRM:
            return salesforce.invoice_feedback(CRM, _SALESFORCE, context, ref, figures, revision=revision)
        return kantata.plan_figures(PSA, _KANTATA, context, ref, figures, revision=revision)

    def deal_ref(self, deal_id: str) -> RecordRef:
        return RecordRef(system=CRM, type="Opportunity", id=deal_id)

    def account_ref(self, account_id: str) -> RecordRef:
        return RecordRef(system=CRM, type="Account", id=account_id)

    @staticmethod
    def _of(write: VendorWrite) -> tuple[str, dict[str, Any]]:
        body = write.body if write.body_root is None else write.body[write.body_root]
        return str(write.target or body["subject_id"]), dict(body)

    async def send(self, write: VendorWrite) -> Landed:
        permit = PERMIT.get()
        assert permit is not None
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        await permit.confirm()
        lost = self.chance.random()
        if lost < self.losses / 2:
            raise OutcomeUnknown("no answer, and it never arrived", system=self.system)
        id_, body = self._of(write)
        self.records.setdefault(id_, {}).update(body)
        self.writes[id_].append(body)
        if lost < self.losses:
            raise OutcomeUnknown("the answer got lost", system=self.system)
        return Landed(id=id_)

    async def find(self, write: VendorWrite) -> Landed | None:
        id_, body = self._of(write)
        return Landed(id=id_) if body.items() <= self.records.get(id_, {}).items() else None

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        return [await self.find(write) for write in writes]

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        await asyncio.sleep(0)
        found = []
        for write, one in landed:
            now = self.records[one.id]
            values = {
                name: wanted if name == "CurrencyIsoCode" else _text(now.get(name), wanted)
                for name, wanted in write.expect.items()
            }
            found.append(Shown(landed=one, values=values))
        return found


def _text(value: Any, wanted: Any) -> Any:
    return (
        format(value, "f") if isinstance(wanted, str) and not isinstance(value, (str, type(None))) else value
    )


@dataclass
class World:
    """Deals of one account with their invoices, and one entity per invoice that follows it."""

    ledger: Ledger
    chance: random.Random
    stale: float = 0.0
    losses: float = 0.0
    hr: Any = None
    """``HrPort``; with one, margin is told."""
    attempts: int = 0
    virtual: float = 0.0

    def __post_init__(self) -> None:
        self.erp = FakeErp(self.chance, stale=self.stale)
        self.crm = FakeTarget(CRM, self.chance, losses=self.losses)
        self.psa = FakeTarget(PSA, self.chance, losses=self.losses)
        ports = {ERP: self.erp, CRM: self.crm, PSA: self.psa, **({HR: self.hr} if self.hr else {})}
        self.systems = systems = FakeSystems(ports=ports)
        effects = Effects(self.ledger, clock=self.now, sleep=self.sleep)
        self.ledger._clock = self.now
        self.reading = FeedbackActivitiesOver(systems, self.ledger, _nobody)
        self.showing = FiguresActivitiesOver(systems, effects, margin=self.hr is not None, sleep=self.sleep)
        self.environment = ActivityEnvironment()
        self.events: dict[str, list[str]] = defaultdict(list)

    def now(self) -> datetime:
        """The virtual clock: pauses turn it."""
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=self.virtual)

    async def sleep(self, seconds: float) -> None:
        self.virtual += seconds
        await asyncio.sleep(0)

    async def sell(self, deals: int) -> None:
        """Deals D1.. of account A, each with project j1.. and workspace 1.."""
        for number in range(1, deals + 1):
            amount = Money.of_minor(10_000_000, "EUR")
            line = ContractLine(
                key="L1",
                service_code="ADV",
                item="32",
                description="Advisory",
                quantity=Decimal(1),
                amount=amount,
                deal_amount=amount,
                billing_method=BillingMethod.TIME_AND_MATERIALS,
                revenue_method=RevenueMethod.AS_INVOICED,
                delivery_region="emea",
            )
            deal = _id("006", number)
            contract = Contract(
                key=f"C{number}",
                name="C",
                engagement_key=deal,
                legal_entity="NL01",
                currency="EUR",
                erp=ERP,
                dimensions=Dimensions(region="emea", legal_entity="NL01"),
                parties={PartyRole.SOLD_TO: ACCOUNT},
                lines=(line,),
            )
            await self.ledger.add_contract_version(contract, saga_id="test")
            links = (
                ("deal", deal, CRM, "Opportunity", deal),
                ("account", ACCOUNT, CRM, "Account", ACCOUNT),
                ("project", contract.key, ERP, "job", f"j{number}"),
                ("delivery", project_key(contract.key, "emea", "ADV"), PSA, "workspaces", str(number)),
            )
            await self.ledger.link_many(
                [
                    NewLink(
                        kind=kind,
                        key=key,
                        record=RecordRef(system=system, type=type_, id=id_),
                        created_by_us=False,
                        adopted=True,
                    )
                    for kind, key, system, type_, id_ in links
                ]
            )

    # --- the entity, as the workflow conducts it ----------------------------------------------------

    async def follow(self, invoice: str) -> None:
        """Deal with everything that was told of an invoice; one reading at a time."""
        confirming: str | None = None
        while self.events[invoice] or confirming is not None:
            self.events[invoice].clear()
            read = await self._attempt(
                invoice,
                self.reading.read,
                ReadSubject(saga=self.saga(invoice), system=ERP, record=invoice, confirming=confirming),
            )
            assert isinstance(read, SubjectRead)
            if read.again_after is not None:
                confirming = read.digest
                await asyncio.sleep(0)
                self.erp.catch_up(invoice)
                continue
            confirming = None
            await asyncio.gather(*(self._show(invoice, target) for target in read.targets))

    async def _show(self, invoice: str, target: Target) -> None:
        shown = await self._attempt(
            invoice,
            self.showing.show,
            ShowFigures(saga=self.saga(invoice), step=f"show.{target.ref.id}", target=target),
        )
        assert isinstance(shown, FiguresShown)

    async def _attempt(self, invoice: str, method: Any, command: Any) -> Any:
        """An activity with its retries."""
        asked = self.now()
        while True:
            self.attempts += 1
            environment = ActivityEnvironment()
            environment.info = dataclasses.replace(
                environment.info,
                workflow_run_id=f"run-{invoice}",
                activity_id=f"a{self.attempts}",
                scheduled_time=asked,
            )
            try:
                return await environment.run(method, command)
            except ApplicationError as error:
                if error.type not in ("OUTCOME_UNKNOWN", "VERSION_CONFLICT", "VENDOR_UNAVAILABLE"):
                    raise
                await self.sleep(1)

    @staticmethod
    def saga(invoice: str) -> SagaRef:
        return SagaRef(
            saga_id=saga_id(SagaName.INVOICE_FEEDBACK, "emea", ERP, invoice),
            region="emea",
            business_key=f"{ERP}/{invoice}",
            trace_id="t",
            actor=ANNA,
        )

    # --- what is shown ------------------------------------------------------------------------------

    def shown(self) -> dict[str, dict[str, Any]]:
        """What every record shows, but for the number that tells our states apart and the revision."""
        hidden = ("Invoice_Number__c", "Summary__c", "service_model_ref", "external_message")
        return {
            f"{port.system}/{id_}": {name: _plain(value) for name, value in row.items() if name not in hidden}
            for port in (self.crm, self.psa)
            for id_, row in sorted(port.records.items())
        }


ACCOUNT = "001000000000001AAA"


def _id(prefix: str, number: int) -> str:
    return f"{prefix}{number:012d}AAA"


def _plain(value: Any) -> str:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


async def _nobody() -> Any:
    raise AssertionError("nothing is handed over here")
