"""Stories of time-to-billing whose histories are replayed: each plays one run and answers its handle."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from temporalio.client import WorkflowContinuedAsNewError, WorkflowFailureError, WorkflowHandle

from activities.contracts import Pace, ReversalScope, ReviewEdits
from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.invoicing import Freed, LineAction, LineDecision
from canonical.saga import GateOutcome, RepairAction, RepairCommand, SagaStatus, SagaView
from canonical.terms import LateTime, OverageRule, RetainerTerms
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import CUTOFF, ERP, PSA, Project, Run, card, eur, line
from tests.e2e.firm import ROOT_ACTOR
from wiring.start_billing import start_run

COMPLETE, PARKED, STOPPED = SagaStatus.COMPLETE, SagaStatus.PARKED, SagaStatus.STOPPED
SMALL = Pace(piece_lines=4, pieces_at_once=2, batches_at_once=2, job_poll=0.1)


async def billing_posted(month: Month) -> Run:
    """Posting alone: what is in order is posted, one line is held."""
    project = await month.contract()
    month.time(project, 2, 3)
    month.time(project, 4, role=7)
    run = await month.post("recorded")
    await month.until(run, COMPLETE)
    return run


async def billing_month(month: Month) -> Run:
    """A cutoff: posted, one group reviewed and issued."""
    month.time(await month.contract(), 5)
    run = await month.start()
    await month.release_drafts(run)
    await month.until(run, COMPLETE)
    return run


async def billing_group_issued(month: Month) -> Run:
    """A group's draft is changed by its reviewer, released and issued."""
    project = await month.contract()
    month.time(project, 6, 9)
    run, group = await _under_review(month, project)
    lines = await month.lines(project)
    hold = LineDecision(allocation_key=lines[6], action=LineAction.HOLD, reason="asked for")
    edits = ReviewEdits(decisions=(hold,)).model_dump(mode="json")
    await month.decide(group, GateOutcome.AMEND, amendment=edits)
    await month.release_drafts(run)
    return group


async def billing_group_rejected(month: Month) -> Run:
    """A group's draft is rejected: removed in the ERP, its lines are open again."""
    project = await month.contract()
    month.time(project, 10)
    run, group = await _under_review(month, project)
    await month.decide(group, GateOutcome.REJECT, reason="not this month")
    await month.release_drafts(run)
    return group


async def billing_parked_and_repaired(month: Month) -> Run:
    """The ERP refuses the draft; somebody settles it there and retries."""
    run, group = await _refused(month, 11, "before-refusal")
    await repair(group, "draft")
    await month.release_drafts(run)
    return group


async def billing_cancelled_while_parked(month: Month) -> Run:
    """The ERP refuses the draft; the run is cancelled, and its lines are open again."""
    run, group = await _refused(month, 23, "before-another-refusal")
    await group.cancel()
    await month.until(group, SagaStatus.UNDONE)
    await month.release_drafts(run)
    return group


async def billing_posting_stopped(month: Month) -> Run:
    """Posting is cancelled and stops at its next batch."""
    project = await month.contract()
    month.time(project, *[12] * 30, minutes=10)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 1})
    run = await _posting(month, "stopped", pieces_per_run=200)
    await month.handed_over()
    await run.cancel()
    await month.until(run, STOPPED)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 0})
    return run


async def billing_posting_continued_as_new(month: Month) -> Run:
    """After its pieces a run continues as new: this is the first run."""
    project = await month.contract()
    month.time(project, *[13] * 30, minutes=10)
    run = await _posting(month, "continued", pieces_per_run=3)
    await month.until(_latest(month, run), COMPLETE)
    return run


async def billing_posting_after_continuing(month: Month) -> Run:
    """The last run of one that continued as new: it starts from the progress of the one before."""
    project = await month.contract()
    month.time(project, *[16] * 30, minutes=10)
    run = await _posting(month, "continued-again", pieces_per_run=3)
    await month.until(_latest(month, run), COMPLETE)
    found = await _latest(month, run).describe()
    return month.firm.client.get_workflow_handle(run.id, run_id=found.run_id, result_type=SagaView)


