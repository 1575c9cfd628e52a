"""Salesforce as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from collections.abc import Mapping as Fields
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from canonical.authority import Phase
from canonical.money import Money
from canonical.operations import ChangePage, DealOutcome, WriteContext
from canonical.refs import RecordRef, SystemRole
from canonical.writes import Landed, VendorWrite
from connectors.kit.secrets import Secret
from connectors.salesforce import SalesforceConnector
from connectors.salesforce.plans import new_record
from connectors.salesforce.settings import (
    AccountFields,
    AccountFigureFields,
    ClientCredentials,
    FigureFields,
    Mapping,
    OpportunityFields,
    SalesforceSettings,
    ScopeFields,
)
from simulators.kit import Running
from simulators.salesforce import build
from tests.acceptance import salesforce_operations as operations
from tests.acceptance.operations import Asked, Operation, Reading, Told
from tests.acceptance.subject import PLAIN, BulkLine, Route, Site

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
        *operations.SCHEMA,
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

    name: ClassVar[str] = "salesforce"
    title: ClassVar[str] = "Salesforce"
    roles: ClassVar[tuple[SystemRole, ...]] = (SystemRole.CRM,)
    creating: ClassVar[Route] = Route("PATCH", "/sobjects/Account/Saga_Key__c/")
    looking: ClassVar[Route] = Route("GET", "/query")
    deleting: ClassVar[Route] = Route("DELETE", "/sobjects/Account/")
    token: ClassVar[Route | None] = Route("POST", "/services/oauth2/token")
    taken: ClassVar[str] = "DUPLICATE_VALUE: duplicate value found: Saga_Key__c"
    no_bulk: ClassVar[str | None] = None
    batching: ClassVar[Route | None] = None

    def __init__(self, site: Site = PLAIN, **settings: Any) -> None:
        self.running: Running = site.serve(build())
        self.control = site.control(self.running)
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
            account_figures=AccountFigureFields(invoiced="Invoiced__c"),
            opportunity_scope=ScopeFields(**operations.FIELDS),
        )
        values: dict[str, Any] = {
            "base_url": self.running.base_url,
            "auth": ClientCredentials(
                client_id=Secret(env="SALESFORCE_TEST_ID"), client_secret=Secret(env="SALESFORCE_TEST_SECRET")
            ),
            "mapping": mapping,
            "ca_file": self.running.ca_file,
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
            sets={"Name": "contract.name", "Site": "opportunity.engagement_code"},
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

    async def an_update(self) -> VendorWrite:
        """The deal is told its project."""
        return self.update()

    async def priced(self, currency: str, amount: Decimal) -> VendorWrite:
        """What was invoiced, shown on a deal of that currency."""
        (deal,) = self.seed(
            "Opportunity",
            [{"Name": currency, "AccountId": self.account, "StageName": "Closed Won",
              "CloseDate": "2026-10-30", "CurrencyIsoCode": currency}],
        )  # fmt: skip
        return self.feedback(RecordRef(system=SYSTEM, type="Opportunity", id=deal), currency, amount)

    async def own(self, title: str) -> VendorWrite:
        """The record of ours."""
        return self.create(title)

    def title_in(self, landed: Landed) -> str:
        """Its name."""
        return str(self.record("Account", landed.id)["Name"])

    def feedback(self, ref: RecordRef, currency: str, amount: Decimal) -> VendorWrite:
        """What was invoiced, shown on a deal or account."""
        figures = {"invoiced": Money(amount=amount, currency=currency)}
        (write,) = self.connector.plan_invoice_feedback(self.context(), ref, figures)
        return write

    def plans(self) -> list[VendorWrite]:
        """Write-back and figures (a record beside the deal is the firm's own plan, see ``create``)."""
        deal = RecordRef(system=SYSTEM, type="Opportunity", id=self.deal)
        all_figures = {
            name: Money(amount=Decimal("1.50"), currency="EUR")
            for name in ("invoiced", "paid", "balance", "recognised_revenue")
        }
        return [
            self.update(),
            self.create(),
            self.feedback(RecordRef(system=SYSTEM, type="Account", id=self.account), "EUR", Decimal("1.50")),
            *self.connector.plan_invoice_feedback(self.context(), deal, all_figures),
        ]

    # --- what others do, and what is there ------------------------------------------------------------

    def made(self, write: VendorWrite) -> list[dict[str, Any]]:
        """Accounts that carry the stamp."""
        return [record for record in self.records("Account") if record.get("Saga_Key__c") == write.stamp]

    def name_of(self, record: Fields[str, Any]) -> str:
        """The account's name."""
        return str(record["Name"])

    def amount_in(self, landed: Landed) -> Decimal:
        """What was invoiced, as the deal holds it."""
        return Decimal(str(self.record("Opportunity", landed.id)["Invoiced__c"]))

    def change(self, type_: str, id_: str, **fields: Any) -> None:
        """Somebody edits a record in the user interface."""
        self._ask("POST", "change", {"type": type_, "id": id_, "fields": fields})

    async def edit_created(self, landed: Landed) -> None:
        """Somebody renames the account."""
        self.change("Account", landed.id, Name="Renamed by somebody")

    async def edit_updated(self, landed: Landed) -> None:
        """Somebody corrects the project's code on the deal."""
        self.change("Opportunity", landed.id, Project_Code__c="corrected")

    async def moving(self) -> list[str]:
        """Nine further won deals."""
        deal = {"StageName": "Closed Won", "CloseDate": "2026-10-30"}
        return [self.deal, *self.seed("Opportunity", [{"Name": f"Deal {n}", **deal} for n in range(9)])]

    async def move(self, record_id: str) -> None:
        """Somebody edits a deal."""
        self.change("Opportunity", record_id, NextStep="Call them")

    async def poll(self, cursor: str | None) -> ChangePage:
        """Four won deals at most."""
        return await self.connector.won_deals_since(cursor, limit=4)

    async def batch(self) -> list[VendorWrite]:
        """Nothing to hand over; see ``batching``."""
        return []

    def landed_lines(self, writes: Sequence[VendorWrite]) -> list[int]:
        """Nothing was handed over."""
        return [0 for _ in writes]

    async def bulk(self) -> list[BulkLine]:
        """Four accounts get another site; the second of them is not there any more."""
        ids = self.seed("Account", [{"Name": f"Client {n}"} for n in range(4)])
        assert await self.connector.client.delete("Account", ids[1], what="Somebody deletes it")
        rows = [{"Id": id_, "Site": "bulk"} for id_ in ids]
        outcomes = await self.connector.client.update_many("Account", rows, what="Bulk")
        sites = {record["Id"]: record.get("Site") for record in self.records("Account")}
        return [
            BulkLine(
                landed=outcome.id if outcome.success else None,
                told="; ".join(error.message for error in outcome.errors),
                there=sites.get(id_) == "bulk",
            )
            for id_, outcome in zip(ids, outcomes, strict=True)
        ]

    async def asked(self, operation: Operation) -> Asked | str:
        """An operation on the deal."""
        return operations.asked(self, operation)

    async def told(self, reading: Reading) -> Told | str:
        """Nothing: what these sagas need of a deal, they were told when it was set up."""
        return "of sales nothing is read for it"

    # --- credentials ----------------------------------------------------------------------------------

    def wrong_credentials(self) -> tuple[dict[str, Any], str]:
        """A client secret that the organisation does not know."""
        wrong = os.environ["SALESFORCE_TEST_WRONG"] = "wrong-salesforce-secret"
        secret = Secret(env="SALESFORCE_TEST_WRONG")
        client = Secret(env="SALESFORCE_TEST_ID")
        return {"auth": ClientCredentials(client_id=client, client_secret=secret)}, wrong

    def rotate(self) -> None:
        """The app's secret is renewed and its sessions end."""
        rotated = os.environ["SALESFORCE_TEST_SECRET"] = "rotated-salesforce-secret"
        self.configure(client_secret=rotated)
        self._ask("DELETE", "tokens")

    async def secrets(self) -> list[str]:
        """Client secret and token."""
        return [SECRET, (await self.connector.client.tokens.auth.token()).value]

    def shown_settings(self) -> str:
        """The settings, printed."""
        return repr(self.connector.settings) + self.connector.settings.model_dump_json()

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
