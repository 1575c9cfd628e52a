"""What change orders, closings and revenue follow-up ask of a Kantata account: its project."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from canonical.authority import Phase
from canonical.change_orders import DeliveryChange, DeliveryImpact, RateChange
from canonical.delivery import Milestone
from canonical.engagement import ScheduleDate
from canonical.money import Money
from canonical.operations import DeliverySetup, WriteContext
from canonical.project_closing import DeliveryClosure
from canonical.writes import VendorWrite, resolve_write
from tests.acceptance.operations import Asked, Operation, Reading, Told

if TYPE_CHECKING:
    from tests.acceptance.kantata import Subject

ROLES = ("architect", "Consultant")
TITLES = {"Solution Architect": "architect", "Consultant": "Consultant"}
ACTIVE, COMPLETED = "310", "330"


def setup(subject: Subject) -> DeliverySetup:
    """A project with two milestones."""
    parts = (("m1", "Abnahme", "1000.50"), ("m2", "Entfällt", "234.00"))
    stones = (
        Milestone(key=key, title=title, due=date(2026, 6, 30), amount=_eur(amount))
        for key, title, amount in parts
    )
    return subject.setup(milestones=tuple(stones))


async def asked(subject: Subject, operation: Operation) -> Asked | str:
    """An operation on a project that is open."""
    match operation:
        case Operation.CHANGE_SHOWN:
            assert not hasattr(subject.connector, "plan_hold"), "there is a mark, so it must be accepted"
            return "delivery is told of a change once it is agreed"
        case Operation.CHANGE:
            return await _changed(subject)
        case Operation.CLOSING:
            return await _closed(subject)
        case Operation.REOPENING:
            return await _reopened(subject)
        case Operation.PROGRESS:
            assert not hasattr(subject.connector, "plan_progress"), (
                "there is progress, so it must be accepted"
            )
            return "delivery takes no part in recognising revenue but by its estimates"


async def told(subject: Subject, reading: Reading) -> Told | str:
    """A reading of a project that is open."""
    project, _ = await _open(subject)
    psa = subject.connector
    match reading:
        case Reading.CHANGE:
            wanted = _positions(subject, project)
            assert {role: len(ids) for role, ids in wanted.items()} == {"architect": 1, "Consultant": 2}
            return Told(lambda: psa.positions(project, ROLES), wanted, "GET", "/workspace_resources")
        case Reading.CLOSING:
            worked = await _work(subject, project)
            unnamed = sorted(id_ for ids in _positions(subject, project).values() for id_ in ids)

            async def facts() -> tuple[Any, ...]:
                times, expenses = await psa.project_work(project)
                reading = await psa.closing_reading(project)
                assert reading is not None
                gone = await psa.closing_reading("424242")
                return (
                    [(one.ref.id, one.minutes) for one in times],
                    expenses,
                    reading.archived,
                    sorted(one.ref.id for one in reading.positions),
                    reading.requests,
                    gone,
                )

            wanted_facts: tuple[Any, ...] = ([(worked, 60)], [], False, unnamed, (), None)
            return Told(facts, wanted_facts, "GET", "/(time_entries|workspace_resources)")
        case Reading.REVENUE:
            mapping = subject.mapping(task_estimates=True)
            estimating = subject.build(mapping=mapping)
            subject.also(estimating)
            tasks = [one for one in subject.records("stories") if one["story_type"] == "task"]
            leaves = [
                one for one in tasks if not any(str(t.get("parent_id")) == str(one["id"]) for t in tasks)
            ]
            for task in leaves:
                body = {"story": {"time_estimate_in_minutes": 90}}
                subject.vendor("PUT", f"stories/{task['id']}", body)
            wanted_minutes = {project: 90 * len(leaves), "424242": None}
            return Told(lambda: estimating.estimates([project, "424242"]), wanted_minutes, "GET", "/stories")


# --- change orders ---------------------------------------------------------------------------------------


async def _changed(subject: Subject) -> Asked:
    project, milestones = await _open(subject)
    key = setup(subject).project.key
    impact = DeliveryImpact(
        delivery_key=key,
        region="emea",
        service_code="IMPL",
        before=_eur("1234.50"),
        after=_eur("1750.75"),
        rates=(RateChange(role="Consultant", before=Decimal(150), after=Decimal("162.5")),),
        put_milestones=(_stone("m1", "Abnahme 東京", "1500.75"), _stone("m3", "Neu", "250.00")),
        drop_milestones=("m2",),
    )
    change = DeliveryChange(
        version=2,
        contract_key=setup(subject).project.contract_key,
        impact=impact,
        project_id=project,
        milestones=milestones,
    )

    async def plan() -> list[VendorWrite]:
        positions = await subject.connector.positions(project, ["Consultant"])
        changed = change.model_copy(update={"positions": positions})
        return subject.connector.plan_change(_context("co", "change"), changed)

    def state() -> tuple[Any, ...]:
        stones = {
            one["title"]: one["budget_estimate_in_cents"]
            for one in subject.records("stories")
            if one.get("budget_estimate_in_cents") and not one.get("archived")
        }
        consultants = _positions(subject, project)["Consultant"]
        rates = [str(subject.record("workspace_resources", id_)["resource_bill_rate"]) for id_ in consultants]
        return subject.record("workspaces", project)["price_in_cents"], rates, stones

    wanted = (175_075, ["16250", "16250"], {"Abnahme 東京": 150_075, "Neu": 25_000})
    return Asked(plan, state, wanted)


def _stone(key: str, title: str, amount: str) -> ScheduleDate:
    return ScheduleDate(key=key, title=title, due=date(2026, 9, 30), amount=_eur(amount), milestone_key=key)


# --- closing and opening again ---------------------------------------------------------------------------


async def _closed(subject: Subject) -> Asked:
    project, _ = await _open(subject)

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_close(_context("close", "close"), _closure(subject, project))

    return Asked(plan, lambda: _status(subject, project), (True, COMPLETED))


async def _reopened(subject: Subject) -> Asked:
    project, _ = await _open(subject)
    (closing,) = subject.connector.plan_close(_context("close", "close"), _closure(subject, project))
    former = await subject.connector.before_image(closing)
    await subject.connector.send(closing)

    async def plan() -> list[VendorWrite]:
        context = _context("reopen", "reopen")
        return subject.connector.plan_reopen(context, _closure(subject, project), former)

    return Asked(plan, lambda: _status(subject, project), (False, ACTIVE))


def _closure(subject: Subject, project: str) -> DeliveryClosure:
    of = setup(subject).project
    return DeliveryClosure(
        contract_key=of.contract_key,
        delivery_key=of.key,
        project_id=project,
        title=of.title,
        number=1,
        round=1,
    )


def _status(subject: Subject, project: str) -> tuple[bool, str]:
    record = subject.record("workspaces", project)
    return bool(record["archived"]), str(record["status_key"])


# --- the project -----------------------------------------------------------------------------------------


async def _open(subject: Subject) -> tuple[str, dict[str, str]]:
    """A project as opportunity-to-project leaves it; its id, and those of its milestones by key."""
    of, psa = setup(subject), subject.connector
    values, _ = await subject.project(of)
    values |= (await psa.template_progress(of, values)).values
    after = subject.context(phase=Phase.AFTER_APPROVAL)
    for planned in [*psa.plan_structure(subject.context(), of), *psa.plan_activation(after, of)]:
        write = resolve_write(planned, values)
        landed = await psa.find(write) or await psa.send(write)
        values[f"{write.symbol}.id"] = landed.id
    milestones = {
        one.key: values[f"milestone:{of.project.key}.{one.key}.id"] for one in of.project.milestones
    }
    return subject.project_id(values, of), milestones


async def _work(subject: Subject, project: str) -> str:
    """An hour of somebody's; its id."""
    body = {"workspace_id": int(project), "user_id": 77, "role": "maven"}
    subject.vendor("POST", "participations", {"participation": body})
    entry = {
        "workspace_id": int(project),
        "user_id": 77,
        "date_performed": "2026-01-15",
        "time_in_minutes": 60,
    }
    made = subject.vendor("POST", "time_entries", {"time_entry": entry})
    return str(made["results"][0]["id"])


def _positions(subject: Subject, project: str) -> dict[str, tuple[str, ...]]:
    names = {str(one["id"]): TITLES[one["name"]] for one in subject.records("roles")}
    found: dict[str, list[str]] = defaultdict(list)
    for one in subject.records("workspace_resources"):
        if str(one["workspace_id"]) == project:
            found[names[str(one["role_id"])]].append(str(one["id"]))
    return {role: tuple(sorted(ids, key=int)) for role, ids in found.items()}


def _eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def _context(saga: str, step: str) -> WriteContext:
    return WriteContext(
        saga_id=f"{saga}:emea:kantata-main:006XX0001.1",
        generation=1,
        step=step,
        region="emea",
        phase=Phase.AFTER_APPROVAL,
    )
