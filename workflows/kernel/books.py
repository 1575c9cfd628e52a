"""Cases and decisions to the ledger: in order, never in the way of the saga."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.contracts import (
    CloseCase,
    EscalateCase,
    FinishSaga,
    LedgerActivities,
    OpenCase,
)
from activities.options import CallClass
from canonical.failures import Failure
from canonical.names import LEDGER_QUEUE
from workflows.kernel.core import Core, growing_pause
from workflows.state import StepRecord

R = TypeVar("R")


class Books(Core):
    """Writes to the ledger behind the saga's back; an outage delays, it never loses."""

    def _book(self, method: Callable[..., Awaitable[None]], command: BaseModel) -> None:
        """Write to the ledger behind everything booked before, without holding the saga up."""
        if self.start.plan:
            return
        before = self._books

        async def entry() -> None:
            if before is not None:
                await before
            await self._execute_patiently(method, command, "ledger entry")

        self._books = asyncio.create_task(entry())

    async def _execute_patiently(
        self, method: Callable[..., Awaitable[R]], command: BaseModel, summary: str
    ) -> R:
        """Call the ledger until it answers: an outage delays, it never loses."""
        rounds = 0
        while True:
            try:
                answer: R = await self._call(method, command, summary, LEDGER_QUEUE, CallClass.LEDGER)
                return answer
            except ActivityError:
                rounds += 1
            pause = growing_pause(self.start.timings, rounds)
            await workflow.sleep(timedelta(seconds=pause), summary="ledger: try again")

    def _open_case(self, record: StepRecord, failure: Failure, *, transient: bool) -> None:
        record.case_open = True
        self._book(
            LedgerActivities.open_case,
            OpenCase(
                saga=self.ref,
                step=record.id,
                failure=failure.model_copy(update={"at_stake": failure.at_stake or self.state.at_stake}),
                transient=transient,
                opened_at=workflow.now(),
                links=record.records,
            ),
        )

    def _close_case(self, record: StepRecord, resolution: str) -> None:
        if record.case_open:
            record.case_open = False
            self._book(
                LedgerActivities.close_case, CloseCase(saga=self.ref, step=record.id, resolution=resolution)
            )

    def _remind(self, record: StepRecord, message: str) -> None:
        record.reminded += 1
        self._book(
            LedgerActivities.escalate_case, EscalateCase(saga=self.ref, step=record.id, message=message)
        )

    async def _finish(self) -> None:
        if self._books is not None:
            await self._books
        await self._execute_patiently(
            LedgerActivities.finish_saga,
            FinishSaga(saga=self.ref, view=self.state.view()),
            "close the saga's row",
        )
