"""Stub activities of time-to-billing over a small world of lines: open, claimed, posted, due, drafted."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from temporalio import activity

from activities.contracts import (
    BeginRun,
    Collected,
    CollectPart,
    CollectWork,
    Draft,
    DueGroup,
    DuePage,
    EndRetainers,
    InvoiceProof,
    ListDue,
    MakeCredit,
    MakeInvoice,
    Marked,
    MarkExported,
    Piece,
    PostedPiece,
    PreparedPiece,
    ProposedCredit,
    ReadStanding,
    ReleaseHeld,
    ReleasePage,
    RetainersEnded,
    ReversalScope,
    ReversalSelection,
    ReviewDraft,
    ReviewEdits,
    RunBegun,
    SagaRef,
    SelectDraft,
    SelectReversals,
    ShapeCredit,
    Standing,
    StartBilling,
    StartCredit,
    StartPosting,
    StartRelease,
    StartReversal,
    StartTimeToBilling,
    StepOutcome,
    UndoStep,
    UndoStepResult,
)
from activities.options import Timings
from canonical.causes import Cause, Queue
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import SagaName, billing_name, saga_id
from canonical.refs import RecordRef
from canonical.saga import Actor, GateOutcome, GateRequest, HeldItems, Tally, Throughput
from tests.workflows.stubs import Desk

REVIEWERS = ("billing-manager",)


def euros(amount: int) -> Money:
    return Money.of_minor(amount * 100, "EUR")


def held(cause: Cause, items: int) -> HeldItems:
    tally = Tally(state="held", items=items, minutes=items * 60, amounts=(euros(items * 100),))
    return HeldItems(cause=cause, queue=Queue.MASTER_DATA, tally=tally)


@dataclass
class World:
    """One test's route, told apart by its region."""

    feed: list[int] = field(default_factory=list)
    """New lines that each stretch of reading brings."""
    open: int = 0
    known: bool = False
    """Each stretch finds only what an attempt before it took in."""
    bad: dict[int, int] = field(default_factory=dict)
    """By piece: lines that are held."""
    reversals: dict[int, int] = field(default_factory=dict)
    credits: dict[int, tuple[str, ...]] = field(default_factory=dict)
    posted: int = 0
    marked: int = 0
    unmarkable: int = 0
    """Lines whose mark delivery refuses."""
    taken_back: int = 0
    pieces: dict[tuple[str, int], int] = field(default_factory=dict)
    """Ready lines by run and piece."""
    posting_now: int = 0
    most_at_once: int = 0
    due: tuple[DueGroup, ...] = ()
    drafts: dict[str, Draft] = field(default_factory=dict)
    """By group."""
    differing: dict[str, int] = field(default_factory=dict)
    """By document: how many readings show another net."""
    retainers: RetainersEnded = field(default_factory=RetainersEnded)
    released: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    desk: Desk = field(default_factory=Desk)


WORLDS: dict[str, World] = {}


def world(saga: SagaRef) -> World:
    return WORLDS[saga.region]


def review(step: str = "gate.review", lines: int = 2) -> GateRequest:
    return GateRequest(
        gate="draft-review",
        step=step,
        title="Review of the draft",
        question="Issue it?",
        figures={"lines": str(lines)},
        roles=REVIEWERS,
        options=(GateOutcome.APPROVE, GateOutcome.AMEND, GateOutcome.REJECT, GateOutcome.SEND_BACK),
    )


async def _interruptibly(mine: World, call: str, command: Any) -> bool:
    """Take a call; True when the saga asked it to come to an end."""
    try:
        beats = asyncio.create_task(_beat())
        await mine.desk.take(call, command)
    except asyncio.CancelledError:
        return True
    finally:
        beats.cancel()
    return False


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.1)


