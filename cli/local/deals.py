"""Deals of the simulated firm, in Salesforce's own JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cli.local.vendors import PRODUCTS

Json = dict[str, Any]
Seed = dict[str, list[Json]]


PRICEBOOK = "01s000000000001AAA"
"""The standard price book."""


def salesforce_id(prefix: str, number: int) -> str:
    """A 15-character id; the organisation answers with the 18-character form."""
    return f"{prefix}00000000{number:04d}"


@dataclass(frozen=True)
class Line:
    """One sold line."""

    product: str
    quantity: str
    price: str
    entity: str | None = None
    region: str | None = None
    method: str | None = None
    start: str = "2026-12-01"
    end: str = "2027-05-31"
    currency: str | None = None
    rate: str | None = None

    @property
    def amount(self) -> Decimal:
        """Quantity times price."""
        return Decimal(self.quantity) * Decimal(self.price)


@dataclass(frozen=True)
class Deal:
    """A won deal with its account; ``number`` makes all its ids."""

    number: int
    name: str
    account: str
    lines: tuple[Line, ...]
    tax_number: str | None = None
    country: str = "Netherlands"
    city: str = "Utrecht"
    parent: str | None = None
    entity: str | None = "NL01"
    currency: str = "EUR"
    stage: str = "Closed Won"
    approval: str | None = "Approved"
    type: str = "New Business"
    sow: str | None = "SOW-1"
    sow_signed: str | None = "2026-11-10"
    terms: str = "Net 30"
    amount: str | None = None
    """Overrides the sum of the lines, for deals that do not add up."""
    account_number: int | None = None
    """Another deal's account."""
    extra: Json = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The opportunity's 15-character id."""
        return salesforce_id("006", self.number)

    @property
    def account_id(self) -> str:
        """The account's id."""
        return salesforce_id("001", self.account_number or self.number)

    @property
    def parent_id(self) -> str:
        """The parent account's id."""
        return salesforce_id("001", 9000 + (self.account_number or self.number))

    def seed(self) -> Seed:
        """Everything Salesforce must hold for it."""
        accounts = []
        if self.parent:
            accounts.append({"Id": self.parent_id, "Name": self.parent, "BillingCountry": self.country})
        account: Json = {
            "Id": self.account_id,
            "Name": self.account,
            "BillingStreet": "Stationsplein 1",
            "BillingCity": self.city,
            "BillingPostalCode": "3511 ED",
            "BillingCountry": self.country,
            "Billing_Email__c": "ap@client.example",
        }
        if self.tax_number:
            account["Tax_Id__c"] = self.tax_number
        if self.parent:
            account["ParentId"] = self.parent_id
        if self.account_number is None:
            accounts.append(account)
        deal: Json = {
            "Id": self.id,
            "Name": self.name,
            "AccountId": self.account_id,
            "StageName": self.stage,
            "CloseDate": "2026-11-20",
            "CurrencyIsoCode": self.currency,
            "Type": self.type,
            "Legal_Entity__c": self.entity,
            "Approval_Status__c": self.approval,
            "SOW_Number__c": self.sow,
            "SOW_Signed_On__c": self.sow_signed,
            "Payment_Terms__c": self.terms,
            "Project_Manager_Email__c": "hanna@northgate.example",
            **self.extra,
        }
        items = [
            {
                "Id": salesforce_id("00k", self.number * 10 + place),
                "OpportunityId": self.id,
                "PricebookEntryId": pricebook_entry(line.product, self.currency),
                "Quantity": float(line.quantity),
                "UnitPrice": float(line.price),
                "Legal_Entity__c": line.entity,
                "Delivery_Region__c": line.region,
                "Billing_Method__c": line.method,
                "Start_Date__c": line.start,
                "End_Date__c": line.end,
                "Contract_Currency__c": line.currency,
                "Contract_Rate__c": float(line.rate) if line.rate else None,
            }
            for place, line in enumerate(self.lines, start=1)
        ]
        total = sum((line.amount for line in self.lines), Decimal(0))
        deal["Amount"] = float(self.amount) if self.amount else float(total)
        seed: Seed = {"Opportunity": [_given(deal)], "OpportunityLineItem": [_given(item) for item in items]}
        return {"Account": accounts, **seed} if accounts else seed


def _given(record: Json) -> Json:
    return {name: value for name, value in record.items() if value is not None}


_CODES = {"EUR": 1, "GBP": 2, "JPY": 3, "KWD": 4}


def pricebook_entry(product: str, currency: str) -> str:
    """Id of a product's price book entry in a currency."""
    return salesforce_id("01u", list(PRODUCTS).index(product) * 10 + _CODES[currency])


def catalogue() -> Seed:
    """Products and price book entries."""
    products = [
        {"Id": id_, "Name": name, "ProductCode": code, "IsActive": True}
        for code, (id_, name) in PRODUCTS.items()
    ]
    entries = [
        {
            "Id": pricebook_entry(code, currency),
            "Pricebook2Id": PRICEBOOK,
            "Product2Id": id_,
            "UnitPrice": 1000,
            "IsActive": True,
            "CurrencyIsoCode": currency,
        }
        for code, (id_, _) in PRODUCTS.items()
        for currency in _CODES
    ]
    book = {"Id": PRICEBOOK, "Name": "Standard", "IsActive": True, "IsStandard": True}
    return {"Pricebook2": [book], "Product2": products, "PricebookEntry": entries}


NORTHWIND = Deal(
    1,
    "Northwind finance transformation",
    "Northwind Trading B.V.",
    (Line("IMPL", "1", "120000"),),
    tax_number="NL812345678B01",
)
ATLAS = Deal(
    2,
    "Atlas global rollout",
    "Atlas Shipping N.V.",
    (
        Line("IMPL", "1", "180000", entity="NL01", region="emea"),
        Line("IMPL", "1", "95000.55", entity="UK01", region="uki", currency="GBP", rate="0.8612"),
        Line("IMPL", "1", "74999.45", entity="JP01", region="apac", currency="JPY", rate="162.35"),
        Line("ADV", "200", "150", entity="NL01", region="emea"),
    ),
    tax_number="NL823456789B01",
    parent="Atlas Group",
)
LUMEN = Deal(
    3,
    "Lumen advisory retainer",
    "Lumen Optics",
    (
        Line("ADV", "120", "155", start="2026-10-01", end="2027-03-31"),
        Line("RUN", "1", "24000", start="2026-10-01", end="2027-03-31"),
    ),
    tax_number="NL804321987B01",
    sow_signed="2026-09-18",
    extra={"CloseDate": "2026-09-22"},
)
"""The one whose first month the demo bills: it began before the others."""
HARBOUR = Deal(4, "Harbour planning", "Harbour Foods B.V.", (Line("IMPL", "1", "64000"),))
QUARRY = Deal(
    5, "Quarry migration", "Quarry Minerals B.V.", (Line("IMPL", "1", "88000"),), tax_number="NL845678901B01"
)
SABLE = Deal(
    6, "Sable analytics", "Sable Media B.V.", (Line("IMPL", "1", "51000"),), tax_number="NL856789012B01"
)
DEMO_DEALS = (NORTHWIND, ATLAS, LUMEN, HARBOUR, QUARRY, SABLE)
