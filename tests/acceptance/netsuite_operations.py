"""What change orders, closings and revenue follow-up ask of a NetSuite account: its order and project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from canonical.authority import Phase
from canonical.change_orders import OrderChange, Treatment
from canonical.engagement import Contract, RevenueMethod
from canonical.money import Money
from canonical.operations import WriteContext, contract_symbol, project_symbol
from canonical.progress import ContractProgress, LineProgress
from canonical.project_closing import ErpClosure
from canonical.writes import VendorWrite
from rules.change_impact import impact_of
from tests.acceptance.operations import Asked, Operation, Reading, Told
from tests.connectors import netsuite_samples as samples

if TYPE_CHECKING:
    from tests.acceptance.netsuite import Subject

SCHEMA: dict[str, list[dict[str, Any]]] = {
    "job": [
        {"name": "custentity_period", "type": "string"},
        {"name": "custentity_done", "type": "integer"},
        {"name": "custentity_left", "type": "integer"},
        {"name": "custentity_cost", "type": "number"},
    ],
    "salesOrder": [
        {"name": "custbody_trueup_change", "type": "string"},
        {"name": "custbody_trueup_treatment", "type": "string"},
    ],
}
CUSTOM = {"order_change": "custbody_trueup_change", "order_treatment": "custbody_trueup_treatment"}
PROGRESS = {
    "period": "custentity_period",
    "minutes_to_date": "custentity_done",
    "minutes_to_complete": "custentity_left",
    "cost_to_date": "custentity_cost",
}
KEY = "006A1.DE01.EUR"
CLOSED, OPEN = "1", "2"


def before() -> Contract:
    """The terms of the deal."""
    billed = samples.schedule((date(2026, 12, 31), "500.00"), (date(2027, 1, 31), "500.00"))
    return samples.contract(
        samples.line("L1"), samples.line("L2", schedule=billed), samples.line("L3", "300.00")
    )


def after() -> Contract:
    """One line dearer, one billed otherwise, one gone, one new; a name and an end of its own."""
    billed = samples.schedule((date(2026, 12, 31), "500.00"), (date(2027, 3, 31), "700.50"))
    return samples.contract(
        samples.line("L1", "1500.00"),
        samples.line("L2", "1200.50", schedule=billed),
        samples.line("L4", "250.00"),
        name="Größe 東京, extended",
        end=date(2027, 8, 31),
    )


async def asked(subject: Subject, operation: Operation) -> Asked | str:
    """An operation on an active contract."""
    match operation:
        case Operation.CHANGE_SHOWN:
            return await _held(subject)
        case Operation.CHANGE:
            return await _changed(subject)
        case Operation.CLOSING:
            return await _closed(subject)
        case Operation.REOPENING:
            return await _reopened(subject)
        case Operation.PROGRESS:
            return await _progress(subject)


async def told(subject: Subject, reading: Reading) -> Told | str:
    """A reading of an active contract."""
    values, erp = await subject.active(before()), subject.connector
    order, project = values[f"{contract_symbol(KEY)}.id"], values[f"{project_symbol(KEY)}.id"]
    match reading:
        case Reading.CHANGE:
            lines = subject.record("salesOrder", order)["item"]["items"]
            places = {str(line["custcol_trueup_line"]): str(line["line"]) for line in lines}
            assert len(places) == 3
            return Told(lambda: erp.line_places(before(), values), places, "GET", f"/salesOrder/{order}")
        case Reading.CLOSING:
            (invoice,) = await subject.invoiced(values)

            async def facts() -> tuple[Any, ...]:
                standing = await erp.revenue_standing(order)
                owed = await erp.open_balances([invoice, "999999"])
                (found,) = await erp.projects([project])
                return (
                    found.code,
                    found.open,
                    standing and str(standing.deferred),
                    {id_: str(one.balance) for id_, one in owed.items()},
                )

            code, record = subject.record("job", project)["entityId"], subject.record("invoice", invoice)
            wanted = (code, True, await _deferred(subject, order), {invoice: f"{record['amountRemaining']}"})
            return Told(facts, wanted, "POST", "/suiteql")
        case Reading.REVENUE:
            await subject.invoiced(values)
            deferred = await _deferred(subject, order)
            subject.recognise(order, "250.50")

            async def revenue() -> tuple[str, str, bool]:
                standing = await erp.revenue_standing(order)
                assert standing is not None
                unknown = await erp.revenue_standing("424242")
                return str(standing.recognised), str(standing.recognised + standing.deferred), unknown is None

            return Told(revenue, ("EUR 250.50", deferred, True), "POST", "/suiteql")


async def _deferred(subject: Subject, order: str) -> str:
    standing = await subject.connector.revenue_standing(order)
    assert standing is not None
    return str(standing.deferred)


# --- change orders ---------------------------------------------------------------------------------------


async def _held(subject: Subject) -> Asked:
    values = await subject.active(before())

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_hold(_context(subject, "co", "hold"), _change())

    def state() -> Any:
        return _record(subject, values, "salesOrder").get(CUSTOM["order_change"])

    return Asked(plan, state, "change to version 2 under way", values)


async def _changed(subject: Subject) -> Asked:
    values = await subject.active(before())

    async def plan() -> list[VendorWrite]:
        # A line that an earlier attempt added has a place by now.
        places = await subject.connector.line_places(before(), values)
        context = _context(subject, "co", "change")
        return subject.connector.plan_change(context, _change().model_copy(update={"places": places}))

    def state() -> tuple[Any, ...]:
        order, job = _record(subject, values, "salesOrder"), _record(subject, values, "job")
        lines = [line for line in order["item"]["items"] if not line.get("isClosed")]
        schedules = {str(one["id"]): _billed(one) for one in subject.records("billingSchedule")}
        return (
            sorted((line["custcol_trueup_line"], Decimal(str(line["amount"]))) for line in lines),
            [schedules[str(line["billingSchedule"]["id"])] for line in lines if line.get("billingSchedule")],
            order.get("memo"),
            job.get("projectedEndDate"),
        )

    wanted = (
        [("L1", Decimal(1500)), ("L2", Decimal("1200.50")), ("L4", Decimal(250))],
        [("QUARTERLY", Decimal(500))],
        after().name,
        "2027-08-31",
    )
    return Asked(plan, state, wanted, values)


def _billed(schedule: Mapping[str, Any]) -> tuple[str, Decimal]:
    return str(schedule["frequency"]["id"]), Decimal(str(schedule["initialAmount"]))


def _change() -> OrderChange:
    impact = impact_of(before(), after(), (), date(2027, 1, 1))
    return OrderChange(
        before=before(), after=after(), version=2, impact=impact, treatment=Treatment.PROSPECTIVE
    )


# --- closing and opening again ---------------------------------------------------------------------------


async def _closed(subject: Subject) -> Asked:
    values = await subject.active(before())

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_close(_context(subject, "close", "close"), _closure(values))

    return Asked(plan, lambda: _status(subject, values), CLOSED, values)


async def _reopened(subject: Subject) -> Asked:
    values = await subject.active(before())
    (closing,) = subject.connector.plan_close(_context(subject, "close", "close"), _closure(values))
    former = await subject.connector.before_image(closing)
    await subject.perform([closing], values)

    async def plan() -> list[VendorWrite]:
        context = _context(subject, "reopen", "reopen")
        return subject.connector.plan_reopen(context, _closure(values), former)

    return Asked(plan, lambda: _status(subject, values), OPEN, values)


def _closure(values: Mapping[str, str]) -> ErpClosure:
    project = values[f"{project_symbol(KEY)}.id"]
    return ErpClosure(contract_key=KEY, project_id=project, name=before().name, number=1, round=1)


def _status(subject: Subject, values: Mapping[str, str]) -> str:
    return str(_record(subject, values, "job")["entityStatus"]["id"])


# --- revenue inputs --------------------------------------------------------------------------------------


async def _progress(subject: Subject) -> Asked:
    values = await subject.active(before())
    progress = ContractProgress(
        contract_key=KEY,
        name=before().name,
        currency="EUR",
        period="2026-12",
        lines=(
            LineProgress(
                line_key="L1",
                method=RevenueMethod.OVER_TIME_INPUT,
                minutes_to_date=600,
                minutes_to_complete=1_200,
                costs_to_date=(Money.of_minor(1_050, "EUR"),),
            ),
        ),
    )
    assert subject.connector.progress_gaps(progress) == []

    async def plan() -> list[VendorWrite]:
        return subject.connector.plan_progress(_context(subject, "rfu", "send"), progress)

    def state() -> tuple[str, ...]:
        record = _record(subject, values, "job")
        return tuple(str(record.get(field)) for field in PROGRESS.values())

    return Asked(plan, state, ("2026-12", "600", "1200", "10.5"), values)


def _record(subject: Subject, values: Mapping[str, str], kind: str) -> dict[str, Any]:
    name = contract_symbol(KEY) if kind == "salesOrder" else project_symbol(KEY)
    return subject.record(kind, values[f"{name}.id"])


def _context(subject: Subject, saga: str, step: str) -> WriteContext:
    return WriteContext(
        saga_id=f"{saga}:emea:{subject.connector.system}:{KEY}.1",
        generation=1,
        step=step,
        region="emea",
        phase=Phase.AFTER_APPROVAL,
    )
