"""The simulated firm's configuration, and a deal of it in canonical words, for the rules' tests."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from canonical.delivery import DeliveryTemplate, RoleSupply
from canonical.engagement import DocumentRef
from canonical.firm import Firm, Service
from canonical.money import Conversion, Money
from canonical.operations import ErpReference, PsaReference
from canonical.opportunity import Opportunity, OpportunityLine
from canonical.parties import Address, Client, TaxRegistration
from canonical.refs import RecordRef
from cli.local.config import SECRETS, Places, render
from rules.validate import Context
from runtime.settings import Settings, load

CRM, ERP, PSA = "sf-main", "netsuite-emea", "kantata-main"
START, END = date(2026, 12, 1), date(2027, 5, 31)


@cache
def settings() -> Settings:
    """The local firm's configuration, parsed as any installation's is."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        places = Places(
            temporal="127.0.0.1:7233",
            salesforce="http://127.0.0.1:1",
            netsuite="http://127.0.0.1:2",
            kantata="http://127.0.0.1:3",
            folder=path,
        )
        (path / "trueup.toml").write_text(render(places, "anna"))
        return load(path / "trueup.toml", environ=dict(SECRETS))


def firm(**policies: Any) -> Firm:
    """The firm, with changed policies."""
    one = settings().firm()
    return one.model_copy(update={"policies": one.policies.model_copy(update=policies)})


def with_service(code: str, **changes: Any) -> Firm:
    """The firm with one of its services changed."""
    one = firm()
    services = tuple(
        service.model_copy(update=changes) if service.code == code else service for service in one.services
    )
    return one.model_copy(update={"services": services})


def service(code: str) -> Service:
    found = firm().service(code)
    assert found is not None
    return found


def money(amount: str, currency: str = "EUR") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def line(number: int = 1, service_code: str | None = "IMPL", price: str = "120000", **more: Any) -> Any:
    values: dict[str, Any] = {
        "id": f"00k{number}",
        "service_code": service_code,
        "service_name": "Implementation",
        "quantity": Decimal(1),
        "unit_price": Decimal(price),
        "amount": money(price),
        "start": START,
        "end": END,
        **more,
    }
    return OpportunityLine(**values)


def in_currency(number: int, price: str, currency: str, rate: str, **more: Any) -> Any:
    """A line whose contract is in another currency than the deal."""
    conversion = Conversion(
        from_currency="EUR",
        to_currency=currency,
        rate=Decimal(rate),
        rate_type="fixed_by_contract",
        rate_date="2026-11-20",
        source="deal line",
    )
    return line(number, price=price, conversion=conversion, **more)


def client(key: str = "001N", name: str = "Northwind Trading B.V.", **more: Any) -> Client:
    values: dict[str, Any] = {
        "key": key,
        "name": name,
        "ref": RecordRef(system=CRM, type="Account", id=key),
        "address": Address(city="Utrecht", country="NL"),
        "tax_registrations": (TaxRegistration(country="NL", number="NL812345678B01"),),
        **more,
    }
    return Client(**values)


def deal(*lines: OpportunityLine, **more: Any) -> Opportunity:
    """A won deal without any fault; its amount is the sum of its lines."""
    rows = lines or (line(),)
    total = sum((row.amount.amount for row in rows), Decimal(0))
    values: dict[str, Any] = {
        "ref": RecordRef(system=CRM, type="Opportunity", id="006N"),
        "name": "Northwind finance transformation",
        "revision": "1",
        "stage": "Closed Won",
        "is_won": True,
        "is_closed": True,
        "currency": "EUR",
        "amount": Money(amount=total, currency="EUR"),
        "close_date": date(2026, 11, 20),
        "owner_email": "sam@northgate.example",
        "deal_type": "New Business",
        "legal_entity": "NL01",
        "approval_status": "Approved",
        "sow": DocumentRef(kind="sow", number="SOW-1", signed_on=date(2026, 11, 10)),
        "payment_terms": "Net 30",
        "client": client(),
        "lines": rows,
        **more,
    }
    return Opportunity(**values)


def erp_reference(**more: Any) -> ErpReference:
    values: dict[str, Any] = {
        "system": ERP,
        "entities": ("NL01", "UK01", "JP01"),
        "currencies": ("EUR", "GBP", "JPY", "KWD"),
        "payment_terms": ("Net 30", "Net 45"),
        "items": ("31", "32", "33"),
        "limits": {"client.name": 83, "project.title": 83, "contract.name": 999},
        **more,
    }
    return ErpReference(**values)


ROLES = ("solution-architect", "consultant", "project-manager")


def psa_reference(**more: Any) -> PsaReference:
    values: dict[str, Any] = {
        "system": PSA,
        "templates": tuple(
            DeliveryTemplate(id=str(number), title=title, tasks=4, milestones=0, placeholders=1, roles={
                "consultant": 1,
            })
            for number, title in enumerate(("Implementation", "Advisory", "Managed service"), start=1)
        ),
        "roles": ROLES,
        "role_ids": {role: f"r-{role}" for role in ROLES},
        "limits": {"project.title": 255},
        **more,
    }  # fmt: skip
    return PsaReference(**values)


SUPPLY = tuple(
    RoleSupply(role=role, region=region, workers=3) for role in ROLES for region in ("emea", "uki", "apac")
)


def context(one: Opportunity | None = None, **more: Any) -> Context:
    """All that validations look at, without any fault."""
    values: dict[str, Any] = {
        "deal": one or deal(),
        "firm": firm(),
        "erp": {ERP: erp_reference()},
        "psa": {PSA: psa_reference()},
        "supply": SUPPLY,
        **more,
    }
    return Context(**values)
