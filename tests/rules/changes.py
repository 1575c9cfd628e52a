"""A contract with change orders, and the book that takes them, for the rules' tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.change_orders import ChangeOrder, Floor, Judgement, LineDelta, TermsDelta, Verdict
from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    Contract,
    ContractLine,
    RevenueMethod,
    ScheduleDate,
)
from canonical.firm import Firm
from canonical.names import project_key
from canonical.parties import PartyRole
from canonical.rates import RateCard, RateLine
from canonical.refs import Dimensions
from rules.change_orders import Standing, judge, older, take
from tests.rules.examples import END, ERP, START, firm, money

KEY = "006N.NL01.EUR"
ADVICE, ROLLOUT = "00k1", "00k2"
DELIVERIES = (project_key(KEY, "emea", "ADV"), project_key(KEY, "emea", "IMPL"))
LATER = date(2027, 2, 1)


def advice(key: str = ADVICE, amount: str = "30000", **more: Any) -> ContractLine:
    """A line by the hour."""
    values: dict[str, Any] = {
        "key": key,
        "service_code": "ADV",
        "item": "32",
        "description": "Advisory",
        "quantity": Decimal(200),
        "amount": money(amount),
        "deal_amount": money(amount),
        "billing_method": BillingMethod.TIME_AND_MATERIALS,
        "revenue_method": RevenueMethod.AS_INVOICED,
        "start": START,
        "end": END,
        "delivery_region": "emea",
        **more,
    }
    return ContractLine(**values)


def stone(number: int, amount: str, line: str = ROLLOUT, title: str = "") -> ScheduleDate:
    """A milestone of a line's schedule."""
    key = f"{line}.{number}"
    return ScheduleDate(
        key=key, title=title or f"Milestone {number}", due=END, amount=money(amount), milestone_key=key
    )


def rollout(*amounts: str, key: str = ROLLOUT, **more: Any) -> ContractLine:
    """A line by milestones, which add up to its amount."""
    dates = tuple(stone(number, amount, key) for number, amount in enumerate(amounts, 1))
    whole = str(sum(map(Decimal, amounts)))
    values: dict[str, Any] = {
        "service_code": "IMPL",
        "item": "31",
        "description": "Implementation",
        "quantity": Decimal(1),
        "billing_method": BillingMethod.MILESTONE,
        "revenue_method": RevenueMethod.OVER_TIME_OUTPUT,
        "schedule": BillingSchedule(key=key, name="Implementation", dates=dates),
        **more,
    }
    return advice(key, whole).model_copy(update=values)


def card(amount: str = "150", version: str = "2026") -> RateCard:
    """Rates from the contract's begin on."""
    rate = RateLine(role="consultant", amount=Decimal(amount), currency="EUR", effective_from=START)
    return RateCard(code="standard", version=version, currency="EUR", lines=(rate,))


def contract(*lines: ContractLine, **more: Any) -> Contract:
    """The contract as the deal made it."""
    values: dict[str, Any] = {
        "key": KEY,
        "name": "Northwind",
        "engagement_key": "006N",
        "legal_entity": "NL01",
        "currency": "EUR",
        "erp": ERP,
        "dimensions": Dimensions(region="emea", legal_entity="NL01"),
        "parties": {PartyRole.BILL_TO: "001N", PartyRole.SOLD_TO: "001N"},
        "lines": lines or (advice(), rollout("40000", "60000")),
        "rate_card": card(),
        "start": START,
        "end": END,
        **more,
    }
    return Contract(**values)


def snapshot(base: int, terms: Contract, key: str = "", **more: Any) -> ChangeOrder:
    """A change order by its complete resulting terms."""
    return ChangeOrder(
        key=key or f"CO-{base + 1}",
        contract_key=KEY,
        base=base,
        **{"effective_on": LATER, **more},
        terms=terms,
    )


def delta(base: int, key: str = "", effective_on: date = LATER, **changes: Any) -> ChangeOrder:
    """A change order by what changes."""
    return ChangeOrder(
        key=key or f"CO-{base + 1}",
        contract_key=KEY,
        base=base,
        effective_on=effective_on,
        delta=TermsDelta(**changes),
    )


def by(amount: str, key: str = ADVICE, **more: Any) -> LineDelta:
    """A line's amount rises or falls."""
    return LineDelta(key=key, amount=money(amount), **more)


@dataclass
class Book:
    """What the ledger and the contract's workflow do, without either: takes change orders as they arrive."""

    terms: Contract = field(default_factory=contract)
    floor: Floor = field(default_factory=Floor)
    version: int = 1
    reached: int = 1
    received: list[ChangeOrder] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    refused: dict[str, Judgement] = field(default_factory=dict)
    house: Firm = field(default_factory=firm)

    @property
    def open(self) -> list[ChangeOrder]:
        """Received and not decided."""
        return [one for one in self.received if one.key not in self.applied and one.key not in self.refused]

    def judge(self, order: ChangeOrder) -> Judgement:
        """What comes of an order now."""
        standing = Standing(self.terms, self.version, self.reached, self.floor, DELIVERIES)
        return judge(order, standing, self.house)

    def arrive(self, order: ChangeOrder) -> None:
        """An order arrives; everything whose turn it is now is decided. A key counts once."""
        if any(one.key == order.key for one in self.received):
            return
        self.received.append(order)
        while True:
            taken = take(self.open, self.reached)
            for late in taken.older:
                self.refused[late.key] = older(late, self.reached)
            if taken.following is None:
                return
            found = self.judge(taken.following)
            if found.verdict is Verdict.READY:
                assert found.terms is not None
                self.terms, self.version = found.terms, taken.following.version
                self.applied.append(taken.following.key)
            else:
                assert found.verdict is Verdict.REFUSED
                self.refused[taken.following.key] = found
            self.reached = taken.following.version
