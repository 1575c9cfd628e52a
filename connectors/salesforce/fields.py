"""Which fields we select: the mapping held against what describe says this user may see.

Selecting a field that does not exist fails the whole query, so the optional standard fields (currency of
multi-currency organisations, country codes of picklist organisations) are only selected where they are,
and a mapped field that is not there is reported by name instead of being read as empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.salesforce.schemas import ObjectDescribe
from connectors.salesforce.settings import Mapping
from connectors.salesforce.soql import Where, select

PARENT_LEVELS = 3
"""Parent accounts read with the deal; SOQL follows at most five relationships upwards."""

_OPPORTUNITY = (
    "Id", "Name", "StageName", "IsClosed", "IsWon", "Amount", "CloseDate", "SystemModstamp", "AccountId",
)  # fmt: skip
_ACCOUNT = (
    "Id", "Name", "ParentId", "SystemModstamp", "BillingStreet", "BillingCity", "BillingPostalCode",
    "BillingState", "BillingCountry",
)  # fmt: skip
_LINE = (
    "Id", "SystemModstamp", "Quantity", "UnitPrice", "Discount", "TotalPrice", "ServiceDate", "Description",
    "Product2.ProductCode", "Product2.Name",
)  # fmt: skip
WRITE_BACK = ("project_code", "engagement_code", "project_status", "project_link")
"""Opportunity fields that we write and do not need to read, but for the project code."""


@dataclass(frozen=True)
class FieldPlan:
    """The fields to select per object. ``missing`` are sentences about mapped fields that are not there."""

    opportunity: tuple[str, ...]
    account: tuple[str, ...]
    line: tuple[str, ...]
    bill_to: str | None
    """Relationship that leads to the account to be invoiced."""
    missing: tuple[str, ...] = ()


def mapped_fields(mapping: Mapping) -> dict[str, dict[str, str]]:
    """Per object: settings key -> API name of every mapped field that is read."""
    opportunity = {
        f"opportunity.{key}": field
        for key, field in mapping.opportunity.model_dump().items()
        if field and (key not in WRITE_BACK or key == "project_code")
    }
    account = {
        f"account.{key}": getattr(mapping.account, key)
        for key in ("tax_number", "billing_email", "currency")
        if getattr(mapping.account, key)
    }
    account |= {f"account.erp_ids.{system}": field for system, field in mapping.account.by_system().items()}
    line = {f"line.{key}": field for key, field in mapping.line.model_dump().items() if field}
    return {"Opportunity": opportunity, "Account": account, "OpportunityLineItem": line}


def field_plan(
    mapping: Mapping, opportunity: ObjectDescribe, account: ObjectDescribe, line: ObjectDescribe
) -> FieldPlan:
    """What to select in this organisation."""
    wanted = mapped_fields(mapping)
    missing = tuple(
        f"{described.name} has no field {field} that the integration user may see (mapping {key})"
        for described in (opportunity, account, line)
        for key, field in wanted[described.name].items()
        if described.get(field) is None
    )
    currency = ("CurrencyIsoCode",) if opportunity.get("CurrencyIsoCode") else ()
    account_extra = tuple(field for field in ("BillingCountryCode", "CurrencyIsoCode") if account.get(field))
    bill_to = mapping.opportunity.bill_to
    return FieldPlan(
        opportunity=(*_OPPORTUNITY, "Owner.Email", *currency, *wanted["Opportunity"].values()),
        account=(*_ACCOUNT, *account_extra, *wanted["Account"].values()),
        line=(*_LINE, *wanted["OpportunityLineItem"].values()),
        bill_to=_relationship(opportunity, bill_to) if bill_to else None,
        missing=missing,
    )


def _relationship(described: ObjectDescribe, lookup: str) -> str:
    field = described.get(lookup)
    if field is not None and field.relationshipName:
        return field.relationshipName
    return lookup.removesuffix("__c") + "__r" if lookup.endswith("__c") else lookup.removesuffix("Id")


def _accounts(prefix: str, fields: tuple[str, ...]) -> list[str]:
    """``fields`` of the account at ``prefix`` and of its parents."""
    paths = [prefix + "Parent." * level for level in range(PARENT_LEVELS + 1)]
    return [path + field for path in paths for field in fields]


def deal_query(plan: FieldPlan, deal_id: str) -> str:
    """Deal, account, three parents, bill-to and lines in one query."""
    fields = [*plan.opportunity, *_accounts("Account.", plan.account)]
    if plan.bill_to:
        fields += [f"{plan.bill_to}.{field}" for field in plan.account]
    lines = select("OpportunityLineItems", plan.line)
    return select("Opportunity", fields, where=[Where("Id", "=", deal_id)], children=[lines])


def account_query(plan: FieldPlan, account_id: str) -> str:
    """An account with three parents, for hierarchies deeper than one query reaches."""
    return select("Account", _accounts("", plan.account), where=[Where("Id", "=", account_id)])
