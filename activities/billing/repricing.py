"""A change of rates: unbilled work gets its new worth at once, the difference on billed work is proposed
(rules 7, 39).

What billed work is worth more becomes an adjustment that is held until somebody decides; what it is worth
less is for a credit of its invoice. Both count what earlier changes brought: the same rates again change
nothing.
"""

from __future__ import annotations

from activities.billing.deciding import ANYBODY, Deciding
from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.lines import Figures, hold_of
from activities.billing.weighing import PAGE, Weighing
from activities.contracts import (
    ProposedDifference,
    ProposeDifference,
    RatesSet,
    RepricedWork,
    RepriceWork,
    SetRates,
    SettledDifference,
    SettleDifference,
)
from activities.failures import progress
from activities.systems import Systems
from canonical.causes import Cause, Queue
from canonical.failures import Conflict, Finding, Refused
from canonical.items import AllocationKind, FeeItem, ItemKind, PlannedAllocation, Price
from canonical.names import SagaName
from canonical.saga import Tally
from ledger.billing_rows import ItemRow
from ledger.fees import NewPrice
from ledger.store import Ledger
from rules.adjusting import Repriced
from rules.grouping import place_in_group
from rules.placing import ContractFacts
from rules.review import difference_approval

DECISIONS = 5
"""How often a page is decided anew because somebody else was quicker."""
GIVEN_UP = "the difference is not billed"


