"""Salesforce as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from typing import Any

import httpx

from canonical.authority import Phase
from canonical.operations import DealOutcome, WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.kit.secrets import Secret
from connectors.salesforce import SalesforceConnector
from connectors.salesforce.plans import new_record
from connectors.salesforce.settings import (
    AccountFields,
    ClientCredentials,
    FigureFields,
    Mapping,
    OpportunityFields,
    SalesforceSettings,
)
from simulators.kit import Running, serve
from simulators.salesforce import build

SYSTEM = "sf-main"
SECRET = "sim-salesforce-secret"
DATA = "/services/data/v64.0"


def _text(name: str, length: int = 80, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "length": length, **more}


def _money(name: str) -> dict[str, Any]:
    return {"name": name, "type": "currency", "precision": 18, "scale": 3}


SCHEMA: dict[str, list[dict[str, Any]]] = {
    "Account": [
        _text("Tax_Id__c"),
        _text("ERP_Customer_Id__c", externalId=True),
        {"name": "Billing_Email__c", "type": "email", "length": 80},
        _text("Saga_Key__c", 64, externalId=True, unique=True),
        _text("Saga_Mark__c", 255),
        _text("Lifecycle__c"),
        _money("Invoiced__c"),
    ],
    "Opportunity": [
        *(
            _text(name)
            for name in (
                "Legal_Entity__c", "Business_Unit__c", "Approval_Status__c", "SOW_Number__c",
                "SOW_Version__c", "Payment_Terms__c", "PO_Number__c", "Amends_Engagement__c",
                "Project_Code__c", "Engagement_Code__c", "Project_Status__c",
            )
        ),
        {"name": "SOW_Signed_On__c", "type": "date"},
        {"name": "SOW_Url__c", "type": "url", "length": 255},
        {"name": "Project_Manager_Email__c", "type": "email", "length": 80},
        {"name": "Project_Link__c", "type": "url", "length": 255},
        {"name": "Bill_To__c", "type": "reference", "referenceTo": ["Account"],
         "relationshipName": "Bill_To__r"},
        _money("Invoiced__c"),
        _money("Paid__c"),
        _money("Balance__c"),
        _money("Recognised__c"),
    ],
    "OpportunityLineItem": [
        *(
            _text(name)
            for name in (
                "Legal_Entity__c", "Delivery_Region__c", "Billing_Method__c", "Revenue_Method__c",
                "Contract_Currency__c",
            )
        ),
        {"name": "Start_Date__c", "type": "date"},
        {"name": "End_Date__c", "type": "date"},
        {"name": "Contract_Rate__c", "type": "double", "precision": 18, "scale": 6},
    ],
}  # fmt: skip


class Subject:
    """One organisation with one client and one won deal, and the connector that talks to it."""

    def __init__(self, **settings: Any) -> None:
        self.running: Running = serve(build())
        self.control = httpx.Client(base_url=self.running.base_url, trust_env=False, timeout=10)
        os.environ["SALESFORCE_TEST_ID"] = "sim-salesforce-client"
        os.environ["SALESFORCE_TEST_SECRET"] = SECRET
        currencies = {
            code: {"ConversionRate": 1, "DecimalPlaces": places}
            for code, places in (("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3))
        }
        self.configure(multi_currency=True, corporate_currency="EUR", currencies=currencies)
        self._ask("POST", "schema", SCHEMA)
        (self.account,) = self.seed(
            "Account", [{"Name": "Zażółć gęślą 東京 GmbH", "BillingCountry": "Germany"}]
        )
        (self.deal,) = self.seed(
            "Opportunity",
            [{"Name": "Acceptance", "AccountId": self.account, "StageName": "Closed Won",
              "CloseDate": "2026-10-30", "Amount": 1000.5, "CurrencyIsoCode": "EUR"}],
        )  # fmt: skip
        self.connector = self.build(**settings)

    def build(self, **settings: Any) -> SalesforceConnector:
        """A connector of this organisation."""
        mapping = Mapping(
            opportunity=OpportunityFields(sow_version="SOW_Version__c", sow_url="SOW_Url__c"),
            account=AccountFields(erp_system="netsuite-emea"),
            opportunity_figures=FigureFields(
                invoiced="Invoiced__c",
                paid="Paid__c",
                balance="Balance__c",
                recognised_revenue="Recognised__c",
            ),
            account_figures=FigureFields(invoiced="Invoiced__c"),
        )
        values: dict[str, Any] = {
            "base_url": self.running.base_url,
            "auth": ClientCredentials(
                client_id=Secret(env="SALESFORCE_TEST_ID"), client_secret=Secret(env="SALESFORCE_TEST_SECRET")
            ),
            "mapping": mapping,
            **settings,
        }
        return SalesforceConnector(SYSTEM, SalesforceSettings(**values))

    async def close(self) -> None:
        """Stop everything."""
        await self.connector.close()
        self.control.close()
        self.running.stop()

    # --- writes -------------------------------------------------------------------------------------

    def context(self, generation: int = 1) -> WriteContext:
        """A saga's step after approval."""
        return WriteContext(
            saga_id=f"o2p:emea:{SYSTEM}:{self.deal}",
            generation=generation,
            step="write_back",
            region="emea",
            phase=Phase.AFTER_APPROVAL,
        )

    def create(self, name: str = "Ünïcödé \U0001f680 株式会社", *, retire: bool = False) -> VendorWrite:
        """A record of ours."""
        return new_record(
            SYSTEM,
            self.connector.settings,
            self.context(),
            operation="project_record",
            object_="Account",
            identity=self.deal,
            body={"Name": name, "Site": "trueup"},
            sets={"Name": "contract.name", "Site": "contract.external_key"},
            symbol=f"record:{self.deal}",
            title="Create the project's record",
            inactivate={"Lifecycle__c": "Retired"} if retire else None,
            mark="Saga_Mark__c" if retire else None,
        )

    def update(self, code: str = "P-2026-0042") -> VendorWrite:
        """The deal is told its project."""
        (write,) = self.connector.plan_write_back(
            self.context(),
            DealOutcome(
                deal=RecordRef(system=SYSTEM, type="Opportunity", id=self.deal),
                engagement_code=code,
                project_codes=code,
                status="Active",
                project_link="https://psa.example/p/42",
            ),
        )
        return write

    # --- the simulator's control API ----------------------------------------------------------------

    def seed(self, type_: str, records: list[dict[str, Any]]) -> list[str]:
        """Put records there; their ids."""
        before = {str(record["Id"]) for record in self.records(type_)}
        self._ask("POST", "seed", {type_: records})
        return [str(r["Id"]) for r in self.records(type_) if str(r["Id"]) not in before]

    def configure(self, **settings: Any) -> None:
        """Change the organisation's settings."""
        self._ask("POST", "settings", settings)

    def fault(self, kind: str, **more: Any) -> None:
        """Let the next matching call go wrong."""
        self._ask("POST", "faults", {"kind": kind, **more})

    def fired(self) -> int:
        """How many faults went off."""
        return sum(int(fault["fired"]) for fault in self._ask("GET", "faults"))

    def records(self, type_: str) -> list[dict[str, Any]]:
        """Live records of a type."""
        found: list[dict[str, Any]] = self._ask("GET", f"records?type={type_}")[type_]
        return found

    def record(self, type_: str, id_: str) -> dict[str, Any]:
        """One live record."""
        return next(record for record in self.records(type_) if record["Id"] == id_)

    def writes(self) -> list[dict[str, Any]]:
        """Every accepted write, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "writes")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Every call, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "calls")["calls"]
        return found

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        response = self.control.request(method, f"/_sim/{path}", json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None
