"""A won deal's terms, worked out from Salesforce's own JSON and the firm's configuration, and from nothing
of the product: who sells what to whom, in which currency, for how much, due when.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path

from tests.chaos.vendors import NETSUITE, SALESFORCE, Records, Row

DECIMALS = {"EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3}
"""Minor units, ISO 4217."""


@dataclass(frozen=True)
class Sold:
    """One sold line with everything that follows from it alone."""

    id: str
    service: Row
    entity: str
    region: str
    currency: str
    quantity: Decimal
    deal_amount: Decimal
    amount: Decimal
    method: str
    start: date
    end: date
    description: str


@dataclass(frozen=True)
class Due:
    """A part of a fixed amount and the day it is due."""

    title: str
    day: date
    amount: Decimal


def minor(amount: Decimal, currency: str) -> int:
    """An amount in the currency's smallest unit."""
    return int(amount.scaleb(DECIMALS[currency]))


def rounded(amount: Decimal, currency: str) -> Decimal:
    """An amount with the currency's decimals, half up."""
    return amount.quantize(Decimal(1).scaleb(-DECIMALS[currency]), rounding=ROUND_HALF_UP)


def split(amount: Decimal, currency: str, shares: list[Decimal]) -> list[Decimal]:
    """Parts in proportion that add up: the largest remainders get the units left over."""
    units, whole = minor(amount, currency), sum(shares)
    exact = [units * share / whole for share in shares]
    parts = [one.to_integral_value(ROUND_FLOOR) for one in exact]
    by_rest = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_rest[: int(units - sum(parts))]:
        parts[i] += 1
    return [part.scaleb(-DECIMALS[currency]) for part in parts]


class Terms:
    """What was sold, as everything that follows needs it."""

    def __init__(self, config: Path, base: Records, seed: Mapping[str, list[Row]]) -> None:
        self.firm = tomllib.loads(config.read_text(), parse_float=Decimal)
        self.base = base
        data = json.loads(json.dumps(seed), parse_float=Decimal)
        self.deal: Row = data["Opportunity"][0]
        accounts = {str(row["Id"])[:15]: row for row in data.get("Account", [])}
        for row in base[SALESFORCE].get("Account", {}).values():
            accounts.setdefault(str(row["Id"])[:15], row)
        self.account: Row = accounts[str(self.deal["AccountId"])[:15]]
        above = self.account.get("ParentId")
        self.parent: Row | None = accounts[str(above)[:15]] if above else None
        self.lines = [self._sold(row) for row in data["OpportunityLineItem"]]
        netsuite = self.firm["systems"]["netsuite-emea"]["mapping"]
        self.subsidiaries: dict[str, str] = netsuite["subsidiaries"]
        self.currencies: dict[str, str] = netsuite["currencies"]
        self.terms: str = netsuite["payment_terms"][self.deal["Payment_Terms__c"]]
        self.status_keys: dict[str, str] = self.firm["systems"]["kantata-main"]["mapping"]["status_keys"]

    def _sold(self, row: Row) -> Sold:
        entry = self.base[SALESFORCE]["PricebookEntry"]
        product_id = next(
            e["Product2Id"] for id_, e in entry.items() if id_[:15] == str(row["PricebookEntryId"])[:15]
        )
        product = self.base[SALESFORCE]["Product2"][product_id]
        service = next(one for one in self.firm["services"] if one["code"] == product["ProductCode"])
        quantity = Decimal(row["Quantity"])
        deal_amount = quantity * Decimal(row["UnitPrice"])
        currency = row.get("Contract_Currency__c") or self.deal["CurrencyIsoCode"]
        rate = row.get("Contract_Rate__c")
        return Sold(
            id=row["Id"],
            service=service,
            entity=row.get("Legal_Entity__c") or self.deal["Legal_Entity__c"],
            region=row.get("Delivery_Region__c") or self.firm["firm"]["region"],
            currency=currency,
            quantity=quantity,
            deal_amount=deal_amount,
            amount=rounded(deal_amount * Decimal(rate), currency) if rate else deal_amount,
            method=row.get("Billing_Method__c") or service["billing_method"],
            start=date.fromisoformat(row["Start_Date__c"]),
            end=date.fromisoformat(row["End_Date__c"]),
            description=product["Name"],
        )

    @property
    def contracts(self) -> dict[tuple[str, str], list[Sold]]:
        """One contract per selling entity and currency, in the order of the lines."""
        found: dict[tuple[str, str], list[Sold]] = {}
        for line in self.lines:
            found.setdefault((line.entity, line.currency), []).append(line)
        return found

    @property
    def lead(self) -> tuple[str, str]:
        """The contract that is worth most in the deal's currency; the first of equals."""
        worth = {key: sum(one.deal_amount for one in rows) for key, rows in self.contracts.items()}
        return next(key for key, value in worth.items() if value == max(worth.values()))

    @property
    def told(self) -> dict[str, str]:
        """What the deal shows in the end: codes by their projects' names, the lead contract's first."""
        codes = [f"code of {self.job_name(key)}" for key in sorted(self.contracts, key=self._after_the_lead)]
        return {
            "Engagement_Code__c": codes[0],
            "Project_Code__c": ", ".join(codes),
            "Project_Status__c": "Active",
        }

    def _after_the_lead(self, key: tuple[str, str]) -> bool:
        return key != self.lead

    def job_name(self, key: tuple[str, str]) -> str:
        """The ERP project's name."""
        name = str(self.deal["Name"])
        return name if len(self.contracts) == 1 else f"{name} ({key[0]} {key[1]})"

    def dues(self, line: Sold) -> list[Due]:
        """When the parts of a fixed amount are due; empty for work billed as it is done."""
        days = (line.end - line.start).days
        if line.method == "milestone":
            stones = line.service["milestones"]
            parts = split(line.amount, line.currency, [Decimal(one["share"]) for one in stones])
            return [
                Due(
                    one["title"],
                    line.start + timedelta(days=days * one["after_percent_of_duration"] // 100),
                    part,
                )
                for one, part in zip(stones, parts, strict=True)
            ]
        if line.method == "fixed_schedule":
            ends: list[date] = []
            month = date(line.start.year, line.start.month, 1)
            while not ends or ends[-1] < line.end:
                after = date(month.year + month.month // 12, month.month % 12 + 1, 1)
                ends.append(min(after - timedelta(days=1), line.end))
                month = after
            parts = split(line.amount, line.currency, [Decimal(1)] * len(ends))
            return [Due(f"{day:%B %Y}", day, part) for day, part in zip(ends, parts, strict=True)]
        return []

    def existing_customer(self) -> Row | None:
        """The customer that finance has already, known by its tax number."""
        tax = self.account.get("Tax_Id__c")
        for row in self.base[NETSUITE].get("customer", {}).values():
            registrations = (row.get("taxRegistration") or {}).get("items", [])
            numbers = {row.get("defaultTaxReg"), *(one.get("taxRegistrationNumber") for one in registrations)}
            if tax and tax in numbers:
                return row
        return None

    @property
    def client_name(self) -> str:
        """The client as finance calls it."""
        found = self.existing_customer()
        return str(found["companyName"] if found else self.account["Name"])
