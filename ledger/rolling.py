"""How the unbilled balance rolls forward: movements against a count of the items (rule 37).

The opening balance is the sum of all movements before it; the closing one is what the items hold now less the
movements since. So a movement that was not recorded, or an amount that changed without one, shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import col, func

from canonical.invoicing import DocumentKind, DocumentState
from canonical.items import AllocationKind
from canonical.money import Money
from canonical.unbilled import RollForward
from ledger.core import unbroken
from ledger.settling import POSTED, REVERSED
from ledger.tables.allocation import Allocation, Repricing
from ledger.tables.billable_item import BillableItem
from ledger.tables.invoice_state import InvoiceState
from ledger.tables.posting import Posting
from ledger.unbilled import Unbilled, in_erp_balance

_SIGNS = {
    "posted": 1,
    "reversed": -1,
    "billed": -1,
    "credited": 1,
    "written": -1,
    "covered": -1,
    "repriced": 1,
}
_Flows = dict[str, dict[str, int]]
"""Amounts by movement and currency."""

_Taken = aliased(Allocation)


class Rolling(Unbilled):
    """The roll-forward."""

    @unbroken
    async def roll_forward(self, legal_entity: str, first: datetime, last: datetime) -> list[RollForward]:
        """How an entity's unbilled balance moved from ``first`` to before ``last``, per currency.

        Counted is what entered the ERP's own unbilled balance when it was posted: time and materials, and
        expenses that are charged on.

        Args:
            legal_entity: of the projects.
            first: beginning, included. Aware: a cutoff's instant in the entity's zone (rule 30).
            last: end, excluded. Aware.
        """
        async with self.reading() as session:
            connection = await session.connection()
            before = await _flows(connection, legal_entity, None, first)
            within = await _flows(connection, legal_entity, first, last)
            after = await _flows(connection, legal_entity, last, None)
            now = {
                currency: int(minor or 0)
                for currency, minor in await connection.execute(_count(legal_entity))
            }
        opening, since = _net(before), _net(after)
        found = {*opening, *since, *now, *(currency for one in within.values() for currency in one)}
        return [
            RollForward(
                legal_entity=legal_entity,
                currency=currency,
                opening=Money.of_minor(opening.get(currency, 0), currency),
                closing=Money.of_minor(now.get(currency, 0) - since.get(currency, 0), currency),
                **{name: Money.of_minor(within[name].get(currency, 0), currency) for name in _SIGNS},
            )
            for currency in sorted(found)
        ]


def _net(flows: _Flows) -> dict[str, int]:
    net: dict[str, int] = defaultdict(int)
    for name, amounts in flows.items():
        for currency, minor in amounts.items():
            net[currency] += _SIGNS[name] * minor
    return dict(net)


async def _flows(connection: Any, legal_entity: str, first: datetime | None, last: datetime | None) -> _Flows:
    found: _Flows = {name: defaultdict(int) for name in _SIGNS}
    for name, query, at in _queries(legal_entity):
        bounded = query
        if first is not None:
            bounded = bounded.where(at >= first)
        if last is not None:
            bounded = bounded.where(at < last)
        for currency, minor in await connection.execute(bounded):
            if currency is not None:
                found[name][currency] += int(minor or 0)
    return found


def _count(legal_entity: str) -> Any:
    unbilled = col(BillableItem.open_minor) + col(BillableItem.held_minor) + col(BillableItem.drafted_minor)
    return (
        columns(col(BillableItem.currency), func.sum(unbilled))
        .where(*in_erp_balance(legal_entity), col(BillableItem.currency).is_not(None))
        .group_by(col(BillableItem.currency))
    )


def _queries(legal_entity: str) -> list[tuple[str, Any, Any]]:
    """(movement, sum by currency, its instant) of everything that moves the balance."""
    issued = col(InvoiceState.issued_at)
    return [
        ("posted", _of_postings(legal_entity, POSTED), col(Posting.at)),
        ("reversed", _of_postings(legal_entity, REVERSED), col(Posting.at)),
        ("reversed", _of_parts(legal_entity, AllocationKind.WITHDRAWN), col(Allocation.at)),
        ("billed", _of_documents(legal_entity, DocumentKind.INVOICE), issued),
        ("credited", _of_documents(legal_entity, DocumentKind.CREDIT), issued),
        ("written", _of_parts(legal_entity, AllocationKind.WRITTEN_DOWN), col(Allocation.at)),
        ("written", _of_parts(legal_entity, AllocationKind.WRITTEN_OFF), col(Allocation.at)),
        ("covered", _of_parts(legal_entity, AllocationKind.COVERED), col(Allocation.at)),
        ("repriced", _of_repricings(legal_entity), col(Repricing.at)),
    ]


def _of_postings(legal_entity: str, kind: str) -> Any:
    return (
        columns(col(Posting.currency), func.sum(col(Posting.amount_minor)))
        .where(col(Posting.legal_entity) == legal_entity, col(Posting.kind) == kind)
        .group_by(col(Posting.currency))
    )


def _entered(legal_entity: str) -> list[Any]:
    return [col(BillableItem.legal_entity) == legal_entity, col(BillableItem.entered_erp)]


def _of_parts(legal_entity: str, kind: AllocationKind) -> Any:
    """Parts taken for a kind, less what was given back of them; from the posting on."""
    return (
        columns(col(Allocation.currency), func.sum(col(Allocation.amount_minor)))
        .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
        .join(
            _Taken,
            (col(_Taken.item_id) == col(Allocation.item_id))
            & (col(_Taken.part) == col(Allocation.part))
            & (col(_Taken.release_no) == 0),
        )
        .where(
            *_entered(legal_entity),
            col(_Taken.kind) == kind,
            col(_Taken.at) >= col(BillableItem.posted_at),
        )
        .group_by(col(Allocation.currency))
    )


def _of_documents(legal_entity: str, kind: DocumentKind) -> Any:
    """What issued invoices billed, or issued credits took back, of such items."""
    rows: Mapping[DocumentKind, tuple[AllocationKind, ...]] = {
        DocumentKind.INVOICE: (AllocationKind.BILLED, AllocationKind.RELEASED),
        DocumentKind.CREDIT: (AllocationKind.CREDITED,),
    }
    sign = 1 if kind is DocumentKind.INVOICE else -1
    document = col(_Taken.document) if kind is DocumentKind.INVOICE else col(Allocation.document)
    return (
        columns(col(Allocation.currency), func.sum(sign * col(Allocation.amount_minor)))
        .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
        .join(
            _Taken,
            (col(_Taken.item_id) == col(Allocation.item_id))
            & (col(_Taken.part) == col(Allocation.part))
            & (col(_Taken.release_no) == 0),
        )
        .join(InvoiceState, col(InvoiceState.document) == document)
        .where(
            *_entered(legal_entity),
            col(_Taken.kind) == AllocationKind.BILLED,
            col(Allocation.kind).in_(rows[kind]),
            col(InvoiceState.kind) == kind,
            col(InvoiceState.state) == DocumentState.ISSUED,
        )
        .group_by(col(Allocation.currency))
    )


def _of_repricings(legal_entity: str) -> Any:
    delta = col(Repricing.after_minor) - col(Repricing.before_minor)
    return (
        columns(col(Repricing.currency), func.sum(delta))
        .join(BillableItem, col(BillableItem.id) == col(Repricing.item_id))
        .where(*_entered(legal_entity), col(Repricing.at) >= col(BillableItem.posted_at))
        .group_by(col(Repricing.currency))
    )