class FeedStubs:
    @activity.defn(name="feed.collect")
    async def collect(self, command: CollectWork) -> Collected:
        mine = world(command.saga)
        await mine.desk.take("collect", command)
        new = mine.feed.pop(0) if mine.feed else 0
        mine.open += new
        told = 0 if mine.known else new
        return Collected(seen=new, new=told, open=mine.open > 0, next=CollectPart.TIME if mine.feed else None)

    @activity.defn(name="feed.mark")
    async def mark(self, command: MarkExported) -> Marked:
        mine = world(command.saga)
        await mine.desk.take("mark", command)
        rest = mine.posted - mine.marked
        refused = min(mine.unmarkable, rest)
        todo = min(command.limit, rest - refused)
        mine.marked += todo
        return Marked(marked=todo, refused=refused, more=todo < rest - refused)


class PostingStubs:
    @activity.defn(name="posting.prepare")
    async def prepare(self, command: Piece) -> PreparedPiece:
        mine = world(command.saga)
        await mine.desk.take(f"prepare {command.number}", command)
        claimed = min(command.limit, mine.open)
        mine.open -= claimed
        bad = mine.bad.get(command.number, 0)
        mine.pieces[command.saga.saga_id, command.number] = claimed - bad
        return PreparedPiece(
            claimed=claimed,
            ready=claimed - bad,
            reversals=mine.reversals.get(command.number, 0),
            held=(held(Cause.RATE_MISSING, bad),) if bad else (),
            credits=mine.credits.get(command.number, ()),
            more=mine.open > 0,
        )

    @activity.defn(name="posting.reverse")
    async def reverse(self, command: Piece) -> PostedPiece:
        mine = world(command.saga)
        await mine.desk.take(f"reverse {command.number}", command)
        done = mine.reversals.pop(command.number, 0)
        mine.taken_back += done
        return PostedPiece(reversed=done, tallies=(Tally(state="reversed", items=done),))

    @activity.defn(name="posting.post")
    async def post(self, command: Piece) -> PostedPiece:
        mine = world(command.saga)
        mine.posting_now += 1
        mine.most_at_once = max(mine.most_at_once, mine.posting_now)
        try:
            stopped = await _interruptibly(mine, f"post {command.number}", command)
        finally:
            mine.posting_now -= 1
        ready = mine.pieces[command.saga.saga_id, command.number]
        done = ready // 2 if stopped else ready
        mine.posted += done
        mine.open += ready - done
        return PostedPiece(
            posted=done,
            tallies=(Tally(state="posted", items=done, minutes=done * 60, amounts=(euros(done * 100),)),),
            rate=Throughput(system=command.erp, lines_per_second=400, calls_in_flight=4.8, limit=5),
            stopped=stopped,
        )

    @activity.defn(name="posting.select_reversals")
    async def select_reversals(self, command: SelectReversals) -> ReversalSelection:
        mine = world(command.saga)
        await mine.desk.take(f"select {command.number}", command)
        found = min(command.limit, mine.posted)
        if not command.saga.plan:
            mine.posted -= found
            mine.reversals[command.number] = found
        return ReversalSelection(
            reversals=found,
            by_form=(Tally(state="delete", items=found),),
            billed=Tally(state="billed", items=3),
            more=not command.saga.plan and mine.posted > 0,
        )

    @activity.defn(name="posting.release_held")
    async def release_held(self, command: ReleaseHeld) -> ReleasePage:
        mine = world(command.saga)
        await mine.desk.take("release", command)
        if not command.saga.plan:
            mine.open += 4
        return ReleasePage(
            would_post=Tally(state="would post", items=4),
            in_erp=Tally(state="already in the ERP", items=1),
            still_held=(held(Cause.RATE_MISSING, 2),),
            after="4" if command.after is None else None,
        )


