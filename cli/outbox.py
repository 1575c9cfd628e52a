"""``trueup outbox``: our own events that a subscriber did not take, sending them again, or dropping them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from canonical.names import delivery_id
from cli.command import command
from cli.output import Cell, Complaint, Exit, Report, Table, Value, age, count
from cli.session import Session, command_id
from ledger.store import Ledger
from ledger.undelivered import UndeliveredRow, UndeliveredState
from wiring.outgoing import tell_again

MOST = 5_000
"""Events that one ``--retry`` or ``--drop`` takes at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "outbox")(outbox)


async def outbox(
    session: Session,
    subscription: Annotated[str | None, typer.Option("--subscription", help="Only for this one.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Send them again, with all attempts.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Nobody needs them; needs --reason.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Events shown at most.")] = 50,
) -> Report:
    """List events of ours that a subscriber did not take in all attempts, oldest first."""
    if retry and drop:
        raise Complaint("Say one of --retry and --drop.", code=Exit.USAGE)
    if drop and not reason:
        raise Complaint("--drop needs --reason.", code=Exit.USAGE)
    ledger = await session.ledger()
    known = session.settings.gateway.subscriptions
    if subscription is not None and subscription not in {*known, *(await ledger.undelivered_counts())}:
        configured = ", ".join(known) or "none"
        raise Complaint(f"{subscription!r} is no subscription; configured: {configured}.", code=Exit.USAGE)
    done: list[UndeliveredRow] = []
    left: list[str] = []
    if retry or drop:
        rows = (await ledger.undelivered(subscription=subscription, limit=MOST)).rows
        done, left = await _sent_again(session, rows) if retry else (list(rows), [])
        state = UndeliveredState.AGAIN if retry else UndeliveredState.DROPPED
        await ledger.settle_undelivered(
            done, state, command_id=command_id(), actor=session.actor, reason=reason
        )
    return await _report(session, ledger, subscription, limit, done, left, retry=retry)


async def _sent_again(
    session: Session, rows: tuple[UndeliveredRow, ...]
) -> tuple[list[UndeliveredRow], list[str]]:
    """What is under way again, and why others are not."""
    done, left = [], []
    for row in rows:
        if row.subscription not in session.settings.gateway.subscriptions:
            left.append(
                f"Subscription {row.subscription} is not configured any more: configure it, or --drop."
            )
        elif await tell_again(await session.client(), row):
            done.append(row)
        else:
            left.append("A delivery that gave up has not quite ended: try again in a moment.")
    return done, list(dict.fromkeys(left))


async def _report(
    session: Session,
    ledger: Ledger,
    subscription: str | None,
    limit: int,
    done: list[UndeliveredRow],
    left: list[str],
    *,
    retry: bool,
) -> Report:
    counts = await ledger.undelivered_counts()
    waiting = await ledger.untold_counts()
    page = await ledger.undelivered(subscription=subscription, limit=limit)
    said = f"{count(sum(counts.values()), 'event')} not taken"
    said += f" by {count(len(counts), 'subscription')}" if counts else ""
    said += f", {waiting.events} not handed over yet."
    if done:
        said += f" {count(len(done), 'event')} {'sent again' if retry else 'dropped'}."
    parts: list[Table | str] = [*left]
    if page.rows:
        columns = ("event", "subscription", "type", "about", "gave up", "times", "last attempt")
        parts.append(Table(columns, [_line(session, row) for row in page.rows]))
        parts.append("When the receiver is mended:\n  trueup outbox --retry")
    if page.cursor is not None:
        parts.append(f"Only the oldest {limit}; narrow the list or raise --limit.")
    data = {
        "counts": counts,
        "not_handed_over": waiting.events,
        "sent_again" if retry else "dropped": len(done),
        "events": list(page.rows),
    }
    return Report(said, data, parts)


def _line(session: Session, row: UndeliveredRow) -> list[Value]:
    delivery = delivery_id(row.region, row.subscription, row.event_id)
    return [
        Cell(row.event_id, session.web(delivery)),
        row.subscription,
        row.type,
        row.subject,
        age(row.gave_up_at, datetime.now(UTC)),
        str(row.times),
        row.detail,
    ]
