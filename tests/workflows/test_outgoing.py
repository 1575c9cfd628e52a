"""``DeliverEvent``: tried again for days, patient where it is asked, over when nobody wants it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.contracts.outgoing import Delivery, GiveUp, OutgoingActivities
from canonical.names import EVENTS_QUEUE, WORKFLOW_QUEUE, delivery_id
from canonical.outgoing import DeliveryOutcome, OutgoingType
from ledger.undelivered import UndeliveredRow, UndeliveredState
from wiring.outgoing import tell, tell_again
from workflows.outgoing import PAUSES, DeliverEvent

pytestmark = pytest.mark.anyio
AWAY = DeliveryOutcome(taken=False, detail="answered 503")


@dataclass
class Subscriber(OutgoingActivities):
    """Answers as told; the last answer again and again."""

    answers: list[DeliveryOutcome]
    asked: list[str] = field(default_factory=list)
    broken: int = 0
    """How many calls fail of themselves: the ledger away."""
    given_up: list[GiveUp] = field(default_factory=list)
    workflow: str = ""

    @activity.defn(name="outgoing.deliver")
    async def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """One attempt."""
        self.asked.append(delivery.event_id)
        self._fail()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @activity.defn(name="outgoing.give_up")
    async def give_up(self, command: GiveUp) -> None:
        """Kept."""
        self._fail()
        self.given_up.append(command)

    def _fail(self) -> None:
        if self.broken:
            self.broken -= 1
            raise ApplicationError("the ledger is away", non_retryable=True)


async def told(environment: WorkflowEnvironment, subscriber: Subscriber) -> str:
    methods: list[Callable[..., Any]] = [subscriber.deliver, subscriber.give_up]
    async with Worker(environment.client, task_queue=EVENTS_QUEUE, activities=methods):
        subscriber.workflow = uuid.uuid4().hex
        answer: str = await environment.client.execute_workflow(
            DeliverEvent.run,
            Delivery(event_id="evt_1", subscription="portal"),
            id=subscriber.workflow,
            task_queue=WORKFLOW_QUEUE,
        )
        return answer


async def waited(environment: WorkflowEnvironment, subscriber: Subscriber) -> list[timedelta]:
    """How long it waited, one after the other. The server's own clock skips further than that."""
    history = await environment.client.get_workflow_handle(subscriber.workflow).fetch_history()
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]


async def test_it_ends_when_the_receiver_has_it(environment: WorkflowEnvironment) -> None:
    subscriber = Subscriber([AWAY, AWAY, DeliveryOutcome(taken=True, detail="took it")])
    assert await told(environment, subscriber) == "took it"
    assert subscriber.asked == ["evt_1"] * 3


async def test_it_ends_when_nobody_wants_it(environment: WorkflowEnvironment) -> None:
    subscriber = Subscriber([DeliveryOutcome(taken=False, over=True, detail="gone")])
    assert await told(environment, subscriber) == "gone"
    assert len(subscriber.asked) == 1


async def test_it_gives_up_visibly_after_days(environment: WorkflowEnvironment) -> None:
    subscriber = Subscriber([AWAY.model_copy(update={"retry_after_seconds": 60.0})])
    with pytest.raises(WorkflowFailureError) as failed:
        await told(environment, subscriber)
    assert "did not take event evt_1" in str(failed.value.cause)
    assert "trueup outbox --subscription portal" in str(failed.value.cause)
    (given_up,) = subscriber.given_up
    assert (given_up.delivery.event_id, given_up.detail) == ("evt_1", "answered 503")
    assert given_up.run_id
    assert len(subscriber.asked) == len(PAUSES) + 1
    pauses = await waited(environment, subscriber)
    for stated, pause in zip(PAUSES[1:], pauses[1:], strict=True):
        assert stated <= pause <= stated * 1.1
    assert pauses[0] == timedelta(seconds=60), "what the receiver asked for"
    assert sum(pauses, timedelta()) > timedelta(days=3)


async def test_what_fails_on_our_side_is_an_attempt_and_not_the_end(environment: WorkflowEnvironment) -> None:
    subscriber = Subscriber([DeliveryOutcome(taken=True, detail="took it")], broken=3)
    assert await told(environment, subscriber) == "took it"
    assert len(subscriber.asked) == 4


async def test_the_case_is_opened_however_long_the_ledger_is_away(environment: WorkflowEnvironment) -> None:
    subscriber = Subscriber([AWAY], broken=len(PAUSES) + 1 + 12)
    with pytest.raises(WorkflowFailureError):
        await told(environment, subscriber)
    assert len(subscriber.asked) == len(PAUSES) + 1
    assert "the ledger is away" in subscriber.given_up[0].detail


async def test_a_receiver_may_not_ask_for_more_than_a_day(environment: WorkflowEnvironment) -> None:
    patient = AWAY.model_copy(update={"retry_after_seconds": 1e300})
    subscriber = Subscriber([patient, DeliveryOutcome(taken=True, detail="took it")])
    assert await told(environment, subscriber) == "took it"
    assert await waited(environment, subscriber) == [timedelta(days=1)]


async def test_what_was_given_up_is_told_again_and_what_was_taken_is_not(
    environment: WorkflowEnvironment,
) -> None:
    event = f"evt_{uuid.uuid4().hex}"
    subscriber = Subscriber([AWAY])
    client, about = environment.client, ("o2p:emea:sf-main:006", "emea", "portal")
    handle = client.get_workflow_handle(delivery_id("emea", "portal", event))
    methods: list[Callable[..., Any]] = [subscriber.deliver, subscriber.give_up]
    async with Worker(client, task_queue=EVENTS_QUEUE, activities=methods):
        for _ in range(2):
            await tell(client, event_id=event, type_=OutgoingType.SAGA_ENDED, subject=about[0],
                       region=about[1], subscription=about[2])  # fmt: skip
            await environment.sleep(timedelta(days=8))
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        assert len(subscriber.given_up) == 1, "told twice by the relay, tried once"
        row = UndeliveredRow(
            id=1, event_id=event, subscription="portal", state=UndeliveredState.FAILED, detail="", times=1,
            run_id=subscriber.given_up[0].run_id, gave_up_at=datetime(2026, 11, 29, tzinfo=UTC),
            type=OutgoingType.SAGA_ENDED.value, subject=about[0], region="emea",
        )  # fmt: skip
        subscriber.answers = [DeliveryOutcome(taken=True, detail="took it")]
        assert await tell_again(client, row)
        assert await handle.result() == "took it"
        asked = len(subscriber.asked)
        assert await tell_again(client, row), "it has it"
        assert len(subscriber.asked) == asked
