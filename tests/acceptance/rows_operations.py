"""Rows about what sagas do with records that are there: each operation done, repeated, its answers lost,
refused and undone; each reading told and interrupted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import pytest

from canonical.failures import OutcomeUnknown, RateLimited, Refused, SystemFailure, Transient
from canonical.writes import VendorWrite
from tests.acceptance.bench import Bench, NotApplicable
from tests.acceptance.operations import Asked, Operation, Reading
from tests.acceptance.rows import row

WHAT = {
    Operation.CHANGE_SHOWN: "sales see the scope as it is proposed; finance's contract is marked as being "
    "changed",
    Operation.CHANGE: "sales see the scope as agreed; finance's contract gets lines that are changed, added "
    "and dropped, another billing schedule and end, its project too; delivery another budget, rate and "
    "milestones",
    Operation.CLOSING: "the project is closed in finance and for time in delivery, and the deal says so",
    Operation.REOPENING: "what was there before the closing is put back",
    Operation.PROGRESS: "finance is told a period's effort and what is still to be worked",
}
READ = {
    Reading.CHANGE: "in finance where each line stands, in delivery the positions of each role",
    Reading.CLOSING: "in finance the project, what is deferred and what invoices owe, in delivery time, "
    "expenses, unnamed positions and open requests",
    Reading.REVENUE: "in finance what is recognised and deferred, in delivery how much work a project is",
}
OperationCheck = Callable[[Operation, Bench], Awaitable[str]]
F = TypeVar("F", bound=SystemFailure)


async def _asked(operation: Operation, bench: Bench) -> tuple[Asked, list[VendorWrite], int]:
    """The operation, its first plan, and how many writes the vendor has taken before it."""
    asked = await bench.subject.asked(operation)
    if isinstance(asked, str):
        raise NotApplicable(asked)
    plan = await asked.plan()
    assert plan
    assert len({write.step_key for write in plan}) == 1
    assert asked.state() != asked.wanted, "it is there already: nothing would be proven"
    return asked, plan, len(bench.subject.writes())


async def _until_done(bench: Bench, asked: Asked, failure: type[F], most: int) -> list[F]:
    """Attempt after attempt until one ends well; how the others failed."""
    failures: list[F] = []
    while True:
        try:
            await bench.carry_out(asked)
        except failure as one:
            failures.append(one)
            assert len(failures) <= most, "it would go on for ever"
        else:
            return failures


async def _sent(bench: Bench, asked: Asked, plan: list[VendorWrite], before: int) -> str:
    """See that each write was sent once, whatever happened; how it may be said that one was not.

    A plan that reads what an earlier attempt added, to change that instead of adding it again, is another
    plan: such a write may go out once more, to the same effect.
    """
    bodies = {write.key: write.body for write in plan}
    again = sum(write.body != bodies[write.key] for write in await asked.plan())
    sent = len(bench.subject.writes()) - before
    assert len(plan) <= sent <= len(plan) + again, "what is there is not sent again"
    return "" if sent == len(plan) else "; what names a line it added, once more to the same effect"


async def repeated(operation: Operation, bench: Bench) -> str:
    """Done once, whatever is repeated."""
    asked, plan, before = await _asked(operation, bench)
    await bench.carry_out(asked)
    assert asked.state() == asked.wanted
    sent = len(bench.subject.writes()) - before
    assert sent == len(plan), "each write is one call"
    await bench.carry_out(asked)
    await bench.forget(restored=True)
    await bench.carry_out(asked)
    assert asked.state() == asked.wanted
    return f"once, with and without its ledger{await _sent(bench, asked, plan, before)}"


async def answer_lost(operation: Operation, bench: Bench) -> str:
    """Every answer is lost after the vendor has stored the write."""
    asked, plan, before = await _asked(operation, bench)
    for write in plan:
        bench.subject.fault("drop_after", **asked.place(write))
    lost = await _until_done(bench, asked, OutcomeUnknown, len(plan))
    assert lost
    assert all(one.failure.maybe_landed for one in lost)
    assert bench.subject.fired() == len(plan), "each answer was lost once"
    assert asked.state() == asked.wanted
    return f"unknown, then recognised; sent once{await _sent(bench, asked, plan, before)}"


async def refused(operation: Operation, bench: Bench) -> str:
    """Every write is refused by a rule of the vendor's, then with 422."""
    asked, plan, before = await _asked(operation, bench)
    state = asked.state()
    for write in plan:
        bench.subject.fault("business", message="Credit hold by finance", **asked.place(write))
    with pytest.raises(Refused) as first:
        await bench.carry_out(asked)
    assert asked.state() == state
    assert len(bench.subject.writes()) == before
    assert first.value.failure.maybe_landed is False
    own = [first.value, *await _until_done(bench, asked, Refused, len(plan))]
    for one in own:
        assert "Credit hold by finance" in one.failure.message
        assert one.failure.remedy
    assert bench.subject.fired() == len(plan), "each write was refused once"
    assert asked.state() == asked.wanted
    queue = own[0].failure.queue.value.replace("_", " ")
    return f"for a person with the {queue} queue, then done{await _sent(bench, asked, plan, before)}"


