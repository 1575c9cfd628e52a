"""Revenue follow-up of one contract against both simulators: measured, sent once, read back, compared."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    ListContracts,
    MeasureContract,
    ProgressSent,
    ReadRevenue,
    RevenueRead,
    SagaRef,
    SendProgress,
)
from activities.effects import Effects
from activities.revenue.following import ProgressActivitiesOver
from activities.revenue.measuring import MeasuringActivitiesOver, RevenueActivitiesOver
from canonical.causes import Cause
from canonical.engagement import BillingMethod, Contract, RevenueMethod
from canonical.feedback import Reach
from canonical.money import Money
from canonical.names import project_key
from canonical.progress import DifferenceKind, MeasuredLine, RevenueRow, SendState
from canonical.refs import RecordRef
from ledger.items import Placed
from ledger.links import NewLink
from ledger.store import Ledger
from tests.acceptance import kantata, netsuite
from tests.activities.fakes import ANNA
from tests.activities.firm import FakeSystems
from tests.connectors import netsuite_samples as samples
from tests.ledger.billing import claim, line, placement, send

pytestmark = pytest.mark.anyio
ERP, PSA = netsuite.SYSTEM, kantata.SYSTEM
FIELDS = {
    "period": ("custentity_rev_period", "string"),
    "minutes_to_date": ("custentity_rev_minutes", "integer"),
    "minutes_in_period": ("custentity_rev_minutes_in", "integer"),
    "minutes_to_complete": ("custentity_rev_minutes_left", "integer"),
    "accepted_amount": ("custentity_rev_accepted", "number"),
    "milestones_reached": ("custentity_rev_stones", "integer"),
    "percent": ("custentity_rev_percent", "number"),
    "accepted_on": ("custentity_rev_accepted_on", "date"),
}
FIRST, LAST = date(2026, 12, 1), date(2026, 12, 31)
ESTIMATE = 900
SAGA = SagaRef(
    saga_id=f"rfu:emea:{ERP}:DE01.2026-12", region="emea", business_key="DE01", trace_id="t", actor=ANNA
)


class Told:
    """What is handed over to the feedback saga."""

    def __init__(self) -> None:
        self.events: dict[str, str] = {}

    async def follow(self, system: str, events: Mapping[str, str]) -> int:
        self.events |= events
        return len(events)

    async def set_up(self, system: str, deals: Mapping[str, str]) -> int:
        raise AssertionError


class Desk:
    """A contract of 1,000 in both vendors, and the activities over them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        fields = {measure: field for measure, (field, _) in FIELDS.items()}
        self.erp = netsuite.Subject(mapping={"progress": fields})
        self.erp._ask(
            "POST", "schema", {"job": [{"name": name, "type": kind} for name, kind in FIELDS.values()]}
        )
        self.psa = kantata.Subject()
        self.told = Told()
        self.estimating(task_estimates=True)
        self.entries = 0
        self.attempts = 0

    def estimating(self, **mapping: Any) -> None:
        feed = self.psa.build(mapping=self.psa.mapping(**mapping))
        systems: Any = FakeSystems(ports={ERP: self.erp.connector, PSA: feed})

        async def handing() -> Any:
            return self.told

        self.progress = ProgressActivitiesOver(systems, Effects(self.ledger), handing)
        self.measuring = MeasuringActivitiesOver(systems, self.ledger)

    async def agree(self, *lines: Any, **terms: Any) -> Contract:
        contract = samples.contract(
            *(lines or (samples.line(revenue_method=RevenueMethod.OVER_TIME_INPUT),)), **terms
        )
        values = await self.erp.active()
        self.job, self.order = values[netsuite.PROJECT], values[netsuite.CONTRACT]
        self.psa.seed(
            workspaces=[{"id": 901, "title": "Rollout", "creator_role": "consultant", "budgeted": True}],
            stories=[
                {
                    "id": 40, "workspace_id": 901, "title": "Build", "story_type": "task",
                    "time_estimate_in_minutes": ESTIMATE,
                },
                {"id": 41, "workspace_id": 901, "title": "Go live", "story_type": "milestone"},
            ],
        )  # fmt: skip
        delivery = project_key(contract.key, "emea", "IMPL")
        await self.ledger.link_many(
            [
                self.link("project", contract.key, ERP, "job", self.job),
                self.link("contract", contract.key, ERP, "salesOrder", self.order),
                self.link("delivery", delivery, PSA, "workspaces", "901"),
                self.link("milestone", f"{delivery}.m1", PSA, "stories", "41"),
            ]
        )
        await self.ledger.add_contract_version(contract, saga_id="o2p:emea:sf-main:006A1")
        self.contract = contract
        return contract

    @staticmethod
    def link(kind: str, key: str, system: str, type_: str, id_: str) -> NewLink:
        return NewLink(
            kind=kind,
            key=key,
            record=RecordRef(system=system, type=type_, id=id_),
            evidence={"by": "test"},
            created_by_us=False,
            adopted=True,
        )

    async def work(self, minutes: int, day: date = date(2026, 12, 10)) -> None:
        """Posted time on the contract."""
        self.entries += 1
        number = self.entries
        await self.ledger.take_in([line(number, minutes=minutes, work_date=day)])
        (row,) = await self.ledger.items_of([f"{PSA}/time_entries/{number}"])
        placed = placement(
            minutes, "60", contract_key=self.contract.key, legal_entity="DE01", posting_date=day
        )
        await self.ledger.place([Placed(row.id, row.key, placed)])
        await send(self.ledger, await claim(self.ledger, number))

    # --- the activities -----------------------------------------------------------------------------

    async def run(self, method: Any, command: Any) -> Any:
        self.attempts += 1
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, activity_id=f"a{self.attempts}", scheduled_time=self.ledger.now()
        )
        return await environment.run(method, command)

    async def measure(self, last: date = LAST) -> tuple[MeasuredLine, ...]:
        command = MeasureContract(
            saga=SAGA, step="measure.x", system=PSA, contract=self.contract.key, last=last
        )
        found: tuple[MeasuredLine, ...] = (await self.run(self.measuring.measure, command)).lines
        return found

    async def send(self, first: date = FIRST, last: date = LAST, *, plan: bool = False) -> ProgressSent:
        period = f"{first:%Y-%m}"
        saga = SAGA.model_copy(update={"saga_id": f"rfu:emea:{ERP}:DE01.{period}", "plan": plan})
        command = SendProgress(
            saga=saga,
            step=f"send.{self.contract.key}",
            system=ERP,
            contract=self.contract.key,
            period=period,
            first=first,
            last=last,
            measured=await self.measure(last),
        )
        found: ProgressSent = await self.run(self.progress.send_progress, command)
        return found

    async def read(self, sent: ProgressSent, *, plan: bool = False) -> RevenueRead:
        command = ReadRevenue(
            saga=SAGA.model_copy(update={"plan": plan}),
            step="read.x",
            system=ERP,
            contract=self.contract.key,
            entity="DE01",
            period="2026-12",
            last=LAST,
            state=sent.state,
            revision=sent.revision,
            findings=sent.findings,
        )
        found: RevenueRead = await self.run(self.progress.read_revenue, command)
        return found

    async def row(self) -> RevenueRow:
        (row,) = await self.ledger.revenue_rows("2026-12", legal_entity="DE01")
        return row

    def shown(self) -> dict[str, Any]:
        record = self.erp.record("job", self.job)
        return {measure: record[name] for measure, (name, _) in FIELDS.items() if name in record}

    def patches(self) -> int:
        return sum(
            one["method"] == "PATCH" and "custentity_rev_period" in (one["body"] or {})
            for one in self.erp.writes()
        )


