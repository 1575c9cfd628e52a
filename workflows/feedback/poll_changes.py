"""``PollChanges``: what a missed or never-sent event would have told is found by asking (rules 28, 44)."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import DealPollActivities, FeedbackActivities, Polled, PollFeed, StartPoll
from activities.options import CallClass
from canonical.causes import Queue
from canonical.feedback import Feed
from canonical.names import SagaName, system_queue
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

POLLING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.INFRASTRUCTURE,
    ends={
        SagaStatus.COMPLETE: "Polled.",
        SagaStatus.STOPPED: "Stopped: the next poll reads on from here.",
    },
)


@workflow.defn(name="PollChanges", failure_exception_types=[ValidationError])
class PollChanges(SagaHandlers):
    """One run per poll of one system; two at a time read the same, which is harmless."""

    @workflow.init
    def __init__(self, start: StartPoll | None = None) -> None:
        start = StartPoll.model_validate(start)
        self.start = start
        self.poll = start
        verb = "Comparing" if start.scan else "Asking"
        self.saga = Saga(
            SagaName.POLL_CHANGES.value, start, f"{verb} {start.system} for what changed", POLLING
        )

    @workflow.run
    async def run(self, start: StartPoll | None = None) -> SagaView:
        """Read every feed to its end and hand over what changed."""
        return await self.saga.conduct(self.ask)

    async def ask(self) -> None:
        """The business process."""
        said = []
        for feed in self._feeds():
            name = feed.value if feed is not None else "won deals"
            self.saga.stage(name.replace(" ", "-"), f"Ask for {name}", self.start.system)
        for feed in self._feeds():
            said.append(await self._read(feed))
        self.saga.state.conclusion = " ".join(said)

    def _feeds(self) -> tuple[Feed | None, ...]:
        """Won deals of a CRM; of an ERP everything that settles invoices. A scan compares invoices only."""
        if self.poll.deals:
            return (None,)
        return (Feed.INVOICES,) if self.poll.scan else tuple(Feed)

    async def _read(self, feed: Feed | None) -> str:
        notes, stage = self.saga.state.progress, feed.value if feed is not None else "won-deals"
        mine = notes.setdefault(stage, {"part": 0, "seen": 0, "handed": 0, "after": None, "more": True})
        while mine["more"]:
            part = await self._part(feed, f"{stage}.{mine['part'] + 1}", mine["after"])
            mine["part"] += 1
            mine["seen"] += part.seen
            mine["handed"] += part.handed
            mine["after"], mine["more"] = part.after, part.more
            words = f"{mine['seen']} seen, {mine['handed']} handed over"
            self.saga.fold(f"{stage}.{mine['part']}", stage, words)
            if self.saga.renewal_due():
                await self.saga.boundary()
        return f"{stage}: {mine['seen']} seen, {mine['handed']} handed over."

    async def _part(self, feed: Feed | None, step: str, after: str | None) -> Polled:
        pace = self.poll.pace
        command = PollFeed(
            saga=self.saga.ref,
            system=self.start.system,
            feed=feed,
            scan=self.poll.scan,
            after=after,
            page=pace.page,
            first_days=pace.scan_days if self.poll.scan else pace.first_days,
        )
        polled: Polled = await self.saga.step(
            step,
            "Ask what changed",
            DealPollActivities.poll_deals if feed is None else FeedbackActivities.poll,
            command,
            kind=StepKind.READ,
            queue=system_queue(self.start.system),
            call=CallClass.LONG,
            system=self.start.system,
        )
        return polled
