"""The ends of retainers' periods: what is left rolls over, expires, or is given back (rule 32)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from activities.billing.deciding import Deciding
from activities.contracts import EndRetainers, RetainersEnded
from activities.failures import progress
from canonical.invoicing import AdjustmentCause, CreditPart, CreditProposal, DocumentState, Freed
from canonical.items import ItemKind
from canonical.money import Money
from canonical.names import credit_key, retainer_account
from canonical.retainers import Movement, MovementKind, RetainerLot
from canonical.saga import Tally
from ledger.billing_rows import DocumentLine
from rules.placing import ContractFacts
from rules.retainers import OPENING_LOT, periods_ended, refund, refund_taken_back, refundable, retainer_end

ENDED = {
    MovementKind.EXPIRED: "retainer balances expired",
    MovementKind.ROLLED_OVER: "retainer balances rolled over",
}
REASON = "the contract ended: what its retainer has left is given back"


@dataclass(frozen=True)
class _Account:
    key: str
    line: str
    facts: ContractFacts

    @property
    def ends(self) -> date | None:
        """The retainer's last day."""
        return retainer_end(self.facts.contract, self.line)


class Retaining(Deciding):
    """Ends periods of retainers. One per worker process."""

    async def end(self, command: EndRetainers) -> RetainersEnded:
        """End every period that is over and whose work has drawn. Asked again, nothing is left to do."""
        counts = dict.fromkeys(ENDED.values(), 0)
        amounts: dict[str, dict[str, int]] = {state: {} for state in counts}
        invoices: set[str] = set()
        by_hand: list[str] = []
        waiting = 0
        for account in await self._accounts(command.erp):
            through = await self._through(account, command.through)
            waiting += through < command.through
            moved = await self._move(account, through)
            for one in moved:
                state = ENDED[one.kind]
                counts[state] += 1
                rest = -one.amount.minor
                known = amounts[state]
                known[one.amount.currency] = known.get(one.amount.currency, 0) + rest
            left = await self._refundable(account, through)
            invoices |= await self._billed_by(account, left)
            contract = account.facts.contract.key
            by_hand += [f"{contract}: {lot.balance}" for lot in left if lot.lot == OPENING_LOT]
            progress({"account": account.key})
        return RetainersEnded(
            tallies=tuple(
                Tally(
                    state=state,
                    items=number,
                    amounts=tuple(
                        Money.of_minor(minor, currency)
                        for currency, minor in sorted(amounts[state].items())
                        if minor
                    ),
                )
                for state, number in counts.items()
                if number
            ),
            refunds=tuple(sorted(invoices)),
            by_hand=tuple(by_hand),
            waiting=waiting,
        )

    async def _accounts(self, erp: str) -> list[_Account]:
        """Retainers with a balance whose contracts are billed by this ERP."""
        keys = await self.ledger.open_retainers()
        contracts = await self.gathering.contracts({_contract_of(key) for key in keys})
        wanted = set(keys)
        return [
            _Account(key, line.key, facts)
            for facts in contracts.values()
            if facts.contract.erp == erp and facts.contract.retainer is not None
            for line in facts.contract.lines
            if (key := retainer_account(facts.contract.key, line.key)) in wanted
        ]

    async def _through(self, account: _Account, through: date) -> date:
        """Up to which day all work has drawn: a period with work that is still to draw is not over."""
        first = await self.ledger.first_to_draw(account.facts.contract.key, account.line)
        return through if first is None else min(through, first - timedelta(days=1))

    async def _move(self, account: _Account, through: date) -> list[Movement]:
        contract = account.facts.contract
        terms = contract.retainer
        assert terms is not None

        async def decide() -> list[Movement]:
            balances = await self.ledger.account_balances((), [account.key], lock=True)
            lots = balances.lots.get(account.key, ())
            moves = periods_ended(account.key, lots, terms, contract.cycle, through, ends=account.ends)
            await self.ledger.add_movements(moves)
            return moves

        moved: list[Movement] = await self.ledger.together(decide)
        return moved

    async def _refundable(self, account: _Account, through: date) -> list[RetainerLot]:
        contract = account.facts.contract
        assert contract.retainer is not None
        balances = await self.ledger.account_balances((), [account.key])
        lots = balances.lots.get(account.key, ())
        return refundable(lots, contract.retainer, contract.cycle, through, account.ends)

    async def _billed_by(self, account: _Account, lots: Sequence[RetainerLot]) -> set[str]:
        """The invoices that billed these lots in advance."""
        wanted = {lot.lot for lot in lots}
        if not wanted:
            return set()
        invoices = {
            one.document
            for one in await self.ledger.movements(account.key)
            if one.kind is MovementKind.BILLED and one.lot in wanted and one.document is not None
        }
        return {invoice for invoice in invoices if not await self._refused(invoice)}

    async def _refused(self, invoice: str) -> bool:
        """Whether somebody has decided that nothing is given back: it is not asked again."""
        return any(
            row.proposal is not None and row.proposal.cause is AdjustmentCause.RETAINER_ENDED
            for row in await self.ledger.documents(corrects=invoice, states=[DocumentState.ABANDONED])
        )

    # --- refunds ----------------------------------------------------------------------------------------

    async def proposal(self, invoice: str, earlier: int) -> CreditProposal | None:
        """What of an invoice's advances is to be given back; None when nothing is left of them."""
        lines = await self.ledger.document_lines(invoice)
        parts = [part for line in lines if (part := await self._part(line)) is not None]
        if not parts:
            return None
        return CreditProposal(
            key=credit_key(invoice, earlier + 1),
            invoice_key=invoice,
            cause=AdjustmentCause.RETAINER_ENDED,
            reason=REASON,
            parts=tuple(parts),
        )

    async def _part(self, line: DocumentLine) -> CreditPart | None:
        found = lot_of(line)
        if found is None:
            return None
        account, lot = found
        balances = await self.ledger.account_balances((), [account])
        left = next((one.balance.minor for one in balances.lots.get(account, ()) if one.lot == lot), 0)
        minor = min(left, line.allocation.amount.minor)
        if minor <= 0:
            return None
        whole = line.allocation.amount
        return CreditPart(
            allocation_key=line.allocation.key,
            item_key=line.item.key,
            part=line.allocation.part,
            amount=Money.of_minor(minor, whole.currency, whole.role),
            billed=Money.of_minor(
                line.billed.minor * minor // whole.minor, line.billed.currency, line.billed.role
            ),
            proposed=Freed.WITHDRAWN,
        )

    async def reserve(self, proposal: CreditProposal) -> None:
        """Take what is given back off the balance, before anybody outside hears of it."""
        lines = {line.allocation.key: line for line in await self.ledger.document_lines(proposal.invoice_key)}
        today = self._now().date()
        moves = []
        for part in proposal.parts:
            found = lot_of(lines[part.allocation_key])
            if found is not None:
                account, lot = found
                moves.append(refund(account, lot, part.amount, today, proposal.key))
        await self.ledger.add_movements(moves)

    async def take_back(self, proposal: CreditProposal) -> None:
        """The credit is off: what was reserved for it is there again."""
        lines = await self.ledger.document_lines(proposal.invoice_key)
        accounts = {found[0] for line in lines if (found := lot_of(line)) is not None}
        moves = [
            refund_taken_back(one)
            for account in sorted(accounts)
            for one in await self.ledger.movements(account)
            if one.kind is MovementKind.REFUNDED and one.document == proposal.key
        ]
        await self.ledger.add_movements(moves)


def lot_of(line: DocumentLine) -> tuple[str, str] | None:
    """The retainer and its lot that a line bills in advance."""
    item = line.item
    if item.kind is not ItemKind.RETAINER_PERIOD or item.fee is None:
        return None
    return retainer_account(item.contract_key or "", item.line_key or ""), item.fee.source.id.split("/", 1)[1]


def _contract_of(account: str) -> str:
    return account.removeprefix("retainer/").rpartition("/")[0]
