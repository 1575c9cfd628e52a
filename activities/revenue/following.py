"""Telling the ERP a contract's inputs, and reading back what it made of them (rule 2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import cast

from pydantic import ValidationError
from temporalio import activity

from activities.billing.gathering import PROJECT
from activities.contracts import (
    ProgressActivities,
    ProgressSent,
    ReadRevenue,
    RevenueRead,
    SagaRef,
    SendProgress,
)
from activities.effects import Effects
from activities.failures import guarded
from activities.feedback.polling import Handing
from activities.systems import Systems
from activities.writing import Writing
from canonical.authority import Phase
from canonical.causes import Cause
from canonical.engagement import BillingMethod, Contract
from canonical.erp_billing import Book, posting_date
from canonical.failures import Finding, Refused
from canonical.feedback import RevenueStanding
from canonical.money import Money
from canonical.names import feedback_record
from canonical.operations import project_symbol
from canonical.progress import ContractProgress, LineProgress, RevenueFigures, RevenueRow, SendState
from canonical.refs import RecordRef
from canonical.saga import HeldItems, Tally
from connectors.ports.progress import ErpProgressPort
from ledger.revenue import terms_of
from ledger.rows import ContractVersionRow
from rules.causes import CATALOGUE
from rules.findings import finding
from rules.periods import of_entity
from rules.progress import corrected, hours, progress_of
from rules.revenue import differences

CONTRACT = "contract"
"""Kind of the links between contracts and the ERP's records of them."""


