"""The guards can fail: workflow code that was changed on purpose is caught by every recorded history and by
the fingerprints, and what only people see may change freely.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from canonical.saga import RepairAction, SagaView
from tests.replay.billing import BILLING_STORIES
from tests.replay.fingerprint import COMMANDS, fingerprints, sources
from tests.replay.record import HISTORIES, NAMES, STORIES
from tests.replay.test_replay import WHAT_TO_DO, changed
from tests.support.replaying import replayer
from workflows.kernel import core
from workflows.opportunity_to_project import OpportunityToProject
from workflows.saga import Saga

WITHOUT_ATTRIBUTES = ("planned", "revenue_planned", "billing_posting_continued_as_new")
"""A plan writes no search attributes; nor does a run that goes on as another one before anything happened."""


def history(name: str) -> WorkflowHistory:
    """A recorded history."""
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())


async def replay(name: str) -> None:
    """Replay under this process's own workflow classes, which a test may have changed."""
    await replayer(changed=True).replay_workflow(history(name))


# --- the histories -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_unchanged_code_replays(name: str) -> None:
    await replay(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_another_activity_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = core.activity_name
    monkeypatch.setattr(core, "activity_name", lambda method: f"{honest(method)}_differently")
    with pytest.raises(workflow.NondeterminismError):
        await replay(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [story.__name__ for story in STORIES])
async def test_one_command_more_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = OpportunityToProject.set_up_engagement

    async def with_a_pause(self: OpportunityToProject) -> None:
        await workflow.sleep(1)
        await honest(self)

    monkeypatch.setattr(OpportunityToProject, "set_up_engagement", with_a_pause)
    with pytest.raises(workflow.NondeterminismError):
        await replay(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [story.__name__ for story in BILLING_STORIES])
async def test_one_command_more_in_billing_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Saga.conduct

    async def with_a_pause(self: Saga, business: Callable[[], Coroutine[Any, Any, None]]) -> SagaView:
        await workflow.sleep(1)
        return await honest(self, business)

    monkeypatch.setattr(Saga, "conduct", with_a_pause)
    with pytest.raises(workflow.NondeterminismError):
        await replay(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_ATTRIBUTES])
