"""Starting runs of time-to-billing from the command line, and what is said of them."""

from __future__ import annotations

from typing import Any

from activities.contracts import StartSaga
from canonical.names import SagaName, saga_parts
from canonical.saga import SagaStatus
from cli import words as saga_words
from cli.billing import words
from cli.billing.follow import Board, follow
from cli.output import Complaint, Exit, Report, Table, Value
from cli.sagas import cell
from cli.session import Session
from wiring.start_billing import BillingStarts, start_run


async def starts(session: Session) -> BillingStarts:
    """Builds starts on behalf of whoever types; today's field mappings are kept for whichever worker."""
    systems = await session.systems()
    await systems.store_mappings()
    return BillingStarts(session.settings, systems.mapping_digests(), session.actor)


async def begin(session: Session, start: StartSaga) -> None:
    """Start a run, or find the one of its id that is under way."""
    await start_run(await session.client(), start)


def started(session: Session, start: StartSaga) -> Report:
    """What was started, without waiting for it."""
    rows: list[list[Value]] = [
        [cell(session, start.saga_id), "under way", f"trueup show {start.saga_id}"],
    ]
    data = {"saga_id": start.saga_id, "web": session.web(start.saga_id)}
    return Report(
        f"{words.subject(start.saga_id)} is under way.",
        data,
        [Table(("run", "status", "look at it"), rows)],
    )


async def followed(session: Session, start: StartSaga, timeout: float) -> Report:
    """Follow a run and say where it ended, or for whom it waits.

    Raises:
        Complaint: nobody answered in all that time.
    """
    board = await follow(session, start, timeout)
    if board.run is None:
        raise Complaint(
            f"{start.saga_id} was started, and no worker answered within {timeout:g} s; it begins as soon as "
            "one runs.",
            remedy="Start one:",
            command="trueup worker",
        )
    return reported(session, board, timeout)


def reported(session: Session, board: Board, timeout: float) -> Report:
    """Where a run stands after it was followed."""
    view = board.run
    assert view is not None
    said = [words.sentence(view)]
    waiting = board.asking
    if waiting and not view.status.is_final:
        gated = sum(status == SagaStatus.GATED.value for status in waiting.values())
        if gated:
            said.append(f"{gated} of its invoices {'waits' if gated == 1 else 'wait'} for review.")
        if stuck := len(waiting) - gated:
            said.append(f"{stuck} of its groups {'is' if stuck == 1 else 'are'} parked.")
    if not board.settled:
        said.append(f"Not finished within {timeout:g} s; it goes on.")
    shown = board.figures or view
    parts: list[Table | str] = [*words.figures(shown), *saga_words.trouble(view)]
    if board.posting is not None and board.posting is not view:
        parts += saga_words.trouble(board.posting)
    if under_way := board.groups:
        rows: list[list[Value]] = [
            [cell(session, saga), status, _next(saga, status)] for saga, status in sorted(under_way.items())
        ]
        parts.append(Table(("billing group", "status", "look at it"), rows, title="Groups under way"))
    if any(status == SagaStatus.GATED.value for status in waiting.values()):
        parts.append("Review the invoices:\n  trueup approvals")
    data: dict[str, Any] = {
        "saga_id": view.saga_id,
        "run": view,
        "posting": board.posting,
        "groups": board.groups,
        "settled": board.settled,
        "web": session.web(view.saga_id),
    }
    return Report(" ".join(said), data, parts, exit_code(board))


def _next(saga: str, status: str) -> str:
    verb = "approvals show" if status == SagaStatus.GATED.value else "show"
    return f"trueup {verb} {saga}"


def exit_code(board: Board) -> int:
    """What a command that waited for the run exits with."""
    view = board.run
    if view is None or not board.settled:
        return Exit.FAILED
    if not view.status.is_final:
        return Exit.PARKED
    return saga_words.exit_code(view)


def is_run(saga: SagaName) -> bool:
    """Whether a saga is one of time-to-billing's."""
    return saga in words.NATURES


def run_of(saga_id: str) -> SagaName:
    """Which run a saga id names."""
    return saga_parts(saga_id)[0]
