"""A firm that bills, for commands that the ledger answers: entities, a route, a contract, posted entries."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    Contract,
    ContractLine,
    RevenueMethod,
    ScheduleDate,
)
from canonical.money import Money
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, eur

BILLING = """
[[entities]]
code = "NL01"
name = "Acme B.V."
country = "NL"
base_currency = "EUR"
timezone = "Europe/Amsterdam"

[[entities]]
code = "JP01"
name = "Acme K.K."
country = "JP"
base_currency = "JPY"
timezone = "Asia/Tokyo"

[systems.netsuite-emea]
vendor = "netsuite"
roles = ["erp"]
base_url = "http://127.0.0.1:9"
[systems.netsuite-emea.auth]
kind = "oauth_m2m"
client_id = "x"
certificate_id = "x"
algorithm = "ES256"
private_key = { env = "TRUEUP_TEST_SECRET" }
[systems.netsuite-emea.mapping]
subsidiaries = { NL01 = "3", JP01 = "7" }
currencies = { EUR = "1", JPY = "3" }

[systems.kantata-main]
vendor = "kantata"
roles = ["psa"]
base_url = "http://127.0.0.1:9"
token = { env = "TRUEUP_TEST_SECRET" }

[[routes]]
crm = "sf-main"
erp = "netsuite-emea"
psa = "kantata-main"
"""


def contract(key: str = CONTRACT, **more: Any) -> Contract:
    """Time and materials with a project manager, and two milestones."""
    schedule = BillingSchedule(
        key="L2",
        name="Milestones",
        dates=tuple(
            ScheduleDate(key=f"L2.{number}", title=f"M{number}", due=date(2026, 2, 28), amount=eur(2500))
            for number in (1, 2)
        ),
    )
    values: dict[str, Any] = {
        "key": key,
        "name": "Orchard advisory",
        "engagement_key": "006A",
        "legal_entity": "NL01",
        "currency": "EUR",
        "erp": "netsuite-emea",
        "dimensions": Dimensions(region="emea", legal_entity="NL01"),
        "parties": {PartyRole.BILL_TO: "001X"},
        "lines": (line("L1"), line("L2", BillingMethod.MILESTONE, schedule=schedule)),
        "start": date(2026, 1, 1),
        "project_manager_email": "pia@acme.example",
    }
    return Contract(**{**values, **more})


def line(key: str, method: BillingMethod = BillingMethod.TIME_AND_MATERIALS, **more: Any) -> ContractLine:
    """One line of 5,000."""
    amount: Money = eur(5000)
    return ContractLine(
        key=key,
        service_code="ADV",
        item="31",
        description="Advisory",
        quantity=Decimal(1),
        amount=amount,
        deal_amount=amount,
        billing_method=method,
        revenue_method=RevenueMethod.AS_INVOICED,
        delivery_region="emea",
        **more,
    )


async def agree(ledger: Ledger, *contracts: Contract) -> None:
    """Contracts as the first saga leaves them."""
    for one in contracts or (contract(),):
        await ledger.add_contract_version(one, saga_id="o2p:emea:sf-main:006A")