class Repricing(Deciding):
    """Carries out changes of rates. One per worker process."""

    def __init__(self, systems: Systems, ledger: Ledger, gathering: Gathering, drafting: Drafting) -> None:
        super().__init__(systems, ledger, gathering)
        self.drafting = drafting
        self.weighing = Weighing(ledger, gathering.terms, self._now)

    # --- doing ------------------------------------------------------------------------------------------

    async def set_rates(self, command: SetRates) -> RatesSet:
        """Put rates in force. The rates that the contract was agreed with are kept as the version before."""
        begun = await self.drafting.begin(command.saga, SagaName.CHANGE_RATES, command.reason)
        terms = await self._terms(command.contract)
        before = terms.rates.card if terms.rates is not None else None
        if before is not None and await self.ledger.rate_version(command.contract) is None:
            await self.ledger.add_rate_version(command.contract, before)
        version = await self.ledger.add_rate_version(command.contract, command.card)
        await self.ledger.decide(
            command_id=f"{command.saga.saga_id}|g{begun.generation}|{command.step}|{version.number}",
            kind="rates",
            saga_id=command.saga.saga_id,
            step=command.step,
            outcome=f"version {version.number}",
            actor=command.saga.actor,
            reason=command.reason,
            before={"card": before.model_dump(mode="json")} if before is not None else None,
            after={"card": version.card.model_dump(mode="json")},
        )
        return RatesSet(generation=begun.generation, version=version.number)

    async def reprice(self, command: RepriceWork) -> RepricedWork:
        """One page of a contract's work at the rates in force. Asked again, nothing is left to change."""
        for left in reversed(range(DECISIONS)):
            try:
                return await self._page(command)
            except Conflict as error:
                if error.failure.cause is not Cause.VERSION_CONFLICT or not left:
                    raise
        raise AssertionError("unreachable")

    async def _page(self, command: RepriceWork) -> RepricedWork:
        terms = await self._terms(command.contract)
        page = await self.ledger.rated(command.contract, after=command.after, limit=command.limit)
        adjustments = await self.ledger.adjustments(command.contract)
        prices: list[NewPrice] = []
        fees: list[FeeItem] = []
        invoices: set[str] = set()
        busy = unpriced = 0
        changed_by, more = Figures(), Figures()
        for one in page.rows:
            busy += one.busy
            changed = self.weighing.look(terms, one, adjustments)
            if isinstance(changed, Finding):
                unpriced += 1
            if not isinstance(changed, Repriced):
                continue
            if one.unbilled_minutes and changed.before != changed.price.amount:
                prices.append(NewPrice(one.item.key, one.unbilled_minutes, changed.price, command.reason))
                changed_by.add(REPRICED, one.item, changed.price.amount - changed.before)
            prices += [
                NewPrice(key, 0, Price(amount=amount), command.reason)
                for key, amount in changed.lowered.items()
            ]
            if changed.further is not None:
                fees.append(self._held(terms, one.item, changed.further))
                more.add(FURTHER, one.item, changed.further.amount)
            invoices |= {invoice for invoice, _ in changed.credits}
        await self._keep(prices, fees, command.erp)
        progress({"repriced": len(prices)})
        return RepricedWork(
            repriced=next(iter(changed_by.tallies(REPRICED)), Tally(state=REPRICED)),
            further=next(iter(more.tallies(FURTHER)), Tally(state=FURTHER)),
            credits=tuple(sorted(invoices)),
            busy=busy,
            unpriced=unpriced,
            after=page.cursor,
        )

    async def _keep(self, prices: list[NewPrice], fees: list[FeeItem], erp: str) -> None:
        async def both() -> None:
            if prices:
                await self.ledger.reprice(prices)
            if fees:
                await self.ledger.take_fees(fees, erp=erp)

        await self.ledger.together(both)

    def _held(self, terms: ContractFacts, item: ItemRow, fee: FeeItem) -> FeeItem:
        """An adjustment as it is kept back: in the group of the work that it adjusts."""
        placed = place_in_group(terms.contract, fee.project_code, item.work_date, {})
        hold = hold_of(Cause.RATE_DIFFERENCE, f"{fee.amount} more for {item.key}: {fee.title}.", self._now())
        return fee.model_copy(update={**placed, "hold": hold})

    # --- deciding ---------------------------------------------------------------------------------------

    async def propose(self, command: ProposeDifference) -> ProposedDifference:
        """What of a contract is kept back, whichever run kept it."""
        waiting = await self._waiting(command.contract)
        amounts = [one.priced for one in waiting if one.priced is not None and one.priced.minor]
        if not amounts:
            return ProposedDifference()
        net = amounts[0]
        for amount in amounts[1:]:
            net = net + amount
        policy = self.systems.firm.policies.billing.credit_approval or ANYBODY
        return ProposedDifference(
            lines=len(amounts),
            net=net,
            review=difference_approval(
                policy,
                step="gate.difference",
                contract=command.contract,
                net=net,
                lines=len(amounts),
                reason=command.reason,
                requester=command.saga.actor.name if policy.roles else None,
            ),
        )

    async def settle(self, command: SettleDifference) -> SettledDifference:
        """Let go what is kept back: to be billed, or written down. Asked again, nothing is left."""
        waiting = await self._waiting(command.contract)
        free = [
            one.fee.model_copy(update={"hold": None, "amount": one.priced})
            for one in waiting
            if one.fee is not None
        ]
        given_up = [
            PlannedAllocation(
                item_key=one.key,
                kind=AllocationKind.WRITTEN_DOWN,
                minutes=0,
                amount=one.open,
                reason=command.reason or GIVEN_UP,
            )
            for one in waiting
            if one.open is not None and one.open.minor
        ]

        async def both() -> None:
            await self.ledger.take_fees(free)
            if not command.bill:
                await self.ledger.allocate(given_up)

        await self.ledger.together(both)
        figures, state = Figures(), "to be billed" if command.bill else "given up"
        for one in waiting:
            figures.add(state, one)
        return SettledDifference(tally=next(iter(figures.tallies(state)), Tally(state=state)))

    async def _waiting(self, contract: str) -> list[ItemRow]:
        found: list[ItemRow] = []
        after: int | None = 0
        while after is not None:
            page = await self.ledger.items(
                contract_key=contract,
                kinds=[ItemKind.ADJUSTMENT],
                causes=[Cause.RATE_DIFFERENCE],
                withdrawn=False,
                after=after,
                limit=PAGE,
            )
            found += page.rows
            after = page.cursor
        return found

    async def _terms(self, contract: str) -> ContractFacts:
        found = (await self.gathering.contracts([contract])).get(contract)
        if found is None:
            raise Refused(
                f"There is no contract {contract} in the ledger.",
                cause=Cause.RECORD_VANISHED,
                queue=Queue.BILLING,
            )
        return found


REPRICED, FURTHER = "repriced", "worth more on invoices"
