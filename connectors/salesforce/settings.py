"""What an installation says about one Salesforce organisation.

The part that decides which field means what (``mapping``) is hashed into the mapping digest, to which
every running saga is pinned; addresses and credentials are not.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from canonical.engagement import BillingMethod, RevenueMethod
from canonical.money import CurrencyCode
from connectors.kit.secrets import Secret


def _field_name(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not a Salesforce field name (letters, digits, underscores)")
    return value


FieldName = Annotated[str, AfterValidator(_field_name)]
"""API name of a field. The empty string says that this organisation does not have it."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OpportunityFields(_Settings):
    """Opportunity fields by what they mean to us."""

    deal_type: FieldName = "Type"
    legal_entity: FieldName = "Legal_Entity__c"
    business_unit: FieldName = "Business_Unit__c"
    approval_status: FieldName = "Approval_Status__c"
    sow_number: FieldName = "SOW_Number__c"
    sow_version: FieldName = ""
    sow_signed_on: FieldName = "SOW_Signed_On__c"
    sow_url: FieldName = ""
    payment_terms: FieldName = "Payment_Terms__c"
    purchase_order: FieldName = "PO_Number__c"
    project_manager_email: FieldName = "Project_Manager_Email__c"
    amends_engagement: FieldName = "Amends_Engagement__c"
    bill_to: FieldName = "Bill_To__c"
    """Lookup to the account that is invoiced when it is not the deal's own."""
    project_code: FieldName = "Project_Code__c"
    engagement_code: FieldName = "Engagement_Code__c"
    project_status: FieldName = "Project_Status__c"
    project_link: FieldName = "Project_Link__c"


class AccountFields(_Settings):
    """Account fields by what they mean to us."""

    tax_number: FieldName = "Tax_Id__c"
    billing_email: FieldName = "Billing_Email__c"
    currency: FieldName = ""
    """Empty: ``CurrencyIsoCode`` where the organisation has several currencies."""
    erp_id: FieldName = "ERP_Customer_Id__c"
    erp_system: str = ""
    """The ERP instance that ``erp_id`` is an id of; without it the field is not read."""
    erp_ids: dict[str, FieldName] = {}
    """Further id fields by ERP instance, for firms with several ERPs."""

    def by_system(self) -> dict[str, str]:
        """Id field by ERP instance."""
        first = {self.erp_system: self.erp_id} if self.erp_system and self.erp_id else {}
        return {**first, **{system: field for system, field in self.erp_ids.items() if field}}


class LineFields(_Settings):
    """OpportunityLineItem fields by what they mean to us."""

    legal_entity: FieldName = "Legal_Entity__c"
    delivery_region: FieldName = "Delivery_Region__c"
    billing_method: FieldName = "Billing_Method__c"
    revenue_method: FieldName = "Revenue_Method__c"
    start: FieldName = "Start_Date__c"
    """Where it is empty on a line, the standard ``ServiceDate`` counts."""
    end: FieldName = "End_Date__c"
    contract_currency: FieldName = "Contract_Currency__c"
    contract_rate: FieldName = "Contract_Rate__c"
    """Units of the contract's currency for one unit of the deal's, as the contract fixes it."""


class FigureFields(_Settings):
    """Where finance's figures go on an Opportunity or Account; all empty until the firm has fields.

    Amounts are in the record's own currency; those that begin with ``corporate_`` in the organisation's.
    """

    invoiced: FieldName = ""
    """With tax, like all amounts that have to do with payment."""
    invoiced_net: FieldName = ""
    paid: FieldName = ""
    credited: FieldName = ""
    withheld: FieldName = ""
    written_off: FieldName = ""
    refunded: FieldName = ""
    balance: FieldName = ""
    overdue: FieldName = ""
    current: FieldName = ""
    """Ageing of the balance, by days past the due date: this and the four below."""
    days_1_30: FieldName = ""
    days_31_60: FieldName = ""
    days_61_90: FieldName = ""
    days_over_90: FieldName = ""
    recognised_revenue: FieldName = ""
    deferred_revenue: FieldName = ""
    budget: FieldName = ""
    budget_consumed: FieldName = ""
    budget_used_percent: FieldName = ""
    open_invoices: FieldName = ""
    """A number: how many invoices are not settled."""
    collection_status: FieldName = ""
    """Text or picklist: nothing due, current, overdue, disputed."""
    invoice_number: FieldName = ""
    """Of the invoice that was issued last; so are status and due date."""
    invoice_status: FieldName = ""
    invoice_due: FieldName = ""
    corporate_invoiced: FieldName = ""
    corporate_paid: FieldName = ""
    corporate_balance: FieldName = ""
    summary: FieldName = ""
    """Text (255 or longer): the figures in one line."""


