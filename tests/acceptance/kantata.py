"""Kantata as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from canonical.authority import Phase
from canonical.delivered import ExportMark, LineKind
from canonical.delivery import DeliveryProject, DeliveryTemplate, Milestone, RolePlaceholder
from canonical.money import Money, exponent
from canonical.operations import Change, ChangePage, DeliverySetup, WriteContext, delivery_symbol
from canonical.refs import Dimensions, SystemRole
from canonical.writes import Landed, VendorWrite, resolve_write
from connectors.kantata import KantataConnector, billing_plans
from connectors.kantata.settings import KantataMapping, KantataSettings, StatusKeys
from connectors.kit.secrets import Secret
from simulators.kantata import build
from simulators.kit import Running
from tests.acceptance import kantata_operations as operations
from tests.acceptance.operations import Asked, Operation, Reading, Told
from tests.acceptance.subject import PLAIN, BulkLine, Route, Site

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

    name: ClassVar[str] = "kantata"
    title: ClassVar[str] = "Kantata OX"
    roles: ClassVar[tuple[SystemRole, ...]] = (SystemRole.PSA,)
    creating: ClassVar[Route] = Route("POST", "/workspace_groups")
    looking: ClassVar[Route] = Route("GET", "/workspace_groups")
    deleting: ClassVar[Route] = Route("DELETE", "/workspace_groups/")
    token: ClassVar[Route | None] = None
    taken: ClassVar[str] = "Name has already been taken"
    no_bulk: ClassVar[str | None] = None
    batching: ClassVar[Route | None] = Route("POST", "/external_references/create_or_update")

    def __init__(self, site: Site = PLAIN, **settings: Any) -> None:
        self.running: Running = site.serve(build())
        self.control = site.control(self.running)
        os.environ["KANTATA_TEST_TOKEN"] = SECRET
        self.prepare()
        self.connector = self.build(**settings)
        self.others: list[KantataConnector] = []

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
            "status_keys": StatusKeys(prepared="305", active="310", closed="340", completed="330"),
            "role_titles": {"architect": "Solution Architect"},
        }
        return KantataMapping(**{**values, **changes})

    def build(self, **settings: Any) -> KantataConnector:
        """A connector of this account."""
        values: dict[str, Any] = {
            "base_url": self.running.base_url,
            "token": Secret(env="KANTATA_TEST_TOKEN"),
            "mapping": self.mapping(),
            "ca_file": self.running.ca_file,
        }
        return KantataConnector(SYSTEM, KantataSettings(**{**values, **settings}))

    def also(self, connector: KantataConnector) -> None:
        """A further connector that ends with this subject."""
        self.others.append(connector)

    async def close(self) -> None:
        """Stop everything."""
        for one in (self.connector, *self.others):
            await one.close()
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
        return self.connector.plan_client(self.context(), setup)[0]

    def planned(self, setup: DeliverySetup) -> list[VendorWrite]:
        """Group and project."""
        context = self.context()
        return [*self.connector.plan_client(context, setup), *self.connector.plan_project(context, setup)]

    async def project(self, setup: DeliverySetup | None = None) -> tuple[dict[str, str], VendorWrite]:
        """Send group and project; the symbols' values and the project's resolved write."""
        setup = setup or self.setup()
        values, write = self.values(setup), None
        for planned in self.planned(setup):
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

    async def an_update(self) -> VendorWrite:
        """The activation of a project that is there."""
        return await self.update()

    async def priced(self, currency: str, amount: Decimal) -> VendorWrite:
        """A project with a budget in that currency; its group is there."""
        setup = self.setup(currency=currency, amount=str(amount), milestones=(), placeholders=())
        group, project = self.planned(setup)
        landed = await self.connector.find(group) or await self.connector.send(group)
        return resolve_write(project, self.values(setup, **{f"{group.symbol}.id": landed.id}))

    async def own(self, title: str) -> VendorWrite:
        """A project; its group is there."""
        setup = self.setup(title=title, milestones=(), placeholders=())
        group, project = self.planned(setup)
        landed = await self.connector.find(group) or await self.connector.send(group)
        return resolve_write(project, self.values(setup, **{f"{group.symbol}.id": landed.id}))

    def title_in(self, landed: Landed) -> str:
        """The project's title."""
        return str(self.record("workspaces", landed.id)["title"])

    def plans(self) -> list[VendorWrite]:
        """What opportunity-to-project makes, and the later sagas' marks, invoices, payments, revenue."""
        setup, kantata, before = self.setup(), self.connector, self.context()
        after, settings = self.context(phase=Phase.AFTER_APPROVAL), kantata._settings
        money, day = setup.project.budget, date(2026, 1, 31)
        line = ExportMark(kind=LineKind.TIME, id="1", document="INV-1")
        invoice = billing_plans.InvoiceCopy(
            key="INV-1", number="INV-1", project="901", time_entry_ids=("1",), issued_on=day,
            payment_days=30, purchase_order="PO 1", project_code=CODE,
        )  # fmt: skip
        payment = billing_plans.FullPayment(key="INV-1", project="901", invoice="7", receipt="R 88")
        revenue = billing_plans.Recognition(
            key="2026-01", project="901", first=date(2026, 1, 1), last=day, amount=money, to_date=money
        )
        return [
            *self.planned(setup),
            *kantata.plan_structure(before, setup),
            *kantata.plan_activation(after, setup),
            *kantata.plan_marks(after, [line]),
            billing_plans.plan_invoice(SYSTEM, settings, after, invoice),
            billing_plans.plan_payment(SYSTEM, settings, after, payment),
            billing_plans.plan_revenue(SYSTEM, settings, after, revenue),
        ]

    # --- what others do, and what is there ------------------------------------------------------------

    def made(self, write: VendorWrite) -> list[dict[str, Any]]:
        """Groups that carry the stamp."""
        ours = {
            str(reference["subject_id"])
            for reference in self.records("external_references")
            if reference["service_model_ref"] == write.stamp
        }
        return [record for record in self.records("workspace_groups") if str(record["id"]) in ours]

    def name_of(self, record: Mapping[str, Any]) -> str:
        """The group's name."""
        return str(record["name"])

    def amount_in(self, landed: Landed) -> Decimal:
        """The project's budget."""
        project = self.record("workspaces", landed.id)
        return Decimal(str(project["price_in_cents"])).scaleb(-exponent(project["currency"]))

    async def edit_created(self, landed: Landed) -> None:
        """Somebody renames the group."""
        body = {"workspace_group": {"name": "Renamed by somebody"}}
        self.vendor("PUT", f"workspace_groups/{landed.id}", body)

    async def edit_updated(self, landed: Landed) -> None:
        """Somebody closes the project."""
        self.vendor("PUT", f"workspaces/{landed.id}", {"workspace": {"status_key": 340}})

    async def moving(self) -> list[str]:
        """Time of a project: 900 entries, three a second."""
        setup, start = self.setup(), datetime(2026, 1, 5, tzinfo=UTC)
        values, _ = await self.project(setup)
        project = self.project_id(values, setup)
        self.vendor(
            "POST", "participations",
            {"participation": {"workspace_id": int(project), "user_id": 77, "role": "maven"}},
        )  # fmt: skip
        self.seed(
            time_entries=[
                {"id": 90000 + n, "workspace_id": project, "user_id": 77, "date_performed": "2026-01-05",
                 "time_in_minutes": 5, "updated_at": (start + timedelta(seconds=n // 3)).isoformat()}
                for n in range(900)
            ]
        )  # fmt: skip
        return [str(90000 + n) for n in range(900)]

    async def move(self, record_id: str) -> None:
        """Somebody corrects an entry."""
        self.vendor("PUT", f"time_entries/{record_id}", {"time_entry": {"notes": "corrected"}})

    async def poll(self, cursor: str | None) -> ChangePage:
        """A portion of the time entries, approved or not."""
        page = await self.connector.time_changes(cursor, limit=150)
        changes = tuple(Change(ref=one.ref, modified_at=one.changed_at) for one in page.entries)
        return ChangePage(changes=changes, cursor=page.cursor, more=page.more)

    async def batch(self) -> list[VendorWrite]:
        """Marks on three time entries that the ERP has taken."""
        setup = self.setup(milestones=(), placeholders=())
        values, _ = await self.project(setup)
        entry = {"workspace_id": self.project_id(values, setup), "user_id": 77}
        entry |= {"date_performed": "2026-01-05", "time_in_minutes": 5}
        self.seed(time_entries=[{"id": 90000 + n, **entry} for n in range(3)])
        marks = [
            ExportMark(kind=LineKind.TIME, id=str(90000 + n), document=f"timeBill {n}") for n in range(3)
        ]
        return self.connector.plan_marks(self.context(phase=Phase.AFTER_APPROVAL), marks)

    def landed_lines(self, writes: Sequence[VendorWrite]) -> list[int]:
        """How many references name each line and its document."""
        held = [(row["subject_id"], row["service_model_ref"]) for row in self.records("external_references")]
        bodies = [write.body["external_reference"] for write in writes]
        return [held.count((body["subject_id"], body["service_model_ref"])) for body in bodies]

    async def bulk(self) -> list[BulkLine]:
        """Marks on four time entries, the second of which is gone."""
        first, *rest = await self.batch()
        (gone,) = self.connector.plan_marks(
            self.context(phase=Phase.AFTER_APPROVAL),
            [ExportMark(kind=LineKind.TIME, id="424242", document="timeBill 9")],
        )
        writes = [first, gone, *rest]
        ticket = await self.connector.submit_batch("window-1", writes)
        outcomes = await self.connector.batch_outcome(ticket, writes)
        assert outcomes is not None
        return [
            BulkLine(landed=outcome.landed, told=str(outcome.failure or ""), there=count == 1)
            for outcome, count in zip(outcomes, self.landed_lines(writes), strict=True)
        ]

    async def asked(self, operation: Operation) -> Asked | str:
        """An operation on a project that is open."""
        return await operations.asked(self, operation)

    async def told(self, reading: Reading) -> Told | str:
        """A reading of a project that is open."""
        return await operations.told(self, reading)

    # --- credentials ----------------------------------------------------------------------------------

    def wrong_credentials(self) -> tuple[dict[str, Any], str]:
        """A token that the account does not know."""
        wrong = os.environ["KANTATA_TEST_WRONG"] = "wrong-kantata-token"
        return {"token": Secret(env="KANTATA_TEST_WRONG")}, wrong

    def rotate(self) -> None:
        """An administrator makes another token; the old one is revoked."""
        rotated = os.environ["KANTATA_TEST_TOKEN"] = "rotated-kantata-token"
        self.configure(tokens=[rotated])

    async def secrets(self) -> list[str]:
        """The token."""
        return [SECRET]

    def shown_settings(self) -> str:
        """The settings, printed."""
        return repr(self.connector._settings) + self.connector._settings.model_dump_json()

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
