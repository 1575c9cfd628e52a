"""Requests and answers of the process API. Amounts are decimal text; nothing is a binary fraction.

Text that comes from vendors (titles, headlines) is plain text: whoever shows it escapes it for HTML, Markdown
or CSV.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from canonical.causes import Cause, Queue
from canonical.change_orders import ChangeOrder, ChangeOrderState
from canonical.failures import Finding
from canonical.feedback import Bucket, Collection, TargetKind
from canonical.feedback import InvoiceStatus as Status
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.saga import SagaStatus, StepKind, StepState
from runtime.sections import NAME_PATTERN

SystemName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DealId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SearchText = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,120}$")]
Reason = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Request(BaseModel):
    """Base of every request: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True)


class Amount(Answer):
    """Money."""

    amount: str = Field(description="Decimal text, with the currency's own number of decimals.")
    currency: str = Field(description="ISO 4217 code.")

    @classmethod
    def of(cls, money: Money | None) -> Amount | None:
        """As the API writes it."""
        return None if money is None else cls(amount=str(money.amount), currency=money.currency)


class Record(Answer):
    """A record in a connected system."""

    system: str
    type: str
    id: str
    url: str | None = None

    @classmethod
    def of(cls, ref: RecordRef) -> Record:
        """As the API writes it."""
        return cls(system=ref.system, type=ref.type, id=ref.id, url=ref.url)


class ClientAccount(Answer):
    """A client and what it is in each system."""

    key: str
    records: list[Record]
    adopted: bool = Field(description="It was there before us, and a person confirmed the link.")


class ClientAccounts(Answer):
    """A page of client accounts."""

    items: list[ClientAccount]
    next: int | None = Field(description="Pass it as `after` for the next page; null on the last.")


class StartProject(Request):
    """Have a won deal set up: client, contract, project, delivery project."""

    system: SystemName = Field(description="The CRM instance.")
    deal_id: DealId = Field(description="The deal's id in the CRM.")
    reason: Reason = ""


class StartApprovedTime(Request):
    """Have approved time and expenses of a route posted to the ERP."""

    psa: SystemName = Field(description="The delivery system instance.")
    erp: SystemName = Field(description="The ERP instance.")
    through: date | None = Field(default=None, description="Last work date; everything approved when empty.")
    reason: Reason = ""


class Started(Answer):
    """A saga that was asked for."""

    saga_id: str
    status: str = Field(description="`under way`, or `complete` when it was done before.")
    href: str = Field(description="Where to look at it.")


ContractKey = Annotated[str, StringConstraints(pattern=r"^[ -9;-~]{1,120}$")]


class SendChangeOrder(ChangeOrder):
    """A change order: either the complete resulting `terms` or a `delta`, as the command line's file has it.
    Unknown fields are errors at every depth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] = Field(
        description="The sender's own id of it; unique per contract."
    )
    contract_key: ContractKey = Field(description="The contract.")
    base: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="The version of the contract's terms that it builds on."
    )
    reason: Reason = Field(default="", description="Why it is sent; kept with it, and no part of it.")


class SentChangeOrder(Started):
    """A change order that was received."""

    state: ChangeOrderState = Field(description="Where it stands.")
    version: int = Field(description="The version of the terms that it makes.")
    orders_href: str = Field(description="Where to look at the contract's change orders.")


class Project(Answer):
    """One contract's project."""

    contract: str
    legal_entity: str
    currency: str
    code: str = Field(description="The project code, the same in every system.")
    records: list[Record]


class Projects(Answer):
    """The projects of a deal."""

    saga_id: str
    status: SagaStatus
    items: list[Project]


class UnbilledTime(Answer):
    """Approved work that is not billed, for one reason and project."""

    reason: str
    cause: Cause | None
    queue: Queue | None
    legal_entity: str | None
    project_code: str | None
    items: int
    minutes: int
    amount: Amount | None
    since: datetime | None


class ApprovedTime(Answer):
    """Approved work that is not billed."""

    items: list[UnbilledTime]


class ShownIn(Answer):
    """A record that shows figures of which an invoice is a part."""

    kind: TargetKind
    record: Record
    stale: bool = Field(description="It does not show everything that is known yet.")
    since: datetime | None = Field(description="Since when it is behind; null while it is not.")
    shown_at: datetime | None = Field(description="When it last showed what was known; null: never yet.")