@pytest.fixture
async def desk(ledger: Ledger) -> AsyncIterator[Desk]:
    desk = Desk(ledger)
    yield desk
    await desk.erp.close()
    await desk.psa.close()


# --- sending ----------------------------------------------------------------------------------------


async def test_effort_and_what_is_left_reach_the_project_and_are_read_back(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    sent = await desk.send()
    assert (sent.state, sent.revision, sent.findings) == (SendState.SENT, 1, ())
    assert sent.note == "revision 1: 2:00 h to date, 13:00 h to complete"
    assert desk.shown() == {
        "period": "2026-12",
        "minutes_to_date": 120,
        "minutes_in_period": 120,
        "minutes_to_complete": ESTIMATE - 120,
        "milestones_reached": 0,
    }


async def test_the_same_inputs_write_nothing_and_others_a_new_revision(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    await desk.send()
    again = await desk.send()
    assert (again.state, again.revision, desk.patches()) == (SendState.UNCHANGED, 1, 1)
    await desk.work(60)
    more = await desk.send()
    assert (more.state, more.revision, desk.patches()) == (SendState.SENT, 2, 2)
    assert desk.shown()["minutes_to_date"] == 180


async def test_a_lost_answer_is_looked_for_and_not_sent_again(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    desk.erp.fault("drop_after", method="PATCH", path="/job/", times=1)
    with pytest.raises(ApplicationError) as lost:
        await desk.send()
    assert lost.value.type == Cause.OUTCOME_UNKNOWN.value
    assert await desk.ledger.progress_sent(desk.contract.key, "2026-12") == (0, {})
    sent = await desk.send()
    assert (sent.state, sent.revision, desk.patches()) == (SendState.SENT, 1, 1)


async def test_a_plan_shows_the_write_and_keeps_nothing(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    sent = await desk.send(plan=True)
    (write,) = sent.writes
    assert "Tell the progress of Acme rollout for 2026-12" in write["title"]
    await desk.read(sent, plan=True)
    assert desk.patches() == 0
    assert await desk.ledger.progress_sent(desk.contract.key, "2026-12") == (0, {})
    assert await desk.ledger.revenue_rows("2026-12") == []


async def test_a_closed_period_is_not_written_and_the_open_one_brings_it_along(desk: Desk) -> None:
    november = (date(2026, 11, 1), date(2026, 11, 30))
    await desk.agree(start=date(2026, 11, 1))
    await desk.work(120, date(2026, 11, 5))
    assert (await desk.send(*november)).state is SendState.SENT
    desk.erp._ask("POST", "periods", {"name": "2026-11", "closed": True})
    await desk.work(30, date(2026, 11, 6))
    closed = await desk.send(*november)
    assert (closed.state, desk.patches()) == (SendState.LATER, 1)
    (finding,) = closed.findings
    assert finding.cause is Cause.PERIOD_CLOSED
    assert "2026-11 is closed" in finding.message
    assert "goes into 2026-12, the first open period" in finding.message
    await desk.work(60)
    december = await desk.send()
    assert desk.shown()["minutes_in_period"] == 90
    assert desk.shown()["minutes_to_date"] == 210
    (said,) = december.findings
    assert "bring 0:30 h of earlier periods along" in said.message


async def test_an_earlier_period_does_not_overwrite_a_later_one(desk: Desk) -> None:
    await desk.agree(start=date(2026, 11, 1))
    await desk.work(60)
    await desk.send()
    await desk.work(30, date(2026, 11, 6))
    late = await desk.send(date(2026, 11, 1), date(2026, 11, 30))
    assert late.state is SendState.LATER
    assert f"{ERP} shows those of 2026-12 by now" in late.findings[0].message
    assert desk.shown()["period"] == "2026-12"


# --- what is held -----------------------------------------------------------------------------------


async def test_without_a_source_of_estimates_it_is_held(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    desk.estimating()
    sent = await desk.send()
    assert (sent.state, sent.findings[0].cause) == (SendState.HELD, Cause.ESTIMATE_MISSING)
    read = await desk.read(sent)
    assert [(one.cause, one.tally.items) for one in read.held] == [(Cause.ESTIMATE_MISSING, 1)]
    assert (await desk.row()).state is SendState.HELD
    assert desk.patches() == 0


async def test_a_task_without_an_estimate_leaves_the_project_without_one(desk: Desk) -> None:
    await desk.agree()
    desk.psa.seed(stories=[{"id": 44, "workspace_id": 901, "title": "Test", "story_type": "task"}])
    assert (await desk.measure())[0].minutes_at_completion is None


async def test_an_estimate_may_stand_in_a_field_of_the_project(desk: Desk) -> None:
    await desk.agree()
    desk.psa.seed(
        custom_fields=[{"id": 31, "name": "Hours at completion", "value_type": "number"}],
        custom_field_values=[
            {"id": 5, "custom_field_id": 31, "subject_type": "Workspace", "subject_id": 901, "value": 20.5}
        ],
    )
    desk.estimating(estimate_field=31)
    assert (await desk.measure())[0].minutes_at_completion == 1230


async def test_more_work_than_estimated_is_held_and_no_negative_rest_is_sent(desk: Desk) -> None:
    await desk.agree()
    await desk.work(ESTIMATE + 1)
    sent = await desk.send()
    assert (sent.state, sent.findings[0].cause) == (SendState.HELD, Cause.ESTIMATE_EXCEEDED)


async def test_an_account_without_the_fields_is_told_which_to_name(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    bare = desk.erp.build(mapping={"progress": {}})
    desk.progress.systems.ports[ERP] = bare  # type: ignore[attr-defined]
    sent = await desk.send()
    assert (sent.state, sent.findings[0].cause) == (SendState.HELD, Cause.PROGRESS_NOT_MAPPED)
    assert (
        "mapping.progress.minutes_to_date, mapping.progress.minutes_to_complete" in sent.findings[0].message
    )
    await bare.close()


async def test_a_field_that_the_account_lacks_is_refused_by_the_vendor(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    fields = {"minutes_to_date": "custentity_nowhere", "minutes_to_complete": "custentity_rev_minutes_left"}
    desk.progress.systems.ports[ERP] = desk.erp.build(mapping={"progress": fields})  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="custentity_nowhere"):
        await desk.send()


async def test_two_methods_on_one_project_are_not_mixed(desk: Desk) -> None:
    stones = samples.schedule((LAST, "500.00"), key="L2")
    stones = stones.model_copy(
        update={"dates": (stones.dates[0].model_copy(update={"milestone_key": "m1"}),)}
    )
    await desk.agree(
        samples.line(revenue_method=RevenueMethod.OVER_TIME_INPUT),
        samples.line(
            "L2", "500.00", revenue_method=RevenueMethod.POINT_IN_TIME, service_code="OTHER", schedule=stones
        ),
    )
    sent = await desk.send()
    assert sent.findings[0].cause is Cause.PROGRESS_NOT_MAPPED
    assert "over_time_input and point_in_time" in sent.findings[0].message


async def test_terms_without_a_revenue_method_are_named(desk: Desk) -> None:
    contract = await desk.agree()
    terms = contract.model_dump(mode="json")
    for one in terms["lines"]:
        del one["revenue_method"]

    class Old:
        key, amount, currency, start = contract.key, contract.amount, contract.currency, contract.start

        @staticmethod
        def model_dump(mode: str) -> Any:
            return terms

    old: Any = Old()
    await desk.ledger.add_contract_version(old, saga_id="o2p:old")
    sent = await desk.send()
    (finding,) = sent.findings
    assert (sent.state, finding.cause) == (SendState.HELD, Cause.REVENUE_METHOD_MISSING)
    assert "lines.0.revenue_method: Field required" in finding.message
    await desk.read(sent)
    assert (await desk.row()).figures.booked == contract.amount


# --- acceptance -------------------------------------------------------------------------------------


async def stones(desk: Desk, method: RevenueMethod) -> None:
    schedule = samples.schedule((LAST, "1000.00"), key="L1")
    schedule = schedule.model_copy(
        update={"dates": (schedule.dates[0].model_copy(update={"milestone_key": "m1"}),)}
    )
    await desk.agree(
        samples.line(revenue_method=method, billing_method=BillingMethod.MILESTONE, schedule=schedule)
    )


async def test_milestones_by_output_and_at_a_point_in_time(desk: Desk) -> None:
    await stones(desk, RevenueMethod.POINT_IN_TIME)
    assert (await desk.send()).state is SendState.SENT
    assert "accepted_on" not in desk.shown()
    desk.psa._ask("POST", "seed", {"stories": [{"id": 41, "workspace_id": 901, "title": "Go live",
                  "story_type": "milestone", "state": "completed"}]})  # fmt: skip
    assert (await desk.send()).revision == 2
    assert desk.shown()["accepted_on"] == "2026-12-31"
    desk.psa._ask("POST", "seed", {"stories": [{"id": 41, "workspace_id": 901, "title": "Go live",
                  "story_type": "milestone", "state": "started"}]})  # fmt: skip
    assert (await desk.send()).revision == 3
    assert "accepted_on" not in desk.shown(), "an acceptance that is taken back is taken off"


# --- reading back -----------------------------------------------------------------------------------


async def test_recognised_and_deferred_are_read_compared_and_handed_on(desk: Desk) -> None:
    await desk.agree()
    await desk.work(120)
    sent = await desk.send()
    desk.erp._ask("POST", "recognise", {"order": desk.order, "amount": 300})
    read = await desk.read(sent)
    row = await desk.row()
    euros = {name: str(getattr(row.figures, name)) for name in ("booked", "billed", "recognised", "deferred")}
    assert euros == {
        "booked": "EUR 1,000.00",
        "billed": "EUR 0.00",
        "recognised": "EUR 300.00",
        "deferred": "EUR 700.00",
    }
    assert (row.figures.delivered_minutes, str(row.figures.delivered)) == (120, "EUR 120.00")
    kinds = {one.kind: one.worth for one in row.differences}
    assert kinds == {
        DifferenceKind.RECOGNISED_ABOVE_DELIVERED: Money.of_minor(18_000, "EUR"),
        DifferenceKind.CONTRACT_ASSET: Money.of_minor(30_000, "EUR"),
    }
    assert read.differences == 1
    assert list(desk.told.events) == [f"order-{desk.order}"]


async def test_what_sales_knows_already_is_not_told_again(desk: Desk) -> None:
    await desk.agree()
    standing = await desk.erp.connector.revenue_standing(desk.order)
    assert standing is not None
    reach = Reach(contract_key=desk.contract.key, budget=desk.contract.amount)
    await desk.ledger.apply_revenue(reach, standing, (), region="emea", saga_id="inv:1")
    await desk.read(await desk.send())
    assert desk.told.events == {}


async def test_listing_says_who_needs_inputs(desk: Desk) -> None:
    await desk.agree()
    listing = RevenueActivitiesOver(desk.ledger)
    command = ListContracts(saga=SAGA, entity="DE01", erp=ERP, first=FIRST, last=LAST, limit=10)
    page = await desk.run(listing.list_contracts, command)
    assert [(one.key, one.inputs) for one in page.contracts] == [(desk.contract.key, True)]
    assert page.after is None
