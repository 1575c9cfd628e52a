"""Kantata: every operation of the port over HTTP against the simulated account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.delivery import RolePlaceholder
from canonical.failures import Conflict, Refused
from canonical.money import Money
from canonical.operations import DeliverySetup, HealthState
from canonical.writes import Landed, UndoResult, VendorWrite, WriteKind, resolve_write
from connectors.kantata.settings import AcceptanceFields
from connectors.ports import PsaPort
from tests.acceptance.kantata import CODE, SYSTEM, TREE, Subject
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    one = Subject()
    yield one
    await one.close()


async def carry_out(
    subject: Subject, setup: DeliverySetup
) -> tuple[dict[str, str], list[tuple[VendorWrite, Landed, Any]]]:
    """All writes of a project, as the executor makes them."""
    kantata, done = subject.connector, []
    values = subject.values(setup)

    async def execute(planned: list[VendorWrite]) -> None:
        for one in planned:
            write = resolve_write(one, values)
            before = await kantata.before_image(write) if write.kind is WriteKind.UPDATE else None
            assert await kantata.find(write) is None
            landed = await kantata.send(write)
            assert await reading_of(kantata, write, landed) == write.expect
            found = await kantata.find(write)
            assert found is not None
            assert found.id == landed.id
            values[f"{write.symbol}.id"] = landed.id
            done.append((write, landed, before))

    await execute(kantata.plan_client(subject.context(), setup))
    await execute(kantata.plan_project(subject.context(), setup))
    values |= (await kantata.template_progress(setup, values)).values
    await execute(kantata.plan_structure(subject.context(), setup))
    await execute(kantata.plan_activation(subject.context(phase=Phase.AFTER_APPROVAL), setup))
    return values, done


async def undo_all(subject: Subject, done: list[tuple[VendorWrite, Landed, Any]]) -> list[UndoResult]:
    return [(await subject.connector.undo(*one)).result for one in reversed(done)]


async def test_it_is_a_psa_port(subject: Subject) -> None:
    port: PsaPort = subject.connector
    assert port.system == SYSTEM
    assert len(port.mapping_digest) == 64
    assert (port.link("workspaces", "901") or "").endswith("/api/v1/workspaces/901")
    paged = subject.build(link_templates={"workspaces": "https://psa.example/w/{id}"})
    assert paged.link("workspaces", "901") == "https://psa.example/w/901"
    await paged.close()


async def test_reference_names_templates_roles_and_ids(subject: Subject) -> None:
    reference = await subject.connector.read_reference(
        templates=["Implementation", "Implement", "Nothing"], roles=["architect", "Consultant", "wizard"]
    )
    (template,) = reference.templates
    assert template == subject.setup().template
    assert reference.roles == ("architect", "Consultant")
    assert reference.role_ids == {"architect": "5", "Consultant": "6"}
    assert reference.limits["milestone.title"] == 200
    assert reference.serial_creation


async def test_two_templates_of_one_title_need_a_decision(subject: Subject) -> None:
    twin = {"id": 301, "title": "Implementation", "currency": "EUR", "raw_json": TREE["stories"]}
    subject.seed(project_templates=[twin])
    with pytest.raises(Refused, match="301"):
        await subject.connector.read_reference(templates=["Implementation"], roles=[])
    pinned = subject.build(mapping=subject.mapping(template_ids={"Implementation": 301}))
    reference = await pinned.read_reference(templates=["Implementation"], roles=[])
    assert reference.templates[0].id == "301"
    await pinned.close()


async def test_a_project_from_plan_to_baseline(subject: Subject) -> None:
    setup = subject.setup()
    values, done = await carry_out(subject, setup)
    assert [write.operation for write, _, _ in done] == [
        "ensure_group", "open_project", "set_rate", "set_rate", "add_placeholder", "set_rate",
        "add_milestone", "activate_project",
    ]  # fmt: skip
    baseline = await subject.connector.read_baseline(setup, values)
    assert (baseline.project_code, baseline.title) == (CODE, setup.project.title)
    assert (baseline.currency, baseline.budget) == ("EUR", setup.project.budget)
    assert (baseline.tasks, baseline.milestones) == (2, 3)
    assert baseline.placeholders == {"architect": 1, "Consultant": 2}
    assert baseline.active
    # What we added does not count as the template's work when the step is repeated.
    progress = await subject.connector.template_progress(setup, values)
    assert progress.matches(setup.template)


async def test_template_arrives_bit_by_bit(subject: Subject) -> None:
    subject.configure(template_seconds=3600)
    setup = subject.setup()
    values, _ = await subject.project(setup)
    early = await subject.connector.template_progress(setup, values)
    assert not early.matches(setup.template)
    subject.control.post("/_sim/clock", json={"offset_seconds": 7200})
    late = await subject.connector.template_progress(setup, values)
    assert late.matches(setup.template)
    assert late.fingerprint != early.fingerprint
    assert len(late.values) == 3


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "5000000"), ("KWD", "1234.567")])
async def test_currencies_without_and_with_three_decimals(
    subject: Subject, currency: str, amount: str
) -> None:
    people = (RolePlaceholder(key="c", role="Consultant", bill_rate=Decimal("15000")),)
    setup = subject.setup(currency=currency, amount=amount, placeholders=people)
    values, _ = await carry_out(subject, setup)
    baseline = await subject.connector.read_baseline(setup, values)
    assert (baseline.currency, baseline.budget) == (currency, setup.project.budget)


async def test_undo_of_an_untouched_project_leaves_nothing(subject: Subject) -> None:
    _, done = await carry_out(subject, subject.setup())
    results = await undo_all(subject, done)
    assert results == [
        UndoResult.RESTORED, UndoResult.DELETED, UndoResult.RESTORED, UndoResult.DELETED,
        UndoResult.RESTORED, UndoResult.RESTORED, UndoResult.DELETED, UndoResult.DELETED,
    ]  # fmt: skip
    assert subject.records("workspaces") == subject.records("workspace_groups") == []
    assert set(await undo_all(subject, done)) == {UndoResult.NOTHING_THERE}


async def test_undo_of_a_project_with_time_archives_and_marks_it(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    project = subject.project_id(values, setup)
    entry = {"workspace_id": int(project), "date_performed": "2026-01-15", "time_in_minutes": 30}
    subject.vendor("POST", "time_entries", {"time_entry": entry})
    landed = Landed(id=project)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    record = subject.record("workspaces", project)
    assert (record["archived"], record["status_key"]) == (True, 340)
    marks = {row["value"] for row in subject.records("custom_field_values")}
    assert marks == {CODE, "o2p:emea:sf-main:006XX0001"}
    references = [row for row in subject.records("external_references") if row["external_status"] == "undone"]
    assert [row["external_message"] for row in references] == ["Undone by o2p:emea:sf-main:006XX0001"]
    # Again: nothing more to do, and the archived project is still found, never made twice.
    before = len(subject.writes())
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    assert len(subject.writes()) == before
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == project
    # Its group holds it and stays.
    group = resolve_write(subject.connector.plan_client(subject.context(), setup)[0], values)
    released = await subject.connector.undo(group, Landed(id=values["group:001XX.id"]), None)
    assert released.result is UndoResult.RELEASED


async def test_a_project_that_kantata_refuses_to_delete_is_archived(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    project = subject.project_id(values, setup)
    subject.fault("business", method="DELETE", path=f"workspaces/{project}", message="no")
    outcome = await subject.connector.undo(write, Landed(id=project), None)
    assert outcome.result is UndoResult.INACTIVATED
    assert subject.record("workspaces", project)["archived"] is True


async def test_a_staffed_position_is_let_go(subject: Subject) -> None:
    _, done = await carry_out(subject, subject.setup())
    write, landed, before = next(one for one in done if one[0].operation == "add_placeholder")
    subject.seed(
        workspace_allocations=[
            {
                "workspace_resource_id": landed.id,
                "start_date": "2026-01-12",
                "end_date": "2026-01-16",
                "minutes": 600,
            }
        ]
    )
    assert (await subject.connector.undo(write, landed, before)).result is UndoResult.RELEASED


async def test_a_record_that_lost_our_stamp_is_not_deleted(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    for reference in subject.records("external_references"):
        subject.vendor("DELETE", f"external_references/{reference['id']}")
    with pytest.raises(Conflict) as conflict:
        await subject.connector.undo(write, Landed(id=subject.project_id(values, setup)), None)
    assert conflict.value.failure.cause is Cause.CHANGED_BY_SOMEBODY
    assert len(subject.records("workspaces")) == 1


async def test_an_update_that_somebody_changed_is_not_put_back(subject: Subject) -> None:
    write = await subject.update()
    before = await subject.connector.before_image(write)
    landed = await subject.connector.send(write)
    subject.vendor("PUT", f"workspaces/{landed.id}", {"workspace": {"status_key": 320}})
    with pytest.raises(Conflict, match="neither ours nor"):
        await subject.connector.undo(write, landed, before)
    with pytest.raises(Conflict, match="neither ours nor"):
        await subject.connector.undo(write, landed, None)
    assert subject.record("workspaces", landed.id)["status_key"] == 320


async def test_an_update_without_before_image_is_not_guessed(subject: Subject) -> None:
    write = await subject.update()
    landed = await subject.connector.send(write)
    with pytest.raises(Refused) as refusal:
        await subject.connector.undo(write, landed, None)
    assert refusal.value.failure.cause is Cause.UNDO_BLOCKED


async def test_reading_back_what_is_gone_is_a_conflict(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    project = subject.project_id(values, setup)
    subject.vendor("DELETE", f"workspaces/{project}")
    with pytest.raises(Conflict) as conflict:
        await reading_of(subject.connector, write, Landed(id=project))
    assert conflict.value.failure.cause is Cause.RECORD_VANISHED
    with pytest.raises(Conflict):
        await subject.connector.read_baseline(setup, values)


async def test_a_difference_shows_up_when_read_back(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    project = subject.project_id(values, setup)
    subject.vendor("PUT", f"workspaces/{project}", {"workspace": {"title": "Other", "price": 7}})
    shown = await reading_of(subject.connector, write, Landed(id=project))
    assert set(shown) == set(write.expect)
    assert {name for name in shown if shown[name] != write.expect[name]} == {"title", "price"}


async def test_money_that_may_not_be_seen_names_the_permission(subject: Subject) -> None:
    setup = subject.setup()
    values, write = await subject.project(setup)
    subject.configure(financial_access=False)
    shown = await reading_of(subject.connector, write, Landed(id=subject.project_id(values, setup)))
    assert shown["price"] is None
    with pytest.raises(Refused, match="no budget or currency"):
        await subject.connector.read_baseline(setup, values)


async def test_two_records_with_one_stamp_stop_everything(subject: Subject) -> None:
    write = subject.create()
    await subject.connector.send(write)
    await subject.connector.send(write)
    with pytest.raises(Conflict, match="2 times"):
        await subject.connector.find(write)


async def test_doctor_is_content_and_names_what_is_wrong(subject: Subject) -> None:
    assert {check.state for check in await subject.connector.check()} == {HealthState.OK}
    wrong = subject.build(
        mapping=subject.mapping(project_code_field=999, role_titles={"architect": "Chief Wizard"})
    )
    subject.configure(administrator=False)
    checks = {check.check: check for check in await wrong.check()}
    await wrong.close()
    assert checks["account administrator"].state is HealthState.WARNING
    assert "999" in checks["custom fields"].detail
    assert "Chief Wizard" in checks["roles"].detail
    assert all(check.remedy for check in checks.values() if check.state is not HealthState.OK)
    bought = subject.build(
        subscribed_events=True, mapping=subject.mapping(acceptance=AcceptanceFields(date=10, by=9))
    )
    checks = {check.check: check for check in await bought.check()}
    await bought.close()
    assert checks["account administrator"].state is HealthState.BROKEN
    assert "acceptance.date = 10 (Saga) is string, not a date" in checks["custom fields"].detail
    assert "acceptance.by" not in checks["custom fields"].detail
    subject.configure(tokens=[])
    (refused,) = await subject.connector.check()
    assert refused.state is HealthState.BROKEN
    subject.configure(away=True)
    (away,) = await subject.connector.check()
    assert away.state is HealthState.BROKEN


async def test_an_amended_input_changes_what_differs_and_nothing_else(subject: Subject) -> None:
    setup = subject.setup()
    values, done = await carry_out(subject, setup)
    money = Money(amount=Decimal("2000"), currency="EUR")
    amended = subject.setup(
        title="Renamed",
        budget=money,
        milestones=(setup.project.milestones[0].model_copy(update={"title": "Final", "amount": money}),),
    ).model_copy(update={"client_name": "New Name"})
    values[f"{setup.code_symbol}.code"] = "PRJ-00043"
    planned = subject.connector.plan_client(subject.context(), amended)
    planned += subject.connector.plan_project(subject.context(), amended)
    planned += subject.connector.plan_structure(subject.context(), amended)
    before = len(subject.writes())
    for one in planned:
        write = resolve_write(one, values)
        landed = Landed(id=values[f"{write.symbol}.id"])
        if write.kind is WriteKind.CREATE:
            assert await subject.connector.amend(write, landed) == landed
            assert await reading_of(subject.connector, write, landed) == write.expect
    sent = subject.writes()[before:]
    # The group's name, the project's fields and its code, the milestone; the position did not differ.
    assert [entry["type"] for entry in sent] == [
        "workspace_groups", "workspaces", "custom_field_values", "stories",
    ]  # fmt: skip
    assert not any("template" in name for name in sent[1]["body"])
    assert len(done) == 8


async def test_a_milestone_cannot_be_moved_to_another_project(subject: Subject) -> None:
    _, done = await carry_out(subject, subject.setup())
    write, landed, _ = next(one for one in done if one[0].operation == "add_milestone")
    body = {"story": {**write.body["story"], "workspace_id": "424242"}}
    with pytest.raises(Refused, match="belongs to project"):
        await subject.connector.amend(write.model_copy(update={"body": body}), landed)
    with pytest.raises(Conflict):
        await subject.connector.amend(write, Landed(id="424242"))
