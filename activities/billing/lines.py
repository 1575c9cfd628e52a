"""Between items of the ledger and what a port is asked to do with them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from canonical.authority import Phase
from canonical.batches import LineResult, LineState
from canonical.causes import Cause, Queue
from canonical.erp_billing import CostKind, CostLine
from canonical.failures import Defect
from canonical.items import Hold, ItemKind
from canonical.money import Money
from canonical.operations import LineOutcome, WriteContext
from canonical.saga import HeldItems, Tally
from ledger.billing_rows import ItemRow
from rules.causes import CATALOGUE

COST_KINDS = {ItemKind.TIME: CostKind.TIME, ItemKind.EXPENSE: CostKind.EXPENSE}


def line_context(saga_id: str, region: str, step: str) -> WriteContext:
    """What writes of single lines build their keys from: source line and revision alone, whichever run sends
    them (rule 10).
    """
    return WriteContext(saga_id=saga_id, generation=1, step=step, region=region, phase=Phase.AFTER_APPROVAL)


def cost_line(item: ItemRow) -> CostLine:
    """An item as the ERP is asked to post it.

    Raises:
        Defect: it was never placed: it should not be here.
    """
    line, placement = item.line, item.placement
    if line is None or placement is None or item.posting_date is None or item.legal_entity is None:
        raise Defect(f"{item.key} is to be posted and has no place in the ERP", system="ledger")
    if placement.erp_project is None or placement.erp_worker is None:
        raise Defect(f"{item.key} has no project or worker in the ERP", system="ledger")
    return CostLine(
        kind=COST_KINDS[item.kind],
        source=line.source,
        # Taken back on purpose and posted again: another posting of the same revision.
        revision=item.revision if item.turn == 1 else f"{item.revision}~{item.turn}",
        legal_entity=item.legal_entity,
        project=placement.erp_project,
        project_code=item.project_code or "",
        worker=placement.erp_worker,
        task=placement.erp_task,
        item=placement.erp_item,
        work_date=item.work_date,
        posting_date=item.posting_date,
        minutes=item.minutes,
        amount=line.incurred,
        billable=item.unbilled_in_erp,
        bill_rate=_bill_rate(item),
        payable_to_worker=placement.payable_to_worker,
        note=line.note,
    )


def _bill_rate(item: ItemRow) -> Decimal | None:
    """Per hour in the project's currency, which is the contract's."""
    price = item.price
    if price is None or price.rate is None:
        return None
    return price.rate.amount * price.conversion.rate if price.conversion is not None else price.rate.amount


def hold_of(cause: Cause, message: str, at: datetime) -> Hold:
    """A hold with the catalogue's remedy and queue."""
    entry = CATALOGUE[cause]
    return Hold(cause=cause, message=message, remedy=entry.remedy, queue=entry.queue, since=at)


def result_of(item: ItemRow, outcome: LineOutcome, at: datetime) -> LineResult:
    """What becomes of an item by what the vendor says of its line."""
    if outcome.landed is not None:
        return LineResult(item_key=item.key, state=LineState.LANDED, record_id=outcome.landed)
    words = outcome.failure or "The vendor gives no reason."
    if outcome.retry:
        return LineResult(
            item_key=item.key, state=LineState.RETRY, message=words, vendor_code=outcome.vendor_code
        )
    cause = outcome.cause or Cause.VENDOR_REFUSED
    return LineResult(
        item_key=item.key,
        state=LineState.REFUSED,
        cause=cause,
        message=words,
        vendor_code=outcome.vendor_code,
        hold=hold_of(cause, words, at),
    )


class Figures:
    """Sums over items, by state and by cause."""

    def __init__(self) -> None:
        self._items: dict[str, int] = defaultdict(int)
        self._minutes: dict[str, int] = defaultdict(int)
        self._money: dict[str, dict[tuple[str, str], Money]] = defaultdict(dict)
        self._queues: dict[Cause, Queue] = {}

    def add(self, state: str, item: ItemRow, worth: Money | None = None) -> None:
        """Count an item in a state."""
        self._items[state] += 1
        self._minutes[state] += item.minutes
        money = worth or item.priced
        if money is not None:
            known = self._money[state]
            key = (money.currency, money.role.value)
            known[key] = known[key] + money if key in known else money

    def hold(self, hold: Hold, item: ItemRow, worth: Money | None = None) -> None:
        """Count a held item under its cause."""
        self._queues[hold.cause] = hold.queue
        self.add(f"held {hold.cause.value}", item, worth)

    def tallies(self, *states: str) -> tuple[Tally, ...]:
        """The sums of these states that have any items."""
        return tuple(self._tally(state, state) for state in states if self._items.get(state))

    def held(self) -> tuple[HeldItems, ...]:
        """The held items by cause."""
        return tuple(
            HeldItems(cause=cause, queue=queue, tally=self._tally(f"held {cause.value}", "held"))
            for cause, queue in self._queues.items()
        )

    def count(self, state: str) -> int:
        """Items in a state."""
        return self._items.get(state, 0)

    def _tally(self, state: str, name: str) -> Tally:
        return Tally(
            state=name,
            items=self._items[state],
            minutes=self._minutes[state],
            amounts=tuple(self._money[state][key] for key in sorted(self._money[state])),
        )


def worth(items: Iterable[ItemRow]) -> tuple[Money, ...]:
    """What items are worth together, per currency."""
    figures = Figures()
    for item in items:
        figures.add("all", item)
    (tally,) = figures.tallies("all") or (Tally(state="all"),)
    return tally.amounts