class BillingStubs:
    @activity.defn(name="billing.begin_run")
    async def begin_run(self, command: BeginRun) -> RunBegun:
        await world(command.saga).desk.take("begin", command)
        return RunBegun()

    @activity.defn(name="billing.list_due")
    async def list_due(self, command: ListDue) -> DuePage:
        mine = world(command.saga)
        await mine.desk.take("due", command)
        first = int(command.after or 0)
        page = mine.due[first : first + 2]
        rest = first + 2 < len(mine.due)
        return DuePage(groups=page, after=str(first + 2) if rest else None)

    @activity.defn(name="billing.select")
    async def select(self, command: SelectDraft) -> Draft:
        mine = world(command.saga)
        await mine.desk.take(f"select {command.group}", command)
        draft = mine.drafts.get(command.group, Draft())
        if draft.findings:
            mine.drafts[command.group] = draft.model_copy(update={"findings": ()})
        return draft

    @activity.defn(name="billing.review")
    async def review(self, command: ReviewDraft) -> Draft:
        mine = world(command.saga)
        await mine.desk.take("review", command)
        group = next(name for name, draft in mine.drafts.items() if draft.invoice == command.invoice)
        edits = ReviewEdits.model_validate(command.decision.amendment)
        draft = mine.drafts[group]
        left = draft.lines - len(edits.decisions)
        assert draft.review is not None
        mine.drafts[group] = draft.model_copy(
            update={"lines": left, "review": review(f"{draft.review.step}.again", left)}
        )
        return mine.drafts[group]

    @activity.defn(name="billing.shape_credit")
    async def shape_credit(self, command: ShapeCredit) -> ProposedCredit:
        mine = world(command.saga)
        await mine.desk.take(f"shape {command.invoice}", command)
        if command.invoice == "none":
            return ProposedCredit()
        request = review("gate.credit").model_copy(
            update={"gate": "credit", "choices": {"unbilled": "bill again", "written_off": "give up"}}
        )
        return ProposedCredit(
            credit=f"{command.invoice}/credit-1", title="Credit", lines=1, net=euros(100), review=request
        )

    @activity.defn(name="billing.end_retainers")
    async def end_retainers(self, command: EndRetainers) -> RetainersEnded:
        mine = world(command.saga)
        await mine.desk.take("retainers", command)
        return mine.retainers

    @activity.defn(name="billing.standing")
    async def standing(self, command: ReadStanding) -> Standing:
        mine = world(command.saga)
        await mine.desk.take("standing", command)
        bad = sum(mine.bad.values())
        return Standing(held=(held(Cause.RATE_MISSING, bad),) if bad else ())

    @activity.defn(name="effects.undo_step")
    async def undo_step(self, command: UndoStep) -> UndoStepResult:
        """Of steps that changed only the ledger."""
        mine = world(command.saga)
        await mine.desk.take(f"undo {command.step}", command)
        mine.released.append(command.step)
        return UndoStepResult(done=("released",))


class InvoicingStubs:
    @activity.defn(name="invoicing.draft")
    async def draft(self, command: MakeInvoice) -> StepOutcome:
        await world(command.saga).desk.take("draft", command)
        return StepOutcome(values={"invoice.id": "900"}, records=(_record(command.system, "900"),))

    @activity.defn(name="invoicing.issue")
    async def issue(self, command: MakeInvoice) -> StepOutcome:
        mine = world(command.saga)
        await mine.desk.take("issue", command)
        mine.issued.append(command.invoice)
        return StepOutcome(records=(_record(command.system, "900"),))

    @activity.defn(name="invoicing.prove")
    async def prove(self, command: MakeInvoice) -> InvoiceProof:
        return await self._proof(command, command.invoice)

    @activity.defn(name="invoicing.credit")
    async def credit(self, command: MakeCredit) -> StepOutcome:
        mine = world(command.saga)
        await mine.desk.take("credit", command)
        mine.issued.append(command.credit)
        return StepOutcome(records=(_record(command.system, "901"),))

    @activity.defn(name="invoicing.prove_credit")
    async def prove_credit(self, command: MakeCredit) -> InvoiceProof:
        return await self._proof(command, command.credit)

    async def _proof(self, command: MakeInvoice | MakeCredit, document: str) -> InvoiceProof:
        mine = world(command.saga)
        await mine.desk.take("prove", command)
        wrong = mine.differing.get(document, 0)
        mine.differing[document] = max(0, wrong - 1)
        finding = Finding(
            cause=Cause.NET_DIFFERS,
            message="net is EUR 99.00, sent were EUR 100.00",
            remedy="look",
            queue=Queue.BILLING,
        )
        return InvoiceProof(
            record=_record(command.system, "900"),
            number="INV900",
            net=euros(100),
            gross=euros(119),
            differences=(finding,) if wrong else (),
        )


