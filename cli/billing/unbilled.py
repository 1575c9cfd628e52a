"""``trueup unbilled``: what is approved or billable and not billed, why, how much, and who acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.money import Money
from canonical.unbilled import UnbilledGroup
from cli.billing import words
from cli.billing.arguments import CutoffOption, EntityOption, the_cutoff, the_entity
from cli.command import command
from cli.output import Report, Table, Value, age, count, sums
from cli.session import Session
from ledger.store import Ledger
from rules.causes import CATALOGUE, then

Total = tuple[str, int, int, list[Money]]
NOBODY = "(no manager named)"
NO_PROJECT = "(no project)"


class By(StrEnum):
    """What the list is grouped by."""

    REASON = "reason"
    PROJECT = "project"
    MANAGER = "manager"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "unbilled")(unbilled)


async def unbilled(
    session: Session,
    by: Annotated[By, typer.Option("--by", help="Grouped by reason, project or manager.")] = By.REASON,
    entity: EntityOption = None,
    project: Annotated[str | None, typer.Option("--project", help="Only this project code.")] = None,
    cutoff: CutoffOption = None,
) -> Report:
    """List what is not billed yet: why, how many hours, how much per currency, who acts."""
    if entity is not None:
        the_entity(session, entity)
    through = the_cutoff(session, cutoff, entity) if cutoff is not None else None
    ledger = await session.ledger()
    groups = await ledger.unbilled_groups(legal_entity=entity, project_code=project, through=through)
    managers = await managers_of(ledger, groups) if by is By.MANAGER else {}
    key = _key(by, managers)
    items = sum(one.items for one in groups)
    money = sums(one.amount for one in groups)
    said = f"{count(items, 'item')} not billed"
    said += words.of_hours(sum(one.minutes for one in groups))
    said += f", {words.per_currency(money)}." if money else "."
    unpriced = sum(one.items for one in groups if one.amount is None)
    if unpriced:
        said += f" {unpriced:,} of them could not be priced yet."
    parts: list[Table | str] = [_table(groups, by, key)] if groups else []
    if groups and by is not By.REASON:
        parts.append(_by_reason(groups))
    data: dict[str, Any] = {
        "by": by,
        "entity": entity,
        "cutoff": through,
        "totals": money,
        "items": items,
        "rows": [_facts(row) for row in totals(groups, key)],
        "groups": [
            {**one.model_dump(mode="json"), "queue": queue_of(one), "manager": managers.get(one.contract_key)}
            for one in groups
        ],
    }
    return Report(said, data, parts)


def _key(by: By, managers: dict[str | None, str]) -> Callable[[UnbilledGroup], str]:
    match by:
        case By.REASON:
            return lambda one: one.reason
        case By.PROJECT:
            return lambda one: one.project_code or NO_PROJECT
        case By.MANAGER:
            return lambda one: managers.get(one.contract_key, NOBODY)


def totals(groups: Iterable[UnbilledGroup], key: Callable[[UnbilledGroup], str]) -> list[Total]:
    """(key, items, minutes, money per currency), dearest first; currencies only rank here."""
    found: dict[str, list[UnbilledGroup]] = {}
    for one in groups:
        found.setdefault(key(one), []).append(one)
    rows = [
        (
            name,
            sum(one.items for one in own),
            sum(one.minutes for one in own),
            sums(one.amount for one in own),
        )
        for name, own in found.items()
    ]
    return sorted(rows, key=lambda row: (-max((money.minor for money in row[3]), default=0), -row[2], row[0]))


def _money(groups: Iterable[UnbilledGroup]) -> list[Money]:
    return sums(one.amount for one in groups)


def _facts(row: Total) -> dict[str, Any]:
    name, items, minutes, money = row
    return {"key": name, "items": items, "minutes": minutes, "money": money}


def _table(groups: Sequence[UnbilledGroup], by: By, key: Callable[[UnbilledGroup], str]) -> Table:
    now = datetime.now(UTC)
    if by is By.REASON:
        return _by_reason(groups)
    rows: list[list[Value]] = []
    for name, items, minutes, money in totals(groups, key):
        own = [one for one in groups if key(one) == name]
        oldest = min((one.since for one in own if one.since is not None), default=None)
        why = ", ".join(
            f"{reason} {number:,}" for reason, number, _, _ in totals(own, lambda one: one.reason)
        )
        rows.append(
            [name, f"{items:,}", words.effort(minutes), words.per_currency(money), age(oldest, now), why]
        )
    return Table((by.value, "items", "hours", "money", "oldest", "why"), rows)


def _by_reason(groups: Sequence[UnbilledGroup]) -> Table:
    now = datetime.now(UTC)
    rows: list[list[Value]] = []
    for reason, items, minutes, money in totals(groups, lambda one: one.reason):
        own = [one for one in groups if one.reason == reason]
        oldest = min((one.since for one in own if one.since is not None), default=None)
        rows.append(
            [
                reason,
                f"{items:,}",
                words.effort(minutes),
                words.per_currency(money),
                age(oldest, now),
                queue_of(own[0]) or "nobody: the next run",
                next_of(own[0]),
            ]
        )
    columns = ("reason", "items", "hours", "money", "oldest", "who", "next")
    return Table(columns, rows, title="By reason")


def queue_of(group: UnbilledGroup) -> str | None:
    """Who acts; None where the next run does."""
    return CATALOGUE[group.cause].queue.value if group.cause is not None else None


def next_of(group: UnbilledGroup) -> str:
    """What to type about a reason."""
    if group.cause is Cause.NO_OPENING_POSITION:
        return "trueup opening list"
    if group.cause is not None:
        return then(group.cause)
    return {"on a draft": "trueup approvals"}.get(group.reason, "trueup start time-to-billing --cutoff DAY")


async def managers_of(ledger: Ledger, groups: Iterable[UnbilledGroup]) -> dict[str | None, str]:
    """The project manager's address by contract, as agreed with the contract."""
    found: dict[str | None, str] = {}
    for key in sorted({one.contract_key for one in groups if one.contract_key is not None}):
        row = await ledger.contract_version(key)
        if row is not None and (email := Contract.model_validate(row.terms).project_manager_email):
            found[key] = email
    return found
