"""What stands as posted cost on contracts: the minutes and expenses of which margin is made (rule 42)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func
from sqlalchemy import select as columns
from sqlmodel import col

from canonical.items import CostState, ItemKind
from canonical.margin import PostedWork, WorkedTime
from canonical.money import AmountRole, Money
from ledger.core import Core, unbroken
from ledger.links import IDS_AT_ONCE, batched
from ledger.revenue import BY_BILL
from ledger.tables.billable_item import BillableItem

_POSTED = col(BillableItem.cost) == CostState.POSTED
_TIME = col(BillableItem.kind) == ItemKind.TIME.value
_EXPENSE = col(BillableItem.kind) == ItemKind.EXPENSE.value


class Margins(Core):
    """Reads posted work. What it costs is HR's to say and is nowhere in the ledger."""

    @unbroken
    async def posted_work(self, contracts: Iterable[str]) -> PostedWork:
        """Time by worker and day and expenses by currency, as far as their posting stands now."""
        time: list[WorkedTime] = []
        expenses: list[tuple[str, Money]] = []
        others = False
        key: Any = col(BillableItem.contract_key)
        whose = (key, col(BillableItem.psa), col(BillableItem.erp), col(BillableItem.worker))
        day, currency = col(BillableItem.work_date), col(BillableItem.source_currency)
        async with self.reading() as session:
            connection = await session.connection()
            for part in batched(sorted(set(contracts)), IDS_AT_ONCE):
                mine = key.in_(part)
                worked = (
                    columns(*whose, day, func.sum(col(BillableItem.minutes)))
                    .where(mine, _TIME, _POSTED)
                    .group_by(*whose, day)
                )
                for contract, psa, erp, worker, on, minutes in await connection.execute(worked):
                    time.append(WorkedTime(contract, psa or "", erp or "", worker or "", on, int(minutes)))
                spent = (
                    columns(key, currency, func.sum(col(BillableItem.source_minor)))
                    .where(mine, _EXPENSE, _POSTED, currency.is_not(None))
                    .group_by(key, currency)
                )
                for contract, in_, minor in await connection.execute(spent):
                    amount = Money.of_minor(int(minor or 0), in_, AmountRole.TRANSACTION)
                    expenses.append((contract, amount))
                by_bill = columns(col(BillableItem.id)).where(mine, _TIME, BY_BILL).limit(1)
                others = others or (await connection.execute(by_bill)).first() is not None
        return PostedWork(tuple(time), tuple(expenses), billed_by_others=others)
