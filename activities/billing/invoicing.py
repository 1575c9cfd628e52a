"""Invoices in the ERP: draft, issue, proof. An accepted write is no proof: the ledger follows what is read.

``Writing`` carries the writes: intent, look, send, verify, record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from activities.billing.documents import Document, invoice_draft, read_document
from activities.billing.gathering import Gathering
from activities.billing.retaining import lot_of
from activities.contracts import InvoiceProof, MakeInvoice, StepOutcome
from activities.effects import Effects
from activities.systems import Systems
from activities.writing import Writing, outcome_of
from canonical.authority import Phase
from canonical.causes import Cause, Queue
from canonical.erp_billing import BillingOwner, InvoiceDraft, InvoiceReading, InvoiceState
from canonical.failures import Finding, Refused, SystemFailure, Transient
from canonical.invoicing import DocumentState
from canonical.operations import ErpClient, WriteContext
from canonical.parties import Address, Client, PartyRole, TaxRegistration
from canonical.refs import RecordRef
from canonical.retainers import Movement
from connectors.ports.billing import BillingPort
from ledger.document_rows import Told
from rules.retainers import advance
from rules.tax import net_differences, tax_inputs


class Invoicing(Writing):
    """Makes invoices. One per worker process."""

    def __init__(
        self,
        systems: Systems,
        effects: Effects,
        gathering: Gathering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(systems, effects)
        self.ledger = effects.ledger
        self.gathering = gathering
        self._now = clock

    # --- draft ------------------------------------------------------------------------------------------

    async def draft(self, command: MakeInvoice) -> StepOutcome:
        """The draft in the ERP with exactly the ledger's lines, read back; asked again, it is changed.

        Raises:
            Refused: a tax input is missing, or the ERP's net is not ours.
        """
        port = await self._port(command)
        document = await self._document(command.invoice)
        await self._check_tax_inputs(command, document)
        draft = await invoice_draft(self.ledger, port, document, self._owner(document))
        writes = port.plan_invoice(self._context(command), draft)
        if command.saga.plan:
            return await self.perform(port, writes, command.saga, command.values)
        done = outcome_of(await self.send(port, writes, command.saga, command.values))
        await self._record(port, document, draft, {**command.values, **done.values})
        return done

    async def _record(
        self, port: BillingPort, document: Document, draft: InvoiceDraft, values: dict[str, str]
    ) -> None:
        reading = await port.invoice_state(draft, values)
        if reading.state is InvoiceState.PENDING:
            raise Transient(f"{port.system} is still making invoice {draft.key}.", system=port.system)
        if reading.state is not InvoiceState.DRAFTED:
            # Posted by being made, or only released to the ERP's own run: there is no draft to compare.
            await self.ledger.record_draft(draft.key, document.row.version, None)
            return
        differences = tuple(net_differences(document.plan(), reading))
        if differences:
            first = differences[0]
            raise Refused(
                "; ".join(one.message for one in differences),
                cause=Cause.NET_DIFFERS,
                queue=Queue.BILLING,
                system=port.system,
                record=first.record,
                remedy=first.remedy,
                maybe_landed=True,
            )
        await self.ledger.record_draft(draft.key, document.row.version, _told(reading))

    async def _check_tax_inputs(self, command: MakeInvoice, document: Document) -> None:
        """What the ERP needs to determine tax, before anything is asked of it (rule 38)."""
        findings: list[Finding] = []
        erp = await self.systems.erp(command.system, self.digest(command.saga, command.system))
        for contract in document.terms:
            key = contract.parties.get(PartyRole.BILL_TO, "")
            seller = self.systems.firm.entity(contract.legal_entity)
            links = await self.ledger.links_of("client", key, system=command.system)
            if not links or seller is None:
                continue  # whom to bill, and for whom, is the draft's own question
            client = await erp.read_client(links[0].record.id)
            if client is not None:
                findings += tax_inputs(contract, _client(key, client), seller)
        if findings:
            raise Refused(
                "; ".join(dict.fromkeys(one.message for one in findings)),
                cause=findings[0].cause,
                queue=findings[0].queue,
                system=command.system,
                record=findings[0].record,
                remedy=findings[0].remedy,
                findings=tuple(findings),
            )

    # --- issue ------------------------------------------------------------------------------------------

    async def issue(self, command: MakeInvoice) -> StepOutcome:
        """Issue it: the pivot of this invoice. Lines withdrawn since the review leave the draft first.

        Raises:
            Refused: the ERP says no; the draft is a draft again.
        """
        port = await self._port(command)
        await self.ledger.drop_withdrawn(command.invoice)
        document = await self._document(command.invoice)
        values = dict(command.values)
        if not document.row.in_step and document.row.state is not DocumentState.RELEASED:
            if port.billing.drafts:
                values |= (await self.draft(command)).values
            else:
                await self.ledger.record_draft(command.invoice, document.row.version, None)
            document = await self._document(command.invoice)
        await self.ledger.release_document(command.invoice, document.row.version)
        draft = await invoice_draft(self.ledger, port, document, self._owner(document))
        context = self._context(command)
        writes = port.plan_issue(context, draft)
        if not port.billing.drafts:
            writes = [*port.plan_invoice(context, draft), *writes]
        try:
            return outcome_of(await self.send(port, writes, command.saga, values))
        except SystemFailure as error:
            if not error.failure.maybe_landed:
                await self.ledger.hold_release(command.invoice)
            raise

    async def prove(self, command: MakeInvoice) -> InvoiceProof:
        """Read the posted invoice back; when it is what we sent, its items are billed.

        Raises:
            Transient: it is not posted yet.
            Refused: somebody in the ERP rejected or removed it.
        """
        port = await self._port(command)
        document = await self._document(command.invoice)
        draft = await invoice_draft(self.ledger, port, document, self._owner(document))
        reading = await port.invoice_state(draft, command.values)
        if reading.state in (InvoiceState.PENDING, InvoiceState.DRAFTED):
            raise Transient(
                f"{port.system} has not posted invoice {command.invoice} yet"
                f"{': ' + reading.reason if reading.reason else ''}.",
                system=port.system,
            )
        if reading.invoice is None or reading.state is not InvoiceState.POSTED:
            raise Refused(
                f"Invoice {command.invoice} is {reading.state.value} in {port.system}: "
                f"{reading.reason or 'nobody says why'}.",
                cause=Cause.VENDOR_REFUSED,
                queue=Queue.BILLING,
                system=port.system,
                record=reading.invoice.ref if reading.invoice else None,
                remedy="Settle it with whoever rejected it and approve it in the ERP; then retry.",
                maybe_landed=True,
            )
        told = _told(reading)
        differences = tuple(net_differences(document.plan(), reading))
        if not differences:
            await self.ledger.issue_document(command.invoice, told, movements=list(_advances(document)))
        return InvoiceProof(
            record=told.record,
            number=told.number or told.record.id,
            net=told.net,
            gross=told.gross or told.net,
            differences=differences,
        )

    # --- parts ------------------------------------------------------------------------------------------

    async def _port(self, command: MakeInvoice) -> BillingPort:
        return await self.systems.billing(command.system, self.digest(command.saga, command.system))

    def _context(self, command: MakeInvoice) -> WriteContext:
        return self.context(command.saga, command.step, phase=Phase.AFTER_APPROVAL)

    async def _document(self, key: str) -> Document:
        document = await read_document(self.ledger, self.gathering, key)
        if document is None or not document.lines:
            raise Refused(
                f"Invoice {key} has no line left.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.BILLING,
                remedy="Everything on it was withdrawn: undo it, there is nothing to bill.",
            )
        return document

    def _owner(self, document: Document) -> BillingOwner:
        for route in self.systems.firm.routes:
            if route.erp == document.row.target:
                return route.billing_owner
        raise Refused(f"No route leads to {document.row.target}.", cause=Cause.CONFIGURATION)


def _told(reading: InvoiceReading) -> Told:
    invoice = reading.invoice
    assert invoice is not None
    return Told(
        record=RecordRef(
            system=invoice.ref.system, type=invoice.ref.type, id=invoice.ref.id, url=invoice.ref.url
        ),
        number=invoice.number,
        net=invoice.net,
        tax=invoice.gross - invoice.net,
        gross=invoice.gross,
        issued_on=invoice.issued_on,
    )


def _advances(document: Document) -> Iterator[Movement]:
    """What this invoice bills of retainers in advance: lots to draw from (rule 32)."""
    for line in document.lines:
        found = lot_of(line)
        if found is not None:
            yield advance(*found, line.item.work_date, line.allocation.amount, document.row.key)


def _client(key: str, found: ErpClient) -> Client:
    """What tax depends on of the client, as the ERP has it."""
    return Client(
        key=key,
        name=found.name,
        ref=found.ref,
        address=Address(country=found.country, city=found.city),
        tax_registrations=tuple(
            TaxRegistration(country=found.country or "", number=number) for number in found.tax_numbers
        ),
    )
