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


def refuse_saga(saga: SagaName) -> None:
    """Refuse the sagas that no deal starts, with what does.

    Raises:
        Complaint: it is another one.
    """
    if saga is SagaName.OPPORTUNITY_TO_PROJECT:
        return
    remedies = {
        SagaName.TIME_TO_BILLING: (
            "It takes a route and a cutoff:",
            "trueup start time-to-billing --cutoff DAY",
        ),
        SagaName.POST_APPROVED_TIME: ("It takes a route:", "trueup start post-approved-time"),
        SagaName.BILL_CONTRACT: (
            "Time-to-billing starts it for every group that is due:",
            "trueup start time-to-billing --cutoff DAY",
        ),
        SagaName.CREDIT_INVOICE: (
            "It is proposed when a billed line changes at its source; decide it with:",
            "trueup approvals",
        ),
        SagaName.REVERSE_POSTED: (
            "Postings are taken back by another command:",
            "trueup reverse --help",
        ),
        SagaName.CHANGE_RATES: ("Rates come from a file:", "trueup rates import FILE"),
        SagaName.INVOICE_FEEDBACK: (
            "It takes ids of invoices in the ERP:",
            "trueup start invoice-feedback ID",
        ),
        SagaName.POLL_CHANGES: ("Schedules start it; by hand:", "trueup invoices --poll"),
        SagaName.CONTRACT_CHANGES: (
            "It begins with the contract's first change order:",
            "trueup start change-order FILE",
        ),
        SagaName.CLOSE_PROJECT: (
            "It takes a contract or its project code:",
            "trueup start close-project CONTRACT",
        ),
        SagaName.REOPEN_PROJECT: ("It has a command of its own:", "trueup reopen-project CONTRACT"),
        SagaName.REVENUE_FOLLOW_UP: (
            "It takes a period and a legal entity:",
            "trueup start revenue-follow-up PERIOD --entity ENTITY",
        ),
        SagaName.RELEASE_HELD: ("Held items are let go by cause:", "trueup resolve --cause CODE"),
    }
    remedy, command = remedies.get(saga, ("It is not built yet.", None))
    raise Complaint(
        f"{saga.value} is not started with a deal.", remedy=remedy, command=command, code=Exit.USAGE
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
