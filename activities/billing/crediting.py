"""Credits of issued invoices: what is to be credited, its memo in the ERP, its proof (rules 16, 39)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from activities.billing.deciding import ANYBODY
from activities.billing.documents import read_document
from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.repricing import Repricing
from activities.billing.retaining import Retaining
from activities.contracts import InvoiceProof, MakeCredit, ProposedCredit, ShapeCredit, StepOutcome
from activities.effects import Effects
from activities.systems import Systems
from activities.writing import Writing, outcome_of
from canonical.authority import Phase
from canonical.causes import Cause, Queue
from canonical.erp_billing import Book, CreditDraft, CreditLine, posting_date
from canonical.failures import Finding, Refused, Transient
from canonical.invoicing import AdjustmentCause, CreditPart, CreditProposal, DocumentState
from canonical.items import ItemKind
from canonical.money import Money
from canonical.names import SagaName
from connectors.ports.billing import BillingPort
from ledger.billing_rows import DocumentLine, DocumentRow
from ledger.document_rows import Told
from rules.adjusting import BilledPart, chosen, credit_proposals, rate_credit
from rules.findings import finding
from rules.periods import of_entity
from rules.review import credit_approval

RATES = "backdated rates"


class Crediting(Writing):
    """Proposes, issues and proves credits. One per worker process."""

    def __init__(
        self,
        systems: Systems,
        effects: Effects,
        gathering: Gathering,
        drafting: Drafting,
        repricing: Repricing,
        retaining: Retaining,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(systems, effects)
        self.ledger = effects.ledger
        self.gathering = gathering
        self.drafting = drafting
        self.repricing = repricing
        self.retaining = retaining
        self._now = clock

    # --- proposal ---------------------------------------------------------------------------------------

    async def shape(self, command: ShapeCredit) -> ProposedCredit:
        """What of an invoice is to be credited: what was withdrawn since, or what somebody asks for. Asked
        again, the same proposal.

        Raises:
            Refused: a line that is asked for is not on the invoice, or is credited already.
        """
        begun = await self.drafting.begin(command.saga, SagaName.CREDIT_INVOICE, "")
        known = await self._open(command.invoice)
        if known is not None and known.proposal is not None:
            return self._shown(known.proposal, begun.generation, command)
        earlier = len(await self.ledger.documents(corrects=command.invoice))
        if command.rates or command.refund:
            of_part = (
                await self._at_lower_rates(command, earlier)
                if command.rates
                else await self.retaining.proposal(command.invoice, earlier)
            )
            if of_part is None:
                return ProposedCredit(generation=begun.generation)
            await self.ledger.propose_credit(of_part, saga_id=command.saga.saga_id)
            return self._shown(of_part, begun.generation, command)
        lines = await self._lines(command)
        if not lines:
            return ProposedCredit(generation=begun.generation)
        replaced = await self._replacements(lines)
        words = ", ".join(sorted({_cause(line).value.replace("_", " ") for line in lines}))
        (proposal,) = credit_proposals(
            [(_billed_part(line, command.invoice), _cause(line)) for line in lines],
            command.reason if command.requested else f"{words} after the invoice was issued",
            {command.invoice: earlier},
            rebill=replaced,
        )
        await self.ledger.propose_credit(proposal, saga_id=command.saga.saga_id)
        return self._shown(proposal, begun.generation, command)

    async def _lines(self, command: ShapeCredit) -> list[DocumentLine]:
        if not command.requested:
            return [
                line
                for line in await self.ledger.billed_lines(withdrawn=True)
                if line.allocation.document == command.invoice
            ]
        lines = {line.allocation.key: line for line in await self.ledger.document_lines(command.invoice)}
        unknown = [key for key in command.lines if key not in lines]
        if unknown:
            raise Refused(
                f"Invoice {command.invoice} has no line {', '.join(unknown)} that could be credited.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.BILLING,
                remedy="Name lines that are on the invoice and not credited yet.",
            )
        return [lines[key] for key in command.lines] if command.lines else list(lines.values())

    async def _at_lower_rates(self, command: ShapeCredit, earlier: int) -> CreditProposal | None:
        """What the invoice billed too much at the rates in force; None when that is settled."""
        lines = await self.ledger.document_lines(command.invoice)
        parts: list[CreditPart] = []
        for contract in sorted({line.item.contract_key for line in lines if line.item.contract_key}):
            parts += (await self.repricing.weighing.credited(contract)).get(command.invoice, [])
        return rate_credit(command.invoice, parts, command.reason or RATES, earlier) if parts else None

    async def _open(self, invoice: str) -> DocumentRow | None:
        states = [state for state in DocumentState if state.is_open]
        found = await self.ledger.documents(corrects=invoice, states=states)
        return found[0] if found else None

    async def _replacements(self, lines: Sequence[DocumentLine]) -> dict[str, tuple[str, Money | None]]:
        """By item, the revision that is billed instead and what it is worth."""
        rows = await self.ledger.items_of(sorted({line.item.source for line in lines}))
        return {row.replaces: (row.key, row.priced) for row in rows if row.replaces is not None}

    def _shown(self, proposal: CreditProposal, generation: int, command: ShapeCredit) -> ProposedCredit:
        policy = self.systems.firm.policies.billing.credit_approval or ANYBODY
        asked = command.requested or command.rates
        title = f"Credit of invoice {proposal.invoice_key}"
        figures = {
            "Invoice": proposal.invoice_key,
            "Reason": proposal.reason,
            "Credited": str(proposal.net),
            "Lines": str(len(proposal.parts)),
            "Billed again": str(proposal.rebill_amount) if proposal.rebill_amount else "nothing",
        }
        return ProposedCredit(
            generation=generation,
            credit=proposal.key,
            title=title,
            lines=len(proposal.parts),
            net=proposal.net,
            review=credit_approval(
                policy,
                step="gate.credit",
                title=title,
                net=proposal.net,
                figures=figures,
                # Who started the posting run that found it has not asked for the credit.
                requester=command.saga.actor.name if asked and policy.roles else None,
                choices=not (command.rates or command.refund),
            ),
        )

    # --- credit memo ------------------------------------------------------------------------------------

    async def credit(self, command: MakeCredit) -> StepOutcome:
        """Credit the invoice's lines in an open period, at the invoice's rate."""
        port = await self._port(command)
        row = await self._row(command.credit)
        assert row.proposal is not None
        proposal = chosen(row.proposal, command.freed)
        row = await self._approve(proposal)
        draft = await self._draft(port, row, proposal)
        context = self.context(command.saga, command.step, phase=Phase.AFTER_APPROVAL)
        writes = port.plan_credit(context, draft)
        return outcome_of(await self.send(port, writes, command.saga, command.values))

    async def _approve(self, proposal: CreditProposal) -> DocumentRow:
        async def both() -> DocumentRow:
            if proposal.cause is AdjustmentCause.RETAINER_ENDED:
                await self.retaining.reserve(proposal)
            return await self.ledger.approve_credit(proposal)

        row: DocumentRow = await self.ledger.together(both)
        return row

    async def _draft(self, port: BillingPort, row: DocumentRow, proposal: CreditProposal) -> CreditDraft:
        invoice = await self.ledger.document(proposal.invoice_key)
        if invoice is None or invoice.record_id is None:
            raise Refused(
                f"Invoice {proposal.invoice_key} has no record in {port.system}.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.BILLING,
                system=port.system,
            )
        reading = await port.read_billed(invoice.record_id)
        today = self._now().date()
        periods = of_entity(await port.accounting_periods(), row.legal_entity)
        on = posting_date(periods, today, Book.RECEIVABLES)
        if on is None:
            raise Refused(
                f"No period of {row.legal_entity} from {today.isoformat()} on is open for receivables.",
                cause=Cause.PERIOD_CLOSED,
                queue=Queue.BILLING,
                system=port.system,
                remedy="Open a period in the ERP, then retry.",
            )
        document = await read_document(self.ledger, self.gathering, proposal.invoice_key)
        lines = {line.allocation_key: line for line in document.plan().lines} if document else {}
        paid = reading.invoice is not None and reading.invoice.balance.amount < proposal.net.amount
        return CreditDraft(
            key=proposal.key,
            invoice=invoice.record_id,
            on=on,
            reason=proposal.reason,
            lines=tuple(
                CreditLine(
                    key=f"{proposal.key}#{number}",
                    invoice_line=part.allocation_key,
                    description=lines[part.allocation_key].description
                    if part.allocation_key in lines
                    else proposal.reason,
                    item=lines[part.allocation_key].standalone_item if part.allocation_key in lines else "",
                    amount=part.billed,
                )
                for number, part in enumerate(proposal.parts, 1)
            ),
            exchange_rate=reading.exchange_rate,
            apply=not paid,
        )

    async def prove(self, command: MakeCredit) -> InvoiceProof:
        """Read the credit back; when it is what we sent, its parts go where the approver said."""
        port = await self._port(command)
        row = await self._row(command.credit)
        assert row.proposal is not None
        reading = await port.read_credit(_record_id(command))
        if reading is None:
            raise Transient(f"{port.system} does not show credit {command.credit} yet.", system=port.system)
        credit, wanted = reading.credit, row.proposal.net
        differences: tuple[Finding, ...] = ()
        if (credit.net.currency, credit.net.minor) != (wanted.currency, wanted.minor):
            differences = (
                finding(
                    Cause.NET_DIFFERS,
                    f"Credit {command.credit}: net is {credit.net} in {port.system}, proposed was {wanted}.",
                    record=credit.ref,
                    field="net",
                    at_stake=wanted,
                ),
            )
        else:
            told = Told(
                record=credit.ref,
                number=credit.number,
                net=credit.net,
                gross=credit.gross,
                issued_on=credit.issued_on,
            )
            await self.ledger.issue_credit(command.credit, told)
        return InvoiceProof(
            record=credit.ref,
            number=credit.number,
            net=credit.net,
            gross=credit.gross,
            differences=differences,
        )

    async def keep_invoice(self, credit: str, reason: str) -> None:
        """The invoice stands: the credit is off, replacements of its lines are covered by what is billed."""
        row = await self.ledger.document(credit)
        if row is None or row.proposal is None or not row.state.is_open:
            return
        proposal = row.proposal

        async def both() -> None:
            await self.ledger.abandon_document(credit, reason)
            if proposal.cause is AdjustmentCause.RETAINER_ENDED:
                await self.retaining.take_back(proposal)

        await self.ledger.together(both)
        if row.proposal.rebill:
            await self.ledger.keep_billed(row.proposal.rebill, row.proposal.invoice_key, reason)

    async def _row(self, key: str) -> DocumentRow:
        row = await self.ledger.document(key)
        if row is None or row.proposal is None:
            raise Refused(f"There is no credit {key} in the ledger.", cause=Cause.RECORD_VANISHED)
        return row

    async def _port(self, command: MakeCredit) -> BillingPort:
        return await self.systems.billing(command.system, self.digest(command.saga, command.system))


def _record_id(command: MakeCredit) -> str:
    """The credit memo's id, among the values that its write brought."""
    for name, value in command.values.items():
        if name == f"credit:{command.credit}.id":
            return value
    raise Refused(f"No value names the record of credit {command.credit}.", cause=Cause.RECORD_VANISHED)


def _billed_part(line: DocumentLine, invoice: str) -> BilledPart:
    return BilledPart(
        allocation_key=line.allocation.key,
        item_key=line.item.key,
        part=line.allocation.part,
        minutes=line.allocation.minutes,
        amount=line.allocation.amount,
        billed=line.billed,
        invoice_key=invoice,
    )


def _cause(line: DocumentLine) -> AdjustmentCause:
    known = {cause.value for cause in AdjustmentCause}
    word = line.item.withdrawn
    if word is None and line.item.hold is not None and line.item.kind is ItemKind.MILESTONE:
        return AdjustmentCause.MILESTONE_REOPENED
    return AdjustmentCause(word) if word in known else AdjustmentCause.REQUESTED