class ProgressActivitiesOver(Writing, ProgressActivities):
    """Sends inputs and reads revenue, one contract at a time."""

    def __init__(self, systems: Systems, effects: Effects, handing: Handing) -> None:
        super().__init__(systems, effects)
        self.ledger = effects.ledger
        self._handing = handing

    async def _erp(self, saga: SagaRef, system: str) -> ErpProgressPort:
        return cast(ErpProgressPort, await self.systems.erp(system, self.digest(saga, system)))

    async def _row(self, contract: str, last: date) -> ContractVersionRow:
        row = await self.ledger.contract_version(contract, on=last)
        if row is None:
            entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]
            raise Refused(
                f"Contract {contract} has no terms that hold on {last.isoformat()}.",
                cause=Cause.CONTRACT_UNKNOWN,
                queue=entry.queue,
                remedy=entry.remedy,
            )
        return row

    # --- sending ------------------------------------------------------------------------------------

    @activity.defn(name="revenue.send")
    @guarded
    async def send_progress(self, command: SendProgress) -> ProgressSent:
        """Work the inputs out; send them unless the ERP shows them, or the period takes none any more."""
        row = await self._row(command.contract, command.last)
        contract = _readable(row)
        if isinstance(contract, Finding):
            return ProgressSent(state=SendState.HELD, findings=(contract,), note=contract.message)
        lines, problems = await self._lines(contract, command)
        if not lines and not problems:
            return ProgressSent(state=SendState.NOTHING, note="its revenue methods need no inputs")
        erp = await self._erp(command.saga, command.system)
        progress = ContractProgress(
            contract_key=contract.key,
            name=contract.name,
            currency=contract.currency,
            period=command.period,
            lines=tuple(lines),
        )
        projects = await self.ledger.links_of(PROJECT, contract.key, system=command.system)
        problems += [] if projects else [_no_project(contract, command.system)]
        problems += erp.progress_gaps(progress) if lines else []
        if problems:
            return ProgressSent(state=SendState.HELD, findings=tuple(problems), note=problems[0].message)
        revision, digests = await self.ledger.progress_sent(contract.key, command.period)
        if digests == {line.line_key: line.digest for line in lines}:
            return ProgressSent(
                state=SendState.UNCHANGED,
                revision=revision,
                note=f"{command.system} shows revision {revision}",
            )
        if (later := await self._goes_later(erp, contract, command, lines, bool(digests))) is not None:
            return ProgressSent(
                state=SendState.LATER, revision=revision, findings=(later,), note=later.message
            )
        return await self._send(erp, progress, command, projects[-1].record.id, revision)

    async def _lines(
        self, contract: Contract, command: SendProgress
    ) -> tuple[list[LineProgress], list[Finding]]:
        efforts = await self.ledger.efforts(contract.key, command.first, command.last)
        before = await self.ledger.progress_before(contract.key, command.period)
        openings = await self.ledger.openings([contract.key])
        measured = {line.line_key: line for line in command.measured}
        return progress_of(contract, efforts, measured, before, command.last, openings.get(contract.key))

    async def _goes_later(
        self,
        erp: ErpProgressPort,
        contract: Contract,
        command: SendProgress,
        lines: list[LineProgress],
        told: bool,
    ) -> Finding | None:
        """Why the period takes these inputs no more: it is closed, or a later one was told already."""
        what = "changed after they were sent" if told else "were not sent while it was open"
        if (later := await self.ledger.later_period(contract.key, command.period)) is not None:
            return finding(
                Cause.PERIOD_CLOSED,
                f"Inputs of {contract.key} for {command.period} {what}; {command.system} shows those of "
                f"{later} by now, and what changed goes with these: {_to_date(lines)}.",
                remedy=f"Run it for {later}.",
                warning=True,
            )
        periods = of_entity(await erp.accounting_periods(), contract.legal_entity)
        day = posting_date(periods, command.last, Book.GENERAL)
        if day == command.last:
            return None
        into = (
            f"goes into {day:%Y-%m}, the first open period" if day is not None else "waits for an open period"
        )
        return finding(
            Cause.PERIOD_CLOSED,
            f"{command.period} is closed in {command.system}. Inputs of {contract.key} {what}: "
            f"{_to_date(lines)} {into}.",
            remedy=f"Run it for {day:%Y-%m}."
            if day is not None
            else "Have finance open a period, then run it.",
            warning=True,
        )

    async def _send(
        self,
        erp: ErpProgressPort,
        progress: ContractProgress,
        command: SendProgress,
        project: str,
        known: int,
    ) -> ProgressSent:
        saga, key = command.saga, progress.contract_key
        context = self.context(saga, command.step, phase=Phase.AFTER_APPROVAL)
        values = {f"{project_symbol(key)}.id": project}
        if saga.plan:
            planned = progress.model_copy(update={"revision": known + 1})
            shown = await self.perform(erp, erp.plan_progress(context, planned), saga, values)
            return ProgressSent(
                **shown.model_dump(exclude={"note"}),
                state=SendState.SENT,
                revision=known + 1,
                findings=_said(progress),
                note=_to_date(progress.lines),
            )
        revision = await self.ledger.intend_progress(
            key, progress.period, progress.lines, saga_id=saga.saga_id
        )
        if revision is None:
            return ProgressSent(state=SendState.UNCHANGED, revision=known)
        revised = progress.model_copy(update={"revision": revision})
        done = await self.perform(erp, erp.plan_progress(context, revised), saga, values)
        await self.ledger.settle_progress(key, progress.period, revision)
        return ProgressSent(
            **done.model_dump(exclude={"note"}),
            state=SendState.SENT,
            revision=revision,
            findings=_said(progress),
            note=f"revision {revision}: {_to_date(progress.lines)}",
        )

    # --- reading back -------------------------------------------------------------------------------

    @activity.defn(name="revenue.read")
    @guarded
    async def read_revenue(self, command: ReadRevenue) -> RevenueRead:
        """Read recognised and deferred, compare, keep the row; sales is told of what is new."""
        row = await self._row(command.contract, command.last)
        erp = await self._erp(command.saga, command.system)
        links = await self.ledger.links_of(CONTRACT, command.contract, system=command.system)
        record = links[-1].record if links else None
        standing = await erp.revenue_standing(record.id) if record is not None else None
        figures, problems = await self._figures(row, standing, command.last)
        compared = differences(command.contract, figures, record)
        found = RevenueRow(
            contract_key=command.contract,
            name=str(row.terms.get("name") or command.contract),
            period=command.period,
            legal_entity=command.entity,
            erp=command.system,
            figures=figures,
            state=command.state,
            revision=command.revision,
            findings=(*command.findings, *problems),
            differences=compared,
            saga_id=command.saga.saga_id,
        )
        if not command.saga.plan:
            await self.ledger.put_revenue(found)
            await self._tell(command, record, standing)
        return _summed(found)

    async def _figures(
        self, row: ContractVersionRow, standing: RevenueStanding | None, last: date
    ) -> tuple[RevenueFigures, list[Finding]]:
        key, booked = row.contract_key, row.amount
        currency = booked.currency
        work = await self.ledger.delivered(key, last)
        bills = await self.ledger.billed_through(key, last)
        opening = (await self.ledger.openings([key])).get(key)
        # What was billed before us was delivered before us: nobody here knows more of it.
        before = opening.billed_to_date.minor if opening is not None else 0
        problems: list[Finding] = []
        odd = {*work.priced, *bills} - {currency}
        odd |= {opening.billed_to_date.currency} - {currency} if opening is not None and before else set()
        if standing is not None and standing.recognised.currency != currency:
            odd.add(standing.recognised.currency)
            standing = None
        if odd:
            problems.append(
                finding(
                    Cause.CURRENCY_NOT_IN_CONTRACT,
                    f"Contract {key} is in {currency}; amounts in {', '.join(sorted(odd))} are left out.",
                )
            )
        delivered = work.priced.get(currency, 0) + before
        return (
            RevenueFigures(
                booked=booked,
                delivered_minutes=work.minutes,
                delivered=Money.of_minor(delivered, currency) if _priced(row) else None,
                billed=Money.of_minor(bills.get(currency, 0) + before, currency),
                recognised=_plain(standing.recognised) if standing is not None else None,
                deferred=_plain(standing.deferred) if standing is not None else None,
            ),
            problems,
        )

    async def _tell(
        self, command: ReadRevenue, record: RecordRef | None, standing: RevenueStanding | None
    ) -> None:
        """The feedback saga of the contract takes the reading over and shows it, if it is news."""
        if record is None or standing is None:
            return
        digest, _ = await self.ledger.revenue_digest(command.contract)
        if digest == standing.digest:
            return
        event = f"revenue/{command.period}.{standing.digest[:12]}.rfu"
        handing = await self._handing()
        await handing.follow(command.system, {feedback_record(record.id, revenue=True): event})


