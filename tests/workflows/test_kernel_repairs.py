"""Parked steps: every repair, and the refusals in one line that leave no trace in history."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.exceptions import ApplicationError

from canonical.causes import Cause, Queue
from canonical.saga import Actor, RepairAction, SagaStatus, StepState
from tests.workflows.driver import ANNA, Kernel, Run, refusal, step
from tests.workflows.stubs import Desk, repair

pytestmark = pytest.mark.anyio

UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


async def parked(kernel: Kernel, *more: object, **options: object) -> Run:
    """A saga parked at step b."""
    desk = Desk()
    desk.fail("do b", repair("no such tax code", field="tax_code"))
    run = await kernel.start(step("a"), step("b"), step("c"), desk=desk, **options)  # type: ignore[arg-type]
    await run.parked("b")
    return run


async def test_a_parked_saga_says_what_is_wrong_on_every_surface(kernel: Kernel) -> None:
    run = await parked(kernel)
    view = await run.view()
    assert view.status is SagaStatus.PARKED
    assert (view.cause, view.queue) == (Cause.VENDOR_REFUSED, Queue.MASTER_DATA)
    assert view.headline == "Do b: no such tax code"
    assert view.parked_since is not None
    upsert = (await run.events(UPSERT))[-1].upsert_workflow_search_attributes_event_attributes
    shown = {name: data.data.decode() for name, data in upsert.search_attributes.indexed_fields.items()}
    assert shown["SagaStatus"] == '"parked"'
    assert shown["SagaStep"] == '"b"'
    assert shown["CauseCode"] == '"VENDOR_REFUSED"'
    assert shown["ExceptionQueue"] == '"master-data"'
    assert shown["System"] == '"erp"'
    assert "ParkedSince" in shown
    await run.booked("open b")
    assert run.desk.entries[0].failure.field == "tax_code"
    assert not run.desk.entries[0].transient


async def test_retry(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.repair("b")
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert run.desk.calls == ["do a", "do b", "do b", "do c"]
    assert run.desk.books == ["open b", "decide b", "close b", "finish complete"]
    assert view.parked_since is None


async def test_search_attributes_change_on_park_resume_and_end_only(kernel: Kernel) -> None:
    run = await parked(kernel)
    assert len(await run.events(UPSERT)) == 1
    await run.repair("b")
    await run.result()
    assert len(await run.events(UPSERT)) == 3


async def test_retry_with_amended_input_sends_the_amended_input(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"note": "corrected"})
    await run.result()
    assert [command.note for command in run.desk.inputs["do b"]] == ["as planned", "corrected"]
    assert run.desk.inputs["do c"][0].note == "as planned"


async def test_amendments_add_up(kernel: Kernel) -> None:
    run = await parked(kernel)
    run.desk.fail("do b", repair("still no"))
    await run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"note": "corrected"})
    await run.until(lambda view: "still no" in view.headline)
    await run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"values": {"x": "1"}})
    await run.result()
    last = run.desk.inputs["do b"][-1]
    assert (last.note, last.values["x"]) == ("corrected", "1")


async def test_retry_with_the_current_mapping_unpins_this_step_only(kernel: Kernel) -> None:
    run = await parked(kernel, mapping={"erp": "digest-at-start"})
    await run.repair("b", RepairAction.RETRY_CURRENT_MAPPING)
    await run.result()
    pinned = [run.desk.inputs[call][-1].saga.mapping for call in ("do a", "do b", "do c")]
    assert pinned == [{"erp": "digest-at-start"}, {}, {"erp": "digest-at-start"}]


async def test_skip_takes_the_result_made_by_hand(kernel: Kernel) -> None:
    run = await parked(kernel)
    made = {"values": {"b.id": "by hand"}, "records": [{"system": "erp", "type": "thing", "id": "7"}]}
    await run.repair("b", RepairAction.SKIP, result=made, reason="entered it myself")
    view = await run.result()
    assert run.desk.calls == ["do a", "do b", "do c"]
    assert run.desk.inputs["do c"][0].values["b.id"] == "by hand"
    skipped = next(one for one in view.steps if one.id == "b")
    assert skipped.state is StepState.SKIPPED
    assert [str(ref) for ref in skipped.records] == ["erp/thing/7"]
    assert skipped.note == "skip by anna (unverified): entered it myself"


async def test_undo_all_ends_with_the_failure_that_parked_it(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.repair("b", RepairAction.UNDO_ALL)
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("VENDOR_REFUSED", "no such tax code")
    assert run.desk.calls == ["do a", "do b", "undo b", "undo a"]
    assert run.desk.books == ["open b", "decide b", "close b", "finish undone"]


async def test_every_decision_is_kept_with_actor_and_reason(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.repair("b", reason="finance corrected it")
    await run.result()
    kept = next(entry.repair for entry in run.desk.entries if getattr(entry, "repair", None))
    assert (kept.actor.name, kept.reason, kept.action) == ("anna", "finance corrected it", RepairAction.RETRY)


async def test_a_command_sent_twice_acts_once(kernel: Kernel) -> None:
    run = await parked(kernel)
    run.desk.fail("do b", repair("still no"))
    await run.repair("b", command="the-same")
    await run.until(lambda view: "still no" in view.headline)
    await run.repair("b", command="the-same")
    assert (await run.view()).status is SagaStatus.PARKED
    assert run.desk.calls.count("do b") == 2
    await run.repair("b", command="another")
    await run.result()
    assert run.desk.books.count("decide b") == 2


async def test_refusals_are_one_line_and_leave_no_event(kernel: Kernel) -> None:
    run = await parked(kernel, repair_roles={"master-data": ("master-data",)})
    view, before = await run.view(), len(await run.events())
    fits: dict[str, object] = {"values": {}}
    refused = [
        (run.repair("a"), "Step 'a' is not parked; parked now: b."),
        (run.repair("nonsense"), "Step 'nonsense' is not parked; parked now: b."),
        (
            run.repair("b", expected_revision=view.revision - 1),
            f"The saga has changed since you looked (revision {view.revision}, "
            f"you saw {view.revision - 1}); look again.",
        ),
        (
            run.repair("b", actor=Actor(name="otto", roles=("pmo-lead",))),
            "otto (unverified) has not the role for repairs in queue master-data; needs one of master-data.",
        ),
        (run.repair("b", RepairAction.SKIP, reason="", result=fits), "skip needs a reason."),
        (run.repair("b", RepairAction.UNDO_ALL, reason=""), "undo_all needs a reason."),
        (run.repair("b", RepairAction.RETRY_AMENDED), "Retry with amended input needs the amended input."),
        (
            run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"system": "other"}),
            "Amended input may set note, values; got system.",
        ),
        (
            run.repair("b", RepairAction.SKIP, result={"values": 7}),
            "The result does not fit the step: values: Input should be a valid dictionary",
        ),
    ]
    for attempt, words in refused:
        assert await refusal(attempt) == words
    # This server, unlike the real one, keeps the workflow task that carried the refusal.
    tasks = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    }
    assert {event.event_type for event in (await run.events())[before:]} <= tasks
    assert (await run.view()).revision == view.revision


async def test_the_revision_looked_at_is_accepted(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.repair("b", expected_revision=(await run.view()).revision)
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_an_amendment_that_breaks_the_input_is_refused_at_once(kernel: Kernel) -> None:
    """Accepted, it would end the workflow or stop its task: the operator has to hear it instead."""
    run = await parked(kernel)
    words = await refusal(
        run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"values": "not a mapping"})
    )
    assert "values" in words
    await run.repair("b")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_two_parked_branches_are_repaired_one_by_one(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", repair("a says no"))
    desk.fail("do b", repair("b says no"))
    run = await kernel.start({"together": [step("a"), step("b", system="psa")]}, step("c"), desk=desk)
    await run.parked("a", "b")
    await run.repair("b")
    await run.parked("a")
    assert "do c" not in desk.calls
    await run.repair("a")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_undo_all_of_one_branch_stops_the_parked_other(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", repair("a says no"))
    desk.fail("do b", repair("b says no"))
    run = await kernel.start({"together": [step("a"), step("b", system="psa")]}, step("c"), desk=desk)
    await run.parked("a", "b")
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.undone("b says no")
    assert sorted(desk.calls) == ["do a", "do b", "undo a", "undo b"]
    assert {"close a", "close b"} <= set(desk.books)


@pytest.mark.own_server
async def test_an_unlooked_at_case_is_escalated_every_day(kernel: Kernel) -> None:
    run = await parked(kernel)
    await run.booked("open b")
    await run.skip(days=2, hours=1)
    await run.booked("escalate b")
    assert run.desk.books.count("escalate b") == 2
    assert (await run.view()).status is SagaStatus.PARKED


async def test_a_hold_hands_over_what_was_amended_and_closes_its_case(kernel: Kernel) -> None:
    failure = repair("the deal does not add up").model_dump(mode="json")
    run = await kernel.start({"hold": "validate", "failure": failure}, step("a"))
    await run.parked("validate")
    assert (
        await refusal(run.repair("validate", RepairAction.SKIP, result={}))
        == "This cannot be skipped: correct the data and retry, amend the input, or undo all."
    )
    await run.repair("validate", RepairAction.RETRY_AMENDED, amended_input={"deal": {"amount": "1"}})
    await run.result()
    assert await run.handle.query("seen") == [{"deal": {"amount": "1"}}]
    assert run.desk.books == ["open validate", "decide validate", "close validate", "finish complete"]


async def test_an_activity_without_our_words_parks_as_a_defect(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", ApplicationError("boom", non_retryable=True))
    run = await kernel.start(step("a"), desk=desk)
    view = await run.parked("a")
    assert (view.cause, view.queue) == (Cause.DEFECT, Queue.INFRASTRUCTURE)
    await run.repair("a", actor=ANNA)
    assert (await run.result()).status is SagaStatus.COMPLETE
