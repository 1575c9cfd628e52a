"""Starting sagas from the command line: what every trigger passes, from settings and systems."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.contracts import StartSaga
from canonical.names import SagaName
from canonical.saga import SagaView
from cli import sagas
from cli.output import Complaint, Exit
from cli.session import Session
from wiring.start import start, start_input


@dataclass(frozen=True)
class Begun:
    """A saga that was asked to start."""

    saga_id: str
    fresh: bool
    """False: it was complete before, nothing was started."""
    view: SagaView | None = None
    """The last view of one that was complete before."""


def only_opportunity_to_project(saga: SagaName) -> None:
    """Refuse the sagas that are not started by hand.

    Raises:
        Complaint: it is another one.
    """
    if saga is not SagaName.OPPORTUNITY_TO_PROJECT:
        raise Complaint(
            f"{saga.value} cannot be started from here.",
            remedy=f"Only {SagaName.OPPORTUNITY_TO_PROJECT.value} takes a deal.",
            code=Exit.USAGE,
        )


async def prepared(session: Session, deal: str, system: str, reason: str, *, plan: bool) -> StartSaga:
    """What a saga is started with, its field mappings kept in the ledger for whichever worker takes it.

    Raises:
        Complaint: the id cannot be one.
    """
    systems = await session.systems()
    await systems.store_mappings()
    try:
        return start_input(
            session.settings,
            systems.mapping_digests(),
            system=system,
            record_id=deal,
            actor=session.actor,
            reason=reason,
            plan=plan,
        )
    except ValueError as error:
        raise Complaint(f"{deal!r} is no deal id: {error}.", code=Exit.USAGE) from None


async def begin(session: Session, deal: str, system: str, reason: str) -> Begun:
    """Start one deal's saga, or find it running or complete."""
    given = await prepared(session, deal, system, reason, plan=False)
    try:
        await start(await session.client(), given)
    except WorkflowAlreadyStartedError:
        return Begun(given.saga_id, False, (await sagas.see(session, given.saga_id)).view)
    return Begun(given.saga_id, True)
