"""Settings of one NetSuite account: where it is, how to sign in, and how our words map to its ids.

Everything that differs between accounts (internal ids, custom field ids, enumerations, numbering, tax
engine) is configuration. Defaults whose values Oracle's help does not confirm are marked *assumption*;
``trueup doctor`` checks the ones that can be checked.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from canonical.engagement import BillingMethod, RevenueMethod
from connectors.kit.secrets import Secret


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is not an IANA time zone, for example Europe/Berlin") from None
    return name


class OAuthM2M(_Part):
    """OAuth 2.0 client credentials with a certificate (Oracle help: OAuth 2.0 machine to machine)."""

    kind: Literal["oauth_m2m"] = "oauth_m2m"
    client_id: str
    """Client id of the integration record."""
    certificate_id: str
    """The ``kid`` shown in the M2M mapping."""
    private_key: Secret
    """PEM key of the uploaded certificate; RSA 3072/4096 or EC P-256/384/521."""
    algorithm: Literal["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"] = "PS256"
    """NetSuite does not accept RS256."""
    scope: tuple[str, ...] = ("rest_webservices",)
    assertion_seconds: Annotated[int, Field(ge=30, le=3600)] = 300
    """Life of an assertion in seconds; NetSuite allows at most 60 minutes."""
    token_url: str | None = None
    """Audience and address of the token call when it is not on ``base_url``."""


class Tba(_Part):
    """Token-based authentication (OAuth 1.0, HMAC-SHA256). No new integrations from release 2027.1."""

    kind: Literal["tba"] = "tba"
    realm: str
    """Account id with underscore and capitals, for example ``1234567_SB1``."""
    consumer_key: str
    consumer_secret: Secret
    token_id: str
    token_secret: Secret


class RevenueRule(_Part):
    """What tells NetSuite how to recognise a promise. REST exposes only the project's two fields."""

    estimate_template: str | None = None
    """Id for ``job.estimateRevRecTemplate``."""
    forecast_rule: str | None = None
    """Id for ``job.revRecForecastRule``."""
    line_fields: dict[str, Any] = {}
    """Further fields of the order line, for example a custom column or a revenue rule the account exposes."""


class OrderStatus(_Part):
    """Ids of ``salesOrder.orderStatus``. A and B are documented; C (cancelled), H (closed): assumption."""

    pending_approval: str = "A"
    pending_fulfillment: str = "B"
    not_approved: tuple[str, ...] = ("A", "C", "H")
    """Statuses that do not count as an approved contract."""


class JobStatus(_Part):
    """Ids of ``job.entityStatus`` (an enumeration 1..5). Which number means what: assumption."""

    prepared: str = "4"
    open: str = "2"
    closed: str = "1"
    inactive_when_closed: bool = False
    """Closing also sets ``isInactive``: then no transaction can name the project, a late credit neither."""


class CustomFields(_Part):
    """Ids of the account's custom fields; an absent one is not written and not read."""

    client_saga: str | None = None
    """``custentity_...`` text on customers: which saga made or inactivated the record (rule 16)."""
    project_saga: str | None = None
    """``custentity_...`` text on projects."""
    order_saga: str | None = None
    """``custbody_...`` text on transactions."""
    order_change: str | None = None
    """``custbody_...`` text on sales orders: which version of its terms it shows, or is being changed to. A
    workflow of the account may keep such an order from being billed meanwhile."""
    order_treatment: str | None = None
    """``custbody_...`` text on sales orders: how finance treats the last change (prospective, catch-up). The
    account's own revenue rules act on it; REST exposes no field of NetSuite's for it."""
    line_billing_method: str | None = None
    """``custcol_...`` text on order lines: our word for the line's billing method."""
    line_revenue_method: str | None = None
    line_key: str | None = None
    """``custcol_...`` text on lines of orders, invoices and credits: the deal line, or the allocation."""
    time_source: str | None = None
    """Text field of time entries: source record and revision, for auditors and for tracing by hand."""
    expense_source: str | None = None
    """``custbody_...`` text on expense reports: the same."""
    time_work_date: str | None = None
    """Date field of time entries: the day worked, where the entry had to be dated in another period. Without:
    it stands in the memo."""
    time_reverses: str | None = None
    """Text field of time entries: external id of the entry that a negative one takes back. Without: it stands
    in the memo."""


