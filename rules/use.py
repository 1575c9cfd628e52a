"""What becomes of a group's open items: billed, drawn from the retainer, or held, and why (rules 31, 32, 36).

One decision over all candidates together, since lines use limits in order. It is made inside the ledger
transaction that allocates, over balances that are locked there: so parallel runs cannot overdraw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from canonical.engagement import BillingMethod
from canonical.failures import Finding
from canonical.items import AllocationKind, ItemKind, LimitUse, PlannedAllocation, RetainerDraw
from canonical.money import Conversion, Money
from canonical.names import retainer_account
from canonical.retainers import RetainerLot
from canonical.terms import PurchaseOrder, RetainerTerms
from rules.caps import Candidate, Limit, Slice, cut, fit, limits_of, order_for
from rules.grouping import as_billed
from rules.opening import before_opening, no_opening
from rules.placing import ContractFacts
from rules.retainers import draw

ABSORBED = "absorbed: beyond the retainer's balance, by contract"


@dataclass(frozen=True)
class OpenItem:
    """The open rest of an item that could be billed now."""

    key: str
    kind: ItemKind
    source_id: str
    day: date
    contract_key: str
    line_key: str | None
    method: BillingMethod | None
    role: str | None
    project_code: str
    purchase_order: str | None
    minutes: int
    amount: Money
    allowed: Money | None = None
    """How much of it may be billed so far; all of it when empty (part billing, rule 33)."""


@dataclass(frozen=True)
class Balances:
    """Accounts as they stand, read under their locks."""

    used: Mapping[str, Money] = field(default_factory=dict)
    """What of each cap and purchase order is used."""
    lots: Mapping[str, Sequence[RetainerLot]] = field(default_factory=dict)
    """Balances by retainer account."""


@dataclass(frozen=True)
class Used:
    """The decision: allocations to make, and items that belong into another group now."""

    allocations: tuple[PlannedAllocation, ...]
    regroup: Mapping[str, str | None] = field(default_factory=dict)
    """Purchase order by item key, where it is another one than the item was placed under."""

    @property
    def billed(self) -> tuple[PlannedAllocation, ...]:
        """What goes on the invoice."""
        return tuple(one for one in self.allocations if one.kind is AllocationKind.BILLED)


def accounts_of(
    items: Iterable[OpenItem], contracts: Mapping[str, ContractFacts]
) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of the limits and of the retainers that these items concern: what to lock before deciding."""
    limits: set[str] = set()
    retainers: set[str] = set()
    for item in items:
        limits |= {limit.key for limit in _limits(item, contracts[item.contract_key])}
        if _terms(item, contracts[item.contract_key]) is not None:
            retainers.add(retainer_account(item.contract_key, item.line_key or ""))
    return frozenset(limits), frozenset(retainers)


def use(
    items: Iterable[OpenItem],
    contracts: Mapping[str, ContractFacts],
    balances: Balances,
    document: str,
    *,
    order_required: frozenset[str] = frozenset(),
    conversion: Conversion | None = None,
) -> Used:
    """Decide over a group's open items.

    Args:
        items: of one billing group.
        contracts: by key, with opening positions.
        balances: of all accounts that ``accounts_of`` names.
        document: key of the invoice that is being drafted.
        order_required: legal entities that invoice only against a purchase order.
        conversion: where invoices are in another currency than the contract's.
    """
    planned: list[PlannedAllocation] = []
    regroup: dict[str, str | None] = {}
    billable: list[OpenItem] = []
    for item in items:
        facts = contracts[item.contract_key]
        problem = _forbidden(item, facts)
        if problem is None:
            order = order_for(
                facts.contract,
                item.day,
                balances.used,
                required=facts.contract.legal_entity in order_required,
            )
            number = order.number if isinstance(order, PurchaseOrder) else None
            if isinstance(order, Finding):
                problem = order
            elif number != item.purchase_order:
                regroup[item.key] = number
                continue
        if problem is not None:
            planned.append(_held(item.key, Slice(item.minutes, item.amount), problem))
        else:
            billable.append(item)
    drawn, rest = _draw(billable, contracts, balances)
    planned += drawn
    planned += _fit(rest, contracts, balances, document, conversion)
    return Used(tuple(planned), regroup)


def _forbidden(item: OpenItem, facts: ContractFacts) -> Finding | None:
    problem = no_opening(item.contract_key, facts.opening)
    if problem is None and item.kind.has_cost:
        problem = before_opening(item.contract_key, facts.opening, item.day)
    return problem


# --- retainers ------------------------------------------------------------------------------------


def _terms(item: OpenItem, facts: ContractFacts) -> RetainerTerms | None:
    drawing = item.kind is ItemKind.TIME and item.method is BillingMethod.RETAINER
    return facts.contract.retainer if drawing else None


