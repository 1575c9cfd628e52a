"""Following a saga until it needs nobody's patience any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from canonical.saga import SagaStatus, SagaView, StepState
from cli import sagas
from cli.session import Progress

FIRST_PAUSE, LONGEST_PAUSE = 0.15, 2.0
"""Seconds between looks: short first, because most sagas take seconds."""
CLOSING_SECONDS = 5.0
"""How long the books of a saga that ended may take before we report without them."""


@dataclass(frozen=True)
class Followed:
    """Where a saga stands when following ended."""

    saga_id: str
    view: SagaView | None
    """None: nobody ever answered."""
    settled: bool
    """False: the time was over first."""


def needs_a_person_or_ended(view: SagaView) -> bool:
    """Ended, or waits for a person while nothing else of it is under way."""
    if view.status.is_final:
        return True
    stuck = view.status in (SagaStatus.PARKED, SagaStatus.UNDO_BLOCKED, SagaStatus.GATED)
    return stuck and not any(step.state in (StepState.RUNNING, StepState.UNDOING) for step in view.steps)


def undone_or_blocked(view: SagaView) -> bool:
    """Ended, or its undo needs a person: what a cancel is followed to."""
    return view.status.is_final or view.status is SagaStatus.UNDO_BLOCKED


async def follow(
    client: Client,
    saga: str,
    seconds: float,
    progress: Progress,
    until: Callable[[SagaView], bool] = needs_a_person_or_ended,
) -> Followed:
    """Look at a saga until ``until`` holds or ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    view: SagaView | None = None
    while True:
        try:
            view = await sagas.live_view(client, saga)
            if view is not None:
                progress.tell(f"{saga}: {view.headline}")
        except sagas.NoAnswer:
            progress.tell(f"{saga}: no worker answers yet")
        if view is not None and until(view):
            if view.status.is_final:
                await _closed(client, saga, deadline)
            return Followed(saga, view, True)
        left = deadline - time.monotonic()
        if left <= 0:
            return Followed(saga, view, False)
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.3, LONGEST_PAUSE)


async def _closed(client: Client, saga: str, deadline: float) -> None:
    """Let an ended saga close its books, so that the next command finds them closed."""
    patience = max(0.1, min(CLOSING_SECONDS, deadline - time.monotonic()))
    with suppress(WorkflowFailureError, RPCError, TimeoutError):
        await asyncio.wait_for(sagas.handle(client, saga).result(), patience)