async def test_one_command_less_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search attributes that are not written any more."""
    monkeypatch.setattr(core, "publish", lambda *_, **__: ())
    with pytest.raises(workflow.NondeterminismError):
        await replay(name)


# --- what the histories show -------------------------------------------------------------------------------


def updates(name: str) -> list[dict[str, Any]]:
    """The arguments of all updates that a saga accepted."""
    found = []
    for event in history(name).events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            request = event.workflow_execution_update_accepted_event_attributes.accepted_request
            arguments = [json.loads(payload.data) for payload in request.input.args.payloads]
            found.append({"name": request.input.name, **(arguments[0] if arguments else {})})
    return found


def scheduled(name: str) -> list[str]:
    """The activities of a history, in order."""
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history(name).events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


def count(name: str, kind: EventType.ValueType) -> int:
    """How many events of a type a history has."""
    return sum(event.event_type == kind for event in history(name).events)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("repaired", RepairAction.RETRY),
        ("amended", RepairAction.RETRY_AMENDED),
        ("undone", RepairAction.UNDO_ALL),
        ("continued_as_new_then_complete", RepairAction.RETRY),
    ],
)
def test_a_repaired_history_was_repaired(name: str, action: RepairAction) -> None:
    assert [(one["name"], one["action"]) for one in updates(name)] == [("resolve_step", action.value)]


def test_a_waiting_history_has_waited() -> None:
    assert count("waited", EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED) >= 1
    assert count("waited", EventType.EVENT_TYPE_TIMER_FIRED) >= 1
    assert not updates("waited")
    assert "ledger.close_case" in scheduled("waited")


def test_the_billing_histories_show_what_they_are_named_for() -> None:
    repaired = updates("billing_parked_and_repaired")
    assert [one["name"] for one in repaired][:1] == ["resolve_step"]
    assert [one["outcome"] for one in updates("billing_group_issued")] == ["amend", "approve"]
    assert [one["outcome"] for one in updates("billing_group_rejected")] == ["reject"]
    for undone in ("billing_group_rejected", "billing_cancelled_while_parked"):
        assert "effects.undo_step" in scheduled(undone)
    assert scheduled("billing_posting_continued_as_new").count("posting.prepare") == 3
    after = scheduled("billing_posting_after_continuing")
    assert "feed.mark" in after
    assert not {"billing.begin_run", "feed.collect"} & set(after), "it goes on from where the run before was"
    assert scheduled("billing_credit").count("invoicing.credit") == 1
    assert "posting.reverse" in scheduled("billing_taken_back")
    assert "posting.release_held" in scheduled("billing_let_go")
    children = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
    assert count("billing_month", children) >= 2


def test_the_other_histories_show_what_they_are_named_for() -> None:
    assert [one["name"] for one in updates("gated")] == ["decide"]
    assert scheduled("patched").count("rules.compare_baseline") >= 2
    assert not {"ledger.open_case", "ledger.finish_saga"} & set(scheduled("planned"))
    for name in ("undone", "cancelled_while_parked"):
        assert "effects.undo_step" in scheduled(name)
    assert [one["name"] for one in updates("continued_as_new_while_parked")] == ["renew"]


# --- the fingerprints --------------------------------------------------------------------------------------


def cut(tree: ast.Module, place: int) -> str | None:
    """Leave the n-th statement that only awaits something out; answers the function or method it was in."""
    bodies: list[tuple[list[str], ast.AST]] = [([], tree)]
    seen = -1
    while bodies:
        inside, node = bodies.pop(0)
        for _, value in ast.iter_fields(node):
            for index, child in enumerate(value if isinstance(value, list) else []):
                if isinstance(child, ast.Expr) and isinstance(child.value, ast.Await):
                    seen += 1
                    if seen == place:
                        value[index] = ast.Pass()
                        return ".".join(inside[:2])
                elif isinstance(child, ast.AST):
                    named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
                    bodies.append(([*inside, child.name] if named else inside, child))  # type: ignore[attr-defined]
    return None


def without_one_step() -> Iterator[Any]:
    """Every way to leave one awaited statement out: (module, its code without it, the function it was in)."""
    for module, text in sources().items():
        place = 0
        while hit := cut(tree := ast.parse(text), place):
            yield pytest.param(module, ast.unparse(tree), hit, id=f"{module}-{hit}-{place}")
            place += 1


@pytest.mark.parametrize(("module", "code", "function"), list(without_one_step()))
def test_a_step_left_out_changes_its_functions_fingerprint(module: str, code: str, function: str) -> None:
    now = {**sources(), module: ast.unparse(ast.parse(sources()[module]))}
    assert f"{module}.{function}" in changed(fingerprints({**now, module: code}), fingerprints(now))


def edited(module: str, edit: Callable[[str], str]) -> list[str]:
    """Functions whose fingerprint an edit changes."""
    texts = sources()
    after = edit(texts[module])
    assert after != texts[module], f"the edit does not fit {module} any more"
    return changed(fingerprints({**texts, module: after}), fingerprints(texts))


def test_another_order_of_the_sagas_own_steps_is_caught() -> None:
    one, other = "self.closing.activate_contracts(plan)", "self.closing.open_for_work(plan)"
    swapped = edited(
        "workflows.opportunity_to_project",
        lambda text: text.replace(one, "*").replace(other, one).replace("*", other),
    )
    assert swapped == ["workflows.opportunity_to_project.OpportunityToProject.set_up_engagement"]


def test_another_activity_behind_the_same_step_is_caught() -> None:
    found = edited(
        "workflows.kernel.deciding",
        lambda text: text.replace("LedgerActivities.record_decision", "Other.it"),
    )
    assert found == ["workflows.kernel.deciding.Deciding._apply", "workflows.kernel.deciding.Deciding.gate"]


def test_what_only_people_see_may_change() -> None:
    assert (
        edited(
            "workflows.opportunity.closing", lambda text: text.replace("Read the deal again", "Again, please")
        )
        == []
    )
    assert (
        edited("workflows.saga", lambda text: text.replace("resolved: the step went through", "it is done"))
        == []
    )
    assert (
        edited("workflows.kernel.waiting", lambda text: text.replace("still parked: ", "parked as before: "))
        == []
    )


def test_the_message_says_what_to_do() -> None:
    for command in ("pytest tests/replay", "tests.replay.test_replay", "tests.replay.record NAME", "renew"):
        assert command in WHAT_TO_DO
    assert "workflow.patched" in WHAT_TO_DO


def test_every_command_of_the_engine_that_is_used_is_known() -> None:
    """What workflows call of the engine is a command of ours, or certainly gives none."""
    harmless = {"info", "init", "run", "update", "query", "defn", "unsafe", "signal", "all_handlers_finished"}
    harmless |= {"cancellation_reason", "set_current_details", "validator", "logger", "time_ns", "uuid"}
    harmless |= {"ActivityCancellationType", "ChildWorkflowHandle"}
    used = {
        node.attr
        for text in sources().values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "workflow"
    }
    assert used - harmless <= COMMANDS