def _draw(
    items: Sequence[OpenItem], contracts: Mapping[str, ContractFacts], balances: Balances
) -> tuple[list[PlannedAllocation], list[tuple[OpenItem, Slice]]]:
    """Work drawn from retainers; and what is left to bill: overage, and everything else."""
    by_account: dict[str, list[OpenItem]] = {}
    rest: list[tuple[OpenItem, Slice]] = []
    for item in items:
        if _terms(item, contracts[item.contract_key]) is None:
            rest.append((item, Slice(item.minutes, item.amount)))
        else:
            by_account.setdefault(retainer_account(item.contract_key, item.line_key or ""), []).append(item)
    planned: list[PlannedAllocation] = []
    for account, own in sorted(by_account.items()):
        terms = _terms(own[0], contracts[own[0].contract_key])
        assert terms is not None
        by_key = {item.key: item for item in own}
        candidates = [_candidate(item, Slice(item.minutes, item.amount)) for item in own]
        cycle = contracts[own[0].contract_key].contract.cycle
        drawn = draw(candidates, balances.lots.get(account, ()), terms, cycle)
        for one in drawn:
            key = one.candidate.item_key
            draws = tuple(RetainerDraw(account=account, lot=d.lot, amount=d.amount) for d in one.draws)
            if one.covered is not None:
                planned.append(
                    _planned(key, AllocationKind.COVERED, one.covered, document=account, draws=draws)
                )
            if one.absorbed is not None:
                planned.append(
                    _planned(key, AllocationKind.COVERED, one.absorbed, document=account, reason=ABSORBED)
                )
            if one.held is not None and one.finding is not None:
                planned.append(_held(key, one.held, one.finding))
            if one.billed is not None:
                rest.append((by_key[key], one.billed))
    return planned, rest


# --- limits ---------------------------------------------------------------------------------------


def _fit(
    wanted: Sequence[tuple[OpenItem, Slice]],
    contracts: Mapping[str, ContractFacts],
    balances: Balances,
    document: str,
    conversion: Conversion | None,
) -> list[PlannedAllocation]:
    by_key = {item.key: item for item, _ in wanted}
    candidates = []
    for item, slice_ in wanted:
        part = _allowed(item, slice_)
        if part is not None:
            candidates.append(_candidate(item, part, _limits(item, contracts[item.contract_key])))
    planned = []
    for one in fit(candidates, balances.used):
        item = by_key[one.candidate.item_key]
        contract = contracts[item.contract_key].contract
        if one.billed is not None:
            limits = {limit.key: limit for limit in one.candidate.limits}
            uses = tuple(
                LimitUse(key=key, amount=amount, limit=limits[key].amount) for key, amount in one.uses.items()
            )
            planned.append(
                _planned(
                    item.key, AllocationKind.BILLED, one.billed, document=document, uses=uses
                ).model_copy(update={"billed": as_billed(one.billed.amount, contract, conversion)})
            )
        if one.held is not None and one.finding is not None:
            planned.append(_held(item.key, one.held, one.finding))
    return planned


def _allowed(item: OpenItem, slice_: Slice) -> Slice | None:
    """What may be billed so far; the rest stays open."""
    if item.allowed is None or item.allowed.minor >= slice_.amount.minor:
        return slice_
    if item.allowed.minor <= 0:
        return None
    return cut(slice_.minutes, slice_.amount, item.allowed.minor)[0]


def _limits(item: OpenItem, facts: ContractFacts) -> tuple[Limit, ...]:
    contract = facts.contract
    order = next((one for one in contract.purchase_orders if one.number == item.purchase_order), None)
    return limits_of(
        contract,
        role=item.role,
        project_code=item.project_code,
        expense=item.kind is ItemKind.EXPENSE,
        order=order,
    )


# --- parts ----------------------------------------------------------------------------------------


def _candidate(item: OpenItem, slice_: Slice, limits: tuple[Limit, ...] = ()) -> Candidate:
    return Candidate(item.key, item.day, item.source_id, slice_.minutes, slice_.amount, limits)


def _planned(
    key: str,
    kind: AllocationKind,
    slice_: Slice,
    *,
    document: str | None = None,
    reason: str | None = None,
    uses: tuple[LimitUse, ...] = (),
    draws: tuple[RetainerDraw, ...] = (),
) -> PlannedAllocation:
    return PlannedAllocation(
        item_key=key,
        kind=kind,
        minutes=slice_.minutes,
        amount=slice_.amount,
        document=document,
        reason=reason,
        uses=uses,
        draws=draws,
    )


def _held(key: str, slice_: Slice, problem: Finding) -> PlannedAllocation:
    return _planned(key, AllocationKind.HELD, slice_, reason=problem.message).model_copy(
        update={"cause": problem.cause}
    )
