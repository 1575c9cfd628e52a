"""Reading an invoice or a contract's revenue again, judging the reading, taking it over (rule 40)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from activities.beginning import begin
from activities.contracts import ReadSubject, SubjectRead
from activities.feedback.reaching import Reaching, targets_of
from activities.systems import Systems
from canonical.erp_billing import InvoiceState
from canonical.feedback import Held, InvoiceStanding, InvoiceStatus, Reach, Share, Target
from canonical.money import Money
from canonical.names import SagaName, event_moment, feedback_subject, inbox_row
from connectors.ports.feedback import FeedbackPort
from ledger.feedback import ErpInvoiceRow, NewStanding
from ledger.store import Ledger
from rules.feedback import (
    Reading,
    Verdict,
    contract_finder,
    judge,
    next_turn,
    reading,
    shares_of,
    status_of,
)

BRIEFLY = 1.0
"""Seconds before another look where the vendor's search does not lag."""


class FeedbackReading:
    """Reads one ERP record at a time."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self._systems = systems
        self._ledger = ledger
        self._reaching = Reaching(systems, ledger)

    async def read(self, command: ReadSubject) -> SubjectRead:
        """Read a record, and take over what it says if that counts."""
        saga = command.saga
        port = await self._systems.feedback(command.system, saga.mapping.get(command.system, ""))
        record, revenue = feedback_subject(command.record)
        if revenue:
            return await self._revenue(port, command, record)
        return await self._invoice(port, command, record)

    # --- invoices -----------------------------------------------------------------------------------

    async def _invoice(self, port: FeedbackPort, command: ReadSubject, record: str) -> SubjectRead:
        last = await self._ledger.erp_invoice(command.system, record)
        standing = await port.invoice_standing(record)
        if standing.foreign:
            return SubjectRead(note=f"invoice {record} is of a seller that is not ours", known=False)
        status = status_of(standing)
        if last is None and standing.state is InvoiceState.ABSENT:
            return SubjectRead(note=f"{command.system} has no invoice {record}", known=False, absent=True)
        if last is None and status in (InvoiceStatus.DRAFT, InvoiceStatus.VOIDED):
            return SubjectRead(note=f"invoice {record} is {status.value}: nobody was told of it")
        verdict = judge(_known(last), reading(standing), command.confirming)
        if verdict in (Verdict.CONFIRM, Verdict.OLDER):
            return SubjectRead(
                note=f"{_name(standing, last)}: read again, {_WHY[verdict]}",
                digest=standing.digest,
                again_after=max(port.settles_after, BRIEFLY),
                settled=False,
            )
        shares, reaches = await self._split(standing, command.system)
        targets = targets_of(reaches)
        if command.saga.plan:
            return self._planned(standing, status, shares, reaches, targets)
        await begin(self._ledger, command.saga, SagaName.INVOICE_FEEDBACK.value, command.reason, again=True)
        before = await self._subjects(standing)
        new = NewStanding(
            standing=standing,
            status=status,
            region=command.saga.region,
            saga_id=command.saga.saga_id,
            shares=tuple(shares),
            reaches=tuple(reaches),
            targets=targets,
            source_at=await self._happened(command, last.read_at if last is not None else None),
            judged_against=last.digest if last is not None else None,
        )
        row = await self._ledger.apply_standing(new)
        if row.digest != standing.digest:
            return SubjectRead(
                note=f"{_name(standing, last)}: somebody else read it meanwhile",
                again_after=BRIEFLY,
                settled=False,
            )
        subjects = {*before, *(target.subject for target in targets)}
        if not subjects - {""} and not targets:
            # It is kept all the same, so that a scan need not read it again.
            return SubjectRead(note=f"{_name(standing, last)} belongs to no deal of ours", known=False)
        return SubjectRead(
            note=_said(standing, row.number or record, status),
            digest=standing.digest,
            targets=await self._behind(subjects, everything=command.turn),
            next_turn=self._turn(standing),
            settled=standing.settled,
        )

    def _planned(
        self,
        standing: InvoiceStanding,
        status: InvoiceStatus,
        shares: Sequence[Share],
        reaches: Sequence[Reach],
        targets: tuple[Target, ...],
    ) -> SubjectRead:
        """What would be taken over; nothing is kept."""
        rates = {reach.contract_key: reach.rates for reach in reaches}
        invoice = standing.invoice
        held = [
            Held(
                invoice=str(standing.ref),
                number=invoice.number,
                status=status,
                disputed=standing.disputed,
                issued_on=invoice.issued_on,
                due_on=invoice.due_on,
                seller=invoice.seller,
                share=share,
                rates=rates[share.contract_key],
            )
            for share in shares
            if invoice is not None and share.contract_key in rates
        ]
        number = invoice.number if invoice is not None else standing.ref.id
        return SubjectRead(
            note=_said(standing, number, status),
            digest=standing.digest,
            targets=targets,
            held=tuple(held),
        )

    async def _split(self, standing: InvoiceStanding, system: str) -> tuple[list[Share], list[Reach]]:
        lines = [*standing.lines, *(part for one in standing.applications for part in one.parts)]
        projects = {line.project for line in lines if line.project}
        found = contract_finder({}, await self._reaching.contracts_of("project", system, projects))
        shares = shares_of(standing, found)
        keys = [share.contract_key for share in shares if share.contract_key]
        return shares, [await self._reaching.reach(key, standing.base_rate) for key in keys]

    async def _subjects(self, standing: InvoiceStanding) -> set[str]:
        """Whose figures the invoice was part of until now."""
        rows = await self._ledger.shares_of(standing.ref)
        return {name for share, *names in rows for name in (share.contract_key, *names) if name}

    async def _behind(self, subjects: Iterable[str], *, everything: bool) -> tuple[Target, ...]:
        rows = await self._ledger.targets_of(subjects)
        return tuple(row.target for row in rows if everything or row.stale)

    def _turn(self, standing: InvoiceStanding) -> datetime | None:
        invoice = standing.invoice
        if invoice is None or standing.state is not InvoiceState.POSTED or not invoice.balance.amount:
            return None
        entity = self._systems.firm.entity(invoice.seller)
        return next_turn(invoice.due_on, entity.timezone if entity else "UTC", datetime.now(UTC))

    # --- revenue ------------------------------------------------------------------------------------

    async def _revenue(self, port: FeedbackPort, command: ReadSubject, record: str) -> SubjectRead:
        contracts = await self._reaching.contracts_of("contract", command.system, [record])
        if record not in contracts:
            return SubjectRead(note=f"{command.system}/{record} is no contract of ours", known=False)
        standing = await port.revenue_standing(record)
        if standing is None:
            return SubjectRead(note=f"nothing is to be recognised on {record}")
        contract = contracts[record]
        digest, modified = await self._ledger.revenue_digest(contract)
        known = None if digest is None else Reading(modified_at=modified, digest=digest)
        seen = Reading(modified_at=standing.modified_at, digest=standing.digest)
        verdict = judge(known, seen, command.confirming)
        if verdict in (Verdict.CONFIRM, Verdict.OLDER):
            return SubjectRead(
                note=f"revenue of {contract}: read again, {_WHY[verdict]}",
                digest=standing.digest,
                again_after=max(port.settles_after, BRIEFLY),
                settled=False,
            )
        reach = await self._reaching.reach(contract)
        targets = targets_of([reach])
        said = f"{standing.recognised} recognised, {standing.deferred} to come on {contract}"
        if command.saga.plan:
            return SubjectRead(note=said, digest=standing.digest, targets=targets)
        await begin(self._ledger, command.saga, SagaName.INVOICE_FEEDBACK.value, command.reason, again=True)
        await self._ledger.apply_revenue(
            reach,
            standing,
            targets,
            region=command.saga.region,
            saga_id=command.saga.saga_id,
            source_at=await self._happened(command, None),
        )
        behind = await self._behind({target.subject for target in targets}, everything=command.turn)
        return SubjectRead(note=said, digest=standing.digest, targets=behind)

    async def _happened(self, command: ReadSubject, last: datetime | None) -> datetime | None:
        """When what is told of happened in the ERP, as far as events tell: the first since the last reading.

        Polls tell again of what they read before; that is not what is new.
        """
        polled = [moment for one in command.events if (moment := event_moment(one)) is not None]
        received = [row for one in command.events if (row := inbox_row(one)) is not None]
        moments = [*polled, *(await self._ledger.event_times(received)).values()]
        new = [one for one in moments if last is None or one > last]
        return min(new) if new else max(moments, default=None)


_WHY = {
    Verdict.CONFIRM: "to be certain: it changed without its change stamp, or the search is behind",
    Verdict.OLDER: "it was older than what was read before",
}


def _known(last: ErpInvoiceRow | None) -> Reading | None:
    if last is None:
        return None
    return reading(last.standing).model_copy(
        update={"modified_at": last.modified_at, "digest": last.digest, "complete": True}
    )


def _name(standing: InvoiceStanding, last: ErpInvoiceRow | None) -> str:
    number = standing.invoice.number if standing.invoice is not None else last.number if last else None
    return f"invoice {number or standing.ref.id}"


def _said(standing: InvoiceStanding, number: str, status: InvoiceStatus) -> str:
    words = f"{number}: {status.value}"
    balance: Money | None = standing.invoice.balance if standing.invoice is not None else None
    if balance is not None and balance.amount:
        words += f", {balance} open"
    return words + (", disputed" if standing.disputed else "")