def _readable(row: ContractVersionRow) -> Contract | Finding:
    """The terms, or what is wrong with them."""
    try:
        return terms_of(row)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        missing = where.endswith("revenue_method")
        return finding(
            Cause.REVENUE_METHOD_MISSING if missing else Cause.CHANGE_ORDER_INVALID,
            f"Terms of contract {row.contract_key}, version {row.version}, cannot be followed: {where}: "
            f"{first['msg']}.",
            field=where,
            at_stake=row.amount,
        )


def _priced(row: ContractVersionRow) -> bool:
    """Whether what is delivered has a price: nothing prices the work of a fixed schedule."""
    methods = {line.get("billing_method") for line in row.terms.get("lines", ())}
    return BillingMethod.FIXED_SCHEDULE.value not in methods


def _plain(money: Money) -> Money:
    return Money.of_minor(money.minor, money.currency)


def _no_project(contract: Contract, system: str) -> Finding:
    return finding(
        Cause.PROJECT_UNKNOWN,
        f"No project in {system} is known for contract {contract.key}.",
        remedy="Link it: `trueup adopt`.",
        at_stake=contract.amount,
    )


def _to_date(lines: Sequence[LineProgress]) -> str:
    """Inputs in a few words."""
    minutes = sum(line.minutes_to_date for line in lines)
    words = [f"{hours(minutes)} h to date"]
    rests = [line.minutes_to_complete for line in lines if line.minutes_to_complete is not None]
    words += [f"{hours(sum(rests))} h to complete"] if rests else []
    stones = sum(line.milestones for line in lines)
    reached = sum(line.milestones_reached for line in lines)
    words += [f"{reached} of {stones} milestones"] if stones else []
    words += [f"{line.percent} %" for line in lines if line.percent is not None]
    return ", ".join(words)


def _said(progress: ContractProgress) -> tuple[Finding, ...]:
    """That work of earlier periods is part of what is sent."""
    minutes = corrected(progress.lines)
    if not minutes:
        return ()
    return (
        finding(
            Cause.PERIOD_CLOSED,
            f"Inputs of {progress.contract_key} for {progress.period} bring {hours(minutes)} h of earlier "
            "periods along.",
            remedy="Nothing: sums to date are right, and earlier periods stay as they were told.",
            warning=True,
        ),
    )


def _summed(row: RevenueRow) -> RevenueRead:
    figures = row.figures
    tally = Tally(
        state=row.state.value, items=1, minutes=figures.delivered_minutes, amounts=(figures.booked,)
    )
    wrong = [one for one in row.differences if not one.kind.is_position]
    held: tuple[HeldItems, ...] = ()
    if row.state is SendState.HELD and row.findings:
        first = row.findings[0]
        held = (HeldItems(cause=first.cause, queue=first.queue, tally=tally),)
    told = f"{figures.recognised} recognised" if figures.recognised is not None else "no revenue plan"
    return RevenueRead(
        tallies=(tally,),
        held=held,
        differences=len(wrong),
        note=f"{told}, {figures.billed} billed of {figures.booked}",
    )