def _record(system: str, id_: str) -> RecordRef:
    return RecordRef(system=system, type="invoice", id=id_)


PSA, ERP = "kantata-main", "netsuite-emea"
CUTOFF = date(2026, 11, 30)


class Route:
    """One test's route: its world, and the starts of its sagas."""

    def __init__(self, **more: Any) -> None:
        self.region = f"r{uuid.uuid4().hex[:10]}"
        self.world = WORLDS[self.region] = World(**more)
        self.desk = self.world.desk
        self.common: dict[str, Any] = {
            "region": self.region,
            "actor": Actor(name="test"),
            "trace_id": "trace",
            "timings": Timings(attempts=1, heartbeat=1),
        }

    def id(self, saga: SagaName, system: str, record: str) -> str:
        return saga_id(saga, self.region, system, record)

    def posting(self, **more: Any) -> StartPosting:
        return StartPosting(
            **self.common,
            saga_id=self.id(SagaName.POST_APPROVED_TIME, PSA, "run"),
            system=PSA,
            record_id="run",
            erp=ERP,
            **more,
        )

    def billing(self, group: str, **more: Any) -> StartBilling:
        record = billing_name(group, "2026-11")
        return StartBilling(
            **self.common,
            saga_id=self.id(SagaName.BILL_CONTRACT, ERP, record),
            system=ERP,
            record_id=record,
            psa=PSA,
            group=group,
            cycle="2026-11",
            through=CUTOFF,
            **more,
        )

    def cutoff(self, **more: Any) -> StartTimeToBilling:
        return StartTimeToBilling(
            **self.common,
            saga_id=self.id(SagaName.TIME_TO_BILLING, PSA, "cutoff"),
            system=PSA,
            record_id="cutoff",
            erp=ERP,
            through=CUTOFF,
            **more,
        )

    def credit(self, invoice: str) -> StartCredit:
        return StartCredit(
            **self.common,
            saga_id=self.id(SagaName.CREDIT_INVOICE, ERP, invoice),
            system=ERP,
            record_id=invoice,
            psa=PSA,
            invoice=invoice,
        )

    def reversal(self, *, plan: bool, **more: Any) -> StartReversal:
        return StartReversal(
            **self.common,
            saga_id=saga_id(SagaName.REVERSE_POSTED, self.region, ERP, "command", plan=plan),
            system=ERP,
            record_id="command",
            psa=PSA,
            scope=ReversalScope(project_code="P-1"),
            plan=plan,
            **more,
        )

    def release(self, *, plan: bool) -> StartRelease:
        return StartRelease(
            **self.common,
            saga_id=saga_id(SagaName.RELEASE_HELD, self.region, PSA, "command", plan=plan),
            system=PSA,
            record_id="command",
            erp=ERP,
            causes=(Cause.RATE_MISSING,),
            plan=plan,
        )

    def draft(self, group: str, *, reviewed: bool = True, **more: Any) -> str:
        """A group with something to bill."""
        values: dict[str, Any] = {"lines": 2, "net": euros(100), **more}
        self.world.drafts[group] = Draft(
            invoice=f"{group}/2026-11/1",
            title=f"Acme for {group}",
            review=review(lines=values["lines"]) if reviewed else None,
            **values,
        )
        self.world.due = (*self.world.due, DueGroup(group=group, cycle="2026-11", title=group))
        return group
