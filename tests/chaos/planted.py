"""Bugs that a saga engine is known to have, planted in a worker process at run time, so that the harness can
show that it would notice them. Nothing here touches a file of the product.

Each bug is a function that a worker process calls before it serves (``ChaosFirm.patches``).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from temporalio import activity, workflow

import wiring.workers
from activities.sending import Sending
from activities.undoing import Undoing
from canonical import names
from canonical.writes import WriteKind
from ledger.rows import ClaimState
from workflows.saga import Saga

Command = dict[str, Any]


def undo_after_the_step(_: Command) -> None:
    """The undo is registered when its step has succeeded, as in a list of compensations: what a step has
    made before it failed is forgotten.

    The second defence goes with it: a saga that is to be undone asks the ledger what else it has left, and
    the ledger, which knows every write before it is sent, would name what the list has forgotten.
    """
    _in_the_open()
    register, done = Saga._register_undo, Saga._done

    def owe(self: Saga, record: Any, queue: str, stands_on: tuple[str, ...]) -> None:
        vars(self).setdefault("owed", {})[record.id] = (queue, stands_on)

    def pay(self: Saga, record: Any, result: Any) -> Any:
        owed = vars(self).get("owed", {}).pop(record.id, None)
        if owed is not None:
            register(self, record, *owed)
        return done(self, record, result)

    async def trust_the_list(self: Saga) -> None:
        """Nothing is asked."""

    _replace(Saga, "_register_undo", owe)
    _replace(Saga, "_done", pay)
    _replace(Saga, "_find_left_behind", trust_the_list)


def key_from_the_run(_: Command) -> None:
    """The key holds the workflow's run id, as the engine's documentation suggests: a run that continues as
    new or is reset has other keys and finds nothing of what it made. The second defence goes with it: a
    step takes back what its present input has no place for, and other keys are no place.
    """
    honest = names.effect_key

    def effect_key(system: str, operation: str, identity: str, generation: int, ordinal: int = 1) -> str:
        run = activity.info().workflow_run_id if activity.in_activity() else ""
        return honest(system, operation, f"{identity}.{run}", generation, ordinal)

    for module in list(sys.modules.values()):
        if getattr(module, "effect_key", None) is honest:
            _replace(module, "effect_key", effect_key)

    async def leave_it(*_: Any, **__: Any) -> None:
        """What an earlier run made under another key is not taken back."""

    _replace(Undoing, "take_back_superseded", leave_it)


def no_look_before_a_resend(_: Command) -> None:
    """An attempt that may have reached the vendor is simply sent again."""
    honest = Sending._found

    async def found(self: Sending, system: Any, write: Any, claim: Any, *rest: Any) -> Any:
        if claim.state is ClaimState.LOOK and write.kind is WriteKind.CREATE:
            return None
        return await honest(self, system, write, claim, *rest)

    _replace(Sending, "_found", found)


def shield_without_the_drain_loop(_: Command) -> None:
    """``await asyncio.shield(task); raise``, as published samples have it: the cancel goes through, the
    workflow ends over work that is still running.
    """
    _in_the_open()
    _replace(Saga, "_shielded", _undrained)


def undo_without_the_drain_loop(_: Command) -> None:
    """The same around the undo alone. A cancel that began the undo cannot break it off, since the server
    hands a cancel to a workflow once; one that comes while a decision is being undone can.
    """
    _in_the_open()
    honest = Saga._shielded

    async def shielded(self: Saga, work: Coroutine[Any, Any, None]) -> None:
        await (_undrained if self.state.unwinding else honest)(self, work)

    _replace(Saga, "_shielded", shielded)


async def _undrained(self: Saga, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await workflow.wait_condition(lambda: task.done() or self._may_renew())
            if not task.done():
                await self._continue_as_new(task)
    except asyncio.CancelledError:
        self.state.cancelled = True
        raise
    task.result()


def _replace(owner: Any, name: str, value: Any) -> None:
    """Plant it; the type checker knows the honest one only."""
    setattr(owner, name, value)


def _in_the_open() -> None:
    """Let workers run the patched workflows of this process, not fresh copies of their files."""
    _replace(wiring.workers, "PASSED_THROUGH", (*wiring.workers.PASSED_THROUGH, "workflows"))
