"""Held items: as exceptions by cause and project; letting all of a cause go, after showing what it does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from activities.contracts import StartSaga
from canonical.causes import Cause, Queue
from canonical.saga import HeldItems, SagaView, Tally
from canonical.unbilled import UnbilledGroup
from cli import words as saga_words
from cli.ask import confirmed
from cli.billing import runs, words
from cli.billing.arguments import BillingRoute
from cli.billing.follow import Board, follow
from cli.output import Complaint, Exit, Report, Table, Value, age, count
from cli.session import Session, command_id
from ledger.store import Ledger
from rules.causes import CATALOGUE, then
from workflows.figures import held_together, summed

WOULD_POST, IN_ERP = "would post", "already in the ERP"
"""States in which the preview of letting go counts items (``activities.billing.releasing``)."""


async def held_groups(
    ledger: Ledger, *, queue: Queue | None = None, cause: Cause | None = None
) -> list[UnbilledGroup]:
    """Items that wait for somebody, by cause and project, each with the queue that acts; dearest first."""
    found = []
    for one in await ledger.unbilled_groups():
        if one.cause is None or cause not in (None, one.cause):
            continue
        owner = CATALOGUE[one.cause].queue
        if queue in (None, owner):
            found.append(one.model_copy(update={"queue": owner}))
    return sorted(found, key=lambda one: (-(one.amount.minor if one.amount else 0), -one.minutes, one.reason))


def exceptions_table(groups: Sequence[UnbilledGroup], now: datetime) -> Table:
    """Held items by cause and project."""
    rows: list[list[Value]] = [
        [
            one.reason,
            one.project_code or "(no project)",
            one.legal_entity or "",
            f"{one.items:,}",
            words.effort(one.minutes),
            str(one.amount) if one.amount is not None else "-",
            age(one.since, now),
            one.queue.value if one.queue else "",
            CATALOGUE[one.cause].remedy if one.cause else "",
            then(one.cause) if one.cause else "",
        ]
        for one in groups
    ]
    columns = (
        "cause", "project", "entity", "items", "hours", "at stake", "oldest", "who", "remedy", "then",
    )  # fmt: skip
    return Table(columns, rows, title="Held items, by cause and project")


def group_facts(one: UnbilledGroup) -> dict[str, Any]:
    """For ``--json``."""
    return {**one.model_dump(mode="json"), "next": then(one.cause) if one.cause else None}


# --- letting go -------------------------------------------------------------------------------------


async def let_go(
    session: Session,
    cause: Cause,
    groups: Sequence[UnbilledGroup],
    *,
    project: str | None,
    reason: str,
    yes: bool,
    wait: bool,
    timeout: float,
) -> Report:
    """Check everything held for a cause again, show what would happen, and let it happen when confirmed.

    Raises:
        Complaint: nobody confirmed, or no worker made the preview.
    """
    routes = list(dict.fromkeys(BillingRoute(route.psa, route.erp) for route in session.settings.routes))
    starts, command = await runs.starts(session), command_id()
    previews: list[tuple[BillingRoute, SagaView]] = []
    for route in routes:
        plan = starts.release(
            route.psa, route.erp, [cause], command, plan=True, project_code=project, reason=reason
        )
        previews.append((route, await preview(session, plan, timeout)))
    whole = summed((), (one for _, view in previews for one in view.tallies))
    held = held_together((), (one for _, view in previews for one in view.held))
    said = _preview_words(cause, whole, groups)
    would = any(one.items for one in whole)
    parts: list[Table | str] = [words.tally_table(whole, "What letting go would do")] if would else []
    if held:
        parts.append(words.held_table(held))
    data: dict[str, Any] = {
        "cause": cause,
        "project": project,
        "would": whole,
        "still_held": held,
        "groups": list(groups),
        "started": [],
    }
    anew = _decided_anew(cause, groups, whole, held)
    if anew:
        parts.append(
            f"{count(anew, 'part')} of posted lines {'is' if anew == 1 else 'are'} open again and decided "
            "anew by the next billing run."
        )
    if not _of(whole, WOULD_POST).items and not _of(whole, IN_ERP).items and not anew:
        entry = CATALOGUE[cause]
        parts.append(f"Nothing of it is in order yet. {entry.queue.value}: {entry.remedy}")
        return Report(said, data, parts, Exit.FAILED)
    try:
        confirmed(session, said, yes)
    except Complaint as refused:
        # Whoever cannot be asked still sees what would happen.
        raise Complaint(
            refused.message, remedy=refused.remedy, command=refused.command, code=refused.code, details=data
        ) from None
    boards = []
    for route, view in previews:
        if not any(one.items for one in view.tallies) and not anew:
            continue
        start = starts.release(
            route.psa, route.erp, [cause], command, plan=False, project_code=project, reason=reason
        )
        await runs.begin(session, start)
        data["started"].append(start.saga_id)
        boards.append(await follow(session, start, timeout) if wait else Board(None))
        parts.append(f"  trueup show {start.saga_id}")
    done = "All that is in order is let go" if wait else "All that is in order is being let go"
    code = max((runs.exit_code(board) for board in boards if board.run), default=int(Exit.DONE))
    for board in boards:
        if board.run is not None:
            parts += [words.sentence(board.run), *saga_words.trouble(board.run)]
    return Report(f"{said} {done}, and posted.", data, parts, code)


def _preview_words(cause: Cause, whole: Sequence[Tally], groups: Sequence[UnbilledGroup]) -> str:
    post, there = _of(whole, WOULD_POST), _of(whole, IN_ERP)
    known = sum(one.items for one in groups)
    worth = f" ({words.hours(post.minutes)} h, {words.per_currency(post.amounts)})" if post.items else ""
    return (
        f"{cause.value} holds {count(known, 'item')}: {post.items:,} would post{worth}, {there.items:,} "
        f"{'is' if there.items == 1 else 'are'} in the ERP already."
    )


def _of(tallies: Sequence[Tally], state: str) -> Tally:
    return next((one for one in tallies if one.state == state), Tally(state=state))


def _decided_anew(
    cause: Cause, groups: Sequence[UnbilledGroup], whole: Sequence[Tally], held: Sequence[HeldItems]
) -> int:
    """Parts of posted items that billing holds: they need no posting, and are decided anew."""
    if cause not in _BILLING_HOLDS:
        return 0
    checked = sum(one.items for one in whole) + sum(one.tally.items for one in held)
    return max(0, sum(one.items for one in groups) - checked)


_BILLING_HOLDS = frozenset(
    {
        Cause.OVER_CAP,
        Cause.PURCHASE_ORDER_MISSING,
        Cause.PURCHASE_ORDER_EXPIRED,
        Cause.PURCHASE_ORDER_EXHAUSTED,
        Cause.RETAINER_EXHAUSTED,
        Cause.UNDER_REVIEW,
        Cause.MOVED_TO_LATER_CYCLE,
        Cause.TRANSFER_PENDING,
        Cause.CREDITED_ON_HOLD,
        Cause.NO_OPENING_POSITION,
    }
)
"""Causes for which billing holds what is posted already."""


async def preview(session: Session, start: StartSaga, timeout: float) -> SagaView:
    """Run a start in plan mode to its end.

    Raises:
        Complaint: no worker made it in time, or a system could not be asked.
    """
    await runs.begin(session, start)
    board = await follow(session, start, timeout)
    view = board.run
    if view is not None and view.status.is_final:
        return view
    if view is None:
        raise Complaint(
            f"No worker made the preview within {timeout:g} s; nothing was changed.",
            remedy="Start one, then try again:",
            command="trueup worker",
        )
    trouble = "; ".join(saga_words.trouble(view)) or view.headline
    raise Complaint(
        f"The preview was not ready within {timeout:g} s; nothing was changed. {trouble}",
        remedy="Try again, or allow more time with --timeout.",
        details=view,
    )