async def billing_credit(month: Month) -> Run:
    """A credit that a person asks for is approved by another one."""
    project = await month.contract()
    month.time(project, 17, minutes=60)
    await month.close()
    (invoice,) = [row for row in await month.documents(project) if row.corrects is None]
    starts = month.starts_as("carla")
    run = await start_run(month.firm.client, starts.credit(PSA, ERP, invoice.key, "disputed"))
    await month.decide(run, choice=Freed.HELD.value)
    await month.until(run, COMPLETE)
    return run


async def billing_taken_back(month: Month) -> Run:
    """Postings are taken back by command."""
    project = await month.contract()
    month.time(project, 18, 19)
    await month.posting("to-take-back")
    scope = ReversalScope(project_code=project.code)
    command = month.starts.reversal(PSA, ERP, scope, "recorded", plan=False, reason="wrong project")
    run = await start_run(month.firm.client, command)
    await month.until(run, COMPLETE)
    return run


async def billing_let_go(month: Month) -> Run:
    """What is held for a cause is checked again."""
    project = await month.contract()
    month.time(project, 20, role=7)
    await month.posting("to-let-go")
    command = month.starts.release(PSA, ERP, [Cause.RATE_MISSING], "recorded", plan=False)
    run = await start_run(month.firm.client, command)
    await month.until(run, COMPLETE)
    return run


async def billing_new_rates(month: Month) -> Run:
    """Rates rise for a day that is billed: the difference is approved."""
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.time(project, 24)
    await month.close()
    agreed = card("EUR", "2", consultant="160")
    run = await start_run(month.firm.client, month.starts.rates(PSA, ERP, project.contract, agreed, "agreed"))
    await month.decide(run, choice="bill")
    await month.until(run, COMPLETE)
    return run


async def billing_retainer_ended(month: Month) -> Run:
    """A cutoff at which what is left of a retainer expires."""
    terms = RetainerTerms(period_amount=eur("3000"), overage=OverageRule.BILL)
    agreed = line(BillingMethod.RETAINER, "18000", end=date(2027, 5, 31))
    await month.contract(agreed, retainer=terms)
    run = await month.start()
    await month.release_drafts(run)
    await month.until(run, COMPLETE)
    return run


async def repair(run: Run, step: str) -> None:
    """Retry a parked step."""
    command = RepairCommand(
        command_id=uuid.uuid4().hex,
        step=step,
        action=RepairAction.RETRY,
        actor=ROOT_ACTOR,
        reason="settled in the ERP",
    )
    await run.execute_update("resolve_step", command, result_type=SagaView)


async def _refused(month: Month, day: int, posting: str) -> tuple[Run, Run]:
    """A run of a cutoff and its group, whose draft the ERP refuses: parked."""
    project = await month.contract()
    month.time(project, day, minutes=60)
    await month.posting(posting)
    month.refuse_invoice(project, "no more invoices")
    run = await month.start()
    group = await month.group_of(project)
    await month.until(group, PARKED)
    return run, group


async def _under_review(month: Month, project: Project) -> tuple[Run, Run]:
    run = await month.start(CUTOFF)
    group = await month.group_of(project)
    await month.until(group, SagaStatus.GATED)
    return run, group


async def _posting(month: Month, name: str, *, pieces_per_run: int) -> Run:
    start = month.starts.posting(PSA, ERP, name)
    pace = SMALL.model_copy(update={"pieces_per_run": pieces_per_run})
    return await start_run(month.firm.client, start.model_copy(update={"pace": pace}))


def _latest(month: Month, run: Run) -> WorkflowHandle[Any, SagaView]:
    return month.firm.client.get_workflow_handle(run.id, result_type=SagaView)


BILLING_STORIES: tuple[Callable[[Month], Awaitable[Run]], ...] = (
    billing_posted,
    billing_month,
    billing_group_issued,
    billing_group_rejected,
    billing_parked_and_repaired,
    billing_cancelled_while_parked,
    billing_posting_stopped,
    billing_posting_continued_as_new,
    billing_posting_after_continuing,
    billing_credit,
    billing_taken_back,
    billing_let_go,
    billing_new_rates,
    billing_retainer_ended,
)


async def ended(run: Run) -> None:
    """Wait until a run's last event is written; a run that was stopped or undone ends with a failure."""
    with contextlib.suppress(WorkflowFailureError, WorkflowContinuedAsNewError):
        await run.result(follow_runs=False)
