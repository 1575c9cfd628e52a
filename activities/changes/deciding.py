"""Change orders decided over the ledger: whose turn it is, what it means, whether it may be (rule 43)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import chain

from temporalio import activity

from activities.beginning import begin
from activities.changes.standing import Place, Standings
from activities.contracts import (
    AgreeChange,
    ChangeActivities,
    CheckChange,
    CheckedChange,
    CompareChange,
    ComparedChange,
    ShapeChange,
    ShapedChange,
    StepOutcome,
    TakeChange,
    TakenChange,
)
from activities.failures import guarded
from activities.systems import Systems
from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, ChangeOrderState, OrderChange, Verdict
from canonical.engagement import Contract
from canonical.failures import Failure, FailureKind, Finding
from canonical.names import SagaName
from canonical.operations import ContractSetup
from canonical.refs import RecordRef
from canonical.saga import SYSTEM_ACTOR
from ledger.rows import ChangeOrderRow, ContractVersionRow
from ledger.store import Ledger
from rules.baseline import contract_differences
from rules.causes import CATALOGUE
from rules.change_baseline import budget_differences
from rules.change_gate import change_gate, scope_of
from rules.change_impact import below_floor
from rules.change_orders import judge, older, refused, take

REFUSALS = frozenset({Cause.CHANGE_ORDER_INVALID, Cause.CHANGE_ORDER_OLDER, Cause.CHANGE_BELOW_BILLED})
"""Causes that say something about the order, and not about how it was carried."""
DEAL = "deal"


class ChangeActivitiesOver(ChangeActivities):
    """The rules over the ledger."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger
        self.standings = Standings(ledger, systems.firm)

    # --- whose turn it is -------------------------------------------------------------------------------

    @activity.defn(name="changes.take")
    @guarded
    async def take(self, command: TakeChange) -> TakenChange:
        """Settle what has ended, refuse what is older; say whose turn it is and what the others wait for."""
        begun = await begin(
            self.ledger, command.saga, SagaName.CONTRACT_CHANGES.value, command.reason, again=True
        )
        refusals = 0
        while True:
            rows = await self._open(command)
            reached = await self.ledger.reached_version(command.contract)
            taken = take([row.order for row in rows], reached)
            for late in taken.older:
                found = older(late, reached)
                await self._refuse(command.contract, late.key, found.cause, found.reason, ())
                refusals += 1
            if not taken.older:
                break
        by_key = {row.order.key: row for row in rows}
        waiting = [by_key[one.key] for one in taken.waiting]
        overdue = None
        if taken.missing:
            hours = float(self.systems.firm.policies.change_orders.base_hours)
            overdue = min(row.received_at for row in waiting) + timedelta(hours=hours)
        following = by_key[taken.following.key] if taken.following is not None else None
        return TakenChange(
            generation=begun.generation,
            order=following.order.key if following else None,
            under_way=following is not None and following.state is ChangeOrderState.UNDER_WAY,
            actor=following.actor if following else None,
            reason=following.sent_because if following else "",
            waiting=tuple(row.order.key for row in waiting),
            missing=taken.missing,
            overdue_at=overdue,
            refused=refusals,
        )

    async def _open(self, command: TakeChange) -> list[ChangeOrderRow]:
        """What is open, without that whose saga has ended otherwise than by agreeing it."""
        states = [state for state in ChangeOrderState if state.is_open]
        found = []
        for row in await self.ledger.change_orders(command.contract, states=states):
            if row.state is ChangeOrderState.RECEIVED or not await self._settle_ended(row):
                found.append(row)
        return found

    async def _settle_ended(self, row: ChangeOrderRow) -> bool:
        saga = await self.ledger.saga(row.saga_id) if row.saga_id is not None else None
        if saga is None or not saga.status.is_final or saga.view is None:
            return False
        cause = saga.view.cause or Cause.CANCELLED
        state = ChangeOrderState.REFUSED if cause in REFUSALS else ChangeOrderState.UNDONE
        await self.ledger.settle_change_order(
            row.order.contract_key,
            row.order.key,
            state,
            cause=cause,
            reason=saga.view.headline,
            actor=SYSTEM_ACTOR,
        )
        return True

    async def _refuse(
        self, contract: str, order: str, cause: Cause | None, reason: str, findings: Sequence[Finding]
    ) -> None:
        await self.ledger.settle_change_order(
            contract,
            order,
            ChangeOrderState.REFUSED,
            cause=cause,
            reason=reason,
            findings=findings,
            actor=SYSTEM_ACTOR,
        )

    # --- what it means ----------------------------------------------------------------------------------

    @activity.defn(name="changes.shape")
    @guarded
    async def shape(self, command: ShapeChange) -> ShapedChange:
        """Judge the order on the terms in force, and work out what it means for every system."""
        begun = await begin(self.ledger, command.saga, SagaName.CHANGE_ORDER.value, command.reason)
        row = await self.ledger.carry_change_order(
            command.contract, command.order, saga_id=command.saga.saga_id
        )
        if not begun.accepted or not (row.state.is_open or row.state is ChangeOrderState.APPLIED):
            said = f"It was decided before: {row.state.value}. {row.reason}".strip()
            return ShapedChange(generation=begun.generation, said=said)
        place = await self.standings.place(command.contract)
        if row.state is ChangeOrderState.APPLIED:
            return await self._to_tell(begun.generation, row.order, place)
        found = judge(row.order, place.standing, self.systems.firm)
        if found.verdict is not Verdict.READY:
            if found.verdict is Verdict.REFUSED:
                await self._refuse(command.contract, command.order, found.cause, found.reason, found.findings)
            failure = _failure(found.cause or Cause.CHANGE_BASE_MISSING, found.reason, found.findings)
            return ShapedChange(generation=begun.generation, failure=failure)
        assert found.terms is not None
        assert found.impact is not None
        order, impact, before = row.order, found.impact, place.standing.terms
        return ShapedChange(
            generation=begun.generation,
            order=order,
            change=OrderChange(before=before, after=found.terms, version=order.version, impact=impact),
            crm=place.crm,
            scope=scope_of(
                self._deal(place, found.terms),
                found.terms,
                order.version,
                await self.standings.siblings(found.terms),
                agreed=False,
            ),
            deliveries=await self.standings.delivery_places(place, found.terms, impact, order.version),
            values=place.values,
            gate=change_gate(
                order,
                before,
                impact,
                place.standing.floor,
                self.systems.firm.policies.change_orders.review,
                version=place.standing.version,
                requester=row.actor.name,
            ),
        )

    async def _to_tell(self, generation: int, order: ChangeOrder, place: Place) -> ShapedChange:
        """It is agreed: a run that was reset, or whose end was lost, only tells it once more."""
        terms, version = place.standing.terms, place.standing.version
        scope = scope_of(
            self._deal(place, terms), terms, version, await self.standings.siblings(terms), agreed=True
        )
        return ShapedChange(generation=generation, agreed=True, order=order, crm=place.crm, scope=scope)

    @staticmethod
    def _deal(place: Place, contract: Contract) -> RecordRef:
        return RecordRef(system=place.crm, type=DEAL, id=contract.engagement_key)

    # --- whether it may still be ------------------------------------------------------------------------

    @activity.defn(name="changes.check")
    @guarded
    async def check(self, command: CheckChange) -> CheckedChange:
        """What was billed while finance decided counts."""
        floor = await self.ledger.contract_floor(command.before.key)
        below = below_floor(command.before, command.after, floor)
        if not below:
            return CheckedChange()
        found = refused(Cause.CHANGE_BELOW_BILLED, below)
        return CheckedChange(failure=_failure(Cause.CHANGE_BELOW_BILLED, found.reason, found.findings))

    @activity.defn(name="changes.compare")
    @guarded
    async def compare(self, command: CompareChange) -> ComparedChange:
        """Contract and budgets as every system holds them, against the resulting terms."""
        after = command.after
        setup = ContractSetup(contract=after, project_name="", client_symbol="", bill_to_symbol="")
        contracts = {held.contract_key: held for one in command.baselines for held in one.contracts}
        held = [one for system in command.baselines for one in system.deliveries]
        return ComparedChange(
            differences=(
                *contract_differences(setup, contracts.get(after.key), command.values),
                *chain.from_iterable(budget_differences(after, one, command.values) for one in held),
            )
        )

    @activity.defn(name="changes.agree")
    @guarded
    async def agree(self, command: AgreeChange) -> StepOutcome:
        """The new version, its baseline and the order's end, in one transaction."""
        systems = {one.system: one.model_dump(mode="json") for one in command.baselines}
        change = command.change
        key, old, new = change.after.key, change.before.rate_card, change.after.rate_card

        async def both() -> ContractVersionRow:
            if change.impact.rates and new is not None:
                # Rates in force are kept apart from the terms (rule 7): the next change is judged on these.
                if old is not None and await self.ledger.rate_version(key) is None:
                    await self.ledger.add_rate_version(key, old)
                await self.ledger.add_rate_version(key, new)
            return await self.ledger.agree_change_order(
                command.order,
                change.after,
                systems,
                saga_id=command.saga.saga_id,
                treatment=change.treatment.value if change.treatment is not None else None,
                decider=command.decider,
                actor=command.saga.actor,
            )

        version = await self.ledger.together(both)
        return StepOutcome(note=f"version {version.version}, {version.amount}")


def _failure(cause: Cause, reason: str, findings: Sequence[Finding]) -> Failure:
    entry = CATALOGUE[cause]
    return Failure(
        kind=FailureKind.REPAIR,
        cause=cause,
        message=reason,
        queue=entry.queue,
        findings=tuple(findings),
        remedy=entry.remedy,
    )
