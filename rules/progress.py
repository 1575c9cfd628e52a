"""Inputs of the ERP's revenue computation, worked out from work, estimate and acceptance (rule 2). Pure.

No revenue is computed here, and no share of completion either: the ERP divides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from canonical.causes import Cause
from canonical.engagement import Contract, ContractLine, RevenueMethod
from canonical.failures import Finding
from canonical.money import Money, total
from canonical.names import project_key
from canonical.opening import OpeningPosition
from canonical.progress import (
    NEEDS_INPUTS,
    LineEffort,
    LineProgress,
    MeasuredLine,
    MeasuredMilestone,
)
from rules.findings import finding

WHOLE = Decimal(100)


def needs_inputs(contract: Contract) -> bool:
    """Whether the ERP has to be told anything of a contract to recognise its revenue."""
    return any(line.revenue_method in NEEDS_INPUTS for line in contract.lines)


def progress_of(
    contract: Contract,
    efforts: Mapping[str, LineEffort],
    measured: Mapping[str, MeasuredLine],
    before: Mapping[str, LineProgress],
    last: date,
    opening: OpeningPosition | None = None,
) -> tuple[list[LineProgress], list[Finding]]:
    """The inputs of a contract's lines at the end of a period, or why they are not known.

    Args:
        contract: as agreed.
        efforts: work through the period's end, by line.
        measured: what delivery says, by line.
        before: the inputs that were sent last for an earlier period, by line.
        last: the period's last day.
        opening: what was before us.

    Returns:
        One entry per line that needs inputs and whose inputs are known, and a finding for every other. Inputs
        are never guessed: with a finding the contract waits.
    """
    found: list[LineProgress] = []
    problems: list[Finding] = []
    for line in contract.lines:
        if line.revenue_method not in NEEDS_INPUTS:
            continue
        effort = efforts.get(line.key, LineEffort(line_key=line.key))
        told = measured.get(line.key, MeasuredLine(line_key=line.key))
        match line.revenue_method:
            case RevenueMethod.OVER_TIME_INPUT:
                one = _input(contract, line, effort, told, opening)
            case RevenueMethod.OVER_TIME_OUTPUT:
                one = _output(line, effort, told, last)
            case _:
                one = _point(line, effort, told, last)
        if isinstance(one, Finding):
            problems.append(one)
        else:
            found.append(in_period(one, effort, before.get(line.key)))
    return found, problems


def in_period(now: LineProgress, effort: LineEffort, before: LineProgress | None) -> LineProgress:
    """With what came since an earlier period's inputs.

    All periods' parts add up to the last period's sum to date, whatever was corrected in between: the
    correction of a closed period is part of the period in which it is sent, and counted there as such.
    """
    known = before.minutes_to_date if before is not None else 0
    costs = before.costs_to_date if before is not None else ()
    minutes = now.minutes_to_date - known
    return now.model_copy(
        update={
            "minutes_in_period": minutes,
            "corrections": minutes - effort.minutes_in_period,
            "costs_in_period": less(now.costs_to_date, costs),
        }
    )


def less(these: Iterable[Money], those: Iterable[Money]) -> tuple[Money, ...]:
    """Per currency what ``these`` have more than ``those``; currencies without a difference are left out."""
    sums: dict[str, int] = defaultdict(int)
    for sign, monies in ((1, these), (-1, those)):
        for one in monies:
            sums[one.currency] += sign * one.minor
    return tuple(Money.of_minor(sums[currency], currency) for currency in sorted(sums) if sums[currency])


def corrected(lines: Sequence[LineProgress]) -> int:
    """Minutes of earlier periods that these inputs bring along."""
    return sum(line.corrections for line in lines)


# --- the methods ------------------------------------------------------------------------------------


def _base(line: ContractLine, effort: LineEffort) -> LineProgress:
    return LineProgress(
        line_key=line.key,
        method=line.revenue_method,
        minutes_to_date=effort.minutes_to_date,
        costs_to_date=effort.costs_to_date,
    )


def _input(
    contract: Contract,
    line: ContractLine,
    effort: LineEffort,
    told: MeasuredLine,
    opening: OpeningPosition | None,
) -> LineProgress | Finding:
    """Effort and cost to date, and what is still to be worked."""
    what = f"{line.description!r} of contract {contract.key}"
    if opening is not None and opening.last_billed_work_date is not None:
        return finding(
            Cause.PROGRESS_UNKNOWN,
            f"{what} was worked on before {opening.last_billed_work_date.isoformat()}, where the ledger "
            "begins: its hours to date are not known here.",
            remedy="Keep its progress in the ERP by hand, or follow it by output: no hours are guessed.",
            at_stake=line.amount,
        )
    if _shared(contract, line):
        return finding(
            Cause.CONTRACT_LINE_UNCLEAR,
            f"{what} shares its delivery project with another line: one estimate cannot be told apart.",
            remedy="Give each line a service or region of its own by a change order.",
            at_stake=line.amount,
        )
    whole = told.minutes_at_completion
    if whole is None:
        return finding(
            Cause.ESTIMATE_MISSING,
            f"Nobody has estimated what is still to be worked on {what}.",
            at_stake=line.amount,
        )
    rest = whole - effort.minutes_to_date
    if rest < 0:
        return finding(
            Cause.ESTIMATE_EXCEEDED,
            f"{hours(effort.minutes_to_date)} h are worked on {what}, {hours(whole)} h are estimated for all "
            f"of it: {hours(-rest)} h less than nothing would be left.",
            at_stake=line.amount,
        )
    return _base(line, effort).model_copy(update={"minutes_to_complete": rest})


def _shared(contract: Contract, line: ContractLine) -> bool:
    def place(one: ContractLine) -> str:
        return project_key(contract.key, one.delivery_region, one.service_code)

    return sum(place(one) == place(line) for one in contract.lines) > 1


def _output(line: ContractLine, effort: LineEffort, told: MeasuredLine, last: date) -> LineProgress | Finding:
    """Milestones reached; where the line has none, the percentage that delivery reports."""
    base = _base(line, effort)
    stones = _stones(line)
    if stones:
        reached = _reached(stones, told, last)
        return base.model_copy(
            update={
                "milestones": len(stones),
                "milestones_reached": len(reached),
                "accepted": _worth(line, [stones[one.key] for one in reached]),
            }
        )
    if told.percent is None or not 0 <= told.percent <= WHOLE:
        return finding(
            Cause.PROGRESS_UNKNOWN,
            f"{line.description!r} has no milestones, and delivery reports no percentage between 0 and 100.",
            remedy="Report the progress of its delivery project; the next run takes it up.",
            at_stake=line.amount,
        )
    return base.model_copy(update={"percent": told.percent})


def _point(line: ContractLine, effort: LineEffort, told: MeasuredLine, last: date) -> LineProgress | Finding:
    """Whether the client has accepted everything, and when."""
    stones = _stones(line)
    if not stones:
        return finding(
            Cause.PROGRESS_UNKNOWN,
            f"{line.description!r} is recognised at a point in time and has no milestone to be accepted.",
            remedy="Give the line a milestone by a change order; its acceptance is then told.",
            at_stake=line.amount,
        )
    reached = _reached(stones, told, last)
    complete = len(reached) == len(stones)
    days = [one.reached_on for one in reached]
    # Where delivery tells no day, it is the end of the period in which it is first seen.
    on = max((day or last for day in days), default=None) if complete else None
    return _base(line, effort).model_copy(
        update={
            "milestones": len(stones),
            "milestones_reached": len(reached),
            "accepted": _worth(line, [stones[one.key] for one in reached]),
            "complete": complete,
            "accepted_on": on,
        }
    )


def _stones(line: ContractLine) -> dict[str, Money]:
    """Amounts of the line's milestones by their key."""
    if line.schedule is None:
        return {}
    found: dict[str, Money] = {}
    for one in line.schedule.dates:
        key = one.milestone_key or one.key
        found[key] = found[key] + one.amount if key in found else one.amount
    return found


def _reached(stones: Mapping[str, Money], told: MeasuredLine, last: date) -> list[MeasuredMilestone]:
    return [
        one
        for one in told.milestones
        if one.key in stones and one.reached and (one.reached_on is None or one.reached_on <= last)
    ]


def _worth(line: ContractLine, amounts: Sequence[Money]) -> Money:
    return total(amounts) if amounts else Money.of_minor(0, line.amount.currency, line.amount.role)


def hours(minutes: int) -> str:
    """Minutes as people read them: ``7:30``."""
    sign = "-" if minutes < 0 else ""
    return f"{sign}{abs(minutes) // 60}:{abs(minutes) % 60:02d}"
