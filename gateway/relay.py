"""From the ledger's outgoing events to one workflow for each subscriber that wants them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from temporalio.service import RPCError, RPCStatusCode

from canonical.failures import ConfigurationError, SystemFailure
from canonical.names import contract_entities
from ledger.outgoing import OutgoingRow
from runtime.gateway_sections import SubscriptionSection
from runtime.logging import logger
from wiring.events import Desk
from wiring.outgoing import tell

_log = logger("trueup.gateway")
STALE = timedelta(days=7)
"""What waited longer for a gateway is no news any more: an installation that gets its first subscriber after
a year must not tell it that year."""
_AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)
"""Temporal itself: every other event would fare the same."""


def wants(section: SubscriptionSection, row: OutgoingRow) -> bool:
    """Whether a subscriber is told an event: by type, and by the entities of its contracts."""
    if section.types and row.type not in section.types:
        return False
    if not section.entities:
        return True
    # What shows no entity is nobody's who may see only some.
    entities = contract_entities(row.data.get("codes") or {})
    return bool(entities) and all(one in section.entities for one in entities)


class Relay:
    """Hands outgoing events to Temporal. Enter it to let it run; several may: each event is told once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._section = desk.settings.gateway
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Relay:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def sweep(self) -> int:
        """Hand over everything that was not; answers how many events that were.

        Raises:
            Exception: what went wrong with the first that could not be handed over; the others were.
        """
        done, after, stale, failed = 0, 0, 0, None
        while rows := await self._desk.ledger.untold_events(after=after):
            for row in rows:
                after = row.id
                old = self._desk.ledger.now() - row.at > STALE
                stale += old
                try:
                    if not old:
                        await self._tell(row)
                except (SystemFailure, ConfigurationError):
                    raise
                except Exception as error:
                    if isinstance(error, RPCError) and error.status in _AWAY:
                        raise
                    # One that Temporal does not take must not keep those behind it waiting.
                    failed = failed or error
                    continue
                await self._desk.ledger.told(row.event_id)
                done += 1
        if stale:
            _log.warning("events that waited too long for a gateway are told to nobody", events=stale)
        if failed is not None:
            raise failed
        return done

    async def _tell(self, row: OutgoingRow) -> None:
        for name, section in self._section.subscriptions.items():
            if wants(section, row):
                await tell(
                    await self._desk.client(),
                    event_id=row.event_id,
                    type_=row.type,
                    subject=row.subject,
                    region=row.region,
                    subscription=name,
                )

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (SystemFailure, ConfigurationError, RPCError) as away:
                _log.warning("outgoing events wait", failure=str(away))
            except Exception as error:
                _log.error("outgoing events could not be handed over", exc_info=error)
            await asyncio.sleep(self._section.sweep_seconds)
