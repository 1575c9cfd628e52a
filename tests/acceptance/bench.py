"""The bench a row of the suite works on: a subject, a real ledger and the effect executor between them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.contracts import SagaRef, UndoStepResult
from activities.effects import Effects, Performed
from activities.sending import Attempt
from canonical.failures import SystemFailure
from canonical.saga import SYSTEM_ACTOR
from canonical.writes import VendorWrite
from ledger.store import Ledger
from tests.acceptance.operations import Asked
from tests.acceptance.subject import PLAIN, Site, Subject


class NotApplicable(Exception):
    """The vendor has nothing to accept here; the message is the reason its subject declares."""


@dataclass
class Bench:
    """One vendor and one ledger of its own. The executor's time passes only when it sleeps."""

    make: Callable[..., Subject]
    folder: Path
    ledger_template: Path
    """A migrated, empty SQLite ledger."""
    site: Site = PLAIN
    slept: list[float] = field(default_factory=list)
    """Seconds that the executor meant to wait."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    attempts: int = 0
    ledgers: int = 0

    async def open(self) -> None:
        """Start the simulator and open the ledger."""
        await self._open_ledger()
        self.subject = self.make(self.site)

    async def forget(self, *, restored: bool = False) -> None:
        """Go on with a ledger that knows nothing; ``restored``: and that knows this of itself."""
        await self.ledger.close()
        await self._open_ledger(look_always=restored)

    async def move_to(self, site: Site) -> Subject:
        """Go on with a fresh account served at ``site``."""
        await self.subject.close()
        self.subject = self.make(site)
        return self.subject

    async def _open_ledger(self, *, look_always: bool = False) -> None:
        self.ledgers += 1
        path = self.folder / f"ledger-{self.ledgers}.db"
        shutil.copy(self.ledger_template, path)
        self.ledger = await Ledger.open(f"sqlite:///{path}", clock=self._clock, look_always=look_always)
        self.effects = Effects(self.ledger, clock=self._clock, sleep=self._sleep)

    async def close(self) -> None:
        """Stop everything."""
        await self.subject.close()
        await self.ledger.close()

    async def perform(self, write: VendorWrite) -> bool:
        """One attempt of a step with this write; whether the attempt made the record itself.

        Raises:
            SystemFailure: as the saga would see it.
        """
        return (await self._attempt([write], {})).made[write.key]

    async def carry_out(self, asked: Asked) -> list[VendorWrite]:
        """One attempt of the step that an operation is; its writes, as this attempt planned them.

        Raises:
            SystemFailure: as the saga would see it.
        """
        writes = await asked.plan()
        await self._attempt(writes, asked.values)
        return writes

    async def _attempt(self, writes: Sequence[VendorWrite], values: Mapping[str, str]) -> Performed:
        self.attempts += 1
        return await self.effects.perform(
            self.subject.connector,
            self.subject.roles,
            writes,
            saga=saga_of(writes[0]),
            attempt=Attempt(f"attempt-{self.attempts}", datetime.now(UTC)),
            values=values,
        )

    async def undo(self, write: VendorWrite) -> UndoStepResult:
        """Undo the step that the write belongs to.

        Raises:
            SystemFailure: as the saga would see it.
        """
        return await self.effects.undo_step(self.subject.connector, write.step_key, saga=saga_of(write))

    def _clock(self) -> datetime:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def saga_of(write: VendorWrite) -> SagaRef:
    """The saga whose step a write belongs to."""
    saga_id = write.step_key.split("|", 1)[0]
    return SagaRef(
        saga_id=saga_id, region="emea", business_key=saga_id, trace_id="t" * 32, actor=SYSTEM_ACTOR
    )


def told(failure: SystemFailure) -> str:
    """Everything a failure says to people, logs and the ledger, its chain of causes included."""
    words: list[str] = []
    link: BaseException | None = failure
    while link is not None:
        words += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "\n".join([*words, failure.failure.model_dump_json()])


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged() -> Iterator[list[str]]:
    """Every line that anybody logs meanwhile, debug lines of the HTTP libraries included."""
    root, handler = logging.getLogger(), _Lines()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
