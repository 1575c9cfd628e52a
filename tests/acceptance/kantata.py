"""Kantata as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from typing import Any

import httpx

from canonical.authority import Phase
from canonical.delivery import DeliveryProject, DeliveryTemplate, Milestone, RolePlaceholder
from canonical.money import Money
from canonical.operations import DeliverySetup, WriteContext, delivery_symbol
from canonical.refs import Dimensions
from canonical.writes import VendorWrite, resolve_write
from connectors.kantata import KantataConnector
from connectors.kantata.settings import KantataMapping, KantataSettings, StatusKeys
from connectors.kit.secrets import Secret
from simulators.kantata import build
from simulators.kit import Running, serve

SYSTEM = "kantata-main"
SECRET = "kantata-token"
CODE = "PRJ-00042"
DEAL = "006XX0001"
CODE_FIELD, MARK_FIELD = 9, 10

TREE = {
    "stories": [
        {
            "title": "Phase 1",
            "story_type": "task",
            "sub_stories": [
                {"title": "Kick-off", "story_type": "milestone"},
                {"title": "Build", "story_type": "task"},
            ],
        },
        {"title": "Go live", "story_type": "milestone"},
    ]
}


class Subject:
    """One account with a template, roles and custom fields, and the connector that talks to it."""

    def __init__(self, **settings: Any) -> None:
        self.running: Running = serve(build())
        self.control = httpx.Client(base_url=self.running.base_url, trust_env=False, timeout=10)
        os.environ["KANTATA_TEST_TOKEN"] = SECRET
        self.prepare()
        self.connector = self.build(**settings)

    def prepare(self) -> None:
        """What an account has before we come."""
        self.seed(
            custom_fields=[
                {"id": CODE_FIELD, "name": "Project code", "value_type": "string"},
                {"id": MARK_FIELD, "name": "Saga", "value_type": "string"},
            ],
            users=[{"id": 77, "full_name": "Ann Lee"}],
            roles=[{"id": 5, "name": "Solution Architect"}, {"id": 6, "name": "Consultant"}],
            project_templates=[{"id": 300, "title": "Implementation", "currency": "EUR", "raw_json": TREE}],
            project_template_assignments=[
                {"id": 31, "name": "Solution Architect", "project_template_id": 300, "role_id": 5},
                {"id": 32, "name": "Consultant 1", "project_template_id": 300, "role_id": 6},
            ],
        )

    @staticmethod
    def mapping(**changes: Any) -> KantataMapping:
        """The account's mapping."""
        values: dict[str, Any] = {
            "project_code_field": CODE_FIELD,
            "saga_mark_field": MARK_FIELD,
            "status_keys": StatusKeys(prepared="305", active="310", closed="340"),
            "role_titles": {"architect": "Solution Architect"},
        }
        return KantataMapping(**{**values, **changes})

    def build(self, **settings: Any) -> KantataConnector:
        """A connector of this account."""
        values: dict[str, Any] = {
            "base_url": self.running.base_url,
            "token": Secret(env="KANTATA_TEST_TOKEN"),
            "mapping": self.mapping(),
        }
        return KantataConnector(SYSTEM, KantataSettings(**{**values, **settings}))

    async def close(self) -> None:
        """Stop everything."""
        await self.connector.close()
        self.control.close()
        self.running.stop()

    # --- writes -------------------------------------------------------------------------------------

    @staticmethod
    def context(generation: int = 1, *, phase: Phase = Phase.BEFORE_APPROVAL) -> WriteContext:
        """A saga's step."""
        return WriteContext(
            saga_id=f"o2p:emea:sf-main:{DEAL}",
            generation=generation,
            step="open_delivery",
            region="emea",
            phase=phase,
        )

    @staticmethod
    def setup(*, currency: str = "EUR", amount: str = "1234.50", **changes: Any) -> DeliverySetup:
        """A delivery project with one milestone and two roles, one of them beyond the template."""
        money = Money(amount=Decimal(amount), currency=currency)
        values: dict[str, Any] = {
            "key": f"{DEAL}.DE01.{currency}.emea.IMPL",
            "title": "Größe 東京 🚀 rollout",
            "contract_key": f"{DEAL}.DE01.{currency}",
            "psa": SYSTEM,
            "dimensions": Dimensions(region="emea", legal_entity="DE01"),
            "client_key": "001XX",
            "currency": currency,
            "budget": money,
            "service_code": "IMPL",
            "template": "Implementation",
            "start": date(2026, 1, 12),
            "end": date(2026, 6, 30),
            "milestones": (Milestone(key="m1", title="Abnahme", due=date(2026, 6, 30), amount=money),),
            "placeholders": (
                RolePlaceholder(key="a", role="architect", bill_rate=Decimal("210.5")),
                RolePlaceholder(key="c", role="Consultant", count=2, bill_rate=Decimal("150")),
            ),
        }
        return DeliverySetup(
            project=DeliveryProject(**{**values, **changes}),
            client_name="Zażółć 株式会社",
            template=DeliveryTemplate(
                id="300",
                title="Implementation",
                tasks=2,
                milestones=2,
                placeholders=2,
                roles={"architect": 1, "Consultant": 1},
            ),
            code_symbol=f"project:{DEAL}.DE01.{currency}",
            role_ids={"architect": "5", "Consultant": "6"},
        )

    @staticmethod
    def values(setup: DeliverySetup, **more: str) -> dict[str, str]:
        """Values of symbols that other systems gave."""
        return {f"{setup.code_symbol}.code": CODE, **more}

    def create(self, name: str = "Ünïcödé 🚀 株式会社") -> VendorWrite:
        """A client's group."""
        setup = self.setup().model_copy(update={"client_name": name})
        return self.connector.plan_project(self.context(), setup)[0]

    async def project(self, setup: DeliverySetup | None = None) -> tuple[dict[str, str], VendorWrite]:
        """Send group and project; the symbols' values and the project's resolved write."""
        setup = setup or self.setup()
        values, write = self.values(setup), None
        for planned in self.connector.plan_project(self.context(), setup):
            write = resolve_write(planned, values)
            landed = await self.connector.find(write) or await self.connector.send(write)
            values[f"{write.symbol}.id"] = landed.id
        assert write is not None
        return values, write

    async def update(self) -> VendorWrite:
        """The activation of a project that is there."""
        setup = self.setup()
        values, _ = await self.project(setup)
        context = self.context(phase=Phase.AFTER_APPROVAL)
        return resolve_write(self.connector.plan_activation(context, setup)[0], values)

    @staticmethod
    def project_id(values: dict[str, str], setup: DeliverySetup) -> str:
        """The workspace's id."""
        return values[f"{delivery_symbol(setup.project.key)}.id"]

    # --- the simulator's control API ----------------------------------------------------------------

    def seed(self, **records: list[dict[str, Any]]) -> None:
        """Put records there."""
        self._ask("POST", "seed", records)

    def configure(self, **settings: Any) -> None:
        """Change the account's settings."""
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
        return next(record for record in self.records(type_) if str(record["id"]) == id_)

    def writes(self) -> list[dict[str, Any]]:
        """Every accepted write, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "writes")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Every call, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "calls")["calls"]
        return found

    def vendor(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A call by somebody else at the client's; the answer's JSON."""
        response = self.control.request(
            method, f"/api/v1/{path}", json=body, headers={"Authorization": f"Bearer {SECRET}"}
        )
        assert response.status_code < 300, response.text
        found: dict[str, Any] = response.json() if response.content else {}
        return found

    def reset(self) -> None:
        """An account as at the start."""
        self._ask("POST", "reset")
        self.prepare()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        response = self.control.request(method, f"/_sim/{path}", json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None