class BillingRules(_Part):
    """How this account posts and invoices. Enumerations that Oracle's help does not explain: assumption."""

    invoice_approval: bool = True
    """Invoices are routed for approval: a draft then stands in NetSuite as pending, and its approval posts
    it. False: making an invoice posts it at once."""
    pending: str = "1"
    """``invoice.approvalStatus`` of a draft (enumeration 1|2|3|11)."""
    approved: str = "2"
    rejected: tuple[str, ...] = ("3",)
    time_approved: str = "3"
    """``timeBill.approvalStatus`` (enumeration 1..4) of approved time."""
    expense_approved: str = "2"
    """``expenseReport.approvalStatus`` (enumeration 11|1|2|3) of an approved report."""
    negative_time: bool = False
    """The account takes time entries of negative duration: lines of closed periods can then be reversed."""
    intercompany_time: bool = False
    """The account has intercompany time: a worker's time may go to a project of another entity (rule 35)."""
    charge_type: str = "-19"
    """Id of the charge type of amounts that are released to the account's own billing run."""


class FeedbackRules(_Part):
    """How this account tells what NetSuite has no records for (rule 40)."""

    disputed_field: str | None = None
    """``custbody_...`` checkbox on invoices: the client objects. Without: disputes are not told."""
    withholding_items: tuple[str, ...] = ()
    """Items of credit memos that book tax which the client withheld."""
    write_off_items: tuple[str, ...] = ()
    """Items of credit memos that write bad debt off."""
    journals: Literal["payment", "write_off", "withholding"] = "write_off"
    """What a journal that is applied to an invoice means."""


