"""Runs one case and judges it from the vendors' side."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from tests.chaos.cells import Cell, End, Fault
from tests.chaos.firm import CALL, LEDGER, ROLES, SYSTEMS
from tests.chaos.plays import HUNG, NotProven, Play
from tests.chaos.recording import UNDO_STEP, Call, Recording, Step

HOLD = 900
"""Milliseconds for which a call is held so that something can happen during it; less than a call may take."""
LATE = 2_600
"""Milliseconds after which a killed worker's call commits: later than the next attempt begins (the heartbeat
limit is two seconds), earlier than the lease ends (a call and a second)."""
QUIET = 1.5
"""Seconds without any call after which nothing of a terminated saga is under way."""


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


LEGAL: dict[End, tuple[tuple[str, ...], str]] = {
    End.COMPLETE: (("complete",), "complete"),
    End.UNDONE: (("undone",), "undone"),
    End.STOPPED: (("stopped",), "stopped"),
    End.LEFT: (("complete",), "complete"),
    End.PARKED: (("parked",), "complete"),
    End.UNDO_BLOCKED: (("undo-blocked",), "undone"),
    End.UNDONE_OR_KEPT: (("undone", "undo-blocked"), "undone"),
}
"""How a case may end at first, and once it is repaired."""
STUCK = ("parked", "undo-blocked")


async def run(play: Play, recording: Recording, cell: Cell) -> Result:
    """Run a case with a play of its own.

    Raises:
        NotProven: the moment was missed.
    """
    return await _Case(play, recording, cell).run()


class _Case:
    def __init__(self, play: Play, recording: Recording, cell: Cell) -> None:
        self.play, self.recording, self.cell = play, recording, cell
        self.firm, self.found = play.firm, play.found
        self.step: Step = next(step for step in recording.steps if step.id == cell.step)
        self.armed: list[Call] = []

    async def run(self) -> Result:
        began = time.monotonic()
        await self.firm.no_faults()
        await self.play.prepare()
        try:
            end = await self._run_and_judge()
        except NotProven:
            await self._calm()
            await self.play.leave()
            raise
        finally:
            await self._tidy()
        found = self.found
        return Result(
            self.cell, end, found.problems, found.duplicates, found.orphans, time.monotonic() - began
        )

    async def _run_and_judge(self) -> str:
        await self._go()
        first = end = await self.play.settle(HUNG)
        await self._check_hits()
        legal, last = LEGAL[self.cell.end]
        if end in STUCK and any(one in STUCK for one in legal):
            if end not in legal:
                self.found.say(f"is {end}, not {' or '.join(legal)}")
            await self.play.judge_stuck(end)
            await self.firm.no_faults()
            await self.play.repair("retry")
            end = await self.play.settle(HUNG)
        if first not in legal:
            self.found.say(f"ended as {first}, legal is {' or '.join(legal)}")
        await self._judge_fired()
        after = ""
        if end == last:
            after = await self.play.judge_end(end)
        else:
            self.found.say(f"came to {end} in the end, legal is {last}")
            await self.play.judge_wrong_end(end)
        ends = [first, *([end] if end != first else []), *([after] if after else [])]
        return ", then ".join(ends)

    # --- what happens ---------------------------------------------------------------------------------

    async def _go(self) -> None:
        fault, call = self.cell.fault, self.cell.call
        match fault:
            case Fault.ERROR if call is not None:
                await self._arm(call, "error_before", status=503)
                await self.play.start()
            case Fault.LOST if call is not None:
                await self._arm(call, "drop_after")
                await self.play.start()
            case Fault.REFUSED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self.play.start()
            case Fault.CANCEL_PARKED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self.play.start()
                if await self._until_parked():
                    await self.play.cancel()
                    if self.cell.end in (End.UNDONE, End.STOPPED):
                        await self._until_not_parked()
            case Fault.RENEWED if call is not None:
                await self._arm(call, "business", message="chaos says no")
                await self.play.start()
                if await self._until_parked():
                    await self.play.renew()
            case Fault.KILL_BEFORE | Fault.KILL_LATE | Fault.KILL_AFTER | Fault.KILL_ALL if call is not None:
                await self._kill(call)
            case Fault.CANCEL_BEFORE | Fault.CANCEL_AFTER | Fault.CANCEL_DURING:
                await self._cancel()
            case Fault.KILL_BEFORE:
                await self._at_a_step_without_calls(kill=True)
            case Fault.UNDO_KILL | Fault.CANCEL_UNDOING if call is None:
                await self._undo_on_the_ledger(kill=fault is Fault.UNDO_KILL)
            case _:
                await self._undo()

    async def _kill(self, call: Call) -> None:
        """The worker that performs the step dies while the call is in flight."""
        fault = self.cell.fault
        await self._arm_kill(call, before=fault is Fault.KILL_BEFORE, late=fault is Fault.KILL_LATE)
        await self.play.start()
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
            await self.play.start()
            await self._until("gated")
            await self.play.cancel()
        elif call is not None:
            # Before a step: what precedes it is done and its answer is held. Else: the call has not begun.
            await self._arm(call, "delay_after" if fault is Fault.CANCEL_BEFORE else "delay", delay_ms=HOLD)
            await self.play.start()
            await self._until_in_flight(call)
            await self.play.cancel()
            await self._still_in_flight(call)
        elif fault is Fault.CANCEL_DURING:
            await self._at_a_step_without_calls(kill=False)
        elif fault is Fault.CANCEL_BEFORE:
            self.firm.signal(SYSTEMS, signal.SIGSTOP)
            await self.play.start()
            await self.play.cancel()
            self.firm.signal(SYSTEMS, signal.SIGCONT)
        else:
            await self.play.start()
            await self.play.settle(HUNG)
            try:
                await self.play.cancel()
            except RPCError as refused:
                # The server says that the saga has ended: exactly what is expected here.
                if refused.status is not RPCStatusCode.NOT_FOUND:
                    raise

    async def _at_a_step_without_calls(self, *, kill: bool) -> None:
        """The step's worker stands still when the step is handed to it; then act."""
        role = LEDGER if self.step.on_the_ledger else SYSTEMS
        self.firm.stop_of(role).arm(self.step.activity, self.recording.same_before(self.step))
        await self.play.start()
        await self._until_stands(role, self.step.activity)
        await self._act(role, kill=kill)

    async def _act(self, role: str, *, kill: bool) -> None:
        """Kill the worker that stands still, or cancel and let it go on."""
        if kill:
            await self.firm.kill_and_restart(role)
        else:
            await self.play.cancel()
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
        await self.play.start()
        if decided:
            if not await self._until_parked():
                return
            await self.play.repair("undo_all")
        else:
            await self._until_in_flight(last)
            await self.play.cancel()
            await self._still_in_flight(last)
        if fault in (Fault.CANCEL_UNDOING, Fault.CANCEL_DECIDED):
            await self._until_in_flight(call)
            await self.play.cancel()
            await self._still_in_flight(call)
        if fault is Fault.UNDO_KILL:
            await self._until_in_flight(call)
            await self.firm.kill_and_restart(SYSTEMS)

    async def _undo_on_the_ledger(self, *, kill: bool) -> None:
        """Cancel at the gate; the ledger's worker stands still when the undo is handed to it; then act."""
        await self.play.start()
        await self._until("gated")
        self.firm.stop_of(LEDGER).arm(UNDO_STEP, 0)
        await self.play.cancel()
        await self._until_stands(LEDGER, UNDO_STEP)
        await self._act(LEDGER, kill=kill)

    # --- moments --------------------------------------------------------------------------------------

    async def _arm(self, call: Call, kind: str, **more: Any) -> None:
        if call not in self.armed:
            self.armed.append(call)
        await self.firm.control(call.vendor, "POST", "faults", call.fault(kind, **more))

    async def _check_hits(self) -> None:
        for call in self.armed:
            await self.play.check_hit(call)

    async def _until_in_flight(self, call: Call) -> None:
        """Wait until the delay that holds a call has begun."""
        give_up = time.monotonic() + HUNG
        while time.monotonic() < give_up:
            if await self.play.holds(call):
                return
            await self.play.approve()
            await asyncio.sleep(0.01)
        raise NotProven(f"{call.method} {call.pattern} was never called")

    async def _still_in_flight(self, call: Call) -> None:
        """Make sure that the held call has not ended meanwhile."""
        calls = (await self.firm.control(call.vendor, "GET", "calls"))["calls"]
        if not any(row["status"] is None for row in calls):
            raise NotProven(f"{call.method} {call.pattern} had ended before anything happened to it")

    async def _until_stands(self, role: str, activity: str) -> None:
        """Wait until the worker of a role stands still at an activity, and the server knows of it."""
        stop, give_up = self.firm.stop_of(role), time.monotonic() + HUNG
        while time.monotonic() < give_up:
            if stop.reached and await self.play.handed_over(activity, role):
                return
            await self.play.approve()
            await asyncio.sleep(0.02)
        raise NotProven(f"{activity} was never handed to a worker")

    async def _until(self, status: str) -> None:
        give_up = time.monotonic() + HUNG
        while await self.play.status() != status:
            if time.monotonic() > give_up:
                raise NotProven(f"never {status}")
            await asyncio.sleep(0.02)

    async def _until_parked(self) -> bool:
        """Whether it came to be parked; if not, the case has failed."""
        if (end := await self.play.settle(HUNG)) != "parked":
            self.found.say(f"was to be parked, is {end}")
            return False
        return True

    async def _until_not_parked(self) -> None:
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            if await self.play.status() != "parked":
                return
            await asyncio.sleep(0.02)

    async def _calm(self) -> None:
        """No fault is armed, every worker runs."""
        await self.firm.no_faults()
        for role in ROLES:
            if role in self.firm.pids:
                self.firm.signal(role, signal.SIGCONT)
            else:
                await self.firm.start_worker(role)

    async def _tidy(self) -> None:
        await self._calm()
        if await self.play.end():
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

    async def _judge_fired(self) -> None:
        """A fault that never fired proves nothing."""
        for vendor in self.firm.urls:
            for row in await self.firm.control(vendor, "GET", "faults"):
                if not row["fired"]:
                    self.found.say(f"the fault {row['kind']} on {row['method']} {row['path']} never fired")


__all__ = ["CALL", "NotProven", "Result", "run"]