class InvoiceStanding(Answer):
    """An invoice as invoice feedback read it last in the ERP.

    `gross` = `paid` + `credited` + `withheld` + `written_off` + `balance`. What is not known is null; zero is
    an amount that was read.
    """

    status: Status
    settled: bool = Field(description="Nothing more is expected; any later change opens it again.")
    gross: Amount | None = Field(
        description="As it stands now; null, like every amount here, once it was deleted."
    )
    paid: Amount | None
    credited: Amount | None
    withheld: Amount | None = Field(description="Tax that the client paid to the state in the seller's name.")
    written_off: Amount | None
    balance: Amount | None = Field(description="What is still owed.")
    refunded: Amount | None = Field(
        description="Credits that were paid back; no part of the balance. Null: none is known."
    )
    due_on: date | None = Field(description="Null: the ERP names none, and the invoice is never late.")
    overdue: bool | None = Field(
        description="Something is owed past its due day, by the day in the seller's time zone. "
        "Null, as `collection`, of drafts and of what was voided."
    )
    ageing: Bucket | None = Field(description="Age of what is owed; null when nothing is.")
    collection: Collection | None
    disputed: bool = Field(description="The client objects.")
    complete: bool = Field(
        description="The documents that were found explain what the ERP counts as paid. While they do not, "
        "what they would explain counts as paid."
    )
    changed_at: datetime = Field(description="When another state was last read.")
    read_at: datetime = Field(description="When it was last read in the ERP.")
    saga_id: str = Field(description="The saga that follows it.")
    stale: bool | None = Field(
        description="A record of CRM or delivery does not show everything yet; null: none shows it."
    )
    stale_since: datetime | None = Field(description="Since when; of several records the longest.")
    shown_in: list[ShownIn]


class InvoiceStatus(Answer):
    """An invoice or credit in one ERP."""

    key: str | None = Field(description="Ours; null when the ERP's own people made it.")
    kind: str
    state: str | None = Field(description="How far time-to-billing is with it; null when it did not make it.")
    number: str | None
    system: str
    record_id: str | None
    legal_entity: str | None
    corrects: str | None
    net: Amount | None = Field(description="This, tax and gross: as read back when it was issued.")
    tax: Amount | None
    gross: Amount | None
    issued_on: date | None
    standing: InvoiceStanding | None = Field(
        description="How it stands since; null while invoice feedback has not read it, and of credits, which "
        "show in the invoice they correct."
    )


class InvoiceStatuses(Answer):
    """A page of invoices and credits."""

    items: list[InvoiceStatus]
    next: int | None = Field(description="Pass it as `after` for the next page; null on the last.")


class StartValidation(Request):
    """Check a deal before it is set up. Nothing is written."""

    system: SystemName = Field(description="The CRM instance.")
    deal_id: DealId = Field(description="The deal's id in the CRM.")


class FindingBody(Answer):
    """One thing that stands in the way, or is worth knowing."""

    cause: Cause
    severity: str
    message: str
    remedy: str
    queue: Queue
    field: str | None
    record: Record | None

    @classmethod
    def of(cls, finding: Finding) -> FindingBody:
        """As the API writes it."""
        return cls(
            cause=finding.cause,
            severity=finding.severity.value,
            message=finding.message,
            remedy=finding.remedy,
            queue=finding.queue,
            field=finding.field,
            record=Record.of(finding.record) if finding.record else None,
        )


class Validation(Answer):
    """What the pre-flight found."""

    valid: bool = Field(description="Nothing stands in the way of setting the deal up.")
    findings: list[FindingBody]
    writes: int = Field(description="How many records would be made or changed.")
    questions: list[str] = Field(description="What people would be asked before the first write.")
    detail: str


class Step(Answer):
    """One step of a saga."""

    id: str
    title: str
    kind: StepKind
    state: StepState
    system: str | None
    records: list[Record]


class SagaBody(Answer):
    """A saga as it stands."""

    saga_id: str
    saga: str
    status: SagaStatus
    headline: str
    business_key: str
    region: str
    codes: dict[str, str] = Field(description="Project code by contract.")
    cause: Cause | None
    queue: Queue | None
    started_at: datetime | None
    trace_id: str
    steps: list[Step]
    source: str = Field(description="`live`, or `ledger` for what was last written down.")


class ChangeOrderBody(Answer):
    """A change order as received, and what came of it."""

    contract: str
    key: str
    base: int = Field(description="The version that it builds on.")
    version: int = Field(description="The version that it makes.")
    form: str = Field(description="`snapshot` or `delta`.")
    effective_on: date
    title: str
    state: ChangeOrderState
    cause: Cause | None = Field(description="Why it was refused, undone or withdrawn.")
    reason: str = Field(description="The same in a sentence.")
    findings: list[FindingBody]
    treatment: str | None = Field(description="How finance treats it.")
    saga_id: str | None = Field(description="The saga that carries or carried it; null before its turn.")
    href: str | None = Field(description="Where to look at that saga.")
    received_at: datetime
    decided_at: datetime | None


class ChangeOrders(Answer):
    """A page of a contract's change orders."""

    items: list[ChangeOrderBody]
    next: int | None = Field(description="Pass it as `after` for the next page; null on the last.")
