"""``trueup start time-to-billing`` and ``post-approved-time``, and what they would do as far as is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from activities.contracts import StartSaga
from canonical.names import SagaName
from canonical.unbilled import UnbilledGroup
from cli.billing import runs, words
from cli.billing.arguments import BillingRoute, the_cutoff, the_entity, the_route
from cli.billing.unbilled import totals
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.session import Session
from rules.causes import CATALOGUE


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    saga: SagaName
    entity: str | None
    region: str | None
    psa: str | None
    erp: str | None
    cutoff: str | None
    reason: str


async def start_billing(
    session: Session, wanted: Wanted, *, plan_only: bool, wait: bool, timeout: float
) -> Report:
    """Start a run on a route for a cutoff, or preview it.

    Raises:
        Complaint: no such route, entity or cutoff.
    """
    route = the_route(session, entity=wanted.entity, region=wanted.region, psa=wanted.psa, erp=wanted.erp)
    through = the_cutoff(session, wanted.cutoff, wanted.entity) if wanted.cutoff is not None else None
    if wanted.saga is SagaName.TIME_TO_BILLING and through is None:
        raise Complaint(
            "Up to which day? Give --cutoff, for example --cutoff 2026-10-31 or --cutoff 2026-10.",
            code=Exit.USAGE,
        )
    if plan_only:
        return await preview(session, wanted.saga, route, through, wanted.entity)
    starts = await runs.starts(session)
    if wanted.saga is SagaName.TIME_TO_BILLING:
        assert through is not None
        start: StartSaga = starts.cutoff(route.psa, route.erp, through, wanted.reason)
    else:
        run = through.isoformat() if through is not None else f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
        start = starts.posting(route.psa, route.erp, run, through=through, reason=wanted.reason)
    await runs.begin(session, start)
    if not wait:
        return runs.started(session, start)
    return await runs.followed(session, start, timeout)


async def preview(
    session: Session, saga: SagaName, route: BillingRoute, through: date | None, entity: str | None
) -> Report:
    """What a run would do with the items that the ledger knows; nothing is read or written elsewhere."""
    if entity is not None:
        the_entity(session, entity)
    ledger = await session.ledger()
    groups = await ledger.unbilled_groups(legal_entity=entity, through=through)
    due = []
    if saga is SagaName.TIME_TO_BILLING and through is not None:
        after = ""
        while rows := await ledger.due_groups(route.erp, through, after=after):
            due += [row for row in rows if entity in (None, row.group.seller)]
            after = rows[-1].group_key
    up_to = f" up to {through.isoformat()}" if through is not None else ""
    posting = [one for one in groups if one.reason == "not posted"]
    held = [one for one in groups if one.cause is not None]
    said = (
        f"Preview of {saga.value} on {route}{up_to}: {_figures(posting)} to post, "
        f"{_figures(held)} held; nothing was started."
    )
    rows_: list[list[Value]] = [
        [reason, f"{items:,}", words.hours(minutes), words.per_currency(amounts), _who(reason)]
        for reason, items, minutes, amounts in totals(groups, lambda one: one.reason)
    ]
    parts: list[Table | str] = []
    if rows_:
        parts.append(Table(("state", "items", "hours", "money", "who"), rows_, title="Items"))
    if due:
        table: list[list[Value]] = [
            [row.group.seller, row.group.bill_to, row.group.subject, row.group.currency, row.group_key]
            for row in due
        ]
        columns = ("seller", "bill to", "for", "currency", "group")
        parts.append(Table(columns, table, title="Billing groups with open work"))
    parts.append(
        f"This is what the ledger has read so far; the run reads {route.psa} first, so there may be more.\n"
        "Whether a group's cycle is over by the cutoff is decided when the run looks at its contract."
    )
    data = {
        "saga": saga,
        "route": route,
        "cutoff": through,
        "entity": entity,
        "groups": groups,
        "due": [{"group_key": row.group_key, "group": row.group} for row in due],
    }
    return Report(said, data, parts)


def _figures(groups: Sequence[UnbilledGroup]) -> str:
    items = sum(one.items for one in groups)
    minutes = sum(one.minutes for one in groups)
    money = words.per_currency(one.amount for one in groups)
    rest = f" ({words.hours(minutes)} h, {money})" if items else ""
    return f"{count(items, 'item')}{rest}"


def _who(reason: str) -> str:
    entry = next((one for cause, one in CATALOGUE.items() if cause.value == reason), None)
    return entry.queue.value if entry is not None else "nobody: the next run"
