"""Following a run over many items: its own view, its posting, its billing groups; a bar while it goes on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from temporalio.client import Client

from activities.contracts import StartSaga, StartTimeToBilling
from canonical.names import SagaName, run_name, saga_id
from canonical.saga import SagaStatus, SagaView, StepState, Tally
from cli import sagas
from cli.billing import words
from cli.follow import FIRST_PAUSE, LONGEST_PAUSE, needs_a_person_or_ended
from cli.output import clean
from cli.session import Session
from workflows.figures import counted, share

ASKING = (SagaStatus.GATED.value, SagaStatus.PARKED.value, SagaStatus.UNDO_BLOCKED.value)
"""A billing group in such a state goes on only when somebody acts."""


@dataclass(frozen=True)
class Board:
    """A run and what it has started, as they stand."""

    run: SagaView | None
    """None: nobody ever answered."""
    posting: SagaView | None = None
    groups: dict[str, str] | None = None
    """Status of the billing groups under way, by saga id; None for runs that start none."""
    settled: bool = False
    """Ended, or nothing goes on before a person acts."""

    @property
    def figures(self) -> SagaView | None:
        """Whose items and money are shown: the posting's while it is under way."""
        if self.posting is not None and not (self.run and self.run.tallies):
            return self.posting
        return self.run

    @property
    def asking(self) -> dict[str, str]:
        """The billing groups that wait for a person, with their status."""
        return {saga: status for saga, status in (self.groups or {}).items() if status in ASKING}


async def look(client: Client, start: StartSaga) -> Board:
    """A run as it stands now.

    Raises:
        sagas.NoAnswer: no worker answers.
    """
    run = await sagas.live_view(client, start.saga_id)
    if run is None:
        return Board(None)
    if not isinstance(start, StartTimeToBilling):
        return Board(run, settled=needs_a_person_or_ended(run))
    posting = None
    if not _done(run, "post"):
        posting = await _posting_view(client, start)
    groups = await groups_under_way(client, start.saga_id)
    return Board(run, posting, groups, _settled(run, posting, groups))


async def _posting_view(client: Client, start: StartTimeToBilling) -> SagaView | None:
    """The posting that belongs to the run; None before it has begun."""
    record = run_name(start.erp, start.through.isoformat())
    name = saga_id(SagaName.POST_APPROVED_TIME, start.region, start.system, record)
    return await sagas.live_view(client, name)


async def groups_under_way(client: Client, run: str) -> dict[str, str]:
    """Status of the billing groups that a run has started and that have not ended, by saga id."""
    query = (
        f"ParentWorkflowId = {sagas.quoted(run)} AND WorkflowType = 'BillContract' "
        "AND ExecutionStatus = 'Running'"
    )
    return {one.id: sagas.status_of(one).value async for one in client.list_workflows(query)}


def _done(view: SagaView, step: str) -> bool:
    return any(one.id == step and one.state is StepState.DONE for one in view.steps)


def _settled(run: SagaView, posting: SagaView | None, groups: dict[str, str]) -> bool:
    if needs_a_person_or_ended(run):
        return True
    if not _done(run, "post"):
        return posting is not None and not posting.status.is_final and needs_a_person_or_ended(posting)
    # The groups are begun, and the run waits for them; the index knows of a new one a moment later.
    begun = any(step.id == "due" and step.state is StepState.DONE for step in run.steps)
    pages = any(step.id.startswith("due.") for step in run.steps)
    waiting = bool(groups) and all(status in ASKING for status in groups.values())
    return begun and not pages and waiting


async def follow(session: Session, start: StartSaga, seconds: float) -> Board:
    """Look at a run until it is settled or ``seconds`` have passed."""
    client = await session.client()
    deadline = time.monotonic() + seconds
    pause, board, sure = FIRST_PAUSE, Board(None), 0
    with _bar(session, words.subject(start.saga_id)) as bar:
        while True:
            try:
                board = await look(client, start)
                bar.show(board)
            except sagas.NoAnswer:
                bar.say("no worker answers yet")
            # Temporal's index lags: a run whose groups seem to wait is looked at twice.
            sure = sure + 1 if board.settled else 0
            final = board.run is not None and board.run.status.is_final
            if final or sure > 1:
                return board
            left = deadline - time.monotonic()
            if left <= 0:
                return board
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.3, LONGEST_PAUSE)


# --- the bar ----------------------------------------------------------------------------------------


class Bar:
    """Where following shows how far a run is; silent without a terminal."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = progress.add_task("begins", total=None, note="") if progress else None

    def say(self, text: str) -> None:
        """Show a word on what is going on."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, note=clean(text))

    def show(self, board: Board) -> None:
        """Show how far the run is."""
        if self._progress is None or self._task is None or board.run is None:
            return
        done, total = share(board.figures) if board.figures else (0, 0)
        self._progress.update(
            self._task,
            description=clean(stage(board)),
            completed=done,
            total=total or None,
            note=clean(status_line(board)),
        )


@contextmanager
def _bar(session: Session, title: str) -> Iterator[Bar]:
    if session.as_json or not sys.stderr.isatty():
        yield Bar(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True, highlight=False)
    console.print(clean(title))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


def stage(board: Board) -> str:
    """What is being done now."""
    view = board.posting or board.run
    if view is None:
        return "begins"
    doing = [step.title for step in view.steps if step.state is StepState.RUNNING]
    return doing[-1] if doing else view.status.value


def status_line(board: Board) -> str:
    """Items and money by state, the pace, and the groups, on one line."""
    view = board.figures
    parts: list[str] = []
    if view is not None:
        parts += [f"{one.state} {counted(one)}" for one in view.tallies if one.items]
        held = sum((one.tally for one in view.held), Tally(state="held"))
        parts += [f"held {counted(held)}"] if held.items else []
        parts += [words.pace(view)] if view.rate else []
    if board.groups:
        by_status = Counter(board.groups.values())
        parts += [f"{number} groups {status}" for status, number in sorted(by_status.items())]
    return " · ".join(parts)
