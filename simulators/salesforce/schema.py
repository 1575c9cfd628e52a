"""Standard objects: key prefixes, fields, what is mandatory, what refers to what.

Source: vendor documentation, standard-object reference (the subset that a quote-to-cash integration reads and
writes) and section "Operations" of the platform guide. Fields with ``feature`` exist only in organisations
where that feature is on: ``multi_currency`` and ``state_country_picklists``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulators.salesforce.fields import Field, SObject, sobject

CURRENCY = "multi_currency"
COUNTRIES = "state_country_picklists"


def text(name: str, length: int = 255, **more: Any) -> Field:
    """Plain text of at most ``length`` characters."""
    return Field(name, "string", length, **more)


def area(name: str, length: int = 32000, **more: Any) -> Field:
    """Multi-line text."""
    return Field(name, "textarea", length, **more)


def pick(name: str, *values: str, restricted: bool = False, **more: Any) -> Field:
    """A picklist; standard ones take unlisted values over the API unless restricted."""
    return Field(name, "picklist", 255, values=values, restricted=restricted, **more)


def money(name: str, precision: int = 18, **more: Any) -> Field:
    """A currency amount with two decimals."""
    return Field(name, "currency", precision=precision, scale=2, **more)


def flag(name: str, *, default: bool = False, **more: Any) -> Field:
    """A checkbox, never null."""
    return Field(name, "boolean", default=default, **more)


def day(name: str, **more: Any) -> Field:
    """A calendar date."""
    return Field(name, "date", **more)


def link(name: str, *targets: str, children: str | None = None, **more: Any) -> Field:
    """A reference; its parent relationship is the name without ``Id``."""
    return Field(
        name,
        "reference",
        reference_to=targets,
        relationship=name.removesuffix("Id"),
        children=children,
        **more,
    )


def fixed(made: Field) -> Field:
    """The same field, computed by the platform: nobody writes it."""
    return Field(**{**vars(made), "createable": False, "updateable": False})


def once(made: Field) -> Field:
    """The same field, writable at creation only."""
    return Field(**{**vars(made), "updateable": False})


def address(prefix: str) -> list[Field]:
    """Street, city, state, postal code, country, and the two codes of state/country picklists."""
    return [
        area(prefix + "Street", 255),
        text(prefix + "City", 40),
        text(prefix + "State", 80),
        text(prefix + "PostalCode", 20),
        text(prefix + "Country", 80),
        pick(prefix + "StateCode", feature=COUNTRIES),
        pick(prefix + "CountryCode", feature=COUNTRIES),
    ]


def iso(*, made: bool = False) -> Field:
    """``CurrencyIsoCode``, which exists in multi-currency organisations only."""
    made_field = pick("CurrencyIsoCode", feature=CURRENCY)
    return fixed(made_field) if made else made_field


ACCOUNT_TYPES = ("Prospect", "Customer - Direct", "Customer - Channel", "Other")
INDUSTRIES = (
    "Banking",
    "Consulting",
    "Energy",
    "Government",
    "Healthcare",
    "Manufacturing",
    "Technology",
    "Other",
)
SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")


def _objects() -> Sequence[SObject]:
    account = sobject("Account", "001", [
        text("Name", required=True, label="Account Name"), pick("Type", *ACCOUNT_TYPES),
        link("ParentId", "Account", children="ChildAccounts"), *address("Billing"), *address("Shipping"),
        Field("Phone", "phone", 40), Field("Fax", "phone", 40), Field("Website", "url", 255),
        text("AccountNumber", 40), text("Site", 80), pick("Industry", *INDUSTRIES), money("AnnualRevenue"),
        Field("NumberOfEmployees", "int", precision=8, scale=0), pick("AccountSource", *SOURCES),
        area("Description"), iso(),
    ])  # fmt: skip
    contact = sobject("Contact", "003", [
        text("LastName", 80, required=True), text("FirstName", 40), pick("Salutation", "Mr.", "Ms.", "Dr.",
        "Prof."),
        fixed(text("Name", 121, label="Full Name")), link("AccountId", "Account", children="Contacts",
        on_delete="cascade"), Field("Email", "email", 80), Field("Phone", "phone", 40),
        Field("MobilePhone", "phone", 40), text("Title", 128), text("Department", 80), *address("Mailing"),
        link("ReportsToId", "Contact"), area("Description"), iso(),
    ])  # fmt: skip
    opportunity = sobject("Opportunity", "006", [
        text("Name", 120, required=True, label="Opportunity Name"),
        link("AccountId", "Account", children="Opportunities", on_delete="cascade"),
        pick("StageName", restricted=True, required=True, label="Stage"), day("CloseDate", required=True),
        money("Amount"), Field("Probability", "percent", precision=3, scale=0),
        fixed(money("ExpectedRevenue")),
        Field("TotalOpportunityQuantity", "double", precision=18, scale=2),
        pick("Type", "New Customer", "Existing Customer - Upgrade", "Existing Customer - Renewal"),
        text("NextStep"), pick("LeadSource", *SOURCES), fixed(flag("IsClosed")), fixed(flag("IsWon")),
        fixed(pick("ForecastCategory")), pick("ForecastCategoryName"), flag("IsPrivate"),
        fixed(flag("HasOpportunityLineItem")), link("Pricebook2Id", "Pricebook2", children="Opportunities"),
        link("ContractId", "Contract"), link("SyncedQuoteId", "Quote"), area("Description"), iso(),
    ], plural="Opportunities")  # fmt: skip
    line = sobject("OpportunityLineItem", "00k", [
        once(link("OpportunityId", "Opportunity", children="OpportunityLineItems", on_delete="cascade",
        required=True)), once(link("PricebookEntryId", "PricebookEntry", children="OpportunityLineItems",
        on_delete="restrict")), once(link("Product2Id", "Product2", children="OpportunityLineItems",
        on_delete="restrict")), fixed(text("Name", 376)), fixed(text("ProductCode")),
        Field("Quantity", "double", precision=12, scale=2, required=True), money("UnitPrice"),
        money("TotalPrice"),
        fixed(money("ListPrice")), fixed(money("Subtotal")), Field("Discount", "percent", precision=5,
        scale=2),
        day("ServiceDate"), text("Description"), Field("SortOrder", "int", precision=8, scale=0),
        iso(made=True),
    ], owned=False, label="Opportunity Product")  # fmt: skip
    product = sobject("Product2", "01t", [
        text("Name", required=True, label="Product Name"), text("ProductCode"), area("Description", 4000),
        flag("IsActive"), pick("Family"), pick("QuantityUnitOfMeasure"), text("StockKeepingUnit", 180),
        text("ExternalId"), Field("DisplayUrl", "url", 1000), iso(),
    ], owned=False, label="Product")  # fmt: skip
    book = sobject("Pricebook2", "01s", [
        text("Name", required=True, label="Price Book Name"), flag("IsActive"), fixed(flag("IsStandard")),
        text("Description"),
    ], owned=False, label="Price Book")  # fmt: skip
    entry = sobject("PricebookEntry", "01u", [
        once(link("Pricebook2Id", "Pricebook2", children="PricebookEntries", on_delete="cascade",
        required=True)),
        once(link("Product2Id", "Product2", children="PricebookEntries", on_delete="cascade", required=True)),
        money("UnitPrice", required=True, label="List Price"), flag("IsActive"), flag("UseStandardPrice"),
        fixed(text("Name")), fixed(text("ProductCode")), once(iso()),
    ], owned=False, label="Price Book Entry", plural="Price Book Entries")  # fmt: skip
    user = sobject("User", "005", [
        text("Username", 80, required=True), text("LastName", 80, required=True), text("FirstName", 40),
        fixed(text("Name", 121)), Field("Email", "email", 128, required=True), flag("IsActive", default=True),
        text("FederationIdentifier", 512), text("EmployeeNumber", 20), link("ManagerId", "User"),
        text("Department", 80), text("Title", 80), text("TimeZoneSidKey", 40), iso(),
        pick("DefaultCurrencyIsoCode", feature=CURRENCY),
    ], owned=False, writable=False)  # fmt: skip
    contract = sobject("Contract", "800", [
        link("AccountId", "Account", children="Contracts", on_delete="restrict", required=True),
        pick("Status", "Draft", "In Approval Process", "Activated", restricted=True, default="Draft",
        required=True),
        fixed(pick("StatusCode")), day("StartDate"), fixed(day("EndDate")),
        Field("ContractTerm", "int", precision=4, scale=0), fixed(text("ContractNumber", 30)), text("Name",
        80),
        day("CustomerSignedDate"), link("CustomerSignedId", "Contact"), day("CompanySignedDate"),
        link("CompanySignedId", "User"), fixed(Field("ActivatedDate", "datetime")),
        fixed(link("ActivatedById", "User")), link("Pricebook2Id", "Pricebook2"), *address("Billing"),
        area("SpecialTerms", 4000), area("Description"), iso(),
    ])  # fmt: skip
    order = sobject("Order", "801", [
        once(link("AccountId", "Account", children="Orders", on_delete="restrict", required=True)),
        day("EffectiveDate", required=True, label="Order Start Date"), day("EndDate"),
        pick("Status", "Draft", "Activated", restricted=True, default="Draft", required=True),
        fixed(pick("StatusCode")), fixed(text("OrderNumber", 30)), text("Name", 80), pick("Type"),
        link("ContractId", "Contract", children="Orders"), link("OpportunityId", "Opportunity",
        children="Orders"),
        link("QuoteId", "Quote", children="Orders"), link("Pricebook2Id", "Pricebook2"), text("PoNumber", 80),
        day("PoDate"), link("BillToContactId", "Contact"), link("ShipToContactId", "Contact"),
        fixed(money("TotalAmount")), fixed(Field("ActivatedDate", "datetime")), *address("Billing"),
        *address("Shipping"), area("Description"), iso(),
    ])  # fmt: skip
    order_item = sobject("OrderItem", "802", [
        once(link("OrderId", "Order", children="OrderItems", on_delete="cascade", required=True)),
        once(link("PricebookEntryId", "PricebookEntry", on_delete="restrict", required=True)),
        once(link("Product2Id", "Product2", on_delete="restrict")), fixed(text("OrderItemNumber", 30)),
        Field("Quantity", "double", precision=18, scale=2, required=True), money("UnitPrice", required=True),
        fixed(money("TotalPrice")), fixed(money("ListPrice")), day("ServiceDate"), day("EndDate"),
        text("Description"), iso(made=True),
    ], owned=False, label="Order Product")  # fmt: skip
    quote = sobject("Quote", "0Q0", [
        text("Name", required=True, label="Quote Name"),
        once(link("OpportunityId", "Opportunity", children="Quotes", on_delete="cascade", required=True)),
        fixed(link("AccountId", "Account", children="Quotes")), link("ContactId", "Contact"),
        pick("Status", "Draft", "In Review", "Approved", "Presented", "Accepted", "Rejected", "Denied"),
        day("ExpirationDate"), fixed(flag("IsSyncing")), fixed(text("QuoteNumber", 30)),
        link("Pricebook2Id", "Pricebook2"), link("ContractId", "Contract"), fixed(money("Subtotal")),
        fixed(money("TotalPrice")), fixed(money("GrandTotal")), money("Tax"), *address("Billing"),
        area("Description"), iso(made=True),
    ])  # fmt: skip
    quote_line = sobject("QuoteLineItem", "0QL", [
        once(link("QuoteId", "Quote", children="QuoteLineItems", on_delete="cascade", required=True)),
        once(link("PricebookEntryId", "PricebookEntry", on_delete="restrict", required=True)),
        once(link("Product2Id", "Product2", on_delete="restrict")), fixed(text("LineNumber")),
        Field("Quantity", "double", precision=12, scale=2, required=True), money("UnitPrice", required=True),
        fixed(money("TotalPrice")), fixed(money("ListPrice")), day("ServiceDate"), text("Description"),
        link("OpportunityLineItemId", "OpportunityLineItem"), iso(made=True),
    ], owned=False)  # fmt: skip
    task = sobject("Task", "00T", [
        Field("Subject", "combobox", 255), day("ActivityDate"),
        pick("Status", "Not Started", "In Progress", "Completed", "Deferred", default="Not Started",
        required=True),
        pick("Priority", "High", "Normal", "Low", default="Normal", required=True),
        link("WhoId", "Contact", children="Tasks"),
        link("WhatId", "Account", "Opportunity", "Contract", "Order", "Quote", "Product2", children="Tasks"),
        fixed(flag("IsClosed")), area("Description"), iso(),
    ])  # fmt: skip
    currency = sobject("CurrencyType", "01L", [
        text("IsoCode", 3, required=True), Field("ConversionRate", "double", precision=18, scale=6,
        required=True),
        Field("DecimalPlaces", "int", precision=1, scale=0, default=2), flag("IsActive", default=True),
        flag("IsCorporate"),
    ], owned=False, writable=False, feature=CURRENCY)  # fmt: skip
    dated_rate = sobject("DatedConversionRate", "04w", [
        text("IsoCode", 3, required=True), day("StartDate", required=True), day("NextStartDate"),
        Field("ConversionRate", "double", precision=18, scale=6, required=True),
    ], owned=False, writable=False, feature=CURRENCY)  # fmt: skip
    document = sobject("ContentDocument", "069", [
        text("Title", required=True), text("FileExtension", 40), text("FileType", 20),
        Field("ContentSize", "int", precision=9, scale=0), text("LatestPublishedVersionId", 18),
    ], writable=False)  # fmt: skip
    document_link = sobject("ContentDocumentLink", "06A", [
        once(link("ContentDocumentId", "ContentDocument", children="ContentDocumentLinks",
        on_delete="cascade",
        required=True)), once(link("LinkedEntityId", "Account", "Contact", "Opportunity", "Contract", "Order",
        "Quote", "Task", "Product2", children="ContentDocumentLinks", on_delete="cascade", required=True)),
        pick("ShareType", "V", "C", "I", restricted=True), pick("Visibility", "AllUsers", "InternalUsers",
        "SharedUsers", restricted=True),
    ], owned=False)  # fmt: skip
    organisation = sobject("Organization", "00D", [
        text("Name", 80, required=True), flag("IsSandbox"), pick("OrganizationType"), text("InstanceName", 5),
        text("TimeZoneSidKey", 40), text("LanguageLocaleKey", 40), text("NamespacePrefix", 15),
    ], owned=False, writable=False)  # fmt: skip
    return (account, contact, opportunity, line, product, book, entry, user, contract, order, order_item,
    quote,
            quote_line, task, currency, dated_rate, document, document_link, organisation)  # fmt: skip


STANDARD: dict[str, SObject] = {o.name: o for o in _objects()}
"""Every standard object by canonical name."""

LINE_PARENTS = {
    "OpportunityLineItem": ("OpportunityId", "Opportunity"),
    "OrderItem": ("OrderId", "Order"),
    "QuoteLineItem": ("QuoteId", "Quote"),
}
"""Objects that are lines of a document: the reference to it and its object."""
