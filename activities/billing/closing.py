"""The facts of a close check, from the ledger and from the ERP as they are now (rule 37). Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from activities.billing.gathering import Gathering, contract_of
from activities.billing.lines import cost_line, line_context
from activities.systems import Systems
from canonical.erp_billing import InvoiceLineKind, UnbilledLine
from canonical.invoicing import DocumentState
from canonical.money import AmountRole, Money
from canonical.names import cursor_name
from canonical.unbilled import UnbilledDifference, UnbilledGroup
from connectors.ports.billing import BillingPort
from ledger.billing_rows import DocumentRow, ItemRow
from ledger.store import Ledger
from rules.closing import UNAPPROVED, Balance, CloseFacts, OpenDocument
from rules.unbilled import OpenLine, line_differences

POSTED_KINDS = (InvoiceLineKind.TIME, InvoiceLineKind.EXPENSE)
"""What the ERP's balance is compared by: lines that were posted as cost. Fees stand on the contract."""


@dataclass(frozen=True)
class CloseQuestion:
    """Which period of which entity, on which route."""

    entity: str
    psa: str
    erp: str
    region: str
    first: date
    last: date
    begins: datetime
    ends: datetime
    """Instants in the entity's zone: of the first moment, and of the first after it."""
    cutoff: str


class Closing:
    """Gathers what the close check judges."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger
        self.gathering = Gathering(systems, ledger)

    async def facts(self, asked: CloseQuestion, now: datetime) -> CloseFacts:
        """Everything about a period that the check looks at.

        Raises:
            SystemFailure: the ERP could not be asked.
        """
        policy = self.systems.firm.policies.billing
        near_from = date.fromordinal(asked.last.toordinal() - max(0, policy.near_cutoff_days - 1))
        groups, stray = await self._unbilled(asked, None)
        near, _ = await self._unbilled(asked, near_from)
        documents = await self.ledger.documents(states=[one for one in DocumentState if one.is_open])
        own = [row for row in documents if row.legal_entity == asked.entity]
        return CloseFacts(
            entity=asked.entity,
            cutoff=asked.cutoff,
            last=asked.last,
            period_end=asked.ends,
            read_at=await self._read_at(asked.psa),
            delivery=asked.psa,
            groups=groups,
            stray=stray,
            near=[one for one in near if one.cause in UNAPPROVED],
            near_days=policy.near_cutoff_days,
            in_flight=await self.ledger.in_flight(asked.entity),
            documents=[
                OpenDocument(row.key, row.kind, row.state.value, row.saga_id, row.lines, row.net)
                for row in own
            ],
            # Up to now: what is posted and billed while a period is being closed belongs to its close.
            rolls=await self.ledger.roll_forward(asked.entity, asked.begins, now),
            balances=await self._balances(asked, own),
        )

    async def _unbilled(
        self, asked: CloseQuestion, first: date | None
    ) -> tuple[list[UnbilledGroup], list[UnbilledGroup]]:
        """What of the entity is not billed; and what belongs to nobody that we know of.

        Lines that no check has placed yet belong to the entity of their project's contract.
        """
        own = await self.ledger.unbilled_groups(legal_entity=asked.entity, first=first, through=asked.last)
        unplaced = await self.ledger.unbilled_groups(unplaced=True, first=first, through=asked.last)
        behind = await self.gathering.deliveries(asked.psa) if unplaced else {}
        contracts = await self.gathering.contracts(
            {contract_of(behind[one.project]) for one in unplaced if one.project in behind}
        )
        stray = []
        for one in unplaced:
            key = contract_of(behind.get(one.project or "", ""))
            terms = contracts.get(key)
            if terms is None:
                stray.append(one)
            elif terms.contract.legal_entity == asked.entity:
                own.append(one.model_copy(update={"legal_entity": asked.entity, "contract_key": key}))
        return own, stray

    async def _read_at(self, psa: str) -> datetime | None:
        names = [cursor_name(psa, feed) for feed in ("time", "approvals")]
        found = await self.ledger.read_at(names)
        return min(found.values()) if len(found) == len(names) else None

    # --- the balance ------------------------------------------------------------------------------------

    async def _balances(self, asked: CloseQuestion, documents: Sequence[DocumentRow]) -> list[Balance]:
        port = await self.systems.billing(asked.erp)
        drafted = await self._on_drafts(documents)
        theirs: dict[str, int] = defaultdict(int)
        if port.billing.unbilled_balance:
            for total in await port.unbilled_totals(asked.last):
                if total.legal_entity == asked.entity and total.kind in POSTED_KINDS:
                    theirs[total.amount.currency] += total.amount.minor
        known = {one.currency for one in await self.ledger.roll_forward(asked.entity, asked.ends, asked.ends)}
        lines: dict[str, list[OpenLine]] = defaultdict(list)
        on_drafts: dict[str, int] = defaultdict(int)
        rests: dict[str, int] = defaultdict(int)
        for currency in sorted(known):
            items = await self._items(asked, currency)
            billed = await self.ledger.billed_once(item.id for item in items)
            for item in items:
                # What the ERP has on an invoice, or a draft of one, it counts as billed whole.
                on_drafts[currency] += drafted.get(item.key, 0)
                if item.key not in drafted and item.id in billed:
                    rests[currency] += _open(item)
            open_ = [item for item in items if item.key not in drafted and item.id not in billed]
            for line in await self._lines(asked, port, open_):
                lines[line.amount.currency].append(line)
        found = []
        for currency in sorted({*known, *theirs, *lines}):
            own = lines[currency]
            valued = sum(line.amount.minor for line in own)
            draft, rest = (Money.of_minor(sums[currency], currency) for sums in (on_drafts, rests))
            erp = Money.of_minor(theirs.get(currency, 0), currency) if port.billing.unbilled_balance else None
            differences: tuple[UnbilledDifference, ...] = ()
            if erp is not None and valued != erp.minor:
                differences = tuple(line_differences(own, await _told(port, asked, currency)))
            ours = Money.of_minor(valued, currency)
            found.append(Balance(currency, ours, draft, erp, differences, rests=rest))
        return found

    async def _lines(
        self, asked: CloseQuestion, port: BillingPort, items: Sequence[ItemRow]
    ) -> list[OpenLine]:
        """Our open lines as the ERP should show them, in the currency in which it has them."""
        repriced = await self.ledger.repriced_since_posting(item.id for item in items)
        writes = port.plan_cost(line_context("", asked.region, ""), [cost_line(item) for item in items])
        return [
            OpenLine(item.key, write.stamp, item.posting_id, _in_erp(item, repriced.get(item.id, 0)))
            for item, write in zip(items, writes, strict=True)
        ]

    async def _items(self, asked: CloseQuestion, currency: str) -> list[ItemRow]:
        items: list[ItemRow] = []
        after = 0
        while True:
            page = await self.ledger.open_in_erp(asked.entity, currency, asked.last, after=after)
            items += page.rows
            if page.cursor is None:
                return items
            after = page.cursor

    async def _on_drafts(self, documents: Sequence[DocumentRow]) -> dict[str, int]:
        """What of items stands on drafts that the ERP has, by item key."""
        found: dict[str, int] = defaultdict(int)
        for row in documents:
            if row.record_id is None or row.corrects is not None:
                continue
            for line in await self.ledger.document_lines(row.key):
                found[line.item.key] += line.allocation.amount.minor
        return found


def _open(item: ItemRow) -> int:
    return sum(one.minor for one in (item.open, item.held, item.drafted) if one is not None)


def _in_erp(item: ItemRow, repriced: int) -> Money:
    """What the ERP counts an open line as.

    An expense at what it cost, in the currency in which it was incurred: markup and limit are the contract's.
    Time at the rate that it was posted with, until it is billed; what the ERP multiplies itself may differ by
    its rounding, which is known beforehand.
    """
    if item.line is not None and item.line.incurred is not None:
        return item.line.incurred.model_copy(update={"role": AmountRole.BILLING})
    rounding = item.price.vendor_difference if item.price is not None else 0
    currency = item.price.amount.currency if item.price is not None else ""
    return Money.of_minor(_open(item) - repriced + rounding, currency, AmountRole.BILLING)


async def _told(port: BillingPort, asked: CloseQuestion, currency: str) -> list[UnbilledLine]:
    lines: list[UnbilledLine] = []
    cursor = None
    while True:
        page = await port.unbilled_lines(asked.entity, currency, asked.last, cursor)
        lines += [line for line in page.lines if line.kind in POSTED_KINDS]
        cursor = page.cursor
        if cursor is None:
            return lines
