"""The terms that a change order results in, and whether a contract can have them (rules 8, 43)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, LineDelta, TermsDelta
from canonical.engagement import BillingMethod, BillingSchedule, Contract, ContractLine, ScheduleDate
from canonical.failures import Finding
from canonical.firm import Firm
from canonical.money import AmountRole, Money, total
from canonical.names import project_key
from rules.findings import finding
from rules.ratecards import card_problems

FIXED_TERMS = ("key", "engagement_key", "legal_entity", "currency", "erp", "parties", "dimensions")
"""What makes it this contract: another value is another contract (rules 3, 46)."""
FIXED_OF_A_LINE = ("service_code", "item", "delivery_region", "billing_method", "conversion")
"""What makes it this promise: another value is another line."""
BY_SCHEDULE = (BillingMethod.FIXED_SCHEDULE, BillingMethod.MILESTONE, BillingMethod.RETAINER)
"""Methods that bill the dates of a schedule."""


def resulting_terms(order: ChangeOrder, current: Contract) -> tuple[Contract | None, list[Finding]]:
    """The complete terms after the order, or why there are none.

    A snapshot carries them; a delta is laid over the terms in force.
    """
    if order.terms is not None:
        return order.terms, []
    assert order.delta is not None
    findings = list(_delta_problems(order.delta, current))
    return (None, findings) if findings else (_laid_over(order.delta, current), [])


def _delta_problems(delta: TermsDelta, current: Contract) -> Iterator[Finding]:
    known = {line.key for line in current.lines}
    named = Counter([*(one.key for one in delta.add), *(one.key for one in delta.change), *delta.drop])
    for key in sorted(key for key, times in named.items() if times > 1):
        yield invalid(f"Line {key} is named {named[key]} times.", "lines")
    for line in delta.add:
        if line.key in known:
            yield invalid(f"Line {line.key} is to be added and is there already.", "lines")
    for key in (*(one.key for one in delta.change), *delta.drop):
        if key not in known:
            yield invalid(f"Line {key} is to be changed or dropped and is not in the contract.", "lines")
    for one in delta.change:
        held = current.line(one.key)
        if held is not None:
            yield from _line_delta_problems(one, held)


def _line_delta_problems(delta: LineDelta, line: ContractLine) -> Iterator[Finding]:
    for what, money, held in (
        ("amount", delta.amount, line.amount),
        ("deal amount", delta.deal_amount, line.deal_amount),
    ):
        if money is not None and money.currency != held.currency:
            yield invalid(
                f"Line {line.key}: its {what} is in {held.currency}, not {money.currency}.", "lines"
            )
    if line.conversion is not None and (delta.amount is None) != (delta.deal_amount is None):
        yield invalid(
            f"Line {line.key} is converted: a change of its amount names the contract's and the deal's.",
            "lines",
        )
    dates = {one.key for one in line.schedule.dates} if line.schedule else set()
    for key in delta.drop_dates:
        if key not in dates:
            yield invalid(f"Line {line.key}: schedule date {key} is to be dropped and is not there.", "lines")


def _laid_over(delta: TermsDelta, current: Contract) -> Contract:
    changes = {one.key: one for one in delta.change}
    lines = [
        _changed_line(changes[line.key], line) if line.key in changes else line
        for line in current.lines
        if line.key not in delta.drop
    ]
    given = {
        "rate_card": delta.rate_card,
        "caps": delta.caps,
        "purchase_orders": delta.purchase_orders,
        "end": delta.end,
    }
    update = {name: value for name, value in given.items() if value is not None}
    lines += delta.add
    ends = [line.end for line in lines if line.end is not None]
    if delta.end is None and current.end is not None and ends:
        # A line that goes on longer takes the contract along.
        update["end"] = max(current.end, *ends)
    return current.model_copy(update={"lines": tuple(lines), **update})


def _changed_line(delta: LineDelta, line: ContractLine) -> ContractLine:
    update: dict[str, object] = {}
    if delta.amount is not None:
        update["amount"] = _plus(line.amount, delta.amount)
        # Without a conversion both currencies are one.
        update["deal_amount"] = _plus(line.deal_amount, delta.deal_amount or delta.amount)
    if delta.quantity is not None:
        update["quantity"] = line.quantity + delta.quantity
    for name in ("description", "start", "end"):
        if (value := getattr(delta, name)) is not None:
            update[name] = value
    if delta.put_dates or delta.drop_dates:
        update["schedule"] = _changed_schedule(delta, line)
    return line.model_copy(update=update)


def _plus(held: Money, by: Money) -> Money:
    return held.model_copy(update={"amount": held.amount + by.amount})


def _changed_schedule(delta: LineDelta, line: ContractLine) -> BillingSchedule | None:
    held = line.schedule or BillingSchedule(key=line.key, name=line.description, dates=())
    dates: dict[str, ScheduleDate] = {one.key: one for one in held.dates if one.key not in delta.drop_dates}
    dates |= {one.key: one for one in delta.put_dates}
    return held.model_copy(update={"dates": tuple(dates.values())}) if dates else None


# --- may the contract have them? ---------------------------------------------------------------------------


def terms_problems(
    order: ChangeOrder, current: Contract, new: Contract, *, firm: Firm, deliveries: Collection[str]
) -> list[Finding]:
    """Everything that is wrong with the resulting terms, all at once.

    Args:
        order: what they come from.
        current: the terms in force.
        new: the resulting ones.
        firm: its services and their items.
        deliveries: keys of the contract's delivery projects.
    """
    return [
        *_of_the_contract(order, current, new),
        *(one for line in new.lines for one in _of_a_line(line, current, new, firm, deliveries)),
        *_of_the_rates(current, new),
    ]


def _of_the_contract(order: ChangeOrder, current: Contract, new: Contract) -> Iterator[Finding]:
    if order.contract_key != current.key:
        yield invalid(f"It is about contract {order.contract_key}, not {current.key}.", "contract_key")
    for name in FIXED_TERMS:
        if getattr(new, name) != getattr(current, name):
            yield invalid(
                f"{name} is {getattr(new, name)}, and {getattr(current, name)} in force: that is another "
                "contract.",
                name,
            )
    if not new.lines:
        yield invalid("No line is left: a contract without scope is closed, not changed.", "lines")
    keys = Counter(line.key for line in new.lines)
    for key in sorted(key for key, times in keys.items() if times > 1):
        yield invalid(f"Line {key} is there {keys[key]} times.", "lines")
    dates = Counter(one.key for line in new.lines if line.schedule for one in line.schedule.dates)
    for key in sorted(key for key, times in dates.items() if times > 1):
        yield invalid(f"Schedule date {key} is there {dates[key]} times.", "lines")
    if new.start is not None and order.effective_on < new.start:
        yield invalid(
            f"It is effective on {order.effective_on}, before the contract begins ({new.start}).",
            "effective_on",
        )
    if new.start is not None and new.end is not None and new.end < new.start:
        yield invalid(f"The contract would end on {new.end}, before it begins ({new.start}).", "end")


def _of_a_line(
    line: ContractLine, current: Contract, new: Contract, firm: Firm, deliveries: Collection[str]
) -> Iterator[Finding]:
    where, before = f"Line {line.key}", current.line(line.key)
    if before is None:
        yield from _of_a_new_line(line, new, firm, deliveries)
    else:
        for name in FIXED_OF_A_LINE:
            if getattr(line, name) != getattr(before, name):
                yield invalid(f"{where}: {name} does not change; drop the line and add another.", "lines")
    if {line.amount.role, line.deal_amount.role} != {AmountRole.CONTRACT}:
        yield invalid(f"{where}: its amounts are of another role than {AmountRole.CONTRACT.value}.", "lines")
        return
    if line.amount.currency != new.currency:
        yield invalid(f"{where} is in {line.amount.currency}, the contract in {new.currency}.", "lines")
        return
    if line.amount.amount < 0:
        yield invalid(f"{where}: its amount would be {line.amount}.", "lines")
    if line.quantity <= 0:
        yield invalid(f"{where}: its quantity would be {line.quantity}.", "lines")
    if line.start is not None and line.end is not None and line.end < line.start:
        yield invalid(f"{where} would end on {line.end}, before it begins ({line.start}).", "lines")
    if line.end is not None and new.end is not None and line.end > new.end:
        yield invalid(f"{where} would end on {line.end}, after the contract ({new.end}).", "lines")
    yield from _of_both_amounts(line)
    yield from _of_a_schedule(line)


def _of_a_new_line(
    line: ContractLine, new: Contract, firm: Firm, deliveries: Collection[str]
) -> Iterator[Finding]:
    service = firm.service(line.service_code)
    if service is None:
        yield invalid(f"Line {line.key}: the firm sells no service {line.service_code!r}.", "lines")
        return
    if service.items.get(new.erp) != line.item:
        yield invalid(
            f"Line {line.key}: service {service.code} is item {service.items.get(new.erp)} in {new.erp}, "
            f"not {line.item}.",
            "lines",
        )
    if project_key(new.key, line.delivery_region, line.service_code) not in deliveries:
        yield invalid(
            f"Line {line.key}: the contract has no delivery project of service {line.service_code} in region "
            f"{line.delivery_region}. Such scope opens a project, and that a deal of its own does.",
            "lines",
        )


def _of_both_amounts(line: ContractLine) -> Iterator[Finding]:
    if line.conversion is None:
        agrees = line.deal_amount.amount == line.amount.amount
        agrees = agrees and line.deal_amount.currency == line.amount.currency
    else:
        agrees = line.deal_amount.currency == line.conversion.from_currency and (
            line.conversion.apply(line.deal_amount, AmountRole.CONTRACT).amount == line.amount.amount
        )
    if not agrees:
        yield invalid(
            f"Line {line.key}: {line.deal_amount} of the deal is not {line.amount} of the contract.", "lines"
        )


def _of_a_schedule(line: ContractLine) -> Iterator[Finding]:
    dates = line.schedule.dates if line.schedule else ()
    if not dates:
        if line.billing_method in BY_SCHEDULE:
            yield invalid(
                f"Line {line.key} is billed by {line.billing_method.value} and has no schedule.", "lines"
            )
        return
    kind = (line.amount.currency, line.amount.role)
    if any((one.amount.currency, one.amount.role) != kind or one.amount.amount < 0 for one in dates):
        yield invalid(
            f"Line {line.key}: an amount of its schedule is below zero, or in another currency or role.",
            "lines",
        )
        return
    due = total(one.amount for one in dates)
    if due.amount != line.amount.amount:
        yield invalid(
            f"Line {line.key}: its schedule adds up to {due}, its amount is {line.amount}.", "lines"
        )


def _of_the_rates(current: Contract, new: Contract) -> Iterator[Finding]:
    if new.rate_card is None or new.rate_card == current.rate_card:
        if new.rate_card is None and current.rate_card is not None:
            yield invalid("The contract would be without rates.", "rate_card")
        return
    for problem in card_problems(new, current.rate_card, new.rate_card):
        yield invalid(f"Rates: {problem}.", "rate_card")


def invalid(message: str, field: str) -> Finding:
    """A finding that makes a change order invalid."""
    return finding(Cause.CHANGE_ORDER_INVALID, message, field=field)