async def undone(operation: Operation, bench: Bench) -> str:
    """Undone twice, the first time with a lost answer; what goes forward only stays."""
    asked, plan, _ = await _asked(operation, bench)
    state = asked.state()
    await bench.carry_out(asked)
    if all(write.forward_only for write in plan):
        written = len(bench.subject.writes())
        with pytest.raises(Refused):
            await bench.undo(plan[0])
        assert asked.state() == asked.wanted
        assert len(bench.subject.writes()) == written
        return "refused: it goes forward only, and stays"
    assert not any(write.forward_only for write in plan)
    bench.subject.fault("drop_after", **asked.place(plan[-1]))
    with pytest.raises(OutcomeUnknown):
        await bench.undo(plan[0])
    assert bench.subject.fired() == 1
    assert len((await bench.undo(plan[0])).done) == len(plan)
    assert asked.state() == state
    written = len(bench.subject.writes())
    assert (await bench.undo(plan[0])).done == ()
    assert len(bench.subject.writes()) == written
    return "put back, once"


async def told(reading: Reading, bench: Bench) -> str:
    """Read as it is, interrupted in every way, read again."""
    asked, subject = await bench.subject.told(reading), bench.subject
    if isinstance(asked, str):
        raise NotApplicable(asked)
    assert await asked.read() == asked.wanted
    written, where = len(subject.writes()), {"method": asked.method, "path": asked.path}
    faults: list[dict[str, Any]] = [
        *({"kind": "error_before", "status": status} for status in (500, 502, 503)),
        *({"kind": kind} for kind in ("drop_before", "drop_after", "reset_mid_body")),
    ]
    for fault in faults:
        subject.fault(**fault, **where)
        with pytest.raises(Transient):
            await asked.read()
    subject.fault("rate_limit", retry_after=7, **where)
    with pytest.raises(RateLimited) as waits:
        await asked.read()
    assert waits.value.failure.retry_after_seconds == 7
    assert subject.fired() == 7
    assert await asked.read() == asked.wanted
    assert len(subject.writes()) == written
    return "told as it is; tried again, nothing half told"


_KINDS: tuple[tuple[OperationCheck, str, str], ...] = (
    (
        repeated,
        "repeated",
        "It is done, attempted again, and once more with an empty ledger after a restore: every write is "
        "sent once.",
    ),
    (
        answer_lost,
        "answer lost",
        "The connection drops after the vendor has stored each write: the outcome is unknown, the next "
        "attempt recognises it by what the record shows.",
    ),
    (
        refused,
        "refused",
        "A rule of the vendor refuses each write: a person gets the vendor's words and a remedy, nothing of "
        "it is there, and after the repair the same step goes through.",
    ),
    (
        undone,
        "undone",
        "It is undone twice, the first time with a lost answer: what was there before is there again. Steps "
        "that go forward only stay as they are.",
    ),
)


def _register() -> None:
    for operation in Operation:
        for check, word, means in _KINDS:
            opening = f"{WHAT[operation][0].upper()}{WHAT[operation][1:]}."
            bound = _named(partial(check, operation))
            row(
                f"{operation}: {word}", f"{opening} {means}", id=f"{operation.name.lower()}_{check.__name__}"
            )(bound)
    for reading in Reading:
        row(
            f"{reading}: read",
            f"Read is {READ[reading]}. Errors, lost connections and a limit on the way: it is tried again, "
            "and then tells the same.",
            id=f"{reading.name.lower()}_told",
        )(_named(partial(told, reading)))


def _named(check: Callable[[Bench], Awaitable[str]]) -> Callable[[Bench], Awaitable[str]]:
    async def named(bench: Bench) -> str:
        return await check(bench)

    return named


_register()