class AccountFigureFields(FigureFields):
    """The same for an Account, which alone may tell margin."""

    margin: FieldName = ""
    """Revenue less the cost of posted work, where ``[feedback] margin`` is on (rule 42). Restrict who may
    read the field."""
    margin_percent: FieldName = ""
    """The same in percent of the revenue."""


class ScopeFields(_Settings):
    """Opportunity fields that show what change orders made of a deal; all empty until the firm has fields."""

    value: FieldName = ""
    """Number: what all contracts of the deal are worth now, in the deal's currency."""
    versions: FieldName = ""
    """Text: the version of every contract."""
    lines: FieldName = ""
    """Long text: the lines of the contract that changed last."""
    status: FieldName = ""
    """Text: proposed or agreed."""


class ProjectWords(_Settings):
    """What ``opportunity.project_status`` shows of closed projects; a picklist must have the words."""

    closed: str = "Closed"
    partly_closed: str = "Partly closed"
    """Some of the deal's contracts are closed."""


_BILLING_WORDS: dict[str, BillingMethod] = {
    "time and materials": BillingMethod.TIME_AND_MATERIALS,
    "time & materials": BillingMethod.TIME_AND_MATERIALS,
    "t&m": BillingMethod.TIME_AND_MATERIALS,
    "fixed schedule": BillingMethod.FIXED_SCHEDULE,
    "fixed price": BillingMethod.FIXED_SCHEDULE,
    "fixed fee": BillingMethod.FIXED_SCHEDULE,
    "milestone": BillingMethod.MILESTONE,
    "milestones": BillingMethod.MILESTONE,
    "retainer": BillingMethod.RETAINER,
    "progress": BillingMethod.PROGRESS,
    "progress billing": BillingMethod.PROGRESS,
}
_REVENUE_WORDS: dict[str, RevenueMethod] = {
    "as invoiced": RevenueMethod.AS_INVOICED,
    "straight line": RevenueMethod.STRAIGHT_LINE,
    "straight-line": RevenueMethod.STRAIGHT_LINE,
    "over time (input)": RevenueMethod.OVER_TIME_INPUT,
    "over time input": RevenueMethod.OVER_TIME_INPUT,
    "percentage of completion": RevenueMethod.OVER_TIME_INPUT,
    "over time (output)": RevenueMethod.OVER_TIME_OUTPUT,
    "over time output": RevenueMethod.OVER_TIME_OUTPUT,
    "point in time": RevenueMethod.POINT_IN_TIME,
}


