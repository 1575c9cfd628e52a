"""Runs one case and judges it from the vendors' side."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from cli.local.deals import Deal
from tests.chaos import vendors
from tests.chaos.cells import Cell, End, Fault
from tests.chaos.firm import CALL, LEDGER, ROLES, SYSTEMS, ChaosFirm
from tests.chaos.invariants import refs
from tests.chaos.oracle import Oracle
from tests.chaos.recording import Call, Recording, Step
from tests.chaos.verdict import Verdict

HOLD = 900
"""Milliseconds for which a call is held so that something can happen during it; less than a call may take."""
LATE = 2_600
"""Milliseconds after which a killed worker's call commits: later than the next attempt begins (the heartbeat
limit is two seconds), earlier than the lease ends (a call and a second)."""
END = 45.0
"""Seconds until a saga that has not ended counts as hung."""
QUIET = 1.5
"""Seconds without any call after which nothing of a terminated saga is under way."""


class NotProven(Exception):
    """The timing of the case was not met; it says nothing and is run again."""


@dataclass
class Result:
    """What came out of one case."""

    cell: Cell
    end: str
    problems: list[str] = field(default_factory=list)
    duplicates: int = 0
    orphans: int = 0
    seconds: float = 0.0
    tries: int = 1

    @property
    def passed(self) -> bool:
        """Whether the legal end was reached with exactly the right records."""
        return not self.problems

    def dump(self) -> dict[str, Any]:
        """One line of the results."""
        return {
            "key": self.cell.key,
            "seed": self.cell.seed,
            "step": self.cell.step,
            "fault": self.cell.fault.value,
            "expected": self.cell.end.value,
            "end": self.end,
            "passed": self.passed,
            "duplicates": self.duplicates,
            "orphans": self.orphans,
            "problems": self.problems[:6],
            "seconds": round(self.seconds, 2),
            "tries": self.tries,
            "call": None if self.cell.call is None else f"{self.cell.call.method} {self.cell.call.pattern}",
        }


async def run(firm: ChaosFirm, recording: Recording, cell: Cell, deal: Deal) -> Result:
    """Run a case with a fresh copy of its deal.

    Raises:
        NotProven: the moment was missed.
    """
    return await _Case(firm, recording, cell, deal).run()


class _Case:
    def __init__(self, firm: ChaosFirm, recording: Recording, cell: Cell, deal: Deal) -> None:
        self.firm, self.recording, self.cell, self.deal = firm, recording, cell, deal
        self.step: Step = next(step for step in recording.steps if step.id == cell.step)
        self.saga_id = ""
        self.problems: list[str] = []
        self.duplicates = self.orphans = 0
        self.handle: WorkflowHandle[Any, Any]

    async def run(self) -> Result:
        began = time.monotonic()
        firm = self.firm
        await firm.no_faults()
        await firm.seed(self.deal)
        self.before = await firm.records()
        self.marks = {vendor: await self._written(vendor, 0) for vendor in firm.urls}
        self.oracle = Oracle(firm.stack.config, self.before, self.deal.seed())
        try:
            end = await self._run_and_judge()
        finally:
            await self._tidy()
        return Result(self.cell, end, self.problems, self.duplicates, self.orphans, time.monotonic() - began)

    async def _run_and_judge(self) -> str:
        await self._go()
        stuck = self.cell.end in (End.PARKED, End.UNDO_BLOCKED, End.UNDONE_OR_KEPT)
        end = await self.firm.settle(self.handle, END)
        first = end
        if stuck and end in ("parked", "undo-blocked"):
            await self._judge_parked(end)
            await self.firm.no_faults()
            await self.firm.retry_parked(self.handle)
            end = await self.firm.settle(self.handle, END)
        await self._judge_end(first, end)
        await self._judge_fired()
        return first if first == end else f"{first}, then {end}"

    # --- what happens ---------------------------------------------------------------------------------

    async def _go(self) -> None:
        fault, call = self.cell.fault, self.cell.call
        match fault:
            case Fault.ERROR if call is not None:
                await self._arm(call, "error_before", status=503)
                await self._start()
            case Fault.LOST if call is not None:
                await self._arm(call, "drop_after")
                await self._start()
            case Fault.REFUSED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self._start()
            case Fault.CANCEL_PARKED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self._start()
                await self._until_parked()
                await self.handle.cancel()
                if self.cell.end is End.UNDONE:
                    await self._until_not_parked()
            case Fault.RENEWED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self._start()
                await self._until_parked()
                await self.firm.renew(self.handle)
            case Fault.KILL_BEFORE | Fault.KILL_LATE | Fault.KILL_AFTER | Fault.KILL_ALL if call is not None:
                await self._kill(call)
            case Fault.CANCEL_BEFORE | Fault.CANCEL_AFTER | Fault.CANCEL_DURING:
                await self._cancel()
            case Fault.KILL_BEFORE:
                await self._at_a_step_without_calls(kill=True)
            case _:
                await self._undo()

    async def _kill(self, call: Call) -> None:
        """The worker that performs the step dies while the call is in flight."""
        fault = self.cell.fault
        await self._arm_kill(call, before=fault is Fault.KILL_BEFORE, late=fault is Fault.KILL_LATE)
        await self._start()
        await self._until_in_flight(call)
        roles = ROLES if fault is Fault.KILL_ALL else (SYSTEMS,)
        for role in roles:
            self.firm.signal(role, signal.SIGKILL)
        await self._still_in_flight(call)
        await asyncio.gather(*(self.firm.start_worker(role) for role in roles))

    async def _arm_kill(self, call: Call, *, before: bool, late: bool) -> None:
        await self._arm(call, "delay" if before or late else "delay_after", delay_ms=LATE)
        if before:
            await self._arm(call, "error_before", status=503)

    async def _cancel(self) -> None:
        """A cancel at a boundary or in the middle of the step."""
        call, fault = self.cell.call, self.cell.fault
        if self.step.kind == "gate" and fault is Fault.CANCEL_DURING:
            await self._start()
            await self._until("gated")
            await self.handle.cancel()
        elif call is not None:
            # Before a step: what precedes it is done and its answer is held. Else: the call has not begun.
            await self._arm(call, "delay_after" if fault is Fault.CANCEL_BEFORE else "delay", delay_ms=HOLD)
            await self._start()
            await self._until_in_flight(call)
            await self.handle.cancel()
            await self._still_in_flight(call)
        elif fault is Fault.CANCEL_DURING:
            await self._at_a_step_without_calls(kill=False)
        elif fault is Fault.CANCEL_BEFORE:
            self.firm.signal(SYSTEMS, signal.SIGSTOP)
            await self._start()
            await self.handle.cancel()
            self.firm.signal(SYSTEMS, signal.SIGCONT)
        else:
            await self._start()
            await self.firm.settle(self.handle, END)
            try:
                await self.handle.cancel()
            except RPCError as refused:
                # The server says that the saga has ended: exactly what is expected here.
                if refused.status is not RPCStatusCode.NOT_FOUND:
                    raise

    async def _at_a_step_without_calls(self, *, kill: bool) -> None:
        """Stop the step's worker before the step begins, wait for the step to be handed to it, then act."""
        hold = self.cell.hold
        assert hold is not None
        await self._arm(hold, "delay_after", delay_ms=HOLD)
        await self._start()
        await self._until_in_flight(hold)
        role = LEDGER
        self.firm.signal(LEDGER, signal.SIGSTOP)
        await self._still_in_flight(hold)
        if not self.step.on_the_ledger:
            # Its worker makes the held call too: it can only be stopped after that.
            await self._until_handed_over(self.recording.decision_before(self.step).activity)
            role = SYSTEMS
            self.firm.signal(SYSTEMS, signal.SIGSTOP)
            self.firm.signal(LEDGER, signal.SIGCONT)
        await self._until_handed_over(self.step.activity)
        if kill:
            await self.firm.kill_and_restart(role)
        else:
            await self.handle.cancel()
            self.firm.signal(role, signal.SIGCONT)

    async def _undo(self) -> None:
        """Cancel at the last moment before activation; the undo of the step is what is hit."""
        fault, call = self.cell.fault, self.cell.call
        assert call is not None
        last = self.recording.last_before_pivot
        decided = fault is Fault.CANCEL_DECIDED
        if decided:
            await self._arm(last, "business", message="chaos says no")
        else:
            await self._arm(last, "delay_after", delay_ms=HOLD)
        match fault:
            case Fault.UNDO_ERROR:
                await self._arm(call, "error_before", status=503)
            case Fault.UNDO_LOST:
                await self._arm(call, "drop_after")
            case Fault.UNDO_REFUSED | Fault.KEPT:
                await self._arm(call, "business", message="chaos says no")
            case Fault.CANCEL_UNDOING | Fault.CANCEL_DECIDED:
                await self._arm(call, "delay", delay_ms=HOLD)
            case Fault.UNDO_KILL:
                await self._arm(call, "delay", delay_ms=LATE)
        await self._start()
        if decided:
            await self._until_parked()
            await self.firm.repair_parked(self.handle, "undo_all")
        else:
            await self._until_in_flight(last)
            await self.handle.cancel()
            await self._still_in_flight(last)
        if fault in (Fault.CANCEL_UNDOING, Fault.CANCEL_DECIDED):
            await self._until_in_flight(call)
            await self.handle.cancel()
            await self._still_in_flight(call)
        if fault is Fault.UNDO_KILL:
            await self._until_in_flight(call)
            await self.firm.kill_and_restart(SYSTEMS)

    # --- moments --------------------------------------------------------------------------------------

    async def _arm(self, call: Call, kind: str, **more: Any) -> None:
        await self.firm.control(call.vendor, "POST", "faults", call.fault(kind, **more))

    async def _start(self) -> None:
        self.handle = await self.firm.start(self.deal)
        self.saga_id = self.handle.id

    async def _faults(self, call: Call) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self.firm.control(call.vendor, "GET", "faults")
        return [row for row in rows if row["path"] == call.pattern and row["method"] == call.method]

    async def _until_in_flight(self, call: Call) -> None:
        """Wait until the delay that holds a call has begun."""
        give_up = time.monotonic() + END
        while time.monotonic() < give_up:
            if any(row["fired"] and row["kind"].startswith("delay") for row in await self._faults(call)):
                return
            await self.firm.approve(self.handle)
            await asyncio.sleep(0.01)
        raise NotProven(f"{call.method} {call.pattern} was never called")

    async def _still_in_flight(self, call: Call) -> None:
        """Make sure that the held call has not ended meanwhile."""
        calls = (await self.firm.control(call.vendor, "GET", "calls"))["calls"]
        if not any(row["status"] is None for row in calls):
            raise NotProven(f"{call.method} {call.pattern} had ended before anything happened to it")

    async def _until_handed_over(self, activity: str) -> None:
        give_up = time.monotonic() + END
        while time.monotonic() < give_up:
            pending = (await self.handle.describe()).raw_description.pending_activities
            if any(one.activity_type.name == activity and one.last_started_time.seconds for one in pending):
                return
            await asyncio.sleep(0.02)
        raise NotProven(f"{activity} was never handed to a worker")

    async def _until(self, status: str) -> None:
        give_up = time.monotonic() + END
        while await self.firm.status(self.handle) != status:
            if time.monotonic() > give_up:
                raise NotProven(f"never {status}")
            await asyncio.sleep(0.02)

    async def _until_parked(self) -> None:
        if (end := await self.firm.settle(self.handle, END)) != "parked":
            self.problems.append(f"was to be parked, is {end}")

    async def _until_not_parked(self) -> None:
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            if await self.firm.status(self.handle) != "parked":
                return
            await asyncio.sleep(0.02)

    async def _tidy(self) -> None:
        await self.firm.no_faults()
        for role in list(self.firm.pids):
            self.firm.signal(role, signal.SIGCONT)
        if self.saga_id and await self.firm.end(self.handle):
            await self._until_quiet()

    async def _until_quiet(self) -> None:
        """A step that was under way goes on for a moment after its saga was terminated."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            made = 0
            for vendor in self.firm.urls:
                made += len((await self.firm.control(vendor, "GET", "calls"))["calls"])
            if made != seen:
                seen, since = made, time.monotonic()
            await asyncio.sleep(0.2)

    # --- judging ---------------------------------------------------------------------------------------

    def _take(self, verdict: Verdict, when: str) -> None:
        self.problems += [f"{when}: {one}" for one in verdict.problems]
        self.duplicates += len(verdict.duplicates)
        self.orphans += len(verdict.orphans)

    async def _judge_parked(self, status: str) -> None:
        """Nothing twice, nothing foreign, and every record that is there is named to whoever repairs it."""
        expected = "undo-blocked" if self.cell.end in (End.UNDO_BLOCKED, End.UNDONE_OR_KEPT) else "parked"
        if status != expected:
            self.problems.append(f"is {status}, not {expected}")
        seen = vendors.change(self.before, await self.firm.records())
        self._take(self.oracle.judge_partly(seen), status)
        cases = self.firm.cases(self.saga_id)
        if not cases:
            self.problems.append(f"{status} without an open case")
        named = {pair for case in cases for pair in refs(case)}
        if status == "parked":
            # The case is about one step; the saga that it links names the records of the others.
            named |= set(refs(await self.firm.view(self.handle)))
        for vendor, types in vendors.live(seen).items():
            made = await self._created(vendor)
            for kind, rows in types.items():
                for id_ in rows:
                    if (kind, id_) in made and (kind, id_) not in named:
                        self.problems.append(f"{status}: {vendor} {kind} {id_} survives and nobody is told")

    async def _judge_end(self, first: str, end: str) -> None:
        wanted = self.cell.end
        legal_first = {
            End.COMPLETE: ("complete",),
            End.UNDONE: ("undone",),
            End.PARKED: ("parked",),
            End.UNDO_BLOCKED: ("undo-blocked",),
            End.UNDONE_OR_KEPT: ("undone", "undo-blocked"),
        }[wanted]
        last = "complete" if wanted in (End.COMPLETE, End.PARKED) else "undone"
        if first not in legal_first:
            self.problems.append(f"ended as {first}, legal is {' or '.join(legal_first)}")
        if end != last:
            self.problems.append(f"came to {end} in the end, legal is {last}")
            if end not in ("complete", "undone"):
                view = await self.firm.view(self.handle)
                self.problems.append(str(view["headline"]))
                self._take(
                    self.oracle.judge_partly(vendors.change(self.before, await self.firm.records())), end
                )
                return
        seen = vendors.change(self.before, await self.firm.records())
        judge = self.oracle.judge_complete if end == "complete" else self.oracle.judge_undone
        self._take(judge(seen), end)
        left = self.firm.cases(self.saga_id)
        if left:
            self.problems.append(f"{end} with {len(left)} case(s) still open")

    async def _judge_fired(self) -> None:
        """A fault that never fired proves nothing."""
        for vendor in self.firm.urls:
            for row in await self.firm.control(vendor, "GET", "faults"):
                if not row["fired"]:
                    self.problems.append(
                        f"the fault {row['kind']} on {row['method']} {row['path']} never fired"
                    )

    async def _written(self, vendor: str, since: int) -> int:
        return len(await self.firm.control(vendor, "GET", f"writes?since={since}")) + since

    async def _created(self, vendor: str) -> set[tuple[str, str]]:
        rows = await self.firm.control(vendor, "GET", f"writes?since={self.marks[vendor]}")
        return {(row["type"], str(row["id"])) for row in rows if row["operation"] == "create"}


__all__ = ["CALL", "NotProven", "Result", "run"]
