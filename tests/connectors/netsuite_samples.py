"""Settings, deals and writes that the NetSuite tests share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.authority import Phase, may_write
from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    Contract,
    ContractLine,
    RevenueMethod,
    ScheduleDate,
)
from canonical.money import Money
from canonical.operations import ClientSetup, ContractSetup, WriteContext, client_symbol
from canonical.parties import Address, Client, PartyRole, TaxRegistration
from canonical.refs import Dimensions, RecordRef, SystemRole
from canonical.writes import VendorWrite
from connectors.netsuite.settings import NetSuiteMapping, NetSuiteSettings

SYSTEM = "netsuite-emea"
SAGA = "o2p:emea:sf-main:006A1"

MAPPING: dict[str, Any] = {
    "subsidiaries": {"DE01": "3", "UK01": "7"},
    "currencies": {"EUR": "4", "GBP": "2", "JPY": "6", "KWD": "8"},
    "payment_terms": {"Net 30": "2"},
}


def settings(base_url: str = "https://1.suitetalk.api.netsuite.com", **changes: Any) -> NetSuiteSettings:
    """Settings of a test account; ``mapping`` merges into the common one."""
    mapping = {**MAPPING, **changes.pop("mapping", {})}
    auth = changes.pop(
        "auth",
        {
            "kind": "tba",
            "realm": "1234567_SB1",
            "consumer_key": "ck",
            "consumer_secret": {"env": "NS_CONSUMER_SECRET"},
            "token_id": "tk",
            "token_secret": {"env": "NS_TOKEN_SECRET"},
        },
    )
    return NetSuiteSettings.model_validate(
        {"base_url": base_url, "auth": auth, "mapping": mapping, **changes}
    )


def mapping(**changes: Any) -> NetSuiteMapping:
    """The common mapping with changes."""
    return NetSuiteMapping.model_validate({**MAPPING, **changes})


def context(
    step: str = "contract", *, generation: int = 1, phase: Phase = Phase.BEFORE_APPROVAL
) -> WriteContext:
    """Where planned writes come from."""
    return WriteContext(saga_id=SAGA, generation=generation, step=step, region="emea", phase=phase)


def client(key: str = "001A1", name: str = "Acme GmbH", **changes: Any) -> Client:
    """A client as the CRM knows it."""
    fields: dict[str, Any] = {
        "ref": RecordRef(system="sf-main", type="Account", id=key),
        "address": Address(street="Ring 1", city="Berlin", postal_code="10115", country="DE"),
        "tax_registrations": (TaxRegistration(country="DE", number="DE811000001"),),
        "billing_email": "ap@acme.test",
        **changes,
    }
    return Client(key=key, name=name, **fields)


def setup_of(who: Client, *, entities: tuple[str, ...] = ("DE01",), **changes: Any) -> ClientSetup:
    """A client to have."""
    fields: dict[str, Any] = {"currencies": ("EUR",), "payment_terms": "Net 30", **changes}
    return ClientSetup(client=who, entities=entities, **fields)


def schedule(*dates: tuple[date, str], currency: str = "EUR", key: str = "006A1.L2") -> BillingSchedule:
    """A billing schedule from due dates and amounts."""
    return BillingSchedule(
        key=key,
        name="Rollout",
        dates=tuple(
            ScheduleDate(
                key=f"{key}.{n}",
                title=f"Part {n}",
                due=due,
                amount=Money(amount=Decimal(amount), currency=currency),
            )
            for n, (due, amount) in enumerate(dates, 1)
        ),
    )


def line(key: str = "L1", amount: str = "1000.00", *, currency: str = "EUR", **changes: Any) -> ContractLine:
    """A contract line."""
    money = Money(amount=Decimal(amount), currency=currency)
    fields: dict[str, Any] = {
        "service_code": "IMPL",
        "item": "31",
        "description": "Implementation",
        "quantity": Decimal("10"),
        "deal_amount": money,
        "billing_method": BillingMethod.TIME_AND_MATERIALS,
        "revenue_method": RevenueMethod.AS_INVOICED,
        "delivery_region": "emea",
        **changes,
    }
    return ContractLine(key=key, amount=money, **fields)


def contract(*lines: ContractLine, currency: str = "EUR", entity: str = "DE01", **changes: Any) -> Contract:
    """A contract of one entity and currency."""
    fields: dict[str, Any] = {
        "name": "Acme rollout",
        "engagement_key": "006A1",
        "payment_terms": "Net 30",
        "start": date(2026, 12, 1),
        "end": date(2027, 5, 31),
        **changes,
    }
    return Contract(
        key=f"006A1.{entity}.{currency}",
        legal_entity=entity,
        currency=currency,
        erp=SYSTEM,
        dimensions=Dimensions(region="emea", legal_entity=entity, practice="cloud"),
        parties={PartyRole.SOLD_TO: "001A1", PartyRole.BILL_TO: "001A1"},
        lines=lines or (line(currency=currency),),
        **fields,
    )


def contract_setup(
    of: Contract | None = None, *, client_key: str = "001A1", name: str = "Acme rollout"
) -> ContractSetup:
    """A contract with its project to set up."""
    symbol = client_symbol(client_key)
    return ContractSetup(
        contract=of or contract(), project_name=name, client_symbol=symbol, bill_to_symbol=symbol
    )


def assert_authorised(write: VendorWrite) -> None:
    """Every field of the body is declared and may be written to an ERP in the write's phase."""
    assert isinstance(write.body, Mapping)
    assert set(write.sets) == set(write.body), write.title
    for name, canonical in write.sets.items():
        object_, field = canonical.split(".")
        assert may_write(object_, field, write.phase, SystemRole.ERP), f"{write.title}: {name} -> {canonical}"