class Mapping(_Settings):
    """Which Salesforce field and word means what: what a run is pinned to."""

    opportunity: OpportunityFields = OpportunityFields()
    account: AccountFields = AccountFields()
    line: LineFields = LineFields()
    opportunity_figures: FigureFields = FigureFields()
    account_figures: AccountFigureFields = AccountFigureFields()
    opportunity_scope: ScopeFields = ScopeFields()
    project_words: ProjectWords = ProjectWords()
    billing_words: dict[str, BillingMethod] = {}
    """In addition to the usual English words, compared without regard to case."""
    revenue_words: dict[str, RevenueMethod] = {}
    countries: dict[str, str] = {}
    """Country name to ISO 3166 alpha-2, in addition to the usual English names."""
    default_currency: CurrencyCode | None = None
    """The organisation's currency where ``CurrencyIsoCode`` does not exist (one currency only)."""
    corporate_currency: CurrencyCode | None = None
    """The organisation's corporate currency, where figures are to be told in that too."""
    saga_key: FieldName = "Saga_Key__c"
    """Text (64), External ID and Unique, on every object in which we create records."""

    @field_validator("billing_words", "revenue_words", "countries", mode="before")
    @classmethod
    def _fold(cls, value: object) -> object:
        if isinstance(value, dict):
            return {" ".join(str(word).split()).casefold(): meaning for word, meaning in value.items()}
        return value

    @field_validator("countries")
    @classmethod
    def _alpha_2(cls, value: dict[str, str]) -> dict[str, str]:
        for name, code in value.items():
            if not re.fullmatch(r"[A-Z]{2}", code):
                raise ValueError(f"{name!r}: {code!r} is not an ISO 3166 alpha-2 code")
        return value

    def billing_method(self, word: str) -> BillingMethod | None:
        """The billing method that a CRM word means, or None when it means nothing to us."""
        folded = " ".join(word.split()).casefold()
        known = {**{m.value: m for m in BillingMethod}, **_BILLING_WORDS, **self.billing_words}
        return known.get(folded)

    def revenue_method(self, word: str) -> RevenueMethod | None:
        """The revenue method that a CRM word means, or None when it means nothing to us."""
        folded = " ".join(word.split()).casefold()
        known = {**{m.value: m for m in RevenueMethod}, **_REVENUE_WORDS, **self.revenue_words}
        return known.get(folded)

    @property
    def digest(self) -> str:
        """SHA-256 of this mapping, the same whatever the order of its entries."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class ClientCredentials(_Settings):
    """OAuth client credentials of an External Client App with a fixed run-as user (the default)."""

    kind: Literal["client_credentials"] = "client_credentials"
    client_id: Secret
    client_secret: Secret


class JwtBearer(_Settings):
    """OAuth JWT bearer: RS256, signed with the key whose certificate is registered on the app."""

    kind: Literal["jwt_bearer"]
    client_id: Secret
    private_key: Secret
    """PEM."""
    username: str
    audience: str = "https://login.salesforce.com"
    """``https://test.salesforce.com`` for a sandbox."""
    lifetime_seconds: int = Field(default=180, ge=30, le=300)
    """Life of one assertion; clients in the field use 180 to 300 seconds."""


class SalesforceSettings(_Settings):
    """One Salesforce organisation."""

    base_url: str
    """``https://{MyDomain}.my.salesforce.com``; the generic login hosts do not accept client credentials."""
    auth: ClientCredentials | JwtBearer = Field(discriminator="kind")
    token_url: str | None = None
    """Default: ``/services/oauth2/token`` under ``base_url``."""
    api_version: str = Field(default="64.0", pattern=r"^\d{2,3}\.0$")
    """Pinned: three releases a year must not change what we read."""
    organization_ids: tuple[str, ...] = ()
    """Organisations whose outbound messages are believed; a sandbox refresh changes the id."""
    connections: int = Field(default=8, ge=1, le=16)
    """Concurrent calls. The vendor only limits calls that run 20 seconds and more."""
    ca_file: Path | None = None
    overlap_minutes: int = Field(default=5, ge=0, le=1440)
    """How far a poll looks back: a long transaction commits after the watermark was read."""
    first_poll_from: AwareDatetime | None = None
    """Won deals last changed before this are not picked up by the first poll; unset: all of them."""
    describe_minutes: int = Field(default=60, ge=1)
    """Age at which the known field lists are revalidated with If-Modified-Since."""
    usage_ceiling_percent: int = Field(default=90, ge=1, le=100)
    """Share of the organisation's daily calls above which polling pauses, to leave room for sagas."""
    limit_wait_seconds: int = Field(default=900, ge=1)
    """Wait after REQUEST_LIMIT_EXCEEDED, which names none: the limit is a rolling 24 hours."""
    allow_duplicate_rules: bool = False
    """Save records although a duplicate rule of kind "alert" objects (Sforce-Duplicate-Rule-Header)."""
    conditional_undo: bool = False
    """Send If-Unmodified-Since when restoring values. Off: the header on rows is not verified."""
    record_url: str = "{base_url}/{id}"
    """Where a person opens a record; may use ``{base_url}``, ``{object}`` and ``{id}``."""
    mapping: Mapping = Mapping()

    @field_validator("base_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        if not re.match(r"https?://[^/]+", value):
            raise ValueError("expected https://{MyDomain}.my.salesforce.com")
        return value.rstrip("/")

    @field_validator("record_url")
    @classmethod
    def _known_placeholders(cls, value: str) -> str:
        try:
            value.format(base_url="", object="", id="")
        except (KeyError, IndexError) as unknown:
            raise ValueError(f"unknown placeholder {unknown}; use base_url, object, id") from None
        return value

    @property
    def data_path(self) -> str:
        """Root of the data API."""
        return f"/services/data/v{self.api_version}"
