"""Closings over the ledger: what is to be closed, what stands in the way, what was before (rule 45)."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import activity

from activities.beginning import begin
from activities.billing.gathering import DELIVERY, PROJECT
from activities.contracts import (
    AgreeClosing,
    AgreeReopening,
    CloseActivities,
    ClosingSubject,
    DeliveryToClose,
    JudgeClosing,
    JudgedClosing,
    ReadClosing,
    ReadLedgerFacts,
    ReadReopening,
    ReopeningSubject,
    StepOutcome,
)
from activities.failures import guarded
from activities.feedback.reaching import Reaching
from activities.systems import Systems
from canonical.causes import Cause
from canonical.change_orders import ChangeOrderState
from canonical.engagement import Contract
from canonical.failures import Failure, FailureKind
from canonical.items import ItemKind
from canonical.money import Money
from canonical.names import PLAN_PREFIX, SagaName, project_key, saga_parts, step_key
from canonical.project_closing import Former, KnownInvoice, LedgerReading
from canonical.refs import RecordRef
from canonical.saga import SagaStatus
from ledger.billing_rows import DocumentRow
from ledger.feedback import ErpInvoiceRow
from ledger.project_closings import issued_invoices, open_documents
from ledger.rows import ContractVersionRow, EffectState, LinkRow
from ledger.store import Ledger
from rules.causes import CATALOGUE
from rules.project_closing import (
    Billed,
    ClosingReadings,
    closing_facts,
    closing_gate,
    events_open,
    in_the_way,
    uncovered,
)

ORDER = "contract"
"""Kind of the link between a contract and its record in the ERP."""


class CloseActivitiesOver(CloseActivities):
    """The rules over the ledger."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger
        self.reaching = Reaching(systems, ledger)

    # --- what is to be closed ---------------------------------------------------------------------------

    @activity.defn(name="close.subject")
    @guarded
    async def subject(self, command: ReadClosing) -> ClosingSubject:
        """The contract's records; or why it is not closed: it is already, it never was active, it changes."""
        generation, saga, key = 1, command.saga, command.contract
        if not saga.plan:
            begun = await begin(self.ledger, saga, SagaName.CLOSE_PROJECT.value, command.reason)
            generation = begun.generation
        own = saga.saga_id.removeprefix(PLAN_PREFIX)
        last = await self.ledger.project_closing(key)
        if last is not None and last.in_force and last.saga_id != own:
            said = f"{key} was closed on {last.closed_at:%Y-%m-%d}: `trueup reopen-project {key}` opens it."
            return ClosingSubject(generation=generation, said=said)
        version = await self.ledger.contract_version(key)
        project = await self._link(PROJECT, key)
        refusal = await self._refusal(key, version, project)
        if refusal is not None:
            return ClosingSubject(generation=generation, failure=refusal)
        assert version is not None
        assert project is not None
        contract = Contract.model_validate(version.terms)
        reach = await self.reaching.reach(key)
        return ClosingSubject(
            generation=generation,
            agreed=last is not None and last.in_force,
            name=contract.name,
            worth=contract.amount,
            deal=reach.deal,
            project=project.record,
            order=order.record if (order := await self._link(ORDER, key)) is not None else None,
            deliveries=tuple(await self._deliveries(contract)),
        )

    async def _refusal(
        self, key: str, version: ContractVersionRow | None, project: LinkRow | None
    ) -> Failure | None:
        if version is None or project is None:
            return _refused(Cause.CONTRACT_UNKNOWN, f"Contract {key}: no project of it is known.")
        try:
            name = saga_parts((await self.ledger.contract_versions(key))[0].saga_id)[0]
        except ValueError:
            name = None
        if name is SagaName.OPPORTUNITY_TO_PROJECT:
            first = (await self.ledger.contract_versions(key))[0].saga_id
            maker = await self.ledger.saga(first)
            if maker is not None and maker.status is not SagaStatus.COMPLETE:
                said = f"Contract {key} was never activated: {first} is {maker.status.value}."
                return _refused(Cause.CLOSE_BLOCKED, said, f"Look at it first: `trueup show {first}`.")
        orders = await self._open_orders(key)
        if orders:
            said = f"Contract {key} is being changed: {', '.join(orders)}."
            remedy = f"Decide or withdraw it first: `trueup change-orders list --contract {key}`."
            return _refused(Cause.CLOSE_BLOCKED, said, remedy)
        return None

    async def _open_orders(self, key: str) -> list[str]:
        states = [state for state in ChangeOrderState if state.is_open]
        return [row.order.key for row in await self.ledger.change_orders(key, states=states)]

    async def _link(self, kind: str, key: str) -> LinkRow | None:
        links = await self.ledger.links_of(kind, key)
        return links[-1] if links else None

    async def _deliveries(self, contract: Contract) -> list[DeliveryToClose]:
        keys = dict.fromkeys(
            project_key(contract.key, line.delivery_region, line.service_code) for line in contract.lines
        )
        return [
            DeliveryToClose(
                system=link.record.system,
                delivery_key=key,
                project=link.record.model_copy(update={"url": None}),
            )
            for key in keys
            for link in await self.ledger.links_of(DELIVERY, key)
        ]

    # --- facts ------------------------------------------------------------------------------------------

    @activity.defn(name="close.ledger_facts")
    @guarded
    async def ledger_facts(self, command: ReadLedgerFacts) -> LedgerReading:
        """Items, documents, retainers, change orders, sagas and invoices of the contract."""
        key = command.contract
        version = await self.ledger.contract_version(key)
        assert version is not None
        contract = Contract.model_validate(version.terms)
        own = {one.project.id for one in command.deliveries}
        groups = await self.ledger.unbilled_groups(contract_key=key)
        groups += [
            one
            for one in await self.ledger.unbilled_groups(unplaced=True)
            if one.contract_key is None and one.project in own
        ]
        documents = await self.ledger.contract_documents(key)
        return LedgerReading(
            groups=tuple(groups),
            in_flight=tuple(await self.ledger.in_flight(contract_key=key)),
            corrections=await self.ledger.contract_corrections(key),
            documents=open_documents(documents),
            events=tuple(events_open(contract, await self._billed(key), await self.ledger.opening(key))),
            retainers=tuple(await self.ledger.contract_retainers(key)),
            change_orders=tuple(await self._open_orders(key)),
            sagas=tuple(await self._sagas(command, contract)),
            invoices=await self._invoices(contract, issued_invoices(documents)),
        )

    async def _billed(self, key: str) -> Billed:
        kinds = [ItemKind.MILESTONE, ItemKind.SCHEDULE_DATE, ItemKind.PROGRESS_PERIOD]
        sources: set[str] = set()
        progress: dict[str, Money] = {}
        after: int | None = 0
        while after is not None:
            page = await self.ledger.items(contract_key=key, kinds=kinds, after=after, limit=1_000)
            for item in page.rows:
                sources.add(item.source)
                if item.kind is ItemKind.PROGRESS_PERIOD and item.line_key and item.priced is not None:
                    known = progress.get(item.line_key)
                    progress[item.line_key] = item.priced if known is None else known + item.priced
            after = page.cursor
        return Billed(frozenset(sources), progress)

    async def _sagas(self, command: ReadLedgerFacts, contract: Contract) -> list[str]:
        deal = command.deal
        erp, own = contract.erp, command.saga.saga_id.removeprefix(PLAN_PREFIX)
        exact = {f"{erp}/{contract.key}"} | ({f"{deal.system}/{deal.id}"} if deal is not None else set())
        found = await self.ledger.sagas_under_way(exact, [f"{erp}/{contract.key}."], but=own)
        # The saga that takes a contract's change orders one by one only waits once all of them are decided.
        return [one for one in found if saga_parts(one)[0] is not SagaName.CONTRACT_CHANGES]

    async def _invoices(self, contract: Contract, issued: Sequence[DocumentRow]) -> tuple[KnownInvoice, ...]:
        rows = await self.ledger.erp_invoices(contract_key=contract.key)
        read = {row.ref.id: row for row in rows if row.standing.invoice is not None}
        found = [_known(row, contract.currency) for row in read.values()]
        found += [
            KnownInvoice(
                ref=RecordRef(system=row.target, type="invoice", id=row.record_id or ""),
                number=row.number,
                currency=row.net.currency,
            )
            for row in issued
            if row.record_id not in read
        ]
        return tuple(sorted(found, key=lambda one: str(one.ref)))

    @activity.defn(name="close.judge")
    @guarded
    async def judge(self, command: JudgeClosing) -> JudgedClosing:
        """Every fact that stands in the way, and what is asked about those that nobody has let pass."""
        facts = closing_facts(
            ClosingReadings(
                contract=command.contract,
                ledger=command.ledger,
                deliveries=command.deliveries,
                erp=command.erp,
                saga=command.saga.saga_id,
            )
        )
        left = uncovered(facts, command.waived)
        if not left:
            return JudgedClosing(facts=facts)
        gate = closing_gate(
            command.name,
            left,
            self.systems.firm.policies.project_close,
            requester=command.saga.actor.name,
            unexplained=command.unexplained,
        )
        return JudgedClosing(facts=facts, gate=gate, failure=in_the_way(left))

    # --- agreed -----------------------------------------------------------------------------------------

    @activity.defn(name="close.agree")
    @guarded
    async def agree(self, command: AgreeClosing) -> StepOutcome:
        """Closed from here on, with what was there before; refused while a change order is open."""
        saga = command.saga
        if saga.plan:
            return StepOutcome()
        former: list[Former] = []
        for step, of in command.steps.items():
            page = await self.ledger.effects(
                step_key=step_key(saga.saga_id, saga.generation, step), states=[EffectState.DONE]
            )
            former += [
                Former(
                    system=row.system,
                    operation=row.operation,
                    record=row.record,
                    key=of,
                    title=row.title,
                    values=row.before,
                )
                for row in page.rows
                if row.record is not None and row.before
            ]
        closing = await self.ledger.agree_closing(
            command.contract,
            command.number,
            project_code=command.project_code,
            region=saga.region,
            saga_id=saga.saga_id,
            former=former,
            deal=command.deal,
            waived=command.waived,
            decider=command.decider,
            reason=command.reason,
            actor=saga.actor,
            trace=saga.trace_id,
        )
        return StepOutcome(note=f"closing {closing.number} of {closing.contract_key}")

    # --- opened again -----------------------------------------------------------------------------------

    @activity.defn(name="close.reopening")
    @guarded
    async def reopening(self, command: ReadReopening) -> ReopeningSubject:
        """What the closing changed; or why nothing is opened."""
        generation, saga, key = 1, command.saga, command.contract
        if not saga.plan:
            begun = await begin(self.ledger, saga, SagaName.REOPEN_PROJECT.value, command.reason)
            generation = begun.generation
        row = await self.ledger.project_closing(key, number=command.number)
        if row is None:
            return ReopeningSubject(
                generation=generation,
                failure=_refused(Cause.CONTRACT_UNKNOWN, f"Contract {key} was never closed here."),
            )
        own = saga.saga_id.removeprefix(PLAN_PREFIX)
        if not row.in_force and row.reopen_saga_id != own:
            return ReopeningSubject(generation=generation, said=f"{key} is open: it was re-opened before.")
        closing = await self.ledger.saga(row.saga_id)
        if closing is not None and not closing.status.is_final:
            said = f"The closing of {key} has not ended: {row.saga_id} is {closing.status.value}."
            failure = _refused(Cause.CLOSE_BLOCKED, said, f"Let it end first: `trueup show {row.saga_id}`.")
            return ReopeningSubject(generation=generation, failure=failure)
        version = await self.ledger.contract_version(key)
        return ReopeningSubject(
            generation=generation,
            agreed=not row.in_force,
            name=Contract.model_validate(version.terms).name if version is not None else key,
            project_code=row.project_code,
            former=row.former,
            deal=row.deal,
        )

    @activity.defn(name="close.reopen")
    @guarded
    async def reopen(self, command: AgreeReopening) -> StepOutcome:
        """Open from here on."""
        saga = command.saga
        if saga.plan:
            return StepOutcome()
        await self.ledger.agree_reopening(
            command.contract,
            command.number,
            saga_id=saga.saga_id,
            reason=command.reason,
            actor=saga.actor,
            trace=saga.trace_id,
        )
        return StepOutcome(note=command.reason)


def _known(row: ErpInvoiceRow, currency: str) -> KnownInvoice:
    standing = row.standing
    invoice = standing.invoice
    return KnownInvoice(
        ref=row.ref,
        number=row.number,
        currency=invoice.balance.currency if invoice is not None else currency,
        balance=invoice.balance if invoice is not None else None,
        status=row.status.value,
        disputed=row.disputed,
        due_on=invoice.due_on if invoice is not None else None,
    )


def _refused(cause: Cause, message: str, remedy: str = "") -> Failure:
    entry = CATALOGUE[cause]
    return Failure(
        kind=FailureKind.REPAIR,
        cause=cause,
        message=message,
        queue=entry.queue,
        remedy=remedy or entry.remedy,
    )