class ProgressFields(_Part):
    """Custom fields of projects (``custentity_...``) for what revenue is computed from, each for all lines of
    the project together. REST documents no field of NetSuite's own that takes effort, cost and acceptance
    from outside; the account's revenue rules, or a script of its own, read these (assumption).
    """

    period: str | None = None
    """Text: the month that the fields are of, for example ``2026-10``."""
    minutes_to_date: str | None = None
    """Integer number. With ``minutes_to_complete`` needed for revenue by input."""
    minutes_in_period: str | None = None
    """Integer number; may be negative where closed periods are corrected."""
    minutes_to_complete: str | None = None
    """Integer number."""
    cost_to_date: str | None = None
    """Decimal number, in the project's currency: expenses. The cost of time NetSuite has itself."""
    cost_in_period: str | None = None
    milestones: str | None = None
    """Integer number: how many there are."""
    milestones_reached: str | None = None
    """Integer number. This or ``accepted_amount`` is needed for revenue by output."""
    accepted_amount: str | None = None
    """Decimal number: contract price of the milestones reached."""
    percent: str | None = None
    """Decimal number: of lines by output that have no milestones."""
    accepted_on: str | None = None
    """Date: needed for revenue at a point in time."""

    @property
    def decimals(self) -> frozenset[str]:
        """Fields whose values are JSON numbers and carried as text until then."""
        own = (self.cost_to_date, self.cost_in_period, self.accepted_amount, self.percent)
        return frozenset(name for name in own if name is not None)

    @property
    def named(self) -> dict[str, str]:
        """What is named, by measure."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class DimensionMap(_Part):
    """Where one of our dimensions goes on an order line (NetSuite: department, class, location)."""

    field: str
    ids: dict[str, str]


class NetSuiteMapping(_Part):
    """How our words map to this account. A run is pinned to the digest of this part."""

    subsidiaries: dict[str, str]
    """Our legal entity code -> subsidiary id."""
    currencies: dict[str, str]
    """ISO 4217 code -> currency id."""
    payment_terms: dict[str, str] = {}
    """Our (or the CRM's) word -> id of the payment terms."""
    job_billing_types: dict[str, str] = {
        "time_and_materials": "TM",
        "fixed_schedule": "2",
        "milestone": "3",
        "retainer": "4",
        "progress": "5",
        "mixed": "1",
    }
    """Billing method -> ``job.jobBillingType`` (an enumeration 1..5, TM seen); ``mixed`` for a contract whose
    lines differ. Which number means what: assumption, to be checked per account."""
    project_expense_types: dict[str, str] = {}
    """Billing method -> ``job.projectExpenseType``; others take the default."""
    default_project_expense_type: str = "-2"
    """Mandatory with a subsidiary."""
    schedule_frequencies: dict[str, str] = {
        "weekly": "WEEKLY",
        "monthly": "MONTHLY",
        "quarterly": "QUARTERLY",
        "semi_annually": "SEMIANNUALLY",
        "annually": "ANNUALLY",
        "once": "NEVER",
        "irregular": "CUSTOM",
    }
    """Shape of a billing schedule -> ``billingSchedule.frequency``. All but QUARTERLY: assumption."""
    schedule_type: str = "STD"
    schedule_repeat_every: str = "1"
    schedule_in_arrears: bool = True
    revenue_rules: dict[RevenueMethod, RevenueRule] = {}
    order_status: OrderStatus = OrderStatus()
    job_status: JobStatus = JobStatus()
    purchase_order_field: str | None = "otherRefNum"
    """Order field for the client's purchase order number."""
    memo_field: str | None = "memo"
    """Order field for the contract's name."""
    tax: Literal["suitetax", "legacy"] = "suitetax"
    """The account's tax engine (REST shows different fields in each)."""
    tax_number_field: str | None = None
    """Customer field for the tax number: ``defaultTaxReg`` (SuiteTax) or ``vatRegNumber`` (legacy,
    assumption) unless set."""
    send_address: bool = True
    """Write ``addressBook`` on new customers (names inside it: assumption)."""
    client_auto_numbering: bool = True
    """The account numbers customers itself; else ``entityId`` is our client key."""
    project_auto_numbering: bool = True
    """The account makes the project code; else we compose it from the contract's key."""
    project_code_prefix: str = "P-"
    """For accounts without auto-numbering."""
    text_limits: dict[str, int] = {"client.name": 83, "project.title": 83, "contract.name": 999}
    """Longest text by canonical field (assumption: not in the REST reference)."""
    employees: dict[str, str] = {}
    """Project manager's e-mail -> employee id."""
    dimensions: dict[
        Literal["region", "department", "practice", "service_line", "cost_centre"], DimensionMap
    ] = {}
    custom: CustomFields = CustomFields()
    billing: BillingRules = BillingRules()
    feedback: FeedbackRules = FeedbackRules()
    progress: ProgressFields = ProgressFields()
    constants: dict[str, dict[str, Any]] = {}
    """Record type -> further fields that this account makes mandatory, in NetSuite's JSON."""
    account_timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """SuiteQL speaks in the account's zone; records speak UTC."""

    @field_validator("job_billing_types")
    @classmethod
    def _known_methods(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = set(value) - {*BillingMethod, "mixed"}
        if unknown:
            raise ValueError(
                f"unknown billing methods {sorted(unknown)}; known: {sorted(BillingMethod)}, mixed"
            )
        return value

    @field_validator("subsidiaries", "currencies")
    @classmethod
    def _one_to_one(cls, value: dict[str, str]) -> dict[str, str]:
        if len(set(value.values())) != len(value):
            raise ValueError("two of our codes name the same NetSuite id; reading back would be ambiguous")
        return value

    @property
    def tax_field(self) -> str:
        """The customer's field for its tax number."""
        return self.tax_number_field or ("defaultTaxReg" if self.tax == "suitetax" else "vatRegNumber")

    @property
    def digest(self) -> str:
        """SHA-256 of the content, independent of the order in which it was written."""
        content = json.dumps(json.loads(self.model_dump_json()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


class NetSuiteSettings(_Part):
    """One NetSuite account."""

    base_url: str
    """``https://{account}.suitetalk.api.netsuite.com``; account lower-cased, ``_`` as ``-``."""
    auth: Annotated[OAuthM2M | Tba, Field(discriminator="kind")]
    mapping: NetSuiteMapping
    concurrency: Annotated[int, Field(ge=1, le=16)] = 5
    """Our share of the account's concurrent calls (standard tier 15, developer accounts 5)."""
    ca_file: Path | None = None
    reference_cache_seconds: Annotated[float, Field(ge=0)] = 300
    """How long subsidiaries, currencies, terms and periods are believed; items are always read."""
    overload_401_seconds: Annotated[float, Field(ge=0)] = 60
    """A 401 on a fresh token counts as overload while another call succeeded within these seconds; users
    report that NetSuite answers so beyond the concurrency limit. 0 switches it off."""
    search_lag_seconds: Annotated[float, Field(ge=0)] = 3
    """How long SuiteQL may lag behind record writes (assumption)."""
    cursor_overlap_minutes: Annotated[int, Field(ge=0)] = 10
    detail_limit: Annotated[int, Field(ge=1, le=200)] = 20
    """Candidates of a client search that are read one by one for their currencies."""
    links: dict[str, str] = {}
    """Record type -> address with ``{id}``: the account's UI page. Without: the API address."""

    @model_validator(mode="after")
    def _bare_host(self) -> NetSuiteSettings:
        if not self.base_url.startswith(("https://", "http://")) or self.base_url.endswith("/"):
            raise ValueError(
                "base_url is scheme and host without a trailing slash, for example "
                "https://1234567-sb1.suitetalk.api.netsuite.com"
            )
        return self
