"""What goes on which invoice: groups, cycles, late time, how an invoice line reads (rule 25)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from canonical.calendar import Cycle, cycle_of
from canonical.engagement import BillingCycle, Contract, InvoiceGrouping
from canonical.erp_billing import InvoiceLineKind
from canonical.invoicing import BillingGroup
from canonical.items import ItemKind
from canonical.money import AmountRole, Conversion, Money
from canonical.names import billing_group_key
from canonical.parties import PartyRole
from canonical.terms import LateTime, PurchaseOrder
from rules.caps import order_for
from rules.pricing import rounded


def group_of(contract: Contract, project_code: str, purchase_order: str | None) -> BillingGroup:
    """The billing group of a contract's work on a project, against a purchase order."""
    bill_to = contract.parties.get(PartyRole.BILL_TO, "")
    subject = {
        InvoiceGrouping.PROJECT: project_code,
        InvoiceGrouping.CONTRACT: contract.key,
        InvoiceGrouping.CLIENT: bill_to,
    }[contract.grouping]
    return BillingGroup(
        seller=contract.legal_entity,
        bill_to=bill_to,
        currency=contract.currency,
        tax_treatment=contract.tax_treatment,
        purchase_order=purchase_order,
        grouping=contract.grouping,
        subject=subject,
    )


def group_key(group: BillingGroup) -> str:
    """Its key: everything that one invoice must have in common."""
    return billing_group_key(
        group.seller,
        group.bill_to,
        group.currency,
        group.tax_treatment,
        group.purchase_order,
        group.grouping.value,
        group.subject,
    )


def place_in_group(
    contract: Contract, project_code: str, day: date, used_orders: Mapping[str, Money]
) -> dict[str, Any]:
    """Purchase order, group and group key of work (or a fee) of a day.

    Without an order that covers it it stands in the group without one, where billing holds it if one is
    required: a missing order is no reason not to post the cost.
    """
    order = order_for(contract, day, used_orders)
    number = order.number if isinstance(order, PurchaseOrder) else None
    group = group_of(contract, project_code, number)
    return {"purchase_order": number, "group": group, "group_key": group_key(group)}


@dataclass(frozen=True)
class Due:
    """The cycle in which something is billed. ``late``: the cycle of its own day was invoiced before."""

    cycle: Cycle
    late: bool = False


ADVANCE = "advance"
"""Ends the cycle key of what is billed in advance: its invoice does not make the cycle's work late."""


def due_cycle(
    contract: Contract, day: date, through: date, invoiced: Collection[str], *, in_advance: bool = False
) -> Due | None:
    """In which cycle work (or a fee) of a day is billed; None while that cycle is not over.

    Time that arrives after its cycle's invoice goes to the next cycle that is not invoiced, or to a further
    invoice of its own cycle, as the contract says.

    Args:
        contract: its cycle and its rule for late time.
        day: work date, or the day from which a fee may be billed.
        through: cutoff.
        invoiced: keys of the cycles of this group that have an issued invoice.
        in_advance: a retainer's period: due on its first day, on an invoice apart from the cycle's work.
    """
    if day > through:
        return None
    if in_advance:
        cycle = cycle_of(contract.cycle, day, start=contract.start)
        return Due(cycle.model_copy(update={"key": f"{cycle.key}-{ADVANCE}"}))
    if contract.cycle is BillingCycle.ON_COMPLETION:
        over = contract.end is not None and contract.end <= through
        cycle = cycle_of(contract.cycle, through, start=contract.start)
        return Due(cycle, cycle.key in invoiced) if over else None
    cycle = cycle_of(contract.cycle, day)
    late = cycle.key in invoiced
    while cycle.key in invoiced and contract.late_time is LateTime.NEXT_CYCLE:
        cycle = cycle_of(contract.cycle, cycle.last + timedelta(days=1))
    return Due(cycle, late) if cycle.last <= through else None


LINE_KINDS = {
    ItemKind.TIME: InvoiceLineKind.TIME,
    ItemKind.EXPENSE: InvoiceLineKind.EXPENSE,
    ItemKind.MILESTONE: InvoiceLineKind.FEE,
    ItemKind.SCHEDULE_DATE: InvoiceLineKind.FEE,
    ItemKind.RETAINER_PERIOD: InvoiceLineKind.FEE,
    ItemKind.PROGRESS_PERIOD: InvoiceLineKind.FEE,
    ItemKind.ADJUSTMENT: InvoiceLineKind.ADJUSTMENT,
}
"""What an invoice line is, by the item it bills."""


def as_billed(amount: Money, contract: Contract, conversion: Conversion | None) -> Money:
    """An allocated amount in the invoice's currency, rounded once per line (rules 4, 5)."""
    if conversion is None:
        return amount.model_copy(update={"role": AmountRole.BILLING})
    value = Fraction(amount.amount) * Fraction(conversion.rate)
    return rounded(value, conversion.to_currency, contract.rounding, AmountRole.BILLING)


def description(kind: ItemKind, title: str, day: date, minutes: int) -> str:
    """What a client reads on an invoice line."""
    if kind is ItemKind.TIME:
        hours, rest = divmod(abs(minutes), 60)
        sign = "-" if minutes < 0 else ""
        return f"{day.isoformat()} {title}, {sign}{hours}:{rest:02} h"
    if kind is ItemKind.EXPENSE:
        return f"{day.isoformat()} {title}"
    return title


def sequence_after(existing: Iterable[int]) -> int:
    """The next sequence within a group's cycle."""
    return max(existing, default=0) + 1
