"""Contract lines, schedules and rate cards as billing tests write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from temporalio.client import WorkflowHandle

from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    ContractLine,
    RevenueMethod,
    ScheduleDate,
)
from canonical.money import Money
from canonical.rates import RateCard, RateLine
from canonical.saga import SagaView
from cli.local.deals import Deal, Line

PSA, ERP = "kantata-main", "netsuite-emea"
ANNA, BRAM, CARLA = 71, 72, 73
CUTOFF = date(2026, 11, 30)
SET_UP = 60.0
"""Seconds for a deal to become a project."""
ARCHITECT, CONSULTANT = 5, 6
RATES = {ARCHITECT: 19_500, CONSULTANT: 15_000}
"""What Kantata's time is charged at, in cents an hour, by role: as agreed in euros."""
SUBSIDIARIES = {"NL01": "3", "UK01": "5", "JP01": "7"}
CURRENCIES = {"EUR": "1", "GBP": "2", "JPY": "3", "KWD": "4"}
Run = WorkflowHandle[Any, SagaView]
ADVISORY = Deal(
    number=60,
    name="Orchard advisory",
    account="Orchard Foods B.V.",
    lines=(Line("ADV", "1", "90000", start="2026-11-01"),),
)


def eur(amount: str) -> Money:
    """An amount in euros."""
    return Money(amount=Decimal(amount), currency="EUR")


def net(document: Mapping[str, Any]) -> Decimal:
    """What a NetSuite invoice or credit is worth before tax."""
    return Decimal(str(document["subtotal"]))


def nets(documents: Iterable[Mapping[str, Any]]) -> list[Decimal]:
    """The same of several, in order."""
    return [net(one) for one in documents]


@dataclass
class Project:
    """A contract that is set up: where its time is booked and posted."""

    contract: str
    code: str
    workspace: str
    job: str


STANDARD = {
    "EUR": {"solution-architect": "195", "consultant": "150"},
    "GBP": {"solution-architect": "170", "consultant": "130"},
    "JPY": {"solution-architect": "31000", "consultant": "24000"},
    "KWD": {"solution-architect": "64.5", "consultant": "45.125"},
}


def line(
    method: BillingMethod = BillingMethod.TIME_AND_MATERIALS,
    amount: str = "90000",
    currency: str = "EUR",
    **more: Any,
) -> ContractLine:
    """A contract line of the advisory service."""
    money = Money(amount=Decimal(amount), currency=currency)
    values: dict[str, Any] = {
        "key": "L1",
        "service_code": "ADV",
        "item": "32",
        "description": "Advisory",
        "quantity": Decimal(1),
        "amount": money,
        "deal_amount": money,
        "billing_method": method,
        "revenue_method": RevenueMethod.AS_INVOICED,
        "start": date(2026, 11, 1),
        "end": date(2027, 5, 31),
        "delivery_region": "emea",
    }
    return ContractLine(**{**values, **more})


def schedule(currency: str, *dates: tuple[str, date, str], milestones: bool = False) -> BillingSchedule:
    """A billing schedule: title, day and amount of each date."""
    return BillingSchedule(
        key="S1",
        name="Schedule",
        dates=tuple(
            ScheduleDate(
                key=f"L1.{number}",
                title=title,
                due=due,
                amount=Money(amount=Decimal(amount), currency=currency),
                milestone_key=f"L1.{number}" if milestones else None,
            )
            for number, (title, due, amount) in enumerate(dates, 1)
        ),
    )


def card(currency: str, version: str = "2026", **rates: str) -> RateCard:
    """The firm's standard rates in a currency, or others by role word with underscores."""
    agreed = {role.replace("_", "-"): rate for role, rate in rates.items()} or STANDARD[currency]
    return RateCard(
        code="standard",
        version=version,
        currency=currency,
        lines=tuple(
            RateLine(role=role, amount=Decimal(rate), currency=currency, effective_from=date(2026, 1, 1))
            for role, rate in agreed.items()
        ),
    )
